package oidc_test

import (
	"testing"
	"time"
)

// TestBackchannelRPInitiatedLogout is
// oidcc-backchannel-rp-initiated-logout-certification-test-plan.
func TestBackchannelRPInitiatedLogout(t *testing.T) {
	run(t, "backchannel-rp-initiated-logout", "", []planned{
		{"oidcc-backchannel-logout-discovery-endpoint-verification", backchannelDiscovery},
		{"oidcc-backchannel-rp-initiated-logout", backchannelLogout},
	})
}

func backchannelDiscovery(m *module) {
	logoutDiscovery(m)
	for _, name := range []string{"backchannel_logout_supported", "backchannel_logout_session_supported"} {
		if m.metadata[name] != true {
			m.Errorf("%s is %v", name, m.metadata[name])
		}
	}
}

func backchannelLogout(m *module) {
	issued := m.flow(client1)
	if page := m.logout(issued); page.Left == nil {
		m.Fatalf("got %d: %s", page.Status, page.Text())
	}
	var form map[string][]string
	select {
	case form = <-m.logouts:
	case <-time.After(30 * time.Second):
		m.Fatal("the application is not told")
	}
	if len(form) != 1 || len(form["logout_token"]) != 1 {
		m.Fatalf("the application gets %v", form)
	}
	claims := m.verified(form["logout_token"][0])
	events, _ := claims["events"].(map[string]any)
	if event, there := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any); !there || len(event) != 0 {
		m.Errorf("events %v", claims["events"])
	}
	for _, name := range []string{"iss", "aud", "sub", "sid"} {
		if claims[name] == nil || claims[name] != issued.claims[name] {
			m.Errorf("%s is %v, in the ID token %v", name, claims[name], issued.claims[name])
		}
	}
	if claims["nonce"] != nil || claims["jti"] == nil || claims["iat"] == nil || claims["exp"] == nil {
		m.Errorf("claims %v", claims)
	}
	m.signedOut()
}
