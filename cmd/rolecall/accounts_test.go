package main

import (
	"encoding/base64"
	"net/http"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

// TestServiceAccountsOverTheAPI: 1N-R04, 1N-R07, 1N-R16, 1N-R17. An administrator
// makes an API User, gives it another secret with and without overlap, and
// removes it; a member who administers nobody may not.
func TestServiceAccountsOverTheAPI(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		ctx := operator(t.Context())
		tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "orders", Blueprint: "1nce"}))
		bearer := func(role string) string {
			u := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: role + "@orders.example"}))
			must[*directory.Membership](t)(in.directory.SaveMembership(ctx, tenant.ID, u, directory.MembershipSpec{Roles: []string{role}}))
			token := "rc_of-the-" + role
			must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: tenant.ID, Name: role, Creator: u.ID}, secret.NewText(token)))
			return "Bearer " + token
		}
		owner, user := bearer("owner"), bearer("user")
		const accounts = "/api/v1/tenants/orders/service-accounts"
		question := map[string]any{
			"subject": map[string]string{"type": "user", "id": "owner@orders.example"}, "action": map[string]string{"name": "sims.read"},
			"resource": map[string]string{"type": "tenant", "id": "orders"},
		}
		works := func(clientID, clientSecret string) bool {
			basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(clientID+":"+clientSecret))
			return call(t, handler, http.MethodPost, "/access/v1/evaluation", basic, question, nil).Code == http.StatusOK
		}
		body := map[string]any{"name": "Robot", "roles": []string{"api_user"}}

		refused(t, call(t, handler, http.MethodPost, accounts, user, body, nil), http.StatusUnauthorized) // nothing of the role counts at the API
		if p := refused(t, call(t, handler, http.MethodPost, accounts, owner, map[string]any{"name": "Robot", "roles": []string{}}, nil), http.StatusForbidden); p.Code != "min_roles" {
			t.Errorf("an account without roles: %+v", p)
		}
		refused(t, call(t, handler, http.MethodPost, accounts, owner, map[string]any{"name": "Robot", "roles": []string{"pilot"}}, nil), http.StatusBadRequest)
		var made struct {
			ClientID string `json:"client_id"`
			Secret   string `json:"client_secret"`
			Roles    []string
		}
		if r := call(t, handler, http.MethodPost, accounts, owner, body, &made); r.Code != http.StatusCreated || made.ClientID[:7] != "orders-" || !slices.Equal(made.Roles, []string{"api_user"}) {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		if !works(made.ClientID, made.Secret) || works(made.ClientID, made.Secret+"x") {
			t.Error("the secret that was shown does not work, or another does")
		}
		var listed struct{ Items []map[string]any }
		call(t, handler, http.MethodGet, accounts, owner, nil, &listed)
		if len(listed.Items) != 1 || listed.Items[0]["client_secret"] != nil {
			t.Errorf("listed: %v", listed.Items)
		}
		rotate := func(seconds int) string {
			var next struct {
				Secret string `json:"client_secret"`
			}
			call(t, handler, http.MethodPost, accounts+"/"+made.ClientID+"/rotate", owner, map[string]any{"overlap_seconds": seconds}, &next)
			return next.Secret
		}
		second := rotate(3600)
		if !works(made.ClientID, made.Secret) || !works(made.ClientID, second) {
			t.Error("both secrets should work while they overlap")
		}
		third := rotate(0)
		if works(made.ClientID, made.Secret) || works(made.ClientID, second) || !works(made.ClientID, third) {
			t.Error("without overlap only the new secret works")
		}
		refused(t, call(t, handler, http.MethodDelete, "/api/v1/tenants/orders/service-accounts/nobody", owner, nil, nil), http.StatusNotFound)
		if r := call(t, handler, http.MethodDelete, accounts+"/"+made.ClientID, owner, nil, nil); r.Code != http.StatusNoContent {
			t.Errorf("delete: %d %s", r.Code, r.Body)
		}
		if works(made.ClientID, third) {
			t.Error("a removed account goes on")
		}
	})
}
