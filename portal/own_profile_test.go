package portal_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

func TestOwnProfile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	wantRedirect(t, b.get(t, "/me/profile"), "/login")
	b.signIn(t)
	// The default role system fixes the address (EM-R32), and not the name.
	wantPage(t, b.get(t, "/me/profile"), 200, `value="Ann"`, `value="Berg"`, "Fixed by Berlin", annEmail)
	wantPage(t, b.post(t, "/me/profile", "given", " ", "family", "Berg"), 422, "Enter a first name", `aria-invalid="true"`)
	wantPage(t, b.post(t, "/me/profile", "given", "Ann", "family", strings.Repeat("x", 101)), 422, "At most 100 characters")
	wantRedirect(t, b.post(t, "/me/profile", "given", "Anna", "family", "Berger", "language", "de", "email", "anna@elsewhere.example"), "/me/profile?done=1")
	ann := must(s.directory.UserByName(t.Context(), string(s.ann.ID)))(t)
	if ann.Name.String() != "Anna Berger" || ann.Locale != "de" || ann.Email != annEmail {
		t.Errorf("got %+v", ann)
	}
	berlin := must(s.directory.Tenant(t.Context(), "berlin"))(t)
	member := must(s.directory.MembershipOf(t.Context(), berlin.ID, s.ann.ID))(t)
	if member.Profile["displayName"] != "Anna Berger" {
		t.Errorf("the membership's profile is %v", member.Profile)
	}
	oslo := must(s.directory.Tenant(t.Context(), "oslo"))(t)
	if invited := must(s.directory.MembershipOf(t.Context(), oslo.ID, s.ann.ID))(t); invited.Profile["displayName"] != "Ann Berg" {
		t.Errorf("a tenant that only invites learns of it: %v", invited.Profile)
	}
	wantPage(t, b.get(t, "/me/activity"), 200, "Profil geändert") // in the language that was chosen
}

// A role system that fixes the name is enough, whatever others say.
func TestOwnProfileThatARoleSystemFixes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.blueprint(t, leavable)
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "house", Name: "House", Blueprint: "leavable"}))(t)
	s.memberAs(t, s.ann, "House", "boss")
	b := s.browser(t)
	b.signIn(t)
	wantPage(t, b.get(t, "/me/profile"), 200, "Fixed by House", "disabled")
	wantPage(t, b.post(t, "/me/profile", "given", "Eve"), 403, "not yours to change")
	wantRedirect(t, b.post(t, "/me/profile", "language", "fr"), "/me/profile?done=1")
	if ann := must(s.directory.UserByName(t.Context(), string(s.ann.ID)))(t); ann.Name.Given != "Ann" || ann.Locale != "fr" {
		t.Errorf("got %+v", ann)
	}
}

// Whom a directory manages it describes, and it alone says who leaves.
func TestOwnProfileThatADirectoryKeeps(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	acme := must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "acme", Name: "Acme", Domains: []string{"acme.example"}}))(t)
	must(s.directory.SaveConnection(operator(t), acme.ID, directory.ConnectionSpec{Name: "Entra ID", Profile: directory.ProfileEntra}))(t)
	push := authz.NewContext(t.Context(), authz.Principal{Kind: authz.ConnectionPrincipal, Tenant: acme.ID})
	pushed := must(s.directory.CreateMembership(push, acme.ID, map[string]any{
		"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "carl@acme.example", "timezone": "Asia/Tokyo", "name": map[string]any{"givenName": "Carl", "familyName": "Acker"},
	}))(t)
	if err := s.authn.SetPassword(t.Context(), pushed.User, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	b.get(t, "/login")
	wantRedirect(t, b.post(t, "/login", "login", "carl@acme.example", "password", annPassword), "/me")
	wantPage(t, b.get(t, "/me/profile"), 200, "Managed by Entra ID – Acme", "disabled")
	wantPage(t, b.post(t, "/me/profile", "given", "Eve"), 403, "not yours to change")
	wantPage(t, b.post(t, "/me/profile", "time_zone", "Europe/Berlin"), 403, "not yours to change")
	wantPage(t, b.get(t, "/me/activity"), 200, "18:00 JST")
	must(s.directory.ChangeMembership(push, acme.ID, pushed.ID, 0, func(doc map[string]any) (map[string]any, error) {
		doc["timezone"] = "Europe/Lisbon"
		return doc, nil
	}))(t)
	wantPage(t, b.get(t, "/me/activity"), 200, "09:00 WET")
	wantPage(t, b.get(t, "/me/tenants/acme"), 200, "decided by the tenant&#39;s directory")
	wantPage(t, b.post(t, "/me/tenants", "leave", "acme", "confirm", "yes"), 422, "decided by the tenant&#39;s directory")
	wantPage(t, b.get(t, "/me/profile/delete"), 200, "Acme", "decided by the tenant&#39;s directory")
	wantPage(t, b.post(t, "/me/profile/delete", "email", "carl@acme.example"), 403, "was not deleted")
	wantPage(t, b.get(t, "/me"), 200, "Carl Acker")
}

func TestOwnTimeZone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	wantPage(t, b.get(t, "/me"), 200, "22 Nov 2026, 09:00 UTC")
	for _, wrong := range []string{"Mars/Base", "Local", "../../etc/passwd", "CET+1", "<b>"} {
		wantPage(t, b.post(t, "/me/profile", "time_zone", wrong), 422, "such as Europe/Berlin", `aria-invalid="true"`)
	}
	for zone, want := range map[string]string{
		"America/New_York": "22 Nov 2026, 04:00 EST", "Asia/Dubai": "22 Nov 2026, 13:00 UTC&#43;04:00", "Pacific/Auckland": "22 Nov 2026, 22:00 NZDT", "": "22 Nov 2026, 09:00 UTC",
	} {
		wantRedirect(t, b.post(t, "/me/profile", "time_zone", zone), "/me/profile?done=1")
		wantPage(t, b.get(t, "/me"), 200, want, `datetime="2026-11-22T09:00:00Z"`)
		wantPage(t, b.get(t, "/me/activity"), 200, want)
	}
	wantRedirect(t, b.post(t, "/me/profile", "time_zone", "Europe/Berlin"), "/me/profile?done=1")
	wantRedirect(t, b.post(t, "/me/profile", "language", "de"), "/me/profile?done=1")
	wantPage(t, b.get(t, "/me/profile"), 200, `value="Europe/Berlin"`)
	wantPage(t, b.get(t, "/me"), 200, "22. Nov. 2026, 10:00 CET")
}

func TestOwnDataIsDownloaded(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	s.bob(t)
	b := s.browser(t)
	b.get(t, "/login")
	at := b.post(t, "/login", "login", annEmail, "password", annPassword).Header.Get("Location")
	wantRedirect(t, b.post(t, at, "code", s.code(t)), "/me")
	made := b.post(t, "/me/tokens/berlin/new", "name", "Export", "days", "90")
	token := secretOnPage.FindStringSubmatch(made.body)
	b.granted(t, "berlin", oidc.ScopeOffline)
	a := b.post(t, "/me/profile/download")
	if a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d, %v", a.StatusCode, a.Header)
	}
	var data struct {
		Account struct{ ID, Email string }
		Tenants []struct {
			Tenant, Status string
			Roles          []string
		}
		SignIn struct {
			Password      bool
			Authenticator bool `json:"authenticator_app"`
		} `json:"sign_in"`
		Sessions     []any
		Tokens       []struct{ Name string } `json:"application_tokens"`
		Applications []struct{ Name string } `json:"connected_applications"`
		Activity     []struct{ Action string }
	}
	if err := json.Unmarshal([]byte(a.body), &data); err != nil {
		t.Fatal(err)
	}
	if data.Account.Email != annEmail || len(data.Tenants) != 3 || !data.SignIn.Password || !data.SignIn.Authenticator || len(data.Sessions) != 1 ||
		len(data.Tokens) != 1 || data.Tokens[0].Name != "Export" || len(data.Applications) != 1 || len(data.Activity) < 2 {
		t.Errorf("got %+v", data)
	}
	for what, hidden := range map[string]string{"the token": token[1], "the key": annKey, "the password": annPassword, "Bob": "bob@berlin.example", "the session": b.cookie(t, cookie.Session)} {
		if hidden != "" && strings.Contains(a.body, hidden) {
			t.Errorf("%s is in the file:\n%s", what, a.body)
		}
	}
	wantPage(t, b.get(t, "/me/activity"), 200, "Own data downloaded")
	s.advance(11 * time.Minute)
	wantRedirect(t, b.post(t, "/me/profile/download"), "/login?confirm=1&continue="+url.QueryEscape("/me/profile"))
}

func TestDeletingTheOwnAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	// The default role system leaves it to administrators; Oslo only invites.
	tied := b.get(t, "/me/profile/delete")
	wantPage(t, tied, 200, "Berlin", "Munich", "decide about your account")
	if strings.Contains(tied.body, "Oslo") || strings.Contains(tied.body, "Delete my account") {
		t.Errorf("got\n%s", tied.body)
	}
	wantPage(t, b.post(t, "/me/profile/delete", "email", annEmail), 403, "was not deleted")
	must(s.directory.UserByName(t.Context(), annEmail))(t)

	bob, bobs := s.bob(t)
	s.blueprint(t, leavable)
	house := must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "house", Name: "House", Blueprint: "leavable"}))(t)
	s.memberAs(t, s.ann, "House", "boss")
	s.memberAs(t, bob, "House", "guest")
	oslo := must(s.directory.Tenant(t.Context(), "oslo"))(t)
	must(s.directory.SaveMembership(operator(t), oslo.ID, bob, directory.MembershipSpec{Roles: []string{"member"}, Status: directory.StatusInvited}))(t)
	tokens := bobs.granted(t, "house", oidc.ScopeOffline)
	wantPage(t, bobs.get(t, "/me/profile/delete"), 200, "Type bob@berlin.example to confirm")
	wantPage(t, bobs.post(t, "/me/profile/delete", "email", annEmail), 422, "not your e-mail address")
	wantPage(t, bobs.post(t, "/me/profile/delete"), 422, "not your e-mail address")
	s.advance(11 * time.Minute)
	wantRedirect(t, bobs.post(t, "/me/profile/delete", "email", "bob@berlin.example"), "/login?confirm=1&continue="+url.QueryEscape("/me/profile/delete"))
	bobs.get(t, "/login?confirm=1")
	bobs.post(t, "/login?confirm=1", "login", "bob@berlin.example", "password", annPassword)
	wantRedirect(t, bobs.post(t, "/me/profile/delete", "email", "BOB@berlin.example"), "/logout")
	wantRedirect(t, bobs.get(t, "/me"), "/login")
	if _, err := s.directory.UserByName(t.Context(), string(bob.ID)); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v, want no user", err)
	}
	for _, tenant := range []id.Tenant{house.ID, oslo.ID} {
		if _, err := s.directory.MembershipOf(t.Context(), tenant, bob.ID); !errors.Is(err, fault.NotFound) {
			t.Errorf("got %v, want no membership", err)
		}
	}
	shop := must(s.oidc.Application(t.Context(), "shop"))(t)
	if _, err := s.oidc.Refresh(t.Context(), shop, tokens.Refresh, "", oidc.Terms{}); err == nil {
		t.Error("the refresh token works on")
	}
	wantPage(t, bobs.post(t, "/login", "login", "bob@berlin.example", "password", annPassword), 422)

	// The last boss can't.
	wantPage(t, b.get(t, "/me/tenants/house"), 200, "nobody who can administer it")
}

func TestOperatorsAreNotDeletedByThemselves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	yes := true
	must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "olive@ops.example", Operator: &yes}))(t)
	olive := must(s.directory.UserByName(t.Context(), "olive@ops.example"))(t)
	if err := s.authn.SetPassword(t.Context(), olive.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	b.get(t, "/login")
	wantRedirect(t, b.post(t, "/login", "login", "olive@ops.example", "password", annPassword), "/me")
	wantPage(t, b.get(t, "/me/profile/delete"), 200, "Another operator")
	wantPage(t, b.post(t, "/me/profile/delete", "email", "olive@ops.example"), 403, "was not deleted")
	must(s.directory.UserByName(t.Context(), "olive@ops.example"))(t)
}
