package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/conformance/browser"
)

// TestRPInitiatedLogout is oidcc-rp-initiated-logout-certification-test-plan.
func TestRPInitiatedLogout(t *testing.T) {
	run(t, "rp-initiated-logout", "", []planned{
		{"oidcc-rp-initiated-logout-discovery-endpoint-verification", logoutDiscovery},
		{"oidcc-rp-initiated-logout", func(m *module) { m.logsOut() }},
		{"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", func(m *module) {
			m.keepsSession(m.logout(m.flow(client1), "post_logout_redirect_uri", m.suite+"/post_logout_redirect/"+rand.Text()))
		}},
		{"oidcc-rp-initiated-logout-modified-id-token-hint", modifiedHint},
		{"oidcc-rp-initiated-logout-no-id-token-hint", func(m *module) { m.showsError(m.logout(m.flow(client1), "id_token_hint", "")) }},
		{"oidcc-rp-initiated-logout-no-params", func(m *module) {
			m.asksAndLogsOut(m.logout(m.flow(client1), "id_token_hint", "", "post_logout_redirect_uri", "", "state", ""))
		}},
		{"oidcc-rp-initiated-logout-no-post-logout-redirect-uri", func(m *module) {
			m.saysSignedOut(m.logout(m.flow(client1), "post_logout_redirect_uri", ""))
		}},
		{"oidcc-rp-initiated-logout-no-state", func(m *module) { m.logsOut("state", "") }},
		{"oidcc-rp-initiated-logout-only-state", func(m *module) {
			m.asksAndLogsOut(m.logout(m.flow(client1), "id_token_hint", "", "post_logout_redirect_uri", ""))
		}},
		{"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", func(m *module) {
			m.keepsSession(m.logout(m.flow(client1), "post_logout_redirect_uri", m.suite+"/post_logout_redirect?foo=bar"))
		}},
		{"oidcc-rp-initiated-logout-bad-id-token-hint", badHint},
	})
}

func logoutDiscovery(m *module) {
	if u, err := url.Parse(m.text("end_session_endpoint")); err != nil || u.Scheme != "https" {
		m.Errorf("end_session_endpoint %q", m.text("end_session_endpoint"))
	}
}

const logoutState = "aZ0-._~ +&=%" // comes back as it is

// logout opens the end-session endpoint as the suite does; pairs alter the
// request, and an empty value takes a parameter away.
func (m *module) logout(issued tokens, pairs ...string) *browser.Page {
	m.Helper()
	query := url.Values{
		"id_token_hint": {issued.id}, "post_logout_redirect_uri": {m.suite + "/post_logout_redirect"},
		"state": {strings.Repeat(logoutState, 11)},
	}
	for pair := range slices.Chunk(pairs, 2) {
		if query.Del(pair[0]); pair[1] != "" {
			query.Set(pair[0], pair[1])
		}
	}
	page, err := m.browser.Get(m.Context(), m.text("end_session_endpoint")+"?"+query.Encode())
	must(m, err)
	return page
}

// signedOut checks that nobody is signed in any more.
func (m *module) signedOut() {
	m.Helper()
	m.fails(m.silently(m.request(client1, "prompt", "none")), "login_required")
}

// logsOut checks that the browser comes back signed out, with the state and
// nothing else.
func (m *module) logsOut(pairs ...string) {
	m.Helper()
	page := m.logout(m.flow(client1), pairs...)
	if page.Left == nil || !strings.HasPrefix(page.Left.String(), m.suite+"/post_logout_redirect") {
		m.Fatalf("got %d, leaving for %v", page.Status, page.Left)
	}
	want := url.Values{"state": {strings.Repeat(logoutState, 11)}}
	if len(pairs) > 0 {
		want = url.Values{}
	}
	if got := page.Left.Query(); got.Encode() != want.Encode() {
		m.Errorf("the application gets %v, want %v", got, want)
	}
	m.signedOut()
}

// keepsSession checks that a request which is wrong has no effect but a page.
func (m *module) keepsSession(page *browser.Page) {
	m.Helper()
	m.showsError(page)
	if m.silently(m.request(client1, "prompt", "none")).Get("code") == "" {
		m.Error("signed out in spite of the error")
	}
}

// asksAndLogsOut checks that the person is asked, and signed out by saying so.
func (m *module) asksAndLogsOut(page *browser.Page) {
	m.Helper()
	if page.Left != nil || page.Status != http.StatusOK || len(page.Forms) != 1 ||
		!strings.Contains(page.Body, `id="confirm_button"`) || !strings.Contains(page.Body, `id="cancel_button"`) {
		m.Fatalf("got %d, leaving for %v, want the question: %s", page.Status, page.Left, page.Text())
	}
	page, err := m.browser.Submit(m.Context(), page, page.Forms[0], nil)
	must(m, err)
	m.saysSignedOut(page)
}

func (m *module) saysSignedOut(page *browser.Page) {
	m.Helper()
	if page.Left != nil || page.Status != http.StatusOK || !strings.Contains(page.Text(), "signed out") {
		m.Errorf("got %d, leaving for %v: %s", page.Status, page.Left, page.Text())
	}
	m.signedOut()
}

// modifiedHint has the ID token as one of alg none.
func modifiedHint(m *module) {
	issued := m.flow(client1)
	segments := strings.Split(issued.id, ".")
	hint := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + segments[1] + "."
	m.keepsSession(m.logout(issued, "id_token_hint", hint))
}

// badHint has the same claims signed by somebody else.
func badHint(m *module) {
	issued := m.flow(client1)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(m, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: m.keys.Keys[0].KeyID}}, nil)
	must(m, err)
	claims, err := json.Marshal(issued.claims)
	must(m, err)
	signed, err := signer.Sign(claims)
	must(m, err)
	hint, err := signed.CompactSerialize()
	must(m, err)
	m.keepsSession(m.logout(issued, "id_token_hint", hint))
}
