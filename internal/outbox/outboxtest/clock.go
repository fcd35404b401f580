// Package outboxtest lets tests move a worker's time without letting a lease
// run out in the middle of an attempt, which only a dead worker's would.
package outboxtest

import (
	"context"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/outbox"
)

// Clock is the time and the store of one outbox.Worker. It moves only while no
// delivery is under way.
type Clock struct {
	outbox.Store
	base func() time.Time

	mu       sync.Mutex
	settled  sync.Cond
	ahead    time.Duration
	moved    time.Time
	underWay int
}

// NewClock returns a clock that is as far ahead of base as it was moved.
func NewClock(store outbox.Store, base func() time.Time) *Clock {
	c := &Clock{Store: store, base: base}
	c.settled.L = &c.mu
	return c
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base().Add(c.ahead)
}

// Move moves the time as soon as no delivery is under way.
func (c *Clock) Move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.underWay > 0 {
		c.settled.Wait()
	}
	c.ahead += by
	c.moved = c.base().Add(c.ahead)
}

// ClaimDeliveries implements outbox.Store. A look that began before the time
// moved finds nothing: its leases would be over.
func (c *Clock) ClaimDeliveries(ctx context.Context, now, lease time.Time, claim outbox.Claim) ([]outbox.Delivery, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.moved) {
		return nil, nil
	}
	claimed, err := c.Store.ClaimDeliveries(ctx, now, lease, claim)
	c.underWay += len(claimed)
	return claimed, err
}

// FinishDelivery implements outbox.Store.
func (c *Clock) FinishDelivery(ctx context.Context, d outbox.Delivery, at time.Time) error {
	defer c.done()
	return c.Store.FinishDelivery(ctx, d, at)
}

// FailDelivery implements outbox.Store.
func (c *Clock) FailDelivery(ctx context.Context, d outbox.Delivery, reason string, at, due time.Time) error {
	defer c.done()
	return c.Store.FailDelivery(ctx, d, reason, at, due)
}

func (c *Clock) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay--
	c.settled.Broadcast()
}
