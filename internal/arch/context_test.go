package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const ginPackage = "github.com/gin-gonic/gin"

// TestNoContextIsGins keeps *gin.Context from being taken for a context.Context,
// which it can be: gin has it serve the next request while what waits for the end of
// this one, as database/sql does, still reads it. What is passed on is the context
// of the request.
//
// The type checker says where: the packages that know gin are read beside a gin
// whose Context lacks a method of context.Context. It does not see what goes through
// any.
func TestNoContextIsGins(t *testing.T) {
	world := withoutGinsContext(t)
	const head = "package mutant\nimport (\"context\"; \"net/http\"; \"github.com/gin-gonic/gin\")\n" +
		"type box struct{ ctx context.Context }\nvar _ http.Header\nfunc takes(context.Context, ...context.Context) {}\n"
	for name, body := range map[string]string{
		"passed":              "takes(c)",
		"passed among others": "takes(c.Request.Context(), c)",
		"passed to a library": `http.NewRequestWithContext(c, "", "", nil)`,
		"assigned":            "var ctx context.Context; ctx = c; _ = ctx",
		"declared":            "var ctx context.Context = c; _ = ctx",
		"converted":           "_ = context.Context(c)",
		"in a field":          "_ = box{ctx: c}",
		"in a list":           "_ = []context.Context{c}",
		"sent":                "make(chan context.Context) <- c",
		"returned":            "_ = func() context.Context { return c }",
		"of a copy":           "takes(c.Copy())",
		"within another":      "takes(struct{ *gin.Context }{c})",
	} {
		file, err := parser.ParseFile(world.files, name, head+"func _(c *gin.Context) {\n"+body+"\n}\n", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if problems := world.check("mutant", []*ast.File{file}); len(problems) != 1 || !strings.Contains(problems[0], "missing method Deadline") {
			t.Errorf("%s: got %q, want one that is missed", name, problems)
		}
	}
	for _, pkg := range world.ours {
		for _, problem := range world.check(pkg.ImportPath, world.parse(t, pkg)) {
			t.Errorf("%s: is a *gin.Context passed for a context.Context? Use Request.Context()", problem)
		}
	}
}

// listed is a package as go list shows it.
type listed struct {
	ImportPath, Export, Dir string
	GoFiles, Deps           []string
}

// checkedWorld are packages that are read beside a gin of one's own.
type checkedWorld struct {
	files *token.FileSet
	built types.Importer // of those that know no gin
	read  map[string]*types.Package
	ours  []listed // that know gin, each after those that it imports
}

// withoutGinsContext has read gin, without the method, and the libraries that import
// it.
func withoutGinsContext(t *testing.T) *checkedWorld {
	t.Helper()
	world := &checkedWorld{files: token.NewFileSet(), read: map[string]*types.Package{}}
	export := map[string]string{}
	world.built = importer.ForCompiler(world.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) })
	for _, pkg := range packagesOfGin(t) {
		export[pkg.ImportPath] = pkg.Export
		switch {
		case pkg.ImportPath != ginPackage && !slices.Contains(pkg.Deps, ginPackage):
			continue
		case strings.HasPrefix(pkg.ImportPath, module+"/"):
			world.ours = append(world.ours, pkg)
			continue
		}
		files := world.parse(t, pkg)
		if pkg.ImportPath == ginPackage {
			for _, file := range files {
				file.Decls = slices.DeleteFunc(file.Decls, func(decl ast.Decl) bool {
					method, ok := decl.(*ast.FuncDecl)
					return ok && method.Recv != nil && method.Name.Name == "Deadline"
				})
			}
		}
		if problems := world.check(pkg.ImportPath, files); len(problems) > 0 {
			t.Fatalf("%s: %q", pkg.ImportPath, problems)
		}
	}
	return world
}

// packagesOfGin returns the packages that import gin and all that they import, each
// after those that it imports.
func packagesOfGin(t *testing.T) []listed {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,Deps"}
	for _, file := range sources(t) {
		if folder := "./" + file.pkg; !file.test && slices.Contains(file.imports, ginPackage) && !slices.Contains(args, folder) {
			args = append(args, folder)
		}
	}
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir, command.Stderr = "../..", os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var pkg listed
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, pkg)
	}
}

func (w *checkedWorld) parse(t *testing.T, pkg listed) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(w.files, filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// check reads a package, and returns what the type checker finds wrong with it.
func (w *checkedWorld) check(path string, files []*ast.File) (problems []string) {
	config := types.Config{Importer: w, Error: func(err error) { problems = append(problems, err.Error()) }}
	read, err := config.Check(path, w.files, files, nil)
	if err != nil && len(problems) == 0 {
		problems = append(problems, fmt.Sprint(path, ": ", err))
	}
	w.read[path] = read
	return problems
}

// Import implements types.Importer.
func (w *checkedWorld) Import(path string) (*types.Package, error) {
	if pkg, read := w.read[path]; read {
		return pkg, nil
	}
	return w.built.Import(path)
}
