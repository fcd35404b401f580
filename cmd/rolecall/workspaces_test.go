package main

import (
	"net/http"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// employ makes a member of a tenant with roles and an application token, which
// it returns as a header.
func employ(t *testing.T, in *instance, tenant *directory.Tenant, address string, roles ...string) (*directory.Membership, string) {
	t.Helper()
	ctx := operator(t.Context())
	user := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: address}))
	m := must[*directory.Membership](t)(in.directory.SaveMembership(ctx, tenant.ID, user, directory.MembershipSpec{Roles: append([]string{}, roles...)}))
	token := "a-value-for-" + tenant.Slug + "-" + address
	must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: tenant.ID, Name: address, Creator: user.ID}, secret.NewText(token)))
	return m, "Bearer " + token
}

func opened(t *testing.T, in *instance, spec directory.TenantSpec) *directory.Tenant {
	t.Helper()
	return must[*directory.Tenant](t)(in.directory.SaveTenant(operator(t.Context()), spec))
}

func TestWorkspacesOverTheAPI(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler, op := handlerOf(t, in), "Bearer "+instanceToken
		hub := opened(t, in, directory.TenantSpec{Slug: "hub", Blueprint: "emnify", Tier: "pro"})
		spoke := opened(t, in, directory.TenantSpec{Slug: "spoke", Blueprint: "emnify", Tier: "standard"})
		hubAdmin, admin := employ(t, in, hub, "admin@example.com", "administrator")
		_, second := employ(t, in, hub, "second@example.com", "administrator")
		_, local := employ(t, in, spoke, "local@example.com", "administrator")
		status := func(what string, want int, method, path, who string, body any) problem {
			t.Helper()
			r := call(t, handler, method, "/api/v1/tenants/"+path, who, body, nil)
			if r.Code != want {
				t.Errorf("%s: got %d %s, want %d", what, r.Code, r.Body, want)
			}
			if want >= http.StatusBadRequest {
				return refused(t, r, want)
			}
			return problem{}
		}

		parent := map[string]any{"parent": "hub"}
		if p := status("a member links himself", http.StatusForbidden, http.MethodPut, "spoke/parents/link", local, parent); p.Code != "operator" {
			t.Errorf("got %+v", p)
		}
		status("the hub's member at a tenant beyond reach", http.StatusNotFound, http.MethodPut, "spoke/parents/link", admin, parent)
		status("an operator links", http.StatusNoContent, http.MethodPut, "spoke/parents/link", op, parent)
		status("an unknown relation", http.StatusBadRequest, http.MethodPut, "spoke/parents/friends", op, parent)

		// EM-R10, EM-R36
		var made struct{ ID, Status string }
		ask := map[string]any{"kind": "workspace_create", "fields": map[string]string{"contact_email": "a@example.com"}}
		if r := call(t, handler, http.MethodPost, "/api/v1/tenants/hub/requests", second, ask, &made); r.Code != http.StatusCreated || made.Status != "pending" {
			t.Fatalf("EM-R10: got %d %s", r.Code, r.Body)
		}
		if p := status("EM-R36", http.StatusForbidden, http.MethodPost, "hub/requests", admin, ask); p.Code != "pending" {
			t.Errorf("EM-R36: got %+v", p)
		}
		status("EM-R10 in a spoke", http.StatusForbidden, http.MethodPost, "spoke/requests", local, ask)
		status("one's own approval", http.StatusForbidden, http.MethodPost, "hub/requests/"+made.ID+"/approve", second, map[string]any{"slug": "mine"})
		status("by way of another tenant", http.StatusNotFound, http.MethodPost, "spoke/requests/"+made.ID+"/approve", op, map[string]any{"slug": "mine"})
		status("without a slug", http.StatusBadRequest, http.MethodPost, "hub/requests/"+made.ID+"/approve", op, map[string]any{})
		status("approval", http.StatusOK, http.MethodPost, "hub/requests/"+made.ID+"/approve", op, map[string]any{"slug": "new"})
		if p := status("a second answer", http.StatusConflict, http.MethodPost, "hub/requests/"+made.ID+"/deny", op, map[string]any{"reason": "no"}); p.Code != "decided" {
			t.Errorf("got %+v", p)
		}
		var requests struct {
			Items []struct {
				Status    string
				DecidedBy struct{ Kind string } `json:"decided_by"`
			}
		}
		call(t, handler, http.MethodGet, "/api/v1/tenants/hub/requests", second, nil, &requests)
		if len(requests.Items) != 1 || requests.Items[0].Status != "approved" || requests.Items[0].DecidedBy.Kind != "operator" {
			t.Errorf("requests %+v", requests)
		}
		status("a wrong cursor", http.StatusBadRequest, http.MethodGet, "hub/requests?cursor=x", second, nil)

		var children struct {
			Items []struct{ Slug, Relation string }
		}
		if call(t, handler, http.MethodGet, "/api/v1/tenants/hub/children", op, nil, &children); len(children.Items) != 2 || children.Items[0].Slug != "new" {
			t.Errorf("children %+v", children)
		}
		// An application token is bound to its tenant.
		if call(t, handler, http.MethodGet, "/api/v1/tenants/hub/children", admin, nil, &children); len(children.Items) != 0 {
			t.Errorf("a token sees the children %+v", children)
		}
		var counts struct {
			Items []struct {
				Slug, Role string
				Members    int
			}
		}
		if call(t, handler, http.MethodGet, "/api/v1/tenants/hub/reports/members", op, nil, &counts); len(counts.Items) != 3 {
			t.Errorf("counts %+v", counts)
		}
		status("a report without the package", http.StatusForbidden, http.MethodGet, "spoke/reports/members", local, nil)
		status("a report beyond reach", http.StatusNotFound, http.MethodGet, "hub/reports/members", local, nil)
		if got := must[*directory.Standing](t)(in.directory.Standing(t.Context(), hub.ID, hubAdmin.User)); len(got.Roles) != 1 || got.Roles[0] != "superadmin" {
			t.Errorf("EM-R39: the hub's first administrator is %v", got.Roles)
		}
		status("an operator unlinks", http.StatusNoContent, http.MethodDelete, "spoke/parents/link", op, nil)
		status("what is not linked", http.StatusNotFound, http.MethodDelete, "spoke/parents/link", op, nil)
	})
}

func TestEMR24UnlinkingEndsWhatReachedTheWorkspace(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler, ctx := handlerOf(t, in), operator(t.Context())
		hub := opened(t, in, directory.TenantSpec{Slug: "hub", Blueprint: "emnify", Tier: "pro"})
		spoke := opened(t, in, directory.TenantSpec{Slug: "spoke", Blueprint: "emnify", Tier: "standard"})
		below := opened(t, in, directory.TenantSpec{Slug: "below", Blueprint: "emnify", Tier: "standard"})
		for _, e := range []directory.Edge{{Tenant: spoke.ID, Relation: "link", Parent: "hub"}, {Tenant: below.ID, Relation: "link", Parent: "hub"}} {
			if err := in.directory.Link(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		sa, _ := employ(t, in, hub, "sa@example.com", "superadmin")
		member, own := employ(t, in, spoke, "local@example.com", "administrator")
		reaching := map[string]*directory.Tenant{"Bearer sa-in-spoke": spoke, "Bearer sa-in-below": below}
		for token, tenant := range reaching {
			must[secret.Text](t)(in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: tenant.ID, Name: "sa", Creator: sa.User}, secret.NewText(token[len("Bearer "):])))
		}
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: "portal", Type: oidc.SPA, RedirectURIs: []string{"https://portal.example/"}}))
		grant := func(tenant id.Tenant, m *directory.Membership) *oidc.Grant {
			g := &oidc.Grant{Tenant: tenant, ID: id.New[id.Grant](), Home: m.Tenant, Membership: m.ID, User: m.User, ClientID: "portal", Session: id.New[id.Session](), AuthTime: in.now(), Created: in.now()}
			if err := in.store.CreateGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			return g
		}
		ends, stays, elsewhere := grant(spoke.ID, sa), grant(spoke.ID, member), grant(below.ID, sa)
		works := func(authorization, tenant string) bool {
			return call(t, handler, http.MethodGet, "/api/v1/tenants/"+tenant, authorization, nil, nil).Code == http.StatusOK
		}
		if !works("Bearer sa-in-spoke", "spoke") || !works("Bearer sa-in-below", "below") || !works(own, "spoke") {
			t.Fatal("a token does not work before")
		}

		if err := in.directory.Unlink(ctx, spoke.ID, "link"); err != nil {
			t.Fatal(err)
		}
		if works("Bearer sa-in-spoke", "spoke") {
			t.Error("the application token of one who reached the Workspace only from the hub still works")
		}
		if !works("Bearer sa-in-below", "below") || !works(own, "spoke") {
			t.Error("another token was ended too")
		}
		if err := in.directory.Link(ctx, directory.Edge{Tenant: spoke.ID, Relation: "link", Parent: "hub"}); err != nil {
			t.Fatal(err)
		}
		if works("Bearer sa-in-spoke", "spoke") {
			t.Error("the token comes back with a new link")
		}
		for what, c := range map[string]struct {
			grant *oidc.Grant
			live  bool
		}{"by way of the hub": {ends, false}, "of a member": {stays, true}, "in another Workspace": {elsewhere, true}} {
			if live := must[bool](t)(in.store.RevokeGrant(t.Context(), c.grant.Tenant, c.grant.ID, in.now())); live != c.live {
				t.Errorf("the grant %s is in force: %v, want %v", what, live, c.live)
			}
		}
	})
}

func TestEntitlementsAndContactOverTheAPI(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		handler, op := handlerOf(t, in), "Bearer "+instanceToken
		vendor := opened(t, in, directory.TenantSpec{Slug: "vendor", Blueprint: "timextender", GrantableEntitlements: []string{"partner"}})
		partner := opened(t, in, directory.TenantSpec{Slug: "partner", Blueprint: "timextender"})
		if err := in.directory.Link(operator(t.Context()), directory.Edge{Tenant: partner.ID, Relation: "supply", Parent: "vendor"}); err != nil {
			t.Fatal(err)
		}
		boss, admin := employ(t, in, partner, "admin@partner.example", "company_admin")
		other, plain := employ(t, in, partner, "other@partner.example")
		_, vendors := employ(t, in, vendor, "admin@vendor.example", "company_admin")
		status := func(what string, want int, method, path, who string, body any) {
			t.Helper()
			if r := call(t, handler, method, "/api/v1/tenants/"+path, who, body, nil); r.Code != want {
				t.Errorf("%s: got %d %s, want %d", what, r.Code, r.Body, want)
			}
		}
		passOn := map[string]any{"grantable": true}
		status("TX-R15 by one who does not administer the customer", http.StatusNotFound, http.MethodPut, "vendor/children/partner/entitlements/partner", vendors, passOn)
		status("TX-R15 by the customer", http.StatusNotFound, http.MethodPut, "vendor/children/partner/entitlements/partner", admin, passOn)
		status("TX-R15", http.StatusNoContent, http.MethodPut, "vendor/children/partner/entitlements/partner", op, passOn)
		var all struct {
			Items []struct {
				Key, Source, Giver string
				Grantable          bool
			}
		}
		call(t, handler, http.MethodGet, "/api/v1/tenants/partner/entitlements", admin, nil, &all)
		if len(all.Items) != 1 || all.Items[0].Source != "delegated" || all.Items[0].Giver != string(vendor.ID) || !all.Items[0].Grantable {
			t.Errorf("entitlements %+v", all)
		}
		status("a member gives himself", http.StatusForbidden, http.MethodPut, "partner/entitlements/data_estate", admin, passOn)
		status("a member takes", http.StatusForbidden, http.MethodDelete, "partner/entitlements/partner", admin, nil)
		status("withdrawal", http.StatusNoContent, http.MethodDelete, "vendor/children/partner/entitlements/partner", op, nil)
		status("an operator gives", http.StatusNoContent, http.MethodPut, "partner/entitlements/data_estate", op, passOn)
		status("an operator takes", http.StatusNoContent, http.MethodDelete, "partner/entitlements/data_estate", op, nil)

		status("TX-R18 without the right", http.StatusForbidden, http.MethodPut, "partner/contact", plain, map[string]any{"member": other.ID})
		status("TX-R18", http.StatusNoContent, http.MethodPut, "partner/contact", admin, map[string]any{"member": other.ID})
		var contact struct{ Member string }
		if call(t, handler, http.MethodGet, "/api/v1/tenants/partner/contact", plain, nil, &contact); contact.Member != string(other.ID) || contact.Member == string(boss.ID) {
			t.Errorf("contact %+v", contact)
		}
	})
}
