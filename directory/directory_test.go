package directory_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
)

// holdings records what a lock-out ends: the boundary to oidc.
type holdings struct {
	mu          sync.Mutex
	memberships []id.Membership
	logins      []id.User
	reaches     map[id.Tenant][]id.Tenant // homes that were left, by tenant
}

func (h *holdings) EndMembership(_ context.Context, _ id.Tenant, membership id.Membership, _ id.User) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memberships = append(h.memberships, membership)
	return nil
}

func (h *holdings) EndReach(_ context.Context, tenant id.Tenant, homes []id.Tenant) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reaches == nil {
		h.reaches = map[id.Tenant][]id.Tenant{}
	}
	h.reaches[tenant] = homes
	return nil
}

func (h *holdings) EndSupport(context.Context, id.Tenant, string) error { return nil }

func (h *holdings) EndLogin(_ context.Context, user id.User) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logins = append(h.logins, user)
	return nil
}

type world struct {
	*directory.Directory
	t     *testing.T
	store *storage.Store
	authn *authn.Authn
	ended *holdings
	heard *follower
}

// each runs the test on both databases with a fresh directory.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		ring, err := secret.NewKeyring(secret.NewMasterKey())
		if err != nil {
			t.Fatal(err)
		}
		now := func() time.Time { return time.Now().UTC() }
		shipped, err := authz.Shipped()
		if err != nil {
			t.Fatal(err)
		}
		rights := directory.NewRights(s, directory.NewBlueprints(s, shipped, now))
		auth, err := authn.New(authn.Deps{Store: s, Rights: rights, Keyring: ring, Now: now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		schemas, err := schema.Core()
		if err != nil {
			t.Fatal(err)
		}
		ended, heard := &holdings{}, &follower{}
		d, err := directory.New(directory.Deps{Store: s, Holdings: ended, Passwords: auth, Followers: []directory.Follower{heard}, Rights: rights, Schemas: schemas, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		test(t, &world{d, t, s, auth, ended, heard})
	})
}

func (w *world) tenant(slug string, domains ...string) id.Tenant {
	w.t.Helper()
	tenant, err := w.SaveTenant(operator(w.t), directory.TenantSpec{Slug: slug, Domains: domains})
	if err != nil {
		w.t.Fatal(err)
	}
	return tenant.ID
}

func (w *world) push(tenant id.Tenant, address string, extra ...string) *directory.Membership {
	w.t.Helper()
	m, err := w.CreateMembership(operator(w.t), tenant, person(address, extra...))
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// person is a User resource as a directory sends it.
func person(address string, extra ...string) map[string]any {
	doc := map[string]any{
		"userName": address, "active": true, "displayName": "The " + address,
		"emails": []any{map[string]any{"value": address, "type": "work", "primary": true}},
	}
	for i := 0; i+1 < len(extra); i += 2 {
		doc[extra[i]] = extra[i+1]
	}
	return doc
}

func (w *world) user(m *directory.Membership) *directory.User {
	w.t.Helper()
	u, err := w.store.User(operator(w.t), m.User)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func (w *world) setActive(m *directory.Membership, active bool) (*directory.Membership, error) {
	return w.ChangeMembership(operator(w.t), m.Tenant, m.ID, 0, func(doc map[string]any) (map[string]any, error) {
		doc["active"] = active
		return doc, nil
	})
}

func TestLinking(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		acme := w.tenant("acme", "acme.example")
		other := w.tenant("other")

		t.Run("a verified domain: the user is managed and active at once", func(t *testing.T) {
			m := w.push(acme, "ann@acme.example")
			u := w.user(m)
			if m.Status != directory.StatusActive || !m.Managed || !u.EmailVerified || u.Email != "ann@acme.example" {
				t.Errorf("membership %+v of %+v", m, u)
			}
		})
		t.Run("somebody else's user: the membership waits, and nothing changes for them", func(t *testing.T) {
			before, err := w.store.UserByEmail(ctx, "ann@acme.example")
			if err != nil {
				t.Fatal(err)
			}
			m := w.push(other, "ANN@acme.example", "password", "chosen by a stranger")
			if m.User != before.ID || m.Status != directory.StatusInvited || m.Managed {
				t.Errorf("membership %+v, want one that waits for %s", m, before.ID)
			}
			if doc := m.Document(); doc["active"] != true {
				t.Errorf("SCIM shows active %v, want true as it was sent", doc["active"])
			}
			if after := w.user(m); *after != *before {
				t.Errorf("the user has changed: %+v, was %+v", after, before)
			}
			if has, err := w.authn.HasPassword(ctx, m.User); err != nil || has {
				t.Errorf("a stranger set a password (%v, %v)", has, err)
			}
			st, err := w.Standing(ctx, other, m.User)
			if err != nil || st.SignIn {
				t.Errorf("standing %+v, %v: may sign in before acceptance", st, err)
			}
			if err := w.Accept(ctx, other, m.User); err != nil {
				t.Fatal(err)
			}
			if st, err = w.Standing(ctx, other, m.User); err != nil || !st.SignIn {
				t.Errorf("standing %+v, %v: may not sign in after acceptance", st, err)
			}
			if err := w.Accept(ctx, other, m.User); !errors.Is(err, fault.NotFound) {
				t.Errorf("accepted twice: %v", err)
			}
		})
		t.Run("suspending where the person is not managed leaves the login", func(t *testing.T) {
			m, err := w.store.MembershipByUserName(ctx, other, "ann@acme.example")
			if err != nil {
				t.Fatal(err)
			}
			if m, err = w.setActive(m, false); err != nil || m.Status != directory.StatusSuspended {
				t.Fatalf("%+v, %v", m, err)
			}
			if w.user(m).Disabled || len(w.ended.logins) != 0 {
				t.Error("a tenant switched off the login of somebody whom it does not manage")
			}
			if !slices.Contains(w.ended.memberships, m.ID) {
				t.Error("what the membership gave was not ended")
			}
		})
		t.Run("nobody's address: a user without credentials", func(t *testing.T) {
			m := w.push(other, "new@nowhere.example", "password", "chosen by the directory")
			u := w.user(m)
			has, err := w.authn.HasPassword(ctx, m.User)
			if m.Status != directory.StatusActive || m.Managed || u.EmailVerified || has || err != nil {
				t.Errorf("membership %+v of %+v, password %v, %v", m, u, has, err)
			}
		})
		t.Run("nobody's address in another tenant's domain waits for its person", func(t *testing.T) {
			m := w.push(other, "future@acme.example")
			if m.Status != directory.StatusInvited || m.Managed {
				t.Errorf("membership %+v", m)
			}
		})
		t.Run("an operator is managed by nobody", func(t *testing.T) {
			yes := true
			if _, err := w.SaveUser(ctx, directory.UserSpec{Email: "root@acme.example", Operator: &yes}); err != nil {
				t.Fatal(err)
			}
			m := w.push(acme, "root@acme.example", "password", "a directory's choice")
			if m.Managed || m.Status != directory.StatusInvited {
				t.Errorf("membership %+v", m)
			}
			if _, err := w.setActive(m, false); err != nil {
				t.Fatal(err)
			}
			if w.user(m).Disabled {
				t.Error("a directory switched the operator's login off")
			}
		})
		t.Run("a second account with one mailbox gets a user of its own that can't sign in", func(t *testing.T) {
			doc := person("ann@acme.example")
			doc["userName"] = "ann-admin"
			m, err := w.CreateMembership(ctx, acme, doc)
			if err != nil {
				t.Fatal(err)
			}
			if u := w.user(m); u.Email != "" || m.Managed {
				t.Errorf("membership %+v of %+v", m, u)
			}
		})
		t.Run("a managed user's first password may come from the directory, later ones not", func(t *testing.T) {
			m := w.push(acme, "bea@acme.example", "password", "correct horse battery")
			if has, err := w.authn.HasPassword(ctx, m.User); err != nil || !has {
				t.Fatalf("no password was set (%v)", err)
			}
			before, err := w.store.PasswordHash(ctx, m.User)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.ChangeMembership(ctx, acme, m.ID, 0, func(doc map[string]any) (map[string]any, error) {
				doc["password"] = "another one of theirs"
				return doc, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if after, err := w.store.PasswordHash(ctx, m.User); err != nil || after != before {
				t.Errorf("the directory changed a password that was set (%v)", err)
			}
		})
	})
}

func TestManagedLogin(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme, twin := w.tenant("acme", "acme.example"), w.tenant("twin", "acme.example")
		one, two := w.push(acme, "ann@acme.example"), w.push(twin, "ann@acme.example")
		if one.User != two.User || !two.Managed {
			t.Fatalf("two tenants with one domain: %+v and %+v", one, two)
		}
		steps := []struct {
			name     string
			m        *directory.Membership
			active   bool
			disabled bool
			logins   int
		}{
			{"one of two managers suspends: the login stays", one, false, false, 0},
			{"the other one too: the login is off", two, false, true, 1},
			{"one switches on again: the login is on", one, true, false, 1},
			{"and off: off at once", one, false, true, 2},
		}
		for _, step := range steps {
			if _, err := w.setActive(step.m, step.active); err != nil {
				t.Fatal(err)
			}
			if got := w.user(one).Disabled; got != step.disabled || len(w.ended.logins) != step.logins {
				t.Errorf("%s: disabled %v, logins ended %d; want %v, %d", step.name, got, len(w.ended.logins), step.disabled, step.logins)
			}
		}
		if err := w.DeleteMembership(operator(t), acme, one.ID, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.User(operator(t), one.User); err != nil {
			t.Errorf("the user of another tenant's membership was deleted: %v", err)
		}
		if err := w.DeleteMembership(operator(t), twin, two.ID, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.User(operator(t), one.User); !errors.Is(err, fault.NotFound) {
			t.Errorf("a user whom nobody knows is still there: %v", err)
		}
		again := w.push(acme, "ann@acme.example")
		if again.User == one.User || again.ID == one.ID {
			t.Error("an identifier was used again")
		}
	})
}

func TestLastHolder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant := w.tenant("acme", "acme.example")
		ann, bob := w.push(tenant, "ann@acme.example"), w.push(tenant, "bob@acme.example")
		group, err := w.CreateGroup(ctx, tenant, map[string]any{"displayName": "Owners"}, []directory.MemberChange{{Op: directory.AddMembers, IDs: []string{string(bob.ID)}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.SetRoles(ctx, tenant, ann.ID, []string{"owner"}), w.MapGroupRole(ctx, tenant, "Owners", "owner")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.setActive(ann, false); err != nil {
			t.Fatalf("one of two owners can't be suspended: %v", err)
		}
		empty := func(map[string]any) (map[string]any, []directory.MemberChange, error) {
			return map[string]any{"displayName": "Owners"}, []directory.MemberChange{{Op: directory.ClearMembers}}, nil
		}
		refused := map[string]func() error{
			"suspend":          func() error { _, err := w.setActive(bob, false); return err },
			"delete":           func() error { return w.DeleteMembership(ctx, tenant, bob.ID, 0) },
			"leave the group":  func() error { _, err := w.ChangeGroup(ctx, tenant, group.ID, 0, empty); return err },
			"delete the group": func() error { return w.DeleteGroup(ctx, tenant, group.ID, 0) },
		}
		for name, try := range refused {
			err := try()
			if f := fault.As(err); f.Kind != fault.Denied || f.Code != "last_holder" {
				t.Errorf("%s: err = %v, want last_holder", name, err)
			}
			st, err := w.Standing(ctx, tenant, bob.User)
			if err != nil || !st.SignIn || !slices.Contains(st.Roles, "owner") {
				t.Errorf("%s: bob is left with %+v, %v", name, st, err)
			}
		}
		if slices.Contains(w.ended.memberships, "") || len(w.ended.logins) > 1 {
			t.Errorf("refused changes ended logins: %v", w.ended.logins)
		}
	})
}

// TestLastHolderRace demotes both of two owners at once, by the ways that lock
// different rows: exactly one may pass.
func TestLastHolderRace(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		for round := range 8 {
			tenant := w.tenant("acme"+string(rune('a'+round)), "acme.example")
			ann, bob := w.push(tenant, "ann@acme.example"), w.push(tenant, "bob@acme.example")
			for _, m := range []*directory.Membership{ann, bob} {
				if err := w.SetRoles(ctx, tenant, m.ID, []string{"owner"}); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			results := make([]error, 2)
			wg.Go(func() { _, results[0] = w.setActive(ann, false) })
			wg.Go(func() { results[1] = w.SetRoles(ctx, tenant, bob.ID, []string{"member"}) })
			wg.Wait()
			passed := 0
			for _, err := range results {
				if err == nil {
					passed++
				} else if f := fault.As(err); f.Code != "last_holder" {
					t.Errorf("err = %v, want last_holder", err)
				}
			}
			if passed != 1 {
				t.Fatalf("%d of two demotions passed, want 1", passed)
			}
		}
	})
}

func TestGroupRules(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		a, b := w.tenant("a"), w.tenant("b")
		ann, bob := w.push(a, "ann@a.example"), w.push(b, "bob@b.example")
		add := func(tenant id.Tenant, group id.Group, ids ...string) error {
			_, err := w.ChangeGroup(ctx, tenant, group, 0, func(doc map[string]any) (map[string]any, []directory.MemberChange, error) {
				return doc, []directory.MemberChange{{Op: directory.AddMembers, IDs: ids}}, nil
			})
			return err
		}
		create := func(name string) *directory.Group {
			g, err := w.CreateGroup(ctx, a, map[string]any{"displayName": name}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		outer, inner := create("outer"), create("inner")
		if err := errors.Join(add(a, outer.ID, string(inner.ID)), add(a, inner.ID, string(ann.ID))); err != nil {
			t.Fatal(err)
		}
		for name, try := range map[string]func() error{
			"a member of another tenant": func() error { return add(a, inner.ID, string(bob.ID)) },
			"nobody":                     func() error { return add(a, inner.ID, string(id.New[id.Membership]())) },
			"itself":                     func() error { return add(a, outer.ID, string(outer.ID)) },
			"a group that contains it":   func() error { return add(a, inner.ID, string(outer.ID)) },
			"one good and one bad":       func() error { return add(a, outer.ID, string(ann.ID), "nobody") },
		} {
			if f := fault.As(try()); f.Kind != fault.Invalid || f.Field != "members" {
				t.Errorf("%s: %v, want invalid members", name, f)
			}
		}
		if f := fault.As(add(b, inner.ID, string(bob.ID))); f.Kind != fault.NotFound {
			t.Errorf("another tenant's group: %v, want not found", f)
		}
		members, err := w.store.Members(ctx, a, []id.Group{outer.ID}, "", 10)
		if err != nil || len(members) != 1 {
			t.Errorf("members %v, %v: a refused change was half done", members, err)
		}
		g, err := w.Group(ctx, a, inner.ID)
		if err != nil || g.Version != 2 {
			t.Errorf("version %d, %v; want 2: only one change was made", g.Version, err)
		}
		if err := add(a, inner.ID, string(ann.ID)); err != nil {
			t.Fatal(err)
		}
		if g, err = w.Group(ctx, a, inner.ID); err != nil || g.Version != 2 {
			t.Errorf("version %d, %v after adding a member again; want 2", g.Version, err)
		}
	})
}

func TestGroupRoleWaitsForItsGroup(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant := w.tenant("acme")
		if err := w.MapGroupRole(ctx, tenant, "Admins", "admin"); err != nil {
			t.Fatal(err)
		}
		ann := w.push(tenant, "ann@acme.example")
		group, err := w.CreateGroup(ctx, tenant, map[string]any{"displayName": "admins"}, []directory.MemberChange{{Op: directory.AddMembers, IDs: []string{string(ann.ID)}}})
		if err != nil {
			t.Fatal(err)
		}
		roles := func() []string {
			t.Helper()
			st, err := w.Standing(ctx, tenant, ann.User)
			if err != nil {
				t.Fatal(err)
			}
			return st.Roles
		}
		if got := roles(); !slices.Equal(got, []string{"admin"}) {
			t.Errorf("roles %v, want admin", got)
		}
		_, err = w.ChangeGroup(ctx, tenant, group.ID, 0, func(map[string]any) (map[string]any, []directory.MemberChange, error) {
			return map[string]any{"displayName": "Renamed"}, nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := roles(); !slices.Equal(got, []string{"admin"}) {
			t.Errorf("roles %v after a new name; the mapping follows the group", got)
		}
		if _, err := w.CreateGroup(ctx, tenant, map[string]any{"displayName": "Admins"}, nil); err != nil {
			t.Fatal(err)
		}
		for _, refused := range []string{"api", "nonsense"} {
			if f := fault.As(w.MapGroupRole(ctx, tenant, "Admins", refused)); f.Kind != fault.Invalid || f.Field != "role" {
				t.Errorf("mapping to %s: %v", refused, f)
			}
		}
	})
}

func TestIfMatch(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant := w.tenant("acme")
		m := w.push(tenant, "ann@acme.example")
		retitle := func(title string) func(map[string]any) (map[string]any, error) {
			return func(doc map[string]any) (map[string]any, error) {
				doc["title"] = title
				return doc, nil
			}
		}
		changed, err := w.ChangeMembership(ctx, tenant, m.ID, 1, retitle("a"))
		if err != nil || changed.Version != 2 {
			t.Fatalf("version %d, %v", changed.Version, err)
		}
		if _, err := w.ChangeMembership(ctx, tenant, m.ID, 1, retitle("b")); !errors.Is(err, fault.Stale) {
			t.Errorf("err = %v, want stale", err)
		}
		if err := w.DeleteMembership(ctx, tenant, m.ID, 1); !errors.Is(err, fault.Stale) {
			t.Errorf("err = %v, want stale", err)
		}
		same, err := w.ChangeMembership(ctx, tenant, m.ID, 0, retitle("a"))
		if err != nil || same.Version != 2 || !same.Modified.Equal(changed.Modified) {
			t.Errorf("an equal document changed the resource: %+v, %v", same, err)
		}
	})
}

func TestVerifyingADomainManagesThoseWhoAreThere(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant, stranger := w.tenant("acme"), w.tenant("stranger")
		save := func(tenant id.Tenant, address string, operator bool) *directory.Membership {
			t.Helper()
			u, err := w.SaveUser(ctx, directory.UserSpec{Email: address, Operator: &operator})
			if err != nil {
				t.Fatal(err)
			}
			m, err := w.SaveMembership(ctx, tenant, u, directory.MembershipSpec{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		ann, root := save(tenant, "Ann@a_me.Example", false), save(tenant, "root@a_me.example", true)
		near := save(tenant, "eve@axme.example", false) // what a pattern that is not escaped would match
		elsewhere := save(stranger, "bob@a_me.example", false)
		invited := w.push(tenant, "bob@a_me.example")
		if ann.Managed || invited.Status != directory.StatusInvited {
			t.Fatalf("before: %+v, %+v", ann, invited)
		}
		// The domain's form is checked by SaveTenant; the store must not rely on it.
		if err := w.store.ManageDomain(ctx, tenant, "a_me.example", time.Now()); err != nil {
			t.Fatal(err)
		}
		for m, managed := range map[*directory.Membership]bool{ann: true, invited: true, root: false, near: false, elsewhere: false} {
			got, err := w.store.Membership(ctx, m.Tenant, m.ID)
			if err != nil || got.Managed != managed || got.Status != directory.StatusActive {
				t.Errorf("%s: managed %v, status %s, %v; want %v, active", m.UserName, got.Managed, got.Status, err, managed)
			}
		}
	})
}

func TestApplyingADomainManagesItsMembers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant := w.tenant("acme")
		u, err := w.SaveUser(ctx, directory.UserSpec{Email: "ann@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := w.SaveMembership(ctx, tenant, u, directory.MembershipSpec{Roles: []string{}})
		if err != nil || m.Managed {
			t.Fatalf("%+v, %v", m, err)
		}
		w.tenant("acme", "acme.example")
		if m, err = w.Membership(ctx, tenant, m.ID); err != nil || !m.Managed {
			t.Fatalf("%+v, %v: want a managed membership", m, err)
		}
		if _, err := w.Suspend(ctx, tenant, m.ID); err != nil {
			t.Fatal(err)
		}
		if !w.user(m).Disabled || len(w.ended.logins) != 1 {
			t.Error("the login of a managed member outlives the suspension")
		}
		late, err := w.SaveUser(ctx, directory.UserSpec{Email: "late@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		if m, err = w.SaveMembership(ctx, tenant, late, directory.MembershipSpec{}); err != nil || !m.Managed {
			t.Errorf("%+v, %v: a member made afterwards is not managed", m, err)
		}
	})
}

// operator is a context in which the operator acts.
func operator(t *testing.T) context.Context {
	t.Helper()
	return authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
}
