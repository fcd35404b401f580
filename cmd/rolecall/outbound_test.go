package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/outbound"
	"github.com/rolecall/rolecall/scim/client"
)

// The directories of the two sides.
const (
	hereToken  = "rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"
	thereToken = "rcs-away-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"

	hereApply  = "tenants:\n- slug: acme\n  connections: [{name: directory, token: " + hereToken + "}]\n- slug: other\n"
	thereApply = "tenants:\n- slug: away\n  connections: [{name: rolecall, token: " + thereToken + "}]\n"

	staffURN  = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	changeURN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

// pair is an instance that pushes, and a server that it pushes to.
type pair struct {
	t       *testing.T
	in      *instance
	handler http.Handler
	ahead   atomic.Int64                        // of the clock of the nodes that push, in nanoseconds
	target  string                              // the id of the target
	store   func(outbound.Store) outbound.Store // what a node has in the place of the store; nil: the store

	far    *httptest.Server // with a proxy in between
	behind http.Handler     // what is behind the proxy
	away   string           // the base path there
	bearer string

	serving sync.RWMutex // held for reading while a request is on its way

	mu     sync.Mutex // guards what follows
	proxy  func(w http.ResponseWriter, r *http.Request) (handled bool)
	counts map[string]int // requests by method and kind
}

// newInstance opens an instance on a SQLite database of its own.
func newInstance(t *testing.T) *instance {
	t.Helper()
	c := &config{DatabaseURL: "sqlite:" + filepath.Join(t.TempDir(), "away.db"), MasterKey: base64.StdEncoding.EncodeToString(secret.NewMasterKey()), PublicURL: "http://localhost:8080", Language: "en"}
	in := must[*instance](t)(openInstance(t.Context(), c, errorsOnly(t)))
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// newPair makes the second Rolecall as well.
func newPair(t *testing.T, in *instance) *pair {
	t.Helper()
	there := newInstance(t)
	must[*applyReport](t)(there.apply(operator(t.Context()), parse(t, thereApply)))
	return newPairWith(t, in, handlerOf(t, there), "/t/away/scim/v2", thereToken)
}

func newPairWith(t *testing.T, in *instance, behind http.Handler, away, bearer string) *pair {
	t.Helper()
	must[*applyReport](t)(in.apply(operator(t.Context()), parse(t, hereApply)))
	p := &pair{t: t, in: in, handler: handlerOf(t, in), behind: whole(t, behind), away: away, bearer: bearer, counts: map[string]int{}}
	p.far = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.serving.RLock()
		defer p.serving.RUnlock()
		p.mu.Lock()
		kind, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, away+"/"), "/")
		p.counts[r.Method+" "+kind]++
		proxy := p.proxy
		p.mu.Unlock()
		if proxy == nil || !proxy(w, r) {
			p.behind.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(p.far.Close)
	return p
}

// whole is a server that must not fail by itself: what is tried against it fails
// in between.
func whole(t *testing.T, server http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		if answer.Code >= http.StatusInternalServerError && r.Context().Err() == nil {
			t.Errorf("the target: %s %s %s: %d %s", r.Method, r.URL, body, answer.Code, answer.Body)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		if _, err := io.Copy(w, answer.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
}

func eachPair(t *testing.T, play func(t *testing.T, p *pair)) {
	t.Helper()
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) { play(t, newPair(t, in)) })
}

// pass lets time pass for the nodes that push. No request takes so long: those of
// a node that was stopped are over before another takes its place.
func (p *pair) pass(d time.Duration) {
	p.serving.Lock()
	defer p.serving.Unlock()
	p.ahead.Add(int64(d))
}

// now is the time of the nodes that push.
func (p *pair) now() time.Time { return p.in.now().Add(time.Duration(p.ahead.Load())) }

// working reports whether a node has the target.
func (p *pair) working() bool {
	p.t.Helper()
	tenant := must[*directory.Tenant](p.t)(p.in.store.TenantByName(p.t.Context(), "acme")).ID
	target := must[*outbound.Target](p.t)(p.in.store.ProvisioningTarget(p.t.Context(), tenant, id.ProvisioningTarget(p.target)))
	return target.Claimed.After(p.now())
}

func (p *pair) between(proxy func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy = proxy
}

// counted returns the requests since the last time.
func (p *pair) counted() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts
	p.counts = map[string]int{}
	return counts
}

// node is another process that pushes, on the same database.
func (p *pair) node() *outbound.Outbound {
	p.t.Helper()
	var store outbound.Store = p.in.store
	if p.store != nil {
		store = p.store(store)
	}
	return must[*outbound.Outbound](p.t)(outbound.New(outbound.Deps{
		Store: store, Rights: directory.NewRights(p.in.store, p.in.blueprints), Definition: p.in.definition, Dial: client.NewDialer(true, p.now).Dial,
		Private: true, Keyring: p.in.keyring, Now: p.now, Logger: slog.New(slog.NewTextHandler(p.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Look: 2 * time.Millisecond,
	}))
}

// run starts a node; stop ends it and waits.
func (p *pair) run() (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	node := p.node()
	go func() { ended <- node.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
}

// standingBody is a target as the API shows it.
type standingBody struct {
	ID, Status   string
	Failures     int
	LastError    string     `json:"last_error"`
	RetryAt      *time.Time `json:"retry_at"`
	Capabilities *outbound.Capabilities
	Standing     struct{ Waiting, Failing, Dead, People, Groups int }
}

func (p *pair) api(method, path, body string, into any) *httptest.ResponseRecorder {
	p.t.Helper()
	var sent any
	if body != "" {
		sent = json.RawMessage(body)
	}
	return call(p.t, p.handler, method, "/api/v1/tenants/acme/provisioning-targets"+path, "Bearer "+instanceToken, sent, into)
}

// push makes the target; settings are members of JSON.
func (p *pair) push(settings string) {
	p.t.Helper()
	var made standingBody
	body := `{"name":"away","base_url":"` + p.far.URL + p.away + `","secret":"` + p.bearer + `"` + settings + `}`
	if r := p.api(http.MethodPost, "", body, &made); r.Code != http.StatusCreated {
		p.t.Fatalf("no target: %d %s", r.Code, r.Body)
	}
	p.target = made.ID
}

func (p *pair) standing() standingBody {
	p.t.Helper()
	var s standingBody
	p.api(http.MethodGet, "/"+p.target, "", &s)
	return s
}

// settle pushes until nothing waits. The clock moves where something does for
// its time.
func (p *pair) settle() standingBody {
	p.t.Helper()
	stop := p.run()
	defer stop()
	idle, last := 0, ""
	var runs struct{ Items []runBody }
	for began := time.Now(); time.Since(began) < 60*time.Second; time.Sleep(25 * time.Millisecond) {
		s := p.standing()
		if now := fmt.Sprintf("%+v", s.Standing); now != last { // however slow, it gets on
			began, last = time.Now(), now
		}
		p.api(http.MethodGet, "/"+p.target+"/runs", "", &runs)
		open := slices.ContainsFunc(runs.Items, func(r runBody) bool { return r.State == "waiting" || r.State == "running" })
		if open || s.Standing.Waiting+s.Standing.Failing > 0 || s.Failures > 0 {
			idle = 0
			switch now := p.now(); {
			case p.working(): // a claim outlasts every request: time that leaps meanwhile would end it
			case s.RetryAt != nil && s.RetryAt.After(now): // the target as a whole backs off
				p.ahead.Add(int64(s.RetryAt.Sub(now)))
			case !open && s.Standing.Failing > 0:
				p.ahead.Add(int64(time.Minute))
			}
			continue
		}
		if idle++; idle >= 3 {
			return s
		}
	}
	p.t.Fatalf("it does not settle: %+v %+v", p.standing(), runs.Items)
	return standingBody{}
}

// here sends a request of acme's directory and returns the resource.
func (p *pair) here(method, path, body string) map[string]any {
	p.t.Helper()
	var sent any
	if body != "" {
		sent = json.RawMessage(body)
	}
	r := call(p.t, p.handler, method, "/t/acme/scim/v2"+path, "Bearer "+hereToken, sent, nil)
	if r.Code >= 300 {
		p.t.Fatalf("%s %s %s: %d %s", method, path, body, r.Code, r.Body)
	}
	doc := map[string]any{}
	if r.Body.Len() > 0 {
		if err := json.Unmarshal(r.Body.Bytes(), &doc); err != nil {
			p.t.Fatal(err)
		}
	}
	return doc
}

func (p *pair) there(method, path, body string) map[string]any {
	p.t.Helper()
	r := httptest.NewRequest(method, p.away+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/scim+json")
	r.Header.Set("Authorization", "Bearer "+p.bearer)
	w := httptest.NewRecorder()
	p.behind.ServeHTTP(w, r)
	if w.Code >= 300 {
		p.t.Fatalf("%s %s there: %d %s", method, path, w.Code, w.Body)
	}
	doc := map[string]any{}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			p.t.Fatal(err)
		}
	}
	return doc
}

func (p *pair) user(userName, more string) string {
	p.t.Helper()
	id, _ := p.here(http.MethodPost, "/Users", `{"schemas":["`+userURN+`","`+staffURN+`"],"userName":"`+userName+`"`+more+`}`)["id"].(string)
	return id
}

func (p *pair) group(name string, members ...string) string {
	p.t.Helper()
	list := make([]map[string]string, len(members))
	for i, member := range members {
		list[i] = map[string]string{"value": member}
	}
	text := must[[]byte](p.t)(json.Marshal(list))
	id, _ := p.here(http.MethodPost, "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"`+name+`","members":`+string(text)+`}`)["id"].(string)
	return id
}

func (p *pair) patch(path, operations string) {
	p.t.Helper()
	p.here(http.MethodPatch, path, `{"schemas":["`+changeURN+`"],"Operations":[`+operations+`]}`)
}

// list walks through all resources of one side.
func (p *pair) list(get func(method, path, body string) map[string]any, kind string) []map[string]any {
	p.t.Helper()
	var all []map[string]any
	for {
		page := get(http.MethodGet, fmt.Sprintf("/%s?startIndex=%d&count=100", kind, len(all)+1), "")
		resources, _ := page["Resources"].([]any)
		for _, r := range resources {
			doc, _ := r.(map[string]any)
			all = append(all, doc)
		}
		if total, _ := page["totalResults"].(float64); len(resources) == 0 || len(all) >= int(total) {
			return all
		}
	}
}

// world is what one side has, with the names of people in the place of their ids.
// Of that side's own there is nothing in it; externals are the externalIds.
func (p *pair) world(get func(method, path, body string) map[string]any) (world map[string]any, ids, externals map[string]string) {
	p.t.Helper()
	world, ids, externals = map[string]any{}, map[string]string{}, map[string]string{}
	names := map[string]string{}
	users, groups := p.list(get, "Users"), p.list(get, "Groups")
	for _, doc := range slices.Concat(users, groups) {
		name, _ := doc["userName"].(string)
		if name == "" {
			name, _ = doc["displayName"].(string)
			name = "group " + name
		}
		id, _ := doc["id"].(string)
		names[id] = name
		ids[name] = id
		externals[name], _ = doc["externalId"].(string)
	}
	for _, doc := range slices.Concat(users, groups) {
		id, _ := doc["id"].(string)
		for _, own := range []string{"id", "meta", "externalId", "groups", "schemas"} {
			delete(doc, own)
		}
		if extension, ok := doc[staffURN].(map[string]any); ok {
			if manager, ok := extension["manager"].(map[string]any); ok {
				value, _ := manager["value"].(string)
				if extension["manager"] = names[value]; names[value] == "" {
					delete(extension, "manager") // he is gone
				}
			}
		}
		if members, ok := doc["members"].([]any); ok {
			var list []string
			for _, entry := range members {
				member, _ := entry.(map[string]any)
				value, _ := member["value"].(string)
				if names[value] == "" {
					p.t.Errorf("a member of %s is %s, who is nobody", names[id], value)
				}
				list = append(list, names[value])
			}
			slices.Sort(list)
			if doc["members"] = list; len(list) == 0 {
				delete(doc, "members")
			}
		}
		if _, twice := world[names[id]]; twice {
			p.t.Errorf("there are two of %s", names[id])
		}
		world[names[id]] = doc
	}
	return world, ids, externals
}

// same checks that both sides have the same.
func (p *pair) same() {
	p.t.Helper()
	here, ids, _ := p.world(p.here)
	there, _, externals := p.world(p.there)
	if diff := cmp.Diff(here, there); diff != "" {
		p.t.Errorf("here (-) and there (+):\n%s", diff)
	}
	if !maps.Equal(ids, externals) {
		p.t.Errorf("the externalIds there are not the ids here:\n%v\n%v", ids, externals)
	}
}

const allOf = `,"groups":{"scope":"all"},"on_removal":"delete"`

// TestPushToAnotherRolecall: everything that happens here happens there.
func TestPushToAnotherRolecall(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		ann := p.user("ann@acme.example", `,"name":{"givenName":"Ann","middleName":"B","familyName":"Lee"},"password":"Sup3r-secret-Pa55","externalId":"x-1"`)
		bob := p.user("bob@acme.example", `,"title":"Dr.","emails":[{"value":"bob@acme.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}],"`+staffURN+`":{"department":"R&D","manager":{"value":"`+ann+`"}}`)
		inner := p.group("Inner", bob)
		staff := p.group("Staff", ann, inner)
		p.push(allOf)
		if s := p.settle(); s.Standing.People != 2 || s.Standing.Groups != 2 || s.Standing.Dead != 0 {
			t.Errorf("standing %+v", s)
		}
		p.same()

		p.counted()
		p.patch("/Users/"+ann, `{"op":"replace","path":"active","value":false},{"op":"remove","path":"name.middleName"},{"op":"add","path":"nickName","value":"A"}`)
		p.patch("/Users/"+bob, `{"op":"remove","path":"emails[type eq \"home\"]"},{"op":"remove","path":"title"},{"op":"remove","path":"`+staffURN+`:manager"}`)
		p.patch("/Groups/"+staff, `{"op":"replace","path":"displayName","value":"People"},{"op":"add","path":"members","value":[{"value":"`+bob+`"}]}`)
		p.settle()
		p.same()
		if got := p.counted(); got["PATCH Users"] != 2 || got["PATCH Groups"] != 2 || len(got) != 2 {
			t.Errorf("requests for three changes: %v", got)
		}

		cid := p.user("cid@acme.example", "")
		p.patch("/Groups/"+inner, `{"op":"replace","path":"members","value":[{"value":"`+cid+`"}]}`)
		p.here(http.MethodDelete, "/Users/"+ann, "")
		p.here(http.MethodDelete, "/Groups/"+staff, "")
		p.settle()
		p.same()
		var errors struct{ Items []map[string]any }
		if p.api(http.MethodGet, "/"+p.target+"/errors", "", &errors); len(errors.Items) != 0 {
			t.Errorf("errors %v", errors.Items)
		}
	})
}

// runBody is a run as the API shows it.
type runBody struct {
	ID, State, Error string
	DryRun           bool `json:"dry_run"`
	Counts           outbound.RunCounts
	Items            []outbound.RunItem
}

// compare makes a run and returns it when it has ended.
func (p *pair) compare(dry bool) runBody {
	p.t.Helper()
	var r runBody
	if w := p.api(http.MethodPost, "/"+p.target+"/runs", fmt.Sprintf(`{"dry_run":%v}`, dry), &r); w.Code != http.StatusAccepted {
		p.t.Fatalf("no run: %d %s", w.Code, w.Body)
	}
	stop := p.run()
	defer stop()
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		p.api(http.MethodGet, "/"+p.target+"/runs/"+r.ID, "", &r)
		if r.State == "done" || r.State == "failed" {
			return r
		}
	}
	p.t.Fatalf("the run does not end: %+v", r)
	return r
}
