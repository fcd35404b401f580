package portal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// A person's own pages belong to no tenant: the strictest of those that they can
// use says for how long a session counts there. Who invites has no say.
func TestSessionLimitsOfOwnPages(t *testing.T) {
	t.Parallel()
	limits := func(t *testing.T, s *site, slug string, policy directory.Policy) {
		t.Helper()
		must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: slug, Policy: &policy}))(t)
	}
	signInAgain := func(t *testing.T, b *browser) {
		t.Helper()
		wantRedirect(t, b.get(t, "/me"), "/login")
		wantRedirect(t, b.post(t, "/me/sessions", "all", "all"), "/login")
		wantPage(t, b.get(t, "/login"), 200, `value="`+annEmail+`"`)
		wantRedirect(t, b.post(t, "/login", "login", annEmail, "password", annPassword), "/me")
		wantPage(t, b.get(t, "/me"), 200, "Ann Berg")
	}
	t.Run("the strictest counts", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		limits(t, s, "berlin", directory.Policy{SessionIdleMinutes: 60})
		limits(t, s, "munich", directory.Policy{SessionIdleMinutes: 10, SessionHours: 1})
		limits(t, s, "oslo", directory.Policy{SessionIdleMinutes: 5})
		b := s.browser(t)
		b.signIn(t)
		for range 5 {
			s.advance(9 * time.Minute)
			wantPage(t, b.get(t, "/me"), 200, "Ann Berg")
		}
		s.advance(10 * time.Minute)
		signInAgain(t, b)
		for range 6 {
			s.advance(9 * time.Minute)
			wantPage(t, b.get(t, "/me"), 200, "Ann Berg")
		}
		s.advance(6 * time.Minute) // an hour since the sign-in
		signInAgain(t, b)
	})
	t.Run("the session still counts elsewhere", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		limits(t, s, "munich", directory.Policy{SessionIdleMinutes: 10})
		b := s.browser(t)
		b.signIn(t)
		s.advance(11 * time.Minute)
		wantRedirect(t, b.get(t, "/me"), "/login")
		session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
		for scope, want := range map[string]oidc.Step{"berlin": oidc.StepDone, "munich": oidc.StepLogin} {
			r := s.oidc.NewRequest("shop", secret.NewText(b.cookie(t, cookie.Browser)), oidc.Parameters{RedirectURI: "https://shop.example/callback", TenantName: scope})
			if step := must(s.oidc.Begin(t.Context(), r, session))(t); step != want {
				t.Errorf("%s: step %v, want %v", scope, step, want)
			}
		}
	})
}

// The overview says which applications are signed in by each browser.
func TestApplicationsOfSessions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	here, there := s.browser(t), s.browser(t)
	here.signIn(t)
	there.signIn(t)
	session := must(s.authn.Session(t.Context(), secret.NewText(there.cookie(t, cookie.Session))))(t)
	r := s.oidc.NewRequest("shop", secret.NewText(here.cookie(t, cookie.Browser)), oidc.Parameters{RedirectURI: "https://shop.example/callback", TenantName: "berlin"})
	must(s.oidc.Authorize(t.Context(), r, session, false))(t)
	page := here.get(t, "/me")
	wantPage(t, page, 200, "Applications: <bdi>Shop</bdi>")
	other := page.body[strings.Index(page.body, `id="session-`+string(session.ID)):]
	if strings.Count(page.body, "Applications:") != 1 || !strings.Contains(other[:strings.Index(other, "</li>")], "Applications: <bdi>Shop</bdi>") {
		t.Errorf("the application stands with another session:\n%s", page.body)
	}
	wantRedirect(t, here.post(t, "/me/sessions", "session", string(session.ID)), "/me")
	if page := here.get(t, "/me"); strings.Contains(page.body, "Applications:") {
		t.Errorf("the application outlives the session:\n%s", page.body)
	}
}
