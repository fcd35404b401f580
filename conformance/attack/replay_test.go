package attack

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

// waltsKey is of Walt's authenticator app.
const waltsKey = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// atCode signs Walt in as far as his second factor and returns the page of it.
func (g target) atCode(t *testing.T, b *browser.Browser, address string) *browser.Page {
	t.Helper()
	page := check(b.Get(t.Context(), address))(t)
	page = check(b.Submit(t.Context(), page, page.Forms[0], map[string]string{"login": walt.Login, "password": walt.Password}))(t)
	if page.URL.Path != "/login/code" {
		t.Fatalf("the password leads to %s (%d): %s", page.URL, page.Status, page.Text())
	}
	return page
}

func withApp() string {
	return strings.Replace(instanceFile, "  password: "+walt.Password+"\n", "  password: "+walt.Password+"\n  totp: "+waltsKey+"\n", 1)
}

// TestCodeAtTwoServersAtOnce: one code of an app is one sign-in, also where two
// servers over one database are sent it at the same time.
func TestCodeAtTwoServersAtOnce(t *testing.T) {
	t.Parallel()
	database := dbtest.Postgres(t)
	g := targetOf(instance.Start(t, database, withApp()))
	second := instance.Prepare(t, database, "ROLECALL_PUBLIC_URL="+g.URL)
	check(second.Serve(t.Context()))(t)
	t.Cleanup(func() {
		if err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
	const tries = 4 // of which the throttle lets each pass
	browsers, steps := make([]*browser.Browser, tries), make([]string, tries)
	for i := range tries {
		browsers[i] = g.browser(t)
		steps[i] = g.atCode(t, browsers[i], "/login").URL.RequestURI()
	}
	code := check(totp.GenerateCode(waltsKey, time.Now()))(t)
	statuses, sessions := make([]int, tries), make([]bool, tries)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var all sync.WaitGroup
	for i := range tries {
		all.Go(func() {
			server := []string{g.URL, second.Address()}[i%2]
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+steps[i], strings.NewReader(url.Values{"code": {code}}.Encode()))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for name, value := range browsers[i].Cookies() {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
			statuses[i] = answer.StatusCode
			for _, cookie := range answer.Cookies() {
				sessions[i] = sessions[i] || cookie.Name == "rolecall_session" && cookie.Value != ""
			}
		})
	}
	all.Wait()
	in := 0
	for i, status := range statuses {
		switch {
		case status == http.StatusSeeOther && sessions[i]:
			in++
		case status != http.StatusUnprocessableEntity || sessions[i]:
			t.Errorf("try %d: got %d, session %v", i, status, sessions[i])
		}
	}
	if in != 1 {
		t.Errorf("one code let %d in: %v", in, statuses)
	}
}

// TestSignInIsNotLeftOut: whose second factor is missing does not get on by the
// address that a sign-in ends at, nor does an application learn of them.
func TestSignInIsNotLeftOut(t *testing.T) {
	t.Parallel()
	g := targetOf(instance.Start(t, "", withApp()))
	b := g.browser(t)
	page := g.atCode(t, b, g.shop.Request("openid tenant:zeta").URL())
	start := check(b.Get(t.Context(), g.shop.Request("openid tenant:zeta").URL()))(t)
	request := start.URL.Query().Get("request")
	for _, path := range []string{"/oauth2/authorize/continue?request=" + request, "/login/tenant?request=" + request, "/login/second-factor?request=" + request, "/me"} {
		if got := check(b.Get(t.Context(), path))(t); got.Left != nil || got.URL.Path != "/login" {
			t.Errorf("%s leads to %s (%d), out to %v; want the sign-in", path, got.URL, got.Status, got.Left)
		}
	}
	if got := silent(t, g.shop, b, "openid tenant:zeta").Get("error"); got != "login_required" {
		t.Errorf("prompt=none: got %q, want login_required", got)
	}
	code := check(totp.GenerateCode(waltsKey, time.Now()))(t)
	done := check(b.Submit(t.Context(), page, page.Forms[0], map[string]string{"code": code}))(t)
	if done.Left == nil || done.Left.Query().Get("code") == "" {
		t.Errorf("with the second factor: at %s (%d): %s", done.URL, done.Status, done.Text())
	}
}
