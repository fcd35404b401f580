package patch

import (
	"slices"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// openList is the list that the last operation has added to or removed from. It
// stays open, so that the next one need not look through it again: a directory
// may send a thousand operations, each with one value.
type openList struct {
	schema.Ref
	*schema.List
}

// quickly carries out what can be done on an open list: add and remove values
// as a whole. done is false for all else, for which the list is closed.
func (p *patcher) quickly(o Op, r schema.Ref, where filter.Expr, raw any) (done bool, err error) {
	if r.Sub != nil || r.Attribute.Mutability == schema.Immutable {
		return false, p.close()
	}
	switch {
	case where == nil && o == Add:
		return p.addQuickly(r, raw)
	case where == nil && o == Remove && raw != nil:
		return p.removeListedQuickly(r, raw)
	case where != nil && (o == Remove || raw == nil):
		return p.removeSelectedQuickly(r, where)
	default:
		return false, p.close()
	}
}

// opened returns the open list of the attribute.
func (p *patcher) opened(r schema.Ref) (*schema.List, error) {
	if p.open != nil && p.open.Extension == r.Extension && p.open.Attribute == r.Attribute {
		return p.open.List, nil
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	values, _ := p.holder(r)[r.Attribute.Name].([]any)
	if err := p.look(r, len(values)); err != nil {
		return nil, err
	}
	p.open = &openList{r, schema.NewList(r.Attribute, values)}
	return p.open.List, nil
}

// close puts the open list into the document.
func (p *patcher) close() error {
	if p.open == nil {
		return nil
	}
	open := p.open
	p.open = nil
	return p.assign(open.Ref, open.Values())
}

func (p *patcher) addQuickly(r schema.Ref, raw any) (done bool, err error) {
	if _, isList := raw.([]any); !isList {
		raw = []any{raw}
	}
	value, err := p.normalize(r, raw)
	if err != nil {
		return false, err
	}
	given, _ := value.([]any)
	list, err := p.opened(r)
	if err != nil {
		return false, err
	}
	if err := p.look(r, len(given)); err != nil {
		return false, err
	}
	for _, g := range given {
		list.Add(g)
	}
	for _, g := range given {
		if !isPrimary(g) {
			continue
		}
		primary := list.Primary()
		keep := slices.IndexFunc(primary, func(at int) bool { return names(r.Attribute, g, list.At(at)) })
		for i, at := range primary {
			if i != keep {
				list.Demote(at)
			}
		}
	}
	return true, nil
}

// removeListedQuickly removes values that are listed, if each is found by its
// text.
func (p *patcher) removeListedQuickly(r schema.Ref, raw any) (done bool, err error) {
	wanted, ok := raw.([]any)
	if !ok {
		wanted = []any{raw}
	}
	list, err := p.opened(r)
	if err != nil {
		return false, err
	}
	if r.Attribute.Required || list.Len() == 0 {
		return false, p.close()
	}
	warned := len(p.warnings)
	values, texts := make([]any, len(wanted)), make([]string, len(wanted))
	for i, w := range wanted {
		value, err := p.normalize(r, []any{w})
		if err != nil {
			return false, err
		}
		found := false
		if one, _ := value.([]any); len(one) == 1 {
			values[i] = one[0]
			texts[i], found = schema.SearchValue(r.Attribute, one[0])["value"].(string)
		}
		if !found {
			p.warnings = p.warnings[:warned] // it is normalized again
			return false, p.close()
		}
	}
	for i, value := range values {
		found, err := p.having(r, list, "value", texts[i])
		if err != nil {
			return false, err
		}
		for _, at := range found {
			if names(r.Attribute, value, list.At(at)) {
				list.Remove(at)
			}
		}
	}
	return true, nil
}

// removeSelectedQuickly removes the values that a filter finds, if that asks for
// the text of a sub-attribute.
func (p *patcher) removeSelectedQuickly(r schema.Ref, where filter.Expr) (done bool, err error) {
	condition, err := p.t.BindValue(r.Attribute, where)
	if err != nil {
		return false, err
	}
	sub, text, ok := textOf(condition)
	if !ok || r.Attribute.Required {
		return false, p.close()
	}
	list, err := p.opened(r)
	if err != nil {
		return false, err
	}
	found, err := p.having(r, list, sub, text)
	if err != nil {
		return false, err
	}
	removed := false
	for _, at := range found {
		if schema.Match(condition, schema.SearchValue(r.Attribute, list.At(at))) {
			list.Remove(at)
			removed = true
		}
	}
	if !removed {
		return true, p.missed(Remove, r)
	}
	return true, nil
}

// having is [schema.List.Having], with what it looks through counted.
func (p *patcher) having(r schema.Ref, list *schema.List, sub, text string) ([]int, error) {
	found, fresh := list.Having(sub, text)
	looked := len(found)
	if fresh {
		looked += list.Len()
	}
	return found, p.look(r, looked)
}

// textOf finds a text that each value which satisfies the condition has.
func textOf(c schema.Condition) (sub, text string, ok bool) {
	switch c := c.(type) {
	case schema.Compare:
		text, ok = c.Value.(string)
		if !ok || c.Op != filter.Eq || len(c.Attr.Path) != 1 {
			return "", "", false
		}
		return c.Attr.Path[0], text, true
	case schema.And:
		for _, each := range c.Conditions {
			if sub, text, ok := textOf(each); ok {
				return sub, text, true
			}
		}
	}
	return "", "", false
}
