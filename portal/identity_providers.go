package portal

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/upstream"
)

// providersPage is where a tenant's administrators say by which providers people sign in.
type providersPage struct {
	Here      string // its path
	Tenant    string
	Required  bool
	Providers []providerView
	Domains   []domainView
	Roles     []roleChoice // that people may begin with
	Form      url.Values   // what was entered before
	Done      string       // key of a text; may be empty
	Problem   *problem
}

type providerView struct {
	ID          id.IdentityProvider
	Name        string
	Issuer      string
	RedirectURI string
	Domains     string
	Enabled     bool
}

type domainView struct {
	Name   string
	Chosen bool
}

type roleChoice struct {
	Key, Label string
	Chosen     bool
}

const providersAddress = "/t/:tenant/identity-providers"

// ofTenants begins the paths of tenants' pages, which one may see who has come by the
// tenant's provider, whatever other tenants know them.
const ofTenants = "/t/"

func (p *Portal) mountProviders(own gin.IRouter) {
	own.GET(providersAddress, p.handle(p.administers(p.showProviders)))
	own.POST(providersAddress, p.handle(p.administers(p.addProvider)))
	own.POST(providersAddress+"/:identity_provider", p.handle(p.administers(p.changeProvider)))
}

// administers leads somebody to the tenant whose page the address names, if they are
// signed in to it as it wants, and have just shown who they are. A tenant that they
// are nothing in is not found.
func (p *Portal) administers(handler func(*gin.Context, *directory.Tenant) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		here := ofTenants + url.PathEscape(c.Param("tenant")) + "/identity-providers"
		again := "/login?confirm=1&continue=" + url.QueryEscape(here)
		session, err := p.session(c)
		if err != nil {
			return err
		}
		if session == nil {
			seeOther(c, again)
			return nil
		}
		ctx := c.Request.Context()
		t, err := p.directory.Tenant(ctx, c.Param("tenant"))
		if err != nil {
			return err
		}
		admitted, err := p.admitted(c, session, t)
		if err != nil {
			return err
		}
		just, err := p.authn.Sudo(ctx, session)
		if err != nil {
			return err
		}
		if !admitted || !just {
			seeOther(c, again)
			return nil
		}
		c.Request = c.Request.WithContext(asPerson(ctx, session, t.ID))
		return handler(c, t)
	}
}

// admitted reports whether the session is good for the tenant. It fails with
// fault.NotFound where the person is nothing there.
func (p *Portal) admitted(c *gin.Context, session *authn.Session, t *directory.Tenant) (bool, error) {
	if whose(c).Operator {
		return session.Via.None(), nil
	}
	st, err := p.directory.Standing(c.Request.Context(), t.ID, session.User)
	if err != nil {
		return false, err
	}
	if !st.SignIn {
		return false, fault.New(fault.NotFound, "the person can't sign in to the tenant")
	}
	strong := authn.CompareACR(session.ACRAt(p.now(), st), authn.ACR2) >= 0
	by, err := p.directory.Admits(c.Request.Context(), st, session.Via, strong)
	return by == directory.Admitted && session.Within(st.Policy.SessionLimits(), p.now()), err
}

func (p *Portal) showProviders(c *gin.Context, t *directory.Tenant) error {
	return p.writeProviders(c, http.StatusOK, t, nil, nil)
}

func (p *Portal) writeProviders(c *gin.Context, status int, t *directory.Tenant, entered url.Values, why *problem) error {
	ctx := c.Request.Context()
	all, err := p.upstream.Providers(ctx, t.ID)
	if err != nil {
		return err
	}
	view := providersPage{Here: ofTenants + t.Slug + "/identity-providers", Tenant: t.Name, Required: t.Policy.SSO == directory.SSORequired, Form: entered, Problem: why}
	view.Done = map[string]string{
		"added": "providers.done.added", "disabled": "providers.done.disabled", "enabled": "providers.done.enabled", "tested": "providers.done.tested",
	}[c.Query("done")]
	for i := range all {
		one := &all[i]
		view.Providers = append(view.Providers, providerView{one.ID, one.Name, one.Issuer, p.upstream.RedirectURI(one.ID), strings.Join(one.Domains, ", "), one.Enabled})
	}
	for _, domain := range t.Domains {
		chosen := entered == nil
		for _, one := range entered["domain"] {
			chosen = chosen || one == domain
		}
		view.Domains = append(view.Domains, domainView{domain, chosen})
	}
	blueprint, err := p.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return err
	}
	for _, role := range directory.Beginnings(blueprint) {
		view.Roles = append(view.Roles, roleChoice{role.Key, cmp.Or(role.Label, role.Key), entered.Get("role") == role.Key})
	}
	return write(c.Writer, c.Request, status, p.pages.providers, view)
}

func (p *Portal) addProvider(c *gin.Context, t *directory.Tenant) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	is := func(name string) *bool { return new(field(name) != "") }
	s := upstream.Settings{
		Name: new(field("name")), Issuer: new(field("issuer")), ClientID: new(strings.TrimSpace(field("client_id"))), Secret: new(secret.NewText(field("client_secret"))),
		Domains: new(c.Request.PostForm["domain"]), TrustEmail: is("trust_email"), TrustMFA: is("trust_mfa"), JustInTime: is("just_in_time"),
	}
	if field("just_in_time") != "" {
		s.Role = new(field("role"))
	}
	_, err = p.upstream.Create(c.Request.Context(), t.ID, s)
	if f := fault.As(err); f.Kind == fault.Invalid || f.Kind == fault.Conflict {
		return p.writeProviders(c, http.StatusUnprocessableEntity, t, c.Request.PostForm, &problem{message{Key: "providers.problem.invalid", Args: []any{f.Detail}}, fieldOf(f.Field)})
	}
	if err != nil {
		return err
	}
	p.backToProviders(c, t, "added")
	return nil
}

// fieldOf is the id of the field of the form that a fault is about.
func fieldOf(field string) string {
	switch field {
	case "name", "issuer", "client_id", "client_secret", "role":
		return field
	}
	return ""
}

func (p *Portal) backToProviders(c *gin.Context, t *directory.Tenant, done string) {
	seeOther(c, ofTenants+t.Slug+"/identity-providers?done="+done)
}

// changeProvider tests, enables or disables a provider.
func (p *Portal) changeProvider(c *gin.Context, t *directory.Tenant) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	provider, err := id.Parse[id.IdentityProvider](c.Param("identity_provider"))
	if err != nil {
		return fault.New(fault.NotFound, "no such provider")
	}
	ctx, done := c.Request.Context(), ""
	switch field("do") {
	case "test":
		done = "tested"
		_, why, err := p.upstream.Test(ctx, t.ID, provider)
		if err != nil {
			return err
		}
		if why != "" {
			return p.writeProviders(c, http.StatusUnprocessableEntity, t, nil, &problem{message{Key: "providers.problem.unreachable", Args: []any{why}}, ""})
		}
	case "enable":
		done = "enabled"
		_, err = p.upstream.Change(ctx, t.ID, provider, upstream.Settings{Enabled: new(true)})
	case "disable":
		done = "disabled"
		_, err = p.upstream.Change(ctx, t.ID, provider, upstream.Settings{Enabled: new(false)})
	}
	if err != nil {
		return err
	}
	p.backToProviders(c, t, done)
	return nil
}
