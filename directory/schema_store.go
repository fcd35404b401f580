package directory

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// SchemaStore keeps what tenants add to the schemas of SCIM.
type SchemaStore interface {
	// SchemaVersion is asked often; it is 0 for a tenant that has added nothing.
	SchemaVersion(ctx context.Context, tenant id.Tenant) (int64, error)
	// HoldSchemas returns the version, which stays until the transaction ends.
	HoldSchemas(ctx context.Context, tenant id.Tenant) (int64, error)
	// AdvanceSchemas counts the version up, once nobody holds it.
	AdvanceSchemas(ctx context.Context, tenant id.Tenant) error
	SchemaSet(ctx context.Context, tenant id.Tenant) (*SchemaSet, error)
	PutSchema(ctx context.Context, tenant id.Tenant, s *schema.Schema, now time.Time) error
	DeleteSchema(ctx context.Context, tenant id.Tenant, uri string) error
	PutResourceType(ctx context.Context, tenant id.Tenant, definition schema.Definition, now time.Time) error
	DeleteResourceType(ctx context.Context, tenant id.Tenant, name string) error
	// CountValues counts the resources of a type, User and Group included, that
	// have a value at the place in their profile: the keys of objects on the way.
	// Of the arrays on the way any value counts. Without a place it counts all.
	CountValues(ctx context.Context, tenant id.Tenant, typeName string, place []string) (int, error)
	// Profiles returns at most limit resources of the type behind the given id.
	Profiles(ctx context.Context, tenant id.Tenant, typeName, after string, limit int) ([]Profile, error)
	// Reindex stores the search twin and the keys of a resource anew; it is no
	// change of the resource. It fails with fault.Conflict on a unique key.
	Reindex(ctx context.Context, tenant id.Tenant, typeName, resource string, search map[string]any, keys []schema.Key) error
}

// A Profile is what a resource of whatever type holds beside its columns.
type Profile struct {
	ID       string
	Document map[string]any
}

// CustomResourceStore keeps resources of the tenants' own types.
type CustomResourceStore interface {
	// CreateCustomResource fails with fault.Conflict on a unique key.
	CreateCustomResource(ctx context.Context, r *CustomResource) error
	CustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource) (*CustomResource, error)
	// UpdateCustomResource works as UpdateMembership does.
	UpdateCustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource, change func(*CustomResource) error) (*CustomResource, error)
	DeleteCustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource) error
	CustomResources(ctx context.Context, tenant id.Tenant, t *schema.ResourceType, query Query) (*Page[CustomResource], error)
}
