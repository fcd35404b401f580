package scim

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// representation is what RFC 7642 and RFC 7643 require.
func representation() []requirement {
	return []requirement{
		{"RFC7642-4-L944", must, "what is transported is confidential (TLS)", nil, noTLS},
		{"RFC7643-1.1-L232", must, "quotes around values in the text are no part of messages", nil, "a convention of the RFC's text"},
		{"RFC7643-2.1-L366", must, "resources are JSON and say their schemas", schemasAreSaid, ""},
		{"RFC7643-2.1-L369", must, "names of attributes follow ATTRNAME", attributeNames, ""},
		{"RFC7643-2.3-L443", should, "extensions bring no data types of their own", nil, "binds those who write schemas"},
		{"RFC7643-2.3.4-L521", must, "integers have neither fraction nor exponent", integersAreWhole, ""},
		{"RFC7643-2.3.5-L527", must, "dates are xsd:dateTime with date and time", datesAreDateTimes, ""},
		{"RFC7643-2.3.5-L531", must, "dates in JSON keep to XML's form", datesAreDateTimes, ""},
		{"RFC7643-2.3.6-L537", must, "binary values are base64", certificates, ""},
		{"RFC7643-2.3.7-L552", must, "references are URIs", references, ""},
		{"RFC7643-2.3.7-L555", must, "relative references are resolved against the whole base", references, ""},
		{"RFC7643-2.3.7-L577", must, "references can be asked for over HTTP", references, ""},
		{"RFC7643-2.3.7-L578", must, "GET on a reference returns its target", references, ""},
		{"RFC7643-2.3.8-L592", must, "the order of attributes means nothing", orderMeansNothing, ""},
		{"RFC7643-2.3.8-L595", must, "sub-attributes are not complex", noNestedComplex, ""},
		{"RFC7643-2.4-L608", must, "values with sub-attributes are complex", nil, "a definition; what follows from it is held by RFC7643-2.3.8-L595"},
		{"RFC7643-2.4-L612", must, "the common sub-attributes mean what the RFC says", nil, "binds those who write schemas"},
		{"RFC7643-2.4-L634", must, "primary is true at most once", onePrimary, ""},
		{"RFC7643-2.4-L655", should, "values are returned in canonical form", canonicalValues, ""},
		{"RFC7643-2.4-L663", should, "no pair of type and value comes twice", noDoubles, ""},
		{"RFC7643-2.5-L682", must, "unassigned, null and [] are the same", emptyIsUnassigned, ""},
		{"RFC7643-3-L709", must, "schemas is there and not empty", schemasAreSaid, ""},
		{"RFC7643-3-L711", must, "schemas has only those of the resource type", schemasAreKnown, ""},
		{"RFC7643-3-L713", must, "schemas has none twice", schemasHaveNoDoubles, ""},
		{"RFC7643-3-L714", must, "the order of schemas means nothing", nil, "shown by S001, which sends both orders"},
		{"RFC7643-3.1-L852", must, "every resource has the common attributes", commonAttributes, ""},
		{"RFC7643-3.1-L855", must, "the server gives id and meta", commonAttributes, ""},
		{"RFC7643-3.1-L866", must, "id is not empty", commonAttributes, ""},
		{"RFC7643-3.1-L867", must, "id is unique among all resources", idsAreUnique, ""},
		{"RFC7643-3.1-L868", must, "id is stable and not given again", idsAreStable, ""},
		{"RFC7643-3.1-L872", must, "the client does not choose id", idIsTheServers, ""},
		{"RFC7643-3.1-L873", must, `"bulkId" is in no id`, idsAreNoBulkID, ""},
		{"RFC7643-3.1-L890", must, "the server makes no externalId", externalIDIsTheClients, ""},
		{"RFC7643-3.1-L891", must, "externalId is of one provisioning domain", nil, "shown by S004 between tenants"},
		{"RFC7643-3.1-L911", must, "meta of the client is ignored", metaIsTheServers, ""},
		{"RFC7643-3.1-L920", must, "meta.created is a date", metaDates, ""},
		{"RFC7643-3.1-L925", must, "lastModified is created until something changes", metaDates, ""},
		{"RFC7643-3.1-L927", must, "meta.location is the Content-Location", locations, ""},
		{"RFC7643-3.1-L940", must, "weak entity tags begin with W/", etagIsVersion, ""},
		{"RFC7643-3.3-L976", must, "schemas has the base schema", schemasAreSaid, ""},
		{"RFC7643-3.3-L981", must, "the URI of an extension is the container of its attributes", extensionContainer, ""},
		{"RFC7643-4.1.1-L1035", must, "userName is not empty", userNameIsThere, ""},
		{"RFC7643-4.1.1-L1186", must, "passwords are not returned", passwordIsNeverReturned, ""},
		{"RFC7643-4.1.1-L1222", must, "passwords are not returned in any form", passwordIsNeverReturned, ""},
		{"RFC7643-4.1.2-L1244", should, "addresses of mail are as in RFC 5321", mailAddresses, ""},
		{"RFC7643-4.1.2-L1281", must, "a photo is an image and not a page", nil, "the server does not open what a client refers to"},
		{"RFC7643-4.1.2-L1322", must, "a country is an ISO 3166-1 code of two letters", countries, ""},
		{"RFC7643-4.1.2-L1351", must, "groups.value is the id of a Group", groupsOfUsers, ""},
		{"RFC7643-4.1.2-L1354", must, "memberships change through the Group", groupsAreReadOnly, ""},
		{"RFC7643-4.1.2-L1378", must, "certificates are DER in base64", certificates, ""},
		{"RFC7643-4.1.2-L1379", must, "a value has one certificate", nil, "the server keeps certificates and does not read them"},
		{"RFC7643-5-L1581", should, "authenticationSchemes can be read without a credential", discoveryIsPublic, ""},
		{"RFC7643-6-L1619", must, "a resource type has a name", resourceTypes, ""},
		{"RFC7643-6-L1641", must, "its schema is the id of a Schema", resourceTypes, ""},
		{"RFC7643-6-L1650", must, "so are its extensions", resourceTypes, ""},
		{"RFC7643-6-L1655", must, "a required extension has to be there", requiredExtension, ""},
		{"RFC7643-7-L1691", must, "a schema has a URI", schemasAreDescribed, ""},
		{"RFC7643-7-L1700", must, "a schema has a name", schemasAreDescribed, ""},
		{"RFC7643-7-L1748", must, "filters keep to caseExact", filterCase, ""},
		{"RFC7643-7-L1750", must, "the case of values is kept", caseIsKept, ""},
		{"RFC7643-7-L1759", must, "readOnly is not modified", readOnlyIsIgnored, ""},
		{"RFC7643-7-L1766", must, "immutable is not updated", immutable, ""},
		{"RFC7643-7-L1769", must, "writeOnly is not returned", passwordIsNeverReturned, ""},
		{"RFC7643-9.2-L5117", must, "passwords are not stored in clear text", nil, "not to be seen from outside; authn's tests hold it"},
	}
}

const noTLS = "the suites use loopback without TLS, which a proxy adds"

func schemasAreSaid(x *tester) {
	user, group := x.user(), x.group()
	for _, a := range []answer{user, x.get("/Users/" + user.id()), group, x.get("/Groups/" + group.id()), x.config()} {
		x.ok(len(a.list("schemas")) > 0, "%s: got no schemas: %.200s", a.request, a.raw)
	}
	x.same("schemas of a user", user.at("schemas"), l{userURN})
	x.same("schemas of a group", group.at("schemas"), l{groupURN})
	x.ok(strings.HasPrefix(user.header.Get("Content-Type"), mediaType), "got Content-Type %q", user.header.Get("Content-Type"))
	x.wantError(x.post("/Users", x.userBody(m{"schemas": nil})), 400)
	x.wantError(x.post("/Users", x.userBody(m{"schemas": l{}})), 400)
}

func attributeNames(x *tester) {
	name := regexp.MustCompile(`^(\$ref|[A-Za-z][A-Za-z0-9_-]*)$`)
	var check func(l)
	check = func(attributes l) {
		for _, attribute := range attributes {
			text, _ := at(attribute, "name").(string)
			x.ok(name.MatchString(text), "%q is no name of an attribute", text)
			subs, _ := at(attribute, "subAttributes").(l)
			check(subs)
		}
	}
	for _, schema := range x.want(x.get("/Schemas"), 200).list("Resources") {
		attributes, _ := at(schema, "attributes").(l)
		x.ok(len(attributes) > 0, "%v has no attributes", at(schema, "id"))
		check(attributes)
	}
}

func integersAreWhole(x *tester) {
	x.user()
	list := x.want(x.get("/Users?count=1"), 200)
	for _, name := range []string{"totalResults", "itemsPerPage", "startIndex"} {
		x.ok(regexp.MustCompile(`"`+name+`":\s*[0-9]+\s*[,}]`).MatchString(list.raw), "%s is no integer: %.300s", name, list.raw)
	}
}

func dateTime(x *tester, what, text string) time.Time {
	x.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	x.ok(err == nil && regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`).MatchString(text), "%s: %q is no dateTime", what, text)
	return at
}

func datesAreDateTimes(x *tester) {
	for _, a := range []answer{x.user(), x.group()} {
		dateTime(x, "created", a.text("meta.created"))
		dateTime(x, "lastModified", a.text("meta.lastModified"))
	}
}

// certificate is the beginning of one in DER; that it is one is nobody's
// business but the client's.
func certificate() string {
	return base64.StdEncoding.EncodeToString([]byte{0x30, 0x03, 0x02, 0x01, 0x05})
}

func certificates(x *tester) {
	made := x.user(m{"x509Certificates": l{m{"value": certificate()}}})
	x.same("the certificate", made.at("x509Certificates.0.value"), certificate())
	x.wantError(x.post("/Users", x.userBody(m{"x509Certificates": l{m{"value": "no base64 at all!"}}})), 400, "invalidValue")
}

func references(x *tester) {
	user := x.user(m{"profileUrl": "https://people.example/~ann"})
	x.same("profileUrl", user.at("profileUrl"), "https://people.example/~ann")
	group := x.group(m{"members": l{m{"value": user.id()}}})
	for what, reference := range map[string]string{
		"members.$ref": group.text("members.0.$ref"), "location": user.text("meta.location"),
		"groups.$ref": x.get("/Users/" + user.id()).text("groups.0.$ref"),
	} {
		x.ok(strings.HasPrefix(reference, x.base+"/") || strings.HasPrefix(reference, "../"), "%s: %q is below another base than %s", what, reference, x.base)
		reference = strings.Replace(reference, "../", x.base+"/", 1)
		target := x.want(x.get(reference), 200)
		x.ok(strings.HasSuffix(reference, target.id()), "%s: %s is %s", what, reference, target.id())
	}
	x.wantError(x.post("/Users", x.userBody(m{"profileUrl": "https://people.example/ ~ann%%"})), 400, "invalidValue")
}

func orderMeansNothing(x *tester) {
	a := x.want(x.post("/Users", `{"schemas":["`+userURN+`"],"userName":"a@order.example","name":{"givenName":"A","familyName":"B"},"title":"T"}`), 201)
	b := x.want(x.post("/Users", `{"title":"T","name":{"familyName":"B","givenName":"A"},"userName":"b@order.example","schemas":["`+userURN+`"]}`), 201)
	x.same("name", b.at("name"), a.at("name"))
	x.same("title", b.at("title"), a.at("title"))
}

// noNestedComplex passes over the schema of schemas, where RFC 7643 §8.7.2 itself
// nests subAttributes in attributes.
func noNestedComplex(x *tester) {
	for _, schema := range x.want(x.get("/Schemas"), 200).list("Resources") {
		if at(schema, "name") == "Schema" {
			continue
		}
		attributes, _ := at(schema, "attributes").(l)
		for _, attribute := range attributes {
			subs, _ := at(attribute, "subAttributes").(l)
			for _, sub := range subs {
				x.ok(at(sub, "type") != "complex", "%v: %v.%v is complex", at(schema, "id"), at(attribute, "name"), at(sub, "name"))
			}
		}
	}
}

// primaries counts the values that are primary.
func primaries(values l) int {
	n := 0
	for _, value := range values {
		if at(value, "primary") == true {
			n++
		}
	}
	return n
}

func onePrimary(x *tester) {
	two := l{m{"value": "a@b.example", "type": "work", "primary": true}, m{"value": "c@d.example", "type": "home", "primary": true}}
	made := x.post("/Users", x.userBody(m{"emails": two}))
	if made.status == http.StatusCreated {
		x.ok(primaries(made.list("emails")) == 1, "two values are primary: %s", made.raw)
	} else {
		x.wantError(made, 400, "invalidValue")
	}
	user := x.user()
	replaced := x.put("/Users/"+user.id(), x.userBody(m{"emails": two}))
	x.ok(replaced.status == 400 || replaced.status == 200 && primaries(replaced.list("emails")) == 1, "PUT: got %d %s", replaced.status, replaced.raw)
	x.ok(primaries(x.get("/Users/"+user.id()).list("emails")) <= 1, "two values are primary")
}

// canonicalValues: the server keeps what it is given rather than guess; what it
// promises is that asking twice gets the same form.
func canonicalValues(x *tester) {
	made := x.user(m{"emails": l{m{"value": "Ann@People.example", "type": "WORK"}}})
	got := x.get("/Users/" + made.id())
	x.same("emails", got.at("emails"), made.at("emails"))
	x.ok(strings.EqualFold(got.text("emails.0.type"), "work"), "got %s", got.raw)
	x.ok(len(x.find("/Users", `emails[type eq "work"]`)) == 1, "the type is not found by its canonical value")
}

func noDoubles(x *tester) {
	made := x.user(m{"emails": l{m{"value": "a@b.example", "type": "work"}, m{"value": "a@b.example", "type": "work"}}})
	x.ok(len(x.get("/Users/"+made.id()).list("emails")) == 1, "the same pair is there twice: %s", made.raw)
}

func emptyIsUnassigned(x *tester) {
	user := x.user(m{"title": nil, "emails": l{}})
	written := x.want(x.post("/Users", `{"schemas":["`+userURN+`"],"userName":"null@people.example","title":null,"emails":[],"name":null}`), 201)
	for _, a := range []answer{user, written} {
		for _, name := range []string{"title", "emails", "name"} {
			if value, there := a.body[name]; there {
				x.Errorf("%s: %s is returned as %v", a.request, name, value)
			}
		}
	}
	full := x.user(m{"title": "T", "emails": l{m{"value": "a@b.example"}}})
	text := `{"schemas":["` + userURN + `"],"userName":"` + full.text("userName") + `","title":null,"emails":[]}`
	cleared := x.want(x.put("/Users/"+full.id(), text), 200)
	x.ok(cleared.body["title"] == nil && cleared.body["emails"] == nil, "null and [] do not clear: %s", cleared.raw)
	x.same("title pr", x.find("/Users", "title pr or emails pr"), []string{})
}

func schemasAreKnown(x *tester) {
	known := map[any]bool{}
	for _, schema := range x.want(x.get("/Schemas"), 200).list("Resources") {
		known[at(schema, "id")] = true
	}
	user := x.user(m{"schemas": l{userURN, enterpriseURN}, enterpriseURN: m{"department": "D"}})
	for _, a := range []answer{user, x.group()} {
		for _, uri := range a.list("schemas") {
			x.ok(known[uri], "%v is no schema", uri)
		}
	}
	x.wantError(x.post("/Users", x.userBody(m{"schemas": l{groupURN}})), 400)
	x.wantError(x.post("/Users", x.userBody(m{"schemas": l{"urn:example:nothing"}})), 400)
}

func schemasHaveNoDoubles(x *tester) {
	made := x.post("/Users", x.userBody(m{"schemas": l{userURN, userURN}}))
	if made.status != http.StatusCreated {
		x.wantError(made, 400)
		return
	}
	x.same("schemas", made.at("schemas"), l{userURN})
}

func commonAttributes(x *tester) {
	for endpoint, a := range map[string]answer{"User": x.user(m{"externalId": "e1"}), "Group": x.group(m{"externalId": "e1"})} {
		x.ok(a.id() != "", "%s: no id: %s", endpoint, a.raw)
		x.same("externalId", a.at("externalId"), "e1")
		x.same("meta.resourceType", a.at("meta.resourceType"), endpoint)
		for _, name := range []string{"created", "lastModified", "location", "version"} {
			x.ok(a.text("meta."+name) != "", "%s: no meta.%s: %s", endpoint, name, a.raw)
		}
	}
}

func idsAreUnique(x *tester) {
	seen := map[string]bool{}
	for range 10 {
		for _, a := range []answer{x.user(), x.group()} {
			x.ok(!seen[a.id()], "%s was given twice", a.id())
			seen[a.id()] = true
		}
	}
}

func idsAreStable(x *tester) {
	user := x.user()
	body := x.userBody()
	x.same("id after PUT", x.want(x.put("/Users/"+user.id(), body), 200).id(), user.id())
	x.want(x.patch("/Users/"+user.id(), m{"op": "replace", "path": "userName", "value": "other@people.example"}), 200)
	x.same("id after PATCH", x.get("/Users/"+user.id()).id(), user.id())
	x.want(x.delete("/Users/"+user.id()), 204)
	again := x.want(x.post("/Users", with(body, m{"userName": "other@people.example"})), 201)
	x.ok(again.id() != user.id(), "the id was given again")
}

func idIsTheServers(x *tester) {
	made := x.user(m{"id": "mine"})
	x.ok(made.id() != "mine", "the client chose the id")
	x.want(x.get("/Users/mine"), 404)
	x.same("id after PUT", x.want(x.put("/Users/"+made.id(), x.userBody(m{"id": "mine"})), 200).id(), made.id())
}

func idsAreNoBulkID(x *tester) {
	for _, a := range []answer{x.user(m{"id": "bulkId"}), x.group(m{"id": "bulkId"})} {
		x.ok(!strings.Contains(strings.ToLower(a.id()), "bulkid"), "the id is %s", a.id())
	}
}

func externalIDIsTheClients(x *tester) {
	for _, a := range []answer{x.user(), x.group()} {
		_, there := a.body["externalId"]
		x.ok(!there, "%s: an externalId nobody gave: %s", a.request, a.raw)
	}
}

func metaIsTheServers(x *tester) {
	given := m{"resourceType": "Thing", "created": "2001-01-01T00:00:00Z", "lastModified": "2001-01-01T00:00:00Z", "location": "https://elsewhere.example/", "version": `W/"x"`}
	made := x.user(m{"meta": given})
	replaced := x.want(x.put("/Users/"+made.id(), x.userBody(m{"meta": given})), 200)
	for _, a := range []answer{made, replaced} {
		for name, value := range given {
			x.ok(a.at("meta."+name) != value, "%s: meta.%s is the client's", a.request, name)
		}
	}
	x.same("created", replaced.at("meta.created"), made.at("meta.created"))
}

func metaDates(x *tester) {
	for endpoint, body := range map[string]m{"/Users": x.userBody(), "/Groups": x.groupBody()} {
		made := x.want(x.post(endpoint, body), 201)
		created := dateTime(x, "created", made.text("meta.created"))
		x.ok(time.Since(created).Abs() < time.Hour, "%s: created %s is not now", endpoint, created)
		x.same("lastModified of what was never modified", made.at("meta.lastModified"), made.at("meta.created"))
		x.second()
		x.patch(endpoint+"/"+made.id(), m{"op": "replace", "path": "externalId", "value": "changed"})
		after := x.want(x.get(endpoint+"/"+made.id()), 200)
		x.same("created", after.at("meta.created"), made.at("meta.created"))
		x.ok(dateTime(x, "lastModified", after.text("meta.lastModified")).After(created), "lastModified did not move")
	}
}

func locations(x *tester) {
	for endpoint, made := range map[string]answer{"/Users/": x.user(), "/Groups/": x.group()} {
		want := x.base + endpoint + made.id()
		x.same("meta.location", made.at("meta.location"), want)
		x.same("Location", made.header.Get("Location"), want)
		got := x.want(x.get(endpoint+made.id()), 200)
		x.same("meta.location of GET", got.at("meta.location"), want)
		if content := got.header.Get("Content-Location"); content != "" {
			x.same("Content-Location", content, want)
		}
		x.want(x.get(want), 200)
	}
}

func extensionContainer(x *tester) {
	user := x.user(m{"schemas": l{userURN, enterpriseURN}, enterpriseURN: m{"employeeNumber": "7"}})
	for _, a := range []answer{user, x.get("/Users/" + user.id())} {
		x.same("employeeNumber", a.at(enterpriseURN, "employeeNumber"), "7")
		x.ok(a.at("employeeNumber") == nil, "the attribute is outside its container")
		x.same("schemas", a.at("schemas"), l{userURN, enterpriseURN})
	}
	plain := x.user()
	x.ok(plain.at(enterpriseURN) == nil && len(plain.list("schemas")) == 1, "an extension without values: %s", plain.raw)
}

func userNameIsThere(x *tester) {
	for _, value := range []any{nil, "", "  ", 7, l{"a"}} {
		body := m{"schemas": l{userURN}, "userName": value}
		x.wantError(x.post("/Users", body), 400, "invalidValue")
	}
	user := x.user()
	x.wantError(x.put("/Users/"+user.id(), m{"schemas": l{userURN}}), 400, "invalidValue")
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": "userName", "value": ""}), 400)
	x.same("userName", x.get("/Users/"+user.id()).at("userName"), user.at("userName"))
}

func passwordIsNeverReturned(x *tester) {
	const password = "Kx7-never-to-be-seen-again"
	made := x.user(m{"password": password})
	answers := []answer{
		made, x.get("/Users/" + made.id()), x.get("/Users/" + made.id() + "?attributes=password"), x.get("/Users?attributes=password,userName"),
		x.put("/Users/"+made.id()+"?attributes=password", x.userBody(m{"password": password})),
		x.patch("/Users/"+made.id(), m{"op": "replace", "path": "password", "value": password}),
		x.patch("/Users/"+made.id(), m{"op": "replace", "value": m{"password": password}}),
		x.post("/Users/.search", m{"schemas": l{searchURN}, "attributes": l{"password"}}),
		x.get("/Users?filter=password%20eq%20%22" + password + "%22"),
		x.post("/Users", x.userBody(m{"password": m{"value": password}})),
		x.patch("/Users/"+made.id(), m{"op": "replace", "path": "password", "value": l{m{"value": password}}}),
		x.patch("/Users/"+made.id(), m{"op": "add", "path": `password[value eq "` + password + `"]`, "value": "x"}),
	}
	for _, a := range answers {
		x.ok(!strings.Contains(a.raw, password), "%s: the password is in the answer: %.300s", a.request, a.raw)
		x.ok(!strings.Contains(a.raw, `"password":`), "%s: there is a password in the answer: %.300s", a.request, a.raw)
	}
	x.ok(!strings.Contains(x.server.Log(), password), "the password is in the log")
}

func mailAddresses(x *tester) {
	x.user(m{"emails": l{m{"value": "ann+tag@people.example"}}})
	long := x.post("/Users", x.userBody(m{"emails": l{m{"value": "ünï@пример.example"}}}))
	x.ok(long.status == 201 || long.status == 400, "got %d %s", long.status, long.raw)
}

func countries(x *tester) {
	made := x.user(m{"addresses": l{m{"type": "work", "country": "DE"}}})
	x.same("country", made.at("addresses.0.country"), "DE")
	x.wantError(x.post("/Users", x.userBody(m{"addresses": l{m{"type": "work", "country": "Germany"}}})), 400, "invalidValue")
}

func groupsOfUsers(x *tester) {
	user := x.user()
	group := x.group(m{"members": l{m{"value": user.id()}}})
	got := x.get("/Users/" + user.id())
	x.same("groups.value", got.at("groups.0.value"), group.id())
	x.same("groups.display", got.at("groups.0.display"), group.at("displayName"))
	x.want(x.get("/Groups/"+got.text("groups.0.value")), 200)
	outer := x.group(m{"members": l{m{"value": group.id(), "type": "Group"}}})
	kinds := map[any]any{}
	for _, in := range x.get("/Users/" + user.id()).list("groups") {
		kinds[at(in, "value")] = at(in, "type")
	}
	x.ok(kinds[group.id()] == "direct" && kinds[outer.id()] == "indirect", "got %v, want direct and indirect", kinds)
}

func groupsAreReadOnly(x *tester) {
	group := x.group()
	given := l{m{"value": group.id()}}
	user := x.user(m{"groups": given})
	x.want(x.put("/Users/"+user.id(), x.userBody(m{"groups": given})), 200)
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "add", "path": "groups", "value": given}), 400, "mutability")
	x.ok(x.get("/Users/"+user.id()).at("groups") == nil, "the user put himself into the group")
	x.ok(x.get("/Groups/"+group.id()).at("members") == nil, "the group has a member")
	x.patch("/Groups/"+group.id(), m{"op": "add", "path": "members", "value": l{m{"value": user.id()}}})
	x.same("groups", x.get("/Users/"+user.id()).at("groups.0.value"), group.id())
}

func filterCase(x *tester) {
	user := x.user(m{"userName": "Case@People.example", "externalId": "ABC"})
	x.same("userName", x.find("/Users", `userName eq "cASE@pEOPLE.EXAMPLE"`), []string{user.id()})
	x.same("externalId", x.find("/Users", `externalId eq "abc"`), []string{})
	x.same("externalId", x.find("/Users", `externalId eq "ABC"`), []string{user.id()})
	x.same("id", x.find("/Users", `id eq "`+strings.ToUpper(user.id())+`"`), []string{})
}

func caseIsKept(x *tester) {
	user := x.user(m{"userName": "KeEp@People.example", "externalId": "aBc", "displayName": "ÄnN"})
	got := x.get("/Users/" + user.id())
	x.same("userName", got.at("userName"), "KeEp@People.example")
	x.same("externalId", got.at("externalId"), "aBc")
	x.same("displayName", got.at("displayName"), "ÄnN")
}

func readOnlyIsIgnored(x *tester) {
	given := m{"id": "x", "meta": m{"created": "2001-01-01T00:00:00Z"}, "groups": l{m{"value": nobody}}}
	user := x.user(given)
	replaced := x.want(x.put("/Users/"+user.id(), x.userBody(given)), 200)
	for _, a := range []answer{user, replaced} {
		x.ok(a.id() != "x" && a.text("meta.created") != "2001-01-01T00:00:00Z" && a.at("groups") == nil, "what is readOnly was taken: %s", a.raw)
	}
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": "meta.created", "value": "2001-01-01T00:00:00Z"}), 400, "mutability")
	x.wantError(x.patch("/Users/"+user.id(), m{"op": "replace", "path": "id", "value": "x"}), 400, "mutability")
}
