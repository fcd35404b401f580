package authz

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder turns YAML nodes into the types of a Document. It stands in for the
// library's own struct decoding because that one stops being strict inside
// custom types, forgets the order of mappings, and loses the lines that the
// lint needs later. It reads on after a problem so that all are reported.
type decoder struct {
	problems Problems
	lines    map[string]int
}

// nodeDecoder is implemented by types whose YAML form is not that of their Go kind.
type nodeDecoder interface {
	decode(d *decoder, n *yaml.Node, path string, enum []string)
}

func (d *decoder) problem(n *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Line: n.Line, Path: path, Text: fmt.Sprintf(format, args...)})
}

// value decodes n into v. The enum, if any, lists the values allowed to a
// string, or to the elements of a list or mapping.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, enum []string) {
	d.lines[path] = n.Line
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.problem(n, path, "anchors and aliases are not part of the format")
		return
	}
	if nd, ok := reflect.TypeAssert[nodeDecoder](v.Addr()); ok {
		nd.decode(d, n, path, enum)
		return
	}
	if _, ok := reflect.TypeAssert[time.Duration](v); ok {
		d.duration(n, v, path)
		return
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that Document is made of; any other is reported
	case reflect.Pointer:
		if n.Tag == "!!null" {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, enum)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, enum)
	case reflect.Map:
		d.mapping(n, v, path, enum)
	case reflect.String:
		d.text(n, v, path, enum)
	case reflect.Bool:
		d.boolean(n, v, path)
	case reflect.Int:
		d.integer(n, v, path)
	default:
		d.problem(n, path, "the format has no value of kind %s", v.Kind())
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	fields := map[string]int{}
	var required []string
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "" {
			continue
		}
		fields[name] = i
		if option == "required" {
			required = append(required, name)
		}
	}
	seen, ok := d.pairs(n, path, func(key string, k, value *yaml.Node) {
		i, known := fields[key]
		if !known {
			d.problem(k, join(path, key), "unknown key")
			return
		}
		var enum []string
		if tag := v.Type().Field(i).Tag.Get("enum"); tag != "" {
			enum = strings.Split(tag, "|")
		}
		d.value(value, v.Field(i), join(path, key), enum)
	})
	if !ok {
		return
	}
	for _, name := range required {
		if !seen[name] {
			d.problem(n, join(path, name), "is required")
		}
	}
}

// pairs calls each with every entry of a mapping and reports keys that are
// no scalars, empty, or given twice. It returns the keys it has seen, or false if n is no mapping.
func (d *decoder) pairs(n *yaml.Node, path string, each func(key string, k, value *yaml.Node)) (map[string]bool, bool) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "must be a mapping, not %s", describe(n))
		return nil, false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Value == "" || k.Anchor != "":
			d.problem(k, path, "a key must be a plain word")
		case seen[k.Value]:
			d.problem(k, join(path, k.Value), "is given twice")
		default:
			seen[k.Value] = true
			each(k.Value, k, value)
		}
	}
	return seen, true
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, enum []string) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, path, "must be a list, not %s", describe(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, items.Index(i), fmt.Sprintf("%s[%d]", path, i), enum)
	}
	v.Set(items)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, enum []string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, path, func(key string, _, value *yaml.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(value, item, join(path, key), enum)
		v.SetMapIndex(reflect.ValueOf(key), item)
	})
}

func (d *decoder) text(n *yaml.Node, v reflect.Value, path string, enum []string) {
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		d.problem(n, path, "must be text, not %s", describe(n))
	case len(enum) > 0 && !slices.Contains(enum, n.Value):
		d.problem(n, path, "%q is not one of %s", n.Value, strings.Join(enum, ", "))
	default:
		v.SetString(n.Value)
	}
}

func (d *decoder) boolean(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		d.problem(n, path, "must be true or false, not %s", describe(n))
		return
	}
	v.SetBool(strings.EqualFold(n.Value, "true"))
}

func (d *decoder) integer(n *yaml.Node, v reflect.Value, path string) {
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || i < 0 || i > math.MaxInt32 {
		d.problem(n, path, "must be a whole number from 0 to %d, not %s", math.MaxInt32, describe(n))
		return
	}
	v.SetInt(i)
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value, path string) {
	t, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || t <= 0 {
		d.problem(n, path, "must be a time such as 15m or 168h, not %s", describe(n))
		return
	}
	v.SetInt(int64(t))
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe names what stands in the file, for an error message.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "null"
	default:
		return strconv.Quote(n.Value)
	}
}

// Entry is one key of an [Entries] with its value.
type Entry[T any] struct {
	Key   string
	Value T
}

// Entries is a YAML mapping in the order of the file, which is the order in
// which roles, statuses and fields are shown. Keys are unique.
type Entries[T any] []Entry[T]

// Lookup returns the value of key and whether there is one.
func (e Entries[T]) Lookup(key string) (T, bool) {
	for _, entry := range e {
		if entry.Key == key {
			return entry.Value, true
		}
	}
	var zero T
	return zero, false
}

// Keys returns the keys in the order of the file.
func (e Entries[T]) Keys() []string {
	keys := make([]string, len(e))
	for i, entry := range e {
		keys[i] = entry.Key
	}
	return keys
}

func (e *Entries[T]) decode(d *decoder, n *yaml.Node, path string, enum []string) {
	*e = Entries[T]{}
	d.pairs(n, path, func(key string, _, value *yaml.Node) {
		entry := Entry[T]{Key: key}
		d.value(value, reflect.ValueOf(&entry.Value).Elem(), join(path, key), enum)
		*e = append(*e, entry)
	})
}

func (r *SelfRoles) decode(d *decoder, n *yaml.Node, path string, _ []string) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "deny":
	case n.Kind == yaml.ScalarNode && n.Value == "allow":
		r.Allow = true
	case n.Kind == yaml.MappingNode:
		var form struct {
			Keep []string `yaml:"keep,required"`
		}
		d.value(n, reflect.ValueOf(&form).Elem(), path, nil)
		*r = SelfRoles{Allow: true, Keep: form.Keep}
	default:
		d.problem(n, path, "must be deny, allow or {keep: [roles]}, not %s", describe(n))
	}
}
