package portal_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	virtual "github.com/descope/virtualwebauthn"
	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/portal"
)

var testSite = virtual.RelyingParty{ID: "id.test", Name: "id.test", Origin: "http://id.test"}

// token is an authenticator with one passkey, that the browser of a test answers by.
type token struct {
	virtual.Authenticator
	credential virtual.Credential
}

// makePasskey makes a passkey by the page that asks at options, and posts it there.
func (b *browser) makePasskey(t *testing.T, options, page string, fields ...string) (*token, answer) {
	t.Helper()
	a := b.post(t, options)
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: got %d %s", options, a.StatusCode, a.body)
	}
	asked := must(virtual.ParseAttestationOptions(a.body))(t)
	k := &token{virtual.NewAuthenticator(), virtual.NewCredential(virtual.KeyTypeEC2)}
	for len(k.credential.Key.AttestationData()) != 77 { // this authenticator drops a leading zero of a coordinate
		k.credential = virtual.NewCredential(virtual.KeyTypeEC2)
	}
	k.Options.UserHandle = []byte(asked.UserID)
	made := virtual.CreateAttestationResponse(testSite, k.Authenticator, k.credential, *asked)
	return k, b.post(t, page, append(fields, "passkey", made)...)
}

// usePasskey answers what is asked at options, and posts it to the page.
func (b *browser) usePasskey(t *testing.T, k *token, options, page string) answer {
	t.Helper()
	asked := must(virtual.ParseAssertionOptions(b.post(t, options).body))(t)
	k.credential.Counter++
	return b.post(t, page, "passkey", virtual.CreateAssertionResponse(testSite, k.Authenticator, k.credential, *asked))
}

func TestPasskeyPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	wantPage(t, b.get(t, "/me/security"), 200, "You have no passkeys", `href="/me/passkey"`)
	wantPage(t, b.get(t, "/me/passkey"), 200, `data-passkey="create"`, `type="module"`, "Passkeys need JavaScript")
	wantPage(t, b.post(t, "/me/passkey", "passkey", ""), 422, "was not accepted", `data-passkey="create"`)
	k, a := b.makePasskey(t, "/me/passkey/options", "/me/passkey", "name", "Work laptop")
	wantPage(t, a, 200, "Keep these recovery codes", `href="/me/security?done=passkey_added"`)
	wantPage(t, b.get(t, "/me/security?done=passkey_added"), 200, "The passkey is added", "Work laptop", "10 left", "on one device")
	wantPage(t, b.get(t, "/me"), 200, "Two factors")
	if got := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t); got.ACR != authn.ACRPhishingResistant {
		t.Errorf("the session is %s %v", got.ACR, got.AMR)
	}
	passkey := string(must(s.authn.Passkeys(t.Context(), s.ann.ID))(t)[0].ID)
	wantPage(t, b.post(t, "/me/passkeys/rename", "passkey", passkey, "name", " "), 422, "at most 60 characters", `href="#name-`+passkey)
	wantRedirect(t, b.post(t, "/me/passkeys/rename", "passkey", passkey, "name", "Old laptop"), "/me/security?done=passkey_renamed")
	wantPage(t, b.get(t, "/me/security"), 200, "Old laptop")

	b.post(t, "/logout")
	wantPage(t, b.get(t, "/login"), 200, `autocomplete="username webauthn"`, `data-options="/login/passkey"`)
	wantRedirect(t, b.usePasskey(t, k, "/login/passkey", "/login"), "/me")
	s.advance(11 * time.Minute)
	for _, path := range []string{"/me/passkey", "/me/passkey/options", "/me/passkeys/remove"} { // sudo
		wantRedirect(t, b.post(t, path, "passkey", passkey), "/login?confirm=1&continue=%2Fme%2Fsecurity")
	}
	confirm := "/login?confirm=1&continue=%2Fme%2Fsecurity"
	wantPage(t, b.get(t, confirm), 200, "confirm that it is you")
	wantRedirect(t, b.usePasskey(t, k, "/login/passkey", confirm), "/me/security")
	wantRedirect(t, b.post(t, "/me/passkeys/remove", "passkey", passkey), "/me/security?done=passkey_removed")
	wantPage(t, b.post(t, "/login?confirm=1", "passkey", "{}"), 422, "That passkey was not accepted")
	letters := must(s.mail.Outbox(t.Context(), 100))(t)
	var subjects []string
	for _, l := range letters {
		subjects = append(subjects, l.Subject)
	}
	if all := strings.Join(subjects, "; "); !strings.Contains(all, "A passkey was added") || !strings.Contains(all, "A passkey was removed") {
		t.Errorf("got the letters %s", all)
	}
}

func TestScriptOnlyWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	policy := func(path string) string { return b.get(t, path).Header.Get("Content-Security-Policy") }
	if got := policy("/login"); !strings.HasSuffix(got, "; script-src 'self'; connect-src 'self'") {
		t.Errorf("/login: %s", got)
	}
	b.signIn(t)
	for _, path := range []string{"/me", "/me/security", "/login/forgot", "/logout"} {
		if got := policy(path); strings.Contains(got, "script-src") {
			t.Errorf("%s: %s", path, got)
		}
	}
	script := regexp.MustCompile(`/static/passkey-[0-9a-f]+\.js`).FindString(b.get(t, "/me/passkey").body)
	if a := b.get(t, script); a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%q: got %d %v", script, a.StatusCode, a.Header)
	}
}

func TestPasskeyNeedsTheBrowsersCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	wantPage(t, b.post(t, "/login/passkey"), 400, "Cookies are needed")
	b.signIn(t)
	k, _ := b.makePasskey(t, "/me/passkey/options", "/me/passkey")
	b.post(t, "/logout")
	asked := must(virtual.ParseAssertionOptions(b.post(t, "/login/passkey").body))(t)
	k.credential.Counter++
	made := virtual.CreateAssertionResponse(testSite, k.Authenticator, k.credential, *asked)
	other := s.browser(t)
	other.get(t, "/login")
	wantPage(t, other.post(t, "/login", "passkey", made), 422, "That passkey was not accepted")
	wantRedirect(t, b.post(t, "/login", "passkey", made), "/me") // it was not used up by the other
	wantRedirect(t, b.post(t, "/logout"), "/logout")
	wantPage(t, b.post(t, "/login", "passkey", made), 422, "That passkey was not accepted")
}

func TestPasskeyAsSecondStep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	k, _ := b.makePasskey(t, "/me/passkey/options", "/me/passkey")
	b.post(t, "/logout")
	at := b.submitPassword(t)
	options := strings.Replace(at, "/login/code", "/login/code/passkey", 1)
	wantPage(t, b.get(t, at), 200, "Second step", `data-options="`+options, "Try another way", "A recovery code", "Don’t ask again")
	wantPage(t, b.post(t, at, "passkey", "{}"), 422, "That passkey was not accepted")
	wantPage(t, b.post(t, at+"&way=recovery", "code", "1"), 422, "recovery codes that you have kept", "way=passkey", "wrong or was used")
	wantRedirect(t, b.usePasskey(t, k, options, at), "/me")
	if got := must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t); strings.Join(got.AMR, " ") != "pwd hwk user mfa" {
		t.Errorf("the session has %v", got.AMR)
	}
	b.post(t, "/logout")
	s.withTOTP(t)
	wantPage(t, b.get(t, b.submitPassword(t)), 200, "Try another way", "way=app", "way=recovery")
}

// A tenant that demands a second factor takes a passkey: a new one, one of both
// factors, and one for a step-up.
func TestPasskeyWhereASecondFactorIsDemanded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(s.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	berlin := oidc.Parameters{TenantName: "berlin"}
	next := func(b *browser, request string) oidc.Step {
		r := must(s.oidc.Request(t.Context(), must(id.Parse[id.AuthorizationRequest](request))(t), secret.NewText(b.cookie(t, cookie.Browser))))(t)
		return must(s.oidc.Next(t.Context(), r, must(s.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)))(t)
	}
	b := s.browser(t)
	request := string(b.request(t, berlin))
	wantRedirect(t, b.post(t, "/login?request="+request, "login", annEmail, "password", annPassword), "/oauth2/authorize/continue?request="+request)
	if step := next(b, request); step != oidc.StepLogin {
		t.Fatalf("one factor: got step %v", step)
	}
	page := "/login/second-factor?request=" + request
	wantPage(t, b.get(t, page), 200, "Make a passkey instead", `data-options="/login/second-factor/passkey?request=`+request)
	k, a := b.makePasskey(t, "/login/second-factor/passkey?request="+request, page)
	wantPage(t, a, 200, "Keep these recovery codes", "/oauth2/authorize/continue?request="+request)
	if step := next(b, request); step != oidc.StepDone {
		t.Errorf("a new passkey: got step %v", step)
	}
	passkey := string(must(s.authn.Passkeys(t.Context(), s.ann.ID))(t)[0].ID)
	wantPage(t, b.post(t, "/me/passkeys/remove", "passkey", passkey), 409, "Berlin")

	other := s.browser(t)
	request = string(other.request(t, berlin))
	wantRedirect(t, other.usePasskey(t, k, "/login/passkey", "/login?request="+request), "/oauth2/authorize/continue?request="+request)
	if step := next(other, request); step != oidc.StepDone {
		t.Errorf("a passkey alone: got step %v", step)
	}
}

// chromium is a browser with JavaScript and an authenticator of its own.
type chromium struct {
	context.Context //nolint:containedctx // it is the browser itself
	site            *site
	key             webauthn.AuthenticatorID

	mu         sync.Mutex
	violations []string
}

func newChromium(t *testing.T, mounts ...func(*testing.T, *site, *portal.Portal, gin.IRouter)) *chromium {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} { // as tools/install.sh looks for it
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Fatal("no Chromium is installed; make test installs it")
	}
	listener := must((&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0"))(t)
	origin := "http://localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	c := &chromium{site: newSiteAt(t, origin, listener, mounts...)}
	c.site.URL = origin
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute))...)
	t.Cleanup(stop)
	ctx, done := chromedp.NewContext(allocator)
	t.Cleanup(done)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	c.Context = ctx
	chromedp.ListenTarget(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok && strings.Contains(e.Entry.Text, "Content Security Policy") {
			c.mu.Lock()
			c.violations = append(c.violations, e.Entry.Text)
			c.mu.Unlock()
		}
	})
	c.run(t, log.Enable(), webauthn.Enable(), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		c.key, err = webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}).Do(ctx)
		return err
	}))
	return c
}

func (c *chromium) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(c, actions...); err != nil {
		t.Fatal(err)
	}
}

func (c *chromium) open(path string) chromedp.Action { return chromedp.Navigate(c.site.URL + path) }

// until waits for a condition. A page that is left at that moment is asked no more.
func until(condition string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			var holds bool
			if err := chromedp.Evaluate(condition, &holds).Do(ctx); err == nil && holds {
				return nil
			}
		}
		var at, text string
		_ = chromedp.Evaluate(`location.href`, &at).Do(ctx)
		_ = chromedp.Evaluate(`document.body.innerText`, &text).Do(ctx)
		return fmt.Errorf("waited in vain for %s, at %s:\n%s", condition, at, text)
	})
}

func text(words string) chromedp.Action {
	return until(`document.readyState === "complete" && document.body.innerText.includes(` + strconv.Quote(words) + `)`)
}

func (c *chromium) at(path string) chromedp.Action {
	return until(`document.readyState === "complete" && location.pathname === ` + strconv.Quote(path))
}

// password signs in while the authenticator does not answer.
func (c *chromium) password() chromedp.Action {
	return chromedp.Tasks{
		webauthn.SetAutomaticPresenceSimulation(c.key, false),
		c.open("/login"), chromedp.SendKeys("#username", annEmail), chromedp.SendKeys("#password", annPassword), chromedp.Click("#submit_button"),
	}
}

// security.md §5.2, ux.md §2: an authenticator in a browser, over the wire.
func TestPasskeyInABrowser(t *testing.T) {
	t.Parallel()
	c := newChromium(t)
	signOut := chromedp.Tasks{c.open("/logout"), chromedp.Click("#submit_button, form button"), text("You are signed out")}
	touch := func(on bool) chromedp.Action { return webauthn.SetAutomaticPresenceSimulation(c.key, on) }

	c.run(t, c.password(), c.at("/me"), touch(true),
		c.open("/me/passkey"), chromedp.SendKeys("#name", "Laptop"), chromedp.Click("#passkey_button"), text("Keep these recovery codes"),
		c.open("/me/security"), text("Laptop"), signOut)
	c.run(t, c.open("/login"), c.at("/me")) // by what the browser fills in
	sessions := must(c.site.authn.Sessions(t.Context(), c.site.ann.ID))(t)
	if len(sessions) != 1 || sessions[0].ACR != authn.ACRPhishingResistant || strings.Join(sessions[0].AMR, " ") != "hwk user mfa" {
		t.Errorf("got the sessions %+v", sessions)
	}
	c.run(t, signOut, touch(false), c.open("/login"), chromedp.WaitVisible("#passkey_button"), touch(true), chromedp.Click("#passkey_button"), c.at("/me")) // by the button
	c.run(t, signOut, c.password(), c.at("/login/code"), chromedp.WaitVisible("#passkey_button"), text("Second step"),
		touch(true), chromedp.Click("#passkey_button"), c.at("/me"))

	// A copy that has not seen the uses of the original counts behind it.
	c.run(t, touch(true), signOut, touch(false), chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := webauthn.GetCredentials(c.key).Do(ctx)
		if err != nil {
			return err
		}
		all[0].SignCount = 0
		if err := webauthn.ClearCredentials(c.key).Do(ctx); err != nil {
			return err
		}
		return webauthn.AddCredential(c.key, all[0]).Do(ctx)
	}), c.open("/login"), chromedp.WaitVisible("#passkey_button"), touch(true), chromedp.Click("#passkey_button"), text("That passkey was not accepted"))
	found := false
	for _, l := range must(c.site.mail.Outbox(t.Context(), 100))(t) {
		found = found || l.Subject == "A passkey was refused"
	}
	if !found {
		t.Error("nobody is told of the copy")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.violations) > 0 {
		t.Errorf("got reports of the policy: %v", c.violations)
	}
}

func TestBrowserThatKnowsNoPasskeys(t *testing.T) {
	t.Parallel()
	c := newChromium(t)
	c.run(t, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`delete window.PublicKeyCredential`).Do(ctx)
		return err
	}), c.open("/login"), text("This browser knows no passkeys"))
	var hidden bool
	c.run(t, chromedp.Evaluate(`document.querySelector("#passkey_button").checkVisibility() === false`, &hidden))
	if !hidden {
		t.Error("the button is offered all the same")
	}
	c.run(t, c.password(), c.at("/me"))
}
