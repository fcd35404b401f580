package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/instance"
)

// TestStrictClient signs Ann in with npm's oauth4webapi, by private_key_jwt,
// PAR and DPoP. What it gets is of no use to who
// does not have the key.
func TestStrictClient(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "vault-1", Algorithm: "ES256", Use: "sig"}
	secret, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	vault := "- {client_id: vault, name: Vault, type: web, require_pushed_authorization_requests: true, dpop_bound_access_tokens: true, dpop_nonce: true, token_endpoint_auth_method: private_key_jwt, token_endpoint_auth_signing_alg: ES256, redirect_uris: [" +
		redirectURI + "], post_logout_redirect_uris: [" + signedOutURI + "], jwks: " + string(public) + "}\n"
	instance.Each(t, instanceFile+vault, func(t *testing.T, i *instance.Instance) {
		w := provision(t, i)
		client := startNode(t, "strict.mjs", registration{issuer: i.URL, id: "vault"}, "PRIVATE_KEY="+string(secret))
		w.client = client
		b := w.browser(t)
		s := w.signIn(t, b, scopeOf("berlin"), ann)
		if info, err := client.userInfo(t, s); err != nil || info["tenant"] != "berlin" {
			t.Errorf("userinfo: %v, %v", info, err)
		}
		state, err := client.call(t, "introspect", map[string]any{"token": s.access})
		if err != nil || state["active"] != true || state["token_type"] != "DPoP" {
			t.Errorf("introspection: %v, %v", state, err)
		}
		stolen := application.Application{Issuer: i.URL, ClientID: "vault"}
		if answer, err := stolen.UserInfo(t.Context(), s.access); err != nil || answer.Status != http.StatusUnauthorized {
			t.Errorf("userinfo without the key: %v, %v", answer, err)
		}
		again, err := client.refresh(t, s.refresh)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := client.userInfo(t, again); err != nil || info["sub"] != s.claims["sub"] {
			t.Errorf("userinfo after a refresh: %v, %v", info, err)
		}
		w.signsOut(t)
	})
}
