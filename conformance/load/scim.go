package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// scim is the SCIM endpoint of one tenant under load.
type scim struct {
	address, host, base, token string

	made atomic.Int64 // people created so far
	mu   sync.Mutex   // guards ids
	ids  []string     // of people

	// Of a directory that was loaded through Bulk:
	loaded int64    // people
	groups []string // ids; the first is the largest
	second string   // the cursor of the second page of all people
	cursor string   // of a page near their end
}

func newSCIM(address, tenant, token string) *scim {
	return &scim{address: address, host: address, base: "/t/" + tenant + "/scim/v2", token: token}
}

func (s *scim) request(method, path, body string) []byte {
	return request(method, s.host, s.base+path, body, "Authorization: Bearer "+s.token, "Content-Type: application/scim+json")
}

// userName of the n-th person. The addresses have no verified domain.
func userName(n int64) string { return fmt.Sprintf("person%d@people.example", n) }

// create adds the next person as a directory does.
func (s *scim) create(ctx context.Context, w *wire) error {
	n := s.made.Add(1)
	if err := w.expect(ctx, s.request(http.MethodPost, "/Users", s.userBody(n)), http.StatusCreated); err != nil {
		return err
	}
	var user struct{ ID string }
	if err := json.Unmarshal(w.body, &user); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, user.ID)
	return nil
}

// fill creates people until there are so many.
func (s *scim) fill(ctx context.Context, people, clients int) error {
	var group sync.WaitGroup
	failures := make(chan error, clients)
	for range clients {
		group.Go(func() {
			w := &wire{address: s.address}
			defer w.close()
			for int(s.made.Load()) < people && ctx.Err() == nil {
				if err := s.create(ctx, w); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}

func (s *scim) creation(clients int) *measurement {
	return &measurement{name: "SCIM: create a user", clients: clients, worker: func(int) (worker, error) {
		w := &wire{address: s.address}
		return func(ctx context.Context) (time.Duration, error) { return 0, s.create(ctx, w) }, nil
	}}
}

func (s *scim) lookUp(clients int) *measurement {
	people := s.made.Load()
	prefix := strings.TrimPrefix(s.base, "/t/")[:5]
	return &measurement{name: "SCIM: look a user up by userName", clients: clients, worker: func(n int) (worker, error) {
		w, next := &wire{address: s.address}, int64(n)
		return func(ctx context.Context) (time.Duration, error) {
			next = (next*7919+104_729)%people + 1
			filter := url.QueryEscape(fmt.Sprintf("userName eq %q", prefix+userName(next)))
			if err := w.expect(ctx, s.request(http.MethodGet, "/Users?filter="+filter, ""), http.StatusOK); err != nil {
				return 0, err
			}
			if !strings.Contains(string(w.body), `"totalResults":1`) {
				return 0, fmt.Errorf("not found: %.300s", w.body)
			}
			return 0, nil
		}, nil
	}}
}

// group makes a group of the first people and returns its id.
func (s *scim) group(ctx context.Context, name string, size int) (string, error) {
	w := &wire{address: s.address}
	defer w.close()
	body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":%q}`, name)
	if err := w.expect(ctx, s.request(http.MethodPost, "/Groups", body), http.StatusCreated); err != nil {
		return "", err
	}
	var group struct{ ID string }
	if err := json.Unmarshal(w.body, &group); err != nil {
		return "", err
	}
	const batch = 1000
	for from := 0; from < size; from += batch {
		if err := s.patch(ctx, w, group.ID, "add", s.ids[from:min(from+batch, size)]...); err != nil {
			return "", err
		}
	}
	return group.ID, nil
}

// patch adds members to a group or removes them.
func (s *scim) patch(ctx context.Context, w *wire, group, op string, members ...string) error {
	var values strings.Builder
	for n, member := range members {
		if n > 0 {
			values.WriteByte(',')
		}
		values.WriteString(`{"value":"` + member + `"}`)
	}
	body := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"` + op + `","path":"members","value":[` + values.String() + `]}]}`
	status, err := w.do(ctx, s.request(http.MethodPatch, "/Groups/"+group, body))
	if err == nil && status != http.StatusOK && status != http.StatusNoContent {
		err = fmt.Errorf("got %d: %.300s", status, w.body)
	}
	return err
}

// A changedGroup is a group of a known size, with what its changes cost.
type changedGroup struct {
	id    string
	size  int // its members are the first people
	costs []time.Duration
}

// additions measures adding one member to each of the groups in turn, so that
// whatever slows the machine down meets all of them. Each who was added is
// removed again and the group stays as large; that is not counted. There is one
// client: several would wait for the group's row.
func (s *scim) additions(groups []*changedGroup) *measurement {
	return &measurement{name: "SCIM: add a member to groups in turn", clients: 1, worker: func(int) (worker, error) {
		w, turn := &wire{address: s.address}, 0
		return func(ctx context.Context) (time.Duration, error) {
			turn++
			group := groups[turn%len(groups)]
			// Those after the first size people are not in the group.
			member := s.ids[group.size+turn%(len(s.ids)-group.size)]
			start := time.Now()
			if err := s.patch(ctx, w, group.id, "add", member); err != nil {
				return 0, err
			}
			cost := time.Since(start)
			group.costs = append(group.costs, cost)
			return cost, s.patch(ctx, w, group.id, "remove", member)
		}, nil
	}}
}

// percentile is the p-th part of what the additions cost.
func (g *changedGroup) percentile(p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(g.costs))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
