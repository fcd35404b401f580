package authz

import (
	"cmp"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
)

// DefaultPriority is that of a mapping for which nobody says another.
const DefaultPriority = 100

// MaxPriority is the last priority that a mapping can have.
const MaxPriority = 1_000_000

// A MappedRole is a role that a group offers its members.
type MappedRole struct {
	Role     string
	Priority int // from 1, which comes first
}

// compareMapped orders mappings as they get their turn. The key of the role
// decides between equals, so that the order does not depend on names of groups.
func compareMapped(a, b MappedRole) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Role, b.Role))
}

// Counting returns which of the roles that groups offer somebody count, in their
// turn. In a role system that bounds how many roles a member has, those held
// directly come first and groups fill what is left, by priority; in all others
// every one counts. A role that is held directly as well takes no place.
func (b *Blueprint) Counting(direct []string, mapped []MappedRole) []string {
	if len(mapped) == 0 {
		return nil
	}
	mapped = slices.Clone(mapped)
	slices.SortFunc(mapped, compareMapped)
	_, most := b.RoleBounds()
	var counting []string
	taken := 0
	if most > 0 {
		held := slices.Clone(direct)
		slices.Sort(held)
		taken = len(slices.Compact(held))
	}
	for _, m := range mapped {
		switch {
		case slices.Contains(counting, m.Role):
		case slices.Contains(direct, m.Role):
			counting = append(counting, m.Role)
		case most == 0 || taken < most:
			counting = append(counting, m.Role)
			taken++
		}
	}
	return counting
}

// CheckDefault returns nil if the role may be the one of people whom a directory
// pushes and to whom nothing else gives one. Beside what CheckMappable asks, no
// rule may count its holders: to be in no group must neither make somebody one
// of the administrators that a tenant has to have, nor use up a place. Otherwise
// the error is a fault.Invalid with the field "default_role" and the reason as
// Code, which may also be counted or hub_only.
func (b *Blueprint) CheckDefault(key string) error {
	if err := b.CheckMappable(key); err != nil {
		f := fault.As(err)
		f.Field = "default_role"
		return f
	}
	for _, rule := range b.HolderRules() {
		if slices.Contains(rule.Roles, key) {
			return fault.Field(fault.Invalid, "default_role", "%q cannot be the default role: how many hold it is subject to a rule", key).WithCode("counted")
		}
	}
	if role, err := b.Role(key); err == nil && role.HubOnly {
		return fault.Field(fault.Invalid, "default_role", "%q cannot be the default role: it is held in a hub only", key).WithCode("hub_only")
	}
	return nil
}
