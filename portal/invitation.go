package portal

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// invitedPage asks somebody who is invited for a first password.
type invitedPage struct {
	Tenant      string // its name
	Email       string
	MinPassword int
	Problem     *problem
}

func (p *Portal) showInvitation(c *gin.Context) error {
	view, err := p.invitedPage(c)
	if err != nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.invited, view)
}

func (p *Portal) invitedPage(c *gin.Context) (invitedPage, error) {
	ctx := c.Request.Context()
	who, err := p.authn.CheckInvitation(ctx, secret.NewText(c.Query("token")))
	if err != nil {
		return invitedPage{}, err
	}
	tenant, err := p.directory.Tenant(ctx, string(who.Tenant))
	if err != nil {
		return invitedPage{}, err
	}
	return invitedPage{Tenant: tenant.Name, Email: who.Email, MinPassword: authn.MinPassword}, nil
}

func (p *Portal) submitInvitation(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	view, err := p.invitedPage(c)
	if err != nil {
		return err
	}
	password := secret.NewText(field("password"))
	if !password.Equal(secret.NewText(field("password_again"))) {
		view.Problem = &problem{message{Key: "setup.problem.again"}, "password_again"}
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.invited, view)
	}
	ctx := c.Request.Context()
	who, session, value, err := p.authn.CompleteInvitation(ctx, secret.NewText(c.Query("token")), password, p.client(c))
	if err != nil {
		status, why := passwordProblem(err)
		if why == nil || errors.Is(err, fault.NotFound) {
			return err
		}
		view.Problem = why
		return write(c.Writer, c.Request, status, p.pages.invited, view)
	}
	if err := p.endOther(c, session); err != nil {
		return err
	}
	p.cookies.Set(c.Writer, cookie.Session, value, session.Expires)
	// Whoever took the invitation back in between has the last word.
	if err := p.directory.Accept(session.As(ctx), who.Tenant, who.User); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, afterLogin)
	return nil
}
