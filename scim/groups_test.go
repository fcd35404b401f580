package scim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
)

func sorted(ids ...string) []string { return slices.Sorted(slices.Values(ids)) }

func TestGroupLifeCycle(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ann, bob := c.user("ann"), c.user("bob")
		inner := c.group("Inner", bob)
		made := c.send("POST", "/Groups", map[string]any{
			"schemas": []string{groupURN}, "displayName": "Tour Guides", "externalId": "g1",
			"members": []any{map[string]any{"value": ann, "display": "ignored"}, map[string]any{"value": inner, "type": "Group"}},
		}).want(http.StatusCreated)
		golden(t, "group", made.Body)
		key := made.at("id").(string)
		path := "/Groups/" + key

		t.Run("RFC 7643 §4.2 GET shows the members", func(t *testing.T) {
			if diff := cmp.Diff(made.object(), c.get(path).want(http.StatusOK).object()); diff != "" {
				t.Errorf("(-POST +GET):\n%s", diff)
			}
		})
		t.Run("RFC 7643 §4.1.2 users show their groups, direct and indirect", func(t *testing.T) {
			golden(t, "user_in_nested_group", c.get("/Users/"+bob).want(http.StatusOK).Body)
			c.get("/Users/"+ann+"?attributes=groups.display").has("groups", []any{map[string]any{"display": "Tour Guides"}})
			c.get("/Users?filter=groups.value eq \""+key+"\"&sortBy=userName").has("totalResults", 2).has("Resources.1.groups.1.type", "indirect")
		})
		t.Run("RFC 7644 §3.9 members show only the parts that are asked for", func(t *testing.T) {
			r := c.get(path + "?attributes=members.value").want(http.StatusOK)
			for _, m := range r.at("members").([]any) {
				if len(m.(map[string]any)) != 1 {
					t.Errorf("a member shows %v", m)
				}
			}
			c.get(path+"?excludedAttributes=members").want(http.StatusOK).has("members", nil).has("displayName", "Tour Guides")
			c.get("/Groups?excludedAttributes=members&filter=displayName eq \"tour guides\"").has("totalResults", 1).has("Resources.0.members", nil)
		})
		t.Run("E10 a reference check finds by id and member", func(t *testing.T) {
			c.get(fmt.Sprintf("/Groups?filter=id eq %q and members eq %q", key, ann)).want(http.StatusOK).has("totalResults", 1)
			c.get(fmt.Sprintf("/Groups?filter=id eq %q and members eq %q", key, bob)).want(http.StatusOK).has("totalResults", 0)
		})
		t.Run("two groups may have one name", func(t *testing.T) { c.group("Tour Guides") })
		t.Run("RFC 7644 §3.5.1 PUT replaces the members", func(t *testing.T) {
			c.send("PUT", path, map[string]any{"schemas": []string{groupURN}, "displayName": "Guides", "members": values(bob)}).
				want(http.StatusOK).has("externalId", nil).has("meta.version", `W/"2"`)
			if diff := cmp.Diff([]string{bob}, c.memberIDs(key)); diff != "" {
				t.Error(diff)
			}
			c.send("PUT", path, map[string]any{"schemas": []string{groupURN}, "displayName": "Guides"}).want(http.StatusOK).has("members", nil)
		})
		t.Run("an unknown member leaves the group as it was", func(t *testing.T) {
			before := c.get(path).object()
			unknown := "01890000-0000-7000-8000-000000000000"
			c.send("PUT", path, map[string]any{"schemas": []string{groupURN}, "displayName": "X", "members": values(ann, unknown)}).
				fails(http.StatusBadRequest, "invalidValue", "members", unknown)
			c.send("PATCH", path, patchOf(op("replace", "displayName", "X"), op("add", "members", values(unknown)))).
				fails(http.StatusBadRequest, "invalidValue", "members", unknown)
			c.send("POST", "/Groups", map[string]any{"schemas": []string{groupURN}, "displayName": "Never", "members": values("x")}).
				fails(http.StatusBadRequest, "invalidValue", "members")
			if diff := cmp.Diff(before, c.get(path).object()); diff != "" {
				t.Errorf("half written (-before +after):\n%s", diff)
			}
			c.get("/Groups?filter=displayName eq \"never\"").has("totalResults", 0)
		})
		t.Run("RFC 7644 §3.6 DELETE", func(t *testing.T) {
			c.send("DELETE", "/Groups/"+inner, nil).want(http.StatusNoContent)
			c.get("/Groups/"+inner).fails(http.StatusNotFound, "", inner)
			c.get("/Users/"+bob).want(http.StatusOK).has("groups", nil)
		})
		t.Run("a deleted user is in no group", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("add", "members", values(ann, bob)))).want(http.StatusNoContent)
			c.send("DELETE", "/Users/"+ann, nil).want(http.StatusNoContent)
			if diff := cmp.Diff([]string{bob}, c.memberIDs(key)); diff != "" {
				t.Error(diff)
			}
		})
	})
}

func TestPatchGroup(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		a, b, d := c.user("a"), c.user("b"), c.user("d")
		for _, test := range []struct {
			name  string
			patch map[string]any
			want  []string
		}{
			{"add", patchOf(op("add", "members", values(b, d))), sorted(a, b, d)},
			{"add one that is there", patchOf(op("add", "members", values(a))), sorted(a)},
			{"add without a path (WSO2)", patchOf(op("add", "", map[string]any{"members": values(b)})), sorted(a, b)},
			{"a path in another spelling", patchOf(op("Add", groupURN+":Members", values(b))), sorted(a, b)},
			{"E5 remove by filter", patchOf(op("add", "members", values(b)), op("remove", fmt.Sprintf("members[value eq %q]", a), nil)), sorted(b)},
			{"remove several by filter", patchOf(op("add", "members", values(b, d)), op("remove", fmt.Sprintf("members[value eq %q or value eq %q]", a, d), nil)), sorted(b)},
			{"E5 remove with values removes these alone", patchOf(op("add", "members", values(b)), op("Remove", "members", []any{map[string]any{"$ref": nil, "value": a}})), sorted(b)},
			{"E5 remove without values removes all", patchOf(op("remove", "members", nil)), nil},
			{"O4 replace", patchOf(op("replace", "members", values(b, d))), sorted(b, d)},
			{"O4 replace by none", patchOf(op("replace", "members", []any{})), nil},
			{"remove a stranger", patchOf(op("remove", fmt.Sprintf("members[value eq %q]", d), nil)), sorted(a)},
			{"in order", patchOf(op("replace", "members", values(b)), op("add", "members", values(d)), op("remove", fmt.Sprintf("members[value eq %q]", b), nil)), sorted(d)},
		} {
			t.Run("RFC 7644 §3.5.2 "+test.name, func(t *testing.T) {
				group := c.group("G", a)
				r := c.send("PATCH", "/Groups/"+group, test.patch).want(http.StatusNoContent)
				if len(r.Body) > 0 || r.Header.Get("ETag") == "" {
					t.Errorf("204 has the body %q and the ETag %q", r.Body, r.Header.Get("ETag"))
				}
				if diff := cmp.Diff(append([]string{}, test.want...), c.memberIDs(group)); diff != "" {
					t.Errorf("members (-want +got):\n%s", diff)
				}
			})
		}
		t.Run("RFC 7644 §3.9 attributes ask for the resource", func(t *testing.T) {
			group := c.group("G", a)
			c.send("PATCH", "/Groups/"+group+"?attributes=displayName", patchOf(op("replace", "displayName", "H"))).
				want(http.StatusOK).has("displayName", "H").has("members", nil)
		})
		t.Run("O4 the id may be repeated, another one not given", func(t *testing.T) {
			group := c.group("G", a)
			c.send("PATCH", "/Groups/"+group, patchOf(op("replace", "", map[string]any{"id": group, "displayName": "I"}))).want(http.StatusNoContent)
			c.get("/Groups/"+group).has("displayName", "I")
			c.send("PATCH", "/Groups/"+group, patchOf(op("replace", "", map[string]any{"id": a, "displayName": "J"}))).
				fails(http.StatusBadRequest, "mutability", "id")
		})
		t.Run("a filter that would need the members says what is possible", func(t *testing.T) {
			group := c.group("G", a)
			c.send("PATCH", "/Groups/"+group, patchOf(op("remove", `members[display sw "a"]`, nil))).
				fails(http.StatusBadRequest, "invalidFilter", "members", "value eq")
			c.send("PATCH", "/Groups/"+group, patchOf(op("replace", "members", nil))).fails(http.StatusBadRequest, "invalidValue", "value")
			if diff := cmp.Diff([]string{a}, c.memberIDs(group)); diff != "" {
				t.Errorf("a silent wipe:\n%s", diff)
			}
		})
		t.Run("RFC 7644 §3.5.2.1 what changes nothing leaves the version", func(t *testing.T) {
			group := c.group("G", a)
			in.clock.Advance(time.Hour)
			c.send("PATCH", "/Groups/"+group, patchOf(op("add", "members", values(a)), op("replace", "displayName", "G"))).want(http.StatusNoContent)
			r := c.get("/Groups/"+group).has("meta.version", `W/"1"`)
			r.has("meta.lastModified", r.at("meta.created"))
			c.send("PATCH", "/Groups/"+group, patchOf(op("add", "members", values(b)))).want(http.StatusNoContent)
			c.get("/Groups/"+group).has("meta.version", `W/"2"`)
		})
		t.Run("a group is no member of itself, by whatever way", func(t *testing.T) {
			outer := c.group("Outer")
			inner := c.group("Inner", a)
			c.send("PATCH", "/Groups/"+outer, patchOf(op("add", "members", values(inner)))).want(http.StatusNoContent)
			for _, group := range []string{inner, outer} {
				c.send("PATCH", "/Groups/"+group, patchOf(op("add", "members", values(outer)))).fails(http.StatusBadRequest, "invalidValue", "members")
			}
		})
	})
}

// A page of groups reads the members of all of them, and encodes hostile names.
func TestLargeGroup(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		var ids []string
		for i := range 300 {
			ids = append(ids, c.user(fmt.Sprintf("user %d \"<\\é\u2028>", i)))
		}
		group := c.group("Large", ids...)
		empty := c.group("Empty")
		r := c.get("/Groups?sortBy=displayName").want(http.StatusOK)
		r.has("Resources.0.id", empty).has("Resources.0.members", nil).has("Resources.1.id", group)
		members, _ := r.at("Resources.1.members").([]any)
		if len(members) != len(ids) {
			t.Fatalf("%d members, want %d", len(members), len(ids))
		}
		for i, m := range members {
			want := map[string]any{
				"value": ids[i], "type": "User", "display": fmt.Sprintf("user %d \"<\\é\u2028>", i),
				"$ref": publicURL + "/t/acme/scim/v2/Users/" + ids[i],
			}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Fatalf("member %d (-want +got):\n%s", i, diff)
			}
		}
		if strings.Contains(string(r.Body), `\u003c`) {
			t.Error("< is escaped as for HTML")
		}
	})
}
