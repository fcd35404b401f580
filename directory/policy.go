package directory

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Policy is what a tenant asks of those who sign in to it.
type Policy struct {
	MFA MFAPolicy `json:"mfa,omitempty"`
	// MFAFrom is when MFARequired begins to bind; until then, who has no second
	// factor is reminded. The zero time: at once.
	MFAFrom time.Time `json:"mfa_from,omitzero"`
	// TrustedDeviceDays is for how many days a browser that somebody trusts may skip
	// the second factor; 0: never, nil: as the role system has it.
	TrustedDeviceDays *int `json:"trusted_device_days,omitempty"`
	// EmailCodes says whether codes by mail are taken for a second factor, where the
	// role system knows them; nil: as the role system has it.
	EmailCodes *bool `json:"email_codes,omitempty"`
	// Addresses are the only networks that people sign in from, and that the API is
	// used from in the tenant; none: from anywhere.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// InviteDomains are the only domains, in lower case, whose addresses are added by
	// hand; none: any.
	InviteDomains []string              `json:"invite_domains,omitempty"`
	Registration  *Registration         `json:"registration,omitempty"`   // nil: nobody registers
	Password      *authz.PasswordPolicy `json:"password,omitempty"`       // beside the role system's
	SSO           SSOPolicy             `json:"sso,omitempty"`            // whether a provider of the tenant's own has to be signed in by
	SupportAccess bool                  `json:"support_access,omitempty"` // the tenant consents to support sessions
	// SessionIdleMinutes and SessionHours are after how long without use, and after how
	// long since the sign-in, a session no longer counts here; 0: the server's alone.
	SessionIdleMinutes int `json:"session_idle_minutes,omitempty"`
	SessionHours       int `json:"session_hours,omitempty"`
	// ProvisioningLogDays is for how many days the provisioning log is kept, from
	// 1 to 365; 0: as provisioning.KeptDays has it.
	ProvisioningLogDays int `json:"provisioning_log_days,omitempty"`
	// DynamicRegistration lets applications of the tenant register themselves, by a
	// token of the tenant (RFC 7591).
	DynamicRegistration bool `json:"dynamic_registration,omitempty"`
}

// MFAPolicy says whether a second factor is needed. Its zero value is MFAOptional.
type MFAPolicy string

// The policies for a second factor.
const (
	MFAOff      MFAPolicy = "off"
	MFAOptional MFAPolicy = "optional"
	MFARequired MFAPolicy = "required"
)

// Bounds of a policy.
const (
	maxTrustedDeviceDays   = 365 // for which a device may skip the second factor
	maxProvisioningLogDays = 365
	maxGrace               = 90 * day // from when it is set
	maxAddresses           = 100
	maxInviteDomains       = 100
	maxPasswordMin         = 64 // longer ones are nobody's to type
	maxPasswordClass       = 16
	maxPasswordWords       = 100
)

// RequiresSecondFactor reports whether the policy itself demands a second factor
// at now.
func (p *Policy) RequiresSecondFactor(now time.Time) bool {
	return p.MFA == MFARequired && !now.Before(p.MFAFrom)
}

// Admits reports whether people come in from an address. The zero address is in
// no network.
func (p *Policy) Admits(from netip.Addr) bool {
	return len(p.Addresses) == 0 || slices.ContainsFunc(p.Addresses, func(n netip.Prefix) bool { return n.Contains(from.Unmap()) })
}

// Invites reports whether somebody with that address may be added by hand.
func (p *Policy) Invites(email string) bool {
	return len(p.InviteDomains) == 0 || slices.Contains(p.InviteDomains, domainOf(email))
}

func (p *Policy) validate() error {
	switch p.MFA {
	case "", MFAOff, MFAOptional, MFARequired:
	default:
		return fault.Field(fault.Invalid, "policy.mfa", "%q is not one of off, optional, required", p.MFA)
	}
	if p.SSO != SSOOptional && p.SSO != SSORequired {
		return fault.Field(fault.Invalid, "policy.sso", "%q is not required, the one that there is beside none", p.SSO)
	}
	if !p.MFAFrom.IsZero() && p.MFA != MFARequired {
		return fault.Field(fault.Invalid, "policy.mfa_from", "there is nothing to begin: mfa is not required")
	}
	if days := p.TrustedDeviceDays; days != nil && (*days < 0 || *days > maxTrustedDeviceDays) {
		return fault.Field(fault.Invalid, "policy.trusted_device_days", "%d is not between 0 and %d", *days, maxTrustedDeviceDays)
	}
	if p.ProvisioningLogDays < 0 || p.ProvisioningLogDays > maxProvisioningLogDays {
		return fault.Field(fault.Invalid, "policy.provisioning_log_days", "%d is not between 1 and %d, or 0 for the default", p.ProvisioningLogDays, maxProvisioningLogDays)
	}
	if err := p.validateSessions(); err != nil {
		return err
	}
	if len(p.Addresses) > maxAddresses {
		return fault.Field(fault.Invalid, "policy.addresses", "must not be more than %d", maxAddresses)
	}
	for _, network := range p.Addresses {
		if !network.IsValid() || network != network.Masked() || network.Addr().Is4In6() {
			return fault.Field(fault.Invalid, "policy.addresses", "%q is no network, such as 192.0.2.0/24 or 2001:db8::/32", network)
		}
	}
	if len(p.InviteDomains) > maxInviteDomains {
		return fault.Field(fault.Invalid, "policy.invite_domains", "must not be more than %d", maxInviteDomains)
	}
	for _, domain := range p.InviteDomains {
		if !domainForm.MatchString(domain) {
			return fault.Field(fault.Invalid, "policy.invite_domains", "%q is not a domain name in lower case", domain)
		}
	}
	if err := p.Registration.validate(); err != nil {
		return err
	}
	return validatePassword(p.Password)
}

func validatePassword(p *authz.PasswordPolicy) error {
	if p == nil {
		return nil
	}
	for _, rule := range []struct {
		name      string
		got, most int
	}{
		{"min", p.Min, maxPasswordMin},
		{"upper", p.Upper, maxPasswordClass},
		{"lower", p.Lower, maxPasswordClass},
		{"digit", p.Digit, maxPasswordClass},
		{"other", p.Other, maxPasswordClass},
		{"history", p.History, authz.MaxPasswordHistory},
		{"words", len(p.Words), maxPasswordWords},
	} {
		if rule.got < 0 || rule.got > rule.most {
			return fault.Field(fault.Invalid, "policy.password."+rule.name, "%d is not between 0 and %d", rule.got, rule.most)
		}
	}
	if slices.ContainsFunc(p.Words, func(word string) bool { return strings.TrimSpace(word) == "" }) {
		return fault.Field(fault.Invalid, "policy.password.words", "a word is empty")
	}
	return nil
}

// fits checks a policy against the role system of its tenant.
func (p *Policy) fits(b *authz.Blueprint) error {
	if p.EmailCodes != nil && *p.EmailCodes && !mailCodes(*p, b.Document().MFA) {
		return fault.Field(fault.Invalid, "policy.email_codes", "%s knows no codes by mail", b.Name())
	}
	return p.Registration.fits(b)
}

// Policy returns what a tenant asks of those who sign in. It fails with
// fault.Denied for who may not change it: it says from where people come.
func (d *Directory) Policy(ctx context.Context, tenant id.Tenant) (Policy, error) {
	at, err := d.at(ctx, tenant)
	if err != nil {
		return Policy{}, err
	}
	return at.tenant.Policy, d.rights.permitted(ctx, at, policyPermission(at))
}

// policyPermission is what lets somebody see and set the tenant's policy; empty:
// the operator alone may.
func policyPermission(at *place) string {
	if policy := at.blueprint.Document().MFA; policy != nil {
		return policy.SetBy
	}
	return ""
}

// SetPolicy replaces what a tenant asks of those who sign in, but for its consent
// to support sessions and the days of its log. from is the caller's address. An
// operator may, and whoever has the permission that the role system names
// (mfa.set_by). It fails with fault.Denied, and with fault.Invalid on the field;
// its Code is would_lock_out where the caller could not meet the policy.
func (d *Directory) SetPolicy(ctx context.Context, tenant id.Tenant, from netip.Addr, policy Policy) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		if err := d.maySetPolicy(ctx, at); err != nil {
			return err
		}
		policy.SupportAccess, policy.ProvisioningLogDays = at.tenant.Policy.SupportAccess, at.tenant.Policy.ProvisioningLogDays
		if err := policy.validate(); err != nil {
			return err
		}
		if err := policy.fits(at.blueprint); err != nil {
			return err
		}
		if err := d.admitRegistration(ctx, at, policy.Registration); err != nil {
			return err
		}
		if policy.MFAFrom.Sub(d.now()) > maxGrace {
			return fault.Field(fault.Invalid, "policy.mfa_from", "must not be more than %d days from now", maxGrace/day)
		}
		if err := d.meets(ctx, &policy, at, from); err != nil {
			return err
		}
		_, err = d.store.UpdateTenant(ctx, tenant, func(t *Tenant) error {
			if reflect.DeepEqual(t.Policy, policy) {
				return ErrUnchanged
			}
			t.Policy, t.Modified = policy, d.now()
			return nil
		})
		if isUnchanged(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return d.record(ctx, tenant, "tenant.policy", "tenant", string(tenant), nil)
	})
}

func (d *Directory) maySetPolicy(ctx context.Context, at *place) error {
	if authz.FromContext(ctx).Support != nil {
		return fault.New(fault.Denied, "a support session can't decide how people sign in").WithCode("nested")
	}
	return d.rights.permitted(ctx, at, policyPermission(at))
}

// meets fails where the caller is a person whom the policy would keep out: from
// where they are, or for want of a second factor.
func (d *Directory) meets(ctx context.Context, policy *Policy, at *place, from netip.Addr) error {
	if policy.SSO == SSORequired {
		if has, err := d.store.HasProvider(ctx, at.tenant.ID); err != nil {
			return err
		} else if !has {
			return fault.Field(fault.Invalid, "policy.sso", "the tenant has no identity provider that is enabled").WithCode("would_lock_out")
		}
	}
	p := authz.FromContext(ctx)
	if p.Kind != authz.UserPrincipal && p.Kind != authz.TokenPrincipal {
		return nil
	}
	if !policy.Admits(from) {
		return fault.Field(fault.Invalid, "policy.addresses", "your own address is in none of them: you could not come back").WithCode("would_lock_out")
	}
	if !policy.RequiresSecondFactor(d.now()) || p.User == "" {
		return nil
	}
	has, err := d.credentials.HasSecondFactor(ctx, p.User)
	if err != nil || has {
		return err
	}
	user, err := d.store.User(ctx, p.User)
	if err != nil || user.Email != "" && mailCodes(*policy, at.blueprint.Document().MFA) {
		return err
	}
	return fault.Field(fault.Invalid, "policy.mfa", "you have no second factor yourself: set one up first").WithCode("would_lock_out")
}
