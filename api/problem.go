package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
)

// problem is RFC 9457.
type problem struct {
	Title  string `json:"title" doc:"What the status means"`
	Status int    `json:"status" doc:"The status of the response"`
	Detail string `json:"detail,omitempty" doc:"What is wrong, in a sentence"`
	Field  string `json:"field,omitempty" doc:"The member or parameter at fault"`
	Code   string `json:"code,omitempty" doc:"The reason, as a stable word"`

	header http.Header
}

// problemType is the media type of a problem (RFC 9457 §3).
const problemType = "application/problem+json"

// problemOf maps a fault to HTTP, once for everything that this edge answers.
// What is internal goes to the log and not to the client.
func (h *Handler) problemOf(ctx context.Context, err error) *problem {
	f := fault.As(err)
	status := map[fault.Kind]int{
		fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Invalid: http.StatusBadRequest,
		fault.Unauthenticated: http.StatusUnauthorized, fault.Denied: http.StatusForbidden, fault.Stale: http.StatusPreconditionFailed,
		fault.Throttled: http.StatusTooManyRequests, fault.Overloaded: http.StatusServiceUnavailable, fault.TooLarge: http.StatusRequestEntityTooLarge,
		fault.Unsupported: http.StatusNotImplemented, fault.Internal: http.StatusInternalServerError,
	}[f.Kind]
	p := &problem{Title: http.StatusText(status), Status: status, header: http.Header{}}
	if f.Kind == fault.Internal {
		h.Logger.ErrorContext(ctx, "request failed", "error", err)
		return p
	}
	p.Detail, p.Field, p.Code = f.Detail, f.Field, f.Code
	switch {
	case f.Code == oidc.InvalidDPoPProof || f.Code == oidc.UseDPoPNonce:
		p.header.Set("WWW-Authenticate", `DPoP realm="rolecall", error="`+f.Code+`"`)
	case f.Code == oidc.InsufficientUserAuthentication: // RFC 9470 §3
		p.header.Set("WWW-Authenticate", `Bearer realm="rolecall", error="`+f.Code+`", acr_values="`+oidc.StepUpACR+`"`)
	case f.Kind == fault.Unauthenticated && f.Code == oidc.InvalidToken:
		p.header.Set("WWW-Authenticate", `Bearer realm="rolecall", error="invalid_token"`)
	case f.Kind == fault.Unauthenticated:
		p.header.Set("WWW-Authenticate", `Bearer realm="rolecall"`)
	case f.Code == oidc.InsufficientScope:
		p.header.Set("WWW-Authenticate", `Bearer realm="rolecall", error="insufficient_scope", scope="api"`)
	case f.Kind == fault.Throttled || f.Kind == fault.Overloaded:
		p.header.Set("Retry-After", fault.Seconds(f.RetryAfter))
	}
	return p
}

func (h *Handler) fail(c *gin.Context, err error) {
	p := h.problemOf(c.Request.Context(), err)
	for name := range p.header {
		c.Header(name, p.header.Get(name))
	}
	c.Header("Content-Type", problemType)
	c.AbortWithStatusJSON(p.Status, p)
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (*problem) ContentType(string) string { return problemType }
