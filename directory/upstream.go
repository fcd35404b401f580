package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// SSOPolicy says whether people have to sign in by a provider of the tenant's own.
type SSOPolicy string

// The policies for single sign-on.
const (
	SSOOptional SSOPolicy = ""
	SSORequired SSOPolicy = "required"
)

// Via is the tenant's own provider by which somebody has signed in. The zero value
// is none: the person signed in here.
type Via struct {
	Tenant   id.Tenant
	Provider id.IdentityProvider
}

// None reports whether the person signed in here.
func (v Via) None() bool { return v.Provider == "" }

// permissionSSO is what lets somebody manage a tenant's providers where its role
// system has it; elsewhere it is what lets them set the policy.
const permissionSSO = "sso.write"

// MaySetSignIn fails with fault.Denied unless the caller may say by which
// providers people sign in to the tenant.
func (d *Directory) MaySetSignIn(ctx context.Context, tenant id.Tenant) error {
	at, err := d.at(ctx, tenant)
	if err != nil {
		return err
	}
	if authz.FromContext(ctx).Support != nil {
		return fault.New(fault.Denied, "a support session can't decide how people sign in").WithCode("nested")
	}
	permission := policyPermission(at)
	if _, known := at.blueprint.Permission(permissionSSO); known {
		permission = permissionSSO
	}
	return d.rights.permitted(ctx, at, permission)
}

// MayBegin fails unless the caller may add people to the tenant with each of the
// roles: whoever has others begin with it gives it to them. It fails with
// fault.Invalid on role, and with fault.Denied.
func (d *Directory) MayBegin(ctx context.Context, tenant id.Tenant, roles []string) error {
	at, err := d.at(ctx, tenant)
	if err != nil {
		return err
	}
	actor, err := d.rights.actor(ctx, at)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if err := beginsWith(at.blueprint, "role", role); err != nil {
			return err
		}
		if err := d.mayInGeneral(at, actor, authz.OpCreate, role); err != nil {
			return err
		}
	}
	return nil
}

// A Newcomer is somebody whom the tenant's provider vouches for, and who is no
// member yet.
type Newcomer struct {
	Tenant   id.Tenant
	Email    string // in a domain of the tenant
	Name     Name
	Language string // BCP 47, or empty
	Roles    []string
}

// Join makes somebody a member by the word of the tenant's provider, in the
// transaction in ctx. What a directory may do for people of the tenant's domains, a
// provider may: whoever has the address is managed by the tenant from then on. It
// fails with fault.Denied where the address is not of the tenant's domains, is an
// operator's or an account's that is switched off, and where the role system has no
// room for one more.
func (d *Directory) Join(ctx context.Context, n Newcomer) (*Membership, error) {
	now := d.now()
	m := &Membership{
		Tenant: n.Tenant, ID: id.New[id.Membership](), Source: SourceSelf, UserName: n.Email,
		Profile: operatorProfile(&User{Email: n.Email, Name: n.Name}), Created: now, Modified: now,
	}
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, n.Tenant)
		if err != nil {
			return err
		}
		made, err := d.linkNewcomer(ctx, m, n)
		if err != nil {
			return err
		}
		ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(m.User)})
		if err := d.admitRegistered(ctx, at, m, n.Roles); err != nil {
			return errNoNewcomer("the role system of the tenant has no room for the person")
		}
		t, err := d.heldType(ctx, n.Tenant, typeUser)
		if err != nil {
			return err
		}
		m.Search, m.Keys = derive(t, nil, m.Profile)
		if err := d.createMember(ctx, m, made); err != nil {
			return err
		}
		if err := d.giveFirst(ctx, m, n.Roles, AssignedDirect); err != nil {
			return err
		}
		if err := d.changedFrom(ctx, typeUser, nil, m.snapshot(), nil); err != nil {
			return err
		}
		return d.record(ctx, n.Tenant, "membership.just_in_time", "membership", string(m.ID), map[string]any{"roles": n.Roles})
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// linkNewcomer is link for somebody whom the tenant manages or nobody.
func (d *Directory) linkNewcomer(ctx context.Context, m *Membership, n Newcomer) (made *User, err error) {
	made, err = d.link(ctx, m)
	switch {
	case err != nil:
		return nil, err
	case !m.Managed || m.Status != StatusActive:
		return nil, errNoNewcomer("the address is not of a domain of the tenant, or is an operator's")
	case made != nil:
		made.Locale = n.Language
		return made, nil
	}
	user, err := d.store.User(ctx, m.User)
	if err != nil {
		return nil, err
	}
	if user.Disabled {
		return nil, errNoNewcomer("the login is switched off")
	}
	m.Profile = operatorProfile(&User{Email: n.Email, Name: user.Name})
	return nil, nil
}

func errNoNewcomer(why string) error {
	return fault.New(fault.Denied, "%s", why).WithCode("no_newcomer")
}

// MemberOfAddress returns the membership of whoever signs in with the address, if
// the tenant has verified its domain: for anybody else the tenant's provider has no
// say. It fails with fault.NotFound where the person is no member, with fault.Denied
// where the domain is not the tenant's, or the person runs the instance.
func (d *Directory) MemberOfAddress(ctx context.Context, tenant id.Tenant, address string) (*Membership, error) {
	found, err := d.store.Addressee(ctx, address, domainOf(address))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(found.Owners, tenant) {
		return nil, errNoNewcomer("the address is not of a domain of the tenant")
	}
	if found.User == nil {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	if found.User.Operator {
		return nil, errNoNewcomer("the address is an operator's")
	}
	return d.store.MembershipOfUser(ctx, tenant, found.User.ID)
}

// SignInBy says how somebody may come into a tenant, by how they have signed in.
type SignInBy int

// The answers of Rights.Admits.
const (
	Admitted   SignInBy = iota
	ByProvider          // only by a provider of the tenant's own
	ByThemself          // not by another tenant's provider
)

// Admits says whether a sign-in is good for a tenant. One by a tenant's provider is
// good for that tenant, and for what its members reach; where a tenant requires its
// own, no other is for those of its people whom it can ask that of
// (EM-R35): whose address lies in its domains, and whose default or only tenant it
// is. strong says that the person has shown a second factor: those who hold the
// founder's role come in by it, or nobody would where the provider is gone.
func (r *Rights) Admits(ctx context.Context, st *Standing, via Via, strong bool) (SignInBy, error) {
	if !via.None() && via.Tenant != st.Home {
		return ByThemself, nil
	}
	if st.Policy.SSO != SSORequired || via.Tenant == st.Tenant || st.Home != st.Tenant {
		return Admitted, nil
	}
	bound, founder, err := r.bound(ctx, st)
	if err != nil || !bound || founder && strong {
		return Admitted, err
	}
	return ByProvider, nil
}

// Admits is Rights.Admits.
func (d *Directory) Admits(ctx context.Context, st *Standing, via Via, strong bool) (SignInBy, error) {
	return d.rights.Admits(ctx, st, via, strong)
}

// Beginnings returns the roles of a role system that people may begin with whom
// nobody has looked at.
func Beginnings(b *authz.Blueprint) []authz.Role {
	return slices.DeleteFunc(b.Roles(), func(role authz.Role) bool { return beginsWith(b, "", role.Key) != nil })
}

// bound reports whether the person of the standing has to sign in by a provider of
// the tenant, which requires it, and whether they hold the founder's role.
func (r *Rights) bound(ctx context.Context, st *Standing) (bound, founder bool, err error) {
	w, err := r.one(ctx, Bearer{User: st.User.ID}, string(st.Tenant))
	if err != nil {
		return false, false, err
	}
	applies := ""
	if policy := w.at.blueprint.Document().SignIn; policy != nil && policy.SSO != nil {
		if policy.SSO.Entitlement != "" && !w.at.view.Entitled(policy.SSO.Entitlement) {
			return false, false, nil
		}
		applies = policy.SSO.AppliesTo
	}
	for _, key := range st.Roles {
		if role, err := w.at.blueprint.Role(key); err == nil && role.Founder {
			founder = true
		}
	}
	if applies == "any" || st.Default {
		return true, founder, nil
	}
	managed, others, err := r.store.Known(ctx, st.Tenant, st.User.ID)
	return managed || others == 0, founder, err
}

// BoundElsewhere returns the tenants by whose providers somebody has to sign in, if
// there is no other that they could sign in to, and so no use for a password.
func (r *Rights) BoundElsewhere(ctx context.Context, user id.User) ([]Standing, error) {
	asked, err := r.store.AsksSSO(ctx, user)
	if err != nil || !asked {
		return nil, err
	}
	standings, err := r.SignIns(ctx, user, maxReached)
	if err != nil {
		return nil, err
	}
	for i := range standings {
		if standings[i].User.Operator || standings[i].Policy.SSO != SSORequired {
			return nil, nil
		}
		bound, founder, err := r.bound(ctx, &standings[i])
		if err != nil || !bound || founder {
			return nil, err
		}
	}
	return standings, nil
}

// ManagesAlone reports whether the tenant may do with somebody's login as with its
// own: it manages the login, no other tenant knows the person, and they don't run
// the instance (decision 2).
func (r *Rights) ManagesAlone(ctx context.Context, tenant id.Tenant, user id.User) (bool, error) {
	managed, others, err := r.store.Known(ctx, tenant, user)
	if err != nil || !managed || others > 0 {
		return false, err
	}
	person, err := r.store.User(ctx, user)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && !person.Operator, err
}
