package authz_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// held is a holder of roles in a tenant.
func held(b *authz.Blueprint, at *authz.TenantView, roles ...string) []authz.Holder {
	return []authz.Holder{b.Holder(at, authz.MembershipFacts{Status: "active", Roles: roles})}
}

func TestExplainNamesWhatGrantsAndWhatRemoves(t *testing.T) {
	em, tx, one := blueprint(t, "emnify"), blueprint(t, "timextender"), blueprint(t, "1nce")
	hq := em.Tenant(authz.TenantFacts{ID: "hq", Status: "enabled"})
	spoke := em.Tenant(authz.TenantFacts{ID: "berlin", Status: "enabled", Ancestors: map[string][]id.Tenant{"link": {"hq"}}})
	partner := tx.Tenant(authz.TenantFacts{ID: "partner", Status: "enabled", Entitlements: []string{"partner"}})
	nodata := tx.Tenant(authz.TenantFacts{ID: "nodata", Status: "enabled", Ancestors: map[string][]id.Tenant{"supply": {"partner"}}})
	fleet := one.Tenant(authz.TenantFacts{ID: "fleet", Status: "enabled"})
	visitor := tx.Holder(nodata, authz.MembershipFacts{Status: "not_invited", Roles: []string{"company_admin"}})
	opener := tx.Holder(nodata, authz.MembershipFacts{Status: "active", Resources: []authz.ResourceRole{{Role: "instance_user", Resource: "i1"}}})
	for _, c := range []struct {
		rule string
		got  authz.Explanation
		want string
	}{
		{
			"a role reaches along a star",
			em.Explain(held(em, hq, "superadmin"), spoke, authz.ChannelPortal, "users.update"),
			`{"allowed":true,"permission":"users.update","tenant":"berlin","granted_by":[{"role":"superadmin","held_in":"hq","selector":"link.spokes","row":"User management / Update or delete Workspace users"}]}`,
		},
		{
			"a role acts as another",
			tx.Explain(held(tx, partner, "customer_manager"), nodata, authz.ChannelPortal, "company.update"),
			`{"allowed":true,"permission":"company.update","tenant":"nodata","granted_by":[{"role":"customer_manager","held_in":"partner","selector":"supply.children","acts_as":"company_admin","row":"Company / edit company info"}]}`,
		},
		{
			"an entitlement that the supplier can pass on",
			tx.Explain(held(tx, nodata, "company_admin"), nodata, authz.ChannelPortal, "instances.manage"),
			`{"allowed":false,"permission":"instances.manage","tenant":"nodata","granted_by":[{"role":"company_admin","held_in":"nodata","selector":"self","row":"Data estate / manage instances"}],"removed_by":{"stage":"entitlement","missing":["data_estate"],"ask":"supplier","ask_in":"partner"}}`,
		},
		{
			"an entitlement that only the operator gives",
			em.Explain(held(em, hq, "administrator"), hq, authz.ChannelPortal, "sso.write"),
			`{"allowed":false,"permission":"sso.write","tenant":"hq","granted_by":[{"role":"administrator","held_in":"hq","selector":"self"}],"removed_by":{"stage":"entitlement","missing":["sso"],"ask":"operator"}}`,
		},
		{
			"a role without its entitlement",
			tx.Explain(held(tx, nodata, "data_estate_admin"), nodata, authz.ChannelPortal, "data_sources.manage"),
			`{"allowed":false,"permission":"data_sources.manage","tenant":"nodata","granted_by":[{"role":"data_estate_admin","held_in":"nodata","selector":"self","row":"Data estate / manage data source connections"}],"removed_by":{"stage":"role_entitlement","missing":["data_estate"],"ask":"supplier","ask_in":"partner"}}`,
		},
		{
			"the channel",
			one.Explain(held(one, fleet, "api_user"), fleet, authz.ChannelPortal, "api.access"),
			`{"allowed":false,"permission":"api.access","tenant":"fleet","granted_by":[{"role":"api_user","held_in":"fleet","selector":"self","row":"API Access / API Access"}],"removed_by":{"stage":"channel"}}`,
		},
		{
			"the status",
			tx.Explain([]authz.Holder{visitor}, nodata, authz.ChannelPortal, "users.list"),
			`{"allowed":false,"permission":"users.list","tenant":"nodata","granted_by":[{"role":"company_admin","held_in":"nodata","selector":"self","row":"Users / list users"}],"removed_by":{"stage":"status"}}`,
		},
		{
			"no role, and who has one",
			em.Explain(held(em, hq, "observer"), hq, authz.ChannelPortal, "users.list"),
			`{"allowed":false,"permission":"users.list","tenant":"hq","removed_by":{"stage":"no_role","missing":["superadmin","administrator"],"ask":"administrator","ask_in":"hq"}}`,
		},
		{
			"no such permission",
			em.Explain(held(em, hq, "observer"), hq, authz.ChannelPortal, "users.adore"),
			`{"allowed":false,"permission":"users.adore","tenant":"hq","removed_by":{"stage":"unknown_permission"}}`,
		},
		{
			"a tenant of another blueprint",
			em.Explain(held(em, hq, "observer"), nodata, authz.ChannelPortal, "devices.read"),
			`{"allowed":false,"permission":"devices.read","tenant":"nodata","removed_by":{"stage":"unknown_permission"}}`,
		},
		{
			"a role on a resource",
			tx.ExplainOn([]authz.Holder{opener}, partner, authz.ChannelPortal, "portal.sign_in", "i1"),
			`{"allowed":false,"permission":"portal.sign_in","tenant":"partner","removed_by":{"stage":"no_role","missing":["member","company_admin","customer_manager","data_estate_admin","environment_admin"],"ask":"administrator","ask_in":"partner"}}`,
		},
		{
			"a gated role on a resource",
			tx.ExplainOn([]authz.Holder{opener}, nodata, authz.ChannelPortal, "instances.open", "i1"),
			`{"allowed":false,"permission":"instances.open","tenant":"nodata","granted_by":[{"role":"instance_user","held_in":"nodata","selector":"self","resource":"i1"}],"removed_by":{"stage":"entitlement","missing":["data_estate"],"ask":"supplier","ask_in":"partner"}}`,
		},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got, err := json.Marshal(c.got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExplainNamesMissingRequirementsAndRetiredRoles(t *testing.T) {
	b, err := authz.Load([]byte(replaced(t, "{label: Helper, reach: [self, supply.children]}", "{label: Helper, lifecycle: retired}",
		"cells: 'YYM'", "cells: '-Y-'", "disputed: helper", "src: S")))
	if err != nil {
		t.Fatal(err)
	}
	at := b.Tenant(authz.TenantFacts{ID: "t", Status: "enabled", Entitlements: []string{"extra"}})
	e := b.Explain(held(b, at, "boss"), at, authz.ChannelAPI, "users.update")
	want := &authz.Removal{Stage: authz.StageRequires, Missing: []string{"users.list"}, Ask: "administrator", AskIn: "t"}
	if diff := cmp.Diff(want, e.RemovedBy); diff != "" {
		t.Errorf("requires (-want +got):\n%s", diff)
	}
	e = b.Explain(held(b, at, "helper"), at, authz.ChannelAPI, "users.list")
	if diff := cmp.Diff(&authz.Removal{Stage: authz.StageRetired}, e.RemovedBy); diff != "" {
		t.Errorf("retired (-want +got):\n%s", diff)
	}
}
