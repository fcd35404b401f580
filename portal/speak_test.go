package portal_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/oidc"
)

// speaks gets a page as a browser of people who want a language.
func (b *browser) speaks(t *testing.T, path, wanted string) answer {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, b.site.URL+path, nil))(t)
	r.Header.Set("Accept-Language", wanted)
	return b.do(t, r)
}

func wantLanguage(t *testing.T, a answer, tag string) {
	t.Helper()
	if !strings.Contains(a.body, `<html lang="`+tag+`">`) || a.Header.Get("Content-Language") != tag {
		t.Errorf("%s: got %q in %q, want %s", a.Request.URL, a.body[:min(60, len(a.body))], a.Header.Get("Content-Language"), tag)
	}
}

func TestPagesSpeakTheLanguageOfTheBrowser(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	wantLanguage(t, b.get(t, "/login"), "en")
	wantLanguage(t, b.speaks(t, "/login", "ja"), "en")
	wantLanguage(t, b.speaks(t, "/login", "ja, de-CH;q=0.8, fr;q=0.7"), "de")
	wantLanguage(t, b.speaks(t, "/nothing", "es"), "es")
	a := b.speaks(t, "/login", "fr")
	wantPage(t, a, 200, "Mot de passe", `value="de" lang="de">Deutsch`, `value="fr" lang="fr" aria-current="true">Français`)
}

// OpenID Connect Core §3.1.2.1: ui_locales in order of preference; a value that is
// not supported is no error.
func TestPagesSpeakTheLanguageOfTheRequest(t *testing.T) {
	t.Parallel()
	b := newSite(t).withTOTP(t).browser(t)
	request := b.request(t, oidc.Parameters{UILocales: []string{"ja", "es", "de"}})
	page := "/login?request=" + string(request)
	wantLanguage(t, b.speaks(t, page, "fr"), "es")
	a := b.post(t, page, "login", annEmail, "password", annPassword)
	wantLanguage(t, b.get(t, a.Header.Get("Location")), "es")
	wantLanguage(t, b.speaks(t, "/login?request="+string(b.request(t, oidc.Parameters{UILocales: []string{"ja", "x", ""}})), "fr"), "fr")
}

func TestPagesSpeakTheLanguageOfThePerson(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	must(s.directory.SaveUser(operator(t), directory.UserSpec{Email: annEmail, Locale: "de-AT"}))(t)
	b := s.browser(t)
	wantLanguage(t, b.speaks(t, "/login", "es"), "es")
	b.signIn(t)
	a := b.speaks(t, "/me", "es")
	wantLanguage(t, a, "de")
	wantPage(t, a, 200, "22. Nov. 2026, 09:00 UTC", "Firefox auf Linux")
	wantLanguage(t, b.post(t, "/me/password", "current_password", "x", "password", "a", "password_again", "b"), "de")
}

func TestLanguageIsChosenAtTheFoot(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	wantPage(t, b.get(t, "/login?changed=1&x=%22"), 200, `action="/language"`, `value="/login?changed=1&amp;x=%22"`)
	wantRedirect(t, b.post(t, "/language", "language", "fr", "continue", "/login?changed=1"), "/login?changed=1")
	wantLanguage(t, b.speaks(t, "/login?changed=1", "de"), "fr")
	wantRedirect(t, b.post(t, "/language", "language", "fr", "continue", "//evil.example"), "/")
	wantPage(t, b.post(t, "/language", "language", "ja", "continue", "/login"), 400)
	wantPage(t, b.post(t, "/language", "continue", "/login"), 400)
	// A form that was refused leads back to where it is shown.
	wantPage(t, b.post(t, "/login", "login", annEmail, "password", "x"), 422, `name="continue" value="/login"`)
	b.signIn(t)
	wantPage(t, b.post(t, "/me/password", "current_password", "x", "password", "a", "password_again", "b"), 422, `name="continue" value="/me"`)
	// What is shown once is not left for another language.
	b = newSite(t).withTOTP(t).browser(t)
	b.get(t, "/login")
	at := b.post(t, "/login", "login", annEmail, "password", annPassword).Header.Get("Location")
	wantRedirect(t, b.post(t, at, "code", b.site.code(t)), "/me")
	if a := b.post(t, "/me/recovery-codes"); a.StatusCode != 200 || strings.Contains(a.body, `action="/language"`) {
		t.Errorf("got %d; the recovery codes would be lost by choosing a language", a.StatusCode)
	}
}
