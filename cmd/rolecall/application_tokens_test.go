package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// tokenWorld is an instance with a workspace of emnify's role system and one
// beside it, and with a clock that tests move.
type tokenWorld struct {
	t       *testing.T
	in      *instance
	handler http.Handler
	clock   time.Time
	log     *bytes.Buffer
	tenants map[string]id.Tenant
	users   map[string]*directory.User
	members map[string]*directory.Membership
}

// operator is a context in which the operator acts.
func (w *tokenWorld) operator() context.Context { return operator(w.t.Context()) }

func eachTokenWorld(t *testing.T, test func(t *testing.T, w *tokenWorld)) {
	t.Helper()
	eachInstance(t, func(t *testing.T, in *instance) {
		w := &tokenWorld{
			t: t, in: in, clock: time.Now().UTC(), log: &bytes.Buffer{},
			tenants: map[string]id.Tenant{}, users: map[string]*directory.User{}, members: map[string]*directory.Membership{},
		}
		in.now = func() time.Time { return w.clock }
		in.logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if err := in.wire(); err != nil {
			t.Fatal(err)
		}
		w.handler = handlerOf(t, in)
		for _, slug := range []string{"main", "other"} {
			w.tenants[slug] = must[*directory.Tenant](t)(in.directory.SaveTenant(w.operator(), directory.TenantSpec{Slug: slug, Blueprint: "emnify"})).ID
		}
		for _, role := range []string{"administrator", "observer", "user"} {
			w.join(role, "main", role)
		}
		test(t, w)
	})
}

// join makes a person, if there is none of that name, a member of a tenant.
func (w *tokenWorld) join(name, tenant, role string) {
	w.t.Helper()
	if w.users[name] == nil {
		w.users[name] = must[*directory.User](w.t)(w.in.directory.SaveUser(w.operator(), directory.UserSpec{Email: name + "@example.com"}))
	}
	w.members[name] = must[*directory.Membership](w.t)(w.in.directory.SaveMembership(w.operator(), w.tenants[tenant], w.users[name], directory.MembershipSpec{Roles: []string{role}}))
}

// as is the context of a person in a session, as a portal makes it.
func (w *tokenWorld) as(name, tenant string) context.Context {
	return authz.NewContext(w.t.Context(), authz.Principal{
		Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: w.tenants[tenant], User: w.users[name].ID,
	})
}

type tokenAnswer struct {
	ID, Name, Description, Status, Token string
	Creator                              string
	StatusLabel                          string     `json:"status_label"`
	ExpiresAt                            *time.Time `json:"expires_at"`
	LastUsedAt                           *time.Time `json:"last_used_at"`
	PreviousUntil                        *time.Time `json:"previous_secret_until"`
	Permissions, CIDRs                   []string
}

// first gives a person a token without limits.
func (w *tokenWorld) first(name, tenant string) string {
	w.t.Helper()
	_, made, err := w.in.authn.CreateApplicationToken(w.as(name, tenant), authnToken(w.tenants[tenant], name+" first"))
	if err != nil {
		w.t.Fatal(err)
	}
	return made.Reveal()
}

// tokens calls an endpoint of the application tokens of a tenant.
func (w *tokenWorld) tokens(bearer, method, path string, body any) (*httptest.ResponseRecorder, tokenAnswer) {
	w.t.Helper()
	var got tokenAnswer
	r := call(w.t, w.handler, method, "/api/v1/tenants/"+path, "Bearer "+bearer, body, nil)
	if r.Code < 300 && r.Body.Len() > 0 {
		decode(w.t, r, &got)
	}
	return r, got
}

// status is that of a request which any token in force can make.
func (w *tokenWorld) status(bearer, tenant string, from ...string) int {
	w.t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/api/v1/tenants/"+tenant, nil)
	request.Header.Set("Authorization", "Bearer "+bearer)
	for _, address := range from {
		request.RemoteAddr = address
	}
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, request)
	return recorder.Code
}

func (w *tokenWorld) want(what string, got, want int) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: got %d, want %d", what, got, want)
	}
}

func TestApplicationTokenLifeCycle(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		own := w.first("administrator", "main")
		until := w.clock.Add(time.Hour).Truncate(time.Second)
		r, made := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{
			"name": "ci", "description": "of the pipeline", "expires_at": until, "permissions": []string{"users.list", "app_tokens.read"}, "cidrs": []string{"192.0.2.7", "2001:db8::1/32"},
		})
		w.want("EM-R40 create", r.Code, http.StatusCreated)
		form := regexp.MustCompile(`^rc_[0-9A-Za-z]{49}$`)
		if !form.MatchString(made.Token) || made.Status != "active" || made.StatusLabel != "Activated" || !made.ExpiresAt.Equal(until) ||
			!slices.Equal(made.CIDRs, []string{"192.0.2.7/32", "2001:db8::/32"}) || !slices.Equal(made.Permissions, []string{"app_tokens.read", "users.list"}) {
			t.Errorf("got %+v", made)
		}
		place := strings.TrimPrefix(r.Header().Get("Location"), "/api/v1/tenants/")
		if place != "main/application-tokens/"+made.ID {
			t.Errorf("got the location %s", place)
		}
		w.want("from its network", w.status(made.Token, "main", "192.0.2.7:4"), http.StatusOK)
		w.want("from its network, as IPv6 writes it", w.status(made.Token, "main", "[::ffff:192.0.2.7]:4"), http.StatusOK)
		w.want("from its other network", w.status(made.Token, "main", "[2001:db8::9]:4"), http.StatusOK)
		w.want("from elsewhere", w.status(made.Token, "main", "192.0.2.8:4"), http.StatusUnauthorized)
		if _, got := w.tokens(own, http.MethodGet, place, nil); got.LastUsedAt == nil || got.Token != "" || got.Description != "of the pipeline" {
			t.Errorf("after its use: got %+v", got)
		}
		// A day without limits, and the same again without effect.
		for range 2 {
			r, changed := w.tokens(own, http.MethodPatch, place, map[string]any{"description": "new", "expires_at": nil, "cidrs": nil, "permissions": nil})
			if r.Code != http.StatusOK || changed.Description != "new" || changed.ExpiresAt != nil || changed.CIDRs != nil || changed.Permissions != nil {
				t.Errorf("PATCH: got %d %+v", r.Code, changed)
			}
		}
		w.want("from anywhere", w.status(made.Token, "main"), http.StatusOK)
		w.want("revoke", call(t, w.handler, http.MethodDelete, "/api/v1/tenants/"+place, "Bearer "+own, nil, nil).Code, http.StatusNoContent)
		w.want("EM-R17 revoked", w.status(made.Token, "main"), http.StatusUnauthorized)
		w.want("revoke again", call(t, w.handler, http.MethodDelete, "/api/v1/tenants/"+place, "Bearer "+own, nil, nil).Code, http.StatusNoContent)
		if _, got := w.tokens(own, http.MethodGet, place, nil); got.Status != "revoked" || got.StatusLabel != "Revoked" {
			t.Errorf("got %+v", got)
		}
		r, _ = w.tokens(own, http.MethodPatch, place, map[string]any{"description": "again"})
		refused(t, r, http.StatusConflict)
		// The name is free again; while a token has it, it is taken.
		again := map[string]any{"name": "ci"}
		r, _ = w.tokens(own, http.MethodPost, "main/application-tokens", again)
		w.want("the name of a revoked token", r.Code, http.StatusCreated)
		r, _ = w.tokens(own, http.MethodPost, "main/application-tokens", again)
		if p := refused(t, r, http.StatusConflict); p.Field != "name" {
			t.Errorf("got %+v", p)
		}
		events := must[int](t)(w.events("application_token."))
		if events != 6 { // two for op and the first, then create, change, revoke, create
			t.Errorf("got %d events", events)
		}
		w.keepsSecrets(own, made.Token)
	})
}

// keepsSecrets fails where the log or the audit trail has a secret in it.
func (w *tokenWorld) keepsSecrets(secrets ...string) {
	w.t.Helper()
	trail := must[string](w.t)(w.trail())
	for _, text := range secrets {
		if strings.Contains(w.log.String(), text) || strings.Contains(trail, text) {
			w.t.Error("a secret is in the log or in the audit trail")
		}
	}
	if trail == "" {
		w.t.Error("there is no audit trail")
	}
}

func TestApplicationTokenRotation(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		own := w.first("administrator", "main")
		_, made := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "ci"})
		rotate := func(body any) tokenAnswer {
			t.Helper()
			r, rotated := w.tokens(own, http.MethodPost, "main/application-tokens/"+made.ID+"/rotate", body)
			if r.Code != http.StatusOK || rotated.Token == "" || rotated.ID != made.ID {
				t.Fatalf("got %d %s", r.Code, r.Body)
			}
			return rotated
		}
		second := rotate(nil)
		if !second.PreviousUntil.Equal(w.clock.Add(24*time.Hour).Truncate(time.Microsecond)) && second.PreviousUntil.Sub(w.clock) < 23*time.Hour {
			t.Errorf("the overlap ends at %v", second.PreviousUntil)
		}
		w.clock = w.clock.Add(24*time.Hour - time.Second)
		w.want("the first within the overlap", w.status(made.Token, "main"), http.StatusOK)
		w.want("the second", w.status(second.Token, "main"), http.StatusOK)
		w.clock = w.clock.Add(2 * time.Second)
		w.want("the first after the overlap", w.status(made.Token, "main"), http.StatusUnauthorized)
		w.want("the second", w.status(second.Token, "main"), http.StatusOK)
		third := rotate(map[string]any{"overlap": 60})
		fourth := rotate(map[string]any{"overlap": 60})
		w.want("two rotations ago", w.status(second.Token, "main"), http.StatusUnauthorized)
		w.want("one rotation ago", w.status(third.Token, "main"), http.StatusOK)
		fifth := rotate(map[string]any{"overlap": 0})
		w.want("without an overlap", w.status(fourth.Token, "main"), http.StatusUnauthorized)
		w.want("the last", w.status(fifth.Token, "main"), http.StatusOK)
		r, _ := w.tokens(own, http.MethodPost, "main/application-tokens/"+made.ID+"/rotate", map[string]any{"overlap": 7*24*3600 + 1})
		if p := refused(t, r, http.StatusBadRequest); p.Field != "overlap" {
			t.Errorf("got %+v", p)
		}
		w.keepsSecrets(made.Token, second.Token, third.Token, fourth.Token, fifth.Token)
	})
}

func TestApplicationTokenIsRefused(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		own := w.first("administrator", "main")
		for name, test := range map[string]struct {
			body  map[string]any
			field string
		}{
			"without a name":                    {map[string]any{}, "name"},
			"a blank name":                      {map[string]any{"name": " "}, "name"},
			"an expiry in the past":             {map[string]any{"name": "x", "expires_at": w.clock.Add(-time.Second)}, "expires_at"},
			"a permission that there is not":    {map[string]any{"name": "x", "permissions": []string{"users.list", "no.such"}}, "permissions"},
			"no permission":                     {map[string]any{"name": "x", "permissions": []string{}}, "permissions"},
			"no network":                        {map[string]any{"name": "x", "cidrs": []string{"192.0.2.0/33"}}, "cidrs"},
			"an IPv4 network in IPv6's clothes": {map[string]any{"name": "x", "cidrs": []string{"::ffff:192.0.2.0/120"}}, "cidrs"},
			"another creator":                   {map[string]any{"name": "x", "creator": w.users["user"].ID}, "creator"},
		} {
			r, _ := w.tokens(own, http.MethodPost, "main/application-tokens", test.body)
			if p := refused(t, r, http.StatusBadRequest); p.Field != test.field {
				t.Errorf("%s: got %+v, want the field %s", name, p, test.field)
			}
		}
		// The last character of the checksum is another: nobody asks the database.
		other := "0"
		if strings.HasSuffix(own, "0") {
			other = "1"
		}
		w.want("a wrong checksum", w.status(own[:len(own)-1]+other, "main"), http.StatusUnauthorized)
		r, made := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "short", "expires_at": w.clock.Add(time.Minute)})
		w.want("create", r.Code, http.StatusCreated)
		w.want("before its expiry", w.status(made.Token, "main"), http.StatusOK)
		w.clock = w.clock.Add(time.Minute)
		w.want("EM-R40 after its expiry", w.status(made.Token, "main"), http.StatusUnauthorized)
		if _, got := w.tokens(own, http.MethodGet, "main/application-tokens/"+made.ID, nil); got.Status != "expired" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestApplicationTokensOfOthers(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		administrator := w.first("administrator", "main")
		firsts := map[string]string{"observer": w.first("observer", "main"), "user": w.first("user", "main")}
		for role, other := range map[string]string{"observer": "user", "user": "observer"} {
			own := firsts[role]
			r, made := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "of the " + role})
			w.want("EM-R16 create as "+role, r.Code, http.StatusCreated)
			var listed struct{ Items []tokenAnswer }
			w.want("EM-R16 list as "+role, call(t, w.handler, http.MethodGet, "/api/v1/tenants/main/application-tokens", "Bearer "+own, nil, &listed).Code, http.StatusOK)
			if len(listed.Items) != 2 || listed.Items[0].ID != made.ID || listed.Items[0].Token != "" || slices.ContainsFunc(listed.Items, func(i tokenAnswer) bool { return i.Creator != string(w.users[role].ID) }) {
				t.Errorf("the list of the %s: got %+v", role, listed.Items)
			}
			place := "main/application-tokens/" + made.ID
			for what, refusal := range map[string]*httptest.ResponseRecorder{
				"edit":   call(t, w.handler, http.MethodPatch, "/api/v1/tenants/"+place, "Bearer "+own, map[string]any{"description": "x"}, nil),
				"rotate": call(t, w.handler, http.MethodPost, "/api/v1/tenants/"+place+"/rotate", "Bearer "+own, nil, nil),
				"revoke": call(t, w.handler, http.MethodDelete, "/api/v1/tenants/"+place, "Bearer "+own, nil, nil),
			} {
				if p := refused(t, refusal, http.StatusForbidden); p.Code != "permission" {
					t.Errorf("EM-R16 %s as %s: got %+v", what, role, p)
				}
			}
			for _, method := range []string{http.MethodGet, http.MethodDelete} {
				refused(t, call(t, w.handler, method, "/api/v1/tenants/"+place, "Bearer "+firsts[other], nil, nil), http.StatusNotFound)
			}
			refused(t, call(t, w.handler, http.MethodPost, "/api/v1/tenants/"+place+"/rotate", "Bearer "+administrator, nil, nil), http.StatusForbidden)
			w.want("an administrator revokes", call(t, w.handler, http.MethodDelete, "/api/v1/tenants/"+place, "Bearer "+administrator, nil, nil).Code, http.StatusNoContent)
			w.want("revoked by an administrator", w.status(made.Token, "main"), http.StatusUnauthorized)
		}
		var all struct {
			Items []tokenAnswer
			Next  string
		}
		seen := map[string]bool{}
		for next := ""; ; next = all.Next {
			all.Next, all.Items = "", nil
			w.want("a page", call(t, w.handler, http.MethodGet, "/api/v1/tenants/main/application-tokens?limit=2&cursor="+next, "Bearer "+instanceToken, nil, &all).Code, http.StatusOK)
			for _, item := range all.Items {
				seen[item.ID] = true
			}
			if all.Next == "" {
				break
			}
		}
		if len(seen) != 5 {
			t.Errorf("got %d tokens over the pages, want 5", len(seen))
		}
		r := call(t, w.handler, http.MethodGet, "/api/v1/tenants/main/application-tokens?cursor=x", "Bearer "+instanceToken, nil, nil)
		if p := refused(t, r, http.StatusBadRequest); p.Field != "cursor" {
			t.Errorf("got %+v", p)
		}
	})
}

func TestWhoManagesTokensOnlyNarrowsThem(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		w.tenants["berlin"] = must[*directory.Tenant](t)(w.in.directory.SaveTenant(w.operator(), directory.TenantSpec{Slug: "berlin"})).ID
		w.join("ann", "berlin", "owner")
		w.join("ben", "berlin", "member")
		ann, ben := w.first("ann", "berlin"), w.first("ben", "berlin")
		_, made := w.tokens(ben, http.MethodPost, "berlin/application-tokens", map[string]any{"name": "ci", "cidrs": []string{"192.0.2.0/24"}})
		place := "berlin/application-tokens/" + made.ID
		for name, test := range map[string]struct {
			body   map[string]any
			status int
		}{
			"an earlier end":   {map[string]any{"expires_at": w.clock.Add(time.Hour)}, http.StatusOK},
			"fewer rights":     {map[string]any{"permissions": []string{"tokens.read"}}, http.StatusOK},
			"a part":           {map[string]any{"cidrs": []string{"192.0.2.128/25"}}, http.StatusOK},
			"its description":  {map[string]any{"description": "x"}, http.StatusForbidden},
			"another network":  {map[string]any{"cidrs": []string{"192.0.0.0/16"}}, http.StatusForbidden},
			"no network limit": {map[string]any{"cidrs": nil}, http.StatusForbidden},
		} {
			r, _ := w.tokens(ann, http.MethodPatch, place, test.body)
			w.want(name, r.Code, test.status)
		}
		r := call(t, w.handler, http.MethodPost, "/api/v1/tenants/"+place+"/rotate", "Bearer "+ann, nil, nil)
		if p := refused(t, r, http.StatusForbidden); p.Code != "not_creator" {
			t.Errorf("the secret of somebody else's token: got %+v", p)
		}
		var listed struct{ Items []tokenAnswer }
		call(t, w.handler, http.MethodGet, "/api/v1/tenants/berlin/application-tokens?creator="+string(w.users["ben"].ID), "Bearer "+ann, nil, &listed)
		if len(listed.Items) != 2 {
			t.Errorf("got %+v", listed.Items)
		}
		w.want("revoke", call(t, w.handler, http.MethodDelete, "/api/v1/tenants/"+place, "Bearer "+ann, nil, nil).Code, http.StatusNoContent)
	})
}

func TestEMR17ApplicationTokenIsNoMoreThanItsCreator(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		w.join("administrator", "other", "administrator")
		w.join("administrator", "main", "administrator")
		w.join("second", "main", "administrator")
		token := w.first("administrator", "main")
		w.want("in its tenant", w.status(token, "main"), http.StatusOK)
		w.want("in another tenant of its creator", w.status(token, "other"), http.StatusNotFound)
		list := func() int {
			return call(t, w.handler, http.MethodGet, "/api/v1/tenants/main/application-tokens", "Bearer "+token, nil, nil).Code
		}
		_, made := w.tokens(token, http.MethodPost, "main/application-tokens", map[string]any{"name": "ci"})
		edit := func() int {
			r, _ := w.tokens(token, http.MethodPatch, "main/application-tokens/"+made.ID, map[string]any{"description": "x"})
			return r.Code
		}
		w.want("what the creator may", edit(), http.StatusOK)
		must[*directory.Membership](t)(w.in.directory.SaveMembership(w.operator(), w.tenants["main"], w.users["administrator"], directory.MembershipSpec{Roles: []string{"observer"}}))
		w.want("what the creator may no more", edit(), http.StatusForbidden)
		w.want("what the creator still may", list(), http.StatusOK)
		disabled := func(yes bool) {
			t.Helper()
			if _, err := w.in.store.UpdateUser(w.operator(), w.users["administrator"].ID, func(u *directory.User) error { u.Disabled = yes; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		disabled(true)
		w.want("of a disabled login", list(), http.StatusUnauthorized)
		disabled(false)
		w.want("of an enabled login", list(), http.StatusOK)
		suspended := must[*directory.Membership](t)(w.in.directory.Suspend(w.operator(), w.tenants["main"], w.members["administrator"].ID))
		if suspended.Status != directory.StatusSuspended {
			t.Fatal(suspended.Status)
		}
		w.want("of a suspended member", list(), http.StatusUnauthorized)
	})
}

func TestApplicationTokenWithoutMembershipReachesFromAbove(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		w.tenants["spoke"] = must[*directory.Tenant](t)(w.in.directory.SaveTenant(w.operator(), directory.TenantSpec{Slug: "spoke", Blueprint: "emnify"})).ID
		if err := w.in.directory.Link(w.operator(), directory.Edge{Tenant: w.tenants["spoke"], Relation: "link", Parent: "main"}); err != nil {
			t.Fatal(err)
		}
		token := w.first("administrator", "spoke") // the link made a SuperAdmin of the longest-standing one
		w.want("in the linked tenant", w.status(token, "spoke"), http.StatusOK)
		w.want("at its creator's home", w.status(token, "main"), http.StatusNotFound)
		if err := w.in.directory.Unlink(w.operator(), w.tenants["spoke"], "link"); err != nil {
			t.Fatal(err)
		}
		w.want("after the link ended", w.status(token, "spoke"), http.StatusUnauthorized)
	})
}

func TestLimitedApplicationTokenCannotBecomeMore(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		own := w.first("administrator", "main")
		until := w.clock.Add(time.Hour)
		limited := []string{"app_tokens.create", "app_tokens.read", "app_tokens.update"}
		_, token := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "limited", "permissions": limited, "expires_at": until, "cidrs": []string{"192.0.2.0/24"}})
		_, other := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "unlimited"})
		ask := func(method, path string, body any) *httptest.ResponseRecorder {
			t.Helper()
			return call(t, w.handler, method, "/api/v1/tenants/main/application-tokens"+path, "Bearer "+token.Token, body, nil)
		}
		within := map[string]any{"name": "ok", "permissions": limited[:1], "expires_at": until, "cidrs": []string{"192.0.2.1"}}
		w.want("one within its limits", ask(http.MethodPost, "", within).Code, http.StatusCreated)
		for field, value := range map[string]any{"permissions": nil, "expires_at": nil, "cidrs": nil} {
			for _, wider := range []any{value, map[string]any{
				"permissions": []string{"users.list"}, "expires_at": until.Add(time.Second), "cidrs": []string{"192.0.0.0/16"},
			}[field]} {
				body := map[string]any{"name": "wide " + field, "permissions": limited, "expires_at": until, "cidrs": []string{"192.0.2.1"}}
				if body[field] = wider; wider == nil {
					delete(body, field)
				}
				if p := refused(t, ask(http.MethodPost, "", body), http.StatusForbidden); p.Code != "wider" || p.Field != field {
					t.Errorf("a token with a wider %s: got %+v", field, p)
				}
			}
			if p := refused(t, ask(http.MethodPatch, "/"+token.ID, map[string]any{field: nil}), http.StatusForbidden); p.Code != "wider" {
				t.Errorf("to widen itself: got %+v", p)
			}
		}
		if p := refused(t, ask(http.MethodPost, "/"+other.ID+"/rotate", nil), http.StatusForbidden); p.Code != "wider" {
			t.Errorf("to get the secret of a wider token: got %+v", p)
		}
		// What it lacks it can't do, whatever its creator may.
		_, reader := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "reader", "permissions": []string{"app_tokens.read"}})
		r, _ := w.tokens(reader.Token, http.MethodPost, "main/application-tokens", map[string]any{"name": "x", "permissions": []string{"app_tokens.read"}})
		if p := refused(t, r, http.StatusForbidden); p.Code != "permission" {
			t.Errorf("got %+v", p)
		}
		ctx := authz.NewContext(t.Context(), authz.Principal{
			Kind: authz.TokenPrincipal, Channel: authz.ChannelAPI, Tenant: w.tenants["main"], User: w.users["administrator"].ID, Permissions: []string{"users.list"},
		})
		_, err := w.in.directory.SaveMembership(ctx, w.tenants["main"], w.users["user"], directory.MembershipSpec{Roles: []string{"administrator"}})
		if err == nil {
			t.Error("a token without users.roles.grant granted a role")
		}
	})
}

func TestNeitherMachinesNorSupportSessionsMakeTokens(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		must[*oidc.Applied](t)(w.in.oidc.PutApplication(w.operator(), oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine, Tenant: w.tenants["main"], Roles: []string{"administrator"}, Secret: secret.NewText("s3cret")}))
		for name, authorization := range map[string]string{"not_creator": "Basic cm9ib3Q6czNjcmV0", "the operator": "Bearer " + instanceToken} {
			r := call(t, w.handler, http.MethodPost, "/api/v1/tenants/main/application-tokens", authorization, map[string]any{"name": "x"}, nil)
			if p := refused(t, r, http.StatusForbidden); p.Code != "not_creator" {
				t.Errorf("%s: got %+v", name, p)
			}
		}
		staff := authz.FromContext(w.as("administrator", "main"))
		staff.Support = &authz.Staff{User: w.users["user"].ID, Tenant: w.tenants["other"]}
		_, _, err := w.in.authn.CreateApplicationToken(authz.NewContext(t.Context(), staff), authnToken(w.tenants["main"], "x"))
		if code := codeOf(err); code != "support_session" {
			t.Errorf("got %v", err)
		}
	})
}

func TestApplicationTokenOverSCIM(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		administrator, observer := w.first("administrator", "main"), w.first("observer", "main")
		_, limited := w.tokens(administrator, http.MethodPost, "main/application-tokens", map[string]any{"name": "limited", "permissions": []string{"app_tokens.read"}})
		scim := func(bearer, method, path string, body any) *httptest.ResponseRecorder {
			t.Helper()
			return call(t, w.handler, method, "/t/"+path, "Bearer "+bearer, body, nil)
		}
		w.want("list", scim(administrator, http.MethodGet, "main/scim/v2/Users", nil).Code, http.StatusOK)
		w.want("list by a limited token", scim(limited.Token, http.MethodGet, "main/scim/v2/Users", nil).Code, http.StatusForbidden)
		w.want("list in another tenant", scim(administrator, http.MethodGet, "other/scim/v2/Users", nil).Code, http.StatusUnauthorized)
		w.want("list in no tenant", scim(administrator, http.MethodGet, "nowhere/scim/v2/Users", nil).Code, http.StatusUnauthorized)
		w.want("an unknown token", scim("rc_unknown", http.MethodGet, "main/scim/v2/Users", nil).Code, http.StatusUnauthorized)
		target := "main/scim/v2/Users/" + string(w.members["user"].ID)
		w.want("delete as observer", scim(observer, http.MethodDelete, target, nil).Code, http.StatusForbidden)
		w.want("delete as administrator", scim(administrator, http.MethodDelete, target, nil).Code, http.StatusNoContent)
		w.want("delete oneself, which no administrator may", scim(administrator, http.MethodDelete, "main/scim/v2/Users/"+string(w.members["administrator"].ID), nil).Code, http.StatusForbidden)
		must[secret.Text](t)(w.in.directory.SaveConnection(w.operator(), w.tenants["main"], directory.ConnectionSpec{Name: "idp", Profile: directory.ProfileRFC, Token: secret.NewText("rc_of-the-connection")}))
		w.want("a connection whose token looks like one", scim("rc_of-the-connection", http.MethodGet, "main/scim/v2/Users", nil).Code, http.StatusOK)
	})
}

func TestApplicationTokenIntrospection(t *testing.T) {
	eachTokenWorld(t, func(t *testing.T, w *tokenWorld) {
		for client, owner := range map[string]string{"of-main": "main", "of-other": "other", "of-all": ""} {
			must[*oidc.Applied](t)(w.in.oidc.PutApplication(w.operator(), oidc.ApplicationSpec{
				ClientID: client, Type: oidc.Web, Tenant: w.tenants[owner], RedirectURIs: []string{"https://a.example/cb"}, Secret: secret.NewText("s3cret"),
			}))
		}
		own := w.first("administrator", "main")
		_, made := w.tokens(own, http.MethodPost, "main/application-tokens", map[string]any{"name": "ci", "permissions": []string{"users.list", "users.update"}, "cidrs": []string{"10.0.0.0/8"}})
		introspect := func(client, token string) map[string]any {
			t.Helper()
			request := httptest.NewRequest(http.MethodPost, "/oauth2/introspect", strings.NewReader("token="+token))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.SetBasicAuth(client, "s3cret")
			recorder := httptest.NewRecorder()
			w.handler.ServeHTTP(recorder, request)
			var got map[string]any
			decode(t, recorder, &got)
			return got
		}
		for _, client := range []string{"of-main", "of-all"} {
			got := introspect(client, made.Token)
			if got["active"] != true || got["sub"] != string(w.users["administrator"].ID) || got["client_id"] != nil || got["token_type"] != "application_token" ||
				got["tid"] != string(w.tenants["main"]) || got["tenant"] != "main" || got["exp"] != nil ||
				fmt.Sprint(got["roles"]) != "[]" || fmt.Sprint(got["permissions"]) != "[users.list users.update]" || fmt.Sprint(got["cidrs"]) != "[10.0.0.0/8]" {
				t.Errorf("RFC 7662 §2.2 to %s: got %v", client, got)
			}
		}
		if got := introspect("of-main", own); got["active"] != true || fmt.Sprint(got["roles"]) != "[administrator]" {
			t.Errorf("without a list of its own: got %v", got)
		}
		if got := introspect("of-all", instanceToken); got["active"] != true || got["tid"] != nil {
			t.Errorf("of the instance: got %v", got)
		}
		must[*directory.Membership](t)(w.in.directory.SaveMembership(w.operator(), w.tenants["main"], w.users["user"], directory.MembershipSpec{Roles: []string{"administrator"}}))
		must[*directory.Membership](t)(w.in.directory.SaveMembership(w.operator(), w.tenants["main"], w.users["administrator"], directory.MembershipSpec{Roles: []string{"observer"}}))
		if got := introspect("of-main", made.Token); fmt.Sprint(got["roles"], got["permissions"]) != "[] []" {
			t.Errorf("EM-R17 after a change of roles: got %v", got)
		}
		for client, token := range map[string]string{"of-other": made.Token, "of-main": instanceToken, "of-all": "rc_unknown"} {
			if got := introspect(client, token); got["active"] != false || len(got) != 1 {
				t.Errorf("to %s: got %v, want inactive", client, got)
			}
		}
	})
}

func authnToken(tenant id.Tenant, name string) authn.ApplicationToken {
	return authn.ApplicationToken{Tenant: tenant, Name: name}
}

func codeOf(err error) string { return fault.As(err).Code }

func decode(t *testing.T, r *httptest.ResponseRecorder, into any) {
	t.Helper()
	if err := json.Unmarshal(r.Body.Bytes(), into); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
}

// trail is the audit trail as text.
func (w *tokenWorld) trail() (string, error) {
	db, err := sql.Open(map[string]string{"sqlite": "sqlite", "postgres": "pgx"}[w.in.store.Dialect()], strings.TrimPrefix(w.in.config.DatabaseURL, "sqlite:"))
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(w.t.Context(), "SELECT action, data FROM events ORDER BY id")
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	var text strings.Builder
	for rows.Next() {
		var action, data string
		if err := rows.Scan(&action, &data); err != nil {
			return "", err
		}
		text.WriteString(action + " " + data + "\n")
	}
	return text.String(), rows.Err()
}

// events counts the entries of the audit trail whose action begins so.
func (w *tokenWorld) events(prefix string) (int, error) {
	trail, err := w.trail()
	return strings.Count("\n"+trail, "\n"+prefix), err
}
