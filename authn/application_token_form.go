package authn

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"

	"github.com/rolecall/rolecall/internal/secret"
)

// The form of the application tokens that this server makes: a prefix, 256
// random bits in base 62 and the CRC-32 of all that before it. Scanners of code
// and logs find leaked tokens by it, and tell them from what only looks like one
// without asking anybody.
const (
	applicationTokenPrefix = "rc_"
	randomDigits           = 43 // of base 62, for 256 bits
	checksumDigits         = 6  // for 32 bits
	base62                 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var applicationTokenForm = regexp.MustCompile(`^rc_[0-9A-Za-z]{49}$`)

// LooksLikeApplicationToken reports whether a token has the prefix of those
// that this server makes.
func LooksLikeApplicationToken(token secret.Text) bool {
	return strings.HasPrefix(token.Reveal(), applicationTokenPrefix)
}

// newApplicationToken makes the secret of a token.
func newApplicationToken() secret.Text {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	text := applicationTokenPrefix + digits(new(big.Int).SetBytes(b[:]), randomDigits)
	return secret.NewText(text + checksum(text))
}

// mistyped reports whether a token has the form of those that this server makes
// and a wrong checksum, so that it can't be one of them. A token whose value the
// operator chose has another form.
func mistyped(token secret.Text) bool {
	text := token.Reveal()
	if !applicationTokenForm.MatchString(text) {
		return false
	}
	end := len(text) - checksumDigits
	return checksum(text[:end]) != text[end:]
}

func checksum(text string) string {
	return digits(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))), checksumDigits)
}

// digits returns n in base 62 with leading zeros.
func digits(n *big.Int, length int) string {
	text := make([]byte, length)
	digit, base := new(big.Int), big.NewInt(int64(len(base62)))
	for i := length - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = base62[digit.Int64()]
	}
	return string(text)
}
