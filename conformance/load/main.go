// Command load measures one instance on PostgreSQL, and beside each figure what
// this machine reaches at most: the same run, the same number of clients, the
// same load generator. It prints one table; `make bench` runs it.
//
// Figures of different runs or machines say little, their ratios more: the
// speed of a shared machine drifts by half. So raw limits and the server are
// measured in turn, in several short rounds, and the ratio is the median of the
// rounds' ratios.
//
// The load generator, the server, PostgreSQL and the handlers that set the
// limits are processes of one machine, as they are for whoever tries it out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are what a run may be told.
type settings struct {
	clients int           // of every measurement but those of one group
	window  time.Duration // of one measurement
	rounds  int           // how often each is measured
	people  int           // in the tenant that is measured
	large   int           // members of the largest group

	lock   bool   // switching people off, instead of all the rest
	oidc   bool   // OpenID Connect beside another provider, instead of all the rest
	only   string // of it, or of scim, what has this in its name
	signIn bool   // signing in, instead of all the rest
	scim   bool   // a large directory beside a small one, instead of all the rest
	few    int    // people of the small one
	groups int    // of the large one; the small one has its part
	folder string // of the database's files; empty: the temporary one
	bulk   int    // people who come through Bulk; the others are copies in the database
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "raw" {
		return serveRaw(ctx, stdout)
	}
	var s settings
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.clients, "clients", 16, "connections that send requests at the same time")
	flags.DurationVar(&s.window, "window", 2*time.Second, "length of one measurement")
	flags.IntVar(&s.rounds, "rounds", 6, "how often each measurement is repeated")
	flags.IntVar(&s.people, "people", 10_000, "people of the instance")
	flags.IntVar(&s.large, "large", 100_000, "members of the largest group")
	flags.BoolVar(&s.signIn, "signin", false, "measure signing in alone")
	flags.BoolVar(&s.lock, "lockout", false, "switch -people off, and see what is accepted of them afterwards")
	flags.BoolVar(&s.oidc, "oidc", false, "measure OpenID Connect alone, beside npm's oidc-provider")
	flags.StringVar(&s.only, "only", "", "with -oidc or -scim: measure only what has this in its name")
	flags.BoolVar(&s.scim, "scim", false, "measure SCIM alone, in a directory of -people beside one of -few")
	flags.IntVar(&s.few, "few", 10_000, "with -scim: people of the small directory")
	flags.StringVar(&s.folder, "dir", "", "with -scim: folder in which the database's files are made")
	flags.IntVar(&s.bulk, "bulk", 1_000_000, "with -scim: people who are loaded through Bulk; the others are copied in the database")
	flags.IntVar(&s.groups, "groups", 2_000, "with -scim: groups; the small directory has its part of them")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	dir, err := os.MkdirTemp("", "rolecall-load-")
	if err != nil {
		return err
	}
	if s.lock {
		return errors.Join(lockOut(ctx, s, dir, stdout), os.RemoveAll(dir))
	}
	if s.scim {
		b := &scale{settings: s, dir: dir, progress: stderr}
		err = b.run(ctx, stdout)
		return errors.Join(err, b.close(), os.RemoveAll(dir))
	}
	b := &bench{settings: s, dir: dir, progress: stderr}
	if s.oidc {
		b := &beside{bench: b}
		err = b.run(ctx, stdout)
		return errors.Join(err, b.close(), os.RemoveAll(dir))
	}
	if s.signIn {
		err = (&signing{bench: b}).run(ctx, stdout)
	} else {
		err = b.run(ctx, stdout)
	}
	return errors.Join(err, b.close(), os.RemoveAll(dir))
}
