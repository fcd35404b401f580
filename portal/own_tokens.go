package portal

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// tokensAddress is where a person sees their application tokens. A new one is
// made at tokensAddress/TENANT/new, and one that there is has a page at
// tokensAddress/TENANT/ID.
const tokensAddress = "/me/tokens"

// maxOwnTokens is how many tokens of one tenant are listed.
const maxOwnTokens = 100

// tokenDays are the lifetimes that can be chosen, in days; 0: never ends.
func tokenDays() []int { return []int{30, 90, 180, 365, 0} }

const defaultTokenDays = 90

// tokensPage lists a person's application tokens in all tenants.
type tokensPage struct {
	Tokens []tokenView
	Making []tenantLink // tenants in which they can make one
	Done   string       // key; may be empty
}

type tenantLink struct{ Slug, Name string }

// tokenView is one application token.
type tokenView struct {
	ID          id.ApplicationToken `json:"id"`
	Slug        string              `json:"tenant"`
	Tenant      string              `json:"tenant_name"`
	Name        string              `json:"name"`
	Description string              `json:"description,omitempty"`
	Expired     bool                `json:"expired"`
	Created     time.Time           `json:"created_at"`
	Expires     time.Time           `json:"expires_at,omitzero"`            // zero: never
	LastUsed    time.Time           `json:"last_used_at,omitzero"`          // zero: never
	Previous    time.Time           `json:"previous_secret_until,omitzero"` // zero: there is none
	Permissions []string            `json:"permissions,omitempty"`          // none: all that the person has
	Networks    []string            `json:"networks,omitempty"`             // none: anywhere
}

// tokenPage is a token that there is, with what can be done about it.
type tokenPage struct {
	Token    tokenView
	Form     tokenForm
	Overlaps []int // hours for which the secret before may work on
	Done     string
	Problem  *problem
}

// newTokenPage asks what a token is to be like.
type newTokenPage struct {
	Slug, Tenant string
	Form         tokenForm
	Permissions  []permissionView // that the person has
	Problem      *problem
}

// permissionView is a permission that a token can be limited to.
type permissionView struct {
	Key    string
	Chosen bool
}

// tokenForm is what was typed.
type tokenForm struct {
	Name, Description, Networks string
	Days                        []dayView
	MustEnd, MustLimit          bool // the role system asks for an end, or for networks
}

type dayView struct {
	Days   int
	Chosen bool
}

// madeTokenPage shows a secret, once.
type madeTokenPage struct {
	Token   tokenView
	Secret  string
	Rotated bool
}

// tokenTenants returns the tenants that the person can use.
func (p *Portal) tokenTenants(ctx context.Context, session *authn.Session) ([]directory.Standing, error) {
	standings, err := p.directory.Standings(ctx, session.User)
	return slices.DeleteFunc(standings, func(s directory.Standing) bool { return !s.SignIn }), err
}

func (p *Portal) showTokens(c *gin.Context, session *authn.Session) error {
	view := tokensPage{Done: map[string]string{"revoked": "tokens.done.revoked"}[c.Query("done")]}
	var err error
	if view.Tokens, view.Making, err = p.ownTokens(c.Request.Context(), session); err != nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.tokens, view)
}

// ownTokens returns the person's tokens that are not revoked, and the tenants in
// which they can make one.
func (p *Portal) ownTokens(ctx context.Context, session *authn.Session) (all []tokenView, making []tenantLink, err error) {
	standings, err := p.tokenTenants(ctx, session)
	if err != nil {
		return nil, nil, err
	}
	for i := range standings {
		s := &standings[i]
		at := asPerson(ctx, session, s.Tenant)
		tokens, err := p.authn.ApplicationTokens(at, s.Tenant, session.User, "", maxOwnTokens)
		if err != nil && fault.As(err).Kind != fault.Denied { // roles that don't let them see their tokens
			return nil, nil, err
		}
		for i := range tokens {
			if tokens[i].Revoked.IsZero() {
				all = append(all, p.tokenView(speechOf(ctx), &tokens[i], s.Slug, s.TenantName))
			}
		}
		_, err = p.authn.MayCreateApplicationToken(at, s.Tenant)
		switch {
		case err == nil:
			making = append(making, tenantLink{s.Slug, s.TenantName})
		case fault.As(err).Kind != fault.Denied:
			return nil, nil, err
		}
	}
	return all, making, nil
}

func (p *Portal) tokenView(s *speech, t *authn.ApplicationToken, slug, tenant string) tokenView {
	now := p.now()
	view := tokenView{
		ID: t.ID, Slug: slug, Tenant: tenant, Name: t.Name, Description: t.Description, Created: t.Created, Expires: s.at(t.Expires),
		LastUsed: s.at(t.LastUsed), Permissions: t.Permissions, Expired: !t.Expires.IsZero() && !now.Before(t.Expires),
	}
	if now.Before(t.PreviousUntil) {
		view.Previous = s.at(t.PreviousUntil)
	}
	for _, network := range t.Networks {
		view.Networks = append(view.Networks, network.String())
	}
	return view
}

// tokenPlace returns the context of the person in the tenant that the address
// names, and that tenant. It fails with fault.NotFound unless they can use it.
func (p *Portal) tokenPlace(c *gin.Context, session *authn.Session) (context.Context, *directory.Standing, error) {
	ctx := c.Request.Context()
	t, err := p.directory.Tenant(ctx, c.Param("tenant"))
	if err != nil {
		return nil, nil, err
	}
	standing, err := p.directory.Standing(ctx, t.ID, session.User)
	if err != nil {
		return nil, nil, err
	}
	if !standing.SignIn {
		return nil, nil, fault.New(fault.NotFound, "the person can't use this tenant")
	}
	return asPerson(ctx, session, t.ID), standing, nil
}

// newToken describes the form by which a token is made in the tenant that the
// address names, if the person may, with what is chosen in it.
func (p *Portal) newToken(c *gin.Context, session *authn.Session, days int, permissions []string) (context.Context, *directory.Standing, newTokenPage, error) {
	ctx, standing, err := p.tokenPlace(c, session)
	if err != nil {
		return nil, nil, newTokenPage{}, err
	}
	policy, err := p.authn.MayCreateApplicationToken(ctx, standing.Tenant)
	return ctx, standing, newTokenPage{
		Slug: standing.Slug, Tenant: standing.TenantName, Form: tokenFormOf(policy, days), Permissions: permissionViews(standing.Permissions, permissions),
	}, err
}

func (p *Portal) showNewToken(c *gin.Context, session *authn.Session) error {
	_, _, view, err := p.newToken(c, session, defaultTokenDays, nil)
	if err != nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.newToken, view)
}

func tokenFormOf(policy authz.AppTokenPolicy, chosen int) tokenForm {
	form := tokenForm{MustEnd: policy.Expiry == "required", MustLimit: policy.CIDR == "required"}
	for _, days := range tokenDays() {
		if days != 0 || !form.MustEnd {
			form.Days = append(form.Days, dayView{days, days == chosen})
		}
	}
	return form
}

func permissionViews(all, chosen []string) []permissionView {
	views := make([]permissionView, len(all))
	for i, key := range all {
		views[i] = permissionView{key, slices.Contains(chosen, key)}
	}
	return views
}

// makeToken makes a token as the form says, and shows its secret.
func (p *Portal) makeToken(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	days, _ := strconv.Atoi(field("days"))
	chosen := c.Request.PostForm["permission"]
	ctx, standing, view, err := p.newToken(c, session, days, chosen)
	if err != nil {
		return err
	}
	view.Form.Name, view.Form.Description, view.Form.Networks = field("name"), field("description"), field("networks")
	again := func(why *problem) error {
		view.Problem = why
		return write(c.Writer, c.Request, http.StatusUnprocessableEntity, p.pages.newToken, view)
	}
	t := authn.ApplicationToken{Tenant: standing.Tenant, Name: view.Form.Name, Description: view.Form.Description}
	var why *problem
	if t.Networks, why = parseNetworks(view.Form.Networks); why != nil {
		return again(why)
	}
	switch {
	case !slices.Contains(tokenDays(), days):
		return again(&problem{message{Key: "tokens.problem.expires_at"}, "days"})
	case days > 0:
		t.Expires = p.now().AddDate(0, 0, days)
	}
	for _, key := range chosen {
		if !slices.Contains(standing.Permissions, key) {
			return again(&problem{message{Key: "tokens.problem.permissions"}, ""})
		}
		t.Permissions = append(t.Permissions, key)
	}
	made, text, err := p.authn.CreateApplicationToken(ctx, t)
	if err != nil {
		if why := tokenProblem(err); why != nil {
			return again(why)
		}
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.madeToken, madeTokenPage{Token: p.tokenView(speechOf(c.Request.Context()), made, standing.Slug, standing.TenantName), Secret: text.Reveal()})
}

// parseNetworks reads one network a line, or as they are separated otherwise.
func parseNetworks(text string) ([]netip.Prefix, *problem) {
	networks := []netip.Prefix{}
	for _, one := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;\t\r\n", r) }) {
		network, err := authn.ParseNetwork(one)
		if err != nil {
			return nil, &problem{message{Key: "tokens.problem.cidrs", Args: []any{one}}, "networks"}
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// tokenProblem says which field of a token was refused, or nil where none was.
func tokenProblem(err error) *problem {
	f := fault.As(err)
	if f.Kind == fault.Conflict && f.Field == "name" {
		return &problem{message{Key: "tokens.problem.taken"}, "name"}
	}
	if f.Kind != fault.Invalid {
		return nil
	}
	switch f.Field {
	case "name", "description":
		return &problem{message{Key: "tokens.problem." + f.Field}, f.Field}
	case "expires_at":
		return &problem{message{Key: "tokens.problem.expires_at"}, "days"}
	case "cidrs":
		return &problem{message{Key: "tokens.problem.networks"}, "networks"}
	case "permissions":
		return &problem{message{Key: "tokens.problem.permissions"}, ""}
	}
	return nil
}

// ownToken returns the token that the address names if it is the person's own
// and not revoked; else it fails with fault.NotFound.
func (p *Portal) ownToken(c *gin.Context, session *authn.Session) (context.Context, *directory.Standing, *authn.ApplicationToken, error) {
	ctx, standing, err := p.tokenPlace(c, session)
	if err != nil {
		return nil, nil, nil, err
	}
	none := fault.New(fault.NotFound, "there is no such application token")
	named, err := id.Parse[id.ApplicationToken](c.Param("token"))
	if err != nil {
		return nil, nil, nil, none
	}
	t, err := p.authn.ApplicationTokenOf(ctx, standing.Tenant, named)
	if err != nil {
		return nil, nil, nil, err
	}
	if t.Creator != session.User || !t.Revoked.IsZero() {
		return nil, nil, nil, none
	}
	return ctx, standing, t, nil
}

func (p *Portal) showToken(c *gin.Context, session *authn.Session) error {
	_, standing, t, err := p.ownToken(c, session)
	if err != nil {
		return err
	}
	return p.writeToken(c, http.StatusOK, standing, t, tokenForm{Description: t.Description, Networks: linesOf(t.Networks)}, nil)
}

func linesOf(networks []netip.Prefix) string {
	lines := make([]string, len(networks))
	for i, network := range networks {
		lines[i] = network.String()
	}
	return strings.Join(lines, "\n")
}

func (p *Portal) writeToken(c *gin.Context, status int, standing *directory.Standing, t *authn.ApplicationToken, typed tokenForm, why *problem) error {
	return write(c.Writer, c.Request, status, p.pages.token, tokenPage{
		Token: p.tokenView(speechOf(c.Request.Context()), t, standing.Slug, standing.TenantName), Form: typed, Problem: why,
		Overlaps: []int{0, 1, 24, 168}, Done: map[string]string{"changed": "tokens.done.changed"}[c.Query("done")],
	})
}

// changeToken describes and limits a token anew.
func (p *Portal) changeToken(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx, standing, t, err := p.ownToken(c, session)
	if err != nil {
		return err
	}
	typed := tokenForm{Description: field("description"), Networks: field("networks")}
	networks, why := parseNetworks(typed.Networks)
	if why == nil {
		_, err = p.authn.ChangeApplicationToken(ctx, standing.Tenant, t.ID, authn.ApplicationTokenChange{Description: &typed.Description, Networks: &networks})
		if err == nil {
			seeOther(c, tokenAddress(c)+"?done=changed")
			return nil
		}
		if why = tokenProblem(err); why == nil {
			return err
		}
	}
	return p.writeToken(c, http.StatusUnprocessableEntity, standing, t, typed, why)
}

// tokenAddress is the page of the token that a request is about.
func tokenAddress(c *gin.Context) string {
	return tokensAddress + "/" + c.Param("tenant") + "/" + c.Param("token")
}

// newTokenAddress is the page on which a token is made in the tenant of the
// request.
func newTokenAddress(c *gin.Context) string { return tokensAddress + "/" + c.Param("tenant") + "/new" }

func (p *Portal) rotateToken(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx, standing, t, err := p.ownToken(c, session)
	if err != nil {
		return err
	}
	hours, err := strconv.Atoi(field("overlap"))
	if err != nil {
		hours = int(authn.DefaultTokenOverlap / time.Hour)
	}
	rotated, text, err := p.authn.RotateApplicationToken(ctx, standing.Tenant, t.ID, time.Duration(hours)*time.Hour)
	if err != nil {
		return err
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.madeToken, madeTokenPage{
		Token: p.tokenView(speechOf(c.Request.Context()), rotated, standing.Slug, standing.TenantName), Secret: text.Reveal(), Rotated: true,
	})
}

func (p *Portal) revokeToken(c *gin.Context, session *authn.Session) error {
	ctx, standing, t, err := p.ownToken(c, session)
	if err != nil {
		return err
	}
	if err := p.authn.RevokeApplicationToken(ctx, standing.Tenant, t.ID); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	seeOther(c, tokensAddress+"?done=revoked")
	return nil
}
