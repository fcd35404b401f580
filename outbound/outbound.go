package outbound

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cache"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/scim/schema"
)

// Deps is what New needs. All fields but Look are required.
type Deps struct {
	Store  Store
	Rights *directory.Rights
	// Definition returns a resource type of a tenant.
	Definition func(ctx context.Context, tenant id.Tenant, kind Kind) (*schema.ResourceType, error)
	Dial       Dial
	// Private says that targets may be at addresses that are not of the public
	// Internet, and at loopback addresses without TLS.
	Private bool
	Keyring *secret.Keyring
	Now     func() time.Time
	Logger  *slog.Logger
	Look    time.Duration // how often the worker looks for what is to be done; default one second
}

// Outbound manages targets, notes what changes, and brings targets up to date
// while Run runs. Make one with New; it is safe for concurrent use.
type Outbound struct {
	Deps
	targets *cache.Recent[id.Tenant, []Target]
}

var _ directory.Follower = (*Outbound)(nil)

// New returns an Outbound.
func New(d Deps) (*Outbound, error) {
	targets, err := cache.NewRecent[id.Tenant, []Target]()
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	if d.Look == 0 {
		d.Look = look
	}
	return &Outbound{Deps: d, targets: targets}, nil
}

func (o *Outbound) now() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }

// known returns the targets of the tenant.
func (o *Outbound) known(ctx context.Context, tenant id.Tenant) ([]Target, error) {
	return o.targets.Get(tenant, func() ([]Target, error) { return o.Store.ProvisioningTargets(ctx, tenant) })
}

// Follows implements directory.Follower.
func (o *Outbound) Follows(ctx context.Context, tenant id.Tenant) (bool, error) {
	targets, err := o.known(ctx, tenant)
	return len(targets) > 0, err
}

// ResourceChanged implements directory.Follower. It says which resource has
// changed, not what: that is looked up when it is sent.
func (o *Outbound) ResourceChanged(ctx context.Context, change *directory.ResourceChange) error {
	kind := Kind(change.Type)
	if kind != User && kind != Group {
		return nil
	}
	targets, err := o.known(ctx, change.Tenant)
	if err != nil {
		return err
	}
	for i := range targets {
		t := &targets[i]
		note := func(kind Kind, resources ...string) error {
			return o.Store.Note(ctx, t.Tenant, t.ID, kind, resources, change.Time)
		}
		if kind == User || t.pushesGroup(id.Group(change.ID)) {
			if err := note(kind, change.ID); err != nil {
				return err
			}
		}
		if kind == User || t.People.Scope == AllPeople {
			continue
		}
		people, known := movedBy(change)
		if !known {
			err = note(Scan, "")
		} else if len(people) > 0 {
			err = note(User, people...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) pushesGroup(group id.Group) bool {
	return t.Groups.Scope == AllGroups || t.Groups.Scope == ChosenGroups && slices.Contains(t.Groups.Groups, group)
}

// maxMoved is how many people a change of a group may name before all are
// compared instead.
const maxMoved = 500

// movedBy returns the members who have come to a group or left it, if the change
// tells; they may be groups.
func movedBy(change *directory.ResourceChange) (people []string, known bool) {
	if change.Op == directory.ChangeDelete {
		return nil, false
	}
	for _, step := range change.Members {
		if step.Op != directory.AddMembers && step.Op != directory.RemoveMembers && change.Op != directory.ChangeCreate {
			return nil, false
		}
		people = append(people, step.IDs...)
	}
	if len(people) > maxMoved {
		return nil, false
	}
	slices.Sort(people)
	return slices.Compact(people), true
}

// maxRoles is how many roles a member of the tenant can have, 0 for no bound. It
// decides who holds a role that several groups offer.
func (o *Outbound) maxRoles(ctx context.Context, t *Target) (int, error) {
	if t.People.Scope != WithRoles {
		return 0, nil
	}
	blueprint, err := o.Rights.Blueprint(ctx, t.Tenant)
	if err != nil {
		return 0, err
	}
	_, most := blueprint.RoleBounds()
	return most, nil
}
