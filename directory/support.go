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
	// SecondFactor says that the tenant would ask the user for one, so that it is
	// asked of the staff member.
	SecondFactor bool
}

// Assume decides by the state of now whether a staff member may act as a user,
// and says what he may do then, over the portal's channel. It is asked before a
// support session and at each use of one. The codes are those of
// [authz.Blueprint.MayAssume]; a tenant that does not exist is one where the
// permission is missing. Nobody acts as an operator, or as somebody who could
// not act himself: that is target_status.
func (r *Rights) Assume(ctx context.Context, a Assumption) (*Assumed, error) {
	refused := &Assumed{Decision: authz.Decision{Operation: "assume", Tenant: a.Tenant}}
	staff, err := r.one(ctx, Bearer{User: a.Staff, Tenant: a.StaffTenant}, string(a.Tenant))
	if errors.Is(err, fault.NotFound) {
		refused.Code = "permission"
		return refused, nil
	}
	if err != nil {
		return nil, err
	}
	user := &weighed{at: staff.at, held: &Held{}, now: staff.now}
	if a.User != "" {
		if user, err = r.one(ctx, Bearer{User: a.User}, string(a.Tenant)); err != nil {
			return nil, err
		}
	}
	b, t := user.at.blueprint, user.at.tenant
	asked := authz.Assumption{
		Staff: authz.Actor{User: a.Staff, Holders: staff.holders, Channel: authz.ChannelPortal}, InSession: a.Nested,
		User: a.User, At: user.at.view, TenantStatus: t.Status, Override: a.Role, Consented: t.Policy.SupportAccess,
	}
	var st *Standing
	if here := user.held.At(t.ID); user.held.User != nil && here != nil && here.Membership != "" {
		st = here.standing(user.at, user.held.User)
		asked.UserStatus = here.facts(user.held.User).Status
	}
	if refused.Decision = b.MayAssume(asked); !refused.Allowed {
		return refused, nil
	}
	if st == nil || !st.SignIn || st.User.Operator {
		refused.Decision = authz.Decision{Operation: refused.Operation, Tenant: t.ID, Code: "target_status"}
		return refused, nil
	}
	rights := b.Keys(b.SupportRights(user.holders, user.at.view, authz.ChannelPortal, a.Role))
	slices.Sort(rights)
	return &Assumed{
		Decision: refused.Decision, Standing: st, Policy: b.Document().Support, Permissions: rights,
		Roles:        b.RolesAt(b.SupportHolders(user.holders, user.at.view, a.Role), user.at.view, authz.ChannelPortal),
		SecondFactor: user.secondFactor(false),
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
