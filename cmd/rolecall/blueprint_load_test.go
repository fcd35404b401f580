package main

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authz"
)

// onDatabase runs command lines on a database file of the test's own.
func onDatabase(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	database := "sqlite:" + filepath.Join(t.TempDir(), "rolecall.db")
	return func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), append(args, "--database-url", database, "--log-level", "error"), &out, io.Discard)
		return out.String(), err
	}
}

// nextDefault is the shipped role system "default" as version 2, in which
// readers take the place of viewers, and members may read the audit log.
func nextDefault(t *testing.T, also ...string) string {
	t.Helper()
	source, err := authz.ShippedSource("default")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(append([]string{
		"version: 1", "version: 2",
		"  viewer: {label: Viewer, about: Sees the organization and its people and changes only his own account., reach: [self]}\n", "  reader: {label: Reader, about: Reads., reach: [self]}\n",
		"columns: [owner, admin, member, viewer, api]", "columns: [owner, admin, member, reader, api]",
		"owner: {any: [owner, admin, member, viewer, api]}", "owner: {any: [owner, admin, member, reader, api]}",
		"admin: {any: [admin, member, viewer, api]}", "admin: {any: [admin, member, reader, api]}",
		"api:   {any: [member, viewer]}", "api:   {any: [member, reader]}",
		"keys: [audit.read],                               cells: 'YY---'", "keys: [audit.read],                               cells: 'YYY--'",
	}, also...)...).Replace(string(source))
	return fileOf(t, "next.yaml", text)
}

const peopleOfBerlin = `
tenants:
- slug: berlin
users:
- {email: ann@berlin.example, memberships: [{tenant: berlin, roles: [owner]}]}
- {email: max@berlin.example, memberships: [{tenant: berlin, roles: [member]}]}
- {email: vera@berlin.example, memberships: [{tenant: berlin, roles: [viewer]}]}
applications:
- {client_id: robot, type: machine, tenant: berlin, roles: [viewer]}
`

func TestBlueprintLoad(t *testing.T) {
	rolecall := onDatabase(t)
	if _, err := rolecall("apply", "-f", fileOf(t, "apply.yaml", peopleOfBerlin)); err != nil {
		t.Fatal(err)
	}
	file := nextDefault(t)
	expect := func(out string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("the output lacks %q:\n%s", want, out)
			}
		}
	}

	out, err := rolecall("blueprint", "load", file, "--yes")
	if err == nil || !strings.Contains(err.Error(), "can't take effect") {
		t.Errorf("a role without a replacement: %v", err)
	}
	expect(out, "default: version 2 in place of 1", "viewer: is removed, its holders need another role", "member\n  + audit.read at self",
		"berlin: of 3 people 2 gain permissions", "they need another role", `berlin: 1 member, 1 application: version 2 lacks the role "viewer", give a replacement for it, or drop it`)

	out, err = rolecall("blueprint", "load", file, "--replace", "viewer=reader")
	if err != nil {
		t.Fatal(err)
	}
	expect(out, "with viewer: 1 member, 1 application; they get reader", "gain: max@berlin.example\n", "nothing has changed yet: add --yes")
	if out, err = rolecall("blueprint", "list"); err != nil || strings.Contains(out, "default     2") {
		t.Errorf("got %s, %v", out, err)
	}

	out, err = rolecall("blueprint", "load", file, "--replace", "viewer=reader", "--yes", "--json")
	var done struct {
		From, To int
		Done     bool
		Tenants  []struct{ Slug string }
	}
	if decoding := json.Unmarshal([]byte(out), &done); err != nil || decoding != nil || !done.Done || done.From != 1 || done.To != 2 || len(done.Tenants) != 1 {
		t.Errorf("got %+v, %v, %v", done, err, decoding)
	}
	if out, err = rolecall("why", "vera@berlin.example", "tenant.read", "berlin"); err != nil || !strings.Contains(out, "reader") {
		t.Errorf("why: %s, %v", out, err)
	}
	out, err = rolecall("blueprint", "load", file, "--yes")
	if err != nil || !strings.Contains(out, "nothing to do") {
		t.Errorf("again: %s, %v", out, err)
	}
	if _, err = rolecall("blueprint", "load", "default", "--yes"); err == nil || !strings.Contains(err.Error(), "the next is higher") {
		t.Errorf("the version before: %v", err)
	}
	out, err = rolecall("blueprint", "list", "--json")
	var list []listedVersion
	if decoding := json.Unmarshal([]byte(out), &list); err != nil || decoding != nil {
		t.Fatal(err, decoding)
	}
	var versions []listedVersion
	for _, v := range list {
		if v.Name == "default" {
			versions = append(versions, v)
		}
	}
	if len(versions) != 2 || !versions[0].Shipped || versions[0].InForce || versions[1].Shipped || !versions[1].InForce || versions[1].Tenants != 1 {
		t.Errorf("got %+v", versions)
	}
	if out, err = rolecall("blueprint", "diff", "default@1", "default"); err != nil || !strings.Contains(out, "viewer: is removed") {
		t.Errorf("diff of stored versions: %s, %v", out, err)
	}
	if out, err = rolecall("blueprint", "show", "default"); err != nil || !strings.Contains(out, "default, version 2") {
		t.Errorf("show: %s, %v", out, err)
	}
	if _, err = rolecall("blueprint", "show", "default@7"); err == nil {
		t.Error("a version that there is not was shown")
	}
}

// TestBlueprintCommandsMakeNoDatabase: to look at what is shipped needs none.
func TestBlueprintCommandsMakeNoDatabase(t *testing.T) {
	rolecall := onDatabase(t)
	for _, args := range [][]string{{"list"}, {"show", "emnify"}, {"diff", "emnify", "1nce"}, {"show", "emnify@1"}} {
		if out, err := rolecall(append([]string{"blueprint"}, args...)...); err != nil || out == "" {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	out, err := rolecall("migrate", "status")
	if err != nil || !strings.Contains(out, "pending") || strings.Contains(out, "applied") {
		t.Errorf("a look at a blueprint has made a database: %s, %v", out, err)
	}
}

func TestDoctorLooksAtBlueprints(t *testing.T) {
	rolecall := onDatabase(t)
	if _, err := rolecall("apply", "-f", fileOf(t, "apply.yaml", peopleOfBerlin)); err != nil {
		t.Fatal(err)
	}
	if out, err := rolecall("doctor"); err != nil || !strings.Contains(out, "none of an older version") {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestParseReplacements(t *testing.T) {
	for given, want := range map[string]string{"a": "is not OLD=NEW", "=b": "is not OLD=NEW"} {
		if _, err := parseReplacements([]string{given}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", given, err)
		}
	}
	if _, err := parseReplacements([]string{"a=b", "a=c"}); err == nil {
		t.Error("two replacements of one role were taken")
	}
	if got, err := parseReplacements([]string{"a=b", "c="}); err != nil || got["a"] != "b" || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}
