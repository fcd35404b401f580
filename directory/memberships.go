package directory

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/scim/schema"
)

// CreateMembership adds a person to a tenant as its directory describes them:
// doc is a User resource that scim/schema has validated. Linking follows the
// rule of decision 1 (docs/decisions). It fails with fault.Conflict on a userName that the tenant
// has, ignoring case.
func (d *Directory) CreateMembership(ctx context.Context, tenant id.Tenant, doc map[string]any) (*Membership, error) {
	m, err := d.createMembership(ctx, tenant, doc)
	if conflict := fault.As(err); err != nil && conflict.Kind == fault.Conflict && conflict.Field == "email" {
		// Somebody made the user of this address since link looked: look again.
		m, err = d.createMembership(ctx, tenant, doc)
	}
	return m, err
}

func (d *Directory) createMembership(ctx context.Context, tenant id.Tenant, doc map[string]any) (*Membership, error) {
	now := d.now()
	m := &Membership{Tenant: tenant, ID: id.New[id.Membership](), Source: SourceSCIM, Created: now, Modified: now}
	active, password, err := m.setDocument(doc)
	if err != nil {
		return nil, err
	}
	if back, err := d.returned(ctx, m, doc); back != nil || err != nil {
		return back, err
	}
	made, err := d.linkAs(ctx, m, active)
	if err != nil {
		return nil, err
	}
	followed, err := d.followed(ctx, tenant)
	if err != nil {
		return nil, err
	}
	schemas, err := d.schemas.of(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if made != nil && password.Empty() && !followed && schemas.version == 0 && fromDirectory(ctx, tenant) && !m.loginTaken(made) {
		// Most people that a directory pushes are new: one statement.
		user, _ := schemas.registry.ResourceType(typeUser)
		m.Search = user.SearchDocument(m.Profile)
		if err := d.store.CreatePerson(ctx, made, m, d.created(ctx, m)); err != nil {
			return nil, err
		}
		return m, d.changedFrom(ctx, typeUser, nil, m.snapshot(), nil)
	}
	err = d.store.InTx(ctx, func(ctx context.Context) error {
		user, err := d.heldType(ctx, tenant, typeUser)
		if err != nil {
			return err
		}
		if err := d.checkReferences(ctx, tenant, user, nil, m.Profile); err != nil {
			return err
		}
		m.Search, m.Keys = derive(user, nil, m.Profile)
		if err := d.storeMembership(ctx, m, active, password); err != nil {
			return err
		}
		return d.changedFrom(ctx, typeUser, nil, m.snapshot(), nil)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// storeMembership writes a new membership, and its user if that is new.
func (d *Directory) storeMembership(ctx context.Context, m *Membership, active bool, password secret.Text) error {
	if err := d.clearRetired(ctx, m); err != nil {
		return err
	}
	made, err := d.linkAs(ctx, m, active) // again, where nobody changes what it found
	if err != nil {
		return err
	}
	if err := d.admitNew(ctx, m); err != nil {
		return err
	}
	if made != nil {
		if err := d.store.CreatePerson(ctx, made, m, d.created(ctx, m)); err != nil {
			return err
		}
		return d.takePassword(ctx, m, password)
	}
	if err := d.store.CreateMembership(ctx, m); err != nil {
		return err
	}
	if err := d.takePassword(ctx, m, password); err != nil {
		return err
	}
	if err := d.syncLogin(ctx, m); err != nil {
		return err
	}
	if err := d.store.AppendEvent(ctx, d.created(ctx, m)); err != nil {
		return err
	}
	return d.settleDefault(ctx, m.User)
}

// linkAs links a membership that a directory wants to be active or not. The
// login of a new user begins as the membership does.
func (d *Directory) linkAs(ctx context.Context, m *Membership, active bool) (made *User, err error) {
	made, err = d.link(ctx, m)
	if err != nil {
		return nil, err
	}
	m.Status = m.statusAfter(active)
	if made != nil {
		made.Disabled = m.Managed && m.Status == StatusSuspended
	}
	return made, nil
}

// created is the event of a new membership.
func (d *Directory) created(ctx context.Context, m *Membership) audit.Event {
	return audit.New(ctx, d.now(), m.Tenant, "membership.create", "membership", string(m.ID), map[string]any{"user": m.User, "status": m.Status, "managed": m.Managed})
}

// takePassword sets the password that a directory sent, where that gives it no
// power over what the person has elsewhere: the tenant manages the user, nobody
// has set a password, and no other tenant knows them. Otherwise it is ignored.
func (d *Directory) takePassword(ctx context.Context, m *Membership, password secret.Text) error {
	if password.Empty() || !m.Managed {
		return nil
	}
	has, err := d.passwords.HasPassword(ctx, m.User)
	if err != nil || has {
		return err
	}
	all, err := d.store.MembershipsOfUser(ctx, m.User)
	if err != nil || len(all) != 1 {
		return err
	}
	return d.passwords.SetPassword(ctx, m.User, password)
}

// Membership returns one membership, or fault.NotFound; so does one that its
// directory has deleted.
func (d *Directory) Membership(ctx context.Context, tenant id.Tenant, membership id.Membership) (*Membership, error) {
	m, err := d.store.Membership(ctx, tenant, membership)
	if err == nil && m.retired() {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return m, err
}

// MembershipOf returns a user's membership in the tenant, or fault.NotFound.
func (d *Directory) MembershipOf(ctx context.Context, tenant id.Tenant, user id.User) (*Membership, error) {
	m, err := d.store.MembershipOfUser(ctx, tenant, user)
	if err == nil && m.retired() {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return m, err
}

// Memberships returns a page of the tenant's memberships, suspended ones too,
// but not those that their directory has deleted.
func (d *Directory) Memberships(ctx context.Context, tenant id.Tenant, query Query) (*Page[Membership], error) {
	return d.store.Memberships(ctx, tenant, query)
}

// ChangeMembership replaces the document of a membership by what change makes
// of it; both PUT and PATCH come this way. ifMatch is the Version that the
// caller saw; 0 means any. Where the new document equals the old one nothing is
// stored. Suspending ends in the same transaction all that the membership gave.
// One that its directory has deleted is fault.NotFound.
func (d *Directory) ChangeMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, ifMatch int64, change func(doc map[string]any) (map[string]any, error)) (*Membership, error) {
	return d.changeMembership(ctx, tenant, membership, func(m *Membership) error {
		if m.retired() {
			return &fault.Error{Kind: fault.NotFound}
		}
		return checkVersion(ifMatch, m.Version)
	}, change)
}

// changeMembership is ChangeMembership for a membership that passes check.
func (d *Directory) changeMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, check func(*Membership) error, change func(doc map[string]any) (map[string]any, error)) (*Membership, error) {
	var changed *Membership
	err := d.inTx(ctx, tenant, func(ctx context.Context) error {
		t, err := d.heldType(ctx, tenant, typeUser)
		if err != nil {
			return err
		}
		var e membershipEdit
		m, err := d.store.UpdateMembership(ctx, tenant, membership, func(m *Membership) error {
			if err := check(m); err != nil {
				return err
			}
			var err error
			e, err = d.admittedEdit(ctx, t, m, change)
			return err
		})
		if err != nil {
			return err
		}
		changed = m
		if err := d.correctLogin(ctx, m, e.login); err != nil {
			return err
		}
		if err := d.takePassword(ctx, m, e.password); err != nil || len(e.fields) == 0 {
			return err
		}
		return d.afterChange(ctx, &e.before, m, e.fields)
	})
	if err != nil {
		return nil, d.hold(ctx, tenant, err)
	}
	return changed, nil
}

// membershipEdit is what a document makes of a membership.
type membershipEdit struct {
	before   Membership
	old, new map[string]any // documents
	password secret.Text
	fields   []string // attributes that differ
	login    *string  // its address from now on; nil: as before
}

// admittedEdit is edit where the caller may make the change. It fails with
// ErrUnchanged where nothing is to be stored.
func (d *Directory) admittedEdit(ctx context.Context, t *schema.ResourceType, m *Membership, change func(doc map[string]any) (map[string]any, error)) (membershipEdit, error) {
	e, err := d.edit(m, change)
	if err != nil {
		return e, err
	}
	if err := d.admitEdit(ctx, m, e); err != nil {
		return e, err
	}
	if len(e.fields) == 0 { // a password is no part of the resource
		return e, ErrUnchanged
	}
	if err := d.checkReferences(ctx, m.Tenant, t, e.before.Profile, m.Profile); err != nil {
		return e, err
	}
	m.Search, m.Keys = derive(t, e.before.Profile, m.Profile)
	m.Modified = d.now()
	e.login, err = d.correction(ctx, &e.before, m)
	return e, err
}

// edit brings m to the document that change makes of its own.
func (d *Directory) edit(m *Membership, change func(doc map[string]any) (map[string]any, error)) (membershipEdit, error) {
	e := membershipEdit{before: *m, old: m.Document()}
	var err error
	if e.new, err = change(m.Document()); err != nil {
		return e, err
	}
	var active bool
	if active, e.password, err = m.setDocument(e.new); err != nil {
		return e, err
	}
	m.Status = m.statusAfter(active)
	if m.Status != StatusSuspended {
		m.Retired = time.Time{}
	}
	e.fields = differences(e.old, m.Document())
	return e, nil
}

// admitEdit asks for leave to bring a membership to m. What a directory says of
// people is free, but for the status.
func (d *Directory) admitEdit(ctx context.Context, m *Membership, e membershipEdit) error {
	unchanged := len(e.fields) == 0 && e.password.Empty()
	if unchanged || m.Status == e.before.Status && fromDirectory(ctx, m.Tenant) {
		return nil
	}
	err := d.admit(ctx, memberChange{
		tenant: m.Tenant, user: m.User, after: withStatus(m.Status),
		fields: func(b *authz.Blueprint, self bool) []string { return profileFields(b, self, e.old, e.new) },
	})
	if err != nil || m.Status != StatusSuspended || e.before.Status == StatusSuspended {
		return err
	}
	return d.guarded(ctx, m.Tenant, m.ID)
}

// afterChange carries a stored change of a membership over to what depends on
// it: the last-holder rule, what was granted, the login.
func (d *Directory) afterChange(ctx context.Context, before, m *Membership, fields []string) error {
	action := "membership.update"
	if m.Status != before.Status {
		action = "membership.activate"
	}
	if m.Status == StatusSuspended && before.Status != StatusSuspended {
		action = "membership.suspend"
		if err := d.holdings.EndMembership(ctx, m.Tenant, m.ID, m.User); err != nil {
			return err
		}
	}
	if err := d.syncLogin(ctx, m); err != nil {
		return err
	}
	if m.Status != before.Status {
		if err := d.settleDefaultBeside(ctx, m); err != nil {
			return err
		}
	}
	if err := d.changedFrom(ctx, typeUser, before.snapshot(), m.snapshot(), nil); err != nil {
		return err
	}
	return d.record(ctx, m.Tenant, action, "membership", string(m.ID), map[string]any{"fields": fields, "status": m.Status, "before": before.Status, "user": m.User})
}

// DeleteMembership ends a membership and all that it gave. The user stays while
// another tenant knows them; the login of one whom only this tenant managed is
// switched off. A user whom nobody knows any more is deleted. Where the directory
// does so by a connection that suspends, the membership is kept: see retire.
func (d *Directory) DeleteMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, ifMatch int64) error {
	keep, err := d.keepsDeleted(ctx, tenant)
	if err != nil {
		return err
	}
	return d.hold(ctx, tenant, d.inTx(ctx, tenant, func(ctx context.Context) error {
		m, err := d.store.UpdateMembership(ctx, tenant, membership, func(m *Membership) error {
			if m.retired() && fromDirectory(ctx, tenant) {
				return &fault.Error{Kind: fault.NotFound}
			}
			if err := checkVersion(ifMatch, m.Version); err != nil {
				return err
			}
			return ErrUnchanged // only its lock is needed
		})
		if err != nil {
			return err
		}
		if keep {
			return d.retire(ctx, m)
		}
		err = d.admit(ctx, memberChange{
			tenant: tenant, user: m.User, operation: authz.OpDelete,
			after: func(*authz.MembershipFacts) *authz.MembershipFacts { return nil },
		})
		if err != nil {
			return err
		}
		if m.Status != StatusSuspended {
			if err := d.guarded(ctx, tenant, m.ID); err != nil {
				return err
			}
		}
		if m.Status == statusPending {
			if err := d.tellRegistrant(ctx, m, RegistrantRefused); err != nil {
				return err
			}
		}
		return d.endMembership(ctx, m)
	}))
}

// endMembership removes a membership that is locked, and what hangs on it.
func (d *Directory) endMembership(ctx context.Context, m *Membership) error {
	if err := d.holdings.EndMembership(ctx, m.Tenant, m.ID, m.User); err != nil {
		return err
	}
	if err := d.store.DeleteMembership(ctx, m.Tenant, m.ID); err != nil {
		return err
	}
	if err := d.forgetContact(ctx, m.Tenant, m.ID); err != nil {
		return err
	}
	if err := d.settleDefaultWithout(ctx, m.User, m.Tenant); err != nil {
		return err
	}
	if err := d.releaseUser(ctx, m); err != nil {
		return err
	}
	if !m.retired() {
		if err := d.changedFrom(ctx, typeUser, m.snapshot(), nil, nil); err != nil {
			return err
		}
	}
	return d.record(ctx, m.Tenant, "membership.delete", "membership", string(m.ID), map[string]any{"user": m.User})
}

// releaseUser decides what becomes of the user behind a deleted membership.
func (d *Directory) releaseUser(ctx context.Context, m *Membership) error {
	left, err := d.store.MembershipsOfUser(ctx, m.User)
	if err != nil {
		return err
	}
	user, err := d.store.User(ctx, m.User)
	if err != nil {
		return err
	}
	if len(left) == 0 && !user.Operator {
		has, err := d.passwords.HasPassword(ctx, m.User)
		if err != nil {
			return err
		}
		if m.Managed || !has {
			if err := d.holdings.EndLogin(ctx, m.User); err != nil {
				return err
			}
			return d.store.DeleteUser(ctx, m.User)
		}
		return nil
	}
	if !m.Managed {
		return nil
	}
	gone := *m
	gone.Status = StatusSuspended
	return d.syncLogin(ctx, &gone)
}

// Accept makes a membership that waits for its person active. It is called for
// that person alone. It fails with fault.NotFound where none waits.
func (d *Directory) Accept(ctx context.Context, tenant id.Tenant, user id.User) error {
	return d.answer(ctx, tenant, user, func(ctx context.Context, m *Membership) error {
		t, err := d.heldType(ctx, tenant, typeUser)
		if err != nil {
			return err
		}
		_, err = d.store.UpdateMembership(ctx, tenant, m.ID, func(m *Membership) error {
			if m.Status != StatusInvited {
				return fault.New(fault.NotFound, "no membership waits for acceptance")
			}
			m.Status, m.Accepted, m.Modified = StatusActive, true, d.now()
			m.Search = t.SearchDocument(m.Profile)
			return nil
		})
		if err != nil {
			return err
		}
		if err := d.settleDefault(ctx, user); err != nil {
			return err
		}
		return d.record(ctx, tenant, "membership.accept", "membership", string(m.ID), nil)
	})
}

// Decline removes a membership that waits for its person. It is called for that
// person alone. It fails with fault.NotFound where none waits.
func (d *Directory) Decline(ctx context.Context, tenant id.Tenant, user id.User) error {
	return d.answer(ctx, tenant, user, func(ctx context.Context, m *Membership) error {
		if err := d.store.DeleteMembership(ctx, tenant, m.ID); err != nil {
			return err
		}
		if err := d.forgetContact(ctx, tenant, m.ID); err != nil {
			return err
		}
		if err := d.changedFrom(ctx, typeUser, m.snapshot(), nil, nil); err != nil {
			return err
		}
		return d.record(ctx, tenant, "membership.decline", "membership", string(m.ID), nil)
	})
}

func (d *Directory) answer(ctx context.Context, tenant id.Tenant, user id.User, do func(ctx context.Context, m *Membership) error) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.MembershipOfUser(ctx, tenant, user)
		if err != nil {
			return err
		}
		if m.Status != StatusInvited {
			return fault.New(fault.NotFound, "no membership waits for acceptance")
		}
		return do(ctx, m)
	})
}

// checkVersion compares the version that a caller saw, 0 for any.
func checkVersion(want, have int64) error {
	if want != 0 && want != have {
		return fault.New(fault.Stale, "the resource has version %d, not %d", have, want)
	}
	return nil
}

// differences names the attributes in which two documents differ, sorted.
func differences(a, b map[string]any) []string {
	names := map[string]bool{}
	for _, doc := range []map[string]any{a, b} {
		for name := range doc {
			if !reflect.DeepEqual(a[name], b[name]) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// isUnchanged reports whether a change had nothing to store.
func isUnchanged(err error) bool { return errors.Is(err, ErrUnchanged) }
