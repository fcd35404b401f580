package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// opSetContact is the operation of admin_ops that moves the contact's marker.
const opSetContact = "set_contact"

// ContactStore says who is alone in a tenant.
type ContactStore interface {
	// HasOtherMembers reports whether the tenant has a member beside this one,
	// who need not be stored yet.
	HasOtherMembers(ctx context.Context, tenant id.Tenant, membership id.Membership) (bool, error)
}

// founded returns the roles that a member begins with, who is or will be stored
// in the same transaction, and marks the first as contact person where the
// blueprint says so (TX-R17, TX-R18). The first member who is added by hand
// without roles gets the founder's; roles that were given count instead, and an
// empty list, not nil, says none. Whom a directory pushes is not asked about
// here: who is the owner is not a directory's word. The tenant must be locked.
func (d *Directory) founded(ctx context.Context, m *Membership, roles []string) ([]string, AssignmentSource, error) {
	blueprint, err := d.blueprint(ctx, m.Tenant)
	if err != nil {
		return nil, "", err
	}
	others, err := d.store.HasOtherMembers(ctx, m.Tenant, m.ID)
	if err != nil || others {
		return roles, assignedBy(ctx), err
	}
	if contact := blueprint.Document().Membership.Contact; contact != nil && contact.Founder {
		if err := d.mark(ctx, m.Tenant, m.ID); err != nil {
			return nil, "", err
		}
	}
	for _, role := range blueprint.Roles() {
		if role.Founder && roles == nil {
			return []string{role.Key}, AssignedFounder, nil
		}
	}
	return roles, assignedBy(ctx), nil
}

// giveFirst stores the roles that a new member begins with.
func (d *Directory) giveFirst(ctx context.Context, m *Membership, roles []string, source AssignmentSource) error {
	if len(roles) == 0 {
		return nil
	}
	for _, role := range roles {
		if err := d.store.Assign(ctx, Assignment{Tenant: m.Tenant, Membership: m.ID, Role: role, Source: source}, d.now()); err != nil {
			return err
		}
	}
	if err := d.givenFounder(ctx, m, roles); err != nil {
		return err
	}
	return d.record(ctx, m.Tenant, "membership.roles", "membership", string(m.ID), map[string]any{"added": roles})
}

// SetContact makes a member the tenant's contact person, in the place of whoever
// was. It gives no right. The caller needs the operation set_contact on the
// member. It fails with fault.Unsupported where the role system knows no contact
// person.
func (d *Directory) SetContact(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.Membership(ctx, tenant, membership)
		if err != nil {
			return err
		}
		blueprint, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		if blueprint.Document().Membership.Contact == nil {
			return fault.New(fault.Unsupported, "%s has no contact person", blueprint.Name())
		}
		if slices.Contains(blueprint.FinalStatuses(), string(m.Status)) {
			return fault.Field(fault.Invalid, "membership", "a membership that is over can't be the contact")
		}
		err = d.admit(ctx, memberChange{
			tenant: tenant, user: m.User, operation: opSetContact,
			after: func(before *authz.MembershipFacts) *authz.MembershipFacts { return before },
		})
		if err != nil {
			return err
		}
		return d.mark(ctx, tenant, membership)
	})
}

// forgetContact takes the marker from a membership that goes.
func (d *Directory) forgetContact(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil || t.Contact != membership {
		return err
	}
	return d.mark(ctx, tenant, "")
}

// mark stores who is the contact person, "" for nobody.
func (d *Directory) mark(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	_, err := d.store.UpdateTenant(ctx, tenant, func(t *Tenant) error {
		if t.Contact == membership {
			return ErrUnchanged
		}
		t.Contact, t.Modified = membership, d.now()
		return nil
	})
	if isUnchanged(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.record(ctx, tenant, "tenant.contact", "tenant", string(tenant), map[string]any{"membership": membership})
}
