package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tenant's log tells a token that has expired from one that never was, and
// what to do; whoever presents it gets the same answer.
func TestTheLogTellsAnExpiredToken(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, rotated := w.connect(map[string]any{"name": "entra", "profile": "entra"})
		var short connectionTokenAnswer
		w.api(http.MethodPost, "/"+c.ID+"/tokens", map[string]any{"expires_at": w.clock.Add(time.Minute)}, &short)
		w.api(http.MethodPost, "/"+c.ID+"/tokens/rotate", map[string]any{"overlap": 60}, nil)
		w.clock = w.clock.Add(time.Hour)
		answers := map[string]bool{}
		for _, token := range []string{"never-was-0123456789", short.Token, rotated} {
			r := w.scim(token, http.MethodGet, "/Users", nil)
			w.wants(r, http.StatusUnauthorized, "")
			answers[r.Body.String()+strings.Join(r.Header().Values("WWW-Authenticate"), "")] = true
		}
		// Another tenant's log does not tell of it.
		call(t, w.handler, http.MethodGet, "/t/umbrella/scim/v2/Users", "Bearer "+rotated, nil, nil)
		if len(answers) != 1 {
			t.Errorf("the answers differ: %v", answers)
		}
		codes := func(tenant string) (all []string) {
			t.Helper()
			var log struct{ Items []logLine }
			r := call(t, w.handler, http.MethodGet, "/api/v1/tenants/"+tenant+"/provisioning-log?status=401", "Bearer "+instanceToken, nil, nil)
			if err := json.Unmarshal(r.Body.Bytes(), &log); err != nil {
				t.Fatal(err)
			}
			for _, line := range log.Items {
				if strings.Contains(line.Reason, "has expired") != (line.Code == "token_expired") || line.Fix == "" {
					t.Errorf("%+v", line)
				}
				all = append(all, line.Code)
			}
			slices.Sort(all) // they are of one moment
			return all
		}
		if got := strings.Join(codes("acme"), " "); got != "token_expired token_expired token_unknown" {
			t.Errorf("acme's log has %s", got)
		}
		if got := strings.Join(codes("umbrella"), " "); got != "token_unknown" {
			t.Errorf("umbrella's log has %s", got)
		}
	})
}
