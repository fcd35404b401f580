package main

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// tokenIn returns the token of the link that a letter has.
func tokenIn(t *testing.T, letter mail.Waiting) secret.Text {
	t.Helper()
	link := must[*url.URL](t)(url.Parse(letter.Link))
	return secret.NewText(link.Query().Get("token"))
}

func TestRulesSigningIn(t *testing.T) {
	t.Parallel()
	onStage(t, "emnify", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "superadmin")
		rulesLockout(s)
		rulesMailCodes(s)
	})
}

func rulesLockout(s *stage) {
	const password, next = "a password of her own", "another one of hers"
	s.person("shut", "berlin", "user")
	shut := s.user("shut").ID
	s.check(s.in.authn.SetPassword(s.operator(), shut, secret.NewText(password)))
	s.rule("EM-R28", func() {
		for range 2 {
			s.refuses("wrong_credentials", s.password("shut", "not hers"))
		}
		s.allows(s.password("shut", password)) // which forgets the two
		for range 3 {
			s.refuses("wrong_credentials", s.password("shut", "not hers"))
		}
		s.refuses("wrong_credentials", s.password("shut", password))
		var seen struct {
			Until time.Time `json:"closed_until"`
		}
		s.allows(s.api("boss", http.MethodGet, "berlin", "/members/"+string(s.member("shut", "berlin").ID), nil, &seen))
		until := must[time.Time](s.t)(s.in.authn.ClosedUntil(s.t.Context(), shut))
		if !seen.Until.Equal(until) {
			s.t.Errorf("an administrator sees that it is closed until %v, want %v", seen.Until, until)
		}
		if left := until.Sub(s.in.now()); left > 5*time.Minute || left < 4*time.Minute {
			s.t.Errorf("the account is closed for %v more, want five minutes", left)
		}
		if letter := s.letter("shut"); letter.Subject != "Your account is closed for a while" {
			s.t.Errorf("the last letter is about %q", letter.Subject)
		}
		s.check(s.in.authn.SendPasswordReset(s.operator(), shut))
		s.check(s.in.oidc.ResetPassword(s.t.Context(), tokenIn(s.t, s.letter("shut")), secret.NewText(next)))
		s.allows(s.password("shut", next))
	})
}

// codeIn returns the code that a letter has.
func codeIn(t *testing.T, letter mail.Waiting) string {
	t.Helper()
	code := regexp.MustCompile(`(?m)^([0-9]{6})$`).FindStringSubmatch(letter.Text)
	if code == nil {
		t.Fatalf("no code in the letter %q", letter.Subject)
	}
	return code[1]
}

func rulesMailCodes(s *stage) {
	const password = "a password of her own"
	s.tenant(directory.TenantSpec{Slug: "paid", Tier: "pro"})
	s.person("mia", "paid", "user")
	mia := s.user("mia").ID
	s.check(s.in.authn.SetPassword(s.operator(), mia, secret.NewText(password)))
	s.rule("EM-R30", func() {
		s.check(s.in.authn.SetTOTP(s.operator(), mia, secret.NewText("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")))
		s.check(s.in.authn.RemoveTOTP(s.t.Context(), mia))
		s.refuses("interaction_required", s.signs1("mia", "paid"))
		done := s.logsInByMail("mia", password)
		s.sessions["mia"+authn.ACR1] = done.Cookie.Reveal()
		s.allows(s.signs1("mia", "paid"))

		// Neither the tenant's word nor the person's switches it off.
		no := false
		must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: "paid", Policy: &directory.Policy{MFA: directory.MFAOff, EmailCodes: &no}}))
		s.refuses("interaction_required", s.signs1("mia", "paid"))
		s.check(s.in.authn.SetTOTP(s.operator(), mia, secret.NewText("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")))
		s.refuses("second_factor_required", verdict(s.in.authn.RemoveTOTP(s.t.Context(), mia)))
	})
}

// logsInByMail signs somebody in with a password and the code that is mailed then.
func (s *stage) logsInByMail(person, password string) *authn.Login {
	s.t.Helper()
	login := s.logsIn(person, password, secret.Text{})
	if login.Step != authn.StepCode {
		s.t.Fatalf("the sign-in is at %s, want the code", login.Step)
	}
	return must[*authn.Login](s.t)(s.in.authn.SubmitCode(s.t.Context(), login.ID, s.browser, codeIn(s.t, s.letter(person)), false, authn.Client{}))
}

// TestMailCodesWhereTheyCount is decision 19: one sign-in by a code by mail is of two
// factors where a tenant and its role system take those, and of one elsewhere.
func TestMailCodesWhereTheyCount(t *testing.T) {
	t.Parallel()
	onStage(t, "emnify", func(s *stage) {
		const password = "four unrelated words"
		yes, no := true, false
		demands := directory.Policy{MFA: directory.MFARequired}
		for _, at := range []struct {
			slug, blueprint, role string
			policy                directory.Policy
			want                  string // the class of the token; empty: more is asked for
		}{
			{"by-system", "emnify", "user", directory.Policy{}, authn.ACR2}, // which demands it, and begins with mail
			{"switched-off", "emnify", "user", directory.Policy{EmailCodes: &no}, ""},
			{"unsaid", "default", "member", demands, ""}, // its role system begins with an app
			{"switched-on", "default", "member", directory.Policy{MFA: directory.MFARequired, EmailCodes: &yes}, authn.ACR2},
			{"asks-for-nothing", "default", "member", directory.Policy{}, authn.ACR1},
			{"takes-unasked", "default", "member", directory.Policy{EmailCodes: &yes}, authn.ACR2},
			{"apps-only", "timextender", "company_admin", demands, ""}, // its role system knows no codes by mail
		} {
			s.tenants[at.slug] = must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{
				Slug: at.slug, Blueprint: at.blueprint, Tier: map[string]string{"emnify": "standard"}[at.blueprint], Policy: &at.policy,
			}))
			s.person("mia", at.slug, at.role)
			if at.slug == "by-system" {
				s.check(s.in.authn.SetPassword(s.operator(), s.user("mia").ID, secret.NewText(password)))
				s.sessions["mia"+authn.ACR1] = s.logsInByMail("mia", password).Cookie.Reveal()
			}
			token, refusal := s.signIn("mia", at.slug, authn.ACR1)
			if at.want == "" {
				s.refuses("interaction_required", refusal)
				continue
			}
			s.allows(refusal)
			if got := payload(s.t, token); got.ACR != at.want || !slices.Equal(got.AMR, []string{authn.AMRPassword, authn.AMRMultipleChannels}) {
				s.t.Errorf("%s: acr %s, amr %v, want %s of a code by mail", at.slug, got.ACR, got.AMR, at.want)
			}
		}
		s.refuses("invalid:policy.email_codes", verdict(s.in.directory.SetPolicy(s.operator(), s.id("apps-only"), netip.Addr{}, directory.Policy{EmailCodes: &yes})))

		// The stricter tenants take an app, and so do the others.
		s.check(s.in.authn.SetTOTP(s.operator(), s.user("mia").ID, secret.NewText("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")))
		s.allows(s.signs("mia", "switched-off"), s.signs("mia", "unsaid"), s.signs("mia", "apps-only"), s.signs("mia", "by-system"))
		s.refuses("second_factor_required", verdict(s.in.authn.RemoveTOTP(s.t.Context(), s.user("mia").ID)))
	})
}

// TestSignInWithoutATenant: whom no tenant knows, such as an operator, signs in.
func TestSignInWithoutATenant(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		const password = "a password of her own"
		s.check(s.in.authn.SetPassword(s.operator(), s.user("alone").ID, secret.NewText(password)))
		login := s.logsIn("alone", password, secret.Text{})
		if sudo, err := s.in.authn.Sudo(s.t.Context(), login.Session); err != nil || !sudo {
			s.t.Errorf("just signed in: %v, %v", sudo, err)
		}
	})
}

// TestRulesDemandedFactor: a second factor that is demanded of one member.
func TestRulesDemandedFactor(t *testing.T) {
	t.Parallel()
	onStage(t, "ingenuity", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "a"})
		s.tenant(directory.TenantSpec{Slug: "b"})
		s.person("ad", "a", "administrator")
		s.person("te", "a", "technical")
		s.person("bd", "b", "administrator")
		s.rule("IN-R11", func() {
			var added struct {
				ID       string `json:"id"`
				Required bool   `json:"second_factor_required"`
			}
			s.allows(s.api("ad", http.MethodPost, "a", "/members", map[string]any{
				"email": s.email("two"), "roles": []string{"technical"}, "second_factor_required": true,
			}, &added))
			if !added.Required {
				s.t.Error("the answer does not say that a second factor is demanded")
			}
			s.refuses("interaction_required", s.signs1("two", "a"))
			s.allows(s.signs("two", "a"), s.signs1("te", "a"))
			two := s.user("two").ID
			s.check(s.in.authn.SetTOTP(s.operator(), two, secret.NewText("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")))
			s.refuses("second_factor_required", verdict(s.in.authn.RemoveTOTP(s.t.Context(), two)))

			demand := func(actor, person string, required bool) string {
				path := "/members/" + string(s.member(person, "a").ID) + "/second-factor-required"
				return s.api(actor, http.MethodPut, "a", path, map[string]any{"required": required}, nil)
			}
			s.refuses("permission", demand("te", "two", false))
			token, _ := s.signIn("te", "a", authn.ACR1)
			mine := func() string { return s.api("Bearer "+token, http.MethodGet, "a", "/members", nil, nil) }
			before := mine()
			s.allows(demand("ad", "te", true))
			if after := mine(); before != "permission" || after == before {
				s.t.Errorf("a token of one factor: %s before, %s after", before, after)
			}
			s.refuses("interaction_required", s.signs1("te", "a"))
			s.allows(demand("ad", "two", false), demand("ad", "te", false))
			s.allows(s.signs1("two", "a"), s.signs1("te", "a"))
			s.check(s.in.authn.RemoveTOTP(s.t.Context(), two))
			s.allows(demand("ad", "ad", true))
			s.refuses("self", demand("ad", "ad", false)) // only another administrator takes it away
			s.allows(s.signs1("bd", "b"))
		})
	})
}
