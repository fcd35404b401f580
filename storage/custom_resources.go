package storage

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// customResourceRow is a row of the table scim_resources.
type customResourceRow struct {
	TenantID   string `gorm:"primaryKey"`
	Type       string `gorm:"primaryKey"`
	ID         string `gorm:"primaryKey"`
	ExternalID *string
	Profile    string
	Search     string
	Version    int64
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt time.Time
}

// TableName implements gorm's Tabler.
func (*customResourceRow) TableName() string { return "scim_resources" }

func customResourceRowOf(r *directory.CustomResource) (customResourceRow, error) {
	profile, search, err := encodeDocuments(r.Profile, r.Search)
	return customResourceRow{
		TenantID: string(r.Tenant), Type: r.Type, ID: string(r.ID), ExternalID: orNull(r.ExternalID),
		Profile: profile, Search: search, Version: r.Version, CreatedAt: at(r.Created), ModifiedAt: at(r.Modified),
	}, err
}

// resource is the inverse of customResourceRowOf, but for Search, which nobody
// reads back.
func (r *customResourceRow) resource() (*directory.CustomResource, error) {
	c := &directory.CustomResource{
		Tenant: id.Tenant(r.TenantID), Type: r.Type, ID: id.Resource(r.ID), ExternalID: orEmpty(r.ExternalID),
		Version: r.Version, Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	return c, decode(r.Profile, &c.Profile)
}

// customResourceColumns are those that customResourceRow.resource reads.
const customResourceColumns = `tenant_id, type, id, external_id, profile, version, created_at, modified_at`

// into is where the values of customResourceColumns go.
func (r *customResourceRow) into() []any {
	return []any{&r.TenantID, &r.Type, &r.ID, &r.ExternalID, &r.Profile, &r.Version, &r.CreatedAt, &r.ModifiedAt}
}

// CreateCustomResource implements directory.CustomResourceStore.
func (s *Store) CreateCustomResource(ctx context.Context, r *directory.CustomResource) error {
	r.Version = 1
	row, err := customResourceRowOf(r)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, r.Tenant, r.Type, string(r.ID), r.Keys, func(ctx context.Context) error {
		return classify(s.conn(ctx).Create(&row).Error, "id")
	})
}

// CustomResource implements directory.CustomResourceStore.
func (s *Store) CustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource) (*directory.CustomResource, error) {
	return takeCustomResource(s.conn(ctx).Where("tenant_id = ? AND type = ? AND id = ?", tenant, typeName, resource))
}

func takeCustomResource(query *gorm.DB) (*directory.CustomResource, error) {
	var row customResourceRow
	if err := query.Select(customResourceColumns).Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.resource()
}

// UpdateCustomResource implements directory.CustomResourceStore.
func (s *Store) UpdateCustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource, change func(*directory.CustomResource) error) (*directory.CustomResource, error) {
	var r *directory.CustomResource
	err := s.InTx(ctx, func(ctx context.Context) error {
		const one = "tenant_id = ? AND type = ? AND id = ?"
		var err error
		if r, err = takeCustomResource(s.locked(ctx).Where(one, tenant, typeName, resource)); err != nil {
			return err
		}
		if err := change(r); err != nil {
			return err
		}
		r.Version++
		row, err := customResourceRowOf(r)
		if err != nil {
			return err
		}
		if err := s.conn(ctx).Select("*").Where(one, tenant, typeName, resource).Updates(&row).Error; err != nil {
			return classify(err, "id")
		}
		return s.replaceKeys(ctx, tenant, typeName, string(resource), r.Keys)
	})
	if err != nil && !errors.Is(err, directory.ErrUnchanged) {
		return nil, err
	}
	return r, nil
}

// DeleteCustomResource implements directory.CustomResourceStore.
func (s *Store) DeleteCustomResource(ctx context.Context, tenant id.Tenant, typeName string, resource id.Resource) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.deleteKeys(ctx, tenant, typeName, string(resource)); err != nil {
			return err
		}
		deleted := s.conn(ctx).Exec("DELETE FROM scim_resources WHERE tenant_id = ? AND type = ? AND id = ?", tenant, typeName, resource)
		if deleted.Error == nil && deleted.RowsAffected == 0 {
			return classify(gorm.ErrRecordNotFound, "")
		}
		return classify(deleted.Error, "")
	})
}

// CustomResources implements directory.CustomResourceStore.
func (s *Store) CustomResources(ctx context.Context, tenant id.Tenant, t *schema.ResourceType, query directory.Query) (*directory.Page[directory.CustomResource], error) {
	return list(ctx, s, tenant, query, customResource(t.Name, t.Schema.ID), (*customResourceRow).resource)
}
