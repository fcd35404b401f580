package portal_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
)

// TestReachedTenantsAreShownWithTheirRoles: who reaches a tenant from another
// one sees by which role (EM-R01), though he holds none in the tenant itself.
func TestReachedTenantsAreShownWithTheirRoles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx := operator(t)
	hub := must(s.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "hub", Name: "Hub", Blueprint: "emnify"}))(t)
	spoke := must(s.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "spoke", Name: "Linked Workspace", Blueprint: "emnify"}))(t)
	if err := s.directory.Link(ctx, directory.Edge{Tenant: spoke.ID, Relation: "link", Parent: "hub"}); err != nil {
		t.Fatal(err)
	}
	must(s.directory.SaveMembership(ctx, hub.ID, s.ann, directory.MembershipSpec{Roles: []string{"superadmin"}}))(t)
	b := s.browser(t)
	b.signIn(t)
	page := b.get(t, "/me")
	wantPage(t, page, 200, "Linked Workspace")
	_, after, _ := strings.Cut(page.body, "Linked Workspace")
	_, after, _ = strings.Cut(after, `<p class="roles">`)
	if roles, _, _ := strings.Cut(after, "</p>"); roles != "SuperAdmin" {
		t.Errorf("beside the linked workspace stands %q", roles)
	}
}
