package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// TestMeIsTheCallersOwnResource asks for /Me (RFC 7644 §3.11) with what people
// and programs have: an access token with the scope api, one without, an
// application token, a connection's token, and those of another tenant.
func TestMeIsTheCallersOwnResource(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		ctx := operator(t.Context())
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: web, Type: oidc.Web, RedirectURIs: []string{webRedirect}, API: true}))
		users, tenants, members := map[string]*directory.User{}, map[string]*directory.Tenant{}, map[string]*directory.Membership{}
		for _, slug := range []string{"home", "away"} {
			tenants[slug] = must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: slug}))
			for _, name := range []string{"olga", "mia"} {
				users[name] = must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: name + "@example.com"}))
				role := map[string]string{"olga": "owner", "mia": "member"}[name]
				members[name+slug] = must[*directory.Membership](t)(in.directory.SaveMembership(ctx, tenants[slug].ID, users[name], directory.MembershipSpec{Roles: []string{role}}))
			}
		}
		must[secret.Text](t)(in.directory.SaveConnection(ctx, tenants["home"].ID, directory.ConnectionSpec{Name: "idp", Profile: directory.ProfileRFC, Token: secret.NewText("of-the-connection-0123")}))
		mia := signedInFor(t, in, users["mia"].ID, "home", oidc.ScopeOpenID, oidc.ScopeAPI)
		type answer struct {
			ID, UserName, DisplayName, Status, Detail string
			Active                                    bool
		}
		me := func(token, method, tenant string, body any) (code int, location string, got answer) {
			t.Helper()
			r := call(t, handler, method, "/t/"+tenant+"/scim/v2/Me", "Bearer "+token, body, nil)
			if r.Body.Len() > 0 {
				if err := json.Unmarshal(r.Body.Bytes(), &got); err != nil {
					t.Fatalf("%d %s: %v", r.Code, r.Body, err)
				}
			}
			return r.Code, r.Header().Get("Location"), got
		}
		patch := func(path string, value any) map[string]any {
			return map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{map[string]any{"op": "replace", "path": path, "value": value}}}
		}

		own := members["miahome"].ID
		code, location, got := me(mia, http.MethodGet, "home", nil)
		if code != http.StatusOK || got.ID != string(own) || !strings.HasSuffix(location, "/t/home/scim/v2/Users/"+string(own)) {
			t.Errorf("RFC 7644 §3.11 GET answers %d, %q, %+v", code, location, got)
		}
		code, location, got = me(mia, http.MethodPatch, "home", patch("displayName", "Mia M."))
		if code != http.StatusOK || got.DisplayName != "Mia M." || location == "" {
			t.Errorf("PATCH of the name answers %d, %q, %+v", code, location, got)
		}
		var whole map[string]any
		call(t, handler, http.MethodGet, "/t/home/scim/v2/Me", "Bearer "+mia, nil, &whole)
		whole["displayName"] = "Mia"
		code, _, got = me(mia, http.MethodPut, "home", whole)
		if code != http.StatusOK || got.DisplayName != "Mia" || !got.Active {
			t.Errorf("PUT answers %d, %+v", code, got)
		}
		for what, change := range map[string]map[string]any{
			"the address of the login": patch("userName", "mia@elsewhere.example"), "title, which the role system leaves to others": patch("title", "Chief"),
		} {
			if code, _, got = me(mia, http.MethodPatch, "home", change); code != http.StatusForbidden {
				t.Errorf("PATCH of %s answers %d, %+v", what, code, got)
			}
		}
		for _, method := range []string{http.MethodDelete, http.MethodPost} {
			want := map[string]int{http.MethodDelete: http.StatusForbidden, http.MethodPost: http.StatusNotImplemented}[method]
			if code, _, got = me(mia, method, "home", nil); code != want {
				t.Errorf("%s answers %d, %+v, want %d", method, code, got, want)
			}
		}
		if code, _, got = me(mia, http.MethodGet, "away", nil); code != http.StatusUnauthorized {
			t.Errorf("rule 79: in another tenant %d, %+v", code, got)
		}
		if code, _, _ = me(mia, http.MethodGet, "nowhere", nil); code != http.StatusUnauthorized {
			t.Errorf("in no tenant %d", code)
		}
		if r := call(t, handler, http.MethodGet, "/t/home/scim/v2/Users", "Bearer "+mia, nil, nil); r.Code != http.StatusUnauthorized && r.Code != http.StatusForbidden {
			t.Errorf("a person's access token lists all: %d", r.Code)
		}
		unscoped := signedInFor(t, in, users["mia"].ID, "home", oidc.ScopeOpenID)
		if code, _, got = me(unscoped, http.MethodGet, "home", nil); code != http.StatusForbidden || !strings.Contains(got.Detail, "api") {
			t.Errorf("without the scope %d, %+v", code, got)
		}
		if code, _, got = me("of-the-connection-0123", http.MethodGet, "home", nil); code != http.StatusNotFound || !strings.Contains(got.Detail, "connection") {
			t.Errorf("a connection gets %d, %+v", code, got)
		}
		if code, _, _ = me("nothing", http.MethodGet, "home", nil); code != http.StatusUnauthorized {
			t.Errorf("an unknown token gets %d", code)
		}
		application := personsToken(t, in, users["olga"].ID, tenants["home"].ID)
		if code, _, got = me(application, http.MethodGet, "home", nil); code != http.StatusOK || got.ID != string(members["olgahome"].ID) {
			t.Errorf("with an application token %d, %+v", code, got)
		}
	})
}

// personsToken is an application token without limits of its creator.
func personsToken(t *testing.T, in *instance, user id.User, tenant id.Tenant) string {
	t.Helper()
	w := &tokenWorld{t: t, in: in, tenants: map[string]id.Tenant{"": tenant}, users: map[string]*directory.User{"": {ID: user}}}
	_, made, err := in.authn.CreateApplicationToken(w.as("", ""), authn.ApplicationToken{Tenant: tenant, Name: "own"})
	if err != nil {
		t.Fatal(err)
	}
	return made.Reveal()
}
