package storage

import (
	"context"
	"database/sql"
	"errors"

	"github.com/rolecall/rolecall/internal/id"
)

// LockDefaultTenant implements directory.DefaultStore.
func (s *Store) LockDefaultTenant(ctx context.Context, user id.User, beside id.Tenant) (current id.Tenant, elsewhere bool, err error) {
	if !s.sqlite {
		// A statement of its own: the next one sees what those before have done.
		if err := s.later(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 1))", string(user)); err != nil {
			return "", false, classify(err, "")
		}
	}
	var tenant sql.NullString
	err = s.queryRow(ctx, `/* across tenants: whether one user is a member anywhere else */
		SELECT default_tenant_id, EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id AND m.tenant_id <> ?) FROM users u WHERE id = ?`,
		string(beside), string(user)).Scan(&tenant, &elsewhere)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		err = s.translate(err)
	}
	return id.Tenant(tenant.String), elsewhere, classify(err, "")
}

// SetDefaultTenant implements directory.DefaultStore.
func (s *Store) SetDefaultTenant(ctx context.Context, user id.User, tenant id.Tenant) error {
	return classify(s.exec(ctx, "UPDATE users SET default_tenant_id = ? WHERE id = ?", orNull(string(tenant)), string(user)), "")
}

// MembersToSettle implements directory.DefaultStore.
func (s *Store) MembersToSettle(ctx context.Context, tenant id.Tenant, after id.User, limit int) ([]id.User, error) {
	var users []id.User
	err := s.query(ctx, func(rows *sql.Rows) error {
		var user id.User
		err := rows.Scan(&user)
		users = append(users, user)
		return err
	}, `SELECT m.user_id FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.tenant_id = ? AND m.user_id > ?
		AND coalesce(u.default_tenant_id, m.tenant_id) = m.tenant_id
		AND EXISTS (SELECT 1 FROM memberships o WHERE o.user_id = m.user_id AND o.tenant_id <> m.tenant_id)
		ORDER BY m.user_id LIMIT ?`, string(tenant), string(after), limit)
	return users, err
}
