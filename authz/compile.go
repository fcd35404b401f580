package authz

import (
	"slices"
	"strings"
)

// Blueprint is a compiled role system. It is immutable and safe for
// concurrent use.
type Blueprint struct {
	doc *Document

	permissionKeys   []string // by number
	permissionIndex  map[string]Permission
	places           map[string]place // permission key to its row in the matrix
	roles            []role
	roleIndex        map[string]int
	entitlementIndex map[string]int
	relationIndex    map[string]int

	gates    []gate
	requires []requirement

	operations     []string
	operationIndex map[string]int
	opPermission   []Permission
	administers    [][]RoleSet // by actor role, by operation

	implicit, protected, onResource RoleSet
	supportNever                    Set
}

// place is where a permission stands in the vendor's table.
type place struct{ area, row string }

// role is a compiled role.
type role struct {
	key      string
	decl     RoleDecl
	retired  bool // no effect
	channels Channel
	needs    EntitlementSet // at the tenant where it is held
	reach    []selector
	grants   []grant
}

// grant is a set of permissions at the tenants that a selector finds.
type grant struct {
	at       selector
	selector string         // as written, for explanations
	actsAs   string         // key of the role acted as; empty for the role's own rights
	hub      bool           // acting as a role whose cell is "hub": the tenant must also be no spoke
	needs    EntitlementSet // of the role acted as, at the tenant acted in
	channels Channel
	set      Set
}

type gate struct {
	entitlement int
	set         Set
}

// requirement is a permission with all those it needs, directly or not.
type requirement struct {
	permission Permission
	needs      Set
}

// Load parses and compiles a blueprint.
func Load(source []byte) (*Blueprint, error) {
	doc, err := Parse(source)
	if err != nil {
		return nil, err
	}
	return Compile(doc)
}

// Compile checks what a document means and compiles it. All mistakes are
// reported together, as a fault.Invalid whose cause is [Problems]. The
// document must not be changed afterwards.
func Compile(doc *Document) (*Blueprint, error) {
	if err := lint(doc); err != nil {
		return nil, err
	}
	b := &Blueprint{
		doc:              doc,
		permissionIndex:  map[string]Permission{},
		places:           map[string]place{},
		roleIndex:        map[string]int{},
		entitlementIndex: indexOf(doc.Entitlements.Keys()),
		relationIndex:    indexOf(doc.Tenants.Relations.Keys()),
		operations:       doc.AdminOps.Keys(),
		operationIndex:   indexOf(doc.AdminOps.Keys()),
	}
	b.numberPermissions()
	b.numberRoles()
	b.compileMatrix()
	b.compileExtras()
	b.compileActsAs()
	b.compileGates()
	b.compileRequires()
	b.compileAdministers()
	if doc.Support != nil {
		b.supportNever = b.matching(doc.Support.Never).Union(b.beyondSupport())
	}
	return b, nil
}

func indexOf(keys []string) map[string]int {
	index := make(map[string]int, len(keys))
	for i, key := range keys {
		index[key] = i
	}
	return index
}

func (b *Blueprint) numberPermissions() {
	number := func(key string) {
		if _, known := b.permissionIndex[key]; !known {
			b.permissionIndex[key] = Permission(len(b.permissionKeys)) //nolint:gosec // the lint allows maxPermissions
			b.permissionKeys = append(b.permissionKeys, key)
		}
	}
	for _, area := range b.doc.Permissions {
		for _, row := range area.Rows {
			for _, key := range row.Keys {
				number(key)
				b.places[key] = place{area: area.Area, row: row.Label}
			}
		}
	}
	for _, extra := range b.doc.ExtraPermissions {
		number(extra.Key)
	}
	for _, extra := range b.doc.ExtraGrants {
		for _, key := range extra.Value {
			number(key)
		}
	}
}

// numberRoles puts the columns first and in their order, then the roles that
// the table does not show.
func (b *Blueprint) numberRoles() {
	keys := slices.Clone(b.doc.Columns)
	for _, key := range b.doc.Roles.Keys() {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	b.roleIndex = indexOf(keys)
	for i, key := range keys {
		decl, _ := b.doc.Roles.Lookup(key)
		r := role{key: key, decl: decl, retired: decl.Lifecycle == Retired, channels: channelsOf(decl), needs: b.needsOf(key, decl)}
		for _, s := range reachOf(decl) {
			at, _ := parseSelector(s, b.doc.Tenants.Relations) // the lint has parsed it
			r.reach = append(r.reach, at)
		}
		b.roles = append(b.roles, r)
		bit := RoleSet(1) << i
		if decl.Implicit {
			b.implicit |= bit
		}
		if decl.Protected {
			b.protected |= bit
		}
		if decl.Resource != "" {
			b.onResource |= bit
		}
	}
}

func reachOf(decl RoleDecl) []string {
	if len(decl.Reach) == 0 {
		return []string{"self"}
	}
	return decl.Reach
}

func channelsOf(decl RoleDecl) Channel {
	var c Channel
	for _, name := range decl.Channel {
		if name == "api" {
			c |= ChannelAPI
		} else {
			c |= ChannelPortal
		}
	}
	if c == 0 {
		return anyChannel
	}
	return c
}

// needsOf joins the two ways to write that a role needs an entitlement: at the
// role ("available") and at the entitlement ("roles").
func (b *Blueprint) needsOf(key string, decl RoleDecl) EntitlementSet {
	var needs EntitlementSet
	for i, e := range b.doc.Entitlements {
		if e.Key == decl.Available || slices.Contains(e.Value.Roles, key) {
			needs |= 1 << i
		}
	}
	return needs
}

// permit adds a permission to a role's rights at the tenants of a selector.
func (b *Blueprint) permit(r *role, written string, p Permission) {
	i := slices.IndexFunc(r.grants, func(g grant) bool { return g.selector == written && g.actsAs == "" })
	if i < 0 {
		at, _ := parseSelector(written, b.doc.Tenants.Relations) // the lint has parsed it
		r.grants = append(r.grants, grant{at: at, selector: written, channels: r.channels})
		i = len(r.grants) - 1
	}
	r.grants[i].set = r.grants[i].set.with(p)
}

func (b *Blueprint) compileMatrix() {
	for _, area := range b.doc.Permissions {
		for _, row := range area.Rows {
			for column, letter := range []rune(row.Cells) {
				r := &b.roles[column]
				for _, written := range b.cellSelectors(r, b.doc.Cells[string(letter)]) {
					for _, key := range row.Keys {
						b.permit(r, written, b.permissionIndex[key])
					}
				}
			}
		}
	}
}

// cellSelectors returns the selectors that a cell's meaning stands for.
func (b *Blueprint) cellSelectors(r *role, meaning string) []string {
	switch meaning {
	case "none":
		return nil
	case "reach":
		return reachOf(r.decl)
	default:
		return []string{meaning}
	}
}

func (b *Blueprint) compileExtras() {
	grantAtReach := func(roleKey, key string) {
		r := &b.roles[b.roleIndex[roleKey]]
		for _, written := range reachOf(r.decl) {
			b.permit(r, written, b.permissionIndex[key])
		}
	}
	for _, extra := range b.doc.ExtraPermissions {
		for _, roleKey := range extra.Value {
			grantAtReach(roleKey, extra.Key)
		}
	}
	for _, extra := range b.doc.ExtraGrants {
		for _, key := range extra.Value {
			grantAtReach(extra.Key, key)
		}
	}
}

// compileActsAs copies to a role what the role it acts as may do at home. What
// that one reaches elsewhere does not follow: acting as is no chain.
func (b *Blueprint) compileActsAs() {
	home := make([][]grant, len(b.roles))
	for i, r := range b.roles {
		for _, g := range r.grants {
			if g.at.kind == selectSelf || g.at.kind == selectHub {
				home[i] = append(home[i], g)
			}
		}
	}
	for i := range b.roles {
		r := &b.roles[i]
		for _, as := range r.decl.ActsAs {
			at, _ := parseSelector(as.At, b.doc.Tenants.Relations) // the lint has parsed it
			other := b.roleIndex[as.Role]
			if b.roles[other].retired {
				continue
			}
			for _, g := range home[other] {
				r.grants = append(r.grants, grant{
					at: at, selector: as.At, actsAs: as.Role, hub: g.at.kind == selectHub,
					needs: b.roles[other].needs, channels: r.channels & g.channels, set: g.set,
				})
			}
		}
	}
}

func (b *Blueprint) compileGates() {
	for i, e := range b.doc.Entitlements {
		if set := b.matching(e.Value.Gates); !set.Empty() {
			b.gates = append(b.gates, gate{entitlement: i, set: set})
		}
	}
}

// matching returns the permissions that any of the patterns matches.
func (b *Blueprint) matching(patterns []string) Set {
	var set Set
	for p, key := range b.permissionKeys {
		if slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, key) }) {
			set = set.with(Permission(p))
		}
	}
	return set
}

// matches reports whether a pattern, which is a key or a prefix followed by
// ".*", covers a permission key.
func matches(pattern, key string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(key, prefix)
	}
	return pattern == key
}

// compileRequires closes the requirements over themselves, so that the check
// needs one pass in any order.
func (b *Blueprint) compileRequires() {
	for _, entry := range b.doc.Requires {
		var needs Set
		pending := slices.Clone(entry.Value)
		for len(pending) > 0 {
			key := pending[0]
			pending = pending[1:]
			if p := b.permissionIndex[key]; !needs.Has(p) {
				needs = needs.with(p)
				more, _ := b.doc.Requires.Lookup(key)
				pending = append(pending, more...)
			}
		}
		b.requires = append(b.requires, requirement{permission: b.permissionIndex[entry.Key], needs: needs})
	}
}

func (b *Blueprint) compileAdministers() {
	for _, op := range b.doc.AdminOps {
		b.opPermission = append(b.opPermission, b.permissionIndex[op.Value])
	}
	b.administers = make([][]RoleSet, len(b.roles))
	for i := range b.administers {
		b.administers[i] = make([]RoleSet, len(b.operations))
	}
	allow := func(actor, operation string, targets RoleSet) {
		for op, name := range b.operations {
			if operation == "any" || operation == name {
				b.administers[b.roleIndex[actor]][op] |= targets
			}
		}
	}
	for _, actor := range b.doc.Administers {
		for _, op := range actor.Value {
			allow(actor.Key, op.Key, b.setOf(op.Value))
		}
	}
	for _, area := range b.doc.Permissions {
		for _, row := range area.Rows {
			if row.Administers == "" {
				continue
			}
			for column, letter := range []rune(row.Cells) {
				if b.doc.Cells[string(letter)] != "none" {
					allow(b.doc.Columns[column], "any", b.setOf([]string{row.Administers}))
				}
			}
		}
	}
}

// beyondSupport returns the permissions that no support session has in any role
// system: those of the operations on roles, passwords and second factors. One
// that listing people needs too is left alone.
func (b *Blueprint) beyondSupport() Set {
	var set Set
	list, listed := b.operationIndex[OpList]
	for _, name := range []string{OpGrant, OpRevoke, "reset_password", "reset_mfa", "set_secret"} {
		if op, known := b.operationIndex[name]; known && (!listed || b.opPermission[op] != b.opPermission[list]) {
			p := b.opPermission[op]
			set[p/64] |= 1 << (p % 64)
		}
	}
	return set
}
