package storage_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
)

// The total that is kept is the one that counting gives, whatever comes, goes,
// is retired and is rolled back at the same time.
func TestKeptTotalsAreTrue(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		c := fill(t, store, "one", rand.New(rand.NewPCG(9, 10)))
		other := fill(t, store, "two", rand.New(rand.NewPCG(9, 10)))
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(w), 1))
				var own []id.Membership
				for i := range 40 {
					ctx := t.Context()
					err := store.InTx(ctx, func(ctx context.Context) error {
						m := c.randomUser(random, 1000*(w+1)+i)
						if err := store.CreateUser(ctx, &directory.User{ID: m.User, Created: epoch, Modified: epoch}); err != nil {
							return err
						}
						if err := store.CreateMembership(ctx, m); err != nil {
							return err
						}
						if i%5 == 0 {
							return errors.New("rolled back")
						}
						own = append(own, m.ID)
						return nil
					})
					if err != nil && i%5 > 0 {
						t.Error(err)
					}
					if i%4 == 3 {
						if err := store.DeleteMembership(ctx, c.tenant, own[0]); err != nil {
							t.Error(err)
						}
						own = own[1:]
					}
					if i%10 == 7 {
						_, err := store.UpdateMembership(ctx, c.tenant, own[len(own)-1], func(m *directory.Membership) error {
							m.Retired = epoch
							return nil
						})
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		writers.Wait()
		for group := range c.groups {
			if err := store.DeleteGroup(t.Context(), c.tenant, id.Group(group)); err != nil {
				t.Fatal(err)
			}
			break
		}
		everybody := schema.And{} // which is counted
		for _, tenant := range []id.Tenant{c.tenant, other.tenant} {
			users := func(condition schema.Condition) int {
				return must[*directory.Page[directory.Membership]](t)(store.Memberships(t.Context(), tenant, directory.Query{Filter: condition})).Total
			}
			groups := func(condition schema.Condition) int {
				return must[*directory.Page[directory.Group]](t)(store.Groups(t.Context(), tenant, directory.Query{Filter: condition})).Total
			}
			if kept, counted := users(nil), users(everybody); kept != counted || counted == 0 {
				t.Errorf("%d users are kept count of, %d are there", kept, counted)
			}
			if kept, counted := groups(nil), groups(everybody); kept != counted || counted == 0 {
				t.Errorf("%d groups are kept count of, %d are there", kept, counted)
			}
		}
	})
}
