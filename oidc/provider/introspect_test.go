package provider_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/oidc"
)

// introspectAs asks with an Accept header.
func (in *instance) introspectAs(t testing.TB, accept, token string) answer {
	t.Helper()
	return in.post(t, http.DefaultClient, "/oauth2/introspect", url.Values{"token": {token}}, func(r *http.Request) {
		r.SetBasicAuth("shop", url.QueryEscape(shopSecret))
		r.Header.Set("Accept", accept)
	})
}

// TestSignedIntrospection is RFC 9701.
func TestSignedIntrospection(t *testing.T) {
	const media = "application/token-introspection+jwt"
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		issued := p.browser.obtain(t)
		for _, alg := range []oidc.Alg{oidc.ES256, oidc.RS256, oidc.EdDSA} {
			t.Run("§5 signed by "+string(alg), func(t *testing.T) {
				in.application(t, func(s *oidc.ApplicationSpec) { s.IDTokenAlg = alg })
				in.advance(2 * time.Second) // for the new key to be read
				plain := in.introspect(t, issued.access)
				got := in.introspectAs(t, media, issued.access).status(t, http.StatusOK)
				if kind := got.Header.Get("Content-Type"); kind != media || got.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("Content-Type %q, Cache-Control %q", kind, got.Header.Get("Cache-Control"))
				}
				header, claims := parts(t, got.body)
				if header["typ"] != "token-introspection+jwt" || header["alg"] != string(alg) {
					t.Errorf("header %v", header)
				}
				want := map[string]any{"iss": in.url, "aud": "shop", "iat": float64(in.now().Unix()), "token_introspection": plain}
				if diff := cmp.Diff(want, claims); diff != "" {
					t.Error(diff)
				}
				provider, err := goidc.NewProvider(t.Context(), in.url)
				must(t, err)
				verifier := provider.Verifier(&goidc.Config{ClientID: "shop", SupportedSigningAlgs: []string{string(alg)}, SkipExpiryCheck: true})
				_, err = verifier.Verify(t.Context(), got.body)
				must(t, err)
			})
		}
		t.Run("§5 what is not in force", func(t *testing.T) {
			_, claims := parts(t, in.introspectAs(t, media, issued.access+"x").status(t, http.StatusOK).body)
			if diff := cmp.Diff(map[string]any{"active": false}, claims["token_introspection"]); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("§4 only where it is asked for", func(t *testing.T) {
			for accept, signed := range map[string]bool{
				"": false, "*/*": false, "application/json": false, "application/*": false, media + ";q=0": false,
				"application/json;q=0.5, " + media: true, "APPLICATION/token-introspection+JWT": true, media + "; q=0.1": true,
			} {
				got := in.introspectAs(t, accept, issued.access).status(t, http.StatusOK)
				if is := got.Header.Get("Content-Type") == media; is != signed {
					t.Errorf("Accept %q: signed is %v", accept, is)
				}
			}
		})
		t.Run("§8.1 it is no token", func(t *testing.T) {
			answer := in.introspectAs(t, media, issued.access).body
			if in.introspect(t, answer)["active"] != false {
				t.Error("it passes for an access token")
			}
			in.userInfo(t, answer).status(t, http.StatusUnauthorized)
			got := p.browser.get(t, "/oauth2/authorize", params("prompt", "none", "id_token_hint", answer))
			if got.redirected(t, callback).Get("code") == "" {
				t.Error("an id_token_hint that is none counts")
			}
		})
		t.Run("RFC 7662 §2.1 without a token", func(t *testing.T) {
			in.introspectAs(t, media, "").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		})
		t.Run("§4 without client authentication", func(t *testing.T) {
			in.direct(t, "/oauth2/introspect", "shop", "wrong", url.Values{"token": {issued.access}}).oauthError(t, http.StatusUnauthorized, oidc.InvalidClient)
		})
	})
}
