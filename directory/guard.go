package directory

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// The guard of a connection keeps a directory that has gone wrong from switching
// off a whole tenant. It counts the people whom the connection suspends or
// deletes; the first one beyond a limit makes it hold, and then all are refused
// until an administrator has looked:
//
//	counting ── one too many ──▶ held ── release ──▶ released ── its end ──▶ counting
//	    ▲                          └──── reject ───▶ rejected
//	    └──────────────────────── reset, from any ───────┘
//
// A release is possible from every state. Whatever switches nobody off goes on
// as ever.

// GuardLimits say how many people a connection may switch off within a window:
// beyond either limit it is held. The zero value guards nothing.
type GuardLimits struct {
	People  int           // 0: no such limit
	Percent int           // of the people who were active before; 0: no such limit
	Window  time.Duration // to the second
}

// On reports whether there is a limit.
func (g GuardLimits) On() bool { return g.People > 0 || g.Percent > 0 }

func (g GuardLimits) check() error {
	switch {
	case g == GuardLimits{}:
		return nil
	case g.People < 0 || g.People > maxGuardPeople:
		return fault.Field(fault.Invalid, "guard.people", "must be between 0, for no limit, and %d", maxGuardPeople)
	case g.Percent < 0 || g.Percent > 99:
		return fault.Field(fault.Invalid, "guard.percent", "must be between 0, for no limit, and 99")
	case g.Window < time.Minute || g.Window > maxGuardWindow:
		return fault.Field(fault.Invalid, "guard.window", "must be between 60 and %d seconds", int(maxGuardWindow.Seconds()))
	}
	return nil
}

// exceeded reports whether so many of the people would be too many.
func (g GuardLimits) exceeded(off, people int) bool {
	return g.People > 0 && off > g.People || g.Percent > 0 && off*100 > g.Percent*people
}

// A Guard is the limits and where the guard stands.
type Guard struct {
	GuardLimits
	State GuardState
	Since time.Time // of the state; what was before is not counted any more
	Until time.Time // the end of a release
}

// GuardState is where a guard stands.
type GuardState string

// The states of a guard. The zero value counts.
const (
	GuardCounting GuardState = ""
	GuardHeld     GuardState = "held"     // nobody is switched off until an administrator has answered
	GuardReleased GuardState = "released" // nothing is counted until the end of the release
	GuardRejected GuardState = "rejected" // nobody is switched off: the administrator said no
)

// At returns the state at a time: a release ends by itself.
func (g Guard) At(now time.Time) GuardState {
	if g.State == GuardReleased && !now.Before(g.Until) {
		return GuardCounting
	}
	return g.State
}

// guardRetry is when a directory is told to come back. The status behind it,
// 429, is the one that both Okta and Entra ID repeat by themselves; 403 would
// make Okta give up on the person, and look to Entra ID like a bad credential.
const guardRetry = 15 * time.Minute

// MaxGuardRelease bounds a release.
const MaxGuardRelease = 24 * time.Hour

// errExceeded is the refusal that makes the guard hold.
type errExceeded struct {
	connection id.Connection
	off        int // people within the window, this one included
	refusal    error
}

// Error implements error.
func (e *errExceeded) Error() string { return e.refusal.Error() }

// Unwrap is what the client is told.
func (e *errExceeded) Unwrap() error { return e.refusal }

func errHeld(name string) error {
	return &fault.Error{
		Kind: fault.Throttled, Code: "guard", RetryAfter: guardRetry,
		Detail: "held by the guard of the connection " + name + ", as too many people would be switched off: an administrator has to release it",
	}
}

// guarded fails with fault.Throttled or fault.Denied where the connection in ctx
// must not switch this member off, and counts them otherwise. ctx is that of the
// transaction that does it.
func (d *Directory) guarded(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	if !fromDirectory(ctx, tenant) {
		return nil
	}
	known, err := d.connectionInUse(ctx, tenant)
	if err != nil || known == nil || !known.Guard.On() {
		return err
	}
	// One after the other: each counts those before.
	c, err := d.store.UpdateConnection(ctx, tenant, known.ID, func(*Connection) error { return ErrUnchanged })
	if err != nil {
		return err
	}
	now := d.now()
	switch c.Guard.At(now) {
	case GuardReleased:
		return nil
	case GuardHeld:
		return errHeld(c.Name)
	case GuardRejected:
		return fault.New(fault.Denied, "the guard of the connection %s refuses it: an administrator has rejected that these people are switched off", c.Name).WithCode("guard_rejected")
	case GuardCounting:
	}
	since := now.Add(-c.Guard.Window)
	if c.Guard.Since.After(since) {
		since = c.Guard.Since // what was before the last answer is settled
	}
	off, people, err := d.store.SwitchedOff(ctx, tenant, c.ID, since, membership)
	if err != nil {
		return err
	}
	counted := 0
	if people == 0 && c.Guard.Percent > 0 {
		if counted, err = d.store.CountActive(ctx, tenant); err != nil {
			return err
		}
		counted += off
		people = counted
	}
	if c.Guard.exceeded(off+1, people) {
		return &errExceeded{connection: c.ID, off: off + 1, refusal: errHeld(c.Name)}
	}
	return d.store.AddSwitchOff(ctx, SwitchOff{Tenant: tenant, Connection: c.ID, Membership: membership, People: counted, At: now}, now.Add(-maxGuardWindow))
}

// A SwitchOff is a member whom a guarded connection has switched off.
type SwitchOff struct {
	Tenant     id.Tenant
	Connection id.Connection
	Membership id.Membership
	People     int // were active before the window that it is in, where they were counted with it; else 0
	At         time.Time
}

// hold makes the guard hold where err is its refusal. The transaction that it
// refused is rolled back by now. It returns err.
func (d *Directory) hold(ctx context.Context, tenant id.Tenant, err error) error {
	exceeded, ok := errors.AsType[*errExceeded](err)
	if !ok {
		return err
	}
	held := d.changeGuard(ctx, tenant, exceeded.connection, "connection.guard.hold", map[string]any{"people": exceeded.off}, func(c *Connection, now time.Time) error {
		if c.Guard.At(now) != GuardCounting {
			return ErrUnchanged
		}
		c.Guard.State, c.Guard.Since, c.Guard.Until = GuardHeld, now, time.Time{}
		return nil
	})
	if held != nil {
		return held
	}
	return exceeded.refusal
}

// ReleaseGuard lets a connection switch off whomever its directory wants to, for
// a while; then the guard counts anew. It fails with fault.Invalid on minutes,
// and with fault.Conflict where nothing is guarded.
func (d *Directory) ReleaseGuard(ctx context.Context, tenant id.Tenant, connection id.Connection, lasting time.Duration) (*Connection, error) {
	if lasting < time.Minute || lasting > MaxGuardRelease {
		return nil, fault.Field(fault.Invalid, "minutes", "must be between 1 and %d", int(MaxGuardRelease.Minutes()))
	}
	return d.answerGuard(ctx, tenant, connection, "connection.guard.release", func(g *Guard, now time.Time) error {
		g.State, g.Since, g.Until = GuardReleased, now.Add(lasting), now.Add(lasting)
		return nil
	})
}

// RejectGuard answers a guard that holds with no: whoever is to be switched off
// is refused for good, until ReleaseGuard or ResetGuard. It fails with
// fault.Conflict where the guard does not hold.
func (d *Directory) RejectGuard(ctx context.Context, tenant id.Tenant, connection id.Connection) (*Connection, error) {
	return d.answerGuard(ctx, tenant, connection, "connection.guard.reject", func(g *Guard, now time.Time) error {
		if g.State != GuardHeld {
			return fault.New(fault.Conflict, "the guard holds nothing").WithCode("guard")
		}
		g.State, g.Since, g.Until = GuardRejected, now, time.Time{}
		return nil
	})
}

// ResetGuard makes the guard count from zero.
func (d *Directory) ResetGuard(ctx context.Context, tenant id.Tenant, connection id.Connection) (*Connection, error) {
	return d.answerGuard(ctx, tenant, connection, "connection.guard.reset", func(g *Guard, now time.Time) error {
		g.State, g.Since, g.Until = GuardCounting, now, time.Time{}
		return nil
	})
}

// answerGuard is what an administrator says to a guard.
func (d *Directory) answerGuard(ctx context.Context, tenant id.Tenant, connection id.Connection, action string, answer func(g *Guard, now time.Time) error) (*Connection, error) {
	var changed *Connection
	err := d.manageConnections(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		return d.changeGuard(ctx, tenant, connection, action, nil, func(c *Connection, now time.Time) error {
			changed = c
			if !c.Guard.On() {
				return fault.New(fault.Conflict, "the connection has no guard").WithCode("guard")
			}
			return answer(&c.Guard, now)
		})
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// changeGuard changes the state of a guard, with its event.
func (d *Directory) changeGuard(ctx context.Context, tenant id.Tenant, connection id.Connection, action string, data map[string]any, change func(c *Connection, now time.Time) error) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		now, unchanged := d.now(), false
		c, err := d.store.UpdateConnection(ctx, tenant, connection, func(c *Connection) error {
			err := change(c, now)
			unchanged = isUnchanged(err)
			return err
		})
		if err != nil || unchanged {
			return err
		}
		if data == nil {
			data = map[string]any{}
		}
		data["name"], data["guard"] = c.Name, string(c.Guard.State)
		if !c.Guard.Until.IsZero() {
			data["until"] = c.Guard.Until
		}
		return d.record(ctx, tenant, action, "connection", string(c.ID), data)
	})
}

// connectionInUse returns the connection that acts in ctx as it was at most
// cache.Lifetime ago; nil if there is none of the tenant.
func (d *Directory) connectionInUse(ctx context.Context, tenant id.Tenant) (*Connection, error) {
	p := authz.FromContext(ctx)
	if p.Kind != authz.ConnectionPrincipal || p.Tenant != tenant || p.Connection == "" {
		return nil, nil
	}
	c, err := d.connections.Get(connectionKey{tenant: string(tenant), connection: p.Connection}, func() (*Connection, error) {
		return d.store.ConnectionByID(ctx, tenant, p.Connection)
	})
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return c, err
}
