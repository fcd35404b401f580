package storage

import (
	"context"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// holders is the recursive part of a statement about those who hold one of some
// roles, the default role aside, with its values. It walks from the mapped
// groups down to their members, so its cost is that of the holders, not of the
// tenant. Where a member can have only so many roles, it walks up again from
// those whom a group offers the role, to see what others offer: first count the
// roles held directly, then by priority and key those of groups, as
// authz.Counting says, until there are that many. CROSS JOIN keeps SQLite to the
// order in which it stands.
func holders(tenant id.Tenant, roles []string, most int) (string, []any) {
	const direct = `
		holders(membership_id) AS (
		SELECT a.membership_id FROM assignments a WHERE a.tenant_id = ? AND a.role IN ? AND a.resource = ''
		UNION
		`
	with := `WITH RECURSIVE down(group_id) AS (
		SELECT gr.group_id FROM group_roles gr WHERE gr.tenant_id = ? AND gr.role IN ? AND gr.group_id IS NOT NULL
		UNION
		SELECT gm.member_id FROM down CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
		offered(membership_id) AS (
		SELECT DISTINCT gm.member_id FROM down CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'user'),`
	args := []any{tenant, roles, tenant, tenant}
	if most <= 0 {
		return with + direct + `SELECT membership_id FROM offered)`, append(args, tenant, roles)
	}
	return with + `
		up(start, group_id) AS (
		SELECT o.membership_id, gm.group_id FROM offered o CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.member_id = o.membership_id
		UNION
		SELECT up.start, gm.group_id FROM up CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.member_id = up.group_id),
		held(membership_id, role, priority) AS (
		SELECT a.membership_id, a.role, 0 FROM offered o CROSS JOIN assignments a WHERE a.tenant_id = ? AND a.membership_id = o.membership_id AND a.resource = ''
		UNION ALL
		SELECT up.start, gr.role, gr.priority FROM up CROSS JOIN group_roles gr WHERE gr.tenant_id = ? AND gr.group_id = up.group_id),
		turns(membership_id, role, turn) AS (
		SELECT membership_id, role, row_number() OVER (PARTITION BY membership_id ORDER BY min(priority), role) FROM held GROUP BY membership_id, role),` +
			direct + `SELECT membership_id FROM turns WHERE role IN ? AND turn <= ?)`,
		append(args, tenant, tenant, tenant, tenant, tenant, roles, roles, most)
}

// TallyHolders implements directory.RoleStore.
func (s *Store) TallyHolders(ctx context.Context, tenant id.Tenant, of directory.HoldersOf) (authz.Tally, error) {
	const tally = ` SELECT count(*) AS held, coalesce(sum(CASE WHEN m.status IN ? AND NOT u.disabled THEN 1 ELSE 0 END), 0) AS able `
	query := s.conn(ctx).Raw(tally+`FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.tenant_id = ? AND m.status NOT IN ?`, of.Able, tenant, of.Final)
	if len(of.Roles) > 0 {
		with, args := holders(tenant, of.Roles, of.MaxRoles)
		query = s.conn(ctx).Raw(with+tally+`FROM holders h JOIN memberships m ON m.tenant_id = ? AND m.id = h.membership_id JOIN users u ON u.id = m.user_id
			WHERE m.status NOT IN ?`, append(args, of.Able, tenant, of.Final)...)
	}
	var counted authz.Tally
	return counted, classify(query.Scan(&counted).Error, "")
}

// RoleHolders implements directory.RelationStore.
func (s *Store) RoleHolders(ctx context.Context, tenant id.Tenant, roles []string, most int) ([]directory.RoleHolder, error) {
	var rows []struct {
		UserID       string
		MembershipID string
		Status       string
		Disabled     bool
		Role         string
	}
	with, args := holders(tenant, roles, most)
	err := s.conn(ctx).Raw(with+`
		SELECT m.user_id, m.id AS membership_id, m.status, u.disabled, coalesce(a.role, '') AS role
		FROM holders h JOIN memberships m ON m.tenant_id = ? AND m.id = h.membership_id JOIN users u ON u.id = m.user_id
		LEFT JOIN assignments a ON a.tenant_id = m.tenant_id AND a.membership_id = m.id AND a.resource = ''
		ORDER BY m.created_at, m.id, a.role`, append(args, tenant)...).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var holding []directory.RoleHolder
	for _, row := range rows {
		if n := len(holding); n == 0 || string(holding[n-1].Membership) != row.MembershipID {
			holding = append(holding, directory.RoleHolder{
				User: id.User(row.UserID), Membership: id.Membership(row.MembershipID), Status: directory.Status(row.Status), Disabled: row.Disabled,
			})
		}
		if row.Role != "" {
			last := &holding[len(holding)-1]
			last.Roles = append(last.Roles, row.Role)
		}
	}
	return holding, nil
}
