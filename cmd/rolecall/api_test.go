package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// call asks the API as a program does. A body that is not nil is sent as JSON;
// into, where it is not nil, takes the answer.
func call(t *testing.T, handler http.Handler, method, path, authorization string, body, into any) *httptest.ResponseRecorder {
	t.Helper()
	var content io.Reader
	if body != nil {
		content = strings.NewReader(string(must[[]byte](t)(json.Marshal(body))))
	}
	request := httptest.NewRequest(method, path, content)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if into != nil {
		if err := json.Unmarshal(recorder.Body.Bytes(), into); err != nil {
			t.Fatalf("%s %s: %d %s: %v", method, path, recorder.Code, recorder.Body, err)
		}
	}
	return recorder
}

// problem is the answer of a refusal (RFC 9457).
type problem struct {
	Status int
	Detail string
	Field  string
	Code   string
}

// refused checks that a request is answered with a problem of that status.
func refused(t *testing.T, r *httptest.ResponseRecorder, status int) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(r.Body.Bytes(), &p); err != nil || r.Code != status || p.Status != status {
		t.Errorf("got %d %s, want the problem %d", r.Code, r.Body, status)
	}
	if got := r.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("a problem of type %q", got)
	}
	return p
}

func TestAPIIsDescribedByOpenAPI31(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		response := call(t, handlerOf(t, in), http.MethodGet, "/api/v1/openapi.json", "", nil, nil)
		document, err := openapi3.NewLoader().LoadFromData(response.Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := document.Validate(context.Background(), openapi3.EnableSchemaPatternValidation()); err != nil {
			t.Error(err)
		}
		if document.OpenAPI != "3.1.0" || document.Paths.Find("/tenants/{tenant}") == nil {
			t.Errorf("got version %s with the paths %v", document.OpenAPI, document.Paths.InMatchingOrder())
		}
		for path, item := range document.Paths.Map() {
			for method, operation := range item.Operations() {
				if operation.OperationID == "" || operation.Summary == "" || len(operation.Tags) != 1 || operation.Responses.Default() == nil {
					t.Errorf("%s %s: lacks an id, a summary, a tag or the problem", method, path)
				}
			}
		}
	})
}

func TestAPIKnowsItsCallers(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler, ctx := handlerOf(t, in), operator(t.Context())
		berlin := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "berlin"}))
		must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "other"}))
		ann := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "ann@example.com"}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, berlin.ID, ann, directory.MembershipSpec{Roles: []string{"owner"}}))
		must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: berlin.ID, Name: "chosen", Creator: ann.ID}, secret.NewText("a-value-of-the-operator")))
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine, Tenant: berlin.ID, Roles: []string{"api"}, Secret: secret.NewText("s3cret")}))

		for name, authorization := range map[string]string{
			"an application token": "Bearer a-value-of-the-operator", "client credentials": "Basic cm9ib3Q6czNjcmV0", "an operator's token": "bearer " + instanceToken,
		} {
			for _, address := range []string{"berlin", string(berlin.ID)} {
				var got struct{ Slug string }
				if r := call(t, handler, http.MethodGet, "/api/v1/tenants/"+address, authorization, nil, &got); r.Code != http.StatusOK || got.Slug != "berlin" {
					t.Errorf("%s for %s: got %d %+v", name, address, r.Code, got)
				}
			}
			none := call(t, handler, http.MethodGet, "/api/v1/tenants/nowhere", authorization, nil, nil)
			refused(t, none, http.StatusNotFound)
			beyond := call(t, handler, http.MethodGet, "/api/v1/tenants/other", authorization, nil, nil)
			if operator := name == "an operator's token"; operator && beyond.Code != http.StatusOK || !operator && beyond.Body.String() != none.Body.String() {
				t.Errorf("%s for a tenant beyond its reach: got %d %s", name, beyond.Code, beyond.Body)
			}
		}
		for authorization, challenge := range map[string]string{
			"": `Bearer realm="rolecall"`, "Basic cm9ib3Q6bm8=": `Bearer realm="rolecall"`, "Bearer": `Bearer realm="rolecall"`,
			"Bearer nonsense": `Bearer realm="rolecall", error="invalid_token"`, "Bearer rc_nonsense": `Bearer realm="rolecall", error="invalid_token"`,
		} {
			r := call(t, handler, http.MethodGet, "/api/v1/tenants/berlin", authorization, nil, nil)
			refused(t, r, http.StatusUnauthorized)
			if got := r.Header().Get("WWW-Authenticate"); got != challenge {
				t.Errorf("RFC 6750 §3.1: %q is challenged with %q, want %q", authorization, got, challenge)
			}
		}
		p := refused(t, call(t, handler, http.MethodGet, "/api/v1/tenants/berlin?shade=red", "Bearer "+instanceToken, nil, nil), http.StatusBadRequest)
		if p.Field != "shade" {
			t.Errorf("an unknown parameter: got %+v", p)
		}
	})
}
