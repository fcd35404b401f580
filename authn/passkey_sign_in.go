package authn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// BeginPasskeySignIn returns what the browser with that cookie asks its
// authenticators for any passkey by, as JSON (PublicKeyCredentialRequestOptionsJSON,
// WebAuthn §5.1.8). SubmitPasskey takes the answer, of the same browser. It fails
// with fault.NotFound where HasPasskeys is false, and with fault.Invalid where
// there is no cookie.
func (a *Authn) BeginPasskeySignIn(ctx context.Context, browser secret.Text) ([]byte, error) {
	if a.party == nil {
		return nil, errNoPasskeys()
	}
	if browser.Empty() {
		return nil, errNoCookie()
	}
	options, state, err := a.party.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	if err := a.keepChallenge(ctx, challengeSignIn, ownerOf(browser), state); err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

// SubmitPasskey judges a passkey as the only factor of a login that StartLogin
// returned (AuthenticationResponseJSON, WebAuthn §7.2), and completes it: who has
// unlocked a passkey has shown two factors. Only a password that must be changed
// comes first, as whoever set it may know it. SubmitPasskey fails with
// fault.Unauthenticated and CodeWrongPasskey alike for every reason not to let the
// person in, and with fault.Throttled; the login is then as it was.
func (a *Authn) SubmitPasskey(ctx context.Context, login *Login, answer []byte, client Client) error {
	if a.party == nil {
		return errNoPasskeys()
	}
	attempts := attemptKey("passkey", client.Address)
	if err := a.try(ctx, attempts, a.limits.Passkeys); err != nil {
		return err
	}
	used, err := a.judgePasskey(ctx, challengeSignIn, ownerOf(login.browser), nil, answer, client)
	if err != nil {
		return a.untryUnlessWrong(ctx, attempts, err)
	}
	credential, err := a.store.CredentialByEmail(ctx, used.email)
	if errors.Is(err, fault.NotFound) {
		credential, err = &Credential{}, nil // a directory has taken the address: there is no password to be changed
	}
	if err != nil {
		return a.untryUnlessWrong(ctx, attempts, err)
	}
	if err := a.refuseBound(ctx, used.passkey.User); err != nil {
		return a.untryUnlessWrong(ctx, attempts, err)
	}
	next := *login
	next.Identifier, next.User, next.AMR = used.email, used.passkey.User, used.passkey.amr()
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.usePasskey(ctx, used); err != nil {
			return err
		}
		if err := a.store.ForgetAttempts(ctx, attempts); err != nil {
			return err
		}
		if credential.MustChange {
			next.Step = StepChange
			return a.store.CreateLogin(ctx, &next, next.browser.Hash())
		}
		return a.complete(ctx, &next, client)
	})
	if err != nil {
		return a.untryUnlessWrong(ctx, attempts, err)
	}
	*login = next
	return nil
}

// BeginPasskeyStep is BeginPasskeySignIn for a login that waits at StepCode: for
// the passkeys of its person. It fails with fault.NotFound as Login does, and
// where the person has none.
func (a *Authn) BeginPasskeyStep(ctx context.Context, login id.Login, browser secret.Text) ([]byte, error) {
	current, err := a.Login(ctx, login, browser)
	if err != nil {
		return nil, err
	}
	if a.party == nil {
		return nil, errNoPasskeys()
	}
	h, err := a.holder(ctx, current.User)
	if err != nil {
		return nil, err
	}
	if len(h.passkeys) == 0 {
		return nil, fault.New(fault.NotFound, "the person has no passkey").WithCode("no_passkeys")
	}
	// The password was right: that the person is there is enough.
	options, state, err := a.party.BeginLogin(h, webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	if err := a.keepChallenge(ctx, challengeSecondFactor, string(login), state); err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

// SubmitPasskeyStep is SubmitCode with a passkey in place of the code. It fails
// with fault.Unauthenticated and CodeWrongPasskey where it is not accepted.
func (a *Authn) SubmitPasskeyStep(ctx context.Context, login id.Login, browser secret.Text, answer []byte, trust bool, client Client) (*Login, error) {
	current, err := a.Login(ctx, login, browser)
	if err != nil {
		return nil, err
	}
	if a.party == nil {
		return nil, errNoPasskeys()
	}
	attempts := attemptKey("passkey-step", string(current.User))
	if err := a.try(ctx, attempts, a.limits.Codes); err != nil {
		return nil, err
	}
	account, err := a.knock(ctx, current.Identifier)
	if err = errors.Join(err, account.wait()); err != nil {
		return nil, a.untry(ctx, attempts, err)
	}
	// A passkey is not guessed: what fails does not count towards the lock-out.
	failed := func(err error) error { return a.untryUnlessWrong(ctx, attempts, a.giveBack(ctx, account, err)) }
	h, err := a.holder(ctx, current.User)
	if err != nil {
		return nil, failed(err)
	}
	used, err := a.judgePasskey(ctx, challengeSecondFactor, string(login), h, answer, client)
	if err != nil {
		return nil, failed(err)
	}
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.usePasskey(ctx, used); err != nil {
			return err
		}
		if err := a.store.ForgetAttempts(ctx, attempts, account.key); err != nil {
			return err
		}
		if err := a.store.TakeLogin(ctx, current.ID); err != nil {
			return noLoginIfNotFound(err)
		}
		current.AMR = withSecondFactor(current.AMR, used.passkey.amr()...)
		if trust && current.TrustFor > 0 {
			if err := a.trustDevice(ctx, current, WayPasskey, client); err != nil {
				return err
			}
		}
		return a.complete(ctx, current, client)
	})
	if err != nil {
		return nil, failed(err)
	}
	return current, nil
}

// untryUnlessWrong gives an attempt back that failed for another reason than the
// passkey, and returns err.
func (a *Authn) untryUnlessWrong(ctx context.Context, attempts secret.Hash, err error) error {
	if fault.As(err).Code == CodeWrongPasskey {
		return err
	}
	return a.untry(ctx, attempts, err)
}

func ownerOf(browser secret.Text) string {
	hash := browser.Hash()
	return fmt.Sprintf("%x", hash[:])
}

// usedPasskey is a passkey as it is after a use, and its count before.
type usedPasskey struct {
	passkey Passkey
	before  uint32
	email   string
}

// usePasskey stores the use in the transaction in ctx that completes the sign-in.
func (a *Authn) usePasskey(ctx context.Context, used *usedPasskey) error {
	err := a.store.UsePasskey(ctx, &used.passkey, used.before)
	if errors.Is(err, fault.NotFound) {
		return errWrongPasskey() // removed, or used elsewhere, at this very moment
	}
	return err
}

// judgePasskey verifies an answer to a challenge of that purpose and owner, by a
// passkey of h, or of whoever it says where h is nil. A refusal is recorded, and
// an error with CodeWrongPasskey.
func (a *Authn) judgePasskey(ctx context.Context, purpose, owner string, h *holder, answer []byte, client Client) (*usedPasskey, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, a.passkeyFailed(ctx, "", causePasskey, client)
	}
	state, err := a.takeChallenge(ctx, purpose, owner, parsed.Response.CollectedClientData.Challenge)
	if fault.As(err).Code == CodeWrongPasskey {
		return nil, a.passkeyFailed(ctx, "", causeChallenge, client)
	}
	if err != nil {
		return nil, err
	}
	var verified *webauthn.Credential
	if h != nil {
		verified, err = a.party.ValidateLogin(h, *state, parsed)
	} else {
		if h, err = a.holderOf(ctx, parsed.Response.UserHandle); err != nil {
			return nil, err
		}
		verified, err = a.party.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil }, *state, parsed)
	}
	found := h.find(parsed.RawID)
	if err != nil || found == nil {
		// A passkey of nobody's, or of somebody else: whose sign-in it was to be is
		// known at the second factor only.
		return nil, a.passkeyFailed(ctx, h.user, causePasskey, client)
	}
	person, err := a.store.User(ctx, found.User)
	if err != nil {
		return nil, err
	}
	if person.Disabled {
		return nil, a.passkeyFailed(ctx, found.User, causeDisabled, client)
	}
	if verified.Authenticator.CloneWarning {
		return nil, a.refuseClone(ctx, found, parsed.Response.AuthenticatorData.Counter, client)
	}
	used := &usedPasskey{passkey: *found, before: found.SignCount, email: person.Email}
	used.passkey.SignCount, used.passkey.BackedUp, used.passkey.LastUsed = verified.Authenticator.SignCount, verified.Flags.BackupState, a.now()
	return used, nil
}

// holderOf returns whose handle that is. Nobody's is a holder of nothing, whom
// no answer fits.
func (a *Authn) holderOf(ctx context.Context, handle []byte) (*holder, error) {
	user, err := a.store.UserByPasskeyHandle(ctx, handle)
	if errors.Is(err, fault.NotFound) {
		return &holder{}, nil
	}
	if err != nil {
		return nil, err
	}
	return a.holder(ctx, user)
}

func (h *holder) find(credential []byte) *Passkey {
	for i := range h.passkeys {
		if string(h.passkeys[i].CredentialID) == string(credential) {
			return &h.passkeys[i]
		}
	}
	return nil
}

// refuseClone records that a passkey has counted back, which the original never
// does (WebAuthn §6.1.1), tells its person, and returns the answer.
func (a *Authn) refuseClone(ctx context.Context, p *Passkey, count uint32, client Client) error {
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.tell(ctx, p.User, mail.PasskeyCloned, a.publicURL, p.Name); err != nil {
			return err
		}
		return a.passkeyEvent(ctx, "passkey.clone_warning", p.ID, p.User, map[string]any{
			"count": count, "last_count": p.SignCount, "address": client.Address, "user_agent": client.userAgent(),
		})
	})
	if err != nil {
		return err
	}
	return a.passkeyFailed(ctx, p.User, causeClone, client)
}

func (a *Authn) passkeyFailed(ctx context.Context, user id.User, cause string, client Client) error {
	if err := a.recordFailure(ctx, user, cause, client); err != nil {
		return err
	}
	return errWrongPasskey()
}
