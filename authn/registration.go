package authn

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// purposeRegistration marks the link by which somebody who registers shows that
// the address is theirs. Its subject is the tenant and the address.
const purposeRegistration = "registration"

// registrationLifetime is for how long that link works.
const registrationLifetime = 24 * time.Hour

// RequestRegistration has the owner of an address written to, by which somebody
// wants to become a member of a tenant, by DeliverRegistration. request is the
// application's that led there; empty: none. RequestRegistration says the same
// whether the address is anybody's or not. It fails with fault.Invalid and the
// field email, and with fault.Throttled.
func (a *Authn) RequestRegistration(ctx context.Context, tenant id.Tenant, email string, request id.AuthorizationRequest, client Client) error {
	return a.writeLater(ctx, outbox.Registration, "email", email, typedAddress{Tenant: tenant, Request: request}, client)
}

// DeliverRegistration has write, which is directory's, write to the owner of the
// address what comes next.
func (a *Authn) DeliverRegistration(ctx context.Context, d outbox.Delivery, write func(ctx context.Context, l directory.RegistrantLetter) error) error {
	email, typed, err := a.typed(d)
	if err != nil {
		return err
	}
	return write(ctx, directory.RegistrantLetter{Tenant: typed.Tenant, Email: email, Language: typed.Language, Request: typed.Request})
}

// WriteToRegistrant implements directory.Credentials. An unused link of before no
// longer works.
func (a *Authn) WriteToRegistrant(ctx context.Context, l directory.RegistrantLetter) error {
	letter := mail.Letter{To: l.Email, Name: l.Name, Language: l.Language, Args: []string{l.At}}
	switch l.Stage {
	case directory.RegistrantIsMember:
		letter.Kind, letter.Link = mail.RegistrationMember, a.publicURL+"/login"
	case directory.RegistrantApproved:
		letter.Kind, letter.Link = mail.RegistrationApproved, a.publicURL+"/login"
	case directory.RegistrantRefused:
		letter.Kind = mail.RegistrationRefused
	case directory.RegistrantConfirms:
		return a.store.InTx(ctx, func(ctx context.Context) error {
			token, now := secret.Random(""), a.now()
			link := Link{Purpose: purposeRegistration, Subject: string(l.Tenant) + " " + directory.Fold(l.Email), Created: now, Expires: now.Add(registrationLifetime)}
			if err := a.store.PutLink(ctx, link, token.Hash()); err != nil {
				return err
			}
			letter.Kind, letter.Link = mail.Registration, a.link("/login/registration", token)
			if l.Request != "" {
				letter.Link += "&request=" + url.QueryEscape(string(l.Request))
			}
			letter.Args = append(letter.Args, strconv.Itoa(int(registrationLifetime/time.Hour)))
			return a.postFor(ctx, l.Tenant, letter)
		})
	}
	return a.postFor(ctx, l.Tenant, letter)
}

// CheckRegistration returns who the link is for: the tenant, the address and, if
// somebody has that, the user. It fails with fault.NotFound if the token is unknown,
// used, replaced or expired, and uses nothing up.
func (a *Authn) CheckRegistration(ctx context.Context, token secret.Text) (*directory.Registrant, error) {
	link, err := a.store.Link(ctx, purposeRegistration, token.Hash(), a.now())
	if err != nil {
		return nil, noLinkIfNotFound(err)
	}
	tenant, email, _ := strings.Cut(link.Subject, " ")
	r := &directory.Registrant{Tenant: id.Tenant(tenant), Email: email}
	credential, err := a.store.CredentialByEmail(ctx, email)
	if errors.Is(err, fault.NotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.User = credential.User
	return r, nil
}

// A RegistrationForm is what somebody says of themselves who is nobody's user
// yet.
type RegistrationForm struct {
	Given    string
	Family   string
	Password secret.Text
	// Address is of somebody who has a user too, where the tenant asks for one.
	Address directory.PostalAddress
}

// CompleteRegistration uses the link up and makes its owner a member by register,
// which is directory's, in one transaction. Who had no user gets one with the
// password, and is signed in, with a session and its cookie, where the membership
// lets them: session is nil for everybody else, who signs in as ever. It fails as
// CheckRegistration and register do, and with fault.Invalid and the form's field.
func (a *Authn) CompleteRegistration(
	ctx context.Context, token secret.Text, form RegistrationForm, client Client, register func(context.Context, directory.Registrant) (*directory.Membership, error),
) (m *directory.Membership, session *Session, cookie secret.Text, err error) {
	r, err := a.CheckRegistration(ctx, token)
	if err != nil {
		return nil, nil, cookie, err
	}
	r.Address = form.Address
	var next NewPassword
	if r.User == "" {
		if r.Name, err = nameOf(form.Given, form.Family); err != nil {
			return nil, nil, cookie, err
		}
		r.Language = client.Language
		if next, err = a.passwordOfRegistrant(ctx, r, form.Password); err != nil {
			return nil, nil, cookie, err
		}
	}
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		if _, err := a.store.TakeLink(ctx, purposeRegistration, token.Hash(), a.now()); err != nil {
			return noLinkIfNotFound(err)
		}
		if m, err = register(ctx, *r); err != nil || r.User != "" {
			return err
		}
		ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(m.User)})
		next.user = m.User
		if err := a.PutPassword(ctx, next); err != nil {
			return err
		}
		if m.Status == directory.StatusActive {
			session, cookie, err = a.startSession(ctx, proof{user: m.User, amr: []string{AMRPassword}}, client)
		}
		return err
	})
	return m, session, cookie, err
}

// passwordOfRegistrant is NewPassword for somebody who is no user yet.
func (a *Authn) passwordOfRegistrant(ctx context.Context, r *directory.Registrant, password secret.Text) (NewPassword, error) {
	prepared, err := preparePassword(password, r.Email)
	if err != nil {
		return NewPassword{}, err
	}
	policy, err := a.rights.PasswordPolicyAt(ctx, r.Tenant)
	if err != nil {
		return NewPassword{}, err
	}
	if err := a.checkGuessable(prepared.Reveal(), &directory.User{Email: r.Email, Name: r.Name}, policy.Words...); err != nil {
		return NewPassword{}, err
	}
	for _, asked := range policy.Each {
		if err := asked.Check(prepared.Reveal()); err != nil {
			return NewPassword{}, err
		}
	}
	hash, err := a.hasher.hash(ctx, prepared)
	return NewPassword{hash: hash, keep: max(policy.History-1, 0)}, err
}

// nameOf returns what a person is called. It fails with fault.Invalid and the
// field given or family.
func nameOf(given, family string) (directory.Name, error) {
	name := directory.Name{Given: strings.TrimSpace(given), Family: strings.TrimSpace(family)}
	for _, part := range []struct{ field, text string }{{"given", name.Given}, {"family", name.Family}} {
		if part.text == "" || len(part.text) > maxName || !printable(part.text) {
			return directory.Name{}, fault.Field(fault.Invalid, part.field, "the name must have 1 to %d bytes and no control characters", maxName)
		}
	}
	return name, nil
}
