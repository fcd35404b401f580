package storage_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/storage"
)

func TestIndexedAttributesAreFoundByTheirIndex(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) { storage.ExplainIndexed(t.Context(), t, store) })
}
