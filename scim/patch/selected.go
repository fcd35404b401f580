package patch

import (
	"maps"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// selected applies an operation whose path has a value filter.
func (p *patcher) selected(o Op, r schema.Ref, where filter.Expr, raw any) error {
	condition, err := p.t.BindValue(r.Attribute, where)
	if err != nil {
		return err
	}
	matches := func(v any) bool { return schema.Match(condition, schema.SearchValue(r.Attribute, v)) }
	have := p.holder(r)[r.Attribute.Name]
	if !r.Attribute.MultiValued {
		return p.selectedSingle(o, r, have != nil && matches(have), raw)
	}
	list, _ := have.([]any)
	var positions []int
	for i, v := range list {
		if matches(v) {
			positions = append(positions, i)
		}
	}
	if o == Remove || raw == nil {
		return p.removeSelected(r, list, positions)
	}
	r, raw = plainValue(r, raw)
	switch {
	case len(positions) == 0:
		return p.create(o, r, where, raw)
	case r.Sub != nil:
		return p.setIn(r, list, positions, raw)
	}
	return p.replaceSelected(o, r, list, positions, raw)
}

// selectedSingle treats a filter on a single value as a condition, as in
// manager[value eq "x"].
func (p *patcher) selectedSingle(o Op, r schema.Ref, matched bool, raw any) error {
	if r.Attribute.Type != schema.Complex {
		return &schema.Error{ScimType: filter.InvalidPath, Path: r.String(), Detail: "expected a multi-valued or complex attribute before ["}
	}
	if !matched {
		return p.missed(o, r)
	}
	if o == Remove || raw == nil {
		return p.unassign(r, nil)
	}
	return p.setSingle(r, raw)
}

// missed answers an operation whose filter finds nothing. To remove what isn't
// there is what clients do when they repeat themselves.
func (p *patcher) missed(o Op, r schema.Ref) error {
	if o == Remove && p.o.LooseValues {
		return nil
	}
	return noTarget(r)
}

func noTarget(r schema.Ref) error {
	return &schema.Error{ScimType: schema.NoTarget, Path: r.String(), Detail: "expected a value that the filter finds"}
}

func (p *patcher) removeSelected(r schema.Ref, list []any, positions []int) error {
	if len(positions) == 0 {
		return p.missed(Remove, r)
	}
	chosen := make(map[int]bool, len(positions))
	for _, i := range positions {
		chosen[i] = true
	}
	if r.Sub != nil {
		return p.unassignInAll(r, list, func(i int) bool { return chosen[i] })
	}
	next := make([]any, 0, len(list))
	for i, v := range list {
		if !chosen[i] {
			next = append(next, v)
		}
	}
	return p.assign(r, next)
}

// plainValue reads emails[type eq "work"] with a plain value as if the path
// had named the sub-attribute "value".
func plainValue(r schema.Ref, raw any) (schema.Ref, any) {
	if list, ok := raw.([]any); ok && len(list) == 1 {
		raw = list[0]
	}
	if _, isObject := raw.(map[string]any); r.Sub == nil && !isObject && r.Attribute.Type == schema.Complex {
		if value, ok := r.Attribute.Sub("value"); ok {
			r.Sub = value
		}
	}
	return r, raw
}

// replaceSelected replaces whole values, or adds sub-attributes to them.
func (p *patcher) replaceSelected(o Op, r schema.Ref, list []any, positions []int, raw any) error {
	value, err := p.normalize(r, []any{raw})
	if err != nil {
		return err
	}
	given, _ := value.([]any)
	if len(given) != 1 {
		if o == Add {
			return nil
		}
		return p.removeSelected(r, list, positions)
	}
	next := append(make([]any, 0, len(list)), list...)
	for _, i := range positions {
		changes, isComplex := given[0].(map[string]any)
		if !isComplex || o == Replace {
			next[i] = cloneValue(given[0])
			continue
		}
		have, _ := list[i].(map[string]any)
		if next[i], err = edit(r, have, changes); err != nil {
			return err
		}
	}
	return p.assignSelected(r, next, positions)
}

// create makes the value that a filter didn't find, where that is what the
// client means; see [Apply].
func (p *patcher) create(o Op, r schema.Ref, where filter.Expr, raw any) error {
	told, ok := equalities(r.Attribute, where)
	if !ok || o == Replace && !onCanonicalType(r.Attribute, where) {
		return noTarget(r)
	}
	whole := schema.Ref{Extension: r.Extension, Attribute: r.Attribute}
	if r.Attribute.Type != schema.Complex {
		return p.setList(Add, whole, []any{raw})
	}
	element := told
	if r.Sub != nil {
		value, err := p.normalize(r, raw)
		if err != nil {
			return err
		}
		if value == nil {
			return nil
		}
		element[r.Sub.Name] = value
	} else {
		value, err := p.normalize(whole, []any{raw})
		if err != nil {
			return err
		}
		given, _ := value.([]any)
		if len(given) != 1 {
			return nil
		}
		m, _ := given[0].(map[string]any)
		maps.Copy(element, m)
	}
	return p.setList(Add, whole, []any{element})
}

// equalities collects what a filter of "eq" and "and" tells of a value.
func equalities(a *schema.Attribute, where filter.Expr) (map[string]any, bool) {
	operands := []filter.Expr{where}
	if and, ok := where.(filter.And); ok {
		operands = and.Operands
	}
	told := map[string]any{}
	for _, o := range operands {
		c, ok := o.(filter.Compare)
		if !ok || c.Op != filter.Eq || c.Value == nil {
			return nil, false
		}
		sub, ok := a.Sub(c.Attr.Name)
		if !ok && a.Type == schema.Complex {
			return nil, false
		}
		if ok {
			told[sub.Name] = c.Value
		}
	}
	return told, true
}

// onCanonicalType recognizes type eq "work" for one of the canonical types.
func onCanonicalType(a *schema.Attribute, where filter.Expr) bool {
	c, ok := where.(filter.Compare)
	if !ok || c.Op != filter.Eq || !strings.EqualFold(c.Attr.Name, "type") {
		return false
	}
	kind, ok := c.Value.(string)
	sub, known := a.Sub("type")
	return ok && known && sub.Canonical(kind)
}

// isValue reports whether a path within a value filter names "value".
func isValue(p filter.AttrPath) bool {
	return p.URI == "" && p.Sub == "" && strings.EqualFold(p.Name, "value")
}
