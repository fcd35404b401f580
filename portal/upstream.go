package portal

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/upstream"
)

// linkPage asks whether to sign in by an account at a provider from now on.
type linkPage struct {
	Provider id.IdentityProvider
	Name     string // the provider's
	Tenant   string
}

// mountUpstream adds the way to the providers of tenants and back.
func (p *Portal) mountUpstream(login gin.IRouter) {
	login.POST("/login/provider", p.handle(p.chooseProvider))
	login.GET("/login/provider/:provider/callback", p.handle(p.finishUpstream))
	here := func(c *gin.Context) string { return c.Request.URL.RequestURI() }
	login.GET("/login/link", p.handle(p.confirmedAt(here, p.showLink)))
	login.POST("/login/link", p.handle(p.confirmedAt(here, p.submitLink)))
}

// loginRequest is why somebody signs in on the page with this address.
func loginRequest(c *gin.Context, r *oidc.AuthorizationRequest) authn.LoginRequest {
	if r != nil {
		return authn.LoginRequest{Continue: continueAt(r.ID), Hint: r.LoginHint, Fresh: r.Fresh || r.MinACR != ""}
	}
	return authn.LoginRequest{Continue: continuePath(c), Fresh: c.Query("confirm") != ""}
}

// sendAway sends the browser to a provider.
func (p *Portal) sendAway(c *gin.Context, provider id.IdentityProvider, about upstream.About) error {
	address, err := p.upstream.Begin(c.Request.Context(), provider, p.cookies.Get(c.Request, cookie.Browser), about)
	if err != nil {
		return err
	}
	seeOther(c, address)
	return nil
}

// chooseProvider leads to the provider whose button was clicked.
func (p *Portal) chooseProvider(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	r, err := p.request(c)
	if err != nil {
		return err
	}
	provider, err := id.Parse[id.IdentityProvider](field("provider"))
	if err != nil {
		return fault.New(fault.NotFound, "no such provider").WithCode(upstream.CodeGone)
	}
	request := loginRequest(c, r)
	hint := field("login")
	if hint == "" {
		hint = request.Hint
	}
	return p.sendAway(c, provider, upstream.About{Purpose: upstream.ToSignIn, Request: request, Hint: hint})
}

// routed leads who has entered their address only to where the people of its
// domain sign in. It shows the page again where there are several such places, or none.
func (p *Portal) routed(c *gin.Context, r *oidc.AuthorizationRequest, email string) error {
	routes, err := p.routes(c, r, email)
	if err != nil {
		return err
	}
	if len(routes) == 1 {
		request := loginRequest(c, r)
		return p.sendAway(c, routes[0].Provider, upstream.About{Purpose: upstream.ToSignIn, Request: request, Hint: email})
	}
	session, err := p.session(c)
	if err != nil {
		return err
	}
	view, err := p.loginPage(c, r, session)
	if err != nil {
		return err
	}
	view.Email, view.Providers = email, routes
	if len(routes) == 0 {
		view.Problem = &problem{message{Key: "login.problem.no_provider"}, "username"}
	}
	return p.writeLogin(c, http.StatusUnprocessableEntity, view)
}

// routes returns where the people of an address's domain sign in, of the tenant that
// the request is about if it is about one.
func (p *Portal) routes(c *gin.Context, r *oidc.AuthorizationRequest, email string) ([]upstream.Route, error) {
	routes, err := p.upstream.RoutesByAddress(c.Request.Context(), email)
	if tenant := tenantOf(r); tenant != "" {
		routes = slices.DeleteFunc(routes, func(route upstream.Route) bool { return route.Slug != tenant && string(route.Tenant) != tenant })
	}
	return routes, err
}

// tenantOf returns the slug or id of the tenant that a request is about, if it is
// about one.
func tenantOf(r *oidc.AuthorizationRequest) string {
	switch {
	case r == nil:
		return ""
	case r.By != "":
		return string(r.By)
	default:
		return r.TenantName
	}
}

// boundRoutes returns the providers by which somebody has to sign in who may not by
// what they have shown.
func (p *Portal) boundRoutes(c *gin.Context, err error) ([]upstream.Route, error) {
	bound, is := errors.AsType[*authn.BoundError](err)
	if !is {
		return nil, nil
	}
	var all []upstream.Route
	for i := range bound.By {
		routes, err := p.upstream.RoutesOfTenant(c.Request.Context(), string(bound.By[i].Tenant))
		if err != nil {
			return nil, err
		}
		all = append(all, routes...)
	}
	return all, nil
}

// finishUpstream takes somebody back from a provider.
func (p *Portal) finishUpstream(c *gin.Context) error {
	provider, err := id.Parse[id.IdentityProvider](c.Param("provider"))
	if err != nil {
		return fault.New(fault.NotFound, "no such provider").WithCode(upstream.CodeGone)
	}
	query := c.Request.URL.Query()
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(query[name]) > 1 { // RFC 6749 §3.1
			return fault.New(fault.NotFound, "a parameter comes twice").WithCode(upstream.CodeGone)
		}
	}
	answer := &upstream.Answer{
		State: secret.NewText(query.Get("state")), Code: secret.NewText(query.Get("code")), Issuer: query.Get("iss"), Error: query.Get("error"),
	}
	outcome, err := p.upstream.Finish(c.Request.Context(), provider, p.cookies.Get(c.Request, cookie.Browser), answer, p.client(c))
	if err != nil {
		return err
	}
	if outcome.About.Purpose == upstream.ToLink {
		seeOther(c, securityPage+"?done=linked#links")
		return nil
	}
	return p.proceed(c, outcome.Login)
}

// linkable returns the provider that the address names, if the person may link an
// account there.
func (p *Portal) linkable(c *gin.Context, session *authn.Session) (*upstream.Route, error) {
	ctx := c.Request.Context()
	links, err := p.upstream.OwnLinks(ctx, session.User)
	if err != nil {
		return nil, err
	}
	routes, err := p.upstream.Linkable(ctx, session.User, links)
	if err != nil {
		return nil, err
	}
	for i := range routes {
		if string(routes[i].Provider) == c.Query("provider") {
			return &routes[i], nil
		}
	}
	return nil, fault.New(fault.NotFound, "no such provider")
}

func (p *Portal) showLink(c *gin.Context, session *authn.Session) error {
	route, err := p.linkable(c, session)
	if err != nil {
		return err
	}
	p.cookies.Ensure(c.Writer, c.Request, cookie.Browser)
	return write(c.Writer, c.Request, http.StatusOK, p.pages.link, linkPage{route.Provider, route.Name, route.TenantName})
}

func (p *Portal) submitLink(c *gin.Context, session *authn.Session) error {
	route, err := p.linkable(c, session)
	if err != nil {
		return err
	}
	return p.sendAway(c, route.Provider, upstream.About{Purpose: upstream.ToLink, User: session.User})
}

// unlink removes an account that the person signs in with (field link).
func (p *Portal) unlink(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	err = p.upstream.Unlink(c.Request.Context(), session.User, id.IdentityLink(field("link")))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, securityPage+"?done=unlinked#links")
	return nil
}

// ownWay is where a person signs in here who has come by a provider that is not good
// for what they want, and then comes back to.
func ownWay(c *gin.Context) string {
	page := afterLogin
	if c.Request.Method == http.MethodGet {
		page = c.Request.URL.RequestURI()
	}
	return "/login?continue=" + url.QueryEscape(page)
}
