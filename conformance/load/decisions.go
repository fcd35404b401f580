package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
)

// The person who is a member of many tenants.
const (
	manyEmail   = "many@bench.example"
	manyTenants = 1000
)

// decisionsFile adds to [instanceFile] a person with many memberships, and
// another whose role in one tenant reaches a second.
func decisionsFile() string {
	var file, memberships strings.Builder
	file.WriteString("tenants:\n- {slug: hub, name: Hub, blueprint: emnify}\n- {slug: spoke, name: Spoke, blueprint: emnify, relations: {link: hub}}\n")
	for n := range manyTenants {
		fmt.Fprintf(&file, "- {slug: many-%d, name: Many %d}\n", n, n)
		fmt.Fprintf(&memberships, ", {tenant: many-%d, roles: [member], status: active}", n)
	}
	fmt.Fprintf(&file, `users:
- {email: reaching@bench.example, memberships: [{tenant: hub, roles: [superadmin], status: active}]}
- {email: %s, password: %s, memberships: [%s]}
`, manyEmail, password, strings.TrimPrefix(memberships.String(), ", "))
	return file.String()
}

// evaluation asks for a decision (AuthZEN 1.0 §6) as an application of the
// instance, about the tenants in turn.
func (p provider) evaluation(name, subject, permission, about string, tenants []string, clients int) *measurement {
	credentials := base64.StdEncoding.EncodeToString([]byte(webID + ":" + webSecret))
	sent := make([][]byte, len(tenants))
	for i, tenant := range tenants {
		sent[i] = request(http.MethodPost, p.address, "/access/v1/evaluation", fmt.Sprintf(
			`{"subject":{"type":"user","id":%q},"action":{"name":%q},"resource":{"type":"tenant","id":%q}%s}`, subject, permission, tenant, about),
			"Content-Type: application/json", "Authorization: Basic "+credentials)
	}
	return &measurement{name: name, clients: clients, worker: func(n int) (worker, error) {
		w := &wire{address: p.address}
		return func(ctx context.Context) (time.Duration, error) {
			n++
			if err := w.expect(ctx, sent[n%len(sent)], http.StatusOK); err != nil {
				return 0, err
			}
			if !bytes.HasPrefix(w.body, []byte(`{"decision":true`)) {
				return 0, fmt.Errorf("no decision for: %.300s", w.body)
			}
			return 0, nil
		}, nil
	}}
}

// manyToken refreshes the tokens of the person with many memberships, with all
// that can be said of them.
func (p provider) manyToken() *measurement {
	name := fmt.Sprintf("tokens of a person with %s memberships (1 client)", thousands(manyTenants))
	return &measurement{name: name, clients: 1, worker: func(int) (worker, error) {
		b, err := browser.New(p.issuer)
		if err != nil {
			return nil, err
		}
		app := application.Application{Issuer: p.issuer, ClientID: webID, Secret: webSecret, RedirectURI: redirectURI}
		tokens, err := app.SignIn(context.Background(), b, "openid permissions groups tenants tenant:many-7", browser.Person{Login: manyEmail, Password: password})
		if err != nil {
			return nil, err
		}
		w, token := &wire{address: p.address}, tokens.String("refresh_token")
		return func(ctx context.Context) (time.Duration, error) {
			sent := p.request(application.TokenPath, webID, webSecret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
			if err := w.expect(ctx, sent, http.StatusOK); err != nil {
				return 0, err
			}
			var answer struct {
				RefreshToken string `json:"refresh_token"`
			}
			err := json.Unmarshal(w.body, &answer)
			token = answer.RefreshToken
			return 0, err
		}, nil
	}}
}

// decisions measures decisions from live state, and what they cost a token.
func (b *bench) decisions(ctx context.Context, report *report, provider provider) error {
	begin := time.Now()
	if _, err := b.instance.Apply(ctx, decisionsFile()); err != nil {
		return err
	}
	b.say("%s tenants and memberships of one person: %s\n", thousands(manyTenants), time.Since(begin).Round(time.Millisecond))
	if err := analyze(ctx, b.instance.Database); err != nil {
		return err
	}
	tenants := make([]string, manyTenants)
	for n := range tenants {
		tenants[n] = fmt.Sprintf("many-%d", n)
	}
	spoke, reaching := []string{"spoke"}, "reaching@bench.example"
	bare := b.raw.requests("gin and a small JSON", "/json", b.clients)
	single := b.commits.measurement("PostgreSQL: one insert (1 client)", 1, 1)
	home := provider.evaluation("AuthZEN: evaluation, one tenant", email, "me.read", "", []string{"main"}, b.clients)
	many := provider.evaluation("AuthZEN: evaluation, the same in 1,000 tenants in turn", manyEmail, "me.read", "", tenants, b.clients)
	reached := provider.evaluation("AuthZEN: evaluation, by a role held in another tenant", reaching, "users.update", "", spoke, b.clients)
	explained := provider.evaluation("AuthZEN: evaluation, the same with its explanation", reaching, "users.update", `,"context":{"explain":true}`, spoke, b.clients)
	token := provider.manyToken()
	if err := b.inTurn(ctx, bare, home, many, reached, explained, single, token); err != nil {
		return err
	}
	for _, m := range []*measurement{home, reached, many, explained} {
		report.rate(m, bare, 0)
	}
	report.rate(token, single, 0)
	return nil
}
