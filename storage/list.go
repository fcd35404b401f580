package storage

import (
	"context"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// list answers a query on one resource's table: a page in a stable order, and
// how many rows match in all. Rows are of the table's type.
func list[Row any](ctx context.Context, s *Store, tenant id.Tenant, query directory.Query, resource resource) ([]Row, int, error) {
	where, args, err := s.where(resource, tenant, query.Filter)
	if err != nil {
		return nil, 0, err
	}
	rows := []Row{}
	if query.Count > 0 {
		order, orderArgs := s.order(resource, query)
		text := strings.Join([]string{"SELECT * FROM", resource.table, "WHERE", where, "ORDER BY", order, "LIMIT ? OFFSET ?"}, " ")
		pageArgs := append(append(slices.Clone(args), orderArgs...), query.Count, max(query.StartIndex, 1)-1)
		if err := s.conn(ctx).Raw(text, pageArgs...).Scan(&rows).Error; err != nil {
			return nil, 0, classify(err, "")
		}
	}
	if first := max(query.StartIndex, 1) - 1; len(rows) > 0 && len(rows) < query.Count || first == 0 && query.Count > 0 && len(rows) == 0 {
		return rows, first + len(rows), nil // the page shows the end: no need to count
	}
	total := 0
	if err := s.conn(ctx).Raw("SELECT count(*) FROM "+resource.table+" WHERE "+where, args...).Scan(&total).Error; err != nil {
		return nil, 0, classify(err, "")
	}
	return rows, total, nil
}
