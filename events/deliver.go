package events

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Bounds of deliveries.
const (
	// PollLease is how long an event stays with a receiver that has polled it. One
	// that is not acknowledged by then comes again (RFC 8936 §2.4).
	PollLease = time.Minute
	// MaxPoll is how many events a poll returns at most.
	MaxPoll = 100
	// PushLease is how long a stream stays with the node that pushes its events.
	PushLease = 2 * time.Minute
	// PushBatch is how many events a node pushes before it lets go of the stream.
	// They must not take longer than the lease.
	PushBatch = 20
	// MaxFailures is after how many failures in a row a stream is paused.
	MaxFailures = 12

	// Retention is how long events wait.
	Retention = 7 * 24 * time.Hour
	// MaxWaiting is how many events of a stream wait.
	MaxWaiting = 1_000_000

	waitStep        = 500 * time.Millisecond // how often a poll that waits looks
	maxWaitingPolls = 64                     // on one node; more of them are answered at once
	maxReason       = 500
)

// StreamOf returns the stream of the tenant of that slug or id whose receiver
// polls with the token. Every failure is the same fault.Unauthenticated.
func (e *Events) StreamOf(ctx context.Context, tenant string, token secret.Text) (*Stream, error) {
	refused := fault.New(fault.Unauthenticated, "a valid token of an event stream of this tenant is needed")
	if token.Empty() || tenant == "" || !isText(tenant, maxText) {
		return nil, refused
	}
	s, err := e.store.EventStreamByToken(ctx, tenant, token.Hash())
	if errors.Is(err, fault.NotFound) {
		return nil, refused
	}
	return s, err
}

// A Taking is what a receiver that polls says (RFC 8936 §2.2).
type Taking struct {
	Max      int                         // how many events are wanted, at most MaxPoll
	Wait     time.Duration               // for how long to wait where there is none
	Taken    []id.SecurityEvent          // these were taken over
	Rejected map[id.SecurityEvent]string // these were not accepted, and why
}

// Take removes what the receiver has taken over, sets aside what it did not
// accept, and returns the next events. more says that there are others.
func (e *Events) Take(ctx context.Context, s *Stream, taking Taking) (events []Event, more bool, err error) {
	if err := e.settle(ctx, s, taking); err != nil {
		return nil, false, err
	}
	most := min(taking.Max, MaxPoll)
	if most <= 0 {
		more, err := e.store.WaitingEvents(ctx, s.Tenant, s.ID, e.now())
		return nil, more, err
	}
	if taking.Wait > 0 && e.waiting.Add(1) > maxWaitingPolls {
		taking.Wait = 0
		e.waiting.Add(-1)
	} else if taking.Wait > 0 {
		defer e.waiting.Add(-1)
	}
	if err := e.await(ctx, s, taking.Wait); err != nil {
		return nil, false, err
	}
	now := e.now()
	if events, err = e.store.ClaimEvents(ctx, s.Tenant, s.ID, now, now.Add(PollLease), most); err != nil || len(events) < most {
		return events, false, err
	}
	more, err = e.store.WaitingEvents(ctx, s.Tenant, s.ID, now)
	return events, more, err
}

func (e *Events) settle(ctx context.Context, s *Stream, taking Taking) error {
	if len(taking.Taken)+len(taking.Rejected) == 0 {
		return nil
	}
	return e.store.InTx(ctx, func(ctx context.Context) error {
		for event, reason := range taking.Rejected {
			if err := e.Reject(ctx, s, event, reason); err != nil {
				return err
			}
		}
		return e.store.FinishEvents(ctx, s.Tenant, s.ID, taking.Taken)
	})
}

// await returns when the stream has events, or the time is over.
func (e *Events) await(ctx context.Context, s *Stream, most time.Duration) error {
	over := time.After(most)
	for {
		there, err := e.store.WaitingEvents(ctx, s.Tenant, s.ID, e.now())
		if err != nil || there || most <= 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-time.After(waitStep):
		}
	}
}

// Reject sets an event aside that the receiver did not accept.
func (e *Events) Reject(ctx context.Context, s *Stream, event id.SecurityEvent, reason string) error {
	return e.store.SetEventAside(ctx, s.Tenant, s.ID, event, plain(reason), e.now())
}

// plain is text from outside as it can be stored.
func plain(text string) string {
	quoted := strconv.QuoteToGraphic(text)
	runes := []rune(quoted[1 : len(quoted)-1])
	return string(runes[:min(len(runes), maxReason)])
}

// ClaimPush takes over a stream that has events to be pushed, for PushLease, and
// returns the header Authorization for them: one of those among, or any if that is
// nil. It fails with fault.NotFound where there is none.
func (e *Events) ClaimPush(ctx context.Context, among []id.EventStream) (*Stream, secret.Text, error) {
	now := e.now()
	s, err := e.store.ClaimPush(ctx, among, now, now.Add(PushLease))
	if err != nil {
		return nil, secret.Text{}, err
	}
	header, err := e.authorization(s)
	return s, header, err
}

// ReleasePush ends a claim.
func (e *Events) ReleasePush(ctx context.Context, s *Stream) error {
	return e.store.ReleasePush(ctx, s.Tenant, s.ID, s.Claimed, e.now())
}

// Next returns the events to be pushed, in their order.
func (e *Events) Next(ctx context.Context, s *Stream) ([]Event, error) {
	return e.store.NextEvents(ctx, s.Tenant, s.ID, PushBatch)
}

// Delivered records that the receiver has taken an event over.
func (e *Events) Delivered(ctx context.Context, s *Stream, event *Event) error {
	if err := e.store.FinishEvents(ctx, s.Tenant, s.ID, []id.SecurityEvent{event.ID}); err != nil || s.Failures == 0 {
		return err
	}
	s.Failures = 0
	_, err := e.store.UpdateEventStream(ctx, s.Tenant, s.ID, func(s *Stream) error {
		s.Failures, s.LastError = 0, ""
		return nil
	})
	return err
}

// Failed records that an event did not reach the receiver. It is tried again
// after a while that grows; after MaxFailures in a row the stream is paused, and
// its events wait for somebody who enables it.
func (e *Events) Failed(ctx context.Context, s *Stream, reason string) error {
	defer e.streams.Changed()
	return e.store.InTx(ctx, func(ctx context.Context) error {
		paused := false
		now := e.now()
		s, err := e.store.UpdateEventStream(ctx, s.Tenant, s.ID, func(s *Stream) error {
			s.Failures++
			s.LastError, s.Due = plain(reason), now.Add(backoff(s.Failures))
			if paused = s.Failures >= MaxFailures && s.Status == Enabled; paused {
				s.Status, s.Modified = Paused, now
				s.Reason = strconv.Itoa(s.Failures) + " deliveries in a row have failed"
			}
			return nil
		})
		if errors.Is(err, fault.NotFound) {
			return nil // deleted meanwhile
		}
		if err != nil || !paused {
			return err
		}
		if err := e.announce(ctx, s); err != nil {
			return err
		}
		return e.record(ctx, s, "event_stream.pause")
	})
}

// backoff is how long to wait after so many failures: 2 s, 4 s, … at most an hour.
func backoff(failures int) time.Duration {
	return min(time.Duration(1<<min(failures, 12))*time.Second, time.Hour)
}

// Clean removes events that nobody has taken over in time.
func (e *Events) Clean(ctx context.Context) error {
	return e.store.TrimEvents(ctx, e.now().Add(-Retention), MaxWaiting)
}
