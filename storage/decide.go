package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// What decisions read, in one statement: for each question the tenants that it
// names with their versions, the person, and what the person holds in each of
// them. Roles and groups come as JSON, because each look-up has to go by its
// index whatever PostgreSQL takes for the usual size of a tenant. The groups are
// found by walking up from the membership; UNION ends cycles.
const (
	heldColumns = `/* across tenants: a decision looks at one tenant and at those above it */
SELECT t.id, t.version, u.id, u.email, u.email_verified, u.given_name, u.family_name, u.display_name, u.locale, u.operator, u.disabled,
	u.version, u.created_at, u.modified_at, t.default_role, m.source, m.id, m.status, m.tenant_id = u.default_tenant_id, m.user_name, m.second_factor,
	CAST((SELECT json_agg(json_build_array(a.source, a.role, a.resource)) FROM assignments a
		WHERE a.tenant_id = m.tenant_id AND a.membership_id = m.id) AS text),
	CAST((WITH RECURSIVE up(group_id) AS (
			SELECT gm.group_id FROM group_members gm WHERE gm.tenant_id = m.tenant_id AND gm.member_id = m.id
			UNION
			SELECT gm.group_id FROM up {groups above})
		SELECT json_agg(json_build_array(g.display_name, coalesce(gr.role, ''), coalesce(gr.priority, 0))) FROM up {group} {its roles}) AS text), asked.n
FROM `
	// On PostgreSQL a LIMIT keeps each look-up one by its index: it takes every
	// list of questions for a long one, and would read whole tables for it.
	heldPostgres = `
JOIN LATERAL (SELECT id, version, default_role FROM tenants WHERE id = asked.tenant_id LIMIT 1) t ON true
LEFT JOIN LATERAL (SELECT * FROM users WHERE %s = asked.person LIMIT 1) u ON true
LEFT JOIN LATERAL (SELECT tenant_id, id, source, status, user_name, second_factor FROM memberships WHERE user_id = u.id AND tenant_id = t.id LIMIT 1) m ON true`
	askedMany = `json_to_recordset(CAST($1 AS json)) AS asked(n integer, person text, tenant_id text)`
	// A single question, as each change of a member asks it, is spared the list.
	askedAlone = `(SELECT 0 AS n, CAST(? AS text) AS person, CAST(? AS text) AS tenant_id) asked`
	heldSQLite = `(SELECT value ->> 'n' AS n, value ->> 'person' AS person, value ->> 'tenant_id' AS tenant_id FROM json_each(?)) asked
JOIN tenants t ON t.id = asked.tenant_id LEFT JOIN users u ON u.%s = asked.person
LEFT JOIN memberships m ON m.user_id = u.id AND m.tenant_id = t.id`
)

// heldStatements are for persons whom a column of users names: id or email_key.
// asked is where PostgreSQL finds the questions.
func (s *Store) heldStatements(asked string) map[string]string {
	from, names := asked+heldPostgres, []string{
		"{groups above}", s.lookUps("", "group_members gm", "gm.tenant_id = m.tenant_id AND gm.member_id = up.group_id"),
		"{group}", s.lookUps("", "groups g", "g.tenant_id = m.tenant_id AND g.id = up.group_id"),
		"{its roles}", s.lookUps("LEFT", "group_roles gr", "gr.tenant_id = m.tenant_id AND gr.group_id = up.group_id"),
	}
	if s.sqlite {
		from, names = heldSQLite, append(names, "json_agg(", "json_group_array(", "json_build_array(", "json_array(")
	}
	statements := map[string]string{}
	for _, column := range []string{"id", "email_key"} {
		statements[column] = strings.NewReplacer(names...).Replace(heldColumns + fmt.Sprintf(from, column))
	}
	return statements
}

// A heldQuestion is what one caller of Held wants to know.
type heldQuestion struct {
	by      string // the statement
	person  string // identifier, or folded address
	tenants []id.Tenant
	held    directory.Held
}

func (q *heldQuestion) statement() string { return q.by }

func (q *heldQuestion) asked(n int) []any {
	type in struct {
		N      int       `json:"n"`
		Person string    `json:"person"`
		Tenant id.Tenant `json:"tenant_id"`
	}
	all := make([]any, len(q.tenants))
	for i, tenant := range q.tenants {
		all[i] = in{n, q.person, tenant}
	}
	return all
}

// read takes over a row of heldColumns.
func (q *heldQuestion) read(row scanner) error {
	var r heldRow
	if err := r.scan(row); err != nil {
		return err
	}
	return r.addTo(&q.held)
}

// Held implements directory.RightsStore. It runs with every decision.
func (s *Store) Held(ctx context.Context, who directory.Bearer, tenants []id.Tenant) (*directory.Held, error) {
	_, inTx := ctx.Value(txKey{}).(*gorm.DB)
	column, person := "id", string(who.User)
	if who.Email != "" {
		column, person = "email_key", schema.Fold(who.Email)
	}
	q := &heldQuestion{by: s.heldBy[column], person: person, tenants: tenants}
	q.held.Settled = !inTx
	q.held.In = make([]directory.HeldIn, 0, len(tenants))
	if s.together(ctx, person) {
		return &q.held, s.questions.ask(ctx, q)
	}
	read := func(rows *sql.Rows) error { return q.read(rows) }
	if len(tenants) == 1 && !s.sqlite {
		return &q.held, s.query(ctx, read, s.heldAlone[column], q.person, string(tenants[0]))
	}
	asked, err := encode(q.asked(0))
	if err != nil {
		return nil, err
	}
	return &q.held, s.query(ctx, read, q.by, asked)
}

// heldGroup is a group that a member is in, with one of its mappings.
type heldGroup struct {
	name, role string
	priority   int
}

// UnmarshalJSON implements json.Unmarshaler.
func (g *heldGroup) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&g.name, &g.role, &g.priority})
}

// heldRow is one row of heldColumns.
type heldRow struct {
	tenant  string
	version int64

	user, email, given, family, display, locale sql.NullString
	verified, operator, disabled                sql.NullBool
	userVersion                                 sql.NullInt64
	created, modified                           sql.NullTime

	fallback                             string
	source, membership, status, userName sql.NullString
	isDefault, secondFactor              sql.NullBool
	roles, groups                        sql.NullString

	question int32
}

func (r *heldRow) scan(row scanner) error {
	return row.Scan(&r.tenant, &r.version, &r.user, &r.email, &r.verified, &r.given, &r.family, &r.display, &r.locale, &r.operator, &r.disabled,
		&r.userVersion, &r.created, &r.modified, &r.fallback, &r.source, &r.membership, &r.status, &r.isDefault, &r.userName, &r.secondFactor, &r.roles, &r.groups, &r.question)
}

func (r *heldRow) addTo(held *directory.Held) error {
	if held.User == nil && r.user.Valid {
		held.User = &directory.User{
			ID: id.User(r.user.String), Email: r.email.String, EmailVerified: r.verified.Bool,
			Name:   directory.Name{Given: r.given.String, Family: r.family.String, Display: r.display.String},
			Locale: r.locale.String, Operator: r.operator.Bool, Disabled: r.disabled.Bool, Version: r.userVersion.Int64,
			Created: r.created.Time.UTC(), Modified: r.modified.Time.UTC(),
		}
	}
	h := directory.HeldIn{
		Tenant: id.Tenant(r.tenant), Version: r.version, Membership: id.Membership(r.membership.String),
		Status: directory.Status(r.status.String), Default: r.isDefault.Bool, UserName: r.userName.String, SecondFactor: r.secondFactor.Bool,
		Pushed: directory.Source(r.source.String) == directory.SourceSCIM, Fallback: r.fallback,
	}
	if r.roles.Valid {
		var roles [][3]string
		if err := decode(r.roles.String, &roles); err != nil {
			return err
		}
		for _, role := range roles {
			h.AddRole(directory.AssignmentSource(role[0]), role[1], role[2])
		}
	}
	if r.groups.Valid {
		var groups []heldGroup
		if err := decode(r.groups.String, &groups); err != nil {
			return err
		}
		for _, group := range groups {
			h.AddGroup(group.name, group.role, group.priority)
		}
	}
	held.In = append(held.In, h)
	return nil
}

// What lies below the tenants of seed. Few role systems reach further than one
// step, and a partner's ten thousand customers cost less without recursion.
const (
	directlyBelow = `below(tenant_id) AS (
	SELECT r.tenant_id FROM seed JOIN tenant_relations r ON r.parent_id = seed.parent_id AND r.relation = seed.relation)`
	anyBelow = `below(tenant_id, relation, deep) AS (
	SELECT r.tenant_id, r.relation, seed.deep FROM seed JOIN tenant_relations r ON r.parent_id = seed.parent_id AND r.relation = seed.relation
	UNION
	SELECT r.tenant_id, r.relation, below.deep FROM below JOIN tenant_relations r ON r.parent_id = below.tenant_id AND r.relation = below.relation WHERE below.deep = 1)`
)

// Reached implements directory.RightsStore.
func (s *Store) Reached(ctx context.Context, user id.User, from []directory.Reaching, find directory.Find) ([]id.Tenant, error) {
	if len(from) == 0 {
		return nil, nil
	}
	seeds := strings.TrimSuffix(strings.Repeat("(CAST(? AS text), CAST(? AS text), CAST(? AS integer)), ", len(from)), ", ")
	condition, wanted := s.found(find)
	part, bounds := page(find)
	ordered := `t.name COLLATE "C"`
	if s.sqlite {
		ordered = "t.name"
	}
	args := make([]any, 0, 3*len(from)+5)
	below := directlyBelow
	for _, f := range from {
		deep := 0
		if f.Deep {
			deep, below = 1, anyBelow
		}
		args = append(args, string(f.Tenant), f.Relation, deep)
	}
	var found []id.Tenant
	err := s.query(ctx, func(rows *sql.Rows) error {
		var tenant, name string
		if err := rows.Scan(&tenant, &name); err != nil {
			return err
		}
		found = append(found, id.Tenant(tenant))
		return nil
	}, `/* across tenants: what lies below the tenants in which somebody's roles reach on */
WITH RECURSIVE seed(parent_id, relation, deep) AS (VALUES `+seeds+`), `+below+`
SELECT t.id, `+ordered+` FROM tenants t WHERE t.id IN (SELECT tenant_id FROM below)
AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = ? AND m.tenant_id = t.id)`+condition+` ORDER BY 2, 1`+part,
		append(append(append(args, string(user)), wanted...), bounds...)...)
	return found, err
}
