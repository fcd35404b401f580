package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// A place is a tenant as decisions see it, with the tenants above it. It does
// not change.
type place struct {
	tenant    *Tenant
	blueprint *authz.Blueprint
	view      *authz.TenantView
	above     []id.Tenant // all ancestors over all relations; with the tenant itself, where roles that count here are held
	homes     map[id.Tenant]home
}

// A home is a tenant in which roles that count at a place are held.
type home struct {
	tenant *Tenant
	view   *authz.TenantView
}

// place compiles what a decision has to know of a tenant.
func (r *Rights) place(ctx context.Context, t *Tenant) (*place, error) {
	loaded := map[id.Tenant]*Tenant{t.ID: t}
	p := &place{tenant: t, homes: map[id.Tenant]home{}}
	var err error
	if p.blueprint, p.view, p.above, err = r.view(ctx, t, loaded); err != nil {
		return nil, err
	}
	for _, above := range p.above {
		_, view, _, err := r.view(ctx, loaded[above], loaded)
		if err != nil {
			return nil, err
		}
		p.homes[above] = home{loaded[above], view}
	}
	return p, nil
}

// view compiles one tenant, and loads those above it that are not loaded yet.
func (r *Rights) view(ctx context.Context, t *Tenant, loaded map[id.Tenant]*Tenant) (*authz.Blueprint, *authz.TenantView, []id.Tenant, error) {
	b, err := r.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return nil, nil, nil, err
	}
	facts := authz.TenantFacts{ID: t.ID, Status: t.Status, Ancestors: map[string][]id.Tenant{}}
	for _, e := range t.Entitlements {
		facts.Entitlements = append(facts.Entitlements, e.Key)
	}
	if tier, err := b.Tier(t.Tier); err == nil { // one that an upgrade removed brings nothing
		facts.Entitlements = append(facts.Entitlements, tier.Entitlements...)
	}
	var all []id.Tenant
	for relation, parent := range t.Relations {
		for parent != "" && !slices.Contains(facts.Ancestors[relation], parent) {
			facts.Ancestors[relation] = append(facts.Ancestors[relation], parent)
			if !slices.Contains(all, parent) {
				all = append(all, parent)
			}
			if loaded[parent] == nil {
				if loaded[parent], err = r.store.Tenant(ctx, parent); err != nil {
					return nil, nil, nil, err
				}
			}
			parent = loaded[parent].Relations[relation]
		}
	}
	return b, b.Tenant(facts), all, nil
}

// current reports whether the place is what a statement has found.
func (p *place) current(held *Held) bool {
	same := func(t *Tenant) bool {
		h := held.At(t.ID)
		return h != nil && h.Version == t.Version
	}
	if !same(p.tenant) {
		return false
	}
	for _, h := range p.homes {
		if !same(h.tenant) {
			return false
		}
	}
	return true
}

// holders returns what the person holds where it can count at the place.
// Ancestors that are on another version of the role system, in the middle of
// nothing but an upgrade, bring no rights.
func (p *place) holders(held *Held) []authz.Holder {
	if held.User == nil {
		return nil
	}
	var holders []authz.Holder
	for i := range held.In {
		h := &held.In[i]
		if view := p.viewOf(h.Tenant); view != nil && h.Membership != "" {
			holders = append(holders, p.blueprint.Holder(view, h.facts(held.User)))
		}
	}
	return holders
}

// settle settles what is held in the place's tenant and in those above it.
// Settling twice changes nothing.
func (p *place) settle(held *Held) {
	for i := range held.In {
		if h := &held.In[i]; p.viewOf(h.Tenant) != nil {
			h.settle(p.blueprint)
		}
	}
}

// service returns what a service account holds where it can count at the place.
func (p *place) service(account Bearer) []authz.Holder {
	view := p.viewOf(account.Tenant)
	if view == nil {
		return nil
	}
	return []authz.Holder{p.blueprint.Holder(view, authz.MembershipFacts{Status: p.blueprint.FirstStatus(), Roles: account.Roles})}
}

// viewOf returns the place's own tenant or one above it, nil for another.
func (p *place) viewOf(tenant id.Tenant) *authz.TenantView {
	if tenant == p.tenant.ID {
		return p.view
	}
	return p.homes[tenant].view
}

// standing returns the place with the user in it, who is nothing there yet.
func (p *place) standing(user *User) *Standing {
	t := p.tenant
	return &Standing{
		Tenant: t.ID, Slug: t.Slug, TenantName: t.Name, TenantStatus: t.Status,
		Blueprint: t.Blueprint, BlueprintVersion: t.BlueprintVersion, Policy: t.Policy, User: *user,
	}
}
