package portal_test

import (
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

// A name that runs the other way does not turn around what stands beside it
// (HTML §4.5.24): pages set it apart.
func TestNamesOfOtherScriptsStandApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx := operator(t)
	const email = "layla@berlin.example"
	layla := must(s.directory.SaveUser(ctx, directory.UserSpec{Email: email, Name: directory.Name{Given: "ليلى", Family: "حداد"}}))(t)
	if err := s.authn.SetPassword(ctx, layla.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	haifa := must(s.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "haifa", Name: hebrewName}))(t)
	must(s.directory.SaveMembership(ctx, haifa.ID, layla, directory.MembershipSpec{Roles: []string{"owner"}, Status: directory.StatusActive}))(t)
	b := s.browser(t)
	b.get(t, "/login")
	wantRedirect(t, b.post(t, "/login", "login", email, "password", annPassword), "/me")
	for path, names := range map[string][]string{
		"/me":               {"ليلى حداد", hebrewName},
		"/me/tenants":       {hebrewName},
		"/me/tenants/haifa": {hebrewName},
		"/me/tokens":        {hebrewName},
	} {
		for _, name := range names {
			wantPage(t, b.get(t, path), 200, "<bdi>"+name+"</bdi>")
		}
	}
}
