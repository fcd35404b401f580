package schema

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/scim/filter"
)

const (
	userSchemas  = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`
	groupSchemas = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
	testSchemas  = `"schemas":["urn:ietf:params:scim:schemas:test:2.0:TestResource","urn:ietf:params:scim:schemas:extension:test:2.0:TestResource"],` +
		`"urn:ietf:params:scim:schemas:extension:test:2.0:TestResource":{"extRequired":"x"},"identifier":"1"`
	bothSchemas = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]`
)

func TestValidateCreate(t *testing.T) {
	tests := []struct {
		name, resource string
		options        Options
		in, want       string
		warnings       []string
	}{
		{"names are canonical (R2)", "User", Options{}, `{` + userSchemas + `,"USERNAME":"Bob","Name":{"familyname":"B"}}`, `{` + userSchemas + `,"userName":"Bob","name":{"familyName":"B"}}`, nil},
		{"RFC 7643 §2.5 absence", "User", Options{}, `{` + userSchemas + `,"userName":"b","title":null,"emails":[],"name":{},"roles":[null,{}],"nickName":[]}`, `{` + userSchemas + `,"userName":"b"}`, nil},
		{"R9 readOnly dropped", "User", Options{}, `{` + userSchemas + `,"userName":"b","id":"1","meta":{"version":"x"},"groups":[{"value":"g"}]}`, `{` + userSchemas + `,"userName":"b"}`, nil},
		{"R3 string booleans", "User", Lenient(), `{` + userSchemas + `,"userName":"b","active":"True","emails":[{"value":"a","primary":"false"}]}`, `{` + userSchemas + `,"userName":"b","active":true,"emails":[{"value":"a","primary":false}]}`, nil},
		{"R8 manager as a string", "User", Lenient(), `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":"7"}}`, `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":{"value":"7"}}}`, nil},
		{"R8 manager as an object", "User", Options{}, `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":{"value":"7","displayName":"dropped"}}}`, `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":{"value":"7"}}}`, nil},
		{"R8 manager as an array", "User", Lenient(), `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":[{"$ref":null,"value":"7"}]}}`, `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":{"value":"7"}}}`, nil},
		{"R8 manager as an empty string", "User", Lenient(), `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":""}}`, `{` + userSchemas + `,"userName":"b"}`, nil},
		{"R8 manager of an empty value", "User", Lenient(), `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"manager":{"value":""}}}`, `{` + userSchemas + `,"userName":"b"}`, nil},
		{"E7 JSON in a string", "User", Lenient(), `{` + userSchemas + `,"userName":"b","roles":[{"value":"{\"id\":\"1\"}"}]}`, `{` + userSchemas + `,"userName":"b","roles":[{"value":"{\"id\":\"1\"}"}]}`, nil},
		{"E8 single value in an array", "User", Lenient(), `{` + userSchemas + `,"userName":"b","displayName":[{"$ref":null,"value":"x"}]}`, `{` + userSchemas + `,"userName":"b","displayName":"x"}`, nil},
		{"plain values in a complex array", "User", Lenient(), `{` + userSchemas + `,"userName":"b","emails":"a@b"}`, `{` + userSchemas + `,"userName":"b","emails":[{"value":"a@b"}]}`, nil},
		{
			"E9 misspelled URN is the extension", "User", Lenient(),
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0User"],"userName":"b","urn:ietf:params:scim:schemas:extension:enterprise:2.0User":{"department":"d"}}`,
			`{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"department":"d"}}`, nil,
		},
		{
			"E9 extra schema of groups", "Group", Lenient(),
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"displayName":"g"}`,
			`{` + groupSchemas + `,"displayName":"g"}`,
			[]string{"http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"},
		},
		{"R10 unknown attributes", "User", Lenient(), `{` + userSchemas + `,"userName":"b","x":1,"name":{"y":2},"urn:z:z":{}}`, `{` + userSchemas + `,"userName":"b"}`, []string{"name.y", "urn:z:z", "x"}},
		{"R10 no schemas", "User", Lenient(), `{"userName":"b"}`, `{` + userSchemas + `,"userName":"b"}`, nil},
		{"extension attribute without its container", "User", Lenient(), `{` + userSchemas + `,"userName":"b","` + EnterpriseUserURN + `:department":"d"}`, `{` + bothSchemas + `,"userName":"b","` + EnterpriseUserURN + `":{"department":"d"}}`, nil},
		{"schemas follow the content", "User", Options{}, `{` + bothSchemas + `,"userName":"b"}`, `{` + userSchemas + `,"userName":"b"}`, nil},
		{"RFC 7643 §2.4 duplicates collapse", "User", Options{}, `{` + userSchemas + `,"userName":"b","emails":[{"value":"a","type":"work"},{"value":"A","type":"Work","primary":true},{"value":"a","type":"home"}]}`, `{` + userSchemas + `,"userName":"b","emails":[{"value":"A","type":"Work","primary":true},{"value":"a","type":"home"}]}`, nil},
		{"equal addresses collapse", "User", Options{}, `{` + userSchemas + `,"userName":"b","addresses":[{"locality":"a"},{"locality":"a"},{"locality":"b"}]}`, `{` + userSchemas + `,"userName":"b","addresses":[{"locality":"a"},{"locality":"b"}]}`, nil},
		{"members are keyed by value", "Group", Options{}, `{` + groupSchemas + `,"displayName":"g","members":[{"value":"1"},{"value":"1","type":"User"}]}`, `{` + groupSchemas + `,"displayName":"g","members":[{"value":"1","type":"User"}]}`, nil},
		{"all types", "TestResource", Options{}, `{` + testSchemas + `,"number":-5,"amount":1.50,"date":"2011-05-13T04:42:34+02:00","blob":"AQ==","link":"../Users/1","tags":["a","A","b"],"secret":"s"}`, `{` + testSchemas + `,"number":-5,"amount":1.50,"date":"2011-05-13T04:42:34+02:00","blob":"AQ==","link":"../Users/1","tags":["a","b"],"secret":"s"}`, nil},
		{"a country's name", "User", Lenient(), `{` + userSchemas + `,"userName":"b","addresses":[{"country":"Germany"}]}`, `{` + userSchemas + `,"userName":"b","addresses":[{"country":"Germany"}]}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rt, in := resourceType(t, tt.resource), decode(t, tt.in)
			got, warnings, err := rt.ValidateCreate(in, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, tt.want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			var paths []string
			for _, w := range warnings {
				paths = append(paths, w.Path)
			}
			if diff := cmp.Diff(tt.warnings, paths); diff != "" {
				t.Errorf("warnings: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(decode(t, tt.in), in); diff != "" {
				t.Errorf("the input was changed: %s", diff)
			}
			again, warnings, err := rt.ValidateCreate(got, Options{})
			if err != nil && tt.name != "a country's name" {
				t.Errorf("the result isn't valid: %v", err)
			} else if diff := cmp.Diff(got, again); err == nil && (diff != "" || len(warnings) > 0) {
				t.Errorf("not idempotent: %s%v", diff, warnings)
			}
		})
	}
}

func TestValidateCreateErrors(t *testing.T) {
	user := func(s string) string { return `{` + userSchemas + `,"userName":"b",` + s + `}` }
	test := func(s string) string { return `{` + testSchemas + `,` + s + `}` }
	tests := []struct {
		name, resource, in string
		scimType           filter.ScimType
		path               string
	}{
		{"no schemas", "User", `{"userName":"b"}`, InvalidValue, "schemas"},
		{"empty schemas", "User", `{"schemas":[],"userName":"b"}`, InvalidSyntax, "schemas"},
		{"schemas of another type", "User", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"userName":"b"}`, InvalidValue, GroupURN},
		{"schemas without the base", "User", `{"schemas":["` + EnterpriseUserURN + `"],"userName":"b"}`, InvalidSyntax, "schemas"},
		{"schemas no array", "User", `{"schemas":"` + UserURN + `","userName":"b"}`, InvalidValue, "schemas"},
		{"required missing", "User", `{` + userSchemas + `}`, InvalidValue, "userName"},
		{"required empty", "User", `{` + userSchemas + `,"userName":""}`, InvalidValue, "userName"},
		{"required blank", "User", `{` + userSchemas + `,"userName":"  "}`, InvalidValue, "userName"},
		{"required null", "User", `{` + userSchemas + `,"userName":null}`, InvalidValue, "userName"},
		{"unknown attribute", "User", user(`"x":1`), InvalidValue, "x"},
		{"unknown sub-attribute", "User", user(`"name":{"x":1}`), InvalidValue, "name.x"},
		{"unknown extension attribute", "User", user(`"` + EnterpriseUserURN + `":{"x":1}`), InvalidValue, EnterpriseUserURN + ":x"},
		{"twice in other case", "User", user(`"title":"a","TITLE":"b"`), InvalidValue, "title"},
		{"string", "User", user(`"title":5`), InvalidValue, "title"},
		{"string with U+0000", "User", user(`"title":"a\u0000"`), InvalidValue, "title"},
		{"boolean", "User", user(`"active":"true"`), InvalidValue, "active"},
		{"complex", "User", user(`"name":"x"`), InvalidValue, "name"},
		{"multi-valued", "User", user(`"emails":{"value":"x"}`), InvalidValue, "emails"},
		{"array for a single value", "User", user(`"title":["x"]`), InvalidValue, "title"},
		{"object for a simple value", "User", user(`"title":{"value":"x"}`), InvalidValue, "title"},
		{"extension as a string", "User", user(`"` + EnterpriseUserURN + `":"x"`), InvalidValue, EnterpriseUserURN},
		{"two primaries", "User", user(`"emails":[{"value":"a","primary":true},{"value":"b","primary":true}]`), InvalidValue, "emails.primary"},
		{"country", "User", user(`"addresses":[{"country":"Germany"}]`), InvalidValue, "addresses.country"},
		{"R6 member without value", "Group", `{` + groupSchemas + `,"displayName":"g","members":[{"type":"User"}]}`, InvalidValue, "members.value"},
		{"R6 member with an empty value", "Group", `{` + groupSchemas + `,"displayName":"g","members":[{"value":""}]}`, InvalidValue, "members.value"},
		{"integer with a fraction", "TestResource", test(`"number":1.0`), InvalidValue, "number"},
		{"integer with an exponent", "TestResource", test(`"number":1e2`), InvalidValue, "number"},
		{"integer as a string", "TestResource", test(`"number":"1"`), InvalidValue, "number"},
		{"integer beyond 64 bits", "TestResource", test(`"number":9223372036854775808`), InvalidValue, "number"},
		{"decimal beyond float64", "TestResource", test(`"amount":1e999`), InvalidValue, "amount"},
		{"date without time", "TestResource", test(`"date":"2011-05-13"`), InvalidValue, "date"},
		{"date that isn't", "TestResource", test(`"date":"2011-02-30T00:00:00Z"`), InvalidValue, "date"},
		{"binary", "TestResource", test(`"blob":"a b"`), InvalidValue, "blob"},
		{"reference", "TestResource", test(`"link":"a b"`), InvalidValue, "link"},
		{"extension required", "TestResource", `{"schemas":["urn:ietf:params:scim:schemas:test:2.0:TestResource"],"identifier":"1"}`, InvalidValue, "urn:ietf:params:scim:schemas:extension:test:2.0:TestResource"},
		{"required in the extension", "TestResource", `{"schemas":["urn:ietf:params:scim:schemas:test:2.0:TestResource"],"identifier":"1","urn:ietf:params:scim:schemas:extension:test:2.0:TestResource":{"extInteger":1}}`, InvalidValue, "urn:ietf:params:scim:schemas:extension:test:2.0:TestResource:extRequired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := resourceType(t, tt.resource).ValidateCreate(decode(t, tt.in), Options{})
			wantError(t, err, tt.scimType, tt.path)
		})
	}
	_, _, err := resourceType(t, "User").ValidateCreate(decode(t, `{"schemas":["urn:x:y"],"userName":"b"}`), Lenient())
	wantError(t, err, InvalidSyntax, "schemas")
	_, _, err = resourceType(t, "User").ValidateCreate(decode(t, user(`"title":["a","b"]`)), Lenient())
	wantError(t, err, InvalidValue, "title")
}

func TestValidateReplace(t *testing.T) {
	rt := resourceType(t, "TestResource")
	current := decode(t, `{`+testSchemas+`,"exact":"old","fixed":"F","derived":"d","secret":"s","tags":["a"],"pair":{"left":"l","right":1,"fixed":"p"},"id":"i"}`)
	tests := []struct{ name, in, want string }{
		{"readWrite omitted is cleared", ``, `"fixed":"F","derived":"d","secret":"s","id":"i"`},
		{"values are replaced", `,"exact":"new","secret":"t","derived":"ignored","tags":["b"]`, `"exact":"new","fixed":"F","derived":"d","secret":"t","tags":["b"],"id":"i"`},
		{"immutable that is equal", `,"fixed":"f"`, `"fixed":"f","derived":"d","secret":"s","id":"i"`},
		{"immutable sub-attribute stays", `,"pair":{"left":"m"}`, `"pair":{"left":"m","fixed":"p"},"fixed":"F","derived":"d","secret":"s","id":"i"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := rt.ValidateReplace(current, decode(t, `{`+testSchemas+tt.in+`}`), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, `{`+testSchemas+`,`+tt.want+`}`), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	_, _, err := rt.ValidateReplace(current, decode(t, `{`+testSchemas+`,"fixed":"other"}`), Options{})
	wantError(t, err, Mutable, "fixed")
	_, _, err = rt.ValidateReplace(current, decode(t, `{`+testSchemas+`,"pair":{"fixed":"other"}}`), Options{})
	wantError(t, err, Mutable, "pair.fixed")
	_, _, err = rt.ValidateReplace(current, decode(t, `{"schemas":["urn:ietf:params:scim:schemas:test:2.0:TestResource"]}`), Options{})
	wantError(t, err, InvalidValue, "identifier")
	if got, _, err := rt.ValidateReplace(nil, decode(t, `{`+testSchemas+`,"fixed":"new"}`), Options{}); err != nil || got["fixed"] != "new" {
		t.Errorf("an immutable attribute without a value may be set: %v, %v", got, err)
	}
}

func TestEqual(t *testing.T) {
	rt := resourceType(t, "TestResource")
	tests := []struct {
		name, x, y string
		want       bool
	}{
		{"inexact", `"A"`, `"a"`, true},
		{"exact", `"A"`, `"a"`, false},
		{"date", `"2011-05-13T04:42:34Z"`, `"2011-05-13T06:42:34+02:00"`, true},
		{"amount", `1.50`, `1.5`, true},
		{"tags", `["a","b"]`, `["b","A"]`, true},
		{"tags", `["a","a","b"]`, `["a","b","b"]`, false},
		{"items", `[{"value":"a"}]`, `[{"value":"a","type":"x"}]`, false},
	}
	for _, tt := range tests {
		var x, y any
		x, y = decode(t, `{"v":`+tt.x+`}`)["v"], decode(t, `{"v":`+tt.y+`}`)["v"]
		a, _ := rt.base(tt.name)
		if got := Equal(a, x, y); got != tt.want {
			t.Errorf("%s: Equal(%s, %s) = %v", tt.name, tt.x, tt.y, got)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(`{` + bothSchemas + `,"userName":"b","active":"True","emails":[{"value":"a","primary":true}],"` + EnterpriseUserURN + `":{"manager":"1"}}`)
	f.Add(`{"USERNAME":["x"],"name":[{}],"emails":{"value":[{}]},"manager":[{"value":{"value":"x"}}]}`)
	f.Add(`{"userName":{"value":{"value":1}},"schemas":[null],"meta":1,"photos":["%"],"x509Certificates":[{"value":"="}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		var doc map[string]any
		if json.Unmarshal([]byte(s), &doc) != nil {
			return
		}
		user := resourceType(t, "User")
		in := decode(t, s)
		out, _, err := user.ValidateCreate(in, Lenient())
		if diff := cmp.Diff(decode(t, s), in); diff != "" {
			t.Fatalf("the input was changed: %s", diff)
		}
		if err != nil {
			return
		}
		again, warnings, err := user.ValidateCreate(out, Options{LooseValues: true})
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%s: the result isn't valid: %v %v", s, err, warnings)
		}
		if diff := cmp.Diff(out, again); diff != "" {
			t.Fatalf("%s: not idempotent: %s", s, diff)
		}
	})
}
