package portal

import (
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// securityPage is where a person sees and changes what they sign in with.
const securityPage = "/me/security"

// securityView is what a person signs in with.
type securityView struct {
	Email       string
	HasPassword bool
	HasTOTP     bool
	Codes       int // recovery codes that are left
	Devices     []deviceView
	Done        string // key of a text that says what was just done; may be empty
	MinPassword int
	Problem     *problem
}

// deviceView is one trusted device.
type deviceView struct {
	ID        id.TrustedDevice
	Device    device
	Address   string
	TrustedAt time.Time
	LastUsed  time.Time
	Expires   time.Time
}

// enrollPage shows a new key for an authenticator app and asks for a code of it.
type enrollPage struct {
	Why     string // the application that the tenant demands a second factor for; empty: the person's own wish
	Key     string // in base32, in groups of four
	QR      template.URL
	Action  string
	Restart string // where to begin as somebody else; empty: nowhere
	Problem *problem
}

// codesPage shows new recovery codes, once.
type codesPage struct {
	Codes []string
	Next  string
}

// done is the key of the text for what the address says was just done, or empty.
func done(c *gin.Context) string {
	return map[string]string{
		"password":       "security.done.password",
		"totp_removed":   "security.done.totp_removed",
		"device_removed": "security.done.device_removed",
	}[c.Query("done")]
}

func (p *Portal) showSecurity(c *gin.Context, session *authn.Session) error {
	return p.writeSecurity(c, session, http.StatusOK, nil)
}

func (p *Portal) writeSecurity(c *gin.Context, session *authn.Session, status int, why *problem) error {
	ctx := c.Request.Context()
	person, err := p.authn.Person(ctx, session)
	if err != nil {
		return err
	}
	view := securityView{Email: person.Email, MinPassword: authn.MinPassword, Done: done(c), Problem: why}
	if view.HasPassword, err = p.authn.HasPassword(ctx, session.User); err != nil {
		return err
	}
	if view.HasTOTP, err = p.authn.HasTOTP(ctx, session.User); err != nil {
		return err
	}
	if view.Codes, err = p.authn.RecoveryCodes(ctx, session.User); err != nil {
		return err
	}
	devices, err := p.authn.TrustedDevices(ctx, session.User)
	if err != nil {
		return err
	}
	for _, d := range devices {
		view.Devices = append(view.Devices, deviceView{
			ID: d.ID, Device: deviceOf(d.UserAgent), Address: d.Address, TrustedAt: d.TrustedAt, LastUsed: d.LastUsed, Expires: d.Expires,
		})
	}
	return write(c.Writer, status, p.pages.security, view)
}

func (p *Portal) changePassword(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	next := secret.NewText(field("password"))
	if !next.Equal(secret.NewText(field("password_again"))) {
		return p.writeSecurity(c, session, http.StatusUnprocessableEntity, &problem{message{Key: "setup.problem.again"}, "password_again"})
	}
	reopened, value, err := p.oidc.ChangePassword(c.Request.Context(), session, secret.NewText(field("current_password")), next, p.client(c))
	if err != nil {
		status, why := passwordProblem(err)
		if why == nil {
			return err
		}
		if status == http.StatusTooManyRequests {
			setRetryAfter(c.Writer.Header(), fault.As(err).RetryAfter)
		}
		return p.writeSecurity(c, session, status, why)
	}
	p.cookies.Set(c.Writer, cookie.Session, value, reopened.Expires)
	p.cookies.Clear(c.Writer, cookie.Device)
	seeOther(c, securityPage+"?done=password")
	return nil
}

// passwordProblem says why a password was not changed, or nil where the form is
// not to blame.
func passwordProblem(err error) (status int, why *problem) {
	f := fault.As(err)
	switch {
	case f.Kind == fault.Throttled:
		return http.StatusTooManyRequests, &problem{waitMessage(f.RetryAfter), ""}
	case f.Kind == fault.Invalid && f.Field == "current_password":
		return http.StatusUnprocessableEntity, &problem{message{Key: "password.problem.current"}, "current_password"}
	case f.Kind == fault.Invalid && f.Field == "password" && f.Code == "":
		return http.StatusUnprocessableEntity, &problem{message{Key: "password.problem.policy", Args: []any{f.Detail}}, "password"}
	}
	return http.StatusUnprocessableEntity, setupProblem(err)
}

func (p *Portal) beginTOTP(c *gin.Context, session *authn.Session) error {
	if _, err := p.authn.BeginTOTP(c.Request.Context(), session.User); err != nil {
		return err
	}
	seeOther(c, "/me/totp")
	return nil
}

func (p *Portal) showTOTP(c *gin.Context, session *authn.Session) error {
	view, err := p.enrollPage(c, session)
	if errors.Is(err, fault.NotFound) {
		seeOther(c, securityPage) // it is active by now, or was never begun
		return nil
	}
	if err != nil {
		return err
	}
	view.Action, view.Restart = "/me/totp/activate", ""
	return write(c.Writer, http.StatusOK, p.pages.enroll, view)
}

func (p *Portal) activateTOTP(c *gin.Context, session *authn.Session) error {
	return p.activate(c, session, securityPage, enrollPage{Action: "/me/totp/activate"})
}

// activate judges the first code of a new key. The session is then one of two
// factors, and the recovery codes are shown.
func (p *Portal) activate(c *gin.Context, session *authn.Session, next string, again enrollPage) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	codes, err := p.authn.ActivateTOTP(ctx, session.User, field("code"))
	if err != nil {
		status, why, ok := p.refusal(c, err)
		if !ok {
			return err
		}
		view, err := p.enrollPage(c, session)
		if err != nil {
			return err
		}
		view.Why, view.Action, view.Restart, view.Problem = again.Why, again.Action, again.Restart, why
		return write(c.Writer, status, p.pages.enroll, view)
	}
	stronger, value, err := p.authn.PassedTOTP(ctx, session, p.client(c))
	if err != nil {
		return err
	}
	p.cookies.Set(c.Writer, cookie.Session, value, stronger.Expires)
	p.cookies.Clear(c.Writer, cookie.Device)
	return p.writeCodes(c, codes, next)
}

func (p *Portal) writeCodes(c *gin.Context, codes []secret.Text, next string) error {
	if len(codes) == 0 {
		seeOther(c, next)
		return nil
	}
	view := codesPage{Next: next}
	for _, code := range codes {
		view.Codes = append(view.Codes, code.Reveal())
	}
	return write(c.Writer, http.StatusOK, p.pages.codes, view)
}

// enrollPage describes the pending key. It fails with fault.NotFound where there
// is none.
func (p *Portal) enrollPage(c *gin.Context, session *authn.Session) (enrollPage, error) {
	ctx := c.Request.Context()
	key, err := p.authn.PendingTOTP(ctx, session.User)
	if err != nil {
		return enrollPage{}, err
	}
	person, err := p.authn.Person(ctx, session)
	if err != nil {
		return enrollPage{}, err
	}
	picture, err := authn.TOTPPicture(p.oidc.Issuer(), person.Email, key)
	if err != nil {
		return enrollPage{}, err
	}
	source := template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(picture)) //nolint:gosec // made here
	return enrollPage{Key: inFours(key.Reveal()), QR: source}, nil
}

// inFours makes a key that can be read aloud and typed.
func inFours(key string) string {
	var out []byte
	for i := range len(key) {
		if i > 0 && i%4 == 0 {
			out = append(out, ' ')
		}
		out = append(out, key[i])
	}
	return string(out)
}

func (p *Portal) removeTOTP(c *gin.Context, session *authn.Session) error {
	err := p.authn.DisableTOTP(c.Request.Context(), session.User)
	if f := fault.As(err); err != nil && f.Code == "second_factor_required" {
		return p.writeSecurity(c, session, http.StatusConflict, &problem{message{Key: "security.problem.required", Args: []any{f.Detail}}, ""})
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, securityPage+"?done=totp_removed")
	return nil
}

func (p *Portal) newRecoveryCodes(c *gin.Context, session *authn.Session) error {
	has, err := p.authn.HasTOTP(c.Request.Context(), session.User)
	if err != nil {
		return err
	}
	if !has {
		seeOther(c, securityPage) // there is nothing that they would stand in for
		return nil
	}
	codes, err := p.authn.NewRecoveryCodes(c.Request.Context(), session.User)
	if err != nil {
		return err
	}
	return p.writeCodes(c, codes, securityPage)
}

// removeTrustedDevice forgets one trusted device (field device) or all of them
// (field all).
func (p *Portal) removeTrustedDevice(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	if field("all") != "" {
		err = p.authn.RemoveTrustedDevices(ctx, session.User, "own_wish")
	} else {
		err = p.authn.RemoveTrustedDevice(ctx, session.User, id.TrustedDevice(field("device")))
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, securityPage+"?done=device_removed")
	return nil
}

// enrolling returns the request that can't go on without a second factor, or nil
// after leading away.
func (p *Portal) enrolling(c *gin.Context, session *authn.Session) (*oidc.AuthorizationRequest, error) {
	r, err := p.request(c)
	if err != nil {
		return nil, err
	}
	if r == nil {
		seeOther(c, securityPage)
		return nil, nil
	}
	has, err := p.authn.HasTOTP(c.Request.Context(), session.User)
	if err != nil {
		return nil, err
	}
	if has || !r.Essential {
		seeOther(c, continueAt(r.ID)) // who has a factor shows it instead of making another
		return nil, nil
	}
	return r, nil
}

// showEnrollment has somebody set up a second factor whom the tenant lets in with
// two only.
func (p *Portal) showEnrollment(c *gin.Context, session *authn.Session) error {
	r, err := p.enrolling(c, session)
	if err != nil || r == nil {
		return err
	}
	view, err := p.enrollPage(c, session)
	if errors.Is(err, fault.NotFound) {
		if _, err := p.authn.BeginTOTP(c.Request.Context(), session.User); err != nil {
			return err
		}
		view, err = p.enrollPage(c, session)
	}
	if err != nil {
		return err
	}
	application, err := p.oidc.Application(c.Request.Context(), r.ClientID)
	if err != nil {
		return err
	}
	view.Why, view.Restart = application.Name, continueAt(r.ID)
	return write(c.Writer, http.StatusOK, p.pages.enroll, view)
}

func (p *Portal) submitEnrollment(c *gin.Context, session *authn.Session) error {
	r, err := p.enrolling(c, session)
	if err != nil || r == nil {
		return err
	}
	application, err := p.oidc.Application(c.Request.Context(), r.ClientID)
	if err != nil {
		return err
	}
	return p.activate(c, session, continueAt(r.ID), enrollPage{Why: application.Name, Restart: continueAt(r.ID)})
}
