package storage

import (
	"context"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// soughtMembership asks for the memberships of a tenant in which a column has a
// value.
type soughtMembership struct {
	by     string // the statement
	tenant id.Tenant
	value  string

	rows []membershipRow // the first mostSought of them, by id
}

// mostSought is one more than a page of a list has by default.
const mostSought = 101

// soughtBy are the columns by which directories ask for one person at a time, with
// the statements that do.
var soughtBy = map[string]string{ //nolint:gochecknoglobals // a table
	"id":            seekMemberships("id", ""),
	"user_name_key": seekMemberships("user_name_key", " AND retired_at IS NULL"),
	"external_id":   seekMemberships("external_id", " AND retired_at IS NULL"),
}

func seekMemberships(column, condition string) string {
	return `/* across tenants: each question names its own */
		SELECT m.*, asked.n FROM json_to_recordset(CAST($1 AS json)) AS asked(n integer, tenant_id text, value text)
		JOIN LATERAL (SELECT ` + membershipColumns + ` FROM memberships WHERE tenant_id = asked.tenant_id AND ` + column + ` = asked.value` + condition + ` ORDER BY id LIMIT 101) m ON true`
}

func (q *soughtMembership) statement() string { return q.by }

func (q *soughtMembership) asked(n int) []any {
	return []any{struct {
		N      int       `json:"n"`
		Tenant id.Tenant `json:"tenant_id"`
		Value  string    `json:"value"`
	}{n, q.tenant, q.value}}
}

func (q *soughtMembership) read(row scanner) error {
	var r membershipRow
	err := row.Scan(append(r.into(), nil)...)
	q.rows = append(q.rows, r)
	return err
}

// sought finds the memberships of a tenant by a column of soughtBy.
func (s *Store) sought(ctx context.Context, tenant id.Tenant, column, value string) ([]membershipRow, error) {
	q := &soughtMembership{by: soughtBy[column], tenant: tenant, value: value}
	err := s.questions.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	return q.rows, nil
}

// lookUp answers a query that asks for nothing but people with one userName or
// externalId. It returns nil where that is not what is asked, or there are more
// of them than fit on the page.
func (s *Store) lookUp(ctx context.Context, tenant id.Tenant, query directory.Query) (*directory.Page[directory.Membership], error) {
	if s.sqlite || query.Filter == nil || query.After != nil || query.StartIndex > 1 || query.SortBy != nil || query.Descending || query.Count < 1 || query.Count >= mostSought {
		return nil, nil
	}
	where, args, err := s.where(membershipResource(), tenant, query.Filter)
	if err != nil || len(args) != 2 {
		return nil, err
	}
	value, ok := args[1].(string)
	column, of := strings.CutPrefix(where, "memberships.tenant_id = ? AND memberships.retired_at IS NULL AND (memberships.")
	column, is := strings.CutSuffix(column, " = ?)")
	if _, known := soughtBy[column]; !ok || !of || !is || !known || !s.together(ctx, value) {
		return nil, nil
	}
	rows, err := s.sought(ctx, tenant, column, value)
	if err != nil || len(rows) > query.Count {
		return nil, err
	}
	page := &directory.Page[directory.Membership]{Items: []directory.Membership{}, Total: len(rows)}
	for _, row := range rows {
		m, err := row.membership()
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, *m)
		page.Last = directory.Position{ID: row.ID}
	}
	return page, nil
}

// fewMembers are so few that their groups are asked for with those of others.
const fewMembers = 10

// soughtGroups asks for the groups of a few members of a tenant.
type soughtGroups struct {
	tenant  id.Tenant
	members []id.Membership
	refs    map[id.Membership][]directory.GroupRef
}

// seekGroups walks from all members at once up to the groups that contain them.
// The look-ups are as those of closure.
const seekGroups = `/* across tenants: each question names its own */
	WITH RECURSIVE up(n, tenant_id, start, group_id, direct) AS (
		SELECT asked.n, asked.tenant_id, asked.member_id, gm.group_id, 1 FROM json_to_recordset(CAST($1 AS json)) AS asked(n integer, tenant_id text, member_id text)
		JOIN LATERAL (SELECT group_id FROM group_members WHERE tenant_id = asked.tenant_id AND member_id = asked.member_id OFFSET 0) gm ON true
		UNION
		SELECT up.n, up.tenant_id, up.start, gm.group_id, 0 FROM up
		JOIN LATERAL (SELECT group_id FROM group_members WHERE tenant_id = up.tenant_id AND member_id = up.group_id OFFSET 0) gm ON true)
	SELECT u.start, u.group_id, coalesce((SELECT g.display_name FROM groups g WHERE g.tenant_id = u.tenant_id AND g.id = u.group_id), ''), u.direct, u.n
	FROM (SELECT n, tenant_id, start, group_id, max(direct) AS direct FROM up GROUP BY n, tenant_id, start, group_id) u ORDER BY u.n, u.start, u.group_id`

func (q *soughtGroups) statement() string { return seekGroups }

func (q *soughtGroups) asked(n int) []any {
	type wanted struct {
		N      int           `json:"n"`
		Tenant id.Tenant     `json:"tenant_id"`
		Member id.Membership `json:"member_id"`
	}
	var all []any
	for _, member := range q.members {
		all = append(all, wanted{n, q.tenant, member})
	}
	return all
}

func (q *soughtGroups) read(row scanner) error {
	start, ref, err := scanGroupRef(row, nil)
	q.refs[start] = append(q.refs[start], ref)
	return err
}
