package clients

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/rolecall/rolecall/conformance/instance"
)

// registering is an instance in which Ann is a member of a tenant that takes
// registrations.
const registering = `
tenants:
- {slug: malmo, name: Malmö, policy: {dynamic_registration: true}}
users:
- email: ann@berlin.example
  name: {given: Ann, family: Berg}
  password: correct horse battery staple
  memberships: [{tenant: malmo, roles: [member], status: active}]
- {email: olle@malmo.example, memberships: [{tenant: malmo, roles: [owner], status: active}]}
application_tokens:
- {name: registrations, tenant: malmo, creator: olle@malmo.example, token: rc_MalmoGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mVx3C}
`

// TestRegisteringClient has npm's openid-client register itself (RFC 7591), sign Ann
// in with her consent, refresh, and go (RFC 7592).
func TestRegisteringClient(t *testing.T) {
	t.Parallel()
	instance.Each(t, registering, func(t *testing.T, i *instance.Instance) {
		w := &world{i: i}
		client := startNode(t, "client.mjs", registration{issuer: i.URL}, "INITIAL_ACCESS_TOKEN="+initialAccessToken(t, i))
		w.client = client
		registered, err := client.call(t, "registered", map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		if registered["scope"] != "openid profile email offline_access" || registered["client_name"] != "Visitor" {
			t.Errorf("it is registered as %v", registered)
		}

		const scope = "openid email offline_access"
		b := w.browser(t)
		if _, err := w.silently(t, b, scope); err == nil {
			t.Error("prompt=none before any consent: it was granted")
		}
		s := w.signIn(t, b, scope, ann)
		if s.claims["tenant"] != "malmo" || s.refresh == "" {
			t.Errorf("the ID token has %v", s.claims)
		}
		if s, err = client.refresh(t, s.refresh); err != nil {
			t.Fatal(err)
		}
		if info, err := client.userInfo(t, s); err != nil || info["email"] != "ann@berlin.example" {
			t.Errorf("the userinfo is %v, %v", info, err)
		}
		if _, err := w.silently(t, b, scope); err != nil { // she has allowed it
			t.Error(err)
		}

		if gone, err := client.call(t, "unregister", map[string]any{}); err != nil || gone["status"] != float64(http.StatusNoContent) {
			t.Fatalf("unregistered: %v, %v", gone, err)
		}
		_, err = client.refresh(t, s.refresh)
		wantRefusal(t, "a refresh after it has gone", err, http.StatusUnauthorized, "") // invalid_client, which openid-client calls a challenge
		_, err = client.userInfo(t, s)
		wantRefusal(t, "its access token", err, http.StatusUnauthorized, "")
	})
}

// initialAccessToken makes a token as an administrator does.
func initialAccessToken(t *testing.T, i *instance.Instance) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.URL+"/api/v1/tenants/malmo/registration-tokens", bytes.NewReader([]byte(`{"description":"npm"}`)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer rc_MalmoGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mVx3C")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var made struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&made); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("a registration token: %d, %v", response.StatusCode, err)
	}
	return made.Token
}
