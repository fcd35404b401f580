package storage

import (
	"context"
	"math"
	"slices"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// standingRow is what Standings reads in one statement: one row for each role
// and group, or a single one with neither.
type standingRow struct {
	Person           userRow `gorm:"embedded"` // named: gorm passes over anonymous fields of private types
	TenantID         string
	Slug             string
	TenantName       string
	TenantStatus     string
	Blueprint        string
	BlueprintVersion int
	Policy           string
	MembershipID     string
	MembershipStatus string
	IsDefault        bool
	UserName         string
	Kind             string // role, resource, group or ''
	Value            string
	Resource         string
}

// standingsOf and standingsFrom answer for one user, by what picks the
// memberships in between. The groups are found by walking up from the membership;
// UNION ends cycles.
const (
	standingsOf = `/* across tenants: what one user is, wherever */
WITH RECURSIVE mine AS (SELECT m.tenant_id, m.id, m.user_id, m.status, m.is_default, m.user_name
	FROM memberships m JOIN tenants t ON t.id = m.tenant_id WHERE m.user_id = ?`
	standingsFrom = `),
up(tenant_id, membership_id, group_id) AS (
	SELECT gm.tenant_id, mine.id, gm.group_id FROM mine JOIN group_members gm ON gm.tenant_id = mine.tenant_id AND gm.member_id = mine.id
	UNION
	SELECT gm.tenant_id, up.membership_id, gm.group_id FROM up JOIN group_members gm ON gm.tenant_id = up.tenant_id AND gm.member_id = up.group_id),
facts(tenant_id, kind, value, resource) AS (
	SELECT a.tenant_id, CASE a.resource WHEN '' THEN 'role' ELSE 'resource' END, a.role, a.resource
	FROM mine JOIN assignments a ON a.tenant_id = mine.tenant_id AND a.membership_id = mine.id
	UNION SELECT gr.tenant_id, 'role', gr.role, '' FROM up JOIN group_roles gr ON gr.tenant_id = up.tenant_id AND gr.group_id = up.group_id
	UNION SELECT g.tenant_id, 'group', g.display_name, '' FROM up JOIN groups g ON g.tenant_id = up.tenant_id AND g.id = up.group_id)
SELECT u.*, t.id AS tenant_id, t.slug, t.name AS tenant_name, t.status AS tenant_status, t.blueprint, t.blueprint_version, t.policy,
	mine.id AS membership_id, mine.status AS membership_status, mine.is_default, mine.user_name,
	coalesce(f.kind, '') AS kind, coalesce(f.value, '') AS value, coalesce(f.resource, '') AS resource
FROM mine JOIN users u ON u.id = mine.user_id JOIN tenants t ON t.id = mine.tenant_id LEFT JOIN facts f ON f.tenant_id = mine.tenant_id
ORDER BY t.name, t.id, kind, value, resource`
)

// Standings implements directory.RightsStore.
func (s *Store) Standings(ctx context.Context, user id.User, skip, most int) ([]directory.Standing, error) {
	if most <= 0 {
		most = math.MaxInt32
	}
	return s.standings(s.conn(ctx).Raw(standingsOf+` ORDER BY t.name, t.id LIMIT ? OFFSET ?`+standingsFrom, user, most, skip))
}

// StandingsAbove implements directory.RightsStore.
func (s *Store) StandingsAbove(ctx context.Context, user id.User) ([]directory.Standing, error) {
	return s.standings(s.conn(ctx).Raw(standingsOf+` AND EXISTS (SELECT 1 FROM tenant_relations r WHERE r.parent_id = m.tenant_id)`+standingsFrom, user))
}

func (s *Store) standings(query *gorm.DB) ([]directory.Standing, error) {
	var rows []standingRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	found := []directory.Standing{}
	for _, row := range rows {
		last := len(found) - 1
		if last < 0 || string(found[last].Tenant) != row.TenantID {
			st := directory.Standing{
				Tenant: id.Tenant(row.TenantID), Home: id.Tenant(row.TenantID), Slug: row.Slug, TenantName: row.TenantName, TenantStatus: row.TenantStatus,
				Blueprint: row.Blueprint, BlueprintVersion: row.BlueprintVersion, User: row.Person.user(), Membership: id.Membership(row.MembershipID),
				Status: directory.Status(row.MembershipStatus), Default: row.IsDefault, UserName: row.UserName,
				Roles: []string{}, Groups: []string{},
			}
			if err := decode(row.Policy, &st.Policy); err != nil {
				return nil, err
			}
			found, last = append(found, st), last+1
		}
		switch row.Kind {
		case "role":
			found[last].Roles = append(found[last].Roles, row.Value)
		case "resource":
			found[last].Resources = append(found[last].Resources, authz.ResourceRole{Role: row.Value, Resource: row.Resource})
		case "group":
			found[last].Groups = append(found[last].Groups, row.Value)
		}
	}
	for i := range found { // a database may sort by another collation
		slices.Sort(found[i].Roles)
		slices.Sort(found[i].Groups)
	}
	return found, nil
}
