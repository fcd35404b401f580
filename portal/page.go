package portal

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
)

//go:embed templates locales
var sources embed.FS

// english is the only language so far. Another one is another file in locales.
const english = "en"

// texts are the words of one language by their keys. Values may hold the verbs
// of package fmt.
type texts map[string]string

// page is one page with the type of its view.
type page[V any] struct {
	name     string
	template *template.Template
}

// pages is the registry of all pages in one language.
type pages struct {
	texts texts

	login     page[loginPage]
	code      page[codePage]
	tenant    page[tenantPage]
	setup     page[setupPage]
	me        page[mePage]
	security  page[securityView]
	passkey   page[passkeyPage]
	enroll    page[enrollPage]
	codes     page[codesPage]
	forgot    page[forgotPage]
	reset     page[resetPage]
	invited   page[invitedPage]
	change    page[changePage]
	outbox    page[outboxPage]
	logout    page[logoutPage]
	signedOut page[signedOutPage]
	error     page[errorPage]
}

// newPages parses all pages.
func newPages(language string, a assets) (*pages, error) {
	content, err := sources.ReadFile("locales/" + language + ".json")
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	p := &pages{}
	if err := json.Unmarshal(content, &p.texts); err != nil {
		return nil, fmt.Errorf("portal: texts of %q: %w", language, err)
	}
	base, err := template.New("").Option("missingkey=error").Funcs(p.functions(language, a)).
		ParseFS(sources, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	for _, parse := range []func() error{
		func() error { return parsePage(base, "login", &p.login) },
		func() error { return parsePage(base, "code", &p.code) },
		func() error { return parsePage(base, "tenant", &p.tenant) },
		func() error { return parsePage(base, "setup", &p.setup) },
		func() error { return parsePage(base, "me", &p.me) },
		func() error { return parsePage(base, "security", &p.security) },
		func() error { return parsePage(base, "passkey", &p.passkey) },
		func() error { return parsePage(base, "enroll", &p.enroll) },
		func() error { return parsePage(base, "codes", &p.codes) },
		func() error { return parsePage(base, "forgot", &p.forgot) },
		func() error { return parsePage(base, "reset", &p.reset) },
		func() error { return parsePage(base, "invited", &p.invited) },
		func() error { return parsePage(base, "change", &p.change) },
		func() error { return parsePage(base, "outbox", &p.outbox) },
		func() error { return parsePage(base, "logout", &p.logout) },
		func() error { return parsePage(base, "signed_out", &p.signedOut) },
		func() error { return parsePage(base, "error", &p.error) },
	} {
		if err := parse(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parsePage[V any](base *template.Template, name string, into *page[V]) error {
	t, err := base.Clone()
	if err == nil {
		t, err = t.ParseFS(sources, "templates/"+name+".html")
	}
	if err != nil {
		return fmt.Errorf("portal: page %s: %w", name, err)
	}
	*into = page[V]{name: name, template: t}
	return nil
}

// write renders a page. It is rendered whole before the first byte leaves, so
// that a failure is an error and not half a page.
func write[V any](w http.ResponseWriter, status int, p page[V], view V) error {
	var body bytes.Buffer
	if err := p.template.ExecuteTemplate(&body, "layout", view); err != nil {
		return fmt.Errorf("page %s: %w", p.name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := body.WriteTo(w)
	return err
}

// message is a text with what it speaks of.
type message struct {
	Key  string
	Args []any
}

// problem is why a form was refused, and the id of the field it is about.
type problem struct {
	message
	Field string
}

func (p *pages) functions(language string, a assets) template.FuncMap {
	say := func(m message) (string, error) { return p.texts.say(m.Key, m.Args...) }
	return template.FuncMap{
		"t":        p.texts.say,
		"say":      say,
		"problem":  func(m *problem) (string, error) { return say(m.message) },
		"language": func() string { return language },
		"asset":    a.address,
		"initials": initials,
		"when":     func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
		"datetime": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
}

func (t texts) say(key string, args ...any) (string, error) {
	text, ok := t[key]
	if !ok {
		return "", fmt.Errorf("no text %q", key)
	}
	if len(args) == 0 {
		return text, nil
	}
	return fmt.Sprintf(text, args...), nil
}

// initials stand for a name where a picture would.
func initials(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return "?"
	}
	letters := []rune(words[0])[:1]
	if len(words) > 1 {
		letters = append(letters, []rune(words[len(words)-1])[0])
	}
	return strings.ToUpper(string(letters))
}
