package upstream

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

const (
	// attemptLifetime is how long somebody may be at a provider.
	attemptLifetime = 10 * time.Minute
	// skew is by how much a provider's clock may be behind ours.
	skew = time.Minute
)

// Purpose is why somebody is sent to a provider.
type Purpose string

// The purposes.
const (
	ToSignIn Purpose = "sign_in"
	ToLink   Purpose = "link" // to sign in by that account from then on (TX-R26)
)

// About is what is remembered of somebody who was sent to a provider.
type About struct {
	Purpose Purpose            `json:"purpose"`
	Request authn.LoginRequest `json:"request,omitzero"` // of ToSignIn
	User    id.User            `json:"user,omitempty"`   // of ToLink: whose account is linked
	Hint    string             `json:"hint,omitempty"`   // the address that is expected
}

// An Attempt is somebody's way to a provider and back.
type Attempt struct {
	Tenant   id.Tenant
	Provider id.IdentityProvider
	About    About
	Nonce    secret.Hash
	Verifier []byte // sealed
	Created  time.Time
	Expires  time.Time
}

// An Outcome is what somebody has come back with.
type Outcome struct {
	About    About
	Provider *Provider
	Login    *authn.Login // of ToSignIn
}

// Begin returns where to send the browser with that cookie. It fails with
// fault.NotFound where there is no such provider, or it is disabled, and as
// Party.Address does. Who links an account must be a member of the tenant.
func (u *Upstream) Begin(ctx context.Context, provider id.IdentityProvider, browser secret.Text, about About) (string, error) {
	if browser.Empty() {
		return "", fault.Field(fault.Invalid, "browser", "the browser sent no cookie to tie the sign-in to").WithCode("no_cookie")
	}
	p, err := u.enabled(ctx, provider)
	if err != nil {
		return "", err
	}
	if about.Purpose == ToLink {
		if err := u.mayLink(ctx, p, about.User); err != nil {
			return "", err
		}
	}
	client, err := u.client(p)
	if err != nil {
		return "", err
	}
	q := &Question{
		Scopes: p.Scopes, State: secret.Random(""), Nonce: secret.Random(""), Verifier: secret.Random(""),
		Hint: about.Hint, Fresh: about.Request.Fresh || about.Purpose == ToLink,
	}
	if p.TrustMFA {
		q.Classes = p.MFAClasses
	}
	address, err := u.Party.Address(ctx, client, q)
	if err != nil {
		return "", u.failed(ctx, p, about, err)
	}
	now := u.now()
	a := &Attempt{Tenant: p.Tenant, Provider: p.ID, About: about, Nonce: q.Nonce.Hash(), Created: now, Expires: now.Add(attemptLifetime)}
	if a.Verifier, err = u.Keyring.Seal([]byte(q.Verifier.Reveal()), a.place(q.State.Hash())); err != nil {
		return "", err
	}
	return address, u.Store.CreateSignIn(ctx, a, q.State.Hash(), browser.Hash())
}

// place is what binds a sealed verifier to its attempt.
func (a *Attempt) place(state secret.Hash) string { return "upstream_sign_ins/" + string(state[:]) }

// enabled returns a provider that people are sent to.
func (u *Upstream) enabled(ctx context.Context, provider id.IdentityProvider) (*Provider, error) {
	p, err := u.Store.IdentityProviderByID(ctx, provider)
	if errors.Is(err, fault.NotFound) || err == nil && !p.Enabled {
		return nil, fault.New(fault.NotFound, "there is no such identity provider").WithCode(CodeGone)
	}
	return p, err
}

func (u *Upstream) client(p *Provider) (*Client, error) {
	text, err := u.secretOf(p)
	return &Client{Issuer: p.Issuer, ID: p.ClientID, Secret: text, RedirectURI: u.RedirectURI(p.ID)}, err
}

// RedirectURI is where a provider sends people back to. Each has its own, so that
// what one answers is never taken for another's (RFC 9700 §4.4.2).
func (u *Upstream) RedirectURI(provider id.IdentityProvider) string {
	return u.PublicURL + "/login/provider/" + string(provider) + "/callback"
}

// Finish takes what a browser came back with from the provider, once, and does what
// it was sent for. It fails with fault.NotFound and CodeGone where the browser was not
// sent there, or has been back before, and with the Codes otherwise.
func (u *Upstream) Finish(ctx context.Context, provider id.IdentityProvider, browser secret.Text, answer *Answer, client authn.Client) (*Outcome, error) {
	gone := fault.New(fault.NotFound, "this sign-in has expired, is complete, or was started in another browser").WithCode(CodeGone)
	if browser.Empty() || answer.State.Empty() {
		return nil, gone
	}
	state := answer.State.Hash()
	a, err := u.Store.TakeSignIn(ctx, state, browser.Hash(), u.now())
	if errors.Is(err, fault.NotFound) || err == nil && a.Provider != provider {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	p, err := u.enabled(ctx, provider)
	if err != nil {
		return nil, err
	}
	claims, err := u.redeem(ctx, p, a, state, answer)
	if err != nil {
		return nil, u.failed(ctx, p, a.About, err)
	}
	outcome := &Outcome{About: a.About, Provider: p}
	if a.About.Purpose == ToLink {
		return outcome, u.link(ctx, p, a.About.User, claims)
	}
	outcome.Login, err = u.signIn(ctx, p, a, claims, browser, client)
	if err != nil {
		return nil, u.failed(ctx, p, a.About, err)
	}
	return outcome, nil
}

func (u *Upstream) redeem(ctx context.Context, p *Provider, a *Attempt, state secret.Hash, answer *Answer) (*Claims, error) {
	verifier, err := u.Keyring.Open(a.Verifier, a.place(state))
	if err != nil {
		return nil, err
	}
	client, err := u.client(p)
	if err != nil {
		return nil, err
	}
	claims, err := u.Party.Redeem(ctx, client, answer, secret.NewText(string(verifier)), a.Nonce)
	if err != nil {
		return nil, err
	}
	if (a.About.Request.Fresh || a.About.Purpose == ToLink) && claims.AuthTime.Before(a.Created.Add(-skew)) {
		return nil, fault.New(fault.Denied, "the provider does not say that the person has just shown who they are").WithCode(CodeNotFresh)
	}
	return claims, nil
}

// signIn moves a sign-in on for whom the provider's account belongs to.
func (u *Upstream) signIn(ctx context.Context, p *Provider, a *Attempt, claims *Claims, browser secret.Text, client authn.Client) (*authn.Login, error) {
	login, err := u.Authn.StartLogin(browser, a.About.Request)
	if err != nil {
		return nil, err
	}
	err = u.Store.InTx(ctx, func(ctx context.Context) error {
		user, err := u.personOf(ctx, p, claims)
		if err != nil {
			return err
		}
		st, err := u.Directory.Standing(ctx, p.Tenant, user)
		if errors.Is(err, fault.NotFound) || err == nil && (!st.SignIn || st.Home != p.Tenant || st.User.Operator) {
			return fault.New(fault.Denied, "the membership does not let the person in").WithCode(CodeNotAdmitted)
		}
		if err != nil {
			return err
		}
		said := map[string]any{"user": user, "subject": claims.Subject, "acr": claims.ACR, "amr": claims.AMR}
		if err := u.Store.AppendEvent(ctx, audit.New(ctx, u.now(), p.Tenant, "identity_provider.sign_in", "identity_provider", string(p.ID), said)); err != nil {
			return err
		}
		return u.Authn.SubmitAssertion(ctx, login, authn.Assertion{
			User: user, Identifier: cmp.Or(claims.Email, st.User.Email, st.UserName), Via: directory.Via{Tenant: p.Tenant, Provider: p.ID},
			AuthTime: claims.AuthTime, MFA: p.TrustMFA && p.sawTwoFactors(claims),
		}, client)
	})
	if fault.As(err).Code == authn.CodeLoginOff {
		return nil, fault.New(fault.Denied, "the login is switched off").WithCode(CodeNotAdmitted)
	}
	if err != nil {
		return nil, err
	}
	return login, nil
}

// sawTwoFactors reports whether the provider says that the person has shown two.
func (p *Provider) sawTwoFactors(claims *Claims) bool {
	return slices.Contains(claims.AMR, authn.AMRMultiFactor) || claims.ACR != "" && slices.Contains(p.MFAClasses, claims.ACR)
}

// personOf returns whose account at the provider it is: who was linked to it, or
// whom the rules let be linked now.
func (u *Upstream) personOf(ctx context.Context, p *Provider, claims *Claims) (id.User, error) {
	link, err := u.Store.LinkBySubject(ctx, p.Tenant, p.ID, p.Issuer, claims.Subject)
	if err == nil {
		return link.User, u.Store.UseIdentityLink(ctx, p.Tenant, link.ID, shortened(claims.Email), u.now())
	}
	if !errors.Is(err, fault.NotFound) {
		return "", err
	}
	address, err := u.vouched(p, claims)
	if err != nil {
		return "", err
	}
	m, err := u.Directory.MemberOfAddress(ctx, p.Tenant, address)
	switch {
	case errors.Is(err, fault.NotFound) && p.JustInTime:
		m, err = u.Directory.Join(ctx, directory.Newcomer{
			Tenant: p.Tenant, Email: address, Name: nameOf(claims), Language: languageOf(claims.Locale), Roles: p.rolesFor(claims),
		})
	case errors.Is(err, fault.NotFound):
		return "", fault.New(fault.Denied, "the person is no member").WithCode(CodeStranger)
	case err == nil && m.Status == directory.StatusInvited:
		// The tenant speaks for its domain: the address is shown to be the person's as
		// by the link of the invitation.
		err = u.Directory.Accept(ctx, p.Tenant, m.User)
	}
	if errors.Is(err, fault.Denied) {
		return "", fault.New(fault.Denied, "%s", fault.As(err).Detail).WithCode(CodeUnverified)
	}
	if err != nil {
		return "", err
	}
	return m.User, u.keepLink(ctx, p, m, claims)
}

// vouched returns the address that the provider vouches for, of a domain for which
// the tenant lets it.
func (u *Upstream) vouched(p *Provider, claims *Claims) (string, error) {
	unverified := func(why string) error { return fault.New(fault.Denied, "%s", why).WithCode(CodeUnverified) }
	address, ok := directory.ParseEmail(claims.Email)
	if !ok {
		return "", unverified("the provider tells no address")
	}
	_, domain, _ := strings.Cut(address, "@")
	switch {
	case !slices.Contains(p.Domains, strings.ToLower(domain)):
		return "", unverified("the address is of no domain that leads to the provider")
	case !claims.EmailVerified && !p.TrustEmail:
		return "", unverified("the provider does not say that the address is verified")
	}
	return address, nil
}

// rolesFor returns what somebody begins with whom the provider makes a member.
func (p *Provider) rolesFor(claims *Claims) []string {
	var roles []string
	if p.RoleClaim != "" {
		for _, value := range texts(claims.All[p.RoleClaim]) {
			if role := p.RoleValues[value]; role != "" && !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	if len(roles) == 0 && p.Role != "" {
		roles = append(roles, p.Role)
	}
	slices.Sort(roles)
	return roles
}

// texts returns the texts of a claim that is one or a list of them.
func texts(claim any) []string {
	switch is := claim.(type) {
	case string:
		return []string{is}
	case []any:
		var all []string
		for _, one := range is {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
		return all
	}
	return nil
}

func nameOf(claims *Claims) directory.Name {
	name := directory.Name{Given: shortened(claims.Given), Family: shortened(claims.Family)}
	if name == (directory.Name{}) {
		name.Display = shortened(claims.Name)
	}
	return name
}

// languageOf returns a locale as far as it has the form of BCP 47.
func languageOf(locale string) string {
	if len(locale) > maxLocale || strings.ContainsFunc(locale, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	}) {
		return ""
	}
	return locale
}

const (
	maxLocale = 35
	maxShown  = 254 // characters that are kept of what a provider says
)

// shortened returns what is kept of a text of a provider's.
func shortened(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown])
	}
	return text
}

// failed records why somebody was not let in, for the tenant to see, and returns
// the error. What is at fault on our side is nobody's to see.
func (u *Upstream) failed(ctx context.Context, p *Provider, about About, err error) error {
	f := fault.As(err)
	if f.Kind == fault.Internal || f.Code == "" {
		return err
	}
	u.Logger.WarnContext(ctx, "sign-in by an identity provider failed", "tenant", p.Tenant, "provider", p.ID, "code", f.Code, "error", f.Error())
	event := audit.New(ctx, u.now(), p.Tenant, "identity_provider.fail", "identity_provider", string(p.ID),
		map[string]any{"code": f.Code, "reason": f.Detail, "purpose": about.Purpose})
	return errors.Join(err, u.Store.AppendEvent(ctx, event))
}
