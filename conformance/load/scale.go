package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

// scale is a run that holds a large directory against a small one. Each is an
// instance of its own with a database of its own, so that the small one is what
// it would be by itself; they are measured in turn.
type scale struct {
	settings
	dir      string
	progress io.Writer

	postgres     *dbtest.Server
	commits      *commits
	small, large *side
	table        strings.Builder
	short        int
}

// side is one of the two.
type side struct {
	*scim
	instance *instance.Instance
	loaded   loaded
}

const scaleFile = `
tenants:
- {slug: main, name: Main, connections: [{name: load, token: ` + mainToken + `}]}
`

// start brings up PostgreSQL and the two instances, and fills them.
func (s *scale) start(ctx context.Context) (err error) {
	if s.postgres, err = dbtest.StartPostgres(ctx, dbtest.Options{Durable: true, Dir: s.folder}); err != nil {
		return err
	}
	rawURL, err := s.postgres.CreateDatabase(ctx, "raw", "")
	if err != nil {
		return err
	}
	clients := numbersOfClients()
	if s.commits, err = openCommits(ctx, rawURL, clients[len(clients)-1]); err != nil {
		return err
	}
	binary, err := instance.Build(ctx, s.dir)
	if err != nil {
		return err
	}
	// In both people are in as many groups, or their look-ups would not compare.
	few := min(s.few, s.people)
	if s.small, err = s.side(ctx, binary, "small", few, max(s.groups*few/s.people, 1), s.largest()*few/s.people); err != nil {
		return err
	}
	s.large, err = s.side(ctx, binary, "large", s.people, s.groups, s.largest())
	return err
}

func (s *scale) largest() int { return min(s.settings.large, s.people) }

// side makes an instance and loads it through Bulk.
func (s *scale) side(ctx context.Context, binary, name string, people, groups, large int) (*side, error) {
	database, err := s.postgres.CreateDatabase(ctx, name, "")
	if err != nil {
		return nil, err
	}
	in, err := instance.New(binary, filepath.Clean(s.dir), database, "ROLECALL_LOG_LEVEL=warn")
	if err != nil {
		return nil, err
	}
	if err := in.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := in.Apply(ctx, scaleFile); err != nil {
		return nil, err
	}
	if _, err := in.Serve(ctx); err != nil {
		return nil, err
	}
	made := &side{scim: newSCIM(strings.TrimPrefix(in.URL, "http://"), "main", mainToken), instance: in}
	s.say("%s: %s people, %s groups, one of %s ... ", name, thousands(people), thousands(groups), thousands(large))
	if made.loaded, err = made.load(ctx, database, people, s.bulk, groups, large); err != nil {
		return made, errors.Join(err, in.Stop())
	}
	made.scim.loaded = int64(people)
	s.say("%s/s people, %s/s members\n", perSecond(made.loaded.peopleRate()), perSecond(made.loaded.memberRate()))
	// As autovacuum does within minutes of such a load.
	return made, vacuum(ctx, database)
}

func vacuum(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	return closed(ctx, conn, err)
}

func (s *scale) say(format string, args ...any) { _, _ = fmt.Fprintf(s.progress, format, args...) }

func (s *scale) close() error {
	var problems []error
	for _, side := range []*side{s.small, s.large} {
		if side != nil {
			problems = append(problems, side.instance.Stop())
		}
	}
	if s.commits != nil {
		s.commits.pool.Close()
	}
	if s.postgres != nil {
		problems = append(problems, s.postgres.Stop())
	}
	return errors.Join(problems...)
}

// run measures everything and prints the table.
func (s *scale) run(ctx context.Context, stdout io.Writer) error {
	begin := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	postgres, err := version(ctx, s.large.instance.Database)
	if err != nil {
		return err
	}
	s.line("%s, %d processors, %s/%s, %s\n%s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), postgres)
	s.line("%s people beside %s, %s groups, one of %s members (in the small directory in proportion); %d × %s each, medians\n",
		thousands(s.people), thousands(int(s.small.scim.loaded)), thousands(s.groups), thousands(s.largest()), s.rounds, s.window)
	for _, side := range []*side{s.small, s.large} {
		s.line("Loaded through Bulk: %s people of %s (%s/s), %s members (%s/s).",
			thousands(side.loaded.people), thousands(int(side.scim.loaded)), perSecond(side.loaded.peopleRate()), thousands(side.loaded.members), perSecond(side.loaded.memberRate()))
	}
	steps := []func(context.Context) error{s.walks, s.operations, s.members, s.memory}
	if s.only != "" {
		steps = steps[:2] // the walks find the cursors of the operations
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return errors.Join(err, s.print(stdout))
		}
	}
	s.line("\nThe run took %s. %d short of what is expected.", time.Since(begin).Round(time.Second), s.short)
	return s.print(stdout)
}

func (s *scale) line(format string, args ...any) { fmt.Fprintf(&s.table, format+"\n", args...) }

func (s *scale) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, s.table.String()); err != nil {
		return err
	}
	return table.Flush()
}

// walks goes through all people by cursor once.
func (s *scale) walks(ctx context.Context) error {
	for _, side := range []*side{s.small, s.large} {
		people, cost, err := side.walk(ctx)
		if err != nil {
			return err
		}
		s.line("All %s people by cursor, pages of 100: %s, %s people/s.", thousands(people), cost.Round(time.Millisecond), perSecond(float64(people)/cost.Seconds()))
	}
	return nil
}

// operations measures each operation in both directories, and what PostgreSQL
// does at most with as many clients.
func (s *scale) operations(ctx context.Context) error {
	s.line("\nmeasured\tclients\t%s people: per second\tp50\tp99\t%s people: per second\tp50\tp99\tp50 ×\texpected\t", thousands(int(s.small.scim.loaded)), thousands(s.people))
	for _, operation := range scimOperations() {
		if !strings.Contains(operation.name, s.only) {
			continue
		}
		var best, times float64
		var rows []string
		for _, clients := range operation.clients {
			small := &measurement{name: operation.name, clients: clients, worker: func(n int) (worker, error) { return operation.do(s.small.scim, clients, n), nil }}
			large := &measurement{name: operation.name, clients: clients, worker: func(n int) (worker, error) { return operation.do(s.large.scim, clients, n), nil }}
			if err := s.inTurn(ctx, small, large); err != nil {
				return err
			}
			best = max(best, large.rate())
			ratio := float64(large.percentile(0.5)) / float64(small.percentile(0.5))
			if times == 0 {
				times = ratio
			}
			rows = append(rows, s.row(operation.name, clients, small, large, ratio))
		}
		for i, row := range rows {
			wanted := ""
			if i == 0 {
				wanted = s.expected(operation, best, times)
			}
			s.line("%s%s\t", row, wanted)
		}
	}
	for _, clients := range numbersOfClients() {
		two, look := s.commits.measurement("PostgreSQL: transaction of two inserts", 2, clients), s.commits.lookUp(clients)
		if err := s.inTurn(ctx, two, look); err != nil {
			return err
		}
		for _, m := range []*measurement{two, look} {
			s.line("%s\t%d\t\t\t\t%s\t%s\t%s\t\t\t", m.name, clients, perSecond(m.rate()), milliseconds(m.percentile(0.5)), milliseconds(m.percentile(0.99)))
		}
	}
	return nil
}

// row is a line of the table up to what is expected.
func (s *scale) row(name string, clients int, small, large *measurement, ratio float64) string {
	return fmt.Sprintf("%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t", name, clients,
		perSecond(small.rate()), milliseconds(small.percentile(0.5)), milliseconds(small.percentile(0.99)),
		perSecond(large.rate()), milliseconds(large.percentile(0.5)), milliseconds(large.percentile(0.99)), ratio)
}

// expected says what is wanted of an operation, and whether it is so: of the best
// number of clients, and of how much dearer it is in the large directory.
func (s *scale) expected(operation scimOperation, best, times float64) string {
	var wanted []string
	fulfilled := true
	if operation.least > 0 {
		wanted, fulfilled = append(wanted, fmt.Sprintf("≥ %s/s", perSecond(operation.least))), best >= operation.least
	}
	if operation.most > 0 {
		wanted, fulfilled = append(wanted, fmt.Sprintf("≤ %.1f ×", operation.most)), fulfilled && times <= operation.most
	}
	if len(wanted) == 0 {
		return ""
	}
	return strings.Join(wanted, ", ") + s.verdict(fulfilled)
}

func (s *scale) verdict(ok bool) string {
	if ok {
		return ": ok"
	}
	s.short++
	return ": SHORT"
}

// inTurn measures each in every round.
func (s *scale) inTurn(ctx context.Context, measurements ...*measurement) error {
	for range s.rounds {
		for _, m := range measurements {
			if err := m.run(ctx, s.window); err != nil {
				return err
			}
			s.say("%-44s %2d %10.0f/s\n", m.name, m.clients, m.rates[len(m.rates)-1])
		}
	}
	return nil
}

// members measures changes of groups by their size, in the large directory, and
// what PostgreSQL read for them.
func (s *scale) members(ctx context.Context) error {
	large := s.large
	usual, err := large.group(ctx, "group of 100", min(100, s.largest()))
	if err != nil {
		return err
	}
	biggest, size := large.groups[0], s.largest()
	s.line("\nmembers, 1 client\tgroup of 100: per second\tp50\tp99\tgroup of %s: per second\tp50\tp99\tp50 ×\texpected\t", thousands(size))
	for _, change := range []struct {
		name   string
		many   int
		remove bool
		most   float64
	}{{"add one member", 1, false, 1.3}, {"remove one member", 1, true, 1.3}, {"add 1,000 members", 1000, false, 0}, {"remove 1,000 members", 1000, true, 0}} {
		measured := func(group string) *measurement {
			return &measurement{name: change.name, clients: 1, worker: func(int) (worker, error) {
				return large.memberChange(group, min(size, len(large.ids)-change.many), change.many, change.remove), nil
			}}
		}
		in100, inLarge := measured(usual), measured(biggest)
		read, err := rowsRead(ctx, large.instance.Database)
		if err != nil {
			return err
		}
		if err := s.inTurn(ctx, in100, inLarge); err != nil {
			return err
		}
		after, err := rowsRead(ctx, large.instance.Database)
		if err != nil {
			return err
		}
		ratio := float64(inLarge.percentile(0.5)) / float64(in100.percentile(0.5))
		wanted := ""
		if change.most > 0 {
			wanted = fmt.Sprintf("≤ %.1f ×", change.most) + s.verdict(ratio <= change.most)
		}
		per := func(m *measurement) string { // of the part that counts
			cost := m.percentile(0.5)
			return fmt.Sprintf("%s\t%s\t%s", perSecond(float64(time.Second)/float64(cost)), milliseconds(cost), milliseconds(m.percentile(0.99)))
		}
		s.line("%s\t%s\t%s\t%.2f\t%s\t", change.name, per(in100), per(inLarge), ratio, wanted)
		if written := after.written - read.written; written > 0 && change.remove {
			s.line("  rows of members read for each one that was added and removed: %.2f\t\t\t\t\t\t\t\t\t", float64(after.read-read.read)/float64(written))
		}
	}
	return nil
}

// rows are those of group_members that were read, and removed, so far.
type rows struct{ read, written int64 }

// rowsRead asks PostgreSQL, whose processes tell what they did when they have
// been idle for a second.
func rowsRead(ctx context.Context, url string) (r rows, err error) {
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return r, err
	}
	err = conn.QueryRow(ctx, `SELECT seq_tup_read + coalesce(idx_tup_fetch, 0), n_tup_del FROM pg_stat_user_tables WHERE relname = 'group_members'`).Scan(&r.read, &r.written)
	return r, closed(ctx, conn, err)
}

// memory watches the server while it sends the largest group.
func (s *scale) memory(ctx context.Context) error {
	pid := s.large.instance.PID()
	before, err := residentMemory(pid)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	w := &wire{address: s.large.address}
	defer w.close()
	begin := time.Now()
	go func() {
		done <- w.expect(ctx, s.large.request("GET", "/Groups/"+s.large.groups[0], ""), 200)
	}()
	most := before
	for {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			s.line("\nResident memory of the server: %.0f MB after the load, at most %.0f MB while it sends a group of %s members (%.1f MB in %s)%s.",
				before, most, thousands(s.largest()), float64(len(w.body))/1e6, time.Since(begin).Round(time.Millisecond), s.verdict(most < before+16))
			return nil
		case <-time.After(10 * time.Millisecond):
			now, err := residentMemory(pid)
			if err != nil {
				return err
			}
			most = max(most, now)
		}
	}
}

// peopleRate and memberRate are per second.
func (l loaded) peopleRate() float64 { return float64(l.people) / l.forPeople.Seconds() }

func (l loaded) memberRate() float64 { return float64(l.members) / l.forMemberships.Seconds() }

// lookUp measures the reading of one row by its key.
func (c *commits) lookUp(clients int) *measurement {
	return &measurement{name: "PostgreSQL: select by key", clients: clients, worker: func(int) (worker, error) {
		var keys []string
		return func(ctx context.Context) (time.Duration, error) {
			if keys == nil {
				found, err := c.pool.Query(ctx, "SELECT id FROM raw0 LIMIT 10000")
				if err != nil {
					return 0, err
				}
				if keys, err = pgx.CollectRows(found, pgx.RowTo[string]); err != nil {
					return 0, err
				}
			}
			var data string
			return 0, c.pool.QueryRow(ctx, "SELECT data FROM raw0 WHERE id = $1", keys[rand.IntN(len(keys))]).Scan(&data) //nolint:gosec // it picks rows
		}, nil
	}}
}
