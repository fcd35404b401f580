package attack

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
)

// TestHostHeaders is the class of CVE-2025-64101: the issuer and all links are
// those of the configuration, whatever the request calls the server.
func TestHostHeaders(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		paths := []string{
			"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
			strings.TrimPrefix(g.shop.Request("openid").URL(), g.URL), "/login", "/t/zeta/scim/v2/ServiceProviderConfig",
		}
		for _, path := range paths {
			for _, headers := range [][]string{
				{"Host: evil.example"},
				{"X-Forwarded-Host: evil.example"},
				{"X-Forwarded-Proto: https"},
				{"X-Forwarded-Prefix: /evil.example"},
				{"Forwarded: host=evil.example;proto=https"},
				{"X-Original-URL: //evil.example/"},
				{"X-Host: evil.example"},
				{"Host: evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 444"},
			} {
				answer := g.do(t, http.MethodGet, path, "", headers...)
				if text := answer.Raw + fmt.Sprint(answer.Header); strings.Contains(text, "evil.example") || strings.Contains(text, "https://127.0.0.1") {
					t.Errorf("%s with %q: the answer (%d) repeats it: %.300s", path, headers, answer.Status, text)
				}
				if strings.HasPrefix(path, "/.well-known/") && answer.Status == http.StatusOK && answer.String("issuer") != g.URL {
					t.Errorf("%s with %q: got issuer %s, want %s", path, headers, answer.String("issuer"), g.URL)
				}
			}
		}
		created := g.do(t, http.MethodPost, "/t/acme/scim/v2/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"host"}`,
			"Authorization: Bearer "+acmeToken, "Content-Type: application/scim+json", "X-Forwarded-Host: evil.example", "Host: evil.example")
		if location := created.Header.Get("Location"); created.Status != http.StatusCreated || !strings.HasPrefix(location, g.URL+"/t/acme/scim/v2/Users/") {
			t.Errorf("create: got %d with Location %q, want one below %s", created.Status, location, g.URL)
		}
	})
}

// TestPKCE is RFC 9700 §2.1.1 and the downgrade of CVE-2024-23647.
func TestPKCE(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		for _, app := range []application.Application{g.shop, g.desk} {
			for name, spoil := range map[string]func(*application.Request){
				"no challenge":              func(r *application.Request) { r.With("code_challenge", "").With("code_challenge_method", "") },
				"no method, that is, plain": func(r *application.Request) { r.With("code_challenge_method", "") },
				"plain": func(r *application.Request) {
					r.With("code_challenge_method", "plain").With("code_challenge", r.Verifier)
				},
				"an unknown method":          func(r *application.Request) { r.With("code_challenge_method", "S512") },
				"a method in another case":   func(r *application.Request) { r.With("code_challenge_method", "s256") },
				"a short challenge":          func(r *application.Request) { r.With("code_challenge", "abc") },
				"a challenge that is no sum": func(r *application.Request) { r.With("code_challenge", strings.Repeat("!", 43)) },
			} {
				request := app.Request("openid")
				spoil(request)
				callback, page, err := g.browser(t).SignIn(t.Context(), request.URL(), browser.Person{})
				if err != nil {
					t.Errorf("%s, %s: the sign-in goes on at %s", app.ClientID, name, page.URL)
					continue
				}
				if got := callback.Query().Get("error"); got != "invalid_request" {
					t.Errorf("%s, %s: got %s, want invalid_request", app.ClientID, name, callback)
				}
			}
			b := g.browser(t)
			for name, spoil := range map[string]func(url.Values){
				"no verifier":       func(form url.Values) { form.Del("code_verifier") },
				"an empty verifier": func(form url.Values) { form.Set("code_verifier", "") },
				"another verifier":  func(form url.Values) { form.Set("code_verifier", strings.Repeat("a", 43)) },
			} {
				request := app.Request("openid tenant:zeta")
				code := check(app.Code(t.Context(), b, request, walt))(t)
				form := redemption(request, code)
				challenge := request.Parameters.Get("code_challenge")
				spoil(form)
				answer := check(app.Post(t.Context(), application.TokenPath, form))(t)
				if answer.Status != http.StatusBadRequest || answer.String("error") != "invalid_grant" && answer.String("error") != "invalid_request" {
					t.Errorf("%s, %s: got %d %s, want invalid_grant", app.ClientID, name, answer.Status, answer.Raw)
				}
				form.Set("code_verifier", challenge)
				if answer := check(app.Post(t.Context(), application.TokenPath, form))(t); answer.Status == http.StatusOK {
					t.Errorf("%s: the challenge is taken for the verifier", app.ClientID)
				}
			}
		}
	})
}

func redemption(r *application.Request, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {r.Verifier},
		"redirect_uri": {r.Parameters.Get("redirect_uri")},
	}
}

// TestRedirectURI is RFC 9700 §4.1.3: compared byte by byte, but for the port of
// a loopback address (RFC 8252 §7.3). What is not registered is never redirected
// to, not even with an error.
func TestRedirectURI(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		for _, uri := range refusedURIs() {
			g.wantNoRedirect(t, g.shop, uri)
		}
		for _, uri := range []string{
			"http://localhost/callback", "http://127.0.0.2/callback", "http://127.0.0.1.evil.example/callback", "http://127.0.0.1@evil.example/callback",
			"http://127.0.0.1:80@evil.example/callback", "https://127.0.0.1/callback", "http://127.0.0.1/callback/", "http://127.0.0.1:/callback",
			"http://127.0.0.1:0x50/callback", "http://127.0.0.1:99999/callback", "http://127.0.0.1:-1/callback", "http://127.0.0.1/other",
			"http://127.0.0.1/callback?x=1", "http://127.0.0.1/callback#x", "http://[::1]/callback", "http://[::ffff:127.0.0.1]/callback", "http://127.1/callback",
			"http://2130706433/callback", "http://0177.0.0.1/callback", "http://0.0.0.0/callback", "http://a:b@127.0.0.1/callback",
			"com.example.desk:/other", "com.example.desk://callback", "com.example.desk:callback", "COM.EXAMPLE.DESK:/callback", "com.example.desk.evil:/callback",
			"javascript:alert(1)", "data:text/html,x", "file:///callback",
		} {
			g.wantNoRedirect(t, g.desk, uri)
		}
		for _, uri := range []string{"http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "com.example.desk:/callback"} {
			g.wantAccepted(t, g.desk, uri)
		}
		for _, uri := range []string{"https://shop.example/callback", "https://shop.example/other?tab=1"} {
			g.wantAccepted(t, g.shop, uri)
		}
		g.wantNoRedirect(t, application.Application{Issuer: g.URL, ClientID: "nobody"}, "https://shop.example/callback")
	})
}

// refusedURIs are near misses of https://shop.example/callback.
func refusedURIs() []string {
	uris := []string{
		"", " https://shop.example/callback", "https://shop.example/callback ", "https://shop.example/callback\t", "https://shop.example/callback\n",
		"http://shop.example/callback", "HTTPS://shop.example/callback", "https://SHOP.example/callback", "https://shop.example/Callback",
		"https://shop.example", "https://shop.example/", "https://shop.example//callback", "https://shop.example/callback/", "https://shop.example/callback/x",
		"https://shop.example/callback?", "https://shop.example/callback?x=1", "https://shop.example/callback#", "https://shop.example/callback#x",
		"https://shop.example/callback;x", "https://shop.example/callback%00", "https://shop.example/callback%20", "https://shop.example/callback%0d%0aX:1",
		"https://shop.example/%63allback", "https://shop.example/%2563allback", "https://shop.example/callbac%6b", "https://shop.example/callback%2f",
		"https://shop.example/./callback", "https://shop.example/x/../callback", "https://shop.example/callback/..", "https://shop.example/callback/../evil",
		"https://shop.example/%2e%2e/callback", "https://shop.example/..%2fcallback", `https://shop.example\callback`, `https://shop.example/\callback`,
		"https://shop.example:443/callback", "https://shop.example:8443/callback", "https://shop.example./callback", "https://shop.example:/callback",
		"https://shop.example.evil.example/callback", "https://evil.example/callback", "https://evilshop.example/callback", "https://sub.shop.example/callback",
		"https://shop.example@evil.example/callback", "https://evil.example@shop.example/callback", "https://shop.example:x@evil.example/callback",
		`https://evil.example\@shop.example/callback`, `https://evil.example\.shop.example/callback`, "https://evil.example#@shop.example/callback",
		"https://evil.example?@shop.example/callback", "https://evil.example/https://shop.example/callback", "https://shop.example%2eevil.example/callback",
		"https://shop.example%40evil.example/callback", "https://shop.example%00.evil.example/callback", "https://shop.example%23.evil.example/callback",
		"//shop.example/callback", "///shop.example/callback", "/callback", "callback", "https:shop.example/callback", "https:/shop.example/callback",
		"https:///shop.example/callback", "https://https://shop.example/callback", "shop.example/callback", "*", "https://*/callback", "https://shop.example/*",
		"https://shop。example/callback", "https://shop．example/callback", "https://ѕhop.example/callback", "https://shop.example/cаllback",
		"https://shop.example／callback", "https://shop.example/callback／", "https://xn--hop-5cd.example/callback", "https://shop.example\u200b/callback",
		"javascript:alert(1)", "javascript://shop.example/callback%0aalert(1)", "JaVaScRiPt:alert(1)", "data:text/html;base64,PHNjcmlwdD4=", "vbscript:x",
		"file:///etc/passwd", "ftp://shop.example/callback", "ws://shop.example/callback", "blob:https://shop.example/callback", "about:blank",
		"https://shop.example/other", "https://shop.example/other?tab=2", "https://shop.example/other?tab=1&x=1", "https://shop.example/other?TAB=1",
		"https://shop.example/other?tab=1&tab=1", "https://shop.example/other?tab=1#", "https://shop.example/other?tab=%31", "https://shop.example/other?tab=1+",
		"https://[::1]/callback", "https://127.0.0.1/callback", "http://127.0.0.1/callback", "https://localhost/callback", "https://0/callback",
		"https://shop.example/bye", "https://shop.example/callback,https://evil.example", "https://shop.example/callback https://evil.example",
		"https://till.example/callback", strings.Repeat("https://shop.example/callback", 300),
	}
	for _, character := range []string{"\x00", "\x01", "\x0b", "\x7f", "\u00a0", "\ufeff", "\u202e"} {
		uris = append(uris, "https://shop.example/callback"+character, character+"https://shop.example/callback", "https://shop.example"+character+"/callback")
	}
	return uris
}

func (g target) wantNoRedirect(t *testing.T, app application.Application, uri string) {
	t.Helper()
	for _, spoil := range []func(*application.Request){
		func(*application.Request) {},
		func(r *application.Request) { r.With("response_type", "nonsense") }, // an error must not go there either
		func(r *application.Request) { r.With("prompt", "none") },
	} {
		request := app.Request("openid")
		request.With("redirect_uri", uri)
		spoil(request)
		response := g.raw(t, request.URL())
		if response.status/100 != 4 || response.location != "" || response.refresh != "" {
			t.Errorf("redirect_uri %q of %s: got %d, Location %q, want a page that refuses it", uri, app.ClientID, response.status, response.location)
			return
		}
	}
}

func (g target) wantAccepted(t *testing.T, app application.Application, uri string) {
	t.Helper()
	response := g.raw(t, app.Request("openid").With("redirect_uri", uri).URL())
	if response.status/100 != 3 || !strings.Contains(response.location, "/login") {
		t.Errorf("redirect_uri %q of %s: got %d, Location %q, want the login page", uri, app.ClientID, response.status, response.location)
	}
}

// TestAuthorizationParameters is RFC 9700 §2.1.2, §2.1.3 and RFC 6749 §3.1: what
// may not be asked for, and what may not be asked for twice.
func TestAuthorizationParameters(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		for name, tt := range map[string]struct {
			spoil func(*application.Request)
			want  string
		}{
			"response_type token":          {func(r *application.Request) { r.With("response_type", "token") }, "unsupported_response_type"},
			"response_type id_token":       {func(r *application.Request) { r.With("response_type", "id_token") }, "unsupported_response_type"},
			"response_type code token":     {func(r *application.Request) { r.With("response_type", "code token") }, "unsupported_response_type"},
			"no response_type":             {func(r *application.Request) { r.With("response_type", "") }, "invalid_request"},
			"an unsigned request object":   {func(r *application.Request) { r.With("request", "eyJhbGciOiJub25lIn0.e30.") }, "request_not_supported"},
			"a request_uri":                {func(r *application.Request) { r.With("request_uri", "https://evil.example/r") }, "request_uri_not_supported"},
			"prompt none with another":     {func(r *application.Request) { r.With("prompt", "none login") }, "invalid_request"},
			"a negative max_age":           {func(r *application.Request) { r.With("max_age", "-1") }, "invalid_request"},
			"the state twice":              {func(r *application.Request) { r.Parameters.Add("nonce", "other") }, "invalid_request"},
			"two tenants":                  {func(r *application.Request) { r.With("scope", "openid tenant:zeta tenant:acme") }, "invalid_scope"},
			"nobody signed in, with none":  {func(r *application.Request) { r.With("prompt", "none") }, "login_required"},
			"a response_mode out of reach": {func(r *application.Request) { r.With("response_mode", "web_message") }, "invalid_request"},
		} {
			request := g.shop.Request("openid")
			tt.spoil(request)
			callback, page, err := g.browser(t).SignIn(t.Context(), request.URL(), browser.Person{})
			if err != nil {
				t.Errorf("%s: the sign-in goes on at %s", name, page.URL)
				continue
			}
			query := callback.Query()
			if !strings.HasPrefix(callback.String(), g.shop.RedirectURI+"?") || query.Get("error") != tt.want {
				t.Errorf("%s: got %s, want error %s", name, callback, tt.want)
			}
			if query.Get("iss") != g.URL || query.Get("state") != request.Parameters.Get("state") {
				t.Errorf("%s: got iss %q and state %q, want the issuer (RFC 9207) and the state", name, query.Get("iss"), query.Get("state"))
			}
		}
		for _, name := range []string{"client_id", "redirect_uri"} {
			request := g.shop.Request("openid")
			request.Parameters.Add(name, "https://evil.example/")
			if response := g.raw(t, request.URL()); response.status/100 != 4 || response.location != "" {
				t.Errorf("%s twice: got %d to %q, want a page", name, response.status, response.location)
			}
		}
	})
}

// TestHijack is RFC 9700 §4.5 and §4.7: who finishes a sign-in is the browser
// that began it, with the session of that browser.
func TestHijack(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		victim, attacker := g.browser(t), g.browser(t)
		signIn(t, g.shop, attacker, "openid tenant:acme", mallory)
		page := check(victim.Get(t.Context(), g.shop.Request("openid tenant:zeta").URL()))(t)
		id := page.URL.Query().Get("request")
		if id == "" {
			t.Fatalf("the login page has no request: %s", page.URL)
		}
		paths := []string{"/oauth2/authorize/continue?request=" + id, "/login?request=" + id, "/login/tenant?request=" + id}
		for name, thief := range map[string]*browser.Browser{"signed in": attacker, "not signed in": g.browser(t)} {
			for _, path := range paths {
				got := check(thief.Get(t.Context(), path))(t)
				if got.Left != nil || got.Status/100 != 4 {
					t.Errorf("another browser, %s, at %s: got %d at %s, to %v; want it refused", name, path, got.Status, got.URL, got.Left)
				}
			}
		}
		// The victim finishes, and only the victim gets the code.
		form := page.Forms[0]
		done := check(victim.Submit(t.Context(), page, form, map[string]string{"login": vera.Login, "password": vera.Password}))(t)
		if done.Left == nil || done.Left.Query().Get("code") == "" {
			t.Fatalf("the victim's sign-in ends at %s (%d): %s", done.URL, done.Status, done.Text())
		}
		for _, path := range paths {
			if got := check(attacker.Get(t.Context(), path))(t); got.Left != nil {
				t.Errorf("another browser after the sign-in at %s: sent to %s", path, got.Left)
			}
		}
		// A request is finished once.
		if again := check(victim.Get(t.Context(), paths[0]))(t); again.Left != nil && again.Left.Query().Get("code") != "" {
			t.Error("one authorization request gave two codes")
		}
	})
}

// TestLoginForeignForm is login CSRF: a form that another site made, sent by the
// victim's browser, signs nobody in.
func TestLoginForeignForm(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		victim := g.browser(t)
		page := check(victim.Get(t.Context(), "/login"))(t)
		if len(page.Forms) == 0 {
			t.Fatalf("no form at %s: %s", page.URL, page.Text())
		}
		var cookies []string
		for name, value := range victim.Cookies() {
			cookies = append(cookies, name+"="+value)
		}
		form := url.Values{"login": {mallory.Login}, "password": {mallory.Password}}
		for _, control := range page.Forms[0].Controls {
			if control.Type == "hidden" { // what the attacker's own browser was given
				form.Set(control.Name, control.Value)
			}
		}
		for _, headers := range [][]string{
			{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"},
			{"Origin: null", "Sec-Fetch-Site: cross-site"},
			{"Origin: https://evil.example"},
			{"Origin: " + g.URL + ".evil.example"},
			{"Sec-Fetch-Site: same-site"},
		} {
			answer := g.do(t, http.MethodPost, page.URL.String(), form.Encode(),
				append(headers, "Content-Type: application/x-www-form-urlencoded", "Cookie: "+strings.Join(cookies, "; "))...)
			for _, cookie := range answer.Header.Values("Set-Cookie") {
				if strings.HasPrefix(cookie, "rolecall_session=") && !strings.HasPrefix(cookie, "rolecall_session=;") {
					t.Errorf("a form from elsewhere (%q) starts a session", headers)
				}
			}
			if answer.Status/100 != 4 {
				t.Errorf("a form from elsewhere (%q): got %d, want it refused", headers, answer.Status)
			}
		}
	})
}

// TestCORS: no other origin reads what a person's cookies open, and none is ever
// allowed to send them.
func TestCORS(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		for _, path := range []string{
			"/oauth2/authorize", "/oauth2/end_session", "/login", "/login/tenant", "/me", "/oauth2/token", "/oauth2/introspect", "/oauth2/revoke",
			"/oauth2/userinfo", "/oauth2/keys", "/.well-known/openid-configuration", "/t/zeta/scim/v2/Users", "/healthz",
		} {
			for _, origin := range []string{"https://evil.example", "null", "http://localhost:9999", "https://shop.example.evil.example"} {
				for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
					answer := g.do(t, method, path, "", "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
					if got := answer.Header.Get("Access-Control-Allow-Credentials"); got != "" {
						t.Errorf("%s %s for %s: credentials are allowed", method, path, origin)
					}
					allowed := answer.Header.Get("Access-Control-Allow-Origin")
					public := path == "/oauth2/keys" || path == "/.well-known/openid-configuration"
					if allowed != "" && (!public || allowed != "*") {
						t.Errorf("%s %s: %s may read it (%s)", method, path, origin, allowed)
					}
				}
			}
		}
	})
}

// TestPagesAreNotFramed is RFC 9700 §4.16, with the other headers of pages that
// take a password.
func TestPagesAreNotFramed(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		for _, address := range []string{"/login", g.shop.Request("openid").URL(), g.shop.Request("openid").With("redirect_uri", "https://evil.example/").URL()} {
			page := check(g.browser(t).Get(t.Context(), address))(t)
			if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe-inline") {
				t.Errorf("%s: got Content-Security-Policy %q, want frame-ancestors 'none' and nothing inline", page.URL, policy)
			}
			for name, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
				if got := page.Header.Get(name); !strings.Contains(got, want) {
					t.Errorf("%s: got %s %q, want %s", page.URL, name, got, want)
				}
			}
		}
	})
}

// TestReflection: nothing that a request carries becomes markup.
func TestReflection(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		const payload = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`
		for _, name := range []string{"client_id", "redirect_uri", "state", "login_hint", "ui_locales", "scope", "response_mode", "display", "id_token_hint", "error_description"} {
			page := check(g.browser(t).Get(t.Context(), g.shop.Request("openid").With(name, payload).URL()))(t)
			if strings.Contains(page.Body, "<script>alert(1)") || strings.Contains(page.Body, "<img src=x") {
				t.Errorf("%s becomes markup at %s", name, page.URL)
			}
		}
		for _, address := range []string{"/login?request=" + escape(payload), "/login?error=" + escape(payload), "/" + url.PathEscape(payload), "/oauth2/end_session?state=" + escape(payload)} {
			if page := check(g.browser(t).Get(t.Context(), address))(t); strings.Contains(page.Body, "<script>alert(1)") {
				t.Errorf("%s becomes markup", address)
			}
		}
	})
}
