package directory

import (
	"context"
	"errors"
	"slices"
	"strings"

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
	m.Search = d.user.SearchDocument(m.Profile)
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
		direct, through, err := d.rolesBySource(ctx, tenant, membership)
		if err != nil {
			return err
		}
		added := without(roles, direct)
		removed := without(direct, roles)
		if len(added)+len(removed) == 0 {
			return nil
		}
		err = d.admit(ctx, memberChange{tenant: tenant, user: m.User, operation: roleOperation(added), after: func(before *authz.MembershipFacts) *authz.MembershipFacts {
			after := *before
			after.Roles = union(roles, through)
			return &after
		}})
		if err != nil {
			return err
		}
		if err := d.changeRoles(ctx, tenant, membership, added, removed); err != nil {
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
// itself, and those that it holds by groups.
func (d *Directory) rolesBySource(ctx context.Context, tenant id.Tenant, membership id.Membership) (direct, through []string, err error) {
	all, err := d.store.Assignments(ctx, tenant, membership)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range all {
		switch {
		case a.Source == AssignedGroup:
			through = append(through, a.Role)
		case a.Resource == "":
			direct = append(direct, a.Role)
		}
	}
	return direct, through, nil
}

// MapGroupRole makes the members of a group of the tenant hold a role. The
// group may come later: the mapping then waits for it by name.
func (d *Directory) MapGroupRole(ctx context.Context, tenant id.Tenant, group, role string) error {
	if strings.TrimSpace(group) == "" {
		return fault.Field(fault.Invalid, "group", "a group role needs the display name of a group")
	}
	blueprint, err := d.blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	if err := blueprint.CheckMappable(role); err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		return d.admitMany(ctx, massChange{
			tenant: tenant, operation: authz.OpGrant, roles: []string{role}, role: role,
			affected: func(ctx context.Context) ([]id.Membership, error) { return d.mapped(ctx, tenant, group, role) },
			write: func(ctx context.Context) error {
				mapped, err := d.store.GroupRoles(ctx, tenant)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(mapped, func(have GroupRole) bool { return strings.EqualFold(have.GroupName, group) && have.Role == role }) {
					return nil
				}
				if err := d.store.MapGroupRole(ctx, GroupRole{Tenant: tenant, GroupName: group, Role: role, Created: d.now()}); err != nil {
					return err
				}
				return d.record(ctx, tenant, "group_role.create", "group_role", group, map[string]any{"role": role})
			},
		})
	})
}

// UnmapGroupRole ends a mapping, and with it what the group's members hold by
// it. It fails with fault.NotFound where there is none.
func (d *Directory) UnmapGroupRole(ctx context.Context, tenant id.Tenant, group, role string) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		return d.admitMany(ctx, massChange{
			tenant: tenant, operation: authz.OpRevoke, roles: []string{role}, role: role,
			affected: func(ctx context.Context) ([]id.Membership, error) { return d.mapped(ctx, tenant, group, role) },
			write: func(ctx context.Context) error {
				removed, err := d.store.UnmapGroupRole(ctx, tenant, group, role)
				if err != nil {
					return err
				}
				if !removed {
					return fault.New(fault.NotFound, "no group %q is mapped to %q", group, role)
				}
				return d.record(ctx, tenant, "group_role.delete", "group_role", group, map[string]any{"role": role})
			},
		})
	})
}

// mapped returns the members of the group that the mapping is bound to.
func (d *Directory) mapped(ctx context.Context, tenant id.Tenant, group, role string) ([]id.Membership, error) {
	mappings, err := d.store.GroupRoles(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, m := range mappings {
		if m.Role == role && m.Group != "" && strings.EqualFold(m.GroupName, group) {
			return d.store.MembershipsBelow(ctx, tenant, m.Group)
		}
	}
	return nil, nil
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
