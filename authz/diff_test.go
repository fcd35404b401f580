package authz

import (
	"slices"
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

// TestChangesNameWhatAnOperatorMustKnow edits one line of each section that
// people, tenants or policies hang on.
func TestChangesNameWhatAnOperatorMustKnow(t *testing.T) {
	source, err := ShippedSource("emnify")
	if err != nil {
		t.Fatal(err)
	}
	before, err := Load(source)
	if err != nil {
		t.Fatal(err)
	}
	if same := Changes(before, before); same != nil {
		t.Errorf("a blueprint differs from itself: %v", same)
	}
	for want, edit := range map[string]func(doc *Document){
		"tenants.tiers: pro is removed": func(doc *Document) {
			doc.Tenants.Tiers = slices.DeleteFunc(doc.Tenants.Tiers, func(e Entry[Tier]) bool { return e.Key == "pro" })
		},
		"tenants.relations: channel is different (max_depth)": func(doc *Document) { entry(t, doc.Tenants.Relations, "channel").MaxDepth = 3 },
		"tenants.statuses: suspended is different (sign_in)":  func(doc *Document) { entry(t, doc.Tenants.Statuses, "suspended").SignIn = true },
		"entitlements: sso is different (gates)":              func(doc *Document) { entry(t, doc.Entitlements, "sso").Gates = nil },
		"membership.statuses: suspended is different (to)":    func(doc *Document) { entry(t, doc.Membership.Statuses, "suspended").To = nil },
		"membership: is different (roles)":                    func(doc *Document) { doc.Membership.Roles.Min = 0 },
		"roles: support is different (protected)":             func(doc *Document) { entry(t, doc.Roles, "support").Protected = true },
		"mfa: is removed": func(doc *Document) { doc.MFA = nil },
		"invariants: min_members 2 is added": func(doc *Document) {
			doc.Invariants = append(doc.Invariants, Invariant{Rule: MinMembers, Per: "tenant", N: 2})
		},
		"requires: devices.update is added": func(doc *Document) {
			doc.Requires = append(doc.Requires, Entry[[]string]{Key: "devices.update", Value: []string{"devices.read"}})
		},
	} {
		doc, err := Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		edit(doc)
		after := *before
		after.doc = doc
		var got []string
		for _, c := range Changes(before, &after) {
			got = append(got, c.String())
		}
		if !cmp.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func entry[T any](t *testing.T, entries Entries[T], key string) *T {
	t.Helper()
	i := slices.Index(entries.Keys(), key)
	if i < 0 {
		t.Fatalf("the blueprint has no %s any more", key)
	}
	return &entries[i].Value
}

// TestGivesCountsEntitlementsAndStatus compares what one membership has in two
// versions, where the matrix alone would say otherwise.
func TestGivesCountsEntitlementsAndStatus(t *testing.T) {
	catalog, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	b, err := catalog.Blueprint("emnify")
	if err != nil {
		t.Fatal(err)
	}
	plain := b.Tenant(TenantFacts{ID: "t", Status: "enabled"})
	entitled := b.Tenant(TenantFacts{ID: "t", Status: "enabled", Entitlements: []string{"sso"}})
	admin := MembershipFacts{Status: "active", Roles: []string{"administrator"}}
	if b.Gives(plain, admin)["sso.write"] || !b.Gives(entitled, admin)["sso.write"] {
		t.Error("an entitlement makes no difference")
	}
	if gives := b.Gives(plain, admin); !gives["grant over user"] {
		t.Errorf("an administrator administers nobody: %v", gives)
	}
	admin.Status = "suspended"
	if gives := b.Gives(entitled, admin); len(gives) > 0 {
		t.Errorf("somebody suspended gets %v", gives)
	}
	super := b.Gives(entitled, MembershipFacts{Status: "active", Roles: []string{"superadmin"}})
	if !super["devices.update at link.spokes"] || super["devices.update at self"] || !super["devices.update"] {
		t.Errorf("a SuperAdmin's reach is missing: %v", super)
	}
}
