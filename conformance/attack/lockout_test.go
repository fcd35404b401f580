package attack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
)

// TestLockOut: after a directory, or the operator's file, has switched somebody
// off, nothing that they hold is taken any more, from the very next request on.
func TestLockOut(t *testing.T) {
	for name, lock := range map[string]func(*testing.T, target, string){
		"SCIM active false": func(t *testing.T, g target, id string) {
			must(t, "suspend", g.scim(t, "zeta", zetaToken, http.MethodPatch, "/Users/"+id, patchActive), http.StatusOK)
		},
		"SCIM PUT": func(t *testing.T, g target, id string) {
			must(t, "replace", g.scim(t, "zeta", zetaToken, http.MethodPut, "/Users/"+id,
				`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"vera@zeta.example","active":false}`), http.StatusOK)
		},
		"SCIM DELETE": func(t *testing.T, g target, id string) {
			must(t, "delete", g.scim(t, "zeta", zetaToken, http.MethodDelete, "/Users/"+id, ""), http.StatusNoContent)
		},
		"apply": func(t *testing.T, g target, _ string) {
			file := strings.Replace(instanceFile, "{tenant: zeta, roles: [member], status: active}", "{tenant: zeta, roles: [member], status: suspended}", 1)
			// Her token is revoked with her, and can't be had by the same file.
			file, _, _ = strings.Cut(file, "application_tokens:")
			check(g.Apply(t.Context(), file))(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, g target) {
				held := g.holdings(t)
				lock(t, g, g.veraID(t))
				held.wantWorthless(t, g)
			})
		})
	}
}

// holdings is everything that lets Vera in.
type holdings struct {
	browser *browser.Browser    // signed in
	signed  *application.Answer // with a signed access token
	opaque  *application.Answer // with an opaque one
	offline *application.Answer // with a refresh token that outlives the session
	request *application.Request
	code    string           // of request, not yet redeemed
	waits   *browser.Browser // not signed in
	waiting *browser.Page    // its login page, opened before
}

func (g target) holdings(t *testing.T) *holdings {
	t.Helper()
	h := &holdings{browser: g.browser(t), waits: g.browser(t)}
	h.signed = signIn(t, g.shop, h.browser, "openid tenant:zeta", vera)
	h.opaque = signIn(t, g.till, h.browser, "openid tenant:zeta", vera)
	h.offline = signIn(t, g.shop, h.browser, "openid offline_access tenant:zeta", vera)
	h.request = g.shop.Request("openid tenant:zeta")
	h.code = check(g.shop.Code(t.Context(), h.browser, h.request, vera))(t)
	h.waiting = check(h.waits.Get(t.Context(), g.shop.Request("openid tenant:zeta").URL()))(t)

	// All of it works before.
	for name, tokens := range map[string]*application.Answer{"signed": h.signed, "opaque": h.opaque, "offline": h.offline} {
		app := g.appOf(name)
		if got := check(app.Introspect(t.Context(), tokens.String("access_token")))(t); got.Body["active"] != true {
			t.Fatalf("%s: the access token is not active to begin with: %s", name, got.Raw)
		}
		must(t, name+": userinfo", check(app.UserInfo(t.Context(), tokens.String("access_token")))(t), http.StatusOK)
		if tokens.String("refresh_token") == "" {
			t.Fatalf("%s: there is no refresh token", name)
		}
	}
	if query := silent(t, g.shop, h.browser, "openid tenant:zeta"); query.Get("code") == "" {
		t.Fatalf("prompt=none does not work to begin with: %s", query.Get("error"))
	}
	return h
}

func (g target) appOf(name string) application.Application {
	if name == "opaque" {
		return g.till
	}
	return g.shop
}

func (h *holdings) wantWorthless(t *testing.T, g target) {
	t.Helper()
	for name, tokens := range map[string]*application.Answer{"signed": h.signed, "opaque": h.opaque, "offline": h.offline} {
		app := g.appOf(name)
		for _, kind := range []string{"access_token", "refresh_token"} {
			got := check(app.Introspect(t.Context(), tokens.String(kind)))(t)
			if got.Status != http.StatusOK || fmt.Sprint(got.Body) != "map[active:false]" {
				t.Errorf("%s: introspection of the %s: got %d %s, want active false and nothing else", name, kind, got.Status, got.Raw)
			}
		}
		got := check(app.UserInfo(t.Context(), tokens.String("access_token")))(t)
		if got.Status != http.StatusUnauthorized || !strings.Contains(got.Header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s: userinfo: got %d with WWW-Authenticate %q, want 401 invalid_token", name, got.Status, got.Header.Get("WWW-Authenticate"))
		}
		wantError(t, name+": refresh", check(app.Refresh(t.Context(), tokens.String("refresh_token")))(t), http.StatusBadRequest, "invalid_grant")
	}
	wantError(t, "a code from before", check(g.shop.Redeem(t.Context(), h.request, h.code))(t), http.StatusBadRequest, "invalid_grant")
	// No endpoint takes application tokens yet; those that tell of tokens must not.
	if got := check(g.robot.Introspect(t.Context(), ciToken))(t); got.Body["active"] != false {
		t.Errorf("the application token: got %s, want active false", got.Raw)
	}
	for _, scope := range []string{"openid tenant:zeta", "openid"} {
		if query := silent(t, g.shop, h.browser, scope); query.Get("error") != "login_required" {
			t.Errorf("prompt=none with scope %q: got %v, want login_required", scope, query)
		}
	}
	if page := check(h.browser.Get(t.Context(), "/me"))(t); page.URL.Path == "/me" && page.Status == http.StatusOK {
		t.Errorf("the account's page still opens: %s", page.Text())
	}
	if len(h.waiting.Forms) == 0 {
		t.Fatalf("no form at %s: %s", h.waiting.URL, h.waiting.Text())
	}
	page := check(h.waits.Submit(t.Context(), h.waiting, h.waiting.Forms[0], map[string]string{"login": vera.Login, "password": vera.Password}))(t)
	if page.Left != nil && page.Left.Query().Get("code") != "" {
		t.Error("a login page from before gives a code")
	}
	if _, err := g.shop.SignIn(t.Context(), g.browser(t), "openid tenant:zeta", vera); err == nil {
		t.Error("signing in anew works")
	}
}
