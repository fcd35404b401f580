// Package server runs the HTTP side of an instance: one gin engine for all
// edges, what holds for every request (its id, limits, recovery, log), health,
// metrics, the workers that run beside it, and an orderly end.
//
// What a request means is the edges' matter; what a worker does, the domain's.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"
)

// An Edge serves one wire format: scim, oidc/provider, portal.
type Edge interface {
	Mount(r gin.IRouter)
}

// A Worker runs beside the server until ctx ends.
type Worker interface {
	Run(ctx context.Context) error
}

// Options is what a Server is made of.
type Options struct {
	Edges    []Edge
	Workers  []Worker
	NotFound http.Handler                    // the page for addresses that nobody serves
	Ready    func(ctx context.Context) error // whether the instance can answer; nil error: yes
	Logger   *slog.Logger
	Now      func() time.Time
	HSTS     bool // the public URL is HTTPS

	TLSCertFile, TLSKeyFile string        // both or neither
	Metrics                 net.Listener  // nil: no metrics
	Drain                   time.Duration // how long running requests may take at the end; default 20 s
}

// Server is an instance's HTTP side. Make one with New.
type Server struct {
	options  Options
	engine   *gin.Engine
	requests *requestMetrics
}

// Limits of a request, before an edge sets stricter ones of its own.
const (
	maxHeader         = 32 << 10 // bytes
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = 2 * time.Minute
	defaultDrain      = 20 * time.Second
)

// New returns a Server with all edges mounted.
func New(o Options) (*Server, error) {
	if o.Drain == 0 {
		o.Drain = defaultDrain
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	// The client's address is the peer's. Forwarded headers are believed from
	// nobody until proxies can be named.
	if err := engine.SetTrustedProxies(nil); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	engine.HandleMethodNotAllowed = false
	engine.RedirectTrailingSlash = false
	engine.ContextWithFallback = true
	s := &Server{options: o, engine: engine, requests: newRequestMetrics()}
	engine.Use(s.identify, s.observe, s.recovery, s.harden)
	engine.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	engine.GET("/readyz", s.ready)
	for _, edge := range o.Edges {
		edge.Mount(engine)
	}
	if o.NotFound != nil {
		engine.NoRoute(gin.WrapH(o.NotFound))
	}
	return s, nil
}

// Handler returns the server's handler, for tests in the same process.
func (s *Server) Handler() http.Handler { return s.engine }

func (s *Server) ready(c *gin.Context) {
	if err := s.options.Ready(c.Request.Context()); err != nil {
		s.options.Logger.WarnContext(c.Request.Context(), "not ready", "err", err)
		c.String(http.StatusServiceUnavailable, "not ready\n")
		return
	}
	c.String(http.StatusOK, "ready\n")
}

// Run serves on the listener until ctx ends, then lets running requests finish
// and stops the workers. It owns the listener.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	main := s.httpServer(ctx, s.engine)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if s.options.TLSCertFile != "" {
			return ended(main.ServeTLS(listener, s.options.TLSCertFile, s.options.TLSKeyFile))
		}
		return ended(main.Serve(listener))
	})
	servers := []*http.Server{main}
	if s.options.Metrics != nil {
		metrics := s.httpServer(ctx, s.requests.handler())
		servers = append(servers, metrics)
		group.Go(func() error { return ended(metrics.Serve(s.options.Metrics)) })
	}
	for _, worker := range s.options.Workers {
		group.Go(func() error { return worker.Run(ctx) })
	}
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Drain)
		defer cancel()
		var errs []error
		for _, server := range servers {
			errs = append(errs, server.Shutdown(drain))
		}
		return errors.Join(errs...)
	})
	return group.Wait()
}

func (s *Server) httpServer(ctx context.Context, handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
}

// ended turns the answer of a server that was told to stop into success.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
