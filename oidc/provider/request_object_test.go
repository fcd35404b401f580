package provider_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/oidc"
)

// requestClaims are those of a good request object of shop, altered by pairs.
func (in *instance) requestClaims(pairs ...any) map[string]any {
	claims := map[string]any{"iss": "shop", "aud": in.url, "exp": in.now().Add(time.Minute).Unix(), "nbf": in.now().Unix()}
	for name, values := range params() {
		claims[name] = values[0]
	}
	alter(claims, pairs)
	return claims
}

func TestSignedRequests(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		const typ = "oauth-authz-req+jwt"
		p := in.person(t)
		key, foreign := newClientKey(t, jose.ES256, "k"), newClientKey(t, jose.ES256, "k")
		in.application(t, func(s *oidc.ApplicationSpec) { s.Security.JWKS = jwks(t, key) })
		query := func(object string, pairs ...string) url.Values {
			v := url.Values{"client_id": {"shop"}, "request": {object}, "redirect_uri": {callback}}
			set(v, pairs)
			return v
		}
		authorize := func(t *testing.T, query url.Values) url.Values {
			t.Helper()
			return p.browser.get(t, "/oauth2/authorize", query).redirected(t, callback)
		}
		t.Run("RFC 9101 §6.3 only what is signed counts", func(t *testing.T) {
			got := authorize(t, query(key.sign(t, typ, in.requestClaims("max_age", 10000)), "state", "evil", "scope", "openid profile", "code_challenge", "x", "redirect_uri", "https://evil.example/"))
			if got.Get("state") != "the state" {
				t.Errorf("got %v", got)
			}
			if issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(got.Get("code"))).tokens(t); issued.scope != "openid" {
				t.Errorf("the scope is %s", issued.scope)
			}
		})
		for _, c := range []struct {
			name   string
			object string
			code   string
		}{
			{"RFC 9101 §6.1 a foreign key", foreign.sign(t, typ, in.requestClaims()), "invalid_request_object"},
			{"RFC 9101 §10.8 another type", key.sign(t, "JWT", in.requestClaims()), "invalid_request_object"},
			{"RFC 9101 §10.2 unsigned", unsigned(t, in.requestClaims()), "invalid_request_object"},
			{"RFC 8725 §2.1 HS256 with the public key", keyedByPublic(t, key, in.requestClaims()), "invalid_request_object"},
			{"no token", "x", "invalid_request_object"},
			{"RFC 9101 §4 another aud", key.sign(t, typ, in.requestClaims("aud", "https://other.example")), "invalid_request_object"},
			{"RFC 9101 §5 another client_id", key.sign(t, typ, in.requestClaims("client_id", "other")), "invalid_request_object"},
			{"RFC 9101 §4 another iss", key.sign(t, typ, in.requestClaims("iss", "other")), "invalid_request_object"},
			{"no exp", key.sign(t, typ, in.requestClaims("exp", nil)), "invalid_request_object"},
			{"expired", key.sign(t, typ, in.requestClaims("exp", in.now().Unix())), "invalid_request_object"},
			{"good for too long", key.sign(t, typ, in.requestClaims("exp", in.now().Add(61*time.Minute).Unix())), "invalid_request_object"},
			{"not yet", key.sign(t, typ, in.requestClaims("nbf", in.now().Add(time.Minute).Unix())), "invalid_request_object"},
			{"RFC 9101 §4 a request in it", key.sign(t, typ, in.requestClaims("request", "x")), "invalid_request_object"},
			{"RFC 9101 §4 a request_uri in it", key.sign(t, typ, in.requestClaims("request_uri", "https://x.example")), "invalid_request_object"},
			{"a parameter twice", key.sign(t, typ, in.requestClaims("state", []string{"a", "b"})), "invalid_request_object"},
			{"AS-R3 without PKCE", key.sign(t, typ, in.requestClaims("code_challenge", nil)), "invalid_request"},
			{"an unknown response_type", key.sign(t, typ, in.requestClaims("response_type", "token")), "unsupported_response_type"},
		} {
			t.Run(c.name, func(t *testing.T) {
				if got := authorize(t, query(c.object)); got.Get("error") != c.code || got.Get("iss") != in.url {
					t.Errorf("got %v", got)
				}
				form := url.Values{"request": {c.object}}
				in.direct(t, "/oauth2/par", "shop", shopSecret, form).oauthError(t, 400, c.code)
			})
		}
		t.Run("AS-R2 a foreign redirect_uri", func(t *testing.T) {
			p.browser.get(t, "/oauth2/authorize", query(key.sign(t, typ, in.requestClaims("redirect_uri", "https://evil.example/")))).errorPage(t)
			p.browser.get(t, "/oauth2/authorize", query("x", "redirect_uri", "https://evil.example/")).refusedPage(t, "invalid_request_object")
		})
		t.Run("RFC 9126 §3 pushed", func(t *testing.T) {
			form := url.Values{"request": {key.sign(t, typ, in.requestClaims())}, "state": {"evil"}}
			address, _ := in.direct(t, "/oauth2/par", "shop", shopSecret, form).status(t, 201).json(t)["request_uri"].(string)
			if got := authorize(t, pushedQuery(address)); got.Get("state") != "the state" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("RFC 9101 §10.5 where it is demanded", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { s.Security.JWKS, s.Security.RequireSigned = jwks(t, key), true })
			if got := authorize(t, params()); got.Get("error") != "invalid_request_object" {
				t.Errorf("got %v", got)
			}
			in.direct(t, "/oauth2/par", "shop", shopSecret, params()).oauthError(t, 400, "invalid_request_object")
			authorize(t, query(key.sign(t, typ, in.requestClaims())))
		})
		t.Run("OIDC Core §6 an application without keys", func(t *testing.T) {
			in.application(t, nil)
			if got := authorize(t, params("request", "x")); got.Get("error") != "request_not_supported" {
				t.Errorf("got %v", got)
			}
		})
	})
}
