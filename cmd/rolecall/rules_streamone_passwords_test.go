package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// generated is a password that the server made, in a letter.
var generated = regexp.MustCompile(`(?:[A-Z][a-z]{2}[2-9]-){4}[A-Z][a-z]{2}[2-9]`)

// The tenant manages its people's logins: it has verified their domain. Where it
// has not, it sends links.
func TestRulesStreamOnePasswords(t *testing.T) {
	t.Parallel()
	onStage(t, "streamone", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "dist", Type: "distributor"})
		s.tenant(directory.TenantSpec{Slug: "acct", Type: "partner", Domains: []string{"streamone.example"}}, "channel", "dist")
		s.tenant(directory.TenantSpec{Slug: "guest", Type: "partner"}, "channel", "dist")
		s.person("aa", "acct", "account_admin")
		s.person("sa", "acct", "sales")
		s.person("bb", "guest", "account_admin")
		s.person("visitor", "guest", "sales")
		s.rule("SI-R13", func() {
			s.allows(s.adds("aa", "done", "acct", "sales"))
			if letters := s.letters("done"); len(letters) != 0 {
				s.t.Errorf("Done sends %q", letters[0].Subject)
			}
		})
		s.rule("SI-R12", func() { s.instructions() })
		s.rule("SI-R11", func() {
			s.refuses("400:password_again", s.resets("aa", "sa", "acct", map[string]any{"password": "Typed with care 1", "password_again": "Typed with care 2"}))
			s.refuses("400:password_again", s.resets("aa", "sa", "acct", map[string]any{"password": "Typed with care 1"}))
			s.refuses("wrong_credentials", s.password("sa", "Typed with care 1"))
		})
		s.rule("SI-R15", func() { s.resetting() })
		s.rule("SI-R14", func() { s.forced() })
	})
}

// resets has a person replace a member's password.
func (s *stage) resets(actor, person, tenant string, body map[string]any) string {
	s.t.Helper()
	return s.api(actor, http.MethodPut, tenant, "/members/"+string(s.member(person, tenant).ID)+"/password", body, nil)
}

// letters are those to the person, the last first.
func (s *stage) letters(person string) []mail.Waiting {
	s.t.Helper()
	var to []mail.Waiting
	for _, letter := range must[[]mail.Waiting](s.t)(s.in.mail.Outbox(s.t.Context(), 100)) {
		if letter.To == s.email(person) {
			to = append(to, letter)
		}
	}
	return to
}

func (s *stage) instructions() {
	s.person("new", "acct", "sales")
	tells := func(actor, person, tenant string, body map[string]any) string {
		return s.api(actor, http.MethodPost, tenant, "/members/"+string(s.member(person, tenant).ID)+"/sign-in-instructions", body, nil)
	}
	s.refuses("permission", tells("sa", "new", "acct", map[string]any{}))
	s.refuses("400:to", tells("aa", "new", "acct", map[string]any{"to": "no address"}))
	s.allows(tells("aa", "new", "acct", map[string]any{"to": s.email("assistant"), "copy_to_me": true, "must_change": true}))
	if letters := s.letters("new"); len(letters) != 0 {
		s.t.Errorf("%d letters went to the person's own address", len(letters))
	}
	given := generated.FindString(s.letter("assistant").Text)
	if copied := s.letter("aa").Text; given == "" || !strings.Contains(copied, s.email("assistant")) || strings.Contains(copied, given) {
		s.t.Errorf("the letter has the password %q; the copy is %q", given, copied)
	}
	if login := s.logsIn("new", given, secret.Text{}); login.Step != authn.StepChange {
		s.t.Errorf("the first sign-in waits at %s", login.Step)
	}
	// Who has a password keeps it.
	s.allows(tells("aa", "new", "acct", map[string]any{}))
	if text := s.letter("new").Text; generated.MatchString(text) || s.logsIn("new", given, secret.Text{}).Step != authn.StepChange {
		s.t.Errorf("instructions to somebody with a password: %q", text)
	}
	s.refuses("login_not_managed", tells("bb", "visitor", "guest", map[string]any{"to": s.email("bb")}))
}

func (s *stage) resetting() {
	typed := func(password string) map[string]any {
		return map[string]any{"password": password, "password_again": password}
	}
	s.refuses("permission", s.resets("sa", "aa", "acct", typed("Typed with care 1")))
	s.refuses("400:password", s.resets("aa", "sa", "acct", typed("no capitals 1")))
	s.refuses("common", s.resets("aa", "sa", "acct", typed("Passw0rd")))
	s.refuses("context", s.resets("aa", "sa", "acct", typed("Acct-acct-1")))
	s.allows(s.resets("aa", "sa", "acct", typed("Typed with care 1")), s.password("sa", "Typed with care 1"))
	if login := s.logsIn("sa", "Typed with care 1", secret.Text{}); login.Step != authn.StepDone {
		s.t.Errorf("a typed password that need not be changed: the sign-in waits at %s", login.Step)
	}
	held := s.logsIn("sa", "Typed with care 1", secret.Text{}).Cookie
	s.allows(s.resets("aa", "sa", "acct", map[string]any{}))
	if _, err := s.in.authn.Session(s.t.Context(), held); err == nil {
		s.t.Error("a session outlives the reset")
	}
	s.refuses("wrong_credentials", s.password("sa", "Typed with care 1"))
	given := generated.FindString(s.letter("sa").Text)
	if login := s.logsIn("sa", given, secret.Text{}); login.Step != authn.StepChange {
		s.t.Errorf("a password from a letter: the sign-in waits at %s", login.Step)
	}
	s.refuses("400:copy_to_me", s.resets("aa", "sa", "acct", map[string]any{"password": "Typed with care 1", "password_again": "Typed with care 1", "copy_to_me": true}))
	s.allows(s.resets("aa", "sa", "acct", map[string]any{"copy_to_me": true}))
	given = generated.FindString(s.letter("sa").Text)
	if copied := s.letter("aa").Text; given == "" || !strings.Contains(copied, s.email("sa")) || strings.Contains(copied, given) {
		s.t.Errorf("the letter has the password %q; the copy is %q", given, copied)
	}
	s.person("unreachable", "acct", "account_admin")
	s.session("unreachable", authn.ACR2)
	_, err := s.in.store.UpdateUser(s.t.Context(), s.user("unreachable").ID, func(u *directory.User) error { u.Email = ""; return nil })
	s.check(err)
	s.refuses("400:copy_to_me", s.resets("unreachable", "sa", "acct", map[string]any{"copy_to_me": true}))
	if login := s.logsIn("sa", given, secret.Text{}); login.Step != authn.StepChange {
		s.t.Errorf("a reset that was refused has changed the password: the sign-in waits at %s", login.Step)
	}
	if trail := s.events("acct"); strings.Contains(trail, given) || !strings.Contains(trail, "generate_and_mail") {
		s.t.Errorf("the trail is %s", trail)
	}
	s.refuses("login_not_managed", s.resets("bb", "visitor", "guest", typed("Typed with care 1")), s.resets("bb", "visitor", "guest", map[string]any{}))
}

// forced follows the browser of somebody with a password that must be changed.
func (s *stage) forced() {
	s.allows(s.resets("aa", "sa", "acct", map[string]any{"password": "Typed with care 3", "password_again": "Typed with care 3", "must_change": true}))
	login := s.logsIn("sa", "Typed with care 3", secret.Text{})
	if login.Step != authn.StepChange || login.Session != nil {
		s.t.Fatalf("the sign-in waits at %s", login.Step)
	}
	asks := func(method, path string, pairs ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, s.in.config.PublicURL+path+"?login="+string(login.ID), strings.NewReader(values(pairs...).Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "rolecall_browser", Value: s.browser.Reveal()})
		return s.send(r)
	}
	for _, path := range []string{"/login/code", "/login/tenant", "/login/second-factor"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if answer := asks(method, path, "code", "123456"); answer.Code < 300 || len(answer.Result().Cookies()) > 0 && strings.Contains(answer.Header().Get("Set-Cookie"), "rolecall_session") {
				s.t.Errorf("%s %s answers %d", method, path, answer.Code)
			}
		}
	}
	if answer := asks(http.MethodGet, "/me"); answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != "/login" {
		s.t.Errorf("/me answers %d", answer.Code)
	}
	if answer := asks(http.MethodGet, "/login/change"); answer.Code != http.StatusOK {
		s.t.Errorf("the page answers %d", answer.Code)
	}
	for password, again := range map[string]string{
		"Typed with care 3": "Typed with care 3", "A good one 1": "A good one 2", "": "", "no capitals 1": "no capitals 1", "Passw0rd": "Passw0rd",
	} {
		if answer := asks(http.MethodPost, "/login/change", "password", password, "password_again", again); answer.Code != http.StatusUnprocessableEntity || !strings.Contains(answer.Body.String(), "aria-invalid") {
			s.t.Errorf("%q and %q: %d", password, again, answer.Code)
		}
	}
	done := asks(http.MethodPost, "/login/change", "password", "A choice of mine 1", "password_again", "A choice of mine 1")
	if done.Code != http.StatusSeeOther || done.Header().Get("Location") != "/me" || !strings.Contains(done.Header().Get("Set-Cookie"), "rolecall_session") {
		s.t.Errorf("the change leads to %d %s", done.Code, done.Header().Get("Location"))
	}
	if again := asks(http.MethodPost, "/login/change", "password", "A choice of mine 2", "password_again", "A choice of mine 2"); again.Code != http.StatusNotFound {
		s.t.Errorf("the step works twice: %d", again.Code)
	}
	// The sign-in goes on to the second factor where there is one.
	s.check(s.in.authn.SetTOTP(s.operator(), s.user("sa").ID, secret.NewText("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")))
	s.check(s.in.authn.RequirePasswordChange(s.operator(), s.user("sa").ID))
	if login = s.logsIn("sa", "A choice of mine 1", secret.Text{}); login.Step != authn.StepChange {
		s.t.Fatalf("the sign-in waits at %s", login.Step)
	}
	done = asks(http.MethodPost, "/login/change", "password", "A choice of mine 3", "password_again", "A choice of mine 3")
	next, err := url.Parse(done.Header().Get("Location"))
	if err != nil || next.Path != "/login/code" || next.Query().Get("login") == string(login.ID) || strings.Contains(done.Header().Get("Set-Cookie"), "rolecall_session") {
		s.t.Errorf("with a second factor the change leads to %s", next)
	}
}
