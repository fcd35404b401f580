package provider

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// authorize is the authorization endpoint (RFC 6749 §3.1, OIDC Core §3.1.2).
// Until the application and its redirect URI are known to be genuine, errors
// stay on a page of ours; from then on they go to the application.
func (p *Provider) authorize(c *gin.Context) {
	outer, err := authorizeForm(c)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	form := outer
	if strings.HasPrefix(form.Get("request_uri"), oidc.RequestURIPrefix) {
		p.pushed(c, form)
		return
	}
	application, err := p.known(c, form)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	form, unsigned := p.signedForm(c.Request.Context(), application, form)
	if unsigned != nil {
		form = outer
	}
	if err := destination(application, form); err != nil {
		p.errorPage(c, errors.Join(unsigned, err))
		return
	}
	to := replyOf(form)
	if unsigned != nil {
		p.replyError(c, to, unsigned)
		return
	}
	if application.Security.RequirePushed {
		p.replyError(c, to, invalidRequest("the application has to push its requests (RFC 9126)"))
		return
	}
	parameters, err := p.parameters(c.Request.Context(), application, form)
	if err != nil {
		p.replyError(c, to, err)
		return
	}
	parameters.RedirectURI, parameters.ResponseMode, parameters.State = to.redirectURI, to.mode, to.state
	p.begin(c, application, parameters)
}

// replyOf returns where the answer to a request goes whose application and redirect
// URI are genuine.
func replyOf(form url.Values) reply {
	to := reply{clientID: form.Get("client_id"), redirectURI: form.Get("redirect_uri"), mode: oidc.ModeQuery}
	if mode := form.Get("response_mode"); mode == oidc.ModeFormPost {
		to.mode = mode
	}
	if len(form["state"]) == 1 {
		to.state = form.Get("state")
	}
	return to
}

// begin takes the browser to where the request of an application waits.
func (p *Provider) begin(c *gin.Context, application *oidc.Application, parameters *oidc.Parameters) {
	to := reply{clientID: application.ClientID, redirectURI: parameters.RedirectURI, mode: parameters.ResponseMode, state: parameters.State}
	session, err := p.session(c)
	if err != nil {
		p.replyError(c, to, err)
		return
	}
	browser := p.cookies.Ensure(c.Writer, c.Request, cookie.Browser)
	request := p.oidc.NewRequest(application.ClientID, browser, *parameters)
	request.From = browserAddress(c)
	step, err := p.oidc.Begin(c.Request.Context(), request, session)
	p.advance(c, request, session, step, false, err)
}

// authorizeForm returns the parameters of the query, or of the body of a POST.
func authorizeForm(c *gin.Context) (url.Values, error) {
	if c.Request.Method == http.MethodPost {
		err := parseBody(c.Writer, c.Request)
		if c.Request.PostForm != nil && repeated(c.Request.PostForm) != "" {
			err = nil // told to the application, if it is genuine
		}
		return c.Request.PostForm, err
	}
	form, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, invalidRequest("the query is malformed")
	}
	return form, nil
}

// destination fails unless the answer to the application may go to the redirect
// URI of the request.
func destination(application *oidc.Application, form url.Values) error {
	if err := once(form, "redirect_uri"); err != nil {
		return err
	}
	if !application.AllowsRedirect(form.Get("redirect_uri")) {
		return invalidRequest("the redirect_uri is not one that is registered for the application")
	}
	return nil
}

// once fails where a parameter is missing or repeated.
func once(form url.Values, name string) error {
	switch len(form[name]) {
	case 1:
		return nil
	case 0:
		return invalidRequest("the parameter %s is missing", name)
	default:
		return invalidRequest("the parameter %s is repeated", name)
	}
}

// known returns the application that a request says it is of.
func (p *Provider) known(c *gin.Context, form url.Values) (*oidc.Application, error) {
	if err := once(form, "client_id"); err != nil {
		return nil, err
	}
	application, err := p.oidc.Application(c.Request.Context(), form.Get("client_id"))
	if errors.Is(err, fault.NotFound) || err == nil && application.Disabled() {
		return nil, invalidRequest("no application is registered under this client_id")
	}
	return application, err
}

// The longest values that are taken, in bytes. state and nonce come back as they
// are, so they get room for what applications keep in them.
func maxLength(name string) int {
	switch name {
	case "id_token_hint":
		return 8 << 10
	case "request":
		return 16 << 10
	case "state", "nonce", "scope", "claims":
		return 4 << 10
	case "authorization_details": // which oidc bounds, with an error of its own
		return maxBody
	default:
		return 2 << 10
	}
}

// parameters reads what the application asks for, wherever form comes from.
// Parameters that are unknown are ignored (RFC 6749 §3.1), and so are those that
// a server need not act on: display and claims_locales (OIDC Core §3.1.2.1, §5.2).
func (p *Provider) parameters(ctx context.Context, application *oidc.Application, form url.Values) (*oidc.Parameters, error) {
	if err := checkForm(form); err != nil {
		return nil, err
	}
	if err := checkChallenge(application, form); err != nil {
		return nil, err
	}
	scopes, tenant, details, err := p.askedFor(ctx, application, form)
	if err != nil {
		return nil, err
	}
	prompt, err := parsePrompt(form.Get("prompt"))
	if err != nil {
		return nil, err
	}
	maxAge, err := parseMaxAge(form.Get("max_age"))
	if err != nil {
		return nil, err
	}
	claims, err := oidc.ParseClaims(form.Get("claims"))
	if err != nil {
		return nil, err
	}
	parameters := &oidc.Parameters{
		Nonce: form.Get("nonce"), Scopes: scopes, TenantName: tenant, Challenge: form.Get("code_challenge"),
		Prompt: prompt, MaxAge: maxAge, LoginHint: form.Get("login_hint"),
		ACRValues: strings.Fields(form.Get("acr_values")), UILocales: strings.Fields(form.Get("ui_locales")),
		Claims: claims.RequestedClaims, Details: details,
	}
	// A hint that is none of ours, or another application's, is ignored: it
	// only helps (OIDC Core §3.1.2.1).
	if text := form.Get("id_token_hint"); text != "" {
		hint, err := p.oidc.Hint(ctx, text)
		if err == nil && hint.ClientID == application.ClientID {
			parameters.HintUser, parameters.HintTenant = hint.User, hint.Tenant
		}
	}
	// What the claims say of acr and sub is more than a wish or a hint (§5.5.1).
	if len(claims.ACR) > 0 {
		parameters.ACRValues, parameters.EssentialACR = claims.ACR, claims.EssentialACR
	}
	if claims.Subject != "" {
		user, err := p.oidc.UserOf(ctx, application, claims.Subject)
		if err != nil {
			return nil, err
		}
		if user != parameters.HintUser {
			parameters.HintUser, parameters.HintTenant = user, ""
		}
	}
	return parameters, p.protections(application, form, parameters)
}

// askedFor reads what the application wants to be allowed: scopes, authorization
// details (RFC 9396 §3), or both.
func (p *Provider) askedFor(ctx context.Context, application *oidc.Application, form url.Values) (scopes []string, tenant string, details oidc.Details, err error) {
	if scopes, tenant, err = oidc.ParseScope(form.Get("scope")); err != nil {
		return nil, "", nil, err
	}
	if details, err = p.oidc.Details(ctx, application, form.Get("authorization_details")); err != nil {
		return nil, "", nil, err
	}
	if len(scopes) == 0 && len(details) == 0 {
		err = fault.New(fault.Invalid, "the scope must contain openid or another scope of this server").WithCode(oidc.InvalidScope)
	}
	return scopes, tenant, details, err
}

// protections reads what the tokens will be bound to: a key (RFC 9449 §10) and
// resources (RFC 8707 §2.1).
func (p *Provider) protections(application *oidc.Application, form url.Values, parameters *oidc.Parameters) error {
	parameters.Key, parameters.Resources = form.Get("dpop_jkt"), form["resource"]
	if parameters.Key != "" && !oidc.ValidChallenge(parameters.Key) { // which is a SHA-256 hash in base64url too
		return invalidRequest("dpop_jkt is not the thumbprint of a key")
	}
	return p.oidc.CheckResources(application, parameters.Resources)
}

// checkForm checks the parameters whose value does not travel on.
func checkForm(form url.Values) error {
	if name := repeated(form); name != "" {
		return invalidRequest("the parameter %s is repeated", printable(name))
	}
	for name, values := range form {
		if slices.ContainsFunc(values, func(value string) bool { return len(value) > maxLength(name) }) {
			return invalidRequest("the parameter %s is too long", printable(name))
		}
	}
	unsupported := func(code, name string) error {
		return fault.New(fault.Unsupported, "the parameter %s is not supported", name).WithCode(code)
	}
	switch {
	case form.Get("request_uri") != "":
		return unsupported(oidc.RequestURINotSupported, "request_uri")
	case form.Get("registration") != "":
		return unsupported(oidc.RegistrationUnsupported, "registration")
	case form.Get("response_type") == "":
		return invalidRequest("the parameter response_type is missing")
	case form.Get("response_type") != "code":
		return fault.New(fault.Unsupported, "the response_type must be code").WithCode(oidc.UnsupportedResponseType)
	}
	switch form.Get("response_mode") {
	case "", oidc.ModeQuery, oidc.ModeFormPost:
	default:
		return invalidRequest("the response_mode must be query or form_post")
	}
	return nil
}

// checkChallenge holds the request to PKCE with S256 (RFC 9700 §2.1.1). What the
// operator has let an application leave out, it must leave out as a whole.
func checkChallenge(application *oidc.Application, form url.Values) error {
	switch {
	case !application.RequirePKCE && form.Get("code_challenge") == "" && form.Get("code_challenge_method") == "":
		return nil
	case form.Get("code_challenge") == "":
		return invalidRequest("PKCE is required: the parameter code_challenge is missing")
	case form.Get("code_challenge_method") != "S256":
		return invalidRequest("the code_challenge_method must be S256")
	case !oidc.ValidChallenge(form.Get("code_challenge")):
		return invalidRequest("the code_challenge is not a SHA-256 hash in base64url")
	}
	return nil
}

// parsePrompt reads OIDC Core §3.1.2.1.
func parsePrompt(text string) ([]string, error) {
	prompt := strings.Fields(text)
	for _, value := range prompt {
		switch value {
		case oidc.PromptNone:
			if len(prompt) > 1 {
				return nil, invalidRequest("prompt=none can't stand with another value")
			}
		case oidc.PromptLogin, oidc.PromptConsent, oidc.PromptSelectAccount:
		default:
			return nil, invalidRequest("the prompt must consist of none, login, consent and select_account")
		}
	}
	return prompt, nil
}

func parseMaxAge(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, invalidRequest("the max_age must be a number of seconds, 0 or more")
	}
	return new(int64(seconds)), nil
}

// session returns the browser's session, or nil where nobody is signed in.
func (p *Provider) session(c *gin.Context) (*authn.Session, error) {
	session, err := p.authn.Session(c.Request.Context(), p.cookies.Get(c.Request, cookie.Session))
	if errors.Is(err, fault.Unauthenticated) {
		return nil, nil
	}
	return session, err
}

// resume goes on with a stored request after a page of the portal.
func (p *Provider) resume(c *gin.Context) {
	request, err := p.stored(c, c.Query(parameterRequest), p.oidc.Request)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	session, err := p.session(c)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	step, err := p.oidc.Next(c.Request.Context(), request, session)
	p.advance(c, request, session, step, true, err)
}

// cancel tells the application that the person does not want to sign in. Another
// site can't make a browser do so: its form would come without the cookie.
func (p *Provider) cancel(c *gin.Context) {
	if err := parseBody(c.Writer, c.Request); err != nil {
		p.errorPage(c, err)
		return
	}
	request, err := p.stored(c, c.Request.PostForm.Get(parameterRequest), p.oidc.Cancel)
	if err != nil {
		p.errorPage(c, err)
		return
	}
	if request.Device != "" {
		if err := p.oidc.DenyDevice(c.Request.Context(), request); err != nil && !errors.Is(err, fault.NotFound) {
			p.errorPage(c, err)
			return
		}
		redirect(c, pathDeviceDone)
		return
	}
	p.replyError(c, replyTo(request), fault.New(fault.Denied, "the person canceled the sign-in").WithCode(oidc.AccessDenied))
}

// stored finds the request that this browser began.
func (p *Provider) stored(c *gin.Context, text string, find findRequest) (*oidc.AuthorizationRequest, error) {
	gone := invalidRequest("this sign-in has expired, was completed, or was begun in another browser: go back to the application and start again")
	request, err := id.Parse[id.AuthorizationRequest](text)
	browser := p.cookies.Get(c.Request, cookie.Browser)
	if err != nil || browser.Empty() {
		return nil, gone
	}
	found, err := find(c.Request.Context(), request, browser)
	if errors.Is(err, fault.NotFound) {
		return nil, gone
	}
	if found != nil {
		found.From = browserAddress(c)
	}
	return found, err
}

// browserAddress is whence the browser asks; the zero one is in no network.
func browserAddress(c *gin.Context) netip.Addr {
	from, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return netip.Addr{}
	}
	return from.Unmap()
}

// advance takes the browser to where the request waits, or to the application.
func (p *Provider) advance(c *gin.Context, request *oidc.AuthorizationRequest, session *authn.Session, step oidc.Step, stored bool, err error) {
	to := replyTo(request)
	if err != nil {
		p.replyError(c, to, err)
		return
	}
	query := "?" + url.Values{parameterRequest: {string(request.ID)}}.Encode()
	switch step {
	case oidc.StepLogin:
		redirect(c, pathLogin+query)
	case oidc.StepOffer:
		redirect(c, pathSecondFactor+query)
	case oidc.StepTenant:
		redirect(c, pathChooseTenant+query)
	case oidc.StepConsent:
		redirect(c, pathConsent+query)
	case oidc.StepDone:
		if request.Device != "" {
			redirect(c, pathAllowDevice+query)
			return
		}
		var code secret.Text
		if code, err = p.oidc.Authorize(c.Request.Context(), request, session, stored); err != nil {
			p.replyError(c, to, err)
			return
		}
		p.reply(c, to, url.Values{"code": {code.Reveal()}})
	}
}
