package directory_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

func TestPolicyAdmitsAddresses(t *testing.T) {
	t.Parallel()
	some := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	for _, c := range []struct {
		networks []netip.Prefix
		from     string
		want     bool
	}{
		{nil, "203.0.113.1", true},
		{some, "192.0.2.7", true},
		{some, "2001:db8::7", true},
		{some, "::ffff:192.0.2.7", true}, // as a listener of both families sees it
		{some, "192.0.3.7", false},
		{some, "::ffff:192.0.3.7", false},
		{some, "2001:db9::7", false},
	} {
		policy := directory.Policy{Addresses: c.networks}
		if got := policy.Admits(netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("%v admits %s: %v", c.networks, c.from, got)
		}
	}
	if policy := (directory.Policy{Addresses: some}); policy.Admits(netip.Addr{}) {
		t.Error("an address that nobody knows is admitted")
	}
}

func TestPolicyAndRegistrationAdmitDomains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		domains, denied []string
		email           string
		invites, admits bool
	}{
		{nil, nil, "a@corp.example", true, true},
		{[]string{"corp.example"}, nil, "a@corp.example", true, true},
		{[]string{"corp.example"}, nil, "a@CORP.example", true, true},
		{[]string{"corp.example"}, nil, "a@sub.corp.example", false, false},
		{[]string{"corp.example"}, nil, "a@free.example", false, false},
		{nil, []string{"free.example"}, "a@free.example", true, false},
		{nil, []string{"free.example"}, "a@corp.example", true, true},
		{[]string{"corp.example"}, []string{"corp.example"}, "a@corp.example", true, false},
	} {
		policy := directory.Policy{InviteDomains: c.domains}
		if got := policy.Invites(c.email); got != c.invites {
			t.Errorf("%v invites %s: %v", c.domains, c.email, got)
		}
		registration := directory.Registration{Domains: c.domains, DeniedDomains: c.denied}
		if got := registration.Admits(c.email); got != c.admits {
			t.Errorf("%v without %v admits %s: %v", c.domains, c.denied, c.email, got)
		}
	}
}

// EM-R35: who comes in, by how they have signed in.
func TestAdmits(t *testing.T) {
	const sso = "support: {permission: null}|support: {permission: null}\nsignin: {sso: {entitlement: archive, applies_to: "
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenants := w.desks(map[string]string{"cleo@one.example": "clerk", "gus@two.example": "clerk", "lea@two.example": "clerk"}, "one", "two")
		one, two := tenants["one"], tenants["two"]
		w.member(one, "gus@two.example", "clerk")
		if _, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: "one", Domains: []string{"managed.example"}, Policy: &directory.Policy{SSO: directory.SSORequired}}); err != nil {
			t.Fatal(err)
		}
		managed := w.push(one, "max@managed.example")
		if err := w.SetRoles(ctx, one, managed.ID, []string{"clerk"}); err != nil {
			t.Fatal(err)
		}
		w.member(two, "max@managed.example", "clerk")

		own, other := directory.Via{Tenant: one, Provider: "p"}, directory.Via{Tenant: two, Provider: "q"}
		type visitor struct {
			email   string
			byUs    bool      // it is their default tenant
			home    id.Tenant // empty: the tenant itself
			lenient bool      // the tenant requires nothing
		}
		cleo, boss, gus := visitor{email: "cleo@one.example"}, visitor{email: "boss@one.example"}, visitor{email: "gus@two.example"}
		mac := visitor{email: "max@managed.example"}
		byDefault, reaching, free := gus, gus, cleo
		byDefault.byUs, reaching.home, free.lenient = true, two, true
		admits := func(role string, cases map[string]directory.SignInBy, of map[string]struct {
			visitor
			via    directory.Via
			strong bool
		},
		) {
			t.Helper()
			for name, want := range cases {
				c := of[name]
				u, err := w.store.UserByEmail(t.Context(), c.email)
				if err != nil {
					t.Fatal(err)
				}
				st, err := w.Standing(t.Context(), one, u.ID)
				if err != nil {
					t.Fatal(err)
				}
				if st.Default = c.byUs; c.home != "" {
					st.Home = c.home
				}
				if c.lenient {
					st.Policy.SSO = directory.SSOOptional
				}
				if got, err := w.Admits(t.Context(), st, c.via, c.strong); err != nil || got != want {
					t.Errorf("%s, %s: got %v, %v, want %v", role, name, got, err, want)
				}
			}
		}
		of := map[string]struct {
			visitor
			via    directory.Via
			strong bool
		}{
			"a password":                                  {cleo, directory.Via{}, false},
			"two factors":                                 {cleo, directory.Via{}, true},
			"the tenant's provider":                       {cleo, own, false},
			"another's provider":                          {cleo, other, true},
			"a password where none is required":           {free, directory.Via{}, false},
			"another's provider where none is required":   {free, other, false},
			"the founder's password":                      {boss, directory.Via{}, false},
			"the founder's two factors":                   {boss, directory.Via{}, true},
			"a guest's password":                          {gus, directory.Via{}, false},
			"a guest's password, by default here":         {byDefault, directory.Via{}, false},
			"a managed guest's password":                  {mac, directory.Via{}, false},
			"a password where the roles reach":            {reaching, directory.Via{}, false},
			"the home's provider where the roles reach":   {reaching, other, false},
			"the tenant's provider where the roles reach": {reaching, own, false},
		}
		want := map[string]directory.SignInBy{
			"a password":                                  directory.ByProvider,
			"two factors":                                 directory.ByProvider,
			"the tenant's provider":                       directory.Admitted,
			"another's provider":                          directory.ByThemself,
			"a password where none is required":           directory.Admitted,
			"another's provider where none is required":   directory.ByThemself,
			"the founder's password":                      directory.ByProvider,
			"the founder's two factors":                   directory.Admitted,
			"a guest's password":                          directory.Admitted,
			"a guest's password, by default here":         directory.ByProvider,
			"a managed guest's password":                  directory.ByProvider,
			"a password where the roles reach":            directory.Admitted,
			"the home's provider where the roles reach":   directory.Admitted,
			"the tenant's provider where the roles reach": directory.ByThemself,
		}
		admits("a role system without a word", want, of)

		if _, err := w.Upgrade(ctx, edited(t, "version: 2|"+sso+"default_tenant}}"), nil); err != nil {
			t.Fatal(err)
		}
		asked := []string{"a password", "two factors", "the founder's password", "a guest's password, by default here", "a managed guest's password"}
		unentitled := map[string]directory.SignInBy{}
		for name, by := range want {
			if unentitled[name] = by; slices.Contains(asked, name) {
				unentitled[name] = directory.Admitted
			}
		}
		admits("not entitled", unentitled, of)
		if _, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: "one", Tier: "gold"}); err != nil {
			t.Fatal(err)
		}
		admits("entitled", want, of)
		if _, err := w.Upgrade(ctx, edited(t, "version: 3|"+sso+"any}}"), nil); err != nil {
			t.Fatal(err)
		}
		want["a guest's password"] = directory.ByProvider
		admits("of anybody", want, of)
	})
}

// Who has no use for a password is not given another: every tenant of theirs has them
// sign in by a provider.
func TestBoundElsewhere(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		tenants := w.desks(map[string]string{"cleo@one.example": "clerk", "gus@two.example": "clerk", "lea@one.example": "clerk", "mia@two.example": "clerk"}, "one", "two", "open")
		w.member(tenants["one"], "gus@two.example", "clerk") // whose default is elsewhere
		w.member(tenants["open"], "lea@one.example", "clerk")
		if _, err := w.SaveUser(ctx, directory.UserSpec{Email: "ops@one.example", Operator: new(true)}); err != nil {
			t.Fatal(err)
		}
		w.member(tenants["one"], "ops@one.example", "clerk")
		for _, slug := range []string{"one", "two"} {
			if _, err := w.SaveTenant(ctx, directory.TenantSpec{Slug: slug, Policy: &directory.Policy{SSO: directory.SSORequired}}); err != nil {
				t.Fatal(err)
			}
		}
		shipped, err := authz.Shipped()
		if err != nil {
			t.Fatal(err)
		}
		rights := directory.NewRights(w.store, directory.NewBlueprints(w.store, shipped, time.Now))
		for email, want := range map[string]string{
			"cleo@one.example": "one", "mia@two.example": "two",
			"boss@one.example":  "", // by the founder's role and two factors
			"gus@two.example":   "", // a guest of one
			"lea@one.example":   "", // for the other tenant
			"ops@one.example":   "", // for the instance
			"boss@open.example": "",
		} {
			u, err := w.store.UserByEmail(t.Context(), email)
			if err != nil {
				t.Fatal(err)
			}
			bound, err := rights.BoundElsewhere(t.Context(), u.ID)
			got := ""
			for _, st := range bound {
				got += st.Slug
			}
			if err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", email, got, err, want)
			}
		}
	})
}
