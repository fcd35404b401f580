package schema

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
)

// compare binds a comparison at the site.
func (s site) compare(e filter.Compare) (Condition, error) {
	path := e.Attr.String()
	if s.definition == nil {
		return nil, unfit(path, "expected a sub-attribute, since a complex attribute can't be compared")
	}
	if c, ok, err := s.compareEmpty(e); ok || err != nil {
		return c, err
	}
	if !fits(e.Op, s.definition.Type) {
		return nil, unfit(path, "expected an operator that is defined for the type "+string(s.definition.Type))
	}
	value, ok := operand(s.definition, e.Value)
	if !ok {
		return nil, unfit(path, "expected a value of the type "+string(s.definition.Type))
	}
	op := e.Op
	if op == filter.Ne {
		op = filter.Eq
	}
	var c Condition = Compare{Attr: s.leaf, Op: op, Value: value}
	if s.many != nil {
		c = Some{*s.many, c}
	}
	if e.Op == filter.Ne {
		c = Not{c}
	}
	return c, nil
}

// compareEmpty binds comparisons with null and "", which equal absence
// (RFC 7643 §2.5): a search document holds neither.
func (s site) compareEmpty(e filter.Compare) (Condition, bool, error) {
	textual := e.Value == "" && (s.definition.Type == String || s.definition.Type == Reference || s.definition.Type == Binary)
	if e.Value != nil && !textual {
		return nil, false, nil
	}
	switch e.Op {
	case filter.Eq:
		return Not{s.present}, true, nil
	case filter.Ne:
		return s.present, true, nil
	case filter.Co, filter.Sw, filter.Ew:
		if textual { // every text contains the empty one
			return s.present, true, nil
		}
	case filter.Gt, filter.Ge, filter.Lt, filter.Le:
	}
	return nil, false, unfit(e.Attr.String(), "expected a non-empty value for the operator "+string(e.Op))
}

// fits says which operators a type has. RFC 7644 §3.4.2.2 demands the failure
// of an order on booleans and binaries; substrings make sense in texts only.
func fits(op filter.Op, t Type) bool {
	switch op {
	case filter.Eq, filter.Ne:
		return true
	case filter.Co, filter.Sw, filter.Ew:
		return t == String || t == Reference || t == Binary
	case filter.Gt, filter.Ge, filter.Lt, filter.Le:
		return t != Boolean && t != Binary
	}
	return false
}

// operand normalizes a literal as [ResourceType.SearchDocument] normalizes the
// values that it is compared with.
func operand(a *Attribute, v any) (any, bool) {
	switch v := v.(type) {
	case string:
		if a.Type == Boolean {
			return parseBool(v)
		}
		if !storable(v) {
			return nil, false
		}
		s := searchString(a, v)
		return s, s != nil
	case bool:
		return v, a.Type == Boolean
	case json.Number:
		if a.Type == Integer {
			return wholeNumber(v)
		}
		f, ok := float(v)
		return f, ok && a.Type == Decimal
	}
	return nil, false
}

// wholeNumber is an int64 wherever the number is one, however it is written,
// since a database may compare an integer with a float64's decimal text.
func wholeNumber(n json.Number) (any, bool) {
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	f, ok := float(n)
	if ok && f == math.Trunc(f) && math.Abs(f) < math.MaxInt64 {
		return int64(f), true
	}
	return f, ok
}

// parseBool reads the strings that Entra ID sends for booleans.
func parseBool(s string) (bool, bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}
