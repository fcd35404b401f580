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
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// request is an authenticated request. That its handlers take one, and only
// protect makes one, is why none can be reached without a token.
type request struct {
	client
	c *gin.Context
	// limited is the connection whose rate limit the request counts to; nil: none.
	limited *directory.Connection
}

func (r *request) ctx() context.Context { return r.c.Request.Context() }

// protect lets those through who act as one of the tenant's connections, by a
// token of its or as its application, and those who hold an application token of
// the tenant, with which its creator acts as far as the role system lets him.
// Every change is attributed to it.
func (h *Handler) protect(f func(*request) error) gin.HandlerFunc {
	return h.recorded(func(c *gin.Context) error {
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
// the form of an application token or of an access token is looked for there
// first, so that nobody pays for the other kinds; connections may have any text
// for a token.
func (h *Handler) authenticate(c *gin.Context) (*request, error) {
	if r := rehearsalOf(c.Request.Context()); r != nil {
		return h.asRehearsed(c, r), nil
	}
	token := bearer(c.Request.Header.Values("Authorization"))
	ways := []func(*gin.Context, secret.Text) (*request, error){h.byConnection, h.byApplicationToken}
	switch {
	case bound(c):
		return h.byAccessToken(c, token)
	case authn.LooksLikeApplicationToken(token):
		slices.Reverse(ways)
	case oidc.LooksLikeAccessToken(token):
		ways = []func(*gin.Context, secret.Text) (*request, error){h.byAccessToken, h.byConnection, h.byApplicationToken}
	}
	for _, way := range ways {
		if r, err := way(c, token); !errors.Is(err, fault.Unauthenticated) {
			return r, err
		}
	}
	refused := fault.New(fault.Unauthenticated, "a valid token of a SCIM connection of this tenant, or an application token, is needed in the header Authorization")
	if !token.Empty() {
		refused = refused.WithCode(oidc.InvalidToken)
	}
	return nil, refused
}

func (h *Handler) byConnection(c *gin.Context, token secret.Text) (*request, error) {
	connection, err := h.directory.Connection(c.Request.Context(), c.Param("tenant"), token)
	if err != nil {
		if fault.As(err).Code == directory.CodeTokenExpired {
			recordOf(c.Request.Context()).expired = true
		}
		return nil, err
	}
	if err := h.directory.SeeConnection(c.Request.Context(), connection); err != nil { // the request does not fail with it
		h.log.WarnContext(c.Request.Context(), "the use of a connection's token was not recorded", "connection", connection.ID, "error", err)
	}
	return h.asConnection(c, connection)
}

// byAccessToken lets the machine through that a connection names, with an access
// token that it got by its client credentials (RFC 6749 §4.4).
func (h *Handler) byAccessToken(c *gin.Context, token secret.Text) (*request, error) {
	application, err := h.oidc.Provisioner(c.Request.Context(), presented(c, token))
	if err != nil {
		return nil, h.askNonce(c, err)
	}
	connection, err := h.directory.ConnectionOfApplication(c.Request.Context(), c.Param("tenant"), application.ClientID)
	if err != nil {
		return nil, err
	}
	if connection.Tenant != application.Owner { // it belongs to another tenant by now
		return nil, fault.New(fault.Unauthenticated, "the application is none of this tenant")
	}
	return h.asConnection(c, connection)
}

// asConnection lets a request of a connection through unless it is paused, or
// sends too many of them.
func (h *Handler) asConnection(c *gin.Context, connection *directory.Connection) (*request, error) {
	recordOf(c.Request.Context()).byConnection(connection)
	if err := paused(connection); err != nil {
		return nil, err
	}
	if err := h.limits.admit(connection); err != nil {
		return nil, err
	}
	r := h.ofConnection(c, connection)
	r.limited = connection
	return r, nil
}

// ofConnection is a request as the connection's.
func (h *Handler) ofConnection(c *gin.Context, connection *directory.Connection) *request {
	p := authz.Principal{Kind: authz.ConnectionPrincipal, Channel: authz.ChannelAPI, Tenant: connection.Tenant, Connection: connection.ID}
	r := h.request(c, p, audit.Actor{Kind: audit.ActorConnection, ID: string(connection.ID)}, connection.Profile, connection.Slug)
	r.profile.mappings = connection.Mappings
	return r
}

// paused fails with fault.Denied where an administrator has paused the connection.
func paused(connection *directory.Connection) error {
	if connection.Paused.IsZero() {
		return nil
	}
	detail := "the connection " + connection.Name + " is paused by an administrator"
	if connection.PauseReason != "" {
		detail += ": " + connection.PauseReason
	}
	return fault.New(fault.Denied, "%s", detail).WithCode("paused")
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
	t, err := h.ownTenant(c, found.Tenant)
	if errors.Is(err, fault.NotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if !t.Policy.Admits(from) {
		return nil, refused
	}
	actor := audit.Actor{Kind: audit.ActorToken, ID: string(found.ID)}
	recordOf(c.Request.Context()).by(found.Tenant, "", actor)
	return h.request(c, found.Principal(), actor, directory.ProfileRFC, t.Slug), nil
}

// ownTenant returns the caller's tenant if the address names it, and fails with
// fault.NotFound if it names another. It looks for the caller's, not for the one
// of the address: the time of the answer must not tell whether that exists.
func (h *Handler) ownTenant(c *gin.Context, own id.Tenant) (*directory.Tenant, error) {
	t, err := h.directory.Tenant(c.Request.Context(), string(own))
	if err != nil {
		return nil, err
	}
	if name := c.Param("tenant"); name != t.Slug && name != string(t.ID) {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return t, nil
}

// request puts the caller into the context of the request.
func (h *Handler) request(c *gin.Context, p authz.Principal, actor audit.Actor, dialect directory.ConnectionProfile, slug string) *request {
	c.Request = c.Request.WithContext(audit.WithActor(authz.NewContext(c.Request.Context(), p), actor))
	return &request{client{tenant: p.Tenant, profile: profileOf(dialect), base: h.base(slug)}, c, nil}
}

// bound reports whether the token of the header comes under the scheme DPoP
// (RFC 9449 §7.1): it is an access token, and nothing else.
func bound(c *gin.Context) bool {
	scheme, _, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	return strings.EqualFold(scheme, oidc.TokenTypeDPoP)
}

// presented is the token as the request presents it.
func presented(c *gin.Context, token secret.Text) oidc.Presented {
	return oidc.Presented{Token: token, Bound: bound(c), Possession: oidc.Possession{
		Proofs: c.Request.Header.Values("DPoP"), Method: c.Request.Method, Path: c.Request.URL.EscapedPath(),
	}}
}

// askNonce hands out the nonce where it is that which a proof lacks (RFC 9449 §9).
func (h *Handler) askNonce(c *gin.Context, err error) error {
	if fault.As(err).Code == oidc.UseDPoPNonce {
		c.Header("DPoP-Nonce", h.oidc.DPoPNonce())
	}
	return err
}

// bearer returns the token of the header (RFC 6750 §2.1, RFC 9449 §7.1). Okta's
// "HTTP header" mode sends the token alone, without a scheme.
func bearer(headers []string) secret.Text {
	if len(headers) != 1 {
		return secret.Text{}
	}
	scheme, token, found := strings.Cut(strings.TrimSpace(headers[0]), " ")
	if !found {
		return secret.NewText(scheme)
	}
	if !strings.EqualFold(scheme, oidc.TokenTypeBearer) && !strings.EqualFold(scheme, oidc.TokenTypeDPoP) {
		return secret.Text{}
	}
	return secret.NewText(strings.TrimLeft(token, " "))
}
