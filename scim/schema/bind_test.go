package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rolecall/rolecall/scim/filter"
)

func bind(t testing.TB, rt *ResourceType, text string) Condition {
	t.Helper()
	e, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rt.Bind(e)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func TestBind(t *testing.T) {
	user, group := resourceType(t, "User"), resourceType(t, "Group")
	userName := Attr{Path: []string{"userName"}, Type: String, Column: ColumnUserName}
	emails := Attr{Path: []string{"emails"}, Type: Complex, MultiValued: true}
	value := Attr{Path: []string{"value"}, Type: String}
	manager := Attr{Path: []string{EnterpriseUserURN, "manager", "value"}, Type: String}
	created := Attr{Path: []string{"meta", "created"}, Type: DateTime, Column: ColumnCreated}
	members := Attr{Path: []string{"members"}, Type: Complex, MultiValued: true, Column: ColumnMembers}
	tests := []struct {
		t    *ResourceType
		in   string
		want Condition
	}{
		{user, `USERNAME eq "Ärger"`, Compare{userName, filter.Eq, "ärger"}},
		{user, `userName ne "B"`, Not{Compare{userName, filter.Eq, "b"}}},
		{user, `externalId sw "B"`, Compare{Attr{Path: []string{"externalId"}, Type: String, CaseExact: true, Column: ColumnExternalID}, filter.Sw, "B"}},
		{user, `active eq "True"`, Compare{Attr{Path: []string{"active"}, Type: Boolean, Column: ColumnActive}, filter.Eq, true}},
		{user, `meta.created ge "2011-05-13T06:42:34.5+02:00"`, Compare{created, filter.Ge, "2011-05-13T04:42:34.500000000Z"}},
		{user, `meta[created ge "2011-05-13T04:42:34"]`, And{[]Condition{
			Present{Attr{Path: []string{"meta", "resourceType"}, Type: String, CaseExact: true, Column: ColumnResourceType}},
			Compare{created, filter.Ge, "2011-05-13T04:42:34.000000000Z"},
		}}},
		{user, `emails co "X"`, Some{emails, Compare{value, filter.Co, "x"}}},
		{user, `emails.value ne "x"`, Not{Some{emails, Compare{value, filter.Eq, "x"}}}},
		{user, `emails pr`, Present{emails}},
		{user, `emails.type pr`, Some{emails, Present{Attr{Path: []string{"type"}, Type: String}}}},
		{user, `emails[primary eq true and not (value pr)]`, Some{emails, And{[]Condition{
			Compare{Attr{Path: []string{"primary"}, Type: Boolean}, filter.Eq, true}, Not{Present{value}},
		}}}},
		{user, `manager eq "1"`, Compare{manager, filter.Eq, "1"}},
		{user, EnterpriseUserURN + `:manager.value eq "1"`, Compare{manager, filter.Eq, "1"}},
		{user, `manager[value eq "1"]`, And{[]Condition{
			Present{Attr{Path: []string{EnterpriseUserURN, "manager"}, Type: Complex}}, Compare{manager, filter.Eq, "1"},
		}}},
		{user, `name pr`, Present{Attr{Path: []string{"name"}, Type: Complex}}},
		{user, `title eq null or title eq ""`, Or{[]Condition{
			Not{Present{Attr{Path: []string{"title"}, Type: String}}}, Not{Present{Attr{Path: []string{"title"}, Type: String}}},
		}}},
		{user, `userName ne null and userName co ""`, And{[]Condition{Present{userName}, Present{userName}}}},
		{user, `groups.value eq "G"`, Some{Attr{Path: []string{"groups"}, Type: Complex, MultiValued: true, Column: ColumnGroups}, Compare{value, filter.Eq, "g"}}},
		{user, `schemas eq "` + UserURN + `"`, Some{
			Attr{Path: []string{"schemas"}, Type: Reference, MultiValued: true, Column: ColumnSchemas},
			Compare{Attr{Path: []string{"value"}, Type: Reference}, filter.Eq, strings.ToLower(UserURN)},
		}},
		{group, `members eq "u"`, Some{members, Compare{value, filter.Eq, "u"}}},
		{group, `members[value eq "u" and type eq "User"]`, Some{members, And{[]Condition{
			Compare{value, filter.Eq, "u"}, Compare{Attr{Path: []string{"type"}, Type: String}, filter.Eq, "user"},
		}}}},
		{group, `displayName eq "G"`, Compare{Attr{Path: []string{"displayName"}, Type: String, Column: ColumnDisplayName}, filter.Eq, "g"}},
		{user, `displayName eq "G"`, Compare{Attr{Path: []string{"displayName"}, Type: String}, filter.Eq, "g"}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, bind(t, tt.t, tt.in)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestBindErrors(t *testing.T) {
	tests := []struct{ resource, in, path string }{
		{"User", `nothing eq "x"`, "nothing"},
		{"User", `name.nothing pr`, "name.nothing"},
		{"User", `urn:x:y:userName pr`, "urn:x:y:userName"},
		{"User", EnterpriseUserURN + ` pr`, EnterpriseUserURN},
		{"User", `password eq "x"`, "password"},
		{"User", `password pr`, "password"},
		{"TestResource", `secret pr`, "secret"},
		{"User", `name eq "x"`, "name"},
		{"User", `meta eq "x"`, "meta"},
		{"User", `addresses eq "x"`, "addresses"},
		{"User", `active gt true`, "active"},
		{"User", `active co "t"`, "active"},
		{"User", `active eq "yes"`, "active"},
		{"User", `active eq 1`, "active"},
		{"User", `x509Certificates.value gt "AQ=="`, "x509Certificates.value"},
		{"User", `userName eq 5`, "userName"},
		{"User", `userName eq true`, "userName"},
		{"User", `userName gt null`, "userName"},
		{"User", `userName ge ""`, "userName"},
		{"User", `userName co null`, "userName"},
		{"User", `userName eq "a\u0000"`, "userName"},
		{"User", `meta.created gt "yesterday"`, "meta.created"},
		{"User", `meta.created sw "2011"`, "meta.created"},
		{"User", `meta.created eq ""`, "meta.created"},
		{"TestResource", `number eq "5"`, "number"},
		{"TestResource", `number co 5`, "number"},
		{"TestResource", `amount gt 1e999`, "amount"},
		{"User", `emails[nothing eq "x"]`, "nothing"},
		{"User", `emails[emails.value eq "x"]`, "emails.value"},
		{"User", `userName[value eq "x"]`, "userName"},
		{"User", `groups.$ref pr`, "groups.$ref"},
		{"User", `groups[type eq "direct"]`, "type"},
		{"Group", `members.$ref eq "x"`, "members.$ref"},
		{"Group", `userName eq "x"`, "userName"},
		{"User", `title pr and (title pr or not (nothing pr))`, "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			e, err := filter.Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			c, err := resourceType(t, tt.resource).Bind(e)
			wantError(t, err, filter.InvalidFilter, tt.path)
			if c != nil {
				t.Errorf("a condition beside the error: %v", c)
			}
		})
	}
}

func TestBindSort(t *testing.T) {
	user := resourceType(t, "User")
	tests := []struct {
		in   string
		want SortKey
	}{
		{"username", SortKey{Attr: Attr{Path: []string{"userName"}, Type: String, Column: ColumnUserName}}},
		{"emails", SortKey{Attr{Path: []string{"emails"}, Type: Complex, MultiValued: true}, Attr{Path: []string{"value"}, Type: String}}},
		{"name.familyName", SortKey{Attr: Attr{Path: []string{"name", "familyName"}, Type: String}}},
	}
	for _, tt := range tests {
		p, err := filter.ParseAttrPath(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := user.BindSort(p)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.in, diff)
		}
	}
	for in, scimType := range map[string]filter.ScimType{"x": filter.InvalidPath, "name": InvalidValue, "addresses": InvalidValue, "password": InvalidValue} {
		_, err := user.BindSort(filter.AttrPath{Name: in})
		wantError(t, err, scimType, in)
	}
}

func TestSearchDocument(t *testing.T) {
	doc := decode(t, `{`+testSchemas+`,"id":"X","exact":"Ä","inexact":"STRASSE Straße","number":5,"amount":1.50,"flag":false,
		"date":"2011-05-13T06:42:34+02:00","blob":"AQ==","link":"../A","secret":"s","tags":["A","b"],"pair":{"left":""},
		"items":[{"value":"A","primary":true},{"type":""}],"meta":{"created":"2011-05-13T04:42:34.123Z"},"unknown":1}`)
	want := decode(t, `{"schemas":[{"value":"urn:ietf:params:scim:schemas:test:2.0:testresource"},{"value":"urn:ietf:params:scim:schemas:extension:test:2.0:testresource"}],
		"id":"X","identifier":"1","exact":"Ä","inexact":"strasse strasse","number":5,"amount":1.5,"flag":false,
		"date":"2011-05-13T04:42:34.000000000Z","blob":"AQ==","link":"../A","tags":[{"value":"a"},{"value":"b"}],
		"items":[{"value":"a","primary":true}],"meta":{"created":"2011-05-13T04:42:34.123000000Z"},
		"urn:ietf:params:scim:schemas:extension:test:2.0:TestResource":{"extRequired":"x"}}`)
	if diff := cmp.Diff(want, resourceType(t, "TestResource").SearchDocument(doc)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMatch(t *testing.T) {
	rt := resourceType(t, "TestResource")
	doc := rt.SearchDocument(decode(t, `{`+testSchemas+`,"exact":"Ab","inexact":"Über Ab","number":9007199254740993,"amount":0.1,"flag":true,
		"date":"2011-05-13T04:42:34.5Z","tags":["One","Two"],"pair":{"left":"L"},
		"items":[{"value":"a","type":"work","weight":2},{"value":"b","type":"home","primary":true}]}`))
	tests := []struct {
		in   string
		want bool
	}{
		{`exact eq "Ab"`, true},
		{`exact eq "ab"`, false},
		{`inexact eq "ÜBER aB"`, true},
		{`inexact co "ER A"`, true},
		{`inexact sw "über"`, true},
		{`inexact ew "AB"`, true},
		{`inexact ew "über"`, false},
		{`inexact gt "a" and inexact lt "z"`, false}, // ü sorts after z, byte by byte
		{`exact ge "Ab" and exact le "Ab"`, true},
		{`exact gt "Ab" or exact lt "Ab"`, false},
		{`number gt 9007199254740992`, true},
		{`number eq 9007199254740992`, false},
		{`number lt 9007199254740993.5e0`, true},
		{`number gt 1.5`, true},
		{`amount eq 0.10`, true},
		{`amount lt 0.1`, false},
		{`flag eq true`, true},
		{`flag ne "FALSE"`, true},
		{`date eq "2011-05-13T06:42:34.50+02:00"`, true},
		{`date gt "2011-05-13T04:42:34Z"`, true},
		{`date lt "2011-05-13T04:42:34.49Z"`, false},
		{`tags eq "two"`, true},
		{`tags ne "two"`, false},
		{`tags ne "three"`, true},
		{`tags[value sw "o"] and tags.value pr`, false}, // tags has no sub-attribute
		{`tags pr`, true},
		{`items.value eq "b"`, true},
		{`items.value ne "b"`, false},
		{`items[type ne "home"]`, true},
		{`items[value eq "a" and type eq "home"]`, false},
		{`items[value eq "a" and type eq "work" and weight ge 2]`, true},
		{`items[primary eq "True"]`, true},
		{`items[not (primary pr)]`, true},
		{`items.weight pr`, true},
		{`blob pr or link pr`, false},
		{`blob eq null and not (link ne null)`, true},
		{`link ne "x"`, true},
		{`not (link eq "x")`, true},
		{`pair pr and pair.left pr and not (pair.right pr)`, true},
		{`pair[not (right pr)]`, true},
		{`urn:ietf:params:scim:schemas:extension:test:2.0:TestResource:extString pr`, false},
		{`extRequired eq "X"`, true},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			e, err := filter.Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			c, err := rt.Bind(e)
			if err != nil {
				if strings.Contains(tt.in, "tags.value") {
					return
				}
				t.Fatal(err)
			}
			if got := Match(c, doc); got != tt.want {
				t.Errorf("%s: %v", tt.in, got)
			}
		})
	}
}

// A value compares as its search form does, whatever its case, offset or
// notation: the reference here knows nothing of search documents.
func TestMatchAgreesWithTheValues(t *testing.T) {
	rt := resourceType(t, "TestResource")
	ops := []filter.Op{filter.Eq, filter.Ne, filter.Gt, filter.Ge, filter.Lt, filter.Le}
	holds := func(op filter.Op, order int) bool {
		return map[filter.Op]bool{
			filter.Eq: order == 0, filter.Ne: order != 0, filter.Gt: order > 0, filter.Ge: order >= 0, filter.Lt: order < 0, filter.Le: order <= 0,
		}[op]
	}
	check := func(t *rapid.T, name string, have, want string, op filter.Op, order int) {
		doc := rt.SearchDocument(map[string]any{name: decode(t, `{"v":`+have+`}`)["v"]})
		text := fmt.Sprintf("%s %s %s", name, op, want)
		e, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := rt.Bind(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := Match(c, doc); got != holds(op, order) {
			t.Fatalf("%s on %s: %v", text, have, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		op := rapid.SampledFrom(ops).Draw(t, "op")
		x, y := rapid.Int64().Draw(t, "x"), rapid.Int64().Draw(t, "y")
		check(t, "number", strconv.FormatInt(x, 10), strconv.FormatInt(y, 10), op, compare(x, y))
		f, g := rapid.Float64().Draw(t, "f"), rapid.Float64().Draw(t, "g")
		check(t, "amount", strconv.FormatFloat(f, 'e', -1, 64), strconv.FormatFloat(g, 'g', 17, 64), op, compare(f, g))
		p := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns"))
		q := p.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "d")))
		zone := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(t, "zone")*60)
		check(t, "date", strconv.Quote(p.In(zone).Format(time.RFC3339Nano)), strconv.Quote(q.UTC().Format(time.RFC3339Nano)), op, p.Compare(q))
	})
}

func compare[T int64 | float64](x, y T) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func TestFold(t *testing.T) {
	for _, pair := range [][2]string{
		{"ABC", "abc"},
		{"Straße", "STRASSE"},
		{"e\u0301", "É"},
		{"ΜΆΪΟΣ", "μάϊος"},
		{"Å", "å"},
		{"ﬁ", "FI"},
		{"Ꭰ", "ꭰ"},
		{"Ᏸ", "ᏸ"},
	} {
		if x, y := Fold(pair[0]), Fold(pair[1]); x != y {
			t.Errorf("Fold(%q) = %q, Fold(%q) = %q", pair[0], x, pair[1], y)
		}
	}
	if Fold("a") == Fold("ä") {
		t.Error("letters with and without marks differ")
	}
	for r := range unicode.MaxRune + 1 {
		folded := Fold(string(r))
		if again := Fold(folded); again != folded {
			t.Errorf("Fold(%q) = %q isn't stable", r, folded)
		}
		// Where case is a matter of two letters, both have one fold.
		if l := unicode.ToLower(r); l != r && unicode.ToUpper(l) == r && Fold(string(l)) != folded {
			t.Errorf("Fold(%q) != Fold(%q)", r, l)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if x := Fold(s); Fold(x) != x {
			t.Fatalf("Fold(%q) = %q isn't stable", s, x)
		}
	})
}

func TestParseDateTime(t *testing.T) {
	for in, want := range map[string]string{
		"2011-05-13T04:42:34Z":                  "2011-05-13T04:42:34.000000000Z",
		"2011-05-13T04:42:34":                   "2011-05-13T04:42:34.000000000Z",
		"2011-05-13T04:42:34.1-05:30":           "2011-05-13T10:12:34.100000000Z",
		"2011-05-13T04:42:34.1234567891234567Z": "2011-05-13T04:42:34.123456789Z",
	} {
		got, err := ParseDateTime(in)
		if err != nil || FormatDateTime(got) != want {
			t.Errorf("ParseDateTime(%s) = %s, %v, want %s", in, FormatDateTime(got), err, want)
		}
	}
	for _, in := range []string{
		"", "2011-05-13", "2011-05-13t04:42:34z", "2011-05-13T04:42Z", "2011-05-13T04:42:34,5Z", "2011-05-13T25:00:00Z",
		"2011-05-13T04:42:34+25:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "12011-05-13T04:42:34Z",
	} {
		if got, err := ParseDateTime(in); err == nil {
			t.Errorf("ParseDateTime(%s) = %s", in, got)
		}
	}
	texts := []string{}
	for _, at := range []int64{-1e10, -1, 0, 1, 1e9, 1e10} {
		texts = append(texts, FormatDateTime(time.Unix(at, 0)))
	}
	if !slices.IsSorted(texts) {
		t.Errorf("not in order: %v", texts)
	}
}
