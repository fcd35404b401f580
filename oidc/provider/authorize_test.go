package provider_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

func (b *browser) authorize(t testing.TB, pairs ...string) answer {
	t.Helper()
	return b.get(t, "/oauth2/authorize", params(pairs...))
}

// waits checks that a page of the portal comes next, and returns the request.
func (a answer) waits(t testing.TB, page string) id.AuthorizationRequest {
	t.Helper()
	return id.AuthorizationRequest(a.redirected(t, page+"?request=").Get("request"))
}

func (b *browser) resume(t testing.TB, request id.AuthorizationRequest) answer {
	t.Helper()
	return b.get(t, "/oauth2/authorize/continue", url.Values{"request": {string(request)}})
}

func (b *browser) cookie() secret.Text {
	at, _ := url.Parse(b.in.url)
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == cookie.Browser {
			return secret.NewText(c.Value)
		}
	}
	return secret.Text{}
}

func TestErrorsBeforeTheApplicationIsKnownStayHere(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		in.application(t, nil)
		in.machine(t, in.tenant(t, "berlin", directory.Policy{}), nil)
		b := in.browser(t)
		for name, pairs := range map[string][]string{
			"RFC 6749 §4.1.2.1 unknown application": {"client_id", "nobody"},
			"no application":                        {"client_id", ""},
			"RFC 6749 §3.1.2.4 foreign redirect":    {"redirect_uri", "https://evil.example/callback"},
			"no redirect":                           {"redirect_uri", ""},
			"RFC 9700 §2.1 longer redirect":         {"redirect_uri", callback + "/"},
			"another case":                          {"redirect_uri", "https://SHOP.example/callback"},
			"a machine":                             {"client_id", "robot"},
		} {
			t.Run(name, func(t *testing.T) { b.authorize(t, pairs...).errorPage(t) })
		}
		for _, name := range []string{"client_id", "redirect_uri"} {
			t.Run("RFC 6749 §3.1 repeated "+name, func(t *testing.T) {
				query := params()
				query.Add(name, query.Get(name))
				b.get(t, "/oauth2/authorize", query).errorPage(t)
			})
		}
	})
}

func TestErrorsGoToTheApplication(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		in.application(t, nil)
		b := in.browser(t)
		cases := map[string]struct {
			pairs []string
			code  string
		}{
			"RFC 6749 §4.1.2.1 no response_type":     {[]string{"response_type", ""}, "invalid_request"},
			"RFC 9700 §2.1.2 token":                  {[]string{"response_type", "token"}, "unsupported_response_type"},
			"RFC 9700 §2.1.2 code id_token":          {[]string{"response_type", "code id_token"}, "unsupported_response_type"},
			"fragment":                               {[]string{"response_mode", "fragment"}, "invalid_request"},
			"RFC 9700 §2.1.1 no challenge":           {[]string{"code_challenge", ""}, "invalid_request"},
			"RFC 7636 §4.3 no method means plain":    {[]string{"code_challenge_method", ""}, "invalid_request"},
			"RFC 7636 §4.2 a challenge that is none": {[]string{"code_challenge", "short"}, "invalid_request"},
			"OIDC Core §3.1.2.6 request":             {[]string{"request", "eyJ"}, "request_not_supported"},
			"OIDC Core §3.1.2.6 request_uri":         {[]string{"request_uri", "https://shop.example/r"}, "request_uri_not_supported"},
			"OIDC Core §3.1.2.6 registration":        {[]string{"registration", "{}"}, "registration_not_supported"},
			"no scope":                               {[]string{"scope", ""}, "invalid_scope"},
			"unknown scopes only":                    {[]string{"scope", "write"}, "invalid_scope"},
			"RFC 6749 §3.3 a scope with a quote":     {[]string{"scope", `openid "x"`}, "invalid_scope"},
			"two tenants":                            {[]string{"scope", "openid tenant:a tenant:b"}, "invalid_scope"},
			"OIDC Core §3.1.2.1 none with login":     {[]string{"prompt", "none login"}, "invalid_request"},
			"unknown prompt":                         {[]string{"prompt", "shout"}, "invalid_request"},
			"negative max_age":                       {[]string{"max_age", "-1"}, "invalid_request"},
			"max_age that is no number":              {[]string{"max_age", "soon"}, "invalid_request"},
			"too long":                               {[]string{"login_hint", strings.Repeat("a", 3<<10)}, "invalid_request"},
			"OIDC Core §3.1.2.6 nobody is signed in": {[]string{"prompt", "none"}, "login_required"},
		}
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				got := b.authorize(t, c.pairs...).redirected(t, callback+"?")
				if got.Get("error") != c.code || got.Get("state") != "the state" || got.Get("iss") != in.url || got.Get("code") != "" {
					t.Errorf("got %v, want %s", got, c.code)
				}
				if got.Get("error_description") == "" {
					t.Error("no description")
				}
			})
		}
		t.Run("RFC 6749 §3.1 repeated scope", func(t *testing.T) {
			query := params()
			query.Add("scope", "openid")
			if got := b.get(t, "/oauth2/authorize", query).redirected(t, callback+"?"); got.Get("error") != "invalid_request" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("repeated state is not sent back", func(t *testing.T) {
			query := params()
			query.Add("state", "other")
			if got := b.get(t, "/oauth2/authorize", query).redirected(t, callback+"?"); got.Get("error") != "invalid_request" || got.Has("state") {
				t.Errorf("got %v", got)
			}
		})
	})
}

func TestStateAndNonceComeBackAsTheyAre(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.RedirectURIs = []string{callback + "?a=%63b&x"} })
		state, nonce := strings.Repeat("ü+&=%20<'", 200), strings.Repeat("n", 1024)
		reply := p.browser.authorize(t, "redirect_uri", callback+"?a=%63b&x", "state", state, "nonce", nonce)
		got := reply.redirected(t, callback+"?a=%63b&x&")
		if got.Get("state") != state {
			t.Error("the state was altered")
		}
		issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(got.Get("code"), "redirect_uri", callback+"?a=%63b&x")).tokens(t)
		if _, claims := parts(t, issued.id); claims["nonce"] != nonce {
			t.Error("the nonce was altered")
		}
	})
}

func TestAuthorizeByPost(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		got := p.browser.post(t, "/oauth2/authorize", params()).status(t, http.StatusSeeOther)
		if got.redirected(t, callback+"?").Get("code") == "" {
			t.Error("no code")
		}
		p.browser.post(t, "/oauth2/authorize?client_id=shop", params("client_id", "")).errorPage(t)
	})
}

func TestFormPost(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		for name, b := range map[string]*browser{"success": p.browser, "error": in.browser(t)} {
			t.Run(name, func(t *testing.T) {
				got := b.authorize(t, "response_mode", "form_post", "prompt", "none", "state", `"><script>`).status(t, http.StatusOK)
				for _, want := range []string{`action="https://shop.example/callback"`, `name="iss" value="` + in.url + `"`, `name="state" value="&#34;&gt;&lt;script&gt;"`, `id="submit_button"`} {
					if !strings.Contains(got.body, want) {
						t.Errorf("the page lacks %s: %s", want, got.body)
					}
				}
				field := map[string]string{"success": `name="code"`, "error": `name="error" value="login_required"`}[name]
				if !strings.Contains(got.body, field) {
					t.Errorf("the page lacks %s", field)
				}
				nonce := regexp.MustCompile(`script-src 'nonce-([\w-]+)'`).FindStringSubmatch(got.Header.Get("Content-Security-Policy"))
				if nonce == nil || !strings.Contains(got.body, `<script nonce="`+nonce[1]+`">`) {
					t.Errorf("policy %q", got.Header.Get("Content-Security-Policy"))
				}
			})
		}
	})
}

func TestLoginAndWhatCallsForIt(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		tenant, user := in.tenant(t, "berlin", directory.Policy{}), in.user(t, "ann@berlin.example")
		in.member(t, tenant, user, directory.StatusActive)
		in.application(t, nil)
		t.Run("nobody is signed in", func(t *testing.T) {
			b := in.browser(t)
			request := b.authorize(t, "login_hint", "ann@berlin.example", "ui_locales", "de en").waits(t, "/login")
			stored, err := in.oidc.Request(t.Context(), request, b.cookie())
			must(t, err)
			if stored.LoginHint != "ann@berlin.example" || len(stored.UILocales) != 2 {
				t.Errorf("kept %+v", stored.Parameters)
			}
			b.resume(t, request).waits(t, "/login") // reloading does no harm
			b.signIn(t, user, authn.ACR1)
			if got := b.resume(t, request).redirected(t, callback+"?"); got.Get("code") == "" {
				t.Errorf("got %v", got)
			}
			b.resume(t, request).errorPage(t) // once only
		})
		for name, pairs := range map[string][]string{"prompt=login": {"prompt", "login"}, "max_age=0": {"max_age", "0"}, "max_age=60": {"max_age", "60"}} {
			t.Run("OIDC Core §3.1.2.1 "+name, func(t *testing.T) {
				b := in.browser(t)
				before := b.signIn(t, user, authn.ACR1)
				in.advance(2 * time.Minute)
				request := b.authorize(t, pairs...).waits(t, "/login")
				b.resume(t, request).waits(t, "/login")
				in.advance(time.Second)
				b.signIn(t, user, authn.ACR1)
				in.advance(5 * time.Second)
				issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(b.resume(t, request).redirected(t, callback).Get("code"))).tokens(t)
				if _, claims := parts(t, issued.id); int64(claims["auth_time"].(float64)) <= before.AuthTime.Unix() {
					t.Error("auth_time is not later")
				}
			})
		}
		t.Run("OIDC Core §3.1.2.1 max_age=10000 keeps the sign-in", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, user, authn.ACR1)
			in.advance(time.Hour)
			b.code(t, "max_age", "10000")
		})
		t.Run("max_age with prompt=none", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, user, authn.ACR1)
			in.advance(time.Hour)
			if got := b.authorize(t, "prompt", "none", "max_age", "60").redirected(t, callback); got.Get("error") != "login_required" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("cancel", func(t *testing.T) {
			b := in.browser(t)
			request := b.authorize(t).waits(t, "/login")
			got := b.post(t, "/oauth2/authorize/cancel", url.Values{"request": {string(request)}}).status(t, http.StatusSeeOther).redirected(t, callback+"?")
			if got.Get("error") != "access_denied" || got.Get("state") != "the state" || got.Get("iss") != in.url {
				t.Errorf("got %v", got)
			}
			b.resume(t, request).errorPage(t)
		})
		t.Run("expires", func(t *testing.T) {
			b := in.browser(t)
			request := b.authorize(t).waits(t, "/login")
			in.advance(oidc.RequestLifetime)
			b.resume(t, request).errorPage(t)
		})
	})
}

func TestIDTokenHint(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID = "other" })
		bob := in.user(t, "bob@berlin.example")
		in.member(t, p.tenant, bob, directory.StatusActive)
		hint := p.browser.obtain(t)
		in.advance(2 * time.Hour) // expired, and still a hint
		t.Run("the same person, prompt=none", func(t *testing.T) { p.browser.code(t, "prompt", "none", "id_token_hint", hint.id) })
		t.Run("another person", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, bob, authn.ACR1)
			in.advance(time.Second)
			if got := b.authorize(t, "prompt", "none", "id_token_hint", hint.id).redirected(t, callback); got.Get("error") != "login_required" {
				t.Errorf("got %v", got)
			}
			request := b.authorize(t, "id_token_hint", hint.id).waits(t, "/login")
			in.advance(time.Second)
			b.signIn(t, bob, authn.ACR1)
			if got := b.resume(t, request).redirected(t, callback); got.Get("error") != "login_required" {
				t.Errorf("the wrong person again: %v", got)
			}
		})
		t.Run("what is no hint is ignored", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, bob, authn.ACR1)
			for _, text := range []string{"rubbish", hint.access} {
				b.code(t, "id_token_hint", text)
			}
			b.code(t, "id_token_hint", hint.id, "client_id", "other") // another application's
		})
		t.Run("keeps the tenant of a silent renewal", func(t *testing.T) {
			in.member(t, in.tenant(t, "paris", directory.Policy{}), p.user, directory.StatusActive)
			p.browser.code(t, "prompt", "none", "id_token_hint", hint.id)
		})
	})
}

func TestTenantInUse(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		user, alone := in.user(t, "ann@berlin.example"), in.user(t, "bob@berlin.example")
		berlin, paris, rome := in.tenant(t, "berlin", directory.Policy{}), in.tenant(t, "paris", directory.Policy{}), in.tenant(t, "rome", directory.Policy{})
		in.member(t, berlin, user, directory.StatusActive, "admin")
		in.member(t, paris, user, directory.StatusActive, "member")
		in.member(t, in.tenant(t, "waiting", directory.Policy{}), user, directory.StatusInvited)
		in.member(t, rome, alone, directory.StatusActive)
		in.application(t, nil)
		b := in.browser(t)
		session := b.signIn(t, user, authn.ACR1)
		tenantOf := func(t *testing.T, code string) any {
			_, claims := parts(t, in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).tokens(t).id)
			return claims["tenant"]
		}
		t.Run("by slug and by id", func(t *testing.T) {
			if got := tenantOf(t, b.code(t, "scope", "openid tenant:paris")); got != "paris" {
				t.Errorf("got %v", got)
			}
			if got := tenantOf(t, b.code(t, "scope", "openid tenant:"+string(berlin.ID))); got != "berlin" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("the only one", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, alone, authn.ACR1)
			if got := tenantOf(t, b.code(t)); got != "rome" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("chosen", func(t *testing.T) {
			request := b.authorize(t).waits(t, "/login/tenant")
			stored, err := in.oidc.Request(t.Context(), request, b.cookie())
			must(t, err)
			choices, _, err := in.oidc.Choices(t.Context(), stored, session, "")
			must(t, err)
			if len(choices) != 3 || choices[2].Status != directory.StatusInvited {
				t.Errorf("choices %+v", choices)
			}
			for _, tenant := range []id.Tenant{rome.ID, choices[2].Tenant, "nonsense"} {
				if in.oidc.ChooseTenant(t.Context(), request, b.cookie(), session, tenant) == nil {
					t.Errorf("chose %s", tenant)
				}
			}
			must(t, in.oidc.ChooseTenant(t.Context(), request, b.cookie(), session, paris.ID))
			if got := tenantOf(t, b.resume(t, request).redirected(t, callback).Get("code")); got != "paris" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("prompt=none can't choose", func(t *testing.T) {
			if got := b.authorize(t, "prompt", "none").redirected(t, callback); got.Get("error") != "interaction_required" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("a foreign tenant answers as one that does not exist", func(t *testing.T) {
			for _, name := range []string{"rome", string(rome.ID), "atlantis", "waiting"} {
				silent := b.authorize(t, "prompt", "none", "scope", "openid tenant:"+name).redirected(t, callback)
				if silent.Get("error") != "login_required" || strings.Contains(silent.Get("error_description"), name) {
					t.Errorf("%s: %v", name, silent)
				}
				request := b.authorize(t, "scope", "openid tenant:"+name).waits(t, "/login/tenant")
				stored, err := in.oidc.Request(t.Context(), request, b.cookie())
				must(t, err)
				choices, _, err := in.oidc.Choices(t.Context(), stored, session, "")
				must(t, err)
				if want := map[bool]int{true: 1}[name == "waiting"]; len(choices) != want {
					t.Errorf("%s: %d choices, want %d", name, len(choices), want)
				}
				if in.oidc.ChooseTenant(t.Context(), request, b.cookie(), session, berlin.ID) == nil {
					t.Error("chose a tenant that the application did not ask for")
				}
			}
		})
		t.Run("the default", func(t *testing.T) {
			must(t, in.store.SetDefaultTenant(t.Context(), user.ID, paris.ID))
			if got := tenantOf(t, b.code(t)); got != "paris" {
				t.Errorf("got %v", got)
			}
			b.authorize(t, "prompt", "select_account").waits(t, "/login/tenant")
		})
	})
}

func TestSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		user := in.user(t, "ann@berlin.example")
		strict := in.tenant(t, "strict", directory.Policy{MFA: directory.MFARequired})
		in.member(t, strict, user, directory.StatusActive)
		in.application(t, nil)
		t.Run("the tenant demands it", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, user, authn.ACR1)
			if got := b.authorize(t, "prompt", "none").redirected(t, callback); got.Get("error") != "interaction_required" {
				t.Errorf("got %v", got)
			}
			request := b.authorize(t).waits(t, "/login")
			stored, err := in.oidc.Request(t.Context(), request, b.cookie())
			must(t, err)
			if stored.MinACR != authn.ACR2 {
				t.Errorf("MinACR %q", stored.MinACR)
			}
			in.advance(time.Second)
			b.signIn(t, user, authn.ACR2)
			issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(b.resume(t, request).redirected(t, callback).Get("code"))).tokens(t)
			if _, claims := parts(t, issued.id); claims["acr"] != authn.ACR2 {
				t.Errorf("acr %v", claims["acr"])
			}
		})
		t.Run("who has none has to set one up", func(t *testing.T) {
			b := in.browser(t)
			b.signIn(t, user, authn.ACR1)
			request := b.authorize(t).waits(t, "/login")
			in.advance(time.Second)
			b.signIn(t, user, authn.ACR1)
			if got := b.resume(t, request).waits(t, "/login"); got != request {
				t.Errorf("waits with %s", got)
			}
			stored, err := in.oidc.Request(t.Context(), request, b.cookie())
			must(t, err)
			if stored.MinACR != authn.ACR2 || !stored.Essential {
				t.Errorf("the login page is asked for %+v", stored.Progress)
			}
		})
	})
}

func TestACRValuesAreAWish(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		p.browser.code(t, "acr_values", "urn:unknown phr") // out of reach: OIDC Core §3.1.2.1, voluntary
		p.browser.code(t, "acr_values", authn.ACR2+" "+authn.ACR1)
		request := p.browser.authorize(t, "acr_values", authn.ACR2).waits(t, "/login")
		in.advance(time.Second)
		p.browser.signIn(t, p.user, authn.ACR1) // has no second factor
		if got := p.browser.resume(t, request).redirected(t, callback); got.Get("code") == "" {
			t.Errorf("got %v", got)
		}
	})
}

func TestNativeLoopback(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Type, s.Secret = "tool", oidc.Native, secret.Text{}
			s.RedirectURIs = []string{"http://127.0.0.1/cb", "com.example.tool:/cb"}
			s.PostLogoutRedirectURIs = nil
		})
		const to = "http://127.0.0.1:51004/cb"
		code := p.browser.code(t, "client_id", "tool", "redirect_uri", to)
		issued := in.direct(t, "/oauth2/token", "", "", redemption(code, "client_id", "tool", "redirect_uri", to)).tokens(t)
		if issued.refresh == "" {
			t.Error("RFC 8252: no refresh token")
		}
		p.browser.authorize(t, "client_id", "tool", "redirect_uri", "com.example.tool:/cb").redirected(t, "com.example.tool:/cb?")
		p.browser.authorize(t, "client_id", "tool", "redirect_uri", "http://localhost:51004/cb").errorPage(t)
	})
}
