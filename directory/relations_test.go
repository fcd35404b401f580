package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// open makes a tenant of a role system.
func (w *world) open(slug, blueprint, tier string) id.Tenant {
	w.t.Helper()
	t, err := w.SaveTenant(operator(w.t), directory.TenantSpec{Slug: slug, Blueprint: blueprint, Tier: tier})
	if err != nil {
		w.t.Fatal(err)
	}
	return t.ID
}

// hire makes an active member with exactly these roles.
func (w *world) hire(tenant id.Tenant, address string, roles ...string) *directory.Membership {
	w.t.Helper()
	return w.take(tenant, address, directory.MembershipSpec{Roles: append([]string{}, roles...)})
}

func (w *world) take(tenant id.Tenant, address string, spec directory.MembershipSpec) *directory.Membership {
	w.t.Helper()
	user, err := w.SaveUser(operator(w.t), directory.UserSpec{Email: address})
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := w.SaveMembership(operator(w.t), tenant, user, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// held returns the roles that a member holds directly.
func (w *world) held(m *directory.Membership) []string {
	w.t.Helper()
	all, err := w.store.Assignments(w.t.Context(), m.Tenant, m.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var roles []string
	for _, a := range all {
		roles = append(roles, a.Role)
	}
	slices.Sort(roles)
	return roles
}

func (w *world) wantRoles(what string, m *directory.Membership, want ...string) {
	w.t.Helper()
	if got := w.held(m); !slices.Equal(got, want) {
		w.t.Errorf("%s holds %v, want %v", what, got, want)
	}
}

func (w *world) link(child id.Tenant, relation string, parent id.Tenant) {
	w.t.Helper()
	if err := w.Link(operator(w.t), directory.Edge{Tenant: child, Relation: relation, Parent: string(parent)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) unlink(child id.Tenant, relation string) {
	w.t.Helper()
	if err := w.Unlink(operator(w.t), child, relation); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) version(tenant id.Tenant) int64 {
	w.t.Helper()
	t, err := w.store.Tenant(w.t.Context(), tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	return t.Version
}

// actingAs is a context in which the member acts in the portal.
func actingAs(t *testing.T, m *directory.Membership) context.Context {
	t.Helper()
	return authz.NewContext(t.Context(), authz.Principal{
		Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, User: m.User, Tenant: m.Tenant, Membership: m.ID,
	})
}

// wantCode fails unless err is a fault of that kind and code.
func wantCode(t *testing.T, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if f := fault.As(err); err == nil || f.Kind != kind || f.Code != code {
		t.Errorf("%s: %v, want %v %s", what, err, kind, code)
	}
}

func TestEMR39LinkingMakesOneSuperAdmin(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main, berlin, paris := w.open("main", "emnify", "pro"), w.open("berlin", "emnify", "standard"), w.open("paris", "emnify", "standard")
		waits := w.take(main, "waits@example.com", directory.MembershipSpec{Roles: []string{"administrator"}, Status: "invited"})
		observer := w.hire(main, "obs@example.com", "observer")
		first := w.hire(main, "first@example.com", "administrator")
		second := w.hire(main, "second@example.com", "administrator")
		local := w.hire(berlin, "local@example.com", "administrator")

		w.link(berlin, "link", main)
		w.wantRoles("the longest-standing active administrator", first, "superadmin")
		for what, m := range map[string]*directory.Membership{"one who has yet to accept": waits, "a younger one": second, "a spoke's": local} {
			w.wantRoles(what, m, "administrator")
		}
		w.wantRoles("an observer", observer, "observer")

		if err := w.SetRoles(operator(t), main, second.ID, []string{"superadmin"}); fault.As(err).Code != "max_holders" {
			t.Errorf("a second SuperAdmin: %v", err)
		}
		w.link(paris, "link", main)
		w.wantRoles("after a second link, the SuperAdmin", first, "superadmin")
		w.wantRoles("after a second link, another", second, "administrator")
	})
}

func TestEMR39AHubThatBecomesASpokeHasNoSuperAdmin(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main, other := w.open("main", "emnify", "pro"), w.open("other", "emnify", "pro")
		own := w.hire(other, "own@example.com", "superadmin")
		boss := w.hire(main, "boss@example.com", "superadmin")
		w.link(other, "link", main)
		w.wantRoles("the SuperAdmin of what became a spoke", own, "administrator")
		w.wantRoles("the hub's", boss, "superadmin")
	})
}

func TestEMR24Unlinking(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main, berlin, paris := w.open("main", "emnify", "pro"), w.open("berlin", "emnify", "standard"), w.open("paris", "emnify", "standard")
		w.link(berlin, "link", main)
		w.link(paris, "link", main)
		sa := w.hire(main, "sa@example.com", "superadmin")
		own := w.hire(berlin, "sa@example.com", "user")
		keeper := w.hire(berlin, "keeper@example.com", "administrator")
		obs := w.hire(paris, "obs@example.com", "observer")
		admin := w.hire(paris, "admin@example.com", "administrator")
		if a := w.explain(sa.User, "paris", "users.update"); !a.Allowed {
			t.Fatal("the SuperAdmin does not reach a spoke")
		}

		w.unlink(berlin, "link")
		w.wantRoles("the SuperAdmin where he is a member on his own", own, "administrator")
		w.wantRoles("the SuperAdmin while a spoke is left", sa, "superadmin")
		w.wantRoles("another member of the spoke", keeper, "administrator")
		if homes := w.ended.reaches[berlin]; !slices.Equal(homes, []id.Tenant{berlin}) {
			t.Errorf("reach to berlin is left from %v", homes)
		}

		w.unlink(paris, "link")
		w.wantRoles("the SuperAdmin without a spoke", sa, "administrator")
		w.wantRoles("a member of the last spoke", obs, "observer")
		w.wantRoles("its administrator", admin, "administrator")
		for tenant, want := range map[string]bool{"main": true, "berlin": true, "paris": false} {
			if a := w.explain(sa.User, tenant, "users.update"); a.Allowed != want {
				t.Errorf("EM-R24 at %s: %v, want %v", tenant, a.Allowed, want)
			}
		}
		if err := w.Unlink(operator(t), paris, "link"); !errors.Is(err, fault.NotFound) {
			t.Errorf("a second time: %v", err)
		}
	})
}

func (w *world) explain(user id.User, tenant, permission string) *directory.Answer {
	w.t.Helper()
	a, err := w.Explain(w.t.Context(), directory.Bearer{User: user}, tenant, permission, authz.ChannelPortal)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestRelationsStayForests(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		refused := func(what string, e directory.Edge) {
			t.Helper()
			if err := w.Link(operator(t), e); !errors.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		hub, spoke, third := w.open("hub", "emnify", "pro"), w.open("spoke", "emnify", "pro"), w.open("third", "emnify", "pro")
		w.link(spoke, "link", hub)
		refused("a spoke as a hub", directory.Edge{Tenant: third, Relation: "link", Parent: "spoke"})
		refused("a hub as a spoke", directory.Edge{Tenant: hub, Relation: "link", Parent: "third"})
		refused("itself", directory.Edge{Tenant: third, Relation: "link", Parent: "third"})
		refused("another role system", directory.Edge{Tenant: third, Relation: "link", Parent: string(w.tenant("plain"))})
		refused("nobody", directory.Edge{Tenant: third, Relation: "link", Parent: "nobody"})
		refused("no relation", directory.Edge{Tenant: third, Relation: "friends", Parent: "hub"})

		top, mid, low := w.open("top", "emnify", ""), w.open("mid", "emnify", ""), w.open("low", "emnify", "")
		w.link(mid, "channel", top)
		w.link(low, "channel", mid)
		refused("a circle", directory.Edge{Tenant: top, Relation: "channel", Parent: "low"})

		master, sub, subsub := w.open("master", "1nce", "standard"), w.open("sub", "1nce", "standard"), w.open("subsub", "1nce", "standard")
		w.link(subsub, "sub", sub)
		refused("a master with subs under another", directory.Edge{Tenant: sub, Relation: "sub", Parent: string(master)})
	})
}

func TestTwoLinksAtOnceMakeNoCircle(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 5 {
			pair := []id.Tenant{w.open(fmt.Sprintf("a%d", i), "emnify", ""), w.open(fmt.Sprintf("b%d", i), "emnify", "")}
			errs := make([]error, 2)
			var wait sync.WaitGroup
			for j := range errs {
				wait.Go(func() {
					errs[j] = w.Link(operator(t), directory.Edge{Tenant: pair[j], Relation: "channel", Parent: string(pair[1-j])})
				})
			}
			wait.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), fault.Invalid) {
				t.Fatalf("each under the other: %v and %v", errs[0], errs[1])
			}
		}
	})
}

func TestLinkingRaisesTheVersionsBelow(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		top, mid, low, leaf := w.open("top", "emnify", ""), w.open("mid", "emnify", ""), w.open("low", "emnify", ""), w.open("leaf", "emnify", "")
		w.link(low, "channel", mid)
		w.link(leaf, "link", low)
		raises := func(what string, change func()) {
			t.Helper()
			tenants := []id.Tenant{mid, low, leaf}
			before := make([]int64, len(tenants))
			for i, tenant := range tenants {
				before[i] = w.version(tenant)
			}
			change()
			for i, tenant := range tenants {
				if after := w.version(tenant); after <= before[i] {
					t.Errorf("%s: the version of tenant %d is %d, was %d", what, i, after, before[i])
				}
			}
		}
		raises("link", func() { w.link(mid, "channel", top) })
		raises("unlink", func() { w.unlink(mid, "channel") })
	})
}

func TestLinkingIsTheOperators(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		hub, spoke := w.open("hub", "emnify", "pro"), w.open("spoke", "emnify", "pro")
		boss := w.hire(hub, "boss@example.com", "superadmin")
		admin := w.hire(spoke, "admin@example.com", "administrator")
		for what, ctx := range map[string]context.Context{"the hub's SuperAdmin": actingAs(t, boss), "the spoke's administrator": actingAs(t, admin), "nobody": t.Context()} {
			wantCode(t, what, w.Link(ctx, directory.Edge{Tenant: spoke, Relation: "link", Parent: "hub"}), fault.Denied, "operator")
			wantCode(t, what, w.Unlink(ctx, spoke, "link"), fault.Denied, "operator")
		}
	})
}

func TestEMR37QuotaOfLinkedWorkspaces(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		hub := w.open("hub", "emnify", "pro")
		spokes := make([]id.Tenant, 6)
		for i := range spokes {
			spokes[i] = w.open(fmt.Sprintf("spoke-%d", i), "emnify", "standard")
		}
		w.link(spokes[0], "link", hub)
		w.link(spokes[1], "link", hub)

		// Two at once for the last place: one must lose.
		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() {
				errs[i] = w.Link(operator(t), directory.Edge{Tenant: spokes[2+i], Relation: "link", Parent: "hub"})
			})
		}
		wait.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("of two at once: %v and %v", errs[0], errs[1])
		}
		wantCode(t, "the loser", errors.Join(errs...), fault.Denied, "quota")
		wantCode(t, "a fourth", w.Link(operator(t), directory.Edge{Tenant: spokes[4], Relation: "link", Parent: "hub"}), fault.Denied, "quota")
		if err := w.Link(operator(t), directory.Edge{Tenant: spokes[4], Relation: "link", Parent: "hub", OverQuota: true}); err != nil {
			t.Errorf("by the operator's word: %v", err)
		}
	})
}
