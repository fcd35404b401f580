package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// A Bearer is somebody whose rights are asked for: a user by what they hold in
// every tenant, or a service account by its roles in one.
type Bearer struct {
	User   id.User   // empty for a service account, and for nobody
	Tenant id.Tenant // where a service account's roles are held; for a user: the only tenant to look at, if any
	Roles  []string  // a service account's
}

// An Answer is a decision with what it rests on.
type Answer struct {
	authz.Explanation
	Reached bool                 // the bearer is at home in the tenant, or has some right there
	Names   map[id.Tenant]string // slugs of the tenants that the explanation may name
}

// Explain says whether the bearer has a permission at a tenant over a channel,
// by the state of now, and why. It fails with fault.NotFound if there is no such
// tenant; a bearer whom nobody knows has no rights.
func (d *Directory) Explain(ctx context.Context, bearer Bearer, tenant, permission string, channel authz.Channel) (*Answer, error) {
	t, err := d.store.TenantByName(ctx, tenant)
	if err != nil {
		return nil, err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return nil, err
	}
	holders, err := d.bearing(ctx, at, bearer)
	if err != nil {
		return nil, err
	}
	b := at.blueprint
	answer := &Answer{Names: map[id.Tenant]string{t.ID: t.Slug}, Explanation: b.Explain(holders, at.view, channel, permission)}
	for _, tenant := range at.above {
		above, err := d.store.Tenant(ctx, tenant)
		if err != nil {
			return nil, err
		}
		answer.Names[above.ID] = above.Slug
	}
	answer.Reached = !b.Effective(holders, at.view, channel).Empty()
	for _, h := range holders {
		answer.Reached = answer.Reached || at.view.SignIn() && h.Home().ID() == t.ID
	}
	return answer, nil
}

// bearing returns what the bearer holds where it can count at the place.
func (d *Directory) bearing(ctx context.Context, at *place, bearer Bearer) ([]authz.Holder, error) {
	if bearer.User == "" {
		return d.rights.service(ctx, at, bearer)
	}
	holders, _, err := d.rights.holders(ctx, at, bearer.User)
	return slices.DeleteFunc(holders, func(h authz.Holder) bool {
		return bearer.Tenant != "" && h.Home().ID() != bearer.Tenant
	}), err
}

// UserByName finds a user by identifier or, ignoring case, by address. It fails
// with fault.NotFound.
func (d *Directory) UserByName(ctx context.Context, idOrEmail string) (*User, error) {
	if user, err := id.Parse[id.User](idOrEmail); err == nil {
		return d.store.User(ctx, user)
	}
	return d.store.UserByEmail(ctx, idOrEmail)
}
