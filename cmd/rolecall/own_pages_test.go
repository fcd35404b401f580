package main

import (
	"errors"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// TestOwnDataOnBothDatabases goes through what people see and end of their own:
// the pages themselves are portal's tests.
func TestOwnDataOnBothDatabases(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		if err := in.oidc.EnsureKeys(ctx); err != nil {
			t.Fatal(err)
		}
		must[*oidc.Applied](t)(in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: web, Type: oidc.Web, RedirectURIs: []string{webRedirect}, API: true}))
		home := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "home"}))
		mia := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "mia@example.com", Name: directory.Name{Given: "Mia"}}))
		if err := in.authn.SetPassword(ctx, mia.ID, secret.NewText("correct horse battery")); err != nil {
			t.Fatal(err)
		}
		ben := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "ben@example.com"}))
		member := must[*directory.Membership](t)(in.directory.SaveMembership(ctx, home.ID, mia, directory.MembershipSpec{Roles: []string{"member"}}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, home.ID, ben, directory.MembershipSpec{Roles: []string{"member"}}))
		token := signedInFor(t, in, mia.ID, "home", oidc.ScopeOpenID, oidc.ScopeAPI)
		signedInFor(t, in, ben.ID, "home", oidc.ScopeOpenID)

		connected := must[[]oidc.ConnectedApplication](t)(in.oidc.Connected(ctx, mia.ID))
		if len(connected) != 1 || connected[0].ClientID != web || len(connected[0].Tenants) != 1 {
			t.Errorf("got %+v", connected)
		}
		if err := in.oidc.Disconnect(ctx, mia.ID, web); err != nil {
			t.Fatal(err)
		}
		if _, err := in.oidc.Principal(ctx, oidc.Bearer(secret.NewText(token))); err == nil {
			t.Error("the access token works on")
		}
		if err := in.oidc.Disconnect(ctx, mia.ID, web); !errors.Is(err, fault.NotFound) {
			t.Errorf("a second time: %v", err)
		}
		if left := must[[]oidc.ConnectedApplication](t)(in.oidc.Connected(ctx, ben.ID)); len(left) != 1 {
			t.Errorf("Ben has %+v left", left)
		}
		activity, _, err := in.authn.Activity(ctx, mia.ID, "", 10)
		if err != nil || len(activity) == 0 || activity[0].Action != "application.disconnect" {
			t.Errorf("got %+v, %v", activity, err)
		}

		own := authz.NewContext(t.Context(), authz.Principal{Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, User: mia.ID})
		given := "Maria"
		if err := in.directory.ChangeProfile(own, directory.ProfileChange{Given: &given}); err != nil {
			t.Fatal(err)
		}
		if m := must[*directory.Membership](t)(in.directory.Membership(ctx, home.ID, member.ID)); m.Profile["displayName"] != "Maria" {
			t.Errorf("got %v", m.Profile)
		}
		if ties := must[[]directory.Tie](t)(in.directory.Ties(own)); len(ties) != 1 {
			t.Errorf("got %+v", ties)
		}
		if err := in.directory.DeleteOwn(own); fault.As(err).Code != "tied" {
			t.Errorf("got %v, want tied", err)
		}
		if err := in.directory.DeleteMembership(ctx, home.ID, member.ID, 0); err != nil {
			t.Fatal(err)
		}
		if err := in.directory.DeleteOwn(own); err != nil {
			t.Fatal(err)
		}
		if _, err := in.directory.UserByName(ctx, string(mia.ID)); !errors.Is(err, fault.NotFound) {
			t.Errorf("got %v, want no user", err)
		}
	})
}
