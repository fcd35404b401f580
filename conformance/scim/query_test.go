package scim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

func lists(x *tester) {
	first, second := x.user(), x.user()
	for _, a := range []answer{x.get("/Users"), x.post("/Users/.search", m{"schemas": l{searchURN}})} {
		x.want(a, 200)
		x.same("schemas", a.at("schemas"), l{listURN})
		for name, want := range map[string]int{"totalResults": 2, "itemsPerPage": 2, "startIndex": 1} {
			x.same(name, a.at(name), want)
		}
		got := ids(a)
		x.ok(len(got) == 2 && slices.Contains(got, first.id()) && slices.Contains(got, second.id()), "got %v", got)
	}
}

func nothingFound(x *tester) {
	for _, path := range []string{"/Users?filter=" + url.QueryEscape(`userName eq "nobody"`), "/Groups", "/Users?startIndex=99"} {
		a := x.want(x.get(path), 200)
		x.same(path+": totalResults", a.at("totalResults"), 0)
		x.ok(len(a.list("Resources")) == 0 && strings.Contains(a.raw, `"Resources":[]`), "%s: got %s", path, a.raw)
	}
}

// tooMany: the server may page instead of refusing.
func tooMany(x *tester) {
	for range 3 {
		x.user()
	}
	limit, _ := x.config().at("filter.maxResults").(float64)
	x.ok(limit > 0, "filter.maxResults is %v", limit)
	a := x.get(fmt.Sprintf("/Users?count=%d", int(limit)*1000))
	if a.status == 400 {
		x.wantError(a, 400, "tooMany")
		return
	}
	x.ok(float64(len(x.want(a, 200).list("Resources"))) <= limit, "more than maxResults")
	long := "userName pr" + strings.Repeat(" or userName pr", 5000)
	x.wantError(x.post("/Users/.search", m{"schemas": l{searchURN}, "filter": long}), 400, "tooMany", "invalidFilter")
}

func rootQueries(x *tester) {
	user, group := x.user(m{"displayName": "Both"}), x.group(m{"displayName": "Both"})
	x.user()
	a := x.want(x.post("/.search", m{"schemas": l{searchURN}, "filter": `displayName eq "both"`}), 200)
	got := ids(a)
	x.ok(len(got) == 2 && slices.Contains(got, user.id()) && slices.Contains(got, group.id()), "got %v of %s", got, a.raw)
	x.same("of one type", ids(x.want(x.post("/.search", m{"schemas": l{searchURN}, "filter": `meta.resourceType eq "Group"`}), 200)), []string{group.id()})
	x.same("of an attribute of one type", ids(x.want(x.post("/.search", m{"schemas": l{searchURN}, "filter": `userName eq "` + user.text("userName") + `"`}), 200)), []string{user.id()})
	x.want(x.get("/?filter="+url.QueryEscape(`displayName eq "both"`)), 200)
}

func badFilters(x *tester) {
	for _, filter := range []string{
		" ", "userName", "userName eq", `userName eq "a`, "userName eq a b", `eq "a"`, `userName is "a"`, `userName eq "a" and`, `and userName pr`, `(userName pr`, `userName pr)`,
		`not userName pr`, `emails[type eq "work"`, `userName regex "a"`, `userName eq 'a'`, `userName = "a"`, `userName eq "a" xor userName pr`, `nothing eq "a"`, `userName[value eq "a"]`,
	} {
		x.refuses(filter)
		x.wantError(x.post("/Users/.search", m{"schemas": l{searchURN}, "filter": filter}), 400, "invalidFilter")
	}
}

func unorderedTypes(x *tester) {
	for _, op := range []string{"gt", "ge", "lt", "le"} {
		x.refuses("active " + op + " true")
		x.refuses("emails.primary " + op + " true")
		x.refuses(`x509Certificates.value ` + op + ` "` + certificate() + `"`)
	}
}

func complexInFilters(x *tester) {
	user := x.user(m{"name": m{"givenName": "Ann"}, "emails": l{m{"value": "a@b.example", "type": "work"}}})
	x.refuses(`name eq "Ann"`)
	x.same("name.givenName", x.find("/Users", `name.givenName eq "ann"`), []string{user.id()})
	x.same("emails means emails.value", x.find("/Users", `emails eq "a@b.example"`), []string{user.id()})
	x.same("name pr", x.find("/Users", `name pr`), []string{user.id()})
}

// names are the users' names in the order of the answer.
func (x *tester) names(path string) []string {
	x.Helper()
	found := []string{}
	for _, resource := range x.want(x.get(path), 200).list("Resources") {
		name, _ := at(resource, "userName").(string)
		found = append(found, name)
	}
	return found
}

func sortOrder(x *tester) {
	for _, name := range []string{"b", "c", "a"} {
		x.user(m{"userName": name})
	}
	x.same("default", x.names("/Users?sortBy=userName"), []string{"a", "b", "c"})
	x.same("ascending", x.names("/Users?sortBy=userName&sortOrder=ascending"), []string{"a", "b", "c"})
	x.same("descending", x.names("/Users?sortBy=userName&sortOrder=descending"), []string{"c", "b", "a"})
	x.wantError(x.get("/Users?sortBy=userName&sortOrder=sideways"), 400)
}

func sortByType(x *tester) {
	for _, user := range []m{{"userName": "a", "externalId": "a"}, {"userName": "B", "externalId": "B"}, {"userName": "c", "externalId": "c"}} {
		x.user(user)
		x.second()
	}
	x.same("in any case", x.names("/Users?sortBy=userName"), []string{"a", "B", "c"})
	x.same("caseExact", x.names("/Users?sortBy=externalId"), []string{"B", "a", "c"})
	x.same("by date", x.names("/Users?sortBy=meta.created&sortOrder=descending"), []string{"c", "B", "a"})
}

func sorting(x *tester) {
	x.user(m{"userName": "a", "emails": l{m{"value": "z@x.example"}, m{"value": "a@x.example", "primary": true}}})
	x.user(m{"userName": "b", "emails": l{m{"value": "M@x.example"}, m{"value": "a@x.example"}}, "title": "t"})
	x.user(m{"userName": "c", "emails": l{m{"value": "b@x.example"}}, "title": "s"})
	x.user(m{"userName": "d"})
	x.same("by primary or first, missing last", x.names("/Users?sortBy=emails"), []string{"a", "c", "b", "d"})
	x.same("descending, missing first", x.names("/Users?sortBy=emails.value&sortOrder=descending"), []string{"d", "b", "c", "a"})
	x.same("missing last", x.names("/Users?sortBy=title")[:2], []string{"c", "b"})
	x.same("of .search", x.want(x.post("/Users/.search", m{"schemas": l{searchURN}, "sortBy": "userName", "sortOrder": "descending", "count": 1}), 200).at("Resources.0.userName"), "d")
}

func paging(x *tester) {
	for range 5 {
		x.user()
	}
	for query, want := range map[string][3]int{ // startIndex, itemsPerPage, resources
		"startIndex=0": {1, 5, 5}, "startIndex=-3&count=2": {1, 2, 2}, "count=0": {1, 0, 0}, "count=-1": {1, 0, 0}, "count=3": {1, 3, 3}, "startIndex=4&count=3": {4, 2, 2}, "startIndex=6": {6, 0, 0},
	} {
		a := x.want(x.get("/Users?"+query), 200)
		x.same(query, []any{a.at("totalResults"), a.at("startIndex"), a.at("itemsPerPage"), len(a.list("Resources"))}, []any{5, want[0], want[1], want[2]})
	}
	var walked []string
	for start := 1; start <= 5; start += 2 {
		walked = append(walked, ids(x.want(x.get(fmt.Sprintf("/Users?count=2&startIndex=%d", start)), 200))...)
	}
	slices.Sort(walked)
	x.ok(len(walked) == 5 && len(slices.Compact(walked)) == 5, "the pages have %v", walked)
	x.wantError(x.get("/Users?count=many"), 400)
}

func searches(x *tester) {
	user := x.user(m{"title": "T"})
	for path, query := range map[string]m{
		"/Users/.search": {"filter": `title eq "t"`}, "/.search": {"filter": `title eq "t"`, "startIndex": 1, "count": 10},
	} {
		x.same(path, ids(x.want(x.post(path, with(query, m{"schemas": l{searchURN}})), 200)), []string{user.id()})
		x.wantError(x.post(path, with(query, m{"schemas": l{listURN}})), 400)
		x.wantError(x.post(path, query), 400)
	}
	a := x.want(x.get("/Users?attributes=title&sortBy=userName&count=1&filter="+url.QueryEscape("title pr")), 200)
	b := x.want(x.post("/Users/.search", m{"schemas": l{searchURN}, "attributes": l{"title"}, "sortBy": "userName", "count": 1, "filter": "title pr"}), 200)
	x.same("GET and .search", a.body, b.body)
	x.want(x.post("/Groups/.search", m{"schemas": l{searchURN}}), 200)
	rootQueries(x)
}

func operators(x *tester) {
	ann := x.user(m{"userName": "ann", "title": "Head of Sales", "active": true})
	bob := x.user(m{"userName": "bob", "title": "Clerk", "active": false})
	cid := x.user(m{"userName": "cid"})
	for filter, want := range map[string][]answer{
		`userName eq "ann"`: {ann}, `title ne "clerk"`: {ann, cid}, `title co "of"`: {ann}, `title sw "cl"`: {bob}, `title ew "SALES"`: {ann}, `title pr`: {ann, bob},
		`userName gt "ann"`: {bob, cid}, `userName ge "bob"`: {bob, cid}, `userName lt "bob"`: {ann}, `userName le "bob"`: {ann, bob}, `active eq false`: {bob}, `active ne false`: {ann, cid},
	} {
		var expected []string
		for _, a := range want {
			expected = append(expected, a.id())
		}
		slices.Sort(expected)
		for _, variant := range []string{filter, strings.NewReplacer(" eq ", " EQ ", " ne ", " Ne ", " co ", " Co ", " sw ", " SW ", " ew ", " eW ", " pr", " PR", " gt ", " GT ", " ge ", " Ge ", " lt ", " LT ", " le ", " Le ").Replace(filter)} {
			got := x.find("/Users", variant)
			slices.Sort(got)
			x.same(variant, got, expected)
		}
	}
}

func precedence(x *tester) {
	a := x.user(m{"userName": "a", "title": "x", "nickName": "y"})
	b := x.user(m{"userName": "b", "title": "x"})
	c := x.user(m{"userName": "c", "nickName": "y"})
	for filter, want := range map[string][]string{
		`userName eq "c" or title eq "x" and nickName eq "y"`:   {a.id(), c.id()},
		`(userName eq "c" or title eq "x") and nickName eq "y"`: {a.id(), c.id()},
		`userName eq "b" or userName eq "a" and nickName pr`:    {a.id(), b.id()},
		`(userName eq "b" or userName eq "a") and nickName pr`:  {a.id()},
		`not (title pr) and nickName pr`:                        {c.id()},
		`not (title pr and nickName pr)`:                        {b.id(), c.id()},
	} {
		got := x.find("/Users", filter)
		slices.Sort(got)
		slices.Sort(want)
		x.same(filter, got, want)
	}
}

func valuePaths(x *tester) {
	a := x.user(m{"emails": l{m{"value": "a@x.example", "type": "work"}, m{"value": "a@y.example", "type": "home"}}})
	b := x.user(m{"emails": l{m{"value": "b@x.example", "type": "home"}}})
	for filter, want := range map[string][]string{
		`emails[type eq "work" and value co "@x.example"]`:       {a.id()},
		`emails[type eq "work" and value co "@y.example"]`:       {},
		`emails.type eq "work" and emails.value co "@y.example"`: {a.id()},
		`emails[type eq "home" and not (value sw "a")]`:          {b.id()},
		`emails[type eq "work"].value eq "a@x.example"`:          {a.id()},
		`emails[type eq "work" or value sw "b"] and userName pr`: {a.id(), b.id()},
		`not (emails[type eq "work"])`:                           {b.id()},
	} {
		got := x.find("/Users", filter)
		slices.Sort(got)
		slices.Sort(want)
		x.same(filter, got, want)
	}
	x.refuses(`emails[type eq "work" and emails[value pr]]`)
	x.refuses(`emails[name.givenName eq "a"]`)
}

func urnPaths(x *tester) {
	user := x.user(m{"schemas": l{userURN, enterpriseURN}, enterpriseURN: m{"department": "D", "manager": m{"value": "26118915"}}, "name": m{"givenName": "G"}})
	x.user()
	for _, filter := range []string{
		enterpriseURN + `:department eq "d"`, enterpriseURN + `:manager.value eq "26118915"`, userURN + `:name.givenName eq "G"`, enterpriseURN + ":department pr",
		userURN + `:userName eq "` + user.text("userName") + `"`,
	} {
		x.same(filter, x.find("/Users", filter), []string{user.id()})
	}
	x.refuses(`urn:example:nothing:department eq "d"`)
	x.same("selected", x.get("/Users/"+user.id()+"?attributes="+enterpriseURN+":department").at(enterpriseURN), m{"department": "D"})
	x.same("sorted", ids(x.want(x.get("/Users?count=1&sortBy="+enterpriseURN+":department"), 200)), []string{user.id()})
}

func listsInFilters(x *tester) {
	a := x.user(m{"emails": l{m{"value": "a@x.example"}, m{"value": "b@x.example"}}})
	b := x.user(m{"emails": l{}, "title": nil})
	x.same("any value", x.find("/Users", `emails.value eq "b@x.example"`), []string{a.id()})
	x.same("pr", x.find("/Users", "emails pr"), []string{a.id()})
	x.same("not pr", x.find("/Users", "not (emails pr)"), []string{b.id()})
	x.same("title pr", x.find("/Users", "title pr"), []string{})
	x.same("null", len(x.find("/Users", "title eq null")), 2)
}

func datesInFilters(x *tester) {
	user := x.user()
	created, err := time.Parse(time.RFC3339Nano, user.text("meta.created"))
	if err != nil {
		x.Fatal(err)
	}
	east := created.In(time.FixedZone("east", 5*3600)).Format(time.RFC3339Nano)
	for filter, found := range map[string]bool{
		"eq " + quote(east): true, "le " + quote(east): true, "lt " + quote(east): false, "gt " + quote(created.Add(-time.Second).In(time.FixedZone("west", -7*3600)).Format(time.RFC3339Nano)): true,
		"gt " + quote(created.Add(time.Second).Format(time.RFC3339Nano)): false, `ge "2011-05-13T04:42:34Z"`: true,
	} {
		x.ok((len(x.find("/Users", "meta.created "+filter)) == 1) == found, "meta.created %s: want %t", filter, found)
	}
	x.refuses(`meta.created gt "yesterday"`)
}

func quote(text string) string { return `"` + text + `"` }

func injections(x *tester) {
	user := x.user()
	for _, value := range []string{`' or '1'='1`, `'; drop table memberships; --`, `%`, `_`, `\\' or 1=1 --`, `') union select 1 --`, `$1`, `{\"$ne\":null}`} {
		for _, filter := range []string{`userName eq "%s"`, `userName co "%s"`, `emails[value sw "%s"]`, `externalId eq "%s"`, enterpriseURN + `:department ew "%s"`} {
			x.same(value, x.find("/Users", fmt.Sprintf(filter, value)), []string{})
		}
	}
	a := x.get("/Users?sortBy=userName%3B--")
	x.ok(a.status < 500, "got %d %s", a.status, a.raw)
	x.want(x.get("/Users/"+user.id()), 200)
}

func sensitiveFilters(x *tester) {
	for _, a := range []answer{
		x.get("/Users?filter=" + url.QueryEscape(`password eq "x"`)), x.post("/Users/.search", m{"schemas": l{searchURN}, "filter": `password sw "x"`}),
		x.get("/Users?sortBy=password"),
	} {
		x.ok(a.status == 403 && a.text("scimType") == "sensitive" || a.status == 400, "%s: got %d %s", a.request, a.status, a.raw)
	}
}
