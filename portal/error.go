package portal

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
)

// errorPage says what went wrong, in words, and by what to find it in the log.
type errorPage struct {
	Key     string // of the texts error.KEY.heading and error.KEY.text
	Status  int
	Request string // the request's id
}

// requestIDHeader is set on the response by internal/server.
const requestIDHeader = "X-Request-Id"

// handle runs a handler and turns its error into a page.
func (p *Portal) handle(handler func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := handler(c); err != nil {
			p.fail(c, err)
		}
	}
}

// fail is the one place where an error becomes a page.
func (p *Portal) fail(c *gin.Context, err error) {
	f := fault.As(err)
	status, key := statusOf(f.Kind)
	if special := "error." + f.Code + ".heading"; f.Code != "" && p.pages.texts[special] != "" {
		key = f.Code
	}
	if f.Kind == fault.Internal {
		p.logger.ErrorContext(c.Request.Context(), "page failed", "request_id", c.Writer.Header().Get(requestIDHeader),
			"route", c.FullPath(), "error", err)
	}
	if f.RetryAfter > 0 {
		setRetryAfter(c.Writer.Header(), f.RetryAfter)
	}
	p.writeError(c.Writer, c.Request, status, key)
}

func statusOf(kind fault.Kind) (status int, key string) {
	switch kind {
	case fault.NotFound:
		return http.StatusNotFound, "not_found"
	case fault.Conflict, fault.Stale:
		return http.StatusConflict, "conflict"
	case fault.Invalid, fault.Unsupported:
		return http.StatusBadRequest, "invalid"
	case fault.Unauthenticated, fault.Denied:
		return http.StatusForbidden, "denied"
	case fault.Throttled:
		return http.StatusTooManyRequests, "throttled"
	case fault.Overloaded:
		return http.StatusServiceUnavailable, "overloaded"
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge, "too_large"
	case fault.Internal:
	}
	return http.StatusInternalServerError, "internal"
}

func (p *Portal) writeError(w http.ResponseWriter, r *http.Request, status int, key string) {
	view := errorPage{Key: key, Status: status, Request: w.Header().Get(requestIDHeader)}
	if err := write(w, status, p.pages.error, view); err != nil {
		p.logger.ErrorContext(r.Context(), "error page failed", "error", err)
	}
}

func setRetryAfter(header http.Header, wait time.Duration) {
	header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}
