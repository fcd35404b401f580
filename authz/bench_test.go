package authz_test

import (
	"fmt"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// memberOf returns a person with so many memberships in tenants of emnify's portal, and
// the last of the tenants. In the last the person is an administrator.
func memberOf(tb testing.TB, memberships int) (*authz.Blueprint, []authz.Holder, *authz.TenantView) {
	tb.Helper()
	b := blueprint(tb, "emnify")
	var holders []authz.Holder
	var at *authz.TenantView
	for n := range memberships {
		at = b.Tenant(authz.TenantFacts{
			ID: id.Tenant(fmt.Sprintf("t%d", n)), Status: "enabled", Entitlements: []string{"multi_workspace"},
			Ancestors: map[string][]id.Tenant{"link": {"hub"}},
		})
		role := "user"
		if n == memberships-1 {
			role = "administrator"
		}
		holders = append(holders, b.Holder(at, authz.MembershipFacts{Status: "active", Roles: []string{role}}))
	}
	return b, holders, at
}

// BenchmarkEffective1000 is what a person with 1,000 memberships may do in one
// tenant, were all of them weighed. The directory hands in those only that are
// in the tenant or above it.
func BenchmarkEffective1000(b *testing.B) {
	emnify, holders, at := memberOf(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if emnify.Effective(holders, at, authz.ChannelPortal).Empty() {
			b.Fatal("nothing")
		}
	}
}

func BenchmarkExplain(b *testing.B) {
	emnify, holders, at := memberOf(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if !emnify.Explain(holders, at, authz.ChannelPortal, "users.update").Allowed {
			b.Fatal("refused")
		}
	}
}

// BenchmarkCompile reads, checks and compiles a blueprint.
func BenchmarkCompile(b *testing.B) {
	source, err := authz.ShippedSource("emnify")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := authz.Load(source); err != nil {
			b.Fatal(err)
		}
	}
}
