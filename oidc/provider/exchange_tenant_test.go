package provider_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// abroad is Ann, signed in to berlin, who is a member of hamburg too.
type abroad struct {
	*person
	hamburg      *directory.Tenant
	hamburgThere *directory.Membership
}

func (in *instance) abroad(t testing.TB) *abroad {
	t.Helper()
	a := &abroad{person: in.person(t), hamburg: in.tenant(t, "hamburg", directory.Policy{})}
	a.hamburgThere = in.member(t, a.hamburg, a.user, directory.StatusActive, "viewer")
	in.application(t, nil)
	return a
}

// obtain signs in to berlin.
func (a *abroad) obtain(t testing.TB, scope string) tokens {
	t.Helper()
	return a.browser.obtain(t, "scope", "tenant:berlin "+scope)
}

// switchTo exchanges a token as the application shop.
func (in *instance) switchTo(t testing.TB, token, scope string, pairs ...string) answer {
	t.Helper()
	return in.direct(t, "/oauth2/token", "shop", shopSecret, exchangeOf(token, append([]string{"scope", scope}, pairs...)...))
}

func (in *instance) policy(t testing.TB, tenant *directory.Tenant, change func(*directory.Policy)) {
	t.Helper()
	_, err := in.store.UpdateTenant(t.Context(), tenant.ID, func(t *directory.Tenant) error {
		change(&t.Policy)
		return nil
	})
	must(t, err)
}

// TestTenantSwitch is RFC 8693 for a person who changes the tenant.
func TestTenantSwitch(t *testing.T) {
	for _, format := range []oidc.AccessTokenFormat{oidc.FormatJWT, oidc.FormatOpaque} {
		t.Run(string(format), func(t *testing.T) {
			each(t, func(t *testing.T, in *instance) {
				in.clock.Store(in.now().Truncate(time.Second).UnixMicro()) // so that expires_in is exact
				a := in.abroad(t)
				in.application(t, func(s *oidc.ApplicationSpec) { s.AccessToken = format })
				from := a.obtain(t, "openid profile email offline_access")
				in.advance(time.Minute)
				response := in.switchTo(t, from.access, "tenant:hamburg")
				got := response.tokens(t)

				t.Run("RFC 8693 §2.2.1 the response", func(t *testing.T) {
					want := map[string]any{
						"token_type": "Bearer", "issued_token_type": oidc.TokenTypeAccess, "expires_in": float64(240), "scope": "openid profile email tenant:hamburg",
					}
					if diff := cmp.Diff(want, only(response.json(t), "token_type", "issued_token_type", "expires_in", "scope", "refresh_token", "id_token")); diff != "" {
						t.Error(diff)
					}
				})
				t.Run("the claims are of the other tenant, the sign-in is the same", func(t *testing.T) {
					want := map[string]any{
						"active": true, "sub": string(a.user.ID), "tid": string(a.hamburg.ID), "tenant": "hamburg", "roles": []any{"viewer"}, "client_id": "shop",
						"sid": string(a.session.ID), "auth_time": float64(a.session.AuthTime.Unix()), "acr": authn.ACR1, "aud": in.url,
						"exp": float64(in.now().Add(4 * time.Minute).Unix()),
					}
					names := []string{"active", "sub", "tid", "tenant", "roles", "client_id", "sid", "auth_time", "acr", "aud", "exp", "act"}
					if diff := cmp.Diff(want, only(in.introspect(t, got.access), names...)); diff != "" {
						t.Error(diff)
					}
					info := in.userInfo(t, got.access).status(t, http.StatusOK).json(t)
					if info["tid"] != string(a.hamburg.ID) || info["email"] != "ann@berlin.example" {
						t.Errorf("userinfo %v", info)
					}
				})
				t.Run("there and back again, by one grant for each", func(t *testing.T) {
					back := in.switchTo(t, got.access, "tenant:berlin openid").tokens(t)
					if tid := in.introspect(t, back.access)["tid"]; tid != string(a.tenant.ID) {
						t.Errorf("tid %v", tid)
					}
					again := in.switchTo(t, back.access, "openid", "tenant", string(a.hamburg.ID)).tokens(t)
					if again.scope != "openid" || in.introspect(t, again.access)["tid"] != string(a.hamburg.ID) {
						t.Errorf("scope %q", again.scope)
					}
					if events := in.trail.of("grant.create"); len(events) != 2 || events[1].Tenant != a.hamburg.ID || events[1].Data["exchanged_from"] == id.Grant("") {
						t.Errorf("events %v", events)
					}
				})
				t.Run("it stays while what is over is removed", func(t *testing.T) {
					must(t, in.oidc.Clean(t.Context()))
					if is := in.introspect(t, got.access)["active"]; is != true {
						t.Error("the token is gone")
					}
				})
				t.Run("it ends with the grant that it came from", func(t *testing.T) {
					in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {from.refresh}}).status(t, http.StatusOK)
					if is := in.introspect(t, got.access)["active"]; is != false {
						t.Error("the token is in force")
					}
					in.switchTo(t, got.access, "tenant:berlin").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
				})
			})
		})
	}
}

// TestTenantSwitch_Less: what comes out is never more than what went in.
func TestTenantSwitch_Less(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		a := in.abroad(t)
		orders, bills := "https://orders.example/", "https://bills.example/"
		in.application(t, func(s *oidc.ApplicationSpec) { s.Security.Resources = []string{orders, bills} })
		from := a.obtain(t, "openid profile offline_access").access

		for _, row := range []struct {
			name, scope string
			pairs       []string
			code        string // empty: granted
			want        string // the scopes
		}{
			{"less", "tenant:hamburg openid", nil, "", "openid tenant:hamburg"},
			{"in its own tenant", "openid", nil, "", "openid"},
			{"all of it", "", nil, "", "openid profile"},
			{"requested_token_type", "openid", []string{"requested_token_type", oidc.TokenTypeAccess}, "", "openid"},
			{"audience, the issuer", "openid", []string{"audience", in.url}, "", "openid"},
			{"a scope that the token has not", "tenant:hamburg openid email", nil, oidc.InvalidScope, ""},
			{"offline_access", "tenant:hamburg offline_access", nil, oidc.InvalidScope, ""},
			{"api", "tenant:hamburg api", nil, oidc.InvalidScope, ""},
			{"a scope that there is not", "gold", nil, oidc.InvalidScope, ""},
			{"two tenants", "tenant:hamburg tenant:berlin", nil, oidc.InvalidScope, ""},
			{"two tenants, by scope and parameter", "tenant:hamburg", []string{"tenant", "berlin"}, oidc.InvalidRequest, ""},
			{"a resource that the token is not for", "openid", []string{"resource", orders}, oidc.InvalidTarget, ""},
			{"an audience that the token is not for", "openid", []string{"audience", bills}, oidc.InvalidTarget, ""},
			{"an actor_token", "openid", []string{"actor_token", from, "actor_token_type", oidc.TokenTypeAccess}, oidc.InvalidRequest, ""},
			{"an ID token wanted", "openid", []string{"requested_token_type", "urn:ietf:params:oauth:token-type:id_token"}, oidc.InvalidRequest, ""},
			{"a refresh token wanted", "openid", []string{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, oidc.InvalidRequest, ""},
			{"an ID token given", "openid", []string{"subject_token_type", "urn:ietf:params:oauth:token-type:id_token"}, oidc.InvalidRequest, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				got := in.switchTo(t, from, row.scope, row.pairs...)
				if row.code != "" {
					got.oauthError(t, http.StatusBadRequest, row.code)
				} else if scope := got.tokens(t).scope; scope != row.want {
					t.Errorf("scope %q, want %q", scope, row.want)
				}
			})
		}
		t.Run("RFC 8707 the audience is a part of the token's", func(t *testing.T) {
			query := params("scope", "openid tenant:berlin", "resource", "")
			query["resource"] = []string{orders, bills}
			code := a.browser.get(t, "/oauth2/authorize", query).redirected(t, callback).Get("code")
			token := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).tokens(t).access
			audience := func(pairs ...string) any {
				t.Helper()
				return in.introspect(t, in.switchTo(t, token, "tenant:hamburg", pairs...).tokens(t).access)["aud"]
			}
			if diff := cmp.Diff([]any{orders, bills}, audience()); diff != "" {
				t.Error(diff)
			}
			if got := audience("audience", bills); got != bills {
				t.Errorf("aud %v", got)
			}
			in.switchTo(t, token, "tenant:hamburg", "audience", in.url).oauthError(t, http.StatusBadRequest, oidc.InvalidTarget)
			in.application(t, func(s *oidc.ApplicationSpec) { s.Security.Resources = []string{orders} })
			in.switchTo(t, token, "tenant:hamburg").oauthError(t, http.StatusBadRequest, oidc.InvalidTarget)
			in.switchTo(t, token, "tenant:hamburg", "audience", orders).tokens(t)
		})
		t.Run("RFC 9449 a bound token needs its key", func(t *testing.T) {
			key, other := newClientKey(t, jose.ES256, ""), newClientKey(t, jose.ES256, "")
			token := in.bound(t, "/oauth2/token", in.proof(t, key, "POST", "/oauth2/token", ""), redemption(a.browser.code(t, "scope", "openid tenant:berlin"))).tokens(t).access
			wish := exchangeOf(token, "scope", "tenant:hamburg openid")
			in.bound(t, "/oauth2/token", "", wish).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			in.bound(t, "/oauth2/token", in.proof(t, other, "POST", "/oauth2/token", ""), wish).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			got := in.bound(t, "/oauth2/token", in.proof(t, key, "POST", "/oauth2/token", ""), wish)
			if got.status(t, http.StatusOK).json(t)["token_type"] != "DPoP" {
				t.Error(got.body)
			}
			confirm, _ := in.introspect(t, got.tokens(t).access)["cnf"].(map[string]any)
			if confirm["jkt"] != key.thumbprint(t) {
				t.Errorf("cnf %v", confirm)
			}
		})
	})
}

// TestTenantSwitch_SubjectAlive: what does not work elsewhere is not exchanged, nor
// is what is not the person's own or another's business.
func TestTenantSwitch_SubjectAlive(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		a := in.abroad(t)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Secret, s.Tenant = "stranger", secret.NewText("stranger secret"), a.hamburg.ID
		})
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.Secret = "sister", secret.NewText("sister secret") })
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.Type, s.Secret = "spa", oidc.SPA, secret.Text{} })
		in.machine(t, a.tenant, nil)
		fresh := func() string { return a.obtain(t, "openid profile").access }
		refused := func(t *testing.T, token string) {
			t.Helper()
			in.switchTo(t, token, "tenant:hamburg").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		}
		t.Run("unknown", func(t *testing.T) { refused(t, fresh()+"x") })
		t.Run("empty", func(t *testing.T) { refused(t, "") })
		t.Run("an ID token", func(t *testing.T) { refused(t, a.obtain(t, "openid").id) })
		t.Run("a refresh token", func(t *testing.T) { refused(t, a.obtain(t, "openid").refresh) })
		t.Run("a machine's", func(t *testing.T) {
			token := in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}}).tokens(t).access
			in.direct(t, "/oauth2/token", "robot", robotSecret, exchangeOf(token, "scope", "tenant:hamburg")).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		})
		t.Run("revoked", func(t *testing.T) {
			token := fresh()
			in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {token}}).status(t, http.StatusOK)
			refused(t, token)
		})
		t.Run("expired", func(t *testing.T) {
			token := fresh()
			in.advance(oidc.AccessTokenLifetime)
			refused(t, token)
		})
		t.Run("for another application", func(t *testing.T) {
			token := fresh()
			in.direct(t, "/oauth2/token", "stranger", "stranger secret", exchangeOf(token, "scope", "tenant:hamburg")).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			in.direct(t, "/oauth2/token", "spa", "", exchangeOf(token, "scope", "tenant:hamburg", "client_id", "spa")).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			got := in.direct(t, "/oauth2/token", "sister", "sister secret", exchangeOf(token, "scope", "tenant:hamburg")).tokens(t)
			if client := in.introspect(t, got.access)["client_id"]; client != "sister" {
				t.Errorf("client_id %v", client)
			}
		})
		t.Run("locked out where it is from", func(t *testing.T) {
			token := fresh()
			d := &desk{in: in}
			d.setStatus(t, a.membership, directory.StatusSuspended)
			refused(t, token)
			d.setStatus(t, a.membership, directory.StatusActive)
		})
		t.Run("signed out", func(t *testing.T) {
			token := fresh()
			there := in.switchTo(t, token, "tenant:hamburg").tokens(t).access
			must(t, in.oidc.SignOut(t.Context(), a.session.ID))
			refused(t, token)
			if in.introspect(t, there)["active"] != false {
				t.Error("the exchanged token outlives the session")
			}
		})
	})
}

// TestTenantSwitch_Policy: the tenant's own rules count as at a sign-in.
func TestTenantSwitch_Policy(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		a := in.abroad(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.Type, s.Secret = "spa", oidc.SPA, secret.Text{} })
		in.tenant(t, "bremen", directory.Policy{}) // where Ann is nobody
		d := &desk{in: in}
		token := a.obtain(t, "openid").access
		exchange := func(scope string) answer { return in.switchTo(t, token, scope) }

		for name, scope := range map[string]string{"where the person is nobody": "tenant:bremen", "that there is not": "tenant:nowhere"} {
			t.Run("a tenant "+name, func(t *testing.T) {
				exchange(scope).oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
			})
		}
		for _, status := range []directory.Status{directory.StatusSuspended, directory.StatusInvited} {
			t.Run("a member who is "+string(status), func(t *testing.T) {
				d.setStatus(t, a.hamburgThere, status)
				exchange("tenant:hamburg").oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
				d.setStatus(t, a.hamburgThere, directory.StatusActive)
			})
		}
		t.Run("a tenant that is closed", func(t *testing.T) {
			d.changeTenant(t, a.hamburg, func(t *directory.Tenant) { t.Status = "suspended" })
			exchange("tenant:hamburg").oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
			d.changeTenant(t, a.hamburg, func(t *directory.Tenant) { t.Status = "enabled" })
		})
		t.Run("a lock-out ends what was exchanged", func(t *testing.T) {
			there := exchange("tenant:hamburg").tokens(t).access
			in.suspend(t, a.hamburgThere)
			d.setStatus(t, a.hamburgThere, directory.StatusActive)
			if in.introspect(t, there)["active"] != false || in.introspect(t, token)["active"] != true {
				t.Error("the wrong token ended")
			}
			exchange("tenant:hamburg").tokens(t)
		})
		t.Run("its networks", func(t *testing.T) {
			in.policy(t, a.hamburg, func(p *directory.Policy) { p.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
			code := a.browser.code(t, "client_id", "spa", "scope", "openid tenant:berlin")
			own := in.direct(t, "/oauth2/token", "spa", "", redemption(code, "client_id", "spa")).tokens(t).access
			wish := exchangeOf(own, "scope", "tenant:hamburg", "client_id", "spa")
			in.direct(t, "/oauth2/token", "spa", "", wish).oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			in.policy(t, a.hamburg, func(p *directory.Policy) { p.Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
			in.direct(t, "/oauth2/token", "spa", "", wish).tokens(t)
		})
		t.Run("a second factor", func(t *testing.T) {
			there := exchange("tenant:hamburg").tokens(t).access
			in.policy(t, a.hamburg, func(p *directory.Policy) { p.MFA = directory.MFARequired })
			exchange("tenant:hamburg").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			if in.introspect(t, there)["active"] != false {
				t.Error("a token of before is in force")
			}
			strong := in.browser(t)
			strong.signIn(t, a.user, authn.ACR2)
			got := in.switchTo(t, strong.obtain(t, "scope", "openid tenant:berlin").access, "tenant:hamburg").tokens(t)
			if acr := in.introspect(t, got.access)["acr"]; acr != authn.ACR2 {
				t.Errorf("acr %v", acr)
			}
		})
		t.Run("what counts as a second factor in one tenant need not in another", func(t *testing.T) {
			yes := true
			in.policy(t, a.tenant, func(p *directory.Policy) { p.EmailCodes = &yes })
			mailed := in.browser(t)
			mailed.signIn(t, a.user, authn.ACR1, authn.AMRMultipleChannels)
			token := mailed.obtain(t, "scope", "openid tenant:berlin").access
			if acr := in.introspect(t, token)["acr"]; acr != authn.ACR2 {
				t.Fatalf("acr %v in berlin", acr)
			}
			in.switchTo(t, token, "tenant:hamburg").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			in.policy(t, a.hamburg, func(p *directory.Policy) { p.EmailCodes = &yes })
			in.switchTo(t, token, "tenant:hamburg").tokens(t)
		})
	})
}

// TestTenantSwitch_Consent: what a person allowed a third-party application in one
// tenant is not allowed in another.
func TestTenantSwitch_Consent(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		a := in.abroad(t)
		in.application(t, thirdParty)
		code := func(scope string) string {
			got := a.browser.get(t, "/oauth2/authorize", params("scope", scope))
			return a.browser.allow(t, got, a.session).redirected(t, callback).Get("code")
		}
		token := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code("openid profile tenant:berlin"))).tokens(t).access
		in.switchTo(t, token, "tenant:hamburg openid").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		code("openid tenant:hamburg")
		in.switchTo(t, token, "tenant:hamburg openid").tokens(t)
		in.switchTo(t, token, "tenant:hamburg openid profile").oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
		in.switchTo(t, token, "openid").tokens(t)
	})
}
