package scim

import (
	"context"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

const attrMembers = "members"

// groups are a tenant's groups as resources (RFC 7643 §4.2).
func groups(d *directory.Directory, t *schema.ResourceType) *kind {
	return &kind{
		t: t, noun: "group", hasMembers: true,
		create: func(ctx context.Context, tenant id.Tenant, doc map[string]any) (*entity, error) {
			var changes []directory.MemberChange
			if ids := takeMembers(doc); len(ids) > 0 {
				changes = []directory.MemberChange{{Op: directory.AddMembers, IDs: ids}}
			}
			return groupOf(d.CreateGroup(ctx, tenant, doc, changes))
		},
		read: func(ctx context.Context, tenant id.Tenant, resource string) (*entity, error) {
			group, err := identifier[id.Group](resource)
			if err != nil {
				return nil, err
			}
			return groupOf(d.Group(ctx, tenant, group))
		},
		change: func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64, change changeFunc) (*entity, error) {
			group, err := identifier[id.Group](resource)
			if err != nil {
				return nil, err
			}
			return groupOf(d.ChangeGroup(ctx, tenant, group, ifMatch, change))
		},
		remove: func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64) error {
			group, err := identifier[id.Group](resource)
			if err != nil {
				return err
			}
			return d.DeleteGroup(ctx, tenant, group, ifMatch)
		},
		page: func(ctx context.Context, tenant id.Tenant, q directory.Query) (*directory.Page[*entity], error) {
			page, err := d.Groups(ctx, tenant, q)
			return pageOf(page, err, groupEntity)
		},
		complete: func(ctx context.Context, c client, p schema.Projection, groups []*entity) error {
			return addMembers(ctx, d, c, p, groups)
		},
	}
}

func groupOf(g *directory.Group, err error) (*entity, error) {
	if err != nil {
		return nil, err
	}
	return groupEntity(g), nil
}

func groupEntity(g *directory.Group) *entity {
	return &entity{id: string(g.ID), version: g.Version, created: g.Created, modified: g.Modified, document: g.Document()}
}

// addMembers reads the members where they are shown.
func addMembers(ctx context.Context, d *directory.Directory, c client, p schema.Projection, groups []*entity) error {
	if !p.Shows(attrMembers) || len(groups) == 0 {
		return nil
	}
	ids := make([]id.Group, len(groups))
	for i, group := range groups {
		ids[i] = id.Group(group.id)
	}
	members, err := d.Members(ctx, c.tenant, ids)
	if err != nil {
		return err
	}
	for _, group := range groups {
		group.members = members[id.Group(group.id)]
	}
	return nil
}

// takeMembers removes the members from a normalized document and returns their
// identifiers: they are rows, not part of the group's document.
func takeMembers(doc map[string]any) []string {
	members, _ := doc[attrMembers].([]any)
	delete(doc, attrMembers)
	ids := make([]string, 0, len(members))
	for _, element := range members {
		member, _ := element.(map[string]any)
		if value, ok := member["value"].(string); ok {
			ids = append(ids, value)
		}
	}
	return ids
}
