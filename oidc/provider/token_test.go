package provider_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// person is the common case: Ann, a member of one tenant, signed in.
type person struct {
	tenant     *directory.Tenant
	user       *directory.User
	membership *directory.Membership
	browser    *browser
	session    *authn.Session
}

func (in *instance) person(t testing.TB) *person {
	t.Helper()
	p := &person{tenant: in.tenant(t, "berlin", directory.Policy{}), user: in.user(t, "ann@berlin.example"), browser: in.browser(t)}
	p.membership = in.member(t, p.tenant, p.user, directory.StatusActive, "admin")
	p.session = p.browser.signIn(t, p.user, authn.ACR1)
	return p
}

func TestCodeFlow(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		got := p.browser.get(t, "/oauth2/authorize", params("scope", "openid profile email groups permissions tenants"))
		reply := got.redirected(t, callback+"?")
		if reply.Get("state") != "the state" || reply.Get("iss") != in.url {
			t.Errorf("RFC 9207 §2: the reply is %v", reply)
		}
		response := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(reply.Get("code")))
		issued := response.tokens(t)

		t.Run("RFC 6749 §5.1 the response", func(t *testing.T) {
			v := response.json(t)
			if v["token_type"] != "Bearer" || v["expires_in"] != float64(300) || v["scope"] != "openid profile email groups permissions tenants" {
				t.Errorf("got %v", v)
			}
		})
		t.Run("RFC 9068 §2 the access token", func(t *testing.T) {
			header, claims := parts(t, issued.access)
			if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == "" {
				t.Errorf("header %v", header)
			}
			if claims["permissions"] == nil || claims["jti"] == "" {
				t.Errorf("claims %v", claims)
			}
			want := map[string]any{
				"iss": in.url, "aud": in.url, "sub": string(p.user.ID), "client_id": "shop", "scope": "openid profile email groups permissions tenants",
				"exp": float64(in.now().Add(5 * time.Minute).Unix()), "iat": float64(in.now().Unix()), "auth_time": float64(p.session.AuthTime.Unix()),
				"acr": authn.ACR1, "amr": []any{"pwd"}, "sid": string(p.session.ID), "tid": string(p.tenant.ID), "tenant": "berlin",
				"roles": []any{"admin"}, "groups": []any{},
				"tenants": []any{map[string]any{"tid": string(p.tenant.ID), "tenant": "berlin", "name": "BERLIN", "roles": []any{"admin"}}},
			}
			delete(claims, "jti")
			delete(claims, "permissions")
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("OIDC Core §2 the ID token", func(t *testing.T) {
			header, claims := parts(t, issued.id)
			if header["alg"] != "ES256" || header["typ"] != "JWT" {
				t.Errorf("header %v", header)
			}
			want := map[string]any{
				"iss": in.url, "aud": "shop", "sub": string(p.user.ID), "nonce": "the nonce", "sid": string(p.session.ID),
				"acr": authn.ACR1, "tid": string(p.tenant.ID), "tenant": "berlin", "roles": []any{"admin"},
			}
			if diff := cmp.Diff(want, only(claims, "iss", "aud", "sub", "nonce", "sid", "acr", "tid", "tenant", "roles", "email", "name")); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("OIDC Core §5.3 userinfo", func(t *testing.T) {
			got := in.userInfo(t, issued.access).status(t, http.StatusOK).json(t)
			delete(got, "permissions")
			delete(got, "tenants")
			want := map[string]any{
				"sub": string(p.user.ID), "name": "Ann Berg", "given_name": "Ann", "family_name": "Berg", "preferred_username": "ann@berlin.example",
				"locale": "de", "updated_at": float64(p.user.Modified.Unix()), "email": "ann@berlin.example", "email_verified": true,
				"tid": string(p.tenant.ID), "tenant": "berlin", "roles": []any{"admin"}, "groups": []any{},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	})
}

func TestScopesDecideTheClaims(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		_, claims := parts(t, p.browser.obtain(t).access)
		for _, name := range []string{"groups", "permissions", "tenants"} {
			if _, there := claims[name]; there {
				t.Errorf("the claim %s is there without its scope", name)
			}
		}
		if issued := p.browser.obtain(t, "scope", "groups"); issued.id != "" {
			t.Error("OIDC Core §3.1.2.1: an ID token without the scope openid")
		}
	})
}

func TestClaimTenantsIsBounded(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		for i := range 50 {
			other := in.tenant(t, "t"+string(rune('a'+i/10))+string(rune('0'+i%10)), directory.Policy{})
			in.member(t, other, p.user, directory.StatusActive)
		}
		waiting := in.tenant(t, "aaa", directory.Policy{})
		in.member(t, waiting, p.user, directory.StatusInvited)
		_, claims := parts(t, p.browser.obtain(t, "scope", "openid tenants tenant:berlin").id)
		list, _ := claims["tenants"].([]any)
		if len(list) != 50 || claims["tenants_truncated"] != true {
			t.Errorf("%d tenants, truncated %v; want 50, true", len(list), claims["tenants_truncated"])
		}
		for _, entry := range list {
			if entry, _ := entry.(map[string]any); entry["tenant"] == "aaa" {
				t.Error("a membership that waits for acceptance is claimed")
			}
		}
	})
}

func TestIDTokenAlgIsTheApplications(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		other := in.withStore(t, in.store)
		_, err := other.PublicKeys(t.Context()) // of before there is a key of EdDSA
		must(t, err)
		for _, alg := range oidc.TokenAlgs() {
			in.application(t, func(s *oidc.ApplicationSpec) { s.IDTokenAlg = alg })
			in.advance(time.Minute) // applications are cached
			issued := p.browser.obtain(t)
			header, claims := parts(t, issued.id)
			if header["alg"] != string(alg) {
				t.Errorf("ID token by %v, want %s", header["alg"], alg)
			}
			if header, _ := parts(t, issued.access); header["alg"] != "ES256" {
				t.Errorf("access token by %v", header["alg"])
			}
			// OIDC Core §3.1.3.6, of Ed25519 with the hash of RFC 8032 §5.1
			sum := sha256.Sum256([]byte(issued.access))
			half := sum[:16]
			if alg == oidc.EdDSA {
				sum := sha512.Sum512([]byte(issued.access))
				half = sum[:32]
			}
			if want := base64.RawURLEncoding.EncodeToString(half); claims["at_hash"] != want {
				t.Errorf("%s: at_hash %v, want %s", alg, claims["at_hash"], want)
			}
			if _, err := other.Hint(t.Context(), issued.id); err != nil {
				t.Errorf("%s: another node does not know the token: %v", alg, err)
			}
		}
	})
}

// TestAccessTokenAlgIsTheApplications is RFC 9068 §2.1 and §4: what an application
// chooses is what all its access tokens are signed by, with a key that is published,
// and every endpoint takes them.
func TestAccessTokenAlgIsTheApplications(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		a := in.abroad(t)
		other := in.withStore(t, in.store)
		_, err := other.PublicKeys(t.Context()) // of before there is a key of EdDSA
		must(t, err)
		program := in.applicationToken(t, authn.ApplicationToken{Tenant: a.tenant.ID, Name: "sync", Creator: a.user.ID})
		for _, alg := range oidc.TokenAlgs() {
			t.Run(string(alg), func(t *testing.T) {
				in.application(t, func(s *oidc.ApplicationSpec) { s.AccessTokenAlg = alg })
				in.machine(t, a.tenant, func(s *oidc.ApplicationSpec) { s.AccessTokenAlg = alg })
				in.advance(time.Minute) // applications and keys are cached
				provider, err := goidc.NewProvider(t.Context(), in.url)
				must(t, err)
				resource := provider.Verifier(&goidc.Config{ClientID: in.url, SupportedSigningAlgs: []string{string(alg)}, Now: in.now})
				signed := func(t *testing.T, got answer) tokens {
					t.Helper()
					issued := got.tokens(t)
					if header, _ := parts(t, issued.access); header["alg"] != string(alg) || header["typ"] != "at+jwt" {
						t.Errorf("header %v", header)
					}
					_, err := resource.Verify(t.Context(), issued.access)
					must(t, err)
					return issued
				}
				issued := signed(t, in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(a.browser.code(t, "scope", "openid offline_access tenant:berlin"))))
				if header, _ := parts(t, issued.id); header["alg"] != "ES256" {
					t.Errorf("ID token by %v", header["alg"])
				}
				issued = signed(t, in.refresh(t, issued.refresh))
				signed(t, in.switchTo(t, issued.access, "tenant:hamburg openid"))
				signed(t, in.direct(t, "/oauth2/token", "shop", shopSecret, exchangeOf(program)))
				in.userInfo(t, issued.access).status(t, http.StatusOK)
				if got := in.introspect(t, issued.access); got["active"] != true || got["sub"] != string(a.user.ID) {
					t.Errorf("introspection: %v", got)
				}
				if _, err := other.UserInfo(t.Context(), oidc.Bearer(secret.NewText(issued.access))); err != nil {
					t.Errorf("another node does not know the token: %v", err)
				}
				in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {issued.access}}).status(t, http.StatusOK)
				in.userInfo(t, issued.access).oauthError(t, http.StatusUnauthorized, "invalid_token")
				robot := signed(t, in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}}))
				if got := in.direct(t, "/oauth2/introspect", "robot", robotSecret, url.Values{"token": {robot.access}}).json(t); got["active"] != true {
					t.Errorf("introspection: %v", got)
				}
			})
		}
	})
}

func TestCodeIsBound(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.RedirectURIs = "other", []string{callback, "https://other.example/"}
		})
		for name, pairs := range map[string][]string{
			"RFC 6749 §4.1.3 to the redirect URI": {"redirect_uri", "https://shop.example/callback/"},
			"RFC 7636 §4.6 to the challenge":      {"code_verifier", verifier + "x"},
			"RFC 7636 §4.1 a short verifier":      {"code_verifier", "short"},
		} {
			t.Run(name, func(t *testing.T) {
				in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t), pairs...)).oauthError(t, 400, "invalid_grant")
			})
		}
		t.Run("RFC 6749 §4.1.3 to the application", func(t *testing.T) {
			code := p.browser.code(t)
			in.direct(t, "/oauth2/token", "other", shopSecret, redemption(code)).oauthError(t, 400, "invalid_grant")
			in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).tokens(t)
		})
		t.Run("RFC 9700 §2.1.1 to a minute", func(t *testing.T) {
			code := p.browser.code(t)
			in.advance(61 * time.Second)
			in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).oauthError(t, 400, "invalid_grant")
		})
		t.Run("to a membership in force", func(t *testing.T) {
			code := p.browser.code(t)
			in.suspend(t, p.membership)
			in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).oauthError(t, 400, "invalid_grant")
		})
	})
}

func TestRefresh(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID = "other" })
		t.Run("RFC 6749 §6 rotates", func(t *testing.T) {
			first := p.browser.obtain(t)
			second := in.refresh(t, first.refresh).tokens(t)
			if second.refresh == "" || second.refresh == first.refresh || second.access == first.access || second.id == "" {
				t.Errorf("got %+v", second)
			}
			in.refresh(t, second.refresh).tokens(t)
		})
		t.Run("RFC 9700 §4.14.2 reuse revokes the family", func(t *testing.T) {
			first := p.browser.obtain(t)
			second := in.refresh(t, first.refresh).tokens(t)
			in.advance(oidc.RefreshGrace)
			in.refresh(t, first.refresh).oauthError(t, 400, "invalid_grant")
			in.refresh(t, second.refresh).oauthError(t, 400, "invalid_grant")
			if in.introspect(t, second.access)["active"] != false {
				t.Error("the family's access token is still active")
			}
		})
		t.Run("RFC 9700 §4.14.2 within the grace the same next one", func(t *testing.T) {
			first := p.browser.obtain(t)
			second := in.refresh(t, first.refresh).tokens(t)
			in.advance(oidc.RefreshGrace - time.Second)
			again := in.refresh(t, first.refresh).tokens(t)
			if again.refresh != second.refresh || again.access == second.access || again.id == "" {
				t.Errorf("got %+v, want the refresh token of %+v", again, second)
			}
			in.userInfo(t, again.access).status(t, http.StatusOK)
			in.refresh(t, second.refresh).tokens(t)
		})
		t.Run("RFC 9700 §4.14.2 not when the next one was used", func(t *testing.T) {
			first := p.browser.obtain(t)
			second := in.refresh(t, first.refresh).tokens(t)
			third := in.refresh(t, second.refresh).tokens(t)
			in.refresh(t, first.refresh).oauthError(t, 400, "invalid_grant")
			in.refresh(t, third.refresh).oauthError(t, 400, "invalid_grant")
		})
		t.Run("RFC 9700 §4.14.2 within the grace nothing of another's, nor of what was revoked", func(t *testing.T) {
			first := p.browser.obtain(t)
			second := in.refresh(t, first.refresh).tokens(t)
			in.direct(t, "/oauth2/token", "other", shopSecret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.refresh}}).
				oauthError(t, 400, "invalid_grant")
			in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {second.refresh}}).status(t, http.StatusOK)
			in.refresh(t, first.refresh).oauthError(t, 400, "invalid_grant")
		})
		t.Run("RFC 6749 §6 narrows, and the grant keeps its scopes", func(t *testing.T) {
			first := p.browser.obtain(t, "scope", "openid email groups")
			second := in.refresh(t, first.refresh, "scope", "openid").tokens(t)
			if second.scope != "openid" {
				t.Errorf("scope %q", second.scope)
			}
			if third := in.refresh(t, second.refresh).tokens(t); third.scope != "openid email groups" {
				t.Errorf("scope %q", third.scope)
			}
		})
		t.Run("RFC 6749 §6 never widens, and uses nothing up", func(t *testing.T) {
			first := p.browser.obtain(t)
			for _, scope := range []string{"openid email", "openid tenant:paris", "openid unknown"} {
				in.refresh(t, first.refresh, "scope", scope).oauthError(t, 400, "invalid_scope")
			}
			in.refresh(t, first.refresh).tokens(t)
		})
		t.Run("RFC 6749 §10.4 bound to the application", func(t *testing.T) {
			first := p.browser.obtain(t)
			in.direct(t, "/oauth2/token", "other", shopSecret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.refresh}}).
				oauthError(t, 400, "invalid_grant")
			in.refresh(t, first.refresh).tokens(t)
		})
		t.Run("30 days without use", func(t *testing.T) {
			first := p.browser.obtain(t, "scope", "openid offline_access")
			in.advance(31 * 24 * time.Hour)
			in.refresh(t, first.refresh).oauthError(t, 400, "invalid_grant")
		})
	})
}

func TestWhatEndsAGrant(t *testing.T) {
	cases := map[string]struct {
		scope string
		end   func(t *testing.T, in *instance, p *person)
		dies  bool
	}{
		"suspended membership": {"openid offline_access", func(t *testing.T, in *instance, p *person) { in.suspend(t, p.membership) }, true},
		"deleted membership": {"openid offline_access", func(t *testing.T, in *instance, p *person) {
			must(t, in.store.DeleteMembership(t.Context(), p.tenant.ID, p.membership.ID))
		}, true},
		"disabled user": {"openid offline_access", func(t *testing.T, in *instance, p *person) {
			_, err := in.store.UpdateUser(t.Context(), p.user.ID, func(u *directory.User) error { u.Disabled = true; return nil })
			must(t, err)
		}, true},
		"suspended tenant": {"openid offline_access", func(t *testing.T, in *instance, p *person) {
			_, err := in.store.UpdateTenant(t.Context(), p.tenant.ID, func(u *directory.Tenant) error { u.Status = "suspended"; return nil })
			must(t, err)
		}, true},
		"tenant demands two factors": {"openid offline_access", func(t *testing.T, in *instance, p *person) {
			_, err := in.store.UpdateTenant(t.Context(), p.tenant.ID, func(u *directory.Tenant) error { u.Policy.MFA = directory.MFARequired; return nil })
			must(t, err)
		}, true},
		"sign-out": {"openid", func(t *testing.T, in *instance, p *person) { must(t, in.oidc.SignOut(t.Context(), p.session.ID)) }, true},
		"sign-out, offline_access": {"openid offline_access", func(t *testing.T, in *instance, p *person) {
			must(t, in.oidc.SignOut(t.Context(), p.session.ID))
		}, false},
		"end of the login": {"openid", func(t *testing.T, in *instance, p *person) { must(t, in.oidc.EndLogin(t.Context(), p.user.ID)) }, true},
		"session over":     {"openid", func(_ *testing.T, in *instance, _ *person) { in.advance(24 * time.Hour) }, true},
		"nothing":          {"openid", func(*testing.T, *instance, *person) {}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, in *instance) {
				p := in.person(t)
				in.application(t, nil)
				elsewhere := in.tenant(t, "paris", directory.Policy{})
				in.member(t, elsewhere, p.user, directory.StatusActive)
				issued := p.browser.obtain(t, "scope", c.scope+" tenant:berlin")
				if in.introspect(t, issued.access)["active"] != true {
					t.Fatal("not active to begin with")
				}
				c.end(t, in, p)
				if active := in.introspect(t, issued.access)["active"]; active != !c.dies && name != "session over" {
					t.Errorf("introspection: active %v", active)
				}
				if c.dies {
					code := "invalid_token"
					if name == "tenant demands two factors" {
						code = "insufficient_user_authentication" // RFC 9470
					}
					in.userInfo(t, issued.access).oauthError(t, 401, code)
					in.refresh(t, issued.refresh).oauthError(t, 400, "invalid_grant")
				} else {
					in.userInfo(t, issued.access).status(t, 200)
					in.refresh(t, issued.refresh).tokens(t)
				}
			})
		})
	}
}

func TestLockOutLeavesTheOtherTenantAlone(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.member(t, in.tenant(t, "paris", directory.Policy{}), p.user, directory.StatusActive)
		here, there := p.browser.obtain(t, "scope", "openid tenant:berlin"), p.browser.obtain(t, "scope", "openid tenant:paris")
		in.suspend(t, p.membership)
		if in.introspect(t, here.access)["active"] != false || in.introspect(t, there.access)["active"] != true {
			t.Error("the lock-out reached the wrong tenant")
		}
		in.refresh(t, there.refresh).tokens(t)
	})
}

func TestClientCredentials(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		berlin := in.tenant(t, "berlin", directory.Policy{})
		in.machine(t, berlin, nil)
		in.application(t, nil)
		ask := func(pairs ...string) answer {
			form := url.Values{"grant_type": {"client_credentials"}}
			set(form, pairs)
			return in.direct(t, "/oauth2/token", "robot", robotSecret, form)
		}
		t.Run("RFC 6749 §4.4.3 the token is the application's own", func(t *testing.T) {
			issued := ask().tokens(t)
			if issued.refresh != "" || issued.id != "" {
				t.Errorf("got %+v", issued)
			}
			_, claims := parts(t, issued.access)
			delete(claims, "jti")
			want := map[string]any{
				"iss": in.url, "aud": in.url, "sub": "robot", "client_id": "robot", "iat": float64(in.now().Unix()),
				"exp": float64(in.now().Add(5 * time.Minute).Unix()), "tid": string(berlin.ID), "tenant": "berlin", "roles": []any{"api"},
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
			in.userInfo(t, issued.access).oauthError(t, 403, "insufficient_scope")
		})
		t.Run("RFC 6749 §3.3 scopes", func(t *testing.T) {
			if issued := ask("scope", "permissions tenant:berlin openid").tokens(t); issued.scope != "permissions tenant:berlin" {
				t.Errorf("scope %q", issued.scope)
			}
			ask("scope", "tenant:paris").oauthError(t, 400, "invalid_scope")
			ask("scope", "openid").oauthError(t, 400, "invalid_scope")
		})
		t.Run("RFC 6749 §5.2 not for an application that signs people in", func(t *testing.T) {
			in.direct(t, "/oauth2/token", "shop", shopSecret, url.Values{"grant_type": {"client_credentials"}}).oauthError(t, 400, "unauthorized_client")
		})
		t.Run("opaque", func(t *testing.T) {
			in.machine(t, berlin, func(s *oidc.ApplicationSpec) {
				s.ClientID, s.AccessToken, s.Secret = "opaque", oidc.FormatOpaque, secret.NewText(robotSecret)
			})
			issued := in.direct(t, "/oauth2/token", "opaque", robotSecret, url.Values{"grant_type": {"client_credentials"}}).tokens(t)
			got := in.direct(t, "/oauth2/introspect", "opaque", robotSecret, url.Values{"token": {issued.access}}).json(t)
			if got["active"] != true || got["sub"] != "opaque" || got["tenant"] != "berlin" {
				t.Errorf("introspection %v", got)
			}
		})
		t.Run("a suspended tenant's machine gets nothing", func(t *testing.T) {
			issued := ask().tokens(t)
			_, err := in.store.UpdateTenant(t.Context(), berlin.ID, func(u *directory.Tenant) error { u.Status = "suspended"; return nil })
			must(t, err)
			time.Sleep(2100 * time.Millisecond) // the application's cache follows the real clock
			ask().oauthError(t, 400, "unauthorized_client")
			if got := in.direct(t, "/oauth2/introspect", "robot", robotSecret, url.Values{"token": {issued.access}}).json(t); got["active"] != false {
				t.Errorf("introspection %v", got)
			}
		})
	})
}
