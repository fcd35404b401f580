package authn

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// A Passkey is a credential of WebAuthn Level 3 (§4, credential record). What
// the server has of it is public.
type Passkey struct {
	ID             id.Passkey
	User           id.User
	CredentialID   []byte // by which the authenticator knows it
	PublicKey      []byte // COSE_Key
	SignCount      uint32 // at its last use; 0 with authenticators that don't count
	AAGUID         []byte // the authenticator's model, by its own word
	Transports     []string
	Name           string
	BackupEligible bool // may be copied to other devices of the person
	BackedUp       bool // was, at its last use
	Created        time.Time
	LastUsed       time.Time // zero: never
}

// A Challenge is what an authenticator is asked to sign, once.
type Challenge struct {
	Purpose string
	Owner   string // who may answer: a session, a sign-in or a browser
	State   []byte // JSON, what the answer is judged by
	Expires time.Time
}

// Purposes of challenges: an answer to one is none to another.
const (
	challengeAdd          = "add"           // Owner: the session
	challengeSignIn       = "sign_in"       // Owner: the hash of the browser's cookie
	challengeSecondFactor = "second_factor" // Owner: the sign-in
)

// PasskeyStore keeps passkeys, and the challenges that wait for an answer.
type PasskeyStore interface {
	// Passkeys returns the user's, the oldest first.
	Passkeys(ctx context.Context, user id.User) ([]Passkey, error)
	// CreatePasskey fails with fault.Conflict where somebody has the credential.
	CreatePasskey(ctx context.Context, p *Passkey) error
	// UsePasskey stores the count, the backup state and the time of a use. It
	// fails with fault.NotFound where the passkey is gone, or its count is no
	// longer before.
	UsePasskey(ctx context.Context, p *Passkey, before uint32) error
	// RenamePasskey fails with fault.NotFound where the user has no such passkey.
	RenamePasskey(ctx context.Context, user id.User, passkey id.Passkey, name string) error
	// DeletePasskeys removes the user's passkey, or all where passkey is empty,
	// and returns how many went.
	DeletePasskeys(ctx context.Context, user id.User, passkey id.Passkey) (int, error)

	// PasskeyHandle returns what authenticators know the user by, which is fresh
	// where there was nothing, and holds a lock on it.
	PasskeyHandle(ctx context.Context, user id.User, fresh []byte) ([]byte, error)
	// UserByPasskeyHandle fails with fault.NotFound.
	UserByPasskeyHandle(ctx context.Context, handle []byte) (id.User, error)

	CreateChallenge(ctx context.Context, c Challenge, challenge secret.Hash) error
	// TakeChallenge uses a challenge up and returns its state. It fails with
	// fault.NotFound where there is none of that purpose and owner, or it has
	// expired at now: of several callers one succeeds.
	TakeChallenge(ctx context.Context, purpose, owner string, challenge secret.Hash, now time.Time) ([]byte, error)
}

const (
	passkeyHandleLength = 64 // bytes, all that WebAuthn §5.4.3 allows
	maxPasskeys         = 20 // of one person
	maxPasskeyName      = 60 // characters
	challengeLifetime   = 10 * time.Minute
)

// CodeWrongPasskey is the code of the error where a passkey was not accepted.
const CodeWrongPasskey = "wrong_passkey"

// newRelyingParty returns who passkeys are made for: the host of the public URL,
// whatever host a request was for. It is nil where that is no domain, for which
// browsers make none (WebAuthn §5.1.2).
func newRelyingParty(publicURL string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(publicURL)
	if err != nil || u.Hostname() == "" {
		return nil, nil //nolint:nilerr // nobody signs in by pages here
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, nil
	}
	party, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: u.Hostname(), RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		// Some password managers answer more than they were asked.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("passkeys of %s: %w", publicURL, err)
	}
	return party, nil
}

// HasPasskeys reports whether people can have passkeys here: browsers make them
// for domains only, so not where the public URL is that of a network address.
func (a *Authn) HasPasskeys() bool { return a.party != nil }

// holder is a person as the library asks for one.
type holder struct {
	user        id.User
	handle      []byte
	email, name string
	passkeys    []Passkey
}

// WebAuthnID implements webauthn.User.
func (h *holder) WebAuthnID() []byte { return h.handle }

// WebAuthnName implements webauthn.User.
func (h *holder) WebAuthnName() string { return h.email }

// WebAuthnDisplayName implements webauthn.User.
func (h *holder) WebAuthnDisplayName() string { return h.name }

// WebAuthnCredentials implements webauthn.User.
func (h *holder) WebAuthnCredentials() []webauthn.Credential {
	credentials := make([]webauthn.Credential, 0, len(h.passkeys))
	for i := range h.passkeys {
		p := &h.passkeys[i]
		c := webauthn.Credential{
			ID: p.CredentialID, PublicKey: p.PublicKey,
			Flags:         webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: p.BackupEligible, BackupState: p.BackedUp},
			Authenticator: webauthn.Authenticator{AAGUID: p.AAGUID, SignCount: p.SignCount},
		}
		for _, transport := range p.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(transport))
		}
		credentials = append(credentials, c)
	}
	return credentials
}

func freshHandle() []byte {
	fresh := make([]byte, passkeyHandleLength)
	_, _ = rand.Read(fresh) // never fails
	return fresh
}

func (a *Authn) holder(ctx context.Context, user id.User) (*holder, error) {
	person, err := a.store.User(ctx, user)
	if err != nil {
		return nil, err
	}
	h := &holder{user: user, email: person.Email, name: person.Name.String()}
	if h.name == "" {
		h.name = person.Email
	}
	if h.handle, err = a.store.PasskeyHandle(ctx, user, freshHandle()); err != nil {
		return nil, err
	}
	h.passkeys, err = a.store.Passkeys(ctx, user)
	return h, err
}

// keepChallenge stores what the answer is judged by.
func (a *Authn) keepChallenge(ctx context.Context, purpose, owner string, state *webauthn.SessionData) error {
	encoded, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	c := Challenge{Purpose: purpose, Owner: owner, State: encoded, Expires: a.now().Add(challengeLifetime)}
	return a.store.CreateChallenge(ctx, c, secret.NewText(state.Challenge).Hash())
}

// takeChallenge uses the challenge of an answer up, whatever the answer is
// worth. It fails with CodeWrongPasskey where none waits for it.
func (a *Authn) takeChallenge(ctx context.Context, purpose, owner string, answered string) (*webauthn.SessionData, error) {
	encoded, err := a.store.TakeChallenge(ctx, purpose, owner, secret.NewText(answered).Hash(), a.now())
	if errors.Is(err, fault.NotFound) {
		return nil, errWrongPasskey()
	}
	if err != nil {
		return nil, err
	}
	state := &webauthn.SessionData{}
	if err := json.Unmarshal(encoded, state); err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	return state, nil
}

// errWrongPasskey is the one answer for every reason not to accept a passkey.
func errWrongPasskey() error {
	return fault.Field(fault.Unauthenticated, "passkey", "the passkey was not accepted").WithCode(CodeWrongPasskey)
}

// errNoPasskeys is the answer where there can be none.
func errNoPasskeys() error {
	return fault.New(fault.NotFound, "passkeys need a domain in the public URL").WithCode("no_passkeys")
}

// Passkeys returns the user's passkeys, the oldest first.
func (a *Authn) Passkeys(ctx context.Context, user id.User) ([]Passkey, error) {
	return a.store.Passkeys(ctx, user)
}

// BeginPasskey returns what a browser makes a passkey by, as JSON
// (PublicKeyCredentialCreationOptionsJSON, WebAuthn §5.1.8). AddPasskey takes
// the answer, of the same session. It fails with fault.NotFound where
// HasPasskeys is false, and with fault.Conflict where there are too many.
func (a *Authn) BeginPasskey(ctx context.Context, session *Session) ([]byte, error) {
	if a.party == nil {
		return nil, errNoPasskeys()
	}
	h, err := a.holder(ctx, session.User)
	if err != nil {
		return nil, err
	}
	if len(h.passkeys) >= maxPasskeys {
		return nil, fault.New(fault.Conflict, "a person has at most %d passkeys", maxPasskeys).WithCode("too_many_passkeys")
	}
	options, state, err := a.party.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	if err := a.keepChallenge(ctx, challengeAdd, string(session.ID), state); err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

// AddPasskey stores the passkey that a browser made (RegistrationResponseJSON,
// WebAuthn §7.1). name is what the person calls it; empty: its provider's name.
// Somebody who has no recovery codes gets them, to be shown once. It fails with
// fault.Unauthenticated and CodeWrongPasskey where the answer is not one to
// BeginPasskey of this session, and with fault.Invalid and the field name.
func (a *Authn) AddPasskey(ctx context.Context, session *Session, name string, answer []byte) (*Passkey, []secret.Text, error) {
	if a.party == nil {
		return nil, nil, errNoPasskeys()
	}
	if name = strings.TrimSpace(name); name != "" {
		if err := checkPasskeyName(name); err != nil {
			return nil, nil, err
		}
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, nil, errWrongPasskey()
	}
	state, err := a.takeChallenge(ctx, challengeAdd, string(session.ID), parsed.Response.CollectedClientData.Challenge)
	if err != nil {
		return nil, nil, err
	}
	h, err := a.holder(ctx, session.User)
	if err != nil {
		return nil, nil, err
	}
	made, err := a.party.CreateCredential(h, *state, parsed)
	if err != nil {
		a.logger.InfoContext(ctx, "a new passkey was refused", "user", session.User, "error", err)
		return nil, nil, errWrongPasskey()
	}
	p := &Passkey{
		ID: id.New[id.Passkey](), User: session.User, CredentialID: made.ID, PublicKey: made.PublicKey,
		SignCount: made.Authenticator.SignCount, AAGUID: made.Authenticator.AAGUID, Transports: []string{}, Name: name,
		BackupEligible: made.Flags.BackupEligible, BackedUp: made.Flags.BackupState, Created: a.now(),
	}
	for _, transport := range made.Transport {
		p.Transports = append(p.Transports, string(transport))
	}
	if p.Name == "" {
		p.Name = p.defaultName()
	}
	codes, err := a.keepPasskey(ctx, p)
	return p, codes, err
}

func (p *Passkey) defaultName() string {
	if provider := p.Provider(); provider != "" {
		return provider
	}
	return "Passkey"
}

func (a *Authn) keepPasskey(ctx context.Context, p *Passkey) (codes []secret.Text, err error) {
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		err := a.store.CreatePasskey(ctx, p)
		if errors.Is(err, fault.Conflict) {
			return errWrongPasskey()
		}
		if err != nil {
			return err
		}
		left, err := a.store.RecoveryCodes(ctx, p.User)
		if err != nil {
			return err
		}
		if left == 0 {
			if codes, err = a.NewRecoveryCodes(ctx, p.User); err != nil {
				return err
			}
		}
		if err := a.tell(ctx, p.User, mail.PasskeyAdded, a.publicURL, p.Name); err != nil {
			return err
		}
		return a.passkeyEvent(ctx, "passkey.add", p.ID, p.User, map[string]any{
			"name": p.Name, "provider": p.Provider(), "backup_eligible": p.BackupEligible,
		})
	})
	return codes, err
}

func (a *Authn) passkeyEvent(ctx context.Context, action string, passkey id.Passkey, user id.User, detail map[string]any) error {
	detail["user"] = user
	return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", action, "passkey", string(passkey), detail))
}

// PassedPasskey strengthens the session of a person who has just made a passkey
// with it, and returns it with its new cookie.
func (a *Authn) PassedPasskey(ctx context.Context, session *Session, p *Passkey, client Client) (*Session, secret.Text, error) {
	return a.startSession(ctx, proof{user: session.User, amr: withSecondFactor(session.AMR, p.amr()...), via: session.Via}, client)
}

// amr returns the methods that a use of the passkey stands for (RFC 8176 §2).
// That a key is in hardware is concluded from that it can't be copied.
func (p *Passkey) amr() []string {
	key := AMRHardwareKey
	if p.BackupEligible {
		key = AMRSoftwareKey
	}
	return []string{key, AMRUserPresence, AMRMultiFactor}
}

// RenamePasskey gives a passkey the name that its person knows it by. It fails
// with fault.Invalid and the field name, and with fault.NotFound where the user
// has no such passkey.
func (a *Authn) RenamePasskey(ctx context.Context, user id.User, passkey id.Passkey, name string) error {
	name = strings.TrimSpace(name)
	if err := checkPasskeyName(name); err != nil {
		return err
	}
	return a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.store.RenamePasskey(ctx, user, passkey, name); err != nil {
			return err
		}
		return a.passkeyEvent(ctx, "passkey.rename", passkey, user, map[string]any{"name": name})
	})
}

func checkPasskeyName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > maxPasskeyName || !printable(name) {
		return fault.Field(fault.Invalid, "name", "a name has 1 to %d characters", maxPasskeyName)
	}
	return nil
}

// RemovePasskey takes a passkey by its person's own wish. It fails with
// fault.Denied where it is their last second factor and a tenant of theirs
// demands one, which Detail names, and with fault.NotFound.
func (a *Authn) RemovePasskey(ctx context.Context, user id.User, passkey id.Passkey) error {
	return a.removeFactor(ctx, user, func(ctx context.Context) error {
		passkeys, err := a.store.Passkeys(ctx, user)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(passkeys, func(p Passkey) bool { return p.ID == passkey })
		if at < 0 {
			return fault.New(fault.NotFound, "there is no such passkey")
		}
		if _, err := a.store.DeletePasskeys(ctx, user, passkey); err != nil {
			return err
		}
		if err := a.tell(ctx, user, mail.PasskeyRemoved, a.publicURL, passkeys[at].Name); err != nil {
			return err
		}
		return a.passkeyEvent(ctx, "passkey.remove", passkey, user, map[string]any{"name": passkeys[at].Name})
	})
}
