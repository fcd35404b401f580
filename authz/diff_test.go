package authz

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiffNamesWhatEachRoleGainsAndLoses(t *testing.T) {
	source, err := ShippedSource("default")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(
		"keys: [tenant.domains.write],                     cells: 'YY---'", "keys: [tenant.domains.write],                     cells: 'Y--Y-'",
		"admin: {any: [admin, member, viewer, api]}", "admin: {any: [member, viewer, api]}",
	).Replace(string(source))
	if changed == string(source) {
		t.Fatal("the blueprint has changed: this test edits rows that are not there")
	}
	before, err := Load(source)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Load([]byte(changed))
	if err != nil {
		t.Fatal(err)
	}
	if same := Diff(before, before); same != nil {
		t.Errorf("a blueprint differs from itself: %v", same)
	}
	got := Diff(before, after)
	if len(got) != 2 || got[0].Role != "admin" || got[1].Role != "viewer" {
		t.Fatalf("got %v, want differences for admin and viewer", got)
	}
	if want := []string{"tenant.domains.write at self"}; !cmp.Equal(got[1].Gains, want) || got[1].Loses != nil {
		t.Errorf("viewer: got %+v, want to gain %v", got[1], want)
	}
	loses := strings.Join(got[0].Loses, "\n")
	for _, want := range []string{"tenant.domains.write at self", "grant over admin", "delete over admin"} {
		if !strings.Contains(loses, want) {
			t.Errorf("admin does not lose %q:\n%s", want, loses)
		}
	}
	if got[0].Gains != nil {
		t.Errorf("admin gains %v", got[0].Gains)
	}
}

func TestDiffMarksRolesThatComeAndGo(t *testing.T) {
	catalog, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	before, _ := catalog.Blueprint("ingenuity")
	after, _ := catalog.Blueprint("streamone")
	marks := map[string]string{}
	for _, d := range Diff(before, after) {
		switch {
		case d.New:
			marks[d.Role] = "new"
		case d.Removed:
			marks[d.Role] = "removed"
		}
	}
	for role, want := range map[string]string{"administrator": "removed", "account_admin": "new", "sales": "new", "technical": "removed"} {
		if marks[role] != want {
			t.Errorf("%s: got %q, want %q", role, marks[role], want)
		}
	}
}
