package directory_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

const waits = `waiting:   {sign_in: false, to: [active, deleted]}|pending:   {sign_in: false, to: [active, deleted]}`

// desk2 returns the next version of desk, with a status pending and other edits.
func desk2(t *testing.T, edits ...string) []byte {
	t.Helper()
	return edited(t, strings.Join(append([]string{"version: 2", waits}, edits...), "|"))
}

// SI-R18: what a role system has no place for can't be what people register with.
func TestRegistrationFitsTheRoleSystem(t *testing.T) {
	const clerk = "clerk: {label: Clerk}|clerk: {label: Clerk, "
	corp := directory.Registration{Domains: []string{"corp.example"}, Role: "clerk"}
	approved, roleless, founder, stranger := corp, corp, corp, corp
	approved.Approval, roleless.Role, founder.Role, stranger.Role = true, "", "boss", "king"
	for name, c := range map[string]struct {
		edits string
		asked directory.Registration
		field string // that is refused; empty: none
	}{
		"an open role":                  {"", corp, ""},
		"approval":                      {"", approved, ""},
		"no status pending":             {"pending:   {|queued:   {", approved, "approval"},
		"pending people sign in":        {"pending:   {sign_in: false|pending:   {sign_in: true", approved, "approval"},
		"pending is the end":            {"pending:   {sign_in: false, to: [active, deleted]}|pending:   {sign_in: false, to: []}", approved, "approval"},
		"without a role, which it asks": {"", roleless, "role"},
		"without a role":                {"roles: {min: 1,|roles: {min: 0,", roleless, ""},
		"the founder's role":            {"", founder, "role"},
		"a role that there is not":      {"", stranger, "role"},
		"a protected role":              {clerk + "protected: true}", corp, "role"},
		"a hidden role":                 {clerk + "hidden: true}", corp, "role"},
		"an implicit role":              {clerk + "implicit: true}", corp, "role"},
		"a locked role":                 {clerk + "lifecycle: locked}", corp, "role"},
		"a retired role":                {clerk + "lifecycle: retired}", corp, "role"},
		"a role of services":            {clerk + "holders_kind: service}", corp, "role"},
		"a role of people":              {clerk + "holders_kind: human}", corp, ""},
		"a role on resources":           {clerk + "resource: folder}", corp, "role"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				tenants := w.desks(nil, "one")
				source := desk2(t)
				if c.edits != "" {
					source = desk2(t, c.edits)
				}
				if _, err := w.Upgrade(operator(t), source, nil); err != nil {
					t.Fatal(err)
				}
				err := w.SetPolicy(operator(t), tenants["one"], netip.Addr{}, directory.Policy{Registration: &c.asked})
				if got := fault.As(err); c.field == "" && err != nil || c.field != "" && (got.Kind != fault.Invalid || got.Field != "policy.registration."+c.field) {
					t.Errorf("got %v, want a refusal of %q", err, c.field)
				}
			})
		})
	}
}

// SI-R18: nobody registers past what the role system bears, be it that the policy was
// set before.
func TestRegisterWithinTheRoleSystem(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenants := w.desks(nil, "one", "two", "three")
		limited := []string{"per: tenant, n: 1}|per: tenant, n: 1}\n- {rule: max_holders, roles: [clerk], per: tenant, n: 2}"}
		if _, err := w.Upgrade(ctx, desk2(t, limited...), nil); err != nil {
			t.Fatal(err)
		}
		for _, tenant := range tenants {
			if err := w.SetPolicy(ctx, tenant, netip.Addr{}, directory.Policy{Registration: &directory.Registration{Domains: []string{"corp.example"}, Role: "clerk"}}); err != nil {
				t.Fatal(err)
			}
		}
		register := func(tenant id.Tenant, email string) error {
			_, err := w.Register(t.Context(), directory.Registrant{Tenant: tenant, Email: email, Name: directory.Name{Given: "Reg", Family: "Istrant"}})
			return err
		}
		closed := func(what string, err error) {
			t.Helper()
			if f := fault.As(err); f.Kind != fault.NotFound || f.Code != "registration_closed" {
				t.Errorf("%s: got %v", what, err)
			}
		}
		closed("another domain", register(tenants["one"], "a@elsewhere.example"))
		closed("a domain below", register(tenants["one"], "a@sub.corp.example"))
		for _, email := range []string{"a@corp.example", "b@CORP.example"} {
			if err := register(tenants["one"], email); err != nil {
				t.Fatalf("there is room: %v", err)
			}
		}
		closed("no room for a third", register(tenants["one"], "c@corp.example"))
		if _, err := w.store.UserByEmail(t.Context(), "c@corp.example"); fault.As(err).Kind != fault.NotFound {
			t.Errorf("who was refused has a login: %v", err)
		}

		var all sync.WaitGroup
		var mu sync.Mutex
		in := 0
		for i := range 6 {
			all.Go(func() {
				err := register(tenants["two"], fmt.Sprintf("at-once-%d@corp.example", i))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					in++
				} else {
					closed("of six at once", err)
				}
			})
		}
		all.Wait()
		if in != 2 {
			t.Errorf("%d of six at once have registered, want 2", in)
		}

		locked := strings.Replace(string(desk2(t, append(limited, "clerk: {label: Clerk}|clerk: {label: Clerk, lifecycle: locked}")...)), "version: 2", "version: 3", 1)
		if _, err := w.Upgrade(ctx, []byte(locked), nil); err != nil {
			t.Fatal(err)
		}
		closed("the role takes nobody by now", register(tenants["three"], "d@corp.example"))
	})
}

// Who opens a tenant to registrations gives a role away, to whom they may not be able
// to give it otherwise; and a support session opens nothing.
func TestWhoSetsARegistration(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		tenants := w.desks(map[string]string{"cleo@one.example": "clerk"}, "one")
		policies := "'Y---'}|'Y---'}\n  - {row: Policy,  keys: [policy.manage], cells: 'YY--'}"
		if _, err := w.Upgrade(operator(t), desk2(t, policies, "support: {|mfa: {methods: [totp], set_by: policy.manage}\nsupport: {"), nil); err != nil {
			t.Fatal(err)
		}
		boss, clerk := as(t, w.member(tenants["one"], "boss@one.example", "boss")), as(t, w.member(tenants["one"], "cleo@one.example", "clerk"))
		sets := func(ctx context.Context, r *directory.Registration) error {
			return w.SetPolicy(ctx, tenants["one"], netip.Addr{}, directory.Policy{Registration: r})
		}
		open := &directory.Registration{Domains: []string{"corp.example"}, Role: "clerk"}
		done(t, sets(clerk, nil))
		refused(t, sets(clerk, open), "permission")
		done(t, sets(boss, open))
		done(t, sets(clerk, open)) // which changes nothing
		refused(t, sets(clerk, &directory.Registration{Domains: []string{"corp.example"}, Role: "guest"}), "permission")

		helped := authz.FromContext(boss)
		helped.Support = &authz.Staff{User: helped.User}
		refused(t, sets(authz.NewContext(t.Context(), helped), nil), "nested")
		done(t, sets(clerk, nil))
	})
}
