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
	tenants    TenantStore
	blueprints *authz.Catalog
}

// NewRights returns a Rights.
func NewRights(tenants TenantStore, blueprints *authz.Catalog) *Rights {
	return &Rights{tenants: tenants, blueprints: blueprints}
}

// Usable reports whether a membership of that status, in a tenant of that
// blueprint and status, gives anything at all.
func (r *Rights) Usable(blueprint, tenantStatus string, status Status) bool {
	b, err := r.blueprints.Blueprint(blueprint)
	if err != nil {
		return false
	}
	tenant, known := b.TenantStatus(tenantStatus)
	return known && tenant.SignIn && status == StatusActive
}

// Permissions returns the keys of the permissions that the roles give at the
// tenant in which they are held, over the channel, sorted.
func (r *Rights) Permissions(ctx context.Context, tenant id.Tenant, roles []string, channel authz.Channel) ([]string, error) {
	t, err := r.tenants.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	b, err := r.blueprints.Blueprint(t.Blueprint)
	if err != nil {
		return nil, err
	}
	home, err := r.view(ctx, b, t)
	if err != nil {
		return nil, err
	}
	holder := b.Holder(home, authz.MembershipFacts{Status: string(StatusActive), Roles: roles})
	return slices.Sorted(slices.Values(b.Keys(b.Effective([]authz.Holder{holder}, home, channel)))), nil
}

// view compiles what a decision has to know of a tenant.
func (r *Rights) view(ctx context.Context, b *authz.Blueprint, t *Tenant) (*authz.TenantView, error) {
	facts := authz.TenantFacts{ID: t.ID, Status: t.Status, Entitlements: slices.Clone(t.Entitlements), Ancestors: map[string][]id.Tenant{}}
	if t.Tier != "" {
		tier, err := b.Tier(t.Tier)
		if err != nil {
			return nil, err
		}
		facts.Entitlements = append(facts.Entitlements, tier.Entitlements...)
	}
	for relation, parent := range t.Relations {
		for parent != "" {
			facts.Ancestors[relation] = append(facts.Ancestors[relation], parent)
			above, err := r.tenants.Tenant(ctx, parent)
			if err != nil {
				return nil, err
			}
			parent = above.Relations[relation]
		}
	}
	return b.Tenant(facts), nil
}
