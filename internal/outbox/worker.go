package outbox

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// A Claim says what a worker takes over: at most so many deliveries, of each
// destination at most so many, or what Room says of it.
type Claim struct {
	Most int
	Each int
	Room map[string]int // by destination, as Delivery.To has it
}

// Store is what a Worker needs of a database. It works for all tenants.
type Store interface {
	// ClaimDeliveries returns deliveries that are due, the first ones first, and
	// makes each due again at lease: a worker that dies loses nothing. No two
	// callers get the same one, on whatever node.
	ClaimDeliveries(ctx context.Context, now, lease time.Time, claim Claim) ([]Delivery, error)
	// FinishDelivery records that a delivery succeeded.
	FinishDelivery(ctx context.Context, d Delivery, at time.Time) error
	// FailDelivery records the failure of a delivery that nobody claimed since,
	// and when to try again; a zero due sets
	// the delivery aside.
	FailDelivery(ctx context.Context, d Delivery, reason string, at, due time.Time) error
}

// A Handler does one delivery. An error, or a panic, makes the worker try again
// later.
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
	leaseFor      = time.Minute
	attemptWithin = 20 * time.Second
)

// An attempt that is over.
type attempt struct {
	lane      *lane
	took      time.Duration
	succeeded bool
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	poll := w.Poll
	if poll == 0 {
		poll = pollEvery
	}
	var running sync.WaitGroup
	defer running.Wait()
	known := newLanes(w.Handlers)
	over := make(chan attempt, atOnce) // so that nobody waits for a Run that has ended
	for ctx.Err() == nil {
		wait := poll
		for _, d := range w.claim(ctx, known) {
			wait = 0 // more may be due already
			to := known.enter(d.To(), w.Now())
			running.Go(func() {
				a := w.deliver(ctx, d)
				a.lane = to
				over <- a
			})
		}
		select {
		case <-ctx.Done():
		case a := <-over:
			known.leave(a.lane, a.took, a.succeeded, w.Now())
			for range len(over) { // one look for all of them
				a = <-over
				known.leave(a.lane, a.took, a.succeeded, w.Now())
			}
		case <-time.After(wait):
		}
	}
	return nil
}

// claim takes over what is due now, as far as there is room.
func (w *Worker) claim(ctx context.Context, known *lanes) []Delivery {
	now := w.Now()
	for _, claim := range known.claims(now) {
		claimed, err := w.Store.ClaimDeliveries(ctx, now, now.Add(leaseFor), claim)
		if err != nil && ctx.Err() == nil {
			w.Logger.ErrorContext(ctx, "outbox can't be read", "err", err)
		}
		if len(claimed) > 0 || err != nil {
			return claimed
		}
	}
	return nil
}

// deliver tries a delivery, and writes down what came of it.
func (w *Worker) deliver(ctx context.Context, d Delivery) attempt {
	handle, known := w.Handlers[d.Kind]
	within, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	err, began := errUnknownKind, w.Now()
	if known {
		err = fault.Caught(func() error { return handle(within, d) })
	}
	tried := attempt{took: w.Now().Sub(began), succeeded: err == nil}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptWithin)
	defer cancel()
	if tried.succeeded {
		err = w.Store.FinishDelivery(record, d, w.Now())
	} else {
		var due time.Time
		if d.Attempts < MaxAttempts {
			due = w.Now().Add(Backoff(d.Attempts))
		}
		w.Logger.WarnContext(ctx, "delivery failed", "delivery", d.ID, "kind", d.Kind, "attempts", d.Attempts, "set_aside", due.IsZero(), "err", err)
		reason, _, _ := strings.Cut(err.Error(), "\n") // the place of a panic is for the log
		err = w.Store.FailDelivery(record, d, reason, w.Now(), due)
	}
	if err != nil {
		w.Logger.ErrorContext(ctx, "outbox can't be written", "delivery", d.ID, "err", err)
	}
	return tried
}
