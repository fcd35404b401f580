package directory

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A SchemaSet is what a tenant adds to the schemas of RFC 7643.
type SchemaSet struct {
	Version int64 // goes up with every change; 0: the tenant has never added anything
	Schemas []*schema.Schema
	Types   []schema.Definition // those of its own, and the extensions of User and Group
}

// schemaCacheTime is how long a change of schemas by another node may go
// unnoticed here.
const schemaCacheTime = 2 * time.Second

// schemas keeps the tenants' registries compiled.
type schemas struct {
	core  *schema.Registry
	store Store
	now   func() time.Time

	mu      sync.Mutex // guards what follows
	tenants map[id.Tenant]compiled
	changes int // what was read before a change must not be kept after it
}

// compiled is a tenant's registry as it was read.
type compiled struct {
	version  int64
	registry *schema.Registry
	read     time.Time
}

// maxCompiled bounds how many registries are kept.
const maxCompiled = 10_000

// Schemas returns the schemas and resource types of the tenant: those of
// RFC 7643 with its own. For a tenant without any of its own it is the registry
// that the Directory was made with. A change by this process is in force at
// once, one by another within two seconds.
func (d *Directory) Schemas(ctx context.Context, tenant id.Tenant) (*schema.Registry, error) {
	c, err := d.schemas.of(ctx, tenant)
	return c.registry, err
}

func (s *schemas) of(ctx context.Context, tenant id.Tenant) (compiled, error) {
	s.mu.Lock()
	known, found := s.tenants[tenant]
	changes := s.changes
	s.mu.Unlock()
	now := s.now()
	if found && now.Before(known.read.Add(schemaCacheTime)) {
		return known, nil
	}
	version, err := s.store.SchemaVersion(ctx, tenant)
	if err != nil {
		return compiled{}, err
	}
	if !found || known.version != version {
		set := &SchemaSet{}
		if version != 0 {
			if set, err = s.store.SchemaSet(ctx, tenant); err != nil {
				return compiled{}, err
			}
		}
		if known, err = s.compile(set); err != nil {
			return compiled{}, err
		}
	}
	known.read = now
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == changes {
		if len(s.tenants) >= maxCompiled {
			clear(s.tenants)
		}
		s.tenants[tenant] = known
	}
	return known, nil
}

func (s *schemas) compile(set *SchemaSet) (compiled, error) {
	if set.Version == 0 {
		return compiled{registry: s.core}, nil
	}
	registry, err := s.core.Extend(set.Schemas, set.Types)
	return compiled{version: set.Version, registry: registry}, err
}

// forget makes what was read of the tenant's schemas be read again.
func (s *schemas) forget(tenant id.Tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tenants, tenant)
	s.changes++
}

// heldType returns a resource type of the tenant, nil if there is none, which
// nobody changes until the transaction in ctx ends. It is called before any row
// is locked: who changes schemas locks rows after them. It fails with
// fault.Throttled where another node has changed the schemas just now.
func (d *Directory) heldType(ctx context.Context, tenant id.Tenant, name string) (*schema.ResourceType, error) {
	c, err := d.schemas.of(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if c.version != 0 {
		held, err := d.store.HoldSchemas(ctx, tenant)
		if err != nil {
			return nil, err
		}
		if held != c.version {
			d.schemas.forget(tenant)
			return nil, &fault.Error{Kind: fault.Throttled, Detail: "the schemas of the tenant have just been changed; try again", RetryAfter: time.Second}
		}
	}
	t, _ := c.registry.ResourceType(name)
	return t, nil
}

// typeOf returns a resource type of the tenant as it is now; nil if there is none.
func (d *Directory) typeOf(ctx context.Context, tenant id.Tenant, name string) (*schema.ResourceType, error) {
	c, err := d.schemas.of(ctx, tenant)
	if err != nil {
		return nil, err
	}
	t, _ := c.registry.ResourceType(name)
	return t, nil
}

// derive returns what a resource is found by: its search twin, and its keys
// unless they are those of the profile before, which is nil for a new resource.
func derive(t *schema.ResourceType, before, after map[string]any) (search map[string]any, keys []schema.Key) {
	keys = t.Keys(after)
	switch {
	case before == nil:
	case reflect.DeepEqual(keys, t.Keys(before)):
		keys = nil
	case keys == nil:
		keys = []schema.Key{} // take away those that are there
	}
	return t.SearchDocument(after), keys
}
