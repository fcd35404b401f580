package authn

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Step says what a Login waits for.
type Step string

// The steps of a Login, in their order.
const (
	StepPassword Step = "password"
	StepChange   Step = "change" // of a password that must be changed
	StepCode     Step = "code"   // of an authenticator app, or another Way
	StepDone     Step = "done"
)

// Codes of the errors of SubmitPassword and SubmitCode, for the page to choose
// its words by.
const (
	CodeWrongCredentials = "wrong_credentials" //nolint:gosec // the name of an error, not a credential
	CodeWrongCode        = "wrong_code"        // fault.Unauthenticated
)

// A LoginRequest is why somebody signs in.
type LoginRequest struct {
	Continue string // the same-origin path to go on to afterwards
	Hint     string // the address that the application expects, or empty
	Fresh    bool   // a trusted device does not stand in for the second factor
}

// A Login is one run of the login machine, in one browser. It is stored from
// StepCode on: what a stranger begins costs the database nothing.
type Login struct {
	ID         id.Login
	Step       Step
	Request    LoginRequest
	Identifier string   // what the person typed to say who they are; empty at StepPassword
	User       id.User  // whose password was right; empty at StepPassword
	AMR        []string // the factors passed so far
	// TrustFor is for how long the person may have this browser trusted; 0: not.
	TrustFor time.Duration
	// Mail says that a code by mail is a way to pass StepCode.
	Mail    bool
	Created time.Time
	Expires time.Time

	// Via is the tenant's own provider that has said who the person is, and AuthTime
	// when they showed it there; the zero values where they show it here.
	Via      directory.Via
	AuthTime time.Time

	// Session and Cookie are set at StepDone only, and handed over once.
	Session *Session
	Cookie  secret.Text
	// DeviceCookie is set at StepDone where the browser is a trusted one.
	DeviceCookie  secret.Text
	DeviceExpires time.Time
	// KnownCookie is set at StepDone: by it the browser is known next time.
	KnownCookie  secret.Text
	KnownExpires time.Time

	browser secret.Text      // until it is stored
	device  id.TrustedDevice // that stood in for the second factor, or was made by this sign-in
}

// Client is what is known of the browser that asks. User agent and address are
// for people to recognize their sessions by, and prove nothing.
type Client struct {
	UserAgent string
	Address   string      // the network address, which failed attempts are counted by
	Session   secret.Text // the cookie of the session that the browser has, if it has one
	Device    secret.Text // the cookie of a trusted device, if it has one
	Known     secret.Text // the cookie by which somebody's browser is known, if it has one
	Name      string      // what people call the browser; empty: its user agent
	Language  string      // of the page that the person sees, as BCP 47 has it
}

// maxUserAgent bounds what a browser can have the server keep, in bytes.
const maxUserAgent = 256

func (c Client) userAgent() string {
	return strings.ToValidUTF8(c.UserAgent[:min(len(c.UserAgent), maxUserAgent)], "")
}

// maxBrowserName bounds how a letter calls a browser, in bytes.
const maxBrowserName = 60

func (c Client) name() string {
	if c.Name != "" {
		return c.Name
	}
	agent := c.userAgent()
	return strings.ToValidUTF8(agent[:min(len(agent), maxBrowserName)], "")
}

// StartLogin begins a sign-in in the browser with that cookie, at StepPassword.
// It fails with fault.Invalid if there is no cookie, or if Continue leads
// elsewhere.
func (a *Authn) StartLogin(browser secret.Text, request LoginRequest) (*Login, error) {
	if browser.Empty() {
		return nil, errNoCookie()
	}
	if !LocalPath(request.Continue) {
		return nil, fault.Field(fault.Invalid, "continue", "the page to continue with must be a path of this site")
	}
	now := a.now()
	return &Login{
		ID: id.New[id.Login](), Step: StepPassword, Request: request,
		Created: now, Expires: now.Add(a.limits.LoginLifetime), browser: browser,
	}, nil
}

// Login returns a sign-in that waits at StepCode. It fails with fault.NotFound if
// it never came so far, is another browser's, has expired, or is complete.
func (a *Authn) Login(ctx context.Context, login id.Login, browser secret.Text) (*Login, error) {
	return a.loginAt(ctx, login, browser, StepCode)
}

func (a *Authn) loginAt(ctx context.Context, login id.Login, browser secret.Text, step Step) (*Login, error) {
	if browser.Empty() {
		return nil, errNoLogin()
	}
	found, err := a.store.Login(ctx, login, browser.Hash(), a.now())
	if err != nil {
		return nil, noLoginIfNotFound(err)
	}
	if found.Step != step {
		return nil, errNoLogin() // steps are neither skipped nor repeated
	}
	return found, nil
}

// SubmitPassword judges the first factor of a login that StartLogin returned, and
// moves it on. It fails with fault.Invalid if the identifier or the password is
// missing, with fault.Unauthenticated alike for every reason not to let the
// person in, and with fault.Throttled; the login is then as it was.
func (a *Authn) SubmitPassword(ctx context.Context, login *Login, identifier string, password secret.Text, client Client) error {
	identifier = strings.TrimSpace(identifier)
	if identifier == "" {
		return fault.Field(fault.Invalid, "login", "the e-mail address is missing")
	}
	if password.Empty() {
		return fault.Field(fault.Invalid, "password", "the password is missing")
	}
	key := attemptKey("password", directory.Fold(identifier), client.Address)
	if err := a.try(ctx, key, a.limits.Passwords); err != nil {
		return err
	}
	account, err := a.knock(ctx, nobodysIfUnfit(identifier))
	if err != nil {
		return a.untry(ctx, key, err)
	}
	giveBack := func(err error) error { return a.untry(ctx, key, a.giveBack(ctx, account, err)) }
	credential, cause, err := a.checkPassword(ctx, identifier, password)
	if err != nil {
		return giveBack(err)
	}
	if account.closed > 0 && (cause == "" || cause == causePassword) {
		cause = causeClosed
	}
	if cause != "" {
		return a.loginFailed(ctx, credential.User, cause, account, client)
	}
	if err := a.refuseBound(ctx, credential.User); err != nil {
		return giveBack(err)
	}
	next := *login
	next.Identifier, next.User, next.AMR = identifier, credential.User, []string{AMRPassword}
	asks, err := a.asksSecondFactor(ctx, &next)
	if err != nil {
		return giveBack(err)
	}
	a.refreshHash(ctx, credential, password)
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		if credential.MustChange {
			if err := a.store.ForgetAttempts(ctx, key); err != nil {
				return err
			}
			next.Step = StepChange
			if err := a.store.CreateLogin(ctx, &next, next.browser.Hash()); err != nil {
				return err
			}
			return a.giveBack(ctx, account, nil)
		}
		return a.afterPassword(ctx, &next, key, account, asks, client)
	})
	if err == nil {
		*login = next
	}
	return err
}

// afterPassword moves a login whose password was right on: to its second factor,
// unless the device is trusted, or to its end. key is what the password's attempts
// were counted by.
func (a *Authn) afterPassword(ctx context.Context, login *Login, key secret.Hash, account knock, asks bool, client Client) error {
	if asks {
		trusted, err := a.recognize(ctx, login, client)
		if err != nil {
			return err
		}
		if !trusted {
			if err := a.await(ctx, login); err != nil {
				return err
			}
			if err := a.store.ForgetAttempts(ctx, key); err != nil {
				return err
			}
			// The account's failures stay: wrong codes between right passwords add up.
			return a.giveBack(ctx, account, nil)
		}
	}
	if err := a.store.ForgetAttempts(ctx, key, account.key); err != nil {
		return err
	}
	return a.complete(ctx, login, client)
}

// StartStepUp begins a sign-in at StepCode for the person of a live session, who
// has passed the first factor already. mail says that a code by mail counts where
// they sign in to; it is for who has nothing better. StartStepUp fails with
// fault.NotFound where the person has no second factor, and as StartLogin does.
func (a *Authn) StartStepUp(ctx context.Context, browser secret.Text, session *Session, request LoginRequest, mail bool) (*Login, error) {
	login, err := a.StartLogin(browser, request)
	if err != nil {
		return nil, err
	}
	person, err := a.store.User(ctx, session.User)
	if err != nil {
		return nil, err
	}
	login.Identifier, login.User, login.AMR, login.Via = person.Email, session.User, session.AMR, session.Via
	has, err := a.SecondFactors(ctx, login.User)
	if err != nil {
		return nil, err
	}
	if login.Mail = mail && !has.Any() && person.Email != ""; !login.Mail && !has.Any() {
		return nil, fault.New(fault.NotFound, "the person has no second factor")
	}
	policy, err := a.rights.SignInPolicy(ctx, login.User)
	if err != nil {
		return nil, err
	}
	login.TrustFor = policy.TrustedDevice
	return login, a.store.InTx(ctx, func(ctx context.Context) error { return a.await(ctx, login) })
}

// asksSecondFactor reports whether the login's person is asked for a second
// factor: for one that they have, or for a code by mail where a tenant demands a
// factor and takes that. It sets for how long they may be spared it, and whether
// a code by mail is a way: for who has another factor only where no more is asked
// of the sign-in than to come in.
func (a *Authn) asksSecondFactor(ctx context.Context, login *Login) (bool, error) {
	has, err := a.SecondFactors(ctx, login.User)
	if err != nil {
		return false, err
	}
	var policy directory.SignInPolicy
	if has.Any() {
		policy, err = a.rights.SignInPolicy(ctx, login.User)
	} else if login.Mail, policy, err = a.mailDemanded(ctx, login.User); err != nil || !login.Mail {
		return false, err
	}
	login.TrustFor = policy.TrustedDevice
	login.Mail = login.Mail || policy.MailCodes && !login.Request.Fresh
	return true, err
}

// mailDemanded reports whether somebody without another factor is asked for codes
// by mail, and what else is asked of their sign-in.
func (a *Authn) mailDemanded(ctx context.Context, user id.User) (bool, directory.SignInPolicy, error) {
	demands, policy, err := a.rights.SecondFactorAt(ctx, user)
	if err != nil || !slices.ContainsFunc(demands, func(d directory.SecondFactorDemand) bool { return d.MailCodes }) {
		return false, policy, err
	}
	person, err := a.store.User(ctx, user)
	return err == nil && person.Email != "", policy, err
}

// SubmitCode judges the second factor: a code of an authenticator app, one that
// was mailed, or a recovery code. trust asks for the browser to be spared it next time, which is
// granted where Login.TrustFor allows it. It fails as Login does, with
// fault.Unauthenticated if the code is wrong, of another time or used before, and
// with fault.Throttled.
func (a *Authn) SubmitCode(ctx context.Context, login id.Login, browser secret.Text, code string, trust bool, client Client) (*Login, error) {
	current, err := a.Login(ctx, login, browser)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(code) == "" {
		return nil, fault.Field(fault.Invalid, "code", "the code is missing")
	}
	// Counted per person and from anywhere: only who knows the password comes
	// this far, so that a stranger can't lock the person out.
	key := attemptKey("code", string(current.User))
	if err := a.try(ctx, key, a.limits.Codes); err != nil {
		return nil, err
	}
	account, err := a.knock(ctx, current.Identifier)
	if err = errors.Join(err, account.wait()); err != nil {
		return nil, a.untry(ctx, key, err)
	}
	cause := ""
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		var way Way
		var err error
		if way, cause, err = a.judgeCode(ctx, current, code); err != nil || cause != "" {
			return err
		}
		if err := a.store.ForgetAttempts(ctx, key, account.key); err != nil {
			return err
		}
		if err := a.store.TakeLogin(ctx, current.ID); err != nil {
			return noLoginIfNotFound(err)
		}
		current.AMR = withSecondFactor(current.AMR, way.amr()...)
		if trust && way.Trusts() && current.TrustFor > 0 {
			if err := a.trustDevice(ctx, current, way, client); err != nil {
				return err
			}
		}
		return a.complete(ctx, current, client)
	})
	if err != nil {
		return nil, a.untry(ctx, key, a.giveBack(ctx, account, err))
	}
	if cause != "" {
		return nil, a.loginFailed(ctx, current.User, cause, account, client)
	}
	return current, nil
}

// judgeCode returns by which way a code is right, and uses it up. Else cause says
// why not.
func (a *Authn) judgeCode(ctx context.Context, login *Login, code string) (way Way, cause string, err error) {
	person, err := a.store.User(ctx, login.User)
	if err != nil {
		return "", "", err
	}
	if person.Disabled {
		return "", causeDisabled, nil
	}
	if right, err := a.useCode(ctx, login.User, code, a.now()); err != nil || right {
		return WayApp, "", err
	}
	if right, err := a.useMailCode(ctx, login, person, code); err != nil || right {
		return WayMail, "", err
	}
	if right, err := a.useRecoveryCode(ctx, login.User, code); err != nil || right {
		return WayRecovery, "", err
	}
	return "", causeCode, nil
}

// complete starts the session of a login whose factors are passed, in the
// transaction in ctx.
func (a *Authn) complete(ctx context.Context, login *Login, client Client) error {
	var err error
	if login.Session, login.Cookie, err = a.startSession(ctx, proof{login.User, login.AMR, login.device, login.Via, login.AuthTime}, client); err != nil {
		return err
	}
	login.Step = StepDone
	return a.noticeBrowser(ctx, login, client)
}

// loginFailed records a failed attempt and returns the answer, which is the same
// for every cause of the same step. user is empty where nobody has that address.
func (a *Authn) loginFailed(ctx context.Context, user id.User, cause string, account knock, client Client) error {
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.recordFailure(ctx, user, cause, client); err != nil {
			return err
		}
		return a.closeAccount(ctx, user, account, client)
	})
	if err != nil {
		return err
	}
	if cause == causeCode {
		return fault.Field(fault.Unauthenticated, "code", "the code is wrong, or was used before").WithCode(CodeWrongCode)
	}
	return fault.New(fault.Unauthenticated, "the e-mail address or the password is wrong").WithCode(CodeWrongCredentials)
}

func (a *Authn) recordFailure(ctx context.Context, user id.User, cause string, client Client) error {
	return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "login.fail", "user", string(user),
		map[string]any{"cause": cause, "address": client.Address, "user_agent": client.userAgent()}))
}

func errNoCookie() error {
	return fault.Field(fault.Invalid, "browser", "the browser sent no cookie to tie the sign-in to").WithCode("no_cookie")
}

// errNoLogin is the one answer for a login that is not this browser's to go on
// with.
func errNoLogin() error {
	return fault.New(fault.NotFound, "this sign-in has expired, is complete, or was started in another browser")
}

func noLoginIfNotFound(err error) error {
	if errors.Is(err, fault.NotFound) {
		return errNoLogin()
	}
	return err
}

// LocalPath reports whether s is a path of this site, with or without a query,
// that no browser takes for an address elsewhere: one slash at the start, and
// neither backslashes nor control characters, which browsers rewrite or drop
// (WHATWG URL §4.4).
func LocalPath(s string) bool {
	if len(s) > maxPath || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r == '\\' || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && path.Clean(u.Path) == u.Path
}

// maxPath bounds a path to continue with, in bytes.
const maxPath = 2048

// withSecondFactor returns the methods of a sign-in whose second factor was just
// passed by these methods. A passkey in amr was the second one after a password,
// and else the first.
func withSecondFactor(amr []string, methods ...string) []string {
	earlier := []string{AMROneTimeCode, AMRMultipleChannels, AMRMultiFactor}
	if slices.Contains(amr, AMRPassword) {
		earlier = append(earlier, AMRHardwareKey, AMRSoftwareKey, AMRUserPresence)
	}
	earlier = append(earlier, methods...)
	amr = slices.DeleteFunc(slices.Clone(amr), func(method string) bool { return slices.Contains(earlier, method) })
	return append(amr, methods...)
}
