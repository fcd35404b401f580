package storage

import (
	"context"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// registrationTokenRow is a row of the table registration_tokens.
type registrationTokenRow struct {
	TenantID      string
	ID            string
	Description   string
	Registrations int
	Used          int
	CreatedAt     time.Time
	ExpiresAt     time.Time
	LastUsedAt    *time.Time
}

const registrationTokenColumns = "tenant_id, id, description, registrations, used, created_at, expires_at, last_used_at" //nolint:gosec // names, no credentials

func (s *Store) registrationTokens(ctx context.Context, query string, values ...any) ([]oidc.RegistrationToken, error) {
	var rows []registrationTokenRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	all := make([]oidc.RegistrationToken, len(rows))
	for i, r := range rows {
		all[i] = oidc.RegistrationToken{
			Tenant: id.Tenant(r.TenantID), ID: id.RegistrationToken(r.ID), Description: r.Description, Registrations: r.Registrations, Used: r.Used,
			Created: r.CreatedAt.UTC(), Expires: r.ExpiresAt.UTC(), LastUsed: orZeroTime(r.LastUsedAt),
		}
	}
	return all, nil
}

// CreateRegistrationToken implements oidc.RegistrationStore.
func (s *Store) CreateRegistrationToken(ctx context.Context, t *oidc.RegistrationToken, hash secret.Hash) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO registration_tokens (tenant_id, id, hash, description, registrations, used, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, t.Tenant, t.ID, hash[:], t.Description, t.Registrations, t.Used, at(t.Created), at(t.Expires)).Error, "")
}

// RegistrationTokens implements oidc.RegistrationStore.
func (s *Store) RegistrationTokens(ctx context.Context, tenant id.Tenant) ([]oidc.RegistrationToken, error) {
	return s.registrationTokens(ctx, "SELECT "+registrationTokenColumns+" FROM registration_tokens WHERE tenant_id = ? ORDER BY id DESC", tenant)
}

// RegistrationTokenByHash implements oidc.RegistrationStore.
func (s *Store) RegistrationTokenByHash(ctx context.Context, hash secret.Hash) (*oidc.RegistrationToken, error) {
	return one(s.registrationTokens(ctx, "/* across tenants: the token says which */ SELECT "+registrationTokenColumns+" FROM registration_tokens WHERE hash = ?", hash[:]))
}

// UseRegistrationToken implements oidc.RegistrationStore.
func (s *Store) UseRegistrationToken(ctx context.Context, tenant id.Tenant, token id.RegistrationToken, now time.Time) error {
	result := s.conn(ctx).Exec(`UPDATE registration_tokens SET used = used + 1, last_used_at = ?
		WHERE tenant_id = ? AND id = ? AND used < registrations AND expires_at > ?`, at(now), tenant, token, at(now))
	return oneRow(result.RowsAffected, result.Error)
}

// DeleteRegistrationToken implements oidc.RegistrationStore.
func (s *Store) DeleteRegistrationToken(ctx context.Context, tenant id.Tenant, token id.RegistrationToken) error {
	result := s.conn(ctx).Exec("DELETE FROM registration_tokens WHERE tenant_id = ? AND id = ?", tenant, token)
	return oneRow(result.RowsAffected, result.Error)
}

// ApplicationsOf implements oidc.RegistrationStore.
func (s *Store) ApplicationsOf(ctx context.Context, tenant id.Tenant, after string, limit int) ([]oidc.Application, error) {
	var rows []ownedApplicationRow
	err := s.conn(ctx).Raw(selectApplication+"WHERE a.owner_id = ? AND a.type <> ? AND a.client_id > ? ORDER BY a.client_id LIMIT ?", tenant, oidc.Machine, after, limit).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	all := make([]oidc.Application, 0, len(rows))
	for i := range rows {
		a, err := rows[i].application()
		if err != nil {
			return nil, err
		}
		all = append(all, *a)
	}
	return all, nil
}

// RevokeGrantsOfApplication implements oidc.RegistrationStore.
func (s *Store) RevokeGrantsOfApplication(ctx context.Context, tenant id.Tenant, clientID string, revoked time.Time) ([]oidc.Grant, error) {
	return grantsOf(s.conn(ctx).Raw(`UPDATE grants SET revoked_at = ? WHERE tenant_id = ? AND client_id = ? AND revoked_at IS NULL
		RETURNING `+grantColumns, at(revoked), tenant, clientID))
}

// GrantsOfApplication implements oidc.RegistrationStore.
func (s *Store) GrantsOfApplication(ctx context.Context, tenant id.Tenant, clientID string) ([]oidc.Grant, error) {
	return grantsOf(s.conn(ctx).Raw(`SELECT `+grantColumns+` FROM grants WHERE tenant_id = ? AND client_id = ? AND revoked_at IS NULL`, tenant, clientID))
}

// RevokeGrants implements oidc.RegistrationStore.
func (s *Store) RevokeGrants(ctx context.Context, tenant id.Tenant, grants []id.Grant, revoked time.Time) error {
	for some := range slices.Chunk(grants, 1000) { // statements take only so many values
		err := s.conn(ctx).Exec(`UPDATE grants SET revoked_at = ? WHERE tenant_id = ? AND id IN ? AND revoked_at IS NULL`, at(revoked), tenant, some).Error
		if err != nil {
			return classify(err, "")
		}
	}
	return nil
}
