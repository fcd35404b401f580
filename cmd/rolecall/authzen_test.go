package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// instanceToken is the operator's application token in these tests.
const instanceToken = "rc_operator-of-the-tests"

// authZEN asks a server as a program does.
func authZEN(t *testing.T, handler http.Handler, path, authorization, body string, into any) int {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", authorization)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if into != nil {
		if err := json.Unmarshal(recorder.Body.Bytes(), into); err != nil {
			t.Fatalf("%d %s: %v", recorder.Code, recorder.Body, err)
		}
	}
	return recorder.Code
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// cell is one cell of a vendor's table.
type cell struct {
	role, key string
	want      bool
}

// cells reads a table in the vendor's row order. A hub's tenant is asked about,
// so "hub" is yes.
func cells(t *testing.T, name string) []cell {
	t.Helper()
	text := must[[]byte](t)(os.ReadFile(filepath.Join("..", "..", "authz", "testdata", "matrix", name+".txt")))
	var all []cell
	var roles []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], "["):
		case words[0] == "key":
			roles = words[1 : len(words)-1]
		case !strings.HasPrefix(words[0], "administers:"): // who administers whom is no permission
			for i, role := range roles {
				all = append(all, cell{role, words[0], words[i+1] != "no"})
			}
		}
	}
	return all
}

// TestAuthZENAnswersEveryCell asks a server on each database for each cell of
// the portals' tables, with a person, or a service account, of that role.
func TestAuthZENAnswersEveryCell(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		total := 0
		for _, name := range must[[]string](t)(in.blueprints.Names(t.Context())) {
			b := must[*authz.Blueprint](t)(in.blueprints.InForce(t.Context(), name))
			subjects := peopleOfEveryRole(t, in, b)
			for _, c := range cells(t, name) {
				role := must[authz.Role](t)(b.Role(c.role))
				channel := "portal"
				if role.Channels&authz.ChannelPortal == 0 {
					channel = "api"
				}
				var got struct{ Decision bool }
				body := must[[]byte](t)(json.Marshal(map[string]any{
					"subject": subjects[c.role], "action": map[string]string{"name": c.key},
					"resource": map[string]string{"type": "tenant", "id": "t-" + name}, "context": map[string]any{"channel": channel},
				}))
				if code := authZEN(t, handler, "/access/v1/evaluation", "Bearer "+instanceToken, string(body), &got); code != http.StatusOK || got.Decision != c.want {
					t.Errorf("%s: %s of %s: got %d %v, want %v", name, c.key, c.role, code, got.Decision, c.want)
				}
				total++
			}
		}
		if total < 1000 {
			t.Errorf("only %d cells were read", total)
		}
	})
}

func handlerOf(t *testing.T, in *instance) http.Handler {
	t.Helper()
	ctx := operator(t.Context())
	yes := true
	u := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "op@example.com", Operator: &yes}))
	must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Name: "op", Creator: u.ID}, secret.NewText(instanceToken)))
	srv, err := in.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return srv.Handler()
}

// peopleOfEveryRole makes the tenant "t-" + name with every entitlement, and a
// subject for each role.
func peopleOfEveryRole(t *testing.T, in *instance, b *authz.Blueprint) map[string]map[string]string {
	t.Helper()
	ctx := operator(t.Context())
	tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{
		Slug: "t-" + b.Name(), Blueprint: b.Name(), Entitlements: b.Document().Entitlements.Keys(),
	}))
	subjects := map[string]map[string]string{}
	for _, role := range b.Roles() {
		name := strings.ReplaceAll(role.Key, "_", "-") + "-" + b.Name()
		if role.HoldersKind == authz.ServiceHolders {
			must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: name, Type: oidc.Machine, Tenant: tenant.ID, Roles: []string{role.Key}}))
			subjects[role.Key] = map[string]string{"type": "application", "id": name}
			continue
		}
		user := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: name + "@example.com"}))
		m := must[*directory.Membership](t)(in.directory.SaveMembership(ctx, tenant.ID, user, directory.MembershipSpec{Roles: []string{}}))
		if !role.Implicit && role.Resource == "" { // a locked role has holders from before it was locked
			a := directory.Assignment{Tenant: tenant.ID, Membership: m.ID, Role: role.Key, Source: directory.AssignedOperator}
			if err := in.store.Assign(ctx, a, in.now()); err != nil {
				t.Fatal(err)
			}
		}
		subjects[role.Key] = map[string]string{"type": "user", "id": user.Email}
	}
	return subjects
}

func TestAuthZENExplainsAndKeepsTenantsApart(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		ctx := operator(t.Context())
		var ids []id.Tenant
		for _, spec := range []directory.TenantSpec{{Slug: "main", Blueprint: "emnify"}, {Slug: "berlin", Blueprint: "emnify"}, {Slug: "other", Blueprint: "emnify"}} {
			ids = append(ids, must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, spec)).ID)
		}
		if err := in.directory.Link(ctx, directory.Edge{Tenant: ids[1], Relation: "link", Parent: "main"}); err != nil {
			t.Fatal(err)
		}
		sa := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "sa@example.com"}))
		m := must[*directory.Membership](t)(in.directory.SaveMembership(ctx, ids[0], sa, directory.MembershipSpec{Roles: []string{"superadmin"}}))
		must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: ids[0], Name: "ci", Creator: sa.ID}, secret.NewText("rc_of-main")))
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine, Tenant: ids[2], Roles: []string{"observer"}, Secret: secret.NewText("s3+cret")}))

		ask := func(authorization, tenant string) (code int, allowed bool, e authz.Explanation) {
			t.Helper()
			var got struct {
				Decision bool
				Context  authz.Explanation
			}
			code = authZEN(t, handler, "/access/v1/evaluation", authorization, `{"subject":{"type":"user","id":"SA@example.com"},
				"action":{"name":"users.update"},"resource":{"type":"tenant","id":"`+tenant+`"},"context":{"explain":true}}`, &got)
			return code, got.Decision, got.Context
		}
		code, allowed, e := ask("Bearer rc_of-main", "berlin")
		want := authz.Source{Role: "superadmin", HeldIn: "main", Selector: "link.spokes"}
		if code != http.StatusOK || !allowed || len(e.GrantedBy) != 1 {
			t.Fatalf("got %d %v %+v", code, allowed, e)
		}
		if got := e.GrantedBy[0]; got.Role != want.Role || got.HeldIn != want.HeldIn || got.Selector != want.Selector {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if _, allowed, e := ask("Bearer "+instanceToken, "other"); allowed || e.RemovedBy == nil || e.RemovedBy.Stage != authz.StageNoRole {
			t.Errorf("a tenant beyond the role's reach: got %v %+v", allowed, e)
		}
		_, _, beyond := ask("Bearer rc_of-main", "other")
		_, _, none := ask("Bearer rc_of-main", "nowhere")
		if beyond.RemovedBy == nil || none.RemovedBy == nil || beyond.RemovedBy.Stage != none.RemovedBy.Stage {
			t.Errorf("a caller can tell a tenant beyond its reach (%+v) from none (%+v)", beyond.RemovedBy, none.RemovedBy)
		}
		if code, _, e := ask("Basic cm9ib3Q6czMlMkJjcmV0", "other"); code != http.StatusOK || e.RemovedBy == nil || e.RemovedBy.Stage != authz.StageNoRole {
			t.Errorf("client credentials in their own tenant: got %d %+v", code, e)
		}
		for _, bad := range []string{"", "Bearer nonsense", "Basic cm9ib3Q6bm8=", "Bearer"} {
			if code, _, _ := ask(bad, "berlin"); code != http.StatusUnauthorized {
				t.Errorf("authorization %q: got %d, want 401", bad, code)
			}
		}
		// A second administrator lets the first one go: what the person held, the
		// token and the rights in the linked tenant end with the membership.
		second := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "adm@example.com"}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, ids[0], second, directory.MembershipSpec{Roles: []string{"administrator"}}))
		must[*directory.Membership](t)(in.directory.Suspend(ctx, ids[0], m.ID))
		if code, _, _ := ask("Bearer rc_of-main", "main"); code != http.StatusUnauthorized {
			t.Errorf("the token of a suspended person: got %d, want 401", code)
		}
		if _, allowed, e := ask("Bearer "+instanceToken, "berlin"); allowed || e.RemovedBy == nil || e.RemovedBy.Stage != authz.StageStatus {
			t.Errorf("a suspended person: got %v %+v, want the stage status", allowed, e.RemovedBy)
		}
	})
}

func TestAuthZENEvaluations(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		must[*directory.Tenant](t)(in.directory.SaveTenant(operator(t.Context()), directory.TenantSpec{Slug: "a"}))
		ask := func(body string) (code int, answers int) {
			t.Helper()
			var got struct{ Evaluations []struct{ Decision bool } }
			code = authZEN(t, handler, "/access/v1/evaluations", "Bearer "+instanceToken, body, &got)
			return code, len(got.Evaluations)
		}
		const common = `{"subject":{"type":"user","id":"op@example.com"},"resource":{"type":"tenant","id":"a"},`
		for body, want := range map[string]int{
			common + `"evaluations":[{"action":{"name":"users.list"}},{"action":{"name":"users.update"}}]}`:                                              2,
			common + `"evaluations":[{"action":{"name":"users.list"}},{"action":{"name":"x"}}],"options":{"evaluations_semantic":"deny_on_first_deny"}}`: 1,
		} {
			if code, answers := ask(body); code != http.StatusOK || answers != want {
				t.Errorf("%s: got %d with %d answers, want %d", body, code, answers, want)
			}
		}
		for _, bad := range []string{
			`[]`, `{}`, common + `"evaluations":[{}]}`,
			common + `"action":{"name":"x"},"context":{"channel":"fax"}}`,
			common + `"evaluations":[{"action":{"name":"x"}}],"options":{"evaluations_semantic":"maybe"}}`,
		} {
			if code, _ := ask(bad); code != http.StatusBadRequest {
				t.Errorf("%s: got %d, want 400", bad, code)
			}
		}
	})
}
