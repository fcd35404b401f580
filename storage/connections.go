package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// connectionRow is a row of the table connections.
type connectionRow struct {
	TenantID   string `gorm:"primaryKey"`
	ID         string `gorm:"primaryKey"`
	Name       string
	Profile    string
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt time.Time
}

// TableName implements gorm's Tabler.
func (connectionRow) TableName() string { return "connections" }

func (r connectionRow) connection() *directory.Connection {
	return &directory.Connection{
		Tenant: id.Tenant(r.TenantID), ID: id.Connection(r.ID), Name: r.Name, Profile: directory.ConnectionProfile(r.Profile),
		Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
}

// SaveConnection implements directory.ConnectionStore.
func (s *Store) SaveConnection(ctx context.Context, c *directory.Connection) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO connections (tenant_id, id, name, profile, created_at, modified_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, profile = excluded.profile, modified_at = excluded.modified_at`,
		c.Tenant, c.ID, c.Name, c.Profile, at(c.Created), at(c.Modified)).Error, "name")
}

// ConnectionByName implements directory.ConnectionStore.
func (s *Store) ConnectionByName(ctx context.Context, tenant id.Tenant, name string) (*directory.Connection, error) {
	var row connectionRow
	if err := s.conn(ctx).Where("tenant_id = ? AND name = ?", tenant, name).Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.connection(), nil
}

// ConnectionByToken implements directory.ConnectionStore.
func (s *Store) ConnectionByToken(ctx context.Context, tenant string, token secret.Hash, now time.Time) (*directory.Connection, error) {
	var row struct {
		Connection connectionRow `gorm:"embedded"`
		Slug       string
	}
	err := s.conn(ctx).Raw(`SELECT c.*, t.slug FROM connection_tokens ct
		JOIN tenants t ON t.id = ct.tenant_id
		JOIN connections c ON c.tenant_id = ct.tenant_id AND c.id = ct.connection_id
		WHERE ct.hash = ? AND (t.slug = ? OR ct.tenant_id = ?) AND (ct.expires_at IS NULL OR ct.expires_at > ?)`,
		token[:], tenant, tenant, at(now)).Take(&row).Error
	if err != nil {
		return nil, classify(err, "")
	}
	c := row.Connection.connection()
	c.Slug = row.Slug
	return c, nil
}

// AddConnectionToken implements directory.ConnectionStore.
func (s *Store) AddConnectionToken(ctx context.Context, c *directory.Connection, token secret.Hash, now time.Time) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO connection_tokens (tenant_id, hash, connection_id, created_at) VALUES (?, ?, ?, ?)`,
		c.Tenant, token[:], c.ID, at(now)).Error, "token") // gorm expands a slice after a parenthesis
}

// HasConnectionToken implements directory.ConnectionStore.
func (s *Store) HasConnectionToken(ctx context.Context, c *directory.Connection) (bool, error) {
	tokens := 0
	err := s.conn(ctx).Raw("SELECT count(*) FROM connection_tokens WHERE tenant_id = ? AND connection_id = ?", c.Tenant, c.ID).Scan(&tokens).Error
	return tokens > 0, classify(err, "")
}
