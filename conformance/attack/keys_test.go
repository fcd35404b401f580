package attack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return check(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

// withKeys adds the application vault, which authenticates by the key, and chest,
// which does by another.
func withKeys(t *testing.T, key, other *ecdsa.PrivateKey) string {
	t.Helper()
	machine := func(id string, key *ecdsa.PrivateKey) string {
		set := check(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}}))(t)
		return "applications:\n- {client_id: " + id + ", type: machine, tenant: zeta, roles: [api], token_endpoint_auth_method: private_key_jwt, jwks: " + string(set) + "}\n"
	}
	file := strings.Replace(instanceFile, "applications:\n", machine("vault", key), 1)
	return strings.Replace(file, "applications:\n", machine("chest", other), 1)
}

// compact signs claims by the key.
func compact(t *testing.T, alg jose.SignatureAlgorithm, key any, options *jose.SignerOptions, claims map[string]any) string {
	t.Helper()
	signer := check(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options))(t)
	signed := check(signer.Sign(check(json.Marshal(claims))(t)))(t)
	return check(signed.CompactSerialize())(t)
}

func (g target) assertionClaims(id string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": id, "sub": id, "aud": g.URL, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
}

// form posts a form to a server, without any authentication of its own.
func form(t *testing.T, address string, values url.Values, headers ...string) *application.Answer {
	t.Helper()
	request := check(http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(values.Encode())))(t)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	return check(application.Do(request))(t)
}

func asserted(assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
}

// twoServers are two processes over one PostgreSQL.
func twoServers(t *testing.T, file string) (target, []string) {
	t.Helper()
	database := dbtest.Postgres(t)
	g := targetOf(instance.Start(t, database, file))
	second := instance.Prepare(t, database, "ROLECALL_PUBLIC_URL="+g.URL)
	check(second.Serve(t.Context()))(t)
	t.Cleanup(func() {
		if err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g, []string{g.URL, second.Address()}
}

// atOnce sends the same request to the servers in turn, many times at once, and
// returns how many were taken.
func atOnce(servers []string, send func(server string) int) (taken int32) {
	var count atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if send(servers[i%len(servers)]) == http.StatusOK {
				count.Add(1)
			}
		})
	}
	all.Wait()
	return count.Load()
}

// TestAssertionReplayOnTwoServers: one assertion is one authentication (fosite
// 2020-15222), also where two servers are sent it at the same time.
func TestAssertionReplayOnTwoServers(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	g, servers := twoServers(t, withKeys(t, key, newKey(t)))
	assertion := compact(t, jose.ES256, key, nil, g.assertionClaims("vault"))
	taken := atOnce(servers, func(server string) int {
		return form(t, server+application.TokenPath, asserted(assertion)).Status
	})
	if taken != 1 {
		t.Errorf("one assertion was taken %d times", taken)
	}
	for _, server := range servers {
		wantError(t, "later, at "+server, form(t, server+application.TokenPath, asserted(assertion)), http.StatusUnauthorized, "invalid_client")
	}
}

// TestForgedAssertions: keys of others, no signature, and the public key as a
// shared one (RFC 8725 §2.1).
func TestForgedAssertions(t *testing.T) {
	key, other := newKey(t), newKey(t)
	t.Parallel()
	g := targetOf(instance.Start(t, "", withKeys(t, key, other)))
	public := check(json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: "k"}))(t)
	payload := check(json.Marshal(g.assertionClaims("vault")))(t)
	encode := base64.RawURLEncoding.EncodeToString
	for what, assertion := range map[string]string{
		"another application's key": compact(t, jose.ES256, other, nil, g.assertionClaims("vault")),
		"a key in the header":       compact(t, jose.ES256, newKey(t), &jose.SignerOptions{EmbedJWK: true}, g.assertionClaims("vault")),
		"HS256 with the public key": compact(t, jose.HS256, public, nil, g.assertionClaims("vault")),
		"HS256 with its point":      compact(t, jose.HS256, elliptic.Marshal(elliptic.P256(), key.X, key.Y), nil, g.assertionClaims("vault")), //nolint:staticcheck // what an attacker would do
		"alg none":                  encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + ".",
		"alg None":                  encode([]byte(`{"alg":"None"}`)) + "." + encode(payload) + ".",
		"keys at a jku":             compact(t, jose.ES256, other, (&jose.SignerOptions{}).WithHeader("jku", "https://evil.example/jwks"), g.assertionClaims("vault")),
		"crit":                      compact(t, jose.ES256, key, (&jose.SignerOptions{}).WithHeader("crit", []string{"x"}).WithHeader("x", 1), g.assertionClaims("vault")),
		"of another application":    compact(t, jose.ES256, other, nil, g.assertionClaims("chest")) + "x",
		"large":                     strings.Repeat("a", 40<<10) + ".b.c",
	} {
		wantError(t, what, form(t, g.URL+application.TokenPath, asserted(assertion)), http.StatusUnauthorized, "invalid_client")
	}
	must(t, "the application itself", form(t, g.URL+application.TokenPath, asserted(compact(t, jose.ES256, key, nil, g.assertionClaims("vault")))), http.StatusOK)
}

// prove is a DPoP proof.
func prove(t *testing.T, key *ecdsa.PrivateKey, method, address, token string) string {
	t.Helper()
	claims := map[string]any{"htm": method, "htu": address, "iat": time.Now().Unix(), "jti": rand.Text()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return compact(t, jose.ES256, key, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"), claims)
}

// TestStolenBoundToken: who has a token that is bound to a key, and a proof that
// was seen on its way, gets nothing at any of our endpoints (RFC 9449 §11.1).
func TestStolenBoundToken(t *testing.T) {
	t.Parallel()
	key, thief := newKey(t), newKey(t)
	g, servers := twoServers(t, withKeys(t, key, newKey(t)))
	proof := prove(t, key, http.MethodPost, g.URL+application.TokenPath, "")
	assertion := compact(t, jose.ES256, key, nil, g.assertionClaims("vault"))
	issued := must(t, "the token", form(t, g.URL+application.TokenPath, asserted(assertion), "DPoP: "+proof), http.StatusOK)
	access := issued.String("access_token")
	if issued.String("token_type") != "DPoP" {
		t.Fatalf("got %s", issued.Raw)
	}
	claims := check(application.Claims(access))(t)
	sum := check((&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256))(t)
	if cnf, _ := claims["cnf"].(map[string]any); cnf["jkt"] != base64.RawURLEncoding.EncodeToString(sum) {
		t.Errorf("cnf is %v", claims["cnf"])
	}
	again := compact(t, jose.ES256, key, nil, g.assertionClaims("vault"))
	wantError(t, "the proof again", form(t, servers[1]+application.TokenPath, asserted(again), "DPoP: "+proof), http.StatusBadRequest, "invalid_dpop_proof")

	const path = "/api/v1/tenants/zeta"
	ask := func(server, scheme, proof string) *application.Answer {
		headers := []string{"Authorization: " + scheme + " " + access}
		if proof != "" {
			headers = append(headers, "DPoP: "+proof)
		}
		return g.do(t, http.MethodGet, server+path, "", headers...)
	}
	seen := prove(t, key, http.MethodGet, g.URL+path, access)
	taken := atOnce(servers, func(server string) int { return ask(server, "DPoP", seen).Status })
	if taken != 1 {
		t.Errorf("one proof was taken %d times", taken)
	}
	for what, got := range map[string]*application.Answer{
		"as a bearer token":         ask(g.URL, "Bearer", ""),
		"as one, with a proof":      ask(g.URL, "Bearer", prove(t, key, http.MethodGet, g.URL+path, access)),
		"without a proof":           ask(g.URL, "DPoP", ""),
		"with the thief's key":      ask(g.URL, "DPoP", prove(t, thief, http.MethodGet, g.URL+path, access)),
		"with one for elsewhere":    ask(g.URL, "DPoP", prove(t, key, http.MethodGet, g.URL+"/api/v1/me", access)),
		"with one for no token":     ask(g.URL, "DPoP", prove(t, key, http.MethodGet, g.URL+path, "")),
		"at SCIM, as a bearer's":    g.do(t, http.MethodGet, "/t/zeta/scim/v2/Users", "", "Authorization: Bearer "+access),
		"at SCIM, alone":            g.do(t, http.MethodGet, "/t/zeta/scim/v2/Users", "", "Authorization: "+access),
		"at AuthZEN, as a bearer's": g.do(t, http.MethodPost, "/access/v1/evaluation", "{}", "Authorization: Bearer "+access, "Content-Type: application/json"),
	} {
		if got.Status != http.StatusUnauthorized {
			t.Errorf("%s: got %d %.200s", what, got.Status, got.Raw)
		}
	}
	if got := ask(servers[1], "DPoP", prove(t, key, http.MethodGet, g.URL+path, access)); got.Status != http.StatusOK {
		t.Errorf("its owner gets %d %.200s", got.Status, got.Raw)
	}
}

// TestForeignPushedRequest: a request that one application has pushed is nothing
// to another, and nothing that the browser brings changes it.
func TestForeignPushedRequest(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		request := g.shop.Request("openid")
		pushed := must(t, "push", check(g.shop.Post(t.Context(), "/oauth2/par", request.Parameters))(t), http.StatusCreated)
		query := func(id string) string {
			return "/oauth2/authorize?" + url.Values{"client_id": {id}, "request_uri": {pushed.String("request_uri")}, "redirect_uri": {g.till.RedirectURI}, "scope": {"openid profile"}}.Encode()
		}
		b := g.browser(t)
		if page := check(b.Get(t.Context(), query("till")))(t); page.Left != nil || page.Status < 400 {
			t.Errorf("another application's: %d, leaving for %v", page.Status, page.Left)
		}
		callback, _, err := b.SignIn(t.Context(), query("shop"), vera)
		if err != nil || !strings.HasPrefix(callback.String(), g.shop.RedirectURI) {
			t.Fatalf("%v, %v", callback, err)
		}
		wantError(t, "another application's code", check(g.till.Redeem(t.Context(), request, callback.Query().Get("code")))(t), http.StatusBadRequest, "invalid_grant")
		if got := check(g.shop.Redeem(t.Context(), request, callback.Query().Get("code")))(t); got.Status != http.StatusOK || got.String("scope") != "openid" {
			t.Errorf("got %d %s", got.Status, got.Raw)
		}
	})
}

// TestPKCEDowngradeOfPushedRequests: neither can the challenge be taken out on the
// way, nor the verifier be left out at the end (authentik CVE-2024-23647).
func TestPKCEDowngradeOfPushedRequests(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		request := g.shop.Request("openid")
		wantError(t, "without a challenge", check(g.shop.Post(t.Context(), "/oauth2/par", without(request.Parameters, "code_challenge")))(t), http.StatusBadRequest, "invalid_request")
		pushed := must(t, "push", check(g.shop.Post(t.Context(), "/oauth2/par", request.Parameters))(t), http.StatusCreated)
		address := "/oauth2/authorize?" + url.Values{"client_id": {"shop"}, "request_uri": {pushed.String("request_uri")}, "code_challenge": {""}, "code_challenge_method": {"plain"}}.Encode()
		callback, _, err := g.browser(t).SignIn(t.Context(), address, vera)
		if err != nil {
			t.Fatal(err)
		}
		request.Verifier = ""
		wantError(t, "without a verifier", check(g.shop.Redeem(t.Context(), request, callback.Query().Get("code")))(t), http.StatusBadRequest, "invalid_grant")
	})
}

func without(parameters url.Values, name string) url.Values {
	rest := url.Values{}
	for n, values := range parameters {
		if n != name {
			rest[n] = values
		}
	}
	return rest
}
