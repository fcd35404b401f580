package schema

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
)

// Bind resolves a filter against the resource type and normalizes its
// literals. Whatever could only ever match nothing is an error instead: an
// unknown attribute, one that is never returned, an operator or a literal that
// doesn't fit the type, a complex attribute without "value" compared as a
// whole. A complex attribute with the sub-attribute "value" stands for that
// sub-attribute. Comparing with null or "" asks for absence.
//
// Every failure is an [*Error] with InvalidFilter that names the attribute.
func (t *ResourceType) Bind(e filter.Expr) (Condition, error) {
	return t.bind(e, t.locate)
}

// BindValue resolves a value filter, as in a PATCH path, whose attribute paths
// are sub-attributes of a ("value" for a simple attribute). The condition is
// for [Match] on the [SearchValue] of one value. Failures are as with Bind.
func (t *ResourceType) BindValue(a *Attribute, e filter.Expr) (Condition, error) {
	return t.bind(e, within(a, Attr{Column: t.columnOf(a)}, relative))
}

// SortKey is a bound sortBy. When Attr is multi-valued, resources sort by Sub
// of the value that is primary, else of the first (RFC 7644 §3.4.2.3);
// otherwise Sub is zero.
type SortKey struct {
	Attr Attr
	Sub  Attr // relative to a value
}

// BindSort resolves sortBy; a complex attribute sorts by its "value". A failure
// is an [*Error]: InvalidPath for an unknown attribute, InvalidValue for one
// that can't be sorted by.
func (t *ResourceType) BindSort(p filter.AttrPath) (SortKey, error) {
	if _, err := t.Resolve(p); err != nil {
		return SortKey{}, err
	}
	s, ok := t.locate(p)
	if ok && s.many != nil {
		return SortKey{Attr: *s.many, Sub: s.leaf}, nil
	}
	if !ok || s.definition == nil {
		return SortKey{}, invalid(p.String(), "expected a simple attribute that may be sorted by")
	}
	return SortKey{Attr: s.leaf}, nil
}

// site is where a filter's attribute path leads.
type site struct {
	present    Condition  // what "pr" asks
	many       *Attr      // the array that is crossed on the way to leaf, if any
	leaf       Attr       // what a comparison compares; relative to a value of many
	definition *Attribute // of leaf; nil when the path names a complex attribute without "value"
}

// locator finds the site of a path; false means that there is no such
// attribute, or none that may be filtered by.
type locator func(filter.AttrPath) (site, bool)

// locate finds sites from the root of the search document.
func (t *ResourceType) locate(p filter.AttrPath) (site, bool) {
	r, ok := t.resolve(p)
	if !ok || r.Attribute == nil || r.Attribute.Returned == Never {
		return site{}, false
	}
	whole := t.attr(r)
	if !r.Attribute.MultiValued && r.Attribute.Type != Complex {
		return site{present: Present{whole}, leaf: whole, definition: r.Attribute}, true
	}
	s := site{present: Present{whole}}
	if r.Extension == nil && r.Attribute.Name == "meta" {
		// Every resource has all of meta, and only its parts are columns.
		if part, ok := r.Attribute.Sub("resourceType"); ok {
			s.present = Present{t.sub(r, part, whole)}
		}
	}
	sub := r.Sub
	if sub == nil {
		sub = r.Attribute.value()
	}
	if sub == nil {
		return s, true
	}
	if sub.Returned == Never || !whole.Column.holds(sub.Name) {
		return site{}, false
	}
	s.definition = sub
	if r.Attribute.MultiValued {
		s.many, s.leaf = &whole, relative(sub)
		s.leaf.Key = t.keyName(r, sub)
		if r.Sub != nil {
			s.present = Some{whole, Present{s.leaf}}
		}
		return s, true
	}
	s.leaf = t.sub(r, sub, whole)
	if r.Sub != nil {
		s.present = Present{s.leaf}
	}
	return s, true
}

// within makes the locator for a value filter on a; below places its
// sub-attributes.
func within(a *Attribute, whole Attr, below func(*Attribute) Attr) locator {
	return func(p filter.AttrPath) (site, bool) {
		if p.URI != "" || p.Sub != "" {
			return site{}, false
		}
		sub, ok := a.Sub(p.Name)
		if a.Type != Complex && strings.EqualFold(p.Name, "value") {
			sub, ok = a.value(), true
		}
		if !ok || sub.Returned == Never || !whole.Column.holds(sub.Name) {
			return site{}, false
		}
		leaf := below(sub)
		return site{present: Present{leaf}, leaf: leaf, definition: sub}, true
	}
}

// value is the definition of the "value" that a value of the attribute has or,
// if the attribute is simple, is. It is nil for a complex attribute without.
func (a *Attribute) value() *Attribute {
	if a.Type == Complex {
		sub, _ := a.Sub("value")
		return sub
	}
	simple := *a
	simple.Name, simple.MultiValued = "value", false
	return &simple
}

// attr is where the attribute of r, without its sub-attribute, is found.
func (t *ResourceType) attr(r Ref) Attr {
	a := Attr{Type: r.Attribute.Type, CaseExact: r.Attribute.CaseExact, MultiValued: r.Attribute.MultiValued}
	if !r.Attribute.MultiValued {
		a.Key = t.keyName(r, r.Attribute)
	}
	if r.Extension != nil {
		a.Path = []string{r.Extension.ID, r.Attribute.Name}
		return a
	}
	a.Path = []string{r.Attribute.Name}
	a.Column = t.columns[r.Attribute.Name]
	return a
}

// columnOf is the column that holds the attribute, or empty.
func (t *ResourceType) columnOf(a *Attribute) Column {
	if own, ok := t.base(a.Name); ok && own == a {
		return t.columns[a.Name]
	}
	return ""
}

// Separate reports whether the values of the attribute are kept apart from
// the document, one by one, as the members of a group: a change must not need
// the values that are there.
func (t *ResourceType) Separate(a *Attribute) bool { return t.columnOf(a) == ColumnMembers }

// sub is where a sub-attribute of the single-valued attribute of r is found.
func (t *ResourceType) sub(r Ref, sub *Attribute, whole Attr) Attr {
	a := relative(sub)
	a.Path = append(slices.Clone(whole.Path), sub.Name)
	a.Key = t.keyName(r, sub)
	if r.Extension == nil {
		a.Column = t.columns[r.Attribute.Name+"."+sub.Name]
	}
	return a
}

func relative(sub *Attribute) Attr {
	return Attr{Path: []string{sub.Name}, Type: sub.Type, CaseExact: sub.CaseExact}
}

// holds reports whether the values of a multi-valued column can be asked for
// the sub-attribute.
func (c Column) holds(sub string) bool {
	if c != ColumnGroups && c != ColumnMembers {
		return true
	}
	return sub == "value" || sub == "display" || sub == "type" && c == ColumnMembers
}

func (t *ResourceType) bind(e filter.Expr, find locator) (Condition, error) {
	switch e := e.(type) {
	case filter.And:
		conditions, err := t.bindAll(e.Operands, find)
		if err != nil {
			return nil, err
		}
		return And{conditions}, nil
	case filter.Or:
		conditions, err := t.bindAll(e.Operands, find)
		if err != nil {
			return nil, err
		}
		return Or{conditions}, nil
	case filter.Not:
		c, err := t.bind(e.Operand, find)
		if err != nil {
			return nil, err
		}
		return Not{c}, nil
	case filter.Present:
		s, err := find.site(e.Attr)
		return s.present, err
	case filter.Compare:
		s, err := find.site(e.Attr)
		if err != nil {
			return nil, err
		}
		return s.compare(e)
	case filter.ValuePath:
		return t.bindValuePath(e)
	}
	return nil, unfit("", "expected a filter")
}

func (t *ResourceType) bindAll(operands []filter.Expr, find locator) ([]Condition, error) {
	conditions := make([]Condition, len(operands))
	for i, o := range operands {
		var err error
		if conditions[i], err = t.bind(o, find); err != nil {
			return nil, err
		}
	}
	return conditions, nil
}

func (t *ResourceType) bindValuePath(e filter.ValuePath) (Condition, error) {
	r, ok := t.resolve(e.Attr)
	if !ok || r.Attribute == nil || r.Attribute.Returned == Never {
		return nil, unknown(e.Attr)
	}
	whole := t.attr(r)
	if r.Attribute.MultiValued {
		c, err := t.bind(e.Filter, within(r.Attribute, whole, func(sub *Attribute) Attr {
			leaf := relative(sub)
			leaf.Key = t.keyName(r, sub)
			return leaf
		}))
		if err != nil {
			return nil, err
		}
		return Some{whole, c}, nil
	}
	if r.Attribute.Type != Complex {
		return nil, unfit(e.Attr.String(), "expected a multi-valued or complex attribute before [")
	}
	c, err := t.bind(e.Filter, within(r.Attribute, whole, func(sub *Attribute) Attr { return t.sub(r, sub, whole) }))
	if err != nil {
		return nil, err
	}
	s, _ := t.locate(e.Attr)
	return And{[]Condition{s.present, c}}, nil
}

func (find locator) site(p filter.AttrPath) (site, error) {
	s, ok := find(p)
	if !ok {
		return site{}, unknown(p)
	}
	return s, nil
}

func unknown(p filter.AttrPath) error {
	return unfit(p.String(), "expected an attribute that exists and may be used in a filter")
}

func unfit(path, detail string) error {
	return &Error{ScimType: filter.InvalidFilter, Path: path, Detail: detail}
}
