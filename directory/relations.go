package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// quotaLinked is the quota of a tier that bounds the spokes of a hub.
const quotaLinked = "linked_tenants"

// RelationStore keeps how tenants stand to each other.
type RelationStore interface {
	// LockRelations holds off every other change of relations, and of what is
	// passed on along them, until the transaction ends. It comes before the locks
	// of tenants.
	LockRelations(ctx context.Context) error
	// LockTenants locks the tenants as LockTenant does, in the order of their ids.
	LockTenants(ctx context.Context, tenants []id.Tenant) error
	// TenantsBelow returns the tenants below a tenant, by any relation.
	TenantsBelow(ctx context.Context, tenant id.Tenant) ([]id.Tenant, error)
	// TenantsAbove returns the tenants above a tenant, by any relation.
	TenantsAbove(ctx context.Context, tenant id.Tenant) ([]id.Tenant, error)
	// Height returns how many levels there are below the tenant in a relation.
	Height(ctx context.Context, tenant id.Tenant, relation string) (int, error)
	// Children returns the tenants directly below a tenant, by slug.
	Children(ctx context.Context, tenant id.Tenant) ([]Child, error)
	// DelegatedBy returns the tenants that have an entitlement from the tenant.
	DelegatedBy(ctx context.Context, tenant id.Tenant, key string) ([]id.Tenant, error)
	// AdvanceVersions gives each of the tenants its next Version.
	AdvanceVersions(ctx context.Context, tenants []id.Tenant) error
	// RoleHolders returns those members of the tenant that hold one of the roles,
	// the default role aside, where a member can have at most so many, 0 for no
	// bound; those who are members for longest first.
	RoleHolders(ctx context.Context, tenant id.Tenant, roles []string, most int) ([]RoleHolder, error)
}

// A Child is a tenant directly below another.
type Child struct {
	ID       id.Tenant
	Slug     string
	Name     string
	Type     string
	Tier     string
	Status   string
	Relation string
}

// A RoleHolder is a member with the roles held directly.
type RoleHolder struct {
	User       id.User
	Membership id.Membership
	Status     Status
	Disabled   bool // the login is off
	Roles      []string
}

// An Edge puts a tenant under a parent.
type Edge struct {
	Tenant    id.Tenant
	Relation  string
	Parent    string // slug or id
	OverQuota bool   // the operator's word that the quota of the parent's tier does not count this time
}

// Link puts a tenant under a parent: a spoke under its hub, a customer under its
// supplier. One that stands under another parent is taken from there first. Only
// an operator may; others ask for it (see CreateRequest).
//
// It fails with fault.Invalid on "relations.NAME" where the forest would not be
// one, or too deep, and with fault.Denied and the Code quota where the hub's
// tier allows no more spokes.
func (d *Directory) Link(ctx context.Context, e Edge) error {
	if err := operatorOnly(ctx); err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error { return d.relate(ctx, e) })
}

// Unlink takes a tenant from its parent in a relation. What it had by way of the
// parent ends with it: rights that reach it from above, the grants and
// application tokens that rest on them, and entitlements that were passed on. It
// fails with fault.NotFound where it has no parent.
func (d *Directory) Unlink(ctx context.Context, tenant id.Tenant, relation string) error {
	if err := operatorOnly(ctx); err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.store.LockRelations(ctx); err != nil {
			return err
		}
		t, err := d.store.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		blueprint, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
		if err != nil {
			return err
		}
		if _, err := blueprint.Relation(relation); err != nil {
			return err
		}
		parent, related := t.Relations[relation]
		if !related {
			return fault.New(fault.NotFound, "%s has no parent in the relation %s", t.Slug, relation)
		}
		below, err := d.lockAround(ctx, tenant, parent)
		if err != nil {
			return err
		}
		return d.cut(ctx, blueprint, t, relation, below)
	})
}

// lockAround locks the tenant with all below it, and the others, and returns
// those below. Relations are locked already.
func (d *Directory) lockAround(ctx context.Context, tenant id.Tenant, others ...id.Tenant) ([]id.Tenant, error) {
	below, err := d.store.TenantsBelow(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return below, d.store.LockTenants(ctx, slices.Concat(below, others, []id.Tenant{tenant}))
}

// relate is Link without the question who may.
func (d *Directory) relate(ctx context.Context, e Edge) error {
	if err := d.store.LockRelations(ctx); err != nil {
		return err
	}
	t, err := d.store.Tenant(ctx, e.Tenant)
	if err != nil {
		return err
	}
	blueprint, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return err
	}
	parent, err := d.parent(ctx, blueprint, e)
	if err != nil {
		return err
	}
	old, related := t.Relations[e.Relation]
	if related && old == parent.ID {
		return nil
	}
	others := []id.Tenant{parent.ID}
	if related {
		others = append(others, old)
	}
	below, err := d.lockAround(ctx, t.ID, others...)
	if err != nil {
		return err
	}
	if err := d.checkQuota(ctx, blueprint, parent, e); err != nil {
		return err
	}
	if related {
		if err := d.cut(ctx, blueprint, t, e.Relation, below); err != nil {
			return err
		}
	}
	return d.join(ctx, blueprint, t, parent, e, below)
}

// parent checks one edge of a forest: the relation exists, both tenants have
// the same blueprint, the forest stays one, and it grows no deeper than allowed.
func (d *Directory) parent(ctx context.Context, blueprint *authz.Blueprint, e Edge) (*Tenant, error) {
	field := "relations." + e.Relation
	rule, err := blueprint.Relation(e.Relation)
	if err != nil {
		return nil, err
	}
	parent, err := d.store.TenantByName(ctx, e.Parent)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.Field(fault.Invalid, field, "there is no tenant %q", e.Parent)
	} else if err != nil {
		return nil, err
	}
	if parent.Blueprint != blueprint.Name() {
		return nil, fault.Field(fault.Invalid, field, "%s has the blueprint %s, not %s", e.Parent, parent.Blueprint, blueprint.Name())
	}
	depth := 1
	for above := parent; ; depth++ {
		if above.ID == e.Tenant {
			return nil, fault.Field(fault.Invalid, field, "%s can't be above the tenant: it is below it, or the tenant itself", e.Parent)
		}
		next, related := above.Relations[e.Relation]
		if !related {
			break
		}
		if above, err = d.store.Tenant(ctx, next); err != nil {
			return nil, err
		}
	}
	height, err := d.store.Height(ctx, e.Tenant, e.Relation)
	if err != nil {
		return nil, err
	}
	if depth += height; rule.MaxDepth > 0 && depth > rule.MaxDepth {
		return nil, fault.Field(fault.Invalid, field, "there would be %d levels below the top, at most %d are allowed", depth, rule.MaxDepth)
	}
	return parent, nil
}

// checkQuota refuses a spoke more than the hub's tier allows.
func (d *Directory) checkQuota(ctx context.Context, blueprint *authz.Blueprint, hub *Tenant, e Edge) error {
	relation, err := blueprint.Relation(e.Relation)
	if err != nil {
		return err
	}
	tier, _ := blueprint.Tier(hub.Tier) // none, or one that an upgrade removed, has no quota
	most, limited := tier.Quotas.Lookup(quotaLinked)
	if e.OverQuota || !limited || relation.Shape != authz.Star {
		return nil
	}
	spokes, err := d.spokes(ctx, hub.ID, e.Relation)
	if err != nil {
		return err
	}
	if spokes >= most {
		return &fault.Error{
			Kind: fault.Denied, Field: "relations." + e.Relation, Code: "quota",
			Detail: "as many tenants are linked to " + hub.Slug + " as its tier " + hub.Tier + " allows",
		}
	}
	return nil
}

// spokes counts the tenants directly below a tenant in a relation.
func (d *Directory) spokes(ctx context.Context, hub id.Tenant, relation string) (int, error) {
	children, err := d.store.Children(ctx, hub)
	n := 0
	for _, child := range children {
		if child.Relation == relation {
			n++
		}
	}
	return n, err
}

// join writes an edge with what follows from it. The tenants are locked.
func (d *Directory) join(ctx context.Context, blueprint *authz.Blueprint, t, parent *Tenant, e Edge, below []id.Tenant) error {
	relation, err := blueprint.Relation(e.Relation)
	if err != nil {
		return err
	}
	return d.keepingRules(ctx, []id.Tenant{t.ID, parent.ID}, func(ctx context.Context) error {
		if err := d.setParent(ctx, t.ID, e.Relation, parent.ID, below); err != nil {
			return err
		}
		if relation.Shape == authz.Star {
			if err := d.leaveHubRoles(ctx, blueprint, t.ID); err != nil {
				return err
			}
			if err := d.enterHubRoles(ctx, blueprint, parent.ID); err != nil {
				return err
			}
		}
		return d.recordEdge(ctx, "tenant.link", t.ID, e.Relation, parent.ID)
	})
}

// cut ends an edge with what rested on it. The tenants are locked.
func (d *Directory) cut(ctx context.Context, blueprint *authz.Blueprint, t *Tenant, name string, below []id.Tenant) error {
	parent := t.Relations[name]
	relation, err := blueprint.Relation(name)
	if err != nil {
		return err
	}
	return d.keepingRules(ctx, []id.Tenant{t.ID, parent}, func(ctx context.Context) error {
		if err := d.setParent(ctx, t.ID, name, "", below); err != nil {
			return err
		}
		if relation.Shape == authz.Star {
			if err := d.leaveStar(ctx, blueprint, t.ID, name, parent); err != nil {
				return err
			}
		} else if err := d.endDelegatedBy(ctx, t.ID, parent); err != nil {
			return err
		}
		for _, tenant := range append(below, t.ID) {
			above, err := d.store.TenantsAbove(ctx, tenant)
			if err != nil {
				return err
			}
			if err := d.holdings.EndReach(ctx, tenant, append(above, tenant)); err != nil {
				return err
			}
		}
		return d.recordEdge(ctx, "tenant.unlink", t.ID, name, parent)
	})
}

// setParent stores a tenant's parent, "" for none. Decisions about those below
// rest on it too, so their versions go up.
func (d *Directory) setParent(ctx context.Context, tenant id.Tenant, relation string, parent id.Tenant, below []id.Tenant) error {
	_, err := d.store.UpdateTenant(ctx, tenant, func(t *Tenant) error {
		delete(t.Relations, relation)
		if parent != "" {
			t.Relations[relation] = parent
		}
		t.Modified = d.now()
		return nil
	})
	if err != nil {
		return err
	}
	return d.store.AdvanceVersions(ctx, below)
}

// recordEdge writes the event of an edge to both of its ends.
func (d *Directory) recordEdge(ctx context.Context, action string, tenant id.Tenant, relation string, parent id.Tenant) error {
	data := map[string]any{"relation": relation, "parent": parent}
	if err := d.record(ctx, tenant, action, "tenant", string(tenant), data); err != nil {
		return err
	}
	return d.record(ctx, parent, action, "tenant", string(tenant), data)
}

// keepingRules runs change and fails where it breaks a rule over the holders of
// one of the tenants, which are locked.
func (d *Directory) keepingRules(ctx context.Context, tenants []id.Tenant, change func(ctx context.Context) error) error {
	places := make([]*place, len(tenants))
	before := make([][]authz.Tally, len(tenants))
	for i, tenant := range tenants {
		var err error
		if places[i], err = d.lock(ctx, tenant); err != nil {
			return err
		}
		if before[i], err = d.tallies(ctx, places[i]); err != nil {
			return err
		}
	}
	if err := change(ctx); err != nil {
		return err
	}
	for i, at := range places {
		after, err := d.tallies(ctx, at)
		if err != nil {
			return err
		}
		if err := at.blueprint.CheckTallies(before[i], after); err != nil {
			return err
		}
	}
	return nil
}
