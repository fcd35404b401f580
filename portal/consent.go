package portal

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// consentPage asks a person to allow an application what it asks for.
type consentPage struct {
	Application  string
	Tenant       string // its name
	Person       string
	Unchecked    bool // the application has registered itself
	Allows       []allowView
	Details      []detailView
	Host         string // where the answer goes; empty: an application on the person's own device
	Confirmation string
	Cancel       string // the id of the request
	Restart      string // where to begin as somebody else
}

// allowView is one thing to allow, in words.
type allowView struct {
	What message
	New  bool // other things were allowed before
}

// allows puts what is asked for into words.
func (p *Portal) allows(asked *oidc.AskedConsent) []allowView {
	var views []allowView
	for _, scope := range asked.Scopes {
		views = append(views, allowView{
			What: p.scopeInWords(scope, asked.Standing.TenantName), New: len(asked.New) < len(asked.Scopes) && slices.Contains(asked.New, scope),
		})
	}
	return views
}

// scopeInWords says what an application gets by a scope, at the tenant of that
// name. A scope without words is shown as it is called: it must not be allowed
// unseen.
func (p *Portal) scopeInWords(scope, tenant string) message {
	text := message{Key: "consent.scope." + scope}
	switch scope {
	case oidc.ScopeOpenID, oidc.ScopeGroups, oidc.ScopePermissions:
		text.Args = []any{tenant}
	}
	if p.pages.texts[language.Default][text.Key] == "" {
		return message{Key: "consent.scope", Args: []any{scope}}
	}
	return text
}

// hostOf is the name of the server that an answer goes to, "" where that is no
// other machine.
func hostOf(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return u.Host
}

func (p *Portal) showConsent(c *gin.Context) error {
	r, session, ok, err := p.chooser(c)
	if err != nil || !ok {
		return err
	}
	return p.writeConsent(c, r, session)
}

func (p *Portal) writeConsent(c *gin.Context, r *oidc.AuthorizationRequest, session *authn.Session) error {
	asked, err := p.oidc.AskedConsent(c.Request.Context(), r, session)
	if err != nil { // errors are for the application, and told there
		seeOther(c, continueAt(r.ID))
		return nil //nolint:nilerr // see above
	}
	details, err := p.detailViews(c.Request.Context(), asked.Details)
	if err != nil {
		return err
	}
	wear(c, asked.Standing.Slug)
	return write(c.Writer, c.Request, http.StatusOK, p.pages.consent, consentPage{
		Application: asked.Application.Name, Tenant: asked.Standing.TenantName, Person: whose(c).Email, Allows: p.allows(asked), Details: details,
		Unchecked: asked.Application.Registration != nil,
		Host:      hostOf(r.RedirectURI), Confirmation: asked.Confirmation.Reveal(), Cancel: string(r.ID), Restart: continueAt(r.ID),
	})
}

// submitConsent takes the answer yes. The answer no is what the provider's own
// form for it sends.
func (p *Portal) submitConsent(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	r, session, ok, err := p.chooser(c)
	if err != nil || !ok {
		return err
	}
	if field("consent") != "allow" {
		return p.writeConsent(c, r, session)
	}
	browser := p.cookies.Get(c.Request, cookie.Browser)
	err = p.oidc.Allow(c.Request.Context(), r.ID, browser, session, secret.NewText(field("confirmation")))
	// What is not allowed after all is asked once more, or the application told.
	if err != nil && fault.As(err).Kind == fault.Internal {
		return err
	}
	seeOther(c, continueAt(r.ID))
	return nil
}
