package oidc

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/secret"
)

// Principal returns who calls the API with the access token: a machine, in its
// own right, or a person by an application that the operator allows to have the
// scope api. It fails with invalid_token, and with insufficient_scope where the
// token is not for the API (RFC 6750 §3.1).
func (o *OIDC) Principal(ctx context.Context, token secret.Text) (authz.Principal, error) {
	t, err := o.access(ctx, token)
	if err != nil {
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
	if !slices.Contains(r.Scopes, ScopeAPI) {
		return r.Scopes, nil
	}
	a, err := o.Application(ctx, r.ClientID)
	if err != nil || a.API {
		return r.Scopes, err
	}
	return slices.DeleteFunc(slices.Clone(r.Scopes), func(scope string) bool { return scope == ScopeAPI }), nil
}
