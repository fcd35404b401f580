package provider

import (
	"context"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// findRequest is how a handler gets at a stored request.
type findRequest func(context.Context, id.AuthorizationRequest, secret.Text) (*oidc.AuthorizationRequest, error)

// reply is where an authorization response goes, and how.
type reply struct {
	clientID    string
	redirectURI string
	mode        string
	state       string
}

func replyTo(r *oidc.AuthorizationRequest) reply {
	return reply{clientID: r.ClientID, redirectURI: r.RedirectURI, mode: r.ResponseMode, state: r.State}
}

// reply sends the browser to the application with the values, the state and the
// issuer (RFC 6749 §4.1.2, RFC 9207 §2).
func (p *Provider) reply(c *gin.Context, to reply, values url.Values) {
	values.Set("iss", p.oidc.Issuer())
	if to.state != "" {
		values.Set("state", to.state)
	}
	if to.mode == oidc.ModeFormPost {
		p.formPost(c, to.redirectURI, values)
		return
	}
	redirect(c, withQuery(to.redirectURI, values))
}

// withQuery adds values to a registered address and leaves every byte of it as
// it is.
func withQuery(address string, values url.Values) string {
	switch {
	case len(values) == 0:
		return address
	case strings.Contains(address, "?"):
		return address + "&" + values.Encode()
	default:
		return address + "?" + values.Encode()
	}
}

// replyError tells the application what went wrong (RFC 6749 §4.1.2.1). What is
// no error of the protocol stays on a page of ours, except that the application
// learns of the server's trouble. Nobody is sent to who has registered himself before
// anybody has signed in, or a page of this server would lead anywhere
// (RFC 9700 §4.11.2).
func (p *Provider) replyError(c *gin.Context, to reply, err error) {
	f := fault.As(err)
	nowhere := to.redirectURI == "" // a device's request
	if f.Kind != fault.Internal && f.Code == "" || nowhere || p.unasked(c, to, f.Code) {
		p.errorPage(c, err)
		return
	}
	e, _ := p.errorOf(c.Request.Context(), err)
	p.reply(c, to, url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

// unasked reports whether the application of a reply has registered itself, and
// nobody who is signed in has come with its request. What a person says, and what
// prompt=none asks for, is an answer all the same.
func (p *Provider) unasked(c *gin.Context, to reply, code string) bool {
	if slices.Contains([]string{oidc.LoginRequired, oidc.InteractionRequired, oidc.ConsentRequired, oidc.AccessDenied}, code) {
		return false
	}
	a, err := p.oidc.Application(c.Request.Context(), to.clientID)
	if err != nil || a.Registration == nil {
		return false
	}
	session, err := p.session(c)
	return err != nil || session == nil
}

// redirect never repeats a form at the next address (RFC 9700 §4.12).
func redirect(c *gin.Context, address string) {
	status := http.StatusFound
	if c.Request.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	c.Header("Location", address)
	c.Header("Referrer-Policy", "no-referrer")
	c.Status(status)
	c.Writer.WriteHeaderNow()
}

// errorPage shows what went wrong to the person, because there is nobody else to
// tell.
func (p *Provider) errorPage(c *gin.Context, err error) {
	e, status := p.errorOf(c.Request.Context(), err)
	p.page(c, status, "error.html", "", "'none'", e)
	c.Abort()
}

// formPost has the browser post the values (OAuth 2.0 Form Post Response Mode).
// The policy lets the application lead on to other https addresses afterwards.
func (p *Provider) formPost(c *gin.Context, address string, values url.Values) {
	nonce := secret.Random("").Reveal()
	p.page(c, http.StatusOK, "form_post.html", nonce, "https: "+originOf(address), struct {
		Nonce   string
		Address template.URL // registered and validated; a native scheme must not be filtered out
		Values  url.Values
	}{nonce, template.URL(address), values}) //nolint:gosec // see the field
}

func originOf(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "'none'"
	case u.Host == "":
		return u.Scheme + ":"
	default:
		return u.Scheme + "://" + u.Host
	}
}
