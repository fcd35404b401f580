package schema

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// SearchDocument derives the document that conditions are evaluated on, by
// [Match] or in SQL, from a representation as Validate returns it, which may
// also hold what the server keeps (id, meta, groups, members):
//
//   - strings are folded with [Fold] where caseExact is false;
//   - dateTimes have the text of [FormatDateTime];
//   - integers are JSON integers, decimals have the shortest text of their
//     float64, booleans are JSON booleans;
//   - null, "", [] and {} are left out, as are attributes that are never
//     returned and those that no schema defines;
//   - a simple multi-valued attribute is an array of {"value": …} objects, as
//     a complex one is an array of objects.
//
// Comparing these values byte by byte, or as numbers, is all that a condition
// needs. The result shares nothing with doc.
func (t *ResourceType) SearchDocument(doc map[string]any) map[string]any {
	out := map[string]any{}
	for _, attributes := range [][]*Attribute{t.common, t.Schema.Attributes} {
		searchAttributes(attributes, doc, out)
	}
	for _, e := range t.Extensions {
		inner, ok := doc[e.Schema.ID].(map[string]any)
		if !ok {
			continue
		}
		if m := searchAttributes(e.Schema.Attributes, inner, map[string]any{}); len(m) > 0 {
			out[e.Schema.ID] = m
		}
	}
	return out
}

func searchAttributes(attributes []*Attribute, from, into map[string]any) map[string]any {
	for _, a := range attributes {
		if v := searchAttribute(a, from[a.Name]); v != nil {
			into[a.Name] = v
		}
	}
	return into
}

// searchAttribute is nil for what a search document leaves out.
func searchAttribute(a *Attribute, v any) any {
	if a.Returned == Never || v == nil {
		return nil
	}
	if !a.MultiValued {
		return searchSingle(a, v)
	}
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	out := make([]any, 0, len(list))
	for _, element := range list {
		if m := SearchValue(a, element); len(m) > 0 {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// SearchValue is the form in a search document of one value of a multi-valued
// attribute, for [Match] with a condition of [ResourceType.BindValue].
func SearchValue(a *Attribute, element any) map[string]any {
	if a.Type == Complex {
		m, ok := element.(map[string]any)
		if !ok {
			return nil
		}
		return searchAttributes(a.SubAttributes, m, map[string]any{})
	}
	if v := searchScalar(a, element); v != nil {
		return map[string]any{"value": v}
	}
	return nil
}

func searchSingle(a *Attribute, v any) any {
	if a.Type != Complex {
		return searchScalar(a, v)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	if out := searchAttributes(a.SubAttributes, m, map[string]any{}); len(out) > 0 {
		return out
	}
	return nil
}

func searchScalar(a *Attribute, v any) any {
	switch v := v.(type) {
	case string:
		return searchString(a, v)
	case bool:
		if a.Type == Boolean {
			return v
		}
	case json.Number:
		switch a.Type {
		case Integer:
			if i, err := v.Int64(); err == nil {
				return json.Number(strconv.FormatInt(i, 10))
			}
		case Decimal:
			if f, ok := float(v); ok {
				return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
			}
		case String, Boolean, DateTime, Binary, Reference, Complex:
		}
	}
	return nil
}

func searchString(a *Attribute, s string) any {
	if s == "" {
		return nil
	}
	switch a.Type {
	case String, Reference, Binary:
		if a.CaseExact {
			return s
		}
		return Fold(s)
	case DateTime:
		if t, err := ParseDateTime(s); err == nil {
			return FormatDateTime(t)
		}
	case Boolean, Decimal, Integer, Complex:
	}
	return nil
}

// float refuses what float64 can't hold, and has no negative zero: both
// databases and memory must agree on every value that is let through.
func float(n json.Number) (float64, bool) {
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	return f + 0, true
}

// storable reports whether a database can hold and match the text: PostgreSQL
// has no U+0000.
func storable(s string) bool { return !strings.ContainsRune(s, 0) }
