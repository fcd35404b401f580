package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/storage"
)

// matrixApply is the tenant "ours", whose credentials are tried, and the tenant
// "zebra", of which they must not learn anything. What is zebra's has the word in it.
const matrixApply = `
tenants:
- {slug: ours, name: Ours, blueprint: BLUEPRINT, connections: [{name: directory, profile: rfc, token: rcs-ours-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1}]}
- {slug: zebra, name: Zebra, blueprint: BLUEPRINT, connections: [{name: zebra directory, profile: rfc, token: rcs-zebra-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1}]}
users:
- {email: owner@ours.example, memberships: [{tenant: ours, roles: [OWNER], status: active}]}
- {email: owner@zebra.example, memberships: [{tenant: zebra, roles: [OWNER], status: active}]}
application_tokens:
- {name: ours, tenant: ours, creator: owner@ours.example, token: rc_Ours5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mV}
- {name: zebra, tenant: zebra, creator: owner@zebra.example, token: rc_Zebra5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8m}
`

const (
	oursSCIM  = "Bearer rcs-ours-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"
	oursAPI   = "Bearer rc_Ours5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mV"
	zebraSCIM = "Bearer rcs-zebra-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"
	zebraAPI  = "Bearer rc_Zebra5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8m"
)

// matrixBodies are bodies that get as far as they can, with the parameters of
// the matrix in braces: what a route of SCIM or the API takes. A route without
// one fails the test.
func matrixBodies() map[string]string {
	const (
		user      = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"userName":"{fresh}","externalId":"{fresh}","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"{member}"}}}`
		group     = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"{fresh}","members":[{"value":"{member}"},{"value":"{group}","type":"Group"}]}`
		operation = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":"{member}"}]}]}`
		search    = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"id eq \"{member}\" or id eq \"{group}\""}`
		bulk      = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{"method":"DELETE","path":"/Users/{member}"},{"method":"PATCH","path":"/Groups/{group}","data":` + operation + `}]}`
		stripe    = `{"schemas":["urn:example:horse:Stripe"],"width":9}`
		resource  = `{"role":"{role}","resource":"{member}"}`
	)
	return map[string]string{
		"POST /Users": user, "PUT /Users/:id": user, "PATCH /Users/:id": operation, "POST /Groups": group, "PUT /Groups/:id": group, "PATCH /Groups/:id": operation,
		"POST /.search": search, "POST /Users/.search": search, "POST /Groups/.search": search, "POST /Bulk": bulk,
		"POST /:id": stripe, "PUT /:id/*rest": stripe, "PATCH /:id/*rest": `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"width","value":8}]}`,
		"POST /Me": user, "PUT /Me": user, "PATCH /Me": operation,

		"POST /members": `{"email":"{email}"}`, "PUT /members/:member/roles": `{"roles":["{role}"]}`, "PUT /members/:member/status": `{"status":"suspended"}`,
		"POST /members/:member/invitation": ``, "POST /members/:member/password-reset": ``,
		"PUT /members/:member/second-factor-required": `{"required":true}`,
		"PUT /members/:member/password":               `{}`, "POST /members/:member/sign-in-instructions": `{}`,
		"POST /members/:member/resource-roles": resource, "POST /members/:member/resource-roles/revoke": resource,
		"POST /application-tokens": `{"name":"{fresh}"}`, "PATCH /application-tokens/:token": `{"description":"x"}`, "POST /application-tokens/:token/rotate": `{}`,
		"PUT /children/:child/entitlements/:entitlement": `{}`, "PUT /entitlements/:entitlement": `{}`, "PUT /contact": `{"member":"{member}"}`,
		"PUT /parents/:relation": `{"parent":"{tenant_id}"}`, "POST /group-roles": `{"group":"{group}","role":"{role}"}`,
		"PUT /group-roles": `{"items":[{"group":"{fresh}","role":"{role}"}]}`, "POST /group-roles/preview": `{"items":[{"group":"{group}","role":"{role}"}]}`,
		"PUT /group-roles/default": `{"role":""}`, "POST /requests": `{"kind":"workspace_link","fields":{"details":"{tenant_id}"}}`, "POST /requests/:request/approve": `{}`, "POST /requests/:request/deny": `{}`, "POST /requests/:request/withdraw": ``,
		"POST /connections": `{"name":"{fresh}","application":"{client_id}"}`, "PATCH /connections/:connection": `{"application":"{client_id}"}`,
		"POST /connections/:connection/tokens": `{}`, "POST /connections/:connection/tokens/rotate": `{"overlap":60}`,
		"POST /connections/:connection/pause": `{}`, "POST /connections/:connection/resume": ``,
		"POST /connections/:connection/guard/release": `{"minutes":5}`, "POST /connections/:connection/guard/reject": ``, "POST /connections/:connection/guard/reset": ``,
		"PUT /scim/schemas/:schema":      `{"name":"Ours","attributes":[{"name":"width","type":"string","description":"x"}]}`,
		"PUT /scim/resource-types/:type": `{"endpoint":"/{endpoint}","schema":"{schema}"}`, "POST /provisioning-log/:entry/replay": ``,
		"POST /service-accounts": `{"name":"{fresh}","roles":["{role}"]}`, "PUT /service-accounts/:client_id/roles": `{"roles":["{role}"]}`, "POST /service-accounts/:client_id/rotate": `{}`,
		"POST /registration-tokens": `{"description":"{fresh}"}`, "PATCH /applications/:client_id": `{"enabled":false}`, "POST /applications/:client_id/secrets": `{}`,
		"POST /event-streams": `{"name":"{fresh}","method":"poll"}`, "PATCH /event-streams/:stream": `{"status":"paused"}`,
		"POST /event-streams/:stream/rotate": ``, "POST /event-streams/:stream/dead-letters/retry": ``,
		"POST /provisioning-targets":                       `{"name":"{fresh}","base_url":"https://scim.example.com","secret":"x","people":{"scope":"groups","groups":["{group}"]},"groups":{"scope":"chosen","groups":["{group}"]}}`,
		"PATCH /provisioning-targets/:target":              `{"status":"paused","people":{"scope":"groups","groups":["{group}"]}}`,
		"POST /provisioning-targets/:target/test":          ``,
		"POST /provisioning-targets/:target/runs":          `{"dry_run":true}`,
		"POST /provisioning-targets/:target/errors/retry":  `{"resource":"{member}"}`,
		"POST /identity-providers":                         `{"name":"{fresh}","issuer":"https://login.example.com","client_id":"rolecall"}`,
		"PATCH /identity-providers/:identity_provider":     `{"enabled":false}`,
		"POST /identity-providers/:identity_provider/test": ``,
		"POST /logout-deliveries/:delivery/retry":          ``,
		"PUT /policy":         `{"mfa":"off","password":{"words":["{member}"]}}`,
		"PUT /support-access": `{"enabled":true}`,
		"PUT /branding":       `{"light":{"accent":"#1d4ed8"}}`,
	}
}

// matrixQueries are what lists are narrowed by.
func matrixQueries() map[string]string {
	const resources = `filter=id+eq+"{member}"+or+id+eq+"{group}"+or+userName+co+"zebra"`
	return map[string]string{
		"GET /Users": resources, "GET /Groups": `filter=id+eq+"{group}"+or+members.value+eq+"{member}"`, "GET ": resources,
		"GET /application-tokens": "creator={member}", "GET /provisioning-log": "person={member}&connection={connection}&operation=DELETE", "DELETE /group-roles": "group={group}&role={role}",
	}
}

// world is what is put into the places of a request.
type world map[string]string

// matrix is the server with two worlds: one of what zebra has, one of nothing.
type matrix struct {
	handler        http.Handler
	zebra, nothing world
	known          []string // every id that zebra can read of itself
	sent           int
	statements     atomic.Int64 // that the answers took
}

// newMatrix makes something of each kind in zebra and returns the ids.
func newMatrix(t *testing.T, in *instance, blueprint, owner, role string) *matrix {
	t.Helper()
	ctx := operator(t.Context())
	file := strings.NewReplacer("BLUEPRINT", blueprint, "OWNER", owner).Replace(matrixApply)
	if _, err := in.apply(ctx, parse(t, file)); err != nil {
		t.Fatal(err)
	}
	x := &matrix{handler: handlerOf(t, in)}
	made := func(path, authorization, body string) string {
		t.Helper()
		var answer struct {
			ID       string
			ClientID string `json:"client_id"`
		}
		response := call(t, x.handler, http.MethodPost, path, authorization, json.RawMessage(body), &answer)
		if response.Code >= 300 || answer.ID+answer.ClientID == "" {
			t.Fatalf("POST %s: %d %s", path, response.Code, response.Body)
		}
		return cmp.Or(answer.ID, answer.ClientID) // a provider has both
	}
	scim, api := "/t/zebra/scim/v2", "/api/v1/tenants/zebra"
	member := made(scim+"/Users", zebraSCIM, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"stripes@zebra.example","displayName":"Zebra","externalId":"zebra-1"}`)
	group := made(scim+"/Groups", zebraSCIM, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Zebras","members":[{"value":"`+member+`"}]}`)
	tenant := must[*directory.Tenant](t)(in.directory.Tenant(ctx, "zebra")).ID
	request := id.New[id.Request]()
	if blueprint == "emnify" { // the other one has no requests
		request = must[*directory.Request](t)(in.directory.CreateRequest(ctx, tenant, "workspace_create", map[string]string{"details": "zebra"})).ID
	}
	put := func(path, body string) {
		t.Helper()
		if response := call(t, x.handler, http.MethodPut, "/api/v1/tenants/"+path, "Bearer "+instanceToken, json.RawMessage(body), nil); response.Code >= 300 {
			t.Fatalf("PUT %s: %d %s", path, response.Code, response.Body)
		}
	}
	const stripe = "urn:example:horse:Stripe"
	for _, tenant := range []string{"zebra", "ours"} {
		put(tenant+"/scim/schemas/"+stripe, `{"name":"Stripe","attributes":[{"name":"width","type":"integer","description":"of a horse"}]}`)
		put(tenant+"/scim/resource-types/Stripe", `{"endpoint":"/Stripes","schema":"`+stripe+`"}`)
	}
	put("zebra/scim/schemas/urn:example:zebra:Own", `{"name":"Own","attributes":[{"name":"width","type":"integer","description":"of zebra"}]}`)
	put("zebra/scim/resource-types/ZebraOwn", `{"endpoint":"/ZebraOwns","schema":"urn:example:zebra:Own"}`)
	var log struct{ Items []struct{ ID string } }
	call(t, x.handler, http.MethodGet, api+"/provisioning-log", "Bearer "+instanceToken, nil, &log)
	if len(log.Items) == 0 {
		t.Fatal("the log of zebra's directory is empty")
	}
	target := made(api+"/provisioning-targets", "Bearer "+instanceToken, `{"name":"zebra target","base_url":"https://zebra.example","secret":"zebra","status":"paused"}`)
	told := outbox.Delivery{
		ID: id.New[id.Delivery](), Tenant: tenant, Kind: outbox.BackchannelLogout, Payload: json.RawMessage(`{"client_id":"zebra-shop"}`), Due: in.now(), Created: in.now(),
	}
	if err := in.store.AppendDelivery(ctx, told); err != nil {
		t.Fatal(err)
	}
	if _, err := in.oidc.PutApplication(ctx, oidc.ApplicationSpec{ClientID: "zebra-web", Type: oidc.Web, Tenant: tenant, RedirectURIs: []string{"https://zebra.example/"}}); err != nil {
		t.Fatal(err)
	}
	application := must[*oidc.Application](t)(in.oidc.ApplicationOf(ctx, tenant, "zebra-web"))
	connection := must[[]directory.Connection](t)(in.directory.Connections(ctx, tenant, "", 1))[0].ID
	connectionToken := must[[]directory.ConnectionToken](t)(in.directory.ConnectionTokens(ctx, tenant, connection))[0].ID
	x.zebra = world{
		"schema": "urn:example:zebra:Own", "type": "ZebraOwn", "entry": log.Items[0].ID, "stripe": made(scim+"/Stripes", zebraSCIM, `{"schemas":["`+stripe+`"],"width":7}`),
		"stream":            made(api+"/event-streams", "Bearer "+instanceToken, `{"name":"zebra events","method":"poll"}`),
		"target":            target,
		"run":               made(api+"/provisioning-targets/"+target+"/runs", "Bearer "+instanceToken, `{"dry_run":true}`),
		"identity_provider": made(api+"/identity-providers", "Bearer "+instanceToken, `{"name":"zebra sign-in","issuer":"https://zebra.example","client_id":"zebra"}`),
		"connection":        string(connection), "connection_token": string(connectionToken),
		"delivery": string(told.ID), "application": application.ClientID, "secret": application.Secrets[0].ID(),
		"registration_token": made(api+"/registration-tokens", "Bearer "+instanceToken, `{"description":"zebra's"}`),
		"tenant":             "zebra", "tenant_id": string(tenant), "child": "zebra", "member": member, "user": member, "group": group, "email": "stripes@zebra.example",
		"token": made(api+"/application-tokens", zebraAPI, `{"name":"zebra two"}`), "request": string(request),
		"client_id": made(api+"/service-accounts", zebraAPI, `{"name":"zebra robot","roles":["`+role+`"]}`),
	}
	x.nothing = world{"tenant": "nowhere", "child": "nowhere", "email": "nobody@nowhere.example", "client_id": "no-such-robot", "application": "no-such-web", "schema": "urn:example:nothing", "type": "Nothing"}
	for name := range x.zebra {
		if x.nothing[name] == "" {
			x.nothing[name] = string(id.New[id.Membership]())
		}
	}
	for _, w := range []world{x.zebra, x.nothing} { // of these zebra has none, and any name does
		maps.Copy(w, world{"session": string(id.New[id.Membership]()), "link": string(id.New[id.IdentityLink]()), "relation": "link", "entitlement": "sms", "role": role})
	}
	return x
}

// place is a parameter of a route, or of a body or query of the matrix.
var place = regexp.MustCompile(`/[:*][a-z_]+|\{[a-z_]+\}`)

// fill puts the values of a world into text.
func (x *matrix) fill(t *testing.T, text, kind string, w world) string {
	t.Helper()
	return place.ReplaceAllStringFunc(text, func(found string) string {
		name, slash := strings.Trim(found, "/:*{}"), ""
		if found[0] == '/' {
			slash = "/"
		}
		switch name {
		case "fresh":
			x.sent++
			return fmt.Sprintf("fresh-%d@ours.example", x.sent)
		case "endpoint":
			x.sent++
			return fmt.Sprintf("Fresh%d", x.sent)
		case "id":
			name = kind
		case "token":
			if strings.Contains(text, "/connections/") {
				name = "connection_token"
			}
		case "client_id":
			if strings.Contains(text, "/applications/") {
				name = "application"
			}
		case "rest", "version":
			return slash + "rest"
		}
		value, known := w[name]
		if !known {
			t.Errorf("%s: the matrix has no %s of another tenant: add it to newMatrix", text, name)
		}
		return slash + value
	})
}

// changing is what differs between two answers that say the same.
var changing = regexp.MustCompile(uuid.String() + `|\d{4}-\d\d-\d\dT[0-9:.]+Z|fresh-\d+@ours\.example|Fresh\d+|rc[a-z]*_[\w-]+|"client_id":"[^"]*"|W/\\?"[^"\\]*\\?"`)

// uuid is an identifier.
var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// ask sends a request of a world and returns the answer with the world's values
// taken out. No answer may have an id of zebra's that was not in the request.
func (x *matrix) ask(t *testing.T, method, path, authorization, body string, w world) (status int, said string) {
	t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request = request.WithContext(storage.WithObserver(request.Context(), func(string) { x.statements.Add(1) }))
	request.Header.Set("Authorization", authorization)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	recorder := httptest.NewRecorder()
	x.handler.ServeHTTP(recorder, request)
	answer := fmt.Sprint(recorder.Header(), recorder.Body)
	for _, known := range x.known {
		if strings.Contains(answer, known) && !strings.Contains(path+body, known) {
			t.Errorf("%s %s: the answer has zebra's %s: %.400s", method, path, known, answer)
		}
	}
	said = recorder.Body.String()
	// The longest first: one may be within another.
	names := slices.SortedFunc(maps.Keys(w), func(a, b string) int { return cmp.Compare(len(w[b]), len(w[a])) })
	for _, name := range names {
		if x.nothing[name] != x.zebra[name] && w[name] != "ours" {
			said = strings.ReplaceAll(said, w[name], "SENT")
		}
	}
	return recorder.Code, changing.ReplaceAllString(said, "CHANGING")
}

// route is one of the engine's, of SCIM or the API.
type route struct{ method, path, below, kind string }

// tenantRoutes are the routes that name a tenant.
func tenantRoutes(t *testing.T, handler http.Handler) []route {
	t.Helper()
	engine, ok := handler.(*gin.Engine)
	if !ok {
		t.Fatal("the handler does not tell its routes")
	}
	var routes []route
	for _, r := range engine.Routes() {
		if slices.Contains([]string{http.MethodHead, http.MethodOptions, http.MethodConnect, http.MethodTrace}, r.Method) {
			continue
		}
		below, isSCIM := strings.CutPrefix(r.Path, "/t/:tenant/scim/v2")
		if !isSCIM {
			var isAPI bool
			if below, isAPI = strings.CutPrefix(r.Path, "/api/v1/tenants/:tenant"); !isAPI && !strings.HasPrefix(r.Path, "/t/") {
				// What the pages of a person's own say of a tenant that is not his is
				// tried beside them, with a session.
				if strings.Contains(r.Path, ":tenant") && !strings.HasPrefix(r.Path, "/me/") {
					t.Errorf("%s %s names a tenant, and the matrix does not know it", r.Method, r.Path)
				}
				continue
			}
		}
		kind := "member"
		if strings.HasPrefix(below, "/Groups") {
			kind = "group"
		}
		path := strings.Replace(r.Path, "/v2/:id/*rest", "/v2/Stripes/{stripe}", 1) // a type that both tenants have made
		path = strings.Replace(path, "/v2/:id", "/v2/Stripes", 1)
		routes = append(routes, route{r.Method, path, strings.TrimSuffix(below, "/"), kind})
	}
	if len(routes) < 100 {
		t.Fatalf("got %d routes: the matrix looks in the wrong place", len(routes))
	}
	return routes
}

// public are the routes of discovery, and the look of a sign-in, which say nothing
// of a tenant's people.
func (r route) public() bool {
	if r.path == "/t/:tenant/theme.css" {
		return true
	}
	for _, prefix := range []string{"/Schemas", "/ResourceTypes", "/ServiceProviderConfig"} {
		if strings.HasPrefix(r.below, prefix) && strings.HasPrefix(r.path, "/t/") {
			return true
		}
	}
	return false
}

func (r route) body(t *testing.T) string {
	t.Helper()
	if r.method != http.MethodPost && r.method != http.MethodPut && r.method != http.MethodPatch {
		return ""
	}
	body, known := matrixBodies()[r.method+" "+r.below]
	if !known && strings.HasPrefix(r.path, "/api/") {
		t.Errorf("%s %s has no body in the matrix: add one that names what another tenant has", r.method, r.path)
	}
	return body // another route of SCIM is no way to write
}

// TestNoRouteTellsOfAnotherTenant sends each route of SCIM and the API, with each
// credential of one tenant, to another tenant and with its ids to the own one. No
// answer may differ from that about a tenant, or an id, which nobody has, or have
// an id of that tenant's that was not sent; no refusal may take another number of
// statements; and nothing may change.
func TestNoRouteTellsOfAnotherTenant(t *testing.T) {
	t.Parallel()
	for _, system := range []struct{ blueprint, owner, role string }{{"default", "owner", "member"}, {"emnify", "superadmin", "observer"}} {
		t.Run(system.blueprint, func(t *testing.T) {
			eachInstance(t, func(t *testing.T, in *instance) {
				x := newMatrix(t, in, system.blueprint, system.owner, system.role)
				before := x.everything(t)
				x.learn(t)
				x.tellNothing(t)
				if diff := gocmp.Diff(before, x.everything(t)); diff != "" {
					t.Errorf("zebra changed (-before +after):\n%s", diff)
				}
				x.sameTime(t, "/t/ours/scim/v2/Users/", oursSCIM)
				x.sameTime(t, "/api/v1/tenants/ours/members/", oursAPI)
			})
		})
	}
}

// learn notes the ids of what zebra has.
func (x *matrix) learn(t *testing.T) {
	t.Helper()
	text := x.everything(t) + fmt.Sprint(x.zebra)
	for known := range maps.Keys(setOf(uuid.FindAllString(text, -1))) {
		x.known = append(x.known, known)
	}
	if len(x.known) < 12 {
		t.Fatalf("zebra has %d ids: the matrix knows too little", len(x.known))
	}
}

func setOf(texts []string) map[string]bool {
	set := map[string]bool{}
	for _, text := range texts {
		set[text] = true
	}
	return set
}

func (x *matrix) tellNothing(t *testing.T) {
	t.Helper()
	for _, r := range tenantRoutes(t, x.handler) {
		if r.public() {
			continue
		}
		for who, authorization := range map[string]string{"directory": oursSCIM, "token": oursAPI} {
			x.compare(t, r, who+" to the tenant", authorization, func(w world) world { return w })
			x.compare(t, r, who+" to the tenant by id", authorization, func(w world) world { return with(w, "tenant", w["tenant_id"]) })
			x.compare(t, r, who+" with ids", authorization, func(w world) world { return with(w, "tenant", "ours") })
		}
	}
}

func with(w world, name, value string) world {
	w = maps.Clone(w)
	w[name] = value
	return w
}

// compare sends a request of both worlds.
func (x *matrix) compare(t *testing.T, r route, what, authorization string, change func(world) world) {
	t.Helper()
	body, query := r.body(t), matrixQueries()[r.method+" "+r.below]
	var statuses [2]int
	var said [2]string
	var took [2]int64
	for range 3 { // what a first request learns, another one may know
		for n, w := range []world{x.nothing, x.zebra} {
			w = change(w)
			path := x.fill(t, r.path, r.kind, w)
			if query != "" {
				path += "?" + strings.ReplaceAll(strings.ReplaceAll(x.fill(t, query, r.kind, w), `"`, "%22"), " ", "+")
			}
			before := x.statements.Load()
			statuses[n], said[n] = x.ask(t, r.method, path, authorization, x.fill(t, body, r.kind, w), w)
			took[n] = x.statements.Load() - before
		}
		if took[0] == took[1] || statuses[1] < 400 {
			break
		}
	}
	// People belong to no tenant: whether an address is somebody's login decides
	// what is asked of whoever would add him.
	people := r.method == http.MethodPost && r.below == "/members"
	if took[0] != took[1] && statuses[1] >= 400 && !people {
		t.Errorf("%s %s, %s: %d after %d statements, but of nothing after %d", r.method, r.path, what, statuses[1], took[1], took[0])
	}
	if statuses[0] != statuses[1] || said[0] != said[1] {
		t.Errorf("%s %s, %s: %d %.400s\nbut of nothing: %d %.400s", r.method, r.path, what, statuses[1], said[1], statuses[0], said[0])
	}
	if strings.Contains(strings.ToLower(said[1]), "zebra") {
		t.Errorf("%s %s, %s: %.400s", r.method, r.path, what, said[1])
	}
	own := strings.HasSuffix(what, "with ids")
	if statuses[1] == http.StatusSeeOther && !strings.HasPrefix(r.path, "/api/") { // a page has whoever comes without a session sign in first
		return
	}
	if !own && statuses[1] < 400 || statuses[1] >= 500 && statuses[1] != http.StatusNotImplemented {
		t.Errorf("%s %s, %s: %d %.400s", r.method, r.path, what, statuses[1], said[1])
	}
}

// everything is what zebra can read of itself.
func (x *matrix) everything(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	read := 0
	for _, r := range tenantRoutes(t, x.handler) {
		if r.method != http.MethodGet || r.public() || r.below == "/provisioning-log" { // which reading fills
			continue
		}
		authorization := zebraAPI
		if strings.HasPrefix(r.path, "/t/") {
			authorization = zebraSCIM
		}
		request := httptest.NewRequest(r.method, x.fill(t, r.path, r.kind, x.zebra), nil)
		request.Header.Set("Authorization", authorization)
		recorder := httptest.NewRecorder()
		x.handler.ServeHTTP(recorder, request)
		fmt.Fprintln(&all, r.path, recorder.Code, recorder.Body)
		if recorder.Code == http.StatusOK {
			read++
		}
	}
	if read < 15 || !strings.Contains(all.String(), "stripes@zebra.example") {
		t.Fatalf("zebra reads %d of its routes: its ids are not real\n%s", read, all.String())
	}
	return regexp.MustCompile(`"last_used[^,}]*`).ReplaceAllString(all.String(), "")
}

// sameTime holds that it takes about as long to refuse what another tenant has
// as what nobody has. The bound is generous: the machines that run this are noisy.
func (x *matrix) sameTime(t *testing.T, path, authorization string) {
	t.Helper()
	const rounds, bound = 200, 1.5
	ratio := 0.0
	for range 3 { // a busy machine gets another chance
		var took [2][]time.Duration
		for n := range 2 * rounds {
			w := []world{x.nothing, x.zebra}[n%2]
			started := time.Now()
			x.ask(t, http.MethodGet, path+url.PathEscape(w["member"]), authorization, "", w)
			took[n%2] = append(took[n%2], time.Since(started))
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		ratio = float64(took[1][rounds/2]) / float64(took[0][rounds/2])
		if ratio < bound && ratio > 1/bound {
			return
		}
	}
	t.Errorf("GET %s: what another tenant has takes %.2f times as long as what nobody has", path, ratio)
}
