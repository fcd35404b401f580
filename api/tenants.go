package api

import (
	"context"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// tenantBody is a tenant as its members see it.
type tenantBody struct {
	ID        id.Tenant `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Blueprint string    `json:"blueprint" doc:"The role system"`
	Version   int       `json:"blueprint_version" doc:"The version of the role system that the tenant is on"`
}

// childBody is a tenant directly below another.
type childBody struct {
	ID       id.Tenant `json:"id"`
	Slug     string    `json:"slug"`
	Name     string    `json:"name"`
	Relation string    `json:"relation" doc:"As the role system calls it"`
	Type     string    `json:"type,omitempty"`
	Tier     string    `json:"tier,omitempty"`
	Status   string    `json:"status"`
}

type relationPath struct {
	Relation string `path:"relation" doc:"As the role system calls it"`
}

type newParent struct {
	Relation string `path:"relation" doc:"As the role system calls it"`
	Body     struct {
		Parent    string `json:"parent" doc:"Slug or id"`
		OverQuota bool   `json:"over_quota,omitempty" doc:"Link although the parent's tier allows no more"`
	}
}

type entitlementBody struct {
	Key       string    `json:"key"`
	Source    string    `json:"source" enum:"tier,operator,delegated"`
	Giver     id.Tenant `json:"giver,omitempty" doc:"Who passed it on, for delegated"`
	Grantable bool      `json:"grantable" doc:"The tenant may pass it on to its children"`
}

type entitlementPath struct {
	Entitlement string `path:"entitlement"`
}

type optionBody struct {
	Grantable bool `json:"grantable,omitempty" doc:"With the option to pass it on"`
}

type givenEntitlement struct {
	Entitlement string `path:"entitlement"`
	Body        optionBody
}

type passedEntitlement struct {
	Child       string `path:"child" doc:"Slug or id of a tenant directly below"`
	Entitlement string `path:"entitlement"`
	Body        optionBody
}

type withdrawnEntitlement struct {
	Child       string `path:"child" doc:"Slug or id of a tenant directly below"`
	Entitlement string `path:"entitlement"`
}

type contactBody struct {
	Member id.Membership `json:"member" doc:"The member's id; empty: nobody"`
}

type memberCountBody struct {
	Tenant  id.Tenant `json:"tenant"`
	Slug    string    `json:"slug"`
	Name    string    `json:"name"`
	Role    string    `json:"role" doc:"Empty: no role"`
	Status  string    `json:"status"`
	Members int       `json:"members" doc:"Who holds several roles is counted with each"`
}

// tenants registers what is done to tenants and how they stand to each other.
func (o *operations) tenants() {
	d := o.handler.Directory
	inTenant(o, operation{ID: "getTenant", Method: http.MethodGet, Tag: "Tenants", Summary: "Get a tenant"},
		func(_ context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body tenantBody }, error) {
			return &struct{ Body tenantBody }{tenantBody{
				ID: t.ID, Slug: t.Slug, Name: t.Name, Status: t.Status, Blueprint: t.Blueprint, Version: t.BlueprintVersion,
			}}, nil
		})
	inTenant(o, operation{
		ID: "listChildren", Method: http.MethodGet, Path: "/children", Tag: "Tenants", Summary: "List the tenants directly below",
		About: "Those that the caller reaches; an operator sees all.",
	},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body list[childBody] }, error) {
			children, err := d.Children(ctx, t.ID)
			out := &struct{ Body list[childBody] }{list[childBody]{Items: []childBody{}}}
			for _, c := range children {
				out.Body.Items = append(out.Body.Items, childBody{c.ID, c.Slug, c.Name, c.Relation, c.Type, c.Tier, c.Status})
			}
			return out, err
		})
	inTenant(o, operation{
		ID: "setParent", Method: http.MethodPut, Path: "/parents/{relation}", Tag: "Tenants", Summary: "Put the tenant under a parent", Status: http.StatusNoContent,
		About: "For operators. Links a workspace to its hub, or puts a customer under a supplier.",
	},
		func(ctx context.Context, t *directory.Tenant, in *newParent) (*struct{}, error) {
			return nil, d.Link(ctx, directory.Edge{Tenant: t.ID, Relation: in.Relation, Parent: in.Body.Parent, OverQuota: in.Body.OverQuota})
		})
	inTenant(o, operation{
		ID: "removeParent", Method: http.MethodDelete, Path: "/parents/{relation}", Tag: "Tenants", Summary: "Take the tenant from its parent", Status: http.StatusNoContent,
		About: "For operators. Grants and application tokens that rest on rights from above end with it.",
	},
		func(ctx context.Context, t *directory.Tenant, in *relationPath) (*struct{}, error) {
			return nil, d.Unlink(ctx, t.ID, in.Relation)
		})
	inTenant(o, operation{ID: "getContact", Method: http.MethodGet, Path: "/contact", Tag: "Tenants", Summary: "Get the contact person"},
		func(_ context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body contactBody }, error) {
			return &struct{ Body contactBody }{contactBody{t.Contact}}, nil
		})
	inTenant(o, operation{
		ID: "setContact", Method: http.MethodPut, Path: "/contact", Tag: "Tenants", Summary: "Make a member the contact person", Status: http.StatusNoContent,
		About: "A marker that gives no right.",
	},
		func(ctx context.Context, t *directory.Tenant, in *struct{ Body contactBody }) (*struct{}, error) {
			return nil, d.SetContact(ctx, t.ID, in.Body.Member)
		})
	inTenant(o, operation{
		ID: "reportMembers", Method: http.MethodGet, Path: "/reports/members", Tag: "Reports", Summary: "Count members by role and status",
		About: "In the tenant and in those below it that the caller reaches with the permission of such reports.",
	},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body list[memberCountBody] }, error) {
			counts, err := d.ReportMembers(ctx, t.ID)
			out := &struct{ Body list[memberCountBody] }{list[memberCountBody]{Items: []memberCountBody{}}}
			for _, c := range counts {
				out.Body.Items = append(out.Body.Items, memberCountBody{c.Tenant, c.Slug, c.Name, c.Role, string(c.Status), c.Members})
			}
			return out, err
		})
	o.entitlements()
}

// entitlements registers what is done to entitlements: by an operator to a
// tenant's, by a tenant's people to those of its children.
func (o *operations) entitlements() {
	const tag = "Entitlements"
	d := o.handler.Directory
	inTenant(o, operation{ID: "listEntitlements", Method: http.MethodGet, Path: "/entitlements", Tag: tag, Summary: "List what the tenant is entitled to"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body list[entitlementBody] }, error) {
			all, err := d.Entitlements(ctx, t.ID)
			out := &struct{ Body list[entitlementBody] }{list[entitlementBody]{Items: []entitlementBody{}}}
			for _, e := range all {
				out.Body.Items = append(out.Body.Items, entitlementBody{e.Key, string(e.Source), e.Giver, e.Grantable})
			}
			return out, err
		})
	inTenant(o, operation{ID: "giveEntitlement", Method: http.MethodPut, Path: "/entitlements/{entitlement}", Tag: tag, Summary: "Give an entitlement", Status: http.StatusNoContent, About: "For operators."},
		func(ctx context.Context, t *directory.Tenant, in *givenEntitlement) (*struct{}, error) {
			return nil, d.Entitle(ctx, t.ID, in.Entitlement, in.Body.Grantable)
		})
	inTenant(o, operation{
		ID: "endEntitlement", Method: http.MethodDelete, Path: "/entitlements/{entitlement}", Tag: tag, Summary: "Take an entitlement", Status: http.StatusNoContent,
		About: "For operators. What the tenant has passed on of it ends too.",
	},
		func(ctx context.Context, t *directory.Tenant, in *entitlementPath) (*struct{}, error) {
			return nil, d.Disentitle(ctx, t.ID, in.Entitlement)
		})
	inTenant(o, operation{
		ID: "delegateEntitlement", Method: http.MethodPut, Path: "/children/{child}/entitlements/{entitlement}", Tag: tag, Summary: "Pass an entitlement on to a child", Status: http.StatusNoContent,
		About: "For those who administer the child's people by a role in the tenant, which needs the entitlement with the option to pass it on.",
	},
		func(ctx context.Context, t *directory.Tenant, in *passedEntitlement) (*struct{}, error) {
			child, err := o.child(ctx, t, in.Child)
			if err != nil {
				return nil, err
			}
			return nil, d.Delegate(ctx, t.ID, child, in.Entitlement, in.Body.Grantable)
		})
	inTenant(o, operation{
		ID: "withdrawEntitlement", Method: http.MethodDelete, Path: "/children/{child}/entitlements/{entitlement}", Tag: tag, Summary: "Take back what was passed on to a child", Status: http.StatusNoContent,
		About: "It ends at all levels below too.",
	},
		func(ctx context.Context, t *directory.Tenant, in *withdrawnEntitlement) (*struct{}, error) {
			child, err := o.child(ctx, t, in.Child)
			if err != nil {
				return nil, err
			}
			return nil, d.Withdraw(ctx, t.ID, child, in.Entitlement)
		})
}

// child returns the tenant directly below another that the caller means, or
// fault.NotFound, also for one that he does not reach.
func (o *operations) child(ctx context.Context, t *directory.Tenant, name string) (id.Tenant, error) {
	children, err := o.handler.Directory.Children(ctx, t.ID)
	if err != nil {
		return "", err
	}
	for _, c := range children {
		if c.Slug == name || string(c.ID) == name {
			return c.ID, nil
		}
	}
	return "", fault.New(fault.NotFound, "there is no such tenant below %s", t.Slug)
}
