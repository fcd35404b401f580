package schema

import "encoding/json"

// Merge appends added to the values of a multi-valued attribute, and returns
// the new values; its arguments aren't changed. A value that is there already,
// by its type and value (RFC 7643 §2.4), isn't appended: its other
// sub-attributes are set to those of the added one.
func Merge(a *Attribute, values, added []any) []any {
	l := NewList(a, values)
	for _, v := range added {
		l.Add(v)
	}
	return l.Values()
}

// identity is equal for the values of a that count as duplicates.
func identity(a *Attribute, value any) string {
	m, ok := value.(map[string]any)
	if _, hasValue := a.Sub("value"); !ok || !hasValue || m["value"] == nil {
		return fingerprint(a, value)
	}
	key := map[string]any{"value": m["value"]}
	if !a.KeyedByValue() && m["type"] != nil {
		key["type"] = m["type"]
	}
	return fingerprint(a, key)
}

// fingerprint is equal for equal values. JSON has a fixed order of keys.
func fingerprint(a *Attribute, value any) string {
	text, err := json.Marshal(SearchValue(a, value))
	if err != nil {
		return ""
	}
	return string(text)
}

// canonical is the form in which two single values are equal.
func canonical(a *Attribute, value any) any { return searchSingle(a, value) }

func single(a *Attribute) *Attribute {
	one := *a
	one.MultiValued = false
	return &one
}

func countPrimary(values []any) int {
	n := 0
	for _, v := range values {
		if isPrimary(v) {
			n++
		}
	}
	return n
}

// clone copies a JSON value deeply.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = clone(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = clone(value)
		}
		return out
	}
	return v
}
