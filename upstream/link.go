package upstream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A Link is which account at a provider a member signs in with.
type Link struct {
	Tenant       id.Tenant
	TenantName   string
	ID           id.IdentityLink
	Provider     id.IdentityProvider
	ProviderName string
	Issuer       string // with Subject it is the account's name
	Subject      string
	Membership   id.Membership
	User         id.User
	Email        string // as the provider last said, for people to read; may be empty
	Created      time.Time
	Used         time.Time
}

// keepLink has an account at the provider be the member's from now on.
func (u *Upstream) keepLink(ctx context.Context, p *Provider, m *directory.Membership, claims *Claims) error {
	now := u.now()
	l := &Link{
		Tenant: p.Tenant, ID: id.New[id.IdentityLink](), Provider: p.ID, Issuer: p.Issuer, Subject: claims.Subject,
		Membership: m.ID, User: m.User, Email: shortened(claims.Email), Created: now, Used: now,
	}
	if err := u.Store.CreateIdentityLink(ctx, l); err != nil {
		return err
	}
	return u.recordLink(ctx, l, "identity_link.create")
}

func (u *Upstream) recordLink(ctx context.Context, l *Link, action string) error {
	return u.Store.AppendEvent(ctx, audit.New(ctx, u.now(), l.Tenant, action, "membership", string(l.Membership),
		map[string]any{"identity_provider": l.Provider, "link": l.ID, "issuer": l.Issuer, "subject": l.Subject, "user": l.User}))
}

// mayLink fails unless the user is a member of the provider's tenant who can sign in
// to it.
func (u *Upstream) mayLink(ctx context.Context, p *Provider, user id.User) error {
	st, err := u.Directory.Standing(ctx, p.Tenant, user)
	if errors.Is(err, fault.NotFound) || err == nil && (!st.SignIn || st.Home != p.Tenant || st.User.Operator) {
		return fault.New(fault.Denied, "the person is no member").WithCode(CodeNotAdmitted)
	}
	return err
}

// link has the account at the provider be the user's, who has shown that it is
// theirs, and who they are here.
func (u *Upstream) link(ctx context.Context, p *Provider, user id.User, claims *Claims) error {
	return u.Store.InTx(ctx, func(ctx context.Context) error {
		if err := u.mayLink(ctx, p, user); err != nil {
			return err
		}
		there, err := u.Store.LinkBySubject(ctx, p.Tenant, p.ID, p.Issuer, claims.Subject)
		switch {
		case err == nil && there.User == user:
			return nil
		case err == nil:
			return fault.New(fault.Conflict, "the account is linked to somebody else").WithCode(CodeTaken)
		case !errors.Is(err, fault.NotFound):
			return err
		}
		st, err := u.Directory.Standing(ctx, p.Tenant, user)
		if err != nil {
			return err
		}
		return u.keepLink(ctx, p, &directory.Membership{Tenant: p.Tenant, ID: st.Membership, User: user}, claims)
	})
}

// OwnLinks returns which accounts a person signs in with, in all tenants.
func (u *Upstream) OwnLinks(ctx context.Context, user id.User) ([]Link, error) {
	return u.Store.LinksOfUser(ctx, user)
}

// Linkable returns the providers of the person's tenants that they have no account
// of linked.
func (u *Upstream) Linkable(ctx context.Context, user id.User, links []Link) ([]Route, error) {
	standings, err := u.Directory.Standings(ctx, user)
	if err != nil {
		return nil, err
	}
	var homes []id.Tenant
	for i := range standings {
		if st := &standings[i]; st.SignIn && st.Home == st.Tenant && !st.User.Operator {
			homes = append(homes, st.Tenant)
		}
	}
	if len(homes) == 0 {
		return nil, nil
	}
	routes, err := u.Store.RoutesOfTenants(ctx, homes)
	return slices.DeleteFunc(routes, func(r Route) bool { return linked(links, r.Provider) }), err
}

func linked(links []Link, provider id.IdentityProvider) bool {
	for i := range links {
		if links[i].Provider == provider {
			return true
		}
	}
	return false
}

// Unlink removes a link of the person's own.
func (u *Upstream) Unlink(ctx context.Context, user id.User, link id.IdentityLink) error {
	return u.Store.InTx(ctx, func(ctx context.Context) error {
		links, err := u.Store.LinksOfUser(ctx, user)
		if err != nil {
			return err
		}
		for i := range links {
			if links[i].ID == link {
				return u.unlink(ctx, &links[i])
			}
		}
		return noLink()
	})
}

func (u *Upstream) unlink(ctx context.Context, l *Link) error {
	if err := u.Store.DeleteIdentityLink(ctx, l.Tenant, l.ID); err != nil {
		return err
	}
	return u.recordLink(ctx, l, "identity_link.delete")
}

func noLink() error { return fault.New(fault.NotFound, "there is no such link") }

// LinksOf returns which accounts a member signs in with. It fails as Providers does,
// and with fault.NotFound.
func (u *Upstream) LinksOf(ctx context.Context, tenant id.Tenant, membership id.Membership) ([]Link, error) {
	if err := u.Directory.MaySetSignIn(ctx, tenant); err != nil {
		return nil, err
	}
	if _, err := u.Store.Membership(ctx, tenant, membership); err != nil {
		return nil, noMember(err)
	}
	return u.Store.LinksOfMembership(ctx, tenant, membership)
}

// UnlinkOf removes a member's link. It fails as LinksOf does.
func (u *Upstream) UnlinkOf(ctx context.Context, tenant id.Tenant, membership id.Membership, link id.IdentityLink) error {
	return u.manage(ctx, tenant, func(ctx context.Context) error {
		links, err := u.LinksOf(ctx, tenant, membership)
		if err != nil {
			return err
		}
		for i := range links {
			if links[i].ID == link {
				return u.unlink(ctx, &links[i])
			}
		}
		return noLink()
	})
}

func noMember(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no such member")
	}
	return err
}
