package authn

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// purposeSetup marks the link that makes the first operator.
const purposeSetup = "setup"

// A SetupForm is what the first operator says about themselves.
type SetupForm struct {
	Email    string
	Given    string
	Family   string
	Password secret.Text
}

// NeedsSetup reports whether the instance has no operator yet.
func (a *Authn) NeedsSetup(ctx context.Context) (bool, error) {
	has, err := a.store.HasOperator(ctx)
	return !has, err
}

// SetupLink returns the token of a new set-up link, which works once, within
// Limits.SetupLifetime, and replaces the one before. It fails with
// fault.Conflict once there is an operator.
func (a *Authn) SetupLink(ctx context.Context) (secret.Text, error) {
	token := secret.Random("")
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.checkNoOperator(ctx); err != nil {
			return err
		}
		now := a.now()
		link := Link{Purpose: purposeSetup, Created: now, Expires: now.Add(a.limits.SetupLifetime)}
		if err := a.store.PutLink(ctx, link, token.Hash()); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "setup_link.create", "link", "", nil))
	})
	if err != nil {
		return secret.Text{}, err
	}
	return token, nil
}

// CheckSetup tells whether the token would be accepted. It fails as
// CompleteSetup does, and uses nothing up.
func (a *Authn) CheckSetup(ctx context.Context, token secret.Text) error {
	if _, err := a.store.Link(ctx, purposeSetup, token.Hash(), a.now()); err != nil {
		return noSetupIfNotFound(err)
	}
	return a.checkNoOperator(ctx)
}

// CompleteSetup makes the first operator and signs them in: it returns the
// session with its cookie. It fails with fault.NotFound if the token is unknown,
// used, replaced or expired, with fault.Invalid and the form's field, and with
// fault.Conflict if the address is taken or there is an operator.
func (a *Authn) CompleteSetup(ctx context.Context, token secret.Text, form SetupForm, client Client) (*Session, secret.Text, error) {
	// Hashing a password is work that only a holder of the link may ask for.
	if err := a.CheckSetup(ctx, token); err != nil {
		return nil, secret.Text{}, err
	}
	operator, err := a.operatorOf(form)
	if err != nil {
		return nil, secret.Text{}, err
	}
	prepared, err := preparePassword(form.Password, operator.Email)
	if err != nil {
		return nil, secret.Text{}, err
	}
	if err := a.checkGuessable(prepared.Reveal(), operator); err != nil {
		return nil, secret.Text{}, err
	}
	hash, err := a.hasher.hash(ctx, prepared)
	if err != nil {
		return nil, secret.Text{}, err
	}
	var session *Session
	var cookie secret.Text
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		now := a.now()
		if _, err := a.store.TakeLink(ctx, purposeSetup, token.Hash(), now); err != nil {
			return noSetupIfNotFound(err)
		}
		if err := a.checkNoOperator(ctx); err != nil {
			return err
		}
		if err := a.store.CreateUser(ctx, operator); err != nil {
			return err
		}
		if err := a.store.PutPasswordHash(ctx, operator.ID, hash, now); err != nil {
			return err
		}
		ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(operator.ID)})
		if err := a.store.AppendEvent(ctx, audit.New(ctx, now, "", "setup.complete", "user", string(operator.ID), nil)); err != nil {
			return err
		}
		session, cookie, err = a.startSession(ctx, proof{user: operator.ID, amr: []string{AMRPassword}}, client)
		return err
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return session, cookie, nil
}

func (a *Authn) checkNoOperator(ctx context.Context) error {
	has, err := a.store.HasOperator(ctx)
	if err != nil {
		return err
	}
	if has {
		return fault.New(fault.Conflict, "the instance has an operator already; sign in as one").WithCode("operator_exists")
	}
	return nil
}

func (a *Authn) operatorOf(form SetupForm) (*directory.User, error) {
	email, err := parseAddress("email", form.Email)
	if err != nil {
		return nil, err
	}
	name, err := nameOf(form.Given, form.Family)
	if err != nil {
		return nil, err
	}
	now := a.now()
	return &directory.User{
		ID: id.New[id.User](), Email: email, EmailVerified: true, // by the operator's word
		Name: name, Operator: true, Version: 1, Created: now, Modified: now,
	}, nil
}

// Bounds of what a person says about themselves, in bytes (RFC 5321 §4.5.3.1
// for the address).
const (
	maxEmail = 254
	maxName  = 100
)

// printable reports whether s is valid text without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func noSetupIfNotFound(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "this set-up link is not valid: it was used, replaced by a newer one, or has expired")
	}
	return err
}
