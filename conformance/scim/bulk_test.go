package scim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// bulk sends a bulk job.
func (x *tester) bulk(operations ...any) answer {
	x.Helper()
	return x.bulkOf(m{}, operations...)
}

func (x *tester) bulkOf(options m, operations ...any) answer {
	x.Helper()
	x.needs("bulk.supported")
	a := x.want(x.post("/Bulk", with(m{"schemas": l{bulkURN}, "Operations": operations}, options)), 200)
	x.same("schemas", a.at("schemas"), l{bulkAnswerURN})
	return a
}

// result is the status of an operation of the answer.
func (x *tester) result(a answer, n int) int {
	x.Helper()
	text := a.text(fmt.Sprintf("Operations.%d.status", n))
	status, err := strconv.Atoi(text)
	x.ok(err == nil, "operation %d: the status is %q, not a number in a text: %.500s", n, text, a.raw)
	return status
}

// resource is what an operation is about, by its location.
func (x *tester) resource(a answer, n int) answer {
	x.Helper()
	return x.want(x.get(a.text(fmt.Sprintf("Operations.%d.location", n))), 200)
}

func bulkAnswer(x *tester) {
	user := x.user()
	a := x.bulk(
		m{"method": "POST", "path": "/Users", "bulkId": "qwerty", "data": x.userBody(m{"userName": "bulk@people.example"})},
		m{"method": "PUT", "path": "/Users/" + user.id(), "data": x.userBody(m{"title": "T"})},
		m{"method": "PATCH", "path": "/Users/" + user.id(), "data": m{"schemas": l{patchURN}, "Operations": l{m{"op": "add", "path": "nickName", "value": "N"}}}},
		m{"method": "DELETE", "path": "/Users/" + nobody},
		m{"method": "POST", "path": "/Users", "bulkId": "again", "data": x.userBody(m{"userName": "BULK@people.example"})},
		m{"method": "DELETE", "path": "/Users/" + user.id()},
	)
	for n, want := range []int{201, 200, 200, 404, 409, 204} {
		got := x.result(a, n)
		x.ok(got == want || n == 2 && got == 204, "operation %d: got %d, want %d: %.800s", n, got, want, a.raw)
	}
	made := x.resource(a, 0)
	x.same("bulkId", a.at("Operations.0.bulkId"), "qwerty")
	x.same("version", a.at("Operations.0.version"), made.at("meta.version"))
	x.same("location", a.at("Operations.0.location"), made.at("meta.location"))
	for n, method := range []string{"POST", "PUT", "PATCH", "DELETE", "POST", "DELETE"} {
		x.same("method", a.at(fmt.Sprintf("Operations.%d.method", n)), method)
	}
	x.same("location of PUT", a.at("Operations.1.location"), user.at("meta.location"))
	x.same("the error", a.at("Operations.4.response.scimType"), "uniqueness")
	x.same("schemas of the error", a.at("Operations.4.response.schemas"), l{errorURN})
	x.same("status of the error", a.at("Operations.4.response.status"), "409")
	x.same("location of what was not made", a.at("Operations.4.location"), nil)
	x.want(x.get("/Users/"+user.id()), 404)
}

func bulkPartialFailure(x *tester) {
	a := x.bulk(
		m{"method": "POST", "path": "/Users", "bulkId": "a", "data": x.userBody(m{"userName": "a"})},
		m{"method": "POST", "path": "/Users", "bulkId": "b", "data": m{"schemas": l{userURN}}},
		m{"method": "POST", "path": "/Users", "bulkId": "c", "data": x.userBody(m{"userName": "A"})},
		m{"method": "POST", "path": "/Users", "bulkId": "d", "data": x.userBody(m{"userName": "d"})},
		m{"method": "POST", "path": "/Things", "bulkId": "e", "data": m{}},
	)
	x.same("operations", len(a.list("Operations")), 5)
	for n, want := range []int{201, 400, 409, 201, 404} {
		x.same(fmt.Sprint("operation ", n), x.result(a, n), want)
	}
	x.same("users", x.get("/Users").at("totalResults"), 2)
}

func bulkReferences(x *tester) {
	user := x.user()
	a := x.bulk(
		m{"method": "POST", "path": "/Groups", "bulkId": "outer", "data": x.groupBody(m{"members": l{m{"type": "Group", "value": "bulkId:inner"}}})}, // made later
		m{"method": "POST", "path": "/Users", "bulkId": "boss", "data": x.userBody()},
		m{"method": "POST", "path": "/Groups", "bulkId": "inner", "data": x.groupBody(m{"members": l{m{"type": "User", "value": "bulkId:boss"}}})},
		m{"method": "PATCH", "path": "/Groups/bulkId:inner", "data": m{"schemas": l{patchURN}, "Operations": l{m{"op": "add", "path": "members", "value": l{m{"value": user.id()}}}}}},
		m{"method": "PATCH", "path": "/Users/" + user.id(), "data": m{"schemas": l{patchURN}, "Operations": l{m{"op": "add", "path": enterpriseURN + ":manager", "value": m{"value": "bulkId:boss"}}}}},
		m{"method": "PATCH", "path": "/Groups/bulkId:outer", "data": m{"schemas": l{patchURN}, "Operations": l{m{"op": "remove", "path": `members[value eq "bulkId:inner"]`}}}},
	)
	for n := range 6 {
		x.ok(x.result(a, n) < 300, "operation %d: %.900s", n, a.raw)
	}
	boss, inner := x.resource(a, 1), x.resource(a, 2)
	members := []any{at(inner.at("members.0"), "value"), at(inner.at("members.1"), "value")}
	x.ok(len(inner.list("members")) == 2 && (members[0] == boss.id() || members[1] == boss.id()), "inner has %v", members)
	x.same("manager", x.get("/Users/"+user.id()).at(enterpriseURN, "manager", "value"), boss.id())
	x.ok(x.resource(a, 0).at("members") == nil, "outer still has inner")
	x.ok(!strings.Contains(x.get("/Groups").raw, "bulkId"), "a bulkId was stored")

	b := x.bulk(m{"method": "POST", "path": "/Users", "data": x.userBody()}, m{"method": "POST", "path": "/Groups", "bulkId": "lost", "data": x.groupBody(m{"members": l{m{"value": "bulkId:nowhere"}}})})
	x.same("POST without bulkId", x.result(b, 0), 400)
	x.ok(x.result(b, 1) == 400 || x.result(b, 1) == 409, "a bulkId of nothing: %.500s", b.raw)
}

func bulkCircle(x *tester) {
	a := x.bulk(
		m{"method": "POST", "path": "/Users", "bulkId": "a", "data": x.userBody(m{"schemas": l{userURN, enterpriseURN}, enterpriseURN: m{"manager": m{"value": "bulkId:b"}}})},
		m{"method": "POST", "path": "/Users", "bulkId": "b", "data": x.userBody(m{"schemas": l{userURN, enterpriseURN}, enterpriseURN: m{"manager": m{"value": "bulkId:a"}}})},
	)
	x.same("statuses", []int{x.result(a, 0), x.result(a, 1)}, []int{201, 201})
	x.same("a's manager", x.resource(a, 0).at(enterpriseURN, "manager", "value"), x.resource(a, 1).id())
	x.same("b's manager", x.resource(a, 1).at(enterpriseURN, "manager", "value"), x.resource(a, 0).id())
	// Groups in one another are refused elsewhere too: tried, and 409 or 400.
	b := x.bulk(
		m{"method": "POST", "path": "/Groups", "bulkId": "g", "data": x.groupBody(m{"members": l{m{"type": "Group", "value": "bulkId:h"}}})},
		m{"method": "POST", "path": "/Groups", "bulkId": "h", "data": x.groupBody(m{"members": l{m{"type": "Group", "value": "bulkId:g"}}})},
	)
	for n := range 2 {
		x.ok(x.result(b, n) < 500, "operation %d: %.600s", n, b.raw)
	}
}

func bulkFailOnErrors(x *tester) {
	bad := m{"method": "POST", "path": "/Users", "bulkId": "bad", "data": m{"schemas": l{userURN}}}
	good := func(name string) m {
		return m{"method": "POST", "path": "/Users", "bulkId": name, "data": x.userBody(m{"userName": name})}
	}
	a := x.bulkOf(m{"failOnErrors": 1}, good("a"), bad, good("b"))
	x.same("operations", len(a.list("Operations")), 2)
	x.same("statuses", []int{x.result(a, 0), x.result(a, 1)}, []int{201, 400})
	x.same("found", x.find("/Users", `userName eq "b"`), []string{})
	x.ok(len(x.find("/Users", `userName eq "a"`)) == 1, "what succeeded is gone")
	b := x.bulkOf(m{"failOnErrors": 2}, with(bad, m{"bulkId": "x"}), good("c"), with(bad, m{"bulkId": "y"}), good("d"))
	x.same("operations", len(b.list("Operations")), 3)
	x.same("found", len(x.find("/Users", `userName eq "c" or userName eq "d"`)), 1)
}

func bulkLimits(x *tester) {
	config := x.needs("bulk.supported")
	limit, _ := config.at("bulk.maxOperations").(float64)
	size, _ := config.at("bulk.maxPayloadSize").(float64)
	x.ok(limit > 0 && size > 0, "the limits are %v and %v", limit, size)
	operations := make(l, int(limit)+1)
	for n := range operations {
		operations[n] = m{"method": "DELETE", "path": "/Users/" + nobody}
	}
	many := x.wantError(x.post("/Bulk", m{"schemas": l{bulkURN}, "Operations": operations}), 413)
	x.ok(strings.Contains(strings.ReplaceAll(many.text("detail"), ",", ""), strconv.Itoa(int(limit))), "the limit %v is not in %q", limit, many.text("detail"))
	large := x.wantError(x.post("/Bulk", m{"schemas": l{bulkURN}, "Operations": l{m{"method": "POST", "path": "/Users", "bulkId": "x", "data": x.userBody(m{"displayName": strings.Repeat("x", int(size))})}}}), 413)
	x.ok(strings.Contains(strings.ReplaceAll(large.text("detail"), ",", ""), strconv.Itoa(int(size))), "the limit %v is not in %q", size, large.text("detail"))
	x.same("users", x.get("/Users").at("totalResults"), 0)
	for _, body := range []any{m{"schemas": l{patchURN}, "Operations": l{}}, m{"schemas": l{bulkURN}}, m{"schemas": l{bulkURN}, "Operations": m{}}} {
		x.wantError(x.post("/Bulk", body), 400)
	}
}

func bulkVersions(x *tester) {
	user := x.user()
	old := user.text("meta.version")
	x.want(x.put("/Users/"+user.id(), x.userBody(m{"title": "T"})), 200)
	a := x.bulk(
		m{"method": "PUT", "path": "/Users/" + user.id(), "version": old, "data": x.userBody(m{"title": "U"})},
		m{"method": "PATCH", "path": "/Users/" + user.id(), "version": old, "data": m{"schemas": l{patchURN}, "Operations": l{m{"op": "replace", "path": "title", "value": "V"}}}},
		m{"method": "DELETE", "path": "/Users/" + user.id(), "version": old},
	)
	for n := range 3 {
		x.same(fmt.Sprint("operation ", n), x.result(a, n), http.StatusPreconditionFailed)
	}
	now := x.want(x.get("/Users/"+user.id()), 200)
	x.same("title", now.at("title"), "T")
	b := x.bulk(m{"method": "DELETE", "path": "/Users/" + user.id(), "version": now.text("meta.version")})
	x.same("the version of now", x.result(b, 0), 204)
}
