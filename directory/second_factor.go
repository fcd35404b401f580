package directory

import (
	"context"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// RequireSecondFactor demands a second factor of one member, or no longer does.
// Tokens that were had with one factor are not accepted from then on. It fails
// with fault.Invalid and the field second_factor_required where the role system
// demands none of single members, and with fault.Denied where the caller may not,
// as with the demand on the caller's own membership.
func (d *Directory) RequireSecondFactor(ctx context.Context, tenant id.Tenant, membership id.Membership, required bool) (*Membership, error) {
	var changed *Membership
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		b, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		if err := checkFlag(b, required); err != nil {
			return err
		}
		t, err := d.heldType(ctx, tenant, typeUser)
		if err != nil {
			return err
		}
		did := false
		changed, err = d.store.UpdateMembership(ctx, tenant, membership, func(m *Membership) error {
			if err := d.admitFlag(ctx, b, m, required); err != nil {
				return err
			}
			if did = m.SecondFactor != required; !did {
				return ErrUnchanged
			}
			m.SecondFactor, m.Modified, m.Search = required, d.now(), t.SearchDocument(m.Profile)
			return nil
		})
		if err != nil || !did {
			return err
		}
		return d.record(ctx, tenant, "membership.second_factor", "membership", string(membership), map[string]any{"required": required})
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// admitFlag asks for leave to change what is demanded of a member: as to change
// the member, or in a role system that does not know that, as to add one.
func (d *Directory) admitFlag(ctx context.Context, b *authz.Blueprint, m *Membership, required bool) error {
	if p := authz.FromContext(ctx); p.User != "" && p.User == m.User && m.SecondFactor && !required {
		return fault.New(fault.Denied, "nobody takes the demand for a second factor from their own membership").WithCode("self")
	}
	operation := authz.OpUpdate
	if _, known := b.Document().AdminOps.Lookup(operation); !known {
		operation = authz.OpCreate
	}
	same := func(before *authz.MembershipFacts) *authz.MembershipFacts { return before }
	return d.admit(ctx, memberChange{tenant: m.Tenant, user: m.User, operation: operation, after: same})
}

// checkFlag fails where a second factor is to be demanded of a single member and
// the role system does not know that.
func checkFlag(b *authz.Blueprint, required bool) error {
	if policy := b.Document().MFA; !required || policy != nil && policy.RequiredWhen.MembershipFlag != "" {
		return nil
	}
	return fault.Field(fault.Invalid, "second_factor_required", "the role system does not demand a second factor of single members").WithCode("unknown_flag")
}
