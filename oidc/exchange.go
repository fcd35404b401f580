package oidc

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// GrantTokenExchange is the grant type of RFC 8693 §2.1, TokenTypeAccess the one
// type of token that is taken and given (§3). An application token counts as one.
const (
	GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange" //nolint:gosec // a name, no credential
	TokenTypeAccess    = "urn:ietf:params:oauth:token-type:access_token"   //nolint:gosec // a name, no credential
)

// maxReason is the length of the longest reason for a support session, in bytes.
const maxReason = 1000

// TokenExchange is a request of RFC 8693 §2.1, with what it takes to act as
// somebody else.
type TokenExchange struct {
	Subject       secret.Text
	SubjectType   string
	RequestedType string
	Actor         bool     // the request has an actor_token, or its type
	Targets       []string // of the parameters resource and audience
	Scope         string
	From          netip.Addr // whence it comes; the zero one is in no network

	// The rest is for support sessions.
	RequestedSubject string // a user's id, or the address of one
	Tenant           string // slug or id; the scope tenant:… says the same
	Role             string // to take instead of the user's
	Reason           string

	Terms Terms // whose Resources are among Targets
}

// TokenExchange exchanges an application token for a signed access token of its
// creator; the access token of a person for one of the same person, in another
// tenant or for less; or for one that acts as a user of another tenant, for an hour
// at most and by the role system's leave. It fails by RFC 8693 §2.2.2: with
// invalid_request where a token or the wish is not accepted, and with
// invalid_target, invalid_scope and invalid_authorization_details.
func (o *OIDC) TokenExchange(ctx context.Context, a *Application, r TokenExchange) (*Tokens, error) {
	if err := a.checkKey(r.Terms); err != nil {
		return nil, err
	}
	switch {
	case !a.registeredFor(GrantTokenExchange):
		return nil, errNotRegistered()
	case r.SubjectType != TokenTypeAccess || r.RequestedType != "" && r.RequestedType != TokenTypeAccess:
		return nil, refuse(InvalidRequest, "only access tokens are exchanged, for access tokens")
	case r.Actor:
		return nil, refuse(InvalidRequest, "an actor_token is not supported: the subject_token is the actor's")
	}
	personal := !authn.LooksLikeApplicationToken(r.Subject)
	if personal && r.RequestedSubject == "" && r.Role == "" && r.Reason == "" {
		return o.exchangeForTenant(ctx, a, r)
	}
	if r.Terms.Details != "" {
		return nil, refuse(InvalidAuthorizationDetails, "such tokens have no authorization details: nobody was asked for any")
	}
	if slices.ContainsFunc(r.Targets, func(target string) bool { return target != o.issuer }) {
		return nil, refuse(InvalidTarget, "such tokens are for %s only", o.issuer)
	}
	if personal {
		return o.exchangeForSupport(ctx, a, r)
	}
	return o.exchangeApplicationToken(ctx, a, r)
}

func (o *OIDC) exchangeForSupport(ctx context.Context, a *Application, r TokenExchange) (*Tokens, error) {
	subject, err := o.personal(ctx, a, r)
	if err != nil {
		return nil, err
	}
	asked, tenant, err := r.scope()
	if err != nil {
		return nil, err
	}
	reason := strings.TrimSpace(r.Reason)
	switch {
	case !slices.Contains(subject.audience, o.issuer):
		return nil, refuse(InvalidRequest, "the subject_token is for another resource")
	case r.RequestedSubject == "" || tenant == "" || reason == "":
		return nil, refuse(InvalidRequest, "a support session needs the parameters requested_subject, tenant and reason")
	case len(reason) > maxReason:
		return nil, refuse(InvalidRequest, "the reason must not be longer than %d bytes", maxReason)
	}
	scopes, err := supportScopes(a, subject.scopes, asked)
	if err != nil {
		return nil, err
	}
	live := subject.live
	s := &SupportSession{Staff: live.User, StaffTenant: live.Tenant, Role: r.Role, Reason: reason, ClientID: a.ClientID}
	if s.Tenant, s.User, err = o.addressed(ctx, tenant, r.RequestedSubject); err != nil {
		return nil, err
	}
	assumed, err := o.startSupport(ctx, live, s)
	if err != nil {
		return nil, err
	}
	return o.mintSupport(ctx, a, s, assumed, scopes, r.Terms)
}

// addressed finds the tenant of a slug or id and the user of an id or address.
// Either is empty where there is none: that is refused with what is out of reach.
func (o *OIDC) addressed(ctx context.Context, tenant, user string) (id.Tenant, id.User, error) {
	t, err := o.store.TenantByName(ctx, tenant)
	if errors.Is(err, fault.NotFound) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	var u *directory.User
	if parsed, bad := id.Parse[id.User](user); bad == nil {
		u, err = o.store.User(ctx, parsed)
	} else {
		u, err = o.store.UserByEmail(ctx, user)
	}
	if errors.Is(err, fault.NotFound) {
		return t.ID, "", nil
	}
	if err != nil {
		return "", "", err
	}
	return t.ID, u.ID, nil
}

// scope returns the scopes that are asked for, and the tenant that they or the
// parameter tenant name.
func (r *TokenExchange) scope() (asked []string, tenant string, err error) {
	asked, tenant, err = ParseScope(r.Scope)
	switch {
	case err != nil:
		return nil, "", err
	case len(asked) == 0 && strings.TrimSpace(r.Scope) != "": // nothing at all would mean everything
		return nil, "", refuse(InvalidScope, "none of the scopes is known here")
	case r.Tenant != "" && tenant != "" && r.Tenant != tenant:
		return nil, "", refuse(InvalidRequest, "the parameter tenant and the scope name different tenants")
	}
	return asked, cmp.Or(tenant, r.Tenant), nil
}

// personal returns a subject token that is a person's own, in force now, and issued
// to the application or one of the same owner. One that is bound to a key comes with
// a proof of that key.
func (o *OIDC) personal(ctx context.Context, a *Application, r TokenExchange) (*accessToken, error) {
	refused := refuse(InvalidRequest, "the subject_token is unknown, expired, revoked or not a person's own")
	t, err := o.access(ctx, r.Subject)
	if NotInForce(err) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if t.key != "" && t.key != r.Terms.Key {
		return nil, refused
	}
	if t.support != nil {
		return nil, errAssume("nested")
	}
	visible := t.clientID == a.ClientID
	if !visible && a.Type.Confidential() {
		if visible, err = o.sees(ctx, a, t.clientID); err != nil {
			return nil, err
		}
	}
	if t.live == nil || !visible {
		return nil, refused
	}
	return t, nil
}

// supportScopes returns the scopes of a support session's token. Those that speak
// of the person's tenants mean nothing in a session.
func supportScopes(a *Application, has, asked []string) ([]string, error) {
	return exchangeScopes(a, slices.DeleteFunc(slices.Clone(has), func(s string) bool { return s == ScopeTenants }), asked)
}

// exchangeScopes returns the scopes of a token that another is exchanged for: those
// asked for, which the subject token must have, or all that it has. Those that name
// a tenant are no scopes of either, and there are no tokens after this one.
func exchangeScopes(a *Application, has, asked []string) ([]string, error) {
	allowed := slices.DeleteFunc(slices.Clone(has), func(s string) bool {
		return s == ScopeOffline || namesTenant(s) || s == ScopeAPI && !a.API
	})
	asked = slices.DeleteFunc(slices.Clone(asked), namesTenant)
	if len(asked) == 0 {
		return allowed, nil
	}
	if slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(allowed, s) }) {
		return nil, refuse(InvalidScope, "an exchange can't ask for more than the subject_token has")
	}
	return asked, nil
}

// mintSupport signs the token of a support session. It is always a signed one,
// so that whoever gets it sees in it who acts.
func (o *OIDC) mintSupport(ctx context.Context, a *Application, s *SupportSession, assumed *directory.Assumed, scopes []string, terms Terms) (*Tokens, error) {
	subject, act, err := o.actors(ctx, a, s)
	if err != nil {
		return nil, err
	}
	access, err := o.sign(ctx, a.AccessTokenAlg, typAccessToken, &AccessClaims{
		Issuer: o.issuer, Audience: audience{o.issuer}, Confirm: confirm(terms.Key), Subject: subject, ClientID: s.ClientID,
		Expires: s.Expires.Unix(), Issued: s.Created.Unix(), ID: tokenID(bySupport, s.ID), Scope: scopeText(scopes),
		Act: act, TenantClaims: supportClaims(assumed, s.Role, scopes),
	})
	if err != nil {
		return nil, err
	}
	return &Tokens{Access: access, ExpiresIn: s.Expires.Sub(o.now()), Scopes: scopes, Bound: terms.Key != ""}, nil
}

// actors names the user and, as who acts, the staff member (RFC 8693 §4.1), as the
// application knows them.
func (o *OIDC) actors(ctx context.Context, a *Application, s *SupportSession) (subject string, act *ActClaim, err error) {
	if subject, err = o.Subject(ctx, a, s.User); err != nil {
		return "", nil, err
	}
	staff, err := o.Subject(ctx, a, s.Staff)
	return subject, &ActClaim{Subject: staff, Tenant: s.StaffTenant}, err
}

// ActClaim is the claim act: who acts as the subject (RFC 8693 §4.1).
type ActClaim struct {
	Subject string    `json:"sub"`
	Tenant  id.Tenant `json:"tid"`
}
