package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// connectionWorld is an instance with the tenants acme and umbrella, an
// administrator and a viewer of acme with application tokens, and a clock.
type connectionWorld struct {
	t             *testing.T
	in            *instance
	handler       http.Handler
	clock         time.Time
	tenants       map[string]id.Tenant
	admin, viewer string // Authorization
}

func eachConnectionWorld(t *testing.T, test func(t *testing.T, w *connectionWorld)) {
	t.Helper()
	eachInstance(t, func(t *testing.T, in *instance) {
		w := &connectionWorld{t: t, in: in, clock: time.Now().UTC(), tenants: map[string]id.Tenant{}}
		in.now = func() time.Time { return w.clock }
		if err := in.wire(); err != nil {
			t.Fatal(err)
		}
		w.handler = handlerOf(t, in)
		ctx := operator(t.Context())
		for _, slug := range []string{"acme", "umbrella"} {
			w.tenants[slug] = must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: slug})).ID
		}
		tokens := map[string]string{}
		for _, role := range []string{"owner", "admin", "viewer"} {
			u := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: role + "@example.com"}))
			must[*directory.Membership](t)(in.directory.SaveMembership(ctx, w.tenants["acme"], u, directory.MembershipSpec{Roles: []string{role}}))
			person := authz.NewContext(t.Context(), authz.Principal{Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: w.tenants["acme"], User: u.ID})
			_, made, err := in.authn.CreateApplicationToken(person, authnToken(w.tenants["acme"], role))
			if err != nil && role != "viewer" {
				t.Fatal(err)
			}
			tokens[role] = "Bearer " + made.Reveal()
		}
		w.admin, w.viewer = tokens["admin"], tokens["viewer"]
		test(t, w)
	})
}

// api calls the management API below the connections of acme as the
// administrator.
func (w *connectionWorld) api(method, path string, body, into any) *httptest.ResponseRecorder {
	w.t.Helper()
	return call(w.t, w.handler, method, "/api/v1/tenants/acme/connections"+path, w.admin, body, into)
}

// scim calls the SCIM endpoint of acme with a token.
func (w *connectionWorld) scim(token, method, path string, body any) *httptest.ResponseRecorder {
	w.t.Helper()
	return call(w.t, w.handler, method, "/t/acme/scim/v2"+path, "Bearer "+token, body, nil)
}

type connectionAnswer struct {
	ID     string
	Name   string
	Paused *struct{ Reason string }
	Guard  *struct{ State string }
}

type connectionTokenAnswer struct {
	ID, Status, Token string
	LastUsedAt        *time.Time `json:"last_used_at"`
}

// connect makes a connection with a token.
func (w *connectionWorld) connect(body map[string]any) (connection connectionAnswer, token string) {
	w.t.Helper()
	if r := w.api(http.MethodPost, "", body, &connection); r.Code != http.StatusCreated {
		w.t.Fatalf("got %d %s", r.Code, r.Body)
	}
	var made connectionTokenAnswer
	if r := w.api(http.MethodPost, "/"+connection.ID+"/tokens", nil, &made); r.Code != http.StatusCreated || !strings.HasPrefix(made.Token, "rcs_") {
		w.t.Fatalf("got %d %s", r.Code, r.Body)
	}
	return connection, made.Token
}

// wants fails unless the answer has the status, and, of a refusal over SCIM, the
// text in its detail.
func (w *connectionWorld) wants(r *httptest.ResponseRecorder, status int, detail string) {
	w.t.Helper()
	if r.Code != status || !strings.Contains(r.Body.String(), detail) {
		w.t.Errorf("got %d %s, want %d with %q", r.Code, r.Body, status, detail)
	}
}

// push makes a user over SCIM and returns its id.
func (w *connectionWorld) push(token string, doc map[string]any) string {
	w.t.Helper()
	doc["schemas"] = []string{"urn:ietf:params:scim:schemas:core:2.0:User"}
	r := w.scim(token, http.MethodPost, "/Users", doc)
	var made struct{ ID string }
	decode(w.t, r, &made)
	if r.Code != http.StatusCreated {
		w.t.Fatalf("got %d %s", r.Code, r.Body)
	}
	return made.ID
}

func patchOf(operations ...map[string]any) map[string]any {
	return map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": operations}
}

func switchOff() map[string]any {
	return patchOf(map[string]any{"op": "replace", "path": "active", "value": false})
}

func TestConnectionTokensRotateExpireAndStop(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, first := w.connect(map[string]any{"name": "entra", "profile": "entra"})
		w.wants(w.scim(first, http.MethodGet, "/Users", nil), http.StatusOK, "")
		w.wants(call(t, w.handler, http.MethodGet, "/t/umbrella/scim/v2/Users", "Bearer "+first, nil, nil), http.StatusUnauthorized, "")

		var listed struct{ Items []connectionTokenAnswer }
		r := w.api(http.MethodGet, "/"+c.ID+"/tokens", nil, &listed)
		if len(listed.Items) != 1 || listed.Items[0].LastUsedAt == nil || strings.Contains(r.Body.String(), first[4:]) {
			t.Fatalf("got %s", r.Body)
		}

		var second connectionTokenAnswer
		w.api(http.MethodPost, "/"+c.ID+"/tokens/rotate", map[string]any{"overlap": 3600}, &second)
		w.wants(w.scim(first, http.MethodGet, "/Users", nil), http.StatusOK, "")
		w.wants(w.scim(second.Token, http.MethodGet, "/Users", nil), http.StatusOK, "")
		w.clock = w.clock.Add(time.Hour)
		w.wants(w.scim(first, http.MethodGet, "/Users", nil), http.StatusUnauthorized, "")
		w.wants(w.scim(second.Token, http.MethodGet, "/Users", nil), http.StatusOK, "")

		w.wants(w.api(http.MethodPost, "/"+c.ID+"/tokens", map[string]any{"expires_at": w.clock}, nil), http.StatusBadRequest, "expires_at")
		w.wants(w.api(http.MethodPost, "/"+c.ID+"/tokens/rotate", map[string]any{"overlap": 31 * 86400}, nil), http.StatusBadRequest, "overlap")
		var short connectionTokenAnswer
		w.api(http.MethodPost, "/"+c.ID+"/tokens", map[string]any{"expires_at": w.clock.Add(time.Minute)}, &short)
		w.wants(w.scim(short.Token, http.MethodGet, "/Users", nil), http.StatusOK, "")
		w.clock = w.clock.Add(time.Minute)
		w.wants(w.scim(short.Token, http.MethodGet, "/Users", nil), http.StatusUnauthorized, "") // though it is kept in memory

		w.wants(w.api(http.MethodDelete, "/"+c.ID+"/tokens/"+second.ID, nil, nil), http.StatusNoContent, "")
		w.wants(w.scim(second.Token, http.MethodGet, "/Users", nil), http.StatusUnauthorized, "") // not one request longer
		refused(t, w.api(http.MethodDelete, "/"+c.ID+"/tokens/"+second.ID, nil, nil), http.StatusNotFound)

		var third connectionTokenAnswer
		w.api(http.MethodPost, "/"+c.ID+"/tokens", nil, &third)
		w.wants(w.scim(third.Token, http.MethodGet, "/Users", nil), http.StatusOK, "")
		w.wants(w.api(http.MethodDelete, "/"+c.ID, nil, nil), http.StatusNoContent, "")
		w.wants(w.scim(third.Token, http.MethodGet, "/Users", nil), http.StatusUnauthorized, "")
		refused(t, w.api(http.MethodGet, "/"+c.ID, nil, nil), http.StatusNotFound)
	})
}

func TestConnectionsAreManagedByWhomTheRoleSystemLets(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, token := w.connect(map[string]any{"name": "okta", "profile": "okta"})
		const path = "/api/v1/tenants/acme/connections"
		for _, as := range []string{w.viewer, "Bearer " + token, ""} {
			for _, request := range [][2]string{{http.MethodGet, path}, {http.MethodGet, path + "/" + c.ID}, {http.MethodPost, path + "/" + c.ID + "/tokens"}, {http.MethodDelete, path + "/" + c.ID}, {http.MethodPost, path + "/" + c.ID + "/pause"}} {
				if r := call(t, w.handler, request[0], request[1], as, nil, nil); r.Code != http.StatusForbidden && r.Code != http.StatusUnauthorized {
					t.Errorf("%s %s as %.12q: got %d %s", request[0], request[1], as, r.Code, r.Body)
				}
			}
		}
		// Another tenant's connection is none of this one's.
		foreign := must[*directory.Connection](t)(w.in.directory.CreateConnection(operator(t.Context()), w.tenants["umbrella"], directory.ConnectionSettings{Name: new("theirs")}))
		for _, request := range [][2]string{{http.MethodGet, ""}, {http.MethodDelete, ""}, {http.MethodPost, "/pause"}, {http.MethodPost, "/resume"}, {http.MethodGet, "/tokens"}, {http.MethodPost, "/tokens"}, {http.MethodPost, "/tokens/rotate"}, {http.MethodPost, "/guard/reset"}} {
			refused(t, w.api(request[0], "/"+string(foreign.ID)+request[1], nil, nil), http.StatusNotFound)
		}
		// The role systems of the portals know no such permission: operators only.
		must[*directory.Tenant](t)(w.in.directory.SaveTenant(operator(t.Context()), directory.TenantSpec{Slug: "net", Blueprint: "emnify"}))
		if r := call(t, w.handler, http.MethodPost, "/api/v1/tenants/net/connections", "Bearer "+instanceToken, map[string]any{"name": "hr"}, nil); r.Code != http.StatusCreated {
			t.Errorf("the operator: got %d %s", r.Code, r.Body)
		}
		for body, field := range map[string]string{
			`{"name":" "}`: "name", `{"name":"x","profile":"ldap"}`: "profile", `{"name":"x","application":"nobody"}`: "application",
			`{"name":"x","rate_limit":{"per_second":0,"burst":1}}`: "rate_limit.per_second", `{"name":"x","guard":{"percent":100}}`: "guard.percent",
			`{"name":"x","mapping":[{"from":"emails","to":"userName"}]}`: "mapping.from", `{"name":"x","mapping":[{"from":"title","to":"active"}]}`: "mapping",
			`{"name":"x","mapping":[{"from":"title","to":"password"}]}`: "mapping.to", `{"name":"x","size":"big"}`: "size",
		} {
			var doc map[string]any
			decodeText(t, body, &doc)
			if p := refused(t, w.api(http.MethodPost, "", doc, nil), http.StatusBadRequest); p.Field != field {
				t.Errorf("%s: the field is %q (%s), want %q", body, p.Field, p.Detail, field)
			}
		}
		if p := refused(t, w.api(http.MethodPost, "", map[string]any{"name": "okta"}, nil), http.StatusConflict); p.Field != "name" {
			t.Errorf("got %+v", p)
		}
	})
}

func TestAPausedConnectionChangesNothing(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, token := w.connect(map[string]any{"name": "okta", "profile": "okta"})
		user := w.push(token, map[string]any{"userName": "ann"})
		var paused connectionAnswer
		w.api(http.MethodPost, "/"+c.ID+"/pause", map[string]any{"reason": "we move to Entra"}, &paused)
		if paused.Paused == nil || paused.Paused.Reason != "we move to Entra" {
			t.Errorf("got %+v", paused)
		}
		for _, r := range []*httptest.ResponseRecorder{
			w.scim(token, http.MethodPatch, "/Users/"+user, switchOff()), w.scim(token, http.MethodDelete, "/Users/"+user, nil), w.scim(token, http.MethodGet, "/Users", nil),
		} {
			w.wants(r, http.StatusForbidden, "paused by an administrator: we move to Entra")
		}
		w.wants(w.api(http.MethodPost, "/"+c.ID+"/resume", nil, nil), http.StatusOK, "")
		w.wants(w.scim(token, http.MethodGet, "/Users/"+user, nil), http.StatusOK, `"active":true`)
	})
}

func TestAMachineActsAsItsConnection(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		ctx := operator(t.Context())
		for client, tenant := range map[string]string{"sync": "acme", "stranger": "umbrella"} {
			must[*oidc.Applied](t)(w.in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: client, Type: oidc.Machine, Tenant: w.tenants[tenant], Secret: secret.NewText("s-" + client)}))
		}
		grant := func(client string) (int, string) {
			form := url.Values{"grant_type": {"client_credentials"}, "scope": {"scim"}}
			request := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.SetBasicAuth(client, "s-"+client)
			r := httptest.NewRecorder()
			w.handler.ServeHTTP(r, request)
			var got struct {
				AccessToken string `json:"access_token"`
				Scope       string
			}
			decode(t, r, &got)
			return r.Code, got.AccessToken
		}
		active := func(token string) bool {
			a := must[*oidc.Application](t)(w.in.oidc.Application(ctx, "sync"))
			got, err := w.in.oidc.Introspect(ctx, a, secret.NewText(token))
			if err != nil {
				t.Fatal(err)
			}
			i, is := got.(*oidc.Introspection)
			return is && i.Active
		}
		if code, _ := grant("sync"); code != http.StatusBadRequest {
			t.Errorf("a machine without a connection gets the scope scim: %d", code)
		}
		refused(t, w.api(http.MethodPost, "", map[string]any{"name": "x", "application": "stranger"}, nil), http.StatusBadRequest)
		var c connectionAnswer
		w.api(http.MethodPost, "", map[string]any{"name": "sync", "application": "sync"}, &c)
		code, token := grant("sync")
		if code != http.StatusOK || !active(token) {
			t.Fatalf("got %d", code)
		}
		user := w.push(token, map[string]any{"userName": "ann"})
		w.wants(w.scim(token, http.MethodGet, "/Users/"+user, nil), http.StatusOK, "ann")
		if r := call(t, w.handler, http.MethodGet, "/t/umbrella/scim/v2/Users", "Bearer "+token, nil, nil); r.Code != http.StatusUnauthorized || !strings.Contains(r.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("at another tenant: %d %v", r.Code, r.Header())
		}
		if r := call(t, w.handler, http.MethodGet, "/api/v1/tenants/acme", "Bearer "+token, nil, nil); r.Code != http.StatusForbidden {
			t.Errorf("a token for SCIM at the API: %d %s", r.Code, r.Body)
		}
		plain := must[*oidc.Tokens](t)(w.in.oidc.ClientCredentials(ctx, must[*oidc.Application](t)(w.in.oidc.Application(ctx, "sync")), "", oidc.Terms{}))
		if r := w.scim(plain.Access, http.MethodGet, "/Users", nil); r.Code != http.StatusForbidden || r.Header().Get("WWW-Authenticate") != `Bearer realm="SCIM", error="insufficient_scope", scope="scim"` {
			t.Errorf("RFC 6750 §3.1 without the scope: %d %v", r.Code, r.Header())
		}

		w.api(http.MethodPost, "/"+c.ID+"/pause", nil, nil)
		w.wants(w.scim(token, http.MethodGet, "/Users", nil), http.StatusForbidden, "paused")
		if code, _ := grant("sync"); code != http.StatusBadRequest || active(token) {
			t.Errorf("the grant outlives the pause: %d", code)
		}
		w.api(http.MethodPost, "/"+c.ID+"/resume", nil, nil)
		w.wants(w.scim(token, http.MethodGet, "/Users", nil), http.StatusOK, "")
		w.wants(w.api(http.MethodPatch, "/"+c.ID, map[string]any{"application": nil}, nil), http.StatusOK, "")
		w.wants(w.scim(token, http.MethodGet, "/Users", nil), http.StatusUnauthorized, "")
		if active(token) {
			t.Error("the grant outlives its connection")
		}
	})
}

func TestAConnectionIsHeldToItsRate(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, token := w.connect(map[string]any{"name": "a", "rate_limit": map[string]any{"per_second": 2, "burst": 3}})
		_, other := w.connect(map[string]any{"name": "b"})
		for range 3 {
			w.wants(w.scim(token, http.MethodGet, "/Users?count=0", nil), http.StatusOK, "")
		}
		r := w.scim(token, http.MethodGet, "/Users?count=0", nil)
		w.wants(r, http.StatusTooManyRequests, `"status":"429"`)
		if got := r.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After is %q", got)
		}
		w.wants(w.scim(other, http.MethodGet, "/Users?count=0", nil), http.StatusOK, "")
		w.clock = w.clock.Add(time.Second)
		w.wants(w.scim(token, http.MethodGet, "/Users?count=0", nil), http.StatusOK, "")
		w.api(http.MethodPatch, "/"+c.ID, map[string]any{"rate_limit": nil}, nil)
		for range 10 {
			w.wants(w.scim(token, http.MethodGet, "/Users?count=0", nil), http.StatusOK, "")
		}
	})
}

// TestTheGuardHoldsARunThatSwitchesOffTooMany lets fifty requests come at once.
func TestTheGuardHoldsARunThatSwitchesOffTooMany(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, token := w.connect(map[string]any{"name": "a", "guard": map[string]any{"people": 10, "window": 3600}})
		users := make([]string, 50)
		for i := range users {
			users[i] = w.push(token, map[string]any{"userName": fmt.Sprint("user", i)})
		}
		codes := make([]int, len(users))
		var all sync.WaitGroup
		for i, user := range users {
			all.Go(func() {
				if i%2 == 0 {
					codes[i] = w.scim(token, http.MethodDelete, "/Users/"+user, nil).Code
				} else {
					codes[i] = w.scim(token, http.MethodPatch, "/Users/"+user, switchOff()).Code
				}
			})
		}
		all.Wait()
		done, held, left := 0, 0, ""
		for i, code := range codes {
			switch code {
			case http.StatusOK, http.StatusNoContent:
				done++
			case http.StatusTooManyRequests:
				held++
				left = users[i]
			default:
				t.Errorf("got %d", code)
			}
		}
		if done != 10 || held != 40 {
			t.Errorf("%d were switched off and %d held, want 10 and 40", done, held)
		}
		if got := w.events("connection.guard.hold"); got != 1 {
			t.Errorf("the hold is on record %d times", got)
		}
		r := w.scim(token, http.MethodPatch, "/Users/"+left, switchOff())
		w.wants(r, http.StatusTooManyRequests, "held by the guard")
		if got := r.Header().Get("Retry-After"); got != "900" {
			t.Errorf("Retry-After is %q", got)
		}
		w.wants(w.scim(token, http.MethodGet, "/Users/"+left, nil), http.StatusOK, `"active":true`)
		title := patchOf(map[string]any{"op": "replace", "path": "title", "value": "x"})
		w.wants(w.scim(token, http.MethodPatch, "/Users/"+left, title), http.StatusOK, "")
		w.wants(w.api(http.MethodGet, "/"+c.ID, nil, nil), http.StatusOK, `"state":"held"`)
		w.clock = w.clock.Add(2 * time.Hour) // the hold does not end by itself
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+left, nil), http.StatusTooManyRequests, "")

		w.wants(w.api(http.MethodPost, "/"+c.ID+"/guard/reject", nil, nil), http.StatusOK, `"state":"rejected"`)
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+left, nil), http.StatusForbidden, "guard_rejected")
		w.wants(w.api(http.MethodPost, "/"+c.ID+"/guard/release", map[string]any{"minutes": 30}, nil), http.StatusOK, `"state":"released"`)
		for i, code := range codes {
			if code == http.StatusTooManyRequests && users[i] != left {
				w.wants(w.scim(token, http.MethodDelete, "/Users/"+users[i], nil), http.StatusNoContent, "")
			}
		}
		w.clock = w.clock.Add(30 * time.Minute)
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+left, nil), http.StatusNoContent, "") // the guard counts anew
		w.wants(w.api(http.MethodGet, "/"+c.ID, nil, nil), http.StatusOK, `"state":"counting"`)
		refused(t, w.api(http.MethodPost, "/"+c.ID+"/guard/reject", nil, nil), http.StatusConflict)
	})
}

func TestTheGuardCountsAPartOfThePeopleWithinAWindow(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		c, token := w.connect(map[string]any{"name": "a", "guard": map[string]any{"percent": 20}})
		users := make([]string, 7) // with owner, admin and viewer ten people: two of them
		for i := range users {
			users[i] = w.push(token, map[string]any{"userName": fmt.Sprint("user", i)})
		}
		w.wants(w.scim(token, http.MethodPatch, "/Users/"+users[0], switchOff()), http.StatusOK, "")
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+users[0], nil), http.StatusNoContent, "") // who is off is not counted again
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+users[1], nil), http.StatusNoContent, "")
		w.clock = w.clock.Add(time.Hour)
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+users[2], nil), http.StatusNoContent, "") // one of eight
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+users[3], nil), http.StatusTooManyRequests, "")
		w.wants(w.api(http.MethodPost, "/"+c.ID+"/guard/reset", nil, nil), http.StatusOK, `"state":"counting"`)
		w.clock = w.clock.Add(time.Second)
		w.wants(w.scim(token, http.MethodDelete, "/Users/"+users[3], nil), http.StatusNoContent, "")
	})
}

func TestAConnectionThatSuspendsKeepsWhatItsDirectoryDeletes(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		ctx, tenant := operator(t.Context()), w.tenants["acme"]
		_, token := w.connect(map[string]any{"name": "a", "deprovisioning": "suspend"})
		ann := w.push(token, map[string]any{"userName": "Ann", "externalId": "1", "emails": []any{map[string]any{"value": "ann@example.com"}}})
		if err := w.in.directory.SetRoles(ctx, tenant, id.Membership(ann), []string{"member"}); err != nil {
			t.Fatal(err)
		}
		group := w.scim(token, http.MethodPost, "/Groups", map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": "G", "members": []any{map[string]any{"value": ann}},
		})
		var g struct{ ID string }
		decode(t, group, &g)

		w.wants(w.scim(token, http.MethodDelete, "/Users/"+ann, nil), http.StatusNoContent, "")
		status := func(user string) string {
			var m struct{ Status string }
			call(t, w.handler, http.MethodGet, "/api/v1/tenants/acme/members/"+user, w.admin, nil, &m)
			return m.Status
		}
		if got := status(ann); got != "suspended" {
			t.Errorf("the membership is %q", got)
		}
		t.Run("RFC 7644 §3.6 it is gone for SCIM", func(t *testing.T) {
			add := patchOf(map[string]any{"op": "add", "path": "members", "value": []any{map[string]any{"value": ann}}})
			for what, r := range map[string]*httptest.ResponseRecorder{
				"GET": w.scim(token, http.MethodGet, "/Users/"+ann, nil), "DELETE": w.scim(token, http.MethodDelete, "/Users/"+ann, nil),
				"PATCH": w.scim(token, http.MethodPatch, "/Users/"+ann, switchOff()),
				"PUT":   w.scim(token, http.MethodPut, "/Users/"+ann, map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "Ann"}),
			} {
				if r.Code != http.StatusNotFound {
					t.Errorf("%s: got %d %s", what, r.Code, r.Body)
				}
			}
			w.wants(w.scim(token, http.MethodGet, "/Users?filter="+url.QueryEscape(`externalId eq "1"`), nil), http.StatusOK, `"totalResults":0`)
			w.wants(w.scim(token, http.MethodPatch, "/Groups/"+g.ID, add), http.StatusBadRequest, "")
			if r := w.scim(token, http.MethodGet, "/Groups/"+g.ID, nil); strings.Contains(r.Body.String(), ann) {
				t.Errorf("the group has it still: %s", r.Body)
			}
		})
		t.Run("somebody else gets the name, and none of the roles", func(t *testing.T) {
			other := w.push(token, map[string]any{"userName": "ann", "externalId": "2"})
			if other == ann {
				t.Error("the id is used again")
			}
			w.wants(w.scim(token, http.MethodDelete, "/Users/"+other, nil), http.StatusNoContent, "")
		})
		t.Run("the same person comes back as she was", func(t *testing.T) {
			back := w.push(token, map[string]any{"userName": "ann.b", "externalId": "1", "emails": []any{map[string]any{"value": "ann@example.com"}}})
			if back != ann {
				t.Errorf("she has the id %s, not %s", back, ann)
			}
			m := must[*directory.TenantMember](t)(w.in.directory.Member(ctx, tenant, id.Membership(back)))
			if m.UserName != "ann.b" || len(m.Assignments) != 1 || m.Assignments[0].Role != "member" || m.Status == directory.StatusSuspended {
				t.Errorf("got %+v", m)
			}
		})
		t.Run("her login is free for a person whom nothing proves to be her", func(t *testing.T) {
			w.wants(w.scim(token, http.MethodDelete, "/Users/"+ann, nil), http.StatusNoContent, "")
			fresh := w.push(token, map[string]any{"userName": "ann", "externalId": "3", "emails": []any{map[string]any{"value": "ann@example.com"}}})
			m := must[*directory.TenantMember](t)(w.in.directory.Member(ctx, tenant, id.Membership(fresh)))
			u := must[*directory.User](t)(w.in.store.User(ctx, m.User))
			if fresh == ann || len(m.Assignments) != 0 || u.Email != "ann@example.com" {
				t.Errorf("got %+v of %+v", m, u)
			}
			if _, err := w.in.directory.Member(ctx, tenant, id.Membership(ann)); fault.As(err).Kind != fault.NotFound {
				t.Errorf("the one before is there: %v", err)
			}
		})
	})
}

func TestAConnectionTakesValuesFromWhereTheDirectorySendsThem(t *testing.T) {
	t.Parallel()
	eachConnectionWorld(t, func(t *testing.T, w *connectionWorld) {
		const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
		_, token := w.connect(map[string]any{"name": "a", "profile": "entra", "mapping": []any{
			map[string]any{"from": `emails[type eq "work"].value`, "to": "userName"},
			map[string]any{"from": enterprise + ":employeeNumber", "to": "externalId"},
		}})
		user := w.push(token, map[string]any{
			"emails":   []any{map[string]any{"type": "home", "value": "h@example.com"}, map[string]any{"Type": "work", "value": "ann@example.com"}},
			enterprise: map[string]any{"employeeNumber": "7"}, "externalId": "x",
		})
		shows := func(userName, externalID string) {
			t.Helper()
			var got struct{ UserName, ExternalID string }
			decode(t, w.scim(token, http.MethodGet, "/Users/"+user, nil), &got)
			if got.UserName != userName || got.ExternalID != externalID {
				t.Errorf("got %+v, want %s and %s", got, userName, externalID)
			}
		}
		shows("ann@example.com", "7")
		w.wants(w.scim(token, http.MethodPatch, "/Users/"+user, patchOf(map[string]any{"op": "Replace", "path": `emails[type eq "work"].value`, "value": "b@example.com"})), http.StatusOK, "")
		shows("b@example.com", "7")
		w.wants(w.scim(token, http.MethodPatch, "/Users/"+user, patchOf(map[string]any{"op": "replace", "value": map[string]any{enterprise + ":employeeNumber": "8", "displayName": "Ann"}})), http.StatusOK, "")
		shows("b@example.com", "8")
		w.wants(w.scim(token, http.MethodPatch, "/Users/"+user, patchOf(map[string]any{"op": "replace", "path": "displayName", "value": "B"})), http.StatusOK, "")
		shows("b@example.com", "8")
		w.wants(w.scim(token, http.MethodPatch, "/Users/"+user, patchOf(map[string]any{"op": "remove", "path": enterprise + ":employeeNumber"})), http.StatusOK, "")
		shows("b@example.com", "")
		w.wants(w.scim(token, http.MethodPut, "/Users/"+user, map[string]any{"userName": "ignored", "emails": []any{map[string]any{"type": "work", "value": "c@example.com"}}}), http.StatusOK, "")
		shows("c@example.com", "")
		w.wants(w.scim(token, http.MethodPost, "/Users", map[string]any{"emails": []any{map[string]any{"type": "home", "value": "h@example.com"}}}), http.StatusBadRequest, "userName")
	})
}

func TestApplyKeepsWhatItDoesNotNameOfAConnection(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		const file = `
tenants:
- slug: acme
  connections:
  - name: entra
    profile: entra
    application: sync
    rate_limit: {per_second: 50, burst: 100}
    guard: {people: 50, percent: 20, window: 90m}
    deprovisioning: suspend
    mapping: [{from: title, to: nickName}]
applications:
- {client_id: sync, type: machine, tenant: acme}
`
		report := must[*applyReport](t)(in.apply(ctx, parse(t, file)))
		if made := report.Tenants[0].Connections[0].Token; made != "" {
			t.Error("a token was made beside the application")
		}
		acme := must[*directory.Tenant](t)(in.directory.Tenant(ctx, "acme"))
		read := func() directory.Connection {
			c := *must[*directory.Connection](t)(in.store.ConnectionByName(ctx, acme.ID, "entra"))
			c.Modified = time.Time{}
			return c
		}
		first := read()
		if first.Application != "sync" || first.RateLimit.PerSecond != 50 || first.Guard.Window != 90*time.Minute || first.Guard.People != 50 ||
			first.Deprovisioning != directory.DeprovisionSuspend || len(first.Mappings) != 1 {
			t.Errorf("got %+v", first)
		}
		must[*applyReport](t)(in.apply(ctx, parse(t, file)))
		must[*applyReport](t)(in.apply(ctx, parse(t, "tenants: [{slug: acme, connections: [{name: entra}]}]")))
		if again := read(); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("got %+v, want %+v", again, first)
		}
		if _, err := in.apply(ctx, parse(t, "tenants: [{slug: acme, connections: [{name: entra, guard: {window: soon}}]}]")); err == nil {
			t.Error("a window that is none is taken")
		}
		if _, err := parseApply([]byte("tenants: [{slug: acme, connections: [{name: entra, rate: 1}]}]"), noEnv); err == nil {
			t.Error("an unknown key is taken")
		}
	})
}

// events counts what the audit trail says of an action.
func (w *connectionWorld) events(action string) int {
	w.t.Helper()
	trail, err := (&tokenWorld{t: w.t, in: w.in}).trail()
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Count(trail, action)
}

func decodeText(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
