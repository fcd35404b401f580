package scim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
)

// What Entra ID sends (its quirks E1 to E12).
func TestEntra(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileEntra)
		made := c.send("POST", "/Users", `{"schemas":["`+userURN+`","urn:ietf:params:scim:schemas:extension:enterprise:2.0User"],
			"userName":"bj@example.com","active":"True","roles":[],"meta":{"resourceType":"User"},"title":null,"externalId":"bj",
			"`+enterpriseURN+`":{"manager":"123456","department":"Sales"},"hat":"crimson"}`).want(http.StatusCreated)
		made.has("active", true).has(enterpriseURN+"|manager.value", "123456").has("hat", nil)
		if log := in.log.String(); !strings.Contains(log, "attribute=hat") || strings.Contains(log, "crimson") {
			t.Errorf("the log does not name the ignored attribute, or tells its value: %s", log)
		}
		path := "/Users/" + made.at("id").(string)
		patch := func(operations ...map[string]any) *response {
			return c.send("PATCH", path, patchOf(operations...)).want(http.StatusOK)
		}
		t.Run("E1 strings for booleans", func(t *testing.T) {
			patch(op("Replace", "active", "False")).has("active", false)
			patch(op("Replace", "active", "True")).has("active", true)
		})
		t.Run("E3 dotted keys without a path", func(t *testing.T) {
			patch(op("replace", "", map[string]any{
				"displayName": "Bjfe", "name.givenName": "Kkom", "name.familyName": "Unua", enterpriseURN + ":employeeNumber": "Aklq",
				`emails[type eq "work"].value`: "k@example.com",
			})).has("displayName", "Bjfe").has("name.givenName", "Kkom").has(enterpriseURN+"|employeeNumber", "Aklq").has("emails.0.value", "k@example.com")
		})
		t.Run("E4 a value path to nothing makes the value", func(t *testing.T) {
			patch(op("Add", `phoneNumbers[type eq "mobile"].value`, "+1"), op("Replace", `phoneNumbers[type eq "work"].value`, "+2")).
				has("phoneNumbers.0.type", "mobile").has("phoneNumbers.1.value", "+2")
			patch(op("Add", `addresses[type eq "work"].formatted`, "Main St")).has("addresses.0.formatted", "Main St")
		})
		t.Run("E6 the manager in every form", func(t *testing.T) {
			patch(op("Add", enterpriseURN+":manager", "271")).has(enterpriseURN+"|manager.value", "271")
			patch(op("Replace", enterpriseURN+":manager", []any{map[string]any{"$ref": nil, "value": "272"}})).has(enterpriseURN+"|manager.value", "272")
			patch(op("Replace", enterpriseURN+":manager", "")).has(enterpriseURN+"|manager", nil)
		})
		t.Run("E8 a single value in an array", func(t *testing.T) {
			patch(op("Replace", "displayName", []any{map[string]any{"$ref": nil, "value": "User x"}})).has("displayName", "User x")
		})
		t.Run("E9 a group with Microsoft's schema", func(t *testing.T) {
			group := c.send("POST", "/Groups", map[string]any{
				"schemas":     []string{groupURN, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"},
				"displayName": "G", "externalId": "8aa1a0c0", "meta": map[string]any{"resourceType": "Group"},
			}).want(http.StatusCreated).at("id").(string)
			c.send("PATCH", "/Groups/"+group, patchOf(op("Add", "externalId", "other"))).want(http.StatusNoContent)
			c.get("/Groups/"+group+"?excludedAttributes=members").has("externalId", "other")
		})
		t.Run("E10 the connection test finds nobody", func(t *testing.T) {
			c.get(`/Users?filter=userName eq "4a2c9b7e-3c43-4b4c-9d47-5a6e8f0d4d11"`).want(http.StatusOK).has("totalResults", 0).has("Resources", []any{})
			c.get(`/Users?filter=emails[type eq "work"].value eq "K@example.com"`).want(http.StatusOK).has("totalResults", 1)
			c.get(`/Users?attributes=emails[type eq "work"]&filter=externalId eq "bj"`).want(http.StatusOK).has("totalResults", 1).has("Resources.0.userName", nil)
		})
		t.Run("E11 a deactivated user is still found", func(t *testing.T) {
			patch(op("Replace", "active", "False"))
			c.get(`/Users?filter=userName eq "BJ@example.com"`).want(http.StatusOK).has("totalResults", 1).has("Resources.0.active", false)
			patch(op("Replace", "active", "True")).has("active", true)
		})
	})
}

// What Okta sends (its quirks O1 to O5).
func TestOkta(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileOkta).with("Accept", "application/scim+json; charset=utf-8")
		c = c.with("Authorization", token("acme", directory.ProfileOkta)) // O2: no scheme
		c.get("/Users?startIndex=1&count=2").want(http.StatusOK).has("totalResults", 0).has("itemsPerPage", 0)
		made := c.with("Content-Type", "application/json").send("POST", "/Users", map[string]any{
			"schemas": []string{userURN}, "userName": "ann@example.com", "name": map[string]any{"givenName": "Ann", "familyName": "Berg"},
			"emails": []any{map[string]any{"primary": true, "value": "ann@example.com", "type": "work"}},
			"groups": []any{}, "password": "1mz050nq", "locale": "en-US", "externalId": "00ujl29u0le5T6Aj10h7", "active": true,
		}).want(http.StatusCreated)
		path := "/Users/" + made.at("id").(string)
		t.Run("O3 GET, then PUT of the whole with active false", func(t *testing.T) {
			whole := c.get(path).want(http.StatusOK).object()
			whole["active"] = false
			c.send("PUT", path, whole).want(http.StatusOK).has("active", false).has("externalId", "00ujl29u0le5T6Aj10h7")
		})
		t.Run("O3 PATCH without a path", func(t *testing.T) {
			c.send("PATCH", path, patchOf(op("replace", "", map[string]any{"active": true}))).want(http.StatusOK).has("active", true)
			before := c.get(path).object()
			c.send("PATCH", path, patchOf(op("replace", "", map[string]any{"password": "n3wpassword"}))).want(http.StatusOK)
			if diff := cmp.Diff(before, c.get(path).object()); diff != "" {
				t.Errorf("a password shows (-before +after):\n%s", diff)
			}
		})
		t.Run("O4 a group is renamed, changed and pushed as a whole", func(t *testing.T) {
			ann, bob := made.at("id").(string), c.user("bob@example.com")
			group := c.group("G", ann)
			c.send("PATCH", "/Groups/"+group, patchOf(op("replace", "", map[string]any{"id": group, "displayName": "Group"}))).want(http.StatusNoContent)
			c.send("PATCH", "/Groups/"+group, patchOf(
				op("remove", `members[value eq "`+ann+`"]`, nil), op("add", "members", []any{map[string]any{"value": bob, "display": "bob"}}),
			)).want(http.StatusNoContent)
			if diff := cmp.Diff([]string{bob}, c.memberIDs(group)); diff != "" {
				t.Error(diff)
			}
			c.send("PATCH", "/Groups/"+group, patchOf(op("replace", "members", []any{}))).want(http.StatusNoContent)
			c.send("PATCH", "/Groups/"+group, patchOf(op("replace", "members", []any{}))).want(http.StatusNoContent)
			c.get("/Groups?startIndex=1&count=100").want(http.StatusOK).has("totalResults", 1).has("Resources.0.displayName", "Group")
		})
	})
}
