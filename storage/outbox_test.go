package storage_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestClaimsTakeWhatThereIsRoomFor(t *testing.T) {
	const quoted, path, foreign = `sh"op\`, "$.n", "Läden'"
	destinations := []string{"shop", quoted, path, foreign}
	dbtest.Each(t, func(t *testing.T, s *storage.Store) {
		for _, test := range []struct {
			name  string
			claim outbox.Claim
			want  map[string]int
		}{
			{"of each the same", outbox.Claim{Most: 50, Each: 2}, map[string]int{"shop": 2, quoted: 2, path: 2, foreign: 2}},
			{"of some more", outbox.Claim{Most: 50, Each: 1, Room: map[string]int{quoted: 4, path: 3, foreign: 2}}, map[string]int{"shop": 1, quoted: 4, path: 3, foreign: 2}},
			{"of some nothing", outbox.Claim{Most: 50, Each: 1, Room: map[string]int{quoted: 0, path: 0, foreign: 0}}, map[string]int{"shop": 1}},
			{"of others nothing", outbox.Claim{Most: 50, Room: map[string]int{quoted: 3, foreign: 1}}, map[string]int{quoted: 3, foreign: 1}},
			{"no more than asked", outbox.Claim{Most: 2, Room: map[string]int{path: 5, "shop": 0}}, map[string]int{path: 2}},
			{"more than there are", outbox.Claim{Most: 50, Room: map[string]int{"shop": 50}}, map[string]int{"shop": 6}},
		} {
			t.Run(test.name, func(t *testing.T) {
				for range 6 {
					for _, destination := range destinations {
						d := outbox.Delivery{ID: id.New[id.Delivery](), Kind: outbox.BackchannelLogout, Destination: destination, Payload: json.RawMessage(`{}`), Due: noon, Created: noon}
						if err := s.AppendDelivery(t.Context(), d); err != nil {
							t.Fatal(err)
						}
					}
				}
				claimed, err := s.ClaimDeliveries(t.Context(), noon, noon.Add(time.Hour), test.claim)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]int{}
				for _, d := range claimed {
					got[d.Destination]++
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("claimed (-want +got):\n%s", diff)
				}
				_, err = s.ClaimDeliveries(t.Context(), noon, noon.Add(time.Hour), outbox.Claim{Most: 50, Each: 50}) // all the others
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}
