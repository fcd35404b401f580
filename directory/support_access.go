package directory

import (
	"context"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// SupportAccess says whether a tenant consents to support sessions, to whoever
// may see them.
func (d *Directory) SupportAccess(ctx context.Context, tenant id.Tenant) (bool, error) {
	if err := d.MaySeeSupport(ctx, tenant); err != nil {
		return false, err
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return false, err
	}
	return t.Policy.SupportAccess, nil
}

// SetSupportAccess gives or takes a tenant's consent to support sessions; those
// that run end with it. An operator may, and whoever has the permission that the
// role system names (support.set_by), except in a support session. It fails with
// fault.Denied.
func (d *Directory) SetSupportAccess(ctx context.Context, tenant id.Tenant, allowed bool) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		if err := d.maySwitchSupport(ctx, at); err != nil {
			return err
		}
		before := at.tenant.Policy
		t, err := d.store.UpdateTenant(ctx, tenant, func(t *Tenant) error {
			if t.Policy.SupportAccess == allowed {
				return ErrUnchanged
			}
			t.Policy.SupportAccess, t.Modified = allowed, d.now()
			return nil
		})
		if isUnchanged(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := d.supportWithdrawn(ctx, before, t); err != nil {
			return err
		}
		return d.record(ctx, tenant, "tenant.support_access", "tenant", string(tenant), map[string]any{"allowed": allowed})
	})
}

func (d *Directory) maySwitchSupport(ctx context.Context, at *place) error {
	if authz.FromContext(ctx).Support != nil {
		return fault.New(fault.Denied, "a support session can't decide about support sessions").WithCode("nested")
	}
	permission := ""
	if policy := at.blueprint.Document().Support; policy != nil {
		permission = policy.SetBy
	}
	return d.rights.permitted(ctx, at, permission)
}

// at returns a tenant as decisions see it now.
func (d *Directory) at(ctx context.Context, tenant id.Tenant) (*place, error) {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return d.rights.place(ctx, t)
}

// MaySeeSupport fails with fault.Denied unless the caller may see the tenant's
// support sessions: an operator, or whoever may list the tenant's people.
func (d *Directory) MaySeeSupport(ctx context.Context, tenant id.Tenant) error {
	at, err := d.at(ctx, tenant)
	if err != nil {
		return err
	}
	permission, _ := at.blueprint.Document().AdminOps.Lookup(authz.OpList)
	return d.rights.permitted(ctx, at, permission)
}

// MayEndSupport fails with fault.Denied unless the caller may end a support
// session in the tenant: the staff member in it, an operator, and whoever may
// give or take the tenant's consent or, where the role system asks for none,
// suspend or else change people.
func (d *Directory) MayEndSupport(ctx context.Context, tenant id.Tenant, staff id.User) error {
	p := authz.FromContext(ctx)
	if p.Kind == authz.UserPrincipal && (p.Support == nil && p.User == staff || p.Support != nil && p.Support.User == staff) {
		return nil
	}
	at, err := d.at(ctx, tenant)
	if err != nil {
		return err
	}
	if policy := at.blueprint.Document().Support; policy != nil && policy.SetBy != "" {
		return d.maySwitchSupport(ctx, at)
	}
	operations := at.blueprint.Document().AdminOps
	permission, known := operations.Lookup(authz.OpSuspend)
	if !known {
		permission, _ = operations.Lookup(authz.OpUpdate)
	}
	return d.rights.permitted(ctx, at, permission)
}
