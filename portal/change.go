package portal

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/secret"
)

// changePage asks for a password in place of one that must be changed.
type changePage struct {
	Email       string
	MinPassword int
	Problem     *problem
}

func (p *Portal) showChange(c *gin.Context) error {
	login, err := p.loginAt(c, p.authn.LoginAtChange)
	if err != nil || login == nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.change, changePage{Email: login.Identifier, MinPassword: authn.MinPassword})
}

func (p *Portal) submitChange(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	login, err := p.loginAt(c, p.authn.LoginAtChange)
	if err != nil || login == nil {
		return err
	}
	view, password := changePage{Email: login.Identifier, MinPassword: authn.MinPassword}, secret.NewText(field("password"))
	if !password.Equal(secret.NewText(field("password_again"))) {
		view.Problem = &problem{message{Key: "setup.problem.again"}, "password_again"}
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.change, view)
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
	return write(c.Writer, c.Request, status, p.pages.change, view)
}
