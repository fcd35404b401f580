package authz

import (
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
)

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
	if r.act.Untallied {
		return true
	}
	for i, rule := range r.b.HolderRules() {
		if rule.Rule == MinMembers {
			continue
		}
		was, is := r.tallies(i, r.b.setOf(rule.Roles))
		if code := rule.broken(was, is); code != "" {
			return r.refuse(d, code, Because{Roles: rule.Roles})
		}
	}
	return true
}

// broken returns the code of a rule that a change breaks, or "".
func (rule HolderRule) broken(was, is Tally) string {
	switch {
	case rule.Rule == MinHolders && (falls(was.Held, is.Held, rule.N) || falls(was.Able, is.Able, rule.N)):
		return "last_holder"
	case rule.Rule == MaxHolders && is.Held > rule.N && is.Held > was.Held:
		return "max_holders"
	case rule.Rule == MinMembers && falls(was.Held, is.Held, rule.N):
		return "last_member"
	}
	return ""
}

// CheckTallies decides about a change of many members at once by the tallies
// before and after it, one per rule of HolderRules and in that order. It
// returns nil or a fault.Denied with the Code last_holder, max_holders or
// last_member.
func (b *Blueprint) CheckTallies(before, after []Tally) error {
	for i, rule := range b.HolderRules() {
		code := rule.broken(before[i], after[i])
		switch code {
		case "last_holder":
			return fault.New(fault.Denied, "the tenant would be left with %d members who can sign in and hold %v; it needs %d", after[i].Able, rule.Roles, rule.N).WithCode(code)
		case "max_holders":
			return fault.New(fault.Denied, "%d members would hold %v; at most %d may", after[i].Held, rule.Roles, rule.N).WithCode(code)
		case "last_member":
			return fault.New(fault.Denied, "the tenant would be left with %d members; it needs %d", after[i].Held, rule.N).WithCode(code)
		}
	}
	return nil
}

// Tallied reports whether a change of one membership moves the tally of any
// rule, so that it has to be checked against the tenant's others.
func (b *Blueprint) Tallied(before, after *MembershipFacts) bool {
	counts := func(m *MembershipFacts, roles RoleSet) (held, able bool) {
		held = m != nil && !b.final(m.Status) && (roles == 0 || b.setOf(m.Roles)&roles != 0)
		return held, held && b.able(m.Status)
	}
	return slices.ContainsFunc(b.HolderRules(), func(rule HolderRule) bool {
		roles := b.setOf(rule.Roles)
		heldBefore, ableBefore := counts(before, roles)
		heldAfter, ableAfter := counts(after, roles)
		return heldBefore != heldAfter || ableBefore != ableAfter
	})
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
	// Whom the operator or a directory adds may get the roles later, by a group.
	// A directory takes roles the same way; who has none left has no right.
	waits := r.act.Actor.System || r.act.Actor.Operator && r.act.Target.Before == nil
	switch n := (r.after &^ r.b.implicit).Len(); {
	case n < least && !waits:
		return r.refuse(d, "min_roles", Because{})
	case most > 0 && n > most:
		return r.refuse(d, "max_roles", Because{})
	}
	return true
}

func (r *review) lastMember(d *Decision) bool {
	if r.act.Untallied {
		return true
	}
	for i, rule := range r.b.HolderRules() {
		if rule.Rule != MinMembers {
			continue
		}
		if code := rule.broken(r.tallies(i, 0)); code != "" {
			return r.refuse(d, code, Because{})
		}
	}
	return true
}
