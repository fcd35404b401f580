package provider_test

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestDiscovery(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
			got := in.browser(t).get(t, path, nil).status(t, http.StatusOK)
			if got.Header.Get("Cache-Control") != "public, max-age=300" || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
				t.Errorf("%s: %v", path, got.Header)
			}
			indented, err := json.MarshalIndent(json.RawMessage(got.body), "", "  ")
			must(t, err)
			golden(t, "discovery.json", strings.ReplaceAll(string(indented), in.url, "https://id.example")+"\n")
		}
	})
}

func TestKeysRotate(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.IDTokenAlg = oidc.RS256 })
		published := func() map[string]bool {
			response := in.browser(t).get(t, "/oauth2/keys", nil).status(t, http.StatusOK)
			if response.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("Cache-Control %q", response.Header.Get("Cache-Control"))
			}
			ids := map[string]bool{}
			keys, _ := response.json(t)["keys"].([]any)
			for _, key := range keys {
				key, _ := key.(map[string]any)
				ids[key["kid"].(string)] = true
			}
			return ids
		}
		kid := func(token string) string { header, _ := parts(t, token); return header["kid"].(string) }
		before := p.browser.obtain(t, "scope", "openid offline_access")
		known := published()
		must(t, in.oidc.RotateKeys(t.Context()))
		after := in.refresh(t, before.refresh).tokens(t)
		switch {
		case kid(after.access) == kid(before.access) || kid(after.id) == kid(before.id):
			t.Error("the keys are the same")
		case !known[kid(after.access)]:
			t.Error("the key was not published before it signed")
		case !published()[kid(before.access)] || !published()[kid(before.id)]:
			t.Error("a retiring key is not published")
		}
		in.userInfo(t, before.access).status(t, http.StatusOK)
		in.advance(25 * time.Hour)
		must(t, in.oidc.Clean(t.Context()))
		in.advance(time.Minute) // the node's copy of the keys
		if published()[kid(before.access)] {
			t.Error("a key that has retired long ago is still published")
		}
		keys, err := in.oidc.Keys(t.Context())
		must(t, err)
		states := map[oidc.Alg]map[oidc.KeyState]int{}
		for _, key := range keys {
			if len(key.Private) != 0 {
				t.Error("Keys shows a private part")
			}
			if states[key.Alg] == nil {
				states[key.Alg] = map[oidc.KeyState]int{}
			}
			states[key.Alg][key.State]++
		}
		for alg, have := range states {
			if have[oidc.KeyActive] != 1 || have[oidc.KeyNext] != 1 || have[oidc.KeyRetiring] != 0 {
				t.Errorf("%s: %v", alg, have)
			}
		}
	})
}

// TestKeysRotateBySchedule goes through a year in steps of six hours:
// each key is published for a day before it signs, and for a day after.
func TestKeysRotateBySchedule(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		in.application(t, func(s *oidc.ApplicationSpec) { s.IDTokenAlg = oidc.EdDSA })
		published := map[string]time.Time{} // since when, by kid
		signed := map[string]time.Time{}    // when last
		changes := map[oidc.Alg]int{}
		active := map[oidc.Alg]id.Key{}
		for range 365 * 4 {
			must(t, in.oidc.Clean(t.Context()))
			keys, err := in.oidc.Keys(t.Context())
			must(t, err)
			set := map[string]bool{}
			public, err := in.oidc.PublicKeys(t.Context())
			must(t, err)
			for _, key := range public.Keys {
				set[key.KeyID] = true
				if published[key.KeyID].IsZero() {
					published[key.KeyID] = in.now()
				}
			}
			for _, key := range keys {
				if key.State != oidc.KeyActive {
					continue
				}
				if active[key.Alg] != "" && active[key.Alg] != key.ID {
					changes[key.Alg]++
					if since := in.now().Sub(published[string(key.ID)]); since < 24*time.Hour {
						t.Fatalf("a key of %s signs %s after it was published first", key.Alg, since)
					}
				}
				active[key.Alg] = key.ID
				signed[string(key.ID)] = in.now()
			}
			for kid, last := range signed {
				if in.now().Sub(last) < 18*time.Hour && !set[kid] {
					t.Fatalf("key %s is not published, and signed until %s ago", kid, in.now().Sub(last))
				}
			}
			in.advance(6 * time.Hour)
		}
		for _, alg := range oidc.TokenAlgs() {
			if changes[alg] != 4 {
				t.Errorf("%s: %d changes in a year, want 4", alg, changes[alg])
			}
		}
	})
}

func TestKeysOfSeveralNodesAgree(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := in.oidc.EnsureKeys(t.Context()); err != nil {
					t.Error(err)
				}
				if err := in.oidc.Clean(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		keys, err := in.oidc.Keys(t.Context())
		must(t, err)
		if len(keys) != 4 {
			t.Errorf("%d keys, want an active and a next one for each of two algorithms", len(keys))
		}
	})
}

func TestClientAuthentication(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Type, s.Secret = "page", oidc.SPA, secret.Text{}
		})
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.Secret = "odd", secret.NewText("a:b+c %ü") })
		form := func(pairs ...string) url.Values {
			v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
			set(v, pairs)
			return v
		}
		send := func(t *testing.T, form url.Values, user, password string) answer {
			return in.post(t, http.DefaultClient, "/oauth2/token", form, func(r *http.Request) {
				if user != "" {
					r.SetBasicAuth(user, password)
				}
			})
		}
		authenticated := func(a answer) { t.Helper(); a.oauthError(t, 400, "invalid_grant") }
		t.Run("RFC 6749 §2.3.1 by header or body", func(t *testing.T) {
			authenticated(send(t, form(), "shop", url.QueryEscape(shopSecret)))
			authenticated(send(t, form("client_id", "shop", "client_secret", shopSecret), "", ""))
			authenticated(send(t, form("client_id", "shop"), "shop", url.QueryEscape(shopSecret)))
			authenticated(send(t, form(), "odd", url.QueryEscape("a:b+c %ü")))
			authenticated(send(t, form("client_id", "page"), "", ""))
		})
		t.Run("RFC 6749 §2.3 one method", func(t *testing.T) {
			send(t, form("client_id", "shop", "client_secret", shopSecret), "shop", url.QueryEscape(shopSecret)).oauthError(t, 400, "invalid_request")
			send(t, form("client_secret", shopSecret), "shop", url.QueryEscape(shopSecret)).oauthError(t, 400, "invalid_request")
			send(t, form("client_id", "odd"), "shop", url.QueryEscape(shopSecret)).oauthError(t, 400, "invalid_request")
		})
		t.Run("refused", func(t *testing.T) {
			send(t, form("client_id", "shop"), "", "").oauthError(t, 401, "invalid_client")                          // its secret is missing
			send(t, form("client_id", "page", "client_secret", "x"), "", "").oauthError(t, 401, "invalid_client")    // has none
			send(t, form(), "shop", "%zz").oauthError(t, 401, "invalid_client")                                      // encoded wrongly
			send(t, form("client_id", "shop", "client_assertion", "x"), "", "").oauthError(t, 401, "invalid_client") // without its type
			in.post(t, http.DefaultClient, "/oauth2/token", form("client_id", "shop", "client_secret", shopSecret), func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer x")
			}).oauthError(t, 401, "invalid_client")
		})
		t.Run("RFC 7662 §2.1 introspection needs it", func(t *testing.T) {
			in.direct(t, "/oauth2/introspect", "", "", url.Values{"client_id": {"page"}, "token": {"x"}}).oauthError(t, 401, "invalid_client")
		})
		t.Run("a secret that was replaced", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { s.Secret = secret.NewText("next") })
			in.refresh(t, "x").oauthError(t, 401, "invalid_client")
			authenticated(send(t, form(), "shop", "next"))
		})
		_ = p
	})
}

func TestIntrospectionTellsNoStranger(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID = "sibling" })
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Tenant = "stranger", in.tenant(t, "paris", directory.Policy{}).ID
		})
		issued := p.browser.obtain(t)
		for caller, want := range map[string]bool{"shop": true, "sibling": true, "stranger": false} {
			got := in.direct(t, "/oauth2/introspect", caller, shopSecret, url.Values{"token": {issued.access}}).status(t, 200).json(t)
			if got["active"] != want || !want && len(got) != 1 {
				t.Errorf("%s: %v", caller, got)
			}
		}
		got := in.introspect(t, issued.access)
		if got["sub"] != string(p.user.ID) || got["client_id"] != "shop" || got["tenant"] != "berlin" || got["scope"] != "openid" || got["token_type"] != "Bearer" {
			t.Errorf("RFC 7662 §2.2: %v", got)
		}
		if got := in.introspect(t, issued.refresh); got["active"] != true || got["tid"] != string(p.tenant.ID) {
			t.Errorf("the refresh token: %v", got)
		}
		in.advance(5 * time.Minute)
		if got := in.introspect(t, issued.access); got["active"] != false || len(got) != 1 {
			t.Errorf("an expired token: %v", got)
		}
	})
}

func TestOpaqueAccessTokens(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.AccessToken = oidc.FormatOpaque })
		issued := p.browser.obtain(t, "scope", "openid email groups")
		if strings.Contains(issued.access, ".") {
			t.Fatalf("%q is not opaque", issued.access)
		}
		got := in.introspect(t, issued.access)
		if got["active"] != true || got["sub"] != string(p.user.ID) || got["username"] != "ann@berlin.example" || cmp.Diff(got["roles"], []any{"admin"}) != "" {
			t.Errorf("got %v", got)
		}
		in.userInfo(t, issued.access).status(t, 200)
		must(t, in.store.Assign(t.Context(), directory.Assignment{Tenant: p.tenant.ID, Membership: p.membership.ID, Role: "owner", Source: directory.AssignedDirect}, in.now()))
		if got := in.introspect(t, issued.access); cmp.Diff(got["roles"], []any{"admin", "owner"}) != "" {
			t.Errorf("roles %v: not those of now", got["roles"])
		}
		in.suspend(t, p.membership)
		if got := in.introspect(t, issued.access); got["active"] != false {
			t.Errorf("got %v", got)
		}
		in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token")
	})
}

func TestRevocation(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.AccessToken = "opaque", oidc.FormatOpaque })
		in.machine(t, p.tenant, nil)
		revoke := func(client, password, token string) answer {
			return in.direct(t, "/oauth2/revoke", client, password, url.Values{"token": {token}})
		}
		t.Run("RFC 7009 §2.1 a refresh token takes all with it", func(t *testing.T) {
			issued := p.browser.obtain(t)
			revoke("shop", shopSecret, issued.refresh).status(t, 200)
			in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token")
			in.refresh(t, issued.refresh).oauthError(t, 400, "invalid_grant")
		})
		t.Run("RFC 7009 §2.1 an access token goes alone", func(t *testing.T) {
			issued := p.browser.obtain(t)
			revoke("shop", shopSecret, issued.access).status(t, 200)
			in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token")
			in.refresh(t, issued.refresh).tokens(t)
		})
		t.Run("an opaque one", func(t *testing.T) {
			code := p.browser.code(t, "client_id", "opaque")
			issued := in.direct(t, "/oauth2/token", "opaque", shopSecret, redemption(code)).tokens(t)
			in.userInfo(t, issued.access).status(t, 200)
			revoke("opaque", shopSecret, issued.access).status(t, 200)
			in.userInfo(t, issued.access).oauthError(t, 401, "invalid_token")
		})
		t.Run("a machine's", func(t *testing.T) {
			issued := in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}}).tokens(t)
			revoke("robot", robotSecret, issued.access).status(t, 200)
			if got := in.direct(t, "/oauth2/introspect", "robot", robotSecret, url.Values{"token": {issued.access}}).json(t); got["active"] != false {
				t.Errorf("got %v", got)
			}
		})
		t.Run("RFC 7009 §2.2 the unknown is no error", func(t *testing.T) {
			revoke("shop", shopSecret, "rubbish").status(t, 200)
			revoke("shop", shopSecret, "rcrt_rubbish").status(t, 200)
			revoke("shop", shopSecret, "").oauthError(t, 400, "invalid_request")
		})
		t.Run("RFC 7009 §2.1 another's token", func(t *testing.T) {
			issued := p.browser.obtain(t)
			for _, token := range []string{issued.access, issued.refresh} {
				revoke("opaque", shopSecret, token).oauthError(t, 400, "invalid_request")
			}
			in.userInfo(t, issued.access).status(t, 200)
		})
	})
}

func TestUserInfoTakesTheTokenByOneMethod(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		issued := p.browser.obtain(t)
		send := func(method, query, authorization string, form url.Values) answer {
			var r *http.Request
			var err error
			if form == nil {
				r, err = http.NewRequestWithContext(t.Context(), method, in.url+"/oauth2/userinfo"+query, nil)
			} else {
				r, err = http.NewRequestWithContext(t.Context(), method, in.url+"/oauth2/userinfo"+query, strings.NewReader(form.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			must(t, err)
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			return do(t, http.DefaultClient, r)
		}
		send(http.MethodGet, "", "bearer "+issued.access, nil).status(t, 200)
		send(http.MethodPost, "", "Bearer "+issued.access, nil).status(t, 200)
		send(http.MethodPost, "", "", url.Values{"access_token": {issued.access}}).status(t, 200)
		send(http.MethodPost, "", "Bearer "+issued.access, url.Values{"access_token": {issued.access}}).oauthError(t, 400, "invalid_request")
		for name, got := range map[string]answer{
			"none": send(http.MethodGet, "", "", nil), "RFC 9700 §4.3.2 in the address": send(http.MethodGet, "?access_token="+issued.access, "", nil),
		} {
			if got.StatusCode != 401 || got.Header.Get("WWW-Authenticate") != `Bearer realm="rolecall"` {
				t.Errorf("RFC 6750 §3.1 %s: %d %q", name, got.StatusCode, got.Header.Get("WWW-Authenticate"))
			}
		}
		if got := send(http.MethodGet, "", "Bearer x", nil); !strings.Contains(got.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("WWW-Authenticate %q", got.Header.Get("WWW-Authenticate"))
		}
		send(http.MethodPut, "", "", nil).status(t, 405)
		narrow := p.browser.obtain(t, "scope", "email")
		in.userInfo(t, narrow.access).oauthError(t, 403, "insufficient_scope")
	})
}

// TestOneWinner redeems one secret many times at once (RFC 9700 §2.1.1, §4.14.2).
func TestOneWinner(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		race := func(t *testing.T, form url.Values) []answer {
			answers := make([]answer, 50)
			var group sync.WaitGroup
			for i := range answers {
				group.Go(func() { answers[i] = in.direct(t, "/oauth2/token", "shop", shopSecret, form) })
			}
			group.Wait()
			var won []answer
			for _, a := range answers {
				if a.StatusCode == http.StatusOK {
					won = append(won, a)
				} else {
					a.oauthError(t, 400, "invalid_grant")
				}
			}
			return won
		}
		t.Run("codes", func(t *testing.T) {
			won := race(t, redemption(p.browser.code(t)))
			if len(won) != 1 {
				t.Fatalf("%d of 50 succeeded, want 1", len(won))
			}
			in.userInfo(t, won[0].tokens(t).access).oauthError(t, 401, "invalid_token") // the others have revoked it
		})
		t.Run("refresh tokens", func(t *testing.T) {
			issued := p.browser.obtain(t)
			next := map[string]int{}
			for _, won := range race(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}) {
				next[won.tokens(t).refresh]++
			}
			if len(next) != 1 || next[issued.refresh] != 0 {
				t.Fatalf("got %v, want one next token for all", next)
			}
			for token, times := range next {
				if times != 50 {
					t.Errorf("%d of 50 got it", times)
				}
				in.refresh(t, token).tokens(t)
			}
			in.refresh(t, issued.refresh).oauthError(t, 400, "invalid_grant")
		})
		t.Run("authorization requests", func(t *testing.T) {
			b := in.browser(t)
			request := b.authorize(t).waits(t, "/login")
			b.signIn(t, p.user, "urn:rolecall:acr:1")
			codes := make([]bool, 20)
			var group sync.WaitGroup
			for i := range codes {
				group.Go(func() { codes[i] = strings.Contains(b.resume(t, request).Header.Get("Location"), "code=") })
			}
			group.Wait()
			won := 0
			for _, ok := range codes {
				if ok {
					won++
				}
			}
			if won != 1 {
				t.Errorf("%d codes for one request", won)
			}
		})
	})
}

// interrupted does something else just before a grant is stored.
type interrupted struct {
	oidc.Store
	meanwhile func()
}

func (i *interrupted) CreateGrant(ctx context.Context, g *oidc.Grant) error {
	i.meanwhile()
	return i.Store.CreateGrant(ctx, g)
}

// TestLockOutAgainstSignIn has a lock-out come while a grant is being made. It
// must wait for the grant and find it, or the grant would come back to life with
// the membership.
func TestLockOutAgainstSignIn(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		suspended := make(chan struct{})
		node := in.withStore(t, &interrupted{in.store, func() {
			go func() {
				defer close(suspended)
				in.suspend(t, p.membership)
			}()
			select {
			case <-suspended: // it has not waited
			case <-time.After(300 * time.Millisecond):
			}
		}})
		request := node.NewRequest("shop", secret.NewText("a browser"), oidc.Parameters{
			RedirectURI: callback, Scopes: []string{"openid", "offline_access"}, Challenge: challenge(),
		})
		code, err := node.Authorize(t.Context(), request, p.session, false)
		must(t, err)
		<-suspended
		_, err = in.store.UpdateMembership(t.Context(), p.tenant.ID, p.membership.ID, func(m *directory.Membership) error {
			m.Status = directory.StatusActive
			return nil
		})
		must(t, err)
		in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code.Reveal())).oauthError(t, 400, "invalid_grant")
	})
}

// TestComeBackLater: the token endpoint says that it is too much for now, and when to
// come back (RFC 6585 §4, RFC 9110 §15.6.4), never that the server is broken.
func TestComeBackLater(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		code := p.browser.code(t)
		for kind, status := range map[fault.Kind]int{fault.Throttled: http.StatusTooManyRequests, fault.Overloaded: http.StatusServiceUnavailable} {
			in.trail.refuse.Store(&fault.Error{Kind: kind, Detail: "too much", RetryAfter: 1500 * time.Millisecond})
			got := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).oauthError(t, status, "temporarily_unavailable")
			if after, description := got.Header.Get("Retry-After"), got.json(t)["error_description"]; after != "2" || description != "too much" {
				t.Errorf("%d: Retry-After %q, %v", status, after, description)
			}
		}
		in.trail.refuse.Store(nil)
		got := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).status(t, http.StatusOK)
		if got.Header.Get("Retry-After") != "" {
			t.Error("Retry-After on success")
		}
	})
}
