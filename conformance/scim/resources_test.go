package scim

import (
	"net/http"
	"strings"
)

func creation(x *tester) {
	for endpoint, body := range map[string]m{"/Users": x.userBody(m{"title": "T"}), "/Groups": x.groupBody()} {
		made := x.want(x.post(endpoint, body), 201)
		x.ok(made.header.Get("Location") == made.text("meta.location") && made.header.Get("Location") != "", "%s: Location %q", endpoint, made.header.Get("Location"))
		for name, value := range body {
			x.same(name, made.at(name), value)
		}
		x.same("what GET returns", x.get(made.header.Get("Location")).body, made.body)
	}
}

func uniqueness(x *tester) {
	user := x.user(m{"userName": "Twice@People.example"})
	for _, name := range []string{"Twice@People.example", "tWICE@pEOPLE.example"} {
		x.wantError(x.post("/Users", x.userBody(m{"userName": name})), 409, "uniqueness")
	}
	other := x.user()
	x.wantError(x.put("/Users/"+other.id(), x.userBody(m{"userName": "twice@people.example"})), 409, "uniqueness")
	x.wantError(x.patch("/Users/"+other.id(), m{"op": "replace", "path": "userName", "value": "twice@people.example"}), 409, "uniqueness")
	x.same("userName of the other", x.get("/Users/"+other.id()).at("userName"), other.at("userName"))
	x.want(x.put("/Users/"+user.id(), x.userBody(m{"userName": "twice@people.example"})), 200)
	name := x.name()
	x.group(m{"displayName": name})
	x.group(m{"displayName": name}) // RFC 7643 §8.7.1: uniqueness none
}

func userNames(x *tester) {
	userNameIsThere(x)
	uniqueness(x)
}

func unknownResources(x *tester) {
	for _, path := range []string{"/Users/" + nobody, "/Groups/" + nobody, "/Users/x", "/Groups/x", "/Things", "/Things/1", "/Users/" + nobody + "/x"} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			var body any
			switch method {
			case http.MethodPut:
				body = x.userBody()
				if strings.HasPrefix(path, "/Groups") {
					body = x.groupBody()
				}
			case http.MethodPatch:
				body = m{"schemas": l{patchURN}, "Operations": l{m{"op": "replace", "path": "externalId", "value": "x"}}}
			}
			a := x.wantError(x.do(method, path, body), 404)
			x.ok(a.text("detail") != "", "%s: no detail", a.request)
		}
	}
}

func putMakesNothing(x *tester) {
	x.wantError(x.put("/Users/"+nobody, x.userBody(m{"userName": "put@people.example"})), 404)
	x.wantError(x.put("/Groups/"+nobody, x.groupBody()), 404)
	x.want(x.get("/Users/"+nobody), 404)
	x.same("found", x.find("/Users", `userName eq "put@people.example"`), []string{})
	x.wantError(x.put("/Users", x.userBody()), 405)
}

func replacement(x *tester) {
	user := x.user(m{"title": "old", "displayName": "D", "emails": l{m{"value": "a@b.example"}}})
	x.second()
	body := x.userBody(m{"title": "new", "name": m{"givenName": "G"}})
	replaced := x.want(x.put("/Users/"+user.id(), body), 200)
	for name, value := range body {
		x.same(name, replaced.at(name), value)
	}
	x.ok(replaced.at("meta.lastModified") != user.at("meta.lastModified") && replaced.at("meta.version") != user.at("meta.version"), "lastModified and version stay")
	x.same("what GET returns", x.get("/Users/"+user.id()).body, replaced.body)
	member := x.user()
	group := x.group()
	x.same("members", x.want(x.put("/Groups/"+group.id(), x.groupBody(m{"members": l{m{"value": member.id()}}})), 200).at("members.0.value"), member.id())
}

func replacementClears(x *tester) {
	user := x.user(m{"title": "old", "emails": l{m{"value": "a@b.example"}}, "schemas": l{userURN, enterpriseURN}, enterpriseURN: m{"department": "D"}, "externalId": "e"})
	replaced := x.want(x.put("/Users/"+user.id(), x.userBody()), 200)
	for _, name := range []string{"title", "emails", "externalId"} {
		x.ok(replaced.at(name) == nil, "%s is still there: %s", name, replaced.raw)
	}
	x.ok(replaced.at(enterpriseURN) == nil, "the extension is still there: %s", replaced.raw)
	group := x.group(m{"members": l{m{"value": user.id()}}})
	x.ok(x.want(x.put("/Groups/"+group.id(), x.groupBody()), 200).at("members") == nil, "members are still there")
	putMakesNothing(x)
}

func replacementRequires(x *tester) {
	user, group := x.user(), x.group()
	x.wantError(x.put("/Users/"+user.id(), m{"schemas": l{userURN}, "title": "T"}), 400, "invalidValue")
	x.wantError(x.put("/Groups/"+group.id(), m{"schemas": l{groupURN}}), 400, "invalidValue")
	x.same("what GET returns", x.get("/Users/"+user.id()).body, user.body)
}

func deletion(x *tester) {
	user := x.user()
	group := x.group(m{"members": l{m{"value": user.id()}}})
	a := x.want(x.delete("/Users/"+user.id()), 204)
	x.ok(a.raw == "", "204 with a body: %s", a.raw)
	x.wantError(x.get("/Users/"+user.id()), 404)
	x.wantError(x.put("/Users/"+user.id(), x.userBody()), 404)
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": "title", "value": "T"}), 404)
	x.wantError(x.delete("/Users/"+user.id()), 404)
	x.same("found", x.find("/Users", `userName eq "`+user.text("userName")+`"`), []string{})
	x.same("found", x.find("/Users", ""+`id eq "`+user.id()+`"`), []string{})
	x.ok(x.get("/Groups/"+group.id()).at("members") == nil, "the group still has the member")
	x.user(m{"userName": user.text("userName")})
	x.want(x.delete("/Groups/"+group.id()), 204)
	x.wantError(x.get("/Groups/"+group.id()), 404)
	x.wantError(x.delete("/Groups/"+group.id()), 404)
	x.same("found", x.find("/Groups", `id eq "`+group.id()+`"`), []string{})
}

func errorForm(x *tester) {
	x.wantError(x.post("/Users", `{"schemas":`), 400, "invalidSyntax")
	x.wantError(x.post("/Users", ``), 400, "invalidSyntax")
	x.wantError(x.post("/Users", `[]`), 400, "invalidSyntax")
	x.wantError(x.get("/Users/"+nobody), 404)
	x.wantError(x.get("/Users?filter=x"), 400, "invalidFilter")
	x.wantError(x.do(http.MethodDelete, "/Users", nil), 405)
	x.wantError(x.get("/Users", "Authorization: Bearer x"), 401)
}

func utf8(x *tester) {
	for _, accept := range []string{"application/scim+json", "application/scim+json; charset=utf-8", "application/json", "*/*"} {
		made := x.post("/Users", x.userBody(m{"displayName": "Ünïcödé 日本 \U0001F600"}), "Accept: "+accept)
		x.want(made, 201)
		x.same("displayName", made.at("displayName"), "Ünïcödé 日本 \U0001F600")
		x.ok(strings.HasPrefix(made.header.Get("Content-Type"), "application/scim+json"), "Accept %s: got %q", accept, made.header.Get("Content-Type"))
	}
	x.wantError(x.post("/Users", `{"schemas":["`+userURN+`"],"userName":"`+"\xff\xfe"+`"}`), 400, "invalidSyntax")
}

func mediaTypes(x *tester) {
	utf8(x)
	for _, contentType := range []string{"application/scim+json", "application/json", "application/scim+json; charset=utf-8", "Application/JSON"} {
		x.want(x.post("/Users", x.userBody(), "Content-Type: "+contentType), 201)
	}
	x.wantError(x.post("/Users", x.userBody(), "Content-Type: text/plain"), 415)
}

func schemasInAnyOrder(x *tester) {
	schemasAreSaid(x)
	schemasHaveNoDoubles(x)
	department := m{"department": "D"}
	a := x.user(m{"schemas": l{userURN, enterpriseURN}, enterpriseURN: department})
	b := x.user(m{"schemas": l{enterpriseURN, userURN}, enterpriseURN: department})
	x.same("the extension", b.at(enterpriseURN), a.at(enterpriseURN))
}

func identity(x *tester) {
	idIsTheServers(x)
	idsAreStable(x)
	idsAreNoBulkID(x)
}

func metaIsWhole(x *tester) {
	metaIsTheServers(x)
	metaDates(x)
	locations(x)
	etagIsVersion(x)
}

func externalIDs(x *tester) {
	externalIDIsTheClients(x)
	x.user(m{"externalId": "Ext"})
	x.same("found by eXT", x.find("/Users", `externalId eq "eXT"`), []string{})
	foreign := x.foreign()
	foreign.want(foreign.post("/Users", foreign.userBody(m{"userName": x.slug + "@people.example", "externalId": "Ext"})), 201)
	x.ok(len(x.find("/Users", `externalId eq "Ext"`)) == 1, "the externalId of another domain is found")
}

// foreign is the connection of another tenant.
func (x *tester) foreign() *tester {
	other := *x
	other.slug, other.token = "foreign", tokenOf("foreign")
	other.base = x.server.URL + "/t/foreign/scim/v2"
	return &other
}

func namesInAnyCase(x *tester) {
	text := `{"SCHEMAS":["` + strings.ToUpper(userURN[:3]) + userURN[3:] + `"],"USERNAME":"Any@Case.example","Name":{"GIVENNAME":"Ann"},"eMails":[{"VALUE":"a@b.example","Type":"work"}]}`
	made := x.want(x.post("/Users", text), 201)
	x.same("userName", made.at("userName"), "Any@Case.example")
	x.same("name.givenName", made.at("name.givenName"), "Ann")
	x.same("emails", made.at("emails"), l{m{"value": "a@b.example", "type": "work"}})
	x.same("found", x.find("/Users", `NAME.givenname eq "Ann" and URN:ietf:params:scim:SCHEMAS:core:2.0:user:USERNAME pr`), []string{made.id()})
	x.same("selected", x.get("/Users/"+made.id()+"?attributes=USERNAME").at("userName"), "Any@Case.example")
	x.want(x.patch("/Users/"+made.id(), m{"op": "replace", "path": "TITLE", "value": "T"}), 200)
	x.same("title", x.get("/Users/"+made.id()).at("title"), "T")
}

func forms(x *tester) {
	datesAreDateTimes(x)
	integersAreWhole(x)
	certificates(x)
	references(x)
}

func selection(x *tester) {
	user := x.user(m{"title": "T", "displayName": "D", "name": m{"givenName": "G", "familyName": "F"}, "emails": l{m{"value": "a@b.example", "type": "work"}}})
	for query, want := range map[string]m{
		"?attributes=title":                 {"title": "T"},
		"?attributes=title,displayName":     {"title": "T", "displayName": "D"},
		"?attributes=name.givenName":        {"name": m{"givenName": "G"}},
		"?attributes=emails.value":          {"emails": l{m{"value": "a@b.example"}}},
		"?attributes=" + userURN + ":title": {"title": "T"},
		"?attributes=meta.created":          {"meta": m{"created": user.text("meta.created")}},
		"?excludedAttributes=title,emails,displayName,meta,active,name,groups": {"userName": user.text("userName")},
	} {
		want = with(want, m{"id": user.id(), "schemas": user.at("schemas")})
		x.same(query, x.want(x.get("/Users/"+user.id()+query), 200).body, want)
		x.same("list "+query, x.want(x.get("/Users"+query), 200).at("Resources.0"), want)
	}
	x.wantError(x.get("/Users?attributes=title&excludedAttributes=name"), 400)
}

func alwaysStays(x *tester) {
	user := x.user()
	a := x.want(x.get("/Users/"+user.id()+"?excludedAttributes=id,schemas,title"), 200)
	x.ok(a.id() == user.id() && len(a.list("schemas")) == 1, "id or schemas were excluded: %s", a.raw)
	x.ok(x.get("/Users/"+user.id()+"?attributes=title").id() == user.id(), "id is not there")
}

func selectionEverywhere(x *tester) {
	selection(x)
	alwaysStays(x)
	full := m{"title": "T", "displayName": "D"}
	made := x.want(x.post("/Users?attributes=title", x.userBody(full)), 201)
	answers := []answer{
		made,
		x.want(x.put("/Users/"+made.id()+"?attributes=title", x.userBody(full)), 200),
		x.want(x.do(http.MethodPatch, "/Users/"+made.id()+"?attributes=title", m{"schemas": l{patchURN}, "Operations": l{m{"op": "add", "path": "nickName", "value": "N"}}}), 200),
	}
	for _, a := range answers {
		x.same(a.request, a.body, m{"schemas": l{userURN}, "id": made.id(), "title": "T"})
	}
	for _, a := range []answer{
		x.want(x.put("/Users/"+made.id()+"?excludedAttributes=title", x.userBody(full)), 200),
		x.want(x.do(http.MethodPatch, "/Users/"+made.id()+"?excludedAttributes=title", m{"schemas": l{patchURN}, "Operations": l{m{"op": "add", "path": "nickName", "value": "M"}}}), 200),
	} {
		x.ok(a.at("title") == nil && a.at("displayName") == "D", "%s: got %s", a.request, a.raw)
	}
	found := x.want(x.post("/Users/.search", m{"schemas": l{searchURN}, "attributes": l{"title"}, "filter": `id eq "` + made.id() + `"`}), 200)
	x.same(".search", found.at("Resources.0"), m{"schemas": l{userURN}, "id": made.id(), "title": "T"})
	passwordIsNeverReturned(x)
}
