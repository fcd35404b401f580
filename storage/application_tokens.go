package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// applicationTokenRow is a row of the table application_tokens. TenantID is null
// for tokens of the instance.
type applicationTokenRow struct {
	ID        string `gorm:"primaryKey"`
	TenantID  *string
	Name      string
	CreatorID string
	Hash      []byte
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt *time.Time
	RevokedAt *time.Time
}

// TableName implements gorm's Tabler.
func (applicationTokenRow) TableName() string { return "application_tokens" }

func (r applicationTokenRow) token() *authn.ApplicationToken {
	return &authn.ApplicationToken{
		ID: id.ApplicationToken(r.ID), Tenant: id.Tenant(orEmpty(r.TenantID)), Name: r.Name, Creator: id.User(r.CreatorID),
		Created: r.CreatedAt.UTC(), Expires: orZeroTime(r.ExpiresAt),
	}
}

// CreateApplicationToken implements authn.ApplicationTokenStore.
func (s *Store) CreateApplicationToken(ctx context.Context, t *authn.ApplicationToken, token secret.Hash) error {
	return classify(s.conn(ctx).Create(&applicationTokenRow{
		ID: string(t.ID), TenantID: orNull(string(t.Tenant)), Name: t.Name, CreatorID: string(t.Creator), Hash: token[:],
		CreatedAt: at(t.Created), ExpiresAt: atOrNull(t.Expires),
	}).Error, "token")
}

// ApplicationTokenByName implements authn.ApplicationTokenStore.
func (s *Store) ApplicationTokenByName(ctx context.Context, tenant id.Tenant, name string) (*authn.ApplicationToken, secret.Hash, error) {
	query := s.locked(ctx).Where("name = ? AND revoked_at IS NULL", name)
	if tenant == "" {
		query = query.Where("tenant_id IS NULL")
	} else {
		query = query.Where("tenant_id = ?", tenant)
	}
	var row applicationTokenRow
	if err := query.Order("id").Take(&row).Error; err != nil {
		return nil, secret.Hash{}, classify(err, "")
	}
	return row.token(), secret.Hash(row.Hash), nil
}

// ReplaceApplicationToken implements authn.ApplicationTokenStore.
func (s *Store) ReplaceApplicationToken(ctx context.Context, t *authn.ApplicationToken, token secret.Hash) error {
	result := s.conn(ctx).Exec(`UPDATE application_tokens SET creator_id = ?, hash = ?, expires_at = ?
		WHERE id = ? AND (tenant_id = ? OR tenant_id IS NULL AND ? = '')`,
		t.Creator, token[:], atOrNull(t.Expires), t.ID, t.Tenant, t.Tenant)
	if err := classify(result.Error, "token"); err != nil {
		return err
	}
	return oneRow(result.RowsAffected, nil)
}

// ApplicationTokenByHash implements authn.ApplicationTokenStore.
func (s *Store) ApplicationTokenByHash(ctx context.Context, token secret.Hash, now time.Time) (*authn.ApplicationToken, error) {
	var rows []applicationTokenRow
	err := s.conn(ctx).Raw(`/* across tenants: the token says which tenant it is of */
		SELECT t.id, t.tenant_id, t.name, t.creator_id, t.created_at, t.expires_at
		FROM application_tokens t JOIN users u ON u.id = t.creator_id
		WHERE t.hash = ? AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?) AND NOT u.disabled
		AND (u.operator OR EXISTS (SELECT 1 FROM memberships m WHERE m.tenant_id = t.tenant_id AND m.user_id = u.id AND m.status = ?))`,
		token[:], at(now), directory.StatusActive).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].token(), nil
}

// RevokeApplicationTokens implements authn.ApplicationTokenStore.
func (s *Store) RevokeApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User, revoked time.Time) ([]authn.ApplicationToken, error) {
	var rows []applicationTokenRow
	err := s.conn(ctx).Raw(`UPDATE application_tokens SET revoked_at = ? WHERE tenant_id = ? AND creator_id = ? AND revoked_at IS NULL
		RETURNING id, tenant_id, name, creator_id, created_at, expires_at`, at(revoked), tenant, creator).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	tokens := make([]authn.ApplicationToken, 0, len(rows))
	for _, row := range rows {
		tokens = append(tokens, *row.token())
	}
	return tokens, nil
}
