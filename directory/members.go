package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// statusNotInvited is how role systems call somebody who is listed but has not
// been sent an invitation yet.
const statusNotInvited Status = "not_invited"

// A MemberSpec describes somebody whom a person or the operator adds to a
// tenant by hand.
type MemberSpec struct {
	Email string
	Name  Name
	Roles []string // none: the founder's for the first member
	// SecondFactor demands one of this member, where the role system knows that.
	SecondFactor bool
	// Status is one that the role system lets the creator choose. Empty: the
	// member waits for an invitation where the role system knows that status,
	// else is active.
	Status Status
}

// AddMember adds somebody with roles. Whoever has a login already, or belongs to
// another tenant's domain, has to accept first. Who is invited is written to. It
// fails with fault.Invalid on email, status and second_factor_required, with fault.Conflict on userName for
// a member, and with fault.Denied where the caller may not add somebody with these
// roles.
func (d *Directory) AddMember(ctx context.Context, tenant id.Tenant, spec MemberSpec) (*TenantMember, error) {
	address, ok := ParseEmail(spec.Email)
	if !ok {
		return nil, fault.Field(fault.Invalid, "email", "%q is not an e-mail address", spec.Email)
	}
	now := d.now()
	var held []Assignment
	m := &Membership{
		Tenant: tenant, ID: id.New[id.Membership](), Source: SourceOperator, UserName: address, SecondFactor: spec.SecondFactor,
		Profile: operatorProfile(&User{Email: address, Name: spec.Name}), Created: now, Modified: now,
	}
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.store.LockTenant(ctx, tenant); err != nil {
			return err
		}
		t, err := d.heldType(ctx, tenant, typeUser)
		if err != nil {
			return err
		}
		if err := d.invites(ctx, tenant, address); err != nil {
			return err
		}
		made, err := d.linkNew(ctx, m, spec.Status)
		if err != nil {
			return err
		}
		roles, source, err := d.founded(ctx, m, spec.Roles)
		if err != nil {
			return err
		}
		if err := d.admitNew(ctx, m, roles...); err != nil {
			return err
		}
		m.Search, m.Keys = derive(t, nil, m.Profile)
		if err := d.createMember(ctx, m, made); err != nil {
			return err
		}
		if err := d.giveFirst(ctx, m, roles, source); err != nil {
			return err
		}
		if err := d.changedFrom(ctx, typeUser, nil, m.snapshot(), nil); err != nil {
			return err
		}
		if err := d.inviteIfWaiting(ctx, m); err != nil {
			return err
		}
		held, err = d.store.Assignments(ctx, tenant, m.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &TenantMember{*m, held}, nil
}

// invites fails unless the tenant lets somebody with that address be added by
// hand, the operator apart.
func (d *Directory) invites(ctx context.Context, tenant id.Tenant, address string) error {
	if authz.FromContext(ctx).Kind == authz.OperatorPrincipal {
		return nil
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil || t.Policy.Invites(address) {
		return err
	}
	return fault.Field(fault.Invalid, "email", "the tenant adds people of %s only", strings.Join(t.Policy.InviteDomains, ", ")).WithCode("invite_domain")
}

// createMember stores a membership that somebody adds by hand, with the user who
// was made for it, if one was.
func (d *Directory) createMember(ctx context.Context, m *Membership, made *User) error {
	if made != nil {
		made.Disabled = m.Managed && m.Status == StatusSuspended
		return d.store.CreatePerson(ctx, made, m, d.created(ctx, m))
	}
	if err := d.store.CreateMembership(ctx, m); err != nil {
		return err
	}
	if err := d.store.AppendEvent(ctx, d.created(ctx, m)); err != nil {
		return err
	}
	return d.settleDefault(ctx, m.User)
}

// linkNew finds or makes the user behind a membership that somebody adds by
// hand, and its first status: the wished one, unless the person has to accept.
func (d *Directory) linkNew(ctx context.Context, m *Membership, wished Status) (made *User, err error) {
	blueprint, err := d.blueprint(ctx, m.Tenant)
	if err != nil {
		return nil, err
	}
	if err := checkFlag(blueprint, m.SecondFactor); err != nil {
		return nil, err
	}
	made, err = d.link(ctx, m)
	switch {
	case err != nil:
		return nil, err
	case made != nil && made.Email == "":
		return nil, fault.Field(fault.Conflict, "userName", "%s is a member already", m.UserName)
	case made == nil:
		if err := d.checkKnown(ctx, blueprint, m.User); err != nil {
			return nil, err
		}
	}
	if m.Status == StatusInvited {
		return made, nil
	}
	m.Status, err = firstStatus(ctx, blueprint, wished)
	m.Accepted = accepted(blueprint, m.Status)
	return made, err
}

// checkKnown refuses somebody with a login who has not accepted any invitation
// yet, where the role system asks for that.
func (d *Directory) checkKnown(ctx context.Context, blueprint *authz.Blueprint, user id.User) error {
	invitation := blueprint.Document().Invitation
	if invitation == nil || invitation.ExistingUser != "must_have_accepted_first" {
		return nil
	}
	all, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil {
		return err
	}
	if len(all) > 0 && !slices.ContainsFunc(all, func(m Membership) bool { return m.Accepted }) {
		return fault.Field(fault.Denied, "email", "this person has yet to accept a first invitation").WithCode("not_accepted")
	}
	return nil
}

// firstStatus returns the status of a new member of whom no acceptance by
// another tenant's person is needed.
func firstStatus(ctx context.Context, blueprint *authz.Blueprint, wished Status) (Status, error) {
	declared := func(s Status) bool { _, err := blueprint.Status(string(s)); return err == nil }
	if wished == "" {
		if declared(StatusInvited) {
			return StatusInvited, nil
		}
		return Status(blueprint.FirstStatus()), nil
	}
	if err := checkStatus(blueprint, wished); err != nil {
		return "", err
	}
	doc := blueprint.Document()
	choices := slices.Clone(doc.Membership.SetOnCreate)
	if declared(StatusInvited) {
		choices = append(choices, string(StatusInvited))
	}
	if declared(statusNotInvited) && doc.Invitation != nil && doc.Invitation.Optional {
		choices = append(choices, string(statusNotInvited))
	}
	if authz.FromContext(ctx).Kind != authz.OperatorPrincipal && !slices.Contains(choices, string(wished)) {
		return "", fault.Field(fault.Invalid, "status", "a new member cannot be %s here; it can be one of %s, or left out", wished, strings.Join(choices, ", "))
	}
	return wished, nil
}

// A TenantMember is a membership with the roles that it holds and by what.
type TenantMember struct {
	Membership
	Assignments []Assignment
}

// ListMembers returns at most limit members of the tenant whose ID comes after the
// given one, in their order. It fails with fault.Denied unless the caller may
// list members.
func (d *Directory) ListMembers(ctx context.Context, tenant id.Tenant, after id.Membership, limit int) ([]TenantMember, error) {
	if err := d.MayList(ctx, tenant); err != nil {
		return nil, err
	}
	memberships, err := d.store.MembershipsAfter(ctx, tenant, after, limit)
	if err != nil {
		return nil, err
	}
	return d.withAssignments(ctx, tenant, memberships)
}

// Member returns one member, to whom may list members and to himself. It fails
// with fault.NotFound.
func (d *Directory) Member(ctx context.Context, tenant id.Tenant, membership id.Membership) (*TenantMember, error) {
	m, err := d.store.Membership(ctx, tenant, membership)
	if err != nil {
		return nil, err
	}
	if p := authz.FromContext(ctx); p.User == "" || p.User != m.User || p.Tenant != tenant {
		if err := d.MayList(ctx, tenant); err != nil {
			return nil, err
		}
	}
	members, err := d.withAssignments(ctx, tenant, []Membership{*m})
	if err != nil {
		return nil, err
	}
	return &members[0], nil
}

// MayList fails with fault.Denied unless the caller in ctx may see the members of
// the tenant.
func (d *Directory) MayList(ctx context.Context, tenant id.Tenant) error {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return err
	}
	actor, err := d.rights.actor(ctx, at)
	if err != nil {
		return err
	}
	return d.mayInGeneral(at, actor, authz.OpList, "")
}

func (d *Directory) withAssignments(ctx context.Context, tenant id.Tenant, memberships []Membership) ([]TenantMember, error) {
	members := make([]TenantMember, len(memberships))
	ids := make([]id.Membership, len(memberships))
	index := map[id.Membership]int{}
	for i, m := range memberships {
		members[i].Membership, ids[i], index[m.ID] = m, m.ID, i
	}
	if len(ids) == 0 {
		return members, nil
	}
	assignments, err := d.store.AssignmentsOf(ctx, tenant, ids)
	if err != nil {
		return nil, err
	}
	for _, a := range assignments {
		m := &members[index[a.Membership]]
		m.Assignments = append(m.Assignments, a)
	}
	return members, d.settleMembers(ctx, tenant, members)
}

// A ResourceGrant is a role on one resource of a tenant, such as an instance of
// the portal's product. The resource's identifier is the portal's.
type ResourceGrant struct {
	Tenant     id.Tenant
	Membership id.Membership
	Role       string
	Resource   string
	Comment    string // why; some roles ask for it
}

// GrantResource gives a role on one resource. It fails with fault.Invalid on
// roles, resource and comment, and with fault.Denied unless the caller has the
// permission that the role system names for it.
func (d *Directory) GrantResource(ctx context.Context, g ResourceGrant) error {
	return d.changeResource(ctx, g, "membership.resource.grant", func(ctx context.Context) error {
		return d.store.Assign(ctx, Assignment{
			Tenant: g.Tenant, Membership: g.Membership, Role: g.Role, Resource: g.Resource, Comment: g.Comment, Source: assignedBy(ctx),
		}, d.now())
	})
}

// RevokeResource takes a role on one resource away, under the same rules.
func (d *Directory) RevokeResource(ctx context.Context, g ResourceGrant) error {
	return d.changeResource(ctx, g, "membership.resource.revoke", func(ctx context.Context) error {
		return d.store.Unassign(ctx, Assignment{Tenant: g.Tenant, Membership: g.Membership, Role: g.Role, Resource: g.Resource})
	})
}

func (d *Directory) changeResource(ctx context.Context, g ResourceGrant, action string, write func(ctx context.Context) error) error {
	if strings.TrimSpace(g.Resource) == "" {
		return fault.Field(fault.Invalid, "resource", "a resource is needed")
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, g.Tenant)
		if err != nil {
			return err
		}
		role, err := at.blueprint.Role(g.Role)
		if err != nil {
			return err
		}
		if role.Resource == "" {
			return fault.Field(fault.Invalid, "roles", "the role %q is held in the whole tenant, not on one resource", g.Role)
		}
		if role.NeedComment && strings.TrimSpace(g.Comment) == "" {
			return fault.Field(fault.Invalid, "comment", "a comment is needed that says why").WithCode("comment")
		}
		if err := d.rights.permitted(ctx, at, role.GrantWith); err != nil {
			return err
		}
		if _, err := d.store.Membership(ctx, g.Tenant, g.Membership); err != nil {
			return err
		}
		if err := write(ctx); err != nil {
			return err
		}
		return d.record(ctx, g.Tenant, action, "membership", string(g.Membership), map[string]any{"role": g.Role, "resource": g.Resource, "comment": g.Comment})
	})
}
