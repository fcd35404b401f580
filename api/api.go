// Package api is the edge for programs. It answers the decisions of AuthZEN
// (OpenID Authorization API 1.0) from the live state of the directory, and maps
// faults to problem details (RFC 9457).
package api

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// maxBody is the size of the largest request, in bytes.
const maxBody = 256 << 10

// Deps is what New needs. All fields are required.
type Deps struct {
	Directory *directory.Directory
	Authn     *authn.Authn
	OIDC      *oidc.OIDC
	Logger    *slog.Logger
}

// Handler is the edge.
type Handler struct{ Deps }

// New returns a Handler.
func New(d Deps) *Handler { return &Handler{d} }

// Mount registers the endpoints.
func (h *Handler) Mount(r gin.IRouter) {
	r.POST("/access/v1/evaluation", h.protect(h.evaluation))
	r.POST("/access/v1/evaluations", h.protect(h.evaluations))
}

// caller is who asks.
type caller struct {
	everywhere bool // an operator's token, or an application of the instance
	bearer     directory.Bearer
}

// protect lets those through who prove themselves by an application token, an
// access token of client credentials, or client credentials as HTTP Basic.
func (h *Handler) protect(answer func(c *gin.Context, who caller) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		who, err := h.authenticate(c)
		if err == nil {
			err = answer(c, who)
		}
		if err != nil {
			h.fail(c, err)
		}
	}
}

func (h *Handler) authenticate(c *gin.Context) (caller, error) {
	refused := fault.New(fault.Unauthenticated, "an application token or client credentials are needed in the header Authorization")
	ctx := c.Request.Context()
	if user, password, basic := c.Request.BasicAuth(); basic {
		// Both are form-encoded within the header (RFC 6749 §2.3.1).
		clientID, badID := url.QueryUnescape(user)
		clientSecret, badSecret := url.QueryUnescape(password)
		if badID != nil || badSecret != nil {
			return caller{}, refused
		}
		a, err := h.OIDC.Authenticate(ctx, clientID, secret.NewText(clientSecret))
		if err != nil && fault.As(err).Kind == fault.Internal {
			return caller{}, err
		}
		if err != nil || !a.Type.Confidential() {
			return caller{}, refused
		}
		return callerOf(a), nil
	}
	scheme, text, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	if text = strings.TrimSpace(text); !strings.EqualFold(scheme, "Bearer") || text == "" {
		return caller{}, refused
	}
	token := secret.NewText(text)
	t, err := h.Authn.ApplicationToken(ctx, token)
	switch {
	case err == nil:
		return caller{everywhere: t.Tenant == "", bearer: directory.Bearer{User: t.Creator, Tenant: t.Tenant}}, nil
	case !errors.Is(err, fault.Unauthenticated):
		return caller{}, err
	}
	a, err := h.OIDC.MachineOf(ctx, token)
	if err != nil && fault.As(err).Kind == fault.Internal {
		return caller{}, err
	}
	if err != nil {
		return caller{}, refused
	}
	return callerOf(a), nil
}

// callerOf is an application: one of the instance serves all tenants.
func callerOf(a *oidc.Application) caller {
	return caller{everywhere: a.Owner == "", bearer: directory.Bearer{Tenant: a.Owner, Roles: a.Roles}}
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

// problem is RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"`
	Code   string `json:"code,omitempty"`
}

func (h *Handler) fail(c *gin.Context, err error) {
	f := fault.As(err)
	status := map[fault.Kind]int{
		fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Invalid: http.StatusBadRequest,
		fault.Unauthenticated: http.StatusUnauthorized, fault.Denied: http.StatusForbidden, fault.Stale: http.StatusPreconditionFailed,
		fault.Throttled: http.StatusTooManyRequests, fault.TooLarge: http.StatusRequestEntityTooLarge,
		fault.Unsupported: http.StatusNotImplemented, fault.Internal: http.StatusInternalServerError,
	}[f.Kind]
	p := problem{Title: http.StatusText(status), Status: status, Detail: f.Detail, Field: f.Field, Code: f.Code}
	if f.Kind == fault.Internal {
		h.Logger.ErrorContext(c.Request.Context(), "request failed", "error", err)
		p = problem{Title: p.Title, Status: status}
	}
	if status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="rolecall"`)
	}
	c.Header("Content-Type", "application/problem+json")
	c.JSON(status, p)
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
