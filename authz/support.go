package authz

import (
	"math/bits"
	"slices"

	"github.com/rolecall/rolecall/internal/id"
)

// Assumption is a staff member's wish to act as a user in a support session.
type Assumption struct {
	Staff        Actor
	InSession    bool // the staff member acts as somebody already
	User         id.User
	At           *TenantView // the tenant of the user in which the session would act
	UserStatus   string      // of the user's membership there
	TenantStatus string
	Override     string // role to take instead of the user's; empty for the user's own
	Consented    bool   // the tenant's switch, for ConsentTenant
}

// MayAssume decides whether a support session may begin, and, asked again,
// whether it may go on. The codes are no_support, self, nested, permission,
// target_status, tenant_status, role_override and consent, in this order.
//
// The permission is looked for in the staff member's own tenant, whose
// entitlements count, and not in the user's.
func (b *Blueprint) MayAssume(a Assumption) Decision {
	d := Decision{Operation: "assume", Tenant: a.At.id}
	policy := b.doc.Support
	targets := func(allowed []string, status string) bool {
		return len(allowed) == 0 || slices.Contains(allowed, status)
	}
	switch {
	case policy == nil || policy.Permission == nil:
		d.Code = "no_support"
	case a.Staff.User == a.User && slices.Contains(policy.Targets.Not, "self"):
		d.Code = "self"
	case a.InSession:
		d.Code = "nested"
	case !b.assumes(a.Staff, a.At):
		d.Code, d.Because = "permission", &Because{Missing: []string{*policy.Permission}}
	case !targets(policy.Targets.UserStatus, a.UserStatus):
		d.Code = "target_status"
	case !targets(policy.Targets.TenantStatus, a.TenantStatus):
		d.Code = "tenant_status"
	case a.Override != "" && !slices.Contains(policy.RoleOverride, a.Override):
		d.Code = "role_override"
	case (policy.Consent == "" || policy.Consent == ConsentTenant) && !a.Consented:
		d.Code, d.Ask = "consent", "administrator"
	default:
		d.Allowed = true
	}
	return d
}

// assumes reports whether the staff member has the support permission in a
// tenant from which the policy's targets include the given one.
func (b *Blueprint) assumes(staff Actor, at *TenantView) bool {
	policy := b.doc.Support
	p := b.permissionIndex[*policy.Permission]
	reach, _ := parseSelector(policy.Targets.Reach, b.doc.Tenants.Relations) // the lint has parsed it
	for _, h := range staff.Holders {
		if h.home == nil || h.home.blueprint != b || !h.signIn || !reach.selects(h.home, at) || b.gated(p, h.home) {
			continue
		}
		for rest := h.roles; rest != 0; rest &= rest - 1 {
			r := &b.roles[bits.TrailingZeros64(uint64(rest))]
			if r.retired || r.channels&staff.Channel == 0 || !h.home.entitlements.covers(r.needs) {
				continue
			}
			if slices.ContainsFunc(r.grants, func(g grant) bool {
				return g.set.Has(p) && (g.holds(h.home, at, staff.Channel) || g.holds(h.home, h.home, staff.Channel))
			}) {
				return true
			}
		}
	}
	return false
}

// gated reports whether a tenant lacks an entitlement that a permission needs.
func (b *Blueprint) gated(p Permission, t *TenantView) bool {
	return slices.ContainsFunc(b.gates, func(g gate) bool { return g.set.Has(p) && !t.entitlements.has(g.entitlement) })
}

// SupportRights returns what a support session may do at a tenant: what the
// user, or a holder of the role taken instead, has there, less what no such
// session ever has.
func (b *Blueprint) SupportRights(user []Holder, at *TenantView, channel Channel, override string) Set {
	return b.Effective(b.SupportHolders(user, at, override), at, channel).Without(b.supportNever)
}

// SupportHolders returns as whom a support session acts at a tenant: the user,
// or a holder of the role taken instead.
func (b *Blueprint) SupportHolders(user []Holder, at *TenantView, override string) []Holder {
	if override == "" {
		return user
	}
	here := slices.IndexFunc(user, func(h Holder) bool { return h.home != nil && h.home.id == at.id && h.signIn })
	if here < 0 {
		return nil
	}
	return []Holder{{home: user[here].home, roles: b.setOf([]string{override}), signIn: true}}
}
