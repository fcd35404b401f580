package portal_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// Names that are as long as they get, have no place to break, or run the other way.
const (
	longName    = "Vereinigte Norddeutsche Fernmelde- und Kabelgesellschaft mbH"
	oneWordName = "Donaudampfschifffahrtsgesellschaftskapitaenswitwenrentenkasse"
	arabicName  = "شركة الاتصالات العالمية (المحدودة) 2026"
	hebrewName  = "חברת התקשורת"
)

// filled gives Ann twenty passkeys, a dozen of all else, and two hundred tenants.
func (s *site) filled(t *testing.T) {
	t.Helper()
	ctx := operator(t)
	agents := []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "", "curl/8.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
	}
	names := []string{longName, oneWordName, arabicName, hebrewName}
	for i := range 20 {
		p := &authn.Passkey{ID: id.New[id.Passkey](), User: s.ann.ID, CredentialID: []byte{byte(i)}, PublicKey: []byte{1}, AAGUID: make([]byte, 16), Name: names[i%4], BackupEligible: i%2 == 0, Created: s.clock()}
		if err := s.store.CreatePasskey(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	berlin := must(s.directory.Tenant(ctx, "berlin"))(t)
	m := must(s.store.MembershipOfUser(ctx, berlin.ID, s.ann.ID))(t)
	for i := range 12 {
		agent, address := agents[i%4], "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
		now := s.clock().Add(-time.Duration(i) * time.Hour)
		d := &authn.TrustedDevice{ID: id.New[id.TrustedDevice](), User: s.ann.ID, UserAgent: agent, Address: address, TrustedAt: now, LastUsed: now, Expires: now.AddDate(0, 0, 30)}
		session := &authn.Session{
			ID: id.New[id.Session](), User: s.ann.ID, AuthTime: now, ACR: authn.ACR1, AMR: []string{"pwd"}, Created: now, LastSeen: now,
			Expires: now.AddDate(0, 0, 30), UserAgent: agent, Address: address,
		}
		application := oidc.ApplicationSpec{
			ClientID: fmt.Sprintf("app-%d", i), Name: names[i%4], Type: oidc.Web, RedirectURIs: []string{"https://shop.example/callback"}, Secret: secret.Random(""),
		}
		token := &authn.StoredToken{Hash: secret.Random("").Hash(), ApplicationToken: authn.ApplicationToken{
			ID: id.New[id.ApplicationToken](), Tenant: berlin.ID, Creator: s.ann.ID, Name: fmt.Sprintf("%d %s", i, names[i%4]), Description: names[(i+1)%4], Created: now,
		}}
		grant := &oidc.Grant{
			Tenant: berlin.ID, ID: id.New[id.Grant](), Home: berlin.ID, Membership: m.ID, User: s.ann.ID, ClientID: application.ClientID, Session: session.ID,
			Scopes: []string{"openid", "profile", "email", "groups", "permissions", "tenants"}, AuthTime: now, ACR: authn.ACR1, Created: now,
		}
		for _, err := range []error{
			s.store.CreateTrustedDevice(ctx, d, secret.Random("").Hash()), s.store.CreateSession(ctx, session, secret.Random("").Hash()),
			second(s.oidc.PutApplication(ctx, application)), s.store.CreateGrant(ctx, grant), s.store.CreateApplicationToken(ctx, token),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 198 {
		spec := directory.TenantSpec{Slug: fmt.Sprintf("tenant-%d", i), Name: fmt.Sprintf("%s %d", names[i%4], i)}
		tenant := must(s.directory.SaveTenant(ctx, spec))(t)
		must(s.directory.SaveMembership(ctx, tenant.ID, s.ann, directory.MembershipSpec{Roles: []string{"member"}, Status: directory.StatusActive}))(t)
	}
}

func second[T any](_ T, err error) error { return err }

// ux.md §3.3: pages of somebody who has very much of everything, whose names are long
// and run both ways.
func TestOwnPagesWithMuch(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	c.site.filled(t)
	for _, own := range []struct{ name, path string }{
		{"much-me", "/me"},
		{"much-security", "/me/security"},
		{"much-tenants", "/me/tenants"},
		{"much-tokens", "/me/tokens"},
		{"much-applications", "/me/applications"},
		{"much-activity", "/me/activity"},
	} {
		c.run(t, c.open(own.path), chromedp.WaitVisible("main"))
		c.see(t, own.name)
	}
}

// The same pages of somebody of whom there is nothing but the login.
func TestOwnPagesWithNothing(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	const email = "nobody.in.particular@berlin.example"
	nobody := must(c.site.directory.SaveUser(operator(t), directory.UserSpec{Email: email}))(t)
	if err := c.site.authn.SetPassword(operator(t), nobody.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.open("/login"), chromedp.SendKeys("#username", email), chromedp.SendKeys("#password", annPassword), chromedp.Click("#submit_button"), c.at("/me"))
	for _, own := range []struct{ name, path string }{
		{"nothing-me", "/me"},
		{"nothing-profile", "/me/profile"},
		{"nothing-security", "/me/security"},
		{"nothing-tenants", "/me/tenants"},
		{"nothing-tokens", "/me/tokens"},
		{"nothing-applications", "/me/applications"},
		{"nothing-activity", "/me/activity"},
	} {
		c.run(t, c.open(own.path), chromedp.WaitVisible("main"))
		c.see(t, own.name)
	}
}
