package scim

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"

	"github.com/rolecall/rolecall/conformance/instance"
)

// level is how binding a requirement is (RFC 2119).
type level string

const (
	must   level = "must"
	should level = "should"
)

// requirement is something that the RFCs say, or that its section implies.
type requirement struct {
	id    string // as in RFC7644-3.5.2-L1931: RFC, section, line of its text; or S001, a statement that sums up several
	level level
	what  string
	test  func(*tester)
	// untestable says why there is no test.
	untestable string
}

// result is how a requirement was met.
type result struct{ outcome, why string }

func all() []requirement {
	var list []requirement
	for _, part := range [][]requirement{representation(), protocol(), extras(), statements()} {
		list = append(list, part...)
	}
	return list
}

// slugOf is the tenant of a requirement.
func slugOf(id string) string { return strings.ToLower(strings.ReplaceAll(id, ".", "-")) }

func tokenOf(slug string) string { return "rcs-" + slug + "-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1" }

// operatorToken may do everything in the management API.
const operatorToken = "rc_Operator5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mV"

const personPassword = "correct horse battery staple"

// file is an instance with a tenant for each requirement, a person in each of
// those that need one, and an application to sign them in.
func file(requirements []requirement) string {
	var text bytes.Buffer
	text.WriteString("tenants:\n")
	for _, r := range requirements {
		if r.test != nil {
			slug := slugOf(r.id)
			fmt.Fprintf(&text, "- {slug: %s, name: %s, connections: [{name: directory, profile: rfc, token: %s}]}\n", slug, slug, tokenOf(slug))
		}
	}
	fmt.Fprintf(&text, "- {slug: foreign, name: Foreign, connections: [{name: directory, profile: rfc, token: %s}]}\n", tokenOf("foreign"))
	text.WriteString("users:\n- {email: operator@example.com, operator: true}\n")
	for _, id := range []string{"RFC7644-3.11-L3683", "S076"} {
		fmt.Fprintf(&text, "- {email: me@%[1]s.example, password: %[2]s, memberships: [{tenant: %[1]s, roles: [member], status: active}]}\n", slugOf(id), personPassword)
	}
	fmt.Fprintf(&text, `applications:
- {client_id: desk, name: Desk, type: web, secret: %s, redirect_uris: ["https://desk.example/callback"], access_token: jwt, api: true}
application_tokens:
- {name: operator, creator: operator@example.com, token: %s}
`, deskSecret, operatorToken)
	return text.String()
}

const deskSecret = "desk-secret-8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc"

// TestRequirements holds the server to every requirement and prints the table.
func TestRequirements(t *testing.T) {
	t.Parallel()
	requirements := all()
	instance.Each(t, file(requirements), func(t *testing.T, i *instance.Instance) {
		results := make([]result, len(requirements))
		for n, r := range requirements {
			results[n] = r.run(t, i)
		}
		t.Log("\n" + table(requirements, results))
	})
}

// run tests one requirement.
func (r requirement) run(t *testing.T, i *instance.Instance) result {
	t.Helper()
	if r.test == nil {
		return result{"not testable", r.untestable}
	}
	outcome := result{"not run", "-run leaves it out"}
	t.Run(r.id, func(t *testing.T) {
		outcome = result{outcome: "FAIL"}
		slug := slugOf(r.id)
		x := &tester{T: t, server: i, slug: slug, base: i.URL + "/t/" + slug + "/scim/v2", token: tokenOf(slug), made: new(atomic.Int64), lacks: new(string)}
		defer func() {
			switch {
			case t.Skipped():
				outcome = result{"not built yet", *x.lacks}
			case !t.Failed():
				outcome = result{outcome: "pass"}
			}
		}()
		r.test(x)
	})
	return outcome
}

func table(requirements []requirement, results []result) string {
	counts := map[string]int{}
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "requirement\tlevel\tresult\twhat\twhy")
	for n, r := range requirements {
		counts[results[n].outcome]++
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.id, r.level, results[n].outcome, r.what, cmp.Or(results[n].why, "-"))
	}
	w.Flush()
	fmt.Fprintf(&text, "%d requirements: %d pass, %d FAIL, %d not built yet, %d not testable, %d not run\n",
		len(requirements), counts["pass"], counts["FAIL"], counts["not built yet"], counts["not testable"], counts["not run"])
	return text.String()
}

// TestTableIsWhole: each id is there once, with a test or a reason, and none of
// the hundred statements is missing.
func TestTableIsWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range all() {
		if seen[r.id] {
			t.Errorf("%s is there twice", r.id)
		}
		seen[r.id] = true
		if r.level != must && r.level != should || r.what == "" || (r.test == nil) == (r.untestable == "") {
			t.Errorf("%s: expected a level, a text, and either a test or a reason", r.id)
		}
	}
	for n := 1; n <= 100; n++ {
		if id := fmt.Sprintf("S%03d", n); !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
	if len(seen) != 261 {
		t.Errorf("got %d requirements, want 161 of the RFCs' text and 100 statements", len(seen))
	}
}
