package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// An Answer is a decision with what it rests on.
type Answer struct {
	authz.Explanation
	Reached bool                 // the bearer is at home in the tenant, or has some right there
	Names   map[id.Tenant]string // slugs of the tenants that the explanation may name
}

// A Resource is something of a tenant on which roles can be held. The zero value
// stands for the tenant as a whole.
type Resource struct {
	Kind string // as the role system calls it
	ID   string // the portal's, unique in the tenant
}

// Explain says whether the bearer has a permission at a tenant over a channel,
// by the state of now, and why. It fails with fault.NotFound if there is no such
// tenant; a bearer whom nobody knows has no rights.
func (d *Directory) Explain(ctx context.Context, bearer Bearer, tenant, permission string, channel authz.Channel) (*Answer, error) {
	return d.ExplainOn(ctx, bearer, tenant, Resource{}, permission, channel)
}

// ExplainOn is Explain with the roles that are held on a resource of the tenant
// beside those held in it. It also fails with fault.Invalid on resource.type
// where the tenant's role system has no role on such resources.
func (d *Directory) ExplainOn(ctx context.Context, bearer Bearer, tenant string, on Resource, permission string, channel authz.Channel) (*Answer, error) {
	w, err := d.rights.one(ctx, bearer, tenant)
	if err != nil {
		return nil, err
	}
	b, at := w.at.blueprint, w.at
	if on != (Resource{}) && !slices.ContainsFunc(b.Roles(), func(r authz.Role) bool { return r.Resource == on.Kind }) {
		return nil, fault.Field(fault.Invalid, "resource.type", "%s has no roles on a %q", b.Name(), on.Kind)
	}
	answer := &Answer{Names: map[id.Tenant]string{at.tenant.ID: at.tenant.Slug}, Explanation: b.ExplainOn(w.holders, at.view, channel, permission, on.ID)}
	for tenant, home := range at.homes {
		answer.Names[tenant] = home.tenant.Slug
	}
	for i := range answer.GrantedBy {
		w.trace(&answer.GrantedBy[i], bearer)
	}
	answer.Reached = !b.Effective(w.holders, at.view, channel).Empty() ||
		at.view.SignIn() && slices.ContainsFunc(w.holders, func(h authz.Holder) bool { return h.Home().ID() == at.tenant.ID })
	return answer, nil
}

// Decide is Explain without the reasons. Somebody who asks about a tenant that
// there is not gets no.
func (d *Directory) Decide(ctx context.Context, bearer Bearer, tenant, permission string, channel authz.Channel) (bool, error) {
	w, err := d.rights.one(ctx, bearer, tenant)
	if err != nil {
		return false, err
	}
	return w.at.blueprint.Can(w.holders, w.at.view, channel, permission), nil
}

// trace adds to a source by what its role is held.
func (w *weighed) trace(source *authz.Source, bearer Bearer) {
	if !bearer.person() {
		source.Given = "application"
		return
	}
	held := w.held.At(source.HeldIn)
	if held == nil {
		return
	}
	for _, role := range held.Roles {
		switch {
		case role.Role != source.Role || role.Resource != source.Resource:
		case role.Source == AssignedGroup:
			source.Groups = append(source.Groups, role.Group)
		default:
			source.Given = string(role.Source)
		}
	}
	slices.Sort(source.Groups)
	if source.Given == "" && len(source.Groups) == 0 {
		source.Given = "implicit"
	}
}

// UserByName finds a user by identifier or, ignoring case, by address. It fails
// with fault.NotFound.
func (d *Directory) UserByName(ctx context.Context, idOrEmail string) (*User, error) {
	if user, err := id.Parse[id.User](idOrEmail); err == nil {
		return d.store.User(ctx, user)
	}
	return d.store.UserByEmail(ctx, idOrEmail)
}

// BearerByName is the user whom UserByName would find. It reads nothing: who is
// unknown turns out to be nobody.
func BearerByName(idOrEmail string) Bearer {
	if user, err := id.Parse[id.User](idOrEmail); err == nil {
		return Bearer{User: user}
	}
	return Bearer{Email: idOrEmail}
}
