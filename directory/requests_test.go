package directory_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// ask makes a request, which must be possible.
func (w *world) ask(ctx context.Context, tenant id.Tenant, kind string) *directory.Request {
	w.t.Helper()
	r, err := w.CreateRequest(ctx, tenant, kind, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestEMR10WhoAsksForAWorkspace(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main, spoke := w.open("main", "emnify", "pro"), w.open("spoke", "emnify", "pro")
		w.link(spoke, "link", main)
		sa := w.hire(main, "sa@example.com", "superadmin")
		admin := w.hire(main, "admin@example.com", "administrator")
		observer := w.hire(main, "obs@example.com", "observer")
		local := w.hire(spoke, "local@example.com", "administrator")
		trial := w.open("trial", "emnify", "trial")
		onTrial := w.hire(trial, "trial@example.com", "administrator")
		create := func(m *directory.Membership, at id.Tenant, kind string) error {
			r, err := w.CreateRequest(actingAs(t, m), at, kind, map[string]string{"contact_email": "a@example.com"})
			if err == nil {
				_, err = w.WithdrawRequest(actingAs(t, m), at, r.ID)
			}
			return err
		}
		for _, kind := range []string{"workspace_create", "workspace_link"} {
			for what, m := range map[string]*directory.Membership{"the SuperAdmin": sa, "an administrator of the hub": admin} {
				if err := create(m, main, kind); err != nil {
					t.Errorf("EM-R10 %s by %s: %v", kind, what, err)
				}
			}
			wantCode(t, "EM-R10 an administrator of a linked Workspace", create(local, spoke, kind), fault.Denied, "permission")
			wantCode(t, "EM-R10 the same in the hub", create(local, main, kind), fault.Denied, "permission")
			wantCode(t, "an observer", create(observer, main, kind), fault.Denied, "permission")
			wantCode(t, "EM-R11 without the package", create(onTrial, trial, kind), fault.Denied, "permission")
		}
		if _, err := w.CreateRequest(t.Context(), main, "workspace_create", nil); !errors.Is(err, fault.Denied) {
			t.Errorf("nobody: %v", err)
		}
		for field, fields := range map[string]map[string]string{
			"fields.owner":   {"owner": "me"},
			"fields.details": {"details": strings.Repeat("x", 4001)},
		} {
			if _, err := w.CreateRequest(actingAs(t, sa), main, "workspace_create", fields); fault.As(err).Kind != fault.Invalid || fault.As(err).Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
		if _, err := w.CreateRequest(actingAs(t, sa), main, "workspace_paint", nil); fault.As(err).Field != "kind" {
			t.Errorf("an unknown kind: %v", err)
		}
		// Everybody may ask for another SuperAdmin, but for strangers.
		if err := create(observer, main, "superadmin_reassign"); fault.As(err).Kind != fault.Invalid {
			t.Errorf("fields that the kind lacks: %v", err)
		}
		w.ask(actingAs(t, observer), main, "superadmin_reassign")
		_, err := w.CreateRequest(actingAs(t, onTrial), main, "superadmin_reassign", nil)
		wantCode(t, "a stranger", err, fault.Denied, "permission")
	})
}

func TestEMR36OnePendingRequest(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main := w.open("main", "emnify", "pro")
		sa := w.hire(main, "sa@example.com", "superadmin")
		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() { _, errs[i] = w.CreateRequest(actingAs(t, sa), main, "workspace_create", nil) })
		}
		wait.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("of two at once: %v and %v", errs[0], errs[1])
		}
		wantCode(t, "the loser", errors.Join(errs...), fault.Denied, "pending")
		all, err := w.Requests(actingAs(t, sa), main, "", 10)
		if err != nil || len(all) != 1 {
			t.Fatalf("requests %+v %v", all, err)
		}
		if _, err := w.DenyRequest(operator(t), main, all[0].ID, "no space"); err != nil {
			t.Fatal(err)
		}
		w.ask(actingAs(t, sa), main, "workspace_create")
	})
}

func TestRequestsAreAnsweredOnceByTheirApprover(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main := w.open("main", "emnify", "pro")
		sa := w.hire(main, "sa@example.com", "superadmin")
		admin := w.hire(main, "admin@example.com", "administrator")
		r := w.ask(actingAs(t, admin), main, "workspace_create")

		for what, ctx := range map[string]context.Context{"the SuperAdmin": actingAs(t, sa), "who asked": actingAs(t, admin), "nobody": t.Context()} {
			_, err := w.ApproveRequest(ctx, main, r.ID, directory.Outcome{Slug: "stolen"})
			wantCode(t, what+" approves", err, fault.Denied, "approver")
			_, err = w.DenyRequest(ctx, main, r.ID, "")
			wantCode(t, what+" denies", err, fault.Denied, "approver")
		}
		_, err := w.WithdrawRequest(actingAs(t, sa), main, r.ID)
		wantCode(t, "somebody else withdraws", err, fault.Denied, "requester")
		if _, err := w.ApproveRequest(operator(t), w.open("other", "emnify", "pro"), r.ID, directory.Outcome{Slug: "new"}); !errors.Is(err, fault.NotFound) {
			t.Errorf("by way of another tenant: %v", err)
		}

		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i, slug := range []string{"first", "second"} {
			wait.Go(func() { _, errs[i] = w.ApproveRequest(operator(t), main, r.ID, directory.Outcome{Slug: slug}) })
		}
		wait.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("of two at once: %v and %v", errs[0], errs[1])
		}
		wantCode(t, "the loser", errors.Join(errs...), fault.Conflict, "decided")
		children, err := w.Children(operator(t), main)
		if err != nil || len(children) != 1 || children[0].Relation != "link" || children[0].Tier != "pro" {
			t.Errorf("children %+v %v", children, err)
		}
		if w.held(admin)[0] != "administrator" || w.held(sa)[0] != "superadmin" {
			t.Error("the approval changed who is what in the hub")
		}
		_, err = w.WithdrawRequest(actingAs(t, admin), main, r.ID)
		wantCode(t, "too late", err, fault.Conflict, "decided")
	})
}

func TestEMR10ApprovalLinksAWorkspace(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main, other := w.open("main", "emnify", "pro"), w.open("other", "emnify", "standard")
		admin := w.hire(main, "admin@example.com", "administrator")
		r := w.ask(actingAs(t, admin), main, "workspace_link")
		if _, err := w.ApproveRequest(operator(t), main, r.ID, directory.Outcome{Tenant: "nowhere"}); fault.As(err).Field != "tenant" {
			t.Errorf("a tenant that is not there: %v", err)
		}
		if _, err := w.ApproveRequest(operator(t), main, r.ID, directory.Outcome{Tenant: "other"}); err != nil {
			t.Fatalf("after one that failed: %v", err)
		}
		w.wantRoles("EM-R39 who asked", admin, "superadmin")
		if a := w.explain(admin.User, "other", "users.update"); !a.Allowed {
			t.Error("the SuperAdmin does not reach the linked Workspace")
		}
		_ = other
	})
}

func TestEMR06ReassigningTheSuperAdmin(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main := w.open("main", "emnify", "pro")
		sa := w.hire(main, "sa@example.com", "superadmin")
		next := w.hire(main, "next@example.com", "observer")
		r := w.ask(actingAs(t, next), main, "superadmin_reassign")
		if _, err := w.ApproveRequest(operator(t), main, r.ID, directory.Outcome{}); fault.As(err).Field != "holder" {
			t.Errorf("without a name: %v", err)
		}
		if _, err := w.ApproveRequest(operator(t), main, r.ID, directory.Outcome{Holder: next.ID}); err != nil {
			t.Fatal(err)
		}
		w.wantRoles("the new one", next, "superadmin")
		w.wantRoles("the one before", sa, "administrator")
	})
}

func TestOneNCEChangeOfOwner(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.open("org", "1nce", "standard")
		owner := w.hire(org, "owner@example.com", "owner")
		waits := w.take(org, "off@example.com", directory.MembershipSpec{Roles: []string{"admin"}, Status: "invited"})
		admin := w.hire(org, "admin@example.com", "admin")
		r := w.ask(operator(t), org, "owner_change")
		_, err := w.ApproveRequest(operator(t), org, r.ID, directory.Outcome{Holder: waits.ID})
		wantCode(t, "1N-R14 to one who can't sign in", err, fault.Denied, "last_holder")
		if _, err := w.ApproveRequest(operator(t), org, r.ID, directory.Outcome{Holder: admin.ID}); err != nil {
			t.Fatal(err)
		}
		w.wantRoles("the new owner", admin, "owner")
		w.wantRoles("the one before", owner, "admin")
	})
}

func TestRequestsOfOthersAreNotShown(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		main := w.open("main", "emnify", "pro")
		admin := w.hire(main, "admin@example.com", "administrator")
		observer := w.hire(main, "obs@example.com", "observer")
		w.ask(actingAs(t, admin), main, "workspace_create")
		mine := w.ask(actingAs(t, observer), main, "superadmin_reassign")
		for what, c := range map[string]struct {
			ctx  context.Context //nolint:containedctx // who acts is what the table is about
			want int
		}{"an operator": {operator(t), 2}, "who may ask too": {actingAs(t, admin), 1}, "an observer": {actingAs(t, observer), 1}, "nobody": {authz.NewContext(t.Context(), authz.Principal{}), 0}} {
			got, err := w.Requests(c.ctx, main, "", 10)
			if err != nil || len(got) != c.want {
				t.Errorf("%s sees %d, want %d: %v", what, len(got), c.want, err)
			}
		}
		got, _ := w.Requests(actingAs(t, observer), main, "", 1)
		if len(got) != 1 || got[0].ID != mine.ID {
			t.Errorf("an observer sees %+v", got)
		}
	})
}
