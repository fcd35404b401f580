package authn

import (
	"context"

	"github.com/rolecall/rolecall/internal/secret"
)

// TryRegistrant counts a token of no application and of nobody who may register
// one, by the network address that it comes from. It fails with fault.Throttled.
func (a *Authn) TryRegistrant(ctx context.Context, client Client) error {
	return a.try(ctx, attemptKey("registrant", client.Address), a.limits.Registrants)
}

// TryRegistration takes an attempt to register an application, or to change it, by
// the token of that hash. It counts as failed until RegistrationDone is called. It
// fails with fault.Throttled.
func (a *Authn) TryRegistration(ctx context.Context, token secret.Hash) error {
	return a.try(ctx, registrationKey(token), a.limits.Registrations)
}

// RegistrationDone gives the attempt back.
func (a *Authn) RegistrationDone(ctx context.Context, token secret.Hash) error {
	return a.untry(ctx, registrationKey(token), nil)
}

func registrationKey(token secret.Hash) secret.Hash {
	return attemptKey("registration", string(token[:]))
}
