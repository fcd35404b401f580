package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/oidc"
)

// detailView is one object of authorization details in words (RFC 9396): what an
// application may do, and with what.
type detailView struct {
	Name   string
	Fields []detailFieldView
}

// detailFieldView is a field of it with all of its values.
type detailFieldView struct {
	Label  string
	Values []message
}

// detailViews puts authorization details into words, in the language of ctx.
func (p *Portal) detailViews(ctx context.Context, details oidc.Details) ([]detailView, error) {
	if len(details) == 0 {
		return nil, nil
	}
	types, err := p.oidc.DetailTypes(ctx)
	if err != nil {
		return nil, err
	}
	tag := speechOf(ctx).Tag
	var views []detailView
	for _, detail := range details {
		w := detailWords{labels: map[string]string{}, order: map[string]int{}}
		for i, name := range oidc.CommonFields() {
			if w.labels[name], err = p.pages.texts[tag].Say("consent.field." + name); err != nil {
				return nil, err
			}
			w.order[name] = i - len(oidc.CommonFields())
		}
		name := detail.Type()
		if i := slices.IndexFunc(types, func(t oidc.DetailType) bool { return t.Name == name }); i >= 0 {
			name = cmp.Or(types[i].Names[tag], name)
			for n, field := range types[i].Fields {
				w.labels[field.Path], w.order[field.Path] = field.Labels[tag], n+1
			}
		}
		rest := maps.Clone(detail)
		delete(rest, oidc.FieldType)
		w.object("", "", rest)
		views = append(views, detailView{Name: name, Fields: w.fields})
	}
	return views, nil
}

// detailNames returns the names of the types of authorization details, each once, in
// the language of ctx.
func (p *Portal) detailNames(ctx context.Context, details oidc.Details) ([]string, error) {
	views, err := p.detailViews(ctx, details)
	var names []string
	for _, view := range views {
		names = append(names, view.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// detailWords collects the fields of an object. Whatever is in it gets a line: what
// has no label is called as it is in the object.
type detailWords struct {
	labels map[string]string // by path
	order  map[string]int
	fields []detailFieldView
}

func (w *detailWords) object(path, label string, members map[string]any) {
	at := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	last := len(w.order) + 1
	rank := func(name string) int {
		if n, ok := w.order[at(name)]; ok {
			return n
		}
		return last
	}
	names := slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	for _, name := range names {
		called := w.labels[at(name)]
		if called == "" {
			called = strings.TrimPrefix(label+" › "+name, " › ")
		}
		w.value(at(name), called, members[name])
	}
}

func (w *detailWords) value(path, label string, value any) {
	list, many := value.([]any)
	switch members, object := value.(map[string]any); {
	case object && len(members) > 0:
		w.object(path, label, members)
	case many && slices.ContainsFunc(list, compound):
		for i, item := range list {
			w.value(path, label+" "+strconv.Itoa(i+1), item)
		}
	case many && len(list) > 0:
		field := detailFieldView{Label: label}
		for _, item := range list {
			field.Values = append(field.Values, inWords(item))
		}
		w.fields = append(w.fields, field)
	default:
		w.fields = append(w.fields, detailFieldView{label, []message{inWords(value)}})
	}
}

// compound reports whether a value consists of others.
func compound(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// inWords returns a value that consists of no others.
func inWords(value any) message {
	switch value := value.(type) {
	case string:
		return message{Key: "consent.value", Args: []any{value}}
	case json.Number:
		return message{Key: "consent.value", Args: []any{value.String()}}
	case bool:
		if value {
			return message{Key: "consent.value.yes"}
		}
		return message{Key: "consent.value.no"}
	}
	return message{Key: "consent.value.none"} // null, and what is empty
}
