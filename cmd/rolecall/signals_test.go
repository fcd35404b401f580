package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

const (
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
)

// listener is an application that is told of signals.
type listener struct {
	*stage
	f     *feed
	token string
}

// listens makes an application of the tenant that may manage streams.
func (s *stage) listens(clientID, tenant string, change ...func(*oidc.ApplicationSpec)) *listener {
	s.t.Helper()
	password := secret.Random("")
	spec := oidc.ApplicationSpec{
		ClientID: clientID, Name: clientID, Type: oidc.Web, Tenant: s.id(tenant), RedirectURIs: []string{"https://" + clientID + ".example/callback"}, Secret: password,
	}
	for _, alter := range change {
		alter(&spec)
	}
	must[*oidc.Applied](s.t)(s.in.oidc.PutApplication(s.operator(), spec))
	var got struct {
		Token string `json:"access_token"`
	}
	answer := s.asksToken(clientID, password.Reveal(), "grant_type", "client_credentials", "scope", "ssf.manage")
	if json.Unmarshal(answer.Body.Bytes(), &got) != nil || got.Token == "" {
		s.t.Fatalf("no token for streams: %d %s", answer.Code, answer.Body)
	}
	return &listener{stage: s, f: &feed{t: s.t, in: s.in, handler: s.handler, clock: s.in.now, names: map[string]string{}}, token: "Bearer " + got.Token}
}

func (l *listener) ssf(method, path, body string, into any) *httptest.ResponseRecorder {
	l.t.Helper()
	var sent any
	if body != "" {
		sent = json.RawMessage(body)
	}
	return call(l.t, l.handler, method, path, l.token, sent, into)
}

type ownStream struct {
	ID        string   `json:"stream_id"`
	Audience  []string `json:"aud"`
	Requested []string `json:"events_requested"`
	Delivered []string `json:"events_delivered"`
	Delivery  struct {
		Method   string `json:"method"`
		Endpoint string `json:"endpoint_url"`
	} `json:"delivery"`
}

func (l *listener) stream() *ownStream {
	l.t.Helper()
	made := &ownStream{}
	all, _ := json.Marshal([]string{caep + "session-revoked", caep + "credential-change", risc + "account-disabled", risc + "account-enabled", risc + "account-purged"})
	if r := l.ssf(http.MethodPost, "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8936"},"events_requested":`+string(all)+`}`, made); r.Code != http.StatusCreated {
		l.t.Fatalf("no stream: %d %s", r.Code, r.Body)
	}
	return made
}

// hears polls, and returns the events in words: what of them, about whom.
func (l *listener) hears(s *ownStream) []string {
	l.t.Helper()
	var p polled
	if r := l.ssf(http.MethodPost, "/ssf/poll/"+s.ID, `{"returnImmediately":true}`, &p); r.Code != http.StatusOK {
		l.t.Fatalf("poll: %d %s", r.Code, r.Body)
	}
	heard, acks := []string{}, []string{}
	for jti, set := range p.Sets {
		claims := l.f.open(set)
		events, _ := claims["events"].(map[string]any)
		if len(events) != 1 || claims["jti"] != jti || fmt.Sprint(claims["aud"]) != fmt.Sprint(s.Audience) {
			l.t.Errorf("SSF 1.0 §4: claims %v", claims)
		}
		for uri := range events {
			about, _ := claims["sub_id"].(map[string]any)
			heard = append(heard, uri[strings.LastIndex(uri, "/")+1:]+" "+l.whom(about))
		}
		acks = append(acks, jti)
	}
	slices.Sort(heard)
	ack, _ := json.Marshal(map[string]any{"ack": acks, "maxEvents": 0})
	l.ssf(http.MethodPost, "/ssf/poll/"+s.ID, string(ack), nil)
	return heard
}

func (l *listener) whom(about map[string]any) string {
	switch about["format"] {
	case "iss_sub":
		for _, name := range []string{"mia", "kim", "pat"} {
			if string(l.user(name).ID) == about["sub"] && about["iss"] == l.in.config.PublicURL {
				return name
			}
		}
	case "complex":
		user, _ := about["user"].(map[string]any)
		text := l.whom(user)
		for _, member := range []string{"session", "tenant"} {
			if about[member] != nil {
				text += "+" + member
			}
		}
		return text
	case "opaque":
		return "itself"
	}
	return fmt.Sprint(about)
}

func (l *listener) wants(s *ownStream, what string, want ...string) {
	l.t.Helper()
	if got := l.hears(s); strings.Join(got, ", ") != strings.Join(want, ", ") {
		l.t.Errorf("%s: heard %q, want %q", what, got, want)
	}
}

// TestSignals: an application hears of what becomes of the people of its tenant,
// and of those who have signed in to it, and of nobody else.
func TestSignals(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.tenant(directory.TenantSpec{Slug: "munich"})
		s.person("boss", "berlin", "owner")
		s.person("bert", "munich", "owner")
		s.person("mia", "berlin", "member")
		s.person("kim", "munich", "member")
		s.personIn(directory.StatusInvited, "pat", "berlin", "member")
		shop, other := s.listens("shop", "berlin"), s.listens("other", "munich")
		own, far := shop.stream(), other.stream()

		s.rule("CAEP 1.0 §3.3 credential-change, to tenants that know the person", func() {
			s.check(s.in.authn.SetPassword(s.operator(), s.user("mia").ID, secret.NewText("Korrekt-Pferd-1!")))
			s.check(s.in.authn.SetPassword(s.operator(), s.user("pat").ID, secret.NewText("Korrekt-Pferd-2!")))
			shop.wants(own, "a password", "credential-change mia")
			other.wants(far, "a password elsewhere")
		})
		s.rule("RISC 1.0 §2.3 account-disabled and CAEP 1.0 §3.1 session-revoked", func() {
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
			shop.wants(own, "suspended", "account-disabled mia", "session-revoked mia")
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusActive))
			shop.wants(own, "active again", "account-enabled mia")
			other.wants(far, "elsewhere")
		})
		s.rule("CAEP 1.0 §3.1 session-revoked of one session, where it was used", func() {
			s.allows(s.signs1("mia", "berlin"))
			session := must[*authn.Session](s.t)(s.in.authn.Session(s.t.Context(), secret.NewText(s.session("mia", authn.ACR1))))
			s.check(s.in.oidc.SignOut(s.operator(), session.ID))
			shop.wants(own, "signed out", "session-revoked mia+session")
			other.wants(far, "elsewhere")
		})
		s.rule("SSF 1.0 §8.1.3 a removed subject is not told of, and an added one again", func() {
			subject := func(path string) int {
				body, _ := json.Marshal(map[string]any{"stream_id": own.ID, "subject": map[string]any{"format": "iss_sub", "iss": s.in.config.PublicURL, "sub": s.user("mia").ID}})
				return shop.ssf(http.MethodPost, path, string(body), nil).Code
			}
			if code := subject("/ssf/subjects/remove"); code != http.StatusNoContent {
				s.t.Errorf("remove: %d", code)
			}
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
			shop.wants(own, "removed")
			if code := subject("/ssf/subjects/add"); code != http.StatusOK {
				s.t.Errorf("add: %d", code)
			}
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusActive))
			shop.wants(own, "added", "account-enabled mia")
			if r := shop.ssf(http.MethodPost, "/ssf/subjects/add", `{"stream_id":"`+own.ID+`","subject":{"format":"email","email":"x@y.example"}}`, nil); r.Code != http.StatusBadRequest {
				s.t.Errorf("a subject of another format: %d", r.Code)
			}
		})
		s.rule("SSF 1.0 §8.1.2 a paused stream waits, a disabled one is told nothing", func() {
			status := func(to string) {
				s.t.Helper()
				if r := shop.ssf(http.MethodPost, "/ssf/status", `{"stream_id":"`+own.ID+`","status":"`+to+`"}`, nil); r.Code != http.StatusOK {
					s.t.Fatalf("%d %s", r.Code, r.Body)
				}
			}
			status("paused")
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
			shop.wants(own, "paused")
			status("enabled")
			shop.wants(own, "enabled", "account-disabled mia", "session-revoked mia")
			status("disabled")
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusActive))
			status("enabled")
			shop.wants(own, "disabled meanwhile")
		})
		s.rule("SSF 1.0 §8.1.4 verification", func() {
			if r := shop.ssf(http.MethodPost, "/ssf/verify", `{"stream_id":"`+own.ID+`","state":"x"}`, nil); r.Code != http.StatusNoContent {
				s.t.Errorf("%d %s", r.Code, r.Body)
			}
			shop.wants(own, "verification", "verification itself")
			var shown struct {
				Interval int `json:"min_verification_interval"`
			}
			shop.ssf(http.MethodGet, "/ssf/streams?stream_id="+own.ID, "", &shown)
			r := shop.ssf(http.MethodPost, "/ssf/verify", `{"stream_id":"`+own.ID+`"}`, nil)
			after, err := strconv.Atoi(r.Header().Get("Retry-After"))
			if r.Code != http.StatusTooManyRequests || err != nil || after < 1 || shown.Interval != 30 || after > shown.Interval {
				s.t.Errorf("again: %d %v, min_verification_interval %d", r.Code, r.Header(), shown.Interval)
			}
			shop.wants(own, "not again")
		})
		s.rule("SSF 1.0 §8.1.5 the application is told that its stream was stopped", func() {
			sets := func(status string) {
				s.allows(s.api("boss", http.MethodPatch, "berlin", "/event-streams/"+own.ID, map[string]string{"status": status}, nil))
			}
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
			sets("paused")
			shop.wants(own, "paused", "stream-updated itself")
			sets("enabled")
			shop.wants(own, "enabled", "account-disabled mia", "session-revoked mia", "stream-updated itself")
			sets("disabled")
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusActive))
			shop.wants(own, "disabled", "stream-updated itself")
			sets("disabled")
			shop.wants(own, "as it was")
			sets("enabled")
			shop.wants(own, "enabled", "stream-updated itself")
		})
		s.rule("SSF 1.0 §8.1.1 only the application's own streams", func() {
			near := s.listens("near", "berlin") // of the same tenant
			for _, r := range []*httptest.ResponseRecorder{
				near.ssf(http.MethodGet, "/ssf/streams?stream_id="+own.ID, "", nil), near.ssf(http.MethodPost, "/ssf/poll/"+own.ID, "{}", nil),
				near.ssf(http.MethodDelete, "/ssf/streams?stream_id="+own.ID, "", nil),
				other.ssf(http.MethodGet, "/ssf/streams?stream_id="+own.ID, "", nil), other.ssf(http.MethodDelete, "/ssf/streams?stream_id="+own.ID, "", nil),
				other.ssf(http.MethodGet, "/ssf/status?stream_id="+own.ID, "", nil), other.ssf(http.MethodPost, "/ssf/poll/"+own.ID, "{}", nil),
				other.ssf(http.MethodPatch, "/ssf/streams", `{"stream_id":"`+own.ID+`","events_requested":[]}`, nil),
				other.ssf(http.MethodPost, "/ssf/verify", `{"stream_id":"`+own.ID+`"}`, nil),
				other.ssf(http.MethodPost, "/ssf/subjects/remove", `{"stream_id":"`+own.ID+`","subject":{"format":"iss_sub","iss":"`+s.in.config.PublicURL+`","sub":"`+string(s.user("mia").ID)+`"}}`, nil),
			} {
				if r.Code != http.StatusNotFound {
					s.t.Errorf("%d %s", r.Code, r.Body)
				}
			}
			var listed []ownStream
			other.ssf(http.MethodGet, "/ssf/streams", "", &listed)
			if len(listed) != 1 || listed[0].ID != far.ID {
				s.t.Errorf("listed %+v", listed)
			}
		})
		s.rule("SSF 1.0 §8.1.1 change, replace and delete", func() {
			changed := &ownStream{}
			shop.ssf(http.MethodPatch, "/ssf/streams", `{"stream_id":"`+own.ID+`","events_requested":["`+risc+`account-purged","https://schemas.example/unknown"]}`, changed)
			if len(changed.Requested) != 2 || len(changed.Delivered) != 1 || changed.Delivery.Method != "urn:ietf:rfc:8936" {
				s.t.Errorf("changed to %+v", changed)
			}
			shop.ssf(http.MethodPut, "/ssf/streams", `{"stream_id":"`+own.ID+`"}`, changed)
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended), s.sets("boss", "mia", "berlin", directory.StatusActive))
			shop.wants(own, "nothing was asked for")
			if r := shop.ssf(http.MethodPut, "/ssf/streams", `{"stream_id":"`+own.ID+`","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"http://shop.example"}}`, nil); r.Code != http.StatusBadRequest {
				s.t.Errorf("a push without TLS: %d", r.Code)
			}
			shop.ssf(http.MethodPut, "/ssf/streams", `{"stream_id":"`+own.ID+`","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://shop.example/in"}}`, changed)
			if len(changed.Requested) != 0 || changed.Delivery.Endpoint != "https://shop.example/in" {
				s.t.Errorf("replaced by %+v", changed)
			}
			if r := shop.ssf(http.MethodDelete, "/ssf/streams?stream_id="+own.ID, "", nil); r.Code != http.StatusNoContent {
				s.t.Errorf("%d", r.Code)
			}
			if r := shop.ssf(http.MethodGet, "/ssf/streams?stream_id="+own.ID, "", nil); r.Code != http.StatusNotFound {
				s.t.Errorf("after it was deleted: %d", r.Code)
			}
		})
		s.rule("RISC 1.0 §2.1 account-purged", func() {
			own = shop.stream()
			s.allows(s.removes("boss", "mia", "berlin"))
			if got := shop.hears(own); len(got) != 2 || !strings.HasPrefix(got[0], "account-purged") || !strings.HasPrefix(got[1], "session-revoked") {
				s.t.Errorf("heard %q", got)
			}
		})
	})
}

// TestSignalsToWhoWasAway: SSF 1.0 §8.1.5. A stream that was paused because its
// receiver did not answer tells it so when it is there again, and nothing else.
func TestSignalsToWhoWasAway(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "owner")
		s.person("mia", "berlin", "member")
		shop := s.listens("shop", "berlin")
		var away atomic.Bool
		away.Store(true)
		taken := make(chan map[string]any, 100)
		var seen sync.Map // by jti: what is not heard to have come is sent again (RFC 8935 §2)
		at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if away.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusAccepted)
			claims := shop.f.open(string(body))
			if _, again := seen.LoadOrStore(claims["jti"], true); again {
				return // the clock has leapt while it was under way
			}
			events, _ := claims["events"].(map[string]any)
			taken <- events
		}))
		s.t.Cleanup(at.Close)
		own := &ownStream{}
		shop.ssf(http.MethodPost, "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"`+at.URL+`"},"events_requested":["`+risc+`account-disabled"]}`, own)
		s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
		stop := shop.f.run()
		defer stop()
		eventually(s.t, "the stream is paused", func() bool {
			shop.f.ahead.Add(int64(2 * time.Hour))
			var shown struct{ Status string }
			shop.ssf(http.MethodGet, "/ssf/status?stream_id="+own.ID, "", &shown)
			return shown.Status == "paused"
		})
		away.Store(false)
		var first map[string]any
		eventually(s.t, "it hears of that", func() bool {
			shop.f.ahead.Add(int64(2 * time.Hour))
			select {
			case first = <-taken:
				return true
			default:
				return false
			}
		})
		said, _ := first["https://schemas.openid.net/secevent/ssf/event-type/stream-updated"].(map[string]any)
		if len(first) != 1 || said["status"] != "paused" || said["reason"] == "" {
			s.t.Errorf("heard %v", first)
		}
		shop.ssf(http.MethodPost, "/ssf/status", `{"stream_id":"`+own.ID+`","status":"enabled"}`, nil)
		if next := <-taken; next[risc+"account-disabled"] == nil {
			s.t.Errorf("then heard %v", next)
		}
	})
}

// TestSignalsToPairwise: an application that knows people by subjects of its own is
// told of them by these, and names them by these.
func TestSignalsToPairwise(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "owner")
		s.person("mia", "berlin", "member")
		shop := s.listens("shop", "berlin", func(spec *oidc.ApplicationSpec) { spec.SubjectType = oidc.SubjectPairwise })
		own := shop.stream()
		mia := must[string](s.t)(s.in.oidc.Subject(s.t.Context(), must[*oidc.Application](s.t)(s.in.oidc.Application(s.t.Context(), "shop")), s.user("mia").ID))
		s.allows(s.signs1("mia", "berlin"))
		session := must[*authn.Session](s.t)(s.in.authn.Session(s.t.Context(), secret.NewText(s.session("mia", authn.ACR1))))
		s.check(s.in.oidc.SignOut(s.operator(), session.ID))
		s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
		var p polled
		shop.ssf(http.MethodPost, "/ssf/poll/"+own.ID, `{"returnImmediately":true}`, &p)
		if len(p.Sets) != 3 {
			s.t.Errorf("%d events, want 3", len(p.Sets))
		}
		acks := []string{}
		for jti, set := range p.Sets {
			claims := fmt.Sprint(shop.f.open(set))
			if strings.Contains(claims, string(s.user("mia").ID)) || !strings.Contains(claims, mia) {
				s.t.Errorf("OIDC Core §8.1: the claims are %s", claims)
			}
			acks = append(acks, jti)
		}
		ack, _ := json.Marshal(map[string]any{"ack": acks, "maxEvents": 0})
		shop.ssf(http.MethodPost, "/ssf/poll/"+own.ID, string(ack), nil)
		for sub, want := range map[string]int{string(s.user("mia").ID): 1, mia: 0} {
			body, _ := json.Marshal(map[string]any{"stream_id": own.ID, "subject": map[string]any{"format": "iss_sub", "iss": s.in.config.PublicURL, "sub": sub}})
			if r := shop.ssf(http.MethodPost, "/ssf/subjects/remove", string(body), nil); r.Code != http.StatusNoContent {
				s.t.Fatalf("%d %s", r.Code, r.Body)
			}
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusActive))
			var p polled
			shop.ssf(http.MethodPost, "/ssf/poll/"+own.ID, `{"returnImmediately":true}`, &p)
			if len(p.Sets) != want {
				s.t.Errorf("%s removed: %d events, want %d", sub, len(p.Sets), want)
			}
			for jti := range p.Sets {
				shop.ssf(http.MethodPost, "/ssf/poll/"+own.ID, `{"ack":["`+jti+`"],"maxEvents":0}`, nil)
			}
			body, _ = json.Marshal(map[string]any{"stream_id": own.ID, "subject": map[string]any{"format": "iss_sub", "iss": s.in.config.PublicURL, "sub": mia}})
			shop.ssf(http.MethodPost, "/ssf/subjects/remove", string(body), nil)
			s.allows(s.sets("boss", "mia", "berlin", directory.StatusSuspended))
			shop.ssf(http.MethodPost, "/ssf/subjects/add", string(body), nil)
		}
	})
}

// TestSignalsNeedTheirScope: nothing but an application's own token with the scope
// leads to streams, and that leads nowhere else.
func TestSignalsNeedTheirScope(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "owner")
		shop := s.listens("shop", "berlin")
		if r := shop.ssf(http.MethodGet, "/api/v1/tenants/berlin/members", "", nil); r.Code != http.StatusForbidden {
			s.t.Errorf("the API takes the token: %d", r.Code)
		}
		person, _ := s.signIn("boss", "berlin", authn.ACR2)
		for name, header := range map[string]string{"a person": "Bearer " + person, "the operator": "Bearer " + instanceToken, "nobody": ""} {
			if r := call(s.t, s.handler, http.MethodGet, "/ssf/streams", header, nil, nil); r.Code != http.StatusUnauthorized && r.Code != http.StatusForbidden {
				s.t.Errorf("%s: %d", name, r.Code)
			}
		}
		client, password := s.robot("boss", "berlin", "api")
		answer := s.asksToken(client, password, "grant_type", "client_credentials", "scope", "ssf.read")
		var got struct {
			Token string `json:"access_token"`
		}
		s.check(json.Unmarshal(answer.Body.Bytes(), &got))
		for method, want := range map[string]int{http.MethodGet: http.StatusOK, http.MethodPost: http.StatusForbidden} {
			if r := call(s.t, s.handler, method, "/ssf/streams", "Bearer "+got.Token, json.RawMessage(`{}`), nil); r.Code != want {
				s.t.Errorf("ssf.read %s: %d %s", method, r.Code, r.Body)
			}
		}
		for scope, want := range map[string]int{"": http.StatusOK, "ssf.read": http.StatusForbidden} {
			s.check(json.Unmarshal(s.asksToken(client, password, "grant_type", "client_credentials", "scope", scope).Body.Bytes(), &got))
			if r := call(s.t, s.handler, http.MethodGet, "/api/v1/tenants/berlin/members", "Bearer "+got.Token, nil, nil); r.Code != want {
				s.t.Errorf("the API with the scope %q: %d", scope, r.Code)
			}
		}
		// An application of the instance belongs to nobody's tenant.
		if r := s.asksToken(stageClient, stageSecret, "grant_type", "client_credentials", "scope", "ssf.manage"); r.Code != http.StatusBadRequest {
			s.t.Errorf("an application of no tenant: %d %s", r.Code, r.Body)
		}
		var configuration map[string]any
		call(s.t, s.handler, http.MethodGet, "/.well-known/ssf-configuration", "", nil, &configuration)
		for _, member := range []string{"configuration_endpoint", "status_endpoint", "add_subject_endpoint", "remove_subject_endpoint", "verification_endpoint", "jwks_uri"} {
			if u, err := url.Parse(fmt.Sprint(configuration[member])); err != nil || !strings.HasPrefix(u.String(), s.in.config.PublicURL+"/") {
				s.t.Errorf("SSF 1.0 §7.1: %s is %v", member, configuration[member])
			}
		}
		if configuration["issuer"] != s.in.config.PublicURL || configuration["spec_version"] != "1_0" {
			s.t.Errorf("SSF 1.0 §7.1: %v", configuration)
		}
	})
}
