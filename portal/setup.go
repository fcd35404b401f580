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

// setupPage is where the first operator signs up.
type setupPage struct {
	Email, Given, Family string
	MinPassword          int
	Problem              *problem
}

func (p *Portal) showSetup(c *gin.Context) error {
	if err := p.authn.CheckSetup(c.Request.Context(), secret.NewText(c.Query("token"))); err != nil {
		return setupGone(err)
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.setup, setupPage{MinPassword: authn.MinPassword})
}

func (p *Portal) submitSetup(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	token := secret.NewText(c.Query("token"))
	view := setupPage{Email: field("email"), Given: field("given"), Family: field("family"), MinPassword: authn.MinPassword}
	password := secret.NewText(field("password"))
	if !password.Equal(secret.NewText(field("password_again"))) {
		if err := p.authn.CheckSetup(c.Request.Context(), token); err != nil {
			return setupGone(err)
		}
		view.Problem = &problem{message{Key: "setup.problem.again"}, "password_again"}
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.setup, view)
	}
	form := authn.SetupForm{Email: view.Email, Given: view.Given, Family: view.Family, Password: password}
	session, value, err := p.authn.CompleteSetup(c.Request.Context(), token, form, p.client(c))
	if err != nil {
		view.Problem = setupProblem(err)
		if view.Problem == nil {
			return setupGone(err)
		}
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.setup, view)
	}
	if err := p.endOther(c, session); err != nil {
		return err
	}
	p.cookies.Set(c.Writer, cookie.Session, value, session.Expires)
	seeOther(c, afterLogin)
	return nil
}

// setupProblem says what is wrong with the form, or nil where it is not the
// form that is wrong.
func setupProblem(err error) *problem {
	f := fault.As(err)
	switch {
	case f.Kind == fault.Conflict && f.Field == "email":
		return &problem{message{Key: "setup.problem.taken"}, "email"}
	case f.Kind != fault.Invalid:
		return nil
	case f.Field == "password" && f.Code == "too_short":
		return &problem{message{Key: "setup.problem.too_short", Args: []any{authn.MinPassword}}, "password"}
	case f.Field == "password" && f.Code == "too_long":
		return &problem{message{Key: "setup.problem.too_long", Args: []any{authn.MaxPassword}}, "password"}
	case f.Field == "password" && f.Code == "same_as_email":
		return &problem{message{Key: "setup.problem.same_as_email"}, "password"}
	case f.Field == "password" && (f.Code == "common" || f.Code == "context" || f.Code == "used_before"):
		return &problem{message{Key: "setup.problem." + f.Code}, "password"}
	case f.Field == "password":
		return &problem{message{Key: "setup.problem.characters"}, "password"}
	case f.Field == "email", f.Field == "given", f.Field == "family":
		return &problem{message{Key: "setup.problem." + f.Field}, f.Field}
	}
	return nil
}

// setupGone gives a link that does not work the page that says what to do.
func setupGone(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "the set-up link does not work").WithCode("setup_gone")
	}
	return err
}
