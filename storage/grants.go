package storage

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// grantRow is a row of the table grants.
type grantRow struct {
	TenantID      string
	ID            string
	MembershipID  string
	HomeID        string
	UserID        string
	ClientID      string
	SessionID     string
	Offline       bool
	Scopes        string
	Claims        string
	Nonce         string
	AuthTime      time.Time
	ACR           string
	AMR           string
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	RevokedAt     *time.Time
	Resources     string
	Details       string
	FromTenant    *string
	FromID        *string
	ViaTenant     string `gorm:"column:provider_tenant"`
	Via           string `gorm:"column:provider_id"`
	TrustedAt     *time.Time
	TrustedByMail bool
}

// TableName implements gorm's Tabler.
func (*grantRow) TableName() string { return "grants" }

const grantColumns = `tenant_id, id, home_id, membership_id, user_id, client_id, session_id, offline, scopes, claims, nonce, auth_time, acr, amr, created_at, revoked_at, resources, details, from_tenant, from_id, provider_tenant, provider_id, trusted_at, trusted_by_mail`

func (r *grantRow) grant() (oidc.Grant, error) {
	g := oidc.Grant{
		Tenant: id.Tenant(r.TenantID), ID: id.Grant(r.ID), Home: id.Tenant(r.HomeID), Membership: id.Membership(r.MembershipID), User: id.User(r.UserID),
		ClientID: r.ClientID, Session: id.Session(r.SessionID), Offline: r.Offline, Nonce: r.Nonce,
		AuthTime: r.AuthTime.UTC(), ACR: r.ACR, Created: r.CreatedAt.UTC(), Revoked: orZeroTime(r.RevokedAt),
		FromTenant: id.Tenant(orEmpty(r.FromTenant)), From: id.Grant(orEmpty(r.FromID)),
		Via:       directory.Via{Tenant: id.Tenant(r.ViaTenant), Provider: id.IdentityProvider(r.Via)},
		TrustedAt: orZeroTime(r.TrustedAt), TrustedByMail: r.TrustedByMail,
	}
	err := errors.Join(decode(r.Scopes, &g.Scopes), decode(r.AMR, &g.AMR))
	if r.Claims != "" {
		err = errors.Join(err, decode(r.Claims, &g.Claims))
	}
	if r.Resources != "" {
		err = errors.Join(err, decode(r.Resources, &g.Resources))
	}
	details, invalid := decodeDetails(r.Details)
	g.Details = details
	return g, errors.Join(err, invalid)
}

// CreateGrant implements oidc.GrantStore.
func (s *Store) CreateGrant(ctx context.Context, g *oidc.Grant) error {
	scopes, err := encode(g.Scopes)
	if err != nil {
		return err
	}
	amr, err := encode(g.AMR)
	if err != nil {
		return err
	}
	claims := ""
	if g.Claims.UserInfo != nil || g.Claims.IDToken != nil { // most grants have none, and are read with every request
		if claims, err = encode(g.Claims); err != nil {
			return err
		}
	}
	resources := ""
	if len(g.Resources) > 0 {
		if resources, err = encode(g.Resources); err != nil {
			return err
		}
	}
	details, err := encodeDetails(g.Details)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&grantRow{
		Resources: resources, Details: details, ViaTenant: string(g.Via.Tenant), Via: string(g.Via.Provider),
		TenantID: string(g.Tenant), ID: string(g.ID), HomeID: string(g.Home), MembershipID: string(g.Membership), UserID: string(g.User),
		ClientID: g.ClientID, SessionID: string(g.Session), Offline: g.Offline, Scopes: scopes, Claims: claims, Nonce: g.Nonce,
		AuthTime: at(g.AuthTime), ACR: g.ACR, AMR: amr, CreatedAt: at(g.Created),
		FromTenant: orNull(string(g.FromTenant)), FromID: orNull(string(g.From)), TrustedAt: atOrNull(g.TrustedAt), TrustedByMail: g.TrustedByMail,
	}).Error, "")
}

// ExchangedGrants implements oidc.GrantStore.
func (s *Store) ExchangedGrants(ctx context.Context, tenant id.Tenant, source *oidc.Grant, clientID string) ([]oidc.Grant, error) {
	return grantsOf(s.conn(ctx).Raw(`SELECT `+grantColumns+` FROM grants
		WHERE from_tenant = ? AND from_id = ? AND tenant_id = ? AND client_id = ? AND revoked_at IS NULL`, source.Tenant, source.ID, tenant, clientID))
}

// HoldMembership implements oidc.Store. On SQLite the transaction itself holds
// every row.
func (s *Store) HoldMembership(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	query := `SELECT id FROM memberships WHERE tenant_id = ? AND id = ?`
	if !s.sqlite {
		query += ` FOR SHARE`
	}
	var held string
	return classify(s.conn(ctx).Raw(query, tenant, membership).Row().Scan(&held), "")
}

// Holds implements oidc.GrantStore.
func (s *Store) Holds(ctx context.Context, tenant id.Tenant, membership id.Membership, user id.User) (holds bool, err error) {
	err = s.queryRow(ctx, `/* across tenants: a membership has grants wherever its roles reach, and a person acts, or is acted for, in any */
		SELECT EXISTS (SELECT 1 FROM grants WHERE home_id = ? AND membership_id = ? AND revoked_at IS NULL)
			OR EXISTS (SELECT 1 FROM application_tokens WHERE tenant_id = ? AND creator_id = ? AND revoked_at IS NULL)
			OR EXISTS (SELECT 1 FROM support_sessions WHERE ended_at IS NULL AND (user_id = ? AND tenant_id = ? OR staff_id = ? AND staff_tenant_id = ?))`,
		string(tenant), string(membership), string(tenant), string(user), string(user), string(tenant), string(user), string(tenant)).Scan(&holds)
	return holds, classify(s.translate(err), "")
}

// RevokeGrant implements oidc.GrantStore.
func (s *Store) RevokeGrant(ctx context.Context, tenant id.Tenant, grant id.Grant, revoked time.Time) (bool, error) {
	result := s.conn(ctx).Exec(`UPDATE grants SET revoked_at = ? WHERE tenant_id = ? AND id = ? AND revoked_at IS NULL`, at(revoked), tenant, grant)
	return result.RowsAffected == 1, classify(result.Error, "")
}

// RevokeGrantsOfMembership implements oidc.GrantStore.
func (s *Store) RevokeGrantsOfMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, revoked time.Time) ([]oidc.Grant, error) {
	return grantsOf(s.conn(ctx).Raw(`/* across tenants: a membership has grants wherever its roles reach */
		UPDATE grants SET revoked_at = ? WHERE home_id = ? AND membership_id = ? AND revoked_at IS NULL
		RETURNING `+grantColumns, at(revoked), tenant, membership))
}

// RevokeGrantsOfSession implements oidc.GrantStore.
func (s *Store) RevokeGrantsOfSession(ctx context.Context, session id.Session, revoked time.Time) ([]oidc.Grant, error) {
	var grants []oidc.Grant
	err := s.InTx(ctx, func(ctx context.Context) error {
		var err error
		grants, err = grantsOf(s.conn(ctx).Raw(`/* across tenants: a session has grants in any of the person's tenants */
			SELECT `+grantColumns+` FROM grants WHERE session_id = ? AND revoked_at IS NULL`, session))
		if err != nil {
			return err
		}
		return classify(s.conn(ctx).Exec(`/* across tenants: a session has grants in any of the person's tenants */
			UPDATE grants SET revoked_at = ? WHERE session_id = ? AND revoked_at IS NULL AND NOT offline`, at(revoked), session).Error, "")
	})
	return grants, err
}

func grantsOf(query *gorm.DB) ([]oidc.Grant, error) {
	var rows []grantRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	grants := make([]oidc.Grant, 0, len(rows))
	for i := range rows {
		g, err := rows[i].grant()
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// codeRow is a row of the table codes.
type codeRow struct {
	Hash          []byte
	TenantID      string
	GrantID       string
	ClientID      string
	RedirectURI   string `gorm:"column:redirect_uri"`
	CodeChallenge string
	ExpiresAt     time.Time
	UsedAt        *time.Time
	DPoPJKT       string `gorm:"column:dpop_jkt"`
}

// TableName implements gorm's Tabler.
func (codeRow) TableName() string { return "codes" }

const codeColumns = `hash, tenant_id, grant_id, client_id, redirect_uri, code_challenge, expires_at, used_at, dpop_jkt`

// CreateCode implements oidc.GrantStore.
func (s *Store) CreateCode(ctx context.Context, c *oidc.Code) error {
	return classify(s.conn(ctx).Create(&codeRow{
		Hash: c.Hash[:], TenantID: string(c.Tenant), GrantID: string(c.Grant), ClientID: c.ClientID,
		RedirectURI: c.RedirectURI, CodeChallenge: c.Challenge, ExpiresAt: at(c.Expires), DPoPJKT: c.Key,
	}).Error, "")
}

// Code implements oidc.GrantStore.
func (s *Store) Code(ctx context.Context, code secret.Hash) (*oidc.Code, error) {
	return oneCode(s.conn(ctx).Raw(`/* across tenants: the code says which tenant it is of */
		SELECT `+codeColumns+` FROM codes WHERE hash = ?`, code[:]))
}

// UseCode implements oidc.GrantStore.
func (s *Store) UseCode(ctx context.Context, code secret.Hash, clientID string, used time.Time) (*oidc.Code, error) {
	return oneCode(s.conn(ctx).Raw(`/* across tenants: the code says which tenant it is of */
		UPDATE codes SET used_at = ? WHERE hash = ? AND client_id = ? AND used_at IS NULL RETURNING `+codeColumns, at(used), code[:], clientID))
}

func oneCode(query *gorm.DB) (*oidc.Code, error) {
	var rows []codeRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	r := rows[0]
	return &oidc.Code{
		Hash: secret.Hash(r.Hash), Tenant: id.Tenant(r.TenantID), Grant: id.Grant(r.GrantID), ClientID: r.ClientID,
		RedirectURI: r.RedirectURI, Challenge: r.CodeChallenge, Expires: r.ExpiresAt.UTC(), Used: orZeroTime(r.UsedAt), Key: r.DPoPJKT,
	}, nil
}
