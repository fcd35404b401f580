package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// An Assumption is a staff member's wish to act as a user of another tenant.
type Assumption struct {
	Staff       id.User
	StaffTenant id.Tenant // where the staff member is signed in, and so where the right to assume others is looked for
	Nested      bool      // the staff member acts as somebody already
	User        id.User
	Tenant      id.Tenant // of the user
	Role        string    // role to take instead of the user's; empty: the user's own
}

// Assumed is the answer to an Assumption. But for Decision it is the zero value
// where the answer is no.
type Assumed struct {
	authz.Decision
	Standing    *Standing // the user's in the tenant
	Roles       []string
	Permissions []string             // sorted
	Policy      *authz.SupportPolicy // what the tenant's role system says of support sessions
}

// Assume decides by the state of now whether a staff member may act as a user,
// and says what he may do then, over the portal's channel. It is asked before a
// support session and at each use of one. The codes are those of
// [authz.Blueprint.MayAssume]; a tenant that does not exist is one where the
// permission is missing. Nobody acts as an operator, or as somebody who could
// not act himself: that is target_status.
func (r *Rights) Assume(ctx context.Context, a Assumption) (*Assumed, error) {
	t, err := r.store.Tenant(ctx, a.Tenant)
	if errors.Is(err, fault.NotFound) {
		return &Assumed{Decision: authz.Decision{Operation: "assume", Tenant: a.Tenant, Code: "permission"}}, nil
	}
	if err != nil {
		return nil, err
	}
	at, err := r.place(ctx, t)
	if err != nil {
		return nil, err
	}
	staff, _, err := r.holders(ctx, at, a.Staff)
	if err != nil {
		return nil, err
	}
	staff = slices.DeleteFunc(staff, func(h authz.Holder) bool { return h.Home() == nil || h.Home().ID() != a.StaffTenant })
	var user []authz.Holder
	var here *Standing
	if a.User != "" {
		if user, here, err = r.holders(ctx, at, a.User); err != nil {
			return nil, err
		}
	}
	asked := authz.Assumption{
		Staff: authz.Actor{User: a.Staff, Holders: staff, Channel: authz.ChannelPortal}, InSession: a.Nested,
		User: a.User, At: at.view, TenantStatus: t.Status, Override: a.Role, Consented: t.Policy.SupportAccess,
	}
	if here != nil && !here.User.Disabled {
		asked.UserStatus = string(here.Status)
	}
	d := at.blueprint.MayAssume(asked)
	if !d.Allowed {
		return &Assumed{Decision: d}, nil
	}
	usable := false
	if here != nil && !here.User.Disabled && !here.User.Operator {
		if usable, err = r.Usable(ctx, t.Blueprint, t.BlueprintVersion, t.Status, here.Status); err != nil {
			return nil, err
		}
	}
	if !usable {
		return &Assumed{Decision: authz.Decision{Operation: d.Operation, Tenant: d.Tenant, Code: "target_status"}}, nil
	}
	b := at.blueprint
	acting := b.SupportHolders(user, at.view, a.Role)
	return &Assumed{
		Decision: d, Standing: here, Policy: b.Document().Support,
		Roles:       b.RolesAt(acting, at.view, authz.ChannelPortal),
		Permissions: slices.Sorted(slices.Values(b.Keys(b.SupportRights(user, at.view, authz.ChannelPortal, a.Role)))),
	}, nil
}

// asksConsent reports whether support sessions need the tenant's own word.
func asksConsent(b *authz.Blueprint) bool {
	policy := b.Document().Support
	return policy != nil && policy.Permission != nil && (policy.Consent == "" || policy.Consent == authz.ConsentTenant)
}

// supportWithdrawn ends the support sessions of a tenant which has just taken
// back its consent, in the transaction in ctx.
func (d *Directory) supportWithdrawn(ctx context.Context, before Policy, t *Tenant) error {
	if !before.SupportAccess || t.Policy.SupportAccess {
		return nil
	}
	b, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil || !asksConsent(b) {
		return err
	}
	return d.holdings.EndSupport(ctx, t.ID, "consent")
}
