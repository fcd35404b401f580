package patch

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte(`{"Schemas":["URN:ietf:params:scim:api:messages:2.0:patchop"],"operations":[
		{"OP":"Add","Path":"emails[type eq \"work\"].value","Value":"x"},{"op":"REMOVE","path":"title"},{"op":"replace","path":null,"value":{"n":1.0}},{"op":"add","path":"","value":null}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Operation{
		{Add, &filter.Path{
			Attr:   filter.AttrPath{Name: "emails", Sub: "value"},
			Filter: filter.Compare{Attr: filter.AttrPath{Name: "type"}, Op: filter.Eq, Value: "work"},
		}, "x"},
		{Remove, &filter.Path{Attr: filter.AttrPath{Name: "title"}}, nil},
		{Replace, nil, map[string]any{"n": json.Number("1.0")}},
		{Add, nil, nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseErrors(t *testing.T) {
	ops := func(s string) string { return string(body(s)) }
	tests := []struct {
		name, in  string
		scimType  filter.ScimType
		operation int
		path      string
	}{
		{"no JSON", `{`, schema.InvalidSyntax, -1, ""},
		{"no object", `[]`, schema.InvalidSyntax, -1, ""},
		{"null", `null`, schema.InvalidSyntax, -1, ""},
		{"two objects", ops(`{"op":"remove","path":"a"}`) + `{}`, schema.InvalidSyntax, -1, ""},
		{"no schemas", `{"Operations":[{"op":"remove","path":"a"}]}`, schema.InvalidSyntax, -1, "schemas"},
		{"another schema", `{"schemas":["urn:x"],"Operations":[{"op":"remove","path":"a"}]}`, schema.InvalidSyntax, -1, "schemas"},
		{"no operations", `{"schemas":["` + URN + `"]}`, schema.InvalidSyntax, -1, "Operations"},
		{"operations empty", ops(``), schema.InvalidSyntax, -1, "Operations"},
		{"too many", ops(strings.Repeat(`{"op":"remove","path":"a"},`, MaxOperations) + `{"op":"remove","path":"a"}`), filter.TooMany, -1, "Operations"},
		{"operation no object", ops(`1`), schema.InvalidSyntax, 0, ""},
		{"R1 unknown op", ops(`{"op":"remove","path":"a"},{"op":"move","path":"a"}`), schema.InvalidSyntax, 1, "op"},
		{"no op", ops(`{"path":"a"}`), schema.InvalidSyntax, 0, "op"},
		{"path no string", ops(`{"op":"remove","path":1}`), filter.InvalidPath, 0, "path"},
		{"path blank", ops(`{"op":"add","path":" ","value":"x"}`), filter.InvalidPath, 0, "path"},
		{"path malformed", ops(`{"op":"remove","path":"a["}`), filter.InvalidPath, 0, "path"},
		{"remove without path", ops(`{"op":"remove","value":{"a":1}}`), schema.NoTarget, 0, "path"},
		{"add without value", ops(`{"op":"add","path":"a"}`), schema.InvalidValue, 0, "value"},
		{"replace without value", ops(`{"op":"replace","path":"a"}`), schema.InvalidValue, 0, "value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.ScimType != tt.scimType || e.Operation != tt.operation || e.Path != tt.path || e.Detail == "" {
				t.Errorf("got %v, want %s of operation %d at %q", err, tt.scimType, tt.operation, tt.path)
			}
		})
	}
}
