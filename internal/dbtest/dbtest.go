//go:build unix

// Package dbtest gives tests real databases: an SQLite file, and a PostgreSQL
// server started from the programs installed on the machine. There is nothing to
// set up, nothing is shared with other processes, and nothing stays behind. A
// machine without PostgreSQL fails the tests; it does not skip them.
//
// Each test process that asks for PostgreSQL runs a server of its own, started
// at the first request. That takes about a second, and spares what a server
// shared by the parallel processes of `go test ./...` would need: a lock file, a
// count of users, and a way to tell a live server from a dead one's remains.
// Within a process, each test has a database of its own.
package dbtest

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"
)

// shared is the server of this test process. Nobody stops it: its supervisor
// does when the process ends.
var shared = sync.OnceValues(func() (*Server, error) { //nolint:gochecknoglobals // what tests of one process share has no other place
	return StartPostgres(context.Background(), Options{})
})

// Postgres returns the URL of an empty PostgreSQL database of this test's own.
// It is dropped when the test ends, whoever is still connected.
func Postgres(t testing.TB) string {
	t.Helper()
	return postgresFrom(t, "")
}

// postgresFrom is Postgres with a copy of the database template.
func postgresFrom(t testing.TB, template string) string {
	t.Helper()
	server, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	databaseURL, err := server.CreateDatabase(t.Context(), name, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's context is over by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := server.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return databaseURL
}
