package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/storage"
)

const (
	bulkURN  = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	groupURN = "urn:ietf:params:scim:schemas:core:2.0:Group"
)

// bulkResult is an operation of a bulk response.
type bulkResult struct {
	Method, BulkID, Location, Status string
	Response                         *struct{ Detail string }
}

func (r bulkResult) id() string { return r.Location[strings.LastIndexByte(r.Location, '/')+1:] }

// bulk sends operations, each as JSON, and returns the results.
func bulk(t *testing.T, handler http.Handler, tenant, token string, operations ...string) []bulkResult {
	t.Helper()
	body := fmt.Sprintf(`{"schemas":[%q],"Operations":[%s]}`, bulkURN, strings.Join(operations, ","))
	got := asks(t, handler, http.MethodPost, of(tenant, "/Bulk"), "Bearer "+token, body)
	var response struct{ Operations []bulkResult }
	if err := json.Unmarshal(got.Body.Bytes(), &response); err != nil || got.Code != http.StatusOK {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	return response.Operations
}

// creation is an operation that makes a resource; members are more of its JSON.
func creation(endpoint, bulkID, members string) string {
	return fmt.Sprintf(`{"method":"POST","path":%q,"bulkId":%q,"data":{%s}}`, endpoint, bulkID, members)
}

func newGroup(bulkID, name string, members ...string) string {
	values := make([]string, len(members))
	for i, m := range members {
		values[i] = fmt.Sprintf(`{"value":%q}`, m)
	}
	return creation("/Groups", bulkID, fmt.Sprintf(`"schemas":[%q],"displayName":%q,"members":[%s]`, groupURN, name, strings.Join(values, ",")))
}

func newPerson(bulkID, name, more string) string {
	return creation("/Users", bulkID, fmt.Sprintf(`"schemas":[%q],"userName":%q%s`, userURN, name, more))
}

// The log has one entry for each operation that was answered, and says of it
// what the answer says, whatever became of it on the way.
func TestTheLogOfABulkRequestIsItsAnswer(t *testing.T) {
	t.Parallel()
	const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	managed := func(by string) string { return fmt.Sprintf(`,%q:{"manager":{"value":%q}}`, enterprise, by) }
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d := newDirectory(t, in, handler, "berlin")
		d.scim("POST", "/Users", user("taken@example.com", "x"), 201)
		results := bulk(t, handler, "berlin", d.token,
			newPerson("good", "good", ""),
			newPerson("half", "half", managed("bulkId:other")), newPerson("other", "taken@example.com", managed("bulkId:half")), // in a circle, of which one fails
			newPerson("c1", "c1", managed("bulkId:c2")), newPerson("c2", "c2", managed("bulkId:c1")), // and one that stays
			newGroup("a", "A", "bulkId:b"), newGroup("b", "B", "bulkId:a"), // that can't be
			newGroup("orphan", "Orphan", "bulkId:other"),
			newGroup("nobody", "Nobody", "bulkId:none"),
			newPerson("", "without", `,"password":"never-to-be-kept"`),
			`{"method":"DELETE","path":"/Robots/1"}`, `{"method":"GET","path":"/Users/1"}`,
			`{"method":"DELETE","path":"/Users/bulkId:good"}`,
		)
		var told []string
		for _, r := range results {
			detail := ""
			if r.Response != nil {
				detail = r.Response.Detail
			}
			told = append(told, r.Method+" "+r.Status+" "+detail)
		}
		var logged []string
		for _, line := range d.log("limit=100") {
			if strings.HasSuffix(line.Path, "/Bulk") || line.ExternalID == "x" {
				continue
			}
			logged = append(logged, fmt.Sprint(line.Method, " ", line.Status, " ", line.Detail))
			whole := d.entry("GET", line.ID, 200)
			if failed := line.Status >= 400; failed != (len(line.Changes) == 0) || failed != (whole.ResponseBody != "") {
				t.Errorf("%s %d of %s has the changes %+v and the answer %s", line.Method, line.Status, line.Name, line.Changes, whole.ResponseBody)
			}
			if line.Status >= 400 && line.Method == "POST" && line.Resource != "" {
				t.Errorf("%s was not made, and has the id %s", line.Name, line.Resource)
			}
			if strings.Contains(fmt.Sprint(whole), "never-to-be-kept") {
				t.Errorf("a password is in %+v", whole)
			}
			if line.Name == "c1" && !strings.Contains(fmt.Sprint(line.Changes), "manager") {
				t.Errorf("what closes the circle is missing in %+v", line.Changes)
			}
		}
		slices.Sort(told)
		slices.Sort(logged)
		if !slices.Equal(told, logged) || len(told) != 13 {
			t.Errorf("told\n%s\nlogged\n%s", strings.Join(told, "\n"), strings.Join(logged, "\n"))
		}
	})
}

// A bulkId may stand for a resource of any type, in one of any type.
func TestBulkRefersBetweenTypes(t *testing.T) {
	t.Parallel()
	const deskURN, seatURN = "urn:example:schemas:2.0:Desk", "urn:example:schemas:extension:2.0:Seat"
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newSchemaInstance(t, in)
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+deskURN, `{"name":"Desk","attributes":[{"name":"label"},
			{"name":"owner","type":"reference","referenceTypes":["User"],"caseExact":true},
			{"name":"team","type":"complex","subAttributes":[{"name":"value"},{"name":"$ref","type":"reference","referenceTypes":["Group"],"caseExact":true}]},
			{"name":"beside","type":"reference","referenceTypes":["Desk"],"multiValued":true,"caseExact":true}]}`).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/resource-types/Desk", `{"endpoint":"/Desks","schema":"`+deskURN+`"}`).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/schemas/"+seatURN, `{"name":"Seat","attributes":[{"name":"desk","type":"reference","referenceTypes":["Desk"],"caseExact":true}]}`).want(http.StatusOK)
		s.admin.send("PUT", ofAcme+"/scim/resource-types/User", `{"schemaExtensions":[{"schema":"`+seatURN+`"}]}`).want(http.StatusOK)
		desk := func(bulkID, label, more string) string {
			return creation("/Desks", bulkID, fmt.Sprintf(`"schemas":[%q],"label":%q%s`, deskURN, label, more))
		}
		results := bulk(t, s.acme.handler, "acme", "token-of-acme-0123456789",
			desk("d", "by the window", `,"owner":"bulkId:u","team":{"value":"bulkId:g"},"beside":["bulkId:e"]`),
			desk("e", "by the door", `,"beside":["bulkId:d","bulkId:e"]`),
			newGroup("g", "Sales", "bulkId:u"),
			newPerson("u", "sitting@acme.example", fmt.Sprintf(`,%q:{"desk":"bulkId:d"}`, seatURN)),
			`{"method":"PATCH","path":"/Desks/bulkId:e","data":`+patchJSON(`{"op":"add","path":"owner","value":"bulkId:u"}`)+`}`,
			desk("f", "nobody's", `,"owner":"bulkId:none"`),
		)
		var statuses []string
		for _, r := range results {
			statuses = append(statuses, r.Status)
		}
		if got := strings.Join(statuses, " "); got != "201 201 201 201 200 409" {
			t.Fatalf("%s: %+v", got, results)
		}
		d, e, g, u := results[0].id(), results[1].id(), results[2].id(), results[3].id()
		team, _ := s.acme.send("GET", of("acme", "/Desks/"+d), "").want(http.StatusOK).body["team"].(map[string]any)
		s.acme.send("GET", of("acme", "/Desks/"+d), "").has(map[string]any{"owner": u, "beside": []any{e}})
		s.acme.send("GET", of("acme", "/Desks/"+e), "").has(map[string]any{"owner": u, "beside": []any{d, e}})
		s.acme.send("GET", of("acme", "/Users/"+u), "").has(map[string]any{seatURN: map[string]any{"desk": d}})
		if team["value"] != g {
			t.Errorf("the team is %v, want %s", team, g)
		}
	})
}

// However many groups join a group, and however dense the groups are nested,
// that no circle comes of it costs the same statements.
func TestNestingCostsTheSameStatements(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d := newDirectory(t, in, handler, "berlin")
		var statements atomic.Int64
		counted := func(method, path, body string, want int) (int64, string) {
			t.Helper()
			before := statements.Load()
			request := httptest.NewRequest(method, of("berlin", path), strings.NewReader(body))
			request = request.WithContext(storage.WithObserver(request.Context(), func(string) { statements.Add(1) }))
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Authorization", "Bearer "+d.token)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != want {
				t.Fatalf("%s %s: %d %s", method, path, recorder.Code, recorder.Body)
			}
			var made struct{ ID string }
			_ = json.Unmarshal(recorder.Body.Bytes(), &made)
			return statements.Load() - before, made.ID
		}
		list := func(ids []string) string {
			texts := make([]string, len(ids))
			for i, group := range ids {
				texts[i] = fmt.Sprintf(`{"value":%q}`, group)
			}
			return "[" + strings.Join(texts, ",") + "]"
		}
		group := func(members []string) (int64, string) {
			t.Helper()
			name := fmt.Sprint("Group ", statements.Load())
			return counted(http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":%q,"members":%s}`, groupURN, name, list(members)), http.StatusCreated)
		}
		var all []string
		var one, many int64
		for i := range 40 { // each contains all before it
			took, made := group(all)
			if all = append(all, made); i == 1 {
				one = took
			}
			many = took
		}
		if many != one {
			t.Errorf("a group of 39 groups takes %d statements, one of 1 takes %d", many, one)
		}
		_, outer := group(nil)
		add := func(path string, ids []string, want int) int64 {
			t.Helper()
			took, _ := counted(http.MethodPatch, "/Groups/"+path, patchJSON(`{"op":"add","path":"members","value":`+list(ids)+`}`), want)
			return took
		}
		one = add(outer, all[:1], http.StatusNoContent)
		if many = add(outer, all[1:], http.StatusNoContent); many != one {
			t.Errorf("39 groups join with %d statements, 1 with %d", many, one)
		}
		add(all[0], []string{outer}, http.StatusBadRequest)
		add(all[0], all[1:], http.StatusBadRequest)
		add(outer, []string{outer}, http.StatusBadRequest)
	})
}

// A bulk request costs its operations, is refused as a whole before any is done,
// and may have more of them than the connection may send at once.
func TestABulkRequestCountsItsOperations(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		_, token := w.connect(map[string]any{"name": "a", "rate_limit": map[string]any{"per_second": 2, "burst": 6}})
		made := 0
		bulk := func(operations int) *httptest.ResponseRecorder {
			t.Helper()
			all := []map[string]any{}
			for range operations {
				made++
				all = append(all, map[string]any{"method": "POST", "path": "/Users", "bulkId": fmt.Sprint(made), "data": map[string]any{
					"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": fmt.Sprint("bulk", made),
				}})
			}
			return w.scim(token, http.MethodPost, "/Bulk", map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:BulkRequest"}, "Operations": all})
		}
		refused := func(r *httptest.ResponseRecorder, after string) {
			t.Helper()
			w.wants(r, http.StatusTooManyRequests, `"status":"429"`)
			if got := r.Header().Get("Retry-After"); got != after {
				t.Errorf("Retry-After is %q, want %s", got, after)
			}
		}
		w.wants(bulk(4), http.StatusOK, `"201"`) // 2 are left
		refused(bulk(4), "2")                    // 1 is left, and 4 are wanted
		w.clock = w.clock.Add(2 * time.Second)
		w.wants(bulk(4), http.StatusOK, `"201"`) // 1 is left
		w.clock = w.clock.Add(time.Minute)
		w.wants(bulk(20), http.StatusOK, `"201"`) // 6 at once, and 14 are owed
		refused(w.scim(token, http.MethodGet, "/Users?count=0", nil), "8")
		w.clock = w.clock.Add(7 * time.Second)
		refused(w.scim(token, http.MethodGet, "/Users?count=0", nil), "1")
		w.clock = w.clock.Add(time.Second)
		w.wants(w.scim(token, http.MethodGet, "/Users?count=0&filter=userName+sw+%22bulk%22", nil), http.StatusOK, `"totalResults":28`)
	})
}
