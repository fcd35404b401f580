package portal

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// changePage asks for a password in place of one that must be changed.
type changePage struct {
	Email       string
	MinPassword int
	Problem     *problem
}

// loginAtChange returns the sign-in that waits for a new password, or nil after
// leading to the beginning of one.
func (p *Portal) loginAtChange(c *gin.Context) (*authn.Login, error) {
	login, err := id.Parse[id.Login](c.Query("login"))
	if err != nil {
		seeOther(c, "/login")
		return nil, nil //nolint:nilerr // answered: there is nothing to go on with
	}
	found, err := p.authn.LoginAtChange(c.Request.Context(), login, p.cookies.Get(c.Request, cookie.Browser))
	return found, loginGone(err)
}

func loginGone(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "no such sign-in").WithCode("login_gone")
	}
	return err
}

func (p *Portal) showChange(c *gin.Context) error {
	login, err := p.loginAtChange(c)
	if err != nil || login == nil {
		return err
	}
	return write(c.Writer, http.StatusOK, p.pages.change, changePage{Email: login.Identifier, MinPassword: authn.MinPassword})
}

func (p *Portal) submitChange(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	login, err := p.loginAtChange(c)
	if err != nil || login == nil {
		return err
	}
	view, password := changePage{Email: login.Identifier, MinPassword: authn.MinPassword}, secret.NewText(field("password"))
	if !password.Equal(secret.NewText(field("password_again"))) {
		view.Problem = &problem{message{Key: "setup.problem.again"}, "password_again"}
		return write(c.Writer, http.StatusUnprocessableEntity, p.pages.change, view)
	}
	next, err := p.oidc.ChangeForced(c.Request.Context(), login.ID, p.cookies.Get(c.Request, cookie.Browser), password, p.client(c))
	if err == nil {
		return p.proceed(c, next)
	}
	status, why := passwordProblem(err)
	if why == nil {
		return loginGone(err)
	}
	view.Problem = why
	return write(c.Writer, status, p.pages.change, view)
}
