package directory

import (
	"context"
	"errors"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A Lock says why a person can't change a part of their own profile.
type Lock struct {
	Reason LockReason
	Tenant string   // the name of the tenant that has the say
	By     []string // for LockDirectory: the names of its connections
}

// LockReason is why something is locked.
type LockReason string

// The reasons.
const (
	LockDirectory LockReason = "directory"   // the tenant's directory keeps it
	LockRoles     LockReason = "role_system" // the tenant's role system leaves it to others
)

// An OwnProfile is what the caller can see and change of their login.
type OwnProfile struct {
	User
	NameLock  *Lock // nil: the person may change their name
	EmailLock *Lock // nil: the person may change their address
	ZoneLock  *Lock // nil: the person may change their time zone

	EmailDomains []EmailDomains // of tenants that take addresses of some domains only
}

// EmailDomains are the only domains of which a tenant takes addresses.
type EmailDomains struct {
	Tenant  string // its name
	Domains []string
}

// maxName bounds each part of a name, in characters.
const maxName = 100

// OwnProfile returns the caller's login, with what is locked and by whom. One
// tenant that says no is enough.
func (d *Directory) OwnProfile(ctx context.Context) (*OwnProfile, error) {
	user, err := own(ctx)
	if err != nil {
		return nil, err
	}
	u, err := d.store.User(ctx, user)
	if err != nil {
		return nil, err
	}
	p := &OwnProfile{User: *u}
	memberships, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil {
		return nil, err
	}
	for i := range memberships {
		if err := d.lockProfile(ctx, p, &memberships[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// lockProfile adds what the tenant of a membership says of the profile. Whom the
// tenant can't sign in has nothing to do with it, but for a directory that
// manages the login.
func (d *Directory) lockProfile(ctx context.Context, p *OwnProfile, m *Membership) error {
	t, err := d.store.Tenant(ctx, m.Tenant)
	if err != nil {
		return err
	}
	if m.Managed {
		by, err := d.KeptBy(ctx, m.Tenant)
		if err != nil {
			return err
		}
		p.NameLock = &Lock{Reason: LockDirectory, Tenant: t.Name, By: by}
		p.EmailLock = p.NameLock
		if m.timeZone() != "" {
			p.ZoneLock = p.NameLock
		}
		return nil
	}
	usable, err := d.rights.Usable(ctx, t.Blueprint, t.BlueprintVersion, t.Status, m.Status)
	if err != nil || !usable {
		return err
	}
	b, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return err
	}
	if len(t.Policy.InviteDomains) > 0 {
		p.EmailDomains = append(p.EmailDomains, EmailDomains{t.Name, t.Policy.InviteDomains})
	}
	lock := &Lock{Reason: LockRoles, Tenant: t.Name}
	if p.NameLock == nil && m.Source != SourceSCIM && fixed(b, "name", map[string]any{"givenName": "a", "familyName": "a"}) {
		p.NameLock = lock
	}
	if p.EmailLock == nil && fixed(b, attrUserName, "a") {
		p.EmailLock = lock
	}
	return nil
}

// fixed reports whether the role system keeps members from changing this
// attribute of themselves. value is one that it can have.
func fixed(b *authz.Blueprint, attribute string, value any) bool {
	fields := profileFields(b, true, map[string]any{}, map[string]any{attribute: value})
	return b.CheckSelfEdit(fields...) != nil
}

// A ProfileChange is what of the caller's login is to be another; nil leaves it.
type ProfileChange struct {
	Given, Family *string
	Locale        *string // BCP 47, or empty for the browser's
	TimeZone      *string // an IANA name, or empty for UTC
}

func (c ProfileChange) check() error {
	for field, text := range map[string]*string{"given": c.Given, "family": c.Family, "locale": c.Locale} {
		if text != nil && (utf8.RuneCountInString(*text) > maxName || strings.ContainsFunc(*text, func(r rune) bool { return r < ' ' })) {
			return fault.Field(fault.Invalid, field, "must be one line of at most %d characters", maxName)
		}
	}
	if c.Given != nil && strings.TrimSpace(*c.Given) == "" {
		return fault.Field(fault.Invalid, "given", "must not be empty")
	}
	if c.TimeZone != nil && *c.TimeZone != "" && !knownZone(*c.TimeZone) {
		return fault.Field(fault.Invalid, "time_zone", "there is no time zone of this name")
	}
	return nil
}

// of returns the user as the change makes them.
func (c ProfileChange) of(u User) User {
	if c.Given != nil {
		u.Name.Given = strings.TrimSpace(*c.Given)
	}
	if c.Family != nil {
		u.Name.Family = strings.TrimSpace(*c.Family)
	}
	if c.Locale != nil {
		u.Locale = *c.Locale
	}
	if c.TimeZone != nil {
		u.TimeZone = *c.TimeZone
	}
	return u
}

// ChangeProfile changes the caller's login, and the name in those of their
// memberships that no directory describes, each through the door. It fails with
// fault.Invalid on given, family, locale and time_zone, and with fault.Denied where
// the name or the zone is locked.
func (d *Directory) ChangeProfile(ctx context.Context, change ProfileChange) error {
	user, err := own(ctx)
	if err != nil {
		return err
	}
	if err := change.check(); err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		p, err := d.OwnProfile(ctx)
		if err != nil {
			return err
		}
		next := change.of(p.User)
		if next == p.User {
			return nil
		}
		var fields []string
		if next.Name != p.Name {
			if p.NameLock != nil {
				return fault.Field(fault.Denied, "name", "%s decides about the name", p.NameLock.Tenant).WithCode("field:name")
			}
			next.Name.Display = "" // it was made of the name before
			fields = append(fields, "name")
			if err := d.renameMemberships(ctx, user, next.Name); err != nil {
				return err
			}
		}
		if next.Locale != p.Locale {
			fields = append(fields, "locale")
		}
		if next.TimeZone != p.TimeZone {
			if p.ZoneLock != nil {
				return fault.Field(fault.Denied, "time_zone", "%s decides about the time zone", p.ZoneLock.Tenant).WithCode("field:time_zone")
			}
			fields = append(fields, "time_zone")
		}
		_, err = d.store.UpdateUser(ctx, user, func(u *User) error {
			u.Name, u.Locale, u.TimeZone, u.Modified = next.Name, next.Locale, next.TimeZone, d.now()
			return nil
		})
		if err != nil {
			return err
		}
		return d.record(ctx, "", "user.profile", "user", string(user), map[string]any{"fields": fields})
	})
}

// renameMemberships carries a new name over to the memberships that can be used
// and that no directory describes.
func (d *Directory) renameMemberships(ctx context.Context, user id.User, name Name) error {
	return d.eachOwnMembership(ctx, user, func(doc map[string]any) (map[string]any, error) {
		parts, _ := doc["name"].(map[string]any)
		parts = maps.Clone(parts)
		if parts == nil {
			parts = map[string]any{}
		}
		delete(parts, "formatted")
		parts["givenName"], parts["familyName"] = name.Given, name.Family
		if name.Family == "" {
			delete(parts, "familyName")
		}
		doc["name"], doc[attrDisplayName] = parts, name.String()
		return doc, nil
	})
}

// eachOwnMembership changes those memberships of the user that can be used and
// that no directory describes, each through the door.
func (d *Directory) eachOwnMembership(ctx context.Context, user id.User, change func(doc map[string]any) (map[string]any, error)) error {
	memberships, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil {
		return err
	}
	for i := range memberships {
		m := &memberships[i]
		t, err := d.store.Tenant(ctx, m.Tenant)
		if err != nil {
			return err
		}
		usable, err := d.rights.Usable(ctx, t.Blueprint, t.BlueprintVersion, t.Status, m.Status)
		if err != nil {
			return err
		}
		if !usable || m.Source == SourceSCIM {
			continue
		}
		if _, err := d.ChangeMembership(ctx, m.Tenant, m.ID, 0, change); err != nil {
			return err
		}
	}
	return nil
}

// OwnData returns the caller's login and all of their memberships, for them to
// download, and records that they did.
func (d *Directory) OwnData(ctx context.Context) (*User, []OwnMembership, error) {
	user, err := own(ctx)
	if err != nil {
		return nil, nil, err
	}
	var u *User
	var all []OwnMembership
	err = d.store.InTx(ctx, func(ctx context.Context) error {
		var err error
		if u, err = d.store.User(ctx, user); err != nil {
			return err
		}
		memberships, err := d.store.MembershipsOfUser(ctx, user)
		if err != nil {
			return err
		}
		for _, m := range memberships {
			t, err := d.store.Tenant(ctx, m.Tenant)
			if err != nil {
				return err
			}
			o := OwnMembership{Membership: m, Slug: t.Slug, TenantName: t.Name}
			if st, err := d.rights.Standing(ctx, string(m.Tenant), user); err == nil {
				o.Roles, o.Groups = st.RolesAt, st.Groups
			} else if !errors.Is(err, fault.NotFound) {
				return err
			}
			all = append(all, o)
		}
		return d.record(ctx, "", "user.download", "user", string(user), nil)
	})
	if err != nil {
		return nil, nil, err
	}
	return u, all, nil
}

// An OwnMembership is a membership as its person gets it to download.
type OwnMembership struct {
	Membership
	Slug, TenantName string
	Roles, Groups    []string
}

// A Tie is a membership that keeps its person from deleting their account.
type Tie struct {
	Slug, TenantName string
	Err              error // why, as MayLeave has it
}

// Ties returns what keeps the caller from deleting their account; nothing: they
// may. It fails with fault.Denied for an operator, whom only another one removes.
func (d *Directory) Ties(ctx context.Context) ([]Tie, error) {
	user, err := own(ctx)
	if err != nil {
		return nil, err
	}
	u, err := d.store.User(ctx, user)
	if err != nil {
		return nil, err
	}
	if u.Operator {
		return nil, fault.New(fault.Denied, "an operator is not deleted by themselves").WithCode("operator_account")
	}
	memberships, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil {
		return nil, err
	}
	var ties []Tie
	for i := range memberships {
		m := &memberships[i]
		if m.Status == StatusInvited && !m.Managed {
			continue // is declined
		}
		err := d.MayLeave(ctx, m.Tenant)
		if err == nil {
			continue
		}
		if fault.As(err).Kind != fault.Denied {
			return nil, err
		}
		t, missing := d.store.Tenant(ctx, m.Tenant)
		if missing != nil {
			return nil, missing
		}
		ties = append(ties, Tie{t.Slug, t.Name, err})
	}
	return ties, nil
}

// DeleteOwn deletes the caller's account with all that they hold, in one
// transaction: memberships, sign-ins, factors, application tokens, grants. What
// the audit trail has of them stays. It fails with fault.Denied and the Code tied
// where a membership can't be left, and for an operator.
func (d *Directory) DeleteOwn(ctx context.Context) error {
	user, err := own(ctx)
	if err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		ties, err := d.Ties(ctx)
		if err != nil {
			return err
		}
		if len(ties) > 0 {
			return fault.New(fault.Denied, "%s has a say in this account", ties[0].TenantName).WithCode("tied")
		}
		memberships, err := d.store.MembershipsOfUser(ctx, user)
		if err != nil {
			return err
		}
		if err := d.record(ctx, "", "user.delete", "user", string(user), map[string]any{"memberships": len(memberships)}); err != nil {
			return err
		}
		for i := range memberships {
			m := &memberships[i]
			end := d.Leave
			if m.Status == StatusInvited {
				end = func(ctx context.Context, tenant id.Tenant) error { return d.Decline(ctx, tenant, user) }
			}
			if err := end(ctx, m.Tenant); err != nil {
				return err
			}
		}
		if _, err := d.store.User(ctx, user); errors.Is(err, fault.NotFound) {
			return nil // the last membership took the login along
		} else if err != nil {
			return err
		}
		if err := d.holdings.EndLogin(ctx, user); err != nil {
			return err
		}
		return d.store.DeleteUser(ctx, user)
	})
}
