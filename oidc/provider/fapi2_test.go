package provider_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// TestProfileFAPI2 holds the switch to what it turns on. The modules of the plan
// are in conformance/oidc.
func TestProfileFAPI2(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		key, rs := newClientKey(t, jose.ES256, "es"), newClientKey(t, jose.RS256, "rs")
		dpop := newClientKey(t, jose.ES256, "")
		bank := func(s *oidc.ApplicationSpec) {
			s.Secret = secret.Text{}
			s.Security = oidc.Security{Profile: oidc.ProfileFAPI2, AuthMethod: oidc.AuthPrivateKeyJWT, JWKS: jwks(t, key, rs)}
		}
		in.application(t, bank)
		send := func(path string, form url.Values, k clientKey, proven bool, claims ...any) answer {
			form = maps.Clone(form)
			form.Set("client_assertion", k.sign(t, "", in.assertion(append([]any{"iss", "shop", "sub", "shop"}, claims...)...)))
			form.Set("client_assertion_type", oidc.ClientAssertionType)
			return in.post(t, http.DefaultClient, path, form, func(r *http.Request) {
				if proven {
					r.Header.Set("DPoP", in.proof(t, dpop, "POST", path, ""))
				}
			})
		}
		code := func() url.Values {
			address, _ := send("/oauth2/par", params(), key, false).status(t, 201).json(t)["request_uri"].(string)
			return redemption(p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, callback).Get("code"))
		}
		t.Run("§5.3.2.1 the issuer as a string", func(t *testing.T) {
			for _, aud := range []any{in.url + "/oauth2/token", in.url + "/oauth2/par", []string{in.url}, in.url + "/"} {
				send("/oauth2/par", params(), key, false, "aud", aud).oauthError(t, 401, "invalid_client")
			}
		})
		t.Run("§5.4.1 no RS256", func(t *testing.T) {
			send("/oauth2/par", params(), rs, false).oauthError(t, 401, "invalid_client")
		})
		t.Run("§5.3.2.2 requests are pushed", func(t *testing.T) {
			if got := p.browser.get(t, "/oauth2/authorize", params()).redirected(t, callback); got.Get("error") != "invalid_request" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("§5.3.2.1 tokens are bound", func(t *testing.T) {
			form := code()
			send("/oauth2/token", form, key, false).oauthError(t, 400, "invalid_dpop_proof")
			if got := send("/oauth2/token", form, key, true).status(t, 200).json(t); got["token_type"] != "DPoP" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("§5.3.2.1 codes live a minute", func(t *testing.T) {
			form := code()
			in.advance(time.Minute)
			send("/oauth2/token", form, key, true).oauthError(t, 400, "invalid_grant")
		})
		t.Run("§5.3.2.1 refresh tokens stay", func(t *testing.T) {
			issued := send("/oauth2/token", code(), key, true).tokens(t)
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}
			for range 3 {
				got := send("/oauth2/token", form, key, true).tokens(t)
				if got.refresh != "" || got.access == "" {
					t.Errorf("got %+v", got)
				}
				in.advance(time.Hour)
			}
			send("/oauth2/token", form, key, false).oauthError(t, 400, "invalid_dpop_proof")
		})
		t.Run("an offline grant in use does not end", func(t *testing.T) {
			address, _ := send("/oauth2/par", params("scope", "openid offline_access"), key, false).status(t, 201).json(t)["request_uri"].(string)
			issued := send("/oauth2/token", redemption(p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, callback).Get("code")), key, true).tokens(t)
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}
			for range 3 {
				in.advance(20 * 24 * time.Hour)
				send("/oauth2/token", form, key, true).status(t, 200)
			}
			in.advance(31 * 24 * time.Hour)
			send("/oauth2/token", form, key, true).oauthError(t, 400, "invalid_grant")
		})
		t.Run("nothing weaker can be registered", func(t *testing.T) {
			for field, change := range map[string]func(*oidc.ApplicationSpec){
				"type":                             func(s *oidc.ApplicationSpec) { s.Type = oidc.SPA; s.Security.AuthMethod = "" },
				"token_endpoint_auth_method":       func(s *oidc.ApplicationSpec) { s.Security.AuthMethod = oidc.AuthSecretBasic },
				"token_endpoint_auth_signing_alg":  func(s *oidc.ApplicationSpec) { s.Security.AuthAlg = oidc.RS256 },
				"request_object_signing_alg":       func(s *oidc.ApplicationSpec) { s.Security.RequestAlg = oidc.RS256 },
				"id_token_signed_response_alg":     func(s *oidc.ApplicationSpec) { s.IDTokenAlg = oidc.RS256 },
				"access_token_signed_response_alg": func(s *oidc.ApplicationSpec) { s.AccessTokenAlg = oidc.RS256 },
				"require_pkce":                     func(s *oidc.ApplicationSpec) { s.WithoutPKCE = true },
				"redirect_uris":                    func(s *oidc.ApplicationSpec) { s.RedirectURIs = []string{"http://127.0.0.1/callback"} },
				"profile":                          func(s *oidc.ApplicationSpec) { s.Security.Profile = "fapi1" },
			} {
				spec := oidc.ApplicationSpec{ClientID: "shop", Type: oidc.Web, RedirectURIs: []string{callback}}
				bank(&spec)
				change(&spec)
				if _, err := in.oidc.PutApplication(t.Context(), spec); fault.As(err).Kind != fault.Invalid || fault.As(err).Field != field {
					t.Errorf("%s: %v", field, err)
				}
			}
		})
	})
}
