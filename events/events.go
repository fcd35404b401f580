package events

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/cache"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/scim/schema"
)

// Store is what events need of a database. All methods join the transaction that
// InTx put in ctx, if there is one. A read of one object fails with
// fault.NotFound where there is none in that tenant.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	AppendEvent(ctx context.Context, event audit.Event) error // of the audit trail
	LockTenant(ctx context.Context, tenant id.Tenant) error
	// TenantByName finds a tenant by its slug or its id.
	TenantByName(ctx context.Context, slugOrID string) (*directory.Tenant, error)
	StreamStore
	QueueStore
	SignalStore
}

// StreamStore keeps streams.
type StreamStore interface {
	// EventStreams are in the order of their names.
	EventStreams(ctx context.Context, tenant id.Tenant) ([]Stream, error)
	EventStream(ctx context.Context, tenant id.Tenant, stream id.EventStream) (*Stream, error)
	// EventStreamByToken takes the slug or the id of the tenant, in one statement:
	// whether that exists must not show in the time.
	EventStreamByToken(ctx context.Context, tenant string, token secret.Hash) (*Stream, error)
	// CreateEventStream fails with fault.Conflict on name.
	CreateEventStream(ctx context.Context, s *Stream) error
	// UpdateEventStream loads the stream under a lock, lets change modify it and
	// stores the result. It fails with fault.Conflict on name.
	UpdateEventStream(ctx context.Context, tenant id.Tenant, stream id.EventStream, change func(*Stream) error) (*Stream, error)
	SetEventStreamToken(ctx context.Context, tenant id.Tenant, stream id.EventStream, token secret.Hash) error
	// DeleteEventStream removes the stream with its events.
	DeleteEventStream(ctx context.Context, tenant id.Tenant, stream id.EventStream) error
	// ClaimPush returns a stream of whatever tenant that has events to be pushed,
	// the one that has waited longest for a turn, and gives it to the caller until
	// lease. It looks among the given ones, or all for nil. It fails with
	// fault.NotFound where there is none.
	ClaimPush(ctx context.Context, among []id.EventStream, now, lease time.Time) (*Stream, error)
	// ReleasePush ends a claim.
	ReleasePush(ctx context.Context, tenant id.Tenant, stream id.EventStream, lease, now time.Time) error
}

// QueueStore keeps the events of streams.
type QueueStore interface {
	// AddSecurityEvent does nothing where the stream is gone, or is disabled and
	// the event does not announce that.
	AddSecurityEvent(ctx context.Context, event *Event) error
	// WaitingEvents reports whether there are events to be delivered: of a stream
	// that is not enabled those that announce it. So it is with the next two.
	WaitingEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, now time.Time) (bool, error)
	// ClaimEvents returns the oldest events that no receiver has, at most limit,
	// and gives them to the caller's until lease.
	ClaimEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, now, lease time.Time, limit int) ([]Event, error)
	// NextEvents returns the oldest events, at most limit.
	NextEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, limit int) ([]Event, error)
	// FinishEvents removes events that were taken over, or are not to be kept.
	FinishEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, events []id.SecurityEvent) error
	// SetEventAside keeps an event from being delivered.
	SetEventAside(ctx context.Context, tenant id.Tenant, stream id.EventStream, event id.SecurityEvent, reason string, now time.Time) error
	// DeadEvents returns events that were set aside, the oldest first.
	DeadEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, after id.SecurityEvent, limit int) ([]Event, error)
	// RetryEvents makes events that were set aside wait again, in their old
	// place, and returns how many.
	RetryEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream) (int, error)
	// TrimEvents removes the events of before the time, and the oldest beyond the
	// number of most, from the streams of all tenants, and counts them there.
	TrimEvents(ctx context.Context, before time.Time, most int) error
}

// SignalStore finds whom to tell of what becomes of people.
type SignalStore interface {
	// HasSignalStreams reports whether any application has a stream of its own.
	HasSignalStreams(ctx context.Context) (bool, error)
	// SignalStreams returns the streams of applications that may be told, in whatever
	// tenants: those of applications that were granted something, and those of tenants
	// that know the person, in either case where it counts. Those that are disabled,
	// or have excluded the person, are not among them.
	SignalStreams(ctx context.Context, about Concerned) ([]Stream, error)
	// ExcludeSubject has a stream not tell of the user, or again. A user who does not
	// exist is passed over.
	ExcludeSubject(ctx context.Context, tenant id.Tenant, stream id.EventStream, user id.User, excluded bool) error
}

// Deps is what New needs. All fields are required.
type Deps struct {
	Store   Store
	Rights  *directory.Rights
	Schemas *schema.Registry
	Keyring *secret.Keyring
	Issuer  string // the instance's public URL
	Now     func() time.Time
}

// Events manages streams and fills them. Make one with New; it is safe for
// concurrent use.
type Events struct {
	store   Store
	rights  *directory.Rights
	schemas *schema.Registry
	keyring *secret.Keyring
	issuer  string
	now     func() time.Time

	streams   *cache.Recent[id.Tenant, []Stream] // that are not disabled
	receivers *cache.Recent[struct{}, bool]      // whether there is any application to tell
	waiting   atomic.Int64                       // polls that wait
}

var (
	_ directory.Follower      = (*Events)(nil)
	_ directory.AsyncFollower = (*Events)(nil)
)

// New returns Events.
func New(d Deps) (*Events, error) {
	streams, err := cache.NewRecent[id.Tenant, []Stream]()
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	receivers, err := cache.NewRecent[struct{}, bool]()
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return &Events{
		receivers: receivers,
		store:     d.Store, rights: d.Rights, schemas: d.Schemas, keyring: d.Keyring, issuer: d.Issuer, streams: streams,
		now: func() time.Time { return d.Now().UTC().Truncate(time.Microsecond) },
	}, nil
}

// open returns the streams of the tenant that are not disabled, and no application's.
func (e *Events) open(ctx context.Context, tenant id.Tenant) ([]Stream, error) {
	return e.streams.Get(tenant, func() ([]Stream, error) {
		all, err := e.store.EventStreams(ctx, tenant)
		return slices.DeleteFunc(all, func(s Stream) bool { return s.Status == Disabled || s.ClientID != "" }), err
	})
}

// Follows implements directory.Follower.
func (e *Events) Follows(ctx context.Context, tenant id.Tenant) (bool, error) {
	streams, err := e.open(ctx, tenant)
	return len(streams) > 0, err
}

// ResourceChanged implements directory.Follower.
func (e *Events) ResourceChanged(ctx context.Context, change *directory.ResourceChange) error {
	streams, err := e.open(ctx, change.Tenant)
	if err != nil {
		return err
	}
	txn := cmp.Or(directory.TxnFrom(ctx), string(id.New[id.SecurityEvent]()))
	for i := range streams {
		all, err := e.eventsOf(&streams[i], change)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			continue
		}
		if err := e.add(ctx, &streams[i], change.Time, txn, e.subjectOf(change), all); err != nil {
			return err
		}
	}
	return nil
}

// AsyncDone implements directory.AsyncFollower (RFC 9967 §2.5.1.3).
func (e *Events) AsyncDone(ctx context.Context, result *directory.AsyncResult) error {
	streams, err := e.open(ctx, result.Tenant)
	if err != nil || len(streams) == 0 {
		return err
	}
	subject, err := asyncSubject(result)
	if err != nil {
		return err
	}
	for i := range streams {
		if !streams[i].wants(kindAsync) {
			continue
		}
		all := map[string]json.RawMessage{prefix + kindAsync: result.Operation}
		if err := e.add(ctx, &streams[i], e.now(), result.Txn(), subject, all); err != nil {
			return err
		}
	}
	return nil
}

func (e *Events) add(ctx context.Context, s *Stream, at time.Time, txn string, subject Subject, all map[string]json.RawMessage) error {
	_, announces := all[eventStreamUpdated]
	return e.store.AddSecurityEvent(ctx, &Event{
		Tenant: s.Tenant, Stream: s.ID, ID: id.New[id.SecurityEvent](), Time: at, Txn: txn, Subject: subject, Events: all, Announces: announces,
	})
}
