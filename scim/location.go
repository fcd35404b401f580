package scim

import (
	"cmp"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// byIdentifier replaces what a condition asks of meta.location by what that
// means for id, since a location is prefix and an identifier and only the edge
// knows the prefix.
func byIdentifier(condition schema.Condition, prefix string) schema.Condition {
	switch condition := condition.(type) {
	case schema.And:
		return schema.And{Conditions: allByIdentifier(condition.Conditions, prefix)}
	case schema.Or:
		return schema.Or{Conditions: allByIdentifier(condition.Conditions, prefix)}
	case schema.Not:
		return schema.Not{Condition: byIdentifier(condition.Condition, prefix)}
	case schema.Compare:
		text, ok := condition.Value.(string)
		if condition.Attr.Column == schema.ColumnLocation && ok {
			return compareLocation(condition.Op, text, prefix)
		}
	case schema.Present, schema.Some: // a location is always there, and one value
	}
	return condition
}

func allByIdentifier(conditions []schema.Condition, prefix string) []schema.Condition {
	all := make([]schema.Condition, len(conditions))
	for i, condition := range conditions {
		all[i] = byIdentifier(condition, prefix)
	}
	return all
}

// compareLocation compares prefix+id with text. An identifier is never empty.
func compareLocation(op filter.Op, text, prefix string) schema.Condition {
	rest, begins := strings.CutPrefix(text, prefix)
	switch op {
	case filter.Eq:
		if !begins || rest == "" {
			return schema.Or{}
		}
		return compareID(op, rest)
	case filter.Sw:
		if strings.HasPrefix(prefix, text) {
			return schema.And{}
		}
		if !begins {
			return schema.Or{}
		}
		return compareID(op, rest)
	case filter.Co, filter.Ew:
		return overlaps(op, text, prefix)
	case filter.Gt, filter.Ge, filter.Lt, filter.Le:
		if begins && rest != "" {
			return compareID(op, rest)
		}
		// The order is decided within the prefix, or by its being longer.
		if above := cmp.Compare(prefix, text) >= 0; above == (op == filter.Gt || op == filter.Ge) {
			return schema.And{}
		}
	case filter.Ne:
	}
	return schema.Or{}
}

// overlaps finds the text within prefix+id, or at its end: in either part, or
// across the two.
func overlaps(op filter.Op, text, prefix string) schema.Condition {
	if op == filter.Co && strings.Contains(prefix, text) {
		return schema.And{}
	}
	across := filter.Sw
	if op == filter.Ew {
		across = filter.Eq
	}
	places := []schema.Condition{compareID(op, text)}
	for i := 1; i < len(text); i++ {
		if strings.HasSuffix(prefix, text[:i]) {
			places = append(places, compareID(across, text[i:]))
		}
	}
	return schema.Or{Conditions: places}
}

func compareID(op filter.Op, value string) schema.Condition {
	return schema.Compare{
		Attr: schema.Attr{Path: []string{"id"}, Type: schema.String, CaseExact: true, Column: schema.ColumnID},
		Op:   op, Value: value,
	}
}
