package authz

import (
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Name returns the blueprint's name, such as "emnify".
func (b *Blueprint) Name() string { return b.doc.Blueprint }

// Version returns the blueprint's version, from 1.
func (b *Blueprint) Version() int { return b.doc.Version }

// Document returns the document that the blueprint was compiled from, with the
// policies that need no compilation (invitation, password, MFA, support …). It
// must not be changed.
func (b *Blueprint) Document() *Document { return b.doc }

// Permissions returns all permission keys in the order of the vendor's table.
func (b *Blueprint) Permissions() []string { return slices.Clone(b.permissionKeys) }

// Permission returns the number of a permission, or false for an unknown key.
func (b *Blueprint) Permission(key string) (Permission, bool) {
	p, known := b.permissionIndex[key]
	return p, known
}

// PermissionSet returns the set of the given keys, for instance the list that
// an application token is limited to. An unknown key is a fault.Invalid with
// the field "permissions".
func (b *Blueprint) PermissionSet(keys ...string) (Set, error) {
	var set Set
	for _, key := range keys {
		p, known := b.permissionIndex[key]
		if !known {
			return Set{}, fault.Field(fault.Invalid, "permissions", "%q is no permission of %s", key, b.Name())
		}
		set = set.with(p)
	}
	return set, nil
}

// Keys returns the permission keys of a set in the order of the vendor's table.
func (b *Blueprint) Keys(set Set) []string {
	keys := make([]string, 0, set.Len())
	for p, key := range b.permissionKeys {
		if set.Has(Permission(p)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// TenantFacts is what the directory knows of a tenant and a decision needs.
type TenantFacts struct {
	ID           id.Tenant
	Status       string   // a key of tenants.statuses; an unknown one lets nobody sign in
	Entitlements []string // those in force, from whatever source; unknown keys are ignored
	// Ancestors holds, by relation, the parent, its parent and so on up to the
	// root. A tenant without a parent in a relation leaves it out.
	Ancestors map[string][]id.Tenant
}

// Tenant compiles the facts about a tenant. What the blueprint does not know,
// for instance after an upgrade removed it, gives nobody any right.
func (b *Blueprint) Tenant(f TenantFacts) *TenantView {
	status, _ := b.doc.Tenants.Statuses.Lookup(f.Status)
	t := &TenantView{blueprint: b, id: f.ID, signIn: status.SignIn}
	for _, key := range f.Entitlements {
		if bit, known := b.entitlementIndex[key]; known {
			t.entitlements |= 1 << bit
		}
	}
	for name, chain := range f.Ancestors {
		i, known := b.relationIndex[name]
		if !known || len(chain) == 0 {
			continue
		}
		t.ancestors[i] = slices.Clone(chain)
		t.spoke = t.spoke || b.doc.Tenants.Relations[i].Value.Shape == Star
	}
	return t
}

// MembershipFacts is what the directory knows of a membership and a decision
// needs.
type MembershipFacts struct {
	Status    string // a key of membership.statuses; an unknown one gives no right
	Roles     []string
	Resources []ResourceRole
}

// Holder compiles the facts about a membership in a tenant. Implicit roles are
// added. A role that the blueprint does not know, or that is granted on
// resources but stands among the plain roles, gives no right.
func (b *Blueprint) Holder(home *TenantView, f MembershipFacts) Holder {
	status, _ := b.doc.Membership.Statuses.Lookup(f.Status)
	h := Holder{
		home:   home,
		roles:  b.setOf(f.Roles)&^b.onResource | b.implicit,
		signIn: home.signIn && status.SignIn,
	}
	for _, held := range f.Resources {
		if i, known := b.roleIndex[held.Role]; known && b.onResource.has(i) {
			h.resources = append(h.resources, resourceRole{role: i, resource: held.Resource})
		}
	}
	return h
}

// Operations returns the administrative operations of the blueprint.
func (b *Blueprint) Operations() []string { return slices.Clone(b.operations) }

// HasOperation reports whether the blueprint has an administrative operation.
func (b *Blueprint) HasOperation(key string) bool {
	_, known := b.operationIndex[key]
	return known
}

// Tier returns the entitlements that a tier brings, or a fault.Invalid with the
// field "tier".
func (b *Blueprint) Tier(key string) (Tier, error) {
	tier, known := b.doc.Tenants.Tiers.Lookup(key)
	if !known {
		return Tier{}, fault.Field(fault.Invalid, "tier", "%q is no tier of %s", key, b.Name())
	}
	return tier, nil
}

// CheckEntitlement returns nil if the blueprint has the entitlement, else a
// fault.Invalid with the field "entitlements".
func (b *Blueprint) CheckEntitlement(key string) error {
	if _, known := b.entitlementIndex[key]; !known {
		return fault.Field(fault.Invalid, "entitlements", "%q is no entitlement of %s", key, b.Name())
	}
	return nil
}

// TenantStatus returns what a tenant's status means, or false if there is none
// of that key.
func (b *Blueprint) TenantStatus(key string) (TenantStatus, bool) {
	return b.doc.Tenants.Statuses.Lookup(key)
}

// Unfounded returns the status in which a tenant waits for its founder, "" if
// there is none.
func (b *Blueprint) Unfounded() string {
	for _, s := range b.doc.Tenants.Statuses {
		if s.Value.Founded != "" {
			return s.Key
		}
	}
	return ""
}

// Status is a status of a membership.
type Status struct {
	Key    string
	Label  string   // to show; the key if the blueprint gives none
	SignIn bool     // the membership gives rights
	Next   []string // keys of the statuses that may follow
}

// Final reports whether no status follows: the membership is over.
func (s Status) Final() bool { return len(s.Next) == 0 }

// Statuses returns the statuses of a membership in the blueprint's order.
func (b *Blueprint) Statuses() []Status {
	statuses := make([]Status, len(b.doc.Membership.Statuses))
	for i, s := range b.doc.Membership.Statuses {
		statuses[i] = statusOf(s.Key, s.Value)
	}
	return statuses
}

// Status returns a status of a membership, or a fault.Invalid with the field
// "status".
func (b *Blueprint) Status(key string) (Status, error) {
	decl, known := b.doc.Membership.Statuses.Lookup(key)
	if !known {
		return Status{}, fault.Field(fault.Invalid, "status", "%q is no status of a membership in %s", key, b.Name())
	}
	return statusOf(key, decl), nil
}

func statusOf(key string, decl StatusDecl) Status {
	s := Status{Key: key, Label: decl.Label, SignIn: decl.SignIn, Next: decl.To}
	if s.Label == "" {
		s.Label = key
	}
	return s
}

// CheckTransition returns nil if a membership may go from one status to
// another, else a fault.Invalid with the field "status".
func (b *Blueprint) CheckTransition(from, to string) error {
	status, err := b.Status(from)
	if err != nil {
		return err
	}
	if _, err := b.Status(to); err != nil {
		return err
	}
	if !slices.Contains(status.Next, to) {
		return fault.Field(fault.Invalid, "status", "a membership that is %s cannot become %s", from, to).WithCode("transition")
	}
	return nil
}

// CheckSelfEdit returns nil if a member may change these fields of his own
// profile, else a fault.Denied that names the first he may not, with the Code
// "field:<name>".
func (b *Blueprint) CheckSelfEdit(fields ...string) error {
	for _, name := range fields {
		if own, _ := b.doc.Self.Fields.Lookup(name); own != "edit" {
			return fault.Field(fault.Denied, name, "cannot be changed by the user").WithCode("field:" + name)
		}
	}
	return nil
}
