package schema

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
)

// ValidateCreate checks and normalizes the document of a POST (RFC 7644 §3.3)
// as decoded with [encoding/json.Decoder.UseNumber]: names get their canonical
// spelling; null, "[]" and "{}" are dropped, as is what is readOnly; values
// keep what the client sent, but for what o forgives; equal values of a
// multi-valued attribute are collapsed; "schemas" is made from the content.
// doc isn't changed, and the result shares nothing with it.
//
// Failures are [*Error]: InvalidSyntax when "schemas" names nothing of the
// resource type, else InvalidValue.
func (t *ResourceType) ValidateCreate(doc map[string]any, o Options) (map[string]any, []Warning, error) {
	v := validator{t: t, o: o}
	out, err := v.document(doc)
	if err != nil {
		return nil, nil, err
	}
	if err := t.Complete(out); err != nil {
		return nil, nil, err
	}
	return out, v.warnings, nil
}

// ValidateReplace is ValidateCreate for a PUT (RFC 7644 §3.5.1) over current,
// a document that one of these functions returned. Attributes that the client
// left out are unassigned, except that readOnly, immutable and writeOnly ones
// keep their values: the client could not have sent the first, need not send
// the second, and can't know the third. An immutable attribute with another
// value is an [*Error] with Mutable.
func (t *ResourceType) ValidateReplace(current, doc map[string]any, o Options) (map[string]any, []Warning, error) {
	v := validator{t: t, o: o}
	out, err := v.document(doc)
	if err != nil {
		return nil, nil, err
	}
	if err := keepAll(append(slices.Clone(t.common), t.Schema.Attributes...), current, out, ""); err != nil {
		return nil, nil, err
	}
	for _, e := range t.Extensions {
		have, _ := current[e.Schema.ID].(map[string]any)
		next, _ := out[e.Schema.ID].(map[string]any)
		if next == nil {
			next = map[string]any{}
		}
		if err := keepAll(e.Schema.Attributes, have, next, e.Schema.ID+":"); err != nil {
			return nil, nil, err
		}
		if len(next) > 0 {
			out[e.Schema.ID] = next
		}
	}
	if err := t.Complete(out); err != nil {
		return nil, nil, err
	}
	return out, v.warnings, nil
}

// keepAll carries over what a PUT may not unassign, and compares what it may
// not change.
func keepAll(attributes []*Attribute, current, next map[string]any, prefix string) error {
	for _, a := range attributes {
		have, had := current[a.Name]
		if !had {
			continue
		}
		now, has := next[a.Name]
		path := prefix + a.Name
		switch {
		case !has && a.Mutability != ReadWrite:
			next[a.Name] = clone(have)
		case !has:
			// A complex attribute that is left out goes with all its parts.
		case a.Mutability == Immutable && !Equal(a, have, now):
			return immutable(path)
		case a.Type == Complex && !a.MultiValued:
			old, _ := have.(map[string]any)
			replaced, _ := now.(map[string]any)
			if err := keepAll(writable(a.SubAttributes), old, replaced, path+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

// writable leaves out what the server derives, as the displayName of a
// manager: it would be stale beside a new value.
func writable(attributes []*Attribute) []*Attribute {
	return slices.DeleteFunc(slices.Clone(attributes), func(a *Attribute) bool { return a.Mutability == ReadOnly })
}

func immutable(path string) error {
	return &Error{ScimType: Mutable, Path: path, Detail: "expected the value that was set before, since the attribute is immutable"}
}

// Equal reports whether two values of the attribute, as a document holds them,
// are the same by its type and case sensitivity; the order of a multi-valued
// attribute doesn't matter.
func Equal(a *Attribute, x, y any) bool {
	if !a.MultiValued {
		return reflect.DeepEqual(canonical(a, x), canonical(a, y))
	}
	xs, _ := x.([]any)
	ys, _ := y.([]any)
	if len(xs) != len(ys) {
		return false
	}
	count := map[string]int{}
	for _, v := range xs {
		count[fingerprint(a, v)]++
	}
	for _, v := range ys {
		key := fingerprint(a, v)
		if count[key]--; count[key] < 0 {
			return false
		}
	}
	return true
}

// Complete checks what only a whole document shows: required attributes and
// extensions. It also sets "schemas" to the base schema and the extensions
// that the document has attributes of.
func (t *ResourceType) Complete(doc map[string]any) error {
	schemas := []any{t.Schema.ID}
	missing := requireAll(t.Schema.Attributes, doc, "")
	for _, e := range t.Extensions {
		inner, _ := doc[e.Schema.ID].(map[string]any)
		if len(inner) > 0 {
			schemas = append(schemas, e.Schema.ID)
			missing = cmp.Or(missing, requireAll(e.Schema.Attributes, inner, e.Schema.ID+":"))
			continue
		}
		delete(doc, e.Schema.ID)
		if e.Required && missing == nil {
			missing = invalid(e.Schema.ID, "expected the extension, since it is required")
		}
	}
	doc["schemas"] = schemas
	return missing
}

func requireAll(attributes []*Attribute, doc map[string]any, prefix string) error {
	for _, a := range attributes {
		value, ok := doc[a.Name]
		text, isText := value.(string)
		// What is readOnly comes from the server, later.
		if a.Required && a.Mutability != ReadOnly && (!ok || isText && strings.TrimSpace(text) == "") {
			return invalid(prefix+a.Name, "expected a value, since the attribute is required")
		}
		if !ok || a.Type != Complex {
			continue
		}
		elements, isList := value.([]any)
		if !isList {
			elements = []any{value}
		}
		for _, element := range elements {
			m, _ := element.(map[string]any)
			if err := requireAll(a.SubAttributes, m, prefix+a.Name+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

type validator struct {
	t        *ResourceType
	o        Options
	warnings []Warning
}

// document normalizes the whole document, without its required attributes.
func (v *validator) document(doc map[string]any) (map[string]any, error) {
	out := map[string]any{}
	named := false
	// In order, so that the same document always fails with the same error.
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		var err error
		if strings.EqualFold(key, "schemas") {
			named = true
			err = v.schemas(doc[key])
		} else if e, ok := v.t.extension(key); ok {
			err = v.extension(e.Schema, doc[key], out)
		} else if a, ok := v.t.base(key); ok {
			err = v.assign(out, a, a.Name, doc[key])
		} else {
			err = v.stray(out, key, doc[key])
		}
		if err != nil {
			return nil, err
		}
	}
	if !named && !v.o.IgnoreUnknown {
		return nil, invalid("schemas", "expected the URIs of the schemas of the resource")
	}
	return out, nil
}

// schemas checks the URIs that the client names; the document's own come from
// its content.
func (v *validator) schemas(raw any) error {
	if s, ok := raw.(string); ok && v.o.LooseValues {
		raw = []any{s}
	}
	list, ok := raw.([]any)
	if !ok {
		return invalid("schemas", "expected an array of schema URIs")
	}
	base, known := false, false
	for _, item := range list {
		uri, ok := item.(string)
		if !ok {
			return invalid("schemas", "expected an array of schema URIs")
		}
		_, isExtension := v.t.extension(uri)
		isBase := strings.EqualFold(uri, v.t.Schema.ID)
		base, known = base || isBase, known || isBase || isExtension
		if !isBase && !isExtension {
			if err := v.unknown(uri, "no schema of the resource type "+v.t.Name); err != nil {
				return err
			}
		}
	}
	if base || known && v.o.IgnoreUnknown {
		return nil
	}
	return &Error{ScimType: InvalidSyntax, Path: "schemas", Detail: "expected the schema " + v.t.Schema.ID}
}

func (v *validator) extension(s *Schema, raw any, out map[string]any) error {
	if raw == nil {
		return nil
	}
	in, ok := raw.(map[string]any)
	if !ok {
		return invalid(s.ID, "expected an object with the attributes of the extension")
	}
	ext, _ := out[s.ID].(map[string]any)
	if ext == nil {
		ext = map[string]any{}
	}
	for _, key := range slices.Sorted(maps.Keys(in)) {
		a, ok := find(s.Attributes, key)
		if !ok {
			if err := v.unknown(s.ID+":"+key, "no attribute of the extension"); err != nil {
				return err
			}
			continue
		}
		if err := v.assign(ext, a, s.ID+":"+a.Name, in[key]); err != nil {
			return err
		}
	}
	if len(ext) > 0 {
		out[s.ID] = ext
	}
	return nil
}

// stray handles a top-level key that is neither an attribute of the base
// schema nor an extension: an extension's attribute written without its
// container, or something unknown.
func (v *validator) stray(out map[string]any, key string, raw any) error {
	p, err := filter.ParseAttrPath(key)
	if err == nil && v.o.LooseValues {
		if r, ok := v.t.resolve(p); ok && r.Attribute != nil && r.Sub == nil {
			if r.Extension == nil {
				return v.assign(out, r.Attribute, r.String(), raw)
			}
			return v.extension(r.Extension, map[string]any{r.Attribute.Name: raw}, out)
		}
	}
	return v.unknown(key, "no attribute of the resource type "+v.t.Name)
}

func (v *validator) unknown(path, detail string) error {
	if !v.o.IgnoreUnknown {
		return invalid(path, "expected only known attributes and schemas; there is %s", detail)
	}
	v.warnings = append(v.warnings, Warning{Path: path, Detail: detail})
	return nil
}

func (v *validator) assign(out map[string]any, a *Attribute, path string, raw any) error {
	if a.Mutability == ReadOnly {
		return nil
	}
	value, err := v.value(a, path, raw)
	if err != nil || value == nil {
		return err
	}
	if _, twice := out[a.Name]; twice {
		return invalid(path, "expected the attribute once, ignoring case")
	}
	out[a.Name] = value
	return nil
}
