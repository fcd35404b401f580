package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// exchangeApplicationToken issues an access token for what an application token
// stands for now. Whoever verifies it offline takes it until it expires;
// introspection knows when the application token is gone.
func (o *OIDC) exchangeApplicationToken(ctx context.Context, a *Application, r TokenExchange) (*Tokens, error) {
	if r.RequestedSubject != "" || r.Tenant != "" || r.Role != "" {
		return nil, refuse(InvalidRequest, "an application token acts as its creator in its tenant, and as nobody else")
	}
	refused := refuse(InvalidRequest, "the subject_token is unknown, expired, revoked or not for this application")
	t, err := o.authn.ApplicationToken(ctx, r.Subject, r.From)
	if errors.Is(err, fault.Unauthenticated) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if t.Tenant == "" || a.Owner != "" && a.Owner != t.Tenant {
		return nil, refused
	}
	var limit []string
	if len(t.Permissions) > 0 {
		limit = t.Permissions
	}
	st, err := o.rights.TokenRights(ctx, t.Tenant, t.Creator, limit)
	if errors.Is(err, fault.NotFound) || err == nil && !st.SignIn {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	scopes, err := tokenScopes(st, r.Scope)
	if err != nil {
		return nil, err
	}
	now := o.now()
	expires := now.Add(AccessTokenLifetime)
	if !t.Expires.IsZero() && t.Expires.Before(expires) {
		expires = t.Expires
	}
	subject, err := o.Subject(ctx, a, t.Creator)
	if err != nil {
		return nil, err
	}
	access, err := o.sign(ctx, a.AccessTokenAlg, typAccessToken, &AccessClaims{
		Issuer: o.issuer, Audience: audience{o.issuer}, Confirm: confirm(r.Terms.Key), Subject: subject, ClientID: a.ClientID,
		Expires: expires.Unix(), Issued: now.Unix(), ID: tokenID(byToken, t.ID), Scope: scopeText(scopes), TenantClaims: tokenClaims(st),
	})
	return &Tokens{Access: access, ExpiresIn: expires.Sub(now), Scopes: scopes, Bound: r.Terms.Key != ""}, err
}

// tokenScopes returns the scopes of a token that comes from an application
// token: only those that name its tenant, or ask for the permissions that it has
// anyway.
func tokenScopes(st *directory.Standing, scope string) ([]string, error) {
	asked, _, err := ParseScope(scope)
	if err != nil {
		return nil, err
	}
	for _, s := range asked {
		if s != ScopePermissions && s != tenantScope+st.Slug && s != tenantScope+string(st.Tenant) {
			return nil, refuse(InvalidScope, "an application token has no scope but permissions")
		}
	}
	if len(asked) == 0 && strings.TrimSpace(scope) == "" {
		return []string{ScopePermissions}, nil
	}
	return asked, nil
}

func tokenClaims(st *directory.Standing) TenantClaims {
	return TenantClaims{Tenant: st.Tenant, Slug: st.Slug, Roles: list(st.RolesAt), Permissions: list(st.Permissions)}
}

// checkApplicationToken fails with invalid_token unless the application token
// from which t was made is in force, and fills in what it stands for now, which
// is never more than at first.
func (o *OIDC) checkApplicationToken(ctx context.Context, t *accessToken, token id.ApplicationToken) error {
	claims := t.signed
	revoked, err := o.store.TokenRevoked(ctx, claims.ID)
	if err != nil {
		return err
	}
	inForce, err := o.authn.ApplicationTokenInForce(ctx, claims.Tenant, token)
	if err != nil {
		return err
	}
	if revoked || !inForce {
		return errToken()
	}
	a, err := o.Application(ctx, claims.ClientID)
	if errors.Is(err, fault.NotFound) {
		return errToken()
	}
	if err != nil {
		return err
	}
	creator, err := o.UserOf(ctx, a, claims.Subject)
	if err != nil {
		return err
	}
	t.creator, err = o.rights.TokenRights(ctx, claims.Tenant, creator, nil)
	if errors.Is(err, fault.NotFound) || err == nil && !t.creator.SignIn {
		return errToken()
	}
	if err != nil {
		return err
	}
	t.creator.RolesAt = common(t.creator.RolesAt, claims.Roles)
	t.creator.Permissions = common(t.creator.Permissions, claims.Permissions)
	return nil
}

// common returns what of the first list is in the second.
func common(list, within []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !slices.Contains(within, s) })
}
