package provider_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/oidc/provider"
	"github.com/rolecall/rolecall/storage"
)

// instance is a provider on a real database behind a real HTTP server. Its clock
// stands still unless a test moves it.
type instance struct {
	store    *storage.Store
	authn    *authn.Authn
	oidc     *oidc.OIDC
	provider *provider.Provider
	url      string
	clock    *atomic.Int64 // microseconds
	deps     oidc.Deps
	trail    *trail
}

// trail is the store, and remembers the events that were written.
type trail struct {
	*storage.Store
	mu     sync.Mutex
	events []audit.Event
	refuse atomic.Pointer[fault.Error] // what redeeming a code comes to; nil: what it does
}

func (s *trail) UseCode(ctx context.Context, code secret.Hash, clientID string, at time.Time) (*oidc.Code, error) {
	if refusal := s.refuse.Load(); refusal != nil {
		return nil, refusal
	}
	return s.Store.UseCode(ctx, code, clientID, at)
}

func (s *trail) AppendEvent(ctx context.Context, e audit.Event) error {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	return s.Store.AppendEvent(ctx, e)
}

// of returns the events of an action, the oldest first.
func (s *trail) of(action string) []audit.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.events), func(e audit.Event) bool { return e.Action != action })
}

// TestMain silences the library, which logs by the default logger what it answers.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

// each runs test with an instance on each database.
func each(t *testing.T, test func(t *testing.T, in *instance)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, store *storage.Store) { test(t, newInstance(t, store)) })
}

func newInstance(t testing.TB, store *storage.Store) *instance {
	t.Helper()
	in := &instance{store: store, clock: &atomic.Int64{}, trail: &trail{Store: store}}
	in.clock.Store(time.Now().UnixMicro())
	server := httptest.NewUnstartedServer(nil)
	in.url = "http://" + server.Listener.Addr().String()
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	keyring, err := secret.NewKeyring(secret.NewMasterKey())
	must(t, err)
	shipped, err := authz.Shipped()
	must(t, err)
	rights := directory.NewRights(store, directory.NewBlueprints(store, shipped, in.now))
	in.authn, err = authn.New(authn.Deps{Store: store, Rights: rights, Keyring: keyring, Now: in.now, Logger: logger})
	must(t, err)
	in.deps = oidc.Deps{
		Issuer: in.url, Store: store, Authn: in.authn, Rights: rights,
		Keyring: keyring, Now: in.now, Logger: logger, KeySets: provider.NewKeySets(true),
	}
	in.oidc = in.withStore(t, in.trail)
	must(t, in.oidc.EnsureKeys(t.Context()))
	in.provider, err = provider.New(provider.Deps{OIDC: in.oidc, Authn: in.authn, Cookies: cookie.NewJar(false), Logger: logger})
	must(t, err)
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	in.provider.Mount(engine)
	server.Config.Handler = engine
	server.Start()
	t.Cleanup(server.Close)
	return in
}

// withStore returns another node of the instance, which uses the store.
func (in *instance) withStore(t testing.TB, store oidc.Store) *oidc.OIDC {
	t.Helper()
	deps := in.deps
	deps.Store = store
	node, err := oidc.New(deps)
	must(t, err)
	return node
}

func (in *instance) now() time.Time          { return time.UnixMicro(in.clock.Load()).UTC() }
func (in *instance) advance(d time.Duration) { in.clock.Add(d.Microseconds()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tenant makes a tenant of the default role system.
func (in *instance) tenant(t testing.TB, slug string, policy directory.Policy) *directory.Tenant {
	t.Helper()
	tenant := &directory.Tenant{
		ID: id.New[id.Tenant](), Slug: slug, Name: strings.ToUpper(slug), Blueprint: "default", BlueprintVersion: 1, Status: "enabled",
		Policy: policy, Created: in.now(), Modified: in.now(),
	}
	must(t, in.store.CreateTenant(t.Context(), tenant))
	return tenant
}

func (in *instance) user(t testing.TB, email string) *directory.User {
	t.Helper()
	user := &directory.User{
		ID: id.New[id.User](), Email: email, EmailVerified: true, Name: directory.Name{Given: "Ann", Family: "Berg"},
		Locale: "de", Created: in.now(), Modified: in.now(),
	}
	must(t, in.store.CreateUser(t.Context(), user))
	return user
}

func (in *instance) member(t testing.TB, tenant *directory.Tenant, user *directory.User, status directory.Status, roles ...string) *directory.Membership {
	t.Helper()
	membership := &directory.Membership{
		Tenant: tenant.ID, ID: id.New[id.Membership](), User: user.ID, Status: status, Accepted: true, Source: directory.SourceOperator,
		UserName: user.Email, Profile: map[string]any{}, Search: map[string]any{}, Created: in.now(), Modified: in.now(),
	}
	must(t, in.store.CreateMembership(t.Context(), membership))
	for _, role := range roles {
		must(t, in.store.Assign(t.Context(), directory.Assignment{Tenant: tenant.ID, Membership: membership.ID, Role: role, Source: directory.AssignedDirect}, in.now()))
	}
	return membership
}

// suspend does what the directory does in a lock-out.
func (in *instance) suspend(t testing.TB, m *directory.Membership) {
	t.Helper()
	must(t, in.store.InTx(t.Context(), func(ctx context.Context) error {
		_, err := in.store.UpdateMembership(ctx, m.Tenant, m.ID, func(m *directory.Membership) error {
			m.Status = directory.StatusSuspended
			return nil
		})
		if err != nil {
			return err
		}
		return in.oidc.EndMembership(ctx, m.Tenant, m.ID, m.User)
	}))
}

const (
	callback    = "https://shop.example/callback"
	shopSecret  = "shop secret"
	robotSecret = "robot secret"
)

// application registers one; change may alter the web application "shop" that it
// is without it.
func (in *instance) application(t testing.TB, change func(*oidc.ApplicationSpec)) {
	t.Helper()
	spec := oidc.ApplicationSpec{
		ClientID: "shop", Name: "Shop", Type: oidc.Web, Secret: secret.NewText(shopSecret), RedirectURIs: []string{callback},
		PostLogoutRedirectURIs: []string{"https://shop.example/bye"},
	}
	if change != nil {
		change(&spec)
	}
	_, err := in.oidc.PutApplication(t.Context(), spec)
	must(t, err)
}

func (in *instance) machine(t testing.TB, owner *directory.Tenant, change func(*oidc.ApplicationSpec)) {
	t.Helper()
	in.application(t, func(s *oidc.ApplicationSpec) {
		*s = oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine, Tenant: owner.ID, Roles: []string{"api"}, Secret: secret.NewText(robotSecret)}
		if change != nil {
			change(s)
		}
	})
}

// browser is a user agent that shows redirects instead of following them.
type browser struct {
	in     *instance
	client *http.Client
}

func (in *instance) browser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{in: in, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signIn gives the browser a session, as the portal does after the login; more are
// methods beside those of the class.
func (b *browser) signIn(t testing.TB, user *directory.User, acr string, more ...string) *authn.Session {
	t.Helper()
	amr := append([]string{authn.AMRPassword}, more...)
	if acr == authn.ACR2 {
		amr = append(amr, authn.AMROneTimeCode, authn.AMRMultiFactor)
	}
	now := b.in.now()
	session := &authn.Session{
		ID: id.New[id.Session](), User: user.ID, AuthTime: now, ACR: acr, AMR: amr, Created: now, LastSeen: now, Expires: now.Add(24 * time.Hour),
	}
	token := secret.Random("")
	must(t, b.in.store.CreateSession(t.Context(), session, token.Hash()))
	at, err := url.Parse(b.in.url)
	must(t, err)
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: cookie.Session, Value: token.Reveal(), Path: "/"}})
	return session
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func do(t testing.TB, client *http.Client, r *http.Request) answer {
	t.Helper()
	response, err := client.Do(r)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response, string(body)}
}

func (b *browser) get(t testing.TB, path string, query url.Values) answer {
	t.Helper()
	address := b.in.url + path
	if query != nil {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	must(t, err)
	return do(t, b.client, r)
}

func (b *browser) post(t testing.TB, path string, form url.Values) answer {
	t.Helper()
	return b.in.post(t, b.client, path, form, nil)
}

func (in *instance) post(t testing.TB, client *http.Client, path string, form url.Values, change func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.url+path, strings.NewReader(form.Encode()))
	must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r)
	}
	return do(t, client, r)
}

// direct posts as an application does, by HTTP Basic unless clientSecret is empty.
func (in *instance) direct(t testing.TB, path, clientID, clientSecret string, form url.Values) answer {
	t.Helper()
	return in.post(t, http.DefaultClient, path, form, func(r *http.Request) {
		if clientSecret != "" {
			r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
		}
	})
}

func (a answer) status(t testing.TB, want int) answer {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("status %d, want %d: %s %s", a.StatusCode, want, a.Header.Get("Location"), a.body)
	}
	return a
}

// json decodes the body.
func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// oauthError checks a direct error.
func (a answer) oauthError(t testing.TB, status int, code string) answer {
	t.Helper()
	a.status(t, status)
	if got := a.json(t)["error"]; got != code {
		t.Fatalf("error %v, want %s: %s", got, code, a.body)
	}
	return a
}

// redirected checks that the browser is sent to the application and returns the
// parameters.
func (a answer) redirected(t testing.TB, to string) url.Values {
	t.Helper()
	location := a.Header.Get("Location")
	if a.StatusCode != http.StatusFound && a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, to) {
		t.Fatalf("got %d to %q, want a redirect to %s: %s", a.StatusCode, location, to, a.body)
	}
	u, err := url.Parse(location)
	must(t, err)
	return u.Query()
}

// errorPage checks an error that stays with us. All of them are invalid_request.
func (a answer) errorPage(t testing.TB) {
	t.Helper()
	const code = "invalid_request"
	if a.StatusCode < 400 || a.Header.Get("Location") != "" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") ||
		!strings.Contains(a.body, `<code id="error">`+code+`</code>`) {
		t.Fatalf("got %d to %q, want an error page with %s: %s", a.StatusCode, a.Header.Get("Location"), code, a.body)
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("the error page has the policy %q", csp)
	}
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// params are those of a good authorization request; pairs alter them, an empty
// value takes one away.
func params(pairs ...string) url.Values {
	v := url.Values{
		"client_id": {"shop"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"},
		"state": {"the state"}, "nonce": {"the nonce"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	set(v, pairs)
	return v
}

func set(v url.Values, pairs []string) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] == "" {
			v.Del(pair[0])
		} else {
			v.Set(pair[0], pair[1])
		}
	}
}

// code runs an authorization request that needs no page.
func (b *browser) code(t testing.TB, pairs ...string) string {
	t.Helper()
	query := params(pairs...)
	got := b.get(t, "/oauth2/authorize", query).redirected(t, query.Get("redirect_uri"))
	if got.Get("code") == "" {
		t.Fatalf("no code: %v", got)
	}
	return got.Get("code")
}

func redemption(code string, pairs ...string) url.Values {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	set(v, pairs)
	return v
}

// tokens is a token response.
type tokens struct {
	access, refresh, id, scope string
}

func (a answer) tokens(t testing.TB) tokens {
	t.Helper()
	a.status(t, http.StatusOK)
	v := a.json(t)
	text := func(name string) string { s, _ := v[name].(string); return s }
	return tokens{text("access_token"), text("refresh_token"), text("id_token"), text("scope")}
}

// obtain signs in to the web application "shop" and redeems the code.
func (b *browser) obtain(t testing.TB, pairs ...string) tokens {
	t.Helper()
	return b.in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(b.code(t, pairs...))).tokens(t)
}

func (in *instance) refresh(t testing.TB, token string, pairs ...string) answer {
	t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	set(form, pairs)
	return in.direct(t, "/oauth2/token", "shop", shopSecret, form)
}

func (in *instance) introspect(t testing.TB, token string) map[string]any {
	t.Helper()
	return in.direct(t, "/oauth2/introspect", "shop", shopSecret, url.Values{"token": {token}}).status(t, http.StatusOK).json(t)
}

func (in *instance) userInfo(t testing.TB, token string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+"/oauth2/userinfo", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	return do(t, http.DefaultClient, r)
}

// parts decodes the header and the payload of a JWT, without any check.
func parts(t testing.TB, token string) (header, claims map[string]any) {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	for i, v := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(segments[i])
		must(t, err)
		must(t, json.Unmarshal(text, v))
	}
	return header, claims
}

// only returns the entries of those names.
func only(claims map[string]any, names ...string) map[string]any {
	maps.DeleteFunc(claims, func(name string, _ any) bool { return !slices.Contains(names, name) })
	return claims
}
