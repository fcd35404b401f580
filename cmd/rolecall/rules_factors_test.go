package main

import (
	"net/http"
	"net/url"
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
