package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// link finds or makes the user behind a new membership, and with it the status
// in which the membership begins. It is the rule that keeps tenants apart:
//
//   - Where the tenant has verified the domain of the address, the user of that
//     address is found or made and is managed by the tenant.
//   - Where somebody else's user has the address, the membership waits for that
//     person's acceptance. The tenant learns nothing and gains nothing before.
//     The same holds for operators, and where another tenant owns the domain.
//   - Where nobody has it, the user is made without credentials.
//
// A second membership of one tenant with the same address, such as a second
// account of one person, gets a user of its own that has no address and so
// can't sign in by it.
//
// made is the user where it is a new one, which is not stored yet.
func (d *Directory) link(ctx context.Context, m *Membership) (made *User, err error) {
	m.Status, m.Accepted, m.Managed = StatusActive, true, false
	address, ok := m.address()
	if !ok {
		return d.newUser(m, "", false), nil
	}
	found, err := d.store.Addressee(ctx, address, domainOf(address))
	if err != nil {
		return nil, err
	}
	user, mine := found.User, slices.Contains(found.Owners, m.Tenant)
	if user == nil {
		m.Managed = mine
		if !mine && len(found.Owners) > 0 {
			m.Status, m.Accepted = StatusInvited, false
		}
		return d.newUser(m, address, mine), nil
	}
	if _, err := d.store.MembershipOfUser(ctx, m.Tenant, user.ID); err == nil {
		return d.newUser(m, "", false), nil
	} else if !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	m.User = user.ID
	if user.Operator || !mine {
		m.Status, m.Accepted = StatusInvited, false
		return nil, nil
	}
	m.Managed = true
	return nil, nil
}

func (d *Directory) newUser(m *Membership, address string, verified bool) *User {
	now := d.now()
	user := &User{
		ID: id.New[id.User](), Email: address, EmailVerified: verified, Name: m.name(), Created: now, Modified: now,
	}
	if m.Managed {
		user.TimeZone = m.timeZone()
	}
	m.User = user.ID
	return user
}

// correction returns the address that the login behind an unmanaged membership is
// to have, now that the directory corrects the one before; nil: it stays as it is.
// That is for a login which is nobody's yet: it has no credentials, and nothing but
// this membership has made it. The mailbox of the old address, which may be a
// stranger's, has no part in it any more. An address that somebody has, or whose
// domain is another tenant's, is not given to it: then it has none. An administrator
// who changes a profile changes no login by that: they could have the invitation of
// somebody with more rights come to themselves.
func (d *Directory) correction(ctx context.Context, before, m *Membership) (*string, error) {
	if m.Managed || !fromDirectory(ctx, m.Tenant) {
		return nil, nil
	}
	old, had := before.address()
	address, has := m.address()
	if !had || Fold(old) == Fold(address) {
		return nil, nil
	}
	user, err := d.store.User(ctx, m.User)
	if err != nil || user.Operator || user.EmailVerified || Fold(user.Email) != Fold(old) {
		return nil, err
	}
	if used, err := d.used(ctx, m.User); used || err != nil {
		return nil, err
	}
	if !has {
		return new(""), nil
	}
	found, err := d.store.Addressee(ctx, address, domainOf(address))
	if err != nil {
		return nil, err
	}
	mine := slices.Contains(found.Owners, m.Tenant)
	if found.User != nil || len(found.Owners) > 0 && !mine {
		return new(""), nil
	}
	m.Managed = mine
	return &address, nil
}

// used reports whether a login has credentials, or is of more than one tenant.
func (d *Directory) used(ctx context.Context, user id.User) (bool, error) {
	all, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil || len(all) > 1 {
		return true, err
	}
	if has, err := d.passwords.HasPassword(ctx, user); has || err != nil {
		return true, err
	}
	return d.credentials.HasSecondFactor(ctx, user)
}

// correctLogin does what correction says. Who waits for an invitation gets a new one.
func (d *Directory) correctLogin(ctx context.Context, m *Membership, address *string) error {
	if address == nil {
		return nil
	}
	_, err := d.store.UpdateUser(ctx, m.User, func(u *User) error {
		u.Email, u.Modified = *address, d.now()
		return nil
	})
	if err != nil || *address == "" {
		return err
	}
	return d.inviteIfWaiting(ctx, m)
}

// syncLogin carries what a tenant's directory says over to the login of a user
// whom the tenant manages: name, time zone, address within its verified domains,
// and whether the login is on. The login is off while every membership by which a
// tenant manages it is suspended; switching it off ends all that hangs on it.
func (d *Directory) syncLogin(ctx context.Context, m *Membership) error {
	if !m.Managed {
		return nil
	}
	on, err := d.managedElsewhere(ctx, m)
	if err != nil {
		return err
	}
	on = on || m.Status != StatusSuspended
	email, err := d.newAddress(ctx, m)
	if err != nil {
		return err
	}
	turnedOff, old := false, ""
	_, err = d.store.UpdateUser(ctx, m.User, func(u *User) error {
		before := *u
		old = u.Email
		turnedOff = !on && !u.Disabled
		u.Disabled = !on
		if email != "" {
			u.Email = email
		}
		u.EmailVerified = true
		if name := m.name(); name != (Name{}) {
			u.Name = name
		}
		if zone := m.timeZone(); zone != "" {
			u.TimeZone = zone
		}
		if *u == before {
			return ErrUnchanged
		}
		u.Modified = d.now()
		return nil
	})
	if err != nil && !isUnchanged(err) {
		return err
	}
	if turnedOff {
		if err := d.holdings.EndLogin(ctx, m.User); err != nil {
			return err
		}
	}
	if old == "" || email == "" || Fold(old) == Fold(email) {
		return nil
	}
	return d.readdressed(ctx, m, old, email)
}

// readdressed does what follows from another address that a tenant's directory has
// given to a login: what went to the old one is of no use any more, as after a
// change by the person, and invitations go to the new one.
func (d *Directory) readdressed(ctx context.Context, m *Membership, old, address string) error {
	t, err := d.store.Tenant(ctx, m.Tenant)
	if err != nil {
		return err
	}
	if err := d.store.DeleteEmailChange(ctx, m.User); err != nil {
		return err
	}
	if err := d.credentials.EmailChanged(ctx, EmailChange{User: m.User, Old: old, New: address, By: t.Name}); err != nil {
		return err
	}
	all, err := d.store.MembershipsOfUser(ctx, m.User)
	if err != nil {
		return err
	}
	for i := range all {
		if err := d.inviteIfWaiting(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

// managedElsewhere reports whether another tenant manages the user by a
// membership that is not suspended.
func (d *Directory) managedElsewhere(ctx context.Context, m *Membership) (bool, error) {
	all, err := d.store.MembershipsOfUser(ctx, m.User)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(all, func(other Membership) bool {
		return other.Managed && other.Tenant != m.Tenant && other.Status != StatusSuspended
	}), nil
}

// newAddress returns the address that the profile offers if the login may take
// it: it lies in a domain of the tenant and nobody else has it. Otherwise "".
func (d *Directory) newAddress(ctx context.Context, m *Membership) (string, error) {
	address, ok := m.address()
	if !ok {
		return "", nil
	}
	owners, err := d.store.DomainOwners(ctx, domainOf(address))
	if err != nil || !slices.Contains(owners, m.Tenant) {
		return "", err
	}
	holder, err := d.store.UserByEmail(ctx, address)
	switch {
	case errors.Is(err, fault.NotFound):
		return address, nil
	case err != nil:
		return "", err
	case holder.ID == m.User:
		return address, nil
	default:
		return "", nil
	}
}
