package portal

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// passkeyPage makes a passkey.
type passkeyPage struct {
	Name    string // what the person calls it
	Problem *problem
}

// passkeyView is one passkey.
type passkeyView struct {
	ID       id.Passkey
	Name     string
	Provider string // empty: not a well-known one
	Synced   bool   // may be on several devices
	Created  time.Time
	LastUsed time.Time // zero: never
}

func (p *Portal) mountPasskeys(own gin.IRouter) {
	own.GET("/me/passkey", p.handle(p.confirmed(p.showPasskey)))
	own.POST("/me/passkey", p.handle(p.confirmed(p.addPasskey)))
	own.POST("/me/passkey/options", p.handle(p.confirmed(p.newPasskey)))
	own.POST("/me/passkeys/rename", p.handle(p.signedIn(p.renamePasskey)))
	own.POST("/me/passkeys/remove", p.handle(p.confirmed(p.removePasskey)))
}

func passkeyViews(s *speech, passkeys []authn.Passkey) []passkeyView {
	views := make([]passkeyView, 0, len(passkeys))
	for i := range passkeys {
		p := &passkeys[i]
		views = append(views, passkeyView{
			ID: p.ID, Name: p.Name, Provider: p.Provider(), Synced: p.BackupEligible, Created: p.Created, LastUsed: s.at(p.LastUsed),
		})
	}
	return views
}

// scriptPolicy is added to the policy of pages with the script for passkeys.
const scriptPolicy = "; script-src 'self'; connect-src 'self'"

// allowScript lets the page that is about to be written run the portal's script.
func allowScript(c *gin.Context) {
	header := c.Writer.Header()
	header.Set("Content-Security-Policy", header.Get("Content-Security-Policy")+scriptPolicy)
}

// writeOptions answers the script, which asks the browser for a passkey by them.
func writeOptions(c *gin.Context, options []byte, err error) error {
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, "application/json", options)
	return nil
}

func (p *Portal) passkeyForSignIn(c *gin.Context) error {
	options, err := p.authn.BeginPasskeySignIn(c.Request.Context(), p.cookies.Get(c.Request, cookie.Browser))
	return writeOptions(c, options, err)
}

func (p *Portal) passkeyForStep(c *gin.Context) error {
	login, err := id.Parse[id.Login](c.Query("login"))
	if err != nil {
		return fault.New(fault.NotFound, "no such sign-in").WithCode("login_gone")
	}
	options, err := p.authn.BeginPasskeyStep(c.Request.Context(), login, p.cookies.Get(c.Request, cookie.Browser))
	return writeOptions(c, options, err)
}

func (p *Portal) newPasskey(c *gin.Context, session *authn.Session) error {
	options, err := p.authn.BeginPasskey(c.Request.Context(), session)
	return writeOptions(c, options, err)
}

func (p *Portal) showPasskey(c *gin.Context, _ *authn.Session) error {
	if !p.authn.HasPasskeys() {
		seeOther(c, securityPage)
		return nil
	}
	allowScript(c)
	return write(c.Writer, c.Request, http.StatusOK, p.pages.passkey, passkeyPage{})
}

func (p *Portal) addPasskey(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if err := p.storePasskey(c, session, field("name"), field("passkey"), securityPage+"?done=passkey_added"); err != nil {
		why := passkeyProblem(err)
		if why == nil {
			return err
		}
		allowScript(c)
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.passkey, passkeyPage{Name: field("name"), Problem: why})
	}
	return nil
}

// storePasskey adds a passkey. The session is then as strong as one that began
// with it, and recovery codes are shown to who had none.
func (p *Portal) storePasskey(c *gin.Context, session *authn.Session, name, answer, next string) error {
	ctx := c.Request.Context()
	made, codes, err := p.authn.AddPasskey(ctx, session, name, []byte(answer))
	if err != nil {
		return err
	}
	stronger, value, err := p.authn.PassedPasskey(ctx, session, made, p.client(c))
	if err != nil {
		return err
	}
	p.cookies.Set(c.Writer, cookie.Session, value, stronger.Expires)
	return p.writeCodes(c, codes, next)
}

// passkeyProblem says why a passkey was not added or renamed, or nil where the
// form is not to blame.
func passkeyProblem(err error) *problem {
	switch f := fault.As(err); {
	case f.Code == authn.CodeWrongPasskey:
		return &problem{message{Key: "passkey.problem.made"}, ""}
	case f.Kind == fault.Invalid && f.Field == "name":
		return &problem{message{Key: "passkey.problem.name"}, "name"}
	}
	return nil
}

func (p *Portal) renamePasskey(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	passkey := id.Passkey(field("passkey"))
	err = p.authn.RenamePasskey(c.Request.Context(), session.User, passkey, field("name"))
	if why := passkeyProblem(err); err != nil && why != nil {
		why.Field = "name-" + string(passkey)
		return p.writeSecurity(c, session, http.StatusUnprocessableEntity, why)
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, securityPage+"?done=passkey_renamed")
	return nil
}

func (p *Portal) removePasskey(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	err = p.authn.RemovePasskey(c.Request.Context(), session.User, id.Passkey(field("passkey")))
	return p.factorRemoved(c, session, err, "passkey_removed")
}

// factorRemoved goes back to the list after a factor was removed, or says why it
// was not.
func (p *Portal) factorRemoved(c *gin.Context, session *authn.Session, err error, what string) error {
	if demanded, ok := errors.AsType[*authn.DemandedError](err); ok {
		why := message{Key: "security.problem.required", Args: []any{strings.Join(demanded.By, ", ")}}
		return p.writeSecurity(c, session, http.StatusConflict, &problem{why, ""})
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, securityPage+"?done="+url.QueryEscape(what))
	return nil
}
