package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

// instanceFile is what the instance under load holds before its people.
const instanceFile = `
tenants:
- {slug: main, name: Main, connections: [{name: load, token: ` + mainToken + `}]}
- {slug: large, name: Large, connections: [{name: load, token: ` + largeToken + `}]}
users:
- email: ` + email + `
  name: {given: Ann, family: Berg}
  password: ` + password + `
  memberships: [{tenant: main, roles: [member], status: active}]
applications:
- {client_id: ` + machineID + `, name: Machine, type: machine, tenant: main, roles: [api], secret: ` + machineSecret + `, access_token: jwt}
- {client_id: ` + rsaID + `, name: RSA, type: machine, tenant: main, roles: [api], secret: ` + rsaSecret + `, access_token: jwt, access_token_signed_response_alg: RS256}
- {client_id: ` + opaqueID + `, name: Opaque, type: machine, tenant: main, roles: [api], secret: ` + opaqueSecret + `, access_token: opaque}
- {client_id: ` + webID + `, name: Web, type: web, secret: ` + webSecret + `, redirect_uris: ["` + redirectURI + `"], access_token: jwt}
`

// The tokens of the connections: the instance lives as long as the run.
const (
	mainToken  = "rcs-main-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"  //nolint:gosec // see above
	largeToken = "rcs-large-Zt5uK1nB8mVx3CqWe7Hs4DjLf9Ga2Ry6" //nolint:gosec // see above
)

// bench is one run.
type bench struct {
	settings
	dir      string
	progress io.Writer

	postgres *dbtest.Server
	raw      *rawServer
	commits  *commits
	instance *instance.Instance
}

// start brings up PostgreSQL, the raw handlers and the instance.
func (b *bench) start(ctx context.Context) (err error) {
	if b.postgres, err = dbtest.StartPostgres(ctx, dbtest.Options{Durable: true}); err != nil {
		return err
	}
	rawURL, err := b.postgres.CreateDatabase(ctx, "raw", "")
	if err != nil {
		return err
	}
	if b.commits, err = openCommits(ctx, rawURL, b.clients); err != nil {
		return err
	}
	if b.raw, err = startRaw(ctx); err != nil {
		return err
	}
	database, err := b.postgres.CreateDatabase(ctx, "rolecall", "")
	if err != nil {
		return err
	}
	binary, err := instance.Build(ctx, b.dir)
	if err != nil {
		return err
	}
	if b.instance, err = instance.New(binary, b.dir, database, "ROLECALL_LOG_LEVEL=warn"); err != nil {
		return err
	}
	if err := b.instance.Migrate(ctx); err != nil {
		return err
	}
	if _, err := b.instance.Apply(ctx, instanceFile); err != nil {
		return err
	}
	_, err = b.instance.Serve(ctx)
	return err
}

func (b *bench) close() error {
	var problems []error
	if b.instance != nil {
		problems = append(problems, b.instance.Stop())
	}
	if b.raw != nil {
		problems = append(problems, b.raw.stop())
	}
	if b.commits != nil {
		b.commits.pool.Close()
	}
	if b.postgres != nil {
		problems = append(problems, b.postgres.Stop())
	}
	return errors.Join(problems...)
}

// run measures everything and prints the table.
func (b *bench) run(ctx context.Context, stdout io.Writer) error {
	begin := time.Now()
	if err := b.start(ctx); err != nil {
		return err
	}
	report, err := b.heading(ctx)
	if err != nil {
		return err
	}
	address := strings.TrimPrefix(b.instance.URL, "http://")
	oidc := providerAt(b.instance.URL, "openid profile tenant:main")
	people := newSCIM(address, "main", mainToken)
	large := newSCIM(address, "large", largeToken)
	if err := b.fill(ctx, people, b.people); err != nil {
		return err
	}
	if err := b.requests(ctx, report, people, large, oidc); err != nil {
		return err
	}
	if err := b.decisions(ctx, report, oidc); err != nil {
		return err
	}
	if err := b.members(ctx, report, large); err != nil {
		return err
	}
	if err := b.process(ctx, report); err != nil {
		return err
	}
	report.note("The run took %s.", time.Since(begin).Round(time.Second))
	return report.print(stdout)
}

// say reports progress, which nobody may be listening to.
func (b *bench) say(format string, args ...any) { _, _ = fmt.Fprintf(b.progress, format, args...) }

// fill creates the people of a tenant through SCIM.
func (b *bench) fill(ctx context.Context, s *scim, people int) error {
	b.say("%s: %s people through SCIM ... ", s.base, thousands(people))
	begin := time.Now()
	if err := s.fill(ctx, people, b.clients); err != nil {
		return err
	}
	b.say("%s\n", time.Since(begin).Round(100*time.Millisecond))
	return analyze(ctx, b.instance.Database)
}

// requests measures what goes on all day, in an instance of the usual size.
func (b *bench) requests(ctx context.Context, report *report, people, large *scim, provider provider) error {
	three := b.commits.measurement("PostgreSQL: transaction of three inserts", 3, b.clients)
	one := b.commits.measurement("PostgreSQL: one insert", 1, b.clients)
	signing := b.raw.requests("gin and one ES256 signature", "/signature", b.clients)
	bare := b.raw.requests("gin and a small JSON", "/json", b.clients)
	pure := signatures(runtime.GOMAXPROCS(0))

	// They go to the other tenant, so that this one keeps its size.
	creation, lookUp := large.creation(b.clients), people.lookUp(b.clients)
	credentials := provider.clientCredentials(signedCredentials, machineID, machineSecret, b.clients)
	refresh := provider.refresh(ctx, b.clients)
	signed, err := provider.introspection(ctx, "introspection of a signed token", machineID, machineSecret, b.clients)
	if err != nil {
		return err
	}
	opaque, err := provider.introspection(ctx, "introspection of an opaque token", opaqueID, opaqueSecret, b.clients)
	if err != nil {
		return err
	}
	err = b.inTurn(ctx, creation, three, refresh, one, lookUp, pure, credentials, signing, signed, bare, opaque)
	if err != nil {
		return err
	}
	report.rate(creation, three, 0.40)
	report.rate(lookUp, bare, 0)
	report.rate(credentials, signing, 0.40)
	report.rate(credentials, pure, 0)
	report.rate(refresh, three, 0)
	report.rate(refresh, one, 0)
	report.rate(signed, bare, 0.25)
	report.rate(opaque, bare, 0.25)
	return nil
}

// inTurn measures each in every round, so that the machine's drift meets all.
func (b *bench) inTurn(ctx context.Context, measurements ...*measurement) error {
	for round := range b.rounds {
		for _, m := range measurements {
			if err := m.run(ctx, b.window); err != nil {
				return err
			}
			b.say("round %d: %-44s %10.0f/s\n", round+1, m.name, m.rates[len(m.rates)-1])
		}
	}
	return nil
}

// members measures what a change of a group costs by the group's size, all in
// the tenant that has the most people.
func (b *bench) members(ctx context.Context, report *report, s *scim) error {
	const strangers = 100 // in none of the groups
	if err := b.fill(ctx, s, b.large+strangers); err != nil {
		return err
	}
	three := b.commits.measurement("PostgreSQL: transaction of three inserts", 3, 1)
	var groups []*changedGroup
	for _, size := range slices.Compact([]int{100, min(10_000, b.large), b.large}) {
		begin := time.Now()
		id, err := s.group(ctx, fmt.Sprintf("group of %d", size), size)
		if err != nil {
			return err
		}
		b.say("group of %s, 1,000 members a request: %s\n", thousands(size), time.Since(begin).Round(time.Millisecond))
		groups = append(groups, &changedGroup{id: id, size: size})
	}
	if err := analyze(ctx, b.instance.Database); err != nil {
		return err
	}
	additions := s.additions(groups)
	if err := b.inTurn(ctx, three, additions); err != nil {
		return err
	}
	for _, group := range groups {
		report.addition(group, three)
	}
	report.flat(groups[0], groups[len(groups)-1], 1.3)
	return nil
}

// process measures start-up and memory with all these people in the database.
func (b *bench) process(ctx context.Context, report *report) error {
	loaded, err := residentMemory(b.instance.PID())
	if err != nil {
		return err
	}
	start, resident, err := b.restarts(ctx)
	if err != nil {
		return err
	}
	report.below("start of the process to the first discovery document", start*1000, "ms", 500)
	report.below(fmt.Sprintf("resident memory, idle for %s", idle), resident, "MB", 60)
	report.note("Resident memory after the load: %.0f MB.", loaded)
	return nil
}

// idle is how long nobody asks an instance for anything before its memory is read.
const idle = 5 * time.Second

// restarts starts the instance anew several times. It returns how long that takes,
// in seconds, and the memory in MB that an idle one holds.
func (b *bench) restarts(ctx context.Context) (start, resident float64, err error) {
	var starts []float64
	for range 5 {
		if err := b.instance.Stop(); err != nil {
			return 0, 0, err
		}
		start, err := b.instance.Serve(ctx)
		if err != nil {
			return 0, 0, err
		}
		starts = append(starts, start.Seconds())
	}
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	resident, err = residentMemory(b.instance.PID())
	return median(starts), resident, err
}

// residentMemory reads in MB what is resident of a process.
func residentMemory(pid int) (float64, error) { return memory(pid, "VmRSS") }

// memory reads an amount of /proc/PID/status, in MB (Linux).
func memory(pid int, name string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), name+":")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0, fmt.Errorf("/proc tells no %s", name)
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib * 1024 / 1e6, err
}
