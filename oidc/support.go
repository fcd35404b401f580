package oidc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// How long support sessions last, and how long they are on record.
const (
	SupportLifetime  = time.Hour
	SupportRetention = 400 * 24 * time.Hour
)

// Why support sessions end, beside the codes of authz.Blueprint.MayAssume.
const (
	SupportExpired   = "expired"
	SupportReplaced  = "replaced"   // by the next one, where the role system allows one at a time
	SupportRevoked   = "revoked"    // at the revocation endpoint, or over the API
	SupportSignedOut = "signed_out" // the sign-in of the staff member, from which it came, is over
	SupportLockedOut = "locked_out" // the user or the staff member
	SupportConsent   = "consent"    // the tenant withdrew it
)

// A SupportSession is a staff member acting as a user of another tenant, by one
// access token that names both (RFC 8693 §4.1). The token is in force as long as
// the session is.
type SupportSession struct {
	Tenant      id.Tenant // of the user
	ID          id.SupportSession
	User        id.User
	Membership  id.Membership // of the user
	Staff       id.User
	StaffTenant id.Tenant // where the staff member has the right to assume others
	Grant       id.Grant  // by which the staff member is signed in, in StaffTenant
	Role        string    // taken instead of the user's; empty: the user's own
	Reason      string    // as the staff member gave it
	ClientID    string
	Created     time.Time
	Expires     time.Time
	Ended       time.Time // zero: it runs, unless it has expired
	EndReason   string
}

// Running reports whether the session is neither ended nor expired.
func (s *SupportSession) Running(now time.Time) bool {
	return s.Ended.IsZero() && now.Before(s.Expires)
}

// SupportFilter picks support sessions of a tenant; empty fields pick all.
type SupportFilter struct {
	ID    id.SupportSession
	Staff id.User
}

// SupportStore keeps support sessions. The methods that end sessions return
// those that they ended.
type SupportStore interface {
	// TenantByName finds a tenant by its slug or its id.
	TenantByName(ctx context.Context, slugOrID string) (*directory.Tenant, error)
	User(ctx context.Context, user id.User) (*directory.User, error)
	// UserByEmail ignores case.
	UserByEmail(ctx context.Context, email string) (*directory.User, error)
	// LockTenant holds off every other change of who holds what in the tenant
	// until the transaction ends.
	LockTenant(ctx context.Context, tenant id.Tenant) error
	CreateSupportSession(ctx context.Context, s *SupportSession) error
	SupportSession(ctx context.Context, tenant id.Tenant, session id.SupportSession) (*SupportSession, error)
	// OwnSupportSession returns one of the staff member's that began in his tenant.
	OwnSupportSession(ctx context.Context, staffTenant id.Tenant, staff id.User, session id.SupportSession) (*SupportSession, error)
	// SupportSessions returns the tenant's newest, running and past.
	SupportSessions(ctx context.Context, tenant id.Tenant, most int) ([]SupportSession, error)
	EndSupportSessions(ctx context.Context, tenant id.Tenant, which SupportFilter, at time.Time, reason string) ([]SupportSession, error)
	// EndSupportOf ends those in which somebody acts as the user in the tenant,
	// and those in which the user acts by a right held there; without a tenant,
	// by a right held anywhere.
	EndSupportOf(ctx context.Context, user id.User, tenant id.Tenant, at time.Time, reason string) ([]SupportSession, error)
	// EndExpiredSupport ends those that had expired before.
	EndExpiredSupport(ctx context.Context, before time.Time, reason string) ([]SupportSession, error)
}

// startSupport begins a session if the staff member, signed in by live, may act
// as the user. It fails with invalid_request, whose detail ends in the reason.
func (o *OIDC) startSupport(ctx context.Context, live *Live, s *SupportSession) (*directory.Assumed, error) {
	var assumed *directory.Assumed
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(s.Staff)})
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		// Under the lock neither consent nor anybody's roles change before the
		// session is there for the change to end.
		if err := o.store.LockTenant(ctx, s.Tenant); err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		var err error
		if assumed, err = o.rights.Assume(ctx, s.assumption()); err != nil {
			return err
		}
		if !assumed.Allowed {
			return errAssume(assumed.Code)
		}
		if assumed.SecondFactor && !slices.Contains(live.AMR, authn.AMRMultiFactor) {
			return errAssume("second_factor")
		}
		now := o.now()
		s.ID, s.Membership, s.Grant = id.New[id.SupportSession](), assumed.Standing.Membership, live.ID
		s.Created, s.Expires = now, now.Add(SupportLifetime)
		if !assumed.Policy.Concurrent {
			replaced, err := o.store.EndSupportSessions(ctx, s.Tenant, SupportFilter{Staff: s.Staff}, now, SupportReplaced)
			if err := errors.Join(err, o.supportEnded(ctx, replaced)); err != nil {
				return err
			}
		}
		if err := o.store.CreateSupportSession(ctx, s); err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, supportEvent(ctx, s, live, assumed))
	})
	return assumed, err
}

// principal returns the user as a caller behind whom the staff member stands.
func (s *SupportSession) principal() authz.Principal {
	return authz.Principal{
		Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: s.Tenant, User: s.User, Membership: s.Membership,
		Application: s.ClientID, Support: &authz.Staff{User: s.Staff, Tenant: s.StaffTenant, Override: s.Role},
	}
}

// supportEvent tells the tenant that somebody acts as one of its users. It is
// also what tells the person where the role system asks for that (notify).
func supportEvent(ctx context.Context, s *SupportSession, live *Live, assumed *directory.Assumed) audit.Event {
	action, severity := "support_session.start", "info"
	if e := assumed.Policy.Event; e != nil {
		action, severity = e.Type, cmp.Or(e.Severity, severity)
	}
	data := s.event()
	data["severity"], data["staff_tenant"], data["reason"], data["expires"] = severity, live.TenantSlug, s.Reason, s.Expires
	data["notify"] = assumed.Policy.Consent == authz.ConsentNotify
	return audit.New(ctx, s.Created, s.Tenant, action, "user", string(s.User), data)
}

// event returns who acts as whom, for the audit trail.
func (s *SupportSession) event() map[string]any {
	return map[string]any{
		"support_session": s.ID, "staff": s.Staff, "staff_tid": s.StaffTenant, "target": s.User, "membership": s.Membership,
		"role": s.Role, "client_id": s.ClientID,
	}
}

// supportEnded writes the events of sessions that have just ended.
func (o *OIDC) supportEnded(ctx context.Context, ended []SupportSession) error {
	for i := range ended {
		s := &ended[i]
		data := s.event()
		data["reason"] = s.EndReason
		if err := o.store.AppendEvent(ctx, audit.New(ctx, o.now(), s.Tenant, "support_session.end", "user", string(s.User), data)); err != nil {
			return err
		}
	}
	return nil
}

func (s *SupportSession) assumption() directory.Assumption {
	return directory.Assumption{Staff: s.Staff, StaffTenant: s.StaffTenant, User: s.User, Tenant: s.Tenant, Role: s.Role}
}

// support returns a running session with what it may do now. Everything that
// decided at its beginning is asked again; where the answer is no now, the
// session ends for good. It fails with invalid_token.
func (o *OIDC) support(ctx context.Context, tenant id.Tenant, session id.SupportSession) (*SupportSession, *directory.Assumed, error) {
	s, err := o.store.SupportSession(ctx, tenant, session)
	if errors.Is(err, fault.NotFound) || err == nil && !s.Running(o.now()) {
		return nil, nil, errToken()
	}
	if err != nil {
		return nil, nil, err
	}
	staff, err := o.store.Live(ctx, s.StaffTenant, s.Grant, "")
	signedIn := err == nil
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, nil, err
	}
	if signedIn {
		if signedIn, err = o.alive(ctx, staff, o.now()); err != nil {
			return nil, nil, err
		}
	}
	over := SupportSignedOut
	if signedIn {
		assumed, err := o.rights.Assume(ctx, s.assumption())
		if err != nil || assumed.Allowed {
			return s, assumed, err
		}
		over = assumed.Code
	}
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorSystem})
	if err := o.endSupport(ctx, tenant, SupportFilter{ID: session}, over); err != nil {
		return nil, nil, err
	}
	return nil, nil, errToken()
}

// endSupport ends the running sessions that match.
func (o *OIDC) endSupport(ctx context.Context, tenant id.Tenant, which SupportFilter, reason string) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		ended, err := o.store.EndSupportSessions(ctx, tenant, which, o.now(), reason)
		return errors.Join(err, o.supportEnded(ctx, ended))
	})
}

// EndSupport implements directory.Holdings.
func (o *OIDC) EndSupport(ctx context.Context, tenant id.Tenant, reason string) error {
	return o.endSupport(ctx, tenant, SupportFilter{}, reason)
}

// endSupportOf ends the sessions that a lock-out touches: see EndSupportOf of
// SupportStore.
func (o *OIDC) endSupportOf(ctx context.Context, user id.User, tenant id.Tenant) error {
	ended, err := o.store.EndSupportOf(ctx, user, tenant, o.now(), SupportLockedOut)
	return errors.Join(err, o.supportEnded(ctx, ended))
}

// endExpiredSupport writes down the end of sessions that nobody ended.
func (o *OIDC) endExpiredSupport(ctx context.Context) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		ended, err := o.store.EndExpiredSupport(ctx, o.now(), SupportExpired)
		return errors.Join(err, o.supportEnded(ctx, ended))
	})
}

// SupportSessions returns the newest support sessions in the tenant, running
// and past, 200 at most. Whether the caller may see them is asked before.
func (o *OIDC) SupportSessions(ctx context.Context, tenant id.Tenant) ([]SupportSession, error) {
	const most = 200
	return o.store.SupportSessions(ctx, tenant, most)
}

// SupportSession returns one, or fails with fault.NotFound.
func (o *OIDC) SupportSession(ctx context.Context, tenant id.Tenant, session id.SupportSession) (*SupportSession, error) {
	return o.store.SupportSession(ctx, tenant, session)
}

// OwnSupportSession returns one of the staff member's that began in his tenant,
// or fails with fault.NotFound.
func (o *OIDC) OwnSupportSession(ctx context.Context, staffTenant id.Tenant, staff id.User, session id.SupportSession) (*SupportSession, error) {
	return o.store.OwnSupportSession(ctx, staffTenant, staff, session)
}

// EndSupportSession ends one by somebody's word; one that is over stays as it
// is. Whether the caller may is asked before.
func (o *OIDC) EndSupportSession(ctx context.Context, tenant id.Tenant, session id.SupportSession) error {
	return o.endSupport(ctx, tenant, SupportFilter{ID: session}, SupportRevoked)
}

// supportClaims are those of a support session's token. Permissions are always
// there: the roles alone would promise what such sessions never may. Groups are
// left out where another role is taken, and so are the user's other tenants.
func supportClaims(assumed *directory.Assumed, override string, scopes []string) TenantClaims {
	st := assumed.Standing
	claims := TenantClaims{Tenant: st.Tenant, Slug: st.Slug, Roles: list(assumed.Roles), Permissions: list(assumed.Permissions)}
	if override == "" && slices.Contains(scopes, ScopeGroups) {
		claims.Groups = list(st.Groups)
	}
	return claims
}

// errAssume refuses a support session. A tenant without such sessions answers
// as one that does not exist or is out of reach.
func errAssume(code string) error {
	if code == "no_support" {
		code = "permission"
	}
	return refuse(InvalidRequest, "the support session is refused: %s", code)
}
