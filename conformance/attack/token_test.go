package attack

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
)

// TestCodeReplay is RFC 6749 §4.1.2: a code works once, and a second use ends
// what the first gave.
func TestCodeReplay(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		for _, app := range []application.Application{g.shop, g.till} {
			request := app.Request("openid tenant:zeta offline_access")
			code := check(app.Code(t.Context(), g.browser(t), request, walt))(t)
			first := must(t, "redeem", check(app.Redeem(t.Context(), request, code))(t), http.StatusOK)
			wantError(t, "replay", check(app.Redeem(t.Context(), request, code))(t), http.StatusBadRequest, "invalid_grant")
			if got := check(app.Introspect(t.Context(), first.String("access_token")))(t); got.Body["active"] != false {
				t.Errorf("%s: the access token of a replayed code is active", app.ClientID)
			}
			if got := check(app.UserInfo(t.Context(), first.String("access_token")))(t); got.Status != http.StatusUnauthorized {
				t.Errorf("%s: userinfo for a replayed code: got %d, want 401", app.ClientID, got.Status)
			}
			wantError(t, "refresh after a replay", check(app.Refresh(t.Context(), first.String("refresh_token")))(t), http.StatusBadRequest, "invalid_grant")
		}
	})
}

// TestCodeRace is RFC 9700 §2.1.1 and the race behind it: of fifty redemptions
// at once one succeeds.
func TestCodeRace(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		request := g.shop.Request("openid tenant:zeta")
		code := check(g.shop.Code(t.Context(), g.browser(t), request, walt))(t)
		statuses := race(t, func() (*application.Answer, error) { return g.shop.Redeem(t.Context(), request, code) })
		if statuses[http.StatusOK] != 1 || statuses[http.StatusBadRequest] != 49 {
			t.Errorf("got statuses %v, want 200 once and 400 for the others", statuses)
		}
	})
}

// TestRefreshRace: fifty exchanges of one refresh token at once, as by the windows
// of one application, have one next token between them. Whoever comes with the old
// one after that was used ends the family.
func TestRefreshRace(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		first := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("refresh_token")
		var mu sync.Mutex
		next := map[string]int{}
		statuses := race(t, func() (*application.Answer, error) {
			answer, err := g.shop.Refresh(t.Context(), first)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				next[answer.String("refresh_token")]++
			}
			return answer, err
		})
		if statuses[http.StatusOK] != 50 || len(next) != 1 {
			t.Errorf("got statuses %v and %d refresh tokens, want 200 always and one", statuses, len(next))
		}
		for second := range next {
			must(t, "the next one", check(g.shop.Refresh(t.Context(), second))(t), http.StatusOK)
		}
		wantError(t, "the old one", check(g.shop.Refresh(t.Context(), first))(t), http.StatusBadRequest, "invalid_grant")
	})
}

// TestRacesOnTwoServers: what TestCodeRace and TestRefreshRace say, where the fifty
// come to two processes over one PostgreSQL. A code that was sent twice ends what
// its first use gave.
func TestRacesOnTwoServers(t *testing.T) {
	t.Parallel()
	g, servers := twoServers(t, instanceFile)
	turn := func() func() application.Application {
		apps := make(chan application.Application, 50)
		for i := range cap(apps) {
			app := g.shop
			app.Issuer = servers[i%len(servers)]
			apps <- app
		}
		return func() application.Application { return <-apps }
	}
	t.Run("AS-R23 a code", func(t *testing.T) {
		request := g.shop.Request("openid tenant:zeta")
		code := check(g.shop.Code(t.Context(), g.browser(t), request, walt))(t)
		next := turn()
		statuses := race(t, func() (*application.Answer, error) { return next().Redeem(t.Context(), request, code) })
		if statuses[http.StatusOK] != 1 || statuses[http.StatusBadRequest] != 49 {
			t.Errorf("got statuses %v, want 200 once and 400 for the others", statuses)
		}
	})
	t.Run("AS-R8 a refresh token", func(t *testing.T) {
		first := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("refresh_token")
		var mu sync.Mutex
		successors := map[string]int{}
		next := turn()
		statuses := race(t, func() (*application.Answer, error) {
			answer, err := next().Refresh(t.Context(), first)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				successors[answer.String("refresh_token")]++
			}
			return answer, err
		})
		if statuses[http.StatusOK] != 50 || len(successors) != 1 {
			t.Errorf("got statuses %v and %d refresh tokens, want 200 always and one", statuses, len(successors))
		}
	})
}

// race does the same fifty times at once and counts the statuses.
func race(t *testing.T, do func() (*application.Answer, error)) map[int]int {
	t.Helper()
	var (
		mu       sync.Mutex
		group    sync.WaitGroup
		statuses = map[int]int{}
		start    = make(chan struct{})
	)
	for range 50 {
		group.Go(func() {
			<-start
			answer, err := do()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			statuses[answer.Status]++
		})
	}
	close(start)
	group.Wait()
	return statuses
}

// TestCodeBinding is the class of CVE-2026-55672: a code is its client's, for
// its redirect URI.
func TestCodeBinding(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		b := g.browser(t)
		for name, spoil := range map[string]func(*application.Application, *application.Request){
			"another confidential client": func(app *application.Application, _ *application.Request) { *app = g.till },
			"another public client":       func(app *application.Application, _ *application.Request) { *app = g.desk },
			"another redirect URI": func(_ *application.Application, r *application.Request) {
				r.With("redirect_uri", "https://shop.example/other?tab=1")
			},
			"no redirect URI": func(_ *application.Application, r *application.Request) { r.With("redirect_uri", "") },
		} {
			app, request := g.shop, g.shop.Request("openid tenant:zeta")
			code := check(app.Code(t.Context(), b, request, walt))(t)
			spoil(&app, request)
			answer := check(app.Redeem(t.Context(), request, code))(t)
			if answer.Status != http.StatusBadRequest || answer.String("error") != "invalid_grant" && answer.String("error") != "invalid_request" {
				t.Errorf("%s: got %d %s, want invalid_grant", name, answer.Status, answer.Raw)
			}
		}
	})
}

// TestRefreshReplay is RFC 9700 §4.14: a refresh token that was used before ends
// its family, and is of no use to another client.
func TestRefreshReplay(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		first := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("refresh_token")
		wantError(t, "another client", check(g.till.Refresh(t.Context(), first))(t), http.StatusBadRequest, "invalid_grant")
		token := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("refresh_token")
		tokens := []string{token}
		for range 3 {
			answer := must(t, "refresh", check(g.shop.Refresh(t.Context(), token))(t), http.StatusOK)
			if token = answer.String("refresh_token"); token == "" || strings.Contains(strings.Join(tokens, " "), token) {
				t.Fatal("the refresh token is not rotated")
			}
			tokens = append(tokens, token)
		}
		wantError(t, "replay of the first", check(g.shop.Refresh(t.Context(), tokens[0]))(t), http.StatusBadRequest, "invalid_grant")
		wantError(t, "the last after the replay", check(g.shop.Refresh(t.Context(), token))(t), http.StatusBadRequest, "invalid_grant")
	})
}

// TestRefreshScope: a refresh gives no more than was granted (RFC 6749 §6), and
// not another tenant than the person has.
func TestRefreshScope(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		token := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("refresh_token")
		for _, scope := range []string{"openid email", "openid tenant:zeta groups", "openid tenant:acme", "openid offline_access"} {
			answer := check(g.shop.Post(t.Context(), application.TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "scope": {scope}}))(t)
			if answer.Status != http.StatusBadRequest || answer.Body["access_token"] != nil {
				t.Errorf("scope %q: got %d %s, want invalid_scope", scope, answer.Status, answer.Raw)
			}
		}
	})
}

// TestTokenEndpoint is RFC 9700 §2.4 and §2.5 with the defects of other token
// endpoints: what it must not understand.
func TestTokenEndpoint(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(g.robot.ClientID+":"+g.robot.Secret))
		const form, grant = "Content-Type: application/x-www-form-urlencoded", "grant_type=client_credentials"
		credentials := "&client_id=robot&client_secret=" + g.robot.Secret
		if answer := must(t, "a sound request", g.do(t, http.MethodPost, "/oauth2/token", grant, basic, form), http.StatusOK); !strings.Contains(answer.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("the answer may be cached: %q", answer.Header.Get("Cache-Control"))
		}
		for name, tt := range map[string]struct {
			method, path, body string
			headers            []string
		}{
			"GET":                            {http.MethodGet, "/oauth2/token?" + grant + credentials, "", nil},
			"parameters in the address":      {http.MethodPost, "/oauth2/token?" + grant, "", []string{basic, form}},
			"the secret in the address":      {http.MethodPost, "/oauth2/token?client_id=robot&client_secret=" + g.robot.Secret, grant, []string{form}},
			"a parameter twice":              {http.MethodPost, "/oauth2/token", grant + "&" + grant, []string{basic, form}},
			"two methods of authentication":  {http.MethodPost, "/oauth2/token", grant + credentials, []string{basic, form}},
			"JSON":                           {http.MethodPost, "/oauth2/token", `{"grant_type":"client_credentials"}`, []string{basic, "Content-Type: application/json"}},
			"a wrong secret":                 {http.MethodPost, "/oauth2/token", grant + "&client_id=robot&client_secret=wrong", []string{form}},
			"no secret":                      {http.MethodPost, "/oauth2/token", grant + "&client_id=robot", []string{form}},
			"an empty secret":                {http.MethodPost, "/oauth2/token", grant + "&client_id=robot&client_secret=", []string{form}},
			"an unknown client":              {http.MethodPost, "/oauth2/token", grant + "&client_id=nobody&client_secret=x", []string{form}},
			"the password grant":             {http.MethodPost, "/oauth2/token", "grant_type=password&username=vera%40zeta.example&password=correct+horse+battery+staple", []string{basic, form}},
			"no grant":                       {http.MethodPost, "/oauth2/token", "scope=openid", []string{basic, form}},
			"an assertion of no key":         {http.MethodPost, "/oauth2/token", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJhbGciOiJub25lIn0.e30.", []string{basic, form}},
			"a scope of a megabyte":          {http.MethodPost, "/oauth2/token", grant + "&scope=" + strings.Repeat("a", 1<<20), []string{basic, form}},
			"credentials of a person":        {http.MethodPost, "/oauth2/token", grant, []string{form, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(vera.Login+":"+vera.Password))}},
			"the secret of another client":   {http.MethodPost, "/oauth2/token", grant + "&client_id=robot&client_secret=" + g.shop.Secret, []string{form}},
			"a person's scope for a machine": {http.MethodPost, "/oauth2/token", grant + "&scope=tenant%3Aacme", []string{basic, form}},
		} {
			answer := g.do(t, tt.method, tt.path, tt.body, tt.headers...)
			if answer.Status/100 != 4 || answer.Body["access_token"] != nil {
				t.Errorf("%s: got %d %.300s, want it refused", name, answer.Status, answer.Raw)
			}
			if strings.Contains(answer.Raw, g.robot.Secret) {
				t.Errorf("%s: the answer repeats a secret", name)
			}
		}
		wantError(t, "a wrong secret", g.do(t, http.MethodPost, "/oauth2/token", grant, form, "Authorization: Basic cm9ib3Q6d3Jvbmc="), http.StatusUnauthorized, "invalid_client")
		// Only machines act for themselves.
		answer := check(g.shop.Post(t.Context(), application.TokenPath, url.Values{"grant_type": {"client_credentials"}}))(t)
		wantError(t, "client_credentials of a web application", answer, http.StatusBadRequest, "unauthorized_client")
	})
}

// TestSpoiledTokens is RFC 8725 and the class of CVE-2026-27840: a token that is
// not the one that was given out is nothing.
func TestSpoiledTokens(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		b := g.browser(t)
		signed := signIn(t, g.shop, b, "openid tenant:zeta", walt)
		opaque := signIn(t, g.till, b, "openid tenant:zeta", walt).String("access_token")
		access, idToken := signed.String("access_token"), signed.String("id_token")
		parts := strings.Split(access, ".")
		encode := base64.RawURLEncoding.EncodeToString
		spoiled := map[string]string{
			"an ID token":          idToken,
			"alg none":             encode([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + ".",
			"alg None":             encode([]byte(`{"alg":"None","typ":"at+jwt"}`)) + "." + parts[1] + "." + parts[2],
			"no signature":         parts[0] + "." + parts[1] + ".",
			"signature of zeros":   parts[0] + "." + parts[1] + "." + encode(make([]byte, 64)),
			"another payload":      parts[0] + "." + encode([]byte(`{"sub":"x","tenant":"acme"}`)) + "." + parts[2],
			"header of ID token":   strings.Split(idToken, ".")[0] + "." + parts[1] + "." + parts[2],
			"a key of its own":     encode([]byte(`{"alg":"ES256","typ":"at+jwt","jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`)) + "." + parts[1] + "." + parts[2],
			"a key elsewhere":      encode([]byte(`{"alg":"ES256","typ":"at+jwt","jku":"http://127.0.0.1:9/keys","kid":"x"}`)) + "." + parts[1] + "." + parts[2],
			"many parts":           strings.Repeat("a.", 10_000),
			"truncated":            access[:len(access)-1],
			"longer":               access + "A",
			"opaque, truncated":    opaque[:len(opaque)-1],
			"opaque, longer":       opaque + "A",
			"opaque, another case": swapCase(opaque),
			"nothing":              "",
		}
		for i := 0; i < len(opaque); i += 7 {
			flipped := []byte(opaque)
			flipped[i] ^= 1
			spoiled[fmt.Sprintf("opaque, byte %d", i)] = string(flipped)
		}
		for name, token := range spoiled {
			for _, app := range []application.Application{g.shop, g.till} {
				got := check(app.Introspect(t.Context(), token))(t)
				if got.Body["active"] == true {
					t.Errorf("%s: introspection says active", name)
				}
			}
			if got := check(g.shop.UserInfo(t.Context(), token))(t); got.Status != http.StatusUnauthorized && got.Status != http.StatusBadRequest {
				t.Errorf("%s: userinfo: got %d, want 401", name, got.Status)
			}
		}
		if got := check(g.shop.UserInfo(t.Context(), access))(t); got.Status != http.StatusOK {
			t.Errorf("the sound token: got %d, want 200", got.Status)
		}
		if got := g.do(t, http.MethodGet, "/oauth2/userinfo?access_token="+access, ""); got.Status == http.StatusOK {
			t.Error("userinfo takes a token from the address (RFC 9700 §4.3.2)")
		}
	})
}

func swapCase(s string) string {
	if upper := strings.ToUpper(s); upper != s {
		return upper
	}
	return strings.ToLower(s)
}

// TestIntrospectionIsForClients: nobody learns of a token without credentials,
// and only by the token itself (RFC 7662 §2.1, §4).
func TestIntrospectionIsForClients(t *testing.T) {
	once(t, func(t *testing.T, g target) {
		access := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt).String("access_token")
		for name, headers := range map[string][]string{
			"nobody":         {},
			"a wrong secret": {"Authorization: Basic cm9ib3Q6d3Jvbmc="},
			"the token":      {"Authorization: Bearer " + access},
		} {
			answer := g.do(t, http.MethodPost, "/oauth2/introspect", "token="+access, append(headers, "Content-Type: application/x-www-form-urlencoded")...)
			if answer.Status != http.StatusUnauthorized || answer.Body["active"] != nil {
				t.Errorf("%s: got %d %s, want 401", name, answer.Status, answer.Raw)
			}
		}
		if answer := check(g.desk.Introspect(t.Context(), access))(t); answer.Body["active"] == true {
			t.Error("a public client introspects")
		}
	})
}

// TestRevocationIsForTheClient: a client revokes what is its own (RFC 7009 §2.1).
func TestRevocationIsForTheClient(t *testing.T) {
	each(t, func(t *testing.T, g target) {
		tokens := signIn(t, g.shop, g.browser(t), "openid tenant:zeta", walt)
		for _, name := range []string{"access_token", "refresh_token"} {
			check(g.till.Post(t.Context(), application.RevokePath, url.Values{"token": {tokens.String(name)}}))(t)
			if got := check(g.shop.Introspect(t.Context(), tokens.String("access_token")))(t); got.Body["active"] != true {
				t.Errorf("another client revoked the %s", name)
			}
		}
		must(t, "revoke", check(g.shop.Post(t.Context(), application.RevokePath, url.Values{"token": {tokens.String("refresh_token")}}))(t), http.StatusOK)
		wantError(t, "refresh", check(g.shop.Refresh(t.Context(), tokens.String("refresh_token")))(t), http.StatusBadRequest, "invalid_grant")
		if got := check(g.shop.Introspect(t.Context(), tokens.String("access_token")))(t); got.Body["active"] != false {
			t.Error("the access token outlives the refresh token that was revoked")
		}
	})
}
