package storage

import (
	"context"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// relationsLock is the key of the advisory lock behind LockRelations.
const relationsLock = 0x726f6c6563616c6c // "rolecall"

// LockRelations implements directory.RelationStore. On SQLite the transaction
// itself is the lock.
func (s *Store) LockRelations(ctx context.Context) error {
	if s.sqlite {
		return nil
	}
	return classify(s.conn(ctx).Exec(`SELECT pg_advisory_xact_lock(?)`, relationsLock).Error, "")
}

// LockTenants implements directory.RelationStore.
func (s *Store) LockTenants(ctx context.Context, tenants []id.Tenant) error {
	if s.sqlite || len(tenants) == 0 {
		return nil
	}
	return classify(s.conn(ctx).Exec(`SELECT pg_advisory_xact_lock(`+tenantKey+`) FROM (SELECT id FROM tenants WHERE id IN ? ORDER BY id OFFSET 0) t`, tenants).Error, "")
}

// TenantsBelow implements directory.RelationStore.
func (s *Store) TenantsBelow(ctx context.Context, tenant id.Tenant) ([]id.Tenant, error) {
	var below []id.Tenant
	err := s.conn(ctx).Raw(`/* across tenants: the tenants below one */
		WITH RECURSIVE below(id) AS (
		SELECT tenant_id FROM tenant_relations WHERE parent_id = ?
		UNION
		SELECT r.tenant_id FROM below JOIN tenant_relations r ON r.parent_id = below.id)
		SELECT id FROM below WHERE id <> ? ORDER BY id`, tenant, tenant).Scan(&below).Error
	return below, classify(err, "")
}

// TenantsAbove implements directory.RelationStore. A path stays in its relation.
func (s *Store) TenantsAbove(ctx context.Context, tenant id.Tenant) ([]id.Tenant, error) {
	var above []id.Tenant
	err := s.conn(ctx).Raw(`/* across tenants: the tenants above one */
		WITH RECURSIVE above(id, relation) AS (
		SELECT parent_id, relation FROM tenant_relations WHERE tenant_id = ?
		UNION
		SELECT r.parent_id, r.relation FROM above JOIN tenant_relations r ON r.tenant_id = above.id AND r.relation = above.relation)
		SELECT DISTINCT id FROM above ORDER BY id`, tenant).Scan(&above).Error
	return above, classify(err, "")
}

// Height implements directory.RelationStore.
func (s *Store) Height(ctx context.Context, tenant id.Tenant, relation string) (int, error) {
	height := 0
	err := s.conn(ctx).Raw(`/* across tenants: the tenants below one */
		WITH RECURSIVE below(id, level) AS (
		SELECT tenant_id, 1 FROM tenant_relations WHERE parent_id = ? AND relation = ?
		UNION
		SELECT r.tenant_id, below.level + 1 FROM below JOIN tenant_relations r ON r.parent_id = below.id AND r.relation = ?)
		SELECT coalesce(max(level), 0) FROM below`, tenant, relation, relation).Scan(&height).Error
	return height, classify(err, "")
}

// Children implements directory.RelationStore.
func (s *Store) Children(ctx context.Context, tenant id.Tenant) ([]directory.Child, error) {
	var children []directory.Child
	err := s.conn(ctx).Raw(`/* across tenants: the tenants below one */
		SELECT t.id, t.slug, t.name, t.type, t.tier, t.status, r.relation
		FROM tenant_relations r JOIN tenants t ON t.id = r.tenant_id WHERE r.parent_id = ? ORDER BY t.slug, r.relation`, tenant).Scan(&children).Error
	return children, classify(err, "")
}

// DelegatedBy implements directory.RelationStore.
func (s *Store) DelegatedBy(ctx context.Context, tenant id.Tenant, key string) ([]id.Tenant, error) {
	var holders []id.Tenant
	err := s.conn(ctx).Raw(`/* across tenants: who has something from one tenant */
		SELECT tenant_id FROM tenant_entitlements WHERE giver_id = ? AND key = ? ORDER BY tenant_id`, tenant, key).Scan(&holders).Error
	return holders, classify(err, "")
}

// AdvanceVersions implements directory.RelationStore.
func (s *Store) AdvanceVersions(ctx context.Context, tenants []id.Tenant) error {
	if len(tenants) == 0 {
		return nil
	}
	return classify(s.conn(ctx).Exec(`UPDATE tenants SET version = version + 1 WHERE id IN ?`, tenants).Error, "")
}
