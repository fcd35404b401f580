//go:build unix

package dbtest

import (
	"slices"
	"testing"

	"github.com/rolecall/rolecall/storage"
)

func TestEachGivesMigratedDatabasesOfBothKinds(t *testing.T) {
	t.Parallel()
	var dialects []string
	Each(t, func(t *testing.T, store *storage.Store) {
		dialects = append(dialects, store.Dialect())
		steps, err := store.Migrations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(steps) == 0 {
			t.Error("there is no migration")
		}
		for _, step := range steps {
			if !step.Applied {
				t.Errorf("migration %d is not applied", step.Version)
			}
		}
	})
	if want := []string{"sqlite", "postgres"}; !slices.Equal(dialects, want) {
		t.Errorf("got %v, want %v", dialects, want)
	}
}
