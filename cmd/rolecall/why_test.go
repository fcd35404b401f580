package main

import (
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

func TestWhySaysItInASentence(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		var ids []id.Tenant
		for _, slug := range []string{"main", "berlin"} {
			ids = append(ids, must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: slug, Blueprint: "emnify"})).ID)
		}
		if err := in.directory.Link(ctx, directory.Edge{Tenant: ids[1], Relation: "link", Parent: "main"}); err != nil {
			t.Fatal(err)
		}
		sa := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: "sa@example.com"}))
		must[*directory.Membership](t)(in.directory.SaveMembership(ctx, ids[0], sa, directory.MembershipSpec{Roles: []string{"superadmin"}}))
		for permission, want := range map[string]string{
			"users.update":            "sa@example.com may users.update in berlin, by the role superadmin held in main by the operator's word, which reaches link.spokes.",
			"workspaces.request_link": "sa@example.com may not workspaces.request_link in berlin, though given by the role superadmin held in main by the operator's word, which reaches link.spokes: the tenant is not entitled to it, it lacks multi_workspace. Ask the operator.",
			"users.fly":               "sa@example.com may not users.fly in berlin: the role system has no such permission.",
		} {
			answer, err := in.why(ctx, "SA@example.com", permission, "berlin", authz.ChannelPortal)
			if err != nil {
				t.Fatal(err)
			}
			if got := sentence("sa@example.com", "berlin", answer); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		if _, err := in.why(ctx, "nobody@example.com", "users.update", "berlin", authz.ChannelPortal); err == nil {
			t.Error("an unknown user is no error")
		}
	})
}
