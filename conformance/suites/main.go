// Command suites runs the SCIM test suites that vendors publish as data: Okta's
// specification test, an export of Runscope, and Microsoft's collection for
// Postman. The files are the vendors' and are not kept here:
//
//	go run ./conformance/suites okta FILE
//	go run ./conformance/suites microsoft FILE
//
// Each runs against a server of its own on SQLite and on PostgreSQL, through a
// connection with the profile that fits. A failure that the suite is to blame
// for is printed with the reason; any other makes the status 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const token = "rcs-suite-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1" //nolint:gosec // of these runs

// target is the endpoint that a suite asks.
type target struct {
	base   string // without a slash at its end
	token  string
	client *http.Client
}

// check is one thing that a suite asserts.
type check struct {
	request, name string
	problem       string // empty: it holds
	explained     string // why the suite is to blame
}

// suite is a vendor's file and what it needs.
type suite struct {
	profile string
	run     func(ctx context.Context, file []byte, t target) ([]check, error)
	// flaws are the suite's.
	flaws []flaw
}

func suites() map[string]suite {
	return map[string]suite{
		"okta":      {profile: "okta", run: runscope, flaws: nil},
		"microsoft": {profile: "entra", run: postman, flaws: microsoftFlaws()},
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	if len(args) != 2 {
		return errors.New("expected the suite, okta or microsoft, and its file")
	}
	s, known := suites()[args[0]]
	if !known {
		return fmt.Errorf("there is no suite %q; expected okta or microsoft", args[0])
	}
	file, err := os.ReadFile(args[1]) //nolint:gosec // the file that the caller names
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rolecall-suites-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := instance.Build(ctx, dir)
	if err != nil {
		return err
	}
	postgres, err := dbtest.StartPostgres(ctx, dbtest.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	database, err := postgres.CreateDatabase(ctx, "suite", "")
	if err != nil {
		return err
	}
	failed := 0
	for _, d := range []struct{ name, url string }{{"SQLite", ""}, {"PostgreSQL", database}} {
		home := filepath.Join(dir, d.name)
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		checks, err := s.against(ctx, file, binary, home, d.url)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		n, err := report(out, args[0]+" on "+d.name, checks)
		if err != nil {
			return err
		}
		failed += n
	}
	if failed > 0 {
		return fmt.Errorf("%d failures that the suite is not to blame for", failed)
	}
	return nil
}

// against runs the suite against a new server.
func (s suite) against(ctx context.Context, file []byte, binary, dir, database string) (checks []check, err error) {
	i, err := instance.New(binary, dir, database)
	if err != nil {
		return nil, err
	}
	if err := i.Migrate(ctx); err != nil {
		return nil, err
	}
	apply := fmt.Sprintf("tenants:\n- {slug: suite, name: Suite, connections: [{name: directory, profile: %s, token: %s}]}\n", s.profile, token)
	if _, err := i.Apply(ctx, apply); err != nil {
		return nil, err
	}
	if _, err := i.Serve(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, i.Stop()) }()
	checks, err = s.run(ctx, file, target{base: i.URL + "/t/suite/scim/v2", token: token, client: &http.Client{Timeout: time.Minute}})
	explain(checks, s.flaws)
	return checks, err
}
