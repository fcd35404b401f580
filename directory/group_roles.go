package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A GroupRoleSpec says that the members of a group, nested ones included, have a
// role. The group may come later: the mapping then waits for it by name.
type GroupRoleSpec struct {
	Group string // display name
	Role  string
	// Priority is as in GroupRole. 0: as it is, authz.DefaultPriority for a new one.
	Priority int
}

// GroupRoleSet is all that a tenant says of roles by its directory.
type GroupRoleSet struct {
	Mappings []GroupRole // by name of the group and role
	Default  string      // the tenant's default role, "" for none
}

// GroupRoles returns the mappings of groups to roles of the tenant, and the
// default role. It fails with fault.Denied unless the caller may list members.
func (d *Directory) GroupRoles(ctx context.Context, tenant id.Tenant) (*GroupRoleSet, error) {
	if err := d.MayList(ctx, tenant); err != nil {
		return nil, err
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return d.groupRoles(ctx, t)
}

func (d *Directory) groupRoles(ctx context.Context, t *Tenant) (*GroupRoleSet, error) {
	mappings, err := d.store.GroupRoles(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	return &GroupRoleSet{Mappings: mappings, Default: t.DefaultRole}, nil
}

// MapGroupRole makes the members of a group of the tenant hold a role, with the
// priority that the mapping has already or else the default one.
func (d *Directory) MapGroupRole(ctx context.Context, tenant id.Tenant, group, role string) error {
	return d.PutGroupRole(ctx, tenant, GroupRoleSpec{Group: group, Role: role})
}

// PutGroupRole makes or changes one mapping. It fails with fault.Invalid on
// group, role and priority, and with fault.Denied where the caller could not
// give the role, or take what others lose by it, or where the tenant would break
// a rule of its role system.
func (d *Directory) PutGroupRole(ctx context.Context, tenant id.Tenant, spec GroupRoleSpec) error {
	return d.changeGroupRoles(ctx, tenant, func(set *GroupRoleSet) ([]asked, error) {
		return []asked{{authz.OpGrant, spec.Role}}, set.put(tenant, spec)
	})
}

// UnmapGroupRole ends a mapping, and with it what the group's members hold by
// it. It fails with fault.NotFound where there is none.
func (d *Directory) UnmapGroupRole(ctx context.Context, tenant id.Tenant, group, role string) error {
	return d.changeGroupRoles(ctx, tenant, func(set *GroupRoleSet) ([]asked, error) {
		asks := []asked{{authz.OpRevoke, role}}
		i := set.find(group, role)
		if i < 0 {
			return asks, fault.New(fault.NotFound, "no group %q is mapped to %q", group, role)
		}
		set.Mappings = slices.Delete(set.Mappings, i, i+1)
		return asks, nil
	})
}

// SetDefaultRole makes a role that of people whom the tenant's directory pushes
// and to whom nothing else gives one; "" for none. It fails as PutGroupRole
// does, and with fault.Invalid on default_role.
func (d *Directory) SetDefaultRole(ctx context.Context, tenant id.Tenant, role string) error {
	return d.changeGroupRoles(ctx, tenant, func(set *GroupRoleSet) ([]asked, error) {
		if role != "" {
			set.Default = role
			return []asked{{authz.OpGrant, role}}, nil
		}
		asks := []asked{{authz.OpRevoke, set.Default}}
		set.Default = ""
		return asks, nil
	})
}

// ReplaceGroupRoles makes exactly these the mappings of the tenant, and this its
// default role, in one step: a role may so pass from one group to another
// although the tenant must not be without it.
func (d *Directory) ReplaceGroupRoles(ctx context.Context, tenant id.Tenant, specs []GroupRoleSpec, defaultRole string) error {
	return d.changeGroupRoles(ctx, tenant, func(set *GroupRoleSet) ([]asked, error) {
		return nil, set.replace(tenant, specs, defaultRole)
	})
}

// asked is an operation on a role that the caller must be able to use even if
// nothing comes of the change.
type asked struct{ operation, role string }

// changeGroupRoles changes what the tenant says of roles by groups, under its
// lock and with what that does to people checked before.
func (d *Directory) changeGroupRoles(ctx context.Context, tenant id.Tenant, change func(set *GroupRoleSet) ([]asked, error)) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		plan, err := d.planGroupRoles(ctx, at, change)
		if err != nil {
			return err
		}
		if err := d.weighGroupRoles(ctx, plan, func(err error, _ int) error { return err }); err != nil {
			return err
		}
		return d.writeGroupRoles(ctx, plan)
	})
}

// writeGroupRoles stores what a plan changes, with an event for each mapping.
func (d *Directory) writeGroupRoles(ctx context.Context, plan *groupRolePlan) error {
	tenant, people := plan.at.tenant.ID, len(plan.people)
	for _, m := range plan.removed {
		if _, err := d.store.UnmapGroupRole(ctx, tenant, m.GroupName, m.Role); err != nil {
			return err
		}
		if err := d.record(ctx, tenant, "group_role.delete", "group_role", m.GroupName, map[string]any{"role": m.Role, "people": people}); err != nil {
			return err
		}
	}
	for _, written := range []struct {
		action   string
		mappings []GroupRole
	}{{"group_role.create", plan.added}, {"group_role.update", plan.moved}} {
		for _, m := range written.mappings {
			m.Created = d.now()
			if err := d.store.MapGroupRole(ctx, m); err != nil {
				return err
			}
			data := map[string]any{"role": m.Role, "priority": m.Priority, "people": people}
			if err := d.record(ctx, tenant, written.action, "group_role", m.GroupName, data); err != nil {
				return err
			}
		}
	}
	if plan.before.Default == plan.after.Default {
		return nil
	}
	if err := d.store.SetDefaultRole(ctx, tenant, plan.after.Default, d.now()); err != nil {
		return err
	}
	return d.record(ctx, tenant, "tenant.default_role", "tenant", string(tenant), map[string]any{"role": plan.after.Default, "people": people})
}

// find returns the index of a mapping, -1 if there is none.
func (s *GroupRoleSet) find(group, role string) int {
	key := schema.Fold(group)
	return slices.IndexFunc(s.Mappings, func(m GroupRole) bool { return m.Role == role && schema.Fold(m.GroupName) == key })
}

// put adds a mapping, or changes the priority of one.
func (s *GroupRoleSet) put(tenant id.Tenant, spec GroupRoleSpec) error {
	if strings.TrimSpace(spec.Group) == "" {
		return fault.Field(fault.Invalid, "group", "a group role needs the display name of a group")
	}
	if spec.Priority < 0 || spec.Priority > authz.MaxPriority {
		return fault.Field(fault.Invalid, "priority", "%d is no priority: 1 comes first, %d last", spec.Priority, authz.MaxPriority)
	}
	if i := s.find(spec.Group, spec.Role); i >= 0 {
		if spec.Priority > 0 {
			s.Mappings[i].Priority = spec.Priority
		}
		return nil
	}
	m := GroupRole{Tenant: tenant, GroupName: spec.Group, Role: spec.Role, Priority: spec.Priority}
	if m.Priority == 0 {
		m.Priority = authz.DefaultPriority
	}
	s.Mappings = append(s.Mappings, m)
	return nil
}

// replace makes the set what the specs say. What they leave unsaid stays.
func (s *GroupRoleSet) replace(tenant id.Tenant, specs []GroupRoleSpec, defaultRole string) error {
	named := &GroupRoleSet{}
	for _, spec := range specs {
		if named.find(spec.Group, spec.Role) >= 0 {
			return fault.Field(fault.Invalid, "group", "the group %q is mapped to %q twice", spec.Group, spec.Role)
		}
		if err := named.put(tenant, spec); err != nil {
			return err
		}
	}
	s.Mappings = slices.DeleteFunc(s.Mappings, func(m GroupRole) bool { return named.find(m.GroupName, m.Role) < 0 })
	for _, spec := range specs {
		if err := s.put(tenant, spec); err != nil {
			return err
		}
	}
	s.Default = defaultRole
	return nil
}
