package directory

import (
	"context"
	"maps"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A GroupRolePreview says what would come of other mappings.
type GroupRolePreview struct {
	Set      GroupRoleSet  // as it would be
	Gain     int           // people who would get a role
	Lose     int           // people who would lose one; may be the same
	Roles    []RoleShare   // by role
	People   []RoleShift   // one page of them, by userName
	Next     id.Membership // after which the next page begins; empty on the last one
	Refusals []Refusal     // why the caller could not make this change now; empty: it could
}

// A RoleShare is how many people would get and lose a role.
type RoleShare struct {
	Role       string
	Gain, Lose int
}

// A Refusal is what a change would fail with.
type Refusal struct {
	Code   string
	Detail string
	People int // because of how many; 0: it is about the mappings themselves
}

// PreviewGroupRoles says what ReplaceGroupRoles would do, and changes nothing.
// It returns at most limit people, those after the given one. It fails with
// fault.Denied unless the caller may list members, and with fault.Invalid as
// ReplaceGroupRoles does, and on cursor.
func (d *Directory) PreviewGroupRoles(ctx context.Context, tenant id.Tenant, specs []GroupRoleSpec, defaultRole string, after id.Membership, limit int) (*GroupRolePreview, error) {
	if err := d.MayList(ctx, tenant); err != nil {
		return nil, err
	}
	at, _, err := d.placeOf(ctx, tenant)
	if err != nil {
		return nil, err
	}
	plan, err := d.planGroupRoles(ctx, at, func(set *GroupRoleSet) ([]asked, error) {
		return nil, set.replace(tenant, specs, defaultRole)
	})
	if err != nil {
		return nil, err
	}
	preview := &GroupRolePreview{Set: plan.after}
	err = d.weighGroupRoles(ctx, plan, func(err error, people int) error {
		f := fault.As(err)
		if f.Kind == fault.Internal {
			return err
		}
		preview.Refusals = append(preview.Refusals, Refusal{Code: f.Code, Detail: f.Detail, People: people})
		return nil
	})
	if err != nil {
		return nil, err
	}
	preview.count(plan.people)
	return preview, preview.page(plan.people, after, limit)
}

func (p *GroupRolePreview) count(people []RoleShift) {
	shares := map[string]*RoleShare{}
	share := func(role string) *RoleShare {
		if shares[role] == nil {
			shares[role] = &RoleShare{Role: role}
		}
		return shares[role]
	}
	for _, person := range people {
		for _, cause := range person.Gains {
			share(cause.Role).Gain++
		}
		for _, cause := range person.Loses {
			share(cause.Role).Lose++
		}
		if len(person.Gains) > 0 {
			p.Gain++
		}
		if len(person.Loses) > 0 {
			p.Lose++
		}
	}
	for _, role := range slices.Sorted(maps.Keys(shares)) {
		p.Roles = append(p.Roles, *shares[role])
	}
}

func (p *GroupRolePreview) page(people []RoleShift, after id.Membership, limit int) error {
	if after != "" {
		last := slices.IndexFunc(people, func(person RoleShift) bool { return person.Membership == after })
		if last < 0 {
			return fault.Field(fault.Invalid, "cursor", "nobody's roles would change whom the page before ended with")
		}
		people = people[last+1:]
	}
	p.People = people[:min(limit, len(people))]
	if len(people) > limit && limit > 0 {
		p.Next = people[limit-1].Membership
	}
	return nil
}
