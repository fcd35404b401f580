// Package client speaks SCIM 2.0 (RFC 7644) to servers that somebody else runs.
// It implements outbound.Remote. It follows no redirects, reads no more than it
// needs of an answer, and connects to no address that only this machine can
// reach unless the operator allows it.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/rolecall/rolecall/internal/egress"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/outbound"
)

const (
	// within is how long an exchange takes at most. It is less than the time for
	// which a target is claimed.
	within = 30 * time.Second
	// maxAnswer bounds an answer: the members of a large group are the largest.
	maxAnswer = 32 << 20
	maxError  = 16 << 10
	// pageSize is how many resources are asked for at a time.
	pageSize  = 100
	mediaType = "application/scim+json"
)

// Dialer makes clients. Make one with NewDialer; it is safe for concurrent use.
type Dialer struct {
	http *http.Client
	now  func() time.Time

	mu     sync.Mutex // guards what follows
	tokens map[id.ProvisioningTarget]held
}

// held is an access token, and what it was got with.
type held struct {
	token *oauth2.Token
	with  secret.Hash
}

// NewDialer returns a Dialer. private says that servers may be at addresses that
// are not of the public Internet.
func NewDialer(private bool, now func() time.Time) *Dialer {
	return &Dialer{http: egress.Client(within, private), now: now, tokens: map[id.ProvisioningTarget]held{}}
}

// Dial is an outbound.Dial.
func (d *Dialer) Dial(t *outbound.Target, credential secret.Text) outbound.Remote {
	return &client{dialer: d, target: t.ID, base: t.BaseURL, auth: t.Auth, credential: credential, capabilities: t.Capabilities}
}

// client speaks to one target.
type client struct {
	dialer       *Dialer
	target       id.ProvisioningTarget
	base         string
	auth         outbound.Auth
	credential   secret.Text
	capabilities *outbound.Capabilities
}

// earlier is how long before its end an access token is not used any more.
const earlier = time.Minute

// authorization returns the value of that header.
func (c *client) authorization(ctx context.Context, anew bool) (string, error) {
	if c.auth.Method == outbound.Bearer {
		return "Bearer " + c.credential.Reveal(), nil
	}
	d := c.dialer
	with := secret.NewText(c.auth.TokenURL + " " + c.auth.ClientID + " " + c.auth.Scope + " " + c.credential.Reveal()).Hash()
	d.mu.Lock()
	known, ok := d.tokens[c.target]
	d.mu.Unlock()
	if ok && !anew && known.with.Equal(with) && (known.token.Expiry.IsZero() || known.token.Expiry.After(d.now().Add(earlier))) {
		return known.token.Type() + " " + known.token.AccessToken, nil
	}
	config := clientcredentials.Config{ClientID: c.auth.ClientID, ClientSecret: c.credential.Reveal(), TokenURL: c.auth.TokenURL, Scopes: strings.Fields(c.auth.Scope)}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, d.http))
	if err != nil {
		return "", tokenFailure(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.tokens) >= maxTokens {
		clear(d.tokens)
	}
	d.tokens[c.target] = held{token, with}
	return token.Type() + " " + token.AccessToken, nil
}

const maxTokens = 10_000

// tokenFailure says why there is no access token. What the server answered is
// told by its code alone: the rest may repeat what was sent.
func tokenFailure(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return unreachable(err)
	}
	status := 0
	if refused.Response != nil {
		status = refused.Response.StatusCode
	}
	return &outbound.Failure{Trouble: outbound.Unwelcome, Detail: fmt.Sprintf("the token endpoint answered %d %s", status, refused.ErrorCode)}
}

// unreachable is the failure of a connection. The address in the error is the
// target's own, and the credential is in none.
func unreachable(err error) *outbound.Failure {
	if at, ok := errors.AsType[*url.Error](err); ok {
		err = at.Err
	}
	return &outbound.Failure{Trouble: outbound.Unreachable, Detail: "the target can't be reached: " + err.Error()}
}

// request is one to the target.
type request struct {
	method  string
	path    string // below the base URL
	query   url.Values
	version string // for If-Match
	body    any
}

// answer is what came back.
type answer struct {
	status int
	etag   string
	doc    map[string]any // nil: no document
}

// do sends a request. An access token that is not accepted is got anew, once.
func (c *client) do(ctx context.Context, r request) (*answer, error) {
	got, err := c.once(ctx, r, false)
	var failure *outbound.Failure
	if errors.As(err, &failure) && failure.Status == http.StatusUnauthorized && c.auth.Method == outbound.ClientCredentials {
		return c.once(ctx, r, true)
	}
	return got, err
}

func (c *client) once(ctx context.Context, r request, anew bool) (*answer, error) {
	authorization, err := c.authorization(ctx, anew)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, &outbound.Failure{Trouble: outbound.Refused, Detail: "the document can't be written as JSON"}
		}
		body = bytes.NewReader(text)
	}
	address := c.base + r.path
	if len(r.query) > 0 {
		address += "?" + strings.ReplaceAll(r.query.Encode(), "+", "%20")
	}
	q, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, &outbound.Failure{Trouble: outbound.Refused, Detail: "the address is not valid"}
	}
	q.Header.Set("Authorization", authorization)
	q.Header.Set("Accept", mediaType+", application/json")
	if body != nil {
		q.Header.Set("Content-Type", mediaType)
	}
	if r.version != "" {
		q.Header.Set("If-Match", r.version)
	}
	response, err := c.dialer.http.Do(q)
	if err != nil {
		return nil, unreachable(err)
	}
	defer func() { _ = response.Body.Close() }() // what there is to say was read
	return c.read(r, response)
}

func (c *client) read(r request, response *http.Response) (*answer, error) {
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, c.refusal(response)
	}
	got := &answer{status: response.StatusCode, etag: response.Header.Get("ETag")}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, unreachable(err)
	case len(text) > maxAnswer && (r.method == http.MethodPatch || r.method == http.MethodPut):
		return got, nil // it is done; what the resource is like by now is known
	case len(text) > maxAnswer:
		return nil, &outbound.Failure{Trouble: outbound.Refused, Detail: fmt.Sprintf("the answer to %s %s is larger than %d bytes", r.method, r.path, maxAnswer)}
	case response.StatusCode == http.StatusNoContent || len(bytes.TrimSpace(text)) == 0:
		return got, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&got.doc); err != nil {
		return nil, &outbound.Failure{Trouble: outbound.Broken, Status: response.StatusCode, Detail: "the answer is no JSON object"}
	}
	return got, nil
}

// refusal reads an error (RFC 7644 §3.12).
func (c *client) refusal(response *http.Response) error {
	failure := &outbound.Failure{Status: response.StatusCode, Trouble: trouble(response.StatusCode), Retry: c.retryAfter(response.Header.Get("Retry-After"))}
	if failure.Trouble == outbound.Unwelcome {
		return failure // what it says may be about the credential
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxError))
	if err != nil {
		return failure
	}
	var said struct {
		Type   string `json:"scimType"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(text, &said) == nil {
		failure.Detail = strings.TrimSpace(said.Type + " " + said.Detail)
	}
	return failure
}

func trouble(status int) outbound.Trouble {
	switch {
	case status == http.StatusUnauthorized:
		return outbound.Unwelcome
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return outbound.Busy
	case status == http.StatusNotFound || status == http.StatusGone:
		return outbound.Missing
	case status == http.StatusConflict:
		return outbound.Taken
	case status == http.StatusPreconditionFailed:
		return outbound.Stale
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return outbound.Unsupported
	case status >= http.StatusInternalServerError:
		return outbound.Broken
	}
	return outbound.Refused // redirects too: they are not followed
}

// longest is the longest wait that a server may ask for.
const longest = 24 * time.Hour

// retryAfter reads the header of that name: seconds, or a date (RFC 9110 §10.2.3).
func (c *client) retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return min(max(time.Duration(min(seconds, int(longest.Seconds())))*time.Second, 0), longest)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(c.dialer.now()), 0), longest)
	}
	return 0
}
