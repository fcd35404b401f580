package provider_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
)

// known gives the person's membership what a directory knows of people.
func (in *instance) known(t testing.TB, m *directory.Membership) {
	t.Helper()
	_, err := in.store.UpdateMembership(t.Context(), m.Tenant, m.ID, func(m *directory.Membership) error {
		return json.Unmarshal([]byte(`{
			"name": {"givenName": "Ann", "middleName": "Marie", "familyName": "Berg"}, "nickName": "Annie", "profileUrl": "https://berlin.example/ann",
			"photos": [{"value": "https://berlin.example/ann.png", "type": "photo"}], "timezone": "Europe/Berlin",
			"phoneNumbers": [{"value": "tel:+49-30-555;ext=7", "type": "work"}, {"value": "tel:+49-160-555", "primary": true}],
			"addresses": [{"type": "work", "streetAddress": "Allee 1", "locality": "Berlin", "postalCode": "10115", "region": "BE", "country": "DE", "formatted": "Allee 1\n10115 Berlin"}]
		}`), &m.Profile)
	})
	must(t, err)
}

func TestStandardClaims(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.known(t, p.membership)
		for scope, want := range map[string]map[string]any{
			"profile": {
				"name": "Ann Berg", "given_name": "Ann", "middle_name": "Marie", "family_name": "Berg", "nickname": "Annie",
				"preferred_username": p.user.Email, "profile": "https://berlin.example/ann", "picture": "https://berlin.example/ann.png",
				"zoneinfo": "Europe/Berlin", "locale": "de",
			},
			"email": {"email": p.user.Email, "email_verified": true},
			"phone": {"phone_number": "+49-160-555", "phone_number_verified": false},
			"address": {"address": map[string]any{
				"formatted": "Allee 1\n10115 Berlin", "street_address": "Allee 1", "locality": "Berlin", "region": "BE", "postal_code": "10115", "country": "DE",
			}},
			"groups": {"groups": []any{}}, "permissions": {"permissions": []any{}},
		} {
			t.Run("OIDC Core §5.4 "+scope, func(t *testing.T) {
				issued := p.browser.obtain(t, "scope", "openid "+scope)
				got := in.userInfo(t, issued.access).status(t, http.StatusOK).json(t)
				for _, always := range []string{"sub", "tid", "tenant", "roles"} {
					if got[always] == nil {
						t.Errorf("%s is missing", always)
					}
					delete(got, always)
				}
				if updated, _ := got["updated_at"].(float64); scope == "profile" && updated < 1 {
					t.Errorf("updated_at %v", got["updated_at"])
				}
				delete(got, "updated_at")
				if diff := cmp.Diff(want, got); diff != "" && scope != "permissions" {
					t.Error(diff)
				}
				if _, claims := parts(t, issued.id); claims["name"] != nil || claims["email"] != nil || claims["phone_number"] != nil || claims["address"] != nil {
					t.Errorf("the ID token tells more than was asked: %v", claims)
				}
			})
		}
	})
}

func TestClaimsParameter(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.known(t, p.membership)
		t.Run("OIDC Core §5.5 by name, and kept by a refresh", func(t *testing.T) {
			issued := p.browser.obtain(t, "claims", `{
				"userinfo": {"given_name": {"essential": true}, "phone_number": null, "groups": null, "unheard_of": {"essential": true}},
				"id_token": {"email": {"essential": true}, "nickname": null, "address": null, "permissions": null, "auth_time": {"essential": true}, "name#de": null},
				"unheard_of": {"x": 1}}`)
			for _, round := range []string{"at first", "refreshed", "refreshed twice"} {
				info := in.userInfo(t, issued.access).status(t, http.StatusOK).json(t)
				if info["given_name"] != "Ann" || info["phone_number"] != "+49-160-555" || info["groups"] == nil {
					t.Errorf("%s: userinfo lacks what was asked for: %v", round, info)
				}
				if info["email"] != nil || info["name"] != nil || info["unheard_of"] != nil || info["permissions"] != nil {
					t.Errorf("%s: userinfo has what was not asked for: %v", round, info)
				}
				_, claims := parts(t, issued.id)
				if claims["email"] != p.user.Email || claims["nickname"] != "Annie" || claims["address"] == nil || claims["permissions"] == nil || claims["auth_time"] == nil {
					t.Errorf("%s: the ID token lacks what was asked for: %v", round, claims)
				}
				if claims["given_name"] != nil || claims["groups"] != nil || claims["email_verified"] != nil {
					t.Errorf("%s: the ID token has what was not asked for: %v", round, claims)
				}
				issued = in.refresh(t, issued.refresh).tokens(t)
			}
		})
		for name, text := range map[string]string{
			"no JSON": `{"userinfo":`, "a list": `[]`, "a text": `"userinfo"`, "two values": `{} {}`, "userinfo is a text": `{"userinfo":"name"}`, "a claim is a text": `{"userinfo":{"name":"x"}}`,
			"essential is a text": `{"userinfo":{"name":{"essential":"yes"}}}`, "values is a text": `{"id_token":{"acr":{"values":"x"}}}`,
			"too long": `{"userinfo":{"name":{"value":"` + strings.Repeat("x", 4<<10) + `"}}}`, "too deep": `{"x":{"x":{"x":{"x":{"x":{}}}}}}`,
			"deep as the sea": strings.Repeat("[", 1500), "two people": `{"userinfo":{"sub":{"value":"a"}},"id_token":{"sub":{"value":"b"}}}`,
		} {
			t.Run("OIDC Core §5.5 "+name, func(t *testing.T) {
				if got := p.browser.authorize(t, "claims", text).redirected(t, callback); got.Get("error") != "invalid_request" {
					t.Errorf("got %v", got)
				}
			})
		}
		t.Run("OIDC Core §5.5.1 sub", func(t *testing.T) {
			wanted := fmt.Sprintf(`{"id_token":{"sub":{"value":%q}}}`, p.user.ID)
			p.browser.code(t, "prompt", "none", "claims", wanted)
			bob, b := in.user(t, "bob@berlin.example"), in.browser(t)
			in.member(t, p.tenant, bob, directory.StatusActive)
			b.signIn(t, bob, authn.ACR1)
			in.advance(time.Second)
			if got := b.authorize(t, "prompt", "none", "claims", wanted).redirected(t, callback); got.Get("error") != "login_required" {
				t.Errorf("got %v", got)
			}
			b.authorize(t, "claims", wanted).waits(t, "/login")
		})
	})
}

// OIDC Core §5.5.1.1: an essential acr that can't be had is a failed sign-in.
func TestEssentialACR(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		essential := func(values string) string { return `{"id_token":{"acr":{"essential":true,"values":[` + values + `]}}}` }
		second := essential(`"` + authn.ACR2 + `"`)
		t.Run("reached", func(t *testing.T) {
			p.browser.code(t, "claims", essential(`"urn:unknown","`+authn.ACR1+`"`))
			p.browser.code(t, "claims", `{"id_token":{"acr":{"essential":true}}}`)
			p.browser.code(t, "claims", `{"id_token":{"acr":{"essential":true,"value":"`+authn.ACR1+`"}}}`)
		})
		t.Run("out of reach", func(t *testing.T) {
			for _, values := range []string{`"urn:unknown"`, `"phr"`} { // the person has no passkey
				if got := p.browser.authorize(t, "claims", essential(values)).redirected(t, callback); got.Get("error") != "unmet_authentication_requirements" {
					t.Errorf("%s: %v", values, got)
				}
			}
		})
		t.Run("voluntary", func(t *testing.T) {
			p.browser.code(t, "claims", `{"id_token":{"acr":{"values":["urn:unknown","phr"]}}}`)
		})
		t.Run("to be reached", func(t *testing.T) {
			if got := p.browser.authorize(t, "prompt", "none", "claims", second).redirected(t, callback); got.Get("error") != "interaction_required" {
				t.Errorf("got %v", got)
			}
			request := p.browser.authorize(t, "claims", second).waits(t, "/login")
			stored, err := in.oidc.Request(t.Context(), request, p.browser.cookie())
			must(t, err)
			if stored.MinACR != authn.ACR2 || !stored.Essential {
				t.Errorf("the login page is asked for %+v", stored.Progress)
			}
			in.advance(time.Second)
			p.browser.signIn(t, p.user, authn.ACR1)
			p.browser.resume(t, request).waits(t, "/login") // it was no wish
			in.advance(time.Second)
			p.browser.signIn(t, p.user, authn.ACR2)
			issued := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.resume(t, request).redirected(t, callback).Get("code"))).tokens(t)
			if _, claims := parts(t, issued.id); claims["acr"] != authn.ACR2 {
				t.Errorf("acr %v", claims["acr"])
			}
		})
	})
}

func TestUserInfoByEveryMethod(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		issued := p.browser.obtain(t)
		in.userInfo(t, issued.access).status(t, http.StatusOK)
		in.post(t, http.DefaultClient, "/oauth2/userinfo", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+issued.access) }).status(t, http.StatusOK)
		in.post(t, http.DefaultClient, "/oauth2/userinfo", url.Values{"access_token": {issued.access}}, nil).status(t, http.StatusOK)
		in.browser(t).get(t, "/oauth2/userinfo", url.Values{"access_token": {issued.access}}).status(t, http.StatusUnauthorized)
		in.post(t, http.DefaultClient, "/oauth2/userinfo", url.Values{"access_token": {issued.access}}, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+issued.access)
		}).oauthError(t, http.StatusBadRequest, "invalid_request")
	})
}

func TestParametersWithoutEffect(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		for _, pair := range [][]string{
			{"display", "page"},
			{"display", "popup"},
			{"display", "touch"},
			{"display", "wap"},
			{"claims_locales", "de en"},
			{"extra", "foobar"},
			{"ui_locales", "xx-notalanguage"},
			{"login_hint", "nobody@nowhere.example"},
			{"id_token_hint", "rubbish"},
			{"acr_values", "1 2"},
			{"code_challenge_x", "y"},
		} {
			t.Run("OIDC Core §15.1 "+strings.Join(pair, "="), func(t *testing.T) { p.browser.code(t, pair...) })
		}
	})
}
