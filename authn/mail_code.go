package authn

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
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

// A code by mail is a second factor for who has none, where a tenant demands one
// and takes these, and another way for who has lost the app. It is worth less
// than the other factors: who reads a person's mail can replace the password too.
// So a sign-in by it is no "mfa", and counts as two factors only in tenants that
// take it (Session.ACRAt).

const (
	mailCodeDigits   = 6
	mailCodeTries    = 5
	mailCodeLifetime = 5 * time.Minute
)

// A MailCode is one that was mailed for a sign-in.
type MailCode struct {
	Login   id.Login
	Hash    secret.Hash // keyed: there are too few codes for a plain one to keep them
	Sent    time.Time
	Expires time.Time
}

// MailCodeStore keeps the codes of sign-ins, with which they go.
type MailCodeStore interface {
	// PutMailCode stores a code in place of the sign-in's one before.
	PutMailCode(ctx context.Context, code MailCode) error
	// HasMailCode reports whether the sign-in has a code at now that was tried
	// fewer than most times.
	HasMailCode(ctx context.Context, login id.Login, most int, now time.Time) (bool, error)
	// TryMailCode counts a try and returns the code's hash. It fails with
	// fault.NotFound where HasMailCode is false: of any number of callers, on any
	// nodes, most get it.
	TryMailCode(ctx context.Context, login id.Login, most int, now time.Time) (secret.Hash, error)
}

// SendMailCode mails a new code for a sign-in that waits at StepCode, in place of
// the one before. It fails as Login does, with fault.NotFound and the Code
// no_mail_code where the person can't pass the step by one, and with
// fault.Throttled for a while after each letter.
func (a *Authn) SendMailCode(ctx context.Context, login id.Login, browser secret.Text) error {
	current, err := a.Login(ctx, login, browser)
	if err != nil {
		return err
	}
	if !current.Mail {
		return fault.New(fault.NotFound, "a code by mail is no way to pass this step").WithCode("no_mail_code")
	}
	return a.store.InTx(ctx, func(ctx context.Context) error { return a.mailCode(ctx, current) })
}

// MailCodeSent reports whether a sign-in has a code that can still be entered.
func (a *Authn) MailCodeSent(ctx context.Context, login *Login) (bool, error) {
	return a.store.HasMailCode(ctx, login.ID, mailCodeTries, a.now())
}

// mailCode mails a code for a sign-in that is stored, in the transaction in ctx.
func (a *Authn) mailCode(ctx context.Context, login *Login) error {
	if err := a.try(ctx, mailedKey(login.User), a.limits.MailCodes); err != nil {
		return err
	}
	person, err := a.store.User(ctx, login.User)
	if err != nil {
		return err
	}
	number, _ := rand.Int(rand.Reader, big.NewInt(1_000_000)) // never fails
	code, now := fmt.Sprintf("%0*d", mailCodeDigits, number), a.now()
	err = a.store.PutMailCode(ctx, MailCode{Login: login.ID, Hash: a.hashMailCode(login.ID, person, code), Sent: now, Expires: now.Add(mailCodeLifetime)})
	if err != nil {
		return err
	}
	if err := a.tellPerson(ctx, person, mail.SignInCode, a.publicURL, code, strconv.Itoa(int(mailCodeLifetime/time.Minute))); err != nil {
		return err
	}
	return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "mail_code.send", "user", string(login.User), nil))
}

// mailedKey counts the letters to a person: who guesses passwords fills nobody's
// mailbox, and has few codes to guess.
func mailedKey(user id.User) secret.Hash { return attemptKey("mail-code", string(user)) }

// await stores a sign-in at StepCode, in the transaction in ctx. Who has no other
// way gets a code at once, unless one was sent just before.
func (a *Authn) await(ctx context.Context, login *Login) error {
	login.Step = StepCode
	if err := a.store.CreateLogin(ctx, login, login.browser.Hash()); err != nil || !login.Mail {
		return err
	}
	has, err := a.SecondFactors(ctx, login.User)
	if err != nil || has.Any() {
		return err
	}
	if err := a.mailCode(ctx, login); !errors.Is(err, fault.Throttled) {
		return err
	}
	return nil // the page says how long to wait, when asked for one
}

// useMailCode reports whether that is the code that was mailed for the sign-in, to
// the address that the person still has. It belongs in the transaction that
// completes the sign-in, which uses it up.
func (a *Authn) useMailCode(ctx context.Context, login *Login, person *directory.User, typed string) (bool, error) {
	if !login.Mail {
		return false, nil
	}
	want, err := a.store.TryMailCode(ctx, login.ID, mailCodeTries, a.now())
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !want.Equal(a.hashMailCode(login.ID, person, strings.Join(strings.Fields(typed), ""))) {
		return false, nil
	}
	return true, a.store.ForgetAttempts(ctx, mailedKey(login.User))
}

// hashMailCode ties a code to the sign-in and to the address that it goes to.
func (a *Authn) hashMailCode(login id.Login, person *directory.User, code string) secret.Hash {
	key := a.keyring.Derive("mail code")
	h := hmac.New(sha256.New, key[:])
	for _, part := range []string{string(login), directory.Fold(person.Email)} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // ids and addresses are short
		h.Write([]byte(part))
	}
	h.Write([]byte(code))
	return secret.Hash(h.Sum(nil))
}
