package directory

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// settlePage is how many people are read at a time whose default may move.
const settlePage = 500

// DefaultStore keeps which tenant a person signs in to when none is named.
type DefaultStore interface {
	// LockDefaultTenant returns the user's default tenant, empty if there is none,
	// and whether the user has a membership in any other tenant than the one
	// beside. It holds off others who ask for it until the transaction ends.
	LockDefaultTenant(ctx context.Context, user id.User, beside id.Tenant) (current id.Tenant, elsewhere bool, err error)
	// SetDefaultTenant replaces the default tenant; an empty one is none.
	SetDefaultTenant(ctx context.Context, user id.User, tenant id.Tenant) error
	// MembersToSettle returns at most limit members of the tenant, after the given
	// one, who are members of another tenant too, and whose default is none of the
	// others.
	MembersToSettle(ctx context.Context, tenant id.Tenant, after id.User, limit int) ([]id.User, error)
}

// settleDefault gives a user whose default can't be used, or who has none, the
// next one: the longest-standing membership that can be used, of those whose
// role system names a default tenant. Where there is none, a membership that
// can't be used stays the default, for the day on which it can be used again.
//
// The caller is the transaction in which a membership began, ended or changed
// its status, and has written that. The user is locked after the membership and
// nothing after the user, so that two of them can't wait for each other; and
// whoever gets the lock sees what those before have done.
//
// People who are new to the instance have no default while they are a member of
// one tenant: a directory pushes them in a single statement.
func (d *Directory) settleDefault(ctx context.Context, user id.User) error {
	current, _, err := d.store.LockDefaultTenant(ctx, user, "")
	if err != nil {
		return err
	}
	return d.moveDefault(ctx, user, current)
}

// settleDefaultWithout is settleDefault where all that has happened is that one
// tenant can't be used any more: that matters only if it was the default.
func (d *Directory) settleDefaultWithout(ctx context.Context, user id.User, lost id.Tenant) error {
	current, _, err := d.store.LockDefaultTenant(ctx, user, lost)
	if err != nil || lost != current {
		return err
	}
	return d.moveDefault(ctx, user, current)
}

// settleDefaultBeside is settleDefault where all that has happened is another
// status of a membership that goes on. For a member of one tenant alone that is
// nothing: whatever the status, there is no other tenant to sign in to.
func (d *Directory) settleDefaultBeside(ctx context.Context, m *Membership) error {
	current, elsewhere, err := d.store.LockDefaultTenant(ctx, m.User, m.Tenant)
	switch {
	case err != nil, !elsewhere && (current == "" || current == m.Tenant), m.Status == StatusSuspended && current != m.Tenant:
		return err
	default:
		return d.moveDefault(ctx, m.User, current)
	}
}

// moveDefault moves the user's default tenant from current to where it belongs.
func (d *Directory) moveDefault(ctx context.Context, user id.User, current id.Tenant) error {
	next, member, err := d.nextDefault(ctx, user, current)
	switch {
	case err != nil || next == current || next == "" && member:
		return err
	default:
		return d.setDefault(ctx, user, next)
	}
}

// nextDefault returns the default tenant if it can be used, else the one that is
// to be it, if any; and whether the user is still a member of the current one.
func (d *Directory) nextDefault(ctx context.Context, user id.User, current id.Tenant) (next id.Tenant, member bool, err error) {
	all, err := d.store.Standings(ctx, user, Find{})
	if err != nil {
		return "", false, err
	}
	// Identifiers are in the order of time.
	slices.SortFunc(all, func(a, b Standing) int { return cmp.Compare(a.Membership, b.Membership) })
	for i := range all {
		st := &all[i]
		if next != "" && st.Tenant != current {
			continue
		}
		usable, err := d.usable(ctx, st)
		if err != nil {
			return "", false, err
		}
		if st.Tenant == current {
			if usable {
				return current, true, nil
			}
			member = true
		}
		b, err := d.blueprints.Version(ctx, st.Blueprint, st.BlueprintVersion)
		if err != nil {
			return "", false, err
		}
		if usable && b.Document().Membership.DefaultTenant != "" {
			next = st.Tenant
		}
	}
	return next, member, nil
}

// setDefault stores a default with its event. The event belongs to no tenant:
// none learns from it where else somebody is a member.
func (d *Directory) setDefault(ctx context.Context, user id.User, tenant id.Tenant) error {
	if err := d.store.SetDefaultTenant(ctx, user, tenant); err != nil {
		return err
	}
	return d.record(ctx, "", "user.default_tenant", "user", string(user), map[string]any{"tenant": tenant})
}

// usable reports whether the statuses of a membership and of its tenant allow
// to sign in.
func (d *Directory) usable(ctx context.Context, st *Standing) (bool, error) {
	return d.rights.Usable(ctx, st.Blueprint, st.BlueprintVersion, st.TenantStatus, st.Status)
}

// settleDefaults does settleDefault to the members of a tenant whose status, or
// that of many members, has changed.
func (d *Directory) settleDefaults(ctx context.Context, tenant id.Tenant) error {
	for after := id.User(""); ; {
		users, err := d.store.MembersToSettle(ctx, tenant, after, settlePage)
		if err != nil {
			return err
		}
		for _, user := range users {
			if err := d.settleDefault(ctx, user); err != nil {
				return err
			}
		}
		if len(users) < settlePage {
			return nil
		}
		after = users[len(users)-1]
	}
}

// SetDefaultTenant makes the tenant of that slug or id the one that the caller
// in ctx signs in to when none is named, and returns it. It fails with
// fault.Denied on tenant, alike for a tenant that does not exist and for one in
// which the caller has no membership that can be used; and for callers who are
// no person, or act as somebody else.
func (d *Directory) SetDefaultTenant(ctx context.Context, slugOrID string) (*Tenant, error) {
	p := authz.FromContext(ctx)
	if p.Kind != authz.UserPrincipal || p.User == "" || p.Support != nil {
		return nil, fault.New(fault.Denied, "only a person who is signed in has a default tenant").WithCode("not_person")
	}
	var chosen *Tenant
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		none := fault.Field(fault.Denied, "tenant", "you have no active membership there").WithCode("tenant")
		t, err := d.store.TenantByName(ctx, slugOrID)
		if errors.Is(err, fault.NotFound) {
			return none
		}
		if err != nil {
			return err
		}
		chosen = t
		current, _, err := d.store.LockDefaultTenant(ctx, p.User, "")
		if err != nil {
			return err
		}
		// Not before it is locked: whoever ends this membership now settles after us.
		m, err := d.store.MembershipOfUser(ctx, t.ID, p.User)
		if errors.Is(err, fault.NotFound) {
			return none
		}
		if err != nil {
			return err
		}
		usable, err := d.rights.Usable(ctx, t.Blueprint, t.BlueprintVersion, t.Status, m.Status)
		switch {
		case err != nil:
			return err
		case !usable:
			return none
		case t.ID == current:
			return nil
		}
		return d.setDefault(ctx, p.User, t.ID)
	})
	if err != nil {
		return nil, err
	}
	return chosen, nil
}
