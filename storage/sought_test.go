package storage_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

// Look-ups that are answered together are each answered for their own tenant,
// and one with a value that no text holds spoils nobody else's.
func TestLookUpsTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		a, b := newTenant(t, store, "a"), newTenant(t, store, "b")
		people := map[id.Tenant][]id.Membership{}
		for _, tenant := range []id.Tenant{a, b} {
			for n := range 20 {
				people[tenant] = append(people[tenant], newMembership(t, store, tenant, fmt.Sprintf("p%d@example.com", n)).ID)
			}
		}
		var group sync.WaitGroup
		for n := range 20 {
			for tenant, other := range map[id.Tenant]id.Tenant{a: b, b: a} {
				group.Go(func() {
					m, err := store.Membership(t.Context(), tenant, people[tenant][n])
					if err != nil || m.ID != people[tenant][n] || m.Tenant != tenant {
						t.Errorf("%v, %v", m, err)
					}
					if _, err := store.Membership(t.Context(), tenant, people[other][n]); !errors.Is(err, fault.NotFound) {
						t.Errorf("of the other tenant: %v", err)
					}
					if _, err := store.Membership(t.Context(), tenant, "\x00"+id.Membership(fmt.Sprint(n))); err == nil {
						t.Error("found what can't be")
					}
				})
			}
		}
		group.Wait()
	})
}
