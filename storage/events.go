package storage

import (
	"context"

	"github.com/rolecall/rolecall/internal/audit"
)

// AppendEvent implements directory.Store, authn.Store and oidc.Store. The
// event's Tenant is empty for events of the instance.
func (s *Store) AppendEvent(ctx context.Context, e audit.Event) error {
	values, err := eventValues(e)
	if err != nil {
		return err
	}
	if s.follower == nil || !s.follower.Concerns(e.Action) {
		return classify(s.later(ctx, insertEvent, values...), "")
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.later(ctx, insertEvent, values...); err != nil {
			return classify(err, "")
		}
		return s.follower.Appended(ctx, &e)
	})
}

// Follow has the follower told of what AppendEvent writes from now on. It is called
// once, before the store is used.
func (s *Store) Follow(follower audit.Follower) { s.follower = follower }

// insertEvent stores eventValues.
const insertEvent = `INSERT INTO events (tenant_id, id, at, actor_kind, actor_id, action, target_kind, target_id, data, request_id)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func eventValues(e audit.Event) ([]any, error) {
	data := "{}"
	if len(e.Data) > 0 {
		var err error
		if data, err = encode(e.Data); err != nil {
			return nil, err
		}
	}
	return []any{e.Tenant, e.ID, at(e.At), e.Actor.Kind, e.Actor.ID, e.Action, e.TargetKind, e.TargetID, data, e.Request}, nil
}
