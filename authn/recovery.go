package authn

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// Recovery codes are look-up secrets (NIST SP 800-63B §5.1.2): ten, each for one
// sign-in, of 60 random bits, so that a plain hash keeps them.
const (
	recoveryCodes      = 10
	recoveryCodeLength = 12 // letters, in groups of four
)

// recoveryAlphabet is Crockford's: no letter in it is taken for another.
var recoveryAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding) //nolint:gochecknoglobals // never changes

// RecoveryStore keeps the hashes of recovery codes that have not been used.
type RecoveryStore interface {
	// ReplaceRecoveryCodes leaves exactly these.
	ReplaceRecoveryCodes(ctx context.Context, user id.User, codes []secret.Hash) error
	// TakeRecoveryCode uses a code up, and reports false where the user has no
	// such code: of several callers one gets true.
	TakeRecoveryCode(ctx context.Context, user id.User, code secret.Hash) (bool, error)
	// RecoveryCodes returns how many are left.
	RecoveryCodes(ctx context.Context, user id.User) (int, error)
}

// NewRecoveryCodes returns ten new recovery codes in place of those before. They
// are shown once: only their hashes are kept.
func (a *Authn) NewRecoveryCodes(ctx context.Context, user id.User) ([]secret.Text, error) {
	codes := make([]secret.Text, recoveryCodes)
	hashes := make([]secret.Hash, recoveryCodes)
	for i := range codes {
		codes[i] = randomRecoveryCode()
		hashes[i] = hashRecoveryCode(user, codes[i].Reveal())
	}
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		if err := a.store.ReplaceRecoveryCodes(ctx, user, hashes); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "recovery_codes.create", "user", string(user), nil))
	})
	return codes, err
}

func randomRecoveryCode() secret.Text {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	text := recoveryAlphabet.EncodeToString(random[:])[:recoveryCodeLength]
	return secret.NewText(text[:4] + "-" + text[4:8] + "-" + text[8:])
}

// hashRecoveryCode takes a code as people type it: with or without hyphens and
// spaces, in any case, with O for 0 and I or L for 1.
func hashRecoveryCode(user id.User, typed string) secret.Hash {
	typed = strings.NewReplacer("-", "", " ", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(typed))
	return attemptKey("recovery", string(user), typed)
}

// useRecoveryCode reports whether the user had that code, which is used up by it.
func (a *Authn) useRecoveryCode(ctx context.Context, user id.User, typed string) (bool, error) {
	if len(typed) > 4*recoveryCodeLength {
		return false, nil
	}
	used, err := a.store.TakeRecoveryCode(ctx, user, hashRecoveryCode(user, typed))
	if err != nil || !used {
		return false, err
	}
	left, err := a.store.RecoveryCodes(ctx, user)
	if err != nil {
		return false, err
	}
	if err := a.tell(ctx, user, mail.RecoveryCodeUsed, strconv.Itoa(left)); err != nil {
		return false, err
	}
	return true, a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "recovery_code.use", "user", string(user), map[string]any{"left": left}))
}
