package schema

import (
	"cmp"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
)

// Match evaluates a condition on a search document: one of
// [ResourceType.SearchDocument] for conditions of Bind, one of [SearchValue]
// for those of BindValue. Numbers may be [json.Number], float64 or int64, so a
// document that went through a database may be given as decoded.
func Match(c Condition, doc map[string]any) bool {
	switch c := c.(type) {
	case And:
		return !slices.ContainsFunc(c.Conditions, func(o Condition) bool { return !Match(o, doc) })
	case Or:
		return slices.ContainsFunc(c.Conditions, func(o Condition) bool { return Match(o, doc) })
	case Not:
		return !Match(c.Condition, doc)
	case Present:
		return lookup(doc, c.Attr.Path) != nil
	case Some:
		values, _ := lookup(doc, c.Attr.Path).([]any)
		return slices.ContainsFunc(values, func(v any) bool {
			m, ok := v.(map[string]any)
			return ok && Match(c.Filter, m)
		})
	case Compare:
		return relate(lookup(doc, c.Attr.Path), c.Op, c.Value)
	}
	return false
}

func lookup(doc map[string]any, path []string) any {
	for _, key := range path[:len(path)-1] {
		doc, _ = doc[key].(map[string]any)
	}
	return doc[path[len(path)-1]]
}

func relate(have any, op filter.Op, want any) bool {
	switch want := want.(type) {
	case string:
		s, ok := have.(string)
		return ok && relateStrings(s, op, want)
	case bool:
		return have == want && op == filter.Eq
	case int64, float64:
		left, ok := rational(have)
		right, finite := rational(want)
		return ok && finite && ordered(left.Cmp(right), op)
	}
	return false
}

func relateStrings(have string, op filter.Op, want string) bool {
	switch op {
	case filter.Co:
		return strings.Contains(have, want)
	case filter.Sw:
		return strings.HasPrefix(have, want)
	case filter.Ew:
		return strings.HasSuffix(have, want)
	case filter.Eq, filter.Ne, filter.Gt, filter.Ge, filter.Lt, filter.Le:
	}
	return ordered(cmp.Compare(have, want), op)
}

func ordered(order int, op filter.Op) bool {
	switch op {
	case filter.Eq:
		return order == 0
	case filter.Gt:
		return order > 0
	case filter.Ge:
		return order >= 0
	case filter.Lt:
		return order < 0
	case filter.Le:
		return order <= 0
	case filter.Ne, filter.Co, filter.Sw, filter.Ew:
	}
	return false
}

// rational is the exact value of a number, so that an int64 beyond 2^53
// compares rightly with a float64.
func rational(v any) (*big.Rat, bool) {
	switch v := v.(type) {
	case int64:
		return new(big.Rat).SetInt64(v), true
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return new(big.Rat).SetInt64(i), true
		}
		f, ok := float(v)
		if !ok {
			return nil, false
		}
		return new(big.Rat).SetFloat64(f), true
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, false
		}
		return new(big.Rat).SetFloat64(v), true
	}
	return nil, false
}
