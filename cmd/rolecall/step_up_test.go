package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// TestStepUpChallenge is RFC 9470 §3: a token from a sign-in by a password alone, in
// a tenant that has come to ask for a second factor, is refused with the way to a
// better one; and only such a token.
func TestStepUpChallenge(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler, ctx := handlerOf(t, in), operator(t.Context())
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: web, Type: oidc.Web, RedirectURIs: []string{webRedirect}, API: true}))
		home := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "home"}))
		mia := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "mia@example.com"}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, home.ID, mia, directory.MembershipSpec{Roles: []string{"owner"}}))
		weak := signedInBy(t, in, mia.ID, "home", authn.ACR1, oidc.ScopeOpenID, oidc.ScopeAPI)
		strong := signedInFor(t, in, mia.ID, "home", oidc.ScopeOpenID, oidc.ScopeAPI)
		ask := func(token, path string) (status int, challenge string) {
			t.Helper()
			request := httptest.NewRequest(http.MethodGet, path, nil)
			request.Header.Set("Authorization", "Bearer "+token)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			return recorder.Code, recorder.Header().Get("WWW-Authenticate")
		}
		paths := []string{"/api/v1/tenants/home/members", "/t/home/scim/v2/Me", "/oauth2/userinfo"}
		for _, path := range paths {
			if status, _ := ask(weak, path); status != http.StatusOK {
				t.Errorf("before: %s answers %d", path, status)
			}
		}
		must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "home", Policy: &directory.Policy{MFA: directory.MFARequired}}))
		for _, path := range paths {
			status, challenge := ask(weak, path)
			if status != http.StatusUnauthorized || !strings.Contains(challenge, `error="insufficient_user_authentication"`) || !strings.Contains(challenge, `acr_values="`+authn.ACR2+`"`) {
				t.Errorf("%s answers %d with %s", path, status, challenge)
			}
			if status, _ := ask(strong, path); status != http.StatusOK {
				t.Errorf("%s answers %d to who has shown two factors", path, status)
			}
			if _, challenge := ask(weak+"x", path); strings.Contains(challenge, "insufficient_user_authentication") {
				t.Errorf("%s tells a stranger %s", path, challenge)
			}
		}
		a := must[*oidc.Application](t)(in.oidc.Application(ctx, web))
		if err := in.oidc.Revoke(ctx, a, secret.NewText(weak)); err != nil {
			t.Fatal(err)
		}
		must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "home", Policy: &directory.Policy{}}))
		for _, path := range paths {
			if status, challenge := ask(weak, path); status != http.StatusUnauthorized || strings.Contains(challenge, "insufficient_user_authentication") {
				t.Errorf("revoked while it waited for a second factor: %s answers %d with %s", path, status, challenge)
			}
		}
	})
}
