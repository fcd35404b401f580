package provisioning

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/id"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestExplanations keeps what administrators are told in a golden file: for each
// rule an entry that nothing but it fits, or the entry that it is for.
func TestExplanations(t *testing.T) {
	var b strings.Builder
	seen := map[string]bool{}
	for i, r := range rules() {
		e := Entry{Status: r.status, SCIMType: r.scimType, Code: r.code, Type: r.kind, Detail: r.says}
		if e.Status == 0 {
			e.Status = 403
		}
		if e.Detail == "" {
			e.Detail = "what the client was told"
		}
		if e.Type == "" && !r.endpoint {
			e.Type = "User"
			if e.Status == 404 {
				e.Type = "Device"
			}
		}
		if e.Type == "User" {
			e.Name = "ann@example.com"
		}
		reason, fix := e.Explain()
		if reason == "" || fix == "" || seen[reason] {
			t.Errorf("rule %d is hidden by another: %q", i, reason)
		}
		seen[reason] = true
		_, _ = fmt.Fprintf(&b, "%d %s %s %s\n  %s\n  %s\n\n", e.Status, e.SCIMType, e.Code, e.Detail, reason, fix)
	}
	golden := filepath.Join("testdata", "explanations.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the explanations have changed; if that is meant, run go test ./provisioning -update\n%s", b.String())
	}
}

func TestSuccessNeedsNoExplanation(t *testing.T) {
	e := Entry{Status: 201}
	if reason, fix := e.Explain(); reason != "" || fix != "" {
		t.Errorf("%q %q", reason, fix)
	}
}

// TestLogIsBounded fills the queue beyond what it takes, with nobody who writes.
func TestLogIsBounded(t *testing.T) {
	l := New(Deps{Now: time.Now})
	for range maxWaiting + 100 {
		l.Add(&Record{Entry: Entry{Tenant: "t", Status: 200}})
	}
	if len(l.waiting) != maxWaiting || l.dropped != 100 {
		t.Errorf("%d wait, %d were dropped", len(l.waiting), l.dropped)
	}
	l = New(Deps{Now: time.Now})
	for range 100 {
		l.Add(&Record{Entry: Entry{Tenant: "t", Status: 200}, RawBody: make([]byte, 1<<20)})
	}
	if l.bytes > maxWaitingBytes || l.dropped == 0 {
		t.Errorf("%d bytes wait, %d were dropped", l.bytes, l.dropped)
	}
	l = New(Deps{Now: time.Now})
	for range 100 { // a client that ignores its rate limit
		l.Add(&Record{Entry: Entry{Tenant: "t", Connection: id.Connection("c"), Status: 429}})
	}
	if len(l.waiting) != refusalsPerMinute {
		t.Errorf("%d of 100 refusals wait", len(l.waiting))
	}
}
