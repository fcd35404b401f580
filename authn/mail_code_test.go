package authn_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// takesMail is a person's only tenant, which demands a second factor and takes
// codes by mail.
var takesMail = asks{mail: true, demanding: []directory.SecondFactorDemand{{Tenant: "Berlin", MailCodes: true}}}

var (
	takes  = &directory.Standing{MailCodes: true, TrustedDevice: 30 * day}
	refuse = &directory.Standing{TrustedDevice: 30 * day}
)

// codes returns those that were mailed, the last one first.
func (p *postbox) codes() (codes []string) {
	for _, l := range slices.Backward(p.letters) {
		if l.Kind == mail.SignInCode {
			codes = append(codes, l.Args[1])
		}
	}
	return codes
}

func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestMailCode(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, takesMail)
		login := f.atCode(t)
		if got := letters.codes(); len(got) != 1 || len(got[0]) != 6 {
			t.Fatalf("got the codes %v, want one of six digits at once", got)
		}
		code := letters.codes()[0]
		for _, text := range f.column(t, "SELECT hash FROM mail_codes") {
			if strings.Contains(text, code) {
				t.Error("the code is stored")
			}
		}
		done, err := f.SubmitCode(t.Context(), login, f.browser, code[:3]+" "+code[3:], false, client)
		must(t, err)
		session, err := f.Session(t.Context(), done.Cookie)
		must(t, err)
		if want := []string{"pwd", "mca"}; !slices.Equal(session.AMR, want) || session.ACR != authn.ACR1 {
			t.Errorf("got %s %v, want one factor and %v", session.ACR, session.AMR, want)
		}
		if got := session.ACRAt(f.clock.Now(), takes); got != authn.ACR2 {
			t.Errorf("a tenant that takes it sees %s", got)
		}
		if got := session.ACRAt(f.clock.Now(), refuse); got != authn.ACR1 {
			t.Errorf("a tenant that does not take it sees %s", got)
		}
		if sudo, err := f.Sudo(t.Context(), session); err != nil || !sudo {
			t.Errorf("who has nothing better confirms by it: got %v, %v", sudo, err)
		}
		_, err = f.SubmitCode(t.Context(), f.atCode(t), f.browser, code, false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode) // it is another sign-in's
	})
}

func TestMailCodeTries(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, takesMail)
		login := f.atCode(t)
		code := letters.codes()[0]
		for range 5 {
			_, err := f.SubmitCode(t.Context(), login, f.browser, wrong(code), false, client)
			wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		}
		_, err := f.SubmitCode(t.Context(), login, f.browser, code, false, client)
		wantFault(t, err, fault.Throttled, "attempts")
		f.clock.advance(20 * time.Minute)
		login = f.atCode(t)
		code = letters.codes()[0]
		_, err = f.SubmitCode(t.Context(), login, f.browser, wrong(code), false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		_, err = f.SubmitCode(t.Context(), login, f.browser, code, false, client)
		wantFault(t, err, fault.Throttled, "attempts") // another sign-in gives no further tries
	})
}

// The code itself takes five tries, whatever the throttle of the person says.
func TestMailCodeIsTriedFiveTimes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		login := id.New[id.Login]()
		stored := &authn.Login{ID: login, Step: authn.StepCode, User: f.ann, Created: f.clock.Now(), Expires: f.clock.Now().Add(time.Hour)}
		must(t, f.store.CreateLogin(t.Context(), stored, f.browser.Hash()))
		code := authn.MailCode{Login: login, Hash: secret.Random("").Hash(), Sent: f.clock.Now(), Expires: f.clock.Now().Add(5 * time.Minute)}
		must(t, f.store.PutMailCode(t.Context(), code))
		var mu sync.Mutex
		var all sync.WaitGroup
		got := 0
		for range 20 {
			all.Go(func() {
				_, err := f.store.TryMailCode(t.Context(), login, 5, f.clock.Now())
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					got++
				} else if !errors.Is(err, fault.NotFound) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got != 5 {
			t.Errorf("%d tries of twenty at once were judged, want 5", got)
		}
		must(t, f.store.PutMailCode(t.Context(), code))
		if _, err := f.store.TryMailCode(t.Context(), login, 5, code.Expires); !errors.Is(err, fault.NotFound) {
			t.Errorf("after five minutes: %v", err)
		}
	})
}

func TestMailCodeCountsForTheLockOut(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		rights := takesMail
		rights.lockout = authz.Lockout{Attempts: 3, For: 5 * time.Minute}
		letters := f.withPasskeys(t, rights)
		login := f.atCode(t)
		code := letters.codes()[0]
		for range 3 {
			_, err := f.SubmitCode(t.Context(), login, f.browser, wrong(code), false, client)
			wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		}
		_, err := f.SubmitCode(t.Context(), login, f.browser, code, false, client)
		wantFault(t, err, fault.Throttled, "account_closed")
	})
}

func TestMailCodeIsSentAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, takesMail)
		login := f.atCode(t)
		first := letters.codes()[0]
		wantFault(t, f.SendMailCode(t.Context(), login, f.browser), fault.Throttled, "attempts")
		other := f.atCode(t) // nor does another sign-in
		if got := len(letters.codes()); got != 1 {
			t.Errorf("%d letters within a moment, want 1", got)
		}
		f.clock.advance(31 * time.Second)
		must(t, f.SendMailCode(t.Context(), login, f.browser))
		if first != letters.codes()[0] { // one in a million is the same
			_, err := f.SubmitCode(t.Context(), login, f.browser, first, false, client)
			wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		}
		f.clock.advance(31 * time.Second)
		wantFault(t, f.SendMailCode(t.Context(), other, f.browser), fault.Throttled, "attempts") // the wait doubles
		wantFault(t, f.SendMailCode(t.Context(), login, secret.Random("")), fault.NotFound, "")
		_, err := f.SubmitCode(t.Context(), login, f.browser, letters.codes()[0], false, client)
		must(t, err)
		f.clock.advance(5 * time.Minute)
		stale := f.atCode(t)
		f.clock.advance(5 * time.Minute)
		_, err = f.SubmitCode(t.Context(), stale, f.browser, letters.codes()[0], false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
	})
}

// A code by mail is another way for who has an app, but not where a sign-in has
// to be a fresh one, and confirms nothing.
func TestMailCodeBesideAnApp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, takesMail)
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		login := f.atCode(t)
		if len(letters.codes()) != 0 {
			t.Error("a code is sent that nobody asked for")
		}
		current, err := f.Login(t.Context(), login, f.browser)
		must(t, err)
		ways, err := f.Ways(t.Context(), current)
		must(t, err)
		if want := []authn.Way{authn.WayApp, authn.WayMail}; !slices.Equal(ways, want) {
			t.Errorf("got the ways %v, want %v", ways, want)
		}
		must(t, f.SendMailCode(t.Context(), login, f.browser))
		done, err := f.SubmitCode(t.Context(), login, f.browser, letters.codes()[0], true, client)
		must(t, err)
		if sudo, err := f.Sudo(t.Context(), done.Session); err != nil || sudo {
			t.Errorf("a code by mail confirms changes of the app: %v, %v", sudo, err)
		}

		trusted := f.signInFrom(t, home, annEmail, annPassword, done.DeviceCookie)
		session, err := f.Session(t.Context(), trusted.Cookie)
		must(t, err)
		if got, want := session.ACRAt(f.clock.Now(), takes), session.ACRAt(f.clock.Now(), refuse); got != authn.ACR2 || want != authn.ACR1 {
			t.Errorf("a browser trusted by mail counts as %s where codes by mail are taken, and as %s elsewhere", got, want)
		}

		fresh := f.signInFrom(t, authn.LoginRequest{Continue: "/me", Fresh: true}, annEmail, annPassword, secret.Text{})
		wantFault(t, f.SendMailCode(t.Context(), fresh.ID, f.browser), fault.NotFound, "no_mail_code")
		up, err := f.StartStepUp(t.Context(), f.browser, done.Session, home, true)
		must(t, err)
		wantFault(t, f.SendMailCode(t.Context(), up.ID, f.browser), fault.NotFound, "no_mail_code")
	})
}

func TestNoMailCode(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.withPasskeys(t, asks{demanding: []directory.SecondFactorDemand{{Tenant: "Berlin"}}})
		done := f.signIn(t) // where no tenant takes them
		_, err := f.StartStepUp(t.Context(), f.browser, done.Session, home, false)
		wantFault(t, err, fault.NotFound, "")
		f.withPasskeys(t, takesMail)
		if sudo, err := f.Sudo(t.Context(), done.Session); err != nil || sudo {
			t.Errorf("a password alone confirms where codes by mail are demanded: %v, %v", sudo, err)
		}
		none := f.addUser(t, "")
		_, err = f.StartStepUp(t.Context(), f.browser, &authn.Session{User: none}, home, true)
		wantFault(t, err, fault.NotFound, "") // who has no address has no mail
		must(t, f.SetTOTP(t.Context(), none, secret.NewText(annKey)))
		wantFault(t, f.RemoveTOTP(t.Context(), none), fault.Denied, "second_factor_required")
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		must(t, f.RemoveTOTP(t.Context(), f.ann))
	})
}

// A code by mail is of use while its person has the address that it went to.
func TestMailCodeIsTiedToTheAddress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, takesMail)
		login := f.atCode(t)
		moves := func(address string) {
			t.Helper()
			_, err := f.store.UpdateUser(t.Context(), f.ann, func(u *directory.User) error {
				u.Email = address
				return nil
			})
			must(t, err)
		}
		moves("ann@elsewhere.example")
		_, err := f.SubmitCode(t.Context(), login, f.browser, letters.codes()[0], false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		moves(strings.ToUpper(annEmail))
		_, err = f.SubmitCode(t.Context(), login, f.browser, letters.codes()[0], false, client)
		must(t, err)
	})
}
