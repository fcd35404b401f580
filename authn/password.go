package authn

import (
	"context"
	"errors"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// Bounds of a password, in characters (NIST SP 800-63B §5.1.1.2).
const (
	MinPassword = 8
	MaxPassword = 256
)

var _ directory.Passwords = (*Authn)(nil)

// HasPassword implements directory.Passwords.
func (a *Authn) HasPassword(ctx context.Context, user id.User) (bool, error) {
	_, err := a.store.PasswordHash(ctx, user)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// SetPassword implements directory.Passwords. Setting the same password again
// changes nothing. It fails as NewPassword does.
func (a *Authn) SetPassword(ctx context.Context, user id.User, password secret.Text) error {
	next, err := a.newPassword(ctx, user, password)
	if err != nil || next.same {
		return err
	}
	return a.PutPassword(ctx, next)
}

// A NewPassword is a password that may be set, and is hashed.
type NewPassword struct {
	user id.User
	hash string
	same bool   // as the one that is set
	old  string // the hash of the one before, which somebody may miss; empty: there was none
	keep int    // how many old hashes are kept
}

// NewPassword does the work of setting a password that needs no database to be
// locked meanwhile. It fails with fault.Invalid and the field password where the
// password does not have 8 to 256 characters, holds others than text has, is
// among the most common ones or little more than a name of the person, of their
// tenants or of this server, is less than a tenant of theirs asks for, or was
// used before.
func (a *Authn) NewPassword(ctx context.Context, user id.User, password secret.Text) (NewPassword, error) {
	next, err := a.newPassword(ctx, user, password)
	if err != nil || !next.same {
		return next, err
	}
	policy, err := a.rights.PasswordPolicy(ctx, user)
	if err == nil && policy.History > 0 {
		err = errUsedBefore()
	}
	return next, err
}

func (a *Authn) newPassword(ctx context.Context, user id.User, password secret.Text) (NewPassword, error) {
	person, err := a.store.User(ctx, user)
	if err != nil {
		return NewPassword{}, err
	}
	prepared, err := preparePassword(password, person.Email)
	if err != nil {
		return NewPassword{}, err
	}
	next := NewPassword{user: user}
	next.old, err = a.store.PasswordHash(ctx, user)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return NewPassword{}, err
	}
	if next.old != "" {
		if next.same, err = a.hasher.verify(ctx, prepared, next.old); err != nil || next.same {
			return next, err // good enough when it was set
		}
	}
	policy, err := a.rights.PasswordPolicy(ctx, user)
	if err != nil {
		return NewPassword{}, err
	}
	if err := a.checkGuessable(prepared.Reveal(), person, policy.Words...); err != nil {
		return NewPassword{}, err
	}
	for _, asked := range policy.Each {
		if err := asked.Check(prepared.Reveal()); err != nil {
			return NewPassword{}, err
		}
	}
	next.keep = max(policy.History-1, 0) // the one in force is the first of them
	if err := a.checkHistory(ctx, user, prepared, next.keep); err != nil {
		return NewPassword{}, err
	}
	next.hash, err = a.hasher.hash(ctx, prepared)
	return next, err
}

// PutPassword sets the password and ends the user's sessions, in the transaction
// in ctx if there is one.
func (a *Authn) PutPassword(ctx context.Context, next NewPassword) error {
	if next.same {
		return nil
	}
	return a.store.InTx(ctx, func(ctx context.Context) error {
		now := a.now()
		if err := a.store.PutPasswordHash(ctx, next.user, next.hash, now); err != nil {
			return err
		}
		if err := a.store.KeepOldPassword(ctx, next.user, next.old, now, next.keep); err != nil {
			return err
		}
		if _, err := a.endSessions(ctx, next.user, endedByPasswordChange); err != nil {
			return err
		}
		follow := func() error { return a.firstPassword(ctx, next.user) }
		if next.old != "" {
			follow = func() error { return a.tell(ctx, next.user, mail.PasswordChanged, a.publicURL) }
		}
		if err := follow(); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "password.change", "user", string(next.user), nil))
	})
}

// CheckPassword asks a person who is signed in for their password. It fails with
// fault.Invalid and the field current_password where it is missing or wrong, and
// with fault.Throttled.
func (a *Authn) CheckPassword(ctx context.Context, user id.User, password secret.Text) error {
	const field = "current_password"
	if password.Empty() {
		return fault.Field(fault.Invalid, field, "the current password is missing").WithCode("missing")
	}
	key := attemptKey("current-password", string(user))
	if err := a.try(ctx, key, a.limits.Passwords); err != nil {
		return err
	}
	hash, err := a.store.PasswordHash(ctx, user)
	if errors.Is(err, fault.NotFound) {
		return a.untry(ctx, key, fault.Field(fault.Invalid, field, "there is no password yet").WithCode("no_password"))
	}
	if err != nil {
		return a.untry(ctx, key, err)
	}
	normalized, _ := normalizePassword(password)
	right, err := a.hasher.verify(ctx, normalized, hash)
	if err != nil {
		return a.untry(ctx, key, err)
	}
	if !right {
		return fault.Field(fault.Invalid, field, "the current password is wrong").WithCode("wrong")
	}
	return a.store.ForgetAttempts(ctx, key)
}

// preparePassword checks a new password and brings it into the form that is
// hashed. It fails with fault.Invalid and the field password.
func preparePassword(password secret.Text, address string) (secret.Text, error) {
	const field = "password"
	prepared, ok := normalizePassword(password)
	if !ok {
		return secret.Text{}, fault.Field(fault.Invalid, field, "the password must be text without control characters").WithCode("characters")
	}
	switch n := utf8.RuneCountInString(prepared.Reveal()); {
	case n < MinPassword:
		return secret.Text{}, fault.Field(fault.Invalid, field, "the password has %d characters, want at least %d", n, MinPassword).WithCode("too_short")
	case n > MaxPassword:
		return secret.Text{}, fault.Field(fault.Invalid, field, "the password has more than %d characters", MaxPassword).WithCode("too_long")
	}
	if directory.Fold(prepared.Reveal()) == directory.Fold(address) {
		return secret.Text{}, fault.Field(fault.Invalid, field, "the password must not be the e-mail address").WithCode("same_as_email")
	}
	return prepared, nil
}

// normalizePassword makes a password the same whatever the keyboard composed
// it of (RFC 8265 §4.2, OpaqueString).
func normalizePassword(password secret.Text) (normalized secret.Text, ok bool) {
	if len(password.Reveal()) > utf8.UTFMax*MaxPassword {
		return secret.Text{}, false
	}
	text, err := precis.OpaqueString.String(password.Reveal())
	if err != nil {
		return secret.Text{}, false
	}
	return secret.NewText(text), true
}

// Causes of a failed sign-in, for the audit trail only.
const (
	causeUnknown    = "unknown_user"
	causeNoPassword = "no_password"
	causePassword   = "wrong_password"
	causeDisabled   = "disabled"
	causeCode       = "wrong_code"
	causePasskey    = "wrong_passkey"
	causeChallenge  = "wrong_challenge" // unknown, another's, answered or expired
	causeClone      = "passkey_clone"
)

// nobodysIfUnfit returns the identifier, or nobody's where it is not fit for a
// database.
func nobodysIfUnfit(identifier string) string {
	if len(identifier) > maxEmail || !printable(identifier) {
		return ""
	}
	return identifier
}

// checkPassword judges a password and does the same work whether or not the
// user exists. cause is empty where the password is right.
func (a *Authn) checkPassword(ctx context.Context, identifier string, password secret.Text) (found Credential, cause string, err error) {
	credential, err := a.store.CredentialByEmail(ctx, nobodysIfUnfit(identifier))
	switch {
	case errors.Is(err, fault.NotFound):
		cause = causeUnknown
	case err != nil:
		return Credential{}, "", err
	default:
		found = *credential
	}
	if cause == "" && found.Hash == "" {
		cause = causeNoPassword
	}
	hash := found.Hash
	if hash == "" {
		hash = a.hasher.dummy
	}
	normalized, _ := normalizePassword(password)
	right, err := a.hasher.verify(ctx, normalized, hash)
	if err != nil {
		return Credential{}, "", err
	}
	switch {
	case cause != "":
	case !right:
		cause = causePassword
	case found.Disabled:
		cause = causeDisabled
	}
	return found, cause, nil
}

// refreshHash hashes a password that was just proven anew where the parameters
// have changed. A failure is logged only: the sign-in is right all the same.
func (a *Authn) refreshHash(ctx context.Context, credential Credential, password secret.Text) {
	if a.hasher.current(credential.Hash) {
		return
	}
	normalized, _ := normalizePassword(password)
	hash, err := a.hasher.hash(ctx, normalized)
	if err == nil {
		// Compare and set: a password that was changed meanwhile stays.
		_, err = a.store.SwapPasswordHash(ctx, credential.User, credential.Hash, hash)
	}
	if err != nil {
		a.logger.WarnContext(ctx, "password hash not refreshed", "error", err)
	}
}
