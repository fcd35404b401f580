package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// EventStreamBody is a stream of security events as it is shown.
type EventStreamBody struct {
	ID              id.EventStream `json:"id"`
	Name            string         `json:"name"`
	ClientID        string         `json:"client_id,omitempty" doc:"The application that has made the stream for itself (Shared Signals Framework)"`
	Method          string         `json:"method" enum:"push,poll"`
	EndpointURL     string         `json:"endpoint_url" doc:"Where events are pushed to, or where they are polled"`
	Format          string         `json:"format" enum:"notice,full"`
	Audience        []string       `json:"audience" doc:"The claim aud; empty: the stream's own address"`
	EventsRequested []string       `json:"events_requested" doc:"Empty: all"`
	EventsDelivered []string       `json:"events_delivered"`
	Status          string         `json:"status" enum:"enabled,paused,disabled"`
	Reason          string         `json:"reason,omitempty"`
	Failures        int            `json:"failures,omitempty" doc:"Pushes that have failed since the last one that succeeded"`
	LastError       string         `json:"last_error,omitempty"`
	Dropped         int64          `json:"dropped,omitempty" doc:"Events that were removed because nobody took them over in time"`
	CreatedAt       time.Time      `json:"created_at"`
	ModifiedAt      time.Time      `json:"modified_at"`
}

func (h *Handler) eventStreamBodyOf(t *directory.Tenant, s *events.Stream) EventStreamBody {
	body := EventStreamBody{
		ID: s.ID, Name: s.Name, ClientID: s.ClientID, Method: string(s.Method), EndpointURL: s.Endpoint, Format: string(s.Format),
		Audience: append([]string{}, s.Audience...), EventsRequested: append([]string{}, s.Requested...), EventsDelivered: s.Delivered(),
		Status: string(s.Status), Reason: s.Reason, Failures: s.Failures, LastError: s.LastError, Dropped: s.Dropped,
		CreatedAt: s.Created, ModifiedAt: s.Modified,
	}
	if s.Method == events.Poll && s.ClientID == "" {
		body.EndpointURL = h.Events.PollAddress(t.Slug)
	} else if s.Method == events.Poll {
		body.EndpointURL = h.Events.PollAddressOf(s.ID)
	}
	return body
}

// EventStreamAddress is the place of a stream in a path.
type EventStreamAddress struct {
	Stream string `path:"stream" maxLength:"36" doc:"The stream's id"`
}

func (a EventStreamAddress) id() (id.EventStream, error) {
	stream, err := id.Parse[id.EventStream](a.Stream)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no such event stream")
	}
	return stream, nil
}

type (
	shownEventStream  struct{ Body EventStreamBody }
	shownEventStreams struct{ Body list[EventStreamBody] }
	madeEventStream   struct {
		Body struct {
			EventStreamBody
			Token string `json:"token,omitempty" doc:"What the receiver polls with. It is not shown again."`
		}
	}
	newEventStream struct {
		Body struct {
			Name            string   `json:"name" minLength:"1" maxLength:"100" doc:"Unique in the tenant"`
			Method          string   `json:"method" enum:"push,poll"`
			EndpointURL     string   `json:"endpoint_url,omitempty" maxLength:"1000" doc:"Of method push: https"`
			Authorization   string   `json:"authorization,omitempty" maxLength:"2000" doc:"Of method push: the header of that name. It is not shown again."`
			Format          string   `json:"format,omitempty" enum:"notice,full" doc:"Default: notice"`
			Audience        []string `json:"audience,omitempty" maxItems:"10"`
			EventsRequested []string `json:"events_requested,omitempty" maxItems:"20" doc:"URIs of events; left out: all"`
		}
	}
	changedEventStream struct {
		EventStreamAddress
		Body struct {
			Name            *string   `json:"name,omitempty" minLength:"1" maxLength:"100"`
			EndpointURL     *string   `json:"endpoint_url,omitempty" maxLength:"1000"`
			Authorization   *string   `json:"authorization,omitempty" maxLength:"2000" doc:"Empty: none"`
			Format          *string   `json:"format,omitempty" enum:"notice,full"`
			Audience        *[]string `json:"audience,omitempty" maxItems:"10"`
			EventsRequested *[]string `json:"events_requested,omitempty" maxItems:"20"`
			Status          *string   `json:"status,omitempty" enum:"enabled,paused,disabled" doc:"paused: events wait; disabled: there are none"`
			Reason          *string   `json:"reason,omitempty" maxLength:"500"`
		}
	}
	deadLetterListing struct {
		Page
		EventStreamAddress
	}
	// DeadLetterBody is an event that the receiver did not accept.
	DeadLetterBody struct {
		ID       id.SecurityEvent `json:"id" doc:"The claim jti"`
		Time     time.Time        `json:"time"`
		Txn      string           `json:"txn"`
		Resource string           `json:"resource" doc:"The member uri of the claim sub_id"`
		Events   []string         `json:"events" doc:"Their URIs"`
		Reason   string           `json:"reason"`
		DeadAt   time.Time        `json:"dead_at"`
	}
	shownDeadLetters   struct{ Body list[DeadLetterBody] }
	retriedDeadLetters struct {
		Body struct {
			Retried int `json:"retried"`
		}
	}
)

// typed turns a text of the API into one of the domain's.
func typed[T ~string](text *string) *T {
	if text == nil {
		return nil
	}
	return new(T(*text))
}

func (in *newEventStream) settings() events.Settings {
	b := &in.Body
	settings := events.Settings{Name: &b.Name, Endpoint: &b.EndpointURL, Audience: &b.Audience, Requested: &b.EventsRequested}
	if b.Format != "" {
		settings.Format = typed[events.Format](&b.Format)
	}
	if b.Authorization != "" {
		settings.Authorization = new(secret.NewText(b.Authorization))
	}
	return settings
}

func (in *changedEventStream) settings() events.Settings {
	b := &in.Body
	settings := events.Settings{
		Name: b.Name, Endpoint: b.EndpointURL, Format: typed[events.Format](b.Format), Audience: b.Audience, Requested: b.EventsRequested,
		Status: typed[events.Status](b.Status), Reason: b.Reason,
	}
	if b.Authorization != nil {
		settings.Authorization = new(secret.NewText(*b.Authorization))
	}
	return settings
}

// eventStreams registers what is done to streams of security events (RFC 9967).
func (o *operations) eventStreams() {
	h := o.handler
	about := operationsOf("/event-streams", "Event streams")
	inTenant(o, about("listEventStreams", http.MethodGet, "", "List event streams", "By name.", 0),
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*shownEventStreams, error) {
			all, err := h.Events.Streams(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			shown := &shownEventStreams{list[EventStreamBody]{Items: []EventStreamBody{}}}
			for i := range all {
				shown.Body.Items = append(shown.Body.Items, h.eventStreamBodyOf(t, &all[i]))
			}
			return shown, nil
		})
	inTenant(o, about("createEventStream", http.MethodPost, "", "Create an event stream",
		"It tells of changes from now on. The token of one of method poll is shown this once.", http.StatusCreated),
		func(ctx context.Context, t *directory.Tenant, in *newEventStream) (*madeEventStream, error) {
			return h.madeEventStream(t)(h.Events.Create(ctx, t.ID, events.Method(in.Body.Method), in.settings()))
		})
	inTenant(o, about("getEventStream", http.MethodGet, "/{stream}", "Get an event stream", "", 0),
		func(ctx context.Context, t *directory.Tenant, in *EventStreamAddress) (*shownEventStream, error) {
			stream, err := in.id()
			if err != nil {
				return nil, err
			}
			return h.shownEventStream(t)(h.Events.Stream(ctx, t.ID, stream))
		})
	inTenant(o, about("changeEventStream", http.MethodPatch, "/{stream}", "Change an event stream",
		"What is left out stays as it is. To enable a stream that was paused because of failures makes it go on at once.", 0),
		func(ctx context.Context, t *directory.Tenant, in *changedEventStream) (*shownEventStream, error) {
			stream, err := in.id()
			if err != nil {
				return nil, err
			}
			return h.shownEventStream(t)(h.Events.Change(ctx, t.ID, stream, in.settings()))
		})
	inTenant(o, about("rotateEventStream", http.MethodPost, "/{stream}/rotate", "Give an event stream another token",
		"Of method poll. The present token ends at once; the new one is shown this once.", 0),
		func(ctx context.Context, t *directory.Tenant, in *EventStreamAddress) (*madeEventStream, error) {
			stream, err := in.id()
			if err != nil {
				return nil, err
			}
			return h.madeEventStream(t)(h.Events.Rotate(ctx, t.ID, stream))
		})
	inTenant(o, about("deleteEventStream", http.MethodDelete, "/{stream}", "Delete an event stream", "With the events that wait.", http.StatusNoContent),
		func(ctx context.Context, t *directory.Tenant, in *EventStreamAddress) (*struct{}, error) {
			stream, err := in.id()
			if err != nil {
				return nil, err
			}
			return nil, h.Events.Delete(ctx, t.ID, stream)
		})
	inTenant(o, about("listDeadLetters", http.MethodGet, "/{stream}/dead-letters", "List events that the receiver did not accept", "The oldest first.", 0), h.listDeadLetters)
	inTenant(o, about("retryDeadLetters", http.MethodPost, "/{stream}/dead-letters/retry", "Deliver again what the receiver did not accept", "", 0),
		func(ctx context.Context, t *directory.Tenant, in *EventStreamAddress) (*retriedDeadLetters, error) {
			stream, err := in.id()
			if err != nil {
				return nil, err
			}
			retried := &retriedDeadLetters{}
			retried.Body.Retried, err = h.Events.RetryDeadLetters(ctx, t.ID, stream)
			return retried, err
		})
}

func (h *Handler) shownEventStream(t *directory.Tenant) func(s *events.Stream, err error) (*shownEventStream, error) {
	return func(s *events.Stream, err error) (*shownEventStream, error) {
		if err != nil {
			return nil, err
		}
		return &shownEventStream{h.eventStreamBodyOf(t, s)}, nil
	}
}

func (h *Handler) madeEventStream(t *directory.Tenant) func(s *events.Stream, token secret.Text, err error) (*madeEventStream, error) {
	return func(s *events.Stream, token secret.Text, err error) (*madeEventStream, error) {
		if err != nil {
			return nil, err
		}
		made := &madeEventStream{}
		made.Body.EventStreamBody, made.Body.Token = h.eventStreamBodyOf(t, s), token.Reveal()
		return made, nil
	}
}

func (h *Handler) listDeadLetters(ctx context.Context, t *directory.Tenant, in *deadLetterListing) (*shownDeadLetters, error) {
	stream, err := in.id()
	if err != nil {
		return nil, err
	}
	var after id.SecurityEvent
	if in.Cursor != "" {
		if after, err = id.Parse[id.SecurityEvent](in.Cursor); err != nil {
			return nil, errCursor()
		}
	}
	dead, err := h.Events.DeadLetters(ctx, t.ID, stream, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &shownDeadLetters{pageOf(dead, in.Limit, func(e *events.Event) string { return string(e.ID) }, deadLetterBodyOf)}, nil
}

func deadLetterBodyOf(e *events.Event) DeadLetterBody {
	return DeadLetterBody{ID: e.ID, Time: e.Time, Txn: e.Txn, Resource: e.Subject.URI, Events: e.URIs(), Reason: e.Reason, DeadAt: e.Dead}
}
