package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// How long things live.
const (
	RequestLifetime      = 30 * time.Minute
	CodeLifetime         = time.Minute // RFC 9700 §2.1.1 asks for a short one
	AccessTokenLifetime  = 5 * time.Minute
	IDTokenLifetime      = time.Hour
	RefreshTokenIdle     = 30 * 24 * time.Hour  // without use
	RefreshGrace         = 20 * time.Second     // in which an exchange may be repeated
	GrantLifetime        = 365 * 24 * time.Hour // however much it is used
	LogoutTokenLifetime  = 2 * time.Minute      // OIDC Back-Channel Logout §4
	retiredKeyLifetime   = 24 * time.Hour       // longer than anything it signed
	applicationCacheTime = 2 * time.Second
)

// Prefixes of the opaque tokens, so that a leaked one is recognized.
const (
	codePrefix    = "rcac_"
	accessPrefix  = "rcat_"
	refreshPrefix = "rcrt_"
)

// A Grant is what one person gave one application in one tenant, with how the
// person had signed in. It never changes but for its revocation.
type Grant struct {
	Tenant id.Tenant
	ID     id.Grant
	// Home is the tenant of Membership: Tenant itself, or one from which the
	// person's roles reach it.
	Home       id.Tenant
	Membership id.Membership
	User       id.User
	ClientID   string
	Session    id.Session
	Offline    bool // it outlives its session (OIDC Core §11)
	Scopes     []string
	Claims     RequestedClaims
	Nonce      string
	AuthTime   time.Time
	ACR        string
	AMR        []string
	Created    time.Time
	Revoked    time.Time // zero: in force
	Resources  []string  // for which its access tokens are; none: this server
	Details    Details   // what of RFC 9396 the person has allowed
	// From is the grant, of FromTenant, whose token was exchanged for this one's: it
	// ends with that one. Empty: the person has signed in for it.
	FromTenant id.Tenant
	From       id.Grant
	// Via is the tenant's own provider by which the person had signed in.
	Via directory.Via
	// TrustedAt and TrustedByMail are those of the session's trusted device, if it was
	// that which stood in for the second factor.
	TrustedAt     time.Time
	TrustedByMail bool
}

// classAt returns the authentication context class of the grant's sign-in, as if it
// were of that moment, by what a tenant takes for a second factor: a browser that it
// does not trust for so long is none, nor a code by mail where it takes none.
func (g *Grant) classAt(when time.Time, tenant *directory.Standing) string {
	signIn := authn.Session{ACR: authn.ACROf(g.AMR), AMR: g.AMR, TrustedAt: g.TrustedAt, TrustedByMail: g.TrustedByMail}
	return signIn.ACRAt(when, tenant)
}

// A Code is an authorization code: one use, one minute, one application, one
// redirect URI, one PKCE challenge.
type Code struct {
	Hash        secret.Hash
	Tenant      id.Tenant
	Grant       id.Grant
	ClientID    string
	RedirectURI string
	Challenge   string // S256 (RFC 7636 §4.2); empty where the application need not send one
	Expires     time.Time
	Used        time.Time // zero: not yet
	Key         string    // thumbprint of the key that the redeemer must have; empty: any or none
}

// A RefreshToken is one link in a grant's chain of refresh tokens.
type RefreshToken struct {
	Hash    secret.Hash
	Tenant  id.Tenant
	Grant   id.Grant
	Created time.Time
	Expires time.Time
	Rotated time.Time // zero: it is the chain's last
	Key     string    // thumbprint of the key that its user must have; empty: the application authenticates
}

// An AccessToken is an opaque one; signed ones are not stored.
type AccessToken struct {
	Hash     secret.Hash
	Tenant   id.Tenant
	Grant    id.Grant // empty for a machine's
	ClientID string
	Scopes   []string
	Created  time.Time
	Expires  time.Time
	Key      string // thumbprint of the key that it is bound to; empty: a bearer token
	Audience []string
	Details  Details
}

// Live is a grant with everything that decides whether it is accepted now, read
// in one statement.
type Live struct {
	Grant
	TenantSlug       string
	TenantVersion    int64
	TenantStatus     string
	Blueprint        string
	BlueprintVersion int
	Policy           directory.Policy // the tenant's
	Status           directory.Status // empty: the membership is gone
	UserDisabled     bool             // or the user is gone
	In               *authn.Session   // with how it was used, and no more; nil: it is over
	TokenRevoked     bool             // the one token that was asked about was revoked
	SourceOver       bool             // From was revoked, or is gone
	// Profile is what the membership's tenant says of the person, as JSON, which few
	// have to decode; empty where the membership is gone.
	Profile         string
	ProfileModified time.Time
}

// alive reports whether what hangs on the grant is accepted at now. A grant
// that is not offline lives as long as its session. From then on the grant's ACR is
// what the tenant makes of the sign-in by now.
func (o *OIDC) alive(ctx context.Context, l *Live, now time.Time) (bool, error) {
	if err := o.weighSignIn(ctx, l); err != nil {
		return false, err
	}
	switch {
	case !l.Revoked.IsZero(), l.SourceOver, l.TokenRevoked, l.UserDisabled:
		return false, nil
	case l.Policy.RequiresSecondFactor(now) && authn.CompareACR(l.ACR, authn.ACR2) < 0:
		return false, nil
	case !l.Offline && (l.In == nil || !o.authn.Accepts(l.In, l.Policy.SessionLimits(), now)):
		return false, nil
	case !now.Before(l.Created.Add(GrantLifetime)):
		return false, nil
	}
	if !l.Via.None() { // which few grants are
		if l.Via.Tenant != l.Home {
			return false, nil // one tenant's provider is none for another tenant
		}
		if enabled, err := o.store.ProviderEnabled(ctx, l.Via.Tenant, l.Via.Provider); err != nil || !enabled {
			return false, err
		}
	}
	usable, err := o.rights.Usable(ctx, l.Blueprint, l.BlueprintVersion, l.TenantStatus, l.Status)
	if err != nil || !usable {
		return false, err
	}
	if l.Home != l.Tenant {
		return o.reaches(ctx, l)
	}
	if l.Policy.SSO == directory.SSORequired && l.Via.Tenant != l.Tenant {
		return o.stillAdmitted(ctx, l)
	}
	if authn.CompareACR(l.ACR, authn.ACR2) >= 0 {
		return true, nil
	}
	demanded, err := o.rights.SecondFactor(ctx, directory.Presence{
		User: l.User, Tenant: l.Tenant, Version: l.TenantVersion, Blueprint: l.Blueprint, BlueprintVersion: l.BlueprintVersion,
		SSO: l.Via.Tenant == l.Tenant,
	})
	return !demanded, err
}

// weighSignIn lowers the grant's ACR where it rests on what is no factor, and what
// the tenant takes for one no longer: its codes by mail were switched off since, or
// it trusts browsers for a shorter time.
func (o *OIDC) weighSignIn(ctx context.Context, l *Live) error {
	if authn.CompareACR(l.ACR, authn.ACR2) < 0 || authn.CompareACR(authn.ACROf(l.AMR), authn.ACR2) >= 0 {
		return nil
	}
	taken, err := o.rights.StandIns(ctx, l.Blueprint, l.BlueprintVersion, l.Policy)
	if err != nil {
		return err
	}
	l.ACR = l.classAt(l.Created, &directory.Standing{TrustedDevice: taken.TrustedDevice, MailCodes: taken.MailCodes})
	return nil
}

// stillAdmitted reports whether a person who has not signed in by the tenant's own
// provider is let in all the same by a tenant that requires that.
func (o *OIDC) stillAdmitted(ctx context.Context, l *Live) (bool, error) {
	standing, err := o.rights.Standing(ctx, string(l.Tenant), l.User)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	strong := authn.CompareACR(l.ACR, authn.ACR2) >= 0
	by, err := o.rights.Admits(ctx, standing, l.Via, strong)
	return by == directory.Admitted && standing.SignIn && (!standing.SecondFactor || strong), err
}

// reaches reports whether the person's roles still let them into a tenant in
// which they are no member, as they have signed in.
func (o *OIDC) reaches(ctx context.Context, l *Live) (bool, error) {
	standing, err := o.rights.Standing(ctx, string(l.Tenant), l.User)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return standing.SignIn && (!standing.SecondFactor || authn.CompareACR(l.ACR, authn.ACR2) >= 0), nil
}
