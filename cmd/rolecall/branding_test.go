package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
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

// postman keeps the letters that it is given.
type postman struct{ letters map[string]mail.Rendered }

// Send implements mail.Sender.
func (p *postman) Send(_ context.Context, to string, letter mail.Rendered) error {
	p.letters[to] = letter
	return nil
}

// A letter of a tenant's has the logo that the tenant has when it is sent; others
// have none.
func TestLettersHaveTheLogo(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin", Name: "Berlin & Söhne"})
		s.tenant(directory.TenantSpec{Slug: "munich"})
		s.person("boss", "berlin", "owner")
		s.allows(s.api("operator", http.MethodPost, "berlin", "/members", map[string]any{"email": "inge@berlin.example", "roles": []string{"member"}}, nil))
		s.allows(s.api("operator", http.MethodPost, "munich", "/members", map[string]any{"email": "max@munich.example", "roles": []string{"owner"}}, nil))
		s.check(s.in.authn.SendPasswordReset(s.operator(), s.user("boss").ID))
		var logo bytes.Buffer
		s.check(png.Encode(&logo, image.NewGray(image.Rect(0, 0, 64, 32))))
		s.allows(s.api("boss", http.MethodPut, "berlin", "/branding", map[string]any{"logo": base64.StdEncoding.EncodeToString(logo.Bytes())}, nil))

		sent := &postman{map[string]mail.Rendered{}}
		office := must[*mail.Office](s.t)(mail.NewOffice(s.in.store, s.in.keyring, sent, "en", s.in.now))
		for _, letter := range must[[]mail.Waiting](s.t)(s.in.mail.Outbox(s.t.Context(), 100)) {
			s.check(office.Deliver(s.t.Context(), outbox.Delivery{Payload: []byte(`{"mail":"` + string(letter.ID) + `"}`)}))
		}
		inge := sent.letters["inge@berlin.example"]
		if inge.Logo == nil || !bytes.Equal(inge.Logo.Content, logo.Bytes()) || inge.Logo.Type != "image/png" || !strings.Contains(inge.HTML, `alt="Berlin &amp; Söhne"`) {
			s.t.Errorf("got %+v", inge)
		}
		for _, to := range []string{"max@munich.example", s.email("boss")} {
			if letter, found := sent.letters[to]; !found || letter.Logo != nil || strings.Contains(letter.HTML, "<img") {
				s.t.Errorf("%s got %+v", to, letter)
			}
		}
	})
}
