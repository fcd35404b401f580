package provider

import (
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/language"
)

//go:embed pages/*.html locales/*.json
var pageFiles embed.FS

// parsePages returns the pages in every language, by its tag. An error is a mistake
// in one of them.
func parsePages(stylesheet string) (map[string]*template.Template, error) {
	all, err := language.Load(pageFiles)
	if err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	pages := map[string]*template.Template{}
	for tag, texts := range all {
		pages[tag], err = template.New("").Funcs(template.FuncMap{
			"stylesheet": func() string { return stylesheet },
			"tag":        func() string { return tag },
			"t":          texts.Say,
		}).ParseFS(pageFiles, "pages/*.html")
		if err != nil {
			return nil, fmt.Errorf("provider: pages in %q: %w", tag, err)
		}
	}
	return pages, nil
}

// speech is the tag of the language of a page: what the person has chosen, else
// what the application asks for (ui_locales, OpenID Connect Core §3.1.2.1 and
// RP-Initiated Logout 1.0 §2), else what the browser does, else the instance's.
func (p *Provider) speech(r *http.Request) string {
	if chosen := p.cookies.Get(r, cookie.Language).Reveal(); language.Known(chosen) {
		return chosen
	}
	asked := r.URL.Query().Get("ui_locales")
	if r.PostForm.Has("ui_locales") {
		asked = r.PostForm.Get("ui_locales")
	}
	if tag, ok := language.Choose(strings.Fields(asked)...); ok {
		return tag
	}
	if tag, ok := language.Choose(r.Header.Get("Accept-Language")); ok {
		return tag
	}
	return p.language
}

// page renders one of the pages. scripts is the nonce of its one script, and
// submitsTo where its form may lead; both may be empty.
func (p *Provider) page(c *gin.Context, status int, name, nonce, submitsTo string, data any) {
	policy := "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"
	if nonce != "" {
		policy += "; script-src 'nonce-" + nonce + "'"
	}
	if submitsTo != "" {
		policy += "; form-action " + submitsTo
	}
	tag := p.speech(c.Request)
	c.Header("Content-Security-Policy", policy)
	c.Header("X-Frame-Options", "DENY")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Referrer-Policy", "no-referrer")
	c.Header("Content-Type", "text/html; charset=utf-8")
	c.Header("Content-Language", tag)
	c.Status(status)
	if err := p.pages[tag].ExecuteTemplate(c.Writer, name, data); err != nil {
		p.logger.ErrorContext(c.Request.Context(), "render a page", "page", name, "err", err)
	}
}
