package portal

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// forgotPage asks for the address to send a link to, and says that it was sent.
type forgotPage struct {
	Email   string
	Sent    bool
	Back    string // to the sign-in
	Problem *problem
}

// resetPage asks for a new password.
type resetPage struct {
	MinPassword int
	Problem     *problem
}

// outboxPage shows the operator what has not been sent.
type outboxPage struct {
	Sends   bool // there is a mail server
	Letters []mail.Waiting
}

// maxLetters bounds how many letters the outbox shows.
const maxLetters = 100

// backToLogin is the sign-in that a person came from.
func backToLogin(c *gin.Context) string {
	if request := c.Query("request"); request != "" {
		return "/login?request=" + url.QueryEscape(request)
	}
	return "/login"
}

func (p *Portal) showForgot(c *gin.Context) error {
	return write(c.Writer, c.Request, http.StatusOK, p.pages.forgot, forgotPage{Back: backToLogin(c), Sent: c.Query("sent") != ""})
}

func (p *Portal) submitForgot(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if err := p.authn.RequestPasswordReset(c.Request.Context(), field("login"), p.client(c)); err != nil {
		status, why, ok := p.refusal(c, err)
		if !ok {
			return err
		}
		return write(c.Writer, c.Request, status, p.pages.forgot, forgotPage{Email: field("login"), Back: backToLogin(c), Problem: why})
	}
	next := url.Values{"sent": {"1"}}
	if request := c.Query("request"); request != "" {
		next.Set("request", request)
	}
	seeOther(c, "/login/forgot?"+next.Encode())
	return nil
}

func (p *Portal) showReset(c *gin.Context) error {
	if _, err := p.authn.CheckPasswordReset(c.Request.Context(), secret.NewText(c.Query("token"))); err != nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.reset, resetPage{MinPassword: authn.MinPassword})
}

func (p *Portal) submitReset(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	token, next := secret.NewText(c.Query("token")), secret.NewText(field("password"))
	view := resetPage{MinPassword: authn.MinPassword}
	if !next.Equal(secret.NewText(field("password_again"))) {
		if _, err := p.authn.CheckPasswordReset(c.Request.Context(), token); err != nil {
			return err
		}
		view.Problem = &problem{message{Key: "setup.problem.again"}, "password_again"}
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.reset, view)
	}
	if err := p.oidc.ResetPassword(c.Request.Context(), token, next); err != nil {
		if errors.Is(err, fault.NotFound) {
			return err
		}
		status, why := passwordProblem(err)
		if why == nil {
			return err
		}
		view.Problem = why
		return write(c.Writer, c.Request, status, p.pages.reset, view)
	}
	seeOther(c, "/login?changed=1")
	return nil
}

// showOutbox shows the letters that have not been sent to the operators, and to
// nobody else that there are such.
func (p *Portal) showOutbox(c *gin.Context, session *authn.Session) error {
	if !whose(c).Operator {
		return fault.New(fault.Denied, "only operators see the outbox")
	}
	letters, err := p.mail.Outbox(c.Request.Context(), maxLetters)
	if err != nil {
		return err
	}
	view := outboxPage{Sends: p.mail.Sends(), Letters: letters}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.outbox, view)
}
