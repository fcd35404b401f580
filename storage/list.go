package storage

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// placed is a row of a resource's table with its position in the order of a list.
type placed[Row any] struct {
	row      Row
	position directory.Position
}

// readable is a row whose columns have a place: that of each of resource.columns.
type readable[Row any] interface {
	*Row
	into() []any
}

// list answers a query on one resource's table: a page in a stable order. item
// makes a row of the table the directory's.
func list[Row, Item any, Into readable[Row]](ctx context.Context, s *Store, tenant id.Tenant, query directory.Query, resource resource, item func(*Row) (*Item, error)) (*directory.Page[Item], error) {
	page := &directory.Page[Item]{Items: []Item{}}
	if query.Count > 0 || query.Uncounted {
		rows, err := rowsOf[Row, Into](ctx, s, tenant, query, resource)
		if err != nil {
			return nil, err
		}
		if page.More = len(rows) > query.Count; page.More {
			rows = rows[:query.Count]
		}
		for _, row := range rows {
			next, err := item(&row.row)
			if err != nil {
				return nil, err
			}
			page.Items = append(page.Items, *next)
			page.Last = row.position
		}
	}
	if query.Uncounted {
		return page, nil
	}
	if first := max(query.StartIndex, 1) - 1; query.After == nil && query.Count > 0 && !page.More && (first == 0 || len(page.Items) > 0) {
		page.Total = first + len(page.Items) // the page shows the end: no need to count
		return page, nil
	}
	var err error
	page.Total, err = s.count(ctx, tenant, query, resource)
	return page, err
}

// rowsOf reads the rows of a page, and one more if there is one.
func rowsOf[Row any, Into readable[Row]](ctx context.Context, s *Store, tenant id.Tenant, query directory.Query, resource resource) ([]placed[Row], error) {
	where, conditions, err := s.where(resource, tenant, query.Filter)
	if err != nil {
		return nil, err
	}
	c := &compiler{sqlite: s.sqlite, tenant: tenant, resource: resource}
	key := c.sortKeyOf(query)
	table := resource.table
	text := "SELECT " + resource.columns + ", NULL, id FROM " + table + " WHERE " + where
	if key.text != "" {
		// In a table of its own the key is written, and its values are bound, once.
		text = "SELECT " + resource.columns + ", " + key.shown(s.sqlite) + " AS position_key, id" +
			" FROM (SELECT " + table + ".*, " + key.text + " AS sort_key FROM " + table + " WHERE " + where + ") AS " + table + " WHERE true"
	}
	c.args = append(c.args, conditions...)
	if query.After != nil {
		text += " AND (" + c.behind(key, *query.After, query.Descending) + ")"
	}
	text += " ORDER BY " + c.order(key, query.Descending) + " LIMIT " + c.bind(query.Count+1)
	if query.After == nil && query.StartIndex > 1 {
		text += " OFFSET " + c.bind(query.StartIndex-1)
	}
	found := []placed[Row]{}
	err = s.query(ctx, func(rows *sql.Rows) error {
		var next placed[Row]
		if err := rows.Scan(append(Into(&next.row).into(), &next.position.Key, &next.position.ID)...); err != nil {
			return err
		}
		found = append(found, next)
		return nil
	}, text, s.planned(where, c.args)...)
	return found, err
}

// planned are the arguments of a statement, which PostgreSQL plans for these very
// values where a plan for any would go wrong.
func (s *Store) planned(where string, args []any) []any {
	if s.uneven(where) {
		return append([]any{pgx.QueryExecModeDescribeExec}, args...)
	}
	return args
}

// count is how many rows match the query.
func (s *Store) count(ctx context.Context, tenant id.Tenant, query directory.Query, resource resource) (total int, err error) {
	if resource.totalled && query.Filter == nil {
		return total, classify(s.queryRow(ctx, "SELECT coalesce(sum(n), 0) FROM list_totals WHERE tenant_id = ? AND kind = ?",
			string(tenant), resource.name).Scan(&total), "")
	}
	where, args, err := s.where(resource, tenant, query.Filter)
	if err != nil {
		return 0, err
	}
	return total, classify(s.queryRow(ctx, "SELECT count(*) FROM "+resource.table+" WHERE "+where, s.planned(where, args)...).Scan(&total), "")
}
