// Package peers compares a decision of authz with the same check in casbin and
// in cedar-go. It is a module of its own, so that the product does not depend on
// either. `make bench` runs it.
package peers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/cedar-policy/cedar-go"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

const (
	tenants  = 1000
	rounds   = 5
	window   = 300 * time.Millisecond
	expected = 50 // times faster than either
)

// A check answers whether the one member of a tenant has a permission there.
type check struct {
	name string
	may  func(tenant int, permission string) bool
}

func slug(tenant int) string { return fmt.Sprintf("tenant-%d", tenant) }

// matrix is emnify's portal as role → permissions where the role is held.
func matrix(t *testing.T) (*authz.Blueprint, []string, map[string][]string) {
	t.Helper()
	catalog, err := authz.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	b, err := catalog.Blueprint("emnify")
	if err != nil {
		t.Fatal(err)
	}
	roles := []string{"administrator", "observer", "user"}
	gives := map[string][]string{}
	view := facts(b, 0)
	for _, role := range roles {
		holder := []authz.Holder{b.Holder(view, authz.MembershipFacts{Status: "active", Roles: []string{role}})}
		gives[role] = b.Keys(b.Effective(holder, view, authz.ChannelPortal))
	}
	return b, roles, gives
}

func facts(b *authz.Blueprint, tenant int) *authz.TenantView {
	return b.Tenant(authz.TenantFacts{ID: id.Tenant(slug(tenant)), Status: "enabled", Entitlements: b.Document().Entitlements.Keys()})
}

func rolecall(b *authz.Blueprint, roles []string) check {
	views, holders := make([]*authz.TenantView, tenants), make([][]authz.Holder, tenants)
	for n := range tenants {
		views[n] = facts(b, n)
		holders[n] = []authz.Holder{b.Holder(views[n], authz.MembershipFacts{Status: "active", Roles: []string{roles[n%len(roles)]}})}
	}
	return check{"rolecall authz", func(tenant int, permission string) bool {
		return b.Can(holders[tenant], views[tenant], authz.ChannelPortal, permission)
	}}
}

// casbinDomains is casbin's RBAC with domains, in the form that is kindest to
// it: the roles' permissions are the same in all domains and written once.
func casbinDomains(t *testing.T, roles []string, gives map[string][]string) check {
	t.Helper()
	m, err := model.NewModelFromString(`
[request_definition]
r = sub, dom, act
[policy_definition]
p = sub, act
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.act == p.act && g(r.sub, p.sub, r.dom)
`)
	if err != nil {
		t.Fatal(err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		for _, key := range gives[role] {
			if _, err := e.AddPolicy(role, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range tenants {
		if _, err := e.AddGroupingPolicy("user-of-"+slug(n), roles[n%len(roles)], slug(n)); err != nil {
			t.Fatal(err)
		}
	}
	return check{"casbin v2, RBAC with domains", func(tenant int, permission string) bool {
		allowed, err := e.Enforce("user-of-"+slug(tenant), slug(tenant), permission)
		return err == nil && allowed
	}}
}

// cedarTenants is one policy set for each tenant, with a policy for each role:
// one set for all of them would be read through at every check.
func cedarTenants(t *testing.T, roles []string, gives map[string][]string) check {
	t.Helper()
	sets, entities := make([]*cedar.PolicySet, tenants), make([]cedar.EntityMap, tenants)
	requests := make([]cedar.Request, tenants)
	for n := range tenants {
		var text strings.Builder
		for _, role := range roles {
			actions := make([]string, len(gives[role]))
			for i, key := range gives[role] {
				actions[i] = fmt.Sprintf("Action::%q", key)
			}
			fmt.Fprintf(&text, "permit (principal in Role::%q, action in [%s], resource == Tenant::%q);\n", role, strings.Join(actions, ", "), slug(n))
		}
		set, err := cedar.NewPolicySetFromBytes(slug(n), []byte(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		user, tenant := cedar.NewEntityUID("User", cedar.String("user-of-"+slug(n))), cedar.NewEntityUID("Tenant", cedar.String(slug(n)))
		role := cedar.NewEntityUID("Role", cedar.String(roles[n%len(roles)]))
		sets[n] = set
		entities[n] = cedar.EntityMap{
			user: {UID: user, Parents: cedar.NewEntityUIDSet(role)}, role: {UID: role}, tenant: {UID: tenant},
		}
		requests[n] = cedar.Request{Principal: user, Resource: tenant}
	}
	return check{"cedar-go, a policy set for each tenant", func(tenant int, permission string) bool {
		request := requests[tenant]
		request.Action = cedar.NewEntityUID("Action", cedar.String(permission))
		decision, _ := cedar.Authorize(sets[tenant], entities[tenant], request)
		return decision == cedar.Allow
	}}
}

// TestRatio measures the three in turn, several times, and prints the medians
// and the ratios. Before that it holds that all three decide the same.
func TestRatio(t *testing.T) {
	b, roles, gives := matrix(t)
	checks := []check{rolecall(b, roles), casbinDomains(t, roles, gives), cedarTenants(t, roles, gives)}
	keys := b.Permissions()
	for tenant := range 2 * len(roles) {
		for _, key := range keys {
			want := checks[0].may(tenant, key)
			for _, c := range checks[1:] {
				if c.may(tenant, key) != want {
					t.Fatalf("%s and rolecall disagree about %s of the %s", c.name, key, roles[tenant%len(roles)])
				}
			}
		}
	}
	costs := make([][]float64, len(checks))
	for range rounds {
		for i, c := range checks {
			n, begin := 0, time.Now()
			for time.Since(begin) < window {
				for range 100 {
					c.may(n*7919%tenants, keys[n%len(keys)])
					n++
				}
			}
			costs[i] = append(costs[i], float64(time.Since(begin).Nanoseconds())/float64(n))
		}
	}
	fmt.Printf("the same check, %d tenants, %d permissions, median of %d rounds\n", tenants, len(keys), rounds)
	for i, c := range checks {
		ratios := make([]float64, rounds)
		for round := range rounds {
			ratios[round] = costs[i][round] / costs[0][round]
		}
		slices.Sort(ratios)
		verdict := ""
		if i > 0 && ratios[rounds/2] >= expected {
			verdict = fmt.Sprintf("≥ %d × ok", expected)
		} else if i > 0 {
			verdict = fmt.Sprintf("≥ %d × SHORT", expected)
		}
		fmt.Printf("%-40s %10.0f ns %8.0f × %s\n", c.name, slices.Sorted(slices.Values(costs[i]))[rounds/2], ratios[rounds/2], verdict)
	}
}
