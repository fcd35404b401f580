package scim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolecall/rolecall/conformance/instance"
)

// oracleFile is an instance with one tenant.
const oracleFile = `
tenants:
- {slug: oracle, name: Oracle, connections: [{name: directory, profile: rfc, token: rcs-oracle-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1}]}
`

func newOracle(t *testing.T, i *instance.Instance) *tester {
	t.Helper()
	return &tester{T: t, server: i, slug: "oracle", base: i.URL + "/t/oracle/scim/v2", token: tokenOf("oracle"), made: new(atomic.Int64), lacks: new(string)}
}

// TestRaces: of many writers with the same entity tag exactly one wins, whatever
// they write (RFC 7644 §3.14).
func TestRaces(t *testing.T) {
	t.Parallel()
	instance.Each(t, oracleFile, func(t *testing.T, i *instance.Instance) {
		const writers, rounds = 16, 5
		x := newOracle(t, i)
		for endpoint, create := range map[string]func(...m) answer{"/Users/": x.user, "/Groups/": x.group} {
			for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
				for range rounds {
					made := create()
					won, lost, other := x.race(endpoint+made.id(), method, made.text("meta.version"), writers)
					x.ok(won == 1 && lost == writers-1 && other == "", "%s %s: %d won and %d lost; %s", method, endpoint, won, lost, other)
					if method != http.MethodDelete {
						after := x.want(x.get(endpoint+made.id()), 200)
						x.ok(after.text("meta.version") != made.text("meta.version"), "%s %s: the winner changed nothing", method, endpoint)
					}
				}
			}
		}
	})
}

// TestPatchOracle sends random operations on members and on a user, some of them
// wrong, and compares what the server holds with a model: sets of members, and
// for a user the texts and the list of addresses. A request with one wrong
// operation changes nothing (RFC 7644 §3.5.2).
func TestPatchOracle(t *testing.T) {
	t.Parallel()
	instance.Each(t, oracleFile, func(t *testing.T, i *instance.Instance) {
		x := newOracle(t, i)
		people := make([]string, 6)
		for n := range people {
			people[n] = x.user().id()
		}
		group, user := x.group().id(), x.user().id()
		members, person := map[string]bool{}, userModel{texts: map[string]string{}}
		rapid.Check(t, func(r *rapid.T) {
			operations, next, wrong := drawMembers(r, people, members)
			if x.patchAs(r, "/Groups/"+group, operations, wrong) {
				members = next
			}
			got := map[string]bool{}
			for _, value := range x.get("/Groups/" + group).list("members") {
				got[fmt.Sprint(at(value, "value"))] = true
			}
			if asJSON(got) != asJSON(members) {
				r.Fatalf("%s leads to %s, want %s", asJSON(operations), asJSON(got), asJSON(members))
			}
			operations, changed, wrong := drawUser(r, person)
			if x.patchAs(r, "/Users/"+user, operations, wrong) {
				person = changed
			}
			if got, want := asJSON(shown(x.get("/Users/"+user).body)), asJSON(person.document()); got != want {
				r.Fatalf("%s leads to %s, want %s", asJSON(operations), got, want)
			}
		})
	})
}

// patchAs sends the operations and reports whether they were taken, which they
// must be unless one is wrong.
func (x *tester) patchAs(r *rapid.T, path string, operations []any, wrong bool) bool {
	if len(operations) == 0 {
		return false
	}
	a := x.patch(path, operations...)
	if (a.status == 400) != wrong || a.status >= 300 && a.status != 400 {
		r.Fatalf("%s: got %d %.300s, wrong: %t", asJSON(operations), a.status, a.raw, wrong)
	}
	return !wrong
}

// drawMembers draws operations on a group's members, and what they lead to.
func drawMembers(r *rapid.T, people []string, before map[string]bool) (operations []any, after map[string]bool, wrong bool) {
	after = map[string]bool{}
	for id := range before {
		after[id] = true
	}
	for range rapid.IntRange(1, 4).Draw(r, "operations") {
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(people), 0, 3, rapid.ID[string]).Draw(r, "people")
		values := l{}
		for _, id := range some {
			values = append(values, m{"value": id})
		}
		switch rapid.IntRange(0, 11).Draw(r, "case") {
		case 0, 1, 2:
			operations = append(operations, m{"op": "add", "path": "members", "value": values})
			for _, id := range some {
				after[id] = true
			}
		case 3, 4:
			if len(some) == 0 {
				continue
			}
			operations = append(operations, m{"op": "remove", "path": "members", "value": values})
			for _, id := range some {
				delete(after, id)
			}
		case 5, 6:
			for _, id := range some {
				if after[id] { // what is not there may be noTarget
					operations = append(operations, m{"op": "remove", "path": `members[value eq "` + id + `"]`})
					delete(after, id)
				}
			}
		case 7, 8:
			operations = append(operations, m{"op": "replace", "path": "members", "value": values})
			clear(after)
			for _, id := range some {
				after[id] = true
			}
		case 9:
			operations = append(operations, m{"op": "remove", "path": "members"})
			clear(after)
		case 10:
			operations = append(operations, m{"op": "add", "value": m{"members": values}})
			for _, id := range some {
				after[id] = true
			}
		default:
			operations = append(operations, m{"op": "add", "path": "members", "value": append(values, m{"value": nobody})})
			wrong = true
		}
	}
	return operations, after, wrong
}

// userModel is a user reduced to what the operations touch.
type userModel struct {
	texts  map[string]string // by path
	emails []string          // type and value, in order
}

func (u userModel) document() m {
	return m{"texts": u.texts, "emails": append([]string{}, u.emails...)}
}

// shown is a user of the server in the model's form.
func shown(user m) m {
	texts, emails := map[string]string{}, []string(nil)
	for _, path := range userTexts {
		if text, ok := at(user, path...).(string); ok {
			texts[strings.Join(path, ":")] = text
		}
	}
	list, _ := user["emails"].(l)
	for _, value := range list {
		emails = append(emails, fmt.Sprint(at(value, "type"), " ", at(value, "value")))
	}
	return userModel{texts, emails}.document()
}

var userTexts = [][]string{{"title"}, {"name.givenName"}, {"name.familyName"}, {enterpriseURN, "department"}, {enterpriseURN, "costCenter"}}

// drawUser draws operations on a user, and what they lead to.
func drawUser(r *rapid.T, before userModel) (operations []any, after userModel, wrong bool) {
	after = userModel{texts: map[string]string{}, emails: slices.Clone(before.emails)}
	maps.Copy(after.texts, before.texts)
	word := rapid.SampledFrom([]string{"a", "b", "Ä"})
	kind := rapid.SampledFrom([]string{"work", "home"})
	for range rapid.IntRange(1, 5).Draw(r, "operations") {
		path := strings.Join(rapid.SampledFrom(userTexts).Draw(r, "path"), ":")
		op := rapid.SampledFrom([]string{"add", "replace", "Replace"}).Draw(r, "op")
		text, of := word.Draw(r, "text"), kind.Draw(r, "type")
		address := text + "@x.example"
		entry := of + " " + address
		switch rapid.IntRange(0, 8).Draw(r, "case") {
		case 0, 1:
			operations = append(operations, m{"op": op, "path": path, "value": text})
			after.texts[path] = text
		case 2:
			operations = append(operations, m{"op": "remove", "path": path})
			delete(after.texts, path)
		case 3:
			operations = append(operations, m{"op": op, "value": m{"title": text, enterpriseURN: m{"department": of}}})
			after.texts["title"], after.texts[enterpriseURN+":department"] = text, of
		case 4:
			operations = append(operations, m{"op": "add", "path": "emails", "value": l{m{"value": address, "type": of}}})
			if !slices.Contains(after.emails, entry) {
				after.emails = append(after.emails, entry)
			}
		case 5:
			if slices.ContainsFunc(after.emails, func(e string) bool { return strings.HasPrefix(e, of) }) {
				operations = append(operations, m{"op": "remove", "path": `emails[type eq "` + of + `"]`})
				after.emails = slices.DeleteFunc(after.emails, func(e string) bool { return strings.HasPrefix(e, of) })
			}
		case 6:
			operations = append(operations, m{"op": "replace", "path": "emails", "value": l{m{"value": address, "type": of}}})
			after.emails = []string{entry}
		case 7:
			operations = append(operations, m{"op": "remove", "path": "emails"})
			after.emails = nil
		default:
			operations = append(operations, rapid.SampledFrom([]any{
				m{"op": "remove", "path": "userName"},
				m{"op": "add", "path": "nothing", "value": 1},
				m{"op": "replace", "path": "active", "value": "perhaps"},
				m{"op": "replace", "path": `emails[type eq "none"].value`, "value": "x"},
				m{"op": "replace", "path": "id", "value": "x"},
			}).Draw(r, "wrong"))
			wrong = true
		}
	}
	return operations, after, wrong
}
