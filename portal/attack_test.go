package portal_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// A cookie planted before the sign-in is not the session after it.
func TestAttackSessionFixation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, planted := range map[string]string{
		"made up": secret.Random("").Reveal(),
		"another person's": func() string {
			bob := must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "bob@berlin.example"}))(t)
			if err := s.authn.SetPassword(t.Context(), bob.ID, secret.NewText(annPassword)); err != nil {
				t.Fatal(err)
			}
			b := s.browser(t)
			b.get(t, "/login")
			b.post(t, "/login", "login", "bob@berlin.example", "password", annPassword)
			return b.cookie(t, cookie.Session)
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser(t)
			b.get(t, "/login")
			b.Jar.SetCookies(must(url.Parse(s.URL))(t), []*http.Cookie{{Name: cookie.Session, Value: planted, Path: "/"}})
			wantRedirect(t, b.post(t, "/login", "login", annEmail, "password", annPassword), "/me")
			if b.cookie(t, cookie.Session) == planted {
				t.Error("the planted cookie was kept")
			}
			if session, err := s.authn.Session(t.Context(), secret.NewText(planted)); err == nil {
				t.Errorf("the planted cookie is %s's session now", session.User)
			}
		})
	}
}

// What one browser began, another can't go on with: not an application's
// request, and not a sign-in that waits for its second factor.
func TestAttackAnotherBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	victim, attacker := s.browser(t), s.browser(t)
	attacker.get(t, "/login")
	r := victim.request(t, oidc.Parameters{})
	path := "/login?request=" + string(r)
	wantPage(t, attacker.get(t, path), 404, "another browser")
	wantPage(t, attacker.post(t, path, "login", annEmail, "password", annPassword), 404, "another browser")
	wantPage(t, attacker.get(t, "/login/tenant?request="+string(r)), 404, "another browser")

	at := victim.post(t, path, "login", annEmail, "password", annPassword).Header.Get("Location")
	wantPage(t, attacker.get(t, at), 404, "another browser")
	wantPage(t, attacker.post(t, at, "code", s.code(t)), 404, "another browser")
	if attacker.cookie(t, cookie.Session) != "" {
		t.Error("the attacker got a session")
	}
	wantRedirect(t, victim.post(t, at, "code", s.code(t)), "/oauth2/authorize/continue?request="+string(r))
	// A finished sign-in is not gone through again, nor its code.
	wantPage(t, victim.post(t, at, "code", s.code(t)), 404)
}

// authentik CVE-2026-49443: a stage skipped by an empty POST.
func TestAttackStepsCanNotBeSkipped(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	b := s.browser(t)
	b.get(t, "/login")
	for _, path := range []string{"/login/code", "/login/code?login=", "/login/code?login=nonsense"} {
		wantRedirect(t, b.post(t, path, "code", s.code(t)), "/login")
		wantRedirect(t, b.get(t, path), "/login")
	}
	at := b.post(t, "/login", "login", annEmail, "password", annPassword).Header.Get("Location")
	for _, fields := range [][]string{nil, {"code", ""}, {"code", " "}, {"login", annEmail, "password", annPassword}, {"step", "done"}} {
		wantPage(t, b.post(t, at, fields...), 422)
	}
	wantPage(t, b.post(t, strings.Replace(at, "/login/code", "/login", 1)), 422) // an empty password form
	wantPage(t, b.post(t, at+"&code="+s.code(t)), 422)                           // a code in the address does not count
	if b.cookie(t, cookie.Session) != "" {
		t.Fatal("a session without the second factor")
	}
	wantRedirect(t, b.get(t, "/me"), "/login")
}

// Zitadel CVE-2024-41952 and others: the same body and status for everybody.
func TestAttackEnumeration(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx := operator(t)
	must(s.directory.SaveUser(ctx, directory.UserSpec{Email: "nopassword@berlin.example"}))(t)
	disabled := must(s.directory.SaveUser(ctx, directory.UserSpec{Email: "disabled@berlin.example"}))(t)
	if err := s.authn.SetPassword(ctx, disabled.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	must(s.store.UpdateUser(ctx, disabled.ID, func(u *directory.User) error { u.Disabled = true; return nil }))(t)
	b := s.browser(t)
	b.get(t, "/login")
	try := func(email, password string) string {
		a := b.post(t, "/login", "login", email, "password", password)
		return strings.ReplaceAll(strconv.Itoa(a.StatusCode)+a.Header.Get("Retry-After")+a.body, email, "EMAIL")
	}
	emails := []string{annEmail, "unknown@berlin.example", "nopassword@berlin.example", "disabled@berlin.example", "no address"}
	for attempt := range 12 { // past the point where attempts are delayed
		want := try(emails[0], "wrong password")
		for _, email := range emails[1:] {
			if got := try(email, annPassword); got != want {
				t.Fatalf("attempt %d: %s looks different from a wrong password:\n%s\n%s", attempt+1, email, got, want)
			}
		}
	}
	a := b.post(t, "/login", "login", annEmail, "password", annPassword)
	wantPage(t, a, 429, "Too many attempts")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.advance(time.Hour)
	wantRedirect(t, b.post(t, "/login", "login", annEmail, "password", annPassword), "/me")
}

func TestAttackCodeReplay(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	code := s.code(t)
	type try struct {
		*browser
		at string
	}
	var tries []try
	for range 4 {
		b := s.browser(t)
		b.get(t, "/login")
		tries = append(tries, try{b, b.post(t, "/login", "login", annEmail, "password", annPassword).Header.Get("Location")})
	}
	var wg sync.WaitGroup
	statuses := make([]int, len(tries))
	for i, try := range tries {
		wg.Go(func() { statuses[i] = try.post(t, try.at, "code", code).StatusCode })
	}
	wg.Wait()
	passed := 0
	for _, status := range statuses {
		if status == http.StatusSeeOther {
			passed++
		} else if status != http.StatusUnprocessableEntity {
			t.Errorf("got %d", status)
		}
	}
	if passed != 1 {
		t.Errorf("one code passed %d times", passed)
	}
}

func TestAttackTooManyCodes(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	b := s.browser(t)
	b.get(t, "/login")
	at := b.post(t, "/login", "login", annEmail, "password", annPassword).Header.Get("Location")
	for range 5 {
		wantPage(t, b.post(t, at, "code", "000000"), 422)
	}
	wantPage(t, b.post(t, at, "code", s.code(t)), 429, "Try again in 1")
}

func TestAttackCrossSiteForms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	for _, path := range []string{"/login", "/login/code", "/login/tenant", "/logout", "/setup", "/me/tenants", "/me/sessions", "/me/activity/not-me", "/me/applications", "/me/tokens/berlin/new", "/me/profile", "/me/profile/download", "/me/profile/delete"} {
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader("all=all&accept=oslo")))(t)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(name, value)
			wantPage(t, b.do(t, r), 403, "sent from another site")
		}
	}
	wantPage(t, b.get(t, "/me"), 200, "Oslo invites you")
	// Lax cookies don't come with a form of another site: without the cookie of
	// this browser there is no sign-in either.
	wantPage(t, s.browser(t).post(t, "/login", "login", annEmail, "password", annPassword), 400, "Cookies are needed")
}

// RFC 9700 §4.11.2.
func TestAttackOpenRedirect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, target := range []string{
		"//evil.example", `/\evil.example`, `\\evil.example`, "https:evil.example", "https://evil.example", "http:///evil.example",
		"javascript:alert(1)", "/\t/evil.example", "/\n/evil.example", "//evil.example%2f..", "/../..//evil.example", "///evil.example", " //evil.example",
		"/x\r\nLocation: https://evil.example", "", "me",
	} {
		b := s.browser(t)
		path := "/login?continue=" + url.QueryEscape(target)
		b.get(t, path)
		wantRedirect(t, b.post(t, path, "login", annEmail, "password", annPassword), "/me")
		wantRedirect(t, b.get(t, path), "/me")
		wantRedirect(t, b.post(t, "/logout", "continue", target), "/logout")
	}
	b := s.browser(t)
	b.get(t, "/login")
	wantRedirect(t, b.post(t, "/login?continue=%2Fme%3Fx%3Dy", "login", annEmail, "password", annPassword), "/me?x=y")
	wantRedirect(t, b.post(t, "/logout", "continue", "/login"), "/login")
}

func TestAttackMarkup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	const markup = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	r := b.request(t, oidc.Parameters{LoginHint: markup})
	path := "/login?request=" + string(r)
	for _, a := range []answer{
		b.get(t, path), b.post(t, path, "login", markup, "password", "x"),
		b.get(t, "/login/code?login="+url.QueryEscape(markup)), b.get(t, "/"+url.PathEscape(markup)),
	} {
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img") {
			t.Errorf("markup came back as markup:\n%s", a.body)
		}
	}
}

// Cookies carry what a browser needs to keep them to itself.
func TestCookiesAreKeptToTheServer(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	first := b.get(t, "/login")
	second := b.post(t, "/login", "login", annEmail, "password", annPassword)
	for _, c := range append(first.Cookies(), second.Cookies()...) {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Domain != "" || c.Path != "/" {
			t.Errorf("got %s", c)
		}
	}
	if len(second.Cookies()) != 2 || len(second.Cookies()[0].Value) != 43 || len(second.Cookies()[1].Value) != 43 {
		t.Errorf("got %v, want two cookies of 256 bits", second.Cookies())
	}
}
