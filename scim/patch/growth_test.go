package patch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// repeated is n texts, each told its number, with commas between them.
func repeated(n int, format string) string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(texts, ",")
}

// A request that is four times as long takes about four times as long: what
// takes sixteen times as long keeps a server busy for nothing.
func TestTimeGrowsWithLength(t *testing.T) {
	bodies := map[string]struct {
		resource string
		make     func(n int) string
	}{
		"values": {"User", func(n int) string {
			return `{"op":"add","path":"emails","value":[` + repeated(n, `{"value":"v%d"}`) + `]}`
		}},
		"values and a filter": {"User", func(n int) string {
			return `{"op":"add","path":"emails","value":[` + repeated(n, `{"value":"v%d","type":"work"}`) + `]},{"op":"replace","path":"emails[type eq \"work\"].display","value":"x"},{"op":"remove","path":"emails[value ew \"0\"]"}`
		}},
		"members": {"Group", func(n int) string {
			return `{"op":"remove","path":"members","value":[` + repeated(n, `{"value":"v%d"}`) + `]}`
		}},
		"operations on members": {"Group", func(n int) string { return repeated(n/8, `{"op":"add","path":"members","value":[{"value":"v%d"}]}`) }},
		"operations that add": {"User", func(n int) string {
			return repeated(n/8, `{"op":"add","path":"emails","value":[{"value":"v%d","type":"work"}]}`)
		}},
		"operations that remove": {"User", func(n int) string {
			return `{"op":"add","path":"emails","value":[` + repeated(n/8, `{"value":"v%d"}`) + `]},` + repeated(n/8-1, `{"op":"remove","path":"emails[value eq \"v%d\"]"}`)
		}},
		"operations that list": {"User", func(n int) string {
			return `{"op":"add","path":"emails","value":[` + repeated(n/8, `{"value":"v%d"}`) + `]},` + repeated(n/8-1, `{"op":"remove","path":"emails","value":[{"value":"v%d"}]}`)
		}},
		"keys": {"User", func(n int) string { return `{"op":"add","value":{` + repeated(n, `"k%d":1`) + `}}` }},
		"nesting": {"User", func(n int) string {
			return `{"op":"add","path":"title","value":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
		}},
		"a path": {"User", func(n int) string { return `{"op":"add","path":"` + strings.Repeat("a.", n) + `","value":1}` }},
	}
	for name, b := range bodies {
		t.Run(name, func(t *testing.T) {
			rt, doc := resourceType(t, b.resource), map[string]any{"userName": "b"}
			if b.resource == "Group" {
				doc = map[string]any{"displayName": "b"}
			}
			wantLinear(t, func(n int) func() {
				text := body(b.make(n))
				return func() {
					if operations, err := Parse(text); err == nil {
						_, _ = Apply(rt, doc, operations, schema.Lenient()) // refused or not: it takes its time
					}
				}
			})
		})
	}
	filters := map[string]func(n int) string{
		"a filter of many":   func(n int) string { return strings.Repeat("userName pr or ", n) + "userName pr" },
		"a deep filter":      func(n int) string { return strings.Repeat("(", n) + "userName pr" + strings.Repeat(")", n) },
		"a filter of nots":   func(n int) string { return strings.Repeat("not (", n) },
		"a long text":        func(n int) string { return `userName eq "` + strings.Repeat(`\u00e9`, n) + `"` },
		"a filter of blanks": func(n int) string { return strings.Repeat(" ", n) },
	}
	for name, text := range filters {
		t.Run(name, func(t *testing.T) {
			wantLinear(t, func(n int) func() {
				text := text(n)
				return func() { _, _ = filter.Parse(text) } // refused or not: it takes its time
			})
		})
	}
}

// wantLinear runs work of a length and of four times that length. The bound is
// between 4, of what grows with the length, and 16, of what grows with its
// square. The best of several runs counts, and a busy machine gets more chances.
func wantLinear(t *testing.T, work func(n int) func()) {
	t.Helper()
	const n, bound, noise = 2000, 9, 500 * time.Microsecond
	best := func(f func()) time.Duration {
		shortest := time.Hour
		for range 5 {
			started := time.Now()
			f()
			shortest = min(shortest, time.Since(started))
		}
		return shortest
	}
	short, long := work(n), work(4*n)
	var took [2]time.Duration
	for range 4 {
		took = [2]time.Duration{best(short), best(long)}
		if took[1] < bound*max(took[0], noise) {
			return
		}
	}
	t.Errorf("%d take %s, %d take %s", n, took[0], 4*n, took[1])
}

// What all operations of a request look through is bounded, so that many of
// them on a long list are refused early.
func TestManyOperationsOnALongList(t *testing.T) {
	user := resourceType(t, "User")
	list := `{"op":"add","path":"emails","value":[` + repeated(1000, `{"value":"v%d"}`) + `]}`
	for name, tt := range map[string]struct {
		operations string
		fails      int // the index of the operation that is refused, -1: none
	}{
		"many by filter":     {list + "," + repeated(900, `{"op":"replace","path":"emails[value eq \"v%d\"].display","value":"x"}`), MaxExamined / 1000},
		"few by filter":      {list + "," + repeated(50, `{"op":"replace","path":"emails[value eq \"v%d\"].display","value":"x"}`), -1},
		"many keys":          {`{"op":"add","value":{` + repeated(20_000, `"emails[value eq \"v%d\"].display":"x"`) + `}}`, 0},
		"many that add":      {repeated(1000, `{"op":"add","path":"emails","value":[{"value":"v%d"}]}`), -1},
		"many that remove":   {list + "," + repeated(999, `{"op":"remove","path":"emails[value eq \"v%d\"]"}`), -1},
		"many that list":     {list + "," + repeated(999, `{"op":"remove","path":"emails","value":[{"value":"v%d"}]}`), -1},
		"many that ask more": {list + "," + repeated(900, `{"op":"remove","path":"emails[value ew \"v%d\"]"}`), 105},
		"many of one type": {`{"op":"add","path":"emails","value":[` + repeated(1000, `{"value":"v%d","type":"work"}`) + `]},` +
			repeated(900, `{"op":"remove","path":"emails[type eq \"work\" and value eq \"v%d\"]"}`), 104},
		"by turns":            {list + "," + repeated(400, `{"op":"add","path":"emails","value":[{"value":"w%d"}]},{"op":"replace","path":"emails[value eq \"v1\"].display","value":"x"}`), 98},
		"many that add a few": {repeated(1000, `{"op":"add","path":"emails","value":[{"value":"v","display":"%d"}]}`), -1},
	} {
		t.Run(name, func(t *testing.T) {
			operations, err := Parse(body(tt.operations))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Apply(user, map[string]any{"userName": "b"}, operations, schema.Lenient())
			e, refused := errors.AsType[*Error](err)
			if refused != (tt.fails >= 0) || refused && (e.ScimType != filter.TooMany || e.Operation != tt.fails) {
				t.Errorf("got %v, want tooMany at operation %d", err, tt.fails)
			}
		})
	}
}
