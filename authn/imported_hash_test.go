package authn_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// The hashes are made by Python's hashlib and by the bcrypt of the C library.
func TestImportedHashes(t *testing.T) {
	t.Parallel()
	const password = "bread & butter 4 ever"
	each(t, func(t *testing.T, f *fixture) {
		ctx := authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
		for i, hash := range []string{
			"$pbkdf2$1200$MDEyMzQ1Njc4OWFiY2RlZg$gKHg.UWUVXGJbOElpDv041Nhivg",
			"$pbkdf2-sha256$1200$MDEyMzQ1Njc4OWFiY2RlZg$nDorskfeEwQ233sSZOLQpBx/6Tn7IBCeVqvXmGBDW8c",
			"$pbkdf2-sha512$1200$MDEyMzQ1Njc4OWFiY2RlZg$cH9Vx/IYnoP9UIfD01PRiZDKNmOJ8YbItC4j16miTwrr/RqWL2aV8A9/1C76FWbfkwKWDLlql9r/pt.oN7JokQ",
			"pbkdf2_sha256$1500$saltsaltsalt$XIiLhbLhaWgOCoTiWnuAcwT8MyAoJJTVTYTyhEd4KqQ=",
			"$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$uXdavNY5dwUAx72N2bXR0FWHiIaqK1BOXdQQn3hIBPU",
			"$2b$05$abcdefghijklmnopqrstuukzA8o4cd.DM.w7EiSv1WlyzkAYEPN0y",
		} {
			email := string(rune('a'+i)) + "@imported.example"
			user := f.addUser(t, email)
			wantFault(t, f.ImportPassword(t.Context(), user, hash), fault.Denied, "operator")
			must(t, f.ImportPassword(ctx, user, hash))
			signIn := func(password string) error {
				return f.SubmitPassword(t.Context(), f.start(t), email, secret.NewText(password), authn.Client{})
			}
			wantFault(t, signIn(password+"!"), fault.Unauthenticated, "wrong_credentials")
			must(t, signIn(password))
			stored, err := f.store.PasswordHash(t.Context(), user)
			if err != nil || !strings.HasPrefix(stored, "$argon2id$") {
				t.Errorf("after the sign-in %.12s is kept as %.12s (%v)", hash, stored, err)
			}
			must(t, signIn(password))
			must(t, f.ImportPassword(ctx, user, hash)) // once more: who has a password keeps it
			if again, err := f.store.PasswordHash(t.Context(), user); err != nil || again != stored {
				t.Errorf("a second import replaces what is there (%v)", err)
			}
		}
		for _, hash := range []string{
			"", "plain", "$argon2id$v=19$m=262144,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg", "$2b$15$abcdefghijklmnopqrstuuM1eZ8nX0yH6kQ0l9mT3b5n7r9t1v3x", "$scrypt$ln=20,r=64,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
			"$pbkdf2-sha256$99999999$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg", "$pbkdf2-md5$1000$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
			"pbkdf2_sha256$1000$salt$", "$1$abcdefgh$0123456789012345678901",
		} {
			err := f.ImportPassword(ctx, f.ann, hash)
			if fault.As(err).Kind != fault.Invalid || fault.As(err).Field != "password_hash" {
				t.Errorf("%q: got %v", hash, err)
			}
		}
	})
}
