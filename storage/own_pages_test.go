package storage_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

func TestEventsOfPerson(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		ctx, at := t.Context(), time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		var want []id.Event
		write := func(mine bool, kind audit.ActorKind, actor, action, targetKind, target string) {
			t.Helper()
			e := audit.Event{ID: id.New[id.Event](), At: at, Actor: audit.Actor{Kind: kind, ID: actor}, Action: action, TargetKind: targetKind, TargetID: target, Data: map[string]any{"name": "x"}}
			if err := store.AppendEvent(ctx, e); err != nil {
				t.Fatal(err)
			}
			if mine {
				want = append([]id.Event{e.ID}, want...)
			}
		}
		write(true, audit.ActorUser, "ann", "session.start", "session", "s1")
		write(true, audit.ActorUser, "ann", "password.change", "user", "ann") // both ways, and told of once
		write(true, audit.ActorOperator, "", "password.change", "user", "ann")
		write(false, audit.ActorOperator, "ann", "session.start", "session", "s2") // no person of that name
		write(false, audit.ActorUser, "bob", "password.change", "user", "bob")
		write(false, audit.ActorUser, "bob", "password.change", "group", "ann")
		write(false, audit.ActorUser, "ann", "group.create", "group", "g")
		write(true, audit.ActorUser, "ann", "session.start", "session", "s3")
		var got []id.Event
		for before := id.Event(""); ; {
			events, err := store.EventsOfPerson(ctx, "ann", []string{"session.start", "password.change"}, before, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if got = append(got, e.ID); !e.At.Equal(at) || e.Data["name"] != "x" {
					t.Errorf("got %+v", e)
				}
			}
			if len(events) < 2 {
				break
			}
			before = events[1].ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
