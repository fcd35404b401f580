package authn_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

const day = 24 * time.Hour

// trust signs Ann in with both factors, has the browser trusted, and returns its
// cookie.
func (f *fixture) trust(t *testing.T) secret.Text {
	t.Helper()
	f.clock.advance(time.Minute) // so that the code is a new one
	login, err := f.SubmitCode(t.Context(), f.atCode(t), f.browser, f.code(t, f.clock.Now()), true, client)
	must(t, err)
	if login.DeviceCookie.Empty() {
		t.Fatal("the browser is not trusted")
	}
	return login.DeviceCookie
}

// signInFrom submits the password from a browser with that trusted device.
func (f *fixture) signInFrom(t *testing.T, request authn.LoginRequest, identifier, password string, device secret.Text) *authn.Login {
	t.Helper()
	login, err := f.StartLogin(f.browser, request)
	must(t, err)
	from := client
	from.Device = device
	must(t, f.SubmitPassword(t.Context(), login, identifier, secret.NewText(password), from))
	return login
}

var home = authn.LoginRequest{Continue: "/me"}

// EM-R27; security.md §5.4.
func TestTrustedDeviceSparesTheSecondFactor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		device := f.trust(t)
		trusted := f.clock.Now()
		f.clock.advance(time.Hour)
		login := f.signInFrom(t, home, annEmail, annPassword, device)
		if login.Step != authn.StepDone {
			t.Fatalf("got step %s, want no question", login.Step)
		}
		if got := login.Session; got.ACR != authn.ACR1 || !slices.Equal(got.AMR, []string{authn.AMRPassword}) {
			t.Errorf("the session claims %s %v, want one factor", got.ACR, got.AMR)
		}
		session, err := f.Session(t.Context(), login.Cookie)
		must(t, err)
		if !session.TrustedAt.Equal(trusted) {
			t.Errorf("trusted at %v, want %v", session.TrustedAt, trusted)
		}
		for _, window := range []struct {
			trusts time.Duration
			want   string
		}{{30 * day, authn.ACR2}, {2 * time.Hour, authn.ACR2}, {time.Hour, authn.ACR1}, {0, authn.ACR1}} {
			if got := session.ACRAt(f.clock.Now(), &directory.Standing{TrustedDevice: window.trusts}); got != window.want {
				t.Errorf("a tenant that trusts for %v sees %s, want %s", window.trusts, got, window.want)
			}
		}
		if login.DeviceCookie.Empty() || login.DeviceCookie.Equal(device) {
			t.Error("the cookie is not a new one")
		}
		if again := f.signInFrom(t, home, annEmail, annPassword, device); again.Step != authn.StepCode {
			t.Error("the cookie of before still works")
		}
		if again := f.signInFrom(t, home, annEmail, annPassword, login.DeviceCookie); again.Step != authn.StepDone {
			t.Error("the new cookie does not work")
		}
	})
}

func TestTrustedDeviceIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, f *fixture, device *secret.Text, request *authn.LoginRequest){
		"without the cookie": func(_ *testing.T, _ *fixture, device *secret.Text, _ *authn.LoginRequest) { *device = secret.Text{} },
		"with another cookie": func(_ *testing.T, _ *fixture, device *secret.Text, _ *authn.LoginRequest) {
			*device = secret.Random("")
		},
		"for a step-up":     func(_ *testing.T, _ *fixture, _ *secret.Text, request *authn.LoginRequest) { request.Fresh = true },
		"after thirty days": func(_ *testing.T, f *fixture, _ *secret.Text, _ *authn.LoginRequest) { f.clock.advance(30 * day) },
		"after its removal": func(t *testing.T, f *fixture, _ *secret.Text, _ *authn.LoginRequest) {
			devices, err := f.TrustedDevices(t.Context(), f.ann)
			must(t, err)
			if len(devices) != 1 || devices[0].UserAgent != "test" || devices[0].Address != client.Address {
				t.Fatalf("got the devices %+v", devices)
			}
			must(t, f.RemoveTrustedDevice(t.Context(), f.ann, devices[0].ID))
			wantFault(t, f.RemoveTrustedDevice(t.Context(), f.ann, devices[0].ID), fault.NotFound, "")
		},
		"after the removal of all": func(t *testing.T, f *fixture, _ *secret.Text, _ *authn.LoginRequest) {
			must(t, f.RemoveTrustedDevices(t.Context(), f.ann, "test"))
		},
		"after sign-out everywhere": func(t *testing.T, f *fixture, _ *secret.Text, _ *authn.LoginRequest) {
			_, err := f.EndSessions(t.Context(), f.ann)
			must(t, err)
		},
		"after a change of the second factor": func(t *testing.T, f *fixture, _ *secret.Text, _ *authn.LoginRequest) {
			must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, f *fixture) {
				must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
				device, request := f.trust(t), home
				change(t, f, &device, &request)
				if login := f.signInFrom(t, request, annEmail, annPassword, device); login.Step != authn.StepCode {
					t.Errorf("got step %s, want the code to be asked for", login.Step)
				}
			})
		})
	}
}

func TestTrustedDeviceEndsWithThePassword(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		device := f.trust(t)
		must(t, f.SetPassword(t.Context(), f.ann, secret.NewText("another good password")))
		if login := f.signInFrom(t, home, annEmail, "another good password", device); login.Step != authn.StepCode {
			t.Errorf("got step %s, want the code to be asked for", login.Step)
		}
	})
}

func TestTrustedDeviceIsOnePersons(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		bob := f.addUser(t, "bob@berlin.example")
		must(t, f.SetPassword(t.Context(), bob, secret.NewText(annPassword)))
		must(t, f.SetTOTP(t.Context(), bob, secret.NewText("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")))
		device := f.trust(t)
		if login := f.signInFrom(t, home, "bob@berlin.example", annPassword, device); login.Step != authn.StepCode {
			t.Error("Ann's device spares Bob the second factor")
		}
		devices, err := f.TrustedDevices(t.Context(), f.ann)
		must(t, err)
		wantFault(t, f.RemoveTrustedDevice(t.Context(), bob, devices[0].ID), fault.NotFound, "")
		wantFault(t, f.RemoveTrustedDevice(t.Context(), f.ann, ""), fault.NotFound, "")
		if left, err := f.TrustedDevices(t.Context(), f.ann); err != nil || len(left) != 1 {
			t.Errorf("got %v, %v, want Ann's device still", left, err)
		}
	})
}

// A removed device takes what it stood in for from the sessions that relied on it.
func TestRemovedDeviceWeakensItsSessions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		login := f.signInFrom(t, home, annEmail, annPassword, f.trust(t))
		must(t, f.RemoveTrustedDevices(t.Context(), f.ann, "test"))
		session, err := f.Session(t.Context(), login.Cookie)
		must(t, err)
		if got := session.ACRAt(f.clock.Now(), &directory.Standing{TrustedDevice: 30 * day}); got != authn.ACR1 {
			t.Errorf("the session still counts as %s", got)
		}
	})
}

// noDevices is a person whose tenants trust no browser.
type noDevices struct{ asks }

func (noDevices) SignInPolicy(context.Context, id.User) (directory.SignInPolicy, error) {
	return directory.SignInPolicy{}, nil
}

func TestZeroDaysTrustNoDevice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		device := f.trust(t)
		f.Authn = newAuthnWith(t, f.store, f.clock, cheap, noDevices{})
		if login := f.signInFrom(t, home, annEmail, annPassword, device); login.Step != authn.StepCode || login.TrustFor != 0 {
			t.Errorf("got step %s, trusted for %v", login.Step, login.TrustFor)
		}
		f.clock.advance(time.Minute)
		login, err := f.SubmitCode(t.Context(), f.atCode(t), f.browser, f.code(t, f.clock.Now()), true, client)
		must(t, err)
		if !login.DeviceCookie.Empty() {
			t.Error("a device was trusted that the policy does not allow")
		}
	})
}

// Of two sign-ins with one copied cookie, one is asked.
func TestTrustedDeviceRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		device := f.trust(t)
		var spared, wrong int
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				login, err := f.StartLogin(f.browser, home)
				from := client
				from.Device = device
				if err == nil {
					err = f.SubmitPassword(t.Context(), login, annEmail, secret.NewText(annPassword), from)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					wrong++
				case login.Step == authn.StepDone:
					spared++
				}
			})
		}
		all.Wait()
		if spared != 1 || wrong != 0 {
			t.Errorf("%d of 8 were spared, %d failed, want 1 and 0", spared, wrong)
		}
	})
}

// EM-R29: a key is pending, shown once, and active with the first right code.
func TestTOTPKeyIsPendingUntilACodeOfIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		_, err := f.ActivateTOTP(t.Context(), f.ann, "123456")
		wantFault(t, err, fault.NotFound, "no_pending_totp")
		first, err := f.BeginTOTP(t.Context(), f.ann)
		must(t, err)
		key, err := f.BeginTOTP(t.Context(), f.ann)
		must(t, err)
		if key.Equal(first) || len(key.Reveal()) != 32 {
			t.Errorf("got the keys %d and %d letters long", len(first.Reveal()), len(key.Reveal()))
		}
		if shown, err := f.PendingTOTP(t.Context(), f.ann); err != nil || !shown.Equal(key) {
			t.Errorf("another key is shown: %v", err)
		}
		if login := f.signInFrom(t, home, annEmail, annPassword, secret.Text{}); login.Step != authn.StepDone {
			t.Error("a pending key is asked for")
		}
		_, err = f.ActivateTOTP(t.Context(), f.ann, f.codeOf(t, first))
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		_, err = f.ActivateTOTP(t.Context(), f.ann, " ")
		wantFault(t, err, fault.Invalid, "")
		codes, err := f.ActivateTOTP(t.Context(), f.ann, f.codeOf(t, key))
		must(t, err)
		if len(codes) != 10 {
			t.Errorf("got %d recovery codes, want 10", len(codes))
		}
		_, err = f.ActivateTOTP(t.Context(), f.ann, f.codeOf(t, key))
		wantFault(t, err, fault.NotFound, "no_pending_totp")
		login := f.atCode(t)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.codeOf(t, key), false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode) // it was used to activate the key
		f.clock.advance(30 * time.Second)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.codeOf(t, key), false, client)
		must(t, err)
	})
}

func (f *fixture) codeOf(t *testing.T, key secret.Text) string {
	t.Helper()
	code, err := totp.GenerateCodeCustom(key.Reveal(), f.clock.Now(), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
	must(t, err)
	return code
}

func TestActivationIsThrottled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		key, err := f.BeginTOTP(t.Context(), f.ann)
		must(t, err)
		for range 5 {
			_, err := f.ActivateTOTP(t.Context(), f.ann, "0")
			wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		}
		_, err = f.ActivateTOTP(t.Context(), f.ann, f.codeOf(t, key))
		wantFault(t, err, fault.Throttled, "attempts")
	})
}

func TestAnotherAppReplacesTheFirst(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		key, err := f.BeginTOTP(t.Context(), f.ann)
		must(t, err)
		login := f.atCode(t)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now()), false, client) // the old one, still
		must(t, err)
		_, err = f.ActivateTOTP(t.Context(), f.ann, f.codeOf(t, key))
		must(t, err)
		f.clock.advance(time.Minute)
		login = f.atCode(t)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now()), false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.codeOf(t, key), false, client)
		must(t, err)
	})
}

// EM-R30.
func TestSecondFactorThatIsDemandedStays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		f.Authn = newAuthnWith(t, f.store, f.clock, cheap, asks{demanding: []directory.SecondFactorDemand{{Tenant: "Berlin"}}})
		err := f.RemoveTOTP(t.Context(), f.ann)
		wantFault(t, err, fault.Denied, "second_factor_required")
		if !strings.Contains(fault.As(err).Detail, "Berlin") {
			t.Errorf("%q does not say who requires it", fault.As(err).Detail)
		}
		must(t, f.RemoveSecondFactors(t.Context(), f.ann)) // an administrator may
		if has, err := f.SecondFactors(t.Context(), f.ann); err != nil || has.RecoveryCodes != 0 {
			t.Errorf("got %d recovery codes, %v: they stand in for nothing", has.RecoveryCodes, err)
		}
		wantFault(t, f.RemoveTOTP(t.Context(), f.ann), fault.NotFound, "no_totp")
	})
}

// NIST SP 800-63B §5.1.2; security.md §5.3.
func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		old, err := f.NewRecoveryCodes(t.Context(), f.ann)
		must(t, err)
		codes, err := f.NewRecoveryCodes(t.Context(), f.ann)
		must(t, err)
		seen := map[string]bool{}
		for _, code := range codes {
			if text := code.Reveal(); len(text) != 14 || seen[text] {
				t.Errorf("got the code %q", text)
			}
			seen[code.Reveal()] = true
		}
		login := f.atCode(t)
		_, err = f.SubmitCode(t.Context(), login, f.browser, old[0].Reveal(), false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		typed := strings.ToUpper(strings.ReplaceAll(codes[0].Reveal(), "-", " "))
		done, err := f.SubmitCode(t.Context(), login, f.browser, typed, true, client)
		must(t, err)
		if want := []string{"pwd", "mfa"}; !slices.Equal(done.Session.AMR, want) {
			t.Errorf("got the methods %v, want %v: RFC 8176 has no name for a recovery code", done.Session.AMR, want)
		}
		if done.Session.ACR != authn.ACR2 || !done.DeviceCookie.Empty() {
			t.Errorf("got %s, trusted %v: a recovery code trusts no device", done.Session.ACR, !done.DeviceCookie.Empty())
		}
		_, err = f.SubmitCode(t.Context(), f.atCode(t), f.browser, codes[0].Reveal(), false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		if has, err := f.SecondFactors(t.Context(), f.ann); err != nil || has.RecoveryCodes != 9 {
			t.Errorf("got %d left, %v", has.RecoveryCodes, err)
		}
	})
}

func TestRecoveryCodeRacedByFifty(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		codes, err := f.NewRecoveryCodes(t.Context(), f.ann)
		must(t, err)
		logins := make([]id.Login, 50)
		for i := range logins {
			logins[i] = f.atCode(t)
		}
		var in int
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, login := range logins {
			all.Go(func() {
				_, err := f.SubmitCode(t.Context(), login, f.browser, codes[0].Reveal(), false, client)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					in++
				} else if !errors.Is(err, fault.Unauthenticated) && !errors.Is(err, fault.Throttled) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if in != 1 {
			t.Errorf("one code let %d in", in)
		}
	})
}

func TestStepUpAsksForTheSecondFactorOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		done := f.signInFrom(t, home, annEmail, annPassword, secret.Text{})
		_, err := f.StartStepUp(t.Context(), f.browser, done.Session, home, false)
		wantFault(t, err, fault.NotFound, "")
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		login, err := f.StartStepUp(t.Context(), f.browser, done.Session, home, false)
		must(t, err)
		from := client
		from.Session = done.Cookie
		stronger, err := f.SubmitCode(t.Context(), login.ID, f.browser, f.code(t, f.clock.Now()), false, from)
		must(t, err)
		if got := stronger.Session; got.ID != done.Session.ID || got.ACR != authn.ACR2 || !slices.Equal(got.AMR, []string{"pwd", "otp", "mfa"}) {
			t.Errorf("got %+v, want the same session with two factors", got)
		}
	})
}

func TestSudo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		want := func(session *authn.Session, want bool, why string) {
			t.Helper()
			if got, err := f.Sudo(t.Context(), session); err != nil || got != want {
				t.Errorf("%s: got %v, %v, want %v", why, got, err, want)
			}
		}
		done := f.signInFrom(t, home, annEmail, annPassword, secret.Text{})
		want(done.Session, true, "just signed in, has no second factor")
		f.clock.advance(10 * time.Minute)
		want(done.Session, false, "after ten minutes")
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		trusted := f.signInFrom(t, home, annEmail, annPassword, f.trust(t))
		want(trusted.Session, false, "by a trusted device")
		f.clock.advance(time.Minute)
		both, err := f.SubmitCode(t.Context(), f.atCode(t), f.browser, f.code(t, f.clock.Now()), false, client)
		must(t, err)
		want(both.Session, true, "with both factors")
	})
}

// SI-R10.
func TestPasswordPolicyOfTheTenants(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		f.Authn = newAuthnWith(t, f.store, f.clock, cheap, strict{})
		for _, weak := range []string{"no upper 1 case", "No Number at all"} {
			err := f.SetPassword(t.Context(), f.ann, secret.NewText(weak))
			if !errors.Is(err, fault.Invalid) || fault.As(err).Field != "password" {
				t.Errorf("%q: got %v", weak, err)
			}
		}
		must(t, f.SetPassword(t.Context(), f.ann, secret.NewText("Good enough 1")))
	})
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.CheckPassword(t.Context(), f.ann, secret.NewText(annPassword)))
		wantFault(t, f.CheckPassword(t.Context(), f.ann, secret.Text{}), fault.Invalid, "missing")
		wantFault(t, f.CheckPassword(t.Context(), f.addUser(t, "bob@berlin.example"), secret.NewText(annPassword)), fault.Invalid, "no_password")
		for range 10 {
			wantFault(t, f.CheckPassword(t.Context(), f.ann, secret.NewText("wrong")), fault.Invalid, "wrong")
		}
		wantFault(t, f.CheckPassword(t.Context(), f.ann, secret.NewText(annPassword)), fault.Throttled, "attempts")
	})
}

// strict is a person with a tenant that asks for more of a password.
type strict struct{ asks }

func (strict) PasswordPolicy(context.Context, id.User) (directory.PasswordPolicy, error) {
	return directory.PasswordPolicy{Each: []*authz.PasswordPolicy{{Min: 8, Upper: 1, Digit: 1}}}, nil
}
