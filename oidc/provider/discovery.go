package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/oidc"
)

// document is what the server says of itself (OpenID Connect Discovery 1.0 §3,
// RFC 8414 §2). The library's type can't leave out what we don't have and lacks
// what we do.
type document struct {
	Issuer                            string   `json:"issuer"`
	AuthorizationEndpoint             string   `json:"authorization_endpoint"`
	TokenEndpoint                     string   `json:"token_endpoint"`
	UserInfoEndpoint                  string   `json:"userinfo_endpoint"`
	PushedRequestEndpoint             string   `json:"pushed_authorization_request_endpoint"` // RFC 9126 §5
	IntrospectionEndpoint             string   `json:"introspection_endpoint"`
	RevocationEndpoint                string   `json:"revocation_endpoint"`
	EndSessionEndpoint                string   `json:"end_session_endpoint"`
	JWKSURI                           string   `json:"jwks_uri"`
	DeviceAuthorizationEndpoint       string   `json:"device_authorization_endpoint"` // RFC 8628 §4
	RegistrationEndpoint              string   `json:"registration_endpoint"`         // RFC 7591 §3
	ScopesSupported                   []string `json:"scopes_supported"`
	ClaimsSupported                   []string `json:"claims_supported"`
	ResponseTypesSupported            []string `json:"response_types_supported"`
	ResponseModesSupported            []string `json:"response_modes_supported"`
	GrantTypesSupported               []string `json:"grant_types_supported"`
	SubjectTypesSupported             []string `json:"subject_types_supported"`
	IDTokenAlgsSupported              []string `json:"id_token_signing_alg_values_supported"`
	ACRValuesSupported                []string `json:"acr_values_supported"`
	PromptValuesSupported             []string `json:"prompt_values_supported"` // Initiating User Registration via OpenID Connect 1.0 §4.2
	ClaimTypesSupported               []string `json:"claim_types_supported"`
	UILocalesSupported                []string `json:"ui_locales_supported"`
	CodeChallengeMethodsSupported     []string `json:"code_challenge_methods_supported"`
	TokenAuthMethodsSupported         []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgsSupported            []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuthAlgsSupported    []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAlgsSupported        []string `json:"introspection_signing_alg_values_supported"` // RFC 9701 §7
	RevocationAuthAlgsSupported       []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuthMethodsSupported []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuthMethodsSupported    []string `json:"revocation_endpoint_auth_methods_supported"`
	DPoPAlgsSupported                 []string `json:"dpop_signing_alg_values_supported"` // RFC 9449 §5.1
	RequestAlgsSupported              []string `json:"request_object_signing_alg_values_supported"`
	IssParameterSupported             bool     `json:"authorization_response_iss_parameter_supported"`  // RFC 9207 §3
	DetailTypesSupported              []string `json:"authorization_details_types_supported,omitempty"` // RFC 9396 §10
	BackchannelLogoutSupported        bool     `json:"backchannel_logout_supported"`
	BackchannelLogoutSessionSupported bool     `json:"backchannel_logout_session_supported"`
	ClaimsParameterSupported          bool     `json:"claims_parameter_supported"`
	RequestParameterSupported         bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported      bool     `json:"request_uri_parameter_supported"` // true where absent
}

func grantTypes() []string {
	return []string{"authorization_code", "refresh_token", "client_credentials", oidc.GrantTokenExchange, oidc.GrantDeviceCode}
}

// made is a document that anybody may read, for as long as that of which it was made
// is the same.
type made[Of any] struct {
	of   Of
	text []byte // JSON
}

// described is what the document of discovery is made of, beside what never changes.
type described struct {
	keys  *jose.JSONWebKeySet
	types []string // of authorization details
}

// keySet returns the published keys. They are read by every API all day, and
// encoded when the keys have been read anew.
func (p *Provider) keySet(ctx context.Context) ([]byte, error) {
	keys, err := p.oidc.PublicKeys(ctx)
	if err != nil {
		return nil, err
	}
	if kept := p.madeKeys.Load(); kept != nil && kept.of == keys {
		return kept.text, nil
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	p.madeKeys.Store(&made[*jose.JSONWebKeySet]{keys, text})
	return text, nil
}

// discovery returns the document of discovery, which is encoded when the keys have
// been read anew or the types of authorization details have changed.
func (p *Provider) discovery(ctx context.Context) ([]byte, error) {
	keys, err := p.oidc.PublicKeys(ctx)
	if err != nil {
		return nil, err
	}
	types, err := p.detailTypes(ctx)
	if err != nil {
		return nil, err
	}
	if kept := p.madeDiscovery.Load(); kept != nil && kept.of.keys == keys && slices.Equal(kept.of.types, types) {
		return kept.text, nil
	}
	document, err := p.document(ctx)
	if err != nil {
		return nil, err
	}
	document.DetailTypesSupported = types
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	p.madeDiscovery.Store(&made[described]{described{keys, types}, text})
	return text, nil
}

// detailTypes returns the names of the types of authorization details that there are.
func (p *Provider) detailTypes(ctx context.Context) ([]string, error) {
	types, err := p.oidc.DetailTypes(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range types {
		names = append(names, t.Name)
	}
	return names, nil
}

func (p *Provider) document(ctx context.Context) (*document, error) {
	signing, err := p.oidc.SigningAlgs(ctx)
	if err != nil {
		return nil, err
	}
	confidential := []string{string(oidc.AuthSecretBasic), string(oidc.AuthSecretPost), string(oidc.AuthPrivateKeyJWT)}
	anyone := append(slices.Clone(confidential), string(oidc.AuthNone))
	return &document{
		Issuer:                            p.oidc.Issuer(),
		AuthorizationEndpoint:             p.base + pathAuthorize,
		TokenEndpoint:                     p.base + pathToken,
		UserInfoEndpoint:                  p.base + pathUserInfo,
		PushedRequestEndpoint:             p.base + pathPush,
		IntrospectionEndpoint:             p.base + pathIntrospect,
		RevocationEndpoint:                p.base + pathRevoke,
		EndSessionEndpoint:                p.base + pathEndSession,
		JWKSURI:                           p.base + pathKeys,
		DeviceAuthorizationEndpoint:       p.base + pathDevice,
		RegistrationEndpoint:              p.base + pathRegister,
		ScopesSupported:                   oidc.Scopes(),
		ClaimsSupported:                   oidc.ClaimsSupported(),
		ResponseTypesSupported:            []string{"code"},
		ResponseModesSupported:            []string{oidc.ModeQuery, oidc.ModeFormPost},
		GrantTypesSupported:               grantTypes(),
		SubjectTypesSupported:             []string{string(oidc.SubjectPublic), string(oidc.SubjectPairwise)},
		IDTokenAlgsSupported:              algNames(signing),
		ACRValuesSupported:                []string{authn.ACR1, authn.ACR2, authn.ACRPhishingResistant},
		PromptValuesSupported:             []string{oidc.PromptNone, oidc.PromptLogin, oidc.PromptConsent, oidc.PromptSelectAccount},
		ClaimTypesSupported:               []string{"normal"},
		UILocalesSupported:                languages(),
		CodeChallengeMethodsSupported:     []string{"S256"},
		TokenAuthMethodsSupported:         anyone,
		TokenAuthAlgsSupported:            algNames(oidc.ClientAlgs()),
		IntrospectionAuthAlgsSupported:    algNames(oidc.ClientAlgs()),
		IntrospectionAlgsSupported:        algNames(signing),
		RevocationAuthAlgsSupported:       algNames(oidc.ClientAlgs()),
		IntrospectionAuthMethodsSupported: confidential,
		RevocationAuthMethodsSupported:    anyone,
		RequestAlgsSupported:              algNames(oidc.ClientAlgs()),
		RequestParameterSupported:         true,
		DPoPAlgsSupported:                 dpopAlgs(),
		IssParameterSupported:             true,
		BackchannelLogoutSupported:        true,
		BackchannelLogoutSessionSupported: true,
		ClaimsParameterSupported:          true,
	}, nil
}

func algNames(algs []oidc.Alg) []string {
	var names []string
	for _, alg := range algs {
		names = append(names, string(alg))
	}
	return names
}

// languages returns the tags of the languages that the pages speak.
func languages() []string {
	var tags []string
	for _, l := range language.All() {
		tags = append(tags, l.Tag)
	}
	return tags
}

// metadata serves the document of discovery (OpenID Connect Discovery 1.0 §4,
// RFC 8414 §3).
func (p *Provider) metadata(c *gin.Context) {
	p.serve(c, p.discovery)
}

// keys serves the public keys (RFC 7517 §5).
func (p *Provider) keys(c *gin.Context) { p.serve(c, p.keySet) }

func (p *Provider) serve(c *gin.Context, document func(context.Context) ([]byte, error)) {
	text, err := document(c.Request.Context())
	if err != nil {
		p.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", text)
}

func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }
