package provider_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// clientKey is a key pair of an application.
type clientKey struct {
	private crypto.Signer
	alg     jose.SignatureAlgorithm
	kid     string
}

func newClientKey(t testing.TB, alg jose.SignatureAlgorithm, kid string) clientKey {
	t.Helper()
	generate := map[jose.SignatureAlgorithm]func() (crypto.Signer, error){
		jose.ES256: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		jose.EdDSA: func() (crypto.Signer, error) {
			_, private, err := ed25519.GenerateKey(rand.Reader)
			return private, err
		},
	}[alg]
	if generate == nil {
		generate = func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }
	}
	private, err := generate()
	must(t, err)
	return clientKey{private, alg, kid}
}

// jwks is the set of the public keys.
func jwks(t testing.TB, keys ...clientKey) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Use: "sig"})
	}
	text, err := json.Marshal(set)
	must(t, err)
	return string(text)
}

// sign signs claims under a type; no type is none.
func (k clientKey) sign(t testing.TB, typ string, claims any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if typ != "" {
		options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: jose.JSONWebKey{Key: k.private, KeyID: k.kid}}, options)
	must(t, err)
	return signed(t, signer, claims)
}

func signed(t testing.TB, signer jose.Signer, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	object, err := signer.Sign(payload)
	must(t, err)
	text, err := object.CompactSerialize()
	must(t, err)
	return text
}

// assertion are the claims of a good client assertion of robot, altered by pairs;
// nil takes a claim away.
func (in *instance) assertion(pairs ...any) map[string]any {
	claims := map[string]any{
		"iss": "robot", "sub": "robot", "aud": in.url, "jti": secret.Random("").Reveal(),
		"iat": in.now().Unix(), "exp": in.now().Add(time.Minute).Unix(),
	}
	alter(claims, pairs)
	return claims
}

func alter(claims map[string]any, pairs []any) {
	for pair := range slices.Chunk(pairs, 2) {
		name, _ := pair[0].(string)
		claims[name] = pair[1]
		if pair[1] == nil {
			delete(claims, name)
		}
	}
}

// asserted is a request for a machine's token with an assertion.
func asserted(assertion string, pairs ...string) url.Values {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion}, "client_assertion_type": {oidc.ClientAssertionType},
	}
	set(form, pairs)
	return form
}

// machineWithKeys registers robot, which authenticates by private_key_jwt.
func (in *instance) machineWithKeys(t testing.TB, owner *directory.Tenant, security oidc.Security) {
	t.Helper()
	security.AuthMethod = oidc.AuthPrivateKeyJWT
	in.machine(t, owner, func(s *oidc.ApplicationSpec) { s.Secret, s.Security = secret.Text{}, security })
}

func TestPrivateKeyJWT(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		es, ps, rs, ed := newClientKey(t, jose.ES256, "es"), newClientKey(t, jose.PS256, "ps"), newClientKey(t, jose.RS256, "rs"), newClientKey(t, jose.EdDSA, "ed")
		stranger := newClientKey(t, jose.ES256, "es")
		in.machineWithKeys(t, berlin, oidc.Security{JWKS: jwks(t, es, ps, rs, ed)})
		good := es.sign(t, "", in.assertion())
		for _, c := range []struct {
			name   string
			form   url.Values
			status int
		}{
			{"RFC 7523 §2.2 it suffices", asserted(good), 200},
			{"RFC 7523 §3 #7 the same again", asserted(good), 401},
			{"RFC 7518 §3.1 PS256", asserted(ps.sign(t, "JWT", in.assertion())), 200},
			{"RFC 7518 §3.1 RS256", asserted(rs.sign(t, "JWT", in.assertion())), 200},
			{"RFC 8037 EdDSA", asserted(ed.sign(t, "client-authentication+jwt", in.assertion())), 200},
			{"RFC 7521 §4.2 with the client_id", asserted(es.sign(t, "", in.assertion()), "client_id", "robot"), 200},
			{"RFC 7521 §4.2 with another client_id", asserted(es.sign(t, "", in.assertion()), "client_id", "shop"), 401},
			{"RFC 7523 §3 #1 no iss", asserted(es.sign(t, "", in.assertion("iss", nil))), 401},
			{"RFC 7523 §3 #1 another iss", asserted(es.sign(t, "", in.assertion("iss", "shop"))), 401},
			{"RFC 7523 §3 #2 another sub", asserted(es.sign(t, "", in.assertion("sub", "shop"))), 401},
			{"RFC 7523 §3 #3 the token endpoint", asserted(es.sign(t, "", in.assertion("aud", in.url+"/oauth2/token"))), 200},
			{"RFC 7523 §3 #3 one of several", asserted(es.sign(t, "", in.assertion("aud", []string{"https://other.example", in.url}))), 200},
			{"RFC 7523 §3 #3 another server", asserted(es.sign(t, "", in.assertion("aud", "https://other.example"))), 401},
			{"RFC 7523 §3 #3 another endpoint", asserted(es.sign(t, "", in.assertion("aud", in.url+"/oauth2/revoke"))), 401},
			{"RFC 7523 §3 #3 no aud", asserted(es.sign(t, "", in.assertion("aud", nil))), 401},
			{"RFC 7519 §4.1.3 a name in other letters is another claim", asserted(es.sign(t, "", in.assertion("aud", "https://other.example", "AUD", in.url))), 401},
			{"RFC 7523 §3 #4 no exp", asserted(es.sign(t, "", in.assertion("exp", nil))), 401},
			{"RFC 7523 §3 #4 expired", asserted(es.sign(t, "", in.assertion("exp", in.now().Unix()))), 401},
			{"AS-R25 too far ahead", asserted(es.sign(t, "", in.assertion("exp", in.now().Add(11*time.Minute).Unix()))), 401},
			{"RFC 7523 §3 #4 in the year 9999", asserted(es.sign(t, "", in.assertion("exp", 253402300800.0))), 401},
			{"FAPI 2.0 §5.3.2.1 iat 8 seconds ahead", asserted(es.sign(t, "", in.assertion("iat", in.now().Add(8*time.Second).Unix()))), 200},
			{"FAPI 2.0 §5.3.2.1 nbf 8 seconds ahead", asserted(es.sign(t, "", in.assertion("nbf", in.now().Add(8*time.Second).Unix()))), 200},
			{"FAPI 2.0 §5.3.2.1 iat a minute ahead", asserted(es.sign(t, "", in.assertion("iat", in.now().Add(time.Minute).Unix()))), 401},
			{"FAPI 2.0 §5.3.2.1 nbf a minute ahead", asserted(es.sign(t, "", in.assertion("nbf", in.now().Add(time.Minute).Unix()))), 401},
			{"RFC 7523 §3 #7 no jti", asserted(es.sign(t, "", in.assertion("jti", nil))), 401},
			{"RFC 7523 §3 #7 a jti without end", asserted(es.sign(t, "", in.assertion("jti", strings.Repeat("j", 513)))), 401},
			{"RFC 7523 §3 #9 a foreign key", asserted(stranger.sign(t, "", in.assertion())), 401},
			{"RFC 8725 §3.11 another kind of token", asserted(es.sign(t, "dpop+jwt", in.assertion())), 401},
			{"RFC 8725 §2.1 no signature", asserted(unsigned(t, in.assertion())), 401},
			{"RFC 8725 §2.1 HS256 with the public key", asserted(keyedByPublic(t, es, in.assertion())), 401},
			{"RFC 8725 §3.4 a byte changed", asserted(good[:len(good)-6] + "AAAAAA"), 401},
			{"no token", asserted("a.b.c"), 401},
			{"RFC 7523 §2.2 another type", asserted(es.sign(t, "", in.assertion()), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 401},
			{"RFC 6749 §2.3 two methods", asserted(es.sign(t, "", in.assertion()), "client_id", "robot", "client_secret", robotSecret), 400},
			{"AS-R10 the secret instead", url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}, "client_secret": {robotSecret}}, 401},
			{"AS-R10 nothing", url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}}, 401},
		} {
			t.Run(c.name, func(t *testing.T) {
				got := in.direct(t, "/oauth2/token", "", "", c.form).status(t, c.status)
				switch c.status {
				case http.StatusUnauthorized:
					if got.oauthError(t, c.status, "invalid_client"); got.Header.Get("WWW-Authenticate") == "" {
						t.Error("RFC 6749 §5.2: there is no challenge")
					}
				case http.StatusBadRequest:
					got.oauthError(t, c.status, "invalid_request")
				}
			})
		}
		t.Run("AS-R25 of many at once one passes, on two nodes", func(t *testing.T) {
			other := in.withStore(t, in.store)
			assertion := es.sign(t, "", in.assertion())
			var passed atomic.Int32
			done := make(chan struct{})
			for i := range 20 {
				go func() {
					defer func() { done <- struct{}{} }()
					node := []*oidc.OIDC{in.oidc, other}[i%2]
					_, err := node.Authenticate(t.Context(), oidc.ClientProof{Method: oidc.AuthPrivateKeyJWT, Assertion: assertion})
					if err == nil {
						passed.Add(1)
					} else if fault.As(err).Code != oidc.InvalidClient {
						t.Error(err)
					}
				}()
			}
			for range 20 {
				<-done
			}
			if passed.Load() != 1 {
				t.Errorf("%d passed", passed.Load())
			}
		})
		t.Run("every endpoint takes it", func(t *testing.T) {
			token := in.direct(t, "/oauth2/token", "", "", asserted(es.sign(t, "", in.assertion()))).tokens(t).access
			form := func(audience string) url.Values {
				f := asserted(es.sign(t, "", in.assertion("aud", audience)), "token", token)
				f.Del("grant_type")
				return f
			}
			if got := in.direct(t, "/oauth2/introspect", "", "", form(in.url+"/oauth2/introspect")).status(t, 200).json(t); got["active"] != true {
				t.Errorf("introspection says %v", got)
			}
			in.direct(t, "/oauth2/revoke", "", "", form(in.url+"/oauth2/revoke")).status(t, 200)
		})
	})
}

// unsigned is a token with alg none.
func unsigned(t testing.TB, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

// keyedByPublic is a token whose shared key is the application's public one.
func keyedByPublic(t testing.TB, k clientKey, claims any) string {
	t.Helper()
	public, err := json.Marshal(jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid})
	must(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: public, KeyID: k.kid}}, nil)
	must(t, err)
	return signed(t, signer, claims)
}

func TestKeysAtJWKSURI(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		first, second := newClientKey(t, jose.ES256, "first"), newClientKey(t, jose.ES256, "second")
		var served atomic.Pointer[string]
		var fetches atomic.Int32
		serve := func(text string) { served.Store(&text) }
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fetches.Add(1)
			_, _ = w.Write([]byte(*served.Load()))
		}))
		defer site.Close()
		serve(jwks(t, first))
		in.machineWithKeys(t, berlin, oidc.Security{JWKSURI: site.URL})
		get := func(k clientKey, status int, asked int32) {
			t.Helper()
			in.direct(t, "/oauth2/token", "", "", asserted(k.sign(t, "", in.assertion()))).status(t, status)
			if fetches.Load() != asked {
				t.Fatalf("fetched %d times, want %d", fetches.Load(), asked)
			}
		}
		get(first, 200, 1)
		get(first, 200, 1) // from the cache
		serve(jwks(t, first, second))
		get(second, 401, 1) // asked too soon: at most once a minute
		in.advance(time.Minute)
		get(second, 200, 2) // an unknown kid
		get(first, 200, 2)
		serve("no JSON")
		in.advance(10 * time.Minute)
		get(first, 401, 3) // it says that there are no keys any more
		serve(jwks(t, second))
		in.advance(time.Minute)
		get(second, 200, 4)
		get(first, 401, 4) // it is gone; no fetch within the minute
	})
}

func TestOnlyTheRegisteredMethodOfClientAuthentication(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		form := url.Values{"grant_type": {"client_credentials"}}
		posted := maps.Clone(form)
		posted.Set("client_id", "robot")
		posted.Set("client_secret", robotSecret)
		for _, c := range []struct {
			method      oidc.AuthMethod
			basic, post int
		}{{"", 200, 200}, {oidc.AuthSecretBasic, 200, 401}, {oidc.AuthSecretPost, 401, 200}} {
			in.machine(t, berlin, func(s *oidc.ApplicationSpec) { s.Security.AuthMethod = c.method })
			t.Run("AS-R10 "+string(c.method), func(t *testing.T) {
				in.direct(t, "/oauth2/token", "robot", robotSecret, form).status(t, c.basic)
				in.direct(t, "/oauth2/token", "", "", posted).status(t, c.post)
			})
		}
	})
}

func TestSecretsOverlap(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		in.machine(t, berlin, nil)
		works := func(text string, status int) {
			t.Helper()
			in.direct(t, "/oauth2/token", "robot", text, url.Values{"grant_type": {"client_credentials"}}).status(t, status)
		}
		replace := func(overlap time.Duration) {
			in.machine(t, berlin, func(s *oidc.ApplicationSpec) { s.Secret, s.SecretOverlap = secret.NewText("another"), overlap })
		}
		replace(time.Hour)
		works(robotSecret, 200)
		works("another", 200)
		in.advance(30 * time.Minute)
		replace(time.Hour) // again: the end of the first does not move
		in.advance(29 * time.Minute)
		works(robotSecret, 200)
		in.advance(time.Minute)
		works(robotSecret, 401)
		works("another", 200)
	})
}

func TestKeysThatAreNotRegistered(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		es := newClientKey(t, jose.ES256, "es")
		private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: es.private}}})
		must(t, err)
		short, err := rsa.GenerateKey(rand.Reader, 1024)
		must(t, err)
		weak, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: short.Public()}}})
		must(t, err)
		for name, c := range map[string]struct {
			field    string
			security oidc.Security
		}{
			"none":                     {"jwks", oidc.Security{}},
			"a private key":            {"jwks", oidc.Security{JWKS: string(private)}},
			"a shared key":             {"jwks", oidc.Security{JWKS: `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`}},
			"a short key":              {"jwks", oidc.Security{JWKS: string(weak)}},
			"an empty set":             {"jwks", oidc.Security{JWKS: `{"keys":[]}`}},
			"both":                     {"jwks", oidc.Security{JWKS: jwks(t, es), JWKSURI: "https://shop.example/keys"}},
			"without TLS":              {"jwks_uri", oidc.Security{JWKSURI: "http://shop.example/keys"}},
			"a file":                   {"jwks_uri", oidc.Security{JWKSURI: "file:///keys"}},
			"an unknown algorithm":     {"token_endpoint_auth_signing_alg", oidc.Security{JWKS: jwks(t, es), AuthAlg: "none"}},
			"an algorithm of a secret": {"token_endpoint_auth_signing_alg", oidc.Security{JWKS: jwks(t, es), AuthAlg: "HS256"}},
		} {
			c.security.AuthMethod = oidc.AuthPrivateKeyJWT
			_, err := in.oidc.PutApplication(t.Context(), oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine, Tenant: berlin.ID, Security: c.security})
			if fault.As(err).Kind != fault.Invalid || fault.As(err).Field != c.field {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestSecretsSayWhenTheyWereUsed: to an hour, each for itself, and none by an attempt
// that fails.
func TestSecretsSayWhenTheyWereUsed(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		in.machine(t, berlin, nil)
		in.machine(t, berlin, func(s *oidc.ApplicationSpec) { s.Secret, s.SecretOverlap = secret.NewText("another"), 24*time.Hour })
		used := func(t *testing.T) (first, another time.Time) {
			t.Helper()
			a, err := in.store.Application(t.Context(), "robot")
			must(t, err)
			if len(a.Secrets) != 2 {
				t.Fatalf("there are %d secrets", len(a.Secrets))
			}
			if a.Secrets[0].Expires.IsZero() { // made at the same moment
				slices.Reverse(a.Secrets)
			}
			return a.Secrets[0].LastUsed, a.Secrets[1].LastUsed
		}
		come := func(t *testing.T, with string) {
			t.Helper()
			in.direct(t, "/oauth2/token", "robot", with, url.Values{"grant_type": {"client_credentials"}}).status(t, http.StatusOK)
		}
		begin := in.now()
		in.direct(t, "/oauth2/token", "robot", "wrong", url.Values{"grant_type": {"client_credentials"}}).oauthError(t, http.StatusUnauthorized, "invalid_client")
		for _, step := range []struct {
			after          time.Duration
			with           string
			first, another time.Duration // since the beginning; -1: never
		}{
			{0, robotSecret, 0, -1},
			{59 * time.Minute, robotSecret, 0, -1},
			{0, "another", 0, 59 * time.Minute},
			{time.Minute, robotSecret, time.Hour, 59 * time.Minute},
		} {
			in.advance(step.after)
			come(t, step.with)
			first, another := used(t)
			for got, want := range map[time.Time]time.Duration{first: step.first, another: step.another} {
				if got.IsZero() != (want < 0) || want >= 0 && !got.Equal(begin.Add(want)) {
					t.Errorf("after %s by %s: used at %s, want %s after %s", step.after, step.with, got, want, begin)
				}
			}
		}
		in.machine(t, berlin, func(s *oidc.ApplicationSpec) {
			s.Name, s.Secret, s.SecretOverlap = "Renamed", secret.NewText("another"), 24*time.Hour
		})
		if first, another := used(t); first.IsZero() || another.IsZero() {
			t.Error("a change of the application forgets it")
		}
	})
}
