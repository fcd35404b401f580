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
			if kind != "" {
				kinds[member] = kind
			}
			return err
		}, `SELECT wanted.value, CASE WHEN (SELECT 1 FROM memberships m WHERE m.tenant_id = ? AND m.id = wanted.value AND m.retired_at IS NULL LIMIT 1) = 1 THEN 'user'
			WHEN (SELECT 1 FROM groups g WHERE g.tenant_id = ? AND g.id = wanted.value LIMIT 1) = 1 THEN 'group' ELSE '' END FROM `+s.wantedIDs(),
			string(tenant), string(tenant), wanted)
		if err != nil {
			return nil, classify(err, "")
		}
	}
	return kinds, nil
}

// wanted returns identifiers as the one value that wantedIDs takes.
func (s *Store) wanted(ids []string) (any, error) { return encode(ids) }

// wantedIDs is a table of identifiers, wanted(value). What is known of each is
// looked up by a subquery that has one value: for a list in the condition, and
// for a join, PostgreSQL reads all rows of a tenant or a group where it takes
// these for small ones. SQLite does so too, but not with CROSS JOIN. It is JSON,
// because PostgreSQL plans a statement anew each time if the length of an array
// changes what it expects; that takes longer than the statement.
func (s *Store) wantedIDs() string {
	if s.sqlite {
		return "json_each(?) wanted"
	}
	return "json_array_elements_text(CAST(? AS json)) AS wanted(value)"
}

// AddMembers implements directory.GroupStore.
func (s *Store) AddMembers(ctx context.Context, tenant id.Tenant, group id.Group, members []directory.Member) (int, error) {
	added := 0
	for batch := range slices.Chunk(members, memberBatch) {
		rows := make([][2]string, len(batch))
		for i, m := range batch {
			rows[i] = [2]string{m.ID, string(m.Kind)}
		}
		wanted, err := encode(rows)
		if err != nil {
			return 0, err
		}
		from := "json_array_elements(CAST(? AS json)) AS wanted(value)"
		if s.sqlite {
			from = "json_each(?) wanted WHERE true" // which keeps ON CONFLICT apart from a join
		}
		n, err := s.execCount(ctx, `INSERT INTO group_members (tenant_id, group_id, member_id, member_kind)
			SELECT CAST(? AS text), CAST(? AS text), wanted.value ->> 0, wanted.value ->> 1 FROM `+from+` ON CONFLICT DO NOTHING`, string(tenant), string(group), wanted)
		if err != nil {
			return 0, classify(err, "members")
		}
		added += n
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
		n, err := s.execCount(ctx, s.removal(), string(tenant), string(group), wanted)
		removed += n
		if err != nil {
			return 0, classify(err, "")
		}
	}
	return removed, nil
}

// removal removes the members of a group that wantedIDs names. PostgreSQL is told
// the place of each row, or it would read all members of a group of a usual size.
func (s *Store) removal() string {
	if s.sqlite {
		return `DELETE FROM group_members WHERE tenant_id = ? AND group_id = ? AND member_id IN (SELECT wanted.value FROM ` + s.wantedIDs() + `)`
	}
	return `DELETE FROM group_members WHERE ctid = ANY (ARRAY(SELECT (SELECT gm.ctid FROM group_members gm
		WHERE gm.tenant_id = ? AND gm.group_id = ? AND gm.member_id = wanted.value) FROM ` + s.wantedIDs() + `))`
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
	}, `SELECT gm.group_id, gm.member_id, gm.member_kind, coalesce(CASE gm.member_kind
			WHEN 'user' THEN (SELECT coalesce(nullif(`+displayName+`, ''), m.user_name) FROM memberships m WHERE m.tenant_id = gm.tenant_id AND m.id = gm.member_id)
			ELSE (SELECT g.display_name FROM groups g WHERE g.tenant_id = gm.tenant_id AND g.id = gm.member_id) END, '') AS display
		FROM (SELECT * FROM group_members WHERE tenant_id = ? AND group_id `+in+` AND member_id > ? ORDER BY group_id, member_id LIMIT ?) gm
		ORDER BY gm.group_id, gm.member_id`, args...)
	return members, err
}

// closure is the recursive part of a statement that walks from members, the one
// value of wantedIDs, up to the groups that contain them: up(start, group_id,
// direct). UNION ends cycles.
func (s *Store) closure() string {
	return `WITH RECURSIVE up(start, group_id, direct) AS (
	SELECT gm.member_id, gm.group_id, 1 FROM ` + s.wantedIDs() + s.lookUps("", "group_members gm", "gm.tenant_id = ? AND gm.member_id = wanted.value") + `
	UNION
	SELECT up.start, gm.group_id, 0 FROM up` + s.lookUps("", "group_members gm", "gm.tenant_id = ? AND gm.member_id = up.group_id") + `) `
}

// lookUps joins with the rows of a table that meet a condition, found by index
// for each row before it. Left to itself PostgreSQL, which takes a recursion and
// a list for long ones, reads all rows of the tenant at once; OFFSET keeps it
// from that. kind is LEFT or empty; of is a table's name and its alias.
func (s *Store) lookUps(kind, of, condition string) string {
	_, alias, _ := strings.Cut(of, " ")
	if !s.sqlite {
		return " " + kind + " JOIN LATERAL (SELECT * FROM " + of + " WHERE " + condition + " OFFSET 0) " + alias + " ON true"
	}
	if kind == "" {
		kind = "CROSS" // which keeps the order
	}
	return " " + kind + " JOIN " + of + " ON " + condition
}

// GroupsOf implements directory.GroupStore. The names are looked up one by one:
// joined, PostgreSQL reads all groups of the tenant for them.
func (s *Store) GroupsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) (map[id.Membership][]directory.GroupRef, error) {
	if len(memberships) == 0 {
		return map[id.Membership][]directory.GroupRef{}, nil
	}
	if len(memberships) > fewMembers || !s.together(ctx, "") {
		return s.readGroupsOf(ctx, tenant, memberships)
	}
	q := &soughtGroups{tenant: tenant, members: memberships, refs: map[id.Membership][]directory.GroupRef{}}
	if err := s.questions.ask(ctx, q); err != nil {
		return nil, err
	}
	return q.refs, nil
}

// readGroupsOf is GroupsOf in a statement of its own.
func (s *Store) readGroupsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) (map[id.Membership][]directory.GroupRef, error) {
	refs := make(map[id.Membership][]directory.GroupRef, len(memberships))
	wanted, err := s.wanted(texts(memberships))
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		start, ref, err := scanGroupRef(rows)
		refs[start] = append(refs[start], ref)
		return err
	}, s.closure()+`SELECT u.start, u.group_id, coalesce((SELECT g.display_name FROM groups g WHERE g.tenant_id = ? AND g.id = u.group_id), ''), u.direct
		FROM (SELECT start, group_id, max(direct) AS direct FROM up GROUP BY start, group_id) u ORDER BY u.start, u.group_id`,
		wanted, string(tenant), string(tenant), string(tenant))
	return refs, err
}

// scanGroupRef reads a member, a group with its name, whether that has the member
// itself, and extra columns.
func scanGroupRef(row scanner, extra ...any) (member id.Membership, ref directory.GroupRef, err error) {
	var direct int
	err = row.Scan(append([]any{&member, &ref.ID, &ref.Display, &direct}, extra...)...)
	ref.Direct = direct == 1
	return member, ref, err
}

// GroupsAround implements directory.GroupStore.
func (s *Store) GroupsAround(ctx context.Context, tenant id.Tenant, group id.Group) ([]id.Group, error) {
	wanted, err := s.wanted([]string{string(group)})
	if err != nil {
		return nil, err
	}
	var around []id.Group
	err = s.query(ctx, func(rows *sql.Rows) error {
		var one id.Group
		err := rows.Scan(&one)
		around = append(around, one)
		return err
	}, s.closure()+`SELECT DISTINCT up.group_id FROM up`, wanted, string(tenant), string(tenant))
	return around, err
}
