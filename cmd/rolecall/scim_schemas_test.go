package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

const (
	testURN      = "urn:ietf:params:scim:schemas:test:2.0:TestResource"
	extensionURN = "urn:ietf:params:scim:schemas:extension:test:2.0:TestResource"
	badgeURN     = "urn:example:schemas:extension:2.0:Badge"
	userURN      = "urn:ietf:params:scim:schemas:core:2.0:User"
)

// The TestResource of public SCIM suites: an attribute of every kind.
const testSchema = `{"name": "TestResource", "attributes": [
	{"name": "identifier", "required": true, "caseExact": true, "uniqueness": "server"},
	{"name": "caseExactString", "caseExact": true},
	{"name": "caseInsensitiveString", "indexed": true},
	{"name": "integerAttr", "type": "integer", "indexed": true},
	{"name": "booleanAttr", "type": "boolean"},
	{"name": "dateTimeAttr", "type": "dateTime"},
	{"name": "binaryAttr", "type": "binary"},
	{"name": "referenceAttr", "type": "reference", "referenceTypes": ["external"]},
	{"name": "readOnlyAttr", "mutability": "readOnly"},
	{"name": "immutableAttr", "mutability": "immutable"},
	{"name": "writeOnlyAttr", "mutability": "writeOnly", "returned": "never"},
	{"name": "requestOnlyAttr", "returned": "request"},
	{"name": "alwaysReturnedAttr", "returned": "always"},
	{"name": "multiStrings", "multiValued": true, "indexed": true},
	{"name": "complexAttr", "type": "complex", "subAttributes": [
		{"name": "sub1"}, {"name": "sub2", "type": "integer"}, {"name": "sub3", "type": "boolean"}]},
	{"name": "multiComplex", "type": "complex", "multiValued": true, "subAttributes": [
		{"name": "value"}, {"name": "type", "canonicalValues": ["work", "home"]}, {"name": "primary", "type": "boolean"}]},
	{"name": "uniqueString", "uniqueness": "global"}]}`

const testExtension = `{"attributes": [{"name": "extString"}, {"name": "extRequired", "required": true}, {"name": "extInteger", "type": "integer"}]}`

// caller sends JSON requests with one credential.
type caller struct {
	t             *testing.T
	handler       http.Handler
	authorization string
}

// answer is a response, its body decoded.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   map[string]any
}

func (c caller) send(method, path, body string, header ...string) answer {
	c.t.Helper()
	request := httptest.NewRequestWithContext(c.t.Context(), method, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	if c.authorization != "" {
		request.Header.Set("Authorization", c.authorization)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	c.handler.ServeHTTP(recorder, request)
	a := answer{t: c.t, what: method + " " + path, status: recorder.Code, header: recorder.Header()}
	if recorder.Body.Len() > 0 && strings.Contains(recorder.Header().Get("Content-Type"), "json") {
		if err := json.Unmarshal(recorder.Body.Bytes(), &a.body); err != nil {
			c.t.Fatalf("%s: %d %s: %v", a.what, recorder.Code, recorder.Body, err)
		}
	}
	return a
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s answers %d, want %d: %v", a.what, a.status, status, a.body)
	}
	return a
}

// fails checks a SCIM error, and that its detail names what is at fault.
func (a answer) fails(status int, scimType, names string) {
	a.t.Helper()
	detail, _ := a.body["detail"].(string)
	if got, _ := a.body["scimType"].(string); a.status != status || got != scimType || !strings.Contains(detail, names) {
		a.t.Errorf("%s answers %d %v, want %d %s about %s", a.what, a.status, a.body, status, scimType, names)
	}
}

// has compares members of the body; nil: not there.
func (a answer) has(want map[string]any) {
	a.t.Helper()
	for name, value := range want {
		if diff := cmp.Diff(value, a.body[name]); diff != "" {
			a.t.Errorf("%s: %s (-want +got):\n%s", a.what, name, diff)
		}
	}
}

func (a answer) id() string { s, _ := a.body["id"].(string); return s }

// schemaInstance is an instance with the tenants acme, which has the types and
// extensions of these tests made by the API, and umbrella, which has none.
type schemaInstance struct {
	admin, acme, umbrella caller
}

const ofAcme = "/api/v1/tenants/acme"

func newSchemaInstance(t *testing.T, in *instance) schemaInstance {
	t.Helper()
	handler := handlerOf(t, in)
	s := schemaInstance{
		admin:    caller{t, handler, "Bearer " + instanceToken},
		acme:     caller{t, handler, "Bearer token-of-acme-0123456789"},
		umbrella: caller{t, handler, "Bearer token-of-umbrella-0123456789"},
	}
	for _, slug := range []string{"acme", "umbrella"} {
		tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(operator(t.Context()), directory.TenantSpec{Slug: slug, Blueprint: "default"}))
		must[secret.Text](t)(in.directory.SaveConnection(operator(t.Context()), tenant.ID, directory.ConnectionSpec{
			Name: "rfc", Profile: directory.ProfileRFC, Token: secret.NewText("token-of-" + slug + "-0123456789"),
		}))
	}
	s.admin.send("PUT", ofAcme+"/scim/schemas/"+testURN, testSchema).want(http.StatusOK)
	s.admin.send("PUT", ofAcme+"/scim/schemas/"+extensionURN, testExtension).want(http.StatusOK)
	s.admin.send("PUT", ofAcme+"/scim/resource-types/TestResource", fmt.Sprintf(
		`{"endpoint": "/TestResources", "schema": %q, "schemaExtensions": [{"schema": %q, "required": true}]}`, testURN, extensionURN)).want(http.StatusOK)
	return s
}

// of is the address of a tenant's endpoint.
func of(tenant, path string) string { return "/t/" + tenant + "/scim/v2" + path }

func withFilter(endpoint, filter string) string {
	return of("acme", endpoint+"?filter="+url.QueryEscape(filter))
}

// resource is the JSON of a TestResource: members beside what is required.
func resource(identifier string, members ...string) string {
	all := append([]string{
		fmt.Sprintf(`"schemas": [%q, %q], "identifier": %q`, testURN, extensionURN, identifier),
	}, members...)
	if !strings.Contains(strings.Join(members, ""), extensionURN) {
		all = append(all, fmt.Sprintf(`%q: {"extRequired": "x"}`, extensionURN))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func patchJSON(operations string) string {
	return `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [` + operations + `]}`
}

// count is the totalResults of a filter on TestResources.
func (s schemaInstance) count(t *testing.T, filter string) int {
	t.Helper()
	total, _ := s.acme.send("GET", withFilter("/TestResources", filter), "").want(http.StatusOK).body["totalResults"].(float64)
	return int(total)
}

func TestTypeOfATenantBehavesAsItsSchemaSays(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newSchemaInstance(t, in)
		endpoint := of("acme", "/TestResources")
		made := s.acme.send("POST", endpoint, resource("a-1", `"externalId": "e1", "caseExactString": "Abc", "caseInsensitiveString": "Abc", "integerAttr": 42, "booleanAttr": true,
			"dateTimeAttr": "2026-01-23T04:56:22Z", "binaryAttr": "aGVsbG8=", "referenceAttr": "https://example.com/x", "readOnlyAttr": "mine", "immutableAttr": "fixed",
			"writeOnlyAttr": "hidden", "requestOnlyAttr": "asked", "alwaysReturnedAttr": "always", "multiStrings": ["One", "two"],
			"complexAttr": {"sub1": "s", "sub2": 7, "sub3": false}, "multiComplex": [{"value": "a", "type": "work", "primary": true}, {"value": "b", "type": "home"}], "uniqueString": "Solo"`)).want(http.StatusCreated)
		one := endpoint + "/" + made.id()
		meta, _ := made.body["meta"].(map[string]any)

		t.Run("RFC 7643 §3.1 meta and location", func(t *testing.T) {
			if meta["resourceType"] != "TestResource" || meta["location"] != "http://localhost:8080"+one || made.header.Get("Location") != meta["location"] || made.header.Get("ETag") != `W/"1"` {
				t.Errorf("meta %v, header %v", meta, made.header)
			}
			made.has(map[string]any{"schemas": []any{testURN, extensionURN}, "externalId": "e1"})
		})
		t.Run("RFC 7643 §7 returned", func(t *testing.T) {
			made.has(map[string]any{"writeOnlyAttr": nil, "requestOnlyAttr": nil, "alwaysReturnedAttr": "always", "caseExactString": "Abc"})
			s.acme.send("GET", one+"?attributes=requestOnlyAttr", "").want(http.StatusOK).has(map[string]any{"requestOnlyAttr": "asked", "alwaysReturnedAttr": "always", "identifier": nil})
			s.acme.send("GET", one+"?attributes=writeOnlyAttr", "").want(http.StatusOK).has(map[string]any{"writeOnlyAttr": nil})
			s.acme.send("GET", one+"?excludedAttributes=alwaysReturnedAttr,caseExactString", "").want(http.StatusOK).has(map[string]any{"alwaysReturnedAttr": "always", "caseExactString": nil})
			s.acme.send("GET", one+"?attributes="+extensionURN+":extRequired", "").want(http.StatusOK).has(map[string]any{extensionURN: map[string]any{"extRequired": "x"}, "identifier": nil})
		})
		t.Run("RFC 7643 §7 mutability", func(t *testing.T) {
			made.has(map[string]any{"readOnlyAttr": nil, "immutableAttr": "fixed"})
			s.acme.send("PATCH", one, patchJSON(`{"op": "replace", "path": "immutableAttr", "value": "other"}`)).fails(http.StatusBadRequest, "mutability", "immutableAttr")
			s.acme.send("PATCH", one, patchJSON(`{"op": "replace", "path": "readOnlyAttr", "value": "other"}`)).fails(http.StatusBadRequest, "mutability", "readOnlyAttr")
			s.acme.send("PATCH", one, patchJSON(`{"op": "replace", "path": "immutableAttr", "value": "fixed"}`)).want(http.StatusOK)
			s.acme.send("PUT", one, resource("a-1", `"immutableAttr": "other"`)).fails(http.StatusBadRequest, "mutability", "immutableAttr")
		})
		t.Run("RFC 7643 §7 required", func(t *testing.T) {
			s.acme.send("POST", endpoint, fmt.Sprintf(`{"schemas": [%q], %q: {"extRequired": "x"}}`, testURN, extensionURN)).fails(http.StatusBadRequest, "invalidValue", "identifier")
			s.acme.send("PATCH", one, patchJSON(`{"op": "remove", "path": "identifier"}`)).fails(http.StatusBadRequest, "mutability", "identifier")
		})
		t.Run("RFC 7643 §6 a required extension", func(t *testing.T) {
			s.acme.send("POST", endpoint, fmt.Sprintf(`{"schemas": [%q], "identifier": "b"}`, testURN)).fails(http.StatusBadRequest, "invalidValue", extensionURN)
			s.acme.send("POST", endpoint, resource("b", fmt.Sprintf(`%q: {"extString": "x"}`, extensionURN))).fails(http.StatusBadRequest, "invalidValue", "extRequired")
			s.acme.send("PATCH", one, patchJSON(fmt.Sprintf(`{"op": "remove", "path": %q}`, extensionURN))).fails(http.StatusBadRequest, "mutability", extensionURN)
		})
		t.Run("RFC 7643 §7 uniqueness", func(t *testing.T) {
			s.acme.send("POST", endpoint, resource("a-1")).fails(http.StatusConflict, "uniqueness", "identifier")
			s.acme.send("POST", endpoint, resource("other", `"uniqueString": "sOLO"`)).fails(http.StatusConflict, "uniqueness", "uniqueString")
			other := s.acme.send("POST", endpoint, resource("A-1")).want(http.StatusCreated) // case counts
			s.acme.send("PATCH", endpoint+"/"+other.id(), patchJSON(`{"op": "replace", "path": "identifier", "value": "a-1"}`)).fails(http.StatusConflict, "uniqueness", "identifier")
			s.acme.send("PATCH", endpoint+"/"+other.id(), patchJSON(`{"op": "replace", "path": "identifier", "value": "freed"}`)).want(http.StatusOK)
			s.acme.send("POST", endpoint, resource("A-1")).want(http.StatusCreated)
			s.acme.send("DELETE", endpoint+"/"+other.id(), "").want(http.StatusNoContent)
			s.acme.send("POST", endpoint, resource("freed")).want(http.StatusCreated)
		})
		t.Run("RFC 7643 §2.3 types", func(t *testing.T) {
			for name, bad := range map[string]string{
				"integerAttr": `"x"`, "booleanAttr": `"true"`, "dateTimeAttr": `"yesterday"`, "binaryAttr": `"***"`, "referenceAttr": `"a b"`,
				"caseExactString": `1`, "multiStrings": `"single"`, "complexAttr.sub2": `1.5`, "complexAttr": `"text"`,
			} {
				top, sub, nested := strings.Cut(name, ".")
				value := bad
				if nested {
					value = fmt.Sprintf(`{%q: %s}`, sub, bad)
				}
				s.acme.send("POST", endpoint, resource("bad", fmt.Sprintf("%q: %s", top, value))).fails(http.StatusBadRequest, "invalidValue", name)
			}
			s.acme.send("POST", endpoint, resource("two", `"multiComplex": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]`)).fails(http.StatusBadRequest, "invalidValue", "multiComplex.primary")
		})
		t.Run("RFC 7644 §3.5.2 a new primary value demotes the old one", func(t *testing.T) {
			s.acme.send("PATCH", one, patchJSON(`{"op": "add", "path": "multiComplex", "value": [{"value": "c", "type": "work", "primary": true}]}`)).want(http.StatusOK).has(map[string]any{"multiComplex": []any{
				map[string]any{"value": "a", "type": "work", "primary": false}, map[string]any{"value": "b", "type": "home"}, map[string]any{"value": "c", "type": "work", "primary": true},
			}})
		})
		t.Run("RFC 7644 §3.4.2.2 filters", func(t *testing.T) {
			for filter, want := range map[string]int{
				`identifier eq "a-1"`: 1, `identifier eq "A-1"`: 1, `caseExactString eq "abc"`: 0, `caseExactString eq "Abc"`: 1,
				`caseInsensitiveString eq "aBC"`: 1, `caseInsensitiveString sw "AB"`: 1, `caseInsensitiveString co "B"`: 1, `caseInsensitiveString gt "abb"`: 1, `caseInsensitiveString lt "abb"`: 0,
				`integerAttr eq 42`: 1, `integerAttr gt 41.5`: 1, `integerAttr le 41`: 0, `integerAttr ge 42 and integerAttr lt 43`: 1, `not (integerAttr eq 42)`: 2,
				`booleanAttr eq true`: 1, `dateTimeAttr eq "2026-01-23T05:56:22+01:00"`: 1, `dateTimeAttr lt "2026-01-23T04:56:22Z"`: 0, `binaryAttr eq "aGVsbG8="`: 1,
				`multiStrings eq "ONE"`: 1, `multiStrings sw "TW"`: 1, `multiStrings[value eq "one"]`: 1, `complexAttr.sub2 eq 7`: 1, `complexAttr[sub1 eq "S" and sub3 eq false]`: 1,
				`multiComplex[type eq "home" and value eq "B"]`: 1, `multiComplex.value eq "c"`: 1, `uniqueString eq "solo"`: 1, extensionURN + `:extRequired eq "X"`: 3,
				`externalId eq "e1"`: 1, `meta.resourceType eq "TestResource"`: 3, `id eq "` + made.id() + `"`: 1, `readOnlyAttr pr`: 0, `schemas eq "` + extensionURN + `"`: 3,
			} {
				if got := s.count(t, filter); got != want {
					t.Errorf("%s finds %d, want %d", filter, got, want)
				}
			}
			s.acme.send("GET", withFilter("/TestResources", `writeOnlyAttr eq "hidden"`), "").fails(http.StatusBadRequest, "invalidFilter", "writeOnlyAttr")
			s.acme.send("GET", withFilter("/TestResources", `userName eq "x"`), "").fails(http.StatusBadRequest, "invalidFilter", "userName")
		})
		t.Run("RFC 7644 §3.4.3 .search and the root", func(t *testing.T) {
			const search = `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "identifier pr", "sortBy": "identifier", "attributes": ["identifier"]}`
			found := s.acme.send("POST", endpoint+"/.search", search).want(http.StatusOK)
			identifiers := []string{}
			resources, _ := found.body["Resources"].([]any)
			for _, r := range resources {
				m, _ := r.(map[string]any)
				identifiers = append(identifiers, fmt.Sprint(m["identifier"]))
			}
			if diff := cmp.Diff([]string{"A-1", "a-1", "freed"}, identifiers); diff != "" {
				t.Error(diff)
			}
			everywhere := strings.Replace(search, `"sortBy": "identifier", `, "", 1)
			s.acme.send("POST", of("acme", "/.search"), everywhere).want(http.StatusOK).has(map[string]any{"totalResults": 3.0})
			s.umbrella.send("POST", of("umbrella", "/.search"), everywhere).fails(http.StatusBadRequest, "invalidFilter", "identifier")
		})
		t.Run("RFC 7644 §3.14 versions", func(t *testing.T) {
			tag := s.acme.send("GET", one, "").want(http.StatusOK).header.Get("ETag")
			s.acme.send("GET", one, "", "If-None-Match", tag).want(http.StatusNotModified)
			s.acme.send("PUT", one, resource("a-1", `"immutableAttr": "fixed"`), "If-Match", `W/"99"`).want(http.StatusPreconditionFailed)
			s.acme.send("PUT", one, resource("a-1", `"immutableAttr": "fixed"`), "If-Match", tag).want(http.StatusOK).has(map[string]any{"caseExactString": nil, "immutableAttr": "fixed"})
		})
		t.Run("methods and addresses", func(t *testing.T) {
			for _, refused := range []struct{ method, path, allow string }{
				{"DELETE", "/TestResources", "GET, HEAD, POST"}, {"POST", "/TestResources/" + made.id(), "GET, HEAD, PUT, PATCH, DELETE"}, {"GET", "/TestResources/.search", "POST"},
			} {
				if got := s.acme.send(refused.method, of("acme", refused.path), "{}").want(http.StatusMethodNotAllowed).header.Get("Allow"); got != refused.allow {
					t.Errorf("%s %s allows %q, want %q", refused.method, refused.path, got, refused.allow)
				}
			}
			s.acme.send("GET", endpoint+"/nothing", "").want(http.StatusNotFound)
			s.acme.send("GET", one+"/nothing", "").want(http.StatusNotFound)
			s.acme.send("GET", of("acme", "/testresources"), "").want(http.StatusPermanentRedirect)
			s.acme.send("DELETE", one, "").want(http.StatusNoContent)
			s.acme.send("GET", one, "").want(http.StatusNotFound)
		})
	})
}

func TestTypesOfATenantAreItsOwn(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newSchemaInstance(t, in)
		made := s.acme.send("POST", of("acme", "/TestResources"), resource("a")).want(http.StatusCreated)
		for _, path := range []string{"/TestResources", "/TestResources/" + made.id(), "/ResourceTypes/TestResource", "/Schemas/" + testURN} {
			s.acme.send("GET", of("acme", path), "").want(http.StatusOK)
			s.umbrella.send("GET", of("umbrella", path), "").want(http.StatusNotFound)
			if status := s.umbrella.send("GET", of("acme", path), "").status; status != http.StatusUnauthorized && status != http.StatusNotFound {
				t.Errorf("%s answers %d to another tenant's token", path, status)
			}
		}
		anonymous := caller{t, s.acme.handler, ""}
		anonymous.send("GET", of("acme", "/ResourceTypes"), "").want(http.StatusOK).has(map[string]any{"totalResults": 2.0})
		s.acme.send("GET", of("acme", "/ResourceTypes"), "").want(http.StatusOK).has(map[string]any{"totalResults": 3.0})
		shown := s.acme.send("GET", of("acme", "/Schemas/"+testURN), "").want(http.StatusOK)
		if text := fmt.Sprint(shown.body); strings.Contains(text, "indexed") || !strings.Contains(text, "caseInsensitiveString") {
			t.Errorf("discovery shows %s", text)
		}
		// The same in another tenant stands apart: unique there is not unique here.
		for _, path := range []string{"/scim/schemas/" + testURN, "/scim/schemas/" + extensionURN} {
			body, err := json.Marshal(s.admin.send("GET", ofAcme+path, "").want(http.StatusOK).body)
			if err != nil {
				t.Fatal(err)
			}
			s.admin.send("PUT", "/api/v1/tenants/umbrella"+path, string(body)).want(http.StatusOK)
		}
		body, err := json.Marshal(s.admin.send("GET", ofAcme+"/scim/resource-types/TestResource", "").want(http.StatusOK).body)
		if err != nil {
			t.Fatal(err)
		}
		s.admin.send("PUT", "/api/v1/tenants/umbrella/scim/resource-types/TestResource", string(body)).want(http.StatusOK)
		s.umbrella.send("POST", of("umbrella", "/TestResources"), resource("a")).want(http.StatusCreated)
		s.umbrella.send("GET", of("umbrella", "/TestResources/"+made.id()), "").want(http.StatusNotFound)
	})
}

func TestExtensionOfPeople(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newSchemaInstance(t, in)
		person := func(userName, badge string) string {
			return fmt.Sprintf(`{"schemas": [%q, %q], "userName": %q, %q: %s}`, userURN, badgeURN, userName, badgeURN, badge)
		}
		before := s.acme.send("POST", of("acme", "/Users"), fmt.Sprintf(`{"schemas": [%q], "userName": "early"}`, userURN)).want(http.StatusCreated)
		const badge = `{"attributes": [{"name": "number", "uniqueness": "server", "required": true}, {"name": "level", "type": "integer", "indexed": true}, {"name": "note", "caseExact": %t}]}`
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+badgeURN, fmt.Sprintf(badge, false)).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/resource-types/User", fmt.Sprintf(`{"schemaExtensions": [{"schema": %q, "required": true}]}`, badgeURN)).want(http.StatusOK)

		one := s.acme.send("POST", of("acme", "/Users"), person("one", `{"number": "N1", "level": 3, "note": "Hello"}`)).want(http.StatusCreated)
		one.has(map[string]any{badgeURN: map[string]any{"number": "N1", "level": 3.0, "note": "Hello"}})
		s.acme.send("POST", of("acme", "/Users"), person("two", `{"number": "n1"}`)).fails(http.StatusConflict, "uniqueness", badgeURN+":number")
		s.acme.send("POST", of("acme", "/Users"), fmt.Sprintf(`{"schemas": [%q], "userName": "bare"}`, userURN)).fails(http.StatusBadRequest, "invalidValue", badgeURN)
		two := s.acme.send("POST", of("acme", "/Users"), person("two", `{"number": "n2", "level": 9}`)).want(http.StatusCreated)
		// Who was there before the extension became required can still be switched off.
		s.acme.send("PATCH", of("acme", "/Users/"+before.id()), patchJSON(`{"op": "replace", "path": "active", "value": false}`)).want(http.StatusOK).has(map[string]any{"active": false})
		s.acme.send("PATCH", of("acme", "/Users/"+one.id()), patchJSON(fmt.Sprintf(`{"op": "replace", "path": "%s:number", "value": "N2"}`, badgeURN))).fails(http.StatusConflict, "uniqueness", "number")

		found := func(filter string) any {
			return s.acme.send("GET", withFilter("/Users", filter), "").want(http.StatusOK).body["totalResults"]
		}
		for filter, want := range map[string]float64{
			badgeURN + `:number eq "n1"`: 1, badgeURN + `:level gt 2 and ` + badgeURN + `:level lt 9`: 1, badgeURN + `:note eq "hello"`: 1, badgeURN + `:level pr`: 2, `level ge 3`: 2,
		} {
			if got := found(filter); got != want {
				t.Errorf("%s finds %v, want %v", filter, got, want)
			}
		}
		sorted := s.acme.send("GET", of("acme", "/Users?sortBy="+badgeURN+":level&sortOrder=descending&count=2&startIndex=2&attributes=userName"), "").want(http.StatusOK)
		if got := fmt.Sprint(sorted.body["Resources"]); !strings.Contains(got, "two") || !strings.Contains(got, "one") {
			t.Errorf("sorted by the extension: %s", got)
		}

		t.Run("a change of a schema", func(t *testing.T) {
			put := func(attributes string) answer {
				return s.admin.send("PUT", ofAcme+"/scim/schemas/"+badgeURN, `{"attributes": [`+attributes+`]}`)
			}
			put(`{"name": "number", "uniqueness": "server"}, {"name": "level", "type": "integer"}`).want(http.StatusConflict).has(map[string]any{
				"field": badgeURN + ":note", "detail": "1 resources of the type User have values of it: it can't be removed, or get another type",
			})
			put(`{"name": "number", "uniqueness": "server"}, {"name": "level"}, {"name": "note"}`).want(http.StatusConflict)
			s.admin.send("PUT", ofAcme+"/scim/resource-types/User", `{}`).want(http.StatusConflict)
			s.admin.send("DELETE", ofAcme+"/scim/schemas/"+badgeURN, "").want(http.StatusConflict)
			// Values that are there follow a change of how they compare, at once.
			s.admin.send("PUT", ofAcme+"/scim/schemas/"+badgeURN, fmt.Sprintf(badge, true)).want(http.StatusOK)
			if none, some := found(badgeURN+`:note eq "hello"`), found(badgeURN+`:note eq "Hello"`); none != 0.0 || some != 1.0 {
				t.Errorf("after caseExact: %v for hello, %v for Hello", none, some)
			}
			// What comes to be unique must be.
			s.acme.send("PATCH", of("acme", "/Users/"+two.id()), patchJSON(fmt.Sprintf(`{"op": "add", "path": "%s:note", "value": "Hello"}`, badgeURN))).want(http.StatusOK)
			put(`{"name": "number", "uniqueness": "server"}, {"name": "level", "type": "integer"}, {"name": "note", "uniqueness": "server"}`).want(http.StatusConflict)
			s.acme.send("PATCH", of("acme", "/Users/"+two.id()), patchJSON(fmt.Sprintf(`{"op": "remove", "path": "%s:note"}`, badgeURN))).want(http.StatusOK)
			put(`{"name": "number", "uniqueness": "server"}, {"name": "level", "type": "integer", "indexed": true}, {"name": "note", "uniqueness": "server"}, {"name": "late"}`).want(http.StatusOK)
			s.acme.send("PATCH", of("acme", "/Users/"+two.id()), patchJSON(fmt.Sprintf(`{"op": "add", "path": "%s:note", "value": "HELLO"}`, badgeURN))).fails(http.StatusConflict, "uniqueness", "note")
			s.acme.send("PATCH", of("acme", "/Users/"+two.id()), patchJSON(fmt.Sprintf(`{"op": "add", "path": "%s:late", "value": "x"}`, badgeURN))).want(http.StatusOK)
			// Once nobody has values, it may go.
			for _, id := range []string{one.id(), two.id()} {
				s.acme.send("DELETE", of("acme", "/Users/"+id), "").want(http.StatusNoContent)
			}
			s.admin.send("DELETE", ofAcme+"/scim/resource-types/User", "").want(http.StatusNoContent)
			s.admin.send("DELETE", ofAcme+"/scim/schemas/"+badgeURN, "").want(http.StatusNoContent)
			s.acme.send("GET", withFilter("/Users", badgeURN+":level pr"), "").want(http.StatusBadRequest)
			s.acme.send("POST", of("acme", "/Users"), fmt.Sprintf(`{"schemas": [%q], "userName": "bare"}`, userURN)).want(http.StatusCreated)
		})
	})
}

func TestSchemasThatAreRefused(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newSchemaInstance(t, in)
		const some = `{"attributes": [{"name": "a"}]}`
		for name, refused := range map[string]struct {
			path, body string
			status     int
		}{
			"a schema of the RFC":             {"/schemas/" + userURN, some, http.StatusBadRequest},
			"an id that is no URN":            {"/schemas/device", some, http.StatusBadRequest},
			"another id than the address's":   {"/schemas/urn:x:y", `{"id": "urn:x:z", "attributes": [{"name": "a"}]}`, http.StatusBadRequest},
			"no attributes":                   {"/schemas/urn:x:y", `{"attributes": []}`, http.StatusBadRequest},
			"an attribute twice":              {"/schemas/urn:x:y", `{"attributes": [{"name": "a"}, {"name": "A"}]}`, http.StatusBadRequest},
			"an unknown type":                 {"/schemas/urn:x:y", `{"attributes": [{"name": "a", "type": "text"}]}`, http.StatusBadRequest},
			"an index on what is never shown": {"/schemas/urn:x:y", `{"attributes": [{"name": "a", "returned": "never", "indexed": true}]}`, http.StatusBadRequest},
			"an unknown member":               {"/schemas/urn:x:y", `{"attributes": [{"name": "a", "unique": true}]}`, http.StatusBadRequest},
			"a type without its schema":       {"/resource-types/Device", `{"endpoint": "/Devices", "schema": "urn:x:none"}`, http.StatusBadRequest},
			"the endpoint of the users":       {"/resource-types/Device", `{"endpoint": "/Users", "schema": "` + testURN + `"}`, http.StatusBadRequest},
			"an endpoint of the server":       {"/resource-types/Device", `{"endpoint": "/bulk", "schema": "` + testURN + `"}`, http.StatusBadRequest},
			"an endpoint that is a path":      {"/resource-types/Device", `{"endpoint": "/a/b", "schema": "` + testURN + `"}`, http.StatusBadRequest},
			"an unknown extension of people":  {"/resource-types/User", `{"schemaExtensions": [{"schema": "urn:x:none"}]}`, http.StatusBadRequest},
			"another endpoint of people":      {"/resource-types/User", `{"endpoint": "/People"}`, http.StatusBadRequest},
		} {
			if a := s.admin.send("PUT", ofAcme+"/scim"+refused.path, refused.body); a.status != refused.status {
				t.Errorf("%s answers %d, want %d: %v", name, a.status, refused.status, a.body)
			}
		}
		s.acme.send("POST", of("acme", "/TestResources"), resource("a")).want(http.StatusCreated)
		s.admin.send("DELETE", ofAcme+"/scim/resource-types/TestResource", "").want(http.StatusConflict)
		s.admin.send("PUT", ofAcme+"/scim/resource-types/TestResource", `{"endpoint": "/Others", "schema": "`+testURN+`"}`).want(http.StatusConflict)
		caller{t, s.admin.handler, ""}.send("GET", ofAcme+"/scim/schemas", "").want(http.StatusUnauthorized)
		if status := (caller{t, s.admin.handler, s.acme.authorization}).send("PUT", ofAcme+"/scim/schemas/urn:x:y", some).status; status != http.StatusUnauthorized {
			t.Errorf("a connection's token changes schemas: %d", status)
		}
	})
}

func TestApplySchemas(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		const text = `
tenants:
- slug: acme
  blueprint: default
  scim:
    schemas:
    - id: urn:example:schemas:2.0:Device
      attributes:
      - {name: serial, required: true, uniqueness: server}
      - name: place
        type: complex
        subAttributes: [{name: room, indexed: true}]
    resource_types:
    - {name: Device, endpoint: /Devices, schema: "urn:example:schemas:2.0:Device"}
  connections: [{name: rfc, token: token-of-acme-0123456789}]
`
		for range 2 {
			if _, err := in.apply(operator(t.Context()), parse(t, text)); err != nil {
				t.Fatal(err)
			}
		}
		tenant := must[*directory.Tenant](t)(in.directory.Tenant(t.Context(), "acme"))
		set := must[*directory.SchemaSet](t)(in.directory.SchemaSet(operator(t.Context()), tenant.ID))
		if set.Version != 1 || len(set.Schemas) != 1 || len(set.Types) != 1 {
			t.Errorf("applied twice: %+v", set)
		}
		acme := caller{t, handlerOf(t, in), "Bearer token-of-acme-0123456789"}
		acme.send("POST", of("acme", "/Devices"), `{"schemas": ["urn:example:schemas:2.0:Device"], "serial": "1", "place": {"room": "R1"}}`).want(http.StatusCreated)
		acme.send("GET", withFilter("/Devices", `place.room eq "r1"`), "").want(http.StatusOK).has(map[string]any{"totalResults": 1.0})
	})
}

// Whom a connection keeps when its directory deletes them frees what was unique.
func TestRetiredPeopleFreeUniqueValues(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		const text = `
tenants:
- slug: acme
  blueprint: default
  scim:
    schemas: [{id: "urn:example:schemas:extension:2.0:Badge", attributes: [{name: number, uniqueness: server}]}]
    resource_types: [{name: User, schemaExtensions: [{schema: "urn:example:schemas:extension:2.0:Badge"}]}]
  connections: [{name: rfc, token: token-of-acme-0123456789, deprovisioning: suspend}]
`
		if _, err := in.apply(operator(t.Context()), parse(t, text)); err != nil {
			t.Fatal(err)
		}
		acme := caller{t, handlerOf(t, in), "Bearer token-of-acme-0123456789"}
		person := func(userName, externalID string) string {
			return fmt.Sprintf(`{"schemas": [%q, %q], "userName": %q, "externalId": %q, %q: {"number": "N1"}}`, userURN, badgeURN, userName, externalID, badgeURN)
		}
		one := acme.send("POST", of("acme", "/Users"), person("one", "e1")).want(http.StatusCreated)
		acme.send("DELETE", of("acme", "/Users/"+one.id()), "").want(http.StatusNoContent)
		two := acme.send("POST", of("acme", "/Users"), person("two", "e2")).want(http.StatusCreated)
		acme.send("POST", of("acme", "/Users"), person("one", "e1")).fails(http.StatusConflict, "uniqueness", "number")
		acme.send("DELETE", of("acme", "/Users/"+two.id()), "").want(http.StatusNoContent)
		if back := acme.send("POST", of("acme", "/Users"), person("one", "e1")).want(http.StatusCreated); back.id() != one.id() {
			t.Errorf("another person came back: %s, not %s", back.id(), one.id())
		}
		acme.send("POST", of("acme", "/Users"), person("three", "e3")).fails(http.StatusConflict, "uniqueness", "number")
	})
}
