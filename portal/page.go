package portal

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/rolecall/rolecall/internal/language"
)

//go:embed templates locales
var sources embed.FS

// texts are the words of one language, as the pages say them.
type texts struct{ language.Texts }

// page is one page with the type of its view.
type page[V any] struct {
	name      string
	templates map[string]*template.Template // by the tags of the languages
}

// pages is the registry of all pages.
type pages struct {
	texts map[string]language.Texts // by the tags of the languages

	login    page[loginPage]
	code     page[codePage]
	tenant   page[tenantPage]
	consent  page[consentPage]
	setup    page[setupPage]
	me       page[mePage]
	tenants  page[tenantsPage]
	roles    page[rolesPage]
	activity page[activityPage]
	notMe    page[notMePage]

	applications page[applicationsPage]
	tokens       page[tokensPage]
	token        page[tokenPage]
	newToken     page[newTokenPage]
	madeToken    page[madeTokenPage]
	profile      page[profilePage]
	delete       page[deletePage]
	email        page[emailPage]
	emailLink    page[emailLinkPage]

	security page[securityView]
	passkey  page[passkeyPage]
	enroll   page[enrollPage]
	codes    page[codesPage]
	link     page[linkPage]

	providers page[providersPage]

	forgot  page[forgotPage]
	reset   page[resetPage]
	invited page[invitedPage]
	change  page[changePage]

	register     page[registerPage]
	registration page[registrationPage]
	waiting      page[waitingPage]

	userCode    page[userCodePage]
	allowDevice page[allowDevicePage]
	deviceDone  page[deviceDonePage]

	outbox    page[outboxPage]
	logout    page[logoutPage]
	signedOut page[signedOutPage]
	error     page[errorPage]
}

// newPages parses all pages in all languages.
func newPages(a assets) (*pages, error) {
	all, err := language.Load(sources)
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	p := &pages{texts: all}
	base := map[string]*template.Template{}
	for tag, words := range all {
		base[tag], err = template.New("").Option("missingkey=error").Funcs(texts{words}.functions(a)).
			ParseFS(sources, "templates/layout.html", "templates/parts.html")
		if err != nil {
			return nil, fmt.Errorf("portal: %w", err)
		}
	}
	for _, parse := range []func() error{
		func() error { return parsePage(base, "login", &p.login) },
		func() error { return parsePage(base, "link", &p.link) },
		func() error { return parsePage(base, "providers", &p.providers) },
		func() error { return parsePage(base, "code", &p.code) },
		func() error { return parsePage(base, "tenant", &p.tenant) },
		func() error { return parsePage(base, "consent", &p.consent) },
		func() error { return parsePage(base, "setup", &p.setup) },
		func() error { return parsePage(base, "me", &p.me) },
		func() error { return parsePage(base, "tenants", &p.tenants) },
		func() error { return parsePage(base, "roles", &p.roles) },
		func() error { return parsePage(base, "activity", &p.activity) },
		func() error { return parsePage(base, "not_me", &p.notMe) },
		func() error { return parsePage(base, "applications", &p.applications) },
		func() error { return parsePage(base, "tokens", &p.tokens) },
		func() error { return parsePage(base, "token", &p.token) },
		func() error { return parsePage(base, "new_token", &p.newToken) },
		func() error { return parsePage(base, "made_token", &p.madeToken) },
		func() error { return parsePage(base, "profile", &p.profile) },
		func() error { return parsePage(base, "delete", &p.delete) },
		func() error { return parsePage(base, "email", &p.email) },
		func() error { return parsePage(base, "email_link", &p.emailLink) },
		func() error { return parsePage(base, "security", &p.security) },
		func() error { return parsePage(base, "passkey", &p.passkey) },
		func() error { return parsePage(base, "enroll", &p.enroll) },
		func() error { return parsePage(base, "codes", &p.codes) },
		func() error { return parsePage(base, "forgot", &p.forgot) },
		func() error { return parsePage(base, "reset", &p.reset) },
		func() error { return parsePage(base, "invited", &p.invited) },
		func() error { return parsePage(base, "change", &p.change) },
		func() error { return parsePage(base, "register", &p.register) },
		func() error { return parsePage(base, "registration", &p.registration) },
		func() error { return parsePage(base, "waiting", &p.waiting) },
		func() error { return parsePage(base, "user_code", &p.userCode) },
		func() error { return parsePage(base, "allow_device", &p.allowDevice) },
		func() error { return parsePage(base, "device_done", &p.deviceDone) },
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

func parsePage[V any](base map[string]*template.Template, name string, into *page[V]) error {
	*into = page[V]{name: name, templates: map[string]*template.Template{}}
	for tag, shared := range base {
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(sources, "templates/"+name+".html")
		}
		if err != nil {
			return fmt.Errorf("portal: page %s: %w", name, err)
		}
		into.templates[tag] = t
	}
	return nil
}

// sheet is what the layout shows: a page, and what is around it on every page.
type sheet struct {
	Speech *speech
	View   any
}

// write renders a page, in the language that the request's context names. It is
// rendered whole before the first byte leaves, so that a failure is an error and
// not half a page.
func write[V any](w http.ResponseWriter, r *http.Request, status int, p page[V], view V) error {
	s := *speechOf(r.Context())
	if r.Method == http.MethodPost && status == http.StatusOK {
		s.Here = "" // it is shown once: there is no way back to it
	}
	var body bytes.Buffer
	if err := p.templates[s.Tag].ExecuteTemplate(&body, "layout", sheet{&s, view}); err != nil {
		return fmt.Errorf("page %s: %w", p.name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", s.Tag)
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

func (t texts) functions(a assets) template.FuncMap {
	say := func(m message) (string, error) { return t.Say(m.Key, m.Args...) }
	return template.FuncMap{
		"t":        t.Say,
		"say":      say,
		"problem":  func(m *problem) (string, error) { return say(m.message) },
		"asset":    a.address,
		"icon":     a.icon,
		"initials": initials,
		"own":      ownFrame,
		"when":     t.when,
		"datetime": func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
	}
}

// when puts a time into words, in its own zone: the day, the month and the year as
// the language orders them.
func (t texts) when(at time.Time) (string, error) {
	months, err := t.Say("format.months")
	if err != nil {
		return "", err
	}
	return t.Say("format.time", at.Day(), strings.Fields(months)[at.Month()-1], at.Year(), at.Format("15:04"), zoneName(at))
}

// zoneName is the short name of a time's zone. Zones without one, which Go calls
// by numbers, are named by their distance from UTC.
func zoneName(at time.Time) string {
	if name := at.Format("MST"); unicode.IsLetter(rune(name[0])) {
		return name
	}
	return "UTC" + at.Format("-07:00")
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
