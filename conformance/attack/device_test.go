package attack

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

const devicePath = "/oauth2/device_authorization"

func (g target) device(clientID, secret string) application.Application {
	return application.Application{Issuer: g.URL, ClientID: clientID, Secret: secret}
}

func (g target) box() application.Application {
	return g.device("box", "box-secret-Pb6Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4")
}

func askForDevice(t *testing.T, app application.Application, scope string) (device, user, link string) {
	t.Helper()
	answer := must(t, "device authorization", check(app.Post(t.Context(), devicePath, url.Values{"scope": {scope}}))(t), http.StatusOK)
	return answer.String("device_code"), answer.String("user_code"), answer.String("verification_uri_complete")
}

func poll(t *testing.T, app application.Application, device string) (*application.Answer, error) {
	t.Helper()
	return app.Post(t.Context(), application.TokenPath, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device},
	})
}

// atQuestion opens the link of a device, goes on with its code and signs in, and
// returns the page that asks whether to let the device in.
func (g target) atQuestion(t *testing.T, b *browser.Browser, link string, person browser.Person) *browser.Page {
	t.Helper()
	page := check(b.Get(t.Context(), link))(t)
	for range 4 {
		switch page.URL.Path {
		case "/device":
			page = check(b.Submit(t.Context(), page, page.Forms[0], nil))(t)
		case "/login":
			page = check(b.Submit(t.Context(), page, page.Forms[0], map[string]string{"login": person.Login, "password": person.Password}))(t)
		case "/device/confirm":
			return page
		}
	}
	t.Fatalf("the code leads to %s (%d): %s", page.URL, page.Status, page.Text())
	return nil
}

// answer presses one of the two buttons of the question.
func (g target) answer(t *testing.T, b *browser.Browser, page *browser.Page, button string) *browser.Page {
	t.Helper()
	for _, form := range page.Forms {
		if form.Has(button) {
			return check(b.Submit(t.Context(), page, form, map[string]string{button: "1"}))(t)
		}
	}
	t.Fatalf("no button %s at %s: %s", button, page.URL, page.Text())
	return nil
}

// TestDeviceFlow goes the whole way of RFC 8628: yes, and no.
func TestDeviceFlow(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		device, user, link := askForDevice(t, g.box(), "openid email tenant:zeta")
		wantError(t, "before the answer", check(poll(t, g.box(), device))(t), http.StatusBadRequest, "authorization_pending")
		b := g.browser(t)
		page := g.atQuestion(t, b, link, walt)
		if text := page.Text(); !strings.Contains(text, "Box") || !strings.Contains(text, "Zeta") || !strings.Contains(text, "127.0.0.1") || !strings.Contains(text, walt.Login) {
			t.Errorf("the question does not say who asks for what: %s", text)
		}
		wantError(t, "opened, not answered", check(poll(t, g.box(), device))(t), http.StatusBadRequest, "slow_down")
		if done := g.answer(t, b, page, "allow"); done.URL.Path != "/device/done" {
			t.Fatalf("the yes leads to %s: %s", done.URL, done.Text())
		}
		tokens := must(t, "poll", check(poll(t, g.box(), device))(t), http.StatusOK)
		if got := check(g.box().UserInfo(t.Context(), tokens.String("access_token")))(t); got.String("email") != walt.Login {
			t.Errorf("userinfo: got %s", got.Raw)
		}
		if page := check(b.Get(t.Context(), "/device?user_code="+user))(t); len(page.Forms) > 0 {
			if again := check(b.Submit(t.Context(), page, page.Forms[0], nil))(t); again.URL.Path != "/device" {
				t.Errorf("an answered code leads to %s", again.URL)
			}
		}

		device, _, link = askForDevice(t, g.box(), "openid tenant:zeta")
		g.answer(t, b, g.atQuestion(t, b, link, walt), "deny")
		wantError(t, "after the no", check(poll(t, g.box(), device))(t), http.StatusBadRequest, "access_denied")
	})
}

// TestDeviceLinkLetsNobodyIn is RFC 8628 §5.4: a link with the code does nothing by
// itself, whoever opens it, nor does a form of another site.
func TestDeviceLinkLetsNobodyIn(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		victim := g.browser(t)
		signIn(t, g.shop, victim, "openid tenant:zeta", walt)
		device, user, link := askForDevice(t, g.device("crate", "crate-secret-Ga4Pb6Je1Qm3vX9sT7kLw2NfHc8Yd5Rz"), "openid tenant:zeta")
		check(victim.Get(t.Context(), link))(t)
		question := g.atQuestion(t, victim, link, walt)
		pending := func(when string) {
			t.Helper()
			answer := check(poll(t, g.device("crate", "crate-secret-Ga4Pb6Je1Qm3vX9sT7kLw2NfHc8Yd5Rz"), device))(t)
			if code := answer.String("error"); code != "authorization_pending" && code != "slow_down" {
				t.Fatalf("%s: got %d %s", when, answer.Status, answer.Raw)
			}
		}
		pending("after the link was opened")
		for what, send := range map[string][2]string{
			"the code, from another site": {"/device", "user_code=" + user},
			"a yes, from another site":    {question.URL.RequestURI(), "allow=1"},
		} {
			cookies := []string{}
			for name, value := range victim.Cookies() {
				cookies = append(cookies, name+"="+value)
			}
			answer := g.do(t, http.MethodPost, send[0], send[1], "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: cross-site",
				"Origin: https://evil.example", "Cookie: "+strings.Join(cookies, "; "))
			if answer.Status != http.StatusForbidden {
				t.Errorf("%s: got %d, want 403", what, answer.Status)
			}
			pending(what)
		}
		// A yes in the browser of somebody else, who knows the address of the question.
		stranger := g.browser(t)
		signIn(t, g.shop, stranger, "openid tenant:zeta", vera)
		if page := check(stranger.Get(t.Context(), question.URL.RequestURI()))(t); page.Status != http.StatusNotFound {
			t.Errorf("the question in another browser: got %d", page.Status)
		}
		wantError(t, "another application", check(poll(t, g.box(), device))(t), http.StatusBadRequest, "invalid_grant")
		g.answer(t, victim, question, "allow")
		wantError(t, "another application, after the yes", check(poll(t, g.box(), device))(t), http.StatusBadRequest, "invalid_grant")
	})
}

// TestDeviceOfSomebodySwitchedOff: what was allowed is worth nothing once the
// directory has switched the person off, though the device has not polled yet.
func TestDeviceOfSomebodySwitchedOff(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		device, _, link := askForDevice(t, g.box(), "openid offline_access tenant:zeta")
		b := g.browser(t)
		g.answer(t, b, g.atQuestion(t, b, link, vera), "allow")
		must(t, "PATCH", g.scim(t, "zeta", zetaToken, http.MethodPatch, "/Users/"+g.veraID(t), patchActive), http.StatusOK)
		wantError(t, "poll", check(poll(t, g.box(), device))(t), http.StatusBadRequest, "invalid_grant")
	})
}

// TestUserCodeGuessed: guesses from one address have to wait, before any of them is
// likely to be right.
func TestUserCodeGuessed(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		b := g.browser(t)
		page := check(b.Get(t.Context(), "/device"))(t)
		letters, refused := "BCDFGHJKLMNPQRSTVWXZ", 0
		for i := range 30 {
			guess := strings.Repeat(letters[i%20:i%20+1], 7) + letters[i/20:i/20+1]
			answer := check(b.Submit(t.Context(), page, page.Forms[0], map[string]string{"user_code": guess}))(t)
			if answer.Status == http.StatusTooManyRequests {
				refused++
			} else if answer.Status != http.StatusUnprocessableEntity {
				t.Fatalf("a guess: got %d at %s", answer.Status, answer.URL)
			}
		}
		if refused < 5 {
			t.Errorf("%d of 30 guesses had to wait", refused)
		}
	})
}

// TestDeviceCodeRace: of fifty polls at once, at two servers over one PostgreSQL,
// one gets tokens.
func TestDeviceCodeRace(t *testing.T) {
	t.Parallel()
	database := dbtest.Postgres(t)
	g := targetOf(instance.Start(t, database, instanceFile))
	second := instance.Prepare(t, database, "ROLECALL_PUBLIC_URL="+g.URL)
	check(second.Serve(t.Context()))(t)
	t.Cleanup(func() {
		if err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
	device, _, link := askForDevice(t, g.box(), "openid tenant:zeta")
	b := g.browser(t)
	g.answer(t, b, g.atQuestion(t, b, link, walt), "allow")
	at := make(chan application.Application, 50)
	for i := range 50 {
		app := g.box()
		app.Issuer = []string{g.URL, second.Address()}[i%2]
		at <- app
	}
	statuses := race(t, func() (*application.Answer, error) { return poll(t, <-at, device) })
	if statuses[http.StatusOK] != 1 || statuses[http.StatusBadRequest] != 49 {
		t.Errorf("got statuses %v, want 200 once and 400 for the others", statuses)
	}
}
