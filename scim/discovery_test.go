package scim_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/storage"
)

func TestDiscovery(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		in := newInstance(t, store)
		anybody := &client{t: t, in: in, tenant: "acme", header: http.Header{}}
		t.Run("RFC 7643 §5 without authentication", func(t *testing.T) {
			for name, path := range map[string]string{
				"service_provider_config": "/ServiceProviderConfig",
				"resource_types":          "/ResourceTypes",
				"resource_type_user":      "/ResourceTypes/User",
				"schemas":                 "/Schemas",
				"schema_group":            "/Schemas/" + groupURN,
			} {
				golden(t, name, anybody.get(path).want(http.StatusOK).Body)
			}
		})
		t.Run("they don't tell whether a tenant exists", func(t *testing.T) {
			nowhere := &client{t: t, in: in, tenant: "nowhere", header: http.Header{}}
			for _, path := range []string{"/ServiceProviderConfig", "/ResourceTypes", "/Schemas", "/Schemas/x", "/ResourceTypes/x"} {
				here := strings.ReplaceAll(string(anybody.get(path).Body), "/t/acme/", "/t/nowhere/")
				if diff := cmp.Diff(here, string(nowhere.get(path).Body)); diff != "" {
					t.Errorf("%s (-exists +doesn't):\n%s", path, diff)
				}
			}
		})
		t.Run("RFC 7644 §4 parameters are ignored but for filter", func(t *testing.T) {
			for _, path := range []string{"/ServiceProviderConfig", "/ResourceTypes", "/Schemas"} {
				plain := anybody.get(path).want(http.StatusOK)
				query := anybody.get(path + "?sortBy=id&startIndex=999&count=1&attributes=x").want(http.StatusOK)
				if diff := cmp.Diff(string(plain.Body), string(query.Body)); diff != "" {
					t.Errorf("%s:\n%s", path, diff)
				}
			}
			anybody.get("/ServiceProviderConfig?filter=invalid").want(http.StatusOK)
			anybody.get("/Schemas?filter=id pr").fails(http.StatusForbidden, "", "filter")
			anybody.get("/ResourceTypes?filter=id pr").fails(http.StatusForbidden, "", "filter")
		})
		t.Run("RFC 7643 §6 the schemas of resource types are served", func(t *testing.T) {
			for _, resourceType := range anybody.get("/ResourceTypes").at("Resources").([]any) {
				urns := []any{lookup(resourceType, "schema")}
				extensions, _ := lookup(resourceType, "schemaExtensions").([]any)
				for _, e := range extensions {
					urns = append(urns, lookup(e, "schema"))
				}
				for _, urn := range urns {
					anybody.get("/Schemas/"+urn.(string)).want(http.StatusOK).has("id", urn)
				}
				endpoint, _ := lookup(resourceType, "endpoint").(string)
				in.as(t, directory.ProfileRFC).get(endpoint).want(http.StatusOK)
			}
		})
		t.Run("RFC 7644 §3.1 messages are no schemas", func(t *testing.T) {
			for _, s := range anybody.get("/Schemas").at("Resources").([]any) {
				if urn, _ := lookup(s, "id").(string); strings.HasPrefix(urn, "urn:ietf:params:scim:api:") {
					t.Errorf("/Schemas serves %s", urn)
				}
			}
		})
		anybody.get("/Schemas/urn:nothing").fails(http.StatusNotFound, "", "urn:nothing")
		anybody.get("/ResourceTypes/Robot").fails(http.StatusNotFound, "", "Robot")
	})
}

// What the configuration promises is so, and what it denies is not.
func TestServiceProviderConfigIsTruthful(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		config := c.get("/ServiceProviderConfig").want(http.StatusOK)
		key := c.user("ann")
		for _, feature := range []struct {
			name  string
			works func() bool
		}{
			{"patch", func() bool {
				return c.send("PATCH", "/Users/"+key, patchOf(op("add", "title", "x"))).Status == http.StatusOK
			}},
			{"bulk", func() bool {
				return c.send("POST", "/Bulk", bulkOf(map[string]any{"method": "DELETE", "path": "/Users/none"})).Status == http.StatusOK
			}},
			{"filter", func() bool { return c.get("/Users?filter=title pr").at("totalResults") != nil }},
			{"sort", func() bool { return c.get("/Users?sortBy=title&sortOrder=descending").Status == http.StatusOK }},
			{"etag", func() bool { return c.get("/Users/"+key).Header.Get("ETag") != "" }},
		} {
			if promised := config.at(feature.name + ".supported"); promised != feature.works() {
				t.Errorf("%s: promised %v, works %v", feature.name, promised, feature.works())
			}
		}
	})
}

func TestMethods(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		key, group := c.user("ann"), c.group("G")
		for path, allowed := range map[string][]string{
			"/Users": {"GET", "HEAD", "POST"}, "/Groups": {"GET", "HEAD", "POST"},
			"/Users/" + key: {"GET", "HEAD", "PUT", "PATCH", "DELETE"}, "/Groups/" + group: {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
			"/Users/.search": {"POST"}, "/Groups/.search": {"POST"}, "/.search": {"POST"}, "/Bulk": {"POST"},
			"/ServiceProviderConfig": {"GET", "HEAD"}, "/ResourceTypes": {"GET", "HEAD"}, "/Schemas": {"GET", "HEAD"},
			"/ResourceTypes/User": {"GET", "HEAD"}, "/Schemas/" + userURN: {"GET", "HEAD"},
		} {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
				if slices.Contains(allowed, method) {
					continue
				}
				t.Run("RFC 7644 §4 "+method+" "+path, func(t *testing.T) {
					r := c.send(method, path, nil).fails(http.StatusMethodNotAllowed, "", method)
					if diff := cmp.Diff(strings.Join(allowed, ", "), r.Header.Get("Allow")); diff != "" {
						t.Errorf("Allow (-want +got):\n%s", diff)
					}
				})
			}
		}
		for _, path := range []string{"/Robots", "/Robots/1", "/Users/" + key + "/x", "/Groups/" + group + "/members", "/Schemas/x/y", "/user"} {
			c.get(path).fails(http.StatusNotFound, "", "endpoint")
		}
		c.get("/Users/").want(http.StatusOK).has("totalResults", 1)
		c.get("/users?count=0").want(http.StatusOK).has("totalResults", 1).has("itemsPerPage", 0)
		c.send("PATCH", "/USERS/"+key, patchOf(op("add", "title", "x"))).want(http.StatusOK).has("title", "x")
		if r := c.send("HEAD", "/Users/"+key, nil); r.Status != http.StatusOK || r.Header.Get("ETag") == "" {
			t.Errorf("HEAD answers %d with the ETag %q", r.Status, r.Header.Get("ETag"))
		}
	})
}
