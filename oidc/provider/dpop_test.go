package provider_test

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// thumbprint is RFC 7638.
func (k clientKey) thumbprint(t testing.TB) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: k.private.Public()}).Thumbprint(crypto.SHA256)
	must(t, err)
	return base64.RawURLEncoding.EncodeToString(sum)
}

// proof is a good DPoP proof for an address of the instance, altered by pairs. A
// token that is not empty is the access token that it goes with.
func (in *instance) proof(t testing.TB, k clientKey, method, path, token string, pairs ...any) string {
	t.Helper()
	claims := map[string]any{"htm": method, "htu": in.url + path, "iat": in.now().Unix(), "jti": secret.Random("").Reveal()}
	if token != "" {
		claims["ath"] = hashOf(token)
	}
	alter(claims, pairs)
	return k.embedded(t, "dpop+jwt", claims)
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// embedded signs claims with the public key in the header.
func (k clientKey) embedded(t testing.TB, typ string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: k.private}, (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ)))
	must(t, err)
	return signed(t, signer, claims)
}

// bound posts as the application shop with a proof.
func (in *instance) bound(t testing.TB, path, proof string, form url.Values) answer {
	t.Helper()
	return in.post(t, http.DefaultClient, path, form, func(r *http.Request) {
		r.SetBasicAuth("shop", url.QueryEscape(shopSecret))
		if proof != "" {
			r.Header.Set("DPoP", proof)
		}
	})
}

func (in *instance) presented(t testing.TB, scheme, token string, proofs ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+"/oauth2/userinfo", nil)
	must(t, err)
	r.Header.Set("Authorization", scheme+" "+token)
	r.Header["Dpop"] = proofs
	return do(t, http.DefaultClient, r)
}

func TestDPoP(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		key, foreign, weak := newClientKey(t, jose.ES256, ""), newClientKey(t, jose.ES256, ""), newClientKey(t, jose.RS256, "")
		tokenProof := func(pairs ...any) string { return in.proof(t, key, "POST", "/oauth2/token", "", pairs...) }
		code := func(pairs ...string) url.Values { return redemption(p.browser.code(t, pairs...)) }
		obtain := func(t *testing.T) tokens {
			t.Helper()
			answer := in.bound(t, "/oauth2/token", tokenProof(), code())
			if v := answer.status(t, 200).json(t); v["token_type"] != "DPoP" {
				t.Fatalf("RFC 9449 §5: token_type is %v", v["token_type"])
			}
			return answer.tokens(t)
		}
		issued := obtain(t)

		t.Run("RFC 9449 §6 the confirmation", func(t *testing.T) {
			_, claims := parts(t, issued.access)
			for where, cnf := range map[string]any{"the token": claims["cnf"], "introspection": in.introspect(t, issued.access)["cnf"]} {
				if m, _ := cnf.(map[string]any); m["jkt"] != key.thumbprint(t) {
					t.Errorf("%s has cnf %v", where, cnf)
				}
			}
			if got := in.introspect(t, issued.access)["token_type"]; got != "DPoP" {
				t.Errorf("introspection says token_type %v", got)
			}
		})

		good := tokenProof()
		hmacKey, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte("0123456789abcdef0123456789abcdef")}, (&jose.SignerOptions{}).WithType("dpop+jwt"))
		must(t, err)
		for _, c := range []struct {
			name  string
			proof string
			code  string
		}{
			{"RFC 9449 §4.3 it is good", good, ""},
			{"RFC 9449 §11.1 the same again", good, "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #2 no JWT", "x", "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #4 another typ", key.embedded(t, "JWT", map[string]any{"htm": "POST", "htu": in.url + "/oauth2/token", "iat": in.now().Unix(), "jti": "t"}), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #5 alg none", unsigned(t, map[string]any{"htm": "POST"}), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #5 a shared key", signed(t, hmacKey, map[string]any{"htm": "POST", "htu": in.url + "/oauth2/token", "iat": in.now().Unix(), "jti": "h"}), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #5 RS256", in.proof(t, weak, "POST", "/oauth2/token", ""), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #6 no key in it", key.sign(t, "dpop+jwt", map[string]any{"htm": "POST", "htu": in.url + "/oauth2/token", "iat": in.now().Unix(), "jti": "k"}), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #6 another signature", strings.Join(append(strings.Split(good, ".")[:2], strings.Split(tokenProof(), ".")[2]), "."), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #8 another method", tokenProof("htm", "GET"), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #9 another address", tokenProof("htu", in.url+"/oauth2/par"), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #9 another server", tokenProof("htu", "https://evil.example/oauth2/token"), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #9 with a query and a fragment", tokenProof("htu", in.url+"/oauth2/token?x=1#y"), ""},
			{"RFC 3986 §6.2.2 in other letters", tokenProof("htu", strings.Replace(in.url, "http", "HTTP", 1)+"/oauth2/token"), ""},
			{"RFC 9449 §4.3 #9 no address", tokenProof("htu", nil), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #11 too old", tokenProof("iat", in.now().Add(-time.Minute).Unix()), "invalid_dpop_proof"},
			{"RFC 9449 §4.3 #11 of the future", tokenProof("iat", in.now().Add(time.Minute).Unix()), "invalid_dpop_proof"},
			{"FAPI 2.0 §5.3.2.1 8 seconds ahead", tokenProof("iat", in.now().Add(8*time.Second).Unix()), ""},
			{"RFC 9449 §4.2 no iat", tokenProof("iat", nil), "invalid_dpop_proof"},
			{"RFC 9449 §4.2 no jti", tokenProof("jti", nil), "invalid_dpop_proof"},
		} {
			t.Run(c.name, func(t *testing.T) {
				got := in.bound(t, "/oauth2/token", c.proof, url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {callback}})
				if c.code == "" {
					c.code = "invalid_grant" // the proof was accepted
				}
				got.oauthError(t, 400, c.code)
			})
		}
		t.Run("RFC 9449 §4.3 #1 two of them", func(t *testing.T) {
			in.post(t, http.DefaultClient, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, func(r *http.Request) {
				r.SetBasicAuth("shop", url.QueryEscape(shopSecret))
				r.Header["Dpop"] = []string{tokenProof(), tokenProof()}
			}).oauthError(t, 400, "invalid_dpop_proof")
		})
		t.Run("RFC 9449 §7.1 at userinfo", func(t *testing.T) {
			proof := func(k clientKey, pairs ...any) string {
				return in.proof(t, k, "GET", "/oauth2/userinfo", issued.access, pairs...)
			}
			once := proof(key)
			in.presented(t, "DPoP", issued.access, once).status(t, 200)
			in.presented(t, "dpop", issued.access, proof(key)).status(t, 200)
			for name, got := range map[string]answer{
				"again":             in.presented(t, "DPoP", issued.access, once),
				"of another key":    in.presented(t, "DPoP", issued.access, proof(foreign)),
				"of another token":  in.presented(t, "DPoP", issued.access, proof(key, "ath", hashOf("x"))),
				"without the token": in.presented(t, "DPoP", issued.access, proof(key, "ath", nil)),
				"none":              in.presented(t, "DPoP", issued.access),
			} {
				got.oauthError(t, 401, "invalid_dpop_proof")
				if challenge := got.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `DPoP algs="ES256 EdDSA PS256", error="invalid_dpop_proof"`) {
					t.Errorf("%s: the challenge is %s", name, challenge)
				}
			}
		})
		t.Run("RFC 9449 §7.2 a bound token as a bearer token", func(t *testing.T) {
			in.presented(t, "Bearer", issued.access).oauthError(t, 401, "invalid_token")
			in.presented(t, "Bearer", issued.access, in.proof(t, key, "GET", "/oauth2/userinfo", issued.access)).oauthError(t, 401, "invalid_token")
			if _, err := in.oidc.Principal(t.Context(), oidc.Bearer(secret.NewText(issued.access))); fault.As(err).Code != oidc.InvalidToken {
				t.Errorf("the API says %v", err)
			}
		})
		t.Run("RFC 9449 §7.1 a bearer token under DPoP", func(t *testing.T) {
			plain := p.browser.obtain(t)
			in.presented(t, "DPoP", plain.access, in.proof(t, key, "GET", "/oauth2/userinfo", plain.access)).oauthError(t, 401, "invalid_token")
		})
		t.Run("RFC 9449 §10 the code is bound", func(t *testing.T) {
			bound := code("dpop_jkt", key.thumbprint(t))
			in.bound(t, "/oauth2/token", in.proof(t, foreign, "POST", "/oauth2/token", ""), bound).oauthError(t, 400, "invalid_grant")
			in.bound(t, "/oauth2/token", "", code("dpop_jkt", key.thumbprint(t))).oauthError(t, 400, "invalid_grant")
			in.bound(t, "/oauth2/token", tokenProof(), code("dpop_jkt", key.thumbprint(t))).status(t, 200)
		})
		t.Run("RFC 9449 §10.1 a pushed request is bound by its proof", func(t *testing.T) {
			push := func(proof string, pairs ...string) answer { return in.bound(t, "/oauth2/par", proof, params(pairs...)) }
			parProof := func() string { return in.proof(t, key, "POST", "/oauth2/par", "") }
			push(parProof(), "dpop_jkt", foreign.thumbprint(t)).oauthError(t, 400, "invalid_request")
			address, _ := push(parProof()).status(t, 201).json(t)["request_uri"].(string)
			got := p.browser.get(t, "/oauth2/authorize", pushedQuery(address)).redirected(t, callback)
			in.bound(t, "/oauth2/token", in.proof(t, foreign, "POST", "/oauth2/token", ""), redemption(got.Get("code"))).oauthError(t, 400, "invalid_grant")
		})
		t.Run("RFC 9449 §5 refresh tokens of public applications", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) {
				s.ClientID, s.Type, s.Secret = "page", oidc.SPA, secret.Text{}
			})
			form := code("client_id", "page")
			form.Set("client_id", "page")
			send := func(form url.Values, proof string) answer {
				return in.post(t, http.DefaultClient, "/oauth2/token", form, func(r *http.Request) {
					if proof != "" {
						r.Header.Set("DPoP", proof)
					}
				})
			}
			got := send(form, tokenProof()).tokens(t)
			refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.refresh}, "client_id": {"page"}}
			send(refresh, "").oauthError(t, 400, "invalid_grant")
			send(refresh, in.proof(t, foreign, "POST", "/oauth2/token", "")).oauthError(t, 400, "invalid_grant")
			next := send(refresh, tokenProof()).tokens(t)
			refresh.Set("refresh_token", next.refresh)
			send(refresh, in.proof(t, foreign, "POST", "/oauth2/token", "")).oauthError(t, 400, "invalid_grant")
		})
		t.Run("RFC 9449 §5 those of others are bound by authentication", func(t *testing.T) {
			got := obtain(t)
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.refresh}}
			in.bound(t, "/oauth2/token", in.proof(t, foreign, "POST", "/oauth2/token", ""), form).status(t, 200)
		})
		t.Run("RFC 9449 §5.2 where it is demanded", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { s.Security.BoundTokens = true })
			defer in.application(t, nil)
			form := code()
			in.bound(t, "/oauth2/token", "", form).oauthError(t, 400, "invalid_dpop_proof")
			in.bound(t, "/oauth2/token", tokenProof(), form).status(t, 200) // the code was not used up
		})
		t.Run("RFC 9449 §8 a nonce", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { s.Security.DPoPNonce = true })
			defer in.application(t, nil)
			form := code()
			refused := in.bound(t, "/oauth2/token", tokenProof(), form).oauthError(t, 400, "use_dpop_nonce")
			nonce := refused.Header.Get("DPoP-Nonce")
			in.bound(t, "/oauth2/token", tokenProof("nonce", nonce+"x"), form).oauthError(t, 400, "use_dpop_nonce")
			got := in.bound(t, "/oauth2/token", tokenProof("nonce", nonce), form).tokens(t)
			there := in.presented(t, "DPoP", got.access, in.proof(t, key, "GET", "/oauth2/userinfo", got.access)).oauthError(t, 401, "use_dpop_nonce")
			if there.Header.Get("DPoP-Nonce") == "" || !strings.Contains(there.Header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
				t.Errorf("RFC 9449 §9: got %v", there.Header)
			}
			in.presented(t, "DPoP", got.access, in.proof(t, key, "GET", "/oauth2/userinfo", got.access, "nonce", there.Header.Get("DPoP-Nonce"))).status(t, 200)
			in.advance(5 * time.Minute)
			in.bound(t, "/oauth2/token", tokenProof("nonce", nonce), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.refresh}}).oauthError(t, 400, "use_dpop_nonce")
		})
		t.Run("opaque tokens", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { s.AccessToken = oidc.FormatOpaque })
			defer in.application(t, nil)
			got := obtain(t)
			in.presented(t, "Bearer", got.access).oauthError(t, 401, "invalid_token")
			in.presented(t, "DPoP", got.access, in.proof(t, key, "GET", "/oauth2/userinfo", got.access)).status(t, 200)
		})
		t.Run("RFC 8693 a bound subject token comes with its proof", func(t *testing.T) {
			form := url.Values{
				"grant_type": {oidc.GrantTokenExchange}, "subject_token": {issued.access}, "subject_token_type": {oidc.TokenTypeAccess},
				"requested_subject": {"x"}, "tenant": {"berlin"}, "reason": {"test"},
			}
			if got := in.bound(t, "/oauth2/token", "", form).oauthError(t, 400, "invalid_request"); !strings.Contains(got.body, "subject_token") {
				t.Errorf("got %s", got.body)
			}
		})
	})
}
