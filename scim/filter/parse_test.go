package filter

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	coreUser   = "urn:ietf:params:scim:schemas:core:2.0:User"
)

func attr(name string) AttrPath { return AttrPath{Name: name} }

func eq(name string, value any) Expr { return Compare{attr(name), Eq, value} }

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     Expr
	}{
		// RFC 7644 §3.4.2.2, figure 2.
		{"figure 2 eq", `userName eq "bjensen"`, eq("userName", "bjensen")},
		{"figure 2 sub-attribute", `name.familyName co "O'Malley"`, Compare{AttrPath{Name: "name", Sub: "familyName"}, Co, "O'Malley"}},
		{"figure 2 urn", `urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`, Compare{AttrPath{URI: coreUser, Name: "userName"}, Sw, "J"}},
		{"figure 2 pr", `title pr`, Present{attr("title")}},
		{"figure 2 gt", `meta.lastModified gt "2011-05-13T04:42:34Z"`, Compare{AttrPath{Name: "meta", Sub: "lastModified"}, Gt, "2011-05-13T04:42:34Z"}},
		{"figure 2 and", `title pr and userType eq "Employee"`, And{[]Expr{Present{attr("title")}, eq("userType", "Employee")}}},
		{"figure 2 or", `title pr or userType eq "Intern"`, Or{[]Expr{Present{attr("title")}, eq("userType", "Intern")}}},
		{
			"figure 2 schemas", `schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`,
			eq("schemas", enterprise),
		},
		{"figure 2 grouping", `userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")`, And{[]Expr{
			eq("userType", "Employee"),
			Or{[]Expr{Compare{attr("emails"), Co, "example.com"}, Compare{AttrPath{Name: "emails", Sub: "value"}, Co, "example.org"}}},
		}}},
		{"figure 2 not", `userType ne "Employee" and not (emails co "example.com")`, And{[]Expr{
			Compare{attr("userType"), Ne, "Employee"}, Not{Compare{attr("emails"), Co, "example.com"}},
		}}},
		{"figure 2 value path", `userType eq "Employee" and emails[type eq "work" and value co "@example.com"]`, And{[]Expr{
			eq("userType", "Employee"),
			ValuePath{attr("emails"), And{[]Expr{eq("type", "work"), Compare{attr("value"), Co, "@example.com"}}}},
		}}},
		{"figure 2 two value paths", `emails[type eq "work"] or ims[type eq "xmpp"]`, Or{[]Expr{
			ValuePath{attr("emails"), eq("type", "work")}, ValuePath{attr("ims"), eq("type", "xmpp")},
		}}},

		{"and binds tighter than or", `a pr or b pr and c pr`, Or{[]Expr{Present{attr("a")}, And{[]Expr{Present{attr("b")}, Present{attr("c")}}}}}},
		{"not binds tightest", `not (a pr) and b pr`, And{[]Expr{Not{Present{attr("a")}}, Present{attr("b")}}}},
		{"chains are flat", `(a pr and b pr) and (c pr and d pr)`, And{[]Expr{
			Present{attr("a")}, Present{attr("b")}, Present{attr("c")}, Present{attr("d")},
		}}},
		{"operators in any case", `userName EQ "x" AND NOT (title Pr)`, And{[]Expr{eq("userName", "x"), Not{Present{attr("title")}}}}},
		{"spaces", "  ( userName\teq  \"x\" )and( b pr )  ", And{[]Expr{eq("userName", "x"), Present{attr("b")}}}},
		{"extension sub-attribute", enterprise + `:manager.value eq "1"`, Compare{AttrPath{enterprise, "manager", "value"}, Eq, "1"}},
		{"extension $ref", enterprise + `:manager.$ref pr`, Present{AttrPath{enterprise, "manager", "$ref"}}},
		{"schema that is a URL", `http://example.com/2.0/Group:x-1_y eq 1`, Compare{AttrPath{"http://example.com/2.0/Group", "x-1_y", ""}, Eq, json.Number("1")}},
		{"escapes", `a eq "\u00e9\"\\\/\n"`, eq("a", "é\"\\/\n")},
		{"brackets in a string", `a eq ") or ] (" `, eq("a", ") or ] (")},
		{"number", `a ge -1.5e+3`, Compare{attr("a"), Ge, json.Number("-1.5e+3")}},
		{"true false null", `a eq true or b ne False or c eq null`, Or{[]Expr{eq("a", true), Compare{attr("b"), Ne, false}, eq("c", nil)}}},
		{"attributes named like keywords", `not pr and and eq 1 or not eq 2 or not[or pr]`, Or{[]Expr{
			And{[]Expr{Present{attr("not")}, eq("and", json.Number("1"))}},
			eq("not", json.Number("2")),
			ValuePath{attr("not"), Present{attr("or")}},
		}}},
		{"E10 comparison behind a value path", `emails[type eq "work"].value eq "x"`, ValuePath{attr("emails"), And{[]Expr{
			eq("type", "work"), eq("value", "x"),
		}}}},
		{"E10 behind a conjunction", `emails[type eq "work" and primary eq true].value pr`, ValuePath{attr("emails"), And{[]Expr{
			eq("type", "work"), eq("primary", true), Present{attr("value")},
		}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse(%s): -want +got\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, in string
		position int
		detail   string
	}{
		{"empty", "", 1, "attribute path"},
		{"no operator", "userName", 9, "operators"},
		{"unknown operator", `userName is "x"`, 10, "operators"},
		{"no value", "userName eq ", 13, "JSON value"},
		{"unquoted value", "userName eq secret", 13, "JSON value"},
		{"single quotes", "userName eq 'x'", 13, "JSON value"},
		{"bad number", "a eq 01", 6, "JSON value"},
		{"hexadecimal", "a eq 0x1", 6, "JSON value"},
		{"name beyond ASCII", `é eq "x`, 1, "attribute path"},
		{"open string", `a eq "é" and b eq "x`, 19, "closing double quote"},
		{"bad escape", `a eq "\x"`, 6, "escapes"},
		{"control character", "a eq \"\x01\"", 6, "escapes"},
		{"trailing word", `a pr b`, 6, "end of the filter"},
		{"trailing and", `a pr and`, 9, "attribute path"},
		{"unbalanced (", `(a pr`, 6, `")"`},
		{"unbalanced )", `a pr)`, 5, "end of the filter"},
		{"unbalanced [", `emails[type pr`, 15, `"]"`},
		{"not without parentheses", `not userName eq "x"`, 5, `"(" after "not"`},
		{"nested value path", `a[b[c pr]]`, 3, "no value path within"},
		{"empty brackets", `a[]`, 3, "attribute path"},
		{"brackets behind a sub-attribute", `a.b[c pr]`, 4, "without sub-attribute"},
		{"two dots", `a.b.c pr`, 1, "attribute path"},
		{"name with a digit first", `1a pr`, 1, "attribute path"},
		{"a prefix that is no URI", `a:b pr`, 1, "attribute path"},
		{"schema URN alone", `urn:x:2.0 pr`, 1, "attribute path"},
		{"sub-attribute behind brackets", `a[b pr]. eq 1`, 9, `after "."`},
		{"value path that is compared", `a[b pr] eq 1`, 9, "end of the filter"},
		{"invalid UTF-8", "a eq \"\xff\"", 7, "UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(tt.in)
			got, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("Parse(%s) = %v, %v, want an *Error", tt.in, e, err)
			}
			if got.ScimType != InvalidFilter || got.Position != tt.position || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("Parse(%s): %v; want invalidFilter at %d saying %q", tt.in, got, tt.position, tt.detail)
			}
			if strings.Contains(got.Error(), "secret") {
				t.Error("the error repeats the literal")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	long := `a eq "` + strings.Repeat("é", MaxLength-7) + `"`
	chain := strings.TrimSuffix(strings.Repeat("a pr or ", MaxNodes-1), " or ")
	deep := strings.Repeat("(", MaxDepth) + "a pr" + strings.Repeat(")", MaxDepth)
	for _, in := range []string{long, chain, deep} {
		if _, err := Parse(in); err != nil {
			t.Errorf("at the limit: %v", err)
		}
	}
	tests := []struct {
		name, in string
		want     ScimType
	}{
		{"length", long + " ", InvalidFilter},
		{"nodes", chain + " or a pr", TooMany},
		{"depth", "(" + deep + ")", InvalidFilter},
		{"depth of not", strings.Repeat("not (", MaxDepth+1) + "a pr" + strings.Repeat(")", MaxDepth+1), InvalidFilter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.in)
			if got, ok := errors.AsType[*Error](err); !ok || got.ScimType != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	tests := []struct {
		name, in string
		want     Path
	}{
		// RFC 7644 §3.5.2, figure 7 and the examples below it.
		{"members", "members", Path{Attr: attr("members")}},
		{"sub-attribute", "name.familyName", Path{Attr: AttrPath{Name: "name", Sub: "familyName"}}},
		{"value path", `addresses[type eq "work"]`, Path{attr("addresses"), eq("type", "work")}},
		{"value path and sub-attribute", `members[value eq "2819c223-7f76-453a-919d-413861904646"].displayName`, Path{
			AttrPath{Name: "members", Sub: "displayName"}, eq("value", "2819c223-7f76-453a-919d-413861904646"),
		}},
		// What the grammar alone can't tell from an attribute of ...:2.0.
		{"extension URN", enterprise, Path{Attr: AttrPath{URI: strings.TrimSuffix(enterprise, ":User"), Name: "User"}}},
		{"URN that ends in a version", "urn:example:schemas:2.0", Path{Attr: AttrPath{URI: "urn:example:schemas:2.0"}}},
		{"URN that ends in dots", "urn:example:com.example.User", Path{Attr: AttrPath{URI: "urn:example:com.example.User"}}},
		{"extension attribute", enterprise + ":manager", Path{Attr: AttrPath{URI: enterprise, Name: "manager"}}},
		{"E6 extension value path", enterprise + `:manager[value eq "x"]`, Path{AttrPath{URI: enterprise, Name: "manager"}, eq("value", "x")}},
		{"core URN", "urn:ietf:params:scim:schemas:core:2.0:Group:members", Path{Attr: AttrPath{
			URI: "urn:ietf:params:scim:schemas:core:2.0:Group", Name: "members",
		}}},
		{"E7 compared as a string", `roles[primary eq "True"].value`, Path{AttrPath{Name: "roles", Sub: "value"}, eq("primary", "True")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParsePath(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParsePath(%s): -want +got\n%s", tt.in, diff)
			}
			if got.String() != tt.in {
				t.Errorf("String() = %s, want %s", got, tt.in)
			}
		})
	}
}

func TestParsePathErrors(t *testing.T) {
	for _, in := range []string{
		"", " ", "a b", "a.", "a..b", ".a", "a[", "a[]", "a[b pr", "a[b pr].", "a[b pr].c.d", "a[b pr][c pr]", "a[b[c pr]]",
		"a.b[c pr]", "urn:x:2.0[c pr]", "1a", "a/b", "$", "é", `members[value eq "` + strings.Repeat("x", MaxPathLength) + `"]`,
	} {
		_, err := ParsePath(in)
		if got, ok := errors.AsType[*Error](err); !ok || got.ScimType != InvalidPath {
			t.Errorf("ParsePath(%.40s): %v, want invalidPath", in, err)
		}
	}
}

func TestParseAttrPath(t *testing.T) {
	got, err := ParseAttrPath(" " + enterprise + ":manager.displayName ")
	if want := (AttrPath{enterprise, "manager", "displayName"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, in := range []string{"", `emails[type eq "work"]`, "a,b"} {
		if got, err := ParseAttrPath(in); err == nil {
			t.Errorf("ParseAttrPath(%q) = %+v, want an error", in, got)
		}
	}
}

func TestString(t *testing.T) {
	tests := []struct{ in, want string }{
		{`((a pr)) AND ((b pr) OR (c pr))`, `a pr and (b pr or c pr)`},
		{`(a pr and b pr) or c pr`, `a pr and b pr or c pr`},
		{`NOT(not(a eq "<é\u000b>"))`, `not (not (a eq "<é\u000b>"))`},
		{`emails[(type eq "a" or type eq "b")].value EQ "c"`, `emails[(type eq "a" or type eq "b") and value eq "c"]`},
		{`a ne TRUE or b eq Null`, `a ne true or b eq null`},
	}
	for _, tt := range tests {
		e, err := Parse(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.String(); got != tt.want {
			t.Errorf("Parse(%s).String() = %s, want %s", tt.in, got, tt.want)
		}
	}
}
