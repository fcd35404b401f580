package api

import (
	"context"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// groupRoleBody is a mapping of a group to a role.
type groupRoleBody struct {
	Group    string `json:"group" maxLength:"500" doc:"Display name of the group; it may come later"`
	Role     string `json:"role" maxLength:"200"`
	Priority int    `json:"priority,omitempty" minimum:"1" maximum:"1000000" doc:"1 comes first. It counts where a member can have only so many roles. Left out: as it is, 100 for a new mapping"`
	Waiting  bool   `json:"waiting,omitempty" readOnly:"true" doc:"The directory has not pushed a group of that name yet"`
	GroupID  string `json:"group_id,omitempty" readOnly:"true" doc:"The group that the mapping follows, by whatever name"`
}

// groupRoleSet is all that a tenant says of roles by its directory.
type groupRoleSet struct {
	Items       []groupRoleBody `json:"items" maxItems:"1000"`
	DefaultRole string          `json:"default_role,omitempty" maxLength:"200" doc:"Of people whom the directory pushes and to whom nothing else gives a role; left out: none"`
}

func groupRoleSetOf(set *directory.GroupRoleSet) groupRoleSet {
	body := groupRoleSet{Items: []groupRoleBody{}, DefaultRole: set.Default}
	for _, m := range set.Mappings {
		body.Items = append(body.Items, groupRoleBody{
			Group: m.GroupName, Role: m.Role, Priority: m.Priority, Waiting: m.Group == "", GroupID: string(m.Group),
		})
	}
	return body
}

func (s *groupRoleSet) specs() []directory.GroupRoleSpec {
	specs := make([]directory.GroupRoleSpec, 0, len(s.Items))
	for _, item := range s.Items {
		specs = append(specs, item.spec())
	}
	return specs
}

func (b *groupRoleBody) spec() directory.GroupRoleSpec {
	return directory.GroupRoleSpec{Group: b.Group, Role: b.Role, Priority: b.Priority}
}

type groupRoleSetAnswer struct{ Body groupRoleSet }

type groupRolePreviewAnswer struct{ Body groupRolePreview }

// groupRolePreview says what would come of other mappings.
type groupRolePreview struct {
	Set      groupRoleSet  `json:"set" doc:"The mappings as they would be"`
	Gain     int           `json:"gain" doc:"People who would get a role"`
	Lose     int           `json:"lose" doc:"People who would lose one; who gets another in its place is counted with both"`
	Roles    []roleShare   `json:"roles"`
	Refusals []refusalBody `json:"refusals" doc:"Why the caller could not make this change now; empty: it could"`
	Items    []roleShift   `json:"items" doc:"The people, by user name"`
	Next     string        `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one"`
}

type roleShare struct {
	Role string `json:"role"`
	Gain int    `json:"gain"`
	Lose int    `json:"lose"`
}

type refusalBody struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	People int    `json:"people,omitempty" doc:"Because of how many; left out: it is about the mappings themselves"`
}

type roleShift struct {
	Member   id.Membership `json:"member"`
	User     id.User       `json:"user"`
	UserName string        `json:"user_name"`
	Gains    []roleCause   `json:"gains"`
	Loses    []roleCause   `json:"loses"`
}

// roleCause is a role that somebody would get or lose, and by what.
type roleCause struct {
	Role     string `json:"role"`
	Source   string `json:"source" enum:"group,default"`
	Group    string `json:"group,omitempty" doc:"As the mapping names it"`
	Priority int    `json:"priority,omitempty" doc:"The mapping's"`
}

func causesOf(causes []directory.RoleCause) []roleCause {
	bodies := []roleCause{}
	for _, c := range causes {
		bodies = append(bodies, roleCause{Role: c.Role, Source: string(c.Source), Group: c.Group, Priority: c.Priority})
	}
	return bodies
}

func groupRolePreviewOf(p *directory.GroupRolePreview) groupRolePreview {
	body := groupRolePreview{
		Set: groupRoleSetOf(&p.Set), Gain: p.Gain, Lose: p.Lose, Next: string(p.Next),
		Roles: []roleShare{}, Refusals: []refusalBody{}, Items: []roleShift{},
	}
	for _, share := range p.Roles {
		body.Roles = append(body.Roles, roleShare(share))
	}
	for _, refusal := range p.Refusals {
		body.Refusals = append(body.Refusals, refusalBody(refusal))
	}
	for _, person := range p.People {
		body.Items = append(body.Items, roleShift{
			Member: person.Membership, User: person.User, UserName: person.UserName, Gains: causesOf(person.Gains), Loses: causesOf(person.Loses),
		})
	}
	return body
}

// groupRoles registers what is done to the mappings of groups. What a mapping
// gives or takes counts from the next request on.
func (o *operations) groupRoles() {
	const tag = "Group roles"
	d := o.handler.Directory
	all := func(ctx context.Context, t *directory.Tenant) (*groupRoleSetAnswer, error) {
		set, err := d.GroupRoles(ctx, t.ID)
		if err != nil {
			return nil, err
		}
		return &groupRoleSetAnswer{groupRoleSetOf(set)}, nil
	}
	inTenant(o, operation{ID: "listGroupRoles", Method: http.MethodGet, Path: "/group-roles", Tag: tag, Summary: "List which groups give which roles"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*groupRoleSetAnswer, error) {
			return all(ctx, t)
		})
	inTenant(o, operation{ID: "mapGroupRole", Method: http.MethodPost, Path: "/group-roles", Tag: tag, Summary: "Make a group give a role, or change the priority", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *struct{ Body groupRoleBody }) (*struct{}, error) {
			return nil, d.PutGroupRole(ctx, t.ID, in.Body.spec())
		})
	inTenant(o, operation{
		ID: "replaceGroupRoles", Method: http.MethodPut, Path: "/group-roles", Tag: tag, Summary: "Replace all mappings and the default role",
		About: "In one step: a role that the tenant must not be without can so pass from one group to another.",
	},
		func(ctx context.Context, t *directory.Tenant, in *struct{ Body groupRoleSet }) (*groupRoleSetAnswer, error) {
			if err := d.ReplaceGroupRoles(ctx, t.ID, in.Body.specs(), in.Body.DefaultRole); err != nil {
				return nil, err
			}
			return all(ctx, t)
		})
	inTenant(o, operation{ID: "unmapGroupRole", Method: http.MethodDelete, Path: "/group-roles", Tag: tag, Summary: "End that a group gives a role", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Group string `query:"group" required:"true"`
			Role  string `query:"role" required:"true"`
		},
		) (*struct{}, error) {
			return nil, d.UnmapGroupRole(ctx, t.ID, in.Group, in.Role)
		})
	inTenant(o, operation{ID: "setDefaultRole", Method: http.MethodPut, Path: "/group-roles/default", Tag: tag, Summary: "Set the default role", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Body struct {
				Role string `json:"role" maxLength:"200" doc:"Empty: none"`
			}
		},
		) (*struct{}, error) {
			return nil, d.SetDefaultRole(ctx, t.ID, in.Body.Role)
		})
	inTenant(o, operation{
		ID: "previewGroupRoles", Method: http.MethodPost, Path: "/group-roles/preview", Tag: tag, Summary: "Show what other mappings would do",
		About: "The body is as for replaceGroupRoles. Nothing changes.",
	},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Page
			Body groupRoleSet
		},
		) (*groupRolePreviewAnswer, error) {
			preview, err := d.PreviewGroupRoles(ctx, t.ID, in.Body.specs(), in.Body.DefaultRole, id.Membership(in.Cursor), in.Limit)
			if err != nil {
				return nil, err
			}
			return &groupRolePreviewAnswer{groupRolePreviewOf(preview)}, nil
		})
}
