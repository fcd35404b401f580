package scim

import (
	"encoding/base64"
	"net/http"
	"slices"
	"time"
)

// The resource type that is made at run time, with one attribute of each kind.
const (
	testURN          = "urn:ietf:params:scim:schemas:test:2.0:TestResource"
	testExtensionURN = "urn:ietf:params:scim:schemas:extension:test:2.0:TestResource"
)

// attribute describes one of a schema (RFC 7643 §7).
func attribute(name, kind string, more ...m) m {
	return with(m{"name": name, "type": kind, "description": name}, more...)
}

func testSchemas() []m {
	multi, text := m{"multiValued": true}, "string"
	return []m{
		{"id": testURN, "name": "TestResource", "description": "One attribute of each kind", "attributes": l{
			attribute("identifier", text, m{"required": true, "uniqueness": "server"}), attribute("caseExactString", text, m{"caseExact": true}), attribute("caseInsensitiveString", text),
			attribute("integerAttr", "integer"), attribute("booleanAttr", "boolean"), attribute("dateTimeAttr", "dateTime"), attribute("binaryAttr", "binary"),
			attribute("referenceAttr", "reference", m{"referenceTypes": l{"external"}}), attribute("readOnlyAttr", text, m{"mutability": "readOnly"}),
			attribute("immutableAttr", text, m{"mutability": "immutable"}), attribute("writeOnlyAttr", text, m{"mutability": "writeOnly", "returned": "never"}),
			attribute("requestOnlyAttr", text, m{"returned": "request"}), attribute("alwaysReturnedAttr", text, m{"returned": "always"}), attribute("multiStrings", text, multi),
			attribute("complexAttr", "complex", m{"subAttributes": l{attribute("sub1", text), attribute("sub2", "integer"), attribute("sub3", "boolean")}}),
			attribute("multiComplex", "complex", multi, m{"subAttributes": l{attribute("value", text), attribute("type", text), attribute("primary", "boolean")}}),
			attribute("uniqueString", text, m{"uniqueness": "server"}),
		}},
		{"id": testExtensionURN, "name": "TestExtension", "description": "An extension that is required", "attributes": l{
			attribute("extString", text), attribute("extRequired", text, m{"required": true}), attribute("extInteger", "integer"),
		}},
	}
}

// manage sends a request to the management API as its operator.
func (x *tester) manage(method, path string, body any) answer {
	x.Helper()
	return x.do(method, x.server.URL+"/api/v1/tenants/"+x.slug+path, body, "Authorization: Bearer "+operatorToken, "Content-Type: application/json")
}

// testType makes the resource type in the tenant, or leaves the test out where
// the server makes none.
func (x *tester) testType() {
	x.Helper()
	for _, schema := range testSchemas() {
		id, _ := schema["id"].(string)
		made := x.available(x.manage(http.MethodPut, "/scim/schemas/"+id, schema))
		x.ok(made.status < 300, "%s: got %d %.400s", made.request, made.status, made.raw)
	}
	made := x.manage(http.MethodPut, "/scim/resource-types/TestResource", m{
		"name": "TestResource", "description": "One attribute of each kind", "endpoint": "/TestResources", "schema": testURN,
		"schemaExtensions": l{m{"schema": testExtensionURN, "required": true}},
	})
	x.ok(made.status < 300, "%s: got %d %.400s", made.request, made.status, made.raw)
}

// testBody is a resource of the type that can be made, with changes.
func (x *tester) testBody(changes ...m) m {
	return with(m{"schemas": l{testURN, testExtensionURN}, "identifier": x.name(), testExtensionURN: m{"extRequired": "E"}}, changes...)
}

// custom makes a resource of the type.
func (x *tester) custom(changes ...m) answer {
	x.Helper()
	return x.want(x.post("/TestResources", x.testBody(changes...)), http.StatusCreated)
}

// comesBack makes a resource with the attribute and holds that POST, GET and
// lists return the value, and filters find it.
func (x *tester) comesBack(name string, value any) answer {
	x.Helper()
	x.testType()
	made := x.custom(m{name: value})
	for _, a := range []answer{made, x.want(x.get("/TestResources/"+made.id()), 200)} {
		x.same(name, a.at(name), value)
	}
	x.same(name+" in a list", x.want(x.get("/TestResources"), 200).at("Resources.0."+name), value)
	x.same(name+" pr", x.find("/TestResources", name+" pr"), []string{made.id()})
	return made
}

// refused holds that values are no values of the attribute.
func (x *tester) refused(name string, values ...any) {
	x.Helper()
	for _, value := range values {
		x.wantError(x.post("/TestResources", x.testBody(m{name: value})), 400, "invalidValue")
	}
}

func typeInteger(x *tester) {
	made := x.comesBack("integerAttr", 42)
	x.same("gt", x.find("/TestResources", "integerAttr gt 41"), []string{made.id()})
	x.same("lt", x.find("/TestResources", "integerAttr lt 42"), []string{})
	x.refused("integerAttr", 1.5, "42", true)
}

func typeBoolean(x *tester) {
	made := x.comesBack("booleanAttr", true)
	x.same("eq", x.find("/TestResources", "booleanAttr eq true"), []string{made.id()})
	x.refused("booleanAttr", "perhaps", 1)
	x.wantError(x.get("/TestResources?filter=booleanAttr%20gt%20true"), 400, "invalidFilter")
}

func typeDateTime(x *tester) {
	x.testType()
	made := x.custom(m{"dateTimeAttr": "2011-05-13T04:42:34+02:00"})
	moment := dateTime(x, "dateTimeAttr", made.text("dateTimeAttr"))
	x.ok(moment.Equal(time.Date(2011, 5, 13, 2, 42, 34, 0, time.UTC)), "got %s", moment)
	x.same("gt", x.find("/TestResources", `dateTimeAttr gt "2011-05-13T02:42:33Z"`), []string{made.id()})
	x.same("eq", x.find("/TestResources", `dateTimeAttr eq "2011-05-13T02:42:34Z"`), []string{made.id()})
	x.refused("dateTimeAttr", "2011-05-13", "yesterday", 7)
}

func typeBinary(x *tester) {
	x.comesBack("binaryAttr", base64.StdEncoding.EncodeToString([]byte("binary?>")))
	x.refused("binaryAttr", "no base64!", 7)
	x.wantError(x.get("/TestResources?filter=binaryAttr%20gt%20%22YQ==%22"), 400, "invalidFilter")
}

func typeReference(x *tester) {
	x.comesBack("referenceAttr", "https://people.example/x?y=z")
	x.refused("referenceAttr", "https://people.example/ ~x%%", 7)
}

func typeComplex(x *tester) {
	made := x.comesBack("complexAttr", m{"sub1": "a", "sub2": 2, "sub3": true})
	x.same("by sub-attribute", x.find("/TestResources", `complexAttr.sub2 ge 2 and complexAttr.sub1 eq "A"`), []string{made.id()})
	x.patch("/TestResources/"+made.id(), m{"op": "replace", "path": "complexAttr.sub2", "value": 3})
	x.same("after PATCH", x.get("/TestResources/"+made.id()).at("complexAttr"), m{"sub1": "a", "sub2": 3, "sub3": true})
	x.refused("complexAttr", "a", m{"sub2": "two"})
}

func immutable(x *tester) {
	x.testType()
	made := x.custom(m{"immutableAttr": "once"})
	path, body := "/TestResources/"+made.id(), x.testBody(m{"identifier": made.text("identifier")})
	x.wantError(x.put(path, with(body, m{"immutableAttr": "twice"})), 400, "mutability")
	x.wantError(x.patch(path, m{"op": "replace", "path": "immutableAttr", "value": "twice"}), 400, "mutability")
	x.wantError(x.patch(path, m{"op": "remove", "path": "immutableAttr"}), 400, "mutability")
	x.want(x.put(path, with(body, m{"immutableAttr": "once"})), 200)
	x.same("immutableAttr", x.get(path).at("immutableAttr"), "once")
	unset := x.custom()
	x.patch("/TestResources/"+unset.id(), m{"op": "add", "path": "immutableAttr", "value": "late"})
	x.same("set once", x.get("/TestResources/"+unset.id()).at("immutableAttr"), "late")
}

func neverReturned(x *tester) {
	x.testType()
	made := x.custom(m{"writeOnlyAttr": "secret"})
	path := "/TestResources/" + made.id()
	for _, a := range []answer{
		made, x.get(path), x.get(path + "?attributes=writeOnlyAttr"), x.get("/TestResources?attributes=writeOnlyAttr"),
		x.put(path+"?attributes=writeOnlyAttr", x.testBody(m{"writeOnlyAttr": "secret"})),
	} {
		x.ok(a.status < 300 && !slices.Contains([]any{a.at("writeOnlyAttr"), a.at("Resources.0.writeOnlyAttr")}, any("secret")), "%s: got %d %s", a.request, a.status, a.raw)
	}
}

func customReadOnly(x *tester) {
	x.testType()
	made := x.custom(m{"readOnlyAttr": "mine"})
	x.same("readOnlyAttr", made.at("readOnlyAttr"), nil)
	x.same("after PUT", x.want(x.put("/TestResources/"+made.id(), x.testBody(m{"readOnlyAttr": "mine"})), 200).at("readOnlyAttr"), nil)
	x.wantError(x.patch("/TestResources/"+made.id(), m{"op": "add", "path": "readOnlyAttr", "value": "mine"}), 400, "mutability")
}

func customAlways(x *tester) {
	x.testType()
	path := "/TestResources/" + x.custom(m{"alwaysReturnedAttr": "a", "requestOnlyAttr": "r"}).id()
	x.same("excluded", x.get(path+"?excludedAttributes=alwaysReturnedAttr").at("alwaysReturnedAttr"), "a")
	x.same("not asked for", x.get(path+"?attributes=identifier").at("alwaysReturnedAttr"), "a")
	x.same("request, not asked for", x.get(path).at("requestOnlyAttr"), nil)
	x.same("request, asked for", x.get(path+"?attributes=requestOnlyAttr").at("requestOnlyAttr"), "r")
}

func customCase(x *tester) {
	x.testType()
	made := x.custom(m{"caseExactString": "AbC", "caseInsensitiveString": "AbC", "uniqueString": "One"})
	x.same("caseExact", x.find("/TestResources", `caseExactString eq "abc"`), []string{})
	x.same("caseExact", x.find("/TestResources", `caseExactString eq "AbC"`), []string{made.id()})
	x.same("not caseExact", x.find("/TestResources", `caseInsensitiveString eq "aBc"`), []string{made.id()})
	x.wantError(x.post("/TestResources", x.testBody(m{"identifier": made.text("identifier")})), 409, "uniqueness")
	x.wantError(x.post("/TestResources", x.testBody(m{"uniqueString": "oNE"})), 409, "uniqueness")
}

func customExtension(x *tester) {
	x.testType()
	extension := m{"extRequired": "E", "extString": "S", "extInteger": 7}
	made := x.custom(m{testExtensionURN: extension})
	for _, a := range []answer{made, x.get("/TestResources/" + made.id())} {
		x.same("the extension", a.at(testExtensionURN), extension)
		x.same("outside of it", a.at("extString"), nil)
		x.ok(slices.Contains(a.list("schemas"), any(testExtensionURN)), "schemas is %v", a.at("schemas"))
	}
	x.same("found", x.find("/TestResources", testExtensionURN+":extInteger eq 7"), []string{made.id()})
	x.patch("/TestResources/"+made.id(), m{"op": "replace", "path": testExtensionURN + ":extString", "value": "T"})
	x.same("after PATCH", x.get("/TestResources/"+made.id()).at(testExtensionURN, "extString"), "T")
}

func customLists(x *tester) {
	made := x.comesBack("multiStrings", l{"a", "B", "c"})
	x.same("any value", x.find("/TestResources", `multiStrings eq "b"`), []string{made.id()})
	other := x.custom(m{"multiComplex": l{m{"value": "x", "type": "t"}, m{"value": "y", "type": "u", "primary": true}}})
	x.same("multiComplex", x.get("/TestResources/"+other.id()).at("multiComplex"), other.at("multiComplex"))
	x.same("value path", x.find("/TestResources", `multiComplex[type eq "u" and value eq "y"]`), []string{other.id()})
}

func customPrimary(x *tester) {
	x.testType()
	two := l{m{"value": "x", "primary": true}, m{"value": "y", "primary": true}}
	a := x.post("/TestResources", x.testBody(m{"multiComplex": two}))
	x.ok(a.status == 400 || a.status == 201 && primaries(a.list("multiComplex")) == 1, "got %d %s", a.status, a.raw)
	made := x.custom(m{"multiComplex": l{m{"value": "x", "primary": true}}})
	x.patch("/TestResources/"+made.id(), m{"op": "add", "path": "multiComplex", "value": l{m{"value": "y", "primary": true}}})
	got := x.get("/TestResources/" + made.id())
	x.ok(len(got.list("multiComplex")) == 2 && primaries(got.list("multiComplex")) == 1, "got %s", got.raw)
}

func requiredExtension(x *tester) {
	x.testType()
	for _, extension := range []any{nil, m{}, m{"extString": "S"}, m{"extRequired": ""}} {
		x.wantError(x.post("/TestResources", x.testBody(m{testExtensionURN: extension})), 400, "invalidValue")
	}
	made := x.custom()
	x.wantError(x.put("/TestResources/"+made.id(), x.testBody(m{testExtensionURN: nil})), 400, "invalidValue")
	x.wantError(x.patch("/TestResources/"+made.id(), m{"op": "remove", "path": testExtensionURN + ":extRequired"}), 400, "mutability", "invalidValue")
	described := x.want(x.get("/ResourceTypes/TestResource"), 200)
	x.same("schemaExtensions", described.at("schemaExtensions"), l{m{"schema": testExtensionURN, "required": true}})
	x.want(x.get("/Schemas/"+testURN), 200)
	x.want(x.get("/Schemas/"+testExtensionURN), 200)
}
