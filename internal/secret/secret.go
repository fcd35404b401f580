// Package secret makes, hashes and seals secrets.
//
// Random tokens carry 256 bits and are stored as SHA-256 hashes only, which
// suffices at that entropy (NIST SP 800-63B §5.1.2). What the server must read
// back (signing keys, TOTP keys) is sealed by a [Keyring]. Passwords are not
// here: they need a slow hash and belong to authn.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
)

// redacted is what a Text shows to printers, loggers and encoders.
const redacted = "REDACTED"

// Text is a secret that can't be printed, logged or marshaled by accident.
// Its zero value is the empty secret. Compare with Equal, never with ==.
type Text struct{ value string }

// NewText wraps a secret that came from outside.
func NewText(value string) Text { return Text{value} }

// Random returns a token of 256 random bits in base64url, 43 characters, after
// prefix.
func Random(prefix string) Text {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return Text{prefix + base64.RawURLEncoding.EncodeToString(b[:])}
}

// Reveal returns the secret itself: for the response that hands it over and
// for cryptography, never for a log or an error.
func (t Text) Reveal() string { return t.value }

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.value == "" }

// Equal compares in time that does not depend on the content.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.value), []byte(other.value)) == 1
}

// Hash returns what is stored in place of a random token.
func (t Text) Hash() Hash { return sha256.Sum256([]byte(t.value)) }

// String implements fmt.Stringer and hides the secret.
func (Text) String() string { return redacted }

// GoString implements fmt.GoStringer and hides the secret from %#v.
func (Text) GoString() string { return redacted }

// LogValue implements slog.LogValuer and hides the secret.
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler. It always fails: a secret is
// handed over by Reveal or not at all.
func (Text) MarshalText() ([]byte, error) {
	return nil, errors.New("a secret is not marshaled")
}

// UnmarshalText implements encoding.TextUnmarshaler, so that configuration can
// hold a secret.
func (t *Text) UnmarshalText(text []byte) error {
	t.value = string(text)
	return nil
}

// Hash is the SHA-256 of a random token.
type Hash [sha256.Size]byte

// Equal compares in constant time.
func (h Hash) Equal(other Hash) bool {
	return subtle.ConstantTimeCompare(h[:], other[:]) == 1
}
