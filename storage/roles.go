package storage

import (
	"context"
	"database/sql"
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
	wanted, err := s.wanted(texts(memberships))
	if err != nil {
		return nil, err
	}
	assignments := make([]directory.Assignment, 0, len(memberships))
	err = s.query(ctx, func(rows *sql.Rows) error {
		a := directory.Assignment{Tenant: tenant}
		err := rows.Scan(&a.Membership, &a.Role, &a.Resource, &a.Comment, &a.Source, &a.Group, &a.GroupName, &a.Priority)
		assignments = append(assignments, a)
		return err
	}, s.closure()+`SELECT a.membership_id, a.role, a.resource, a.comment, a.source, '', '', 0
		FROM `+s.wantedIDs()+s.lookUps("", "assignments a", "a.tenant_id = ? AND a.membership_id = wanted.value")+`
		UNION SELECT up.start, gr.role, '', '', 'group', gr.group_id, gr.group_name, gr.priority FROM up`+s.lookUps("", "group_roles gr", "gr.tenant_id = ? AND gr.group_id = up.group_id")+`
		ORDER BY 1, 2, 5, 6`, wanted, string(tenant), string(tenant), wanted, string(tenant), string(tenant))
	return assignments, err
}

// RolesThrough implements directory.RoleStore.
func (s *Store) RolesThrough(ctx context.Context, tenant id.Tenant, group id.Group) ([]string, error) {
	wanted, err := s.wanted([]string{string(group)})
	if err != nil {
		return nil, err
	}
	var roles []string
	err = s.query(ctx, func(rows *sql.Rows) error {
		var role string
		err := rows.Scan(&role)
		roles = append(roles, role)
		return err
	}, s.closure()+`SELECT gr.role FROM (SELECT group_id FROM up UNION SELECT CAST(? AS text)) through`+
		s.lookUps("", "group_roles gr", "gr.tenant_id = ? AND gr.group_id = through.group_id")+` ORDER BY gr.role`,
		wanted, string(tenant), string(tenant), string(group), string(tenant))
	return roles, err
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
