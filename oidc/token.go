package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Tokens is the answer of the token endpoint (RFC 6749 §5.1).
type Tokens struct {
	Access    string
	ExpiresIn time.Duration
	Refresh   secret.Text // empty: none
	ID        string      // empty: scope openid was not granted
	Scopes    []string
	Details   Details
	Bound     bool // Access is bound to a key: its type is DPoP
}

// issue is what a token request has come to before anything is signed.
type issue struct {
	application *Application
	grant       *Grant
	live        *Live // it was read for; nil: of an exchange
	standing    *directory.Standing
	scopes      []string
	refresh     secret.Text
	access      secret.Text // an opaque access token, already stored; empty: to be signed
	terms       Terms
	audience    audience
	details     Details
	expires     time.Time // of the access token
}

// Authorize turns a request that waits for nothing into a grant, and returns the
// code for it. The request is used up. It fails with fault.NotFound where
// another caller used it, and with fault.Stale where it waits for something
// after all.
func (o *OIDC) Authorize(ctx context.Context, r *AuthorizationRequest, session *authn.Session, stored bool) (secret.Text, error) {
	ctx = session.As(ctx)
	code := secret.Random(codePrefix)
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		if stored {
			if _, err := o.store.TakeAuthorizationRequest(ctx, r.ID, r.Browser, o.now()); err != nil {
				return err
			}
		}
		if err := o.completePushed(ctx, r); err != nil {
			return err
		}
		grant, err := o.grant(ctx, r, session)
		if err != nil {
			return err
		}
		return o.store.CreateCode(ctx, &Code{
			Hash: code.Hash(), Tenant: grant.Tenant, Grant: grant.ID, ClientID: r.ClientID,
			RedirectURI: r.RedirectURI, Challenge: r.Challenge, Expires: grant.Created.Add(CodeLifetime),
			Key: r.Key,
		})
	})
	if err != nil {
		return secret.Text{}, err
	}
	return code, nil
}

// grant makes what the request is for, in the transaction in ctx.
func (o *OIDC) grant(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (*Grant, error) {
	standing, err := o.held(ctx, r, session)
	if err != nil {
		return nil, err
	}
	scopes, err := o.grantable(ctx, r)
	if err != nil {
		return nil, err
	}
	a, err := o.Application(ctx, r.ClientID)
	if err != nil {
		return nil, err
	}
	if err := o.checkDetails(ctx, a, r.Details); err != nil { // the operator may have thought better of it
		return nil, err
	}
	err = o.checkDetailTypes(ctx, r.Details.Types()) // RemoveDetailType has to see the grant, or the grant it
	if fault.As(err).Kind == fault.Invalid {
		return nil, refuse(InvalidAuthorizationDetails, "a type of authorization details was removed meanwhile")
	}
	if err != nil {
		return nil, err
	}
	now := o.now()
	grant := &Grant{
		Tenant: standing.Tenant, ID: id.New[id.Grant](), Home: standing.Home, Membership: standing.Membership, User: session.User,
		ClientID: r.ClientID, Session: session.ID, Offline: slices.Contains(scopes, ScopeOffline), Scopes: scopes,
		Claims: r.Claims, Nonce: r.Nonce, AuthTime: session.AuthTime, ACR: session.ACRAt(now, standing), AMR: session.AMR, Created: now,
		Resources: o.targets(r.Resources, scopes, r.Details), Details: r.Details, Via: session.Via,
		TrustedAt: session.TrustedAt, TrustedByMail: session.TrustedByMail,
	}
	if err := o.store.CreateGrant(ctx, grant); err != nil {
		return nil, err
	}
	return grant, o.store.AppendEvent(ctx, audit.New(ctx, now, grant.Tenant, "grant.create", "grant", string(grant.ID),
		map[string]any{"client_id": grant.ClientID, "scopes": grant.Scopes, "session": grant.Session, "authorization_details_types": list(grant.Details.Types())}))
}

// Exchange redeems a code (RFC 6749 §4.1.3, RFC 7636 §4.6). An attempt by the
// application uses the code up whether it succeeds or not; a second one revokes
// the grant with all that was issued on it (RFC 9700 §4.5). It fails with
// invalid_grant.
func (o *OIDC) Exchange(ctx context.Context, a *Application, code secret.Text, redirectURI, verifier string, terms Terms) (*Tokens, error) {
	return o.redeem(ctx, a, terms, func(ctx context.Context) (id.Tenant, id.Grant, error) {
		now := o.now()
		used, err := o.store.UseCode(ctx, code.Hash(), a.ClientID, now)
		switch {
		case errors.Is(err, fault.NotFound):
			return "", "", o.codeReused(ctx, a, code.Hash())
		case err != nil:
			return "", "", err
		case used.Key != "" && used.Key != terms.Key:
			return "", "", refuse(InvalidGrant, "the code is bound to another key than the one that was proven")
		case !now.Before(used.Expires) || used.RedirectURI != redirectURI || !used.verifies(verifier):
			return "", "", errGrant()
		}
		return used.Tenant, used.Grant, nil
	})
}

// redeem issues the first tokens of a grant for something that works once. use
// uses that up and says which grant it stands for; a refusal undoes nothing of
// what use did.
func (o *OIDC) redeem(ctx context.Context, a *Application, terms Terms, use func(ctx context.Context) (id.Tenant, id.Grant, error)) (*Tokens, error) {
	if err := a.checkKey(terms); err != nil {
		return nil, err
	}
	var refused error
	var issued *issue
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		tenant, grant, err := use(ctx)
		if err == nil {
			issued, err = o.begin(ctx, a, tenant, grant, terms)
		}
		// A refusal is kept out of the transaction, or it would undo the use of
		// the secret and the revocation.
		if fault.As(err).Code != "" {
			refused, err = err, nil
		}
		return err
	})
	if err = errors.Join(err, refused); err != nil {
		return nil, err
	}
	return o.mint(ctx, issued)
}

// begin stores the first refresh token of a grant, if the application gets any.
func (o *OIDC) begin(ctx context.Context, a *Application, tenant id.Tenant, grant id.Grant, terms Terms) (*issue, error) {
	now := o.now()
	live, err := o.store.Live(ctx, tenant, grant, "")
	if err != nil {
		return nil, err
	}
	if alive, err := o.alive(ctx, live, now); err != nil || !alive {
		return nil, errors.Join(err, errGrant())
	}
	i := &issue{application: a, grant: &live.Grant, live: live, scopes: live.Scopes, terms: terms, expires: now.Add(AccessTokenLifetime)}
	if a.registeredFor(grantRefresh) {
		i.refresh = secret.Random(refreshPrefix)
	}
	if err := o.address(ctx, i, live.Resources, live.Details); err != nil {
		return nil, err
	}
	return i, o.complete(ctx, i, now, func(ctx context.Context) error {
		if i.refresh.Empty() {
			return nil
		}
		return o.store.CreateRefreshToken(ctx, i.nextRefreshToken(now))
	})
}

// codeReused fails with invalid_grant, after it has revoked what was issued on a
// code that is presented again. A code that is unknown or another application's
// is left alone.
func (o *OIDC) codeReused(ctx context.Context, a *Application, hash secret.Hash) error {
	code, err := o.store.Code(ctx, hash)
	if errors.Is(err, fault.NotFound) || err == nil && code.ClientID != a.ClientID {
		return errGrant()
	}
	if err != nil {
		return err
	}
	return o.revokeStolen(ctx, a, code.Tenant, code.Grant, "code_reuse")
}

// revokeStolen revokes a grant because the application has used one of its
// secrets twice, and fails with invalid_grant.
func (o *OIDC) revokeStolen(ctx context.Context, a *Application, tenant id.Tenant, grant id.Grant, reason string) error {
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorApplication, ID: a.ClientID})
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		now := o.now()
		revoked, err := o.store.RevokeGrant(ctx, tenant, grant, now)
		if err != nil || !revoked {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, now, tenant, "grant.revoke", "grant", string(grant), map[string]any{"reason": reason}))
	})
	if err != nil {
		return err
	}
	o.logger.WarnContext(ctx, "grant revoked: one of its secrets was used twice", "tenant", tenant, "grant", grant, "reason", reason)
	return errGrant()
}

// verifies reports whether the verifier is the challenge's (RFC 7636 §4.6). A
// code that was issued without a challenge takes none: who sends one believes in
// a challenge that somebody took out of the request (RFC 9700 §2.1.1).
func (c *Code) verifies(verifier string) bool {
	if c.Challenge == "" {
		return verifier == ""
	}
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(c.Challenge)) == 1
}

// ValidChallenge reports whether s has the form of an S256 challenge.
func ValidChallenge(s string) bool {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(sum) == sha256.Size
}

// Refresh exchanges a refresh token for the next one (RFC 6749 §6). scope may
// narrow the new access token; the grant stays as it is. A token that was
// exchanged before revokes the grant (RFC 9700 §4.14.2), unless that was within
// RefreshGrace and nobody has used the next one yet: two windows of one
// application, or one whose answer got lost, get the same next one. An application that runs
// where the person is gets none outside of the tenant's networks; the token stays
// good for when they are back. It fails with invalid_grant, invalid_scope and
// unauthorized_client.
func (o *OIDC) Refresh(ctx context.Context, a *Application, token secret.Text, scope string, terms Terms) (*Tokens, error) {
	if !a.registeredFor(grantRefresh) {
		return nil, errNotRegistered()
	}
	if err := a.checkKey(terms); err != nil {
		return nil, err
	}
	now := o.now()
	t, live, err := o.store.LiveByRefreshToken(ctx, token.Hash())
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, errGrant()
	case err != nil:
		return nil, err
	case live.ClientID != a.ClientID:
		return nil, errGrant()
	}
	next := o.nextOf(token)
	repeated, err := o.repeatable(ctx, t, next, now)
	switch {
	case err != nil:
		return nil, err
	case !t.Rotated.IsZero() && !repeated:
		return nil, o.revokeStolen(ctx, a, t.Tenant, t.Grant, "refresh_token_reuse")
	case !now.Before(t.Expires):
		return nil, errGrant()
	case t.Key != "" && t.Key != terms.Key:
		return nil, refuse(InvalidGrant, "the refresh token is bound to another key than the one that was proven")
	}
	if alive, err := o.alive(ctx, live, now); err != nil || !alive {
		return nil, errors.Join(err, errGrant())
	}
	i := &issue{application: a, grant: &live.Grant, live: live, refresh: next, terms: terms, expires: now.Add(AccessTokenLifetime)}
	if err := o.address(ctx, i, live.Resources, live.Details); err != nil {
		return nil, err
	}
	if i.scopes, err = narrow(live.Scopes, scope); err != nil {
		return nil, err
	}
	if live.In != nil && !live.Offline {
		if err := o.authn.Used(ctx, live.In); err != nil {
			return nil, err
		}
	}
	if a.fapi2() {
		return o.keepRefreshToken(ctx, i, t, now)
	}
	if err := o.rotateToken(ctx, i, token.Hash(), now); err != nil {
		return nil, err
	}
	return o.mint(ctx, i)
}

// nextOf returns the refresh token that follows a token. It is known from that
// one alone, to whoever has the server's key, so that every node gives the same
// answer twice and none has to keep it.
func (o *OIDC) nextOf(token secret.Text) secret.Text {
	mac := hmac.New(sha256.New, o.refreshKey[:])
	mac.Write([]byte(token.Reveal()))
	return secret.NewText(refreshPrefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// repeatable reports whether a token that was exchanged may be exchanged once
// more, for the same next one.
func (o *OIDC) repeatable(ctx context.Context, t *RefreshToken, next secret.Text, now time.Time) (bool, error) {
	if t.Rotated.IsZero() || !now.Before(t.Rotated.Add(RefreshGrace)) {
		return false, nil
	}
	follower, _, err := o.store.LiveByRefreshToken(ctx, next.Hash())
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && follower.Rotated.IsZero(), err
}

// keepRefreshToken issues an access token and leaves the refresh token as it is,
// but that its end moves on: where it is bound to a key or to authentication by
// one, rotation would protect nothing and lose tokens (FAPI 2.0 Security Profile
// §5.3.2.1).
func (o *OIDC) keepRefreshToken(ctx context.Context, i *issue, t *RefreshToken, now time.Time) (*Tokens, error) {
	err := o.complete(ctx, i, now, func(ctx context.Context) error {
		next := i.nextRefreshToken(now).Expires
		if t.Expires.Sub(now) > RefreshTokenIdle/2 || !next.After(t.Expires) {
			return nil
		}
		return o.store.ExtendRefreshToken(ctx, t.Tenant, t.Hash, next)
	})
	if err != nil {
		return nil, err
	}
	i.refresh = secret.Text{}
	return o.mint(ctx, i)
}

// rotateToken stores the next refresh token unless another caller has, and the
// access token if it is opaque.
func (o *OIDC) rotateToken(ctx context.Context, i *issue, old secret.Hash, now time.Time) error {
	return o.complete(ctx, i, now, func(ctx context.Context) error {
		if i.application.Type.withPerson() && !i.standing.Policy.Admits(i.terms.From) {
			return errGrant()
		}
		_, err := o.store.RotateRefreshToken(ctx, old, i.nextRefreshToken(now))
		return err
	})
}

func (i *issue) nextRefreshToken(now time.Time) *RefreshToken {
	expires := now.Add(RefreshTokenIdle)
	if end := i.grant.Created.Add(GrantLifetime); end.Before(expires) {
		expires = end
	}
	next := &RefreshToken{Hash: i.refresh.Hash(), Tenant: i.grant.Tenant, Grant: i.grant.ID, Created: now, Expires: expires}
	if !i.application.Type.Confidential() { // which has no other proof that the token is its own (RFC 9449 §5)
		next.Key = i.terms.Key
	}
	return next
}

// complete reads the claims' base and runs store, in one transaction with the
// access token if that is opaque and to be stored too.
func (o *OIDC) complete(ctx context.Context, i *issue, now time.Time, store func(ctx context.Context) error) error {
	var err error
	if i.standing, err = o.rights.Standing(ctx, string(i.grant.Tenant), i.grant.User); err != nil {
		return err
	}
	if i.application.AccessToken == FormatJWT {
		return store(ctx)
	}
	i.access = secret.Random(accessPrefix)
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := store(ctx); err != nil {
			return err
		}
		return o.store.CreateAccessToken(ctx, &AccessToken{
			Hash: i.access.Hash(), Tenant: i.grant.Tenant, Grant: i.grant.ID, ClientID: i.application.ClientID,
			Scopes: i.scopes, Created: now, Expires: i.expires,
			Key: i.terms.Key, Audience: i.audience, Details: i.details,
		})
	})
}

// mint signs what is to be signed, outside of any transaction.
func (o *OIDC) mint(ctx context.Context, i *issue) (*Tokens, error) {
	now := o.now()
	claims, err := o.tenantClaims(ctx, i.standing, i.grant.Via, i.scopes)
	if err != nil {
		return nil, err
	}
	tokens, err := o.mintAccess(ctx, i, claims, now)
	if err == nil && slices.Contains(i.scopes, ScopeOpenID) {
		tokens.ID, err = o.mintIDToken(ctx, i, tokens.Access, claims, now)
	}
	return tokens, err
}

// mintAccess signs the access token, unless it is an opaque one.
func (o *OIDC) mintAccess(ctx context.Context, i *issue, tenant TenantClaims, now time.Time) (*Tokens, error) {
	tokens := &Tokens{Access: i.access.Reveal(), ExpiresIn: i.expires.Sub(now), Refresh: i.refresh, Scopes: i.scopes, Details: i.details, Bound: i.terms.Key != ""}
	if tokens.Access != "" {
		return tokens, nil
	}
	subject, err := o.Subject(ctx, i.application, i.grant.User)
	if err != nil {
		return nil, err
	}
	tokens.Access, err = o.sign(ctx, i.application.AccessTokenAlg, typAccessToken, &AccessClaims{
		Issuer: o.issuer, Audience: i.audience, Confirm: confirm(i.terms.Key), Subject: subject, ClientID: i.application.ClientID,
		Expires: i.expires.Unix(), Issued: now.Unix(), ID: tokenID("", i.grant.ID), Scope: scopeText(i.scopes), Details: i.details,
		SignInClaims: signInClaims(i.grant), TenantClaims: tenant,
	})
	return tokens, err
}

// mintIDToken signs an ID token that goes with the access token. It carries the
// tenant's claims, and what of the person was asked for by name.
func (o *OIDC) mintIDToken(ctx context.Context, i *issue, access string, tenant TenantClaims, now time.Time) (string, error) {
	subject, err := o.Subject(ctx, i.application, i.grant.User)
	if err != nil {
		return "", err
	}
	claims := &IDClaims{
		Issuer: o.issuer, Audience: i.application.ClientID, Subject: subject,
		Expires: expiresIn(now, IDTokenLifetime), Issued: now.Unix(), Nonce: i.grant.Nonce, AccessHash: accessHash(i.application.IDTokenAlg, access),
		SignInClaims: signInClaims(i.grant), TenantClaims: tenant,
	}
	if names := i.grant.Claims.IDToken; len(names) > 0 {
		if claims.TenantClaims, err = o.tenantClaims(ctx, i.standing, i.grant.Via, asScopes(i.scopes, names)); err != nil {
			return "", err
		}
		if claims.PersonClaims, err = o.personClaims(ctx, i.standing, wantedClaims(nil, names), i.live); err != nil {
			return "", err
		}
	}
	return o.sign(ctx, i.application.IDTokenAlg, typIDToken, claims)
}

// What a signed access token hangs on, beside a grant, as its identifier says.
const (
	bySupport = "support:" // a support session
	byToken   = "token:"   // an application token
)

// tokenID returns an identifier for a token (jti) that leads to what it hangs
// on, so that its state is one look-up away.
func tokenID[ID ~string](by string, on ID) string {
	return by + string(on) + "." + secret.Random("").Reveal()
}

// hangsOn is the inverse of tokenID: by is empty for a grant. ok is false for a
// machine's token, which hangs on nothing.
func hangsOn(jti string) (by, on string, ok bool) {
	on, _, ok = strings.Cut(jti, ".")
	if kind, rest, found := strings.Cut(on, ":"); found {
		return kind + ":", rest, ok
	}
	return "", on, ok
}

// ClientCredentials returns an access token for the application itself
// (RFC 6749 §4.4): with its own roles, in its own tenant. Its subject is its
// client_id, which can't be that of a person. It fails with unauthorized_client,
// invalid_scope, invalid_target and invalid_authorization_details.
func (o *OIDC) ClientCredentials(ctx context.Context, a *Application, scope string, terms Terms) (*Tokens, error) {
	if err := a.checkKey(terms); err != nil {
		return nil, err
	}
	if err := o.CheckResources(a, terms.Resources); err != nil {
		return nil, err
	}
	scopes, err := a.machineScopes(scope)
	if a.Type != Machine && (err != nil || !a.receives(scopes)) {
		return nil, errNotItself()
	}
	usable, failed := o.machineUsable(ctx, a)
	switch {
	case failed != nil:
		return nil, failed
	case !usable:
		return nil, errNotItself()
	case err != nil:
		return nil, err
	}
	if slices.Contains(scopes, ScopeSCIM) {
		if provisions, err := o.provisions(ctx, a); err != nil || !provisions {
			return nil, errors.Join(err, refuse(InvalidScope, "the application is none of a SCIM connection, or the connection is paused"))
		}
	}
	details, err := o.machineDetails(ctx, a, terms)
	if err != nil {
		return nil, err
	}
	audience, err := o.audienceOf(o.targets(terms.Resources, scopes, details), nil)
	if err != nil {
		return nil, err
	}
	now := o.now()
	tokens := &Tokens{ExpiresIn: AccessTokenLifetime, Scopes: scopes, Details: details, Bound: terms.Key != ""}
	if a.AccessToken == FormatOpaque {
		access := secret.Random(accessPrefix)
		tokens.Access = access.Reveal()
		return tokens, o.store.CreateAccessToken(ctx, &AccessToken{
			Hash: access.Hash(), Tenant: a.Owner, ClientID: a.ClientID, Scopes: scopes, Created: now, Expires: now.Add(AccessTokenLifetime),
			Key: terms.Key, Audience: audience, Details: details,
		})
	}
	claims, err := o.machineClaims(ctx, a, scopes)
	if err != nil {
		return nil, err
	}
	tokens.Access, err = o.sign(ctx, a.AccessTokenAlg, typAccessToken, &AccessClaims{
		Issuer: o.issuer, Audience: audience, Confirm: confirm(terms.Key), Subject: a.ClientID, ClientID: a.ClientID,
		Expires: expiresIn(now, AccessTokenLifetime), Issued: now.Unix(), ID: secret.Random("").Reveal(), Scope: scopeText(scopes),
		Details: details, TenantClaims: claims,
	})
	return tokens, err
}

// errNotRegistered is the answer for a grant type that the application has not
// registered for (RFC 7591 §2).
func errNotRegistered() error {
	return refuse(UnauthorizedClient, "the application is not registered for this grant type")
}

func errNotItself() error {
	return refuse(UnauthorizedClient, "the application may not act for itself")
}

// receives reports whether the scopes are for signals alone, which an application
// that people sign in to gets as well, if a tenant owns it and it runs on a server;
// but not one that has registered itself.
func (a *Application) receives(scopes []string) bool {
	return a.Type == Web && a.Owner != "" && a.Registration == nil && len(scopes) > 0 && !slices.ContainsFunc(scopes, func(s string) bool { return !forSignals(s) })
}

func forSignals(scope string) bool { return scope == ScopeSSFManage || scope == ScopeSSFRead }

// machineUsable reports whether the machine's tenant lets anybody act in it.
func (o *OIDC) machineUsable(ctx context.Context, a *Application) (bool, error) {
	return o.rights.Usable(ctx, a.OwnerBlueprint, a.OwnerBlueprintVersion, a.OwnerStatus, directory.StatusActive)
}

func (o *OIDC) machineClaims(ctx context.Context, a *Application, scopes []string) (TenantClaims, error) {
	claims := TenantClaims{Tenant: a.Owner, Slug: a.OwnerSlug, Roles: list(a.Roles)}
	if !slices.Contains(scopes, ScopePermissions) {
		return claims, nil
	}
	keys, err := o.rights.Permissions(ctx, a.Owner, a.Roles, authz.ChannelAPI)
	claims.Permissions = list(keys)
	return claims, err
}

// machineScopes keeps those of the asked scopes that mean something for a
// machine. Where none of them does, the request is refused (RFC 6749 §3.3).
func (a *Application) machineScopes(scope string) ([]string, error) {
	asked, _, err := ParseScope(scope)
	if err != nil {
		return nil, err
	}
	var scopes []string
	for _, s := range asked {
		if s == ScopePermissions || s == ScopeSCIM || forSignals(s) && a.Owner != "" || s == tenantScope+a.OwnerSlug || s == tenantScope+string(a.Owner) {
			scopes = append(scopes, s)
		}
	}
	if strings.TrimSpace(scope) != "" && len(scopes) == 0 {
		return nil, refuse(InvalidScope, "none of the scopes can be granted to an application that acts for itself")
	}
	return scopes, nil
}
