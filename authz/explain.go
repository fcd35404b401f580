package authz

import (
	"math/bits"
	"slices"

	"github.com/rolecall/rolecall/internal/id"
)

// Explanation says why a permission is held at a tenant or not. Its JSON form
// is what the portal's "why" and the decision endpoint show.
type Explanation struct {
	Allowed    bool      `json:"allowed"`
	Permission string    `json:"permission"`
	Tenant     id.Tenant `json:"tenant"`
	// GrantedBy lists each role that gives the permission. If the decision is no,
	// these are the roles that would, but for RemovedBy.
	GrantedBy []Source `json:"granted_by,omitempty"`
	// RemovedBy is set only if the decision is no.
	RemovedBy *Removal `json:"removed_by,omitempty"`
}

// Source is a role that gives a permission at a tenant.
type Source struct {
	Role     string    `json:"role"`
	HeldIn   id.Tenant `json:"held_in"`
	Selector string    `json:"selector"`           // what leads from HeldIn to the tenant, such as "link.spokes"
	ActsAs   string    `json:"acts_as,omitempty"`  // the role that the holder acts as there
	Resource string    `json:"resource,omitempty"` // the resource on which the role is held
	Row      string    `json:"row,omitempty"`      // "area / row" of the vendor's table
	// Given and Groups say by what the role is held: Given is "direct", "founder"
	// or "operator" for an assignment, "implicit" for what everybody has,
	// "application" for a service account's own; Groups are the display names of
	// the groups that are mapped to it. Who stores holdings fills them in.
	Given  string   `json:"given,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// Stage names the step of the evaluation that withheld a permission.
type Stage string

// The stages, in the order of the evaluation.
const (
	StageUnknown      Stage = "unknown_permission" // the blueprint has no such permission
	StageNoRole       Stage = "no_role"            // no role of the subject gives it at this tenant
	StageStatus       Stage = "status"             // the membership's or its tenant's status gives no right
	StageRetired      Stage = "retired"            // the role has no effect any more
	StageChannel      Stage = "channel"            // the role has no effect over this channel
	StageAvailability Stage = "role_entitlement"   // the role needs an entitlement that its tenant lacks
	StageEntitlement  Stage = "entitlement"        // the permission needs an entitlement that the tenant lacks
	StageRequires     Stage = "requires"           // the permission needs others that are not held
)

// Removal is what withheld a permission.
type Removal struct {
	Stage   Stage     `json:"stage"`
	Missing []string  `json:"missing,omitempty"` // entitlements (entitlement stages), permissions (requires), roles that would give it (no_role)
	Ask     string    `json:"ask,omitempty"`     // who can give what is missing: "operator", "administrator", or the portal's word for a parent
	AskIn   id.Tenant `json:"ask_in,omitempty"`  // the tenant of whom to ask, if any
}

// Explain is Can with its reasons. It agrees with Can for the same arguments,
// and is slower.
func (b *Blueprint) Explain(holders []Holder, at *TenantView, channel Channel, key string) Explanation {
	return b.ExplainOn(holders, at, channel, key, "")
}

// ExplainOn is Explain with the roles that are held on one resource.
func (b *Blueprint) ExplainOn(holders []Holder, at *TenantView, channel Channel, key, resource string) Explanation {
	e := Explanation{Permission: key, Tenant: at.id}
	p, known := b.permissionIndex[key]
	if !known || at.blueprint != b {
		e.RemovedBy = &Removal{Stage: StageUnknown}
		return e
	}
	effective := b.EffectiveOn(holders, at, channel, resource)
	granted, withheld := b.sources(holders, at, channel, p, resource)
	e.Allowed, e.GrantedBy = effective.Has(p), granted
	switch {
	case e.Allowed:
	case len(granted) > 0:
		e.RemovedBy = b.removal(holders, at, channel, p, resource)
	case len(withheld) > 0:
		e.GrantedBy = []Source{withheld[0].source}
		e.RemovedBy = withheld[0].by
	default:
		e.RemovedBy = &Removal{Stage: StageNoRole, Missing: b.givers(p), Ask: "administrator", AskIn: at.id}
	}
	return e
}

// withheldSource is a role that would give a permission, and why it does not.
type withheldSource struct {
	source Source
	by     *Removal
}

// sources walks the same roles as Effective and collects those that give p.
func (b *Blueprint) sources(holders []Holder, at *TenantView, channel Channel, p Permission, resource string) (granted []Source, withheld []withheldSource) {
	visit := func(h *Holder, i int, on string) {
		r := &b.roles[i]
		source, g, found := r.source(h.home, at, channel, p)
		if !found {
			return
		}
		source.Resource = on
		if place, inTable := b.places[b.permissionKeys[p]]; inTable {
			source.Row = place.area + " / " + place.row
		}
		if by := b.withheld(h, r, g, at, channel); by != nil {
			withheld = append(withheld, withheldSource{source, by})
			return
		}
		granted = append(granted, source)
	}
	for i := range holders {
		h := &holders[i]
		if h.home == nil || h.home.blueprint != b {
			continue
		}
		for rest := h.roles; rest != 0; rest &= rest - 1 {
			visit(h, bits.TrailingZeros64(uint64(rest)), "")
		}
		for _, held := range h.resources {
			if resource != "" && held.resource == resource && h.home.id == at.id {
				visit(h, held.role, resource)
			}
		}
	}
	return granted, withheld
}

// source finds the grant of a role that gives p at a tenant, were it not for
// status, channel and entitlements. It prefers one that counts over the channel.
func (r *role) source(home, at *TenantView, channel Channel, p Permission) (Source, *grant, bool) {
	var best *grant
	for i := range r.grants {
		g := &r.grants[i]
		if !g.set.Has(p) || !g.at.selects(home, at) || g.hub && at.spoke {
			continue
		}
		if best == nil || !best.holds(home, at, channel) {
			best = g
		}
	}
	if best == nil {
		return Source{}, nil, false
	}
	return Source{Role: r.key, HeldIn: home.id, Selector: best.selector, ActsAs: best.actsAs}, best, true
}

// withheld returns why a grant of a held role has no effect, or nil if it has.
func (b *Blueprint) withheld(h *Holder, r *role, g *grant, at *TenantView, channel Channel) *Removal {
	switch {
	case !h.signIn:
		return &Removal{Stage: StageStatus}
	case r.retired:
		return &Removal{Stage: StageRetired}
	case r.channels&g.channels&channel == 0:
		return &Removal{Stage: StageChannel}
	case !h.home.entitlements.covers(r.needs):
		return b.lacking(StageAvailability, h.home, r.needs)
	case !at.entitlements.covers(g.needs):
		return b.lacking(StageAvailability, at, g.needs)
	}
	return nil
}

// removal returns what took a permission that roles give: a gate, or a
// requirement that is not met.
func (b *Blueprint) removal(holders []Holder, at *TenantView, channel Channel, p Permission, resource string) *Removal {
	var lacking EntitlementSet
	for _, g := range b.gates {
		if g.set.Has(p) && !at.entitlements.has(g.entitlement) {
			lacking |= 1 << g.entitlement
		}
	}
	if lacking != 0 {
		return b.lacking(StageEntitlement, at, lacking)
	}
	held := b.EffectiveOn(holders, at, channel, resource)
	removal := &Removal{Stage: StageRequires, Ask: "administrator", AskIn: at.id}
	for _, req := range b.requires {
		if req.permission == p {
			removal.Missing = b.Keys(req.needs.Without(held))
		}
	}
	return removal
}

// lacking returns a removal that names the entitlements of needs which a tenant
// lacks, and whom to ask: the parent if all of them can be passed on.
func (b *Blueprint) lacking(stage Stage, t *TenantView, needs EntitlementSet) *Removal {
	removal := &Removal{Stage: stage, Ask: "operator"}
	delegable := true
	for i, e := range b.doc.Entitlements {
		if needs.has(i) && !t.entitlements.has(i) {
			removal.Missing = append(removal.Missing, e.Key)
			delegable = delegable && e.Value.Delegable
		}
	}
	if !delegable {
		return removal
	}
	for i, relation := range b.doc.Tenants.Relations {
		if up := t.ancestors[i]; relation.Value.Shape == Tree && len(up) > 0 {
			removal.Ask, removal.AskIn = relation.Value.Up, up[0]
			if removal.Ask == "" {
				removal.Ask = "parent"
			}
			break
		}
	}
	return removal
}

// givers returns the roles, hidden ones aside, that give a permission where
// they are held.
func (b *Blueprint) givers(p Permission) []string {
	var keys []string
	for i := range b.roles {
		r := &b.roles[i]
		if !r.decl.Hidden && !r.retired && slices.ContainsFunc(r.grants, func(g grant) bool { return g.at.kind == selectSelf && g.set.Has(p) }) {
			keys = append(keys, r.key)
		}
	}
	return keys
}
