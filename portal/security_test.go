package portal_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// passCode submits Ann's code on the page that it leads to, and has the browser
// trusted if trust.
func (b *browser) passCode(t *testing.T, page string, trust bool) answer {
	t.Helper()
	b.site.advance(time.Minute) // so that the code is a new one
	fields := []string{"code", b.site.code(t)}
	if trust {
		fields = append(fields, "trust_device", "on")
	}
	return b.post(t, page, fields...)
}

// submitPassword signs in as far as the second factor, if it is asked for.
func (b *browser) submitPassword(t *testing.T) string {
	t.Helper()
	b.get(t, "/login")
	return b.post(t, "/login", "login", annEmail, "password", annPassword).Header.Get("Location")
}

// EM-R27: asked the first time, not the second, asked again after removal.
func TestTrustedDeviceJourney(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	b := s.browser(t)
	at := b.submitPassword(t)
	wantPage(t, b.get(t, at), 200, `name="trust_device"`, "for 30 days")
	wantPage(t, b.post(t, at, "code", "1", "trust_device", "on"), 422, "checked") // the choice is kept
	wantRedirect(t, b.passCode(t, at, true), "/me")
	first := b.cookie(t, cookie.Device)
	if first == "" {
		t.Fatal("the browser has no cookie of a trusted device")
	}
	wantRedirect(t, b.post(t, "/logout"), "/logout")
	if at := b.submitPassword(t); at != "/me" {
		t.Fatalf("led to %q, want no code to be asked for", at)
	}
	if b.cookie(t, cookie.Device) == first {
		t.Error("the device's cookie was not renewed")
	}
	wantPage(t, b.get(t, "/me/security"), 200, "Firefox on Linux", "Trusted since")
	device := regexp.MustCompile(`name="device" value="([^"]+)"`).FindStringSubmatch(b.get(t, "/me/security").body)[1]
	wantRedirect(t, b.post(t, "/me/trusted-devices", "device", device), "/me/security?done=device_removed")
	wantPage(t, b.get(t, "/me/security?done=device_removed"), 200, "You trust no browser", "asks for a code")
	b.post(t, "/logout")
	if at := b.submitPassword(t); !strings.HasPrefix(at, "/login/code") {
		t.Errorf("led to %q, want the code to be asked for", at)
	}
	other := s.browser(t)
	if at := other.submitPassword(t); !strings.HasPrefix(at, "/login/code") {
		t.Errorf("another browser: led to %q, want the code to be asked for", at)
	}
}

func TestNobodyIsAskedToTrustWhereNoTenantDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	for _, slug := range []string{"berlin", "munich", "oslo"} {
		must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: slug, Policy: &directory.Policy{TrustedDeviceDays: new(0)}}))(t)
	}
	b := s.browser(t)
	at := b.submitPassword(t)
	if strings.Contains(b.get(t, at).body, "trust_device") {
		t.Error("the page offers what the policy forbids")
	}
	wantRedirect(t, b.passCode(t, at, true), "/me")
	if b.cookie(t, cookie.Device) != "" {
		t.Error("the browser is trusted all the same")
	}
}

// A tenant holds a trusted device to its own days: where they are over, or there
// are none, it asks for the code, and only for that.
func TestTenantDecidesWhetherADeviceCounts(t *testing.T) {
	t.Parallel()
	for name, days := range map[string]int{"counts": 30, "does not": 0, "no longer does": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t).withTOTP(t)
			must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFARequired, TrustedDeviceDays: new(days)}}))(t)
			b := s.browser(t)
			wantRedirect(t, b.passCode(t, b.submitPassword(t), true), "/me")
			s.advance(25 * time.Hour)
			request := b.request(t, oidc.Parameters{TenantName: "berlin"})
			login := b.post(t, "/login?request="+string(request), "login", annEmail, "password", annPassword)
			wantRedirect(t, login, "/oauth2/authorize/continue?request="+string(request))
			session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
			r := must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
			step := must(s.oidc.Next(t.Context(), r, session))(t)
			if days == 30 {
				if step != oidc.StepDone {
					t.Errorf("got step %v, want to be done", step)
				}
				return
			}
			if step != oidc.StepLogin || r.MinACR != authn.ACR2 {
				t.Fatalf("got step %v to %s, want a second factor", step, r.MinACR)
			}
			at := b.get(t, "/login?request="+string(request)).Header.Get("Location")
			if !strings.HasPrefix(at, "/login/code") {
				t.Fatalf("led to %q, want the code to be asked for", at)
			}
			wantRedirect(t, b.passCode(t, at, false), "/oauth2/authorize/continue?request="+string(request))
			session = must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
			if step := must(s.oidc.Next(t.Context(), r, session))(t); step != oidc.StepDone {
				t.Errorf("got step %v after the code, want to be done", step)
			}
		})
	}
}

// key reads the key off the page on which it is set up.
func key(t *testing.T, a answer) string {
	t.Helper()
	found := regexp.MustCompile(`id="totp_key">([A-Z2-7 ]+)<`).FindStringSubmatch(a.body)
	if a.StatusCode != 200 || found == nil {
		t.Fatalf("got %d to %q, want a key\n%s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
	return strings.ReplaceAll(found[1], " ", "")
}

func (s *site) codeOf(t *testing.T, key string) string {
	t.Helper()
	return must(totp.GenerateCodeCustom(key, s.clock(), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix}))(t)
}

// TX-R16: the QR code comes at the first sign-in that needs it.
func TestSecondFactorIsSetUpWhereATenantDemandsIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	b := s.browser(t)
	request := b.request(t, oidc.Parameters{TenantName: "berlin"})
	next := "/oauth2/authorize/continue?request=" + string(request)
	wantRedirect(t, b.post(t, "/login?request="+string(request), "login", annEmail, "password", annPassword), next)
	session := func() *authn.Session {
		return must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	}
	r := must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
	if step := must(s.oidc.Next(t.Context(), r, session()))(t); step != oidc.StepLogin {
		t.Fatalf("got step %v, want more than the password", step)
	}
	enroll := "/login/second-factor?request=" + string(request)
	wantRedirect(t, b.get(t, "/login?request="+string(request)), enroll)
	page := b.get(t, enroll)
	wantPage(t, page, 200, "Shop asks for a second factor", "data:image/png;base64,")
	if again := b.get(t, enroll); key(t, again) != key(t, page) {
		t.Error("a reload shows another key than the one that was scanned")
	}
	wantPage(t, b.post(t, enroll, "code", "123"), 422, "wrong or was used", "Shop asks for", key(t, page)[:4])
	done := b.post(t, enroll, "code", s.codeOf(t, key(t, page)))
	wantPage(t, done, 200, "Keep these recovery codes", `href="`+strings.ReplaceAll(next, "&", "&amp;")+`"`)
	if got := session(); got.ACR != authn.ACR2 {
		t.Errorf("the session is %s, want two factors", got.ACR)
	}
	if step := must(s.oidc.Next(t.Context(), r, session()))(t); step != oidc.StepDone {
		t.Errorf("got step %v, want to be done", step)
	}
	wantRedirect(t, b.get(t, enroll), next) // who has a factor makes no second one here
	wantRedirect(t, b.post(t, enroll, "code", "1"), next)

	// The codes that were shown work.
	code := regexp.MustCompile(`<code>([0-9a-z-]{14})</code>`).FindStringSubmatch(done.body)[1]
	b.post(t, "/logout")
	wantRedirect(t, b.post(t, b.submitPassword(t), "code", code), "/me")
	wantPage(t, b.get(t, "/me/security"), 200, "9 left")
}

// Nobody who knows the password alone puts an app of their own in place of the
// person's.
func TestSecondFactorIsNotReplacedWithThePasswordAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	b := s.browser(t)
	wantRedirect(t, b.passCode(t, b.submitPassword(t), true), "/me")
	b.post(t, "/logout")
	b.submitPassword(t) // by the trusted device: one factor
	confirm := "/login?confirm=1&continue=" + url.QueryEscape("/me/security")
	for _, path := range []string{"/me/totp", "/me/totp/activate", "/me/totp/remove", "/me/recovery-codes"} {
		wantRedirect(t, b.post(t, path, "code", "1"), confirm)
	}
	wantRedirect(t, b.get(t, "/me/totp"), confirm)
	request := b.request(t, oidc.Parameters{TenantName: "berlin"})
	wantRedirect(t, b.get(t, "/login/second-factor?request="+string(request)), "/oauth2/authorize/continue?request="+string(request))

	// The way there asks for everything, the trusted device notwithstanding.
	wantPage(t, b.get(t, confirm), 200, "confirm that it is you", annEmail)
	at := b.post(t, confirm, "login", annEmail, "password", annPassword).Header.Get("Location")
	wantRedirect(t, b.passCode(t, at, false), "/me/security")
	wantRedirect(t, b.get(t, confirm), "/me/security")
	wantRedirect(t, b.post(t, "/me/totp"), "/me/totp")
	s.advance(11 * time.Minute)
	wantRedirect(t, b.get(t, "/me/totp"), confirm)
}

func TestAuthenticatorAppOnOnesOwnPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	wantPage(t, b.get(t, "/me/security"), 200, "Set up an app", "Change password")
	wantRedirect(t, b.get(t, "/me/totp"), "/me/security")
	wantRedirect(t, b.post(t, "/me/recovery-codes"), "/me/security")
	wantRedirect(t, b.post(t, "/me/totp"), "/me/totp")
	page := b.get(t, "/me/totp")
	wantPage(t, b.post(t, "/me/totp/activate", "code", ""), 422, "Enter the 6-digit code")
	wantPage(t, b.post(t, "/me/totp/activate", "code", s.codeOf(t, key(t, page))), 200, "Keep these recovery codes", `href="/me/security"`)
	wantPage(t, b.get(t, "/me/security"), 200, "Use another app", "10 left")
	wantPage(t, b.post(t, "/me/recovery-codes"), 200, "Keep these recovery codes")
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	wantPage(t, b.post(t, "/me/totp/remove"), 409, "be removed", "Berlin")
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFAOptional}}))(t)
	wantRedirect(t, b.post(t, "/me/totp/remove"), "/me/security?done=totp_removed")
	wantPage(t, b.get(t, "/me/security"), 200, "Set up an app")
}

// IN-R13, EM-R31: a change needs the current password and ends what was begun
// with it.
func TestPasswordChange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, other := s.browser(t), s.browser(t)
	b.signIn(t)
	other.signIn(t)
	const next = "staple the horse"
	form := func(current, password, again string) []string {
		return []string{"current_password", current, "password", password, "password_again", again}
	}
	wantPage(t, b.post(t, "/me/password", form("", next, next)...), 422, "current password is missing or wrong")
	wantPage(t, b.post(t, "/me/password", form("wrong", next, next)...), 422, "current password is missing or wrong", `id="current_password"`)
	wantPage(t, b.post(t, "/me/password", form(annPassword, next, "another")...), 422, "not the same") // SI-R11
	wantPage(t, b.post(t, "/me/password", form(annPassword, "short", "short")...), 422, "too short")
	wantPage(t, b.post(t, "/me/password", form(annPassword, annEmail, annEmail)...), 422, "is your e-mail address")
	before := b.cookie(t, cookie.Session)
	wantRedirect(t, b.post(t, "/me/password", form(annPassword, next, next)...), "/me/security?done=password")
	wantPage(t, b.get(t, "/me/security?done=password"), 200, "signed out everywhere else")
	if b.cookie(t, cookie.Session) == before {
		t.Error("the session is the one of before")
	}
	wantRedirect(t, other.get(t, "/me"), "/login")
	fresh := s.browser(t)
	fresh.get(t, "/login")
	wantPage(t, fresh.post(t, "/login", "login", annEmail, "password", annPassword), 422, "is wrong")
	wantRedirect(t, fresh.post(t, "/login", "login", annEmail, "password", next), "/me")
}

// deliver does what is in the outbox, as the worker would.
func (s *site) deliver(t *testing.T) {
	t.Helper()
	for _, d := range must(s.store.ClaimDeliveries(t.Context(), s.clock(), s.clock().Add(time.Minute), outbox.Claim{Most: 100, Each: 100}))(t) {
		var err error
		switch d.Kind {
		case outbox.PasswordReset:
			err = s.authn.DeliverPasswordReset(operator(t), d, s.directory.InviteAgain)
		case outbox.Registration:
			err = s.authn.DeliverRegistration(t.Context(), d, s.directory.WriteToRegistrant)
		case outbox.Mail, outbox.BackchannelLogout:
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.store.FinishDelivery(t.Context(), d, s.clock()); err != nil {
			t.Fatal(err)
		}
	}
}

// letters returns those to Ann, the newest first.
func (s *site) letters(t *testing.T) []mail.Waiting {
	t.Helper()
	return must(s.mail.Outbox(t.Context(), 100))(t)
}

// TX-R21; security.md §5.2: links are built from the configured address, work
// once, and tell nobody who has an account.
func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	b, signedIn := s.browser(t), s.browser(t)
	wantRedirect(t, signedIn.passCode(t, signedIn.submitPassword(t), true), "/me")
	wantPage(t, b.get(t, "/login"), 200, `href="/login/forgot"`)
	wantPage(t, b.post(t, "/login/forgot", "login", " "), 422, "Enter your e-mail address")
	for _, address := range []string{"nobody@berlin.example", "ANN@berlin.example"} {
		wantRedirect(t, b.post(t, "/login/forgot", "login", address), "/login/forgot?sent=1")
	}
	wantPage(t, b.get(t, "/login/forgot?sent=1"), 200, "If there is an account")
	before := len(s.letters(t))
	if before != 1 {
		t.Errorf("got %+v, want the letter about the trusted browser only", s.letters(t))
	}
	s.deliver(t)
	got := s.letters(t) // the last one first
	if len(got) != before+1 || got[0].To != annEmail || !strings.HasPrefix(got[0].Link, "http://id.test/login/reset?token=") || !strings.Contains(got[0].Text, got[0].Link) {
		t.Fatalf("got %+v, want one letter to Ann", got)
	}
	first := strings.TrimPrefix(got[0].Link, "http://id.test")
	b.post(t, "/login/forgot", "login", annEmail)
	s.deliver(t)
	wantPage(t, b.get(t, first), 404, "This link does not work") // a newer one replaces it
	page := strings.TrimPrefix(s.letters(t)[0].Link, "http://id.test")

	const next = "staple the horse"
	wantPage(t, b.get(t, page), 200, "Choose a new password")
	wantPage(t, b.post(t, page, "password", next, "password_again", "x"), 422, "not the same")
	wantPage(t, b.post(t, page, "password", "short", "password_again", "short"), 422, "too short")
	wantRedirect(t, b.post(t, page, "password", next, "password_again", next), "/login?changed=1")
	wantPage(t, b.get(t, "/login?changed=1"), 200, "Your password is changed")
	wantPage(t, b.post(t, page, "password", next, "password_again", next), 404, "This link does not work")
	if b.cookie(t, cookie.Session) != "" {
		t.Error("the link signed somebody in")
	}
	wantRedirect(t, signedIn.get(t, "/me"), "/login") // whoever was signed in is out
	if at := signedIn.post(t, "/login", "login", annEmail, "password", next).Header.Get("Location"); !strings.HasPrefix(at, "/login/code") {
		t.Errorf("led to %q: the new password made do without the second factor", at)
	}
	if got := s.letters(t)[0]; got.Subject != "Your password was changed" || got.Link != "" {
		t.Errorf("the notice is %+v", got)
	}
}

func TestForgottenPasswordExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.post(t, "/login/forgot", "login", annEmail)
	s.deliver(t)
	page := strings.TrimPrefix(s.letters(t)[0].Link, "http://id.test")
	s.advance(30*time.Minute + time.Second)
	wantPage(t, b.get(t, page), 404, "This link does not work")
	wantPage(t, b.post(t, page, "password", "staple the horse", "password_again", "staple the horse"), 404, "This link does not work")
	for range 4 {
		b.post(t, "/login/forgot", "login", annEmail)
	}
	wantPage(t, b.post(t, "/login/forgot", "login", annEmail), 429, "Too many attempts")
	// A colleague behind the same network address is not in the way; a flood is.
	for i := range 44 {
		wantRedirect(t, b.post(t, "/login/forgot", "login", fmt.Sprintf("person-%d@berlin.example", i)), "/login/forgot?sent=1")
	}
	wantRedirect(t, b.post(t, "/login/forgot", "login", "last@berlin.example"), "/login/forgot?sent=1")
	wantPage(t, b.post(t, "/login/forgot", "login", "one-more@berlin.example"), 429, "Too many attempts")
}

// Whatever host a request was for: a link in a letter leads to the instance.
func TestLinksAreOfTheConfiguredAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	form := strings.NewReader("login=" + url.QueryEscape(annEmail))
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/login/forgot", form))(t)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Host = "evil.example"
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Host", "X-Forwarded-Server"} {
		r.Header.Set(name, "evil.example")
	}
	r.Header.Set("Forwarded", "host=evil.example;proto=http")
	wantRedirect(t, s.browser(t).do(t, r), "/login/forgot?sent=1")
	s.deliver(t)
	if got := s.letters(t); len(got) != 1 || strings.Contains(got[0].Text+got[0].HTML, "evil") {
		t.Errorf("got %+v", got)
	}
}

func TestOutboxIsTheOperators(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	wantRedirect(t, b.get(t, "/platform/outbox"), "/login")
	b.signIn(t)
	wantPage(t, b.get(t, "/platform/outbox"), 403, "Not allowed")
	olive := must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "olive@ops.example", Operator: new(true)}))(t)
	if err := s.authn.SetPassword(operator(t), olive.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	b.post(t, "/login/forgot", "login", annEmail)
	s.deliver(t)
	o := s.browser(t)
	o.get(t, "/login")
	wantRedirect(t, o.post(t, "/login", "login", "olive@ops.example", "password", annPassword), "/me")
	wantPage(t, o.get(t, "/platform/outbox"), 200, "No mail server is configured", annEmail, "/login/reset?token=", "Choose a new password")
	s.advance(8 * 24 * time.Hour)
	if err := s.mail.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.letters(t); len(got) != 0 {
		t.Errorf("after eight days there is still %+v", got)
	}
}

// TX-R20, EM-R33: the link leads to a first password and into the tenant.
func TestInvitationJourney(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tenant := must(s.directory.Tenant(t.Context(), "vienna"))(t)
	m := must(s.directory.AddMember(operator(t), tenant.ID, directory.MemberSpec{Email: "new@vienna.example", Roles: []string{"owner"}}))(t)
	if m.Status != directory.StatusInvited {
		t.Fatalf("got status %s", m.Status)
	}
	link := func() string {
		t.Helper()
		letter := s.letters(t)[0]
		if letter.To != "new@vienna.example" || letter.Subject != "You are invited to Vienna" || !strings.HasPrefix(letter.Link, "http://id.test/login/invitation?token=") {
			t.Fatalf("got %+v", letter)
		}
		return strings.TrimPrefix(letter.Link, "http://id.test")
	}
	first := link()
	if err := s.directory.Invite(operator(t), tenant.ID, m.ID); err != nil {
		t.Fatal(err)
	}
	page, b := link(), s.browser(t)
	wantPage(t, b.get(t, first), 404, "This link does not work", `href="/login/forgot"`)
	wantPage(t, b.get(t, page), 200, "Join Vienna", "new@vienna.example")
	wantPage(t, b.post(t, page, "password", "my own words", "password_again", "others"), 422, "not the same")
	wantPage(t, b.post(t, page, "password", "short", "password_again", "short"), 422, "too short")
	wantRedirect(t, b.post(t, page, "password", "my own words", "password_again", "my own words"), "/me")
	wantPage(t, b.get(t, "/me"), 200, "Vienna", "Owner", "Active")
	wantPage(t, b.post(t, page, "password", "somebody elses", "password_again", "somebody elses"), 404, "This link does not work")
	err := s.directory.Invite(operator(t), tenant.ID, m.ID)
	if !errors.Is(err, fault.Conflict) {
		t.Errorf("got %v for a member who has accepted", err)
	}
}

// SI-R10: the policy holds for the first password too, chosen before the person
// is more than invited.
func TestInvitationHoldsTheFirstPasswordToThePolicy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tenant := must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "stream", Name: "Stream", Blueprint: "streamone"}))(t)
	user := must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: "sam@stream.example"}))(t)
	must(s.directory.SaveMembership(operator(t), tenant.ID, user, directory.MembershipSpec{Roles: []string{"account_admin"}, Status: directory.StatusInvited}))(t)
	for password, good := range map[string]bool{"no upper case 1": false, "No Number": false, "Good enough 1": true} {
		err := s.authn.SetPassword(operator(t), user.ID, secret.NewText(password))
		if (err == nil) != good {
			t.Errorf("%q: got %v", password, err)
		}
	}
}

// Who has an account joins by it: the mail alone lets nobody in.
func TestInvitationOfSomebodyWithAnAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tenant := must(s.directory.Tenant(t.Context(), "vienna"))(t)
	must(s.directory.AddMember(operator(t), tenant.ID, directory.MemberSpec{Email: annEmail, Roles: []string{"owner"}}))(t)
	if letter := s.letters(t)[0]; letter.To != annEmail || letter.Link != "http://id.test/login" {
		t.Errorf("got %+v", letter)
	}
}

func TestInvitationExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tenant := must(s.directory.Tenant(t.Context(), "vienna"))(t)
	must(s.directory.AddMember(operator(t), tenant.ID, directory.MemberSpec{Email: "new@vienna.example", Roles: []string{"owner"}}))(t)
	page := strings.TrimPrefix(s.letters(t)[0].Link, "http://id.test")
	s.advance(168*time.Hour + time.Second)
	wantPage(t, s.browser(t).get(t, page), 404, "This link does not work")
}

// EM-R19: an administrator helps who has lost the app, unless other tenants rely
// on it.
func TestSecondFactorResetByAnAdministrator(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	tenant := must(s.directory.Tenant(t.Context(), "berlin"))(t)
	m := must(s.directory.Standing(t.Context(), tenant.ID, s.ann.ID))(t)
	err := s.directory.ResetSecondFactor(operator(t), tenant.ID, m.Membership)
	if fault.As(err).Code != "login_shared" {
		t.Errorf("got %v: Munich relies on the same second factor", err)
	}
	if err := s.directory.ForgetTrustedDevices(operator(t), tenant.ID, m.Membership); err != nil {
		t.Error(err)
	}
	if err := s.directory.SendPasswordReset(operator(t), tenant.ID, m.Membership); err != nil {
		t.Error(err)
	}
	if letter := s.letters(t)[0]; letter.To != annEmail || letter.Subject != "Choose a new password" {
		t.Errorf("got %+v", letter)
	}
	vienna := must(s.directory.Tenant(t.Context(), "vienna"))(t)
	bob := must(s.directory.AddMember(operator(t), vienna.ID, directory.MemberSpec{Email: "bob@vienna.example", Roles: []string{"owner"}}))(t)
	err = s.directory.ResetSecondFactor(operator(t), vienna.ID, bob.ID)
	if !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v for somebody without an app", err)
	}
	if err := s.authn.SetTOTP(operator(t), bob.User, secret.NewText(annKey)); err != nil {
		t.Fatal(err)
	}
	if err := s.directory.ResetSecondFactor(operator(t), vienna.ID, bob.ID); err != nil {
		t.Error(err)
	}
	if has := must(s.authn.HasTOTP(t.Context(), bob.User))(t); has {
		t.Error("the app is still asked for")
	}
}

// A demand that begins later is told of at each sign-in, and can be put off until
// then.
func TestSecondFactorIsAskedForAheadOfTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	policy := &directory.Policy{MFA: directory.MFARequired, MFAFrom: s.clock().Add(60 * time.Hour)}
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: policy}))(t)
	b := s.browser(t)
	next := func(signIn bool) (at string, step oidc.Step) {
		t.Helper()
		request := b.request(t, oidc.Parameters{TenantName: "berlin"})
		if signIn {
			wantRedirect(t, b.post(t, "/login?request="+string(request), "login", annEmail, "password", annPassword), "/oauth2/authorize/continue?request="+string(request))
		}
		r := must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
		session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
		return "/login/second-factor?request=" + string(request), must(s.oidc.Next(t.Context(), r, session))(t)
	}
	at, step := next(true)
	if step != oidc.StepOffer {
		t.Fatalf("got step %v, want the offer", step)
	}
	wantPage(t, b.get(t, at), 200, "in 3 days", "skip_button", "totp_key")
	skip := strings.Replace(at, "second-factor", "second-factor/skip", 1)
	back := strings.Replace(at, "/login/second-factor", "/oauth2/authorize/continue", 1)
	wantRedirect(t, b.post(t, skip), back)
	request := must(id.Parse[id.AuthorizationRequest](at[strings.Index(at, "=")+1:]))(t)
	r := must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
	session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	if step := must(s.oidc.Next(t.Context(), r, session))(t); step != oidc.StepDone {
		t.Errorf("got step %v after it was put off, want to be done", step)
	}
	s.advance(time.Minute)
	if _, step := next(false); step != oidc.StepDone {
		t.Errorf("got step %v without a new sign-in, want to be done", step)
	}
	s.advance(40 * time.Hour)
	at, _ = next(true)
	wantPage(t, b.get(t, at), 200, "from tomorrow")
	s.advance(21 * time.Hour)
	at, step = next(true)
	if step != oidc.StepLogin {
		t.Fatalf("got step %v once it is demanded, want the second factor", step)
	}
	login := strings.Replace(at, "/login/second-factor", "/login", 1)
	wantRedirect(t, b.get(t, login), at)
	if page := b.get(t, at); strings.Contains(page.body, "skip_button") {
		t.Error("what is demanded can be put off")
	}
	wantRedirect(t, b.post(t, strings.Replace(at, "second-factor", "second-factor/skip", 1)), strings.Replace(at, "/login/second-factor", "/oauth2/authorize/continue", 1))
	wantRedirect(t, b.get(t, login), at) // which changes nothing
}
