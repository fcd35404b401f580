package directory_test

import (
	"context"
	"errors"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// entitled reports whether the tenant has the entitlement by that source.
func (w *world) entitled(tenant id.Tenant, key string, source directory.EntitlementSource) bool {
	w.t.Helper()
	all, err := w.Entitlements(w.t.Context(), tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range all {
		if e.Key == key && e.Source == source {
			return true
		}
	}
	return false
}

// supply is a vendor with a partner and the partner's customer, each with a
// customer manager who may pass entitlements on.
type supply struct {
	*world
	vendor, partner, customer id.Tenant
	manager                   map[id.Tenant]*directory.Membership
}

func (w *world) supply() *supply {
	w.t.Helper()
	s := &supply{world: w, vendor: w.open("vendor", "timextender", ""), partner: w.open("partner", "timextender", ""), customer: w.open("customer", "timextender", "")}
	s.link(s.partner, "supply", s.vendor)
	s.link(s.customer, "supply", s.partner)
	s.manager = map[id.Tenant]*directory.Membership{
		s.vendor: s.hire(s.vendor, "manager@vendor.example", "customer_manager"), s.partner: s.hire(s.partner, "manager@partner.example", "customer_manager"),
	}
	s.hire(s.vendor, "admin@vendor.example", "company_admin")
	s.must(s.Entitle(operator(w.t), s.vendor, "partner", true))
	s.must(s.Delegate(actingAs(w.t, s.manager[s.vendor]), s.vendor, s.partner, "partner", true))
	return s
}

func (s *supply) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestTXR15Delegation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := w.supply()
		vendor, partner := actingAs(t, s.manager[s.vendor]), actingAs(t, s.manager[s.partner])
		companyAdmin := actingAs(t, s.hire(s.partner, "admin@partner.example", "company_admin"))
		customerAdmin := actingAs(t, s.hire(s.customer, "admin@customer.example", "company_admin"))
		stranger := w.open("stranger", "timextender", "")
		s.must(s.Entitle(operator(t), s.vendor, "data_estate", false))
		for _, c := range []struct {
			what     string
			ctx      context.Context //nolint:containedctx // who acts is what the table is about
			from, to id.Tenant
			key      string
			kind     fault.Kind
			code     string
		}{
			{"without the grant option", vendor, s.vendor, s.partner, "data_estate", fault.Denied, "not_grantable"},
			{"what one does not have", vendor, s.vendor, s.partner, "environments", fault.Denied, "not_grantable"},
			{"past a level", operator(t), s.vendor, s.customer, "partner", fault.Denied, "not_child"},
			{"past a level, by a member", vendor, s.vendor, s.customer, "partner", fault.Denied, "permission"},
			{"to a stranger", operator(t), s.vendor, stranger, "partner", fault.Denied, "not_child"},
			{"to itself", operator(t), s.vendor, s.vendor, "partner", fault.Denied, "not_child"},
			{"upwards", operator(t), s.partner, s.vendor, "partner", fault.Denied, "not_child"},
			{"by an administrator who does not reach the customer", companyAdmin, s.partner, s.customer, "partner", fault.Denied, "permission"},
			{"by the customer's own administrator", customerAdmin, s.partner, s.customer, "partner", fault.Denied, "permission"},
			{"by the supplier's supplier", vendor, s.partner, s.customer, "partner", fault.Denied, "permission"},
			{"by nobody", t.Context(), s.partner, s.customer, "partner", fault.Denied, "permission"},
			{"an unknown one", operator(t), s.vendor, s.partner, "unknown", fault.Invalid, ""},
		} {
			wantCode(t, c.what, s.Delegate(c.ctx, c.from, c.to, c.key, false), c.kind, c.code)
		}
		limited := authz.FromContext(partner)
		limited.Permissions = []string{"users.list"}
		wantCode(t, "with a credential that is limited to less", s.Delegate(authz.NewContext(t.Context(), limited), s.partner, s.customer, "partner", false), fault.Denied, "permission")

		s.must(s.Delegate(partner, s.partner, s.customer, "partner", false))
		if !s.entitled(s.customer, "partner", directory.EntitledDelegated) {
			t.Error("the customer did not get it")
		}
		manager := s.hire(s.customer, "manager@customer.example", "customer_manager")
		if a := s.explain(manager.User, "customer", "customers.list"); !a.Allowed {
			t.Errorf("what it gates has no effect: %+v", a)
		}
		leaf := s.open("leaf", "timextender", "")
		s.link(leaf, "supply", s.customer)
		wantCode(t, "on from there without the option", s.Delegate(actingAs(t, manager), s.customer, leaf, "partner", false), fault.Denied, "not_grantable")
	})
}

func TestTXR15WithdrawalGoesThroughAllLevels(t *testing.T) {
	for what, end := range map[string]func(*supply) error{
		"the operator takes it from the top": func(s *supply) error { return s.Disentitle(operator(s.t), s.vendor, "partner") },
		"the operator takes the option":      func(s *supply) error { return s.Entitle(operator(s.t), s.vendor, "partner", false) },
		"the supplier withdraws it": func(s *supply) error {
			return s.Withdraw(actingAs(s.t, s.manager[s.vendor]), s.vendor, s.partner, "partner")
		},
		"the supplier takes the option": func(s *supply) error {
			return s.Delegate(actingAs(s.t, s.manager[s.vendor]), s.vendor, s.partner, "partner", false)
		},
		"the partner is no customer any more": func(s *supply) error { return s.Unlink(operator(s.t), s.partner, "supply") },
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				s := w.supply()
				leaf := w.open("leaf", "timextender", "")
				w.link(leaf, "supply", s.customer)
				s.must(s.Delegate(actingAs(t, s.manager[s.partner]), s.partner, s.customer, "partner", true))
				s.must(s.Delegate(operator(t), s.customer, leaf, "partner", false))
				s.must(s.Entitle(operator(t), leaf, "partner", false))

				s.must(end(s))
				for name, tenant := range map[string]id.Tenant{"customer": s.customer, "leaf": leaf} {
					if s.entitled(tenant, "partner", directory.EntitledDelegated) {
						t.Errorf("%s still has it", name)
					}
				}
				if !s.entitled(leaf, "partner", directory.EntitledOperator) {
					t.Error("what the operator gave is gone too")
				}
			})
		})
	}
}

func TestTXR15WithdrawalNeedsTheSameRight(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := w.supply()
		admin := actingAs(t, s.hire(s.partner, "admin@partner.example", "company_admin"))
		wantCode(t, "who got it", s.Withdraw(admin, s.vendor, s.partner, "partner"), fault.Denied, "permission")
		wantCode(t, "an operator's act", s.Entitle(admin, s.partner, "partner", true), fault.Denied, "operator")
		wantCode(t, "an operator's act", s.Disentitle(admin, s.partner, "partner"), fault.Denied, "operator")
		if err := s.Withdraw(operator(t), s.partner, s.customer, "partner"); !errors.Is(err, fault.NotFound) {
			t.Errorf("what nobody gave: %v", err)
		}
	})
}

func TestTXR25TheTypeIsALabel(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := w.supply()
		user := s.manager[s.partner].User
		for _, label := range []string{"vendor", "end_customer"} {
			if _, err := w.SaveTenant(operator(t), directory.TenantSpec{Slug: "partner", Type: label}); err != nil {
				t.Fatal(err)
			}
			if a := w.explain(user, "partner", "customers.list"); !a.Allowed {
				t.Errorf("as a %s: %+v", label, a)
			}
			if a := w.explain(user, "partner", "company.update"); a.Allowed {
				t.Errorf("as a %s he got more: %+v", label, a)
			}
		}
	})
}
