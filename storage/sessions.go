package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

var _ authn.Store = (*Store)(nil)

// sessionColumns are those of a session; its token stays in the database.
const sessionColumns = `sessions.id, sessions.user_id, sessions.auth_time, sessions.acr, sessions.amr, sessions.user_agent, sessions.address,
	sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.device_id, sessions.idle_seconds, sessions.provider_tenant, sessions.provider_id,
	(SELECT d.trusted_at FROM trusted_devices d WHERE d.id = sessions.device_id AND d.expires_at > sessions.last_seen_at) AS trusted_at,
	(SELECT d.by_mail FROM trusted_devices d WHERE d.id = sessions.device_id) AS by_mail`

// liveSession is authn.Alive as a condition with its At and SeenAfter.
const liveSession = `sessions.ended_at IS NULL AND sessions.expires_at > ? AND sessions.last_seen_at > ?
	AND EXISTS (SELECT 1 FROM users u WHERE u.id = sessions.user_id AND NOT u.disabled)`

// sessionRow takes the columns of a session.
type sessionRow struct {
	authn.Session
	amr                       string
	idleSeconds               int64
	device, viaTenant, viaOne *string
	trustedAt                 *time.Time // of the device, while it is one
	byMail                    *bool      // the same
}

func (r *sessionRow) columns() []any {
	return []any{
		&r.ID, &r.User, &r.AuthTime, &r.ACR, &r.amr, &r.UserAgent, &r.Address, &r.Created, &r.LastSeen, &r.Expires,
		&r.device, &r.idleSeconds, &r.viaTenant, &r.viaOne, &r.trustedAt, &r.byMail,
	}
}

// session completes what the columns say.
func (r *sessionRow) session() (*authn.Session, error) {
	s := &r.Session
	s.AuthTime, s.Created, s.LastSeen, s.Expires = s.AuthTime.UTC(), s.Created.UTC(), s.LastSeen.UTC(), s.Expires.UTC()
	s.Idle, s.Device = time.Duration(r.idleSeconds)*time.Second, id.TrustedDevice(orEmpty(r.device))
	s.Via = directory.Via{Tenant: id.Tenant(orEmpty(r.viaTenant)), Provider: id.IdentityProvider(orEmpty(r.viaOne))}
	if r.trustedAt != nil {
		s.TrustedAt, s.TrustedByMail = r.trustedAt.UTC(), r.byMail != nil && *r.byMail
	}
	return s, decode(r.amr, &s.AMR)
}

// CreateSession implements authn.SessionStore.
func (s *Store) CreateSession(ctx context.Context, session *authn.Session, token secret.Hash) error {
	amr, err := encode(session.AMR)
	if err != nil {
		return err
	}
	return classify(s.exec(ctx, `INSERT INTO sessions (id, token_hash, user_id, auth_time, acr, amr, user_agent, address, created_at, last_seen_at, expires_at, device_id, provider_tenant, provider_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, string(session.ID), token[:], string(session.User), at(session.AuthTime), session.ACR, amr, session.UserAgent, session.Address,
		at(session.Created), at(session.LastSeen), at(session.Expires), orNull(string(session.Device)), orNull(string(session.Via.Tenant)), orNull(string(session.Via.Provider))), "")
}

// RenewSession implements authn.SessionStore.
func (s *Store) RenewSession(ctx context.Context, session *authn.Session, token secret.Hash) error {
	amr, err := encode(session.AMR)
	if err != nil {
		return err
	}
	result := s.conn(ctx).Exec(`UPDATE sessions SET token_hash = ?, auth_time = ?, acr = ?, amr = ?, user_agent = ?, address = ?,
		last_seen_at = ?, expires_at = ?, device_id = ?, idle_seconds = 0, provider_tenant = ?, provider_id = ? WHERE id = ? AND ended_at IS NULL`,
		token[:], at(session.AuthTime), session.ACR, amr, session.UserAgent, session.Address, at(session.LastSeen), at(session.Expires),
		orNull(string(session.Device)), orNull(string(session.Via.Tenant)), orNull(string(session.Via.Provider)), session.ID)
	return oneRow(result.RowsAffected, result.Error)
}

// SessionByToken implements authn.SessionStore. Policies are searched as text, as
// in StandingsLimitingSessions.
func (s *Store) SessionByToken(ctx context.Context, token secret.Hash, alive authn.Alive) (*authn.Session, *directory.User, error) {
	var row sessionRow
	var user userRow
	limited := false
	err := s.queryRow(ctx, `/* across tenants: what every page asks of one person */ SELECT `+sessionColumns+`, `+userColumns+`,
			EXISTS (SELECT 1 FROM memberships m JOIN tenants t ON t.id = m.tenant_id WHERE m.user_id = u.id AND t.policy LIKE '%"session_%')
		FROM sessions JOIN users u ON u.id = sessions.user_id
		WHERE sessions.token_hash = ? AND sessions.ended_at IS NULL AND sessions.expires_at > ? AND sessions.last_seen_at > ? AND NOT u.disabled`,
		token[:], at(alive.At), at(alive.SeenAfter)).Scan(append(append(row.columns(), intoUser(&user)...), &limited)...)
	if err != nil {
		return nil, nil, classify(s.translate(err), "")
	}
	session, err := row.session()
	if err != nil {
		return nil, nil, err
	}
	session.Unlimited = !limited
	return session, new(user.user()), nil
}

// Session implements authn.SessionStore.
func (s *Store) Session(ctx context.Context, session id.Session, alive authn.Alive) (*authn.Session, error) {
	return s.oneSession(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE sessions.id = ? AND `+liveSession,
		string(session), at(alive.At), at(alive.SeenAfter))
}

// SessionsOfUser implements authn.SessionStore.
func (s *Store) SessionsOfUser(ctx context.Context, user id.User, alive authn.Alive) ([]authn.Session, error) {
	return s.sessions(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE sessions.user_id = ? AND `+liveSession+`
		ORDER BY sessions.last_seen_at DESC, sessions.id DESC`, string(user), at(alive.At), at(alive.SeenAfter))
}

// TouchSession implements authn.SessionStore.
func (s *Store) TouchSession(ctx context.Context, session id.Session, seen time.Time, idle time.Duration) error {
	seconds := int64(idle / time.Second)
	return classify(s.conn(ctx).Exec(`UPDATE sessions SET last_seen_at = ?, idle_seconds = CASE WHEN idle_seconds < ? THEN ? ELSE idle_seconds END
		WHERE id = ? AND last_seen_at < ?`, at(seen), seconds, seconds, session, at(seen)).Error, "")
}

// EndSession implements authn.SessionStore.
func (s *Store) EndSession(ctx context.Context, session id.Session, ended time.Time) (*authn.Session, error) {
	return s.oneSession(ctx, `UPDATE sessions SET ended_at = ? WHERE id = ? AND ended_at IS NULL AND expires_at > ?
		RETURNING `+sessionColumns, at(ended), string(session), at(ended))
}

// EndSessionsOfUser implements authn.SessionStore.
func (s *Store) EndSessionsOfUser(ctx context.Context, user id.User, ended time.Time) ([]authn.Session, error) {
	return s.sessions(ctx, `UPDATE sessions SET ended_at = ? WHERE user_id = ? AND ended_at IS NULL AND expires_at > ?
		RETURNING `+sessionColumns, at(ended), string(user), at(ended))
}

// EndSessionsVia implements authn.SessionStore.
func (s *Store) EndSessionsVia(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, ended time.Time) ([]authn.Session, error) {
	return s.sessions(ctx, `UPDATE sessions SET ended_at = ? WHERE provider_tenant = ? AND provider_id = ? AND ended_at IS NULL AND expires_at > ?
		RETURNING `+sessionColumns, at(ended), string(tenant), string(provider), at(ended))
}

func (s *Store) oneSession(ctx context.Context, query string, args ...any) (*authn.Session, error) {
	sessions, err := s.sessions(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	if len(sessions) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &sessions[0], nil
}

func (s *Store) sessions(ctx context.Context, query string, args ...any) ([]authn.Session, error) {
	sessions := []authn.Session{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var row sessionRow
		if err := rows.Scan(row.columns()...); err != nil {
			return err
		}
		session, err := row.session()
		sessions = append(sessions, *session)
		return err
	}, query, args...)
	return sessions, err
}
