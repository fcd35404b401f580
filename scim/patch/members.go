package patch

import (
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// MemberOp is the kind of a change to the members of a group.
type MemberOp string

// The changes to the members of a group.
const (
	AddMembers       MemberOp = "add"        // Members join; those who are in already stay as they are
	RemoveMembers    MemberOp = "remove"     // Members leave; those who aren't in are passed over
	ReplaceMembers   MemberOp = "replace"    // Members, at least one, are all that the group has
	RemoveAllMembers MemberOp = "remove all" // nobody is left
	RemoveMatching   MemberOp = "remove matching"
)

// MemberChange is one step of a change to the members of a group. Steps are
// applied in order.
type MemberChange struct {
	Op      MemberOp
	Members []Member         // without duplicates
	Filter  schema.Condition // only for RemoveMatching; relative to a member, as within schema.Some
}

// Member names a member of a group.
type Member struct {
	Value string // the member's id, never empty
	Type  string // "User" or "Group" as the client spelt it, or empty
}

// members turns an operation on the members into changes. No operation needs
// the members that are there, so a filter that matches none isn't an error.
func (p *patcher) members(o Op, r schema.Ref, where filter.Expr, raw any) error {
	if r.Sub != nil || where != nil && o != Remove {
		return mutability(r.String(), "expected members to be added or removed, since they can't be changed")
	}
	if where != nil {
		return p.removeMembersWhere(r, where)
	}
	if raw == nil {
		if o != Add {
			p.change(MemberChange{Op: RemoveAllMembers})
		}
		return nil
	}
	if _, isList := raw.([]any); !isList {
		raw = []any{raw}
	}
	value, err := p.normalize(r, raw)
	if err != nil {
		return err
	}
	var members []Member
	elements, _ := value.([]any)
	for _, element := range elements {
		m, _ := element.(map[string]any)
		id, _ := m["value"].(string)
		kind, _ := m["type"].(string)
		members = append(members, Member{Value: id, Type: kind})
	}
	switch {
	case len(members) > 0:
		p.change(MemberChange{Op: map[Op]MemberOp{Add: AddMembers, Remove: RemoveMembers, Replace: ReplaceMembers}[o], Members: members})
	case o == Replace:
		p.change(MemberChange{Op: RemoveAllMembers})
	}
	return nil
}

func (p *patcher) change(c MemberChange) { p.memberChanges = append(p.memberChanges, c) }

func (p *patcher) removeMembersWhere(r schema.Ref, where filter.Expr) error {
	condition, err := p.t.BindValue(r.Attribute, where)
	if err != nil {
		return err
	}
	if members, ok := listed(where); ok {
		p.change(MemberChange{Op: RemoveMembers, Members: members})
		return nil
	}
	p.change(MemberChange{Op: RemoveMatching, Filter: condition})
	return nil
}

// listed recognizes filters that only enumerate: value eq "a" or value eq "b".
// They have been bound, so that the literals are known to be strings or null.
func listed(where filter.Expr) ([]Member, bool) {
	operands := []filter.Expr{where}
	if or, ok := where.(filter.Or); ok {
		operands = or.Operands
	}
	members := make([]Member, 0, len(operands))
	seen := map[string]bool{}
	for _, o := range operands {
		c, ok := o.(filter.Compare)
		id, isText := c.Value.(string)
		if !ok || c.Op != filter.Eq || !isText || id == "" || !isValue(c.Attr) {
			return nil, false
		}
		if !seen[id] {
			seen[id] = true
			members = append(members, Member{Value: id})
		}
	}
	return members, true
}
