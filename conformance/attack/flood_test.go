package attack

import (
	"net/http"
	"net/url"
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

// TestFloodOfSignIns: more passwords than can be hashed are turned away, and do
// not keep others from what needs none.
func TestFloodOfSignIns(t *testing.T) {
	t.Parallel()
	i := instance.Prepare(t, "", "ROLECALL_PASSWORDS_AT_ONCE=1", "ROLECALL_PASSWORDS_WAITING=4")
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
		began := time.Now()
		for _, path := range []string{"/login", "/.well-known/openid-configuration"} {
			answer, err := client.Get(i.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s answers %d in the flood", path, answer.StatusCode)
			}
		}
		times = append(times, time.Since(began)/2)
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
	t.Logf("%d sign-ins: %v; %d other requests, median %v, 99th of a hundred %v", typed.Load(), seen, 2*len(times), times[len(times)/2], times[len(times)*99/100])
	if seen[http.StatusServiceUnavailable] == 0 || seen[http.StatusUnprocessableEntity] == 0 || len(seen) != 2 {
		t.Errorf("answers by status %v, want some 422 and some 503", seen)
	}
	if unexplained.Load() > 0 {
		t.Errorf("%d answers 503 have no Retry-After", unexplained.Load())
	}
	if len(judged) > 0 && times[len(times)/2] > judged[len(judged)/2]/2 {
		t.Errorf("other requests take %v, those that wait for a password to be hashed %v", times[len(times)/2], judged[len(judged)/2])
	}
}
