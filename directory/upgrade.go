package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// UpgradeStore is what it takes to bring the tenants of a role system to
// another version of it.
type UpgradeStore interface {
	// TenantsOn returns the tenants of a role system, by id.
	TenantsOn(ctx context.Context, blueprint string) ([]id.Tenant, error)
	// LockTenantsOn is TenantsOn that holds each of them as LockTenant does.
	LockTenantsOn(ctx context.Context, blueprint string) ([]id.Tenant, error)
	// MoveTenants puts all tenants of a role system on a version, and counts up theirs.
	MoveTenants(ctx context.Context, blueprint string, version int, now time.Time) error
	// MembersWithRoles returns every membership of the tenant with what it holds.
	MembersWithRoles(ctx context.Context, tenant id.Tenant) ([]MemberRoles, error)
	// MoveRole gives whoever holds the role, and whichever group is mapped to it,
	// the replacement instead; nothing if that is empty.
	MoveRole(ctx context.Context, tenant id.Tenant, role, replacement string) error
	// ServiceAccounts returns the machine applications of the tenant, held as
	// the tenant is.
	ServiceAccounts(ctx context.Context, tenant id.Tenant) ([]ServiceAccount, error)
	// TokenLists returns the own lists of permissions of the tenant's application
	// tokens that are active.
	TokenLists(ctx context.Context, tenant id.Tenant) ([]TokenList, error)
	// SetServiceRoles stores the roles of a service account.
	SetServiceRoles(ctx context.Context, tenant id.Tenant, account ServiceAccount, now time.Time) error
}

// MemberRoles is a membership as an upgrade looks at it.
type MemberRoles struct {
	Name     string // userName
	Status   Status
	Disabled bool // the login is off
	Source   Source
	Roles    []RoleHolding
}

// RoleHolding is a role, held directly or offered by a group.
type RoleHolding struct {
	Role     string
	Resource string // for a role on one resource
	Priority int    // of the mapping, for one that a group offers; else 0
}

// ServiceAccount is a machine application with its roles in the tenant that
// owns it.
type ServiceAccount struct {
	Tenant      id.Tenant
	Application string // client_id
	Name        string
	Roles       []string
}

// TokenList is the own list of permissions of an application token.
type TokenList struct {
	Token       string // its name
	Permissions []string
}

// An Upgrade is what another version of a role system does to the instance.
type Upgrade struct {
	Blueprint string                 `json:"blueprint"`
	From      int                    `json:"from"` // the version in force; 0: none of that name
	To        int                    `json:"to"`
	Roles     []authz.RoleDifference `json:"roles,omitempty"`
	Changes   []authz.Change         `json:"changes,omitempty"`
	Tenants   []TenantUpgrade        `json:"tenants,omitempty"`
	// Problems say why the version can't take effect, with these replacements.
	Problems []string `json:"problems,omitempty"`
	// Notices say what an operator must know and nothing forbids.
	Notices []string `json:"notices,omitempty"`
}

// Nothing reports whether that very version is in force already.
func (u *Upgrade) Nothing() bool { return u.From == u.To }

// TenantUpgrade is what an upgrade does to one tenant.
type TenantUpgrade struct {
	Tenant  id.Tenant    `json:"tenant"`
	Slug    string       `json:"slug"`
	Members int          `json:"members"`
	Gain    People       `json:"gain"`            // who may do something more
	Lose    People       `json:"lose"`            // who may do something less; may be the same people
	Roles   []RoleEffect `json:"roles,omitempty"` // by the role that they hold before
	Moved   []MovedRole  `json:"moved,omitempty"` // roles that the version lacks and that are in use
}

// People are memberships, the first of them by name.
type People struct {
	Count int      `json:"count"`
	Names []string `json:"names,omitempty"` // at most maxNames
}

// maxNames is how many of the people affected are named.
const maxNames = 20

func (p *People) add(name string) {
	p.Count++
	if len(p.Names) < maxNames {
		p.Names = append(p.Names, name)
	}
}

// RoleEffect counts those holders of a role who gain or lose permissions.
type RoleEffect struct {
	Role string `json:"role"`
	Gain int    `json:"gain"`
	Lose int    `json:"lose"`
}

// MovedRole is a role that goes away and what has it.
type MovedRole struct {
	Role         string   `json:"role"`
	Replacement  string   `json:"replacement,omitempty"` // empty: they get none
	Decided      bool     `json:"decided"`               // somebody said what they get
	Members      int      `json:"members"`
	Groups       int      `json:"groups"`            // mappings of groups to it
	Default      bool     `json:"default,omitempty"` // it is the tenant's default role
	Applications []string `json:"applications,omitempty"`
}

func (m MovedRole) inUse() bool { return m.Members+m.Groups+len(m.Applications) > 0 || m.Default }

// PlanUpgrade says what it would do to put the role system that source
// describes in force, in YAML, with replacements for roles which it lacks: old
// key to new key, or to "" for none. It changes nothing. Only an operator may
// ask. It fails with fault.Invalid on "version" unless the version is higher
// than the one in force, or has the same source; and with authz.Problems if the
// source has mistakes. Its cost is that of reading every member of every tenant
// of the role system.
func (d *Directory) PlanUpgrade(ctx context.Context, source []byte, replace map[string]string) (*Upgrade, error) {
	p, err := d.beginUpgrade(ctx, source, replace)
	if err != nil || p.result.Nothing() {
		return p.orNil(), err
	}
	tenants, err := d.store.TenantsOn(ctx, p.later.Name())
	if err != nil {
		return nil, err
	}
	if err := p.look(ctx, d, tenants); err != nil {
		return nil, err
	}
	return p.result, nil
}

// Upgrade puts the role system that source describes in force, for all tenants
// that have one of its name, in one transaction. Changes of people and roles
// wait for it or come before it; sessions and tokens stay. It fails as
// PlanUpgrade does, and with fault.Denied and the code upgrade where that has
// Problems, which are the text.
func (d *Directory) Upgrade(ctx context.Context, source []byte, replace map[string]string) (*Upgrade, error) {
	var done *Upgrade
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		name, err := nameOf(source)
		if err != nil {
			return err
		}
		// The version that was in force before is kept with the others.
		if err := d.blueprints.storeShipped(ctx, name); err != nil && !errors.Is(err, fault.Invalid) {
			return err
		}
		if err := d.store.LockBlueprint(ctx, name); err != nil {
			return err
		}
		p, err := d.beginUpgrade(ctx, source, replace)
		if err != nil || p.result.Nothing() {
			done = p.orNil()
			return err
		}
		tenants, err := d.store.LockTenantsOn(ctx, name)
		if err != nil {
			return err
		}
		if err := p.look(ctx, d, tenants); err != nil {
			return err
		}
		if len(p.result.Problems) > 0 {
			return fault.New(fault.Denied, "version %d of %s can't take effect:\n%s", p.result.To, name, strings.Join(p.result.Problems, "\n")).WithCode("upgrade")
		}
		done = p.result
		return d.carryOut(ctx, p, source)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

func nameOf(source []byte) (string, error) {
	b, err := authz.Load(source)
	if err != nil {
		return "", err
	}
	return b.Name(), nil
}

// upgrade is one look at what an upgrade does.
type upgrade struct {
	earlier *authz.Blueprint // nil: there is none of that name
	later   *authz.Blueprint
	replace map[string]string
	removed []string // roles that later lacks
	result  *Upgrade
}

func (p *upgrade) orNil() *Upgrade {
	if p == nil {
		return nil
	}
	return p.result
}

func (d *Directory) beginUpgrade(ctx context.Context, source []byte, replace map[string]string) (*upgrade, error) {
	if authz.FromContext(ctx).Kind != authz.OperatorPrincipal {
		return nil, fault.New(fault.Denied, "only an operator changes a role system").WithCode("permission")
	}
	later, err := authz.Load(source)
	if err != nil {
		return nil, err
	}
	p := &upgrade{later: later, replace: replace, result: &Upgrade{Blueprint: later.Name(), To: later.Version()}}
	before, err := d.blueprints.Source(ctx, later.Name(), 0)
	if errors.Is(err, fault.Invalid) { // there is none of that name
		if len(replace) > 0 {
			return nil, fault.Field(fault.Invalid, "replace", "there is no blueprint %q yet whose roles could be replaced", later.Name())
		}
		return p, nil
	} else if err != nil {
		return nil, err
	}
	if p.earlier, err = authz.Load(before); err != nil {
		return nil, err
	}
	p.result.From = p.earlier.Version()
	switch {
	case p.result.To > p.result.From:
	case p.result.To == p.result.From && bytes.Equal(before, source):
		return p, nil
	case p.result.To == p.result.From:
		return nil, fault.Field(fault.Invalid, "version", "version %d of %s is in force with other contents: count the version up", p.result.To, later.Name())
	default:
		return nil, fault.Field(fault.Invalid, "version", "version %d of %s is in force, so the next is higher, not %d", p.result.From, later.Name(), p.result.To)
	}
	p.result.Roles, p.result.Changes = authz.Diff(p.earlier, later), authz.Changes(p.earlier, later)
	for _, role := range p.earlier.Roles() {
		if _, err := later.Role(role.Key); err != nil {
			p.removed = append(p.removed, role.Key)
		}
	}
	return p, p.checkReplacements()
}

// checkReplacements checks what was asked for, whoever holds the roles.
func (p *upgrade) checkReplacements() error {
	for _, old := range slices.Sorted(maps.Keys(p.replace)) {
		replacement := p.replace[old]
		if !slices.Contains(p.removed, old) {
			return fault.Field(fault.Invalid, "replace", "%q is no role that version %d lacks and version %d has", old, p.result.To, p.result.From)
		}
		if replacement == "" {
			continue
		}
		is, err := p.later.Role(replacement)
		if err != nil {
			return fault.Field(fault.Invalid, "replace", "%q can't replace %q: version %d has no such role", replacement, old, p.result.To)
		}
		was, err := p.earlier.Role(old)
		if err != nil {
			return err
		}
		switch {
		case is.Lifecycle != authz.Open:
			return fault.Field(fault.Invalid, "replace", "%q can't replace %q: it is %s and gains no new holders", replacement, old, is.Lifecycle)
		case is.Implicit:
			return fault.Field(fault.Invalid, "replace", "%q can't replace %q: everybody has it", replacement, old)
		case is.Resource != was.Resource:
			return fault.Field(fault.Invalid, "replace", "%q can't replace %q: one is held on a resource and the other is not, or on another kind", replacement, old)
		}
	}
	return nil
}

func (p *upgrade) problem(format string, args ...any) {
	p.result.Problems = append(p.result.Problems, fmt.Sprintf(format, args...))
}

func (p *upgrade) notice(format string, args ...any) {
	p.result.Notices = append(p.result.Notices, fmt.Sprintf(format, args...))
}

// look finds out what the upgrade does to each tenant.
func (p *upgrade) look(ctx context.Context, d *Directory, tenants []id.Tenant) error {
	for _, tenant := range tenants {
		t, err := d.store.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		holders, err := d.store.MembersWithRoles(ctx, tenant)
		if err != nil {
			return err
		}
		groups, err := d.store.GroupRoles(ctx, tenant)
		if err != nil {
			return err
		}
		accounts, err := d.store.ServiceAccounts(ctx, tenant)
		if err != nil {
			return err
		}
		tokens, err := d.store.TokenLists(ctx, tenant)
		if err != nil {
			return err
		}
		look := &tenantLook{
			upgrade: p, t: t, holders: holders, groups: groups, accounts: accounts, tokens: tokens,
			result: TenantUpgrade{Tenant: t.ID, Slug: t.Slug, Members: len(holders)},
		}
		look.movedRoles()
		look.parts()
		look.people()
		look.invariants()
		p.result.Tenants = append(p.result.Tenants, look.result)
	}
	return nil
}

// carryOut writes what was looked at. The tenants are locked.
func (d *Directory) carryOut(ctx context.Context, p *upgrade, source []byte) error {
	now, name, version := d.now(), p.later.Name(), p.later.Version()
	for _, t := range p.result.Tenants {
		if err := d.moveRoles(ctx, p, t, now); err != nil {
			return err
		}
	}
	if err := d.store.MoveTenants(ctx, name, version, now); err != nil {
		return err
	}
	next := BlueprintVersion{Name: name, Version: version, Source: source, InForce: true, Created: now}
	if err := d.store.ReplaceBlueprintVersion(ctx, next); err != nil {
		return err
	}
	return d.record(ctx, "", "blueprint.load", "blueprint", name, map[string]any{
		"from": p.result.From, "to": version, "replaced": p.replace, "tenants": len(p.result.Tenants),
	})
}

func (d *Directory) moveRoles(ctx context.Context, p *upgrade, t TenantUpgrade, now time.Time) error {
	accounts, err := d.store.ServiceAccounts(ctx, t.Tenant)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		if roles := p.rolesAfter(account.Roles); !slices.Equal(roles, account.Roles) {
			account.Roles = roles
			if err := d.store.SetServiceRoles(ctx, t.Tenant, account, now); err != nil {
				return err
			}
		}
	}
	for _, moved := range t.Moved {
		if err := d.store.MoveRole(ctx, t.Tenant, moved.Role, moved.Replacement); err != nil {
			return err
		}
	}
	return d.record(ctx, t.Tenant, "tenant.upgrade", "tenant", string(t.Tenant), map[string]any{
		"blueprint": p.later.Name(), "from": p.result.From, "to": p.result.To, "moved": t.Moved,
	})
}

// rolesAfter returns what becomes of roles.
func (p *upgrade) rolesAfter(roles []string) []string {
	after := make([]string, 0, len(roles))
	for _, role := range roles {
		if slices.Contains(p.removed, role) {
			role = p.replace[role]
		}
		if role != "" && !slices.Contains(after, role) {
			after = append(after, role)
		}
	}
	return after
}
