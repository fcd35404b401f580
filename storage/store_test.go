package storage_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// newTenant stores a tenant of that slug.
func newTenant(t *testing.T, s *storage.Store, slug string) id.Tenant {
	t.Helper()
	tenant := &directory.Tenant{ID: id.New[id.Tenant](), Slug: slug, Name: slug, Blueprint: "default", BlueprintVersion: 1, Status: "enabled", Created: noon, Modified: noon}
	if err := s.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	return tenant.ID
}

// newMembership stores a user with a membership of that userName.
func newMembership(t *testing.T, s *storage.Store, tenant id.Tenant, userName string) *directory.Membership {
	t.Helper()
	user := &directory.User{ID: id.New[id.User](), Created: noon, Modified: noon}
	m := &directory.Membership{
		Tenant: tenant, ID: id.New[id.Membership](), User: user.ID, Status: directory.StatusActive, Accepted: true, Source: directory.SourceSCIM,
		UserName: userName, ExternalID: "x-" + userName, Profile: map[string]any{"title": "Ärztin"}, Search: map[string]any{"title": "ärztin"}, Created: noon, Modified: noon,
	}
	if err := errors.Join(s.CreateUser(t.Context(), user), s.CreateMembership(t.Context(), m)); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMembershipStore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		a, b := newTenant(t, s, "a"), newTenant(t, s, "b")
		ann := newMembership(t, s, a, "Ännchen@example.com")

		t.Run("what is stored is read back", func(t *testing.T) {
			got, err := s.Membership(ctx, a, ann.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got.UserName != ann.UserName || got.ExternalID != ann.ExternalID || got.Profile["title"] != "Ärztin" || got.Version != 1 || !got.Created.Equal(noon) {
				t.Errorf("got %+v", got)
			}
		})
		t.Run("RFC 7643 §4.1.1 userName is unique without case, also beyond ASCII", func(t *testing.T) {
			user := &directory.User{ID: id.New[id.User](), Created: noon, Modified: noon}
			err := s.InTx(ctx, func(ctx context.Context) error {
				if err := s.CreateUser(ctx, user); err != nil {
					return err
				}
				return s.CreateMembership(ctx, &directory.Membership{Tenant: a, ID: id.New[id.Membership](), User: user.ID, UserName: "ÄNNCHEN@example.com", Status: directory.StatusActive})
			})
			if f := fault.As(err); f.Kind != fault.Conflict || f.Field != "userName" {
				t.Errorf("err = %v, want a conflict on userName", err)
			}
			if _, err := s.User(ctx, user.ID); !errors.Is(err, fault.NotFound) {
				t.Errorf("the user of the failed transaction is there: %v", err)
			}
		})
		t.Run("tenants are apart", func(t *testing.T) {
			if _, err := s.Membership(ctx, b, ann.ID); !errors.Is(err, fault.NotFound) {
				t.Errorf("err = %v, want NotFound", err)
			}
			if _, err := s.MembershipByUserName(ctx, b, ann.UserName); !errors.Is(err, fault.NotFound) {
				t.Errorf("err = %v, want NotFound", err)
			}
			if err := s.DeleteMembership(ctx, b, ann.ID); !errors.Is(err, fault.NotFound) {
				t.Errorf("err = %v, want NotFound", err)
			}
		})
		t.Run("concurrent updates don't lose one another", func(t *testing.T) {
			before, err := s.Membership(ctx, a, ann.ID)
			if err != nil {
				t.Fatal(err)
			}
			const writers = 20
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					if _, err := s.UpdateMembership(ctx, a, ann.ID, func(*directory.Membership) error { return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			after, err := s.Membership(ctx, a, ann.ID)
			if err != nil {
				t.Fatal(err)
			}
			if after.Version != before.Version+writers {
				t.Errorf("version = %d, want %d", after.Version, before.Version+writers)
			}
		})
		t.Run("ErrUnchanged stores nothing and is no error", func(t *testing.T) {
			before, err := s.Membership(ctx, a, ann.ID)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.UpdateMembership(ctx, a, ann.ID, func(m *directory.Membership) error { return directory.ErrUnchanged })
			if err != nil || got.Version != before.Version {
				t.Errorf("version %d, err %v; want %d and none", got.Version, err, before.Version)
			}
		})
		t.Run("a failed outer transaction undoes the inner call", func(t *testing.T) {
			boom := errors.New("boom")
			err := s.InTx(ctx, func(ctx context.Context) error {
				if err := s.DeleteMembership(ctx, a, ann.ID); err != nil {
					return err
				}
				return boom
			})
			if !errors.Is(err, boom) {
				t.Fatalf("err = %v, want boom", err)
			}
			if _, err := s.Membership(ctx, a, ann.ID); err != nil {
				t.Errorf("the inner deletion was committed: %v", err)
			}
		})
	})
}

func TestGroupStore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		tenant := newTenant(t, s, "a")
		ann, bob := newMembership(t, s, tenant, "ann"), newMembership(t, s, tenant, "bob")
		outer, middle, inner := newGroup(t, s, tenant, "Outer"), newGroup(t, s, tenant, "Middle"), newGroup(t, s, tenant, "Inner")
		add := func(group id.Group, kind directory.MemberKind, members ...string) int {
			t.Helper()
			list := make([]directory.Member, 0, len(members))
			for _, m := range members {
				list = append(list, directory.Member{ID: m, Kind: kind})
			}
			n, err := s.AddMembers(ctx, tenant, group, list)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := add(inner, directory.MemberUser, string(ann.ID), string(bob.ID)); n != 2 {
			t.Errorf("added %d, want 2", n)
		}
		if n := add(inner, directory.MemberUser, string(ann.ID)); n != 0 {
			t.Errorf("adding again changed %d rows", n)
		}
		add(middle, directory.MemberGroup, string(inner))
		add(outer, directory.MemberGroup, string(middle))

		t.Run("RFC 7643 §4.1.2 groups are direct and indirect", func(t *testing.T) {
			refs, err := s.GroupsOf(ctx, tenant, []id.Membership{ann.ID})
			if err != nil {
				t.Fatal(err)
			}
			direct := map[id.Group]bool{}
			for _, ref := range refs[ann.ID] {
				direct[ref.ID] = ref.Direct
			}
			if len(direct) != 3 || !direct[inner] || direct[middle] || direct[outer] {
				t.Errorf("groups of ann: %v", direct)
			}
		})
		t.Run("containment has any depth and one direction", func(t *testing.T) {
			for _, c := range []struct {
				outer, inner id.Group
				want         bool
			}{{outer, inner, true}, {inner, outer, false}, {inner, inner, false}} {
				if around, err := s.GroupsAround(ctx, tenant, c.inner); err != nil || slices.Contains(around, c.outer) != c.want {
					t.Errorf("around %s: %v, %v; want %v", c.inner, around, err, c.want)
				}
			}
		})
		t.Run("a role of an outer group is held by those of an inner one", func(t *testing.T) {
			if err := s.MapGroupRole(ctx, directory.GroupRole{Tenant: tenant, GroupName: "OUTER", Role: "admin", Priority: 7, Created: noon}); err != nil {
				t.Fatal(err)
			}
			held, err := s.Held(ctx, directory.Bearer{User: ann.User}, []id.Tenant{tenant})
			if err != nil {
				t.Fatal(err)
			}
			if len(held.In) != 1 || len(held.In[0].Groups) != 3 {
				t.Fatalf("held %+v", held.In)
			}
			want := directory.HeldRole{Role: "admin", Source: directory.AssignedGroup, Group: "Outer", Priority: 7}
			if roles := held.In[0].Roles; len(roles) != 1 || roles[0] != want {
				t.Errorf("roles %+v, want %+v", roles, want)
			}
			if n, err := s.TallyHolders(ctx, tenant, directory.HoldersOf{Roles: []string{"admin"}, Able: []string{"active"}, Final: []string{"deleted"}}); err != nil || n.Able != 2 {
				t.Errorf("holders = %d, %v; want 2", n, err)
			}
			if roles, err := s.RolesThrough(ctx, tenant, inner); err != nil || len(roles) != 1 {
				t.Errorf("roles through the inner group: %v, %v", roles, err)
			}
		})
		t.Run("replacing writes the difference", func(t *testing.T) {
			n, err := s.ReplaceMembers(ctx, tenant, inner, []directory.Member{{ID: string(bob.ID), Kind: directory.MemberUser}})
			if err != nil || n != 1 {
				t.Errorf("changed %d rows, %v; want 1", n, err)
			}
			members, err := s.Members(ctx, tenant, []id.Group{inner}, "", 10)
			if err != nil || len(members) != 1 || members[0].ID != string(bob.ID) {
				t.Errorf("members %v, %v", members, err)
			}
		})
		t.Run("a mapping outlives its group and takes the next of its name", func(t *testing.T) {
			if err := s.DeleteGroup(ctx, tenant, outer); err != nil {
				t.Fatal(err)
			}
			again := newGroup(t, s, tenant, "outer")
			if roles, err := s.BindGroupRoles(ctx, tenant, again, "outer"); err != nil || len(roles) != 1 {
				t.Errorf("bound %v, %v; want the one role", roles, err)
			}
			if roles, err := s.BindGroupRoles(ctx, tenant, inner, "outer"); err != nil || len(roles) != 0 {
				t.Errorf("a second group of the name was bound to %v, %v", roles, err)
			}
		})
	})
}

func newGroup(t *testing.T, s *storage.Store, tenant id.Tenant, name string) id.Group {
	t.Helper()
	g := &directory.Group{Tenant: tenant, ID: id.New[id.Group](), DisplayName: name, Profile: map[string]any{}, Search: map[string]any{}, Created: noon, Modified: noon}
	if err := s.CreateGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return g.ID
}

func TestTenantStore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		parent := newTenant(t, s, "parent")
		child := newTenant(t, s, "child")
		_, err := s.UpdateTenant(ctx, child, func(t *directory.Tenant) error {
			t.Relations["tree"], t.Domains, t.Entitlements = parent, []string{"b.example", "a.example"}, []directory.Entitlement{{Key: "x", Source: directory.EntitledOperator}}
			t.Policy.MFA = directory.MFARequired
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.TenantByName(ctx, "child")
		if err != nil {
			t.Fatal(err)
		}
		if got.Relations["tree"] != parent || len(got.Domains) != 2 || got.Domains[0] != "a.example" || got.Entitlements[0].Key != "x" || got.Policy.MFA != directory.MFARequired || got.Version != 2 {
			t.Errorf("got %+v", got)
		}
		if owners, err := s.DomainOwners(ctx, "a.example"); err != nil || len(owners) != 1 || owners[0] != child {
			t.Errorf("owners %v, %v", owners, err)
		}
		err = s.CreateTenant(ctx, &directory.Tenant{ID: id.New[id.Tenant](), Slug: "child", Name: "x", Blueprint: "default", BlueprintVersion: 1, Status: "enabled"})
		if f := fault.As(err); f.Kind != fault.Conflict || f.Field != "slug" {
			t.Errorf("err = %v, want a conflict on slug", err)
		}
	})
}
