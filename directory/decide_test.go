package directory_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

// countingStore counts what Rights reads. Held is one statement; reading a
// tenant is several.
type countingStore struct {
	*storage.Store
	held, tenants int
}

func (s *countingStore) Held(ctx context.Context, who directory.Bearer, tenants []id.Tenant) (*directory.Held, error) {
	s.held++
	return s.Store.Held(ctx, who, tenants)
}

func (s *countingStore) Tenant(ctx context.Context, tenant id.Tenant) (*directory.Tenant, error) {
	s.tenants++
	return s.Store.Tenant(ctx, tenant)
}

func (s *countingStore) TenantByName(ctx context.Context, name string) (*directory.Tenant, error) {
	s.tenants++
	return s.Store.TenantByName(ctx, name)
}

func (s *countingStore) reads() (held, tenants int) {
	held, tenants = s.held, s.tenants
	s.held, s.tenants = 0, 0
	return held, tenants
}

// TestDecisionIsOneStatement holds that a decision at a tenant that is known
// reads what is held and nothing else, and that it reads the tenant again when
// it, or one above it, has changed.
func TestDecisionIsOneStatement(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		shipped, err := authz.Shipped()
		if err != nil {
			t.Fatal(err)
		}
		hub, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: "hub", Blueprint: "emnify"})
		if err != nil {
			t.Fatal(err)
		}
		spoke, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: "spoke", Blueprint: "emnify"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Link(ctx, directory.Edge{Tenant: spoke.ID, Relation: "link", Parent: "hub"}); err != nil {
			t.Fatal(err)
		}
		sa, err := w.SaveUser(ctx, directory.UserSpec{Email: "sa@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.SaveMembership(ctx, hub.ID, sa, directory.MembershipSpec{Roles: []string{"superadmin"}}); err != nil {
			t.Fatal(err)
		}
		store := &countingStore{Store: w.store}
		rights := directory.NewRights(store, directory.NewBlueprints(w.store, shipped, func() time.Time { return time.Now().UTC() }))
		may := func(permission string) bool {
			t.Helper()
			st, err := rights.Standing(ctx, "spoke", sa.ID)
			if err != nil {
				t.Fatal(err)
			}
			return slices.Contains(st.Permissions, permission)
		}
		if !may("users.update") {
			t.Fatal("the superadmin of the hub may do nothing in the spoke")
		}
		if _, tenants := store.reads(); tenants == 0 {
			t.Fatal("the first decision knew the tenant: the test counts the wrong things")
		}
		for range 3 {
			may("users.update")
			if held, tenants := store.reads(); held != 1 || tenants != 0 {
				t.Errorf("a decision reads %d times what is held and %d tenants, want 1 and 0", held, tenants)
			}
		}
		entitle := func(tenant *directory.Tenant) error {
			tenant.Entitlements = []directory.Entitlement{{Key: "multi_workspace", Source: directory.EntitledOperator}}
			return nil
		}
		for _, changed := range []id.Tenant{hub.ID, spoke.ID} {
			if _, err := w.store.UpdateTenant(ctx, changed, entitle); err != nil {
				t.Fatal(err)
			}
			if got := may("workspaces.request_link"); got != (changed == spoke.ID) {
				t.Errorf("after a change of %s: %v", changed, got)
			}
			if held, tenants := store.reads(); held != 2 || tenants == 0 {
				t.Errorf("after a change of a tenant: %d and %d, want it read again", held, tenants)
			}
		}
		// What a transaction reads that is then taken back must not be kept.
		failed := w.store.InTx(ctx, func(ctx context.Context) error {
			_, err := w.store.UpdateTenant(ctx, spoke.ID, func(tenant *directory.Tenant) error {
				tenant.Entitlements = nil
				return nil
			})
			if err != nil {
				return err
			}
			st, err := rights.Standing(ctx, "spoke", sa.ID)
			if err == nil && slices.Contains(st.Permissions, "workspaces.request_link") {
				t.Error("a transaction does not see its own change")
			}
			return context.Canceled
		})
		if failed == nil {
			t.Fatal("the transaction was not taken back")
		}
		touch := func(*directory.Tenant) error { return nil }
		if _, err := w.store.UpdateTenant(ctx, spoke.ID, touch); err != nil { // the same version as the one that was taken back
			t.Fatal(err)
		}
		if !may("workspaces.request_link") {
			t.Error("a change that was taken back counts")
		}
	})
}

// TestExplanationNamesTheGroup holds that an explanation says by what a role is
// held: which group, or how it was given.
func TestExplanationNamesTheGroup(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenant, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: "a"})
		if err != nil {
			t.Fatal(err)
		}
		user, err := w.SaveUser(ctx, directory.UserSpec{Email: "u@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := w.SaveMembership(ctx, tenant.ID, user, directory.MembershipSpec{Roles: []string{"member"}})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		group := &directory.Group{Tenant: tenant.ID, ID: id.New[id.Group](), DisplayName: `Ad"mins`, Created: now, Modified: now}
		if err := w.store.CreateGroup(ctx, group); err != nil {
			t.Fatal(err)
		}
		if err := w.MapGroupRole(ctx, tenant.ID, `Ad"mins`, "admin"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.AddMembers(ctx, tenant.ID, group.ID, []directory.Member{{ID: string(m.ID), Kind: directory.MemberUser}}); err != nil {
			t.Fatal(err)
		}
		answer, err := w.Explain(ctx, directory.BearerByName("U@Example.com"), "a", "users.list", authz.ChannelPortal)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]authz.Source{}
		for _, source := range answer.GrantedBy {
			got[source.Role] = source
		}
		if s := got["admin"]; s.Given != "" || !slices.Equal(s.Groups, []string{`Ad"mins`}) {
			t.Errorf("admin is held by %q and the groups %q", s.Given, s.Groups)
		}
		if s := got["member"]; s.Given == "" || len(s.Groups) != 0 {
			t.Errorf("member is held by %q and the groups %q", s.Given, s.Groups)
		}
	})
}
