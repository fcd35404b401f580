package provider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/oidc"
)

// TestSessionLimitsOfTheTenant: what the policy of the tenant in use says of
// sessions is looked at whenever a token is issued, and whenever one is judged.
func TestSessionLimitsOfTheTenant(t *testing.T) {
	cases := []struct {
		name    string
		policy  directory.Policy
		wait    time.Duration // after the last use
		uses    int           // visits in between, each after four minutes
		refused bool
	}{
		{name: "no limits of the tenant", wait: 11 * time.Hour},
		{name: "the server's own limit without use", wait: 12 * time.Hour, refused: true},
		{name: "within session_idle_minutes", policy: directory.Policy{SessionIdleMinutes: 5}, wait: 4 * time.Minute},
		{name: "use keeps it alive", policy: directory.Policy{SessionIdleMinutes: 5}, wait: 4 * time.Minute, uses: 3},
		{name: "beyond session_idle_minutes", policy: directory.Policy{SessionIdleMinutes: 5}, wait: 5 * time.Minute, refused: true},
		{name: "within session_hours", policy: directory.Policy{SessionHours: 1}, wait: 59 * time.Minute},
		{name: "beyond session_hours", policy: directory.Policy{SessionHours: 1}, wait: time.Hour, refused: true},
		{name: "use does not move session_hours", policy: directory.Policy{SessionHours: 1}, wait: 4 * time.Minute, uses: 14, refused: true},
	}
	each(t, func(t *testing.T, in *instance) {
		in.application(t, nil)
		user := in.user(t, "ann@berlin.example")
		tenants := map[string]*directory.Tenant{}
		for _, name := range []string{"strict", "other"} {
			tenants[name] = in.tenant(t, name, directory.Policy{})
			in.member(t, tenants[name], user, directory.StatusActive, "admin")
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				_, err := in.store.UpdateTenant(t.Context(), tenants["strict"].ID, func(t *directory.Tenant) error { t.Policy = c.policy; return nil })
				must(t, err)
				b := in.browser(t)
				b.signIn(t, user, authn.ACR1)
				issued := b.obtain(t, "scope", "openid tenant:strict")
				offline := b.obtain(t, "scope", "openid offline_access tenant:strict")
				other := b.obtain(t, "scope", "openid tenant:other")
				for range c.uses {
					in.advance(4 * time.Minute)
					b.code(t, "scope", "openid tenant:other")
				}
				in.advance(c.wait)
				answer := b.authorize(t, "scope", "openid tenant:strict", "prompt", "none").redirected(t, callback)
				if refused := answer.Get("error") == oidc.LoginRequired; refused != c.refused || refused == answer.Has("code") {
					t.Errorf("OIDC Core §3.1.2.6 prompt=none: %v", answer)
				}
				status := map[bool]int{true: http.StatusBadRequest, false: http.StatusOK}[c.refused]
				if got := in.introspect(t, issued.refresh)["active"]; got == c.refused {
					t.Errorf("RFC 7662: the refresh token is active: %v", got)
				}
				in.refresh(t, issued.refresh).status(t, status)
				in.refresh(t, offline.refresh).status(t, http.StatusOK) // which outlives sessions
				if c.wait < 12*time.Hour {
					in.refresh(t, other.refresh).status(t, http.StatusOK)
				}
				if !c.refused || c.wait == 12*time.Hour {
					return
				}
				// The other application's refresh has woken the session up, but not for this tenant.
				if answer := b.authorize(t, "scope", "openid tenant:strict", "prompt", "none").redirected(t, callback); answer.Get("error") != oidc.LoginRequired {
					t.Errorf("woken up by another tenant: %v", answer)
				}
				b.authorize(t, "scope", "openid tenant:strict").waits(t, "/login")
				b.code(t, "scope", "openid tenant:other")
				b.signIn(t, user, authn.ACR1)
				b.code(t, "scope", "openid tenant:strict")
			})
		}
	})
}

// TestSessionLimitsOfTokens: a code and an access token do not outlive the limit
// either, however short their own time is.
func TestSessionLimitsOfTokens(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.AccessToken = oidc.FormatOpaque })
		_, err := in.store.UpdateTenant(t.Context(), p.tenant.ID, func(t *directory.Tenant) error { t.Policy.SessionHours = 1; return nil })
		must(t, err)
		in.advance(59 * time.Minute)
		issued := p.browser.obtain(t)
		in.advance(30 * time.Second)
		code := p.browser.code(t)
		in.userInfo(t, issued.access).status(t, http.StatusOK)
		in.advance(30 * time.Second)
		in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code)).oauthError(t, http.StatusBadRequest, oidc.InvalidGrant)
		in.userInfo(t, issued.access).status(t, http.StatusUnauthorized)
		if in.introspect(t, issued.access)["active"] != false {
			t.Error("RFC 7662: the access token is active")
		}
	})
}

// TestSessionIsWrittenRarely: an application that gets tokens all the time has the
// session's last use written once a minute.
func TestSessionIsWrittenRarely(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		issued := p.browser.obtain(t)
		seen := func() time.Time {
			session, err := in.authn.SessionByID(t.Context(), p.session.ID)
			must(t, err)
			return session.LastSeen
		}
		start := seen()
		for range 3 {
			in.advance(19 * time.Second)
			issued = in.refresh(t, issued.refresh).tokens(t)
			p.browser.code(t)
		}
		if got := seen(); !got.Equal(start) {
			t.Errorf("written within a minute: %v", got.Sub(start))
		}
		in.advance(3 * time.Second)
		in.refresh(t, issued.refresh).tokens(t)
		if got := seen().Sub(start); got != time.Minute {
			t.Errorf("seen after %v, want a minute", got)
		}
	})
}
