// Package application is an OIDC client that sends exactly what it is told to,
// also what no honest client would. Where a test asks whether real clients get
// along with the server, it uses those instead.
package application

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/conformance/browser"
)

// The addresses of the endpoints that this package speaks to.
const (
	AuthorizePath  = "/oauth2/authorize"
	TokenPath      = "/oauth2/token" //nolint:gosec // an address
	IntrospectPath = "/oauth2/introspect"
	RevokePath     = "/oauth2/revoke"
	UserInfoPath   = "/oauth2/userinfo"
)

// An Application is a registered client at one issuer.
type Application struct {
	Issuer      string
	ClientID    string
	Secret      string // empty: a public client
	RedirectURI string
}

// client follows no redirect, so that tests see them. Idle connections are many
// because some tests send at once what must succeed only once.
var client = &http.Client{ //nolint:gochecknoglobals // holds the connections of all tests
	Timeout:       30 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// A Request is an authorization request under way.
type Request struct {
	Parameters url.Values
	Verifier   string
	issuer     string
}

// Request returns a sound authorization request for the scope, with PKCE. Tests
// spoil its Parameters.
func (a Application) Request(scope string) *Request {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return &Request{issuer: a.Issuer, Verifier: verifier, Parameters: url.Values{
		"client_id": {a.ClientID}, "redirect_uri": {a.RedirectURI}, "response_type": {"code"},
		"scope": {scope}, "state": {rand.Text()}, "nonce": {rand.Text()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}}
}

// With sets a parameter; an empty value removes it.
func (r *Request) With(name, value string) *Request {
	if r.Parameters.Del(name); value != "" {
		r.Parameters.Set(name, value)
	}
	return r
}

// URL is the address to open in a browser.
func (r *Request) URL() string { return r.issuer + AuthorizePath + "?" + r.Parameters.Encode() }

// An Answer is a response in JSON.
type Answer struct {
	Status int
	Header http.Header
	Raw    string
	Body   map[string]any
}

// String returns the member of the body, "" where there is none.
func (a *Answer) String(name string) string {
	value, _ := a.Body[name].(string)
	return value
}

// Post sends a form to a path of the issuer, authenticated as the application.
func (a Application) Post(ctx context.Context, path string, form url.Values) (*Answer, error) {
	form = maps.Clone(form)
	if a.Secret == "" {
		form.Set("client_id", a.ClientID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a.Secret != "" {
		request.SetBasicAuth(url.QueryEscape(a.ClientID), url.QueryEscape(a.Secret))
	}
	return Do(request)
}

// Do sends a request as it is.
func Do(request *http.Request) (*Answer, error) {
	response, err := client.Do(request) //nolint:gosec // the server under test
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	answer := &Answer{Status: response.StatusCode, Header: response.Header, Raw: string(content)}
	if len(content) > 0 && content[0] == '{' {
		if err := json.Unmarshal(content, &answer.Body); err != nil {
			return nil, fmt.Errorf("the body is no JSON: %w: %.200s", err, content)
		}
	}
	return answer, nil
}

// Redeem exchanges the code that the callback carries.
func (a Application) Redeem(ctx context.Context, r *Request, code string) (*Answer, error) {
	return a.Post(ctx, TokenPath, url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {r.Parameters.Get("redirect_uri")}, "code_verifier": {r.Verifier},
	})
}

// Refresh uses a refresh token.
func (a Application) Refresh(ctx context.Context, token string) (*Answer, error) {
	return a.Post(ctx, TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// Introspect asks about a token.
func (a Application) Introspect(ctx context.Context, token string) (*Answer, error) {
	return a.Post(ctx, IntrospectPath, url.Values{"token": {token}})
}

// UserInfo asks who the bearer of an access token is.
func (a Application) UserInfo(ctx context.Context, token string) (*Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Issuer+UserInfoPath, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return Do(request)
}

// Code signs a person in with the browser and returns the code of the callback.
// An error that the server sent to the application fails with it as text.
func (a Application) Code(ctx context.Context, b *browser.Browser, r *Request, person browser.Person) (code string, err error) {
	callback, _, err := b.SignIn(ctx, r.URL(), person)
	if err != nil {
		return "", err
	}
	query := callback.Query()
	if problem := query.Get("error"); problem != "" {
		return "", fmt.Errorf("%s: %s", problem, query.Get("error_description"))
	}
	if query.Get("state") != r.Parameters.Get("state") || query.Get("iss") != a.Issuer {
		return "", fmt.Errorf("the callback has another state or issuer: %s", callback)
	}
	return query.Get("code"), nil
}

// SignIn signs a person in with the browser and returns the tokens.
func (a Application) SignIn(ctx context.Context, b *browser.Browser, scope string, person browser.Person) (*Answer, error) {
	request := a.Request(scope)
	code, err := a.Code(ctx, b, request, person)
	if err != nil {
		return nil, err
	}
	answer, err := a.Redeem(ctx, request, code)
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("the code was refused: %d %s", answer.Status, answer.Raw)
	}
	return answer, err
}

// Claims returns the payload of a signed token, unverified.
func Claims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a signed token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, json.Unmarshal(payload, &claims)
}
