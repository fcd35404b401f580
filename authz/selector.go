package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/id"
)

// selectorKind is the way in which a selector leads from the tenant where a
// role is held to the tenants where it counts.
type selectorKind uint8

const (
	selectSelf        selectorKind = iota // the tenant itself
	selectHub                             // the tenant itself, unless it is a spoke of a star
	selectChildren                        // one edge down; the spokes of a star
	selectDescendants                     // any number of edges down
)

// selector is a compiled selector: "self", "hub", "<relation>.spokes",
// "<relation>.children" or "<relation>.descendants".
type selector struct {
	kind     selectorKind
	relation uint8 // index of the relation, for children and descendants
}

// parseSelector resolves s against the relations of a blueprint.
func parseSelector(s string, relations Entries[Relation]) (selector, error) {
	switch s {
	case "self":
		return selector{kind: selectSelf}, nil
	case "hub":
		if !slices.ContainsFunc(relations, func(r Entry[Relation]) bool { return r.Value.Shape == Star }) {
			return selector{}, fmt.Errorf("%q needs a relation of shape star", s)
		}
		return selector{kind: selectHub}, nil
	}
	name, step, dotted := strings.Cut(s, ".")
	if !dotted {
		return selector{}, fmt.Errorf("%q is no selector: self, hub, <relation>.spokes, <relation>.children or <relation>.descendants", s)
	}
	i := slices.Index(relations.Keys(), name)
	if i < 0 {
		return selector{}, fmt.Errorf("%q names no relation: %q is not among tenants.relations", s, name)
	}
	shape := relations[i].Value.Shape
	switch {
	case step == "spokes" && shape == Star, step == "children" && shape == Tree:
		return selector{kind: selectChildren, relation: uint8(i)}, nil //nolint:gosec // the lint allows maxRelations
	case step == "descendants" && shape == Tree:
		return selector{kind: selectDescendants, relation: uint8(i)}, nil //nolint:gosec // the lint allows maxRelations
	default:
		return selector{}, fmt.Errorf("%q does not fit relation %q: a star has spokes, a tree has children and descendants", s, name)
	}
}

// selects reports whether a role held in home counts at the tenant at.
func (s selector) selects(home, at *TenantView) bool {
	switch s.kind {
	case selectSelf:
		return home.id == at.id
	case selectHub:
		return home.id == at.id && !at.spoke
	case selectChildren:
		up := at.ancestors[s.relation]
		return len(up) > 0 && up[0] == home.id
	case selectDescendants:
		return slices.Contains(at.ancestors[s.relation], home.id)
	}
	return false
}

// TenantView is a tenant as decisions see it: whether its people may sign in,
// its entitlements, and the tenants above it. Build one with
// [Blueprint.Tenant]; it is immutable and may be kept for as long as none of
// that changes. The zero value is at no blueprint and gives nobody any right.
type TenantView struct {
	blueprint    *Blueprint
	id           id.Tenant
	signIn       bool
	spoke        bool
	entitlements EntitlementSet
	ancestors    [maxRelations][]id.Tenant // per relation, the parent first
}

// ID returns the tenant's identifier.
func (t *TenantView) ID() id.Tenant { return t.id }

// SignIn reports whether the tenant's status lets its people sign in.
func (t *TenantView) SignIn() bool { return t.signIn }

// Hub reports whether the tenant is no spoke of any star: it is a hub, or unlinked.
func (t *TenantView) Hub() bool { return !t.spoke }

// Entitled reports whether the tenant has an entitlement. A key that the
// blueprint does not know is never held.
func (t *TenantView) Entitled(key string) bool {
	if t.blueprint == nil {
		return false
	}
	bit, ok := t.blueprint.entitlementIndex[key]
	return ok && t.entitlements.has(bit)
}
