package provider_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// exchangeOf is a request to exchange an application token; pairs alter it.
func exchangeOf(token string, pairs ...string) url.Values {
	v := url.Values{"grant_type": {oidc.GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {oidc.TokenTypeAccess}}
	set(v, pairs)
	return v
}

// applicationToken makes one, by the operator's word.
func (in *instance) applicationToken(t testing.TB, spec authn.ApplicationToken) string {
	t.Helper()
	operator := authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
	made, err := in.authn.PutApplicationToken(operator, spec, secret.Text{})
	must(t, err)
	return made.Reveal()
}

// TestApplicationToken_EM_R40: a JWT obtained with an application token lives
// until its own expiry, for whoever verifies it; introspection knows better.
func TestApplicationToken_EM_R40(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		token := in.applicationToken(t, authn.ApplicationToken{Tenant: d.shop.ID, Name: "sync", Creator: d.ada.ID})
		response := in.direct(t, "/oauth2/token", "shop", shopSecret, exchangeOf(token))
		got := response.tokens(t)
		want := map[string]any{"token_type": "Bearer", "issued_token_type": oidc.TokenTypeAccess, "expires_in": float64(300), "scope": "permissions"}
		if diff := cmp.Diff(want, only(response.json(t), "token_type", "issued_token_type", "expires_in", "scope", "refresh_token", "id_token")); diff != "" {
			t.Error(diff)
		}
		who := map[string]any{"sub": string(d.ada.ID), "tid": string(d.shop.ID), "tenant": "shop", "client_id": "shop", "roles": []any{"administrator"}}
		_, claims := parts(t, got.access)
		keys, _ := claims["permissions"].([]any)
		if !slices.Contains(keys, any("devices.update")) || claims["exp"].(float64)-claims["iat"].(float64) != 300 {
			t.Errorf("claims %v", claims)
		}
		if diff := cmp.Diff(who, only(claims, "sub", "tid", "tenant", "client_id", "roles", "act", "sid")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(who, only(in.introspect(t, got.access), "sub", "tid", "tenant", "client_id", "roles", "act", "sid")); diff != "" {
			t.Error(diff)
		}
		if _, err := in.oidc.Principal(t.Context(), oidc.Bearer(secret.NewText(got.access))); fault.As(err).Code != oidc.InsufficientScope {
			t.Errorf("at the API: %v", err)
		}
		in.userInfo(t, got.access).status(t, http.StatusForbidden)
		active := func(want bool) {
			t.Helper()
			if is := in.introspect(t, got.access)["active"]; is != want {
				t.Errorf("active is %v, want %v", is, want)
			}
		}
		d.setStatus(t, d.adaThere, directory.StatusSuspended)
		active(false)
		in.direct(t, "/oauth2/token", "shop", shopSecret, exchangeOf(token)).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		d.setStatus(t, d.adaThere, directory.StatusActive)
		active(true)
		must(t, in.store.Unassign(t.Context(), directory.Assignment{Tenant: d.shop.ID, Membership: d.adaThere.ID, Role: "administrator", Source: directory.AssignedDirect}))
		must(t, in.store.Assign(t.Context(), directory.Assignment{Tenant: d.shop.ID, Membership: d.adaThere.ID, Role: "observer", Source: directory.AssignedDirect}, in.now()))
		if keys, _ := in.introspect(t, got.access)["permissions"].([]any); slices.Contains(keys, any("devices.update")) || !slices.Contains(keys, any("devices.list")) {
			t.Errorf("after the role was changed: %v", keys)
		}
		must(t, in.authn.RevokeApplicationTokens(t.Context(), d.shop.ID, d.ada.ID))
		active(false)
		in.direct(t, "/oauth2/token", "shop", shopSecret, exchangeOf(token)).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
	})
}

// TestApplicationTokenExchange: what an application token is exchanged for never
// is more than it, and not for everybody.
func TestApplicationTokenExchange(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Secret, s.Tenant = "stranger", secret.NewText("stranger secret"), d.another.ID
		})
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.Type, s.Secret = "spa", oidc.SPA, secret.Text{} })
		exchange := func(token string, pairs ...string) answer {
			t.Helper()
			return in.direct(t, "/oauth2/token", "shop", shopSecret, exchangeOf(token, pairs...))
		}
		plain := in.applicationToken(t, authn.ApplicationToken{Tenant: d.shop.ID, Name: "plain", Creator: d.ada.ID})

		t.Run("its own list is the limit", func(t *testing.T) {
			token := in.applicationToken(t, authn.ApplicationToken{Tenant: d.shop.ID, Name: "narrow", Creator: d.ada.ID, Permissions: []string{"devices.list", "reports.central.view"}})
			_, claims := parts(t, exchange(token).tokens(t).access)
			want := map[string]any{"roles": []any{}, "permissions": []any{"devices.list"}}
			if diff := cmp.Diff(want, only(claims, "roles", "permissions")); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("its expiry is the limit", func(t *testing.T) {
			token := in.applicationToken(t, authn.ApplicationToken{Tenant: d.shop.ID, Name: "short", Creator: d.ada.ID, Expires: in.now().Add(time.Minute)})
			if got := exchange(token).status(t, http.StatusOK).json(t)["expires_in"]; got != float64(60) {
				t.Errorf("expires_in %v", got)
			}
		})
		t.Run("its networks are the limit", func(t *testing.T) {
			here := in.applicationToken(t, authn.ApplicationToken{Tenant: d.shop.ID, Name: "here", Creator: d.ada.ID, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
			exchange(here).tokens(t)
			there := in.applicationToken(t, authn.ApplicationToken{Tenant: d.shop.ID, Name: "there", Creator: d.ada.ID, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
			exchange(there).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		})
		t.Run("one of the instance has no tenant", func(t *testing.T) {
			op := in.user(t, "op@example.com")
			_, err := in.store.UpdateUser(t.Context(), op.ID, func(u *directory.User) error { u.Operator = true; return nil })
			must(t, err)
			exchange(in.applicationToken(t, authn.ApplicationToken{Name: "op", Creator: op.ID})).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		})
		t.Run("not for an application of another tenant", func(t *testing.T) {
			in.direct(t, "/oauth2/token", "stranger", "stranger secret", exchangeOf(plain)).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			in.direct(t, "/oauth2/token", "spa", "", exchangeOf(plain, "client_id", "spa")).tokens(t)
		})
		t.Run("not to act as somebody", func(t *testing.T) {
			for _, pair := range [][]string{{"requested_subject", string(d.ada.ID)}, {"tenant", "another"}, {"role", "observer"}} {
				exchange(plain, pair...).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			}
			jwt := exchange(plain).tokens(t).access
			in.direct(t, "/oauth2/token", "shop", shopSecret, d.wish("subject_token", jwt)).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		})
		t.Run("no more scope", func(t *testing.T) {
			for _, scope := range []string{"openid", "api", "offline_access", "tenant:another"} {
				exchange(plain, "scope", scope).oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
			}
			exchange(plain, "scope", "permissions tenant:shop").tokens(t)
		})
		t.Run("an unknown one", func(t *testing.T) {
			exchange(plain+"x").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		})
		t.Run("RFC 7009 §2 the JWT can be revoked by itself", func(t *testing.T) {
			one, two := exchange(plain).tokens(t).access, exchange(plain).tokens(t).access
			in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {one}}).status(t, http.StatusOK)
			if in.introspect(t, one)["active"] != false || in.introspect(t, two)["active"] != true {
				t.Error("the wrong token was revoked")
			}
		})
	})
}
