package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/scim/schema"
)

var _ provisioning.Store = (*Store)(nil)

// provisioningColumns are those of the table provisioning_log.
func provisioningColumns() []string {
	return []string{
		"tenant_id", "id", "at", "connection_id", "actor_kind", "actor_id", "method", "path", "resource_type", "resource_id", "name", "name_key",
		"external_id", "status", "scim_type", "code", "detail", "duration_us", "request_id", "if_match", "changes", "body", "answer",
	}
}

// provisioningValues are the entry's in the order of provisioningColumns.
func provisioningValues(e *provisioning.Entry) ([]any, error) {
	changes := "[]"
	if len(e.Changes) > 0 {
		var err error
		if changes, err = encode(e.Changes); err != nil {
			return nil, err
		}
	}
	return []any{
		string(e.Tenant), string(e.ID), at(e.Time), string(e.Connection), string(e.Actor.Kind), e.Actor.ID, e.Method, e.Path, e.Type, e.Resource,
		e.Name, schema.Fold(e.Name), e.ExternalID, e.Status, e.SCIMType, e.Code, e.Detail, e.Duration.Microseconds(), e.Request, e.IfMatch,
		changes, e.Body, e.Answer,
	}, nil
}

const insertProvisioning = `INSERT INTO provisioning_log (tenant_id, id, at, connection_id, actor_kind, actor_id, method, path, resource_type,
	resource_id, name, name_key, external_id, status, scim_type, code, detail, duration_us, request_id, if_match, changes, body, answer)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// AppendProvisioning implements provisioning.Store. It does not join the
// transaction in ctx.
func (s *Store) AppendProvisioning(ctx context.Context, entries []provisioning.Entry) error {
	rows := make([][]any, len(entries))
	for i := range entries {
		var err error
		if rows[i], err = provisioningValues(&entries[i]); err != nil {
			return err
		}
	}
	if s.sqlite {
		return s.InTx(ctx, func(ctx context.Context) error {
			for _, row := range rows {
				if err := s.exec(ctx, insertProvisioning, row...); err != nil {
					return classify(err, "")
				}
			}
			return nil
		})
	}
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return classify(err, "")
	}
	defer func() { _ = conn.Close() }() // back to the pool
	return classify(conn.Raw(func(driver any) error {
		c, ok := driver.(*pipeline)
		if !ok {
			return fmt.Errorf("storage: a connection of the type %T", driver)
		}
		_, err := c.Conn.Conn().CopyFrom(ctx, pgx.Identifier{"provisioning_log"}, provisioningColumns(), pgx.CopyFromRows(rows))
		return err
	}), "")
}

const selectProvisioning = `SELECT tenant_id, id, at, connection_id, actor_kind, actor_id, method, path, resource_type,
	resource_id, name, external_id, status, scim_type, code, detail, duration_us, request_id, if_match, changes`

func scanProvisioning(scan func(...any) error, more ...any) (*provisioning.Entry, error) {
	e := &provisioning.Entry{}
	var tenant, entry, connection, kind, changes string
	var duration int64
	err := scan(append([]any{
		&tenant, &entry, &e.Time, &connection, &kind, &e.Actor.ID, &e.Method, &e.Path, &e.Type, &e.Resource, &e.Name, &e.ExternalID, &e.Status,
		&e.SCIMType, &e.Code, &e.Detail, &duration, &e.Request, &e.IfMatch, &changes,
	}, more...)...)
	if err != nil {
		return nil, classify(err, "")
	}
	e.Tenant, e.ID, e.Connection = id.Tenant(tenant), id.ProvisioningEntry(entry), id.Connection(connection)
	e.Actor.Kind, e.Time, e.Duration = audit.ActorKind(kind), e.Time.UTC(), time.Duration(duration)*time.Microsecond
	if changes == "[]" {
		return e, nil
	}
	return e, decode(changes, &e.Changes)
}

// ProvisioningEntries implements provisioning.Store.
func (s *Store) ProvisioningEntries(ctx context.Context, tenant id.Tenant, q provisioning.Query) ([]provisioning.Entry, error) {
	query, args := selectProvisioning+" FROM provisioning_log WHERE tenant_id = ?", []any{string(tenant)}
	and := func(condition string, values ...any) {
		query += " AND " + condition
		args = append(args, values...)
	}
	first, end := q.Bounds()
	if first != "" {
		and("id >= ?", string(first))
	}
	if end != "" {
		and("id < ?", string(end))
	}
	if q.Person != "" {
		conditions, values := make([]string, 3), []any{}
		for i, is := range []struct{ column, value string }{{"resource_id", q.Person}, {"name_key", schema.Fold(q.Person)}, {"external_id", q.Person}} {
			// With the condition of its partial index.
			conditions[i] = is.column + " = ? AND " + is.column + " <> ''"
			values = append(values, is.value)
			if !s.sqlite {
				conditions[i] += " AND hashtextextended(" + is.column + ", 0) = hashtextextended(?, 0)"
				values = append(values, is.value)
			}
		}
		and("("+strings.Join(conditions, " OR ")+")", values...)
	}
	if q.MinStatus >= firstRefusal {
		and("status >= 400")
	}
	if q.MinStatus > 0 {
		and("status >= ?", q.MinStatus)
	}
	if q.MaxStatus > 0 {
		and("status <= ?", q.MaxStatus)
	}
	if q.Method != "" {
		and("method = ?", q.Method)
	}
	if q.Type != "" {
		and("resource_type = ?", q.Type)
	}
	if q.Connection != "" {
		and("connection_id = ?", string(q.Connection))
	}
	entries := make([]provisioning.Entry, 0, q.Limit)
	err := s.query(ctx, func(rows *sql.Rows) error {
		e, err := scanProvisioning(rows.Scan)
		if err != nil {
			return err
		}
		entries = append(entries, *e)
		return nil
	}, query+" ORDER BY id DESC LIMIT ?", append(args, q.Limit)...)
	return entries, err
}

// firstRefusal is the status from which on provisioning_log_refused is of use.
const firstRefusal = 400

// ProvisioningEntry implements provisioning.Store.
func (s *Store) ProvisioningEntry(ctx context.Context, tenant id.Tenant, entry id.ProvisioningEntry) (*provisioning.Entry, error) {
	var body, answer string
	e, err := scanProvisioning(s.queryRow(ctx, selectProvisioning+", body, answer FROM provisioning_log WHERE tenant_id = ? AND id = ?",
		string(tenant), string(entry)).Scan, &body, &answer)
	if err != nil {
		return nil, err
	}
	e.Body, e.Answer = body, answer
	return e, nil
}

// OldestProvisioning implements provisioning.Store.
func (s *Store) OldestProvisioning(ctx context.Context) ([]provisioning.Oldest, error) {
	var all []provisioning.Oldest
	err := s.query(ctx, func(rows *sql.Rows) error {
		var tenant, text string
		var oldest sql.NullString
		if err := rows.Scan(&tenant, &text, &oldest); err != nil || !oldest.Valid {
			return err
		}
		var policy directory.Policy
		if err := decode(text, &policy); err != nil {
			return err
		}
		all = append(all, provisioning.Oldest{Tenant: id.Tenant(tenant), Entry: id.ProvisioningEntry(oldest.String), Days: policy.ProvisioningLogDays})
		return nil
	}, `/* across tenants: each keeps its entries for a time of its own */
		SELECT t.id, t.policy, (SELECT min(l.id) FROM provisioning_log l WHERE l.tenant_id = t.id) FROM tenants t`)
	return all, err
}

// DeleteProvisioning implements provisioning.Store.
func (s *Store) DeleteProvisioning(ctx context.Context, tenant id.Tenant, before id.ProvisioningEntry, limit int) (int, error) {
	result := s.conn(ctx).Exec(`DELETE FROM provisioning_log WHERE tenant_id = ? AND id IN (
		SELECT id FROM provisioning_log WHERE tenant_id = ? AND id < ? ORDER BY id LIMIT ?)`, tenant, tenant, before, limit)
	return int(result.RowsAffected), classify(result.Error, "")
}
