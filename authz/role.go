package authz

import (
	"github.com/rolecall/rolecall/internal/fault"
)

// Role describes a role to those who show or give it.
type Role struct {
	Key         string
	Label       string
	About       string
	Badge       string      // name of a symbol shown beside holders; may be empty
	Lifecycle   Lifecycle   // Open, Locked or Retired
	HoldersKind HoldersKind // who may hold it
	Channels    Channel     // where it has effect
	Protected   bool        // only an operator acts on its holders
	Hidden      bool        // not to be shown to tenants
	Implicit    bool        // every membership has it, so it is never assigned
	Founder     bool        // the first member of a tenant gets it
	HubOnly     bool        // given only in a tenant that is no spoke of a star
	Resource    string      // kind of resource it is granted on; empty: it is held in the tenant
	GrantWith   string      // for a resource role: the permission that suffices to give and take it
	NeedComment bool        // for a resource role: who gives or takes it must say why
}

// Roles returns all roles, hidden ones included: the columns of the table in
// their order, then the others.
func (b *Blueprint) Roles() []Role {
	roles := make([]Role, len(b.roles))
	for i := range b.roles {
		roles[i] = b.roles[i].describe()
	}
	return roles
}

// Role returns a role, or a fault.Invalid with the field "roles".
func (b *Blueprint) Role(key string) (Role, error) {
	i, known := b.roleIndex[key]
	if !known {
		return Role{}, fault.Field(fault.Invalid, "roles", "%q is no role of %s", key, b.Name())
	}
	return b.roles[i].describe(), nil
}

func (r *role) describe() Role {
	life := r.decl.Lifecycle
	if life == "" {
		life = Open
	}
	return Role{
		Key: r.key, Label: r.decl.Label, About: r.decl.About, Badge: r.decl.Badge,
		Lifecycle: life, HoldersKind: r.decl.HoldersKind, Channels: r.channels,
		Protected: r.decl.Protected, Hidden: r.decl.Hidden, Implicit: r.decl.Implicit,
		Founder: r.decl.Founder, HubOnly: r.decl.HeldAt == "hub", Resource: r.decl.Resource,
		GrantWith: r.decl.GrantableWith, NeedComment: r.decl.GrantNeeds == "comment",
	}
}

// RoleSet returns the set of the given roles, or a fault.Invalid with the field
// "roles" for one that the blueprint does not have.
func (b *Blueprint) RoleSet(keys ...string) (RoleSet, error) {
	for _, key := range keys {
		if _, err := b.Role(key); err != nil {
			return 0, err
		}
	}
	return b.setOf(keys), nil
}

// setOf is RoleSet that ignores unknown keys.
func (b *Blueprint) setOf(keys []string) RoleSet {
	var set RoleSet
	for _, key := range keys {
		if i, known := b.roleIndex[key]; known {
			set |= 1 << i
		}
	}
	return set
}

// RoleKeys returns the keys of a set in the order of Roles.
func (b *Blueprint) RoleKeys(set RoleSet) []string {
	keys := make([]string, 0, set.Len())
	for i := range b.roles {
		if set.has(i) {
			keys = append(keys, b.roles[i].key)
		}
	}
	return keys
}

// Implicit returns the roles that every membership has without assignment.
func (b *Blueprint) Implicit() RoleSet { return b.implicit }

// Founder returns the role of a tenant's first member. It is false for a
// portal in which that is the operator's choice.
func (b *Blueprint) Founder() (string, bool) {
	for i := range b.roles {
		if b.roles[i].decl.Founder {
			return b.roles[i].key, true
		}
	}
	return "", false
}

// Mappable returns the roles that CheckMappable lets a group be mapped to, and
// that have effect at the tenant, in the order of Roles.
func (b *Blueprint) Mappable(at *TenantView) []Role {
	var roles []Role
	for i := range b.roles {
		if b.CheckMappable(b.roles[i].key) == nil && at.entitlements.covers(b.roles[i].needs) {
			roles = append(roles, b.roles[i].describe())
		}
	}
	return roles
}

// CheckMappable returns nil if a group may be mapped to the role, that is, if
// a directory may decide who has it. Otherwise the error is a fault.Invalid
// with the field "role" whose Code is the reason: unknown_role, protected,
// locked, retired, hidden, resource, implicit or service_only.
func (b *Blueprint) CheckMappable(key string) error {
	i, known := b.roleIndex[key]
	if !known {
		return fault.Field(fault.Invalid, "role", "%q is no role of %s", key, b.Name()).WithCode("unknown_role")
	}
	refuse := func(code, why string) error {
		return fault.Field(fault.Invalid, "role", "a group cannot be mapped to %q: %s", key, why).WithCode(code)
	}
	r := b.roles[i].describe()
	switch {
	case r.Protected:
		return refuse("protected", "it is protected, so only an operator gives it")
	case r.Lifecycle == Locked:
		return refuse("locked", "it is locked and gains no new holders")
	case r.Lifecycle == Retired:
		return refuse("retired", "it is retired")
	case r.Hidden:
		return refuse("hidden", "it is hidden")
	case r.Resource != "":
		return refuse("resource", "it is granted on a single "+r.Resource)
	case r.Implicit:
		return refuse("implicit", "everybody has it")
	case r.HoldersKind == ServiceHolders:
		return refuse("service_only", "only service accounts hold it")
	}
	return nil
}

// CheckHolder returns nil if a holder of the given kind, HumanHolders or
// ServiceHolders, may have the role; else a fault.Invalid with the field
// "roles" and the Code unknown_role or holders_kind.
func (b *Blueprint) CheckHolder(key string, kind HoldersKind) error {
	r, err := b.Role(key)
	if err != nil {
		return fault.As(err).WithCode("unknown_role")
	}
	if r.HoldersKind != AnyHolder && r.HoldersKind != kind {
		who := "people"
		if r.HoldersKind == ServiceHolders {
			who = "service accounts"
		}
		return fault.Field(fault.Invalid, "roles", "only %s can hold %q", who, key).WithCode("holders_kind")
	}
	return nil
}

// Administers reports whether holders of one role may apply an operation to
// members who hold another, as far as roles go: the permission of the
// operation, protection and self rules come on top. It is false for unknown
// roles and operations.
func (b *Blueprint) Administers(actor, operation, target string) bool {
	a, knownActor := b.roleIndex[actor]
	op, knownOp := b.operationIndex[operation]
	t, knownTarget := b.roleIndex[target]
	return knownActor && knownOp && knownTarget && b.administers[a][op].has(t)
}
