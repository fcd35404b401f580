package authn

import (
	"context"
	"strings"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
)

// SecondFactors are what a person can be asked for after the password. Recovery
// codes stand in for them and are none themselves.
type SecondFactors struct {
	TOTP     bool // an authenticator app
	Passkeys int
}

// Any reports whether there is one.
func (f SecondFactors) Any() bool { return f.TOTP || f.Passkeys > 0 }

// SecondFactors returns the user's.
func (a *Authn) SecondFactors(ctx context.Context, user id.User) (SecondFactors, error) {
	totp, err := a.HasTOTP(ctx, user)
	if err != nil {
		return SecondFactors{}, err
	}
	passkeys, err := a.store.Passkeys(ctx, user)
	return SecondFactors{TOTP: totp, Passkeys: len(passkeys)}, err
}

// lockFactors has removals of a person's factors wait for one another, so that
// two at once do not each leave what the other takes.
func (a *Authn) lockFactors(ctx context.Context, user id.User) error {
	_, err := a.store.PasskeyHandle(ctx, user, freshHandle())
	return err
}

// factorGone does what follows from the removal of a factor, in the transaction
// in ctx. It fails with fault.Denied where none is left and the named tenants
// demand one.
func (a *Authn) factorGone(ctx context.Context, user id.User, demanding []string) error {
	left, err := a.SecondFactors(ctx, user)
	if err != nil {
		return err
	}
	if !left.Any() {
		if len(demanding) > 0 {
			return fault.New(fault.Denied, "a second factor is required by %s", strings.Join(demanding, ", ")).WithCode("second_factor_required")
		}
		if err := a.store.ReplaceRecoveryCodes(ctx, user, nil); err != nil {
			return err
		}
	}
	return a.RemoveTrustedDevices(ctx, user, factorsChanged)
}

// RemoveSecondFactors takes the user's authenticator app and passkeys, with the
// recovery codes that stand in for them, for one who has lost them. It fails with
// fault.NotFound where there is none.
func (a *Authn) RemoveSecondFactors(ctx context.Context, user id.User) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		keys, err := a.store.DeleteTOTPKeys(ctx, user, "")
		if err != nil {
			return err
		}
		passkeys, err := a.store.DeletePasskeys(ctx, user, "")
		if err != nil {
			return err
		}
		if keys+passkeys == 0 {
			return fault.New(fault.NotFound, "the person has no second factor").WithCode("no_second_factor")
		}
		if err := a.factorGone(ctx, user, nil); err != nil {
			return err
		}
		if err := a.tell(ctx, user, mail.FactorsChanged, a.publicURL); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "second_factor.remove", "user", string(user),
			map[string]any{"authenticator_apps": keys, "passkeys": passkeys}))
	})
}
