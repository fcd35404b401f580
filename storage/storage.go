// Package storage keeps the product's state in PostgreSQL or SQLite.
//
// It is the only package that imports gorm or writes SQL. It implements the
// Store interfaces of the domain packages and speaks their types; no gorm type,
// tag or error leaves it. Four rules hold throughout:
//
//   - a transaction travels in the context: InTx begins one, every method joins it;
//   - a read-modify-write is one method with a closure, under a lock of the row;
//   - what can be used once is consumed by one conditional statement;
//   - every statement on a tenant's table names the tenant, or the pool refuses
//     it (guard.go).
//
// Migrations are SQL, one folder per dialect, applied by goose.
package storage

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/rolecall/rolecall/internal/audit"
)

// Store is a connection pool. It is safe for concurrent use.
type Store struct {
	db     *gorm.DB
	pool   *sql.DB
	sqlite bool
	writer chan struct{} // SQLite: one transaction at a time, waiting in line rather than by polling

	follower audit.Follower // of the audit trail; nil: none

	heldBy    map[string]string    // the statements behind Held, by the column that names a person
	heldAlone map[string]string    // those for one question; PostgreSQL only, as the next
	questions *gathering[question] // what many callers ask at once
}

// Pool sizes. An idle limit below the maximum makes the pool churn under load.
const (
	postgresConnections = 32
	sqliteConnections   = 8
)

// Open connects to the database that address names: "sqlite:PATH", or a
// "postgres://" URL. It does not migrate; see Migrate.
func Open(ctx context.Context, address string) (*Store, error) {
	switch {
	case strings.HasPrefix(address, "sqlite:"):
		return openSQLite(ctx, strings.TrimPrefix(address, "sqlite:"))
	case strings.HasPrefix(address, "postgres://"), strings.HasPrefix(address, "postgresql://"):
		return openPostgres(ctx, address)
	default:
		scheme, _, _ := strings.Cut(address, ":")
		return nil, fmt.Errorf("the database URL starts with %q, want sqlite:PATH or postgres://…", scheme)
	}
}

func openSQLite(ctx context.Context, path string) (*Store, error) {
	if path == "" {
		return nil, fmt.Errorf("the database URL sqlite: names no file")
	}
	// Made here rather than by the driver, so that nobody else can read it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	query := url.Values{
		"_pragma":      {"journal_mode(WAL)", "busy_timeout(5000)", "foreign_keys(1)", "synchronous(NORMAL)"},
		"_txlock":      {"immediate"}, // a read-modify-write holds the write lock from its first read
		"_time_format": {"sqlite"},    // sorts as text in the order of time
	}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool.SetMaxOpenConns(sqliteConnections)
	pool.SetMaxIdleConns(sqliteConnections)
	s, err := open(ctx, pool, sqliteDialector{sqlite.Dialector{Conn: guard{pool}}})
	if err != nil {
		return nil, err
	}
	s.sqlite = true
	s.heldBy = s.heldStatements("")
	s.writer = make(chan struct{}, 1)
	return s, nil
}

func openPostgres(ctx context.Context, address string) (*Store, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", redactURL(err))
	}
	config.RuntimeParams["timezone"] = "UTC"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "rolecall"
	}
	pool := sql.OpenDB(pipelines{stdlib.GetConnector(*config, stdlib.OptionAfterConnect(withoutJIT))})
	pool.SetMaxOpenConns(postgresConnections)
	pool.SetMaxIdleConns(postgresConnections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	s, err := open(ctx, pool, postgresDialector{postgres.New(postgres.Config{Conn: guard{pool}})})
	if err != nil {
		return nil, err
	}
	s.questions = gather(s.answer)
	s.heldBy, s.heldAlone = s.heldStatements(askedMany), s.heldStatements(askedAlone)
	return s, nil
}

// withoutJIT keeps PostgreSQL from compiling statements to machine code. All of
// ours are short; before the statistics of a table are up to date some look
// dear enough, and the compiling then costs a hundred times the statement.
func withoutJIT(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET jit = off")
	return err
}

func open(ctx context.Context, pool *sql.DB, dialector gorm.Dialector) (*Store, error) {
	if err := pool.PingContext(ctx); err != nil {
		_ = pool.Close() // the ping's error says more
		return nil, fmt.Errorf("reach the database: %w", redactURL(err))
	}
	db, err := gorm.Open(dialector, &gorm.Config{
		TranslateError:         true,
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		Logger:                 logger.Discard, // errors are returned; statements may hold personal data
		NowFunc:                func() time.Time { return time.Time{} },
	})
	if err != nil {
		_ = pool.Close() // the opening's error says more
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &Store{db: db, pool: pool}, nil
}

// redactURL keeps the password of a database URL out of an error's text.
func redactURL(err error) error {
	if strings.Contains(err.Error(), "://") {
		return fmt.Errorf("connection refused or URL malformed (details withheld, they hold the password)")
	}
	return err
}

// Close closes all connections.
func (s *Store) Close() error { return s.pool.Close() }

// Dialect returns "sqlite" or "postgres".
func (s *Store) Dialect() string {
	if s.sqlite {
		return "sqlite"
	}
	return "postgres"
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.PingContext(ctx) }

type txKey struct{}

// InTx implements directory.Store, authn.Store and oidc.Store: it runs fn in
// one transaction, which is rolled back if fn fails. A call within fn joins the
// outer transaction.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if _, ok := ctx.Value(txKey{}).(*gorm.DB); ok {
		if rehearsed, _ := ctx.Value(rehearsalKey{}).(bool); rehearsed {
			return s.inSavepoint(ctx, fn)
		}
		return fn(ctx)
	}
	if s.sqlite {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		return fn(context.WithValue(ctx, txKey{}, tx))
	})
}

// conn is the transaction in ctx, or the pool.
func (s *Store) conn(ctx context.Context) *gorm.DB {
	if tx, ok := ctx.Value(txKey{}).(*gorm.DB); ok {
		return tx.WithContext(ctx)
	}
	return s.db.WithContext(ctx)
}

// at is the form in which a time is stored: UTC, to the microsecond.
func at(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// atOrNull is at for a column that is null where there is no time.
func atOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(at(t))
}

// orZeroTime is the inverse of atOrNull.
func orZeroTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// orNull is for a text column that is null where there is no text.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// orEmpty is the inverse of orNull.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// locked is conn with the rows that are read locked until the transaction
// ends. SQLite's transactions hold the only write lock from their beginning.
func (s *Store) locked(ctx context.Context) *gorm.DB {
	if s.sqlite {
		return s.conn(ctx)
	}
	return s.conn(ctx).Clauses(clause.Locking{Strength: "NO KEY UPDATE"})
}
