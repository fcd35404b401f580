package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pquerna/otp/totp"
	"golang.org/x/oauth2"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/upstream"
)

// house is an instance at an address of its own.
type house struct {
	*instance
	t   *testing.T
	url string
}

// onHouses runs test on both databases, with a house that holds what the file says.
func onHouses(t *testing.T, file string, test func(h *house)) {
	t.Helper()
	for name, database := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { t.Helper(); return "sqlite:" + t.TempDir() + "/rolecall.db" },
		"postgres": func(t *testing.T) string { t.Helper(); return dbtest.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newHouse(t, database(t), file))
		})
	}
}

func newHouse(t *testing.T, database, file string) *house {
	t.Helper()
	listener := must[net.Listener](t)((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	h := &house{t: t, url: "http://" + listener.Addr().String()}
	c := &config{DatabaseURL: database, MasterKey: base64.StdEncoding.EncodeToString(secret.NewMasterKey()), PublicURL: h.url, Language: "en"}
	h.instance = must[*instance](t)(openInstance(t.Context(), c, errorsOnly(t)))
	t.Cleanup(func() { _ = h.Close() })
	must[*applyReport](t)(h.apply(operator(t.Context()), parse(t, file)))
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handlerOf(t, h.instance), ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	return h
}

// visitor is a browser.
type visitor struct {
	*http.Client
	t *testing.T
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar := must[*cookiejar.Jar](t)(cookiejar.New(nil))
	return &visitor{t: t, Client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is where a visitor has come to: a page, or an address elsewhere.
type page struct {
	at     *url.URL // of the page
	status int
	body   string
	away   *url.URL // nil: there is a page
}

// ask sends a request and follows what it is redirected to on the same site.
func (v *visitor) ask(method, address string, form url.Values) *page {
	v.t.Helper()
	at := must[*url.URL](v.t)(url.Parse(address))
	for range 12 {
		r := must[*http.Request](v.t)(http.NewRequestWithContext(v.t.Context(), method, at.String(), strings.NewReader(form.Encode())))
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		response, err := v.Do(r)
		if err != nil {
			v.t.Fatal(err)
		}
		body := must[[]byte](v.t)(io.ReadAll(response.Body))
		_ = response.Body.Close()
		if response.StatusCode < 300 || response.StatusCode > 399 {
			return &page{at: at, status: response.StatusCode, body: html.UnescapeString(string(body))}
		}
		next := must[*url.URL](v.t)(at.Parse(response.Header.Get("Location")))
		if next.Host != at.Host {
			return &page{at: at, away: next}
		}
		method, at, form = http.MethodGet, next, nil
	}
	v.t.Fatal("redirected too often")
	return nil
}

func (v *visitor) get(address string) *page { v.t.Helper(); return v.ask(http.MethodGet, address, nil) }

// submit posts a form to the page that the visitor is at.
func (v *visitor) submit(p *page, fields ...string) *page {
	v.t.Helper()
	return v.postTo(p.at.String(), fields...)
}

func (v *visitor) postTo(address string, fields ...string) *page {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return v.ask(http.MethodPost, address, form)
}

// buttonOf is the button of a provider, by its name.
var buttonOf = regexp.MustCompile(`action="([^"]*)"><input type="hidden" name="login" value="[^"]*"><button[^>]* name="provider" value="([^"]+)">[^<]*?with ([^<]+)</button>`)

// click leaves for the provider Entra.
func (v *visitor) click(p *page) *page {
	v.t.Helper()
	for _, found := range buttonOf.FindAllStringSubmatch(p.body, -1) {
		if found[3] == "Entra" {
			return v.postTo(must[*url.URL](v.t)(p.at.Parse(found[1])).String(), "provider", found[2])
		}
	}
	v.t.Fatalf("%s has no button of Entra: %.2000s", p.at, p.body)
	return nil
}

const shopVerifier = "a-verifier-that-is-long-enough-for-what-RFC-7636-demands"

// shop begins a sign-in for the application shop.
func (v *visitor) shop(h *house, scope string, more ...string) *page {
	v.t.Helper()
	query := url.Values{
		"client_id": {"shop"}, "redirect_uri": {"https://shop.example/callback"}, "response_type": {"code"}, "scope": {"openid " + scope}, "state": {"s"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(shopVerifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return v.get(h.url + "/oauth2/authorize?" + query.Encode())
}

type shopTokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Error   string `json:"error"`
}

func (h *house) token(form url.Values) shopTokens {
	h.t.Helper()
	r := must[*http.Request](h.t)(http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.url+"/oauth2/token", strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("shop", "shop-secret-of-thirty-two-characters")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var tokens shopTokens
	if err := json.NewDecoder(response.Body).Decode(&tokens); err != nil {
		h.t.Fatal(err)
	}
	return tokens
}

// redeem takes what the shop got, and returns its tokens with the claims of the ID token.
func (h *house) redeem(p *page) (shopTokens, map[string]any) {
	h.t.Helper()
	if p.away == nil || p.away.Query().Get("code") == "" {
		h.t.Fatalf("the shop got no code: %+v", p)
	}
	tokens := h.token(url.Values{"grant_type": {"authorization_code"}, "code": {p.away.Query().Get("code")}, "redirect_uri": {"https://shop.example/callback"}, "code_verifier": {shopVerifier}})
	parts := strings.Split(tokens.ID, ".")
	if len(parts) != 3 {
		h.t.Fatalf("no ID token: %+v", tokens)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(must[[]byte](h.t)(base64.RawURLEncoding.DecodeString(parts[1])), &claims); err != nil {
		h.t.Fatal(err)
	}
	return tokens, claims
}

func (h *house) refresh(token string) shopTokens {
	h.t.Helper()
	return h.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// code is one of the owner's authenticator app.
func (h *house) code() string {
	h.t.Helper()
	return must[string](h.t)(totp.GenerateCode("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", time.Now()))
}

// rogue is an OpenID provider that says whatever it is told to.
type rogue struct {
	*httptest.Server
	t   *testing.T
	key jose.SigningKey

	mu    sync.Mutex // guards what follows
	asked map[string]url.Values
	says  map[string]map[string]any
	sign  func(claims map[string]any) string // nil: as it should
	info  map[string]any                     // of the userinfo endpoint; nil: there is none
	names bool                               // it says that it names its issuer
}

func newRogue(t *testing.T) *rogue {
	t.Helper()
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p := &rogue{t: t, key: jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: "one"}}, asked: map[string]url.Values{}, says: map[string]map[string]any{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, what any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(what)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		document := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "authorization_response_iss_parameter_supported": p.names,
		}
		if p.info != nil {
			document["userinfo_endpoint"] = p.URL + "/me"
		}
		answer(w, document)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.info) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		code := r.PostFormValue("code")
		asked := p.asked[code]
		if asked == nil || oauth2.S256ChallengeFromVerifier(r.PostFormValue("code_verifier")) != asked.Get("code_challenge") || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]string{"error": "invalid_grant"})
			return
		}
		delete(p.asked, code)
		sign := p.sign
		if sign == nil {
			sign = p.signed
		}
		answer(w, map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": sign(p.says[code])})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *rogue) signed(claims map[string]any) string { return signedBy(p.t, p.key, claims) }

func signedBy(t *testing.T, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	signer := must[jose.Signer](t)(jose.NewSigner(key, nil))
	return must[string](t)(must[*jose.JSONWebSignature](t)(signer.Sign(must[[]byte](t)(json.Marshal(claims)))).CompactSerialize())
}

// answers returns where the provider sends a browser back that came with the
// question, to say these claims beside the usual ones. A nil claim is left out.
func (p *rogue) answers(question *url.URL, claims map[string]any) string {
	p.t.Helper()
	q := question.Query()
	if !strings.HasPrefix(question.String(), p.URL+"/authorize?") || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" {
		p.t.Fatalf("the provider was asked %s", question)
	}
	code := rand.Text()
	now := time.Now()
	says := map[string]any{
		"iss": p.URL, "aud": q.Get("client_id"), "nonce": q.Get("nonce"), "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "auth_time": now.Unix(),
		"sub": "ann-there", "email": "ann@berlin.example", "email_verified": true,
	}
	maps.Copy(says, claims)
	maps.DeleteFunc(says, func(_ string, value any) bool { return value == nil })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[code], p.says[code] = q, says
	return q.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}.Encode()
}

// upstreamFile is Berlin, which has a provider, and Munich, which has another; Ann is
// in both.
const upstreamFile = `
tenants:
- slug: berlin
  name: Berlin
  domains: [berlin.example]
  identity_providers:
  - {name: Entra, issuer: ISSUER, client_id: rolecall, client_secret: there-secret, domains: [berlin.example]}
- {slug: munich, name: Munich, domains: [munich.example]}
users:
- {email: ann@berlin.example, password: correct horse battery, memberships: [{tenant: berlin, roles: [member], status: active}, {tenant: munich, roles: [owner], status: active}]}
- {email: bob@berlin.example, password: correct horse battery, memberships: [{tenant: berlin, roles: [member], status: active}]}
- {email: sue@berlin.example, memberships: [{tenant: berlin, roles: [member], status: suspended}]}
- {email: boss@berlin.example, password: correct horse battery, totp: JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP, memberships: [{tenant: berlin, roles: [owner], status: active}]}
- {email: gus@elsewhere.example, password: correct horse battery, memberships: [{tenant: munich, roles: [member], status: active}, {tenant: berlin, roles: [member], status: active}]}
- {email: op@berlin.example, operator: true}
applications:
- {client_id: shop, name: Shop, type: web, secret: shop-secret-of-thirty-two-characters, redirect_uris: ["https://shop.example/callback"]}
`

func onUpstream(t *testing.T, test func(h *house, p *rogue)) {
	t.Helper()
	p := newRogue(t)
	onHouses(t, strings.ReplaceAll(upstreamFile, "ISSUER", p.URL), func(h *house) { test(h, p) })
}

func (h *house) provider() *upstream.Provider {
	h.t.Helper()
	tenant := must[*directory.Tenant](h.t)(h.directory.Tenant(h.t.Context(), "berlin"))
	return &must[[]upstream.Provider](h.t)(h.upstream.Providers(operator(h.t.Context()), tenant.ID))[0]
}

func (h *house) change(s upstream.Settings) {
	h.t.Helper()
	p := h.provider()
	must[*upstream.Provider](h.t)(h.upstream.Change(operator(h.t.Context()), p.Tenant, p.ID, s))
}

// comes has the visitor sign in to the shop in Berlin by the provider, which says the
// claims.
func (v *visitor) comes(h *house, p *rogue, claims map[string]any) *page {
	v.t.Helper()
	return v.get(p.answers(v.click(v.shop(h, "tenant:berlin offline_access")).away, claims))
}

// A sign-in by the tenant's provider is good for that tenant alone.
func TestUpstreamSignIn(t *testing.T) {
	t.Parallel()
	onUpstream(t, func(h *house, p *rogue) {
		v := newVisitor(h.t)
		_, claims := h.redeem(v.comes(h, p, nil))
		ann := must[*directory.User](h.t)(h.store.UserByEmail(h.t.Context(), "ann@berlin.example"))
		if claims["sub"] != string(ann.ID) || claims["tenant"] != "berlin" || claims["acr"] != "urn:rolecall:acr:1" || fmt.Sprint(claims["amr"]) != "[fed]" {
			h.t.Errorf("got %v", claims)
		}
		if got := v.shop(h, "tenant:munich"); got.away != nil || !strings.Contains(got.body, "another organization") {
			h.t.Errorf("Berlin's provider lets into Munich: %+v", got)
		}
		if got := v.shop(h, "tenant:munich", "prompt", "none"); got.away.Query().Get("error") != "login_required" {
			h.t.Errorf("silently: %v", got.away)
		}
		if _, claims := h.redeem(v.shop(h, "tenants")); claims["tenant"] != "berlin" || len(claims["tenants"].([]any)) != 1 {
			h.t.Errorf("without a tenant: %v", claims)
		}
		if got := v.get(h.url + "/me/security"); !strings.HasPrefix(got.at.Path, "/login") {
			h.t.Errorf("her own pages are shown to Berlin's provider: %s", got.at)
		}
		// The link is the account's, whatever address it has later.
		v = newVisitor(h.t)
		if _, claims := h.redeem(v.comes(h, p, map[string]any{"email": "new@other.example"})); claims["sub"] != string(ann.ID) {
			h.t.Errorf("by the link: %v", claims)
		}
		// With her own password she gets everywhere.
		v = newVisitor(h.t)
		got := v.shop(h, "tenant:munich")
		if _, claims := h.redeem(v.submit(got, "login", "ann@berlin.example", "password", "correct horse battery")); claims["tenant"] != "munich" {
			h.t.Errorf("by password: %v", claims)
		}
		// Of somebody whom no other tenant knows the login is Berlin's, with the own pages.
		v = newVisitor(h.t)
		h.redeem(v.comes(h, p, map[string]any{"sub": "bob-there", "email": "bob@berlin.example"}))
		if got := v.get(h.url + "/me/security"); got.status != http.StatusOK || !strings.Contains(got.body, "Entra") {
			h.t.Errorf("the own pages of who is Berlin's alone: %d %s", got.status, got.at)
		}
	})
}

// The address alone leads to the provider of its verified domain.
func TestUpstreamRoutes(t *testing.T) {
	t.Parallel()
	onUpstream(t, func(h *house, p *rogue) {
		for _, address := range []string{"nobody@berlin.example", "ANN@Berlin.Example"} {
			v := newVisitor(h.t)
			got := v.submit(v.shop(h, ""), "login", address)
			if got.away == nil || !strings.HasPrefix(got.away.String(), p.URL) || got.away.Query().Get("login_hint") != address {
				h.t.Errorf("%s leads to %+v", address, got)
			}
		}
		v := newVisitor(h.t)
		if got := v.submit(v.shop(h, ""), "login", "x@munich.example", "sso", "1"); got.status != http.StatusUnprocessableEntity {
			h.t.Errorf("a domain without a provider: %+v", got)
		}
		if got := v.submit(v.shop(h, "tenant:munich"), "login", "ann@berlin.example", "sso", "1"); got.away != nil {
			h.t.Errorf("Munich's people are led to Berlin's provider: %v", got.away)
		}
		// A domain that is not verified any more leads nowhere, and links nobody.
		tenant := must[*directory.Tenant](h.t)(h.directory.Tenant(h.t.Context(), "berlin"))
		v = newVisitor(h.t)
		question := v.click(v.shop(h, "tenant:berlin")).away
		must[*directory.Tenant](h.t)(h.store.UpdateTenant(operator(h.t.Context()), tenant.ID, func(t *directory.Tenant) error { t.Domains = nil; return nil }))
		if got := v.get(p.answers(question, nil)); got.status != http.StatusForbidden {
			h.t.Errorf("linked by a domain that is not verified: %+v", got)
		}
		if got := newVisitor(h.t).get(h.url + "/login"); strings.Contains(got.body, "Entra") {
			h.t.Error("the page offers it")
		}
	})
}

// What a provider, or somebody between, may send back and must not get in by
// (security.md §5.2, OIDC Core §3.1.3.7, RFC 9207, RFC 9700 §4.4).
func TestUpstreamRefuses(t *testing.T) {
	t.Parallel()
	stranger := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	onUpstream(t, func(h *house, p *rogue) {
		says := func(claims map[string]any) func(*visitor, *url.URL) *page {
			return func(v *visitor, q *url.URL) *page { v.t.Helper(); return v.get(p.answers(q, claims)) }
		}
		signs := func(sign func(claims map[string]any) string) func(*visitor, *url.URL) *page {
			return func(v *visitor, q *url.URL) *page {
				v.t.Helper()
				p.mu.Lock()
				p.sign = sign
				p.mu.Unlock()
				defer func() { p.mu.Lock(); p.sign = nil; p.mu.Unlock() }()
				return v.get(p.answers(q, nil))
			}
		}
		with := func(name, value string) func(*visitor, *url.URL) *page {
			return func(v *visitor, q *url.URL) *page {
				v.t.Helper()
				back := must[*url.URL](v.t)(url.Parse(p.answers(q, nil)))
				query := back.Query()
				query.Set(name, value)
				if value == "" {
					query.Del(name)
				}
				back.RawQuery = query.Encode()
				return v.get(back.String())
			}
		}
		hour := time.Hour
		for name, attack := range map[string]func(*visitor, *url.URL) *page{
			"iss of another":          says(map[string]any{"iss": "https://other.example"}),
			"aud of another":          says(map[string]any{"aud": "other"}),
			"azp of another":          says(map[string]any{"aud": []string{"rolecall", "other"}, "azp": "other"}),
			"two audiences, no azp":   says(map[string]any{"aud": []string{"rolecall", "other"}}),
			"nonce of another":        says(map[string]any{"nonce": "other"}),
			"no nonce":                says(map[string]any{"nonce": nil}),
			"expired":                 says(map[string]any{"exp": time.Now().Add(-hour).Unix()}),
			"of the future":           says(map[string]any{"iat": time.Now().Add(hour).Unix()}),
			"no subject":              says(map[string]any{"sub": nil}),
			"unverified address":      says(map[string]any{"sub": "x", "email_verified": false}),
			"no word of verification": says(map[string]any{"sub": "x", "email_verified": nil}),
			"no address":              says(map[string]any{"sub": "x", "email": nil}),
			"address of Munich":       says(map[string]any{"sub": "x", "email": "ann@munich.example"}),
			"address below":           says(map[string]any{"sub": "x", "email": "ann@sub.berlin.example"}),
			"two addresses":           says(map[string]any{"sub": "x", "email": "ann@munich.example@berlin.example"}),
			"an operator":             says(map[string]any{"sub": "x", "email": "op@berlin.example"}),
			"suspended":               says(map[string]any{"sub": "x", "email": "sue@berlin.example"}),
			"no member":               says(map[string]any{"sub": "x", "email": "nobody@berlin.example"}),
			"alg none": signs(func(claims map[string]any) string {
				text := must[[]byte](t)(json.Marshal(claims))
				return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(text) + "."
			}),
			"HS256 by the client secret": signs(func(claims map[string]any) string {
				return signedBy(t, jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("there-secret", 4))}, claims)
			}),
			"another key": signs(func(claims map[string]any) string {
				return signedBy(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: stranger, KeyID: "one"}}, claims)
			}),
			"iss of another's answer": with("iss", "https://other.example"),
			"state of another":        with("state", "other"),
			"no state":                with("state", ""),
			"no code":                 with("code", ""),
			"code of another":         with("code", "other"),
			"canceled":                with("error", "access_denied"),
			"another browser": func(v *visitor, q *url.URL) *page {
				victim := newVisitor(v.t)
				victim.get(h.url + "/login")
				return victim.get(p.answers(q, nil))
			},
			"a browser without cookies": func(v *visitor, q *url.URL) *page { return newVisitor(v.t).get(p.answers(q, nil)) },
			"twice": func(v *visitor, q *url.URL) *page {
				back := p.answers(q, map[string]any{"sub": "bob-there", "email": "bob@berlin.example"})
				v.get(back)
				v.Jar.SetCookies(must[*url.URL](v.t)(url.Parse(h.url)), []*http.Cookie{{Name: "rolecall_session", Path: "/", MaxAge: -1}})
				return v.get(back)
			},
			"at another provider's address": func(v *visitor, q *url.URL) *page {
				back := must[*url.URL](v.t)(url.Parse(p.answers(q, nil)))
				back.Path = "/login/provider/0198f4c2-0000-7000-8000-000000000000/callback"
				return v.get(back.String())
			},
			"disabled meanwhile": func(v *visitor, q *url.URL) *page {
				back := p.answers(q, nil)
				h.change(upstream.Settings{Enabled: new(false)})
				defer h.change(upstream.Settings{Enabled: new(true)})
				return v.get(back)
			},
		} {
			v := newVisitor(h.t)
			got := attack(v, v.click(v.shop(h, "tenant:berlin")).away)
			if got.away != nil || got.status != http.StatusForbidden && got.status != http.StatusNotFound {
				h.t.Errorf("%s: %d at %s, away %v", name, got.status, got.at, got.away)
			}
			if after := v.get(h.url + "/me"); after.at.Path != "/login" {
				h.t.Errorf("%s: somebody is signed in", name)
			}
		}
	})
}

// A provider that says that it names its issuer has to; one that answers about
// somebody else at the userinfo endpoint is not believed.
func TestUpstreamDocuments(t *testing.T) {
	t.Parallel()
	p := newRogue(t)
	p.names = true
	p.info = map[string]any{"sub": "ann-there", "email": "ann@berlin.example", "email_verified": "true"}
	h := newHouse(t, "sqlite:"+t.TempDir()+"/rolecall.db", strings.ReplaceAll(upstreamFile, "ISSUER", p.URL))
	v := newVisitor(t)
	back := must[*url.URL](t)(url.Parse(p.answers(v.click(v.shop(h, "tenant:berlin")).away, nil)))
	query := back.Query()
	query.Del("iss")
	back.RawQuery = query.Encode()
	if got := v.get(back.String()); got.status != http.StatusForbidden {
		t.Errorf("without iss: %+v", got)
	}
	h.redeem(v.comes(h, p, map[string]any{"email": nil, "email_verified": nil}))
	v = newVisitor(t)
	if got := v.comes(h, p, map[string]any{"sub": "bob-there", "email": nil}); got.status != http.StatusForbidden {
		t.Errorf("userinfo of somebody else: %+v", got)
	}
}

// SSO that is required is asked for with every token, of those of whom it can be
// (EM-R35); the founder's role comes in with two factors of its own.
func TestUpstreamRequired(t *testing.T) {
	t.Parallel()
	onUpstream(t, func(h *house, p *rogue) {
		byPassword := func(email string) (*visitor, *page) {
			v := newVisitor(h.t)
			return v, v.submit(v.shop(h, "tenant:berlin offline_access"), "login", email, "password", "correct horse battery")
		}
		_, in := byPassword("bob@berlin.example")
		bob, _ := h.redeem(in)
		_, in = byPassword("gus@elsewhere.example")
		gus, _ := h.redeem(in)
		must[*directory.Tenant](h.t)(h.directory.SaveTenant(operator(h.t.Context()), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{SSO: directory.SSORequired}}))

		if got := h.refresh(bob.Refresh); got.Error != "invalid_grant" {
			h.t.Errorf("EM-R35: a token by password is refreshed: %+v", got)
		}
		if got := h.refresh(gus.Refresh); got.Access == "" {
			h.t.Errorf("EM-R35: a guest, whose default is another tenant, keeps their way: %+v", got)
		}
		v, got := byPassword("bob@berlin.example")
		if got.away != nil || got.status != http.StatusForbidden || !strings.Contains(got.body, "its own accounts") {
			h.t.Errorf("EM-R35: the password: %+v", got)
		}
		if after := v.get(h.url + "/me"); after.at.Path != "/login" {
			h.t.Error("EM-R35: the password has begun a session")
		}
		// Ann needs her password for Munich; for Berlin it is not enough.
		if _, got = byPassword("ann@berlin.example"); got.away != nil || !strings.Contains(got.body, "its own accounts") {
			h.t.Errorf("EM-R35: the password of somebody with another tenant: %+v", got)
		}
		ann, _ := h.redeem(newVisitor(h.t).comes(h, p, nil))
		if got := h.refresh(ann.Refresh); got.Access == "" {
			h.t.Errorf("by the provider: %+v", got)
		} else {
			ann = got
		}
		// The founder's role, with a second factor.
		v, got = byPassword("boss@berlin.example")
		if got.at.Path != "/login/code" {
			h.t.Fatalf("the owner: %+v", got)
		}
		h.redeem(v.submit(got, "code", h.code()))

		// A forgotten password is not replaced.
		ctx := h.t.Context()
		if err := h.authn.RequestPasswordReset(ctx, "bob@berlin.example", authn.Client{Address: "192.0.2.1"}); err != nil {
			h.t.Fatal(err)
		}
		for _, d := range must[[]outbox.Delivery](h.t)(h.store.ClaimDeliveries(ctx, h.now(), h.now().Add(time.Minute), outbox.Claim{Most: 100, Each: 100})) {
			if d.Kind == outbox.PasswordReset {
				if err := h.deliverPasswordReset(ctx, d); err != nil {
					h.t.Fatal(err)
				}
			}
		}
		if letters := must[[]mail.Waiting](h.t)(h.mail.Outbox(ctx, 100)); letters[0].To != "bob@berlin.example" || letters[0].Link != "" {
			h.t.Errorf("EM-R35: who may not sign in by a password got %+v", letters[0])
		}

		h.change(upstream.Settings{Enabled: new(false)})
		if got := h.refresh(ann.Refresh); got.Error != "invalid_grant" {
			h.t.Errorf("a disabled provider: %+v", got)
		}
	})
}

// Who comes first with an address of the domain becomes a member where the tenant
// wants that, with what the claim gives and nothing else.
func TestUpstreamJustInTime(t *testing.T) {
	t.Parallel()
	onUpstream(t, func(h *house, p *rogue) {
		h.change(upstream.Settings{
			JustInTime: new(true), Role: new("viewer"), RoleClaim: new("groups"), RoleValues: &map[string]string{"people": "member"},
		})
		for name, test := range map[string]struct {
			claims map[string]any
			roles  string
		}{
			"default role":  {map[string]any{"sub": "1", "email": "one@berlin.example", "groups": []string{"others"}, "roles": []string{"owner"}}, "[viewer]"},
			"by the claim":  {map[string]any{"sub": "2", "email": "two@berlin.example", "groups": []string{"people", "owner"}}, "[member]"},
			"a single text": {map[string]any{"sub": "3", "email": "three@berlin.example", "groups": "people", "given_name": "Three"}, "[member]"},
		} {
			if _, claims := h.redeem(newVisitor(h.t).comes(h, p, test.claims)); fmt.Sprint(claims["roles"]) != test.roles {
				h.t.Errorf("%s: got %v", name, claims["roles"])
			}
		}
		// Somebody whom another tenant knows by an address of the domain is as safe as
		// from a directory: the provider gets no further than Berlin.
		munich := must[*directory.Tenant](h.t)(h.directory.Tenant(h.t.Context(), "munich"))
		kim := must[*directory.User](h.t)(h.directory.SaveUser(operator(h.t.Context()), directory.UserSpec{Email: "kim@berlin.example"}))
		must[*directory.Membership](h.t)(h.directory.SaveMembership(operator(h.t.Context()), munich.ID, kim, directory.MembershipSpec{Roles: []string{"owner"}, Status: directory.StatusActive}))
		v := newVisitor(h.t)
		h.redeem(v.comes(h, p, map[string]any{"sub": "kim", "email": "kim@berlin.example"}))
		if got := v.shop(h, "tenant:munich", "prompt", "none"); got.away.Query().Get("error") != "login_required" {
			h.t.Errorf("into Munich: %v", got.away)
		}
		if got := newVisitor(h.t).comes(h, p, map[string]any{"sub": "op", "email": "op@berlin.example"}); got.status != http.StatusForbidden {
			h.t.Errorf("an operator: %+v", got)
		}
	})
}

// The second factor here is asked for, unless the provider's is trusted.
func TestUpstreamSecondFactor(t *testing.T) {
	t.Parallel()
	onUpstream(t, func(h *house, p *rogue) {
		claims := map[string]any{"sub": "boss-there", "email": "boss@berlin.example", "amr": []string{"pwd", "mfa"}}
		v := newVisitor(h.t)
		got := v.comes(h, p, claims)
		if got.at.Path != "/login/code" {
			h.t.Fatalf("not asked: %+v", got)
		}
		if _, claims := h.redeem(v.submit(got, "code", h.code())); claims["acr"] != "urn:rolecall:acr:2" || fmt.Sprint(claims["amr"]) != "[fed otp mfa]" {
			h.t.Errorf("got %v", claims)
		}
		h.change(upstream.Settings{TrustMFA: new(true), MFAClasses: &[]string{"strong"}})
		for _, says := range []map[string]any{claims, {"sub": "boss-there", "acr": "strong"}} {
			if _, claims := h.redeem(newVisitor(h.t).comes(h, p, says)); claims["acr"] != "urn:rolecall:acr:2" {
				h.t.Errorf("trusted: %v", claims)
			}
		}
		if got := newVisitor(h.t).comes(h, p, map[string]any{"sub": "boss-there", "acr": "weak", "amr": []string{"pwd"}}); got.at.Path != "/login/code" {
			h.t.Errorf("of one factor: %+v", got)
		}
		// prompt=login is passed on, and has to be heard.
		v = newVisitor(h.t)
		v.comes(h, p, map[string]any{"auth_time": time.Now().Add(-time.Hour).Unix(), "amr": []string{"mfa"}, "sub": "boss-there"})
		question := v.click(v.shop(h, "tenant:berlin", "prompt", "login")).away
		if question.Query().Get("prompt") != "login" || question.Query().Get("max_age") != "0" {
			h.t.Errorf("not passed on: %s", question)
		}
		if got := v.get(p.answers(question, map[string]any{"sub": "boss-there", "amr": []string{"mfa"}, "auth_time": time.Now().Add(-time.Hour).Unix()})); got.status != http.StatusForbidden {
			h.t.Errorf("an old sign-in: %+v", got)
		}
	})
}

// TX-R26: a signed-in user links an account on their own page, and may sign in with
// it, whatever address it has.
func TestUpstreamLinks(t *testing.T) {
	t.Parallel()
	onUpstream(t, func(h *house, p *rogue) {
		v := newVisitor(h.t)
		v.submit(v.get(h.url+"/login"), "login", "gus@elsewhere.example", "password", "correct horse battery")
		link := regexp.MustCompile(`/login/link\?provider=[0-9a-f-]+`).FindString(v.get(h.url + "/me/security").body)
		if link == "" {
			h.t.Fatal("TX-R26: the page offers no link")
		}
		account := map[string]any{"sub": "gus-there", "email": "gus@gmail.example", "email_verified": false}
		back := p.answers(v.postTo(h.url+link).away, account)
		if got := newVisitor(h.t).get(back); got.status != http.StatusNotFound {
			h.t.Errorf("in another browser: %+v", got)
		}
		if got := v.get(back); got.status != http.StatusOK || !strings.Contains(got.body, "gus@gmail.example") {
			h.t.Fatalf("TX-R26: not linked: %+v", got)
		}
		gus := must[*directory.User](h.t)(h.store.UserByEmail(h.t.Context(), "gus@elsewhere.example"))
		if _, claims := h.redeem(newVisitor(h.t).comes(h, p, account)); claims["sub"] != string(gus.ID) {
			h.t.Errorf("TX-R26: signed in as %v", claims["sub"])
		}
		// Nobody else links the same account.
		bob := newVisitor(h.t)
		bob.submit(bob.get(h.url+"/login"), "login", "bob@berlin.example", "password", "correct horse battery")
		if got := bob.get(p.answers(bob.postTo(h.url+link).away, account)); got.status != http.StatusConflict {
			h.t.Errorf("the account of somebody else: %+v", got)
		}
		// Removed, it is a stranger's again.
		body := v.get(h.url + "/me/security").body
		name := regexp.MustCompile(`name="link" value="([^"]+)"`).FindStringSubmatch(body)
		if name == nil {
			h.t.Fatal("the page has no link to remove")
		}
		v.postTo(h.url+"/me/links", "link", name[1])
		if got := newVisitor(h.t).comes(h, p, account); got.status != http.StatusForbidden {
			h.t.Errorf("after it was removed: %+v", got)
		}
	})
}

// Another Rolecall is a provider like others.
func TestUpstreamRolecall(t *testing.T) {
	t.Parallel()
	onHouses(t, upstreamOfRolecall, func(h *house) {
		there := newHouse(h.t, "sqlite:"+h.t.TempDir()+"/there.db", strings.ReplaceAll(rolecallFile, "HOUSE", h.url))
		berlin := must[*directory.Tenant](h.t)(h.directory.Tenant(h.t.Context(), "berlin"))
		made := must[*upstream.Provider](h.t)(h.upstream.Create(operator(h.t.Context()), berlin.ID, upstream.Settings{
			Name: new("Rolecall"), Issuer: &there.url, ClientID: new("house"), Secret: new(secret.NewText("house-secret-of-thirty-two-characters")),
			Domains: &[]string{"berlin.example"}, JustInTime: new(true), Role: new("member"),
		}))
		must[*applyReport](h.t)(there.apply(operator(h.t.Context()), parse(h.t, fmt.Sprintf(
			`applications: [{client_id: house, name: House, type: web, secret: house-secret-of-thirty-two-characters, redirect_uris: [%q]}]`, h.upstream.RedirectURI(made.ID)))))
		v := newVisitor(h.t)
		away := v.submit(v.shop(h, ""), "login", "ann@berlin.example").away
		got := v.get(away.String())
		got = v.submit(got, "login", "ann@berlin.example", "password", "correct horse battery")
		if got.away == nil || !slices.Contains([]string{"http://" + got.away.Host}, h.url) {
			h.t.Fatalf("the other one does not lead back: %+v", got)
		}
		_, claims := h.redeem(v.get(got.away.String()))
		if claims["tenant"] != "berlin" || fmt.Sprint(claims["roles"]) != "[member]" || fmt.Sprint(claims["amr"]) != "[fed]" {
			h.t.Errorf("got %v", claims)
		}
	})
}

const upstreamOfRolecall = `
tenants: [{slug: berlin, name: Berlin, domains: [berlin.example]}]
applications:
- {client_id: shop, name: Shop, type: web, secret: shop-secret-of-thirty-two-characters, redirect_uris: ["https://shop.example/callback"]}
`

const rolecallFile = `
tenants: [{slug: staff, name: Staff, domains: [berlin.example]}]
users:
- {email: ann@berlin.example, password: correct horse battery, memberships: [{tenant: staff, roles: [member], status: active}]}
`
