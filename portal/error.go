package portal

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/language"
)

// errorPage says what went wrong, in words, and by what to find it in the log.
type errorPage struct {
	Key     string // of the texts error.KEY.heading and error.KEY.text
	Status  int
	Request string // the request's id
	Again   string // where to ask for another link; empty: nowhere
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
	if special := "error." + f.Code + ".heading"; f.Code != "" && p.pages.texts[language.Default][special] != "" {
		key = f.Code
	}
	if f.Kind == fault.Internal {
		p.logger.ErrorContext(c.Request.Context(), "page failed", "request_id", c.Writer.Header().Get(requestIDHeader),
			"route", c.FullPath(), "error", err)
	}
	if f.RetryAfter > 0 {
		setRetryAfter(c.Writer.Header(), f.RetryAfter)
	}
	p.writeErrorWith(c.Writer, c.Request, errorPage{Key: key, Status: status, Again: again(c.FullPath(), key)})
}

// again is where somebody asks for another link whose one no longer works. Who was
// invited has no password yet, and gets one there: the invitation then waits on
// their own page.
func again(route, key string) string {
	if key == "link_gone" && (route == "/login/reset" || route == "/login/invitation") {
		return "/login/forgot"
	}
	return ""
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
	p.writeErrorWith(w, r, errorPage{Key: key, Status: status})
}

func (p *Portal) writeErrorWith(w http.ResponseWriter, r *http.Request, view errorPage) {
	view.Request = w.Header().Get(requestIDHeader)
	if err := write(w, r, view.Status, p.pages.error, view); err != nil {
		p.logger.ErrorContext(r.Context(), "error page failed", "error", err)
	}
}

func setRetryAfter(header http.Header, wait time.Duration) {
	header.Set("Retry-After", fault.Seconds(wait))
}
