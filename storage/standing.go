package storage

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// standings picks one user's memberships with their tenants; those of oldest are
// by age, and only those that are asked for are looked at further.
const (
	standingColumns = `/* across tenants: what one user is, wherever */
	SELECT t.id, t.slug, t.name, t.status, t.blueprint, t.blueprint_version, t.policy, m.id, m.status, coalesce(m.tenant_id = u.default_tenant_id, false), m.user_name
	FROM `
	standings        = standingColumns + `memberships m JOIN tenants t ON t.id = m.tenant_id JOIN users u ON u.id = m.user_id WHERE m.user_id = ?`
	oldest           = standingColumns + `(SELECT tenant_id, id, user_id, status, user_name FROM memberships WHERE user_id = ? ORDER BY tenant_id`
	standingOfOldest = `) m JOIN tenants t ON t.id = m.tenant_id JOIN users u ON u.id = m.user_id ORDER BY m.tenant_id`
)

// Standings implements directory.RightsStore. The names are compared byte by
// byte, as directory does: by a language's rules a thousand names take longer
// than all the rest.
func (s *Store) Standings(ctx context.Context, user id.User, find directory.Find) ([]directory.Standing, error) {
	condition, args := s.found(find)
	order := ` ORDER BY t.name COLLATE "C", t.id`
	if s.sqlite {
		order = ` ORDER BY t.name, t.id`
	}
	part, bounds := page(find)
	if find.ByAge && find.Text == "" { // as the index on a user's memberships has them
		return s.standings(ctx, oldest+part+standingOfOldest, append([]any{string(user)}, bounds...)...)
	}
	if find.ByAge {
		order = ` ORDER BY m.tenant_id`
	}
	return s.standings(ctx, standings+condition+order+part, append(append([]any{string(user)}, args...), bounds...)...)
}

// page returns the part of a list that is asked for. PostgreSQL plans anew each
// time how to read a number of rows that it isn't told, as it expects a tenth of
// all: the first page, which is asked for most, says it.
func page(find directory.Find) (part string, args []any) {
	switch {
	case find.Skip == 0 && find.Most <= 0:
		return "", nil
	case find.Skip == 0:
		return fmt.Sprintf(" LIMIT %d", find.Most), nil
	case find.Most <= 0:
		return " LIMIT ? OFFSET ?", []any{math.MaxInt32, find.Skip}
	default:
		return " LIMIT ? OFFSET ?", []any{find.Most, find.Skip}
	}
}

// found returns the condition by which a tenant t is one that is looked for, and
// its values. SQLite knows the case of the letters of ASCII alone.
func (s *Store) found(find directory.Find) (condition string, args []any) {
	if find.Text != "" {
		condition = ` AND (lower(t.name) LIKE lower(?) ESCAPE '\' OR t.slug LIKE lower(?) ESCAPE '\')`
		pattern := "%" + literally(find.Text) + "%"
		args = append(args, pattern, pattern)
	}
	return condition, args
}

// literally takes the meaning from what is special to LIKE.
func literally(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

// RoleSystemsOf implements directory.RightsStore.
func (s *Store) RoleSystemsOf(ctx context.Context, email string) ([]directory.RoleSystem, error) {
	systems := []directory.RoleSystem{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var system directory.RoleSystem
		err := rows.Scan(&system.Blueprint, &system.Version)
		systems = append(systems, system)
		return err
	}, `/* across tenants: what is asked of one person's sign-in */ SELECT DISTINCT t.blueprint, t.blueprint_version
		FROM users u JOIN memberships m ON m.user_id = u.id JOIN tenants t ON t.id = m.tenant_id WHERE u.email_key = ?`, directory.Fold(email))
	return systems, err
}

// StandingsAbove implements directory.RightsStore.
func (s *Store) StandingsAbove(ctx context.Context, user id.User) ([]directory.Standing, error) {
	return s.standings(ctx, standings+` AND EXISTS (SELECT 1 FROM tenant_relations r WHERE r.parent_id = m.tenant_id)`, string(user))
}

// StandingsLimitingSessions implements directory.RightsStore. The policy is searched
// as text for the names of its members: what else has them in it does no harm.
func (s *Store) StandingsLimitingSessions(ctx context.Context, user id.User) ([]directory.Standing, error) {
	return s.standings(ctx, standings+` AND t.policy LIKE '%"session_%'`, string(user))
}

func (s *Store) standings(ctx context.Context, query string, args ...any) ([]directory.Standing, error) {
	found := []directory.Standing{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var st directory.Standing
		var policy string
		err := rows.Scan(&st.Tenant, &st.Slug, &st.TenantName, &st.TenantStatus, &st.Blueprint, &st.BlueprintVersion, &policy,
			&st.Membership, &st.Status, &st.Default, &st.UserName)
		if err != nil {
			return err
		}
		st.Home = st.Tenant
		found = append(found, st)
		return decode(policy, &found[len(found)-1].Policy)
	}, query, args...)
	return found, err
}
