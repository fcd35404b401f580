package authz_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// world is a random role system with tenants, one of which is asked about, and
// a principal with memberships.
type world struct {
	doc         *authz.Document
	tenants     []authz.TenantFacts
	memberships []membership
	at          int // index of the tenant asked about, set by each
	channel     authz.Channel
}

type membership struct {
	tenant int
	facts  authz.MembershipFacts
}

var (
	worldSelectors = []string{"self", "hub", "tree.children", "tree.descendants", "star.spokes"}
	worldKeys      = []string{"p.a", "p.b", "p.c", "q.a", "q.b", "q.c"}
	worldRoles     = []string{"r0", "r1", "r2", "r3"}
	worldEnts      = []string{"e0", "e1"}
)

func drawWorld(t *rapid.T) world {
	subset := func(of []string, label string) []string {
		return slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.SampledFrom(of), 0, 3).Draw(t, label))))
	}
	doc := &authz.Document{Blueprint: "random", Version: 1, Columns: worldRoles}
	doc.Tenants.Relations = authz.Entries[authz.Relation]{{Key: "tree", Value: authz.Relation{Shape: authz.Tree}}, {Key: "star", Value: authz.Relation{Shape: authz.Star}}}
	doc.Tenants.Statuses = authz.Entries[authz.TenantStatus]{{Key: "open", Value: authz.TenantStatus{SignIn: true}}, {Key: "shut"}}
	doc.Membership.Statuses = authz.Entries[authz.StatusDecl]{{Key: "on", Value: authz.StatusDecl{SignIn: true, To: []string{"off"}}}, {Key: "off"}}
	doc.Cells = map[string]string{"Y": "reach", "-": "none", "M": "hub", "T": "tree.children"}
	for _, e := range worldEnts {
		gates := rapid.SampledFrom([][]string{nil, {"p.*"}, {"q.a"}, {"p.b", "q.*"}}).Draw(t, "gates "+e)
		doc.Entitlements = append(doc.Entitlements, authz.Entry[authz.Entitlement]{Key: e, Value: authz.Entitlement{Gates: gates, Delegable: true}})
	}
	for i, key := range worldRoles {
		r := authz.RoleDecl{Label: key, Founder: i == 0, Hidden: i > 0}
		r.Reach = subset(worldSelectors, "reach "+key)
		r.Channel = subset([]string{"api", "portal"}, "channel "+key)
		if i > 0 {
			r.Available = rapid.SampledFrom([]string{"", "", "e0", "e1"}).Draw(t, "available "+key)
			switch rapid.IntRange(0, 5).Draw(t, "life "+key) {
			case 0:
				r.Lifecycle = authz.Retired
			case 1:
				r.Lifecycle = authz.Locked
			case 2:
				r.Implicit = true
			}
			if rapid.Bool().Draw(t, "acts "+key) {
				r.ActsAs = []authz.ActsAs{{Role: worldRoles[rapid.IntRange(0, i-1).Draw(t, "as "+key)], At: rapid.SampledFrom(worldSelectors[2:]).Draw(t, "at "+key)}}
			}
		}
		doc.Roles = append(doc.Roles, authz.Entry[authz.RoleDecl]{Key: key, Value: r})
	}
	area := authz.Area{Area: "All"}
	for i, key := range worldKeys {
		cells := ""
		for range worldRoles {
			cells += rapid.SampledFrom([]string{"Y", "Y", "-", "M", "T"}).Draw(t, "cell "+key)
		}
		area.Rows = append(area.Rows, authz.Row{Label: key, Keys: []string{key}, Cells: cells})
		if i > 0 && rapid.IntRange(0, 2).Draw(t, "needy "+key) == 0 {
			doc.Requires = append(doc.Requires, authz.Entry[[]string]{Key: key, Value: []string{worldKeys[rapid.IntRange(0, i-1).Draw(t, "needs "+key)]}})
		}
	}
	doc.Permissions = []authz.Area{area}
	slices.Reverse(doc.Requires) // so that one pass is right only over closed requirements
	doc.AdminOps = authz.Entries[string]{{Key: "grant", Value: "p.a"}}

	w := world{doc: doc}
	names := []id.Tenant{"t0", "t1", "t2", "t3"}
	for i, name := range names {
		f := authz.TenantFacts{ID: name, Status: rapid.SampledFrom([]string{"open", "open", "shut"}).Draw(t, "status"), Ancestors: map[string][]id.Tenant{}}
		f.Entitlements = subset(worldEnts, "entitlements")
		if i > 0 && rapid.Bool().Draw(t, "child") {
			parent := rapid.IntRange(0, i-1).Draw(t, "parent")
			f.Ancestors["tree"] = append([]id.Tenant{names[parent]}, w.tenants[parent].Ancestors["tree"]...)
		}
		if i > 0 && rapid.Bool().Draw(t, "spoke") {
			f.Ancestors["star"] = []id.Tenant{"t0"}
		}
		w.tenants = append(w.tenants, f)
	}
	for range rapid.IntRange(1, 3).Draw(t, "memberships") {
		w.memberships = append(w.memberships, membership{
			tenant: rapid.IntRange(0, 3).Draw(t, "tenant"),
			facts:  authz.MembershipFacts{Status: rapid.SampledFrom([]string{"on", "on", "off"}).Draw(t, "status"), Roles: subset(worldRoles, "roles")},
		})
	}
	return w
}

// each calls check for every tenant and channel of the world.
func (w world) each(t *rapid.T, check func(w world, b *authz.Blueprint, holders []authz.Holder, at *authz.TenantView)) {
	b, err := authz.Compile(w.doc)
	if err != nil {
		t.Fatal(err)
	}
	var views []*authz.TenantView
	for _, f := range w.tenants {
		views = append(views, b.Tenant(f))
	}
	var holders []authz.Holder
	for _, m := range w.memberships {
		holders = append(holders, b.Holder(views[m.tenant], m.facts))
	}
	for i, at := range views {
		w.at = i
		for _, w.channel = range []authz.Channel{authz.ChannelPortal, authz.ChannelAPI} {
			check(w, b, holders, at)
		}
	}
}

// The naive model reads the document as model and format describe it, one
// permission at a time, with strings and recursion.

func (w world) selects(selector string, home, at int) bool {
	from, to := w.tenants[home], w.tenants[at]
	parent := func(relation string) bool {
		up := to.Ancestors[relation]
		return len(up) > 0 && up[0] == from.ID
	}
	switch selector {
	case "self":
		return home == at
	case "hub":
		return home == at && len(to.Ancestors["star"]) == 0
	case "tree.children":
		return parent("tree")
	case "star.spokes":
		return parent("star")
	default:
		return slices.Contains(to.Ancestors["tree"], from.ID)
	}
}

// cell returns the selectors by which a role has a permission.
func (w world) cell(role, key string) []string {
	row := slices.Index(worldKeys, key)
	column := slices.Index(worldRoles, role)
	decl, _ := w.doc.Roles.Lookup(role)
	switch w.doc.Permissions[0].Rows[row].Cells[column] {
	case 'Y':
		if len(decl.Reach) == 0 {
			return []string{"self"}
		}
		return decl.Reach
	case 'M':
		return []string{"hub"}
	case 'T':
		return []string{"tree.children"}
	default:
		return nil
	}
}

// inEffect reports whether a role counts over the channel for a tenant with
// the entitlements.
func (w world) inEffect(role string, entitlements []string) bool {
	decl, _ := w.doc.Roles.Lookup(role)
	onChannel := len(decl.Channel) == 0 || slices.Contains(decl.Channel, w.channel.String())
	return decl.Lifecycle != authz.Retired && onChannel && (decl.Available == "" || slices.Contains(entitlements, decl.Available))
}

func (w world) roleGives(role, key string, home int) bool {
	if !w.inEffect(role, w.tenants[home].Entitlements) {
		return false
	}
	for _, selector := range w.cell(role, key) {
		if w.selects(selector, home, w.at) {
			return true
		}
	}
	decl, _ := w.doc.Roles.Lookup(role)
	for _, as := range decl.ActsAs {
		if !w.selects(as.At, home, w.at) || !w.inEffect(as.Role, w.tenants[w.at].Entitlements) {
			continue
		}
		// Exactly the other role: what a holder at home, in that tenant, would have.
		for _, selector := range w.cell(as.Role, key) {
			if (selector == "self" || selector == "hub") && w.selects(selector, w.at, w.at) {
				return true
			}
		}
	}
	return false
}

func (w world) allowed(key string) bool {
	given := false
	for _, m := range w.memberships {
		if m.facts.Status != "on" || w.tenants[m.tenant].Status != "open" {
			continue
		}
		for _, role := range w.doc.Roles {
			held := role.Value.Implicit || slices.Contains(m.facts.Roles, role.Key)
			given = given || held && w.roleGives(role.Key, key, m.tenant)
		}
	}
	for _, e := range w.doc.Entitlements {
		for _, pattern := range e.Value.Gates {
			gated := pattern == key || pattern == key[:2]+"*"
			given = given && (!gated || slices.Contains(w.tenants[w.at].Entitlements, e.Key))
		}
	}
	needs, _ := w.doc.Requires.Lookup(key)
	for _, need := range needs {
		given = given && w.allowed(need)
	}
	return given
}

func TestEffectiveAgreesWithTheNaiveModel(t *testing.T) {
	given := 0
	agree := func(t *rapid.T) {
		drawWorld(t).each(t, func(w world, b *authz.Blueprint, holders []authz.Holder, at *authz.TenantView) {
			for _, key := range worldKeys {
				want := w.allowed(key)
				if want {
					given++
				}
				if got := b.Can(holders, at, w.channel, key); got != want {
					t.Fatalf("%s at %s over %s: got %t, want %t", key, at.ID(), w.channel, got, want)
				}
				e := b.Explain(holders, at, w.channel, key)
				if e.Allowed != want {
					t.Fatalf("Explain %s at %s over %s: got %t, want %t", key, at.ID(), w.channel, e.Allowed, want)
				}
				if want && len(e.GrantedBy) == 0 || want == (e.RemovedBy != nil) {
					t.Fatalf("Explain %s gives no reason: %+v", key, e)
				}
			}
		})
	}
	// One run of 100 worlds rarely holds a grandchild, a gate and an acts_as at once.
	for range 10 {
		rapid.Check(t, agree)
	}
	if given == 0 {
		t.Error("no world gave any permission: the test shows nothing")
	}
}

func TestRightsOnlyAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.each(t, func(w world, b *authz.Blueprint, holders []authz.Holder, at *authz.TenantView) {
			all := b.Effective(holders, at, w.channel)
			for i := range holders {
				if one := b.Effective(holders[i:i+1], at, w.channel); !all.Contains(one) {
					t.Fatalf("a second membership took away %v", b.Keys(one.Without(all)))
				}
			}
			turned := slices.Clone(holders)
			slices.Reverse(turned)
			if b.Effective(turned, at, w.channel) != all {
				t.Fatal("the order of memberships matters")
			}
		})
	})
}

// busy is a holder in a hub and its view of a spoke, with gates to check.
func busy(tb testing.TB) (*authz.Blueprint, []authz.Holder, *authz.TenantView) {
	b := blueprint(tb, "emnify")
	main := b.Tenant(authz.TenantFacts{ID: "main", Status: "enabled", Entitlements: []string{"multi_workspace"}})
	berlin := b.Tenant(authz.TenantFacts{ID: "berlin", Status: "enabled", Ancestors: map[string][]id.Tenant{"link": {"main"}, "channel": {"reseller"}}})
	return b, []authz.Holder{
		b.Holder(main, authz.MembershipFacts{Status: "active", Roles: []string{"superadmin"}}),
		b.Holder(berlin, authz.MembershipFacts{Status: "active", Roles: []string{"user"}}),
	}, berlin
}

func TestCanDoesNotAllocate(t *testing.T) {
	b, holders, at := busy(t)
	allowed := false
	if n := testing.AllocsPerRun(100, func() {
		allowed = b.Can(holders, at, authz.ChannelPortal, "users.update") && b.MaySignIn(holders[0], authz.ChannelPortal)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if !allowed {
		t.Error("the superadmin of the hub may not update users in a spoke")
	}
}

func BenchmarkCan(b *testing.B) {
	bp, holders, at := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		bp.Can(holders, at, authz.ChannelPortal, "users.update")
	}
}

func BenchmarkLoad(b *testing.B) {
	source := []byte(smallest)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := authz.Load(source); err != nil {
			b.Fatal(err)
		}
	}
}
