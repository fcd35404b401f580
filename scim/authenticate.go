package scim

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// request is an authenticated request. That its handlers take one, and only
// protect makes one, is why none can be reached without a token.
type request struct {
	client
	c *gin.Context
}

func (r *request) ctx() context.Context { return r.c.Request.Context() }

// protect lets those through who hold a token of one of the tenant's
// connections, or an application token of the tenant, with which its creator
// acts as far as the role system lets him. Every change is attributed to it.
func (h *Handler) protect(f func(*request) error) gin.HandlerFunc {
	return h.handle(func(c *gin.Context) error {
		r, err := h.authenticate(c)
		if err != nil {
			return err
		}
		if authz.FromContext(r.ctx()).Kind == authz.TokenPrincipal {
			// Whatever is answered shows members: a change its result, a list all.
			if err := h.directory.MayList(r.ctx(), r.tenant); err != nil {
				return err
			}
		}
		return f(r)
	})
}

// authenticate fails in the same way for a tenant that doesn't exist and for a
// token that isn't one of its: nobody learns which tenants there are. What has
// the form of an application token is looked for there first, so that nobody
// pays for the other kind.
func (h *Handler) authenticate(c *gin.Context) (*request, error) {
	token := bearer(c.Request.Header.Values("Authorization"))
	ways := []func(*gin.Context, secret.Text) (*request, error){h.byConnection, h.byApplicationToken}
	if authn.LooksLikeApplicationToken(token) {
		slices.Reverse(ways)
	}
	for _, way := range ways {
		if r, err := way(c, token); !errors.Is(err, fault.Unauthenticated) {
			return r, err
		}
	}
	return nil, fault.New(fault.Unauthenticated, "a valid token of a SCIM connection of this tenant, or an application token, is needed in the header Authorization")
}

func (h *Handler) byConnection(c *gin.Context, token secret.Text) (*request, error) {
	connection, err := h.directory.Connection(c.Request.Context(), c.Param("tenant"), token)
	if err != nil {
		return nil, err
	}
	return h.request(c, authz.Principal{
		Kind: authz.ConnectionPrincipal, Channel: authz.ChannelAPI, Tenant: connection.Tenant, Connection: connection.ID,
	}, audit.Actor{Kind: audit.ActorConnection, ID: string(connection.ID)}, connection.Profile, connection.Slug), nil
}

func (h *Handler) byApplicationToken(c *gin.Context, token secret.Text) (*request, error) {
	refused := fault.New(fault.Unauthenticated, "this is no application token of the tenant")
	if token.Empty() {
		return nil, refused
	}
	from, _ := netip.ParseAddr(c.ClientIP()) // the zero address is in no network
	found, err := h.authn.ApplicationToken(c.Request.Context(), token, from)
	if err != nil {
		return nil, err
	}
	t, err := h.directory.Tenant(c.Request.Context(), c.Param("tenant"))
	switch {
	case errors.Is(err, fault.NotFound), err == nil && t.ID != found.Tenant:
		return nil, refused
	case err != nil:
		return nil, err
	}
	return h.request(c, found.Principal(), audit.Actor{Kind: audit.ActorToken, ID: string(found.ID)}, directory.ProfileRFC, t.Slug), nil
}

// request puts the caller into the context of the request.
func (h *Handler) request(c *gin.Context, p authz.Principal, actor audit.Actor, dialect directory.ConnectionProfile, slug string) *request {
	c.Request = c.Request.WithContext(audit.WithActor(authz.NewContext(c.Request.Context(), p), actor))
	return &request{client{tenant: p.Tenant, profile: profileOf(dialect), base: h.base(slug)}, c}
}

// bearer returns the token of the header (RFC 6750 §2.1). Okta's "HTTP header"
// mode sends the token alone, without a scheme.
func bearer(headers []string) secret.Text {
	if len(headers) != 1 {
		return secret.Text{}
	}
	scheme, token, found := strings.Cut(strings.TrimSpace(headers[0]), " ")
	if !found {
		return secret.NewText(scheme)
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return secret.Text{}
	}
	return secret.NewText(strings.TrimLeft(token, " "))
}
