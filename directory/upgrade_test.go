package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
)

// desk is a small role system in its first version; later versions are edits.
const desk = `
blueprint: desk
version: 1
tenants:
  relations: {}
  tiers: {gold: {entitlements: [archive]}}
  statuses: {enabled: {sign_in: true}}
entitlements: {archive: {gates: [archive.read]}}
roles:
  boss:  {label: Boss, founder: true, holders_kind: human}
  clerk: {label: Clerk}
  guest: {label: Guest}
  bot:   {label: Bot, channel: [api], holders_kind: service}
columns: [boss, clerk, guest, bot]
cells: {Y: reach, '-': none}
permissions:
- area: Desk
  rows:
  - {row: Read,    keys: [files.read],    cells: 'YYYY'}
  - {row: Write,   keys: [files.write],   cells: 'YY-Y'}
  - {row: Archive, keys: [archive.read],  cells: 'YY--'}
  - {row: People,  keys: [people.manage], cells: 'Y---'}
administers: {boss: {any: [boss, clerk, guest, bot]}}
admin_ops: {create: people.manage, grant: people.manage, revoke: people.manage, update: people.manage, suspend: people.manage, delete: people.manage, list: people.manage}
self: {roles: deny, delete: deny, fields: {}}
membership:
  roles: {min: 1, max: null}
  statuses:
    waiting:   {sign_in: false, to: [active, deleted]}
    invited:   {sign_in: false, to: [active, suspended, deleted]}
    active:    {sign_in: true,  to: [suspended, deleted]}
    suspended: {sign_in: false, to: [active, deleted]}
    deleted:   {sign_in: false, to: []}
support: {permission: null}
invariants:
- {rule: min_holders, roles: [boss], per: tenant, n: 1}
`

// withoutClerk is version 2: the clerks go, helpers come, who may do less.
const withoutClerk = `version: 2|clerk: {label: Clerk}|helper: {label: Helper}|columns: [boss, clerk,|columns: [boss, helper,|` +
	`keys: [files.write],   cells: 'YY-Y'|keys: [files.write],   cells: 'Y-YY'|any: [boss, clerk,|any: [boss, helper,`

// edited returns desk with replacements: "version: N|old|new|old|new…".
func edited(t *testing.T, edits string) []byte {
	t.Helper()
	parts := strings.Split(edits, "|")
	text := strings.Replace(desk, "version: 1", parts[0], 1)
	for i := 1; i+1 < len(parts); i += 2 {
		if !strings.Contains(text, parts[i]) {
			t.Fatalf("the role system has no %q", parts[i])
		}
		text = strings.Replace(text, parts[i], parts[i+1], 1)
	}
	return []byte(text)
}

// desks loads the first version and makes tenants on it; each has a boss, and
// the people "name@slug: role".
func (w *world) desks(people map[string]string, slugs ...string) map[string]id.Tenant {
	w.t.Helper()
	ctx := operator(w.t)
	if _, err := w.Upgrade(ctx, []byte(desk), nil); err != nil {
		w.t.Fatal(err)
	}
	tenants := map[string]id.Tenant{}
	for _, slug := range slugs {
		t, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: slug, Blueprint: "desk"})
		if err != nil {
			w.t.Fatal(err)
		}
		tenants[slug] = t.ID
		w.member(t.ID, "boss@"+slug+".example", "boss")
	}
	for address, role := range people {
		_, domain, _ := strings.Cut(address, "@")
		w.member(tenants[strings.TrimSuffix(domain, ".example")], address, role)
	}
	return tenants
}

func (w *world) member(tenant id.Tenant, address string, roles ...string) *directory.Membership {
	w.t.Helper()
	ctx := operator(w.t)
	u, err := w.SaveUser(ctx, directory.UserSpec{Email: address})
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := w.SaveMembership(ctx, tenant, u, directory.MembershipSpec{Roles: roles})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// roles returns what the person has in the tenant, with the version.
func (w *world) rolesOf(tenant id.Tenant, address string) string {
	w.t.Helper()
	u, err := w.store.UserByEmail(w.t.Context(), address)
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := w.Standing(w.t.Context(), tenant, u.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("%d: %s", st.BlueprintVersion, strings.Join(st.Roles, " "))
}

func TestUpgradeMovesEverybodyInOneTransaction(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenants := w.desks(map[string]string{"cleo@one.example": "clerk", "gus@one.example": "guest"}, "one", "two")
		group, err := w.CreateGroup(ctx, tenants["two"], map[string]any{"displayName": "Clerks"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		grouped := w.member(tenants["two"], "greta@two.example", "guest")
		if _, err := w.store.AddMembers(ctx, tenants["two"], group.ID, []directory.Member{{ID: string(grouped.ID), Kind: directory.MemberUser}}); err != nil {
			t.Fatal(err)
		}
		if err := w.MapGroupRole(ctx, tenants["two"], "Clerks", "clerk"); err != nil {
			t.Fatal(err)
		}
		source := edited(t, withoutClerk)

		plan, err := w.PlanUpgrade(ctx, source, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			`one: 1 member: version 2 lacks the role "clerk", give a replacement for it, or drop it`,
			`two: 1 member, 1 group mapping: version 2 lacks the role "clerk", give a replacement for it, or drop it`,
		}
		if !cmp.Equal(plan.Problems, want) {
			t.Error(cmp.Diff(want, plan.Problems))
		}
		if _, err := w.Upgrade(ctx, source, nil); fault.As(err).Code != "upgrade" || !strings.Contains(fault.As(err).Detail, want[1]) {
			t.Errorf("without a replacement: %v", err)
		}

		replace := map[string]string{"clerk": "helper"}
		if plan, err = w.PlanUpgrade(ctx, source, replace); err != nil || len(plan.Problems) > 0 {
			t.Fatalf("got %+v, %v", plan, err)
		}
		one := plan.Tenants[slices.IndexFunc(plan.Tenants, func(t directory.TenantUpgrade) bool { return t.Slug == "one" })]
		if !cmp.Equal(one.Lose.Names, []string{"cleo@one.example"}) || !cmp.Equal(one.Gain.Names, []string{"gus@one.example"}) {
			t.Errorf("cleo loses files.write, gus gains it, the boss administers whom he did: got %+v", one)
		}
		if got := w.rolesOf(tenants["one"], "cleo@one.example"); got != "1: clerk" {
			t.Errorf("a plan changed something: %s", got)
		}

		if _, err := w.Upgrade(ctx, source, replace); err != nil {
			t.Fatal(err)
		}
		for address, want := range map[string]string{
			"cleo@one.example": "2: helper", "gus@one.example": "2: guest", "boss@one.example": "2: boss",
		} {
			if got := w.rolesOf(tenants["one"], address); got != want {
				t.Errorf("%s: got %s, want %s", address, got, want)
			}
		}
		if got := w.rolesOf(tenants["two"], "greta@two.example"); got != "2: guest helper" {
			t.Errorf("the group's mapping: got %s", got)
		}
		three, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: "three", Blueprint: "desk"})
		if err != nil || three.BlueprintVersion != 2 {
			t.Errorf("a new tenant begins on %+v, %v", three, err)
		}
		again, err := w.Upgrade(ctx, source, nil)
		if err != nil || !again.Nothing() {
			t.Errorf("the same version again: %+v, %v", again, err)
		}
	})
}

func TestUpgradeRefusals(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		tenants := w.desks(map[string]string{"cleo@one.example": "clerk"}, "one")
		ctx := operator(t)
		waiting := w.member(tenants["one"], "wim@one.example", "guest")
		if _, err := w.SetStatus(ctx, tenants["one"], waiting.ID, "waiting"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.PlanUpgrade(t.Context(), []byte(desk), nil); !errors.Is(err, fault.Denied) {
			t.Errorf("who is no operator: %v", err)
		}
		for name, c := range map[string]struct {
			edits   string
			replace map[string]string
			want    string
		}{
			"the same version with other contents":  {"version: 1|label: Guest|label: Visitor", nil, "count the version up"},
			"a replacement of a role that stays":    {withoutClerk, map[string]string{"guest": "boss"}, `"guest" is no role that version 2 lacks`},
			"an unknown replacement":                {withoutClerk, map[string]string{"clerk": "chief"}, "version 2 has no such role"},
			"a locked replacement":                  {withoutClerk + "|helper: {label: Helper}|helper: {label: Helper, lifecycle: locked}", map[string]string{"clerk": "helper"}, "it is locked"},
			"a replacement for service accounts":    {withoutClerk, map[string]string{"clerk": "bot"}, "only service accounts can hold"},
			"to drop somebody's only role":          {withoutClerk, map[string]string{"clerk": ""}, "would have fewer roles than 1: cleo@one.example"},
			"a status that somebody is in":          {"version: 2|    waiting:   {sign_in: false, to: [active, deleted]}\n|", nil, `1 member of the status "waiting", which version 2 lacks: wim@one.example`},
			"the last holder is left without":       {"version: 2|boss:  {label: Boss, founder: true, holders_kind: human}|chief: {label: Chief, founder: true}|columns: [boss,|columns: [chief,|administers: {boss: {any: [boss,|administers: {chief: {any: [chief,|roles: [boss]|roles: [chief]", map[string]string{"boss": "guest"}, "hold [chief]; it needs 1"},
			"more would hold a role than may do so": {"version: 2|clerk: {label: Clerk}|boy:   {label: Boy, holders: {max: 1, per: tenant}}|columns: [boss, clerk, guest|columns: [boss, boy, gast|guest: {label: Guest}|gast:  {label: Gast}|any: [boss, clerk, guest,|any: [boss, boy, gast,", map[string]string{"clerk": "boy", "guest": "boy"}, "2 members would hold [boy]; at most 1 may"},
		} {
			_, err := w.Upgrade(ctx, edited(t, c.edits), c.replace)
			if err == nil || !strings.Contains(fault.As(err).Detail, c.want) {
				t.Errorf("%s: got %v, want %q", name, err, c.want)
			}
		}
		if got := w.rolesOf(tenants["one"], "cleo@one.example"); got != "1: clerk" {
			t.Errorf("a refused upgrade left %s", got)
		}
	})
}

// TestUpgradeTellsOfInvariantsThatAreBroken: they are no reason to refuse.
func TestUpgradeTellsOfInvariantsThatAreBroken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.desks(nil, "one")
		source := edited(t, "version: 2|- {rule: min_holders, roles: [boss], per: tenant, n: 1}|- {rule: min_holders, roles: [boss], per: tenant, n: 1}\n- {rule: min_holders, roles: [clerk], per: tenant, n: 1}")
		done, err := w.Upgrade(operator(t), source, nil)
		if err != nil || len(done.Notices) != 1 || !strings.Contains(done.Notices[0], "one: breaks an invariant") {
			t.Errorf("got %+v, %v", done, err)
		}
	})
}

// failing is a store in which the last write of an upgrade fails.
type failing struct{ *storage.Store }

// ReplaceBlueprintVersion implements directory.BlueprintStore.
func (failing) ReplaceBlueprintVersion(context.Context, directory.BlueprintVersion) error {
	return errors.New("the disk is full")
}

func TestUpgradeThatFailsLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		tenants := w.desks(map[string]string{"cleo@one.example": "clerk"}, "one")
		shipped, err := authz.Shipped()
		if err != nil {
			t.Fatal(err)
		}
		schemas, err := schema.Core()
		if err != nil {
			t.Fatal(err)
		}
		store := failing{w.store}
		d, err := directory.New(directory.Deps{
			Store: store, Holdings: w.ended, Passwords: w.authn, Rights: directory.NewRights(store, directory.NewBlueprints(store, shipped, time.Now)), Schemas: schemas, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Upgrade(operator(t), edited(t, withoutClerk), map[string]string{"clerk": "helper"}); err == nil {
			t.Fatal("no error")
		}
		if got := w.rolesOf(tenants["one"], "cleo@one.example"); got != "1: clerk" {
			t.Errorf("an upgrade that failed left %s", got)
		}
		if made, err := w.SaveTenant(operator(t), directory.TenantSpec{Slug: "two", Blueprint: "desk"}); err != nil || made.BlueprintVersion != 1 {
			t.Errorf("a new tenant begins on %+v, %v", made, err)
		}
	})
}

// TestUpgradeWhilePeopleChange grants roles and makes tenants while versions
// change: everybody ends up on the last version with a role that it has.
func TestUpgradeWhilePeopleChange(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		one := w.desks(nil, "one", "two")["one"]
		people := map[string]*directory.Membership{}
		for i := range 8 {
			address := fmt.Sprintf("p%d@one.example", i)
			people[address] = w.member(one, address, "guest")
		}
		var all sync.WaitGroup
		start := make(chan struct{})
		at := func(do func(ctx context.Context)) {
			all.Go(func() {
				<-start
				do(ctx)
			})
		}
		at(func(ctx context.Context) {
			if _, err := w.Upgrade(ctx, edited(t, withoutClerk), map[string]string{"clerk": "helper"}); err != nil {
				t.Errorf("upgrade: %v", err)
			}
		})
		for _, m := range people {
			at(func(ctx context.Context) {
				// Before the upgrade it is done and moved, after it there is no such role.
				if err := w.SetRoles(ctx, one, m.ID, []string{"clerk"}); err != nil && !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.Denied) {
					t.Errorf("grant: %v", err)
				}
			})
		}
		for i := range 8 {
			at(func(ctx context.Context) {
				if _, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: fmt.Sprintf("new-%d", i), Blueprint: "desk"}); err != nil {
					t.Errorf("tenant: %v", err)
				}
			})
		}
		close(start)
		all.Wait()
		for address := range people {
			if got := w.rolesOf(one, address); got != "2: helper" && got != "2: guest" {
				t.Errorf("%s: got %s", address, got)
			}
		}
		for i := range 8 {
			made, err := w.store.TenantByName(ctx, fmt.Sprintf("new-%d", i))
			if err != nil || made.BlueprintVersion != 2 {
				t.Errorf("got %+v, %v", made, err)
			}
		}
	})
}

// TestUpgradeAgainstTheFirstTenant: a shipped role system is stored when it is
// first used; whichever comes first, the loaded version stays in force.
func TestUpgradeAgainstTheFirstTenant(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		source, err := authz.ShippedSource("ingenuity")
		if err != nil {
			t.Fatal(err)
		}
		next := strings.Replace(string(source), "version: 1", "version: 2", 1)
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				if _, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: fmt.Sprintf("t-%d", i), Blueprint: "ingenuity"}); err != nil {
					t.Errorf("tenant: %v", err)
				}
			})
		}
		all.Go(func() {
			if _, err := w.Upgrade(ctx, []byte(next), nil); err != nil {
				t.Errorf("upgrade: %v", err)
			}
		})
		all.Wait()
		for i := range 6 {
			made, err := w.store.TenantByName(ctx, fmt.Sprintf("t-%d", i))
			if err != nil || made.BlueprintVersion != 2 {
				t.Errorf("got %+v, %v", made, err)
			}
		}
	})
}

// TestKeepUsed: a tenant from before versions were stored keeps its role system.
func TestKeepUsed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant := &directory.Tenant{
			ID: id.New[id.Tenant](), Slug: "old", Name: "Old", Blueprint: "emnify", BlueprintVersion: 1, Status: "enabled",
			Relations: map[string]id.Tenant{}, Created: time.Now(), Modified: time.Now(),
		}
		if err := w.store.CreateTenant(ctx, tenant); err != nil {
			t.Fatal(err)
		}
		shipped, err := authz.Shipped()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing to do
			if err := directory.NewBlueprints(w.store, shipped, time.Now).KeepUsed(ctx); err != nil {
				t.Fatal(err)
			}
		}
		stored, err := w.store.BlueprintVersion(ctx, "emnify", 1)
		if err != nil || !stored.InForce || len(stored.Source) == 0 {
			t.Errorf("stored: %+v, %v", stored, err)
		}
	})
}
