package directory

import (
	"context"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// Directory applies the rules. Make one with New; it is safe for concurrent use.
type Directory struct {
	store       Store
	holdings    Holdings
	passwords   Passwords
	blueprints  *Blueprints
	rights      *Rights
	user        *schema.ResourceType
	group       *schema.ResourceType
	connections *otter.Cache[connectionKey, *Connection]
	now         func() time.Time
}

// Deps is what a Directory works with. All fields are required.
type Deps struct {
	Store      Store
	Holdings   Holdings
	Passwords  Passwords
	Blueprints *Blueprints
	Schemas    *schema.Registry // must have the resource types User and Group
	Now        func() time.Time
}

// New returns a Directory.
func New(d Deps) (*Directory, error) {
	user, hasUser := d.Schemas.ResourceType("User")
	group, hasGroup := d.Schemas.ResourceType("Group")
	if !hasUser || !hasGroup {
		return nil, fmt.Errorf("directory: the schemas lack the resource type User or Group")
	}
	connections, err := otter.New(&otter.Options[connectionKey, *Connection]{
		MaximumSize: maxConnections, ExpiryCalculator: otter.ExpiryWriting[connectionKey, *Connection](connectionCacheTime),
	})
	if err != nil {
		return nil, fmt.Errorf("directory: cache of connections: %w", err)
	}
	return &Directory{
		connections: connections,
		store:       d.Store, holdings: d.Holdings, passwords: d.Passwords, blueprints: d.Blueprints,
		rights: NewRights(d.Store, d.Blueprints),
		user:   user, group: group,
		// The precision of the databases, so that what is returned is what is read back.
		now: func() time.Time { return d.Now().UTC().Truncate(time.Microsecond) },
	}, nil
}

// record writes an event of the tenant in the transaction of ctx.
func (d *Directory) record(ctx context.Context, tenant id.Tenant, action, targetKind, targetID string, data map[string]any) error {
	return d.store.AppendEvent(ctx, audit.New(ctx, d.now(), tenant, action, targetKind, targetID, data))
}

// blueprint returns the role system of a tenant.
func (d *Directory) blueprint(ctx context.Context, tenant id.Tenant) (*authz.Blueprint, error) {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
}

// keepHolders runs change and then checks the blueprint's invariants on who
// holds what, on the state after it and whoever acts. It holds the lock of the
// tenant from before the first count, so that two changes that are each
// harmless can't both pass. Callers that also lock a membership or a group do
// so before. A change that repairs nothing but breaks nothing either may pass:
// only one that makes a count worse is refused, with fault.Denied and the code
// last_holder, max_holders or last_member.
func (d *Directory) keepHolders(ctx context.Context, tenant id.Tenant, change func(ctx context.Context) error) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.store.LockTenant(ctx, tenant); err != nil {
			return err
		}
		blueprint, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		rules := blueprint.HolderRules()
		before, err := d.countHolders(ctx, tenant, rules)
		if err != nil {
			return err
		}
		if err := change(ctx); err != nil {
			return err
		}
		after, err := d.countHolders(ctx, tenant, rules)
		if err != nil {
			return err
		}
		for i, rule := range rules {
			if err := checkHolders(rule, before[i], after[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *Directory) countHolders(ctx context.Context, tenant id.Tenant, rules []authz.HolderRule) ([]int, error) {
	counts := make([]int, len(rules))
	for i, rule := range rules {
		var err error
		if rule.Rule == authz.MinMembers {
			counts[i], err = d.store.CountMembers(ctx, tenant)
		} else {
			counts[i], err = d.store.CountHolders(ctx, tenant, rule.Roles)
		}
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

func checkHolders(rule authz.HolderRule, before, after int) error {
	switch {
	case rule.Rule == authz.MinHolders && after < rule.N && after < before:
		return fault.New(fault.Denied, "the tenant would be left with %d of the at least %d active members who must hold %v", after, rule.N, rule.Roles).WithCode("last_holder")
	case rule.Rule == authz.MinMembers && after < rule.N && after < before:
		return fault.New(fault.Denied, "the tenant would be left with %d of at least %d active members", after, rule.N).WithCode("last_member")
	case rule.Rule == authz.MaxHolders && after > rule.N && after > before:
		return fault.New(fault.Denied, "%d members would hold %v, at most %d may", after, rule.Roles, rule.N).WithCode("max_holders")
	default:
		return nil
	}
}
