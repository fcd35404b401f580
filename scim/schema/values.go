package schema

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Normalize checks and normalizes a value of what r names, as ValidateCreate
// does within a document; nil means that nothing is assigned. A multi-valued
// attribute takes an array. What is readOnly within a complex value is
// dropped; r itself may be readOnly. Failures are [*Error] with InvalidValue.
func (t *ResourceType) Normalize(r Ref, raw any, o Options) (any, []Warning, error) {
	v := validator{t: t, o: o}
	if r.Attribute == nil {
		s := r.Extension
		if s == nil {
			s = t.Schema
		}
		out := map[string]any{}
		if err := v.extension(s, raw, out); err != nil {
			return nil, nil, err
		}
		return out[s.ID], v.warnings, nil
	}
	value, err := v.value(r.Target(), r.String(), raw)
	return value, v.warnings, err
}

// value is nil for what equals absence (RFC 7643 §2.5).
func (v *validator) value(a *Attribute, path string, raw any) (any, error) {
	if raw == nil {
		return nil, nil
	}
	if a.MultiValued {
		return v.list(a, path, raw)
	}
	if list, ok := raw.([]any); ok {
		if len(list) == 0 {
			return nil, nil
		}
		if len(list) > 1 || !v.o.LooseValues {
			return nil, invalid(path, "expected a single value, not an array")
		}
		raw = list[0]
	}
	if m, ok := raw.(map[string]any); ok && a.Type != Complex {
		if len(m) == 0 && v.o.LooseValues {
			return nil, nil
		}
		// Entra ID wraps a single value as [{"$ref":null,"value":"x"}].
		if raw, ok = m["value"]; !ok || !v.o.LooseValues {
			return nil, invalid(path, "expected a value of the type %s, not an object", a.Type)
		}
	}
	return v.single(a, path, raw)
}

func (v *validator) list(a *Attribute, path string, raw any) (any, error) {
	list, ok := raw.([]any)
	if !ok {
		if m, isMap := raw.(map[string]any); isMap && len(m) == 0 {
			return nil, nil
		}
		if !v.o.LooseValues {
			return nil, invalid(path, "expected an array")
		}
		list = []any{raw}
	}
	out := make([]any, 0, len(list))
	for _, element := range list {
		value, err := v.single(a, path, element)
		if err != nil {
			return nil, err
		}
		if err := checkKey(a, path, value); err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		out = append(out, value)
	}
	if out = Merge(a, nil, out); len(out) == 0 {
		return nil, nil
	}
	if countPrimary(out) > 1 {
		return nil, invalid(path+".primary", "expected at most one primary value")
	}
	return out, nil
}

// checkKey refuses what would otherwise be dropped or stored without meaning:
// a member without its id. Dropped, it could turn a replacement of all members
// into their removal.
func checkKey(a *Attribute, path string, value any) error {
	if !a.KeyedByValue() {
		return nil
	}
	m, _ := value.(map[string]any)
	if s, _ := m["value"].(string); s == "" {
		return invalid(path+".value", "expected a value in each element")
	}
	return nil
}

// single normalizes one value; a may be multi-valued, and raw is an element then.
func (v *validator) single(a *Attribute, path string, raw any) (any, error) {
	if raw == nil {
		return nil, nil
	}
	switch a.Type {
	case Complex:
		return v.complex(a, path, raw)
	case Boolean:
		return v.boolean(path, raw)
	case Integer:
		return integer(path, raw)
	case Decimal:
		if n, ok := raw.(json.Number); ok {
			if _, finite := float(n); finite {
				return n, nil
			}
		}
		return nil, invalid(path, "expected a number")
	case String, DateTime, Binary, Reference:
	}
	s, ok := raw.(string)
	if !ok {
		return nil, invalid(path, "expected a string (type %s)", a.Type)
	}
	if f, ok := v.t.formats[path]; ok && s != "" && !v.o.LooseValues && !f.pattern.MatchString(s) {
		return nil, invalid(path, "expected %s", f.expected)
	}
	return s, text(a, path, s)
}

func (v *validator) boolean(path string, raw any) (any, error) {
	switch raw := raw.(type) {
	case bool:
		return raw, nil
	case string:
		if b, ok := parseBool(raw); ok && v.o.StringBooleans {
			return b, nil
		}
	}
	return nil, invalid(path, "expected true or false")
}

func integer(path string, raw any) (any, error) {
	if n, ok := raw.(json.Number); ok {
		if _, err := n.Int64(); err == nil {
			return n, nil
		}
	}
	return nil, invalid(path, "expected an integer of 64 bits without fraction or exponent")
}

func text(a *Attribute, path, s string) error {
	if !storable(s) {
		return invalid(path, "expected a string without U+0000")
	}
	if s == "" {
		if a.Type == DateTime {
			return invalid(path, "%s", errDateTime)
		}
		return nil
	}
	switch a.Type {
	case DateTime:
		if _, err := ParseDateTime(s); err != nil {
			return invalid(path, "%s", err)
		}
	case Binary:
		if !isBase64(s) {
			return invalid(path, "expected base64 (RFC 4648 §4 or §5)")
		}
	case Reference:
		if _, err := url.Parse(s); err != nil || strings.ContainsAny(s, " \t\r\n") {
			return invalid(path, "expected an absolute or relative URI")
		}
	case String, Boolean, Decimal, Integer, Complex:
	}
	return nil
}

func isBase64(s string) bool {
	s = strings.TrimRight(s, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if _, err := encoding.DecodeString(s); err == nil {
			return true
		}
	}
	return false
}

func (v *validator) complex(a *Attribute, path string, raw any) (any, error) {
	m, ok := raw.(map[string]any)
	if !ok {
		if _, hasValue := a.Sub("value"); !hasValue || !v.o.LooseValues {
			return nil, invalid(path, "expected an object")
		}
		if raw == "" {
			return nil, nil
		}
		m = map[string]any{"value": raw}
	}
	out := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		sub, ok := a.Sub(key)
		if !ok {
			if err := v.unknown(path+"."+key, "no sub-attribute of "+path); err != nil {
				return nil, err
			}
			continue
		}
		if err := v.assign(out, sub, path+"."+sub.Name, m[key]); err != nil {
			return nil, err
		}
	}
	if a.clearedBy(out) {
		return nil, nil
	}
	return out, nil
}

// clearedBy reports whether a complex value holds nothing, or is a reference
// to nothing: {"value":""} for a single value, as Entra ID clears a manager.
func (a *Attribute) clearedBy(value map[string]any) bool {
	return len(value) == 0 || !a.MultiValued && len(value) == 1 && value["value"] == ""
}
