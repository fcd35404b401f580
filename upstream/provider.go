package upstream

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// A Provider is a tenant's own OpenID provider.
type Provider struct {
	Tenant   id.Tenant
	ID       id.IdentityProvider
	Name     string // unique in the tenant; people read it on the button
	Issuer   string // as its discovery document has it
	ClientID string
	Secret   []byte // sealed; nil: the application there is a public one
	Rules
	Enabled  bool
	Created  time.Time
	Modified time.Time
}

// Rules are what a tenant lets a provider say. The zero value lets it say who
// somebody is who was linked before.
type Rules struct {
	// Scopes are asked for beside openid, email and profile.
	Scopes []string `json:"scopes,omitempty"`
	// Domains are those of the tenant whose addresses lead here, and whose people
	// are linked when they first come.
	Domains []string `json:"domains,omitempty"`
	// TrustEmail takes addresses in Domains for the person's though the provider does
	// not say that they are verified: it is the authority for them.
	TrustEmail bool `json:"trust_email,omitempty"`
	// TrustMFA takes a second factor there for one here, where the provider says
	// that there was one (RFC 8176 §2 "mfa", or a class of MFAClasses).
	TrustMFA bool `json:"trust_mfa,omitempty"`
	// MFAClasses are values of acr that say so too.
	MFAClasses []string `json:"mfa_classes,omitempty"`
	// JustInTime makes a member of who has an address in Domains and is none.
	JustInTime bool `json:"just_in_time,omitempty"`
	// Role is what such a member begins with; empty: nothing.
	Role string `json:"role,omitempty"`
	// RoleClaim names a claim, a text or a list of texts, of which RoleValues gives
	// such members roles in place of Role; empty: no claim does.
	RoleClaim  string            `json:"role_claim,omitempty"`
	RoleValues map[string]string `json:"role_values,omitempty"`
}

// Settings are what can be said of a provider. Nil leaves it as it is.
type Settings struct {
	Name       *string
	Issuer     *string
	ClientID   *string
	Secret     *secret.Text // the empty one: the application there is a public one
	Scopes     *[]string
	Domains    *[]string
	TrustEmail *bool
	TrustMFA   *bool
	MFAClasses *[]string
	JustInTime *bool
	Role       *string
	RoleClaim  *string
	RoleValues *map[string]string
	Enabled    *bool
}

// Limits of providers.
const (
	maxProviders = 10 // of one tenant
	maxName      = 100
	maxText      = 1000
	maxSecret    = 4000
	maxListed    = 100
)

// place is what binds a sealed secret to its provider. It is tied to the issuer
// that the secret is sent to: whoever may change the one can't have the other sent
// elsewhere without knowing it.
func (p *Provider) place() string {
	return "identity_providers/" + string(p.Tenant) + "/" + string(p.ID) + "/" + p.Issuer
}

// beginnings are the roles that the provider lets people begin with.
func (p *Provider) beginnings() []string {
	var roles []string
	if p.Role != "" {
		roles = append(roles, p.Role)
	}
	for _, role := range p.RoleValues {
		roles = append(roles, role)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// apply brings the provider to the settings, but for the secret.
func (p *Provider) apply(s Settings, private bool) error {
	if s.Name != nil {
		p.Name = strings.TrimSpace(*s.Name)
	}
	if s.Issuer != nil {
		p.Issuer = strings.TrimSpace(*s.Issuer)
	}
	set(&p.ClientID, s.ClientID)
	setList(&p.Scopes, s.Scopes)
	setList(&p.Domains, s.Domains)
	set(&p.TrustEmail, s.TrustEmail)
	set(&p.TrustMFA, s.TrustMFA)
	setList(&p.MFAClasses, s.MFAClasses)
	set(&p.JustInTime, s.JustInTime)
	set(&p.Role, s.Role)
	set(&p.RoleClaim, s.RoleClaim)
	if s.RoleValues != nil {
		p.RoleValues = *s.RoleValues
		if len(p.RoleValues) == 0 {
			p.RoleValues = nil // as it is read back
		}
	}
	set(&p.Enabled, s.Enabled)
	return p.validate(private)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// setList is set for lists, of which an empty one is none.
func setList(to, from *[]string) {
	if from != nil {
		*to = *from
		if len(*to) == 0 {
			*to = nil
		}
	}
}

func (p *Provider) validate(private bool) error {
	switch {
	case p.Name == "" || !isText(p.Name, maxName):
		return fault.Field(fault.Invalid, "name", "must be text of 1 to %d characters", maxName)
	case !isIssuer(p.Issuer, private):
		return fault.Field(fault.Invalid, "issuer", "an https address without credentials, query and fragment is expected")
	case p.ClientID == "" || !isText(p.ClientID, maxText):
		return fault.Field(fault.Invalid, "client_id", "must be text of 1 to %d characters", maxText)
	case !isText(p.RoleClaim, maxName):
		return fault.Field(fault.Invalid, "role_claim", "must be text of at most %d characters", maxName)
	case (p.RoleClaim == "") != (len(p.RoleValues) == 0):
		return fault.Field(fault.Invalid, "role_values", "role_claim and role_values go together")
	case len(p.RoleValues) > maxListed:
		return fault.Field(fault.Invalid, "role_values", "must not be more than %d", maxListed)
	case !p.JustInTime && len(p.beginnings()) > 0:
		return fault.Field(fault.Invalid, "just_in_time", "role and role_values are for those who are made members when they first come")
	case p.JustInTime && len(p.Domains) == 0:
		return fault.Field(fault.Invalid, "domains", "just_in_time is for people of domains that the tenant has verified: name them")
	case p.TrustEmail && len(p.Domains) == 0:
		return fault.Field(fault.Invalid, "domains", "trust_email is about addresses in domains that the tenant has verified: name them")
	case !p.TrustMFA && len(p.MFAClasses) > 0:
		return fault.Field(fault.Invalid, "mfa_classes", "they are for trust_mfa")
	}
	for _, list := range []struct {
		field string
		is    []string
	}{{"scopes", p.Scopes}, {"domains", p.Domains}, {"mfa_classes", p.MFAClasses}} {
		if len(list.is) > maxListed {
			return fault.Field(fault.Invalid, list.field, "must not be more than %d", maxListed)
		}
		for _, one := range list.is {
			if one == "" || !isText(one, maxText) || strings.ContainsFunc(one, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
				return fault.Field(fault.Invalid, list.field, "%.100q is no text without spaces", one)
			}
		}
	}
	return nil
}

// isIssuer wants https (OIDC Discovery §3), or http at a loopback address where the
// operator allows addresses that are not of the public Internet.
func isIssuer(address string, private bool) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || !isText(address, maxText) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && private && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// isText reports whether every database takes the text, and it is not too long.
func isText(text string, most int) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0) && utf8.RuneCountInString(text) <= most
}
