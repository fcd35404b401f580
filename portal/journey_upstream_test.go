package portal_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/upstream"
)

// withProvider gives Berlin a provider, which signs in bob@berlin.example without a
// question, and whoever else is expected by the address that it is told.
func (s *site) withProvider(t *testing.T) *upstream.Provider {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: "one"}}, nil))(t)
	mux, here := http.NewServeMux(), ""
	answer := func(w http.ResponseWriter, what any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(what)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": here, "authorization_endpoint": here + "/authorize", "token_endpoint": here + "/token", "jwks_uri": here + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "one", Algorithm: "ES256"}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query() // what is to be remembered of it is the code here
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"state": {q.Get("state")}, "code": {q.Get("nonce") + " " + q.Get("login_hint")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		nonce, email, _ := strings.Cut(r.PostFormValue("code"), " ")
		if email == "" {
			email = "bob@berlin.example"
		}
		now := s.clock()
		claims, _ := json.Marshal(map[string]any{
			"iss": here, "aud": "rolecall", "sub": email, "nonce": nonce, "email": email, "email_verified": true,
			"exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "auth_time": now.Unix(),
		})
		signed, err := signer.Sign(claims)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		token, _ := signed.CompactSerialize()
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": token})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	here = server.URL
	tenant := must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Domains: []string{"berlin.example"}}))(t)
	return must(s.upstream.Create(operator(t), tenant.ID, upstream.Settings{
		Name: new("Entra"), Issuer: &here, ClientID: new("rolecall"), Secret: new(secret.NewText("there")), Domains: &[]string{"berlin.example"},
		JustInTime: new(true), Role: new("member"),
	}))(t)
}

// By the button where the tenant is known, by the address elsewhere, and by nothing
// else where the tenant wants that.
func TestJourneyUpstream(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.site.withProvider(t)
	request := c.begin(t, oidc.Parameters{TenantName: "berlin"})
	c.run(t, c.open("/login?request="+string(request)), text("Sign in with Entra"))
	c.see(t, "login-provider")
	c.run(t, c.open("/login"), chromedp.Click("#sso_button"), text("Check the address"))
	c.see(t, "login-provider-none")
	c.run(t, chromedp.SetValue("#username", "bob@berlin.example"))
	c.see(t, "login-provider-address")
	c.run(t, chromedp.Click("#sso_button"), c.at("/me"), text("bob@berlin.example"), c.open("/me/security"), text("Accounts of your organizations"))
	c.see(t, "security-links")
	c.run(t, c.open("/logout"), chromedp.Click("#submit_button"), text("You are signed out"))

	must(c.site.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{SSO: directory.SSORequired}}))(t)
	request = c.begin(t, oidc.Parameters{TenantName: "berlin"})
	bob := must(c.site.store.UserByEmail(t.Context(), "bob@berlin.example"))(t)
	if err := c.site.authn.SetPassword(operator(t), bob.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.open("/login?request="+string(request)), chromedp.SendKeys("#username", "bob@berlin.example"), chromedp.SendKeys("#password", annPassword),
		chromedp.Click("#submit_button"), text("not with a password"))
	c.see(t, "login-provider-required")
}

// TX-R26, in the browser: from the page of what one signs in with to the provider
// and back.
func TestJourneyLink(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.site.withProvider(t)
	c.run(t, c.password(), c.at("/me"), c.open("/me/security"), text("Link an account of Entra"), chromedp.Click(`a[href^="/login/link"]`), text("from now on?"))
	c.see(t, "link")
	c.run(t, chromedp.Click("#submit_button"), c.at("/me/security"), text("The account is linked"))
}

// A tenant's administrator adds a provider, tests it, and switches it off.
func TestJourneyProviders(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	provider := c.site.withProvider(t)
	c.run(t, c.password(), c.at("/me"), c.open("/t/munich/identity-providers"), text("Not allowed"),
		c.open("/t/berlin/identity-providers"), text("How people sign in to Berlin"))
	c.see(t, "providers")
	c.run(t, chromedp.Click(`button[value="test"]`), text("answers as it should"),
		chromedp.SendKeys("#name", "Entra"), chromedp.SendKeys("#issuer", "https://login.example"), chromedp.SendKeys("#client_id", "rolecall"),
		chromedp.Click("#submit_button"), text("This is not accepted"))
	c.see(t, "providers-refused")
	c.run(t, chromedp.SetValue("#name", "Okta"), chromedp.Click("#submit_button"), text("The provider is added"), text("Okta"),
		chromedp.Click(`form[action$="`+string(provider.ID)+`"] button[value="disable"]`), text("It is disabled"))
	c.see(t, "providers-disabled")
	c.site.advance(11 * time.Minute)
	c.run(t, c.open("/t/berlin/identity-providers"), c.at("/login"), text("confirm that it is you"))
	c.run(t, c.open("/logout"), chromedp.Click("#submit_button"), text("You are signed out"), c.open("/t/berlin/identity-providers"), c.at("/login"))
}
