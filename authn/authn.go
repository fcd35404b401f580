package authn

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Deps is what New needs. All fields but Letters, FirstPassword, Limits and Hashing
// are required.
type Deps struct {
	Store   Store
	Rights  Rights
	Keyring *secret.Keyring
	// PublicURL is the address of the instance, which links begin with.
	PublicURL string
	Letters   Letters // nil: nobody is written to
	// FirstPassword is told of somebody who gets a password and had none, in the
	// transaction in which that happens. nil: nobody is.
	FirstPassword func(ctx context.Context, user id.User) error
	Now           func() time.Time
	Logger        *slog.Logger
	Limits        Limits  // zero fields take their defaults
	Hashing       Hashing // zero fields take their defaults
}

// Limits bounds how long things live and how often they may be tried. A zero
// field takes the default that stands beside it.
type Limits struct {
	SessionIdle     time.Duration // a session ends when it isn't used for this long: 12 h
	SessionLifetime time.Duration // and at the latest after this: 30 days
	LoginLifetime   time.Duration // an unfinished sign-in: 10 min
	SetupLifetime   time.Duration // the link that makes the first operator: 60 min
	Passwords       Throttle      // per address typed and network address: 10 free, then 1 s doubling to 15 min
	Codes           Throttle      // per person: 5 free, then 15 min
	Passkeys        Throttle      // per network address, which a whole company may share: 50 free, then 1 s doubling to 15 min
	ResetLifetime   time.Duration // the link that sets a forgotten password: 30 min
	MailCodes       Throttle      // letters with a code, per person: 1 free, then 30 s doubling to 15 min
	Resets          Throttle      // per address typed: 5 free, then 1 min doubling to 1 h
	UserCodes       Throttle      // guesses at a device's code, per network address, which a whole company may share: 20 free, then 1 s doubling to 15 min
	ResetsFrom      Throttle      // per network address, which a whole company may share: 50 free, then as above
	Registrants     Throttle      // tokens of nobody, by which applications would register, per network address: 50 free, then 1 s doubling to 15 min
	Registrations   Throttle      // of applications that fail, per token: 20 free, then 1 s doubling to 15 min
}

// seenResolution is how exact Session.LastSeen is: a busy session is written
// once a minute, not with every request.
const seenResolution = time.Minute

// Authn is the domain's authentication. It is safe for concurrent use.
type Authn struct {
	store   Store
	rights  Rights
	keyring *secret.Keyring

	publicURL     string
	letters       Letters
	firstPassword func(ctx context.Context, user id.User) error

	party *webauthn.WebAuthn // nil: nobody can have a passkey

	now    func() time.Time
	logger *slog.Logger
	limits Limits
	hasher *hasher
}

// New returns an Authn.
func New(d Deps) (*Authn, error) {
	hasher, err := newHasher(d.Hashing.withDefaults())
	if err != nil {
		return nil, err
	}
	party, err := newRelyingParty(d.PublicURL)
	if err != nil {
		return nil, err
	}
	if d.Letters == nil {
		d.Letters = nobody{}
	}
	if d.FirstPassword == nil {
		d.FirstPassword = func(context.Context, id.User) error { return nil }
	}
	return &Authn{
		publicURL: d.PublicURL, letters: d.Letters, firstPassword: d.FirstPassword, party: party,
		store: d.Store, rights: d.Rights, keyring: d.Keyring, now: d.Now, logger: d.Logger,
		limits: d.Limits.withDefaults(), hasher: hasher,
	}, nil
}

func (l Limits) withDefaults() Limits {
	const day = 24 * time.Hour
	l.SessionIdle = orDefault(l.SessionIdle, 12*time.Hour)
	l.SessionLifetime = orDefault(l.SessionLifetime, 30*day)
	l.LoginLifetime = orDefault(l.LoginLifetime, 10*time.Minute)
	l.SetupLifetime = orDefault(l.SetupLifetime, time.Hour)
	l.Passwords = orDefault(l.Passwords, Throttle{Free: 10, First: time.Second, Longest: 15 * time.Minute, Memory: time.Hour})
	l.Codes = orDefault(l.Codes, Throttle{Free: 5, First: 15 * time.Minute, Longest: 15 * time.Minute, Memory: day})
	l.MailCodes = orDefault(l.MailCodes, Throttle{Free: 1, First: 30 * time.Second, Longest: 15 * time.Minute, Memory: time.Hour})
	l.Passkeys = orDefault(l.Passkeys, Throttle{Free: 50, First: time.Second, Longest: 15 * time.Minute, Memory: time.Hour})
	l.ResetLifetime = orDefault(l.ResetLifetime, 30*time.Minute)
	l.Resets = orDefault(l.Resets, Throttle{Free: 5, First: time.Minute, Longest: time.Hour, Memory: day})
	l.UserCodes = orDefault(l.UserCodes, Throttle{Free: 20, First: time.Second, Longest: 15 * time.Minute, Memory: time.Hour})
	l.Registrants = orDefault(l.Registrants, Throttle{Free: 50, First: time.Second, Longest: 15 * time.Minute, Memory: time.Hour})
	l.Registrations = orDefault(l.Registrations, Throttle{Free: 20, First: time.Second, Longest: 15 * time.Minute, Memory: time.Hour})
	l.ResetsFrom = orDefault(l.ResetsFrom, Throttle{Free: 50, First: time.Minute, Longest: time.Hour, Memory: time.Hour})
	return l
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Sweep removes what was over a day ago: unfinished sign-ins, counts of failed
// attempts, links and sessions. It returns how many rows went.
func (a *Authn) Sweep(ctx context.Context) (int, error) {
	return a.store.DeleteExpired(ctx, a.now().Add(-sweepAfter))
}

// sweepAfter keeps what is over for a while, for those who look into a problem.
const sweepAfter = 24 * time.Hour
