package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// TenantsOn implements directory.UpgradeStore.
func (s *Store) TenantsOn(ctx context.Context, blueprint string) ([]id.Tenant, error) {
	var tenants []id.Tenant
	err := s.conn(ctx).Raw(`SELECT id FROM tenants WHERE blueprint = ? ORDER BY id`, blueprint).Scan(&tenants).Error
	return tenants, classify(err, "")
}

// LockTenantsOn implements directory.UpgradeStore. They are locked one after
// the other in the order of their ids. Nobody joins them meanwhile, as the
// blueprint is locked.
func (s *Store) LockTenantsOn(ctx context.Context, blueprint string) ([]id.Tenant, error) {
	if !s.sqlite {
		err := s.conn(ctx).Exec(`SELECT pg_advisory_xact_lock(`+tenantKey+`) FROM (SELECT id FROM tenants WHERE blueprint = ? ORDER BY id OFFSET 0) t`, blueprint).Error
		if err != nil {
			return nil, classify(err, "")
		}
	}
	return s.TenantsOn(ctx, blueprint)
}

// MoveTenants implements directory.UpgradeStore.
func (s *Store) MoveTenants(ctx context.Context, blueprint string, version int, now time.Time) error {
	return classify(s.conn(ctx).Exec(`UPDATE tenants SET blueprint_version = ?, version = version + 1, modified_at = ? WHERE blueprint = ?`,
		version, at(now), blueprint).Error, "")
}

// MembersWithRoles implements directory.UpgradeStore. It walks from the mapped groups
// down to their members and then reads each membership once.
func (s *Store) MembersWithRoles(ctx context.Context, tenant id.Tenant) ([]directory.MemberRoles, error) {
	var rows []struct {
		UserName string
		Status   string
		Disabled bool
		Role     string
		Resource string
		Priority int
		Source   string
		ID       string
	}
	err := s.conn(ctx).Raw(`WITH RECURSIVE down(role, priority, group_id) AS (
		SELECT gr.role, gr.priority, gr.group_id FROM group_roles gr WHERE gr.tenant_id = ? AND gr.group_id IS NOT NULL
		UNION
		SELECT down.role, down.priority, gm.member_id FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
		held(membership_id, role, resource, priority) AS (
		SELECT a.membership_id, a.role, a.resource, 0 FROM assignments a WHERE a.tenant_id = ?
		UNION
		SELECT gm.member_id, down.role, '', down.priority FROM down JOIN group_members gm ON gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'user')
		SELECT m.id, m.user_name, m.status, m.source, u.disabled, coalesce(h.role, '') AS role, coalesce(h.resource, '') AS resource, coalesce(h.priority, 0) AS priority
		FROM memberships m JOIN users u ON u.id = m.user_id LEFT JOIN held h ON h.membership_id = m.id
		WHERE m.tenant_id = ? ORDER BY m.user_name_key, m.id, 6, 7, 8`, tenant, tenant, tenant, tenant, tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var holders []directory.MemberRoles
	last := ""
	for i, row := range rows {
		if i == 0 || row.ID != last {
			holders = append(holders, directory.MemberRoles{Name: row.UserName, Status: directory.Status(row.Status), Disabled: row.Disabled, Source: directory.Source(row.Source)})
			last = row.ID
		}
		if row.Role != "" {
			h := &holders[len(holders)-1]
			h.Roles = append(h.Roles, directory.RoleHolding{Role: row.Role, Resource: row.Resource, Priority: row.Priority})
		}
	}
	return holders, nil
}

// MoveRole implements directory.UpgradeStore.
func (s *Store) MoveRole(ctx context.Context, tenant id.Tenant, role, replacement string) error {
	db := s.conn(ctx)
	if replacement != "" {
		for _, statement := range []string{
			`INSERT INTO assignments (tenant_id, membership_id, role, resource, source, comment, created_at)
				SELECT tenant_id, membership_id, ?, resource, source, comment, created_at FROM assignments WHERE tenant_id = ? AND role = ? ON CONFLICT DO NOTHING`,
			`INSERT INTO group_roles (tenant_id, group_name, group_name_key, group_id, role, priority, created_at)
				SELECT tenant_id, group_name, group_name_key, group_id, ?, priority, created_at FROM group_roles WHERE tenant_id = ? AND role = ? ON CONFLICT DO NOTHING`,
		} {
			if err := db.Exec(statement, replacement, tenant, role).Error; err != nil {
				return classify(err, "")
			}
		}
	}
	if err := db.Exec(`UPDATE tenants SET default_role = ? WHERE id = ? AND default_role = ?`, replacement, tenant, role).Error; err != nil {
		return classify(err, "")
	}
	for _, statement := range []string{`DELETE FROM assignments WHERE tenant_id = ? AND role = ?`, `DELETE FROM group_roles WHERE tenant_id = ? AND role = ?`} {
		if err := db.Exec(statement, tenant, role).Error; err != nil {
			return classify(err, "")
		}
	}
	return nil
}

// ServiceAccounts implements directory.UpgradeStore.
func (s *Store) ServiceAccounts(ctx context.Context, tenant id.Tenant) ([]directory.ServiceAccount, error) {
	var rows []struct{ ClientID, Name, Roles string }
	err := s.locked(ctx).Table("applications").Select("client_id", "name", "roles").
		Where("owner_id = ? AND type = ?", tenant, oidc.Machine).Order("client_id").Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var accounts []directory.ServiceAccount
	for _, row := range rows {
		account := directory.ServiceAccount{Tenant: tenant, Application: row.ClientID, Name: row.Name}
		if err := decode(row.Roles, &account.Roles); err != nil {
			return nil, err
		}
		accounts = append(accounts, account)
	}
	return accounts, nil
}

// TokenLists implements directory.UpgradeStore.
func (s *Store) TokenLists(ctx context.Context, tenant id.Tenant) ([]directory.TokenList, error) {
	var rows []struct{ Name, Permissions string }
	err := s.conn(ctx).Raw(`SELECT name, permissions FROM application_tokens
		WHERE tenant_id = ? AND revoked_at IS NULL AND permissions <> '' ORDER BY name`, tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var lists []directory.TokenList
	for _, row := range rows {
		list := directory.TokenList{Token: row.Name}
		if err := decode(row.Permissions, &list.Permissions); err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// SetServiceRoles implements directory.UpgradeStore.
func (s *Store) SetServiceRoles(ctx context.Context, tenant id.Tenant, account directory.ServiceAccount, now time.Time) error {
	roles, err := encode(account.Roles)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`UPDATE applications SET roles = ?, modified_at = ? WHERE owner_id = ? AND client_id = ?`,
		roles, at(now), tenant, account.Application).Error, "")
}
