package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/rolecall/rolecall/scim/filter"
)

func resourceType(t testing.TB, name string) *ResourceType {
	t.Helper()
	r, err := Core()
	if err != nil {
		t.Fatal(err)
	}
	rt, ok := testRegistry(t, r).ResourceType(name)
	if !ok {
		t.Fatalf("no resource type %s", name)
	}
	return rt
}

// testRegistry adds a resource type with every type and characteristic.
func testRegistry(t testing.TB, r *Registry) *Registry {
	t.Helper()
	base, err := ParseSchema([]byte(`{"id":"urn:ietf:params:scim:schemas:test:2.0:TestResource","name":"Test","attributes":[
		{"name":"identifier","required":true,"uniqueness":"server","caseExact":true},
		{"name":"exact","caseExact":true}, {"name":"inexact"}, {"name":"number","type":"integer"},
		{"name":"amount","type":"decimal"}, {"name":"flag","type":"boolean"}, {"name":"date","type":"dateTime"},
		{"name":"blob","type":"binary"}, {"name":"link","type":"reference"},
		{"name":"fixed","mutability":"immutable"}, {"name":"derived","mutability":"readOnly"},
		{"name":"secret","mutability":"writeOnly","returned":"never"},
		{"name":"onRequest","returned":"request"}, {"name":"constant","returned":"always"},
		{"name":"tags","multiValued":true},
		{"name":"pair","type":"complex","subAttributes":[{"name":"left"},{"name":"right","type":"integer"},{"name":"fixed","mutability":"immutable"}]},
		{"name":"items","type":"complex","multiValued":true,"subAttributes":[
			{"name":"value"},{"name":"type"},{"name":"primary","type":"boolean"},{"name":"weight","type":"decimal"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	extension, err := ParseSchema([]byte(`{"id":"urn:ietf:params:scim:schemas:extension:test:2.0:TestResource","name":"Ext","attributes":[
		{"name":"extString"},{"name":"extRequired","required":true},{"name":"extInteger","type":"integer"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err = r.Extend([]*Schema{base, extension}, []Definition{{
		Name: "TestResource", Endpoint: "/TestResources", Schema: base.ID,
		Extensions: []ExtensionDefinition{{Schema: extension.ID, Required: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func decode(t failer, s string) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return m
}

func wantError(t testing.TB, err error, scimType filter.ScimType, path string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.ScimType != scimType || e.Path != path || e.Detail == "" {
		t.Errorf("got %v, want %s at %q", err, scimType, path)
	}
}
