package provider

import (
	"context"
	"net/url"
	"slices"
	"time"

	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// server implements op.Server. What it does not define does not exist.
type server struct {
	op.UnimplementedServer
	provider *Provider
}

var _ op.Server = (*server)(nil)

// client is an authenticated application as op.Server sees it. The library uses
// little of it: the rest of op.Client belongs to handlers that are not mounted.
type client struct{ application *oidc.Application }

var _ op.Client = client{}

// VerifyClient implements op.Server. Who the client is, clientGate has found out.
func (s *server) VerifyClient(ctx context.Context, _ *op.Request[op.ClientCredentials]) (op.Client, error) {
	if a := applicationIn(ctx); a != nil {
		return client{a}, nil
	}
	return nil, s.provider.libraryError(ctx, invalidClient("client authentication is missing"))
}

// tokenResponse is RFC 6749 §5.1 with OIDC Core §3.1.3.3.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	IssuedType   string `json:"issued_token_type,omitempty"` // RFC 8693 §2.2.1

	Details oidc.Details `json:"authorization_details,omitempty"` // RFC 9396 §7
}

// CodeExchange implements op.Server (RFC 6749 §4.1.3).
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[zitadel.AccessTokenRequest]) (*op.Response, error) {
	tokens, err := s.provider.oidc.Exchange(ctx, applicationOf(r.Client), secret.NewText(r.Data.Code), r.Data.RedirectURI, r.Data.CodeVerifier, terms(ctx, r.PostForm))
	return s.answer(ctx, tokens, err)
}

// RefreshToken implements op.Server (RFC 6749 §6).
func (s *server) RefreshToken(ctx context.Context, r *op.ClientRequest[zitadel.RefreshTokenRequest]) (*op.Response, error) {
	tokens, err := s.provider.oidc.Refresh(ctx, applicationOf(r.Client), secret.NewText(r.Data.RefreshToken), r.PostForm.Get("scope"), terms(ctx, r.PostForm))
	return s.answer(ctx, tokens, err)
}

// ClientCredentialsExchange implements op.Server (RFC 6749 §4.4).
func (s *server) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[zitadel.ClientCredentialsRequest]) (*op.Response, error) {
	tokens, err := s.provider.oidc.ClientCredentials(ctx, applicationOf(r.Client), r.PostForm.Get("scope"), terms(ctx, r.PostForm))
	return s.answer(ctx, tokens, err)
}

// deviceResponse is RFC 8628 §3.2.
type deviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"`
	Interval                int64  `json:"interval"`
}

// DeviceAuthorization implements op.Server (RFC 8628 §3.1).
func (s *server) DeviceAuthorization(ctx context.Context, r *op.ClientRequest[zitadel.DeviceAuthorizationRequest]) (*op.Response, error) {
	codes, err := s.provider.oidc.BeginDevice(ctx, applicationOf(r.Client), r.PostForm.Get("scope"), terms(ctx, r.PostForm), r.Header.Get("User-Agent"))
	if err != nil {
		return nil, s.provider.libraryError(ctx, err)
	}
	page := s.provider.base + pathUserCode
	return op.NewResponse(&deviceResponse{
		DeviceCode: codes.Device.Reveal(), UserCode: codes.User, VerificationURI: page,
		VerificationURIComplete: page + "?" + url.Values{"user_code": {codes.User}}.Encode(),
		ExpiresIn:               int64(codes.ExpiresIn / time.Second), Interval: int64(codes.Interval / time.Second),
	}), nil
}

// DeviceToken implements op.Server (RFC 8628 §3.4).
func (s *server) DeviceToken(ctx context.Context, r *op.ClientRequest[zitadel.DeviceAccessTokenRequest]) (*op.Response, error) {
	tokens, err := s.provider.oidc.PollDevice(ctx, applicationOf(r.Client), secret.NewText(r.Data.DeviceCode), terms(ctx, r.PostForm))
	return s.answer(ctx, tokens, err)
}

// TokenExchange implements op.Server (RFC 8693 §2.1). That there is a subject
// token, and that the types are known ones, the library has checked.
func (s *server) TokenExchange(ctx context.Context, r *op.ClientRequest[zitadel.TokenExchangeRequest]) (*op.Response, error) {
	form := r.PostForm
	tokens, err := s.provider.oidc.TokenExchange(ctx, applicationOf(r.Client), oidc.TokenExchange{
		Subject: secret.NewText(r.Data.SubjectToken), SubjectType: string(r.Data.SubjectTokenType),
		RequestedType: string(r.Data.RequestedTokenType), Actor: form.Has("actor_token") || form.Has("actor_token_type"),
		Targets: slices.Concat(form["resource"], form["audience"]), Scope: form.Get("scope"), From: peer(ctx),
		RequestedSubject: form.Get("requested_subject"), Tenant: form.Get("tenant"), Role: form.Get("role"), Reason: form.Get("reason"),
		Terms: terms(ctx, form),
	})
	if err != nil {
		return nil, s.provider.libraryError(ctx, err)
	}
	answer := tokenAnswer(tokens)
	answer.IssuedType = oidc.TokenTypeAccess
	return op.NewResponse(answer), nil
}

func (s *server) answer(ctx context.Context, tokens *oidc.Tokens, err error) (*op.Response, error) {
	if err != nil {
		return nil, s.provider.libraryError(ctx, err)
	}
	return op.NewResponse(tokenAnswer(tokens)), nil
}

// terms are what a token request brings beside the grant.
func terms(ctx context.Context, form url.Values) oidc.Terms {
	return oidc.Terms{Key: senderKey(ctx), Resources: form["resource"], Details: form.Get("authorization_details"), From: peer(ctx)}
}

func tokenAnswer(tokens *oidc.Tokens) *tokenResponse {
	kind := oidc.TokenTypeBearer
	if tokens.Bound {
		kind = oidc.TokenTypeDPoP
	}
	return &tokenResponse{
		AccessToken: tokens.Access, TokenType: kind, ExpiresIn: int64(tokens.ExpiresIn / time.Second),
		RefreshToken: tokens.Refresh.Reveal(), IDToken: tokens.ID, Scope: joinScopes(tokens.Scopes), Details: tokens.Details,
	}
}

// Revocation implements op.Server (RFC 7009).
func (s *server) Revocation(ctx context.Context, r *op.ClientRequest[zitadel.RevocationRequest]) (*op.Response, error) {
	if err := s.provider.oidc.Revoke(ctx, applicationOf(r.Client), secret.NewText(r.Data.Token)); err != nil {
		return nil, s.provider.libraryError(ctx, err)
	}
	return op.NewResponse(struct{}{}), nil // of nil, the library would say that nothing is JSON
}

func applicationOf(c op.Client) *oidc.Application {
	if c, ok := c.(client); ok {
		return c.application
	}
	return nil // op.Server hands back what VerifyClient returned
}

// GetID implements op.Client.
func (c client) GetID() string { return c.application.ClientID }

// GrantTypes implements op.Client: those of the application's type.
func (c client) GrantTypes() []zitadel.GrantType {
	switch c.application.Type {
	case oidc.Web: // of which credentials of its own are for its streams of signals alone
		return []zitadel.GrantType{zitadel.GrantTypeCode, zitadel.GrantTypeRefreshToken, zitadel.GrantTypeTokenExchange, zitadel.GrantTypeClientCredentials}
	case oidc.SPA, oidc.Native:
		return []zitadel.GrantType{zitadel.GrantTypeCode, zitadel.GrantTypeRefreshToken, zitadel.GrantTypeTokenExchange}
	case oidc.Machine:
		return []zitadel.GrantType{zitadel.GrantTypeClientCredentials, zitadel.GrantTypeTokenExchange}
	case oidc.Device:
		return []zitadel.GrantType{zitadel.GrantTypeDeviceCode, zitadel.GrantTypeRefreshToken}
	}
	return nil
}

// AuthMethod implements op.Client.
func (c client) AuthMethod() zitadel.AuthMethod {
	if c.application.Type.Confidential() {
		return zitadel.AuthMethodBasic
	}
	return zitadel.AuthMethodNone
}

// ResponseTypes implements op.Client.
func (c client) ResponseTypes() []zitadel.ResponseType {
	return []zitadel.ResponseType{zitadel.ResponseTypeCode}
}

// RedirectURIs implements op.Client.
func (c client) RedirectURIs() []string { return c.application.RedirectURIs }

// PostLogoutRedirectURIs implements op.Client.
func (c client) PostLogoutRedirectURIs() []string { return c.application.PostLogoutRedirectURIs }

// ApplicationType implements op.Client.
func (c client) ApplicationType() op.ApplicationType {
	switch c.application.Type {
	case oidc.SPA:
		return op.ApplicationTypeUserAgent
	case oidc.Native:
		return op.ApplicationTypeNative
	case oidc.Web, oidc.Machine, oidc.Device:
	}
	return op.ApplicationTypeWeb
}

// AccessTokenType implements op.Client.
func (c client) AccessTokenType() op.AccessTokenType {
	if c.application.AccessToken == oidc.FormatJWT {
		return op.AccessTokenTypeJWT
	}
	return op.AccessTokenTypeBearer
}

// LoginURL implements op.Client.
func (c client) LoginURL(request string) string {
	return pathLogin + "?" + url.Values{parameterRequest: {request}}.Encode()
}

// IDTokenLifetime implements op.Client.
func (c client) IDTokenLifetime() time.Duration { return oidc.IDTokenLifetime }

// DevMode implements op.Client.
func (c client) DevMode() bool { return false }

// RestrictAdditionalIdTokenScopes implements op.Client.
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { return unchanged } //nolint:revive,staticcheck // the library's name

// RestrictAdditionalAccessTokenScopes implements op.Client.
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return unchanged }

func unchanged(scopes []string) []string { return scopes }

// IsScopeAllowed implements op.Client.
func (c client) IsScopeAllowed(string) bool { return false }

// IDTokenUserinfoClaimsAssertion implements op.Client.
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }

// ClockSkew implements op.Client.
func (c client) ClockSkew() time.Duration { return 0 }
