package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// Principal returns who calls the API with the access token: a machine, in its
// own right, or a person by an application that the operator allows to have the
// scope api. It fails with invalid_token, and with insufficient_scope where the
// token is not for the API (RFC 6750 §3.1).
func (o *OIDC) Principal(ctx context.Context, token Presented) (authz.Principal, error) {
	t, err := o.access(ctx, token.Token)
	if err != nil {
		return authz.Principal{}, err
	}
	if err := o.present(ctx, t, token); err != nil {
		return authz.Principal{}, err
	}
	a, err := o.Application(ctx, t.clientID)
	if err != nil {
		return authz.Principal{}, err
	}
	if t.creator != nil { // it says nothing of the networks to which the application token is bound
		return authz.Principal{}, refuse(InsufficientScope, "the API takes the application token itself")
	}
	if t.live == nil && t.support == nil {
		if slices.Contains(t.scopes, ScopeSCIM) {
			return authz.Principal{}, refuse(InsufficientScope, "the access token is for SCIM")
		}
		if slices.ContainsFunc(t.scopes, forSignals) {
			return authz.Principal{}, refuse(InsufficientScope, "the access token is for signals")
		}
		return a.Principal(), nil
	}
	if !a.API || !slices.Contains(t.scopes, ScopeAPI) {
		return authz.Principal{}, refuse(InsufficientScope, "the access token lacks the scope api")
	}
	if t.support != nil {
		return t.support.principal(), nil
	}
	return authz.Principal{
		Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: t.live.Tenant, User: t.live.User,
		Membership: t.live.Membership, Session: t.live.Session, Application: t.clientID,
	}, nil
}

// Principal returns the application as a caller in its own right.
func (a *Application) Principal() authz.Principal {
	return authz.Principal{
		Kind: authz.AppPrincipal, Channel: authz.ChannelAPI, Tenant: a.Owner, Application: a.ClientID, Roles: a.Roles,
	}
}

// grantable returns the scopes of the request that its application may have.
func (o *OIDC) grantable(ctx context.Context, r *AuthorizationRequest) ([]string, error) {
	scopes := slices.DeleteFunc(slices.Clone(r.Scopes), func(scope string) bool { return scope == ScopeSCIM || forSignals(scope) }) // no person is a connection, or a receiver
	if !slices.Contains(scopes, ScopeAPI) {
		return scopes, nil
	}
	a, err := o.Application(ctx, r.ClientID)
	if err != nil || a.API {
		return scopes, err
	}
	return slices.DeleteFunc(scopes, func(scope string) bool { return scope == ScopeAPI }), nil
}

// Provisioner returns the machine that has the access token for SCIM. As which
// connection it may act, if any, is the directory's to say. It fails with
// invalid_token, and with insufficient_scope where the token lacks the scope scim.
func (o *OIDC) Provisioner(ctx context.Context, token Presented) (*Application, error) {
	t, err := o.inForce(ctx, token.Token)
	if err != nil {
		return nil, err
	}
	if err := o.present(ctx, t, token); err != nil {
		return nil, err
	}
	if t.live != nil || t.support != nil || t.creator != nil || !slices.Contains(t.scopes, ScopeSCIM) {
		return nil, refuse(InsufficientScope, "the access token lacks the scope scim")
	}
	return o.Application(ctx, t.clientID)
}

// Receiver returns the application that manages streams of its own with the access
// token, which has the scope; ScopeSSFManage is the other one as well. It fails with
// invalid_token, and with insufficient_scope.
func (o *OIDC) Receiver(ctx context.Context, token Presented, scope string) (*Application, error) {
	t, err := o.inForce(ctx, token.Token)
	if err != nil {
		return nil, err
	}
	if err := o.present(ctx, t, token); err != nil {
		return nil, err
	}
	has := slices.Contains(t.scopes, scope) || slices.Contains(t.scopes, ScopeSSFManage)
	if t.live != nil || t.support != nil || t.creator != nil || !has {
		return nil, refuse(InsufficientScope, "the access token lacks the scope %s", scope)
	}
	return o.Application(ctx, t.clientID)
}

// provisions reports whether the machine may act as a connection now.
func (o *OIDC) provisions(ctx context.Context, a *Application) (bool, error) {
	c, err := o.store.ConnectionByApplication(ctx, string(a.Owner), a.ClientID)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && c.Paused.IsZero(), err
}

// LooksLikeAccessToken reports whether a token has the form of an access token
// of this server, signed or opaque.
func LooksLikeAccessToken(token secret.Text) bool {
	text := token.Reveal()
	return strings.HasPrefix(text, accessPrefix) || strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}
