package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/oidc"
)

// push pushes a request of the application shop and returns its address.
func (in *instance) push(t testing.TB, pairs ...string) string {
	t.Helper()
	v := in.direct(t, "/oauth2/par", "shop", shopSecret, params(pairs...)).status(t, http.StatusCreated).json(t)
	address, _ := v["request_uri"].(string)
	if !strings.HasPrefix(address, "urn:ietf:params:oauth:request_uri:") || len(address) < 34+43 || v["expires_in"] != float64(90) {
		t.Fatalf("RFC 9126 §2.2: got %v", v)
	}
	return address
}

func pushedQuery(address string, pairs ...string) url.Values {
	v := url.Values{"client_id": {"shop"}, "request_uri": {address}}
	set(v, pairs)
	return v
}

func TestPushedRequests(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.RedirectURIs = "other", []string{"https://other.example/callback"}
		})

		t.Run("RFC 9126 §2.1 what is refused at once", func(t *testing.T) {
			for _, c := range []struct {
				name   string
				form   url.Values
				status int
				code   string
			}{
				{"a request_uri", params("request_uri", "urn:ietf:params:oauth:request_uri:x"), 400, "invalid_request"},
				{"a foreign redirect_uri", params("redirect_uri", "https://evil.example/"), 400, "invalid_request"},
				{"no redirect_uri", params("redirect_uri", ""), 400, "invalid_request"},
				{"no challenge", params("code_challenge", ""), 400, "invalid_request"},
				{"the method plain", params("code_challenge_method", "plain"), 400, "invalid_request"},
				{"another response_type", params("response_type", "token"), 400, "unsupported_response_type"},
				{"another response_mode", params("response_mode", "fragment"), 400, "invalid_request"},
				{"another client_id", params("client_id", "other"), 400, "invalid_request"},
				{"a long state", params("state", strings.Repeat("s", 5000)), 400, "invalid_request"},
				{"a bad dpop_jkt", params("dpop_jkt", "short"), 400, "invalid_request"},
				{"an unknown resource", params("resource", "https://api.example"), 400, "invalid_target"},
			} {
				in.direct(t, "/oauth2/par", "shop", shopSecret, c.form).oauthError(t, c.status, c.code)
			}
			in.direct(t, "/oauth2/par", "shop", "wrong", params()).oauthError(t, 401, "invalid_client")
			in.direct(t, "/oauth2/par", "", "", params("client_id", "")).oauthError(t, 401, "invalid_client")
			in.browser(t).get(t, "/oauth2/par", params()).status(t, 405)
		})
		t.Run("RFC 9126 §4 the browser brings the address, and nothing else counts", func(t *testing.T) {
			address := in.push(t, "state", strings.Repeat("long ", 200))
			got := p.browser.get(t, "/oauth2/authorize", pushedQuery(address, "state", "evil", "redirect_uri", "https://evil.example/", "scope", "openid profile")).redirected(t, callback)
			if got.Get("state") != strings.Repeat("long ", 200) || got.Get("iss") != in.url {
				t.Errorf("the reply is %v", got)
			}
			issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(got.Get("code"))).tokens(t)
			if issued.scope != "openid" {
				t.Errorf("the scope is %s", issued.scope)
			}
		})
		t.Run("RFC 9126 §7.3 once completed it is over", func(t *testing.T) {
			address := in.push(t)
			p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, callback)
			p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).refusedPage(t, "invalid_request_uri")
		})
		t.Run("it can be begun again until it is completed", func(t *testing.T) {
			address := in.push(t)
			stranger := in.browser(t)
			stranger.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, "/login")
			again := stranger.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, "/login")
			p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, callback)
			stranger.signIn(t, p.user, authn.ACR1)
			if got := stranger.get(t, "/oauth2/authorize/continue", url.Values{"request": {again.Get("request")}}); got.StatusCode < 400 {
				t.Errorf("the same request was completed twice: %d to %s", got.StatusCode, got.Header.Get("Location"))
			}
		})
		t.Run("the person does not want to", func(t *testing.T) {
			address := in.push(t)
			stranger := in.browser(t)
			request := stranger.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, "/login").Get("request")
			if got := stranger.post(t, "/oauth2/authorize/cancel", url.Values{"request": {request}}).redirected(t, callback); got.Get("error") != "access_denied" {
				t.Errorf("got %v", got)
			}
			stranger.get(t, "/oauth2/authorize", pushedQuery(address)).refusedPage(t, "invalid_request_uri")
		})
		t.Run("RFC 9126 §2.2 bound to the application", func(t *testing.T) {
			address := in.push(t)
			p.browser.get(t, "/oauth2/authorize", pushedQuery(address, "client_id", "other")).refusedPage(t, "invalid_request_uri")
			p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, callback)
		})
		t.Run("RFC 9126 §2.2 expired", func(t *testing.T) {
			address := in.push(t)
			in.advance(90 * time.Second)
			p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).refusedPage(t, "invalid_request_uri")
		})
		t.Run("a sign-in may take longer than that", func(t *testing.T) {
			address := in.push(t)
			slow := in.browser(t)
			request := slow.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, "/login").Get("request")
			in.advance(10 * time.Minute)
			must(t, in.oidc.Clean(t.Context()))
			slow.signIn(t, p.user, authn.ACR1)
			if got := slow.get(t, "/oauth2/authorize/continue", url.Values{"request": {request}}).redirected(t, callback); got.Get("code") == "" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("OIDC Core §6.2 another request_uri", func(t *testing.T) {
			got := p.browser.get(t, "/oauth2/authorize", params("request_uri", "https://shop.example/request")).redirected(t, callback)
			if got.Get("error") != "request_uri_not_supported" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("RFC 9126 §6 where it is demanded", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { s.Security.RequirePushed = true })
			defer in.application(t, nil)
			if got := p.browser.get(t, "/oauth2/authorize", params()).redirected(t, callback); got.Get("error") != "invalid_request" || got.Get("iss") != in.url {
				t.Errorf("got %v", got)
			}
			p.browser.get(t, "/oauth2/authorize", pushedQuery(in.push(t))).redirected(t, callback)
		})
	})
}

// refusedPage checks an error that stays with us, by its code.
func (a answer) refusedPage(t testing.TB, code string) {
	t.Helper()
	if a.StatusCode < 400 || a.Header.Get("Location") != "" || !strings.Contains(a.body, `<code id="error">`+code+`</code>`) {
		t.Fatalf("got %d to %q, want an error page with %s: %s", a.StatusCode, a.Header.Get("Location"), code, a.body)
	}
}

func TestResourceIndicators(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		const one, two = "https://one.example/api", "https://two.example/api"
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.Security.Resources = []string{one, two} })
		query := params()
		query["resource"] = []string{one, two}
		code := func() string {
			return p.browser.get(t, "/oauth2/authorize", query).redirected(t, callback).Get("code")
		}
		audience := func(token string) any { _, claims := parts(t, token); return claims["aud"] }

		t.Run("RFC 8707 §2.1 all of them", func(t *testing.T) {
			issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code())).tokens(t)
			if got, _ := audience(issued.access).([]any); len(got) != 2 || got[0] != one || got[1] != two {
				t.Errorf("aud is %v", got)
			}
			in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token") // AS-R9: it is not for us
			if got := in.introspect(t, issued.access); got["active"] != true {
				t.Errorf("introspection says %v", got)
			}
			if got := in.refresh(t, issued.refresh, "resource", two).tokens(t); audience(got.access) != two {
				t.Errorf("RFC 8707 §2.2: a refresh narrows, got %v", audience(got.access))
			}
		})
		t.Run("RFC 8707 §2.2 one of them", func(t *testing.T) {
			issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code(), "resource", one)).tokens(t)
			if audience(issued.access) != one {
				t.Errorf("aud is %v", audience(issued.access))
			}
			in.refresh(t, issued.refresh, "resource", in.url).oauthError(t, 400, "invalid_target")
		})
		t.Run("without any it is this server", func(t *testing.T) {
			issued := p.browser.obtain(t)
			if audience(issued.access) != in.url {
				t.Errorf("aud is %v", audience(issued.access))
			}
			in.refresh(t, issued.refresh, "resource", one).oauthError(t, 400, "invalid_target")
		})
		t.Run("RFC 8707 §2 an unknown one", func(t *testing.T) {
			if got := p.browser.get(t, "/oauth2/authorize", params("resource", "https://evil.example")).redirected(t, callback); got.Get("error") != "invalid_target" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("RFC 6749 §4.4 machines", func(t *testing.T) {
			in.machine(t, p.tenant, func(s *oidc.ApplicationSpec) { s.Security.Resources = []string{one} })
			form := func(resource string) url.Values {
				return url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}
			}
			if got := in.direct(t, "/oauth2/token", "robot", robotSecret, form(one)).tokens(t); audience(got.access) != one {
				t.Errorf("aud is %v", audience(got.access))
			}
			in.direct(t, "/oauth2/token", "robot", robotSecret, form(two)).oauthError(t, 400, "invalid_target")
		})
		t.Run("opaque tokens", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) {
				s.AccessToken, s.Security.Resources = oidc.FormatOpaque, []string{one, two}
			})
			issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code(), "resource", one)).tokens(t)
			in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token")
			if got := in.introspect(t, issued.access); got["aud"] != one {
				t.Errorf("introspection says %v", got)
			}
		})
	})
}
