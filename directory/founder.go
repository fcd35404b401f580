package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/internal/id"
)

// A tenant that waits for its founder (tenants.statuses.*.founded) is there once a
// member with the founder's role has a password, whichever of the two comes last
// (1N-R18).

// FirstPassword is to be called in the transaction in which somebody gets a
// password who had none.
func (d *Directory) FirstPassword(ctx context.Context, user id.User) error {
	memberships, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil {
		return err
	}
	for i := range memberships {
		if err := d.foundedBy(ctx, &memberships[i]); err != nil {
			return err
		}
	}
	return nil
}

// givenFounder is to be called when a member has been given roles.
func (d *Directory) givenFounder(ctx context.Context, m *Membership, roles []string) error {
	blueprint, err := d.blueprint(ctx, m.Tenant)
	if err != nil {
		return err
	}
	founder, known := blueprint.Founder()
	if !known || blueprint.Unfounded() == "" || !slices.Contains(roles, founder) {
		return nil
	}
	has, err := d.passwords.HasPassword(ctx, m.User)
	if err != nil || !has {
		return err
	}
	return d.foundedBy(ctx, m)
}

// foundedBy ends the waiting of the member's tenant if that is its founder.
func (d *Directory) foundedBy(ctx context.Context, m *Membership) error {
	blueprint, err := d.blueprint(ctx, m.Tenant)
	if err != nil || blueprint.Unfounded() == "" {
		return err
	}
	founder, _ := blueprint.Founder()
	held, err := d.store.Assignments(ctx, m.Tenant, m.ID)
	if err != nil || !slices.ContainsFunc(held, func(a Assignment) bool { return a.Role == founder }) {
		return err
	}
	from := ""
	t, err := d.store.UpdateTenant(ctx, m.Tenant, func(t *Tenant) error {
		status, _ := blueprint.TenantStatus(t.Status)
		if status.Founded == "" {
			return ErrUnchanged
		}
		from, t.Status, t.Modified = t.Status, status.Founded, d.now()
		return nil
	})
	if isUnchanged(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := d.settleDefaults(ctx, t.ID); err != nil {
		return err
	}
	return d.record(ctx, t.ID, "tenant.founded", "tenant", string(t.ID), map[string]any{"membership": m.ID, "from": from, "status": t.Status})
}
