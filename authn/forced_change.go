package authn

import (
	"context"
	"crypto/rand"
	"math/big"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// LoginAtChange returns a sign-in that waits at StepChange. It fails as Login
// does.
func (a *Authn) LoginAtChange(ctx context.Context, login id.Login, browser secret.Text) (*Login, error) {
	return a.loginAt(ctx, login, browser, StepChange)
}

// A ForcedChange is a sign-in at StepChange with the password that is to be set.
type ForcedChange struct {
	login *Login
	next  NewPassword
	asks  bool // for a second factor
}

// User is who signs in.
func (c *ForcedChange) User() id.User { return c.login.User }

// ForcedChange does the work of a forced change that needs no database to be
// locked meanwhile. It fails as LoginAtChange and NewPassword do, and with the Code
// used_before for the password that is to be changed.
func (a *Authn) ForcedChange(ctx context.Context, login id.Login, browser, password secret.Text) (*ForcedChange, error) {
	current, err := a.LoginAtChange(ctx, login, browser)
	if err != nil {
		return nil, err
	}
	current.browser = browser
	change := &ForcedChange{login: current}
	if change.next, err = a.newPassword(ctx, current.User, password); err != nil {
		return nil, err
	}
	if change.next.same {
		return nil, errUsedBefore()
	}
	if !slices.Contains(current.AMR, AMRMultiFactor) { // a passkey has been both
		change.asks, err = a.asksSecondFactor(ctx, current)
	}
	return change, err
}

// CompleteForcedChange sets the password, in the transaction in ctx, and moves
// the sign-in on: to StepCode under another id, or to StepDone. It fails with
// fault.NotFound where the sign-in has moved on meanwhile.
func (a *Authn) CompleteForcedChange(ctx context.Context, change *ForcedChange, client Client) (*Login, error) {
	next := *change.login
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(next.User)})
	if err := a.store.TakeLogin(ctx, next.ID); err != nil {
		return nil, noLoginIfNotFound(err)
	}
	if err := a.PutPassword(ctx, change.next); err != nil {
		return nil, err
	}
	next.ID = id.New[id.Login]()
	if change.asks {
		return &next, a.await(ctx, &next)
	}
	return &next, a.complete(ctx, &next, client)
}

// PreparePassword implements directory.Credentials.
func (a *Authn) PreparePassword(ctx context.Context, user id.User, password secret.Text) (directory.PreparedPassword, error) {
	if password.Empty() {
		password = generatePassword()
	}
	next, err := a.NewPassword(ctx, user, password)
	if err != nil {
		return directory.PreparedPassword{}, err
	}
	return directory.PreparedPassword{
		Text: password,
		Put: func(ctx context.Context, mustChange bool) error {
			if err := a.PutPassword(ctx, next); err != nil || !mustChange {
				return err
			}
			return a.RequirePasswordChange(ctx, user)
		},
	}, nil
}

// RequirePasswordChange implements directory.Credentials.
func (a *Authn) RequirePasswordChange(ctx context.Context, user id.User) error {
	return a.store.RequirePasswordChange(ctx, user)
}

// Instruct implements directory.Credentials.
func (a *Authn) Instruct(ctx context.Context, i directory.Instructions) error {
	person, err := a.store.User(ctx, i.User)
	if err != nil {
		return err
	}
	to := i.To
	if to == "" {
		to = person.Email
	}
	if person.Email == "" {
		return fault.Field(fault.Conflict, "member", "the member has no address to sign in with").WithCode("no_address")
	}
	letter := mail.Letter{
		Kind: mail.SignInInstructions, To: to, Name: person.Name.String(), Language: person.Locale, Link: a.publicURL + "/login",
		Args: []string{i.Name, person.Email, i.Password.Reveal()},
	}
	if i.Password.Empty() {
		letter.Kind = mail.SignInInstructionsAccount
	}
	if err := a.postFor(ctx, i.Tenant, letter); err != nil || i.CopyTo == "" {
		return err
	}
	copied, err := a.store.User(ctx, i.CopyTo)
	if err != nil {
		return err
	}
	if copied.Email == "" {
		return fault.Field(fault.Invalid, "copy_to_me", "you have no e-mail address to send a copy to")
	}
	// The password is for one reader.
	return a.postFor(ctx, i.Tenant, mail.Letter{
		Kind: mail.SignInInstructionsCopy, To: copied.Email, Name: copied.Name.String(), Language: copied.Locale, Args: []string{i.Name, person.Email, to},
	})
}

// The letters and digits of generated passwords: none is taken for another.
const (
	generatedUpper  = "ABCDEFGHJKLMNPQRTUVWXY"
	generatedLower  = "abcdefghjkmnpqrstuvwxy"
	generatedDigits = "23456789"
	generatedGroups = 5
)

// generatePassword returns a password of 80 random bits with five capitals, ten
// other letters, five digits and four hyphens, such as Kbt4-Rwm7-Hqz2-Nfd9-Tgx3.
func generatePassword() secret.Text {
	groups := make([]string, generatedGroups)
	for i := range groups {
		groups[i] = oneOf(generatedUpper) + oneOf(generatedLower) + oneOf(generatedLower) + oneOf(generatedDigits)
	}
	return secret.NewText(strings.Join(groups, "-"))
}

func oneOf(letters string) string {
	n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(letters)))) // never fails
	return string(letters[n.Int64()])
}
