package scim

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/patch"
	"github.com/rolecall/rolecall/scim/schema"
)

// bulkIDPrefix marks a reference to the resource that another operation of the
// same bulk request makes (RFC 7644 §3.7.2).
const bulkIDPrefix = "bulkId:"

// inFilter is a reference within the value filter of a PATCH path.
var inFilter = regexp.MustCompile(`"bulkId:((?:[^"\\]|\\.)*)"`)

// referenceNames are, by kind and in lower case, the attributes whose values
// refer to resources. A text that looks like a reference stays as it is in any
// other attribute.
type referenceNames map[*kind]map[string]bool

func (n referenceNames) of(k *kind) map[string]bool {
	if names, ok := n[k]; ok {
		return names
	}
	names := map[string]bool{}
	schemas := []*schema.Schema{k.t.Schema}
	for _, extension := range k.t.Extensions {
		schemas = append(schemas, extension.Schema)
	}
	for _, s := range schemas {
		for _, a := range s.Attributes {
			_, isReference := a.Sub("$ref")
			isReference = isReference || a.Type == schema.Reference ||
				slices.ContainsFunc(a.SubAttributes, func(sub *schema.Attribute) bool { return sub.Type == schema.Reference })
			if isReference {
				names[strings.ToLower(a.Name)] = true
			}
		}
	}
	n[k] = names
	return names
}

// in returns the bulkIds that an operation refers to, each once.
func (n referenceNames) in(op *bulkOperation) []string {
	var found []string
	if op.target != "" {
		found = append(found, op.target)
	}
	note := func(ref string) (string, bool) {
		if !slices.Contains(found, ref) {
			found = append(found, ref)
		}
		return "", true
	}
	(&resolver{names: n.of(op.kind), kind: op.kind, resolve: note}).operation(op)
	return found
}

// resolver copies the data of an operation with identifiers in place of the
// references.
type resolver struct {
	names   map[string]bool
	kind    *kind
	resolve func(bulkID string) (id string, ok bool)
	// left are the values that could not be resolved and were left out, by the
	// path of their attribute.
	left map[string][]any
}

// operation returns the operation's data without references.
func (r *resolver) operation(op *bulkOperation) map[string]any {
	if op.data == nil {
		return nil
	}
	if op.method != "PATCH" {
		return r.document(op.data, "")
	}
	out := map[string]any{}
	for key, value := range op.data {
		steps, ok := value.([]any)
		if ok && strings.EqualFold(key, "Operations") {
			next := make([]any, len(steps))
			for i, step := range steps {
				next[i] = r.step(step)
			}
			value = next
		}
		out[key] = value
	}
	return out
}

// step is one operation of a PATCH.
func (r *resolver) step(step any) any {
	object, ok := step.(map[string]any)
	if !ok {
		return step
	}
	path, _ := member(object, "path").(string)
	out := map[string]any{}
	for key, value := range object {
		switch {
		case strings.EqualFold(key, "path") && r.names[attributeOf(path)]:
			value = r.filter(path)
		case strings.EqualFold(key, "value"):
			value, _ = r.member(path, value, "")
		}
		out[key] = value
	}
	return out
}

// filter resolves the references in the value filter of a path.
func (r *resolver) filter(path string) string {
	return inFilter.ReplaceAllStringFunc(path, func(quoted string) string {
		bulkID := strings.TrimSuffix(strings.TrimPrefix(quoted, `"`+bulkIDPrefix), `"`)
		if id, ok := r.resolve(bulkID); ok {
			return `"` + id + `"`
		}
		return quoted
	})
}

// document is a resource or the part of it that an extension defines.
func (r *resolver) document(object map[string]any, urn string) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		if next, kept := r.member(key, value, urn); kept {
			out[key] = next
		}
	}
	return out
}

// member resolves what an attribute, or an extension, or for an empty path the
// resource itself, has for its value.
func (r *resolver) member(path string, value any, urn string) (next any, kept bool) {
	object, isObject := value.(map[string]any)
	switch name := attributeOf(path); {
	case isObject && (path == "" || r.isExtension(path)):
		return r.document(object, path), true
	case r.names[name]:
		if urn != "" {
			path = urn + ":" + path
		}
		return r.value(path, value)
	}
	return value, true
}

func (r *resolver) isExtension(urn string) bool {
	return slices.ContainsFunc(r.kind.t.Extensions, func(e schema.Extension) bool { return strings.EqualFold(e.Schema.ID, urn) })
}

// value resolves a value of a referring attribute: a text, an object of which
// one member refers, or several of them.
func (r *resolver) value(path string, value any) (next any, kept bool) {
	switch v := value.(type) {
	case string:
		bulkID, refers := strings.CutPrefix(v, bulkIDPrefix)
		if !refers {
			return v, true
		}
		if id, ok := r.resolve(bulkID); ok {
			return id, true
		}
		r.leave(path, v)
		return nil, false
	case []any:
		out := make([]any, 0, len(v))
		for _, element := range v {
			if resolved, ok := r.value(path, element); ok {
				out = append(out, resolved)
			}
		}
		return out, len(out) > 0 || len(v) == 0
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, sub := range v {
			text, isText := sub.(string)
			if bulkID, refers := strings.CutPrefix(text, bulkIDPrefix); isText && refers && !isLabel(key) {
				id, ok := r.resolve(bulkID)
				if !ok {
					r.leave(path, v)
					return nil, false
				}
				sub = id
			}
			out[key] = sub
		}
		return out, true
	default:
		return value, true
	}
}

// isLabel reports whether a member of a reference is text for people.
func isLabel(key string) bool {
	return strings.EqualFold(key, "display") || strings.EqualFold(key, "displayName") || strings.EqualFold(key, "type")
}

func (r *resolver) leave(path string, value any) {
	if r.left == nil {
		r.left = map[string][]any{}
	}
	r.left[path] = append(r.left[path], value)
}

// amendment is the PATCH that adds what was left out, now that it resolves.
func (r *resolver) amendment(resolve func(string) (string, bool)) map[string]any {
	later := &resolver{names: r.names, kind: r.kind, resolve: resolve}
	steps := []any{}
	for path, values := range r.left {
		resolved, _ := later.value(path, values)
		if attribute, ok := r.kind.attribute(path); ok && !attribute.MultiValued {
			list, _ := resolved.([]any)
			resolved = list[0]
		}
		steps = append(steps, map[string]any{"op": "add", "path": path, "value": resolved})
	}
	return map[string]any{"schemas": []any{patch.URN}, "Operations": steps}
}

// attributeOf is the attribute of a path, in lower case, without URN, filter and
// sub-attribute.
func attributeOf(path string) string {
	path, _, _ = strings.Cut(path, "[")
	path = path[strings.LastIndexByte(path, ':')+1:]
	path, _, _ = strings.Cut(path, ".")
	return strings.ToLower(path)
}
