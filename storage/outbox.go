package storage

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
)

var _ outbox.Store = (*Store)(nil)

// deliveryRow is a row of the table outbox.
type deliveryRow struct {
	ID          string `gorm:"primaryKey"`
	TenantID    string
	Kind        string
	Destination string
	Payload     string
	Attempts    int
	DueAt       time.Time
	LastError   string
	CreatedAt   time.Time `gorm:"autoCreateTime:false"`
	DoneAt      *time.Time
	DeadAt      *time.Time
}

// TableName implements gorm's Tabler.
func (deliveryRow) TableName() string { return "outbox" }

func (r deliveryRow) delivery() outbox.Delivery {
	return outbox.Delivery{
		ID: id.Delivery(r.ID), Tenant: id.Tenant(r.TenantID), Kind: outbox.Kind(r.Kind), Destination: r.Destination, Payload: json.RawMessage(r.Payload),
		Attempts: r.Attempts, Due: r.DueAt.UTC(), Created: r.CreatedAt.UTC(),
	}
}

// AppendDelivery implements oidc.Store. The delivery's Tenant is empty for those
// of the instance.
func (s *Store) AppendDelivery(ctx context.Context, d outbox.Delivery) error {
	return classify(s.conn(ctx).Create(&deliveryRow{
		ID: string(d.ID), TenantID: string(d.Tenant), Kind: string(d.Kind), Destination: d.To(), Payload: string(d.Payload),
		Attempts: d.Attempts, DueAt: at(d.Due), CreatedAt: at(d.Created),
	}).Error, "")
}

// lookAhead is how many deliveries that are due a claim chooses from.
const lookAhead = 200

// claimDeliveries takes over deliveries. Its text is the same whatever is claimed, so
// that it is prepared once: what there is room for comes as one value, an object of
// destinations. On PostgreSQL that is looked into for each delivery, because for a
// join it reads all deliveries, or the whole list for each one, where it takes these
// for few. Of a table that has grown since it was last looked at it thinks that it is
// empty, and would read it whole; an array it looks up, and by key where the index on
// what is due does not fit the condition.
const claimDeliveries = `/* across tenants: one queue for the instance */ {rooms}UPDATE outbox SET attempts = attempts + 1, due_at = ? WHERE id {in}
	SELECT id FROM outbox WHERE id {in}
		SELECT id FROM (
			SELECT id, room, row_number() OVER (PARTITION BY destination ORDER BY due_at, id) AS place FROM (
				SELECT id, destination, due_at, room FROM (
					SELECT id, destination, due_at, coalesce({room}, ?) AS room FROM outbox
					WHERE done_at IS NULL AND dead_at IS NULL AND due_at <= ?) AS waiting
				WHERE room > 0 ORDER BY due_at LIMIT ?) AS first
		) AS placed WHERE place <= room{end}
	AND coalesce(done_at, dead_at) IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?{skip}{end}
	RETURNING id, tenant_id, kind, destination, payload, attempts, due_at, created_at`

// ClaimDeliveries implements outbox.Store.
func (s *Store) ClaimDeliveries(ctx context.Context, now, lease time.Time, claim outbox.Claim) ([]outbox.Delivery, error) {
	room, err := encode(claim.Room)
	if err != nil {
		return nil, err
	}
	values := []any{at(lease), room, claim.Each, at(now), lookAhead, at(now), claim.Most}
	parts := []string{
		"{rooms}", "", "{room}", "CAST((SELECT CAST(? AS jsonb)) ->> destination AS bigint)", "{in}", "= ANY(ARRAY(", "{end}", "))", "{skip}", " FOR UPDATE SKIP LOCKED",
	}
	if s.sqlite {
		values[0], values[1] = values[1], values[0]
		parts = []string{
			"{rooms}", "WITH rooms(destination, room) AS MATERIALIZED (SELECT key, value FROM json_each(?)) ",
			"{room}", "(SELECT rooms.room FROM rooms WHERE rooms.destination = outbox.destination)", "{in}", "IN (", "{end}", ")", "{skip}", "",
		}
	}
	var rows []deliveryRow
	if err := s.conn(ctx).Raw(strings.NewReplacer(parts...).Replace(claimDeliveries), values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	claimed := make([]outbox.Delivery, 0, len(rows))
	for _, row := range rows {
		claimed = append(claimed, row.delivery())
	}
	return claimed, nil
}

// FinishDelivery implements outbox.Store.
func (s *Store) FinishDelivery(ctx context.Context, d outbox.Delivery, now time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE outbox SET done_at = ?, dead_at = NULL, last_error = '' WHERE id = ? AND tenant_id = ?", at(now), d.ID, d.Tenant).Error, "")
}

// FailDelivery implements outbox.Store. Who claimed the delivery since has the
// say about what becomes of it.
func (s *Store) FailDelivery(ctx context.Context, d outbox.Delivery, reason string, now, due time.Time) error {
	set, when := "due_at", due
	if due.IsZero() {
		set, when = "dead_at", now
	}
	return classify(s.conn(ctx).Exec("UPDATE outbox SET "+set+" = ?, last_error = ? WHERE id = ? AND tenant_id = ? AND attempts = ? AND done_at IS NULL",
		at(when), reason, d.ID, d.Tenant, d.Attempts).Error, "")
}

// states are conditions by which a row of the outbox is in a state.
func states() map[outbox.State]string {
	return map[outbox.State]string{
		outbox.Pending: "done_at IS NULL AND dead_at IS NULL", outbox.Delivered: "done_at IS NOT NULL", outbox.Failed: "dead_at IS NOT NULL",
	}
}

// Deliveries implements oidc.Store.
func (s *Store) Deliveries(ctx context.Context, tenant id.Tenant, kind outbox.Kind, state outbox.State, before id.Delivery, limit int) ([]outbox.Record, error) {
	query, values := "SELECT * FROM outbox WHERE tenant_id = ? AND kind = ?", []any{tenant, string(kind)}
	if condition := states()[state]; condition != "" {
		query += " AND " + condition
	}
	if before != "" {
		query, values = query+" AND id < ?", append(values, before)
	}
	var rows []deliveryRow
	if err := s.conn(ctx).Raw(query+" ORDER BY id DESC LIMIT ?", append(values, limit)...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	records := make([]outbox.Record, 0, len(rows))
	for _, row := range rows {
		r := outbox.Record{State: outbox.Pending, Reason: row.LastError, Delivery: row.delivery()}
		switch {
		case row.DoneAt != nil:
			r.State, r.Ended = outbox.Delivered, row.DoneAt.UTC()
		case row.DeadAt != nil:
			r.State, r.Ended = outbox.Failed, row.DeadAt.UTC()
		}
		records = append(records, r)
	}
	return records, nil
}

// RetryDelivery implements oidc.Store.
func (s *Store) RetryDelivery(ctx context.Context, tenant id.Tenant, kind outbox.Kind, delivery id.Delivery, now time.Time) error {
	result := s.conn(ctx).Exec("UPDATE outbox SET dead_at = NULL, attempts = 0, due_at = ? WHERE tenant_id = ? AND kind = ? AND id = ? AND done_at IS NULL",
		at(now), tenant, string(kind), delivery)
	return oneRow(result.RowsAffected, result.Error)
}

// DeleteDeliveries removes the deliveries that were done, or set aside, before a
// time.
func (s *Store) DeleteDeliveries(ctx context.Context, before time.Time) error {
	return classify(s.conn(ctx).Exec("/* across tenants: one queue for the instance */ DELETE FROM outbox WHERE done_at < ? OR dead_at < ?", at(before), at(before)).Error, "")
}
