package scim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/patch"
	"github.com/rolecall/rolecall/scim/schema"
)

const errorURN = "urn:ietf:params:scim:api:messages:2.0:Error"

// Detail error keywords of RFC 7644 §3.12, table 9, that are no constants of
// the subpackages.
const (
	uniqueness    = "uniqueness"
	invalidFilter = string(filter.InvalidFilter)
	invalidSyntax = "invalidSyntax"
	invalidValue  = "invalidValue"
	invalidVers   = "invalidVers"

	invalidCursor = "invalidCursor" // RFC 9865 §2.1
	expiredCursor = "expiredCursor"
	invalidCount  = "invalidCount"
)

// Error is a SCIM error response (RFC 7644 §3.12).
type Error struct {
	Status     int           // the HTTP status; on the wire a JSON string
	SCIMType   string        // a keyword of table 9, or empty
	Detail     string        // for the client's operator: which attribute or parameter, and what was expected
	Allow      string        // the methods of the address, for status 405
	RetryAfter time.Duration // for status 429
	Challenge  string        // error code for the header WWW-Authenticate (RFC 6750 §3.1); may be empty
}

// Error implements error.
func (e *Error) Error() string { return strconv.Itoa(e.Status) + " " + e.SCIMType + ": " + e.Detail }

// MarshalJSON implements json.Marshaler with the message of RFC 7644 §3.12.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Schemas  [1]string `json:"schemas"`
		Status   string    `json:"status"`
		SCIMType string    `json:"scimType,omitempty"`
		Detail   string    `json:"detail"`
	}{[1]string{errorURN}, strconv.Itoa(e.Status), e.SCIMType, e.Detail})
}

// UnmarshalJSON implements json.Unmarshaler, for results that were stored.
func (e *Error) UnmarshalJSON(data []byte) error {
	var message struct{ Status, ScimType, Detail string }
	if err := json.Unmarshal(data, &message); err != nil {
		return err
	}
	status, err := strconv.Atoi(message.Status)
	*e = Error{Status: status, SCIMType: message.ScimType, Detail: message.Detail}
	return err
}

func badRequest(scimType, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, SCIMType: scimType, Detail: fmt.Sprintf(format, args...)}
}

// errorOf is the one place where errors become SCIM's. Whatever isn't known
// to be meant for the client becomes a 500 without a word about its cause.
func errorOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*schema.Error](err); ok {
		return badRequest(string(e.ScimType), "%s", about(e.Path, e.Detail))
	}
	if e, ok := errors.AsType[*patch.Error](err); ok {
		path := e.Path
		if e.Operation >= 0 {
			path = about(fmt.Sprintf("Operations[%d]", e.Operation), path)
		}
		return badRequest(string(e.ScimType), "%s", about(path, e.Detail))
	}
	if e, ok := errors.AsType[*filter.Error](err); ok {
		return badRequest(string(e.ScimType), "%s, at character %d", e.Detail, e.Position)
	}
	return errorOfFault(fault.As(err))
}

func errorOfFault(f *fault.Error) *Error {
	e := &Error{Detail: about(f.Field, f.Detail), RetryAfter: f.RetryAfter}
	switch f.Kind {
	case fault.NotFound:
		e.Status = http.StatusNotFound
	case fault.Conflict:
		e.Status, e.SCIMType = http.StatusConflict, uniqueness
	case fault.Invalid:
		e.Status, e.SCIMType = http.StatusBadRequest, scimType(f.Code)
	case fault.Unauthenticated:
		e.Status, e.Challenge = http.StatusUnauthorized, f.Code
	case fault.Denied:
		// RFC 7644 has no keyword for it: the reason code leads the sentence.
		e.Status, e.Detail = http.StatusForbidden, about(f.Code, f.Detail)
		if f.Code == oidc.InsufficientScope {
			e.Challenge = f.Code
		}
	case fault.Stale:
		e.Status = http.StatusPreconditionFailed
	case fault.Throttled:
		e.Status = http.StatusTooManyRequests
	case fault.Overloaded:
		e.Status = http.StatusServiceUnavailable
	case fault.TooLarge:
		e.Status = http.StatusRequestEntityTooLarge
	case fault.Unsupported:
		e.Status = http.StatusNotImplemented
	case fault.Internal:
		e = &Error{Status: http.StatusInternalServerError, Detail: "internal error"}
	}
	if e.Detail == "" {
		e.Detail = f.Kind.Error()
	}
	return e
}

// scimType takes a fault's code for the keyword where it is one.
func scimType(code string) string {
	switch code {
	case invalidFilter, string(filter.InvalidPath), string(filter.TooMany),
		string(schema.InvalidSyntax), string(schema.Mutable), string(schema.NoTarget):
		return code
	default:
		return invalidValue
	}
}

// about puts the name of what is at fault before the sentence about it, unless
// that begins with it.
func about(field, detail string) string {
	if field == "" || detail == "" || strings.HasPrefix(detail, field+" ") {
		return cmp.Or(detail, field)
	}
	return field + ": " + detail
}

// handle adapts a handler that returns its failure instead of writing it.
func (h *Handler) handle(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := f(c); err != nil {
			h.writeError(c, err)
		}
	}
}

func (h *Handler) writeError(c *gin.Context, err error) {
	e := errorOf(err)
	ctx := c.Request.Context()
	if e.Status == http.StatusInternalServerError && ctx.Err() == nil {
		h.log.ErrorContext(ctx, "scim request failed", "error", err)
	}
	if e.Status == http.StatusUnauthorized || e.Challenge != "" {
		challenge := `Bearer realm="SCIM"`
		if e.Challenge == oidc.InvalidDPoPProof || e.Challenge == oidc.UseDPoPNonce {
			challenge = `DPoP realm="SCIM"`
		}
		if e.Challenge != "" {
			challenge += `, error="` + e.Challenge + `"`
		}
		if e.Challenge == oidc.InsufficientUserAuthentication { // RFC 9470 §3
			challenge += `, acr_values="` + oidc.StepUpACR + `"`
		}
		if e.Challenge == oidc.InsufficientScope {
			challenge += `, scope="` + oidc.ScopeSCIM + `"`
		}
		c.Header("WWW-Authenticate", challenge)
	}
	if e.Allow != "" {
		c.Header("Allow", e.Allow)
	}
	if e.RetryAfter > 0 {
		c.Header("Retry-After", fault.Seconds(e.RetryAfter))
	}
	h.writeJSON(c, e.Status, e)
}
