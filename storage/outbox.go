package storage

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
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

// ClaimDeliveries implements outbox.Store.
func (s *Store) ClaimDeliveries(ctx context.Context, now, lease time.Time, claim outbox.Claim) ([]outbox.Delivery, error) {
	// Of a table that has grown since it was last looked at PostgreSQL thinks that it
	// is empty, and would read it whole; an array it looks up.
	in, end, skip := "= ANY(ARRAY(", "))", " FOR UPDATE SKIP LOCKED"
	if s.sqlite {
		in, end, skip = "IN (", ")", ""
	}
	const due = "done_at IS NULL AND dead_at IS NULL AND due_at <= ?"
	among, asked, most, room := roomOf(claim)
	values := slices.Concat([]any{at(lease), at(now)}, asked, []any{lookAhead}, room, []any{at(now), claim.Most})
	var rows []deliveryRow
	err := s.conn(ctx).Raw(`/* across tenants: one queue for the instance */ UPDATE outbox SET attempts = attempts + 1, due_at = ? WHERE id `+in+`
		SELECT id FROM outbox WHERE id `+in+`
			SELECT id FROM (
				SELECT id, destination, row_number() OVER (PARTITION BY destination ORDER BY due_at, id) AS place FROM (
					SELECT id, destination, due_at FROM outbox WHERE `+due+among+` ORDER BY due_at LIMIT ?) AS first
			) AS placed WHERE place <= `+most+end+`
		AND `+due+` ORDER BY due_at LIMIT ?`+skip+end+`
		RETURNING id, tenant_id, kind, destination, payload, attempts, due_at, created_at`, values...).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	claimed := make([]outbox.Delivery, 0, len(rows))
	for _, row := range rows {
		claimed = append(claimed, row.delivery())
	}
	return claimed, nil
}

// roomOf returns what claim says of destinations: which ones to look at, and how
// many deliveries of each to take, with the values for both.
func roomOf(claim outbox.Claim) (among string, asked []any, most string, room []any) {
	var with, without []string
	for _, destination := range slices.Sorted(maps.Keys(claim.Room)) {
		if claim.Room[destination] > 0 {
			with = append(with, destination)
		} else {
			without = append(without, destination)
		}
	}
	switch {
	case claim.Each == 0:
		among, asked = " AND destination IN ?", []any{with}
	case len(without) > 0:
		among, asked = " AND destination NOT IN ?", []any{without}
	}
	if len(with) == 0 {
		return among, asked, "?", []any{claim.Each}
	}
	for _, destination := range with {
		most += " WHEN ? THEN CAST(? AS bigint)"
		room = append(room, destination, claim.Room[destination])
	}
	return among, asked, "CASE destination" + most + " ELSE ? END", append(room, claim.Each)
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
