package portal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // axe-core
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/oidc/provider"
	"github.com/rolecall/rolecall/portal"
)

// axe is axe-core 4.14.1 (MPL-2.0), which looks for what people with a disability
// could not use.
//
//go:embed testdata/axe-4.14.1/axe.min.js
var axe string

// picturesFlag has the journeys keep pictures of what they see.
var picturesFlag = flag.String("pictures", "", "write pictures of the pages to this folder")

const runAxe = `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}).then(r => JSON.stringify(
	r.violations.map(v => v.id + ": " + v.help + " at " + v.nodes.map(n => n.html).join(" and "))))`

// see looks at the page as it is: light and dark by axe, and at 320 pixels, where
// nothing may have to be scrolled sideways (WCAG 2.2, 1.4.10).
func (c *chromium) see(t *testing.T, name string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		c.run(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}))
		var found string
		c.run(t, chromedp.Evaluate(axe+";0", nil),
			chromedp.Evaluate(runAxe, &found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
		var violations []string
		if err := json.Unmarshal([]byte(found), &violations); err != nil {
			t.Fatal(err)
		}
		for _, violation := range violations {
			t.Errorf("%s, %s: %s", name, scheme, violation)
		}
		for _, screen := range []struct {
			name          string
			width, height int64
		}{{"phone", 390, 844}, {"desktop", 1280, 800}} {
			if *picturesFlag == "" {
				continue
			}
			var picture []byte
			c.run(t, emulation.SetDeviceMetricsOverride(screen.width, screen.height, 1, false), chromedp.ActionFunc(func(ctx context.Context) (err error) {
				picture, err = page.CaptureScreenshot().WithFormat(page.CaptureScreenshotFormatWebp).WithQuality(70).WithCaptureBeyondViewport(true).Do(ctx)
				return err
			}), emulation.ClearDeviceMetricsOverride())
			if err := os.WriteFile(filepath.Join(*picturesFlag, fmt.Sprintf("%s-%s-%s.webp", name, screen.name, scheme)), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wide int
	c.run(t, emulation.SetDeviceMetricsOverride(320, 640, 1, false), chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide),
		emulation.ClearDeviceMetricsOverride())
	if wide > 320 {
		t.Errorf("%s: the page is %d pixels wide on a screen of 320", name, wide)
	}
	// What is clicked on next is where it will be once the page is drawn for this
	// screen again.
	c.run(t, chromedp.Evaluate(`new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn))).then(() => 0)`, nil,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// quiet is a browser whose policy reports fail the test, with no authenticator
// that answers by itself.
func quiet(t *testing.T, mounts ...func(*testing.T, *site, *portal.Portal, gin.IRouter)) *chromium {
	t.Helper()
	c := newChromium(t, mounts...)
	c.run(t, webauthn.SetAutomaticPresenceSimulation(c.key, false))
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.violations) > 0 {
			t.Errorf("got reports of the policy: %v", c.violations)
		}
	})
	return c
}

func (c *chromium) signOut(t *testing.T) {
	t.Helper()
	c.run(t, c.open("/logout"), chromedp.Click("#submit_button"), text("You are signed out"))
}

func (c *chromium) submitCode(t *testing.T, trust bool) {
	t.Helper()
	c.site.advance(time.Minute) // so that the code is a new one
	if trust {
		c.run(t, chromedp.Click("#trust_device"))
	}
	c.run(t, chromedp.SendKeys("#code", c.site.code(t)), chromedp.Click("#submit_button"))
}

// link is the way of the latest letter's link on this site.
func (c *chromium) link(t *testing.T) string {
	t.Helper()
	link := c.site.letters(t)[0].Link
	return link[strings.Index(link, "/login/"):]
}

// begin has the shop ask for a sign-in in this browser, and returns its request.
func (c *chromium) begin(t *testing.T, parameters oidc.Parameters) id.AuthorizationRequest {
	t.Helper()
	value := ""
	c.run(t, c.open("/login"), chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().Do(ctx)
		for _, k := range all {
			if k.Name == cookie.Browser {
				value = k.Value
			}
		}
		return err
	}))
	parameters.RedirectURI = "https://shop.example/callback"
	r := c.site.oidc.NewRequest("shop", secret.NewText(value), parameters)
	if _, err := c.site.oidc.Begin(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

const newPassword = "four unrelated words"

func (c *chromium) choosePassword(t *testing.T) {
	t.Helper()
	c.run(t, chromedp.SendKeys("#password", newPassword), chromedp.SendKeys("#password_again", newPassword), chromedp.Click("#submit_button"))
}

func TestJourneySetup(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	token := must(c.site.authn.SetupLink(t.Context()))(t)
	c.run(t, c.open("/setup?token="+token.Reveal()), text("Create the first operator"))
	c.see(t, "setup")
	c.run(t, chromedp.SendKeys("#given", "Olive"), chromedp.SendKeys("#family", "Ops"), chromedp.SendKeys("#email", "olive@ops.example"))
	c.choosePassword(t)
	c.run(t, c.at("/me"), text("Olive Ops"))
	c.see(t, "me-operator")
	c.run(t, c.open("/platform/outbox"), text("Outbox"))
	c.see(t, "outbox")
	c.run(t, c.open("/setup?token="+token.Reveal()), text("This link does not work"))
	c.see(t, "error")
}

func TestJourneyInvitation(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	tenant := must(c.site.directory.Tenant(t.Context(), "vienna"))(t)
	must(c.site.directory.AddMember(operator(t), tenant.ID, directory.MemberSpec{Email: "new@vienna.example", Roles: []string{"owner"}}))(t)
	c.run(t, c.open(c.link(t)), text("Join Vienna"))
	c.see(t, "invitation")
	c.choosePassword(t)
	c.run(t, c.at("/me"), text("Vienna"))
}

// SI-R18: from an application's sign-in page to being a member.
func TestJourneyRegistration(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	policy := &directory.Policy{Registration: &directory.Registration{Domains: []string{"vienna.example"}, Role: "member", Terms: "https://vienna.example/terms"}}
	must(c.site.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "vienna", Policy: policy}))(t)
	request := c.begin(t, oidc.Parameters{TenantName: "vienna"})
	c.run(t, c.open("/login?request="+string(request)), text("No account yet?"))
	c.see(t, "login-register")
	c.run(t, chromedp.Click("#register_link"), text("Register at Vienna"))
	c.see(t, "register")
	c.run(t, chromedp.SendKeys("#email", "new@elsewhere.example"), chromedp.Click("#submit_button"), text("this domain"))
	c.see(t, "register-refused")
	c.run(t, chromedp.SetValue("#email", "new@vienna.example"), chromedp.Click("#submit_button"), text("A message is on its way"))
	c.see(t, "register-sent")
	c.site.deliver(t)
	c.run(t, c.open(c.link(t)), text("new@vienna.example"), chromedp.SendKeys("#given", "Nina"), chromedp.SendKeys("#family", "Neu"), chromedp.Click("#terms"))
	c.see(t, "registration")
	c.choosePassword(t)
	c.run(t, c.at("/oauth2/authorize/continue"), c.open("/login/registration/waiting"), text("waits for approval"))
	c.see(t, "registration-waiting")
}

// SI-R18: without an application that it began with, or long after it, a
// registration ends at the tenant; one that asks for a postal address gets it.
func TestJourneyRegistrationByOneself(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	policy := &directory.Policy{Registration: &directory.Registration{Domains: []string{"vienna.example"}, Role: "member", Address: true}}
	tenant := must(c.site.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "vienna", Policy: policy}))(t)
	c.run(t, c.open("/login/register?tenant=vienna"), chromedp.SendKeys("#email", "new@vienna.example"), chromedp.Click("#submit_button"), text("A message is on its way"))
	c.site.deliver(t)
	c.run(t, c.open(c.link(t)), chromedp.SendKeys("#given", "Nina"), chromedp.SendKeys("#family", "Neu"), chromedp.SendKeys("#street", "Ringstraße 1"),
		chromedp.SendKeys("#postal_code", "1010"), chromedp.SendKeys("#locality", "Wien"), chromedp.SetValue("#country", "AT"))
	c.see(t, "registration-address")
	c.choosePassword(t)
	c.run(t, c.at("/me/tenants/vienna"), text("You have registered at Vienna"))
	c.see(t, "own-tenant-registered")
	user := must(c.site.directory.UserByName(t.Context(), "new@vienna.example"))(t)
	m := must(c.site.store.MembershipOfUser(t.Context(), tenant.ID, user.ID))(t)
	want := []any{map[string]any{"type": "other", "primary": true, "streetAddress": "Ringstraße 1", "postalCode": "1010", "locality": "Wien", "country": "AT"}}
	if !reflect.DeepEqual(m.Profile["addresses"], want) {
		t.Errorf("got %v, want %v", m.Profile["addresses"], want)
	}
}

// EM-R27: asked the first time, not the second; again after removal, after the
// days are over and after a change of the password.
func TestJourneyTrustedDevice(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.site.withTOTP(t)
	asked := func(trust bool) {
		t.Helper()
		c.run(t, c.password(), c.at("/login/code"))
		c.submitCode(t, trust)
		c.run(t, c.at("/me"))
	}
	c.run(t, c.password(), c.at("/login/code"), text("for 30 days"))
	c.see(t, "code")
	c.submitCode(t, true)
	c.run(t, c.at("/me"))
	c.see(t, "me")
	c.signOut(t)
	c.see(t, "signed-out")
	c.run(t, c.password(), c.at("/me"), c.open("/me/security"), text("Trusted since"))
	c.see(t, "security")
	c.run(t, chromedp.Click(`button[name="device"]`), text("asks for a code"))
	c.signOut(t)
	asked(true)
	c.signOut(t)
	c.site.advance(31 * 24 * time.Hour)
	asked(true)
	c.run(t, c.open("/me/security"), chromedp.SendKeys("#current_password", annPassword))
	c.run(t, chromedp.SendKeys("#password", "other unrelated words"), chromedp.SendKeys("#password_again", "other unrelated words"), chromedp.Click("#submit_button"),
		text("Your password is changed"))
	c.signOut(t)
	c.run(t, c.open("/login"), chromedp.SendKeys("#username", annEmail), chromedp.SendKeys("#password", "other unrelated words"),
		chromedp.Click("#submit_button"), c.at("/login/code"))
}

func TestJourneyRecoveryCode(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.site.withTOTP(t)
	codes := must(c.site.authn.NewRecoveryCodes(t.Context(), c.site.ann.ID))(t)
	c.run(t, c.password(), c.at("/login/code"), chromedp.Click("#way_recovery"), text("Each works once"))
	c.see(t, "recovery-code")
	c.run(t, chromedp.SendKeys("#code", "0000-0000-0000"), chromedp.Click("#submit_button"), text("wrong or was used"))
	c.see(t, "recovery-code-wrong")
	c.run(t, chromedp.SendKeys("#code", codes[0].Reveal()), chromedp.Click("#submit_button"), c.at("/me"), c.open("/me/security"), text("9 left"))
}

func TestJourneyForgottenPassword(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.open("/login"), chromedp.Click(`a[href^="/login/forgot"]`), c.at("/login/forgot"))
	c.see(t, "forgot")
	c.run(t, chromedp.SendKeys("#username", annEmail), chromedp.Click("#submit_button"), text("a link is on its way"))
	c.see(t, "forgot-sent")
	c.site.deliver(t)
	c.run(t, c.open(c.link(t)), c.at("/login/reset"))
	c.see(t, "reset")
	c.choosePassword(t)
	c.run(t, c.at("/login"), text("Your password is changed"), chromedp.SendKeys("#username", annEmail),
		chromedp.SendKeys("#password", newPassword), chromedp.Click("#submit_button"), c.at("/me"))
}

func TestJourneyForcedChange(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	if err := c.site.authn.RequirePasswordChange(t.Context(), c.site.ann.ID); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.password(), c.at("/login/change"), text("must be changed"))
	c.see(t, "change")
	c.choosePassword(t)
	c.run(t, c.at("/me"))
}

// An account of several tenants chooses among them.
func TestJourneyTenantChooser(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	request := string(c.begin(t, oidc.Parameters{}))
	c.run(t, c.open("/login?request="+request), text("Sign in to Shop"))
	c.see(t, "login-application")
	c.run(t, chromedp.SendKeys("#username", annEmail), chromedp.SendKeys("#password", annPassword), chromedp.Click("#submit_button"),
		c.at("/oauth2/authorize/continue"), c.open("/login/tenant?request="+request), text("Munich"), text("Oslo invites you"))
	c.see(t, "tenants")
	c.run(t, chromedp.Click(`button[name="tenant"][value="munich"]`), c.at("/oauth2/authorize/continue"))
}

// RFC 8628: a code that a device shows, by its link and typed; the question, yes and
// no. Where the sign-in goes on is the provider's: conformance/attack goes there.
func TestJourneyDevice(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	box := oidc.ApplicationSpec{ClientID: "box", Name: "Television", Type: oidc.Device, Secret: secret.Random("")}
	must(c.site.oidc.PutApplication(operator(t), box))(t)
	ask := func() string {
		app := must(c.site.oidc.Application(t.Context(), "box"))(t)
		const tv = "Mozilla/5.0 (Linux; Android 14) Chrome/130.0"
		return must(c.site.oidc.BeginDevice(t.Context(), app, "openid profile groups offline_access tenant:berlin", oidc.Terms{From: netip.MustParseAddr("192.0.2.44")}, tv))(t).User
	}
	question := func() chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			var at string
			if err := chromedp.Location(&at).Do(ctx); err != nil {
				return err
			}
			_, request, _ := strings.Cut(at, "?")
			return c.open("/device/confirm?" + request).Do(ctx)
		})
	}
	c.run(t, c.password(), c.at("/me"), c.open("/device"), text("Enter the code"))
	c.see(t, "device")
	c.run(t, chromedp.SendKeys("#user_code", "bbbb bbbb"), chromedp.Click("#submit_button"), text("No device waits"))
	c.see(t, "device-wrong")
	c.run(t, c.open("/device?user_code="+ask()), text("Compare this code"))
	c.see(t, "device-link")
	c.run(t, chromedp.Click("#submit_button"), c.at("/oauth2/authorize/continue"), question(), text("Did you start this yourself"))
	c.see(t, "device-question")
	c.run(t, chromedp.Click("#confirm_button"), text("Go back to your device"))
	c.see(t, "device-allowed")
	c.run(t, c.open("/device"), chromedp.SendKeys("#user_code", strings.ToLower(ask())), chromedp.Click("#submit_button"), c.at("/oauth2/authorize/continue"),
		question(), chromedp.Click("#cancel_button"), text("not allowed"))
	c.see(t, "device-denied")
}

// What needs a confirmed person asks again, and goes on where it was asked for.
func TestJourneyConfirmation(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	c.site.advance(11 * time.Minute)
	c.run(t, c.open("/me/security"), chromedp.Click(`form[action="/me/totp"] button`), text("Please confirm that it is you"))
	c.see(t, "confirm")
	c.run(t, chromedp.SendKeys("#password", annPassword), chromedp.Click("#submit_button"), c.at("/me/security"),
		chromedp.Click(`form[action="/me/totp"] button`), c.at("/me/totp"))
	c.see(t, "enroll")
	var key string
	c.run(t, chromedp.Text("#totp_key", &key))
	c.run(t, chromedp.SendKeys("#code", c.site.codeOf(t, strings.ReplaceAll(key, " ", ""))), chromedp.Click("#submit_button"), text("Keep these recovery codes"))
	c.see(t, "recovery-codes")
}

// Everything but passkeys works without JavaScript; a language is chosen without.
func TestJourneyWithoutScript(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, emulation.SetScriptExecutionDisabled(true))
	c.run(t, c.password(), c.at("/me"), chromedp.Click(`button[value="de"]`), text("Ihre Mandanten"), chromedp.Click(`button[value="fr"]`), text("Où vous êtes connecté"))
	c.run(t, c.open("/logout"), chromedp.Click("#submit_button"), text("Vous êtes déconnecté"), c.open("/login"), text("JavaScript"))
}

// openToIdle opens a page and waits until the browser has nothing more to load
// for it, as it tells itself.
func (c *chromium) openToIdle(path string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		idle := make(chan cdp.LoaderID, 16)
		chromedp.ListenTarget(ctx, func(event any) {
			if e, ok := event.(*page.EventLifecycleEvent); ok && e.Name == "networkIdle" {
				idle <- e.LoaderID
			}
		})
		if err := page.SetLifecycleEventsEnabled(true).Do(ctx); err != nil {
			return err
		}
		_, loader, _, _, err := page.Navigate(c.site.URL + path).Do(ctx)
		for err == nil {
			select {
			case loaded := <-idle:
				if loaded == loader {
					return nil
				}
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		return err
	})
}

// The first page is small: it is what people wait for.
func TestLoginPageIsSmall(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.open("/login"), text("Sign in"))
	c.see(t, "login")
	var loaded []struct {
		Name string `json:"name"`
		Size int    `json:"transferSize"`
	}
	c.run(t, network.ClearBrowserCache(), c.openToIdle("/login"), text("Sign in"),
		chromedp.Evaluate(`performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource")).map(e => ({name: e.name, transferSize: e.transferSize}))`, &loaded))
	total := 0
	for _, l := range loaded {
		total += l.Size
	}
	if total == 0 || total > 40_000 || len(loaded) > 4 {
		t.Errorf("the page takes %d bytes in %d requests, want at most 40 kB in 4: %v", total, len(loaded), loaded)
	}
}

// provided adds the protocol's endpoints and their own pages.
func provided(t *testing.T, s *site, p *portal.Portal, r gin.IRouter) {
	t.Helper()
	if err := s.oidc.EnsureKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(provider.New(provider.Deps{OIDC: s.oidc, Authn: s.authn, Cookies: cookie.NewJar(false), Logger: slog.New(slog.DiscardHandler), Stylesheet: p.Stylesheet()}))(t).Mount(r)
}

// The protocol's own pages look like all others.
func TestJourneyProtocol(t *testing.T) {
	t.Parallel()
	c := quiet(t, provided)
	c.run(t, c.open("/oauth2/authorize?client_id=nobody"), text("Sign-in not possible"))
	c.see(t, "protocol-error")
	c.run(t, c.open("/oauth2/end_session"), text("You are signed out"))
	c.see(t, "protocol-signed-out")
	c.run(t, c.password(), c.at("/me"), c.open("/oauth2/end_session"), chromedp.WaitVisible("#confirm_button"))
	c.see(t, "protocol-sign-out")
	// Where the script does not send the answer, the person does.
	sum := sha256.Sum256([]byte("a verifier of forty-three characters or more"))
	ask := url.Values{
		"client_id": {"shop"}, "redirect_uri": {"https://shop.example/callback"}, "response_type": {"code"}, "scope": {"openid tenant:berlin"},
		"response_mode": {"form_post"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	c.run(t, emulation.SetScriptExecutionDisabled(true), c.open("/oauth2/authorize?"+ask.Encode()), chromedp.WaitVisible("#submit_button"), emulation.SetScriptExecutionDisabled(false))
	c.see(t, "protocol-form-post")
}

// The own address is changed once both have confirmed it.
func TestJourneyEmailChange(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	const next = "tim@elsewhere.example"
	const old = "tim@acme.example" // whose role system lets people change their address
	tim := must(c.site.directory.SaveUser(operator(t), directory.UserSpec{Email: old, Name: directory.Name{Given: "Tim", Family: "Berg"}}))(t)
	acme := must(c.site.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "acme", Name: "Acme", Blueprint: "1nce"}))(t)
	must(c.site.directory.SaveMembership(operator(t), acme.ID, tim, directory.MembershipSpec{Roles: []string{"owner"}, Status: directory.StatusActive}))(t)
	if err := c.site.authn.SetPassword(operator(t), tim.ID, secret.NewText(annPassword)); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.open("/login"), chromedp.SendKeys("#username", old), chromedp.SendKeys("#password", annPassword), chromedp.Click("#submit_button"), c.at("/me"))
	c.run(t, c.open("/me/profile/email"), text("Both addresses get"))
	c.see(t, "own-email")
	c.run(t, chromedp.SendKeys("#email", next), chromedp.Click("#submit_button"), c.at("/me/profile"), text(next))
	c.see(t, "own-email-waits")
	links := map[string]string{}
	for _, letter := range c.site.letters(t) {
		if at := strings.Index(letter.Link, "/me/email"); at >= 0 {
			links[letter.To] = letter.Link[at:]
		}
	}
	c.run(t, c.open(links[next]), text(next))
	c.see(t, "email-link")
	c.run(t, chromedp.Click("#submit_button"), c.at("/me/profile"), c.open(links[old]), chromedp.Click("#submit_button"), c.at("/me/profile"))
	c.see(t, "own-email-changed")
	c.run(t, c.open(links[old]), text("This link does not work"))
	c.see(t, "email-link-gone")
}

func TestJourneyBranding(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	var logo bytes.Buffer
	picture := image.NewNRGBA(image.Rect(0, 0, 240, 60))
	for x := range 240 {
		for y := range 60 {
			if (x/20+y/20)%2 == 0 {
				picture.Set(x, y, color.NRGBA{0x0b, 0x6b, 0x3a, 0xff})
			}
		}
	}
	if err := png.Encode(&logo, picture); err != nil {
		t.Fatal(err)
	}
	look := directory.Branding{Logo: logo.Bytes(), Colors: directory.Colors{
		Light: directory.Scheme{Accent: "#0b6b3a", Background: "#fff8ee"}, Dark: directory.Scheme{Accent: "#ffd400", Background: "#14100a"},
	}}
	berlin := must(c.site.directory.Tenant(t.Context(), "berlin"))(t)
	if err := c.site.directory.SetBranding(operator(t), berlin.ID, look); err != nil {
		t.Fatal(err)
	}
	request := string(c.begin(t, oidc.Parameters{TenantName: "berlin"}))
	c.run(t, c.open("/login?request="+request), text("Sign in to Shop"))
	c.see(t, "branding-login")
	c.run(t, c.password(), c.at("/me"), c.open("/me/tenants/berlin"), text("Berlin"))
	c.see(t, "branding-tenant")
}

// A person goes through the own pages.
func TestJourneyOwnPages(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	for _, own := range []struct{ name, path, shows string }{
		{"own-profile", "/me/profile", "Profile"},
		{"own-tenants", "/me/tenants", "Tenants and roles"},
		{"own-tenant", "/me/tenants/berlin", "Berlin"},
		{"own-tokens", "/me/tokens", "Application tokens"},
		{"own-token-new", "/me/tokens/berlin/new", "token"},
		{"own-applications", "/me/applications", "pplications"},
		{"own-activity", "/me/activity", "Activity"},
		{"own-not-me", "/me/activity/not-me", "not"},
		{"own-delete", "/me/profile/delete", "elete"},
	} {
		c.run(t, c.open(own.path), text(own.shows))
		c.see(t, own.name)
	}
}
