package storage

import (
	"context"
	"database/sql"

	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/id"
)

// HasSignalStreams implements events.SignalStore.
func (s *Store) HasSignalStreams(ctx context.Context) (bool, error) {
	var has bool
	err := s.queryRow(ctx, `/* across tenants: whether the instance has any */ SELECT EXISTS (SELECT 1 FROM event_streams WHERE client_id IS NOT NULL)`).Scan(&has)
	return has, classify(err, "")
}

// SignalStreams implements events.SignalStore. Who is merely invited is not known
// to the tenant.
func (s *Store) SignalStreams(ctx context.Context, about events.Concerned) ([]events.Stream, error) {
	known := `e.tenant_id IN (SELECT m.tenant_id FROM memberships m WHERE m.user_id = @user AND m.accepted)
		OR e.client_id IN (SELECT g.client_id FROM grants g WHERE g.user_id = @user)`
	switch {
	case about.Session != "":
		known = `EXISTS (SELECT 1 FROM grants g WHERE g.session_id = @session AND (g.tenant_id = e.tenant_id OR g.client_id = e.client_id))`
	case about.Tenant != "":
		known = `e.tenant_id = @tenant OR e.client_id IN (SELECT g.client_id FROM grants g WHERE g.tenant_id = @tenant AND g.user_id = @user)`
	}
	var rows []eventStreamRow
	err := s.conn(ctx).Raw(`/* across tenants: what one person is told of, wherever they are known */ SELECT `+eventStreamColumns+` FROM event_streams e
		WHERE e.client_id IS NOT NULL AND e.status <> 'disabled' AND (`+known+`)
		AND NOT EXISTS (SELECT 1 FROM event_stream_exclusions x WHERE x.tenant_id = e.tenant_id AND x.stream_id = e.id AND x.user_id = @user)
		ORDER BY e.id`, sql.Named("user", string(about.User)), sql.Named("session", string(about.Session)), sql.Named("tenant", string(about.Tenant))).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	all := make([]events.Stream, 0, len(rows))
	for i := range rows {
		stream, err := rows[i].stream()
		if err != nil {
			return nil, err
		}
		all = append(all, *stream)
	}
	return all, nil
}

// ExcludeSubject implements events.SignalStore.
func (s *Store) ExcludeSubject(ctx context.Context, tenant id.Tenant, stream id.EventStream, user id.User, excluded bool) error {
	if !excluded {
		return classify(s.conn(ctx).Exec("DELETE FROM event_stream_exclusions WHERE tenant_id = ? AND stream_id = ? AND user_id = ?", tenant, stream, user).Error, "")
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO event_stream_exclusions (tenant_id, stream_id, user_id)
		SELECT e.tenant_id, e.id, u.id FROM event_streams e CROSS JOIN users u WHERE e.tenant_id = ? AND e.id = ? AND u.id = ?
		ON CONFLICT DO NOTHING`, tenant, stream, user).Error, "")
}
