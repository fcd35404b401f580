package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/events/delivery"
	"github.com/rolecall/rolecall/internal/id"
)

const eventsApply = `
tenants:
- slug: acme
  connections: [{name: directory, token: rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1}]
- slug: other
  connections: [{name: directory, token: rcs-other-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1}]
`

// feed is an instance with tenants whose events are followed. Its nodes have a
// clock that a test moves.
type feed struct {
	t       *testing.T
	in      *instance
	handler http.Handler
	ahead   atomic.Int64     // of the clock, in nanoseconds
	clock   func() time.Time // by which a node times receivers
	within  time.Duration
	names   map[string]string
}

func newFeed(t *testing.T, in *instance) *feed {
	t.Helper()
	must[*applyReport](t)(in.apply(operator(t.Context()), parse(t, eventsApply)))
	return &feed{t: t, in: in, handler: handlerOf(t, in), clock: in.now, names: map[string]string{}}
}

func onFeed(t *testing.T, play func(f *feed)) {
	t.Helper()
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) { play(newFeed(t, in)) })
}

// node is another process on the same database.
func (f *feed) node() *delivery.Delivery {
	f.t.Helper()
	e := must[*events.Events](f.t)(events.New(events.Deps{
		Store: f.in.store, Rights: directory.NewRights(f.in.store, f.in.blueprints), Schemas: f.in.schemas, Keyring: f.in.keyring,
		Issuer: f.in.config.PublicURL, Now: func() time.Time { return f.in.now().Add(time.Duration(f.ahead.Load())) },
	}))
	return delivery.New(delivery.Deps{
		Events: e, OIDC: f.in.oidc, PublicURL: f.in.config.PublicURL, Logger: slog.New(slog.DiscardHandler), Now: f.clock,
		Look: 5 * time.Millisecond, Wait: 3 * time.Second, Within: f.within,
	})
}

// run starts a node that pushes; stop ends it and waits.
func (f *feed) run() (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.node().Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
}

// scim sends a request of acme's directory; the resource gets the name.
func (f *feed) scim(method, path, body, name string) {
	f.t.Helper()
	var made struct{ ID string }
	var into any
	if name != "" {
		into = &made
	}
	for name, id := range f.names {
		path, body = strings.ReplaceAll(path, name, id), strings.ReplaceAll(body, name, id)
	}
	var sent any
	if body != "" {
		sent = json.RawMessage(body)
	}
	r := call(f.t, f.handler, method, "/t/acme/scim/v2"+path, "Bearer rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1", sent, into)
	if r.Code >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, path, r.Code, r.Body)
	}
	if name != "" {
		f.names[name] = made.ID
	}
}

func (f *feed) user(userName, name string) {
	f.t.Helper()
	f.scim(http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+userName+`","externalId":"x-`+userName+`","password":"Sup3r-secret-Pa55"}`, name)
}

// madeStream is a stream as the API returns it.
type madeStream struct {
	ID, Status, Reason, Token string
	EndpointURL               string `json:"endpoint_url"`
	Failures                  int
	Dropped                   int
	EventsDelivered           []string `json:"events_delivered"`
}

func (f *feed) api(method, path, body string, into any) *httptest.ResponseRecorder {
	f.t.Helper()
	var sent any
	if body != "" {
		sent = json.RawMessage(body)
	}
	return call(f.t, f.handler, method, "/api/v1/tenants/acme/event-streams"+path, "Bearer "+instanceToken, sent, into)
}

func (f *feed) stream(body string) *madeStream {
	f.t.Helper()
	s := &madeStream{}
	if r := f.api(http.MethodPost, "", body, s); r.Code != http.StatusCreated {
		f.t.Fatalf("no stream: %d %s", r.Code, r.Body)
	}
	return s
}

func (f *feed) show(s *madeStream) *madeStream {
	f.t.Helper()
	shown := &madeStream{}
	f.api(http.MethodGet, "/"+s.ID, "", shown)
	return shown
}

// open checks a token as a receiver does: by the published keys, its type and
// its claims (RFC 8417 §2.2, RFC 9967 §2.1).
func (f *feed) open(token string) map[string]any {
	f.t.Helper()
	var keys jose.JSONWebKeySet
	call(f.t, f.handler, http.MethodGet, "/oauth2/keys", "", nil, &keys)
	signed := must[*jose.JSONWebSignature](f.t)(jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256}))
	header := signed.Signatures[0].Header
	if header.ExtraHeaders[jose.HeaderType] != "secevent+jwt" {
		f.t.Errorf("the token is of type %v", header.ExtraHeaders[jose.HeaderType])
	}
	found := keys.Key(header.KeyID)
	if len(found) != 1 {
		f.t.Fatalf("key %q is not published", header.KeyID)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(must[[]byte](f.t)(signed.Verify(found[0].Key)), &claims); err != nil {
		f.t.Fatal(err)
	}
	if _, sub := claims["sub"]; sub || claims["iss"] != f.in.config.PublicURL || claims["iat"] == nil || claims["jti"] == nil || claims["txn"] == "" || claims["aud"] == nil {
		f.t.Errorf("claims %v", claims)
	}
	return claims
}

// polled is an answer to a poll.
type polled struct {
	Sets map[string]string
	More bool `json:"moreAvailable"`
}

func (f *feed) poll(handler http.Handler, token, body string) (all []map[string]any, p polled) {
	f.t.Helper()
	if r := call(f.t, handler, http.MethodPost, "/t/acme/events/poll", "Bearer "+token, json.RawMessage(body), &p); r.Code != http.StatusOK {
		f.t.Fatalf("poll: %d %s", r.Code, r.Body)
	}
	for jti, token := range p.Sets {
		claims := f.open(token)
		if claims["jti"] != jti {
			f.t.Errorf("the event %s is under %s", claims["jti"], jti)
		}
		all = append(all, claims)
	}
	slices.SortFunc(all, func(a, b map[string]any) int { return strings.Compare(a["jti"].(string), b["jti"].(string)) }) //nolint:forcetypeassert // checked above
	return all, p
}

// told is what events say, one a line, with names in place of identifiers.
func (f *feed) told(all []map[string]any) string {
	f.t.Helper()
	var text strings.Builder
	for _, claims := range all {
		fmt.Fprintf(&text, "%s %s\n", must[[]byte](f.t)(json.Marshal(claims["sub_id"])), must[[]byte](f.t)(json.Marshal(claims["events"])))
	}
	said := text.String()
	for name, id := range f.names {
		said = strings.ReplaceAll(said, id, name)
	}
	return strings.ReplaceAll(said, "urn:ietf:params:scim:", "…")
}

const now = `{"returnImmediately":true}`

// TestEventsOfChanges: RFC 9967 §2.4, each kind of event in both formats.
func TestEventsOfChanges(t *testing.T) {
	onFeed(t, func(f *feed) {
		full := f.stream(`{"name":"full","method":"poll","format":"full","audience":["https://rp.example"]}`)
		notice := f.stream(`{"name":"notice","method":"poll"}`)
		some := f.stream(`{"name":"some","method":"poll","events_requested":["urn:ietf:params:scim:event:prov:deactivate"]}`)
		f.user("ann@acme.example", "ANN")
		f.scim(http.MethodPatch, "/Users/ANN", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false},{"op":"add","path":"nickName","value":"A"}]}`, "")
		f.scim(http.MethodPut, "/Users/ANN", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ann@acme.example","active":true,"title":"Dr."}`, "")
		f.scim(http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Staff","members":[{"value":"ANN"}]}`, "STAFF")
		f.scim(http.MethodPatch, "/Groups/STAFF", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"remove","path":"members[value eq \"ANN\"]"}]}`, "")
		f.scim(http.MethodDelete, "/Groups/STAFF", "", "")
		f.scim(http.MethodDelete, "/Users/ANN", "", "")

		all, p := f.poll(f.handler, full.Token, now)
		if p.More || len(all) != 7 {
			t.Fatalf("%d events, more: %v", len(all), p.More)
		}
		ann, annReplaced, staff := `{"externalId":"x-ann@acme.example","format":"scim","id":"ANN","uri":"/Users/ANN"} `, `{"format":"scim","id":"ANN","uri":"/Users/ANN"} `, `{"format":"scim","id":"STAFF","uri":"/Groups/STAFF"} `
		want := strings.Join([]string{
			ann + `{"…event:prov:create:full":{"data":{"active":true,"externalId":"x-ann@acme.example","id":"ANN","schemas":["…schemas:core:2.0:User"],"userName":"ann@acme.example"},"version":"W/\"1\""}}`,
			ann + `{"…event:prov:deactivate":{},"…event:prov:patch:full":{"data":{"Operations":[{"op":"replace","path":"active","value":false},{"op":"replace","path":"nickName","value":"A"}],"schemas":["…api:messages:2.0:PatchOp"]},"version":"W/\"2\""}}`,
			annReplaced + `{"…event:prov:activate":{},"…event:prov:put:full":{"data":{"active":true,"id":"ANN","schemas":["…schemas:core:2.0:User"],"title":"Dr.","userName":"ann@acme.example"},"version":"W/\"3\""}}`,
			staff + `{"…event:prov:create:full":{"data":{"displayName":"Staff","id":"STAFF","members":[{"value":"ANN"}],"schemas":["…schemas:core:2.0:Group"]},"version":"W/\"1\""}}`,
			staff + `{"…event:prov:patch:full":{"data":{"Operations":[{"op":"remove","path":"members[value eq \"ANN\"]"}],"schemas":["…api:messages:2.0:PatchOp"]},"version":"W/\"2\""}}`,
			staff + `{"…event:prov:delete":{}}`,
			annReplaced + `{"…event:prov:delete":{}}`, "",
		}, "\n")
		if got := f.told(all); got != want {
			t.Errorf("full:\n%s\nwant\n%s", got, want)
		}
		if aud := fmt.Sprint(all[0]["aud"]); aud != "[https://rp.example]" {
			t.Errorf("audience %s", aud)
		}
		want = strings.Join([]string{
			ann + `{"…event:prov:create:notice":{"attributes":["id","active","externalId","schemas","userName"],"version":"W/\"1\""}}`,
			ann + `{"…event:prov:deactivate":{},"…event:prov:patch:notice":{"attributes":["active","nickName"],"version":"W/\"2\""}}`,
			annReplaced + `{"…event:prov:activate":{},"…event:prov:put:notice":{"attributes":["active","externalId","nickName","title"],"version":"W/\"3\""}}`,
			staff + `{"…event:prov:create:notice":{"attributes":["id","displayName","members","schemas"],"version":"W/\"1\""}}`,
			staff + `{"…event:prov:patch:notice":{"attributes":["members"],"version":"W/\"2\""}}`,
			staff + `{"…event:prov:delete":{}}`,
			annReplaced + `{"…event:prov:delete":{}}`, "",
		}, "\n")
		noticed, _ := f.poll(f.handler, notice.Token, now)
		if got := f.told(noticed); got != want {
			t.Errorf("notice:\n%s\nwant\n%s", got, want)
		}
		for i := range noticed {
			if noticed[i]["txn"] != all[i]["txn"] || noticed[i]["jti"] == all[i]["jti"] {
				t.Errorf("event %d: one change has one txn, and each token a jti of its own", i)
			}
		}
		few, _ := f.poll(f.handler, some.Token, now)
		if got := f.told(few); got != ann+`{"…event:prov:deactivate":{}}`+"\n" {
			t.Errorf("of deactivations only: %s", got)
		}
	})
}

// TestPollOfEvents: RFC 8936 §2.
func TestPollOfEvents(t *testing.T) {
	onFeed(t, func(f *feed) {
		s := f.stream(`{"name":"poll","method":"poll"}`)
		for i := range 3 {
			f.user(fmt.Sprintf("u%d@acme.example", i), fmt.Sprint("USER", i))
		}
		first, p := f.poll(f.handler, s.Token, `{"maxEvents":2,"returnImmediately":true}`)
		if len(first) != 2 || !p.More {
			t.Fatalf("%d events of 2, more: %v", len(first), p.More)
		}
		jti := func(claims map[string]any) string { return fmt.Sprint(claims["jti"]) }
		// One is taken over, one is not; a wrong one changes nothing.
		ack := fmt.Sprintf(`{"ack":[%q,"018f0000-0000-7000-8000-000000000000","x"],"returnImmediately":true}`, jti(first[0]))
		rest, p := f.poll(f.handler, s.Token, ack)
		if len(rest) != 1 || p.More {
			t.Fatalf("then %d events, more: %v", len(rest), p.More)
		}
		if none, p := f.poll(f.handler, s.Token, `{"maxEvents":0}`); len(none) != 0 || p.More {
			t.Errorf("asked for none: %v %v", none, p.More)
		}
		// Another node, after a while: what was not acknowledged comes again.
		f.ahead.Store(int64(events.PollLease + time.Second))
		later := gin.New()
		f.node().Mount(later)
		again, _ := f.poll(later, s.Token, now)
		if len(again) != 2 || jti(again[0]) != jti(first[1]) || jti(again[1]) != jti(rest[0]) {
			t.Fatalf("again %v", again)
		}
		// A receiver's error sets an event aside, until somebody has it tried again.
		refusal := fmt.Sprintf(`{"setErrs":{%q:{"err":"invalid_request","description":"no such user"}},"ack":[%q],"returnImmediately":true}`, jti(again[0]), jti(again[1]))
		if left, _ := f.poll(later, s.Token, refusal); len(left) != 0 {
			t.Errorf("left %v", left)
		}
		var dead struct {
			Items []struct{ ID, Reason, Resource string }
		}
		f.api(http.MethodGet, "/"+s.ID+"/dead-letters", "", &dead)
		if len(dead.Items) != 1 || dead.Items[0].ID != jti(again[0]) || !strings.Contains(dead.Items[0].Reason, "no such user") {
			t.Fatalf("dead letters %+v", dead)
		}
		f.api(http.MethodPost, "/"+s.ID+"/dead-letters/retry", "", nil)
		if back, _ := f.poll(later, s.Token, now); len(back) != 1 || jti(back[0]) != jti(again[0]) {
			t.Errorf("after the retry %v", back)
		}
		f.poll(later, s.Token, fmt.Sprintf(`{"ack":[%q],"maxEvents":0}`, jti(again[0])))

		// A poll waits for an event.
		go func() {
			time.Sleep(300 * time.Millisecond)
			r := httptest.NewRequest(http.MethodPost, "/t/acme/scim/v2/Users", strings.NewReader(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"late@acme.example"}`))
			r.Header.Set("Content-Type", "application/scim+json")
			r.Header.Set("Authorization", "Bearer rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1")
			f.handler.ServeHTTP(httptest.NewRecorder(), r)
		}()
		if awaited, _ := f.poll(f.handler, s.Token, `{}`); len(awaited) != 1 {
			t.Errorf("awaited %v", awaited)
		}
		// Who has no token of this tenant's learns nothing.
		for what, r := range map[string]*httptest.ResponseRecorder{
			"no token":       call(t, f.handler, http.MethodPost, "/t/acme/events/poll", "", json.RawMessage(now), nil),
			"a wrong one":    call(t, f.handler, http.MethodPost, "/t/acme/events/poll", "Bearer rce_x", json.RawMessage(now), nil),
			"another tenant": call(t, f.handler, http.MethodPost, "/t/other/events/poll", "Bearer "+s.Token, json.RawMessage(now), nil),
			"no tenant":      call(t, f.handler, http.MethodPost, "/t/nowhere/events/poll", "Bearer "+s.Token, json.RawMessage(now), nil),
		} {
			if r.Code != http.StatusUnauthorized || !strings.Contains(r.Body.String(), "authentication_failed") || r.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %s", what, r.Code, r.Body)
			}
		}
		if r := call(t, f.handler, http.MethodPost, "/t/acme/events/poll", "Bearer "+s.Token, json.RawMessage(`{"maxEvents":-1}`), nil); r.Code != http.StatusBadRequest {
			t.Errorf("maxEvents -1: %d", r.Code)
		}
		var rotated madeStream
		f.api(http.MethodPost, "/"+s.ID+"/rotate", "", &rotated)
		if r := call(t, f.handler, http.MethodPost, "/t/acme/events/poll", "Bearer "+s.Token, json.RawMessage(now), nil); r.Code != http.StatusUnauthorized || rotated.Token == "" {
			t.Errorf("the old token after a rotation: %d", r.Code)
		}
	})
}

// TestEventsAndTheirTransaction: a change that is undone leaves no event, and
// none is written of a stream that is disabled.
func TestEventsAndTheirTransaction(t *testing.T) {
	onFeed(t, func(f *feed) {
		s := f.stream(`{"name":"poll","method":"poll"}`)
		undone := errors.New("undone")
		err := f.in.store.InTx(operator(t.Context()), func(ctx context.Context) error {
			tenant := must[*directory.Tenant](t)(f.in.directory.Tenant(ctx, "acme"))
			u := must[*directory.User](t)(f.in.directory.SaveUser(ctx, directory.UserSpec{Email: "x@acme.example"}))
			must[*directory.Membership](t)(f.in.directory.SaveMembership(ctx, tenant.ID, u, directory.MembershipSpec{}))
			return undone
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		call(t, f.handler, http.MethodPost, "/t/other/scim/v2/Users", "Bearer rcs-other-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1", json.RawMessage(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"o@other.example"}`), nil)
		if all, _ := f.poll(f.handler, s.Token, now); len(all) != 0 {
			t.Errorf("events %v of what has not happened, or elsewhere", all)
		}
		f.api(http.MethodPatch, "/"+s.ID, `{"status":"disabled"}`, nil)
		f.user("nobody@acme.example", "NOBODY")
		f.api(http.MethodPatch, "/"+s.ID, `{"status":"paused"}`, nil)
		f.user("waits@acme.example", "WAITS")
		if all, _ := f.poll(f.handler, s.Token, now); len(all) != 0 {
			t.Errorf("a stream that is paused tells %v", all)
		}
		f.api(http.MethodPatch, "/"+s.ID, `{"status":"enabled"}`, nil)
		if all, _ := f.poll(f.handler, s.Token, now); len(all) != 1 || !strings.Contains(f.told(all), "WAITS") {
			t.Errorf("events %s", f.told(all))
		}
	})
}

// receiver takes pushed events.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	order   []string       // of the events that it took, by the resource
	tokens  map[string]int // how often each came
	respond func(w http.ResponseWriter, resource string) bool
	header  string
}

var resourceURI = regexp.MustCompile(`/Users/[0-9a-f-]+`)

func (f *feed) receiver(respond func(w http.ResponseWriter, resource string) bool) *receiver {
	r := &receiver{tokens: map[string]int{}, respond: respond}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.header = q.Header.Get("Authorization"); err != nil || q.Header.Get("Content-Type") != "application/secevent+jwt" {
			f.t.Errorf("pushed with %v, %v", q.Header, err)
		}
		claims := f.open(string(body))
		resource := resourceURI.FindString(fmt.Sprint(claims["sub_id"]))
		if r.respond != nil && r.respond(w, resource) {
			return
		}
		r.tokens[fmt.Sprint(claims["jti"])]++
		r.order = append(r.order, resource)
		w.WriteHeader(http.StatusAccepted)
	}))
	f.t.Cleanup(r.Close)
	return r
}

func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestPanicInOnePush: the server goes on, and so does the stream.
func TestPanicInOnePush(t *testing.T) {
	onFeed(t, func(f *feed) {
		r := f.receiver(func(http.ResponseWriter, string) bool { return false })
		f.stream(`{"name":"push","method":"push","endpoint_url":"` + r.URL + `","authorization":"Bearer of-the-receiver"}`)
		var once sync.Once
		f.clock = func() time.Time {
			once.Do(func() { panic("nobody has foreseen this") })
			return f.in.now()
		}
		f.user("ann@acme.example", "ANN")
		stop := f.run()
		defer stop()
		eventually(t, "the event is taken", func() bool { return slices.Contains(r.taken(), "/Users/"+f.names["ANN"]) })
	})
}

// TestPushOfEvents: RFC 8935 §2. The receiver is down at first, two nodes push
// and are started anew in between, and one event is not accepted.
func TestPushOfEvents(t *testing.T) {
	onFeed(t, func(f *feed) {
		const people = 12
		down, refused := 3, ""
		r := f.receiver(func(w http.ResponseWriter, resource string) bool {
			switch {
			case down > 0:
				down--
				w.WriteHeader(http.StatusServiceUnavailable)
			case resource == refused:
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"err":"invalid_request","description":"who is that"}`))
			default:
				return false
			}
			return true
		})
		s := f.stream(`{"name":"push","method":"push","endpoint_url":"` + r.URL + `","authorization":"Bearer of-the-receiver"}`)
		var want []string
		for i := range people {
			name := fmt.Sprint("PERSON", i, "X")
			f.user(fmt.Sprintf("p%d@acme.example", i), name)
			want = append(want, "/Users/"+f.names[name])
		}
		refused = want[4]
		want = slices.Delete(want, 4, 5)
		stop, other := f.run(), f.run()
		defer other()
		eventually(t, "a failure is counted", func() bool { return f.show(s).Failures > 0 })
		stop()
		stop = f.run()
		defer stop()
		eventually(t, "all events are taken", func() bool {
			f.ahead.Add(int64(time.Second)) // past the back-off
			return len(r.taken()) >= len(want)
		})
		if got := r.taken(); !slices.Equal(got, want) {
			t.Errorf("in the order %v, want %v", got, want)
		}
		for jti, times := range r.tokens {
			if times != 1 {
				t.Errorf("%s came %d times", jti, times)
			}
		}
		eventually(t, "failures are forgotten", func() bool { return f.show(s).Failures == 0 })
		var dead struct {
			Items []struct{ Resource, Reason string }
		}
		f.api(http.MethodGet, "/"+s.ID+"/dead-letters", "", &dead)
		if len(dead.Items) != 1 || dead.Items[0].Resource != refused || !strings.Contains(dead.Items[0].Reason, "who is that") {
			t.Errorf("dead letters %+v", dead)
		}
		if r.header != "Bearer of-the-receiver" {
			t.Errorf("the header is %q", r.header)
		}

		// Who never answers is left alone in the end, and gets all afterwards.
		r.mu.Lock()
		down = 1000
		r.mu.Unlock()
		f.user("last@acme.example", "LAST")
		eventually(t, "the stream is paused", func() bool {
			f.ahead.Add(int64(2 * time.Hour))
			return f.show(s).Status == "paused"
		})
		r.mu.Lock()
		down = 0
		r.mu.Unlock()
		f.api(http.MethodPatch, "/"+s.ID, `{"status":"enabled"}`, nil)
		eventually(t, "the last event is taken", func() bool { return slices.Contains(r.taken(), "/Users/"+f.names["LAST"]) })
	})
}

// TestReceiversThatHang: as many as take a connection and never answer, one that
// does is told meanwhile.
func TestReceiversThatHang(t *testing.T) {
	onFeed(t, func(f *feed) {
		const receivers, waiting = 40, 24
		f.within = time.Hour
		r := f.receiver(nil)
		s := f.stream(`{"name":"quick","method":"push","endpoint_url":"` + r.URL + `"}`)
		held, release := make(chan struct{}, receivers), make(chan struct{})
		hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			held <- struct{}{}
			<-release
		}))
		t.Cleanup(hangs.Close)
		t.Cleanup(func() { close(release) })
		stop := f.run()
		defer stop()
		f.user("first@acme.example", "FIRST")
		eventually(t, "the receiver has shown that it is quick", func() bool { return len(r.taken()) == 1 })

		quick := must[*events.Stream](t)(f.in.store.EventStream(t.Context(), must[*directory.Tenant](t)(f.in.store.TenantByName(t.Context(), "acme")).ID, id.EventStream(s.ID)))
		for i := range receivers {
			other := *quick
			other.ID, other.Name, other.Endpoint = id.New[id.EventStream](), fmt.Sprint("hangs ", i), hangs.URL
			if err := f.in.store.CreateEventStream(t.Context(), &other); err != nil { // there may be as many, of other tenants
				t.Fatal(err)
			}
		}
		f.api(http.MethodPatch, "/"+s.ID, `{"status":"enabled"}`, nil) // the node looks at all streams anew
		f.user("second@acme.example", "SECOND")
		for range waiting {
			<-held
		}
		for i := range 5 {
			f.user(fmt.Sprintf("later%d@acme.example", i), fmt.Sprint("LATER", i))
		}
		eventually(t, "the quick one has all", func() bool { return len(r.taken()) == 7 })
		if len(held) > 0 {
			t.Errorf("%d turns more than %d are spent on those who hang", len(held), waiting)
		}
	})
}

// TestEventStreamsAreValidated: what can be no stream.
func TestEventStreamsAreValidated(t *testing.T) {
	onFeed(t, func(f *feed) {
		for body, field := range map[string]string{
			`{"name":"a","method":"push"}`:                                                   "endpoint_url",
			`{"name":"a","method":"push","endpoint_url":"http://rp.example/"}`:               "endpoint_url",
			`{"name":"a","method":"push","endpoint_url":"https://u:p@rp.example/"}`:          "endpoint_url",
			`{"name":"a","method":"poll","endpoint_url":"https://rp.example/"}`:              "endpoint_url",
			`{"name":" ","method":"poll"}`:                                                   "name",
			`{"name":"a","method":"pigeon"}`:                                                 "method",
			`{"name":"a","method":"poll","format":"long"}`:                                   "format",
			`{"name":"a","method":"poll","events_requested":["urn:x"]}`:                      "events_requested",
			`{"name":"a","method":"poll","authorization":"Bearer x"}`:                        "authorization",
			`{"name":"a","method":"push","endpoint_url":"https://x/","authorization":"a\n"}`: "authorization",
		} {
			if p := refused(t, f.api(http.MethodPost, "", body, nil), http.StatusBadRequest); p.Field != field {
				t.Errorf("%s: the field is %q, want %q", body, p.Field, field)
			}
		}
		f.stream(`{"name":"a","method":"poll"}`)
		refused(t, f.api(http.MethodPost, "", `{"name":"a","method":"poll"}`, nil), http.StatusConflict)
	})
}
