package provider_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/language"
)

// The pages speak what the person has chosen, else what the application asks for,
// else what the browser does (OpenID Connect Core §3.1.2.1).
func TestPagesSpeakLanguages(t *testing.T) {
	t.Parallel()
	each(t, pagesSpeak)
}

func pagesSpeak(t *testing.T, in *instance) {
	for name, c := range map[string]struct {
		path, accept, chosen string
		tag, want            string
	}{
		"nothing is known":       {"/oauth2/end_session", "", "", "en", "You are signed out"},
		"none is spoken":         {"/oauth2/end_session?ui_locales=ja", "nl", "", "en", "You are signed out"},
		"the browser":            {"/oauth2/end_session", "fr-CA, en;q=0.5", "", "fr", "Vous êtes déconnecté"},
		"the application":        {"/oauth2/end_session?ui_locales=ja+de", "fr", "", "de", "Sie sind abgemeldet"},
		"the person":             {"/oauth2/end_session?ui_locales=de", "fr", "es", "es", "Ha cerrado la sesión"},
		"a choice that is wrong": {"/oauth2/end_session", "fr", "../../x", "fr", "Vous êtes déconnecté"},
		"an error":               {"/oauth2/authorize?ui_locales=de", "", "", "de", "Anmeldung nicht möglich"},
		"an error of the form":   {"/oauth2/end_session?ui_locales=es&client_id=none", "", "", "es", "No es posible iniciar sesión"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+c.path, nil)
			must(t, err)
			r.Header.Set("Accept-Language", c.accept)
			if c.chosen != "" {
				r.AddCookie(&http.Cookie{Name: cookie.Language, Value: c.chosen})
			}
			answer, err := http.DefaultClient.Do(r)
			must(t, err)
			defer func() { _ = answer.Body.Close() }()
			body, err := io.ReadAll(answer.Body)
			must(t, err)
			if got := answer.Header.Get("Content-Language"); got != c.tag || !strings.Contains(string(body), `<html lang="`+c.tag+`">`) || !strings.Contains(string(body), c.want) {
				t.Errorf("got %s, want %s with %q: %s", got, c.tag, c.want, body)
			}
		})
	}
}

// Every text of the pages is there in every language, with the same verbs, and used.
func TestTextsOfPages(t *testing.T) {
	t.Parallel()
	var pages strings.Builder
	for _, name := range []string{"layout", "error", "form_post", "sign_out", "signed_out"} {
		content, err := os.ReadFile("pages/" + name + ".html")
		must(t, err)
		pages.Write(content)
	}
	texts := map[string]map[string]string{}
	for _, l := range language.All() {
		content, err := os.ReadFile("locales/" + l.Tag + ".json")
		must(t, err)
		var words map[string]string
		must(t, json.Unmarshal(content, &words))
		texts[l.Tag] = words
	}
	want := texts[language.Default]
	for tag, words := range texts {
		if !slices.Equal(slices.Sorted(maps.Keys(words)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%s has other texts than the default", tag)
		}
		for key, text := range words {
			if strings.Count(text, "%s") != strings.Count(want[key], "%s") || text == "" {
				t.Errorf("%s in %s: %q", key, tag, text)
			}
			if !strings.Contains(pages.String(), `t "`+key+`"`) {
				t.Errorf("%s is not used", key)
			}
		}
	}
}
