package storage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migrate brings the schema up to the newest version that this binary knows.
// Several processes may call it at once: on PostgreSQL a lock table makes them
// take turns.
func (s *Store) Migrate(ctx context.Context) error {
	provider, err := s.goose()
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// A Migration is one step of the schema.
type Migration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Migrations lists the steps that this binary knows, in their order.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	provider, err := s.goose()
	if err != nil {
		return nil, err
	}
	statuses, err := provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migration status: %w", err)
	}
	steps := make([]Migration, 0, len(statuses))
	for _, status := range statuses {
		steps = append(steps, Migration{
			Version: status.Source.Version, Name: status.Source.Path, Applied: status.State == goose.StateApplied,
		})
	}
	return steps, nil
}

func (s *Store) goose() (*goose.Provider, error) {
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption{goose.WithVerbose(false)}
	if !s.sqlite {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresTableLocker()
		if err != nil {
			return nil, fmt.Errorf("migration lock: %w", err)
		}
		options = append(options, goose.WithLocker(locker))
	}
	dir, err := fs.Sub(migrations, "migrations/"+s.Dialect())
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, s.pool, dir, options...)
}
