package storage_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

func TestLinkIsTakenOnce(t *testing.T) {
	t.Parallel()
	eachTokenFixture(t, func(t *testing.T, f *tokenFixture) {
		put := func(purpose, subject string) secret.Hash {
			t.Helper()
			token := secret.Random("").Hash()
			link := authn.Link{Purpose: purpose, Subject: subject, Created: f.now, Expires: f.now.Add(time.Hour)}
			if err := f.store.PutLink(t.Context(), link, token); err != nil {
				t.Fatal(err)
			}
			return token
		}
		wantGone := func(why, purpose string, token secret.Hash, now time.Time) {
			t.Helper()
			if _, err := f.store.TakeLink(t.Context(), purpose, token, now); !errors.Is(err, fault.NotFound) {
				t.Errorf("%s: got %v, want not found", why, err)
			}
			if _, err := f.store.Link(t.Context(), purpose, token, now); !errors.Is(err, fault.NotFound) {
				t.Errorf("%s, looked at: got %v, want not found", why, err)
			}
		}
		old, other := put("invite", "ann"), put("invite", "bob")
		token := put("invite", "ann")
		wantGone("replaced", "invite", old, f.now)
		wantGone("of another purpose", "setup", token, f.now)
		wantGone("expired", "invite", token, f.now.Add(time.Hour))

		var mu sync.Mutex
		var wg sync.WaitGroup
		taken := 0
		for range 12 {
			wg.Go(func() {
				link, err := f.store.TakeLink(t.Context(), "invite", token, f.now)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && link.Subject == "ann" && link.Expires.Equal(f.now.Add(time.Hour)):
					taken++
				case !errors.Is(err, fault.NotFound):
					t.Errorf("got %+v, %v", link, err)
				}
			})
		}
		wg.Wait()
		if taken != 1 {
			t.Errorf("the link was taken %d times", taken)
		}
		wantGone("used", "invite", token, f.now)
		if link, err := f.store.Link(t.Context(), "invite", other, f.now); err != nil || link.Subject != "bob" {
			t.Errorf("got %+v, %v for the other subject's link", link, err)
		}
		put("invite", "ann") // a used link does not stand in the way of the next
	})
}
