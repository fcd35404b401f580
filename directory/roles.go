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
	Roles  []string // exactly the roles held directly; nil leaves them as they are
	Status Status   // empty: active for a new membership, unchanged for one there is
}

// SaveMembership makes the user a member of the tenant as described.
func (d *Directory) SaveMembership(ctx context.Context, tenant id.Tenant, user *User, spec MembershipSpec) (*Membership, error) {
	switch spec.Status {
	case "", StatusActive, StatusInvited, StatusSuspended:
	default:
		return nil, fault.Field(fault.Invalid, "status", "%q is not one of active, invited, suspended", spec.Status)
	}
	var saved *Membership
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.MembershipOfUser(ctx, tenant, user.ID)
		switch {
		case errors.Is(err, fault.NotFound):
			m, err = d.addMembership(ctx, tenant, user, spec.Status)
		case err == nil:
			m, err = d.setStatus(ctx, m, spec.Status)
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
	if status != "" {
		m.Status, m.Accepted = status, status != StatusInvited
	}
	owners, err := d.store.DomainOwners(ctx, domainOf(user.Email))
	if err != nil {
		return nil, err
	}
	m.Managed = m.Accepted && !user.Operator && slices.Contains(owners, tenant)
	m.Search = d.user.SearchDocument(m.Profile)
	if err := d.store.CreateMembership(ctx, m); err != nil {
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

// setStatus brings a membership to the status that the operator asks for.
func (d *Directory) setStatus(ctx context.Context, m *Membership, status Status) (*Membership, error) {
	if status == "" || status == m.Status {
		return m, nil
	}
	if status == StatusSuspended {
		return d.Suspend(ctx, m.Tenant, m.ID)
	}
	if status == StatusInvited {
		return nil, fault.Field(fault.Invalid, "status", "a membership that is %s can't be invited again", m.Status)
	}
	before := *m
	m, err := d.store.UpdateMembership(ctx, m.Tenant, m.ID, func(m *Membership) error {
		m.Status, m.Accepted, m.Modified = StatusActive, true, d.now()
		m.Search = d.user.SearchDocument(m.Profile)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, d.afterChange(ctx, &before, m, []string{attrActive})
}

// SetRoles makes a membership hold exactly these roles directly; those it holds
// by groups are not touched. It fails with fault.Invalid for a role that the
// blueprint lacks or a person can't hold, and with fault.Denied where an
// invariant would break.
func (d *Directory) SetRoles(ctx context.Context, tenant id.Tenant, membership id.Membership, roles []string) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		blueprint, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		held, err := d.directRoles(ctx, tenant, membership)
		if err != nil {
			return err
		}
		added := slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return slices.Contains(held, role) })
		removed := slices.DeleteFunc(slices.Clone(held), func(role string) bool { return slices.Contains(roles, role) })
		if len(added)+len(removed) == 0 {
			return nil
		}
		if err := checkRoles(blueprint, roles, added); err != nil {
			return err
		}
		err = d.keepHolders(ctx, tenant, func(ctx context.Context) error {
			return d.changeRoles(ctx, tenant, membership, added, removed)
		})
		if err != nil {
			return err
		}
		return d.record(ctx, tenant, "membership.roles", "membership", string(membership), map[string]any{"added": added, "removed": removed})
	})
}

func (d *Directory) changeRoles(ctx context.Context, tenant id.Tenant, membership id.Membership, added, removed []string) error {
	for _, role := range removed {
		if err := d.store.Unassign(ctx, Assignment{Tenant: tenant, Membership: membership, Role: role}); err != nil {
			return err
		}
	}
	for _, role := range added {
		a := Assignment{Tenant: tenant, Membership: membership, Role: role, Source: AssignedOperator}
		if err := d.store.Assign(ctx, a, d.now()); err != nil {
			return err
		}
	}
	return nil
}

// directRoles returns the roles that the membership holds by itself.
func (d *Directory) directRoles(ctx context.Context, tenant id.Tenant, membership id.Membership) ([]string, error) {
	all, err := d.store.Assignments(ctx, tenant, membership)
	if err != nil {
		return nil, err
	}
	var direct []string
	for _, a := range all {
		if a.Source != AssignedGroup && a.Resource == "" {
			direct = append(direct, a.Role)
		}
	}
	return direct, nil
}

// checkRoles checks that a person may hold the roles together, and that the
// added ones may still be given.
func checkRoles(blueprint *authz.Blueprint, roles, added []string) error {
	for _, key := range added {
		if err := blueprint.CheckHolder(key, authz.HumanHolders); err != nil {
			return err
		}
		role, err := blueprint.Role(key)
		if err != nil {
			return err
		}
		switch {
		case role.Lifecycle != authz.Open:
			return fault.Field(fault.Invalid, "roles", "the role %q is %s and gains no new holders", key, role.Lifecycle).WithCode(string(role.Lifecycle))
		case role.Implicit:
			return fault.Field(fault.Invalid, "roles", "everybody has the role %q", key).WithCode("implicit")
		}
	}
	if _, most := blueprint.RoleBounds(); most > 0 && len(roles) > most {
		return fault.Field(fault.Invalid, "roles", "a membership has at most %d roles here, not %d", most, len(roles)).WithCode("max_roles")
	}
	return nil
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
	return d.keepHolders(ctx, tenant, func(ctx context.Context) error {
		mapped, err := d.store.GroupRoles(ctx, tenant)
		if err != nil {
			return err
		}
		m := GroupRole{Tenant: tenant, GroupName: group, Role: role, Created: d.now()}
		if slices.ContainsFunc(mapped, func(have GroupRole) bool { return strings.EqualFold(have.GroupName, group) && have.Role == role }) {
			return nil
		}
		if err := d.store.MapGroupRole(ctx, m); err != nil {
			return err
		}
		return d.record(ctx, tenant, "group_role.create", "group_role", group, map[string]any{"role": role})
	})
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
