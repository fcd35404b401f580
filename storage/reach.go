package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// RevokeGrantsFromElsewhere implements oidc.GrantStore.
func (s *Store) RevokeGrantsFromElsewhere(ctx context.Context, tenant id.Tenant, homes []id.Tenant, revoked time.Time) ([]oidc.Grant, error) {
	return grantsOf(s.conn(ctx).Raw(`UPDATE grants SET revoked_at = ? WHERE tenant_id = ? AND home_id NOT IN ? AND revoked_at IS NULL
		RETURNING `+grantColumns, at(revoked), tenant, homes))
}

// RevokeStrandedTokens implements authn.ApplicationTokenStore.
func (s *Store) RevokeStrandedTokens(ctx context.Context, tenant id.Tenant, homes []id.Tenant, revoked time.Time) ([]authn.ApplicationToken, error) {
	var rows []applicationTokenRow
	err := s.conn(ctx).Raw(`UPDATE application_tokens SET revoked_at = ? WHERE tenant_id = ? AND revoked_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.tenant_id IN ? AND m.user_id = application_tokens.creator_id)
		AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = application_tokens.creator_id AND u.operator)
		RETURNING *`, at(revoked), tenant, homes).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	tokens := make([]authn.ApplicationToken, 0, len(rows))
	for _, row := range rows {
		tokens = append(tokens, *row.token())
	}
	return tokens, nil
}
