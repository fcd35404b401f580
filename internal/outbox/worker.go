package outbox

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Store is what a Worker needs of a database. It works for all tenants.
type Store interface {
	// ClaimDeliveries returns up to limit deliveries that are due, and makes
	// each due again at lease: a worker that dies loses nothing. No two callers
	// get the same one, on whatever node.
	ClaimDeliveries(ctx context.Context, now, lease time.Time, limit int) ([]Delivery, error)
	// FinishDelivery records that a delivery succeeded.
	FinishDelivery(ctx context.Context, d Delivery, at time.Time) error
	// FailDelivery records a failure and when to try again; a zero due sets
	// the delivery aside.
	FailDelivery(ctx context.Context, d Delivery, reason string, at, due time.Time) error
}

// A Handler does one delivery. An error makes the worker try again later.
type Handler func(ctx context.Context, d Delivery) error

// Worker does deliveries as they fall due. Any number of workers on any number
// of nodes may run.
type Worker struct {
	Store    Store
	Handlers map[Kind]Handler
	Now      func() time.Time
	Logger   *slog.Logger
	Poll     time.Duration // how often it looks; default one second
}

const (
	pollEvery     = time.Second
	batch         = 16
	leaseFor      = time.Minute
	attemptWithin = 20 * time.Second
)

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	poll := w.Poll
	if poll == 0 {
		poll = pollEvery
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		for w.round(ctx) == batch && ctx.Err() == nil {
			continue // more may be due already
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// round does what is due now and returns how much that was.
func (w *Worker) round(ctx context.Context) int {
	now := w.Now()
	claimed, err := w.Store.ClaimDeliveries(ctx, now, now.Add(leaseFor), batch)
	if err != nil {
		if ctx.Err() == nil {
			w.Logger.ErrorContext(ctx, "outbox can't be read", "err", err)
		}
		return 0
	}
	var running sync.WaitGroup
	for _, d := range claimed {
		running.Go(func() { w.deliver(ctx, d) })
	}
	running.Wait()
	return len(claimed)
}

func (w *Worker) deliver(ctx context.Context, d Delivery) {
	handle, known := w.Handlers[d.Kind]
	attempt, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	var err error
	if known {
		err = handle(attempt, d)
	} else {
		err = errUnknownKind
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptWithin)
	defer cancel()
	if err == nil {
		err = w.Store.FinishDelivery(record, d, w.Now())
	} else {
		var due time.Time
		if d.Attempts < MaxAttempts {
			due = w.Now().Add(Backoff(d.Attempts))
		}
		w.Logger.WarnContext(ctx, "delivery failed", "delivery", d.ID, "kind", d.Kind, "attempts", d.Attempts, "set_aside", due.IsZero(), "err", err)
		err = w.Store.FailDelivery(record, d, err.Error(), w.Now(), due)
	}
	if err != nil {
		w.Logger.ErrorContext(ctx, "outbox can't be written", "delivery", d.ID, "err", err)
	}
}
