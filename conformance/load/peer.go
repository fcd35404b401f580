package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/peer"
)

// beside is a run that measures the endpoints of OpenID Connect, and in the same
// rounds those of npm's oidc-provider. That one is a single process with its
// state in memory; ours keeps all of it in PostgreSQL.
type beside struct {
	*bench
	peer *peer.Provider
	rows [][]string
}

// compared is one operation at both.
type compared struct {
	name        string
	ours, other *measurement
	least       float64 // of the ratio; 0: none
}

func (b *beside) start(ctx context.Context) (err error) {
	if err := b.bench.start(ctx); err != nil {
		return err
	}
	hash := passwordHash()
	if _, err := b.instance.Apply(ctx, signInFile(hash, b.clients, 0)); err != nil {
		return err
	}
	client := func(id, secret, format string, grants ...string) peer.Client {
		c := peer.Client{"client_id": id, "client_secret": secret, "access_token": format, "grant_types": grants, "response_types": []string{}, "redirect_uris": []string{}, "id_token_signed_response_alg": "ES256"}
		if grants[0] == "authorization_code" {
			c["response_types"], c["redirect_uris"] = []string{"code"}, []string{redirectURI}
		}
		return c
	}
	rsa := client(rsaID, rsaSecret, "jwt", "client_credentials")
	rsa["access_token_signed_response_alg"] = "RS256"
	b.peer, err = peer.Start(ctx, peer.Person{ID: "ann", Name: "Ann Berg", Email: email, PasswordHash: hash},
		client(machineID, machineSecret, "jwt", "client_credentials"), rsa, client(opaqueID, opaqueSecret, "opaque", "client_credentials"),
		client(webID, webSecret, "opaque", "authorization_code", "refresh_token"))
	return err
}

func (b *beside) close() error {
	if b.peer != nil {
		if err := b.peer.Stop(); err != nil {
			return err
		}
	}
	return b.bench.close()
}

// operationAt is what is measured at both.
type operationAt struct {
	name  string
	least float64 // of the ratio; 0: none
	of    func(ctx context.Context, p provider) (*measurement, error)
}

func (b *beside) operations() []operationAt {
	return []operationAt{
		{"discovery", 4, func(_ context.Context, p provider) (*measurement, error) {
			return p.gets("discovery", "/.well-known/openid-configuration", b.clients), nil
		}},
		{"JWKS", 4, func(_ context.Context, p provider) (*measurement, error) {
			return p.gets("JWKS", "/oauth2/keys", b.clients), nil
		}},
		{signedCredentials, 2.5, func(_ context.Context, p provider) (*measurement, error) {
			return p.clientCredentials(signedCredentials, machineID, machineSecret, b.clients), nil
		}},
		{rsaCredentials, 0, func(_ context.Context, p provider) (*measurement, error) {
			return p.clientCredentials(rsaCredentials, rsaID, rsaSecret, b.clients), nil
		}},
		{"client_credentials, opaque", 0, func(_ context.Context, p provider) (*measurement, error) {
			return p.clientCredentials("client_credentials, opaque", opaqueID, opaqueSecret, b.clients), nil
		}},
		{"introspection of an opaque token", 1.5, func(ctx context.Context, p provider) (*measurement, error) {
			return p.introspection(ctx, "introspection of an opaque token", opaqueID, opaqueSecret, b.clients)
		}},
		{"userinfo", 1.5, func(ctx context.Context, p provider) (*measurement, error) { return p.userInfo(ctx, b.clients), nil }},
		{"refresh", 0.8, func(ctx context.Context, p provider) (*measurement, error) { return p.refresh(ctx, b.clients), nil }},
		{passwordFlow, 0, func(_ context.Context, p provider) (*measurement, error) { return p.signIns(b.clients), nil }},
	}
}

// run measures everything and prints the table.
func (b *beside) run(ctx context.Context, stdout io.Writer) error {
	begin := time.Now()
	debug.SetGCPercent(400) // as the server does: the limit of hashing is to be no worse off
	if err := b.start(ctx); err != nil {
		return err
	}
	r, err := b.heading(ctx)
	if err != nil {
		return err
	}
	r.heading[2] = fmt.Sprintf("%d clients with keep-alive, %d × %s each in turn, medians; oidc-provider: one process, state in memory", b.clients, b.rounds, b.window)
	both := [2]provider{providerAt(b.instance.URL, "openid profile email tenant:main", "rolecall_session"), providerAt(b.peer.Issuer, "openid profile email", "_session", "_session.sig")}
	var all []*measurement
	var pairs []compared
	var limit, logins *measurement // of hashing, and what hashes
	for _, o := range b.operations() {
		if !strings.Contains(o.name, b.only) {
			continue
		}
		pair := compared{name: o.name, least: o.least}
		for i, into := range []**measurement{&pair.ours, &pair.other} {
			m, err := o.of(ctx, both[i])
			if err != nil {
				return err
			}
			*into = m
			all = append(all, m)
		}
		if o.name == passwordFlow {
			limit, logins = hashes(), pair.ours
			all = append(all, limit)
		}
		pairs = append(pairs, pair)
	}
	if err := b.inTurn(ctx, all...); err != nil {
		return err
	}
	for _, pair := range pairs {
		// What is asked for at 70 % of what it can do.
		at := &measurement{name: pair.name + " at 70 %", clients: b.clients, worker: pair.ours.worker, workers: pair.ours.workers, pace: time.Duration(float64(b.clients) / (0.7 * pair.ours.rate()) * float64(time.Second))}
		if err := b.inTurn(ctx, at); err != nil {
			return err
		}
		b.row(r, pair, at)
	}
	if limit != nil {
		ratio := logins.to(limit)
		r.note("Argon2id alone with %d KiB and %d passes, on all processors: %s a second. The %s does %.0f %% of it, ≥ 70 %% wanted: %s.",
			hashMemory, hashPasses, perSecond(limit.rate()), passwordFlow, ratio*100, r.verdict(ratio >= 0.70))
	}
	if err := b.startAndRest(ctx, r); err != nil {
		return err
	}
	r.note("The run took %s. %d short of what is expected.", time.Since(begin).Round(time.Second), r.short)
	lines := append(r.heading, "", "measured\tper second\tp50\tp99\toidc-provider\tratio\texpected\t\tp99 at 70 % of the load\texpected\t")
	for _, row := range b.rows {
		lines = append(lines, strings.Join(row, "\t"))
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(append(append(lines, ""), r.notes...), "\n")+"\n"); err != nil {
		return err
	}
	return table.Flush()
}

// longestAtPartLoad is what the slowest hundredth may take at 70 % of the load.
const longestAtPartLoad = 50 * time.Millisecond

func (b *beside) row(r *report, pair compared, at *measurement) {
	ratio, p99 := pair.ours.to(pair.other), at.percentile(0.99)
	wanted, verdict := "", ""
	if pair.least > 0 {
		wanted, verdict = fmt.Sprintf("≥ %.1f ×", pair.least), r.verdict(ratio >= pair.least)
	}
	b.rows = append(b.rows, []string{
		pair.name, perSecond(pair.ours.rate()), milliseconds(pair.ours.percentile(0.5)), milliseconds(pair.ours.percentile(0.99)), perSecond(pair.other.rate()),
		fmt.Sprintf("%.1f ×", ratio), wanted, verdict, milliseconds(p99), "≤ 50 ms", r.verdict(p99 <= longestAtPartLoad),
	})
}

// startAndRest measures what a process takes to begin on a database that is there,
// and what it holds when nobody asks for anything.
func (b *beside) startAndRest(ctx context.Context, r *report) error {
	start, resident, err := b.restarts(ctx)
	if err != nil {
		return err
	}
	r.note("Start of the process to the first discovery document: %.0f ms, ≤ 150 wanted: %s.", start*1000, r.verdict(start <= 0.150))
	own, err := memory(b.instance.PID(), "RssAnon")
	if err != nil {
		return err
	}
	r.note("Resident memory, idle for %s: %.0f MB, ≤ 45 wanted: %s. %.0f MB of it are the server's own, the rest is the program's file.", idle, resident, r.verdict(resident <= 45), own)
	return nil
}

// gets reads one document again and again.
func (p provider) gets(name, path string, clients int) *measurement {
	sent := request(http.MethodGet, p.address, path, "")
	return &measurement{name: name, clients: clients, worker: func(int) (worker, error) {
		w := &wire{address: p.address}
		return func(ctx context.Context) (time.Duration, error) { return 0, w.expect(ctx, sent, http.StatusOK) }, nil
	}}
}

// userInfo asks who has a token, each client with the token of a sign-in of its own.
func (p provider) userInfo(ctx context.Context, clients int) *measurement {
	return &measurement{name: "userinfo", clients: clients, worker: func(int) (worker, error) {
		tokens, err := p.signIn(ctx)
		if err != nil {
			return nil, err
		}
		sent := request(http.MethodGet, p.address, application.UserInfoPath, "", "Authorization: Bearer "+tokens.String("access_token"))
		w := &wire{address: p.address}
		return func(ctx context.Context) (time.Duration, error) {
			if err := w.expect(ctx, sent, http.StatusOK); err != nil {
				return 0, err
			}
			var claims struct{ Email string }
			if err := json.Unmarshal(w.body, &claims); err != nil || claims.Email != email {
				return 0, fmt.Errorf("not the person: %.300s", w.body)
			}
			return 0, nil
		}, nil
	}}
}
