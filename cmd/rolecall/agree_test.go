package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// web is the application by which people sign in in these tests.
const (
	web         = "web-of-the-tests"
	webRedirect = "https://app.example/callback"
)

// signedIn returns an access token of the person in the tenant, or "" where the
// person is led to choose another one. The session is one with a second factor.
func signedIn(t *testing.T, in *instance, user id.User, tenant string) string {
	t.Helper()
	return signedInFor(t, in, user, tenant, oidc.ScopeOpenID, oidc.ScopePermissions, oidc.ScopeTenants)
}

// signedInFor is signedIn for other scopes.
func signedInFor(t *testing.T, in *instance, user id.User, tenant string, scopes ...string) string {
	t.Helper()
	return signedInBy(t, in, user, tenant, authn.ACR2, scopes...)
}

// signedInBy is signedInFor with what the session has shown of the person.
func signedInBy(t *testing.T, in *instance, user id.User, tenant string, acr string, scopes ...string) string {
	t.Helper()
	ctx := t.Context()
	now := in.now()
	session := &authn.Session{
		ID: id.New[id.Session](), User: user, AuthTime: now, ACR: acr, AMR: []string{"pwd", "otp", "mfa"},
		Created: now, LastSeen: now, Expires: now.Add(time.Hour),
	}
	if err := in.store.CreateSession(ctx, session, secret.Random("").Hash()); err != nil {
		t.Fatal(err)
	}
	verifier := strings.Repeat("verifier", 8)
	sum := sha256.Sum256([]byte(verifier))
	r := in.oidc.NewRequest(web, secret.Random(""), oidc.Parameters{
		RedirectURI: webRedirect, ResponseMode: oidc.ModeQuery, TenantName: tenant,
		Scopes:    append(scopes, "tenant:"+tenant),
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
	})
	step, err := in.oidc.Begin(ctx, r, session)
	if err != nil {
		t.Fatal(err)
	}
	if step != oidc.StepDone {
		return ""
	}
	code := must[secret.Text](t)(in.oidc.Authorize(ctx, r, session, false))
	a := must[*oidc.Application](t)(in.oidc.Application(ctx, web))
	return must[*oidc.Tokens](t)(in.oidc.Exchange(ctx, a, code, webRedirect, verifier, oidc.Terms{})).Access
}

type claims struct {
	ACR         string
	AMR         []string
	Tenant      string
	Roles       []string
	Permissions []string
	Tenants     []struct{ Tenant string }
}

// userInfo asks the server what a token is worth now.
func userInfo(t *testing.T, handler http.Handler, token string) (int, claims) {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/oauth2/userinfo", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var c claims
	if recorder.Code == http.StatusOK {
		if err := json.Unmarshal(recorder.Body.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
	}
	return recorder.Code, c
}

// payload returns the claims of a signed token.
func payload(t *testing.T, token string) claims {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no signed token: %q", token)
	}
	var c claims
	if err := json.Unmarshal(must[[]byte](t)(base64.RawURLEncoding.DecodeString(parts[1])), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// allowed returns, sorted, which of the permissions AuthZEN says yes to.
func allowed(t *testing.T, handler http.Handler, subject map[string]string, tenant, channel string, keys []string) []string {
	t.Helper()
	yes := []string{}
	for some := range slices.Chunk(keys, 100) {
		var questions []map[string]any
		for _, key := range some {
			questions = append(questions, map[string]any{"action": map[string]string{"name": key}})
		}
		body := must[[]byte](t)(json.Marshal(map[string]any{
			"subject": subject, "resource": map[string]string{"type": "tenant", "id": tenant},
			"context": map[string]string{"channel": channel}, "evaluations": questions,
		}))
		var got struct{ Evaluations []struct{ Decision bool } }
		if code := authZEN(t, handler, "/access/v1/evaluations", "Bearer "+instanceToken, string(body), &got); code != http.StatusOK {
			t.Fatalf("evaluations: %d", code)
		}
		for i, answer := range got.Evaluations {
			if answer.Decision {
				yes = append(yes, some[i])
			}
		}
	}
	slices.Sort(yes)
	return yes
}

// TestClaimsAgreeWithDecisions holds that the claim permissions is what AuthZEN
// says yes to, for people of each role at home and in a tenant below, and that
// nobody gets a token where AuthZEN says no to everything (model.md §5.6; TX-R04,
// EM-R01, EM-R12).
func TestClaimsAgreeWithDecisions(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		ctx := operator(t.Context())
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: web, Type: oidc.Web, RedirectURIs: []string{webRedirect}}))
		reached := 0
		for _, name := range must[[]string](t)(in.blueprints.Names(ctx)) {
			b := must[*authz.Blueprint](t)(in.blueprints.InForce(ctx, name))
			subjects := peopleOfEveryRole(t, in, b)
			tenants := []string{"t-" + name}
			for _, relation := range b.Document().Tenants.Relations.Keys() {
				below := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{
					Slug: relation + "-" + name, Blueprint: name, Entitlements: b.Document().Entitlements.Keys(),
				}))
				if err := in.directory.Link(ctx, directory.Edge{Tenant: below.ID, Relation: relation, Parent: "t-" + name}); err != nil {
					t.Fatal(err)
				}
				tenants = append(tenants, below.Slug)
			}
			for role, subject := range subjects {
				if subject["type"] == "application" {
					a := must[*oidc.Application](t)(in.oidc.Application(ctx, subject["id"]))
					token := must[*oidc.Tokens](t)(in.oidc.ClientCredentials(ctx, a, oidc.ScopePermissions, oidc.Terms{})).Access
					if got, want := payload(t, token).Permissions, allowed(t, handler, subject, tenants[0], "api", b.Permissions()); !slices.Equal(got, want) {
						t.Errorf("%s: the service account %s: claims %v, AuthZEN %v", name, role, got, want)
					}
					continue
				}
				user := must[*directory.User](t)(in.directory.UserByName(ctx, subject["id"])).ID
				for i, tenant := range tenants {
					want := allowed(t, handler, subject, tenant, "portal", b.Permissions())
					token := signedIn(t, in, user, tenant)
					if token == "" {
						if len(want) > 0 || i == 0 {
							t.Errorf("%s: %s gets no token in %s, AuthZEN allows %v", name, role, tenant, want)
						}
						continue
					}
					if i > 0 {
						reached++
						if len(want) == 0 {
							t.Errorf("%s: %s got a token in %s and may do nothing there", name, role, tenant)
						}
					}
					signed := payload(t, token)
					if !slices.Equal(signed.Permissions, want) {
						t.Errorf("%s: %s in %s: claims %v, AuthZEN %v", name, role, tenant, signed.Permissions, want)
					}
					if !slices.ContainsFunc(signed.Tenants, func(c struct{ Tenant string }) bool { return c.Tenant == tenant }) {
						t.Errorf("%s: %s in %s: the claim tenants leaves it out: %v", name, role, tenant, signed.Tenants)
					}
					if code, info := userInfo(t, handler, token); code != http.StatusOK || !slices.Equal(info.Permissions, want) || info.Tenant != tenant {
						t.Errorf("%s: %s in %s: userinfo %d %v, AuthZEN %v", name, role, tenant, code, info, want)
					}
				}
			}
		}
		if reached < 2 {
			t.Errorf("%d tokens in tenants that are only reached: the test asks for the wrong things", reached)
		}
	})
}

// TestChangesAreSeenAtOnce changes what decisions look at, one thing after the
// other, under a token that was issued before.
func TestChangesAreSeenAtOnce(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		ctx := operator(t.Context())
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: web, Type: oidc.Web, RedirectURIs: []string{webRedirect}}))
		hub := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "hub", Blueprint: "emnify", Entitlements: []string{"multi_workspace"}}))
		spoke := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "spoke", Blueprint: "emnify", Entitlements: []string{"multi_workspace"}}))
		if err := in.directory.Link(ctx, directory.Edge{Tenant: spoke.ID, Relation: "link", Parent: "hub"}); err != nil {
			t.Fatal(err)
		}
		sa := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "sa@example.com"}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, hub.ID, sa, directory.MembershipSpec{Roles: []string{"superadmin"}}))
		subject := map[string]string{"type": "user", "id": "sa@example.com"}
		may := func(permission string) bool {
			return len(allowed(t, handler, subject, "spoke", "portal", []string{permission})) == 1
		}
		token := signedIn(t, in, sa.ID, "spoke")
		if code, info := userInfo(t, handler, token); code != http.StatusOK || !slices.Contains(info.Permissions, "users.update") || !slices.Contains(info.Roles, "superadmin") {
			t.Fatalf("a token by reach: %d %+v", code, info)
		}
		entitle := func(entitlements []directory.Entitlement) {
			t.Helper()
			must[*directory.Tenant](t)(in.store.UpdateTenant(ctx, spoke.ID, func(tenant *directory.Tenant) error {
				tenant.Entitlements = entitlements
				return nil
			}))
		}
		if !may("workspaces.request_link") {
			t.Fatal("the entitlement does not count")
		}
		entitle(nil)
		if may("workspaces.request_link") {
			t.Error("an entitlement that is gone still counts")
		}
		if _, info := userInfo(t, handler, token); slices.Contains(info.Permissions, "workspaces.request_link") {
			t.Error("an entitlement that is gone still counts in userinfo")
		}
		entitle([]directory.Entitlement{{Key: "mfa_enforced", Source: directory.EntitledOperator}})
		if code, _ := userInfo(t, handler, token); code != http.StatusOK { // the session has a second factor
			t.Errorf("userinfo with a second factor: %d", code)
		}
		must[*directory.Tenant](t)(in.store.UpdateTenant(ctx, hub.ID, func(tenant *directory.Tenant) error {
			tenant.Status = "suspended"
			return nil
		}))
		if may("users.update") {
			t.Error("a role in a suspended tenant still reaches on")
		}
		if code, _ := userInfo(t, handler, token); code != http.StatusUnauthorized {
			t.Errorf("a token by reach from a suspended tenant: %d, want 401", code)
		}
		must[*directory.Tenant](t)(in.store.UpdateTenant(ctx, hub.ID, func(tenant *directory.Tenant) error {
			tenant.Status = "enabled"
			return nil
		}))
		if code, _ := userInfo(t, handler, token); code != http.StatusOK || !may("users.update") {
			t.Errorf("the tenant is back, the token is not: %d", code)
		}
		if err := in.directory.Unlink(ctx, spoke.ID, "link"); err != nil {
			t.Fatal(err)
		}
		if code, _ := userInfo(t, handler, token); code != http.StatusUnauthorized || may("users.update") {
			t.Errorf("the link is gone: %d, want 401", code)
		}
	})
}

// TestEM_R25 holds that a tenant's plan can demand a second factor, of those who
// sign in and of those who have.
func TestEM_R25(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "a", Blueprint: "emnify"}))
		user := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "u@example.com"}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, tenant.ID, user, directory.MembershipSpec{Roles: []string{"user"}}))
		demanded := func() bool {
			t.Helper()
			now := must[*directory.Tenant](t)(in.store.Tenant(ctx, tenant.ID))
			rights := directory.NewRights(in.store, in.blueprints)
			asked := must[bool](t)(rights.SecondFactor(ctx, directory.Presence{
				User: user.ID, Tenant: now.ID, Version: now.Version, Blueprint: now.Blueprint, BlueprintVersion: now.BlueprintVersion,
			}))
			st := must[*directory.Standing](t)(in.directory.Standing(ctx, tenant.ID, user.ID))
			if st.SecondFactor != asked {
				t.Errorf("at the sign-in %v, afterwards %v", st.SecondFactor, asked)
			}
			return asked
		}
		if demanded() {
			t.Error("a second factor is demanded of a plan without it")
		}
		must[*directory.Tenant](t)(in.store.UpdateTenant(ctx, tenant.ID, func(tenant *directory.Tenant) error {
			tenant.Entitlements = []directory.Entitlement{{Key: "mfa_enforced", Source: directory.EntitledOperator}}
			return nil
		}))
		if !demanded() {
			t.Error("no second factor is demanded though the plan enforces it")
		}
	})
}
