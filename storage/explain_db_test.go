package storage_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/storage"
)

// TestPlans is about PostgreSQL alone: SQLite is for instances of another size.
func TestPlans(t *testing.T) {
	s, err := storage.Open(t.Context(), dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	storage.Plans(t, s)
}
