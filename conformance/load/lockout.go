package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/conformance/lockout"
	"github.com/rolecall/rolecall/internal/dbtest"
)

// toldWithin is by when an application has to know of a switched off person, at p99.
const toldWithin = time.Second

// lockOut switches people off and prints what was accepted of them afterwards, and
// when the application was told.
func lockOut(ctx context.Context, s settings, dir string, stdout io.Writer) (err error) {
	begin := time.Now()
	postgres, err := dbtest.StartPostgres(ctx, dbtest.Options{Durable: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	database, err := postgres.CreateDatabase(ctx, "rolecall", "")
	if err != nil {
		return err
	}
	program, err := instance.Build(ctx, dir)
	if err != nil {
		return err
	}
	result, err := lockout.Run(ctx, program, dir, database, s.people)
	if err != nil {
		return err
	}
	short := 0
	verdict := func(ok bool) string {
		if ok {
			return "ok"
		}
		short++
		return "SHORT"
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) {
		_, failed := fmt.Fprintf(w, format, args...)
		err = errors.Join(err, failed)
	}
	line("%s people switched off over SCIM, two servers over one PostgreSQL\n\nafter the answer\ttried\taccepted\texpected\t\n", thousands(result.People))
	tried, accepted := 0, 0
	for _, way := range lockout.Ways() {
		tried, accepted = tried+result.Tried[way], accepted+result.Accepted[way]
		line("%s\t%s\t%d\t0\t%s\n", way, thousands(result.Tried[way]), result.Accepted[way], verdict(result.Accepted[way] == 0))
	}
	line("all\t%s\t%d\n\nthe application is told\tp50\tp99\tlast\texpected\t\n", thousands(tried), accepted)
	for what, took := range map[string][]time.Duration{"logout token": result.Logout, "event session-revoked": result.Event} {
		p99 := lockout.P(took, 0.99)
		line("%s\t%s\t%s\t%s\tp99 ≤ 1 s\t%s\n", what, milliseconds(lockout.P(took, 0.5)), milliseconds(p99), milliseconds(lockout.P(took, 1)), verdict(p99 <= toldWithin))
	}
	line("\nThe run took %s. %d short of what is expected.\n", time.Since(begin).Round(time.Second), short)
	return errors.Join(err, w.Flush())
}
