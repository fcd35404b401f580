package portal_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/upstream"
)

// leavable is a role system in which people may leave by themselves.
const leavable = `
blueprint: leavable
version: 1
tenants: {statuses: {enabled: {sign_in: true}}}
roles:
  boss:  {label: Boss, reach: [self]}
  guest: {label: Guest, about: Looks around., reach: [self]}
columns: [boss, guest]
cells: {Y: reach, '-': none}
permissions:
- area: House
  rows:
  - {row: Leave the house, keys: [house.leave], cells: YY}
  - {row: Burn it down, keys: [house.burn], cells: Y-}
administers: {boss: {any: [boss, guest]}, guest: {delete: [guest]}}
admin_ops: {create: house.burn, update: house.burn, delete: house.leave, suspend: house.burn, grant: house.burn, revoke: house.burn, list: house.leave}
self: {roles: deny, delete: allow}
membership:
  roles: {min: 1, max: null}
  default_tenant: first_accepted
  statuses: {active: {sign_in: true, to: [deleted]}, deleted: {sign_in: false, to: []}}
invariants:
- {rule: min_holders, roles: [boss], per: tenant, n: 1}
`

func (s *site) blueprint(t *testing.T, text string) {
	t.Helper()
	must(s.directory.Upgrade(operator(t), []byte(text), nil))(t)
}

func TestOwnRolesSayWhereTheyComeFrom(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	wantRedirect(t, b.get(t, "/me/tenants"), "/login")
	b.signIn(t)
	wantPage(t, b.get(t, "/me/tenants"), 200, `href="/me/tenants/berlin"`, "Owner", "Munich", "Viewer", "Oslo invites you", `aria-current="page"`)
	wantPage(t, b.get(t, "/me/tenants/berlin"), 200, "Owner", "Given to you by the operator", "Viewer", "Administrator", "Delete users", "Allowed")
	munich := b.get(t, "/me/tenants/munich")
	wantPage(t, munich, 200, `Delete users</th><td class="no">Not allowed`, `List and see users</th><td>Allowed`, "Make it the default")
	if strings.Contains(munich.body, "Service account") {
		t.Error("roles that no person holds are listed")
	}
	// Others' tenants, those that only invite, and what is none look alike.
	var bodies []string
	for _, slug := range []string{"vienna", "oslo", "nowhere", "0198c0de-0000-7000-8000-000000000000"} {
		a := b.get(t, "/me/tenants/"+slug)
		wantPage(t, a, 404, "Page not found")
		bodies = append(bodies, strings.ReplaceAll(a.body, slug, "it"))
	}
	for _, body := range bodies {
		if body != bodies[0] {
			t.Errorf("answers differ:\n%s\n%s", body, bodies[0])
		}
	}
}

func TestDefaultTenantOnTheOwnPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	for _, slug := range []string{"vienna", "oslo", "nowhere"} {
		wantPage(t, b.post(t, "/me/tenants", "default", slug), 404, "Page not found")
	}
	wantRedirect(t, b.post(t, "/me/tenants", "default", "munich"), "/me/tenants?done=default")
	wantPage(t, b.get(t, "/me/tenants/munich"), 200, ">Default<")
}

func TestLeavingATenant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.blueprint(t, leavable)
	house := must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "house", Name: "House", Blueprint: "leavable"}))(t)
	boss := must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "boss@house.example"}))(t)
	must(s.directory.SaveMembership(operator(t), house.ID, boss, directory.MembershipSpec{Roles: []string{"boss"}}))(t)
	must(s.directory.SaveMembership(operator(t), house.ID, s.ann, directory.MembershipSpec{Roles: []string{"guest"}}))(t)
	b := s.browser(t)
	b.signIn(t)
	// The default role system lets nobody delete himself.
	wantPage(t, b.get(t, "/me/tenants/munich"), 200, "can&#39;t leave by themselves here")
	wantPage(t, b.post(t, "/me/tenants", "leave", "munich", "confirm", "yes"), 422, "can&#39;t leave by themselves here")
	for _, slug := range []string{"vienna", "oslo", "nowhere"} {
		wantPage(t, b.post(t, "/me/tenants", "leave", slug, "confirm", "yes"), 404, "Page not found")
	}
	wantPage(t, b.get(t, "/me/tenants/house"), 200, "I want to leave House")
	wantPage(t, b.post(t, "/me/tenants", "leave", "house"), 422, "Tick the box to leave")
	wantRedirect(t, b.post(t, "/me/tenants", "leave", "house", "confirm", "yes"), "/me/tenants?done=left")
	wantPage(t, b.get(t, "/me/tenants/house"), http.StatusNotFound, "Page not found")
	wantPage(t, b.get(t, "/me/tenants?done=left"), 200, "You have left")

	// The last boss stays.
	must(s.directory.SaveMembership(operator(t), house.ID, s.ann, directory.MembershipSpec{Roles: []string{"boss"}}))(t)
	member := must(s.directory.MembershipOf(t.Context(), house.ID, boss.ID))(t)
	if err := s.directory.DeleteMembership(operator(t), house.ID, member.ID, 0); err != nil {
		t.Fatal(err)
	}
	wantPage(t, b.get(t, "/me/tenants/house"), 200, "nobody who can administer it")
	wantPage(t, b.post(t, "/me/tenants", "leave", "house", "confirm", "yes"), 422, "nobody who can administer it")
}

// An account of one's organization can be linked where one is a member and has none
// linked, and only while its provider is enabled.
func TestProvidersThatCanBeLinked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	provider := s.withProvider(t)
	b := s.browser(t)
	b.signIn(t)
	link := "/login/link?provider=" + string(provider.ID)
	wantPage(t, b.get(t, "/me/security"), http.StatusOK, link)
	must(s.upstream.Change(operator(t), provider.Tenant, provider.ID, upstream.Settings{Enabled: new(false)}))(t)
	if page := b.get(t, "/me/security"); strings.Contains(page.body, link) {
		t.Error("a provider that is disabled can be linked")
	}
}
