package main

import (
	"fmt"
	"net/http"
	"testing"
)

// RFC 7643 §7: a reference names a resource of one of its types, of this tenant.
func TestReferencesNameResourcesOfTheTenant(t *testing.T) {
	t.Parallel()
	const deskURN, seatURN = "urn:example:schemas:2.0:Desk", "urn:example:schemas:extension:2.0:Seat"
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newSchemaInstance(t, in)
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+deskURN, `{"name":"Desk","attributes":[{"name":"label"},
			{"name":"owner","type":"reference","referenceTypes":["User"],"caseExact":true},
			{"name":"users","type":"reference","referenceTypes":["User","Group"],"multiValued":true,"caseExact":true},
			{"name":"near","type":"complex","multiValued":true,"subAttributes":[{"name":"display"},{"name":"$ref","type":"reference","referenceTypes":["Desk"],"caseExact":true}]},
			{"name":"picture","type":"reference","referenceTypes":["external"],"caseExact":true},
			{"name":"size","canonicalValues":["small","large"]}]}`).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/resource-types/Desk", `{"endpoint":"/Desks","schema":"`+deskURN+`"}`).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+seatURN, `{"name":"Seat","attributes":[{"name":"desk","type":"reference","referenceTypes":["Desk"],"caseExact":true}]}`).want(http.StatusOK)
		for _, of := range []string{"User", "Group"} {
			s.admin.send("PUT", ofAcme+"/scim/resource-types/"+of, `{"schemaExtensions":[{"schema":"`+seatURN+`"}]}`).want(http.StatusOK)
		}
		user := s.acme.send("POST", of("acme", "/Users"), fmt.Sprintf(`{"schemas":[%q],"userName":"u"}`, userURN)).want(http.StatusCreated).id()
		group := s.acme.send("POST", of("acme", "/Groups"), fmt.Sprintf(`{"schemas":[%q],"displayName":"g"}`, groupURN)).want(http.StatusCreated).id()
		theirs := s.umbrella.send("POST", of("umbrella", "/Users"), fmt.Sprintf(`{"schemas":[%q],"userName":"u"}`, userURN)).want(http.StatusCreated).id()
		desk := func(members string) answer {
			t.Helper()
			return s.acme.send("POST", of("acme", "/Desks"), fmt.Sprintf(`{"schemas":[%q],%s}`, deskURN, members))
		}
		made := desk(`"owner":"` + user + `","users":["` + user + `","` + group + `"],"picture":"https://rp.example/x.png","size":"enormous"`).want(http.StatusCreated).id()
		for _, members := range []string{
			`"owner":"../Users/` + user + `"`, `"owner":"http://localhost:8080/t/acme/scim/v2/Users/` + user + `"`,
			`"near":[{"$ref":"` + made + `","display":"x"},{"$ref":"/Desks/` + made + `"}]`, `"owner":""`, `"picture":"relative/x.png"`,
		} {
			desk(members).want(http.StatusCreated)
		}
		for members, names := range map[string]string{
			`"owner":"` + group + `"`:                                  "owner",
			`"owner":"` + theirs + `"`:                                 "owner", // of another tenant
			`"owner":"0198c0a0-0000-7000-8000-000000000000"`:           "owner",
			`"owner":"nobody"`:                                         "owner",
			`"owner":"/Groups/` + user + `"`:                           "owner",
			`"users":["` + user + `","` + made + `"]`:                  "users",
			`"near":[{"$ref":"` + made + `"},{"$ref":"` + user + `"}]`: "near.$ref",
			`"picture":"no uri"`:                                       "picture",
		} {
			desk(members).fails(http.StatusBadRequest, "invalidValue", names)
		}
		one := of("acme", "/Desks/"+made)
		s.acme.send("PATCH", one, patchJSON(`{"op":"replace","path":"owner","value":"`+theirs+`"}`)).fails(http.StatusBadRequest, "invalidValue", "owner")
		s.acme.send("PUT", one, fmt.Sprintf(`{"schemas":[%q],"users":[%q]}`, deskURN, theirs)).fails(http.StatusBadRequest, "invalidValue", "users")
		for _, resource := range []string{"/Users/" + user, "/Groups/" + group} {
			s.acme.send("PATCH", of("acme", resource), patchJSON(`{"op":"add","path":"`+seatURN+`:desk","value":"`+user+`"}`)).fails(http.StatusBadRequest, "invalidValue", "desk")
			s.acme.send("PATCH", of("acme", resource), patchJSON(`{"op":"add","path":"`+seatURN+`:desk","value":"`+made+`"}`))
		}
		s.acme.send("POST", of("acme", "/Users"), fmt.Sprintf(`{"schemas":[%q],"userName":"v",%q:{"desk":"none"}}`, userURN, seatURN)).fails(http.StatusBadRequest, "invalidValue", "desk")
		s.acme.send("POST", of("acme", "/Groups"), fmt.Sprintf(`{"schemas":[%q],"displayName":"h",%q:{"desk":"none"}}`, groupURN, seatURN)).fails(http.StatusBadRequest, "invalidValue", "desk")
		// Who is referred to may go; what was referred to before does not stand in the way.
		s.acme.send("DELETE", of("acme", "/Users/"+user), "").want(http.StatusNoContent)
		s.acme.send("PATCH", one, patchJSON(`{"op":"add","path":"label","value":"x"}`)).want(http.StatusOK).has(map[string]any{"owner": user, "label": "x"})

		// What a connection's mapping names stays.
		path := seatURN + ":desk"
		connection := s.admin.send("POST", ofAcme+"/connections", fmt.Sprintf(`{"name":"mapped","mapping":[{"from":%q,"to":%q}]}`, path, path+"2"))
		if connection.status != http.StatusBadRequest { // there is no such attribute yet
			t.Fatalf("%d %v", connection.status, connection.body)
		}
		const note = "urn:example:schemas:extension:2.0:Note"
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+note, `{"name":"Note","attributes":[{"name":"text"}]}`).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/resource-types/User", `{"schemaExtensions":[{"schema":"`+seatURN+`"},{"schema":"`+note+`"}]}`).want(http.StatusOK)
		s.admin.send("POST", ofAcme+"/connections", `{"name":"mapped","mapping":[{"from":"title","to":"`+note+`:text"}]}`).want(http.StatusCreated)
		for _, request := range [][3]string{
			{"PUT", "/schemas/" + note, `{"name":"Note","attributes":[{"name":"words"}]}`},
			{"PUT", "/schemas/" + note, `{"name":"Note","attributes":[{"name":"text","mutability":"readOnly"}]}`},
			{"PUT", "/resource-types/User", `{"schemaExtensions":[{"schema":"` + seatURN + `"}]}`},
		} {
			a := s.admin.send(request[0], ofAcme+"/scim"+request[1], request[2]).want(http.StatusConflict)
			a.has(map[string]any{"code": "mapped", "detail": "the mapping of the connection mapped names it: change that first"})
		}
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+note, `{"name":"Note","attributes":[{"name":"text"},{"name":"words"}]}`).want(http.StatusOK)
	})
}
