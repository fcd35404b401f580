package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authz"
)

func blueprintRun(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(context.Background(), append([]string{"blueprint"}, args...), &out, io.Discard)
	return out.String(), err
}

func fileOf(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The vectors are JSON here, which the command reads as it reads YAML.
const vectors = `{"ingenuity": {"tenants": {"a": {}}, "members": [["fi", "a", ["financial"], "active"]], "cases": [
	{"id": "pays", "can": ["fi", "invoices.pay", "a"], "then": true},
	{"id": "no-infrastructure", "can": ["fi", "infrastructure.read", "a"], "then": %s}]}}`

func TestBlueprintTestPassesAndFailsWithTheReason(t *testing.T) {
	good := fileOf(t, "good.json", strings.Replace(vectors, "%s", "false", 1))
	if out, err := blueprintRun(t, "test", good); err != nil || !strings.Contains(out, "2 vectors, 0 failed") {
		t.Errorf("got %q, %v", out, err)
	}
	bad := fileOf(t, "bad.json", strings.Replace(vectors, "%s", "true", 1))
	out, err := blueprintRun(t, "test", bad)
	if err == nil {
		t.Error("a failing vector is no error, so the command would exit with 0")
	}
	for _, want := range []string{"no-infrastructure: got refused (no_role), want allowed", `"removed_by"`, "2 vectors, 1 failed"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	out, err = blueprintRun(t, "test", "--json", bad)
	var report struct {
		Vectors, Failed int
		Results         []struct{ ID string }
	}
	if decoding := json.Unmarshal([]byte(out), &report); decoding != nil || err == nil || report.Vectors != 2 || report.Failed != 1 || len(report.Results) != 2 {
		t.Errorf("got %+v, %v, %v", report, decoding, err)
	}
}

func TestBlueprintTestTakesABlueprintFromAFile(t *testing.T) {
	source, err := authz.ShippedSource("ingenuity")
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.Replace(string(source), "blueprint: ingenuity", "blueprint: mine", 1)
	file := fileOf(t, "mine.yaml", mine)
	cases := fileOf(t, "cases.json", strings.NewReplacer("%s", "false", `"ingenuity"`, `"mine"`).Replace(vectors))
	if _, err := blueprintRun(t, "test", cases); err == nil {
		t.Error("an unknown blueprint is no error")
	}
	if out, err := blueprintRun(t, "test", "--blueprint", file, cases); err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if out, err := blueprintRun(t, "diff", "ingenuity", file); err != nil || !strings.Contains(out, "nothing changes") {
		t.Errorf("diff: got %q, %v", out, err)
	}
}

func TestBlueprintLintNamesEveryMistake(t *testing.T) {
	source, err := authz.ShippedSource("ingenuity")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := blueprintRun(t, "lint", fileOf(t, "good.yaml", string(source))); err != nil || !strings.Contains(out, "no mistakes") {
		t.Errorf("got %q, %v", out, err)
	}
	_, err = blueprintRun(t, "lint", fileOf(t, "bad.yaml", "blueprint: x\nversion: 1\nnope: 1\nneither: 2\n"))
	if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("got %v, want both lines", err)
	}
}

func TestBlueprintShowPrintsEveryRowOfEveryPortal(t *testing.T) {
	catalog, err := authz.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	list, err := blueprintRun(t, "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range catalog.Names() {
		if !strings.Contains(list, name) {
			t.Errorf("the list lacks %s", name)
		}
		b, err := catalog.Blueprint(name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := blueprintRun(t, "show", name)
		if err != nil {
			t.Fatal(err)
		}
		for _, area := range b.Document().Permissions {
			for _, row := range area.Rows {
				if !strings.Contains(out, row.Label) {
					t.Errorf("%s: the table lacks the row %q", name, row.Label)
				}
			}
		}
		if !strings.Contains(out, "WHO ADMINISTERS WHOM") {
			t.Errorf("%s: nobody administers anybody", name)
		}
	}
}
