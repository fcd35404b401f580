package storage

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

var _ directory.Store = (*Store)(nil)

// tenantRow is a row of the table tenants.
type tenantRow struct {
	ID               string `gorm:"primaryKey"`
	Slug             string
	Name             string
	Blueprint        string
	BlueprintVersion int
	ContactID        string
	DefaultRole      string
	Type             string
	Tier             string
	Status           string
	Policy           string
	Version          int64
	CreatedAt        time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt       time.Time
}

// TableName implements gorm's Tabler.
func (tenantRow) TableName() string { return "tenants" }

func tenantRowOf(t *directory.Tenant) (tenantRow, error) {
	policy, err := encode(t.Policy)
	return tenantRow{
		ID: string(t.ID), Slug: t.Slug, Name: t.Name, Blueprint: t.Blueprint, BlueprintVersion: t.BlueprintVersion, ContactID: string(t.Contact), DefaultRole: t.DefaultRole, Type: t.Type, Tier: t.Tier,
		Status: t.Status, Policy: policy, Version: t.Version, CreatedAt: at(t.Created), ModifiedAt: at(t.Modified),
	}, err
}

// CreateTenant implements directory.TenantStore.
func (s *Store) CreateTenant(ctx context.Context, t *directory.Tenant) error {
	t.Version = 1
	row, err := tenantRowOf(t)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := classify(s.conn(ctx).Create(&row).Error, "slug"); err != nil {
			return err
		}
		return s.replaceTenantParts(ctx, t)
	})
}

// UpdateTenant implements directory.TenantStore.
func (s *Store) UpdateTenant(ctx context.Context, tenant id.Tenant, change func(*directory.Tenant) error) (*directory.Tenant, error) {
	var t *directory.Tenant
	err := s.InTx(ctx, func(ctx context.Context) error {
		if err := s.LockTenant(ctx, tenant); err != nil {
			return err
		}
		var err error
		if t, err = s.Tenant(ctx, tenant); err != nil {
			return err
		}
		if err := change(t); err != nil {
			return err
		}
		t.Version++
		row, err := tenantRowOf(t)
		if err != nil {
			return err
		}
		if err := classify(s.conn(ctx).Select("*").Where("id = ?", tenant).Updates(&row).Error, "slug"); err != nil {
			return err
		}
		return s.replaceTenantParts(ctx, t)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// replaceTenantParts makes the rows beside the tenant's own say what t says.
func (s *Store) replaceTenantParts(ctx context.Context, t *directory.Tenant) error {
	db := s.conn(ctx)
	for _, table := range []string{"tenant_relations", "tenant_entitlements", "tenant_domains"} {
		if err := db.Exec("DELETE FROM "+table+" WHERE tenant_id = ?", t.ID).Error; err != nil {
			return classify(err, "")
		}
	}
	for relation, parent := range t.Relations {
		if err := db.Exec("INSERT INTO tenant_relations (tenant_id, relation, parent_id) VALUES (?, ?, ?)", t.ID, relation, parent).Error; err != nil {
			return classify(err, "relations")
		}
	}
	for _, e := range t.Entitlements {
		if err := db.Exec("INSERT INTO tenant_entitlements (tenant_id, key, source, giver_id, grantable) VALUES (?, ?, ?, ?, ?)",
			t.ID, e.Key, e.Source, e.Giver, e.Grantable).Error; err != nil {
			return classify(err, "entitlements")
		}
	}
	for _, domain := range t.Domains {
		if err := db.Exec("INSERT INTO tenant_domains (tenant_id, domain, verified_at) VALUES (?, ?, ?)", t.ID, domain, at(t.Modified)).Error; err != nil {
			return classify(err, "domains")
		}
	}
	return nil
}

// Tenant implements directory.TenantStore.
func (s *Store) Tenant(ctx context.Context, tenant id.Tenant) (*directory.Tenant, error) {
	return s.loadTenant(ctx, s.conn(ctx).Where("id = ?", tenant))
}

// TenantByName implements directory.TenantStore.
func (s *Store) TenantByName(ctx context.Context, slugOrID string) (*directory.Tenant, error) {
	return s.loadTenant(ctx, s.conn(ctx).Where("slug = ? OR id = ?", slugOrID, slugOrID))
}

func (s *Store) loadTenant(ctx context.Context, query *gorm.DB) (*directory.Tenant, error) {
	var row tenantRow
	if err := query.Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	t := &directory.Tenant{
		ID: id.Tenant(row.ID), Slug: row.Slug, Name: row.Name, Blueprint: row.Blueprint, BlueprintVersion: row.BlueprintVersion, Contact: id.Membership(row.ContactID), DefaultRole: row.DefaultRole, Type: row.Type, Tier: row.Tier,
		Status: row.Status, Relations: map[string]id.Tenant{}, Version: row.Version, Created: row.CreatedAt.UTC(), Modified: row.ModifiedAt.UTC(),
	}
	if err := decode(row.Policy, &t.Policy); err != nil {
		return nil, err
	}
	db := s.conn(ctx)
	var relations []struct{ Relation, ParentID string }
	if err := db.Raw("SELECT relation, parent_id FROM tenant_relations WHERE tenant_id = ?", t.ID).Scan(&relations).Error; err != nil {
		return nil, classify(err, "")
	}
	for _, r := range relations {
		t.Relations[r.Relation] = id.Tenant(r.ParentID)
	}
	var entitlements []struct {
		Key, Source, GiverID string
		Grantable            bool
	}
	if err := db.Raw("SELECT key, source, giver_id, grantable FROM tenant_entitlements WHERE tenant_id = ? ORDER BY key, source", t.ID).Scan(&entitlements).Error; err != nil {
		return nil, classify(err, "")
	}
	for _, e := range entitlements {
		t.Entitlements = append(t.Entitlements, directory.Entitlement{
			Key: e.Key, Source: directory.EntitlementSource(e.Source), Giver: id.Tenant(e.GiverID), Grantable: e.Grantable,
		})
	}
	if err := db.Raw("SELECT domain FROM tenant_domains WHERE tenant_id = ? ORDER BY domain", t.ID).Scan(&t.Domains).Error; err != nil {
		return nil, classify(err, "")
	}
	return t, nil
}

// LockTenant implements directory.TenantStore. On SQLite the transaction
// itself is the lock. On PostgreSQL the lock is one that foreign keys of other
// transactions don't wait for.
func (s *Store) LockTenant(ctx context.Context, tenant id.Tenant) error {
	query := s.conn(ctx).Model(&tenantRow{}).Select("id").Where("id = ?", tenant)
	if !s.sqlite {
		query = query.Clauses(clause.Locking{Strength: "NO KEY UPDATE"})
	}
	var row tenantRow
	return classify(query.Take(&row).Error, "")
}

// DomainOwners implements directory.TenantStore.
func (s *Store) DomainOwners(ctx context.Context, domain string) ([]id.Tenant, error) {
	var owners []id.Tenant
	err := s.conn(ctx).Raw("/* across tenants: asks who has verified a domain */ SELECT tenant_id FROM tenant_domains WHERE domain = ?", domain).Scan(&owners).Error
	return owners, classify(err, "")
}
