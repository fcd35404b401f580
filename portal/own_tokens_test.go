package portal_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/secret"
)

var secretOnPage = regexp.MustCompile(`<code id="secret">(rc_[0-9A-Za-z]{49})</code>`)

func TestOwnApplicationTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	b.signIn(t)
	page := b.get(t, "/me/tokens")
	wantPage(t, page, 200, "You have none", `href="/me/tokens/berlin/new"`)
	for _, slug := range []string{"munich", "oslo", "vienna"} { // a viewer makes none, the others are not Ann's
		if strings.Contains(page.body, "/me/tokens/"+slug) {
			t.Errorf("a token is on offer in %s", slug)
		}
	}
	wantPage(t, b.get(t, "/me/tokens/munich/new"), 403, "Not allowed")
	for _, slug := range []string{"oslo", "vienna", "nowhere"} {
		wantPage(t, b.get(t, "/me/tokens/"+slug+"/new"), 404, "Page not found")
	}
	wantPage(t, b.get(t, "/me/tokens/berlin/new"), 200, "For Berlin", `value="users.list"`, "90 days")
	for name, test := range map[string]struct {
		fields []string
		want   string
	}{
		"no name":       {[]string{"days", "90"}, "Give it a name"},
		"no lifetime":   {[]string{"name", "x", "days", "91"}, "Choose for how long"},
		"no network":    {[]string{"name", "x", "days", "90", "networks", "192.0.2.0/24\nhere"}, "here is no network"},
		"no permission": {[]string{"name", "x", "days", "90", "permission", "everything"}, "may not give this"},
	} {
		a := b.post(t, "/me/tokens/berlin/new", test.fields...)
		wantPage(t, a, 422, test.want)
		if secretOnPage.MatchString(a.body) {
			t.Errorf("%s: a token was made", name)
		}
	}
	made := b.post(t, "/me/tokens/berlin/new", "name", "Export", "days", "90", "networks", "192.0.2.0/24", "permission", "users.list")
	wantPage(t, made, 200, "Export is made", "It is not shown again")
	found := secretOnPage.FindStringSubmatch(made.body)
	if found == nil {
		t.Fatalf("no secret on the page:\n%s", made.body)
	}
	from := netip.MustParseAddr("192.0.2.9")
	token := must(s.authn.ApplicationToken(t.Context(), secret.NewText(found[1]), from))(t)
	if len(token.Permissions) != 1 || !token.Expires.Equal(s.clock().AddDate(0, 0, 90)) || token.Creator != s.ann.ID {
		t.Errorf("got %+v", token)
	}
	wantPage(t, b.post(t, "/me/tokens/berlin/new", "name", "Export", "days", "90"), 422, "There is a token of this name")
	at := "/me/tokens/berlin/" + string(token.ID)
	if list := b.get(t, "/me/tokens"); !strings.Contains(list.body, at) || strings.Contains(list.body, found[1]) {
		t.Errorf("the list lacks the token, or shows its secret:\n%s", list.body)
	}
	wantPage(t, b.get(t, at), 200, "Export", "192.0.2.0/24", "users.list")

	wantPage(t, b.post(t, at+"/change", "networks", "nowhere"), 422, "nowhere is no network")
	wantRedirect(t, b.post(t, at+"/change", "description", "Nightly", "networks", "198.51.100.0/24"), at+"?done=changed")
	wantPage(t, b.get(t, at+"?done=changed"), 200, "Saved.", "Nightly", "198.51.100.0/24")

	rotated := b.post(t, at+"/rotate", "overlap", "0")
	wantPage(t, rotated, 200, "Export has another secret")
	next := secretOnPage.FindStringSubmatch(rotated.body)
	if next == nil || next[1] == found[1] {
		t.Fatalf("got %v in place of %v", next, found)
	}
	from = netip.MustParseAddr("198.51.100.9")
	if _, err := s.authn.ApplicationToken(t.Context(), secret.NewText(found[1]), from); err == nil {
		t.Error("the secret before works on")
	}
	must(s.authn.ApplicationToken(t.Context(), secret.NewText(next[1]), from))(t)

	// Nobody else's: Bob, an owner of Berlin too, has no page for it.
	bob, bobs := s.bob(t)
	s.memberAs(t, bob, "Berlin", "owner")
	wantPage(t, bobs.get(t, "/me/tokens"), 200, "You have none")
	wantPage(t, bobs.get(t, at), 404, "Page not found")
	for _, action := range []string{"/change", "/rotate", "/revoke"} {
		wantPage(t, bobs.post(t, at+action), 404, "Page not found")
	}
	for _, wrong := range []string{"/me/tokens/munich/" + string(token.ID), "/me/tokens/berlin/x", "/me/tokens/nowhere/" + string(token.ID)} {
		wantPage(t, b.get(t, wrong), 404, "Page not found")
	}

	// Who has not shown for a while who they are is asked before anything secret.
	s.advance(11 * time.Minute)
	for path, back := range map[string]string{at + "/rotate": at, at + "/change": at, "/me/tokens/berlin/new": "/me/tokens/berlin/new"} {
		wantRedirect(t, b.post(t, path, "name", "Later", "days", "90"), "/login?confirm=1&continue="+url.QueryEscape(back))
	}
	wantRedirect(t, b.get(t, "/me/tokens/berlin/new"), "/login?confirm=1&continue="+url.QueryEscape("/me/tokens/berlin/new"))

	wantRedirect(t, b.post(t, at+"/revoke"), "/me/tokens?done=revoked")
	wantPage(t, b.get(t, "/me/tokens?done=revoked"), 200, "The token is revoked", "You have none")
	wantPage(t, b.get(t, at), http.StatusNotFound)
	if _, err := s.authn.ApplicationToken(t.Context(), secret.NewText(next[1]), from); err == nil {
		t.Error("the token works on")
	}
}
