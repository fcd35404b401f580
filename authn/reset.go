package authn

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// Letters takes what people are told by mail, in the transaction in ctx. It is
// internal/mail's.
type Letters interface {
	Post(ctx context.Context, l mail.Letter) error
}

// PurposeReset marks the link that sets a forgotten password. Its subject is the
// user.
const PurposeReset = "password_reset"

// RequestPasswordReset has a link sent to somebody who forgot the password, by
// DeliverPasswordReset. It says the same whether the address is anybody's or not.
// It fails with fault.Invalid and the field login, and with fault.Throttled.
func (a *Authn) RequestPasswordReset(ctx context.Context, email string, client Client) error {
	return a.writeLater(ctx, outbox.PasswordReset, "login", email, typedAddress{}, client)
}

// DeliverPasswordReset sends the link, where the address is that of somebody who
// may sign in. Who has no password yet is sent by invite, which is directory's, the
// invitations that they have let expire instead, if there are any.
func (a *Authn) DeliverPasswordReset(ctx context.Context, d outbox.Delivery, invite func(ctx context.Context, user id.User) (bool, error)) error {
	email, typed, err := a.typed(d)
	if err != nil {
		return err
	}
	credential, err := a.store.CredentialByEmail(ctx, email)
	if errors.Is(err, fault.NotFound) || err == nil && credential.Disabled {
		return nil
	}
	if err != nil {
		return err
	}
	if bound, err := a.rights.BoundElsewhere(ctx, credential.User); err != nil {
		return err
	} else if len(bound) > 0 {
		return a.tell(ctx, credential.User, mail.SignInElsewhere, bound[0].TenantName)
	}
	if credential.Hash == "" {
		if invited, err := invite(ctx, credential.User); err != nil || invited {
			return err
		}
	}
	return a.sendPasswordReset(ctx, credential.User, typed.Language)
}

// SendPasswordReset sends somebody a link by which they choose a new password:
// they alone learn it. An unused link of before no longer works.
func (a *Authn) SendPasswordReset(ctx context.Context, user id.User) error {
	return a.sendPasswordReset(ctx, user, "")
}

func (a *Authn) sendPasswordReset(ctx context.Context, user id.User, language string) error {
	person, err := a.store.User(ctx, user)
	if err != nil {
		return err
	}
	token := secret.Random("")
	return a.store.InTx(ctx, func(ctx context.Context) error {
		now := a.now()
		link := Link{Purpose: PurposeReset, Subject: string(user), SentTo: directory.Fold(person.Email), Created: now, Expires: now.Add(a.limits.ResetLifetime)}
		if err := a.store.PutLink(ctx, link, token.Hash()); err != nil {
			return err
		}
		if err := a.store.AppendEvent(ctx, audit.New(ctx, now, "", "password_reset.send", "user", string(user), nil)); err != nil {
			return err
		}
		return a.letters.Post(ctx, mail.Letter{
			Kind: mail.PasswordReset, To: person.Email, Name: person.Name.String(), Language: cmp.Or(person.Locale, language),
			Link: a.link("/login/reset", token), Args: []string{strconv.Itoa(int(a.limits.ResetLifetime / time.Minute))},
		})
	})
}

// link is an address of the instance as it is configured, whatever host a request
// was for, with a token that works once.
func (a *Authn) link(path string, token secret.Text) string {
	return a.publicURL + path + "?token=" + url.QueryEscape(token.Reveal())
}

// CheckPasswordReset returns whose password the link would set. It fails with
// fault.NotFound if the token is unknown, used, replaced or expired, and uses
// nothing up.
func (a *Authn) CheckPasswordReset(ctx context.Context, token secret.Text) (id.User, error) {
	link, err := a.store.Link(ctx, PurposeReset, token.Hash(), a.now())
	if err != nil {
		return "", noLinkIfNotFound(err)
	}
	person, err := a.addressee(ctx, link, id.User(link.Subject))
	if err != nil {
		return "", err
	}
	return person.ID, nil
}

// addressee returns the person of a link. It fails with the Code link_gone where
// that was mailed to an address which is no longer the person's: one may be asked
// for just while the address changes.
func (a *Authn) addressee(ctx context.Context, link *Link, user id.User) (*directory.User, error) {
	person, err := a.store.User(ctx, user)
	if err == nil && link.SentTo != "" && link.SentTo != directory.Fold(person.Email) {
		err = &fault.Error{Kind: fault.NotFound}
	}
	return person, noLinkIfNotFound(err)
}

// TakePasswordReset uses the link up, in the transaction in ctx that sets the
// password, and opens an account that failed attempts have closed. It fails as
// CheckPasswordReset does.
func (a *Authn) TakePasswordReset(ctx context.Context, token secret.Text) error {
	link, err := a.store.TakeLink(ctx, PurposeReset, token.Hash(), a.now())
	if err != nil {
		return noLinkIfNotFound(err)
	}
	person, err := a.addressee(ctx, link, id.User(link.Subject))
	if err != nil {
		return err
	}
	return a.store.ForgetAttempts(ctx, accountKey(person.Email)) // who reads the person's mail has shown who they are
}

func noLinkIfNotFound(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "this link is not valid: it was used, replaced by a newer one, or has expired").WithCode("link_gone")
	}
	return err
}

// tell sends a person a notice of what has become of their account, in the
// transaction in ctx.
func (a *Authn) tell(ctx context.Context, user id.User, kind mail.Kind, args ...string) error {
	person, err := a.store.User(ctx, user)
	if err != nil {
		return err
	}
	return a.tellPerson(ctx, person, kind, args...)
}

// tellPerson is tell for somebody who has been looked up. Who has no address is
// told nothing.
func (a *Authn) tellPerson(ctx context.Context, person *directory.User, kind mail.Kind, args ...string) error {
	if person.Email == "" {
		return nil
	}
	return a.letters.Post(ctx, mail.Letter{Kind: kind, To: person.Email, Name: person.Name.String(), Language: person.Locale, Args: args})
}

// nobody takes letters where there is nobody to take them.
type nobody struct{}

func (nobody) Post(context.Context, mail.Letter) error { return nil }
