package server

import (
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// requestIDHeader carries a request's id in both directions.
const requestIDHeader = "X-Request-Id"

// requestIDForm is what a caller's id must look like to be taken over: nothing
// that could break a line of the log or a page.
var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// identify gives the request an id that the log, the audit trail and error
// pages share.
func (s *Server) identify(c *gin.Context) {
	request := c.GetHeader(requestIDHeader)
	if request == "" || !requestIDForm.MatchString(request) {
		request = id.New[string]()
	}
	c.Header(requestIDHeader, request)
	c.Request = c.Request.WithContext(audit.WithRequest(c.Request.Context(), request))
	c.Next()
}

// observe counts the request and logs it: by its route, not its address, which
// may hold personal data.
func (s *Server) observe(c *gin.Context) {
	start := s.options.Now()
	c.Next()
	took := s.options.Now().Sub(start)
	route := c.FullPath()
	if route == "" {
		route = "unknown"
	}
	s.requests.observe(c.Request.Method, route, c.Writer.Status(), took)
	ctx := c.Request.Context()
	if !s.options.Logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	s.options.Logger.DebugContext(ctx, "request", "request_id", audit.RequestFrom(ctx), "method", c.Request.Method,
		"route", route, "status", c.Writer.Status(), "bytes", c.Writer.Size(), "took_ms", float64(took)/float64(time.Millisecond))
}

// recovery keeps a programmer's mistake in one request from ending the others.
// The client learns nothing but that it happened.
func (s *Server) recovery(c *gin.Context) {
	defer func() {
		failure := recover()
		if failure == nil {
			return
		}
		if failure == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with, never wrapped
			panic(failure) //nolint:forbidigo // net/http asks for it to end the connection
		}
		ctx := c.Request.Context()
		s.options.Logger.ErrorContext(ctx, "request panicked", "request_id", audit.RequestFrom(ctx), "route", c.FullPath(),
			"failure", failure, "stack", string(debug.Stack()))
		if !c.Writer.Written() {
			c.AbortWithStatus(http.StatusInternalServerError)
		}
	}()
	c.Next()
}

// harden sets the headers that every response shares.
func (s *Server) harden(c *gin.Context) {
	header := c.Writer.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if s.options.HSTS {
		header.Set("Strict-Transport-Security", "max-age=31536000")
	}
	c.Next()
}
