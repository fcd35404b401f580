package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// Rights answers what statuses and roles mean by the role system of a tenant:
// the facts are the directory's, the decision is authz's. It is safe for
// concurrent use.
type Rights struct {
	store      RightsStore
	blueprints *Blueprints
}

// RightsStore is what Rights reads.
type RightsStore interface {
	Tenant(ctx context.Context, tenant id.Tenant) (*Tenant, error)
	StandingsIn(ctx context.Context, user id.User, tenants []id.Tenant) ([]Standing, error)
}

// NewRights returns a Rights.
func NewRights(store RightsStore, blueprints *Blueprints) *Rights {
	return &Rights{store: store, blueprints: blueprints}
}

// Usable reports whether a membership of that status, in a tenant of that
// version of a blueprint and of that status, gives anything at all.
func (r *Rights) Usable(ctx context.Context, blueprint string, version int, tenantStatus string, status Status) (bool, error) {
	b, err := r.blueprints.Version(ctx, blueprint, version)
	if err != nil {
		return false, err
	}
	tenant, known := b.TenantStatus(tenantStatus)
	if !known || !tenant.SignIn {
		return false, nil
	}
	s, err := b.Status(string(status))
	return err == nil && s.SignIn, nil
}

// Permissions returns the keys of the permissions that the roles give at the
// tenant in which they are held, over the channel, sorted.
func (r *Rights) Permissions(ctx context.Context, tenant id.Tenant, roles []string, channel authz.Channel) ([]string, error) {
	t, err := r.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	home, err := r.place(ctx, t)
	if err != nil {
		return nil, err
	}
	b := home.blueprint
	holder := b.Holder(home.view, authz.MembershipFacts{Status: b.FirstStatus(), Roles: roles})
	return slices.Sorted(slices.Values(b.Keys(b.Effective([]authz.Holder{holder}, home.view, channel)))), nil
}

// A place is a tenant as decisions see it.
type place struct {
	tenant    *Tenant
	blueprint *authz.Blueprint
	view      *authz.TenantView
	above     []id.Tenant // all ancestors over all relations; with the tenant itself, where roles that count here are held
}

// place compiles what a decision has to know of a tenant.
func (r *Rights) place(ctx context.Context, t *Tenant) (*place, error) {
	b, err := r.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return nil, err
	}
	facts := authz.TenantFacts{ID: t.ID, Status: t.Status, Ancestors: map[string][]id.Tenant{}}
	for _, e := range t.Entitlements {
		facts.Entitlements = append(facts.Entitlements, e.Key)
	}
	if tier, err := b.Tier(t.Tier); err == nil { // one that an upgrade removed brings nothing
		facts.Entitlements = append(facts.Entitlements, tier.Entitlements...)
	}
	p := &place{tenant: t, blueprint: b}
	for relation, parent := range t.Relations {
		for parent != "" {
			facts.Ancestors[relation] = append(facts.Ancestors[relation], parent)
			if !slices.Contains(p.above, parent) {
				p.above = append(p.above, parent)
			}
			above, err := r.store.Tenant(ctx, parent)
			if err != nil {
				return nil, err
			}
			parent = above.Relations[relation]
		}
	}
	p.view = b.Tenant(facts)
	return p, nil
}

// holders returns what a user holds where it can count at the place, the
// place's own membership apart: nil if there is none. Ancestors that are on
// another version of the role system, in the middle of nothing but an upgrade,
// bring no rights.
func (r *Rights) holders(ctx context.Context, at *place, user id.User) ([]authz.Holder, *Standing, error) {
	standings, err := r.store.StandingsIn(ctx, user, append([]id.Tenant{at.tenant.ID}, at.above...))
	if err != nil {
		return nil, nil, err
	}
	var holders []authz.Holder
	var here *Standing
	for i := range standings {
		st := &standings[i]
		view := at.view
		if st.Tenant == at.tenant.ID {
			here = st
		} else {
			t, err := r.store.Tenant(ctx, st.Tenant)
			if err != nil {
				return nil, nil, err
			}
			home, err := r.place(ctx, t)
			if err != nil {
				return nil, nil, err
			}
			view = home.view
		}
		holders = append(holders, at.blueprint.Holder(view, st.facts()))
	}
	return holders, here, nil
}

// service returns what a service account holds where it can count at the place.
func (r *Rights) service(ctx context.Context, at *place, account Bearer) ([]authz.Holder, error) {
	view := at.view
	switch {
	case account.Tenant == at.tenant.ID:
	case slices.Contains(at.above, account.Tenant):
		t, err := r.store.Tenant(ctx, account.Tenant)
		if err != nil {
			return nil, err
		}
		home, err := r.place(ctx, t)
		if err != nil {
			return nil, err
		}
		view = home.view
	default:
		return nil, nil
	}
	return []authz.Holder{at.blueprint.Holder(view, authz.MembershipFacts{Status: at.blueprint.FirstStatus(), Roles: account.Roles})}, nil
}

// facts returns the standing as decisions see it. The status of somebody whose
// login is off is none that a role system knows.
func (st *Standing) facts() authz.MembershipFacts {
	facts := authz.MembershipFacts{Status: string(st.Status), Roles: st.Roles, Resources: st.Resources}
	if st.User.Disabled {
		facts.Status = ""
	}
	return facts
}
