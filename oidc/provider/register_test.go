package provider_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/oidc/provider"
)

// asOperator is the context of the command line.
func asOperator(t testing.TB) context.Context {
	t.Helper()
	return authz.NewContext(audit.WithActor(t.Context(), audit.Actor{Kind: audit.ActorOperator, ID: "test"}), authz.Principal{Kind: authz.OperatorPrincipal})
}

// registrations lets applications of the tenant register, or not.
func (in *instance) registrations(t testing.TB, tenant *directory.Tenant, on bool) {
	t.Helper()
	_, err := in.store.UpdateTenant(t.Context(), tenant.ID, func(t *directory.Tenant) error {
		t.Policy.DynamicRegistration = on
		return nil
	})
	must(t, err)
}

// initialToken makes a token that is good for so many registrations.
func (in *instance) initialToken(t testing.TB, tenant *directory.Tenant, registrations int) (*oidc.RegistrationToken, string) {
	t.Helper()
	token, made, err := in.oidc.CreateRegistrationToken(asOperator(t), oidc.RegistrationToken{Tenant: tenant.ID, Registrations: registrations})
	must(t, err)
	return token, made.Reveal()
}

// metadata are those of a good registration; pairs alter them, nil takes one away.
func metadata(pairs ...any) map[string]any {
	m := map[string]any{"redirect_uris": []string{callback}, "client_name": "Visitor", "grant_types": []string{"authorization_code", "refresh_token"}}
	for pair := range slices.Chunk(pairs, 2) {
		name, _ := pair[0].(string)
		if m[name] = pair[1]; pair[1] == nil {
			delete(m, name)
		}
	}
	return m
}

// send sends JSON, or nothing where body is nil, with the bearer token if there is one.
func (in *instance) send(t testing.TB, method, address, token string, body any) answer {
	t.Helper()
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		must(t, err)
		text = strings.NewReader(string(encoded))
	}
	if !strings.HasPrefix(address, "http") {
		address = in.url + address
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, text)
	must(t, err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, http.DefaultClient, r)
}

func (in *instance) register(t testing.TB, token string, body any) answer {
	t.Helper()
	return in.send(t, http.MethodPost, "/oauth2/register", token, body)
}

// visitor is an application that has registered itself.
type visitor struct {
	in                         *instance
	id, secret, token, address string
	answer                     map[string]any
}

func (in *instance) visitor(t testing.TB, tenant *directory.Tenant, pairs ...any) *visitor {
	t.Helper()
	_, token := in.initialToken(t, tenant, 1)
	v := in.register(t, token, metadata(pairs...)).status(t, http.StatusCreated).json(t)
	text := func(name string) string { s, _ := v[name].(string); return s }
	return &visitor{in, text("client_id"), text("client_secret"), text("registration_access_token"), text("registration_client_uri"), v}
}

// manage sends a request to the client configuration endpoint.
func (v *visitor) manage(t testing.TB, method string, body any) answer {
	t.Helper()
	return v.in.send(t, method, v.address, v.token, body)
}

// own are metadata for a change of the visitor's.
func (v *visitor) own(pairs ...any) map[string]any {
	return metadata(append([]any{"client_id", v.id}, pairs...)...)
}

// obtain signs the person in with consent and redeems the code.
func (v *visitor) obtain(t testing.TB, p *person, pairs ...string) answer {
	t.Helper()
	pairs = append([]string{"client_id", v.id}, pairs...)
	got := p.browser.allow(t, p.browser.authorize(t, pairs...), p.session)
	code := got.redirected(t, callback).Get("code")
	form := redemption(code)
	if v.secret == "" {
		form.Set("client_id", v.id)
	}
	return v.in.direct(t, "/oauth2/token", v.id, v.secret, form)
}

// registrants is an instance with a person whose tenant takes registrations.
func registrants(t *testing.T, test func(t *testing.T, in *instance, p *person)) {
	t.Helper()
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.registrations(t, p.tenant, true)
		test(t, in, p)
	})
}

// same compares as JSON does.
func sameJSON(t testing.TB, got, want any) bool {
	t.Helper()
	a, err := json.Marshal(got)
	must(t, err)
	b, err := json.Marshal(want)
	must(t, err)
	return string(a) == string(b)
}

func TestRegistration(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		t.Run("RFC 7591 §3.2.1 the answer", func(t *testing.T) {
			_, token := in.initialToken(t, p.tenant, 1)
			got := in.register(t, token, metadata(
				"client_name#de", "Besucher", "scope", "openid email unheard_of", "contacts", []string{"it@shop.example"}, "software_id", "4711",
				"logo_uri", "https://shop.example/logo.png", "unknown_member", "is ignored", "client_id", "chosen", "client_secret", "chosen",
			)).status(t, http.StatusCreated)
			if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Pragma") != "no-cache" {
				t.Errorf("the header is %v", got.Header)
			}
			v := got.json(t)
			for name, want := range map[string]any{
				"client_id_issued_at": in.now().Unix(), "client_secret_expires_at": 0, "client_name": "Visitor", "client_name#de": "Besucher",
				"scope": "openid email", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
				"token_endpoint_auth_method": "client_secret_basic", "application_type": "web", "subject_type": "public", "id_token_signed_response_alg": "RS256", "access_token_signed_response_alg": "ES256",
				"redirect_uris": []string{callback}, "contacts": []string{"it@shop.example"}, "software_id": "4711", "logo_uri": "https://shop.example/logo.png",
				"registration_client_uri": in.url + "/oauth2/register/" + v["client_id"].(string),
			} {
				if !sameJSON(t, v[name], want) {
					t.Errorf("%s: got %v, want %v", name, v[name], want)
				}
			}
			for _, secret := range []string{"client_secret", "registration_access_token"} {
				if text, _ := v[secret].(string); len(text) < 43 || text == "chosen" {
					t.Errorf("%s: got %v", secret, v[secret])
				}
			}
			if v["client_id"] == "chosen" || v["unknown_member"] != nil {
				t.Errorf("got %v", v)
			}
			events := in.trail.of("application.register")
			if len(events) != 1 || events[0].Tenant != p.tenant.ID || events[0].Actor.ID != v["client_id"] || strings.Contains(sprint(events[0].Data), v["client_secret"].(string)) {
				t.Errorf("the events are %v", events)
			}
		})
		t.Run("RFC 7591 §2 what is left out", func(t *testing.T) {
			v := in.visitor(t, p.tenant, "grant_types", nil, "client_name", nil)
			if !sameJSON(t, v.answer["grant_types"], []string{"authorization_code"}) || v.answer["scope"] != "openid profile email" || v.answer["client_name"] != nil {
				t.Errorf("got %v", v.answer)
			}
			if got := v.obtain(t, p).tokens(t); got.refresh != "" || got.access == "" || got.id == "" {
				t.Errorf("without the grant refresh_token: got %+v", got)
			}
		})
		t.Run("RFC 9068 §2.1 access tokens by RS256", func(t *testing.T) {
			v := in.visitor(t, p.tenant, "access_token_signed_response_alg", "RS256")
			if v.answer["access_token_signed_response_alg"] != "RS256" {
				t.Errorf("got %v", v.answer)
			}
			if header, _ := parts(t, v.obtain(t, p).tokens(t).access); header["alg"] != "RS256" {
				t.Errorf("signed by %v", header["alg"])
			}
		})
		t.Run("a public one", func(t *testing.T) {
			for _, pairs := range [][]any{{"token_endpoint_auth_method", "none"}, {"application_type", "native", "redirect_uris", []string{callback, "com.example.app:/back", "http://127.0.0.1/back"}}} {
				v := in.visitor(t, p.tenant, pairs...)
				if v.secret != "" || v.answer["client_secret_expires_at"] != nil || v.answer["token_endpoint_auth_method"] != "none" {
					t.Errorf("got %v", v.answer)
				}
				if got := v.obtain(t, p).tokens(t); got.refresh == "" {
					t.Errorf("got %+v", got)
				}
			}
		})
		t.Run("by a key", func(t *testing.T) {
			key := newClientKey(t, jose.ES256, "one")
			v := in.visitor(t, p.tenant, "token_endpoint_auth_method", "private_key_jwt", "jwks", json.RawMessage(jwks(t, key)))
			if v.secret != "" || v.answer["jwks"] == nil {
				t.Errorf("got %v", v.answer)
			}
		})
		t.Run("a stranger's application", func(t *testing.T) {
			v := in.visitor(t, p.tenant, "scope", "openid profile offline_access", "default_max_age", 3600)
			p.browser.authorize(t, "client_id", v.id).waits(t, "/login/consent")
			if got := p.browser.authorize(t, "client_id", v.id, "code_challenge", "", "code_challenge_method", "").redirected(t, callback); got.Get("error") != "invalid_request" {
				t.Errorf("without PKCE: %v", got)
			}
			issued := v.obtain(t, p, "scope", "openid profile email api tenants groups", "claims", `{"id_token":{"email":null,"tenants":null}}`).tokens(t)
			if issued.scope != "openid profile" {
				t.Errorf("the scope is %q", issued.scope)
			}
			_, claims := parts(t, issued.id)
			if claims["tid"] != string(p.tenant.ID) || claims["email"] != nil || claims["tenants"] != nil {
				t.Errorf("the ID token has %v", claims)
			}
			refreshed := in.direct(t, "/oauth2/token", v.id, v.secret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}).tokens(t)
			if refreshed.access == "" {
				t.Error("no refresh")
			}
			in.advance(2 * time.Hour)
			p.browser.authorize(t, "client_id", v.id).waits(t, "/login")
			p.session = p.browser.signIn(t, p.user, authn.ACR1)
		})
	})
}

func sprint(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func TestRegistration_Refused(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		for _, c := range []struct {
			name  string
			pairs []any
			code  string
			field string
		}{
			{"RFC 7591 §2.1 the implicit response type", []any{"response_types", []string{"token"}}, "invalid_client_metadata", "response_types"},
			{"a hybrid response type", []any{"response_types", []string{"code", "code id_token"}}, "invalid_client_metadata", "response_types"},
			{"RFC 7591 §2.1 no code", []any{"grant_types", []string{"refresh_token"}}, "invalid_client_metadata", "grant_types"},
			{"by itself", []any{"grant_types", []string{"authorization_code", "client_credentials"}}, "invalid_client_metadata", "grant_types"},
			{"an exchange", []any{"grant_types", []string{"authorization_code", oidc.GrantTokenExchange}}, "invalid_client_metadata", "grant_types"},
			{"the password", []any{"grant_types", []string{"authorization_code", "password"}}, "invalid_client_metadata", "grant_types"},
			{"the scope api", []any{"scope", "openid api"}, "invalid_client_metadata", "scope"},
			{"the scope scim", []any{"scope", "openid scim"}, "invalid_client_metadata", "scope"},
			{"signals", []any{"scope", "openid ssf.read"}, "invalid_client_metadata", "scope"},
			{"other tenants", []any{"scope", "openid tenants"}, "invalid_client_metadata", "scope"},
			{"another tenant", []any{"scope", "openid tenant:oslo"}, "invalid_client_metadata", "scope"},
			{"unknown scopes alone", []any{"scope", "photos"}, "invalid_client_metadata", "scope"},
			{"no redirect", []any{"redirect_uris", nil}, "invalid_redirect_uri", "redirect_uris"},
			{"javascript:", []any{"redirect_uris", []string{"javascript:alert(1)"}}, "invalid_redirect_uri", "redirect_uris"},
			{"data:", []any{"redirect_uris", []string{"data:text/html,x"}, "application_type", "native"}, "invalid_redirect_uri", "redirect_uris"},
			{"a fragment", []any{"redirect_uris", []string{callback + "#x"}}, "invalid_redirect_uri", "redirect_uris"},
			{"a user name", []any{"redirect_uris", []string{"https://shop.example@evil.example/"}}, "invalid_redirect_uri", "redirect_uris"},
			{"http", []any{"redirect_uris", []string{"http://shop.example/"}}, "invalid_redirect_uri", "redirect_uris"},
			{"a wildcard", []any{"redirect_uris", []string{"https://*.example/"}}, "invalid_redirect_uri", "redirect_uris"},
			{"too many", []any{"redirect_uris", slices.Repeat([]string{callback}, 51)}, "invalid_redirect_uri", "redirect_uris"},
		} {
			in.refused(t, p, c.name, c.pairs, c.code, c.field)
		}
		for _, c := range []struct {
			name  string
			pairs []any
			code  string
			field string
		}{
			{"RFC 8252 §8.5 a secret of a native one", []any{"application_type", "native", "token_endpoint_auth_method", "client_secret_basic"}, "invalid_client_metadata", "token_endpoint_auth_method"},
			{"an unknown method", []any{"token_endpoint_auth_method", "client_secret_jwt"}, "invalid_client_metadata", "token_endpoint_auth_method"},
			{"a key without one", []any{"token_endpoint_auth_method", "private_key_jwt"}, "invalid_client_metadata", "jwks"},
			{"a shared key", []any{"token_endpoint_auth_method", "private_key_jwt", "jwks", map[string]any{"keys": []any{map[string]any{"kty": "oct", "k": "c2VjcmV0"}}}}, "invalid_client_metadata", "jwks"},
			{"both keys", []any{"jwks_uri", "https://shop.example/keys", "jwks", json.RawMessage(jwks(t, newClientKey(t, jose.ES256, "x")))}, "invalid_client_metadata", "jwks"},
			{"no algorithm", []any{"id_token_signed_response_alg", "none"}, "invalid_client_metadata", "id_token_signed_response_alg"},
			{"no algorithm of access tokens", []any{"access_token_signed_response_alg", "HS256"}, "invalid_client_metadata", "access_token_signed_response_alg"},
			{"another kind", []any{"application_type", "machine"}, "invalid_client_metadata", "application_type"},
			{"another subject", []any{"subject_type", "anonymous"}, "invalid_client_metadata", "subject_type"},
			{"pairwise for two hosts", []any{"subject_type", "pairwise", "redirect_uris", []string{callback, "https://bank.example/"}}, "invalid_client_metadata", "sector_identifier_uri"},
			{"javascript: for people", []any{"policy_uri", "javascript:alert(1)"}, "invalid_client_metadata", "policy_uri"},
			{"the same in a language", []any{"tos_uri#de", "data:x"}, "invalid_client_metadata", "tos_uri#de"},
			{"a name that turns around", []any{"client_name", "Bank\u202egnp"}, "invalid_client_metadata", "client_name"},
			{"no language", []any{"client_name#<b>", "x"}, "invalid_client_metadata", "client_name"},
			{"a number for a list", []any{"redirect_uris", 7}, "invalid_client_metadata", "redirect_uris"},
			{"RFC 7591 §2.3 no statement", []any{"software_statement", "eyJ.x.y"}, "invalid_software_statement", "software_statement"},
			{"RFC 7591 §3.2.2 somebody's statement", []any{"software_statement", statement(t)}, "unapproved_software_statement", "software_statement"},
			{"a negative age", []any{"default_max_age", -1}, "invalid_client_metadata", "default_max_age"},
		} {
			in.refused(t, p, c.name, c.pairs, c.code, c.field)
		}
		if got := len(in.trail.of("application.register")); got != 0 {
			t.Errorf("%d were registered", got)
		}
	})
}

func (in *instance) refused(t *testing.T, p *person, name string, pairs []any, code, field string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		_, token := in.initialToken(t, p.tenant, 1)
		in.advance(time.Second)
		got := in.register(t, token, metadata(pairs...)).oauthError(t, http.StatusBadRequest, code)
		if description, _ := got.json(t)["error_description"].(string); !strings.HasPrefix(description, field+": ") {
			t.Errorf("the description is %q, want one about %s", description, field)
		}
		in.register(t, token, metadata()).status(t, http.StatusCreated) // it was not used up
		in.forget(t)
	})
}

// forget has no more registrations and tokens than the tests count.
func (in *instance) forget(t testing.TB) {
	t.Helper()
	in.trail.mu.Lock()
	defer in.trail.mu.Unlock()
	in.trail.events = slices.DeleteFunc(in.trail.events, func(e audit.Event) bool { return e.Action == "application.register" })
}

func statement(t testing.TB) string {
	t.Helper()
	key := newClientKey(t, jose.ES256, "federation")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.alg, Key: key.private}, nil)
	must(t, err)
	signed, err := signer.Sign([]byte(`{"client_name":"Bank"}`))
	must(t, err)
	text, err := signed.CompactSerialize()
	must(t, err)
	return text
}

func TestRegistration_InitialAccessToken(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		bearer := func(t *testing.T, got answer, code string) {
			t.Helper()
			got.status(t, http.StatusUnauthorized)
			want := `Bearer realm="rolecall"`
			if code != "" {
				want += `, error="` + code + `"`
			}
			if challenge := got.Header.Get("WWW-Authenticate"); challenge != want {
				t.Errorf("the challenge is %q, want %q", challenge, want)
			}
		}
		t.Run("RFC 6750 §3.1 none", func(t *testing.T) { bearer(t, in.register(t, "", metadata()), "") })
		t.Run("an unknown one", func(t *testing.T) { bearer(t, in.register(t, "rcia_unknown", metadata()), "invalid_token") })
		t.Run("used up", func(t *testing.T) {
			_, token := in.initialToken(t, p.tenant, 2)
			in.register(t, token, metadata()).status(t, http.StatusCreated)
			in.register(t, token, metadata()).status(t, http.StatusCreated)
			bearer(t, in.register(t, token, metadata()), "invalid_token")
		})
		t.Run("deleted", func(t *testing.T) {
			made, token := in.initialToken(t, p.tenant, 2)
			must(t, in.oidc.DeleteRegistrationToken(asOperator(t), p.tenant.ID, made.ID))
			bearer(t, in.register(t, token, metadata()), "invalid_token")
		})
		t.Run("expired", func(t *testing.T) {
			_, token := in.initialToken(t, p.tenant, 2)
			in.advance(oidc.RegistrationTokenLifetime)
			bearer(t, in.register(t, token, metadata()), "invalid_token")
			must(t, in.oidc.Clean(t.Context()))
			all, err := in.oidc.RegistrationTokens(asOperator(t), p.tenant.ID)
			must(t, err)
			in.advance(oidc.RegistrationTokenKept + time.Second)
			must(t, in.oidc.Clean(t.Context()))
			later, err := in.oidc.RegistrationTokens(asOperator(t), p.tenant.ID)
			must(t, err)
			if len(all) == 0 || len(later) != 0 {
				t.Errorf("listed: %d, a month later %d", len(all), len(later))
			}
		})
		t.Run("counts and remembers", func(t *testing.T) {
			_, token := in.initialToken(t, p.tenant, 3)
			in.register(t, token, metadata()).status(t, http.StatusCreated)
			all, err := in.oidc.RegistrationTokens(asOperator(t), p.tenant.ID)
			must(t, err)
			if got := all[0]; got.Used != 1 || got.Registrations != 3 || !got.LastUsed.Equal(in.now()) {
				t.Errorf("got %+v", got)
			}
		})
		t.Run("fifty at once, good for one", func(t *testing.T) {
			_, token := in.initialToken(t, p.tenant, 1)
			body, err := json.Marshal(metadata())
			must(t, err)
			var made atomic.Int32
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.url+"/oauth2/register", strings.NewReader(string(body)))
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Authorization", "Bearer "+token)
					response, err := http.DefaultClient.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					_ = response.Body.Close()
					switch response.StatusCode {
					case http.StatusCreated:
						made.Add(1)
					case http.StatusUnauthorized, http.StatusTooManyRequests:
					default:
						t.Errorf("status %d", response.StatusCode)
					}
				})
			}
			all.Wait()
			if got := made.Load(); got != 1 {
				t.Errorf("%d have registered", got)
			}
		})
		t.Run("ten that have all seen it unused", func(t *testing.T) {
			const callers = 10
			_, token := in.initialToken(t, p.tenant, 1)
			store := &gathering{trail: in.trail}
			store.missing.Add(callers)
			node := in.withStore(t, store)
			var made atomic.Int32
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					_, err := node.Register(t.Context(), secret.NewText(token), registeredAs(t), authn.Client{})
					if err == nil {
						made.Add(1)
					} else if fault.As(err).Code != oidc.InvalidToken {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if got := made.Load(); got != 1 {
				t.Errorf("%d have registered", got)
			}
		})
		t.Run("the form of the request", func(t *testing.T) {
			_, token := in.initialToken(t, p.tenant, 1)
			in.post(t, http.DefaultClient, "/oauth2/register", url.Values{"client_name": {"x"}}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }).oauthError(t, 400, "invalid_request")
			in.register(t, token, []string{"x"}).oauthError(t, 400, "invalid_request")
			in.register(t, token, metadata("client_name", strings.Repeat("x", 70_000))).oauthError(t, 400, "invalid_request")
			in.send(t, http.MethodGet, "/oauth2/register", token, nil).status(t, http.StatusMethodNotAllowed)
		})
	})
}

// gathering is a store that has all callers look at the token before any goes on.
type gathering struct {
	*trail
	missing sync.WaitGroup
}

func (g *gathering) RegistrationTokenByHash(ctx context.Context, hash secret.Hash) (*oidc.RegistrationToken, error) {
	found, err := g.trail.RegistrationTokenByHash(ctx, hash)
	g.missing.Done()
	g.missing.Wait()
	return found, err
}

func TestRegistration_Throttled(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		_, token := in.initialToken(t, p.tenant, 1)
		for range 20 {
			in.register(t, token, metadata("scope", "api")).oauthError(t, 400, "invalid_client_metadata")
		}
		if got := in.register(t, token, metadata()).oauthError(t, 429, "temporarily_unavailable"); got.Header.Get("Retry-After") == "" {
			t.Error("there is no Retry-After")
		}
		in.advance(time.Second)
		in.register(t, token, metadata()).status(t, http.StatusCreated)
		for range 50 {
			in.register(t, "rcia_guess", metadata()).oauthError(t, 401, "invalid_token")
		}
		in.register(t, "rcia_guess", metadata()).oauthError(t, 429, "temporarily_unavailable")
		_, other := in.initialToken(t, p.tenant, 1)
		in.register(t, other, metadata()).status(t, http.StatusCreated) // who has a token is not kept out by who guesses
	})
}

func TestRegistration_SwitchedOff(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		_, token := in.initialToken(t, p.tenant, 3)
		in.register(t, token, metadata()).oauthError(t, 403, "access_denied") // as every tenant is at first
		in.registrations(t, p.tenant, true)
		v := in.register(t, token, metadata()).status(t, http.StatusCreated).json(t)
		text := func(name string) string { s, _ := v[name].(string); return s }
		visitor := &visitor{in, text("client_id"), text("client_secret"), text("registration_access_token"), text("registration_client_uri"), v}
		in.registrations(t, p.tenant, false)
		in.register(t, token, metadata()).oauthError(t, 403, "access_denied")
		visitor.manage(t, http.MethodPut, visitor.own()).oauthError(t, 403, "access_denied") // RFC 7592 §2.2
		visitor.obtain(t, p).tokens(t)                                                       // it goes on
		visitor.manage(t, http.MethodGet, nil).status(t, http.StatusOK)
		visitor.manage(t, http.MethodDelete, nil).status(t, http.StatusNoContent)
	})
}

func TestRegistrationManagement(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		t.Run("RFC 7592 §2.1 read", func(t *testing.T) {
			v := in.visitor(t, p.tenant, "tos_uri#fr", "https://shop.example/fr")
			got := v.manage(t, http.MethodGet, nil).status(t, http.StatusOK)
			want := maps.Clone(v.answer)
			delete(want, "client_secret") // which is stored as a hash
			if !sameJSON(t, got.json(t), want) || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %s\nwant %v", got.body, want)
			}
		})
		t.Run("RFC 7592 §2.2 replace", func(t *testing.T) {
			v := in.visitor(t, p.tenant, "contacts", []string{"it@shop.example"}, "scope", "openid profile", "default_max_age", 60, "dpop_bound_access_tokens", true)
			got := v.manage(t, http.MethodPut, v.own("client_secret", v.secret, "redirect_uris", []string{"https://shop.example/new"}, "grant_types", nil)).status(t, http.StatusOK).json(t)
			for name, want := range map[string]any{
				"client_id": v.id, "client_id_issued_at": v.answer["client_id_issued_at"], "redirect_uris": []string{"https://shop.example/new"}, "contacts": nil,
				"scope": "openid profile email", "grant_types": []string{"authorization_code"}, "default_max_age": nil, "dpop_bound_access_tokens": nil,
				"client_secret": nil, "registration_access_token": v.token, "registration_client_uri": v.address,
			} {
				if !sameJSON(t, got[name], want) {
					t.Errorf("%s: got %v, want %v", name, got[name], want)
				}
			}
			p.browser.authorize(t, "client_id", v.id).errorPage(t) // the old redirect URI
			if len(in.trail.of("application.update")) != 1 {
				t.Error("there is no event")
			}
		})
		t.Run("under another name people are asked again", func(t *testing.T) {
			v := in.visitor(t, p.tenant)
			v.obtain(t, p).tokens(t)
			v.manage(t, http.MethodPut, v.own("contacts", []string{"it@shop.example"})).status(t, http.StatusOK)
			p.browser.code(t, "client_id", v.id, "prompt", "none")
			for _, change := range [][]any{{"client_name", "Bank"}, {"client_name", "Bank", "redirect_uris", []string{callback, "https://bank.example/"}}} {
				v.manage(t, http.MethodPut, v.own(change...)).status(t, http.StatusOK)
				p.browser.authorize(t, "client_id", v.id).waits(t, "/login/consent")
				v.obtain(t, p).tokens(t)
			}
		})
		t.Run("RFC 9700 §4.11.2 nobody is sent to a stranger unasked", func(t *testing.T) {
			v := in.visitor(t, p.tenant)
			for _, pairs := range [][]string{{"scope", "unheard_of"}, {"response_type", "token"}, {"code_challenge", ""}, {"scope", "openid tenant:oslo"}, {"prompt", "none", "max_age", "-1"}} {
				pairs = append(pairs, "client_id", v.id)
				if got := in.browser(t).authorize(t, pairs...); got.StatusCode < 400 || got.Header.Get("Location") != "" {
					t.Errorf("%v: %d to %q", pairs, got.StatusCode, got.Header.Get("Location"))
				}
				if got := p.browser.authorize(t, pairs...).redirected(t, callback); got.Get("error") == "" {
					t.Errorf("%v, of somebody who is signed in: %v", pairs, got)
				}
			}
			if got := in.browser(t).authorize(t, "client_id", v.id, "prompt", "none").redirected(t, callback); got.Get("error") != "login_required" {
				t.Errorf("prompt=none: %v", got)
			}
			b := in.browser(t)
			request := b.authorize(t, "client_id", v.id).waits(t, "/login")
			if got := b.post(t, "/oauth2/authorize/cancel", url.Values{"request": {string(request)}}).redirected(t, callback); got.Get("error") != "access_denied" {
				t.Errorf("canceled: %v", got)
			}
		})
		t.Run("another method", func(t *testing.T) {
			v := in.visitor(t, p.tenant)
			got := v.manage(t, http.MethodPut, v.own("token_endpoint_auth_method", "none")).status(t, http.StatusOK).json(t)
			if got["client_secret_expires_at"] != nil || got["client_secret"] != nil {
				t.Errorf("got %v", got)
			}
			in.direct(t, "/oauth2/token", v.id, v.secret, redemption("x")).oauthError(t, 401, "invalid_client")
			got = v.manage(t, http.MethodPut, v.own("token_endpoint_auth_method", "client_secret_post")).status(t, http.StatusOK).json(t)
			if made, _ := got["client_secret"].(string); made == "" || made == v.secret {
				t.Errorf("got %v", got)
			}
		})
		t.Run("RFC 7592 §2.2 what is refused", func(t *testing.T) {
			v := in.visitor(t, p.tenant)
			other := in.visitor(t, p.tenant)
			for name, c := range map[string]struct {
				body map[string]any
				code string
			}{
				"no client_id":            {metadata(), "invalid_client_metadata"},
				"another's client_id":     {metadata("client_id", other.id), "invalid_client_metadata"},
				"a secret of its choice":  {v.own("client_secret", "chosen"), "invalid_client_metadata"},
				"an empty secret":         {v.own("client_secret", ""), "invalid_client_metadata"},
				"another's secret":        {v.own("client_secret", other.secret), "invalid_client_metadata"},
				"a token of its choice":   {v.own("registration_access_token", "chosen"), "invalid_client_metadata"},
				"an address":              {v.own("registration_client_uri", other.address), "invalid_client_metadata"},
				"an end of the secret":    {v.own("client_secret_expires_at", 1), "invalid_client_metadata"},
				"the scope api":           {v.own("scope", "openid api"), "invalid_client_metadata"},
				"client credentials":      {v.own("grant_types", []string{"authorization_code", "client_credentials"}), "invalid_client_metadata"},
				"javascript:":             {v.own("redirect_uris", []string{"javascript:alert(1)"}), "invalid_redirect_uri"},
				"implicit":                {v.own("response_types", []string{"id_token"}), "invalid_client_metadata"},
				"no redirect URI is left": {v.own("redirect_uris", nil), "invalid_redirect_uri"},
			} {
				t.Run(name, func(t *testing.T) { v.manage(t, http.MethodPut, c.body).oauthError(t, 400, c.code) })
			}
			if !sameJSON(t, v.manage(t, http.MethodGet, nil).json(t)["redirect_uris"], []string{callback}) {
				t.Error("it was changed")
			}
			v.manage(t, http.MethodPatch, v.own()).status(t, http.StatusMethodNotAllowed)
		})
		t.Run("RFC 7592 §2.1 a token of another, or none", func(t *testing.T) {
			v, other := in.visitor(t, p.tenant), in.visitor(t, p.tenant)
			in.application(t, nil)
			_, initial := in.initialToken(t, p.tenant, 1)
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				for _, token := range []string{other.token, initial, "rcra_unknown", v.secret} {
					got := in.send(t, method, v.address, token, v.own()).oauthError(t, 401, "invalid_token")
					if got.Header.Get("WWW-Authenticate") != `Bearer realm="rolecall", error="invalid_token"` {
						t.Errorf("the challenge is %q", got.Header.Get("WWW-Authenticate"))
					}
				}
				in.send(t, method, v.address, "", v.own()).status(t, http.StatusUnauthorized)
				in.send(t, method, "/oauth2/register/shop", v.token, v.own()).oauthError(t, 401, "invalid_token")
				in.send(t, method, "/oauth2/register/reg-nobody", v.token, v.own()).oauthError(t, 401, "invalid_token")
			}
			v.manage(t, http.MethodGet, nil).status(t, http.StatusOK)
		})
		t.Run("RFC 7592 §2.3 delete", func(t *testing.T) {
			v := in.visitor(t, p.tenant)
			issued := v.obtain(t, p).tokens(t)
			in.application(t, func(s *oidc.ApplicationSpec) { s.Tenant = p.tenant.ID })
			if in.introspect(t, issued.access)["active"] != true {
				t.Fatal("the token is not active")
			}
			got := v.manage(t, http.MethodDelete, nil).status(t, http.StatusNoContent)
			if got.body != "" || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %v %q", got.Header, got.body)
			}
			if in.introspect(t, issued.access)["active"] != false {
				t.Error("the access token is active")
			}
			in.userInfo(t, issued.access).status(t, http.StatusUnauthorized)
			in.direct(t, "/oauth2/token", v.id, v.secret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}).oauthError(t, 401, "invalid_client")
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				v.manage(t, method, v.own()).oauthError(t, 401, "invalid_token")
			}
			p.browser.authorize(t, "client_id", v.id).errorPage(t)
			if events := in.trail.of("application.delete"); len(events) == 0 || events[len(events)-1].Actor.ID != v.id {
				t.Errorf("the events are %v", events)
			}
		})
		t.Run("the operator takes it over", func(t *testing.T) {
			v := in.visitor(t, p.tenant)
			in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.Tenant = v.id, p.tenant.ID })
			v.manage(t, http.MethodGet, nil).oauthError(t, 401, "invalid_token")
		})
	})
}

// TestRegistration_NothingMore: an application that has registered itself is one of
// strangers, though the tenant owns it.
func TestRegistration_NothingMore(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		oslo := in.tenant(t, "oslo", directory.Policy{DynamicRegistration: true})
		in.member(t, oslo, p.user, directory.StatusActive, "admin")
		v := in.visitor(t, p.tenant, "token_endpoint_auth_method", "client_secret_basic")
		in.application(t, func(s *oidc.ApplicationSpec) { s.Tenant = p.tenant.ID })

		t.Run("its own tenant", func(t *testing.T) {
			if _, claims := parts(t, v.obtain(t, p).tokens(t).id); claims["tid"] != string(p.tenant.ID) {
				t.Errorf("got %v", claims)
			}
			p.browser.code(t, "client_id", v.id, "scope", "openid tenant:berlin", "prompt", "none")
			for _, name := range []string{"oslo", string(oslo.ID), "nowhere"} {
				if got := p.browser.authorize(t, "client_id", v.id, "scope", "openid tenant:"+name).redirected(t, callback); got.Get("error") != "invalid_scope" {
					t.Errorf("%s: %v", name, got)
				}
			}
			p.browser.authorize(t, "client_id", v.id, "prompt", "select_account").waits(t, "/login/tenant")
			stranger := in.user(t, "eve@oslo.example")
			in.member(t, oslo, stranger, directory.StatusActive, "admin")
			b := in.browser(t)
			b.signIn(t, stranger, authn.ACR1)
			if got := b.authorize(t, "client_id", v.id, "prompt", "none").redirected(t, callback); got.Get("error") != "login_required" {
				t.Errorf("somebody of another tenant: %v", got)
			}
		})
		t.Run("an address that it pushes is held to the same", func(t *testing.T) {
			address, _ := in.direct(t, "/oauth2/par", v.id, v.secret, params("client_id", v.id, "scope", "openid tenant:oslo")).status(t, http.StatusCreated).json(t)["request_uri"].(string)
			if got := p.browser.get(t, "/oauth2/authorize", url.Values{"client_id": {v.id}, "request_uri": {address}}).redirected(t, callback); got.Get("error") != "invalid_scope" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("no tokens of others", func(t *testing.T) {
			theirs := p.browser.obtain(t, "scope", "openid tenant:berlin")
			if got := in.direct(t, "/oauth2/introspect", v.id, v.secret, url.Values{"token": {theirs.access}}).json(t); got["active"] != false {
				t.Errorf("it sees %v", got)
			}
			for _, form := range []url.Values{
				{"grant_type": {oidc.GrantTokenExchange}, "subject_token": {theirs.access}, "subject_token_type": {oidc.TokenTypeAccess}},
				{"grant_type": {"client_credentials"}},
				{"grant_type": {"client_credentials"}, "scope": {"ssf.manage"}},
			} {
				in.direct(t, "/oauth2/token", v.id, v.secret, form).oauthError(t, 400, "unauthorized_client")
			}
			in.direct(t, "/oauth2/device_authorization", v.id, v.secret, url.Values{"scope": {"openid"}}).oauthError(t, 400, "unauthorized_client")
		})
		t.Run("a grant type that it gives up", func(t *testing.T) {
			issued := v.obtain(t, p, "prompt", "consent").tokens(t)
			v.manage(t, http.MethodPut, v.own("grant_types", []string{"authorization_code"})).status(t, http.StatusOK)
			in.direct(t, "/oauth2/token", v.id, v.secret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}).oauthError(t, 400, "unauthorized_client")
		})
		t.Run("another tenant's token", func(t *testing.T) {
			other := in.visitor(t, oslo)
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				in.send(t, method, v.address, other.token, v.own()).oauthError(t, 401, "invalid_token")
			}
			if a, err := in.oidc.Application(t.Context(), other.id); err != nil || a.Owner != oslo.ID {
				t.Errorf("it is of %v, %v", a, err)
			}
		})
	})
}

// TestRegistration_NarrowerScope: what an application was given beyond the scope that
// it says it needs now (RFC 7592 §2.2) ends, wherever its tokens are brought to, and
// nothing else does.
func TestRegistration_NarrowerScope(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		const all = "openid profile email phone offline_access"
		v := in.visitor(t, p.tenant, "scope", all, "backchannel_logout_uri", "https://shop.example/logout")
		obtain := func(t *testing.T, pairs ...string) tokens {
			t.Helper()
			return v.obtain(t, p, append([]string{"prompt", "consent"}, pairs...)...).tokens(t)
		}
		phone := obtain(t, "scope", "openid email phone offline_access")
		named := obtain(t, "scope", "openid", "claims", `{"userinfo":{"email":null}}`)
		plain := obtain(t, "scope", "openid profile")
		alive := func(t *testing.T, which string, issued *tokens, want bool) {
			t.Helper()
			if got := in.direct(t, "/oauth2/introspect", v.id, v.secret, url.Values{"token": {issued.access}}).status(t, http.StatusOK).json(t); got["active"] != want {
				t.Errorf("%s: introspection says %v", which, got)
			}
			if got := in.userInfo(t, issued.access); (got.StatusCode == http.StatusOK) != want {
				t.Errorf("%s: userinfo says %s", which, got.body)
			}
			refreshed := in.direct(t, "/oauth2/token", v.id, v.secret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}})
			if !want {
				refreshed.oauthError(t, http.StatusBadRequest, "invalid_grant")
				return
			}
			*issued = refreshed.tokens(t)
		}
		logouts := func(t *testing.T) int {
			t.Helper()
			all, err := in.store.Deliveries(t.Context(), p.tenant.ID, outbox.BackchannelLogout, "", "", 100)
			must(t, err)
			return len(all)
		}
		for _, step := range []struct {
			scope              string
			phone, named, told bool
		}{
			{all, true, true, false},
			{"openid profile email offline_access", false, true, true},
			{"openid profile", false, false, true},
			{all, false, false, false},
		} {
			t.Run(step.scope, func(t *testing.T) {
				before, told := len(in.trail.of("application.update")), logouts(t)
				v.manage(t, http.MethodPut, v.own("scope", step.scope, "backchannel_logout_uri", "https://shop.example/logout")).status(t, http.StatusOK)
				alive(t, "the scope phone", &phone, step.phone)
				alive(t, "the claim email", &named, step.named)
				alive(t, "the scope profile", &plain, true)
				if got := logouts(t) > told; got != step.told {
					t.Errorf("the application is told: %v", got)
				}
				if events := in.trail.of("application.update"); len(events) != before+1 || (events[before].Data["grants_ended"] == 1) != step.told {
					t.Errorf("the events are %v", events)
				}
			})
		}
	})
}

// published serves a text, and counts who asks.
func published(t testing.TB, text string) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestRegistration_Fetches(t *testing.T) {
	registrants(t, func(t *testing.T, in *instance, p *person) {
		register := func(t *testing.T, pairs ...any) answer {
			t.Helper()
			_, token := in.initialToken(t, p.tenant, 1)
			return in.register(t, token, metadata(pairs...))
		}
		sector := func(t *testing.T, text string, pairs ...any) answer {
			t.Helper()
			address, _ := published(t, text)
			return register(t, append([]any{"subject_type", "pairwise", "sector_identifier_uri", address, "redirect_uris", []string{callback, "https://bank.example/"}}, pairs...)...)
		}
		t.Run("OpenID Connect Registration §5 the sector", func(t *testing.T) {
			sector(t, `["`+callback+`","https://bank.example/","https://more.example/"]`).status(t, http.StatusCreated)
			for name, text := range map[string]string{"lists less": `["` + callback + `"]`, "no list": `{"redirect_uris":[]}`, "empty": ``, "of other things": `[7]`, "long": `["` + strings.Repeat("x", 70_000) + `"]`} {
				t.Run(name, func(t *testing.T) {
					got := sector(t, text).oauthError(t, 400, "invalid_client_metadata")
					if !strings.Contains(got.body, "sector_identifier_uri: ") {
						t.Errorf("got %s", got.body)
					}
				})
			}
			sector(t, `["`+callback+`"]`, "subject_type", "public").oauthError(t, 400, "invalid_client_metadata")
		})
		t.Run("keys", func(t *testing.T) {
			address, asked := published(t, jwks(t, newClientKey(t, jose.ES256, "one")))
			register(t, "token_endpoint_auth_method", "private_key_jwt", "jwks_uri", address).status(t, http.StatusCreated)
			if asked.Load() != 1 {
				t.Errorf("asked %d times", asked.Load())
			}
			empty, _ := published(t, `{"keys":[]}`)
			register(t, "token_endpoint_auth_method", "private_key_jwt", "jwks_uri", empty).oauthError(t, 400, "invalid_client_metadata")
		})
		t.Run("nothing that is for people", func(t *testing.T) {
			address, asked := published(t, "")
			register(t, "logo_uri", address, "client_uri", address, "tos_uri", address, "policy_uri", address).status(t, http.StatusCreated)
			if asked.Load() != 0 {
				t.Error("the server has looked at it")
			}
		})
		t.Run("no private address", func(t *testing.T) {
			in := newGuarded(t, in)
			address, asked := published(t, jwks(t, newClientKey(t, jose.ES256, "one")))
			for _, pairs := range [][]any{
				{"token_endpoint_auth_method", "private_key_jwt", "jwks_uri", address},
				{"sector_identifier_uri", address, "subject_type", "pairwise"},
				{"jwks_uri", "https://169.254.169.254/latest"},
				{"jwks_uri", "https://[::1]/keys"},
			} {
				_, err := in.Register(t.Context(), secret.NewText(guardedToken(t, in, p)), registeredAs(t, pairs...), authn.Client{})
				if err == nil || !strings.Contains(err.Error(), "can't be fetched") {
					t.Errorf("%v: %v", pairs, err)
				}
			}
			if asked.Load() != 0 {
				t.Error("the server has spoken to a private address")
			}
		})
	})
}

// newGuarded is another node, which speaks to public addresses alone.
func newGuarded(t testing.TB, in *instance) *oidc.OIDC {
	t.Helper()
	deps := in.deps
	deps.KeySets = provider.NewKeySets(false)
	node, err := oidc.New(deps)
	must(t, err)
	return node
}

func guardedToken(t testing.TB, node *oidc.OIDC, p *person) string {
	t.Helper()
	_, made, err := node.CreateRegistrationToken(asOperator(t), oidc.RegistrationToken{Tenant: p.tenant.ID})
	must(t, err)
	return made.Reveal()
}

func registeredAs(t testing.TB, pairs ...any) (m oidc.ClientMetadata) {
	t.Helper()
	text, err := json.Marshal(metadata(pairs...))
	must(t, err)
	must(t, json.Unmarshal(text, &m))
	return m
}
