package main

import (
	"slices"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

func TestRulesIngenuity(t *testing.T) {
	t.Parallel()
	onStage(t, "ingenuity", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "a"})
		s.tenant(directory.TenantSpec{Slug: "b"})
		for name, role := range map[string]string{"ad": "administrator", "fi": "financial", "pu": "purchaser", "su": "support", "te": "technical"} {
			s.person(name, "a", role)
		}
		s.person("both", "a", "technical")
		s.person("both", "b", "financial")
		s.person("sum", "a", "technical", "support")
		s.person("bd", "b", "administrator")
		rulesIngenuityPermissions(s)
		rulesIngenuityPeople(s)
	})
}

func rulesIngenuityPermissions(s *stage) {
	four := []string{"tickets.billing.manage", "tickets.sales.manage", "tickets.provisioning.manage", "tickets.cancellations.manage"}
	other := []string{"tickets.other.read", "tickets.other.manage"}
	s.rule("IN-R01", func() {
		s.may("both", "a", "infrastructure.manage")
		s.mayNot(authz.StageNoRole, "both", "a", "invoices.pay")
		s.may("both", "b", "invoices.pay")
		s.mayNot(authz.StageNoRole, "both", "b", "infrastructure.manage")
	})
	s.rule("IN-R02", func() {
		s.mayNot(authz.StageNoRole, "te", "a", other...)
		s.may("sum", "a", append(other, "infrastructure.manage")...)
		s.mayNot(authz.StageNoRole, "sum", "a", four...)
	})
	s.rule("IN-R03", func() {
		s.may("su", "a", other...)
		s.mayNot(authz.StageNoRole, "su", "a", four...)
	})
	s.rule("IN-R04", func() {
		for _, person := range []string{"fi", "pu"} {
			s.may(person, "a", four...)
			s.mayNot(authz.StageNoRole, person, "a", other...)
		}
	})
	s.rule("IN-R05", func() {
		s.may("pu", "a", "services.purchase")
		s.mayNot(authz.StageNoRole, "pu", "a", "invoices.pay")
		s.may("fi", "a", "invoices.pay")
		s.mayNot(authz.StageNoRole, "te", "a", "services.purchase")
	})
}

func rulesIngenuityPeople(s *stage) {
	s.rule("IN-R06", func() {
		for _, person := range []string{"ad", "fi", "te"} {
			s.may(person, "a", "me.name.update")
			s.mayNot(authz.StageNoRole, person, "a", "me.email.update")
			s.allows(s.edits(person, person, "a", map[string]any{"name": map[string]any{"givenName": "New", "familyName": "Name"}}))
			s.refuses("field:email", s.edits(person, person, "a", map[string]any{"emails": []any{map[string]any{"value": "new@other.example"}}}))
		}
	})
	s.rule("IN-R07", func() {
		s.allows(s.adds("ad", "new", "a", "financial", "support"))
		s.has("new", "a", "financial", "support")
		s.refuses("min_roles", s.adds("ad", "none", "a"))
		s.refuses("login_required", s.adds("ad", "new", "b", "support"))
		_, err := s.in.directory.AddMember(s.as("ad", ""), s.id("b"), directory.MemberSpec{Email: s.email("new"), Roles: []string{"support"}})
		s.refuses("permission", verdict(err))
		for _, person := range []string{"fi", "pu", "su", "te"} {
			s.refuses("permission", s.adds(person, "temp", "a", "support"))
		}
	})
	s.rule("IN-R08", func() {
		s.allows(s.signs("both", "a"), s.removes("ad", "both", "a"))
		s.refuses("login_required", s.signs("both", "a"))
		s.allows(s.signs("both", "b"))
		s.may("both", "b", "invoices.pay")
		s.mayNot(authz.StageNoRole, "both", "a", "infrastructure.manage")
	})
	s.rule("IN-R09", func() {
		s.refuses("last_holder", s.gives("ad", "ad", "a", "financial"), s.gives("operator", "ad", "a", "financial"), s.removes("operator", "ad", "a"))
		s.person("ad2", "a", "administrator")
		s.allows(s.gives("ad", "ad", "a", "financial"), s.gives("ad2", "ad", "a", "administrator"))
	})
	s.rule("IN-R10", func() {
		s.refuses("min_roles", s.gives("ad", "fi", "a"), s.gives("operator", "fi", "a"))
		s.has("fi", "a", "financial")
		s.allows(s.removes("ad", "fi", "a"))
	})
	s.rule("IN-R14", func() {
		const password, key = "a password of her own", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
		s.check(s.in.authn.SetPassword(s.operator(), s.user("su").ID, secret.NewText(password)))
		step := func() authn.Step {
			login := must[*authn.Login](s.t)(s.in.authn.StartLogin(secret.Random(""), authn.LoginRequest{Continue: "/"}))
			s.check(s.in.authn.SubmitPassword(s.t.Context(), login, s.email("su"), secret.NewText(password), authn.Client{}))
			return login.Step
		}
		if got := step(); got != authn.StepDone {
			s.t.Errorf("without a second factor the sign-in waits at %s", got)
		}
		s.check(s.in.authn.SetTOTP(s.operator(), s.user("su").ID, secret.NewText(key)))
		if got := step(); got != authn.StepCode {
			s.t.Errorf("with a second factor the sign-in waits at %s", got)
		}
		s.check(s.in.authn.RemoveTOTP(s.t.Context(), s.user("su").ID))
		if got := step(); got != authn.StepDone {
			s.t.Errorf("after it was switched off the sign-in waits at %s", got)
		}
	})
	s.rule("IN-R13", func() {
		err := s.in.authn.CheckPassword(s.t.Context(), s.user("su").ID, secret.NewText("not her password"))
		if f := fault.As(err); f.Field != "current_password" || f.Code != "wrong" {
			s.t.Errorf("a wrong current password: %v", err)
		}
		s.check(s.in.authn.CheckPassword(s.t.Context(), s.user("su").ID, secret.NewText("a password of her own")))
	})
	s.rule("IN-R15", func() {
		s.person("both", "a", "technical")
		all, err := s.in.directory.Standings(s.t.Context(), s.user("both").ID)
		s.check(err)
		var slugs []string
		for _, st := range all {
			slugs = append(slugs, st.Slug)
		}
		if !slices.Equal(slugs, []string{"a", "b"}) {
			s.t.Errorf("the accounts are %v", slugs)
		}
		if all, err = s.in.directory.Standings(s.t.Context(), s.user("te").ID); err != nil || len(all) != 1 {
			s.t.Errorf("the accounts of who has one are %v (%v)", all, err)
		}
	})
	s.rule("IN-R12", func() {
		b := must[*authz.Blueprint](s.t)(s.in.blueprints.InForce(s.t.Context(), s.portal))
		var known []string
		for _, role := range b.Roles() {
			if !role.Hidden && role.Label != "" {
				known = append(known, role.Key)
			}
		}
		if !slices.Equal(known, []string{"administrator", "financial", "purchaser", "support", "technical"}) {
			s.t.Errorf("the roles to show are %v", known)
		}
		s.has("sum", "a", "technical", "support")
		s.has("both", "b", "financial")
	})
	s.rule("IN-R16", func() {
		before := s.user("te")
		s.allows(s.adds("bd", "te", "b", "support"))
		s.refuses("login_required", s.signs("te", "b")) // until he has agreed
		s.check(s.in.directory.Accept(s.t.Context(), s.id("b"), before.ID))
		if m := s.member("te", "b"); m.User != before.ID {
			s.t.Errorf("another login %s, want %s", m.User, before.ID)
		}
		s.allows(s.signs("te", "b"), s.signs("te", "a"))
	})
}
