package provider_test

import (
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// TestScopeAPIIsForApplicationsThatTheOperatorAllowsIt keeps a token for any
// application from administering.
func TestScopeAPIIsForApplicationsThatTheOperatorAllowsIt(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		issue := func(allowed bool, scope string) (granted, access string) {
			t.Helper()
			in.application(t, func(s *oidc.ApplicationSpec) { s.API = allowed })
			code := p.browser.get(t, "/oauth2/authorize", params("scope", scope)).redirected(t, callback+"?").Get("code")
			response := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code))
			granted, _ = response.json(t)["scope"].(string)
			return granted, response.tokens(t).access
		}
		principal := func(access string) (authz.Principal, string) {
			t.Helper()
			got, err := in.oidc.Principal(t.Context(), oidc.Bearer(secret.NewText(access)))
			return got, fault.As(err).Code
		}
		granted, access := issue(false, "openid api")
		if _, code := principal(access); granted != "openid" || code != oidc.InsufficientScope {
			t.Errorf("for an application without leave: got the scope %q, the refusal %q", granted, code)
		}
		_, access = issue(true, "openid")
		if _, code := principal(access); code != oidc.InsufficientScope {
			t.Errorf("RFC 6750 §3.1 without the scope: got %q", code)
		}
		granted, access = issue(true, "openid api")
		got, code := principal(access)
		if granted != "openid api" || code != "" || got.Kind != authz.UserPrincipal || got.User != p.user.ID || got.Tenant != p.tenant.ID ||
			got.Channel != authz.ChannelPortal || got.Membership != p.membership.ID || got.Session != p.session.ID || got.Application != "shop" {
			t.Errorf("got the scope %q, %q and %+v", granted, code, got)
		}
		other := in.withStore(t, in.store) // a node that remembers nothing
		in.application(t, func(s *oidc.ApplicationSpec) { s.API = false })
		if _, err := other.Principal(t.Context(), oidc.Bearer(secret.NewText(access))); fault.As(err).Code != oidc.InsufficientScope {
			t.Errorf("after the leave was taken back: got %v", err)
		}
		if authn.LooksLikeApplicationToken(secret.NewText(access)) {
			t.Error("an access token looks like an application token")
		}
	})
}
