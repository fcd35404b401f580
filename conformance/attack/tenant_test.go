package attack

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
)

// TestForeignDirectoryGainsNothing: Acme's directory names Vera, who is Zeta's.
// It gets neither her login nor a claim nor a session.
func TestForeignDirectoryGainsNothing(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		b := g.browser(t)
		before := signIn(t, g.shop, b, "openid profile email groups tenants tenant:zeta", vera)

		created := must(t, "create", g.scim(t, "acme", acmeToken, http.MethodPost, "/Users", `{
			"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"VERA@zeta.example","externalId":"1","active":true,
			"password":"chosen by mallory","displayName":"Owned","name":{"givenName":"Owned","familyName":"Owned"},
			"emails":[{"value":"vera@zeta.example","type":"work","primary":true}],"roles":[{"value":"owner"}],
			"groups":[{"value":"1","display":"Everyone"}],"entitlements":[{"value":"operator"}]}`), http.StatusCreated)
		if created.Body["active"] != true || created.Body["password"] != nil {
			t.Errorf("the answer: got active %v and password %v, want true and none", created.Body["active"], created.Body["password"])
		}
		id := created.String("id")
		must(t, "group", g.scim(t, "acme", acmeToken, http.MethodPost, "/Groups",
			fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Everyone","members":[{"value":%q}]}`, id)), http.StatusCreated)

		unchanged := func(what string) {
			t.Helper()
			g.wantUnchanged(t, what, before)
			// Her membership in Acme waits for her, and gives nothing until then.
			if query := silent(t, g.shop, b, "openid tenant:acme"); query.Get("code") != "" {
				t.Errorf("%s: a membership that waits for acceptance gave a code", what)
			}
			query := silent(t, g.shop, b, "openid tenant:zeta")
			if query.Get("code") == "" {
				t.Errorf("%s: her session is over: %s", what, query.Get("error"))
			}
			if _, err := g.shop.SignIn(t.Context(), g.browser(t), "openid tenant:zeta", vera); err != nil {
				t.Errorf("%s: her login does not work: %v", what, err)
			}
			// Nobody is let in by the address and the password that were pushed.
			pushed := vera
			pushed.Password = "chosen by mallory"
			if _, err := g.shop.SignIn(t.Context(), g.browser(t), "openid", pushed); err == nil {
				t.Errorf("%s: the password that was pushed works", what)
			}
		}
		unchanged("after her address was pushed")
		must(t, "password", g.scim(t, "acme", acmeToken, http.MethodPatch, "/Users/"+id,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"password":"chosen by mallory","emails":[{"value":"mallory@acme.example","type":"work","primary":true}]}}]}`), http.StatusOK)
		unchanged("after a password and another address were pushed")
		// The other way round: an account of Acme's own takes her address on.
		own := must(t, "create", g.scim(t, "acme", acmeToken, http.MethodPost, "/Users",
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"eve@acme.example","password":"chosen by mallory"}`), http.StatusCreated)
		must(t, "address", g.scim(t, "acme", acmeToken, http.MethodPatch, "/Users/"+own.String("id"),
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":true,"emails":[{"value":"vera@zeta.example","type":"work","primary":true}],"password":"chosen by mallory"}}]}`), http.StatusOK)
		unchanged("after an account of Acme's took her address on")
		must(t, "suspend", g.scim(t, "acme", acmeToken, http.MethodPatch, "/Users/"+own.String("id"), patchActive), http.StatusOK)
		unchanged("after that account was switched off")
		must(t, "suspend", g.scim(t, "acme", acmeToken, http.MethodPatch, "/Users/"+id, patchActive), http.StatusOK)
		unchanged("after she was switched off in Acme")
		must(t, "delete", g.scim(t, "acme", acmeToken, http.MethodDelete, "/Users/"+id, ""), http.StatusNoContent)
		unchanged("after she was deleted in Acme")

		refreshed := must(t, "refresh", check(g.shop.Refresh(t.Context(), before.String("refresh_token")))(t), http.StatusOK)
		g.wantUnchanged(t, "after all of it", refreshed)
	})
}

// wantUnchanged fails the test unless what the tokens give says Zeta and member,
// and nothing of what Acme pushed.
func (g target) wantUnchanged(t *testing.T, what string, tokens *application.Answer) {
	t.Helper()
	info := must(t, what+": userinfo", check(g.shop.UserInfo(t.Context(), tokens.String("access_token")))(t), http.StatusOK)
	introspection := must(t, what+": introspection", check(g.shop.Introspect(t.Context(), tokens.String("access_token")))(t), http.StatusOK)
	if introspection.Body["active"] != true {
		t.Errorf("%s: the access token is not active", what)
	}
	idToken := check(application.Claims(tokens.String("id_token")))(t)
	for source, claims := range map[string]map[string]any{"ID token": idToken, "userinfo": info.Body, "introspection": introspection.Body} {
		if claims["tenant"] != "zeta" || fmt.Sprint(claims["roles"]) != "[member]" {
			t.Errorf("%s: %s: got tenant %v and roles %v, want zeta and [member]", what, source, claims["tenant"], claims["roles"])
		}
	}
	for source, text := range map[string]string{"ID token": fmt.Sprint(idToken), "userinfo": info.Raw, "introspection": introspection.Raw} {
		if strings.Contains(text, "Owned") || strings.Contains(strings.ToLower(text), "acme") || strings.Contains(text, "owner") {
			t.Errorf("%s: %s has something of what was pushed: %s", what, source, text)
		}
	}
	if email, ok := info.Body["email"]; ok && email != "vera@zeta.example" {
		t.Errorf("%s: got email %v, want vera@zeta.example", what, email)
	}
}

// TestForeignIdentifiersMeanNothing is the class of CVE-2025-41115: an id that a
// directory chooses, or sees elsewhere, is never taken for one of ours.
func TestForeignIdentifiersMeanNothing(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		zetas := g.veraID(t)
		sub := check(application.Claims(signIn(t, g.shop, g.browser(t), "openid tenant:zeta", vera).String("id_token")))(t)["sub"].(string)
		for _, foreign := range []string{zetas, sub, "1", "0"} {
			created := must(t, "create", g.scim(t, "acme", acmeToken, http.MethodPost, "/Users",
				fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":%q,"externalId":%q,"userName":"u-%s"}`, foreign, foreign, foreign)), http.StatusCreated)
			if created.String("id") == foreign {
				t.Errorf("the client chose the id %s", foreign)
			}
		}
		for _, id := range []string{zetas, sub} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
				body := ""
				switch method {
				case http.MethodPut:
					body = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"owned"}`
				case http.MethodPatch:
					body = patchActive
				}
				if got := g.scim(t, "acme", acmeToken, method, "/Users/"+id, body); got.Status != http.StatusNotFound {
					t.Errorf("%s of a user of Zeta through Acme: got %d, want 404", method, got.Status)
				}
			}
			group := g.scim(t, "acme", acmeToken, http.MethodPost, "/Groups",
				fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"G %s","members":[{"value":%q}]}`, id, id))
			if group.Status != http.StatusBadRequest || group.String("scimType") != "invalidValue" {
				t.Errorf("a group with a member of Zeta: got %d %s, want 400 invalidValue", group.Status, group.Raw)
			}
		}
		list := must(t, "list", g.scim(t, "acme", acmeToken, http.MethodGet, "/Users?count=200", ""), http.StatusOK)
		if strings.Contains(list.Raw, "zeta.example") {
			t.Error("Acme's list has people of Zeta")
		}
		if vera := g.scim(t, "zeta", zetaToken, http.MethodGet, "/Users/"+zetas, ""); vera.Body["active"] != true {
			t.Errorf("Zeta's user: got %d active %v, want active", vera.Status, vera.Body["active"])
		}
	})
}

// TestSCIMTokens: no token but the tenant's own opens its directory.
func TestSCIMTokens(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		person := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt)
		machine := must(t, "client_credentials", check(g.robot.Post(t.Context(), application.TokenPath, map[string][]string{"grant_type": {"client_credentials"}}))(t), http.StatusOK)
		id := g.veraID(t)
		for name, header := range map[string]string{
			"no token":                      "X-None: 1",
			"an empty token":                "Authorization: Bearer ",
			"a token nobody gave out":       "Authorization: Bearer rcs-zeta-00000000000000000000000000000000",
			"a part of the token":           "Authorization: Bearer " + zetaToken[:len(zetaToken)-1],
			"the token and more":            "Authorization: Bearer " + zetaToken + "x",
			"the token in another case":     "Authorization: Bearer " + strings.ToUpper(zetaToken),
			"another tenant's token":        "Authorization: Bearer " + acmeToken,
			"an owner's access token":       "Authorization: Bearer " + person.String("access_token"),
			"an owner's ID token":           "Authorization: Bearer " + person.String("id_token"),
			"an owner's refresh token":      "Authorization: Bearer " + person.String("refresh_token"),
			"a machine's access token":      "Authorization: Bearer " + machine.String("access_token"),
			"the token as a basic password": "Authorization: Basic " + "Onh4eA==",
			"the token in a cookie":         "Cookie: rolecall_session=" + zetaToken,
		} {
			for _, request := range []struct{ method, path, body string }{
				{http.MethodGet, "/Users", ""},
				{http.MethodGet, "/Users/" + id, ""},
				{http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"owned"}`},
				{http.MethodPatch, "/Users/" + id, patchActive},
				{http.MethodDelete, "/Users/" + id, ""},
				{http.MethodGet, "/Groups", ""},
				{http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"owned"}`},
			} {
				answer := g.do(t, request.method, "/t/zeta/scim/v2"+request.path, request.body, header, "Content-Type: application/scim+json")
				want := http.StatusUnauthorized
				if strings.HasSuffix(name, "access token") { // genuine, but not for this (RFC 6750 §3.1)
					want = http.StatusForbidden
				}
				if answer.Status != want || answer.String("status") != strconv.Itoa(want) || answer.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: %s %s: got %d %.200s, want a SCIM error %d with WWW-Authenticate", name, request.method, request.path, answer.Status, answer.Raw, want)
				}
			}
		}
		if got := g.do(t, http.MethodGet, "/t/zeta/scim/v2/Users?access_token="+zetaToken, ""); got.Status != http.StatusUnauthorized {
			t.Errorf("a token in the address: got %d, want 401", got.Status)
		}
		if got := g.scim(t, "nowhere", zetaToken, http.MethodGet, "/Users", ""); got.Status != http.StatusUnauthorized && got.Status != http.StatusNotFound {
			t.Errorf("a tenant that is not there: got %d, want 401 or 404", got.Status)
		}
		if got := g.veraID(t); got != id {
			t.Errorf("the user is not what she was")
		}
	})
}

// TestSCIMTokenOpensNothingElse: a directory's token is no access token.
func TestSCIMTokenOpensNothingElse(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		if got := check(g.shop.UserInfo(t.Context(), zetaToken))(t); got.Status != http.StatusUnauthorized {
			t.Errorf("userinfo: got %d, want 401", got.Status)
		}
		if got := check(g.shop.Introspect(t.Context(), zetaToken))(t); got.Body["active"] != false || len(got.Body) != 1 {
			t.Errorf("introspection: got %s, want active false and nothing else", got.Raw)
		}
		if got := check(g.shop.Refresh(t.Context(), zetaToken))(t); got.String("error") != "invalid_grant" {
			t.Errorf("refresh: got %d %s, want invalid_grant", got.Status, got.Raw)
		}
	})
}

// TestFiltersAreInert: what would end a string or begin a statement in SQL is
// just a value, or an error of the grammar.
func TestFiltersAreInert(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		for _, value := range []string{
			`' OR '1'='1`, `'; DROP TABLE memberships; --`, `\' OR 1=1 --`, `" or userName pr or userName eq "`, `%`, `_`, `%' OR tenant_id <> '`,
			"\x00", `{{.}}`, `$1`, `?`, `') UNION SELECT hash FROM passwords --`,
		} {
			for _, filter := range []string{
				fmt.Sprintf("userName eq %q", value), fmt.Sprintf("userName co %q", value), fmt.Sprintf("emails[value sw %q]", value),
				fmt.Sprintf("externalId eq %q", value), fmt.Sprintf("name.familyName ew %q", value),
			} {
				answer := g.scim(t, "zeta", zetaToken, http.MethodGet, "/Users?filter="+escape(filter), "")
				switch {
				case answer.Status == http.StatusOK && answer.Body["totalResults"] == float64(0):
				case answer.Status == http.StatusBadRequest && answer.String("scimType") == "invalidFilter":
				default:
					t.Errorf("%s: got %d %.200s, want none or invalidFilter", filter, answer.Status, answer.Raw)
				}
			}
		}
		for _, query := range []string{"sortBy=userName%3B--", "sortBy=(select%201)", "startIndex=1;drop", "count=1%20union%20select", "attributes=userName,(select)"} {
			if answer := g.scim(t, "zeta", zetaToken, http.MethodGet, "/Users?"+query, ""); answer.Status >= 500 {
				t.Errorf("%s: got %d %.200s, want no server error", query, answer.Status, answer.Raw)
			}
		}
		g.veraID(t)
	})
}
