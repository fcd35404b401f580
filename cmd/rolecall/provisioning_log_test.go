package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/provisioning"
)

// logLine is what these tests read of an entry.
type logLine struct {
	ID, Connection, Method, Path, Resource, Name, Code, Detail, Reason, Fix string
	ResourceType                                                            string `json:"resource_type"`
	ExternalID                                                              string `json:"external_id"`
	SCIMType                                                                string `json:"scim_type"`
	Status                                                                  int
	Credential                                                              struct{ Kind, ID string }
	Changes                                                                 []struct {
		Attribute, Op string
		Before, After any
		Count         int
		IDs           []string
	}
	Replayable   bool
	RequestBody  string `json:"request_body"`
	ResponseBody string `json:"response_body"`
}

// directoryOf is a tenant of these tests with its connection.
type directoryOf struct {
	t       *testing.T
	handler http.Handler
	tenant  *directory.Tenant
	token   string
}

func newDirectory(t *testing.T, in *instance, handler http.Handler, slug string) *directoryOf {
	t.Helper()
	ctx := operator(t.Context())
	tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{Slug: slug, Blueprint: "default"}))
	d := &directoryOf{t, handler, tenant, slug + "-directory-0123456789"}
	must[secret.Text](t)(in.directory.SaveConnection(ctx, tenant.ID, directory.ConnectionSpec{
		Name: "okta", Profile: directory.ProfileOkta, Token: secret.NewText(d.token),
	}))
	return d
}

func asks(t *testing.T, handler http.Handler, method, path, authorization, body string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

// scim asks as the directory, and wants a status.
func (d *directoryOf) scim(method, path, body string, want int) map[string]any {
	d.t.Helper()
	got := asks(d.t, d.handler, method, "/t/"+d.tenant.Slug+"/scim/v2"+path, "Bearer "+d.token, body)
	if got.Code != want {
		d.t.Fatalf("%s %s: got %d %s, want %d", method, path, got.Code, got.Body, want)
	}
	var object map[string]any
	_ = json.Unmarshal(got.Body.Bytes(), &object)
	return object
}

// log returns the entries of the tenant, the latest first.
func (d *directoryOf) log(query string) []logLine {
	d.t.Helper()
	var page struct {
		Items []logLine
		Next  string
	}
	got := asks(d.t, d.handler, http.MethodGet, "/api/v1/tenants/"+d.tenant.Slug+"/provisioning-log?"+query, "Bearer "+instanceToken, "")
	if got.Code != http.StatusOK {
		d.t.Fatalf("the log: %d %s", got.Code, got.Body)
	}
	if err := json.Unmarshal(got.Body.Bytes(), &page); err != nil {
		d.t.Fatal(err)
	}
	return page.Items
}

func (d *directoryOf) entry(method, path string, want int) logLine {
	d.t.Helper()
	got := asks(d.t, d.handler, method, "/api/v1/tenants/"+d.tenant.Slug+"/provisioning-log/"+path, "Bearer "+instanceToken, "")
	if got.Code != want {
		d.t.Fatalf("entry %s: got %d %s, want %d", path, got.Code, got.Body, want)
	}
	var line logLine
	if err := json.Unmarshal(got.Body.Bytes(), &line); err != nil {
		d.t.Fatal(err)
	}
	return line
}

func user(name, external string) string {
	return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"externalId":%q,"name":{"givenName":"A","familyName":"B"}}`, name, external)
}

func TestProvisioningLogHasEachKindOfRequest(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d, other := newDirectory(t, in, handler, "berlin"), newDirectory(t, in, handler, "paris")
		other.scim("POST", "/Users", user("ann@example.com", "x-1"), 201)

		ann := d.scim("POST", "/Users", user("Ann@example.com", "x-1"), 201)["id"].(string)
		d.scim("GET", "/Users/"+ann, "", 200)
		d.scim("GET", "/Users?filter="+url.QueryEscape(`userName eq "ann@example.com"`), "", 200)
		d.scim("POST", "/Users", user("ANN@example.com", "x-2"), 409)
		d.scim("PATCH", "/Users/"+ann, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false,"name":{"givenName":"Anna"}}}]}`, 200)
		group := d.scim("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Sales","members":[{"value":"`+ann+`"}]}`, 201)["id"].(string)
		d.scim("PATCH", "/Groups/"+group, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"remove","path":"members[value eq \"`+ann+`\"]"}]}`, 204)
		d.scim("PUT", "/Groups/"+group, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Sales 2"}`, 200)
		d.scim("DELETE", "/Users/"+ann, "", 204)
		d.scim("DELETE", "/Users/"+ann, "", 404)
		d.scim("GET", "/Nothing", "", 404)
		d.scim("POST", "/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}`, 200)
		d.scim("POST", "/Users", `{"userName":`, 400)

		all := d.log("limit=200")
		slices.Reverse(all)
		var shape []string
		for _, line := range all {
			shape = append(shape, fmt.Sprint(line.Method, " ", line.Status, " ", line.ResourceType, " ", line.Name))
		}
		want := []string{
			"POST 201 User Ann@example.com", "GET 200 User Ann@example.com", "GET 200 User ann@example.com", "POST 409 User ANN@example.com",
			"PATCH 200 User Ann@example.com", "POST 201 Group Sales", "PATCH 204 Group Sales", "PUT 200 Group Sales 2", "DELETE 204 User Ann@example.com",
			"DELETE 404 User ", "GET 404  ", "POST 200 User ", "POST 400 User ",
		}
		if !slices.Equal(shape, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(shape, "\n"), strings.Join(want, "\n"))
		}
		refused := d.entry("GET", all[3].ID, 200)
		if refused.SCIMType != "uniqueness" || !strings.Contains(refused.Reason, "ANN@example.com") || refused.Fix == "" ||
			!strings.Contains(refused.RequestBody, "x-2") || !strings.Contains(refused.ResponseBody, "uniqueness") || refused.Credential.Kind != "connection_token" || refused.Connection == "" {
			t.Errorf("refused: %+v", refused)
		}
		changes := map[string]string{}
		for _, c := range all[4].Changes {
			changes[c.Attribute] = fmt.Sprint(c.Before, " → ", c.After)
		}
		if len(changes) != 2 || changes["active"] != "true → false" || changes["name.givenName"] != "A → Anna" {
			t.Errorf("the PATCH changed %v", changes)
		}
		if c := all[6].Changes; len(c) != 1 || c[0].Op != "remove" || c[0].Count != 1 || !slices.Equal(c[0].IDs, []string{ann}) {
			t.Errorf("the group changed %+v", c)
		}
		for _, i := range []int{1, 2, 11} {
			if read := d.entry("GET", all[i].ID, 200); read.RequestBody != "" || len(read.Changes) > 0 {
				t.Errorf("a read has %+v", read)
			}
		}
		for query, want := range map[string]int{
			"person=" + ann: 5, "person=aNN%40example.com": 6, "person=x-2": 1, "status=4xx": 4, "status=409": 1, "status=2xx": 9, "status=5xx": 0,
			"operation=PATCH": 2, "resource_type=Group": 3, "connection=" + all[0].Connection: 13, "connection=nobody": 0, "limit=5": 5,
			"from=2000-01-01T00:00:00Z": 13, "to=2000-01-01T00:00:00Z": 0, "cursor=" + all[5].ID: 5, "from=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339): 0,
		} {
			if got := d.log(query); len(got) != want {
				t.Errorf("%s: got %d entries, want %d", query, len(got), want)
			}
		}
		// Of another tenant there is nothing, by whichever way.
		if lines := other.log(""); len(lines) != 1 {
			t.Errorf("the other tenant has %d entries", len(lines))
		}
		other.entry("GET", all[0].ID, 404)
		other.entry("POST", all[0].ID+"/replay", 404)
		for _, authorization := range []string{"Bearer " + d.token, "Bearer nobody", ""} {
			if got := asks(t, handler, "GET", "/api/v1/tenants/berlin/provisioning-log", authorization, ""); got.Code != 401 {
				t.Errorf("%q reads the log: %d", authorization, got.Code)
			}
		}
	})
}

func TestProvisioningLogHasNoSecrets(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d := newDirectory(t, in, handler, "berlin")
		const planted = "Pl4nted-S3cret"
		const urn = "urn:ietf:params:scim:schemas:core:2.0:User"
		ann := d.scim("POST", "/Users", user("ann@example.com", ""), 201)["id"].(string)
		bodies := []string{
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"b@example.com","password":"` + planted + `"}`,
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"c@example.com","PassWord":{"x":["` + planted + `"]}}`,
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"d@example.com","urn:example:x":{"apiToken":"` + planted + `","client_secret":"` + planted + `"}}`,
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ann@example.com","` + urn + `:password":"` + planted + `"}`,
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"e@example.com","password":"` + planted + `"`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"password","value":"` + planted + `"}]}`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"` + urn + `:PASSWORD","value":"` + planted + `"}]}`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"password[value eq \"` + planted + `\"].value","value":"` + planted + `"}]}`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"password":"` + planted + `"}}]}`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"password[value eq \"` + planted + `\"].x":"y"}}]}`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{"method":"POST","path":"/Users","bulkId":"1","data":{"userName":"f","password":"` + planted + `"}}]}`,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"password eq \"` + planted + `\""}`,
		}
		sent := 0
		for _, body := range bodies {
			for _, to := range []string{"POST /Users", "PUT /Users/" + ann, "PATCH /Users/" + ann, "POST /Groups", "POST /Bulk", "POST /.search"} {
				method, path, _ := strings.Cut(to, " ")
				asks(t, handler, method, "/t/berlin/scim/v2"+path, "Bearer "+d.token, body)
				sent++
			}
		}
		for _, query := range []string{"access_token=" + planted, "filter=" + url.QueryEscape(`password eq "`+planted+`"`), planted, "attributes=password&x=" + planted} {
			asks(t, handler, "GET", "/t/berlin/scim/v2/Users?"+query, "Bearer "+d.token, "")
			sent++
		}
		asks(t, handler, "GET", "/t/berlin/scim/v2/Users", "Basic "+planted, "")
		asks(t, handler, "GET", "/t/berlin/scim/v2/Users", "Bearer rc_"+planted, "")
		lines := d.log("limit=200")
		if len(lines) < sent {
			t.Fatalf("%d entries of %d requests", len(lines), sent)
		}
		kept := 0
		for _, line := range lines {
			whole := asks(t, handler, "GET", "/api/v1/tenants/berlin/provisioning-log/"+line.ID, "Bearer "+instanceToken, "").Body.String()
			if strings.Contains(whole, planted) || strings.Contains(whole, d.token) {
				t.Errorf("the secret is in %s", whole)
			}
			if strings.Contains(whole, provisioning.Redacted) {
				kept++
			}
		}
		if kept < 20 {
			t.Errorf("only %d entries say that something was redacted", kept)
		}
	})
}

func TestProvisioningLogBoundsWhatStrangersCause(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d := newDirectory(t, in, handler, "berlin")
		for i := range 300 {
			asks(t, handler, "GET", "/t/berlin/scim/v2/Users", fmt.Sprintf("Bearer guess-%d", i), "")
			asks(t, handler, "GET", fmt.Sprintf("/t/nobody-%d/scim/v2/Users", i), "Bearer guess", "")
		}
		asks(t, handler, "GET", "/t/"+string(d.tenant.ID)+"/scim/v2/Users", "", "")
		lines := d.log("limit=200")
		if n := len(lines); n < 20 || n > 50 { // a minute may begin in between
			t.Errorf("%d entries of 301 requests", n)
		}
		for _, line := range lines {
			// the request without a token has its entry too if a minute has just begun
			known := line.Code == provisioning.CodeUnknownToken || line.Code == provisioning.CodeNoToken
			if line.Status != 401 || !known || line.Reason == "" || line.Fix == "" {
				t.Errorf("%+v", line)
			}
		}
	})
}

func TestProvisioningLogLosesNothingAtAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d := newDirectory(t, in, handler, "berlin")
		ctx, end := context.WithCancel(t.Context())
		defer end()
		ended := make(chan error, 1)
		go func() { ended <- in.provisioning.Run(ctx) }()
		const requests = 1500
		for i := range requests {
			if i == requests/2 {
				end()
			}
			d.scim("GET", "/Users?count=0", "", 200)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := in.provisioning.Flush(context.WithoutCancel(ctx)); err != nil {
			t.Fatal(err)
		}
		count := 0
		for cursor := ""; ; {
			lines := must[[]provisioning.Entry](t)(in.store.ProvisioningEntries(t.Context(), d.tenant.ID, provisioning.Query{After: id.ProvisioningEntry(cursor), Limit: 200}))
			if count += len(lines); len(lines) < 200 {
				break
			}
			cursor = string(lines[199].ID)
		}
		if count != requests {
			t.Errorf("%d entries of %d requests", count, requests)
		}
	})
}

// rows counts the rows of every table.
func rows(t *testing.T, in *instance) map[string]int {
	t.Helper()
	driver, address, tables := "pgx", in.config.DatabaseURL, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	if path, embedded := strings.CutPrefix(address, "sqlite:"); embedded {
		driver, address, tables = "sqlite", path, "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	db := must[*sql.DB](t)(sql.Open(driver, address))
	defer func() { _ = db.Close() }()
	found := must[*sql.Rows](t)(db.QueryContext(t.Context(), tables)) //nolint:rowserrcheck // below
	var names []string
	for found.Next() {
		var name string
		if err := found.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := errors.Join(found.Err(), found.Close()); err != nil { //nolint:sqlclosecheck // before the next query
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, name := range names {
		n := 0
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM "`+name+`"`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		counts[name] = n
	}
	if len(counts) < 30 {
		t.Fatalf("only %d tables", len(counts))
	}
	return counts
}

func TestReplayLeavesNothing(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		handler := handlerOf(t, in)
		d := newDirectory(t, in, handler, "berlin")
		patch := func(operation string) string {
			return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operation + `]}`
		}
		ann := d.scim("POST", "/Users", user("ann@example.com", "x-1"), 201)["id"].(string)
		bob := d.scim("POST", "/Users", user("bob@example.com", "x-2"), 201)["id"].(string)
		d.scim("POST", "/Users", user("ann@example.com", "x-3"), 409)
		d.scim("DELETE", "/Users/"+bob, "", 204)
		d.scim("POST", "/Users", strings.Replace(user("zoe@example.com", "x-4"), `"name"`, `"password":"correct horse battery staple 7","name"`, 1), 201)
		d.scim("PATCH", "/Users/"+ann, patch(`{"op":"replace","value":{"active":false}}`), 200)
		d.scim("PATCH", "/Users/"+ann, patch(`{"op":"replace","value":{"active":true}}`), 200)
		group := d.scim("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Sales"}`, 201)["id"].(string)
		d.scim("PATCH", "/Groups/"+group, patch(`{"op":"add","path":"members","value":[{"value":"`+ann+`"}]}`), 204)
		d.scim("PATCH", "/Groups/"+group, patch(`{"op":"remove","path":"members"}`), 204)
		d.scim("GET", "/Users?filter="+url.QueryEscape(`userName eq "ann@example.com"`), "", 200)
		d.scim("DELETE", "/Groups/"+group, "", 204)
		d.scim("POST", "/Users", `{"userName":`, 400)

		lines := d.log("limit=200")
		slices.Reverse(lines)
		d.scim("POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{"method":"POST","path":"/Users","bulkId":"1","data":`+
			user("bulk@example.com", "x-9")+`}]}`, 200)
		bulk := d.log("limit=2") // the operation has begun after the whole
		if part := d.entry("POST", bulk[0].ID+"/replay", 200); part.Status != 409 || bulk[0].Status != 201 || bulk[0].Name != "bulk@example.com" {
			t.Errorf("the operation of a bulk request: %+v, replayed %+v", bulk[0], part)
		}
		d.entry("POST", bulk[1].ID+"/replay", 409)
		before := rows(t, in)
		state := d.scim("GET", "/Users/"+ann, "", 200)
		var got []string
		for _, line := range lines[:12] {
			now := d.entry("POST", line.ID+"/replay", 200)
			if now.ID != "" || now.Replayable {
				t.Errorf("what would happen is an entry: %+v", now)
			}
			changes := []string{}
			for _, c := range now.Changes {
				changes = append(changes, c.Attribute)
			}
			got = append(got, fmt.Sprint(line.Method, " ", line.Status, " → ", now.Status, " ", now.SCIMType, " ", now.Name, " ", changes))
		}
		want := []string{
			"POST 201 → 409 uniqueness ann@example.com []",
			"POST 201 → 201  bob@example.com [active externalId name.familyName name.givenName userName]", // bob has been deleted since
			"POST 409 → 409 uniqueness ann@example.com []",
			"DELETE 204 → 404   []",
			"POST 201 → 409 uniqueness zoe@example.com []",
			"PATCH 200 → 200  ann@example.com [active]",
			"PATCH 200 → 200  ann@example.com []",
			"POST 201 → 201  Sales [displayName]",
			"PATCH 204 → 404   []",
			"PATCH 204 → 404   []",
			"GET 200 → 200  ann@example.com []",
			"DELETE 204 → 404   []",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		d.entry("POST", lines[12].ID+"/replay", 409)
		after := rows(t, in)
		before["provisioning_log"]++ // the look at ann
		for table, n := range after {
			if n != before[table] {
				t.Errorf("%s has %d rows, had %d", table, n, before[table])
			}
		}
		if now := d.scim("GET", "/Users/"+ann, "", 200); fmt.Sprint(now) != fmt.Sprint(state) {
			t.Errorf("ann was %v, is %v", state, now)
		}
	})
}

func TestProvisioningLogIsKeptForDays(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		for slug, days := range map[string]int{"short": 2, "usual": 0} {
			tenant := must[*directory.Tenant](t)(in.directory.SaveTenant(ctx, directory.TenantSpec{
				Slug: slug, Blueprint: "default", Policy: &directory.Policy{ProvisioningLogDays: days},
			}))
			for age := range 40 {
				in.provisioning.Add(&provisioning.Record{Entry: provisioning.Entry{Tenant: tenant.ID, Status: 200, Time: in.now().AddDate(0, 0, -age).Add(time.Minute)}})
			}
			if err := errors.Join(in.provisioning.Flush(ctx), in.provisioning.Clean(ctx)); err != nil {
				t.Fatal(err)
			}
			left := must[[]provisioning.Entry](t)(in.store.ProvisioningEntries(ctx, tenant.ID, provisioning.Query{Limit: 100}))
			want := days + 1
			if days == 0 {
				want = provisioning.KeptDays + 1
			}
			if len(left) != want {
				t.Errorf("%s: %d entries are left, want %d", slug, len(left), want)
			}
		}
	})
}
