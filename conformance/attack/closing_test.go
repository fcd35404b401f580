package attack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/conformance/browser"
)

// closingFile is the instance with a tenant whose role system closes an account
// for five minutes after three failures, and Carl in it.
func closingFile() string {
	file := strings.Replace(instanceFile, "users:\n", `- slug: closing
  name: Closing
  blueprint: emnify
users:
- email: carl@closing.example
  name: {given: Carl, family: Zu}
  password: `+carl.Password+`
  memberships:
  - {tenant: closing, roles: [user], status: active}
- email: cora@closing.example
  name: {given: Cora, family: Zu}
  password: cora has one of her own
  memberships:
  - {tenant: closing, roles: [superadmin], status: active}
`, 1)
	return file
}

var carl = browser.Person{Login: "carl@closing.example", Password: "carl knows how to close a door"}

// TestClosedAccountTellsNothing: an account that guesses have closed takes not
// even the right password, and answers like one that is open, or that there is
// not (EM-R28).
func TestClosedAccountTellsNothing(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		check(g.Apply(t.Context(), closingFile()))(t)
		answer := func(login, password string) string {
			callback, page, err := g.browser(t).SignIn(t.Context(), g.shop.Request("openid").URL(), browser.Person{Login: login, Password: password})
			if err == nil {
				return "signed in: " + callback.String()
			}
			// What was typed stands in the form again.
			return fmt.Sprint(page.Status, strings.NewReplacer(login, "", page.URL.Query().Get("request"), "").Replace(page.Text()))
		}
		want := answer("nobody@closing.example", "whatever it is")
		if !strings.HasPrefix(want, fmt.Sprint(http.StatusUnprocessableEntity)) {
			t.Fatalf("nobody's sign-in: %s", want)
		}
		for n := range 5 {
			for _, login := range []string{carl.Login, "nobody@closing.example"} {
				if got := answer(login, fmt.Sprint("guess number ", n)); got != want {
					t.Errorf("guess %d at %s: got %q, want %q", n+1, login, got, want)
				}
			}
		}
		if got := answer(carl.Login, carl.Password); got != want {
			t.Errorf("the right password of a closed account: got %q, want %q", got, want)
		}
		if got := answer(walt.Login, walt.Password); !strings.HasPrefix(got, "signed in") {
			t.Errorf("somebody else: %s", got)
		}
	})
}
