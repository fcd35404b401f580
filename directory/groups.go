package directory

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// CreateGroup adds a group as a directory describes it: doc is a Group resource
// that scim/schema has validated, without its members. Role mappings that wait
// for a group of this name are bound to it.
func (d *Directory) CreateGroup(ctx context.Context, tenant id.Tenant, doc map[string]any, members []MemberChange) (*Group, error) {
	now := d.now()
	g := &Group{Tenant: tenant, ID: id.New[id.Group](), Created: now, Modified: now}
	if err := g.setDocument(doc); err != nil {
		return nil, err
	}
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		t, err := d.heldType(ctx, tenant, typeGroup)
		if err != nil {
			return err
		}
		if err := d.checkReferences(ctx, tenant, t, nil, g.Profile); err != nil {
			return err
		}
		g.Search, g.Keys = derive(t, nil, g.Profile)
		if err := d.store.CreateGroup(ctx, g); err != nil {
			return err
		}
		roles, err := d.store.BindGroupRoles(ctx, tenant, g.ID, g.DisplayName)
		if err != nil {
			return err
		}
		change := func(ctx context.Context) error {
			_, err := d.changeMembers(ctx, g, members)
			return err
		}
		if err := d.admitGroup(ctx, g, roles, members, change); err != nil {
			return err
		}
		if err := d.changedFrom(ctx, typeGroup, nil, g.snapshot(), members); err != nil {
			return err
		}
		return d.record(ctx, tenant, "group.create", "group", string(g.ID), roleData(roles))
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// admitGroup writes a change of a group by which its members, and those of the
// groups in it, get or lose roles. Without roles a directory's change is free.
// Who joins loses what the group's roles come before.
func (d *Directory) admitGroup(ctx context.Context, g *Group, roles []string, members []MemberChange, write func(ctx context.Context) error) error {
	if len(roles) == 0 && fromDirectory(ctx, g.Tenant) {
		return write(ctx)
	}
	return d.admitMany(ctx, massChange{
		tenant: g.Tenant, operation: authz.OpUpdate, roles: roles, write: write,
		affected: func(ctx context.Context) ([]id.Membership, error) {
			below, err := d.store.MembershipsBelow(ctx, g.Tenant, g.ID)
			if err != nil {
				return nil, err
			}
			joining, err := d.joining(ctx, g.Tenant, members)
			return append(below, joining...), err
		},
		joining: func(ctx context.Context) ([]id.Membership, error) {
			below, err := d.store.MembershipsBelow(ctx, g.Tenant, g.ID)
			if err != nil {
				return nil, err
			}
			joining, err := d.joining(ctx, g.Tenant, slices.DeleteFunc(slices.Clone(members), func(c MemberChange) bool { return c.Op == RemoveMembers }))
			return slices.DeleteFunc(joining, func(m id.Membership) bool { return slices.Contains(below, m) }), err
		},
	})
}

// joining returns those whom changes of a group's members name, and who is in
// the groups that they name.
func (d *Directory) joining(ctx context.Context, tenant id.Tenant, changes []MemberChange) ([]id.Membership, error) {
	var ids []string
	for _, change := range changes {
		ids = append(ids, change.IDs...)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	kinds, err := d.store.MemberKinds(ctx, tenant, ids)
	if err != nil {
		return nil, err
	}
	var joining []id.Membership
	for member, kind := range kinds {
		if kind == MemberUser {
			joining = append(joining, id.Membership(member))
			continue
		}
		below, err := d.store.MembershipsBelow(ctx, tenant, id.Group(member))
		if err != nil {
			return nil, err
		}
		joining = append(joining, below...)
	}
	return joining, nil
}

// roleData is what an event says about roles that a group gives.
func roleData(roles []string) map[string]any {
	if len(roles) == 0 {
		return nil
	}
	return map[string]any{"roles": roles}
}

// Group returns one group without its members, or fault.NotFound.
func (d *Directory) Group(ctx context.Context, tenant id.Tenant, group id.Group) (*Group, error) {
	return d.store.Group(ctx, tenant, group)
}

// Groups returns a page of the tenant's groups.
func (d *Directory) Groups(ctx context.Context, tenant id.Tenant, query Query) (*Page[Group], error) {
	return d.store.Groups(ctx, tenant, query)
}

// GroupsOf returns the groups of each membership, nested ones included.
func (d *Directory) GroupsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) (map[id.Membership][]GroupRef, error) {
	return d.store.GroupsOf(ctx, tenant, memberships)
}

// ChangeGroup replaces the document of a group by what change makes of it, and
// carries out the changes of members that it returns, in their order; both PUT
// and PATCH come this way. The members are never loaded. ifMatch is the Version
// that the caller saw; 0 means any. Where nothing differs nothing is stored.
func (d *Directory) ChangeGroup(ctx context.Context, tenant id.Tenant, group id.Group, ifMatch int64, change func(doc map[string]any) (map[string]any, []MemberChange, error)) (*Group, error) {
	var changed *Group
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		t, err := d.heldType(ctx, tenant, typeGroup)
		if err != nil {
			return err
		}
		var e groupEdit
		changed, err = d.store.UpdateGroup(ctx, tenant, group, func(ctx context.Context, g *Group) error {
			if err := checkVersion(ifMatch, g.Version); err != nil {
				return err
			}
			e.before = g.snapshot()
			old := g.Profile
			if err := d.editGroup(ctx, g, &e, change); err != nil {
				return err
			}
			if err := d.checkReferences(ctx, tenant, t, old, g.Profile); err != nil {
				return err
			}
			g.Search, g.Keys = derive(t, old, g.Profile)
			g.Modified = d.now()
			return nil
		})
		if err != nil || len(e.fields) == 0 {
			return err
		}
		if err := d.changedFrom(ctx, typeGroup, e.before, changed.snapshot(), e.members); err != nil {
			return err
		}
		return d.record(ctx, tenant, "group.update", "group", string(group), map[string]any{"fields": e.fields})
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// groupEdit is what a document makes of a group.
type groupEdit struct {
	before  *snapshot
	fields  []string       // attributes that differ
	members []MemberChange // that changed any row
}

// editGroup brings g to the document that change makes of its own, with its
// members. It fails with ErrUnchanged where nothing differs.
func (d *Directory) editGroup(ctx context.Context, g *Group, e *groupEdit, change func(doc map[string]any) (map[string]any, []MemberChange, error)) error {
	doc, steps, err := change(g.Document())
	if err != nil {
		return err
	}
	if err := g.setDocument(doc); err != nil {
		return err
	}
	e.fields = differences(e.before.document, g.Document())
	rows, err := d.changeGroup(ctx, g, e.fields, steps)
	if err != nil {
		return err
	}
	if rows > 0 {
		e.fields, e.members = append(e.fields, attrMembers), steps
	}
	if len(e.fields) == 0 {
		return ErrUnchanged
	}
	return nil
}

// changeGroup does what a changed group asks beside its own row, under the
// tenant's lock where roles hang on it. It returns how many rows of members
// changed.
func (d *Directory) changeGroup(ctx context.Context, g *Group, fields []string, members []MemberChange) (rows int, err error) {
	if len(fields)+len(members) == 0 {
		return 0, nil
	}
	roles, err := d.store.RolesThrough(ctx, g.Tenant, g.ID)
	if err != nil {
		return 0, err
	}
	renamed := slices.Contains(fields, attrDisplayName)
	if renamed {
		waiting, err := d.store.WaitingRoles(ctx, g.Tenant, g.DisplayName)
		if err != nil {
			return 0, err
		}
		roles = union(roles, waiting)
	}
	err = d.admitGroup(ctx, g, roles, members, func(ctx context.Context) error {
		if renamed {
			if _, err := d.store.BindGroupRoles(ctx, g.Tenant, g.ID, g.DisplayName); err != nil {
				return err
			}
		}
		rows, err = d.changeMembers(ctx, g, members)
		return err
	})
	return rows, err
}

// changeMembers carries out changes in their order and returns how many rows
// they changed.
func (d *Directory) changeMembers(ctx context.Context, g *Group, changes []MemberChange) (int, error) {
	rows := 0
	for _, change := range changes {
		n, err := d.changeMembersOnce(ctx, g, change)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

func (d *Directory) changeMembersOnce(ctx context.Context, g *Group, change MemberChange) (int, error) {
	switch change.Op {
	case RemoveMembers:
		return d.store.RemoveMembers(ctx, g.Tenant, g.ID, change.IDs)
	case ClearMembers:
		return d.store.ReplaceMembers(ctx, g.Tenant, g.ID, nil)
	case AddMembers, ReplaceMembers:
		members, err := d.resolveMembers(ctx, g, change.IDs)
		if err != nil {
			return 0, err
		}
		if change.Op == AddMembers {
			return d.store.AddMembers(ctx, g.Tenant, g.ID, members)
		}
		return d.store.ReplaceMembers(ctx, g.Tenant, g.ID, members)
	default:
		return 0, fault.Field(fault.Invalid, attrMembers, "unknown operation %d on members", change.Op)
	}
}

// resolveMembers finds out what the ids name. An id of another tenant is as
// unknown as one that never was.
func (d *Directory) resolveMembers(ctx context.Context, g *Group, ids []string) ([]Member, error) {
	kinds, err := d.store.MemberKinds(ctx, g.Tenant, ids)
	if err != nil {
		return nil, err
	}
	around, err := d.around(ctx, g, kinds)
	if err != nil {
		return nil, err
	}
	members := make([]Member, 0, len(ids))
	var unknown []string
	for _, member := range ids {
		kind, known := kinds[member]
		if !known {
			unknown = append(unknown, member)
			continue
		}
		if around[id.Group(member)] {
			return nil, fault.Field(fault.Invalid, attrMembers, "the group %s can't be a member: it is or contains this group", member)
		}
		members = append(members, Member{ID: member, Kind: kind})
	}
	if len(unknown) > 0 {
		const most = 5
		shown := strings.Join(unknown[:min(len(unknown), most)], ", ")
		return nil, fault.Field(fault.Invalid, attrMembers, "%d unknown members: no user or group of this tenant has the id %s", len(unknown), shown)
	}
	return members, nil
}

// around returns the groups that can't be members of g, because they are or
// contain it. It costs one statement however many groups are among the members.
func (d *Directory) around(ctx context.Context, g *Group, kinds map[string]MemberKind) (map[id.Group]bool, error) {
	if !slices.Contains(slices.Collect(maps.Values(kinds)), MemberGroup) {
		return nil, nil
	}
	above, err := d.store.GroupsAround(ctx, g.Tenant, g.ID)
	if err != nil {
		return nil, err
	}
	around := map[id.Group]bool{g.ID: true}
	for _, group := range above {
		around[group] = true
	}
	return around, nil
}

// DeleteGroup removes a group, and with it the roles that it gave. Mappings of
// the group wait for another one of its name.
func (d *Directory) DeleteGroup(ctx context.Context, tenant id.Tenant, group id.Group, ifMatch int64) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		g, err := d.store.UpdateGroup(ctx, tenant, group, func(_ context.Context, g *Group) error {
			if err := checkVersion(ifMatch, g.Version); err != nil {
				return err
			}
			return ErrUnchanged // only its lock is needed
		})
		if err != nil {
			return err
		}
		roles, err := d.store.RolesThrough(ctx, tenant, group)
		if err != nil {
			return err
		}
		err = d.admitGroup(ctx, &Group{Tenant: tenant, ID: group}, roles, nil, func(ctx context.Context) error {
			return d.store.DeleteGroup(ctx, tenant, group)
		})
		if err != nil {
			return err
		}
		if err := d.changedFrom(ctx, typeGroup, g.snapshot(), nil, nil); err != nil {
			return err
		}
		return d.record(ctx, tenant, "group.delete", "group", string(group), roleData(roles))
	})
}
