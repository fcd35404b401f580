package directory

import (
	"context"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// Directory applies the rules. Make one with New; it is safe for concurrent use.
type Directory struct {
	store       Store
	holdings    Holdings
	accounts    Accounts
	passwords   Passwords
	credentials Credentials
	blueprints  *Blueprints
	rights      *Rights
	schemas     *schemas
	connections *connectionCache
	followers   []Follower
	now         func() time.Time
}

// Deps is what a Directory works with. All fields but Credentials and Followers
// are required.
type Deps struct {
	Store     Store
	Holdings  Holdings
	Accounts  Accounts
	Passwords Passwords
	// Credentials is nil where nobody signs in.
	Credentials Credentials

	Rights    *Rights          // the instance's one: it keeps tenants and role systems compiled
	Schemas   *schema.Registry // what every tenant has; must have the resource types User and Group
	Followers []Follower
	Now       func() time.Time
}

// New returns a Directory.
func New(d Deps) (*Directory, error) {
	_, hasUser := d.Schemas.ResourceType(typeUser)
	_, hasGroup := d.Schemas.ResourceType(typeGroup)
	if !hasUser || !hasGroup {
		return nil, fmt.Errorf("directory: the schemas lack the resource type User or Group")
	}
	connections, err := newConnectionCache()
	if err != nil {
		return nil, fmt.Errorf("directory: cache of connections: %w", err)
	}
	// The precision of the databases, so that what is returned is what is read back.
	now := func() time.Time { return d.Now().UTC().Truncate(time.Microsecond) }
	if d.Credentials == nil {
		d.Credentials = noCredentials{}
	}
	return &Directory{
		credentials: d.Credentials,
		connections: connections, followers: d.Followers,
		store: d.Store, holdings: d.Holdings, accounts: d.Accounts, passwords: d.Passwords, blueprints: d.Rights.blueprints,
		rights:  d.Rights,
		schemas: &schemas{core: d.Schemas, store: d.Store, now: now, tenants: map[id.Tenant]compiled{}},
		now:     now,
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
