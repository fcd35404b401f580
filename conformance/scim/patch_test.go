package scim

import (
	"net/http"
)

// patchUser sends operations and returns the user afterwards.
func (x *tester) patchUser(id string, operations ...any) answer {
	x.Helper()
	a := x.patch("/Users/"+id, operations...)
	x.ok(a.status == 200 || a.status == 204, "%s %s: got %d %.300s", a.request, asJSON(operations), a.status, a.raw)
	return x.want(x.get("/Users/"+id), 200)
}

func patchMessage(x *tester) {
	user := x.user()
	operation := m{"op": "replace", "path": "title", "value": "T"}
	for _, body := range []any{
		m{"Operations": l{operation}},
		m{"schemas": l{userURN}, "Operations": l{operation}},
		m{"schemas": l{}, "Operations": l{operation}},
		m{"schemas": l{patchURN}},
		m{"schemas": l{patchURN}, "Operations": l{}},
		m{"schemas": l{patchURN}, "Operations": operation},
		m{"schemas": l{patchURN}, "Operations": l{m{"path": "title", "value": "T"}}},
		m{"schemas": l{patchURN}, "Operations": l{with(operation, m{"op": "merge"})}},
		m{"schemas": l{patchURN}, "Operations": l{with(operation, m{"op": l{"add", "replace"}})}},
		`{"schemas":["` + patchURN + `"],"Operations":[{"op":"add","op":"remove","path":"title","value":"T"}]}`,
	} {
		x.wantError(x.do(http.MethodPatch, "/Users/"+user.id(), body), 400, "invalidSyntax", "invalidValue")
	}
	x.same("the user", x.get("/Users/"+user.id()).body, user.body)
	for _, op := range []string{"replace", "Replace", "REPLACE"} {
		x.same("title", x.patchUser(user.id(), m{"op": op, "path": "title", "value": op}).at("title"), op)
	}
}

func patchMutability(x *tester) {
	user, group := x.user(), x.group()
	for _, operation := range []m{
		{"op": "replace", "path": "id", "value": "x"},
		{"op": "add", "path": "meta.location", "value": "x"},
		{"op": "replace", "path": "groups", "value": l{m{"value": group.id()}}},
		{"op": "replace", "value": m{"id": "x"}},
		{"op": "remove", "path": "id"},
		{"op": "remove", "path": "meta"},
	} {
		x.wantError(x.patch("/Users/"+user.id(), operation), 400, "mutability")
	}
	for _, operation := range []m{{"op": "replace", "path": "title", "value": m{"a": 1}}, {"op": "replace", "path": "active", "value": "perhaps"}, {"op": "add", "path": "emails", "value": 7}} {
		x.wantError(x.patch("/Users/"+user.id(), operation), 400, "invalidValue")
	}
	x.same("the user", with(x.get("/Users/"+user.id()).body), user.body)
	x.same("an equal id", x.patchUser(user.id(), m{"op": "replace", "value": m{"id": user.id(), "title": "T"}}).at("title"), "T")
}

func patchPrimary(x *tester) {
	user := x.user(m{"emails": l{m{"value": "a@x.example", "primary": true}, m{"value": "b@x.example"}}})
	primary := func(a answer) string {
		found := ""
		for _, value := range a.list("emails") {
			if at(value, "primary") == true {
				text, _ := at(value, "value").(string)
				found += text
			}
		}
		return found
	}
	x.same("add", primary(x.patchUser(user.id(), m{"op": "add", "path": "emails", "value": l{m{"value": "c@x.example", "primary": true}}})), "c@x.example")
	x.same("replace by filter", primary(x.patchUser(user.id(), m{"op": "replace", "path": `emails[value eq "b@x.example"].primary`, "value": true})), "b@x.example")
}

func patchIsAtomic(x *tester) {
	user := x.user(m{"title": "T", "emails": l{m{"value": "a@x.example", "type": "work"}}})
	group := x.group(m{"members": l{m{"value": user.id()}}})
	for _, bad := range []m{{"op": "replace", "path": "active", "value": "x"}, {"op": "remove", "path": "userName"}, {"op": "replace", "path": `emails[type eq "nonexistent"].value`, "value": "x"}, {"op": "add", "path": "nothing", "value": "x"}} {
		a := x.patch("/Users/"+user.id(), m{"op": "replace", "path": "title", "value": "new"}, m{"op": "remove", "path": "emails"}, bad)
		x.wantError(a, 400)
		got := x.get("/Users/" + user.id())
		x.same("the user", got.at("title"), "T")
		x.same("version", got.at("meta"), user.at("meta"))
		x.same("emails", got.at("emails"), user.at("emails"))
	}
	before := x.get("/Groups/" + group.id())
	x.wantError(x.patch("/Groups/"+group.id(), m{"op": "remove", "path": "members"}, m{"op": "replace", "path": "displayName", "value": "new"}, m{"op": "add", "path": "members", "value": l{m{"value": nobody}}}), 400, "invalidValue")
	x.same("the group", x.get("/Groups/"+group.id()).body, before.body)
}

func patchAnswers(x *tester) {
	user, group := x.user(), x.group()
	for path, operation := range map[string]m{
		"/Users/" + user.id(): {"op": "replace", "path": "displayName", "value": "D"}, "/Groups/" + group.id(): {"op": "replace", "path": "displayName", "value": "D"},
	} {
		a := x.patch(path, operation)
		x.ok(a.status == 200 && a.id() != "" || a.status == 204 && a.raw == "", "%s: got %d %s", path, a.status, a.raw)
		b := x.want(x.do(http.MethodPatch, path+"?attributes=displayName", m{"schemas": l{patchURN}, "Operations": l{operation}}), 200)
		x.same("displayName", b.at("displayName"), "D")
		x.ok(b.at("meta") == nil, "more than was asked for: %s", b.raw)
	}
}

func addNeedsValue(x *tester) {
	user := x.user()
	for _, operation := range []m{{"op": "add", "path": "title"}, {"op": "add"}, {"op": "add", "path": "emails"}} {
		x.wantError(x.patch("/Users/"+user.id(), operation), 400, "invalidValue", "invalidSyntax")
	}
	x.same("the user", x.get("/Users/"+user.id()).body, user.body)
}

func addToComplex(x *tester) {
	user := x.user(m{"name": m{"givenName": "G"}})
	x.same("name", x.patchUser(user.id(), m{"op": "add", "path": "name", "value": m{"familyName": "F"}}).at("name"), m{"givenName": "G", "familyName": "F"})
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "add", "path": "name", "value": "Ann"}), 400, "invalidValue")
}

func addOfTheSame(x *tester) {
	user := x.user(m{"title": "T", "emails": l{m{"value": "a@x.example", "type": "work"}}})
	member := x.user()
	group := x.group(m{"members": l{m{"value": member.id()}}})
	x.second()
	for _, operation := range []m{
		{"op": "add", "path": "title", "value": "T"}, {"op": "add", "path": "emails", "value": l{m{"value": "a@x.example", "type": "work"}}}, {"op": "add", "value": m{"title": "T"}},
	} {
		x.same(asJSON(operation), x.patchUser(user.id(), operation).at("meta"), user.at("meta"))
	}
	x.patch("/Groups/"+group.id(), m{"op": "add", "path": "members", "value": l{m{"value": member.id()}}})
	x.same("meta of the group", x.get("/Groups/"+group.id()).at("meta"), group.at("meta"))
}

func addMerges(x *tester) {
	user := x.user(m{"emails": l{m{"value": "a@x.example", "type": "work"}}, "name": m{"givenName": "G"}})
	after := x.patchUser(user.id(), m{"op": "add", "value": m{"title": "T", "name": m{"familyName": "F"}, "emails": l{m{"value": "b@x.example", "type": "home"}}}})
	x.same("title", after.at("title"), "T")
	x.same("name", after.at("name"), m{"givenName": "G", "familyName": "F"})
	x.same("emails", after.at("emails"), l{m{"value": "a@x.example", "type": "work"}, m{"value": "b@x.example", "type": "home"}})
	addOfTheSame(x)
}

func remove(x *tester) {
	user := x.user(m{"title": "T", "name": m{"givenName": "G", "familyName": "F"}})
	after := x.patchUser(user.id(), m{"op": "remove", "path": "title"}, m{"op": "remove", "path": "name.givenName"})
	_, there := after.body["title"]
	x.ok(!there, "title is still there: %s", after.raw)
	x.same("name", after.at("name"), m{"familyName": "F"})
	_, there = x.patchUser(user.id(), m{"op": "remove", "path": "name"}).body["name"]
	x.ok(!there, "name is still there")
}

func removeWithoutPath(x *tester) {
	user := x.user()
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "remove"}), 400, "noTarget")
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "remove", "value": m{"title": "T"}}), 400, "noTarget")
}

func removeByFilter(x *tester) {
	user := x.user(m{"emails": l{m{"value": "a@x.example", "type": "work"}, m{"value": "b@x.example", "type": "home"}, m{"value": "c@x.example", "type": "work"}}})
	x.same("emails", x.patchUser(user.id(), m{"op": "remove", "path": `emails[type eq "work"]`}).at("emails"), l{m{"value": "b@x.example", "type": "home"}})
	after := x.patchUser(user.id(), m{"op": "remove", "path": `emails[value eq "b@x.example" and type eq "home"]`})
	_, there := after.body["emails"]
	x.ok(!there, "emails are still there: %s", after.raw)
	a, b := x.user(), x.user()
	group := x.group(m{"members": l{m{"value": a.id()}, m{"value": b.id()}}})
	x.patch("/Groups/"+group.id(), m{"op": "remove", "path": `members[value eq "` + a.id() + `"]`})
	x.same("members", len(x.get("/Groups/"+group.id()).list("members")), 1)
	x.patch("/Groups/"+group.id(), m{"op": "remove", "path": "members"})
	_, there = x.get("/Groups/" + group.id()).body["members"]
	x.ok(!there, "members are still there")
}

func removeOfRequired(x *tester) {
	user, group := x.user(), x.group()
	for path, attribute := range map[string]string{"/Users/" + user.id(): "userName", "/Groups/" + group.id(): "displayName"} {
		x.wantError(x.patch(path, m{"op": "remove", "path": attribute}), 400, "mutability", "invalidValue")
		x.wantError(x.patch(path, m{"op": "remove", "path": "id"}), 400, "mutability")
		x.wantError(x.patch(path, m{"op": "remove", "path": "meta.created"}), 400, "mutability")
	}
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "remove", "path": "userName"}), 400, "mutability")
}

func replaceAdds(x *tester) {
	user := x.user()
	after := x.patchUser(user.id(), m{"op": "replace", "path": "title", "value": "T"}, m{"op": "replace", "path": "name.givenName", "value": "G"}, m{"op": "replace", "path": "emails", "value": l{m{"value": "a@x.example"}}},
		m{"op": "replace", "value": m{"nickName": "N"}})
	x.same("the user", []any{after.at("title"), after.at("name.givenName"), after.at("emails.0.value"), after.at("nickName")}, []any{"T", "G", "a@x.example", "N"})
}

func replaceByFilter(x *tester) {
	user := x.user(m{"emails": l{m{"value": "a@x.example", "type": "work"}, m{"value": "b@x.example", "type": "home"}, m{"value": "c@x.example", "type": "work"}}})
	after := x.patchUser(user.id(), m{"op": "replace", "path": `emails[type eq "work"].display`, "value": "W"})
	displays := []any{}
	for _, value := range after.list("emails") {
		displays = append(displays, at(value, "display"))
	}
	x.same("display", displays, []any{"W", nil, "W"})
}

func replaceWithoutMatch(x *tester) {
	user := x.user(m{"emails": l{m{"value": "a@x.example", "type": "work"}}})
	for _, path := range []string{`emails[type eq "nonexistent"].value`, `emails[value eq "z@x.example"]`, `emails[type eq "work" and value eq "z"].display`} {
		x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": path, "value": "x"}), 400, "noTarget")
	}
	x.same("the user", x.get("/Users/"+user.id()).body, user.body)
}

func replaceMatches(x *tester) {
	replaceByFilter(x)
	replaceWithoutMatch(x)
}

func replaceComplex(x *tester) {
	user := x.user(m{"name": m{"givenName": "G", "familyName": "F"}})
	x.same("name", x.patchUser(user.id(), m{"op": "replace", "path": "name", "value": m{"givenName": "H"}}).at("name"), m{"givenName": "H", "familyName": "F"})
}

func patchErrors(x *tester) {
	user := x.user()
	for path, scimType := range map[string]string{
		"emails[type eq": "invalidPath", "[]": "invalidPath", "nothing": "invalidPath", "title.x": "invalidPath", "urn:example:nothing:a": "invalidPath", "emails[nothing eq 1].value": "invalidPath", "id": "mutability", "groups": "mutability",
	} {
		x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": path, "value": "x"}), 400, scimType, map[bool]string{true: "invalidFilter"}[path == "emails[nothing eq 1].value" || path == "emails[type eq"])
	}
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": "title", "value": 7}), 400, "invalidValue")
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "remove"}), 400, "noTarget")
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "dance", "path": "title", "value": "x"}), 400, "invalidSyntax", "invalidValue")
	x.same("the user", x.get("/Users/"+user.id()).body, user.body)
}

func patchExtensions(x *tester) {
	user := x.user()
	after := x.patchUser(user.id(), m{"op": "add", "path": enterpriseURN + ":department", "value": "D"})
	x.same("department", after.at(enterpriseURN, "department"), "D")
	x.same("schemas", after.at("schemas"), l{userURN, enterpriseURN})
	after = x.patchUser(user.id(), m{"op": "add", "path": enterpriseURN, "value": m{"employeeNumber": "7"}}, m{"op": "replace", "path": userURN + ":title", "value": "T"})
	x.same("the extension", after.at(enterpriseURN), m{"department": "D", "employeeNumber": "7"})
	x.same("title", after.at("title"), "T")
	after = x.patchUser(user.id(), m{"op": "add", "value": m{enterpriseURN: m{"costCenter": "C"}}})
	x.same("costCenter", after.at(enterpriseURN, "costCenter"), "C")
	after = x.patchUser(user.id(), m{"op": "remove", "path": enterpriseURN})
	x.ok(after.at(enterpriseURN) == nil && len(after.list("schemas")) == 1, "the extension is still there: %s", after.raw)
}
