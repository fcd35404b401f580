package peer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/conformance/peer"
)

func TestMain(m *testing.M) { os.Exit(instance.Main(m)) }

const (
	parPath        = "/oauth2/par"
	endSessionPath = "/oauth2/end_session"

	callback      = "http://127.0.0.1:9/callback"
	shopSecret    = "shop-secret-8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc"
	otherSecret   = "other-secret-Lw2NfHc8Yd5RzGa4Pb6Je1Qm3vX9sT7k"
	machineSecret = "machine-secret-RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc8Yd5"
)

const ours = `
tenants: [{slug: main, name: Main}]
users:
- {email: ann@oracle.example, name: {given: Ann, family: Berg}, password: correct horse battery staple, memberships: [{tenant: main, roles: [member], status: active}]}
applications:
- {client_id: shop, name: Shop, type: web, secret: ` + shopSecret + `, redirect_uris: ["` + callback + `"], access_token: opaque}
- {client_id: other, name: Other, type: web, secret: ` + otherSecret + `, redirect_uris: ["` + callback + `"], access_token: opaque}
- {client_id: machine, name: Machine, type: machine, tenant: main, roles: [api], secret: ` + machineSecret + `, access_token: opaque}
`

// A side is one of the two servers, with what was got from it on the way.
type side struct {
	issuer string
	client *http.Client // follows no redirect, keeps no cookies

	signedIn *browser.Browser
	codes    map[string]*sentCode
	tokens   *application.Answer // of the first sign-in
}

type sentCode struct {
	code     string
	verifier string
}

func newSide(t *testing.T, issuer string) *side {
	t.Helper()
	b, err := browser.New(issuer)
	if err != nil {
		t.Fatal(err)
	}
	s := &side{issuer: issuer, signedIn: b, codes: map[string]*sentCode{}, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.tokens = s.signIn(t)
	return s
}

func (s *side) shop() application.Application {
	return application.Application{Issuer: s.issuer, ClientID: "shop", Secret: shopSecret, RedirectURI: callback}
}

var ann = browser.Person{Login: "ann@oracle.example", Password: "correct horse battery staple"}

func (s *side) signIn(t *testing.T) *application.Answer {
	t.Helper()
	tokens, err := s.shop().SignIn(t.Context(), s.signedIn, "openid profile email", ann)
	if err != nil {
		t.Fatalf("%s: %v", s.issuer, err)
	}
	return tokens
}

// code returns a code of a sign-in.
func (s *side) code(t *testing.T) *sentCode {
	t.Helper()
	request := s.shop().Request("openid profile email")
	code, err := s.shop().Code(t.Context(), s.signedIn, request, ann)
	if err != nil {
		t.Fatalf("%s: %v", s.issuer, err)
	}
	return &sentCode{code, request.Verifier}
}

// outcome says of an answer what a client goes by, alike for both servers.
func (s *side) outcome(t *testing.T, answer *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if location := answer.Header.Get("Location"); location != "" && answer.StatusCode/100 == 3 {
		return s.redirected(t, location)
	}
	said := []string{fmt.Sprint(answer.StatusCode)}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case kind == "text/html" && strings.Contains(string(body), `action="`+callback):
		return "form post to the application"
	case kind == "text/html":
		said = append(said, "page")
	case strings.HasSuffix(kind, "json") && len(body) > 0:
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("%s: %v: %.300s", s.issuer, err, body)
		}
		if code, ok := fields["error"].(string); ok {
			said = append(said, code)
		} else if active, ok := fields["active"].(bool); ok {
			said = append(said, fmt.Sprintf("active: %t", active))
		} else if len(fields) > 0 {
			said = append(said, "JSON")
		}
	}
	if challenge, _, _ := strings.Cut(answer.Header.Get("WWW-Authenticate"), " "); challenge != "" {
		said = append(said, "challenge "+challenge)
	}
	return strings.Join(said, " ")
}

func (s *side) redirected(t *testing.T, location string) string {
	t.Helper()
	to, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	query := to.Query()
	if to.Fragment != "" { // where the answers to some response types go
		if query, err = url.ParseQuery(to.Fragment); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case !strings.HasPrefix(location, callback):
		return "asks the person"
	case query.Get("code") != "":
		return "code" + s.missing(query)
	default:
		return query.Get("error") + " to the application" + s.missing(query)
	}
}

// missing names what every answer to an application has to have (RFC 9207 §2).
func (s *side) missing(query url.Values) string {
	if query.Get("iss") != s.issuer {
		return ", no iss"
	}
	return ""
}

// A question is one request, made for a side.
type question struct {
	name string
	ask  func(t *testing.T, s *side) *http.Request
	// why both answer differently; empty where they have to say the same
	why string
}

func request(t *testing.T, method, address string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	if strings.HasPrefix(r.URL.Path, application.AuthorizePath) || strings.HasPrefix(r.URL.Path, endSessionPath) { // what browsers open
		r.Header.Set("Accept", "text/html")
	}
	return r
}

// authorize is a request at the authorization endpoint that is sound but for what
// spoil does to it.
func authorize(spoil func(r *application.Request)) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request {
		r := s.shop().Request("openid profile email")
		spoil(r)
		return request(t, http.MethodGet, r.URL(), nil)
	}
}

func with(name, value string) func(*testing.T, *side) *http.Request {
	return authorize(func(r *application.Request) { r.With(name, value) })
}

// signedIn is a request at the authorization endpoint from a browser in which
// somebody is signed in.
func signedIn(spoil func(s *side, r *application.Request)) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request {
		r := s.shop().Request("openid profile email")
		spoil(s, r)
		q := request(t, http.MethodGet, r.URL(), nil)
		for name, value := range s.signedIn.Cookies() {
			q.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		return q
	}
}

func basic(r *http.Request, id, secret string) *http.Request {
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	return r
}

// form posts a form to an endpoint, as the shop where id is empty; "-" is nobody.
func form(t *testing.T, s *side, path, id, secret string, fields ...string) *http.Request {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Add(fields[i], fields[i+1])
	}
	r := request(t, http.MethodPost, s.issuer+path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	switch id {
	case "-":
		return r
	case "":
		return basic(r, "shop", shopSecret)
	default:
		return basic(r, id, secret)
	}
}

// direct is a form that needs nothing of the side.
func direct(path, id, secret string, fields ...string) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request { return form(t, s, path, id, secret, fields...) }
}

// redeem redeems a new code, but for the fields that are given otherwise; an
// empty one is left out.
func redeem(id, secret string, otherwise ...string) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request {
		code := s.code(t)
		return form(t, s, application.TokenPath, id, secret, laid(map[string]string{
			"grant_type": "authorization_code", "code": code.code, "redirect_uri": callback, "code_verifier": code.verifier,
		}, otherwise)...)
	}
}

func laid(fields map[string]string, otherwise []string) []string {
	for i := 0; i < len(otherwise); i += 2 {
		fields[otherwise[i]] = otherwise[i+1]
	}
	var all []string
	for name, value := range fields {
		if value != "" {
			all = append(all, name, value)
		}
	}
	return all
}

// again sends a request before, and returns the same once more.
func again(first func(*testing.T, *side) *http.Request) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request {
		r := first(t, s)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: the first of two: %s", s.issuer, answer.Status)
		}
		next := r.Clone(context.WithoutCancel(t.Context()))
		next.Body = io.NopCloser(bytes.NewReader(body))
		return next
	}
}

// userInfo asks who a token is for.
func userInfo(method string, token func(s *side) string) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request {
		r := request(t, method, s.issuer+application.UserInfoPath, nil)
		if value := token(s); value != "" {
			r.Header.Set("Authorization", "Bearer "+value)
		}
		return r
	}
}

func constant(value string) func(*side) string { return func(*side) string { return value } }

func field(name string) func(*side) string {
	return func(s *side) string { return s.tokens.String(name) }
}

// refresh uses a refresh token of a sign-in of its own.
func refresh(id, secret string, otherwise ...string) func(*testing.T, *side) *http.Request {
	return func(t *testing.T, s *side) *http.Request {
		tokens := s.signIn(t)
		return form(t, s, application.TokenPath, id, secret, laid(map[string]string{
			"grant_type": "refresh_token", "refresh_token": tokens.String("refresh_token"),
		}, otherwise)...)
	}
}

func questions() []question {
	long := strings.Repeat("x", 1500)
	return []question{
		{name: "discovery", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+"/.well-known/openid-configuration", nil)
		}},
		{name: "keys", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+"/oauth2/keys", nil)
		}},

		{name: "authorize: a sound request, nobody signed in", ask: with("nothing", "")},
		{name: "authorize: unknown parameters", ask: with("unheard_of", "x")},
		{name: "authorize: state of 1,500 characters", ask: with("state", long)},
		{name: "authorize: unknown client", ask: with("client_id", "nobody")},
		{name: "authorize: no client_id", ask: with("client_id", "")},
		{name: "authorize: another redirect_uri", ask: with("redirect_uri", "http://127.0.0.1:9/other")},
		{name: "authorize: redirect_uri with a query that was not registered", ask: with("redirect_uri", callback+"?x=1")},
		{name: "authorize: redirect_uri with a fragment", ask: with("redirect_uri", callback+"#x")},
		{name: "authorize: redirect_uri escaped", ask: with("redirect_uri", "http://127.0.0.1:9/%63allback")},
		{name: "authorize: no redirect_uri", why: "OIDC Core §3.1.2.1 requires it", ask: with("redirect_uri", "")},
		{name: "authorize: response_type token", ask: with("response_type", "token")},
		{name: "authorize: response_type code id_token", why: "RFC 6749 §4.1.2.1 names the error", ask: with("response_type", "code id_token")},
		{name: "authorize: response_type unheard of", ask: with("response_type", "foo")},
		{name: "authorize: no response_type", ask: with("response_type", "")},
		{name: "authorize: no code_challenge", ask: with("code_challenge", "")},
		{name: "authorize: code_challenge_method plain", ask: with("code_challenge_method", "plain")},
		{name: "authorize: code_challenge too short", ask: with("code_challenge", "short")},
		{name: "authorize: no scope", why: "RFC 6749 §3.3: nothing is granted by default, and without openid it is no request of OpenID Connect", ask: with("scope", "")},
		{name: "authorize: scope without openid", why: "a request of OAuth 2.0: there is no ID token then", ask: with("scope", "profile")},
		{name: "authorize: scope unheard of", ask: with("scope", "openid unheard_of")},
		{name: "authorize: prompt none, nobody signed in", ask: with("prompt", "none")},
		{name: "authorize: prompt none and login", ask: with("prompt", "none login")},
		{name: "authorize: prompt unheard of", ask: with("prompt", "foo")},
		{name: "authorize: max_age -1", ask: with("max_age", "-1")},
		{name: "authorize: max_age abc", ask: with("max_age", "abc")},
		{name: "authorize: response_mode unheard of", why: "the registry of OAuth errors has no unsupported_response_mode", ask: with("response_mode", "foo")},
		{name: "authorize: response_mode form_post with an error", ask: authorize(func(r *application.Request) { r.With("response_mode", "form_post").With("prompt", "none") })},
		{name: "authorize: id_token_hint that is none", why: "it is a hint", ask: with("id_token_hint", "none")},
		{name: "authorize: claims that are no JSON", ask: with("claims", "{")},
		{name: "authorize: claims that are no object", ask: with("claims", "[]")},
		{name: "authorize: request", ask: with("request", "none")},
		{name: "authorize: request_uri", ask: with("request_uri", "https://shop.example/request")},
		{name: "authorize: request_uri that was not pushed", why: "what stands beside a request_uri is not used (RFC 9126 §4), so there is no address to answer to", ask: with("request_uri", "urn:ietf:params:oauth:request_uri:none")},
		{name: "authorize: state twice", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.shop().Request("openid").URL()+"&state=again", nil)
		}},
		{name: "authorize: by POST", ask: func(t *testing.T, s *side) *http.Request {
			r := request(t, http.MethodPost, s.issuer+application.AuthorizePath, strings.NewReader(s.shop().Request("openid").Parameters.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}},
		{name: "authorize: by PUT", why: "404 with a page, as for every address that a browser opens", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodPut, s.shop().Request("openid").URL(), nil)
		}},
		{name: "authorize, signed in: a sound request", ask: signedIn(func(*side, *application.Request) {})},
		{name: "authorize, signed in: prompt none", ask: signedIn(func(_ *side, r *application.Request) { r.With("prompt", "none") })},
		{name: "authorize, signed in: prompt login", ask: signedIn(func(_ *side, r *application.Request) { r.With("prompt", "login") })},
		{name: "authorize, signed in: max_age 10000", ask: signedIn(func(_ *side, r *application.Request) { r.With("max_age", "10000") })},
		{name: "authorize, signed in: prompt none with one's id_token_hint", ask: signedIn(func(s *side, r *application.Request) {
			r.With("prompt", "none").With("id_token_hint", s.tokens.String("id_token"))
		})},
		{name: "authorize, signed in: form_post", ask: signedIn(func(_ *side, r *application.Request) { r.With("response_mode", "form_post") })},

		{name: "token: by GET", why: "405 says which method is meant (RFC 9110 §15.5.6)", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+application.TokenPath+"?grant_type=client_credentials&client_id=machine&client_secret="+machineSecret, nil)
		}},
		{name: "token: no grant_type", ask: direct(application.TokenPath, "", "", "code", "x")},
		{name: "token: grant_type unheard of", ask: direct(application.TokenPath, "", "", "grant_type", "foo")},
		{name: "token: grant_type password", ask: direct(application.TokenPath, "", "", "grant_type", "password", "username", "ann", "password", "x")},
		{name: "token: no authentication", why: "RFC 6749 §5.2: no client authentication is invalid_client", ask: direct(application.TokenPath, "-", "", "grant_type", "client_credentials")},
		{name: "token: wrong secret", ask: direct(application.TokenPath, "machine", "wrong", "grant_type", "client_credentials")},
		{name: "token: unknown client", ask: direct(application.TokenPath, "nobody", "wrong", "grant_type", "client_credentials")},
		{name: "token: secret in the header and in the body", ask: direct(application.TokenPath, "machine", machineSecret, "grant_type", "client_credentials", "client_id", "machine", "client_secret", machineSecret)},
		{name: "token: secret in the body, registered for the header", ask: direct(application.TokenPath, "-", "", "grant_type", "client_credentials", "client_id", "machine", "client_secret", machineSecret)},
		{name: "token: grant_type twice", ask: direct(application.TokenPath, "machine", machineSecret, "grant_type", "client_credentials", "grant_type", "client_credentials")},
		{name: "token: JSON", ask: func(t *testing.T, s *side) *http.Request {
			r := request(t, http.MethodPost, s.issuer+application.TokenPath, strings.NewReader(`{"grant_type":"client_credentials"}`))
			r.Header.Set("Content-Type", "application/json")
			return basic(r, "machine", machineSecret)
		}},
		{name: "client_credentials", ask: direct(application.TokenPath, "machine", machineSecret, "grant_type", "client_credentials")},
		{name: "client_credentials of an application for people", why: "RFC 6749 §5.2: a grant type that the client may not use is unauthorized_client", ask: direct(application.TokenPath, "", "", "grant_type", "client_credentials")},
		{name: "code", ask: redeem("", "")},
		{name: "code: none", ask: redeem("", "", "code", "")},
		{name: "code: unheard of", ask: redeem("", "", "code", "none")},
		{name: "code: of another client", ask: redeem("other", otherSecret)},
		{name: "code: no verifier", ask: redeem("", "", "code_verifier", "")},
		{name: "code: wrong verifier", ask: redeem("", "", "code_verifier", strings.Repeat("v", 43))},
		{name: "code: another redirect_uri", ask: redeem("", "", "redirect_uri", "http://127.0.0.1:9/other")},
		{name: "code: no redirect_uri", why: "RFC 6749 §4.1.3 requires it where the request had one", ask: redeem("", "", "redirect_uri", "")},
		{name: "code: twice", ask: again(redeem("", ""))},
		{name: "refresh", ask: refresh("", "")},
		{name: "refresh: fewer scopes", ask: refresh("", "", "scope", "openid")},
		{name: "refresh: more scopes", ask: refresh("", "", "scope", "openid phone")},
		{name: "refresh: unheard of", ask: refresh("", "", "refresh_token", "none")},
		{name: "refresh: none", ask: refresh("", "", "refresh_token", "")},
		{name: "refresh: of another client", ask: refresh("other", otherSecret)},
		{name: "refresh: twice", why: "the answer can have been lost: for 20 s the same successor is returned (decision 22)", ask: again(refresh("", ""))},

		{name: "introspection: one's own token", ask: func(t *testing.T, s *side) *http.Request {
			return form(t, s, application.IntrospectPath, "", "", "token", s.tokens.String("access_token"))
		}},
		{name: "introspection: a text", ask: direct(application.IntrospectPath, "", "", "token", "none")},
		{name: "introspection: no token", ask: direct(application.IntrospectPath, "", "")},
		{name: "introspection: no authentication", why: "as at the token endpoint", ask: direct(application.IntrospectPath, "-", "", "token", "none")},
		{name: "introspection: by GET", why: "as at the token endpoint", ask: func(t *testing.T, s *side) *http.Request {
			return basic(request(t, http.MethodGet, s.issuer+application.IntrospectPath+"?token=none", nil), "shop", shopSecret)
		}},
		{name: "userinfo", ask: userInfo(http.MethodGet, field("access_token"))},
		{name: "userinfo: by POST", ask: userInfo(http.MethodPost, field("access_token"))},
		{name: "userinfo: by POST, the token in the body", ask: func(t *testing.T, s *side) *http.Request {
			return form(t, s, application.UserInfoPath, "-", "", "access_token", s.tokens.String("access_token"))
		}},
		{name: "userinfo: no token", why: "RFC 6750 §3.1: no error code for who has not tried to authenticate", ask: userInfo(http.MethodGet, constant(""))},
		{name: "userinfo: a text", ask: userInfo(http.MethodGet, constant("none"))},
		{name: "userinfo: the ID token", ask: userInfo(http.MethodGet, field("id_token"))},
		{name: "userinfo: the refresh token", ask: userInfo(http.MethodGet, field("refresh_token"))},
		{name: "userinfo: the token in the address", why: "not read there (RFC 9700 §4.3.2), so none was sent", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+application.UserInfoPath+"?access_token="+s.tokens.String("access_token"), nil)
		}},
		{name: "revocation: a text", ask: direct(application.RevokePath, "", "", "token", "none")},
		{name: "revocation: no token", ask: direct(application.RevokePath, "", "")},
		{name: "revocation: no authentication", why: "as at the token endpoint", ask: direct(application.RevokePath, "-", "", "token", "none")},
		{name: "revocation: of another client", ask: func(t *testing.T, s *side) *http.Request {
			return form(t, s, application.RevokePath, "other", otherSecret, "token", s.tokens.String("access_token"))
		}},
		{name: "pushed request", ask: func(t *testing.T, s *side) *http.Request {
			return pushed(t, s, func(*application.Request) {})
		}},
		{name: "pushed request: another redirect_uri", ask: func(t *testing.T, s *side) *http.Request {
			return pushed(t, s, func(r *application.Request) { r.With("redirect_uri", "http://127.0.0.1:9/other") })
		}},
		{name: "pushed request: with a request_uri", why: "RFC 9126 §2.1 names the error for pushed requests", ask: func(t *testing.T, s *side) *http.Request {
			return pushed(t, s, func(r *application.Request) { r.With("request_uri", "urn:ietf:params:oauth:request_uri:none") })
		}},
		{name: "pushed request: no authentication", why: "with the challenge of RFC 6749 §5.2", ask: direct(parPath, "-", "", "client_id", "shop")},
		{name: "end of session: nothing said", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+endSessionPath, nil)
		}},
		{name: "end of session: an address that was not registered", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+endSessionPath+"?client_id=shop&post_logout_redirect_uri="+url.QueryEscape("https://elsewhere.example/"), nil)
		}},
		{name: "end of session: a hint that is none", ask: func(t *testing.T, s *side) *http.Request {
			return request(t, http.MethodGet, s.issuer+endSessionPath+"?id_token_hint=none", nil)
		}},
	}
}

func pushed(t *testing.T, s *side, spoil func(r *application.Request)) *http.Request {
	t.Helper()
	r := s.shop().Request("openid")
	spoil(r)
	q := request(t, http.MethodPost, s.issuer+parPath, strings.NewReader(r.Parameters.Encode()))
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return basic(q, "shop", shopSecret)
}

// TestOracle sends the same requests, sound ones and others, to this server and to
// npm's oidc-provider, which is certified. Where they answer differently it says
// why ours is right, or as good.
func TestOracle(t *testing.T) {
	client := func(id, secret string, grants ...string) peer.Client {
		c := peer.Client{"client_id": id, "client_secret": secret, "access_token": "opaque", "grant_types": grants, "response_types": []string{}, "redirect_uris": []string{}}
		if slices.Contains(grants, "authorization_code") {
			c["response_types"], c["redirect_uris"] = []string{"code"}, []string{callback}
		}
		return c
	}
	other, err := peer.Start(t.Context(), peer.Person{ID: "ann", Name: "Ann Berg", Email: ann.Login},
		client("shop", shopSecret, "authorization_code", "refresh_token"), client("other", otherSecret, "authorization_code", "refresh_token"), client("machine", machineSecret, "client_credentials"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	})
	sides := []*side{newSide(t, instance.Start(t, "", ours).URL), newSide(t, other.Issuer)}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "request\tRolecall\toidc-provider\twhy")
	same := 0
	for _, q := range questions() {
		t.Run(q.name, func(t *testing.T) {
			var said []string
			for _, s := range sides {
				answer, err := s.client.Do(q.ask(t, s))
				if err != nil {
					t.Fatal(err)
				}
				said = append(said, s.outcome(t, answer))
			}
			why := q.why
			switch {
			case said[0] == said[1] && why != "":
				t.Errorf("both say %s: there is no difference to explain", said[0])
			case said[0] == said[1]:
				same++
			case why == "":
				t.Errorf("ours: %s, oidc-provider: %s", said[0], said[1])
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", q.name, said[0], said[1], why)
		})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests, %d answered alike\n%s", len(questions()), same, &table)
}
