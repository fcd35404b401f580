package authn_test

import (
	"fmt"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// NIST SP 800-63B-4 §3.1.1.2: a list of what is commonly used, and words of the
// context; no classes of characters.
func TestPasswordNIST63B(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.Authn = newAuthnWith(t, f.store, f.clock, cheap, asks{password: directory.PasswordPolicy{Words: []string{"Acme Brewery", "acme-eu", "Brewline"}}})
		bob := &directory.User{
			ID: id.New[id.User](), Email: "b.dylan@quayside.example", Name: directory.Name{Given: "Robert", Family: "Zimmerman"},
			Created: f.clock.Now(), Modified: f.clock.Now(),
		}
		must(t, f.store.CreateUser(t.Context(), bob))
		for password, code := range map[string]string{
			"1234567":                  "too_short",
			"password":                 "common",
			"Passw0rd":                 "common",
			"1Q2W3E4R":                 "common",
			"b.dylan@quayside.example": "same_as_email",
			"b.dylan!":                 "context",
			"Robert-1941":              "context",
			"Zimmerman#99":             "context",
			"acmebrewery":              "context",
			"Brewery2026!":             "context",
			"BREWLINE-1":               "context",
			"rolecall123":              "context",
			"Quayside!!!!":             "context",
			"a bell by the brewery":    "",
			"rolecall and seven geese": "",
			"       k 7":               "",
			"ひとつのながい":                  "too_short",
			"ひとつのとてもながいことば": "",
		} {
			got := ""
			if err := f.SetPassword(t.Context(), bob.ID, secret.NewText(password)); err != nil {
				if fault.As(err).Kind != fault.Invalid || fault.As(err).Field != "password" || fault.As(err).Detail == "" {
					t.Errorf("%q: %v is not about the password", password, err)
				}
				got = fault.As(err).Code
			}
			if got != code {
				t.Errorf("%q: got %q, want %q", password, got, code)
			}
		}
	})
}

func TestPasswordHistory(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		keeps := func(n int) {
			f.Authn = newAuthnWith(t, f.store, f.clock, cheap, asks{password: directory.PasswordPolicy{History: n}})
		}
		choose := func(n int) error {
			next, err := f.NewPassword(t.Context(), f.ann, secret.NewText(fmt.Sprintf("the %d. of many long ones", n)))
			if err == nil {
				err = f.PutPassword(t.Context(), next)
			}
			return err
		}
		keeps(0)
		for _, n := range []int{1, 2, 2, 1} { // nothing is kept, and none is refused
			must(t, choose(n))
		}
		keeps(3)
		for _, n := range []int{2, 3} {
			must(t, choose(n))
		}
		for _, n := range []int{1, 2, 3} { // the last three
			wantFault(t, choose(n), fault.Invalid, "used_before")
		}
		must(t, choose(4))
		must(t, choose(1)) // the fourth before
		must(t, f.SetPassword(t.Context(), f.ann, secret.NewText("the 1. of many long ones")))
		keeps(1)
		wantFault(t, choose(1), fault.Invalid, "used_before")
		must(t, choose(4))
		old, err := f.store.OldPasswords(t.Context(), f.ann, 99)
		if err != nil || len(old) != 0 {
			t.Errorf("%d old hashes are kept of which none is asked for (%v)", len(old), err)
		}
	})
}
