package authz

import "slices"

// A Reach is a way by which a role counts in tenants below the one in which it
// is held.
type Reach struct {
	Relation string
	Deep     bool // at all descendants; else at children, or the spokes of a star, only
}

// Reaches returns the ways by which any of the roles, or of those that everybody
// has, count below the tenant in which they are held. Where that gives a right
// is [Blueprint.Effective]'s to say.
func (b *Blueprint) Reaches(roles []string) []Reach {
	var reaches []Reach
	for _, key := range append(b.RoleKeys(b.implicit), roles...) {
		i, known := b.roleIndex[key]
		if !known || b.roles[i].retired {
			continue
		}
		for _, g := range b.roles[i].grants {
			if g.at.kind != selectChildren && g.at.kind != selectDescendants {
				continue
			}
			reach := Reach{Relation: b.doc.Tenants.Relations[g.at.relation].Key, Deep: g.at.kind == selectDescendants}
			if !slices.Contains(reaches, reach) {
				reaches = append(reaches, reach)
			}
		}
	}
	return reaches
}
