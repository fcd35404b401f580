package portal_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// bob is somebody else, who has signed in.
func (s *site) bob(t *testing.T) (*directory.User, *browser) {
	t.Helper()
	bob := must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "bob@berlin.example", Name: directory.Name{Given: "Bob"}}))(t)
	if err := s.authn.SetPassword(t.Context(), bob.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	b.get(t, "/login")
	wantRedirect(t, b.post(t, "/login", "login", "bob@berlin.example", "password", annPassword), "/me")
	return bob, b
}

// memberAs makes somebody a member of a tenant that there is.
func (s *site) memberAs(t *testing.T, user *directory.User, name, role string) {
	t.Helper()
	tenant := must(s.directory.Tenant(t.Context(), strings.ToLower(name)))(t)
	must(s.directory.SaveMembership(operator(t), tenant.ID, user, directory.MembershipSpec{Roles: []string{role}}))(t)
}

// granted signs the browser in to the shop in a tenant and returns the tokens.
func (b *browser) granted(t *testing.T, tenant string, scopes ...string) *oidc.Tokens {
	t.Helper()
	s, ctx := b.site, t.Context()
	if err := s.oidc.EnsureKeys(ctx); err != nil {
		t.Fatal(err)
	}
	session := must(s.authn.Session(ctx, secret.NewText(b.cookie(t, cookie.Session))))(t)
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	r := s.oidc.NewRequest("shop", secret.NewText(b.cookie(t, cookie.Browser)), oidc.Parameters{
		RedirectURI: "https://shop.example/callback", TenantName: tenant, Scopes: append([]string{oidc.ScopeOpenID}, scopes...),
		Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
	})
	if step := must(s.oidc.Begin(ctx, r, session))(t); step != oidc.StepDone {
		t.Fatalf("got step %v, want done", step)
	}
	code := must(s.oidc.Authorize(ctx, r, session, false))(t)
	a := must(s.oidc.Application(ctx, "shop"))(t)
	return must(s.oidc.Exchange(ctx, a, code, r.RedirectURI, verifier, oidc.Terms{}))(t)
}

func TestOwnActivity(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, bobs := s.bob(t)
	b := s.browser(t)
	wantRedirect(t, b.get(t, "/me/activity"), "/login")
	b.get(t, "/login")
	b.post(t, "/login", "login", annEmail, "password", "wrong")
	b.signIn(t)
	page := b.get(t, "/me/activity")
	wantPage(t, page, 200, "Signed in", "A sign-in failed", "Look at this", "Firefox on Linux", "127.0.0.1")
	if strings.Contains(page.body, "Older") {
		t.Error("a short list has another page")
	}
	if body := bobs.get(t, "/me/activity").body; strings.Contains(body, "A sign-in failed") {
		t.Error("Bob sees what happened to Ann")
	}
	// What somebody else does to an account is told of to whose account it is.
	if err := s.authn.SendPasswordReset(operator(t), s.ann.ID); err != nil {
		t.Fatal(err)
	}
	wantPage(t, b.get(t, "/me/activity"), 200, "A link to choose a new password was sent", "Not by you")
	for range 30 {
		s.advance(time.Second)
		b.signInAgain(t)
	}
	seen, next := 0, "/me/activity"
	for pages := 0; next != ""; pages++ {
		page := b.get(t, next)
		wantPage(t, page, 200)
		seen += strings.Count(page.body, "Signed in")
		found := regexp.MustCompile(`href="(/me/activity\?before=[^"]+)">Older`).FindStringSubmatch(page.body)
		if next = ""; found != nil {
			next = found[1]
		}
		if pages > 3 {
			t.Fatal("the pages have no end")
		}
	}
	if seen != 31 {
		t.Errorf("got %d sign-ins on all pages, want 31", seen)
	}
	wantPage(t, b.get(t, "/me/activity?before=nonsense"), 404)
}

// signInAgain confirms who the person is.
func (b *browser) signInAgain(t *testing.T) {
	t.Helper()
	b.get(t, "/login?confirm=1")
	wantRedirect(t, b.post(t, "/login?confirm=1", "login", annEmail, "password", annPassword), "/me")
}

func TestThisWasNotMe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, bobs := s.bob(t)
	here, there := s.browser(t), s.browser(t)
	here.signIn(t)
	there.signIn(t)
	wantPage(t, here.get(t, "/me/activity/not-me"), 200, "signed in: 1.", "Sign out all others", "/me/security#change", "/me/applications")
	wantRedirect(t, here.post(t, "/me/activity/not-me", "others", "end"), "/me/activity/not-me?done=1")
	wantPage(t, here.get(t, "/me/activity/not-me?done=1"), 200, "Every other browser is signed out", "No other browser is signed in")
	wantRedirect(t, there.get(t, "/me"), "/login")
	wantPage(t, bobs.get(t, "/me"), 200, "Bob")
}

func TestConnectedApplications(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, bobs := s.bob(t)
	b := s.browser(t)
	b.signIn(t)
	wantPage(t, b.get(t, "/me/applications"), 200, "No application holds anything")
	tokens := b.granted(t, "berlin", oidc.ScopeOffline)
	online := b.granted(t, "munich")
	wantPage(t, b.get(t, "/me/applications"), 200, "Shop", "<bdi>Berlin</bdi>, <bdi>Munich</bdi>", "Also while you are signed out", "your roles at Berlin, Munich")
	wantPage(t, bobs.get(t, "/me/applications"), 200, "No application holds anything")
	// Somebody else's and what is none look alike, and change nothing.
	wantPage(t, bobs.post(t, "/me/applications", "client_id", "shop"), 404, "Page not found")
	wantPage(t, b.post(t, "/me/applications", "client_id", "nothing"), 404, "Page not found")
	wantPage(t, b.get(t, "/me/applications"), 200, "Shop")

	wantRedirect(t, b.post(t, "/me/applications", "client_id", "shop"), "/me/applications?done=1")
	wantPage(t, b.get(t, "/me/applications?done=1"), 200, "is disconnected", "No application holds anything")
	a := must(s.oidc.Application(t.Context(), "shop"))(t)
	if _, err := s.oidc.Refresh(t.Context(), a, tokens.Refresh, "", oidc.Terms{}); err == nil {
		t.Error("the refresh token works on")
	}
	if _, err := s.oidc.UserInfo(t.Context(), oidc.Bearer(secret.NewText(online.Access))); err == nil {
		t.Error("the access token works on")
	}
	wantPage(t, b.get(t, "/me/activity"), 200, "Shop disconnected")
	wantPage(t, b.post(t, "/me/applications", "client_id", "shop"), 404)
}
