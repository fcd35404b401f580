package attack

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
)

// The bounds of the flood: small ones, so that a small flood fills them.
const (
	floodWidth = 24
	floodTime  = 4 * time.Second
)

// hashMemory is what one password takes while it is hashed, in MB: 19 MiB.
const hashMemory = 19.9

// TestFloodOfSignIns: more passwords than can be hashed are turned away with word
// of when to come again, take no memory, and do not keep others from what needs
// none.
func TestFloodOfSignIns(t *testing.T) {
	t.Parallel()
	// Garbage is collected early, so that the memory which is seen is in use.
	i := instance.Prepare(t, "", "ROLECALL_PASSWORDS_AT_ONCE=1", "ROLECALL_PASSWORDS_WAITING=4", "GOGC=100")
	if err := i.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(i.Serve(t.Context()))(t)
	t.Cleanup(func() { _ = i.Stop() })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: floodWidth}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := client.Get(i.URL + "/login")
	if err != nil {
		t.Fatal(err)
	}
	_ = page.Body.Close()
	cookies := page.Cookies()
	before := peakMemory(t, i.PID())
	var statuses sync.Map
	var group sync.WaitGroup
	var typed, unexplained atomic.Int64
	var mu sync.Mutex // guards judged
	var judged []time.Duration
	end := time.Now().Add(floodTime)
	for range floodWidth {
		group.Go(func() {
			for time.Now().Before(end) {
				// Each for somebody else, as one who has a list of addresses would.
				body := url.Values{"login": {"n" + strconv.FormatInt(typed.Add(1), 10) + "@nowhere.example"}, "password": {"something long"}}
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.URL+"/login", strings.NewReader(body.Encode()))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				for _, c := range cookies {
					r.AddCookie(c)
				}
				began := time.Now()
				answer, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusUnprocessableEntity {
					mu.Lock()
					judged = append(judged, time.Since(began))
					mu.Unlock()
				}
				if answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") == "" {
					unexplained.Add(1)
				}
				count, _ := statuses.LoadOrStore(answer.StatusCode, new(atomic.Int64))
				count.(*atomic.Int64).Add(1) //nolint:forcetypeassert // stored above
			}
		})
	}
	var times []time.Duration
	for time.Now().Before(end) {
		for _, path := range []string{"/login", "/.well-known/openid-configuration", "/oauth2/keys"} {
			began := time.Now()
			answer, err := client.Get(i.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			times = append(times, time.Since(began))
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s answers %d in the flood", path, answer.StatusCode)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	group.Wait()
	seen := map[int]int64{}
	statuses.Range(func(status, count any) bool {
		seen[status.(int)] = count.(*atomic.Int64).Load() //nolint:forcetypeassert // stored above
		return true
	})
	slices.Sort(times)
	slices.Sort(judged)
	if seen[http.StatusServiceUnavailable] == 0 || len(judged) == 0 || len(seen) != 2 {
		t.Fatalf("answers by status %v, want some 422 and some 503", seen)
	}
	if unexplained.Load() > 0 {
		t.Errorf("%d answers 503 have no Retry-After", unexplained.Load())
	}
	part := func(sorted []time.Duration, p int) time.Duration { return sorted[len(sorted)*p/100] }
	grown := peakMemory(t, i.PID()) - before
	t.Logf("%d sign-ins: %v, those that were judged p50 %v, p99 %v; %d other requests, p50 %v, p99 %v; %.0f MB more",
		typed.Load(), seen, part(judged, 50), part(judged, 99), len(times), part(times, 50), part(times, 99), grown)
	if part(times, 50) > part(judged, 50)/2 {
		t.Errorf("other requests take %v, those that wait for a password to be hashed %v", part(times, 50), part(judged, 50))
	}
	if part(times, 99) > part(judged, 99) {
		t.Errorf("of a hundred other requests the slowest takes %v, of those that wait for a password to be hashed %v", part(times, 99), part(judged, 99))
	}
	if most := floodWidth * hashMemory / 2; grown > most {
		t.Errorf("the flood takes %.0f MB, want less than half of what %d passwords take at once, %.0f MB", grown, floodWidth, most)
	}
}

// peakMemory is the most memory that a process has had so far, in MB (Linux).
func peakMemory(t *testing.T, pid int) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(after + " 0")[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib * 1024 / 1e6
}
