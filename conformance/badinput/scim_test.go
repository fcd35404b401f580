package badinput

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
)

func TestMain(m *testing.M) { os.Exit(instance.Main(m)) }

const (
	token        = "rcs-main-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"
	foreignToken = "rcs-other-Zt5uK1nB8mVx3CqWe7Hs4DjLf9Ga2Ry6"

	instanceFile = `
tenants:
- {slug: main, name: Main, connections: [{name: directory, profile: rfc, token: ` + token + `}]}
- {slug: other, name: Other, connections: [{name: directory, profile: rfc, token: ` + foreignToken + `}]}
`
	userSchema  = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`
	groupSchema = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
	patchSchema = `"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"]`
)

// endpoint is a tenant's SCIM endpoint.
type endpoint struct{ base, token string }

// answer is a response.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (a answer) text(name string) string {
	value, _ := a.body[name].(string)
	return value
}

func (e endpoint) send(t *testing.T, method, path, contentType string, body io.Reader) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, e.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if e.token != "" {
		request.Header.Set("Authorization", "Bearer "+e.token)
	}
	request.Header.Set("Content-Type", contentType)
	client := &http.Client{Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	content, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, raw: string(content)}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &a.body); err != nil {
			t.Errorf("%s %s: the body is no JSON: %.200s", method, path, content)
		}
	}
	return a
}

func (e endpoint) do(t *testing.T, method, path, body string) answer {
	t.Helper()
	return e.send(t, method, path, "application/scim+json", strings.NewReader(body))
}

// create makes a resource that must be made, and returns its id.
func (e endpoint) create(t *testing.T, path, body string) string {
	t.Helper()
	made := e.do(t, http.MethodPost, path, body)
	if made.status != http.StatusCreated {
		t.Fatalf("POST %s: got %d %s, want 201", path, made.status, made.raw)
	}
	return made.text("id")
}

// wantError fails the test unless a is an error as RFC 7644 §3.12 has it, whose
// detail names the field.
func wantError(t *testing.T, what string, a answer, status int, scimType, field string) {
	t.Helper()
	if a.status != status || a.text("status") != fmt.Sprint(status) || a.text("scimType") != scimType {
		t.Errorf("%s: got %d %.300s, want %d %s", what, a.status, a.raw, status, scimType)
		return
	}
	if got := fmt.Sprint(a.body["schemas"]); got != "[urn:ietf:params:scim:api:messages:2.0:Error]" {
		t.Errorf("%s: got schemas %s, want the error's", what, got)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/scim+json") {
		t.Errorf("%s: got Content-Type %q, want application/scim+json", what, a.header.Get("Content-Type"))
	}
	detail := a.text("detail")
	if detail == "" || !strings.Contains(strings.ToLower(detail), strings.ToLower(field)) {
		t.Errorf("%s: the detail %q does not name %s", what, detail, field)
	}
	for _, internal := range []string{"SQLSTATE", "constraint", "pgx", "gorm", "sqlite", "goroutine", ".go:", "reflect", "json:", "Go value", "unmarshal"} {
		if strings.Contains(detail, internal) {
			t.Errorf("%s: the detail shows what is inside: %q", what, detail)
		}
	}
}

// snapshot is everything that a tenant holds.
func (e endpoint) snapshot(t *testing.T) string {
	t.Helper()
	users := e.do(t, http.MethodGet, "/Users?count=200&sortBy=userName", "")
	groups := e.do(t, http.MethodGet, "/Groups?count=200&sortBy=displayName", "")
	if users.status != http.StatusOK || groups.status != http.StatusOK {
		t.Fatalf("lists: got %d and %d, want 200", users.status, groups.status)
	}
	return users.raw + "\n" + groups.raw
}

// seeded is an endpoint with a user and a group that has him as member.
func seeded(t *testing.T, i *instance.Instance) (e endpoint, user, group string) {
	t.Helper()
	e = endpoint{i.URL + "/t/main/scim/v2", token}
	user = e.create(t, "/Users", `{`+userSchema+`,"userName":"Ann@main.example","name":{"givenName":"Ann"},"emails":[{"type":"work","value":"ann@main.example"}]}`)
	group = e.create(t, "/Groups", `{`+groupSchema+`,"displayName":"Staff","members":[{"value":"`+user+`"}]}`)
	return e, user, group
}

// TestBodies: RFC 7644 §3.12 for what a request carries.
func TestBodies(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		e, user, group := seeded(t, i)
		before := e.snapshot(t)
		for name, tt := range map[string]struct {
			method, path, body string
			status             int
			scimType, field    string
		}{
			"malformed JSON":              {"POST", "/Users", `{` + userSchema + `,"userName":"x"`, 400, "invalidSyntax", ""},
			"JSON and more":               {"POST", "/Users", `{` + userSchema + `,"userName":"x"} {}`, 400, "invalidSyntax", ""},
			"nothing":                     {"POST", "/Users", ``, 400, "invalidSyntax", ""},
			"a list":                      {"POST", "/Users", `[]`, 400, "invalidSyntax", ""},
			"null":                        {"POST", "/Users", `null`, 400, "invalidSyntax", ""},
			"not UTF-8":                   {"POST", "/Users", `{` + userSchema + `,"userName":"` + "\xff\xfe" + `"}`, 400, "invalidSyntax", ""},
			"deep nesting":                {"POST", "/Users", `{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 400, "invalidSyntax", ""},
			"no schemas":                  {"POST", "/Users", `{"userName":"x"}`, 400, "invalidValue", "schemas"},
			"an empty list of schemas":    {"POST", "/Users", `{"schemas":[],"userName":"x"}`, 400, "invalidValue", "schemas"},
			"an unknown schema alone":     {"POST", "/Users", `{"schemas":["urn:example:User"],"userName":"x"}`, 400, "invalidValue", "schemas"},
			"the schema of a group":       {"POST", "/Users", `{` + groupSchema + `,"userName":"x"}`, 400, "invalidValue", "schemas"},
			"no userName":                 {"POST", "/Users", `{` + userSchema + `}`, 400, "invalidValue", "userName"},
			"an empty userName":           {"POST", "/Users", `{` + userSchema + `,"userName":""}`, 400, "invalidValue", "userName"},
			"a userName of spaces":        {"POST", "/Users", `{` + userSchema + `,"userName":"  "}`, 400, "invalidValue", "userName"},
			"a number for userName":       {"POST", "/Users", `{` + userSchema + `,"userName":7}`, 400, "invalidValue", "userName"},
			"a list for userName":         {"POST", "/Users", `{` + userSchema + `,"userName":["x","y"]}`, 400, "invalidValue", "userName"},
			"a text for name":             {"POST", "/Users", `{` + userSchema + `,"userName":"x","name":"Ann"}`, 400, "invalidValue", "name"},
			"a number for a part of name": {"POST", "/Users", `{` + userSchema + `,"userName":"x","name":{"givenName":1}}`, 400, "invalidValue", "givenName"},
			"a text for emails":           {"POST", "/Users", `{` + userSchema + `,"userName":"x","emails":"a@b.c"}`, 400, "invalidValue", "emails"},
			"a text for active":           {"POST", "/Users", `{` + userSchema + `,"userName":"x","active":"perhaps"}`, 400, "invalidValue", "active"},
			"two primary addresses":       {"POST", "/Users", `{` + userSchema + `,"userName":"x","emails":[{"value":"a@b.c","primary":true},{"value":"d@e.f","primary":true}]}`, 400, "invalidValue", "emails"},
			"a key twice":                 {"POST", "/Users", `{` + userSchema + `,"userName":"x","userName":"y"}`, 400, "invalidSyntax", "userName"},
			"userName in another case":    {"POST", "/Users", `{` + userSchema + `,"userName":"ANN@MAIN.EXAMPLE"}`, 409, "uniqueness", "userName"},
			"PUT without userName":        {"PUT", "/Users/" + user, `{` + userSchema + `}`, 400, "invalidValue", "userName"},
			"PUT of nobody":               {"PUT", "/Users/0192d7f2-0000-7000-8000-000000000000", `{` + userSchema + `,"userName":"x"}`, 404, "", ""},
			"GET of no id":                {"GET", "/Users/no-id", ``, 404, "", ""},
			"no displayName":              {"POST", "/Groups", `{` + groupSchema + `}`, 400, "invalidValue", "displayName"},
			"an unknown member":           {"POST", "/Groups", `{` + groupSchema + `,"displayName":"New","members":[{"value":"` + user + `"},{"value":"0192d7f2-0000-7000-8000-000000000000"}]}`, 400, "invalidValue", "members"},
			"a member without value":      {"PUT", "/Groups/" + group, `{` + groupSchema + `,"displayName":"Staff","members":[{"display":"Ann"}]}`, 400, "invalidValue", "members"},
			"an address that is none":     {"GET", "/Nothing", ``, 404, "", ""},
			"a method that is none":       {"PUT", "/Users", `{}`, 405, "", ""},
		} {
			a := e.do(t, tt.method, tt.path, tt.body)
			wantError(t, name, a, tt.status, tt.scimType, tt.field)
		}
		if diff := e.snapshot(t); diff != before {
			t.Errorf("something was written:\n%s\nwas:\n%s", diff, before)
		}
	})
}

// TestPatches: RFC 7644 §3.5.2. An operation that fails undoes those before it.
func TestPatches(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		e, user, group := seeded(t, i)
		before := e.snapshot(t)
		for name, tt := range map[string]struct {
			path, operations string
			scimType, field  string
		}{
			"no operations":           {"/Users/" + user, ``, "invalidSyntax", "operations"},
			"an unknown op":           {"/Users/" + user, `{"op":"merge","path":"title","value":"x"}`, "invalidSyntax", "op"},
			"no op":                   {"/Users/" + user, `{"path":"title","value":"x"}`, "invalidSyntax", "op"},
			"a broken path":           {"/Users/" + user, `{"op":"add","path":"emails[type eq","value":"x"}`, "invalidPath", ""},
			"a path of no name":       {"/Users/" + user, `{"op":"add","path":"[]","value":"x"}`, "invalidPath", ""},
			"an unknown attribute":    {"/Users/" + user, `{"op":"add","path":"nonsense","value":"x"}`, "invalidPath", "nonsense"},
			"add without a value":     {"/Users/" + user, `{"op":"add","path":"title"}`, "invalidValue", "value"},
			"remove without a path":   {"/Users/" + user, `{"op":"remove"}`, "noTarget", "path"},
			"remove of userName":      {"/Users/" + user, `{"op":"remove","path":"userName"}`, "mutability", "userName"},
			"another id":              {"/Users/" + user, `{"op":"replace","value":{"id":"x"}}`, "mutability", "id"},
			"groups of a user":        {"/Users/" + user, `{"op":"add","path":"groups","value":[{"value":"` + group + `"}]}`, "mutability", "groups"},
			"a filter that fits none": {"/Users/" + user, `{"op":"replace","path":"emails[type eq \"nonexistent\"].value","value":"x@y.z"}`, "noTarget", ""},
			"a wrong type":            {"/Users/" + user, `{"op":"replace","path":"name","value":"Ann"}`, "invalidValue", "name"},
			"the second fails":        {"/Users/" + user, `{"op":"replace","path":"title","value":"Boss"},{"op":"replace","path":"name.givenName","value":7}`, "invalidValue", "givenName"},
			"an unknown member":       {"/Groups/" + group, `{"op":"remove","path":"members"},{"op":"add","path":"members","value":[{"value":"0192d7f2-0000-7000-8000-000000000000"}]}`, "invalidValue", "members"},
			"members without value":   {"/Groups/" + group, `{"op":"replace","path":"members","value":[{"display":"Ann"}]}`, "invalidValue", "members"},
			"members by an unknown":   {"/Groups/" + group, `{"op":"replace","path":"members","value":[{"value":"nobody"}]}`, "invalidValue", "members"},
			"a group in itself":       {"/Groups/" + group, `{"op":"add","path":"members","value":[{"value":"` + group + `"}]}`, "invalidValue", "members"},
		} {
			a := e.do(t, http.MethodPatch, tt.path, `{`+patchSchema+`,"Operations":[`+tt.operations+`]}`)
			wantError(t, name, a, http.StatusBadRequest, tt.scimType, tt.field)
		}
		for name, body := range map[string]string{"another message": `{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"Operations":[]}`, "no message": `{"Operations":[{"op":"add","path":"title","value":"x"}]}`} {
			wantError(t, name, e.do(t, http.MethodPatch, "/Users/"+user, body), http.StatusBadRequest, "invalidSyntax", "schemas")
		}
		if diff := e.snapshot(t); diff != before {
			t.Errorf("something was written:\n%s\nwas:\n%s", diff, before)
		}
	})
}

// TestQueries: RFC 7644 §3.4.2. What is not understood is refused, never answered
// with the wrong rows.
func TestQueries(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		e, _, _ := seeded(t, i)
		for _, filter := range []string{
			`userName`, `userName eq`, `userName eq ann`, `userName eq "ann`, `eq "ann"`, `userName is "ann"`, `userName eq "a" and`, `and userName pr`,
			`(userName pr`, `userName pr)`, `not userName pr`, `emails[type eq "work"`, `emails[type eq "work" and emails[value pr]]`, `userName sw O`,
			`nonsense eq "x"`, `urn:example:User:userName eq "x"`, `name.nonsense eq "x"`, `active gt true`, `meta.created gt "yesterday"`, `userName eq "\x"`,
			`password eq "x"`, strings.Repeat("(", 2000) + "userName pr" + strings.Repeat(")", 2000), strings.Repeat(`userName pr and `, 2000) + "userName pr",
		} {
			a := e.do(t, http.MethodGet, "/Users?filter="+url.QueryEscape(filter), "")
			if a.status != http.StatusBadRequest || (a.text("scimType") != "invalidFilter" && a.text("scimType") != "tooMany") {
				t.Errorf("%.80s: got %d %.300s, want 400 invalidFilter", filter, a.status, a.raw)
			}
		}
		wantError(t, "a position", e.do(t, http.MethodGet, "/Users?filter="+url.QueryEscape(`userName eqq "x"`), ""), http.StatusBadRequest, "invalidFilter", "character 10")
		for query, field := range map[string]string{"startIndex=x": "startIndex", "count=many": "count", "sortOrder=sideways&sortBy=userName": "sortOrder", "attributes=userName&excludedAttributes=name": "attributes"} {
			wantError(t, query, e.do(t, http.MethodGet, "/Users?"+query, ""), http.StatusBadRequest, "invalidValue", field)
		}
		wantError(t, "sortBy", e.do(t, http.MethodGet, "/Users?sortBy=nonsense", ""), http.StatusBadRequest, "invalidPath", "nonsense")
		for query, want := range map[string]float64{"startIndex=0&count=1": 1, "startIndex=-5": 1, "count=-1": 0, "count=0": 0, "startIndex=99": 0} {
			a := e.do(t, http.MethodGet, "/Users?"+query, "")
			if a.status != http.StatusOK || a.body["totalResults"] != 1.0 || a.body["itemsPerPage"] != want {
				t.Errorf("%s: got %d %.300s, want 200 with %v of 1", query, a.status, a.raw, want)
			}
		}
	})
}

// TestLargeBody: more than the limit is refused before it is read, whether its
// length is told or not.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		e, user, _ := seeded(t, i)
		before := e.snapshot(t)
		const size = 20 << 20
		body := []byte(`{` + userSchema + `,"userName":"large","displayName":"` + strings.Repeat("x", size) + `"}`)
		for name, reader := range map[string]func() io.Reader{
			"told":     func() io.Reader { return bytes.NewReader(body) },
			"not told": func() io.Reader { return struct{ io.Reader }{bytes.NewReader(body)} },
		} {
			for _, request := range [][2]string{{http.MethodPost, "/Users"}, {http.MethodPut, "/Users/" + user}, {http.MethodPatch, "/Users/" + user}} {
				wantError(t, request[0]+", length "+name, e.send(t, request[0], request[1], "application/scim+json", reader()), http.StatusRequestEntityTooLarge, "", "")
			}
		}
		if e.snapshot(t) != before {
			t.Error("something was written")
		}
	})
}

// TestMediaType: what is not JSON is not taken for it.
func TestMediaType(t *testing.T) {
	t.Parallel()
	e, _, _ := seeded(t, instance.Start(t, "", instanceFile))
	body := `{` + userSchema + `,"userName":"typed"}`
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data"} {
		if a := e.send(t, http.MethodPost, "/Users", contentType, strings.NewReader(body)); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: got %d %.200s, want 415", contentType, a.status, a.raw)
		}
	}
}

// TestCredentials: RFC 7644 §2 and §3.12.
func TestCredentials(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		e, _, _ := seeded(t, i)
		for name, credential := range map[string]string{"missing": "", "unknown": "nonsense", "foreign": foreignToken} {
			a := endpoint{e.base, credential}.do(t, http.MethodGet, "/Users", "")
			wantError(t, name, a, http.StatusUnauthorized, "", "")
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: got WWW-Authenticate %q, want Bearer", name, a.header.Get("WWW-Authenticate"))
			}
		}
	})
}
