package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/scim"
)

// working carries out asynchronous requests, as a node does beside its server.
func (f *feed) working() {
	f.t.Helper()
	edge := must[*scim.Handler](f.t)(scim.New(scim.Deps{
		Directory: f.in.directory, Authn: f.in.authn, OIDC: f.in.oidc, Schemas: f.in.schemas, Keyring: f.in.keyring, Now: f.in.now,
		PublicURL: f.in.config.PublicURL, Log: f.in.logger, Trail: f.in.provisioning, Parallel: f.in.parallel(),
	}))
	ctx, cancel := context.WithCancel(f.t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = edge.Run(ctx) })
	f.t.Cleanup(func() { cancel(); ended.Wait() })
}

// later sends a request with Prefer: respond-async and returns its Set-Txn.
func (f *feed) later(path, body string) (txn string) {
	f.t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/t/acme/scim/v2"+path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1")
	request.Header.Set("Content-Type", "application/scim+json")
	request.Header.Set("Prefer", "respond-async")
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, request)
	if txn = recorder.Header().Get("Set-Txn"); recorder.Code != http.StatusAccepted || txn == "" {
		f.t.Fatalf("%d %v %s", recorder.Code, recorder.Header(), recorder.Body)
	}
	return txn
}

// TestEventsOfAsynchronousRequests: RFC 9967 §2.5.1. Whatever is told of an
// operation has its txn; what is told of its end says where.
func TestEventsOfAsynchronousRequests(t *testing.T) {
	onFeed(t, func(f *feed) {
		f.user("taken@acme.example", "TAKEN")
		s := f.stream(`{"name":"poll","method":"poll"}`)
		f.working()
		const user = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q}`
		bulk := f.later("/Bulk", fmt.Sprintf(`{"schemas":[%q],"Operations":[
			{"method":"POST","path":"/Users","bulkId":"a","data":`+user+`},
			{"method":"POST","path":"/Users","bulkId":"b","data":`+user+`},
			{"method":"POST","path":"/Groups","bulkId":"c","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"G","members":[{"value":"bulkId:a"}]}},
			{"method":"DELETE","path":"/Users/none"}]}`, bulkURN, "async@acme.example", "taken@acme.example"))
		one := f.later("/Users", fmt.Sprintf(user, "single@acme.example"))
		failed := f.later("/Users", fmt.Sprintf(user, "taken@acme.example"))

		var told []string
		eventually(t, "all is told", func() bool {
			all, p := f.poll(f.handler, s.Token, now)
			jtis := []string{}
			for jti := range p.Sets {
				jtis = append(jtis, jti)
			}
			acks, _ := json.Marshal(jtis)
			f.poll(f.handler, s.Token, `{"maxEvents":0,"ack":`+string(acks)+`}`)
			for _, claims := range all {
				told = append(told, f.asyncLine(claims))
			}
			return len(told) >= 9
		})
		time.Sleep(50 * time.Millisecond)
		more, _ := f.poll(f.handler, s.Token, now)
		for _, claims := range more { // there must be none
			told = append(told, f.asyncLine(claims))
		}
		want := []string{
			bulk + ":0 create of a User at it", bulk + ":0 POST 201 at it, a User",
			bulk + ":1 POST 409 at /AsyncRequests/" + bulk,
			bulk + ":2 create of a Group at it", bulk + ":2 POST 201 at it, a Group",
			bulk + ":3 DELETE 404 at /Users/none",
			one + " create of a User at it", one + " POST 201 at it, a User",
			failed + " POST 409 at /AsyncRequests/" + failed,
		}
		slices.Sort(told)
		slices.Sort(want)
		if !slices.Equal(told, want) {
			t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
	})
}

// asyncLine is an event in a line.
func (f *feed) asyncLine(claims map[string]any) string {
	subject, _ := claims["sub_id"].(map[string]any)
	uri := fmt.Sprint(subject["uri"])
	all, _ := claims["events"].(map[string]any)
	kind := "User"
	if strings.HasPrefix(uri, "/Groups/") {
		kind = "Group"
	}
	if payload, is := all["urn:ietf:params:scim:event:misc:asyncresp"].(map[string]any); is {
		at := uri
		if location, _ := payload["location"].(string); location != "" && strings.HasSuffix(location, uri) && payload["status"] == "201" {
			at = "it, a " + kind
		}
		return fmt.Sprint(claims["txn"], " ", payload["method"], " ", payload["status"], " at ", at)
	}
	if _, is := all["urn:ietf:params:scim:event:prov:create:notice"]; is && subject["id"] == uri[strings.LastIndexByte(uri, '/')+1:] {
		return fmt.Sprint(claims["txn"], " create of a ", kind, " at it")
	}
	return fmt.Sprint(claims)
}

// TestEventStreamsOfAFile: streams that `rolecall apply` makes and changes.
func TestEventStreamsOfAFile(t *testing.T) {
	onFeed(t, func(f *feed) {
		apply := func(streams string) map[string]string {
			t.Helper()
			report := must[*applyReport](t)(f.in.apply(operator(t.Context()), parse(t, "tenants:\n- slug: acme\n  event_streams:\n"+streams)))
			made := map[string]string{}
			for _, s := range report.Tenants[0].EventStreams {
				made[s.Name] = s.Token
			}
			return made
		}
		const given = "rce_given-by-the-file-0123456789abcdefgh"
		r := f.receiver(nil)
		file := "  - {name: given, method: poll, token: " + given + ", format: full}\n  - {name: made, method: poll, audience: [https://rp.example]}\n" +
			"  - {name: pushed, method: push, endpoint_url: \"" + r.URL + "\", authorization: Bearer of-the-file, events_requested: [\"urn:ietf:params:scim:event:prov:create:notice\"]}\n"
		made := apply(file)
		if len(made) != 3 || made["given"] != "" || made["pushed"] != "" || made["made"] == "" {
			t.Fatalf("the file made %v", made)
		}
		defer f.run()()
		f.user("ann@acme.example", "ANN")
		all, _ := f.poll(f.handler, given, now)
		if len(all) != 1 || !strings.Contains(f.told(all), "prov:create:full") {
			t.Errorf("with the file's token: %s", f.told(all))
		}
		all, _ = f.poll(f.handler, made["made"], now)
		if len(all) != 1 || !strings.Contains(f.told(all), "prov:create:notice") || fmt.Sprint(all[0]["aud"]) != "[https://rp.example]" {
			t.Errorf("with the token that was made: %v", all)
		}
		eventually(t, "it is pushed", func() bool { return slices.Contains(r.taken(), "/Users/"+f.names["ANN"]) })
		if r.header != "Bearer of-the-file" {
			t.Errorf("the header is %q", r.header)
		}
		if again := apply(file); again["made"] != "" || again["given"] != "" {
			t.Errorf("the second time it made %v", again)
		}
		// What the file does not name stays; a new token replaces the old one.
		apply("  - {name: given, method: poll, token: rce_another-of-the-file-0123456789abcd}\n  - {name: made, method: poll, status: disabled}\n")
		if r := call(t, f.handler, http.MethodPost, "/t/acme/events/poll", "Bearer "+given, json.RawMessage(now), nil); r.Code != http.StatusUnauthorized {
			t.Errorf("the old token: %d", r.Code)
		}
		f.user("bob@acme.example", "BOB")
		if all, _ = f.poll(f.handler, "rce_another-of-the-file-0123456789abcd", now); len(all) != 1 || !strings.Contains(f.told(all), "prov:create:full") {
			t.Errorf("with the new token: %s", f.told(all)) // ANN's is with whoever polled it
		}
		if all, _ = f.poll(f.handler, made["made"], now); len(all) != 0 {
			t.Errorf("of a disabled stream: %s", f.told(all))
		}
		for text, want := range map[string]string{
			"  - {name: given, method: push, endpoint_url: \"https://rp.example/\"}\n":                                   "event_streams[given]",
			"  - {name: x, method: push}\n":                                                                              "endpoint_url",
			"  - {name: x, method: push, endpoint_url: \"https://rp.example/\", token: rce_x-0123456789abcdefghijklm}\n": "token",
		} {
			_, err := f.in.apply(operator(t.Context()), parse(t, "tenants:\n- slug: acme\n  event_streams:\n"+text))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
		}
		if _, err := parseApply([]byte("tenants:\n- slug: acme\n  event_streams:\n  - {name: x, method: poll, shade: red}\n"), noEnv); err == nil {
			t.Error("an unknown key passes")
		}
	})
}

// TestEventsAreNotKeptForEver: what nobody takes over goes after seven days, dead
// letters too, and beyond a number the oldest first.
func TestEventsAreNotKeptForEver(t *testing.T) {
	onFeed(t, func(f *feed) {
		s := f.stream(`{"name":"poll","method":"poll"}`)
		clean := func(after time.Duration) {
			t.Helper()
			e := must[*events.Events](t)(events.New(events.Deps{
				Store: f.in.store, Schemas: f.in.schemas, Keyring: f.in.keyring, Issuer: f.in.config.PublicURL,
				Now: func() time.Time { return f.in.now().Add(after) },
			}))
			if err := e.Clean(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		left := func() (waiting, dead int) {
			t.Helper()
			f.ahead.Add(int64(events.PollLease + time.Second))
			node := gin.New()
			f.node().Mount(node)
			all, _ := f.poll(node, s.Token, now)
			var letters struct{ Items []struct{ ID string } }
			f.api(http.MethodGet, "/"+s.ID+"/dead-letters", "", &letters)
			return len(all), len(letters.Items)
		}
		wants := func(what string, waiting, dead, dropped int) {
			t.Helper()
			w, d := left()
			if shown := f.show(s); w != waiting || d != dead || shown.Dropped != dropped {
				t.Errorf("%s: %d wait, %d are dead, %d dropped; want %d, %d, %d", what, w, d, shown.Dropped, waiting, dead, dropped)
			}
		}
		for i := range 5 {
			f.user(fmt.Sprintf("old%d@acme.example", i), fmt.Sprint("OLD", i))
		}
		all, _ := f.poll(f.handler, s.Token, now)
		f.poll(f.handler, s.Token, fmt.Sprintf(`{"setErrs":{%q:{"err":"invalid_request"}},"ack":[%q],"maxEvents":0}`, all[1]["jti"], all[0]["jti"]))
		wants("at first", 3, 1, 0)
		clean(events.Retention - time.Hour)
		wants("before the time", 3, 1, 0)
		if err := f.in.store.TrimEvents(t.Context(), f.in.now().Add(-events.Retention), 3); err != nil {
			t.Fatal(err)
		}
		wants("beyond three", 3, 0, 1) // the dead letter is the oldest
		clean(events.Retention + time.Hour)
		wants("after the time", 0, 0, 4)
		f.user("new@acme.example", "NEW")
		clean(0)
		wants("a new one", 1, 0, 4)
	})
}

// TestTwoNodesPollAtOnce: while events are written, receivers poll two nodes. Each
// event comes to one of them, once.
func TestTwoNodesPollAtOnce(t *testing.T) {
	onFeed(t, func(f *feed) {
		const writers, each = 4, 15
		s := f.stream(`{"name":"poll","method":"poll"}`)
		var mu sync.Mutex
		came := map[string]int{} // by resource
		made := map[string]bool{}
		poll := func(node http.Handler, acks []string) (jtis []string) {
			body, _ := json.Marshal(map[string]any{"ack": acks, "maxEvents": 7, "returnImmediately": true})
			request := httptest.NewRequest(http.MethodPost, "/t/acme/events/poll", strings.NewReader(string(body)))
			request.Header.Set("Authorization", "Bearer "+s.Token)
			recorder := httptest.NewRecorder()
			node.ServeHTTP(recorder, request)
			var p polled
			if err := json.Unmarshal(recorder.Body.Bytes(), &p); err != nil || recorder.Code != http.StatusOK {
				t.Errorf("poll: %d %s", recorder.Code, recorder.Body)
			}
			mu.Lock()
			defer mu.Unlock()
			for jti, token := range p.Sets {
				came[resourceURI.FindString(fmt.Sprint(f.open(token)["sub_id"]))]++
				jtis = append(jtis, jti)
			}
			return jtis
		}
		ctx, stop := context.WithCancel(t.Context())
		var receivers, people sync.WaitGroup
		for range 2 {
			node := gin.New()
			f.node().Mount(node)
			for range 2 {
				receivers.Go(func() {
					acks := []string{}
					for ctx.Err() == nil || len(acks) > 0 {
						acks = poll(node, acks)
					}
				})
			}
		}
		for w := range writers {
			people.Go(func() {
				for i := range each {
					request := httptest.NewRequest(http.MethodPost, "/t/acme/scim/v2/Users", strings.NewReader(fmt.Sprintf(`{"schemas":[%q],"userName":"w%d-%d@acme.example"}`, userURN, w, i)))
					request.Header.Set("Authorization", "Bearer rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1")
					request.Header.Set("Content-Type", "application/scim+json")
					recorder := httptest.NewRecorder()
					f.handler.ServeHTTP(recorder, request)
					var user struct{ ID string }
					if err := json.Unmarshal(recorder.Body.Bytes(), &user); err != nil || recorder.Code != http.StatusCreated {
						t.Errorf("%d %s", recorder.Code, recorder.Body)
					}
					mu.Lock()
					made["/Users/"+user.ID] = true
					mu.Unlock()
				}
			})
		}
		people.Wait()
		eventually(t, "all events came", func() bool { mu.Lock(); defer mu.Unlock(); return len(came) >= writers*each })
		stop()
		receivers.Wait()
		for resource := range made {
			if came[resource] != 1 {
				t.Errorf("%s came %d times", resource, came[resource])
			}
		}
		f.ahead.Store(int64(events.PollLease + time.Second))
		later := gin.New()
		f.node().Mount(later)
		if again, _ := f.poll(later, s.Token, now); len(again) != 0 {
			t.Errorf("%d events come again, though they were acknowledged", len(again))
		}
	})
}
