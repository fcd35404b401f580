package scim_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
)

// barbara is a user with a bit of everything.
func barbara() map[string]any {
	return map[string]any{
		"schemas": []string{userURN, enterpriseURN}, "userName": "bjensen@example.com", "externalId": "701984",
		"id": "client's", "meta": map[string]any{"resourceType": "Robot"}, "groups": []any{map[string]any{"value": "x"}},
		"name":        map[string]any{"formatted": "Ms. Barbara J Jensen", "familyName": "Jensen", "givenName": "Barbara"},
		"displayName": "Babs <Jensen> & \"Co\"", "title": nil, "ims": []any{}, "active": true, "password": "t1meMa$heen",
		"emails": []any{
			map[string]any{"value": "bjensen@example.com", "type": "work", "primary": true},
			map[string]any{"value": "babs@jensen.example", "type": "home"},
		},
		enterpriseURN: map[string]any{"employeeNumber": "701984", "manager": map[string]any{"value": "26118915"}},
	}
}

func TestUserLifeCycle(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		made := c.send("POST", "/Users", barbara()).want(http.StatusCreated)
		golden(t, "user", made.Body)
		key := made.at("id").(string)
		location := publicURL + "/t/acme/scim/v2/Users/" + key

		t.Run("RFC 7644 §3.3 POST answers 201 with Location, and ignores what is readOnly", func(t *testing.T) {
			for _, header := range []string{"Location", "Content-Location"} {
				if got := made.Header.Get(header); got != location {
					t.Errorf("%s is %q, want %q", header, got, location)
				}
			}
			made.has("meta.location", location).has("meta.resourceType", "User").has("groups", nil)
			if key == "client's" {
				t.Error("the client chose the id")
			}
		})
		t.Run("RFC 7643 §3.1 lastModified equals created while nothing has changed", func(t *testing.T) {
			made.has("meta.lastModified", made.at("meta.created"))
		})
		t.Run("RFC 7643 §7 a password is never returned", func(t *testing.T) {
			for _, path := range []string{"/Users/" + key, "/Users/" + key + "?attributes=password,userName", "/Users"} {
				if body := string(c.get(path).want(http.StatusOK).Body); strings.Contains(body, "t1meMa") || strings.Contains(body, `"password"`) {
					t.Errorf("%s holds the password: %s", path, body)
				}
			}
		})
		t.Run("RFC 7644 §3.4.1 GET returns the same", func(t *testing.T) {
			got := c.get("/Users/" + key).want(http.StatusOK)
			if diff := cmp.Diff(made.object(), got.object()); diff != "" {
				t.Errorf("(-POST +GET):\n%s", diff)
			}
			if got.Header.Get("ETag") != got.at("meta.version") {
				t.Errorf("the ETag is %q, meta.version %v", got.Header.Get("ETag"), got.at("meta.version"))
			}
		})
		t.Run("RFC 7644 §3.3 a userName is taken whatever its case", func(t *testing.T) {
			c.send("POST", "/Users", map[string]any{"schemas": []string{userURN}, "userName": "BJENSEN@example.com"}).
				fails(http.StatusConflict, "uniqueness", "userName")
			c.get("/Users").want(http.StatusOK).has("totalResults", 1)
		})
		t.Run("RFC 7644 §3.5.1 PUT replaces, and clears what it leaves out", func(t *testing.T) {
			in.clock.Advance(time.Hour)
			got := c.send("PUT", "/Users/"+key, map[string]any{
				"schemas": []string{userURN}, "id": "other", "userName": "BJensen@example.com", "displayName": "B",
			}).want(http.StatusOK)
			got.has("id", key).has("userName", "BJensen@example.com").has("emails", nil).has("externalId", nil).has(enterpriseURN+"|manager", nil).
				has("schemas", []any{userURN}).has("meta.created", made.at("meta.created")).has("meta.version", `W/"2"`)
			if got.at("meta.lastModified") == made.at("meta.lastModified") {
				t.Error("lastModified stands still")
			}
		})
		t.Run("RFC 7644 §3.5.1 PUT without what is required changes nothing", func(t *testing.T) {
			c.send("PUT", "/Users/"+key, map[string]any{"schemas": []string{userURN}, "displayName": "X"}).
				fails(http.StatusBadRequest, "invalidValue", "userName")
			c.get("/Users/"+key).has("displayName", "B").has("meta.version", `W/"2"`)
		})
		t.Run("RFC 7644 §3.5.1 PUT does not create", func(t *testing.T) {
			c.send("PUT", "/Users/01890000-0000-7000-8000-000000000000", barbara()).fails(http.StatusNotFound, "", "01890000")
		})
		t.Run("RFC 7644 §3.6 DELETE answers 204, and 404 from then on", func(t *testing.T) {
			c.send("DELETE", "/Users/"+key, nil).want(http.StatusNoContent)
			for _, method := range []string{"GET", "DELETE", "PUT", "PATCH"} {
				var body any
				switch method {
				case "PUT":
					body = barbara()
				case "PATCH":
					body = patchOf(op("replace", "title", "x"))
				}
				c.send(method, "/Users/"+key, body).fails(http.StatusNotFound, "", key)
			}
			c.get("/Users?filter=userName eq \"bjensen@example.com\"").want(http.StatusOK).has("totalResults", 0).has("Resources", []any{})
			if again := c.user("bjensen@example.com"); again == key {
				t.Error("an id was used again")
			}
		})
	})
}

func TestPatchUser(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		key := c.send("POST", "/Users", barbara()).want(http.StatusCreated).at("id").(string)
		path := "/Users/" + key

		t.Run("RFC 7644 §3.5.2 PATCH answers 200 with the resource", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("replace", "title", "Boss"), op("add", enterpriseURN+":department", "Sales"))).want(http.StatusOK).
				has("title", "Boss").has(enterpriseURN+"|department", "Sales").has("meta.version", `W/"2"`)
		})
		t.Run("RFC 7644 §3.5.2 a failing operation leaves the resource and its version", func(t *testing.T) {
			before := c.get(path).object()
			c.send("PATCH", path, patchOf(op("replace", "title", "Ex"), op("replace", "emails[type eq \"none\"].value", "x"))).
				fails(http.StatusBadRequest, "noTarget", "Operations[1]")
			if diff := cmp.Diff(before, c.get(path).object()); diff != "" {
				t.Errorf("half written (-before +after):\n%s", diff)
			}
		})
		t.Run("RFC 7644 §3.5.2.1 adding what is there changes nothing", func(t *testing.T) {
			before := c.get(path).object()
			in.clock.Advance(time.Hour)
			c.send("PATCH", path, patchOf(op("add", "emails", []any{map[string]any{"value": "babs@jensen.example", "type": "home"}}))).want(http.StatusOK)
			if diff := cmp.Diff(before, c.get(path).object()); diff != "" {
				t.Errorf("changed (-before +after):\n%s", diff)
			}
		})
		t.Run("RFC 7644 §3.5.2 a new primary value demotes the old one", func(t *testing.T) {
			r := c.send("PATCH", path, patchOf(op("add", "emails", []any{map[string]any{"value": "new@example.com", "type": "other", "primary": true}}))).want(http.StatusOK)
			primaries := 0
			for _, email := range r.at("emails").([]any) {
				if lookup(email, "primary") == true {
					primaries++
				}
			}
			if primaries != 1 {
				t.Errorf("%d values are primary: %s", primaries, r.Body)
			}
		})
		t.Run("RFC 7644 §3.5.2.2 removing userName is refused", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("remove", "userName", nil))).fails(http.StatusBadRequest, "mutability", "userName")
		})
		t.Run("RFC 7644 §3.5.2.2 remove needs a path", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("remove", "", nil))).fails(http.StatusBadRequest, "noTarget", "Operations[0]", "path")
		})
		t.Run("RFC 7643 §4.1.2 groups are changed through Group alone", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("add", "groups", values("x")))).fails(http.StatusBadRequest, "mutability", "groups")
		})
		t.Run("a PATCH that takes another's userName is a conflict", func(t *testing.T) {
			c.user("taken")
			c.send("PATCH", path, patchOf(op("replace", "userName", "TAKEN"))).fails(http.StatusConflict, "uniqueness", "userName")
			c.get(path).has("userName", "bjensen@example.com")
		})
		t.Run("active is false until it is said to be true", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("replace", "active", false))).want(http.StatusOK).has("active", false)
			c.send("PATCH", path, patchOf(op("replace", "title", "Y"))).want(http.StatusOK).has("active", false)
			c.send("PATCH", path, patchOf(op("remove", "active", nil))).want(http.StatusOK).has("active", false)
			c.send("PUT", path, map[string]any{"schemas": []string{userURN}, "userName": "bjensen@example.com"}).want(http.StatusOK).has("active", false)
			c.get("/Users?filter=active eq false").want(http.StatusOK).has("totalResults", 1)
			c.send("PATCH", path, patchOf(op("replace", "", map[string]any{"active": true}))).want(http.StatusOK).has("active", true)
		})
	})
}

func TestETag(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		user, group := "/Users/"+c.user("ann"), "/Groups/"+c.group("All")
		rename := map[string]any{
			user:  patchOf(op("replace", "title", "x")),
			group: patchOf(op("replace", "displayName", "Everybody")),
		}
		for _, path := range []string{user, group} {
			t.Run("RFC 7644 §3.14 "+path[:6], func(t *testing.T) {
				for _, hit := range []string{`W/"1"`, `"1"`, `"x", W/"1"`, "*"} {
					r := c.with("If-None-Match", hit).get(path).want(http.StatusNotModified)
					if len(r.Body) > 0 || r.Header.Get("ETag") != `W/"1"` {
						t.Errorf("304 has the body %q and the ETag %q", r.Body, r.Header.Get("ETag"))
					}
				}
				for _, miss := range []string{`W/"2"`, `W/"01"`, `W/"+1"`, "garbage"} {
					c.with("If-None-Match", miss).get(path).want(http.StatusOK)
				}
				for _, miss := range []string{`W/"7"`, `W/"x"`, `"a", W/"7"`} {
					for _, method := range []string{"PUT", "PATCH", "DELETE"} {
						body := rename[path]
						if method == "PUT" {
							body = c.get(path).object()
						}
						c.with("If-Match", miss).send(method, path, body).fails(http.StatusPreconditionFailed, "")
					}
				}
				c.with("If-None-Match", "*").send("PATCH", path, rename[path]).fails(http.StatusPreconditionFailed, "")
				c.with("If-Match", "unquoted").send("PATCH", path, rename[path]).fails(http.StatusBadRequest, "invalidValue", "If-Match")
				c.get(path).has("meta.version", `W/"1"`)

				r := c.with("If-Match", `"nope", W/"1"`).send("PATCH", path, rename[path])
				if r.Status >= 300 || r.Header.Get("ETag") != `W/"2"` {
					t.Errorf("PATCH of the version that is there answers %d with the ETag %q", r.Status, r.Header.Get("ETag"))
				}
				c.with("If-Match", "*").send("DELETE", path, nil).want(http.StatusNoContent)
				c.with("If-Match", `W/"2"`).send("DELETE", path, nil).fails(http.StatusNotFound, "")
			})
		}
	})
}

func TestOfTwoWritersWithOneETagOneWins(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		path := "/Users/" + c.user("ann")
		results := make([]int, 8)
		var wait sync.WaitGroup
		for i := range results {
			wait.Go(func() {
				results[i] = c.with("If-Match", `W/"1"`).send("PATCH", path, patchOf(op("replace", "title", fmt.Sprint(i)))).Status
			})
		}
		wait.Wait()
		won := 0
		for _, status := range results {
			switch status {
			case http.StatusOK:
				won++
			case http.StatusPreconditionFailed:
			default:
				t.Errorf("a writer got %d", status)
			}
		}
		if won != 1 {
			t.Errorf("%d writers won", won)
		}
		c.get(path).has("meta.version", `W/"2"`)
	})
}

func TestProjection(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		for _, call := range []struct {
			name string
			do   func(query string) *response
		}{
			{"POST", func(q string) *response {
				body := barbara()
				body["userName"] = fmt.Sprint("b", len(q))
				return c.send("POST", "/Users"+q, body).want(http.StatusCreated)
			}},
			{"GET", func(q string) *response {
				list := c.get("/Users?filter=externalId eq \"701984\"").want(http.StatusOK)
				return c.get("/Users/" + list.at("Resources.0.id").(string) + q).want(http.StatusOK)
			}},
			{"PATCH", func(q string) *response {
				list := c.get("/Users?filter=externalId eq \"701984\"").want(http.StatusOK)
				return c.send("PATCH", "/Users/"+list.at("Resources.0.id").(string)+q, patchOf(op("add", "title", q))).want(http.StatusOK)
			}},
		} {
			t.Run("RFC 7644 §3.9 "+call.name, func(t *testing.T) {
				r := call.do("?attributes=name.familyName,EMAILS.value," + enterpriseURN + ":employeeNumber,unknown")
				object := r.object()
				delete(object, "id")
				want := map[string]any{
					"schemas": []any{userURN, enterpriseURN}, "name": map[string]any{"familyName": "Jensen"},
					"emails":      []any{map[string]any{"value": "bjensen@example.com"}, map[string]any{"value": "babs@jensen.example"}},
					enterpriseURN: map[string]any{"employeeNumber": "701984"},
				}
				if diff := cmp.Diff(want, object); diff != "" {
					t.Errorf("attributes (-want +got):\n%s", diff)
				}
				r = call.do("?excludedAttributes=name.familyName,id,emails,meta")
				r.has("name.familyName", nil).has("name.givenName", "Barbara").has("emails", nil).has("meta", nil)
				if r.at("id") == nil {
					t.Error("id, which is returned always, is excluded")
				}
			})
		}
		t.Run("both parameters are refused before anything is done", func(t *testing.T) {
			c.send("POST", "/Users?attributes=a&excludedAttributes=b", map[string]any{"schemas": []string{userURN}, "userName": "never"}).
				fails(http.StatusBadRequest, "invalidValue", "excludedAttributes")
			c.get("/Users?filter=userName eq \"never\"").has("totalResults", 0)
		})
	})
}
