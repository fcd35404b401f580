package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"gorm.io/gorm"
)

// acrossTenants marks a statement that serves all tenants on purpose, because
// it starts from a secret's hash or from a user. Its comment says why.
const acrossTenants = "/* across tenants:"

// guard is a connection pool, or one transaction of it, that refuses statements
// which name a tenant's table but not the tenant. Forgetting the tenant is so
// an error in the first test that runs the statement, not a leak.
type guard struct{ gorm.ConnPool }

// checkTenant returns an error for a statement that may mix tenants: one that
// names a tenant's table while no condition or column names the tenant. It runs
// with every statement.
func checkTenant(query string) error {
	if strings.HasPrefix(query, acrossTenants) || strings.HasPrefix(query, "-- +goose") || namesTenant(query) || !mentionsTable(query) {
		return nil
	}
	return fmt.Errorf("storage: statement on a tenant's table without tenant_id: %.120s", query)
}

// mentionsTable reports whether the statement has the name of a table whose
// rows belong to a tenant, as a word of its own.
func mentionsTable(query string) bool {
	for _, table := range [...]string{
		"scim_versions", "scim_schemas", "scim_resource_types", "scim_resources", "scim_keys",
		"tenant_branding", "tenant_relations", "tenant_entitlements", "tenant_domains", "memberships", "groups", "group_members", "group_roles", "assignments",
		"connections", "connection_tokens", "connection_applications", "switch_offs", "application_tokens", "grants", "codes", "refresh_tokens", "access_tokens", "events", "outbox",
		"support_sessions", "requests", "async_requests", "async_results", "list_bookmarks", "list_totals",
		"provisioning_log", "event_streams", "event_stream_exclusions", "event_queue",
		"provisioning_targets", "provisioning_queue", "provisioning_links", "provisioning_members", "provisioning_runs",
		"identity_providers", "identity_provider_domains", "identity_links", "upstream_sign_ins",
		"registration_tokens",
	} {
		for rest := query; ; {
			at := strings.Index(rest, table)
			if at < 0 {
				break
			}
			end := at + len(table)
			if (at == 0 || !wordByte(rest[at-1])) && (end == len(rest) || !wordByte(rest[end])) {
				return true
			}
			rest = rest[end:]
		}
	}
	return false
}

func wordByte(b byte) bool {
	return b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// namesTenant reports whether the statement has the tenant among its conditions,
// or among what it inserts.
func namesTenant(query string) bool {
	_, conditions, conditional := strings.Cut(query, "WHERE")
	if _, joins, _ := strings.Cut(query, " ON "); strings.Contains(joins, "tenant_id = ?") { // of SQLite's joins
		return true
	}
	if strings.HasPrefix(strings.TrimSpace(query), "INSERT") || !conditional && onlyInserts(query) {
		return strings.Contains(query, "tenant_id")
	}
	return strings.Contains(conditions, "tenant_id")
}

// onlyInserts reports whether the statement does nothing but insert, in one or
// more tables.
func onlyInserts(query string) bool {
	return strings.HasPrefix(query, "WITH") && !strings.Contains(query, "SELECT") && !strings.Contains(query, "UPDATE") && !strings.Contains(query, "DELETE")
}

// PrepareContext implements gorm.ConnPool.
func (g guard) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := checkTenant(query); err != nil {
		return nil, err
	}
	return g.ConnPool.PrepareContext(ctx, query)
}

// ExecContext implements gorm.ConnPool.
func (g guard) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := checkTenant(query); err != nil {
		return nil, err
	}
	observe(ctx, query)
	return g.ConnPool.ExecContext(ctx, query, args...)
}

// QueryContext implements gorm.ConnPool.
func (g guard) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := checkTenant(query); err != nil {
		return nil, err
	}
	observe(ctx, query)
	return g.ConnPool.QueryContext(ctx, query, args...)
}

// QueryRowContext implements gorm.ConnPool. It can't return an error of its
// own, so it hands a statement to the database that fails there with the reason.
func (g guard) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if checkTenant(query) != nil {
		return g.ConnPool.QueryRowContext(ctx, "refused: statement on a tenant's table without tenant_id")
	}
	observe(ctx, query)
	return g.ConnPool.QueryRowContext(ctx, query, args...)
}

// BeginTx implements gorm.ConnPoolBeginner, so that transactions are guarded too.
func (g guard) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	beginner, ok := g.ConnPool.(gorm.TxBeginner)
	if !ok {
		return nil, gorm.ErrInvalidTransaction
	}
	tx, err := beginner.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &guardTx{guard{tx}, tx}, nil
}

// GetDBConn implements gorm.GetDBConnector.
func (g guard) GetDBConn() (*sql.DB, error) {
	pool, ok := g.ConnPool.(*sql.DB)
	if !ok {
		return nil, gorm.ErrInvalidDB
	}
	return pool, nil
}

// guardTx is a guarded transaction.
type guardTx struct {
	guard
	tx *sql.Tx
}

// Commit implements gorm.TxCommitter.
func (g guardTx) Commit() error { return g.tx.Commit() }

// Rollback implements gorm.TxCommitter.
func (g guardTx) Rollback() error { return g.tx.Rollback() }
