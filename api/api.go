// Package api is the edge for programs: the administration of tenants below
// /api/v1, described by OpenAPI 3.1, and the decisions of AuthZEN (OpenID
// Authorization API 1.0) below /access/v1. It knows who calls by an application
// token, an access token or client credentials, puts that principal into the
// context for the domain to judge, and maps faults to problem details (RFC 9457).
package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/outbound"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/upstream"
)

// maxBody is the size of the largest request, in bytes.
const maxBody = 256 << 10

// Deps is what New needs. All fields are required.
type Deps struct {
	Directory  *directory.Directory
	Blueprints *directory.Blueprints
	Authn      *authn.Authn
	OIDC       *oidc.OIDC
	Events     *events.Events
	Outbound   *outbound.Outbound
	Upstream   *upstream.Upstream
	Now        func() time.Time
	Logger     *slog.Logger

	Provisioning *provisioning.Log
	Replayer     Replayer
}

// Handler is the edge.
type Handler struct{ Deps }

// New returns a Handler.
func New(d Deps) *Handler { return &Handler{d} }

// Mount registers the endpoints.
func (h *Handler) Mount(r gin.IRouter) {
	r.POST("/access/v1/evaluation", h.protect(h.evaluation))
	r.POST("/access/v1/evaluations", h.protect(h.evaluations))
	h.mountOperations(r)
}

// caller is who asks for a decision.
type caller struct {
	everywhere bool // an operator's token, or an application of the instance
	bearer     directory.Bearer
}

// protect lets those through who prove themselves.
func (h *Handler) protect(answer func(c *gin.Context, who caller) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		h.authenticate(c)
		if c.IsAborted() {
			return
		}
		if err := answer(c, callerOf(authz.FromContext(c.Request.Context()))); err != nil {
			h.fail(c, err)
		}
	}
}

// callerOf is what of a principal counts in a question: an application of the
// instance serves all tenants.
func callerOf(p authz.Principal) caller {
	switch p.Kind {
	case authz.OperatorPrincipal:
		return caller{everywhere: true}
	case authz.AppPrincipal:
		return caller{everywhere: p.Tenant == "", bearer: directory.Bearer{Tenant: p.Tenant, Roles: p.Roles}}
	case authz.Anonymous, authz.UserPrincipal, authz.TokenPrincipal, authz.ConnectionPrincipal:
	}
	return caller{bearer: directory.Bearer{User: p.User, Tenant: p.Tenant}}
}

// read decodes the body. Unknown members are allowed, as AuthZEN asks.
func read(c *gin.Context, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err != nil {
		return fault.New(fault.TooLarge, "the body must not be larger than %d bytes", maxBody)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &fault.Error{Kind: fault.Invalid, Detail: "the body is not the JSON that is expected", Err: err}
	}
	return nil
}

// channelOf reads the channel of a question; applications act for people in a
// portal unless they say otherwise.
func channelOf(name string) (authz.Channel, error) {
	switch name {
	case "", "portal":
		return authz.ChannelPortal, nil
	case "api":
		return authz.ChannelAPI, nil
	}
	return 0, fault.Field(fault.Invalid, "context.channel", "%q is not one of portal, api", name)
}
