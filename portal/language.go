package portal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/secret"
)

// What a page's language was taken from: a higher reason goes before a lower one.
const (
	byInstance = iota // nothing else said anything
	byBrowser         // Accept-Language
	byPerson          // the person's profile
	byRequest         // ui_locales (OpenID Connect Core §3.1.2.1)
	byChoice          // the choice at the foot of the pages
)

// speech is how one page speaks. It is kept in the request's context, since it is
// known better as more is known of who asks.
type speech struct {
	Tag  string
	Here string // the page that a choice of the language leads back to; empty: none

	Theme string // the address of the tenant's stylesheet; empty: none

	reason int
	zone   *time.Location // that times are shown in; nil: UTC
}

type speechKey struct{}

// speechOf returns how to speak in a request.
func speechOf(ctx context.Context) *speech {
	if s, ok := ctx.Value(speechKey{}).(*speech); ok {
		return s
	}
	return &speech{Tag: language.Default}
}

// prefer takes wishes for the language into account, unless a better reason has
// decided.
func (s *speech) prefer(reason int, wanted ...string) {
	if reason < s.reason {
		return
	}
	if tag, ok := language.Choose(wanted...); ok {
		s.Tag, s.reason = tag, reason
	}
}

// at returns the time in the zone of who looks at it; the zero time as it is.
func (s *speech) at(t time.Time) time.Time {
	if s.zone == nil || t.IsZero() {
		return t
	}
	return t.In(s.zone)
}

// Languages are those to choose among.
func (*speech) Languages() []language.Language { return language.All() }

// listen finds out which language a browser wants.
func (p *Portal) listen(r *http.Request) *http.Request {
	s := &speech{Tag: p.language, Here: p.pageOf(r)}
	s.prefer(byBrowser, r.Header.Get("Accept-Language"))
	if chosen := p.cookies.Get(r, cookie.Language).Reveal(); language.Known(chosen) {
		s.Tag, s.reason = chosen, byChoice
	}
	return r.WithContext(context.WithValue(r.Context(), speechKey{}, s))
}

// speak is listen for every page.
func (p *Portal) speak(c *gin.Context) {
	c.Request = p.listen(c.Request)
	c.Next()
}

// pageOf is the address of the page that a request shows. A form that was refused
// is shown at its own address or at one above it.
func (p *Portal) pageOf(r *http.Request) string {
	path := r.URL.Path
	for r.Method == http.MethodPost && !p.shown[path] && len(path) > 1 {
		path = path[:max(1, strings.LastIndexByte(path, '/'))]
	}
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	if !authn.LocalPath(path) {
		return ""
	}
	return path
}

// keepLanguage is for how long a browser remembers a choice.
const keepLanguage = 365 * 24 * time.Hour

// chooseLanguage remembers the language that was chosen at the foot of a page, and
// goes back there.
func (p *Portal) chooseLanguage(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	chosen := field("language")
	if !language.Known(chosen) {
		return fault.Field(fault.Invalid, "language", "there is no such language")
	}
	p.cookies.Set(c.Writer, cookie.Language, secret.NewText(chosen), p.now().Add(keepLanguage))
	if next := field("continue"); authn.LocalPath(next) {
		seeOther(c, next)
	} else {
		seeOther(c, "/")
	}
	return nil
}
