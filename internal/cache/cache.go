// Package cache keeps what a node has read of late, for questions that come with
// every request.
package cache

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Lifetime is how long something is taken for what it was when it was read: that
// is how late a node hears of a change that another one made.
const Lifetime = 2 * time.Second

// size is how many values a Recent keeps.
const size = 10_000

// Recent keeps values for Lifetime, or until this node changes any of them. It
// is safe for concurrent use.
type Recent[K comparable, V any] struct {
	read    *otter.Cache[K, value[V]]
	changes atomic.Uint64
}

// value is what was read when so many changes had been made.
type value[V any] struct {
	is      V
	changes uint64
}

// NewRecent returns an empty Recent.
func NewRecent[K comparable, V any]() (*Recent[K, V], error) { return NewRecentFor[K, V](Lifetime) }

// NewRecentFor returns an empty Recent that keeps values for another time.
func NewRecentFor[K comparable, V any](lifetime time.Duration) (*Recent[K, V], error) {
	read, err := otter.New(&otter.Options[K, value[V]]{MaximumSize: size, ExpiryCalculator: otter.ExpiryWriting[K, value[V]](lifetime)})
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return &Recent[K, V]{read: read}, nil
}

// Get returns the value of the key, by read if it is not kept. The caller must not
// change it. Failures are not kept, and neither is what a change has overtaken
// while it was read.
func (r *Recent[K, V]) Get(key K, read func() (V, error)) (V, error) {
	changes := r.changes.Load()
	if kept, ok := r.read.GetIfPresent(key); ok && kept.changes == changes {
		return kept.is, nil
	}
	is, err := read()
	if err != nil {
		return is, err
	}
	r.read.Set(key, value[V]{is, changes})
	return is, nil
}

// Changed makes this node read all values anew. Whoever changes one calls it when
// the change is done, whatever came of it.
func (r *Recent[K, V]) Changed() { r.changes.Add(1) }
