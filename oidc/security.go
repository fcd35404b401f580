package oidc

import (
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// AuthMethod is how an application says who it is where it calls the server
// itself (OIDC Core §9, RFC 7591 §2).
type AuthMethod string

// The methods of client authentication.
const (
	AuthSecretBasic   AuthMethod = "client_secret_basic"
	AuthSecretPost    AuthMethod = "client_secret_post"
	AuthPrivateKeyJWT AuthMethod = "private_key_jwt"
	AuthNone          AuthMethod = "none"
)

// Profile is a set of rules that an application is held to as a whole.
type Profile string

// ProfileFAPI2 is the FAPI 2.0 Security Profile: requests are pushed, tokens are
// bound to keys, applications authenticate by a key, nothing is signed by RS256,
// and refresh tokens stay (§5.3.2.1). The empty profile is OAuth 2.0 by its best
// current practice (RFC 9700).
const ProfileFAPI2 Profile = "fapi2"

func (a *Application) fapi2() bool { return a.Security.Profile == ProfileFAPI2 }

// PS256 is what applications may sign with beside what the server does.
const PS256 Alg = "PS256"

// ClientAlgs returns the algorithms of what applications sign, the best first.
func ClientAlgs() []Alg { return []Alg{ES256, EdDSA, PS256, RS256} }

// Security says how an application proves who it is, and what its requests must
// have. The zero value is an application with a secret, sent either way, or a
// public one.
type Security struct {
	Profile    Profile    `json:"profile,omitempty"`
	AuthMethod AuthMethod `json:"token_endpoint_auth_method,omitempty"`      // empty: by the secret, either way; of a public application: none
	AuthAlg    Alg        `json:"token_endpoint_auth_signing_alg,omitempty"` // empty: any of ClientAlgs
	JWKS       string     `json:"jwks,omitempty"`                            // public keys (RFC 7517 §5); at most one of this and JWKSURI
	JWKSURI    string     `json:"jwks_uri,omitempty"`

	RequirePushed bool     `json:"require_pushed_authorization_requests,omitempty"` // RFC 9126 §6
	BoundTokens   bool     `json:"dpop_bound_access_tokens,omitempty"`              // RFC 9449 §5.2
	DPoPNonce     bool     `json:"dpop_nonce,omitempty"`                            // its proofs need a nonce of this server (RFC 9449 §8)
	RequireSigned bool     `json:"require_signed_request_object,omitempty"`         // RFC 9101 §10.5
	RequestAlg    Alg      `json:"request_object_signing_alg,omitempty"`            // empty: any of ClientAlgs
	Resources     []string `json:"resources,omitempty"`                             // for which it gets tokens, beside this server (RFC 8707)
	DetailTypes   []string `json:"authorization_details_types,omitempty"`           // RFC 9396 §10
}

func (s *Security) equal(t *Security) bool { return reflect.DeepEqual(s, t) }

// takes reports whether the application authenticates by the method. There is no
// other way than the registered one, so that nobody picks the weakest
// (RFC 9700 §2.5).
func (a *Application) takes(m AuthMethod) bool {
	switch {
	case a.Security.AuthMethod != "":
		return m == a.Security.AuthMethod
	case a.Type.Confidential():
		return m == AuthSecretBasic || m == AuthSecretPost
	default:
		return m == AuthNone
	}
}

// assertionAlgs are those that the application may sign its assertions with.
func (a *Application) assertionAlgs() []Alg {
	return a.algs(a.Security.AuthAlg)
}

// requestAlgs are those that it may sign its requests with.
func (a *Application) requestAlgs() []Alg { return a.algs(a.Security.RequestAlg) }

func (a *Application) algs(only Alg) []Alg {
	switch {
	case only != "":
		return []Alg{only}
	case a.fapi2():
		return slices.DeleteFunc(ClientAlgs(), func(alg Alg) bool { return alg == RS256 })
	}
	return ClientAlgs()
}

// keepsSecret reports whether the application has a client secret.
func (s ApplicationSpec) keepsSecret() bool {
	return s.Type.Confidential() && s.Security.AuthMethod != AuthPrivateKeyJWT
}

// secured returns the application's Security with all that its profile demands,
// and with the key set in the form in which it is stored.
func (s ApplicationSpec) secured() (Security, error) {
	security := s.Security
	return security, s.secure(&security)
}

func (s ApplicationSpec) secure(security *Security) error {
	switch security.AuthMethod {
	case "":
	case AuthNone:
		if s.Type.Confidential() {
			return fault.Field(fault.Invalid, "token_endpoint_auth_method", "an application of type %s has to prove who it is: none is for spa and native", s.Type)
		}
	case AuthSecretBasic, AuthSecretPost, AuthPrivateKeyJWT:
		if !s.Type.Confidential() {
			return fault.Field(fault.Invalid, "token_endpoint_auth_method", "an application of type %s can't keep a secret or a private key: its method is none", s.Type)
		}
	default:
		return fault.Field(fault.Invalid, "token_endpoint_auth_method", "%q is not one of client_secret_basic, client_secret_post, private_key_jwt, none", security.AuthMethod)
	}
	if security.AuthAlg != "" && (security.AuthMethod != AuthPrivateKeyJWT || !slices.Contains(ClientAlgs(), security.AuthAlg)) {
		return fault.Field(fault.Invalid, "token_endpoint_auth_signing_alg", "%q is not one of ES256, EdDSA, PS256, RS256, which belong to the method private_key_jwt", security.AuthAlg)
	}
	if security.RequestAlg != "" && !slices.Contains(ClientAlgs(), security.RequestAlg) {
		return fault.Field(fault.Invalid, "request_object_signing_alg", "%q is not one of ES256, EdDSA, PS256, RS256", security.RequestAlg)
	}
	if (security.RequestAlg != "" || security.RequireSigned) && security.JWKS == "" && security.JWKSURI == "" {
		return fault.Field(fault.Invalid, "jwks", "an application that signs its requests needs jwks or jwks_uri")
	}
	if err := s.validateProfile(security); err != nil {
		return err
	}
	if s.SecretOverlap < 0 || s.SecretOverlap > directory.MaxSecretOverlap {
		return fault.Field(fault.Invalid, "secret_overlap", "%s is not between 0 and %s", s.SecretOverlap, directory.MaxSecretOverlap)
	}
	if !s.keepsSecret() && !s.Secret.Empty() {
		return fault.Field(fault.Invalid, "secret", "an application that authenticates by private_key_jwt has no secret: leave it out")
	}
	if err := security.validateResources(); err != nil {
		return err
	}
	return security.validateKeys()
}

// validateProfile refuses what the profile forbids, and turns on what it demands.
func (s ApplicationSpec) validateProfile(security *Security) error {
	if security.Profile == "" {
		return nil
	}
	refused := func(field, why string) error {
		return fault.Field(fault.Invalid, field, "the profile fapi2 %s", why)
	}
	switch {
	case security.Profile != ProfileFAPI2:
		return fault.Field(fault.Invalid, "profile", "%q is not fapi2", security.Profile)
	case s.Type != Web && s.Type != Machine:
		return refused("type", "is for applications of type web and machine")
	case security.AuthMethod != AuthPrivateKeyJWT:
		return refused("token_endpoint_auth_method", "needs private_key_jwt")
	case security.AuthAlg == RS256:
		return refused("token_endpoint_auth_signing_alg", "forbids RS256")
	case security.RequestAlg == RS256:
		return refused("request_object_signing_alg", "forbids RS256")
	case s.IDTokenAlg == RS256:
		return refused("id_token_signed_response_alg", "forbids RS256")
	case s.AccessTokenAlg == RS256:
		return refused("access_token_signed_response_alg", "forbids RS256")
	case s.WithoutPKCE:
		return refused("require_pkce", "needs PKCE")
	case slices.ContainsFunc(s.RedirectURIs, func(uri string) bool { return !strings.HasPrefix(uri, "https://") }):
		return refused("redirect_uris", "needs https")
	}
	security.RequirePushed, security.BoundTokens = s.Type == Web, true
	return nil
}

// validateResources holds resources to RFC 8707 §2.
func (s *Security) validateResources() error {
	for _, resource := range s.Resources {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || u.Fragment != "" || len(resource) > maxURI {
			return fault.Field(fault.Invalid, "resources", "%q must be an absolute URI without a fragment", resource)
		}
	}
	if len(s.Resources) == 0 {
		s.Resources = nil
	}
	if len(s.DetailTypes) == 0 {
		s.DetailTypes = nil
	}
	return nil
}

func (s *Security) validateKeys() error {
	switch {
	case s.JWKS != "" && s.JWKSURI != "":
		return fault.Field(fault.Invalid, "jwks", "the keys are given by jwks or by jwks_uri, not by both (RFC 7591 §2)")
	case s.JWKS == "" && s.JWKSURI == "" && s.AuthMethod == AuthPrivateKeyJWT:
		return fault.Field(fault.Invalid, "jwks", "an application that authenticates by private_key_jwt needs jwks or jwks_uri")
	case s.JWKSURI != "":
		u, err := parseURI("jwks_uri", s.JWKSURI)
		if err != nil {
			return err
		}
		if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) || u.Hostname() == "" {
			return fault.Field(fault.Invalid, "jwks_uri", "%q must be an https address", s.JWKSURI)
		}
	case s.JWKS != "":
		keys, err := parseInlineKeys([]byte(s.JWKS))
		if err != nil {
			return err
		}
		s.JWKS = keys
	}
	return nil
}
