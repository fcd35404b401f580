package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// Assign implements directory.RoleStore.
func (s *Store) Assign(ctx context.Context, a directory.Assignment, now time.Time) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO assignments (tenant_id, membership_id, role, resource, source, comment, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, a.Tenant, a.Membership, a.Role, a.Resource, a.Source, a.Comment, at(now)).Error, "roles")
}

// Unassign implements directory.RoleStore.
func (s *Store) Unassign(ctx context.Context, a directory.Assignment) error {
	return classify(s.conn(ctx).Exec("DELETE FROM assignments WHERE tenant_id = ? AND membership_id = ? AND role = ? AND resource = ?",
		a.Tenant, a.Membership, a.Role, a.Resource).Error, "")
}

// Assignments implements directory.RoleStore.
func (s *Store) Assignments(ctx context.Context, tenant id.Tenant, membership id.Membership) ([]directory.Assignment, error) {
	return s.AssignmentsOf(ctx, tenant, []id.Membership{membership})
}

// AssignmentsOf implements directory.RoleStore.
func (s *Store) AssignmentsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) ([]directory.Assignment, error) {
	var rows []struct{ MembershipID, Role, Resource, Comment, Source, GroupID, GroupName string }
	err := s.conn(ctx).Raw(closure+` SELECT membership_id, role, resource, comment, source, '' AS group_id, '' AS group_name
		FROM assignments WHERE tenant_id = ? AND membership_id IN ?
		UNION SELECT up.start, gr.role, '', '', 'group', gr.group_id, gr.group_name FROM up JOIN group_roles gr ON gr.tenant_id = ? AND gr.group_id = up.group_id
		ORDER BY 1, 2, 5, 6`, tenant, memberships, tenant, tenant, memberships, tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	assignments := make([]directory.Assignment, 0, len(rows))
	for _, row := range rows {
		assignments = append(assignments, directory.Assignment{
			Tenant: tenant, Membership: id.Membership(row.MembershipID), Role: row.Role, Resource: row.Resource, Comment: row.Comment,
			Source: directory.AssignmentSource(row.Source), Group: id.Group(row.GroupID), GroupName: row.GroupName,
		})
	}
	return assignments, nil
}

// MapGroupRole implements directory.RoleStore.
func (s *Store) MapGroupRole(ctx context.Context, m directory.GroupRole) error {
	key := schema.Fold(m.GroupName)
	return classify(s.conn(ctx).Exec(`INSERT INTO group_roles (tenant_id, group_name, group_name_key, group_id, role, created_at)
		VALUES (?, ?, ?, coalesce((SELECT gr.group_id FROM group_roles gr WHERE gr.tenant_id = ? AND gr.group_name_key = ? AND gr.group_id IS NOT NULL LIMIT 1),
			(SELECT g.id FROM groups g WHERE g.tenant_id = ? AND g.display_name_key = ? ORDER BY g.id LIMIT 1)), ?, ?)
		ON CONFLICT DO NOTHING`, m.Tenant, m.GroupName, key, m.Tenant, key, m.Tenant, key, m.Role, at(m.Created)).Error, "group_roles")
}

// GroupRoles implements directory.RoleStore.
func (s *Store) GroupRoles(ctx context.Context, tenant id.Tenant) ([]directory.GroupRole, error) {
	var rows []struct {
		GroupName string
		GroupID   *string
		Role      string
		CreatedAt time.Time
	}
	err := s.conn(ctx).Raw("SELECT group_name, group_id, role, created_at FROM group_roles WHERE tenant_id = ? ORDER BY group_name_key, role", tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	mappings := make([]directory.GroupRole, 0, len(rows))
	for _, row := range rows {
		mappings = append(mappings, directory.GroupRole{
			Tenant: tenant, GroupName: row.GroupName, Group: id.Group(orEmpty(row.GroupID)), Role: row.Role, Created: row.CreatedAt.UTC(),
		})
	}
	return mappings, nil
}

// BindGroupRoles implements directory.RoleStore.
func (s *Store) BindGroupRoles(ctx context.Context, tenant id.Tenant, group id.Group, name string) ([]string, error) {
	var roles []string
	err := s.conn(ctx).Raw(`UPDATE group_roles SET group_id = ? WHERE tenant_id = ? AND group_name_key = ? AND group_id IS NULL RETURNING role`,
		group, tenant, schema.Fold(name)).Scan(&roles).Error
	return roles, classify(err, "")
}

// WaitingRoles implements directory.RoleStore.
func (s *Store) WaitingRoles(ctx context.Context, tenant id.Tenant, name string) ([]string, error) {
	var roles []string
	err := s.conn(ctx).Raw(`SELECT role FROM group_roles WHERE tenant_id = ? AND group_name_key = ? AND group_id IS NULL ORDER BY role`, tenant, schema.Fold(name)).Scan(&roles).Error
	return roles, classify(err, "")
}

// RolesThrough implements directory.RoleStore.
func (s *Store) RolesThrough(ctx context.Context, tenant id.Tenant, group id.Group) ([]string, error) {
	var roles []string
	err := s.conn(ctx).Raw(closure+` SELECT role FROM group_roles WHERE tenant_id = ? AND (group_id = ? OR group_id IN (SELECT group_id FROM up)) ORDER BY role`,
		tenant, []id.Group{group}, tenant, tenant, group).Scan(&roles).Error
	return roles, classify(err, "")
}

// UnmapGroupRole implements directory.RoleStore.
func (s *Store) UnmapGroupRole(ctx context.Context, tenant id.Tenant, groupName, role string) (bool, error) {
	result := s.conn(ctx).Exec("DELETE FROM group_roles WHERE tenant_id = ? AND group_name_key = ? AND role = ?", tenant, schema.Fold(groupName), role)
	return result.RowsAffected > 0, classify(result.Error, "")
}

// TallyHolders implements directory.RoleStore. It walks from the mapped groups
// down to their members, so its cost is that of the holders, not of the tenant.
func (s *Store) TallyHolders(ctx context.Context, tenant id.Tenant, roles, able, final []string) (authz.Tally, error) {
	const tally = `SELECT count(*) AS held, coalesce(sum(CASE WHEN m.status IN ? AND NOT u.disabled THEN 1 ELSE 0 END), 0) AS able `
	query := s.conn(ctx).Raw(`WITH RECURSIVE down(group_id) AS (
		SELECT gr.group_id FROM group_roles gr WHERE gr.tenant_id = ? AND gr.role IN ? AND gr.group_id IS NOT NULL
		UNION
		SELECT gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
		holders(membership_id) AS (
		SELECT a.membership_id FROM assignments a WHERE a.tenant_id = ? AND a.role IN ? AND a.resource = ''
		UNION
		SELECT gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'user')
		`+tally+`FROM holders h JOIN memberships m ON m.tenant_id = ? AND m.id = h.membership_id JOIN users u ON u.id = m.user_id
		WHERE m.status NOT IN ?`, tenant, roles, tenant, tenant, roles, tenant, able, tenant, final)
	if len(roles) == 0 {
		query = s.conn(ctx).Raw(tally+`FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.tenant_id = ? AND m.status NOT IN ?`, able, tenant, final)
	}
	var counted authz.Tally
	return counted, classify(query.Scan(&counted).Error, "")
}

// MembershipsBelow implements directory.RoleStore.
func (s *Store) MembershipsBelow(ctx context.Context, tenant id.Tenant, group id.Group) ([]id.Membership, error) {
	var found []id.Membership
	err := s.conn(ctx).Raw(`WITH RECURSIVE down(group_id) AS (
		SELECT g.id FROM groups g WHERE g.tenant_id = ? AND g.id = ?
		UNION
		SELECT gm.member_id FROM down JOIN group_members gm ON gm.group_id = down.group_id WHERE gm.tenant_id = ? AND gm.member_kind = 'group')
		SELECT DISTINCT gm.member_id FROM down JOIN group_members gm ON gm.group_id = down.group_id
		WHERE gm.tenant_id = ? AND gm.member_kind = 'user' ORDER BY 1`, tenant, group, tenant, tenant).Scan(&found).Error
	return found, classify(err, "")
}
