package authn

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Authentication context classes: how strongly a person has signed in. Order
// them with CompareACR.
const (
	ACR1                 = "urn:rolecall:acr:1" // one factor
	ACR2                 = "urn:rolecall:acr:2" // two factors
	ACRPhishingResistant = "phr"                // OpenID EAP ACR Values 1.0 §2
)

// Authentication methods (RFC 8176 §2).
const (
	AMRPassword    = "pwd"
	AMROneTimeCode = "otp"
	AMRMultiFactor = "mfa"

	// AMRMultipleChannels is of a code by mail: mail is no second factor by itself.
	AMRMultipleChannels = "mca"

	// AMRFederated is of a sign-in by a tenant's own provider, for which RFC 8176 has
	// no name: what the provider asked for is its own affair, and in the audit trail.
	AMRFederated = "fed"

	// Of a passkey: where its key is, and that somebody was there.
	AMRHardwareKey  = "hwk"
	AMRSoftwareKey  = "swk"
	AMRUserPresence = "user"
)

// CompareACR returns a negative number if a is weaker than b, 0 if they are the
// same, and a positive number if a is stronger. What is not one of the classes
// above is weaker than all of them.
func CompareACR(a, b string) int {
	order := []string{ACR1, ACR2, ACRPhishingResistant}
	return slices.Index(order, a) - slices.Index(order, b)
}

// A Session is a signed-in browser. Its ID is the claim "sid" and no secret: the
// browser proves the session by a cookie, of which only the hash is stored.
type Session struct {
	ID        id.Session
	User      id.User
	AuthTime  time.Time // when the person last proved who they are
	ACR       string
	AMR       []string
	Created   time.Time
	LastSeen  time.Time     // exact to a minute
	Idle      time.Duration // the longest that it was not used for before LastSeen
	Expires   time.Time     // at the latest; it ends earlier when it is not used
	UserAgent string
	Address   string
	// TrustedAt is when the person trusted the browser that they signed in with; it
	// is zero where they had to pass a second factor or have none, and after the
	// device was removed or has expired.
	TrustedAt time.Time
	// TrustedByMail: it was a code by mail that the person trusted the browser with.
	TrustedByMail bool

	// Unlimited: no tenant of the person's limited for how long sessions count when
	// this one was read. It is false where nobody has asked.
	Unlimited bool

	Device id.TrustedDevice // empty: none
	// Via is the tenant's own provider by which the person signed in: what it is good
	// for is directory's to say (Rights.Admits).
	Via directory.Via
}

// ACRAt returns the session's authentication context class for a tenant, which
// may let a trusted device stand in for the second factor for a time, and take
// codes by mail for one.
func (s *Session) ACRAt(now time.Time, tenant *directory.Standing) string {
	if CompareACR(s.ACR, ACR2) >= 0 {
		return s.ACR
	}
	trusted := !s.TrustedAt.IsZero() && now.Before(s.TrustedAt.Add(tenant.TrustedDevice))
	switch {
	case trusted && !s.TrustedByMail:
		return ACR2
	case tenant.MailCodes && (trusted || slices.Contains(s.AMR, AMRMultipleChannels)):
		return ACR2
	}
	return s.ACR
}

// Reasons for the end of a session, as the audit trail has them.
const (
	endedBySignOut        = "sign_out"
	endedByPasswordChange = "password_change"
	endedForUser          = "user"
	endedByProvider       = "identity_provider"
)

// Session returns the session that a browser's cookie stands for, and counts as
// a use of it. It fails with fault.Unauthenticated if the cookie is missing or
// unknown, if the session has ended, expired or was not used for too long, and
// if the user is disabled.
func (a *Authn) Session(ctx context.Context, cookie secret.Text) (*Session, error) {
	session, _, err := a.SignedIn(ctx, cookie)
	return session, err
}

// SignedIn is Session that returns as well whose it is.
func (a *Authn) SignedIn(ctx context.Context, cookie secret.Text) (*Session, *directory.User, error) {
	if cookie.Empty() {
		return nil, nil, errNoSession()
	}
	now := a.now()
	session, person, err := a.store.SessionByToken(ctx, cookie.Hash(), a.alive(now))
	if err != nil {
		return nil, nil, noSessionIfNotFound(err)
	}
	if unused := now.Sub(session.LastSeen); unused >= seenResolution {
		session.Idle, session.LastSeen = max(session.Idle, unused), now
		if err := a.store.TouchSession(ctx, session.ID, now, session.Idle); err != nil {
			return nil, nil, err
		}
	}
	return session, person, nil
}

// Within reports whether the session counts at now by the limits of a tenant, or of
// several. That something else has woken it up after too long changes nothing.
func (s *Session) Within(limits directory.SessionLimits, now time.Time) bool {
	idle := max(s.Idle, now.Sub(s.LastSeen))
	return (limits.Idle == 0 || idle < limits.Idle) && (limits.Lifetime == 0 || now.Before(s.AuthTime.Add(limits.Lifetime)))
}

// WithinAll reports whether the session counts by the limits of all tenants that
// its person can use: what is asked where none of them is meant.
func (a *Authn) WithinAll(ctx context.Context, session *Session) (bool, error) {
	if session.Unlimited {
		return true, nil
	}
	limits, err := a.rights.SessionLimits(ctx, session.User)
	return err == nil && session.Within(limits, a.now()), err
}

// Accepts reports whether what an application holds of the session is accepted at
// now, by the server's limits and those of the tenant that it counts in. Of the
// session only how it was used is looked at.
func (a *Authn) Accepts(session *Session, tenant directory.SessionLimits, now time.Time) bool {
	return now.Before(session.Expires) && session.Within(tenant.With(directory.SessionLimits{Idle: a.limits.SessionIdle}), now)
}

// Used counts as a use of a session that was found to be accepted: an application
// has got new tokens by it.
func (a *Authn) Used(ctx context.Context, session *Session) error {
	now := a.now()
	unused := now.Sub(session.LastSeen)
	if unused < seenResolution {
		return nil
	}
	return a.store.TouchSession(ctx, session.ID, now, max(session.Idle, unused))
}

// SessionByID returns a session by the claim "sid", for what is bound to it, such
// as a refresh token. It does not count as a use. It fails as Session does.
func (a *Authn) SessionByID(ctx context.Context, session id.Session) (*Session, error) {
	found, err := a.store.Session(ctx, session, a.alive(a.now()))
	if err != nil {
		return nil, noSessionIfNotFound(err)
	}
	return found, nil
}

// Sessions returns the user's sessions, the last used first.
func (a *Authn) Sessions(ctx context.Context, user id.User) ([]Session, error) {
	return a.store.SessionsOfUser(ctx, user, a.alive(a.now()))
}

// SignOut ends one session. One that is over already stays as it is.
func (a *Authn) SignOut(ctx context.Context, session id.Session) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		now := a.now()
		ended, err := a.store.EndSession(ctx, session, now)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return a.sessionEnded(ctx, now, *ended, endedBySignOut)
	})
}

// EndSessionsVia ends the sessions that began at a tenant's provider, and returns
// them as they were. It joins the transaction in ctx.
func (a *Authn) EndSessionsVia(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) ([]Session, error) {
	now := a.now()
	ended, err := a.store.EndSessionsVia(ctx, tenant, provider, now)
	if err != nil {
		return nil, err
	}
	for _, session := range ended {
		if err := a.sessionEnded(ctx, now, session, endedByProvider); err != nil {
			return nil, err
		}
	}
	return ended, nil
}

// EndSessions ends all sessions of a user, forgets their trusted devices, and
// returns the sessions as they were. It joins
// the transaction in ctx: it is authn's part of a lock-out.
func (a *Authn) EndSessions(ctx context.Context, user id.User) ([]Session, error) {
	return a.endSessions(ctx, user, endedForUser)
}

func (a *Authn) endSessions(ctx context.Context, user id.User, reason string) ([]Session, error) {
	var ended []Session
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		now := a.now()
		var err error
		if ended, err = a.store.EndSessionsOfUser(ctx, user, now); err != nil {
			return err
		}
		if err := a.RemoveTrustedDevices(ctx, user, reason); err != nil {
			return err
		}
		for _, session := range ended {
			if err := a.sessionEnded(ctx, now, session, reason); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

func (a *Authn) sessionEnded(ctx context.Context, now time.Time, session Session, reason string) error {
	return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "session.end", "session", string(session.ID),
		map[string]any{"user": session.User, "reason": reason}))
}

// startSession makes a session for a person who has just passed their factors,
// and returns it with its cookie. A session that the browser has and that is the
// same person's is renewed, so that what was granted through it goes on. The
// cookie is new either way: one planted before the sign-in is worth nothing
// after it.
func (a *Authn) startSession(ctx context.Context, p proof, client Client) (*Session, secret.Text, error) {
	now, cookie := a.now(), secret.Random("")
	session := &Session{
		ID: id.New[id.Session](), User: p.user, AuthTime: now, ACR: ACROf(p.amr), AMR: p.amr,
		Created: now, LastSeen: now, Expires: now.Add(a.limits.SessionLifetime),
		UserAgent: client.userAgent(), Address: client.Address, Device: p.device, Via: p.via,
	}
	if !p.at.IsZero() && p.at.Before(now) {
		session.AuthTime = p.at
	}
	action, keep := "session.start", a.store.CreateSession
	before, err := a.before(ctx, client.Session, now)
	if err != nil {
		return nil, secret.Text{}, err
	}
	if before != nil && before.User == p.user {
		session.ID, session.Created = before.ID, before.Created
		action, keep = "session.renew", a.store.RenewSession
	}
	if err := keep(ctx, session, cookie.Hash()); err != nil {
		return nil, secret.Text{}, err
	}
	ctx = session.As(ctx)
	err = a.store.AppendEvent(ctx, audit.New(ctx, now, "", action, "session", string(session.ID),
		p.told(map[string]any{"user": p.user, "acr": session.ACR, "amr": p.amr, "address": client.Address, "user_agent": session.UserAgent})))
	if err != nil {
		return nil, secret.Text{}, err
	}
	return session, cookie, nil
}

// before returns the live session that a browser has when another one is about to
// start in it, nil if none.
func (a *Authn) before(ctx context.Context, cookie secret.Text, now time.Time) (*Session, error) {
	if cookie.Empty() {
		return nil, nil
	}
	session, _, err := a.store.SessionByToken(ctx, cookie.Hash(), a.alive(now))
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return session, err
}

// Reopen starts another session in the browser of one that was ended by its own
// person's doing, as strong as that one, and returns it with its cookie.
func (a *Authn) Reopen(ctx context.Context, ended *Session, client Client) (*Session, secret.Text, error) {
	return a.startSession(ctx, proof{user: ended.User, amr: ended.AMR, via: ended.Via}, client)
}

// A proof is what a session begins with.
type proof struct {
	user   id.User
	amr    []string
	device id.TrustedDevice
	via    directory.Via
	at     time.Time // when the person showed who they are; zero: now
}

// told adds to the data of an event by which provider the person came.
func (p *proof) told(data map[string]any) map[string]any {
	if !p.via.None() {
		data["tenant"], data["identity_provider"] = p.via.Tenant, p.via.Provider
	}
	return data
}

// sudoLifetime is for how long after a sign-in sensitive things may be done.
const sudoLifetime = 10 * time.Minute

// Sudo reports whether the person of the session has just shown who they are,
// with all that they sign in with: a trusted device does not count. What is
// sensitive asks for it first.
func (a *Authn) Sudo(ctx context.Context, session *Session) (bool, error) {
	if a.now().Sub(session.AuthTime) >= sudoLifetime {
		return false, nil
	}
	if slices.Contains(session.AMR, AMRMultiFactor) {
		return true, nil
	}
	has, err := a.SecondFactors(ctx, session.User)
	if err != nil || has.Any() || slices.Contains(session.AMR, AMRMultipleChannels) {
		return err == nil && !has.Any(), err
	}
	asked, _, err := a.mailDemanded(ctx, session.User)
	return err == nil && !asked, err
}

// As returns ctx for the changes that the session's person makes: the audit
// trail attributes them to that person.
func (s *Session) As(ctx context.Context) context.Context {
	return audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(s.User)})
}

// ACROf returns the authentication context class that the methods reach by themselves.
func ACROf(amr []string) string {
	switch {
	case slices.Contains(amr, AMRHardwareKey), slices.Contains(amr, AMRSoftwareKey):
		return ACRPhishingResistant
	case slices.Contains(amr, AMRMultiFactor):
		return ACR2
	}
	return ACR1
}

// alive is what a session must be at now to be accepted.
func (a *Authn) alive(now time.Time) Alive {
	return Alive{At: now, SeenAfter: now.Add(-a.limits.SessionIdle)}
}

// errNoSession is the one answer for every reason not to accept a session.
func errNoSession() error {
	return fault.New(fault.Unauthenticated, "sign in to continue")
}

func noSessionIfNotFound(err error) error {
	if errors.Is(err, fault.NotFound) {
		return errNoSession()
	}
	return err
}
