package directory_test

import (
	"errors"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

func (w *world) contact(tenant id.Tenant) id.Membership {
	w.t.Helper()
	t, err := w.store.Tenant(w.t.Context(), tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	return t.Contact
}

// add adds somebody by hand, as the operator.
func (w *world) add(tenant id.Tenant, address string) *directory.Membership {
	w.t.Helper()
	m, err := w.AddMember(operator(w.t), tenant, directory.MemberSpec{Email: address})
	if err != nil {
		w.t.Fatal(err)
	}
	return &m.Membership
}

func TestTXR17TheFirstMember(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		company := w.open("company", "timextender", "")
		first, second := w.add(company, "first@example.com"), w.add(company, "second@example.com")
		w.wantRoles("TX-R17 the first", first, "company_admin")
		w.wantRoles("the second", second)
		if w.contact(company) != first.ID {
			t.Error("TX-R17 the first is not the contact person")
		}
		all, err := w.store.Assignments(t.Context(), company, first.ID)
		if err != nil || all[0].Source != directory.AssignedFounder {
			t.Errorf("source %+v %v", all, err)
		}

		explicit := w.open("explicit", "timextender", "")
		m := w.take(explicit, "none@example.com", directory.MembershipSpec{})
		w.wantRoles("one whom a file describes without roles", m)
		if w.contact(explicit) != m.ID {
			t.Error("the first is not the contact person")
		}

		pushed := w.open("pushed", "timextender", "")
		member, err := w.CreateMembership(connected(t, pushed), pushed, person("pushed@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		w.wantRoles("one whom a directory pushes", member)
		if w.contact(pushed) != "" {
			t.Error("a directory made a contact person")
		}

		// A customer manager adds the first user of a customer.
		s := w.supply()
		if a, err := s.AddMember(actingAs(t, s.manager[s.partner]), s.customer, directory.MemberSpec{Email: "first@customer.example"}); !errors.Is(err, fault.Denied) {
			t.Errorf("with a credential of the partner: %+v %v", a, err)
		}
		reaching := *s.manager[s.partner]
		reaching.Tenant, reaching.ID = s.customer, ""
		added, err := s.AddMember(actingAs(t, &reaching), s.customer, directory.MemberSpec{Email: "first@customer.example"})
		if err != nil {
			t.Fatal(err)
		}
		w.wantRoles("TX-R17 a customer's first", &added.Membership, "company_admin")
		if w.contact(s.customer) != added.ID {
			t.Error("TX-R17 the customer's first is not the contact person")
		}
	})
}

func TestTXR18TheContactPerson(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		company := w.open("company", "timextender", "")
		first := w.take(company, "first@example.com", directory.MembershipSpec{Roles: []string{"company_admin"}})
		second := w.take(company, "second@example.com", directory.MembershipSpec{})
		wantCode(t, "one without the right", w.SetContact(actingAs(t, second), company, second.ID), fault.Denied, "permission")
		if err := w.SetContact(actingAs(t, first), company, second.ID); err != nil {
			t.Fatal(err)
		}
		if w.contact(company) != second.ID {
			t.Error("TX-R18 the marker did not move")
		}
		w.wantRoles("TX-R18 who was it", first, "company_admin")
		w.wantRoles("TX-R18 who is it", second)
		if err := w.SetContact(operator(t), w.open("other", "timextender", ""), second.ID); !errors.Is(err, fault.NotFound) {
			t.Errorf("a member of another tenant: %v", err)
		}
		plain := w.tenant("plain")
		if err := w.SetContact(operator(t), plain, w.hire(plain, "a@example.com", "owner").ID); !errors.Is(err, fault.Unsupported) {
			t.Errorf("a role system without: %v", err)
		}
		if err := w.DeleteMembership(operator(t), company, second.ID, 0); err != nil {
			t.Fatal(err)
		}
		if w.contact(company) != "" {
			t.Error("the marker stays with one who is gone")
		}
	})
}
