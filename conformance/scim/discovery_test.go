package scim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

func unauthenticated(x *tester) {
	user := x.user()
	for _, header := range []string{"Authorization: ", "Authorization: Bearer nothing", "Authorization: Basic eDp4", "Authorization: Bearer " + tokenOf("foreign")} {
		for _, path := range []string{"/Users", "/Users/" + user.id(), "/Groups", "/Things"} {
			a := x.wantError(x.get(path, header), 401)
			x.ok(strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer"), "%s: WWW-Authenticate %q", a.request, a.header.Get("WWW-Authenticate"))
			x.ok(a.text("detail") != "", "no detail")
		}
	}
}

func messageURNs(x *tester) {
	x.user()
	for _, a := range []answer{x.get("/Users"), x.get("/Users/" + nobody), x.get("/Schemas"), x.get("/ResourceTypes")} {
		for _, uri := range a.list("schemas") {
			text, _ := uri.(string)
			x.ok(strings.HasPrefix(text, "urn:ietf:params:scim:api:messages:2.0:"), "%s: %v", a.request, uri)
		}
	}
}

func messagesAreNoSchemas(x *tester) {
	for _, schema := range x.want(x.get("/Schemas"), 200).list("Resources") {
		id, _ := at(schema, "id").(string)
		x.ok(!strings.HasPrefix(id, "urn:ietf:params:scim:api:"), "%s is a message", id)
	}
	x.wantError(x.get("/Schemas/"+listURN), 404)
}

func versions(x *tester) {
	x.want(x.get("/Users"), 200)
	for _, version := range []string{"v1", "v3", "v9"} {
		a := x.get(strings.Replace(x.base, "/v2", "/"+version, 1) + "/Users")
		x.ok(a.status == 404 || a.status == 400 && a.text("scimType") == "invalidVers", "%s: got %d %s", version, a.status, a.raw)
	}
}

func discoveryIsPublic(x *tester) {
	a := x.want(x.get("/ServiceProviderConfig", "Authorization: "), 200)
	schemes := a.list("authenticationSchemes")
	x.ok(len(schemes) > 0, "no authenticationSchemes")
	for _, scheme := range schemes {
		x.ok(at(scheme, "type") != nil && at(scheme, "name") != nil && at(scheme, "description") != nil, "got %v", scheme)
	}
	x.want(x.get("/Schemas", "Authorization: "), 200)
	x.want(x.get("/ResourceTypes", "Authorization: "), 200)
}

func serviceProviderConfig(x *tester) {
	config := x.config()
	x.same("schemas", config.at("schemas"), l{configURN})
	for _, name := range []string{"patch", "bulk", "filter", "changePassword", "sort", "etag"} {
		_, known := config.at(name + ".supported").(bool)
		x.ok(known, "%s.supported is %v", name, config.at(name+".supported"))
	}
	for _, path := range []string{"bulk.maxOperations", "bulk.maxPayloadSize", "filter.maxResults"} {
		_, known := config.at(path).(float64)
		x.ok(known, "%s is %v", path, config.at(path))
	}
	x.ok(len(config.list("authenticationSchemes")) > 0, "no authenticationSchemes")
	x.ok(!strings.Contains(config.raw, "null"), "there are nulls: %s", config.raw)
}

func configIsTrue(x *tester) {
	serviceProviderConfig(x)
	config := x.config()
	user := x.user()
	tried := func(name string, works bool) {
		x.Helper()
		x.same(name+".supported", config.at(name+".supported"), works)
	}
	tried("patch", x.patch("/Users/"+user.id(), m{"op": "replace", "path": "title", "value": "T"}).status < 300)
	tried("filter", x.get("/Users?filter="+url.QueryEscape(`title eq "T"`)).status == 200)
	tried("sort", x.get("/Users?sortBy=userName").status == 200)
	tried("etag", x.get("/Users/"+user.id(), "If-None-Match: "+x.get("/Users/"+user.id()).header.Get("ETag")).status == 304)
	tried("bulk", x.post("/Bulk", m{"schemas": l{bulkURN}, "Operations": l{m{"method": "DELETE", "path": "/Users/" + nobody}}}).status == 200)
}

func discoveryIgnoresQueries(x *tester) {
	plain := x.config()
	asked := x.want(x.get("/ServiceProviderConfig?filter=invalid&sortBy=id&startIndex=999&attributes=patch"), 200)
	x.same("ServiceProviderConfig", asked.at("patch"), plain.at("patch"))
	for _, path := range []string{"/Schemas", "/ResourceTypes"} {
		x.same(path, x.want(x.get(path+"?sortBy=name&sortOrder=descending&startIndex=2&count=1"), 200).body, x.get(path).body)
		a := x.get(path + "?filter=" + url.QueryEscape(`name eq "User"`))
		x.ok(a.status == 403 || a.status == 200, "%s with a filter: got %d", path, a.status)
	}
}

func discoveryLists(x *tester) {
	for _, path := range []string{"/Schemas", "/ResourceTypes"} {
		all := x.want(x.get(path), 200)
		x.same("schemas", all.at("schemas"), l{listURN})
		x.same("totalResults", all.at("totalResults"), len(all.list("Resources")))
		for _, resource := range all.list("Resources") {
			id, _ := at(resource, "id").(string)
			if path == "/ResourceTypes" {
				id, _ = at(resource, "name").(string)
			}
			one := x.want(x.get(path+"/"+id), 200)
			x.same("one of the list", one.body, resource)
		}
		x.wantError(x.get(path+"/nothing"), 404)
		x.wantError(x.get(path+"?filter="+url.QueryEscape(`name eq "User"`)), 403)
	}
	discoveryIgnoresQueries(x)
}

func resourceTypes(x *tester) {
	schemas := map[any]bool{}
	for _, schema := range x.want(x.get("/Schemas"), 200).list("Resources") {
		schemas[at(schema, "id")] = true
	}
	types := x.want(x.get("/ResourceTypes"), 200).list("Resources")
	var names []string
	for _, resourceType := range types {
		name, _ := at(resourceType, "name").(string)
		names = append(names, name)
		endpoint, _ := at(resourceType, "endpoint").(string)
		x.ok(name != "" && strings.HasPrefix(endpoint, "/"), "got %v", resourceType)
		x.ok(schemas[at(resourceType, "schema")], "%s: %v is no schema", name, at(resourceType, "schema"))
		extensions, _ := at(resourceType, "schemaExtensions").(l)
		for _, extension := range extensions {
			x.ok(schemas[at(extension, "schema")], "%s: %v is no schema", name, at(extension, "schema"))
			_, known := at(extension, "required").(bool)
			x.ok(known, "%s: required is %v", name, at(extension, "required"))
		}
		x.want(x.get(endpoint), 200)
	}
	x.ok(slices.Contains(names, "User") && slices.Contains(names, "Group"), "got %v", names)
}

func schemasAreDescribed(x *tester) {
	all := x.want(x.get("/Schemas"), 200)
	x.same("schemas", all.at("schemas"), l{listURN})
	characteristics := map[string][]any{
		"type": {"string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex"}, "mutability": {"readOnly", "readWrite", "immutable", "writeOnly"},
		"returned": {"always", "never", "default", "request"}, "uniqueness": {"none", "server", "global"}, "multiValued": {true, false}, "required": {true, false}, "caseExact": {true, false},
	}
	var check func(where string, attributes l)
	check = func(where string, attributes l) {
		for _, attribute := range attributes {
			name := where + fmt.Sprint(at(attribute, "name"))
			for characteristic, values := range characteristics {
				value := at(attribute, characteristic)
				if value == nil && at(attribute, "type") == "complex" && (characteristic == "caseExact" || characteristic == "uniqueness") {
					continue
				}
				if value == nil && characteristic == "caseExact" && slices.Contains([]any{"boolean", "integer", "decimal", "dateTime"}, at(attribute, "type")) {
					continue
				}
				if value == nil && characteristic == "uniqueness" && at(attribute, "type") == "boolean" {
					continue
				}
				x.ok(slices.Contains(values, value), "%s: %s is %v", name, characteristic, value)
			}
			if at(attribute, "type") == "reference" {
				x.ok(at(attribute, "referenceTypes") != nil, "%s: no referenceTypes", name)
			}
			x.ok(at(attribute, "type") != "complex" || at(attribute, "subAttributes") != nil, "%s: no subAttributes", name)
			subs, _ := at(attribute, "subAttributes").(l)
			check(name+".", subs)
		}
	}
	seen := []any{}
	for _, schema := range all.list("Resources") {
		seen = append(seen, at(schema, "id"))
		x.ok(at(schema, "id") != nil && at(schema, "name") != nil && at(schema, "meta.resourceType") == "Schema", "got %.200v", schema)
		attributes, _ := at(schema, "attributes").(l)
		check(fmt.Sprint(at(schema, "id"))+":", attributes)
	}
	for _, uri := range []any{userURN, groupURN, enterpriseURN} {
		x.ok(slices.Contains(seen, uri), "%v is missing", uri)
	}
}

func discoveryIsReadOnly(x *tester) {
	for _, path := range []string{"/ServiceProviderConfig", "/Schemas", "/ResourceTypes", "/Schemas/" + userURN, "/ResourceTypes/User"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			a := x.wantError(x.do(method, path, m{}), 405)
			x.ok(strings.Contains(a.header.Get("Allow"), "GET"), "%s: Allow is %q", a.request, a.header.Get("Allow"))
		}
	}
}

func etagIsVersion(x *tester) {
	for endpoint, made := range map[string]answer{"/Users/": x.user(), "/Groups/": x.group()} {
		replaced := x.put(endpoint+made.id(), with(made.body, m{"externalId": "new"}))
		for _, a := range []answer{made, x.get(endpoint + made.id()), replaced} {
			version := a.text("meta.version")
			x.ok(strings.HasPrefix(version, `W/"`) && strings.HasSuffix(version, `"`), "%s: the version is %q", a.request, version)
			x.same(a.request+": ETag", a.header.Get("ETag"), version)
		}
		x.ok(replaced.text("meta.version") != made.text("meta.version"), "the version stays")
	}
}

func notModified(x *tester) {
	for path, made := range map[string]answer{"/Users/": x.user(), "/Groups/": x.group()} {
		path += made.id()
		version := made.text("meta.version")
		for _, value := range []string{version, `W/"x", ` + version, "*"} {
			a := x.want(x.get(path, "If-None-Match: "+value), 304)
			x.ok(a.raw == "", "304 with a body")
		}
		x.want(x.get(path, `If-None-Match: W/"x"`), 200)
		x.patch(path, m{"op": "replace", "path": "displayName", "value": "new"})
		x.want(x.get(path, "If-None-Match: "+version), 200)
	}
}

func preconditions(x *tester) {
	for endpoint, body := range map[string]m{"/Users": x.userBody(), "/Groups": x.groupBody()} {
		made := x.want(x.post(endpoint, body), 201)
		path, old := endpoint+"/"+made.id(), "If-Match: "+made.text("meta.version")
		changed := x.want(x.put(path, with(body, m{"externalId": "new"}), old), 200)
		x.wantError(x.put(path, with(body, m{"externalId": "newer"}), old), 412)
		x.wantError(x.do(http.MethodPatch, path, m{"schemas": l{patchURN}, "Operations": l{m{"op": "replace", "path": "displayName", "value": "D"}}}, old), 412)
		x.wantError(x.delete(path, old), 412)
		x.same("after what was refused", x.get(path).at("meta"), changed.at("meta"))
		x.want(x.delete(path, "If-Match: "+changed.text("meta.version")), 204)
	}
}

// oneWins is the race for one version; TestRaces runs longer ones.
func oneWins(x *tester) {
	user := x.user()
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		version := x.get("/Users/" + user.id()).header.Get("ETag")
		won, lost, other := x.race("/Users/"+user.id(), method, version, 8)
		x.ok(won == 1 && lost == 7 && other == "", "%s: %d won and %d lost; %s", method, won, lost, other)
	}
}

// race sends n writes with one version at once, each another change.
func (x *tester) race(path, method, version string, n int) (won, lost int, other string) {
	answers := make([]answer, n)
	var group sync.WaitGroup
	for i := range n {
		var body any
		switch {
		case method == http.MethodPut && strings.HasPrefix(path, "/Users"):
			body = x.userBody(m{"displayName": x.name()})
		case method == http.MethodPut:
			body = x.groupBody(m{"displayName": x.name()})
		case method == http.MethodPatch:
			body = m{"schemas": l{patchURN}, "Operations": l{m{"op": "replace", "path": "displayName", "value": x.name()}}}
		}
		group.Go(func() { answers[i] = x.do(method, path, body, "If-Match: "+version) })
	}
	group.Wait()
	for _, a := range answers {
		switch {
		case a.status == 200 || a.status == 204:
			won++
		case a.status == 412, method == http.MethodDelete && a.status == 404:
			lost++
		default:
			other += fmt.Sprintf("%d %.200s; ", a.status, a.raw)
		}
	}
	return won, lost, other
}

func tenantsAreApart(x *tester) {
	user := x.user()
	group := x.group(m{"members": l{m{"value": user.id()}}})
	foreign := x.foreign()
	foreign.wantError(foreign.get("/Users/"+user.id()), 404)
	foreign.wantError(foreign.get("/Groups/"+group.id()), 404)
	foreign.wantError(foreign.delete("/Users/"+user.id()), 404)
	foreign.wantError(foreign.patch("/Groups/"+group.id(), m{"op": "remove", "path": "members"}), 404)
	foreign.wantError(foreign.post("/Groups", foreign.groupBody(m{"members": l{m{"value": user.id()}}})), 400, "invalidValue")
	foreign.same("found", foreign.find("/Users", `id eq "`+user.id()+`"`), []string{})
	a := x.get("/Users", "Authorization: Bearer "+foreign.token)
	x.ok(a.status == 401 || a.status == 403, "a foreign token: got %d", a.status)
	x.same("the group", x.get("/Groups/"+group.id()).body, group.body)
}

func secretsStaySecret(x *tester) {
	for _, name := range []string{"access_token", "token", "Authorization"} {
		x.wantError(x.get("/Users?"+name+"="+x.token, "Authorization: "), 401)
	}
	passwordIsNeverReturned(x)
	x.ok(!strings.Contains(x.server.Log(), x.token), "the token is in the log")
}
