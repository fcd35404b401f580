package attack

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/instance"
)

// TestRules holds the server to RFC 9700, one subtest for each rule that the project
// takes from it: what a client, or who is none, can see of it in a request or two.
// The other tests of this folder press harder on many of them.
func TestRules(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	file := strings.Replace(withKeys(t, key, newKey(t)), "applications:\n",
		"applications:\n- {client_id: partner, name: Partner, type: web, third_party: true, secret: "+partnerSecret+", redirect_uris: [\"https://partner.example/callback\"]}\n", 1)
	g := targetOf(instance.Start(t, "", file))
	rules := map[string]func(*testing.T, target){
		"AS-R1 redirect URIs are compared byte by byte":               ruleRedirect,
		"AS-R2 no address of a request is an open redirect":           ruleOpenRedirect,
		"AS-R3 PKCE by S256, and no downgrade":                        rulePKCE,
		"AS-R4 codes are used once, by their client":                  ruleCode,
		"AS-R5 no token comes from the authorization endpoint":        ruleFrontChannel,
		"AS-R6 there is no password grant":                            rulePasswordGrant,
		"AS-R7 every answer names the issuer":                         ruleIssuer,
		"AS-R8 a replayed refresh token ends its family":              ruleRefresh,
		"AS-R9 access tokens are for whom they are for":               ruleAudience,
		"AS-R10 one registered way to authenticate":                   ruleAuthentication,
		"AS-R11 no secret is read from an address":                    ruleAddresses,
		"AS-R12 credentials are followed by 303":                      ruleSeeOther,
		"AS-R13 pages are not framed and tell no referrer":            ruleFrames,
		"AS-R14 nothing secret is cached":                             ruleCache,
		"AS-R15 no site reads pages of people":                        ruleCORS,
		"AS-R16 a machine is no person":                               ruleMachine,
		"AS-R17 state and nonce come back as they were":               ruleOpaque,
		"AS-R18 metadata names its own issuer":                        ruleMetadata,
		"AS-R19 what a proxy would say is not believed":               ruleProxy,
		"AS-R20 a sign-in form of another site is refused":            ruleLoginCSRF,
		"AS-R21 who is not trusted gets consent asked, and no assent": ruleConsent,
		"AS-R22 a parameter that repeats is refused":                  ruleRepetition,
		"AS-R23 of fifty redemptions one succeeds":                    ruleRace,
		"AS-R24 a token that was not signed here is none":             ruleJWT,
		"AS-R25 an assertion is one authentication": func(t *testing.T, g target) {
			ruleAssertion(t, g, compact(t, jose.ES256, key, nil, g.assertionClaims("vault")))
		},
		"AS-R26 a scheme of one's own has a dot":                 ruleScheme,
		"AS-R27 there is no web messaging":                       ruleWebMessage,
		"AS-R28 errors tell neither the inside nor who is known": ruleErrors,
	}
	if len(rules) != 28 {
		t.Fatalf("%d rules, want 28", len(rules))
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) { rule(t, g) })
	}
}

const partnerSecret = "partner-secret-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6J"

func ruleRedirect(t *testing.T, g target) {
	for _, uri := range []string{
		"https://shop.example/callback/", "https://shop.example/%63allback", "https://shop.example/callback?x=1", "https://SHOP.example/callback",
		"https://shop.example:443/callback", "http://shop.example/callback", "https://shop.example.evil.example/callback", "https://shop.example/callback#x",
	} {
		if got := g.raw(t, g.shop.Request("openid").With("redirect_uri", uri).URL()); got.status != http.StatusBadRequest || got.location != "" {
			t.Errorf("%s: got %+v, want a page with 400", uri, got)
		}
	}
	for uri, allowed := range map[string]bool{"http://127.0.0.1:9999/callback": true, "http://127.0.0.1:9999/other": false, "http://localhost:9999/callback": false} {
		if got := g.raw(t, g.desk.Request("openid").With("redirect_uri", uri).URL()); (got.status != http.StatusBadRequest) != allowed {
			t.Errorf("%s: got %+v", uri, got)
		}
	}
}

func ruleOpenRedirect(t *testing.T, g target) {
	for _, to := range []string{"//evil.example", `/\evil.example`, "https:evil.example", "https://evil.example", "///evil.example", "/%2f/evil.example", "https://127.0.0.1@evil.example/"} {
		b := g.browser(t)
		page := check(b.Get(t.Context(), "/login?continue="+escape(to)))(t)
		callback, last, err := b.Proceed(t.Context(), page, walt)
		if err == nil || callback != nil || strings.Contains(last.URL.Host, "evil") {
			t.Errorf("continue=%s: the browser is sent to %v", to, callback)
		}
		if got := g.raw(t, g.URL+"/oauth2/end_session?client_id=shop&post_logout_redirect_uri="+escape(to)); got.location != "" {
			t.Errorf("post_logout_redirect_uri=%s: got %+v", to, got)
		}
	}
}

func rulePKCE(t *testing.T, g target) {
	for name, values := range map[string][2]string{"none": {"", ""}, "plain": {strings.Repeat("c", 43), "plain"}, "no method": {strings.Repeat("c", 43), ""}} {
		got := g.raw(t, g.shop.Request("openid").With("code_challenge", values[0]).With("code_challenge_method", values[1]).URL())
		if location := check(url.Parse(got.location))(t); location.Query().Get("error") != "invalid_request" {
			t.Errorf("%s: got %+v, want invalid_request", name, got)
		}
	}
	request := g.shop.Request("openid tenant:zeta")
	code := check(g.shop.Code(t.Context(), g.browser(t), request, walt))(t)
	request.Verifier = ""
	wantError(t, "no verifier", check(g.shop.Redeem(t.Context(), request, code))(t), http.StatusBadRequest, "invalid_grant")
}

func ruleCode(t *testing.T, g target) {
	request := g.shop.Request("openid tenant:zeta")
	code := check(g.shop.Code(t.Context(), g.browser(t), request, walt))(t)
	wantError(t, "another client", check(g.till.Redeem(t.Context(), request, code))(t), http.StatusBadRequest, "invalid_grant")
	request = g.shop.Request("openid tenant:zeta")
	code = check(g.shop.Code(t.Context(), g.browser(t), request, walt))(t)
	first := must(t, "once", check(g.shop.Redeem(t.Context(), request, code))(t), http.StatusOK)
	wantError(t, "twice", check(g.shop.Redeem(t.Context(), request, code))(t), http.StatusBadRequest, "invalid_grant")
	must(t, "what the first gave", check(g.shop.UserInfo(t.Context(), first.String("access_token")))(t), http.StatusUnauthorized)
}

func ruleFrontChannel(t *testing.T, g target) {
	for _, kind := range []string{"token", "id_token", "id_token token", "code token", "code id_token"} {
		got := g.raw(t, g.shop.Request("openid").With("response_type", kind).URL())
		if !strings.Contains(got.location, "error=unsupported_response_type") || strings.Contains(got.location, "#") {
			t.Errorf("%s: got %+v, want unsupported_response_type", kind, got)
		}
	}
}

func rulePasswordGrant(t *testing.T, g target) {
	wantError(t, "password", check(g.shop.Post(t.Context(), application.TokenPath, url.Values{"grant_type": {"password"}, "username": {walt.Login}, "password": {walt.Password}}))(t),
		http.StatusBadRequest, "unsupported_grant_type")
}

func ruleIssuer(t *testing.T, g target) {
	b := g.browser(t)
	if got := silent(t, g.shop, b, "openid"); got.Get("error") == "" || got.Get("iss") != g.URL {
		t.Errorf("an error: got %v, want iss %s", got, g.URL)
	}
	signIn(t, g.shop, b, "openid tenant:zeta", walt)
	if got := silent(t, g.shop, b, "openid tenant:zeta"); got.Get("code") == "" || got.Get("iss") != g.URL {
		t.Errorf("a code: got %v, want iss %s", got, g.URL)
	}
}

func ruleRefresh(t *testing.T, g target) {
	first := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("refresh_token")
	second := must(t, "second", check(g.shop.Refresh(t.Context(), first))(t), http.StatusOK).String("refresh_token")
	third := must(t, "third", check(g.shop.Refresh(t.Context(), second))(t), http.StatusOK).String("refresh_token")
	wantError(t, "the first again", check(g.shop.Refresh(t.Context(), first))(t), http.StatusBadRequest, "invalid_grant")
	wantError(t, "the third, after that", check(g.shop.Refresh(t.Context(), third))(t), http.StatusBadRequest, "invalid_grant")
}

func ruleAudience(t *testing.T, g target) {
	tokens := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt)
	for _, name := range []string{"access_token", "id_token", "refresh_token"} {
		for _, path := range []string{"/api/v1/tenants/zeta/members", "/t/zeta/scim/v2/Users"} {
			if got := g.do(t, http.MethodGet, path, "", "Authorization: Bearer "+tokens.String(name)); got.Status != http.StatusUnauthorized && got.Status != http.StatusForbidden {
				t.Errorf("%s at %s: got %d", name, path, got.Status)
			}
		}
	}
}

func ruleAuthentication(t *testing.T, g target) {
	both := url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}, "client_secret": {g.robot.Secret}}
	if got := check(g.robot.Post(t.Context(), application.TokenPath, both))(t); got.Status != http.StatusBadRequest {
		t.Errorf("two ways at once: got %d, want 400", got.Status)
	}
	// The vault has registered a key.
	vault := application.Application{Issuer: g.URL, ClientID: "vault", Secret: "x"}
	wantError(t, "a secret of who has a key", check(vault.Post(t.Context(), application.TokenPath, url.Values{"grant_type": {"client_credentials"}}))(t), http.StatusUnauthorized, "invalid_client")
}

func ruleAddresses(t *testing.T, g target) {
	access := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("access_token")
	if got := g.do(t, http.MethodGet, application.UserInfoPath+"?access_token="+access, ""); got.Status != http.StatusUnauthorized && got.Status != http.StatusBadRequest {
		t.Errorf("userinfo: got %d", got.Status)
	}
	if got := g.do(t, http.MethodGet, application.TokenPath+"?grant_type=client_credentials&client_id=robot&client_secret="+g.robot.Secret, ""); got.Status != http.StatusMethodNotAllowed {
		t.Errorf("token: got %d, want 405", got.Status)
	}
}

// signInForm posts the sign-in form with the cookies that the page has set, and
// returns the status of the answer and whether it begins a session.
func (g target) signInForm(t *testing.T, origin, email, password string) (status int, signedIn bool) {
	t.Helper()
	client := &http.Client{
		Jar:           check(cookiejar.New(nil))(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	page, err := client.Do(check(http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/login", nil))(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := page.Body.Close(); err != nil {
		t.Fatal(err)
	}
	request := check(http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/login", strings.NewReader(url.Values{"login": {email}, "password": {password}}.Encode())))(t)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", origin)
	if origin != g.URL {
		request.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, slices.ContainsFunc(answer.Cookies(), func(c *http.Cookie) bool { return c.Name == "rolecall_session" && c.Value != "" })
}

func ruleSeeOther(t *testing.T, g target) {
	if status, signedIn := g.signInForm(t, g.URL, walt.Login, walt.Password); status != http.StatusSeeOther || !signedIn {
		t.Errorf("got %d, signed in: %t, want 303 with a session", status, signedIn)
	}
}

func ruleFrames(t *testing.T, g target) {
	for _, path := range []string{"/login", "/oauth2/authorize", "/oauth2/end_session"} {
		header := g.do(t, http.MethodGet, path, "").Header
		if !strings.Contains(header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || header.Get("X-Frame-Options") != "DENY" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: got %v", path, header)
		}
	}
}

func ruleCache(t *testing.T, g target) {
	tokens := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt)
	for name, header := range map[string]http.Header{
		"tokens": tokens.Header, "userinfo": check(g.shop.UserInfo(t.Context(), tokens.String("access_token")))(t).Header,
		"introspection": check(g.shop.Introspect(t.Context(), tokens.String("access_token")))(t).Header, "the sign-in page": g.do(t, http.MethodGet, "/login", "").Header,
	} {
		if !strings.Contains(header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: got Cache-Control %q", name, header.Get("Cache-Control"))
		}
	}
}

func ruleCORS(t *testing.T, g target) {
	for _, path := range []string{"/oauth2/authorize", "/login", "/oauth2/end_session", "/me"} {
		for _, origin := range []string{"https://evil.example", "https://shop.example", "null"} {
			if got := g.do(t, http.MethodGet, path, "", "Origin: "+origin).Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s for %s: got %q", path, origin, got)
			}
		}
	}
}

func ruleMachine(t *testing.T, g target) {
	token := must(t, "token", check(g.robot.Post(t.Context(), application.TokenPath, url.Values{"grant_type": {"client_credentials"}}))(t), http.StatusOK).String("access_token")
	if got := check(g.robot.Introspect(t.Context(), token))(t); got.Body["sub"] != "robot" || got.Body["client_id"] != "robot" {
		t.Errorf("got sub %v of client %v", got.Body["sub"], got.Body["client_id"])
	}
	if got := check(g.robot.UserInfo(t.Context(), token))(t); got.Status != http.StatusForbidden && got.Status != http.StatusUnauthorized {
		t.Errorf("userinfo: got %d", got.Status)
	}
}

func ruleOpaque(t *testing.T, g target) {
	state, nonce := `ä <>"&%+/= `+strings.Repeat("s", 1200), `ö <>"&%+/= `+strings.Repeat("n", 1200)
	request := g.shop.Request("openid tenant:zeta").With("state", state).With("nonce", nonce)
	code := check(g.shop.Code(t.Context(), g.browser(t), request, walt))(t) // which compares the state
	tokens := must(t, "redeem", check(g.shop.Redeem(t.Context(), request, code))(t), http.StatusOK)
	if claims := check(application.Claims(tokens.String("id_token")))(t); claims["nonce"] != nonce {
		t.Errorf("got nonce %v", claims["nonce"])
	}
}

func ruleMetadata(t *testing.T, g target) {
	one, other := g.do(t, http.MethodGet, "/.well-known/openid-configuration", ""), g.do(t, http.MethodGet, "/.well-known/oauth-authorization-server", "")
	if one.Raw != other.Raw || one.String("issuer") != g.URL {
		t.Errorf("got issuer %s, want %s in both documents", one.String("issuer"), g.URL)
	}
}

func ruleProxy(t *testing.T, g target) {
	answer := g.do(t, http.MethodGet, "/.well-known/openid-configuration", "", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example;proto=https")
	if answer.String("issuer") != g.URL || strings.Contains(answer.Raw, "evil.example") {
		t.Errorf("got %s", answer.Raw)
	}
}

func ruleLoginCSRF(t *testing.T, g target) {
	if status, signedIn := g.signInForm(t, "https://evil.example", mallory.Login, mallory.Password); signedIn || status < 400 {
		t.Errorf("from another site: got %d, signed in: %t", status, signedIn)
	}
}

func ruleConsent(t *testing.T, g target) {
	b := g.browser(t)
	signIn(t, g.shop, b, "openid tenant:zeta", walt)
	partner := application.Application{Issuer: g.URL, ClientID: "partner", Secret: partnerSecret, RedirectURI: "https://partner.example/callback"}
	if got := silent(t, partner, b, "openid profile tenant:zeta"); got.Get("error") != "consent_required" {
		t.Errorf("prompt=none: got %v, want consent_required", got)
	}
	page := check(b.Get(t.Context(), partner.Request("openid profile tenant:zeta").URL()))(t)
	if page.Left != nil || len(page.Forms) == 0 || strings.Contains(page.Body, "onload") || strings.Contains(page.Header.Get("Refresh"), "url") {
		t.Errorf("the question is answered by itself: %v at %s", page.Left, page.URL)
	}
}

func ruleRepetition(t *testing.T, g target) {
	for _, name := range []string{"state", "scope", "nonce", "prompt", "code_challenge"} {
		got := g.raw(t, g.shop.Request("openid").With("prompt", "none").URL()+"&"+name+"=again")
		if !strings.Contains(got.location, "error=invalid_request") {
			t.Errorf("%s twice: got %+v, want invalid_request", name, got)
		}
	}
	if got := g.raw(t, g.shop.Request("openid").URL()+"&client_id=till"); got.status != http.StatusBadRequest || got.location != "" {
		t.Errorf("client_id twice: got %+v, want a page with 400", got)
	}
}

func ruleRace(t *testing.T, g target) {
	request := g.till.Request("openid tenant:zeta")
	code := check(g.till.Code(t.Context(), g.browser(t), request, walt))(t)
	if statuses := race(t, func() (*application.Answer, error) { return g.till.Redeem(t.Context(), request, code) }); statuses[http.StatusOK] != 1 {
		t.Errorf("got statuses %v", statuses)
	}
}

func ruleJWT(t *testing.T, g target) {
	access := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("access_token")
	parts := strings.Split(access, ".")
	claims := check(application.Claims(access))(t)
	for name, token := range map[string]string{
		"alg none":           "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + ".",
		"HS256":              compact(t, jose.HS256, []byte(strings.Repeat("k", 32)), (&jose.SignerOptions{}).WithType("at+jwt"), claims),
		"somebody's own key": compact(t, jose.ES256, newKey(t), (&jose.SignerOptions{EmbedJWK: true}).WithType("at+jwt"), claims),
		"an unknown crit":    compact(t, jose.ES256, newKey(t), (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("crit", []string{"x"}).WithHeader("x", true), claims),
		"too long":           strings.Repeat("a", 100_000) + "." + parts[1] + "." + parts[2],
	} {
		if got := check(g.shop.UserInfo(t.Context(), token))(t); got.Status == http.StatusOK || got.Status >= 500 {
			t.Errorf("%s: got %d", name, got.Status)
		}
	}
}

func ruleAssertion(t *testing.T, g target, assertion string) {
	must(t, "once", form(t, g.URL+application.TokenPath, asserted(assertion)), http.StatusOK)
	wantError(t, "twice", form(t, g.URL+application.TokenPath, asserted(assertion)), http.StatusUnauthorized, "invalid_client")
}

func ruleScheme(t *testing.T, g target) {
	for uri, taken := range map[string]bool{"myapp:/callback": false, "javascript:alert(1)": false, "data:text/html,x": false, "com.example.other:/callback": true} {
		_, err := g.Apply(t.Context(), "applications: [{client_id: scheme, name: Scheme, type: native, redirect_uris: ["+`"`+uri+`"`+"]}]")
		if (err == nil) != taken {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func ruleWebMessage(t *testing.T, g target) {
	if got := g.raw(t, g.shop.Request("openid").With("response_mode", "web_message").URL()); !strings.Contains(got.location, "error=invalid_request") {
		t.Errorf("got %+v, want invalid_request", got)
	}
}

func ruleErrors(t *testing.T, g target) {
	var said []string
	for _, email := range []string{walt.Login, "nobody.at.all@nowhere.example"} {
		b := g.browser(t)
		page := check(b.Get(t.Context(), "/login"))(t)
		person := walt
		person.Login, person.Password = email, "not the password of anybody"
		_, last, err := b.Proceed(t.Context(), page, person)
		if err == nil {
			t.Fatalf("%s: signed in with a wrong password", email)
		}
		said = append(said, strings.ReplaceAll(last.Text(), email, "SOMEBODY"))
	}
	if said[0] != said[1] {
		t.Errorf("a known address is told\n%s\nan unknown one\n%s", said[0], said[1])
	}
	answer := check(g.shop.Post(t.Context(), application.TokenPath, url.Values{"grant_type": {"authorization_code"}, "code": {"%\x00'\""}, "redirect_uri": {"x"}, "code_verifier": {strings.Repeat("v", 43)}}))(t)
	for _, inside := range []string{"sql", "pgx", "storage", "panic", ".go", "goroutine"} {
		if strings.Contains(strings.ToLower(answer.Raw), inside) {
			t.Errorf("the error tells of %s: %s", inside, answer.Raw)
		}
	}
}
