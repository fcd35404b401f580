package oidc

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// ClientMetadata is what an application says of itself when it registers, under the
// names of RFC 7591 §2, OpenID Connect Registration 1.0 §2 and those that refer to
// them. What is not here is not understood, and so ignored.
type ClientMetadata struct {
	RedirectURIs           []string        `json:"redirect_uris"`
	PostLogoutRedirectURIs []string        `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI   string          `json:"backchannel_logout_uri,omitempty"`
	BackchannelSession     bool            `json:"backchannel_logout_session_required,omitempty"` // sid is always there
	AuthMethod             AuthMethod      `json:"token_endpoint_auth_method"`
	AuthAlg                Alg             `json:"token_endpoint_auth_signing_alg,omitempty"`
	GrantTypes             []string        `json:"grant_types"`
	ResponseTypes          []string        `json:"response_types"`
	ApplicationType        string          `json:"application_type"`
	Scope                  string          `json:"scope"`
	JWKS                   json.RawMessage `json:"jwks,omitempty"`
	JWKSURI                string          `json:"jwks_uri,omitempty"`
	SubjectType            SubjectType     `json:"subject_type"`
	SectorURI              string          `json:"sector_identifier_uri,omitempty"`
	IDTokenAlg             Alg             `json:"id_token_signed_response_alg"`
	AccessTokenAlg         Alg             `json:"access_token_signed_response_alg,omitempty"` // of this server
	BoundTokens            bool            `json:"dpop_bound_access_tokens,omitempty"`
	RequirePushed          bool            `json:"require_pushed_authorization_requests,omitempty"`
	RequireSigned          bool            `json:"require_signed_request_object,omitempty"`
	RequestAlg             Alg             `json:"request_object_signing_alg,omitempty"`
	DefaultMaxAge          *int64          `json:"default_max_age,omitempty"`
	RequireAuthTime        bool            `json:"require_auth_time,omitempty"` // auth_time is always there

	// The rest is kept and given back, and never looked at.
	Name             string   `json:"client_name,omitempty"`
	ClientURI        string   `json:"client_uri,omitempty"`
	LogoURI          string   `json:"logo_uri,omitempty"`
	TermsURI         string   `json:"tos_uri,omitempty"`
	PolicyURI        string   `json:"policy_uri,omitempty"`
	InitiateLoginURI string   `json:"initiate_login_uri,omitempty"`
	Contacts         []string `json:"contacts,omitempty"`
	SoftwareID       string   `json:"software_id,omitempty"`
	SoftwareVersion  string   `json:"software_version,omitempty"`

	// SoftwareStatement is what somebody else says of it (RFC 7591 §2.3). It is not
	// taken from anybody.
	SoftwareStatement string `json:"software_statement,omitempty"`

	// Localized are those of client_name and of the addresses that are of one
	// language, by their whole names, such as client_name#de (RFC 7591 §2.2).
	Localized map[string]string `json:"-"`
}

// plainMetadata is ClientMetadata without its methods.
type plainMetadata ClientMetadata

// localizable are the members that may be of one language.
func localizable() []string {
	return []string{"client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri"}
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *ClientMetadata) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, (*plainMetadata)(m)); err != nil {
		return err
	}
	if string(m.JWKS) == "null" {
		m.JWKS = nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	m.Localized = nil
	for name, value := range all {
		base, _, tagged := strings.Cut(name, "#")
		if !tagged || !slices.Contains(localizable(), base) || string(value) == "null" {
			continue
		}
		var localized string
		if err := json.Unmarshal(value, &localized); err != nil {
			return err
		}
		if m.Localized == nil {
			m.Localized = map[string]string{}
		}
		m.Localized[name] = localized
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (m *ClientMetadata) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal((*plainMetadata)(m))
	if err != nil || len(m.Localized) == 0 {
		return text, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, value := range m.Localized {
		if all[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all)
}

// Values of application_type (OpenID Connect Registration 1.0 §2).
const (
	applicationWeb    = "web"
	applicationNative = "native"
)

// Grants that applications may register for.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
)

// Bounds of what an application says of itself.
const (
	maxRegisteredURIs = 50
	maxContacts       = 10
	maxLocalized      = 50
	maxMetadataText   = 200       // characters
	maxDefaultMaxAge  = 1<<31 - 1 // seconds
)

var localizedTag = regexp.MustCompile(`^[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}$`)

// registrableScopes are those that an application may register for: nothing that
// speaks of other tenants, and nothing by which it would administer.
func registrableScopes() []string {
	return []string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeAddress, ScopePhone, ScopeGroups, ScopePermissions, ScopeOffline}
}

// normalize fills in what was left out, and fails with fault.Invalid on what the
// server does not do for applications that register themselves.
func (m *ClientMetadata) normalize() error {
	if m.SoftwareStatement != "" {
		return refuseStatement(m.SoftwareStatement)
	}
	for _, check := range []func() error{m.normalizeFlow, m.normalizeScope, m.checkTexts, m.checkPages} {
		if err := check(); err != nil {
			return err
		}
	}
	if m.SubjectType == "" {
		m.SubjectType = SubjectPublic
	}
	m.AccessTokenAlg = cmp.Or(m.AccessTokenAlg, ES256)
	if m.IDTokenAlg == "" {
		m.IDTokenAlg = RS256 // OpenID Connect Registration 1.0 §2
	}
	if age := m.DefaultMaxAge; age != nil && (*age < 0 || *age > maxDefaultMaxAge) {
		return fault.Field(fault.Invalid, "default_max_age", "%d is not between 0 and %d seconds", *age, maxDefaultMaxAge)
	}
	return nil
}

// refuseStatement says of a software statement that it is none, or that nobody is
// trusted here who makes them.
func refuseStatement(statement string) error {
	algs := []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512}
	if _, err := jose.ParseSignedCompact(statement, algs); err != nil {
		return refuse(InvalidSoftwareStatement, "software_statement: it is no signed JWT")
	}
	return refuse(UnapprovedSoftwareStatement, "software_statement: nobody's is accepted here, leave it out")
}

// normalizeFlow is normalize for how tokens are had. There are no tokens from the
// authorization endpoint, and none without a person (RFC 9700 §2.1.2).
func (m *ClientMetadata) normalizeFlow() error {
	if m.ApplicationType == "" {
		m.ApplicationType = applicationWeb
	}
	if m.AuthMethod == "" {
		m.AuthMethod = AuthSecretBasic
		if m.ApplicationType == applicationNative { // which can't keep one (RFC 8252 §8.5)
			m.AuthMethod = AuthNone
		}
	}
	if len(m.ResponseTypes) == 0 {
		m.ResponseTypes = []string{"code"}
	}
	if len(m.GrantTypes) == 0 {
		m.GrantTypes = []string{grantCode}
	}
	for _, grant := range m.GrantTypes {
		if grant != grantCode && grant != grantRefresh {
			return fault.Field(fault.Invalid, "grant_types", "%.100q is not one of %s, %s", grant, grantCode, grantRefresh)
		}
	}
	switch {
	case m.ApplicationType != applicationWeb && m.ApplicationType != applicationNative:
		return fault.Field(fault.Invalid, "application_type", "%.100q is not one of web, native", m.ApplicationType)
	case m.ApplicationType == applicationNative && m.AuthMethod != AuthNone:
		return fault.Field(fault.Invalid, "token_endpoint_auth_method", "a native application can't keep a secret or a private key: its method is none")
	case slices.ContainsFunc(m.ResponseTypes, func(t string) bool { return t != "code" }):
		return fault.Field(fault.Invalid, "response_types", "the one response type is code: there are no tokens from the authorization endpoint")
	case !slices.Contains(m.GrantTypes, grantCode):
		return fault.Field(fault.Invalid, "grant_types", "the response type code needs %s", grantCode)
	case len(m.RedirectURIs) == 0:
		return fault.Field(fault.Invalid, "redirect_uris", "at least one is needed")
	}
	m.ResponseTypes = []string{"code"}
	slices.Sort(m.GrantTypes)
	m.GrantTypes = slices.Compact(m.GrantTypes)
	for name, uris := range map[string][]string{"redirect_uris": m.RedirectURIs, "post_logout_redirect_uris": m.PostLogoutRedirectURIs} {
		if len(uris) > maxRegisteredURIs {
			return fault.Field(fault.Invalid, name, "must not be more than %d", maxRegisteredURIs)
		}
	}
	return nil
}

// normalizeScope keeps of the scopes those that the server knows (RFC 7591 §2), and
// has a few where none is named.
func (m *ClientMetadata) normalizeScope() error {
	if strings.TrimSpace(m.Scope) == "" {
		m.Scope = strings.Join([]string{ScopeOpenID, ScopeProfile, ScopeEmail}, " ")
		if slices.Contains(m.GrantTypes, grantRefresh) {
			m.Scope += " " + ScopeOffline
		}
		return nil
	}
	var kept []string
	for scope := range strings.FieldsSeq(m.Scope) {
		switch {
		case namesTenant(scope):
			return fault.Field(fault.Invalid, "scope", "%.100q: the application is of one tenant and signs in to that alone", scope)
		case slices.Contains(kept, scope) || !slices.Contains(Scopes(), scope):
		case !slices.Contains(registrableScopes(), scope):
			return fault.Field(fault.Invalid, "scope", "%q is not one of %s", scope, strings.Join(registrableScopes(), ", "))
		default:
			kept = append(kept, scope)
		}
	}
	if len(kept) == 0 {
		return fault.Field(fault.Invalid, "scope", "none is one of %s", strings.Join(registrableScopes(), ", "))
	}
	m.Scope = strings.Join(kept, " ")
	return nil
}

// checkTexts bounds what people may be shown.
func (m *ClientMetadata) checkTexts() error {
	if len(m.Contacts) > maxContacts {
		return fault.Field(fault.Invalid, "contacts", "must not be more than %d", maxContacts)
	}
	if len(m.Localized) > maxLocalized {
		return fault.Field(fault.Invalid, "client_name", "there are more than %d members with a language", maxLocalized)
	}
	texts := map[string][]string{"client_name": {m.Name}, "software_id": {m.SoftwareID}, "software_version": {m.SoftwareVersion}, "contacts": m.Contacts}
	for name, text := range m.Localized {
		base, tag, _ := strings.Cut(name, "#")
		if !localizedTag.MatchString(tag) {
			return fault.Field(fault.Invalid, base, "%.50q is no language tag (BCP 47)", tag)
		}
		if base == "client_name" {
			texts[name] = []string{text}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if slices.ContainsFunc(texts[name], func(text string) bool { return !readable(text) }) {
			return fault.Field(fault.Invalid, name, "must be text of at most %d characters, in one line", maxMetadataText)
		}
	}
	return nil
}

// readable reports whether a text is what it looks like: characters that are not
// seen, and such as turn others around, would let it pass for another.
func readable(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxMetadataText && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp)
	})
}

// checkPages holds addresses for people to what can do them no harm.
func (m *ClientMetadata) checkPages() error {
	pages := map[string]string{
		"client_uri": m.ClientURI, "logo_uri": m.LogoURI, "tos_uri": m.TermsURI, "policy_uri": m.PolicyURI, "initiate_login_uri": m.InitiateLoginURI,
	}
	for name, address := range m.Localized {
		if !strings.HasPrefix(name, "client_name#") {
			pages[name] = address
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if pages[name] != "" {
			if err := checkAddress(name, pages[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAddress fails unless the address is an https one, or one of the person's own
// machine.
func checkAddress(field, address string) error {
	u, err := parseURI(field, address)
	if err != nil {
		return err
	}
	if u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fault.Field(fault.Invalid, field, "%q must be an https address", address)
	}
	return nil
}

// spec returns the application that the metadata, which is normalized, stand for.
func (m *ClientMetadata) spec(clientID string, tenant id.Tenant) (ApplicationSpec, error) {
	spec := ApplicationSpec{
		ClientID: clientID, Name: m.Name, Type: Web, Tenant: tenant, RedirectURIs: m.RedirectURIs, PostLogoutRedirectURIs: m.PostLogoutRedirectURIs,
		BackchannelLogoutURI: m.BackchannelLogoutURI, IDTokenAlg: m.IDTokenAlg, AccessTokenAlg: m.AccessTokenAlg, ThirdParty: true, SubjectType: m.SubjectType,
		Security: Security{
			AuthMethod: m.AuthMethod, AuthAlg: m.AuthAlg, JWKS: string(m.JWKS), JWKSURI: m.JWKSURI,
			RequirePushed: m.RequirePushed, BoundTokens: m.BoundTokens, RequireSigned: m.RequireSigned, RequestAlg: m.RequestAlg,
		},
	}
	switch {
	case m.ApplicationType == applicationNative:
		spec.Type = Native
	case m.AuthMethod == AuthNone:
		spec.Type = SPA
	}
	if m.SectorURI != "" {
		if err := checkAddress("sector_identifier_uri", m.SectorURI); err != nil {
			return spec, err
		}
		if u, err := url.Parse(m.SectorURI); err == nil && m.SubjectType == SubjectPairwise {
			spec.Sector = strings.ToLower(u.Hostname())
		}
	}
	spec = spec.withDefaults()
	if err := spec.validate(); err != nil {
		return spec, err
	}
	var err error
	if spec.Security, err = spec.secured(); err != nil {
		return spec, err
	}
	spec.Sector, err = spec.sector()
	if f := fault.As(err); f.Field == "sector" {
		f.Field = "sector_identifier_uri"
	}
	return spec, err
}
