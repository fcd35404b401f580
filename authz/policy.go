package authz

import (
	"fmt"
	"slices"
	"time"
	"unicode"

	"github.com/rolecall/rolecall/internal/fault"
)

// AdminPassword says what an administrator may do to a member's credential.
type AdminPassword struct {
	Human   string `yaml:"human"   enum:"never|set"`
	Service string `yaml:"service"` // the operation that sets a service account's secret
}

// SelfRules says what a member may do to his own membership.
type SelfRules struct {
	Roles    SelfRoles       `yaml:"roles"`
	Delete   string          `yaml:"delete" enum:"deny|allow"` // default deny
	Fields   Entries[string] `yaml:"fields" enum:"edit|fixed"` // a field that is not listed is fixed
	Password *SelfPassword   `yaml:"password"`
}

// SelfRoles says whether a member may change his own roles. The zero value
// denies. In the file it is "deny", "allow" or {keep: [roles]}: all but those
// that he may not take from himself.
type SelfRoles struct {
	Allow bool
	Keep  []string // only with Allow
}

// SelfPassword says what a member needs, and causes, when he changes his password.
type SelfPassword struct {
	NeedsCurrent   bool `yaml:"needs_current"`
	RevokeSessions bool `yaml:"revoke_sessions"`
}

// MembershipRules describes memberships: how many roles, which statuses.
type MembershipRules struct {
	Roles         RoleBounds          `yaml:"roles,required"`
	Statuses      Entries[StatusDecl] `yaml:"statuses,required"`
	SetOnCreate   []string            `yaml:"set_on_create"`                        // statuses that the creator may choose from
	DefaultTenant string              `yaml:"default_tenant" enum:"first_accepted"` // the tenant a user signs in to
	Contact       *Contact            `yaml:"contact"`
}

// RoleBounds says how many roles, implicit ones aside, a membership may have.
type RoleBounds struct {
	Min int  `yaml:"min,required"`
	Max *int `yaml:"max"` // nil: no limit
}

// StatusDecl declares a status of a membership.
type StatusDecl struct {
	Label  string   `yaml:"label"`
	SignIn bool     `yaml:"sign_in,required"` // true: the membership gives rights
	To     []string `yaml:"to,required"`      // statuses that may follow; none: the status is final
}

// Contact describes the marker of a tenant's contact person. It gives no right.
type Contact struct {
	Max        int    `yaml:"max,required"`
	Founder    bool   `yaml:"founder"` // the first member is marked
	Privileges string `yaml:"privileges" enum:"none"`
}

// Invitation describes how a new member learns of it.
type Invitation struct {
	By           string        `yaml:"by,required" enum:"email_link|sign_in_instructions"`
	Purpose      string        `yaml:"purpose" enum:"set_password|choose_password"`
	Service      string        `yaml:"service" enum:"set_secret_now"` // for service accounts, which get no mail
	To           string        `yaml:"to"      enum:"any_address"`    // default: the member's own address
	Options      []string      `yaml:"options" enum:"copy_to_me|must_change"`
	Optional     bool          `yaml:"optional"` // a member can be added without one
	Default      bool          `yaml:"default"`  // if optional: preset on
	TTL          time.Duration `yaml:"ttl"`      // 0: the server's default
	Resend       []string      `yaml:"resend"`   // statuses in which it can be sent again
	RoleRequired bool          `yaml:"role_required"`
	ExistingUser string        `yaml:"existing_user" enum:"must_have_accepted_first"`
}

// PasswordPolicy is the least that a password must be. Zero asks for nothing.
type PasswordPolicy struct {
	Min   int `yaml:"min" json:"min,omitempty"`     // characters
	Upper int `yaml:"upper" json:"upper,omitempty"` // upper-case letters
	Lower int `yaml:"lower" json:"lower,omitempty"`
	Digit int `yaml:"digit" json:"digit,omitempty"`
	Other int `yaml:"other" json:"other,omitempty"` // neither letter nor digit
	// History is how many of the last passwords, the one in force among them,
	// can't be chosen again.
	History int `yaml:"history" json:"history,omitempty"`
	// Words are those of the portal that can't make up a password, beside the
	// names of the person, of their tenants and of the server.
	Words []string `yaml:"words" json:"words,omitempty"`
}

// MaxPasswordHistory bounds PasswordPolicy.History: each old password is a hash
// to compute when a new one is chosen.
const MaxPasswordHistory = 24

// PasswordReset describes how an administrator resets a member's password.
type PasswordReset struct {
	Modes   []string `yaml:"modes,required" enum:"generate_and_mail|set_by_admin|link"`
	Options []string `yaml:"options" enum:"copy_to_me|must_change"`
}

// SignInPolicy describes lock-out and single sign-on.
type SignInPolicy struct {
	Lockout *Lockout   `yaml:"lockout"`
	SSO     *SSOPolicy `yaml:"sso"`
}

// Lockout closes an account for a while after failed attempts.
type Lockout struct {
	Attempts int           `yaml:"attempts,required"`
	For      time.Duration `yaml:"for,required"`
}

// SSOPolicy says when a tenant may oblige its users to sign in elsewhere.
type SSOPolicy struct {
	Entitlement string `yaml:"entitlement"`
	AppliesTo   string `yaml:"applies_to" enum:"default_tenant|any"`
}

// MFAPolicy describes second factors.
type MFAPolicy struct {
	RequiredWhen        MFATrigger      `yaml:"required_when"`
	SetBy               string          `yaml:"set_by"` // permission that changes the tenant setting
	Exempt              []string        `yaml:"exempt"  enum:"sso"`
	Methods             []string        `yaml:"methods,required" enum:"totp|email_otp|passkey"`
	DefaultMethod       string          `yaml:"default_method"`
	KeyTypes            Entries[string] `yaml:"key_types"`
	KeyStatuses         Entries[string] `yaml:"key_statuses"`
	CreateNeeds         string          `yaml:"create_needs"          enum:"password"`
	DisableWhenRequired string          `yaml:"disable_when_required" enum:"deny|allow"` // default deny
	TrustedDevices      *TrustedDevices `yaml:"trusted_devices"`
}

// MFATrigger names what makes a second factor obligatory; any of them suffices.
type MFATrigger struct {
	Entitlement    string `yaml:"entitlement"`
	TenantSetting  string `yaml:"tenant_setting"`
	MembershipFlag string `yaml:"membership_flag"`
	Role           string `yaml:"role"`
}

// TrustedDevices says for how long a browser may skip the second factor, and
// what makes it ask again.
type TrustedDevices struct {
	TTL            time.Duration `yaml:"ttl,required"`
	NewBrowser     string        `yaml:"new_browser"     enum:"ask"`
	PasswordChange string        `yaml:"password_change" enum:"ask|keep"`
}

// AppTokenPolicy describes application tokens, which never give more than
// their creator has.
type AppTokenPolicy struct {
	Scope       string              `yaml:"scope,required" enum:"tenant"`
	Bound       string              `yaml:"bound,required" enum:"creator"`
	Expiry      string              `yaml:"expiry" enum:"optional|required"`
	CIDR        string              `yaml:"cidr"   enum:"optional|required"`
	Statuses    Entries[string]     `yaml:"statuses"`
	SecretShown string              `yaml:"secret_shown" enum:"once"`
	Operations  *AppTokenOperations `yaml:"operations"`
}

// Consent says who must agree to a support session.
type Consent string

// The consents. ConsentTenant is a switch that the tenant's administrator
// owns; turning it off ends running sessions.
const (
	ConsentNone   Consent = "none"
	ConsentNotify Consent = "notify"
	ConsentTenant Consent = "tenant"
)

// SupportPolicy describes support sessions. A portal without them has a nil
// Permission.
type SupportPolicy struct {
	Permission   *string         `yaml:"permission,required"`
	Targets      *SupportTargets `yaml:"targets"`
	RoleOverride []string        `yaml:"role_override"`                     // roles the session may take instead of the target's
	Consent      Consent         `yaml:"consent" enum:"none|notify|tenant"` // default tenant
	SetBy        string          `yaml:"set_by"`                            // permission that gives and takes the tenant's consent; none: operators only
	Concurrent   bool            `yaml:"concurrent"`
	Event        *SupportEvent   `yaml:"event"`
	Never        []string        `yaml:"never"` // permission keys or patterns that no session has
}

// SupportTargets says whom a support session may assume.
type SupportTargets struct {
	Reach        string   `yaml:"reach,required"` // a selector, from the tenant where the staff member has the permission
	Not          []string `yaml:"not" enum:"self"`
	UserStatus   []string `yaml:"user_status"`
	TenantStatus []string `yaml:"tenant_status"`
}

// SupportEvent is the audit entry that a support session leaves.
type SupportEvent struct {
	Tenant   string `yaml:"tenant,required" enum:"target"`
	Type     string `yaml:"type,required"`
	Severity string `yaml:"severity" enum:"info|warn"`
}

// RequestKind is something a tenant may ask for but not do.
type RequestKind struct {
	Permission       *string  `yaml:"permission,required"` // nil: everybody of the tenant may ask
	PendingPerTenant int      `yaml:"pending_per_tenant"`  // 0: no limit
	Fields           []string `yaml:"fields"`
	Approver         string   `yaml:"approver,required"` // "operator" or a role
	// Effect is what approval does; empty: what the kind's name says, see
	// [Blueprint.Request].
	Effect   RequestEffect `yaml:"effect" enum:"create|link|reassign|nothing"`
	Relation string        `yaml:"relation"` // for create and link
	Role     string        `yaml:"role"`     // for reassign
}

// Rule names a kind of invariant.
type Rule string

// The invariants. Each is checked on the state after a change.
const (
	MinHolders Rule = "min_holders" // at least N members of the tenant hold one of Roles
	MaxHolders Rule = "max_holders" // at most N members of the tenant hold one of Roles
	MinRoles   Rule = "min_roles"   // a membership has at least N roles
	MinMembers Rule = "min_members" // the tenant has at least N members
)

// Invariant is a rule that no change may break, whoever makes it.
type Invariant struct {
	Rule   Rule     `yaml:"rule,required" enum:"min_holders|max_holders|min_roles|min_members"`
	Role   string   `yaml:"role"`
	Roles  []string `yaml:"roles"`
	Per    string   `yaml:"per,required" enum:"tenant|membership"`
	N      int      `yaml:"n,required"`
	Source string   `yaml:"src"`
}

// RoleKeys returns Roles, or Role as a list of one.
func (i Invariant) RoleKeys() []string {
	if i.Role != "" {
		return []string{i.Role}
	}
	return i.Roles
}

// MFAFacts is what may oblige a user to a second factor in a tenant.
type MFAFacts struct {
	At             *TenantView
	TenantSetting  bool     // the tenant's administrator requires it
	MembershipFlag bool     // it is required of this member
	Roles          []string // of the member
	SSO            bool     // the first factor was the tenant's own identity provider
}

// Required reports whether the policy asks for a second factor. The strictest
// of its triggers wins, but for the exemptions. A nil policy asks for none.
func (p *MFAPolicy) Required(f MFAFacts) bool {
	if p == nil || f.SSO && slices.Contains(p.Exempt, "sso") {
		return false
	}
	when := p.RequiredWhen
	return when.Entitlement != "" && f.At.Entitled(when.Entitlement) ||
		when.TenantSetting != "" && f.TenantSetting ||
		when.MembershipFlag != "" && f.MembershipFlag ||
		when.Role != "" && slices.Contains(f.Roles, when.Role)
}

// Check returns nil if a password is good enough, else a fault.Invalid with the
// field "password" that says what is missing. A nil policy accepts all. The
// server's own policy, which may ask for more, is authn's matter.
func (p *PasswordPolicy) Check(password string) error {
	if p == nil {
		return nil
	}
	var length, upper, lower, digit, other int
	for _, c := range password {
		length++
		switch {
		case unicode.IsUpper(c):
			upper++
		case unicode.IsLower(c):
			lower++
		case unicode.IsDigit(c):
			digit++
		case !unicode.IsLetter(c):
			other++
		}
	}
	for _, rule := range []struct {
		got, least int
		of         Characters
		name       string
	}{
		{length, p.Min, AnyCharacters, "characters"},
		{upper, p.Upper, UpperCase, "upper-case letters"},
		{lower, p.Lower, LowerCase, "lower-case letters"},
		{digit, p.Digit, Digits, "digits"},
		{other, p.Other, OtherCharacters, "characters that are neither letters nor digits"},
	} {
		if rule.got < rule.least {
			missing := fault.Field(fault.Invalid, "password", "must have at least %d %s", rule.least, rule.name)
			missing.Err = &PasswordShortfall{Least: rule.least, Of: rule.of}
			return missing
		}
	}
	return nil
}

// Characters are a class of characters that a password policy counts.
type Characters string

// The classes.
const (
	AnyCharacters   Characters = "characters"
	UpperCase       Characters = "upper"
	LowerCase       Characters = "lower"
	Digits          Characters = "digits"
	OtherCharacters Characters = "other" // neither letters nor digits
)

// PasswordShortfall is the rule that a password breaks, for who puts it into
// words of another language.
type PasswordShortfall struct {
	Least int // how many of them a password must have
	Of    Characters
}

// Error implements error. Its text is for logs.
func (s *PasswordShortfall) Error() string { return fmt.Sprintf("fewer than %d %s", s.Least, s.Of) }
