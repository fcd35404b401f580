package authz

import "slices"

// Names of further operations that a change of status comes under, where the
// blueprint has them.
const (
	OpApprove      = "approve"
	OpInvite       = "invite"
	OpResendInvite = "resend_invite"
)

// OperationFor names the operation that a change of a membership comes under.
// nil stands for no membership. Roles that change together with a status, or
// in both directions, are checked by May under grant and revoke as well.
func (b *Blueprint) OperationFor(before, after *MembershipFacts) string {
	switch {
	case before == nil:
		return OpCreate
	case after == nil || b.final(after.Status):
		return OpDelete
	case before.Status != after.Status:
		return b.statusOperation(before.Status, after.Status)
	}
	added := b.setOf(after.Roles) &^ b.setOf(before.Roles)
	removed := b.setOf(before.Roles) &^ b.setOf(after.Roles)
	switch {
	case added != 0:
		return OpGrant
	case removed != 0:
		return OpRevoke
	default:
		return OpUpdate
	}
}

// statusOperation returns the first of the operations that fit which the
// blueprint has. One without suspend leaves it to the operator and to
// directories, so that the name it lacks is the answer there.
func (b *Blueprint) statusOperation(from, to string) string {
	var fits []string
	switch {
	case b.able(from) && !b.able(to), to == "suspended", from == "suspended":
		return OpSuspend
	case b.able(to):
		fits = []string{OpApprove, OpSuspend, OpUpdate}
	default:
		fits = []string{OpInvite, OpResendInvite, OpCreate}
	}
	for _, op := range fits {
		if _, known := b.operationIndex[op]; known {
			return op
		}
	}
	return fits[0]
}

// Offer is what an actor may do with a member of a tenant, or, where there is
// no member yet, whom he may add. It is made of the answers of May, so that
// what is shown and what is done can't disagree.
type Offer struct {
	Operations []string `json:"operations"` // of those that change neither role nor profile, and update if any field can be changed
	Fields     []string `json:"fields"`     // the profile fields that can be changed
	Statuses   []string `json:"statuses"`   // the statuses that may follow
	Grant      []string `json:"grant"`      // roles that can be given; where a member has one role, in its place
	Revoke     []string `json:"revoke"`     // roles that can be taken away
}

// Offer asks May about everything that could be done with act's target. Of act,
// At, Actor, Target and Tallies count.
func (b *Blueprint) Offer(act Act) Offer {
	offer := Offer{Operations: []string{}, Fields: []string{}, Statuses: []string{}, Grant: []string{}, Revoke: []string{}}
	may := func(operation string, after *MembershipFacts, fields ...string) bool {
		asked := act
		asked.Operation, asked.After, asked.Fields = operation, after, fields
		return b.May(asked).Allowed
	}
	before := act.Target.Before
	for _, op := range b.operations {
		switch op {
		case OpGrant, OpRevoke, OpSuspend, OpCreate, OpUpdate:
		case OpDelete:
			if before != nil && may(op, nil) {
				offer.Operations = append(offer.Operations, op)
			}
		default:
			if before != nil && may(op, before) {
				offer.Operations = append(offer.Operations, op)
			}
		}
	}
	if before == nil {
		b.offerAdding(&offer, may)
		return offer
	}
	for _, name := range b.editable() {
		if may(OpUpdate, before, name) {
			offer.Fields = append(offer.Fields, name)
		}
	}
	if len(offer.Fields) > 0 {
		offer.Operations = append(offer.Operations, OpUpdate)
	}
	b.offerStatuses(&offer, before, may)
	b.offerRoles(&offer, before, may)
	return offer
}

func (b *Blueprint) offerAdding(offer *Offer, may func(string, *MembershipFacts, ...string) bool) {
	for i := range b.roles {
		if may(OpCreate, &MembershipFacts{Status: b.FirstStatus(), Roles: []string{b.roles[i].key}}) {
			offer.Grant = append(offer.Grant, b.roles[i].key)
		}
	}
	if least, _ := b.RoleBounds(); len(offer.Grant) > 0 || least == 0 && may(OpCreate, &MembershipFacts{Status: b.FirstStatus()}) {
		offer.Operations = append(offer.Operations, OpCreate)
	}
}

func (b *Blueprint) offerStatuses(offer *Offer, before *MembershipFacts, may func(string, *MembershipFacts, ...string) bool) {
	decl, _ := b.doc.Membership.Statuses.Lookup(before.Status)
	for _, next := range decl.To {
		after := *before
		after.Status = next
		if !b.final(next) && may(b.OperationFor(before, &after), &after) {
			offer.Statuses = append(offer.Statuses, next)
		}
	}
}

func (b *Blueprint) offerRoles(offer *Offer, before *MembershipFacts, may func(string, *MembershipFacts, ...string) bool) {
	_, most := b.RoleBounds()
	for i := range b.roles {
		key := b.roles[i].key
		after := *before
		if slices.Contains(before.Roles, key) {
			after.Roles = slices.DeleteFunc(slices.Clone(before.Roles), func(k string) bool { return k == key })
			if may(OpRevoke, &after) {
				offer.Revoke = append(offer.Revoke, key)
			}
			continue
		}
		after.Roles = append(slices.Clone(before.Roles), key)
		if most == 1 {
			after.Roles = []string{key}
		}
		if may(OpGrant, &after) {
			offer.Grant = append(offer.Grant, key)
		}
	}
}

// editable returns the fields that somebody may change, without duplicates.
func (b *Blueprint) editable() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(b.doc.AdminEditFields, b.doc.Self.Fields.Keys()))))
}

// FirstStatus returns the status in which a member begins whom nothing needs to
// wait for: the first in which he may sign in.
func (b *Blueprint) FirstStatus() string {
	for _, s := range b.doc.Membership.Statuses {
		if s.Value.SignIn {
			return s.Key
		}
	}
	return ""
}

// AbleStatuses returns the statuses in which a member may sign in.
func (b *Blueprint) AbleStatuses() []string {
	return b.statusesWhere(func(s Status) bool { return s.SignIn })
}

// FinalStatuses returns the statuses in which a membership is over.
func (b *Blueprint) FinalStatuses() []string {
	return b.statusesWhere(Status.Final)
}

func (b *Blueprint) statusesWhere(is func(Status) bool) []string {
	keys := []string{}
	for _, s := range b.Statuses() {
		if is(s) {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// RolesAt returns the roles that the holders have at a tenant, implicit ones
// aside: those held there or reaching it that are in effect over the channel,
// and those which they act as there.
func (b *Blueprint) RolesAt(holders []Holder, at *TenantView, channel Channel) []string {
	return b.RoleKeys(b.rolesAt(holders, at, channel) &^ b.implicit)
}
