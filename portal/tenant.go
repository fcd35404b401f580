package portal

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
)

// tenantPage lets the person choose where to sign in to, and answer invitations.
type tenantPage struct {
	Application string
	Person      string
	Tenants     []standingView // that may be chosen
	Invitations []standingView // that wait for the person
	Waiting     []standingView // registrations that wait for an administrator
	Fixed       bool           // the application named a tenant
	Request     string         // the id of the request
	Search      string         // what the person looks for
	More        bool           // there are more than are shown
	Restart     string         // where to begin as somebody else
	Problem     *problem
}

// maxSearch is how many characters of a search are looked at: a name has no more.
const maxSearch = 200

// standingView is what a person is in one tenant, in words.
type standingView struct {
	Slug    string
	Name    string
	Roles   []string // labels; of a tenant that is only reached, those that reach it
	Status  string   // label
	Usable  bool     // gives anything right now
	Default bool
}

// standingView puts a standing into words. Where the role system does not know a
// role or a status any more, its key has to do.
func (p *Portal) standingView(ctx context.Context, s *directory.Standing, usable bool) standingView {
	view := standingView{Slug: s.Slug, Name: s.TenantName, Status: string(s.Status), Usable: usable, Default: s.Default}
	blueprint, err := p.blueprints.Version(ctx, s.Blueprint, s.BlueprintVersion)
	if err != nil {
		p.logger.WarnContext(ctx, "a role system can't be read: its keys are shown", "blueprint", s.Blueprint, "version", s.BlueprintVersion, "error", err)
		view.Roles = s.RolesAt
		return view
	}
	if status, err := blueprint.Status(string(s.Status)); err == nil {
		view.Status = status.Label
	}
	for _, key := range s.RolesAt {
		role, err := blueprint.Role(key)
		switch {
		case err != nil || role.Label == "":
			view.Roles = append(view.Roles, key)
		case !role.Hidden:
			view.Roles = append(view.Roles, role.Label)
		}
	}
	return view
}

// chooser is what both methods of the chooser need: a request and who is signed
// in. ok is false where the person was led elsewhere.
func (p *Portal) chooser(c *gin.Context) (r *oidc.AuthorizationRequest, session *authn.Session, ok bool, err error) {
	if r, err = p.request(c); err != nil {
		return nil, nil, false, err
	}
	if session, err = p.session(c); err != nil {
		return nil, nil, false, err
	}
	switch {
	case r == nil:
		seeOther(c, afterLogin)
	case session == nil:
		seeOther(c, continueAt(r.ID))
	default:
		c.Request = c.Request.WithContext(session.As(c.Request.Context()))
		return r, session, true, nil
	}
	return nil, nil, false, nil
}

func (p *Portal) showTenants(c *gin.Context) error {
	r, session, ok, err := p.chooser(c)
	if err != nil || !ok {
		return err
	}
	return p.writeTenants(c, http.StatusOK, r, session, nil)
}

func (p *Portal) writeTenants(c *gin.Context, status int, r *oidc.AuthorizationRequest, session *authn.Session, why *problem) error {
	ctx := c.Request.Context()
	search := strings.TrimSpace(c.Query("search"))
	if utf8.RuneCountInString(search) > maxSearch {
		search = ""
	}
	choices, more, err := p.oidc.Choices(ctx, r, session, search)
	if err != nil {
		return err
	}
	application, err := p.oidc.Application(ctx, r.ClientID)
	if err != nil {
		return err
	}
	view := tenantPage{Application: application.Name, Person: whose(c).Email, Fixed: r.TenantName != "", Restart: continueAt(r.ID), Problem: why}
	view.Request, view.Search, view.More = string(r.ID), search, more
	for i := range choices {
		if choices[i].Status == directory.StatusInvited {
			view.Invitations = append(view.Invitations, p.standingView(ctx, &choices[i], false))
		} else {
			view.Tenants = append(view.Tenants, p.standingView(ctx, &choices[i], true))
		}
	}
	if len(view.Tenants) == 0 && search == "" {
		standings, err := p.directory.Standings(ctx, session.User)
		if err != nil {
			return err
		}
		for i := range standings {
			if standings[i].Waits() {
				view.Waiting = append(view.Waiting, p.standingView(ctx, &standings[i], false))
			}
		}
	}
	return write(c.Writer, c.Request, status, p.pages.tenant, view)
}

// chooseTenant takes one of three answers: the tenant to sign in to, an
// invitation to accept and sign in to, or one to decline.
func (p *Portal) chooseTenant(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	r, session, ok, err := p.chooser(c)
	if err != nil || !ok {
		return err
	}
	ctx := c.Request.Context()
	answer, name := "", ""
	for _, answer = range []string{"tenant", "accept", "decline"} {
		if name = field(answer); name != "" {
			break
		}
	}
	chosen, err := p.oidc.Choice(ctx, r, session, name)
	if err != nil {
		return err
	}
	if chosen == nil || (chosen.Status == directory.StatusInvited) != (answer != "tenant") {
		return p.writeTenants(c, http.StatusUnprocessableEntity, r, session, &problem{message{Key: "tenant.problem"}, ""})
	}
	switch answer {
	case "accept":
		if err := p.directory.Accept(ctx, chosen.Tenant, session.User); err != nil {
			return err
		}
	case "decline":
		if err := p.directory.Decline(ctx, chosen.Tenant, session.User); err != nil {
			return err
		}
		seeOther(c, "/login/tenant?request="+string(r.ID))
		return nil
	}
	browser := p.cookies.Get(c.Request, cookie.Browser)
	if err := p.oidc.ChooseTenant(ctx, r.ID, browser, session, chosen.Tenant); err != nil {
		return err
	}
	seeOther(c, continueAt(r.ID))
	return nil
}

// find returns the standing in the tenant of that slug or id, if it waits for
// the person as wanted.
func find(standings []directory.Standing, tenant string, waiting bool) *directory.Standing {
	for i := range standings {
		s := &standings[i]
		if tenant != "" && (s.Slug == tenant || string(s.Tenant) == tenant) && (s.Status == directory.StatusInvited) == waiting {
			return s
		}
	}
	return nil
}

// answerInvitation accepts or declines on the person's own page.
func (p *Portal) answerInvitation(c *gin.Context, session *authn.Session, field func(string) string) error {
	ctx := c.Request.Context()
	standings, err := p.directory.Standings(ctx, session.User)
	if err != nil {
		return err
	}
	accepted, declined := find(standings, field("accept"), true), find(standings, field("decline"), true)
	switch {
	case accepted != nil:
		err = p.directory.Accept(ctx, accepted.Tenant, session.User)
	case declined != nil:
		err = p.directory.Decline(ctx, declined.Tenant, session.User)
	default:
		err = fault.New(fault.NotFound, "no such invitation").WithCode("invitation_gone")
	}
	if err != nil {
		return err
	}
	seeOther(c, tenantsAddress)
	return nil
}
