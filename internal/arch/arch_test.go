// Package arch holds the shape of the code: which package may know which, which
// library stays where, and what no file may contain. docs/architecture.md draws
// the same in a picture.
package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "github.com/rolecall/rolecall"
	maxFileLines = 600 // tests excepted
)

// The groups in which packages are allowed. An edge translates one wire format;
// the domain knows neither HTTP nor SQL; a leaf knows nobody above it.
var (
	primitives = []string{"internal/id", "internal/fault", "internal/secret"}
	records    = []string{"internal/audit", "internal/outbox", "internal/mail", "internal/language"}
	grammars   = []string{"scim/filter", "scim/schema", "scim/patch"}
	domain     = []string{"directory", "authn", "authz", "oidc", "provisioning", "events", "outbound", "upstream"}
	edges      = []string{"scim", "oidc/provider", "api", "portal", "events/delivery", "scim/client", "upstream/relyingparty"}
)

// allowed is, bottom up, every package and what it may import of this module. A
// package that is not here fails the test: place it first, then write it.
var allowed = map[string][]string{
	"internal/fault":    {},
	"internal/id":       {},
	"internal/secret":   {"internal/fault"},
	"internal/audit":    {"internal/id"},
	"internal/outbox":   {"internal/id", "internal/fault"},
	"internal/mail":     {"internal/id", "internal/language", "internal/outbox", "internal/secret"},
	"internal/cookie":   {"internal/secret"},
	"internal/egress":   {},
	"internal/language": {},
	"internal/cache":    {},
	"scim/filter":       {},
	"scim/schema":       {"scim/filter"},
	"scim/patch":        {"scim/filter", "scim/schema"},

	"authz":          slices.Concat(primitives),
	"authz/scenario": slices.Concat([]string{"authz"}, primitives),
	"directory":      slices.Concat([]string{"authz", "internal/cache"}, primitives, records, grammars),
	"authn":          slices.Concat([]string{"authz", "directory"}, primitives, records),
	"oidc":           slices.Concat([]string{"authz", "directory", "authn"}, primitives, records),

	"provisioning": slices.Concat([]string{"directory", "internal/audit"}, primitives),

	"events": slices.Concat([]string{"authz", "directory", "internal/audit", "internal/cache", "scim/schema"}, primitives),

	"outbound": slices.Concat([]string{"authz", "directory", "internal/audit", "internal/cache", "scim/schema"}, primitives),

	"upstream": slices.Concat([]string{"directory", "authn", "internal/audit"}, primitives),

	"storage": slices.Concat(domain, primitives, records, grammars),

	"scim":                  slices.Concat([]string{"internal/audit"}, domain, primitives, grammars),
	"oidc/provider":         slices.Concat(domain, primitives, []string{"internal/cookie", "internal/egress", "internal/language", "internal/outbox"}),
	"events/delivery":       slices.Concat([]string{"internal/audit", "internal/egress"}, domain, primitives),
	"scim/client":           slices.Concat([]string{"internal/egress", "outbound"}, primitives),
	"api":                   slices.Concat([]string{"internal/audit", "internal/outbox", "scim/schema"}, domain, primitives),
	"portal":                slices.Concat(domain, primitives, []string{"internal/cookie", "internal/language", "internal/mail"}),
	"upstream/relyingparty": slices.Concat([]string{"internal/cache", "internal/egress", "upstream"}, primitives),

	"internal/server": slices.Concat(edges, domain, primitives, records, []string{"internal/cookie"}),
	"cmd/rolecall": slices.Concat([]string{"storage", "internal/server", "internal/cookie", "authz/scenario"},
		edges, domain, primitives, records, grammars),

	"internal/dbtest": {"storage", "internal/id", "internal/fault", "internal/secret"},

	"internal/outbox/outboxtest": {"internal/outbox"},

	"internal/arch": {},
	"deploy":        {},
}

// blackBox are the suites that speak to the built program from outside. They
// share one another's tools, and the way to start a database; a test of theirs
// that could call the program's own code would prove less.
const blackBox = "conformance"

// confined are libraries and the only packages that may use them; tests are free.
var confined = map[string][]string{
	"database/sql":                  {"storage"},
	"github.com/coreos/go-oidc":     {"upstream/relyingparty", blackBox},
	"github.com/danielgtaylor/huma": {"api"},
	"github.com/getkin/kin-openapi": {}, // tests only
	"github.com/gin-gonic/gin":      slices.Concat(edges, []string{"internal/server", blackBox}),
	"github.com/go-jose":            {"oidc", "oidc/provider", blackBox},
	"github.com/go-webauthn":        {"authn"},
	"github.com/google/go-cmp":      {}, // tests only
	"github.com/google/uuid":        {"internal/id"},
	"github.com/jackc/pgx":          {"storage", "internal/dbtest", blackBox},
	"github.com/knadh/koanf":        {"cmd/rolecall"},
	"github.com/pquerna/otp":        {"authn", blackBox},
	"github.com/pressly/goose":      {"storage"},
	"github.com/santhosh-tekuri":    {"oidc"},
	"github.com/spf13/cobra":        {"cmd/rolecall"},
	"github.com/wneessen/go-mail":   {"internal/mail"},
	"github.com/zitadel/oidc":       {"oidc/provider", blackBox},
	"golang.org/x/oauth2":           {"scim/client", "upstream/relyingparty", blackBox},
	"gorm.io":                       {"storage"},
	"modernc.org/sqlite":            {"storage"},
	"net/http":                      slices.Concat(edges, []string{"internal/server", "internal/cookie", "internal/egress", "cmd/rolecall", blackBox}),
	"pgregory.net/rapid":            {}, // tests only
}

// source is one parsed Go file.
type source struct {
	name    string // relative to the module
	pkg     string // its folder
	test    bool
	lines   int
	doc     bool // has a package comment
	imports []string
}

// sources parses the module's files. Parsing, unlike running go list, lets go
// test see that a file changed since the last, cached, pass.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		s := source{
			name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(content, []byte("\n")), doc: documented(file),
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			s.imports = append(s.imports, imported)
		}
		all = append(all, s)
	})
	if len(all) == 0 {
		t.Fatal("found no Go file: the test looks in the wrong folder")
	}
	return all
}

func documented(file *ast.File) bool {
	return file.Doc != nil && strings.HasPrefix(file.Doc.Text(), "Package ") || file.Name.Name == "main" && file.Doc != nil
}

// walk calls visit with each file of the repository that is not made by a tool.
func walk(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git": // a file in a linked work tree
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() && slices.Contains([]string{"node_modules", "data", "bin", "test-results"}, entry.Name()):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		visit(name, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// in reports whether pkg is one of the packages, or below one of them.
func in(pkg string, packages []string) bool {
	return slices.ContainsFunc(packages, func(p string) bool { return pkg == p || strings.HasPrefix(pkg, p+"/") })
}

func TestPackagesImportOnlyWhatTheirPlaceAllows(t *testing.T) {
	for _, file := range sources(t) {
		may, placed := allowed[file.pkg]
		var shared []string
		if in(file.pkg, []string{blackBox}) {
			may, placed, shared = []string{"internal/dbtest"}, true, []string{blackBox}
		} else if file.test {
			continue // a test may wire the whole program
		}
		if !placed {
			t.Errorf("%s: package %s has no place in the architecture: add it to the table here first", file.name, file.pkg)
		}
		for _, imported := range file.imports {
			pkg, own := strings.CutPrefix(imported, module+"/")
			if own && !slices.Contains(may, pkg) && !in(pkg, shared) {
				t.Errorf("%s: package %s must not import %s", file.name, file.pkg, pkg)
			}
		}
	}
}

func TestLibrariesStayWhereTheyBelong(t *testing.T) {
	for _, file := range sources(t) {
		if file.test {
			continue
		}
		for _, imported := range file.imports {
			for library, packages := range confined {
				if in(imported, []string{library}) && !in(file.pkg, packages) {
					t.Errorf("%s: %s belongs to %v only", file.name, library, packages)
				}
			}
		}
	}
}

func TestEachPackageHasOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	for _, file := range sources(t) {
		if _, seen := comments[file.pkg]; !seen {
			comments[file.pkg] = nil
		}
		if file.doc {
			comments[file.pkg] = append(comments[file.pkg], file.name)
		}
	}
	for pkg, files := range comments {
		if len(files) != 1 {
			t.Errorf("package %s: got package comments in %v, want exactly one", pkg, files)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, file := range sources(t) {
		if !file.test && file.lines > maxFileLines {
			t.Errorf("%s: %d lines, at most %d: split it by noun or by section of its RFC", file.name, file.lines, maxFileLines)
		}
	}
}

func TestGoModReplacesNothing(t *testing.T) {
	walk(t, func(name string, content []byte) {
		if path.Base(name) == "go.mod" && regexp.MustCompile(`(?m)^\s*replace\b`).Match(content) {
			t.Errorf("%s: a replace directive is ignored by everyone who depends on the module", name)
		}
	})
}

// TestNoFileNamesAMachine keeps paths of somebody's machine out of the
// repository: they work there only.
func TestNoFileNamesAMachine(t *testing.T) {
	paths := regexp.MustCompile("(?m)(?:^|[\\s\"'`=:(,])(/(?:root|work|home)/[\\w.-]+)")
	walk(t, func(name string, content []byte) {
		if found := paths.FindSubmatch(content); found != nil && !bytes.Contains(content[:min(len(content), 512)], []byte{0}) {
			t.Errorf("%s: %s is a path of one machine", name, found[1])
		}
	})
}

// TestLinksLeadSomewhere follows the links of the documents within the
// repository.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	walk(t, func(name string, content []byte) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, found := range link.FindAllStringSubmatch(string(content), -1) {
			target, _, _ := strings.Cut(found[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue // within the page, or elsewhere
			}
			if _, err := os.Stat(path.Join("../..", path.Dir(name), target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, target)
			}
		}
	})
}
