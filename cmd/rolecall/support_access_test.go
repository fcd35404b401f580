package main

import "testing"

// TestApplySupportAccess: a file gives and takes the consent to support
// sessions, and one that is silent about it leaves it alone.
func TestApplySupportAccess(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		for _, row := range []struct {
			policy string
			want   bool
		}{
			{"{}", false},
			{"{support_access: true}", true},
			{"{trusted_device_days: 3}", true},
			{"{support_access: false}", false},
			{"{mfa: required}", false},
		} {
			if _, err := in.apply(ctx, parse(t, "tenants:\n- {slug: a, blueprint: streamone, policy: "+row.policy+"}\n")); err != nil {
				t.Fatal(err)
			}
			tenant, err := in.directory.Tenant(ctx, "a")
			if err != nil || tenant.Policy.SupportAccess != row.want {
				t.Errorf("after %s the tenant is %+v, %v", row.policy, tenant, err)
			}
		}
	})
}
