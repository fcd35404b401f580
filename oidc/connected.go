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

// A ConnectedApplication is an application with what it holds of one person.
type ConnectedApplication struct {
	ClientID string
	Name     string
	Since    time.Time // the oldest grant in force
	Latest   time.Time // the newest one
	Offline  bool      // some of it outlives the sessions that it was given in
	Scopes   []string  // of all grants, sorted
	Tenants  []string  // names, sorted
}

// Connected returns the applications that hold a grant of the user in force, by
// name.
func (o *OIDC) Connected(ctx context.Context, user id.User) ([]ConnectedApplication, error) {
	now := o.now()
	grants, err := o.store.GrantsOfUser(ctx, user, now.Add(-GrantLifetime), now)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	var all []ConnectedApplication
	for i := range grants {
		g := &grants[i]
		at, known := index[g.ClientID]
		if !known {
			at = len(all)
			index[g.ClientID] = at
			all = append(all, ConnectedApplication{ClientID: g.ClientID, Name: cmp.Or(g.Application, g.ClientID), Since: g.Created, Latest: g.Created})
		}
		a := &all[at]
		if g.Created.Before(a.Since) {
			a.Since = g.Created
		}
		if g.Created.After(a.Latest) {
			a.Latest = g.Created
		}
		a.Offline = a.Offline || g.Offline
		a.Scopes = append(a.Scopes, g.Scopes...)
		a.Tenants = append(a.Tenants, g.TenantName)
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

// Disconnect ends all that the user has given to an application, with its tokens,
// and tells the application. It fails with fault.NotFound where there is nothing.
func (o *OIDC) Disconnect(ctx context.Context, user id.User, clientID string) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		now := o.now()
		grants, err := o.store.RevokeGrantsOfUser(ctx, user, clientID, now)
		if err != nil {
			return err
		}
		if len(grants) == 0 {
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
		event := audit.New(ctx, now, "", "application.disconnect", "user", string(user), map[string]any{"client_id": clientID, "name": a.Name, "grants": len(grants)})
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
