package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

const (
	bulkURN         = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkResponseURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

func bulkOf(operations ...map[string]any) map[string]any {
	return map[string]any{"schemas": []string{bulkURN}, "Operations": operations}
}

// operation of a bulk request; more are its members by name and value in turn.
func bulkOp(method, path string, more ...any) map[string]any {
	o := map[string]any{"method": method, "path": path}
	for i := 0; i < len(more); i += 2 {
		o[more[i].(string)] = more[i+1]
	}
	return o
}

func newUser(bulkID, userName string, more ...any) map[string]any {
	data := map[string]any{"schemas": []string{userURN}, "userName": userName}
	for i := 0; i < len(more); i += 2 {
		data[more[i].(string)] = more[i+1]
	}
	return bulkOp("POST", "/Users", "bulkId", bulkID, "data", data)
}

func newGroup(bulkID, displayName string, members ...string) map[string]any {
	return bulkOp("POST", "/Groups", "bulkId", bulkID, "data", map[string]any{
		"schemas": []string{groupURN}, "displayName": displayName, "members": values(members...),
	})
}

func managedBy(ref string) map[string]any {
	return map[string]any{"manager": map[string]any{"value": ref}}
}

// result is an operation of a bulk response.
type result struct {
	Method, BulkID, Location, Version, Status string
	Response                                  *struct{ Status, ScimType, Detail string }
}

func (r result) id() string { return r.Location[strings.LastIndexByte(r.Location, '/')+1:] }

// bulk sends the operations and returns the results.
func (c *client) bulk(operations ...map[string]any) []result {
	c.t.Helper()
	return c.send("POST", "/Bulk", bulkOf(operations...)).want(http.StatusOK).has("schemas.0", bulkResponseURN).results()
}

func (r *response) results() []result {
	r.t.Helper()
	var body struct{ Operations []result }
	if err := json.Unmarshal(r.Body, &body); err != nil {
		r.t.Fatal(err)
	}
	return body.Operations
}

func statuses(results []result) string {
	all := []string{}
	for _, r := range results {
		all = append(all, r.Status)
	}
	return strings.Join(all, " ")
}

func wantStatuses(t *testing.T, results []result, want string) {
	t.Helper()
	if got := statuses(results); got != want {
		t.Fatalf("the statuses are %s, want %s: %+v", got, want, results)
	}
}

func TestBulkResponse(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ann, bob := c.user("ann"), c.user("bob")
		r := c.send("POST", "/Bulk", bulkOf(
			newUser("qwerty", "alice"),
			bulkOp("PUT", "/Users/"+bob, "version", `W/"1"`, "data", map[string]any{"schemas": []string{userURN}, "userName": "robert"}),
			bulkOp("PATCH", "/Users/"+ann, "data", patchOf(op("add", "title", "Chief"))),
			bulkOp("DELETE", "/Users/"+ann, "version", `W/"7"`),
			newGroup("ytrewq", "Tour Guides", "bulkId:qwerty"),
			newUser("twice", "ALICE"),
			bulkOp("DELETE", "/Users/"+ann),
		)).want(http.StatusOK)
		golden(t, "bulk_response", r.Body)
		c.get("/Users/" + ann).want(http.StatusNotFound)
		c.get("/Users/"+bob).has("userName", "robert").has("meta.version", `W/"2"`)
		group := r.results()[4].id()
		if diff := cmp.Diff([]string{r.results()[0].id()}, c.memberIDs(group)); diff != "" {
			t.Error(diff)
		}
	})
}

// What is wrong with the request itself is answered as such, and nothing is done.
func TestBulkRequestsThatAreNone(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		one := newUser("a", "ann")
		for _, test := range []struct {
			name     string
			body     any
			status   int
			scimType string
			detail   string
		}{
			{"no JSON", "{", 400, "invalidSyntax", "JSON"},
			{"no schemas", map[string]any{"Operations": []any{one}}, 400, "invalidSyntax", bulkURN},
			{"another message", map[string]any{"schemas": []string{patchURN}, "Operations": []any{one}}, 400, "invalidSyntax", bulkURN},
			{"no operations", map[string]any{"schemas": []string{bulkURN}}, 400, "invalidSyntax", "Operations"},
			{"an operation that is no object", map[string]any{"schemas": []string{bulkURN}, "Operations": []any{one, "x"}}, 400, "invalidSyntax", "Operations[1]"},
			{"failOnErrors no number", map[string]any{"schemas": []string{bulkURN}, "failOnErrors": "1", "Operations": []any{one}}, 400, "invalidValue", "failOnErrors"},
			{"failOnErrors negative", map[string]any{"schemas": []string{bulkURN}, "failOnErrors": -1, "Operations": []any{one}}, 400, "invalidValue", "failOnErrors"},
			{"RFC 7644 §3.7.4 too many operations", bulkOf(slices.Repeat([]map[string]any{one}, 1001)...), 413, "", "1000"},
			{"RFC 7644 §3.7.4 10,000 operations", bulkOf(slices.Repeat([]map[string]any{one}, 10_000)...), 413, "", "1000"},
			{"RFC 7644 §3.7.4 too large", strings.Repeat("x", 4<<20+1), 413, "", "4194304"},
			{"nested deeply", `{"schemas":["` + bulkURN + `"],"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}]}`, 400, "invalidSyntax", "nested"},
		} {
			t.Run(test.name, func(t *testing.T) {
				c.send("POST", "/Bulk", test.body).fails(test.status, test.scimType, test.detail)
			})
		}
		c.get("/Users").has("totalResults", 0)
	})
}

// What is wrong with one operation is its result, and the others are done.
func TestBulkOperationsThatFail(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ann := c.user("ann")
		theirs := in.of(t, "umbrella", directory.ProfileRFC).user("wesker")
		title := patchOf(op("add", "title", "x"))
		for _, test := range []struct {
			name   string
			op     map[string]any
			status string
			detail string
		}{
			{"RFC 7644 §3.7 POST without a bulkId", bulkOp("POST", "/Users", "data", map[string]any{"schemas": []string{userURN}, "userName": "x"}), "400", "bulkId"},
			{"the bulkId of another operation", newUser("before", "y"), "400", "before"},
			{"a bulkId that is no string", bulkOp("POST", "/Users", "bulkId", 1, "data", map[string]any{}), "400", "bulkId"},
			{"no method", bulkOp("", "/Users/"+ann), "400", "method"},
			{"GET", bulkOp("GET", "/Users/"+ann), "400", "method"},
			{"no path", bulkOp("DELETE", ""), "404", "path"},
			{"no such endpoint", bulkOp("DELETE", "/Robots/1"), "404", "path"},
			{"RFC 7644 §3.7 a bulk request within a bulk request", bulkOp("POST", "/Bulk", "bulkId", "b", "data", bulkOf()), "404", "path"},
			{"/Me", bulkOp("PATCH", "/Me", "data", title), "404", "path"},
			{"POST to a resource", bulkOp("POST", "/Users/"+ann, "bulkId", "b", "data", map[string]any{}), "405", "path"},
			{"DELETE of an endpoint", bulkOp("DELETE", "/Users"), "405", "path"},
			{"a query", bulkOp("DELETE", "/Users/"+ann+"?x=y"), "404", "path"},
			{"below a resource", bulkOp("DELETE", "/Users/"+ann+"/x"), "404", "path"},
			{"an unknown user", bulkOp("DELETE", "/Users/0197c0a0-0000-7000-8000-000000000000"), "404", "no user"},
			{"rule 79 another tenant's user", bulkOp("DELETE", "/Users/"+theirs), "404", "no user"},
			{"no data", bulkOp("PATCH", "/Users/"+ann), "400", "data"},
			{"data that is no object", bulkOp("PATCH", "/Users/"+ann, "data", []any{}), "400", "data"},
			{"bad data", bulkOp("PATCH", "/Users/"+ann, "data", patchOf(op("add", "nickName", 1))), "400", "nickName"},
			{"rule 64 another version", bulkOp("DELETE", "/Users/"+ann, "version", `W/"9"`), "412", "version"},
			{"no version", bulkOp("DELETE", "/Users/"+ann, "version", "9"), "400", "If-Match"},
			{"RFC 7644 §3.7.2 an unknown bulkId in data", newGroup("g", "G", "bulkId:nobody"), "409", "nobody"},
			{"RFC 7644 §3.7.2 an unknown bulkId in the path", bulkOp("PATCH", "/Users/bulkId:nobody", "data", title), "409", "nobody"},
		} {
			t.Run(test.name, func(t *testing.T) {
				name := strings.ReplaceAll(t.Name(), "/", " ")
				results := c.bulk(newUser("before", "before "+name), test.op, newUser("after", "after "+name))
				wantStatuses(t, results, "201 "+test.status+" 201")
				got := results[1].Response
				if got == nil || got.Status != test.status || !strings.Contains(got.Detail, test.detail) {
					t.Errorf("the response is %+v, want %q in its detail", got, test.detail)
				}
			})
		}
		c.get("/Users/"+ann).want(http.StatusOK).has("meta.version", `W/"1"`)
	})
}

func TestBulkReferences(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		t.Run("RFC 7644 §3.7.2 in data, before the one referred to", func(t *testing.T) {
			results := c.bulk(newGroup("g", "Forward", "bulkId:u", "bulkId:v"), newUser("u", "forward-u"), newUser("v", "forward-v"))
			wantStatuses(t, results, "201 201 201")
			want := []string{results[1].id(), results[2].id()}
			slices.Sort(want)
			if diff := cmp.Diff(want, c.memberIDs(results[0].id())); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("RFC 7644 §3.7.2 in paths", func(t *testing.T) {
			results := c.bulk(
				newGroup("g", "Paths"), newUser("u", "paths-u"), newUser("v", "paths-v"),
				bulkOp("PATCH", "/Groups/bulkId:g", "data", patchOf(op("add", "members", values("bulkId:u", "bulkId:v")))),
				bulkOp("PATCH", "/Groups/bulkId:g", "data", patchOf(op("remove", `members[value eq "bulkId:u"]`, nil))),
				bulkOp("DELETE", "/Users/bulkId:u"),
			)
			wantStatuses(t, results, "201 201 201 204 204 204")
			if diff := cmp.Diff([]string{results[2].id()}, c.memberIDs(results[0].id())); diff != "" {
				t.Error(diff)
			}
			c.get("/Users/" + results[1].id()).want(http.StatusNotFound)
		})
		t.Run("RFC 7644 §3.7.2 in an extension", func(t *testing.T) {
			results := c.bulk(
				newUser("u", "extension-u", enterpriseURN, managedBy("bulkId:m")), newUser("m", "extension-m"),
				bulkOp("PATCH", "/Users/bulkId:m", "data", patchOf(op("add", enterpriseURN+":manager", map[string]any{"value": "bulkId:top"}))),
				bulkOp("PATCH", "/Users/bulkId:top", "data", patchOf(op("add", "", map[string]any{enterpriseURN: managedBy("bulkId:top")}))),
				newUser("top", "extension-top"),
			)
			wantStatuses(t, results, "201 201 200 200 201")
			m, top := results[1].id(), results[4].id()
			c.get("/Users/"+results[0].id()).has(enterpriseURN+"|manager.value", m)
			c.get("/Users/"+m).has(enterpriseURN+"|manager.value", top)
			c.get("/Users/"+top).has(enterpriseURN+"|manager.value", top)
		})
		t.Run("what looks like a reference elsewhere stays", func(t *testing.T) {
			results := c.bulk(newUser("u", "elsewhere", "displayName", "bulkId:u", "title", "bulkId:none"))
			wantStatuses(t, results, "201")
			c.get("/Users/"+results[0].id()).has("displayName", "bulkId:u").has("title", "bulkId:none")
		})
		t.Run("RFC 7644 §3.7.1 a circle of people", func(t *testing.T) {
			results := c.bulk(
				newUser("a", "circle-a", enterpriseURN, managedBy("bulkId:b")),
				newUser("b", "circle-b", enterpriseURN, managedBy("bulkId:c")),
				newUser("c", "circle-c", enterpriseURN, managedBy("bulkId:a")),
				newUser("self", "circle-self", enterpriseURN, managedBy("bulkId:self")),
			)
			wantStatuses(t, results, "201 201 201 201")
			for i, manager := range []int{1, 2, 0, 3} {
				r := c.get("/Users/"+results[i].id()).has(enterpriseURN+"|manager.value", results[manager].id())
				r.has("meta.version", results[i].Version)
			}
		})
		t.Run("RFC 7644 §3.7.1 a circle that can't be is 409 and leaves nothing", func(t *testing.T) {
			before := state(c)
			results := c.bulk(newGroup("a", "Circle A", "bulkId:b"), newGroup("b", "Circle B", "bulkId:a"), newGroup("s", "Circle S", "bulkId:s"))
			wantStatuses(t, results, "409 409 409")
			if diff := cmp.Diff(before, state(c)); diff != "" {
				t.Errorf("something was written (-before +after):\n%s", diff)
			}
		})
		t.Run("what refers to a failed one fails", func(t *testing.T) {
			c.user("taken")
			results := c.bulk(
				newUser("u", "taken"), newGroup("g", "Orphans", "bulkId:u"), newGroup("h", "Orphans of orphans", "bulkId:g"),
				bulkOp("DELETE", "/Users/bulkId:u"), newUser("v", "untouched"),
			)
			wantStatuses(t, results, "409 409 409 409 201")
			if d := results[1].Response.Detail; !strings.Contains(d, `"u"`) {
				t.Errorf("the detail %q does not name the bulkId", d)
			}
		})
		t.Run("what refers to one that can't be carried out fails", func(t *testing.T) {
			results := c.bulk(newGroup("g", "Early orphans", "bulkId:u"), newUser("u", "u", enterpriseURN, managedBy("bulkId:none")), newGroup("h", "Late orphans", "bulkId:u"))
			wantStatuses(t, results, "409 409 409")
			c.get("/Groups?filter=displayName%20ew%20%22orphans%22").has("totalResults", 0)
		})
		t.Run("the circle of a failed one fails with it", func(t *testing.T) {
			results := c.bulk(newUser("a", "halves-a", enterpriseURN, managedBy("bulkId:b")), newUser("b", "taken", enterpriseURN, managedBy("bulkId:a")))
			wantStatuses(t, results, "409 409")
			if results[1].Response.ScimType != "uniqueness" || results[0].Response.ScimType != "" {
				t.Errorf("%+v %+v", results[0].Response, results[1].Response)
			}
			c.get("/Users?filter=userName%20sw%20%22halves%22").has("totalResults", 0)
		})
	})
}

func TestBulkFailOnErrors(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		c.user("taken")
		run := 0
		for limit, want := range map[int]string{0: "201 409 201 404 201", 1: "201 409", 2: "201 409 201 404", 3: "201 409 201 404 201"} {
			run++
			body := bulkOf(
				newUser("a", fmt.Sprint("a", run)), newUser("b", "taken"), newUser("c", fmt.Sprint("c", run)),
				bulkOp("DELETE", "/Users/none"), newUser("d", fmt.Sprint("d", run)),
			)
			body["failOnErrors"] = limit
			results := c.send("POST", "/Bulk", body).want(http.StatusOK).results()
			wantStatuses(t, results, want)
		}
		if c.get("/Users?filter=userName%20sw%20%22d%22").at("totalResults") != json.Number("2") {
			t.Error("RFC 7644 §3.7.3: something was done after the last error")
		}
	})
}

// The client's order holds wherever it makes a difference, however many
// operations are carried out beside each other.
func TestBulkKeepsTheOrder(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		operations := []map[string]any{}
		for i := range 40 {
			operations = append(operations, newUser(fmt.Sprint("first", i), fmt.Sprint("same", i)), newUser(fmt.Sprint("second", i), fmt.Sprint("SAME", i)))
		}
		operations = append(operations, bulkOp("DELETE", "/Users/bulkId:first7"), newUser("third", "same7"))
		results := c.bulk(operations...)
		for i := range 40 {
			if results[2*i].Status != "201" || results[2*i+1].Status != "409" {
				t.Errorf("of two equal names %s and %s", results[2*i].Status, results[2*i+1].Status)
			}
		}
		wantStatuses(t, results[80:], "204 201")
		for i, r := range results {
			if want, _ := operations[i]["bulkId"].(string); r.BulkID != want {
				t.Errorf("result %d is that of %q, want %q", i, r.BulkID, want)
			}
		}
	})
}

// A loop of a thousand, and texts of a megabyte, take no longer than others.
func TestBulkOfBadWill(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		loop := []map[string]any{}
		for i := range 1000 {
			loop = append(loop, newGroup(fmt.Sprint(i), fmt.Sprint("Loop ", i), fmt.Sprint("bulkId:", (i+1)%1000)))
		}
		crowd := []map[string]any{}
		for i := range 100 {
			members := []string{}
			for j := range 1000 {
				members = append(members, fmt.Sprint("bulkId:", (i+j)%100))
			}
			crowd = append(crowd, newGroup(fmt.Sprint(i), fmt.Sprint("Crowd ", i), members...))
		}
		huge := strings.Repeat("x", 1<<20)
		apart := []map[string]any{}
		for i := range 1000 {
			apart = append(apart, newGroup(fmt.Sprint(i), fmt.Sprint("Apart ", i), "bulkId:nobody"))
		}
		begun := time.Now()
		c.bulk(apart...)
		others := time.Since(begun)
		for name, operations := range map[string][]map[string]any{
			"a loop of a thousand": loop,
			"everybody in all":     crowd,
			"huge texts":           {newUser(huge, "u"), bulkOp("DELETE", "/Users/"+huge), bulkOp("DELETE", "/Users/bulkId:"+huge)},
		} {
			t.Run(name, func(t *testing.T) {
				begun := time.Now()
				results := c.bulk(operations...)
				if len(results) != len(operations) {
					t.Errorf("%d results of %d operations", len(results), len(operations))
				}
				if took := time.Since(begun); took > 50*others {
					t.Errorf("took %v, and a thousand others %v", took, others)
				} else {
					t.Logf("%v; others %v", took, others)
				}
			})
		}
		c.get("/Groups").has("totalResults", 0)
	})
}

// A role system's refusal is the result of its operation, and the rest goes on.
func TestBulkMeetsTheRoleSystem(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		owner := c.user("owner")
		acme, err := in.store.TenantByName(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		m, err := in.directory.Membership(authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal}), acme.ID, id.Membership(owner))
		if err != nil {
			t.Fatal(err)
		}
		held := directory.Assignment{Tenant: acme.ID, Membership: m.ID, Role: "owner", Source: directory.AssignedOperator}
		if err := in.store.Assign(t.Context(), held, in.clock.Now()); err != nil {
			t.Fatal(err)
		}
		results := c.bulk(bulkOp("DELETE", "/Users/"+owner), newUser("u", "next"))
		wantStatuses(t, results, "403 201")
		if !strings.HasPrefix(results[0].Response.Detail, "last_holder: ") {
			t.Errorf("the detail is %q", results[0].Response.Detail)
		}
	})
}
