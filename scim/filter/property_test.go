package filter

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func genName() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z][A-Za-z0-9_-]{0,6}`),
		rapid.SampledFrom([]string{"and", "or", "not", "NOT", "pr", "eq", "true", "null", "$ref"}),
	)
}

func genAttrPath() *rapid.Generator[AttrPath] {
	return rapid.Custom(func(t *rapid.T) AttrPath {
		p := AttrPath{Name: genName().Draw(t, "name")}
		if rapid.Bool().Draw(t, "dotted") {
			p.Sub = genName().Draw(t, "sub")
		}
		if rapid.Bool().Draw(t, "prefixed") {
			p.URI = rapid.OneOf(
				rapid.SampledFrom([]string{enterprise, coreUser, "urn:x:2.0"}),
				rapid.StringMatching(`urn(:[a-zA-Z0-9.-]{1,5}){1,4}`),
			).Draw(t, "uri")
		}
		return p
	})
}

func genValue() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.String().AsAny(),
		rapid.Map(rapid.Int64(), func(i int64) json.Number { return json.Number(strconv.FormatInt(i, 10)) }).AsAny(),
		rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) json.Number {
			return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
		}).AsAny(),
		rapid.SampledFrom([]any{true, false, nil}),
	)
}

// genExpr draws trees in the form that Parse yields: chains are flat and have
// at least two operands.
func genExpr(depth int, inValue bool) *rapid.Generator[Expr] {
	return rapid.Custom(func(t *rapid.T) Expr {
		kinds := []string{"compare", "present"}
		if depth > 0 {
			kinds = append(kinds, "and", "or", "not")
			if !inValue {
				kinds = append(kinds, "value path")
			}
		}
		inner := func(label string) Expr { return genExpr(depth-1, inValue).Draw(t, label) }
		switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
		case "and", "or":
			var operands []Expr
			for range rapid.IntRange(2, 4).Draw(t, "operands") {
				switch o := inner("operand").(type) {
				case And:
					if kind == "and" {
						operands = append(operands, o.Operands...)
						continue
					}
					operands = append(operands, o)
				case Or:
					if kind == "or" {
						operands = append(operands, o.Operands...)
						continue
					}
					operands = append(operands, o)
				default:
					operands = append(operands, o)
				}
			}
			if kind == "and" {
				return And{operands}
			}
			return Or{operands}
		case "not":
			return Not{inner("operand")}
		case "value path":
			p := genAttrPath().Draw(t, "attr")
			p.Sub = ""
			return ValuePath{p, genExpr(depth-1, true).Draw(t, "filter")}
		case "present":
			return Present{genAttrPath().Draw(t, "attr")}
		default:
			op := rapid.SampledFrom([]Op{Eq, Ne, Co, Sw, Ew, Gt, Ge, Lt, Le}).Draw(t, "op")
			return Compare{genAttrPath().Draw(t, "attr"), op, genValue().Draw(t, "value")}
		}
	})
}

// unlimited parses without limits: canonical text may be longer or deeper than
// the text it came from, as with attr[a or b].sub pr.
func unlimited(s string, kind ScimType) *parser {
	return &parser{src: s, kind: kind, maxNodes: 1 << 30, maxDepth: 1 << 30}
}

func TestStringParsesToTheSameTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genExpr(4, false).Draw(t, "filter")
		got, err := unlimited(e.String(), InvalidFilter).filter()
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatalf("%s: -drawn +parsed\n%s", e, diff)
		}
	})
}

func TestPathStringParsesToTheSamePath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Path{Attr: genAttrPath().Draw(t, "attr")}
		if rapid.Bool().Draw(t, "filtered") {
			p.Filter = genExpr(3, true).Draw(t, "filter")
		}
		got, err := unlimited(p.String(), InvalidPath).path()
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if diff := cmp.Diff(p, got); diff != "" {
			t.Fatalf("%s: -drawn +parsed\n%s", p, diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`userName eq "bjensen"`,
		`name.familyName co "O'Malley"`,
		enterprise + `:manager.value eq "26118915"`,
		`title pr and userType eq "Employee" or not (a.b gt 1.5e3 and c le null)`,
		`userType eq "Employee" and emails[type eq "work" and value co "@example.com"]`,
		`emails[type eq "work"].value eq "x"`,
		`roles[primary eq "True"] or active EQ false`,
		`meta.lastModified ge "2011-05-13T04:42:34Z"`,
		`a eq "\u00e9\ud83d\ude00\ud800"`,
		`not pr and not[and pr]`,
		`((((a pr))))`, `a[b[c pr]]`, "a eq 'x'", "\xff", "a eq \"\x00\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			got, ok := errors.AsType[*Error](err)
			if !ok || got.Detail == "" || got.Position < 1 || got.Position > characters(s)+1 {
				t.Fatalf("Parse(%q): %#v", s, err)
			}
			return
		}
		again, err := unlimited(e.String(), InvalidFilter).filter()
		if err != nil {
			t.Fatalf("Parse(%q) prints %q: %v", s, e, err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("Parse(%q) prints %q: -first +second\n%s", s, e, diff)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		"members", "name.familyName", `addresses[type eq "work"]`, `members[value eq "1"].displayName`,
		enterprise, enterprise + ":manager", enterprise + `:manager[value eq "x"]`, "urn:example:2.0", "urn:a.b.c",
		`emails[type eq "work" and not (primary eq true)].value`, "$ref", "members.$ref", "a[", "é", "a:b", "http://x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			if got, ok := errors.AsType[*Error](err); !ok || got.Detail == "" || got.Position < 1 {
				t.Fatalf("ParsePath(%q): %#v", s, err)
			}
			return
		}
		again, err := unlimited(p.String(), InvalidPath).path()
		if err != nil {
			t.Fatalf("ParsePath(%q) prints %q: %v", s, p, err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatalf("ParsePath(%q) prints %q: -first +second\n%s", s, p, diff)
		}
	})
}
