package directory

import (
	"context"
	"maps"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A CustomResource is one of a type that the tenant has made itself (RFC 7643 §6). The
// product knows nothing of it but its schema.
type CustomResource struct {
	Tenant     id.Tenant
	Type       string // the name of the resource type
	ID         id.Resource
	ExternalID string
	Profile    map[string]any // the other SCIM attributes
	Search     map[string]any // the twin that filters compare with
	Keys       []schema.Key   // where they are stored: nil leaves those that are there
	Version    int64
	Created    time.Time
	Modified   time.Time
}

// Document returns the resource as SCIM shows it, without id and meta. The
// caller may change it.
func (r *CustomResource) Document() map[string]any {
	doc := maps.Clone(r.Profile)
	if doc == nil {
		doc = map[string]any{}
	}
	if r.ExternalID != "" {
		doc[attrExternalID] = r.ExternalID
	}
	return doc
}

func (r *CustomResource) setDocument(doc map[string]any) {
	profile := maps.Clone(doc)
	r.ExternalID, _ = profile[attrExternalID].(string)
	for _, kept := range []string{attrExternalID, "id", "meta"} {
		delete(profile, kept)
	}
	r.Profile = profile
}

func (r *CustomResource) snapshot() *snapshot {
	return &snapshot{r.Tenant, string(r.ID), r.ExternalID, r.Version, r.Document()}
}

// CreateCustomResource adds a resource of one of the tenant's own types as a directory
// describes it: doc has been validated by scim/schema. It fails with
// fault.Conflict on an attribute that must be unique.
func (d *Directory) CreateCustomResource(ctx context.Context, tenant id.Tenant, typeName string, doc map[string]any) (*CustomResource, error) {
	now := d.now()
	r := &CustomResource{Tenant: tenant, Type: typeName, ID: id.New[id.Resource](), Created: now, Modified: now}
	r.setDocument(doc)
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		t, err := d.ownType(ctx, tenant, typeName)
		if err != nil {
			return err
		}
		if err := d.checkReferences(ctx, tenant, t, nil, r.Profile); err != nil {
			return err
		}
		r.Search, r.Keys = derive(t, nil, r.Profile)
		return d.admitResource(ctx, tenant, func(ctx context.Context) error {
			if err := d.store.CreateCustomResource(ctx, r); err != nil {
				return err
			}
			if err := d.changedFrom(ctx, typeName, nil, r.snapshot(), nil); err != nil {
				return err
			}
			return d.record(ctx, tenant, "resource.create", typeName, string(r.ID), nil)
		})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// CustomResource returns one resource of the type, or fault.NotFound.
func (d *Directory) CustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource) (*CustomResource, error) {
	return d.store.CustomResource(ctx, tenant, typeName, resource)
}

// CustomResources returns a page of the tenant's resources of a type of its own.
func (d *Directory) CustomResources(ctx context.Context, tenant id.Tenant, t *schema.ResourceType, query Query) (*Page[CustomResource], error) {
	return d.store.CustomResources(ctx, tenant, t, query)
}

// ChangeCustomResource replaces the document of a resource as ChangeMembership does.
func (d *Directory) ChangeCustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource, ifMatch int64, change func(doc map[string]any) (map[string]any, error)) (*CustomResource, error) {
	var changed *CustomResource
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		t, err := d.ownType(ctx, tenant, typeName)
		if err != nil {
			return err
		}
		return d.admitResource(ctx, tenant, func(ctx context.Context) error {
			var before *snapshot
			var fields []string
			changed, err = d.store.UpdateCustomResource(ctx, tenant, typeName, resource, func(r *CustomResource) error {
				if err := checkVersion(ifMatch, r.Version); err != nil {
					return err
				}
				before = r.snapshot()
				old := r.Profile
				doc, err := change(r.Document())
				if err != nil {
					return err
				}
				r.setDocument(doc)
				if fields = differences(before.document, r.Document()); len(fields) == 0 {
					return ErrUnchanged
				}
				r.Search, r.Keys = derive(t, old, r.Profile)
				r.Modified = d.now()
				return d.checkReferences(ctx, tenant, t, old, r.Profile)
			})
			if err != nil || len(fields) == 0 {
				return err
			}
			if err := d.changedFrom(ctx, typeName, before, changed.snapshot(), nil); err != nil {
				return err
			}
			return d.record(ctx, tenant, "resource.update", typeName, string(resource), map[string]any{"fields": fields})
		})
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// DeleteCustomResource removes a resource of a type of the tenant's own.
func (d *Directory) DeleteCustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource, ifMatch int64) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		return d.admitResource(ctx, tenant, func(ctx context.Context) error {
			r, err := d.store.UpdateCustomResource(ctx, tenant, typeName, resource, func(r *CustomResource) error {
				if err := checkVersion(ifMatch, r.Version); err != nil {
					return err
				}
				return ErrUnchanged // only its lock is needed
			})
			if err != nil {
				return err
			}
			if err := d.store.DeleteCustomResource(ctx, tenant, typeName, resource); err != nil {
				return err
			}
			if err := d.changedFrom(ctx, typeName, r.snapshot(), nil, nil); err != nil {
				return err
			}
			return d.record(ctx, tenant, "resource.delete", typeName, string(resource), nil)
		})
	})
}

// admitResource writes a change of a resource that gives nobody anything. A
// directory's is free; a person needs what changing a group without roles needs.
func (d *Directory) admitResource(ctx context.Context, tenant id.Tenant, write func(ctx context.Context) error) error {
	if fromDirectory(ctx, tenant) {
		return write(ctx)
	}
	return d.admitMany(ctx, massChange{tenant: tenant, operation: authz.OpUpdate, write: write})
}

// ownType returns a type of the tenant's own as it stays until the transaction
// in ctx ends.
func (d *Directory) ownType(ctx context.Context, tenant id.Tenant, name string) (*schema.ResourceType, error) {
	t, err := d.heldType(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fault.New(fault.NotFound, "there is no resource type %s", name)
	}
	return t, nil
}
