package directory_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// groupModel is a tenant as a few lines of Go see it: what groups give is walked
// for each member anew, without anything that the directory does.
type groupModel struct {
	most     int
	fallback string
	members  map[string][]string // group → members, groups by their name
	mappings []directory.GroupRoleSpec
	people   map[string]*modelPerson // by id
}

type modelPerson struct {
	membership *directory.Membership
	pushed     bool
	direct     []string
}

// in reports whether a member is in a group at any depth.
func (m *groupModel) in(member, group string, seen map[string]bool) bool {
	if seen[group] {
		return false
	}
	seen[group] = true
	for _, inside := range m.members[group] {
		if inside == member || m.members[inside] != nil && m.in(member, inside, seen) {
			return true
		}
	}
	return false
}

// roles returns what the model says somebody holds, sorted.
func (m *groupModel) roles(person string) []string {
	p := m.people[person]
	held := slices.Clone(p.direct)
	mappings := slices.Clone(m.mappings)
	slices.SortFunc(mappings, func(a, b directory.GroupRoleSpec) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Role, b.Role))
	})
	for _, mapping := range mappings {
		if slices.Contains(held, mapping.Role) || m.most > 0 && len(held) >= m.most {
			continue
		}
		if m.in(person, mapping.Group, map[string]bool{}) {
			held = append(held, mapping.Role)
		}
	}
	if len(held) == 0 && p.pushed && m.fallback != "" {
		held = append(held, m.fallback)
	}
	slices.Sort(held)
	return held
}

// tally counts holders, all of whom can sign in.
func (m *groupModel) tally(roles []string) int {
	n := 0
	for person := range m.people {
		if slices.ContainsFunc(m.roles(person), func(role string) bool { return slices.Contains(roles, role) }) {
			n++
		}
	}
	return n
}

// groupPlay plays random changes of groups, mappings and roles on a tenant and
// on the model of it.
type groupPlay struct {
	*portal
	model  *groupModel
	r      *rand.Rand
	b      *authz.Blueprint
	groups map[string]id.Group // by name
	roles  []string            // that can be mapped
	done   map[string]int
}

func newGroupPlay(t *testing.T, w *world, blueprint string, seed uint64) *groupPlay {
	t.Helper()
	p := &groupPlay{
		portal: w.portal(blueprint, blueprint), r: rand.New(rand.NewPCG(seed, 1)), groups: map[string]id.Group{}, done: map[string]int{},
		model: &groupModel{members: map[string][]string{}, people: map[string]*modelPerson{}},
	}
	catalog, err := authz.Shipped()
	done(t, err)
	p.b, err = catalog.Blueprint(blueprint)
	done(t, err)
	_, p.model.most = p.b.RoleBounds()
	for _, role := range p.b.Roles() {
		if p.b.CheckMappable(role.Key) == nil {
			p.roles = append(p.roles, role.Key)
		}
	}
	// A founder keeps the rules over holders out of the way.
	first := p.b.HolderRules()[0].Roles
	founder := p.member("founder@"+blueprint+".example", first[0])
	p.model.people[string(founder.ID)] = &modelPerson{founder, false, []string{first[0]}}
	for i := range 7 {
		m, err := w.CreateMembership(connected(t, p.tenant), p.tenant, person(fmt.Sprintf("p%d@%s.example", i, blueprint)))
		done(t, err)
		p.model.people[string(m.ID)] = &modelPerson{m, true, nil}
	}
	for i := range 6 {
		name := fmt.Sprintf("G%d", i)
		g, err := w.CreateGroup(connected(t, p.tenant), p.tenant, map[string]any{"displayName": name}, nil)
		done(t, err)
		p.groups[name], p.model.members[name] = g.ID, []string{}
	}
	return p
}

func (p *groupPlay) pickPerson() string {
	return pickOne(p.r, slices.Sorted(func(yield func(string) bool) {
		for person := range p.model.people {
			if !yield(person) {
				return
			}
		}
	}))
}

func pickOne[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func (p *groupPlay) pickGroup() string { return fmt.Sprintf("G%d", p.r.IntN(6)) }

// step makes one change on both. What the directory refuses the model leaves.
func (p *groupPlay) step() {
	t, ctx := p.t, operator(p.t)
	t.Helper()
	group, role := p.pickGroup(), pickOne(p.r, p.roles)
	change := func(op directory.MemberOp, member string) error {
		_, err := p.ChangeGroup(connected(t, p.tenant), p.tenant, p.groups[group], 0, func(doc map[string]any) (map[string]any, []directory.MemberChange, error) {
			return doc, []directory.MemberChange{{Op: op, IDs: []string{member}}}, nil
		})
		return err
	}
	tolerate := func(what string, err error) bool {
		if err == nil {
			p.done[what]++
			return true
		}
		if !errors.Is(err, fault.Denied) && !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.NotFound) {
			t.Fatalf("%s: %v", what, err)
		}
		return false
	}
	m := p.model
	switch p.r.IntN(8) {
	case 0, 1:
		person := p.pickPerson()
		if tolerate("join", change(directory.AddMembers, person)) && !slices.Contains(m.members[group], person) {
			m.members[group] = append(m.members[group], person)
		}
	case 2:
		inner := p.pickGroup()
		if tolerate("nest", change(directory.AddMembers, string(p.groups[inner]))) && !slices.Contains(m.members[group], inner) {
			m.members[group] = append(m.members[group], inner)
		}
	case 3:
		if len(m.members[group]) == 0 {
			return
		}
		gone := pickOne(p.r, m.members[group])
		member := gone
		if inner, nested := p.groups[gone]; nested {
			member = string(inner)
		}
		if tolerate("leave", change(directory.RemoveMembers, member)) {
			m.members[group] = slices.DeleteFunc(m.members[group], func(one string) bool { return one == gone })
		}
	case 4:
		person := p.pickPerson()
		var roles []string
		if p.r.IntN(3) > 0 {
			roles = []string{role}
		}
		if tolerate("give", p.SetRoles(ctx, p.tenant, id.Membership(person), roles)) {
			m.people[person].direct = roles
		}
	case 5:
		fallback := pickOne(p.r, append(p.roles, ""))
		if tolerate("default", p.SetDefaultRole(ctx, p.tenant, fallback)) {
			m.fallback = fallback
		}
	default:
		p.remap(tolerate)
	}
}

// remap changes mappings, after a preview of what comes of it.
func (p *groupPlay) remap(tolerate func(what string, err error) bool) {
	t, ctx := p.t, operator(p.t)
	t.Helper()
	m := p.model
	wanted := slices.Clone(m.mappings)
	for range 1 + p.r.IntN(3) {
		spec := directory.GroupRoleSpec{Group: p.pickGroup(), Role: pickOne(p.r, p.roles), Priority: 1 + p.r.IntN(3)}
		i := slices.IndexFunc(wanted, func(have directory.GroupRoleSpec) bool { return have.Group == spec.Group && have.Role == spec.Role })
		switch {
		case i >= 0 && p.r.IntN(2) == 0:
			wanted = slices.Delete(wanted, i, i+1)
		case i >= 0:
			wanted[i] = spec
		default:
			wanted = append(wanted, spec)
		}
	}
	before := p.held()
	preview, err := p.PreviewGroupRoles(ctx, p.tenant, wanted, m.fallback, "", 100)
	done(t, err)
	if got := p.held(); !equalRoles(got, before) {
		t.Fatal("a preview has changed something")
	}
	err = p.ReplaceGroupRoles(ctx, p.tenant, wanted, m.fallback)
	if refused := err != nil; refused != (len(preview.Refusals) > 0) {
		t.Fatalf("the preview says %+v, the change %v", preview.Refusals, err)
	}
	if err != nil && preview.Refusals[0].Code != fault.As(err).Code {
		t.Fatalf("the preview says %+v, the change %v", preview.Refusals, err)
	}
	if tolerate("remap", err) {
		m.mappings = wanted
		p.previewed(preview, before)
	}
}

// previewed compares what was foretold with what has come.
func (p *groupPlay) previewed(preview *directory.GroupRolePreview, before map[string][]string) {
	p.t.Helper()
	foretold := maps.Clone(before)
	for _, shift := range preview.People {
		roles := slices.DeleteFunc(slices.Clone(before[string(shift.Membership)]), func(role string) bool {
			return slices.ContainsFunc(shift.Loses, func(c directory.RoleCause) bool { return c.Role == role })
		})
		for _, c := range shift.Gains {
			roles = append(roles, c.Role)
		}
		slices.Sort(roles)
		foretold[string(shift.Membership)] = roles
	}
	if now := p.held(); !equalRoles(now, foretold) {
		p.t.Fatalf("the preview foretold %v, it came to %v", foretold, now)
	}
}

func equalRoles(a, b map[string][]string) bool {
	for person := range a {
		if !slices.Equal(a[person], b[person]) {
			return false
		}
	}
	return len(a) == len(b)
}

// held returns what everybody holds as decisions see it.
func (p *groupPlay) held() map[string][]string {
	p.t.Helper()
	held := map[string][]string{}
	for person, who := range p.model.people {
		st, err := p.Standing(p.t.Context(), p.tenant, who.membership.User)
		done(p.t, err)
		held[person] = append([]string{}, st.Roles...)
	}
	return held
}

// agree compares every reader of roles with the model.
func (p *groupPlay) agree() {
	t, ctx, m := p.t, operator(p.t), p.model
	t.Helper()
	want := map[string][]string{}
	byRole := map[string]int{}
	for person := range m.people {
		want[person] = append([]string{}, m.roles(person)...)
		for _, role := range want[person] {
			byRole[role]++
		}
		if len(want[person]) == 0 {
			byRole[""]++
		}
		if m.most > 0 && len(want[person]) > m.most {
			t.Errorf("somebody holds %v", want[person])
		}
	}
	if got := p.held(); !equalRoles(got, want) {
		t.Errorf("decisions see %v, the model %v", got, want)
	}
	listed := map[string][]string{}
	members, err := p.ListMembers(ctx, p.tenant, "", 100)
	done(t, err)
	for _, member := range members {
		roles := []string{}
		for _, a := range member.Assignments {
			roles = append(roles, a.Role)
		}
		slices.Sort(roles)
		listed[string(member.ID)] = slices.Compact(roles)
	}
	if !equalRoles(listed, want) {
		t.Errorf("the list of members says %v, the model %v", listed, want)
	}
	for _, role := range p.roles {
		without := *m
		without.fallback = ""
		tally, err := p.store.TallyHolders(ctx, p.tenant, directory.HoldersOf{
			Roles: []string{role}, MaxRoles: m.most, Able: p.b.AbleStatuses(), Final: append(p.b.FinalStatuses(), "-"),
		})
		done(t, err)
		holders, err := p.store.RoleHolders(ctx, p.tenant, []string{role}, m.most)
		done(t, err)
		if n := without.tally([]string{role}); tally.Held != n || len(holders) != n {
			t.Errorf("%s: counted %d, listed %d, the model %d", role, tally.Held, len(holders), n)
		}
	}
	counts, err := p.ReportMembers(ctx, p.tenant)
	done(t, err)
	reported := map[string]int{}
	for _, c := range counts {
		reported[c.Role] += c.Members
	}
	for _, role := range append(p.roles, "") {
		if reported[role] != byRole[role] {
			t.Errorf("%q: reported %d, the model %d", role, reported[role], byRole[role])
		}
	}
}

// TestRolesByGroupsAgreeWithAModel changes groups, nesting, mappings, priorities,
// direct roles and the default role at random, in role systems with one role a
// member and with several. Every reader of roles agrees with the model after
// each change, and what a preview foretold has come.
func TestRolesByGroupsAgreeWithAModel(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, blueprint := range []string{"1nce", "default", "emnify", "streamone"} {
			seed := uint64(time.Now().UnixNano())
			p := newGroupPlay(t, w, blueprint, seed)
			for i := range 60 {
				p.step()
				p.agree()
				if t.Failed() {
					t.Fatalf("%s: after step %d of seed %d", blueprint, i, seed)
				}
			}
			for _, what := range []string{"join", "nest", "remap", "give"} {
				if p.done[what] == 0 {
					t.Errorf("%s: nothing of %s was ever allowed (%v)", blueprint, what, p.done)
				}
			}
		}
	})
}
