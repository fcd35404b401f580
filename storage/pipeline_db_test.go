package storage_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/storage"
)

// What is sent together is as if it had been sent one by one. On SQLite it is.
func TestStatementsKeptBack(t *testing.T) {
	dbtest.Each(t, storage.KeptBack)
}

func TestPipelineReadsWhatTheDriverReads(t *testing.T) {
	s, err := storage.Open(t.Context(), dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	storage.PipelineReads(t, s)
}

// TestLookUpsOfARound is about PostgreSQL alone: SQLite answers each by itself.
func TestLookUpsOfARound(t *testing.T) {
	s, err := storage.Open(t.Context(), dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	storage.LookUps(t, s)
}
