package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/conformance/browser"
)

//go:embed suite-fapi2.json
var fapi2Configuration []byte

// bank is a client of the plan: it authenticates by a key, and has another one
// that its tokens are bound to.
type bank struct {
	*module
	id    string
	key   jose.JSONWebKey
	proof *ecdsa.PrivateKey
}

// bank returns one of the two clients of the suite's configuration.
func (m *module) bank(name string) *bank {
	m.Helper()
	var configuration map[string]json.RawMessage
	must(m, json.Unmarshal(fapi2Configuration, &configuration))
	var c struct {
		ID   string             `json:"client_id"`
		JWKS jose.JSONWebKeySet `json:"jwks"`
	}
	must(m, json.Unmarshal(configuration[name], &c))
	return &bank{m, c.ID, c.JWKS.Keys[0], newProofKey(m.T)}
}

func newProofKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func thumbprint(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	must(t, err)
	return base64.RawURLEncoding.EncodeToString(sum)
}

// now is the time at the server.
func (p *provider) now() time.Time { return time.Now().Add(p.ahead) }

// claims with a nil value are taken out of others.
type claims map[string]any

func (c claims) with(others claims) claims {
	all := maps.Clone(c)
	for name, value := range others {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

func sign(t *testing.T, key jose.SigningKey, options *jose.SignerOptions, c claims) string {
	t.Helper()
	signer, err := jose.NewSigner(key, options)
	must(t, err)
	payload, err := json.Marshal(c)
	must(t, err)
	signed, err := signer.Sign(payload)
	must(t, err)
	text, err := signed.CompactSerialize()
	must(t, err)
	return text
}

// assertion is a sound client assertion with some claims altered.
func (b *bank) assertion(changed claims) string {
	b.Helper()
	now := b.now()
	sound := claims{"iss": b.id, "sub": b.id, "aud": b.URL, "jti": rand.Text(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	return sign(b.T, jose.SigningKey{Algorithm: jose.ES256, Key: b.key}, nil, sound.with(changed))
}

// dpop is a sound proof with some claims altered; token is the access token that
// it goes with, if it is not empty.
func (b *bank) dpop(method, address, token string, changed claims) string {
	b.Helper()
	return b.dpopBy(b.proof, "dpop+jwt", method, address, token, changed)
}

func (b *bank) dpopBy(key *ecdsa.PrivateKey, typ, method, address, token string, changed claims) string {
	b.Helper()
	sound := claims{"htm": method, "htu": address, "iat": b.now().Unix(), "jti": rand.Text()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		sound["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return sign(b.T, jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ)), sound.with(changed))
}

// send posts a form with an assertion, and with a proof unless it is empty.
func (b *bank) send(address string, form url.Values, assertion, proof string) answer {
	b.Helper()
	form = maps.Clone(form)
	if assertion != "" {
		form.Set("client_assertion", assertion)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	return b.post(b.T, address, form, func(r *http.Request) {
		if proof != "" {
			r.Header.Set("DPoP", proof)
		}
	})
}

const verifier = "conformance-conformance-conformance-conformance-conformance"

func (b *bank) par() string   { return b.text("pushed_authorization_request_endpoint") }
func (b *bank) token() string { return b.text("token_endpoint") }

// wanted is a sound authorization request to be pushed; pairs alter it.
func (b *bank) wanted(pairs ...string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	defaults := []string{"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256", "nonce", rand.Text(), "state", rand.Text()}
	return b.request(client{id: b.id}, append(defaults, pairs...)...)
}

// push pushes a request and returns the query with which a browser comes.
func (b *bank) push(request url.Values) url.Values {
	b.Helper()
	got := b.send(b.par(), request, b.assertion(nil), "")
	if got.status != http.StatusCreated || got.text("request_uri") == "" || got.json["expires_in"] == nil {
		b.Fatalf("the request is not taken: %d %s", got.status, got.body)
	}
	return url.Values{"client_id": {b.id}, "request_uri": {got.text("request_uri")}}
}

// code signs the person in and returns the redemption of the code.
func (b *bank) code(request url.Values) url.Values {
	b.Helper()
	got := b.response(request, b.left(b.push(request)))
	if got.Get("code") == "" {
		b.Fatalf("got %v", got)
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {request.Get("redirect_uri")}, "code_verifier": {verifier},
	}
}

// redeemed exchanges the code soundly.
func (b *bank) redeemed(form url.Values) answer {
	b.Helper()
	got := b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil))
	if got.status != http.StatusOK || !strings.EqualFold(got.text("token_type"), "DPoP") || got.header.Get("Cache-Control") != "no-store" {
		b.Fatalf("the token endpoint answers %d %s", got.status, got.body)
	}
	return got
}

// succeeds runs the whole flow.
func (b *bank) succeeds(request url.Values) {
	b.Helper()
	got := b.redeemed(b.code(request))
	signed, err := jose.ParseSignedCompact(got.text("id_token"), []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA})
	must(b.T, err)
	payload, err := signed.Verify(b.keys.Key(signed.Signatures[0].Header.KeyID)[0])
	must(b.T, err)
	var id map[string]any
	must(b.T, json.Unmarshal(payload, &id))
	if nonce, _ := id["nonce"].(string); nonce != request.Get("nonce") || id["iss"] != b.URL || id["aud"] != b.id {
		b.Errorf("the ID token says %v", id)
	}
	if resource := b.resource("DPoP", got.text("access_token"), b.dpop("GET", b.text("userinfo_endpoint"), got.text("access_token"), nil)); resource.status != http.StatusOK {
		b.Errorf("the resource answers %d %s", resource.status, resource.body)
	}
}

// resource calls userinfo.
func (b *bank) resource(scheme, token string, proofs ...string) answer {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.text("userinfo_endpoint"), nil)
	must(b.T, err)
	r.Header.Set("Authorization", scheme+" "+token)
	for _, proof := range proofs {
		r.Header.Add("DPoP", proof)
	}
	return b.do(b.T, r)
}

// refuses checks a direct error.
func (b *bank) refuses(what string, got answer, codes ...string) {
	b.Helper()
	if got.status != http.StatusBadRequest && got.status != http.StatusUnauthorized || !slices.Contains(codes, got.text("error")) {
		b.Errorf("%s: got %d %s, want one of %v", what, got.status, got.body, codes)
	}
}

// staysHere checks that a browser that comes with the query gets nowhere.
func (b *bank) staysHere(query url.Values) {
	b.Helper()
	if page := b.open(query); page.Left != nil || page.Status < 400 {
		b.Errorf("got %d, leaving for %v, want an error page: %s", page.Status, page.Left, page.Text())
	}
}

// TestFAPI2SecurityProfileFinal is fapi2-security-profile-final-test-plan with
// client_auth_type=private_key_jwt, sender_constrain=dpop, openid=openid_connect,
// fapi_profile=plain_fapi, fapi_request_method=unsigned and plain responses. What
// is for signed requests, national profiles and grant management is none of it.
func TestFAPI2SecurityProfileFinal(t *testing.T) {
	const name = "fapi2-security-profile-final-"
	one := func(test func(*bank)) func(*module) { return func(m *module) { test(m.bank("client")) } }
	accepts := func(pairs ...string) func(*module) {
		return one(func(b *bank) { b.succeeds(b.wanted(pairs...)) })
	}
	assertionAtPAR := func(changed func(*bank) claims) func(*module) {
		return one(func(b *bank) {
			b.refuses("PAR", b.send(b.par(), b.wanted(), b.assertion(changed(b)), ""), "invalid_client", "invalid_request")
		})
	}
	assertionAtToken := func(changed func(*bank) claims) func(*module) {
		return one(func(b *bank) {
			b.refuses("token", b.send(b.token(), b.code(b.wanted()), b.assertion(changed(b)), b.dpop("POST", b.token(), "", nil)), "invalid_client", "invalid_request")
		})
	}
	pushRefused := func(code string, pairs ...string) func(*module) {
		return one(func(b *bank) { b.refuses("PAR", b.send(b.par(), b.wanted(pairs...), b.assertion(nil), ""), code) })
	}
	modules := []planned{
		{"discovery-end-point-verification", fapi2Discovery},
		{"happy-flow", func(m *module) {
			for _, c := range []string{"client", "client2"} {
				b := m.bank(c)
				b.succeeds(b.wanted())
			}
			b := m.bank("client2")
			page := b.left(b.push(b.wanted("redirect_uri", b.suite+"/callback?dummy1=lorem&dummy2=ipsum")))
			if got := page.Left.Query(); got.Get("dummy1") != "lorem" || got.Get("dummy2") != "ipsum" || got.Get("code") == "" {
				b.Errorf("the answer goes to %s", page.Left)
			}
		}},
		{"user-rejects-authentication", one(func(b *bank) {
			request := b.wanted()
			page := b.open(b.push(request))
			for i := range page.Forms {
				if strings.HasSuffix(page.Forms[i].Action, "/cancel") {
					left, err := b.browser.Submit(b.Context(), page, page.Forms[i], nil)
					must(b.T, err)
					b.fails(b.response(request, left), "access_denied")
					return
				}
			}
			b.Error("the page can't be left")
		})},
		{"ensure-authorization-request-without-state-success", accepts("state", "")},
		{"ensure-authorization-request-without-nonce-success", accepts("nonce", "")},
		{"ensure-authorization-request-with-64-char-nonce-success", accepts("nonce", strings.Repeat("64 chars", 8))},
		{"ensure-other-scope-order-succeeds", accepts("scope", "email openid")},
		{"test-claims-parameter-identity-claims", accepts("claims", `{"userinfo":{"name":{"essential":true}},"id_token":{"email":null}}`)},
		{"access-token-type-header-case-sensitivity", one(func(b *bank) {
			access := b.redeemed(b.code(b.wanted())).text("access_token")
			for _, scheme := range []string{"DPoP", "dpop", "DPOP"} {
				if got := b.resource(scheme, access, b.dpop("GET", b.text("userinfo_endpoint"), access, nil)); got.status != http.StatusOK {
					b.Errorf("%s: %d %s", scheme, got.status, got.body)
				}
			}
		})},
		{"check-dpop-proof-nbf-exp", proofAccepted(func(b *bank) claims {
			return claims{"nbf": b.now().Unix(), "exp": b.now().Add(time.Minute).Unix()}
		})},
		{"ensure-dpopproof-with-iat-10seconds-before-succeeds", proofAccepted(func(b *bank) claims { return claims{"iat": b.now().Add(-10 * time.Second).Unix()} })},
		{"ensure-dpopproof-with-iat-10seconds-after-succeeds", proofAccepted(func(b *bank) claims { return claims{"iat": b.now().Add(10 * time.Second).Unix()} })},
		{"ensure-mismatched-dpop-jkt-fails", one(func(b *bank) {
			request := b.wanted("dpop_jkt", thumbprint(b.T, newProofKey(b.T)))
			b.refuses("PAR", b.send(b.par(), request, b.assertion(nil), b.dpop("POST", b.par(), "", nil)), "invalid_request", "invalid_dpop_proof")
		})},
		{"ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt", one(func(b *bank) {
			request := b.wanted()
			pushed := b.send(b.par(), request, b.assertion(nil), b.dpop("POST", b.par(), "", nil))
			got := b.response(request, b.left(url.Values{"client_id": {b.id}, "request_uri": {pushed.text("request_uri")}}))
			b.proof = newProofKey(b.T)
			form := url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {request.Get("redirect_uri")}, "code_verifier": {verifier}}
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_grant", "invalid_dpop_proof")
		})},
		{"ensure-token-endpoint-fails-with-mismatched-dpop-jkt", one(func(b *bank) {
			form := b.code(b.wanted("dpop_jkt", thumbprint(b.T, newProofKey(b.T))))
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_grant", "invalid_dpop_proof")
		})},
		{"ensure-dpopproof-at-par-endpoint-binding-success", one(func(b *bank) {
			request := b.wanted()
			pushed := b.send(b.par(), request, b.assertion(nil), b.dpop("POST", b.par(), "", nil))
			got := b.response(request, b.left(url.Values{"client_id": {b.id}, "request_uri": {pushed.text("request_uri")}}))
			b.redeemed(url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {request.Get("redirect_uri")}, "code_verifier": {verifier}})
		})},
		{"ensure-dpop-auth-code-binding-success", one(func(b *bank) { b.succeeds(b.wanted("dpop_jkt", thumbprint(b.T, b.proof))) })},
		{"ensure-different-nonce-inside-and-outside-request-object", outside("nonce", "another")},
		{"ensure-different-state-inside-and-outside-request-object", outside("state", "another")},
		{"ensure-authorization-request-with-long-nonce", accepts("nonce", strings.Repeat("n", 384))},
		{"ensure-authorization-request-with-long-state", accepts("state", strings.Repeat("s", 1024))},
		{"state-only-outside-request-object-not-used", one(func(b *bank) {
			request := b.wanted("state", "")
			query := b.push(request)
			query.Set("state", "outside")
			if got := b.response(request, b.left(query)); got.Has("state") {
				b.Errorf("got %v", got)
			}
		})},
		{"ensure-request-object-without-redirect-uri-fails", pushRefused("invalid_request", "redirect_uri", "")},
		{"ensure-registered-redirect-uri", pushRefused("invalid_request", "redirect_uri", "https://evil.example/callback")},
		{"plain-fapi-tolerate-unregistered-redirect-uri", pushRefused("invalid_request", "redirect_uri", "https://evil.example/callback")},
		{"ensure-unsigned-authorization-request-without-using-par-fails", one(func(b *bank) {
			request := b.wanted()
			b.fails(b.response(request, b.open(request)), "invalid_request")
		})},
		{"ensure-redirect-uri-in-authorization-request", pushRefused("invalid_request", "redirect_uri", "")},
		{"ensure-response-type-code-idtoken-fails", pushRefused("unsupported_response_type", "response_type", "code id_token")},
		{"ensure-response-type-token-fails", pushRefused("unsupported_response_type", "response_type", "token")},
		{"ensure-client-id-in-token-endpoint", func(m *module) {
			b, other := m.bank("client"), m.bank("client2")
			form := b.code(b.wanted())
			form.Set("client_id", other.id)
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_client", "invalid_grant", "invalid_request")
		}},
		{"ensure-holder-of-key-required", one(func(b *bank) {
			b.refuses("token", b.send(b.token(), b.code(b.wanted()), b.assertion(nil), ""), "invalid_dpop_proof", "invalid_request", "invalid_grant")
		})},
		{"ensure-authorization-code-is-bound-to-client", func(m *module) {
			b, other := m.bank("client"), m.bank("client2")
			form := b.code(b.wanted())
			b.refuses("token", other.send(b.token(), form, other.assertion(nil), other.dpop("POST", b.token(), "", nil)), "invalid_grant")
		}},
		{"attempt-reuse-authorization-code-after-one-second", one(func(b *bank) {
			form := b.code(b.wanted())
			access := b.redeemed(form).text("access_token")
			b.wait(b.T, time.Second)
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_grant")
			if got := b.resource("DPoP", access, b.dpop("GET", b.text("userinfo_endpoint"), access, nil)); got.status != http.StatusUnauthorized {
				b.Errorf("the access token still works: %d", got.status)
			}
		})},
		{"ensure-token-endpoint-fails-with-expired-auth-code", one(func(b *bank) {
			form := b.code(b.wanted())
			b.wait(b.T, 62*time.Second)
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_grant")
		})},
		{"ensure-signed-client-assertion-with-RS256-fails", one(func(b *bank) { b.Skip("the client's key is no RSA key") })},
		{"ensure-client-assertion-in-token-endpoint", one(func(b *bank) {
			form := b.code(b.wanted("state", "x"))
			form.Set("client_id", b.id)
			b.refuses("token", b.send(b.token(), form, "", b.dpop("POST", b.token(), "", nil)), "invalid_client", "invalid_request")
		})},
		{"ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", assertionAtToken(func(b *bank) claims { return claims{"exp": b.now().Add(-5 * time.Minute).Unix()} })},
		{"ensure-client-assertion-with-wrong-aud-fails", assertionAtToken(func(*bank) claims { return claims{"aud": "https://op.example/"} })},
		{"ensure-client-assertion-with-no-sub-fails", assertionAtToken(func(*bank) claims { return claims{"sub": nil} })},
		{"dpop-negative-tests", one(proofsRefused)},
		{"refresh-token", one(refreshTokens)},
		{"par-ensure-reused-request-uri-prior-to-auth-completion-succeeds", one(func(b *bank) {
			request := b.wanted()
			query := b.push(request)
			b.asksForPassword(b.open(query))
			if got := b.proceed(request, b.open(query)); got.Get("code") == "" {
				b.Errorf("got %v", got)
			}
		})},
		{"par-attempt-reuse-request_uri", one(func(b *bank) {
			request := b.wanted()
			query := b.push(request)
			b.response(request, b.left(query))
			b.staysHere(query)
		})},
		{"par-attempt-to-use-expired-request_uri", one(func(b *bank) {
			query := b.push(b.wanted())
			b.wait(b.T, 91*time.Second)
			b.staysHere(query)
		})},
		{"par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted", one(func(b *bank) {
			ahead := b.now().Add(8 * time.Second).Unix()
			if got := b.send(b.par(), b.wanted(), b.assertion(claims{"iat": ahead, "nbf": ahead}), ""); got.status != http.StatusCreated {
				b.Errorf("got %d %s", got.status, got.body)
			}
		})},
		{"par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails", assertionAtPAR(func(b *bank) claims {
			ahead := b.now().Add(65 * time.Second)
			return claims{"iat": ahead.Unix(), "nbf": ahead.Unix(), "exp": ahead.Add(time.Minute).Unix()}
		})},
		{"par-attempt-to-use-request_uri-for-different-client", func(m *module) {
			b, other := m.bank("client"), m.bank("client2")
			query := b.push(b.wanted())
			query.Set("client_id", other.id)
			b.staysHere(query)
		}},
		{"par-authorization-request-containing-request_uri-form-param", pushRefused("invalid_request", "request_uri", "urn:ietf:params:oauth:request_uri:x")},
		{"par-attempt-invalid-http-method", one(func(b *bank) {
			if got := b.get(b.T, b.par()+"?"+b.wanted().Encode(), ""); got.status != http.StatusMethodNotAllowed {
				b.Errorf("got %d", got.status)
			}
		})},
		{"par-ensure-pkce-required", pushRefused("invalid_request", "code_challenge", "", "code_challenge_method", "")},
		{"ensure-pkce-code-verifier-required", one(func(b *bank) {
			form := b.code(b.wanted())
			form.Del("code_verifier")
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_grant", "invalid_request")
		})},
		{"incorrect-pkce-code-verifier-rejected", one(func(b *bank) {
			form := b.code(b.wanted())
			form.Set("code_verifier", strings.ToUpper(verifier))
			b.refuses("token", b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil)), "invalid_grant")
		})},
		{"par-plain-pkce-rejected", pushRefused("invalid_request", "code_challenge", verifier, "code_challenge_method", "plain")},
		{"par-without-duplicate-parameters", accepts()},
		{"par-test-array-as-audience-fails", assertionAtPAR(func(b *bank) claims { return claims{"aud": []string{b.URL, "https://other.example"}} })},
		{"par-test-par-endpoint-url-as-audience-fails", assertionAtPAR(func(b *bank) claims { return claims{"aud": b.par()} })},
		{"par-test-token-endpoint-url-as-audience-fails", assertionAtPAR(func(b *bank) claims { return claims{"aud": b.token()} })},
	}
	for i := range modules {
		modules[i].name = name + modules[i].name
	}
	run(t, "fapi2-security-profile-final", "", modules)
}

// left signs the person in where that is needed, and returns the page from which
// the browser leaves.
func (b *bank) left(query url.Values) *browser.Page {
	b.Helper()
	_, page, err := b.browser.Proceed(b.Context(), b.open(query), person)
	must(b.T, err)
	return page
}

func fapi2Discovery(m *module) {
	for name, value := range map[string]string{
		"response_types_supported": "code", "code_challenge_methods_supported": "S256", "token_endpoint_auth_methods_supported": "private_key_jwt",
		"token_endpoint_auth_signing_alg_values_supported": "ES256", "dpop_signing_alg_values_supported": "ES256", "scopes_supported": "openid",
		"id_token_signing_alg_values_supported": "ES256", "grant_types_supported": "authorization_code",
	} {
		if !m.lists(name, value) {
			m.Errorf("%s lacks %s", name, value)
		}
	}
	if m.metadata["authorization_response_iss_parameter_supported"] != true || !strings.HasPrefix(m.text("pushed_authorization_request_endpoint"), "https://") {
		m.Errorf("the metadata are %v", m.metadata)
	}
}

// proofAccepted sends a proof with these claims to both endpoints.
func proofAccepted(changed func(*bank) claims) func(*module) {
	return func(m *module) {
		b := m.bank("client")
		got := b.send(b.token(), b.code(b.wanted()), b.assertion(nil), b.dpop("POST", b.token(), "", changed(b)))
		if got.status != http.StatusOK {
			b.Fatalf("the token endpoint answers %d %s", got.status, got.body)
		}
		access := got.text("access_token")
		if got := b.resource("DPoP", access, b.dpop("GET", b.text("userinfo_endpoint"), access, changed(b))); got.status != http.StatusOK {
			b.Errorf("the resource answers %d %s", got.status, got.body)
		}
	}
}

// outside has the browser bring another value than the pushed one.
func outside(name, value string) func(*module) {
	return func(m *module) {
		b := m.bank("client")
		request := b.wanted()
		query := b.push(request)
		query.Set(name, value)
		got := b.response(request, b.left(query))
		form := url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {request.Get("redirect_uri")}, "code_verifier": {verifier}}
		signed, err := jose.ParseSignedCompact(b.redeemed(form).text("id_token"), []jose.SignatureAlgorithm{jose.ES256})
		must(b.T, err)
		var id map[string]any
		must(b.T, json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &id))
		if id["nonce"] != request.Get("nonce") {
			b.Errorf("the nonce is %v", id["nonce"])
		}
	}
}

func proofsRefused(b *bank) {
	access := b.redeemed(b.code(b.wanted())).text("access_token")
	at := b.text("userinfo_endpoint")
	proof := func(changed claims) string { return b.dpop("GET", at, access, changed) }
	ok := func(what string, got answer) {
		b.Helper()
		if got.status != http.StatusOK {
			b.Errorf("%s: got %d %s", what, got.status, got.body)
		}
	}
	once := proof(nil)
	ok("sound", b.resource("DPoP", access, once))
	ok("htu with query and fragment", b.resource("DPoP", access, proof(claims{"htu": at + "?q=1#f"})))
	ok("htu in capitals", b.resource("DPoP", access, proof(claims{"htu": strings.Replace(at, "https", "HTTPS", 1)})))
	ok("further claims", b.resource("DPoP", access, proof(claims{"further": "claim"})))
	parts := strings.Split(proof(nil), ".")
	for what, got := range map[string]answer{
		"none": b.resource("DPoP", access), "two": b.resource("DPoP", access, proof(nil), proof(nil)), "no JWT": b.resource("DPoP", access, "x.y"),
		"again": b.resource("DPoP", access, once), "as a bearer token": b.resource("Bearer", access, proof(nil)), "as a bearer token without proof": b.resource("Bearer", access),
		"another typ": b.resource("DPoP", access, b.dpopBy(b.proof, "JWT", "GET", at, access, nil)),
		"no jwk":      b.resource("DPoP", access, sign(b.T, jose.SigningKey{Algorithm: jose.ES256, Key: b.proof}, (&jose.SignerOptions{}).WithType("dpop+jwt"), claims{"jti": "1"})),
		"no jti":      b.resource("DPoP", access, proof(claims{"jti": nil})), "no htm": b.resource("DPoP", access, proof(claims{"htm": nil})),
		"no htu": b.resource("DPoP", access, proof(claims{"htu": nil})), "no iat": b.resource("DPoP", access, proof(claims{"iat": nil})),
		"no ath": b.resource("DPoP", access, proof(claims{"ath": nil})), "another ath": b.resource("DPoP", access, proof(claims{"ath": strings.Repeat("a", 43)})),
		"another method": b.resource("DPoP", access, proof(claims{"htm": "PUT"})), "another address": b.resource("DPoP", access, proof(claims{"htu": at + "/x"})),
		"of the future": b.resource("DPoP", access, proof(claims{"iat": b.now().Add(time.Hour).Unix()})), "of the past": b.resource("DPoP", access, proof(claims{"iat": b.now().Add(-time.Hour).Unix()})),
		"another signature": b.resource("DPoP", access, parts[0]+"."+parts[1]+"."+strings.Split(proof(nil), ".")[2]),
		"alg none":          b.resource("DPoP", access, base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"dpop+jwt","alg":"none"}`))+"."+parts[1]+"."),
		"another key":       b.resource("DPoP", access, b.dpopBy(newProofKey(b.T), "dpop+jwt", "GET", at, access, nil)),
	} {
		if got.status != http.StatusUnauthorized && got.status != http.StatusBadRequest {
			b.Errorf("%s: got %d %s", what, got.status, got.body)
		}
	}
}

func refreshTokens(b *bank) {
	first := b.redeemed(b.code(b.wanted()))
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.text("refresh_token")}}
	for range 2 { // it stays as it is (FAPI 2.0 Security Profile §5.3.2.1)
		got := b.send(b.token(), form, b.assertion(nil), b.dpop("POST", b.token(), "", nil))
		if got.status != http.StatusOK || got.text("access_token") == "" || got.text("refresh_token") != "" {
			b.Fatalf("got %d %s", got.status, got.body)
		}
	}
	other := b.bank("client2")
	b.refuses("another client", other.send(b.token(), form, other.assertion(nil), other.dpop("POST", b.token(), "", nil)), "invalid_grant")
	b.refuses("without a proof", b.send(b.token(), form, b.assertion(nil), ""), "invalid_dpop_proof")
}
