package portal_test

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/oidc"
)

// The contrast of a tenant's colors is taken with those of the stylesheet.
func TestPaletteIsTheStylesheets(t *testing.T) {
	t.Parallel()
	css := string(must(os.ReadFile("static/portal.css"))(t))
	light, dark, _ := strings.Cut(css, "prefers-color-scheme: dark")
	for scheme, palette := range map[string]directory.Palette{light: directory.LightPalette(), dark: directory.DarkPalette()} {
		for name, color := range map[string]string{
			"surface": palette.Surface, "sunken": palette.Sunken, "tint": palette.Tint, "text": palette.Text, "muted": palette.Muted,
			"edge": palette.Edge, "ground": palette.Background, "accent": palette.Accent, "link": palette.Link,
		} {
			want := "--" + name + ": " + strings.Replace(color, "#ffffff", "#fff", 1) + ";"
			if !strings.Contains(scheme, want) {
				t.Errorf("the stylesheet lacks %q", want)
			}
		}
	}
}

func TestLettersOfATenantLookLikeIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	vienna := must(s.directory.Tenant(t.Context(), "vienna"))(t)
	look := directory.Branding{Colors: directory.Colors{Light: directory.Scheme{Accent: "#0b6b3a", Background: "#fff8ee"}}}
	if err := s.directory.SetBranding(operator(t), vienna.ID, look); err != nil {
		t.Fatal(err)
	}
	must(s.directory.AddMember(operator(t), vienna.ID, directory.MemberSpec{Email: "new@vienna.example", Roles: []string{"owner"}}))(t)
	if letter := s.letters(t)[0].HTML; !strings.Contains(letter, "background:#0b6b3a;color:#ffffff") || !strings.Contains(letter, "background:#fff8ee") {
		t.Errorf("the invitation does not look like Vienna: %s", letter)
	}
}

func TestPagesOfATenantLookLikeIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	const link = `href="/t/berlin/theme.css"`
	empty := b.get(t, "/t/berlin/theme.css")
	nowhere := b.get(t, "/t/nowhere/theme.css")
	if empty.StatusCode != 200 || nowhere.StatusCode != 200 || empty.body != "" || nowhere.body != "" || empty.Header.Get("ETag") != nowhere.Header.Get("ETag") {
		t.Errorf("a tenant that says nothing: %d %q; one that is not there: %d %q", empty.StatusCode, empty.body, nowhere.StatusCode, nowhere.body)
	}
	berlin := must(s.directory.Tenant(t.Context(), "berlin"))(t)
	var logo bytes.Buffer
	if err := png.Encode(&logo, image.NewGray(image.Rect(0, 0, 4, 2))); err != nil {
		t.Fatal(err)
	}
	look := directory.Branding{Colors: directory.Colors{Light: directory.Scheme{Accent: "#0b6b3a", Background: "#fff8ee"}, Dark: directory.Scheme{Accent: "#ffd400"}}, Logo: logo.Bytes()}
	if err := s.directory.SetBranding(operator(t), berlin.ID, look); err != nil {
		t.Fatal(err)
	}
	css := b.get(t, "/t/berlin/theme.css")
	for _, want := range []string{"--accent: #0b6b3a", "--on-accent: #ffffff", "--ground: #fff8ee", "--ring: #ffd400", "--on-accent: #000000", `url("data:image/png;base64,iVBOR`} {
		if !strings.Contains(css.body, want) {
			t.Errorf("the stylesheet lacks %q:\n%s", want, css.body)
		}
	}
	if css.Header.Get("Content-Type") != "text/css; charset=utf-8" || css.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %v", css.Header)
	}
	again := must(http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/t/berlin/theme.css", nil))(t)
	again.Header.Set("If-None-Match", css.Header.Get("ETag"))
	if a := b.do(t, again); a.StatusCode != http.StatusNotModified || a.body != "" {
		t.Errorf("RFC 9110 §13.1.2: got %d", a.StatusCode)
	}

	request := b.request(t, oidc.Parameters{TenantName: "berlin"})
	page := b.get(t, "/login?request="+string(request))
	wantPage(t, page, 200, link)
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "style-src 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	for _, path := range []string{"/login", "/login?request=" + string(b.request(t, oidc.Parameters{TenantName: `x" onload="`}))} {
		if strings.Contains(b.get(t, path).body, "theme.css") {
			t.Errorf("%s looks like a tenant's", path)
		}
	}
	b.signIn(t)
	wantPage(t, b.get(t, "/me/tenants/berlin"), 200, link)
	if strings.Contains(b.get(t, "/me").body, "theme.css") {
		t.Error("a page of no tenant looks like one's")
	}
}
