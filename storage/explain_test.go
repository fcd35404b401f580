package storage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

var update = flag.Bool("update", false, "write the golden files anew")

// plannedBy is the version of PostgreSQL that the golden files are of. Another
// one may have other words, and plans, for the same.
const plannedBy = "15"

// Plans is TestPlans, which has a database. It checks how each statement is
// planned that goes on all day, once it is prepared for whatever values (the
// generic plan), against a golden file, and that neither this plan nor the one
// for the values at hand reads a whole table. The statements are those that the
// store sends for real requests. There are 50,000 people in a tenant, 500 groups
// of which one has 20,000 members, and 2,000 other tenants.
func Plans(t *testing.T, s *Store) {
	t.Helper()
	p := newPlanned(t, s)
	for _, hot := range p.hot() {
		t.Run(hot.name, func(t *testing.T) {
			statements := p.listen(t, hot.do)
			if len(statements) == 0 {
				t.Fatal("no statement was sent")
			}
			var golden strings.Builder
			for _, s := range statements {
				generic, here := p.generic(t, s), p.custom(t, s)
				if s.anew {
					generic = here
				}
				for _, plan := range []string{generic, here} {
					if table := wholeTable(plan); table != "" && !hot.scans {
						t.Errorf("the whole table %s is read by\n%s\n%s", table, s.text(), plan)
					}
				}
				fmt.Fprintf(&golden, "%s\n%s\n\n", s.text(), generic)
			}
			p.compare(t, hot.name, golden.String())
		})
	}
}

// wholeTable returns the table, one that grows with tenants or people, of which a
// plan reads all rows, or all of the tenant.
func wholeTable(plan string) string {
	for _, found := range regexp.MustCompile(`Seq Scan on (\w+)`).FindAllStringSubmatch(plan, -1) {
		if mentionsTable(found[1]) || found[1] == "users" || found[1] == "tenants" {
			return found[1]
		}
	}
	ofTenant := regexp.MustCompile(`Scan using \w+ on (memberships|groups|group_members)\b[^\n]*\n *Index Cond: \(tenant_id = [^ ]*\)\n`)
	if found := ofTenant.FindStringSubmatch(plan + "\n"); found != nil {
		return found[1]
	}
	return ""
}

// compare holds the plans of a request to its golden file.
func (p *planned) compare(t *testing.T, name, got string) {
	t.Helper()
	var version string
	if err := p.store.pool.QueryRowContext(t.Context(), "SELECT split_part(current_setting('server_version'), '.', 1)").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version != plannedBy {
		t.Logf("PostgreSQL %s: the golden files are of PostgreSQL %s", version, plannedBy)
		return
	}
	path := filepath.Join("testdata", "explain", strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(got), 0o600)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.TrimSpace(want)), strings.TrimSpace(got)); diff != "" {
		t.Errorf("%s is different (-want +got); go test ./storage -run TestPlans -update writes it anew:\n%s", path, diff)
	}
}

// A sent statement is one that the store sent, with its values.
type sent struct {
	query string
	args  []any
	anew  bool // it is planned for its values
}

// text is the statement in one line.
func (s sent) text() string { return strings.Join(strings.Fields(s.query), " ") }

// generic is the plan of the prepared statement for whatever values.
func (p *planned) generic(t *testing.T, s sent) string {
	t.Helper()
	conn, err := p.store.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // back to the pool
	exec := func(query string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	exec("SET plan_cache_mode = force_generic_plan")
	exec("PREPARE hot AS " + s.query)
	defer exec("RESET plan_cache_mode")
	defer exec("DEALLOCATE hot")
	values := 0
	if err := conn.QueryRowContext(t.Context(), "SELECT coalesce(cardinality(parameter_types), 0) FROM pg_prepared_statements WHERE name = 'hot'").Scan(&values); err != nil {
		t.Fatal(err)
	}
	execute := "EXECUTE hot"
	if values > 0 {
		execute += "(" + strings.TrimSuffix(strings.Repeat("NULL, ", values), ", ") + ")"
	}
	return linesOf(t, func() (*sql.Rows, error) { return conn.QueryContext(t.Context(), "EXPLAIN (COSTS OFF) "+execute) })
}

// custom is the plan for the values at hand.
func (p *planned) custom(t *testing.T, s sent) string {
	t.Helper()
	return linesOf(t, func() (*sql.Rows, error) {
		return p.store.pool.QueryContext(t.Context(), "EXPLAIN (COSTS OFF) "+s.query, s.args...)
	})
}

func linesOf(t *testing.T, query func() (*sql.Rows, error)) string {
	t.Helper()
	rows, err := query()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// recorder is a pool, or a transaction of it, that keeps what is sent.
type recorder struct {
	gorm.ConnPool
	heard *heard
}

type heard struct {
	mu         sync.Mutex
	statements []sent
}

func (h *heard) add(query string, args []any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := slices.ContainsFunc(h.statements, func(s sent) bool { return s.query == query })
	anew := len(args) > 0 && args[0] == any(pgx.QueryExecModeDescribeExec)
	if anew {
		args = args[1:]
	}
	if !known && !strings.Contains(query, "SAVEPOINT") {
		h.statements = append(h.statements, sent{query, args, anew})
	}
}

func (r recorder) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	r.heard.add(query, args)
	return r.ConnPool.ExecContext(ctx, query, args...)
}

func (r recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.heard.add(query, args)
	return r.ConnPool.QueryContext(ctx, query, args...)
}

func (r recorder) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	r.heard.add(query, args)
	return r.ConnPool.QueryRowContext(ctx, query, args...)
}

func (r recorder) sendBatch(ctx context.Context, batch *pgx.Batch, read func(results pgx.BatchResults)) error {
	for _, queued := range batch.QueuedQueries {
		r.heard.add(queued.SQL, queued.Arguments)
	}
	return r.ConnPool.(batchPool).sendBatch(ctx, batch, read)
}

func (r recorder) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	tx, err := r.ConnPool.(gorm.ConnPoolBeginner).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &recorderTx{recorder{tx, r.heard}, tx.(gorm.TxCommitter)}, nil
}

type recorderTx struct {
	recorder
	gorm.TxCommitter
}

// listen returns what is sent while do runs, each statement once.
func (p *planned) listen(t *testing.T, do func(t *testing.T)) []sent {
	t.Helper()
	h := &heard{}
	pool := p.store.db.Statement.ConnPool
	p.store.db.Statement.ConnPool = recorder{pool, h}
	defer func() { p.store.db.Statement.ConnPool = pool }()
	do(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.statements) == 1 {
		return h.statements
	}
	// What is kept for a moment a request asks for by chance.
	return slices.DeleteFunc(h.statements, func(s sent) bool {
		return strings.Contains(s.query, "connection_tokens") || strings.Contains(s.query, "FROM scim_versions") || strings.Contains(s.query, "FROM blueprints")
	})
}

func TestWholeTable(t *testing.T) {
	for plan, want := range map[string]string{
		"Limit\n  ->  Parallel Seq Scan on memberships\n        Filter: (id = $1)":                                                  "memberships",
		"Limit\n  ->  Index Scan using memberships_pkey on memberships\n        Index Cond: (tenant_id = $1)\n        Filter: x":    "memberships",
		"Index Only Scan using group_members_member on group_members gm\n  Index Cond: (tenant_id = 'a'::text)":                     "group_members",
		"Index Scan using memberships_pkey on memberships\n  Index Cond: ((tenant_id = $1) AND (id = $2))":                          "",
		"Seq Scan on blueprints\n  Filter: (name = $1)":                                                                             "",
		"Nested Loop\n  ->  Function Scan on json_array_elements_text wanted\n  ->  Index Scan using groups_pkey on groups g\n    ": "",
	} {
		if got := wholeTable(plan); got != want {
			t.Errorf("%q in:\n%s\nwant %q", got, plan, want)
		}
	}
}
