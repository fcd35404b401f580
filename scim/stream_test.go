package scim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

// largeGroup makes a group of n members that nobody else knows.
func (in *instance) largeGroup(t *testing.T, c *client, name string, n int) string {
	t.Helper()
	group := c.group(name)
	tenant, err := in.store.TenantByName(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	members := make([]directory.Member, n)
	for i := range members {
		members[i] = directory.Member{ID: string(id.New[id.Membership]()), Kind: directory.MemberUser}
	}
	if _, err := in.store.AddMembers(t.Context(), tenant.ID, id.Group(group), members); err != nil {
		t.Fatal(err)
	}
	return group
}

// gauge is a client that reads and forgets, and looks now and then at what the
// server keeps in memory.
type gauge struct {
	*httptest.ResponseRecorder
	writes, bytes int
	most          uint64
}

func (g *gauge) Write(p []byte) (int, error) {
	if g.writes++; g.writes%40 == 0 {
		g.most = max(g.most, live())
	}
	g.bytes += len(p)
	return len(p), nil
}

// live is how many bytes are reachable.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestLargeGroupsTakeNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		in.largeGroup(t, c, "few", 5_000)
		in.largeGroup(t, c, "many", 100_000)
		taken, sent := map[string]uint64{}, map[string]int{}
		for _, name := range []string{"few", "many"} {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/t/acme/scim/v2/Groups?filter=displayName+eq+%22"+name+"%22", nil)
			request.Header = c.header.Clone()
			before := live()
			g := &gauge{ResponseRecorder: httptest.NewRecorder()}
			in.Config.Handler.ServeHTTP(g, request)
			taken[name], sent[name] = g.most-min(before, g.most), g.bytes
			t.Logf("%s: %d bytes sent, %d kept", name, g.bytes, taken[name])
			if n := map[string]int{"few": 5_000, "many": 100_000}[name]; g.bytes < 140*n {
				t.Fatalf("%s: %d bytes for %d members", name, g.bytes, n)
			}
		}
		// Who gathers an answer keeps all of it; the rest of the process, such as the
		// log, breathes by some hundred kilobytes meanwhile.
		if most := taken["few"] + uint64(sent["many"])/10; taken["many"] > most {
			t.Errorf("a group of 100,000 keeps %d bytes of %d sent, want at most %d", taken["many"], sent["many"], most)
		}
	})
}

// failingStore can't read members behind the first batch.
type failingStore struct {
	*storage.Store
	reads, failAt int
}

func (f *failingStore) Members(ctx context.Context, tenant id.Tenant, groups []id.Group, after string, limit int) ([]directory.GroupMember, error) {
	if f.reads++; f.reads >= f.failAt {
		return nil, errors.New("the database is gone")
	}
	return f.Store.Members(ctx, tenant, groups, after, limit)
}

func TestBrokenListsAreNotTakenForWhole(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		failing := &failingStore{Store: store, failAt: 100}
		in := newInstanceOn(t, store, failing)
		c := in.as(t, directory.ProfileRFC)
		group := in.largeGroup(t, c, "many", 10_000)
		small := c.group("small", c.user("ann"))
		for _, path := range []string{"/Groups/" + group, "/Groups"} {
			failing.reads, failing.failAt = 0, 3
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.URL+"/t/acme/scim/v2"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = c.header.Clone()
			res, err := in.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil || json.Valid(body) || len(body) == 0 {
				t.Errorf("%s: %d bytes, valid %t, error %v: the client can't see that members are missing", path, len(body), json.Valid(body), err)
			}
			failing.reads, failing.failAt = 0, 1
			r := c.get(path)
			r.fails(http.StatusInternalServerError, "")
			if r.Header.Get("ETag") != "" || r.Header.Get("Content-Location") != "" {
				t.Errorf("%s: an error with the headers of a resource: %v", path, r.Header)
			}
		}
		failing.failAt = 100
		for _, g := range []struct {
			id      string
			members int
		}{{group, 10_000}, {small, 1}} {
			if n := len(c.memberIDs(g.id)); n != g.members {
				t.Errorf("%d members of %d", n, g.members)
			}
		}
		failing.reads = 0
		shown := map[string]int{}
		for _, g := range c.get("/Groups").want(http.StatusOK).at("Resources").([]any) {
			members, _ := lookup(g, "members").([]any)
			shown[fmt.Sprint(lookup(g, "displayName"))] = len(members)
		}
		if shown["many"] != 10_000 || shown["small"] != 1 {
			t.Errorf("a list of groups shows %v", shown)
		}
	})
}
