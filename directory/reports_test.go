package directory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

func TestCentralReportsCountWhatTheCallerReaches(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main, berlin, paris := w.open("main", "emnify", "pro"), w.open("berlin", "emnify", "standard"), w.open("paris", "emnify", "pro")
		w.link(berlin, "link", main)
		w.link(paris, "link", main)
		sa := w.hire(main, "sa@example.com", "superadmin")
		both := w.hire(main, "both@example.com", "observer")
		w.hire(berlin, "both@example.com", "user")
		local := w.hire(paris, "local@example.com", "administrator")
		w.take(paris, "waits@example.com", directory.MembershipSpec{Roles: []string{"user"}, Status: "invited"})
		w.hire(main, "none@example.com")

		inMain := []string{"main  active 1", "main observer active 1", "main superadmin active 1"}
		inBerlin := []string{"berlin user active 1"}
		inParis := []string{"paris administrator active 1", "paris user invited 1"}
		token := authz.FromContext(actingAs(t, sa))
		token.Kind = authz.TokenPrincipal
		for what, c := range map[string]struct {
			ctx  context.Context //nolint:containedctx // who acts is what the table is about
			want []string
		}{
			"an operator":            {operator(t), slices.Concat(inBerlin, inMain, inParis)},
			"the SuperAdmin":         {actingAs(t, sa), slices.Concat(inBerlin, inMain, inParis)},
			"a member of two":        {actingAs(t, both), slices.Concat(inBerlin, inMain)},
			"an application token":   {authz.NewContext(t.Context(), token), inMain},
			"a service of the hub":   {service(t, main, "superadmin"), slices.Concat(inBerlin, inMain, inParis)},
			"one that only observes": {service(t, main, "observer"), inMain},
		} {
			counts, err := w.ReportMembers(c.ctx, main)
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			var got []string
			for _, count := range counts {
				got = append(got, fmt.Sprint(count.Slug, " ", count.Role, " ", count.Status, " ", count.Members))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s counts %q, want %q", what, got, c.want)
			}
		}
		own, err := w.ReportMembers(actingAs(t, local), paris)
		if err != nil || slices.ContainsFunc(own, func(c directory.MemberCount) bool { return c.Tenant != paris }) || len(own) != len(inParis) {
			t.Errorf("a member of a spoke counts %+v there: %v", own, err)
		}
		_, err = w.ReportMembers(actingAs(t, local), main)
		wantCode(t, "a member of a spoke", err, fault.Denied, "permission")
		_, err = w.ReportMembers(t.Context(), main)
		wantCode(t, "nobody", err, fault.Denied, "permission")

		for what, c := range map[string]struct {
			ctx  context.Context //nolint:containedctx // who acts is what the table is about
			want int
		}{"an operator": {operator(t), 2}, "the SuperAdmin": {actingAs(t, sa), 2}, "a member of two": {actingAs(t, both), 1}, "a member of a spoke": {actingAs(t, local), 1}, "nobody": {t.Context(), 0}} {
			if got, err := w.Children(c.ctx, main); err != nil || len(got) != c.want {
				t.Errorf("%s sees %d children, want %d: %v", what, len(got), c.want, err)
			}
		}
	})
}

// service is a context in which a service account of the tenant acts.
func service(t *testing.T, tenant id.Tenant, roles ...string) context.Context {
	t.Helper()
	return authz.NewContext(t.Context(), authz.Principal{Kind: authz.AppPrincipal, Channel: authz.ChannelAPI, Tenant: tenant, Application: "robot", Roles: roles})
}
