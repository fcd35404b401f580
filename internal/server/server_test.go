package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/server"
)

// edge is an edge of a test.
type edge func(r gin.IRouter)

func (e edge) Mount(r gin.IRouter) { e(r) }

func options(log io.Writer, e edge) server.Options {
	return server.Options{
		Edges:    []server.Edge{e},
		NotFound: http.NotFoundHandler(),
		Ready:    func(context.Context) error { return nil },
		Logger:   slog.New(slog.NewTextHandler(log, nil)),
		Now:      time.Now,
	}
}

func get(t *testing.T, handler http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

func TestEveryRequestHasAnID(t *testing.T) {
	seen := ""
	s, err := server.New(options(io.Discard, func(r gin.IRouter) {
		r.GET("/x", func(c *gin.Context) { seen = audit.RequestFrom(c.Request.Context()) })
	}))
	if err != nil {
		t.Fatal(err)
	}
	for sent, taken := range map[string]bool{
		"": false, "0123456789abcdef": true, "short": false, "line\nbreak-in-it": false, "<script>alert(1)</script>": false, strings.Repeat("a", 65): false,
	} {
		response := get(t, s.Handler(), "/x", "X-Request-Id", sent)
		got := response.Header().Get("X-Request-Id")
		if got == "" || got != seen {
			t.Errorf("answered with %q, the context has %q", got, seen)
		}
		if (got == sent) != taken {
			t.Errorf("sent %q, got %q; taken over: want %v", sent, got, taken)
		}
	}
}

func TestPanicEndsOneRequestAndTellsNothing(t *testing.T) {
	var log bytes.Buffer
	s, err := server.New(options(&log, func(r gin.IRouter) {
		r.GET("/panic", func(*gin.Context) { panic("a secret of the inside") })
		r.GET("/fine", func(c *gin.Context) { c.String(http.StatusOK, "fine") })
	}))
	if err != nil {
		t.Fatal(err)
	}
	response := get(t, s.Handler(), "/panic")
	if response.Code != http.StatusInternalServerError || strings.Contains(response.Body.String(), "secret") {
		t.Errorf("answered %d %q", response.Code, response.Body)
	}
	if !strings.Contains(log.String(), "a secret of the inside") || !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("the log has no cause or no stack:\n%s", &log)
	}
	if response := get(t, s.Handler(), "/fine"); response.Code != http.StatusOK {
		t.Errorf("the next request got %d", response.Code)
	}
}

func TestHealth(t *testing.T) {
	o := options(io.Discard, func(gin.IRouter) {})
	broken := errors.New("the database's password is hunter2")
	o.Ready = func(context.Context) error { return broken }
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if response := get(t, s.Handler(), "/healthz"); response.Code != http.StatusOK {
		t.Errorf("/healthz answered %d without a database; it is about the process", response.Code)
	}
	if response := get(t, s.Handler(), "/readyz"); response.Code != http.StatusServiceUnavailable || strings.Contains(response.Body.String(), "hunter2") {
		t.Errorf("/readyz answered %d %q", response.Code, response.Body)
	}
	broken = nil
	if response := get(t, s.Handler(), "/readyz"); response.Code != http.StatusOK {
		t.Errorf("/readyz answered %d", response.Code)
	}
	if response := get(t, s.Handler(), "/nowhere"); response.Code != http.StatusNotFound {
		t.Errorf("an address of nobody answered %d", response.Code)
	}
	if response := get(t, s.Handler(), "/metrics"); response.Code != http.StatusNotFound {
		t.Errorf("/metrics is served to everybody: %d", response.Code)
	}
}

// worker counts that it was started and stopped.
type worker struct{ running atomic.Int32 }

func (w *worker) Run(ctx context.Context) error {
	w.running.Add(1)
	<-ctx.Done()
	w.running.Add(-1)
	return nil
}

func TestRunFinishesWhatItHasBegun(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	w := &worker{}
	o := options(io.Discard, func(r gin.IRouter) {
		r.GET("/slow", func(c *gin.Context) {
			close(entered)
			<-release
			c.String(http.StatusOK, "done")
		})
	})
	o.Workers = []server.Worker{w}
	listen := func() net.Listener {
		t.Helper()
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	main, metrics := listen(), listen()
	o.Metrics = metrics
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, main) }()
	if body := fetch(t, "http://"+metrics.Addr().String()+"/metrics"); !strings.Contains(body, "go_goroutines") {
		t.Errorf("no metrics:\n%.200s", body)
	}
	answer := make(chan string, 1)
	go func() { answer <- fetch(t, "http://"+main.Addr().String()+"/slow") }()
	<-entered
	cancel()
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := w.running.Load(); n != 0 {
		t.Errorf("%d workers are still running", n)
	}
}

func fetch(t *testing.T, url string) string {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Error(err)
		return ""
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
