package authn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	virtual "github.com/descope/virtualwebauthn"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

var site = virtual.RelyingParty{ID: "id.example", Name: "id.example", Origin: "https://id.example"}

// postbox keeps what people are told.
type postbox struct{ letters []mail.Letter }

func (p *postbox) Post(_ context.Context, l mail.Letter) error {
	p.letters = append(p.letters, l)
	return nil
}

func (p *postbox) kinds() (kinds []mail.Kind) {
	for _, l := range p.letters {
		kinds = append(kinds, l.Kind)
	}
	return kinds
}

// withPasskeys gives the fixture a public URL that people can have passkeys for.
func (f *fixture) withPasskeys(t *testing.T, rights authn.Rights) *postbox {
	t.Helper()
	keyring, err := secret.NewKeyring(make([]byte, 32))
	must(t, err)
	letters := &postbox{}
	f.Authn, err = authn.New(authn.Deps{
		Store: f.store, Rights: rights, Keyring: keyring, PublicURL: site.Origin, Letters: letters, Now: f.clock.Now,
		Logger: slog.New(slog.DiscardHandler), Hashing: cheap,
	})
	must(t, err)
	return letters
}

// token is an authenticator with one credential.
type token struct {
	virtual.Authenticator
	credential virtual.Credential
	passkey    authn.Passkey
	codes      []secret.Text
}

// newCredential returns a key whose coordinates have no leading zero: the
// authenticator of the tests drops it, which no verifier takes (RFC 9053 §7.1.1).
func newCredential() virtual.Credential {
	for {
		if c := virtual.NewCredential(virtual.KeyTypeEC2); len(c.Key.AttestationData()) == 77 {
			return c
		}
	}
}

// addPasskey makes a passkey for the user in a new session.
func (f *fixture) addPasskey(t *testing.T, user id.User, synced bool) *token {
	t.Helper()
	session := &authn.Session{ID: id.New[id.Session](), User: user, AMR: []string{authn.AMRPassword}}
	options, err := f.BeginPasskey(t.Context(), session)
	must(t, err)
	asked, err := virtual.ParseAttestationOptions(string(options))
	must(t, err)
	k := &token{Authenticator: virtual.NewAuthenticator(), credential: newCredential()}
	k.credential.Counter = 1
	k.Options = virtual.AuthenticatorOptions{UserHandle: []byte(asked.UserID), BackupEligible: synced, BackupState: synced}
	made, codes, err := f.AddPasskey(t.Context(), session, "", []byte(virtual.CreateAttestationResponse(site, k.Authenticator, k.credential, *asked)))
	must(t, err)
	k.passkey, k.codes = *made, codes
	return k
}

// sign answers options as the authenticator would, at that site.
func (k *token) sign(t *testing.T, options []byte, at virtual.RelyingParty) []byte {
	t.Helper()
	asked, err := virtual.ParseAssertionOptions(string(options))
	must(t, err)
	return []byte(virtual.CreateAssertionResponse(at, k.Authenticator, k.credential, *asked))
}

// answer counts one up and answers a sign-in that the fixture's browser begins.
func (f *fixture) answer(t *testing.T, k *token) []byte {
	t.Helper()
	options, err := f.BeginPasskeySignIn(t.Context(), f.browser)
	must(t, err)
	k.credential.Counter++
	return k.sign(t, options, site)
}

func (f *fixture) submitPasskey(t *testing.T, answer []byte) (*authn.Login, error) {
	t.Helper()
	login := f.start(t)
	return login, f.SubmitPasskey(t.Context(), login, answer, client)
}

// security.md §5.2; WebAuthn Level 3 §7.
func TestPasskeyIsBothFactors(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, asks{})
		bound, synced := f.addPasskey(t, f.ann, false), f.addPasskey(t, f.ann, true)
		if len(bound.codes) != 10 || len(synced.codes) != 0 {
			t.Errorf("got %d and %d recovery codes, want them once", len(bound.codes), len(synced.codes))
		}
		if got := letters.kinds(); !slices.Equal(got, []mail.Kind{mail.PasskeyAdded, mail.PasskeyAdded}) {
			t.Errorf("got the letters %v", got)
		}
		handle := bound.Options.UserHandle
		if len(handle) != 64 || bytes.Contains(handle, []byte(f.ann)) || !bytes.Equal(handle, synced.Options.UserHandle) {
			t.Errorf("got the handles %x and %x, want one random one", handle, synced.Options.UserHandle)
		}
		for _, c := range []struct {
			key *token
			amr []string
		}{{bound, []string{"hwk", "user", "mfa"}}, {synced, []string{"swk", "user", "mfa"}}} {
			f.clock.advance(time.Minute)
			login, err := f.submitPasskey(t, f.answer(t, c.key))
			must(t, err)
			if login.Step != authn.StepDone || login.Session.User != f.ann || login.Session.ACR != authn.ACRPhishingResistant || !slices.Equal(login.Session.AMR, c.amr) {
				t.Errorf("got %s %+v", login.Step, login.Session)
			}
			if just, err := f.Sudo(t.Context(), login.Session); !just || err != nil {
				t.Errorf("the person has not shown who they are: %v, %v", just, err)
			}
		}
		passkeys, err := f.Passkeys(t.Context(), f.ann)
		must(t, err)
		if len(passkeys) != 2 {
			t.Fatalf("got %d passkeys", len(passkeys))
		}
		got := passkeys[1]
		if got.SignCount != 2 || !got.LastUsed.Equal(f.clock.Now()) || !got.BackedUp || !got.BackupEligible || got.Name != "Passkey" || len(got.AAGUID) != 16 {
			t.Errorf("stored %+v", got)
		}
	})
}

// A password that must be changed comes first (SI-R14); the passkey is then not
// asked for again.
func TestPasskeyComesAfterAForcedChange(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.withPasskeys(t, asks{})
		key := f.addPasskey(t, f.ann, false)
		must(t, f.RequirePasswordChange(t.Context(), f.ann))
		f.clock.advance(time.Minute)
		login, err := f.submitPasskey(t, f.answer(t, key))
		must(t, err)
		if login.Step != authn.StepChange || login.Session != nil {
			t.Fatalf("got %s %+v", login.Step, login.Session)
		}
		var change *authn.ForcedChange
		change, err = f.ForcedChange(t.Context(), login.ID, f.browser, secret.NewText("another good password"))
		must(t, err)
		must(t, f.store.InTx(t.Context(), func(ctx context.Context) error {
			login, err = f.CompleteForcedChange(ctx, change, client)
			return err
		}))
		if login.Step != authn.StepDone || login.Session.ACR != authn.ACRPhishingResistant {
			t.Errorf("got %s %+v", login.Step, login.Session)
		}
	})
}

// A directory may take somebody's address; the passkey names its person itself.
func TestPasskeyOfSomebodyWithoutAddress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.withPasskeys(t, asks{})
		key := f.addPasskey(t, f.ann, false)
		_, err := f.store.UpdateUser(t.Context(), f.ann, func(u *directory.User) error {
			u.Email = ""
			return nil
		})
		must(t, err)
		login, err := f.submitPasskey(t, f.answer(t, key))
		must(t, err)
		if login.Step != authn.StepDone {
			t.Errorf("got %s", login.Step)
		}
	})
}

// Every answer but the right one is refused alike, and leaves the sign-in as it was.
func TestPasskeyIsRefused(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(t *testing.T, f *fixture, k *token) []byte{
		"garbage": func(*testing.T, *fixture, *token) []byte { return []byte(`{"id":"x"}`) },
		"nothing": func(*testing.T, *fixture, *token) []byte { return nil },
		"a foreign origin": func(t *testing.T, f *fixture, k *token) []byte {
			return forgeAt(t, f, k, site.ID, "https://id.example.evil")
		},
		"plain http":     func(t *testing.T, f *fixture, k *token) []byte { return forgeAt(t, f, k, site.ID, "http://id.example") },
		"a foreign site": func(t *testing.T, f *fixture, k *token) []byte { return forgeAt(t, f, k, "evil.example", site.Origin) },
		"replayed": func(t *testing.T, f *fixture, k *token) []byte {
			answer := f.answer(t, k)
			_, err := f.submitPasskey(t, answer)
			must(t, err)
			return answer
		},
		"another browser's challenge": func(t *testing.T, f *fixture, k *token) []byte {
			options, err := f.BeginPasskeySignIn(t.Context(), secret.Random(""))
			must(t, err)
			k.credential.Counter++
			return k.sign(t, options, site)
		},
		"a second factor's challenge": func(t *testing.T, f *fixture, k *token) []byte {
			options, err := f.BeginPasskeyStep(t.Context(), f.atCode(t), f.browser)
			must(t, err)
			k.credential.Counter++
			return k.sign(t, options, site)
		},
		"a challenge of its own making": func(t *testing.T, _ *fixture, k *token) []byte {
			k.credential.Counter++
			return k.sign(t, []byte(`{"challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","rpId":"id.example"}`), site)
		},
		"too late": func(t *testing.T, f *fixture, k *token) []byte {
			answer := f.answer(t, k)
			f.clock.advance(10 * time.Minute)
			return answer
		},
		"not unlocked": func(t *testing.T, f *fixture, k *token) []byte {
			k.Options.UserNotVerified = true
			return f.answer(t, k)
		},
		"nobody there": func(t *testing.T, f *fixture, k *token) []byte {
			k.Options.UserNotPresent = true
			return f.answer(t, k)
		},
		"another key": func(t *testing.T, f *fixture, k *token) []byte {
			k.credential.Key = newCredential().Key
			return f.answer(t, k)
		},
		"another person's handle": func(t *testing.T, f *fixture, k *token) []byte {
			bob := f.addPasskey(t, f.addUser(t, "bob@berlin.example"), false)
			k.Options.UserHandle = bob.Options.UserHandle
			return f.answer(t, k)
		},
		"nobody's handle": func(t *testing.T, f *fixture, k *token) []byte {
			k.Options.UserHandle = make([]byte, 64)
			return f.answer(t, k)
		},
		"removed": func(t *testing.T, f *fixture, k *token) []byte {
			answer := f.answer(t, k)
			must(t, f.RemovePasskey(t.Context(), f.ann, k.passkey.ID))
			return answer
		},
		"a person who is disabled": func(t *testing.T, f *fixture, k *token) []byte {
			f.column(t, "UPDATE users SET disabled = true RETURNING id")
			return f.answer(t, k)
		},
		"made synced of late": func(t *testing.T, f *fixture, k *token) []byte {
			k.Options.BackupEligible = true
			return f.answer(t, k)
		},
		"counted back": func(t *testing.T, f *fixture, k *token) []byte {
			k.credential.Counter = 0
			return f.answer(t, k)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, f *fixture) {
				f.withPasskeys(t, asks{})
				login, err := f.submitPasskey(t, forge(t, f, f.addPasskey(t, f.ann, false)))
				wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
				if login.Step != authn.StepPassword || login.Session != nil || login.User != "" {
					t.Errorf("the sign-in went on: %+v", login)
				}
				if !slices.Contains(f.column(t, "SELECT action FROM events"), "login.fail") {
					t.Error("the failure is not in the audit trail")
				}
			})
		})
	}
}

func forgeAt(t *testing.T, f *fixture, k *token, rp, origin string) []byte {
	t.Helper()
	options, err := f.BeginPasskeySignIn(t.Context(), f.browser)
	must(t, err)
	k.credential.Counter++
	return k.sign(t, options, virtual.RelyingParty{ID: rp, Name: rp, Origin: origin})
}

// WebAuthn §6.1.1: the copy is refused, recorded and told of; the original,
// which counts on, is not.
func TestClonedPasskeyIsToldOf(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, asks{})
		k := f.addPasskey(t, f.ann, false)
		k.credential.Counter = 6
		_, err := f.submitPasskey(t, f.answer(t, k)) // 7
		must(t, err)
		k.credential.Counter = 6
		_, err = f.submitPasskey(t, f.answer(t, k)) // 7 once more
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
		if got := letters.kinds(); !slices.Contains(got, mail.PasskeyCloned) {
			t.Errorf("got the letters %v", got)
		}
		if got := f.column(t, "SELECT action FROM events"); !slices.Contains(got, "passkey.clone_warning") {
			t.Errorf("got the events %v", got)
		}
		_, err = f.submitPasskey(t, f.answer(t, k)) // 8
		must(t, err)
	})
}

func TestOnePasskeyAnswerIsOneSignIn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.withPasskeys(t, asks{})
		answer := f.answer(t, f.addPasskey(t, f.ann, false))
		var wait sync.WaitGroup
		var mu sync.Mutex
		passed := 0
		for range 8 {
			login := f.start(t)
			wait.Go(func() {
				if f.SubmitPasskey(t.Context(), login, answer, client) == nil {
					mu.Lock()
					passed++
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		if passed != 1 {
			t.Errorf("%d of 8 at once passed, want 1", passed)
		}
	})
}

func TestPasskeyAsSecondFactor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.withPasskeys(t, asks{})
		k, bob := f.addPasskey(t, f.ann, false), f.addPasskey(t, f.addUser(t, "bob@berlin.example"), false)
		login := f.atCode(t) // the password alone does not do
		step := func(login id.Login, k *token, handle []byte) (*authn.Login, error) {
			options, err := f.BeginPasskeyStep(t.Context(), login, f.browser)
			must(t, err)
			var asked struct {
				AllowCredentials []struct{ ID string } `json:"allowCredentials"`
			}
			must(t, json.Unmarshal(options, &asked))
			if len(asked.AllowCredentials) != 1 {
				t.Errorf("asked for %d credentials, want Ann's", len(asked.AllowCredentials))
			}
			k.credential.Counter++
			k.Options.UserHandle, k.Options.UserNotVerified = handle, true // the password came before
			return f.SubmitPasskeyStep(t.Context(), login, f.browser, k.sign(t, options, site), true, client)
		}
		_, err := step(login, bob, bob.Options.UserHandle)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
		_, err = step(login, bob, k.Options.UserHandle)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
		_, err = f.SubmitPasskeyStep(t.Context(), login, secret.Random(""), f.answer(t, k), false, client)
		wantFault(t, err, fault.NotFound, "")
		_, err = f.SubmitPasskeyStep(t.Context(), login, f.browser, f.answer(t, k), false, client) // a first factor's challenge
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
		done, err := step(login, k, k.Options.UserHandle)
		must(t, err)
		if done.Session.ACR != authn.ACRPhishingResistant || !slices.Equal(done.Session.AMR, []string{"pwd", "hwk", "user", "mfa"}) || done.DeviceCookie.Empty() {
			t.Errorf("got %+v, device %v", done.Session, done.DeviceCookie.Empty())
		}
		_, err = f.BeginPasskeyStep(t.Context(), login, f.browser)
		wantFault(t, err, fault.NotFound, "")
		other := f.atCode(t)
		if _, err := f.SubmitCode(t.Context(), other, f.browser, k.codes[0].Reveal(), false, client); err != nil {
			t.Errorf("a recovery code does not stand in for the passkey: %v", err)
		}
	})
}

// EM-R30.
func TestLastPasskeyThatIsDemandedStays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, asks{demanding: []directory.SecondFactorDemand{{Tenant: "Berlin"}}})
		k := f.addPasskey(t, f.ann, false)
		err := f.RemovePasskey(t.Context(), f.ann, k.passkey.ID)
		wantFault(t, err, fault.Denied, "second_factor_required")
		if !strings.Contains(fault.As(err).Detail, "Berlin") {
			t.Errorf("%q does not say who requires it", fault.As(err).Detail)
		}
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		wantFault(t, f.RemovePasskey(t.Context(), f.addUser(t, "bob@berlin.example"), k.passkey.ID), fault.NotFound, "")
		must(t, f.RemovePasskey(t.Context(), f.ann, k.passkey.ID))
		if got := letters.kinds(); !slices.Contains(got, mail.PasskeyRemoved) {
			t.Errorf("got the letters %v", got)
		}
		wantFault(t, f.RemoveTOTP(t.Context(), f.ann), fault.Denied, "second_factor_required")
		f.addPasskey(t, f.ann, true)
		var wait sync.WaitGroup
		passkeys, err := f.Passkeys(t.Context(), f.ann)
		must(t, err)
		wait.Go(func() { _ = f.RemoveTOTP(t.Context(), f.ann) })
		wait.Go(func() { _ = f.RemovePasskey(t.Context(), f.ann, passkeys[0].ID) })
		wait.Wait()
		if left, err := f.SecondFactors(t.Context(), f.ann); err != nil || !left.Any() {
			t.Errorf("two removals at once leave %+v, %v", left, err)
		}
		must(t, f.RemoveSecondFactors(t.Context(), f.ann)) // an administrator may
		if left, err := f.SecondFactors(t.Context(), f.ann); err != nil || left.Any() {
			t.Errorf("got %+v, %v", left, err)
		}
	})
}

func TestPasskeyBelongsToItsSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.withPasskeys(t, asks{})
		session := &authn.Session{ID: id.New[id.Session](), User: f.ann}
		options, err := f.BeginPasskey(t.Context(), session)
		must(t, err)
		asked, err := virtual.ParseAttestationOptions(string(options))
		must(t, err)
		answer := []byte(virtual.CreateAttestationResponse(site, virtual.NewAuthenticator(), newCredential(), *asked))
		bob := &authn.Session{ID: id.New[id.Session](), User: f.addUser(t, "bob@berlin.example")}
		_, _, err = f.AddPasskey(t.Context(), bob, "", answer)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
		_, _, err = f.AddPasskey(t.Context(), session, strings.Repeat("x", 61), answer)
		wantFault(t, err, fault.Invalid, "")
		made, _, err := f.AddPasskey(t.Context(), session, " Work ", answer)
		must(t, err)
		_, _, err = f.AddPasskey(t.Context(), session, "", answer)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongPasskey)
		wantFault(t, f.RenamePasskey(t.Context(), bob.User, made.ID, "Mine"), fault.NotFound, "")
		wantFault(t, f.RenamePasskey(t.Context(), f.ann, made.ID, "\x00"), fault.Invalid, "")
		must(t, f.RenamePasskey(t.Context(), f.ann, made.ID, "Home"))
		passkeys, err := f.Passkeys(t.Context(), f.ann)
		must(t, err)
		if len(passkeys) != 1 || passkeys[0].Name != "Home" || made.Name != "Work" {
			t.Errorf("got %+v", passkeys)
		}
	})
}

func TestPasskeysNeedADomain(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://id.example": true, "http://localhost:8080": true, "https://id.example:8443": true,
		"http://127.0.0.1:8080": false, "https://[::1]": false, "": false,
	} {
		a, err := authn.New(authn.Deps{PublicURL: address, Hashing: cheap})
		must(t, err)
		if got := a.HasPasskeys(); got != want {
			t.Errorf("%q: got %v, want %v", address, got, want)
		}
	}
}
