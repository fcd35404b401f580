package authn

import (
	"context"

	"github.com/rolecall/rolecall/internal/id"
)

// A Way is how a person passes the second factor of a sign-in.
type Way string

// The ways. Each is a page of its own, and the texts of the page have its name.
const (
	WayPasskey  Way = "passkey"  // a passkey, for SubmitPasskeyStep
	WayApp      Way = "app"      // a code of an authenticator app
	WayMail     Way = "mail"     // a code that SendMailCode mails
	WayRecovery Way = "recovery" // a recovery code
)

// Trusts reports whether the browser can be trusted after this way. Who has lost
// the app has one recovery code less, and no way around all of them.
func (w Way) Trusts() bool { return w != WayRecovery }

// amr returns the methods (RFC 8176 §2) of a sign-in that passed the second factor
// by a code of this way. A recovery code is neither an "otp", which is computed,
// nor another of the RFC's methods.
func (w Way) amr() []string {
	switch w {
	case WayApp:
		return []string{AMROneTimeCode, AMRMultiFactor}
	case WayMail:
		return []string{AMRMultipleChannels}
	case WayPasskey, WayRecovery:
	}
	return []string{AMRMultiFactor}
}

// wayOf is a way with what decides whether a person can go it.
type wayOf struct {
	way  Way
	open func(ctx context.Context, login *Login) (bool, error)
}

// ways is the one list of them, the one to offer first before the others.
func (a *Authn) ways() []wayOf {
	return []wayOf{
		{WayPasskey, func(ctx context.Context, login *Login) (bool, error) { return a.hasPasskey(ctx, login.User) }},
		{WayApp, func(ctx context.Context, login *Login) (bool, error) { return a.HasTOTP(ctx, login.User) }},
		{WayMail, func(_ context.Context, login *Login) (bool, error) { return login.Mail, nil }},
		{WayRecovery, func(ctx context.Context, login *Login) (bool, error) { return a.hasRecoveryCode(ctx, login.User) }},
	}
}

// Ways returns by which ways the person of a login that waits at StepCode can
// pass the second factor, the one to offer first before the others.
func (a *Authn) Ways(ctx context.Context, login *Login) ([]Way, error) {
	var open []Way
	for _, w := range a.ways() {
		is, err := w.open(ctx, login)
		if err != nil {
			return nil, err
		}
		if is {
			open = append(open, w.way)
		}
	}
	return open, nil
}

func (a *Authn) hasRecoveryCode(ctx context.Context, user id.User) (bool, error) {
	left, err := a.store.RecoveryCodes(ctx, user)
	return left > 0, err
}

func (a *Authn) hasPasskey(ctx context.Context, user id.User) (bool, error) {
	if a.party == nil {
		return false, nil
	}
	passkeys, err := a.store.Passkeys(ctx, user)
	return len(passkeys) > 0, err
}
