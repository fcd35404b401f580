// Package scenario runs Given/When/Then vectors against blueprints: the author
// of a role system states tenants, members and expected decisions in a file,
// and learns which of them the blueprint does not meet.
//
// It owns the file format and the evaluation order of a case; every decision
// is asked of package authz.
package scenario

import (
	"bytes"
	"iter"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
)

// Suite is a small world and the decisions expected in it.
type Suite struct {
	Name      string            `yaml:"-"`
	Blueprint string            `yaml:"blueprint"` // default: the name of the suite
	Patch     Patch             `yaml:"patch"`
	Event     *Event            `yaml:"event"`
	Tenants   map[string]Tenant `yaml:"tenants"`
	Members   []Member          `yaml:"members"`
	Operators []string          `yaml:"operators"`
	Resources []Resource        `yaml:"resources"`
	Cases     []Case            `yaml:"cases"`
}

// Patch changes the blueprint for one suite.
type Patch struct {
	Requires map[string][]string `yaml:"requires"`
}

// Event is something that happens before the cases are asked.
type Event struct {
	Unlink string `yaml:"unlink"` // the hub of a star, which ends
}

// Tenant is the state of a tenant.
type Tenant struct {
	Status       string            `yaml:"status"` // default: enabled
	Entitlements []string          `yaml:"ents"`
	Grantable    []string          `yaml:"grantable"` // entitlements held with the grant option
	Edges        map[string]string `yaml:"edges"`     // relation to parent
	Settings     map[string]bool   `yaml:"settings"`  // such as support_consent
}

// Member is a membership: [user, tenant, [roles], status].
type Member struct {
	User, Tenant string
	Roles        []string
	Status       string
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (m *Member) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[user, tenant, [roles], status]", 4, &m.User, &m.Tenant, &m.Roles, &m.Status)
}

// Resource is a role held on one resource: [user, tenant, role, resource].
type Resource struct {
	User, Tenant, Role, ID string
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *Resource) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[user, tenant, role, resource]", 4, &r.User, &r.Tenant, &r.Role, &r.ID)
}

// Case is one question and the expected answer. Exactly one of the questions
// is set.
type Case struct {
	Line    int    `yaml:"-"` // in the file
	ID      string `yaml:"id"`
	Channel string `yaml:"channel"` // portal (default) or api
	Then    bool   `yaml:"then"`
	Code    string `yaml:"code"` // reason of a refusal; empty: any

	Can         *Can        `yaml:"can"`
	Admin       *Admin      `yaml:"admin"`
	SignIn      *SignIn     `yaml:"signin"`
	OnResource  *OnResource `yaml:"resource"`
	Token       *Token      `yaml:"token"`
	Assume      *Assume     `yaml:"assume"`
	AssumePerm  *AssumePerm `yaml:"assume_perm"`
	Transition  *Transition `yaml:"transition"`
	Delegate    *Delegate   `yaml:"delegate"`
	MFARequired *MFA        `yaml:"mfa_required"`
	Password    *string     `yaml:"password"`
}

// The questions. Each is written as a list in the order of its fields.
type (
	// Can asks for a permission: [user, permission, tenant].
	Can struct{ User, Permission, Tenant string }
	// Admin asks for an act: [operation, actor, target, tenant] and, if the act
	// sets roles, the roles afterwards.
	Admin struct {
		Operation, Actor, Target, Tenant string
		Roles                            []string
		SetsRoles                        bool
	}
	// SignIn asks whether a membership can be used: [user, tenant, channel].
	SignIn struct{ User, Tenant, Channel string }
	// OnResource asks for a permission on a resource: [user, permission, tenant, resource].
	OnResource struct{ User, Permission, Tenant, Resource string }
	// Token asks for a permission by an application token:
	// [creator, permission, tenant, tenant of the token, status of the token].
	Token struct{ Creator, Permission, Tenant, Home, Status string }
	// Assume asks for a support session: [staff, user, tenant, role or null].
	Assume struct{ Staff, User, Tenant, Override string }
	// AssumePerm asks for a permission in a support session:
	// [staff, user, tenant, role or null, permission].
	AssumePerm struct {
		Assume     Assume
		Permission string
	}
	// Transition asks for a change of a membership's status: [from, to].
	Transition struct{ From, To string }
	// Delegate asks to pass an entitlement on: [from, to, entitlement].
	Delegate struct{ From, To, Entitlement string }
	// MFA asks whether a second factor is required: [tenant, {facts}].
	MFA struct {
		Tenant string
		Facts  MFAFacts
	}
	// MFAFacts is what may require a second factor.
	MFAFacts struct {
		TenantSetting, MembershipFlag bool
		Roles                         []string
		SSO                           bool
	}
)

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Can) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[user, permission, tenant]", 3, &c.User, &c.Permission, &c.Tenant)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *Admin) UnmarshalYAML(n *yaml.Node) error {
	a.SetsRoles = len(n.Content) == 5
	return tuple(n, "[operation, actor, target, tenant, [roles]]", 4, &a.Operation, &a.Actor, &a.Target, &a.Tenant, &a.Roles)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *SignIn) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[user, tenant, channel]", 3, &s.User, &s.Tenant, &s.Channel)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *OnResource) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[user, permission, tenant, resource]", 4, &r.User, &r.Permission, &r.Tenant, &r.Resource)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *Token) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[creator, permission, tenant, token's tenant, status]", 5, &t.Creator, &t.Permission, &t.Tenant, &t.Home, &t.Status)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *Assume) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[staff, user, tenant, role or null]", 4, &a.Staff, &a.User, &a.Tenant, &a.Override)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *AssumePerm) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[staff, user, tenant, role or null, permission]", 5,
		&a.Assume.Staff, &a.Assume.User, &a.Assume.Tenant, &a.Assume.Override, &a.Permission)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *Transition) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[from, to]", 2, &t.From, &t.To)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Delegate) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[from, to, entitlement]", 3, &d.From, &d.To, &d.Entitlement)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (m *MFA) UnmarshalYAML(n *yaml.Node) error {
	return tuple(n, "[tenant, {facts}]", 2, &m.Tenant, &m.Facts)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (f *MFAFacts) UnmarshalYAML(n *yaml.Node) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		var into any
		switch key := n.Content[i].Value; key {
		case "tenant_setting":
			into = &f.TenantSetting
		case "membership_flag":
			into = &f.MembershipFlag
		case "roles":
			into = &f.Roles
		case "sso":
			into = &f.SSO
		default:
			return fault.New(fault.Invalid, "line %d: unknown key %q", n.Line, key)
		}
		if err := n.Content[i+1].Decode(into); err != nil {
			return err
		}
	}
	return nil
}

// tuple decodes a list into values of different types; those beyond least may
// be left out.
func tuple(n *yaml.Node, form string, least int, into ...any) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) < least || len(n.Content) > len(into) {
		return fault.New(fault.Invalid, "line %d: must be %s", n.Line, form)
	}
	for i, item := range n.Content {
		if err := item.Decode(into[i]); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads a file of suites, in its order. Unknown keys are mistakes. The
// error is a fault.Invalid that names the line.
func Parse(source []byte) ([]Suite, error) {
	byName := map[string]Suite{}
	d := yaml.NewDecoder(bytes.NewReader(source))
	d.KnownFields(true)
	if err := d.Decode(&byName); err != nil {
		return nil, fault.New(fault.Invalid, "%s", inWords(err))
	}
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Detail: err.Error(), Err: err}
	}
	var suites []Suite
	for name, body := range pairs(root.Content[0]) {
		suite := byName[name]
		suite.Name = name
		if suite.Blueprint == "" {
			suite.Blueprint = name
		}
		for key, cases := range pairs(body) {
			for i := range suite.Cases {
				if key == "cases" && i < len(cases.Content) {
					suite.Cases[i].Line = cases.Content[i].Line
				}
			}
		}
		suites = append(suites, suite)
	}
	return suites, nil
}

// wrongShape is what the YAML library says where a value is of another kind than
// the type of Go that it names.
var wrongShape = regexp.MustCompile("cannot unmarshal !!(\\w+)(?: `[^`]*`)? into \\S+")

func inWords(err error) string {
	return wrongShape.ReplaceAllString(err.Error(), "a $1 does not belong here; a file is suites by name, each with tenants, members and cases")
}

// pairs ranges over the keys and values of a mapping.
func pairs(n *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}
