package provisioning

import (
	"strings"
	"sync"
	"time"
)

// Bounds of refusals that cost the sender nothing: without a valid credential
// (401), and beyond a rate limit (429). Each name of a tenant gets some a minute,
// and there are not more names in a minute than this; the name need not be a
// tenant's.
const (
	refusalsPerMinute = 20
	refusedNames      = 256
)

// A bound admits so many refusals a minute.
type bound struct {
	mu     sync.Mutex
	minute time.Time
	counts map[string]int
	names  int // of tenants without a valid credential
}

func newBound() *bound { return &bound{counts: map[string]int{}} }

// admits reports whether the record is to be kept.
func (b *bound) admits(r *Record, now time.Time) bool {
	var key string
	switch r.Status {
	case 401:
		key = "401 " + r.TenantName
		if len(key) > maxName || strings.ContainsAny(r.TenantName, " \x00") {
			return false
		}
	case 429:
		key = "429 " + string(r.Tenant) + string(r.Connection)
	default:
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(b.minute) {
		b.minute, b.names = minute, 0
		clear(b.counts)
	}
	if b.counts[key] == 0 && r.Status == 401 {
		if b.names >= refusedNames {
			return false
		}
		b.names++
	}
	if b.counts[key] >= refusalsPerMinute {
		return false
	}
	b.counts[key]++
	return true
}
