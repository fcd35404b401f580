package oidc

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// Store is what the provider needs of a database. All methods join the
// transaction that InTx put in ctx, if there is one. A read of one object fails
// with fault.NotFound where there is none.
type Store interface {
	// InTx runs fn in one transaction, which is rolled back if fn fails. A
	// call within fn joins the outer transaction.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// AppendEvent writes an entry of the audit trail.
	AppendEvent(ctx context.Context, event audit.Event) error
	// AppendDelivery writes a row of the outbox.
	AppendDelivery(ctx context.Context, delivery outbox.Delivery) error
	// Deliveries returns those of the tenant and the kind, the latest first: in the
	// state, and before the delivery, if these are not empty.
	Deliveries(ctx context.Context, tenant id.Tenant, kind outbox.Kind, state outbox.State, before id.Delivery, limit int) ([]outbox.Record, error)
	// RetryDelivery makes a delivery that was not done due now, as if it had never
	// been tried. It fails with fault.NotFound.
	RetryDelivery(ctx context.Context, tenant id.Tenant, kind outbox.Kind, delivery id.Delivery, now time.Time) error

	// HoldMembership keeps the membership from being changed until the
	// transaction ends, so that a lock-out comes before what is granted in it
	// or finds it.
	HoldMembership(ctx context.Context, tenant id.Tenant, membership id.Membership) error
	// ProviderEnabled reports whether there is such a provider of the tenant's own, by
	// which people sign in.
	ProviderEnabled(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) (bool, error)
	// Membership returns a member with what the directory knows of the person.
	Membership(ctx context.Context, tenant id.Tenant, membership id.Membership) (*directory.Membership, error)

	ApplicationStore
	DetailTypeStore
	RequestStore
	ConsentStore
	DeviceStore
	PushedStore
	GrantStore
	TokenStore
	KeyStore
	SupportStore
	SubjectStore
	RegistrationStore
}

// ApplicationStore keeps applications.
type ApplicationStore interface {
	// Application returns the application with its secrets and its owner.
	Application(ctx context.Context, clientID string) (*Application, error)
	// UpdateApplication loads the application under a lock, lets change modify
	// it and stores the result. One that does not exist is the zero value, and
	// is created.
	UpdateApplication(ctx context.Context, clientID string, change func(*Application) error) error
	// TouchApplicationSecret writes down that a secret was used, unless it was after the
	// given time.
	TouchApplicationSecret(ctx context.Context, clientID string, hash secret.Hash, after, used time.Time) error
	// DeleteApplication removes the tenant's application with all that was
	// issued to it. It fails with fault.NotFound.
	DeleteApplication(ctx context.Context, tenant id.Tenant, clientID string) error
	// ConnectionByApplication finds the SCIM connection, of the tenant of that slug
	// or id, as which the application may act.
	ConnectionByApplication(ctx context.Context, tenant, clientID string) (*directory.Connection, error)
	// OriginRegistered reports whether a redirect URI of an SPA begins with the
	// origin.
	OriginRegistered(ctx context.Context, origin string) (bool, error)
}

// RequestStore keeps authorization requests.
type RequestStore interface {
	CreateAuthorizationRequest(ctx context.Context, r *AuthorizationRequest) error
	// AuthorizationRequest fails with fault.NotFound for another browser and
	// after the request's end.
	AuthorizationRequest(ctx context.Context, request id.AuthorizationRequest, browser secret.Hash, now time.Time) (*AuthorizationRequest, error)
	// UpdateAuthorizationRequest lets change modify the Progress under a lock.
	UpdateAuthorizationRequest(ctx context.Context, request id.AuthorizationRequest, change func(*AuthorizationRequest) error) error
	// TakeAuthorizationRequest removes and returns the request. Of several
	// callers one gets it.
	TakeAuthorizationRequest(ctx context.Context, request id.AuthorizationRequest, browser secret.Hash, now time.Time) (*AuthorizationRequest, error)
}

// PushedStore keeps requests that applications have pushed.
type PushedStore interface {
	CreatePushedRequest(ctx context.Context, r *PushedRequest) error
	// PushedRequest fails with fault.NotFound for another application and after the
	// request's end.
	PushedRequest(ctx context.Context, address secret.Hash, clientID string, now time.Time) (*PushedRequest, error)
	// TakePushedRequest removes the request. Of several callers one gets it; the
	// others get fault.NotFound.
	TakePushedRequest(ctx context.Context, address secret.Hash, clientID string) error
}

// GrantStore keeps grants, codes and refresh tokens.
type GrantStore interface {
	CreateGrant(ctx context.Context, g *Grant) error
	// ExchangedGrants returns the application's grants in the tenant that come from
	// the source and are not revoked.
	ExchangedGrants(ctx context.Context, tenant id.Tenant, source *Grant, clientID string) ([]Grant, error)
	// RevokeGrant reports false where the grant was revoked before.
	RevokeGrant(ctx context.Context, tenant id.Tenant, grant id.Grant, at time.Time) (bool, error)
	// Holds reports whether there is any grant, application token or support
	// session for EndMembership to end, in one statement.
	Holds(ctx context.Context, tenant id.Tenant, membership id.Membership, user id.User) (bool, error)
	// RevokeGrantsOfMembership returns the grants that it revoked.
	RevokeGrantsOfMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, at time.Time) ([]Grant, error)
	// RevokeGrantsFromElsewhere revokes the tenant's grants that rest on
	// memberships in other tenants than those named, and returns them.
	RevokeGrantsFromElsewhere(ctx context.Context, tenant id.Tenant, homes []id.Tenant, at time.Time) ([]Grant, error)
	// RevokeGrantsOfSession revokes those that are not offline, and returns all
	// that were made in the session and are or were in force until now.
	RevokeGrantsOfSession(ctx context.Context, session id.Session, at time.Time) ([]Grant, error)

	// GrantsOfUser returns those that are neither revoked nor were made before
	// after, and whose session is alive unless they are offline: the newest first.
	GrantsOfUser(ctx context.Context, user id.User, after, now time.Time) ([]HeldGrant, error)
	// Participants returns the names of the applications, or the client_id of those
	// without, that have such a grant of a session, by the sessions.
	Participants(ctx context.Context, user id.User, after, now time.Time) (map[id.Session][]string, error)
	// RevokeGrantsOfUser revokes what the user has given to the application, and
	// returns it.
	RevokeGrantsOfUser(ctx context.Context, user id.User, clientID string, at time.Time) ([]Grant, error)

	CreateCode(ctx context.Context, c *Code) error
	Code(ctx context.Context, code secret.Hash) (*Code, error)
	// UseCode marks the application's code as used and returns it. Of several
	// callers one gets it; the others get fault.NotFound.
	UseCode(ctx context.Context, code secret.Hash, clientID string, at time.Time) (*Code, error)

	CreateRefreshToken(ctx context.Context, t *RefreshToken) error
	// RotateRefreshToken marks old as rotated and stores next. It reports false
	// where another caller has rotated old before, and then stores nothing.
	RotateRefreshToken(ctx context.Context, old secret.Hash, next *RefreshToken) (bool, error)
}

// TokenStore keeps access tokens and says which tokens are in force.
type TokenStore interface {
	// Live returns the state of a grant, and whether the signed token of that
	// jti was revoked.
	Live(ctx context.Context, tenant id.Tenant, grant id.Grant, jti string) (*Live, error)
	// LiveByRefreshToken returns the token with the state of its grant.
	LiveByRefreshToken(ctx context.Context, token secret.Hash) (*RefreshToken, *Live, error)
	// LiveByAccessToken returns the opaque token with the state of its grant,
	// which is nil for a machine's.
	LiveByAccessToken(ctx context.Context, token secret.Hash) (*AccessToken, *Live, error)
	CreateAccessToken(ctx context.Context, t *AccessToken) error
	// DeleteAccessToken removes an opaque token, if there is one.
	DeleteAccessToken(ctx context.Context, token secret.Hash) error
	// RevokeToken refuses the signed token of that jti until it expires.
	RevokeToken(ctx context.Context, jti string, expires time.Time) error
	// TokenRevoked reports whether RevokeToken was called for jti.
	TokenRevoked(ctx context.Context, jti string) (bool, error)
	// UseOnce remembers until expires that the thing was used. It reports false
	// where somebody has used it before, on whatever node.
	UseOnce(ctx context.Context, thing secret.Hash, expires time.Time) (bool, error)
	// ExtendRefreshToken moves the end of a refresh token that is not rotated.
	ExtendRefreshToken(ctx context.Context, tenant id.Tenant, token secret.Hash, expires time.Time) error
	// DeleteExpiredTokens removes requests, codes, tokens and grants that were
	// of no use any more before the given time, and returns how many.
	DeleteExpiredTokens(ctx context.Context, before time.Time) (int, error)
}

// KeyStore keeps signing keys.
type KeyStore interface {
	// SigningKeys returns the keys that are not gone, the oldest first.
	SigningKeys(ctx context.Context) ([]Key, error)
	// CreateSigningKey reports false where the algorithm has a key in that
	// state already, if the state is one that only one key can have.
	CreateSigningKey(ctx context.Context, k *Key) (bool, error)
	// UpdateSigningKeys loads the keys that are not gone under a lock that
	// keeps out other callers, and stores what change returns: keys that it
	// modified or added, in the order in which they are to be written.
	UpdateSigningKeys(ctx context.Context, change func([]Key) ([]Key, error)) error
}
