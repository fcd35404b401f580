package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/outbound"
	"github.com/rolecall/rolecall/scim/client"
)

func (p *pair) madeThere(kind, body string) string {
	p.t.Helper()
	id, _ := p.there(http.MethodPost, "/"+kind, body)["id"].(string)
	return id
}

// TestDryRunAndAdoption: a dry run says what will happen, and nothing does; what
// is there already is taken over, and strangers are left alone.
func TestDryRunAndAdoption(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		ann, bob := p.user("ann@acme.example", `,"title":"Dr."`), p.user("bob@acme.example", "")
		p.group("Staff", ann, bob)
		annThere := p.madeThere("Users", `{"schemas":["`+userURN+`"],"userName":"ANN@acme.example","nickName":"theirs"}`)
		stranger := p.madeThere("Users", `{"schemas":["`+userURN+`"],"userName":"stranger@acme.example"}`)
		staffThere := p.madeThere("Groups", `{"schemas":["`+groupURN+`"],"displayName":"staff","members":[{"value":"`+stranger+`"}]}`)
		p.push(allOf + `,"status":"paused"`)
		before, _, _ := p.world(p.there)
		r := p.compare(true)
		if c := r.Counts; r.State != "done" || c != (outbound.RunCounts{Created: 1, Adopted: 2, Strangers: 1}) || len(r.Items) != 3 {
			t.Errorf("dry run: %+v", r)
		}
		for _, item := range r.Items {
			if item.Remote == annThere && (item.Action != outbound.Adopted || !slices.Contains(item.Attributes, "title") || item.Resource != ann) {
				t.Errorf("of Ann: %+v", item)
			}
		}
		if after, _, _ := p.world(p.there); fmt.Sprint(before) != fmt.Sprint(after) || p.counted()["POST Users"] > 0 {
			t.Errorf("a dry run has changed something: %v", after)
		}
		if w := p.api(http.MethodPost, "/"+p.target+"/runs", `{}`, nil); w.Code != http.StatusConflict {
			t.Errorf("a run of a target that is paused: %d", w.Code)
		}
		p.api(http.MethodPatch, "/"+p.target, `{"status":"active"}`, nil)
		p.settle()
		if doc := p.there(http.MethodGet, "/Users/"+annThere, ""); doc["externalId"] != ann || doc["title"] != "Dr." || doc["nickName"] != "theirs" || doc["userName"] != "ANN@acme.example" {
			t.Errorf("Ann there: %v", doc)
		}
		if doc := p.there(http.MethodGet, "/Groups/"+staffThere, ""); doc["displayName"] != "Staff" || len(doc["members"].([]any)) != 2 || strings.Contains(fmt.Sprint(doc), stranger) { //nolint:forcetypeassert // a list
			t.Errorf("the group there: %v", doc)
		}
		p.there(http.MethodGet, "/Users/"+stranger, "")
		var all struct{ Items []runBody }
		if p.api(http.MethodGet, "/"+p.target+"/runs", "", &all); len(all.Items) != 2 || all.Items[0].DryRun || all.Items[0].Counts.Adopted != 2 || all.Items[0].Counts.Created != 1 {
			t.Errorf("runs: %+v", all.Items)
		}
	})
}

// TestRunRepairs: what somebody has changed, deleted or added there is as it is
// here after a run, and the run says so; before it, a dry run does.
func TestRunRepairs(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		var people []string
		for i := range 130 { // more than a page
			people = append(people, p.user(fmt.Sprintf("u%03d@acme.example", i), `,"title":"T"`))
		}
		staff, gone := p.group("Staff", people[:5]...), p.group("Gone", people[0])
		p.push(allOf)
		p.settle()
		_, there, _ := p.world(p.there)
		at := func(i int) string { return there[fmt.Sprintf("u%03d@acme.example", i)] }
		p.there(http.MethodPatch, "/Users/"+at(1), `{"schemas":["`+changeURN+`"],"Operations":[{"op":"replace","path":"title","value":"Other"}]}`)
		p.there(http.MethodDelete, "/Users/"+at(2), "")
		p.there(http.MethodPatch, "/Groups/"+there["group Staff"], `{"schemas":["`+changeURN+`"],"Operations":[{"op":"add","path":"members","value":[{"value":"`+at(50)+`"}]},{"op":"remove","path":"members[value eq \"`+at(3)+`\"]"}]}`)
		p.there(http.MethodDelete, "/Groups/"+there["group Gone"], "")
		want := outbound.RunCounts{Created: 2, Updated: 2, Unchanged: 128}
		if r := p.compare(true); r.Counts != want {
			t.Errorf("dry run: %+v", r)
		}
		r := p.compare(false)
		if r.Counts != want || len(r.Items) != 4 {
			t.Errorf("run: %+v", r)
		}
		for _, item := range r.Items {
			if ok := map[string]bool{people[1]: item.Action == outbound.Updated && slices.Equal(item.Attributes, []string{"title"}), people[2]: item.Action == outbound.Created, gone: item.Action == outbound.Created, staff: item.Added == 1 && item.Removed == 1}[item.Resource]; !ok {
				t.Errorf("item %+v", item)
			}
		}
		p.settle()
		p.same()
		if r := p.compare(false); r.Counts != (outbound.RunCounts{Unchanged: 132}) {
			t.Errorf("another run: %+v", r)
		}
	})
}

// TestRunGoesOn: a target that takes ten requests and then wants a pause, for
// longer than a run has patience with one that answers nothing, is compared to
// the end; what was done before a pause is not done again.
func TestRunGoesOn(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		const size = 230 // more than two pages
		for i := range size {
			p.user(fmt.Sprintf("u%03d@acme.example", i), `,"title":"T"`)
		}
		p.push(allOf)
		p.settle()
		for _, doc := range p.list(p.there, "Users") {
			p.there(http.MethodPatch, fmt.Sprint("/Users/", doc["id"]), `{"schemas":["`+changeURN+`"],"Operations":[{"op":"replace","path":"title","value":"X"}]}`)
		}
		var calls, pauses atomic.Int64
		p.between(func(w http.ResponseWriter, _ *http.Request) bool {
			if calls.Add(1)%10 != 0 {
				return false
			}
			pauses.Add(1)
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		p.counted()
		var r runBody
		p.api(http.MethodPost, "/"+p.target+"/runs", `{}`, &r)
		p.settle()
		p.api(http.MethodGet, "/"+p.target+"/runs/"+r.ID, "", &r)
		if r.State != "done" || r.Counts != (outbound.RunCounts{Updated: size}) || len(r.Items) != size {
			t.Errorf("%s after %d pauses, %s: %+v, %d items", r.State, pauses.Load(), r.Error, r.Counts, len(r.Items))
		}
		if got := p.counted()["PATCH Users"]; got > size+int(pauses.Load()) {
			t.Errorf("%d changes of %d people with %d pauses", got, size, pauses.Load())
		}
		p.same()
	})
}

// TestRemoval: what becomes of those who are not to be pushed any more.
func TestRemoval(t *testing.T) {
	for policy, check := range map[string]func(t *testing.T, p *pair, there map[string]string){
		"delete": func(t *testing.T, p *pair, _ map[string]string) {
			if left := len(p.list(p.there, "Users")) + len(p.list(p.there, "Groups")); left != 1 {
				t.Errorf("%d resources are left", left)
			}
		},
		"deactivate": func(t *testing.T, p *pair, there map[string]string) {
			for _, name := range []string{"bob@acme.example", "cid@acme.example"} {
				if doc := p.there(http.MethodGet, "/Users/"+there[name], ""); doc["active"] != false {
					t.Errorf("%s is %v", name, doc["active"])
				}
			}
			if doc := p.there(http.MethodGet, "/Groups/"+there["group Staff"], ""); doc["members"] != nil {
				t.Errorf("the group has the members %v", doc["members"])
			}
		},
		"leave": func(t *testing.T, p *pair, there map[string]string) {
			for _, name := range []string{"bob@acme.example", "cid@acme.example"} {
				if doc := p.there(http.MethodGet, "/Users/"+there[name], ""); doc["active"] != true {
					t.Errorf("%s is %v", name, doc["active"])
				}
			}
		},
	} {
		t.Run(policy, func(t *testing.T) {
			eachPair(t, func(t *testing.T, p *pair) {
				ann, bob, cid := p.user("ann@acme.example", ""), p.user("bob@acme.example", ""), p.user("cid@acme.example", "")
				inner := p.group("Inner", bob, cid)
				staff := p.group("Staff", ann, inner)
				p.push(`,"people":{"scope":"groups","groups":["` + staff + `"]},"groups":{"scope":"chosen","groups":["` + staff + `"]},"on_removal":"` + policy + `","attributes":{"exclude":["title"]}`)
				p.settle()
				_, there, _ := p.world(p.there)
				if len(there) != 4 {
					t.Fatalf("there is %v", there)
				}
				p.patch("/Groups/"+inner, `{"op":"remove","path":"members[value eq \"`+bob+`\"]"}`)
				p.here(http.MethodDelete, "/Users/"+cid, "")
				p.here(http.MethodDelete, "/Groups/"+staff, "")
				p.patch("/Users/"+ann, `{"op":"add","path":"title","value":"Dr."}`)
				stays := p.group("Stays", ann)
				if w := p.api(http.MethodPatch, "/"+p.target, `{"people":{"scope":"groups","groups":["`+stays+`"]}}`, nil); w.Code != http.StatusOK {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				p.settle()
				check(t, p, there)
				if doc := p.there(http.MethodGet, "/Users/"+there["ann@acme.example"], ""); doc["active"] != true || doc["title"] != nil {
					t.Errorf("Ann there: %v", doc)
				}
				// Who comes back is there again, as the same where he still is.
				p.patch("/Groups/"+stays, `{"op":"add","path":"members","value":[{"value":"`+bob+`"}]}`)
				p.settle()
				_, again, _ := p.world(p.there)
				if same := again["bob@acme.example"] == there["bob@acme.example"]; same != (policy != "delete") {
					t.Errorf("Bob was %s and is %s", there["bob@acme.example"], again["bob@acme.example"])
				}
				if doc := p.there(http.MethodGet, "/Users/"+again["bob@acme.example"], ""); doc["active"] != true {
					t.Errorf("Bob there: %v", doc)
				}
			})
		})
	}
}

// TestFailures: what is the target's fault waits as a whole, what is a resource's
// is set aside with the reason.
func TestFailures(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		p.push(`,"run_every":0`)
		p.settle()
		refuse := atomic.Value{}
		refuse.Store(http.StatusUnauthorized)
		var asked atomic.Int64
		p.between(func(w http.ResponseWriter, r *http.Request) bool {
			asked.Add(1)
			status, _ := refuse.Load().(int)
			if status == http.StatusBadRequest && r.Method != http.MethodPost {
				return false
			}
			if status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "3600")
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"status":"400","scimType":"invalidValue","detail":"no such department"}`))
			return true
		})
		fails := func(status int, wait time.Duration) {
			t.Helper()
			refuse.Store(status)
			for i := range 3 {
				p.user(fmt.Sprintf("u%d-%d@acme.example", status, i), "")
			}
			asked.Store(0)
			stop := p.run()
			time.Sleep(500 * time.Millisecond)
			stop()
			s := p.standing()
			if s.Failures != 1 || s.Standing.Failing+s.Standing.Dead > 0 || s.RetryAt == nil || !strings.Contains(s.LastError, fmt.Sprint(status)) || asked.Load() > 8 {
				t.Errorf("%d: %+v after %d requests", status, s, asked.Load())
			}
			if until := s.RetryAt.Sub(p.now()); until > wait || until < wait-time.Minute {
				t.Errorf("%d: it is tried again in %v", status, until)
			}
			p.api(http.MethodPatch, "/"+p.target, `{"status":"active"}`, nil)
		}
		fails(http.StatusUnauthorized, 2*time.Second)
		fails(http.StatusTooManyRequests, time.Hour)

		refuse.Store(http.StatusBadRequest)
		stop := p.run()
		for began := time.Now(); p.standing().Standing.Dead < 6 && time.Since(began) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
			if !p.working() {
				p.ahead.Add(int64(20 * time.Minute))
			}
		}
		stop()
		var errors struct {
			Items []struct {
				Reason, Resource string
				Attempts         int
				DeadAt           *time.Time `json:"dead_at"`
			}
		}
		p.api(http.MethodGet, "/"+p.target+"/errors", "", &errors)
		if len(errors.Items) != 6 || errors.Items[0].Attempts != outbound.MaxAttempts || errors.Items[0].DeadAt == nil || errors.Items[0].Reason != "the target answered 400: invalidValue no such department" {
			t.Errorf("errors: %+v", errors.Items)
		}
		p.between(nil)
		var retried struct{ Retried int }
		if p.api(http.MethodPost, "/"+p.target+"/errors/retry", `{"resource":"`+errors.Items[0].Resource+`"}`, &retried); retried.Retried != 1 {
			t.Errorf("retried %d of one", retried.Retried)
		}
		if p.api(http.MethodPost, "/"+p.target+"/errors/retry", `{}`, &retried); retried.Retried != 6 {
			t.Errorf("retried %d of all", retried.Retried)
		}
		p.settle()
		p.same()
	})
}

// TestTargetsThatCanLess: without PATCH documents are replaced; a resource that
// somebody else changes at the same time is compared anew.
func TestTargetsThatCanLess(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		p.between(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPatch {
				return false
			}
			w.WriteHeader(http.StatusNotImplemented)
			return true
		})
		ann, bob := p.user("ann@acme.example", `,"title":"Dr."`), p.user("bob@acme.example", "")
		staff := p.group("Staff", ann)
		p.push(allOf)
		p.settle()
		_, there, _ := p.world(p.there)
		p.there(http.MethodPut, "/Users/"+there["ann@acme.example"], `{"schemas":["`+userURN+`"],"userName":"ann@acme.example","title":"Dr.","externalId":"`+ann+`","nickName":"theirs"}`)
		p.patch("/Users/"+ann, `{"op":"remove","path":"title"},{"op":"add","path":"displayName","value":"Ann"}`)
		p.patch("/Groups/"+staff, `{"op":"replace","path":"members","value":[{"value":"`+bob+`"}]}`)
		p.settle()
		if doc := p.there(http.MethodGet, "/Users/"+there["ann@acme.example"], ""); doc["title"] != nil || doc["displayName"] != "Ann" || doc["nickName"] != "theirs" {
			t.Errorf("Ann there: %v", doc)
		}
		if s := p.standing(); s.Capabilities.Patch {
			t.Error("it still believes in PATCH")
		}
		p.there(http.MethodPatch, "/Users/"+there["ann@acme.example"], `{"schemas":["`+changeURN+`"],"Operations":[{"op":"remove","path":"nickName"}]}`)
		p.same()

		// With PATCH and ETags again: two others change it just before.
		stale := atomic.Int64{}
		p.between(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch && r.Header.Get("If-Match") != "" && stale.Add(1) <= 2 {
				p.there(http.MethodPatch, strings.TrimPrefix(r.URL.Path, p.away), fmt.Sprintf(`{"schemas":["%s"],"Operations":[{"op":"replace","path":"displayName","value":"Theirs %d"}]}`, changeURN, stale.Load()))
			}
			return false
		})
		p.compare(false)
		p.patch("/Users/"+ann, `{"op":"replace","path":"displayName","value":"Ann Lee"}`)
		p.settle()
		p.same()
		if stale.Load() != 3 {
			t.Errorf("%d requests with If-Match, want two that are stale and one that is not", stale.Load())
		}
	})
}

// TestCredentialsOfTargets: a secret is kept sealed, bound to its address, and
// shown nowhere; client credentials get an access token, and another one when it
// is not accepted.
func TestCredentialsOfTargets(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		var tokens atomic.Int64
		endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, password, _ := r.BasicAuth()
			if name != "robot" || password != p.bearer || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "scim" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			tokens.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("access-", tokens.Load()), "token_type": "Bearer", "expires_in": 3600})
		}))
		t.Cleanup(endpoint.Close)
		p.between(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != fmt.Sprint("Bearer access-", max(tokens.Load(), 2)) {
				w.WriteHeader(http.StatusUnauthorized) // the first is withdrawn
				return true
			}
			r.Header.Set("Authorization", "Bearer "+p.bearer)
			return false
		})
		p.user("ann@acme.example", "")
		p.push(`,"auth":{"method":"client_credentials","client_id":"robot","scope":"scim","token_url":"` + endpoint.URL + `"}`)
		p.settle()
		p.same()
		if tokens.Load() != 2 {
			t.Errorf("%d access tokens", tokens.Load())
		}
		if w := p.api(http.MethodGet, "", "", nil); strings.Contains(w.Body.String(), p.bearer) {
			t.Error("the secret is shown")
		}
		for body, status := range map[string]int{
			`{"base_url":"https://attacker.example"}`:                                                             http.StatusBadRequest,
			`{"auth":{"method":"client_credentials","client_id":"robot","token_url":"https://attacker.example"}}`: http.StatusBadRequest,
			`{"name":"renamed"}`: http.StatusOK,
		} {
			if w := p.api(http.MethodPatch, "/"+p.target, body, nil); w.Code != status {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
		var probe struct {
			OK      bool
			Problem string
		}
		if p.api(http.MethodPost, "/"+p.target+"/test", "", &probe); !probe.OK {
			t.Errorf("probe %+v", probe)
		}
		p.api(http.MethodPatch, "/"+p.target, `{"secret":"wrong"}`, nil)
		if p.api(http.MethodPost, "/"+p.target+"/test", "", &probe); probe.OK || !strings.Contains(probe.Problem, "token endpoint answered 401") {
			t.Errorf("probe with a wrong secret %+v", probe)
		}
	})
}

// TestTargetsReachNothingPrivate: no address that only this machine reaches, no
// redirects.
func TestTargetsReachNothingPrivate(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was reached") }))
	t.Cleanup(inner.Close)
	front := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusTemporaryRedirect))
	t.Cleanup(front.Close)
	for private, at := range map[bool]string{false: inner.URL, true: front.URL} {
		remote := client.NewDialer(private, time.Now).Dial(&outbound.Target{BaseURL: at, Auth: outbound.Auth{Method: outbound.Bearer}}, secret.NewText("x"))
		if _, err := remote.Capabilities(t.Context()); err == nil || strings.Contains(err.Error(), inner.URL) {
			t.Errorf("private %v: %v", private, err)
		}
	}
}

// trap is a store that panics for what has to do with one resource.
type trap struct {
	outbound.Store
	resource string
	set      *atomic.Bool
}

func (s *trap) ProvisioningLink(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, resource string) (*outbound.Link, error) {
	if resource == s.resource && s.set.Load() {
		panic("nobody has foreseen this")
	}
	return s.Store.ProvisioningLink(ctx, tenant, target, kind, resource)
}

// TestPanicForOneResource: it fails like one that the target refuses; the others,
// and the server, go on.
func TestPanicForOneResource(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		ann := p.user("ann@acme.example", "")
		for i := range 8 {
			p.user(fmt.Sprintf("u%d@acme.example", i), "")
		}
		var set atomic.Bool
		set.Store(true)
		p.store = func(s outbound.Store) outbound.Store { return &trap{s, ann, &set} }
		p.push(allOf)
		stop := p.run()
		eventually(t, "the others are there", func() bool { s := p.standing().Standing; return s.People == 8 && s.Failing == 1 })
		var errors struct {
			Items []struct{ Reason, Resource string }
		}
		p.api(http.MethodGet, "/"+p.target+"/errors", "", &errors)
		if len(errors.Items) != 1 || errors.Items[0].Resource != ann || errors.Items[0].Reason != "something went wrong here; it is in the log" {
			t.Errorf("errors: %+v", errors.Items)
		}
		if s := p.standing(); s.Failures != 0 {
			t.Errorf("the target backs off: %+v", s)
		}
		stop()
		set.Store(false)
		p.settle()
		p.same()
	})
}

// TestPeopleWithRoles: who comes to hold a role is pushed, who does not any more
// is taken away.
func TestPeopleWithRoles(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		ann, bob := p.user("ann@acme.example", ""), p.user("bob@acme.example", "")
		p.group("Admins", bob)
		roles := func(member, list string) {
			t.Helper()
			if w := call(t, p.handler, http.MethodPut, "/api/v1/tenants/acme/members/"+member+"/roles", "Bearer "+instanceToken, json.RawMessage(`{"roles":[`+list+`]}`), nil); w.Code >= 300 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		roles(ann, `"viewer"`)
		p.push(`,"people":{"scope":"roles","roles":["viewer"]},"on_removal":"delete"`)
		p.settle()
		names := func() []string {
			p.ahead.Add(int64(2 * time.Minute))
			stop := p.run()
			time.Sleep(300 * time.Millisecond)
			stop()
			p.settle()
			var names []string
			for _, doc := range p.list(p.there, "Users") {
				names = append(names, fmt.Sprint(doc["userName"]))
			}
			slices.Sort(names)
			return names
		}
		if got := names(); !slices.Equal(got, []string{"ann@acme.example"}) {
			t.Errorf("viewers there: %v", got)
		}
		roles(ann, `"member"`)
		if w := call(t, p.handler, http.MethodPost, "/api/v1/tenants/acme/group-roles", "Bearer "+instanceToken, json.RawMessage(`{"group":"Admins","role":"viewer"}`), nil); w.Code >= 300 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if got := names(); !slices.Equal(got, []string{"bob@acme.example"}) {
			t.Errorf("viewers there: %v", got)
		}
	})
}

// TestApplyOfTargets: a file makes a target, and the same file changes nothing.
func TestApplyOfTargets(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		const file = `
tenants:
- slug: acme
  provisioning_targets:
  - {name: away, base_url: "https://scim.example.com/v2/", secret: s3cret, people: {scope: roles, roles: [member]}, groups: {scope: all}, on_removal: leave, run_every: 3600, status: paused}
`
		for range 2 {
			must[*applyReport](t)(in.apply(operator(t.Context()), parse(t, file)))
			tenant := must[*directory.Tenant](t)(in.directory.Tenant(operator(t.Context()), "acme"))
			all := must[[]outbound.Target](t)(in.outbound.Targets(operator(t.Context()), tenant.ID))
			if len(all) != 1 || all[0].BaseURL != "https://scim.example.com/v2" || all[0].OnRemoval != outbound.Leave || all[0].RunEvery != time.Hour || !all[0].Modified.Equal(all[0].Created) {
				t.Errorf("targets %+v", all)
			}
		}
		if _, err := in.apply(operator(t.Context()), parse(t, strings.ReplaceAll(file, "member", "nobody"))); err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("a role that there is not: %v", err)
		}
	})
}
