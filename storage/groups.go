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

// groupRow is a row of the table groups.
type groupRow struct {
	TenantID       string `gorm:"primaryKey"`
	ID             string `gorm:"primaryKey"`
	DisplayName    string
	DisplayNameKey string
	ExternalID     *string
	Profile        string
	Search         string
	Version        int64
	CreatedAt      time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt     time.Time
}

// TableName implements gorm's Tabler.
func (*groupRow) TableName() string { return "groups" }

func groupRowOf(g *directory.Group) (groupRow, error) {
	profile, search, err := encodeDocuments(g.Profile, g.Search)
	return groupRow{
		TenantID: string(g.Tenant), ID: string(g.ID), DisplayName: g.DisplayName, DisplayNameKey: schema.Fold(g.DisplayName),
		ExternalID: orNull(g.ExternalID), Profile: profile, Search: search, Version: g.Version,
		CreatedAt: at(g.Created), ModifiedAt: at(g.Modified),
	}, err
}

// group is the inverse of groupRowOf, but for Search, which nobody reads back.
func (r *groupRow) group() (*directory.Group, error) {
	g := &directory.Group{
		Tenant: id.Tenant(r.TenantID), ID: id.Group(r.ID), DisplayName: r.DisplayName, ExternalID: orEmpty(r.ExternalID),
		Version: r.Version, Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	return g, decode(r.Profile, &g.Profile)
}

// groupColumns are those that groupRow.group reads.
const groupColumns = `tenant_id, id, display_name, external_id, profile, version, created_at, modified_at`

// into is where the values of groupColumns go.
func (r *groupRow) into() []any {
	return []any{&r.TenantID, &r.ID, &r.DisplayName, &r.ExternalID, &r.Profile, &r.Version, &r.CreatedAt, &r.ModifiedAt}
}

// CreateGroup implements directory.GroupStore.
func (s *Store) CreateGroup(ctx context.Context, g *directory.Group) error {
	g.Version = 1
	row, err := groupRowOf(g)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, g.Tenant, groupResource().name, string(g.ID), g.Keys, func(ctx context.Context) error {
		return classify(s.conn(ctx).Create(&row).Error, "id")
	})
}

// Group implements directory.GroupStore.
func (s *Store) Group(ctx context.Context, tenant id.Tenant, group id.Group) (*directory.Group, error) {
	return takeGroup(s.conn(ctx).Where("tenant_id = ? AND id = ?", tenant, group))
}

func takeGroup(query *gorm.DB) (*directory.Group, error) {
	var row groupRow
	if err := query.Select(groupColumns).Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.group()
}

// UpdateGroup implements directory.GroupStore.
func (s *Store) UpdateGroup(ctx context.Context, tenant id.Tenant, group id.Group, change func(ctx context.Context, g *directory.Group) error) (*directory.Group, error) {
	var g *directory.Group
	err := s.InTx(ctx, func(ctx context.Context) error {
		var err error
		if g, err = takeGroup(s.locked(ctx).Where("tenant_id = ? AND id = ?", tenant, group)); err != nil {
			return err
		}
		if err := change(ctx, g); err != nil {
			return err
		}
		g.Version++
		row, err := groupRowOf(g)
		if err != nil {
			return err
		}
		if err := s.conn(ctx).Select("*").Where("tenant_id = ? AND id = ?", tenant, group).Updates(&row).Error; err != nil {
			return classify(err, "id")
		}
		return s.replaceKeys(ctx, tenant, groupResource().name, string(group), g.Keys)
	})
	if err != nil && !errors.Is(err, directory.ErrUnchanged) {
		return nil, err
	}
	return g, nil
}

// DeleteGroup implements directory.GroupStore. Role mappings of the group wait
// for another group of its name.
func (s *Store) DeleteGroup(ctx context.Context, tenant id.Tenant, group id.Group) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		db := s.conn(ctx)
		if err := db.Exec("UPDATE group_roles SET group_id = NULL WHERE tenant_id = ? AND group_id = ?", tenant, group).Error; err != nil {
			return classify(err, "")
		}
		if err := db.Exec("DELETE FROM group_members WHERE tenant_id = ? AND member_id = ?", tenant, group).Error; err != nil {
			return classify(err, "")
		}
		if err := s.deleteKeys(ctx, tenant, groupResource().name, string(group)); err != nil {
			return err
		}
		deleted := db.Exec("DELETE FROM groups WHERE tenant_id = ? AND id = ?", tenant, group)
		if deleted.Error == nil && deleted.RowsAffected == 0 {
			return classify(gorm.ErrRecordNotFound, "")
		}
		return classify(deleted.Error, "")
	})
}

// Groups implements directory.GroupStore.
func (s *Store) Groups(ctx context.Context, tenant id.Tenant, query directory.Query) (*directory.Page[directory.Group], error) {
	return list(ctx, s, tenant, query, groupResource(), (*groupRow).group)
}
