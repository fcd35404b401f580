package portal_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// bobsKey is of the authenticator app of Bob, who signs in as Ann does otherwise.
const (
	bobEmail = "bob@berlin.example"
	bobsKey  = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
)

// loginAs sends a password in a browser that is new, and returns where it leads.
func (s *site) loginAs(t *testing.T, email string) (*browser, string) {
	t.Helper()
	b := s.browser(t)
	b.get(t, "/login")
	return b, b.post(t, "/login", "login", email, "password", annPassword).Header.Get("Location")
}

// authentik CVE-2026-49443 and its class: a form with nothing in it is told at its
// field what is missing, leads nowhere and spoils nothing.
func TestAttackEmptyForms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob, _ := s.bob(t)
	ctx := operator(t)
	must(s.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "munich", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	vienna := must(s.directory.Tenant(ctx, "vienna"))(t)
	must(s.directory.AddMember(ctx, vienna.ID, directory.MemberSpec{Email: "new@vienna.example", Roles: []string{"owner"}}))(t)
	invitation := strings.TrimPrefix(s.letters(t)[0].Link, "http://id.test")
	if err := s.authn.SendPasswordReset(ctx, s.ann.ID); err != nil {
		t.Fatal(err)
	}
	reset := strings.TrimPrefix(s.letters(t)[0].Link, "http://id.test")

	nobody := s.browser(t)
	nobody.get(t, "/login")
	member := s.browser(t)
	member.signIn(t)
	enroll := s.browser(t)
	request := "?request=" + string(enroll.request(t, oidc.Parameters{TenantName: "munich"}))
	enroll.post(t, "/login"+request, "login", annEmail, "password", annPassword)
	must(s.oidc.Next(ctx, must(s.oidc.Request(ctx, must(id.Parse[id.AuthorizationRequest](request[len("?request="):]))(t), secret.NewText(enroll.cookie(t, cookie.Browser))))(t),
		must(s.authn.Session(ctx, secret.NewText(enroll.cookie(t, cookie.Session))))(t)))(t)
	wantPage(t, enroll.get(t, "/login/second-factor"+request), 200, "totp_key")
	choose := s.browser(t)
	chosen := "?request=" + string(choose.request(t, oidc.Parameters{}))
	choose.post(t, "/login"+chosen, "login", annEmail, "password", annPassword)
	if err := s.authn.SetTOTP(ctx, bob.ID, secret.NewText(bobsKey)); err != nil {
		t.Fatal(err)
	}
	coded, atCode := s.loginAs(t, bobEmail)
	if err := s.authn.RequirePasswordChange(ctx, bob.ID); err != nil {
		t.Fatal(err)
	}
	changing, atChange := s.loginAs(t, bobEmail)

	for _, step := range []struct {
		name, path string
		browser    *browser
		status     int
		field      string // that is said to be wrong; empty: it says so above all of them
	}{
		{"sign-in", "/login", nobody, 422, "username"},
		{"code", atCode, coded, 422, "code"},
		{"forced change", atChange, changing, 422, "password"},
		{"forgotten password", "/login/forgot", nobody, 422, "username"},
		{"new password", reset, nobody, 422, "password"},
		{"invitation", invitation, nobody, 422, "password"},
		{"set-up of a second factor", "/login/second-factor" + request, enroll, 422, "code"},
		{"tenant", "/login/tenant" + chosen, choose, 422, ""},
		{"set-up", "/setup?token=" + must(s.authn.SetupLink(ctx))(t).Reveal(), nobody, 422, "email"},
		{"password", "/me/password", member, 422, "current_password"},
	} {
		for _, empty := range [][]string{nil, {"login", "", "password", "", "password_again", "", "code", "", "tenant", "", "passkey", ""}, {"code", "\t", "login", " ", "tenant", " ", "given", " "}} {
			a := step.browser.post(t, step.path, empty...)
			if a.StatusCode != step.status || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s with %q: got %d, want %d; cookies %q", step.name, empty, a.StatusCode, step.status, a.Header.Values("Set-Cookie"))
				continue
			}
			if !strings.Contains(a.body, `role="alert"`) {
				t.Errorf("%s with %q: nothing is said:\n%s", step.name, empty, a.body)
			}
			if _, rest, found := strings.Cut(a.body, `id="`+step.field+`"`); step.field != "" && (!found || !strings.Contains(rest[:strings.Index(rest, ">")], `aria-invalid="true"`)) {
				t.Errorf("%s with %q: %s is not said to be wrong:\n%s", step.name, empty, step.field, a.body)
			}
		}
	}
	for _, path := range []string{"/login/code/mail", "/login/code/passkey", "/login/change", "/login/second-factor", "/login/second-factor/skip", "/login/second-factor/passkey", "/login/reset", "/login/invitation", "/login/tenant", "/setup", "/language", "/logout"} {
		if a := nobody.post(t, path); a.StatusCode >= 500 || a.StatusCode == http.StatusOK || nobody.cookie(t, cookie.Session) != "" {
			t.Errorf("%s: got %d", path, a.StatusCode)
		}
	}
	// Nothing of it has used up a step.
	wantRedirect(t, coded.post(t, atCode, "code", s.codeOf(t, bobsKey)), "/me")
	if at := changing.post(t, atChange, "password", "four other words", "password_again", "four other words").Header.Get("Location"); !strings.HasPrefix(at, "/login/code?") {
		t.Errorf("the forced change leads to %q", at)
	}
	wantRedirect(t, nobody.post(t, reset, "password", "yet four other words", "password_again", "yet four other words"), "/login?changed=1")
	wantRedirect(t, nobody.post(t, invitation, "password", "new here and glad", "password_again", "new here and glad"), "/me")
}

// Steps come in their order only: the page of one is nothing to a sign-in that
// waits at another, and to nobody at all.
func TestAttackStepsOutOfOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	bob, _ := s.bob(t)
	if err := s.authn.RequirePasswordChange(t.Context(), bob.ID); err != nil {
		t.Fatal(err)
	}
	coded, atCode := s.loginAs(t, annEmail)
	changing, atChange := s.loginAs(t, bobEmail)
	for _, wrong := range []struct {
		browser  *browser
		at, path string
	}{
		{coded, atCode, "/login/change"},
		{changing, atChange, "/login/code"},
		{changing, atChange, "/login/code/mail"},
		{changing, atChange, "/login/code/passkey"},
	} {
		page := wrong.path + wrong.at[strings.Index(wrong.at, "?"):]
		for _, a := range []answer{wrong.browser.get(t, page), wrong.browser.post(t, page, "code", s.code(t), "password", "four other words", "password_again", "four other words")} {
			if a.StatusCode != http.StatusNotFound {
				t.Errorf("%s for a sign-in at %s: got %d to %q", wrong.path, wrong.at, a.StatusCode, a.Header.Get("Location"))
			}
		}
	}
	stranger := s.browser(t)
	stranger.get(t, "/login")
	for _, b := range []*browser{coded, changing, stranger} {
		for _, path := range []string{"/me", "/me/security", "/me/totp", "/me/profile", "/me/tokens", "/me/tenants", "/me/activity", "/me/applications", "/platform/outbox", "/login/second-factor"} {
			wantRedirect(t, b.get(t, path), "/login")
		}
		if b.cookie(t, cookie.Session) != "" {
			t.Fatal("a session before the last step")
		}
	}
	wantPage(t, changing.post(t, "/login", "login", annEmail), 422) // a field that the step before had
	wantRedirect(t, coded.post(t, atCode, "code", s.code(t)), "/me")
	wantPage(t, coded.get(t, atCode), 404)
	wantPage(t, coded.post(t, atCode, "code", s.code(t)), 404)
}

// security.md §5.4: the cookie of a browser that one person trusts spares nobody
// else, and a copy of it is worth nothing once the browser itself has used it.
func TestAttackForeignTrustedDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	bob, _ := s.bob(t)
	if err := s.authn.SetTOTP(t.Context(), bob.ID, secret.NewText(bobsKey)); err != nil {
		t.Fatal(err)
	}
	b, at := s.loginAs(t, annEmail)
	wantRedirect(t, b.passCode(t, at, true), "/me")
	copied := b.cookie(t, cookie.Device)
	b.post(t, "/logout")
	try := func(email, device string) string {
		thief := s.browser(t)
		thief.get(t, "/login")
		thief.Jar.SetCookies(must(url.Parse(s.URL))(t), []*http.Cookie{{Name: cookie.Device, Value: device, Path: "/"}})
		return thief.post(t, "/login", "login", email, "password", annPassword).Header.Get("Location")
	}
	if at := try(bobEmail, copied); !strings.HasPrefix(at, "/login/code?") {
		t.Errorf("Ann's cookie leads Bob to %q", at)
	}
	if at := try(annEmail, secret.Random("").Reveal()); !strings.HasPrefix(at, "/login/code?") {
		t.Errorf("a cookie that was made up leads to %q", at)
	}
	if at := b.submitPassword(t); at != "/me" {
		t.Fatalf("Ann's own browser was led to %q", at)
	}
	if at := try(annEmail, copied); !strings.HasPrefix(at, "/login/code?") {
		t.Errorf("a copy of before leads to %q", at)
	}
}

// A link does one thing for one person. That somebody is of another tenant is
// neither told nor changed by asking for it from there, and its token is worth
// nothing on the page of another purpose.
func TestAttackResetLinkOfAnotherTenant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.bob(t) // who is in no tenant, and Ann not in Vienna
	answers := map[string]string{}
	for _, email := range []string{annEmail, bobEmail, "nobody@vienna.example"} {
		b := s.browser(t)
		request := string(b.request(t, oidc.Parameters{TenantName: "vienna"}))
		path := "/login/forgot?request=" + request
		first := b.get(t, path)
		sent := b.post(t, path, "login", email)
		last := b.get(t, sent.Header.Get("Location"))
		told := strings.NewReplacer(request, "", email, "").Replace(strings.Join([]string{
			strconv.Itoa(first.StatusCode), first.body, strconv.Itoa(sent.StatusCode), sent.Header.Get("Location"), sent.body, strconv.Itoa(last.StatusCode), last.body,
		}, "\n"))
		answers[told] += email + "; "
		if strings.Contains(told, "Vienna") {
			t.Errorf("the pages name the tenant:\n%s", told)
		}
	}
	if len(answers) != 1 {
		t.Errorf("who is asked for can be told apart: %q", answers)
	}
	s.deliver(t)
	links := map[string]string{}
	for _, letter := range s.letters(t) {
		if links[letter.To] != "" || strings.Contains(letter.Text+letter.Subject, "Vienna") || !strings.HasPrefix(letter.Link, "http://id.test/login/reset?token=") {
			t.Errorf("got the letter %+v", letter)
		}
		links[letter.To] = letter.Link[strings.Index(letter.Link, "/login/"):]
	}
	if len(links) != 2 {
		t.Fatalf("got letters to %v, want one to each who has an account", links)
	}
	token := links[bobEmail][strings.Index(links[bobEmail], "?"):]
	stranger := s.browser(t)
	stranger.get(t, "/login")
	const next = "four unrelated words"
	for _, page := range []string{"/login/invitation" + token, "/setup" + token} {
		wantPage(t, stranger.get(t, page), 404)
		wantPage(t, stranger.post(t, page, "given", "Eve", "email", "eve@berlin.example", "password", next, "password_again", next), 404)
	}
	// Bob's link, with Ann's address and tenant beside it.
	wantRedirect(t, stranger.post(t, links[bobEmail]+"&login="+annEmail+"&user="+string(s.ann.ID)+"&tenant=berlin",
		"login", annEmail, "user", string(s.ann.ID), "tenant", "berlin", "password", next, "password_again", next), "/login?changed=1")
	if _, at := s.loginAs(t, annEmail); at != "/me" {
		t.Errorf("Bob's link has changed Ann's password: led to %q", at)
	}
	b := s.browser(t)
	request := b.request(t, oidc.Parameters{TenantName: "vienna"})
	wantRedirect(t, b.post(t, "/login?request="+string(request), "login", bobEmail, "password", next), "/oauth2/authorize/continue?request="+string(request))
	session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	r := must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
	if step, err := s.oidc.Next(t.Context(), r, session); err == nil && step == oidc.StepDone {
		t.Errorf("the link that was asked for from Vienna lets Bob into it")
	}
}

// An invitation that sixteen accept at once is one person's with one password.
func TestAttackInvitationRaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	vienna := must(s.directory.Tenant(t.Context(), "vienna"))(t)
	must(s.directory.AddMember(operator(t), vienna.ID, directory.MemberSpec{Email: "new@vienna.example", Roles: []string{"owner"}}))(t)
	page := strings.TrimPrefix(s.letters(t)[0].Link, "http://id.test")
	const racers = 16
	answers := make([]answer, racers)
	browsers := make([]*browser, racers)
	var all sync.WaitGroup
	for i := range racers {
		browsers[i] = s.browser(t)
		all.Go(func() {
			password := "words of number " + strconv.Itoa(i)
			answers[i] = browsers[i].post(t, page, "password", password, "password_again", password)
		})
	}
	all.Wait()
	winner := -1
	for i, a := range answers {
		switch {
		case a.StatusCode == http.StatusSeeOther && winner < 0:
			winner = i
		case a.StatusCode != http.StatusNotFound || browsers[i].cookie(t, cookie.Session) != "":
			t.Errorf("number %d: got %d to %q", i, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if winner < 0 {
		t.Fatal("nobody has won")
	}
	login := must(s.authn.StartLogin(secret.Random(""), authn.LoginRequest{Continue: "/me"}))(t)
	if err := s.authn.SubmitPassword(t.Context(), login, "new@vienna.example", secret.NewText("words of number "+strconv.Itoa(winner)), authn.Client{}); err != nil {
		t.Errorf("the password of the one who was let in: %v", err)
	}
}
