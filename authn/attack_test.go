package authn_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/storage"
)

// nodes returns so many instances over one PostgreSQL, each with a store of its
// own, with Ann, who has an authenticator app.
func nodes(t *testing.T, n int) []*fixture {
	t.Helper()
	database := dbtest.Postgres(t)
	shared := fixture{database: database, clock: &clock{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}, browser: secret.Random("")}
	all := make([]*fixture, n)
	for i := range all {
		store, err := storage.Open(t.Context(), database)
		must(t, err)
		t.Cleanup(func() { _ = store.Close() })
		node := shared
		node.store, node.Authn = store, newAuthn(t, store, shared.clock, cheap)
		if i == 0 {
			must(t, store.Migrate(t.Context()))
			node.ann = node.addUser(t, annEmail)
			shared.ann = node.ann
			must(t, node.SetPassword(t.Context(), node.ann, secret.NewText(annPassword)))
			must(t, node.SetTOTP(t.Context(), node.ann, secret.NewText(annKey)))
		}
		all[i] = &node
	}
	return all
}

// One code of an app lets one sign-in in, however many ask two processes at once.
func TestCodeReplayedOnTwoNodesAtOnce(t *testing.T) {
	t.Parallel()
	both := nodes(t, 2)
	code := both[0].code(t, both[0].clock.Now())
	var logins []id.Login
	for range 4 {
		logins = append(logins, both[0].atCode(t))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	in := 0
	for i, login := range logins {
		all.Go(func() {
			node := both[i%2]
			_, err := node.SubmitCode(t.Context(), login, node.browser, code, false, client)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				in++
			} else if !errors.Is(err, fault.Unauthenticated) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if in != 1 {
		t.Errorf("one code let %d in", in)
	}
}

// Wrong passwords take as long for an address that nobody has as for one that
// somebody has. The medians of forty, measured in turn, differ by a few percent;
// the bound is wide for machines that do other things meanwhile, and one round
// within it is enough.
func TestTimeTellsNothingOfAnAddress(t *testing.T) {
	store, err := storage.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	must(t, store.Migrate(t.Context()))
	f := &fixture{store: store, clock: &clock{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}, browser: secret.Random("")}
	f.Authn = newAuthn(t, store, f.clock, authn.Hashing{Memory: 8 << 10, Passes: 1})
	f.ann = f.addUser(t, annEmail)
	must(t, f.SetPassword(t.Context(), f.ann, secret.NewText(annPassword)))
	const rounds, bound = 3, 0.2
	var last float64
	for range rounds {
		took := map[string][]time.Duration{}
		for range 40 {
			f.clock.advance(2 * time.Hour) // no delays for failures before
			for _, email := range []string{annEmail, "nobody@berlin.example"} {
				login := f.start(t)
				runtime.GC() // or it comes at every other hash: always for the same address
				began := time.Now()
				err := f.SubmitPassword(t.Context(), login, email, secret.NewText("not hers"), client)
				took[email] = append(took[email], time.Since(began))
				wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCredentials)
			}
		}
		known, unknown := median(took[annEmail]), median(took["nobody@berlin.example"])
		last = float64(known-unknown) / float64(unknown)
		t.Logf("medians: %v for an address that is known, %v for one that is not, %+.1f %%", known, unknown, 100*last)
		if last < bound && last > -bound {
			return
		}
	}
	t.Errorf("the time tells them apart: %+.1f %%", 100*last)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
