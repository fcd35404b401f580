package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

var _ events.Store = (*Store)(nil)

// eventStreamRow is a row of the table event_streams, but for the hash of the
// token. audience and requested are JSON.
type eventStreamRow struct {
	TenantID         string
	ID               string
	Name             string
	ClientID         *string
	Description      string
	Method           string
	Endpoint         string
	AuthorizationBox []byte
	Format           string
	Audience         string
	Requested        string
	Status           string
	Reason           string
	Failures         int
	LastError        string
	DueAt            time.Time
	ClaimedUntil     time.Time
	VerifiedAt       *time.Time
	Dropped          int64
	CreatedAt        time.Time
	ModifiedAt       time.Time
}

const eventStreamColumns = `tenant_id, id, name, client_id, description, method, endpoint, authorization_box, format, audience, requested, status, reason, failures, last_error,
	due_at, claimed_until, verified_at, dropped, created_at, modified_at`

func (r *eventStreamRow) stream() (*events.Stream, error) {
	s := &events.Stream{
		Tenant: id.Tenant(r.TenantID), ID: id.EventStream(r.ID), Name: r.Name, ClientID: orEmpty(r.ClientID), Description: r.Description, Method: events.Method(r.Method), Endpoint: r.Endpoint,
		Authorization: r.AuthorizationBox, Format: events.Format(r.Format), Status: events.Status(r.Status), Reason: r.Reason,
		Failures: r.Failures, LastError: r.LastError, Due: r.DueAt.UTC(), Claimed: r.ClaimedUntil.UTC(), Verified: orZeroTime(r.VerifiedAt), Dropped: r.Dropped,
		Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	if err := decode(r.Audience, &s.Audience); err != nil {
		return nil, err
	}
	return s, decode(r.Requested, &s.Requested)
}

// eventStream returns the one stream of a query.
func (s *Store) eventStream(ctx context.Context, query string, values ...any) (*events.Stream, error) {
	var rows []eventStreamRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].stream()
}

// EventStreams implements events.StreamStore.
func (s *Store) EventStreams(ctx context.Context, tenant id.Tenant) ([]events.Stream, error) {
	var rows []eventStreamRow
	err := s.conn(ctx).Raw("SELECT "+eventStreamColumns+" FROM event_streams WHERE tenant_id = ? ORDER BY name", tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	all := make([]events.Stream, 0, len(rows))
	for i := range rows {
		stream, err := rows[i].stream()
		if err != nil {
			return nil, err
		}
		all = append(all, *stream)
	}
	return all, nil
}

// EventStream implements events.StreamStore.
func (s *Store) EventStream(ctx context.Context, tenant id.Tenant, stream id.EventStream) (*events.Stream, error) {
	return s.eventStream(ctx, "SELECT "+eventStreamColumns+" FROM event_streams WHERE tenant_id = ? AND id = ?", tenant, stream)
}

// EventStreamByToken implements events.StreamStore.
func (s *Store) EventStreamByToken(ctx context.Context, tenant string, token secret.Hash) (*events.Stream, error) {
	return s.eventStream(ctx, "SELECT "+eventStreamColumns+" FROM event_streams WHERE token_hash = ? AND tenant_id = (SELECT id FROM tenants WHERE slug = ? OR id = ?)", token[:], tenant, tenant)
}

// eventStreamValues are what an insert and an update of a stream store.
func eventStreamValues(stream *events.Stream) ([]any, error) {
	audience, err := encode(append([]string{}, stream.Audience...))
	if err != nil {
		return nil, err
	}
	requested, err := encode(append([]string{}, stream.Requested...))
	return []any{
		stream.Name, string(stream.Method), stream.Endpoint, stream.Authorization, string(stream.Format), audience, requested, string(stream.Status),
		stream.Reason, stream.Failures, stream.LastError, at(stream.Due), at(stream.Modified), stream.Description, atOrNull(stream.Verified),
	}, err
}

// CreateEventStream implements events.StreamStore.
func (s *Store) CreateEventStream(ctx context.Context, stream *events.Stream) error {
	values, err := eventStreamValues(stream)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO event_streams (name, method, endpoint, authorization_box, format, audience, requested, status,
		reason, failures, last_error, due_at, modified_at, description, verified_at, tenant_id, id, claimed_until, dropped, created_at, client_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(values, stream.Tenant, stream.ID, at(stream.Claimed), stream.Dropped, at(stream.Created), orNull(stream.ClientID))...).Error, "name")
}

// UpdateEventStream implements events.StreamStore.
func (s *Store) UpdateEventStream(ctx context.Context, tenant id.Tenant, stream id.EventStream, change func(*events.Stream) error) (*events.Stream, error) {
	var changed *events.Stream
	err := s.InTx(ctx, func(ctx context.Context) error {
		var locked []string
		if err := s.locked(ctx).Table("event_streams").Where("tenant_id = ? AND id = ?", tenant, stream).Pluck("id", &locked).Error; err != nil {
			return classify(err, "")
		}
		var err error
		if changed, err = s.EventStream(ctx, tenant, stream); err != nil {
			return err
		}
		if err := change(changed); err != nil {
			return err
		}
		values, err := eventStreamValues(changed)
		if err != nil {
			return err
		}
		return classify(s.conn(ctx).Exec(`UPDATE event_streams SET name = ?, method = ?, endpoint = ?, authorization_box = ?, format = ?, audience = ?,
			requested = ?, status = ?, reason = ?, failures = ?, last_error = ?, due_at = ?, modified_at = ?, description = ?, verified_at = ? WHERE tenant_id = ? AND id = ?`,
			append(values, tenant, stream)...).Error, "name")
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// SetEventStreamToken implements events.StreamStore.
func (s *Store) SetEventStreamToken(ctx context.Context, tenant id.Tenant, stream id.EventStream, token secret.Hash) error {
	return classify(s.conn(ctx).Exec("UPDATE event_streams SET token_hash = ? WHERE tenant_id = ? AND id = ?", token[:], tenant, stream).Error, "token")
}

// DeleteEventStream implements events.StreamStore.
func (s *Store) DeleteEventStream(ctx context.Context, tenant id.Tenant, stream id.EventStream) error {
	return classify(s.conn(ctx).Exec("DELETE FROM event_streams WHERE tenant_id = ? AND id = ?", tenant, stream).Error, "")
}

// ClaimPush implements events.StreamStore. Streams that are not enabled are looked
// for by what is to be told of that.
func (s *Store) ClaimPush(ctx context.Context, among []id.EventStream, now, lease time.Time) (*events.Stream, error) {
	stream, err := s.claimPush(ctx, "s.status = 'enabled'", "", among, now, lease)
	if errors.Is(err, fault.NotFound) {
		return s.claimPush(ctx, "(s.tenant_id, s.id) IN (SELECT tenant_id, stream_id FROM event_queue WHERE announces AND dead_at IS NULL)", " AND q.announces", among, now, lease)
	}
	return stream, err
}

func (s *Store) claimPush(ctx context.Context, condition, waiting string, among []id.EventStream, now, lease time.Time) (*events.Stream, error) {
	skip := " FOR UPDATE SKIP LOCKED"
	if s.sqlite {
		skip = ""
	}
	which, values := "", []any{at(lease), at(now), at(now)}
	if among != nil {
		which, values = " AND s.id IN ?", append(values, among)
	}
	return s.eventStream(ctx, `/* across tenants: the instance pushes for all */ UPDATE event_streams SET claimed_until = ? WHERE (tenant_id, id) IN (
		SELECT s.tenant_id, s.id FROM event_streams s
			WHERE s.method = 'push' AND `+condition+` AND s.due_at <= ? AND s.claimed_until <= ?`+which+`
			AND EXISTS (SELECT 1 FROM event_queue q WHERE q.tenant_id = s.tenant_id AND q.stream_id = s.id AND q.dead_at IS NULL`+waiting+`)
			ORDER BY s.claimed_until LIMIT 1`+skip+`)
		RETURNING `+eventStreamColumns, values...)
}

// ReleasePush implements events.StreamStore.
func (s *Store) ReleasePush(ctx context.Context, tenant id.Tenant, stream id.EventStream, lease, now time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE event_streams SET claimed_until = ? WHERE tenant_id = ? AND id = ? AND claimed_until = ?",
		at(now), tenant, stream, at(lease)).Error, "")
}

// eventQueueRow is a row of the table event_queue.
type eventQueueRow struct {
	Seq      int64
	TenantID string
	StreamID string
	ID       string
	At       time.Time
	Txn      string
	Payload  string
	DeadAt   *time.Time
	Reason   string
}

// eventPayload is the JSON in the column payload.
type eventPayload struct {
	Subject events.Subject             `json:"sub_id"`
	Events  map[string]json.RawMessage `json:"events"`
}

const eventQueueColumns = "seq, tenant_id, stream_id, id, at, txn, payload, dead_at, reason"

func eventsOf(rows []eventQueueRow) ([]events.Event, error) {
	all := make([]events.Event, 0, len(rows))
	for _, row := range rows {
		var payload eventPayload
		if err := decode(row.Payload, &payload); err != nil {
			return nil, err
		}
		all = append(all, events.Event{
			Tenant: id.Tenant(row.TenantID), Stream: id.EventStream(row.StreamID), ID: id.SecurityEvent(row.ID), Time: row.At.UTC(), Txn: row.Txn,
			Subject: payload.Subject, Events: payload.Events, Dead: orZeroTime(row.DeadAt), Reason: row.Reason,
		})
	}
	return all, nil
}

// AddSecurityEvent implements events.QueueStore.
func (s *Store) AddSecurityEvent(ctx context.Context, event *events.Event) error {
	payload, err := encode(eventPayload{event.Subject, event.Events})
	if err != nil {
		return err
	}
	moment := "CAST(? AS timestamptz)" // PostgreSQL takes a parameter in a list of columns for text
	if s.sqlite {
		moment = "?"
	}
	unless := " AND status <> 'disabled'"
	if event.Announces {
		unless = ""
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO event_queue (tenant_id, stream_id, id, txn, payload, at, due_at, announces)
		SELECT tenant_id, id, ?, ?, ?, `+moment+`, `+moment+`, CAST(? AS boolean) FROM event_streams WHERE tenant_id = ? AND id = ?`+unless,
		string(event.ID), event.Txn, payload, at(event.Time), at(event.Time), event.Announces, event.Tenant, event.Stream).Error, "event")
}

// deliverable is the condition of events that may be delivered now.
const deliverable = `dead_at IS NULL AND (announces OR EXISTS (SELECT 1 FROM event_streams s WHERE s.tenant_id = ? AND s.id = ? AND s.status = 'enabled'))`

// WaitingEvents implements events.QueueStore.
func (s *Store) WaitingEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, now time.Time) (bool, error) {
	var found []int64
	err := s.conn(ctx).Raw("SELECT seq FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND "+deliverable+" AND due_at <= ? ORDER BY seq LIMIT 1",
		tenant, stream, tenant, stream, at(now)).Scan(&found).Error
	return len(found) > 0, classify(err, "")
}

// ClaimEvents implements events.QueueStore.
func (s *Store) ClaimEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, now, lease time.Time, limit int) ([]events.Event, error) {
	skip := " FOR UPDATE SKIP LOCKED"
	if s.sqlite {
		skip = ""
	}
	var rows []eventQueueRow
	err := s.InTx(ctx, func(ctx context.Context) error {
		return s.conn(ctx).Raw(`UPDATE event_queue SET due_at = ? WHERE tenant_id = ? AND seq IN (
			SELECT seq FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND `+deliverable+` AND due_at <= ? ORDER BY seq LIMIT ?`+skip+`)
			RETURNING `+eventQueueColumns, at(lease), tenant, tenant, stream, tenant, stream, at(now), limit).Scan(&rows).Error
	})
	if err != nil {
		return nil, classify(err, "")
	}
	slices.SortFunc(rows, func(a, b eventQueueRow) int { return int(a.Seq - b.Seq) })
	return eventsOf(rows)
}

// NextEvents implements events.QueueStore.
func (s *Store) NextEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, limit int) ([]events.Event, error) {
	var rows []eventQueueRow
	err := s.conn(ctx).Raw("SELECT "+eventQueueColumns+" FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND "+deliverable+" ORDER BY seq LIMIT ?",
		tenant, stream, tenant, stream, limit).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	return eventsOf(rows)
}

// FinishEvents implements events.QueueStore.
func (s *Store) FinishEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, finished []id.SecurityEvent) error {
	for some := range slices.Chunk(finished, 500) {
		err := s.conn(ctx).Exec("DELETE FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND id IN ?", tenant, stream, some).Error
		if err != nil {
			return classify(err, "")
		}
	}
	return nil
}

// SetEventAside implements events.QueueStore.
func (s *Store) SetEventAside(ctx context.Context, tenant id.Tenant, stream id.EventStream, event id.SecurityEvent, reason string, now time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE event_queue SET dead_at = ?, reason = ? WHERE tenant_id = ? AND stream_id = ? AND id = ? AND dead_at IS NULL",
		at(now), reason, tenant, stream, event).Error, "")
}

// DeadEvents implements events.QueueStore.
func (s *Store) DeadEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream, after id.SecurityEvent, limit int) ([]events.Event, error) {
	var rows []eventQueueRow
	err := s.conn(ctx).Raw("SELECT "+eventQueueColumns+` FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND dead_at IS NOT NULL
		AND seq > COALESCE((SELECT seq FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND id = ?), 0) ORDER BY seq LIMIT ?`,
		tenant, stream, tenant, stream, after, limit).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	return eventsOf(rows)
}

// RetryEvents implements events.QueueStore.
func (s *Store) RetryEvents(ctx context.Context, tenant id.Tenant, stream id.EventStream) (int, error) {
	result := s.conn(ctx).Exec("UPDATE event_queue SET dead_at = NULL, reason = '', due_at = at WHERE tenant_id = ? AND stream_id = ? AND dead_at IS NOT NULL",
		tenant, stream)
	return int(result.RowsAffected), classify(result.Error, "")
}

// TrimEvents implements events.QueueStore.
func (s *Store) TrimEvents(ctx context.Context, before time.Time, most int) error {
	var streams []struct{ TenantID, ID string }
	err := s.conn(ctx).Raw("/* across tenants: maintenance of the instance */ SELECT tenant_id, id FROM event_streams").Scan(&streams).Error
	if err != nil {
		return classify(err, "")
	}
	for _, stream := range streams {
		err := s.InTx(ctx, func(ctx context.Context) error {
			removed := s.conn(ctx).Exec(`DELETE FROM event_queue WHERE tenant_id = ? AND stream_id = ? AND (at < ?
				OR seq <= COALESCE((SELECT seq FROM event_queue WHERE tenant_id = ? AND stream_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?), 0))`,
				stream.TenantID, stream.ID, at(before), stream.TenantID, stream.ID, most)
			if removed.Error != nil || removed.RowsAffected == 0 {
				return removed.Error
			}
			return s.conn(ctx).Exec("UPDATE event_streams SET dropped = dropped + ? WHERE tenant_id = ? AND id = ?",
				removed.RowsAffected, stream.TenantID, stream.ID).Error
		})
		if err != nil {
			return fmt.Errorf("trim the events of stream %s: %w", stream.ID, classify(err, ""))
		}
	}
	return nil
}
