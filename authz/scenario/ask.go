package scenario

import (
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

func channelOf(name string) authz.Channel {
	if name == "api" {
		return authz.ChannelAPI
	}
	return authz.ChannelPortal
}

// ask answers a case: allowed or not, and the reason if not. An error says
// that the case cannot be asked.
func (w *world) ask(c Case) (allowed bool, code string, err error) {
	channel := channelOf(c.Channel)
	switch {
	case c.Can != nil:
		return w.can(*c.Can, channel)
	case c.Admin != nil:
		d, err := w.admin(*c.Admin, channel)
		return d.Allowed, d.Code, err
	case c.SignIn != nil:
		return w.signIn(*c.SignIn)
	case c.OnResource != nil:
		return w.onResource(*c.OnResource, channel)
	case c.Token != nil:
		return w.token(*c.Token)
	case c.Assume != nil:
		d, err := w.assume(*c.Assume, channel)
		return d.Allowed, d.Code, err
	case c.AssumePerm != nil:
		return w.assumePerm(*c.AssumePerm, channel)
	case c.Transition != nil:
		return verdict(w.blueprint.CheckTransition(c.Transition.From, c.Transition.To))
	case c.Delegate != nil:
		return w.delegate(*c.Delegate)
	case c.MFARequired != nil:
		return w.mfaRequired(*c.MFARequired)
	case c.Password != nil:
		return verdict(w.blueprint.Document().Password.Check(*c.Password))
	default:
		return false, "", fault.New(fault.Invalid, "the case asks nothing")
	}
}

// verdict turns the answer of a check that returns an error into an outcome.
func verdict(err error) (allowed bool, code string, _ error) {
	if err == nil {
		return true, "", nil
	}
	return false, fault.As(err).Code, nil
}

func (w *world) permission(key string) error {
	_, err := w.blueprint.PermissionSet(key)
	return err
}

func (w *world) can(q Can, channel authz.Channel) (bool, string, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return false, "", err
	}
	if err := w.permission(q.Permission); err != nil {
		return false, "", err
	}
	e := w.blueprint.Explain(w.holders(q.User), at, channel, q.Permission)
	if e.RemovedBy != nil {
		return e.Allowed, string(e.RemovedBy.Stage), nil
	}
	return e.Allowed, "", nil
}

func (w *world) signIn(q SignIn) (bool, string, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return false, "", err
	}
	f := w.facts(q.User, q.Tenant)
	return f != nil && w.blueprint.MaySignIn(w.blueprint.Holder(at, *f), channelOf(q.Channel)), "", nil
}

func (w *world) onResource(q OnResource, channel authz.Channel) (bool, string, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return false, "", err
	}
	set, err := w.blueprint.PermissionSet(q.Permission)
	if err != nil {
		return false, "", err
	}
	return w.blueprint.EffectiveOn(w.holders(q.User), at, channel, q.Resource).Contains(set), "", nil
}

func (w *world) token(q Token) (bool, string, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return false, "", err
	}
	if err := w.permission(q.Permission); err != nil {
		return false, "", err
	}
	if q.Tenant != q.Home || q.Status != "Activated" {
		return false, "", nil
	}
	return w.blueprint.Can(w.holders(q.Creator), at, authz.ChannelAPI, q.Permission), "", nil
}

func (w *world) assume(q Assume, channel authz.Channel) (authz.Decision, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return authz.Decision{}, err
	}
	a := authz.Assumption{
		Staff: w.actor(q.Staff, channel), User: id.User(q.User), At: at, Override: q.Override,
		TenantStatus: w.suite.Tenants[q.Tenant].status(),
		Consented:    w.suite.Tenants[q.Tenant].Settings["support_consent"],
	}
	if f := w.facts(q.User, q.Tenant); f != nil {
		a.UserStatus = f.Status
	}
	return w.blueprint.MayAssume(a), nil
}

func (w *world) assumePerm(q AssumePerm, channel authz.Channel) (bool, string, error) {
	d, err := w.assume(q.Assume, channel)
	if err != nil || !d.Allowed {
		return false, d.Code, err
	}
	set, err := w.blueprint.PermissionSet(q.Permission)
	if err != nil {
		return false, "", err
	}
	rights := w.blueprint.SupportRights(w.holders(q.Assume.User), w.tenants[q.Assume.Tenant], channel, q.Assume.Override)
	return rights.Contains(set), "", nil
}

func (w *world) delegate(q Delegate) (bool, string, error) {
	from, err := w.tenant(q.From)
	if err != nil {
		return false, "", err
	}
	to, err := w.tenant(q.To)
	if err != nil {
		return false, "", err
	}
	grantOption := slices.Contains(w.suite.Tenants[q.From].Grantable, q.Entitlement)
	return verdict(w.blueprint.MayDelegate(from, to, q.Entitlement, grantOption))
}

func (w *world) mfaRequired(q MFA) (bool, string, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return false, "", err
	}
	return w.blueprint.Document().MFA.Required(authz.MFAFacts{
		At: at, TenantSetting: q.Facts.TenantSetting, MembershipFlag: q.Facts.MembershipFlag, Roles: q.Facts.Roles, SSO: q.Facts.SSO,
	}), "", nil
}

func (w *world) admin(q Admin, channel authz.Channel) (authz.Decision, error) {
	at, err := w.tenant(q.Tenant)
	if err != nil {
		return authz.Decision{}, err
	}
	return w.blueprint.May(authz.Act{
		Operation: q.Operation, At: at, Actor: w.actor(q.Actor, channel),
		Target: authz.Target{User: id.User(q.Target), Before: w.facts(q.Target, q.Tenant), Holders: w.holders(q.Target)},
		After:  w.after(q), Tallies: w.tallies(q.Tenant),
	}), nil
}

// explain says why a case that was asked has the answer it has: an
// authz.Explanation, an authz.Decision, or nil where the code says it all.
func (w *world) explain(c Case) any {
	channel := channelOf(c.Channel)
	switch {
	case c.Can != nil:
		return w.blueprint.Explain(w.holders(c.Can.User), w.tenants[c.Can.Tenant], channel, c.Can.Permission)
	case c.OnResource != nil:
		q := c.OnResource
		return w.blueprint.ExplainOn(w.holders(q.User), w.tenants[q.Tenant], channel, q.Permission, q.Resource)
	case c.Admin != nil:
		d, _ := w.admin(*c.Admin, channel)
		return d
	case c.Assume != nil:
		d, _ := w.assume(*c.Assume, channel)
		return d
	}
	return nil
}

// after returns the target's membership as the act would leave it.
func (w *world) after(q Admin) *authz.MembershipFacts {
	after := w.facts(q.Target, q.Tenant)
	if q.Operation == authz.OpDelete {
		return nil
	}
	if after == nil {
		// A new member has not accepted yet: the first status of the blueprint.
		after = &authz.MembershipFacts{Status: w.blueprint.Statuses()[0].Key}
	}
	if q.SetsRoles {
		after.Roles = q.Roles
	}
	if q.Operation == authz.OpSuspend {
		if current, err := w.blueprint.Status(after.Status); err == nil {
			for _, next := range current.Next {
				if status, err := w.blueprint.Status(next); err == nil && !status.SignIn && !status.Final() {
					after.Status = next
				}
			}
		}
	}
	return after
}
