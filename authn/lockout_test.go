package authn_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// closing makes accounts close after three failures for five minutes.
func (f *fixture) closing(t *testing.T) {
	t.Helper()
	f.Authn = newAuthnWith(t, f.store, f.clock, cheap, asks{lockout: authz.Lockout{Attempts: 3, For: 5 * time.Minute}})
}

// try signs in with the password of Ann, or another, from an address of its own.
func (f *fixture) try(t *testing.T, n int, email, password string) error {
	t.Helper()
	from := authn.Client{UserAgent: "test", Address: fmt.Sprintf("192.0.2.%d", n)}
	return f.SubmitPassword(t.Context(), f.start(t), email, secret.NewText(password), from)
}

func TestAccountCloses(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.closing(t)
		for n := range 3 {
			wantFault(t, f.try(t, n, annEmail, "wrong"), fault.Unauthenticated, authn.CodeWrongCredentials)
		}
		// The right password gets the answer of a wrong one, from anywhere.
		wantFault(t, f.try(t, 9, strings.ToUpper(annEmail), annPassword), fault.Unauthenticated, authn.CodeWrongCredentials)
		until, err := f.ClosedUntil(t.Context(), f.ann)
		must(t, err)
		if want := f.clock.Now().Add(5 * time.Minute); !until.Equal(want) {
			t.Errorf("closed until %v, want %v", until, want)
		}
		f.clock.advance(5*time.Minute - time.Second)
		wantFault(t, f.try(t, 9, annEmail, annPassword), fault.Unauthenticated, authn.CodeWrongCredentials)
		f.clock.advance(time.Second)
		must(t, f.try(t, 9, annEmail, annPassword))
		if got := f.column(t, "SELECT action FROM events WHERE action = 'account.close'"); len(got) != 1 {
			t.Errorf("%d events of the closing, want 1", len(got))
		}
	})
}

// A sign-in that is complete forgets the failures before it; one that waits for
// the code does not: wrong codes between right passwords add up.
func TestFailuresAddUp(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.closing(t)
		for range 3 {
			wantFault(t, f.try(t, 1, annEmail, "wrong"), fault.Unauthenticated, authn.CodeWrongCredentials)
			must(t, f.try(t, 1, annEmail, annPassword))
		}
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		wrong := func() error {
			_, err := f.SubmitCode(t.Context(), f.atCode(t), f.browser, "000000", false, client)
			return err
		}
		for range 3 {
			wantFault(t, wrong(), fault.Unauthenticated, authn.CodeWrongCode)
		}
		wantFault(t, f.try(t, 1, annEmail, annPassword), fault.Unauthenticated, authn.CodeWrongCredentials)
		f.clock.advance(5 * time.Minute)
		waiting := f.atCode(t)
		for n := range 3 {
			wantFault(t, f.try(t, n, annEmail, "wrong"), fault.Unauthenticated, authn.CodeWrongCredentials)
		}
		_, err := f.SubmitCode(t.Context(), waiting, f.browser, f.code(t, f.clock.Now()), false, client)
		wantFault(t, err, fault.Throttled, "account_closed")
		f.clock.advance(5 * time.Minute)
		_, err = f.SubmitCode(t.Context(), f.atCode(t), f.browser, f.code(t, f.clock.Now()), false, client)
		must(t, err)
	})
}

// Of twenty guesses at once three are judged, whichever node they come to.
func TestGuessesAtOnceCloseTheAccount(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.closing(t)
		var group sync.WaitGroup
		for n := range 20 {
			group.Go(func() { _ = f.try(t, n, annEmail, "wrong") })
		}
		group.Wait()
		judged := 0
		for _, data := range f.column(t, "SELECT data FROM events WHERE action = 'login.fail'") {
			if strings.Contains(data, "wrong_password") {
				judged++
			}
		}
		if judged != 3 {
			t.Errorf("%d guesses were judged, want 3", judged)
		}
		wantFault(t, f.try(t, 99, annEmail, annPassword), fault.Unauthenticated, authn.CodeWrongCredentials)
	})
}

// Attempts that need not wait do not keep others waiting that began before them:
// those of the same moment, and of a node whose clock is behind.
func TestAttemptsOfTheSameMoment(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.closing(t)
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		first, second := f.atCode(t), f.atCode(t)
		wantFault(t, f.try(t, 1, annEmail, "wrong"), fault.Unauthenticated, authn.CodeWrongCredentials)
		f.clock.advance(-time.Millisecond)
		must(t, f.try(t, 1, annEmail, annPassword))
		f.clock.advance(time.Minute)
		_, err := f.SubmitCode(t.Context(), first, f.browser, "000000", false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		f.clock.advance(-time.Millisecond)
		_, err = f.SubmitCode(t.Context(), second, f.browser, f.code(t, f.clock.Now()), false, client)
		must(t, err)
	})
}

// Nobody's address gets the answers of a closed account at every attempt.
func TestClosedAccountsTellNothing(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.closing(t)
		for n := range 15 {
			known, unknown := f.try(t, 1, annEmail, "wrong"), f.try(t, 1, "nobody@berlin.example", "wrong")
			if fault.As(known).Kind != fault.As(unknown).Kind || fault.As(known).Code != fault.As(unknown).Code || fault.As(known).Detail != fault.As(unknown).Detail {
				t.Errorf("attempt %d: %v for Ann, %v for nobody", n+1, known, unknown)
			}
			f.clock.advance(time.Second)
		}
	})
}

// A right password that has to be changed first is no failure.
func TestForcedChangeIsNoFailure(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.closing(t)
		must(t, f.store.RequirePasswordChange(t.Context(), f.ann))
		for range 4 {
			must(t, f.try(t, 1, annEmail, annPassword))
		}
	})
}
