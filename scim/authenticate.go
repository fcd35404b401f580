package scim

import (
	"context"
	"errors"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// request is an authenticated request. That its handlers take one, and only
// protect makes one, is why none can be reached without a token.
type request struct {
	c       *gin.Context
	tenant  id.Tenant
	profile profile
	base    string // the address of the tenant's endpoints, without a slash at its end
}

func (r *request) ctx() context.Context { return r.c.Request.Context() }

// protect lets those through who hold a token of one of the tenant's
// connections. Every change is attributed to the connection.
func (h *Handler) protect(f func(*request) error) gin.HandlerFunc {
	return h.handle(func(c *gin.Context) error {
		connection, err := h.authenticate(c)
		if err != nil {
			return err
		}
		ctx := audit.WithActor(c.Request.Context(), audit.Actor{Kind: audit.ActorConnection, ID: string(connection.ID)})
		ctx = authz.NewContext(ctx, authz.Principal{
			Kind: authz.ConnectionPrincipal, Channel: authz.ChannelAPI, Tenant: connection.Tenant, Connection: connection.ID,
		})
		c.Request = c.Request.WithContext(ctx)
		return f(&request{c: c, tenant: connection.Tenant, profile: profileOf(connection.Profile), base: h.base(connection.Slug)})
	})
}

// authenticate fails in the same way for a tenant that doesn't exist and for a
// token that isn't one of its: nobody learns which tenants there are.
func (h *Handler) authenticate(c *gin.Context) (*directory.Connection, error) {
	connection, err := h.directory.Connection(c.Request.Context(), c.Param("tenant"), bearer(c.Request.Header.Values("Authorization")))
	if errors.Is(err, fault.Unauthenticated) {
		return nil, fault.New(fault.Unauthenticated, "a valid token of a SCIM connection of this tenant is needed in the header Authorization")
	}
	return connection, err
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
