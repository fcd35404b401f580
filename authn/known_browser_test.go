package authn_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

func TestSignInFromANewBrowserIsToldOf(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, asks{})
		signIn := func(email string, known secret.Text) secret.Text {
			login := f.start(t)
			from := authn.Client{Name: "Firefox, Linux", Address: "192.0.2.7", Known: known}
			must(t, f.SubmitPassword(t.Context(), login, email, secret.NewText(annPassword), from))
			return login.KnownCookie
		}
		want := func(n int, why string) {
			t.Helper()
			if got := len(letters.kinds()); got != n {
				t.Errorf("%s: got %v", why, letters.kinds())
			}
		}
		first := signIn(annEmail, secret.Text{})
		want(0, "the first sign-in of all")
		if again := signIn(annEmail, first); !again.Equal(first) {
			t.Error("the cookie of a known browser changes")
		}
		want(0, "the same browser")
		second := signIn(annEmail, secret.Text{})
		want(1, "another browser")
		if got := letters.letters[0]; got.Kind != mail.NewBrowser || !slices.Contains(got.Args, "Firefox, Linux") || !slices.Contains(got.Args, "192.0.2.7") {
			t.Errorf("got %+v", got)
		}
		f.clock.advance(80 * day)
		signIn(annEmail, second)
		want(1, "within ninety days")
		f.clock.advance(89 * day)
		signIn(annEmail, second)
		want(1, "ninety days are counted from the last sign-in")
		signIn(annEmail, first)
		want(2, "after ninety days")
		f.clock.advance(authn.KnownBrowserFor + time.Hour)
		if n, err := f.Sweep(t.Context()); err != nil || n == 0 {
			t.Errorf("swept %d, %v", n, err)
		}

		bob := f.addUser(t, "bob@berlin.example")
		must(t, f.SetPassword(t.Context(), bob, secret.NewText(annPassword)))
		signIn("bob@berlin.example", secret.Text{})
		n := len(letters.kinds())
		signIn("bob@berlin.example", first) // Ann's browser is not known as his
		want(n+1, "the browser of somebody else")
	})
}
