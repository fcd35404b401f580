package portal_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

var confirmationField = regexp.MustCompile(`name="confirmation" value="([^"]+)"`)

func TestConsentPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	parameters := oidc.Parameters{
		Prompt: []string{oidc.PromptConsent}, TenantName: "berlin",
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeEmail, oidc.ScopeOffline, "tenant:berlin", "later"},
	}
	r := b.request(t, parameters)
	path := "/login/consent?request=" + string(r)
	wantRedirect(t, b.get(t, path), "/oauth2/authorize/continue?request="+string(r)) // nobody is signed in
	b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
	page := b.get(t, path)
	wantPage(t, page, http.StatusOK, "Allow Shop access?", "Berlin", annEmail, "See your e-mail address", "until you take it back", "Use “later”",
		"shop.example", `id="confirm_button"`, `id="cancel_button"`, `action="/oauth2/authorize/cancel"`, `value="`+string(r)+`"`)
	if strings.Contains(page.body, "tenant:berlin") {
		t.Error("the tenant is shown as something to allow")
	}
	found := confirmationField.FindStringSubmatch(page.body)
	if found == nil {
		t.Fatal("the form has no confirmation")
	}
	waits := func(name string) {
		t.Helper()
		request := must(s.oidc.Request(t.Context(), r, secret.NewText(b.cookie(t, cookie.Browser))))(t)
		session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
		if step := must(s.oidc.Next(t.Context(), request, session))(t); step != oidc.StepConsent {
			t.Errorf("%s: step %v, want that it still waits for the consent", name, step)
		}
	}
	wantPage(t, b.post(t, path, "confirmation", found[1]), http.StatusOK, "Allow Shop access?") // nothing was pressed
	waits("no answer")
	b.post(t, path, "consent", "allow")
	waits("no confirmation")
	b.post(t, path, "consent", "allow", "confirmation", "AAAA")
	waits("another confirmation")
	other := s.browser(t)
	other.get(t, "/login")
	wantPage(t, other.post(t, path, "consent", "allow", "confirmation", found[1]), http.StatusNotFound)
	waits("another browser")

	wantRedirect(t, b.post(t, path, "consent", "allow", "confirmation", found[1]), "/oauth2/authorize/continue?request="+string(r))
	wantRedirect(t, b.get(t, path), "/oauth2/authorize/continue?request="+string(r)) // asked once
	wantPage(t, b.get(t, "/me/applications"), http.StatusOK, "Shop", "Allowed by you", "Keep this access while you are signed out")
	wantPage(t, b.get(t, "/me/activity"), http.StatusOK, "Access allowed to Shop")
	wantRedirect(t, b.post(t, "/me/applications", "client_id", "shop"), "/me/applications?done=1")
	wantPage(t, b.get(t, "/me/applications"), http.StatusOK, "No application holds anything of yours")
}

// Every page of a sign-in that an application asked for can be left; one that
// nobody asked for has nobody to tell.
func TestSignInCanBeLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	r := b.request(t, oidc.Parameters{})
	wantPage(t, b.get(t, "/login?request="+string(r)), http.StatusOK, `action="/oauth2/authorize/cancel"`, `id="cancel_button"`)
	if strings.Contains(s.browser(t).get(t, "/login").body, "cancel_button") {
		t.Error("a sign-in of one's own can be canceled")
	}
	b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
	wantPage(t, b.get(t, "/login/tenant?request="+string(r)), http.StatusOK, `id="cancel_button"`)
}

// A person allows an application what it asks for, and then something more.
func TestJourneyConsent(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	all := []string{
		oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail, oidc.ScopePhone, oidc.ScopeAddress, oidc.ScopeGroups, oidc.ScopePermissions, oidc.ScopeTenants,
		oidc.ScopeOffline,
	}
	r, _ := c.asks(t, oidc.Parameters{TenantName: "berlin", Prompt: []string{oidc.PromptConsent}, Scopes: all[:3]})
	c.run(t, text("Sign in to Shop"), chromedp.SendKeys("#username", annEmail))
	c.see(t, "login-cancel")
	c.run(t, c.typePassword())
	if _, _, step := c.next(t, r.ID); step != oidc.StepConsent {
		t.Fatalf("got step %v, want the consent", step)
	}
	c.run(t, c.open("/login/consent?request="+string(r.ID)), text("Allow Shop access?"))
	c.see(t, "consent")
	c.run(t, chromedp.Click("#confirm_button"))
	c.idToken(t, r.ID)

	r, step := c.asks(t, oidc.Parameters{TenantName: "berlin", Prompt: []string{oidc.PromptConsent}, Scopes: all})
	if step != oidc.StepConsent {
		t.Fatalf("got step %v, want the consent", step)
	}
	c.run(t, c.open("/login/consent?request="+string(r.ID)), text("new"))
	c.see(t, "consent-more")
	c.run(t, chromedp.Click("#confirm_button"))
	c.idToken(t, r.ID)
	c.run(t, c.open("/me/applications"), text("Allowed by you"), chromedp.Click("summary", chromedp.ByQuery))
	c.see(t, "own-applications-allowed")
}

// TestConsentPage_Registered: whom people are asked about who has registered himself
// is nobody that the tenant knows.
func TestConsentPage_Registered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator := authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
	berlin := must(s.store.TenantByName(t.Context(), "berlin"))(t)
	must(s.store.UpdateTenant(t.Context(), berlin.ID, func(t *directory.Tenant) error {
		t.Policy.DynamicRegistration = true
		return nil
	}))(t)
	_, token, err := s.oidc.CreateRegistrationToken(operator, oidc.RegistrationToken{Tenant: berlin.ID})
	if err != nil {
		t.Fatal(err)
	}
	visitor := must(s.oidc.Register(t.Context(), token, oidc.ClientMetadata{Name: "<b>Bank</b>", RedirectURIs: []string{"https://visitor.example/"}}, authn.Client{}))(t)
	b := s.browser(t)
	b.get(t, "/login")
	r := s.oidc.NewRequest(visitor.Application.ClientID, secret.NewText(b.cookie(t, cookie.Browser)), oidc.Parameters{
		RedirectURI: "https://visitor.example/", Scopes: []string{oidc.ScopeOpenID},
	})
	must(s.oidc.Begin(t.Context(), r, nil))(t)
	b.post(t, "/login?request="+string(r.ID), "login", annEmail, "password", annPassword)
	wantPage(t, b.get(t, "/login/consent?request="+string(r.ID)), http.StatusOK, "&lt;b&gt;Bank&lt;/b&gt; has registered itself", "visitor.example", `id="unchecked"`)
	if page := b.get(t, "/login/consent?request="+string(b.request(t, oidc.Parameters{Prompt: []string{oidc.PromptConsent}, Scopes: []string{oidc.ScopeOpenID}, TenantName: "berlin"}))); strings.Contains(page.body, "registered itself") {
		t.Error("it is said of the operator's application")
	}
}
