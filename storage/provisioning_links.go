package storage

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/outbound"
	"github.com/rolecall/rolecall/scim/schema"
)

// provisioningLinkRow is a row of the table provisioning_links.
type provisioningLinkRow struct {
	TenantID      string
	TargetID      string
	Kind          string
	ResourceID    string
	RemoteID      string
	RemoteVersion string
	Sent          string
	LocalVersion  int64
	RefersTo      *string
	Live          bool
}

const provisioningLinkColumns = "tenant_id, target_id, kind, resource_id, remote_id, remote_version, sent, local_version, refers_to, live"

func (s *Store) provisioningLinks(ctx context.Context, query string, values ...any) ([]outbound.Link, error) {
	var rows []provisioningLinkRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	all := make([]outbound.Link, 0, len(rows))
	for _, row := range rows {
		l := outbound.Link{
			Tenant: id.Tenant(row.TenantID), Target: id.ProvisioningTarget(row.TargetID), Kind: outbound.Kind(row.Kind), Resource: row.ResourceID,
			Remote: row.RemoteID, Version: row.RemoteVersion, Local: row.LocalVersion, RefersTo: orEmpty(row.RefersTo), Live: row.Live,
		}
		if err := decode(row.Sent, &l.Sent); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// ProvisioningLink implements outbound.LinkStore.
func (s *Store) ProvisioningLink(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, resource string) (*outbound.Link, error) {
	found, err := s.provisioningLinks(ctx, "SELECT "+provisioningLinkColumns+` FROM provisioning_links
		WHERE tenant_id = ? AND target_id = ? AND kind = ? AND resource_id = ?`, tenant, target, string(kind), resource)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &found[0], nil
}

// LinksOfRemotes implements outbound.LinkStore.
func (s *Store) LinksOfRemotes(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, remotes []string) (map[string]outbound.Link, error) {
	links := make(map[string]outbound.Link, len(remotes))
	if len(remotes) == 0 {
		return links, nil
	}
	found, err := s.provisioningLinks(ctx, "SELECT "+provisioningLinkColumns+` FROM provisioning_links
		WHERE tenant_id = ? AND target_id = ? AND kind = ? AND remote_id IN ?`, tenant, target, string(kind), remotes)
	for _, l := range found {
		links[l.Remote] = l
	}
	return links, err
}

// PutProvisioningLink implements outbound.LinkStore.
func (s *Store) PutProvisioningLink(ctx context.Context, l *outbound.Link) error {
	sent, err := encode(l.Sent)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO provisioning_links (tenant_id, target_id, kind, resource_id, remote_id, remote_version, sent, local_version, refers_to, live)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, target_id, kind, resource_id) DO UPDATE SET remote_id = excluded.remote_id,
		remote_version = excluded.remote_version, sent = excluded.sent, local_version = excluded.local_version, refers_to = excluded.refers_to, live = excluded.live`,
		l.Tenant, l.Target, string(l.Kind), l.Resource, l.Remote, l.Version, sent, l.Local, orNull(l.RefersTo), l.Live).Error, "remote_id")
}

// DeleteProvisioningLink implements outbound.LinkStore.
func (s *Store) DeleteProvisioningLink(ctx context.Context, l *outbound.Link) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if l.Kind == outbound.Group {
			err := s.conn(ctx).Exec("DELETE FROM provisioning_members WHERE tenant_id = ? AND target_id = ? AND group_id = ?", l.Tenant, l.Target, l.Resource).Error
			if err != nil {
				return classify(err, "")
			}
		}
		return classify(s.conn(ctx).Exec("DELETE FROM provisioning_links WHERE tenant_id = ? AND target_id = ? AND kind = ? AND resource_id = ?",
			l.Tenant, l.Target, string(l.Kind), l.Resource).Error, "")
	})
}

// LockReference implements outbound.LinkStore. On SQLite the transaction itself
// holds off the others.
func (s *Store) LockReference(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource, refersTo string) error {
	if s.sqlite {
		return nil
	}
	const key = "(hashtextextended(?, 2))"
	of := func(resource string) string { return string(tenant) + " " + string(target) + " " + resource }
	locks := []struct{ query, resource string }{{"SELECT pg_advisory_xact_lock" + key, resource}}
	if refersTo != "" {
		locks = append(locks, struct{ query, resource string }{"SELECT pg_advisory_xact_lock_shared" + key, refersTo})
	}
	if refersTo != "" && refersTo < resource { // two who refer to one another take them in one order
		slices.Reverse(locks)
	}
	for _, lock := range locks {
		if err := s.later(ctx, lock.query, of(lock.resource)); err != nil {
			return classify(err, "")
		}
	}
	return nil
}

// ForgetSent implements outbound.LinkStore.
func (s *Store) ForgetSent(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, values bool) error {
	sent := ""
	if values {
		sent = ", sent = '{}', remote_version = ''"
	}
	return classify(s.conn(ctx).Exec("UPDATE provisioning_links SET local_version = 0"+sent+" WHERE tenant_id = ? AND target_id = ?", tenant, target).Error, "")
}

// MarkSeen implements outbound.LinkStore.
func (s *Store) MarkSeen(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, run id.ProvisioningRun, remotes []string) error {
	if len(remotes) == 0 {
		return nil
	}
	return classify(s.conn(ctx).Exec("UPDATE provisioning_links SET seen_run = ? WHERE tenant_id = ? AND target_id = ? AND kind = ? AND remote_id IN ?",
		run, tenant, target, string(kind), remotes).Error, "")
}

// UnseenLinks implements outbound.LinkStore.
func (s *Store) UnseenLinks(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, run id.ProvisioningRun, after string, limit int) ([]outbound.Link, error) {
	return s.provisioningLinks(ctx, "SELECT "+provisioningLinkColumns+` FROM provisioning_links
		WHERE tenant_id = ? AND target_id = ? AND kind = ? AND resource_id > ? AND coalesce(seen_run, '') <> ? ORDER BY resource_id LIMIT ?`,
		tenant, target, string(kind), after, string(run), limit)
}

// Unlinked implements outbound.LinkStore.
func (s *Store) Unlinked(ctx context.Context, t *outbound.Target, maxRoles int, kind outbound.Kind, after string, limit int) ([]string, error) {
	with, args := pushed(t, maxRoles, kind)
	var found []string
	err := s.conn(ctx).Raw(with+" SELECT pushed.id FROM pushed"+
		s.lookUps("LEFT", "provisioning_links l", "l.tenant_id = ? AND l.target_id = ? AND l.kind = ? AND l.resource_id = pushed.id")+`
		WHERE l.resource_id IS NULL AND pushed.id > ? ORDER BY pushed.id LIMIT ?`, append(args, t.Tenant, t.ID, string(kind), after, limit)...).Scan(&found).Error
	return found, classify(err, "")
}

// UnlinkedNamed implements outbound.LinkStore.
func (s *Store) UnlinkedNamed(ctx context.Context, t *outbound.Target, maxRoles int, kind outbound.Kind, name string) ([]string, error) {
	_, nameKey := resourceTable(kind)
	return s.unlinkedBy(ctx, t, maxRoles, kind, nameKey, schema.Fold(name))
}

// UnlinkedExternal implements outbound.LinkStore.
func (s *Store) UnlinkedExternal(ctx context.Context, t *outbound.Target, maxRoles int, kind outbound.Kind, externalID string) ([]string, error) {
	return s.unlinkedBy(ctx, t, maxRoles, kind, "external_id", externalID)
}

// unlinkedBy finds by a column first, for these are few. OFFSET keeps PostgreSQL from
// reading all links at once, which it takes for few.
func (s *Store) unlinkedBy(ctx context.Context, t *outbound.Target, maxRoles int, kind outbound.Kind, column, value string) ([]string, error) {
	table, _ := resourceTable(kind)
	var named []string
	err := s.conn(ctx).Raw("SELECT r.id FROM "+table+" r WHERE r.tenant_id = ? AND r."+column+` = ?
		AND NOT EXISTS (SELECT 1 FROM provisioning_links l WHERE l.tenant_id = r.tenant_id AND l.target_id = ? AND l.kind = ? AND l.resource_id = r.id
			AND l.remote_id <> '?' || l.resource_id LIMIT 1 OFFSET 0)
		ORDER BY r.id LIMIT 10`, t.Tenant, value, t.ID, string(kind)).Scan(&named).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var found []string
	for _, resource := range named {
		is, err := s.Wanted(ctx, t, maxRoles, kind, resource)
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, resource)
		}
	}
	return found, nil
}

// Wanted implements outbound.LinkStore. Whether somebody is in one of the groups
// is asked from the member upward, which costs what that member is in.
func (s *Store) Wanted(ctx context.Context, t *outbound.Target, maxRoles int, kind outbound.Kind, resource string) (bool, error) {
	found := 0
	if kind == outbound.User && t.People.Scope == outbound.InGroups {
		start, err := s.wanted([]string{resource})
		if err != nil {
			return false, err
		}
		groups, err := s.wanted(texts(t.People.Groups))
		if err != nil {
			return false, err
		}
		err = s.queryRow(ctx, s.closure()+`SELECT count(*) FROM up WHERE up.group_id IN (SELECT wanted.value FROM `+s.wantedIDs()+`) AND EXISTS (
			SELECT 1 FROM memberships m WHERE m.tenant_id = ? AND m.id = ? AND m.retired_at IS NULL)`,
			start, string(t.Tenant), string(t.Tenant), groups, string(t.Tenant), resource).Scan(&found)
		return found > 0, classify(err, "")
	}
	with, args := pushed(t, maxRoles, kind)
	err := s.conn(ctx).Raw(with+" SELECT count(*) FROM pushed WHERE id = ?", append(args, resource)...).Scan(&found).Error
	return found > 0, classify(err, "")
}

// rightMembers are the members there that a group should have. Each is looked up
// by itself: of tables that have grown since they were last looked at PostgreSQL
// thinks that they are empty, and compares each row with each.
func (s *Store) rightMembers() string {
	return " FROM group_members gm" + s.lookUps("", "provisioning_links l", `l.tenant_id = gm.tenant_id AND l.target_id = ?
		AND l.kind = CASE WHEN gm.member_kind = 'user' THEN 'User' ELSE 'Group' END AND l.resource_id = gm.member_id AND l.live`)
}

func (s *Store) memberIDs(ctx context.Context, query string, values ...any) ([]string, error) {
	var found []string
	err := s.conn(ctx).Raw(query, values...).Scan(&found).Error
	return found, classify(err, "")
}

// LackingMembers implements outbound.MemberStore.
func (s *Store) LackingMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, limit int) ([]string, error) {
	return s.memberIDs(ctx, "SELECT l.remote_id"+s.rightMembers()+
		s.lookUps("LEFT", "provisioning_members pm", "pm.tenant_id = gm.tenant_id AND pm.target_id = l.target_id AND pm.group_id = gm.group_id AND pm.remote_id = l.remote_id")+`
		WHERE gm.tenant_id = ? AND gm.group_id = ? AND pm.remote_id IS NULL ORDER BY l.remote_id LIMIT ?`, target, tenant, group, limit)
}

// SurplusMembers implements outbound.MemberStore.
func (s *Store) SurplusMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, live bool, limit int) ([]string, error) {
	if !live {
		return s.memberIDs(ctx, "SELECT remote_id FROM provisioning_members WHERE tenant_id = ? AND target_id = ? AND group_id = ? ORDER BY remote_id LIMIT ?",
			tenant, target, group, limit)
	}
	return s.memberIDs(ctx, `SELECT pm.remote_id FROM provisioning_members pm WHERE pm.tenant_id = ? AND pm.target_id = ? AND pm.group_id = ?
		AND NOT EXISTS (SELECT 1 FROM provisioning_links l`+s.lookUps("", "group_members gm", "gm.tenant_id = l.tenant_id AND gm.group_id = pm.group_id AND gm.member_id = l.resource_id")+`
			WHERE l.tenant_id = pm.tenant_id AND l.target_id = pm.target_id AND l.kind IN ('User', 'Group') AND l.remote_id = pm.remote_id AND l.live LIMIT 1 OFFSET 0)
		ORDER BY pm.remote_id LIMIT ?`, tenant, target, group, limit)
}

// RightMembers implements outbound.MemberStore.
func (s *Store) RightMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string) ([]string, error) {
	return s.memberIDs(ctx, "SELECT l.remote_id"+s.rightMembers()+" WHERE gm.tenant_id = ? AND gm.group_id = ? ORDER BY l.remote_id", target, tenant, group)
}

// AddKnownMembers implements outbound.MemberStore.
func (s *Store) AddKnownMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, members []string) error {
	if len(members) == 0 {
		return nil
	}
	list, err := encode(members)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO provisioning_members (tenant_id, target_id, group_id, remote_id)
		SELECT t.tenant_id, t.id, `+s.parameter()+`, listed.value FROM provisioning_targets t CROSS JOIN `+s.listed()+`
		WHERE t.tenant_id = ? AND t.id = ? ON CONFLICT DO NOTHING`, group, list, tenant, target).Error, "")
}

// parameter is one of type text in a list of columns.
func (s *Store) parameter() string {
	if s.sqlite {
		return "?"
	}
	return "CAST(? AS text)"
}

// RemoveKnownMembers implements outbound.MemberStore.
func (s *Store) RemoveKnownMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, members []string) error {
	if len(members) == 0 {
		return nil
	}
	list, err := encode(members)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`DELETE FROM provisioning_members WHERE tenant_id = ? AND target_id = ? AND group_id = ?
		AND remote_id IN (SELECT value FROM `+s.listed()+`)`, tenant, target, group, list).Error, "")
}

// ReplaceKnownMembers implements outbound.MemberStore. It writes only the
// difference.
func (s *Store) ReplaceKnownMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, members []string) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		today, err := s.memberIDs(ctx, "SELECT remote_id FROM provisioning_members WHERE tenant_id = ? AND target_id = ? AND group_id = ?", tenant, target, group)
		if err != nil {
			return err
		}
		left := make(map[string]bool, len(today))
		for _, member := range today {
			left[member] = true
		}
		var added, gone []string
		for _, member := range members {
			if !left[member] {
				added = append(added, member)
			}
			delete(left, member)
		}
		for member := range left {
			gone = append(gone, member)
		}
		if err := s.RemoveKnownMembers(ctx, tenant, target, group, gone); err != nil {
			return err
		}
		return s.AddKnownMembers(ctx, tenant, target, group, added)
	})
}

// ForgetMember implements outbound.MemberStore.
func (s *Store) ForgetMember(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, member string) error {
	return classify(s.conn(ctx).Exec("DELETE FROM provisioning_members WHERE tenant_id = ? AND target_id = ? AND remote_id = ?", tenant, target, member).Error, "")
}
