package storage

import (
	"context"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// CountByRole implements directory.ReportStore.
func (s *Store) CountByRole(ctx context.Context, tenants []id.Tenant) ([]directory.MemberCount, error) {
	var rows []struct {
		TenantID, Slug, Name, Role, Status string
		Members                            int
	}
	err := s.conn(ctx).Raw(`WITH RECURSIVE down(tenant_id, role, group_id) AS (
		SELECT gr.tenant_id, gr.role, gr.group_id FROM group_roles gr WHERE gr.tenant_id IN ? AND gr.group_id IS NOT NULL
		UNION
		SELECT down.tenant_id, down.role, gm.member_id FROM down
		JOIN group_members gm ON gm.tenant_id = down.tenant_id AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
		held(tenant_id, role, membership_id) AS (
		SELECT a.tenant_id, a.role, a.membership_id FROM assignments a WHERE a.tenant_id IN ?
		UNION
		SELECT down.tenant_id, down.role, gm.member_id FROM down
		JOIN group_members gm ON gm.tenant_id = down.tenant_id AND gm.group_id = down.group_id AND gm.member_kind = 'user')
		SELECT m.tenant_id, t.slug, t.name, coalesce(h.role, '') AS role, m.status, count(*) AS members
		FROM memberships m JOIN tenants t ON t.id = m.tenant_id
		LEFT JOIN held h ON h.tenant_id = m.tenant_id AND h.membership_id = m.id
		WHERE m.tenant_id IN ?
		GROUP BY m.tenant_id, t.slug, t.name, coalesce(h.role, ''), m.status ORDER BY t.slug, 4, m.status`,
		tenants, tenants, tenants).Scan(&rows).Error
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
