package authn

import (
	"context"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
)

// SecondFactors are what a person can be asked for after the password. Recovery
// codes stand in for them and are none themselves.
type SecondFactors struct {
	TOTP          bool // an authenticator app
	Passkeys      int
	RecoveryCodes int // that are left
}

// Any reports whether there is one.
func (f SecondFactors) Any() bool { return f.TOTP || f.Passkeys > 0 }

// SecondFactors returns the user's.
func (a *Authn) SecondFactors(ctx context.Context, user id.User) (SecondFactors, error) {
	return a.store.SecondFactors(ctx, user)
}

// HasSecondFactor implements directory.Credentials.
func (a *Authn) HasSecondFactor(ctx context.Context, user id.User) (bool, error) {
	has, err := a.SecondFactors(ctx, user)
	return has.Any(), err
}

// lockFactors has removals of a person's factors wait for one another, so that
// two at once do not each leave what the other takes.
func (a *Authn) lockFactors(ctx context.Context, user id.User) error {
	_, err := a.store.PasskeyHandle(ctx, user, freshHandle())
	return err
}

// removeFactor has remove take a factor by its person's own wish, in one
// transaction with what follows from that. It fails with fault.Denied where it is
// their last one and a tenant of theirs demands one, which Detail names.
func (a *Authn) removeFactor(ctx context.Context, user id.User, remove func(ctx context.Context) error) error {
	demanding, _, err := a.rights.SecondFactorAt(ctx, user)
	if err != nil {
		return err
	}
	return a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.lockFactors(ctx, user); err != nil {
			return err
		}
		if err := remove(ctx); err != nil {
			return err
		}
		return a.factorGone(ctx, user, demanding)
	})
}

// DemandedError is the cause of a refusal to remove the last second factor.
type DemandedError struct {
	By []string // names of the tenants that demand one
}

// Error implements error. Its text is for logs.
func (e *DemandedError) Error() string { return "demanded by " + strings.Join(e.By, ", ") }

// factorGone does what follows from the removal of a factor, in the transaction
// in ctx. It fails with fault.Denied where none is left and tenants demand one,
// which for who has an address may be codes by mail.
func (a *Authn) factorGone(ctx context.Context, user id.User, demanding []directory.SecondFactorDemand) error {
	left, err := a.SecondFactors(ctx, user)
	if err != nil {
		return err
	}
	if !left.Any() {
		person, err := a.store.User(ctx, user)
		if err != nil {
			return err
		}
		var missed []string
		for _, demand := range demanding {
			if !demand.MailCodes || person.Email == "" {
				missed = append(missed, demand.Tenant)
			}
		}
		if len(missed) > 0 {
			denied := fault.New(fault.Denied, "a second factor is required by %s", strings.Join(missed, ", ")).WithCode("second_factor_required")
			denied.Err = &DemandedError{By: missed}
			return denied
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
