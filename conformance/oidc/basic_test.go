package oidc_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/conformance/browser"
)

// TestBasic is oidcc-basic-certification-test-plan.
func TestBasic(t *testing.T) { run(t, "basic", "", basicPlan()) }

// basicPlan are the modules in the order of the Foundation's plan. The form_post
// plan has the same.
func basicPlan() []planned {
	return []planned{
		{"oidcc-server", codeFlow},
		{"oidcc-response-type-missing", responseTypeMissing},
		{"oidcc-idtoken-signature", idTokenSignature},
		{"oidcc-idtoken-unsigned", idTokenUnsigned},
		{"oidcc-userinfo-get", func(m *module) { m.userInfo(m.flow(client1)) }},
		{"oidcc-userinfo-post-header", userInfoPostHeader},
		{"oidcc-userinfo-post-body", userInfoPostBody},
		{"oidcc-ensure-request-without-nonce-succeeds-for-code-flow", func(m *module) { m.flow(client1, "nonce", "") }},
		{"oidcc-scope-profile", func(m *module) {
			m.delivers("openid profile", "name", "given_name", "family_name", "preferred_username", "nickname", "zoneinfo", "locale", "updated_at")
		}},
		{"oidcc-scope-email", func(m *module) { m.delivers("openid email", "email", "email_verified") }},
		{"oidcc-scope-address", func(m *module) { m.delivers("openid address", "address") }},
		{"oidcc-scope-phone", func(m *module) { m.delivers("openid phone", "phone_number", "phone_number_verified") }},
		{"oidcc-scope-all", func(m *module) {
			m.delivers("openid email phone address profile", "name", "email", "email_verified", "phone_number", "phone_number_verified", "address")
		}},
		{"oidcc-alternate-happy-flow", alternateHappyFlow},
		{"oidcc-display-page", func(m *module) { m.flow(client1, "display", "page") }},
		{"oidcc-display-popup", func(m *module) { m.flow(client1, "display", "popup") }},
		{"oidcc-prompt-login", func(m *module) { m.signsInAnew("prompt", "login") }},
		{"oidcc-prompt-none-not-logged-in", promptNoneNotLoggedIn},
		{"oidcc-prompt-none-logged-in", func(m *module) { m.staysSignedIn(nil, func(tokens) []string { return []string{"prompt", "none"} }) }},
		{"oidcc-max-age-1", func(m *module) { m.signsInAnew("max_age", "1") }},
		{"oidcc-max-age-10000", func(m *module) {
			m.staysSignedIn([]string{"max_age", "15000"}, func(tokens) []string { return []string{"max_age", "10000"} })
		}},
		{"oidcc-ensure-request-with-unknown-parameter-succeeds", func(m *module) { m.flow(client1, "extra", "foobar") }},
		{"oidcc-id-token-hint", func(m *module) {
			m.staysSignedIn(nil, func(first tokens) []string { return []string{"prompt", "none", "id_token_hint", first.id} })
		}},
		{"oidcc-login-hint", loginHint},
		{"oidcc-ui-locales", func(m *module) { m.flow(client1, "ui_locales", "se en") }},
		{"oidcc-claims-locales", func(m *module) { m.flow(client1, "claims_locales", "se") }},
		{"oidcc-ensure-request-with-acr-values-succeeds", acrValues},
		{"oidcc-codereuse", func(m *module) { m.reusesCode(0) }},
		{"oidcc-codereuse-30seconds", func(m *module) { m.reusesCode(30 * time.Second) }},
		{"oidcc-ensure-registered-redirect-uri", registeredRedirectURI},
		{"oidcc-ensure-post-request-succeeds", postRequest},
		{"oidcc-server-client-secret-post", clientSecretPost},
		{"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", unsignedRequestURI},
		{"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", unsignedRequestObject},
		{"oidcc-claims-essential", claimsEssential},
		{"oidcc-ensure-request-object-with-redirect-uri", requestObjectWithRedirectURI},
		{"oidcc-refresh-token", refreshToken},
		{"oidcc-ensure-request-with-valid-pkce-succeeds", validPKCE},
	}
}

func codeFlow(m *module) {
	request := m.request(client1)
	page := m.open(request)
	m.asksForPassword(page)
	issued := m.checked(client1, request.Get("nonce"), m.redeem(client1, m.proceed(request, page)))
	m.userInfo(issued)
}

func responseTypeMissing(m *module) {
	m.fails(m.silently(m.request(client1, "response_type", "")), "invalid_request", "unsupported_response_type")
}

// idTokenSignature is for dynamic clients in the Foundation's plan: who says
// nothing of an algorithm gets RS256. Here the seed says it.
func idTokenSignature(m *module) { m.flow(client1) }

func idTokenUnsigned(m *module) {
	if m.lists("id_token_signing_alg_values_supported", "none") {
		m.Error("unsigned ID tokens are offered")
	}
	m.Skip("the server does not sign by none")
}

func userInfoPostHeader(m *module) {
	issued := m.flow(client1)
	m.aboutPerson(issued, m.post(m, m.text("userinfo_endpoint"), nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+issued.access) }))
}

func userInfoPostBody(m *module) {
	issued := m.flow(client1)
	m.aboutPerson(issued, m.post(m, m.text("userinfo_endpoint"), url.Values{"access_token": {issued.access}}, nil))
}

// delivers checks that userinfo has the claims that the scopes stand for, and the
// ID token none of them.
func (m *module) delivers(scope string, names ...string) {
	m.Helper()
	issued := m.flow(client1, "scope", scope)
	info := m.userInfo(issued)
	for _, name := range names {
		if info[name] == nil {
			m.Errorf("userinfo lacks %s: %v", name, info)
		}
		if issued.claims[name] != nil {
			m.Errorf("the ID token has %s, which was not asked for there", name)
		}
	}
	for scope := range strings.FieldsSeq(scope) {
		if !m.lists("scopes_supported", scope) {
			m.Errorf("the scope %s is not published", scope)
		}
	}
}

// alternateHappyFlow has the scopes and the parameters in another order.
func alternateHappyFlow(m *module) {
	request := m.request(client1, "scope", "email openid")
	pairs := []string{}
	for _, name := range []string{"state", "scope", "response_mode", "redirect_uri", "nonce", "response_type", "client_id"} {
		if request.Has(name) {
			pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(request.Get(name)))
		}
	}
	page, err := m.browser.Get(m.Context(), m.text("authorization_endpoint")+"?"+strings.Join(pairs, "&"))
	must(m, err)
	issued := m.checked(client1, request.Get("nonce"), m.redeem(client1, m.proceed(request, page)))
	if m.userInfo(issued)["email"] == nil {
		m.Error("userinfo lacks email")
	}
}

// signsInAnew checks that the parameter asks for another sign-in, which is later.
func (m *module) signsInAnew(name, value string) {
	m.Helper()
	first := m.flow(client1)
	m.wait(m, 2*time.Second)
	request := m.request(client1, name, value)
	page := m.open(request)
	m.asksForPassword(page)
	second := m.checked(client1, request.Get("nonce"), m.redeem(client1, m.proceed(request, page)))
	before, _ := first.claims["auth_time"].(float64)
	after, _ := second.claims["auth_time"].(float64)
	if before == 0 || after <= before || first.claims["sub"] != second.claims["sub"] {
		m.Errorf("auth_time was %v and is %v", first.claims["auth_time"], second.claims["auth_time"])
	}
}

// staysSignedIn checks that the second request is answered without a page, for
// the sign-in of the first.
func (m *module) staysSignedIn(first []string, second func(tokens) []string) {
	m.Helper()
	before := m.flow(client1, first...)
	m.wait(m, 2*time.Second)
	request := m.request(client1, second(before)...)
	after := m.checked(client1, request.Get("nonce"), m.redeem(client1, m.silently(request)))
	if before.claims["auth_time"] == nil || before.claims["auth_time"] != after.claims["auth_time"] || before.claims["sub"] != after.claims["sub"] {
		m.Errorf("the first is %v, the second %v", before.claims, after.claims)
	}
}

func promptNoneNotLoggedIn(m *module) {
	request := m.request(client1, "prompt", "none", "state", strings.Repeat("aZ0-._~ +&", 13))
	m.fails(m.silently(request), "login_required", "interaction_required", "account_selection_required", "consent_required")
}

func loginHint(m *module) {
	request := m.request(client1, "login_hint", person.Login)
	page := m.open(request)
	m.asksForPassword(page)
	if !strings.Contains(page.Body, `value="`+person.Login+`"`) {
		m.Error("the address is not filled in")
	}
	m.checked(client1, request.Get("nonce"), m.redeem(client1, m.proceed(request, page)))
}

func acrValues(m *module) {
	published, _ := m.metadata["acr_values_supported"].([]any)
	var values []string
	for _, value := range published {
		value, _ := value.(string)
		values = append(values, value)
	}
	issued := m.flow(client1, "acr_values", strings.Join(values, " "))
	if acr, _ := issued.claims["acr"].(string); !m.lists("acr_values_supported", acr) {
		m.Errorf("acr %q is none of %v", acr, values)
	}
}

// reusesCode checks that a code does not work twice, and that the second attempt
// ends what the first gave.
func (m *module) reusesCode(after time.Duration) {
	m.Helper()
	request := m.request(client1)
	got := m.authorize(request)
	issued := m.checked(client1, request.Get("nonce"), m.redeem(client1, got))
	m.userInfo(issued)
	m.wait(m, after)
	if again := m.redeem(client1, got); again.status != http.StatusBadRequest || again.text("error") != "invalid_grant" {
		m.Errorf("the code works twice: %d %s", again.status, again.body)
	}
	if info := m.get(m, m.text("userinfo_endpoint"), issued.access); info.status != http.StatusUnauthorized {
		m.Errorf("the access token of a code that was used twice: %d", info.status)
	}
}

func registeredRedirectURI(m *module) {
	page := m.open(m.request(client1, "redirect_uri", m.suite+"/callback/"+rand.Text()))
	m.showsError(page)
	if !strings.Contains(page.Text(), "redirect_uri") {
		m.Error("the page does not say that it is the redirect_uri")
	}
}

// postForm sends the authorization request as a form.
func (m *module) postForm(request url.Values) *browser.Page {
	m.Helper()
	at, err := url.Parse(m.text("authorization_endpoint"))
	must(m, err)
	fields := map[string]string{}
	for name := range request {
		fields[name] = request.Get(name)
	}
	page, err := m.browser.Submit(m.Context(), &browser.Page{URL: at}, browser.Form{Action: at.String(), Method: http.MethodPost}, fields)
	must(m, err)
	return page
}

func postRequest(m *module) {
	request := m.request(client1)
	m.checked(client1, request.Get("nonce"), m.redeem(client1, m.proceed(request, m.postForm(request))))
}

func clientSecretPost(m *module) {
	request := m.request(clientPost)
	got := m.authorize(request)
	m.checked(clientPost, request.Get("nonce"), m.post(m, m.text("token_endpoint"), url.Values{
		"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {m.suite + "/callback"},
		"client_id": {clientPost.id}, "client_secret": {clientPost.secret},
	}, nil))
}

// unsigned is a request object by alg none.
func unsigned(request url.Values) string {
	claims := []string{}
	for name := range request {
		claims = append(claims, `"`+name+`":"`+request.Get(name)+`"`)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte("{"+strings.Join(claims, ",")+"}")) + "."
}

// refusesUnsigned checks that an unsigned request object is not passed over.
func (m *module) refusesUnsigned(got url.Values, unsupported string) {
	m.Helper()
	if m.lists("request_object_signing_alg_values_supported", "none") {
		m.Fatal("unsigned request objects are offered")
	}
	m.fails(got, unsupported, "invalid_request_object", "invalid_request_uri", "invalid_request")
	m.Skip("the server takes no unsigned request objects, and says so")
}

func unsignedRequestURI(m *module) {
	request := m.request(client1)
	m.refusesUnsigned(m.silently(m.request(client1, "request_uri", m.suite+"/request/"+rand.Text(), "state", request.Get("state"))), "request_uri_not_supported")
}

func unsignedRequestObject(m *module) {
	request := m.request(client1)
	request.Set("request", unsigned(request))
	m.refusesUnsigned(m.silently(request), "request_not_supported")
}

func claimsEssential(m *module) {
	issued := m.flow(client1, "claims", `{"userinfo":{"name":{"essential":true}}}`)
	if m.userInfo(issued)["name"] == nil {
		m.Error("userinfo lacks name")
	}
	if issued.claims["name"] != nil {
		m.Error("the ID token has name, which was asked for in userinfo")
	}
	if m.metadata["claims_parameter_supported"] != true {
		m.Error("the metadata does not say so")
	}
}

// requestObjectWithRedirectURI has a redirect URI outside of the request object
// that is not registered: without request objects that is an error page.
func requestObjectWithRedirectURI(m *module) {
	request := m.request(client1)
	object := unsigned(request)
	request.Set("redirect_uri", m.suite+"/callback/"+rand.Text())
	request.Set("request", object)
	page := m.open(request)
	if text := page.Text(); page.Left != nil || page.Status < 400 || !strings.Contains(text, "invalid_request") && !strings.Contains(text, "request_not_supported") {
		m.Errorf("got %d, leaving for %v: %s", page.Status, page.Left, text)
	}
	m.Skip("the server takes no unsigned request objects, and says so")
}

func refreshToken(m *module) {
	// The suite asks for offline_access with prompt=consent (OIDC Core §11).
	obtain := func(c client) tokens {
		return m.flow(c, "scope", "openid offline_access", "prompt", "consent", "nonce", rand.Text()+rand.Text())
	}
	refresh := func(c client, token string) answer {
		return m.post(m, m.text("token_endpoint"), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, basic(c))
	}
	if !m.lists("grant_types_supported", "refresh_token") || !m.lists("scopes_supported", "offline_access") {
		m.Error("refresh tokens are not published")
	}
	first := obtain(client1)
	nonce, _ := first.claims["nonce"].(string)
	m.wait(m, 2*time.Second)
	second := m.checked(client1, nonce, refresh(client1, first.refresh))
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "azp"} { // OIDC Core §12.2
		if first.claims[name] != second.claims[name] {
			m.Errorf("%s was %v and is %v", name, first.claims[name], second.claims[name])
		}
	}
	if first.claims["iat"] == second.claims["iat"] || first.access == second.access {
		m.Error("nothing is new")
	}
	m.userInfo(second)
	other := obtain(client2)
	if got := refresh(client1, other.refresh); got.status != http.StatusBadRequest || got.text("error") != "invalid_grant" {
		m.Errorf("another client's refresh token: %d %s", got.status, got.body)
	}
}

func validPKCE(m *module) {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	request := m.request(client1, "code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256")
	m.checked(client1, request.Get("nonce"), m.redeem(client1, m.authorize(request), "code_verifier", verifier))
}
