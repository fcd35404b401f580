package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
)

// brandingRow is a row of the table tenant_branding.
type brandingRow struct {
	Colors   string
	Logo     []byte
	LogoType string
}

// Branding implements directory.BrandingStore.
func (s *Store) Branding(ctx context.Context, tenant id.Tenant) (*directory.Branding, error) {
	var rows []brandingRow
	err := s.conn(ctx).Raw(`SELECT colors, logo, logo_type FROM tenant_branding WHERE tenant_id = ?`, tenant).Scan(&rows).Error
	if err != nil || len(rows) == 0 {
		return &directory.Branding{}, classify(err, "")
	}
	b := &directory.Branding{Logo: rows[0].Logo, LogoType: rows[0].LogoType}
	if len(b.Logo) == 0 {
		b.Logo = nil
	}
	return b, decode(rows[0].Colors, &b.Colors)
}

// Logo implements mail.Store.
func (s *Store) Logo(ctx context.Context, tenant id.Tenant) (*mail.Logo, error) {
	var rows []struct {
		Name     string
		Logo     []byte
		LogoType string
	}
	err := s.conn(ctx).Raw(`SELECT t.name, b.logo, b.logo_type FROM tenant_branding b JOIN tenants t ON t.id = b.tenant_id WHERE b.tenant_id = ?`, tenant).Scan(&rows).Error
	if err != nil || len(rows) == 0 || len(rows[0].Logo) == 0 {
		return nil, classify(err, "")
	}
	return &mail.Logo{Of: rows[0].Name, Type: rows[0].LogoType, Content: rows[0].Logo}, nil
}

// PutBranding implements directory.BrandingStore.
func (s *Store) PutBranding(ctx context.Context, tenant id.Tenant, b *directory.Branding, now time.Time) error {
	colors, err := encode(b.Colors)
	if err != nil {
		return err
	}
	logo := b.Logo
	if logo == nil {
		logo = []byte{}
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO tenant_branding (tenant_id, colors, logo, logo_type, modified_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id) DO UPDATE SET colors = excluded.colors, logo = excluded.logo, logo_type = excluded.logo_type, modified_at = excluded.modified_at`,
		tenant, colors, logo, b.LogoType, at(now)).Error, "")
}
