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
// each whom a group offers the role, to see what others offer: those roles
// count that come first by priority and then by key, as authz.Counting says,
// until with those held directly there are that many.
func holders(tenant id.Tenant, roles []string, most int) (string, []any) {
	with := `WITH RECURSIVE down(group_id) AS (
		SELECT gr.group_id FROM group_roles gr WHERE gr.tenant_id = ? AND gr.role IN ? AND gr.group_id IS NOT NULL
		UNION
		SELECT gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
		holders(membership_id) AS (
		SELECT a.membership_id FROM assignments a WHERE a.tenant_id = ? AND a.role IN ? AND a.resource = ''
		UNION
		SELECT gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'user'`
	args := []any{tenant, roles, tenant, tenant, roles, tenant}
	if most > 0 {
		with += `
		AND EXISTS (SELECT 1 FROM (
			WITH RECURSIVE up(group_id) AS (
			SELECT g.group_id FROM group_members g WHERE g.tenant_id = ? AND g.member_id = gm.member_id
			UNION
			SELECT g.group_id FROM up JOIN group_members g ON g.tenant_id = ? AND g.member_id = up.group_id)
			SELECT gr.role, row_number() OVER (ORDER BY min(gr.priority), gr.role) AS turn
			FROM up JOIN group_roles gr ON gr.tenant_id = ? AND gr.group_id = up.group_id
			WHERE gr.role NOT IN (SELECT a.role FROM assignments a WHERE a.tenant_id = ? AND a.membership_id = gm.member_id AND a.resource = '')
			GROUP BY gr.role) offered
			WHERE offered.role IN ?
			AND offered.turn + (SELECT count(*) FROM assignments a WHERE a.tenant_id = ? AND a.membership_id = gm.member_id AND a.resource = '') <= ?)`
		args = append(args, tenant, tenant, tenant, tenant, roles, tenant, most)
	}
	return with + `)`, args
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
