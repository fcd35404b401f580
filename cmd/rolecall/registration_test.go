package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

const registrationApply = `
tenants:
- {slug: ours, name: Ours, policy: {dynamic_registration: true}}
users:
- {email: owner@ours.example, memberships: [{tenant: ours, roles: [owner], status: active}]}
- {email: viewer@ours.example, memberships: [{tenant: ours, roles: [viewer], status: active}]}
application_tokens:
- {name: ours, tenant: ours, creator: owner@ours.example, token: rc_Ours5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mV}
applications:
- {client_id: shop, type: web, tenant: ours, secret: the-first-secret, redirect_uris: ["https://shop.example/"]}
- {client_id: bank, type: web, tenant: ours, profile: fapi2, token_endpoint_auth_method: private_key_jwt, jwks_uri: "https://bank.example/keys", redirect_uris: ["https://bank.example/"]}
- {client_id: page, type: spa, tenant: ours, redirect_uris: ["https://page.example/"]}
- {client_id: robot, type: machine, tenant: ours, secret: of-the-robot}
- {client_id: everybodys, type: web, secret: of-everybody, redirect_uris: ["https://all.example/"]}
`

// shownApplication is an application in an answer of the API.
type shownApplication struct {
	Name                string
	Enabled, Registered bool
	By                  string `json:"registration_token"`
}

// shownAlgs are the algorithms of an application in an answer of the API.
type shownAlgs struct {
	AccessToken    string `json:"access_token"`
	IDTokenAlg     string `json:"id_token_signed_response_alg"`
	AccessTokenAlg string `json:"access_token_signed_response_alg"`
	AuthAlg        string `json:"token_endpoint_auth_signing_alg"`
	RequestAlg     string `json:"request_object_signing_alg"`
}

// TestApplicationsOfATenant is what administrators do to the applications of their
// tenant, and to the tokens by which they register themselves.
func TestApplicationsOfATenant(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		if _, err := in.apply(operator(t.Context()), parse(t, registrationApply)); err != nil {
			t.Fatal(err)
		}
		handler := handlerOf(t, in)
		const base = "/api/v1/tenants/ours"
		api := func(t *testing.T, method, path string, body, into any, want int) {
			t.Helper()
			if got := call(t, handler, method, base+path, oursAPI, body, into); got.Code != want {
				t.Fatalf("%s %s: %d %s, want %d", method, path, got.Code, got.Body, want)
			}
		}
		// authenticates reports whether the token endpoint knows the application by the secret.
		authenticates := func(t *testing.T, clientID, text string) bool {
			t.Helper()
			form := url.Values{"grant_type": {"authorization_code"}, "code": {"none"}, "redirect_uri": {"https://shop.example/"}}
			request := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.SetBasicAuth(clientID, text)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			var answer struct{ Error string }
			if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			return answer.Error == "invalid_grant"
		}
		var initial struct {
			ID, Token string
		}
		api(t, http.MethodPost, "/registration-tokens", map[string]any{"description": "for the shop", "registrations": 2}, &initial, http.StatusCreated)
		register := func(t *testing.T) (visitor struct {
			ClientID string `json:"client_id"`
			Secret   string `json:"client_secret"`
			Token    string `json:"registration_access_token"`
		},
		) {
			t.Helper()
			metadata := map[string]any{"redirect_uris": []string{"https://shop.example/"}, "client_name": "Visitor", "contacts": []string{"it@visitor.example"}}
			if got := call(t, handler, http.MethodPost, "/oauth2/register", "Bearer "+initial.Token, metadata, &visitor); got.Code != http.StatusCreated {
				t.Fatalf("register: %d %s", got.Code, got.Body)
			}
			return visitor
		}
		visitor := register(t)

		t.Run("registration tokens", func(t *testing.T) {
			var all struct{ Items []map[string]any }
			api(t, http.MethodGet, "/registration-tokens", nil, &all, http.StatusOK)
			if len(all.Items) != 1 || all.Items[0]["used"] != float64(1) || all.Items[0]["last_used_at"] == nil || all.Items[0]["token"] != nil || all.Items[0]["description"] != "for the shop" {
				t.Errorf("got %v", all.Items)
			}
			for field, body := range map[string]map[string]any{
				"registrations": {"registrations": 1001}, "expires_at": {"expires_at": "2020-01-01T00:00:00Z"}, "description": {"description": strings.Repeat("x", 201)},
			} {
				var p problem
				api(t, http.MethodPost, "/registration-tokens", body, &p, http.StatusBadRequest)
				if p.Field != field {
					t.Errorf("%s: got %+v", field, p)
				}
			}
		})
		t.Run("who may", func(t *testing.T) {
			ctx := operator(t.Context())
			ours := must[*directory.Tenant](t)(in.directory.Tenant(ctx, "ours"))
			viewer := must[*directory.User](t)(in.store.UserByEmail(ctx, "viewer@ours.example"))
			must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: ours.ID, Name: "viewer", Creator: viewer.ID}, secret.NewText("rc_viewer-of-the-tests")))
			for _, r := range []struct{ method, path string }{
				{http.MethodPost, "/registration-tokens"},
				{http.MethodDelete, "/registration-tokens/" + initial.ID},
				{http.MethodDelete, "/applications/" + visitor.ClientID},
				{http.MethodPost, "/applications/shop/secrets"},
				{http.MethodPatch, "/applications/" + visitor.ClientID},
			} {
				var body any
				if r.method != http.MethodDelete {
					body = map[string]any{"enabled": false}
				}
				if strings.HasSuffix(r.path, "s") {
					body = map[string]any{}
				}
				refused(t, call(t, handler, r.method, base+r.path, "Bearer rc_viewer-of-the-tests", body, nil), http.StatusForbidden)
			}
		})
		t.Run("list and show", func(t *testing.T) {
			var page struct {
				Items []struct {
					ClientID string `json:"client_id"`
					shownApplication
				}
				Next string
			}
			var names []string
			for next := ""; ; next = "&cursor=" + url.QueryEscape(page.Next) {
				page.Items, page.Next = nil, ""
				api(t, http.MethodGet, "/applications?limit=2"+next, nil, &page, http.StatusOK)
				for _, item := range page.Items {
					names = append(names, item.ClientID)
				}
				if page.Next == "" {
					break
				}
			}
			if strings.Join(names, " ") != "bank page "+visitor.ClientID+" shop" { // no machine, and none of the instance
				t.Errorf("got %v", names)
			}
			var shown shownApplication
			api(t, http.MethodGet, "/applications/"+visitor.ClientID, nil, &shown, http.StatusOK)
			if !shown.Registered || !shown.Enabled || shown.Name != "Visitor" || shown.By != initial.ID {
				t.Errorf("got %+v", shown)
			}
			for _, other := range []string{"robot", "everybodys", "nobody"} {
				api(t, http.MethodGet, "/applications/"+other, nil, nil, http.StatusNotFound)
				api(t, http.MethodPost, "/applications/"+other+"/secrets", map[string]any{}, nil, http.StatusNotFound)
			}
		})
		t.Run("algorithms", func(t *testing.T) {
			// signs is what introspection is signed by for the shop (RFC 9701 §6).
			signs := func() string {
				request := httptest.NewRequest(http.MethodPost, "/oauth2/introspect", strings.NewReader("token=none"))
				request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				request.Header.Set("Accept", "application/token-introspection+jwt")
				request.SetBasicAuth("shop", "the-first-secret")
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, request)
				token := must[*jwt.JSONWebToken](t)(jwt.ParseSigned(recorder.Body.String(), []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}))
				return token.Headers[0].Algorithm
			}
			for _, step := range []struct {
				name, clientID string
				body           map[string]any
				want           shownAlgs
			}{
				{"nothing", "shop", map[string]any{}, shownAlgs{"jwt", "ES256", "ES256", "", ""}},
				{"of what it gets", "shop", map[string]any{"id_token_signed_response_alg": "EdDSA", "access_token_signed_response_alg": "RS256"}, shownAlgs{"jwt", "EdDSA", "RS256", "", ""}},
				{"one of them", "shop", map[string]any{"id_token_signed_response_alg": "RS256"}, shownAlgs{"jwt", "RS256", "RS256", "", ""}},
				{"of what it sends", "bank", map[string]any{"token_endpoint_auth_signing_alg": "PS256", "request_object_signing_alg": "EdDSA"}, shownAlgs{"jwt", "ES256", "ES256", "PS256", "EdDSA"}},
				{"any again", "bank", map[string]any{"request_object_signing_alg": nil}, shownAlgs{"jwt", "ES256", "ES256", "PS256", ""}},
				{"of one that registered", visitor.ClientID, map[string]any{"id_token_signed_response_alg": "EdDSA"}, shownAlgs{"jwt", "EdDSA", "ES256", "", ""}},
			} {
				t.Run(step.name, func(t *testing.T) {
					var answer, shown shownAlgs
					api(t, http.MethodPatch, "/applications/"+step.clientID, step.body, &answer, http.StatusOK)
					api(t, http.MethodGet, "/applications/"+step.clientID, nil, &shown, http.StatusOK)
					if answer != step.want || shown != step.want {
						t.Errorf("got %+v, then %+v, want %+v", answer, shown, step.want)
					}
				})
			}
			if got := signs(); got != "RS256" {
				t.Errorf("what it gets is signed by %s", got)
			}
			var registration map[string]any
			call(t, handler, http.MethodGet, "/oauth2/register/"+visitor.ClientID, "Bearer "+visitor.Token, nil, &registration)
			if registration["id_token_signed_response_alg"] != "EdDSA" {
				t.Errorf("the registration: %v", registration)
			}
			for _, r := range []struct{ clientID, field, value, why string }{
				{"shop", "id_token_signed_response_alg", "none", ""},
				{"shop", "access_token_signed_response_alg", "PS256", ""},
				{"shop", "token_endpoint_auth_signing_alg", "HS256", ""},
				{"shop", "token_endpoint_auth_signing_alg", "ES256", "private_key_jwt"},
				{"shop", "request_object_signing_alg", "none", ""},
				{"bank", "id_token_signed_response_alg", "RS256", "fapi2"},
				{"bank", "access_token_signed_response_alg", "RS256", "fapi2"},
				{"bank", "token_endpoint_auth_signing_alg", "RS256", "fapi2"},
				{"bank", "request_object_signing_alg", "RS256", "fapi2"},
			} {
				var p problem
				api(t, http.MethodPatch, "/applications/"+r.clientID, map[string]any{r.field: r.value}, &p, http.StatusBadRequest)
				if p.Field != r.field || !strings.Contains(p.Detail, r.why) {
					t.Errorf("%s of %s: got %+v", r.field, r.clientID, p)
				}
			}
			var p problem
			api(t, http.MethodPatch, "/applications/page", map[string]any{"request_object_signing_alg": "ES256"}, &p, http.StatusBadRequest)
			if p.Field != "jwks" { // it has none to sign by
				t.Errorf("got %+v", p)
			}
			refused(t, call(t, handler, http.MethodPatch, base+"/applications/shop", oursAPI, map[string]any{"enabled": false, "id_token_signed_response_alg": "ES256"}, nil), http.StatusForbidden)
			if updates := must[int](t)((&tokenWorld{in: in, t: t}).events("application.update ")); updates != 5 { // one for each that changed something
				t.Errorf("the trail has %d updates", updates)
			}
			if got := signs(); got != "RS256" {
				t.Errorf("what was refused has changed it to %s", got)
			}
		})
		t.Run("secrets", func(t *testing.T) {
			var made struct{ ID, Secret string }
			var answer map[string]any
			api(t, http.MethodPost, "/applications/shop/secrets", map[string]any{"overlap_seconds": 3600}, &answer, http.StatusCreated)
			made.ID, _ = answer["id"].(string)
			made.Secret, _ = answer["client_secret"].(string)
			if !authenticates(t, "shop", made.Secret) || !authenticates(t, "shop", "the-first-secret") {
				t.Error("within the overlap both count")
			}
			var all struct {
				Items []struct {
					ID         string
					ExpiresAt  string `json:"expires_at"`
					LastUsedAt string `json:"last_used_at"`
				}
			}
			got := call(t, handler, http.MethodGet, base+"/applications/shop/secrets", oursAPI, nil, &all)
			if len(all.Items) != 2 || all.Items[0].ID != made.ID || all.Items[0].ExpiresAt != "" || all.Items[1].ExpiresAt == "" || strings.Contains(got.Body.String(), made.Secret) {
				t.Fatalf("got %s", got.Body)
			}
			if all.Items[0].LastUsedAt == "" || all.Items[1].LastUsedAt == "" {
				t.Errorf("both were used: %s", got.Body)
			}
			api(t, http.MethodDelete, "/applications/shop/secrets/"+all.Items[1].ID, nil, nil, http.StatusNoContent)
			if authenticates(t, "shop", "the-first-secret") || !authenticates(t, "shop", made.Secret) {
				t.Error("the old one counts, or the new one does not")
			}
			api(t, http.MethodDelete, "/applications/shop/secrets/"+all.Items[1].ID, nil, nil, http.StatusNotFound)
			api(t, http.MethodPost, "/applications/shop/secrets", map[string]any{"overlap_seconds": 604801}, nil, http.StatusBadRequest)
			api(t, http.MethodPost, "/applications/shop/secrets", map[string]any{"overlap_seconds": 0}, nil, http.StatusCreated)
			if authenticates(t, "shop", made.Secret) {
				t.Error("without an overlap the one before counts")
			}
			if got := call(t, handler, http.MethodGet, base+"/applications/shop/secrets", oursAPI, nil, nil); strings.Contains(got.Body.String(), "last_used_at") {
				t.Errorf("nobody has used the new one: %s", got.Body)
			}
			var p problem
			api(t, http.MethodPost, "/applications/page/secrets", map[string]any{}, &p, http.StatusBadRequest)
			if p.Code != "no_secret" {
				t.Errorf("got %+v", p)
			}
		})
		t.Run("no caller by itself", func(t *testing.T) {
			request := httptest.NewRequest(http.MethodGet, base, nil)
			request.SetBasicAuth(visitor.ClientID, visitor.Secret)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != http.StatusUnauthorized {
				t.Errorf("got %d %s", recorder.Code, recorder.Body)
			}
		})
		t.Run("out of use", func(t *testing.T) {
			var shown shownApplication
			api(t, http.MethodPatch, "/applications/"+visitor.ClientID, map[string]any{"enabled": false}, &shown, http.StatusOK)
			if shown.Enabled || authenticates(t, visitor.ClientID, visitor.Secret) {
				t.Errorf("got %+v", shown)
			}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/oauth2/authorize?client_id="+visitor.ClientID, nil))
			if recorder.Code != http.StatusBadRequest {
				t.Errorf("to sign in: %d", recorder.Code)
			}
			api(t, http.MethodPatch, "/applications/"+visitor.ClientID, map[string]any{"enabled": true}, &shown, http.StatusOK)
			if !shown.Enabled || !authenticates(t, visitor.ClientID, visitor.Secret) {
				t.Errorf("got %+v", shown)
			}
		})
		t.Run("deleted", func(t *testing.T) {
			api(t, http.MethodDelete, "/applications/"+visitor.ClientID, nil, nil, http.StatusNoContent)
			api(t, http.MethodDelete, "/applications/"+visitor.ClientID, nil, nil, http.StatusNotFound)
			if got := call(t, handler, http.MethodGet, "/oauth2/register/"+visitor.ClientID, "Bearer "+visitor.Token, nil, nil); got.Code != http.StatusUnauthorized {
				t.Errorf("its token: %d", got.Code)
			}
			for _, r := range []struct {
				method string
				body   any
			}{{http.MethodDelete, nil}, {http.MethodPatch, map[string]any{"enabled": false}}} {
				if p := refused(t, call(t, handler, r.method, base+"/applications/shop", oursAPI, r.body, nil), http.StatusForbidden); p.Code != "operators" {
					t.Errorf("the operator's: %+v", p)
				}
			}
		})
		t.Run("the operator takes one over", func(t *testing.T) {
			other := register(t)
			ours := must[*directory.Tenant](t)(in.directory.Tenant(operator(t.Context()), "ours")).ID
			spec := oidc.ApplicationSpec{ClientID: other.ClientID, Type: oidc.Web, Tenant: ours, Secret: secret.NewText(other.Secret), RedirectURIs: []string{"https://shop.example/"}}
			applied := must[*oidc.Applied](t)(in.oidc.PutApplication(operator(t.Context()), spec))
			again := must[*oidc.Applied](t)(in.oidc.PutApplication(operator(t.Context()), spec))
			var shown shownApplication
			api(t, http.MethodGet, "/applications/"+other.ClientID, nil, &shown, http.StatusOK)
			if !applied.Changed || again.Changed || shown.Registered {
				t.Errorf("applied %+v, again %+v: %+v", applied, again, shown)
			}
		})
		t.Run("the policy", func(t *testing.T) {
			var policy map[string]any
			api(t, http.MethodGet, "/policy", nil, &policy, http.StatusOK)
			if policy["dynamic_registration"] != true {
				t.Errorf("got %v", policy)
			}
			api(t, http.MethodDelete, "/registration-tokens/"+initial.ID, nil, nil, http.StatusNoContent)
			api(t, http.MethodDelete, "/registration-tokens/"+initial.ID, nil, nil, http.StatusNotFound)
			api(t, http.MethodDelete, "/registration-tokens/"+string(id.New[id.RegistrationToken]()), nil, nil, http.StatusNotFound)
			api(t, http.MethodDelete, "/registration-tokens/nonsense", nil, nil, http.StatusNotFound)
			api(t, http.MethodPut, "/policy", map[string]any{"mfa": "off"}, nil, http.StatusNoContent)
			if ours := must[*directory.Tenant](t)(in.directory.Tenant(operator(t.Context()), "ours")); ours.Policy.DynamicRegistration {
				t.Error("a policy that does not name it leaves it on")
			}
		})
	})
}
