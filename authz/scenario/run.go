package scenario

import (
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Result is the outcome of a case.
type Result struct {
	Suite   string `json:"suite"`
	ID      string `json:"id"`
	Line    int    `json:"line"`
	Then    bool   `json:"then"`           // expected
	Code    string `json:"code,omitempty"` // expected; empty: any
	Got     bool   `json:"got"`
	GotCode string `json:"got_code,omitempty"`
	// Explanation is set for a failed case: an authz.Explanation, an
	// authz.Decision, or nil for questions that have neither.
	Explanation any `json:"explanation,omitempty"`
}

// Passed reports whether decision and reason are as expected.
func (r Result) Passed() bool {
	return r.Got == r.Then && (r.Code == "" || r.Code == r.GotCode)
}

// Run asks all cases of a suite of its blueprint. The error is a fault.Invalid
// for a suite that names what does not exist; wrong decisions are results.
func Run(suite Suite, catalog *authz.Catalog) ([]Result, error) {
	w, err := build(suite, catalog)
	if err != nil {
		return nil, err
	}
	results := make([]Result, 0, len(suite.Cases))
	for _, c := range suite.Cases {
		allowed, code, err := w.ask(c)
		if err != nil {
			return nil, fault.New(fault.Invalid, "line %d: %s: %s", c.Line, c.ID, fault.As(err).Detail)
		}
		r := Result{Suite: suite.Name, ID: c.ID, Line: c.Line, Then: c.Then, Code: c.Code, Got: allowed, GotCode: code}
		if !r.Passed() {
			r.Explanation = w.explain(c)
		}
		results = append(results, r)
	}
	return results, nil
}

// world is the state of a suite.
type world struct {
	suite     Suite
	blueprint *authz.Blueprint
	tenants   map[string]*authz.TenantView
}

func build(suite Suite, catalog *authz.Catalog) (*world, error) {
	b, err := catalog.Blueprint(suite.Blueprint)
	if err != nil {
		return nil, err
	}
	if len(suite.Patch.Requires) > 0 {
		doc := *b.Document()
		doc.Requires = slices.Clone(doc.Requires)
		for key, needs := range suite.Patch.Requires {
			doc.Requires = append(doc.Requires, authz.Entry[[]string]{Key: key, Value: needs})
		}
		if b, err = authz.Compile(&doc); err != nil {
			return nil, err
		}
	}
	w := &world{suite: suite, blueprint: b, tenants: map[string]*authz.TenantView{}}
	if suite.Event != nil {
		if err := w.unlink(suite.Event.Unlink); err != nil {
			return nil, err
		}
	}
	if err := w.addTenants(); err != nil {
		return nil, err
	}
	return w, w.checkMembers()
}

func (w *world) addTenants() error {
	for name, t := range w.suite.Tenants {
		facts := authz.TenantFacts{ID: id.Tenant(name), Status: t.status(), Entitlements: t.Entitlements, Ancestors: map[string][]id.Tenant{}}
		if _, known := w.blueprint.TenantStatus(facts.Status); !known {
			return fault.New(fault.Invalid, "tenant %s: there is no status %q", name, facts.Status)
		}
		for _, key := range t.Entitlements {
			if err := w.blueprint.CheckEntitlement(key); err != nil {
				return err
			}
		}
		for relation := range t.Edges {
			if _, err := w.blueprint.Relation(relation); err != nil {
				return err
			}
			chain, err := w.ancestors(relation, name)
			if err != nil {
				return err
			}
			facts.Ancestors[relation] = chain
		}
		w.tenants[name] = w.blueprint.Tenant(facts)
	}
	return nil
}

func (t Tenant) status() string {
	if t.Status == "" {
		return "enabled"
	}
	return t.Status
}

func (w *world) ancestors(relation, name string) ([]id.Tenant, error) {
	var chain []id.Tenant
	for {
		parent, linked := w.suite.Tenants[name].Edges[relation]
		if !linked {
			return chain, nil
		}
		if _, known := w.suite.Tenants[parent]; !known {
			return nil, fault.New(fault.Invalid, "tenant %s: there is no tenant %q", name, parent)
		}
		if slices.Contains(chain, id.Tenant(parent)) {
			return nil, fault.New(fault.Invalid, "tenant %s is above itself in %s", parent, relation)
		}
		chain = append(chain, id.Tenant(parent))
		name = parent
	}
}

func (w *world) checkMembers() error {
	for _, m := range w.suite.Members {
		if _, known := w.suite.Tenants[m.Tenant]; !known {
			return fault.New(fault.Invalid, "member %s: there is no tenant %q", m.User, m.Tenant)
		}
		if _, err := w.blueprint.RoleSet(m.Roles...); err != nil {
			return err
		}
		if _, err := w.blueprint.Status(m.Status); err != nil {
			return err
		}
	}
	return nil
}

// unlink ends the star around a hub, as the directory would.
func (w *world) unlink(hub string) error {
	if _, known := w.suite.Tenants[hub]; !known {
		return fault.New(fault.Invalid, "unlink: there is no tenant %q", hub)
	}
	apart := map[string]bool{hub: true}
	tenants := map[string]Tenant{}
	for name, t := range w.suite.Tenants {
		edges := map[string]string{}
		for relation, parent := range t.Edges {
			r, err := w.blueprint.Relation(relation)
			if err != nil {
				return err
			}
			if r.Shape == authz.Star && parent == hub {
				apart[name] = true
				continue
			}
			edges[relation] = parent
		}
		t.Edges = edges
		tenants[name] = t
	}
	inHub := map[string][]string{}
	for _, m := range w.suite.Members {
		if m.Tenant == hub {
			inHub[m.User] = m.Roles
		}
	}
	members := slices.Clone(w.suite.Members)
	for i, m := range members {
		if apart[m.Tenant] {
			members[i].Roles = w.blueprint.RolesAfterUnlink(inHub[m.User], m.Roles)
		}
	}
	w.suite.Tenants, w.suite.Members = tenants, members
	return nil
}

func (w *world) tenant(name string) (*authz.TenantView, error) {
	t, known := w.tenants[name]
	if !known {
		return nil, fault.New(fault.Invalid, "there is no tenant %q", name)
	}
	return t, nil
}

// facts returns a user's membership in a tenant, or nil.
func (w *world) facts(user, tenant string) *authz.MembershipFacts {
	for _, m := range w.suite.Members {
		if m.User == user && m.Tenant == tenant {
			f := authz.MembershipFacts{Status: m.Status, Roles: m.Roles}
			for _, r := range w.suite.Resources {
				if r.User == user && r.Tenant == tenant {
					f.Resources = append(f.Resources, authz.ResourceRole{Role: r.Role, Resource: r.ID})
				}
			}
			return &f
		}
	}
	return nil
}

// holders returns what all memberships of a user bring.
func (w *world) holders(user string) []authz.Holder {
	var holders []authz.Holder
	for _, m := range w.suite.Members {
		if m.User == user {
			holders = append(holders, w.blueprint.Holder(w.tenants[m.Tenant], *w.facts(user, m.Tenant)))
		}
	}
	return holders
}

func (w *world) actor(user string, channel authz.Channel) authz.Actor {
	return authz.Actor{
		Operator: slices.Contains(w.suite.Operators, user),
		User:     id.User(user), Holders: w.holders(user), Channel: channel,
	}
}

// tallies counts the members of a tenant for each rule of the blueprint.
func (w *world) tallies(tenant string) []authz.Tally {
	rules := w.blueprint.HolderRules()
	tallies := make([]authz.Tally, len(rules))
	for _, m := range w.suite.Members {
		status, err := w.blueprint.Status(m.Status)
		if m.Tenant != tenant || err != nil || status.Final() {
			continue
		}
		for i, rule := range rules {
			if len(rule.Roles) > 0 && !slices.ContainsFunc(rule.Roles, func(key string) bool { return slices.Contains(m.Roles, key) }) {
				continue
			}
			tallies[i].Held++
			if status.SignIn {
				tallies[i].Able++
			}
		}
	}
	return tallies
}
