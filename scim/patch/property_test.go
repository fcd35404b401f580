package patch

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rolecall/rolecall/scim/schema"
)

// model is a user reduced to what the operations of the property touch, with
// the semantics of RFC 7644 §3.5.2 written down once more, naively.
type model struct {
	title  string
	name   map[string]string
	emails []email
}

type email struct {
	value, kind string
	primary     bool
}

func (m *model) addEmail(e email) {
	i := slices.IndexFunc(m.emails, func(o email) bool { return o.value == e.value && o.kind == e.kind })
	if i < 0 {
		i = len(m.emails)
		m.emails = append(m.emails, e)
	}
	if e.primary {
		m.promote(i)
	}
}

func (m *model) promote(i int) {
	for j := range m.emails {
		m.emails[j].primary = i == j
	}
}

func (m *model) document() map[string]any {
	doc := map[string]any{"userName": "b"}
	if m.title != "" {
		doc["title"] = m.title
	}
	if len(m.name) > 0 {
		name := map[string]any{}
		for k, v := range m.name {
			name[k] = v
		}
		doc["name"] = name
	}
	if len(m.emails) > 0 {
		var list []any
		for _, e := range m.emails {
			list = append(list, map[string]any{"value": e.value, "type": e.kind, "primary": e.primary})
		}
		doc["emails"] = list
	}
	return doc
}

// withPrimary writes out primary:false, which the model doesn't tell from absence.
func withPrimary(doc map[string]any) map[string]any {
	doc = maps.Clone(doc)
	delete(doc, "schemas")
	list, _ := doc["emails"].([]any)
	for _, v := range list {
		if m := v.(map[string]any); m["primary"] == nil {
			m["primary"] = false
		}
	}
	return doc
}

func TestApplyAgreesWithTheModel(t *testing.T) {
	user := resourceType(t, "User")
	rapid.Check(t, func(t *rapid.T) {
		m := &model{name: map[string]string{}}
		var operations []map[string]any
		word := rapid.SampledFrom([]string{"a", "b", "c"})
		kind := rapid.SampledFrom([]string{"work", "home", "x"})
		emit := func(op, path string, value any) {
			o := map[string]any{"op": op}
			if path != "" {
				o["path"] = path
			}
			if value != nil {
				o["value"] = value
			}
			operations = append(operations, o)
		}
		for range rapid.IntRange(1, 24).Draw(t, "operations") {
			op := rapid.SampledFrom([]string{"add", "replace"}).Draw(t, "op")
			v, k := word.Draw(t, "value"), kind.Draw(t, "type")
			switch rapid.IntRange(0, 11).Draw(t, "case") {
			case 0:
				m.title = v
				emit(op, "title", v)
			case 1:
				m.title = ""
				emit("remove", "title", nil)
			case 2:
				sub := rapid.SampledFrom([]string{"givenName", "familyName"}).Draw(t, "sub")
				m.name[sub] = v
				emit(op, "name."+sub, v)
			case 3:
				m.title, m.name["givenName"] = v, k
				emit(op, "", map[string]any{"title": v, "name": map[string]any{"givenName": k}})
			case 4:
				delete(m.name, "givenName")
				emit("remove", "name.givenName", nil)
			case 5:
				e := email{v, k, rapid.Bool().Draw(t, "primary")}
				m.addEmail(e)
				value := map[string]any{"value": v, "type": k}
				if e.primary {
					value["primary"] = true
				}
				emit("add", "emails", []any{value})
			case 6:
				m.emails = slices.DeleteFunc(m.emails, func(e email) bool { return e.kind == k })
				emit("remove", `emails[type eq "`+k+`"]`, nil)
			case 7:
				m.emails = []email{{v, k, false}}
				emit("replace", "emails", []any{map[string]any{"value": v, "type": k}})
			case 8:
				m.emails = slices.DeleteFunc(m.emails, func(e email) bool { return e.value == v && e.kind == k })
				emit("remove", "emails", []any{map[string]any{"value": v, "type": k}})
			case 10:
				m.emails = slices.DeleteFunc(m.emails, func(e email) bool { return e.value == v })
				emit("remove", `emails[value eq "`+v+`"]`, nil)
			case 11:
				m.emails = slices.DeleteFunc(m.emails, func(e email) bool { return e.value == v && e.kind == k })
				emit("remove", `emails[type eq "`+k+`" and value eq "`+v+`"]`, nil)
			case 9:
				// One value only, so that the model needs no rule for collapsing.
				i := slices.IndexFunc(m.emails, func(e email) bool { return e.value == v && e.kind == k })
				if i < 0 {
					continue
				}
				m.promote(i)
				emit(op, `emails[type eq "`+k+`" and value eq "`+v+`"].primary`, true)
			}
		}
		if len(operations) == 0 {
			return
		}
		text, err := json.Marshal(map[string]any{"schemas": []string{URN}, "Operations": operations})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := Apply(user, map[string]any{"userName": "b"}, parsed, schema.Lenient())
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(m.document(), withPrimary(got.Document)); diff != "" {
			t.Fatalf("%s: -model +got\n%s", text, diff)
		}
		one := map[string]any{"userName": "b"}
		for _, o := range parsed {
			step, err := Apply(user, one, []Operation{o}, schema.Lenient())
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			one = step.Document
		}
		if diff := cmp.Diff(withPrimary(got.Document), withPrimary(one)); diff != "" {
			t.Fatalf("%s: -together +one by one\n%s", text, diff)
		}
	})
}

func FuzzApply(f *testing.F) {
	for _, s := range []string{
		`{"op":"Add","path":"emails[type eq \"work\"].value","value":"a@b.c"}`,
		`{"op":"replace","value":{"name.givenName":"K","` + ext + `:manager":"1","emails[type eq \"work\"].value":"x"}}`,
		`{"op":"Remove","path":"emails","value":[{"value":"w"}]},{"op":"Remove","path":"` + ext + `"}`,
		`{"op":"add","path":"` + ext + `","value":{"manager":{"$ref":null,"value":""}}}`,
		`{"op":"replace","path":"name","value":[{"givenName":null}]}`,
		`{"op":"replace","path":"roles[primary eq \"True\"].value","value":[{"value":[]}]}`,
		`{"op":"add","path":"members","value":[{"value":"1"}]},{"op":"remove","path":"members[value eq \"1\" or not (type pr)]"}`,
		`{"op":"replace","path":"emails[value pr]","value":{"primary":"true"}}`,
		`{"op":"replace","path":"schemas","value":["x"]}`,
		`{"op":"replace","path":"emails.primary","value":true}`,
	} {
		f.Add(s)
	}
	doc := entStart + `,"active":true,"name":{"givenName":"G"},"roles":[{"value":"r","primary":true}],
		"emails":[{"value":"w","type":"work","primary":true},{"value":"h","type":"home"}],"` + ext + `":{"manager":{"value":"1"}}}`
	group := `{"schemas":["` + schema.GroupURN + `"],"displayName":"g"}`
	f.Fuzz(func(t *testing.T, s string) {
		operations, err := Parse(body(s))
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Detail == "" {
				t.Fatalf("%s: %#v", s, err)
			}
			return
		}
		for _, tt := range []struct{ resource, doc string }{{"User", doc}, {"Group", group}} {
			for _, o := range []schema.Options{{}, schema.Lenient()} {
				checkApply(t, tt.resource, tt.doc, operations, o)
			}
		}
	})
}

func checkApply(t *testing.T, resource, doc string, operations []Operation, o schema.Options) {
	t.Helper()
	rt, in := resourceType(t, resource), decode(t, doc)
	got, err := Apply(rt, in, operations, o)
	if diff := cmp.Diff(decode(t, doc), in); diff != "" {
		t.Fatalf("the document was changed in place: %s", diff)
	}
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || e.Detail == "" || e.ScimType == "" {
			t.Fatalf("%#v", err)
		}
		return
	}
	// A PUT of the result is valid and leads to the same document.
	again, _, err := rt.ValidateReplace(got.Document, got.Document, schema.Options{LooseValues: true})
	if err != nil {
		t.Fatalf("the result isn't valid: %v", err)
	}
	if diff := cmp.Diff(got.Document, again); diff != "" {
		t.Fatalf("the result isn't normalized: %s", diff)
	}
}
