package clients

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/client/rs"
	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

// zitadelClient is rp of zitadel/oidc, with its rs for introspection.
type zitadelClient struct {
	party    rp.RelyingParty
	resource rs.ResourceServer
	nonces   map[string]string // of the sign-ins, by refresh token

	state, nonce, verifier string // of the sign-in under way, or that is refreshed
}

func newZitadelClient(t *testing.T, r registration) openIDClient {
	t.Helper()
	c := &zitadelClient{nonces: map[string]string{}}
	var err error
	c.party, err = rp.NewRelyingPartyOIDC(t.Context(), r.issuer, r.id, r.secret, redirectURI, nil,
		rp.WithVerifierOpts(rp.WithNonce(func(context.Context) string { return c.nonce }), rp.WithSupportedSigningAlgorithms("ES256", "RS256")))
	if err != nil {
		t.Fatal(err)
	}
	if c.resource, err = rs.NewResourceServerClientCredentials(t.Context(), r.issuer, r.id, r.secret); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *zitadelClient) authorize(_ *testing.T, scope, prompt string) string {
	c.state, c.nonce, c.verifier = oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	sum := sha256.Sum256([]byte(c.verifier))
	options := []rp.AuthURLOpt{
		rp.WithCodeChallenge(base64.RawURLEncoding.EncodeToString(sum[:])),
		rp.AuthURLOpt(rp.WithURLParam("nonce", c.nonce)), rp.AuthURLOpt(rp.WithURLParam("scope", scope)),
	}
	if prompt != "" {
		options = append(options, rp.WithPrompt(prompt))
	}
	return rp.AuthURL(c.state, c.party, options...)
}

func (c *zitadelClient) callback(t *testing.T, callback *url.URL) (*signedIn, error) {
	t.Helper()
	query := callback.Query()
	if code := query.Get("error"); code != "" {
		return nil, &refusal{code: code, about: query.Get("error_description")}
	}
	if query.Get("state") != c.state {
		t.Fatalf("the callback has another state: %s", callback)
	}
	return c.tokens(rp.CodeExchange[*zitadel.IDTokenClaims](t.Context(), query.Get("code"), c.party, rp.WithCodeVerifier(c.verifier)))
}

func (c *zitadelClient) refresh(t *testing.T, refreshToken string) (*signedIn, error) {
	t.Helper()
	c.nonce = c.nonces[refreshToken]
	return c.tokens(rp.RefreshTokens[*zitadel.IDTokenClaims](t.Context(), c.party, refreshToken, "", ""))
}

func (c *zitadelClient) tokens(tokens *zitadel.Tokens[*zitadel.IDTokenClaims], err error) (*signedIn, error) {
	if answered, ok := errors.AsType[*zitadel.Error](err); ok {
		return nil, &refusal{status: 400, code: string(answered.ErrorType), about: answered.Description}
	}
	if err != nil {
		return nil, refused(err)
	}
	s := &signedIn{access: tokens.AccessToken, refresh: tokens.RefreshToken, idToken: tokens.IDToken}
	c.nonces[s.refresh] = c.nonce
	text, err := json.Marshal(tokens.IDTokenClaims)
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(text, &s.claims)
}

// userInfo also asks at introspection, with rs, and holds the two together.
func (c *zitadelClient) userInfo(t *testing.T, s *signedIn) (map[string]any, error) {
	t.Helper()
	subject, _ := s.claims["sub"].(string)
	info, err := rp.Userinfo[*zitadel.UserInfo](t.Context(), s.access, "Bearer", subject, c.party)
	state, asked := rs.Introspect[*zitadel.IntrospectionResponse](t.Context(), c.resource, s.access)
	switch {
	case asked != nil:
		t.Errorf("rs: %v", asked)
	case state.Active != (err == nil):
		t.Errorf("rs: active is %t, userinfo said %v", state.Active, err)
	case state.Active && state.Subject != subject:
		t.Errorf("rs: got sub %s, want %s", state.Subject, subject)
	}
	if err != nil {
		if strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "invalid_token") {
			return nil, &refusal{status: 401, about: err.Error()}
		}
		return nil, err
	}
	text, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, json.Unmarshal(text, &claims)
}

func (c *zitadelClient) endSession(t *testing.T, s *signedIn, state string) string {
	t.Helper()
	return c.party.GetEndSessionEndpoint() + "?" + url.Values{"id_token_hint": {s.idToken}, "post_logout_redirect_uri": {signedOutURI}, "state": {state}}.Encode()
}
