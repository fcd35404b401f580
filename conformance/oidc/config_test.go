package oidc_test

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
)

// TestConfig is oidcc-config-certification-test-plan.
func TestConfig(t *testing.T) {
	run(t, "config", "", []planned{{"oidcc-discovery-endpoint-verification", discovery}})
}

// The configuration for the suite itself names the clients and the person of the
// seed.
func TestSuiteConfigurationIsTheSeeds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("suite.json")
	must(t, err)
	var configuration map[string]any
	must(t, json.Unmarshal(text, &configuration))
	for name, want := range map[string]client{"client": client1, "client2": client2, "client_secret_post": clientPost} {
		got, _ := configuration[name].(map[string]any)
		if got["client_id"] != want.id || got["client_secret"] != want.secret {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
		if !strings.Contains(seed, "client_id: "+want.id+"\n") || !strings.Contains(seed, want.secret) {
			t.Errorf("the seed lacks %s", want.id)
		}
	}
	if !strings.Contains(string(text), person.Login) || !strings.Contains(string(text), person.Password) {
		t.Error("the person is another")
	}
}

func discovery(m *module) {
	got := m.get(m, m.URL+"/.well-known/openid-configuration", "")
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
		m.Errorf("got %d %s", got.status, got.header.Get("Content-Type"))
	}
	if m.metadata["issuer"] != m.URL {
		m.Errorf("issuer %v", m.metadata["issuer"])
	}
	for name, value := range m.metadata {
		address, isText := value.(string)
		if !strings.HasSuffix(name, "_endpoint") && !strings.HasSuffix(name, "_uri") {
			continue
		}
		u, err := url.Parse(address)
		if !isText || err != nil || u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
			m.Errorf("%s is no https address: %v", name, value)
		}
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		if m.text(name) == "" {
			m.Errorf("%s is missing", name)
		}
	}
	for name, value := range map[string]string{
		"response_types_supported": "code", "subject_types_supported": "public", "id_token_signing_alg_values_supported": "RS256",
		"grant_types_supported": "authorization_code", "scopes_supported": "openid", "claims_supported": "sub", "code_challenge_methods_supported": "S256",
		"token_endpoint_auth_methods_supported": "client_secret_basic", "response_modes_supported": "form_post",
	} {
		if !m.lists(name, value) {
			m.Errorf("%s lacks %s: %v", name, value, m.metadata[name])
		}
	}
	if m.lists("token_endpoint_auth_signing_alg_values_supported", "none") {
		m.Error("OpenID Connect Discovery 1.0 §3: none must not be offered for client authentication")
	}
	rsa := false
	for _, key := range m.keys.Keys {
		if key.KeyID == "" || !key.Valid() || !key.IsPublic() {
			m.Errorf("the key %q is not as it should be", key.KeyID)
		}
		rsa = rsa || key.Algorithm == "RS256"
	}
	if !rsa {
		m.Error("no key for RS256 is published")
	}
}
