package scim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
)

// state is everything that clients can see of a tenant.
func state(c *client) string {
	return string(c.get("/Users?count=200&sortBy=id").want(http.StatusOK).Body) + string(c.get("/Groups?count=200&sortBy=id").want(http.StatusOK).Body)
}

// Whatever is wrong with a request, the answer says what and where, and nothing
// of the request remains.
func TestBadInput(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ann, group := c.user("ann"), c.group("G")
		c.user("bob")
		user := func(extra string) string { return `{"schemas":["` + userURN + `"],"userName":"new"` + extra + `}` }
		for _, test := range []struct {
			name, method, path string
			body               any
			status             int
			scimType           string
			details            []string
		}{
			{"no JSON", "POST", "/Users", "userName=ann", 400, "invalidSyntax", []string{"line 1, column 1"}},
			{"empty", "POST", "/Users", "", 400, "invalidSyntax", []string{"JSON object"}},
			{"half of it", "POST", "/Users", `{"schemas":[`, 400, "invalidSyntax", []string{"ends in the middle"}},
			{"a comma too many", "POST", "/Users", "{\n \"userName\": \"x\",,}", 400, "invalidSyntax", []string{"line 2, column 17"}},
			{"no object", "POST", "/Users", `[1]`, 400, "invalidSyntax", []string{"JSON object"}},
			{"null", "POST", "/Users", `null`, 400, "invalidSyntax", []string{"JSON object"}},
			{"more after the end", "POST", "/Users", user("") + ` {}`, 400, "invalidSyntax", []string{"after the end"}},
			{"a name twice", "POST", "/Users", user(`,"userName":"other"`), 400, "invalidSyntax", []string{`"userName"`, "twice"}},
			{"a name twice in another case", "POST", "/Users", user(`,"username":"other"`), 400, "invalidValue", []string{"userName"}},
			{"no UTF-8", "POST", "/Users", user(",\"title\":\"\xff\""), 400, "invalidSyntax", []string{"UTF-8", "line 1"}},
			{"U+0000", "POST", "/Users", user(`,"title":"a\u0000b"`), 400, "invalidSyntax", []string{"U+0000"}},
			{"too deep", "POST", "/Users", user(`,"title":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000)), 400, "invalidSyntax", []string{"32"}},
			{"no schemas", "POST", "/Users", `{"userName":"new"}`, 400, "invalidValue", []string{"schemas"}},
			{"empty schemas", "POST", "/Users", `{"schemas":[],"userName":"new"}`, 400, "invalidValue", []string{"schemas"}},
			{"an unknown schema", "POST", "/Users", `{"schemas":["` + userURN + `","urn:example:Robot"],"userName":"new"}`, 400, "invalidValue", []string{"schemas", "urn:example:Robot"}},
			{"another type's schema", "POST", "/Users", `{"schemas":["` + groupURN + `"],"userName":"new"}`, 400, "invalidValue", []string{"schemas", groupURN}},
			{"no userName", "POST", "/Users", `{"schemas":["` + userURN + `"]}`, 400, "invalidValue", []string{"userName", "required"}},
			{"an empty userName", "POST", "/Users", `{"schemas":["` + userURN + `"],"userName":" "}`, 400, "invalidValue", []string{"userName"}},
			{"a number for a string", "POST", "/Users", user(`,"displayName":7`), 400, "invalidValue", []string{"displayName", "string"}},
			{"a string for a boolean", "POST", "/Users", user(`,"active":"yes"`), 400, "invalidValue", []string{"active", "true or false"}},
			{"a string for an object", "POST", "/Users", user(`,"name":"Ann"`), 400, "invalidValue", []string{"name", "object"}},
			{"an object for a list", "POST", "/Users", user(`,"emails":{"value":"x"}`), 400, "invalidValue", []string{"emails", "array"}},
			{"two primary values", "POST", "/Users", user(`,"emails":[{"value":"a","primary":true},{"value":"b","primary":true}]`), 400, "invalidValue", []string{"emails.primary"}},
			{"userName taken in another case", "POST", "/Users", `{"schemas":["` + userURN + `"],"userName":"ANN"}`, 409, "uniqueness", []string{"userName"}},
			{"PUT to a taken userName", "PUT", "/Users/" + ann, `{"schemas":["` + userURN + `"],"userName":"Bob"}`, 409, "uniqueness", []string{"userName"}},
			{"no displayName", "POST", "/Groups", `{"schemas":["` + groupURN + `"]}`, 400, "invalidValue", []string{"displayName"}},
			{"a member without value", "POST", "/Groups", `{"schemas":["` + groupURN + `"],"displayName":"x","members":[{"display":"Ann"}]}`, 400, "invalidValue", []string{"members"}},
			{"an unknown member", "POST", "/Groups", `{"schemas":["` + groupURN + `"],"displayName":"x","members":[{"value":"` + ann + `"},{"value":"nobody"}]}`, 400, "invalidValue", []string{"members", "nobody"}},
			{"no PatchOp", "PATCH", "/Users/" + ann, map[string]any{"Operations": []any{op("add", "title", "x")}}, 400, "invalidSyntax", []string{"schemas", patchURN}},
			{"no operations", "PATCH", "/Users/" + ann, patchOf(), 400, "invalidSyntax", []string{"Operations"}},
			{"an unknown operation", "PATCH", "/Users/" + ann, patchOf(op("move", "title", "x")), 400, "invalidSyntax", []string{"Operations[0]", "op"}},
			{"a bad path", "PATCH", "/Users/" + ann, patchOf(op("add", "emails[", "x")), 400, "invalidPath", []string{"Operations[0]", "path"}},
			{"a path to nothing", "PATCH", "/Users/" + ann, patchOf(op("add", "hats", "x")), 400, "invalidPath", []string{"hats"}},
			{"a bad filter in a path", "PATCH", "/Users/" + ann, patchOf(op("add", "title", "x"), op("replace", `emails[type xx "a"].value`, "x")), 400, "invalidPath", []string{"Operations[1]"}},
			{"a value of the wrong type", "PATCH", "/Users/" + ann, patchOf(op("add", "title", "x"), op("replace", "active", "maybe")), 400, "invalidValue", []string{"Operations[1]", "active"}},
			{"an operation without value", "PATCH", "/Users/" + ann, patchOf(op("add", "title", nil)), 400, "invalidValue", []string{"Operations[0]", "value"}},
			{"an unknown member by PATCH", "PATCH", "/Groups/" + group, patchOf(op("replace", "displayName", "H"), op("replace", "members", values("nobody"))), 400, "invalidValue", []string{"members", "nobody"}},
			{"too many operations", "PATCH", "/Users/" + ann, patchOf(slicesRepeat(op("add", "title", "x"), 1001)...), 400, "tooMany", []string{"1000"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				before := state(c)
				c.send(test.method, test.path, test.body).fails(test.status, test.scimType, test.details...)
				if diff := cmp.Diff(before, state(c)); diff != "" {
					t.Errorf("something was written (-before +after):\n%s", diff)
				}
			})
		}
	})
}

func slicesRepeat(o map[string]any, n int) []map[string]any {
	all := make([]map[string]any, n)
	for i := range all {
		all[i] = maps.Clone(o)
	}
	return all
}

func TestBodySizeAndType(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		body := func(size int) []byte {
			text := []byte(`{"schemas":["` + userURN + `"],"userName":"large","title":"`)
			return append(append(text, bytes.Repeat([]byte("x"), size-len(text)-2)...), `"}`...)
		}
		before := state(c)
		for _, size := range []int{1<<20 + 1, 20 << 20} {
			c.send("POST", "/Users", body(size)).fails(http.StatusRequestEntityTooLarge, "", "1048576")
			// Without a length beforehand.
			c.with("Transfer-Encoding", "chunked").send("POST", "/Users", body(size)).fails(http.StatusRequestEntityTooLarge, "", "1048576")
		}
		if diff := cmp.Diff(before, state(c)); diff != "" {
			t.Errorf("something was written:\n%s", diff)
		}
		c.send("POST", "/Users", body(1<<20)).want(http.StatusCreated)

		for contentType, status := range map[string]int{
			"application/scim+json": 201, "application/json": 201, "application/json; charset=utf-8": 201, "Application/SCIM+JSON;charset=UTF-8": 201,
			"application/x-www-form-urlencoded": 415, "text/plain": 415, "application/xml": 415, "application/json; charset=utf-16": 415, "json": 415, "application/json;": 201,
		} {
			r := c.with("Content-Type", contentType).send("POST", "/Users", map[string]any{"schemas": []string{userURN}, "userName": contentType})
			if status == http.StatusUnsupportedMediaType {
				r.fails(status, "", "expected")
			} else {
				r.want(status)
			}
		}
		c.with("Content-Type", "text/html").with("Accept", "application/scim+json; charset=utf-8").get("/Users").want(http.StatusOK)
	})
}

// A client that reads only after it has sent everything gets the answer, not a
// broken connection.
func TestBodySizeForAPatientWriter(t *testing.T) {
	each(t, sendPatiently)
}

func sendPatiently(t *testing.T, in *instance) {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(in.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const size = 20 << 20
	_, err = fmt.Fprintf(conn, "POST /t/acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", token("acme", directory.ProfileRFC), size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(bytes.Repeat([]byte(" "), size)); err != nil {
		t.Fatalf("the server does not take the body: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the server does not answer: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", res.StatusCode)
	}
}

func TestErrorBodies(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		c.user("ann")
		all := map[string]json.RawMessage{}
		for name, r := range map[string]*response{
			"400 invalidFilter": c.get("/Users?filter=nothing%20pr"),
			"401":               c.with("Authorization", "Bearer wrong").get("/Users"),
			"404":               c.get("/Users/2819c223"),
			"405":               c.send("DELETE", "/Users", nil),
			"409":               c.send("POST", "/Users", map[string]any{"schemas": []string{userURN}, "userName": "Ann"}),
			"415":               c.with("Content-Type", "text/plain").send("POST", "/Users", "x"),
			"501":               c.send("POST", "/Me", map[string]any{}),
		} {
			all[name] = r.Body
		}
		body, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "errors", body)
	})
}

func TestAuthentication(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		secret := token("acme", directory.ProfileRFC)
		for _, header := range []string{"Bearer " + secret, "bearer " + secret, "BEARER  " + secret, secret} {
			c.with("Authorization", header).get("/Users").want(http.StatusOK)
		}
		var refused []byte
		for name, call := range map[string]*response{
			"missing":           (&client{t: t, in: in, tenant: "acme", header: http.Header{}}).get("/Users"),
			"empty":             c.with("Authorization", "").get("/Users"),
			"wrong":             c.with("Authorization", "Bearer "+secret+"x").get("/Users"),
			"another scheme":    c.with("Authorization", "Basic "+secret).get("/Users"),
			"in the query":      (&client{t: t, in: in, tenant: "acme", header: http.Header{}}).get("/Users?access_token=" + secret),
			"foreign":           in.of(t, "umbrella", directory.ProfileRFC).at("acme").get("/Users"),
			"of no tenant":      c.at("nowhere").get("/Users"),
			"of a hostile name": c.at("%00'").get("/Users"),
			"of no text":        c.at("%ff").get("/Users"),
			"POST":              c.with("Authorization", "x").send("POST", "/Users", "not JSON"),
			"no endpoint":       c.with("Authorization", "x").get("/Nothing/at/all"),
			"no such user":      c.with("Authorization", "x").get("/Users/1"),
		} {
			t.Run("RFC 7644 §2 "+name, func(t *testing.T) {
				call.fails(http.StatusUnauthorized, "", "Authorization")
				want := `Bearer realm="SCIM", error="invalid_token"`
				if slices.Contains([]string{"missing", "empty", "another scheme", "in the query"}, name) {
					want = `Bearer realm="SCIM"` // RFC 6750 §3.1: nothing was sent that could be wrong
				}
				if got := call.Header.Get("WWW-Authenticate"); got != want {
					t.Errorf("WWW-Authenticate is %q, want %q", got, want)
				}
				if refused == nil {
					refused = call.Body
				}
				if diff := cmp.Diff(string(refused), string(call.Body)); diff != "" {
					t.Errorf("the refusals differ:\n%s", diff)
				}
			})
		}
		if strings.Contains(in.log.String(), secret) {
			t.Error("the log holds a token")
		}
		t.Run("two headers", func(t *testing.T) {
			two := *c
			two.header = http.Header{"Authorization": {"Bearer " + secret, "Bearer " + secret}}
			two.get("/Users").fails(http.StatusUnauthorized, "")
		})
	})
}

// at returns a client with the same token at another tenant's endpoints.
func (c *client) at(tenant string) *client {
	next := *c
	next.tenant = tenant
	return &next
}

// No route shows or changes anything of another tenant.
func TestTenantsAreApart(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		ours, theirs := in.of(t, "acme", directory.ProfileRFC), in.of(t, "umbrella", directory.ProfileRFC)
		user, group := theirs.user("wesker"), theirs.group("Staff")
		mine, own := ours.user("ann"), ours.group("Staff")
		before := state(theirs)

		put := func(path string) any {
			if strings.HasPrefix(path, "/Users") {
				return map[string]any{"schemas": []string{userURN}, "userName": "x"}
			}
			return map[string]any{"schemas": []string{groupURN}, "displayName": "x"}
		}
		for _, path := range []string{"/Users/" + user, "/Groups/" + group} {
			for method, body := range map[string]any{
				"GET": nil, "DELETE": nil, "PUT": put(path), "PATCH": patchOf(op("replace", "externalId", "x")),
			} {
				t.Run(method+" "+path[:7]+" of another tenant", func(t *testing.T) {
					ours.send(method, path, body).fails(http.StatusNotFound, "")
					ours.with("If-Match", `W/"1"`).send(method, path, body).fails(http.StatusNotFound, "")
					ours.with("If-Match", `W/"9", W/"1"`).send(method, path, body).fails(http.StatusNotFound, "")
				})
			}
		}
		t.Run("their people are nobody here", func(t *testing.T) {
			ours.send("PATCH", "/Groups/"+own, patchOf(op("add", "members", values(user)))).fails(http.StatusBadRequest, "invalidValue", "members")
			ours.send("PATCH", "/Groups/"+own, patchOf(op("add", "members", values(group)))).fails(http.StatusBadRequest, "invalidValue", "members")
			for _, text := range []string{`id eq "` + user + `"`, `userName eq "wesker"`, `userName pr and not (userName eq "ann")`, `displayName eq "wesker"`} {
				ours.get("/Users?filter="+strings.ReplaceAll(text, " ", "+")).want(http.StatusOK).has("totalResults", 0)
			}
			ours.get("/").want(http.StatusOK).has("totalResults", 2)
			if ids := ours.get("/Users").found(); len(ids) != 1 || ids[0] != mine {
				t.Errorf("the list holds %v", ids)
			}
		})
		t.Run("the same userName is free in each tenant", func(t *testing.T) { ours.user("Wesker") })
		for _, path := range []string{
			"/Users", "/Users/" + user, "/Groups", "/Groups/" + group, "/", "/.search", "/Users/.search", "/Groups/.search", "/Bulk", "/Me", "/Users/" + mine,
		} {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				r := ours.at("umbrella").send(method, path, nil)
				if r.Status != http.StatusUnauthorized && r.Status != http.StatusMethodNotAllowed {
					t.Errorf("%s %s with another tenant's token answers %d", method, path, r.Status)
				}
			}
		}
		if diff := cmp.Diff(before, state(theirs)); diff != "" {
			t.Errorf("another tenant changed (-before +after):\n%s", diff)
		}
	})
}

func TestVersionsOfTheProtocol(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		for _, path := range []string{"/../v1/Users", "/../v1", "/../v3/Groups/1"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.URL+"/t/acme/scim"+strings.TrimPrefix(path, "/.."), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = c.header
			res, err := in.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ Status, ScimType, Detail string }
			if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusBadRequest || body.ScimType != "invalidVers" {
				t.Errorf("RFC 7644 §3.13 %s answers %d %s", path, res.StatusCode, fmt.Sprint(body))
			}
		}
	})
}
