package main

import (
	"net/url"
	"testing"
	"time"

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
		until := must[time.Time](s.t)(s.in.authn.ClosedUntil(s.t.Context(), shut))
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
