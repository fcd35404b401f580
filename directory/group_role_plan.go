package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A change of mappings is first worked out in memory: who holds what by the
// mappings there are, and who would by those to come. The preview shows that;
// the change itself is checked by the same, so that both agree.

// CandidateQuery asks for members to whom a change of mappings can matter.
type CandidateQuery struct {
	Below      []id.Group  // those in one of these groups, nested ones included
	Unassigned bool        // and those whom a directory has pushed and who hold no role directly
	Groups     []id.Group  // the groups to tell of in Candidate
	Above      []id.Tenant // the tenants to tell of in Candidate
}

// A Candidate is a member with what roles by groups rest on.
type Candidate struct {
	Membership id.Membership
	User       id.User
	UserName   string
	Status     Status
	Source     Source
	Disabled   bool       // the login is off
	Above      bool       // a member of one of the tenants asked about, too
	Direct     []string   // roles held directly in the whole tenant
	Groups     []id.Group // those of the groups asked about that the member is in
}

// A RoleShift is a member who would hold other roles.
type RoleShift struct {
	Membership id.Membership
	User       id.User
	UserName   string
	Gains      []RoleCause
	Loses      []RoleCause
	from       *Candidate
	outcome    *shift
}

// A RoleCause is a role and by what it is held.
type RoleCause struct {
	Role     string
	Source   AssignmentSource // AssignedGroup or AssignedDefault
	Group    string           // for AssignedGroup: the name of the mapped group
	Priority int              // for AssignedGroup: that of the mapping
}

// shift is what happens to all who hold the same and are in the same groups.
type shift struct {
	before, after []string
	gains, loses  []RoleCause
}

// groupRolePlan is a change of mappings with what comes of it.
type groupRolePlan struct {
	at            *place
	actor         authz.Actor
	asks          []asked
	before, after GroupRoleSet
	added, moved  []GroupRole // moved: to another priority
	removed       []GroupRole
	people        []RoleShift // whose roles change, by userName
}

func (p *groupRolePlan) nothing() bool {
	return len(p.added)+len(p.moved)+len(p.removed) == 0 && p.before.Default == p.after.Default
}

func (p *groupRolePlan) person() bool { return !p.actor.Operator && !p.actor.System }

// planGroupRoles works out a change of mappings. It fails with fault.Invalid
// where a mapping or the default role is none that can be.
func (d *Directory) planGroupRoles(ctx context.Context, at *place, change func(set *GroupRoleSet) ([]asked, error)) (*groupRolePlan, error) {
	actor, err := d.rights.actor(ctx, at)
	if err != nil {
		return nil, err
	}
	before, err := d.groupRoles(ctx, at.tenant)
	if err != nil {
		return nil, err
	}
	p := &groupRolePlan{at: at, actor: actor, before: *before, after: GroupRoleSet{Mappings: slices.Clone(before.Mappings), Default: before.Default}}
	var wrong error
	p.asks, wrong = change(&p.after)
	if errors.Is(wrong, fault.NotFound) && p.person() { // is not for everybody to learn
		if err := d.mayAsk(p); err != nil {
			return nil, err
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	if err := d.bindPlan(ctx, p); err != nil {
		return nil, err
	}
	p.compare()
	if err := p.check(); err != nil || p.nothing() {
		return p, err
	}
	return p, d.planPeople(ctx, p)
}

// bindPlan finds the groups of the mappings that are new.
func (d *Directory) bindPlan(ctx context.Context, p *groupRolePlan) error {
	var names []string
	for _, m := range p.after.Mappings {
		if m.Group == "" {
			names = append(names, m.GroupName)
		}
	}
	groups, err := d.store.GroupsNamed(ctx, p.at.tenant.ID, names)
	if err != nil {
		return err
	}
	for i := range p.after.Mappings {
		m := &p.after.Mappings[i]
		if m.Group == "" && p.before.find(m.GroupName, m.Role) < 0 {
			m.Group = groups[m.GroupName]
		}
	}
	return nil
}

// compare finds out which mappings are new, different, or gone.
func (p *groupRolePlan) compare() {
	for _, m := range p.after.Mappings {
		switch i := p.before.find(m.GroupName, m.Role); {
		case i < 0:
			p.added = append(p.added, m)
		case p.before.Mappings[i].Priority != m.Priority:
			p.moved = append(p.moved, m)
		}
	}
	for _, m := range p.before.Mappings {
		if p.after.find(m.GroupName, m.Role) < 0 {
			p.removed = append(p.removed, m)
		}
	}
}

func (p *groupRolePlan) check() error {
	for _, m := range p.added {
		if err := p.at.blueprint.CheckMappable(m.Role); err != nil {
			return err
		}
	}
	if p.after.Default != "" && p.after.Default != p.before.Default {
		return p.at.blueprint.CheckDefault(p.after.Default)
	}
	return nil
}

// planPeople finds out whose roles change.
func (d *Directory) planPeople(ctx context.Context, p *groupRolePlan) error {
	query := CandidateQuery{Unassigned: p.before.Default != p.after.Default, Above: p.at.above}
	changed := slices.Concat(p.added, p.removed)
	if _, most := p.at.blueprint.RoleBounds(); most > 0 {
		changed = append(changed, p.moved...)
	}
	for _, m := range changed {
		if m.Group != "" {
			query.Below = append(query.Below, m.Group)
		}
	}
	if len(query.Below) == 0 && !query.Unassigned {
		return nil
	}
	was, is := p.before.byGroup(), p.after.byGroup()
	groups := slices.Collect(maps.Keys(was))
	for group := range is {
		if was[group] == nil {
			groups = append(groups, group)
		}
	}
	query.Groups = groups
	candidates, err := d.store.Candidates(ctx, p.at.tenant.ID, query)
	if err != nil {
		return err
	}
	known := map[string]*shift{}
	for i := range candidates {
		c := &candidates[i]
		if slices.Contains(p.at.blueprint.FinalStatuses(), string(c.Status)) {
			continue
		}
		s := known[c.key()]
		if s == nil {
			s = p.shift(c, was, is)
			known[c.key()] = s
		}
		if len(s.gains)+len(s.loses) > 0 {
			p.people = append(p.people, RoleShift{
				Membership: c.Membership, User: c.User, UserName: c.UserName, Gains: s.gains, Loses: s.loses, from: c, outcome: s,
			})
		}
	}
	return nil
}

// byGroup returns the mappings that are bound, by group.
func (s *GroupRoleSet) byGroup() map[id.Group][]GroupRole {
	bound := map[id.Group][]GroupRole{}
	for _, m := range s.Mappings {
		if m.Group != "" {
			bound[m.Group] = append(bound[m.Group], m)
		}
	}
	return bound
}

// key is the same for all to whom the same happens.
func (c *Candidate) key() string {
	slices.Sort(c.Direct)
	slices.Sort(c.Groups)
	var b strings.Builder
	for _, role := range c.Direct {
		b.WriteString(role + " ")
	}
	b.WriteString(string(c.Source))
	for _, group := range c.Groups {
		b.WriteString(" " + string(group))
	}
	return b.String()
}

func (p *groupRolePlan) shift(c *Candidate, was, is map[id.Group][]GroupRole) *shift {
	before, causesBefore := p.holds(c, was, p.before.Default)
	after, causesAfter := p.holds(c, is, p.after.Default)
	s := &shift{before: before, after: after}
	for _, role := range without(after, before) {
		s.gains = append(s.gains, causesAfter(role))
	}
	for _, role := range without(before, after) {
		s.loses = append(s.loses, causesBefore(role))
	}
	return s
}

// holds returns the roles that somebody holds by mappings and a default role,
// and by what.
func (p *groupRolePlan) holds(c *Candidate, bound map[id.Group][]GroupRole, fallback string) ([]string, func(role string) RoleCause) {
	var mapped []authz.MappedRole
	best := map[string]GroupRole{}
	for _, group := range c.Groups {
		for _, m := range bound[group] {
			mapped = append(mapped, authz.MappedRole{Role: m.Role, Priority: m.Priority})
			if b, seen := best[m.Role]; !seen || m.Priority < b.Priority {
				best[m.Role] = m
			}
		}
	}
	if c.Source != SourceSCIM {
		fallback = ""
	}
	return rolesOf(p.at.blueprint, c.Direct, mapped, fallback), func(role string) RoleCause {
		if m, found := best[role]; found {
			return RoleCause{Role: role, Source: AssignedGroup, Group: m.GroupName, Priority: m.Priority}
		}
		return RoleCause{Role: role, Source: AssignedDefault}
	}
}

// weighGroupRoles asks whether the caller may make the change and the tenant can
// bear it. Each refusal is handed to refuse, with the number of people because
// of whom, 0 where it is about the mapping itself; an error of refuse ends it.
func (d *Directory) weighGroupRoles(ctx context.Context, p *groupRolePlan, refuse func(err error, people int) error) error {
	if p.person() {
		if err := d.mayAsk(p); err != nil {
			if err := refuse(err, 0); err != nil {
				return err
			}
		}
		if err := d.weighPeople(ctx, p, refuse); err != nil {
			return err
		}
	}
	if len(p.people) == 0 {
		return nil
	}
	before, err := d.tallies(ctx, p.at)
	if err != nil {
		return err
	}
	if err := p.at.blueprint.CheckTallies(before, p.talliesAfter(before)); err != nil {
		return refuse(err, len(p.people))
	}
	return nil
}

// mayAsk fails unless the caller may give and take the roles of the mappings
// that change, even while nobody is in the groups.
func (d *Directory) mayAsk(p *groupRolePlan) error {
	asks := slices.Clone(p.asks)
	for _, m := range p.added {
		asks = append(asks, asked{authz.OpGrant, m.Role})
	}
	for _, m := range p.moved {
		asks = append(asks, asked{authz.OpGrant, m.Role}, asked{authz.OpRevoke, m.Role})
	}
	for _, m := range p.removed {
		asks = append(asks, asked{authz.OpRevoke, m.Role})
	}
	if p.before.Default != p.after.Default {
		asks = append(asks, asked{authz.OpRevoke, p.before.Default}, asked{authz.OpGrant, p.after.Default})
	}
	if len(asks) == 0 { // of a set that is as it was
		asks = append(asks, asked{authz.OpGrant, ""})
	}
	for _, a := range asks {
		if err := d.mayInGeneral(p.at, p.actor, a.operation, a.role); err != nil {
			return err
		}
	}
	return nil
}

// weighPeople asks May about each member whose roles change. Those who hold the
// same fare alike, unless they are the caller or hold something above.
func (d *Directory) weighPeople(ctx context.Context, p *groupRolePlan, refuse func(err error, people int) error) error {
	decided := map[string]error{}
	refused := map[string]int{}
	first := map[string]error{}
	var codes []string
	for i := range p.people {
		c, s := p.people[i].from, p.people[i].outcome
		key := c.memo(s, p.actor.User)
		decision, known := decided[key]
		if !known {
			target, err := d.candidateTarget(ctx, p.at, c, s)
			if err != nil {
				return err
			}
			after := *target.Before
			after.Roles = s.after
			act := authz.Act{At: p.at.view, Actor: p.actor, Target: *target, After: &after, Untallied: true}
			act.Operation = p.at.blueprint.OperationFor(target.Before, &after)
			decision = p.at.blueprint.May(act).Err()
			decided[key] = decision
		}
		if decision == nil {
			continue
		}
		code := fault.As(decision).Code
		if refused[code] == 0 {
			first[code] = decision
			codes = append(codes, code)
		}
		refused[code]++
	}
	for _, code := range codes {
		if err := refuse(first[code], refused[code]); err != nil {
			return err
		}
	}
	return nil
}

// memo is the same for those about whom May decides the same.
func (c *Candidate) memo(s *shift, actor id.User) string {
	key := string(c.Status) + "\n" + strings.Join(s.before, " ") + "\n" + strings.Join(s.after, " ")
	if c.Disabled {
		key += "\noff"
	}
	if c.Above || c.User == actor {
		key += "\n" + string(c.User)
	}
	return key
}

// candidateTarget returns a member as May sees one.
func (d *Directory) candidateTarget(ctx context.Context, at *place, c *Candidate, s *shift) (*authz.Target, error) {
	facts := authz.MembershipFacts{Status: string(c.Status), Roles: s.before}
	target := &authz.Target{User: c.User, Kind: authz.HumanHolders, Before: &facts}
	if c.Above {
		act, _, err := d.act(ctx, at, c.User)
		if err != nil || act.Target.Before == nil {
			return target, err
		}
		return &act.Target, nil
	}
	held := facts
	if c.Disabled {
		held.Status = ""
	}
	target.Holders = []authz.Holder{at.blueprint.Holder(at.view, held)}
	return target, nil
}

// talliesAfter returns the tallies as the change would leave them.
func (p *groupRolePlan) talliesAfter(before []authz.Tally) []authz.Tally {
	after := slices.Clone(before)
	able := p.at.blueprint.AbleStatuses()
	for i, rule := range p.at.blueprint.HolderRules() {
		holds := func(roles []string) bool {
			return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(rule.Roles, role) })
		}
		for _, moved := range p.people {
			had, has := holds(moved.outcome.before), holds(moved.outcome.after)
			by := 1
			switch {
			case had == has:
				continue
			case had:
				by = -1
			}
			after[i].Held += by
			if !moved.from.Disabled && slices.Contains(able, string(moved.from.Status)) {
				after[i].Able += by
			}
		}
	}
	return after
}
