package oidc

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Values of the parameter prompt (OIDC Core §3.1.2.1).
const (
	PromptNone          = "none"
	PromptLogin         = "login"
	PromptConsent       = "consent"
	PromptSelectAccount = "select_account"
)

// Response modes (OAuth 2.0 Multiple Response Types §2.1, Form Post §2).
const (
	ModeQuery    = "query"
	ModeFormPost = "form_post"
)

// Parameters are what the application asks for. They are validated and never
// change once the request is stored.
type Parameters struct {
	RedirectURI  string           `json:"redirect_uri"`
	ResponseMode string           `json:"response_mode"`
	State        string           `json:"state,omitempty"`
	Nonce        string           `json:"nonce,omitempty"`
	Scopes       []string         `json:"scopes,omitempty"`
	TenantName   string           `json:"tenant_name,omitempty"` // slug or id of the scope "tenant:…"
	Challenge    string           `json:"challenge,omitempty"`   // empty: none, where the application need not send one
	Prompt       []string         `json:"prompt,omitempty"`
	MaxAge       *int64           `json:"max_age,omitempty"` // seconds
	LoginHint    string           `json:"login_hint,omitempty"`
	ACRValues    []string         `json:"acr_values,omitempty"`
	EssentialACR bool             `json:"essential_acr,omitempty"` // ACRValues are no wish but a condition (OIDC Core §5.5.1.1)
	UILocales    []string         `json:"ui_locales,omitempty"`
	Device       id.DeviceRequest `json:"device,omitempty"`      // the one that asks, and not a redirect URI (RFC 8628)
	HintUser     id.User          `json:"hint_user,omitempty"`   // of a valid id_token_hint, or of the claims parameter
	HintTenant   id.Tenant        `json:"hint_tenant,omitempty"` // of a valid id_token_hint

	Claims    RequestedClaims `json:"claims,omitzero"`
	Pushed    string          `json:"pushed,omitempty"`    // the hash of the address of the pushed request that it is
	Key       string          `json:"dpop_jkt,omitempty"`  // thumbprint of the key that the code is bound to (RFC 9449 §10)
	Resources []string        `json:"resources,omitempty"` // RFC 8707
	Details   Details         `json:"authorization_details,omitempty"`
}

// Progress is how far the person has come with a request.
type Progress struct {
	// Fresh asks the login page for a new sign-in, whatever session there is.
	Fresh bool `json:"fresh,omitempty"`
	// MinACR is the least authentication context class that the sign-in must
	// reach; empty for any.
	MinACR string `json:"min_acr,omitempty"`
	// Essential says that it is the tenant that demands MinACR: without a second
	// factor the person has to set one up.
	Essential bool `json:"essential,omitempty"`
	// MailCounts says that a code by mail reaches MinACR.
	MailCounts bool `json:"mail_counts,omitempty"`
	// OfferedBy is when the tenant begins to demand a second factor, where the person
	// has none and is reminded of it; Skipped is that they have put it off.
	OfferedBy time.Time `json:"offered_by,omitzero"`
	Skipped   bool      `json:"skipped,omitempty"`
	// By is the tenant by one of whose own providers the person has to sign in, by its
	// word; Own, that they have to sign in here, as the provider of another tenant is
	// none for this one.
	By  id.Tenant `json:"by,omitempty"`
	Own bool      `json:"own,omitempty"`
	// Asked is when MinACR was set: a session begun later could not reach it.
	Asked time.Time `json:"asked,omitzero"`
	// Tenant is the person's choice; empty: none yet.
	Tenant id.Tenant `json:"tenant,omitempty"`
	// Consented is who has allowed the application what this request asks for, and
	// in which tenant.
	Consented consenter `json:"consented,omitzero"`
}

// An AuthorizationRequest is an application's request to sign a person in
// (RFC 6749 §4.1.1), kept while that person signs in.
type AuthorizationRequest struct {
	ID       id.AuthorizationRequest
	Browser  secret.Hash // of the cookie of the browser that began it
	ClientID string
	From     netip.Addr // whence the browser asks now, which is not stored; the zero one is in no network
	Parameters
	Progress
	Created time.Time
	Expires time.Time

	seen *directory.Standing // by which it waited for nothing when it was last evaluated
}

// Asks reports whether the request has the prompt value.
func (r *AuthorizationRequest) Asks(prompt string) bool { return slices.Contains(r.Prompt, prompt) }

// Step is what an authorization request waits for.
type Step int

// The steps of an authorization request.
const (
	StepLogin   Step = iota + 1 // the person must sign in; see Fresh, MinACR, LoginHint
	StepTenant                  // the person must choose a tenant, or learn why there is none
	StepOffer                   // the person may set up a second factor, or Skip that until OfferedBy
	StepConsent                 // the person must allow the application what it asks for, or Cancel
	StepDone                    // Authorize will answer with a code
)

// NewRequest returns a request of a browser that is not stored yet.
func (o *OIDC) NewRequest(clientID string, browser secret.Text, parameters Parameters) *AuthorizationRequest {
	now := o.now()
	return &AuthorizationRequest{
		ID: id.New[id.AuthorizationRequest](), Browser: browser.Hash(), ClientID: clientID, Parameters: parameters,
		Created: now, Expires: now.Add(RequestLifetime),
	}
}

// Begin says what a new request waits for, and stores it unless that is nothing.
// session is nil where nobody is signed in. It fails as Next does.
func (o *OIDC) Begin(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (Step, error) {
	step, _, err := o.evaluate(ctx, r, session)
	if err != nil || step == StepDone {
		return step, err
	}
	return step, o.store.CreateAuthorizationRequest(ctx, r)
}

// Request returns a stored request. It fails with fault.NotFound where there is
// none, it has expired, or it is another browser's.
func (o *OIDC) Request(ctx context.Context, request id.AuthorizationRequest, browser secret.Text) (*AuthorizationRequest, error) {
	return o.store.AuthorizationRequest(ctx, request, browser.Hash(), o.now())
}

// Next says what a stored request waits for, and keeps in it what the login
// page has to ask for. session is nil where nobody is signed in. A fault with
// one of the protocol's codes is the answer to the application.
func (o *OIDC) Next(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (Step, error) {
	before := r.Progress
	step, _, err := o.evaluate(ctx, r, session)
	if err != nil || r.Progress == before {
		return step, err
	}
	return step, o.store.UpdateAuthorizationRequest(ctx, r.ID, func(stored *AuthorizationRequest) error {
		said := stored.Progress
		stored.Progress = r.Progress
		stored.Tenant, stored.Skipped, stored.Consented = said.Tenant, said.Skipped, said.Consented // which are the person's to say
		return nil
	})
}

// held evaluates the request once more while the membership can't change, so
// that no grant slips past a lock-out. It holds the membership that Next has seen
// before it looks; only where that is not the one, as after a choice in another
// window, it holds the right one and looks again.
func (o *OIDC) held(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (*directory.Standing, error) {
	seen := r.seen
	if seen != nil {
		if err := o.store.HoldMembership(ctx, seen.Home, seen.Membership); err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	_, standing, err := o.evaluate(ctx, r, session)
	if err != nil {
		return nil, err
	}
	if standing == nil {
		return nil, errSignInAgain()
	}
	if seen != nil && seen.Home == standing.Home && seen.Membership == standing.Membership {
		return standing, nil // SignIn, as evaluate finds none but such
	}
	if err := o.store.HoldMembership(ctx, standing.Home, standing.Membership); err != nil {
		return nil, err
	}
	if standing, err = o.rights.Standing(ctx, string(standing.Tenant), session.User); err != nil {
		return nil, err
	}
	if !standing.SignIn {
		return nil, errSignInAgain()
	}
	return standing, nil
}

func errSignInAgain() error { return fault.New(fault.Stale, "the sign-in has to be repeated") }

// SkipOffer puts off what StepOffer is for, which is asked again at the next
// sign-in, and demanded from r.OfferedBy on.
func (o *OIDC) SkipOffer(ctx context.Context, r *AuthorizationRequest) error {
	return o.store.UpdateAuthorizationRequest(ctx, r.ID, func(stored *AuthorizationRequest) error {
		stored.Skipped = true
		return nil
	})
}

// evaluate decides what a request waits for. The order matters: which tenant is
// meant is not looked at before it is clear who asks, what the tenant's policy
// demands not before it is clear which tenant, and nobody is asked for consent
// before they are signed in as they have to be. Step and standing are those of
// StepDone when the standing is not nil.
func (o *OIDC) evaluate(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (Step, *directory.Standing, error) {
	r.seen = nil
	step, standing, err := o.ready(ctx, r, session)
	if err != nil || step != StepDone {
		return step, nil, err
	}
	step, r.seen, err = o.askConsent(ctx, r, session, standing)
	return step, r.seen, err
}

// ready is evaluate without the question for consent.
func (o *OIDC) ready(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (Step, *directory.Standing, error) {
	if err := o.confine(ctx, r); err != nil {
		return 0, nil, err
	}
	r.Fresh, r.By, r.Own = false, "", false
	switch {
	case session == nil:
		return o.askLogin(r, LoginRequired, "nobody is signed in")
	case r.outdated(session, o.now()):
		r.Fresh = true
		return o.askLogin(r, LoginRequired, "the sign-in is too long ago")
	case r.HintUser != "" && r.HintUser != session.User && session.AuthTime.Before(r.Created):
		r.Fresh = true
		return o.askLogin(r, LoginRequired, "another person is signed in than the one that the request is about")
	case r.HintUser != "" && r.HintUser != session.User:
		return 0, nil, refuse(LoginRequired, "another person signed in than the one that the request is about")
	}
	standing, err := o.tenantInUse(ctx, r, session)
	if err != nil {
		return 0, nil, err
	}
	if standing == nil {
		return StepTenant, nil, nil
	}
	if !standing.Policy.Admits(r.From) {
		return 0, nil, refuse(AccessDenied, "the tenant is not signed in to from this network")
	}
	if !session.Within(standing.Policy.SessionLimits(), o.now()) {
		r.Fresh = true
		return o.askLogin(r, LoginRequired, "the tenant asks for a newer sign-in")
	}
	strong := authn.CompareACR(session.ACRAt(o.now(), standing), authn.ACR2) >= 0
	by, err := o.rights.Admits(ctx, standing, session.Via, strong)
	switch {
	case err != nil:
		return 0, nil, err
	case by == directory.ByThemself:
		r.Own, r.MinACR, r.Essential = true, "", false
		return o.askLogin(r, LoginRequired, "the person has signed in by the provider of another tenant")
	case by == directory.ByProvider:
		r.By, r.MinACR, r.Essential = standing.Tenant, "", false
		return o.askLogin(r, LoginRequired, "the tenant requires to sign in by its own provider")
	}
	return o.assure(ctx, r, session, standing)
}

// askLogin leads the person to the login page, or tells the application that it
// would have to (prompt=none).
func (o *OIDC) askLogin(r *AuthorizationRequest, code, why string) (Step, *directory.Standing, error) {
	if r.Asks(PromptNone) {
		return 0, nil, refuse(code, "%s", why)
	}
	return StepLogin, nil, nil
}

// outdated reports whether prompt=login or max_age demand a new sign-in. One
// made for this request is new enough, however small max_age is.
func (r *AuthorizationRequest) outdated(session *authn.Session, now time.Time) bool {
	if !session.AuthTime.Before(r.Created) {
		return false
	}
	if r.Asks(PromptLogin) {
		return true
	}
	return r.MaxAge != nil && now.Sub(session.AuthTime) > time.Duration(*r.MaxAge)*time.Second
}

// assure demands a second factor where the tenant or the application asks for
// it. The word of the tenant, or of its role system, is essential; acr_values are
// a wish (OIDC Core §3.1.2.1), and a claim acr what the application says it is:
// where an essential one can't be had, the sign-in has failed (§5.5.1.1).
func (o *OIDC) assure(ctx context.Context, r *AuthorizationRequest, session *authn.Session, standing *directory.Standing) (Step, *directory.Standing, error) {
	has := session.ACRAt(o.now(), standing)
	unmet := refuse(UnmetAuthentication, "none of the authentication context classes that the request needs can be reached")
	wish, reached := r.wishedACR(has)
	if r.EssentialACR && wish == "" && !reached {
		return 0, nil, unmet
	}
	if wish == authn.ACRPhishingResistant {
		factors, err := o.authn.SecondFactors(ctx, session.User)
		if err != nil {
			return 0, nil, err
		}
		switch {
		case factors.Passkeys > 0:
		case r.EssentialACR:
			return 0, nil, unmet
		default:
			wish = "" // nothing of theirs reaches it
		}
	}
	essential := r.EssentialACR && wish == authn.ACR2
	if standing.SecondFactor && (!standing.ExemptBySSO || session.Via.Tenant != standing.Tenant) && authn.CompareACR(has, authn.ACR2) < 0 {
		essential = true
		wish = authn.ACR2
	}
	if wish == "" {
		return o.offer(ctx, r, session, standing)
	}
	if !essential && r.MinACR == wish && !session.AuthTime.Before(r.Asked) { // the person could not
		if r.EssentialACR {
			return 0, nil, unmet
		}
		return StepDone, standing, nil
	}
	r.MinACR, r.Essential, r.Asked = wish, essential, o.now()
	r.MailCounts = wish == authn.ACR2 && standing.MailCounts()
	return o.askLogin(r, InteractionRequired, "a stronger sign-in is needed")
}

// offer has somebody who has just signed in, without a second factor, reminded of
// it where the tenant will demand one.
func (o *OIDC) offer(ctx context.Context, r *AuthorizationRequest, session *authn.Session, standing *directory.Standing) (Step, *directory.Standing, error) {
	r.OfferedBy = time.Time{}
	if standing.SecondFactorFrom.IsZero() || standing.MailCounts() || r.Skipped || r.Asks(PromptNone) || session.AuthTime.Before(r.Created) {
		return StepDone, standing, nil
	}
	has, err := o.authn.SecondFactors(ctx, session.User)
	if err != nil || has.Any() {
		return StepDone, standing, err
	}
	r.OfferedBy = standing.SecondFactorFrom
	return StepOffer, nil, nil
}

// wishedACR returns the weakest class of acr_values that a sign-in can reach and
// that the session, at has, does not reach, or "". reached says that the session
// reaches one of them.
func (r *AuthorizationRequest) wishedACR(has string) (wish string, reached bool) {
	for _, value := range r.ACRValues {
		switch {
		case authn.CompareACR(value, authn.ACR1) < 0: // no factor here reaches it
		case authn.CompareACR(has, value) >= 0:
			return "", true
		case wish == "" || authn.CompareACR(value, wish) < 0:
			wish = value
		}
	}
	return wish, false
}

// tenantInUse returns the standing that the request is about: of the person's
// choice, else of the tenant that the application names, else of the one of the
// id_token_hint, else of the only one that the person is a member of, else of
// the default. It returns nil where the person has to choose.
func (o *OIDC) tenantInUse(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (*directory.Standing, error) {
	var wanted []string
	switch {
	case r.Tenant != "":
		wanted = []string{string(r.Tenant)}
	case r.Asks(PromptSelectAccount):
	case r.TenantName != "":
		wanted = []string{r.TenantName}
	default:
		usable, err := o.usable(ctx, r, session)
		if err != nil {
			return nil, err
		}
		wanted = []string{string(r.HintTenant), preferred(usable)}
	}
	for _, name := range wanted {
		standing, err := o.standing(ctx, name, session.User)
		if err != nil || standing != nil && standing.SignIn && r.means(standing) {
			return standing, err
		}
	}
	if !r.Asks(PromptNone) {
		return nil, nil
	}
	usable, err := o.usable(ctx, r, session)
	switch {
	case err != nil:
		return nil, err
	case len(usable) == 0:
		// For this tenant nobody is signed in. It is the same whether the tenant
		// exists or not, and whether a lock-out ended the person's use of it.
		return nil, refuse(LoginRequired, "the person can't be signed in to this tenant")
	default:
		return nil, refuse(InteractionRequired, "the person has to choose a tenant")
	}
}

// preferred returns the tenant to sign in to when none is named: the only one
// that the person is a member of, or else the default. Those that are merely
// reached wait to be asked for.
func preferred(usable []directory.Standing) string {
	member, only := 0, ""
	for i := range usable {
		if usable[i].Default {
			return string(usable[i].Tenant)
		}
		if usable[i].Home == usable[i].Tenant {
			member, only = member+1, string(usable[i].Tenant)
		}
	}
	if member != 1 {
		return ""
	}
	return only
}

// standing returns what the person is in the tenant of that slug or id, nil if
// nothing.
func (o *OIDC) standing(ctx context.Context, tenant string, user id.User) (*directory.Standing, error) {
	if tenant == "" {
		return nil, nil
	}
	standing, err := o.rights.Standing(ctx, tenant, user)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return standing, err
}

// usable returns what the person is in the tenants that the application accepts
// and that can be used. Where the application names a tenant, no other is looked
// for.
func (o *OIDC) usable(ctx context.Context, r *AuthorizationRequest, session *authn.Session) ([]directory.Standing, error) {
	var all []directory.Standing
	var err error
	if r.TenantName == "" {
		all, err = o.rights.Standings(ctx, session.User)
	} else if standing, named := o.standing(ctx, r.TenantName, session.User); standing != nil {
		all = append(all, *standing)
	} else {
		err = named
	}
	return slices.DeleteFunc(all, func(s directory.Standing) bool { return !s.SignIn || !within(session, &s) }), err
}

// means reports whether the application accepts the standing's tenant.
func (r *AuthorizationRequest) means(s *directory.Standing) bool {
	return r.TenantName == "" || r.TenantName == s.Slug || r.TenantName == string(s.Tenant)
}

// Choices returns the tenants that the person may choose for a request, by a
// membership or by roles that reach them, and the memberships that wait for
// acceptance (directory.StatusInvited). Where the application names a tenant, it
// is that one or none: what else the person is a member of would not be an
// answer to the request.
//
// They are those of which the name or the slug has the text in it: at most
// MaxChoices, by name. more says that there are others.
func (o *OIDC) Choices(ctx context.Context, r *AuthorizationRequest, session *authn.Session, text string) (choices []directory.Standing, more bool, err error) {
	if r.TenantName != "" {
		choice, err := o.Choice(ctx, r, session, r.TenantName)
		if choice != nil {
			choices = append(choices, *choice)
		}
		return choices, false, err
	}
	found, more, err := o.rights.Search(ctx, session.User, text, MaxChoices)
	return slices.DeleteFunc(found, func(s directory.Standing) bool { return !open(&s) || !within(session, &s) }), more, err
}

// MaxChoices is how many tenants a person is shown at a time.
const MaxChoices = 20

// Choice returns one of the tenants that Choices is about, by its slug or id,
// nil if it is none of them.
func (o *OIDC) Choice(ctx context.Context, r *AuthorizationRequest, session *authn.Session, tenant string) (*directory.Standing, error) {
	standing, err := o.standing(ctx, tenant, session.User)
	if err != nil || standing == nil || !r.means(standing) || !open(standing) || !within(session, standing) {
		return nil, err
	}
	return standing, nil
}

// within reports whether a session is good for the standing's tenant, whatever that
// requires beyond: by a tenant's provider one learns of no other tenant.
func within(session *authn.Session, s *directory.Standing) bool {
	return session.Via.None() || session.Via.Tenant == s.Home
}

// open reports whether a person may sign in to a tenant, or accept to.
func open(s *directory.Standing) bool { return s.SignIn || s.Status == directory.StatusInvited }

// ChooseTenant records the person's choice. It fails with fault.NotFound where
// the request is not this browser's, and with fault.Denied where the tenant is
// none that the person may choose, whether it exists or not.
func (o *OIDC) ChooseTenant(ctx context.Context, request id.AuthorizationRequest, browser secret.Text, session *authn.Session, tenant id.Tenant) error {
	r, err := o.Request(ctx, request, browser)
	if err != nil {
		return err
	}
	standing, err := o.standing(ctx, string(tenant), session.User)
	if err != nil {
		return err
	}
	if standing == nil || !standing.SignIn || !r.means(standing) || !within(session, standing) {
		return fault.Field(fault.Denied, "tenant", "this tenant can't be chosen here").WithCode(AccessDenied)
	}
	return o.store.UpdateAuthorizationRequest(ctx, r.ID, func(stored *AuthorizationRequest) error {
		stored.Tenant = tenant
		return nil
	})
}

// Cancel ends a request because the person does not want to go on, and returns
// it, so that the application can be told access_denied.
func (o *OIDC) Cancel(ctx context.Context, request id.AuthorizationRequest, browser secret.Text) (*AuthorizationRequest, error) {
	r, err := o.store.TakeAuthorizationRequest(ctx, request, browser.Hash(), o.now())
	if err != nil {
		return nil, err
	}
	if err := o.completePushed(ctx, r); err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	return r, nil
}
