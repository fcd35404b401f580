package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

var _ authn.Store = (*Store)(nil)

// sessionRow is a row of the table sessions.
type sessionRow struct {
	ID          string `gorm:"primaryKey"`
	TokenHash   []byte
	UserID      string
	AuthTime    time.Time
	ACR         string
	AMR         string
	UserAgent   string
	Address     string
	CreatedAt   time.Time `gorm:"autoCreateTime:false"`
	LastSeenAt  time.Time
	ExpiresAt   time.Time
	EndedAt     *time.Time
	DeviceID    *string
	IdleSeconds int64
	ViaTenant   *string    `gorm:"column:provider_tenant"`
	Via         *string    `gorm:"column:provider_id"`
	TrustedAt   *time.Time `gorm:"->"` // of the device, while it is one
	ByMail      *bool      `gorm:"->"` // the same
}

// TableName implements gorm's Tabler.
func (sessionRow) TableName() string { return "sessions" }

// sessionColumns are those of a session; its token stays in the database.
const sessionColumns = `id, user_id, auth_time, acr, amr, user_agent, address, created_at, last_seen_at, expires_at, ended_at, device_id, idle_seconds, provider_tenant, provider_id,
	(SELECT d.trusted_at FROM trusted_devices d WHERE d.id = sessions.device_id AND d.expires_at > sessions.last_seen_at) AS trusted_at,
	(SELECT d.by_mail FROM trusted_devices d WHERE d.id = sessions.device_id) AS by_mail`

// liveSession is authn.Alive as a condition with its At and SeenAfter.
const liveSession = `ended_at IS NULL AND expires_at > ? AND last_seen_at > ?
	AND EXISTS (SELECT 1 FROM users u WHERE u.id = sessions.user_id AND NOT u.disabled)`

func (r sessionRow) session() (*authn.Session, error) {
	s := &authn.Session{
		ID: id.Session(r.ID), User: id.User(r.UserID), AuthTime: r.AuthTime.UTC(), ACR: r.ACR,
		UserAgent: r.UserAgent, Address: r.Address,
		Created: r.CreatedAt.UTC(), LastSeen: r.LastSeenAt.UTC(), Expires: r.ExpiresAt.UTC(), Idle: time.Duration(r.IdleSeconds) * time.Second, Device: id.TrustedDevice(orEmpty(r.DeviceID)),
		Via: directory.Via{Tenant: id.Tenant(orEmpty(r.ViaTenant)), Provider: id.IdentityProvider(orEmpty(r.Via))},
	}
	if r.TrustedAt != nil {
		s.TrustedAt, s.TrustedByMail = r.TrustedAt.UTC(), r.ByMail != nil && *r.ByMail
	}
	return s, decode(r.AMR, &s.AMR)
}

// CreateSession implements authn.SessionStore.
func (s *Store) CreateSession(ctx context.Context, session *authn.Session, token secret.Hash) error {
	amr, err := encode(session.AMR)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&sessionRow{
		ID: string(session.ID), TokenHash: token[:], UserID: string(session.User), AuthTime: at(session.AuthTime),
		ACR: session.ACR, AMR: amr, UserAgent: session.UserAgent, Address: session.Address,
		CreatedAt: at(session.Created), LastSeenAt: at(session.LastSeen), ExpiresAt: at(session.Expires),
		DeviceID: orNull(string(session.Device)), ViaTenant: orNull(string(session.Via.Tenant)), Via: orNull(string(session.Via.Provider)),
	}).Error, "")
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

// SessionByToken implements authn.SessionStore.
func (s *Store) SessionByToken(ctx context.Context, token secret.Hash, alive authn.Alive) (*authn.Session, error) {
	return oneSession(s.conn(ctx).Raw(`SELECT `+sessionColumns+` FROM sessions WHERE token_hash = ? AND `+liveSession,
		token[:], at(alive.At), at(alive.SeenAfter)))
}

// Session implements authn.SessionStore.
func (s *Store) Session(ctx context.Context, session id.Session, alive authn.Alive) (*authn.Session, error) {
	return oneSession(s.conn(ctx).Raw(`SELECT `+sessionColumns+` FROM sessions WHERE id = ? AND `+liveSession,
		session, at(alive.At), at(alive.SeenAfter)))
}

// SessionsOfUser implements authn.SessionStore.
func (s *Store) SessionsOfUser(ctx context.Context, user id.User, alive authn.Alive) ([]authn.Session, error) {
	return manySessions(s.conn(ctx).Raw(`SELECT `+sessionColumns+` FROM sessions WHERE user_id = ? AND `+liveSession+`
		ORDER BY last_seen_at DESC, id DESC`, user, at(alive.At), at(alive.SeenAfter)))
}

// TouchSession implements authn.SessionStore.
func (s *Store) TouchSession(ctx context.Context, session id.Session, seen time.Time, idle time.Duration) error {
	seconds := int64(idle / time.Second)
	return classify(s.conn(ctx).Exec(`UPDATE sessions SET last_seen_at = ?, idle_seconds = CASE WHEN idle_seconds < ? THEN ? ELSE idle_seconds END
		WHERE id = ? AND last_seen_at < ?`, at(seen), seconds, seconds, session, at(seen)).Error, "")
}

// EndSession implements authn.SessionStore.
func (s *Store) EndSession(ctx context.Context, session id.Session, ended time.Time) (*authn.Session, error) {
	return oneSession(s.conn(ctx).Raw(`UPDATE sessions SET ended_at = ? WHERE id = ? AND ended_at IS NULL AND expires_at > ?
		RETURNING `+sessionColumns, at(ended), session, at(ended)))
}

// EndSessionsOfUser implements authn.SessionStore.
func (s *Store) EndSessionsOfUser(ctx context.Context, user id.User, ended time.Time) ([]authn.Session, error) {
	return manySessions(s.conn(ctx).Raw(`UPDATE sessions SET ended_at = ? WHERE user_id = ? AND ended_at IS NULL AND expires_at > ?
		RETURNING `+sessionColumns, at(ended), user, at(ended)))
}

// EndSessionsVia implements authn.SessionStore.
func (s *Store) EndSessionsVia(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, ended time.Time) ([]authn.Session, error) {
	return manySessions(s.conn(ctx).Raw(`UPDATE sessions SET ended_at = ? WHERE provider_tenant = ? AND provider_id = ? AND ended_at IS NULL AND expires_at > ?
		RETURNING `+sessionColumns, at(ended), tenant, provider, at(ended)))
}

func oneSession(query *gorm.DB) (*authn.Session, error) {
	sessions, err := manySessions(query)
	if err != nil {
		return nil, err
	}
	if len(sessions) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &sessions[0], nil
}

func manySessions(query *gorm.DB) ([]authn.Session, error) {
	var rows []sessionRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	sessions := make([]authn.Session, 0, len(rows))
	for _, row := range rows {
		session, err := row.session()
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, *session)
	}
	return sessions, nil
}
