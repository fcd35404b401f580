package oidc

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A HeldGrant is a grant in force with the names of whom it is about.
type HeldGrant struct {
	Grant
	Application string // its name
	TenantName  string
}

// A ConnectedApplication is an application with what it holds of one person, or
// was allowed by them.
type ConnectedApplication struct {
	ClientID string
	Name     string
	Since    time.Time // the oldest grant in force, or consent
	Latest   time.Time // the newest one
	Offline  bool      // some of it outlives the sessions that it was given in
	Allowed  bool      // the person was asked and consented
	Scopes   []string  // of all grants and consents, sorted
	Details  Details   // of all grants
	Tenants  []string  // names, sorted
}

// add counts a grant or a consent in.
func (a *ConnectedApplication) add(tenant string, scopes []string, from, to time.Time) {
	if a.Since.IsZero() || from.Before(a.Since) {
		a.Since = from
	}
	if to.After(a.Latest) {
		a.Latest = to
	}
	a.Scopes, a.Tenants = append(a.Scopes, scopes...), append(a.Tenants, tenant)
}

// Connected returns the applications that hold a grant of the user in force, or
// the user's consent, by name.
func (o *OIDC) Connected(ctx context.Context, user id.User) ([]ConnectedApplication, error) {
	now := o.now()
	grants, err := o.store.GrantsOfUser(ctx, user, now.Add(-GrantLifetime), now)
	if err != nil {
		return nil, err
	}
	consents, err := o.store.ConsentsOfUser(ctx, user)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	var all []ConnectedApplication
	of := func(clientID, name string) *ConnectedApplication {
		at, known := index[clientID]
		if !known {
			at = len(all)
			index[clientID] = at
			all = append(all, ConnectedApplication{ClientID: clientID, Name: cmp.Or(name, clientID)})
		}
		return &all[at]
	}
	for i := range grants {
		g := &grants[i]
		a := of(g.ClientID, g.Application)
		a.add(g.TenantName, g.Scopes, g.Created, g.Created)
		a.Offline = a.Offline || g.Offline
		a.Details = append(a.Details, g.Details...)
	}
	for i := range consents {
		c := &consents[i]
		a := of(c.ClientID, c.Application)
		a.add(c.TenantName, c.Scopes, c.Created, c.Modified)
		a.Allowed = true
	}
	for i := range all {
		slices.Sort(all[i].Scopes)
		slices.Sort(all[i].Tenants)
		all[i].Scopes, all[i].Tenants = slices.Compact(all[i].Scopes), slices.Compact(all[i].Tenants)
	}
	slices.SortFunc(all, func(a, b ConnectedApplication) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ClientID, b.ClientID))
	})
	return all, nil
}

// Participants returns the names of the applications that are signed in by each of
// the user's sessions, sorted.
func (o *OIDC) Participants(ctx context.Context, user id.User) (map[id.Session][]string, error) {
	now := o.now()
	by, err := o.store.Participants(ctx, user, now.Add(-GrantLifetime), now)
	for _, names := range by {
		slices.Sort(names)
	}
	return by, err
}

// Disconnect ends all that the user has given to an application, with its tokens,
// forgets what the user has allowed it, and tells the application. It fails with
// fault.NotFound where there is nothing.
func (o *OIDC) Disconnect(ctx context.Context, user id.User, clientID string) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		now := o.now()
		grants, err := o.store.RevokeGrantsOfUser(ctx, user, clientID, now)
		if err != nil {
			return err
		}
		consents, err := o.store.DeleteConsents(ctx, user, clientID)
		if err != nil {
			return err
		}
		if len(grants) == 0 && consents == 0 {
			return fault.New(fault.NotFound, "the application holds nothing of this person")
		}
		a, err := o.Application(ctx, clientID)
		if err != nil {
			return err
		}
		for _, grant := range grants {
			event := audit.New(ctx, now, grant.Tenant, "grant.revoke", "grant", string(grant.ID), map[string]any{"reason": "own_wish"})
			if err := o.store.AppendEvent(ctx, event); err != nil {
				return err
			}
		}
		event := audit.New(ctx, now, "", "application.disconnect", "user", string(user), map[string]any{
			"client_id": clientID, "name": a.Name, "grants": len(grants), "consents": consents,
		})
		if err := o.store.AppendEvent(ctx, event); err != nil {
			return err
		}
		return o.notify(ctx, grants, "")
	})
}

// EndOtherSessions ends all sessions of the person but the given one, and trusts
// no browser of theirs any more.
func (o *OIDC) EndOtherSessions(ctx context.Context, session *authn.Session) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		sessions, err := o.authn.Sessions(ctx, session.User)
		if err != nil {
			return err
		}
		for i := range sessions {
			if sessions[i].ID == session.ID {
				continue
			}
			if err := o.SignOut(ctx, sessions[i].ID); err != nil {
				return err
			}
		}
		return o.authn.RemoveTrustedDevices(ctx, session.User, "own_wish")
	})
}
