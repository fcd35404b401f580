package portal

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
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
	templates map[string]func() (*template.Template, error) // by the tags of the languages; parsed when it is first shown
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

// newPages makes all pages. It parses what they share; each is parsed in a
// language when it is first shown in it: all of them take a third of the time
// that the server takes to start.
func newPages(a assets) (*pages, error) {
	all, err := language.Load(sources)
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	// A line that ends in "e-" would leave people guessing.
	whole := strings.NewReplacer("e-mail", "e\u2011mail", "E-mail", "E\u2011mail", "E-Mail", "E\u2011Mail")
	for _, words := range all {
		for key, text := range words {
			words[key] = whole.Replace(text)
		}
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
	source(base, "login", &p.login)
	source(base, "link", &p.link)
	source(base, "providers", &p.providers)
	source(base, "code", &p.code)
	source(base, "tenant", &p.tenant)
	source(base, "consent", &p.consent)
	source(base, "setup", &p.setup)
	source(base, "me", &p.me)
	source(base, "tenants", &p.tenants)
	source(base, "roles", &p.roles)
	source(base, "activity", &p.activity)
	source(base, "not_me", &p.notMe)
	source(base, "applications", &p.applications)
	source(base, "tokens", &p.tokens)
	source(base, "token", &p.token)
	source(base, "new_token", &p.newToken)
	source(base, "made_token", &p.madeToken)
	source(base, "profile", &p.profile)
	source(base, "delete", &p.delete)
	source(base, "email", &p.email)
	source(base, "email_link", &p.emailLink)
	source(base, "security", &p.security)
	source(base, "passkey", &p.passkey)
	source(base, "enroll", &p.enroll)
	source(base, "codes", &p.codes)
	source(base, "forgot", &p.forgot)
	source(base, "reset", &p.reset)
	source(base, "invited", &p.invited)
	source(base, "change", &p.change)
	source(base, "register", &p.register)
	source(base, "registration", &p.registration)
	source(base, "waiting", &p.waiting)
	source(base, "user_code", &p.userCode)
	source(base, "allow_device", &p.allowDevice)
	source(base, "device_done", &p.deviceDone)
	source(base, "outbox", &p.outbox)
	source(base, "logout", &p.logout)
	source(base, "signed_out", &p.signedOut)
	source(base, "error", &p.error)
	return p, nil
}

// source says where a page comes from.
func source[V any](base map[string]*template.Template, name string, into *page[V]) {
	*into = page[V]{name: name, templates: map[string]func() (*template.Template, error){}}
	for tag, shared := range base {
		into.templates[tag] = sync.OnceValues(func() (*template.Template, error) {
			t, err := shared.Clone()
			if err != nil {
				return nil, err
			}
			return t.ParseFS(sources, "templates/"+name+".html")
		})
	}
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
	t, err := p.templates[s.Tag]()
	if err == nil {
		err = t.ExecuteTemplate(&body, "layout", sheet{&s, view})
	}
	if err != nil {
		return fmt.Errorf("page %s: %w", p.name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", s.Tag)
	w.WriteHeader(status)
	_, err = body.WriteTo(w)
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
