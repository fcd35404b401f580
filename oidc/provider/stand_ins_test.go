package provider_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// signInTrusted gives the browser a session with a password alone, as a device of
// ten days ago stood in for the rest.
func (b *browser) signInTrusted(t *testing.T, user *directory.User, byMail bool) {
	t.Helper()
	now := b.in.now()
	device := &authn.TrustedDevice{
		ID: id.New[id.TrustedDevice](), User: user.ID, TrustedAt: now.AddDate(0, 0, -10), LastUsed: now, Expires: now.AddDate(0, 0, 20), ByMail: byMail,
	}
	must(t, b.in.store.CreateTrustedDevice(t.Context(), device, secret.Random("").Hash()))
	session := &authn.Session{
		ID: id.New[id.Session](), User: user.ID, AuthTime: now, ACR: authn.ACR1, AMR: []string{authn.AMRPassword},
		Created: now, LastSeen: now, Expires: now.Add(24 * time.Hour), Device: device.ID,
	}
	token := secret.Random("")
	must(t, b.in.store.CreateSession(t.Context(), session, token.Hash()))
	at, err := url.Parse(b.in.url)
	must(t, err)
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: cookie.Session, Value: token.Reveal(), Path: "/"}})
}

// TestStandIns_PolicyOfToday is decision 19: what a tenant takes for a second factor
// is none once it takes it no longer, for tokens of before as well.
func TestStandIns_PolicyOfToday(t *testing.T) {
	yes, no := true, false
	ways := map[string]func(t *testing.T, b *browser, user *directory.User){
		"an app": func(t *testing.T, b *browser, user *directory.User) { b.signIn(t, user, authn.ACR2) },
		"a passkey": func(t *testing.T, b *browser, user *directory.User) {
			b.signIn(t, user, authn.ACRPhishingResistant, authn.AMRHardwareKey)
		},
		"a code by mail": func(t *testing.T, b *browser, user *directory.User) {
			b.signIn(t, user, authn.ACR1, authn.AMRMultipleChannels)
		},
		"a trusted browser":                   func(t *testing.T, b *browser, user *directory.User) { b.signInTrusted(t, user, false) },
		"a browser trusted by a code by mail": func(t *testing.T, b *browser, user *directory.User) { b.signInTrusted(t, user, true) },
	}
	changes := map[string]struct {
		change func(p *directory.Policy)
		fail   []string // of the ways
	}{
		"nothing":               {func(*directory.Policy) {}, nil},
		"codes by mail off":     {func(p *directory.Policy) { p.EmailCodes = &no }, []string{"a code by mail", "a browser trusted by a code by mail"}},
		"trusted for 0 days":    {func(p *directory.Policy) { p.TrustedDeviceDays = new(0) }, []string{"a trusted browser", "a browser trusted by a code by mail"}},
		"trusted for 10 days":   {func(p *directory.Policy) { p.TrustedDeviceDays = new(10) }, []string{"a trusted browser", "a browser trusted by a code by mail"}},
		"trusted for 11 days":   {func(p *directory.Policy) { p.TrustedDeviceDays = new(11) }, nil},
		"no word about mail":    {func(p *directory.Policy) { p.EmailCodes = nil }, []string{"a code by mail", "a browser trusted by a code by mail"}},
		"a grace period begins": {func(p *directory.Policy) { p.EmailCodes, p.MFAFrom = &no, time.Now().AddDate(1, 0, 0) }, nil},
	}
	each(t, func(t *testing.T, in *instance) {
		tenant := in.tenant(t, "berlin", directory.Policy{})
		user := in.user(t, "ann@berlin.example")
		in.member(t, tenant, user, directory.StatusActive, "member")
		before := directory.Policy{MFA: directory.MFARequired, EmailCodes: &yes}
		for _, format := range []oidc.AccessTokenFormat{oidc.FormatJWT, oidc.FormatOpaque} {
			in.application(t, func(s *oidc.ApplicationSpec) { s.AccessToken = format })
			for way, signIn := range ways {
				for name, c := range changes {
					in.policy(t, tenant, func(p *directory.Policy) { *p = before })
					b := in.browser(t)
					signIn(t, b, user)
					issued := b.obtain(t, "scope", "openid offline_access")
					if got := in.introspect(t, issued.access); got["active"] != true || authn.CompareACR(got["acr"].(string), authn.ACR2) < 0 {
						t.Fatalf("%s, to begin with: %v", way, got)
					}
					in.policy(t, tenant, c.change)
					fails := slices.Contains(c.fail, way)
					if got := in.introspect(t, issued.access)["active"]; got == fails {
						t.Errorf("%s token by %s, %s: active %v", format, way, name, got)
					}
					if !fails {
						in.userInfo(t, issued.access).status(t, http.StatusOK)
						in.refresh(t, issued.refresh).tokens(t)
						continue
					}
					in.userInfo(t, issued.access).oauthError(t, http.StatusUnauthorized, oidc.InsufficientUserAuthentication)
					in.refresh(t, issued.refresh).oauthError(t, http.StatusBadRequest, oidc.InvalidGrant)
					if got := b.authorize(t, "prompt", "none").redirected(t, callback).Get("error"); got != oidc.InteractionRequired {
						t.Errorf("by %s, %s: another request gets %q", way, name, got)
					}
					// Where the tenant asks for nothing the token goes on, for what it is.
					in.policy(t, tenant, func(p *directory.Policy) { p.MFA = directory.MFAOptional })
					if got := in.introspect(t, issued.access); got["active"] != true || got["acr"] != authn.ACR1 {
						t.Errorf("by %s, %s, nothing is asked: %v", way, name, got)
					}
					if _, claims := parts(t, in.refresh(t, issued.refresh).tokens(t).id); claims["acr"] != authn.ACR1 {
						t.Errorf("by %s, %s: a new ID token says %v", way, name, claims["acr"])
					}
				}
			}
		}
	})
}
