package authn

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// An account closes for a while after so many failed attempts in a row, of
// passwords and codes together, where a role system of one of the person's
// tenants says so. It closes silently: at the password the answer is that of a
// wrong one, whatever is typed, so that nobody learns from it who has an account.
// The person learns it by mail. Who has come to the code knows the password, and
// is told how long to wait.

const (
	failuresKept  = time.Hour      // after the last of them
	closingsTold  = 24 * time.Hour // one letter for all closings in it
	causeClosed   = "closed"
	codeClosed    = "account_closed"
	subjectClosed = "account"
)

// A knock is an attempt on an account.
type knock struct {
	key    secret.Hash
	rule   authz.Lockout
	closed time.Duration // for how long the account is closed still; 0: it was open
	closes time.Duration // for how long it closes if this attempt fails; 0: it does not
}

// accountKey names the count of an account's failures. Addresses that nobody has
// are counted alike.
func accountKey(email string) secret.Hash { return attemptKey(subjectClosed, directory.Fold(email)) }

// knock takes an attempt on the account of an address. It counts as failed until
// it is given back or the failures are forgotten, so that a hundred at once are a
// hundred. It does the same work whosever the address is.
func (a *Authn) knock(ctx context.Context, email string) (knock, error) {
	rule, err := a.rights.Lockout(ctx, email)
	if err != nil {
		return knock{}, err
	}
	now, k := a.now(), knock{key: accountKey(email), rule: rule}
	err = a.store.UpdateAttempts(ctx, k.key, now, func(attempts *Attempts) error {
		if k.closed = max(attempts.BlockedUntil.Sub(now), 0); k.closed > 0 {
			return nil // guesses do not keep it closed
		}
		if closes(rule, attempts.Failures) {
			attempts.Failures = 0 // it was closed, and is open again
		}
		attempts.Failures++
		attempts.BlockedUntil, attempts.Expires = time.Time{}, now.Add(failuresKept) // as in try
		if closes(rule, attempts.Failures) {
			k.closes = rule.For
			attempts.BlockedUntil, attempts.Expires = now.Add(rule.For), now.Add(rule.For+failuresKept)
		}
		return nil
	})
	return k, err
}

func closes(rule authz.Lockout, failures int) bool {
	return rule.Attempts > 0 && failures >= rule.Attempts
}

// giveBack gives back an attempt that did not fail, but completed no sign-in
// either, and returns err.
func (a *Authn) giveBack(ctx context.Context, k knock, err error) error {
	if k.closed > 0 {
		return err // it was not counted
	}
	ctx, now := context.WithoutCancel(ctx), a.now()
	return errors.Join(err, a.store.UpdateAttempts(ctx, k.key, now, func(attempts *Attempts) error {
		attempts.Failures = max(attempts.Failures-1, 0)
		if !closes(k.rule, attempts.Failures) {
			attempts.BlockedUntil = time.Time{}
		}
		return nil
	}))
}

// wait returns the error for somebody who knows the password of a closed account.
func (k knock) wait() error {
	if k.closed == 0 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Throttled, Code: codeClosed, RetryAfter: k.closed,
		Detail: "the account is closed for a while after failed attempts",
	}
}

// closeAccount records that the last attempt has closed an account, in the
// transaction in ctx, and tells its person once a day at the most.
func (a *Authn) closeAccount(ctx context.Context, user id.User, k knock, client Client) error {
	if k.closes == 0 || user == "" {
		return nil
	}
	now := a.now()
	err := a.store.AppendEvent(ctx, audit.New(ctx, now, "", "account.close", "user", string(user),
		map[string]any{"until": now.Add(k.closes), "address": client.Address, "user_agent": client.userAgent()}))
	if err != nil {
		return err
	}
	told := false
	err = a.store.UpdateAttempts(ctx, attemptKey("account-closed-letter", string(user)), now, func(letters *Attempts) error {
		if told = letters.Failures > 0; told {
			return nil
		}
		*letters = Attempts{Failures: 1, BlockedUntil: now, Expires: now.Add(closingsTold)}
		return nil
	})
	if err != nil || told {
		return err
	}
	minutes := max(int(k.closes/time.Minute), 1)
	return a.tell(ctx, user, mail.AccountClosed, a.publicURL, strconv.Itoa(minutes))
}

// ClosedUntil returns until when the user's account is closed after failed
// attempts, the zero time where it is open.
func (a *Authn) ClosedUntil(ctx context.Context, user id.User) (time.Time, error) {
	person, err := a.store.User(ctx, user)
	if err != nil || person.Email == "" {
		return time.Time{}, err
	}
	now := a.now()
	attempts, err := a.store.Attempts(ctx, accountKey(person.Email), now)
	if err != nil || !attempts.BlockedUntil.After(now) {
		return time.Time{}, err
	}
	return attempts.BlockedUntil, nil
}
