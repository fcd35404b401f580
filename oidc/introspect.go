package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// signedToken is a signed access token whose signature was found good. Whether
// it is in force is not part of it.
type signedToken struct {
	claims AccessClaims
	kid    string
}

// accessToken is an access token that is in force.
type accessToken struct {
	clientID string
	scopes   []string
	live     *Live // nil for a machine's and in a support session
	support  *SupportSession
	assumed  *directory.Assumed  // in a support session
	creator  *directory.Standing // of the application token that it was exchanged for, within its limits
	signed   *AccessClaims       // nil for an opaque one
	issued   time.Time
	expires  time.Time
	audience []string
	details  Details
	key      string // thumbprint of the key that it is bound to; empty: a bearer token
}

// tokenType is the token's type (RFC 6749 §7.1, RFC 9449 §5).
func (t *accessToken) tokenType() string {
	if t.key != "" {
		return TokenTypeDPoP
	}
	return TokenTypeBearer
}

// The types of access tokens.
const (
	TokenTypeBearer = "Bearer"
	TokenTypeDPoP   = "DPoP"
)

// Introspection is the answer of the introspection endpoint (RFC 7662 §2.2).
type Introspection struct {
	Active    bool   `json:"active"`
	TokenType string `json:"token_type,omitempty"`
	Username  string `json:"username,omitempty"`
	AccessClaims
}

// inactive is the answer for what is not in force and for what is not the
// caller's business alike (RFC 7662 §2.2).
type inactive struct {
	Active bool `json:"active"`
}

// Introspect says what a token is right now, to the application that it was
// issued to, and to applications of the same owner that can keep a secret. For
// everybody else, and for a token that is not in force, it is inactive. Of a
// person the roles are those of now, whatever is signed in the token. The answer
// is to be encoded as JSON.
func (o *OIDC) Introspect(ctx context.Context, caller *Application, token secret.Text) (any, error) {
	if !caller.Type.Confidential() {
		return nil, refuse(InvalidClient, "client authentication failed")
	}
	if strings.HasPrefix(token.Reveal(), refreshPrefix) {
		return o.introspectRefresh(ctx, caller, token)
	}
	if authn.LooksLikeApplicationToken(token) {
		return o.introspectApplicationToken(ctx, caller, token)
	}
	t, err := o.access(ctx, token)
	if NotInForce(err) {
		return o.introspectApplicationToken(ctx, caller, token)
	}
	if err != nil {
		return nil, err
	}
	if visible, err := o.sees(ctx, caller, t.clientID); err != nil || !visible {
		return inactive{}, err
	}
	if t.support != nil { // the roles are those of now
		claims := *t.signed
		claims.TenantClaims = supportClaims(t.assumed, t.support.Role, t.scopes)
		return &Introspection{Active: true, TokenType: t.tokenType(), Username: t.assumed.Standing.UserName, AccessClaims: claims}, nil
	}
	if t.creator != nil {
		claims := *t.signed
		claims.TenantClaims = tokenClaims(t.creator)
		return &Introspection{Active: true, TokenType: t.tokenType(), Username: t.creator.UserName, AccessClaims: claims}, nil
	}
	switch {
	case t.signed == nil:
		return o.introspectOpaque(ctx, t)
	case t.live == nil:
		return &Introspection{Active: true, TokenType: t.tokenType(), AccessClaims: *t.signed}, nil
	}
	standing, err := o.rights.Standing(ctx, string(t.live.Tenant), t.live.User)
	if err != nil {
		return nil, err
	}
	claims := *t.signed
	claims.SignInClaims = signInClaims(&t.live.Grant)
	claims.TenantClaims, err = o.tenantClaims(ctx, standing, t.live.Via, t.scopes)
	return &Introspection{Active: true, TokenType: t.tokenType(), Username: standing.UserName, AccessClaims: claims}, err
}

// signedIntrospection is the payload of a signed answer (RFC 9701 §5). It has no
// subject and does not expire, so that it never passes for a token of its own.
type signedIntrospection struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Answer   any    `json:"token_introspection"`
}

// IntrospectSigned is Introspect with the answer signed for the caller, by the
// algorithm of its ID tokens (RFC 9701), so that it can show it to others.
func (o *OIDC) IntrospectSigned(ctx context.Context, caller *Application, token secret.Text) (string, error) {
	answer, err := o.Introspect(ctx, caller, token)
	if err != nil {
		return "", err
	}
	return o.sign(ctx, caller.IDTokenAlg, typIntrospect, &signedIntrospection{
		Issuer: o.issuer, Audience: caller.ClientID, Issued: o.now().Unix(), Answer: answer,
	})
}

func (o *OIDC) introspectOpaque(ctx context.Context, t *accessToken) (*Introspection, error) {
	answer := &Introspection{Active: true, TokenType: t.tokenType(), AccessClaims: AccessClaims{
		Issuer: o.issuer, Audience: t.audience, Confirm: confirm(t.key), ClientID: t.clientID,
		Expires: t.expires.Unix(), Issued: t.issued.Unix(), Scope: scopeText(t.scopes), Details: t.details,
	}}
	if t.live == nil {
		a, err := o.Application(ctx, t.clientID)
		if err != nil {
			return nil, err
		}
		answer.Subject = a.ClientID
		answer.TenantClaims, err = o.machineClaims(ctx, a, t.scopes)
		return answer, err
	}
	standing, err := o.rights.Standing(ctx, string(t.live.Tenant), t.live.User)
	if err != nil {
		return nil, err
	}
	if answer.Subject, err = o.subjectOf(ctx, t.clientID, t.live.User); err != nil {
		return nil, err
	}
	answer.Username = standing.UserName
	answer.SignInClaims = signInClaims(&t.live.Grant)
	answer.TenantClaims, err = o.tenantClaims(ctx, standing, t.live.Via, t.scopes)
	return answer, err
}

func (o *OIDC) introspectRefresh(ctx context.Context, caller *Application, token secret.Text) (any, error) {
	t, live, err := o.store.LiveByRefreshToken(ctx, token.Hash())
	if errors.Is(err, fault.NotFound) {
		return inactive{}, nil
	}
	if err != nil {
		return nil, err
	}
	now := o.now()
	if live.ClientID != caller.ClientID || !t.Rotated.IsZero() || !now.Before(t.Expires) {
		return inactive{}, nil
	}
	if alive, err := o.alive(ctx, live, now); err != nil || !alive {
		return inactive{}, err
	}
	subject, err := o.Subject(ctx, caller, live.User)
	return &Introspection{Active: true, AccessClaims: AccessClaims{
		Issuer: o.issuer, Audience: audience{o.issuer}, Confirm: confirm(t.Key), Subject: subject, ClientID: live.ClientID,
		Expires: t.Expires.Unix(), Issued: t.Created.Unix(), Scope: scopeText(live.Scopes), Details: live.Details,
		SignInClaims: signInClaims(&live.Grant), TenantClaims: TenantClaims{Tenant: live.Tenant, Slug: live.TenantSlug},
	}}, err
}

// sees reports whether the caller may know anything about a token of the
// application. One that has registered itself is nobody's of the owner's.
func (o *OIDC) sees(ctx context.Context, caller *Application, clientID string) (bool, error) {
	if caller.ClientID == clientID {
		return true, nil
	}
	a, err := o.Application(ctx, clientID)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && a.Owner == caller.Owner && caller.Registration == nil, err
}

// access returns an access token that is in force now. One for SCIM is as long
// as its machine's connection lets anything through. It fails with
// invalid_token.
func (o *OIDC) access(ctx context.Context, token secret.Text) (*accessToken, error) {
	t, err := o.inForce(ctx, token)
	if err != nil || !slices.Contains(t.scopes, ScopeSCIM) || t.live != nil || t.support != nil || t.creator != nil {
		return t, err
	}
	a, err := o.Application(ctx, t.clientID)
	if err != nil {
		return nil, err
	}
	if provisions, err := o.provisions(ctx, a); err != nil || !provisions {
		return nil, errors.Join(err, errToken())
	}
	return t, nil
}

// inForce is access without a look at the connection.
func (o *OIDC) inForce(ctx context.Context, token secret.Text) (*accessToken, error) {
	if strings.HasPrefix(token.Reveal(), accessPrefix) {
		return o.opaqueAccess(ctx, token)
	}
	signed, err := o.signedAccess(ctx, token)
	if err != nil {
		return nil, err
	}
	claims := &signed.claims
	if o.now().Unix() >= claims.Expires {
		return nil, errToken()
	}
	t := &accessToken{
		clientID: claims.ClientID, scopes: strings.Fields(claims.Scope), signed: claims,
		issued: time.Unix(claims.Issued, 0).UTC(), expires: time.Unix(claims.Expires, 0).UTC(),
		audience: claims.Audience, details: claims.Details, key: claims.Confirm.thumbprint(),
	}
	switch by, on, ok := hangsOn(claims.ID); {
	case ok && by == bySupport:
		var err error
		t.support, t.assumed, err = o.support(ctx, claims.Tenant, id.SupportSession(on))
		return t, err
	case ok && by == byToken:
		return t, o.checkApplicationToken(ctx, t, id.ApplicationToken(on))
	case ok && by == "":
		return t, o.checkGrant(ctx, t, id.Grant(on), claims)
	case ok: // of a newer version
		return nil, errToken()
	}
	revoked, err := o.store.TokenRevoked(ctx, claims.ID)
	if err == nil && revoked {
		err = errToken()
	}
	if err != nil {
		return nil, err
	}
	return t, o.checkMachine(ctx, claims.ClientID)
}

func (o *OIDC) checkGrant(ctx context.Context, t *accessToken, grant id.Grant, claims *AccessClaims) error {
	live, err := o.store.Live(ctx, claims.Tenant, grant, claims.ID)
	if errors.Is(err, fault.NotFound) {
		return errToken()
	}
	if err != nil {
		return err
	}
	t.live = live
	return o.accepted(ctx, live)
}

// accepted fails unless what hangs on the grant is accepted now, with
// insufficient_user_authentication where a second factor is all that it lacks.
func (o *OIDC) accepted(ctx context.Context, live *Live) error {
	now := o.now()
	alive, err := o.alive(ctx, live, now)
	if err != nil || alive {
		return err
	}
	if authn.CompareACR(live.ACR, StepUpACR) < 0 {
		stronger := *live
		stronger.ACR, stronger.AMR = StepUpACR, []string{authn.AMRMultiFactor}
		if alive, err = o.alive(ctx, &stronger, now); err != nil {
			return err
		}
		if alive {
			return errStepUp()
		}
	}
	return errToken()
}

func (o *OIDC) checkMachine(ctx context.Context, clientID string) error {
	a, err := o.Application(ctx, clientID)
	if errors.Is(err, fault.NotFound) {
		return errToken()
	}
	if err != nil {
		return err
	}
	if usable, err := o.machineUsable(ctx, a); err != nil || !usable {
		return errors.Join(err, errToken())
	}
	return nil
}

func (o *OIDC) opaqueAccess(ctx context.Context, token secret.Text) (*accessToken, error) {
	stored, live, err := o.store.LiveByAccessToken(ctx, token.Hash())
	if errors.Is(err, fault.NotFound) {
		return nil, errToken()
	}
	if err != nil {
		return nil, err
	}
	now := o.now()
	if !now.Before(stored.Expires) {
		return nil, errToken()
	}
	t := &accessToken{clientID: stored.ClientID, scopes: stored.Scopes, live: live, issued: stored.Created, expires: stored.Expires, audience: stored.Audience, details: stored.Details, key: stored.Key}
	if len(t.audience) == 0 { // of before there were others
		t.audience = []string{o.issuer}
	}
	if live != nil {
		return t, o.accepted(ctx, live)
	}
	return t, o.checkMachine(ctx, stored.ClientID)
}

// signedAccess returns a token whose signature is good and by a key that is
// still published. The signature is checked once for a token, its state always.
func (o *OIDC) signedAccess(ctx context.Context, token secret.Text) (*signedToken, error) {
	hash := token.Hash()
	if t, ok := o.verified.GetIfPresent(hash); ok {
		key, err := o.publicKey(ctx, t.kid)
		if err == nil && key == nil {
			err = errToken()
		}
		return t, err
	}
	payload, kid, err := o.verify(ctx, token.Reveal(), typAccessToken)
	if err != nil {
		return nil, err
	}
	t := &signedToken{kid: kid}
	if err := json.Unmarshal(payload, &t.claims); err != nil || t.claims.Issuer != o.issuer {
		return nil, errToken()
	}
	o.verified.Set(hash, t)
	return t, nil
}

// UserInfo returns the claims about the person that the access token is for
// (OIDC Core §5.3). It fails with invalid_token, and with insufficient_scope
// where the token is not for that.
func (o *OIDC) UserInfo(ctx context.Context, token Presented) (*UserInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := o.standingAhead(ctx, token.Token)
	t, err := o.access(ctx, token.Token)
	if err != nil {
		return nil, err
	}
	if err := o.present(ctx, t, token); err != nil {
		return nil, err
	}
	if t.live == nil && t.support == nil || !slices.Contains(t.scopes, ScopeOpenID) {
		return nil, refuse(InsufficientScope, "the access token lacks the scope openid")
	}
	a, err := o.Application(ctx, t.clientID)
	if err != nil {
		return nil, err
	}
	info := &UserInfo{}
	var names []string
	var standing *directory.Standing
	if t.support != nil {
		standing, info.TenantClaims = t.assumed.Standing, supportClaims(t.assumed, t.support.Role, t.scopes)
		if _, info.Act, err = o.actors(ctx, a, t.support); err != nil {
			return nil, err
		}
	} else {
		if standing, err = ahead(t.live.Tenant, t.live.User); err != nil {
			return nil, err
		}
		names = t.live.Claims.UserInfo
		if info.TenantClaims, err = o.tenantClaims(ctx, standing, t.live.Via, asScopes(t.scopes, names)); err != nil {
			return nil, err
		}
	}
	if info.Subject, err = o.Subject(ctx, a, standing.User.ID); err != nil {
		return nil, err
	}
	info.PersonClaims, err = o.personClaims(ctx, standing, wantedClaims(t.scopes, names), t.live)
	return info, err
}

// standingAhead begins to ask what the person of a signed token is in its tenant,
// while the caller asks whether the token is in force: where many do, both go one
// way. What it returns waits for the answer, or asks where the token told nothing.
func (o *OIDC) standingAhead(ctx context.Context, token secret.Text) func(id.Tenant, id.User) (*directory.Standing, error) {
	ask := func(tenant id.Tenant, user id.User) (*directory.Standing, error) {
		return o.rights.Standing(ctx, string(tenant), user)
	}
	if strings.HasPrefix(token.Reveal(), accessPrefix) {
		return ask
	}
	signed, err := o.signedAccess(ctx, token)
	if err != nil || o.now().Unix() >= signed.claims.Expires {
		return ask // the caller will see
	}
	claims := &signed.claims
	if by, _, ok := hangsOn(claims.ID); !ok || by != "" || claims.Act != nil {
		return ask
	}
	a, err := o.Application(ctx, claims.ClientID)
	if err != nil || a.Sector != "" { // a pairwise subject names nobody
		return ask
	}
	answer := begin(func() (*directory.Standing, error) { return ask(claims.Tenant, id.User(claims.Subject)) })
	return func(tenant id.Tenant, user id.User) (*directory.Standing, error) {
		if tenant != claims.Tenant || user != id.User(claims.Subject) {
			return ask(tenant, user)
		}
		return answer()
	}
}

// begin begins to ask and returns what waits for the answer, which may be called once
// or not at all. A panic is an error for who waits.
func begin[T any](ask func() (T, error)) func() (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.err = fault.Caught(func() (err error) {
			a.value, err = ask()
			return err
		})
		answers <- a
	}()
	return func() (T, error) {
		a := <-answers
		return a.value, a.err
	}
}

// Revoke ends a token of the application (RFC 7009): a refresh token with its
// whole grant, an access token alone. What is unknown or over needs no ending.
// A token of another application is refused with invalid_request.
func (o *OIDC) Revoke(ctx context.Context, a *Application, token secret.Text) error {
	if strings.HasPrefix(token.Reveal(), refreshPrefix) {
		return o.revokeRefresh(ctx, a, token)
	}
	t, err := o.inForce(ctx, token)
	switch {
	case fault.As(err).Code == InvalidToken:
		return nil
	case err != nil && !NotInForce(err): // one that waits for a second factor is there
		return err
	}
	if t.clientID != a.ClientID {
		return errForeignToken()
	}
	if t.support != nil {
		return o.EndSupportSession(ctx, t.support.Tenant, t.support.ID)
	}
	if t.signed != nil {
		return o.store.RevokeToken(ctx, t.signed.ID, t.expires)
	}
	return o.store.DeleteAccessToken(ctx, token.Hash())
}

func (o *OIDC) revokeRefresh(ctx context.Context, a *Application, token secret.Text) error {
	t, live, err := o.store.LiveByRefreshToken(ctx, token.Hash())
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if live.ClientID != a.ClientID {
		return errForeignToken()
	}
	_, err = o.store.RevokeGrant(ctx, t.Tenant, t.Grant, o.now())
	return err
}

func errForeignToken() error {
	return refuse(InvalidRequest, "the token was not issued to this application")
}
