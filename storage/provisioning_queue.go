package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/outbound"
)

// pushed is the recursive part of a statement about the resources of a kind that
// are to be pushed to a target: pushed(id), with its values.
func pushed(t *outbound.Target, maxRoles int, kind outbound.Kind) (string, []any) {
	if kind == outbound.Group {
		const all = "WITH RECURSIVE pushed(id) AS (SELECT g.id FROM groups g WHERE g.tenant_id = ?"
		switch t.Groups.Scope {
		case outbound.AllGroups:
			return all + ")", []any{t.Tenant}
		case outbound.ChosenGroups:
			return all + " AND g.id IN ?)", []any{t.Tenant, t.Groups.Groups}
		case outbound.NoGroups:
		}
		return all + " AND 1 = 0)", []any{t.Tenant}
	}
	const present = "JOIN memberships m ON m.tenant_id = ? AND m.id = chosen.id WHERE m.retired_at IS NULL)"
	switch t.People.Scope {
	case outbound.InGroups:
		return `WITH RECURSIVE down(group_id) AS (
			SELECT g.id FROM groups g WHERE g.tenant_id = ? AND g.id IN ?
			UNION
			SELECT gm.member_id FROM down CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'group'),
			chosen(id) AS (SELECT DISTINCT gm.member_id FROM down CROSS JOIN group_members gm WHERE gm.tenant_id = ? AND gm.group_id = down.group_id AND gm.member_kind = 'user'),
			pushed(id) AS (SELECT m.id FROM chosen ` + present, []any{t.Tenant, t.People.Groups, t.Tenant, t.Tenant, t.Tenant}
	case outbound.WithRoles:
		with, args := holders(t.Tenant, t.People.Roles, maxRoles)
		return with + `, chosen(id) AS (SELECT membership_id FROM holders), pushed(id) AS (SELECT m.id FROM chosen ` + present, append(args, t.Tenant)
	case outbound.AllPeople:
	}
	return "WITH RECURSIVE pushed(id) AS (SELECT m.id FROM memberships m WHERE m.tenant_id = ? AND m.retired_at IS NULL)", []any{t.Tenant}
}

// resourceTable is the table of a kind with the columns of its name, folded.
func resourceTable(kind outbound.Kind) (table, nameKey string) {
	if kind == outbound.Group {
		return "groups", "display_name_key"
	}
	return "memberships", "user_name_key"
}

// Ends of statements that queue resources. The first has them tried anew
// whatever became of them, the second leaves when that is.
const (
	noteAnew = ` ON CONFLICT (tenant_id, target_id, kind, resource_id) DO UPDATE SET generation = provisioning_queue.generation + 1,
		due_at = excluded.due_at, attempts = 0, dead_at = NULL, reason = ''`
	noteMore = ` ON CONFLICT (tenant_id, target_id, kind, resource_id) DO UPDATE SET generation = provisioning_queue.generation + 1`
)

// picking is what selects resources to queue: a statement with the one column
// resource_id, and the WITH before it.
type picking struct {
	with     string
	withArgs []any
	from     string
	args     []any
}

// note queues resources for a target, in their order, so that two who do so at
// the same time don't wait for one another.
func (s *Store) note(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, due time.Time, p picking, end string) (int, error) {
	text, moment, key := "CAST(? AS text)", "CAST(? AS timestamptz)", " FOR KEY SHARE" // a target that is just being deleted is none
	if s.sqlite {
		text, moment, key = "?", "?", ""
	}
	args := append(append([]any{}, p.withArgs...), string(kind), at(due), at(due))
	args = append(append(args, p.args...), tenant, target)
	noted := s.conn(ctx).Exec(`INSERT INTO provisioning_queue (tenant_id, target_id, kind, resource_id, generation, queued_at, due_at) `+p.with+`
		SELECT t.tenant_id, t.id, `+text+`, one.resource_id, 1, `+moment+`, `+moment+` FROM (`+p.from+`) one
		CROSS JOIN (SELECT tenant_id, id FROM provisioning_targets WHERE tenant_id = ? AND id = ?`+key+`) t WHERE 1 = 1
		ORDER BY one.resource_id`+end, args...)
	return int(noted.RowsAffected), classify(noted.Error, "")
}

// listed is a table of texts with one column value, of a JSON list.
func (s *Store) listed() string {
	if s.sqlite {
		return "json_each(?) listed"
	}
	return "jsonb_array_elements_text(CAST(? AS jsonb)) AS listed(value)"
}

// Note implements outbound.QueueStore.
func (s *Store) Note(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, resources []string, due time.Time) error {
	list, err := encode(resources)
	if err != nil {
		return err
	}
	_, err = s.note(ctx, tenant, target, kind, due, picking{from: "SELECT DISTINCT value AS resource_id FROM " + s.listed(), args: []any{list}}, noteAnew)
	return err
}

// NoteDifferences implements outbound.QueueStore.
func (s *Store) NoteDifferences(ctx context.Context, t *outbound.Target, maxRoles int, now time.Time) error {
	for _, kind := range []outbound.Kind{outbound.User, outbound.Group} {
		table, _ := resourceTable(kind)
		with, args := pushed(t, maxRoles, kind)
		for _, p := range []picking{
			{with, args, `SELECT r.id AS resource_id FROM pushed JOIN ` + table + ` r ON r.tenant_id = ? AND r.id = pushed.id
				LEFT JOIN provisioning_links l ON l.tenant_id = r.tenant_id AND l.target_id = ? AND l.kind = ? AND l.resource_id = r.id
				WHERE l.resource_id IS NULL OR NOT l.live OR l.local_version <> r.version`, []any{t.Tenant, t.ID, string(kind)}},
			{with, args, `SELECT l.resource_id FROM provisioning_links l
				WHERE l.tenant_id = ? AND l.target_id = ? AND l.kind = ? AND l.live AND l.resource_id NOT IN (SELECT id FROM pushed)`, []any{t.Tenant, t.ID, string(kind)}},
		} {
			if _, err := s.note(ctx, t.Tenant, t.ID, kind, now, p, noteMore); err != nil {
				return err
			}
		}
	}
	return nil
}

// NoteGroups implements outbound.QueueStore.
func (s *Store) NoteGroups(ctx context.Context, t *outbound.Target, member string, remotes []string, now time.Time) error {
	list, err := encode(append([]string{}, remotes...))
	if err != nil {
		return err
	}
	_, err = s.note(ctx, t.Tenant, t.ID, outbound.Group, now, picking{
		from: `SELECT gm.group_id AS resource_id FROM group_members gm
		JOIN provisioning_links l ON l.tenant_id = gm.tenant_id AND l.target_id = ? AND l.kind = 'Group' AND l.resource_id = gm.group_id
		WHERE gm.tenant_id = ? AND gm.member_id = ?
		UNION SELECT pm.group_id FROM provisioning_members pm WHERE pm.tenant_id = ? AND pm.target_id = ? AND pm.remote_id IN (SELECT value FROM ` + s.listed() + `)`,
		args: []any{t.ID, t.Tenant, member, t.Tenant, t.ID, list},
	}, noteAnew)
	return err
}

// NoteReferring implements outbound.QueueStore.
func (s *Store) NoteReferring(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource string, now time.Time) error {
	_, err := s.note(ctx, tenant, target, outbound.User, now, picking{
		from: "SELECT resource_id FROM provisioning_links WHERE tenant_id = ? AND target_id = ? AND refers_to = ?", args: []any{tenant, target, resource},
	}, noteAnew)
	return err
}

// NoteMissingMembers implements outbound.QueueStore. Links and people are looked up
// one by one, and who else is to be pushed is met as a set: of tables that have grown
// since they were last looked at PostgreSQL thinks that they are empty, and compares
// each row with each.
func (s *Store) NoteMissingMembers(ctx context.Context, t *outbound.Target, maxRoles int, group string, now time.Time) (int, error) {
	p := picking{args: []any{t.ID}}
	p.from = "SELECT gm.member_id AS resource_id FROM group_members gm" +
		s.lookUps("LEFT", "provisioning_links l", "l.tenant_id = gm.tenant_id AND l.target_id = ? AND l.kind = 'User' AND l.resource_id = gm.member_id")
	everybody := t.People.Scope == outbound.AllPeople
	if everybody {
		p.from += s.lookUps("", "memberships m", "m.tenant_id = gm.tenant_id AND m.id = gm.member_id AND m.retired_at IS NULL")
	}
	p.from += " WHERE gm.tenant_id = ? AND gm.group_id = ? AND gm.member_kind = 'user' AND (l.resource_id IS NULL OR NOT l.live)"
	p.args = append(p.args, t.Tenant, group)
	if !everybody {
		p.with, p.withArgs = pushed(t, maxRoles, outbound.User)
		p.from += " INTERSECT SELECT id FROM pushed"
	}
	return s.note(ctx, t.Tenant, t.ID, outbound.User, now, p, " ON CONFLICT DO NOTHING")
}

// provisioningItemRow is a row of the table provisioning_queue.
type provisioningItemRow struct {
	TenantID   string
	TargetID   string
	Kind       string
	ResourceID string
	Generation int64
	QueuedAt   time.Time
	DueAt      time.Time
	Attempts   int
	DeadAt     *time.Time
	Reason     string
}

const provisioningItemColumns = "tenant_id, target_id, kind, resource_id, generation, queued_at, due_at, attempts, dead_at, reason"

func (s *Store) provisioningItems(ctx context.Context, query string, values ...any) ([]outbound.Item, error) {
	var rows []provisioningItemRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	all := make([]outbound.Item, 0, len(rows))
	for _, row := range rows {
		all = append(all, outbound.Item{
			Tenant: id.Tenant(row.TenantID), Target: id.ProvisioningTarget(row.TargetID), Kind: outbound.Kind(row.Kind), Resource: row.ResourceID,
			Generation: row.Generation, Queued: row.QueuedAt.UTC(), Due: row.DueAt.UTC(), Attempts: row.Attempts, Dead: orZeroTime(row.DeadAt), Reason: row.Reason,
		})
	}
	return all, nil
}

// DueItems implements outbound.QueueStore.
func (s *Store) DueItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind outbound.Kind, now time.Time, limit int) ([]outbound.Item, error) {
	return s.provisioningItems(ctx, "SELECT "+provisioningItemColumns+` FROM provisioning_queue
		WHERE tenant_id = ? AND target_id = ? AND kind = ? AND dead_at IS NULL AND due_at <= ? ORDER BY due_at, resource_id LIMIT ?`,
		tenant, target, string(kind), at(now), limit)
}

// SettleItem implements outbound.QueueStore.
func (s *Store) SettleItem(ctx context.Context, i *outbound.Item) error {
	return classify(s.conn(ctx).Exec("DELETE FROM provisioning_queue WHERE tenant_id = ? AND target_id = ? AND kind = ? AND resource_id = ? AND generation = ?",
		i.Tenant, i.Target, string(i.Kind), i.Resource, i.Generation).Error, "")
}

// PostponeItem implements outbound.QueueStore.
func (s *Store) PostponeItem(ctx context.Context, i *outbound.Item) error {
	return classify(s.conn(ctx).Exec(`UPDATE provisioning_queue SET attempts = ?, due_at = ?, dead_at = ?, reason = ?
		WHERE tenant_id = ? AND target_id = ? AND kind = ? AND resource_id = ? AND generation = ?`,
		i.Attempts, at(i.Due), atOrNull(i.Dead), i.Reason, i.Tenant, i.Target, string(i.Kind), i.Resource, i.Generation).Error, "")
}

// FailingItems implements outbound.QueueStore.
func (s *Store) FailingItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, after outbound.Item, limit int) ([]outbound.Item, error) {
	return s.provisioningItems(ctx, "SELECT "+provisioningItemColumns+` FROM provisioning_queue
		WHERE tenant_id = ? AND target_id = ? AND reason <> '' AND (kind > ? OR kind = ? AND resource_id > ?) ORDER BY kind, resource_id LIMIT ?`,
		tenant, target, string(after.Kind), string(after.Kind), after.Resource, limit)
}

// RetryItems implements outbound.QueueStore.
func (s *Store) RetryItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource string, now time.Time) (int, error) {
	retried := s.conn(ctx).Exec(`UPDATE provisioning_queue SET attempts = 0, dead_at = NULL, due_at = ?
		WHERE tenant_id = ? AND target_id = ? AND reason <> '' AND (? = '' OR resource_id = ?)`, at(now), tenant, target, resource, resource)
	return int(retried.RowsAffected), classify(retried.Error, "")
}

// CountItems implements outbound.QueueStore.
func (s *Store) CountItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (outbound.Counts, error) {
	var queued, linked outbound.Counts
	err := s.conn(ctx).Raw(`SELECT coalesce(sum(CASE WHEN dead_at IS NULL AND reason = '' THEN 1 ELSE 0 END), 0) AS waiting,
		coalesce(sum(CASE WHEN dead_at IS NULL AND reason <> '' THEN 1 ELSE 0 END), 0) AS failing,
		coalesce(sum(CASE WHEN dead_at IS NOT NULL THEN 1 ELSE 0 END), 0) AS dead
		FROM provisioning_queue WHERE tenant_id = ? AND target_id = ?`, tenant, target).Scan(&queued).Error
	if err != nil {
		return outbound.Counts{}, classify(err, "")
	}
	err = s.conn(ctx).Raw(`SELECT coalesce(sum(CASE WHEN kind = 'User' THEN 1 ELSE 0 END), 0) AS people,
		coalesce(sum(CASE WHEN kind = 'Group' THEN 1 ELSE 0 END), 0) AS groups
		FROM provisioning_links WHERE tenant_id = ? AND target_id = ? AND live`, tenant, target).Scan(&linked).Error
	queued.People, queued.Groups = linked.People, linked.Groups
	return queued, classify(err, "")
}
