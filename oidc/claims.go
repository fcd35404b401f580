package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// maxTenants bounds the claim tenants, and so the size of a token.
const maxTenants = 50

// TenantClaims say what the subject is in the tenant in use. ID tokens, access
// tokens, userinfo and introspection carry the same. A list is nil where its
// scope was not granted, and empty where there is nothing to list.
type TenantClaims struct {
	Tenant           id.Tenant     `json:"tid,omitempty"`
	Slug             string        `json:"tenant,omitempty"`
	Roles            []string      `json:"roles,omitzero"`       // RFC 9068 §2.2.3.1
	Groups           []string      `json:"groups,omitzero"`      // scope groups
	Permissions      []string      `json:"permissions,omitzero"` // scope permissions
	Tenants          []TenantClaim `json:"tenants,omitzero"`     // scope tenants; at most 50
	TenantsTruncated bool          `json:"tenants_truncated,omitempty"`
}

// A TenantClaim is one entry of the claim tenants.
type TenantClaim struct {
	Tenant id.Tenant `json:"tid"`
	Slug   string    `json:"tenant"`
	Name   string    `json:"name"`
	Roles  []string  `json:"roles"`
}

// SignInClaims say how the person has signed in. They come from the grant, so
// that a refresh does not change them.
type SignInClaims struct {
	AuthTime int64      `json:"auth_time,omitempty"`
	ACR      string     `json:"acr,omitempty"`
	AMR      []string   `json:"amr,omitempty"`
	Session  id.Session `json:"sid,omitempty"`
}

// AccessClaims is the payload of a signed access token (RFC 9068 §2.2).
type AccessClaims struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"` // the issuer where no other was asked for: the instance is the default resource (RFC 9068 §3)
	Subject  string   `json:"sub"`
	ClientID string   `json:"client_id"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Scope    string   `json:"scope,omitempty"`
	Details  Details  `json:"authorization_details,omitempty"` // RFC 9396 §9.1
	// Act is set in a support session: who acts as the subject.
	Act *ActClaim `json:"act,omitempty"`
	// Confirm is set in a token that is bound to a key.
	Confirm *Confirmation `json:"cnf,omitempty"`
	SignInClaims
	TenantClaims
}

// IDClaims is the payload of an ID token (OIDC Core §2).
type IDClaims struct {
	Issuer     string `json:"iss"`
	Audience   string `json:"aud"`
	Subject    string `json:"sub"`
	Expires    int64  `json:"exp"`
	Issued     int64  `json:"iat"`
	Nonce      string `json:"nonce,omitempty"`
	AccessHash string `json:"at_hash,omitempty"`
	SignInClaims
	TenantClaims
	PersonClaims // only what was asked for by name (OIDC Core §5.5)
}

// UserInfo is the answer of the userinfo endpoint (OIDC Core §5.3.2).
type UserInfo struct {
	Subject string    `json:"sub"`
	Act     *ActClaim `json:"act,omitempty"`
	PersonClaims
	TenantClaims
}

// ClaimsSupported returns the names of the claims to publish.
func ClaimsSupported() []string {
	names := []string{
		"iss", "aud", "sub", "exp", "iat", "act", "nonce", "at_hash", "auth_time", "acr", "amr", "sid",
		"tid", "tenant", "roles", "groups", "permissions", "tenants", "tenants_truncated",
	}
	for _, scope := range []string{ScopeProfile, ScopeEmail, ScopePhone, ScopeAddress} {
		names = append(names, personClaimNames(scope)...)
	}
	return names
}

func signInClaims(g *Grant) SignInClaims {
	return SignInClaims{AuthTime: g.AuthTime.Unix(), ACR: g.ACR, AMR: g.AMR, Session: g.Session}
}

// tenantClaims returns what the person of the standing is, as far as the scopes go.
func (o *OIDC) tenantClaims(ctx context.Context, standing *directory.Standing, via directory.Via, scopes []string) (TenantClaims, error) {
	claims := TenantClaims{Tenant: standing.Tenant, Slug: standing.Slug, Roles: list(standing.RolesAt)}
	if slices.Contains(scopes, ScopeGroups) {
		claims.Groups = list(standing.Groups)
	}
	if slices.Contains(scopes, ScopePermissions) {
		claims.Permissions = list(standing.Permissions)
	}
	if slices.Contains(scopes, ScopeTenants) {
		if err := o.addTenants(ctx, &claims, standing.User.ID, via); err != nil {
			return claims, err
		}
	}
	return claims, nil
}

func (o *OIDC) addTenants(ctx context.Context, claims *TenantClaims, user id.User, via directory.Via) error {
	standings, err := o.rights.SignIns(ctx, user, maxTenants+1)
	if !via.None() { // whose provider learns of no other tenant
		standings = slices.DeleteFunc(standings, func(s directory.Standing) bool { return s.Home != via.Tenant })
	}
	if err != nil {
		return err
	}
	claims.TenantsTruncated = len(standings) > maxTenants
	claims.Tenants = []TenantClaim{}
	for i := range standings[:min(maxTenants, len(standings))] {
		s := &standings[i]
		claims.Tenants = append(claims.Tenants, TenantClaim{Tenant: s.Tenant, Slug: s.Slug, Name: s.TenantName, Roles: list(s.RolesAt)})
	}
	return nil
}

// list makes a nil list an empty one, which is encoded as such.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// accessHash is the claim at_hash of an ID token: half of the hash that its
// signature uses (OIDC Core §3.1.3.6), which of Ed25519 is SHA-512 (RFC 8032 §5.1).
func accessHash(alg Alg, token string) string {
	if alg == EdDSA {
		sum := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

func scopeText(scopes []string) string { return strings.Join(scopes, " ") }

func expiresIn(from time.Time, lifetime time.Duration) int64 { return from.Add(lifetime).Unix() }
