package authz_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

func TestRolesThatCannotBeMappedToAGroup(t *testing.T) {
	retired, err := authz.Load([]byte(replaced(t, "visitor: {label: Visitor}", "visitor: {label: Visitor, lifecycle: retired}")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b          *authz.Blueprint
		role, code string
	}{
		{blueprint(t, "emnify"), "administrator", ""},
		{blueprint(t, "emnify"), "superadmin", "protected"},
		{blueprint(t, "emnify"), "support", "hidden"},
		{blueprint(t, "emnify"), "emperor", "unknown_role"},
		{blueprint(t, "1nce"), "owner", "protected"},
		{blueprint(t, "1nce"), "api_user", "service_only"},
		{blueprint(t, "streamone"), "user", "locked"},
		{blueprint(t, "streamone"), "account_admin", ""},
		{blueprint(t, "timextender"), "instance_user", "resource"},
		{blueprint(t, "timextender"), "member", "implicit"},
		{blueprint(t, "default"), "owner", ""},
		{retired, "visitor", "retired"},
	} {
		err := c.b.CheckMappable(c.role)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s %s: %v", c.b.Name(), c.role, err)
			}
			continue
		}
		if e := fault.As(err); e.Kind != fault.Invalid || e.Field != "role" || e.Code != c.code {
			t.Errorf("%s %s: got %v, want invalid role: %s", c.b.Name(), c.role, err, c.code)
		}
	}
}

func TestWhoMayHoldARole(t *testing.T) {
	one, em := blueprint(t, "1nce"), blueprint(t, "emnify")
	for _, c := range []struct {
		b    *authz.Blueprint
		role string
		kind authz.HoldersKind
		code string
	}{
		{one, "api_user", authz.ServiceHolders, ""},
		{one, "api_user", authz.HumanHolders, "holders_kind"},
		{one, "admin", authz.HumanHolders, ""},
		{one, "admin", authz.ServiceHolders, ""},
		{em, "support", authz.ServiceHolders, "holders_kind"},
		{em, "nobody", authz.HumanHolders, "unknown_role"},
	} {
		err := c.b.CheckHolder(c.role, c.kind)
		if got := fault.As(err).Code; err == nil && c.code != "" || err != nil && (got != c.code || !errors.Is(err, fault.Invalid)) {
			t.Errorf("%s as %s: got %v, want %q", c.role, c.kind, err, c.code)
		}
	}
}

func TestFactsForTheDirectory(t *testing.T) {
	em, tx, one, in := blueprint(t, "emnify"), blueprint(t, "timextender"), blueprint(t, "1nce"), blueprint(t, "ingenuity")
	founder := func(b *authz.Blueprint) string { key, _ := b.Founder(); return key }
	bounds := func(b *authz.Blueprint) [2]int { least, most := b.RoleBounds(); return [2]int{least, most} }
	first := func(got any, err error) any {
		if err != nil {
			return fault.As(err).Kind.Error() + " " + fault.As(err).Field
		}
		return got
	}
	for name, c := range map[string]struct{ got, want any }{
		"founder":             {founder(one), "owner"},
		"no founder":          {founder(em), ""},
		"one role":            {bounds(em), [2]int{1, 1}},
		"any number":          {bounds(tx), [2]int{0, 0}},
		"one or more":         {bounds(in), [2]int{1, 0}},
		"holder rules":        {tx.HolderRules(), []authz.HolderRule{{Rule: authz.MinHolders, Roles: []string{"company_admin"}, N: 1}, {Rule: authz.MinMembers, N: 1}}},
		"holder rules, once":  {em.HolderRules(), []authz.HolderRule{{Rule: authz.MaxHolders, Roles: []string{"superadmin"}, N: 1}, {Rule: authz.MinHolders, Roles: []string{"superadmin", "administrator"}, N: 1}}},
		"status":              {first(em.Status("invited")), authz.Status{Key: "invited", Label: "Activation Pending", Next: []string{"active", "suspended", "invite_expired", "deleted"}}},
		"status, label":       {em.Statuses()[2].Label, "Active"},
		"status, default":     {tx.Statuses()[0].Label, "not_invited"},
		"status, final":       {[]bool{em.Statuses()[2].Final(), em.Statuses()[4].Final()}, []bool{false, true}},
		"unknown status":      {first(em.Status("lost")), "invalid status"},
		"tier":                {first(em.Tier("standard")), authz.Tier{Entitlements: []string{"mfa_enforced"}}},
		"unknown tier":        {first(em.Tier("gold")), "invalid tier"},
		"star":                {first(em.Relation("link")), authz.Relation{Shape: authz.Star, MaxDepth: 1, Hub: "main organization"}},
		"tree":                {first(one.Relation("sub")), authz.Relation{Shape: authz.Tree, MaxDepth: 1, Up: "Master Organisation", Down: "Sub-Organisation"}}, //nolint:misspell // the vendor's spelling
		"unknown relation":    {first(one.Relation("link")), "invalid relations"},
		"unknown role":        {first(em.RoleSet("user", "king")), "invalid roles"},
		"unknown permission":  {first(em.PermissionSet("devices.list", "devices.adore")), "invalid permissions"},
		"unknown entitlement": {first(nil, em.CheckEntitlement("gold")), "invalid entitlements"},
		"unknown blueprint":   {first(shipped(t).Blueprint("gold")), "invalid blueprint"},
		"implicit":            {tx.RoleKeys(tx.Implicit()), []string{"member"}},
		"self edit":           {first(nil, em.CheckSelfEdit("name", "locale")), nil},
		"self edit, fixed":    {first(nil, em.CheckSelfEdit("name", "email")), "denied email"},
		"self edit, unlisted": {first(nil, em.CheckSelfEdit("shoe_size")), "denied shoe_size"},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRoleShowsWhatTheBlueprintSays(t *testing.T) {
	b := blueprint(t, "emnify")
	got, err := b.Role("superadmin")
	if err != nil {
		t.Fatal(err)
	}
	want := authz.Role{
		Key: "superadmin", Label: "SuperAdmin",
		About:     "Provided for organizations with multiple Workspaces; acts in the main organization and every linked Workspace.",
		Lifecycle: authz.Open, Channels: authz.ChannelPortal | authz.ChannelAPI, Protected: true, HubOnly: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var keys []string
	for _, r := range b.Roles() {
		keys = append(keys, r.Key)
	}
	if diff := cmp.Diff([]string{"superadmin", "administrator", "observer", "user", "support"}, keys); diff != "" {
		t.Errorf("columns first (-want +got):\n%s", diff)
	}
}

func TestSetsKeepTheOrderOfTheTable(t *testing.T) {
	b := blueprint(t, "emnify")
	set, err := b.PermissionSet("me.role.read", "devices.list", "sims.list")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"devices.list", "sims.list", "me.role.read"}, b.Keys(set)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	limited, err := b.PermissionSet("devices.list")
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Intersect(limited); got != limited || got.Len() != 1 {
		t.Errorf("intersection: got %v", b.Keys(got))
	}
}

func TestWhatTheBlueprintDoesNotKnowGivesNoRight(t *testing.T) {
	b := blueprint(t, "emnify")
	known := b.Tenant(authz.TenantFacts{ID: "t", Status: "enabled"})
	for name, c := range map[string]struct {
		at    *authz.TenantView
		facts authz.MembershipFacts
	}{
		"tenant status": {b.Tenant(authz.TenantFacts{ID: "t", Status: "lost"}), authz.MembershipFacts{Status: "active", Roles: []string{"user"}}},
		"status":        {known, authz.MembershipFacts{Status: "lost", Roles: []string{"user"}}},
		"role":          {known, authz.MembershipFacts{Status: "active", Roles: []string{"king"}}},
		"resource role": {known, authz.MembershipFacts{Status: "active", Resources: []authz.ResourceRole{{Role: "user", Resource: "x"}}}},
	} {
		if b.Can([]authz.Holder{b.Holder(c.at, c.facts)}, c.at, authz.ChannelPortal, "devices.read") {
			t.Errorf("an unknown %s gives rights", name)
		}
	}
	var zero authz.TenantView
	if b.Can([]authz.Holder{{}}, &zero, authz.ChannelPortal, "devices.read") || zero.Entitled("sso") || zero.SignIn() {
		t.Error("the zero values give rights")
	}
	if !b.Can(held(b, known, "user"), known, authz.ChannelPortal, "devices.read") {
		t.Error("what it knows gives none either: the test shows nothing")
	}
}

func TestHoldersOfAnotherBlueprintAddNothing(t *testing.T) {
	// Two blueprints with a role and a permission of the same name.
	a, b := blueprint(t, "emnify"), blueprint(t, "emnify")
	at := a.Tenant(authz.TenantFacts{ID: "t", Status: "enabled"})
	if b.Can(held(a, at, "user"), b.Tenant(authz.TenantFacts{ID: "t", Status: "enabled"}), authz.ChannelPortal, "devices.read") {
		t.Error("a holder compiled by one blueprint counts in another")
	}
}

func TestRolesAfterUnlink(t *testing.T) {
	many, err := authz.Load([]byte(replaced(t, "visitor: {label: Visitor}", "visitor: {label: Visitor, on_unlink: {replace_with: boss, where: direct_membership}}")))
	if err != nil {
		t.Fatal(err)
	}
	em := blueprint(t, "emnify")
	for _, c := range []struct {
		rule             string
		b                *authz.Blueprint
		inHub, own, want []string
	}{
		{"EM-R24 the hub", em, []string{"superadmin"}, []string{"superadmin"}, []string{"administrator"}},
		{"EM-R24 a spoke", em, []string{"superadmin"}, []string{"user"}, []string{"administrator"}},
		{"EM-R24 another person", em, []string{"observer"}, []string{"user"}, []string{"user"}},
		{"several roles add up", many, []string{"visitor", "helper"}, []string{"visitor", "helper"}, []string{"helper", "boss"}},
	} {
		if diff := cmp.Diff(c.want, c.b.RolesAfterUnlink(c.inHub, c.own)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestTenantViewSaysWhetherItIsAHub(t *testing.T) {
	b := blueprint(t, "emnify")
	child := b.Tenant(authz.TenantFacts{ID: "c", Status: "enabled", Ancestors: map[string][]id.Tenant{"channel": {"p"}, "unknown": {"x"}}})
	spoke := b.Tenant(authz.TenantFacts{ID: "s", Status: "enabled", Ancestors: map[string][]id.Tenant{"link": {"h"}}})
	if !child.Hub() || spoke.Hub() {
		t.Errorf("a child of a tree is a hub: %t; a spoke is: %t", child.Hub(), spoke.Hub())
	}
}

func TestPrincipalTravelsInTheContext(t *testing.T) {
	if got := authz.FromContext(t.Context()); got.Kind != authz.Anonymous {
		t.Errorf("an empty context holds %v", got.Kind)
	}
	want := authz.Principal{Kind: authz.TokenPrincipal, Tenant: "t", User: "u", Channel: authz.ChannelAPI, Permissions: []string{"devices.list"}}
	if diff := cmp.Diff(want, authz.FromContext(authz.NewContext(t.Context(), want))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := want.Kind.String(); got != "application_token" {
		t.Errorf("kind %q", got)
	}
}
