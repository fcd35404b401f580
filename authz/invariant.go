package authz

import "slices"

// RoleBounds returns how many roles, implicit ones aside, a membership has at
// least and at most. A max of 0 stands for no limit. Both the membership
// section and invariants of kind min_roles are heeded.
func (b *Blueprint) RoleBounds() (least, most int) {
	least = b.doc.Membership.Roles.Min
	for _, inv := range b.doc.Invariants {
		if inv.Rule == MinRoles {
			least = max(least, inv.N)
		}
	}
	if m := b.doc.Membership.Roles.Max; m != nil {
		most = *m
	}
	return least, most
}

// HolderRule is an invariant about how many members of a tenant hold one of
// some roles, or, for MinMembers, are members at all. A change is refused if
// the state after it breaks the rule and the state before it did so less, so
// that a tenant which breaks it already (one that has just been made) can
// still be mended.
type HolderRule struct {
	Rule  Rule     // MinHolders, MaxHolders or MinMembers
	Roles []string // empty for MinMembers
	N     int
}

// HolderRules returns the invariants that count the members of a tenant, those
// that roles declare with "holders" included.
func (b *Blueprint) HolderRules() []HolderRule {
	var rules []HolderRule
	for _, inv := range b.doc.Invariants {
		if inv.Rule != MinRoles {
			rules = append(rules, HolderRule{Rule: inv.Rule, Roles: inv.RoleKeys(), N: inv.N})
		}
	}
	for _, r := range b.roles {
		if h := r.decl.Holders; h != nil && !slices.ContainsFunc(rules, func(rule HolderRule) bool {
			return rule.Rule == MaxHolders && slices.Equal(rule.Roles, []string{r.key}) && rule.N <= h.Max
		}) {
			rules = append(rules, HolderRule{Rule: MaxHolders, Roles: []string{r.key}, N: h.Max})
		}
	}
	return rules
}

// Tally counts members of a tenant, those in a final status aside, who hold
// one of a rule's roles by whatever assignment; for MinMembers all members.
type Tally struct {
	Held int // whatever their status
	Able int // those whose status may sign in
}

// holderRules checks the invariants over holders. Only a change for the worse
// is refused, and those who may sign in are counted apart from all others:
// neither may a tenant's last active owner be suspended, nor its only owner be
// deleted who has yet to accept his invitation.
func (r *review) holderRules(d *Decision) bool {
	for i, rule := range r.b.HolderRules() {
		if rule.Rule == MinMembers {
			continue
		}
		was, is := r.tallies(i, r.b.setOf(rule.Roles))
		because := Because{Roles: rule.Roles}
		switch {
		case rule.Rule == MinHolders && (falls(was.Held, is.Held, rule.N) || falls(was.Able, is.Able, rule.N)):
			return r.refuse(d, "last_holder", because)
		case rule.Rule == MaxHolders && is.Held > rule.N && is.Held > was.Held:
			return r.refuse(d, "max_holders", because)
		}
	}
	return true
}

// falls reports whether a count went down to less than the least allowed.
func falls(was, is, least int) bool { return is < least && is < was }

// tallies returns the i-th tally before and after the act. No roles stand for
// all members.
func (r *review) tallies(i int, roles RoleSet) (was, is Tally) {
	if i < len(r.act.Tallies) {
		was = r.act.Tallies[i]
	}
	is = was
	count := func(m *MembershipFacts, held RoleSet, by int) {
		if m == nil || r.b.final(m.Status) || roles != 0 && held&roles == 0 {
			return
		}
		is.Held += by
		if r.b.able(m.Status) {
			is.Able += by
		}
	}
	count(r.act.Target.Before, r.before, -1)
	count(r.act.After, r.after, +1)
	return was, is
}

func (r *review) roleBounds(d *Decision) bool {
	if !r.targetStays || r.act.Target.Before != nil && r.added|r.removed == 0 {
		return true
	}
	least, most := r.b.RoleBounds()
	switch n := (r.after &^ r.b.implicit).Len(); {
	case n < least:
		return r.refuse(d, "min_roles", Because{})
	case most > 0 && n > most:
		return r.refuse(d, "max_roles", Because{})
	}
	return true
}

func (r *review) lastMember(d *Decision) bool {
	for i, rule := range r.b.HolderRules() {
		if rule.Rule != MinMembers {
			continue
		}
		if was, is := r.tallies(i, 0); falls(was.Held, is.Held, rule.N) {
			return r.refuse(d, "last_member", Because{})
		}
	}
	return true
}
