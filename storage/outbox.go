package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
)

var _ outbox.Store = (*Store)(nil)

// deliveryRow is a row of the table outbox.
type deliveryRow struct {
	ID        string `gorm:"primaryKey"`
	TenantID  string
	Kind      string
	Payload   string
	Attempts  int
	DueAt     time.Time
	LastError string
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	DoneAt    *time.Time
	DeadAt    *time.Time
}

// TableName implements gorm's Tabler.
func (deliveryRow) TableName() string { return "outbox" }

// AppendDelivery implements oidc.Store. The delivery's Tenant is empty for those
// of the instance.
func (s *Store) AppendDelivery(ctx context.Context, d outbox.Delivery) error {
	return classify(s.conn(ctx).Create(&deliveryRow{
		ID: string(d.ID), TenantID: string(d.Tenant), Kind: string(d.Kind), Payload: string(d.Payload),
		Attempts: d.Attempts, DueAt: at(d.Due), CreatedAt: at(d.Created),
	}).Error, "")
}

// ClaimDeliveries implements outbox.Store.
func (s *Store) ClaimDeliveries(ctx context.Context, now, lease time.Time, limit int) ([]outbox.Delivery, error) {
	skip := " FOR UPDATE SKIP LOCKED"
	if s.sqlite {
		skip = ""
	}
	var rows []deliveryRow
	err := s.conn(ctx).Raw(`/* across tenants: one queue for the instance */ UPDATE outbox SET attempts = attempts + 1, due_at = ? WHERE id IN (
		SELECT id FROM outbox WHERE done_at IS NULL AND dead_at IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?`+skip+`)
		RETURNING id, tenant_id, kind, payload, attempts, due_at, created_at`, at(lease), at(now), limit).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	claimed := make([]outbox.Delivery, 0, len(rows))
	for _, row := range rows {
		claimed = append(claimed, outbox.Delivery{
			ID: id.Delivery(row.ID), Tenant: id.Tenant(row.TenantID), Kind: outbox.Kind(row.Kind), Payload: json.RawMessage(row.Payload),
			Attempts: row.Attempts, Due: row.DueAt.UTC(), Created: row.CreatedAt.UTC(),
		})
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
		r := outbox.Record{State: outbox.Pending, Reason: row.LastError, Delivery: outbox.Delivery{
			ID: id.Delivery(row.ID), Tenant: id.Tenant(row.TenantID), Kind: outbox.Kind(row.Kind), Payload: json.RawMessage(row.Payload),
			Attempts: row.Attempts, Due: row.DueAt.UTC(), Created: row.CreatedAt.UTC(),
		}}
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
