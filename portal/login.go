package portal

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/upstream"
)

// loginPage asks for the first factor.
type loginPage struct {
	Application string           // its name; empty: the portal itself
	Tenant      string           // as the application names it; empty: not fixed
	Reason      string           // key of a text that says why to sign in again; may be empty
	Email       string           // what to fill in
	Forgot      string           // where a forgotten password is replaced
	Register    string           // where people register; empty: nobody does
	Changed     bool             // the password was just replaced
	Passkeys    bool             // people can have passkeys here
	Providers   []upstream.Route // by which the person can sign in
	Only        bool             // the tenant requires one of them
	Single      bool             // an address may lead to a provider
	Choose      string           // where a provider is chosen
	Cancel      string           // the id of the application's request; empty: there is none
	Problem     *problem
}

// codePage asks for the second factor in one of the ways that the person has.
type codePage struct {
	Way     authn.Way // whose texts and form are shown
	Others  []wayLink // "try another way"
	Send    string    // where a code by mail is asked for; empty: it is another way
	Sent    bool      // one is under way, and can be entered
	Email   string
	Restart string // where to begin as somebody else
	Days    int    // for which the browser can be trusted; 0: not at all
	Trust   bool   // what the person has chosen
	Login   id.Login
	Cancel  string // the id of the application's request; empty: there is none
	Problem *problem
}

// wayLink leads to the page of another way to pass the second factor.
type wayLink struct {
	Way  authn.Way
	Page string
}

// afterLogin is where a sign-in leads that no application asked for.
const afterLogin = "/me"

// slugForm is what a tenant's slug looks like. The page shows the name of a
// fixed tenant as the application gave it, whether there is such a tenant or
// not; what is no slug is an id, which says nothing to people, or worse.
var slugForm = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

// continueAt is where an authorization request goes on.
func continueAt(request id.AuthorizationRequest) string {
	return "/oauth2/authorize/continue?request=" + url.QueryEscape(string(request))
}

// request returns the authorization request that the address names, or nil where
// it names none. It fails with fault.NotFound if it is not this browser's.
func (p *Portal) request(c *gin.Context) (*oidc.AuthorizationRequest, error) {
	text := c.Query("request")
	if text == "" {
		return nil, nil // a sign-in that no application asked for
	}
	request, err := id.Parse[id.AuthorizationRequest](text)
	if err != nil {
		return nil, fault.New(fault.NotFound, "no such authorization request").WithCode("request_gone")
	}
	r, err := p.oidc.Request(c.Request.Context(), request, p.cookies.Get(c.Request, cookie.Browser))
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "no such authorization request").WithCode("request_gone")
	}
	if err != nil {
		return nil, err
	}
	speechOf(c.Request.Context()).prefer(byRequest, r.UILocales...)
	wear(c, r.TenantName)
	if from, err := netip.ParseAddr(c.ClientIP()); err == nil {
		r.From = from.Unmap()
	}
	return r, nil
}

func (p *Portal) showLogin(c *gin.Context) error {
	r, err := p.request(c)
	if err != nil {
		return err
	}
	session, err := p.session(c)
	if err != nil {
		return err
	}
	if session != nil {
		done, err := p.goOn(c, r, session)
		if err != nil || done {
			return err
		}
	}
	view, err := p.loginPage(c, r, session)
	if err != nil {
		return err
	}
	p.cookies.Ensure(c.Writer, c.Request, cookie.Browser)
	return p.writeLogin(c, http.StatusOK, view)
}

func (p *Portal) writeLogin(c *gin.Context, status int, view loginPage) error {
	if view.Passkeys {
		allowScript(c)
	}
	return write(c.Writer, c.Request, status, p.pages.login, view)
}

// goOn leads a person who is signed in to what they miss, or away from here. done
// is false where that is to sign in anew.
func (p *Portal) goOn(c *gin.Context, r *oidc.AuthorizationRequest, session *authn.Session) (done bool, err error) {
	ctx := c.Request.Context()
	if r == nil {
		just, err := p.authn.WithinAll(ctx, session)
		if err != nil {
			return false, err
		}
		if just && c.Query("confirm") != "" {
			if just, err = p.authn.Sudo(ctx, session); err != nil {
				return false, err
			}
		}
		if just && !strings.HasPrefix(continuePath(c), ofTenants) {
			if just, err = p.authn.Whole(ctx, session); err != nil {
				return false, err
			}
		}
		if just {
			seeOther(c, continuePath(c))
		}
		return just, nil
	}
	// Who comes back by the browser's history may have nothing left to do
	// here. Errors are for the application, and told there.
	if step, err := p.oidc.Next(ctx, r, session); err != nil || step != oidc.StepLogin {
		seeOther(c, continueAt(r.ID))
		return true, nil //nolint:nilerr // see above
	}
	if r.Fresh || r.MinACR == "" {
		return false, nil
	}
	browser := p.cookies.Ensure(c.Writer, c.Request, cookie.Browser)
	login, err := p.authn.StartStepUp(ctx, browser, session, authn.LoginRequest{Continue: continueAt(r.ID), Fresh: true}, r.MailCounts)
	switch {
	case err == nil:
		return true, p.proceed(c, login)
	case !errors.Is(err, fault.NotFound):
		return false, err
	case r.Essential:
		seeOther(c, "/login/second-factor?request="+url.QueryEscape(string(r.ID)))
		return true, nil
	}
	return false, nil
}

// loginPage describes the sign-in. r is nil where no application asked for it,
// and session where nobody is signed in.
func (p *Portal) loginPage(c *gin.Context, r *oidc.AuthorizationRequest, session *authn.Session) (loginPage, error) {
	view := loginPage{Forgot: "/login/forgot", Changed: c.Query("changed") != "", Passkeys: p.authn.HasPasskeys(), Choose: (&url.URL{Path: "/login/provider", RawQuery: c.Request.URL.RawQuery}).String()}
	var err error
	if view.Single, err = p.upstream.Any(c.Request.Context()); err != nil {
		return view, err
	}
	if r == nil {
		return p.ownLoginPage(c, view, session)
	}
	if view.Providers, err = p.upstream.RoutesOfTenant(c.Request.Context(), tenantOf(r)); err != nil {
		return view, err
	}
	view.Cancel = string(r.ID)
	view.Forgot += "?request=" + url.QueryEscape(string(r.ID))
	application, err := p.oidc.Application(c.Request.Context(), r.ClientID)
	if err != nil {
		return view, err
	}
	view.Application, view.Email = application.Name, r.LoginHint
	if slugForm.MatchString(r.TenantName) {
		view.Tenant = r.TenantName
		if session == nil {
			if view.Register, err = p.registerAt(c.Request.Context(), view.Tenant, string(r.ID)); err != nil {
				return view, err
			}
		}
	}
	if session == nil {
		return view, nil
	}
	switch {
	case r.By != "":
		view.Reason, view.Only = "login.reason.provider", len(view.Providers) > 0
	case r.Own:
		view.Reason = "login.reason.own"
	case r.Fresh:
		view.Reason = "login.reason.fresh"
	case r.MinACR != "":
		view.Reason = "login.reason.stronger"
	}
	if view.Email == "" {
		view.Email = whose(c).Email
	}
	return view, nil
}

// ownLoginPage completes the page of a sign-in that no application asked for. Who is
// signed in confirms that it is them, by the provider that they came by or here; or
// their provider is not good for their own pages.
func (p *Portal) ownLoginPage(c *gin.Context, view loginPage, session *authn.Session) (loginPage, error) {
	if session == nil {
		return view, nil
	}
	view.Reason, view.Email = "login.reason.fresh", whose(c).Email
	if session.Via.None() {
		return view, nil
	}
	ctx := c.Request.Context()
	whole, err := p.authn.Whole(ctx, session)
	if err != nil {
		return view, err
	}
	if !whole && !strings.HasPrefix(continuePath(c), ofTenants) {
		view.Reason = "login.reason.own_pages"
		return view, nil
	}
	view.Providers, err = p.upstream.RoutesOfTenant(ctx, string(session.Via.Tenant))
	return view, err
}

// submitLogin judges the first factor: a password, or the passkey that the script
// has put in its place.
func (p *Portal) submitLogin(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	r, err := p.request(c)
	if err != nil {
		return err
	}
	if field("sso") != "" {
		return p.routed(c, r, field("login"))
	}
	if field("login") != "" && field("password") == "" && field("passkey") == "" {
		if routes, err := p.routes(c, r, field("login")); err != nil || len(routes) > 0 {
			return errors.Join(err, p.routed(c, r, field("login")))
		}
	}
	request := loginRequest(c, r)
	ctx, browser := c.Request.Context(), p.cookies.Get(c.Request, cookie.Browser)
	login, err := p.authn.StartLogin(browser, request)
	if err != nil {
		return err
	}
	if answer := field("passkey"); answer != "" {
		err = p.authn.SubmitPasskey(ctx, login, []byte(answer), p.client(c))
	} else {
		err = p.authn.SubmitPassword(ctx, login, field("login"), secret.NewText(field("password")), p.client(c))
	}
	if err != nil {
		return p.refuseLogin(c, r, field("login"), err)
	}
	return p.proceed(c, login)
}

// refuseLogin shows the page again where the person can do something about
// the error. All reasons not to let somebody in look the same.
func (p *Portal) refuseLogin(c *gin.Context, r *oidc.AuthorizationRequest, email string, err error) error {
	because := err
	status, why, ok := p.refusal(c, err)
	if !ok {
		return err
	}
	session, err := p.session(c)
	if err != nil {
		return err
	}
	view, err := p.loginPage(c, r, session)
	if err != nil {
		return err
	}
	view.Email, view.Problem = email, why
	bound, err := p.boundRoutes(c, because)
	if err != nil {
		return err
	}
	if len(bound) > 0 {
		view.Providers, view.Only = bound, true
	} else if len(view.Providers) == 0 && email != "" {
		// By the domain alone: it says nothing of the address.
		if view.Providers, err = p.routes(c, r, email); err != nil {
			return err
		}
	}
	return p.writeLogin(c, status, view)
}

// refusal says what to tell about a factor that was not accepted. ok is false
// for errors that another try in the same form can't mend.
func (p *Portal) refusal(c *gin.Context, err error) (status int, why *problem, ok bool) {
	f := fault.As(err)
	switch {
	case f.Kind == fault.Invalid && f.Field == "login":
		return http.StatusUnprocessableEntity, &problem{message{Key: "login.problem.email"}, "username"}, true
	case f.Kind == fault.Invalid && f.Field == "password":
		return http.StatusUnprocessableEntity, &problem{message{Key: "login.problem.password"}, "password"}, true
	case f.Kind == fault.Invalid && f.Field == "code":
		return http.StatusUnprocessableEntity, &problem{message{Key: "code.problem.missing"}, "code"}, true
	case f.Kind == fault.Denied && f.Code == authn.CodeByProvider:
		return http.StatusForbidden, &problem{message{Key: "login.problem.by_provider"}, ""}, true
	case f.Kind == fault.Unauthenticated && f.Code == authn.CodeWrongCode:
		return http.StatusUnprocessableEntity, &problem{message{Key: "code.problem.wrong"}, "code"}, true
	case f.Kind == fault.Unauthenticated && f.Code == authn.CodeWrongPasskey:
		return http.StatusUnprocessableEntity, &problem{message{Key: "passkey.problem.wrong"}, ""}, true
	case f.Kind == fault.Unauthenticated:
		return http.StatusUnprocessableEntity, &problem{message{Key: "login.problem.wrong"}, "password"}, true
	case f.Kind == fault.Throttled:
		setRetryAfter(c.Writer.Header(), f.RetryAfter)
		return http.StatusTooManyRequests, &problem{waitMessage(f.RetryAfter), ""}, true
	}
	return 0, nil, false
}

// waitMessage says how long to wait, in the unit that people would use.
func waitMessage(wait time.Duration) message {
	if wait <= time.Minute {
		return message{Key: "login.problem.wait_seconds", Args: []any{int(wait.Seconds()) + 1}}
	}
	return message{Key: "login.problem.wait_minutes", Args: []any{int(wait.Minutes()) + 1}}
}

// proceed leads to the next step of a sign-in, or out of it.
func (p *Portal) proceed(c *gin.Context, login *authn.Login) error {
	if login.Step == authn.StepChange {
		seeOther(c, "/login/change?login="+url.QueryEscape(string(login.ID)))
		return nil
	}
	if login.Step != authn.StepDone {
		seeOther(c, "/login/code?login="+url.QueryEscape(string(login.ID)))
		return nil
	}
	if err := p.endOther(c, login.Session); err != nil {
		return err
	}
	p.cookies.Set(c.Writer, cookie.Session, login.Cookie, login.Session.Expires)
	p.cookies.Set(c.Writer, cookie.Known, login.KnownCookie, login.KnownExpires)
	if !login.DeviceCookie.Empty() {
		p.cookies.Set(c.Writer, cookie.Device, login.DeviceCookie, login.DeviceExpires)
	}
	seeOther(c, login.Request.Continue)
	return nil
}

// endOther signs out who was signed in in this browser, if it was somebody else.
func (p *Portal) endOther(c *gin.Context, now *authn.Session) error {
	before, err := p.session(c)
	if err != nil || before == nil || before.ID == now.ID {
		return err
	}
	return p.oidc.SignOut(before.As(c.Request.Context()), before.ID)
}

// loginAt returns the sign-in that waits at the step which find is for, or nil
// after leading to the beginning of one.
func (p *Portal) loginAt(c *gin.Context, find func(context.Context, id.Login, secret.Text) (*authn.Login, error)) (*authn.Login, error) {
	login, err := id.Parse[id.Login](c.Query("login"))
	if err != nil {
		seeOther(c, "/login")
		return nil, nil //nolint:nilerr // answered: there is nothing to go on with
	}
	found, err := find(c.Request.Context(), login, p.cookies.Get(c.Request, cookie.Browser))
	if err != nil {
		return nil, loginGone(err)
	}
	return found, p.speakAsAsked(c, found)
}

// requestOf returns the id of the authorization request that a sign-in leads back
// to, "" where no application asked for it.
func requestOf(login *authn.Login) id.AuthorizationRequest {
	next, err := url.Parse(login.Request.Continue)
	if err != nil {
		return ""
	}
	request, err := id.Parse[id.AuthorizationRequest](next.Query().Get("request"))
	if err != nil {
		return ""
	}
	return request
}

// speakAsAsked speaks the language of the authorization request that a sign-in
// leads back to.
func (p *Portal) speakAsAsked(c *gin.Context, login *authn.Login) error {
	request := requestOf(login)
	if request == "" {
		return nil
	}
	r, err := p.oidc.Request(c.Request.Context(), request, p.cookies.Get(c.Request, cookie.Browser))
	if errors.Is(err, fault.NotFound) {
		return nil // it is told of where the sign-in leads to
	}
	if err != nil {
		return err
	}
	speechOf(c.Request.Context()).prefer(byRequest, r.UILocales...)
	return nil
}

func loginGone(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "no such sign-in").WithCode("login_gone")
	}
	return err
}

func (p *Portal) showCode(c *gin.Context) error {
	login, err := p.loginAt(c, p.authn.Login)
	if err != nil || login == nil {
		return err
	}
	return p.writeCode(c, http.StatusOK, login, false, nil)
}

func (p *Portal) submitCode(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	login, err := p.loginAt(c, p.authn.Login)
	if err != nil || login == nil {
		return err
	}
	ctx, browser, trust := c.Request.Context(), p.cookies.Get(c.Request, cookie.Browser), field("trust_device") != ""
	var done *authn.Login
	if answer := field("passkey"); answer != "" {
		done, err = p.authn.SubmitPasskeyStep(ctx, login.ID, browser, []byte(answer), trust, p.client(c))
	} else {
		done, err = p.authn.SubmitCode(ctx, login.ID, browser, field("code"), trust, p.client(c))
	}
	if err == nil {
		return p.proceed(c, done)
	}
	status, why, ok := p.refusal(c, err)
	if !ok {
		return err
	}
	return p.writeCode(c, status, login, trust, why)
}

// sendMailCode mails a code for the sign-in, and leads to where it is entered.
func (p *Portal) sendMailCode(c *gin.Context) error {
	login, err := p.loginAt(c, p.authn.Login)
	if err != nil || login == nil {
		return err
	}
	err = p.authn.SendMailCode(c.Request.Context(), login.ID, p.cookies.Get(c.Request, cookie.Browser))
	switch {
	case err == nil:
	case errors.Is(err, fault.NotFound):
		return loginGone(err)
	default:
		status, why, ok := p.refusal(c, err)
		if !ok {
			return err
		}
		return p.writeCodeBy(c, status, login, authn.WayMail, false, why)
	}
	seeOther(c, wayPage(login, authn.WayMail))
	return nil
}

// wayPage is the page of a way to pass the second factor.
func wayPage(login *authn.Login, way authn.Way) string {
	return "/login/code?" + url.Values{"login": {string(login.ID)}, "way": {string(way)}}.Encode()
}

func (p *Portal) writeCode(c *gin.Context, status int, login *authn.Login, trust bool, why *problem) error {
	return p.writeCodeBy(c, status, login, authn.Way(c.Query("way")), trust, why)
}

func (p *Portal) writeCodeBy(c *gin.Context, status int, login *authn.Login, way authn.Way, trust bool, why *problem) error {
	view, err := p.codePage(c, login, way)
	if err != nil {
		return err
	}
	view.Trust, view.Problem = trust, why
	if why != nil && why.Key == "code.problem.wrong" { // of these ways no next one comes by itself
		switch view.Way {
		case authn.WayMail:
			why.Key = "code.problem.wrong_mail"
		case authn.WayRecovery:
			why.Key = "code.problem.wrong_recovery"
		case authn.WayApp, authn.WayPasskey:
		}
	}
	if view.Way == authn.WayPasskey {
		allowScript(c)
	}
	return write(c.Writer, c.Request, status, p.pages.code, view)
}

// codePage describes the wanted way, or else the first one that the person has.
func (p *Portal) codePage(c *gin.Context, login *authn.Login, wanted authn.Way) (codePage, error) {
	ways, err := p.authn.Ways(c.Request.Context(), login)
	if err != nil || len(ways) == 0 {
		return codePage{Way: authn.WayApp, Email: login.Identifier, Restart: login.Request.Continue, Cancel: string(requestOf(login))}, err
	}
	view := codePage{Way: ways[0], Login: login.ID, Email: login.Identifier, Restart: login.Request.Continue, Cancel: string(requestOf(login))}
	if slices.Contains(ways, wanted) {
		view.Way = wanted
	}
	if view.Way.Trusts() {
		view.Days = int(login.TrustFor / (24 * time.Hour))
	}
	for _, way := range ways {
		if way != view.Way {
			view.Others = append(view.Others, wayLink{way, wayPage(login, way)})
		}
	}
	if view.Way == authn.WayMail {
		view.Send = "/login/code/mail?login=" + url.QueryEscape(string(login.ID))
		view.Sent, err = p.authn.MailCodeSent(c.Request.Context(), login)
	}
	return view, err
}

// continuePath returns the page of the portal that a sign-in was asked for by,
// if it is one: nothing else is redirected to.
func continuePath(c *gin.Context) string {
	if path := c.Query("continue"); authn.LocalPath(path) {
		return path
	}
	return afterLogin
}
