package directory

import (
	"context"
	"errors"
	"maps"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// SaveRelations puts a tenant under its parents: relation name → slug or id.
func (d *Directory) SaveRelations(ctx context.Context, tenant id.Tenant, parents map[string]string) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		blueprint, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		wanted := map[string]id.Tenant{}
		for relation, name := range parents {
			parent, err := d.parent(ctx, blueprint, tenant, relation, name)
			if err != nil {
				return err
			}
			wanted[relation] = parent
		}
		t, err := d.store.UpdateTenant(ctx, tenant, func(t *Tenant) error {
			before := maps.Clone(t.Relations)
			maps.Copy(t.Relations, wanted)
			if maps.Equal(before, t.Relations) {
				return ErrUnchanged
			}
			t.Modified = d.now()
			return nil
		})
		if isUnchanged(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return d.record(ctx, tenant, "tenant.relate", "tenant", string(tenant), map[string]any{"relations": t.Relations})
	})
}

// parent checks one edge of a forest: the relation exists, both tenants have
// the same blueprint, the forest stays one, and it grows no deeper than allowed.
func (d *Directory) parent(ctx context.Context, blueprint *authz.Blueprint, tenant id.Tenant, relation, name string) (id.Tenant, error) {
	field := "relations." + relation
	rule, err := blueprint.Relation(relation)
	if err != nil {
		return "", err
	}
	parent, err := d.store.TenantByName(ctx, name)
	if errors.Is(err, fault.NotFound) {
		return "", fault.Field(fault.Invalid, field, "there is no tenant %q", name)
	} else if err != nil {
		return "", err
	}
	if parent.Blueprint != blueprint.Name() {
		return "", fault.Field(fault.Invalid, field, "%s has the blueprint %s, not %s", name, parent.Blueprint, blueprint.Name())
	}
	depth := 1
	for above := parent; ; depth++ {
		if above.ID == tenant {
			return "", fault.Field(fault.Invalid, field, "%s can't be above the tenant: it is below it, or the tenant itself", name)
		}
		next, related := above.Relations[relation]
		if !related {
			break
		}
		if above, err = d.store.Tenant(ctx, next); err != nil {
			return "", err
		}
	}
	if rule.MaxDepth > 0 && depth > rule.MaxDepth {
		return "", fault.Field(fault.Invalid, field, "the tenant would be %d levels deep, at most %d are allowed", depth, rule.MaxDepth)
	}
	return parent.ID, nil
}
