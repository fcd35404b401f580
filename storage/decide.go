package storage

import (
	"context"
	"database/sql"
	"strings"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// What a decision reads, in one statement: the tenants in question with their
// versions, the person, and what the person holds in each of them. There is one
// row for each role and group, or a single one with neither. The groups are
// found by walking up from the membership; UNION ends cycles.
const (
	heldMine = `/* across tenants: a decision looks at one tenant and at those above it */
WITH RECURSIVE mine AS (SELECT tenant_id, id, status, is_default, user_name FROM memberships WHERE user_id = `
	heldFacts = `),
up(tenant_id, membership_id, group_id) AS (
	SELECT gm.tenant_id, mine.id, gm.group_id FROM mine JOIN group_members gm ON gm.tenant_id = mine.tenant_id AND gm.member_id = mine.id
	UNION
	SELECT gm.tenant_id, up.membership_id, gm.group_id FROM up JOIN group_members gm ON gm.tenant_id = up.tenant_id AND gm.member_id = up.group_id),
facts(tenant_id, source, role, resource, group_name) AS (
	SELECT a.tenant_id, a.source, a.role, a.resource, '' FROM mine JOIN assignments a ON a.tenant_id = mine.tenant_id AND a.membership_id = mine.id
	UNION ALL
	SELECT g.tenant_id, 'group', coalesce(gr.role, ''), '', g.display_name FROM up JOIN groups g ON g.tenant_id = up.tenant_id AND g.id = up.group_id
	LEFT JOIN group_roles gr ON gr.tenant_id = g.tenant_id AND gr.group_id = g.id)
SELECT t.id, t.version, u.id, u.email, u.email_verified, u.given_name, u.family_name, u.display_name, u.locale, u.operator, u.disabled,
	u.version, u.created_at, u.modified_at, mine.id, mine.status, mine.is_default, mine.user_name, f.source, f.role, f.resource, f.group_name
FROM tenants t LEFT JOIN mine ON mine.tenant_id = t.id LEFT JOIN facts f ON f.tenant_id = mine.tenant_id LEFT JOIN users u ON u.`
	heldVersions = `SELECT id, version FROM tenants WHERE id IN (`
)

// Held implements directory.RightsStore. It runs with every decision.
func (s *Store) Held(ctx context.Context, who directory.Bearer, tenants []id.Tenant) (*directory.Held, error) {
	_, inTx := ctx.Value(txKey{}).(*gorm.DB)
	held := &directory.Held{Settled: !inTx, In: make([]directory.HeldIn, 0, len(tenants))}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(tenants)), ", ") + ")"
	ids := make([]any, len(tenants))
	for i, tenant := range tenants {
		ids[i] = string(tenant)
	}
	switch {
	case who.User != "":
		query := heldMine + `? AND tenant_id IN (` + marks + heldFacts + `id = ? WHERE t.id IN (` + marks
		return held, s.held(ctx, held, query, string(who.User), ids)
	case who.Email != "":
		query := heldMine + `(SELECT id FROM users WHERE email_key = ?) AND tenant_id IN (` + marks + heldFacts + `email_key = ? WHERE t.id IN (` + marks
		return held, s.held(ctx, held, query, schema.Fold(who.Email), ids)
	default:
		return held, s.query(ctx, func(rows *sql.Rows) error {
			var h directory.HeldIn
			if err := rows.Scan(&h.Tenant, &h.Version); err != nil {
				return err
			}
			held.In = append(held.In, h)
			return nil
		}, heldVersions+marks, ids...)
	}
}

func (s *Store) held(ctx context.Context, held *directory.Held, query, person string, tenants []any) error {
	args := make([]any, 0, 2+2*len(tenants))
	args = append(append(append(append(args, person), tenants...), person), tenants...)
	return s.query(ctx, func(rows *sql.Rows) error {
		var r heldRow
		if err := r.scan(rows); err != nil {
			return err
		}
		r.addTo(held)
		return nil
	}, query, args...)
}

// heldRow is one row of what heldFacts selects.
type heldRow struct {
	tenant  string
	version int64

	user, email, given, family, display, locale sql.NullString
	verified, operator, disabled                sql.NullBool
	userVersion                                 sql.NullInt64
	created, modified                           sql.NullTime

	membership, status, userName  sql.NullString
	isDefault                     sql.NullBool
	source, role, resource, group sql.NullString
}

func (r *heldRow) scan(rows *sql.Rows) error {
	return rows.Scan(&r.tenant, &r.version, &r.user, &r.email, &r.verified, &r.given, &r.family, &r.display, &r.locale, &r.operator, &r.disabled,
		&r.userVersion, &r.created, &r.modified, &r.membership, &r.status, &r.isDefault, &r.userName, &r.source, &r.role, &r.resource, &r.group)
}

func (r *heldRow) addTo(held *directory.Held) {
	if held.User == nil && r.user.Valid {
		held.User = &directory.User{
			ID: id.User(r.user.String), Email: r.email.String, EmailVerified: r.verified.Bool,
			Name:   directory.Name{Given: r.given.String, Family: r.family.String, Display: r.display.String},
			Locale: r.locale.String, Operator: r.operator.Bool, Disabled: r.disabled.Bool, Version: r.userVersion.Int64,
			Created: r.created.Time.UTC(), Modified: r.modified.Time.UTC(),
		}
	}
	h := held.At(id.Tenant(r.tenant))
	if h == nil {
		held.In = append(held.In, directory.HeldIn{
			Tenant: id.Tenant(r.tenant), Version: r.version, Membership: id.Membership(r.membership.String),
			Status: directory.Status(r.status.String), Default: r.isDefault.Bool, UserName: r.userName.String,
		})
		h = &held.In[len(held.In)-1]
	}
	if r.source.Valid {
		h.Add(directory.AssignmentSource(r.source.String), r.role.String, r.resource.String, r.group.String)
	}
}

// Reached implements directory.RightsStore.
func (s *Store) Reached(ctx context.Context, user id.User, from []directory.Reaching, most int) ([]id.Tenant, error) {
	if len(from) == 0 {
		return nil, nil
	}
	seeds := strings.TrimSuffix(strings.Repeat("(CAST(? AS text), CAST(? AS text), CAST(? AS integer)), ", len(from)), ", ")
	args := make([]any, 0, 3*len(from)+2)
	for _, f := range from {
		deep := 0
		if f.Deep {
			deep = 1
		}
		args = append(args, string(f.Tenant), f.Relation, deep)
	}
	var below []id.Tenant
	err := s.query(ctx, func(rows *sql.Rows) error {
		var tenant, name string
		if err := rows.Scan(&tenant, &name); err != nil {
			return err
		}
		below = append(below, id.Tenant(tenant))
		return nil
	}, `/* across tenants: what lies below the tenants in which somebody's roles reach on */
WITH RECURSIVE seed(parent_id, relation, deep) AS (VALUES `+seeds+`),
below(tenant_id, relation, deep) AS (
	SELECT r.tenant_id, r.relation, seed.deep FROM seed JOIN tenant_relations r ON r.parent_id = seed.parent_id AND r.relation = seed.relation
	UNION
	SELECT r.tenant_id, r.relation, below.deep FROM below JOIN tenant_relations r ON r.parent_id = below.tenant_id AND r.relation = below.relation WHERE below.deep = 1)
SELECT DISTINCT t.id, t.name FROM below JOIN tenants t ON t.id = below.tenant_id
WHERE NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = ? AND m.tenant_id = t.id) ORDER BY t.name, t.id LIMIT ?`,
		append(args, string(user), most)...)
	return below, err
}
