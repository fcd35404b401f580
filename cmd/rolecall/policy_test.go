package main

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

// hereNet is the network that the requests of these tests come from.
const hereNet = "192.0.2.0/24"

func TestPolicyOverTheAPI(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "owner")
		s.person("mia", "berlin", "member")
		s.person("sam", "berlin", "admin")
		set := func(person string, policy map[string]any) string {
			return s.api(person, http.MethodPut, "berlin", "/policy", policy, nil)
		}
		s.refuses("permission", set("mia", map[string]any{"mfa": "off"}))
		s.allows(set("boss", map[string]any{"mfa": "optional", "trusted_device_days": 3, "session_idle_minutes": 30, "session_hours": 8, "invite_domains": []string{"default.example"}}))
		var got struct {
			MFA     string   `json:"mfa"`
			Days    int      `json:"trusted_device_days"`
			Idle    int      `json:"session_idle_minutes"`
			Hours   int      `json:"session_hours"`
			Domains []string `json:"invite_domains"`
		}
		s.allows(s.api("boss", http.MethodGet, "berlin", "/policy", nil, &got))
		if got.MFA != "optional" || got.Days != 3 || got.Idle != 30 || got.Hours != 8 || len(got.Domains) != 1 {
			s.t.Errorf("got %+v", got)
		}
		s.refuses("permission", s.api("mia", http.MethodGet, "berlin", "/policy", nil, nil))

		s.allows(s.adds("boss", "kim", "berlin", "member"))
		s.refuses("invite_domain", s.api("boss", http.MethodPost, "berlin", "/members", map[string]any{"email": "kim@elsewhere.example"}, nil))
		s.allows(s.api("operator", http.MethodPost, "berlin", "/members", map[string]any{"email": "kim@elsewhere.example"}, nil))

		for field, policy := range map[string]map[string]any{
			"400:policy.trusted_device_days":  {"mfa": "off", "trusted_device_days": 400},
			"400:policy.session_idle_minutes": {"mfa": "off", "session_idle_minutes": 4},
			"400:policy.session_hours":        {"mfa": "off", "session_hours": 721},
			"400:policy.mfa_from":             {"mfa": "required", "mfa_from": s.in.now().Add(91 * 24 * time.Hour)},
			"400:policy.addresses":            {"mfa": "off", "addresses": []string{"192.0.2.1/24"}},
			"400:policy.invite_domains":       {"mfa": "off", "invite_domains": []string{"*.example"}},
			"400:policy.password.min":         {"mfa": "off", "password": map[string]any{"min": 1000}},
		} {
			s.refuses(field, set("boss", policy))
		}
	})
}

// Nobody sets a policy that they could not meet themselves.
func TestPolicyLocksNobodyOut(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "owner")
		set := func(person string, policy map[string]any) string {
			return s.api(person, http.MethodPut, "berlin", "/policy", policy, nil)
		}
		s.refuses("would_lock_out",
			set("boss", map[string]any{"mfa": "required"}),
			set("boss", map[string]any{"mfa": "off", "addresses": []string{"198.51.100.0/24"}}))
		s.allows(
			set("boss", map[string]any{"mfa": "required", "mfa_from": s.in.now().Add(24 * time.Hour)}),
			set("boss", map[string]any{"mfa": "required", "email_codes": true}),
			set("boss", map[string]any{"mfa": "off", "addresses": []string{"198.51.100.0/24", hereNet}}),
			set("operator", map[string]any{"mfa": "required"}))
		s.check(s.in.authn.SetTOTP(s.operator(), s.user("boss").ID, secret.NewText("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")))
		s.allows(set("boss", map[string]any{"mfa": "required"}))
	})
}

func TestPolicyOfAddresses(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.tenant(directory.TenantSpec{Slug: "munich"})
		s.person("boss", "berlin", "owner")
		s.person("boss", "munich", "owner")
		program := s.program("boss", "berlin")
		limit := func(networks ...string) {
			policy := &directory.Policy{}
			for _, network := range networks {
				policy.Addresses = append(policy.Addresses, netip.MustParsePrefix(network))
			}
			must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: "berlin", Policy: policy}))
		}
		look := func(actor string) string { return s.api(actor, http.MethodGet, "berlin", "/members", nil, nil) }
		limit(hereNet)
		s.allows(s.signs("boss", "berlin"), look("boss"), look(program))
		limit("198.51.100.0/24", "2001:db8::/32")
		s.refuses("access_denied", s.signs("boss", "berlin"))
		s.refuses("network", look("boss"), look(program)) // tokens from before
		s.allows(s.signs("boss", "munich"), look("operator"))
		if r := call(s.t, s.handler, http.MethodGet, "/t/berlin/scim/v2/Users", program, nil, nil); r.Code != http.StatusUnauthorized {
			s.t.Errorf("SCIM from elsewhere: %d", r.Code)
		}
	})
}

// A demand that begins later binds then, and at once: tokens of one factor end.
func TestPolicyWithAGracePeriod(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		from := func(at time.Time) {
			policy := &directory.Policy{MFA: directory.MFARequired, MFAFrom: at}
			must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: "berlin", Policy: policy}))
		}
		s.tenant(directory.TenantSpec{Slug: "berlin"})
		s.person("boss", "berlin", "owner")
		from(s.in.now().Add(time.Hour))
		s.allows(s.signs1("boss", "berlin"))
		token, _ := s.signIn("boss", "berlin", authn.ACR1)
		look := func() string { return s.api("Bearer "+token, http.MethodGet, "berlin", "/members", nil, nil) }
		s.allows(look())
		from(s.in.now().Add(-time.Second))
		s.refuses("interaction_required", s.signs1("boss", "berlin"))
		if look() == ok {
			s.t.Error("a token of one factor goes on")
		}
		s.allows(s.signs("boss", "berlin"))
	})
}

// The strictest of a tenant's and its role system's policies counts.
func TestPolicyOfPasswords(t *testing.T) {
	t.Parallel()
	onStage(t, "streamone", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "acme", Policy: &directory.Policy{Password: &authz.PasswordPolicy{Min: 14, Other: 1, History: 3, Words: []string{"zeppelin"}}}})
		s.person("mia", "acme")
		mia := s.user("mia").ID
		set := func(password string) string {
			return verdict(s.in.authn.SetPassword(s.operator(), mia, secret.NewText(password)))
		}
		for password, want := range map[string]string{
			"longenough7x":           "invalid:password", // no capital, which the role system asks for
			"Short-of-14-x":          "invalid:password",
			"Long-Enough-For-1-Rule": ok,
			"Zeppelin-9-Zep":         "context", // a word of the tenant's
		} {
			s.refuses(want, set(password))
		}
		s.allows(set("Another-Long-One-2"))
		s.refuses("used_before", set("Long-Enough-For-1-Rule"))
	})
}
