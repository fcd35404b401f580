package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// A Key is a value by which the store finds a resource, or that no other
// resource of the type may have.
type Key struct {
	Attribute string // as in [Attr.Key]
	Value     string // of [KeyValue]
	Unique    bool   // no other resource of the type may have the key
}

// Keys returns a key for every value of the attributes that are indexed or
// must be unique (RFC 7643 §7), but for those in columns; doc is as for
// SearchDocument. It is nil for a type without such attributes.
func (t *ResourceType) Keys(doc map[string]any) []Key {
	var keys []Key
	t.eachSchema(func(extension *Schema, attributes []*Attribute) {
		from := doc
		if extension != nil {
			from, _ = doc[extension.ID].(map[string]any)
		}
		for _, a := range attributes {
			keys = t.appendKeys(keys, Ref{Extension: extension, Attribute: a}, from[a.Name])
		}
	})
	return keys
}

func (t *ResourceType) eachSchema(do func(extension *Schema, attributes []*Attribute)) {
	do(nil, t.Schema.Attributes)
	for _, e := range t.Extensions {
		do(e.Schema, e.Schema.Attributes)
	}
}

// keyName is the name of the keys of an attribute or of a sub-attribute of it;
// empty when it has none.
func (t *ResourceType) keyName(r Ref, a *Attribute) string {
	if !a.Indexed && a.Uniqueness == NotUnique || a.Type == Complex || r.Extension == nil && t.columns[r.Attribute.Name] != "" {
		return ""
	}
	r.Sub = nil
	if _, ok := r.Attribute.Sub(a.Name); ok && r.Attribute.Type == Complex {
		r.Sub = a
	}
	return r.String()
}

func (t *ResourceType) appendKeys(keys []Key, r Ref, value any) []Key {
	values, many := value.([]any)
	if !many {
		values = []any{value}
	}
	for _, value := range values {
		if r.Attribute.Type != Complex {
			keys = t.appendKey(keys, r, r.Attribute, value)
			continue
		}
		m, _ := value.(map[string]any)
		for _, sub := range r.Attribute.SubAttributes {
			keys = t.appendKey(keys, r, sub, m[sub.Name])
		}
	}
	return keys
}

func (t *ResourceType) appendKey(keys []Key, r Ref, a *Attribute, value any) []Key {
	name := t.keyName(r, a)
	if name == "" {
		return keys
	}
	text, ok := KeyValue(searchScalar(a, value))
	if !ok {
		return keys
	}
	if a.Returned == Never {
		text = digest(text) // nobody searches by it
	}
	key := Key{Attribute: name, Value: text, Unique: a.Uniqueness != NotUnique}
	if slices.Contains(keys, key) {
		return keys // twice in one resource
	}
	return append(keys, key)
}

// maxKey bounds the text of a key, in bytes; the indexes of databases are.
// What is longer ends in the digest of the whole.
const (
	maxKey    = 512
	keyPrefix = maxKey - 2*sha256.Size
)

// KeyValue is the text of a value as a search document or a bound [Compare]
// has it. Equal values have equal texts; numbers that float64 can't tell apart
// count as equal. Texts are ordered as values are, byte by byte, but for what
// comes after a [KeyBound]. ok is false for what is no such value.
func KeyValue(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		if len(v) > maxKey {
			v = cut(v, keyPrefix) + digest(v)
		}
		return v, v != ""
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	case int64:
		return numberKey(float64(v)), true
	case float64:
		return numberKey(v), true
	case json.Number:
		f, ok := float(v)
		return numberKey(f), ok
	}
	return "", false
}

// KeyBound is as much of a text as the order of keys can be relied on for.
func KeyBound(s string) string { return cut(s, keyPrefix-utf8.UTFMax) }

// cut shortens a text to so many bytes at most, between characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// numberKey turns the order of numbers into that of texts: the bits of a
// float64 are in order but for the sign.
func numberKey(f float64) string {
	bits := math.Float64bits(f + 0)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return fmt.Sprintf("%016x", bits)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
