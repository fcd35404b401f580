package scim_test

import (
	"net/http"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// TestDirectoryMeetsTheRoleSystem: a directory switches off, moves and removes
// whom it likes, but for what the tenant's role system forbids everybody in it.
// The answer is 403 with the reason's code first.
func TestDirectoryMeetsTheRoleSystem(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileEntra)
		owner := c.send("POST", "/Users", map[string]any{"schemas": []string{userURN}, "userName": "owner@acme.example"}).want(http.StatusCreated).at("id").(string)
		acme, err := in.store.TenantByName(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		held := directory.Assignment{Tenant: acme.ID, Membership: id.Membership(owner), Role: "owner", Source: directory.AssignedOperator}
		if err := in.store.Assign(t.Context(), held, in.clock.Now()); err != nil {
			t.Fatal(err)
		}
		off := map[string]any{"schemas": []string{patchURN}, "Operations": []any{map[string]any{"op": "Replace", "path": "active", "value": false}}}
		c.send("PATCH", "/Users/"+owner, off).fails(http.StatusForbidden, "", "last_holder: ")
		c.send("DELETE", "/Users/"+owner, nil).fails(http.StatusForbidden, "", "last_holder: ")
		if c.get("/Users/"+owner).want(http.StatusOK).at("active") != true {
			t.Error("the refused change was half done")
		}
		renamed := map[string]any{"schemas": []string{patchURN}, "Operations": []any{map[string]any{"op": "Replace", "path": "displayName", "value": "Chief"}}}
		c.send("PATCH", "/Users/"+owner, renamed).want(http.StatusOK)

		second := c.send("POST", "/Users", map[string]any{"schemas": []string{userURN}, "userName": "second@acme.example"}).want(http.StatusCreated).at("id").(string)
		held.Membership = id.Membership(second)
		if err := in.store.Assign(t.Context(), held, in.clock.Now()); err != nil {
			t.Fatal(err)
		}
		c.send("PATCH", "/Users/"+owner, off).want(http.StatusOK)
		c.send("DELETE", "/Users/"+second, nil).fails(http.StatusForbidden, "", "last_holder: ")
	})
}
