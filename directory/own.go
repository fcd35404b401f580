package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// This file is what people see of themselves: the caller is the Principal of the
// context, and nobody else's is ever shown.

// OwnRoles is what the caller is and may do in one tenant over the portal.
type OwnRoles struct {
	Standing
	TenantNoun string    // the role system's word for a tenant; may be empty
	All        []OwnRole // every role that the tenant may know of, in the order of its table
	Areas      []OwnArea // of the table, in its order
}

// An OwnRole is a role of the tenant's role system with the ways by which the
// caller has it: none means that they don't.
type OwnRole struct {
	authz.Role
	By []RoleWay
}

// Held reports whether the caller has the role.
func (r *OwnRole) Held() bool { return len(r.By) > 0 }

// Sources of a [RoleWay] beside those of assignments.
const (
	WayImplicit AssignmentSource = "implicit" // everybody in the tenant has it
	WayReach    AssignmentSource = "reach"    // a role held in another tenant counts here
)

// A RoleWay is by what a role is held.
type RoleWay struct {
	Source   AssignmentSource
	Group    string // the display name, for AssignedGroup
	Tenant   string // the name of the tenant where it is held, for WayReach
	Resource string // the only resource that it counts on; empty: the whole tenant
}

// An OwnArea is a block of the role system's table.
type OwnArea struct {
	Name string
	Rows []OwnRight
	May  int // rows that are allowed, be it in part
}

// An OwnRight is a row of the role system's table.
type OwnRight struct {
	Name   string
	Extent Extent
}

// Extent says how much of a row somebody may do.
type Extent string

// The extents.
const (
	MayAll  Extent = "all"
	MayPart Extent = "part"
	MayNone Extent = "none"
)

// own returns who looks at themselves. It fails with fault.Denied for callers who
// are no person, or act as somebody else.
func own(ctx context.Context) (id.User, error) {
	p := authz.FromContext(ctx)
	if p.Kind != authz.UserPrincipal || p.User == "" || p.Support != nil {
		return "", fault.New(fault.Denied, "only a person who is signed in does this").WithCode("not_person")
	}
	return p.User, nil
}

// OwnRoles returns what the caller in ctx is in the tenant of that slug or id. It
// fails with fault.NotFound alike for a tenant that does not exist and for one in
// which the caller is nothing.
func (d *Directory) OwnRoles(ctx context.Context, slugOrID string) (*OwnRoles, error) {
	user, err := own(ctx)
	if err != nil {
		return nil, err
	}
	w, err := d.rights.one(ctx, Bearer{User: user}, slugOrID)
	if err != nil {
		return nil, err
	}
	st := w.standing()
	if st == nil || st.Status == StatusInvited { // who has yet to accept is nobody there
		return nil, errNoStanding()
	}
	b := w.at.blueprint
	found := &OwnRoles{Standing: *st, TenantNoun: b.Document().Noun.Tenant, Areas: w.areas()}
	ways := w.ways()
	for _, role := range b.Roles() {
		by := ways[role.Key]
		if len(by) == 0 && (role.Hidden || role.Lifecycle == authz.Retired || role.HoldersKind == authz.ServiceHolders) {
			continue
		}
		found.All = append(found.All, OwnRole{Role: role, By: by})
	}
	return found, nil
}

// ways returns by what the person has each role that counts at the place.
func (w *weighed) ways() map[string][]RoleWay {
	b, at := w.at.blueprint, w.at
	ways := map[string][]RoleWay{}
	for _, holder := range w.holders {
		home := holder.Home().ID()
		if home != at.tenant.ID {
			for _, role := range b.RolesAt([]authz.Holder{holder}, at.view, authz.ChannelPortal) {
				ways[role] = append(ways[role], RoleWay{Source: WayReach, Tenant: at.homes[home].tenant.Name})
			}
			continue
		}
		for _, role := range w.held.At(home).Roles {
			ways[role.Role] = append(ways[role.Role], RoleWay{Source: role.Source, Group: role.Group, Resource: role.Resource})
		}
		for _, role := range b.RoleKeys(b.Implicit()) {
			ways[role] = append(ways[role], RoleWay{Source: WayImplicit})
		}
	}
	return ways
}

// areas says row by row what the person may do at the place.
func (w *weighed) areas() []OwnArea {
	b := w.at.blueprint
	may := b.Effective(w.holders, w.at.view, authz.ChannelPortal)
	var areas []OwnArea
	for _, area := range b.Document().Permissions {
		shown := OwnArea{Name: area.Area}
		for _, row := range area.Rows {
			if len(row.Keys) == 0 { // who administers whom, which is no permission
				continue
			}
			allowed := 0
			for _, key := range row.Keys {
				if p, known := b.Permission(key); known && may.Has(p) {
					allowed++
				}
			}
			right := OwnRight{Name: row.Label, Extent: MayNone}
			switch {
			case allowed == len(row.Keys):
				right.Extent = MayAll
			case allowed > 0:
				right.Extent = MayPart
			}
			if allowed > 0 {
				shown.May++
			}
			shown.Rows = append(shown.Rows, right)
		}
		if len(shown.Rows) > 0 {
			areas = append(areas, shown)
		}
	}
	return areas
}

// MayLeave fails unless Leave would do, with the same error.
func (d *Directory) MayLeave(ctx context.Context, tenant id.Tenant) error {
	user, err := own(ctx)
	if err != nil {
		return err
	}
	m, err := d.store.MembershipOfUser(ctx, tenant, user)
	if err != nil {
		return err
	}
	if err := m.leavable(); err != nil {
		return err
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return err
	}
	act, disabled, err := d.act(ctx, at, user)
	if err != nil {
		return err
	}
	if act.Tallies, err = d.tallies(ctx, at); err != nil {
		return err
	}
	if disabled {
		act.Tallies = counted(at.blueprint, act.Tallies, *act.Target.Before)
	}
	act.Operation, act.Untallied = authz.OpDelete, false
	return at.blueprint.May(act).Err()
}

// leavable fails for a membership that its directory would only make anew.
func (m *Membership) leavable() error {
	if m.Managed || m.Source == SourceSCIM {
		return fault.New(fault.Denied, "the tenant's directory decides who is a member").WithCode("directory_managed")
	}
	return nil
}

// Leave ends the caller's own membership of a tenant, and all that it gave, as
// far as the role system lets people delete themselves. It fails with
// fault.Denied and the reason as Code, such as last_holder or directory_managed,
// and with fault.NotFound for who is no member.
func (d *Directory) Leave(ctx context.Context, tenant id.Tenant) error {
	user, err := own(ctx)
	if err != nil {
		return err
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.MembershipOfUser(ctx, tenant, user)
		if err != nil {
			return err
		}
		if m.retired() {
			return &fault.Error{Kind: fault.NotFound}
		}
		if err := m.leavable(); err != nil {
			return err
		}
		return d.DeleteMembership(ctx, tenant, m.ID, 0)
	})
}

// Connections by which a tenant's directory pushes people are named to those
// people, so that they know who keeps what they can't change themselves.

// KeptBy returns the names of the connections through which a tenant's directory
// keeps the caller's membership, sorted; none where nobody pushes it.
func (d *Directory) KeptBy(ctx context.Context, tenant id.Tenant) ([]string, error) {
	user, err := own(ctx)
	if err != nil {
		return nil, err
	}
	m, err := d.store.MembershipOfUser(ctx, tenant, user)
	if err != nil || m.Source != SourceSCIM {
		return nil, err
	}
	connections, err := d.store.Connections(ctx, tenant, "", maxKeepers)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(connections))
	for i := range connections {
		names = append(names, connections[i].Name)
	}
	slices.Sort(names)
	return names, nil
}

// maxKeepers bounds how many connections are named to a person.
const maxKeepers = 5
