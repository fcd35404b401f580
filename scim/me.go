package scim

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// mountMe registers the alias of the caller's own resource (RFC 7644 §3.11).
func (h *Handler) mountMe(r gin.IRouter) {
	own := h.recorded(h.me)
	h.mount(r, "/v2/Me", methods{
		http.MethodGet: own, http.MethodPut: own, http.MethodPatch: own, http.MethodDelete: own,
		http.MethodPost: h.recorded(func(c *gin.Context) error {
			if _, err := h.person(c); err != nil {
				return err
			}
			return fault.New(fault.Unsupported, "POST to /Me: nobody registers themselves here; they are added or invited")
		}),
	})
}

// me serves the caller's own membership in the tenant. What a person may change
// is what the role system lets them change of themselves.
func (h *Handler) me(c *gin.Context) error {
	r, err := h.person(c)
	if err != nil {
		return err
	}
	p := authz.FromContext(r.ctx())
	if p.User == "" {
		return fault.New(fault.NotFound, "there is no /Me for a %s: it is no person", p.Kind)
	}
	m, err := h.directory.MembershipOf(r.ctx(), r.tenant, p.User)
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no /Me: the person is no member of this tenant")
	}
	if err != nil {
		return err
	}
	users, err := h.kindAt(r.ctx(), r.tenant, h.users.t.Endpoint)
	if err != nil {
		return err
	}
	op, err := r.operation(users, string(m.ID))
	if err != nil {
		return err
	}
	out, err := h.do(r.ctx(), op)
	if err != nil {
		return err
	}
	if op.method != http.MethodDelete {
		c.Header("Location", op.location(op.id))
	}
	return h.send(c, out)
}

// person authenticates a person's access token, beside the tokens that the other
// endpoints take.
func (h *Handler) person(c *gin.Context) (*request, error) {
	token := bearer(c.Request.Header.Values("Authorization"))
	if bound(c) || oidc.LooksLikeAccessToken(token) {
		return h.byPerson(c, token)
	}
	return h.authenticate(c)
}

func (h *Handler) byPerson(c *gin.Context, token secret.Text) (*request, error) {
	ctx := c.Request.Context()
	p, err := h.oidc.Principal(ctx, presented(c, token))
	if err != nil {
		return nil, h.askNonce(c, err)
	}
	t, err := h.ownTenant(c, p.Tenant)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Unauthenticated, "the access token is not for this tenant")
	}
	if err != nil {
		return nil, err
	}
	actor := audit.Actor{Kind: audit.ActorUser, ID: string(p.User)}
	if p.Kind == authz.AppPrincipal {
		actor = audit.Actor{Kind: audit.ActorApplication, ID: p.Application}
	}
	recordOf(ctx).by(p.Tenant, "", actor)
	return h.request(c, p, actor, directory.ProfileRFC, t.Slug), nil
}
