package storage

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// MapGroupRole implements directory.RoleStore.
func (s *Store) MapGroupRole(ctx context.Context, m directory.GroupRole) error {
	key := schema.Fold(m.GroupName)
	return classify(s.conn(ctx).Exec(`INSERT INTO group_roles (tenant_id, group_name, group_name_key, group_id, role, priority, created_at)
		VALUES (?, ?, ?, coalesce((SELECT gr.group_id FROM group_roles gr WHERE gr.tenant_id = ? AND gr.group_name_key = ? AND gr.group_id IS NOT NULL LIMIT 1),
			(SELECT g.id FROM groups g WHERE g.tenant_id = ? AND g.display_name_key = ? ORDER BY g.id LIMIT 1)), ?, ?, ?)
		ON CONFLICT (tenant_id, group_name_key, role) DO UPDATE SET priority = excluded.priority`,
		m.Tenant, m.GroupName, key, m.Tenant, key, m.Tenant, key, m.Role, m.Priority, at(m.Created)).Error, "group_roles")
}

// GroupRoles implements directory.RoleStore.
func (s *Store) GroupRoles(ctx context.Context, tenant id.Tenant) ([]directory.GroupRole, error) {
	var rows []struct {
		GroupName string
		GroupID   *string
		Role      string
		Priority  int
		CreatedAt time.Time
	}
	err := s.conn(ctx).Raw("SELECT group_name, group_id, role, priority, created_at FROM group_roles WHERE tenant_id = ? ORDER BY group_name_key, role", tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	mappings := make([]directory.GroupRole, 0, len(rows))
	for _, row := range rows {
		mappings = append(mappings, directory.GroupRole{
			Tenant: tenant, GroupName: row.GroupName, Group: id.Group(orEmpty(row.GroupID)), Role: row.Role, Priority: row.Priority, Created: row.CreatedAt.UTC(),
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

// UnmapGroupRole implements directory.RoleStore.
func (s *Store) UnmapGroupRole(ctx context.Context, tenant id.Tenant, groupName, role string) (bool, error) {
	result := s.conn(ctx).Exec("DELETE FROM group_roles WHERE tenant_id = ? AND group_name_key = ? AND role = ?", tenant, schema.Fold(groupName), role)
	return result.RowsAffected > 0, classify(result.Error, "")
}

// GroupsNamed implements directory.RoleStore.
func (s *Store) GroupsNamed(ctx context.Context, tenant id.Tenant, names []string) (map[string]id.Group, error) {
	groups := map[string]id.Group{}
	if len(names) == 0 {
		return groups, nil
	}
	byKey := map[string][]string{}
	var keys []string
	for _, name := range names {
		key := schema.Fold(name)
		byKey[key] = append(byKey[key], name)
		keys = append(keys, key)
	}
	var rows []struct{ NameKey, GroupID string }
	err := s.conn(ctx).Raw(`SELECT display_name_key AS name_key, id AS group_id, 0 AS bound FROM groups WHERE tenant_id = ? AND display_name_key IN ?
		UNION SELECT group_name_key, group_id, 1 FROM group_roles WHERE tenant_id = ? AND group_name_key IN ? AND group_id IS NOT NULL
		ORDER BY 3, 2 DESC`, tenant, keys, tenant, keys).Scan(&rows).Error
	for _, row := range rows { // what comes later counts: the oldest, or the bound one
		for _, name := range byKey[row.NameKey] {
			groups[name] = id.Group(row.GroupID)
		}
	}
	return groups, classify(err, "")
}

// SetDefaultRole implements directory.RoleStore.
func (s *Store) SetDefaultRole(ctx context.Context, tenant id.Tenant, role string, now time.Time) error {
	return classify(s.conn(ctx).Exec(`UPDATE tenants SET default_role = ?, version = version + 1, modified_at = ? WHERE id = ?`, role, at(now), tenant).Error, "")
}

// touched is the recursive part of a statement about members to whom a change
// of mappings can matter, with its values.
func (s *Store) touched(tenant id.Tenant, query directory.CandidateQuery) (string, []any, error) {
	below, err := s.wanted(texts(query.Below))
	if err != nil {
		return "", nil, err
	}
	with := `WITH RECURSIVE down(group_id) AS (
	SELECT g.id FROM ` + s.wantedIDs() + ` JOIN groups g ON g.id = wanted.value WHERE g.tenant_id = ?
	UNION
	SELECT gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
	touched(membership_id) AS (
	SELECT gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'user'`
	args := []any{below, string(tenant), string(tenant), string(tenant)}
	if query.Unassigned {
		with += `
	UNION
	SELECT m.id FROM memberships m WHERE m.tenant_id = ? AND m.source = 'scim'
		AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.tenant_id = m.tenant_id AND a.membership_id = m.id AND a.resource = '')`
		args = append(args, string(tenant))
	}
	return with + `)`, args, nil
}

// Candidates implements directory.RoleStore. Its cost is that of the members
// whom it returns: what they hold is found by walking up from them. CROSS JOIN
// keeps SQLite to that order; it would walk the whole tenant for each of them.
func (s *Store) Candidates(ctx context.Context, tenant id.Tenant, query directory.CandidateQuery) ([]directory.Candidate, error) {
	with, args, err := s.touched(tenant, query)
	if err != nil {
		return nil, err
	}
	above, err := s.wanted(texts(query.Above))
	if err != nil {
		return nil, err
	}
	groups, err := s.wanted(texts(query.Groups))
	if err != nil {
		return nil, err
	}
	var candidates []directory.Candidate
	index := map[string]int{}
	err = s.query(ctx, func(rows *sql.Rows) error {
		var c directory.Candidate
		if err := rows.Scan(&c.Membership, &c.User, &c.UserName, &c.Status, &c.Source, &c.Disabled, &c.Above); err != nil {
			return err
		}
		index[string(c.Membership)] = len(candidates)
		candidates = append(candidates, c)
		return nil
	}, with+` SELECT m.id, m.user_id, m.user_name, m.status, m.source, u.disabled,
		EXISTS (SELECT 1 FROM `+s.wantedIDs()+` JOIN memberships o ON o.tenant_id = wanted.value AND o.user_id = m.user_id)
		FROM touched CROSS JOIN memberships m CROSS JOIN users u WHERE m.tenant_id = ? AND m.id = touched.membership_id AND u.id = m.user_id
		ORDER BY m.user_name_key, m.id`, slices.Concat(args, []any{above, string(tenant)})...)
	if err != nil || len(candidates) == 0 {
		return nil, err
	}
	held := func(add func(c *directory.Candidate, what string)) func(rows *sql.Rows) error {
		return func(rows *sql.Rows) error {
			var membership, what string
			if err := rows.Scan(&membership, &what); err != nil {
				return err
			}
			if i, known := index[membership]; known {
				add(&candidates[i], what)
			}
			return nil
		}
	}
	err = s.query(ctx, held(func(c *directory.Candidate, role string) { c.Direct = append(c.Direct, role) }),
		with+` SELECT a.membership_id, a.role FROM touched CROSS JOIN assignments a
		WHERE a.tenant_id = ? AND a.membership_id = touched.membership_id AND a.resource = ''`,
		slices.Concat(args, []any{string(tenant)})...)
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, held(func(c *directory.Candidate, group string) { c.Groups = append(c.Groups, id.Group(group)) }),
		with+`, up(start, group_id) AS (
		SELECT touched.membership_id, gm.group_id FROM touched CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.member_id = touched.membership_id
		UNION
		SELECT up.start, gm.group_id FROM up CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.member_id = up.group_id)
		SELECT start, group_id FROM up WHERE group_id IN (SELECT wanted.value FROM `+s.wantedIDs()+`)`,
		slices.Concat(args, []any{string(tenant), string(tenant), groups})...)
	return candidates, err
}

// texts returns identifiers as texts.
func texts[T ~string](ids []T) []string {
	all := make([]string, len(ids))
	for i, one := range ids {
		all[i] = string(one)
	}
	return all
}
