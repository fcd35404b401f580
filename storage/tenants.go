package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
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
	return s.loadTenant(ctx, "t.id = ?", string(tenant))
}

// TenantByName implements directory.TenantStore.
func (s *Store) TenantByName(ctx context.Context, slugOrID string) (*directory.Tenant, error) {
	return s.loadTenant(ctx, "t.slug = ? OR t.id = ?", slugOrID, slugOrID)
}

// loadTenant reads the tenant that a condition describes, with what belongs to
// it as JSON, in one statement.
func (s *Store) loadTenant(ctx context.Context, condition string, args ...any) (*directory.Tenant, error) {
	query := `/* across tenants: one, and what is its own */
		SELECT t.id, t.slug, t.name, t.blueprint, t.blueprint_version, t.contact_id, t.default_role, t.type, t.tier, t.status, t.policy, t.version, t.created_at, t.modified_at,
		CAST((SELECT json_agg(json_build_array(r.relation, r.parent_id)) FROM tenant_relations r WHERE r.tenant_id = t.id) AS text),
		CAST((SELECT json_agg(json_build_array(e.key, e.source, e.giver_id, e.grantable) ORDER BY e.key, e.source) FROM tenant_entitlements e WHERE e.tenant_id = t.id) AS text),
		CAST((SELECT json_agg(d.domain ORDER BY d.domain) FROM tenant_domains d WHERE d.tenant_id = t.id) AS text)
		FROM tenants t WHERE ` + condition
	if s.sqlite {
		query = strings.NewReplacer("json_agg(", "json_group_array(", "json_build_array(", "json_array(").Replace(query)
	}
	t := &directory.Tenant{Relations: map[string]id.Tenant{}}
	var policy string
	var relations, entitlements, domains sql.NullString
	err := s.queryRow(ctx, query, args...).Scan(&t.ID, &t.Slug, &t.Name, &t.Blueprint, &t.BlueprintVersion, &t.Contact, &t.DefaultRole, &t.Type, &t.Tier,
		&t.Status, &policy, &t.Version, &t.Created, &t.Modified, &relations, &entitlements, &domains)
	if err != nil {
		return nil, classify(err, "")
	}
	t.Created, t.Modified = t.Created.UTC(), t.Modified.UTC()
	if err := decode(policy, &t.Policy); err != nil {
		return nil, err
	}
	return t, errors.Join(
		each(relations, func(r [2]string) { t.Relations[r[0]] = id.Tenant(r[1]) }),
		each(entitlements, func(e tenantEntitlement) { t.Entitlements = append(t.Entitlements, directory.Entitlement(e)) }),
		each(domains, func(domain string) { t.Domains = append(t.Domains, domain) }),
	)
}

// each calls do with each element of a JSON array, which may be missing.
func each[T any](list sql.NullString, do func(T)) error {
	if !list.Valid {
		return nil
	}
	var all []T
	err := decode(list.String, &all)
	for _, one := range all {
		do(one)
	}
	return err
}

// tenantEntitlement is an entitlement as loadTenant reads it: an array.
type tenantEntitlement directory.Entitlement

// UnmarshalJSON implements json.Unmarshaler. A boolean of SQLite is a number.
func (e *tenantEntitlement) UnmarshalJSON(text []byte) error {
	var grantable any
	err := json.Unmarshal(text, &[]any{&e.Key, &e.Source, &e.Giver, &grantable})
	e.Grantable = grantable == true || grantable == 1.0
	return err
}

// LockTenant implements directory.TenantStore. It takes an advisory lock and not
// one of the row: those who wait for it come in the order in which they asked, so
// that however many share it, whoever wants it alone has his turn. On SQLite the
// transaction itself holds off the others.
func (s *Store) LockTenant(ctx context.Context, tenant id.Tenant) error {
	query := "SELECT id FROM tenants WHERE id = ?"
	if !s.sqlite {
		query = "SELECT pg_advisory_xact_lock(" + tenantKey + ") FROM tenants WHERE id = ?"
	}
	found := false
	err := s.query(ctx, func(*sql.Rows) error {
		found = true
		return nil
	}, query, string(tenant))
	if err == nil && !found {
		return &fault.Error{Kind: fault.NotFound}
	}
	return err
}

// LockTenantShared implements directory.TenantStore.
func (s *Store) LockTenantShared(ctx context.Context, tenant id.Tenant) error {
	if s.sqlite {
		return nil
	}
	return classify(s.later(ctx, "SELECT pg_advisory_xact_lock_shared("+tenantKey+") FROM tenants WHERE id = ?", string(tenant)), "")
}

// tenantKey is what an advisory lock knows a tenant by.
const tenantKey = "hashtextextended(id, 0)"

// DomainOwners implements directory.TenantStore.
func (s *Store) DomainOwners(ctx context.Context, domain string) ([]id.Tenant, error) {
	var owners []id.Tenant
	err := s.conn(ctx).Raw("/* across tenants: asks who has verified a domain */ SELECT tenant_id FROM tenant_domains WHERE domain = ?", domain).Scan(&owners).Error
	return owners, classify(err, "")
}
