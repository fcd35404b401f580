package directory

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// tenantLook is a look at what an upgrade does to one tenant.
type tenantLook struct {
	*upgrade
	t        *Tenant
	holders  []MemberRoles
	groups   []GroupRole
	accounts []ServiceAccount
	tokens   []TokenList
	result   TenantUpgrade
}

// movedRoles finds who has roles that the version lacks, and whether their
// replacements fit.
func (l *tenantLook) movedRoles() {
	for _, role := range l.removed {
		replacement, decided := l.replace[role]
		moved := MovedRole{Role: role, Replacement: replacement, Decided: decided, Default: l.t.DefaultRole == role}
		holds := func(h RoleHolding) bool { return h.Role == role }
		for _, holder := range l.holders {
			if slices.ContainsFunc(holder.Roles, holds) {
				moved.Members++
			}
		}
		for _, mapping := range l.groups {
			if mapping.Role == role {
				moved.Groups++
			}
		}
		for _, account := range l.accounts {
			if slices.Contains(account.Roles, role) {
				moved.Applications = append(moved.Applications, account.Application)
			}
		}
		if !moved.inUse() {
			continue
		}
		l.result.Moved = append(l.result.Moved, moved)
		if !decided {
			l.problem("%s: %s: version %d lacks the role %q, give a replacement for it, or drop it", l.t.Slug, moved.Uses(), l.later.Version(), role)
			continue
		}
		l.checkFit(moved)
	}
}

// Uses says in words who has the role.
func (m MovedRole) Uses() string {
	var uses []string
	add := func(n int, what string) {
		if n > 0 {
			uses = append(uses, plural(n, what))
		}
	}
	add(m.Members, "member")
	add(m.Groups, "group mapping")
	add(len(m.Applications), "application")
	if m.Default {
		uses = append(uses, "the default role")
	}
	return strings.Join(uses, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkFit checks that those who have a role may have its replacement.
func (l *tenantLook) checkFit(moved MovedRole) {
	refuse := func(err error) {
		if err != nil {
			l.problem("%s: %q can't replace %q: %v", l.t.Slug, moved.Replacement, moved.Role, err)
		}
	}
	if moved.Replacement == "" {
		l.checkDrop(moved)
		return
	}
	if moved.Members > 0 {
		refuse(l.later.CheckHolder(moved.Replacement, authz.HumanHolders))
	}
	if len(moved.Applications) > 0 {
		refuse(l.later.CheckHolder(moved.Replacement, authz.ServiceHolders))
	}
	if moved.Groups > 0 {
		refuse(l.later.CheckMappable(moved.Replacement))
	}
	if moved.Default {
		refuse(l.later.CheckDefault(moved.Replacement))
	}
}

// checkDrop checks that nobody is left with fewer roles than a member has.
func (l *tenantLook) checkDrop(moved MovedRole) {
	least, _ := l.later.RoleBounds()
	var short People
	for _, h := range l.holders {
		if slices.Contains(l.before(h), moved.Role) && len(l.after(h)) < least {
			short.add(h.Name)
		}
	}
	if short.Count > 0 {
		l.problem("%s: without %q %s would have fewer roles than %d: %s", l.t.Slug, moved.Role, plural(short.Count, "member"), least, &short)
	}
}

// String returns the names and how many there are besides.
func (p *People) String() string {
	text := strings.Join(p.Names, ", ")
	if more := p.Count - len(p.Names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// before returns the roles that a member holds in the whole tenant, in the
// version in force.
func (l *tenantLook) before(h MemberRoles) []string {
	direct, mapped := h.plain()
	return rolesOf(l.earlier, direct, mapped, l.t.fallback(h.Source))
}

// after returns what becomes of them: the bound on roles may be another too.
func (l *tenantLook) after(h MemberRoles) []string {
	direct, offered := h.plain()
	var mapped []authz.MappedRole
	for _, m := range offered {
		for _, role := range l.rolesAfter([]string{m.Role}) {
			mapped = append(mapped, authz.MappedRole{Role: role, Priority: m.Priority})
		}
	}
	fallback := strings.Join(l.rolesAfter([]string{l.t.fallback(h.Source)}), "")
	return rolesOf(l.later, l.rolesAfter(direct), mapped, fallback)
}

// plain returns the roles that are not held on a resource.
func (h MemberRoles) plain() (direct []string, mapped []authz.MappedRole) {
	for _, held := range h.Roles {
		switch {
		case held.Priority > 0:
			mapped = append(mapped, authz.MappedRole{Role: held.Role, Priority: held.Priority})
		case held.Resource == "":
			direct = append(direct, held.Role)
		}
	}
	return direct, mapped
}

// parts looks for what the tenant has and the version no longer knows. Statuses
// have no replacement, so nobody may be in one that goes away.
func (l *tenantLook) parts() {
	for _, c := range l.gone() {
		_, related := l.t.Relations[c.Key]
		entitled := slices.ContainsFunc(l.t.Entitlements, func(e Entitlement) bool { return e.Key == c.Key })
		switch {
		case c.Section == "membership.statuses":
			l.inStatus(c.Key)
		case c.Section == "tenants.statuses" && l.t.Status == c.Key:
			l.problem("%s: is %s, a status of tenants that version %d lacks", l.t.Slug, c.Key, l.later.Version())
		case c.Section == "tenants.tiers" && l.t.Tier == c.Key:
			l.notice("%s: is on the tier %s, which brings nothing any more", l.t.Slug, c.Key)
		case c.Section == "tenants.types" && l.t.Type == c.Key:
			l.notice("%s: has the type %s, which is none any more", l.t.Slug, c.Key)
		case c.Section == "tenants.relations" && related:
			l.notice("%s: has a parent by the relation %s, which counts for nothing any more", l.t.Slug, c.Key)
		case c.Section == "entitlements" && entitled:
			l.notice("%s: has the entitlement %s, which counts for nothing any more", l.t.Slug, c.Key)
		}
	}
	if role := l.t.DefaultRole; role != "" && !slices.Contains(l.removed, role) {
		if err := l.later.CheckDefault(role); err != nil {
			l.problem("%s: %s", l.t.Slug, detail(err))
		}
	}
	l.kinds()
	l.lists()
}

// inStatus finds who is in a status that goes away.
func (l *tenantLook) inStatus(status string) {
	var in People
	for _, h := range l.holders {
		if string(h.Status) == status {
			in.add(h.Name)
		}
	}
	if in.Count > 0 {
		l.problem("%s: %s of the status %q, which version %d lacks: %s", l.t.Slug, plural(in.Count, "member"), status, l.later.Version(), &in)
	}
}

// lists finds application tokens with permissions that go away.
func (l *tenantLook) lists() {
	for _, token := range l.tokens {
		gone := slices.DeleteFunc(slices.Clone(token.Permissions), func(key string) bool {
			_, kept := l.later.Permission(key)
			return kept
		})
		if len(gone) > 0 {
			l.notice("%s: the list of the application token %s loses %s", l.t.Slug, token.Token, strings.Join(gone, ", "))
		}
	}
}

// gone returns the parts that go away.
func (l *tenantLook) gone() []authz.Change {
	var removed []authz.Change
	for _, c := range l.upgrade.result.Changes {
		if c.Kind == authz.Removed {
			removed = append(removed, c)
		}
	}
	return removed
}

// kinds looks for holders of roles that are for others now: they keep them.
func (l *tenantLook) kinds() {
	people, services := map[string]int{}, map[string]int{}
	for _, h := range l.holders {
		for _, role := range l.after(h) {
			if l.later.CheckHolder(role, authz.HumanHolders) != nil && l.earlier.CheckHolder(role, authz.HumanHolders) == nil {
				people[role]++
			}
		}
	}
	for _, a := range l.accounts {
		for _, role := range l.rolesAfter(a.Roles) {
			if l.later.CheckHolder(role, authz.ServiceHolders) != nil && l.earlier.CheckHolder(role, authz.ServiceHolders) == nil {
				services[role]++
			}
		}
	}
	for _, role := range slices.Sorted(maps.Keys(people)) {
		l.notice("%s: %s hold %s, which is for service accounts from now on", l.t.Slug, plural(people[role], "member"), role)
	}
	for _, role := range slices.Sorted(maps.Keys(services)) {
		l.notice("%s: %s hold %s, which is for people from now on", l.t.Slug, plural(services[role], "application"), role)
	}
}

// people finds who gains and who loses permissions. Members with the same
// status and roles fare alike, so each combination is compared once.
func (l *tenantLook) people() {
	was, is := viewIn(l.earlier, l.t), viewIn(l.later, l.t)
	type effect struct{ gains, loses bool }
	known := map[string]effect{}
	byRole := map[string]*RoleEffect{}
	for _, h := range l.holders {
		roles, next := l.before(h), l.after(h)
		status := string(h.Status)
		if h.Disabled {
			status = ""
		}
		combination := status + " " + strings.Join(roles, " ") + " " + strings.Join(next, " ")
		e, seen := known[combination]
		if !seen {
			before := l.translated(l.earlier.Gives(was, authz.MembershipFacts{Status: status, Roles: roles}))
			after := l.later.Gives(is, authz.MembershipFacts{Status: status, Roles: next})
			e = effect{gains: exceeds(after, before), loses: exceeds(before, after)}
			known[combination] = e
		}
		if e.gains {
			l.result.Gain.add(h.Name)
		}
		if e.loses {
			l.result.Lose.add(h.Name)
		}
		if !e.gains && !e.loses {
			continue
		}
		for _, role := range roles {
			if byRole[role] == nil {
				byRole[role] = &RoleEffect{Role: role}
			}
			if e.gains {
				byRole[role].Gain++
			}
			if e.loses {
				byRole[role].Lose++
			}
		}
	}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		l.result.Roles = append(l.result.Roles, *byRole[role])
	}
}

// translated says what a membership gave in the words of the later version: to
// administer holders of a role that goes away is to administer those of its
// replacement, or nobody any more.
func (l *tenantLook) translated(gives map[string]bool) map[string]bool {
	same := map[string]bool{}
	for gift := range gives {
		operation, role, over := strings.Cut(gift, " over ")
		if over && slices.Contains(l.removed, role) {
			if role = l.replace[role]; role == "" {
				continue
			}
			gift = operation + " over " + role
		}
		same[gift] = true
	}
	return same
}

// exceeds reports whether a has what b lacks.
func exceeds(a, b map[string]bool) bool {
	for key := range a {
		if !b[key] {
			return true
		}
	}
	return false
}

// viewIn is the tenant as a version of its role system sees it, by itself.
func viewIn(b *authz.Blueprint, t *Tenant) *authz.TenantView {
	facts := authz.TenantFacts{ID: t.ID, Status: t.Status, Ancestors: map[string][]id.Tenant{}}
	for relation, parent := range t.Relations {
		facts.Ancestors[relation] = []id.Tenant{parent}
	}
	for _, e := range t.Entitlements {
		facts.Entitlements = append(facts.Entitlements, e.Key)
	}
	if tier, err := b.Tier(t.Tier); err == nil {
		facts.Entitlements = append(facts.Entitlements, tier.Entitlements...)
	}
	return b.Tenant(facts)
}

// invariants checks the rules over holders that the version has. A tenant which
// breaks one that is new, or broke it before, is told of; one that would come
// to break it by the upgrade stops it.
func (l *tenantLook) invariants() {
	rules := l.later.HolderRules()
	before, after := make([]authz.Tally, len(rules)), make([]authz.Tally, len(rules))
	for i, rule := range rules {
		before[i] = l.tallyBefore(rule)
		after[i] = l.tally(l.later, rule.Roles, l.after)
	}
	if err := l.later.CheckTallies(before, after); err != nil {
		l.problem("%s: %s", l.t.Slug, detail(err))
		return
	}
	for i, rule := range rules {
		// What would be refused if it came about now is broken already.
		worse, kept := make([]authz.Tally, len(rules)), make([]authz.Tally, len(rules))
		copy(worse, after)
		copy(kept, after)
		switch rule.Rule {
		case authz.MaxHolders:
			worse[i] = authz.Tally{}
		case authz.MinHolders, authz.MinMembers:
			worse[i] = authz.Tally{Held: rule.N, Able: rule.N}
		case authz.MinRoles:
		}
		if err := l.later.CheckTallies(worse, kept); err != nil {
			l.notice("%s: breaks an invariant: %s", l.t.Slug, detail(err))
		}
	}
	if _, most := l.later.RoleBounds(); most > 0 {
		var many People
		for _, h := range l.holders {
			if len(l.after(h)) > most {
				many.add(h.Name)
			}
		}
		if many.Count > 0 {
			l.notice("%s: more than %d roles for one member: %s", l.t.Slug, most, &many)
		}
	}
}

// tallyBefore counts those who hold, in the version in force, what the rule is
// about: its roles, and roles that are replaced by them. Where the rule takes
// the place of one whose roles all go away, their holders count as well, so that
// to drop them all is seen. For a rule over the most holders it is what the
// rule, or one that it takes the place of, had.
func (l *tenantLook) tallyBefore(rule authz.HolderRule) authz.Tally {
	old := slices.Clone(rule.Roles)
	for from, to := range l.replace {
		if slices.Contains(rule.Roles, to) && rule.Rule != authz.MaxHolders {
			old = append(old, from)
		}
	}
	tally := l.tally(l.earlier, old, l.before)
	for _, was := range l.earlier.HolderRules() {
		if was.Rule != rule.Rule || rule.Rule == authz.MinMembers {
			continue
		}
		gone := !slices.ContainsFunc(was.Roles, func(role string) bool { return !slices.Contains(l.removed, role) })
		becomes := slices.ContainsFunc(was.Roles, func(role string) bool { return slices.Contains(rule.Roles, l.replace[role]) })
		if gone && (becomes || rule.Rule == authz.MinHolders) {
			other := l.tally(l.earlier, was.Roles, l.before)
			tally.Held, tally.Able = max(tally.Held, other.Held), max(tally.Able, other.Able)
		}
	}
	return tally
}

// tally counts the members who hold one of the roles, or all members if there
// are none, as a version sees their statuses.
func (l *tenantLook) tally(b *authz.Blueprint, roles []string, held func(MemberRoles) []string) authz.Tally {
	var tally authz.Tally
	for _, h := range l.holders {
		holds := func(role string) bool { return slices.Contains(roles, role) }
		if len(roles) > 0 && !slices.ContainsFunc(held(h), holds) {
			continue
		}
		status, err := b.Status(string(h.Status))
		if err == nil && status.Final() {
			continue
		}
		tally.Held++
		if err == nil && status.SignIn && !h.Disabled {
			tally.Able++
		}
	}
	return tally
}

// detail returns the sentence of a fault.
func detail(err error) string {
	return fault.As(err).Detail
}
