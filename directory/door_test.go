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

// portal is a tenant of a role system with members whom the operator made.
type portal struct {
	*world
	tenant id.Tenant
}

// portal makes a tenant with every entitlement, so that roles decide alone.
func (w *world) portal(blueprint, slug string) *portal {
	w.t.Helper()
	catalog, err := authz.Shipped()
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := catalog.Blueprint(blueprint)
	if err != nil {
		w.t.Fatal(err)
	}
	t, err := w.SaveTenant(operator(w.t), directory.TenantSpec{Slug: slug, Blueprint: blueprint, Entitlements: b.Document().Entitlements.Keys()})
	if err != nil {
		w.t.Fatal(err)
	}
	return &portal{w, t.ID}
}

// member makes an active member with the roles.
func (p *portal) member(address string, roles ...string) *directory.Membership {
	p.t.Helper()
	user, err := p.SaveUser(operator(p.t), directory.UserSpec{Email: address})
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := p.SaveMembership(operator(p.t), p.tenant, user, directory.MembershipSpec{Roles: roles})
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// as is a context in which the member acts in the portal.
func as(t *testing.T, m *directory.Membership) context.Context {
	t.Helper()
	return authz.NewContext(t.Context(), authz.Principal{
		Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, User: m.User, Tenant: m.Tenant, Membership: m.ID,
	})
}

// connected is a context in which the tenant's directory acts.
func connected(t *testing.T, tenant id.Tenant) context.Context {
	t.Helper()
	return authz.NewContext(t.Context(), authz.Principal{Kind: authz.ConnectionPrincipal, Channel: authz.ChannelAPI, Tenant: tenant, Connection: id.New[id.Connection]()})
}

// refused fails the test unless err is a refusal with the code.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.As(err); err == nil || f.Code != code {
		t.Errorf("got %v, want a refusal with the code %s", err, code)
	}
}

func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestNobodyChangesAnythingWithoutAPrincipal(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("default", "acme")
		owner := p.member("owner@acme.example", "owner")
		p.member("second@acme.example", "owner")
		ctx := t.Context()
		_, err := w.AddMember(ctx, p.tenant, directory.MemberSpec{Email: "new@acme.example", Roles: []string{"viewer"}})
		refused(t, err, "permission")
		_, err = w.CreateMembership(ctx, p.tenant, person("pushed@acme.example"))
		refused(t, err, "permission")
		_, err = w.Suspend(ctx, p.tenant, owner.ID)
		refused(t, err, "permission")
		refused(t, w.SetRoles(ctx, p.tenant, owner.ID, []string{"viewer"}), "permission")
		refused(t, w.DeleteMembership(ctx, p.tenant, owner.ID, 0), "permission")
		refused(t, w.MapGroupRole(ctx, p.tenant, "Staff", "viewer"), "permission")
		_, err = w.CreateGroup(ctx, p.tenant, map[string]any{"displayName": "Staff"}, nil)
		refused(t, err, "permission")
		_, err = w.SaveTenant(ctx, directory.TenantSpec{Slug: "acme", Name: "Mine"})
		refused(t, err, "operator")
		_, err = w.SaveUser(ctx, directory.UserSpec{Email: "new@acme.example"})
		refused(t, err, "operator")
		_, err = w.SaveMembership(ctx, p.tenant, w.user(owner), directory.MembershipSpec{})
		refused(t, err, "operator")
		_, err = w.SaveConnection(ctx, p.tenant, directory.ConnectionSpec{Name: "mine"})
		refused(t, err, "operator")
	})
}

func TestAdministratorsActWithinTheirRoles(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("emnify", "acme")
		admin, second := p.member("admin@acme.example", "administrator"), p.member("second@acme.example", "administrator")
		observer := p.member("observer@acme.example", "observer")
		super := p.member("super@acme.example", "superadmin")
		elsewhere := w.portal("emnify", "elsewhere")
		stranger := elsewhere.member("stranger@elsewhere.example", "administrator")

		t.Run("EM-R08 adds, changes and removes", func(t *testing.T) {
			m, err := w.AddMember(as(t, admin), p.tenant, directory.MemberSpec{Email: "new@acme.example", Roles: []string{"user"}})
			done(t, err)
			if m.Status != directory.StatusInvited {
				t.Errorf("status %s, want invited", m.Status)
			}
			done(t, w.SetRoles(as(t, admin), p.tenant, m.ID, []string{"administrator"}))
			done(t, w.DeleteMembership(as(t, admin), p.tenant, m.ID, 0))
		})
		t.Run("EM-R08 an observer may not", func(t *testing.T) {
			_, err := w.AddMember(as(t, observer), p.tenant, directory.MemberSpec{Email: "x@acme.example", Roles: []string{"observer"}})
			refused(t, err, "permission")
			refused(t, w.SetRoles(as(t, observer), p.tenant, second.ID, []string{"user"}), "permission")
		})
		t.Run("EM-R04 an administrator of another tenant may not", func(t *testing.T) {
			refused(t, w.DeleteMembership(as(t, stranger), p.tenant, observer.ID, 0), "permission")
		})
		t.Run("EM-R05 nobody changes his own role", func(t *testing.T) {
			refused(t, w.SetRoles(as(t, admin), p.tenant, admin.ID, []string{"user"}), "self_roles")
		})
		t.Run("EM-R06 the SuperAdmin is protected, and nobody else becomes one", func(t *testing.T) {
			_, err := w.Suspend(as(t, admin), p.tenant, super.ID)
			refused(t, err, "protected")
			refused(t, w.DeleteMembership(as(t, admin), p.tenant, super.ID, 0), "protected")
			refused(t, w.SetRoles(as(t, admin), p.tenant, super.ID, []string{"user"}), "protected")
			refused(t, w.SetRoles(as(t, admin), p.tenant, second.ID, []string{"superadmin"}), "administers:superadmin")
			refused(t, w.SetRoles(operator(t), p.tenant, second.ID, []string{"superadmin"}), "max_holders")
			// The directory describes him, but switches him neither off nor away.
			_, err = w.ChangeMembership(connected(t, p.tenant), p.tenant, super.ID, 0, func(doc map[string]any) (map[string]any, error) {
				doc["displayName"] = "Chief"
				return doc, nil
			})
			done(t, err)
			_, err = w.Suspend(connected(t, p.tenant), p.tenant, super.ID)
			refused(t, err, "protected")
			refused(t, w.DeleteMembership(connected(t, p.tenant), p.tenant, super.ID, 0), "protected")
		})
		t.Run("EM-R21 nobody deletes himself", func(t *testing.T) {
			refused(t, w.DeleteMembership(as(t, admin), p.tenant, admin.ID, 0), "self_delete")
		})
		t.Run("EM-R22 a member keeps a role", func(t *testing.T) {
			refused(t, w.SetRoles(as(t, admin), p.tenant, observer.ID, nil), "min_roles")
		})
		t.Run("EM-R23 the hidden role is not on offer", func(t *testing.T) {
			refused(t, w.SetRoles(as(t, admin), p.tenant, observer.ID, []string{"support"}), "administers:support")
			offer, err := w.Offer(as(t, admin), p.tenant, observer.ID)
			done(t, err)
			if slices.Contains(offer.Grant, "support") || !slices.Contains(offer.Grant, "administrator") {
				t.Errorf("on offer: %v", offer.Grant)
			}
		})
		t.Run("EM-R26 status", func(t *testing.T) {
			_, err := w.SetStatus(as(t, admin), p.tenant, observer.ID, "suspended")
			done(t, err)
			_, err = w.SetStatus(as(t, admin), p.tenant, observer.ID, "invited")
			refused(t, err, "transition")
			_, err = w.SetStatus(as(t, admin), p.tenant, observer.ID, "active")
			done(t, err)
		})
		t.Run("field:emails", func(t *testing.T) {
			_, err := w.ChangeMembership(as(t, admin), p.tenant, observer.ID, 0, func(doc map[string]any) (map[string]any, error) {
				doc["emails"] = []any{map[string]any{"value": "mine@acme.example"}}
				return doc, nil
			})
			refused(t, err, "field:email")
		})
	})
}

// TestGroupsGiveNothingThatTheCallerCouldNot tries the ways around a grant.
func TestGroupsGiveNothingThatTheCallerCouldNot(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("default", "acme")
		p.member("owner@acme.example", "owner")
		admin := p.member("admin@acme.example", "admin")
		viewer := p.member("viewer@acme.example", "viewer")
		chiefs, err := w.CreateGroup(operator(t), p.tenant, map[string]any{"displayName": "Chiefs"}, nil)
		done(t, err)
		staff, err := w.CreateGroup(operator(t), p.tenant, map[string]any{"displayName": "Staff"}, []directory.MemberChange{{Op: directory.AddMembers, IDs: []string{string(viewer.ID)}}})
		done(t, err)
		done(t, w.MapGroupRole(operator(t), p.tenant, "Chiefs", "owner"))

		add := func(ctx context.Context, group id.Group, ids ...string) error {
			_, err := w.ChangeGroup(ctx, p.tenant, group, 0, func(doc map[string]any) (map[string]any, []directory.MemberChange, error) {
				return doc, []directory.MemberChange{{Op: directory.AddMembers, IDs: ids}}, nil
			})
			return err
		}
		refused(t, add(as(t, admin), chiefs.ID, string(viewer.ID)), "administers:owner")
		refused(t, add(as(t, admin), chiefs.ID, string(admin.ID)), "administers:owner")
		refused(t, add(as(t, admin), chiefs.ID, string(staff.ID)), "administers:owner")
		refused(t, add(as(t, viewer), staff.ID, string(admin.ID)), "permission")
		refused(t, w.MapGroupRole(as(t, admin), p.tenant, "Staff", "owner"), "administers:owner")
		refused(t, w.MapGroupRole(as(t, admin), p.tenant, "Nobody yet", "owner"), "administers:owner")
		refused(t, w.MapGroupRole(as(t, viewer), p.tenant, "Staff", "viewer"), "permission")
		// A group renamed into a waiting mapping gives its role just the same.
		done(t, w.MapGroupRole(operator(t), p.tenant, "Board", "owner"))
		_, err = w.ChangeGroup(as(t, admin), p.tenant, staff.ID, 0, func(doc map[string]any) (map[string]any, []directory.MemberChange, error) {
			doc["displayName"] = "Board"
			return doc, nil, nil
		})
		refused(t, err, "administers:owner")
		if st, err := w.Standing(t.Context(), p.tenant, viewer.User); err != nil || !slices.Equal(st.Roles, []string{"viewer"}) {
			t.Errorf("the viewer holds %v (%v)", st.Roles, err)
		}
		// What the mapping allows, the directory does.
		done(t, add(connected(t, p.tenant), chiefs.ID, string(viewer.ID)))
	})
}

// TestALimitedTokenStaysLimited: model.md §2.9, an application token gives no
// more than its own list, not even to others.
func TestALimitedTokenStaysLimited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("default", "acme")
		owner := p.member("owner@acme.example", "owner")
		viewer := p.member("viewer@acme.example", "viewer")
		token := authz.Principal{Kind: authz.TokenPrincipal, Channel: authz.ChannelAPI, User: owner.User, Tenant: p.tenant}
		done(t, w.SetRoles(authz.NewContext(t.Context(), token), p.tenant, viewer.ID, []string{"admin"}))
		done(t, w.SetRoles(operator(t), p.tenant, viewer.ID, []string{"viewer"}))
		token.Permissions = []string{"roles.grant", "roles.revoke", "users.list"}
		refused(t, w.SetRoles(authz.NewContext(t.Context(), token), p.tenant, viewer.ID, []string{"admin"}), "permission")
		token.Permissions = nil
		token.Tenant = w.portal("default", "other").tenant
		refused(t, w.SetRoles(authz.NewContext(t.Context(), token), p.tenant, viewer.ID, []string{"admin"}), "permission")
		_, err := w.Suspend(operator(t), p.tenant, owner.ID)
		refused(t, err, "last_holder")
	})
}

// TestFiftyDemotionsAtOnceLeaveOne: 1N-R14, TX-R03: two that are each harmless
// must not both pass.
func TestFiftyDemotionsAtOnceLeaveOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("default", "acme")
		for round := range 5 {
			owners := []*directory.Membership{
				p.member(fmt.Sprintf("first%d@acme.example", round), "owner"), p.member(fmt.Sprintf("second%d@acme.example", round), "owner"),
			}
			for _, old := range w.owners(p.tenant) {
				if old != owners[0].ID && old != owners[1].ID {
					done(t, w.SetRoles(operator(t), p.tenant, old, []string{"viewer"}))
				}
			}
			var group sync.WaitGroup
			start := make(chan struct{})
			errs := make([]error, 50)
			for i := range errs {
				target, other := owners[i%2], owners[(i+1)%2]
				group.Go(func() {
					<-start
					switch i / 2 % 5 {
					case 0:
						errs[i] = w.SetRoles(operator(t), p.tenant, target.ID, []string{"viewer"})
					case 1:
						errs[i] = w.SetRoles(as(t, other), p.tenant, target.ID, []string{"viewer"})
					case 2:
						_, errs[i] = w.Suspend(as(t, other), p.tenant, target.ID)
					case 3:
						errs[i] = w.DeleteMembership(operator(t), p.tenant, target.ID, 0)
					default:
						_, errs[i] = w.Suspend(connected(t, p.tenant), p.tenant, target.ID)
					}
				})
			}
			close(start)
			group.Wait()
			for i, err := range errs {
				if err != nil && !errors.Is(err, fault.Denied) && !errors.Is(err, fault.NotFound) {
					t.Errorf("change %d: %v", i, err)
				}
			}
			if left := w.owners(p.tenant); len(left) != 1 {
				t.Fatalf("round %d: %d owners are left, want 1", round, len(left))
			}
		}
	})
}

// owners returns the members who hold the role and may sign in.
func (w *world) owners(tenant id.Tenant) []id.Membership {
	w.t.Helper()
	members, err := w.ListMembers(operator(w.t), tenant, "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var owners []id.Membership
	for _, m := range members {
		owner := slices.ContainsFunc(m.Assignments, func(a directory.Assignment) bool { return a.Role == "owner" })
		if owner && m.Status == directory.StatusActive {
			owners = append(owners, m.ID)
		}
	}
	return owners
}

// TestResourceRoles: TX-R09, TX-R10, TX-R23.
func TestResourceRoles(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("timextender", "acme")
		p.member("admin@acme.example", "company_admin")
		estate := p.member("estate@acme.example", "data_estate_admin")
		plain := p.member("plain@acme.example")
		grant := directory.ResourceGrant{Tenant: p.tenant, Membership: plain.ID, Role: "instance_user", Resource: "instance-1", Comment: "ticket 7"}
		refused(t, w.GrantResource(as(t, plain), grant), "permission")
		silent := grant
		silent.Comment = " "
		refused(t, w.GrantResource(as(t, estate), silent), "comment")
		done(t, w.GrantResource(as(t, estate), grant))
		st, err := w.Standing(t.Context(), p.tenant, plain.User)
		if want := (authz.ResourceRole{Role: "instance_user", Resource: "instance-1"}); err != nil || len(st.Resources) != 1 || st.Resources[0] != want {
			t.Errorf("resources %v (%v), want %v", st.Resources, err, want)
		}
		done(t, w.RevokeResource(as(t, estate), grant))
		_, err = w.AddMember(as(t, estate), p.tenant, directory.MemberSpec{Email: "new@acme.example"})
		refused(t, err, "permission")
	})
}
