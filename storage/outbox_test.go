package storage_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/storage"
)

func TestOutbox(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		ctx := t.Context()
		for i := range 3 {
			d := outbox.Delivery{ID: id.New[id.Delivery](), Kind: outbox.BackchannelLogout, Payload: json.RawMessage(`{}`), Due: noon.Add(time.Duration(i) * time.Minute), Created: noon}
			if err := s.AppendDelivery(ctx, d); err != nil {
				t.Fatal(err)
			}
		}
		claim := func(now time.Time) []outbox.Delivery {
			t.Helper()
			got, err := s.ClaimDeliveries(ctx, now, now.Add(time.Hour), outbox.Claim{Most: 10, Each: 10})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := claim(noon.Add(time.Minute))
		if len(first) != 2 || first[0].Attempts != 1 {
			t.Fatalf("claimed %+v, want the two that are due, on their first attempt", first)
		}
		if again := claim(noon.Add(time.Minute)); len(again) != 0 {
			t.Errorf("claimed %d again while leased", len(again))
		}
		if err := s.FinishDelivery(ctx, first[0], noon); err != nil {
			t.Fatal(err)
		}
		if err := s.FailDelivery(ctx, first[1], "refused", noon, time.Time{}); err != nil {
			t.Fatal(err)
		}
		last := claim(noon.Add(48 * time.Hour))
		if len(last) != 1 || !last[0].Created.Equal(noon) {
			t.Fatalf("claimed %+v, want only the third: one is done, one set aside", last)
		}

		// Two have it, the first for longer than its lease.
		second := claim(noon.Add(72 * time.Hour))
		if err := s.FailDelivery(ctx, last[0], "late", noon, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if third := claim(noon.Add(96 * time.Hour)); len(third) != 1 {
			t.Error("a failure of who has it no longer set the delivery aside")
		} else if err := s.FailDelivery(ctx, third[0], "refused", noon, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if err := s.FinishDelivery(ctx, second[0], noon); err != nil {
			t.Fatal(err)
		}
		all, err := s.Deliveries(ctx, "", outbox.BackchannelLogout, outbox.Failed, "", 10)
		if err != nil || len(all) != 1 || all[0].ID != first[1].ID {
			t.Errorf("set aside %+v, %v: what arrived after all is no failure", all, err)
		}
	})
}
