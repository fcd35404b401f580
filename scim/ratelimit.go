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
	if bucket.AllowN(now, 1) {
		return nil
	}
	return &fault.Error{
		Kind: fault.Throttled, Code: "rate_limit", RetryAfter: time.Second,
		Detail: fmt.Sprintf("the connection %s may send %d requests per second, and %d at once", c.Name, c.RateLimit.PerSecond, c.RateLimit.Burst),
	}
}
