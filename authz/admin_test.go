package authz_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// office is a tenant of the smallest blueprint with one boss, who acts.
func office(t *testing.T, replace ...string) (*authz.Blueprint, authz.Act) {
	t.Helper()
	b, err := authz.Load([]byte(replaced(t, replace...)))
	if err != nil {
		t.Fatal(err)
	}
	at := b.Tenant(authz.TenantFacts{ID: "office", Status: "enabled", Entitlements: []string{"extra"}})
	plenty := make([]authz.Tally, len(b.HolderRules()))
	for i := range plenty {
		plenty[i] = authz.Tally{Held: 5, Able: 5}
	}
	return b, authz.Act{
		At: at, Tallies: plenty,
		Actor: authz.Actor{User: "boss", Holders: held(b, at, "boss"), Channel: authz.ChannelPortal},
	}
}

func on(user id.User, roles ...string) authz.Target {
	return authz.Target{User: user, Kind: authz.HumanHolders, Before: &authz.MembershipFacts{Status: "active", Roles: roles}}
}

func after(roles ...string) *authz.MembershipFacts {
	return &authz.MembershipFacts{Status: "active", Roles: roles}
}

// operations gives the smallest blueprint an operation for each purpose, with
// a permission of its own.
var operations = []string{
	"admin_ops: {list: users.list, grant: users.update}",
	"admin_ops: {list: users.list, update: users.list, grant: users.update, revoke: extras.use, delete: users.list}\nadmin_edit_fields: [email, roles]",
	"  boss: {any: [boss, helper]}",
	"  boss: {any: [boss, helper], list: [visitor]}",
}

func TestAnotherOperationThatChangesRolesNeedsTheirPermission(t *testing.T) {
	b, act := office(t, operations...)
	act.Operation, act.Target = authz.OpUpdate, on("ann", "helper", "visitor")
	for _, c := range []struct {
		rule  string
		ents  []string
		after *authz.MembershipFacts
		want  authz.Decision
	}{
		{"nothing changes", nil, after("helper", "visitor"), authz.Decision{Allowed: true}},
		{"a role is taken without extras.use", nil, after("helper"), authz.Decision{Code: "permission", Because: &authz.Because{Missing: []string{"extras.use"}}}},
		{"a role is taken with it", []string{"extra"}, after("helper"), authz.Decision{Allowed: true}},
	} {
		act.At = b.Tenant(authz.TenantFacts{ID: "office", Status: "enabled", Entitlements: c.ents})
		act.Actor.Holders = held(b, act.At, "boss")
		act.After = c.after
		c.want.Operation, c.want.Tenant = authz.OpUpdate, "office"
		if diff := cmp.Diff(c.want, b.May(act)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestARevokeThatGivesARoleNeedsThePermissionToGrant(t *testing.T) {
	b, act := office(t, append(operations, "cells: 'YY-', disputed: helper", "cells: '-Y-', disputed: helper")...)
	act.Operation, act.Target, act.After = authz.OpRevoke, on("ann", "visitor"), after("helper")
	if got := b.May(act); got.Code != "permission" || !cmp.Equal(got.Because.Missing, []string{"users.update"}) {
		t.Errorf("got %+v, want the permission users.update", got)
	}
}

func TestWhoCannotBeTouched(t *testing.T) {
	b, act := office(t, append(operations, "visitor: {label: Visitor}", "visitor: {label: Visitor, protected: true}")...)
	visitor := on("vic", "visitor")
	visitor.Holders = held(b, act.At, "visitor")
	act.Target, act.After = visitor, after("visitor")

	act.Operation = authz.OpList
	if got := b.May(act); !got.Allowed {
		t.Errorf("a protected member cannot be listed: %+v", got)
	}
	act.Operation = authz.OpUpdate
	want := authz.Decision{Operation: "update", Tenant: "office", Code: "protected", Ask: "operator", Because: &authz.Because{Role: "visitor", HeldIn: "office", Reaches: "self"}}
	if diff := cmp.Diff(want, b.May(act)); diff != "" {
		t.Errorf("update (-want +got):\n%s", diff)
	}
	act.Actor = authz.Actor{Operator: true}
	if got := b.May(act); !got.Allowed {
		t.Errorf("the operator cannot: %+v", got)
	}
}

func TestASuspendedHolderOfAProtectedRoleIsProtected(t *testing.T) {
	b, act := office(t, append(operations, "visitor: {label: Visitor}", "visitor: {label: Visitor, protected: true}")...)
	act.Target = on("vic", "visitor")
	act.Target.Holders = []authz.Holder{b.Holder(act.At, authz.MembershipFacts{Status: "gone", Roles: []string{"visitor"}})}
	act.Operation = authz.OpDelete
	if got := b.May(act); got.Code != "protected" {
		t.Errorf("got %+v, want protected", got)
	}
}

func TestFieldsOfOthersAndOfOneself(t *testing.T) {
	b, act := office(t, operations...)
	act.Operation, act.After = authz.OpUpdate, after("boss")
	for _, c := range []struct {
		user  id.User
		field string
		code  string
	}{
		{"other", "email", ""},
		{"other", "name", "field:name"},
		{"boss", "name", ""},
		{"boss", "email", "field:email"},
	} {
		act.Target, act.Fields = on(c.user, "boss"), []string{c.field}
		got := b.May(act)
		if got.Code != c.code {
			t.Errorf("%s of %s: got %q, want %q", c.field, c.user, got.Code, c.code)
		}
		if e := fault.As(got.Err()); c.code != "" && (e.Kind != fault.Denied || e.Field != c.field || e.Code != c.code) {
			t.Errorf("error %v", got.Err())
		}
	}
}

func TestAProtectedMemberEditsHisOwnProfile(t *testing.T) {
	b, act := office(t, append(operations, "boss: {label: Boss, founder: true}", "boss: {label: Boss, founder: true, protected: true}")...)
	act.Operation, act.Fields = authz.OpUpdate, []string{"name"}
	act.Target, act.After = on("boss", "boss"), after("boss")
	act.Target.Holders = held(b, act.At, "boss")
	if got := b.May(act); !got.Allowed {
		t.Errorf("got %+v", got)
	}
	act.After = after("boss", "helper")
	if got := b.May(act); got.Code != "protected" {
		t.Errorf("his own roles: got %+v, want protected", got)
	}
}

func TestARequirementThatWasBrokenBeforeBlocksNothingElse(t *testing.T) {
	// Visitors change users, which requires to list them, which they cannot.
	b, act := office(t, append(operations, "cells: 'YYM'", "cells: 'YY-'", "cells: 'YY-', disputed: helper", "cells: 'Y-Y', disputed: helper",
		"requires: {users.update: [users.list]}", "requires: {users.update: [users.list], extras.use: [extras.see]}")...)
	act.Operation, act.Target, act.After = authz.OpGrant, on("vic", "visitor"), after("visitor", "boss")
	if got := b.May(act); !got.Allowed {
		t.Errorf("a role that mends it: got %+v", got)
	}
	act.Target, act.After = on("vic"), after("visitor")
	if got := b.May(act); got.Code != "requires:users.list" {
		t.Errorf("the role that breaks it: got %+v", got)
	}
	act.Target, act.After = on("vic", "visitor", "helper"), after("visitor", "helper")
	act.Operation = authz.OpUpdate
	if got := b.May(act); !got.Allowed {
		t.Errorf("an update that changes no role: got %+v", got)
	}
}

func TestATenantThatBreaksAnInvariantCanBeMended(t *testing.T) {
	b, act := office(t, append(operations, "invariants:\n", "invariants:\n- {rule: max_holders, role: helper, per: tenant, n: 1}\n")...)
	act.Operation = authz.OpUpdate
	act.Target, act.After = on("ann", "helper"), after("helper")
	act.Tallies = []authz.Tally{{Held: 3, Able: 3}, {Held: 0}, {Held: 3, Able: 3}}
	if got := b.May(act); !got.Allowed {
		t.Errorf("an act that leaves three helpers and no boss: got %+v", got)
	}
	act.Operation, act.After = authz.OpGrant, after("helper", "boss")
	if got := b.May(act); !got.Allowed {
		t.Errorf("a first boss: got %+v", got)
	}
	act.Target, act.After = on("ann", "boss"), after("boss", "helper")
	if got := b.May(act); got.Code != "max_holders" {
		t.Errorf("a fourth helper: got %+v", got)
	}
}

func TestTheLastMemberStays(t *testing.T) {
	b, act := office(t, operations...)
	act.Operation, act.Target = authz.OpDelete, on("ann", "helper")
	act.Tallies = []authz.Tally{{Held: 1, Able: 1}, {Held: 1, Able: 1}}
	if got := b.May(act); got.Code != "last_member" {
		t.Errorf("got %+v, want last_member", got)
	}
	act.Tallies[1].Held = 2
	if got := b.May(act); !got.Allowed {
		t.Errorf("with another member: got %+v", got)
	}
}

func TestWithoutTalliesNobodyIsTaken(t *testing.T) {
	b, act := office(t, operations...)
	act.Operation, act.Target, act.Tallies = authz.OpDelete, on("ann", "boss"), nil
	if got := b.May(act); got.Code != "last_holder" {
		t.Errorf("got %+v, want last_holder", got)
	}
}

func TestRolesThatCannotBeHeldAreRefusedEvenToOperators(t *testing.T) {
	b, act := office(t, append(operations, "visitor: {label: Visitor}",
		"visitor: {label: Visitor}\n  old: {label: Old, lifecycle: retired}\n  all: {label: All, implicit: true}\n  bot: {label: Bot, hidden: true, holders_kind: service}")...)
	act.Operation, act.Actor = authz.OpGrant, authz.Actor{Operator: true}
	for role, code := range map[string]string{"old": "retired", "all": "implicit", "seat": "resource", "bot": "holders_kind", "king": "unknown_role:king", "helper": ""} {
		act.Target, act.After = on("ann", "boss"), after("boss", role)
		if got := b.May(act); got.Code != code {
			t.Errorf("%s: got %q, want %q", role, got.Code, code)
		}
	}
}

func TestTheStaffsOwnEntitlementCounts(t *testing.T) {
	b := blueprint(t, "emnify")
	for _, c := range []struct {
		entitlement string
		want        bool
	}{{"channel_support", true}, {"sso", false}} {
		telco := b.Tenant(authz.TenantFacts{ID: "telco", Status: "enabled", Entitlements: []string{c.entitlement}})
		client := b.Tenant(authz.TenantFacts{ID: "client", Status: "enabled", Ancestors: map[string][]id.Tenant{"channel": {"telco"}}})
		a := authz.Assumption{
			Staff: authz.Actor{User: "staff", Holders: held(b, telco, "support"), Channel: authz.ChannelPortal},
			User:  "cary", At: client, UserStatus: "active", TenantStatus: "enabled",
		}
		if got := b.MayAssume(a); got.Allowed != c.want {
			t.Errorf("%s: got %+v, want %t", c.entitlement, got, c.want)
		}
		a.InSession = true
		if got := b.MayAssume(a); got.Code != "nested" {
			t.Errorf("in a session: got %+v, want nested", got)
		}
	}
	one := blueprint(t, "1nce")
	fleet := one.Tenant(authz.TenantFacts{ID: "fleet", Status: "enabled"})
	if got := one.MayAssume(authz.Assumption{At: fleet}); got.Code != "no_support" {
		t.Errorf("a portal without support sessions: got %+v", got)
	}
}

func TestDecisionAsJSONAndError(t *testing.T) {
	b, act := office(t)
	act.Operation = "dance"
	d := b.May(act)
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"allowed":false,"operation":"dance","tenant":"office","code":"no_such_operation"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(d.Err(), fault.Denied) || fault.As(d.Err()).Code != "no_such_operation" {
		t.Errorf("error %v", d.Err())
	}
	if err := (authz.Decision{Allowed: true}).Err(); err != nil {
		t.Errorf("allowed: %v", err)
	}
}

func TestGrantAndRevokeAreAdministeredApart(t *testing.T) {
	b, act := office(t, append(operations, "administers: visitor, cells: 'YY-'", "administers: visitor, cells: '---'", "list: [visitor]", "grant: [visitor]")...)
	act.Operation, act.Target, act.After = authz.OpGrant, on("vic", "visitor"), after("visitor", "helper")
	if got := b.May(act); !got.Allowed {
		t.Errorf("a role more: got %+v", got)
	}
	act.After = after("helper")
	if got := b.May(act); got.Code != "administers:visitor" {
		t.Errorf("a role less: got %+v, want administers:visitor", got)
	}
}

func TestAGatedSupportPermissionNeedsTheStaffsEntitlement(t *testing.T) {
	b, _ := office(t, "  permission: users.update", "  permission: extras.use")
	for _, ents := range [][]string{{"extra"}, nil} {
		home := b.Tenant(authz.TenantFacts{ID: "home", Status: "enabled", Entitlements: ents})
		below := b.Tenant(authz.TenantFacts{ID: "below", Status: "enabled", Entitlements: []string{"extra"}, Ancestors: map[string][]id.Tenant{"supply": {"home"}}})
		got := b.MayAssume(authz.Assumption{
			Staff: authz.Actor{User: "staff", Holders: held(b, home, "boss"), Channel: authz.ChannelPortal},
			User:  "cary", At: below, UserStatus: "active", TenantStatus: "enabled", Consented: true,
		})
		if got.Allowed != (ents != nil) {
			t.Errorf("entitlements %v: got %+v", ents, got)
		}
	}
}
