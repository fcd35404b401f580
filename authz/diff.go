package authz

import (
	"maps"
	"slices"
)

// RoleDifference is what changes for the holders of a role when one version of
// a blueprint takes the place of another. What a role gives is spelt
// "permission at selector", and over whom it has an operation
// "operation over role".
type RoleDifference struct {
	Role    string   `json:"role"`
	New     bool     `json:"new,omitempty"`     // only the later version has it
	Removed bool     `json:"removed,omitempty"` // only the earlier version has it: its holders need another
	Gains   []string `json:"gains,omitempty"`
	Loses   []string `json:"loses,omitempty"`
}

// Diff compares two blueprints by what is compiled from them, role by role in
// alphabetical order. Roles for which nothing changes are left out. What a
// tenant's entitlements withhold is not looked at.
func Diff(earlier, later *Blueprint) []RoleDifference {
	was, is := earlier.gifts(), later.gifts()
	var all []RoleDifference
	for _, key := range slices.Sorted(maps.Keys(union(was, is))) {
		before, had := was[key]
		after, has := is[key]
		d := RoleDifference{Role: key, New: !had, Removed: !has, Gains: missingFrom(before, after), Loses: missingFrom(after, before)}
		if d.New || d.Removed || len(d.Gains)+len(d.Loses) > 0 {
			all = append(all, d)
		}
	}
	return all
}

// Gives returns everything that a membership gets of its roles and its tenant's
// entitlements, to compare what two versions of a blueprint make of it. What it
// may do in its own tenant is spelt "permission", the rest as in a
// [RoleDifference]. Roles that are held on one resource are not looked at.
func (b *Blueprint) Gives(home *TenantView, m MembershipFacts) map[string]bool {
	gives := map[string]bool{}
	h := b.Holder(home, m)
	for _, channel := range []Channel{ChannelPortal, ChannelAPI} {
		for _, key := range b.Keys(b.Effective([]Holder{h}, home, channel)) {
			gives[key] = true
		}
	}
	for i := range b.roles {
		if h.roles.has(i) && h.signIn && home.entitlements.covers(b.roles[i].needs) {
			maps.Copy(gives, b.giftsOf(i, func(selector string) bool { return selector != "self" && selector != "hub" }))
		}
	}
	return gives
}

// gifts returns, by role, everything that a holder gets.
func (b *Blueprint) gifts() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for i := range b.roles {
		all[b.roles[i].key] = b.giftsOf(i, func(string) bool { return true })
	}
	return all
}

// giftsOf returns what a holder of the i-th role gets, permissions only where
// the selector counts.
func (b *Blueprint) giftsOf(i int, counts func(selector string) bool) map[string]bool {
	r := &b.roles[i]
	gives := map[string]bool{}
	if r.retired {
		return gives
	}
	for _, g := range r.grants {
		if !counts(g.selector) {
			continue
		}
		at := g.selector
		if g.actsAs != "" {
			at += " as " + g.actsAs
		}
		for _, key := range b.Keys(g.set) {
			gives[key+" at "+at] = true
		}
	}
	for op, operation := range b.operations {
		for _, target := range b.RoleKeys(b.administers[i][op]) {
			gives[operation+" over "+target] = true
		}
	}
	return gives
}

func union[V any](a, b map[string]V) map[string]V {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// missingFrom returns what other has and set lacks, sorted.
func missingFrom(set, other map[string]bool) []string {
	var missing []string
	for gift := range other {
		if !set[gift] {
			missing = append(missing, gift)
		}
	}
	slices.Sort(missing)
	return missing
}
