package directory

import (
	"context"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// Offers is what a directory may be told that a tenant has for people, beside
// groups.
type Offers struct {
	Tenant       *Tenant
	Roles        []authz.Role // that a group can be mapped to here
	Entitlements []string     // of the tenant, each once, sorted
}

// Offers returns the roles that a group of the tenant can be mapped to and that
// have effect there, in the blueprint's order, and the tenant's entitlements.
func (d *Directory) Offers(ctx context.Context, tenant id.Tenant) (*Offers, error) {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return nil, err
	}
	offers := &Offers{Tenant: t, Roles: at.blueprint.Mappable(at.view)}
	all, err := d.Entitlements(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for i, e := range all { // they are sorted by key
		if i == 0 || all[i-1].Key != e.Key {
			offers.Entitlements = append(offers.Entitlements, e.Key)
		}
	}
	return offers, nil
}
