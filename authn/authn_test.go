package authn_test

import (
	"context"
	"database/sql" //nolint:depguard // the tests look at what is stored
	"errors"
	"log/slog"
	"path/filepath"
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
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/storage"
)

const (
	annEmail    = "Ann@Berlin.example"
	annPassword = "correct horse battery"
	annKey      = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

// fixture is an instance with one person, Ann, and a clock that stands still.
type fixture struct {
	*authn.Authn
	store    *storage.Store
	database string // the URL, to look at what is stored
	clock    *clock
	ann      id.User
	browser  secret.Text
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// cheap makes hashing fast; how long it takes is argon2's business.
var cheap = authn.Hashing{Memory: 64, Passes: 1}

func newAuthn(t *testing.T, store authn.Store, clock *clock, hashing authn.Hashing) *authn.Authn {
	t.Helper()
	return newAuthnWith(t, store, clock, hashing, asks{})
}

func newAuthnWith(t *testing.T, store authn.Store, clock *clock, hashing authn.Hashing, rights authn.Rights) *authn.Authn {
	t.Helper()
	keyring, err := secret.NewKeyring(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a, err := authn.New(authn.Deps{
		Store: store, Rights: rights, Keyring: keyring, Now: clock.Now, Logger: slog.New(slog.DiscardHandler), Hashing: hashing,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// asks is a person's tenants: they trust a browser for thirty days, and those
// named demand a second factor.
type asks struct {
	authn.Rights

	demanding []directory.SecondFactorDemand
	mail      bool // they take codes by mail
	password  directory.PasswordPolicy
	lockout   authz.Lockout
	sessions  directory.SessionLimits
}

func (a asks) SignInPolicy(context.Context, id.User) (directory.SignInPolicy, error) {
	return directory.SignInPolicy{TrustedDevice: 30 * 24 * time.Hour, MailCodes: a.mail}, nil
}

func (a asks) BoundElsewhere(context.Context, id.User) ([]directory.Standing, error) { return nil, nil }

func (a asks) ManagesAlone(context.Context, id.Tenant, id.User) (bool, error) { return false, nil }

func (a asks) SessionLimits(context.Context, id.User) (directory.SessionLimits, error) {
	return a.sessions, nil
}

func (a asks) Lockout(context.Context, string) (authz.Lockout, error) { return a.lockout, nil }

func (a asks) PasswordPolicy(context.Context, id.User) (directory.PasswordPolicy, error) {
	return a.password, nil
}

func (a asks) SecondFactorAt(ctx context.Context, user id.User) ([]directory.SecondFactorDemand, directory.SignInPolicy, error) {
	policy, err := a.SignInPolicy(ctx, user)
	return a.demanding, policy, err
}

// each runs test on both databases.
func each(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for name, address := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") },
		"postgres": dbtest.Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			database := address(t)
			store, err := storage.Open(t.Context(), database)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := &fixture{
				store: store, database: database, clock: &clock{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)},
				browser: secret.Random(""),
			}
			f.Authn = newAuthn(t, store, f.clock, cheap)
			f.ann = f.addUser(t, annEmail)
			must(t, f.SetPassword(t.Context(), f.ann, secret.NewText(annPassword)))
			test(t, f)
		})
	}
}

func (f *fixture) addUser(t *testing.T, email string) id.User {
	t.Helper()
	u := &directory.User{ID: id.New[id.User](), Email: email, Created: f.clock.Now(), Modified: f.clock.Now()}
	must(t, f.store.CreateUser(t.Context(), u))
	return u.ID
}

func (f *fixture) start(t *testing.T) *authn.Login {
	t.Helper()
	login, err := f.StartLogin(f.browser, authn.LoginRequest{Continue: "/me"})
	must(t, err)
	return login
}

var client = authn.Client{UserAgent: "test", Address: "192.0.2.1"}

func (f *fixture) password(ctx context.Context, login *authn.Login, identifier, password string) (*authn.Login, error) {
	return login, f.SubmitPassword(ctx, login, identifier, secret.NewText(password), client)
}

// atCode returns a sign-in of Ann that waits for her code.
func (f *fixture) atCode(t *testing.T) id.Login {
	t.Helper()
	login, err := f.password(t.Context(), f.start(t), annEmail, annPassword)
	must(t, err)
	if login.Step != authn.StepCode {
		t.Fatalf("got step %s, want code", login.Step)
	}
	return login.ID
}

// signIn signs Ann in with her password alone.
func (f *fixture) signIn(t *testing.T) *authn.Login {
	t.Helper()
	done, err := f.password(t.Context(), f.start(t), annEmail, annPassword)
	must(t, err)
	if done.Step != authn.StepDone {
		t.Fatalf("got step %s, want done", done.Step)
	}
	return done
}

func (f *fixture) code(t *testing.T, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCodeCustom(annKey, at, totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
	must(t, err)
	return code
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if !errors.Is(err, kind) || fault.As(err).Code != code {
		t.Errorf("got error %v, want %v with code %q", err, kind, code)
	}
}

// column returns one text of the database, whichever dialect it speaks.
func (f *fixture) column(t *testing.T, query string) []string {
	t.Helper()
	driver, source := "sqlite", strings.TrimPrefix(f.database, "sqlite:")
	if f.store.Dialect() == "postgres" {
		driver, source = "pgx", f.database
	}
	db, err := sql.Open(driver, source)
	must(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer rows.Close()
	var texts []string
	for rows.Next() {
		var text string
		must(t, rows.Scan(&text))
		texts = append(texts, text)
	}
	must(t, rows.Err())
	return texts
}

func TestSignInWithPassword(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		done, err := f.password(t.Context(), f.start(t), " aNN@berlin.EXAMPLE ", annPassword)
		must(t, err)
		s, err := f.Session(t.Context(), done.Cookie)
		must(t, err)
		if s.User != f.ann || s.ACR != authn.ACR1 || !slices.Equal(s.AMR, []string{"pwd"}) || !s.AuthTime.Equal(f.clock.Now()) {
			t.Errorf("got session %+v, want Ann's with one factor, authenticated now", s)
		}
		if s.UserAgent != client.UserAgent || s.Address != client.Address || !s.Expires.Equal(s.Created.Add(30*24*time.Hour)) {
			t.Errorf("got session %+v, want the client's data and 30 days", s)
		}
		if again := f.signIn(t); again.Session.ID == s.ID || again.Cookie.Equal(done.Cookie) {
			t.Error("two sign-ins gave the same session")
		}
		if got := f.column(t, "SELECT action FROM events WHERE action LIKE 'session.%'"); !slices.Equal(got, []string{"session.start", "session.start"}) {
			t.Errorf("got events %v, want two of session.start", got)
		}
	})
}

func TestOnlyTheHashOfACookieIsStored(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		cookie := f.signIn(t).Cookie.Reveal()
		for _, stored := range f.column(t, "SELECT token_hash FROM sessions") {
			if strings.Contains(stored, cookie) {
				t.Error("the cookie itself is stored")
			}
		}
		_, err := f.Session(t.Context(), secret.NewText(cookie[:42]))
		wantFault(t, err, fault.Unauthenticated, "")
		_, err = f.Session(t.Context(), secret.Text{})
		wantFault(t, err, fault.Unauthenticated, "")
	})
}

func TestEveryReasonNotToLetInLooksLikeAWrongPassword(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		disabled := f.addUser(t, "disabled@berlin.example")
		must(t, f.SetPassword(t.Context(), disabled, secret.NewText(annPassword)))
		_, err := f.store.UpdateUser(t.Context(), disabled, func(u *directory.User) error { u.Disabled = true; return nil })
		must(t, err)
		f.addUser(t, "nopassword@berlin.example")
		_, want := f.password(t.Context(), f.start(t), annEmail, "wrong password")
		wantFault(t, want, fault.Unauthenticated, authn.CodeWrongCredentials)
		for name, try := range map[string][2]string{
			"unknown":     {"nobody@berlin.example", annPassword},
			"disabled":    {"disabled@berlin.example", annPassword},
			"no password": {"nopassword@berlin.example", annPassword},
			"not an address, control characters, too long": {"\x00' OR 1=1 --", strings.Repeat("\x01", 5000)},
		} {
			_, err := f.password(t.Context(), f.start(t), try[0], try[1])
			if err == nil || err.Error() != want.Error() {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
		causes := strings.Join(f.column(t, "SELECT data FROM events WHERE action = 'login.fail'"), "\n")
		for _, cause := range []string{"wrong_password", "unknown_user", "disabled", "no_password"} {
			if !strings.Contains(causes, cause) {
				t.Errorf("the audit trail lacks the cause %s:\n%s", cause, causes)
			}
		}
	})
}

func TestMissingInputNamesTheField(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		login := f.start(t)
		for field, try := range map[string][2]string{"login": {" ", annPassword}, "password": {annEmail, ""}} {
			_, err := f.password(t.Context(), login, try[0], try[1])
			if !errors.Is(err, fault.Invalid) || fault.As(err).Field != field {
				t.Errorf("got %v, want invalid with field %s", err, field)
			}
		}
		if _, err := f.password(t.Context(), login, annEmail, annPassword); err != nil {
			t.Errorf("an empty form used the login up: %v", err)
		}
	})
}

func TestLoginBelongsToOneBrowser(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		login := f.atCode(t)
		for name, browser := range map[string]secret.Text{"another": secret.Random(""), "none": {}} {
			_, err := f.Login(t.Context(), login, browser)
			if !errors.Is(err, fault.NotFound) {
				t.Errorf("%s browser: got %v, want not found", name, err)
			}
			_, err = f.SubmitCode(t.Context(), login, browser, f.code(t, f.clock.Now()), false, client)
			wantFault(t, err, fault.NotFound, "")
		}
		_, err := f.StartLogin(secret.Text{}, authn.LoginRequest{Continue: "/me"})
		wantFault(t, err, fault.Invalid, "no_cookie")
		_, err = f.StartLogin(f.browser, authn.LoginRequest{Continue: "//evil.example"})
		wantFault(t, err, fault.Invalid, "")
	})
}

func TestLoginExpiresAndWorksOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		login := f.atCode(t)
		_, err := f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now()), false, client)
		must(t, err)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now().Add(30*time.Second)), false, client)
		wantFault(t, err, fault.NotFound, "")
		login = f.atCode(t)
		f.clock.advance(10*time.Minute + time.Second)
		_, err = f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now()), false, client)
		wantFault(t, err, fault.NotFound, "")
	})
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(strings.ToLower(annKey[:16])+" "+annKey[16:]+"==")))
		at := f.start(t)
		login := at.ID

		// A step can't be skipped.
		_, err := f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now()), false, client)
		wantFault(t, err, fault.NotFound, "")

		at, err = f.password(t.Context(), at, annEmail, annPassword)
		must(t, err)
		if at.Step != authn.StepCode || at.Session != nil || !at.Cookie.Empty() {
			t.Fatalf("got %+v after the password, want StepCode without a session", at)
		}
		if n := len(f.column(t, "SELECT id FROM sessions")); n != 0 {
			t.Fatalf("%d sessions before the second factor", n)
		}
		_, err = f.SubmitCode(t.Context(), login, f.browser, " ", false, client)
		if fault.As(err).Field != "code" || !errors.Is(err, fault.Invalid) {
			t.Errorf("got %v for an empty code, want invalid with field code", err)
		}
		for _, steps := range []int{-2, 2} {
			_, err = f.SubmitCode(t.Context(), login, f.browser, f.code(t, f.clock.Now().Add(time.Duration(steps)*30*time.Second)), false, client)
			wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		}
		f.clock.advance(3 * time.Second)
		code := f.code(t, f.clock.Now().Add(30*time.Second))
		done, err := f.SubmitCode(t.Context(), login, f.browser, code[:3]+" "+code[3:], false, client)
		must(t, err)
		s, err := f.Session(t.Context(), done.Cookie)
		must(t, err)
		if s.ACR != authn.ACR2 || !slices.Equal(s.AMR, []string{"pwd", "otp", "mfa"}) || !s.AuthTime.Equal(f.clock.Now()) {
			t.Errorf("got session %+v, want two factors, authenticated now", s)
		}
	})
}

func TestCodeWorksOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		code := f.code(t, f.clock.Now())
		// In parallel, and through two nodes.
		nodes := []*authn.Authn{f.Authn, newAuthn(t, f.store, f.clock, cheap)}
		var passed, refused int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 4 {
			login := f.atCode(t)
			wg.Go(func() {
				_, err := nodes[i%2].SubmitCode(t.Context(), login, f.browser, code, false, client)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					passed++
				case errors.Is(err, fault.Unauthenticated):
					refused++
				default:
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if passed != 1 || refused != 3 {
			t.Errorf("one code passed %d times and was refused %d times, want 1 and 3", passed, refused)
		}
		// Applying the same key again must not forget which codes were used.
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		_, err := f.SubmitCode(t.Context(), f.atCode(t), f.browser, code, false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
		// Nor does the code of the step before work any more.
		_, err = f.SubmitCode(t.Context(), f.atCode(t), f.browser, f.code(t, f.clock.Now().Add(-30*time.Second)), false, client)
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCode)
	})
}

func TestTooManyWrongCodes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		tryCode := func(code string) error {
			login := f.atCode(t) // the right password must not reset the count
			_, err := f.SubmitCode(t.Context(), login, f.browser, code, false, client)
			return err
		}
		wrong := f.code(t, f.clock.Now().Add(time.Hour))
		for range 5 {
			wantFault(t, tryCode(wrong), fault.Unauthenticated, authn.CodeWrongCode)
		}
		err := tryCode(f.code(t, f.clock.Now()))
		wantFault(t, err, fault.Throttled, "attempts")
		if wait := fault.As(err).RetryAfter; wait != 15*time.Minute {
			t.Errorf("got %v to wait, want 15 min", wait)
		}
		f.clock.advance(15*time.Minute + time.Second)
		must(t, tryCode(f.code(t, f.clock.Now())))
	})
}

func TestWrongPasswordsSlowDown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		for _, identifier := range []string{annEmail, "nobody@berlin.example"} {
			for range 10 {
				_, err := f.password(t.Context(), f.start(t), identifier, "wrong password")
				wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCredentials)
			}
			var waits []time.Duration
			for range 3 {
				_, err := f.password(t.Context(), f.start(t), strings.ToUpper(identifier), annPassword)
				wantFault(t, err, fault.Throttled, "attempts")
				waits = append(waits, fault.As(err).RetryAfter)
				f.clock.advance(fault.As(err).RetryAfter)
				_, err = f.password(t.Context(), f.start(t), identifier, "wrong password")
				wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCredentials)
			}
			if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(waits, want) {
				t.Errorf("%s: got delays %v, want %v", identifier, waits, want)
			}
		}
		// Ann herself, elsewhere, is not shut out, and gets in here after the delay.
		elsewhere := authn.Client{Address: "198.51.100.7"}
		must(t, f.SubmitPassword(t.Context(), f.start(t), annEmail, secret.NewText(annPassword), elsewhere))
		f.clock.advance(8 * time.Second)
		f.signIn(t)
		_, err := f.password(t.Context(), f.start(t), annEmail, "wrong password")
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCredentials) // the count began anew
	})
}

func TestParallelGuessesAreAllCounted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		var judged, throttled int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 40 {
			login := f.start(t)
			wg.Go(func() {
				_, err := f.password(t.Context(), login, annEmail, "wrong password")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, fault.Unauthenticated):
					judged++
				case errors.Is(err, fault.Throttled):
					throttled++
				default:
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if judged != 10 || throttled != 30 {
			t.Errorf("%d guesses were judged and %d turned away, want 10 and 30", judged, throttled)
		}
	})
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		gone := func(why string, login *authn.Login) {
			t.Helper()
			if _, err := f.Session(t.Context(), login.Cookie); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("%s: by cookie: got %v, want unauthenticated", why, err)
			}
			if _, err := f.SessionByID(t.Context(), login.Session.ID); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("%s: by id: got %v, want unauthenticated", why, err)
			}
			if sessions, err := f.Sessions(t.Context(), f.ann); err != nil || len(sessions) != 0 {
				t.Errorf("%s: got sessions %v, %v, want none", why, sessions, err)
			}
		}
		login := f.signIn(t)
		must(t, f.SignOut(t.Context(), login.Session.ID))
		must(t, f.SignOut(t.Context(), login.Session.ID))
		gone("signed out", login)
		if n := len(f.column(t, "SELECT id FROM events WHERE action = 'session.end'")); n != 1 {
			t.Errorf("signing out twice wrote %d events, want 1", n)
		}

		login = f.signIn(t)
		other := f.signIn(t)
		ended, err := f.EndSessions(t.Context(), f.ann)
		if err != nil || len(ended) != 2 {
			t.Errorf("got %v, %v, want both sessions", ended, err)
		}
		gone("ended", login)
		gone("ended", other)

		login = f.signIn(t)
		must(t, f.SetPassword(t.Context(), f.ann, secret.NewText("another password")))
		gone("password changed", login)
		must(t, f.SetPassword(t.Context(), f.ann, secret.NewText(annPassword)))

		login = f.signIn(t)
		for range 3 { // used every 11 hours: stays
			f.clock.advance(11 * time.Hour)
			if _, err := f.Session(t.Context(), login.Cookie); err != nil {
				t.Fatal(err)
			}
		}
		f.clock.advance(12*time.Hour + time.Second)
		gone("idle", login)

		login = f.signIn(t)
		for range 60 {
			f.clock.advance(11*time.Hour + 59*time.Minute)
			_, err := f.Session(t.Context(), login.Cookie)
			must(t, err)
		}
		f.clock.advance(time.Hour)
		gone("30 days", login)

		login = f.signIn(t)
		_, err = f.store.UpdateUser(t.Context(), f.ann, func(u *directory.User) error { u.Disabled = true; return nil })
		must(t, err)
		gone("disabled", login)
	})
}

func TestSessionIsSeenOnceAMinute(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		login := f.signIn(t)
		began := f.clock.Now()
		f.clock.advance(59 * time.Second)
		s, err := f.Session(t.Context(), login.Cookie)
		must(t, err)
		if !s.LastSeen.Equal(began) {
			t.Errorf("seen %v after the start, want no write within a minute", s.LastSeen.Sub(began))
		}
		f.clock.advance(time.Second)
		_, err = f.Session(t.Context(), login.Cookie)
		must(t, err)
		s, err = f.SessionByID(t.Context(), login.Session.ID)
		must(t, err)
		if got := s.LastSeen.Sub(began); got != time.Minute {
			t.Errorf("seen %v after the start, want 1 min", got)
		}
	})
}

func TestPasswordRules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		bob := f.addUser(t, "bob@berlin.example")
		for code, password := range map[string]string{
			"too_short":     "seven77",
			"too_long":      strings.Repeat("x", 257),
			"characters":    "tab\tand bell\a and more",
			"same_as_email": "BOB@berlin.example",
		} {
			err := f.SetPassword(t.Context(), bob, secret.NewText(password))
			wantFault(t, err, fault.Invalid, code)
			if fault.As(err).Field != "password" || strings.Contains(err.Error(), password) {
				t.Errorf("got %v, want the field password and not the password", err)
			}
		}
		if has, err := f.HasPassword(t.Context(), bob); has || err != nil {
			t.Errorf("got %v, %v after refused passwords, want false", has, err)
		}
		// The same characters, composed by one keyboard and decomposed by another.
		must(t, f.SetPassword(t.Context(), bob, secret.NewText("Caf\u00e9 \U0001F511 ok")))
		if has, err := f.HasPassword(t.Context(), bob); !has || err != nil {
			t.Errorf("got %v, %v, want true", has, err)
		}
		_, err := f.password(t.Context(), f.start(t), "bob@berlin.example", "Cafe\u0301 \U0001F511 ok")
		must(t, err)
	})
}

func TestSamePasswordChangesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		login := f.signIn(t)
		before := f.column(t, "SELECT hash FROM passwords")
		must(t, f.SetPassword(t.Context(), f.ann, secret.NewText(annPassword)))
		if after := f.column(t, "SELECT hash FROM passwords"); !slices.Equal(before, after) {
			t.Error("the hash was made anew")
		}
		_, err := f.Session(t.Context(), login.Cookie)
		must(t, err)
		if n := len(f.column(t, "SELECT id FROM events WHERE action = 'password.change'")); n != 1 {
			t.Errorf("got %d events password.change, want the first one only", n)
		}
	})
}

func TestHashIsRefreshedWhenParametersChange(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		before := f.column(t, "SELECT hash FROM passwords")
		f.Authn = newAuthn(t, f.store, f.clock, authn.Hashing{Memory: 128, Passes: 2})
		f.signIn(t)
		after := f.column(t, "SELECT hash FROM passwords")
		if !strings.HasPrefix(before[0], "$argon2id$v=19$m=64,t=1,p=1$") || !strings.HasPrefix(after[0], "$argon2id$v=19$m=128,t=2,p=1$") {
			t.Errorf("got %.30s then %.30s", before[0], after[0])
		}
		f.signIn(t)
		if again := f.column(t, "SELECT hash FROM passwords"); again[0] != after[0] {
			t.Error("a current hash was made anew")
		}
	})
}

func TestTOTPKeyRules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		for _, key := range []string{"", "not base32!", "JBSWY3DPEHPK3PX"} {
			err := f.SetTOTP(t.Context(), f.ann, secret.NewText(key))
			if !errors.Is(err, fault.Invalid) || fault.As(err).Field != "totp" {
				t.Errorf("%q: got %v, want invalid with field totp", key, err)
			}
		}
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		if has, err := f.HasTOTP(t.Context(), f.ann); !has || err != nil {
			t.Errorf("got %v, %v, want true", has, err)
		}
		for _, stored := range f.column(t, "SELECT secret FROM totp_keys") {
			if strings.Contains(stored, "Hello!") { // what the base32 begins with
				t.Error("the key is stored unsealed")
			}
		}
	})
}

func TestSetup(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		form := authn.SetupForm{Email: "olive@ops.example", Given: "Olive", Family: "Ops", Password: secret.NewText("a long password")}
		if needs, err := f.NeedsSetup(t.Context()); !needs || err != nil {
			t.Fatalf("got %v, %v, want true", needs, err)
		}
		old, err := f.SetupLink(t.Context())
		must(t, err)
		token, err := f.SetupLink(t.Context())
		must(t, err)
		for name, dead := range map[string]secret.Text{"replaced": old, "made up": secret.Random(""), "empty": {}} {
			if _, _, err := f.CompleteSetup(t.Context(), dead, form, client); !errors.Is(err, fault.NotFound) {
				t.Errorf("%s link: got %v, want not found", name, err)
			}
		}
		for field, broken := range map[string]authn.SetupForm{
			"email":    {Email: "Olive <olive@ops.example>", Given: "Olive", Family: "Ops", Password: form.Password},
			"given":    {Email: form.Email, Given: " ", Family: "Ops", Password: form.Password},
			"family":   {Email: form.Email, Given: "Olive", Password: form.Password},
			"password": {Email: form.Email, Given: "Olive", Family: "Ops", Password: secret.NewText("short")},
		} {
			_, _, err := f.CompleteSetup(t.Context(), token, broken, client)
			if !errors.Is(err, fault.Invalid) || fault.As(err).Field != field {
				t.Errorf("got %v, want invalid with field %s", err, field)
			}
		}
		taken := form
		taken.Email = strings.ToLower(annEmail)
		if _, _, err := f.CompleteSetup(t.Context(), token, taken, client); !errors.Is(err, fault.Conflict) || fault.As(err).Field != "email" {
			t.Errorf("got %v for Ann's address, want a conflict on email", err)
		}
		must(t, f.CheckSetup(t.Context(), token)) // none of this used it up

		var sessions []*authn.Session
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, cookie, err := f.CompleteSetup(t.Context(), token, form, client)
				if err != nil {
					if !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Conflict) {
						t.Errorf("got %v", err)
					}
					return
				}
				if _, err := f.Session(t.Context(), cookie); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				sessions = append(sessions, s)
			})
		}
		wg.Wait()
		if len(sessions) != 1 {
			t.Fatalf("one link made %d operators", len(sessions))
		}
		u, err := f.store.User(t.Context(), sessions[0].User)
		must(t, err)
		if !u.Operator || u.Email != form.Email || u.Name.String() != "Olive Ops" {
			t.Errorf("got %+v", u)
		}
		_, err = f.SetupLink(t.Context())
		wantFault(t, err, fault.Conflict, "operator_exists")
	})
}

func TestSetupLinkExpires(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		token, err := f.SetupLink(t.Context())
		must(t, err)
		f.clock.advance(time.Hour + time.Second)
		if err := f.CheckSetup(t.Context(), token); !errors.Is(err, fault.NotFound) {
			t.Errorf("got %v, want not found", err)
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		over, stays := f.signIn(t), f.signIn(t)
		must(t, f.SetTOTP(t.Context(), f.ann, secret.NewText(annKey)))
		f.atCode(t)
		_, err := f.password(t.Context(), f.start(t), annEmail, "wrong password")
		wantFault(t, err, fault.Unauthenticated, authn.CodeWrongCredentials)
		must(t, f.SignOut(t.Context(), over.Session.ID))
		if n, err := f.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("swept %d, %v at once, want 0", n, err)
		}
		for range 3 {
			f.clock.advance(11 * time.Hour)
			_, err := f.Session(t.Context(), stays.Cookie)
			must(t, err)
		}
		if n, err := f.Sweep(t.Context()); n != 4 || err != nil { // a session, a login, two counts
			t.Errorf("swept %d, %v after a day, want 4", n, err)
		}
		_, err = f.Session(t.Context(), stays.Cookie)
		must(t, err)
	})
}

func TestSigningInAgainRenewsTheSessionAndReplacesItsCookie(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		first := f.signIn(t)
		f.clock.advance(time.Hour)
		again := f.start(t)
		must(t, f.SubmitPassword(t.Context(), again, annEmail, secret.NewText(annPassword), authn.Client{Session: first.Cookie}))
		if again.Session.ID != first.Session.ID || again.Cookie.Equal(first.Cookie) {
			t.Errorf("got session %s after %s, want the same with another cookie", again.Session.ID, first.Session.ID)
		}
		_, err := f.Session(t.Context(), first.Cookie)
		wantFault(t, err, fault.Unauthenticated, "")
		s, err := f.Session(t.Context(), again.Cookie)
		must(t, err)
		if !s.AuthTime.Equal(f.clock.Now()) || !s.Created.Equal(first.Session.Created) {
			t.Errorf("got %+v, want authenticated now, created before", s)
		}
		// Another person's session, a planted cookie, and one that has ended are not continued.
		bob := f.addUser(t, "bob@berlin.example")
		must(t, f.SetPassword(t.Context(), bob, secret.NewText(annPassword)))
		ended := f.signIn(t)
		must(t, f.SignOut(t.Context(), ended.Session.ID))
		for name, cookie := range map[string]secret.Text{"Ann's": again.Cookie, "planted": secret.NewText("planted"), "ended": ended.Cookie} {
			login := f.start(t)
			must(t, f.SubmitPassword(t.Context(), login, "bob@berlin.example", secret.NewText(annPassword), authn.Client{Session: cookie}))
			if login.Session.ID == again.Session.ID || login.Session.ID == ended.Session.ID || login.Session.User != bob || login.Cookie.Equal(cookie) {
				t.Errorf("%s cookie: got %+v", name, login.Session)
			}
		}
	})
}
