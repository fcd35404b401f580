package scim

import (
	"context"
	"iter"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// kind is a type of resources, by what can be done with them. Identifiers are as
// clients write them: one that can't be an identifier is fault.NotFound.
type kind struct {
	t          *schema.ResourceType
	noun       string // for errors
	hasMembers bool   // the attribute members is kept apart, row by row

	// create takes over a validated document; nil: the resources are only read,
	// and there is no change and no remove either.
	create func(ctx context.Context, tenant id.Tenant, doc map[string]any) (*entity, error)
	read   func(ctx context.Context, tenant id.Tenant, resource string) (*entity, error)
	// change brings the resource to what change makes of its document. ifMatch is
	// the version that it must have, 0 for any.
	change func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64, change changeFunc) (*entity, error)
	remove func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64) error
	page   func(ctx context.Context, tenant id.Tenant, q directory.Query) (*directory.Page[*entity], error)
	// complete reads what the projection shows and the rows of the resources
	// don't have; nil: nothing.
	complete func(ctx context.Context, c client, p schema.Projection, entities []*entity) error
}

// changeFunc returns the next document, and the steps by which members change.
// It may be called more than once, and must not keep what it gets.
type changeFunc func(current map[string]any) (next map[string]any, members []directory.MemberChange, err error)

// entity is a resource of whatever kind.
type entity struct {
	id                string
	version           int64
	created, modified time.Time
	document          map[string]any                     // without id and meta; the entity's own
	members           iter.Seq2[directory.Member, error] // of a group, once it is complete; nil: none
}

// resource is the entity as the projection shows it.
func (k *kind) resource(c client, e *entity, p schema.Projection) (*resource, error) {
	location := c.base + k.t.Endpoint + "/" + e.id
	e.document["id"] = e.id
	if e.document["schemas"] == nil { // made by another way than SCIM, which says no schemas
		e.document["schemas"] = []any{k.t.Schema.ID}
	}
	e.document["meta"] = meta(k.t, e.created, e.modified, location, e.version)
	object, err := encode(p.Project(e.document))
	res := &resource{object: object, version: e.version, location: location}
	if k.hasMembers {
		res.members, res.view, res.base = e.members, viewOf(p), c.base
	}
	return res, err
}

// resources are the entities as the projection shows them.
func (k *kind) resources(ctx context.Context, c client, entities []*entity, p schema.Projection) ([]*resource, error) {
	if k.complete != nil {
		if err := k.complete(ctx, c, p, entities); err != nil {
			return nil, err
		}
	}
	resources := make([]*resource, len(entities))
	for i, e := range entities {
		var err error
		if resources[i], err = k.resource(c, e, p); err != nil {
			return nil, err
		}
	}
	return resources, nil
}

// pageOf is a page of rows as one of entities.
func pageOf[Row any](page *directory.Page[Row], err error, entityOf func(*Row) *entity) (*directory.Page[*entity], error) {
	if err != nil {
		return nil, err
	}
	entities := make([]*entity, len(page.Items))
	for i := range page.Items {
		entities[i] = entityOf(&page.Items[i])
	}
	return &directory.Page[*entity]{Items: entities, Last: page.Last, More: page.More, Total: page.Total}, nil
}
