package scim

import (
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// limits hold the connections that have a rate limit to it. They are of this
// node: behind several of them a connection has as many times its limit. One
// that has been quiet for limiterIdle starts with a full burst, which it would
// have by then.
type limits struct {
	buckets *otter.Cache[id.Connection, *rate.Limiter]
	now     func() time.Time
}

const (
	maxLimiters = 10_000
	limiterIdle = 10 * time.Minute
)

func newLimits(now func() time.Time) (*limits, error) {
	buckets, err := otter.New(&otter.Options[id.Connection, *rate.Limiter]{
		MaximumSize: maxLimiters, ExpiryCalculator: otter.ExpiryAccessing[id.Connection, *rate.Limiter](limiterIdle),
	})
	if err != nil {
		return nil, fmt.Errorf("scim: rate limits: %w", err)
	}
	return &limits{buckets, now}, nil
}

// admit fails with fault.Throttled where the connection has sent too many
// requests, and says when the next one will be taken.
func (l *limits) admit(c *directory.Connection) error {
	if c.RateLimit.PerSecond == 0 {
		return nil
	}
	now, bucket := l.bucket(c)
	return l.take(c, bucket, now, 1, 0)
}

// admitMore is admit for the operations of a bulk request beyond its first, for
// which the request itself was admitted. As many as the burst have to be free;
// what a request has beyond them is owed, and the connection waits until it has
// made up for it. So a bulk request of any size can be sent, and costs what its
// operations would by themselves.
func (l *limits) admitMore(c *directory.Connection, operations int) error {
	if c.RateLimit.PerSecond == 0 || operations <= 1 {
		return nil
	}
	now, bucket := l.bucket(c)
	atOnce := min(operations, c.RateLimit.Burst) - 1
	if err := l.take(c, bucket, now, atOnce, 1); err != nil {
		return err
	}
	for owed := operations - 1 - atOnce; owed > 0; owed -= c.RateLimit.Burst {
		bucket.ReserveN(now, min(owed, c.RateLimit.Burst))
	}
	return nil
}

// take takes n from the bucket, or nothing where it has fewer: then it fails and
// says when it will have these and as many more as it takes to ask again.
func (l *limits) take(c *directory.Connection, bucket *rate.Limiter, now time.Time, n, again int) error {
	reserved := bucket.ReserveN(now, n)
	wait := reserved.DelayFrom(now)
	if reserved.OK() && wait <= 0 {
		return nil
	}
	reserved.CancelAt(now)
	wait += time.Duration(again) * time.Second / time.Duration(c.RateLimit.PerSecond)
	return &fault.Error{
		Kind: fault.Throttled, Code: "rate_limit", RetryAfter: min(wait, time.Hour),
		Detail: fmt.Sprintf("the connection %s may send %d requests per second, and %d at once; each operation of a bulk request counts", c.Name, c.RateLimit.PerSecond, c.RateLimit.Burst),
	}
}

func (l *limits) bucket(c *directory.Connection) (now time.Time, bucket *rate.Limiter) {
	now, limit := l.now(), rate.Limit(c.RateLimit.PerSecond)
	bucket, ok := l.buckets.GetIfPresent(c.ID)
	if !ok {
		bucket, _ = l.buckets.SetIfAbsent(c.ID, rate.NewLimiter(limit, c.RateLimit.Burst))
	}
	if bucket.Limit() != limit { // it was changed since
		bucket.SetLimitAt(now, limit)
	}
	if bucket.Burst() != c.RateLimit.Burst {
		bucket.SetBurstAt(now, c.RateLimit.Burst)
	}
	return now, bucket
}
