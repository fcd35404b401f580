package portal_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// A page of the second factor leads to the other ways, and what is typed there
// is judged the same.
func TestAnotherWay(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	codes := must(s.authn.NewRecoveryCodes(t.Context(), s.ann.ID))(t)
	b := s.browser(t)
	at := b.submitPassword(t)
	link := at + "&way=recovery"
	wantPage(t, b.get(t, at), 200, "authenticator app and enter", strings.ReplaceAll(link, "&", "&amp;"))
	other := b.get(t, link)
	wantPage(t, other, 200, "recovery codes that you have kept", "way=app")
	if strings.Contains(other.body, "trust_device") {
		t.Error("a recovery code makes a browser trusted")
	}
	wantPage(t, b.get(t, at+"&way=pigeon"), 200, "authenticator app and enter")
	wantPage(t, b.post(t, link, "code", secret.Random("").Reveal()), 422, "recovery codes that you have kept")
	wantRedirect(t, b.post(t, link, "code", codes[0].Reveal()), "/me")
}

// EM-R30: where a tenant demands a second factor and takes codes by mail, who has
// nothing else gets one at the sign-in.
func TestCodeByMail(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	policy := &directory.Policy{MFA: directory.MFARequired, EmailCodes: new(true)}
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: policy}))(t)
	b := s.browser(t)
	request := b.request(t, oidc.Parameters{TenantName: "berlin"})
	at := b.post(t, "/login?request="+string(request), "login", annEmail, "password", annPassword).Header.Get("Location")
	wantPage(t, b.get(t, at), 200, "We have sent a 6-digit code", `action="/login/code/mail?login=`)
	wantPage(t, b.post(t, strings.Replace(at, "/login/code", "/login/code/mail", 1)), 429, "Too many attempts. Try again in", "We have sent")
	s.advance(31 * time.Second)
	wantRedirect(t, b.post(t, strings.Replace(at, "/login/code", "/login/code/mail", 1)), at+"&way=mail")
	wantPage(t, b.post(t, at, "code", "12345"), 422, "That code is wrong")
	s.advance(5 * time.Minute)
	wantPage(t, b.get(t, at), 200, "We send a 6-digit code", "Send a code")
	wantRedirect(t, b.post(t, strings.Replace(at, "/login/code", "/login/code/mail", 1)), at+"&way=mail")
	wantRedirect(t, b.post(t, at, "code", mailedCode(t, s), "trust_device", "on"), "/oauth2/authorize/continue?request="+string(request))
	session := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	r := must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
	if step := must(s.oidc.Next(t.Context(), r, session))(t); step != oidc.StepDone {
		t.Errorf("got step %v, want to be done", step)
	}

	// A tenant that does not take them has an app set up.
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "munich", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	request = b.request(t, oidc.Parameters{TenantName: "munich"})
	r = must(s.oidc.Request(t.Context(), request, secret.NewText(b.cookie(t, cookie.Browser))))(t)
	if step := must(s.oidc.Next(t.Context(), r, session))(t); step != oidc.StepLogin || r.MailCounts {
		t.Fatalf("got step %v, want the second factor", step)
	}
	wantRedirect(t, b.get(t, "/login?request="+string(request)), "/login/second-factor?request="+string(request))
	wantPage(t, b.get(t, "/login/second-factor?request="+string(request)), 200, "totp_key")
}

// mailedCode returns the code of the last letter.
func mailedCode(t *testing.T, s *site) string {
	t.Helper()
	letters := must(s.mail.Outbox(t.Context(), 1))(t)
	code := regexp.MustCompile(`(?m)^([0-9]{6})$`).FindStringSubmatch(letters[0].Text)
	if code == nil {
		t.Fatalf("no code in %q", letters[0].Text)
	}
	return code[1]
}
