package upstream

import (
	"context"
	"strings"

	"github.com/rolecall/rolecall/internal/id"
)

// A Route leads somebody to a provider that is enabled.
type Route struct {
	Tenant     id.Tenant
	Slug       string
	TenantName string
	Provider   id.IdentityProvider
	Name       string
}

// RoutesByAddress returns where the people of an address's domain sign in: the
// providers that take it, of tenants that have verified it. The same for each address
// of the domain, whether it is anybody's or not.
func (u *Upstream) RoutesByAddress(ctx context.Context, address string) ([]Route, error) {
	_, domain, is := strings.Cut(strings.TrimSpace(address), "@")
	if !is || domain == "" || strings.Contains(domain, "@") {
		return nil, nil
	}
	return u.Store.RoutesByDomain(ctx, strings.ToLower(domain))
}

// Any reports whether any tenant has people of its domains sign in by a provider.
func (u *Upstream) Any(ctx context.Context) (bool, error) { return u.Store.RoutesAny(ctx) }

// RoutesOfTenant returns where the people of the tenant of that slug or id sign in,
// nothing for one that does not exist.
func (u *Upstream) RoutesOfTenant(ctx context.Context, slugOrID string) ([]Route, error) {
	if slugOrID == "" {
		return nil, nil
	}
	return u.Store.RoutesOfTenant(ctx, slugOrID)
}
