package oidc

import (
	"context"
	"errors"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// tokenTypeApplication is the token_type of an application token (RFC 7662 §2.2
// leaves the names to the servers).
const tokenTypeApplication = "application_token"

// tokenIntrospection is what introspection says of an application token in
// force. Who takes the token as a credential sees to its networks, because only
// there is known where it comes from.
type tokenIntrospection struct {
	Active    bool                `json:"active"`
	TokenType string              `json:"token_type"`
	Username  string              `json:"username,omitempty"`
	Issuer    string              `json:"iss"`
	Subject   string              `json:"sub"` // the creator
	ID        id.ApplicationToken `json:"jti"`
	Issued    int64               `json:"iat"`
	Expires   int64               `json:"exp,omitempty"`   // absent: never
	Networks  []string            `json:"cidrs,omitempty"` // absent: from anywhere
	TenantClaims
}

// introspectApplicationToken answers applications of the token's tenant, and
// those of the instance. Roles and permissions are what the creator has now; with
// a list of its own there are no roles, which would promise more.
func (o *OIDC) introspectApplicationToken(ctx context.Context, caller *Application, token secret.Text) (any, error) {
	t, err := o.authn.InspectApplicationToken(ctx, token)
	if errors.Is(err, fault.Unauthenticated) {
		return inactive{}, nil
	}
	if err != nil {
		return nil, err
	}
	if caller.Owner != "" && caller.Owner != t.Tenant {
		return inactive{}, nil
	}
	subject, err := o.Subject(ctx, caller, t.Creator)
	if err != nil {
		return nil, err
	}
	answer := &tokenIntrospection{
		Active: true, TokenType: tokenTypeApplication, Issuer: o.issuer, Subject: subject, ID: t.ID, Issued: t.Created.Unix(),
	}
	if !t.Expires.IsZero() {
		answer.Expires = t.Expires.Unix()
	}
	for _, network := range t.Networks {
		answer.Networks = append(answer.Networks, network.String())
	}
	if t.Tenant == "" {
		return answer, nil
	}
	standing, err := o.rights.TokenRights(ctx, t.Tenant, t.Creator, t.Permissions)
	if errors.Is(err, fault.NotFound) { // an operator's, who is nobody there
		standing, err = &directory.Standing{Tenant: t.Tenant}, nil
	}
	if err != nil {
		return nil, err
	}
	answer.Username = standing.UserName
	answer.TenantClaims = TenantClaims{Tenant: t.Tenant, Slug: standing.Slug, Roles: list(standing.RolesAt), Permissions: list(standing.Permissions)}
	return answer, nil
}
