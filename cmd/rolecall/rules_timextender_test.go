package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

func TestRulesTimeXtender(t *testing.T) {
	t.Parallel()
	onStage(t, "timextender", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "vendor", GrantableEntitlements: []string{"partner", "data_estate", "environments"}})
		s.tenant(directory.TenantSpec{Slug: "partner", Type: "partner", Entitlements: []string{"partner"}, GrantableEntitlements: []string{"data_estate"}}, "supply", "vendor")
		s.tenant(directory.TenantSpec{Slug: "alpha", Entitlements: []string{"data_estate", "environments"}}, "supply", "partner")
		s.tenant(directory.TenantSpec{Slug: "beta"}, "supply", "partner")
		s.tenant(directory.TenantSpec{Slug: "below"}, "supply", "alpha")
		s.tenant(directory.TenantSpec{Slug: "stranger"})
		s.person("vm", "vendor", "company_admin", "customer_manager")
		s.person("pa", "partner", "company_admin")
		s.person("cm", "partner", "customer_manager")
		s.person("both", "partner", "company_admin", "customer_manager")
		s.person("ca", "alpha", "company_admin")
		s.person("ca2", "alpha", "company_admin")
		s.person("cd", "alpha", "data_estate_admin")
		s.person("plain", "alpha")
		s.person("na", "beta", "company_admin")
		s.person("gc", "below", "company_admin")
		rulesTimeXtenderAdmins(s)
		rulesTimeXtenderManagers(s)
		rulesTimeXtenderEntitlements(s)
		rulesTimeXtenderUsers(s)
		rulesTimeXtenderRequires(s)
	})
}

func rulesTimeXtenderAdmins(s *stage) {
	s.rule("TX-R01", func() {
		s.may("ca", "alpha", "company.update")
		s.mayNot(authz.StageNoRole, "plain", "alpha", "company.update")
		s.mayNot(authz.StageNoRole, "cd", "alpha", "company.update")
	})
	s.rule("TX-R02", func() {
		s.refuses("self_keep", s.gives("ca", "ca", "alpha"), s.gives("ca", "ca", "alpha", "data_estate_admin"))
		s.allows(s.gives("ca", "ca2", "alpha"), s.gives("ca", "ca2", "alpha", "company_admin"))
		s.allows(s.gives("ca", "ca", "alpha", "company_admin", "data_estate_admin"), s.gives("ca", "ca", "alpha", "company_admin"))
	})
	s.rule("TX-R03", func() {
		s.refuses("last_holder", s.gives("cm", "na", "beta"), s.removes("cm", "na", "beta"), s.gives("operator", "na", "beta"), s.removes("operator", "na", "beta"))
		s.refuses("last_holder", s.pushes(http.MethodDelete, "beta", "/Users/"+string(s.member("na", "beta").ID), nil, nil))
		s.refuses("self_delete", s.removes("na", "na", "beta"))
		s.has("na", "beta", "company_admin")
		s.person("na2", "beta", "company_admin")
		s.allows(s.removes("cm", "na2", "beta"))
	})
	s.rule("TX-R09", func() {
		grant := map[string]any{"role": "instance_user", "resource": "instance-1", "comment": "ticket 7"}
		path := "/members/" + string(s.member("plain", "alpha").ID) + "/resource-roles"
		s.refuses("permission", s.api("plain", http.MethodPost, "alpha", path, grant, nil))
		s.allows(s.api("cd", http.MethodPost, "alpha", path, grant, nil))
		s.refuses("permission", s.adds("cd", "temp", "alpha"))
	})
	s.rule("TX-R10", func() {
		for instance, want := range map[string]bool{"instance-1": true, "instance-2": false} {
			on := map[string]any{"type": "instance", "id": instance, "properties": map[string]string{"tenant": "alpha"}}
			if got, e := s.asksOn("user", s.email("plain"), "instances.open", on, "portal"); got != want {
				s.t.Errorf("opens %s: got %v, want %v (%+v)", instance, got, want, e)
			}
		}
		s.mayNot(authz.StageNoRole, "plain", "alpha", "instances.open")
		elsewhere := map[string]any{"type": "instance", "id": "instance-1", "properties": map[string]string{"tenant": "beta"}}
		if got, _ := s.asksOn("user", s.email("plain"), "instances.open", elsewhere, "portal"); got {
			s.t.Error("opens an instance of that name in another company")
		}
	})
	s.rule("TX-R23", func() {
		path := "/members/" + string(s.member("plain", "alpha").ID) + "/resource-roles"
		silent := map[string]any{"role": "instance_user", "resource": "instance-2", "comment": " "}
		s.refuses("comment", s.api("cd", http.MethodPost, "alpha", path, silent, nil))
		s.refuses("comment", s.api("cd", http.MethodPost, "alpha", path+"/revoke", map[string]any{"role": "instance_user", "resource": "instance-1"}, nil))
		var got struct {
			Roles []struct{ Role, Resource, Comment string }
		}
		s.allows(s.api("ca", http.MethodGet, "alpha", "/members/"+string(s.member("plain", "alpha").ID), nil, &got))
		if len(got.Roles) != 1 || got.Roles[0].Resource != "instance-1" || got.Roles[0].Comment != "ticket 7" {
			s.t.Errorf("kept is %+v", got.Roles)
		}
		s.allows(s.api("cd", http.MethodPost, "alpha", path+"/revoke", map[string]any{"role": "instance_user", "resource": "instance-1", "comment": "done"}, nil))
	})
}

func rulesTimeXtenderManagers(s *stage) {
	s.rule("TX-R04", func() {
		s.may("cm", "alpha", "company.update", "users.create")
		s.allows(s.adds("cm", "n1", "alpha", "company_admin"), s.edits("cm", "plain", "alpha", map[string]any{"displayName": "Plain"}),
			s.gives("cm", "plain", "alpha", "company_admin"), s.gives("cm", "plain", "alpha"), s.removes("cm", "n1", "alpha"))
	})
	s.rule("TX-R05", func() {
		s.mayNot(authz.StageNoRole, "cm", "partner", "company.update", "users.create")
		s.refuses("permission", s.adds("cm", "temp", "partner"), s.edits("cm", "pa", "partner", map[string]any{"displayName": "X"}))
		s.may("both", "partner", "company.update", "users.create")
		s.allows(s.adds("both", "temp", "partner"), s.removes("both", "temp", "partner"))
	})
	s.rule("TX-R06", func() {
		s.mayNot(authz.StageNoRole, "cm", "below", "users.create", "company.update")
		s.mayNot(authz.StageNoRole, "pa", "alpha", "users.create", "company.update")
		s.refuses("login_required", s.adds("cm", "temp", "below"), s.adds("pa", "temp", "alpha"))
	})
	s.rule("TX-R12", func() {
		for actor, tenant := range map[string]string{"ca": "alpha", "cm": "beta"} {
			s.allows(s.api(actor, http.MethodPost, tenant, "/members", map[string]any{"email": s.email("later-" + tenant), "status": "not_invited"}, nil))
			if tenant == "alpha" {
				s.refuses("permission", s.sets("plain", "later-alpha", "alpha", directory.StatusInvited))
			}
			s.allows(s.sets(actor, "later-"+tenant, tenant, directory.StatusInvited))
			s.is("later-"+tenant, tenant, directory.StatusInvited)
			if letter := s.letter("later-" + tenant); letter.Subject != "You are invited to "+tenant {
				s.t.Errorf("the letter is %q", letter.Subject)
			}
		}
	})
	s.rule("TX-R20", func() {
		s.allows(s.api("ca", http.MethodPost, "alpha", "/members", map[string]any{"email": s.email("chosen"), "status": "invited"}, nil))
		_, token, _ := strings.Cut(s.letter("chosen").Link, "/login/invitation?token=")
		_, _, _, err := s.in.authn.CompleteInvitation(s.t.Context(), secret.NewText(token), secret.NewText("short"), authn.Client{})
		if fault.As(err).Field != "password" {
			s.t.Errorf("a password that is too short: %v", err)
		}
		_, _, _, err = s.in.authn.CompleteInvitation(s.t.Context(), secret.NewText(token), secret.NewText("a password of her own"), authn.Client{})
		s.check(err)
		if login := s.logsIn("chosen", "a password of her own", secret.Text{}); login.Step != authn.StepDone {
			s.t.Errorf("the sign-in waits at %s", login.Step)
		}
	})
	s.rule("TX-R21", func() {
		s.person("forgetful", "alpha")
		s.check(s.in.authn.SetPassword(s.operator(), s.user("forgetful").ID, secret.NewText("a password forgotten")))
		for _, email := range []string{s.email("forgetful"), s.email("nobody-at-all")} {
			s.check(s.in.authn.RequestPasswordReset(s.t.Context(), email, authn.Client{}))
		}
		for _, d := range must[[]outbox.Delivery](s.t)(s.in.store.ClaimDeliveries(s.t.Context(), s.in.now(), s.in.now(), outbox.Claim{Most: 100, Each: 100})) {
			if d.Kind == outbox.PasswordReset {
				s.check(s.in.deliverPasswordReset(s.t.Context(), d))
			}
		}
		_, token, _ := strings.Cut(s.letter("forgetful").Link, "/login/reset?token=")
		s.check(s.in.oidc.ResetPassword(s.t.Context(), secret.NewText(token), secret.NewText("a password remembered")))
		s.refuses("wrong_credentials", s.password("forgetful", "a password forgotten"))
		s.allows(s.password("forgetful", "a password remembered"))
		s.refuses("link_gone", verdict(s.in.oidc.ResetPassword(s.t.Context(), secret.NewText(token), secret.NewText("a password of others"))))
	})
	s.rule("TX-R13", func() {
		for actor, tenant := range map[string]string{"ca": "alpha", "cm": "alpha", "na": "beta"} {
			target := map[string]string{"alpha": "plain", "beta": "na"}[tenant]
			if actor != target && !slices.Contains(s.offered(actor, target, tenant).Operations, "reset_password") {
				s.t.Errorf("%s is not offered to reset the password of %s", actor, target)
			}
			s.may(actor, tenant, "users.password.reset")
		}
		reset := func(actor string) string {
			return s.api(actor, http.MethodPost, "alpha", "/members/"+string(s.member("plain", "alpha").ID)+"/password-reset", nil, nil)
		}
		s.allows(reset("ca"), reset("cm"))
		if letter := s.letter("plain"); letter.Subject != "Choose a new password" {
			s.t.Errorf("the letter is %q", letter.Subject)
		}
		s.refuses("permission", reset("cd"))
		s.mayNot(authz.StageNoRole, "plain", "alpha", "users.password.reset")
		s.mayNot(authz.StageNoRole, "cd", "alpha", "users.password.reset")
	})
}

func rulesTimeXtenderEntitlements(s *stage) {
	s.rule("TX-R07", func() {
		s.refuses("entitlement", s.gives("ca", "plain", "alpha", "customer_manager"), s.adds("cm", "temp", "beta", "customer_manager"))
		if offer := s.offered("ca", "plain", "alpha"); slices.Contains(offer.Grant, "customer_manager") || !slices.Contains(offer.Grant, "data_estate_admin") {
			s.t.Errorf("on offer: %v", offer.Grant)
		}
		s.allows(s.gives("pa", "cm", "partner", "customer_manager")) // where it is on offer
	})
	s.rule("TX-R08", func() {
		s.refuses("entitlement", s.gives("na", "na", "beta", "company_admin", "data_estate_admin"))
		s.may("cd", "alpha", "instances.manage")
		s.check(s.in.directory.Disentitle(s.operator(), s.id("alpha"), "data_estate"))
		s.mayNot(authz.StageAvailability, "cd", "alpha", "instances.manage")
		s.mayNot(authz.StageEntitlement, "ca", "alpha", "instances.manage")
		s.check(s.in.directory.Entitle(s.operator(), s.id("alpha"), "data_estate", false))
		s.may("cd", "alpha", "instances.manage")
	})
	s.rule("TX-R15", func() {
		s.allows(s.shares("cm", "partner>beta", "data_estate", true))
		s.may("na", "beta", "instances.manage")
		s.refuses("not_grantable", s.shares("cm", "partner>beta", "partner", false))
		s.refuses("404", s.shares("pa", "partner>beta", "data_estate", false)) // a customer whom he does not reach
		s.refuses("permission", verdict(s.in.directory.Delegate(s.as("pa", "partner"), s.id("partner"), s.id("beta"), "data_estate", false)))
		s.refuses("login_required", s.shares("na", "partner>beta", "data_estate", false))
		for _, to := range []string{"stranger", "partner", "below"} {
			s.refuses("404", s.shares("cm", "partner>"+to, "data_estate", false))
			s.refuses("not_child", verdict(s.in.directory.Delegate(s.operator(), s.id("partner"), s.id(to), "data_estate", false)))
		}
		s.allows(s.api("cm", http.MethodDelete, "partner", "/children/beta/entitlements/data_estate", nil, nil))
		s.mayNot(authz.StageEntitlement, "na", "beta", "instances.manage")
	})
	s.rule("TX-R22", func() {
		s.may("plain", "alpha", "environments.secret.read")
		s.mayNot(authz.StageNoRole, "plain", "alpha", "environments.secret.regenerate")
	})
	s.rule("TX-R25", func() {
		everything := func() string {
			b := must[*authz.Blueprint](s.t)(s.in.blueprints.InForce(s.t.Context(), s.portal))
			var all strings.Builder
			for _, person := range []string{"cm", "both", "pa", "ca"} {
				for _, tenant := range []string{"partner", "alpha"} {
					for _, permission := range b.Permissions() {
						allowed := must[bool](s.t)(s.in.directory.Decide(s.t.Context(), directory.Bearer{Email: s.email(person)}, tenant, permission, authz.ChannelPortal))
						all.WriteString(map[bool]string{true: "Y", false: "-"}[allowed])
					}
				}
			}
			return all.String()
		}
		before := everything()
		for _, kind := range []string{"end_customer", "vendor", "partner"} {
			must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: "partner", Type: kind}))
			if after := everything(); after != before || !strings.Contains(after, "Y") {
				s.t.Errorf("as %s: %s, before %s", kind, after, before)
			}
		}
	})
}

func rulesTimeXtenderUsers(s *stage) {
	s.rule("TX-R11", func() {
		s.allows(s.api("ca", http.MethodPost, "alpha", "/members", map[string]any{"email": s.email("quiet"), "status": "not_invited"}, nil))
		s.refuses("login_required", s.signs("quiet", "alpha"))
		s.refuses("wrong_credentials", s.password("quiet", "whatever it might be"))
		names, v := s.lists("ca", "alpha")
		s.allows(v)
		if !slices.Contains(names, s.email("quiet")) {
			s.t.Errorf("who was not invited is missing in %v", names)
		}
	})
	s.rule("TX-R16", func() {
		s.allows(s.signs1("ca", "alpha"))
		must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: "alpha", Policy: &directory.Policy{MFA: directory.MFARequired}}))
		for _, person := range []string{"ca", "cd", "plain"} {
			s.refuses("interaction_required", s.signs1(person, "alpha"))
			s.allows(s.signs(person, "alpha"))
		}
		s.allows(s.signs1("na", "beta"))
	})
	s.rule("TX-R17", func() {
		s.tenant(directory.TenantSpec{Slug: "fresh"}, "supply", "partner")
		s.allows(s.adds("cm", "first", "fresh"), s.adds("cm", "second", "fresh"))
		s.contact("fresh", "first")
		s.has("first", "fresh", "company_admin")
		s.has("second", "fresh")
	})
	s.rule("TX-R18", func() {
		s.refuses("permission", s.names("plain", "ca2", "alpha"))
		s.allows(s.names("ca", "ca2", "alpha"))
		s.contact("alpha", "ca2")
		s.allows(s.names("ca", "plain", "alpha"))
		s.contact("alpha", "plain") // and so nobody else: a tenant has one
		s.has("plain", "alpha")
		s.has("ca2", "alpha", "company_admin")
		s.mayNot(authz.StageNoRole, "plain", "alpha", "company.update")
	})
	s.rule("TX-R19", func() {
		s.refuses("400:email", s.api("ca", http.MethodPost, "alpha", "/members", map[string]any{"name": map[string]string{"given": "No", "family": "Address"}}, nil))
		s.allows(s.adds("ca", "invitee", "alpha")) // no phone
		s.is("invitee", "alpha", directory.StatusInvited)
	})
	s.rule("TX-R24", func() {
		s.tenant(directory.TenantSpec{Slug: "lone"}, "supply", "partner")
		s.person("last", "lone") // explicitly no admin, whom TX-R03 would keep anyway
		s.refuses("last_member", s.removes("cm", "last", "lone"), s.removes("operator", "last", "lone"))
		s.person("next", "lone")
		s.allows(s.removes("cm", "last", "lone"))
	})
}

func rulesTimeXtenderRequires(s *stage) {
	s.rule("TX-R14", func() {
		source := string(must[[]byte](s.t)(s.in.blueprints.Source(s.t.Context(), "timextender", 1)))
		source = strings.Replace(source, "version: 1\n", "version: 2\n", 1)
		changed := strings.Replace(source, "requires: {}", "requires: {environments.create: [instances.manage]}", 1)
		if changed == source {
			s.t.Fatal("the role system has requirements of its own now")
		}
		must[*directory.Upgrade](s.t)(s.in.directory.Upgrade(s.operator(), []byte(changed), nil))
		s.refuses("requires:instances.manage", s.gives("ca2", "plain", "alpha", "environment_admin"))
		s.allows(s.gives("ca2", "plain", "alpha", "environment_admin", "data_estate_admin"))
		s.refuses("requires:instances.manage", s.gives("ca2", "plain", "alpha", "environment_admin"))
		s.may("plain", "alpha", "environments.create")
		s.check(s.in.directory.Disentitle(s.operator(), s.id("alpha"), "data_estate"))
		s.mayNot(authz.StageRequires, "plain", "alpha", "environments.create")
		s.may("plain", "alpha", "environments.secret.regenerate")
		s.allows(s.gives("ca2", "plain", "alpha", "data_estate_admin"), s.gives("ca2", "plain", "alpha"))
	})
}
