package authn

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// Store is what authentication needs of a database. All methods join the
// transaction that InTx put in ctx, if there is one. Credentials, logins and
// sessions belong to people, not to tenants.
type Store interface {
	// InTx runs fn in one transaction, which is rolled back if fn fails. A
	// call within fn joins the outer transaction.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// AppendEvent writes an entry of the audit trail.
	AppendEvent(ctx context.Context, event audit.Event) error
	// AppendDelivery writes a row of the outbox.
	AppendDelivery(ctx context.Context, d outbox.Delivery) error

	// User fails with fault.NotFound.
	User(ctx context.Context, user id.User) (*directory.User, error)
	// CreateUser fails with fault.Conflict on email.
	CreateUser(ctx context.Context, u *directory.User) error
	// HasOperator reports whether there is a user who runs the instance.
	HasOperator(ctx context.Context) (bool, error)

	SessionStore
	CredentialStore
	LoginStore
	DeviceStore
	PasskeyStore
	RecoveryStore
	MailCodeStore
	BrowserStore
	LinkStore
	LookStore
	ApplicationTokenStore
	ActivityStore

	// DeleteExpired removes logins, attempts, links, trusted devices and sessions that were over
	// before the given time, and returns how many.
	DeleteExpired(ctx context.Context, before time.Time) (int, error)
}

// Alive is what a session must be to be found: not ended, not expired at At, last
// seen after SeenAfter, and of a user who is not disabled.
type Alive struct {
	At        time.Time
	SeenAfter time.Time
}

// SessionStore keeps sessions.
type SessionStore interface {
	CreateSession(ctx context.Context, s *Session, token secret.Hash) error
	// RenewSession stores a session that is there already with another cookie,
	// and fails with fault.NotFound where it has ended.
	RenewSession(ctx context.Context, s *Session, token secret.Hash) error
	// SessionByToken returns the person of the session as well. It fails with
	// fault.NotFound where no live session has that cookie.
	SessionByToken(ctx context.Context, token secret.Hash, alive Alive) (*Session, *directory.User, error)
	// Session fails with fault.NotFound where no live session has that id.
	Session(ctx context.Context, session id.Session, alive Alive) (*Session, error)
	// SessionsOfUser returns the live ones, the last used first.
	SessionsOfUser(ctx context.Context, user id.User, alive Alive) ([]Session, error)
	// TouchSession never moves the time back, and keeps the longest idle.
	TouchSession(ctx context.Context, session id.Session, seen time.Time, idle time.Duration) error
	// EndSession fails with fault.NotFound where there is none, or it has
	// ended; of several callers one gets the session.
	EndSession(ctx context.Context, session id.Session, at time.Time) (*Session, error)
	// EndSessionsOfUser returns those that it ended.
	EndSessionsOfUser(ctx context.Context, user id.User, at time.Time) ([]Session, error)
	// EndSessionsVia returns those that it ended.
	EndSessionsVia(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, at time.Time) ([]Session, error)
}

// A Credential is what is needed to judge a password.
type Credential struct {
	User     id.User
	Disabled bool
	Hash     string // PHC string; empty where the person has no password
	// MustChange: the password lets the person do nothing but choose another one.
	MustChange bool
}

// TOTPKeyID names the key of an authenticator app.
type TOTPKeyID string

// TOTPStatus says whether a key is asked for.
type TOTPStatus string

// The statuses of a key.
const (
	TOTPPending TOTPStatus = "pending" // shown to the person, who has not entered a code of it
	TOTPActive  TOTPStatus = "active"
)

// A TOTPKey is a key of an authenticator app (RFC 6238).
type TOTPKey struct {
	ID       TOTPKeyID
	User     id.User
	Status   TOTPStatus
	Secret   []byte // sealed for the place "totp_keys/secret/" + ID
	LastStep int64  // the last time step whose code was accepted
	Created  time.Time
}

// CredentialStore keeps passwords and the keys of authenticator apps.
type CredentialStore interface {
	// SecondFactors counts, in one statement, what the user can be asked for after
	// the password.
	SecondFactors(ctx context.Context, user id.User) (SecondFactors, error)
	// CredentialByEmail ignores case, and fails with fault.NotFound. It is one
	// statement whatever it finds, so that its time tells nothing.
	CredentialByEmail(ctx context.Context, email string) (*Credential, error)
	// PasswordHash fails with fault.NotFound where the user has no password.
	PasswordHash(ctx context.Context, user id.User) (string, error)
	// PutPasswordHash stores a hash, of a password that need not be changed.
	PutPasswordHash(ctx context.Context, user id.User, hash string, at time.Time) error
	// RequirePasswordChange marks the user's password as one that must be changed,
	// if there is one.
	RequirePasswordChange(ctx context.Context, user id.User) error
	// KeepOldPassword adds the hash of a password that was replaced to the user's
	// old ones, unless it is empty, and leaves the last keep of them.
	KeepOldPassword(ctx context.Context, user id.User, hash string, replaced time.Time, keep int) error
	// OldPasswords returns the hashes of at most so many old passwords, the last
	// first.
	OldPasswords(ctx context.Context, user id.User, most int) ([]string, error)
	// SwapPasswordHash stores next in place of old, and reports false where old
	// is not what is stored.
	SwapPasswordHash(ctx context.Context, user id.User, old, next string) (bool, error)

	// TOTPKeys returns the user's keys, the active ones first, the oldest of each first.
	TOTPKeys(ctx context.Context, user id.User) ([]TOTPKey, error)
	// CreateTOTPKey stores a key in place of the user's one of the same status.
	CreateTOTPKey(ctx context.Context, key TOTPKey) error
	// ActivateTOTPKey makes a pending key the only active one, with the step whose
	// code has been entered, and fails with fault.NotFound where it is not pending.
	ActivateTOTPKey(ctx context.Context, user id.User, key TOTPKeyID, step int64) error
	// DeleteTOTPKeys removes the user's key, or all where key is empty, and
	// returns how many of those that went were active.
	DeleteTOTPKeys(ctx context.Context, user id.User, key TOTPKeyID) (int, error)
	// AdvanceTOTPKey sets the key's last step, and reports false where the key
	// is gone or its last step is not before step: of several callers with one
	// code, on any nodes, one gets true.
	AdvanceTOTPKey(ctx context.Context, key TOTPKeyID, step int64) (bool, error)
}

// LoginStore keeps unfinished sign-ins and the count of failed ones.
type LoginStore interface {
	CreateLogin(ctx context.Context, l *Login, browser secret.Hash) error
	// Login fails with fault.NotFound where the login is another browser's, has
	// expired at now, or is complete.
	Login(ctx context.Context, login id.Login, browser secret.Hash, now time.Time) (*Login, error)
	// TakeLogin removes the login, and fails with fault.NotFound where it is
	// gone: of several callers one succeeds.
	TakeLogin(ctx context.Context, login id.Login) error

	// UpdateAttempts loads the attempts under a lock, lets change modify them
	// and stores the result unless change fails. What was never stored, or has
	// expired at now, is the zero value.
	UpdateAttempts(ctx context.Context, key secret.Hash, now time.Time, change func(*Attempts) error) error
	ForgetAttempts(ctx context.Context, keys ...secret.Hash) error
	// Attempts is what UpdateAttempts would begin with.
	Attempts(ctx context.Context, key secret.Hash, now time.Time) (Attempts, error)
}

// A Link is a token that works once, sent by mail or printed for the operator.
type Link struct {
	Purpose string
	Subject string // what the link is about; empty for the set-up
	SentTo  string // the address that it was mailed to, folded: it is good while the person has that one; empty: for all
	Created time.Time
	Expires time.Time
}

// LookStore keeps what tenants look like.
type LookStore interface {
	// Branding returns the zero value for a tenant that says nothing.
	Branding(ctx context.Context, tenant id.Tenant) (*directory.Branding, error)
}

// LinkStore keeps one-time links.
type LinkStore interface {
	// PutLink stores the link in place of an unused one with the same purpose
	// and subject.
	PutLink(ctx context.Context, l Link, token secret.Hash) error
	// Link returns an unused link, and fails with fault.NotFound where there is
	// none or it has expired at now.
	Link(ctx context.Context, purpose string, token secret.Hash, now time.Time) (*Link, error)
	// TakeLink is Link and uses the link up: of several callers one succeeds.
	TakeLink(ctx context.Context, purpose string, token secret.Hash, now time.Time) (*Link, error)
	// TakeExpiredLink uses up a link that nobody used in time, and fails with
	// fault.NotFound where there is none.
	TakeExpiredLink(ctx context.Context, purpose string, now time.Time) (*Link, error)
	// DropPasswordLinks ends the unused links by which the user could choose a
	// password: to replace a forgotten one, and those of invitations.
	DropPasswordLinks(ctx context.Context, user id.User) error
}

// ApplicationTokenStore keeps application tokens.
type ApplicationTokenStore interface {
	// CreateApplicationToken fails with fault.Conflict where the secret is, or
	// was, another token's, or the name that of one that is not revoked.
	CreateApplicationToken(ctx context.Context, t *StoredToken) error
	// ApplicationTokenByName returns the token of that name that is not revoked,
	// in the tenant, or of the instance where tenant is empty. It holds a lock on
	// it, and fails with fault.NotFound.
	ApplicationTokenByName(ctx context.Context, tenant id.Tenant, name string) (*StoredToken, error)
	// LockApplicationToken returns a token of the tenant and holds a lock on it.
	// It fails with fault.NotFound.
	LockApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) (*StoredToken, error)
	// ReplaceApplicationToken stores the changed token.
	ReplaceApplicationToken(ctx context.Context, t *StoredToken) error
	// ApplicationTokenByHash returns the token that has the secret, or had it
	// before its last rotation, whether it is in force or not. It fails with
	// fault.NotFound.
	ApplicationTokenByHash(ctx context.Context, token secret.Hash) (*LiveToken, error)
	// ApplicationTokenByID returns a token of the tenant, or of the instance where
	// tenant is empty. It fails with fault.NotFound.
	ApplicationTokenByID(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) (*LiveToken, error)
	// ApplicationTokens returns the tokens of the tenant, those of one creator if
	// that is not empty, by falling id: at most limit, below before if that is
	// not empty.
	ApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User, before id.ApplicationToken, limit int) ([]ApplicationToken, error)
	// TouchApplicationToken writes down the last use, if it is the latest.
	TouchApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken, used time.Time) error
	// RevokeStrandedTokens revokes the tokens of the tenant whose creators are a
	// member of none of the homes, operators apart, and returns them.
	RevokeStrandedTokens(ctx context.Context, tenant id.Tenant, homes []id.Tenant, at time.Time) ([]ApplicationToken, error)
	// RevokeApplicationTokens revokes the tokens that the user made in the tenant
	// and returns them.
	RevokeApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User, at time.Time) ([]ApplicationToken, error)
}
