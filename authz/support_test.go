package authz_test

import (
	"testing"

	"github.com/rolecall/rolecall/authz"
)

// TestWhatNoSupportSessionMay: roles and passwords are out of reach though the
// role system's own list says nothing of them.
func TestWhatNoSupportSessionMay(t *testing.T) {
	b := blueprint(t, "streamone")
	partner := b.Tenant(authz.TenantFacts{ID: "partner", Status: "enabled"})
	admin := held(b, partner, "account_admin")
	own := b.Effective(admin, partner, authz.ChannelPortal)
	session := b.SupportRights(admin, partner, authz.ChannelPortal, "")
	for key, want := range map[string]bool{
		"users.roles.grant": false, "users.roles.revoke": false, "users.password.set": false, "users.list": true, "users.update": true, "products.use": true,
	} {
		p, known := b.Permission(key)
		if !known || !own.Has(p) || session.Has(p) != want {
			t.Errorf("%s: known %t, the user has it %t, the session %t; want %t", key, known, own.Has(p), session.Has(p), want)
		}
	}
}
