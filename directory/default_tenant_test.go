package directory_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// TestOneDefaultAmongManyWriters: tenants that suspend and reactivate the same
// person at the same time, while that person changes the default, neither fail
// nor leave more than one default, or one that can't be used.
func TestOneDefaultAmongManyWriters(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const tenants, rounds = 4, 8
		user, err := w.SaveUser(operator(t), directory.UserSpec{Email: "ann@mail.example"})
		if err != nil {
			t.Fatal(err)
		}
		var members []*directory.Membership
		for i := range tenants {
			m, err := w.SaveMembership(operator(t), w.tenant(fmt.Sprintf("t%d", i)), user, directory.MembershipSpec{Roles: []string{"member"}})
			if err != nil {
				t.Fatal(err)
			}
			members = append(members, m)
		}
		ctx := authz.NewContext(t.Context(), authz.Principal{Kind: authz.UserPrincipal, User: user.ID})
		var all sync.WaitGroup
		for i, m := range members {
			all.Go(func() {
				for range rounds {
					for _, active := range []bool{false, true} {
						if _, err := w.setActive(m, active); err != nil {
							t.Errorf("active=%v: %v", active, err)
						}
					}
				}
			})
			all.Go(func() {
				for range rounds {
					if _, err := w.SetDefaultTenant(ctx, fmt.Sprintf("t%d", i)); err != nil && fault.As(err).Code != "tenant" {
						t.Errorf("choose t%d: %v", i, err)
					}
				}
			})
		}
		all.Wait()
		if got := w.defaultOf(user.ID); got == "" {
			t.Error("nothing is the default, though all memberships are active")
		}
	})
}

// defaultOf returns the one tenant that the person's memberships show as the
// default, empty if there is none.
func (w *world) defaultOf(user id.User) id.Tenant {
	w.t.Helper()
	standings, err := w.Standings(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	marked := slices.DeleteFunc(standings, func(st directory.Standing) bool { return !st.Default })
	switch len(marked) {
	case 0:
		return ""
	case 1:
		return marked[0].Tenant
	}
	w.t.Fatalf("%d tenants are the default", len(marked))
	return ""
}

// TestDefaultOfPushedPeople: whom a directory pushes has no mark as long as
// there is one tenant; the first one is the default once there are more.
func TestDefaultOfPushedPeople(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		home, second := w.tenant("home", "corp.example"), w.tenant("second")
		first := w.push(home, "ann@corp.example")
		user := w.user(first)
		if _, err := w.SaveMembership(operator(t), second, user, directory.MembershipSpec{Roles: []string{"member"}}); err != nil {
			t.Fatal(err)
		}
		if got := w.defaultOf(user.ID); got != home {
			t.Fatalf("got %q, want the tenant of the directory %q", got, home)
		}
		// Another domain that the operator verifies makes waiting members active.
		third := w.tenant("third")
		bob := w.push(second, "bob@mail.example")
		w.push(third, "bob@mail.example")
		if _, err := w.SaveTenant(operator(t), directory.TenantSpec{Slug: "third", Domains: []string{"mail.example"}}); err != nil {
			t.Fatal(err)
		}
		if got := w.defaultOf(bob.User); got != second {
			t.Errorf("got %q, want the tenant of the first membership %q", got, second)
		}
	})
}
