package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/outbox"
)

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
