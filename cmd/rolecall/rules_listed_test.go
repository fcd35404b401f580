package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ruleCounts is how many rules each portal has.
var ruleCounts = map[string]int{"1N": 20, "TX": 26, "SI": 20, "IN": 16, "EM": 42}

// listedRule is a line of docs/reference/rules.md.
var listedRule = regexp.MustCompile("^\\| (1N|TX|SI|IN|EM)-R(\\d\\d) \\| (`Test\\w+`|issue \\d|portal) \\| .{10,} \\|$")

// TestEveryRuleIsTestedOrListed holds the reference to the tests: each of the
// 124 rules is there once, those that it calls tested are played by that test,
// and no others are.
func TestEveryRuleIsTestedOrListed(t *testing.T) {
	played := playedRules(t)
	text := must[[]byte](t)(os.ReadFile(filepath.Join("..", "..", "docs", "reference", "rules.md")))
	listed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		found := listedRule.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			if strings.HasPrefix(line, "| ") && strings.Contains(line, "-R") {
				t.Errorf("not the form of a rule: %s", line)
			}
			continue
		}
		name := found[1] + "-R" + found[2]
		if listed[name] != "" {
			t.Errorf("%s is listed twice", name)
		}
		listed[name] = strings.Trim(found[3], "`")
	}
	total := 0
	for portal, count := range ruleCounts {
		for i := 1; i <= count; i++ {
			name := fmt.Sprintf("%s-R%02d", portal, i)
			where := listed[name]
			delete(listed, name)
			total++
			switch by := played[name]; {
			case where == "":
				t.Errorf("%s is not listed", name)
			case strings.HasPrefix(where, "Test") && by != where:
				t.Errorf("%s is listed as tested by %s, and is by %q", name, where, by)
			case !strings.HasPrefix(where, "Test") && by != "":
				t.Errorf("%s is listed for %s, and tested by %s", name, where, by)
			}
			delete(played, name)
		}
	}
	if total != 124 || len(listed) != 0 || len(played) != 0 {
		t.Errorf("%d rules; listed beside them %v, played %v", total, listed, played)
	}
}

// playedRules returns the names of the rules that tests of this package play,
// and the test that plays each, read from their sources: so the answer does not
// depend on which tests are run.
func playedRules(t *testing.T) map[string]string {
	t.Helper()
	played := map[string]string{}
	for _, path := range must[[]string](t)(filepath.Glob("rules_*_test.go")) {
		file := must[*ast.File](t)(parser.ParseFile(token.NewFileSet(), path, nil, 0))
		test := ""
		ast.Inspect(file, func(n ast.Node) bool {
			if f, isFunc := n.(*ast.FuncDecl); isFunc && strings.HasPrefix(f.Name.Name, "TestRules") {
				test = f.Name.Name
			}
			call, isCall := n.(*ast.CallExpr)
			if !isCall {
				return true
			}
			selector, isMethod := call.Fun.(*ast.SelectorExpr)
			if !isMethod || selector.Sel.Name != "rule" {
				return true
			}
			literal, isLiteral := call.Args[0].(*ast.BasicLit)
			if !isLiteral {
				t.Errorf("%s: the name of a rule must be a literal", path)
				return true
			}
			name := must[string](t)(strconv.Unquote(literal.Value))
			if played[name] != "" {
				t.Errorf("%s is played twice", name)
			}
			played[name] = test
			return true
		})
	}
	return played
}
