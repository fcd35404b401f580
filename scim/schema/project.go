package schema

import "strings"

// Projection selects what a response shows (RFC 7644 §3.9, RFC 7643 §7
// "returned"). It is immutable and may serve many documents.
type Projection struct {
	t        *ResourceType
	chosen   map[string]*choice // by extension URN and attribute name, lower-case
	only     bool               // chosen is all that is shown, beside what always is
	excluded bool               // chosen isn't shown
}

// choice is a selected attribute: the whole, or some of its sub-attributes.
type choice struct {
	whole bool
	subs  map[string]bool
}

// Select prepares the query parameters attributes and excludedAttributes, one
// attribute path an element; a value filter in a path is ignored. Unknown
// attributes select nothing. Both together are an [*Error] with InvalidValue.
func (t *ResourceType) Select(attributes, excludedAttributes []string) (Projection, error) {
	if len(attributes) > 0 && len(excludedAttributes) > 0 {
		return Projection{}, invalid("", "expected either attributes or excludedAttributes, not both")
	}
	p := Projection{t: t, chosen: map[string]*choice{}, only: len(attributes) > 0, excluded: len(excludedAttributes) > 0}
	for _, text := range append(append([]string{}, attributes...), excludedAttributes...) {
		text, _, _ = strings.Cut(text, "[")
		if r, err := t.ResolveText(text); err == nil {
			p.choose(r)
		}
	}
	return p, nil
}

func (p Projection) choose(r Ref) {
	if r.Attribute == nil {
		s := r.Extension
		if s == nil {
			s = p.t.Schema
		}
		for _, a := range s.Attributes {
			// Naming a schema doesn't ask for what is returned on request only.
			if a.Returned != Request || p.excluded {
				p.choose(Ref{Extension: r.Extension, Attribute: a})
			}
		}
		return
	}
	key := choiceKey(r.Extension, r.Attribute)
	c := p.chosen[key]
	if c == nil {
		c = &choice{subs: map[string]bool{}}
		p.chosen[key] = c
	}
	if r.Sub == nil {
		c.whole = true
	} else {
		c.subs[r.Sub.Name] = true
	}
}

func choiceKey(extension *Schema, a *Attribute) string {
	if extension == nil {
		return a.Name
	}
	return extension.ID + ":" + a.Name
}

// Shows reports whether any part of the top-level attribute of the base schema
// would be shown, so that a caller can spare loading the members of a group.
func (p Projection) Shows(name string) bool {
	a, ok := p.t.base(name)
	if !ok {
		return false
	}
	c := p.chosen[choiceKey(nil, a)]
	return p.shows(a, c != nil, c != nil && c.whole)
}

// shows decides for an attribute or sub-attribute; chosen says that it or a
// part of it is named, whole that it is named itself.
func (p Projection) shows(a *Attribute, chosen, whole bool) bool {
	switch a.Returned {
	case Never:
		return false
	case Always:
		return true
	case Request:
		return p.only && chosen
	case Default:
	}
	if p.only {
		return chosen
	}
	return !p.excluded || !whole
}

// Project returns the selected part of a representation. doc isn't changed;
// the result shares values with it.
func (p Projection) Project(doc map[string]any) map[string]any {
	out := map[string]any{}
	p.project(nil, p.t.common, doc, out)
	p.project(nil, p.t.Schema.Attributes, doc, out)
	for _, e := range p.t.Extensions {
		inner, ok := doc[e.Schema.ID].(map[string]any)
		if !ok {
			continue
		}
		shown := map[string]any{}
		p.project(e.Schema, e.Schema.Attributes, inner, shown)
		if len(shown) > 0 {
			out[e.Schema.ID] = shown
		}
	}
	return out
}

func (p Projection) project(extension *Schema, attributes []*Attribute, from, into map[string]any) {
	for _, a := range attributes {
		value, ok := from[a.Name]
		if !ok {
			continue
		}
		c := p.chosen[choiceKey(extension, a)]
		if !p.shows(a, c != nil, c != nil && c.whole) {
			continue
		}
		if value = p.parts(a, c, value); value != nil {
			into[a.Name] = value
		}
	}
}

// parts selects sub-attributes; nil means that none is left.
func (p Projection) parts(a *Attribute, c *choice, value any) any {
	switch value := value.(type) {
	case []any:
		if a.Type != Complex {
			return value
		}
		out := make([]any, 0, len(value))
		for _, element := range value {
			if shown := p.parts(a, c, element); shown != nil {
				out = append(out, shown)
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(value))
		for _, sub := range a.SubAttributes {
			v, ok := value[sub.Name]
			if ok && p.showsSub(sub, c) {
				out[sub.Name] = v
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	return value
}

func (p Projection) showsSub(sub *Attribute, c *choice) bool {
	named := c != nil && c.subs[sub.Name]
	if p.only && (c == nil || c.whole) && sub.Returned == Default {
		return true // the whole attribute is shown
	}
	return p.shows(sub, named, named)
}

// Shareable returns a copy of a document without what is never returned, for
// those who tell others of it.
func (t *ResourceType) Shareable(doc map[string]any) map[string]any {
	if doc == nil {
		return nil
	}
	shared, _ := clone(doc).(map[string]any)
	t.eachSchema(func(extension *Schema, attributes []*Attribute) {
		if extension == nil {
			dropHidden(shared, attributes)
			return
		}
		if inner, ok := shared[extension.ID].(map[string]any); ok {
			dropHidden(inner, attributes)
			if len(inner) == 0 {
				delete(shared, extension.ID)
			}
		}
	})
	return shared
}

func dropHidden(m map[string]any, attributes []*Attribute) {
	for _, a := range attributes {
		if a.Returned == Never {
			delete(m, a.Name)
			continue
		}
		switch value := m[a.Name].(type) {
		case map[string]any:
			dropHidden(value, a.SubAttributes)
		case []any:
			for _, element := range value {
				if one, ok := element.(map[string]any); ok {
					dropHidden(one, a.SubAttributes)
				}
			}
		}
	}
}
