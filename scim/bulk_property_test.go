package scim_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/storage"
)

// bulkModel says what becomes of people and groups that refer to one another: an
// operation is done unless its name is taken, or it refers to one that is not
// done, or it is a group that contains itself at some depth. The first of two
// with one name gets it, in the client's order, unless the other is referred to
// before.
type bulkModel struct {
	group   []bool
	name    []string
	refs    [][]int // of a person at most one, the manager; of a group its members
	unknown []bool  // refers to what nobody makes
}

func drawBulk(t *rapid.T) *bulkModel {
	n := rapid.IntRange(1, 12).Draw(t, "operations")
	m := &bulkModel{}
	for i := range n {
		group := rapid.Bool().Draw(t, "group")
		most := 1
		if group {
			most = 3
		}
		m.group = append(m.group, group)
		m.name = append(m.name, fmt.Sprint("n", i))
		m.refs = append(m.refs, rapid.SliceOfN(rapid.IntRange(0, n-1), 0, most).Draw(t, "refs"))
		m.unknown = append(m.unknown, rapid.IntRange(0, 9).Draw(t, "unknown") == 0)
		if !group {
			m.refs[i] = slices.DeleteFunc(m.refs[i], func(j int) bool { return m.unknown[i] })
		}
	}
	return m
}

func (m *bulkModel) operations(run int) []map[string]any {
	var operations []map[string]any
	for i := range m.name {
		refs := []string{}
		for _, j := range m.refs[i] {
			refs = append(refs, fmt.Sprint("bulkId:", j))
		}
		if m.unknown[i] {
			refs = append(refs, "bulkId:nobody")
		}
		name, id := fmt.Sprint("run", run, " ", m.name[i]), fmt.Sprint(i)
		switch {
		case m.group[i]:
			operations = append(operations, newGroup(id, name, refs...))
		case len(refs) > 0:
			operations = append(operations, newUser(id, name, enterpriseURN, managedBy(refs[0])))
		default:
			operations = append(operations, newUser(id, name))
		}
	}
	return operations
}

// reaches returns what the references of i lead to.
func (m *bulkModel) reaches(i int) map[int]bool {
	seen := map[int]bool{}
	var walk func(int)
	walk = func(i int) {
		for _, j := range m.refs[i] {
			if !seen[j] {
				seen[j] = true
				walk(j)
			}
		}
	}
	walk(i)
	return seen
}

// bad reports whether i is at fault by itself or by the circle that it is in.
func (m *bulkModel) bad(i int) bool {
	if m.unknown[i] {
		return true
	}
	circle := []int{}
	for j := range m.reaches(i) {
		if m.reaches(j)[i] {
			circle = append(circle, j)
		}
	}
	if slices.ContainsFunc(circle, func(j int) bool { return m.unknown[j] }) {
		return true
	}
	// The members alone must not lead from a group to itself. A circle is all or nothing.
	for _, start := range circle {
		if m.group[start] && m.contains(start, start, map[int]bool{}) {
			return true
		}
	}
	return false
}

func (m *bulkModel) contains(from, group int, seen map[int]bool) bool {
	for _, j := range m.refs[from] {
		if !m.group[j] {
			continue
		}
		if j == group {
			return true
		}
		if !seen[j] {
			seen[j] = true
			if m.contains(j, group, seen) {
				return true
			}
		}
	}
	return false
}

func (m *bulkModel) done(i int) bool {
	if m.bad(i) {
		return false
	}
	for j := range m.reaches(i) {
		if m.bad(j) {
			return false
		}
	}
	return true
}

// TestBulkAgainstAModel: random references among people and groups, to and fro
// and in circles, end as a simple model says.
func TestBulkAgainstAModel(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c, run := in.as(t, directory.ProfileRFC), 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			m := drawBulk(rt)
			results := c.bulk(m.operations(run)...)
			if len(results) != len(m.name) {
				rt.Fatalf("%d results of %d operations", len(results), len(m.name))
			}
			for i, r := range results {
				want := "409"
				if m.done(i) {
					want = "201"
				}
				if r.Status != want {
					rt.Fatalf("operation %d: %s, want %s (%+v)\n%+v", i, r.Status, want, r.Response, m)
				}
				if want == "201" {
					m.check(rt, c, results, i)
				}
			}
			made := 0
			for i := range results {
				if m.done(i) {
					made++
				}
			}
			prefix := fmt.Sprint("run", run, " ")
			found := c.get(`/?filter=userName sw "` + prefix + `" or displayName sw "` + prefix + `"&count=0`).want(http.StatusOK)
			if got := fmt.Sprint(found.at("totalResults")); got != fmt.Sprint(made) {
				rt.Fatalf("%s resources are there, want %d", got, made)
			}
		})
	})
}

// check reads back what an operation has made.
func (m *bulkModel) check(rt *rapid.T, c *client, results []result, i int) {
	want := []string{}
	for _, j := range m.refs[i] {
		if id := results[j].id(); !slices.Contains(want, id) {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	got := []string{}
	switch r := c.get(results[i].Location[strings.Index(results[i].Location, "/v2/")+3:]).want(http.StatusOK); {
	case m.group[i]:
		got = c.memberIDs(results[i].id())
	case len(m.refs[i]) > 0:
		value, _ := r.at(enterpriseURN + "|manager.value").(string)
		got = append(got, value)
		want = []string{results[m.refs[i][0]].id()}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("operation %d refers to %v, want %v", i, got, want)
	}
}

// FuzzBulk sends whatever bytes as a bulk request: the answer is one of SCIM's,
// and never an error of the server.
func FuzzBulk(f *testing.F) {
	for _, seed := range []string{
		`{"schemas":["` + bulkURN + `"],"failOnErrors":1,"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":{"schemas":["` + userURN + `"],"userName":"a","` + enterpriseURN + `":{"manager":{"value":"bulkId:a"}}}}]}`,
		`{"schemas":["` + bulkURN + `"],"Operations":[{"method":"post","path":"Groups","bulkId":"g","data":{"schemas":["` + groupURN + `"],"displayName":"G","members":[{"value":"bulkId:g"},{"$ref":"bulkId:h","value":null}]}},{"method":"PATCH","path":"/Groups/bulkId:g","data":{"schemas":["` + patchURN + `"],"Operations":[{"op":"remove","path":"members[value eq \"bulkId:g\"]"}]}}]}`,
		`{"schemas":["` + bulkURN + `"],"Operations":[{"method":"DELETE","path":"/Users/%2F"},{"method":7},{}]}`,
	} {
		f.Add([]byte(seed))
	}
	empty := emptyDatabase(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		file := filepath.Join(t.TempDir(), "fuzz.db")
		if err := os.WriteFile(file, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := storage.Open(t.Context(), "sqlite:"+file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		r := newInstance(t, store).as(t, directory.ProfileRFC).send("POST", "/Bulk", body)
		switch r.Status {
		case http.StatusOK:
			for _, result := range r.results() {
				if strings.HasPrefix(result.Status, "5") {
					t.Errorf("an operation ends with %s: %s\n%s", result.Status, r.Body, r.log)
				}
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("answers %d: %s\n%s", r.Status, r.Body, r.log)
		}
	})
}

// emptyDatabase returns the file of a database without rows. Each body meets one
// of its own, and it takes long to make.
func emptyDatabase(f *testing.F) []byte {
	f.Helper()
	file := filepath.Join(f.TempDir(), "empty.db")
	store, err := storage.Open(f.Context(), "sqlite:"+file)
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(store.Migrate(f.Context()), store.Close()); err != nil {
		f.Fatal(err)
	}
	empty, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	return empty
}
