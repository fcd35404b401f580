package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// heldGrantRow is a grant with names. The row has a name because gorm passes over
// anonymous fields of private types.
type heldGrantRow struct {
	Row         grantRow `gorm:"embedded"`
	Application string
	TenantName  string
}

// GrantsOfUser implements oidc.GrantStore.
func (s *Store) GrantsOfUser(ctx context.Context, user id.User, after, now time.Time) ([]oidc.HeldGrant, error) {
	var rows []heldGrantRow
	err := s.conn(ctx).Raw(`/* across tenants: what one person has given, wherever that counts */
		SELECT g.*, a.name AS application, t.name AS tenant_name FROM grants g
			JOIN applications a ON a.client_id = g.client_id
			JOIN tenants t ON t.id = g.tenant_id
			LEFT JOIN sessions s ON s.id = g.session_id
		WHERE g.user_id = ? AND g.revoked_at IS NULL AND g.created_at > ?
			AND (g.offline OR s.ended_at IS NULL AND s.expires_at > ?)
		ORDER BY g.id DESC`, user, at(after), at(now)).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	grants := make([]oidc.HeldGrant, 0, len(rows))
	for i := range rows {
		g, err := rows[i].Row.grant()
		if err != nil {
			return nil, err
		}
		grants = append(grants, oidc.HeldGrant{Grant: g, Application: rows[i].Application, TenantName: rows[i].TenantName})
	}
	return grants, nil
}

// Participants implements oidc.GrantStore.
func (s *Store) Participants(ctx context.Context, user id.User, after, now time.Time) (map[id.Session][]string, error) {
	by := map[id.Session][]string{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var session id.Session
		var name string
		err := rows.Scan(&session, &name)
		by[session] = append(by[session], name)
		return err
	}, `/* across tenants: what one person has given, wherever that counts */
		SELECT DISTINCT g.session_id, coalesce(nullif(a.name, ''), g.client_id) FROM grants g
			JOIN applications a ON a.client_id = g.client_id
			JOIN sessions s ON s.id = g.session_id
		WHERE g.user_id = ? AND g.revoked_at IS NULL AND g.created_at > ? AND s.ended_at IS NULL AND s.expires_at > ?`, string(user), at(after), at(now))
	return by, err
}

// RevokeGrantsOfUser implements oidc.GrantStore.
func (s *Store) RevokeGrantsOfUser(ctx context.Context, user id.User, clientID string, revoked time.Time) ([]oidc.Grant, error) {
	return grantsOf(s.conn(ctx).Raw(`/* across tenants: what one person has given, wherever that counts */
		UPDATE grants SET revoked_at = ? WHERE user_id = ? AND client_id = ? AND revoked_at IS NULL
		RETURNING `+grantColumns, at(revoked), user, clientID))
}
