package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

// Okta finds roles and entitlements by /ResourceTypes and /Schemas, and reads
// them; connections of other profiles see none of it.
func TestOktaReadsRolesAndEntitlements(t *testing.T) {
	t.Parallel()
	const roleURN, entitlementURN = "urn:okta:scim:schemas:core:1.0:Role", "urn:okta:scim:schemas:core:1.0:Entitlement"
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "berlin", Blueprint: "emnify", Entitlements: []string{"mfa_enforced", "sso"}}))
		handler := handlerOf(t, in)
		as := func(profile directory.ConnectionProfile) caller {
			token := "token-of-" + string(profile) + "-0123456789"
			must[secret.Text](t)(in.directory.SaveConnection(ctx, tenant.ID, directory.ConnectionSpec{Name: string(profile), Profile: profile, Token: secret.NewText(token)}))
			return caller{t, handler, "Bearer " + token}
		}
		okta, rfc := as(directory.ProfileOkta), as(directory.ProfileRFC)
		names := func(a answer, member string) []string {
			t.Helper()
			var found []string
			resources, _ := a.want(http.StatusOK).body["Resources"].([]any)
			for _, r := range resources {
				object, _ := r.(map[string]any)
				found = append(found, fmt.Sprint(object[member]))
			}
			return found
		}
		for _, c := range []struct {
			caller caller
			shown  bool
		}{{okta, true}, {rfc, false}, {caller{t, handler, ""}, false}} {
			types, schemas := names(c.caller.send("GET", of("berlin", "/ResourceTypes"), ""), "endpoint"), names(c.caller.send("GET", of("berlin", "/Schemas"), ""), "id")
			if slices.Contains(types, "/Roles") != c.shown || slices.Contains(types, "/Entitlements") != c.shown || slices.Contains(schemas, roleURN) != c.shown || slices.Contains(schemas, entitlementURN) != c.shown {
				t.Errorf("%q sees %v %v", c.caller.authorization, types, schemas)
			}
		}
		okta.send("GET", of("berlin", "/ResourceTypes/Role"), "").want(http.StatusOK).has(map[string]any{"endpoint": "/Roles", "schema": roleURN})
		okta.send("GET", of("berlin", "/Schemas/"+roleURN), "").want(http.StatusOK).has(map[string]any{"id": roleURN})
		rfc.send("GET", of("berlin", "/Roles"), "").want(http.StatusNotFound)
		rfc.send("GET", of("berlin", "/Schemas/"+roleURN), "").want(http.StatusNotFound)

		blueprint := must[*authz.Blueprint](t)(in.blueprints.Version(ctx, tenant.Blueprint, tenant.BlueprintVersion))
		var want []string
		for _, role := range blueprint.Roles() {
			if blueprint.CheckMappable(role.Key) == nil && role.Key != "support" { // which needs an entitlement
				want = append(want, role.Key)
			}
		}
		all := names(okta.send("GET", of("berlin", "/Roles"), ""), "id")
		if !slices.Equal(all, want) || len(all) < 3 {
			t.Errorf("roles %v, want %v", all, want)
		}
		one := okta.send("GET", of("berlin", "/Roles/"+all[1]), "").want(http.StatusOK)
		one.has(map[string]any{"id": all[1], "type": "role", "schemas": []any{roleURN}})
		if one.body["displayName"] == "" || one.header.Get("ETag") == "" {
			t.Errorf("%v %v", one.body, one.header)
		}
		okta.send("GET", of("berlin", "/Roles/nothing"), "").fails(http.StatusNotFound, "", "Role")
		find := func(query string) []string {
			t.Helper()
			return names(okta.send("GET", of("berlin", "/Roles?"+query), ""), "id")
		}
		for query, want := range map[string][]string{
			"filter=" + url.QueryEscape(`id eq "`+all[1]+`"`):                                      {all[1]},
			"filter=" + url.QueryEscape(fmt.Sprintf(`displayName eq %q`, one.body["displayName"])): {all[1]},
			"filter=" + url.QueryEscape(`type eq "role" and not (id eq "`+all[0]+`")`):             all[1:],
			"filter=" + url.QueryEscape(`meta.resourceType eq "Role"`):                             all,
			"filter=" + url.QueryEscape(`type eq "entitlement"`):                                   nil,
			"startIndex=2&count=2":           all[1:3],
			"startIndex=1000":                nil,
			"count=0":                        nil,
			"sortBy=id&sortOrder=descending": sorted(all, true),
			"sortBy=id":                      sorted(all, false),
			"filter=" + url.QueryEscape(`description pr and description co "no such text"`): nil,
		} {
			if got := find(query); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
		okta.send("GET", of("berlin", "/Roles?filter=shade+eq+1"), "").fails(http.StatusBadRequest, "invalidFilter", "shade")
		var walked []string
		for cursor, next := "", true; next; {
			a := okta.send("GET", of("berlin", "/Roles?count=2&cursor="+cursor), "")
			walked = append(walked, names(a, "id")...)
			cursor, next = fmt.Sprint(a.body["nextCursor"]), a.body["nextCursor"] != nil
		}
		if !slices.Equal(walked, all) {
			t.Errorf("by cursor %v", walked)
		}
		search := okta.send("POST", of("berlin", "/Roles/.search"), `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"attributes":["displayName"]}`)
		if got := names(search, "id"); !slices.Equal(got, all) {
			t.Errorf("by .search %v", got)
		}
		if got := names(okta.send("GET", of("berlin", "/Entitlements"), ""), "id"); !slices.Equal(got, []string{"mfa_enforced", "sso"}) {
			t.Errorf("entitlements %v", got)
		}
		for _, method := range []string{"POST /Roles", "PUT /Roles/" + all[0], "PATCH /Roles/" + all[0], "DELETE /Roles/" + all[0], "DELETE /Entitlements/sso"} {
			verb, path, _ := strings.Cut(method, " ")
			if a := okta.send(verb, of("berlin", path), `{}`); a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "GET") {
				t.Errorf("%s: %d %v", method, a.status, a.header)
			}
		}
		if results := bulk(t, handler, "berlin", "token-of-okta-0123456789", `{"method":"DELETE","path":"/Roles/`+all[0]+`"}`); results[0].Status != "404" {
			t.Errorf("in bulk %+v", results)
		}
		// What a person's attributes say gives nothing.
		ann := okta.send("POST", of("berlin", "/Users"), fmt.Sprintf(`{"schemas":[%q],"userName":"ann@berlin.example","roles":[{"value":%q}],"entitlements":[{"value":"sso"}]}`, userURN, all[0])).want(http.StatusCreated)
		ann.has(map[string]any{"roles": []any{map[string]any{"value": all[0]}}, "entitlements": []any{map[string]any{"value": "sso"}}})
		var member struct{ Roles []any }
		call(t, handler, http.MethodGet, "/api/v1/tenants/berlin/members/"+ann.id(), "Bearer "+instanceToken, nil, &member)
		if len(member.Roles) != 0 {
			t.Errorf("ann holds %v", member.Roles)
		}

		// A type of the tenant's own of that name comes first.
		const own = "urn:example:schemas:Own"
		admin := caller{t, handler, "Bearer " + instanceToken}
		admin.send("PUT", "/api/v1/tenants/berlin/scim/schemas/"+own, `{"name":"Own","attributes":[{"name":"shade"}]}`).want(http.StatusOK)
		admin.send("PUT", "/api/v1/tenants/berlin/scim/resource-types/Part", `{"endpoint":"/Roles","schema":"`+own+`"}`).want(http.StatusOK)
		if got := names(okta.send("GET", of("berlin", "/Roles"), ""), "id"); len(got) != 0 {
			t.Errorf("in place of the tenant's own: %v", got)
		}
		okta.send("GET", of("berlin", "/ResourceTypes/Role"), "").want(http.StatusNotFound)
		okta.send("GET", of("berlin", "/Entitlements"), "").want(http.StatusNotFound)
	})
}

func sorted(texts []string, descending bool) []string {
	all := slices.Sorted(slices.Values(texts))
	if descending {
		slices.Reverse(all)
	}
	return all
}
