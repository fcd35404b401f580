package provider_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/oidc/provider"
)

// TestDefects holds a regression test for every known defect of the stock wiring
// of zitadel/oidc, under the number that it has in the project's list.
func TestDefects(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.machine(t, p.tenant, nil)
		for name, test := range map[string]func(*testing.T, *instance, *person){
			"1 PKCE downgrade: a challenge without a verifier":                  defect1,
			"2 another browser takes over an authorization request":             defect2,
			"3 the token endpoint takes GET, queries, repetitions":              defect3,
			"4 token answers may be cached":                                     defect4,
			"5 wrong errors and no challenge":                                   defect5,
			"6 errors of form_post go by query":                                 defect6,
			"7 redirect URIs are unescaped before the comparison":               defect7,
			"8 code_challenge_method is not checked":                            defect8,
			"9 request_uri is ignored, request believed":                        defect9,
			"10 a code that is used again leaves its tokens alive":              defect10,
			"11 an exchange of what is no JWT panics":                           defect11,
			"12 access tokens are not of RFC 9068":                              defect12,
			"13 one kind of token passes for another":                           defect13,
			"14 an assertion for the token endpoint is refused, or taken twice": defect14,
			"15 any site can sign people out":                                   defect15,
			"16 CORS reflects every origin, with credentials":                   defect16,
			"17 two providers share their endpoints":                            defect17,
			"18 mounting panics":                                                defect18,
			"19 discovery says what is not so":                                  defect19,
			"20 a refresh loses how the person signed in":                       defect20,
			"21 the issuer follows the request":                                 defect21,
			"22 the algorithms that verifiers take are not those we sign by":    defect22,
			"23 claims and pairwise subjects are not known, hybrid flows are":   defect23,
			"24 error_description leaks what went wrong inside":                 defect24,
		} {
			t.Run(name, func(t *testing.T) { test(t, in, p) })
		}
	})
}

func defect1(t *testing.T, in *instance, p *person) {
	in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t), "code_verifier", "")).oauthError(t, 400, "invalid_grant")
}

func defect2(t *testing.T, in *instance, p *person) {
	victim, attacker := in.browser(t), in.browser(t)
	request := attacker.authorize(t).waits(t, "/login")
	victim.signIn(t, p.user, authn.ACR1)
	victim.resume(t, request).errorPage(t)
	victim.authorize(t) // has a browser cookie of its own now
	victim.resume(t, request).errorPage(t)
	attacker.resume(t, request).waits(t, "/login")
}

func defect3(t *testing.T, in *instance, _ *person) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}, "client_secret": {robotSecret}}
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
		got := in.browser(t).get(t, path, form)
		got.oauthError(t, http.StatusMethodNotAllowed, "invalid_request")
		if got.Header.Get("Allow") != http.MethodPost {
			t.Errorf("Allow %q", got.Header.Get("Allow"))
		}
		in.post(t, http.DefaultClient, path+"?"+form.Encode(), url.Values{"token": {"x"}, "grant_type": {"client_credentials"}}, nil).oauthError(t, 401, "invalid_client")
	}
	repeated := url.Values{"grant_type": {"client_credentials", "client_credentials"}, "client_id": {"robot"}, "client_secret": {robotSecret}}
	in.direct(t, "/oauth2/token", "", "", repeated).oauthError(t, 400, "invalid_request")
	form.Set("padding", strings.Repeat("a", 64<<10))
	in.direct(t, "/oauth2/token", "", "", form).oauthError(t, 400, "invalid_request")
	form.Del("padding")
	in.post(t, http.DefaultClient, "/oauth2/token", form, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }).
		oauthError(t, 400, "invalid_request")
	in.direct(t, "/oauth2/token", "", "", form).tokens(t)
}

func defect4(t *testing.T, in *instance, p *person) {
	issued := p.browser.obtain(t)
	for name, got := range map[string]answer{
		"token":         in.refresh(t, issued.refresh),
		"token, error":  in.refresh(t, "rubbish"),
		"userinfo":      in.userInfo(t, issued.access),
		"introspection": in.direct(t, "/oauth2/introspect", "shop", shopSecret, url.Values{"token": {issued.access}}),
		"authorize":     p.browser.authorize(t),
	} {
		if got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", name, got.Header.Get("Cache-Control"))
		}
	}
}

func defect5(t *testing.T, in *instance, p *person) {
	form := url.Values{"grant_type": {"client_credentials"}, "token": {"x"}}
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
		for _, credentials := range [][2]string{{"robot", "wrong"}, {"nobody", robotSecret}, {"", ""}} {
			got := in.direct(t, path, credentials[0], credentials[1], form).oauthError(t, 401, "invalid_client")
			if !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s: WWW-Authenticate %q", path, got.Header.Get("WWW-Authenticate"))
			}
		}
	}
	in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"password"}}).oauthError(t, 400, "unsupported_grant_type")
	in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}}).oauthError(t, 400, "unsupported_grant_type")
	in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {oidc.GrantDeviceCode}}).oauthError(t, 400, "unauthorized_client")
	p.browser.authorize(t, "client_id", "nobody").errorPage(t)
	if got := p.browser.authorize(t, "response_type", "rubbish").redirected(t, callback); got.Get("error") != "unsupported_response_type" {
		t.Errorf("got %v", got)
	}
}

func defect6(t *testing.T, in *instance, _ *person) {
	got := in.browser(t).authorize(t, "response_mode", "form_post", "prompt", "none").status(t, http.StatusOK)
	for _, want := range []string{`name="error" value="login_required"`, `name="iss"`, `name="state" value="the state"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func defect7(t *testing.T, _ *instance, p *person) {
	for _, uri := range []string{
		"https://shop.example/%63allback", "https://shop.example/callbac%6b", "https://shop.example/%2563allback",
		"https://shop.example/./callback", "https://shop.example//callback", "https://shop.example:443/callback",
		"https://shop.example/callback?", "https://shop.example/callback#", "https://user@shop.example/callback", "HTTPS://shop.example/callback",
	} {
		p.browser.authorize(t, "redirect_uri", uri).errorPage(t)
	}
}

func defect8(t *testing.T, _ *instance, p *person) {
	for _, method := range []string{"plain", "foo", "s256", ""} {
		if got := p.browser.authorize(t, "code_challenge_method", method).redirected(t, callback); got.Get("error") != "invalid_request" {
			t.Errorf("%q: %v", method, got)
		}
	}
	if got := p.browser.authorize(t, "code_challenge", "", "code_challenge_method", "").redirected(t, callback); got.Get("error") != "invalid_request" {
		t.Errorf("a confidential application without PKCE: %v", got)
	}
}

func defect9(t *testing.T, _ *instance, p *person) {
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"scope":"openid"}`)) + "."
	if got := p.browser.authorize(t, "request", unsigned).redirected(t, callback); got.Get("error") != "request_not_supported" {
		t.Errorf("got %v", got)
	}
	if got := p.browser.authorize(t, "request_uri", "http://169.254.169.254/").redirected(t, callback); got.Get("error") != "request_uri_not_supported" {
		t.Errorf("got %v", got)
	}
}

func defect10(t *testing.T, in *instance, p *person) {
	code := p.browser.code(t)
	issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).tokens(t)
	in.userInfo(t, issued.access).status(t, http.StatusOK)
	in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).oauthError(t, 400, "invalid_grant")
	in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token")
	in.refresh(t, issued.refresh).oauthError(t, 400, "invalid_grant")
	if in.introspect(t, issued.access)["active"] != false {
		t.Error("the access token is still active")
	}
}

func defect11(t *testing.T, in *instance, p *person) {
	const access = "urn:ietf:params:oauth:token-type:access_token"
	issued := p.browser.obtain(t)
	for name, tt := range map[string]struct{ token, kind, code string }{
		"opaque":               {"rcat_" + strings.Repeat("x", 43), access, "invalid_request"},
		"a refresh token":      {issued.refresh, access, "invalid_request"},
		"an ID token":          {issued.id, access, "invalid_request"},
		"no token":             {"", access, "invalid_request"},
		"two dots":             {"..", access, "invalid_request"},
		"a type unheard of":    {issued.access, "urn:example:kind", "invalid_request"},
		"no type":              {issued.access, "", "invalid_request"},
		"a text of a megabyte": {strings.Repeat("a", 60_000), access, "invalid_request"},
	} {
		answer := in.direct(t, "/oauth2/token", "shop", shopSecret, url.Values{"grant_type": {oidc.GrantTokenExchange}, "subject_token": {tt.token}, "subject_token_type": {tt.kind}})
		if answer.json(t)["error"] != tt.code {
			t.Errorf("%s: %s, want %s", name, answer.body, tt.code)
		}
	}
	in.direct(t, "/oauth2/token", "shop", shopSecret, url.Values{
		"grant_type": {oidc.GrantTokenExchange}, "subject_token": {issued.access}, "subject_token_type": {access}, "scope": {"openid"},
	}).status(t, 200)
}

func defect12(t *testing.T, in *instance, p *person) {
	header, claims := parts(t, p.browser.obtain(t, "scope", "openid email").access)
	if header["typ"] != "at+jwt" {
		t.Errorf("typ %v", header["typ"])
	}
	for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "auth_time", "acr", "amr", "scope"} {
		if _, there := claims[name]; !there {
			t.Errorf("RFC 9068 §2.2: the claim %s is missing", name)
		}
	}
	if claims["aud"] != in.url {
		t.Errorf("aud %v, want the resource", claims["aud"])
	}
}

func defect13(t *testing.T, in *instance, p *person) {
	issued := p.browser.obtain(t)
	in.userInfo(t, issued.id).oauthError(t, 401, "invalid_token")
	if in.introspect(t, issued.id)["active"] != false {
		t.Error("an ID token is an active access token")
	}
	in.userInfo(t, issued.refresh).oauthError(t, 401, "invalid_token")
	in.refresh(t, issued.access).oauthError(t, 400, "invalid_grant")
	p.browser.get(t, "/oauth2/end_session", url.Values{"id_token_hint": {issued.access}}).errorPage(t)
	in.refresh(t, issued.refresh).tokens(t) // and none of this did harm
}

func defect14(t *testing.T, in *instance, p *person) {
	key := newClientKey(t, jose.ES256, "es")
	in.machine(t, p.tenant, func(s *oidc.ApplicationSpec) {
		s.ClientID, s.Secret, s.Security = "keyed", secret.Text{}, oidc.Security{AuthMethod: oidc.AuthPrivateKeyJWT, JWKS: jwks(t, key)}
	})
	for _, audience := range []string{in.url, in.url + "/oauth2/token"} {
		form := asserted(key.sign(t, "", in.assertion("iss", "keyed", "sub", "keyed", "aud", audience)))
		in.direct(t, "/oauth2/token", "", "", form).status(t, 200)
		in.direct(t, "/oauth2/token", "", "", form).oauthError(t, 401, "invalid_client")
	}
}

func defect15(t *testing.T, in *instance, p *person) {
	b := in.browser(t)
	b.signIn(t, p.user, authn.ACR1)
	for _, form := range []url.Values{{}, {"client_id": {"shop"}, "post_logout_redirect_uri": {"https://shop.example/bye"}}} {
		for _, got := range []answer{b.get(t, "/oauth2/end_session", form), b.post(t, "/oauth2/end_session", form)} {
			if got.StatusCode != http.StatusOK || !strings.Contains(got.body, `id="confirm_button"`) {
				t.Fatalf("got %d, want the question: %s", got.StatusCode, got.body)
			}
		}
	}
	b.code(t) // still signed in
}

func defect16(t *testing.T, in *instance, p *person) {
	in.application(t, func(s *oidc.ApplicationSpec) {
		s.ClientID, s.Type, s.Secret, s.RedirectURIs = "page", oidc.SPA, secret.Text{}, []string{"https://page.example/cb"}
	})
	ask := func(method, path, origin string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, in.url+path, nil)
		must(t, err)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		return do(t, p.browser.client, r)
	}
	for _, path := range []string{
		"/oauth2/authorize", "/oauth2/end_session", "/oauth2/token", "/oauth2/userinfo", "/oauth2/revoke", "/oauth2/introspect",
		"/.well-known/openid-configuration", "/oauth2/keys",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			for _, origin := range []string{"https://evil.example", "null", "https://page.example.evil.example", "https://page.exampl", "%", "https://shop.example"} {
				got := ask(method, path, origin)
				if got.Header.Get("Access-Control-Allow-Credentials") != "" || got.Header.Get("Access-Control-Allow-Origin") == origin {
					t.Errorf("%s %s from %s: %v", method, path, origin, got.Header)
				}
			}
		}
	}
	for path, allowed := range map[string]string{
		"/oauth2/token": "https://page.example", "/oauth2/userinfo": "https://page.example", "/oauth2/authorize": "", "/oauth2/introspect": "",
	} {
		if got := ask(http.MethodOptions, path, "https://page.example"); got.Header.Get("Access-Control-Allow-Origin") != allowed {
			t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", path, got.Header.Get("Access-Control-Allow-Origin"), allowed)
		}
	}
	if got := ask(http.MethodGet, "/oauth2/keys", "https://anybody.example"); got.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("the keys are not everybody's")
	}
}

func defect17(t *testing.T, in *instance, _ *person) {
	before := in.browser(t).get(t, "/.well-known/openid-configuration", nil).body
	_, err := provider.New(provider.Deps{OIDC: in.oidc, Authn: in.authn})
	must(t, err)
	if after := in.browser(t).get(t, "/.well-known/openid-configuration", nil).body; after != before {
		t.Error("a second provider changed the first")
	}
}

func defect18(t *testing.T, in *instance, _ *person) { newInstance(t, in.store) }

func defect19(t *testing.T, in *instance, _ *person) {
	got := in.browser(t).get(t, "/.well-known/openid-configuration", nil).status(t, http.StatusOK).json(t)
	for name, want := range map[string]string{
		"response_types_supported": "[code]", "code_challenge_methods_supported": "[S256]", "response_modes_supported": "[query form_post]",
		"authorization_response_iss_parameter_supported": "true", "request_uri_parameter_supported": "false", "request_parameter_supported": "true",
		"registration_endpoint": in.url + "/oauth2/register", "device_authorization_endpoint": in.url + "/oauth2/device_authorization", "pushed_authorization_request_endpoint": in.url + "/oauth2/par",
		"grant_types_supported": "[authorization_code refresh_token client_credentials urn:ietf:params:oauth:grant-type:token-exchange " + oidc.GrantDeviceCode + "]",
	} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("%s = %v, want %s", name, got[name], want)
		}
	}
}

func defect20(t *testing.T, in *instance, p *person) {
	first := p.browser.obtain(t)
	in.advance(time.Hour)
	second := in.refresh(t, first.refresh).tokens(t)
	_, before := parts(t, first.id)
	_, after := parts(t, second.id)
	for _, name := range []string{"sub", "acr", "auth_time", "sid", "nonce", "aud", "iss", "tid"} {
		if before[name] == nil || before[name] != after[name] {
			t.Errorf("%s was %v and is %v", name, before[name], after[name])
		}
	}
	if fmt.Sprint(after["amr"]) != "[pwd]" || before["iat"] == after["iat"] {
		t.Errorf("amr %v, iat %v", after["amr"], after["iat"])
	}
}

func defect21(t *testing.T, in *instance, _ *person) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+"/.well-known/openid-configuration", nil)
	must(t, err)
	r.Host = "evil.example"
	r.Header.Set("Forwarded", "host=evil.example;proto=https")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	r.Header.Set("X-Forwarded-Proto", "https")
	if got := do(t, http.DefaultClient, r); strings.Contains(got.body, "evil.example") {
		t.Errorf("got %s", got.body)
	}
}

func defect22(t *testing.T, in *instance, _ *person) {
	keys, _ := in.browser(t).get(t, "/oauth2/keys", nil).json(t)["keys"].([]any)
	seen := map[any]bool{}
	for _, key := range keys {
		key, _ := key.(map[string]any)
		seen[key["alg"]] = true
		for name := range key {
			if strings.Contains("d p q dp dq qi k", name) {
				t.Errorf("the key set shows %s", name)
			}
		}
	}
	discovery := in.browser(t).get(t, "/.well-known/openid-configuration", nil).json(t)
	algs, _ := discovery["id_token_signing_alg_values_supported"].([]any)
	for _, alg := range algs {
		if !seen[alg] {
			t.Errorf("%v is published, a key for it is not", alg)
		}
	}
}

func defect23(t *testing.T, in *instance, p *person) {
	document := in.browser(t).get(t, "/.well-known/openid-configuration", nil).json(t)
	for name, want := range map[string]string{"claims_parameter_supported": "true", "subject_types_supported": "[public pairwise]", "response_types_supported": "[code]"} {
		if got := fmt.Sprint(document[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	issued := p.browser.obtain(t, "scope", "openid", "claims", `{"id_token":{"email":null}}`)
	if _, claims := parts(t, issued.id); claims["email"] == nil {
		t.Errorf("the claim email was asked for, got %v", claims)
	}
	if _, claims := parts(t, p.browser.obtain(t, "scope", "openid").id); claims["email"] != nil {
		t.Errorf("the claim email was not asked for, got %v", claims)
	}
}

func defect24(t *testing.T, in *instance, p *person) {
	issued := p.browser.obtain(t)
	for _, body := range []string{
		in.refresh(t, "rcrt_\x00'; --").body, in.userInfo(t, issued.access+"x").body, in.userInfo(t, "a.b.c").body,
		in.direct(t, "/oauth2/token", "shop", shopSecret, url.Values{"grant_type": {"authorization_code"}, "code": {"%"}, "redirect_uri": {"\x00"}}).body,
		in.post(t, http.DefaultClient, "/oauth2/token", nil, func(r *http.Request) { r.Header.Set("Authorization", "Basic %%%") }).body,
	} {
		for _, inside := range []string{"storage", "sql", "jose", "schema", "ErrorType", "Parent", "pgx", "panic", "runtime", ".go:"} {
			if strings.Contains(strings.ToLower(body), strings.ToLower(inside)) {
				t.Errorf("%q shows in %s", inside, body)
			}
		}
	}
}
