//go:build unix

package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestPostgresIsOfThisTestsOwn also holds the surroundings that tests rely on to
// show what SQLite hides.
func TestPostgresIsOfThisTestsOwn(t *testing.T) {
	t.Parallel()
	for range 2 {
		conn := connect(t, Postgres(t))
		if _, err := conn.Exec(t.Context(), "CREATE TABLE users (name text)"); err != nil {
			t.Fatal(err)
		}
	}
	conn := connect(t, Postgres(t))
	for query, want := range map[string]string{
		"SELECT usesuper::text FROM pg_user WHERE usename = current_user": "false",

		"SELECT ('a' < 'B')::text":               "true", // in bytes it is not
		"SELECT lower('ÄÖ')":                     "äö",
		"SELECT (now()::text LIKE '%+00')::text": "false",
		"SHOW fsync":                             "off",
	} {
		var got string
		if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

func TestPostgresDropsTheDatabaseUnderItsClients(t *testing.T) {
	t.Parallel()
	var conn *pgx.Conn
	t.Run("test", func(t *testing.T) {
		var err error
		if conn, err = pgx.Connect(t.Context(), Postgres(t)); err != nil {
			t.Fatal(err)
		}
	})
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection still works after the test that asked for the database")
	}
}

func TestPostgresFromTemplate(t *testing.T) {
	t.Parallel()
	template, err := pgx.ParseConfig(Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, template.ConnString())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE users AS SELECT 'ann' AS name"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var name string
	copied := connect(t, postgresFrom(t, template.Database))
	if err := copied.QueryRow(t.Context(), "UPDATE users SET name = upper(name) RETURNING name").Scan(&name); err != nil {
		t.Fatal(err)
	}
	if name != "ANN" {
		t.Errorf("got %q, want the template's row", name)
	}
}

func TestStopEndsTheServerAndRemovesItsFiles(t *testing.T) {
	t.Parallel()
	server, err := StartPostgres(t.Context(), Options{
		Durable: true, Dir: reachable(t), Settings: map[string]string{"application_name": "from_settings"},
	})
	if err != nil {
		t.Fatal(err)
	}
	databaseURL, err := server.CreateDatabase(t.Context(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, databaseURL)
	var fsync, application string
	err = conn.QueryRow(t.Context(), "SELECT current_setting('fsync'), current_setting('application_name')").Scan(&fsync, &application)
	if err != nil {
		t.Fatal(err)
	}
	if fsync != "on" || application != "from_settings" {
		t.Errorf("got fsync %s and application_name %s, want on and from_settings", fsync, application)
	}
	for range 2 {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pgx.Connect(t.Context(), databaseURL); err == nil {
		t.Error("the server still takes connections")
	}
	if _, err := os.Stat(server.dir); !os.IsNotExist(err) {
		t.Errorf("the server's files: got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestStartPostgresReportsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	_, err := StartPostgres(t.Context(), Options{Dir: dir, Settings: map[string]string{"max_connections": "many"}})
	if err == nil || !strings.Contains(err.Error(), `"max_connections"`) {
		t.Errorf("got %v, want PostgreSQL's message about max_connections", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("got %v and %v, want nothing left behind", left, err)
	}
}

// orphanVariable makes the test binary a process that starts a server, prints
// its URL and folder, and waits to be killed.
const orphanVariable = "DBTEST_ORPHAN"

func TestServerDoesNotOutliveItsProcess(t *testing.T) {
	if os.Getenv(orphanVariable) != "" {
		server, err := StartPostgres(context.Background(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("orphan %s %s\n", server.url(superuser, "postgres"), server.dir)
		select {}
	}
	t.Parallel()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), binary, "-test.run=^"+t.Name()+"$")
	process.Env = append(os.Environ(), orphanVariable+"=1")
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	var databaseURL, dir string
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "orphan %s %s\n", &databaseURL, &dir); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	connect(t, databaseURL)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), databaseURL)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		_, statErr := os.Stat(dir)
		if err != nil && os.IsNotExist(statErr) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after its process was killed, the server: connect %v, files %v", err, statErr)
		}
	}
}

func TestMissingPostgresIsAnError(t *testing.T) {
	t.Setenv(binVariable, t.TempDir())
	if server, err := StartPostgres(t.Context(), Options{}); err == nil {
		t.Errorf("got %v, want an error", server.Stop())
	}
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// reachable returns a folder that PostgreSQL's user can enter; t.TempDir's
// parents are closed to others.
func reachable(t *testing.T) string {
	t.Helper()
	credential, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(temporary(credential), "rolecall-dbtest-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
