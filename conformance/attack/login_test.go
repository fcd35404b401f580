package attack

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/conformance/browser"
)

// TestSessionFixation: the session that a browser has before a sign-in is not
// the one it has after (CVE-2024-28197 and its class).
func TestSessionFixation(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		b := g.browser(t)
		b.SetCookie("rolecall_session", "chosen-by-mallory")
		signIn(t, g.shop, b, "openid tenant:zeta", vera)
		first := b.Cookies()["rolecall_session"]
		if first == "" || first == "chosen-by-mallory" {
			t.Errorf("got session %q after the sign-in, want a fresh one", first)
		}
		callback, _, err := b.SignIn(t.Context(), g.shop.Request("openid tenant:zeta").With("prompt", "login").URL(), vera)
		if err != nil || callback.Query().Get("code") == "" {
			t.Fatalf("prompt=login: %v, %v", callback, err)
		}
		if second := b.Cookies()["rolecall_session"]; second == first {
			t.Error("a second sign-in keeps the session's token")
		}
		stale := g.browser(t)
		stale.SetCookie("rolecall_session", "chosen-by-mallory")
		if got := silent(t, g.shop, stale, "openid").Get("error"); got != "login_required" {
			t.Errorf("a made-up session: got %q, want login_required", got)
		}
	})
}

// TestSessionCookie: the cookie is out of reach of scripts and other sites.
func TestSessionCookie(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		b := g.browser(t)
		page := check(b.Get(t.Context(), "/login"))(t)
		if page.Header.Get("Set-Cookie") == "" && len(b.Cookies()) == 0 {
			t.Fatal("the login page sets no cookie for the browser")
		}
		for _, cookie := range page.Header.Values("Set-Cookie") {
			for _, attribute := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
				if !strings.Contains(cookie, attribute) {
					t.Errorf("a cookie lacks %s: %s", attribute, strings.Split(cookie, "=")[0])
				}
			}
			if strings.Contains(cookie, "Domain=") {
				t.Errorf("a cookie is for a domain: %s", strings.Split(cookie, "=")[0])
			}
		}
	})
}

// TestLoginTellsNothing: whether somebody exists, has a password or is switched
// off can't be seen (CVE-2024-41952 and its class).
func TestLoginTellsNothing(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		id := g.veraID(t)
		must(t, "suspend", g.scim(t, "zeta", zetaToken, http.MethodPatch, "/Users/"+id, patchActive), http.StatusOK)
		must(t, "create", g.scim(t, "zeta", zetaToken, http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"new@zeta.example"}`), http.StatusCreated)
		answers := map[string]string{}
		for name, person := range map[string]browser.Person{
			"nobody":                      {Login: "nobody@zeta.example", Password: "something long"},
			"a wrong password":            {Login: walt.Login, Password: "something long"},
			"somebody without a password": {Login: "new@zeta.example", Password: "something long"},
			"a disabled login":            vera,
			"a disabled login, wrong":     {Login: vera.Login, Password: "something long"},
			"an address in another case":  {Login: strings.ToUpper(walt.Login), Password: "something long"},
		} {
			callback, page, err := g.browser(t).SignIn(t.Context(), g.shop.Request("openid").URL(), person)
			if err == nil {
				t.Errorf("%s: signed in, and sent to %s", name, callback)
				continue
			}
			// What was typed stands in the form again.
			text := strings.NewReplacer(person.Login, "", page.URL.Query().Get("request"), "").Replace(page.Text())
			answers[fmt.Sprintf("%d %s", page.Status, text)] += name + "; "
		}
		if len(answers) != 1 {
			t.Errorf("failures can be told apart: %q", answers)
		}
	})
}

// TestLoginThrottle: guesses are slowed down for those who exist and those who
// do not, and while they are, the right password does not help.
func TestLoginThrottle(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		for _, login := range []string{"nobody@nowhere.example", walt.Login} {
			g.guess(t, login)
		}
		// Whether the right password is taken now would tell that it is right.
		_, page, err := g.browser(t).SignIn(t.Context(), g.shop.Request("openid tenant:zeta").URL(), walt)
		if err == nil || page.Status != http.StatusTooManyRequests {
			t.Errorf("the right password while guesses are refused: got %v, want 429", err)
		} else if wait := page.Header.Get("Retry-After"); wait == "" || wait == "0" {
			t.Errorf("the refusal has Retry-After %q, want seconds", wait)
		}
		// Somebody else is not kept out by it.
		if _, _, err := g.browser(t).SignIn(t.Context(), g.shop.Request("openid tenant:zeta").URL(), vera); err != nil {
			t.Errorf("somebody else is kept out: %v", err)
		}
	})
}

// guess tries wrong passwords, from a new browser each time, until the delay
// after one of them is so long that this test does not outlast it.
func (g target) guess(t *testing.T, login string) {
	t.Helper()
	for n := range 40 {
		_, page, err := g.browser(t).SignIn(t.Context(), g.shop.Request("openid").URL(), browser.Person{Login: login, Password: fmt.Sprintf("guess number %d", n)})
		if err == nil {
			t.Fatal("a guess was right")
		}
		if page.Status != http.StatusTooManyRequests {
			continue
		}
		wait, err := strconv.Atoi(page.Header.Get("Retry-After"))
		if err != nil {
			t.Fatalf("the refusal has no Retry-After in seconds: %v", err)
		}
		if wait >= 4 {
			return
		}
		time.Sleep(time.Duration(wait) * time.Second)
	}
	t.Errorf("%s: forty guesses, and the delay has not grown to four seconds", login)
}

// TestOpenRedirect: no parameter of our pages leads to another site.
func TestOpenRedirect(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		b := g.browser(t)
		signIn(t, g.shop, b, "openid tenant:zeta", vera)
		for _, name := range []string{"continue", "next", "return_to", "return", "redirect", "redirect_uri", "url", "post_logout_redirect_uri", "RelayState"} {
			for _, evil := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, `\\evil.example`, "https:evil.example", "javascript:alert(1)", "/%09/evil.example", "https://shop.example@evil.example/"} {
				for _, path := range []string{"/login", "/oauth2/end_session", "/login/tenant", "/me", "/"} {
					page := check(b.Get(t.Context(), path+"?"+name+"="+escape(evil)))(t)
					if page.Left != nil || strings.Contains(page.Header.Get("Refresh"), "evil") {
						t.Errorf("%s with %s=%s leads to %v", path, name, evil, page.Left)
					}
				}
			}
		}
	})
}
