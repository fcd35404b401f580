package directory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A ResourceChange is what became of a SCIM resource of a tenant.
type ResourceChange struct {
	Tenant     id.Tenant
	Type       string // the name of its resource type (RFC 7643 §6), such as User
	Definition *schema.ResourceType
	ID         string
	ExternalID string
	Op         ChangeOp
	Version    int64 // after the change; of a deleted resource its last one
	Time       time.Time

	Attributes []string       // of the top level that differ, sorted; an extension's by its URI
	Before     map[string]any // documents without id, meta, members and what is never returned, not to be changed; nil before it was made
	After      map[string]any // nil after it was deleted
	Members    []MemberChange // of a group, as they were asked for
}

// ChangeOp says what a change was.
type ChangeOp string

// What can become of a resource.
const (
	ChangeCreate  ChangeOp = "create"
	ChangePatch   ChangeOp = "patch"   // some attributes, by whatever way
	ChangeReplace ChangeOp = "replace" // the whole document, by PUT
	ChangeDelete  ChangeOp = "delete"
)

// Activated reports whether a user was switched on (on is true) or off by the
// change; changed is false where neither is the case.
func (c *ResourceChange) Activated() (on, changed bool) {
	if !slices.Contains(c.Attributes, attrActive) || c.Before == nil || c.After == nil {
		return false, false
	}
	was, _ := c.Before[attrActive].(bool)
	on, _ = c.After[attrActive].(bool)
	return on, on != was
}

// A Follower learns of the changes of resources, to tell others. What it writes
// joins the transaction of the change, and its failure undoes the change.
type Follower interface {
	// Follows reports whether it wants to hear of the tenant. It is asked with
	// every change and has to be cheap.
	Follows(ctx context.Context, tenant id.Tenant) (bool, error)
	ResourceChanged(ctx context.Context, change *ResourceChange) error
}

type (
	observerKey  struct{}
	replacingKey struct{}
)

// WithObserver returns a context under which observe is called with each change
// of a resource, before the change commits and without a part in its outcome.
func WithObserver(ctx context.Context, observe func(*ResourceChange)) context.Context {
	return context.WithValue(ctx, observerKey{}, observe)
}

// Replacing returns a context under which changes come from documents that
// replace the whole resource.
func Replacing(ctx context.Context) context.Context {
	return context.WithValue(ctx, replacingKey{}, true)
}

// followed reports whether changes in the tenant have to be told to anybody in
// their transaction.
func (d *Directory) followed(ctx context.Context, tenant id.Tenant) (bool, error) {
	for _, f := range d.followers {
		if follows, err := f.Follows(ctx, tenant); follows || err != nil {
			return follows, err
		}
	}
	return false, nil
}

// changed tells the observer and the followers of a change.
func (d *Directory) changed(ctx context.Context, change *ResourceChange) error {
	change.Time = d.now()
	if change.Op == ChangePatch && ctx.Value(replacingKey{}) != nil {
		change.Op = ChangeReplace
	}
	if observe, ok := ctx.Value(observerKey{}).(func(*ResourceChange)); ok {
		observe(change)
	}
	for _, f := range d.followers {
		follows, err := f.Follows(ctx, change.Tenant)
		if err != nil {
			return err
		}
		if !follows {
			continue
		}
		if err := f.ResourceChanged(ctx, change); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is a resource at one side of a change.
type snapshot struct {
	tenant         id.Tenant
	id, externalID string
	version        int64
	document       map[string]any
}

func (m *Membership) snapshot() *snapshot {
	return &snapshot{m.Tenant, string(m.ID), m.ExternalID, m.Version, m.Document()}
}

func (g *Group) snapshot() *snapshot {
	return &snapshot{g.Tenant, string(g.ID), g.ExternalID, g.Version, g.Document()}
}

// changedFrom tells of a change of a resource: before is nil if it is new, after
// if it is gone. It is called in the transaction, once all is written.
func (d *Directory) changedFrom(ctx context.Context, resourceType string, before, after *snapshot, members []MemberChange) error {
	if ctx.Value(observerKey{}) == nil && len(d.followers) == 0 {
		return nil
	}
	change := &ResourceChange{Type: resourceType, Op: ChangePatch, Members: members}
	schemas, err := d.schemas.of(ctx, cmp.Or(after, before).tenant)
	if err != nil {
		return err
	}
	change.Definition, _ = schemas.registry.ResourceType(resourceType)
	last := after
	switch {
	case before == nil:
		change.Op, change.After = ChangeCreate, after.document
	case after == nil:
		change.Op, change.Before, last = ChangeDelete, before.document, before
	default:
		change.Before, change.After = before.document, after.document
	}
	change.Tenant, change.ID, change.ExternalID, change.Version = last.tenant, last.id, last.externalID, last.version
	if schemas.version != 0 && change.Definition != nil {
		change.Before, change.After = change.Definition.Shareable(change.Before), change.Definition.Shareable(change.After)
	}
	change.Attributes = differences(change.Before, change.After)
	if len(members) > 0 {
		change.Attributes = union(change.Attributes, []string{attrMembers})
	}
	if len(change.Attributes) == 0 && change.Op == ChangePatch {
		return nil
	}
	return d.changed(ctx, change)
}

// Names of resource types (RFC 7643 §4).
const (
	typeUser  = "User"
	typeGroup = "Group"
)
