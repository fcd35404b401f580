package storage

import (
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// Directories ask for one person at a time, by id, userName or externalId, and
// many do so at once. On PostgreSQL such questions share their statements.

// soughtMembership asks for the memberships of a tenant in which a column has a
// value.
type soughtMembership struct {
	Tenant id.Tenant `json:"tenant_id"`
	Value  string    `json:"value"`

	rows []membershipRow // the first mostSought of them, by id
}

// mostSought is one more than a page of a list has by default.
const mostSought = 101

// soughtBy are the columns and what else such a row has to meet.
var soughtBy = map[string]string{ //nolint:gochecknoglobals // a table
	"id":            "",
	"user_name_key": " AND retired_at IS NULL",
	"external_id":   " AND retired_at IS NULL",
}

// gatherLookUps makes what Store asks together.
func (s *Store) gatherLookUps() {
	s.memberships = map[string]*gathering[*soughtMembership]{}
	for column, condition := range soughtBy {
		statement := `/* across tenants: each question names its own */
			SELECT m.*, asked.n FROM json_to_recordset(CAST(? AS json)) AS asked(n integer, tenant_id text, value text)
			JOIN LATERAL (SELECT ` + membershipColumns + ` FROM memberships WHERE tenant_id = asked.tenant_id AND ` + column + ` = asked.value` + condition + ` ORDER BY id LIMIT 101) m ON true`
		s.memberships[column] = gather(func(ctx context.Context, questions []*soughtMembership) error {
			return s.seek(ctx, statement, questions)
		})
	}
	s.groupsOf = gather(s.groupsOfAll)
	s.grants = gather(s.seekGrants)
	s.refreshTokens = gather(s.seekRefreshTokens)
}

// seek answers the questions in one statement.
func (s *Store) seek(ctx context.Context, statement string, questions []*soughtMembership) error {
	type numbered struct {
		N int `json:"n"`
		*soughtMembership
	}
	asked := make([]numbered, len(questions))
	for n, q := range questions {
		asked[n] = numbered{n, q}
	}
	text, err := encode(asked)
	if err != nil {
		return err
	}
	return s.query(ctx, func(rows *sql.Rows) error {
		var row membershipRow
		var n int
		if err := rows.Scan(append(row.into(), &n)...); err != nil {
			return err
		}
		questions[n].rows = append(questions[n].rows, row)
		return nil
	}, statement, text)
}

// together reports whether a question may be asked with others: what one
// transaction sees is its own, and a value that PostgreSQL has no text for would
// refuse the others too.
func (s *Store) together(ctx context.Context, value string) bool {
	_, inTx := ctx.Value(txKey{}).(*gorm.DB)
	return !s.sqlite && !inTx && utf8.ValidString(value) && !strings.ContainsRune(value, 0)
}

// sought finds the memberships of a tenant by a column of soughtBy.
func (s *Store) sought(ctx context.Context, tenant id.Tenant, column, value string) ([]membershipRow, error) {
	q := &soughtMembership{Tenant: tenant, Value: value}
	err := s.memberships[column].ask(ctx, q)
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

// groupsOfAll answers the questions in one statement for each tenant.
func (s *Store) groupsOfAll(ctx context.Context, questions []*soughtGroups) error {
	byTenant := map[id.Tenant][]*soughtGroups{}
	for _, q := range questions {
		byTenant[q.tenant] = append(byTenant[q.tenant], q)
	}
	for tenant, asked := range byTenant {
		var members []id.Membership
		for _, q := range asked {
			members = append(members, q.members...)
		}
		refs, err := s.readGroupsOf(ctx, tenant, members)
		if err != nil {
			return err
		}
		for _, q := range asked {
			for _, m := range q.members {
				if own, in := refs[m]; in {
					q.refs[m] = own
				}
			}
		}
	}
	return nil
}
