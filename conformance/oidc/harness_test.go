package oidc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
)

//go:embed seed.yaml
var seed string

//go:embed fapi2.yaml
var fapi2Seed string

// scimToken is the seed's, by which the person gets a phone number and an address.
const scimToken = "rcs-conformance-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"

// client is one of the seed's applications.
type client struct{ id, secret string }

var (
	client1    = client{"suite-1", "suite-1-secret-for-conformance-only-00000001"}
	client2    = client{"suite-2", "suite-2-secret-for-conformance-only-00000002"}
	clientPost = client{"suite-post", "suite-post-secret-for-conformance-only-000003"}
	person     = browser.Person{Login: "person@conformance.example", Password: "conformance suite only"}
)

// program builds the server with a clock that tests can move.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rolecall-oidc-")
	if err != nil {
		return "", err
	}
	folder = dir
	return instance.Build(context.Background(), dir, "testclock")
})

var folder string

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		if err := os.RemoveAll(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// provider is the server under test, and what the suite knows of it.
type provider struct {
	URL      string
	trusted  *x509.CertPool
	http     *http.Client
	suite    string // SUITE_URL
	logouts  chan url.Values
	clock    string // the file by which its clock is moved
	ahead    time.Duration
	metadata map[string]any
	keys     jose.JSONWebKeySet
}

// start returns a server over HTTPS that holds the seed, and the suite's own
// server, which takes logout tokens.
func start(t *testing.T, database string) *provider {
	t.Helper()
	binary, err := program()
	must(t, err)
	p := &provider{logouts: make(chan url.Values, 16), clock: filepath.Join(t.TempDir(), "clock")}
	suite := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/test/a/rolecall/backchannel_logout" && r.Method == http.MethodPost && r.ParseForm() == nil {
			p.logouts <- r.PostForm
		}
		w.Header().Set("Cache-Control", "no-store")
	}))
	t.Cleanup(suite.Close)
	p.suite = suite.URL + "/test/a/rolecall"
	roots := filepath.Join(t.TempDir(), "suite.crt")
	must(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: suite.Certificate().Raw}), 0o600))
	server, err := instance.New(binary, t.TempDir(), database,
		"SUITE_URL="+p.suite, "SSL_CERT_FILE="+roots, "ROLECALL_OUTBOUND_PRIVATE=true", "TESTCLOCK_FILE="+p.clock)
	must(t, err)
	p.trusted, err = server.Secure()
	must(t, err)
	p.URL = server.URL
	must(t, server.Migrate(t.Context()))
	for _, file := range []string{seed, fapi2Seed} {
		_, err = server.Apply(t.Context(), file)
		must(t, err)
	}
	_, err = server.Serve(t.Context())
	must(t, err)
	t.Cleanup(func() {
		must(t, server.Stop())
		if t.Failed() {
			t.Logf("the server's log:\n%s", server.Log())
		}
	})
	p.http = &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.trusted, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	must(t, json.Unmarshal([]byte(p.get(t, p.URL+"/.well-known/openid-configuration", "").body), &p.metadata))
	must(t, json.Unmarshal([]byte(p.get(t, p.text("jwks_uri"), "").body), &p.keys))
	p.describe(t)
	return p
}

// describe gives the person what only a directory knows.
func (p *provider) describe(t *testing.T) {
	t.Helper()
	base := p.URL + "/t/conformance/scim/v2/Users"
	found := p.get(t, base+"?"+url.Values{"filter": {`userName eq "` + person.Login + `"`}}.Encode(), scimToken)
	var list struct {
		Resources []struct {
			ID string `json:"id"`
		} `json:"Resources"`
	}
	must(t, json.Unmarshal([]byte(found.body), &list))
	if len(list.Resources) != 1 {
		t.Fatalf("found %s", found.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, base+"/"+list.Resources[0].ID, strings.NewReader(`{
		"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
		"Operations": [{"op": "add", "value": {
			"nickName": "Pat", "timezone": "Europe/Berlin", "phoneNumbers": [{"value": "tel:+49-30-5550100", "type": "work"}],
			"addresses": [{"type": "work", "streetAddress": "Allee 1", "postalCode": "10115", "locality": "Berlin", "country": "DE", "formatted": "Allee 1, 10115 Berlin"}]}}]}`))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+scimToken)
	r.Header.Set("Content-Type", "application/scim+json")
	if got := p.do(t, r); got.status != http.StatusOK {
		t.Fatalf("PATCH: %d %s", got.status, got.body)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text is a value of the metadata.
func (p *provider) text(name string) string {
	s, _ := p.metadata[name].(string)
	return s
}

// lists reports whether a list of the metadata holds the value.
func (p *provider) lists(name, value string) bool {
	list, _ := p.metadata[name].([]any)
	return slices.Contains(list, any(value))
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (a answer) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

func (p *provider) do(t testing.TB, r *http.Request) answer {
	t.Helper()
	response, err := p.http.Do(r)
	must(t, err)
	body, err := io.ReadAll(response.Body)
	must(t, errors.Join(err, response.Body.Close()))
	a := answer{status: response.StatusCode, header: response.Header, body: string(body)}
	if len(body) > 0 && body[0] == '{' {
		must(t, json.Unmarshal(body, &a.json))
	}
	return a
}

func (p *provider) get(t testing.TB, address, bearer string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	must(t, err)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	return p.do(t, r)
}

func (p *provider) post(t testing.TB, address string, form url.Values, change func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r)
	}
	return p.do(t, r)
}

// wait lets time pass for the server.
func (p *provider) wait(t testing.TB, d time.Duration) {
	t.Helper()
	p.ahead += d
	must(t, os.WriteFile(p.clock, []byte(p.ahead.String()), 0o600))
}

// module is one module of a plan in a run: a browser without cookies, and the
// server.
type module struct {
	*testing.T
	*provider
	browser *browser.Browser
	mode    string // response_mode; empty: the default
}

// A planned module.
type planned struct {
	name string
	test func(*module)
}

// skipped is what the suite does with a module too where the server says that it
// does not have what is tested.
const skipped = "skipped, as by the suite"

// run runs the modules of a plan on both databases, each on a server of its own,
// and prints the table.
func run(t *testing.T, plan, mode string, modules []planned) {
	t.Helper()
	t.Parallel()
	for name, database := range instance.Databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, database(t))
			var rows bytes.Buffer
			w := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "plan\tmodule\tresult")
			counts := map[string]int{}
			for _, planned := range modules {
				result := "FAIL"
				t.Run(planned.name, func(t *testing.T) {
					defer func() {
						switch {
						case t.Failed():
						case t.Skipped():
							result = skipped
						default:
							result = "pass"
						}
					}()
					b, err := browser.New(p.URL)
					must(t, err)
					b.Trust(p.trusted)
					planned.test(&module{T: t, provider: p, browser: b, mode: mode})
				})
				counts[result]++
				fmt.Fprintf(w, "%s\t%s\t%s\n", plan, planned.name, result)
			}
			must(t, w.Flush())
			t.Logf("%s on %s\n%s%d modules: %d pass, %d FAIL, %d skipped\n", plan, name, rows.String(),
				len(modules), counts["pass"], counts["FAIL"], counts[skipped])
		})
	}
}

// request returns a sound authorization request as the suite makes it: without
// PKCE. Pairs alter it; an empty value takes a parameter away.
func (m *module) request(c client, pairs ...string) url.Values {
	v := url.Values{
		"client_id": {c.id}, "redirect_uri": {m.suite + "/callback"}, "response_type": {"code"}, "scope": {"openid"},
		"state": {rand.Text()}, "nonce": {rand.Text()},
	}
	if m.mode != "" {
		v.Set("response_mode", m.mode)
	}
	for pair := range slices.Chunk(pairs, 2) {
		if v.Del(pair[0]); pair[1] != "" {
			v.Set(pair[0], pair[1])
		}
	}
	return v
}

func (m *module) address(request url.Values) string {
	return m.text("authorization_endpoint") + "?" + request.Encode()
}

// open opens the authorization request in the browser.
func (m *module) open(request url.Values) *browser.Page {
	m.Helper()
	page, err := m.browser.Get(m.Context(), m.address(request))
	must(m, err)
	return page
}

// asksForPassword checks that the person is asked to sign in, on a page that
// works with what the suite looks for.
func (m *module) asksForPassword(page *browser.Page) {
	m.Helper()
	if page.Left != nil || page.Status != http.StatusOK {
		m.Fatalf("got %d, leaving for %v, want the sign-in page", page.Status, page.Left)
	}
	for _, control := range []string{`id="username"`, `id="password"`, `id="submit_button"`, `id="cancel_button"`} {
		if !strings.Contains(page.Body, control) {
			m.Errorf("the sign-in page lacks %s", control)
		}
	}
}

// showsError checks that the browser stays with the server, on a page that names
// the error.
func (m *module) showsError(page *browser.Page) {
	m.Helper()
	const code = "invalid_request" // of all of them
	if page.Left != nil || page.Status < 400 || !strings.Contains(page.Text(), code) {
		m.Errorf("got %d, leaving for %v, want an error page with %s: %s", page.Status, page.Left, code, page.Text())
	}
}

// proceed signs the person in from the page on, and returns what the application
// gets.
func (m *module) proceed(request url.Values, page *browser.Page) url.Values {
	m.Helper()
	_, page, err := m.browser.Proceed(m.Context(), page, person)
	must(m, err)
	return m.response(request, page)
}

// authorize signs the person in and returns what the application gets.
func (m *module) authorize(request url.Values) url.Values {
	m.Helper()
	return m.proceed(request, m.open(request))
}

// silently returns what the application gets without any page.
func (m *module) silently(request url.Values) url.Values {
	m.Helper()
	return m.response(request, m.open(request))
}

// response checks that the page leads to the application by the response mode
// that was asked for, with the state and the issuer.
func (m *module) response(request url.Values, page *browser.Page) url.Values {
	m.Helper()
	if page.Left == nil {
		m.Fatalf("the browser stays at %s (%d): %s", page.URL, page.Status, page.Text())
	}
	got, at := page.Left.Query(), *page.Left
	if m.mode == "form_post" {
		if page.Posted == nil || at.RawQuery != "" {
			m.Fatalf("the answer does not come by a form: %s", page.Left)
		}
		if !strings.Contains(page.Body, `<button type="submit" id="submit_button"`) {
			m.Error("the form can't be sent without JavaScript")
		}
		got = page.Posted
	} else if page.Posted != nil {
		m.Fatal("the answer comes by a form")
	}
	at.RawQuery = ""
	if at.String() != request.Get("redirect_uri") {
		m.Errorf("the answer goes to %s", at.String())
	}
	if got.Get("state") != request.Get("state") || got.Get("iss") != m.URL {
		m.Errorf("state %q, want %q; iss %q, want %q", got.Get("state"), request.Get("state"), got.Get("iss"), m.URL)
	}
	for name := range got {
		if !slices.Contains([]string{"code", "state", "iss", "error", "error_description"}, name) {
			m.Errorf("unexpected parameter %s", name)
		}
	}
	return got
}

// fails checks that the application gets one of the errors.
func (m *module) fails(got url.Values, codes ...string) {
	m.Helper()
	if !slices.Contains(codes, got.Get("error")) || got.Has("code") {
		m.Errorf("got %v, want one of %v", got, codes)
	}
}

func basic(c client) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret)) }
}

// redeem exchanges the code.
func (m *module) redeem(c client, got url.Values, pairs ...string) answer {
	m.Helper()
	if got.Get("code") == "" {
		m.Fatalf("no code: %v", got)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {m.suite + "/callback"}}
	for pair := range slices.Chunk(pairs, 2) {
		form.Set(pair[0], pair[1])
	}
	return m.post(m, m.text("token_endpoint"), form, basic(c))
}

// tokens are a token response, checked.
type tokens struct {
	answer
	access, refresh, id string
	claims              map[string]any // of the ID token
}

// checked holds a token response to RFC 6749 §5.1 and OIDC Core §3.1.3.3, and its
// ID token to §3.1.3.7.
func (m *module) checked(c client, nonce string, a answer) tokens {
	m.Helper()
	if a.status != http.StatusOK {
		m.Fatalf("the token endpoint answers %d %s", a.status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		m.Errorf("headers %v", a.header)
	}
	if !strings.EqualFold(a.text("token_type"), "Bearer") || a.json["expires_in"] == nil {
		m.Errorf("token_type %v, expires_in %v", a.json["token_type"], a.json["expires_in"])
	}
	t := tokens{answer: a, access: a.text("access_token"), refresh: a.text("refresh_token"), id: a.text("id_token")}
	if t.access == "" || t.id == "" {
		m.Fatalf("a token is missing: %s", a.body)
	}
	t.claims = m.verified(t.id)
	now := time.Now().Add(m.ahead).Unix()
	issued, _ := t.claims["iat"].(float64)
	expires, _ := t.claims["exp"].(float64)
	if t.claims["iss"] != m.URL || t.claims["aud"] != c.id || t.claims["sub"] == "" || int64(issued) > now+5 || int64(expires) <= now {
		m.Errorf("claims %v", t.claims)
	}
	if got, _ := t.claims["nonce"].(string); got != nonce {
		m.Errorf("nonce %q, want %q", got, nonce)
	}
	sum := sha256.Sum256([]byte(t.access))
	if hash := t.claims["at_hash"]; hash != base64.RawURLEncoding.EncodeToString(sum[:16]) {
		m.Errorf("at_hash %v", hash)
	}
	return t
}

// verified returns the claims of a token that the server has signed with RS256.
func (m *module) verified(token string) map[string]any {
	m.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	must(m, err)
	kid := signed.Signatures[0].Header.KeyID
	keys := m.keys.Key(kid)
	if kid == "" || len(keys) != 1 {
		m.Fatalf("%d keys are published for the kid %q", len(keys), kid)
	}
	payload, err := signed.Verify(keys[0])
	must(m, err)
	var claims map[string]any
	must(m, json.Unmarshal(payload, &claims))
	return claims
}

// flow runs the whole code flow and returns the tokens.
func (m *module) flow(c client, pairs ...string) tokens {
	m.Helper()
	request := m.request(c, pairs...)
	return m.checked(c, request.Get("nonce"), m.redeem(c, m.authorize(request)))
}

// userInfo returns the claims of userinfo, whose sub must be the ID token's.
func (m *module) userInfo(t tokens) map[string]any {
	m.Helper()
	return m.aboutPerson(t, m.get(m, m.text("userinfo_endpoint"), t.access))
}

func (m *module) aboutPerson(t tokens, got answer) map[string]any {
	m.Helper()
	if got.status != http.StatusOK || got.json["sub"] == nil || got.json["sub"] != t.claims["sub"] {
		m.Fatalf("userinfo answers %d %s", got.status, got.body)
	}
	return got.json
}
