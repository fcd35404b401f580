package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// This file says which of the roles that groups offer a member count. What is
// stored are offers; every reader of one member's roles settles them here. The
// statements that count or list many holders do the same in storage.

// holding is a role that somebody may hold, and by what.
type holding struct {
	role     string
	resource string
	source   AssignmentSource
	priority int
}

// settled returns those of one member's holdings that count.
func settled[T any](b *authz.Blueprint, all []T, as func(T) holding) []T {
	var direct []string
	var mapped []authz.MappedRole
	for _, one := range all {
		switch h := as(one); {
		case h.source == AssignedGroup:
			mapped = append(mapped, authz.MappedRole{Role: h.role, Priority: h.priority})
		case h.source != AssignedDefault && h.resource == "":
			direct = append(direct, h.role)
		}
	}
	if len(mapped) == 0 {
		return all
	}
	counting := b.Counting(direct, mapped)
	return slices.DeleteFunc(all, func(one T) bool {
		h := as(one)
		return h.source == AssignedGroup && !slices.Contains(counting, h.role)
	})
}

// rolesOf returns the roles that somebody holds in the whole tenant: directly,
// by those of the mapped roles that count, or else the fallback, if any.
func rolesOf(b *authz.Blueprint, direct []string, mapped []authz.MappedRole, fallback string) []string {
	roles := union(direct, b.Counting(direct, mapped))
	if len(roles) == 0 && fallback != "" {
		return []string{fallback}
	}
	return roles
}

// fallback returns the role that a member has if nothing else gives one.
func (t *Tenant) fallback(source Source) string {
	if source == SourceSCIM {
		return t.DefaultRole
	}
	return ""
}

// settleMembers leaves of the members' assignments those that count.
func (d *Directory) settleMembers(ctx context.Context, tenant id.Tenant, members []TenantMember) error {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	b, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return err
	}
	for i := range members {
		m := &members[i]
		m.Assignments = settled(b, m.Assignments, func(a Assignment) holding {
			return holding{a.Role, a.Resource, a.Source, a.Priority}
		})
		if role := t.fallback(m.Source); role != "" && !slices.ContainsFunc(m.Assignments, func(a Assignment) bool { return a.Resource == "" }) {
			m.Assignments = append(m.Assignments, Assignment{Tenant: tenant, Membership: m.ID, Role: role, Source: AssignedDefault})
		}
	}
	return nil
}
