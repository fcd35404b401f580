package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// What a directory says of people who hold nothing goes on beside other such
// changes, but not beside one that makes holders of them: while the role of an
// owner moves from one group to another, its new holders are switched off.
func TestOwnersByGroupAreNotSwitchedOffUnseen(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("default", "acme")
		one, other := p.member("one@acme.example"), p.member("other@acme.example")
		for name, m := range map[string]*directory.Membership{"One": one, "Other": other} {
			_, err := w.CreateGroup(operator(t), p.tenant, map[string]any{"displayName": name}, []directory.MemberChange{{Op: directory.AddMembers, IDs: []string{string(m.ID)}}})
			done(t, err)
		}
		done(t, w.MapGroupRole(operator(t), p.tenant, "One", "owner"))
		for round := range 30 {
			to, holder := "Other", other
			if round%2 == 1 {
				to, holder = "One", one
			}
			var group sync.WaitGroup
			var moved, suspended error
			group.Go(func() {
				moved = w.ReplaceGroupRoles(operator(t), p.tenant, []directory.GroupRoleSpec{{Group: to, Role: "owner"}}, "")
			})
			group.Go(func() { _, suspended = w.Suspend(connected(t, p.tenant), p.tenant, holder.ID) })
			group.Wait()
			for _, err := range []error{moved, suspended} {
				if err != nil && !errors.Is(err, fault.Denied) {
					t.Fatalf("round %d: %v", round, err)
				}
			}
			if !slices.ContainsFunc([]*directory.Membership{one, other}, func(m *directory.Membership) bool { return p.owns(m) }) {
				t.Fatalf("round %d: nobody is left who can act as an owner (%v, %v)", round, moved, suspended)
			}
			for _, m := range []*directory.Membership{one, other} {
				_, err := w.Reactivate(connected(t, p.tenant), p.tenant, m.ID)
				done(t, err)
			}
			done(t, w.ReplaceGroupRoles(operator(t), p.tenant, []directory.GroupRoleSpec{{Group: to, Role: "owner"}}, ""))
		}
	})
}

func (p *portal) owns(m *directory.Membership) bool {
	p.t.Helper()
	st, err := p.Standing(p.t.Context(), p.tenant, m.User)
	if err != nil {
		p.t.Fatal(err)
	}
	return st.SignIn && slices.Contains(st.Roles, "owner")
}

// A directory's guard counts people who are switched off at the same time one
// after the other.
func TestGuardCountsThoseBeside(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.portal("default", "acme")
		p.member("owner@acme.example", "owner")
		const people, limit = 12, 5
		profile, name := directory.ProfileRFC, "hr"
		c, err := w.CreateConnection(operator(t), p.tenant, directory.ConnectionSettings{
			Name: &name, Profile: &profile, Guard: &directory.GuardLimits{People: limit, Window: time.Hour},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx := authz.NewContext(t.Context(), authz.Principal{Kind: authz.ConnectionPrincipal, Channel: authz.ChannelAPI, Tenant: p.tenant, Connection: c.ID})
		members := make([]*directory.Membership, people)
		for i := range members {
			members[i] = p.member(fmt.Sprintf("p%d@acme.example", i))
		}
		var group sync.WaitGroup
		for _, m := range members {
			group.Go(func() {
				if _, err := w.Suspend(ctx, p.tenant, m.ID); err != nil && !errors.Is(err, fault.Throttled) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		off := 0
		for _, m := range members {
			now, err := w.Membership(t.Context(), p.tenant, m.ID)
			if err != nil {
				t.Fatal(err)
			}
			if now.Status == directory.StatusSuspended {
				off++
			}
		}
		if off != limit {
			t.Errorf("%d people are switched off, want %d", off, limit)
		}
	})
}
