package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
)

// provider is the OpenID provider under load.
type provider struct {
	issuer, address string
	scope           string   // that people sign in with
	session         []string // cookies by which a browser is signed in
}

// providerAt returns the provider of that issuer.
func providerAt(issuer, scope string, session ...string) provider {
	return provider{issuer, strings.TrimPrefix(issuer, "http://"), scope, session}
}

// The applications and the person of [instanceFile].
const (
	machineID, machineSecret = "machine", "machine-secret-8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2"
	rsaID, rsaSecret         = "rsa", "rsa-secret-Kx2LwNfHc8Yd5RzGa4Pb6Je1Qm3vX9sT7"    //nolint:gosec // of an instance that lives as long as the run
	opaqueID, opaqueSecret   = "opaque", "opaque-secret-Rz5Ga4Pb6Je1Qm3vX9sT7kLw2NfHc8" //nolint:gosec // see above
	webID, webSecret         = "web", "web-secret-Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6"     //nolint:gosec // see above
	redirectURI              = "http://127.0.0.1:9/callback"
	email, password          = "ann@bench.example", "correct horse battery staple"
)

func (p provider) request(path, id, secret string, form url.Values) []byte {
	credentials := base64.StdEncoding.EncodeToString([]byte(id + ":" + secret))
	return request(http.MethodPost, p.address, path, form.Encode(),
		"Content-Type: application/x-www-form-urlencoded", "Authorization: Basic "+credentials)
}

const (
	signedCredentials = "client_credentials, signed (ES256)"
	rsaCredentials    = "client_credentials, signed (RS256)"
	passwordFlow      = "code flow with a password"
)

// clientCredentials gets tokens for an application that acts for itself.
func (p provider) clientCredentials(name, id, secret string, clients int) *measurement {
	sent := p.request(application.TokenPath, id, secret, url.Values{"grant_type": {"client_credentials"}})
	return &measurement{name: name, clients: clients, worker: func(int) (worker, error) {
		w := &wire{address: p.address}
		return func(ctx context.Context) (time.Duration, error) { return 0, w.expect(ctx, sent, http.StatusOK) }, nil
	}}
}

// introspection asks about one token of the application again and again.
func (p provider) introspection(ctx context.Context, name, id, secret string, clients int) (*measurement, error) {
	app := application.Application{Issuer: p.issuer, ClientID: id, Secret: secret}
	answer, err := app.Post(ctx, application.TokenPath, url.Values{"grant_type": {"client_credentials"}})
	if err != nil {
		return nil, err
	}
	token := answer.String("access_token")
	if token == "" {
		return nil, fmt.Errorf("client_credentials for %s: %d %s", id, answer.Status, answer.Raw)
	}
	sent := p.request(application.IntrospectPath, id, secret, url.Values{"token": {token}})
	return &measurement{name: name, clients: clients, worker: func(int) (worker, error) {
		w := &wire{address: p.address}
		return func(ctx context.Context) (time.Duration, error) {
			if err := w.expect(ctx, sent, http.StatusOK); err != nil {
				return 0, err
			}
			var introspection struct{ Active bool }
			if err := json.Unmarshal(w.body, &introspection); err != nil || !introspection.Active {
				return 0, errors.Join(fmt.Errorf("not active: %.300s", w.body), err)
			}
			return 0, nil
		}, nil
	}}, nil
}

// signIn signs the person in, in a browser of its own.
func (p provider) signIn(ctx context.Context) (*application.Answer, error) {
	b, err := browser.New(p.issuer)
	if err != nil {
		return nil, err
	}
	app := application.Application{Issuer: p.issuer, ClientID: webID, Secret: webSecret, RedirectURI: redirectURI}
	return app.SignIn(ctx, b, p.scope, browser.Person{Login: email, Password: password})
}

// refresh rotates one chain of refresh tokens for each client, each from a
// sign-in of its own.
func (p provider) refresh(ctx context.Context, clients int) *measurement {
	return &measurement{name: "refresh, two signatures (ES256)", clients: clients, worker: func(int) (worker, error) {
		tokens, err := p.signIn(ctx)
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

// signIns signs people in with a password, from the application's request to its
// tokens. Each client is a person of its own in a browser that is known.
func (p provider) signIns(clients int) *measurement {
	app := application.Application{Issuer: p.issuer, ClientID: webID, Secret: webSecret, RedirectURI: redirectURI}
	return &measurement{name: passwordFlow, clients: clients, worker: func(n int) (worker, error) {
		b, err := browser.New(p.issuer)
		person := browser.Person{Login: clientEmail(n), Password: password}
		return func(ctx context.Context) (time.Duration, error) {
			for _, name := range p.session { // signed out; what the browser is known by stays
				b.SetCookie(name, "")
			}
			_, err := app.SignIn(ctx, b, p.scope, person)
			return 0, err
		}, err
	}}
}
