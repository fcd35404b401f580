package provider

import (
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
)

// oauthError is an error response (RFC 6749 §5.2, RFC 6750 §3).
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// temporarilyUnavailable is the code for whoever is to come back later. RFC 6749 has it
// for the authorization endpoint (§4.1.2.1) and none that would fit at the others.
const temporarilyUnavailable = "temporarily_unavailable"

const internalDescription = "the server can't answer at the moment"

// errorOf translates a fault into the protocol's error. It is the one place that
// does; what is not classified is logged, and the client learns nothing of it.
func (p *Provider) errorOf(ctx context.Context, err error) (oauthError, int) {
	e, status := p.classify(ctx, err)
	e.Description = asASCII(e.Description)
	return e, status
}

// asASCII is a text as error_description may be, whatever of a request it repeats
// (RFC 6749 §5.2, RFC 7591 §3.2.2).
func asASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

func (p *Provider) classify(ctx context.Context, err error) (oauthError, int) {
	f := fault.As(err)
	status := http.StatusBadRequest
	switch f.Kind {
	case fault.Unauthenticated:
		status = http.StatusUnauthorized
	case fault.Throttled:
		return oauthError{temporarilyUnavailable, f.Detail}, http.StatusTooManyRequests
	case fault.Overloaded:
		return oauthError{temporarilyUnavailable, f.Detail}, http.StatusServiceUnavailable
	case fault.Internal:
		p.logger.ErrorContext(ctx, "request failed", "err", err)
		return oauthError{oidc.ServerError, internalDescription}, http.StatusInternalServerError
	case fault.Invalid, fault.Denied, fault.NotFound, fault.Conflict, fault.Stale, fault.TooLarge, fault.Unsupported:
	}
	switch f.Code {
	case "":
		return oauthError{oidc.InvalidRequest, f.Detail}, status
	case oidc.InsufficientScope:
		status = http.StatusForbidden
	}
	return oauthError{f.Code, f.Detail}, status
}

// libraryError is errorOf for the methods of op.Server.
func (p *Provider) libraryError(ctx context.Context, err error) error {
	e, status := p.errorOf(ctx, err)
	if header, ok := ctx.Value(answerKey{}).(http.Header); ok {
		retryAfter(header, err)
	}
	var known *zitadel.Error
	switch e.Code {
	case oidc.InvalidRequest:
		known = zitadel.ErrInvalidRequest()
	case oidc.InvalidClient:
		known = zitadel.ErrInvalidClient()
	case oidc.InvalidGrant:
		known = zitadel.ErrInvalidGrant()
	case oidc.InvalidScope:
		known = zitadel.ErrInvalidScope()
	case oidc.InvalidTarget:
		known = zitadel.ErrInvalidTarget()
	case oidc.UnauthorizedClient:
		known = zitadel.ErrUnauthorizedClient()
	case oidc.AuthorizationPending:
		known = zitadel.ErrAuthorizationPending()
	case oidc.SlowDown:
		known = zitadel.ErrSlowDown()
	case oidc.ExpiredToken:
		known = zitadel.ErrExpiredDeviceCode()
	case oidc.AccessDenied:
		known = zitadel.ErrAccessDenied()
	case oidc.InvalidDPoPProof:
		known = &zitadel.Error{ErrorType: oidc.InvalidDPoPProof}
	case oidc.InvalidAuthorizationDetails:
		known = &zitadel.Error{ErrorType: oidc.InvalidAuthorizationDetails}
	case temporarilyUnavailable:
		known = &zitadel.Error{ErrorType: temporarilyUnavailable}
	default:
		known = zitadel.ErrServerError()
	}
	return op.NewStatusError(known.WithDescription("%s", e.Description), status)
}

// notAllowed answers a request by another method than these.
func notAllowed(c *gin.Context, methods string) {
	c.Header("Allow", methods)
	c.AbortWithStatusJSON(http.StatusMethodNotAllowed, oauthError{oidc.InvalidRequest, "the request must use " + methods})
}

// fail answers a request of an application directly.
func (p *Provider) fail(c *gin.Context, err error) {
	e, status := p.errorOf(c.Request.Context(), err)
	if status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", basicChallenge)
	}
	retryAfter(c.Writer.Header(), err)
	c.AbortWithStatusJSON(status, e)
}

// retryAfter says when to come back, where the fault knows (RFC 9110 §10.2.3).
func retryAfter(header http.Header, err error) {
	if wait := fault.As(err).RetryAfter; wait > 0 {
		header.Set("Retry-After", fault.Seconds(wait))
	}
}

// answerKey is the context key of the header of the answer, which the methods of
// op.Server can't get at otherwise.
type answerKey struct{}

func invalidRequest(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).WithCode(oidc.InvalidRequest)
}

func invalidClient(detail string) *fault.Error {
	return fault.New(fault.Unauthenticated, "%s", detail).WithCode(oidc.InvalidClient)
}
