package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
)

// TestBrandingOverTheAPI sets what a tenant's pages look like, by the API and by
// the file of apply, and reads the stylesheet that comes of it.
func TestBrandingOverTheAPI(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.tenant(directory.TenantSpec{Slug: "munich"})
		s.person("boss", "berlin", "owner")
		s.person("mia", "berlin", "member")
		set := func(actor, tenant string, body map[string]any) string {
			return s.api(actor, http.MethodPut, tenant, "/branding", body, nil)
		}
		green := map[string]any{"light": map[string]string{"accent": "#0b6b3a"}}
		s.allows(set("boss", "berlin", green), set("boss", "berlin", green))
		if css := s.send(s.get("/t/berlin/theme.css")); css.Code != http.StatusOK || !strings.Contains(css.Body.String(), "--accent: #0b6b3a") {
			s.t.Errorf("got %d %s", css.Code, css.Body)
		}
		if css := s.send(s.get("/t/munich/theme.css")); css.Code != http.StatusOK || css.Body.Len() != 0 {
			s.t.Errorf("another tenant: got %d %s", css.Code, css.Body)
		}
		var got struct{ Light struct{ Accent string } }
		s.allows(s.api("boss", http.MethodGet, "berlin", "/branding", nil, &got))
		if got.Light.Accent != "#0b6b3a" {
			s.t.Errorf("got %+v", got)
		}
		s.refuses("contrast", set("boss", "berlin", map[string]any{"dark": map[string]string{"accent": "#222222"}}))
		s.refuses("permission", set("mia", "berlin", green))
		if v := set("boss", "munich", green); v == ok {
			s.t.Error("a stranger sets it")
		}
		if v := set("boss", "berlin", map[string]any{"logo": base64.StdEncoding.EncodeToString([]byte("<svg/>"))}); v == ok {
			s.t.Error("an SVG is taken")
		}
		if events := s.events("berlin"); strings.Count(events, "tenant.branding") != 1 {
			s.t.Errorf("got\n%s", events)
		}
		must[*applyReport](s.t)(s.in.apply(s.operator(), parse(s.t, "tenants:\n- slug: berlin\n  branding: {light: {background: '#fff8ee'}}\n")))
		if css := s.send(s.get("/t/berlin/theme.css")).Body.String(); !strings.Contains(css, "--ground: #fff8ee") || strings.Contains(css, "#0b6b3a") {
			s.t.Errorf("after apply:\n%s", css)
		}
		_, err := s.in.apply(s.operator(), parse(s.t, "tenants:\n- slug: berlin\n  branding: {light: {background: '#333333'}}\n"))
		if err == nil || !strings.Contains(err.Error(), "branding.light.background") || !strings.Contains(err.Error(), "contrast") {
			s.t.Errorf("got %v", err)
		}
	})
}
