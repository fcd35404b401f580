package patch

import (
	"maps"
	"slices"

	"github.com/rolecall/rolecall/scim/schema"
)

func mutability(path, detail string) error {
	return &schema.Error{ScimType: schema.Mutable, Path: path, Detail: detail}
}

func (p *patcher) normalize(r schema.Ref, raw any) (any, error) {
	value, warnings, err := p.t.Normalize(r, raw, p.o)
	p.warnings = append(p.warnings, warnings...)
	return value, err
}

// holder is the object that holds the attribute of r: the document or an
// extension in it. It is nil, which may be read, if there is no such extension.
func (p *patcher) holder(r schema.Ref) map[string]any {
	if r.Extension == nil {
		return p.doc
	}
	m, _ := p.doc[r.Extension.ID].(map[string]any)
	return m
}

// assign sets the attribute of r, or removes it if value is empty.
func (p *patcher) assign(r schema.Ref, value any) error {
	m := p.holder(r)
	have, had := m[r.Attribute.Name]
	if isEmpty(value) {
		if !had {
			return nil
		}
		if r.Attribute.Required || r.Attribute.Mutability == schema.Immutable {
			return mutability(name(r), "expected no removal, since the attribute is required or immutable")
		}
		delete(m, r.Attribute.Name)
		return nil
	}
	if had && r.Attribute.Mutability == schema.Immutable && !schema.Equal(r.Attribute, have, value) {
		return mutability(name(r), "expected the value that was set before, since the attribute is immutable")
	}
	if m == nil {
		m = map[string]any{}
		p.doc[r.Extension.ID] = m
	}
	m[r.Attribute.Name] = value
	return nil
}

// name is the path of the attribute of r without its sub-attribute.
func name(r schema.Ref) string {
	r.Sub = nil
	return r.String()
}

func isEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// setSingle adds to or replaces a single-valued attribute, or a sub-attribute
// of one. Both do the same: a complex value replaces the sub-attributes that
// it names (RFC 7644 §3.5.2.1, §3.5.2.3).
func (p *patcher) setSingle(r schema.Ref, raw any) error {
	if r.Attribute.Type != schema.Complex {
		value, err := p.normalize(r, raw)
		if err != nil {
			return err
		}
		return p.assign(r, value)
	}
	have, _ := p.holder(r)[r.Attribute.Name].(map[string]any)
	if r.Sub != nil {
		value, err := p.normalize(r, raw)
		if err != nil {
			return err
		}
		return p.update(r, have, map[string]any{r.Sub.Name: value})
	}
	given, cleared := p.divide(r.Attribute, raw)
	if isEmpty(given) && len(cleared) == 0 {
		return nil
	}
	value, err := p.normalize(r, given)
	if err != nil {
		return err
	}
	changes, _ := value.(map[string]any)
	if changes == nil && !isEmpty(given) {
		return p.unassign(r, nil) // "" or {"value":""}, a reference to nothing
	}
	for _, sub := range cleared {
		if changes == nil {
			changes = map[string]any{}
		}
		changes[sub] = nil
	}
	return p.update(r, have, changes)
}

// divide separates the sub-attributes of a complex value that are null, and so
// are to be unassigned, from the rest.
func (p *patcher) divide(a *schema.Attribute, raw any) (given any, cleared []string) {
	if list, ok := raw.([]any); ok && p.o.LooseValues && len(list) == 1 {
		raw = list[0]
	}
	m, ok := raw.(map[string]any)
	if !ok {
		return raw, nil
	}
	rest := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		sub, known := a.Sub(key)
		switch {
		case m[key] != nil || !known:
			rest[key] = m[key]
		case sub.Mutability != schema.ReadOnly:
			cleared = append(cleared, sub.Name)
		}
	}
	return rest, cleared
}

// update sets and, where the change is nil, unassigns sub-attributes of a
// single complex value.
func (p *patcher) update(r schema.Ref, have, changes map[string]any) error {
	next, err := edit(r, have, changes)
	if err != nil {
		return err
	}
	return p.assign(r, next)
}

// edit returns a copy of a complex value, which may be one of several, with
// the changes.
func edit(r schema.Ref, have, changes map[string]any) (map[string]any, error) {
	next := make(map[string]any, len(have)+len(changes))
	maps.Copy(next, have)
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		sub, ok := r.Attribute.Sub(key)
		if !ok {
			continue
		}
		old, had := have[key]
		value := changes[key]
		path := name(r) + "." + key
		switch {
		case value == nil && had && (sub.Required || sub.Mutability == schema.Immutable):
			return nil, mutability(path, "expected no removal, since the attribute is required or immutable")
		case value == nil:
			delete(next, key)
			continue
		case had && sub.Mutability == schema.Immutable && !schema.Equal(sub, old, value):
			return nil, mutability(path, "expected the value that was set before, since the attribute is immutable")
		}
		next[key] = value
	}
	// A reference that names another resource has lost its old location.
	if _, restated := changes["$ref"]; !restated && have["value"] != nil && next["value"] != have["value"] {
		delete(next, "$ref")
	}
	return next, nil
}

// unassign removes an attribute or sub-attribute. raw may list the values of a
// multi-valued attribute to remove, as Entra ID and JumpCloud do.
func (p *patcher) unassign(r schema.Ref, raw any) error {
	have, had := p.holder(r)[r.Attribute.Name]
	if r.Target().Required {
		return mutability(r.String(), "expected no removal, since the attribute is required")
	}
	if !had {
		return nil
	}
	if r.Attribute.MultiValued {
		list, _ := have.([]any)
		if r.Sub != nil {
			return p.unassignInAll(r, list, func(int) bool { return true })
		}
		if raw != nil {
			return p.removeListed(r, list, raw)
		}
		return p.assign(r, nil)
	}
	m, isComplex := have.(map[string]any)
	if r.Sub != nil {
		return p.update(r, m, map[string]any{r.Sub.Name: nil})
	}
	if isComplex {
		for _, sub := range r.Attribute.SubAttributes {
			if _, set := m[sub.Name]; set && sub.Mutability == schema.Immutable {
				return mutability(r.String()+"."+sub.Name, "expected no removal, since the attribute is immutable")
			}
		}
	}
	return p.assign(r, nil)
}

// unassignInAll removes a sub-attribute from the values that are chosen, and
// values that nothing is left of.
func (p *patcher) unassignInAll(r schema.Ref, list []any, chosen func(int) bool) error {
	var next []any
	for i, element := range list {
		m, _ := element.(map[string]any)
		if chosen(i) {
			var err error
			if m, err = edit(r, m, map[string]any{r.Sub.Name: nil}); err != nil {
				return err
			}
		}
		if len(m) > 0 {
			next = append(next, m)
		}
	}
	return p.assign(r, schema.Merge(r.Attribute, nil, next))
}

func (p *patcher) removeListed(r schema.Ref, list []any, raw any) error {
	wanted, ok := raw.([]any)
	if !ok {
		wanted = []any{raw}
	}
	next := slices.Clone(list)
	for _, w := range wanted {
		// One by one: several may be primary, or equal.
		value, err := p.normalize(r, []any{w})
		if err != nil {
			return err
		}
		if one, _ := value.([]any); len(one) == 1 {
			next = slices.DeleteFunc(next, func(v any) bool { return names(r.Attribute, one[0], v) })
		}
	}
	if len(next) == len(list) {
		return nil
	}
	if r.Attribute.Mutability == schema.Immutable {
		return mutability(r.String(), "expected no removal, since the attribute is immutable")
	}
	return p.assign(r, next)
}

// names reports whether a value that a client lists means the value that the
// attribute has: by value and type if it tells a value, since all else may
// have changed, and otherwise by everything that it tells.
func names(a *schema.Attribute, listed, have any) bool {
	if a.Type != schema.Complex {
		return schema.Equal(a, []any{listed}, []any{have})
	}
	want, _ := listed.(map[string]any)
	m, _ := have.(map[string]any)
	_, byValue := want["value"]
	for key, value := range want {
		sub, ok := a.Sub(key)
		if !ok || byValue && key != "value" && key != "type" {
			continue
		}
		if !schema.Equal(sub, value, m[key]) {
			return false
		}
	}
	return true
}

// setList adds to or replaces a multi-valued attribute.
func (p *patcher) setList(o Op, r schema.Ref, raw any) error {
	if _, isList := raw.([]any); !isList {
		raw = []any{raw}
	}
	value, err := p.normalize(r, raw)
	if err != nil {
		return err
	}
	given, _ := value.([]any)
	if o == Replace {
		return p.assign(r, given)
	}
	have, _ := p.holder(r)[r.Attribute.Name].([]any)
	if len(given) == 0 {
		return nil
	}
	next := schema.Merge(r.Attribute, have, given)
	for _, g := range given {
		if isPrimary(g) {
			demote(next, slices.IndexFunc(next, func(v any) bool { return isPrimary(v) && names(r.Attribute, g, v) }))
		}
	}
	return p.assign(r, next)
}

// setInAll sets a sub-attribute of all values of a multi-valued attribute,
// since a path without filter chooses all. If there is none it makes one.
func (p *patcher) setInAll(r schema.Ref, raw any) error {
	list, _ := p.holder(r)[r.Attribute.Name].([]any)
	if len(list) == 0 {
		return p.setList(Add, schema.Ref{Extension: r.Extension, Attribute: r.Attribute}, []any{map[string]any{r.Sub.Name: raw}})
	}
	all := make([]int, len(list))
	for i := range all {
		all[i] = i
	}
	return p.setIn(r, list, all, raw)
}

// setIn sets the sub-attribute of the values at the given positions.
func (p *patcher) setIn(r schema.Ref, list []any, positions []int, raw any) error {
	value, err := p.normalize(r, raw)
	if err != nil {
		return err
	}
	if value == nil {
		return p.unassignInAll(r, list, func(i int) bool { return slices.Contains(positions, i) })
	}
	next := slices.Clone(list)
	for _, i := range positions {
		m, _ := list[i].(map[string]any)
		if next[i], err = edit(r, m, map[string]any{r.Sub.Name: value}); err != nil {
			return err
		}
	}
	return p.assignSelected(r, next, positions)
}

// assignSelected assigns a list in which the values at the positions are new:
// if one of them is primary, no other value is (RFC 7644 §3.5.2).
func (p *patcher) assignSelected(r schema.Ref, next []any, positions []int) error {
	primary := slices.DeleteFunc(slices.Clone(positions), func(i int) bool { return !isPrimary(next[i]) })
	if len(primary) > 1 {
		return &schema.Error{ScimType: schema.InvalidValue, Path: name(r) + ".primary", Detail: "expected at most one value to become primary"}
	}
	if len(primary) == 1 {
		demote(next, primary[0])
	}
	return p.assign(r, schema.Merge(r.Attribute, nil, next))
}

func isPrimary(value any) bool {
	m, ok := value.(map[string]any)
	return ok && m["primary"] == true
}

// demote makes no value but the one at keep primary. The values belong to the
// patcher's own document by now.
func demote(list []any, keep int) {
	for i, v := range list {
		if m, ok := v.(map[string]any); ok && i != keep && isPrimary(v) {
			m["primary"] = false
		}
	}
}

// clone copies a document deeply, so that nothing of the old one can change.
func clone[T any](v T) T {
	out, _ := cloneValue(v).(T)
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = cloneValue(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = cloneValue(value)
		}
		return out
	}
	return v
}
