package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/upstream"
)

// applyFile is what `rolecall apply` reads.
type applyFile struct {
	Tenants           []applyTenant           `yaml:"tenants"`
	Users             []applyUser             `yaml:"users"`
	Applications      []applyApplication      `yaml:"applications"`
	ApplicationTokens []applyApplicationToken `yaml:"application_tokens"`
	DetailTypes       []applyDetailType       `yaml:"authorization_details_types"`
}

type applyTenant struct {
	Slug         string             `yaml:"slug"`
	Name         string             `yaml:"name"`
	Blueprint    string             `yaml:"blueprint"`
	Type         string             `yaml:"type"`
	Tier         string             `yaml:"tier"`
	Status       string             `yaml:"status"`
	Entitlements []string           `yaml:"entitlements"`
	Grantable    []string           `yaml:"grantable_entitlements"`
	Relations    map[string]string  `yaml:"relations"`
	OverQuota    bool               `yaml:"over_quota"`
	Domains      []string           `yaml:"domains"`
	Policy       *applyPolicy       `yaml:"policy"`
	Branding     *applyBranding     `yaml:"branding"` // left out: as the tenant has it
	Connections  []applyConnection  `yaml:"connections"`
	GroupRoles   []applyGroupRole   `yaml:"group_roles"`
	SCIM         applySCIM          `yaml:"scim"`
	EventStreams []applyEventStream `yaml:"event_streams"`
	Targets      []applyTarget      `yaml:"provisioning_targets"`
	Providers    []applyProvider    `yaml:"identity_providers"`
	DefaultRole  *string            `yaml:"default_role"` // left out: as the tenant has it
}

type applyPolicy struct {
	MFA               string                  `yaml:"mfa"`
	TrustedDeviceDays *int                    `yaml:"trusted_device_days"` // left out: as the role system has it
	EmailCodes        *bool                   `yaml:"email_codes"`         // the same
	MFAFrom           string                  `yaml:"mfa_from"`            // a date or a time (RFC 3339)
	Addresses         []string                `yaml:"addresses"`
	InviteDomains     []string                `yaml:"invite_domains"`
	Registration      *directory.Registration `yaml:"registration"`
	SSO               string                  `yaml:"sso"` // required, or nothing
	Password          *authz.PasswordPolicy   `yaml:"password"`
	SupportAccess     *bool                   `yaml:"support_access"` // left out: as the tenant has it
	ProvisioningLog   int                     `yaml:"provisioning_log_days"`
	SessionIdle       int                     `yaml:"session_idle_minutes"`
	SessionHours      int                     `yaml:"session_hours"`
	DynamicApps       bool                    `yaml:"dynamic_registration"`
}

// applyBranding is what the tenant's pages look like.
type applyBranding struct {
	Light applyScheme `yaml:"light"`
	Dark  applyScheme `yaml:"dark"`
	Logo  string      `yaml:"logo"` // base64
}

type applyScheme struct {
	Accent     string `yaml:"accent"`
	Link       string `yaml:"link"`
	Background string `yaml:"background"`
}

// branding returns what the file says.
func (b *applyBranding) branding() (directory.Branding, error) {
	logo, err := base64.StdEncoding.DecodeString(b.Logo)
	if err != nil {
		return directory.Branding{}, fault.Field(fault.Invalid, "branding.logo", "is not base64")
	}
	return directory.Branding{Colors: directory.Colors{Light: directory.Scheme(b.Light), Dark: directory.Scheme(b.Dark)}, Logo: logo}, nil
}

// policy returns what the file says, without the consent to support sessions.
func (p *applyPolicy) policy() (*directory.Policy, error) {
	policy := &directory.Policy{
		MFA: directory.MFAPolicy(p.MFA), TrustedDeviceDays: p.TrustedDeviceDays, EmailCodes: p.EmailCodes,
		InviteDomains: p.InviteDomains, Registration: p.Registration, SSO: directory.SSOPolicy(p.SSO), Password: p.Password, ProvisioningLogDays: p.ProvisioningLog,
		SessionIdleMinutes: p.SessionIdle, SessionHours: p.SessionHours, DynamicRegistration: p.DynamicApps,
	}
	for _, text := range p.Addresses {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.Field(fault.Invalid, "policy.addresses", "%q is no network, such as 192.0.2.0/24 or 2001:db8::/32", text)
		}
		policy.Addresses = append(policy.Addresses, network)
	}
	if p.MFAFrom == "" {
		return policy, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if from, err := time.Parse(form, p.MFAFrom); err == nil {
			policy.MFAFrom = from.UTC()
			return policy, nil
		}
	}
	return nil, fault.Field(fault.Invalid, "policy.mfa_from", "%q is no date such as 2026-12-31, and no time such as 2026-12-31T12:00:00Z", p.MFAFrom)
}

type applyConnection struct {
	Name    string        `yaml:"name"`
	Profile string        `yaml:"profile"`
	Token   sensitiveText `yaml:"token"`
	// What follows is left as it is where the file says nothing of it.
	Application    *string         `yaml:"application"` // client_id of a machine of the tenant
	RateLimit      *applyRateLimit `yaml:"rate_limit"`
	Guard          *applyGuard     `yaml:"guard"`
	Deprovisioning string          `yaml:"deprovisioning"`
	Mapping        []applyMapping  `yaml:"mapping"`
}

type applyRateLimit struct {
	PerSecond int `yaml:"per_second"` // 0: no limit
	Burst     int `yaml:"burst"`
}

type applyGuard struct {
	People  int    `yaml:"people"`
	Percent int    `yaml:"percent"`
	Window  string `yaml:"window"` // such as 1h
}

type applyMapping struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
}

type applyEventStream struct {
	Name        string        `yaml:"name"`
	Method      string        `yaml:"method"`
	EndpointURL string        `yaml:"endpoint_url"`
	Token       sensitiveText `yaml:"token"` // of method poll
	// What follows is left as it is where the file says nothing of it.
	Authorization sensitiveText `yaml:"authorization"`
	Format        string        `yaml:"format"`
	Audience      []string      `yaml:"audience"`
	Requested     []string      `yaml:"events_requested"`
	Status        string        `yaml:"status"`
}

type applyTarget struct {
	Name    string        `yaml:"name"`
	BaseURL string        `yaml:"base_url"`
	Secret  sensitiveText `yaml:"secret"`
	// What follows is left as it is where the file says nothing of it.
	Auth *struct {
		Method   string `yaml:"method"`
		TokenURL string `yaml:"token_url"`
		ClientID string `yaml:"client_id"`
		Scope    string `yaml:"scope"`
	} `yaml:"auth"`
	People *struct {
		Scope  string     `yaml:"scope"`
		Groups []id.Group `yaml:"groups"`
		Roles  []string   `yaml:"roles"`
	} `yaml:"people"`
	Groups *struct {
		Scope  string     `yaml:"scope"`
		Groups []id.Group `yaml:"groups"`
	} `yaml:"groups"`
	Attributes *struct {
		Include    []string `yaml:"include"`
		Exclude    []string `yaml:"exclude"`
		ExternalID string   `yaml:"external_id"`
	} `yaml:"attributes"`
	OnRemoval string `yaml:"on_removal"`
	RunEvery  *int   `yaml:"run_every"` // seconds
	Status    string `yaml:"status"`
}

type applyProvider struct {
	Name     string `yaml:"name"`
	Issuer   string `yaml:"issuer"`
	ClientID string `yaml:"client_id"`
	// What follows is left as it is where the file says nothing of it.
	Secret     sensitiveText      `yaml:"client_secret"`
	Scopes     *[]string          `yaml:"scopes"`
	Domains    *[]string          `yaml:"domains"`
	TrustEmail *bool              `yaml:"trust_email"`
	TrustMFA   *bool              `yaml:"trust_mfa"`
	MFAClasses *[]string          `yaml:"mfa_classes"`
	JustInTime *bool              `yaml:"just_in_time"`
	Role       *string            `yaml:"role"`
	RoleClaim  *string            `yaml:"role_claim"`
	RoleValues *map[string]string `yaml:"role_values"`
	Enabled    *bool              `yaml:"enabled"`
}

func (p *applyProvider) settings() upstream.Settings {
	s := upstream.Settings{
		Name: &p.Name, Issuer: &p.Issuer, ClientID: &p.ClientID, Scopes: p.Scopes, Domains: p.Domains, TrustEmail: p.TrustEmail, TrustMFA: p.TrustMFA,
		MFAClasses: p.MFAClasses, JustInTime: p.JustInTime, Role: p.Role, RoleClaim: p.RoleClaim, RoleValues: p.RoleValues, Enabled: p.Enabled,
	}
	if !p.Secret.Empty() {
		s.Secret = &p.Secret.Text
	}
	return s
}

type applyGroupRole struct {
	Group string `yaml:"group"`
	Role  string `yaml:"role"`
	// Priority left out: as the mapping has it, 100 for a new one.
	Priority int `yaml:"priority"`
}

type applyUser struct {
	Email    string        `yaml:"email"`
	Name     applyName     `yaml:"name"`
	Locale   string        `yaml:"locale"`
	Password sensitiveText `yaml:"password"`
	// PasswordHash is taken where there is no password yet; see authn.ImportPassword.
	PasswordHash sensitiveText     `yaml:"password_hash"`
	TOTP         sensitiveText     `yaml:"totp"`
	Operator     *bool             `yaml:"operator"`
	Memberships  []applyMembership `yaml:"memberships"`
}

type applyName struct {
	Given   string `yaml:"given"`
	Family  string `yaml:"family"`
	Display string `yaml:"display"`
}

type applyMembership struct {
	Tenant string   `yaml:"tenant"`
	Roles  []string `yaml:"roles"`
	Status string   `yaml:"status"`
}

type applyApplication struct {
	ClientID               string        `yaml:"client_id"`
	Name                   string        `yaml:"name"`
	Type                   string        `yaml:"type"`
	Tenant                 string        `yaml:"tenant"`
	Roles                  []string      `yaml:"roles"`
	Secret                 sensitiveText `yaml:"secret"`
	RedirectURIs           []string      `yaml:"redirect_uris"`
	PostLogoutRedirectURIs []string      `yaml:"post_logout_redirect_uris"`
	BackchannelLogoutURI   string        `yaml:"backchannel_logout_uri"`
	AccessToken            string        `yaml:"access_token"`
	AccessTokenAlg         string        `yaml:"access_token_signed_response_alg"`
	IDTokenAlg             string        `yaml:"id_token_signed_response_alg"`
	API                    bool          `yaml:"api"`

	SecretOverlap string         `yaml:"secret_overlap"` // such as 24h: how long the secrets before this one still work
	AuthMethod    string         `yaml:"token_endpoint_auth_method"`
	AuthAlg       string         `yaml:"token_endpoint_auth_signing_alg"`
	JWKS          map[string]any `yaml:"jwks"`
	JWKSURI       string         `yaml:"jwks_uri"`
	ThirdParty    bool           `yaml:"third_party"`
	RequirePKCE   *bool          `yaml:"require_pkce"` // left out: true
	RequirePushed bool           `yaml:"require_pushed_authorization_requests"`
	BoundTokens   bool           `yaml:"dpop_bound_access_tokens"`
	DPoPNonce     bool           `yaml:"dpop_nonce"`
	Profile       string         `yaml:"profile"`
	RequireSigned bool           `yaml:"require_signed_request_object"`
	RequestAlg    string         `yaml:"request_object_signing_alg"`
	Resources     []string       `yaml:"resources"`
	SubjectType   string         `yaml:"subject_type"`
	Sector        string         `yaml:"sector"`
	DetailTypes   []string       `yaml:"authorization_details_types"`
}

type applyApplicationToken struct {
	Name        string        `yaml:"name"`
	Description string        `yaml:"description"`
	Tenant      string        `yaml:"tenant"`
	Creator     string        `yaml:"creator"`
	Token       sensitiveText `yaml:"token"`
	Expires     string        `yaml:"expires"` // RFC 3339
	Permissions []string      `yaml:"permissions"`
	CIDRs       []string      `yaml:"cidrs"`
}

// sensitiveText is a secret in the file: taken as it is, never shown.
type sensitiveText struct{ secret.Text }

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *sensitiveText) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: a text is expected", node.Line)
	}
	s.Text = secret.NewText(node.Value)
	return nil
}

// parseApply reads a file of apply strictly: what it does not know, it reports
// with the line and the nearest known key, all at once. ${NAME} in a value is
// the environment's value of that name; an unset one is an error.
func parseApply(text []byte, lookup func(name string) (string, bool)) (*applyFile, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty")
	case err != nil:
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one YAML document")
	}
	problems := checkKeys(&root, reflect.TypeFor[applyFile](), "")
	problems = append(problems, expand(&root, lookup)...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	parsed := &applyFile{}
	if err := root.Decode(parsed); err != nil {
		return nil, err
	}
	return parsed, nil
}

// checkKeys reports the keys below node that the Go type has no field for, and
// what has another shape than the type.
func checkKeys(node *yaml.Node, typ reflect.Type, where string) []error {
	if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		return checkKeys(node.Content[0], typ, where)
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	isNull := node.Kind == yaml.ScalarNode && node.Tag == "!!null"
	var problems []error
	switch want := shapeOf(typ); {
	case node.Kind == yaml.AliasNode || isNull:
	case want != node.Kind:
		problems = append(problems, fmt.Errorf("line %d: %s%s is expected here, not %s", node.Line, where, shapeName(want), shapeName(node.Kind)))
	case typ.Kind() == reflect.Slice:
		for _, item := range node.Content {
			problems = append(problems, checkKeys(item, typ.Elem(), where)...)
		}
	case typ.Kind() == reflect.Struct && node.Kind == yaml.MappingNode:
		fields := map[string]reflect.Type{}
		names := []string{}
		for field := range typ.Fields() {
			name := field.Tag.Get("yaml")
			fields[name] = field.Type
			names = append(names, name)
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			field, known := fields[key.Value]
			if !known {
				problems = append(problems, fmt.Errorf("line %d: %s%w", key.Line, where, unknownKey(key.Value, names)))
				continue
			}
			problems = append(problems, checkKeys(value, field, where+key.Value+": ")...)
		}
	}
	return problems
}

// shapeOf returns the kind of node that the type is read from.
func shapeOf(typ reflect.Type) yaml.Kind {
	switch {
	case typ == reflect.TypeFor[sensitiveText]():
		return yaml.ScalarNode
	case typ.Kind() == reflect.Slice:
		return yaml.SequenceNode
	case typ.Kind() == reflect.Struct, typ.Kind() == reflect.Map:
		return yaml.MappingNode
	default:
		return yaml.ScalarNode
	}
}

// shapeName is what a kind of node is called.
func shapeName(kind yaml.Kind) string {
	if kind == yaml.SequenceNode {
		return "a list"
	}
	if kind == yaml.MappingNode {
		return "a group of keys"
	}
	return "a single value"
}

// reference is a mention of an environment variable.
var reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts the environment's values into the scalars below node: into the
// parsed tree, so that a value can't turn into structure.
func expand(node *yaml.Node, lookup func(name string) (string, bool)) []error {
	var problems []error
	if node.Kind == yaml.ScalarNode && strings.Contains(node.Value, "${") {
		node.Value = reference.ReplaceAllStringFunc(node.Value, func(mention string) string {
			name := mention[2 : len(mention)-1]
			value, set := lookup(name)
			if !set || value == "" {
				problems = append(problems, fmt.Errorf("line %d: the environment variable %s is not set", node.Line, name))
			}
			return value
		})
		node.Style = yaml.DoubleQuotedStyle // a text stays a text
	}
	for _, child := range node.Content {
		problems = append(problems, expand(child, lookup)...)
	}
	return problems
}
