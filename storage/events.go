package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
)

// eventRow is a row of the table events.
type eventRow struct {
	TenantID   string
	ID         string
	At         time.Time
	ActorKind  string
	ActorID    string
	Action     string
	TargetKind string
	TargetID   string
	Data       string
	RequestID  string
}

// TableName implements gorm's Tabler.
func (eventRow) TableName() string { return "events" }

// AppendEvent implements directory.Store, authn.Store and oidc.Store. The
// event's Tenant is empty for events of the instance.
func (s *Store) AppendEvent(ctx context.Context, e audit.Event) error {
	data := "{}"
	if len(e.Data) > 0 {
		var err error
		if data, err = encode(e.Data); err != nil {
			return err
		}
	}
	return classify(s.conn(ctx).Create(&eventRow{
		TenantID: string(e.Tenant), ID: string(e.ID), At: at(e.At),
		ActorKind: string(e.Actor.Kind), ActorID: e.Actor.ID, Action: e.Action,
		TargetKind: e.TargetKind, TargetID: e.TargetID, Data: data, RequestID: e.Request,
	}).Error, "")
}
