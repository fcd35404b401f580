package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
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

const eventColumns = `tenant_id, id, at, actor_kind, actor_id, action, target_kind, target_id, data, request_id`

func (r *eventRow) event() (audit.Event, error) {
	e := audit.Event{
		Tenant: id.Tenant(r.TenantID), ID: id.Event(r.ID), At: r.At.UTC(), Actor: audit.Actor{Kind: audit.ActorKind(r.ActorKind), ID: r.ActorID},
		Action: r.Action, TargetKind: r.TargetKind, TargetID: r.TargetID, Request: r.RequestID,
	}
	return e, decode(r.Data, &e.Data)
}

// EventsOfPerson implements authn.ActivityStore. Each half reads its own index
// backwards and no further than it has to.
func (s *Store) EventsOfPerson(ctx context.Context, user id.User, actions []string, before id.Event, limit int) ([]audit.Event, error) {
	if before == "" {
		before = "g" // after every identifier
	}
	var rows []eventRow
	err := s.conn(ctx).Raw(`/* across tenants: a person's own doings, wherever they were */
		SELECT `+eventColumns+` FROM (SELECT `+eventColumns+` FROM events
			WHERE actor_kind = 'user' AND actor_id = ? AND action IN ? AND id < ? ORDER BY id DESC LIMIT ?) AS done
		UNION
		SELECT `+eventColumns+` FROM (SELECT `+eventColumns+` FROM events
			WHERE target_kind = 'user' AND target_id = ? AND action IN ? AND id < ? ORDER BY id DESC LIMIT ?) AS suffered
		ORDER BY id DESC LIMIT ?`, user, actions, before, limit, user, actions, before, limit, limit).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	events := make([]audit.Event, 0, len(rows))
	for i := range rows {
		e, err := rows[i].event()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
