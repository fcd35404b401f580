package authz

import (
	"maps"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
)

// Relation returns a relation between tenants of the blueprint, or a
// fault.Invalid with the field "relations". A star has MaxDepth 1.
func (b *Blueprint) Relation(name string) (Relation, error) {
	relation, known := b.doc.Tenants.Relations.Lookup(name)
	if !known {
		return Relation{}, fault.Field(fault.Invalid, "relations", "%q is no relation of %s", name, b.Name())
	}
	if relation.Shape == Star {
		relation.MaxDepth = 1
	}
	return relation, nil
}

// MayDelegate decides whether a tenant may pass an entitlement on to another:
// it is the other's parent in a tree, has the entitlement with the grant
// option, and the entitlement can be delegated at all. The error is a
// fault.Invalid for an unknown key, else a fault.Denied with the Code
// not_delegable, not_grantable or not_child.
func (b *Blueprint) MayDelegate(from, to *TenantView, key string, grantOption bool) error {
	if err := b.CheckEntitlement(key); err != nil {
		return err
	}
	decl, _ := b.doc.Entitlements.Lookup(key)
	refuse := func(code, why string) error {
		return &fault.Error{Kind: fault.Denied, Field: "entitlements", Code: code, Detail: why}
	}
	child := func(r int) bool {
		up := to.ancestors[r]
		return b.doc.Tenants.Relations[r].Value.Shape == Tree && len(up) > 0 && up[0] == from.id
	}
	switch {
	case !decl.Delegable:
		return refuse("not_delegable", "only an operator gives this entitlement")
	case !from.Entitled(key) || !grantOption:
		return refuse("not_grantable", "the tenant does not have this entitlement to pass on")
	case !slices.ContainsFunc(slices.Collect(maps.Values(b.relationIndex)), child):
		return refuse("not_child", "an entitlement is passed on to direct children only")
	}
	return nil
}

// RolesAfterUnlink returns the roles that a member of a star keeps when it
// ends. The first list is what he holds in the hub, the second what he holds
// on his own in the tenant in question, which may be the hub. Roles that live
// by the star are replaced as their on_unlink says; where a membership has one
// role only, the replacement takes its place.
func (b *Blueprint) RolesAfterUnlink(inHub, own []string) []string {
	var replacements []string
	kept := slices.Clone(own)
	for _, key := range inHub {
		decl, _ := b.doc.Roles.Lookup(key)
		if decl.OnUnlink == nil {
			continue
		}
		kept = slices.DeleteFunc(kept, func(k string) bool { return k == key })
		if !slices.Contains(replacements, decl.OnUnlink.ReplaceWith) {
			replacements = append(replacements, decl.OnUnlink.ReplaceWith)
		}
	}
	if _, most := b.RoleBounds(); most == 1 && len(replacements) > 0 {
		return replacements[:1]
	}
	for _, key := range replacements {
		if !slices.Contains(kept, key) {
			kept = append(kept, key)
		}
	}
	return kept
}
