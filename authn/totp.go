package authn

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
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
		if len(keys) == 1 {
			// The key that is kept remembers which codes were used.
			if current, err := a.keyring.Open(keys[0].Secret, keys[0].place()); err == nil && bytes.Equal(current, plain) {
				return nil
			}
		}
		now := a.now()
		next := TOTPKey{ID: id.New[TOTPKeyID](), User: user, Created: now}
		if next.Secret, err = a.keyring.Seal(plain, next.place()); err != nil {
			return err
		}
		if err := a.store.ReplaceTOTPKeys(ctx, next); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "totp.set", "user", string(user), nil))
	})
}

// HasTOTP reports whether the user signs in with a code of an authenticator app.
func (a *Authn) HasTOTP(ctx context.Context, user id.User) (bool, error) {
	keys, err := a.store.TOTPKeys(ctx, user)
	return len(keys) > 0, err
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
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key)
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
