package storage

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// memberBatch is how many members one statement takes. PostgreSQL and SQLite
// allow at least 32,000 bound values a statement.
const memberBatch = 5000

// MemberKinds implements directory.GroupStore.
func (s *Store) MemberKinds(ctx context.Context, tenant id.Tenant, ids []string) (map[string]directory.MemberKind, error) {
	kinds := make(map[string]directory.MemberKind, len(ids))
	for batch := range slices.Chunk(ids, memberBatch) {
		wanted, err := s.wanted(batch)
		if err != nil {
			return nil, err
		}
		err = s.query(ctx, func(rows *sql.Rows) error {
			var member string
			var kind directory.MemberKind
			err := rows.Scan(&member, &kind)
			kinds[member] = kind
			return err
		}, `SELECT m.id, 'user' FROM `+s.wantedIDs()+` CROSS JOIN memberships m WHERE m.id = wanted.value AND m.tenant_id = ? AND m.retired_at IS NULL
			UNION ALL SELECT g.id, 'group' FROM `+s.wantedIDs()+` CROSS JOIN groups g WHERE g.id = wanted.value AND g.tenant_id = ?`,
			wanted, string(tenant), wanted, string(tenant))
		if err != nil {
			return nil, classify(err, "")
		}
	}
	return kinds, nil
}

// wanted returns identifiers as the one value that wantedIDs takes.
func (s *Store) wanted(ids []string) (any, error) {
	if !s.sqlite {
		return ids, nil
	}
	text, err := encode(ids)
	return text, err
}

// wantedIDs is a table of identifiers, wanted(value), to join with. A list in
// the condition would do as well, were it not that PostgreSQL compares each row
// of a tenant with the whole list where it takes the tenant for a small one. With
// CROSS JOIN SQLite doesn't do that either.
func (s *Store) wantedIDs() string {
	if s.sqlite {
		return "json_each(?) wanted"
	}
	return "unnest(CAST(? AS text[])) AS wanted(value)"
}

// AddMembers implements directory.GroupStore.
func (s *Store) AddMembers(ctx context.Context, tenant id.Tenant, group id.Group, members []directory.Member) (int, error) {
	added := 0
	for batch := range slices.Chunk(members, memberBatch) {
		values := strings.Repeat("(?,?,?,?),", len(batch))
		args := make([]any, 0, 4*len(batch))
		for _, m := range batch {
			args = append(args, tenant, group, m.ID, m.Kind)
		}
		done := s.conn(ctx).Exec("INSERT INTO group_members (tenant_id, group_id, member_id, member_kind) VALUES "+
			strings.TrimSuffix(values, ",")+" ON CONFLICT DO NOTHING", args...)
		if done.Error != nil {
			return 0, classify(done.Error, "members")
		}
		added += int(done.RowsAffected)
	}
	return added, nil
}

// RemoveMembers implements directory.GroupStore.
func (s *Store) RemoveMembers(ctx context.Context, tenant id.Tenant, group id.Group, ids []string) (int, error) {
	removed := 0
	for batch := range slices.Chunk(ids, memberBatch) {
		wanted, err := s.wanted(batch)
		if err != nil {
			return 0, err
		}
		err = s.query(ctx, func(*sql.Rows) error { removed++; return nil }, `DELETE FROM group_members WHERE tenant_id = ? AND group_id = ?
			AND member_id IN (SELECT wanted.value FROM `+s.wantedIDs()+`) RETURNING member_id`, string(tenant), string(group), wanted)
		if err != nil {
			return 0, classify(err, "")
		}
	}
	return removed, nil
}

// ReplaceMembers implements directory.GroupStore. It reads the identifiers of
// today's members and writes only the difference.
func (s *Store) ReplaceMembers(ctx context.Context, tenant id.Tenant, group id.Group, members []directory.Member) (int, error) {
	var today []string
	err := s.conn(ctx).Raw("SELECT member_id FROM group_members WHERE tenant_id = ? AND group_id = ?", tenant, group).Scan(&today).Error
	if err != nil {
		return 0, classify(err, "")
	}
	wanted := make(map[string]bool, len(members))
	for _, m := range members {
		wanted[m.ID] = true
	}
	gone := slices.DeleteFunc(today, func(member string) bool { return wanted[member] })
	removed, err := s.RemoveMembers(ctx, tenant, group, gone)
	if err != nil {
		return 0, err
	}
	added, err := s.AddMembers(ctx, tenant, group, members)
	return removed + added, err
}

// Members implements directory.GroupStore. The rows are picked before their
// names are looked up.
func (s *Store) Members(ctx context.Context, tenant id.Tenant, groups []id.Group, after string, limit int) ([]directory.GroupMember, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	displayName := "m.profile::jsonb ->> 'displayName'"
	if s.sqlite {
		displayName = "json_extract(m.profile, '$.displayName')"
	}
	in := "= ?"
	args := []any{string(tenant), string(groups[0]), after, limit}
	if len(groups) > 1 {
		wanted, err := s.wanted(texts(groups))
		if err != nil {
			return nil, err
		}
		in, args[1] = "IN (SELECT wanted.value FROM "+s.wantedIDs()+")", wanted
	}
	members := make([]directory.GroupMember, 0, min(limit, 64))
	// The name is the one that this tenant's directory has sent, not the user's:
	// that may come from another tenant.
	err := s.query(ctx, func(rows *sql.Rows) error {
		var m directory.GroupMember
		err := rows.Scan(&m.Group, &m.ID, &m.Kind, &m.Display)
		members = append(members, m)
		return err
	}, `SELECT gm.group_id, gm.member_id, gm.member_kind, coalesce(nullif(`+displayName+`, ''), m.user_name, g.display_name, '') AS display
		FROM (SELECT * FROM group_members WHERE tenant_id = ? AND group_id `+in+` AND member_id > ? ORDER BY group_id, member_id LIMIT ?) gm
		LEFT JOIN memberships m ON m.tenant_id = gm.tenant_id AND m.id = gm.member_id AND gm.member_kind = 'user'
		LEFT JOIN groups g ON g.tenant_id = gm.tenant_id AND g.id = gm.member_id AND gm.member_kind = 'group'
		ORDER BY gm.group_id, gm.member_id`, args...)
	return members, err
}

// closure is the recursive part of a statement that walks from members up to
// the groups that contain them: up(start, group_id, depth). UNION ends cycles.
const closure = `WITH RECURSIVE up(start, group_id, direct) AS (
	SELECT gm.member_id, gm.group_id, 1 FROM group_members gm WHERE gm.tenant_id = ? AND gm.member_id IN ?
	UNION
	SELECT up.start, gm.group_id, 0 FROM up JOIN group_members gm ON gm.tenant_id = ? AND gm.member_id = up.group_id)`

// GroupsOf implements directory.GroupStore.
func (s *Store) GroupsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) (map[id.Membership][]directory.GroupRef, error) {
	refs := make(map[id.Membership][]directory.GroupRef, len(memberships))
	if len(memberships) == 0 {
		return refs, nil
	}
	var rows []struct {
		Start       id.Membership
		GroupID     id.Group
		DisplayName string
		Direct      int
	}
	err := s.conn(ctx).Raw(closure+` SELECT up.start, up.group_id, g.display_name, max(up.direct) AS direct
		FROM up JOIN groups g ON g.tenant_id = ? AND g.id = up.group_id
		GROUP BY up.start, up.group_id, g.display_name ORDER BY up.start, up.group_id`, tenant, memberships, tenant, tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	for _, row := range rows {
		refs[row.Start] = append(refs[row.Start], directory.GroupRef{ID: row.GroupID, Display: row.DisplayName, Direct: row.Direct == 1})
	}
	return refs, nil
}

// GroupsAround implements directory.GroupStore.
func (s *Store) GroupsAround(ctx context.Context, tenant id.Tenant, group id.Group) ([]id.Group, error) {
	var around []id.Group
	err := s.conn(ctx).Raw(closure+` SELECT DISTINCT up.group_id FROM up`, tenant, []id.Group{group}, tenant).Scan(&around).Error
	return around, classify(err, "")
}
