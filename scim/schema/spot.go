package schema

import (
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
)

// A Spot is the place of one single value in the documents of a resource type:
// a simple attribute, a sub-attribute of a single complex one, or one of those
// values of a multi-valued attribute of which a sub-attribute equals a literal,
// as in emails[type eq "work"].value.
type Spot struct {
	Ref
	text  string
	where Condition // nil: the attribute is single-valued
}

// Spot resolves a path. One that can name several values, or a complex one, is
// an [*Error] with InvalidPath.
func (t *ResourceType) Spot(p filter.Path) (Spot, error) {
	many := &Error{ScimType: filter.InvalidPath, Path: p.Attr.String(), Detail: "expected the path of one single value"}
	r, err := t.Resolve(p.Attr)
	if err != nil {
		return Spot{}, err
	}
	if r.Attribute == nil || r.Target().Type == Complex || r.Sub != nil && r.Sub.MultiValued || r.Attribute.MultiValued != (p.Filter != nil) {
		return Spot{}, many
	}
	s := Spot{Ref: r, text: r.String()}
	if p.Filter == nil {
		return s, nil
	}
	e, ok := p.Filter.(filter.Compare)
	if !ok || e.Op != filter.Eq || r.Sub == nil {
		return Spot{}, many
	}
	s.where, err = t.BindValue(r.Attribute, e)
	s.text += "[" + strings.ToLower(e.String()) + "]"
	return s, err
}

// Place is a text that two spots share where they are the same.
func (s Spot) Place() string { return s.text }

// Value returns what is in a document, as [ResourceType.ValidateCreate] returns
// it, at the spot: of several values the first; nil if there is none.
func (s Spot) Value(doc map[string]any) any {
	if s.Extension != nil {
		doc, _ = doc[s.Extension.ID].(map[string]any)
	}
	value := doc[s.Attribute.Name]
	if s.where != nil {
		list, _ := value.([]any)
		value = nil
		for _, v := range list {
			if Match(s.where, SearchValue(s.Attribute, v)) {
				value = v
				break
			}
		}
	}
	if s.Sub == nil {
		return value
	}
	parts, _ := value.(map[string]any)
	return parts[s.Sub.Name]
}

// Draft is ValidateCreate for a document that is not complete yet: what is
// required may be missing.
func (t *ResourceType) Draft(doc map[string]any, o Options) (map[string]any, []Warning, error) {
	v := validator{t: t, o: o}
	out, err := v.document(doc)
	return out, v.warnings, err
}
