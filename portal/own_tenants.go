package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// tenantsAddress is where a person sees the tenants that they belong to. Each has
// a page below it.
const tenantsAddress = "/me/tenants"

// tenantsPage lists a person's tenants.
type tenantsPage struct {
	Tenants     []standingView
	Invitations []standingView
	Done        string // key; may be empty
	Problem     *problem
}

// rolesPage is what a person is and may do in one tenant.
type rolesPage struct {
	Slug, Name string
	Noun       string
	Status     string
	Usable     bool
	Default    bool
	CanDefault bool // it can be made the default
	Groups     []string
	Roles      []roleView
	Areas      []directory.OwnArea
	CanLeave   bool
	Stay       *message // why the person can't leave, where that says more than that it is not allowed
	Registered bool     // the person has just made themselves a member
	Problem    *problem
}

// roleView is a role of the tenant's role system, and the person's ways to it.
type roleView struct {
	Name  string
	About string
	Ways  []message
}

func (p *Portal) showOwnTenants(c *gin.Context, session *authn.Session) error {
	return p.writeOwnTenants(c, session, http.StatusOK, nil)
}

func (p *Portal) writeOwnTenants(c *gin.Context, session *authn.Session, status int, why *problem) error {
	view := tenantsPage{Problem: why, Done: map[string]string{"left": "tenants.done.left", "default": "tenants.done.default"}[c.Query("done")]}
	var err error
	if view.Tenants, view.Invitations, err = p.ownStandings(c.Request.Context(), session); err != nil {
		return err
	}
	return write(c.Writer, c.Request, status, p.pages.tenants, view)
}

// ownStandings returns the person's tenants and those that wait for an answer.
func (p *Portal) ownStandings(ctx context.Context, session *authn.Session) (tenants, invitations []standingView, err error) {
	standings, err := p.directory.Standings(ctx, session.User)
	if err != nil {
		return nil, nil, err
	}
	for i := range standings {
		if standings[i].Status == directory.StatusInvited {
			invitations = append(invitations, p.standingView(ctx, &standings[i], false))
		} else {
			tenants = append(tenants, p.standingView(ctx, &standings[i], standings[i].SignIn))
		}
	}
	return tenants, invitations, nil
}

// changeOwnTenants takes an answer to an invitation (fields accept and decline),
// the default tenant (default), or leaves one (leave, which the field confirm
// repeats). Each holds a slug.
func (p *Portal) changeOwnTenants(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	switch {
	case field("default") != "":
		if _, err := p.directory.SetDefaultTenant(c.Request.Context(), field("default")); err != nil {
			if fault.As(err).Kind == fault.Denied {
				return fault.New(fault.NotFound, "no such tenant")
			}
			return err
		}
		seeOther(c, tenantsAddress+"?done=default")
		return nil
	case field("leave") != "":
		return p.leave(c, session, field("leave"), field("confirm") != "")
	}
	return p.answerInvitation(c, session, field)
}

func (p *Portal) leave(c *gin.Context, session *authn.Session, slug string, sure bool) error {
	ctx := c.Request.Context()
	roles, err := p.directory.OwnRoles(ctx, slug)
	if err != nil {
		return err
	}
	if !sure {
		return p.writeOwnRoles(c, session, http.StatusUnprocessableEntity, roles, &problem{message{Key: "roles.leave.unsure"}, "confirm"})
	}
	err = p.directory.Leave(ctx, roles.Tenant)
	if fault.As(err).Kind == fault.Denied {
		return p.writeOwnRoles(c, session, http.StatusUnprocessableEntity, roles, &problem{stay(err), ""})
	}
	if err != nil {
		return err
	}
	seeOther(c, tenantsAddress+"?done=left")
	return nil
}

// stay says why somebody can't leave a tenant.
func stay(err error) message {
	switch code := fault.As(err).Code; code {
	case "last_holder", "last_member", "directory_managed":
		return message{Key: "roles.stay." + code}
	}
	return message{Key: "roles.stay.others"}
}

func (p *Portal) showOwnRoles(c *gin.Context, session *authn.Session) error {
	roles, err := p.directory.OwnRoles(c.Request.Context(), c.Param("tenant"))
	if err != nil {
		return err
	}
	return p.writeOwnRoles(c, session, http.StatusOK, roles, nil)
}

func (p *Portal) writeOwnRoles(c *gin.Context, _ *authn.Session, status int, roles *directory.OwnRoles, why *problem) error {
	ctx := c.Request.Context()
	wear(c, roles.Slug)
	standing := p.standingView(ctx, &roles.Standing, roles.SignIn)
	view := rolesPage{
		Slug: roles.Slug, Name: roles.TenantName, Noun: roles.TenantNoun, Status: standing.Status, Usable: roles.SignIn, Default: roles.Default,
		Groups: roles.Groups, Areas: roles.Areas, Problem: why,
		Registered: why == nil && c.Query("done") == "registered",
	}
	member := roles.Home == roles.Tenant
	view.CanDefault = member && roles.SignIn && !roles.Default
	for i := range roles.All {
		view.Roles = append(view.Roles, roleViewOf(&roles.All[i]))
	}
	slices.SortStableFunc(view.Roles, func(a, b roleView) int { return min(len(b.Ways), 1) - min(len(a.Ways), 1) })
	if member {
		err := p.directory.MayLeave(ctx, roles.Tenant)
		switch {
		case err == nil:
			view.CanLeave = true
		case fault.As(err).Kind == fault.Denied:
			reason := stay(err)
			view.Stay = &reason
		case !errors.Is(err, fault.NotFound):
			return err
		}
	}
	return write(c.Writer, c.Request, status, p.pages.roles, view)
}

func roleViewOf(r *directory.OwnRole) roleView {
	view := roleView{Name: r.Label, About: r.About}
	if view.Name == "" {
		view.Name = r.Key
	}
	for _, way := range r.By {
		said := message{Key: "roles.by." + string(way.Source)}
		switch way.Source {
		case directory.AssignedGroup:
			said.Args = []any{way.Group}
		case directory.WayReach:
			said.Args = []any{way.Tenant}
		case directory.AssignedDirect, directory.AssignedFounder, directory.AssignedOperator, directory.AssignedDefault, directory.WayImplicit:
		}
		if way.Resource != "" {
			said = message{Key: "roles.by.resource", Args: []any{way.Resource}}
		}
		view.Ways = append(view.Ways, said)
	}
	return view
}
