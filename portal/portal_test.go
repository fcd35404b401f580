package portal_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/portal"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
	"github.com/rolecall/rolecall/upstream"
	"github.com/rolecall/rolecall/upstream/relyingparty"
)

const (
	annEmail    = "ann@berlin.example"
	annPassword = "correct horse battery"
	annKey      = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

// site is an instance with its portal on loopback, and Ann, an owner in Berlin,
// viewer in Munich, and invited to Oslo.
type site struct {
	*httptest.Server
	store     *storage.Store
	authn     *authn.Authn
	mail      *mail.Office
	oidc      *oidc.OIDC
	directory *directory.Directory
	upstream  *upstream.Upstream
	ann       *directory.User

	mu  sync.Mutex // guards now
	now time.Time
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteAt(t, "http://id.test", nil)
}

// newSiteAt is newSite with a public URL, served on the listener if that is not nil.
// mounts add what else the server has beside the portal.
func newSiteAt(t *testing.T, publicURL string, listener net.Listener, mounts ...func(t *testing.T, s *site, p *portal.Portal, r gin.IRouter)) *site {
	t.Helper()
	s := &site{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.store = must(storage.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db")))(t)
	t.Cleanup(func() { _ = s.store.Close() })
	if err := s.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	keyring := must(secret.NewKeyring(make([]byte, 32)))(t)
	blueprints := directory.NewBlueprints(s.store, must(authz.Shipped())(t), s.clock)
	rights := directory.NewRights(s.store, blueprints)
	s.mail = must(mail.NewOffice(s.store, keyring, nil, language.Default, s.clock))(t)
	s.authn = must(authn.New(authn.Deps{
		PublicURL: publicURL, Letters: s.mail, Store: s.store, Rights: rights, Keyring: keyring, Now: s.clock, Logger: logger, Hashing: authn.Hashing{Memory: 64, Passes: 1},
	}))(t)
	s.oidc = must(oidc.New(oidc.Deps{
		Issuer: publicURL, Store: s.store, Authn: s.authn,
		Rights: rights, Keyring: keyring, Now: s.clock, Logger: logger,
	}))(t)
	s.directory = must(directory.New(directory.Deps{
		Store: s.store, Holdings: s.oidc, Passwords: s.authn, Credentials: s.authn, Rights: rights, Schemas: must(schema.Core())(t), Now: s.clock,
	}))(t)
	s.populate(t)

	s.upstream = upstream.New(upstream.Deps{
		Store: s.store, Directory: s.directory, Authn: s.authn, Sessions: s.oidc, Party: must(relyingparty.New(true, s.clock))(t), Keyring: keyring,
		PublicURL: publicURL, Private: true, Now: s.clock, Logger: logger,
	})
	p := must(portal.New(portal.Deps{
		Authn: s.authn, OIDC: s.oidc, Directory: s.directory, Blueprints: blueprints, Upstream: s.upstream, Mail: s.mail, Language: language.Default,
		Cookies: cookie.NewJar(false), Now: s.clock, Logger: logger,
	}))(t)
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	engine.Use(func(c *gin.Context) { c.Header("X-Request-Id", "request-1") })
	p.Mount(engine)
	for _, mount := range mounts {
		mount(t, s, p, engine)
	}
	engine.NoRoute(gin.WrapH(p.NotFound()))
	s.Server = httptest.NewUnstartedServer(engine)
	if listener != nil {
		_ = s.Listener.Close()
		s.Listener = listener
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *site) populate(t *testing.T) {
	t.Helper()
	ctx := operator(t)
	s.ann = must(s.directory.SaveUser(ctx, directory.UserSpec{Email: annEmail, Name: directory.Name{Given: "Ann", Family: "Berg"}}))(t)
	if err := s.authn.SetPassword(ctx, s.ann.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	s.member(t, "Berlin", "owner", directory.StatusActive)
	s.member(t, "Munich", "viewer", directory.StatusActive)
	s.member(t, "Oslo", "member", directory.StatusInvited)
	must(s.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "vienna", Name: "Vienna"}))(t)
	must(s.oidc.PutApplication(ctx, oidc.ApplicationSpec{
		ClientID: "shop", Name: "Shop", Type: oidc.Web, RedirectURIs: []string{"https://shop.example/callback"}, Secret: secret.Random(""),
	}))(t)
}

func (s *site) member(t *testing.T, name, role string, status directory.Status) {
	t.Helper()
	tenant := must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: strings.ToLower(name), Name: name}))(t)
	must(s.directory.SaveMembership(operator(t), tenant.ID, s.ann, directory.MembershipSpec{Roles: []string{role}, Status: status}))(t)
}

// browser is a cookie jar that follows no redirects.
type browser struct {
	*http.Client
	site *site
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	jar := must(cookiejar.New(nil))(t)
	return &browser{site: s, Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	response, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := must(io.ReadAll(response.Body))(t)
	return answer{response, string(body)}
}

func (b *browser) get(t *testing.T, path string) answer {
	t.Helper()
	return b.do(t, must(http.NewRequestWithContext(t.Context(), http.MethodGet, b.site.URL+path, nil))(t))
}

// post sends a form, given as its names each with its value.
func (b *browser) post(t *testing.T, path string, fields ...string) answer {
	t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, b.site.URL+path, strings.NewReader(form.Encode())))(t)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	return b.do(t, r)
}

func (b *browser) cookie(t *testing.T, name string) string {
	t.Helper()
	for _, c := range b.Jar.Cookies(must(url.Parse(b.site.URL))(t)) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) signIn(t *testing.T) {
	t.Helper()
	b.get(t, "/login")
	wantRedirect(t, b.post(t, "/login", "login", annEmail, "password", annPassword), "/me")
}

func wantRedirect(t *testing.T, a answer, to string) {
	t.Helper()
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != to {
		t.Fatalf("got %d to %q, want 303 to %q\n%s", a.StatusCode, a.Header.Get("Location"), to, a.body)
	}
}

func wantPage(t *testing.T, a answer, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("got %d to %q, want %d\n%s", a.StatusCode, a.Header.Get("Location"), status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(strings.ReplaceAll(a.body, "\u2011", "-"), text) { // hyphens at which no line ends
			t.Errorf("the page lacks %q:\n%s", text, a.body)
		}
	}
}

// request begins an authorization request in the browser.
func (b *browser) request(t *testing.T, parameters oidc.Parameters) id.AuthorizationRequest {
	t.Helper()
	b.get(t, "/login") // sets the browser's cookie
	parameters.RedirectURI = "https://shop.example/callback"
	r := b.site.oidc.NewRequest("shop", secret.NewText(b.cookie(t, cookie.Browser)), parameters)
	step := must(b.site.oidc.Begin(t.Context(), r, nil))(t)
	if step != oidc.StepLogin {
		t.Fatalf("got step %v, want the login", step)
	}
	return r.ID
}

func (s *site) code(t *testing.T) string {
	t.Helper()
	return must(totp.GenerateCodeCustom(annKey, s.clock(), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix}))(t)
}

func (s *site) withTOTP(t *testing.T) *site {
	t.Helper()
	if err := s.authn.SetTOTP(context.WithoutCancel(t.Context()), s.ann.ID, secret.NewText(annKey)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	wantRedirect(t, b.get(t, "/"), "/login")
	wantRedirect(t, b.get(t, "/me"), "/login")
	wantPage(t, b.get(t, "/login"), 200, `name="login"`, `name="password"`, `id="username"`, `id="password"`, `id="submit_button"`)
	wantRedirect(t, b.post(t, "/login", "login", "ANN@berlin.example", "password", annPassword), "/me")
	wantRedirect(t, b.get(t, "/"), "/me")
	wantRedirect(t, b.get(t, "/login"), "/me")
	wantPage(t, b.get(t, "/me"), 200, "Ann Berg", annEmail, "Berlin", "Owner", "Munich", "Viewer", "Oslo invites you", "Firefox on Linux", "This browser")
	wantPage(t, b.get(t, "/logout"), 200, "Sign out?")
	cookieBefore := b.cookie(t, cookie.Session)
	wantRedirect(t, b.post(t, "/logout"), "/logout")
	wantPage(t, b.get(t, "/logout"), 200, "You are signed out")
	if got := b.cookie(t, cookie.Session); got != "" {
		t.Errorf("the cookie is still %q", got)
	}
	if _, err := b.site.authn.Session(t.Context(), secret.NewText(cookieBefore)); err == nil {
		t.Error("the session lives on under its old cookie")
	}
}

func TestSignInWithCode(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	b := s.browser(t)
	b.get(t, "/login")
	a := b.post(t, "/login", "login", annEmail, "password", annPassword)
	at := a.Header.Get("Location")
	if !strings.HasPrefix(at, "/login/code?login=") || b.cookie(t, cookie.Session) != "" {
		t.Fatalf("got %d to %q, want the code page and no session", a.StatusCode, at)
	}
	wantPage(t, b.get(t, at), 200, `name="code"`, `autocomplete="one-time-code"`, annEmail)
	wantPage(t, b.post(t, at), 422, "Enter the 6-digit code", `role="alert"`)
	wantPage(t, b.post(t, at, "code", "12345"), 422, "wrong or was used")
	wantRedirect(t, b.get(t, "/me"), "/login")
	wantRedirect(t, b.post(t, at, "code", s.code(t)), "/me")
	wantPage(t, b.get(t, "/me"), 200, "Two factors")
}

// RFC 9700 §4.12, §4.16; OWASP.
func TestEveryResponseIsHardened(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	for _, path := range []string{"/", "/login", "/login/code", "/login/tenant", "/logout", "/setup?token=x", "/me", "/nothing", "/login?request=x"} {
		header := b.get(t, path).Header
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		policy := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy lacks %s: %s", path, want, policy)
			}
		}
		if strings.HasPrefix(path, "/login") && strings.Contains(policy, "form-action") {
			t.Errorf("%s: form-action would block the way to applications", path)
		}
		if strings.Contains(policy, "unsafe") || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got policy %q", path, policy)
		}
	}
}

func TestStaticFilesAreKeptForGood(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	address := regexp.MustCompile(`/static/[a-z]+-[0-9a-f]+\.css`).FindString(b.get(t, "/login").body)
	a := b.get(t, address)
	if a.StatusCode != 200 || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || a.Header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("%q: got %d, %v", address, a.StatusCode, a.Header)
	}
	for _, path := range []string{"/static/portal.css", "/static/..%2fportal.go", "/static/x"} {
		if a := b.get(t, path); a.StatusCode != 404 {
			t.Errorf("%s: got %d, want 404", path, a.StatusCode)
		}
	}
}

func TestErrorPagesSayTheRequest(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	wantPage(t, b.get(t, "/nothing"), 404, "Page not found", "request-1")
	wantPage(t, b.get(t, "/login?request=nonsense"), 404, "can&#39;t go on", "request-1")
	wantPage(t, b.get(t, "/login?request="+string(id.New[id.AuthorizationRequest]())), 404, "can&#39;t go on")
	wantPage(t, b.get(t, "/setup?token=nonsense"), 404, "This link does not work")
	b.get(t, "/login")
	wantPage(t, b.post(t, "/login", "login", strings.Repeat("x", 70_000)), 413, "Too much")
}

func TestLoginForAnApplication(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	r := b.request(t, oidc.Parameters{LoginHint: "hint@berlin.example", TenantName: "berlin"})
	path := "/login?request=" + string(r)
	wantPage(t, b.get(t, path), 200, "Sign in to Shop", `value="hint@berlin.example"`, ">berlin<")
	wantPage(t, b.post(t, path, "login", annEmail, "password", "wrong"), 422, "Sign in to Shop", `value="ann@berlin.example"`)
	wantRedirect(t, b.post(t, path, "login", annEmail, "password", annPassword), "/oauth2/authorize/continue?request="+string(r))
	// Back in the browser's history: there is nothing left to do on the login page.
	wantRedirect(t, b.get(t, path), "/oauth2/authorize/continue?request="+string(r))
}

func TestLoginPageTellsNoTenantFromAnother(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	page := func(tenant string) string {
		r := b.request(t, oidc.Parameters{TenantName: tenant})
		return strings.NewReplacer(tenant, "TENANT", string(r), "REQUEST").Replace(b.get(t, "/login?request="+string(r)).body)
	}
	if got, want := page("nowhere"), page("berlin"); got != want {
		t.Errorf("the page for a tenant that does not exist differs:\n%s\n%s", got, want)
	}
	if body := page("<b>call 555</b>"); strings.Contains(body, "call 555") || strings.Contains(body, "TENANT") {
		t.Errorf("the page shows any text as a tenant:\n%s", body)
	}
}

func TestFreshSignInIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	s.advance(time.Minute)
	r := s.oidc.NewRequest("shop", secret.NewText(b.cookie(t, cookie.Browser)), oidc.Parameters{
		RedirectURI: "https://shop.example/callback", Prompt: []string{oidc.PromptLogin}, TenantName: "berlin",
	})
	session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	if step := must(s.oidc.Begin(t.Context(), r, session))(t); step != oidc.StepLogin {
		t.Fatalf("got step %v, want the login", step)
	}
	path := "/login?request=" + string(r.ID)
	wantPage(t, b.get(t, path), 200, "confirm that it is you", `value="ann@berlin.example"`)
	s.advance(time.Minute)
	wantRedirect(t, b.post(t, path, "login", annEmail, "password", annPassword), "/oauth2/authorize/continue?request="+string(r.ID))
	renewed := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	if renewed.ID != session.ID || !renewed.AuthTime.Equal(s.clock()) {
		t.Errorf("got %+v, want the same session, authenticated now", renewed)
	}
}

func TestTenantChooser(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		field, value string
		status       int
		tenant       string // chosen in the end
	}{
		"by slug":             {"tenant", "munich", 303, "munich"},
		"accept":              {"accept", "oslo", 303, "oslo"},
		"not a member":        {"tenant", "vienna", 422, ""},
		"does not exist":      {"tenant", "nowhere", 422, ""},
		"not yet accepted":    {"tenant", "oslo", 422, ""},
		"nothing to accept":   {"accept", "berlin", 422, ""},
		"nothing":             {"", "", 422, ""},
		"decline is no entry": {"decline", "berlin", 422, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := s.browser(t)
			r := b.request(t, oidc.Parameters{})
			path := "/login/tenant?request=" + string(r)
			wantRedirect(t, b.get(t, path), "/oauth2/authorize/continue?request="+string(r)) // nobody is signed in
			b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
			wantPage(t, b.get(t, path), 200, "Berlin", "Owner", "Munich", "Viewer", "Oslo invites you", `name="accept" value="oslo"`, "Shop")
			if strings.Contains(b.get(t, path).body, "Vienna") {
				t.Error("the page shows a tenant of others")
			}
			a := b.post(t, path, test.field, test.value)
			if a.StatusCode != test.status {
				t.Fatalf("got %d, want %d", a.StatusCode, test.status)
			}
			stored := must(s.oidc.Request(t.Context(), r, secret.NewText(b.cookie(t, cookie.Browser))))(t)
			chosen := ""
			if stored.Tenant != "" {
				chosen = must(s.directory.Tenant(t.Context(), string(stored.Tenant)))(t).Slug
			}
			if chosen != test.tenant {
				t.Errorf("got tenant %q, want %q", chosen, test.tenant)
			}
		})
	}
}

func TestDecliningAnInvitation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	r := b.request(t, oidc.Parameters{TenantName: "oslo"})
	b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
	path := "/login/tenant?request=" + string(r)
	wantPage(t, b.get(t, path), 200, "Oslo invites you")
	wantRedirect(t, b.post(t, path, "decline", "oslo"), path)
	wantPage(t, b.get(t, path), 200, "No tenant available", "Sign out")
}

func TestInvitationsOnTheOwnPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	wantRedirect(t, b.post(t, "/me/tenants", "accept", "oslo"), "/login")
	b.signIn(t)
	wantPage(t, b.post(t, "/me/tenants", "accept", "vienna"), 404, "No such invitation")
	wantRedirect(t, b.post(t, "/me/tenants", "accept", "oslo"), "/me/tenants")
	if body := b.get(t, "/me").body; strings.Contains(body, "invites you") {
		t.Error("the invitation is still there")
	}
	wantPage(t, b.post(t, "/me/tenants", "decline", "oslo"), 404, "No such invitation")
}

func TestSessionsOnTheOwnPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	here, there, everywhere := s.browser(t), s.browser(t), s.browser(t)
	for _, b := range []*browser{here, there, everywhere} {
		b.signIn(t)
	}
	other := must(s.authn.Session(t.Context(), secret.NewText(there.cookie(t, cookie.Session))))(t)
	wantRedirect(t, here.post(t, "/me/sessions", "session", string(other.ID)), "/me")
	wantRedirect(t, there.get(t, "/me"), "/login")
	wantPage(t, everywhere.get(t, "/me"), 200)

	// Somebody else's session is none of Ann's business.
	bob := must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "bob@berlin.example", Name: directory.Name{Given: "Bob"}}))(t)
	if err := s.authn.SetPassword(t.Context(), bob.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	bobs := s.browser(t)
	bobs.get(t, "/login")
	wantRedirect(t, bobs.post(t, "/login", "login", "bob@berlin.example", "password", annPassword), "/me")
	session := must(s.authn.Session(t.Context(), secret.NewText(bobs.cookie(t, cookie.Session))))(t)
	wantRedirect(t, here.post(t, "/me/sessions", "session", string(session.ID)), "/me")
	wantPage(t, bobs.get(t, "/me"), 200, "Bob")

	wantRedirect(t, here.post(t, "/me/sessions", "all", "all"), "/logout")
	wantRedirect(t, everywhere.get(t, "/me"), "/login")
	wantPage(t, bobs.get(t, "/me"), 200, "Bob")
}

func TestSetup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	token := must(s.authn.SetupLink(t.Context()))(t)
	path := "/setup?token=" + token.Reveal()
	fields := func(password, again string) []string {
		return []string{"given", "Olive", "family", "Ops", "email", "olive@ops.example", "password", password, "password_again", again}
	}
	wantPage(t, b.get(t, path), 200, "Set up Rolecall", `name="given"`, `name="password_again"`)
	wantPage(t, b.post(t, path, fields("a long password", "another password")...), 422, "not the same", `value="Olive"`)
	wantPage(t, b.post(t, path, fields("short", "short")...), 422, "too short")
	wantPage(t, b.post(t, path), 422, "Enter an e-mail address")
	wantPage(t, b.post(t, "/setup", fields("a long password", "a long password")...), 404, "This link does not work")
	wantPage(t, b.post(t, "/setup", fields("a long password", "another password")...), 404, "This link does not work")
	wantRedirect(t, b.post(t, path, fields("a long password", "a long password")...), "/me")
	wantPage(t, b.get(t, "/me"), 200, "Olive Ops", "Operator", "rolecall apply", "http://id.test")
	wantPage(t, b.get(t, path), 404, "This link does not work")
	wantPage(t, s.browser(t).post(t, path, fields("a long password", "a long password")...), 404, "This link does not work")
}

func TestErrorsLeakNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	_ = s.store.Close()
	a := b.get(t, "/me")
	wantPage(t, a, 500, "Something went wrong", "request-1")
	for _, inner := range []string{"sql", "database", "storage", "closed"} {
		if strings.Contains(strings.ToLower(a.body), inner) {
			t.Errorf("the page says %q:\n%s", inner, a.body)
		}
	}
}

// operator is a context in which the operator acts.
func operator(t *testing.T) context.Context {
	t.Helper()
	return authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
}
