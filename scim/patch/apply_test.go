package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

const ext = schema.EnterpriseUserURN

func resourceType(t testing.TB, name string) *schema.ResourceType {
	t.Helper()
	core, err := schema.Core()
	if err != nil {
		t.Fatal(err)
	}
	test, err := schema.ParseSchema([]byte(`{"id":"urn:ietf:params:scim:schemas:test:2.0:TestResource","attributes":[
		{"name":"title"},{"name":"fixed","mutability":"immutable"},{"name":"fixedList","mutability":"immutable","multiValued":true},
		{"name":"secret","mutability":"writeOnly","returned":"never"},{"name":"tags","multiValued":true},
		{"name":"pair","type":"complex","subAttributes":[{"name":"left"},{"name":"right","required":true},{"name":"fixed","mutability":"immutable"}]},
		{"name":"many","type":"complex","multiValued":true,"required":true,"subAttributes":[{"name":"value"},{"name":"kind","mutability":"immutable"},{"name":"primary","type":"boolean"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	needed, err := schema.ParseSchema([]byte(`{"id":"urn:x:2.0","attributes":[{"name":"a","required":true},{"name":"b","mutability":"immutable"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := core.Extend([]*schema.Schema{test, needed}, []schema.Definition{{
		Name: "TestResource", Endpoint: "/TestResources", Schema: test.ID, Extensions: []schema.ExtensionDefinition{{Schema: needed.ID, Required: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	rt, _ := r.ResourceType(name)
	return rt
}

func decode(t testing.TB, s string) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return m
}

func body(operations string) []byte {
	return []byte(`{"schemas":["` + URN + `"],"Operations":[` + operations + `]}`)
}

func apply(t testing.TB, resource, doc, operations string, o schema.Options) (Result, error) {
	t.Helper()
	ops, err := Parse(body(operations))
	if err != nil {
		return Result{}, err
	}
	in := decode(t, doc)
	got, err := Apply(resourceType(t, resource), in, ops, o)
	if diff := cmp.Diff(decode(t, doc), in); diff != "" {
		t.Errorf("the document was changed in place: %s", diff)
	}
	return got, err
}

// user is the document that most tests start from; %s stands for no more.
const (
	userStart = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"u1","userName":"b"`
	entStart  = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + ext + `"],"id":"u1","userName":"b"`
	testStart = `{"schemas":["urn:ietf:params:scim:schemas:test:2.0:TestResource","urn:x:2.0"],"urn:x:2.0":{"a":"1"},"many":[{"value":"m","kind":"k"}]`
)

func TestApplyUser(t *testing.T) {
	const emails = `,"emails":[{"value":"w","type":"work","primary":true},{"value":"h","type":"home"}]`
	tests := []struct {
		name, doc, operations, want string
		lenient                     bool
	}{
		// RFC 7644 §3.5.2.1
		{"add single", ``, `{"op":"add","path":"title","value":"T"}`, `,"title":"T"`, false},
		{"add replaces single", `,"title":"S"`, `{"op":"add","path":"TITLE","value":"T"}`, `,"title":"T"`, false},
		{"add without path", `,"title":"S"`, `{"op":"add","value":{"schemas":["x"],"emails":[{"value":"e"}],"nickName":"N"}}`, `,"title":"S","nickName":"N","emails":[{"value":"e"}]`, false},
		{"add merges a complex value", `,"name":{"givenName":"G"}`, `{"op":"add","path":"name","value":{"familyName":"F"}}`, `,"name":{"givenName":"G","familyName":"F"}`, false},
		{"add sub-attribute", ``, `{"op":"add","path":"name.familyName","value":"F"}`, `,"name":{"familyName":"F"}`, false},
		{"add appends", emails, `{"op":"add","path":"emails","value":[{"value":"o","type":"other"}]}`, `,"emails":[{"value":"w","type":"work","primary":true},{"value":"h","type":"home"},{"value":"o","type":"other"}]`, false},
		{"add takes one value", ``, `{"op":"add","path":"emails","value":{"value":"o"}}`, `,"emails":[{"value":"o"}]`, false},
		{"add existing", emails, `{"op":"add","path":"emails","value":[{"value":"W","type":"work"},{"value":"h","type":"home"}]}`, `,"emails":[{"value":"W","type":"work","primary":true},{"value":"h","type":"home"}]`, false},
		{"add demotes the primary", emails, `{"op":"add","path":"emails","value":[{"value":"o","primary":true}]}`, `,"emails":[{"value":"w","type":"work","primary":false},{"value":"h","type":"home"},{"value":"o","primary":true}]`, false},
		{"add makes an existing value primary", emails, `{"op":"add","path":"emails","value":[{"value":"h","type":"home","primary":true}]}`, `,"emails":[{"value":"w","type":"work","primary":false},{"value":"h","type":"home","primary":true}]`, false},
		{"add null", `,"title":"T"`, `{"op":"add","path":"title","value":null},{"op":"add","path":"name","value":{}},{"op":"add","path":"emails","value":[]}`, `,"title":"T"`, false},
		{"add to an extension", ``, `{"op":"add","path":"` + ext + `:department","value":"D"}`, `,"` + ext + `":{"department":"D"}`, false},
		{"add an extension", ``, `{"op":"add","path":"` + ext + `","value":{"department":"D","manager":{"value":"m"}}}`, `,"` + ext + `":{"department":"D","manager":{"value":"m"}}`, false},
		{"add with the core URN", ``, `{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:User:title","value":"T"},{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:User","value":{"nickName":"N"}}`, `,"title":"T","nickName":"N"`, false},
		{"add to a selected value", emails, `{"op":"add","path":"emails[type eq \"home\"]","value":{"display":"D","primary":true}}`, `,"emails":[{"value":"w","type":"work","primary":false},{"value":"h","type":"home","display":"D","primary":true}]`, false},

		// §3.5.2.2
		{"remove single", `,"title":"T"`, `{"op":"remove","path":"title"}`, ``, false},
		{"remove absent", ``, `{"op":"remove","path":"title"},{"op":"remove","path":"name.givenName"},{"op":"remove","path":"emails"},{"op":"remove","path":"` + ext + `:manager"}`, ``, false},
		{"remove sub-attribute", `,"name":{"givenName":"G","familyName":"F"}`, `{"op":"remove","path":"name.givenName"}`, `,"name":{"familyName":"F"}`, false},
		{"remove the last sub-attribute", `,"name":{"givenName":"G"}`, `{"op":"remove","path":"name.givenName"}`, ``, false},
		{"remove all values", emails, `{"op":"remove","path":"emails"}`, ``, false},
		{"remove by filter", emails, `{"op":"remove","path":"emails[type eq \"HOME\" or value eq \"x\"]"}`, `,"emails":[{"value":"w","type":"work","primary":true}]`, false},
		{"remove the last by filter", emails, `{"op":"remove","path":"emails[value pr]"}`, ``, false},
		{"remove sub-attribute by filter", emails, `{"op":"remove","path":"emails[primary eq true].type"}`, `,"emails":[{"value":"w","primary":true},{"value":"h","type":"home"}]`, false},
		{"remove sub-attribute of all", emails, `{"op":"remove","path":"emails.type"}`, `,"emails":[{"value":"w","primary":true},{"value":"h"}]`, false},
		{"remove an extension", `,"` + ext + `":{"department":"D"}`, `{"op":"remove","path":"` + ext + `"}`, ``, false},
		{"remove an extension's attribute", `,"` + ext + `":{"department":"D"}`, `{"op":"remove","path":"` + ext + `:department"}`, ``, false},
		{"R5 remove listed", emails, `{"op":"remove","path":"emails","value":[{"value":"W","type":"work","display":"stale"},{"value":"x"}]}`, `,"emails":[{"value":"h","type":"home"}]`, false},
		{"R5 remove listed by other sub-attributes", `,"addresses":[{"type":"work","locality":"L"},{"type":"home","locality":"L"}]`, `{"op":"remove","path":"addresses","value":{"type":"home"}}`, `,"addresses":[{"type":"work","locality":"L"}]`, false},
		{"R5 remove nothing listed", emails, `{"op":"remove","path":"emails","value":[]}`, emails, false},
		{"remove what the filter doesn't find", emails, `{"op":"remove","path":"emails[type eq \"x\"]"}`, emails, true},

		// §3.5.2.3
		{"replace absent is add", ``, `{"op":"replace","path":"title","value":"T"}`, `,"title":"T"`, false},
		{"replace values", emails, `{"op":"replace","path":"emails","value":[{"value":"n"}]}`, `,"emails":[{"value":"n"}]`, false},
		{"replace with nothing", emails + `,"title":"T","name":{"givenName":"G"}`, `{"op":"replace","path":"emails","value":[]},{"op":"replace","path":"title","value":null},{"op":"replace","path":"name","value":null}`, ``, false},
		{"replace sub-attributes given", `,"name":{"givenName":"G","familyName":"F"}`, `{"op":"replace","path":"name","value":{"givenName":"H"}}`, `,"name":{"givenName":"H","familyName":"F"}`, false},
		{"replace sub-attributes with null", `,"name":{"givenName":"G","familyName":"F"}`, `{"op":"replace","path":"name","value":{"givenName":null,"middleName":"M"}}`, `,"name":{"familyName":"F","middleName":"M"}`, false},
		{"replace one sub-attribute with null", `,"name":{"givenName":"G","familyName":"F"}`, `{"op":"replace","path":"name","value":{"givenName":null}}`, `,"name":{"familyName":"F"}`, false},
		{"replace all by filter", `,"addresses":[{"type":"work","locality":"A"},{"type":"work","locality":"B"},{"type":"home"}]`, `{"op":"replace","path":"addresses[type eq \"work\"]","value":{"type":"work","region":"R"}}`, `,"addresses":[{"type":"work","region":"R"},{"type":"home"}]`, false},
		{"replace sub-attribute by filter", emails, `{"op":"replace","path":"emails[type eq \"work\"].value","value":"n"}`, `,"emails":[{"value":"n","type":"work","primary":true},{"value":"h","type":"home"}]`, false},
		{"replace sub-attribute of all", emails, `{"op":"replace","path":"emails.display","value":"D"}`, `,"emails":[{"value":"w","type":"work","primary":true,"display":"D"},{"value":"h","type":"home","display":"D"}]`, false},
		{"replace sub-attribute of none", ``, `{"op":"replace","path":"emails.value","value":"n"}`, `,"emails":[{"value":"n"}]`, false},
		{"replace primary by filter", emails, `{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}`, `,"emails":[{"value":"w","type":"work","primary":false},{"value":"h","type":"home","primary":true}]`, false},
		{"replace sub-attribute by filter with null", emails, `{"op":"replace","path":"emails[type eq \"work\"].type","value":null}`, `,"emails":[{"value":"w","primary":true},{"value":"h","type":"home"}]`, false},
		{"replace the manager", `,"` + ext + `":{"manager":{"value":"1","$ref":"../Users/1"}}`, `{"op":"replace","path":"` + ext + `:manager","value":{"value":"2"}}`, `,"` + ext + `":{"manager":{"value":"2"}}`, false},
		{"several operations in order", ``, `{"op":"add","path":"title","value":"A"},{"op":"replace","path":"title","value":"B"},{"op":"remove","path":"title"},{"op":"add","path":"title","value":"C"}`, `,"title":"C"`, false},
		{"password", ``, `{"op":"replace","value":{"password":"p"}}`, `,"password":"p"`, false},

		// R7
		{"R7 add creates", ``, `{"op":"add","path":"emails[type eq \"x\" and primary eq true].value","value":"v"}`, `,"emails":[{"type":"x","primary":true,"value":"v"}]`, false},
		{"R7 add creates whole", emails, `{"op":"add","path":"emails[type eq \"other\"]","value":{"value":"o","primary":true}}`, `,"emails":[{"value":"w","type":"work","primary":false},{"value":"h","type":"home"},{"value":"o","type":"other","primary":true}]`, false},
		{"R7 replace creates a canonical type", ``, `{"op":"replace","path":"phoneNumbers[type eq \"work\"].value","value":"+1"}`, `,"phoneNumbers":[{"type":"work","value":"+1"}]`, false},
		{"E4 addresses", ``, `{"op":"Add","path":"addresses[type eq \"work\"].formatted","value":"F"}`, `,"addresses":[{"type":"work","formatted":"F"}]`, true},

		// Clients
		{"E1, E2", `,"active":true`, `{"op":"Replace","path":"active","value":"False"}`, `,"active":false`, true},
		{
			"E3 keys that are paths", `,"name":{"givenName":"G"}`,
			`{"op":"replace","value":{"displayName":"B","name.givenName":"K","name.familyName":"U","` + ext + `:employeeNumber":"A","emails[type eq \"work\"].value":"x@y"}}`,
			`,"displayName":"B","name":{"givenName":"K","familyName":"U"},"emails":[{"type":"work","value":"x@y"}],"` + ext + `":{"employeeNumber":"A"}`, true,
		},
		{"R4 URN as a key", ``, `{"op":"add","value":{"` + ext + `":{"department":"D","manager.value":"m"},"urn:ietf:params:scim:schemas:core:2.0:User":{"title":"T"}}}`, `,"title":"T","` + ext + `":{"department":"D","manager":{"value":"m"}}`, true},
		{"E6 manager as a string", ``, `{"op":"Add","path":"` + ext + `:manager","value":"271"}`, `,"` + ext + `":{"manager":{"value":"271"}}`, true},
		{"E6 manager as an empty string", `,"` + ext + `":{"manager":{"value":"271"}}`, `{"op":"Replace","path":"` + ext + `:manager","value":""}`, ``, true},
		{"E6 manager with an empty value", `,"` + ext + `":{"manager":{"value":"271"}}`, `{"op":"Replace","path":"` + ext + `:manager","value":{"$ref":null,"value":""}}`, ``, true},
		{"E6 manager in an array, bare path", ``, `{"op":"Add","path":"manager","value":[{"$ref":"../Users/1","value":"1"}]}`, `,"` + ext + `":{"manager":{"value":"1","$ref":"../Users/1"}}`, true},
		{"E6 manager removed by value", `,"` + ext + `":{"manager":{"value":"x"}}`, `{"op":"Remove","path":"` + ext + `:manager[value eq \"x\"]"}`, ``, true},
		{"E6 another manager isn't removed", `,"` + ext + `":{"manager":{"value":"y"}}`, `{"op":"Remove","path":"` + ext + `:manager[value eq \"x\"]"}`, `,"` + ext + `":{"manager":{"value":"y"}}`, true},
		{"E7 roles", ``, `{"op":"Add","path":"roles","value":[{"value":"{\"id\":\"1\"}"}]}`, `,"roles":[{"value":"{\"id\":\"1\"}"}]`, true},
		{"E7 primary compared as a string", `,"roles":[{"value":"a","primary":true},{"value":"b"}]`, `{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"c"}`, `,"roles":[{"value":"c","primary":true},{"value":"b"}]`, true},
		{"E7 primary created", ``, `{"op":"Add","path":"roles[primary eq \"True\"].value","value":"c"}`, `,"roles":[{"value":"c","primary":true}]`, true},
		{"E8 single value in an array", ``, `{"op":"Replace","path":"displayName","value":[{"$ref":null,"value":"User x"}]}`, `,"displayName":"User x"`, true},
		{"O4 equal id", ``, `{"op":"replace","value":{"id":"u1","userName":"b","meta":{"version":"x"},"groups":[]}}`, ``, false},
		{"R10 unknown keys", ``, `{"op":"replace","value":{"x":1,"a b":2,"urn:z:y:z":3,"title":"T","` + ext + `":{"zzz":1}}}`, `,"title":"T"`, true},
		{"plain value for a selected one", emails, `{"op":"replace","path":"emails[type eq \"work\"]","value":"n"}`, `,"emails":[{"value":"n","type":"work","primary":true},{"value":"h","type":"home"}]`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			options := schema.Options{}
			if tt.lenient {
				options = schema.Lenient()
			}
			got, err := apply(t, "User", userStart+tt.doc+`}`, tt.operations, options)
			if err != nil {
				t.Fatal(err)
			}
			start := userStart
			if _, ok := got.Document[ext]; ok {
				start = entStart
			}
			if diff := cmp.Diff(decode(t, start+tt.want+`}`), got.Document); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if changed := tt.doc != tt.want; got.Changed != changed {
				t.Errorf("Changed = %v", got.Changed)
			}
			if len(got.Members) > 0 {
				t.Errorf("member changes on a user: %v", got.Members)
			}
		})
	}
}

// An operation that leads to what is there already changes nothing
// (RFC 7644 §3.5.2.1).
func TestApplyUnchanged(t *testing.T) {
	doc := entStart + `,"title":"T","name":{"givenName":"G"},"emails":[{"value":"w","type":"work","primary":true},{"value":"h"}],"` + ext + `":{"manager":{"value":"1"}}}`
	for _, op := range []string{
		`{"op":"add","path":"title","value":"T"}`,
		`{"op":"replace","value":{"title":"T","name.givenName":"G"}}`,
		`{"op":"add","path":"name","value":{"givenName":"G"}}`,
		`{"op":"add","path":"emails","value":[{"type":"work","value":"w"}]}`,
		`{"op":"add","path":"emails[type eq \"work\"].value","value":"w"}`,
		`{"op":"replace","path":"emails[type eq \"work\"].primary","value":true}`,
		`{"op":"replace","path":"manager","value":"1"}`,
		`{"op":"replace","path":"title","value":"X"},{"op":"replace","path":"title","value":"T"}`,
	} {
		if got, err := apply(t, "User", doc, op, schema.Lenient()); err != nil || got.Changed {
			t.Errorf("%s: %v, %v", op, got.Document, err)
		}
	}
}

func TestApplyErrors(t *testing.T) {
	const emails = `,"emails":[{"value":"w","type":"work"},{"value":"h","type":"home"}]`
	start := map[string]string{"User": userStart, "TestResource": testStart, "Group": `{"schemas":["` + schema.GroupURN + `"],"displayName":"g"`}
	tests := []struct {
		name, resource, doc, operations string
		scimType                        filter.ScimType
		operation                       int
		path                            string
	}{
		{"unknown path", "User", ``, `{"op":"add","path":"x","value":1}`, filter.InvalidPath, 0, "x"},
		{"unknown path of the second", "User", ``, `{"op":"add","path":"title","value":"1"},{"op":"remove","path":"name.x"}`, filter.InvalidPath, 1, "name.x"},
		{"unknown extension", "User", ``, `{"op":"add","path":"urn:x:y:z:a","value":1}`, filter.InvalidPath, 0, "urn:x:y:z:a"},
		{"unknown key", "User", ``, `{"op":"add","value":{"x":1}}`, filter.InvalidPath, 0, "x"},
		{"key that is no path", "User", ``, `{"op":"add","value":{"a b":1}}`, filter.InvalidPath, 0, "a b"},
		{"core attribute within an extension", "User", ``, `{"op":"add","path":"` + ext + `","value":{"title":"x"}}`, filter.InvalidPath, 0, ext + ":title"},
		{"extension within an extension", "User", ``, `{"op":"add","path":"` + ext + `","value":{"` + ext + `":{}}}`, filter.InvalidPath, 0, ext},
		{"filter on a simple attribute", "User", ``, `{"op":"remove","path":"title[value eq \"x\"]"}`, filter.InvalidPath, 0, "title"},
		{"filter on an unknown sub-attribute", "User", emails, `{"op":"remove","path":"emails[x eq \"x\"]"}`, filter.InvalidFilter, 0, "x"},
		{"no object without path", "User", ``, `{"op":"add","value":"x"}`, schema.InvalidValue, 0, "value"},
		{"incompatible value", "User", ``, `{"op":"add","path":"active","value":"yes"}`, schema.InvalidValue, 0, "active"},
		{"an object for a string", "User", ``, `{"op":"replace","path":"name.givenName","value":{}}`, schema.InvalidValue, 0, "name.givenName"},
		{"incompatible sub-value", "User", emails, `{"op":"replace","path":"emails[type eq \"work\"].value","value":5}`, schema.InvalidValue, 0, "emails.value"},
		{"string boolean in strict mode", "User", ``, `{"op":"add","path":"active","value":"true"}`, schema.InvalidValue, 0, "active"},
		{"two primaries given", "User", ``, `{"op":"add","path":"emails","value":[{"value":"a","primary":true},{"value":"b","primary":true}]}`, schema.InvalidValue, 0, "emails.primary"},
		{"two values become primary", "User", emails, `{"op":"replace","path":"emails[value pr].primary","value":true}`, schema.InvalidValue, 0, "emails.primary"},
		{"userName blank", "User", ``, `{"op":"replace","path":"userName","value":" "}`, schema.InvalidValue, -1, "userName"},
		{"readOnly", "User", ``, `{"op":"replace","path":"id","value":"u1"}`, schema.Mutable, 0, "id"},
		{"readOnly removed", "User", ``, `{"op":"remove","path":"groups"}`, schema.Mutable, 0, "groups"},
		{"readOnly sub-attribute", "User", ``, `{"op":"replace","path":"meta.version","value":"x"}`, schema.Mutable, 0, "meta.version"},
		{"readOnly in an extension", "User", ``, `{"op":"replace","path":"manager.displayName","value":"x"}`, schema.Mutable, 0, ext + ":manager.displayName"},
		{"R9 another id without path", "User", ``, `{"op":"replace","value":{"id":"u2"}}`, schema.Mutable, 0, "id"},
		{"required removed", "User", ``, `{"op":"remove","path":"userName"}`, schema.Mutable, 0, "userName"},
		{"required replaced by null", "User", ``, `{"op":"replace","path":"userName","value":null}`, schema.Mutable, 0, "userName"},
		{"required list removed by filter", "TestResource", ``, `{"op":"remove","path":"many[value eq \"m\"]"}`, schema.Mutable, 0, "many"},
		{"required sub-attribute removed", "TestResource", `,"pair":{"right":"r"}`, `{"op":"remove","path":"pair.right"}`, schema.Mutable, 0, "pair.right"},
		{"required sub-attribute missing", "TestResource", ``, `{"op":"add","path":"pair.left","value":"l"}`, schema.InvalidValue, -1, "pair.right"},
		{"immutable set", "TestResource", `,"fixed":"a"`, `{"op":"replace","path":"fixed","value":"b"}`, schema.Mutable, 0, "fixed"},
		{"immutable removed", "TestResource", `,"fixed":"a"`, `{"op":"remove","path":"fixed"}`, schema.Mutable, 0, "fixed"},
		{"immutable list extended", "TestResource", `,"fixedList":["a"]`, `{"op":"add","path":"fixedList","value":"b"}`, schema.Mutable, 0, "fixedList"},
		{"immutable list shortened", "TestResource", `,"fixedList":["a","b"]`, `{"op":"remove","path":"fixedList","value":["a"]}`, schema.Mutable, 0, "fixedList"},
		{"immutable sub-attribute", "TestResource", `,"pair":{"right":"r","fixed":"f"}`, `{"op":"replace","path":"pair","value":{"fixed":"g"}}`, schema.Mutable, 0, "pair.fixed"},
		{"immutable sub-attribute goes with the whole", "TestResource", `,"pair":{"right":"r","fixed":"f"}`, `{"op":"remove","path":"pair"}`, schema.Mutable, 0, "pair.fixed"},
		{"immutable sub-attribute of one of several", "TestResource", ``, `{"op":"replace","path":"many[value eq \"m\"].kind","value":"other"}`, schema.Mutable, 0, "many.kind"},
		{"required extension", "TestResource", ``, `{"op":"remove","path":"urn:x:2.0"}`, schema.Mutable, 0, "urn:x:2.0"},
		{"base schema", "User", ``, `{"op":"remove","path":"` + schema.UserURN + `"}`, schema.NoTarget, 0, schema.UserURN},
		{"R7 replace, not canonical", "User", emails, `{"op":"replace","path":"emails[type eq \"nonexistent\"].value","value":"x"}`, schema.NoTarget, 0, "emails.value"},
		{"R7 replace, another attribute", "User", emails, `{"op":"replace","path":"emails[value eq \"work\"].value","value":"x"}`, schema.NoTarget, 0, "emails.value"},
		{"R7 replace, more than a type", "User", ``, `{"op":"replace","path":"emails[type eq \"work\" and primary eq true].value","value":"x"}`, schema.NoTarget, 0, "emails.value"},
		{"R7 add, nothing to create", "User", ``, `{"op":"add","path":"emails[type eq \"a\" or type eq \"b\"].value","value":"x"}`, schema.NoTarget, 0, "emails.value"},
		{"R7 add, ne", "User", ``, `{"op":"add","path":"emails[type ne \"a\"].value","value":"x"}`, schema.NoTarget, 0, "emails.value"},
		{"strict remove without match", "User", emails, `{"op":"remove","path":"emails[type eq \"x\"]"}`, schema.NoTarget, 0, "emails"},
		{"replace another manager", "User", ``, `{"op":"replace","path":"manager[value eq \"x\"].value","value":"y"}`, schema.NoTarget, 0, ext + ":manager.value"},
		{"R6 member without value", "Group", ``, `{"op":"replace","path":"members","value":[{"display":"d"}]}`, schema.InvalidValue, 0, "members.value"},
		{"R6 member without value removed", "Group", ``, `{"op":"remove","path":"members","value":[{"type":"User"}]}`, schema.InvalidValue, 0, "members.value"},
		{"members changed", "Group", ``, `{"op":"replace","path":"members[value eq \"a\"].value","value":"b"}`, schema.Mutable, 0, "members.value"},
		{"members replaced by filter", "Group", ``, `{"op":"replace","path":"members[value eq \"a\"]","value":{"value":"b"}}`, schema.Mutable, 0, "members"},
		{"members.display", "Group", ``, `{"op":"replace","path":"members.display","value":"b"}`, schema.Mutable, 0, "members.display"},
		{"members by $ref", "Group", ``, `{"op":"remove","path":"members[$ref eq \"x\"]"}`, filter.InvalidFilter, 0, "$ref"},
		{"members by a wrong literal", "Group", ``, `{"op":"remove","path":"members[value eq 5]"}`, filter.InvalidFilter, 0, "value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := apply(t, tt.resource, start[tt.resource]+tt.doc+`}`, tt.operations, schema.Options{})
			e, ok := errors.AsType[*Error](err)
			if !ok || e.ScimType != tt.scimType || e.Operation != tt.operation || e.Path != tt.path || e.Detail == "" {
				t.Errorf("got %v, want %s of operation %d at %q", err, tt.scimType, tt.operation, tt.path)
			}
		})
	}
}

func TestApplyImmutable(t *testing.T) {
	got, err := apply(t, "TestResource", testStart+`}`, `{"op":"add","path":"fixed","value":"a"},{"op":"replace","path":"fixed","value":"A"},{"op":"add","path":"fixedList","value":["x"]},{"op":"add","path":"fixedList","value":["x"]},{"op":"remove","path":"fixedList","value":"y"},{"op":"add","path":"tags","value":["a","b"]},{"op":"replace","path":"tags[value eq \"a\"]","value":"c"},{"op":"add","path":"tags[value eq \"z\"]","value":"d"}`, schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, testStart+`,"fixed":"A","fixedList":["x"],"tags":["c","b","d"]}`), got.Document); diff != "" {
		t.Error(diff)
	}
}

func TestApplyMembers(t *testing.T) {
	member := func(ids ...string) []Member {
		var m []Member
		for _, id := range ids {
			m = append(m, Member{Value: id})
		}
		return m
	}
	matching := schema.And{Conditions: []schema.Condition{
		schema.Compare{Attr: schema.Attr{Path: []string{"value"}, Type: schema.String}, Op: filter.Eq, Value: "a"},
		schema.Compare{Attr: schema.Attr{Path: []string{"type"}, Type: schema.String}, Op: filter.Eq, Value: "user"},
	}}
	tests := []struct {
		name, operations string
		want             []MemberChange
	}{
		{"E5 add", `{"op":"Add","path":"members","value":[{"$ref":null,"value":"id1"},{"$ref":null,"value":"id2"}]}`, []MemberChange{{Op: AddMembers, Members: member("id1", "id2")}}},
		{"E5 legacy remove", `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"id1"}]}`, []MemberChange{{Op: RemoveMembers, Members: member("id1")}}},
		{"E5 modern remove", `{"op":"remove","path":"members[value eq \"id1\"]"}`, []MemberChange{{Op: RemoveMembers, Members: member("id1")}}},
		{"E5 remove all", `{"op":"Remove","path":"members"}`, []MemberChange{{Op: RemoveAllMembers}}},
		{"remove with null", `{"op":"Remove","path":"members","value":null}`, []MemberChange{{Op: RemoveAllMembers}}},
		{"R5 remove an empty list", `{"op":"Remove","path":"members","value":[]}`, nil},
		{"remove several by filter", `{"op":"remove","path":"members[value eq \"a\" or VALUE EQ \"b\" or value eq \"a\"]"}`, []MemberChange{{Op: RemoveMembers, Members: member("a", "b")}}},
		{"remove by another filter", `{"op":"remove","path":"members[value eq \"a\" and type eq \"User\"]"}`, []MemberChange{{Op: RemoveMatching, Filter: matching}}},
		{"remove by type", `{"op":"remove","path":"members[type eq \"User\"]"}`, []MemberChange{{Op: RemoveMatching, Filter: matching.Conditions[1]}}},
		{"O4 mixed", `{"op":"remove","path":"members[value eq \"a\"]"},{"op":"add","path":"members","value":[{"value":"b","display":"B"}]}`, []MemberChange{{Op: RemoveMembers, Members: member("a")}, {Op: AddMembers, Members: member("b")}}},
		{"O4 full push", `{"op":"replace","path":"members","value":[{"value":"a"},{"value":"a"},{"value":"b"}]}`, []MemberChange{{Op: ReplaceMembers, Members: member("a", "b")}}},
		{"O4 empty push", `{"op":"replace","path":"members","value":[]}`, []MemberChange{{Op: RemoveAllMembers}}},
		{"WSO2 without path", `{"op":"add","value":{"members":[{"value":"a","type":"Group"}]}}`, []MemberChange{{Op: AddMembers, Members: []Member{{"a", "Group"}}}}},
		{"spellings of the path", `{"op":"add","path":"Members","value":{"value":"a"}},{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:Group:members","value":[{"value":"b"}]}`, []MemberChange{{Op: AddMembers, Members: member("a")}, {Op: AddMembers, Members: member("b")}}},
		{"plain ids", `{"op":"add","path":"members","value":["a","b"]}`, []MemberChange{{Op: AddMembers, Members: member("a", "b")}}},
		{"add nothing", `{"op":"add","path":"members","value":[]},{"op":"add","path":"members","value":null}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := `{"schemas":["` + schema.GroupURN + `"],"displayName":"g"}`
			got, err := apply(t, "Group", doc, tt.operations, schema.Lenient())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Members); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(decode(t, doc), got.Document); diff != "" || got.Changed {
				t.Errorf("the document changed: %s", diff)
			}
		})
	}
}

// O4: Okta renames with the id in the value before each change.
func TestApplyGroupRename(t *testing.T) {
	doc := `{"schemas":["` + schema.GroupURN + `"],"id":"g1","displayName":"old"}`
	got, err := apply(t, "Group", doc, `{"op":"replace","value":{"id":"g1","displayName":"new"}},{"op":"Add","path":"externalId","value":"x"}`, schema.Lenient())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, `{"schemas":["`+schema.GroupURN+`"],"id":"g1","displayName":"new","externalId":"x"}`), got.Document); diff != "" || !got.Changed {
		t.Error(diff)
	}
}

func TestApplyWarnings(t *testing.T) {
	got, err := apply(t, "User", userStart+`}`, `{"op":"replace","value":{"x":1,"name":{"y":1,"givenName":"G"}}}`, schema.Lenient())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, w := range got.Warnings {
		paths = append(paths, w.Path)
	}
	if diff := cmp.Diff([]string{"name.y", "x"}, paths); diff != "" {
		t.Error(diff)
	}
}
