package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/outbox/outboxtest"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/oidc/provider"
)

// An application that is down gets its logout tokens when it is back, and
// administrators see what became of them in the meantime.
func TestLogoutDeliveries(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		var down atomic.Bool
		told := make(chan string, 100)
		shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			told <- r.FormValue("logout_token")
		}))
		s.t.Cleanup(shop.Close)
		clock := outboxtest.NewClock(s.in.store, s.in.now)
		edge := must[*provider.Provider](s.t)(provider.New(provider.Deps{OIDC: s.in.oidc, Authn: s.in.authn, Cookies: cookie.NewJar(false), Logger: slog.New(slog.DiscardHandler)}))
		worker := &outbox.Worker{Store: clock, Handlers: s.in.deliverers(edge), Now: clock.Now, Logger: slog.New(slog.DiscardHandler), Poll: 2 * time.Millisecond}
		ctx, cancel := context.WithCancel(s.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()
		s.t.Cleanup(func() { cancel(); <-ended })

		must[*oidc.Applied](s.t)(s.in.oidc.PutApplication(s.operator(), oidc.ApplicationSpec{
			ClientID: stageClient, Name: stageClient, Type: oidc.Web, RedirectURIs: []string{stageRedirect}, Secret: secret.NewText(stageSecret), API: true, BackchannelLogoutURI: shop.URL,
		}))
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.tenant(directory.TenantSpec{Slug: "munich"})
		s.person("boss", "berlin", "owner")
		s.person("bert", "munich", "owner")
		s.person("mia", "berlin", "member")
		s.person("kim", "berlin", "member")

		type delivery struct {
			ID, Status, Reason string
			ClientID           string `json:"client_id"`
			UserID             string `json:"user_id"`
			Attempts           int
			NextAt, EndedAt    *time.Time
		}
		listed := func(query string) []delivery {
			s.t.Helper()
			var got struct{ Items []delivery }
			s.allows(s.api("boss", http.MethodGet, "berlin", "/logout-deliveries"+query, nil, &got))
			return got.Items
		}
		// until looks until there is one delivery that is as wanted, moving the clock.
		until := func(step time.Duration, wanted func(d delivery) bool) delivery {
			s.t.Helper()
			for s.t.Context().Err() == nil {
				if all := listed(""); len(all) == 1 && wanted(all[0]) {
					return all[0]
				}
				clock.Move(step)
			}
			s.t.Fatal("never as wanted")
			return delivery{}
		}
		s.allows(s.signs1("mia", "berlin"))
		down.Store(true)
		s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
		first := until(0, func(d delivery) bool { return d.Attempts == 1 && d.Reason != "" })
		if first.Status != "pending" || first.ClientID != stageClient || first.UserID != string(s.user("mia").ID) || !strings.Contains(first.Reason, "502") {
			s.t.Errorf("got %+v", first)
		}
		until(time.Minute, func(d delivery) bool { return d.Attempts >= 4 })
		s.refuses("permission", s.api("kim", http.MethodGet, "berlin", "/logout-deliveries", nil, nil))
		s.refuses("404", s.api("bert", http.MethodPost, "munich", "/logout-deliveries/"+first.ID+"/retry", nil, nil))
		until(time.Hour, func(d delivery) bool { return d.Status == "failed" && d.Attempts == outbox.MaxAttempts })
		if len(listed("?status=pending"))+len(listed("?status=delivered")) != 0 || len(listed("?status=failed")) != 1 {
			s.t.Error("the status does not narrow the list")
		}
		down.Store(false)
		s.allows(s.api("boss", http.MethodPost, "berlin", "/logout-deliveries/"+first.ID+"/retry", nil, nil))
		if last := until(0, func(d delivery) bool { return d.Status == "delivered" }); last.Reason != "" || last.ID != first.ID {
			s.t.Errorf("got %+v", last)
		}
		if token := <-told; strings.Count(token, ".") != 2 {
			s.t.Errorf("the application was told %q", token)
		}
		s.refuses("404", s.api("boss", http.MethodPost, "berlin", "/logout-deliveries/"+first.ID+"/retry", nil, nil))
	})
}
