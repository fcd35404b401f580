package events

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// maxOwnStreams is how many streams an application has at most.
const maxOwnStreams = 5

// MinVerificationInterval is the time between two requests for a proof that a
// stream works.
const MinVerificationInterval = 30 * time.Second

// A Receiver is an application that manages streams of its own (SSF 1.0 §8).
type Receiver struct {
	ClientID string
	Tenant   id.Tenant // its owner, whose people it is told of
}

// PollAddressOf is where an application polls a stream of its own.
func (e *Events) PollAddressOf(stream id.EventStream) string {
	return e.issuer + "/ssf/poll/" + string(stream)
}

// OwnStreams returns the streams of an application.
func (e *Events) OwnStreams(ctx context.Context, r Receiver) ([]Stream, error) {
	all, err := e.store.EventStreams(ctx, r.Tenant)
	return slices.DeleteFunc(all, func(s Stream) bool { return s.ClientID != r.ClientID }), err
}

// OwnStream returns a stream of an application. It fails with fault.NotFound, also
// for those of others.
func (e *Events) OwnStream(ctx context.Context, r Receiver, stream id.EventStream) (*Stream, error) {
	s, err := e.store.EventStream(ctx, r.Tenant, stream)
	if err == nil && s.ClientID != r.ClientID {
		err = &fault.Error{Kind: fault.NotFound}
	}
	if err != nil {
		return nil, noStream(err)
	}
	return s, nil
}

// own runs change in a transaction, and makes this node read streams anew.
func (e *Events) own(ctx context.Context, r Receiver, change func(ctx context.Context) error) error {
	defer e.streams.Changed()
	defer e.receivers.Changed()
	return e.store.InTx(ctx, func(ctx context.Context) error {
		if err := e.store.LockTenant(ctx, r.Tenant); err != nil {
			return err
		}
		return change(ctx)
	})
}

// CreateOwn makes a stream of an application. It fails with fault.Invalid, and with
// fault.Conflict where the application has too many.
func (e *Events) CreateOwn(ctx context.Context, r Receiver, method Method, settings Settings) (*Stream, error) {
	now, stream := e.now(), id.New[id.EventStream]()
	s := &Stream{
		Tenant: r.Tenant, ID: stream, ClientID: r.ClientID, Name: "ssf " + string(stream), Method: method, Format: Notice, Audience: []string{r.ClientID},
		Status: Enabled, Due: now, Claimed: now, Created: now, Modified: now,
	}
	err := e.own(ctx, r, func(ctx context.Context) error {
		has, err := e.OwnStreams(ctx, r)
		if err != nil {
			return err
		}
		if len(has) >= maxOwnStreams {
			return fault.New(fault.Conflict, "the application has %d streams: delete one first", len(has)).WithCode("too_many")
		}
		if err := e.set(s, settings); err != nil {
			return err
		}
		if err := e.store.CreateEventStream(ctx, s); err != nil {
			return err
		}
		return e.record(ctx, s, "event_stream.create")
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ChangeOwn brings a stream of an application to the settings, and to another
// method of delivery if that is not empty. It fails as CreateOwn does, and with
// fault.NotFound.
func (e *Events) ChangeOwn(ctx context.Context, r Receiver, stream id.EventStream, method Method, settings Settings) (*Stream, error) {
	var s *Stream
	err := e.own(ctx, r, func(ctx context.Context) error {
		if _, err := e.OwnStream(ctx, r, stream); err != nil {
			return err
		}
		var err error
		s, err = e.store.UpdateEventStream(ctx, r.Tenant, stream, func(s *Stream) error {
			s.Modified = e.now()
			if method != "" && method != s.Method {
				s.Method, s.Endpoint, s.Authorization = method, "", nil
			}
			return e.set(s, settings)
		})
		if err != nil {
			return noStream(err)
		}
		return e.record(ctx, s, "event_stream.update")
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DeleteOwn removes a stream of an application with the events that wait. It fails
// with fault.NotFound.
func (e *Events) DeleteOwn(ctx context.Context, r Receiver, stream id.EventStream) error {
	return e.own(ctx, r, func(ctx context.Context) error {
		s, err := e.OwnStream(ctx, r, stream)
		if err != nil {
			return err
		}
		if err := e.store.DeleteEventStream(ctx, s.Tenant, s.ID); err != nil {
			return err
		}
		return e.record(ctx, s, "event_stream.delete")
	})
}

// Exclude has a stream not tell of a person any more, or again if excluded is
// false. What is no person, or nobody whom the application is told of, is passed
// over: who asks must not learn whether there is such a person. It fails with
// fault.NotFound for the stream.
func (e *Events) Exclude(ctx context.Context, r Receiver, stream id.EventStream, subject Subject, excluded bool) error {
	s, err := e.OwnStream(ctx, r, stream)
	if err != nil {
		return err
	}
	if subject.Format != "iss_sub" || subject.Issuer != e.issuer || subject.Sub == "" {
		return fault.Field(fault.Invalid, "subject", `must be {"format": "iss_sub", "iss": %q, "sub": …}`, e.issuer)
	}
	user, err := id.Parse[id.User](subject.Sub)
	if err != nil {
		return nil //nolint:nilerr // nobody has that identifier, which is not said
	}
	return e.store.ExcludeSubject(ctx, s.Tenant, s.ID, user, excluded)
}

// Verify writes an event that proves that the stream works (SSF 1.0 §8.1.4). It
// fails with fault.NotFound, with fault.Conflict where the stream is disabled, and
// with fault.Throttled where it was asked for less than MinVerificationInterval ago.
func (e *Events) Verify(ctx context.Context, r Receiver, stream id.EventStream, state string) error {
	if _, err := e.OwnStream(ctx, r, stream); err != nil {
		return err
	}
	if !isText(state, maxText) {
		return fault.Field(fault.Invalid, "state", "must be text of at most %d characters", maxText)
	}
	said := map[string]string{}
	if state != "" {
		said["state"] = state
	}
	return e.store.InTx(ctx, func(ctx context.Context) error {
		s, err := e.store.UpdateEventStream(ctx, r.Tenant, stream, func(s *Stream) error {
			now := e.now()
			if s.Status == Disabled {
				return fault.New(fault.Conflict, "the stream is disabled")
			}
			if next := s.Verified.Add(MinVerificationInterval); !s.Verified.IsZero() && now.Before(next) {
				return &fault.Error{
					Kind: fault.Throttled, RetryAfter: next.Sub(now).Truncate(time.Second) + time.Second,
					Detail: "verification was asked for a moment ago: see min_verification_interval",
				}
			}
			s.Verified = now
			return nil
		})
		if err != nil {
			return noStream(err)
		}
		return e.addOwn(ctx, s, eventVerification, said)
	})
}

// announce tells the application whose stream it is that its status is another
// one, which was not its own doing (SSF 1.0 §8.1.5).
func (e *Events) announce(ctx context.Context, s *Stream) error {
	if s.ClientID == "" {
		return nil
	}
	said := map[string]string{"status": string(s.Status)}
	if s.Reason != "" {
		said["reason"] = s.Reason
	}
	return e.addOwn(ctx, s, eventStreamUpdated, said)
}

// addOwn writes an event about the stream itself.
func (e *Events) addOwn(ctx context.Context, s *Stream, uri string, said map[string]string) error {
	body, err := json.Marshal(said)
	if err != nil {
		return err
	}
	about := Subject{Format: "opaque", ID: string(s.ID)}
	return e.add(ctx, s, e.now(), string(id.New[id.SecurityEvent]()), about, map[string]json.RawMessage{uri: body})
}
