package schema

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every characteristic of RFC 7643 §7 is spelt out in the definitions, rather
// than left to a default that encoding/json would fill with a zero value.
func TestDefinitionsAreComplete(t *testing.T) {
	required := []string{"name", "type", "multiValued", "description", "required", "caseExact", "mutability", "returned", "uniqueness"}
	known := append([]string{"canonicalValues", "referenceTypes", "subAttributes"}, required...)
	var check func(path string, attributes []any)
	check = func(path string, attributes []any) {
		for _, a := range attributes {
			m := a.(map[string]any)
			path := path + "." + m["name"].(string)
			for _, key := range required {
				if m[key] == nil || m[key] == "" {
					t.Errorf("%s has no %s", path, key)
				}
			}
			for key := range m {
				if !slices.Contains(known, key) {
					t.Errorf("%s has the unknown characteristic %s", path, key)
				}
			}
			if (m["type"] == "complex") != (m["subAttributes"] != nil) {
				t.Errorf("%s: complex and subAttributes go together", path)
			}
			if (m["type"] == "reference") != (m["referenceTypes"] != nil) {
				t.Errorf("%s: reference and referenceTypes go together", path)
			}
			if sub, ok := m["subAttributes"].([]any); ok {
				check(path, sub)
			}
		}
	}
	r, err := Core()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Schemas() {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		check(s.Name, decode(t, string(text))["attributes"].([]any))
	}
}

// The characteristics of RFC 7643 §8.7.1 that behavior hangs on.
func TestDefinitionsOfTheCore(t *testing.T) {
	user, group := resourceType(t, "User"), resourceType(t, "Group")
	tests := []struct {
		t          *ResourceType
		path, want string
	}{
		{user, "userName", "string single required inexact readWrite default server"},
		{user, "name.familyName", "string single optional inexact readWrite default none"},
		{user, "profileUrl", "reference single optional exact readWrite default none"},
		{user, "active", "boolean single optional inexact readWrite default none"},
		{user, "password", "string single optional exact writeOnly never none"},
		{user, "emails", "complex multi optional inexact readWrite default none"},
		{user, "emails.value", "string single optional inexact readWrite default none"},
		{user, "ims.primary", "boolean single optional inexact readWrite default none"},
		{user, "x509Certificates.value", "binary single optional exact readWrite default none"},
		{user, "addresses.country", "string single optional inexact readWrite default none"},
		{user, "groups", "complex multi optional inexact readOnly default none"},
		{user, "id", "string single optional exact readOnly always server"},
		{user, "externalId", "string single optional exact readWrite default none"},
		{user, "meta.created", "dateTime single optional inexact readOnly default none"},
		{user, EnterpriseUserURN + ":manager.displayName", "string single optional inexact readOnly default none"},
		{user, EnterpriseUserURN + ":employeeNumber", "string single optional inexact readWrite default none"},
		{group, "displayName", "string single required inexact readWrite default none"},
		{group, "members.value", "string single optional inexact immutable default none"},
		{group, "members.$ref", "reference single optional exact immutable default none"},
	}
	for _, tt := range tests {
		r, err := tt.t.ResolveText(tt.path)
		if err != nil {
			t.Error(err)
			continue
		}
		a := r.Target()
		word := func(b bool, yes, no string) string {
			if b {
				return yes
			}
			return no
		}
		got := string(a.Type) + " " + word(a.MultiValued, "multi", "single") + " " + word(a.Required, "required", "optional") + " " +
			word(a.CaseExact, "exact", "inexact") + " " + string(a.Mutability) + " " + string(a.Returned) + " " + string(a.Uniqueness)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.path, got, tt.want)
		}
	}
	if diff := cmp.Diff([]string{"work", "home", "other"}, mustSub(t, user, "emails.type").CanonicalValues); diff != "" {
		t.Errorf("canonical values of emails.type: %s", diff)
	}
}

func mustSub(t *testing.T, rt *ResourceType, path string) *Attribute {
	t.Helper()
	r, err := rt.ResolveText(path)
	if err != nil {
		t.Fatal(err)
	}
	return r.Target()
}

func TestDiscoveryJSON(t *testing.T) {
	r, err := Core()
	if err != nil {
		t.Fatal(err)
	}
	enterprise, _ := r.Schema("URN:ietf:params:scim:schemas:extension:enterprise:2.0:user")
	user, _ := r.ResourceType("user")
	for name, resource := range map[string]any{
		"testdata/schema_enterprise_user.json": enterprise.Resource("https://example.com/v2"),
		"testdata/resource_type_user.json":     user.Resource("https://example.com/v2"),
	} {
		text, err := json.MarshalIndent(resource, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, string(want)), decode(t, string(text))); diff != "" {
			t.Errorf("%s: -golden +got\n%s", name, diff)
		}
	}
}

func TestRegistryExtend(t *testing.T) {
	core, err := Core()
	if err != nil {
		t.Fatal(err)
	}
	device, err := ParseSchema([]byte(`{"id":"urn:example:Device","attributes":[{"name":"serial"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	extended, err := core.Extend([]*Schema{device}, []Definition{{Name: "user", Extensions: []ExtensionDefinition{{Schema: device.ID}}}})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := extended.ResourceType("User")
	if got, err := user.ResolveText("urn:EXAMPLE:device:serial"); err != nil || got.String() != "urn:example:Device:serial" {
		t.Errorf("resolved %s, %v", got, err)
	}
	before, _ := core.ResourceType("User")
	if len(before.Extensions) != 1 || len(core.Schemas()) != len(extended.Schemas())-1 {
		t.Error("Extend changed its receiver")
	}

	tests := []struct {
		name    string
		schemas []*Schema
		types   []Definition
		path    string
	}{
		{"schema URI taken", []*Schema{{ID: UserURN, Attributes: device.Attributes}}, nil, "id"},
		{"unknown schema", nil, []Definition{{Name: "X", Endpoint: "/X", Schema: "urn:example:none"}}, "schema"},
		{"endpoint taken", []*Schema{device}, []Definition{{Name: "X", Endpoint: "/users", Schema: device.ID}}, "endpoint"},
		{"bad endpoint", []*Schema{device}, []Definition{{Name: "X", Endpoint: "/../x", Schema: device.ID}}, "endpoint"},
		{"bad name", []*Schema{device}, []Definition{{Name: "a b", Endpoint: "/X", Schema: device.ID}}, "name"},
		{"extension twice", nil, []Definition{{Name: "User", Extensions: []ExtensionDefinition{{Schema: EnterpriseUserURN}}}}, "schemaExtensions.schema"},
		{"another base", nil, []Definition{{Name: "User", Schema: GroupURN}}, "schema"},
		{"nested schema as a base", nil, []Definition{{Name: "X", Endpoint: "/X", Schema: SchemaURN}}, "attributes.canonicalValues"},
		{"common attribute", []*Schema{{ID: "urn:x:y", Attributes: []*Attribute{{
			Name: "ID", Type: String, Mutability: ReadWrite, Returned: Default, Uniqueness: NotUnique,
		}}}}, []Definition{{Name: "X", Endpoint: "/X", Schema: "urn:x:y"}}, "schema"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := core.Extend(tt.schemas, tt.types)
			wantError(t, err, InvalidValue, tt.path)
		})
	}
}

func TestParseSchemaErrors(t *testing.T) {
	attributes := func(s string) string { return `{"id":"urn:x:y","attributes":[` + s + `]}` }
	for in, path := range map[string]string{
		`{"id":"x","attributes":[{"name":"a"}]}`:                  "id",
		attributes(``):                                            "attributes",
		attributes(`null`):                                        "",
		attributes(`{"name":"1"}`):                                "",
		attributes(`{"name":"a.b"}`):                              "",
		attributes(`{"name":"a"},{"name":"A"}`):                   "A",
		attributes(`{"name":"a","type":"float"}`):                 "a",
		attributes(`{"name":"a","mutability":"maybe"}`):           "a",
		attributes(`{"name":"a","returned":"maybe"}`):             "a",
		attributes(`{"name":"a","uniqueness":"maybe"}`):           "a",
		attributes(`{"name":"a","mutability":"writeOnly"}`):       "a",
		attributes(`{"name":"a","type":"complex"}`):               "a",
		attributes(`{"name":"a","subAttributes":[{"name":"b"}]}`): "a",
		attributes(`{"name":"a","type":"complex","subAttributes":[{"name":"b","type":"complex"}]}`):   "a.b",
		attributes(`{"name":"a","type":"complex","subAttributes":[{"name":"b","multiValued":true}]}`): "a.b",
	} {
		_, err := ParseSchema([]byte(in))
		wantError(t, err, InvalidValue, path)
	}
	_, err := ParseSchema([]byte(`{"id":`))
	wantError(t, err, InvalidSyntax, "")
}

func TestResolve(t *testing.T) {
	user := resourceType(t, "User")
	for in, want := range map[string]string{
		"username":                           "userName",
		"NAME.GIVENNAME":                     "name.givenName",
		"id":                                 "id",
		"META.lastmodified":                  "meta.lastModified",
		UserURN + ":name.familyName":         "name.familyName",
		UserURN + ":externalId":              "externalId",
		UserURN:                              "",
		EnterpriseUserURN:                    EnterpriseUserURN,
		EnterpriseUserURN + ":manager.value": EnterpriseUserURN + ":manager.value",
		EnterpriseUserURN + ":MANAGER.$REF":  EnterpriseUserURN + ":manager.$ref",
		"manager.value":                      EnterpriseUserURN + ":manager.value",
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0User:department": EnterpriseUserURN + ":department",
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0User":            EnterpriseUserURN,
	} {
		r, err := user.ResolveText(in)
		if err != nil || r.String() != want {
			t.Errorf("Resolve(%s) = %s, %v, want %s", in, r, err, want)
		}
	}
	for _, in := range []string{"nothing", "name.nothing", "userName.value", "urn:x:y:userName", GroupURN + ":displayName", EnterpriseUserURN + ":userName", EnterpriseUserURN + ":manager.x"} {
		_, err := user.ResolveText(in)
		wantError(t, err, "invalidPath", in)
	}
}

// A bare name that two extensions define is ambiguous.
func TestResolveAmbiguous(t *testing.T) {
	core, err := Core()
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseSchema([]byte(`{"id":"urn:x:2.0","attributes":[{"name":"manager"},{"name":"solo"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := core.Extend([]*Schema{other}, []Definition{{Name: "User", Extensions: []ExtensionDefinition{{Schema: "urn:x:2.0"}}}})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := r.ResourceType("User")
	if _, err := user.ResolveText("manager"); err == nil {
		t.Error("manager is ambiguous")
	}
	for _, in := range []string{"solo", "urn:x:2.0:solo", "urn:x:2.0"} {
		if _, err := user.ResolveText(in); err != nil {
			t.Error(err)
		}
	}
}
