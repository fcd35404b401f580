package oidc

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// exchangeForTenant issues an access token of the same person in the tenant that
// is named, or for less than the subject token's in its own. What the tenant asks
// of those who sign in is asked as if the person did so now, in the way in which
// they have. The token is never more than the subject token, and ends with the
// sign-in, and with the grant, from which that one came.
func (o *OIDC) exchangeForTenant(ctx context.Context, a *Application, r TokenExchange) (*Tokens, error) {
	subject, err := o.personal(ctx, a, r)
	if err != nil {
		return nil, err
	}
	asked, tenant, err := r.scope()
	if err != nil {
		return nil, err
	}
	i := &issue{application: a, terms: r.Terms, expires: o.now().Add(AccessTokenLifetime)}
	if i.scopes, err = exchangeScopes(a, subject.scopes, asked); err != nil {
		return nil, err
	}
	if named := slices.IndexFunc(asked, namesTenant); named >= 0 {
		i.scopes = append(i.scopes, asked[named]) // as it was called
	}
	if i.audience, err = o.exchangeAudience(a, subject.audience, r.Targets); err != nil {
		return nil, err
	}
	if subject.expires.Before(i.expires) {
		i.expires = subject.expires
	}
	if tenant == "" {
		tenant = string(subject.live.Tenant)
	}
	standing, err := o.standing(ctx, tenant, subject.live.User)
	if err != nil {
		return nil, err
	}
	if standing == nil || !standing.SignIn {
		return nil, errNoTenant()
	}
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorApplication, ID: a.ClientID})
	err = o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.switchTenant(ctx, i, subject.live, standing.Tenant); err != nil {
			return err
		}
		var details Details // allowed to one application in one tenant, which is one grant
		if i.grant.ID == subject.live.ID {
			details = subject.details
		}
		if i.details, err = o.tokenDetails(ctx, a, details, r.Terms, i.audience); err != nil {
			return err
		}
		return o.complete(ctx, i, o.now(), func(context.Context) error { return nil })
	})
	if err != nil {
		return nil, err
	}
	claims, err := o.tenantClaims(ctx, i.standing, i.grant.Via, i.scopes)
	if err != nil {
		return nil, err
	}
	return o.mintAccess(ctx, i, claims, o.now())
}

// errNoTenant is what is said of a tenant where the person can't be signed in, and
// of one that does not exist.
func errNoTenant() error {
	return refuse(InvalidScope, "the person can't be signed in to this tenant")
}

// exchangeAudience returns for whom the token is to be: what is asked for, which the
// subject token must be for, or all that it is for. It is nothing that the
// application may not have tokens for.
func (o *OIDC) exchangeAudience(a *Application, has, asked []string) (audience, error) {
	if slices.ContainsFunc(asked, func(target string) bool { return !slices.Contains(has, target) }) {
		return nil, refuse(InvalidTarget, "the subject_token is not for one of the targets")
	}
	if len(asked) == 0 {
		asked = has
	}
	return asked, o.CheckResources(a, asked)
}

// switchTenant finds the grant that the token is to be of, or makes it, while the
// membership can't change. Whatever decides whether a grant is accepted decides
// here as well.
func (o *OIDC) switchTenant(ctx context.Context, i *issue, subject *Live, tenant id.Tenant) error {
	standing, err := o.stays(ctx, tenant, subject.User)
	if err != nil {
		return err
	}
	if i.application.Type.withPerson() && !standing.Policy.Admits(i.terms.From) {
		return refuse(InvalidRequest, "the tenant is not signed in to from this network")
	}
	if i.grant, err = o.exchangedGrant(ctx, i, subject, standing); err != nil {
		return err
	}
	live, err := o.store.Live(ctx, i.grant.Tenant, i.grant.ID, "")
	if err != nil {
		return err
	}
	if alive, err := o.alive(ctx, live, o.now()); err != nil || !alive {
		return errors.Join(err, refuse(InvalidRequest, "the tenant does not accept how the person has signed in: they have to do so again"))
	}
	return nil
}

// stays returns what the person is in the tenant, and keeps the membership that
// this rests on from being changed until the transaction ends.
func (o *OIDC) stays(ctx context.Context, tenant id.Tenant, user id.User) (*directory.Standing, error) {
	standing, err := o.standing(ctx, string(tenant), user)
	if err != nil {
		return nil, err
	}
	if standing == nil {
		return nil, errNoTenant()
	}
	if err := o.store.HoldMembership(ctx, standing.Home, standing.Membership); err != nil {
		return nil, err
	}
	standing, err = o.standing(ctx, string(tenant), user)
	if err == nil && (standing == nil || !standing.SignIn) {
		err = errNoTenant()
	}
	return standing, err
}

// exchangedGrant returns the grant for an exchanged token: the one from which the
// subject token comes, if it is the application's and of the tenant; else one that
// comes from it.
func (o *OIDC) exchangedGrant(ctx context.Context, i *issue, subject *Live, standing *directory.Standing) (*Grant, error) {
	source := &subject.Grant
	if source.From != "" {
		live, err := o.store.Live(ctx, source.FromTenant, source.From, "")
		if err != nil {
			return nil, err
		}
		source = &live.Grant
	}
	if source.Tenant == standing.Tenant && source.ClientID == i.application.ClientID {
		return source, nil
	}
	now := o.now()
	// A device that one tenant trusts, or a code by mail that it takes, need not count
	// in another.
	acr := source.classAt(now, standing)
	if standing.SecondFactor && authn.CompareACR(acr, authn.ACR2) < 0 {
		return nil, refuse(InvalidRequest, "the tenant demands a sign-in with the acr %s", authn.ACR2)
	}
	if err := o.consented(ctx, i, source.User, standing.Tenant); err != nil {
		return nil, err
	}
	existing, err := o.store.ExchangedGrants(ctx, standing.Tenant, source, i.application.ClientID)
	if err != nil {
		return nil, err
	}
	for k := range existing {
		if g := &existing[k]; g.Membership == standing.Membership && g.ACR == acr && !slices.ContainsFunc(i.scopes, func(s string) bool { return !slices.Contains(g.Scopes, s) }) {
			return g, nil
		}
	}
	grant := &Grant{
		Tenant: standing.Tenant, ID: id.New[id.Grant](), Home: standing.Home, Membership: standing.Membership, User: source.User,
		ClientID: i.application.ClientID, Session: source.Session, Offline: source.Offline, Scopes: i.scopes,
		AuthTime: source.AuthTime, ACR: acr, AMR: source.AMR, Created: now,
		Resources: source.Resources, FromTenant: source.Tenant, From: source.ID, Via: source.Via,
		TrustedAt: source.TrustedAt, TrustedByMail: source.TrustedByMail,
	}
	if err := o.store.CreateGrant(ctx, grant); err != nil {
		return nil, err
	}
	return grant, o.store.AppendEvent(ctx, audit.New(ctx, now, grant.Tenant, "grant.create", "grant", string(grant.ID), map[string]any{
		"client_id": grant.ClientID, "scopes": grant.Scopes, "session": grant.Session, "user": grant.User, "exchanged_from": grant.From,
	}))
}

// consented fails with invalid_request unless the application may have the scopes
// in the tenant without a question: a third-party one needs the person's yes there.
func (o *OIDC) consented(ctx context.Context, i *issue, user id.User, tenant id.Tenant) error {
	if !i.application.ThirdParty {
		return nil
	}
	refused := refuse(InvalidRequest, "the person has not allowed the application this in the tenant")
	given, err := o.store.Consent(ctx, tenant, user, i.application.ClientID)
	if errors.Is(err, fault.NotFound) {
		return refused
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(i.scopes, func(s string) bool { return !namesTenant(s) && !slices.Contains(given.Scopes, s) }) {
		return refused
	}
	return nil
}
