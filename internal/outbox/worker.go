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
	// FailDelivery records the failure of a delivery that nobody claimed since,
	// and when to try again; a zero due sets
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
	Poll     time.Duration // how often it looks; default 200 ms
}

const (
	pollEvery     = 200 * time.Millisecond
	atOnce        = 32
	leaseFor      = time.Minute
	attemptWithin = 20 * time.Second
)

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	poll := w.Poll
	if poll == 0 {
		poll = pollEvery
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
			<-slots
		}
		// Nobody else fills slots: as many are free as are counted now, or more.
		claimed := w.claim(ctx, atOnce-len(slots))
		for _, d := range claimed {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				w.deliver(ctx, d)
			})
		}
		if len(claimed) > 0 {
			continue // more may be due already
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poll):
		}
	}
}

// claim takes over what is due now, at most so many.
func (w *Worker) claim(ctx context.Context, most int) []Delivery {
	now := w.Now()
	claimed, err := w.Store.ClaimDeliveries(ctx, now, now.Add(leaseFor), most)
	if err != nil && ctx.Err() == nil {
		w.Logger.ErrorContext(ctx, "outbox can't be read", "err", err)
	}
	return claimed
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
