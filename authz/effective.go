package authz

import "math/bits"

// Holder is what one membership brings to a decision: the tenant it is in, its
// roles, and whether it gives rights. Build one with [Blueprint.Holder]; it is
// immutable and may be kept as long as the membership and its tenant do not
// change. A principal with several memberships has several holders. The zero
// value has no rights.
type Holder struct {
	home      *TenantView
	roles     RoleSet // implicit ones included, those granted on a resource not
	signIn    bool    // both the membership's status and the tenant's
	resources []resourceRole
}

// ResourceRole is a role that is held on one resource only.
type ResourceRole struct {
	Role     string
	Resource string // the resource's identifier, opaque here
}

type resourceRole struct {
	role     int
	resource string
}

// Home returns the tenant of the membership, nil for the zero Holder.
func (h Holder) Home() *TenantView { return h.home }

// Roles returns the membership's roles, implicit ones included and those
// granted on a single resource not.
func (h Holder) Roles() RoleSet { return h.roles }

// Effective returns the permissions that the holders have together at a
// tenant, over a channel. Holders of other blueprints add nothing. It does not
// allocate.
//
// Rights are summed over roles and memberships; then what the tenant is not
// entitled to is removed, and last what lacks a required permission.
func (b *Blueprint) Effective(holders []Holder, at *TenantView, channel Channel) Set {
	return b.EffectiveOn(holders, at, channel, "")
}

// EffectiveOn is Effective with the roles that are held on one resource of the
// tenant. An empty resource stands for none.
func (b *Blueprint) EffectiveOn(holders []Holder, at *TenantView, channel Channel, resource string) Set {
	var set Set
	if at.blueprint != b {
		return set
	}
	for i := range holders {
		b.addRights(&set, &holders[i], at, channel, resource)
	}
	for i := range b.gates {
		if !at.entitlements.has(b.gates[i].entitlement) {
			set = set.Without(b.gates[i].set)
		}
	}
	for i := range b.requires {
		if !set.Contains(b.requires[i].needs) {
			p := b.requires[i].permission
			set[p/64] &^= 1 << (p % 64)
		}
	}
	return set
}

// Can reports whether the holders have a permission at a tenant, over a
// channel. A key that the blueprint does not know is never allowed. It does
// not allocate.
func (b *Blueprint) Can(holders []Holder, at *TenantView, channel Channel, key string) bool {
	p, known := b.permissionIndex[key]
	return known && b.Effective(holders, at, channel).Has(p)
}

func (b *Blueprint) addRights(set *Set, h *Holder, at *TenantView, channel Channel, resource string) {
	if h.home == nil || h.home.blueprint != b || !h.signIn {
		return
	}
	for rest := h.roles; rest != 0; rest &= rest - 1 {
		b.roles[bits.TrailingZeros64(uint64(rest))].addRights(set, h.home, at, channel)
	}
	if resource == "" || h.home.id != at.id {
		return
	}
	for _, held := range h.resources {
		if held.resource == resource {
			b.roles[held.role].addRights(set, h.home, at, channel)
		}
	}
}

func (r *role) addRights(set *Set, home, at *TenantView, channel Channel) {
	if r.retired || r.channels&channel == 0 || !home.entitlements.covers(r.needs) {
		return
	}
	for i := range r.grants {
		if g := &r.grants[i]; g.holds(home, at, channel) {
			unite(set, &g.set)
		}
	}
}

// unite adds what is in other to set. It is Union without the copies, which
// would be most of the cost of a check.
func unite(set, other *Set) {
	for i := range set {
		set[i] |= other[i]
	}
}

// holds reports whether a grant of a role held in home counts at a tenant.
func (g *grant) holds(home, at *TenantView, channel Channel) bool {
	return g.channels&channel != 0 && at.entitlements.covers(g.needs) &&
		(!g.hub || !at.spoke) && g.at.selects(home, at)
}

// MaySignIn reports whether a membership can be used at all over a channel:
// its status and its tenant's allow it, and one of its roles is for that
// channel and in effect. It does not look at credentials.
func (b *Blueprint) MaySignIn(h Holder, channel Channel) bool {
	if h.home == nil || h.home.blueprint != b || !h.signIn {
		return false
	}
	usable := func(r *role) bool {
		return !r.retired && r.channels&channel != 0 && h.home.entitlements.covers(r.needs)
	}
	for rest := h.roles; rest != 0; rest &= rest - 1 {
		if usable(&b.roles[bits.TrailingZeros64(uint64(rest))]) {
			return true
		}
	}
	for _, held := range h.resources {
		if usable(&b.roles[held.role]) {
			return true
		}
	}
	return false
}
