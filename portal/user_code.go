package portal

import (
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// Addresses of the device flow (RFC 8628 §3.3).
const (
	userCodeAddress    = "/device"
	allowDeviceAddress = "/device/confirm"
	deviceDoneAddress  = "/device/done"
)

// userCodePage asks for the code that a device shows.
type userCodePage struct {
	Code    string // what to fill in
	Linked  bool   // it is that of a link, and to be compared with the device
	Problem *problem
}

// allowDevicePage asks whether a device may have what it wants.
type allowDevicePage struct {
	Application string
	Tenant      string
	Person      string
	Scopes      []message
	Details     []detailView
	Device      device
	Address     string // whence the device asked; may be empty
	Asked       time.Time

	Confirmation string
	Restart      string // where to begin as somebody else
}

// deviceDonePage says to go back to the device.
type deviceDonePage struct{ Allowed bool }

func (p *Portal) mountDevice(r gin.IRouter) {
	r.GET(userCodeAddress, p.handle(p.showUserCode))
	r.POST(userCodeAddress, p.handle(p.submitUserCode))
	r.GET(allowDeviceAddress, p.handle(p.showAllowDevice))
	r.POST(allowDeviceAddress, p.handle(p.answerDevice))
	r.GET(deviceDoneAddress, p.handle(p.showDeviceDone))
}

// showUserCode fills in the code of a link, and does nothing with it: whoever sent
// the link may want somebody else to let his device in (RFC 8628 §5.4).
func (p *Portal) showUserCode(c *gin.Context) error {
	code := c.Query("user_code")
	if len(code) > maxUserCode {
		code = ""
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.userCode, userCodePage{Code: code, Linked: code != ""})
}

// maxUserCode bounds what is shown again of what somebody typed, in bytes.
const maxUserCode = 40

func (p *Portal) submitUserCode(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	browser := p.cookies.Ensure(c.Writer, c.Request, cookie.Browser)
	r, err := p.oidc.EnterUserCode(c.Request.Context(), field("user_code"), browser, p.client(c))
	if err == nil {
		seeOther(c, continueAt(r.ID))
		return nil
	}
	view := userCodePage{Code: field("user_code")[:min(len(field("user_code")), maxUserCode)]}
	switch f := fault.As(err); {
	case f.Kind == fault.Invalid && f.Field == "user_code":
		view.Problem = &problem{message{Key: "device.problem.unknown"}, "user_code"}
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.userCode, view)
	case f.Kind == fault.Throttled:
		setRetryAfter(c.Writer.Header(), f.RetryAfter)
		view.Problem = &problem{waitMessage(f.RetryAfter), ""}
		return write(c.Writer, c.Request, http.StatusTooManyRequests, p.pages.userCode, view)
	}
	return err
}

// asking is what both methods of the question need: a device's request, and who is
// signed in. ok is false where the person was led elsewhere.
func (p *Portal) asking(c *gin.Context) (r *oidc.AuthorizationRequest, session *authn.Session, ok bool, err error) {
	if r, err = p.request(c); err != nil {
		return nil, nil, false, deviceGone(err)
	}
	if session, err = p.session(c); err != nil {
		return nil, nil, false, err
	}
	switch {
	case r == nil || r.Device == "":
		seeOther(c, userCodeAddress)
	case session == nil:
		seeOther(c, continueAt(r.ID))
	default:
		return r, session, true, nil
	}
	return nil, nil, false, nil
}

// deviceGone tells that a device has to begin anew.
func deviceGone(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "no such device").WithCode("device_gone")
	}
	return err
}

func (p *Portal) showAllowDevice(c *gin.Context) error {
	r, session, ok, err := p.asking(c)
	if err != nil || !ok {
		return err
	}
	q, err := p.oidc.DeviceQuestion(c.Request.Context(), r, session)
	if errors.Is(err, fault.Stale) {
		seeOther(c, continueAt(r.ID))
		return nil
	}
	if err != nil {
		return deviceGone(err)
	}
	wear(c, q.Standing.Slug)
	view := allowDevicePage{
		Application: q.Application.Name, Tenant: q.Standing.TenantName, Person: whose(c).Email, Device: deviceOf(q.Device.UserAgent),
		Address: q.Device.Address, Asked: speechOf(c.Request.Context()).at(q.Device.Created),
		Confirmation: q.Confirmation.Reveal(), Restart: continueAt(r.ID),
	}
	if view.Details, err = p.detailViews(c.Request.Context(), q.Details); err != nil {
		return err
	}
	for _, scope := range q.Scopes {
		view.Scopes = append(view.Scopes, p.scopeInWords(scope, q.Standing.TenantName))
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.allowDevice, view)
}

// answerDevice takes the person's yes (field allow), or anything else for a no.
func (p *Portal) answerDevice(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	r, session, ok, err := p.asking(c)
	if err != nil || !ok {
		return err
	}
	if field("allow") == "" {
		err = p.oidc.DenyDevice(session.As(c.Request.Context()), r)
	} else {
		err = p.oidc.AllowDevice(c.Request.Context(), r, session, secret.NewText(field("confirmation")))
	}
	if errors.Is(err, fault.Stale) || fault.As(err).Code == "consent_changed" { // it is asked once more
		seeOther(c, continueAt(r.ID))
		return nil
	}
	if err != nil {
		return deviceGone(err)
	}
	if field("allow") == "" {
		seeOther(c, deviceDoneAddress)
	} else {
		seeOther(c, deviceDoneAddress+"?allowed=1")
	}
	return nil
}

func (p *Portal) showDeviceDone(c *gin.Context) error {
	return write(c.Writer, c.Request, http.StatusOK, p.pages.deviceDone, deviceDonePage{Allowed: c.Query("allowed") != ""})
}
