package scim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

const (
	asyncWorkers = 2 // requests that a node carries out at a time
	asyncPoll    = time.Second
	waitPoll     = 25 * time.Millisecond
	longestWait  = 30 * time.Second

	respondAsync = "respond-async"
)

// preference is what the header Prefer asks for (RFC 7240 §4.1, §4.3).
type preference struct {
	async bool
	wait  time.Duration // how long the client would wait for the result
	waits bool
}

func preferenceOf(header http.Header) preference {
	var p preference
	for _, line := range header.Values("Prefer") {
		for part := range strings.SplitSeq(line, ",") {
			text, _, _ := strings.Cut(part, ";") // its parameters mean nothing here
			name, value, _ := strings.Cut(text, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case respondAsync:
				p.async = true
			case "wait":
				seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
				if err == nil && !p.waits { // the first one counts
					p.waits, p.wait = true, min(time.Duration(seconds)*time.Second, longestWait)
				}
			}
		}
	}
	return p
}

// asyncJob is a request as it is stored: a bulk request, or an operation that
// was made one.
type asyncJob struct {
	body       []byte
	operations int
	single     bool
}

// laterOne stores a single operation for later if the client asks for that. One
// who would wait gets the plain answer: no operation takes a second.
func (h *Handler) laterOne(r *request, op *operation) (accepted bool, err error) {
	p := preferenceOf(r.c.Request.Header)
	if !p.async || p.wait > 0 || op.method == http.MethodGet || op.ifNoneMatch != "" {
		return false, nil
	}
	one := map[string]any{"method": op.method, "path": op.kind.t.Endpoint}
	if op.method != http.MethodPost {
		one["path"] = op.kind.t.Endpoint + "/" + url.PathEscape(op.id)
	}
	if op.ifMatch != "" {
		one["version"] = op.ifMatch
	}
	if op.body != nil {
		if one["data"], err = decodeObject(op.body); err != nil {
			return false, err
		}
	}
	body, err := encode(map[string]any{"schemas": []any{bulkRequestURN}, "Operations": []any{one}})
	if err != nil {
		return false, err
	}
	return h.later(r, &asyncJob{body: body, operations: 1, single: true})
}

// later stores a request and answers 202 (RFC 9967 §2.5.1) if the client asks
// for that; with the result, if it is there before the client has waited as long
// as it would.
func (h *Handler) later(r *request, job *asyncJob) (accepted bool, err error) {
	p := preferenceOf(r.c.Request.Header)
	if !p.async {
		return false, nil
	}
	stored := &directory.AsyncRequest{
		Tenant: r.tenant, ID: id.New[id.AsyncRequest](), Profile: r.profile.name, Base: r.base, Single: job.single, Operations: job.operations,
	}
	if stored.Body, err = h.keyring.Seal(job.body, sealedAt(stored.ID)); err != nil {
		return false, fmt.Errorf("seal request: %w", err)
	}
	if err := h.directory.AcceptAsync(r.ctx(), stored); err != nil {
		return false, err
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
	results, err := h.await(r.ctx(), stored, p.wait)
	if err != nil {
		return false, err
	}
	if results != nil {
		r.c.Header("Preference-Applied", fmt.Sprintf("wait=%d", p.wait/time.Second))
		return true, h.sendStored(r, results)
	}
	r.c.Header("Preference-Applied", respondAsync)
	r.c.Header("Set-Txn", string(stored.ID))
	r.c.Header("Location", r.base+"/AsyncRequests/"+string(stored.ID))
	r.c.Status(http.StatusAccepted)
	r.c.Writer.WriteHeaderNow()
	return true, nil
}

func sealedAt(request id.AsyncRequest) string { return "async_requests/body/" + string(request) }

// await returns the results of a request that is done within a time, else nil.
func (h *Handler) await(ctx context.Context, stored *directory.AsyncRequest, atMost time.Duration) ([]directory.AsyncResult, error) {
	if atMost <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	ticker := time.NewTicker(waitPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-ticker.C:
		}
		now, results, err := h.directory.AsyncRequest(ctx, stored.Tenant, stored.ID)
		if ctx.Err() != nil {
			return nil, nil
		}
		if err != nil || !now.Completed.IsZero() {
			return results, err
		}
	}
}

// asyncStatus answers with the results of an asynchronous request: 202 while
// there are not all of them.
func (h *Handler) asyncStatus(r *request) error {
	request, err := id.Parse[id.AsyncRequest](r.c.Param("id"))
	if err != nil {
		return fault.New(fault.NotFound, "there is no asynchronous request %s", shorten(r.c.Param("id")))
	}
	stored, results, err := h.directory.AsyncRequest(r.ctx(), r.tenant, request)
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no asynchronous request %s, or it is too long ago", shorten(request))
	}
	if err != nil {
		return err
	}
	r.c.Header("Set-Txn", string(request))
	if stored.Completed.IsZero() {
		r.c.Header("Retry-After", "1")
		r.c.Status(http.StatusAccepted)
		r.c.Writer.WriteHeaderNow()
		return nil
	}
	return h.sendStored(r, results)
}

func (h *Handler) sendStored(r *request, results []directory.AsyncResult) error {
	return h.stream(r.c, http.StatusOK, func(w *bufio.Writer) error {
		_, _ = w.WriteString(`{"schemas":["` + bulkResponseURN + `"],"Operations":[`)
		for i, result := range results {
			if i > 0 {
				_ = w.WriteByte(',')
			}
			_, _ = w.Write(result.Operation)
		}
		_, err := w.WriteString("]}")
		return err
	})
}

// mountAsync registers the address at which the result of an asynchronous
// request can be read.
func (h *Handler) mountAsync(r gin.IRouter) {
	h.mount(r, "/v2/AsyncRequests/:id", methods{http.MethodGet: h.protect(h.asyncStatus)})
}

// Run carries out asynchronous requests until ctx ends, those of other nodes
// that have stopped too.
func (h *Handler) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range asyncWorkers {
		workers.Go(func() {
			ticker := time.NewTicker(asyncPoll)
			defer ticker.Stop()
			for {
				for h.asyncRound(ctx) && ctx.Err() == nil {
					continue
				}
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				case <-h.wake:
				}
			}
		})
	}
	workers.Wait()
	return nil
}

// asyncRound carries out one request and reports whether there was one.
func (h *Handler) asyncRound(ctx context.Context) bool {
	stored, results, err := h.directory.ClaimAsync(ctx)
	if err != nil {
		if !errors.Is(err, fault.NotFound) && ctx.Err() == nil {
			h.log.ErrorContext(ctx, "asynchronous scim requests can't be read", "error", err)
		}
		return false
	}
	working, done := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { h.keepClaim(working, stored) })
	err = fault.Caught(func() error { return h.runStored(working, stored, results) })
	done()
	keeper.Wait()
	if err != nil && !directory.IsAsyncTaken(err) && ctx.Err() == nil {
		h.log.ErrorContext(ctx, "asynchronous scim request not done", "tenant", stored.Tenant, "txn", stored.ID, "attempts", stored.Attempts, "error", err)
	}
	return true
}

// keepClaim keeps other nodes off the request until ctx ends.
func (h *Handler) keepClaim(ctx context.Context, stored *directory.AsyncRequest) {
	ticker := time.NewTicker(directory.AsyncLease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := h.directory.ExtendAsync(ctx, stored); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "asynchronous scim request not kept", "txn", stored.ID, "error", err)
		}
	}
}

// runStored does what of a stored request has no result yet.
func (h *Handler) runStored(ctx context.Context, stored *directory.AsyncRequest, results []directory.AsyncResult) error {
	ctx = authz.NewContext(audit.WithActor(audit.WithRequest(ctx, string(stored.ID)), stored.Actor), stored.Caller)
	rec := &record{}
	rec.Request = string(stored.ID)
	rec.by(stored.Tenant, stored.Caller.Connection, stored.Actor)
	ctx = rec.in(ctx)
	body, err := h.keyring.Open(stored.Body, sealedAt(stored.ID))
	if err != nil {
		return err
	}
	c := client{tenant: stored.Tenant, profile: profileOf(stored.Profile), base: stored.Base}
	var refusal error
	if stored.Connection != nil {
		c.profile, refusal = profileOf(stored.Connection.Profile), paused(stored.Connection)
		c.profile.mappings = stored.Connection.Mappings
	}
	req, err := h.parseBulk(ctx, c, body, stored.Single)
	if err != nil {
		return err
	}
	if refusal != nil {
		for _, op := range req.operations {
			op.err = refusal
		}
	}
	run := h.newRun(c, req)
	for _, stored := range results {
		result := &bulkResult{position: stored.Position, id: stored.Resource}
		if err := json.Unmarshal(stored.Operation, result); err != nil {
			return fmt.Errorf("result %d: %w", stored.Position, err)
		}
		run.restore(result)
	}
	run.txn = func(position int) string {
		return (&directory.AsyncResult{Request: stored.ID, Single: stored.Single, Position: position}).Txn()
	}
	run.keep = func(ctx context.Context, results []*bulkResult) error {
		rows := make([]directory.AsyncResult, len(results))
		for i, result := range results {
			text, err := encode(result)
			if err != nil {
				return err
			}
			rows[i] = directory.AsyncResult{
				Tenant: stored.Tenant, Request: stored.ID, Position: result.position, Single: stored.Single, Resource: result.id, Operation: text,
			}
		}
		return h.directory.AddAsyncResults(ctx, rows)
	}
	if err := run.all(ctx); err != nil {
		return err
	}
	return h.directory.FinishAsync(ctx, stored)
}
