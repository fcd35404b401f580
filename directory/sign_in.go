package directory

import (
	"context"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// defaultTrustedDevice is for how long a browser is trusted where neither the
// tenant nor its role system says anything of second factors.
const defaultTrustedDevice = 30 * day

const day = 24 * time.Hour

// A SignInPolicy is what the tenants that a person can sign in to ask of the
// sign-in itself, before it is known which of them is meant.
type SignInPolicy struct {
	// TrustedDevice is the longest that any of them trusts a browser; 0: none
	// does. Each holds the browser to its own number of days.
	TrustedDevice time.Duration
	MailCodes     bool // some of them take codes by mail for a second factor
}

// SignInPolicy returns what is asked of the user's sign-in. Somebody who can sign
// in to no tenant, such as an operator, has the server's default.
func (r *Rights) SignInPolicy(ctx context.Context, user id.User) (SignInPolicy, error) {
	standings, err := r.SignIns(ctx, user, maxReached)
	return policyOf(standings), err
}

func policyOf(standings []Standing) SignInPolicy {
	if len(standings) == 0 {
		return SignInPolicy{TrustedDevice: defaultTrustedDevice}
	}
	var policy SignInPolicy
	for i := range standings {
		policy.TrustedDevice = max(policy.TrustedDevice, standings[i].TrustedDevice)
		policy.MailCodes = policy.MailCodes || standings[i].MailCodes
	}
	return policy
}

// A PasswordPolicy is what a person's password has to meet, all of it.
type PasswordPolicy struct {
	Each    []*authz.PasswordPolicy // of the role systems and the tenants
	History int                     // so many of the last passwords can't be chosen again
	Words   []string                // that can't make up a password: names of the tenants and their portals
}

// PasswordPolicy returns what the user's password has to meet by the word and the
// role system of every tenant that knows them, be it that they are invited only, and choose
// their first password by the invitation.
func (r *Rights) PasswordPolicy(ctx context.Context, user id.User) (PasswordPolicy, error) {
	standings, err := r.store.Standings(ctx, user, Find{})
	if err != nil {
		return PasswordPolicy{}, err
	}
	var policy PasswordPolicy
	for i := range standings {
		b, err := r.blueprints.Version(ctx, standings[i].Blueprint, standings[i].BlueprintVersion)
		if err != nil {
			return PasswordPolicy{}, err
		}
		policy.Words = append(policy.Words, standings[i].TenantName, standings[i].Slug, standings[i].Blueprint)
		policy.add(b.Document().Password, standings[i].Policy.Password)
	}
	return policy, nil
}

// PasswordPolicyAt returns what the password of somebody has to meet who is about
// to become a member of the tenant and of no other.
func (r *Rights) PasswordPolicyAt(ctx context.Context, tenant id.Tenant) (PasswordPolicy, error) {
	t, err := r.store.Tenant(ctx, tenant)
	if err != nil {
		return PasswordPolicy{}, err
	}
	b, err := r.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return PasswordPolicy{}, err
	}
	policy := PasswordPolicy{Words: []string{t.Name, t.Slug, t.Blueprint}}
	policy.add(b.Document().Password, t.Policy.Password)
	return policy, nil
}

// add has the policy ask for what each of the others does; nil asks for nothing.
func (p *PasswordPolicy) add(others ...*authz.PasswordPolicy) {
	for _, asked := range others {
		if asked == nil || slices.Contains(p.Each, asked) {
			continue
		}
		p.Each = append(p.Each, asked)
		p.Words = append(p.Words, asked.Words...)
		p.History = max(p.History, asked.History)
	}
}

// Lockout returns when the account of an address closes after failed attempts:
// after the fewest, and for the longest, that a role system of a tenant which
// knows the person says. Attempts is 0 where none does. It does the same work
// whether the address is anybody's or not.
func (r *Rights) Lockout(ctx context.Context, email string) (authz.Lockout, error) {
	systems, err := r.store.RoleSystemsOf(ctx, email)
	if err != nil {
		return authz.Lockout{}, err
	}
	var strictest authz.Lockout
	for _, system := range systems {
		b, err := r.blueprints.Version(ctx, system.Blueprint, system.Version)
		if err != nil {
			return authz.Lockout{}, err
		}
		policy := b.Document().SignIn
		if policy == nil || policy.Lockout == nil {
			continue
		}
		if strictest.Attempts == 0 || policy.Lockout.Attempts < strictest.Attempts {
			strictest.Attempts = policy.Lockout.Attempts
		}
		strictest.For = max(strictest.For, policy.Lockout.For)
	}
	return strictest, nil
}

// trustedDevice returns for how long a tenant trusts a browser: as it says
// itself, or else as its role system does. A role system that speaks of second
// factors and not of trusted devices has none.
func trustedDevice(own Policy, mfa *authz.MFAPolicy) time.Duration {
	switch {
	case own.TrustedDeviceDays != nil:
		return time.Duration(*own.TrustedDeviceDays) * day
	case mfa == nil:
		return defaultTrustedDevice
	case mfa.TrustedDevices == nil:
		return 0
	}
	return mfa.TrustedDevices.TTL
}

// StandIns returns what a tenant of that version of a role system and with that
// policy takes for a second factor without being one. It answers from memory.
func (r *Rights) StandIns(ctx context.Context, blueprint string, version int, own Policy) (SignInPolicy, error) {
	b, err := r.blueprints.Version(ctx, blueprint, version)
	if err != nil {
		return SignInPolicy{}, err
	}
	mfa := b.Document().MFA
	return SignInPolicy{TrustedDevice: trustedDevice(own, mfa), MailCodes: mailCodes(own, mfa)}, nil
}

// methodMail is what role systems call codes by mail.
const methodMail = "email_otp"

// mailCodes reports whether a tenant takes codes by mail for a second factor: as
// it says itself, where its role system knows them, or else where they are what
// the role system begins with.
func mailCodes(own Policy, mfa *authz.MFAPolicy) bool {
	if mfa == nil || !slices.Contains(mfa.Methods, methodMail) {
		return false
	}
	if own.EmailCodes != nil {
		return *own.EmailCodes
	}
	return mfa.DefaultMethod == methodMail
}

// MailCounts reports whether the person can have a code by mail for a second
// factor there: who has no address is asked for another.
func (s *Standing) MailCounts() bool { return s.MailCodes && s.User.Email != "" }

// A SecondFactorDemand is a tenant that demands a second factor of somebody.
type SecondFactorDemand struct {
	Tenant    string // its name
	MailCodes bool   // it takes codes by mail for one
}

// SecondFactorAt returns the tenants that demand a second factor of the user, of
// up to fifty that they can sign in to, and what these ask of the sign-in itself.
func (r *Rights) SecondFactorAt(ctx context.Context, user id.User) ([]SecondFactorDemand, SignInPolicy, error) {
	all, err := r.weighSignIns(ctx, user, maxReached)
	if err != nil {
		return nil, SignInPolicy{}, err
	}
	var demands []SecondFactorDemand
	standings := make([]Standing, len(all))
	for i := range all {
		standings[i] = *all[i].standing()
		if standings[i].SecondFactor {
			demands = append(demands, SecondFactorDemand{standings[i].TenantName, standings[i].MailCodes})
		}
	}
	return demands, policyOf(standings), nil
}
