package authz

import "math/bits"

// Limits of a blueprint. All but the last are set by the width of the sets below.
const (
	maxPermissions  = 512
	maxRoles        = 64
	maxEntitlements = 64
	maxRelations    = 8
	maxNames        = 64 // tiers, statuses, operations
)

// Permission is the number of a permission in its blueprint's version. It means
// nothing outside of it: store and send keys.
type Permission uint16

// Set is a set of permissions, one bit each. The zero value is empty. It is an
// array, so that == compares and assignment copies.
type Set [maxPermissions / 64]uint64

// Has reports whether p is in the set.
func (s Set) Has(p Permission) bool {
	return p < maxPermissions && s[p/64]&(1<<(p%64)) != 0
}

// Union returns what is in either set.
func (s Set) Union(other Set) Set {
	for i := range s {
		s[i] |= other[i]
	}
	return s
}

// Intersect returns what is in both sets.
func (s Set) Intersect(other Set) Set {
	for i := range s {
		s[i] &= other[i]
	}
	return s
}

// Without returns s less what is in other.
func (s Set) Without(other Set) Set {
	for i := range s {
		s[i] &^= other[i]
	}
	return s
}

// Contains reports whether every permission of other is in s.
func (s Set) Contains(other Set) bool {
	for i := range s {
		if other[i]&^s[i] != 0 {
			return false
		}
	}
	return true
}

// Empty reports whether the set has no permission.
func (s Set) Empty() bool { return s == Set{} }

// Len returns the number of permissions in the set.
func (s Set) Len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s Set) with(p Permission) Set {
	s[p/64] |= 1 << (p % 64)
	return s
}

// RoleSet is a set of a blueprint's roles. The zero value is empty. Like
// [Permission] it is meant for memory only: store keys.
type RoleSet uint64

// Contains reports whether every role of other is in s.
func (s RoleSet) Contains(other RoleSet) bool { return other&^s == 0 }

// Len returns the number of roles in the set.
func (s RoleSet) Len() int { return bits.OnesCount64(uint64(s)) }

func (s RoleSet) has(role int) bool { return s&(1<<role) != 0 }

// EntitlementSet is a set of a blueprint's entitlements, for memory only.
type EntitlementSet uint64

func (s EntitlementSet) has(bit int) bool { return s&(1<<bit) != 0 }

// covers reports whether every entitlement of needs is in s.
func (s EntitlementSet) covers(needs EntitlementSet) bool { return needs&^s == 0 }

// Channel is the way by which a principal comes in; values combine as bits.
type Channel uint8

// The channels. A browser session is ChannelPortal; client credentials and
// application tokens are ChannelAPI.
const (
	ChannelPortal Channel = 1 << iota
	ChannelAPI

	anyChannel = ChannelPortal | ChannelAPI
)

// String returns "portal" or "api".
func (c Channel) String() string {
	switch c {
	case ChannelPortal:
		return "portal"
	case ChannelAPI:
		return "api"
	case anyChannel:
		return "portal and api"
	}
	return "no channel"
}
