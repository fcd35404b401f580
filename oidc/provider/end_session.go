package provider

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// signOut is a validated request of RP-Initiated Logout 1.0 §2.
type signOut struct {
	application *oidc.Application // nil: the request names none
	hint        *oidc.Hint        // nil: no id_token_hint
	returnTo    string            // empty: a page of ours
	state       string
}

// endSession is the end-session endpoint. An application that proves by an ID
// token of the session that it took part in it signs the person out at once. For
// everybody else the person is asked, or any site could sign people out.
func (p *Provider) endSession(c *gin.Context) {
	form, err := endSessionForm(c)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	request, err := p.parseSignOut(c, form)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	session, err := p.session(c)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	ends := request.proven(session)
	if ends == "" && session != nil && c.Request.Method == http.MethodPost &&
		p.oidc.SignOutConfirmation(session.ID).Equal(secret.NewText(form.Get("confirmation"))) {
		ends = session.ID
	}
	switch {
	case ends != "":
		p.finishSignOut(c, request, ends, session)
	case session != nil:
		p.confirmSignOut(c, request, session, form)
	default: // nobody is signed in here
		p.signedOut(c, request)
	}
}

func endSessionForm(c *gin.Context) (url.Values, error) {
	if c.Request.Method == http.MethodPost {
		err := parseBody(c.Writer, c.Request)
		return c.Request.PostForm, err
	}
	form, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, invalidRequest("the query is malformed")
	}
	if name := repeated(form); name != "" {
		return nil, invalidRequest("the parameter %s is repeated", printable(name))
	}
	return form, nil
}

// parseSignOut checks everything before anything happens, so that a request
// with one wrong parameter has no effect.
func (p *Provider) parseSignOut(c *gin.Context, form url.Values) (*signOut, error) {
	request := &signOut{returnTo: form.Get("post_logout_redirect_uri"), state: form.Get("state")}
	clientID := form.Get("client_id")
	if text := form.Get("id_token_hint"); text != "" {
		hint, err := p.oidc.Hint(c.Request.Context(), text)
		if err != nil && fault.As(err).Kind == fault.Internal {
			return nil, err
		}
		if err != nil {
			return nil, invalidRequest("the id_token_hint is not an ID token of this server")
		}
		if clientID != "" && clientID != hint.ClientID {
			return nil, invalidRequest("the id_token_hint was not issued to this client_id")
		}
		request.hint, clientID = hint, hint.ClientID
	}
	if clientID != "" {
		application, err := p.oidc.Application(c.Request.Context(), clientID)
		if errors.Is(err, fault.NotFound) {
			return nil, invalidRequest("no application is registered under this client_id")
		}
		if err != nil {
			return nil, err
		}
		request.application = application
	}
	switch {
	case request.returnTo == "":
	case request.application == nil:
		return nil, invalidRequest("a post_logout_redirect_uri needs an id_token_hint or a client_id")
	case !request.application.AllowsPostLogoutRedirect(request.returnTo):
		return nil, invalidRequest("the post_logout_redirect_uri is not one that is registered for the application")
	}
	return request, nil
}

// proven returns the session that the hint entitles to end: the browser's own,
// or, where the browser came without its cookie (a form of another site does),
// the one that the hint names.
func (s *signOut) proven(session *authn.Session) id.Session {
	if s.hint == nil || session != nil && (session.ID != s.hint.Session || session.User != s.hint.User) {
		return ""
	}
	return s.hint.Session
}

func (p *Provider) confirmSignOut(c *gin.Context, request *signOut, session *authn.Session, form url.Values) {
	data := struct {
		Application  string
		Confirmation string
		Values       url.Values
	}{Confirmation: p.oidc.SignOutConfirmation(session.ID).Reveal(), Values: url.Values{}}
	if request.application != nil {
		data.Application = request.application.Name
		data.Values.Set("client_id", request.application.ClientID)
	}
	for _, name := range []string{"post_logout_redirect_uri", "state"} {
		if form.Get(name) != "" {
			data.Values.Set(name, form.Get(name))
		}
	}
	p.page(c, http.StatusOK, "sign_out.html", "", "", data)
}

func (p *Provider) finishSignOut(c *gin.Context, request *signOut, ends id.Session, session *authn.Session) {
	ctx := c.Request.Context()
	if session != nil {
		ctx = session.As(ctx)
	}
	if err := p.oidc.SignOut(ctx, ends); err != nil {
		p.errorPage(c, err)
		return
	}
	p.cookies.Clear(c.Writer, cookie.Session)
	p.signedOut(c, request)
}

func (p *Provider) signedOut(c *gin.Context, request *signOut) {
	if request.returnTo == "" {
		p.page(c, http.StatusOK, "signed_out.html", "", "'none'", nil)
		return
	}
	values := url.Values{}
	if request.state != "" {
		values.Set("state", request.state)
	}
	redirect(c, withQuery(request.returnTo, values))
}
