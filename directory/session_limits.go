package directory

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// SessionLimits bound for how long a session counts. A zero field bounds nothing.
type SessionLimits struct {
	Idle     time.Duration // without use
	Lifetime time.Duration // since the person has shown who they are
}

// With returns the stricter of the limits.
func (l SessionLimits) With(m SessionLimits) SessionLimits {
	return SessionLimits{Idle: stricter(l.Idle, m.Idle), Lifetime: stricter(l.Lifetime, m.Lifetime)}
}

func stricter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Bounds of what a policy says of sessions. The server ends them by itself after
// the largest ones (authn.Limits). Less than the smallest would have people sign in
// all day, also for what belongs to no tenant.
const (
	minSessionIdleMinutes = 5
	maxSessionIdleMinutes = 12 * 60
	minSessionHours       = 1
	maxSessionHours       = 30 * 24
)

// SessionLimits returns what the policy says of sessions.
func (p *Policy) SessionLimits() SessionLimits {
	return SessionLimits{Idle: time.Duration(p.SessionIdleMinutes) * time.Minute, Lifetime: time.Duration(p.SessionHours) * time.Hour}
}

func (p *Policy) validateSessions() error {
	if n := p.SessionIdleMinutes; n != 0 && (n < minSessionIdleMinutes || n > maxSessionIdleMinutes) {
		return fault.Field(fault.Invalid, "policy.session_idle_minutes", "%d is not between %d and %d, or 0 for no limit of the tenant's", n, minSessionIdleMinutes, maxSessionIdleMinutes)
	}
	if n := p.SessionHours; n != 0 && (n < minSessionHours || n > maxSessionHours) {
		return fault.Field(fault.Invalid, "policy.session_hours", "%d is not between %d and %d, or 0 for no limit of the tenant's", n, minSessionHours, maxSessionHours)
	}
	return nil
}

// SessionLimits returns the strictest limits of the tenants that the user can use
// by a membership, for what belongs to none of them. An invitation limits nobody.
func (r *Rights) SessionLimits(ctx context.Context, user id.User) (SessionLimits, error) {
	limiting, err := r.store.StandingsLimitingSessions(ctx, user)
	if err != nil {
		return SessionLimits{}, err
	}
	var strictest SessionLimits
	for i := range limiting {
		st := &limiting[i]
		usable, err := r.Usable(ctx, st.Blueprint, st.BlueprintVersion, st.TenantStatus, st.Status)
		if err != nil {
			return SessionLimits{}, err
		}
		if usable {
			strictest = strictest.With(st.Policy.SessionLimits())
		}
	}
	return strictest, nil
}
