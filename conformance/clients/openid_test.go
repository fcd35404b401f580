package clients

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// An openIDClient is an OpenID client that somebody else wrote. It checks what
// it gets: signatures, state, nonce, issuer, audience, at_hash.
type openIDClient interface {
	// authorize begins a sign-in and returns the address for the browser.
	authorize(t *testing.T, scope, prompt string) string
	// callback ends it.
	callback(t *testing.T, callback *url.URL) (*signedIn, error)
	refresh(t *testing.T, refreshToken string) (*signedIn, error)
	userInfo(t *testing.T, s *signedIn) (map[string]any, error)
	// endSession returns the address at which the browser signs out.
	endSession(t *testing.T, s *signedIn, state string) string
}

// signedIn is what a client has after a sign-in.
type signedIn struct {
	claims  map[string]any // of the ID token, verified
	access  string
	refresh string
	idToken string
}

// A refusal is an error that the server answered with.
type refusal struct {
	status int
	code   string
	about  string
}

// Error implements error.
func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.code, r.about) }

// registration is how an application of testdata/instance.yaml is registered.
type registration struct{ issuer, id, secret string }

const (
	redirectURI  = "http://127.0.0.1:9/callback"
	signedOutURI = "http://127.0.0.1:9/signed-out"
)

// goClient is coreos/go-oidc with x/oauth2.
type goClient struct {
	provider *oidc.Provider
	config   oauth2.Config
	id       string

	state, nonce, verifier string // of the sign-in under way
}

func newGoClient(t *testing.T, r registration) openIDClient {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), r.issuer)
	if err != nil {
		t.Fatal(err)
	}
	return &goClient{provider: provider, id: r.id, config: oauth2.Config{
		ClientID: r.id, ClientSecret: r.secret, Endpoint: provider.Endpoint(), RedirectURL: redirectURI,
	}}
}

func (c *goClient) authorize(_ *testing.T, scope, prompt string) string {
	c.state, c.nonce, c.verifier = oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	options := []oauth2.AuthCodeOption{oidc.Nonce(c.nonce), oauth2.S256ChallengeOption(c.verifier)}
	if prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", prompt))
	}
	c.config.Scopes = strings.Fields(scope)
	return c.config.AuthCodeURL(c.state, options...)
}

func (c *goClient) callback(t *testing.T, callback *url.URL) (*signedIn, error) {
	t.Helper()
	query := callback.Query()
	if code := query.Get("error"); code != "" {
		return nil, &refusal{code: code, about: query.Get("error_description")}
	}
	if query.Get("state") != c.state {
		t.Fatalf("the callback has another state: %s", callback)
	}
	token, err := c.config.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(c.verifier))
	if err != nil {
		return nil, refused(err)
	}
	return c.verified(t, token, c.nonce)
}

func (c *goClient) refresh(t *testing.T, refreshToken string) (*signedIn, error) {
	t.Helper()
	token, err := c.config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return nil, refused(err)
	}
	return c.verified(t, token, "")
}

// verified checks the ID token; nonce is empty where the response to a refresh
// need not have one (OpenID Connect Core 1.0 §12.2).
func (c *goClient) verified(t *testing.T, token *oauth2.Token, nonce string) (*signedIn, error) {
	t.Helper()
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("the response has no ID token")
	}
	idToken, err := c.provider.VerifierContext(t.Context(), &oidc.Config{ClientID: c.id}).Verify(t.Context(), raw)
	if err != nil {
		return nil, err
	}
	if nonce != "" && idToken.Nonce != nonce {
		return nil, errors.New("the ID token has another nonce")
	}
	if idToken.AccessTokenHash != "" {
		if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
			return nil, err
		}
	}
	s := &signedIn{access: token.AccessToken, refresh: token.RefreshToken, idToken: raw}
	return s, idToken.Claims(&s.claims)
}

func (c *goClient) userInfo(t *testing.T, s *signedIn) (map[string]any, error) {
	t.Helper()
	info, err := c.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: s.access}))
	if err != nil {
		// go-oidc has the status only in the text: "401 Unauthorized: ...".
		var status int
		if _, scanErr := fmt.Sscanf(err.Error(), "%d ", &status); scanErr == nil {
			return nil, &refusal{status: status, about: err.Error()}
		}
		return nil, err
	}
	if info.Subject != s.claims["sub"] {
		return nil, errors.New("the userinfo is about somebody else")
	}
	var claims map[string]any
	return claims, info.Claims(&claims)
}

func (c *goClient) endSession(t *testing.T, s *signedIn, state string) string {
	t.Helper()
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := c.provider.Claims(&metadata); err != nil {
		t.Fatal(err)
	}
	return metadata.EndSession + "?" + url.Values{"id_token_hint": {s.idToken}, "post_logout_redirect_uri": {signedOutURI}, "state": {state}}.Encode()
}

func refused(err error) error {
	if retrieve, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return &refusal{status: retrieve.Response.StatusCode, code: retrieve.ErrorCode, about: retrieve.ErrorDescription}
	}
	return err
}

// nodeClient is npm's openid-client or oauth4webapi in a process of its own.
type nodeClient struct {
	mu     sync.Mutex // guards the pair of pipes
	stdin  io.Writer
	stdout *bufio.Scanner
	stderr *strings.Builder
}

// nodeModules installs what package.json names by its lock file, once in a test
// process.
var nodeModules = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs("node")
	if err != nil {
		return "", err
	}
	there := true
	for _, name := range []string{"oauth4webapi", "openid-client", "scimmy-routers", "express"} {
		_, err := os.Stat(filepath.Join(dir, "node_modules", name, "package.json"))
		there = there && err == nil
	}
	if there {
		return dir, nil
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci in %s (Node 20 and npm are needed): %w\n%s", dir, err, out)
	}
	return dir, nil
})

func newNodeClient(t *testing.T, r registration) openIDClient {
	t.Helper()
	return startNode(t, "client.mjs", r, "CLIENT_SECRET="+r.secret)
}

// startNode starts a program of the folder node.
func startNode(t *testing.T, program string, r registration, env ...string) *nodeClient {
	t.Helper()
	dir, err := nodeModules()
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(context.WithoutCancel(t.Context()), "node", program)
	node.Dir = dir
	node.Env = append(append(os.Environ(), "ISSUER="+r.issuer, "CLIENT_ID="+r.id, "REDIRECT_URI="+redirectURI), env...)
	c := &nodeClient{stderr: &strings.Builder{}}
	node.Stderr = c.stderr
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	// It ends with its input.
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), node.Wait()); err != nil {
			t.Errorf("%s: %v\n%s", program, err, c.stderr)
		}
	})
	c.stdin, c.stdout = stdin, bufio.NewScanner(stdout)
	c.stdout.Buffer(nil, 1<<20)
	return c
}

// call sends a command and returns its answer.
func (c *nodeClient) call(t *testing.T, command string, parameters map[string]any) (map[string]any, error) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	parameters = maps.Clone(parameters)
	parameters["command"] = command
	line, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("the client: %v\n%s", err, c.stderr)
	}
	if !c.stdout.Scan() {
		t.Fatalf("the client: %v\n%s", cmp.Or(c.stdout.Err(), io.EOF), c.stderr)
	}
	var answer map[string]any
	if err := json.Unmarshal(c.stdout.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if code, ok := answer["error"].(string); ok {
		status, _ := answer["status"].(float64)
		about, _ := answer["description"].(string)
		return nil, &refusal{status: int(status), code: code, about: about}
	}
	return answer, nil
}

func (c *nodeClient) authorize(t *testing.T, scope, prompt string) string {
	t.Helper()
	answer, err := c.call(t, "authorize", map[string]any{"scope": scope, "prompt": prompt})
	if err != nil {
		t.Fatal(err)
	}
	address, _ := answer["url"].(string)
	return address
}

func (c *nodeClient) callback(t *testing.T, callback *url.URL) (*signedIn, error) {
	t.Helper()
	return nodeTokens(c.call(t, "callback", map[string]any{"url": callback.String()}))
}

func (c *nodeClient) refresh(t *testing.T, refreshToken string) (*signedIn, error) {
	t.Helper()
	return nodeTokens(c.call(t, "refresh", map[string]any{"refresh_token": refreshToken}))
}

func (c *nodeClient) userInfo(t *testing.T, s *signedIn) (map[string]any, error) {
	t.Helper()
	return c.call(t, "userinfo", map[string]any{"access_token": s.access, "sub": s.claims["sub"]})
}

func (c *nodeClient) endSession(t *testing.T, s *signedIn, state string) string {
	t.Helper()
	answer, err := c.call(t, "end", map[string]any{"id_token": s.idToken, "to": signedOutURI, "state": state})
	if err != nil {
		t.Fatal(err)
	}
	address, _ := answer["url"].(string)
	return address
}

func nodeTokens(answer map[string]any, err error) (*signedIn, error) {
	if err != nil {
		return nil, err
	}
	s := &signedIn{}
	s.claims, _ = answer["claims"].(map[string]any)
	s.access, _ = answer["access_token"].(string)
	s.refresh, _ = answer["refresh_token"].(string)
	s.idToken, _ = answer["id_token"].(string)
	if s.claims == nil {
		return nil, errors.New("the response has no ID token")
	}
	return s, nil
}

// wantRefusal fails the test unless err is the server's refusal with the OAuth
// error code, or where that is empty the status.
func wantRefusal(t *testing.T, what string, err error, status int, code string) {
	t.Helper()
	r, ok := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		t.Errorf("%s: it was granted, want a refusal (%d %s)", what, status, code)
	case !ok:
		t.Errorf("%s: got %v, want a refusal (%d %s)", what, err, status, code)
	case code != "" && r.code != code, code == "" && r.status != status:
		t.Errorf("%s: got %v, want %d %s (%s)", what, r, status, code, http.StatusText(status))
	}
}
