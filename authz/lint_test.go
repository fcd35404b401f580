package authz_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
)

// smallest is a blueprint without mistakes. The tests below change one line of
// it and expect the problem at that line.
const smallest = `blueprint: small
version: 1
tenants:
  relations: {supply: {shape: tree, up: supplier}, link: {shape: star}}
  tiers: {plus: {entitlements: [extra], quotas: {seats: 5}}}
  types: [one, two]
  statuses: {enabled: {sign_in: true}, closed: {sign_in: false}}
entitlements:
  extra: {gates: [extras.*], roles: [helper]}
roles:
  boss: {label: Boss, founder: true}
  helper: {label: Helper, reach: [self, supply.children]}
  visitor: {label: Visitor}
  seat: {label: Seat, resource: room, grantable_with: users.list}
columns: [boss, helper, visitor]
cells: {Y: reach, '-': none, M: hub}
permissions:
- area: Users
  rows:
  - {row: List, keys: [users.list], cells: 'YYM'}
  - {row: Change, keys: [users.update], cells: 'YY-', disputed: helper}
  - {row: Extras, keys: [extras.use], cells: 'YYY'}
  - {row: Administer Visitor, administers: visitor, cells: 'YY-'}
extra_permissions: {extras.see: [boss]}
extra_grants: {seat: [rooms.open]}
requires: {users.update: [users.list]}
administers:
  boss: {any: [boss, helper]}
admin_ops: {list: users.list, grant: users.update}
admin_password: {human: never, service: grant}
self:
  roles: {keep: [boss]}
  fields: {name: edit}
membership:
  roles: {min: 1, max: 2}
  statuses:
    active: {sign_in: true, to: [gone]}
    gone: {sign_in: false, to: []}
  set_on_create: [active]
  contact: {max: 1}
invitation: {by: email_link, resend: [active], ttl: 1h}
password: {min: 8, upper: 1}
signin: {lockout: {attempts: 3, for: 5m}, sso: {entitlement: extra}}
mfa: {required_when: {entitlement: extra}, methods: [totp], default_method: totp, set_by: users.update}
support:
  permission: users.update
  targets: {reach: supply.children, user_status: [active], tenant_status: [enabled]}
  role_override: [visitor]
  never: [extras.*]
requests: {more: {permission: users.list, approver: operator}}
invariants:
- {rule: min_holders, roles: [boss], per: tenant, n: 1}
- {rule: min_roles, per: membership, n: 1}
- {rule: min_members, per: tenant, n: 1}
`

func TestSmallestBlueprintHasNoMistake(t *testing.T) {
	if _, err := authz.Load([]byte(smallest)); err != nil {
		t.Fatal(err)
	}
}

// changed is a change of the smallest blueprint and the problem that it makes.
type changed struct {
	rule     string // of the format
	old, new string
	want     string // part of the problem; its line is that of the change
}

func (c changed) check(t *testing.T) {
	t.Helper()
	if strings.Count(smallest, c.old) != 1 {
		t.Fatalf("%q is not unique in the smallest blueprint", c.old)
	}
	before, _, _ := strings.Cut(smallest, c.old)
	line := strings.Count(before, "\n") + 1
	_, err := authz.Load([]byte(strings.Replace(smallest, c.old, c.new, 1)))
	if !errors.Is(err, fault.Invalid) {
		t.Fatalf("got %v, want a fault.Invalid", err)
	}
	problems, ok := errors.AsType[authz.Problems](err)
	if !ok {
		t.Fatalf("%v has no Problems", err)
	}
	for _, p := range problems {
		if p.Line == line && strings.Contains(p.String(), c.want) {
			return
		}
	}
	t.Errorf("got\n%v\nwant line %d: …%s…", problems, line, c.want)
}

func TestLint(t *testing.T) {
	for _, c := range []changed{
		{"a name is lower-case", "blueprint: small", "blueprint: Small Portal", "must be lower-case"},
		{"versions count from 1", "version: 1", "version: 0", "must be at least 1"},

		{"cell width is the number of columns", "cells: 'YYM'", "cells: 'YY'", "has 2 cells for 3 columns"},
		{"every letter is explained", "cells: 'YYM'", "cells: 'YYX'", "is not explained"},
		{"a letter is one character", "M: hub}", "MM: hub}", "a cell is one character"},
		{"a letter means a selector", "M: hub}", "M: moon}", `"moon" is no selector`},
		{"a column is a role", "columns: [boss, helper, visitor]", "columns: [boss, helper, guest]", `no role "guest"`},
		{"a role has one column", "columns: [boss, helper, visitor]", "columns: [boss, helper, helper]", "has a column already"},
		{"no duplicate permission", "keys: [users.update]", "keys: [users.list]", "stands at permissions[0].rows[0].keys[0] already"},
		{"a permission key is dotted words", "keys: [users.update]", "keys: [Update]", "is no permission key"},
		{"a row has keys or administers", "{row: Change, keys: [users.update]", "{row: Change, keys: [users.update], administers: boss", "either keys or administers"},
		{"an administers row names a role", "administers: visitor", "administers: guest", `no role "guest"`},
		{"an administers row has no selector", "administers: visitor, cells: 'YY-'", "administers: visitor, cells: 'MY-'", "takes only reach and none"},
		{"a disputed cell is a column", "disputed: helper", "disputed: seat", "is no column"},

		{"extra_permissions names roles", "{extras.see: [boss]}", "{extras.see: [guest]}", `no role "guest"`},
		{"extra_permissions are not in the table", "{extras.see: [boss]}", "{extras.use: [boss]}", "already"},
		{"extra_grants names roles", "{seat: [rooms.open]}", "{guest: [rooms.open]}", `no role "guest"`},
		{"extra_grants names permissions", "{seat: [rooms.open]}", "{seat: [rooms]}", "is no permission key"},

		{"a star has depth 1", "link: {shape: star}", "link: {shape: star, max_depth: 2}", "a star has depth 1"},
		{"a type is listed once", "types: [one, two]", "types: [one, one]", "listed already"},
		{"a tier names entitlements", "{entitlements: [extra], quotas", "{entitlements: [extra, more], quotas", `no entitlement "more"`},
		{"somebody can sign in to a tenant", "{enabled: {sign_in: true}", "{enabled: {sign_in: false}", "in no status can people sign in"},

		{"a pattern matches something", "gates: [extras.*]", "gates: [extra.*]", `"extra.*" matches no permission`},
		{"a pattern ends in .*", "gates: [extras.*]", "gates: [extr*]", "is neither a permission nor a prefix"},
		{"an entitlement names roles", "roles: [helper]}", "roles: [guest]}", `no role "guest"`},
		{"no entitlement without a source", "  extra: {gates", "  free: {}\n  extra: {gates", "no tenant can get it"},

		{"a role key is a word", "  visitor: {label: Visitor}", "  Visitor: {label: Visitor}", "is no role key"},
		{"a selector names a relation", "[self, supply.children]", "[self, demand.children]", `"demand" is not among tenants.relations`},
		{"a tree has no spokes", "[self, supply.children]", "[self, supply.spokes]", "does not fit relation"},
		{"a star has no descendants", "[self, supply.children]", "[self, link.descendants]", "does not fit relation"},
		{"acts_as names a role", "{label: Visitor}", "{label: Visitor, acts_as: [{role: guest, at: supply.children}]}", `no role "guest"`},
		{"acts_as another role", "{label: Visitor}", "{label: Visitor, acts_as: [{role: visitor, at: supply.children}]}", "cannot act as itself"},
		{"acts_as in another tenant", "{label: Visitor}", "{label: Visitor, acts_as: [{role: boss, at: self}]}", "does not lead to another tenant"},
		{"available names an entitlement", "{label: Visitor}", "{label: Visitor, available: more}", `no entitlement "more"`},
		{"grantable_with names a permission", "grantable_with: users.list", "grantable_with: users.look", `no permission "users.look"`},
		{"grant_needs is for resource roles", "{label: Visitor}", "{label: Visitor, grant_needs: comment}", "are for a role that is granted on a resource"},
		{"holders has a maximum", "{label: Visitor}", "{label: Visitor, holders: {max: 0, per: tenant}}", "must be at least 1"},
		{"a locked role is not implicit", "{label: Visitor}", "{label: Visitor, lifecycle: locked, implicit: true}", "cannot be locked"},
		{"a protected role is not implicit", "{label: Visitor}", "{label: Visitor, protected: true, implicit: true}", "cannot be protected"},
		{"on_link names a role", "{label: Visitor}", "{label: Visitor, on_link: {grant_to: longest_standing, of: guest}}", `no role "guest"`},
		{"on_link names another role", "{label: Visitor}", "{label: Visitor, on_link: {grant_to: longest_standing, of: visitor}}", "must be another role"},
		{"on_unlink names another role", "{label: Visitor}", "{label: Visitor, on_unlink: {replace_with: visitor, where: direct_membership}}", "must be another role"},
		{"one founder role", "{label: Visitor}", "{label: Visitor, founder: true}", `role "boss" is the founder's already`},
		{"a person can be the founder", "founder: true", "founder: true, holders_kind: service", "the first member, a person"},

		{"requires names permissions", "{users.update: [users.list]}", "{users.update: [users.look]}", `no permission "users.look"`},
		{"no cycle in requires", "{users.update: [users.list]}", "{users.update: [users.list], users.list: [extras.use], extras.use: [users.list]}", "in a circle"},
		{"administers names roles", "{any: [boss, helper]}", "{any: [boss, helper, guest]}", `no role "guest"`},
		{"administers names operations", "{any: [boss, helper]}", "{any: [boss, helper], dance: [boss]}", "is not among admin_ops"},
		{"an operation names a permission", "grant: users.update}", "grant: users.upgrade}", `no permission "users.upgrade"`},
		{"any is no operation", "grant: users.update}", "grant: users.update, any: users.list}", "any stands for all"},
		{"the secret's operation exists", "service: grant", "service: reset", "is not among admin_ops"},
		{"self.roles.keep names roles", "{keep: [boss]}", "{keep: [guest]}", `no role "guest"`},

		{"max is not below min", "{min: 1, max: 2}", "{min: 3, max: 2}", "is less than min"},
		{"a membership can have a role", "{min: 1, max: 2}", "{min: 0, max: 0}", "nobody could hold a role"},
		{"a status leads to statuses", "to: [gone]", "to: [gone, lost]", `no membership status "lost"`},
		{"a status that signs in ends", "to: [gone]", "to: []", "never ends"},
		{"set_on_create names statuses", "set_on_create: [active]", "set_on_create: [lost]", `no membership status "lost"`},
		{"there can be a contact", "contact: {max: 1}", "contact: {max: 0}", "must be at least 1"},
		{"resend names statuses", "resend: [active]", "resend: [lost]", `no membership status "lost"`},
		{"a preset is optional", "resend: [active]", "default: true", "for an invitation that is optional"},
		{"password classes fit min", "{min: 8, upper: 1}", "{min: 1, upper: 2}", "more characters of each class than min"},
		{"lock-out counts from 1", "attempts: 3", "attempts: 0", "must be at least 1"},
		{"sso names an entitlement", "sso: {entitlement: extra}", "sso: {entitlement: more}", `no entitlement "more"`},
		{"mfa names an entitlement", "required_when: {entitlement: extra}", "required_when: {entitlement: more}", `no entitlement "more"`},
		{"mfa names a role", "required_when: {entitlement: extra}", "required_when: {role: guest}", `no role "guest"`},
		{"mfa has methods", "methods: [totp], default_method: totp", "methods: []", "must not be empty"},
		{"the default method is a method", "default_method: totp", "default_method: email_otp", "is not among methods"},
		{"mfa.set_by names a permission", "set_by: users.update", "set_by: users.upgrade", `no permission "users.upgrade"`},

		{"support names a permission", "  permission: users.update", "  permission: users.upgrade", `no permission "users.upgrade"`},
		{"support.set_by names a permission", "  permission: users.update\n", "  set_by: users.upgrade\n  permission: users.update\n", `no permission "users.upgrade"`},
		{"support leads to other tenants", "targets: {reach: supply.children", "targets: {reach: self", "does not lead to another tenant"},
		{"support names user statuses", "user_status: [active]", "user_status: [lost]", `no membership status "lost"`},
		{"support names tenant statuses", "tenant_status: [enabled]", "tenant_status: [lost]", `no tenant status "lost"`},
		{"support overrides with roles", "role_override: [visitor]", "role_override: [guest]", `no role "guest"`},
		{"support never matches something", "never: [extras.*]", "never: [extra.*]", "matches no permission"},
		{"requests name a permission", "{permission: users.list, approver", "{permission: users.look, approver", `no permission "users.look"`},
		{"requests name an approver", "approver: operator", "approver: guest", `no role "guest"`},
		{"a request for a tenant names the relation", "approver: operator", "approver: operator, effect: create", "needs the relation"},
		{"a request for a tenant has a relation that is there", "approver: operator", "approver: operator, effect: link, relation: other", `no relation "other"`},
		{"only the operator links", "approver: operator", "approver: boss, effect: link, relation: supply", "only the operator links"},
		{"a relation is for tenants", "approver: operator", "approver: operator, relation: supply", "is for the effects create and link"},
		{"a request for a role names it", "approver: operator", "approver: operator, effect: reassign", "needs the role"},
		{"a request for a role has one that is there", "approver: operator", "approver: operator, effect: reassign, role: guest", `no role "guest"`},
		{"a role is for reassign", "approver: operator", "approver: operator, role: boss", "is for the effect reassign"},

		{"invariants count from 1", "{rule: min_members, per: tenant, n: 1}", "{rule: min_members, per: tenant, n: 0}", "must be at least 1"},
		{"invariants count per", "{rule: min_members, per: tenant, n: 1}", "{rule: min_members, per: membership, n: 1}", "counts per tenant"},
		{"min_members has no role", "{rule: min_members, per: tenant, n: 1}", "{rule: min_members, role: boss, per: tenant, n: 1}", "whatever the role"},
		{"min_roles fits the membership", "per: membership, n: 1", "per: membership, n: 3", "more than membership.roles.max"},
		{"min_holders has roles", "roles: [boss], per", "per", "takes either role or roles"},
		{"min_holders names roles", "roles: [boss], per", "roles: [guest], per", `no role "guest"`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			c.check(t)
		})
	}
}

// replaced returns the smallest blueprint after replacements, old and new in turn.
func replaced(t *testing.T, replace ...string) string {
	t.Helper()
	source := smallest
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(source, replace[i]) {
			t.Fatalf("%q is not in the smallest blueprint", replace[i])
		}
		source = strings.Replace(source, replace[i], replace[i+1], 1)
	}
	return source
}

// problemsOf loads the smallest blueprint after replacements.
func problemsOf(t *testing.T, replace ...string) string {
	t.Helper()
	_, err := authz.Load([]byte(replaced(t, replace...)))
	problems, _ := errors.AsType[authz.Problems](err)
	return problems.Error()
}

func TestLintOfMoreThanOneLine(t *testing.T) {
	for _, c := range []struct {
		rule    string
		replace []string
		want    string
	}{
		{
			"somebody can grant every open role",
			[]string{"  visitor: {label: Visitor}", "  visitor: {label: Visitor}\n  orphan: {label: Orphan}"},
			"line 14: roles.orphan: nobody can give it",
		},
		{
			"without a founder role somebody can give roles",
			[]string{", founder: true", "", "  boss: {any: [boss, helper]}", "  boss: {list: [boss]}", "administers: visitor, cells: 'YY-'", "administers: visitor, cells: '---'"},
			"no role is the founder's and none can give roles",
		},
		{
			"a min_holders role is not locked",
			[]string{"visitor: {label: Visitor}", "visitor: {label: Visitor, lifecycle: locked}", "roles: [boss], per", "roles: [visitor], per"},
			`line 52: invariants[0]: role "visitor" is locked`,
		},
		{
			"a role is administered by one row",
			[]string{"administers: visitor, cells: 'YY-'}", "administers: visitor, cells: 'YY-'}\n  - {row: Again, administers: visitor, cells: 'YY-'}"},
			`line 24: permissions[0].rows[4].administers: role "visitor" has such a row already`,
		},
		{
			"hub needs a star",
			[]string{", link: {shape: star}", ""},
			`"hub" needs a relation of shape star`,
		},
		{
			"held_at needs a star",
			[]string{", link: {shape: star}", "", "{label: Visitor}", "{label: Visitor, held_at: hub}"},
			"roles.visitor.held_at: hub needs a relation of shape star",
		},
		{
			"on_unlink needs a star",
			[]string{", link: {shape: star}", "", "{label: Visitor}", "{label: Visitor, on_unlink: {replace_with: boss, where: direct_membership}}"},
			"on_link and on_unlink need a relation of shape star",
		},
		{
			"somebody can sign in",
			[]string{"active: {sign_in: true", "active: {sign_in: false"},
			"line 37: membership.statuses: in no status can a member sign in",
		},
		{
			"without support sessions there is nothing to describe",
			[]string{"  permission: users.update", "  permission: null"},
			"without a permission there are no support sessions",
		},
		{
			"support says whom",
			[]string{"  targets: {reach: supply.children, user_status: [active], tenant_status: [enabled]}\n", ""},
			"support.targets: is required",
		},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := problemsOf(t, c.replace...); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant …%s…", got, c.want)
			}
		})
	}
}

func TestLintKeepsToTheWidthOfTheSets(t *testing.T) {
	var many strings.Builder
	for i := range 65 {
		many.WriteString("  r" + strconv.Itoa(i) + ": {label: R, hidden: true}\n")
	}
	if got := problemsOf(t, "  visitor: {label: Visitor}\n", "  visitor: {label: Visitor}\n"+many.String()); !strings.Contains(got, "roles: 69 are too many: at most 64") {
		t.Errorf("roles: got\n%s", got)
	}
	var keys strings.Builder
	for i := range 513 {
		keys.WriteString(", x.k" + strconv.Itoa(i))
	}
	if got := problemsOf(t, "[rooms.open]", "[rooms.open"+keys.String()+"]"); !strings.Contains(got, "permissions: 518 are too many: at most 512") {
		t.Errorf("permissions: got\n%s", got)
	}
}
