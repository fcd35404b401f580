package outbound

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// values are those of a resource by path: an attribute of the top level, a
// sub-attribute of one that is complex, or one of an extension behind its URI.
// Each can be replaced and removed by itself, which a complex attribute as a
// whole can't: to replace it leaves the sub-attributes that are not mentioned
// (RFC 7644 §3.5.2.3).
type values map[string]any

// Names of attributes.
const (
	attrActive      = "active"
	attrDisplayName = "displayName"
	attrExternalID  = "externalId"
	attrID          = "id"
	attrManager     = "manager"
	attrMembers     = "members"
	attrMeta        = "meta"
	attrSchemas     = "schemas"
	attrUserName    = "userName"
	attrValue       = "value"
)

// unsent are attributes that are never sent: the server's, those that other
// requests carry, and secrets.
func unsent(name string) bool {
	switch name {
	case attrID, attrMeta, attrSchemas, attrMembers, "groups", "password":
		return true
	}
	return false
}

// flatten returns the values of a document.
func flatten(doc map[string]any) values {
	flat := values{}
	for name, value := range doc {
		inner, whole := value.(map[string]any)
		switch {
		case unsent(name):
		case whole && strings.Contains(name, ":"):
			for sub, value := range inner {
				flat.put(name+":"+sub, sub, value)
			}
		default:
			flat.put(name, name, value)
		}
	}
	return flat
}

// put adds an attribute. A reference such as manager stays whole.
func (v values) put(path, name string, value any) {
	inner, whole := value.(map[string]any)
	switch {
	case whole && name != attrManager:
		for sub, value := range inner {
			if !empty(value) {
				v[path+"."+sub] = value
			}
		}
	case !empty(value):
		v[path] = value
	}
}

// empty reports whether a value is none (RFC 7643 §2.5).
func empty(value any) bool {
	if value == nil {
		return true
	}
	if r := reflect.ValueOf(value); r.Kind() == reflect.Slice || r.Kind() == reflect.Map {
		return r.Len() == 0
	}
	return false
}

// split returns the parts of a path: the extension's URI or "", the attribute,
// and the sub-attribute or "".
func split(path string) (extension, name, sub string) {
	if colon := strings.LastIndexByte(path, ':'); colon >= 0 {
		extension, path = path[:colon], path[colon+1:]
	}
	name, sub, _ = strings.Cut(path, ".")
	return extension, name, sub
}

// document returns a document with the values and its schemas.
func (v values) document(kind Kind) map[string]any {
	doc := map[string]any{}
	v.overlay(doc)
	doc[attrSchemas] = v.schemas(kind)
	return doc
}

// coreSchema is the URI of a kind's own schema (RFC 7643 §8.7.1).
func coreSchema(kind Kind) string { return "urn:ietf:params:scim:schemas:core:2.0:" + string(kind) }

func (v values) schemas(kind Kind) []string {
	uris := []string{coreSchema(kind)}
	for _, path := range slices.Sorted(maps.Keys(v)) {
		if extension, _, _ := split(path); extension != "" && !slices.Contains(uris, extension) {
			uris = append(uris, extension)
		}
	}
	return uris
}

// overlay puts the values into a document.
func (v values) overlay(doc map[string]any) {
	for path, value := range v {
		extension, name, sub := split(path)
		at := doc
		if extension != "" {
			at = within(at, extension)
		}
		if sub != "" {
			at, name = within(at, name), sub
		}
		at[name] = value
	}
}

// within returns the object of that name, which it makes if there is none.
func within(doc map[string]any, name string) map[string]any {
	inner, ok := doc[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		doc[name] = inner
	}
	return inner
}

// remove takes a path out of a document.
func remove(doc map[string]any, path string) {
	extension, name, sub := split(path)
	at := doc
	if extension != "" {
		at, _ = doc[extension].(map[string]any)
	}
	if sub != "" {
		inner, _ := at[name].(map[string]any)
		delete(inner, sub)
		return
	}
	delete(at, name)
}

// hashes returns what is remembered of the values.
func (v values) hashes() map[string]string {
	all := make(map[string]string, len(v))
	for path, value := range v {
		all[path] = hash(value)
	}
	return all
}

// hash returns 64 bits that tell values apart, and not what they are.
func hash(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		text = fmt.Append(nil, value) // no JSON ends up here; to be sent again does no harm
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// since returns the paths whose values are not those that were sent, and the
// paths that were sent and have none any more, sorted.
func (v values) since(sent map[string]string) (changed, gone []string) {
	for path, value := range v {
		if sent[path] != hash(value) {
			changed = append(changed, path)
		}
	}
	return slices.Sorted(slices.Values(changed)), v.gone(sent, nil)
}

// against is since for what a resource really is there. What was never sent is
// the target's own.
func (v values) against(doc map[string]any, sent map[string]string) (changed, gone []string) {
	there := flatten(doc)
	for path, value := range v {
		if !same(path, value, there.at(path)) {
			changed = append(changed, path)
		}
	}
	return slices.Sorted(slices.Values(changed)), v.gone(sent, there)
}

// gone returns the paths that were sent and have no value any more; only those
// that have one there, if that is known.
func (v values) gone(sent map[string]string, there values) (gone []string) {
	for path := range sent {
		if _, has := v[path]; !has && path != attrMembers && (there == nil || there.at(path) != nil) {
			gone = append(gone, path)
		}
	}
	slices.Sort(gone)
	return gone
}

// at returns a value; the names of attributes have no case (RFC 7643 §2.1).
func (v values) at(path string) any {
	if value, ok := v[path]; ok {
		return value
	}
	for other, value := range v {
		if strings.EqualFold(other, path) {
			return value
		}
	}
	return nil
}

// same reports whether a value there is what it should be. Of complex values the
// sub-attributes count that are sent; the order of several values does not.
func same(path string, want, have any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		return ok && sameParts(path, want, have)
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			return false
		}
		left := slices.Clone(have)
		for _, one := range want {
			at := slices.IndexFunc(left, func(other any) bool { return same(path, one, other) })
			if at < 0 {
				return false
			}
			left = slices.Delete(left, at, at+1)
		}
		return true
	case string:
		have, ok := have.(string)
		if path == attrUserName || path == "emails.value" {
			return ok && strings.EqualFold(want, have)
		}
		return ok && want == have
	}
	return fmt.Sprint(want) == fmt.Sprint(have)
}

func sameParts(path string, want, have map[string]any) bool {
	for name, value := range want {
		if value == false && have[name] == nil {
			continue // false and absent are the same for a flag such as primary
		}
		if !same(path+"."+name, value, have[name]) {
			return false
		}
	}
	return true
}

// operations are those of a PATCH that brings the paths up to date.
func (v values) operations(changed, gone []string) []Operation {
	all := make([]Operation, 0, len(changed)+len(gone))
	for _, path := range changed {
		all = append(all, Operation{Op: "replace", Path: path, Value: v[path]})
	}
	for _, path := range gone {
		all = append(all, Operation{Op: "remove", Path: path})
	}
	return all
}

// equalSettings reports whether two targets are set alike, secrets aside.
func equalSettings(a, b *Target) bool {
	type settings struct {
		Name, BaseURL string
		Auth          Auth
		People        People
		Groups        Groups
		Attributes    Attributes
		Rest          string
	}
	of := func(t *Target) string {
		text, err := json.Marshal(settings{t.Name, t.BaseURL, t.Auth, t.People, t.Groups, t.Attributes, fmt.Sprint(t.OnRemoval, t.RunEvery, t.Status)})
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	return of(a) == of(b)
}
