package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// Where people register, confirm the address, and learn that they have to wait.
const (
	registerAddress     = "/login/register"
	registrationAddress = "/login/registration"
	waitingAddress      = "/login/registration/waiting"
)

func (p *Portal) mountRegistration(r gin.IRouter) {
	r.GET(registerAddress, p.handle(p.showRegister))
	r.POST(registerAddress, p.handle(p.submitRegister))
	r.GET(registrationAddress, p.handle(p.showRegistration))
	r.POST(registrationAddress, p.handle(p.submitRegistration))
	r.GET(waitingAddress, p.handle(p.showWaiting))
}

// registerPage asks for the address to register with, and says that it was
// written to.
type registerPage struct {
	Tenant  string // its name
	Email   string
	Sent    bool
	Back    string // to the sign-in
	Problem *problem
}

// registrationPage asks somebody whose address is confirmed for a name and a first
// password, or, who has an account, for their word.
type registrationPage struct {
	Tenant        string // its name
	Email         string
	Known         bool   // somebody has an account with the address
	Terms         string // address of what they have to agree to; empty: nothing
	Approval      bool   // they will have to wait
	Given, Family string
	Address       *addressForm // nil: the tenant asks for none
	MinPassword   int
	Problem       *problem

	slug string // of the tenant
}

// addressForm is a postal address as it was typed.
type addressForm struct {
	directory.PostalAddress
	Countries []language.Country
}

// waitingPage says that an administrator decides.
type waitingPage struct{}

// registration is the tenant to register at that the address names.
func (p *Portal) registration(c *gin.Context) (*directory.OpenRegistration, error) {
	slug := c.Query("tenant")
	if !slugForm.MatchString(slug) {
		return nil, fault.New(fault.NotFound, "no such tenant").WithCode("registration_closed")
	}
	return p.directory.OpenRegistration(c.Request.Context(), slug)
}

// registerAt is where people register at the tenant that an application names, or
// empty where nobody does.
func (p *Portal) registerAt(ctx context.Context, tenant, request string) (string, error) {
	open, err := p.directory.OpenRegistration(ctx, tenant)
	if errors.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return registerAddress + "?" + url.Values{"tenant": {open.Slug}, "request": {request}}.Encode(), nil
}

// registrationRequest is the application's request that has led somebody to
// register, or nil where none has, or it is over or another browser's by now: the
// letter may be read anywhere.
func (p *Portal) registrationRequest(c *gin.Context) (*oidc.AuthorizationRequest, error) {
	r, err := p.request(c)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return r, err
}

func (p *Portal) showRegister(c *gin.Context) error {
	open, err := p.registration(c)
	if err != nil {
		return err
	}
	if _, err := p.registrationRequest(c); err != nil { // for its language
		return err
	}
	wear(c, open.Slug)
	return write(c.Writer, c.Request, http.StatusOK, p.pages.register, registerPage{Tenant: open.Name, Back: backToLogin(c), Sent: c.Query("sent") != ""})
}

func (p *Portal) submitRegister(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	open, err := p.registration(c)
	if err != nil {
		return err
	}
	r, err := p.registrationRequest(c)
	if err != nil {
		return err
	}
	wear(c, open.Slug)
	var led id.AuthorizationRequest
	if r != nil {
		led = r.ID
	}
	view := registerPage{Tenant: open.Name, Email: strings.TrimSpace(field("email")), Back: backToLogin(c)}
	if _, ok := directory.ParseEmail(view.Email); ok && !open.Admits(view.Email) {
		err = fault.Field(fault.Invalid, "email", "people of that domain don't register here").WithCode("domain")
	} else {
		err = p.authn.RequestRegistration(c.Request.Context(), open.Tenant, view.Email, led, p.client(c))
	}
	if err != nil {
		status, why := registrationProblem(err)
		if why == nil {
			return err
		}
		if status == http.StatusTooManyRequests {
			setRetryAfter(c.Writer.Header(), fault.As(err).RetryAfter)
		}
		view.Problem = why
		return write(c.Writer, c.Request, status, p.pages.register, view)
	}
	next := c.Request.URL.Query()
	next.Set("sent", "1")
	seeOther(c, registerAddress+"?"+next.Encode())
	return nil
}

// registrationProblem says what is wrong with a form of these pages, or nil where
// it is not the form that is wrong.
func registrationProblem(err error) (status int, why *problem) {
	if f := fault.As(err); f.Kind == fault.Invalid && f.Field == "email" && f.Code == "domain" {
		return http.StatusUnprocessableEntity, &problem{message{Key: "register.problem.domain"}, "email"}
	}
	if f := fault.As(err); f.Kind == fault.Invalid && slices.Contains([]string{"street", "postal_code", "locality", "region", "country"}, f.Field) {
		return http.StatusUnprocessableEntity, &problem{message{Key: "registration.problem." + f.Field}, f.Field}
	}
	return passwordProblem(err)
}

// registrationPage describes the page behind the link of a letter.
func (p *Portal) registrationPage(c *gin.Context) (registrationPage, error) {
	ctx := c.Request.Context()
	r, err := p.authn.CheckRegistration(ctx, secret.NewText(c.Query("token")))
	if err != nil {
		return registrationPage{}, err
	}
	open, err := p.directory.OpenRegistration(ctx, string(r.Tenant))
	if err != nil {
		return registrationPage{}, err
	}
	wear(c, open.Slug)
	view := registrationPage{
		Tenant: open.Name, Email: r.Email, Known: r.User != "", Terms: open.Terms, Approval: open.Approval, MinPassword: authn.MinPassword, slug: open.Slug,
	}
	if open.Address {
		view.Address = &addressForm{Countries: language.Countries(speechOf(ctx).Tag)}
	}
	return view, nil
}

func (p *Portal) showRegistration(c *gin.Context) error {
	view, err := p.registrationPage(c)
	if err != nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.registration, view)
}

func (p *Portal) submitRegistration(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	view, err := p.registrationPage(c)
	if err != nil {
		return err
	}
	view.Given, view.Family = field("given"), field("family")
	var address directory.PostalAddress
	if view.Address != nil {
		address = directory.PostalAddress{
			Street: strings.TrimSpace(field("street")), PostalCode: strings.TrimSpace(field("postal_code")), Locality: strings.TrimSpace(field("locality")),
			Region: strings.TrimSpace(field("region")), Country: field("country"),
		}
		view.Address.PostalAddress = address
	}
	password := secret.NewText(field("password"))
	switch {
	case !view.Known && !password.Equal(secret.NewText(field("password_again"))):
		view.Problem = &problem{message{Key: "setup.problem.again"}, "password_again"}
	case view.Terms != "" && field("terms") == "":
		view.Problem = &problem{message{Key: "registration.problem.terms"}, "terms"}
	}
	if view.Problem != nil {
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.registration, view)
	}
	m, session, value, err := p.authn.CompleteRegistration(c.Request.Context(), secret.NewText(c.Query("token")),
		authn.RegistrationForm{Given: view.Given, Family: view.Family, Password: password, Address: address}, p.client(c), p.directory.Register)
	if err != nil {
		status, why := registrationProblem(err)
		if why == nil || fault.As(err).Kind != fault.Invalid {
			return err
		}
		view.Problem = why
		return write(c.Writer, c.Request, status, p.pages.registration, view)
	}
	if session != nil {
		if err := p.endOther(c, session); err != nil {
			return err
		}
		p.cookies.Set(c.Writer, cookie.Session, value, session.Expires)
	}
	return p.registered(c, m, view.slug)
}

// registered leads somebody who has become a member back to the application that
// they came from, or to the page about the tenant where they came by themselves.
func (p *Portal) registered(c *gin.Context, m *directory.Membership, slug string) error {
	if m.Status != directory.StatusActive {
		seeOther(c, waitingAddress)
		return nil
	}
	r, err := p.registrationRequest(c)
	switch {
	case err != nil:
		return err
	case r != nil:
		seeOther(c, continueAt(r.ID))
	default:
		seeOther(c, tenantsAddress+"/"+slug+"?done=registered")
	}
	return nil
}

func (p *Portal) showWaiting(c *gin.Context) error {
	return write(c.Writer, c.Request, http.StatusOK, p.pages.waiting, waitingPage{})
}
