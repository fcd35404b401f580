package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/outbox/outboxtest"
	"github.com/rolecall/rolecall/storage"
)

func TestWorkerTriesUntilItSucceedsOrSetsAside(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		c := outboxtest.NewClock(s, func() time.Time { return noon })
		good, bad := id.New[id.Delivery](), id.New[id.Delivery]()
		for _, delivery := range []id.Delivery{good, bad} {
			err := s.AppendDelivery(t.Context(), outbox.Delivery{ID: delivery, Kind: outbox.BackchannelLogout, Payload: json.RawMessage(`{}`), Due: noon, Created: noon})
			if err != nil {
				t.Fatal(err)
			}
		}
		attempts := make(chan id.Delivery, 100)
		goodFailures := 2
		handle := func(_ context.Context, d outbox.Delivery) error {
			attempts <- d.ID
			if d.ID == bad || d.Attempts <= goodFailures {
				return errors.New("the application does not answer")
			}
			return nil
		}
		w := &outbox.Worker{
			Store: c, Handlers: map[outbox.Kind]outbox.Handler{outbox.BackchannelLogout: handle},
			Now: c.Now, Logger: slog.New(slog.DiscardHandler), Poll: 5 * time.Millisecond,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		counts := map[id.Delivery]int{}
		for counts[good] < goodFailures+1 || counts[bad] < outbox.MaxAttempts {
			select {
			case tried := <-attempts:
				counts[tried]++
			case <-time.After(20 * time.Millisecond):
				c.Move(time.Hour + time.Second) // beyond any back-off
			}
		}
		c.Move(100 * time.Hour)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		left, err := s.ClaimDeliveries(t.Context(), c.Now(), c.Now(), 10)
		if err != nil || len(left) != 0 {
			t.Errorf("left %+v, %v: one is done, one set aside", left, err)
		}
		if counts[good] != goodFailures+1 || counts[bad] != outbox.MaxAttempts {
			t.Errorf("attempts %v, want %d and %d", counts, goodFailures+1, outbox.MaxAttempts)
		}
	})
}

func TestBackoffGrowsToAnHour(t *testing.T) {
	last := time.Duration(0)
	for attempt := range 40 {
		d := outbox.Backoff(attempt)
		if d < last || d > time.Hour {
			t.Errorf("after %d attempts %v, before %v", attempt, d, last)
		}
		last = d
	}
	if last != time.Hour || outbox.Backoff(1) != 2*time.Second {
		t.Errorf("from %v to %v", outbox.Backoff(1), last)
	}
}
