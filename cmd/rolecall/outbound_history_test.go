package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/outbound"
)

// changes one side at random. Names are few, so that they are given
// up, taken again and exchanged.
type changes struct {
	*pair
	r      *rand.Rand
	people map[string]string // ids by name
	groups map[string]string
}

func (h *changes) free(used map[string]string, prefix string) string {
	for {
		if name := fmt.Sprint(prefix, h.r.IntN(12)); used[name] == "" {
			return name
		}
	}
}

func (h *changes) any(of map[string]string) (name, id string) {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "", ""
	}
	slices.Sort(names)
	name = names[h.r.IntN(len(names))]
	return name, of[name]
}

// some returns members, people and groups that are not the given one's.
func (h *changes) some() string {
	var list []map[string]string
	for range 1 + h.r.IntN(4) {
		if _, id := h.any(h.people); id != "" {
			list = append(list, map[string]string{"value": id})
		}
	}
	return string(must[[]byte](h.t)(json.Marshal(append([]map[string]string{}, list...))))
}

func (h *changes) step() {
	person, id := h.any(h.people)
	group, groupID := h.any(h.groups)
	what := h.r.IntN(14)
	if len(h.people) < 3 || what < 2 && len(h.people) < 9 {
		name := h.free(h.people, "person")
		more := ""
		if id != "" {
			more = `,"` + staffURN + `":{"department":"D","manager":{"value":"` + id + `"}}`
		}
		h.people[name] = h.user(name+"@acme.example", `,"name":{"givenName":"G","familyName":"F"}`+more)
		return
	}
	if len(h.groups) < 2 || what == 2 && len(h.groups) < 5 {
		name := h.free(h.groups, "Group")
		h.groups[name] = h.group(name)
		return
	}
	switch what {
	case 3:
		h.here(http.MethodDelete, "/Users/"+id, "")
		delete(h.people, person)
	case 4:
		h.here(http.MethodDelete, "/Groups/"+groupID, "")
		delete(h.groups, group)
	case 5:
		h.patch("/Users/"+id, fmt.Sprintf(`{"op":"replace","path":"active","value":%v}`, h.r.IntN(2) == 0))
	case 6:
		name := h.free(h.people, "person")
		h.patch("/Users/"+id, `{"op":"replace","path":"userName","value":"`+name+`@acme.example"}`)
		delete(h.people, person)
		h.people[name] = id
	case 7: // two exchange their names
		other, otherID := h.any(h.people)
		if other == person {
			return
		}
		h.patch("/Users/"+id, `{"op":"replace","path":"userName","value":"between@acme.example"}`)
		h.patch("/Users/"+otherID, `{"op":"replace","path":"userName","value":"`+person+`@acme.example"}`)
		h.patch("/Users/"+id, `{"op":"replace","path":"userName","value":"`+other+`@acme.example"}`)
		h.people[person], h.people[other] = otherID, id
	case 8:
		h.patch("/Users/"+id, fmt.Sprintf(`{"op":"add","path":"title","value":"T%d"},{"op":"remove","path":"name.givenName"}`, h.r.IntN(100)))
	case 9:
		h.patch("/Users/"+id, fmt.Sprintf(`{"op":"replace","path":"emails","value":[{"value":"e%d@acme.example","type":"work"}]},{"op":"remove","path":"title"}`, h.r.IntN(100)))
	case 10:
		h.patch("/Groups/"+groupID, `{"op":"replace","path":"members","value":`+h.some()+`}`)
	case 11:
		name := h.free(h.groups, "Group")
		h.patch("/Groups/"+groupID, `{"op":"replace","path":"displayName","value":"`+name+`"}`)
		delete(h.groups, group)
		h.groups[name] = groupID
	case 12:
		h.patch("/Groups/"+groupID, `{"op":"remove","path":"members[value eq \"`+id+`\"]"}`)
	default:
		h.patch("/Groups/"+groupID, `{"op":"add","path":"members","value":`+h.some()+`}`)
	}
}

// flaky is a network and a server that are not reliable: requests and answers
// are lost, refused for a while, late.
func (p *pair) flaky(seed uint64) {
	var calls atomic.Uint64
	p.between(func(w http.ResponseWriter, r *http.Request) bool {
		n := rand.New(rand.NewPCG(seed, calls.Add(1))).IntN(100)
		switch {
		case n < 6:
			panic(http.ErrAbortHandler) // the request is lost
		case n < 12:
			p.behind.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // the answer is lost
		case n < 18:
			w.WriteHeader(http.StatusInternalServerError)
		case n < 21:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case n < 24:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n < 30:
			time.Sleep(20 * time.Millisecond)
			return false
		default:
			return false
		}
		return true
	})
}

// TestRandomHistoriesThroughAFlakyNetwork: whatever happens here while requests
// are lost in between, in the end both sides have the same. Two nodes push, and
// they are stopped and started in the middle.
func TestRandomHistoriesThroughAFlakyNetwork(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			eachPair(t, func(t *testing.T, p *pair) {
				h := &changes{pair: p, r: rand.New(rand.NewPCG(seed, 1)), people: map[string]string{}, groups: map[string]string{}}
				for range 10 {
					h.step()
				}
				p.flaky(seed)
				p.push(allOf)
				for range 6 {
					one, two := p.run(), p.run()
					for range 12 {
						h.step()
						if h.r.IntN(3) == 0 {
							time.Sleep(10 * time.Millisecond)
						}
					}
					one()
					p.pass(time.Duration(h.r.IntN(3)) * time.Minute)
					two()
				}
				p.settle()
				p.between(nil)
				// What takes many requests may fail ten times in such a network. It says
				// so, and is tried again when somebody asks.
				if r := p.api(http.MethodPost, "/"+p.target+"/errors/retry", `{}`, nil); r.Code != http.StatusOK {
					t.Fatalf("trying again: %d %s", r.Code, r.Body)
				}
				if s := p.settle(); s.Standing.Dead > 0 {
					var errors any
					p.api(http.MethodGet, "/"+p.target+"/errors", "", &errors)
					t.Errorf("standing %+v: %v", s.Standing, errors)
				}
				p.same()
				// What links say is so: a run finds nothing to be done.
				r := p.compare(false)
				if c := r.Counts; r.State != "done" || c.Unchanged != len(h.people)+len(h.groups) || len(r.Items) > 0 {
					t.Errorf("a run afterwards: %+v %+v", r.Counts, r.Items)
				}
			})
		})
	}
}

// meeting is a store in which somebody's link is not committed until who refers to
// him has stored his own and looked for it, or can't.
type meeting struct {
	outbound.Store
	manager, report string
	noted, stored   chan struct{}
	looked          chan struct{}
	once            [3]sync.Once
}

func (m *meeting) NoteReferring(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource string, now time.Time) error {
	err := m.Store.NoteReferring(ctx, tenant, target, resource, now)
	if resource == m.manager {
		m.once[0].Do(func() {
			close(m.noted)
			select {
			case <-m.looked:
			case <-time.After(300 * time.Millisecond): // he waits for us
			}
		})
	}
	return err
}

func (m *meeting) PutProvisioningLink(ctx context.Context, l *outbound.Link) error {
	if l.Resource != m.report || !l.Live {
		return m.Store.PutProvisioningLink(ctx, l)
	}
	<-m.noted
	err := m.Store.PutProvisioningLink(ctx, l)
	m.once[1].Do(func() { close(m.stored) })
	return err
}

func (m *meeting) ProvisioningLink(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, resource string) (*outbound.Link, error) {
	link, err := m.Store.ProvisioningLink(ctx, tenant, target, kind, resource)
	select {
	case <-m.stored:
		if resource == m.manager {
			m.once[2].Do(func() { close(m.looked) })
		}
	default:
	}
	return link, err
}

// TestManagerComesAtTheSameTime: somebody and his manager are made there together.
// Neither transaction sees the other, and the manager gets there all the same.
func TestManagerComesAtTheSameTime(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		m := &meeting{noted: make(chan struct{}), stored: make(chan struct{}), looked: make(chan struct{})}
		m.manager = p.user("manager@acme.example", "")
		m.report = p.user("report@acme.example", `,"`+staffURN+`":{"manager":{"value":"`+m.manager+`"}}`)
		if strings.HasSuffix(t.Name(), "/postgres") { // SQLite has one transaction at a time
			p.store = func(s outbound.Store) outbound.Store {
				m.Store = s
				return m
			}
		}
		asked := make(chan struct{}) // both are about to be made
		var creations atomic.Int32
		p.between(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				if creations.Add(1) == 2 {
					close(asked)
				}
				<-asked
			}
			return false
		})
		p.push(allOf)
		p.settle()
		p.same()
	})
}

// TestSuccessorKeepsNothingOfThePredecessor: somebody is made there and nothing is
// heard of it, is deleted here, and another one gets the name. What is there by
// that name is no stranger's, whose values would be left to him.
func TestSuccessorKeepsNothingOfThePredecessor(t *testing.T) {
	for _, removal := range []string{"delete", "deactivate"} {
		for _, lost := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, lost %v", removal, lost), func(t *testing.T) {
				eachPair(t, func(t *testing.T, p *pair) {
					before := p.user("ann@acme.example", `,"title":"Director","name":{"familyName":"Lee"}`)
					made := make(chan struct{})
					p.between(func(w http.ResponseWriter, r *http.Request) bool {
						if r.Method != http.MethodPost {
							return false
						}
						defer close(made)
						if p.behind.ServeHTTP(w, r); lost {
							panic(http.ErrAbortHandler)
						}
						return true
					})
					p.push(`,"groups":{"scope":"all"},"on_removal":"` + removal + `"`)
					stop := p.run()
					<-made
					stop()
					p.here(http.MethodDelete, "/Users/"+before, "")
					p.user("ann@acme.example", `,"displayName":"Ann"`)
					// Of who is gone it can't be asked until the other one is there.
					p.between(func(w http.ResponseWriter, r *http.Request) bool {
						if lost && strings.Contains(r.URL.Query().Get("filter"), before) {
							w.WriteHeader(http.StatusInternalServerError)
							return true
						}
						return false
					})
					stop = p.run()
					for began := time.Now(); len(p.list(func(method, path, body string) map[string]any {
						return p.there(method, path+"&filter=displayName+eq+%22Ann%22", body)
					}, "Users")) == 0; time.Sleep(5 * time.Millisecond) {
						if time.Since(began) > 20*time.Second {
							t.Fatalf("nobody takes his place: %+v", p.standing())
						}
					}
					stop()
					p.between(nil)
					p.settle()
					p.same()
				})
			})
		}
	}
}

// TestLostCreationsByTheExternalIDOfHere: people and a group are made there, and the
// answers get lost. They are found by the externalId that they have here, or by name
// where they have none, and nobody is there twice.
func TestLostCreationsByTheExternalIDOfHere(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		ann := p.user("ann@acme.example", `,"externalId":"x-1"`)
		bob := p.user("bob@acme.example", "")
		p.group("Staff", ann, bob)
		lost := map[string]int{}
		p.between(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			body := must[[]byte](t)(io.ReadAll(r.Body))
			r.Body = io.NopCloser(bytes.NewReader(body))
			p.mu.Lock()
			lost[string(body)]++
			again := lost[string(body)] > 1
			p.mu.Unlock()
			if again {
				return false
			}
			p.behind.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})
		p.push(allOf + `,"attributes":{"external_id":"external_id"}`)
		if s := p.settle(); s.Standing.People != 2 || s.Standing.Groups != 1 || s.Standing.Dead+s.Standing.Failing != 0 {
			t.Errorf("standing %+v", s)
		}
		if len(lost) != 3 {
			t.Errorf("%d creations got lost, want 3: %v", len(lost), lost)
		}
		externals := map[string]any{}
		for _, person := range p.list(p.there, "Users") {
			name, _ := person["userName"].(string)
			externals[name] = person["externalId"]
		}
		if want := map[string]any{"ann@acme.example": "x-1", "bob@acme.example": nil}; !maps.Equal(externals, want) {
			t.Errorf("there are %v, want %v", externals, want)
		}
		p.patch("/Users/"+bob, `{"op":"add","path":"title","value":"Dr."}`)
		p.settle()
		here, _, _ := p.world(p.here)
		there, _, _ := p.world(p.there)
		if diff := cmp.Diff(here, there); diff != "" {
			t.Errorf("here (-) and there (+):\n%s", diff)
		}
	})
}

// TestManagerMadeAnewMeanwhile: somebody is made there who refers to his manager,
// who is at the same time made anew with another id.
func TestManagerMadeAnewMeanwhile(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		ann := p.user("ann@acme.example", "")
		p.push(allOf)
		p.settle()
		tenant := must[*directory.Tenant](t)(p.in.store.TenantByName(t.Context(), "acme")).ID
		first, _ := p.list(p.there, "Users")[0]["id"].(string)
		p.patch("/Users/"+ann, `{"op":"add","path":"title","value":"Director"}`)
		p.user("bob@acme.example", `,"`+staffURN+`":{"manager":{"value":"`+ann+`"}}`)
		deleted := make(chan struct{})
		p.between(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.Method == http.MethodPatch:
				<-deleted // ann, who is gone by then
				return false
			case r.Method != http.MethodPost:
				return false
			}
			body := must[[]byte](t)(io.ReadAll(r.Body))
			r.Body = io.NopCloser(bytes.NewReader(body))
			if strings.Contains(string(body), "ann@") {
				return false
			}
			answer := httptest.NewRecorder()
			p.behind.ServeHTTP(answer, r)
			p.there(http.MethodDelete, "/Users/"+first, "")
			close(deleted)
			for anew := false; !anew; time.Sleep(time.Millisecond) {
				link, err := p.in.store.ProvisioningLink(t.Context(), tenant, id.ProvisioningTarget(p.target), outbound.User, ann)
				anew = err == nil && link.Live && link.Remote != first
			}
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = answer.Body.WriteTo(w)
			return true
		})
		p.settle()
		p.same()
	})
}

// TestNodeThatDiesInTheMiddle: the lease of a node that is gone runs out; what it
// had made and not written down is found.
func TestNodeThatDiesInTheMiddle(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for i := range 8 {
			p.user(fmt.Sprintf("u%d@acme.example", i), "")
		}
		p.push(allOf)
		// It makes four people, and hears of none of them.
		ctx, die := context.WithCancel(t.Context())
		var made atomic.Int64
		dead := make(chan struct{})
		p.between(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			p.behind.ServeHTTP(httptest.NewRecorder(), r)
			if made.Add(1) == 4 {
				die()
				close(dead)
			}
			<-dead
			panic(http.ErrAbortHandler)
		})
		if err := p.node().Run(ctx); err != nil {
			t.Fatal(err)
		}
		p.between(nil)
		if n := len(p.list(p.there, "Users")); n < 4 {
			t.Fatalf("it has made %d people", n)
		}
		p.counted()
		p.settle()
		p.same()
		if got := p.counted()["POST Users"]; got > 4 {
			t.Errorf("%d people were made again", got)
		}
		p.ahead.Store(int64(time.Minute)) // the second look at what is here is over
		stop := p.run()
		time.Sleep(200 * time.Millisecond)
		stop()
		// A node that died without a word keeps the target until its lease is over.
		now := p.in.now()
		claimed, err := p.in.store.ClaimTarget(t.Context(), now.Add(time.Hour), now.Add(time.Hour+2*time.Minute))
		if !errors.Is(err, fault.NotFound) {
			t.Errorf("nothing is to be done, and got %v %v", claimed, err)
		}
		p.user("late@acme.example", "")
		now = now.Add(time.Hour)
		if _, err := p.in.store.ClaimTarget(t.Context(), now, now.Add(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.in.store.ClaimTarget(t.Context(), now.Add(time.Minute), now.Add(3*time.Minute)); !errors.Is(err, fault.NotFound) {
			t.Errorf("two nodes have a target: %v", err)
		}
		p.ahead.Store(int64(time.Hour + 3*time.Minute))
		p.settle()
		p.same()
	})
}

// TestLargeGroup: its members are pushed by differences.
func TestLargeGroup(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		const size = 1000
		members := make([]string, 0, size)
		for begin := 0; begin < size; begin += 500 {
			operations := make([]string, 500)
			for i := range operations {
				operations[i] = fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"b%d","data":{"schemas":["%s"],"userName":"m%d@acme.example"}}`, i, userURN, begin+i)
			}
			for _, result := range bulk(t, p.handler, "acme", hereToken, operations...) {
				members = append(members, result.id())
			}
		}
		began := time.Now()
		p.push(allOf)
		p.settle()
		t.Logf("%d people: %v", size, time.Since(began).Round(time.Millisecond))
		began = time.Now()
		big := p.group("Everybody", members...)
		p.counted()
		p.settle()
		if got := p.counted(); got["PATCH Groups"] != size/100 || got["POST Groups"] != 1 || got["PUT Groups"]+got["POST Users"]+got["PATCH Users"] != 0 {
			t.Errorf("requests for %d members: %v", size, got)
		}
		t.Logf("a group of them: %v", time.Since(began).Round(time.Millisecond))
		began = time.Now()
		extra := p.user("extra@acme.example", "")
		p.patch("/Groups/"+big, `{"op":"add","path":"members","value":[{"value":"`+extra+`"}]},{"op":"remove","path":"members[value eq \"`+members[7]+`\"]"}`)
		p.settle()
		if got := p.counted(); got["PATCH Groups"] != 1 || got["POST Users"] != 1 || got["GET Users"] != 2 || got["GET Groups"]+got["PUT Groups"]+got["POST Groups"] != 0 {
			t.Errorf("requests for one member that comes and one that goes: %v", got)
		}
		t.Logf("one member comes and one goes: %v", time.Since(began).Round(time.Millisecond))
		p.here(http.MethodDelete, "/Users/"+members[9], "")
		p.settle()
		if got := p.counted(); got["DELETE Users"] != 1 || got["PATCH Groups"] != 0 {
			t.Errorf("requests for a member that is deleted: %v", got)
		}
		there, _ := p.there(http.MethodGet, "/Groups?filter="+strings.ReplaceAll(`displayName eq "Everybody"`, " ", "%20"), "")["Resources"].([]any)
		group, _ := there[0].(map[string]any)
		if list, _ := group["members"].([]any); len(list) != size-1 {
			t.Errorf("%d members there", len(list))
		}
	})
}
