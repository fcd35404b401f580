package directory

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A connection whose deprovisioning is to suspend keeps what its directory
// deletes: the membership is retired, which is suspended, out of all groups, and
// gone for SCIM (RFC 7644 §3.6). Its userName is free for others. It comes back,
// with the id and the roles that it had, when the directory pushes the same
// person anew, which only an equal externalId proves: whoever has merely the
// address or the userName of somebody who left must not get his roles. An
// administrator can bring it back or delete it at any time.

// keepsDeleted reports whether the connection in ctx keeps what it deletes.
func (d *Directory) keepsDeleted(ctx context.Context, tenant id.Tenant) (bool, error) {
	c, err := d.connectionInUse(ctx, tenant)
	return c != nil && c.Deprovisioning == DeprovisionSuspend, err
}

// retire is what the deletion of a membership, which is locked, comes to there.
func (d *Directory) retire(ctx context.Context, m *Membership) error {
	before := *m
	user, err := d.typeOf(ctx, m.Tenant, typeUser)
	if err != nil {
		return err
	}
	m, err = d.store.UpdateMembership(ctx, m.Tenant, m.ID, func(m *Membership) error {
		if m.Status != StatusSuspended {
			if err := d.admit(ctx, memberChange{tenant: m.Tenant, user: m.User, after: withStatus(StatusSuspended)}); err != nil {
				return err
			}
			if err := d.guarded(ctx, m.Tenant, m.ID); err != nil {
				return err
			}
		}
		now := d.now()
		m.Status, m.Retired, m.Modified = StatusSuspended, now, now
		m.Search, m.Keys = user.SearchDocument(m.Profile), []schema.Key{} // which are free for others
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.holdings.EndMembership(ctx, m.Tenant, m.ID, m.User); err != nil {
		return err
	}
	if err := d.store.LeaveGroups(ctx, m.Tenant, m.ID); err != nil {
		return err
	}
	if err := d.syncLogin(ctx, m); err != nil {
		return err
	}
	if err := d.settleDefaultWithout(ctx, m.User, m.Tenant); err != nil {
		return err
	}
	if err := d.changedFrom(ctx, typeUser, before.snapshot(), nil, nil); err != nil {
		return err
	}
	return d.record(ctx, m.Tenant, "membership.retire", "membership", string(m.ID), map[string]any{"user": m.User})
}

// returned brings back the retired membership that a directory pushes anew as m,
// with the document; nil if there is none.
func (d *Directory) returned(ctx context.Context, m *Membership, doc map[string]any) (*Membership, error) {
	if m.ExternalID == "" {
		return nil, nil
	}
	if keep, err := d.keepsDeleted(ctx, m.Tenant); err != nil || !keep {
		return nil, err
	}
	var back *Membership
	err := d.inTx(ctx, m.Tenant, func(ctx context.Context) error {
		user, err := d.heldType(ctx, m.Tenant, typeUser)
		if err != nil {
			return err
		}
		found, err := d.store.RetiredMembership(ctx, m.Tenant, m.ExternalID)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		back, err = d.bringBack(ctx, user, found, doc)
		return err
	})
	if err != nil {
		return nil, err
	}
	return back, nil
}

// bringBack makes a retired membership what the document says.
func (d *Directory) bringBack(ctx context.Context, user *schema.ResourceType, found *Membership, doc map[string]any) (*Membership, error) {
	var e membershipEdit
	back, err := d.store.UpdateMembership(ctx, found.Tenant, found.ID, func(m *Membership) error {
		if !m.retired() { // somebody was faster
			return fault.Field(fault.Conflict, attrUserName, "the user is back already")
		}
		var err error
		if e, err = d.edit(m, func(map[string]any) (map[string]any, error) { return doc, nil }); err != nil {
			return err
		}
		if m.Status != StatusSuspended {
			if err := d.admit(ctx, memberChange{tenant: m.Tenant, user: m.User, after: withStatus(m.Status)}); err != nil {
				return err
			}
		}
		if err := d.checkReferences(ctx, m.Tenant, user, nil, m.Profile); err != nil {
			return err
		}
		m.Search, m.Keys = derive(user, nil, m.Profile)
		m.Modified, m.Retired = d.now(), time.Time{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := d.takePassword(ctx, back, e.password); err != nil {
		return nil, err
	}
	if err := d.syncLogin(ctx, back); err != nil {
		return nil, err
	}
	if err := d.settleDefault(ctx, back.User); err != nil {
		return nil, err
	}
	if err := d.changedFrom(ctx, typeUser, nil, back.snapshot(), nil); err != nil {
		return nil, err
	}
	return back, d.record(ctx, back.Tenant, "membership.return", "membership", string(back.ID), map[string]any{"user": back.User, "status": back.Status})
}

// loginTaken reports whether the user that link made for the membership has to
// do without the address, because its login is a member already.
func (m *Membership) loginTaken(made *User) bool {
	_, has := m.address()
	return has && made.Email == ""
}

// clearRetired deletes for good the retired membership of the login that a new
// one is going to have: it is somebody else's, or nobody can tell.
func (d *Directory) clearRetired(ctx context.Context, m *Membership) error {
	address, ok := m.address()
	if !ok {
		return nil
	}
	user, err := d.store.UserByEmail(ctx, address)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := d.store.MembershipOfUser(ctx, m.Tenant, user.ID)
	if errors.Is(err, fault.NotFound) || err == nil && !old.retired() {
		return nil
	}
	if err != nil {
		return err
	}
	return d.endMembership(ctx, old)
}

// unretire makes a membership that was retired one of the resources again,
// unless it stays suspended.
func (m *Membership) unretire(user *schema.ResourceType) {
	if m.Status != StatusSuspended && m.retired() {
		m.Retired, m.Keys = time.Time{}, user.Keys(m.Profile)
	}
}
