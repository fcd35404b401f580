package main

import (
	"net/http"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

func TestRulesStreamOne(t *testing.T) {
	t.Parallel()
	onStage(t, "streamone", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "dist", Type: "distributor"})
		s.tenant(directory.TenantSpec{Slug: "acct", Type: "partner"}, "channel", "dist")
		s.tenant(directory.TenantSpec{Slug: "shut", Type: "partner"}, "channel", "dist")
		s.tenant(directory.TenantSpec{Slug: "shop", Type: "customer"}, "channel", "acct")
		s.person("td", "dist", "sales")
		s.person("aa", "acct", "account_admin")
		s.person("aa2", "acct", "account_admin")
		s.legacy("us", "acct", "user")
		s.person("sa", "acct", "sales")
		s.person("op", "acct", "ops")
		s.personIn("pending", "pe", "acct", "sales")
		s.personIn("suspended", "su", "acct", "sales")
		s.person("bb", "shut", "account_admin")
		s.person("cc", "shop", "account_admin")
		rulesStreamOnePeople(s)
		rulesStreamOnePermissions(s)
		rulesStreamOneSupport(s)
	})
}

func rulesStreamOnePeople(s *stage) {
	s.rule("SI-R01", func() {
		for _, role := range []string{"account_admin", "sales", "ops"} {
			s.allows(s.adds("aa", "temp", "acct", role), s.removes("aa", "temp", "acct"))
			for _, actor := range []string{"us", "sa", "op"} {
				s.refuses("permission", s.adds(actor, "temp", "acct", role))
			}
		}
	})
	s.rule("SI-R02", func() {
		s.refuses("locked", s.adds("aa", "temp", "acct", "user"), s.gives("aa", "sa", "acct", "user"))
		offer := s.offered("aa", "us", "acct")
		if slices.Contains(s.offered("aa", "sa", "acct").Grant, "user") || !slices.Contains(offer.Grant, "ops") {
			s.t.Errorf("on offer: %v", offer.Grant)
		}
		s.may("us", "acct", "products.use", "settings.billing.use") // the rights are what they were
		s.allows(s.edits("aa", "us", "acct", map[string]any{"displayName": "Legacy"}))
		s.has("us", "acct", "user")
		s.legacy("us2", "acct", "user")
		s.allows(s.gives("aa", "us2", "acct", "ops"))
		s.refuses("locked", s.gives("aa", "us2", "acct", "user"))
		s.has("us2", "acct", "ops")
	})
	s.rule("SI-R04", func() {
		s.refuses("permission", s.edits("op", "sa", "acct", map[string]any{"displayName": "X"}), s.gives("op", "sa", "acct", "ops"), s.removes("op", "sa", "acct"))
		s.mayNot(authz.StageNoRole, "op", "acct", "users.update")
		s.allows(s.edits("aa", "sa", "acct", map[string]any{"displayName": "Sales"}))
	})
	s.rule("SI-R05", func() {
		for _, person := range []string{"pe", "su"} {
			s.refuses("login_required", s.signs(person, "acct"))
			s.refuses("invalid_token", s.adds(s.program(person, "acct"), "temp", "acct", "sales"))
			s.mayNot(authz.StageStatus, person, "acct", "dashboard.use")
		}
		s.refuses("permission", s.sets("op", "pe", "acct", "active"))
		if statuses := s.offered("aa", "pe", "acct").Statuses; !slices.Contains(statuses, "active") {
			s.t.Errorf("the statuses on offer are %v", statuses)
		}
		s.allows(s.sets("aa", "pe", "acct", "active"), s.signs("pe", "acct"))
		s.may("pe", "acct", "dashboard.use")
	})
	s.rule("SI-R06", func() {
		s.person("gone", "acct", "sales")
		m := s.member("gone", "acct")
		path := "/members/" + string(m.ID)
		s.allows(s.api("aa", http.MethodGet, "acct", path, nil, nil)) // No: the page is left, nothing is sent
		s.allows(s.signs("gone", "acct"), s.removes("aa", "gone", "acct"))
		s.refuses("404", s.api("aa", http.MethodGet, "acct", path, nil, nil))
		s.mayNot(authz.StageNoRole, "gone", "acct", "dashboard.use")
	})
	s.rule("SI-R09", func() {
		s.refuses("self_delete", s.removes("bb", "bb", "shut"))
		s.refuses("self_roles", s.gives("bb", "bb", "shut", "ops"))
		s.refuses("last_holder", s.removes("operator", "bb", "shut"), s.gives("operator", "bb", "shut", "ops"), s.sets("operator", "bb", "shut", "suspended"))
		s.refuses("last_holder", s.pushes(http.MethodDelete, "shut", "/Users/"+string(s.member("bb", "shut").ID), nil, nil))
		s.has("bb", "shut", "account_admin")
		s.allows(s.gives("aa", "aa2", "acct", "ops"))
		s.refuses("last_holder", s.gives("operator", "aa", "acct", "ops"))
		s.allows(s.gives("aa", "aa2", "acct", "account_admin"))
	})
	s.rule("SI-R16", func() {
		body := func(status string) map[string]any {
			return map[string]any{"email": s.email("form-" + status), "roles": []string{"sales"}, "status": status}
		}
		for _, status := range []string{"active", "suspended"} {
			s.allows(s.api("aa", http.MethodPost, "acct", "/members", body(status), nil))
			s.is("form-"+status, "acct", directory.Status(status))
		}
		s.refuses("400:status", s.api("aa", http.MethodPost, "acct", "/members", body("pending"), nil))
		s.refuses("transition", s.sets("aa", "form-active", "acct", "pending"))
	})
	s.rule("SI-R19", func() {
		s.person("keeper", "acct", "sales")
		s.check(s.in.authn.SetPassword(s.operator(), s.user("keeper").ID, secret.NewText("Passw0rd of Sales")))
		s.allows(s.edits("aa", "keeper", "acct", map[string]any{"displayName": "Sam"}), s.password("keeper", "Passw0rd of Sales"))
	})
	s.rule("SI-R17", func() {
		s.refuses("409:userName", s.adds("aa", "sa", "acct", "ops"))
		// Known elsewhere: no second login, and nothing gained before the person agrees.
		s.allows(s.adds("aa", "cc", "acct", "sales"))
		if here, there := s.member("cc", "acct"), s.member("cc", "shop"); here.User != there.User {
			s.t.Errorf("the address has the logins %s and %s", here.User, there.User)
		}
		s.refuses("login_required", s.signs("cc", "acct"))
		s.check(s.in.directory.Decline(s.t.Context(), s.id("acct"), s.user("cc").ID))
	})
}

func rulesStreamOnePermissions(s *stage) {
	s.rule("SI-R03", func() {
		s.mayNot(authz.StageNoRole, "sa", "acct", "reports.invoices.generate")
		s.may("sa", "acct", "reports.use")
		s.may("op", "acct", "reports.invoices.generate")
	})
	s.rule("SI-R07", func() {
		s.may("us", "acct", "billing.customer_invoices.use", "billing.reseller_invoices.use", "billing.my_invoices.use",
			"billing.legacy_reports.use", "billing.import_jobs.use", "billing.pricebooks.use", "settings.billing.use")
		s.mayNot(authz.StageNoRole, "sa", "acct", "billing.my_invoices.use")
	})
	s.rule("SI-R10", func() {
		policy := must[*authz.Blueprint](s.t)(s.in.blueprints.InForce(s.t.Context(), s.portal)).Document().Password
		for password, code := range map[string]string{"Passw0rd": ok, "Passw0r": "invalid:password", "passw0rd": "invalid:password", "Password": "invalid:password"} {
			s.refuses(code, verdict(policy.Check(password)))
		}
	})
}

func rulesStreamOneSupport(s *stage) {
	consent := func(person, tenant string, on bool) string {
		return s.api(person, http.MethodPut, tenant, "/support-access", map[string]any{"enabled": on}, nil)
	}
	s.rule("SI-R08", func() {
		_, refusal := s.assumes("td", "dist", "aa", "acct")
		s.refuses("consent", refusal)
		s.refuses("permission", consent("sa", "acct", true), consent("td", "dist", true))
		s.allows(consent("aa", "acct", true))
		first, refusal := s.assumes("td", "dist", "aa", "acct")
		s.allows(refusal)
		second, refusal := s.assumes("td", "dist", "sa", "acct")
		s.allows(refusal)
		_, v := s.lists(first, "acct")
		s.allows(v, s.adds(first, "by-support", "acct", "sales")) // both sessions run
		_, v = s.lists(second, "acct")
		s.refuses("permission", v)
		_, refusal = s.assumes("td", "dist", "bb", "shut")
		s.refuses("consent", refusal)
		_, refusal = s.assumes("td", "dist", "cc", "shop") // two edges down
		s.refuses("permission", refusal)
		s.allows(consent("aa", "acct", false))
		for _, session := range []string{first, second} {
			_, v = s.lists(session, "acct")
			s.refuses("invalid_token", v)
		}
	})
	s.rule("SI-R20", func() {
		var made struct{ ID, Token string }
		s.allows(s.api("sa", http.MethodPost, "acct", "/application-tokens", map[string]any{"name": "crm"}, &made))
		var shown map[string]any
		s.allows(s.api("sa", http.MethodGet, "acct", "/application-tokens/"+made.ID, nil, &shown))
		if _, again := shown["token"]; again || made.Token == "" {
			s.t.Errorf("a token for the API is shown once, got %q and then %v", made.Token, shown)
		}
		s.allows(s.api("Bearer "+made.Token, http.MethodGet, "acct", "", nil, nil))
		s.refuses("permission", s.adds("Bearer "+made.Token, "temp", "acct", "sales")) // no more than its owner
	})
}
