package authz

import (
	"context"

	"github.com/rolecall/rolecall/internal/id"
)

// PrincipalKind says by what a caller has proven who it is.
type PrincipalKind uint8

// The kinds of principals. The zero value is nobody.
const (
	Anonymous           PrincipalKind = iota
	UserPrincipal                     // a person in a session
	AppPrincipal                      // an application with its own credentials
	TokenPrincipal                    // an application token
	ConnectionPrincipal               // a tenant's SCIM connection
	OperatorPrincipal                 // who runs the instance, outside all tenants
)

// String returns the kind as the audit trail spells it.
func (k PrincipalKind) String() string {
	switch k {
	case UserPrincipal:
		return "user"
	case AppPrincipal:
		return "application"
	case TokenPrincipal:
		return "application_token"
	case ConnectionPrincipal:
		return "connection"
	case OperatorPrincipal:
		return "operator"
	case Anonymous:
	}
	return "anonymous"
}

// Principal is a proven caller. authn makes one from a credential; nothing in
// it was merely claimed. Which rights it has is not part of it, because they
// change while a credential lives.
type Principal struct {
	Kind    PrincipalKind
	Channel Channel

	// Tenant is the tenant in use; empty for an operator, or an application
	// that belongs to the instance.
	Tenant id.Tenant
	// User is the person: of the session, or the creator of the application token.
	User id.User
	// Membership is the user's, or the service account's, in Tenant.
	Membership id.Membership
	// Session is set for UserPrincipal.
	Session id.Session
	// Application is the client_id, for AppPrincipal, and for UserPrincipal if
	// the session's person came through an application.
	Application string
	// Roles are those of the service account in Tenant, for AppPrincipal.
	Roles []string
	// ApplicationToken is set for TokenPrincipal.
	ApplicationToken id.ApplicationToken
	// Connection is set for ConnectionPrincipal.
	Connection id.Connection
	// Support is set in a support session: the staff member who acts as User.
	Support *Staff
	// Permissions limits an application token to these keys; nil: no limit of its own.
	Permissions []string
}

// Staff is who really acts in a support session: the claim "act" (RFC 8693 §4.1).
type Staff struct {
	User     id.User
	Tenant   id.Tenant // where the staff member has the right to assume others
	Override string    // the role taken instead of the user's own; empty: none
}

// principalKey is the context key of the principal.
type principalKey struct{}

// NewContext returns a context that carries the caller.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns the caller, or the zero Principal (Anonymous) if none
// was proven.
func FromContext(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}
