package instance

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/internal/dbtest"
)

// folder is where this test process keeps the built program.
var folder = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "rolecall-conformance-") }) //nolint:gochecknoglobals // what tests of one process share has no other place

var binary = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // see above
	dir, err := folder()
	if err != nil {
		return "", err
	}
	return Build(context.Background(), dir)
})

// Main runs the tests of a package and removes what they built. It is to be
// called by TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	dir, err := folder()
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Each runs test on SQLite and on PostgreSQL, each time with a running server
// that holds what the file of apply says.
func Each(t *testing.T, file string, test func(*testing.T, *Instance)) {
	t.Helper()
	for name, database := range Databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, Start(t, database(t), file))
		})
	}
}

// Databases returns what makes an empty database of each kind.
func Databases() map[string]func(testing.TB) string {
	return map[string]func(testing.TB) string{
		"sqlite":   func(testing.TB) string { return "" },
		"postgres": dbtest.Postgres,
	}
}

// Start returns a running server that holds what file says. It ends with the
// test, and its log is shown if the test failed.
func Start(t testing.TB, database, file string) *Instance {
	t.Helper()
	i := Prepare(t, database)
	if err := i.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", i.Log())
		}
	})
	return i
}

// Prepare returns an instance without tables or a server. env are further
// variables, NAME=value, which win over those that every instance has.
func Prepare(t testing.TB, database string, env ...string) *Instance {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(program, t.TempDir(), database, env...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
