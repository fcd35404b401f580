package directory

import (
	"context"
	"errors"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A Bearer is somebody whose rights are asked for: a user by what they hold in
// every tenant, or a service account by its roles in one.
type Bearer struct {
	User   id.User   // empty for a service account, and for nobody
	Tenant id.Tenant // where the roles are held; for a user: the only tenant to look at, if any
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
	b, err := d.blueprints.Blueprint(t.Blueprint)
	if err != nil {
		return nil, err
	}
	at, err := d.rights.view(ctx, b, t)
	if err != nil {
		return nil, err
	}
	answer := &Answer{Names: map[id.Tenant]string{t.ID: t.Slug}}
	holders, err := d.holders(ctx, b, bearer, answer.Names)
	if err != nil {
		return nil, err
	}
	answer.Explanation = b.Explain(holders, at, channel, permission)
	if asked := answer.Explanation.RemovedBy; asked != nil && asked.AskIn != "" && answer.Names[asked.AskIn] == "" {
		above, err := d.store.Tenant(ctx, asked.AskIn)
		if err != nil {
			return nil, err
		}
		answer.Names[above.ID] = above.Slug
	}
	answer.Reached = !b.Effective(holders, at, channel).Empty()
	for _, h := range holders {
		answer.Reached = answer.Reached || at.SignIn() && h.Home().ID() == t.ID
	}
	return answer, nil
}

// holders returns what the bearer holds in the tenants of a role system, and
// adds their names.
func (d *Directory) holders(ctx context.Context, b *authz.Blueprint, bearer Bearer, names map[id.Tenant]string) ([]authz.Holder, error) {
	held := []Standing{{Tenant: bearer.Tenant, Status: StatusActive, Roles: bearer.Roles}}
	if bearer.User != "" {
		var err error
		if held, err = d.store.Standings(ctx, bearer.User); err != nil {
			return nil, err
		}
	}
	var holders []authz.Holder
	for _, st := range held {
		if st.Tenant == "" || bearer.Tenant != "" && st.Tenant != bearer.Tenant {
			continue
		}
		home, err := d.store.Tenant(ctx, st.Tenant)
		if errors.Is(err, fault.NotFound) || err == nil && home.Blueprint != b.Name() {
			continue
		}
		if err != nil {
			return nil, err
		}
		view, err := d.rights.view(ctx, b, home)
		if err != nil {
			return nil, err
		}
		facts := authz.MembershipFacts{Status: string(st.Status), Roles: st.Roles}
		if st.User.Disabled {
			facts.Status = "" // no role system knows it: it gives no right
		}
		names[home.ID] = home.Slug
		holders = append(holders, b.Holder(view, facts))
	}
	return holders, nil
}

// UserByName finds a user by identifier or, ignoring case, by address. It fails
// with fault.NotFound.
func (d *Directory) UserByName(ctx context.Context, idOrEmail string) (*User, error) {
	if user, err := id.Parse[id.User](idOrEmail); err == nil {
		return d.store.User(ctx, user)
	}
	return d.store.UserByEmail(ctx, idOrEmail)
}
