package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// MembershipSpec describes a membership by the operator's word, which stands in
// for the person's acceptance.
type MembershipSpec struct {
	Roles  []string // exactly the roles held directly; nil leaves them as they are, and gives the first member the founder's
	Status Status   // empty: active for a new membership, unchanged for one there is
}

// SaveMembership makes the user a member of the tenant as described.
func (d *Directory) SaveMembership(ctx context.Context, tenant id.Tenant, user *User, spec MembershipSpec) (*Membership, error) {
	if err := operatorOnly(ctx); err != nil {
		return nil, err
	}
	var saved *Membership
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.MembershipOfUser(ctx, tenant, user.ID)
		switch {
		case errors.Is(err, fault.NotFound):
			if m, err = d.addMembership(ctx, tenant, user, spec.Status); err == nil {
				// What a file describes has the roles that it names and no others:
				// only the marker of the contact person comes by being the first.
				_, _, err = d.founded(ctx, m, []string{})
			}
		case err == nil && spec.Status != "":
			m, err = d.SetStatus(ctx, tenant, m.ID, spec.Status)
		}
		if err != nil {
			return err
		}
		saved = m
		if spec.Roles == nil {
			return nil
		}
		return d.SetRoles(ctx, tenant, m.ID, spec.Roles)
	})
	if err != nil {
		return nil, err
	}
	return saved, nil
}

func (d *Directory) addMembership(ctx context.Context, tenant id.Tenant, user *User, status Status) (*Membership, error) {
	now := d.now()
	m := &Membership{
		Tenant: tenant, ID: id.New[id.Membership](), User: user.ID, Status: StatusActive, Accepted: true,
		Source: SourceOperator, UserName: user.Email, Profile: operatorProfile(user), Created: now, Modified: now,
	}
	blueprint, err := d.blueprint(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if status != "" {
		if err := checkStatus(blueprint, status); err != nil {
			return nil, err
		}
		m.Status, m.Accepted = status, accepted(blueprint, status)
	}
	owners, err := d.store.DomainOwners(ctx, domainOf(user.Email))
	if err != nil {
		return nil, err
	}
	m.Managed = m.Accepted && !user.Operator && slices.Contains(owners, tenant)
	t, err := d.heldType(ctx, tenant, typeUser)
	if err != nil {
		return nil, err
	}
	m.Search, m.Keys = derive(t, nil, m.Profile)
	if err := d.admitNew(ctx, m); err != nil {
		return nil, err
	}
	if err := d.store.CreateMembership(ctx, m); err != nil {
		return nil, err
	}
	if err := d.settleDefault(ctx, user.ID); err != nil {
		return nil, err
	}
	if err := d.changedFrom(ctx, typeUser, nil, m.snapshot(), nil); err != nil {
		return nil, err
	}
	return m, d.record(ctx, tenant, "membership.create", "membership", string(m.ID), map[string]any{"user": m.User, "status": m.Status})
}

// operatorProfile is the SCIM profile of a member whom no directory described.
func operatorProfile(u *User) map[string]any {
	profile := map[string]any{
		"emails": []any{map[string]any{"value": u.Email, "type": "work", "primary": true}},
	}
	name := map[string]any{}
	if u.Name.Given != "" {
		name["givenName"] = u.Name.Given
	}
	if u.Name.Family != "" {
		name["familyName"] = u.Name.Family
	}
	if len(name) > 0 {
		profile["name"] = name
	}
	if display := u.Name.String(); display != "" {
		profile[attrDisplayName] = display
	}
	return profile
}

// SetRoles makes a membership hold exactly these roles directly; those it holds
// by groups are not touched. It fails with fault.Invalid for a role that the
// blueprint lacks, and with fault.Denied where the caller may not, or an
// invariant would break.
func (d *Directory) SetRoles(ctx context.Context, tenant id.Tenant, membership id.Membership, roles []string) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.UpdateMembership(ctx, tenant, membership, func(*Membership) error { return ErrUnchanged }) // only its lock is needed
		if err != nil {
			return err
		}
		if err := d.store.LockTenant(ctx, tenant); err != nil {
			return err
		}
		direct, mapped, err := d.rolesBySource(ctx, tenant, membership)
		if err != nil {
			return err
		}
		added := without(roles, direct)
		removed := without(direct, roles)
		if len(added)+len(removed) == 0 {
			return nil
		}
		t, err := d.store.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		blueprint, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
		if err != nil {
			return err
		}
		err = d.admit(ctx, memberChange{tenant: tenant, user: m.User, operation: roleOperation(added), after: func(before *authz.MembershipFacts) *authz.MembershipFacts {
			after := *before
			after.Roles = rolesOf(blueprint, roles, mapped, t.fallback(m.Source))
			return &after
		}})
		if err != nil {
			return err
		}
		if err := d.changeRoles(ctx, tenant, membership, added, removed); err != nil {
			return err
		}
		if err := d.givenFounder(ctx, m, added); err != nil {
			return err
		}
		return d.record(ctx, tenant, "membership.roles", "membership", string(membership), map[string]any{"added": added, "removed": removed})
	})
}

// roleOperation is the operation of a change of roles, even of one that leaves
// the roles as they are because a group gives them too.
func roleOperation(added []string) string {
	if len(added) > 0 {
		return authz.OpGrant
	}
	return authz.OpRevoke
}

// without returns those of a that are not among b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func (d *Directory) changeRoles(ctx context.Context, tenant id.Tenant, membership id.Membership, added, removed []string) error {
	for _, role := range removed {
		if err := d.store.Unassign(ctx, Assignment{Tenant: tenant, Membership: membership, Role: role}); err != nil {
			return err
		}
	}
	for _, role := range added {
		a := Assignment{Tenant: tenant, Membership: membership, Role: role, Source: assignedBy(ctx)}
		if err := d.store.Assign(ctx, a, d.now()); err != nil {
			return err
		}
	}
	return nil
}

// assignedBy is the source of an assignment that the caller makes.
func assignedBy(ctx context.Context) AssignmentSource {
	if authz.FromContext(ctx).Kind == authz.OperatorPrincipal {
		return AssignedOperator
	}
	return AssignedDirect
}

// rolesBySource returns the roles that the membership holds in the tenant by
// itself, and those that groups offer it, whether they count or not.
func (d *Directory) rolesBySource(ctx context.Context, tenant id.Tenant, membership id.Membership) (direct []string, mapped []authz.MappedRole, err error) {
	all, err := d.store.Assignments(ctx, tenant, membership)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range all {
		switch {
		case a.Source == AssignedGroup:
			mapped = append(mapped, authz.MappedRole{Role: a.Role, Priority: a.Priority})
		case a.Resource == "":
			direct = append(direct, a.Role)
		}
	}
	return direct, mapped, nil
}

// CheckServiceRoles checks that a service account of the tenant may hold the
// roles. It fails with fault.Invalid on roles.
func (d *Directory) CheckServiceRoles(ctx context.Context, tenant id.Tenant, roles []string) error {
	blueprint, err := d.blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if err := blueprint.CheckHolder(role, authz.ServiceHolders); err != nil {
			return err
		}
	}
	return nil
}
