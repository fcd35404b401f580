package scim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// people fills a tenant with users u00 … and returns their ids in that order.
func people(c *client, n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, c.send("POST", "/Users", map[string]any{
			"schemas": []string{userURN}, "userName": fmt.Sprintf("u%02d", i), "title": fmt.Sprint("t", i%3),
			"active": i%4 != 0, "emails": []any{map[string]any{"value": fmt.Sprintf("U%02d@Example.com", i), "type": []string{"work", "home"}[i%2]}},
		}).want(http.StatusCreated).at("id").(string))
	}
	return ids
}

// found is the ids of a list.
func (r *response) found() []string {
	r.t.Helper()
	ids := []string{}
	for _, res := range r.want(http.StatusOK).at("Resources").([]any) {
		ids = append(ids, lookup(res, "id").(string))
	}
	return ids
}

func TestPaging(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ids := people(c, 25)
		for _, test := range []struct {
			query       string
			start, page int
			want        []string
		}{
			{"", 1, 25, ids},
			{"?startIndex=1&count=2", 1, 2, ids[:2]},
			{"?startIndex=24&count=10", 24, 2, ids[23:]},
			{"?startIndex=26", 26, 0, nil},
			{"?startIndex=9223372036854775807", 9223372036854775807, 0, nil},
			{"?startIndex=0&count=3", 1, 3, ids[:3]},
			{"?startIndex=-7&count=3", 1, 3, ids[:3]},
			{"?count=0", 1, 0, nil},
			{"?count=-1", 1, 0, nil},
			{"?count=1000000", 1, 25, ids},
			{"?startIndex=&count=", 1, 25, ids},
			{"?aadOptscim062020&count=1", 1, 1, ids[:1]},
		} {
			t.Run("RFC 7644 §3.4.2.4 "+test.query, func(t *testing.T) {
				r := c.get("/Users"+test.query).want(http.StatusOK).has("schemas", []any{listURN}).
					has("totalResults", 25).has("startIndex", test.start).has("itemsPerPage", test.page)
				if diff := cmp.Diff(append([]string{}, test.want...), r.found()); diff != "" {
					t.Errorf("page (-want +got):\n%s", diff)
				}
			})
		}
		t.Run("the pages of a walk are the list", func(t *testing.T) {
			var walked []string
			for start := 1; start <= 25; start += 4 {
				walked = append(walked, c.get(fmt.Sprintf("/Users?startIndex=%d&count=4", start)).found()...)
			}
			if diff := cmp.Diff(ids, walked); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("no page is larger than the maximum", func(t *testing.T) {
			for i := range 180 {
				c.user(fmt.Sprintf("more%d", i))
			}
			c.get("/Users?count=500").want(http.StatusOK).has("itemsPerPage", 200).has("totalResults", 205)
			c.get("/Users").want(http.StatusOK).has("itemsPerPage", 100)
		})
		for _, query := range []string{"count=x", "startIndex=1.5", "count=1&count=2", "sortOrder=up", "sortBy=members", "count=99999999999999999999"} {
			t.Run("a bad parameter "+query, func(t *testing.T) {
				name, _, _ := cutQuery(query)
				r := c.get("/Users?" + query)
				if query == "sortBy=members" {
					r.fails(http.StatusBadRequest, "invalidPath", "members")
					return
				}
				r.fails(http.StatusBadRequest, "invalidValue", name)
			})
		}
	})
}

func cutQuery(query string) (name, value string, ok bool) {
	values, err := url.ParseQuery(query)
	for name, all := range values {
		return name, all[0], err == nil
	}
	return "", "", false
}

func TestFilterOverHTTP(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ids := people(c, 12)
		in.clock.Advance(time.Hour)
		c.send("PATCH", "/Users/"+ids[5], patchOf(op("add", "displayName", "50%_"))).want(http.StatusOK)
		group := c.group("Staff", ids[1], ids[2])
		location := publicURL + "/t/acme/scim/v2/Users/"
		for _, test := range []struct {
			filter string
			want   []int
		}{
			{`userName eq "U03"`, []int{3}},
			{`USERNAME EQ "u03"`, []int{3}},
			{userURN + `:userName eq "u03"`, []int{3}},
			{`userName sw "u0" and not (title eq "t0" or title eq "t1")`, []int{2, 5, 8}},
			{`title eq "t0" or title eq "t1" and active eq false`, []int{0, 3, 4, 6, 9}},
			{`emails[type eq "work" and value co "U0"]`, []int{0, 2, 4, 6, 8}},
			{`emails[type eq "work"].value eq "u04@example.com"`, []int{4}},
			{`emails.value ew "7@EXAMPLE.com"`, []int{7}},
			{`displayName pr`, []int{5}},
			{`displayName co "%"`, []int{5}},
			{`displayName co "_%"`, nil},
			{`id eq "` + ids[6] + `"`, []int{6}},
			{`id eq "` + ids[6] + `" and manager eq "x"`, nil},
			{`groups.value eq "` + group + `"`, []int{1, 2}},
			{`groups.display eq "staff" and userName ne "u01"`, []int{2}},
			{`active eq false`, []int{0, 4, 8}},
			{`meta.lastModified gt "2026-01-23T05:00:00Z"`, []int{5}},
			{`meta.lastModified gt "2026-01-23T06:00:00+01:00"`, []int{5}},
			{`meta.location eq "` + location + ids[9] + `"`, []int{9}},
			{`meta.location eq "` + location + `"`, nil},
			{`meta.location ew "` + ids[9][30:] + `"`, []int{9}},
			{`meta.location ew "/Users/` + ids[9] + `"`, []int{9}},
			{`meta.location co "Users/` + ids[9][:8] + `" and id eq "` + ids[9] + `"`, []int{9}},
			{`meta.location gt "` + location + ids[10] + `"`, []int{11}},
			{`meta.location lt "` + location + `"`, nil},
			{`meta.version eq "W/\"2\""`, []int{5}},
			{`userName eq "' OR 1=1 --"`, nil},
			{`userName eq "\u0041\\"`, nil},
		} {
			t.Run("RFC 7644 §3.4.2.2 "+test.filter, func(t *testing.T) {
				want := []string{}
				for _, i := range test.want {
					want = append(want, ids[i])
				}
				byGet := c.get("/Users?filter=" + url.QueryEscape(test.filter)).found()
				if diff := cmp.Diff(want, byGet); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				bySearch := c.send("POST", "/Users/.search", map[string]any{"schemas": []string{searchURN}, "filter": test.filter}).found()
				if diff := cmp.Diff(byGet, bySearch); diff != "" {
					t.Errorf(".search (-GET +POST):\n%s", diff)
				}
				if diff := cmp.Diff(want, matched(t, c, test.filter)); diff != "" {
					t.Errorf("Match on what is shown (-want +got):\n%s", diff)
				}
			})
		}
	})
}

// matched is what schema.Match finds among the resources as clients see them.
func matched(t *testing.T, c *client, text string) []string {
	t.Helper()
	schemas, err := schema.Core()
	if err != nil {
		t.Fatal(err)
	}
	user, _ := schemas.ResourceType("User")
	expression, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	condition, err := user.Bind(expression)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, res := range c.get("/Users").want(http.StatusOK).at("Resources").([]any) {
		doc, _ := res.(map[string]any)
		if schema.Match(condition, user.SearchDocument(doc)) {
			ids = append(ids, doc["id"].(string))
		}
	}
	return ids
}

func TestBadFilters(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		c.user("ann")
		for _, test := range []struct{ filter, part string }{
			{"", "character 1"},
			{"userName", "character 9"},
			{`userName xx "a"`, "eq, ne"},
			{`userName eq "a" and`, "character"},
			{`(userName eq "a"`, ")"},
			{`userName eq a`, "JSON"},
			{`nothing eq "a"`, "nothing"},
			{`password eq "a"`, "password"},
			{`name eq "a"`, "name"},
			{`active gt true`, "active"},
			{`active eq "yes"`, "active"},
			{`meta.created gt "yesterday"`, "meta.created"},
			{`emails[type eq "work"`, "]"},
			{`userName eq "` + "\\u0000" + `"`, "userName"},
			{"userName eq \"\xff\"", "UTF-8"},
		} {
			t.Run("RFC 7644 §3.4.2.2 "+test.filter, func(t *testing.T) {
				c.get("/Users?filter="+url.QueryEscape(test.filter)).fails(http.StatusBadRequest, "invalidFilter", test.part)
			})
		}
		t.Run("a filter that was not encoded is no reason to list everybody", func(t *testing.T) {
			c.get(`/Users?filter=userName eq "50%"`).fails(http.StatusBadRequest, "invalidValue", "query string")
			c.get(`/Users?filter=userName eq "a;b"`).fails(http.StatusBadRequest, "invalidValue", "query string")
		})
	})
}

func TestSortOverHTTP(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ids := people(c, 6)
		c.send("PATCH", "/Users/"+ids[2], patchOf(op("replace", "userName", "Z"))).want(http.StatusOK)
		c.send("PATCH", "/Users/"+ids[3], patchOf(op("remove", "title", nil))).want(http.StatusOK)
		for query, order := range map[string][]int{
			"sortBy=userName":                        {0, 1, 3, 4, 5, 2},
			"sortBy=userName&sortOrder=descending":   {2, 5, 4, 3, 1, 0},
			"sortBy=title":                           {0, 1, 4, 2, 5, 3},
			"sortBy=title&sortOrder=DESCENDING":      {3, 5, 2, 4, 1, 0},
			"sortBy=emails&sortOrder=descending":     {5, 4, 3, 2, 1, 0},
			"sortBy=meta.location":                   {0, 1, 2, 3, 4, 5},
			"sortOrder=descending":                   {0, 1, 2, 3, 4, 5},
			"sortBy=" + userURN + ":name.familyName": {0, 1, 2, 3, 4, 5},
		} {
			t.Run("RFC 7644 §3.4.2.3 "+query, func(t *testing.T) {
				var want []string
				for _, i := range order {
					want = append(want, ids[i])
				}
				if diff := cmp.Diff(want, c.get("/Users?"+query).found()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	})
}

func TestQueryOverAllTypes(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		users := people(c, 5)
		groups := []string{c.group("u01"), c.group("G", users[0])}
		all := slices.Concat(users, groups)
		for _, test := range []struct {
			query string
			total int
			want  []string
		}{
			{"", 7, all},
			{"?startIndex=4&count=3", 7, all[3:6]},
			{"?startIndex=6&count=5", 7, all[5:]},
			{"?count=0", 7, nil},
			{`?filter=` + url.QueryEscape(`userName eq "u01" or displayName eq "u01"`), 2, []string{users[1], groups[0]}},
			{`?filter=` + url.QueryEscape(`not (userName pr)`), 2, groups},
			{`?filter=` + url.QueryEscape(`meta.resourceType eq "Group" and members pr`), 1, groups[1:]},
		} {
			t.Run("RFC 7644 §3.4.2.1 "+test.query, func(t *testing.T) {
				r := c.get("/"+test.query).want(http.StatusOK).has("totalResults", test.total)
				if diff := cmp.Diff(append([]string{}, test.want...), r.found()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
		t.Run("RFC 7644 §3.4.3 POST .search on the root", func(t *testing.T) {
			r := c.send("POST", "/.search", map[string]any{
				"schemas": []string{searchURN}, "filter": `displayName sw "u"`, "attributes": []string{"displayName"}, "startIndex": 1, "count": 10,
			})
			if diff := cmp.Diff(groups[:1], r.found()); diff != "" {
				t.Error(diff)
			}
			r.has("Resources.0.meta", nil).has("Resources.0.displayName", "u01")
		})
		c.get("/?filter="+url.QueryEscape(`nothing pr`)).fails(http.StatusBadRequest, "invalidFilter", "nothing")
		c.get("/?sortBy=id").fails(http.StatusBadRequest, "invalidValue", "sortBy")
		for name, body := range map[string]map[string]any{
			"schemas":  {"filter": "id pr"},
			"count":    {"schemas": []string{searchURN}, "count": "ten"},
			"filter":   {"schemas": []string{searchURN}, "filter": 1},
			"sortBy":   {"schemas": []string{searchURN}, "sortBy": true},
			"attribut": {"schemas": []string{searchURN}, "attributes": "id"},
		} {
			t.Run("a SearchRequest with a bad "+name, func(t *testing.T) {
				scimType := "invalidValue"
				if name == "schemas" {
					scimType = "invalidSyntax"
				}
				c.send("POST", "/Users/.search", body).fails(http.StatusBadRequest, scimType, name)
			})
		}
	})
}
