package authn

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"image/png"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// Parameters of RFC 6238, as authenticator apps have them.
const (
	totpPeriod = 30 // seconds
	totpDigits = otp.DigitsSix
	totpSkew   = 1 // steps of clock difference, each way (RFC 6238 §5.2)
)

// minTOTPKey is the shortest key that is taken over, in bytes. RFC 4226 §4 (R6)
// asks for 16, but keys of 80 bits are what many apps and exports hold.
const minTOTPKey = 10

// SetTOTP makes key, in base32, the user's only authenticator key, active at
// once. Setting the same key again changes nothing. It fails with fault.Invalid
// and the field totp.
func (a *Authn) SetTOTP(ctx context.Context, user id.User, key secret.Text) error {
	plain, err := parseTOTPKey(key)
	if err != nil {
		return err
	}
	return a.store.InTx(ctx, func(ctx context.Context) error {
		keys, err := a.store.TOTPKeys(ctx, user)
		if err != nil {
			return err
		}
		if len(keys) > 0 && keys[0].Status == TOTPActive {
			// The key that is kept remembers which codes were used.
			if current, err := a.keyring.Open(keys[0].Secret, keys[0].place()); err == nil && bytes.Equal(current, plain) {
				return nil
			}
		}
		now := a.now()
		next := TOTPKey{ID: id.New[TOTPKeyID](), User: user, Status: TOTPActive, Created: now}
		if next.Secret, err = a.keyring.Seal(plain, next.place()); err != nil {
			return err
		}
		if err := a.store.CreateTOTPKey(ctx, next); err != nil {
			return err
		}
		if err := a.RemoveTrustedDevices(ctx, user, factorsChanged); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "totp.set", "user", string(user), nil))
	})
}

// factorsChanged is why trusted devices are forgotten: what they stood in for is
// another thing now.
const factorsChanged = "second_factor_change"

// totpKeyLength is that of a new key, in bytes: the length of a SHA-1 (RFC 4226 §4, R6).
const totpKeyLength = 20

// BeginTOTP makes a new key for an authenticator app, pending in place of one
// that is pending already, and returns it in base32. It is not asked for before
// ActivateTOTP.
func (a *Authn) BeginTOTP(ctx context.Context, user id.User) (secret.Text, error) {
	plain := make([]byte, totpKeyLength)
	_, _ = rand.Read(plain) // never fails
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		now := a.now()
		key := TOTPKey{ID: id.New[TOTPKeyID](), User: user, Status: TOTPPending, Created: now}
		var err error
		if key.Secret, err = a.keyring.Seal(plain, key.place()); err != nil {
			return err
		}
		if err := a.store.CreateTOTPKey(ctx, key); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "totp.begin", "user", string(user), nil))
	})
	return secret.NewText(totpText(plain)), err
}

// PendingTOTP returns the key that waits for ActivateTOTP, in base32. It fails
// with fault.NotFound where none does.
func (a *Authn) PendingTOTP(ctx context.Context, user id.User) (secret.Text, error) {
	_, plain, err := a.pendingTOTP(ctx, user)
	if err != nil {
		return secret.Text{}, err
	}
	return secret.NewText(totpText(plain)), nil
}

func (a *Authn) pendingTOTP(ctx context.Context, user id.User) (TOTPKey, []byte, error) {
	keys, err := a.store.TOTPKeys(ctx, user)
	if err != nil {
		return TOTPKey{}, nil, err
	}
	for _, key := range keys {
		if key.Status == TOTPPending {
			plain, err := a.keyring.Open(key.Secret, key.place())
			return key, plain, err
		}
	}
	return TOTPKey{}, nil, fault.New(fault.NotFound, "no key of an authenticator app waits to be activated").WithCode("no_pending_totp")
}

// ActivateTOTP makes the pending key the user's only active one, with a code that
// shows that the app has it. Somebody who has no recovery codes gets them: codes
// are shown once. It fails with fault.NotFound where no key is pending, with
// fault.Unauthenticated where the code is wrong, and with fault.Throttled.
func (a *Authn) ActivateTOTP(ctx context.Context, user id.User, code string) (codes []secret.Text, err error) {
	if strings.TrimSpace(code) == "" {
		return nil, fault.Field(fault.Invalid, "code", "the code is missing")
	}
	attempts := attemptKey("totp-activation", string(user))
	if err := a.try(ctx, attempts, a.limits.Codes); err != nil {
		return nil, err
	}
	right := false
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		key, plain, err := a.pendingTOTP(ctx, user)
		if err != nil {
			return err
		}
		step, ok, err := matchTOTP(plain, code, a.now())
		if err != nil || !ok {
			return err
		}
		right = true
		if err := a.store.ForgetAttempts(ctx, attempts); err != nil {
			return err
		}
		if err := a.store.ActivateTOTPKey(ctx, user, key.ID, step); err != nil {
			return err
		}
		if err := a.RemoveTrustedDevices(ctx, user, factorsChanged); err != nil {
			return err
		}
		left, err := a.store.RecoveryCodes(ctx, user)
		if err != nil {
			return err
		}
		if left == 0 {
			if codes, err = a.NewRecoveryCodes(ctx, user); err != nil {
				return err
			}
		}
		if err := a.tell(ctx, user, mail.FactorsChanged, a.publicURL); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "totp.activate", "user", string(user), nil))
	})
	if err != nil {
		return nil, a.untry(ctx, attempts, err)
	}
	if !right {
		return nil, fault.Field(fault.Unauthenticated, "code", "the code is wrong, or of another time").WithCode(CodeWrongCode)
	}
	return codes, nil
}

// RemoveTOTP takes the user's keys of authenticator apps, active or pending, by
// their own wish. It fails with fault.Denied where it is their last second factor
// and a tenant of theirs demands one, which Detail names, and with fault.NotFound
// where there is none.
func (a *Authn) RemoveTOTP(ctx context.Context, user id.User) error {
	return a.removeFactor(ctx, user, func(ctx context.Context) error {
		removed, err := a.store.DeleteTOTPKeys(ctx, user, "")
		if err != nil {
			return err
		}
		if removed == 0 {
			return fault.New(fault.NotFound, "the person has no authenticator app").WithCode("no_totp")
		}
		if err := a.tell(ctx, user, mail.FactorsChanged, a.publicURL); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "totp.remove", "user", string(user), nil))
	})
}

// HasTOTP reports whether the user signs in with a code of an authenticator app.
func (a *Authn) HasTOTP(ctx context.Context, user id.User) (bool, error) {
	keys, err := a.store.TOTPKeys(ctx, user)
	return len(keys) > 0 && keys[0].Status == TOTPActive, err
}

func totpText(plain []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(plain)
}

func (k TOTPKey) place() string { return "totp_keys/secret/" + string(k.ID) }

func parseTOTPKey(key secret.Text) ([]byte, error) {
	text := strings.ToUpper(strings.TrimRight(strings.ReplaceAll(key.Reveal(), " ", ""), "="))
	plain, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(plain) < minTOTPKey {
		return nil, fault.Field(fault.Invalid, "totp", "the TOTP key must be base32 of at least %d bytes", minTOTPKey)
	}
	return plain, nil
}

// useCode accepts a code of the previous, the current or the next time step,
// each step once per key. It reports false for any other code. It belongs in
// the transaction that completes the sign-in.
func (a *Authn) useCode(ctx context.Context, user id.User, code string, now time.Time) (bool, error) {
	keys, err := a.store.TOTPKeys(ctx, user)
	if err != nil {
		return false, err
	}
	for _, key := range keys {
		if key.Status != TOTPActive {
			continue
		}
		plain, err := a.keyring.Open(key.Secret, key.place())
		if err != nil {
			return false, err
		}
		step, ok, err := matchTOTP(plain, code, now)
		if err != nil {
			return false, err
		}
		if ok {
			return a.store.AdvanceTOTPKey(ctx, key.ID, step)
		}
	}
	return false, nil
}

// matchTOTP returns the time step whose code this is. People may type the code
// with spaces, as apps show it.
func matchTOTP(key []byte, code string, now time.Time) (step int64, ok bool, err error) {
	typed := []byte(strings.Join(strings.Fields(code), ""))
	text := totpText(key)
	current := now.Unix() / totpPeriod
	for candidate := current - totpSkew; candidate <= current+totpSkew; candidate++ {
		want, err := hotp.GenerateCodeCustom(text, uint64(candidate), hotp.ValidateOpts{Digits: totpDigits, Algorithm: otp.AlgorithmSHA1}) //nolint:gosec // after 1970
		if err != nil {
			return 0, false, fmt.Errorf("TOTP code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), typed) == 1 {
			step, ok = candidate, true
		}
	}
	return step, ok, nil
}

// PassedTOTP strengthens the session of a person who has just entered a code of
// the key that ActivateTOTP made, and returns it with its new cookie.
func (a *Authn) PassedTOTP(ctx context.Context, session *Session, client Client) (*Session, secret.Text, error) {
	return a.startSession(ctx, proof{user: session.User, amr: withSecondFactor(session.AMR, AMROneTimeCode, AMRMultiFactor), via: session.Via}, client)
}

// pictureSide is that of a QR code, in pixels.
const pictureSide = 220

// TOTPPicture returns the QR code by which an authenticator app takes the key
// over (Google's Key Uri Format), as a PNG. issuer is the public URL and account
// the person's address: what the app shows beside its codes.
func TOTPPicture(issuer, account string, key secret.Text) ([]byte, error) {
	name := issuer
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		name = u.Host
	}
	address := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + name + ":" + account,
		RawQuery: url.Values{"secret": {key.Reveal()}, "issuer": {name}}.Encode(),
	}
	k, err := otp.NewKeyFromURL(address.String())
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	picture, err := k.Image(pictureSide, pictureSide)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	return out.Bytes(), nil
}
