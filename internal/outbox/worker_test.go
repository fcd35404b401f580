package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/outbox/outboxtest"
	"github.com/rolecall/rolecall/storage"
)

// reasons is a store that remembers why deliveries failed.
type reasons struct {
	outbox.Store
	mu   sync.Mutex
	seen map[string]bool
}

func (r *reasons) FailDelivery(ctx context.Context, d outbox.Delivery, reason string, at, due time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[reason] = true
	return r.Store.FailDelivery(ctx, d, reason, at, due)
}

func TestWorkerTriesUntilItSucceedsOrSetsAside(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		c := outboxtest.NewClock(s, func() time.Time { return noon })
		good, bad, panics := id.New[id.Delivery](), id.New[id.Delivery](), id.New[id.Delivery]()
		for _, delivery := range []id.Delivery{good, bad, panics} {
			err := s.AppendDelivery(t.Context(), outbox.Delivery{ID: delivery, Kind: outbox.BackchannelLogout, Payload: json.RawMessage(`{}`), Due: noon, Created: noon})
			if err != nil {
				t.Fatal(err)
			}
		}
		attempts := make(chan id.Delivery, 100)
		goodFailures := 2
		handle := func(_ context.Context, d outbox.Delivery) error {
			attempts <- d.ID
			if d.ID == panics {
				panic("nobody has foreseen this")
			}
			if d.ID == bad || d.Attempts <= goodFailures {
				return errors.New("the application does not answer")
			}
			return nil
		}
		why := &reasons{Store: c, seen: map[string]bool{}}
		w := &outbox.Worker{
			Store: why, Handlers: map[outbox.Kind]outbox.Handler{outbox.BackchannelLogout: handle},
			Now: c.Now, Logger: slog.New(slog.DiscardHandler), Poll: 5 * time.Millisecond,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		counts := map[id.Delivery]int{}
		for counts[good] < goodFailures+1 || counts[bad] < outbox.MaxAttempts || counts[panics] < outbox.MaxAttempts {
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
		left, err := s.ClaimDeliveries(t.Context(), c.Now(), c.Now(), outbox.Claim{Most: 10, Each: 10})
		if err != nil || len(left) != 0 {
			t.Errorf("left %+v, %v: one is done, two set aside", left, err)
		}
		if counts[good] != goodFailures+1 || counts[bad] != outbox.MaxAttempts || counts[panics] != outbox.MaxAttempts {
			t.Errorf("attempts %v, want %d and twice %d", counts, goodFailures+1, outbox.MaxAttempts)
		}
		// Administrators read the reason: no place in the program is in it.
		if want := map[string]bool{"the application does not answer": true, "panic: nobody has foreseen this": true}; !maps.Equal(why.seen, want) {
			t.Errorf("reasons %v, want %v", why.seen, want)
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

// desk is a worker whose deliveries are made known, and wait if they go to a
// destination that hangs.
type desk struct {
	t     *testing.T
	store *storage.Store
	tried chan string // destinations
	ahead atomic.Int64
}

func (d *desk) now() time.Time {
	return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(time.Duration(d.ahead.Load()))
}

func (d *desk) append(kind outbox.Kind, destination string) {
	d.t.Helper()
	err := d.store.AppendDelivery(d.t.Context(), outbox.Delivery{
		ID: id.New[id.Delivery](), Kind: kind, Destination: destination, Payload: json.RawMessage(`{}`), Due: d.now(), Created: d.now(),
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// wants waits until deliveries to these were tried, and no others.
func (d *desk) wants(counts map[string]int) {
	d.t.Helper()
	for len(counts) > 0 {
		select {
		case tried := <-d.tried:
			if counts[tried]--; counts[tried] == 0 {
				delete(counts, tried)
			} else if counts[tried] < 0 {
				d.t.Fatalf("%q was tried, still wanted %v", tried, counts)
			}
		case <-time.After(time.Minute):
			d.t.Fatalf("never tried: %v", counts)
		}
	}
}

// atDesk runs a worker until test returns. Those who hang never answer, those who
// are slow fail after five seconds.
func atDesk(t *testing.T, test func(d *desk)) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		d := &desk{t: t, store: s, tried: make(chan string, 1000)}
		handle := func(ctx context.Context, delivery outbox.Delivery) error {
			slow := strings.HasPrefix(delivery.Destination, "slow")
			if slow {
				d.ahead.Add(int64(5 * time.Second))
			}
			d.tried <- delivery.To()
			if strings.HasPrefix(delivery.Destination, "hung") {
				<-ctx.Done()
				return ctx.Err()
			}
			if slow {
				return errors.New("too late")
			}
			return nil
		}
		w := &outbox.Worker{
			Store: s, Handlers: map[outbox.Kind]outbox.Handler{outbox.BackchannelLogout: handle, outbox.Mail: handle},
			Now: d.now, Logger: slog.New(slog.DiscardHandler), Poll: 5 * time.Millisecond,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		test(d)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestManyThatHangHoldNobodyUp(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(outbox.BackchannelLogout, "shop")
		d.wants(map[string]int{"shop": 1})
		const waiting = 48
		hung := map[string]int{}
		for i := range 2 * waiting {
			d.append(outbox.BackchannelLogout, fmt.Sprint("hung", i))
		}
		for len(hung) < waiting {
			select {
			case tried := <-d.tried:
				hung[tried]++
			case <-time.After(time.Minute):
				t.Fatalf("%d hang, want %d", len(hung), waiting)
			}
		}
		for range 50 {
			d.append(outbox.BackchannelLogout, "shop")
			d.append(outbox.Mail, "")
		}
		d.wants(map[string]int{"shop": 50, string(outbox.Mail): 50})
	})
}

func TestWhoIsSlowIsLeftAloneForAWhile(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(outbox.BackchannelLogout, "slow")
		d.wants(map[string]int{"slow": 1})
		d.append(outbox.BackchannelLogout, "slow")
		for range 20 {
			d.append(outbox.BackchannelLogout, "shop")
		}
		d.wants(map[string]int{"shop": 20})
		for tried := 0; tried < 2; {
			select {
			case <-d.tried:
				tried++
			case <-time.After(20 * time.Millisecond):
				d.ahead.Add(int64(time.Minute))
			}
		}
	})
}
