package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// memberBody is a member of a tenant.
type memberBody struct {
	ID           id.Membership `json:"id"`
	User         id.User       `json:"user" doc:"The subject of the member's tokens"`
	UserName     string        `json:"user_name"`
	Status       string        `json:"status" doc:"A status of the tenant's role system"`
	Roles        []heldRole    `json:"roles"`
	SecondFactor bool          `json:"second_factor_required,omitempty" doc:"A second factor is demanded of this member"`
	Closed       time.Time     `json:"closed_until,omitzero" doc:"Until when the member's account is closed after failed sign-ins; shown of single members"`
	Created      time.Time     `json:"created"`
	Modified     time.Time     `json:"modified"`
}

// heldRole is a role that a member holds, and by what.
type heldRole struct {
	Role     string `json:"role"`
	Source   string `json:"source" enum:"direct,group,founder,operator,default"`
	Group    string `json:"group,omitempty" doc:"Name of the group, if a group gives the role"`
	Resource string `json:"resource,omitempty" doc:"The resource, if the role is held on one only"`
	Comment  string `json:"comment,omitempty"`
}

func memberOf(m *directory.TenantMember) memberBody {
	body := memberBody{
		ID: m.ID, User: m.User, UserName: m.UserName, Status: string(m.Status), Roles: []heldRole{}, SecondFactor: m.SecondFactor, Created: m.Created, Modified: m.Modified,
	}
	for _, a := range m.Assignments {
		body.Roles = append(body.Roles, heldRole{Role: a.Role, Source: string(a.Source), Group: a.GroupName, Resource: a.Resource, Comment: a.Comment})
	}
	return body
}

type memberPath struct {
	Member string `path:"member" doc:"The member's id"`
}

type memberAnswer struct{ Body memberBody }

type newMember struct {
	Body struct {
		Email        string   `json:"email" maxLength:"254"`
		Name         nameBody `json:"name,omitzero"`
		Roles        []string `json:"roles,omitempty" maxItems:"64"`
		SecondFactor bool     `json:"second_factor_required,omitempty" doc:"Demand a second factor of this member, where the role system knows that"`
		Status       string   `json:"status,omitempty" doc:"One that the role system lets the creator choose; left out: its first one"`
	}
}

type nameBody struct {
	Given   string `json:"given,omitempty" maxLength:"200"`
	Family  string `json:"family,omitempty" maxLength:"200"`
	Display string `json:"display,omitempty" maxLength:"200"`
}

type memberRoles struct {
	Member string `path:"member" doc:"The member's id"`
	Body   struct {
		Roles []string `json:"roles" maxItems:"64" doc:"Exactly the roles held directly; those by groups are not touched"`
	}
}

type memberStatus struct {
	Member string `path:"member" doc:"The member's id"`
	Body   struct {
		Status string `json:"status"`
	}
}

type memberFactor struct {
	Member string `path:"member" doc:"The member's id"`
	Body   struct {
		Required bool `json:"required"`
	}
}

type resourceRole struct {
	Member string `path:"member" doc:"The member's id"`
	Body   struct {
		Role     string `json:"role"`
		Resource string `json:"resource" maxLength:"500"`
		Comment  string `json:"comment,omitempty" maxLength:"2000" doc:"Why; some roles ask for it"`
	}
}

type offerAnswer struct{ Body authz.Offer }

// members registers what is done to people, their roles and the mappings of
// groups. Every change passes the directory's one door.
func (o *operations) members() {
	const tag = "Members"
	d := o.handler.Directory
	inTenant(o, operation{ID: "listMembers", Method: http.MethodGet, Path: "/members", Tag: tag, Summary: "List members"},
		func(ctx context.Context, t *directory.Tenant, in *Page) (*struct{ Body list[memberBody] }, error) {
			members, err := d.ListMembers(ctx, t.ID, id.Membership(in.Cursor), in.Limit+1)
			if err != nil {
				return nil, err
			}
			return &struct{ Body list[memberBody] }{pageOf(members, in.Limit, func(m *directory.TenantMember) string { return string(m.ID) }, memberOf)}, nil
		})
	inTenant(o, operation{
		ID: "addMember", Method: http.MethodPost, Path: "/members", Tag: tag, Summary: "Add a member", Status: http.StatusCreated,
		About: "Whoever has a login already has to accept before anything is gained.",
	},
		func(ctx context.Context, t *directory.Tenant, in *newMember) (*memberAnswer, error) {
			m, err := d.AddMember(ctx, t.ID, directory.MemberSpec{
				Email: in.Body.Email, Name: directory.Name(in.Body.Name), Roles: in.Body.Roles, Status: directory.Status(in.Body.Status),
				SecondFactor: in.Body.SecondFactor,
			})
			if err != nil {
				return nil, err
			}
			return &memberAnswer{memberOf(m)}, nil
		})
	inTenant(o, operation{ID: "getMember", Method: http.MethodGet, Path: "/members/{member}", Tag: tag, Summary: "Get a member"},
		func(ctx context.Context, t *directory.Tenant, in *memberPath) (*memberAnswer, error) {
			return o.member(ctx, t, in.Member)
		})
	inTenant(o, operation{ID: "setMemberRoles", Method: http.MethodPut, Path: "/members/{member}/roles", Tag: tag, Summary: "Set the roles of a member"},
		func(ctx context.Context, t *directory.Tenant, in *memberRoles) (*memberAnswer, error) {
			if _, err := o.member(ctx, t, in.Member); err != nil { // who may not see the answer is refused before the change
				return nil, err
			}
			if err := d.SetRoles(ctx, t.ID, id.Membership(in.Member), in.Body.Roles); err != nil {
				return nil, err
			}
			return o.member(ctx, t, in.Member)
		})
	inTenant(o, operation{
		ID: "setMemberStatus", Method: http.MethodPut, Path: "/members/{member}/status", Tag: tag, Summary: "Set the status of a member",
		About: "Suspends, brings back, approves: whichever of these the change amounts to.",
	},
		func(ctx context.Context, t *directory.Tenant, in *memberStatus) (*memberAnswer, error) {
			if _, err := o.member(ctx, t, in.Member); err != nil {
				return nil, err
			}
			if _, err := d.SetStatus(ctx, t.ID, id.Membership(in.Member), directory.Status(in.Body.Status)); err != nil {
				return nil, err
			}
			return o.member(ctx, t, in.Member)
		})
	inTenant(o, operation{
		ID: "deleteMember", Method: http.MethodDelete, Path: "/members/{member}", Tag: tag, Summary: "Remove a member", Status: http.StatusNoContent,
		About: "Ends all that the membership gave. Memberships of other tenants stay.",
	},
		func(ctx context.Context, t *directory.Tenant, in *memberPath) (*struct{}, error) {
			return nil, d.DeleteMembership(ctx, t.ID, id.Membership(in.Member), 0)
		})
	o.offers()
	o.credentials()
	o.resourceRoles()
	o.groupRoles()
}

// credentials registers what administrators cause to happen to what members sign
// in with.
func (o *operations) credentials() {
	const tag = "Members"
	d := o.handler.Directory
	o.passwordResets()
	inTenant(o, operation{
		ID: "requireSecondFactor", Method: http.MethodPut, Path: "/members/{member}/second-factor-required", Tag: tag,
		Summary: "Demand a second factor of a member, or no longer",
		About:   "For role systems that know the demand (mfa.required_when.membership_flag). It binds at once, also tokens that are out.",
	},
		func(ctx context.Context, t *directory.Tenant, in *memberFactor) (*memberAnswer, error) {
			if _, err := o.member(ctx, t, in.Member); err != nil {
				return nil, err
			}
			if _, err := d.RequireSecondFactor(ctx, t.ID, id.Membership(in.Member), in.Body.Required); err != nil {
				return nil, err
			}
			return o.member(ctx, t, in.Member)
		})
	for _, does := range []struct {
		operation
		do func(ctx context.Context, tenant id.Tenant, membership id.Membership) error
	}{
		{operation{
			ID: "inviteMember", Method: http.MethodPost, Path: "/members/{member}/invitation", Summary: "Send the invitation of a member again",
			About: "Who has no password yet chooses one by the link; a link of before no longer works.",
		}, d.Invite},
		{operation{
			ID: "sendPasswordReset", Method: http.MethodPost, Path: "/members/{member}/password-reset", Summary: "Send a member a link to choose a new password",
			About: "The link goes to the member's address and to nobody else.",
		}, d.SendPasswordReset},
		{operation{
			ID: "resetSecondFactor", Method: http.MethodDelete, Path: "/members/{member}/second-factor", Summary: "Take a member's authenticator app",
			About: "For a member who has lost it. Refused (login_shared) where the member signs in to other tenants with it.",
		}, d.ResetSecondFactor},
		{operation{
			ID: "forgetTrustedDevices", Method: http.MethodDelete, Path: "/members/{member}/trusted-devices", Summary: "Ask a member for the second factor in every browser again",
		}, d.ForgetTrustedDevices},
	} {
		does.Tag, does.Status = tag, http.StatusNoContent
		inTenant(o, does.operation, func(ctx context.Context, t *directory.Tenant, in *memberPath) (*struct{}, error) {
			return nil, does.do(ctx, t.ID, id.Membership(in.Member))
		})
	}
}

// offers registers the questions of what the caller may do.
func (o *operations) offers() {
	const tag = "Members"
	d := o.handler.Directory
	inTenant(o, operation{ID: "getOffer", Method: http.MethodGet, Path: "/offer", Tag: tag, Summary: "Whom the caller may add, with which roles"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*offerAnswer, error) {
			offer, err := d.Offer(ctx, t.ID, "")
			return &offerAnswer{offer}, err
		})
	inTenant(o, operation{ID: "getMemberOffer", Method: http.MethodGet, Path: "/members/{member}/offer", Tag: tag, Summary: "What the caller may do with a member"},
		func(ctx context.Context, t *directory.Tenant, in *memberPath) (*offerAnswer, error) {
			if _, err := d.Member(ctx, t.ID, id.Membership(in.Member)); err != nil {
				return nil, err
			}
			offer, err := d.Offer(ctx, t.ID, id.Membership(in.Member))
			return &offerAnswer{offer}, err
		})
}

func (o *operations) resourceRoles() {
	const tag = "Members"
	d := o.handler.Directory
	inTenant(o, operation{ID: "grantResourceRole", Method: http.MethodPost, Path: "/members/{member}/resource-roles", Tag: tag, Summary: "Give a role on one resource", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *resourceRole) (*struct{}, error) {
			return nil, d.GrantResource(ctx, in.grant(t))
		})
	inTenant(o, operation{ID: "revokeResourceRole", Method: http.MethodPost, Path: "/members/{member}/resource-roles/revoke", Tag: tag, Summary: "Take a role on one resource away", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *resourceRole) (*struct{}, error) {
			return nil, d.RevokeResource(ctx, in.grant(t))
		})
}

// member answers with a member as it is now.
func (o *operations) member(ctx context.Context, t *directory.Tenant, member string) (*memberAnswer, error) {
	m, err := o.handler.Directory.Member(ctx, t.ID, id.Membership(member))
	if err != nil {
		return nil, err
	}
	body := memberOf(m)
	if body.Closed, err = o.handler.Directory.ClosedUntil(ctx, m); err != nil {
		return nil, err
	}
	return &memberAnswer{body}, nil
}

func (r *resourceRole) grant(t *directory.Tenant) directory.ResourceGrant {
	return directory.ResourceGrant{
		Tenant: t.ID, Membership: id.Membership(r.Member), Role: r.Body.Role, Resource: r.Body.Resource, Comment: r.Body.Comment,
	}
}
