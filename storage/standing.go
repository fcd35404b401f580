package storage

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// standingRow is what Standing reads in one statement: one row for each role
// and group, or a single one with neither.
type standingRow struct {
	Person           userRow `gorm:"embedded"` // named: gorm passes over anonymous fields of private types
	TenantID         string
	Slug             string
	TenantName       string
	TenantStatus     string
	Blueprint        string
	Policy           string
	MembershipID     string
	MembershipStatus string
	IsDefault        bool
	UserName         string
	Kind             string // role, group or ''
	Value            string
}

// standings answers for one user: in all tenants, or in one. The groups are
// found by walking up from the membership; UNION ends cycles.
const standings = `/* across tenants: what one user is, wherever */
WITH RECURSIVE mine AS (SELECT * FROM memberships WHERE user_id = ? AND (tenant_id = ? OR ? = '')),
up(tenant_id, membership_id, group_id) AS (
	SELECT gm.tenant_id, mine.id, gm.group_id FROM mine JOIN group_members gm ON gm.tenant_id = mine.tenant_id AND gm.member_id = mine.id
	UNION
	SELECT gm.tenant_id, up.membership_id, gm.group_id FROM up JOIN group_members gm ON gm.tenant_id = up.tenant_id AND gm.member_id = up.group_id),
facts(tenant_id, kind, value) AS (
	SELECT a.tenant_id, 'role', a.role FROM mine JOIN assignments a ON a.tenant_id = mine.tenant_id AND a.membership_id = mine.id AND a.resource = ''
	UNION SELECT gr.tenant_id, 'role', gr.role FROM up JOIN group_roles gr ON gr.tenant_id = up.tenant_id AND gr.group_id = up.group_id
	UNION SELECT g.tenant_id, 'group', g.display_name FROM up JOIN groups g ON g.tenant_id = up.tenant_id AND g.id = up.group_id)
SELECT u.*, t.id AS tenant_id, t.slug, t.name AS tenant_name, t.status AS tenant_status, t.blueprint, t.policy,
	mine.id AS membership_id, mine.status AS membership_status, mine.is_default, mine.user_name,
	coalesce(f.kind, '') AS kind, coalesce(f.value, '') AS value
FROM mine JOIN users u ON u.id = mine.user_id JOIN tenants t ON t.id = mine.tenant_id LEFT JOIN facts f ON f.tenant_id = mine.tenant_id
ORDER BY t.name, t.id, kind, value`

// Standing implements directory.RoleStore.
func (s *Store) Standing(ctx context.Context, tenant id.Tenant, user id.User) (*directory.Standing, error) {
	found, err := s.standings(ctx, tenant, user)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &found[0], nil
}

// Standings implements directory.RoleStore.
func (s *Store) Standings(ctx context.Context, user id.User) ([]directory.Standing, error) {
	return s.standings(ctx, "", user)
}

func (s *Store) standings(ctx context.Context, tenant id.Tenant, user id.User) ([]directory.Standing, error) {
	var rows []standingRow
	if err := s.conn(ctx).Raw(standings, user, tenant, tenant).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	found := []directory.Standing{}
	for _, row := range rows {
		last := len(found) - 1
		if last < 0 || string(found[last].Tenant) != row.TenantID {
			st := directory.Standing{
				Tenant: id.Tenant(row.TenantID), Slug: row.Slug, TenantName: row.TenantName, TenantStatus: row.TenantStatus,
				Blueprint: row.Blueprint, User: row.Person.user(), Membership: id.Membership(row.MembershipID),
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
