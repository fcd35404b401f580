package storage

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"gorm.io/gorm/clause"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// What decides whether a grant is accepted, in one statement of look-ups by
// primary key. Every introspection runs it: the columns are scanned by hand.
const (
	liveColumns = `g.tenant_id, g.id, g.home_id, g.membership_id, g.user_id, g.client_id, g.session_id, g.offline, g.scopes, g.claims, g.nonce,
	g.auth_time, g.acr, g.amr, g.created_at, g.revoked_at, g.resources, g.details, g.from_tenant, g.from_id, t.slug, t.version, t.status, t.blueprint, t.blueprint_version, t.policy,
	coalesce(m.status, ''), coalesce(u.disabled, true), s.expires_at, s.ended_at, s.auth_time, s.last_seen_at, s.idle_seconds,
	g.from_id IS NOT NULL AND (f.id IS NULL OR f.revoked_at IS NOT NULL), g.provider_tenant, g.provider_id, g.trusted_at, g.trusted_by_mail, m.profile, m.modified_at`
	liveTables = `JOIN tenants t ON t.id = g.tenant_id
	LEFT JOIN memberships m ON m.tenant_id = g.home_id AND m.id = g.membership_id
	LEFT JOIN users u ON u.id = g.user_id
	LEFT JOIN sessions s ON s.id = g.session_id
	LEFT JOIN grants f ON f.tenant_id = g.from_tenant AND f.id = g.from_id`
)

// scanLive reads liveColumns and then extra ones.
func scanLive(row scanner, extra ...any) (*oidc.Live, error) {
	var (
		g              grantRow
		policy         string
		expires, ended sql.NullTime
		signedIn, seen sql.NullTime
		idle           sql.NullInt64
		profile        sql.NullString
		modified       sql.NullTime
		live           oidc.Live
	)
	columns := []any{
		&g.TenantID, &g.ID, &g.HomeID, &g.MembershipID, &g.UserID, &g.ClientID, &g.SessionID, &g.Offline, &g.Scopes, &g.Claims, &g.Nonce,
		&g.AuthTime, &g.ACR, &g.AMR, &g.CreatedAt, &g.RevokedAt, &g.Resources, &g.Details, &g.FromTenant, &g.FromID, &live.TenantSlug, &live.TenantVersion, &live.TenantStatus, &live.Blueprint, &live.BlueprintVersion, &policy,
		&live.Status, &live.UserDisabled, &expires, &ended, &signedIn, &seen, &idle, &live.SourceOver, &g.ViaTenant, &g.Via, &g.TrustedAt, &g.TrustedByMail, &profile, &modified,
	}
	if err := row.Scan(append(columns, extra...)...); err != nil {
		return nil, classify(err, "")
	}
	var err error
	live.Profile, live.ProfileModified = profile.String, modified.Time.UTC()
	live.Grant, err = g.grant()
	err = errors.Join(err, decode(policy, &live.Policy))
	if expires.Valid && !ended.Valid {
		live.In = &authn.Session{
			ID: id.Session(g.SessionID), User: id.User(g.UserID), Expires: expires.Time.UTC(), AuthTime: signedIn.Time.UTC(), LastSeen: seen.Time.UTC(),
			Idle: time.Duration(idle.Int64) * time.Second,
		}
	}
	return &live, err
}

// Live implements oidc.TokenStore.
func (s *Store) Live(ctx context.Context, tenant id.Tenant, grant id.Grant, jti string) (*oidc.Live, error) {
	if s.together(ctx, string(tenant)+string(grant)+jti) {
		q := &soughtGrant{tenant: tenant, grant: grant, jti: jti}
		err := s.questions.ask(ctx, q)
		if err == nil && q.live == nil {
			err = &fault.Error{Kind: fault.NotFound}
		}
		return q.live, err
	}
	var revoked bool
	live, err := scanLive(s.queryRow(ctx, `SELECT `+liveColumns+`, EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.jti = ?)
		FROM grants g `+liveTables+` WHERE g.tenant_id = ? AND g.id = ?`, jti, tenant, grant), &revoked)
	if err != nil {
		return nil, err
	}
	live.TokenRevoked = revoked
	return live, nil
}

// soughtGrant is a question that Live asks together with those of others.
type soughtGrant struct {
	tenant id.Tenant
	grant  id.Grant
	jti    string

	live *oidc.Live // nil: there is no such grant
}

const seekGrants = `/* across tenants: each question names its own */
	SELECT live.*, asked.n FROM json_to_recordset(CAST($1 AS json)) AS asked(n integer, tenant_id text, grant_id text, jti text)
	JOIN LATERAL (SELECT ` + liveColumns + `, EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.jti = asked.jti)
		FROM grants g ` + liveTables + ` WHERE g.tenant_id = asked.tenant_id AND g.id = asked.grant_id LIMIT 1) live ON true`

func (q *soughtGrant) statement() string { return seekGrants }

func (q *soughtGrant) asked(n int) []any {
	return []any{struct {
		N      int       `json:"n"`
		Tenant id.Tenant `json:"tenant_id"`
		Grant  id.Grant  `json:"grant_id"`
		JTI    string    `json:"jti"`
	}{n, q.tenant, q.grant, q.jti}}
}

func (q *soughtGrant) read(row scanner) error {
	var revoked bool
	live, err := scanLive(row, &revoked, nil)
	if err != nil {
		return err
	}
	live.TokenRevoked, q.live = revoked, live
	return nil
}

// soughtRefreshToken is a question that LiveByRefreshToken asks together with
// those of others.
type soughtRefreshToken struct {
	hash string // in hexadecimal

	token *oidc.RefreshToken // nil: there is none
	live  *oidc.Live
}

const (
	refreshColumns = liveColumns + `, r.created_at, r.expires_at, r.rotated_at, r.dpop_jkt`
	refreshTables  = `refresh_tokens r JOIN grants g ON g.tenant_id = r.tenant_id AND g.id = r.grant_id ` + liveTables
)

const seekRefreshTokens = `/* across tenants: the token says which tenant it is of */
	SELECT live.*, asked.n FROM json_to_recordset(CAST($1 AS json)) AS asked(n integer, hash text)
	JOIN LATERAL (SELECT ` + refreshColumns + ` FROM ` + refreshTables + ` WHERE r.hash = decode(asked.hash, 'hex') LIMIT 1) live ON true`

func (q *soughtRefreshToken) statement() string { return seekRefreshTokens }

func (q *soughtRefreshToken) asked(n int) []any {
	return []any{struct {
		N    int    `json:"n"`
		Hash string `json:"hash"`
	}{n, q.hash}}
}

func (q *soughtRefreshToken) read(row scanner) (err error) {
	q.token, q.live, err = scanRefreshToken(row, nil)
	return err
}

// scanRefreshToken reads refreshColumns and then extra ones.
func scanRefreshToken(row scanner, extra ...any) (*oidc.RefreshToken, *oidc.Live, error) {
	var t oidc.RefreshToken
	var rotated *time.Time
	live, err := scanLive(row, append([]any{&t.Created, &t.Expires, &rotated, &t.Key}, extra...)...)
	if err != nil {
		return nil, nil, err
	}
	t.Tenant, t.Grant, t.Created, t.Expires, t.Rotated = live.Tenant, live.ID, t.Created.UTC(), t.Expires.UTC(), orZeroTime(rotated)
	return &t, live, nil
}

// LiveByRefreshToken implements oidc.TokenStore.
func (s *Store) LiveByRefreshToken(ctx context.Context, token secret.Hash) (*oidc.RefreshToken, *oidc.Live, error) {
	q := &soughtRefreshToken{hash: hex.EncodeToString(token[:])}
	var err error
	if s.together(ctx, q.hash) {
		if err = s.questions.ask(ctx, q); err == nil && q.token == nil {
			err = &fault.Error{Kind: fault.NotFound}
		}
	} else {
		q.token, q.live, err = scanRefreshToken(s.queryRow(ctx, `/* across tenants: the token says which tenant it is of */
			SELECT `+refreshColumns+` FROM `+refreshTables+` WHERE r.hash = ?`, token[:]))
	}
	if err != nil {
		return nil, nil, err
	}
	q.token.Hash = token
	return q.token, q.live, nil
}

// LiveByAccessToken implements oidc.TokenStore.
func (s *Store) LiveByAccessToken(ctx context.Context, token secret.Hash) (*oidc.AccessToken, *oidc.Live, error) {
	t := &oidc.AccessToken{Hash: token}
	var tenant, grant *string
	var scopes, audience, details string
	err := s.queryRow(ctx, `/* across tenants: the token says which tenant it is of */
		SELECT tenant_id, grant_id, client_id, scopes, created_at, expires_at, dpop_jkt, audience, details FROM access_tokens WHERE hash = ?`, token[:]).
		Scan(&tenant, &grant, &t.ClientID, &scopes, &t.Created, &t.Expires, &t.Key, &audience, &details)
	if err != nil {
		return nil, nil, classify(err, "")
	}
	t.Tenant, t.Grant = id.Tenant(orEmpty(tenant)), id.Grant(orEmpty(grant))
	t.Created, t.Expires = t.Created.UTC(), t.Expires.UTC()
	t.Details, err = decodeDetails(details)
	if err := errors.Join(err, decode(scopes, &t.Scopes), decode(audience, &t.Audience)); err != nil || t.Grant == "" {
		return t, nil, err // a machine's token hangs on no grant
	}
	live, err := s.Live(ctx, t.Tenant, t.Grant, "")
	return t, live, err
}

// refreshTokenRow is a row of the table refresh_tokens.
type refreshTokenRow struct {
	Hash      []byte
	TenantID  string
	GrantID   string
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt time.Time
	RotatedAt *time.Time
	DPoPJKT   string `gorm:"column:dpop_jkt"`
}

// TableName implements gorm's Tabler.
func (refreshTokenRow) TableName() string { return "refresh_tokens" }

// CreateRefreshToken implements oidc.GrantStore.
func (s *Store) CreateRefreshToken(ctx context.Context, t *oidc.RefreshToken) error {
	return classify(s.conn(ctx).Create(&refreshTokenRow{
		Hash: t.Hash[:], TenantID: string(t.Tenant), GrantID: string(t.Grant), CreatedAt: at(t.Created), ExpiresAt: at(t.Expires), DPoPJKT: t.Key,
	}).Error, "")
}

// RotateRefreshToken implements oidc.GrantStore. PostgreSQL does it in one
// statement, which is a third of the way to and fro.
func (s *Store) RotateRefreshToken(ctx context.Context, old secret.Hash, next *oidc.RefreshToken) (bool, error) {
	if !s.sqlite {
		result := s.conn(ctx).Exec(`WITH rotated AS (
				UPDATE refresh_tokens SET rotated_at = ? WHERE hash = ? AND tenant_id = ? AND rotated_at IS NULL RETURNING tenant_id)
			INSERT INTO refresh_tokens (hash, tenant_id, grant_id, created_at, expires_at, dpop_jkt) SELECT ?, tenant_id, ?, ?, ?, ? FROM rotated`,
			at(next.Created), old[:], next.Tenant, next.Hash[:], next.Grant, at(next.Created), at(next.Expires), next.Key)
		return result.RowsAffected == 1, classify(result.Error, "")
	}
	rotated := false
	err := s.InTx(ctx, func(ctx context.Context) error {
		result := s.conn(ctx).Exec(`UPDATE refresh_tokens SET rotated_at = ? WHERE hash = ? AND tenant_id = ? AND rotated_at IS NULL`,
			at(next.Created), old[:], next.Tenant)
		if result.Error != nil {
			return classify(result.Error, "")
		}
		if rotated = result.RowsAffected == 1; !rotated {
			return nil
		}
		return s.CreateRefreshToken(ctx, next)
	})
	return rotated, err
}

// accessTokenRow is a row of the table access_tokens.
type accessTokenRow struct {
	Hash      []byte
	TenantID  *string
	GrantID   *string
	ClientID  string
	Scopes    string
	DPoPJKT   string `gorm:"column:dpop_jkt"`
	Audience  string
	Details   string
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt time.Time
}

// TableName implements gorm's Tabler.
func (accessTokenRow) TableName() string { return "access_tokens" }

// CreateAccessToken implements oidc.TokenStore.
func (s *Store) CreateAccessToken(ctx context.Context, t *oidc.AccessToken) error {
	scopes, err := encode(t.Scopes)
	if err != nil {
		return err
	}
	audience, err := encode(orEmptyList(t.Audience))
	if err != nil {
		return err
	}
	details, err := encodeDetails(t.Details)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&accessTokenRow{
		DPoPJKT: t.Key, Audience: audience, Details: details,
		Hash: t.Hash[:], TenantID: orNull(string(t.Tenant)), GrantID: orNull(string(t.Grant)), ClientID: t.ClientID,
		Scopes: scopes, CreatedAt: at(t.Created), ExpiresAt: at(t.Expires),
	}).Error, "")
}

// DeleteAccessToken implements oidc.TokenStore.
func (s *Store) DeleteAccessToken(ctx context.Context, token secret.Hash) error {
	return classify(s.conn(ctx).Exec(`/* across tenants: the token says which tenant it is of */
		DELETE FROM access_tokens WHERE hash = ?`, token[:]).Error, "")
}

// RevokeToken implements oidc.TokenStore.
func (s *Store) RevokeToken(ctx context.Context, jti string, expires time.Time) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO revoked_tokens (jti, expires_at) VALUES (?, ?) ON CONFLICT (jti) DO NOTHING`, jti, at(expires)).Error, "")
}

// TokenRevoked implements oidc.TokenStore.
func (s *Store) TokenRevoked(ctx context.Context, jti string) (bool, error) {
	var revoked bool
	err := s.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM revoked_tokens WHERE jti = ?)`, jti).Scan(&revoked)
	return revoked, classify(err, "")
}

// ExtendRefreshToken implements oidc.TokenStore.
func (s *Store) ExtendRefreshToken(ctx context.Context, tenant id.Tenant, token secret.Hash, expires time.Time) error {
	return classify(s.conn(ctx).Exec(`UPDATE refresh_tokens SET expires_at = ? WHERE tenant_id = ? AND hash = ?`, at(expires), tenant, token[:]).Error, "")
}

// UseOnce implements oidc.TokenStore.
func (s *Store) UseOnce(ctx context.Context, thing secret.Hash, expires time.Time) (bool, error) {
	result := s.conn(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&usedOnceRow{Thing: thing[:], ExpiresAt: at(expires)})
	return result.RowsAffected == 1, classify(result.Error, "")
}

// usedOnceRow is a row of the table used_once.
type usedOnceRow struct {
	Thing     []byte
	ExpiresAt time.Time
}

// TableName implements gorm's Tabler.
func (usedOnceRow) TableName() string { return "used_once" }

// DeleteExpiredTokens implements oidc.TokenStore. A grant goes with its codes and
// refresh tokens when none of them can be used any more. Until then the used
// ones stay, so that another use is noticed.
func (s *Store) DeleteExpiredTokens(ctx context.Context, before time.Time) (int, error) {
	deleted := 0
	for _, statement := range []string{
		`DELETE FROM authorization_requests WHERE expires_at < @before`,
		`DELETE FROM device_codes WHERE expires_at < @told`,
		`DELETE FROM revoked_tokens WHERE expires_at < @before`,
		`DELETE FROM used_once WHERE expires_at < @before`,
		`DELETE FROM pushed_requests WHERE expires_at < @completed`,
		`/* across tenants: what is over is over in all */ DELETE FROM access_tokens WHERE expires_at < @before`,
		`/* across tenants: what is over is over in all */ DELETE FROM grants
			WHERE NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.tenant_id = grants.tenant_id AND r.grant_id = grants.id AND r.expires_at >= @before)
			AND NOT EXISTS (SELECT 1 FROM codes c WHERE c.tenant_id = grants.tenant_id AND c.grant_id = grants.id AND c.expires_at >= @before)
			AND NOT EXISTS (SELECT 1 FROM device_codes d WHERE d.grant_tenant = grants.tenant_id AND d.grant_id = grants.id AND d.expires_at >= @before)
			AND NOT EXISTS (SELECT 1 FROM grants f WHERE f.tenant_id = grants.from_tenant AND f.id = grants.from_id)`,
		`/* across tenants: what is over is over in all */ DELETE FROM support_sessions WHERE ended_at < @kept`,
		`/* across tenants: what is over is over in all */ DELETE FROM registration_tokens WHERE expires_at < @listed`,
	} {
		result := s.conn(ctx).Exec(statement, sql.Named("before", at(before)), sql.Named("kept", at(before.Add(-oidc.SupportRetention))),
			sql.Named("completed", at(before.Add(-oidc.RequestLifetime))), sql.Named("listed", at(before.Add(-oidc.RegistrationTokenKept))),
			sql.Named("told", at(before.Add(-oidc.DeviceCodeLifetime)))) // so that a device that waits learns that nobody came
		if result.Error != nil {
			return deleted, classify(result.Error, "")
		}
		deleted += int(result.RowsAffected)
	}
	return deleted, nil
}
