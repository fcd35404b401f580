package scim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

// listener is a follower that remembers what it is told.
type listener struct {
	mu   sync.Mutex
	txns []string
	last string       // the operation told last
	fail func() error // nil: it takes what it is told
}

func (*listener) Follows(context.Context, id.Tenant) (bool, error) { return false, nil }

func (*listener) ResourceChanged(context.Context, *directory.ResourceChange) error { return nil }

func (l *listener) AsyncDone(_ context.Context, result *directory.AsyncResult) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail()
	}
	l.txns, l.last = append(l.txns, result.Txn()), string(result.Operation)
	return nil
}

func (l *listener) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.txns)
}

// working runs what carries out asynchronous requests until the test ends, or
// stop is called.
func (in *instance) working(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = in.handler.Run(ctx) })
	stop = func() { cancel(); ended.Wait() }
	t.Cleanup(stop)
	return stop
}

// done polls the address of an accepted request until it has the result.
func (c *client) done(accepted *response) []result {
	c.t.Helper()
	path := strings.TrimPrefix(accepted.Header.Get("Location"), publicURL+"/t/"+c.tenant+"/scim/v2")
	for range 400 {
		r := c.get(path)
		if r.Status == http.StatusOK {
			return r.has("schemas.0", bulkResponseURN).results()
		}
		if r.want(http.StatusAccepted); len(r.Body) > 0 || r.Header.Get("Retry-After") == "" {
			c.t.Fatalf("an unfinished request answers %q, %v", r.Body, r.Header)
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatal("the request is never done")
	return nil
}

func (r *response) accepted() *response {
	r.t.Helper()
	r.want(http.StatusAccepted)
	txn := r.Header.Get("Set-Txn")
	if len(r.Body) > 0 || txn == "" || r.Header.Get("Preference-Applied") != "respond-async" || !strings.HasSuffix(r.Header.Get("Location"), "/"+txn) {
		r.t.Fatalf("RFC 9967 §2.5.1: the answer is %q with %v", r.Body, r.Header)
	}
	return r
}

func eachListening(t *testing.T, test func(t *testing.T, in *instance, l *listener)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		l := &listener{}
		test(t, newInstance(t, store, l), l)
	})
}

func TestAsynchronousBulk(t *testing.T) {
	eachListening(t, func(t *testing.T, in *instance, l *listener) {
		in.working(t)
		c := in.as(t, directory.ProfileRFC)
		body := bulkOf(newGroup("g", "Later", "bulkId:u"), newUser("u", "later", "password", "only-sealed-1"), bulkOp("DELETE", "/Users/none"))
		r := c.with("Prefer", "respond-async").send("POST", "/Bulk", body).accepted()
		results := c.done(r)
		wantStatuses(t, results, "201 201 404")
		if len(c.memberIDs(results[0].id())) != 1 {
			t.Error("the group has no member")
		}
		txn := r.Header.Get("Set-Txn")
		heard := l.heard()
		slices.Sort(heard)
		if want := []string{txn + ":0", txn + ":1", txn + ":2"}; !slices.Equal(heard, want) {
			t.Errorf("RFC 9967 §2.5.1.2: the events are of %v, want %v", heard, want)
		}
		path := "/AsyncRequests/" + txn
		t.Run("rule 79 nobody else reads it", func(t *testing.T) {
			in.as(t, directory.ProfileEntra).get(path).fails(http.StatusNotFound, "", txn)
			in.of(t, "umbrella", directory.ProfileRFC).get(path).fails(http.StatusNotFound, "", txn)
			c.get("/AsyncRequests/1").fails(http.StatusNotFound, "", "1")
		})
		t.Run("it expires", func(t *testing.T) {
			in.clock.Advance(directory.AsyncRetention + time.Second)
			c.get(path).fails(http.StatusNotFound, "", txn)
			if err := in.directory.CleanAsync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := in.store.AsyncRequest(t.Context(), acme(t, in), id.AsyncRequest(txn)); fault.As(err).Kind != fault.NotFound {
				t.Errorf("after the clean-up: %v", err)
			}
		})
	})
}

func acme(t *testing.T, in *instance) id.Tenant {
	t.Helper()
	tenant, err := in.store.TenantByName(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return tenant.ID
}

func TestAsynchronousSingleOperations(t *testing.T) {
	eachListening(t, func(t *testing.T, in *instance, l *listener) {
		in.working(t)
		plain := in.as(t, directory.ProfileRFC)
		c := plain.with("Prefer", "foo; bar, Respond-Async")
		user := map[string]any{"schemas": []string{userURN}, "userName": "single"}
		r := c.send("POST", "/Users", user).accepted()
		results := plain.done(r)
		wantStatuses(t, results, "201")
		if heard := l.heard(); !slices.Equal(heard, []string{r.Header.Get("Set-Txn")}) {
			t.Errorf("the events are of %v", heard)
		}
		path := "/Users/" + results[0].id()
		plain.get(path).has("userName", "single")

		wantStatuses(t, plain.done(c.send("PATCH", path, patchOf(op("add", "title", "x"))).accepted()), "200")
		wantStatuses(t, plain.done(c.with("If-Match", `W/"1"`).send("PUT", path, user).accepted()), "412")
		if !strings.Contains(l.last, `"status":"412"`) || !strings.Contains(l.last, errorURN) {
			t.Errorf("RFC 9967 §2.5.1.2: the failure is told as %s", l.last)
		}
		wantStatuses(t, plain.done(c.send("DELETE", path, nil).accepted()), "204")
		plain.get(path).want(http.StatusNotFound)

		c.get("/Users").want(http.StatusOK)
		c.send("POST", "/Users", "{").fails(http.StatusBadRequest, "invalidSyntax")
		t.Run("RFC 7240 §4.3 who waits gets the plain answer", func(t *testing.T) {
			plain.with("Prefer", "respond-async, wait=10").send("POST", "/Users", user).want(http.StatusCreated).has("userName", "single")
		})
	})
}

func TestWaitForAnAsynchronousBulk(t *testing.T) {
	eachListening(t, func(t *testing.T, in *instance, _ *listener) {
		c := in.as(t, directory.ProfileRFC)
		begun := time.Now()
		slow := c.with("Prefer", "respond-async, wait=1").send("POST", "/Bulk", bulkOf(newUser("u", "slow"))).accepted() // nobody works
		if took := time.Since(begun); took < time.Second {
			t.Errorf("RFC 7240 §4.3: waited %v", took)
		}
		in.working(t)
		wantStatuses(t, c.done(slow), "201")
		r := c.with("Prefer", "respond-async; x=y, wait=20").send("POST", "/Bulk", bulkOf(newUser("u", "fast"))).want(http.StatusOK)
		wantStatuses(t, r.results(), "201")
		if got := r.Header.Get("Preference-Applied"); got != "wait=20" {
			t.Errorf("Preference-Applied is %q", got)
		}
	})
}

// A request is stored sealed, without its body once it is done, and for a tenant
// there are only so many.
func TestAsynchronousRequestsAtRest(t *testing.T) {
	eachListening(t, func(t *testing.T, in *instance, _ *listener) {
		c := in.as(t, directory.ProfileRFC)
		later := c.with("Prefer", "respond-async")
		first := later.send("POST", "/Bulk", bulkOf(newUser("u", "secretive", "password", "only-sealed-1"))).accepted()
		txn := id.AsyncRequest(first.Header.Get("Set-Txn"))
		stored, err := in.store.AsyncRequest(t.Context(), acme(t, in), txn)
		if err != nil || len(stored.Body) == 0 || strings.Contains(string(stored.Body), "secretive") {
			t.Errorf("the request is stored as %q, %v", stored.Body, err)
		}
		for range 31 {
			later.send("DELETE", "/Users/none", nil).accepted()
		}
		if r := later.send("DELETE", "/Users/none", nil).fails(http.StatusTooManyRequests, "", "32"); r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		in.of(t, "umbrella", directory.ProfileRFC).with("Prefer", "respond-async").send("DELETE", "/Users/none", nil).accepted()
		in.working(t)
		c.done(first)
		if stored, err = in.store.AsyncRequest(t.Context(), acme(t, in), txn); err != nil || len(stored.Body) > 0 {
			t.Errorf("afterwards it is %q, %v", stored.Body, err)
		}
	})
}

// A node that dies half way loses nothing, and the next one repeats nothing;
// what can't be told is not done.
func TestAsynchronousRequestsSurviveANode(t *testing.T) {
	eachListening(t, func(t *testing.T, in *instance, l *listener) {
		c := in.as(t, directory.ProfileRFC)
		r := c.with("Prefer", "respond-async").send("POST", "/Bulk", bulkOf(
			newUser("u", "first"), newUser("v", "second", enterpriseURN, managedBy("bulkId:u")), newUser("w", "third"),
		)).accepted()
		// The first node carries out the first operation and dies.
		operator := authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
		claimed, _, err := in.directory.ClaimAsync(operator)
		if err != nil {
			t.Fatal(err)
		}
		ann := c.user("ann")
		done := fmt.Sprintf(`{"location":"%s/t/acme/scim/v2/Users/%s","method":"POST","bulkId":"u","version":"W/\"1\"","status":"201"}`, publicURL, ann)
		write := func() error {
			return in.directory.Together(operator, func(ctx context.Context) error {
				return in.directory.AddAsyncResults(ctx, []directory.AsyncResult{{
					Tenant: claimed.Tenant, Request: claimed.ID, Resource: ann, Operation: json.RawMessage(done),
				}})
			})
		}
		if err := write(); err != nil {
			t.Fatal(err)
		}
		if err := write(); !directory.IsAsyncTaken(err) {
			t.Errorf("a second result of one operation: %v", err)
		}
		if _, _, err := in.directory.ClaimAsync(operator); fault.As(err).Kind != fault.NotFound {
			t.Errorf("a second node gets the request: %v", err)
		}
		for _, fail := range []func() error{
			func() error { return fault.New(fault.Internal, "the event can't be written") },
			func() error { panic("nobody has foreseen this") },
		} {
			in.clock.Advance(directory.AsyncLease + time.Second)
			tried := make(chan struct{}, 10)
			l.mu.Lock()
			l.fail = func() error {
				tried <- struct{}{}
				return fail()
			}
			l.mu.Unlock()
			stop := in.working(t)
			<-tried
			stop()
			c.get("/Users?filter=userName%20eq%20%22third%22").has("totalResults", 0)
		}
		l.mu.Lock()
		l.fail = nil
		l.mu.Unlock()
		in.clock.Advance(directory.AsyncLease + time.Second)
		in.working(t)
		results := c.done(r)
		wantStatuses(t, results, "201 201 201")
		if results[0].id() != ann {
			t.Error("the first operation was done again")
		}
		c.get("/Users/"+results[1].id()).has(enterpriseURN+"|manager.value", ann)
		c.get("/Users").has("totalResults", 3)
	})
}

// Whatever makes a node stop is not tried for ever.
func TestAsynchronousRequestsAreGivenUp(t *testing.T) {
	eachListening(t, func(t *testing.T, in *instance, _ *listener) {
		c := in.as(t, directory.ProfileRFC)
		r := c.with("Prefer", "respond-async").send("POST", "/Bulk", bulkOf(newUser("u", "poison"))).accepted()
		for range 5 {
			if _, _, err := in.directory.ClaimAsync(t.Context()); err != nil {
				t.Fatal(err)
			}
			in.clock.Advance(directory.AsyncLease + time.Second)
		}
		if _, _, err := in.directory.ClaimAsync(t.Context()); fault.As(err).Kind != fault.NotFound {
			t.Errorf("the sixth time: %v", err)
		}
		if results := c.done(r); len(results) != 0 {
			t.Errorf("results %+v", results)
		}
	})
}
