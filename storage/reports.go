package storage

import (
	"context"
	"math"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// CountByRole implements directory.ReportStore.
func (s *Store) CountByRole(ctx context.Context, tenants []id.Tenant, most int) ([]directory.MemberCount, error) {
	var rows []struct {
		TenantID, Slug, Name, Role, Status string
		Members                            int
	}
	if most <= 0 {
		most = math.MaxInt32
	}
	// Roles on a resource take no place among those that a member can have; those
	// held directly always count, and groups fill what they leave. The rest is as
	// authz.Counting says, and the default role for who is left with none.
	err := s.conn(ctx).Raw(`WITH RECURSIVE down(tenant_id, role, priority, group_id) AS (
		SELECT gr.tenant_id, gr.role, gr.priority, gr.group_id FROM group_roles gr WHERE gr.tenant_id IN ? AND gr.group_id IS NOT NULL
		UNION
		SELECT down.tenant_id, down.role, down.priority, gm.member_id FROM down
		JOIN group_members gm ON gm.tenant_id = down.tenant_id AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
		offered(tenant_id, role, priority, membership_id) AS (
		SELECT a.tenant_id, a.role, 0, a.membership_id FROM assignments a WHERE a.tenant_id IN ? AND a.resource = ''
		UNION
		SELECT down.tenant_id, down.role, down.priority, gm.member_id FROM down
		JOIN group_members gm ON gm.tenant_id = down.tenant_id AND gm.group_id = down.group_id AND gm.member_kind = 'user'),
		turns(tenant_id, role, priority, membership_id, turn) AS (
		SELECT o.tenant_id, o.role, min(o.priority), o.membership_id,
			row_number() OVER (PARTITION BY o.tenant_id, o.membership_id ORDER BY min(o.priority), o.role)
		FROM offered o GROUP BY o.tenant_id, o.membership_id, o.role),
		held(tenant_id, role, membership_id) AS (
		SELECT tenant_id, role, membership_id FROM turns WHERE priority = 0 OR turn <= ?
		UNION
		SELECT a.tenant_id, a.role, a.membership_id FROM assignments a WHERE a.tenant_id IN ? AND a.resource <> ''
		UNION
		SELECT m.tenant_id, t.default_role, m.id FROM memberships m JOIN tenants t ON t.id = m.tenant_id
		WHERE m.tenant_id IN ? AND t.default_role <> '' AND m.source = 'scim'
		AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.tenant_id = m.tenant_id AND turns.membership_id = m.id))
		SELECT m.tenant_id, t.slug, t.name, coalesce(h.role, '') AS role, m.status, count(*) AS members
		FROM memberships m JOIN tenants t ON t.id = m.tenant_id
		LEFT JOIN held h ON h.tenant_id = m.tenant_id AND h.membership_id = m.id
		WHERE m.tenant_id IN ?
		GROUP BY m.tenant_id, t.slug, t.name, coalesce(h.role, ''), m.status ORDER BY t.slug, 4, m.status`,
		tenants, tenants, most, tenants, tenants, tenants).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	counts := make([]directory.MemberCount, len(rows))
	for i, row := range rows {
		counts[i] = directory.MemberCount{
			Tenant: id.Tenant(row.TenantID), Slug: row.Slug, Name: row.Name, Role: row.Role, Status: directory.Status(row.Status), Members: row.Members,
		}
	}
	return counts, nil
}
