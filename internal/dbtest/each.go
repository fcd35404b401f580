//go:build unix

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/storage"
)

// Each runs test twice, as subtests "sqlite" and "postgres", each time with the
// store of a migrated database of its own that holds no rows.
func Each(t *testing.T, test func(t *testing.T, store *storage.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, migratedFile(t))) })
	t.Run("postgres", func(t *testing.T) { test(t, open(t, migratedDatabase(t))) })
}

// The migrations run once in a process and database; tests get copies.
var (
	sqliteTemplate   = sync.OnceValues(migrateSQLite)   //nolint:gochecknoglobals // see shared
	postgresTemplate = sync.OnceValues(migratePostgres) //nolint:gochecknoglobals // see shared
)

func open(t *testing.T, databaseURL string) *storage.Store {
	t.Helper()
	store, err := storage.Open(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func migratedFile(t *testing.T) string {
	t.Helper()
	content, err := sqliteTemplate()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rolecall.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

func migratedDatabase(t *testing.T) string {
	t.Helper()
	template, err := postgresTemplate()
	if err != nil {
		t.Fatal(err)
	}
	return postgresFrom(t, template)
}

// migrateSQLite returns the content of a migrated SQLite file.
func migrateSQLite() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "rolecall-sqlite-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for SQLite: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "rolecall.db")
	if err := migrate(context.Background(), "sqlite:"+path); err != nil {
		return nil, err
	}
	return os.ReadFile(path) //nolint:gosec // made above
}

// migratePostgres returns the name of a migrated database.
func migratePostgres() (string, error) {
	server, err := shared()
	if err != nil {
		return "", err
	}
	const name = "migrated"
	databaseURL, err := server.CreateDatabase(context.Background(), name, "")
	if err != nil {
		return "", err
	}
	return name, migrate(context.Background(), databaseURL)
}

// migrate closes the store too: neither a copied file nor a PostgreSQL template
// may be in use.
func migrate(ctx context.Context, databaseURL string) error {
	store, err := storage.Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	return errors.Join(store.Migrate(ctx), store.Close())
}
