// Package relyingparty speaks OpenID Connect (OIDC Core, Discovery) to the providers
// of tenants, as their relying party. It implements upstream.Party. It follows no
// redirects, reads no more than it needs of an answer, and connects to no address
// that only this machine can reach unless the operator allows it.
package relyingparty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/rolecall/rolecall/internal/cache"
	"github.com/rolecall/rolecall/internal/egress"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/upstream"
)

const (
	// within is how long an exchange takes at most: a person waits for it.
	within = 10 * time.Second
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 1 << 20
	// kept is for how long a discovery document and the keys are taken for what they
	// were. A key that is not among them is looked for at once.
	kept = 10 * time.Minute
	// ahead is by how much a provider's clock may be ahead of ours.
	ahead = 5 * time.Minute
)

// RelyingParty implements upstream.Party. Make one with New; it is safe for
// concurrent use.
type RelyingParty struct {
	client  *http.Client
	private bool
	now     func() time.Time
	known   *cache.Recent[string, *provider]
}

var _ upstream.Party = (*RelyingParty)(nil)

// New returns a RelyingParty. private says that providers may be at addresses that
// are not of the public Internet, and at loopback addresses without TLS.
func New(private bool, now func() time.Time) (*RelyingParty, error) {
	client := egress.Client(within, private)
	client.Transport = limited{client.Transport}
	known, err := cache.NewRecentFor[string, *provider](kept)
	if err != nil {
		return nil, fmt.Errorf("relying party: %w", err)
	}
	return &RelyingParty{client: client, private: private, now: now, known: known}, nil
}

// limited reads no more than maxAnswer of an answer.
type limited struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

// provider is a discovery document that was read.
type provider struct {
	*oidc.Provider
	metadata metadata
}

// metadata is what the document says beside what the library reads (OIDC Discovery
// §3, RFC 8414 §2, RFC 9207 §3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	Keys          string   `json:"jwks_uri"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	NamesIssuer   bool     `json:"authorization_response_iss_parameter_supported"`
}

// discover returns the issuer's document, of a while ago or read now.
func (p *RelyingParty) discover(ctx context.Context, issuer string) (*provider, error) {
	return p.known.Get(issuer, func() (*provider, error) { return p.read(ctx, issuer) })
}

func (p *RelyingParty) read(ctx context.Context, issuer string) (*provider, error) {
	found, err := oidc.NewProvider(p.context(ctx), issuer)
	if err != nil {
		return nil, unreachable("the discovery document can't be read, or is another issuer's", err)
	}
	read := &provider{Provider: found}
	if err := found.Claims(&read.metadata); err != nil {
		return nil, unreachable("the discovery document is none", err)
	}
	m := &read.metadata
	for _, endpoint := range []string{m.Authorization, m.Token, m.Keys} {
		if !p.isEndpoint(endpoint) {
			return nil, unreachable("the discovery document lacks an endpoint, or has one without TLS", nil)
		}
	}
	if m.UserInfo != "" && !p.isEndpoint(m.UserInfo) {
		return nil, unreachable("the userinfo endpoint has no TLS", nil)
	}
	return read, nil
}

// isEndpoint wants https. A provider on a developer's machine may do without.
func (p *RelyingParty) isEndpoint(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && p.private)
}

// context has the library use our client.
func (p *RelyingParty) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.client)
}

// Document implements upstream.Party.
func (p *RelyingParty) Document(ctx context.Context, issuer string) (*upstream.Document, error) {
	read, err := p.read(ctx, issuer)
	if err != nil {
		return nil, err
	}
	keys, err := p.countKeys(ctx, read.metadata.Keys)
	if err != nil {
		return nil, err
	}
	return &upstream.Document{
		AuthorizationEndpoint: read.metadata.Authorization, TokenEndpoint: read.metadata.Token,
		PKCE: slices.Contains(read.metadata.Challenges, "S256"), Algorithms: read.metadata.Algorithms, Keys: keys,
	}, nil
}

func (p *RelyingParty) countKeys(ctx context.Context, address string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, unreachable("the keys can't be read", err)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, unreachable("the keys can't be read", err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil || len(set.Keys) == 0 {
		return 0, unreachable("the keys can't be read, or there are none", err)
	}
	return len(set.Keys), nil
}

// Address implements upstream.Party.
func (p *RelyingParty) Address(ctx context.Context, c *upstream.Client, q *upstream.Question) (string, error) {
	read, err := p.discover(ctx, c.Issuer)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(q.Nonce.Reveal()), oauth2.S256ChallengeOption(q.Verifier.Reveal())}
	add := func(name, value string) {
		if value != "" {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	add("login_hint", q.Hint)
	add("acr_values", strings.Join(q.Classes, " "))
	if q.Fresh { // max_age too has the ID token say when the person showed who they are (OIDC Core §2)
		add("prompt", "login")
		add("max_age", "0")
	}
	return read.config(c, q.Scopes).AuthCodeURL(q.State.Reveal(), options...), nil
}

// config is the library's view of a client.
func (p *provider) config(c *upstream.Client, scopes []string) *oauth2.Config {
	all := []string{oidc.ScopeOpenID, "email", "profile"}
	for _, scope := range scopes {
		if !slices.Contains(all, scope) {
			all = append(all, scope)
		}
	}
	endpoint := p.Endpoint()
	// What the library would find out by trying uses up the code. The default is that
	// of OIDC Discovery §3.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if c.Secret.Empty() || len(p.metadata.TokenAuth) > 0 && !slices.Contains(p.metadata.TokenAuth, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret.Reveal(), Endpoint: endpoint, RedirectURL: c.RedirectURI, Scopes: all}
}

// Redeem implements upstream.Party.
func (p *RelyingParty) Redeem(ctx context.Context, c *upstream.Client, a *upstream.Answer, verifier secret.Text, nonce secret.Hash) (*upstream.Claims, error) {
	read, err := p.discover(ctx, c.Issuer)
	if err != nil {
		return nil, err
	}
	// RFC 9207 §2.4: whose answer it is comes before what it says.
	if a.Issuer != "" && a.Issuer != c.Issuer || a.Issuer == "" && read.metadata.NamesIssuer {
		return nil, refused("the answer is another issuer's", nil)
	}
	if a.Error != "" {
		return nil, fault.New(fault.Denied, "the provider answered %.100q", a.Error).WithCode(upstream.CodeCanceled)
	}
	if a.Code.Empty() {
		return nil, refused("the answer has no code", nil)
	}
	ctx = p.context(ctx)
	tokens, err := read.config(c, nil).Exchange(ctx, a.Code.Reveal(), oauth2.VerifierOption(verifier.Reveal()))
	if err != nil {
		return nil, exchangeFailed(err)
	}
	token, err := p.verify(ctx, read, c, tokens, nonce)
	if err != nil {
		return nil, err
	}
	said := &said{}
	if err := errors.Join(token.Claims(said), token.Claims(&said.all)); err != nil {
		return nil, refused("the claims of the ID token can't be read", err)
	}
	if said.Email == "" && read.metadata.UserInfo != "" {
		if err := said.ask(ctx, read, tokens, token.Subject); err != nil {
			return nil, err
		}
	}
	return said.claims(token.Subject), nil
}

// verify checks the ID token (OIDC Core §3.1.3.7).
func (p *RelyingParty) verify(ctx context.Context, read *provider, c *upstream.Client, tokens *oauth2.Token, nonce secret.Hash) (*oidc.IDToken, error) {
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, refused("there is no ID token", nil)
	}
	// Without a word of the provider's it is RS256; never "none", and nothing symmetric.
	token, err := read.Verifier(&oidc.Config{ClientID: c.ID, Now: p.now}).Verify(ctx, raw)
	if err != nil {
		return nil, refused("the ID token is not valid", err)
	}
	var more struct {
		Party string `json:"azp"`
	}
	if err := token.Claims(&more); err != nil {
		return nil, refused("the ID token is not valid", err)
	}
	switch {
	case token.Subject == "" || len(token.Subject) > maxSubject:
		return nil, refused("the ID token has no subject", nil)
	case !secret.NewText(token.Nonce).Hash().Equal(nonce):
		return nil, refused("the ID token is for another sign-in", nil)
	case more.Party != "" && more.Party != c.ID, more.Party == "" && len(token.Audience) > 1:
		return nil, refused("the ID token is for another party", nil)
	case token.IssuedAt.After(p.now().Add(ahead)):
		return nil, refused("the ID token is of the future", nil)
	case token.AccessTokenHash != "" && token.VerifyAccessToken(tokens.AccessToken) != nil:
		return nil, refused("the access token is another one's", nil)
	}
	return token, nil
}

// maxSubject is what OIDC Core §2 allows.
const maxSubject = 255

// said are the claims that are looked at.
type said struct {
	Email    string   `json:"email"`
	Verified truth    `json:"email_verified"`
	Given    string   `json:"given_name"`
	Family   string   `json:"family_name"`
	Name     string   `json:"name"`
	Locale   string   `json:"locale"`
	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`

	all map[string]any
}

// truth is a boolean that some providers send as text.
type truth bool

// UnmarshalJSON implements json.Unmarshaler.
func (t *truth) UnmarshalJSON(text []byte) error {
	*t = string(text) == "true" || string(text) == `"true"`
	return nil
}

// ask adds what the userinfo endpoint says, if it is about the same person (OIDC
// Core §5.3.2). How they signed in it does not say.
func (s *said) ask(ctx context.Context, read *provider, tokens *oauth2.Token, subject string) error {
	info, err := read.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return refused("the userinfo endpoint does not answer", err)
	}
	if info.Subject != subject {
		return refused("the userinfo endpoint answers about somebody else", nil)
	}
	how := *s
	more := map[string]any{}
	if err := errors.Join(info.Claims(s), info.Claims(&more)); err != nil {
		return refused("what the userinfo endpoint says can't be read", err)
	}
	s.AuthTime, s.ACR, s.AMR = how.AuthTime, how.ACR, how.AMR
	for name, value := range more {
		if _, is := s.all[name]; !is {
			s.all[name] = value
		}
	}
	return nil
}

func (s *said) claims(subject string) *upstream.Claims {
	c := &upstream.Claims{
		Subject: subject, Email: s.Email, EmailVerified: bool(s.Verified), Given: s.Given, Family: s.Family, Name: s.Name, Locale: s.Locale,
		ACR: s.ACR, AMR: s.AMR, All: s.all,
	}
	if s.AuthTime > 0 {
		c.AuthTime = time.Unix(s.AuthTime, 0).UTC()
	}
	return c
}

// exchangeFailed says why a code was not redeemed, without what the answer says
// beside the error's name: it may have been made to end up in a log.
func exchangeFailed(err error) error {
	if answer, is := errors.AsType[*oauth2.RetrieveError](err); is && answer.Response != nil {
		return refused(fmt.Sprintf("the token endpoint answered %d %.100q", answer.Response.StatusCode, answer.ErrorCode), nil)
	}
	return unreachable("the token endpoint does not answer", err)
}

// maxCause bounds what a log has of a cause, in bytes: it may hold all of an answer.
const maxCause = 300

func cause(err error) error {
	if err == nil || len(err.Error()) <= maxCause {
		return err
	}
	return errors.New(strings.ToValidUTF8(err.Error()[:maxCause], ""))
}

func unreachable(why string, err error) error {
	return &fault.Error{Kind: fault.Overloaded, Code: upstream.CodeUnreachable, Detail: why, Err: cause(err)}
}

func refused(why string, err error) error {
	return &fault.Error{Kind: fault.Denied, Code: upstream.CodeAnswer, Detail: why, Err: cause(err)}
}
