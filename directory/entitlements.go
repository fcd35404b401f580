package directory

import (
	"cmp"
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// EntitledTier is the source of what a tenant's tier brings. It is never stored.
const EntitledTier EntitlementSource = "tier"

// Entitlements returns what the tenant is entitled to and by whose word, its
// tier's included, by key and source.
func (d *Directory) Entitlements(ctx context.Context, tenant id.Tenant) ([]Entitlement, error) {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	blueprint, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(t.Entitlements)
	tier, _ := blueprint.Tier(t.Tier) // none, or one that an upgrade removed, brings nothing
	for _, key := range tier.Entitlements {
		all = append(all, Entitlement{Key: key, Source: EntitledTier})
	}
	slices.SortFunc(all, func(a, b Entitlement) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Source, b.Source)) })
	return all, nil
}

// Entitle gives a tenant an entitlement by the operator's word, with the option
// to pass it on or without; one that is there by it changes to that. Taking the
// option away ends what was passed on.
func (d *Directory) Entitle(ctx context.Context, tenant id.Tenant, key string, grantable bool) error {
	given := Entitlement{Key: key, Source: EntitledOperator, Grantable: grantable}
	return d.byOperator(ctx, tenant, func(ctx context.Context, t *Tenant, blueprint *authz.Blueprint) error {
		if err := blueprint.CheckEntitlement(key); err != nil {
			return err
		}
		return d.putEntitlement(ctx, t, given, "entitlement.give")
	})
}

// Disentitle takes an entitlement by the operator's word from a tenant, and with
// it what the tenant has passed on and has by nobody else's word. It fails with
// fault.NotFound where there is none.
func (d *Directory) Disentitle(ctx context.Context, tenant id.Tenant, key string) error {
	return d.byOperator(ctx, tenant, func(ctx context.Context, t *Tenant, _ *authz.Blueprint) error {
		if t.entitlement(key, EntitledOperator) == nil {
			return fault.New(fault.NotFound, "the operator has not given the entitlement %s to %s", key, t.Slug)
		}
		return d.endEntitlement(ctx, t.ID, key, EntitledOperator)
	})
}

// byOperator runs an operator's change of a tenant's entitlements under the
// locks that it needs.
func (d *Directory) byOperator(ctx context.Context, tenant id.Tenant, change func(ctx context.Context, t *Tenant, blueprint *authz.Blueprint) error) error {
	if err := operatorOnly(ctx); err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.store.LockRelations(ctx); err != nil {
			return err
		}
		if _, err := d.lockAround(ctx, tenant); err != nil {
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
		return change(ctx, t, blueprint)
	})
}

// Delegate passes an entitlement on from a tenant to its direct child in a tree,
// with the option to pass it on further or without (TX-R15).
//
// Who may is who administers the child's people from above: the caller must
// have, at the child and by what is held in the parent, the permission of the
// operation grant. An administrator of the child alone is refused, and so is
// one of the parent who has no right at the child. It fails with fault.Denied
// and the Code permission, not_delegable, not_grantable or not_child, and with
// fault.Conflict where another parent has passed it on already.
func (d *Directory) Delegate(ctx context.Context, from, to id.Tenant, key string, grantable bool) error {
	return d.fromParent(ctx, from, to, func(ctx context.Context, parent, child *place) error {
		option := slices.ContainsFunc(parent.tenant.Entitlements, func(e Entitlement) bool { return e.Key == key && e.Grantable })
		if err := parent.blueprint.MayDelegate(parent.view, child.view, key, option); err != nil {
			return err
		}
		if had := child.tenant.entitlement(key, EntitledDelegated); had != nil && had.Giver != from {
			return fault.Field(fault.Conflict, "entitlements", "%s has the entitlement %s from another parent", child.tenant.Slug, key).WithCode("delegated")
		}
		return d.putEntitlement(ctx, child.tenant, Entitlement{Key: key, Source: EntitledDelegated, Giver: from, Grantable: grantable}, "entitlement.delegate")
	})
}

// Withdraw ends what Delegate did, for those below the child too. It needs the
// same permission, and fails with fault.NotFound where the parent has passed on
// nothing of the kind.
func (d *Directory) Withdraw(ctx context.Context, from, to id.Tenant, key string) error {
	return d.fromParent(ctx, from, to, func(ctx context.Context, parent, child *place) error {
		if had := child.tenant.entitlement(key, EntitledDelegated); had == nil || had.Giver != from {
			return fault.New(fault.NotFound, "%s has not passed on the entitlement %s to %s", parent.tenant.Slug, key, child.tenant.Slug)
		}
		return d.endEntitlement(ctx, to, key, EntitledDelegated)
	})
}

// fromParent runs what a parent does with a child's entitlements, once the
// caller has shown that he may, under the locks that it needs.
func (d *Directory) fromParent(ctx context.Context, from, to id.Tenant, change func(ctx context.Context, parent, child *place) error) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.store.LockRelations(ctx); err != nil {
			return err
		}
		if _, err := d.lockAround(ctx, to, from); err != nil {
			return err
		}
		parent, err := d.lock(ctx, from)
		if err != nil {
			return err
		}
		child, err := d.lock(ctx, to)
		if err != nil {
			return err
		}
		if parent.blueprint != child.blueprint {
			return fault.New(fault.Denied, "an entitlement is passed on to direct children only").WithCode("not_child")
		}
		if err := d.mayPassOn(ctx, parent, child); err != nil {
			return err
		}
		return change(ctx, parent, child)
	})
}

// mayPassOn fails unless the caller administers the child's people by what is
// held in the parent.
func (d *Directory) mayPassOn(ctx context.Context, parent, child *place) error {
	key, _ := child.blueprint.Document().AdminOps.Lookup(authz.OpGrant)
	needed, known := child.blueprint.Permission(key)
	for _, at := range []*place{parent, child} { // the credential may be bound to either
		actor, err := d.rights.actor(ctx, at)
		if err != nil || actor.Operator {
			return err
		}
		actor.Holders = slices.DeleteFunc(actor.Holders, func(h authz.Holder) bool { return h.Home().ID() != parent.tenant.ID })
		held := child.blueprint.Effective(actor.Holders, child.view, actor.Channel)
		if actor.Limit != nil {
			held = held.Intersect(*actor.Limit)
		}
		if known && held.Has(needed) {
			return nil
		}
	}
	return fault.New(fault.Denied, "passing on entitlements needs the permission %q at %s by a role in %s", key, child.tenant.Slug, parent.tenant.Slug).WithCode("permission")
}

// entitlement returns what the tenant has by that source, or nil.
func (t *Tenant) entitlement(key string, source EntitlementSource) *Entitlement {
	i := slices.IndexFunc(t.Entitlements, func(e Entitlement) bool { return e.Key == key && e.Source == source })
	if i < 0 {
		return nil
	}
	return &t.Entitlements[i]
}

// putEntitlement gives the tenant an entitlement, or changes the option of one,
// and writes the event.
func (d *Directory) putEntitlement(ctx context.Context, t *Tenant, given Entitlement, action string) error {
	if had := t.entitlement(given.Key, given.Source); had != nil && *had == given {
		return nil
	}
	_, err := d.store.UpdateTenant(ctx, t.ID, func(t *Tenant) error {
		if had := t.entitlement(given.Key, given.Source); had != nil {
			*had = given
		} else {
			t.Entitlements = append(t.Entitlements, given)
		}
		t.Modified = d.now()
		return nil
	})
	if err != nil {
		return err
	}
	data := map[string]any{"entitlement": given.Key, "grantable": given.Grantable}
	if err := d.record(ctx, t.ID, action, "tenant", string(t.ID), data); err != nil {
		return err
	}
	if given.Giver != "" {
		if err := d.record(ctx, given.Giver, action, "tenant", string(t.ID), data); err != nil {
			return err
		}
	}
	return d.endBelow(ctx, t.ID, given.Key)
}

// endEntitlement takes an entitlement from a tenant and, where nobody else's
// word lets it pass it on, from those to whom it has.
func (d *Directory) endEntitlement(ctx context.Context, tenant id.Tenant, key string, source EntitlementSource) error {
	_, err := d.store.UpdateTenant(ctx, tenant, func(t *Tenant) error {
		t.Entitlements = slices.DeleteFunc(t.Entitlements, func(e Entitlement) bool { return e.Key == key && e.Source == source })
		t.Modified = d.now()
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.record(ctx, tenant, "entitlement.end", "tenant", string(tenant), map[string]any{"entitlement": key, "source": source}); err != nil {
		return err
	}
	return d.endBelow(ctx, tenant, key)
}

// endBelow ends what a tenant has passed on of an entitlement, if it can pass it
// on no more. Giver and child are an edge of a forest, so this ends.
func (d *Directory) endBelow(ctx context.Context, tenant id.Tenant, key string) error {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(t.Entitlements, func(e Entitlement) bool { return e.Key == key && e.Grantable }) {
		return nil
	}
	children, err := d.store.DelegatedBy(ctx, tenant, key)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := d.endEntitlement(ctx, child, key, EntitledDelegated); err != nil {
			return err
		}
	}
	return nil
}

// endDelegatedBy ends what a tenant has from one that is its parent in a tree no
// more.
func (d *Directory) endDelegatedBy(ctx context.Context, tenant, giver id.Tenant) error {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	blueprint, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return err
	}
	for relation, parent := range t.Relations {
		if rule, err := blueprint.Relation(relation); err == nil && rule.Shape == authz.Tree && parent == giver {
			return nil
		}
	}
	for _, e := range t.Entitlements {
		if e.Source != EntitledDelegated || e.Giver != giver {
			continue
		}
		if err := d.endEntitlement(ctx, tenant, e.Key, EntitledDelegated); err != nil {
			return err
		}
	}
	return nil
}
