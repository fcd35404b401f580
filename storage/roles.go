package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
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
	var rows []struct {
		MembershipID, Role, Resource, Comment, Source, GroupID, GroupName string
		Priority                                                          int
	}
	err := s.conn(ctx).Raw(closure+` SELECT membership_id, role, resource, comment, source, '' AS group_id, '' AS group_name, 0 AS priority
		FROM assignments WHERE tenant_id = ? AND membership_id IN ?
		UNION SELECT up.start, gr.role, '', '', 'group', gr.group_id, gr.group_name, gr.priority FROM up JOIN group_roles gr ON gr.tenant_id = ? AND gr.group_id = up.group_id
		ORDER BY 1, 2, 5, 6`, tenant, memberships, tenant, tenant, memberships, tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	assignments := make([]directory.Assignment, 0, len(rows))
	for _, row := range rows {
		assignments = append(assignments, directory.Assignment{
			Tenant: tenant, Membership: id.Membership(row.MembershipID), Role: row.Role, Resource: row.Resource, Comment: row.Comment,
			Source: directory.AssignmentSource(row.Source), Group: id.Group(row.GroupID), GroupName: row.GroupName, Priority: row.Priority,
		})
	}
	return assignments, nil
}

// RolesThrough implements directory.RoleStore.
func (s *Store) RolesThrough(ctx context.Context, tenant id.Tenant, group id.Group) ([]string, error) {
	var roles []string
	err := s.conn(ctx).Raw(closure+` SELECT role FROM group_roles WHERE tenant_id = ? AND (group_id = ? OR group_id IN (SELECT group_id FROM up)) ORDER BY role`,
		tenant, []id.Group{group}, tenant, tenant, group).Scan(&roles).Error
	return roles, classify(err, "")
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
