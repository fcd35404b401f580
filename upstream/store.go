package upstream

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Store is what upstream sign-in needs of a database. All methods join the
// transaction that InTx put in ctx, if there is one. A read of one object fails
// with fault.NotFound where there is none in that tenant.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	AppendEvent(ctx context.Context, event audit.Event) error // of the audit trail
	LockTenant(ctx context.Context, tenant id.Tenant) error
	Tenant(ctx context.Context, tenant id.Tenant) (*directory.Tenant, error)
	Membership(ctx context.Context, tenant id.Tenant, membership id.Membership) (*directory.Membership, error)
	ProviderStore
	SignInStore
	LinkStore
}

// ProviderStore keeps providers.
type ProviderStore interface {
	// IdentityProviders are in the order of their names.
	IdentityProviders(ctx context.Context, tenant id.Tenant) ([]Provider, error)
	IdentityProvider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) (*Provider, error)
	// IdentityProviderByID returns one of whatever tenant.
	IdentityProviderByID(ctx context.Context, provider id.IdentityProvider) (*Provider, error)
	// RoutesByDomain returns the enabled providers that take the domain, of the
	// tenants that have verified it.
	RoutesByDomain(ctx context.Context, domain string) ([]Route, error)
	// RoutesAny reports whether there is any for RoutesByDomain.
	RoutesAny(ctx context.Context) (bool, error)
	// RoutesOfTenant returns the enabled providers of the tenant of that slug or id.
	RoutesOfTenant(ctx context.Context, slugOrID string) ([]Route, error)
	// RoutesOfTenants returns the enabled providers of the tenants, by the tenants' names.
	RoutesOfTenants(ctx context.Context, tenants []id.Tenant) ([]Route, error)
	// CreateIdentityProvider fails with fault.Conflict on name.
	CreateIdentityProvider(ctx context.Context, p *Provider) error
	// UpdateIdentityProvider loads the provider under a lock, lets change modify it
	// and stores the result. It fails with fault.Conflict on name.
	UpdateIdentityProvider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, change func(*Provider) error) (*Provider, error)
	// DeleteIdentityProvider removes the provider with all that is about it.
	DeleteIdentityProvider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) error
}

// SignInStore keeps who was sent to a provider.
type SignInStore interface {
	CreateSignIn(ctx context.Context, a *Attempt, state, browser secret.Hash) error
	// TakeSignIn removes and returns what the browser was sent with, and fails with
	// fault.NotFound where it is another browser's, or over: of several callers one
	// gets it.
	TakeSignIn(ctx context.Context, state, browser secret.Hash, now time.Time) (*Attempt, error)
}

// LinkStore keeps which accounts members sign in with.
type LinkStore interface {
	LinkBySubject(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, issuer, subject string) (*Link, error)
	// LinksOfUser returns those in all tenants.
	LinksOfUser(ctx context.Context, user id.User) ([]Link, error)
	LinksOfMembership(ctx context.Context, tenant id.Tenant, membership id.Membership) ([]Link, error)
	// CreateIdentityLink fails with fault.Conflict where the account is linked.
	CreateIdentityLink(ctx context.Context, l *Link) error
	// UseIdentityLink writes down a use, with the address that the provider said.
	UseIdentityLink(ctx context.Context, tenant id.Tenant, link id.IdentityLink, email string, used time.Time) error
	// DeleteIdentityLink fails with fault.NotFound.
	DeleteIdentityLink(ctx context.Context, tenant id.Tenant, link id.IdentityLink) error
}
