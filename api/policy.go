package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// policyBody is what a tenant asks of those who sign in.
type policyBody struct {
	MFA               string                  `json:"mfa" enum:"off,optional,required" doc:"Whether the tenant demands a second factor; its role system may do so as well"`
	MFAFrom           *time.Time              `json:"mfa_from,omitempty" doc:"When required begins to bind, within 90 days; left out: at once"`
	TrustedDeviceDays *int                    `json:"trusted_device_days,omitempty" doc:"0: a trusted browser counts for nothing; left out: as the role system has it"`
	EmailCodes        *bool                   `json:"email_codes,omitempty" doc:"Codes by mail are taken for a second factor; left out: as the role system has it"`
	Addresses         []string                `json:"addresses,omitempty" doc:"The only networks that people sign in from and the API is used from, as CIDR blocks; none: anywhere"`
	InviteDomains     []string                `json:"invite_domains,omitempty" doc:"The only mail domains whose people are added; none: any"`
	Registration      *directory.Registration `json:"registration,omitempty" doc:"Who may make themselves a member; left out: nobody"`
	SSO               string                  `json:"sso,omitempty" enum:"required" doc:"People sign in by an identity provider of the tenant's own; left out: as they like"`
	Password          *authz.PasswordPolicy   `json:"password,omitempty" doc:"What passwords have to meet beside what the role system asks for"`
	DynamicApps       bool                    `json:"dynamic_registration,omitempty" doc:"Applications of the tenant register themselves, by a registration token; left out: they don't"`
	SessionIdle       int                     `json:"session_idle_minutes,omitempty" doc:"After so many minutes without use a session no longer counts here: 5 to 720; left out: as the server has it"`
	SessionHours      int                     `json:"session_hours,omitempty" doc:"After so many hours people sign in again: 1 to 720; left out: as the server has it"`
}

type policyEnvelope struct {
	Body policyBody
}

func (o *operations) policy() {
	const tag = "Policy"
	d := o.handler.Directory
	inTenant(o, operation{ID: "getPolicy", Method: http.MethodGet, Path: "/policy", Tag: tag, Summary: "What the tenant asks of those who sign in"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*policyEnvelope, error) {
			policy, err := d.Policy(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			return &policyEnvelope{policyBodyOf(&policy)}, nil
		})
	inTenant(o, operation{
		ID: "setPolicy", Method: http.MethodPut, Path: "/policy", Tag: tag, Summary: "Replace what the tenant asks of those who sign in",
		About: "For whom the role system names (mfa.set_by), and operators. Nobody sets a policy that they could not meet " +
			"themselves: it is refused with the code would_lock_out.",
		Status: http.StatusNoContent,
	},
		func(ctx context.Context, t *directory.Tenant, in *policyEnvelope) (*struct{}, error) {
			policy, err := in.Body.policy()
			if err != nil {
				return nil, err
			}
			return nil, d.SetPolicy(ctx, t.ID, peerOf(ctx), policy)
		})
}

func policyBodyOf(p *directory.Policy) policyBody {
	body := policyBody{
		MFA: string(p.MFA), TrustedDeviceDays: p.TrustedDeviceDays, EmailCodes: p.EmailCodes, InviteDomains: p.InviteDomains, Registration: p.Registration, SSO: string(p.SSO), Password: p.Password,
		SessionIdle: p.SessionIdleMinutes, SessionHours: p.SessionHours, DynamicApps: p.DynamicRegistration,
	}
	if body.MFA == "" {
		body.MFA = string(directory.MFAOptional)
	}
	if !p.MFAFrom.IsZero() {
		body.MFAFrom = &p.MFAFrom
	}
	for _, network := range p.Addresses {
		body.Addresses = append(body.Addresses, network.String())
	}
	return body
}

func (b *policyBody) policy() (directory.Policy, error) {
	policy := directory.Policy{
		MFA: directory.MFAPolicy(b.MFA), TrustedDeviceDays: b.TrustedDeviceDays, EmailCodes: b.EmailCodes, InviteDomains: b.InviteDomains, Registration: b.Registration, SSO: directory.SSOPolicy(b.SSO), Password: b.Password,
		SessionIdleMinutes: b.SessionIdle, SessionHours: b.SessionHours, DynamicRegistration: b.DynamicApps,
	}
	if b.MFAFrom != nil {
		policy.MFAFrom = b.MFAFrom.UTC()
	}
	for _, text := range b.Addresses {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return policy, fault.Field(fault.Invalid, "policy.addresses", "%q is no network, such as 192.0.2.0/24 or 2001:db8::/32", text)
		}
		policy.Addresses = append(policy.Addresses, network)
	}
	return policy, nil
}
