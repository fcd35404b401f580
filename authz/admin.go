package authz

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Names of the operations that the check itself knows; a blueprint may have
// others, which need their permission and the administers relation alone.
const (
	OpList    = "list"
	OpCreate  = "create"
	OpUpdate  = "update"
	OpSuspend = "suspend"
	OpDelete  = "delete"
	OpGrant   = "grant"
	OpRevoke  = "revoke"
)

// Act is an administrative operation on one membership of a tenant, and the
// state that decides about it. Whoever asks has locked the tenant, so that the
// state cannot change between the decision and the write.
type Act struct {
	Operation string // a key of admin_ops
	At        *TenantView
	Actor     Actor
	Target    Target
	// After is the membership as it would be; nil if it would be gone. An
	// operation that changes neither roles nor status leaves it as it was.
	After  *MembershipFacts
	Fields []string // names of the profile fields that change, for OpUpdate
	// Tallies counts the tenant's members before the act, one per rule of
	// HolderRules and in that order.
	Tallies []Tally
	// Untallied leaves the rules over holders to whoever asks: they check them
	// with CheckTallies.
	Untallied bool
}

// Actor is who wants to act.
type Actor struct {
	Operator bool // stands outside all tenants: only invariants bind it
	// System is the tenant's own directory. It decides who is a member and what
	// the profiles say without permission or administers relation, but protected,
	// locked and hidden roles are beyond it.
	System  bool
	User    id.User // empty for an operator, a system and a service account
	Holders []Holder
	Channel Channel
	// Limit is what the actor's credential allows at most, such as an
	// application token's own list; nil: no limit.
	Limit *Set
}

// rights returns what the actor has at a tenant, within the limit.
func (b *Blueprint) rights(a Actor, at *TenantView) Set {
	held := b.Effective(a.Holders, at, a.Channel)
	if a.Limit != nil {
		held = held.Intersect(*a.Limit)
	}
	return held
}

// Target is who is acted upon.
type Target struct {
	User    id.User // empty if there is no such user yet
	Kind    HoldersKind
	Before  *MembershipFacts // in the tenant; nil if there is none yet
	Holders []Holder         // all memberships of the user, in any tenant: a protected role protects where it reaches
}

// Decision is the answer to an [Act]. The zero value refuses without a reason.
type Decision struct {
	Allowed   bool      `json:"allowed"`
	Operation string    `json:"operation"`
	Tenant    id.Tenant `json:"tenant"`
	// Code says why not: no_such_operation, permission, self_roles, self_keep,
	// self_delete, self_suspend, protected, locked, administers:<role>,
	// entitlement, requires:<permissions>, field:<name>, unknown_role:<role>,
	// retired, implicit, resource, holders_kind, held_at, last_holder,
	// max_holders, min_roles, max_roles, last_member.
	Code    string   `json:"code,omitempty"`
	Because *Because `json:"because,omitempty"`
	Ask     string   `json:"ask,omitempty"` // who could do it or clear the way, such as "operator"
}

// Because names what a refusal rests on.
type Because struct {
	Role    string    `json:"role,omitempty"`
	HeldIn  id.Tenant `json:"held_in,omitempty"`
	Reaches string    `json:"reaches,omitempty"` // the selector by which Role reaches the tenant
	Missing []string  `json:"missing,omitempty"` // permissions or entitlements
	Roles   []string  `json:"roles,omitempty"`   // of the invariant; or that depend on what would be taken
}

// Err returns nil if the act is allowed, else a fault.Denied with the Code and
// a sentence; an unknown role is a fault.Invalid.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	code, about, _ := strings.Cut(d.Code, ":")
	e := fault.New(fault.Denied, "%s", d.reason(code, about)).WithCode(d.Code)
	switch code {
	case "field":
		e.Field = about
	case "unknown_role":
		e.Kind, e.Field = fault.Invalid, "roles"
	case "locked", "retired", "implicit", "resource", "holders_kind", "held_at", "min_roles", "max_roles":
		e.Field = "roles"
	}
	return e
}

// reason puts a code into words.
func (d Decision) reason(code, about string) string {
	because := Because{}
	if d.Because != nil {
		because = *d.Because
	}
	switch code {
	case "no_such_operation":
		return fmt.Sprintf("there is no operation %q here", d.Operation)
	case "permission":
		return "the permission " + strings.Join(because.Missing, ", ") + " is missing"
	case "self_roles":
		return "nobody changes his own roles here"
	case "self_keep":
		return "nobody takes from himself the role " + strings.Join(because.Roles, ", ")
	case "self_delete":
		return "nobody deletes himself here"
	case "self_suspend":
		return "nobody suspends himself"
	case "protected":
		return fmt.Sprintf("holders of the role %q are protected: only an operator changes them", because.Role)
	case "locked":
		return fmt.Sprintf("the role %q is locked and gains no new holders", because.Role)
	case "administers":
		return fmt.Sprintf("the role %q is not yours to %s", about, d.Operation)
	case "entitlement":
		return fmt.Sprintf("the role %q needs what this tenant is not entitled to: %s", because.Role, strings.Join(because.Missing, ", "))
	case "requires":
		return fmt.Sprintf("the role %s needs permissions that would be missing: %s", strings.Join(because.Roles, ", "), strings.Join(because.Missing, ", "))
	case "field":
		return fmt.Sprintf("%q cannot be changed by whom you are here", about)
	case "unknown_role":
		return fmt.Sprintf("%q is no role here", about)
	case "retired":
		return fmt.Sprintf("the role %q is retired", because.Role)
	case "implicit":
		return fmt.Sprintf("everybody has the role %q", because.Role)
	case "resource":
		return fmt.Sprintf("the role %q is given on a single resource", because.Role)
	case "holders_kind":
		return fmt.Sprintf("the role %q is for another kind of holder", because.Role)
	case "held_at":
		return fmt.Sprintf("the role %q is held in a hub only", because.Role)
	case "last_holder":
		return "the tenant would be left without enough members who can sign in and hold " + strings.Join(because.Roles, " or ")
	case "max_holders":
		return "too many members would hold " + strings.Join(because.Roles, " or ")
	case "min_roles":
		return "a member has more roles than this would leave"
	case "max_roles":
		return "a member has fewer roles than this would make"
	case "last_member":
		return "the tenant would be left without members"
	}
	return d.Operation + " is refused: " + d.Code
}

// review is one run of May over an act.
type review struct {
	b              *Blueprint
	act            Act
	op             int
	self           bool    // the actor is the target
	actorRoles     RoleSet // those of the actor that count at the tenant
	before, after  RoleSet // of the target, implicit ones aside
	added, removed RoleSet
	targetStays    bool
}

// May decides whether an act is allowed. It reads nothing but its argument, so
// the portal asks it what to offer and the server what to do.
//
// The checks run in the order of the codes in [Decision.Code]; the first that
// fails decides. An operator needs no leave: only what a role is for
// (unknown_role and the codes after it) and the invariants bind him; an
// operation that the blueprint lacks is his, and the directory's, all the same.
func (b *Blueprint) May(act Act) Decision {
	decision := Decision{Operation: act.Operation, Tenant: act.At.id}
	op, known := b.operationIndex[act.Operation]
	person := !act.Actor.Operator && !act.Actor.System
	r := newReview(b, act, op)
	if !known && person && !r.ownProfile() {
		decision.Code = "no_such_operation"
		return decision
	}
	var checks []func(*review, *Decision) bool
	switch {
	case act.Actor.System:
		checks = []func(*review, *Decision) bool{(*review).protection, (*review).systemRoles}
	case person:
		checks = []func(*review, *Decision) bool{
			(*review).permission, (*review).selfRules, (*review).protection, (*review).targetRoles,
			(*review).addedRoles, (*review).removedRoles, (*review).requirements, (*review).fields,
		}
	}
	for _, passes := range append(checks, (*review).possibleRoles, (*review).holderRules, (*review).roleBounds, (*review).lastMember) {
		if !passes(r, &decision) {
			return decision
		}
	}
	decision.Allowed = true
	return decision
}

func newReview(b *Blueprint, act Act, op int) *review {
	r := &review{b: b, act: act, op: op}
	r.self = act.Target.User != "" && act.Actor.User == act.Target.User
	r.actorRoles = b.rolesAt(act.Actor.Holders, act.At, act.Actor.Channel)
	if act.Target.Before != nil {
		r.before = b.setOf(act.Target.Before.Roles)
	}
	r.targetStays = act.After != nil && !b.final(act.After.Status)
	if r.targetStays {
		r.after = b.setOf(act.After.Roles)
		r.added, r.removed = r.after&^r.before, r.before&^r.after
	}
	return r
}

// final reports whether a membership of this status is over.
func (b *Blueprint) final(status string) bool {
	decl, known := b.doc.Membership.Statuses.Lookup(status)
	return known && len(decl.To) == 0
}

// rolesAt returns the roles that the holders have at a tenant: those that reach
// it and are in effect, and those which they act as there.
func (b *Blueprint) rolesAt(holders []Holder, at *TenantView, channel Channel) RoleSet {
	var set RoleSet
	for _, h := range holders {
		if h.home == nil || h.home.blueprint != b || !h.signIn {
			continue
		}
		for rest := h.roles; rest != 0; rest &= rest - 1 {
			i := bits.TrailingZeros64(uint64(rest))
			r := &b.roles[i]
			if r.retired || r.channels&channel == 0 || !h.home.entitlements.covers(r.needs) {
				continue
			}
			if _, reaches := r.reaches(h.home, at); reaches {
				set |= 1 << i
			}
			for _, g := range r.grants {
				if g.actsAs != "" && g.holds(h.home, at, channel) {
					set |= 1 << b.roleIndex[g.actsAs]
				}
			}
		}
	}
	return set
}

// reaches returns the selector by which a role held in home reaches a tenant.
func (r *role) reaches(home, at *TenantView) (string, bool) {
	for i, s := range r.reach {
		if s.selects(home, at) {
			return reachOf(r.decl)[i], true
		}
	}
	return "", false
}

func (r *review) refuse(d *Decision, code string, because Because) bool {
	d.Code, d.Because = code, &because
	return false
}

// permission checks the operation's permission, and those of grant and revoke
// if roles change by way of another operation.
func (r *review) permission(d *Decision) bool {
	if r.ownProfile() {
		return true
	}
	needed := []string{r.act.Operation}
	if r.added != 0 && r.act.Operation != OpCreate && r.act.Operation != OpRevoke {
		needed = append(needed, OpGrant)
	}
	if r.removed != 0 {
		needed = append(needed, OpRevoke)
	}
	if r.added != 0 && r.act.Operation == OpRevoke {
		needed = append(needed, OpGrant)
	}
	held := r.b.rights(r.act.Actor, r.act.At)
	for _, name := range needed {
		op, known := r.b.operationIndex[name]
		if known && !held.Has(r.b.opPermission[op]) {
			return r.refuse(d, "permission", Because{Missing: []string{r.b.permissionKeys[r.b.opPermission[op]]}})
		}
	}
	return true
}

func (r *review) selfRules(d *Decision) bool {
	if !r.self {
		return true
	}
	rules := r.b.doc.Self
	switch {
	case r.added|r.removed != 0 && !rules.Roles.Allow:
		return r.refuse(d, "self_roles", Because{})
	case r.removed&r.b.setOf(rules.Roles.Keep) != 0:
		return r.refuse(d, "self_keep", Because{Roles: r.b.RoleKeys(r.removed & r.b.setOf(rules.Roles.Keep))})
	case !r.targetStays && r.act.Target.Before != nil && rules.Delete != "allow":
		return r.refuse(d, "self_delete", Because{})
	case r.targetStays && r.suspends():
		return r.refuse(d, "self_suspend", Because{})
	}
	return true
}

// suspends reports whether the target could sign in before, but not after.
func (r *review) suspends() bool {
	before, after := r.act.Target.Before, r.act.After
	return before != nil && r.b.able(before.Status) && !r.b.able(after.Status)
}

func (b *Blueprint) able(status string) bool {
	decl, _ := b.doc.Membership.Statuses.Lookup(status)
	return decl.SignIn
}

// selfEdit reports whether the actor changes no more than fields of his own.
func (r *review) selfEdit() bool {
	return r.self && r.targetStays && r.added|r.removed == 0 && !r.suspends()
}

// described reports whether no more than the profile changes.
func (r *review) described() bool {
	before, after := r.act.Target.Before, r.act.After
	return before != nil && after != nil && r.added|r.removed == 0 && before.Status == after.Status
}

// ownProfile reports whether a member who may sign in changes his own profile and
// nothing else. self.fields says which parts of it; no permission of
// administrators is needed, unless the credential is limited.
func (r *review) ownProfile() bool {
	return r.self && r.act.Operation == OpUpdate && r.act.Actor.Limit == nil && r.described() &&
		slices.ContainsFunc(r.act.Actor.Holders, func(h Holder) bool { return h.home != nil && h.home.id == r.act.At.id && h.signIn })
}

func (r *review) protection(d *Decision) bool {
	if r.act.Operation == OpList || r.selfEdit() || r.act.Actor.System && r.described() {
		return true
	}
	for _, h := range r.act.Target.Holders {
		if h.home == nil || h.home.blueprint != r.b {
			continue
		}
		// The status of the holder is left aside: a suspended owner is one still.
		for rest := h.roles & r.b.protected; rest != 0; rest &= rest - 1 {
			role := &r.b.roles[bits.TrailingZeros64(uint64(rest))]
			if selector, reaches := role.reaches(h.home, r.act.At); reaches {
				d.Ask = "operator"
				return r.refuse(d, "protected", Because{Role: role.key, HeldIn: h.home.id, Reaches: selector})
			}
		}
	}
	return true
}

// administered returns the roles over which the actor has an operation.
func (r *review) administered(op int) RoleSet {
	var set RoleSet
	for rest := r.actorRoles; rest != 0; rest &= rest - 1 {
		set |= r.b.administers[bits.TrailingZeros64(uint64(rest))][op]
	}
	return set
}

// first returns the key of the first role of a set that is not empty.
func (r *review) first(set RoleSet) string {
	return r.b.roles[bits.TrailingZeros64(uint64(set))].key
}

// targetRoles checks that the actor administers every role which the target
// holds in the tenant, or, for a new member, that everybody there holds.
func (r *review) targetRoles(d *Decision) bool {
	if r.act.Operation == OpList || r.selfEdit() {
		return true
	}
	if beyond := (r.before | r.b.implicit) &^ r.administered(r.op); beyond != 0 {
		return r.refuse(d, "administers:"+r.first(beyond), Because{Role: r.first(beyond)})
	}
	return true
}

// systemRoles keeps from a directory the roles that no group can be mapped to
// either, for the same reasons.
func (r *review) systemRoles(d *Decision) bool {
	for rest := r.added; rest != 0; rest &= rest - 1 {
		role := &r.b.roles[bits.TrailingZeros64(uint64(rest))]
		because := Because{Role: role.key}
		switch {
		case role.decl.Lifecycle == Locked:
			return r.refuse(d, "locked", because)
		case role.decl.Protected, role.decl.Hidden:
			d.Ask = "operator"
			return r.refuse(d, "administers:"+role.key, because)
		}
	}
	return true
}

func (r *review) addedRoles(d *Decision) bool {
	op, known := r.b.operationIndex[OpGrant]
	if r.act.Operation == OpCreate || !known {
		op = r.op
	}
	administered := r.administered(op)
	if limit := r.act.Actor.Limit; limit != nil {
		// A limited credential that could give more than it has would be no limit.
		if beyond := r.b.rightsAtHome(r.added).Without(*limit); r.added != 0 && !beyond.Empty() {
			return r.refuse(d, "permission", Because{Missing: r.b.Keys(beyond)})
		}
	}
	for rest := r.added; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(uint64(rest))
		role := &r.b.roles[i]
		because := Because{Role: role.key}
		switch {
		case role.decl.Lifecycle == Locked:
			return r.refuse(d, "locked", because)
		case !administered.has(i):
			return r.refuse(d, "administers:"+role.key, because)
		case !r.act.At.entitlements.covers(role.needs):
			lacking := r.b.lacking(StageAvailability, r.act.At, role.needs)
			because.Missing, d.Ask = lacking.Missing, lacking.Ask
			return r.refuse(d, "entitlement", because)
		}
	}
	return true
}

// possibleRoles checks that the added roles can be held at all in this tenant
// by this target, whoever gives them.
func (r *review) possibleRoles(d *Decision) bool {
	if r.act.After != nil {
		for _, key := range r.act.After.Roles {
			if _, known := r.b.roleIndex[key]; !known {
				return r.refuse(d, "unknown_role:"+key, Because{Role: key})
			}
		}
	}
	for rest := r.added; rest != 0; rest &= rest - 1 {
		role := &r.b.roles[bits.TrailingZeros64(uint64(rest))]
		because := Because{Role: role.key}
		kind := role.decl.HoldersKind
		switch {
		case role.retired:
			return r.refuse(d, "retired", because)
		case role.decl.Implicit:
			return r.refuse(d, "implicit", because)
		case role.decl.Resource != "":
			return r.refuse(d, "resource", because)
		case kind != AnyHolder && r.act.Target.Kind != AnyHolder && kind != r.act.Target.Kind:
			return r.refuse(d, "holders_kind", because)
		case role.decl.HeldAt == "hub" && r.act.At.spoke:
			return r.refuse(d, "held_at", because)
		}
	}
	return true
}

func (r *review) removedRoles(d *Decision) bool {
	op, known := r.b.operationIndex[OpRevoke]
	if !known {
		op = r.op
	}
	if beyond := r.removed &^ r.administered(op); beyond != 0 {
		return r.refuse(d, "administers:"+r.first(beyond), Because{Role: r.first(beyond)})
	}
	return true
}

// requirements refuses to give a permission without those it requires, and to
// take one that others require. Entitlements are left aside: they may come and
// go, and the evaluation heeds them.
func (r *review) requirements(d *Decision) bool {
	if r.added|r.removed == 0 {
		return true
	}
	had, has := r.b.rightsAtHome(r.before), r.b.rightsAtHome(r.after)
	for _, req := range r.b.requires {
		missing := req.needs.Without(has)
		if !has.Has(req.permission) || missing.Empty() || had.Has(req.permission) && missing == req.needs.Without(had) {
			continue
		}
		keys := r.b.Keys(missing)
		return r.refuse(d, "requires:"+strings.Join(keys, ","), Because{Missing: keys, Roles: r.b.givers(req.permission)})
	}
	return true
}

// rightsAtHome returns what roles give in the tenant where they are held.
func (b *Blueprint) rightsAtHome(roles RoleSet) Set {
	var set Set
	for rest := roles | b.implicit; rest != 0; rest &= rest - 1 {
		r := &b.roles[bits.TrailingZeros64(uint64(rest))]
		for i := range r.grants {
			if k := r.grants[i].at.kind; !r.retired && (k == selectSelf || k == selectHub) {
				set = set.Union(r.grants[i].set)
			}
		}
	}
	return set
}

func (r *review) fields(d *Decision) bool {
	for _, name := range r.act.Fields {
		allowed := slices.Contains(r.b.doc.AdminEditFields, name)
		if r.self {
			own, _ := r.b.doc.Self.Fields.Lookup(name)
			allowed = own == "edit"
		}
		if !allowed {
			return r.refuse(d, "field:"+name, Because{})
		}
	}
	return true
}
