package scim

import (
	"context"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

const (
	attrActive = "active"
	attrGroups = "groups"
)

// users are memberships as resources (RFC 7643 §4.1).
func users(d *directory.Directory, t *schema.ResourceType) *kind {
	return &kind{
		t: t, noun: "user",
		create: func(ctx context.Context, tenant id.Tenant, doc map[string]any) (*entity, error) {
			return userOf(d.CreateMembership(ctx, tenant, doc))
		},
		read: func(ctx context.Context, tenant id.Tenant, resource string) (*entity, error) {
			membership, err := identifier[id.Membership](resource)
			if err != nil {
				return nil, err
			}
			return userOf(d.Membership(ctx, tenant, membership))
		},
		change: func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64, change changeFunc) (*entity, error) {
			membership, err := identifier[id.Membership](resource)
			if err != nil {
				return nil, err
			}
			return userOf(d.ChangeMembership(ctx, tenant, membership, ifMatch, keepActive(change)))
		},
		remove: func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64) error {
			membership, err := identifier[id.Membership](resource)
			if err != nil {
				return err
			}
			return d.DeleteMembership(ctx, tenant, membership, ifMatch)
		},
		page: func(ctx context.Context, tenant id.Tenant, q directory.Query) (*directory.Page[*entity], error) {
			page, err := d.Memberships(ctx, tenant, q)
			return pageOf(page, err, userEntity)
		},
		complete: func(ctx context.Context, c client, p schema.Projection, users []*entity) error {
			return addGroups(ctx, d, c, p, users)
		},
	}
}

// identifier parses what an address names. What can't be one is not found.
func identifier[ID ~string](text string) (ID, error) {
	parsed, err := id.Parse[ID](text)
	if err != nil {
		return "", fault.New(fault.NotFound, "")
	}
	return parsed, nil
}

func userOf(m *directory.Membership, err error) (*entity, error) {
	if err != nil {
		return nil, err
	}
	return userEntity(m), nil
}

func userEntity(m *directory.Membership) *entity {
	return &entity{id: string(m.ID), version: m.Version, created: m.Created, modified: m.Modified, document: m.Document()}
}

// keepActive leaves the status of a user alone whom a new document says nothing
// of: to forget an attribute is not to switch somebody off.
func keepActive(change changeFunc) func(map[string]any) (map[string]any, error) {
	return func(current map[string]any) (map[string]any, error) {
		active, wasThere := current[attrActive]
		next, _, err := change(current)
		if err != nil {
			return nil, err
		}
		if _, mentioned := next[attrActive]; !mentioned && wasThere {
			next[attrActive] = active
		}
		return next, nil
	}
}

// addGroups adds the attribute groups (RFC 7643 §4.1.2) where it is shown.
func addGroups(ctx context.Context, d *directory.Directory, c client, p schema.Projection, users []*entity) error {
	if !p.Shows(attrGroups) || len(users) == 0 {
		return nil
	}
	ids := make([]id.Membership, len(users))
	for i, user := range users {
		ids[i] = id.Membership(user.id)
	}
	groups, err := d.GroupsOf(ctx, c.tenant, ids)
	if err != nil {
		return err
	}
	for _, user := range users {
		if of := groups[id.Membership(user.id)]; len(of) > 0 {
			user.document[attrGroups] = groupRefs(of, c.base)
		}
	}
	return nil
}

func groupRefs(groups []directory.GroupRef, base string) []any {
	refs := make([]any, len(groups))
	for i, g := range groups {
		kind := "indirect"
		if g.Direct {
			kind = "direct"
		}
		refs[i] = map[string]any{
			"value": string(g.ID), "$ref": base + "/Groups/" + string(g.ID), "display": g.Display, "type": kind,
		}
	}
	return refs
}
