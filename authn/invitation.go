package authn

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

var _ directory.Credentials = (*Authn)(nil)

// PurposeInvitation marks the link by which somebody who has no password yet
// joins a tenant. Its subject is the user and the tenant.
const PurposeInvitation = "invitation"

// Invite implements directory.Credentials. Who has a password accepts after
// signing in with it; a link that does more than lead there would let in whoever
// reads the mail.
func (a *Authn) Invite(ctx context.Context, i directory.Invitation) error {
	person, err := a.store.User(ctx, i.User)
	if err != nil || person.Email == "" {
		return err
	}
	has, err := a.HasPassword(ctx, i.User)
	if err != nil {
		return err
	}
	letter := mail.Letter{
		Kind: mail.InvitationAccount, To: person.Email, Name: person.Name.String(), Language: person.Locale, Link: a.publicURL + "/login",
		Args: []string{i.Name, i.By, strconv.Itoa(int(i.TTL / time.Hour))},
	}
	return a.store.InTx(ctx, func(ctx context.Context) error {
		if !has {
			token, now := secret.Random(""), a.now()
			link := Link{Purpose: PurposeInvitation, Subject: invited(i.User, i.Tenant), SentTo: directory.Fold(person.Email), Created: now, Expires: now.Add(i.TTL)}
			if err := a.store.PutLink(ctx, link, token.Hash()); err != nil {
				return err
			}
			letter.Kind, letter.Link = mail.Invitation, a.link("/login/invitation", token)
		}
		return a.postFor(ctx, i.Tenant, letter)
	})
}

func invited(user id.User, tenant id.Tenant) string { return string(user) + " " + string(tenant) }

// Invited is who an invitation is to.
type Invited struct {
	User   id.User
	Email  string
	Tenant id.Tenant
}

// CheckInvitation returns who the link of an invitation is for. It fails with
// fault.NotFound if the token is unknown, used, replaced or expired, and where
// the person has a password by now; it uses nothing up.
func (a *Authn) CheckInvitation(ctx context.Context, token secret.Text) (*Invited, error) {
	link, err := a.store.Link(ctx, PurposeInvitation, token.Hash(), a.now())
	if err != nil {
		return nil, noLinkIfNotFound(err)
	}
	user, tenant, _ := strings.Cut(link.Subject, " ")
	person, err := a.addressee(ctx, link, id.User(user))
	if err != nil {
		return nil, err
	}
	has, err := a.HasPassword(ctx, person.ID)
	if err != nil {
		return nil, err
	}
	if has || person.Disabled {
		return nil, noLinkIfNotFound(&fault.Error{Kind: fault.NotFound})
	}
	return &Invited{User: person.ID, Email: person.Email, Tenant: id.Tenant(tenant)}, nil
}

// ExpireInvitations tells expire of each invitation with a link that nobody has
// answered in time, once, in one transaction with what expire does. An invitation
// to somebody who has a password holds no link, and does not expire.
func (a *Authn) ExpireInvitations(ctx context.Context, expire func(ctx context.Context, tenant id.Tenant, user id.User) error) error {
	for more := true; more; {
		err := a.store.InTx(ctx, func(ctx context.Context) error {
			link, err := a.store.TakeExpiredLink(ctx, PurposeInvitation, a.now())
			if errors.Is(err, fault.NotFound) {
				more = false
				return nil
			}
			if err != nil {
				return err
			}
			user, tenant, _ := strings.Cut(link.Subject, " ")
			return expire(ctx, id.Tenant(tenant), id.User(user))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CompleteInvitation sets the first password of an invited person and signs them
// in: it returns the session with its cookie. Joining the tenant is directory's.
// It fails as CheckInvitation and NewPassword do.
func (a *Authn) CompleteInvitation(ctx context.Context, token, password secret.Text, client Client) (*Invited, *Session, secret.Text, error) {
	who, err := a.CheckInvitation(ctx, token)
	if err != nil {
		return nil, nil, secret.Text{}, err
	}
	next, err := a.NewPassword(ctx, who.User, password)
	if err != nil {
		return nil, nil, secret.Text{}, err
	}
	var session *Session
	var cookie secret.Text
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(who.User)})
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		_, err := a.store.TakeLink(ctx, PurposeInvitation, token.Hash(), a.now())
		if errors.Is(err, fault.NotFound) {
			return noLinkIfNotFound(err)
		}
		if err == nil {
			err = a.PutPassword(ctx, next)
		}
		if err == nil {
			session, cookie, err = a.startSession(ctx, proof{user: who.User, amr: []string{AMRPassword}}, client)
		}
		return err
	})
	return who, session, cookie, err
}
