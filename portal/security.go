package portal

import (
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/upstream"
)

// securityPage is where a person sees and changes what they sign in with.
const securityPage = "/me/security"

// securityView is what a person signs in with.
type securityView struct {
	Email       string
	HasPassword bool
	HasTOTP     bool
	HasFactor   bool // an authenticator app or a passkey
	CanPasskey  bool // people can have passkeys here
	Passkeys    []passkeyView
	Codes       int // recovery codes that are left
	Devices     []deviceView
	Done        string // key of a text that says what was just done; may be empty
	MinPassword int
	Links       []upstream.Link  // accounts at providers
	Linkable    []upstream.Route // providers that have none
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
	Passkey string // where the script asks how to make a passkey instead; empty: not here
	Days    int    // until when it can be put off; 0: not at all
	Skip    string // where it is put off; empty: nowhere
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

		"passkey_added":   "security.done.passkey_added",
		"passkey_renamed": "security.done.passkey_renamed",
		"passkey_removed": "security.done.passkey_removed",
		"linked":          "security.done.linked",
		"unlinked":        "security.done.unlinked",
	}[c.Query("done")]
}

func (p *Portal) showSecurity(c *gin.Context, session *authn.Session) error {
	return p.writeSecurity(c, session, http.StatusOK, nil)
}

func (p *Portal) writeSecurity(c *gin.Context, session *authn.Session, status int, why *problem) error {
	ctx := c.Request.Context()
	factors, err := p.authn.SecondFactors(ctx, session.User)
	if err != nil {
		return err
	}
	view := securityView{Email: whose(c).Email, HasTOTP: factors.TOTP, HasFactor: factors.Any(), Codes: factors.RecoveryCodes, MinPassword: authn.MinPassword, Done: done(c), Problem: why, CanPasskey: p.authn.HasPasskeys()}
	if view.HasPassword, err = p.authn.HasPassword(ctx, session.User); err != nil {
		return err
	}
	passkeys, err := p.authn.Passkeys(ctx, session.User)
	if err != nil {
		return err
	}
	view.Passkeys = passkeyViews(speechOf(ctx), passkeys)
	if view.Links, err = p.upstream.OwnLinks(ctx, session.User); err != nil {
		return err
	}
	if view.Linkable, err = p.upstream.Linkable(ctx, session.User, view.Links); err != nil {
		return err
	}
	devices, err := p.authn.TrustedDevices(ctx, session.User)
	if err != nil {
		return err
	}
	for _, d := range devices {
		view.Devices = append(view.Devices, deviceView{
			ID: d.ID, Device: deviceOf(d.UserAgent), Address: d.Address, TrustedAt: d.TrustedAt, LastUsed: speechOf(ctx).at(d.LastUsed), Expires: d.Expires,
		})
	}
	return write(c.Writer, c.Request, status, p.pages.security, view)
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
		return http.StatusUnprocessableEntity, &problem{policyMessage(err), "password"}
	}
	return http.StatusUnprocessableEntity, setupProblem(err)
}

// policyMessage says which rule of a tenant a password breaks.
func policyMessage(err error) message {
	short, ok := errors.AsType[*authz.PasswordShortfall](err)
	if !ok {
		return message{Key: "setup.problem.characters"}
	}
	return message{Key: "password.problem." + string(short.Of), Args: []any{short.Least}}
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
	return write(c.Writer, c.Request, http.StatusOK, p.pages.enroll, view)
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
		return p.enrollAgain(c, session, status, again, why)
	}
	stronger, value, err := p.authn.PassedTOTP(ctx, session, p.client(c))
	if err != nil {
		return err
	}
	p.cookies.Set(c.Writer, cookie.Session, value, stronger.Expires)
	p.cookies.Clear(c.Writer, cookie.Device)
	return p.writeCodes(c, codes, next)
}

// enrollAgain shows the pending key again, and what was wrong.
func (p *Portal) enrollAgain(c *gin.Context, session *authn.Session, status int, again enrollPage, why *problem) error {
	view, err := p.enrollPage(c, session)
	if err != nil {
		return err
	}
	view.Why, view.Action, view.Restart, view.Passkey, view.Days, view.Skip, view.Problem = again.Why, again.Action, again.Restart, again.Passkey, again.Days, again.Skip, why
	return p.writeEnrollment(c, status, view)
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
	return write(c.Writer, c.Request, http.StatusOK, p.pages.codes, view)
}

// enrollPage describes the pending key. It fails with fault.NotFound where there
// is none.
func (p *Portal) enrollPage(c *gin.Context, session *authn.Session) (enrollPage, error) {
	ctx := c.Request.Context()
	key, err := p.authn.PendingTOTP(ctx, session.User)
	if err != nil {
		return enrollPage{}, err
	}
	picture, err := authn.TOTPPicture(p.oidc.Issuer(), whose(c).Email, key)
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
	return p.factorRemoved(c, session, p.authn.RemoveTOTP(c.Request.Context(), session.User), "totp_removed")
}

func (p *Portal) newRecoveryCodes(c *gin.Context, session *authn.Session) error {
	has, err := p.authn.SecondFactors(c.Request.Context(), session.User)
	if err != nil {
		return err
	}
	if !has.Any() {
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
	has, err := p.authn.SecondFactors(c.Request.Context(), session.User)
	if err != nil {
		return nil, err
	}
	if has.Any() || r.MailCounts || !r.Essential && r.OfferedBy.IsZero() {
		seeOther(c, continueAt(r.ID)) // who has a factor, or a mailbox that will do, shows it instead of making another
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
	view.Why, view.Restart, view.Passkey = application.Name, continueAt(r.ID), p.passkeyInstead(r)
	view.Days, view.Skip = p.offered(r)
	return p.writeEnrollment(c, http.StatusOK, view)
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
	again := enrollPage{Why: application.Name, Restart: continueAt(r.ID), Passkey: p.passkeyInstead(r)}
	again.Days, again.Skip = p.offered(r)
	field, err := form(c)
	if err != nil {
		return err
	}
	answer := field("passkey")
	if answer == "" {
		return p.activate(c, session, continueAt(r.ID), again)
	}
	err = p.storePasskey(c, session, "", answer, continueAt(r.ID))
	why := passkeyProblem(err)
	if err == nil || why == nil {
		return err
	}
	return p.enrollAgain(c, session, http.StatusUnprocessableEntity, again, why)
}

// offered returns for how many days a request lets a second factor be put off, and
// where that is said; nothing where it is demanded by now.
func (p *Portal) offered(r *oidc.AuthorizationRequest) (days int, skip string) {
	left := r.OfferedBy.Sub(p.now())
	if r.Essential || left <= 0 {
		return 0, ""
	}
	const day = 24 * time.Hour
	return int((left + day - 1) / day), "/login/second-factor/skip?request=" + url.QueryEscape(string(r.ID))
}

// skipEnrollment goes on without the second factor that will be demanded.
func (p *Portal) skipEnrollment(c *gin.Context, session *authn.Session) error {
	r, err := p.enrolling(c, session)
	if err != nil || r == nil {
		return err
	}
	if err := p.oidc.SkipOffer(c.Request.Context(), r); err != nil {
		return err
	}
	seeOther(c, continueAt(r.ID))
	return nil
}

// passkeyInstead is where the script asks how to make the passkey that a request
// can go on with, or empty where there are none.
func (p *Portal) passkeyInstead(r *oidc.AuthorizationRequest) string {
	if !p.authn.HasPasskeys() {
		return ""
	}
	return "/login/second-factor/passkey?request=" + url.QueryEscape(string(r.ID))
}

// passkeyForEnrollment is newPasskey for who can't go on without a second factor.
func (p *Portal) passkeyForEnrollment(c *gin.Context, session *authn.Session) error {
	r, err := p.enrolling(c, session)
	if err != nil || r == nil {
		return err
	}
	return p.newPasskey(c, session)
}

func (p *Portal) writeEnrollment(c *gin.Context, status int, view enrollPage) error {
	if view.Passkey != "" {
		allowScript(c)
	}
	return write(c.Writer, c.Request, status, p.pages.enroll, view)
}
