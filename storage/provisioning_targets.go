package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/outbound"
)

var _ outbound.Store = (*Store)(nil)

// provisioningTargetRow is a row of the table provisioning_targets.
type provisioningTargetRow struct {
	TenantID     string
	ID           string
	Name         string
	BaseURL      string
	Settings     string
	SecretBox    []byte
	Status       string
	Failures     int
	LastError    string
	DueAt        time.Time
	ClaimedUntil time.Time
	ScanAt       *time.Time
	RunAt        *time.Time
	SucceededAt  *time.Time
	Capabilities string
	CreatedAt    time.Time
	ModifiedAt   time.Time
}

// provisioningSettings is the JSON in the column settings.
type provisioningSettings struct {
	Auth       outbound.Auth       `json:"auth"`
	People     outbound.People     `json:"people"`
	Groups     outbound.Groups     `json:"groups"`
	Attributes outbound.Attributes `json:"attributes"`
	OnRemoval  outbound.Removal    `json:"on_removal"`
	RunEvery   int64               `json:"run_every"` // seconds
}

const provisioningTargetColumns = `tenant_id, id, name, base_url, settings, secret_box, status, failures, last_error, due_at, claimed_until,
	scan_at, run_at, succeeded_at, capabilities, created_at, modified_at`

func (r *provisioningTargetRow) target() (*outbound.Target, error) {
	t := &outbound.Target{
		Tenant: id.Tenant(r.TenantID), ID: id.ProvisioningTarget(r.ID), Name: r.Name, BaseURL: r.BaseURL, Secret: r.SecretBox,
		Status: outbound.Status(r.Status), Failures: r.Failures, LastError: r.LastError, Due: r.DueAt.UTC(), Claimed: r.ClaimedUntil.UTC(),
		ScanAt: orZeroTime(r.ScanAt), RunAt: orZeroTime(r.RunAt), Succeeded: orZeroTime(r.SucceededAt), Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	var settings provisioningSettings
	if err := decode(r.Settings, &settings); err != nil {
		return nil, err
	}
	t.Auth, t.People, t.Groups, t.Attributes, t.OnRemoval = settings.Auth, settings.People, settings.Groups, settings.Attributes, settings.OnRemoval
	t.RunEvery = time.Duration(settings.RunEvery) * time.Second
	return t, decode(r.Capabilities, &t.Capabilities)
}

// provisioningTarget returns the one target of a query.
func (s *Store) provisioningTarget(ctx context.Context, query string, values ...any) (*outbound.Target, error) {
	var rows []provisioningTargetRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].target()
}

// ProvisioningTargets implements outbound.TargetStore.
func (s *Store) ProvisioningTargets(ctx context.Context, tenant id.Tenant) ([]outbound.Target, error) {
	var rows []provisioningTargetRow
	err := s.conn(ctx).Raw("SELECT "+provisioningTargetColumns+" FROM provisioning_targets WHERE tenant_id = ? ORDER BY name", tenant).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	all := make([]outbound.Target, 0, len(rows))
	for i := range rows {
		t, err := rows[i].target()
		if err != nil {
			return nil, err
		}
		all = append(all, *t)
	}
	return all, nil
}

// ProvisioningTarget implements outbound.TargetStore.
func (s *Store) ProvisioningTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (*outbound.Target, error) {
	return s.provisioningTarget(ctx, "SELECT "+provisioningTargetColumns+" FROM provisioning_targets WHERE tenant_id = ? AND id = ?", tenant, target)
}

// provisioningTargetValues are what an insert and an update of a target store.
func provisioningTargetValues(t *outbound.Target) ([]any, error) {
	settings, err := encode(provisioningSettings{t.Auth, t.People, t.Groups, t.Attributes, t.OnRemoval, int64(t.RunEvery / time.Second)})
	if err != nil {
		return nil, err
	}
	capabilities, err := encode(t.Capabilities)
	return []any{
		t.Name, t.BaseURL, settings, t.Secret, string(t.Status), t.Failures, t.LastError, at(t.Due), atOrNull(t.ScanAt), atOrNull(t.RunAt),
		atOrNull(t.Succeeded), capabilities, at(t.Modified),
	}, err
}

// CreateProvisioningTarget implements outbound.TargetStore.
func (s *Store) CreateProvisioningTarget(ctx context.Context, t *outbound.Target) error {
	values, err := provisioningTargetValues(t)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO provisioning_targets (name, base_url, settings, secret_box, status, failures, last_error, due_at,
		scan_at, run_at, succeeded_at, capabilities, modified_at, tenant_id, id, claimed_until, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(values, t.Tenant, t.ID, at(t.Claimed), at(t.Created))...).Error, "name")
}

// UpdateProvisioningTarget implements outbound.TargetStore.
func (s *Store) UpdateProvisioningTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, change func(*outbound.Target) error) (*outbound.Target, error) {
	var changed *outbound.Target
	err := s.InTx(ctx, func(ctx context.Context) error {
		var locked []string
		if err := s.locked(ctx).Table("provisioning_targets").Where("tenant_id = ? AND id = ?", tenant, target).Pluck("id", &locked).Error; err != nil {
			return classify(err, "")
		}
		var err error
		if changed, err = s.ProvisioningTarget(ctx, tenant, target); err != nil {
			return err
		}
		if err := change(changed); err != nil {
			return err
		}
		values, err := provisioningTargetValues(changed)
		if err != nil {
			return err
		}
		return classify(s.conn(ctx).Exec(`UPDATE provisioning_targets SET name = ?, base_url = ?, settings = ?, secret_box = ?, status = ?, failures = ?,
			last_error = ?, due_at = ?, scan_at = ?, run_at = ?, succeeded_at = ?, capabilities = ?, modified_at = ? WHERE tenant_id = ? AND id = ?`,
			append(values, tenant, target)...).Error, "name")
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// DeleteProvisioningTarget implements outbound.TargetStore.
func (s *Store) DeleteProvisioningTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) error {
	return classify(s.conn(ctx).Exec("DELETE FROM provisioning_targets WHERE tenant_id = ? AND id = ?", tenant, target).Error, "")
}

// ClaimTarget implements outbound.TargetStore.
func (s *Store) ClaimTarget(ctx context.Context, now, lease time.Time) (*outbound.Target, error) {
	skip := " FOR UPDATE SKIP LOCKED"
	if s.sqlite {
		skip = ""
	}
	moment := at(now)
	return s.provisioningTarget(ctx, `/* across tenants: the instance pushes for all */ UPDATE provisioning_targets SET claimed_until = ? WHERE (tenant_id, id) IN (
		SELECT t.tenant_id, t.id FROM provisioning_targets t WHERE t.due_at <= ? AND t.claimed_until <= ? AND (
			t.status = 'active' AND (t.scan_at <= ? OR t.run_at <= ? OR EXISTS (SELECT 1 FROM provisioning_queue q
				WHERE q.tenant_id = t.tenant_id AND q.target_id = t.id AND q.dead_at IS NULL AND q.due_at <= ?))
			OR EXISTS (SELECT 1 FROM provisioning_runs r WHERE r.tenant_id = t.tenant_id AND r.target_id = t.id AND r.ended_at IS NULL AND (r.dry OR t.status = 'active')))
		ORDER BY t.claimed_until LIMIT 1`+skip+`) RETURNING `+provisioningTargetColumns, at(lease), moment, moment, moment, moment, moment)
}

// ExtendClaim implements outbound.TargetStore.
func (s *Store) ExtendClaim(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, lease, longer time.Time) (bool, error) {
	extended := s.conn(ctx).Exec("UPDATE provisioning_targets SET claimed_until = ? WHERE tenant_id = ? AND id = ? AND claimed_until = ?",
		at(longer), tenant, target, at(lease))
	return extended.RowsAffected == 1, classify(extended.Error, "")
}

// ReleaseTarget implements outbound.TargetStore. What was claimed last comes last
// in the next round.
func (s *Store) ReleaseTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, lease time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE provisioning_targets SET claimed_until = ? WHERE tenant_id = ? AND id = ? AND claimed_until = ?",
		at(lease.Add(-24*time.Hour)), tenant, target, at(lease)).Error, "")
}

// provisioningRunRow is a row of the table provisioning_runs.
type provisioningRunRow struct {
	TenantID    string
	ID          string
	TargetID    string
	Dry         bool
	State       string
	Counts      string
	Items       string
	Error       string
	Progress    string
	RequestedAt time.Time
	StartedAt   *time.Time
	EndedAt     *time.Time
}

const provisioningRunColumns = "tenant_id, id, target_id, dry, state, counts, error, progress, requested_at, started_at, ended_at"

func (s *Store) provisioningRuns(ctx context.Context, query string, values ...any) ([]outbound.Run, error) {
	var rows []provisioningRunRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	all := make([]outbound.Run, 0, len(rows))
	for _, row := range rows {
		r := outbound.Run{
			Tenant: id.Tenant(row.TenantID), ID: id.ProvisioningRun(row.ID), Target: id.ProvisioningTarget(row.TargetID), Dry: row.Dry,
			State: outbound.RunState(row.State), Error: row.Error, Requested: row.RequestedAt.UTC(), Started: orZeroTime(row.StartedAt), Ended: orZeroTime(row.EndedAt),
		}
		if err := decode(row.Counts, &r.Counts); err != nil {
			return nil, err
		}
		if err := decode(row.Progress, &r.Progress); err != nil {
			return nil, err
		}
		if row.Items != "" {
			if err := decode(row.Items, &r.Items); err != nil {
				return nil, err
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// CreateRun implements outbound.RunStore.
func (s *Store) CreateRun(ctx context.Context, r *outbound.Run) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO provisioning_runs (tenant_id, id, target_id, dry, state, counts, items, error, requested_at)
		VALUES (?, ?, ?, ?, ?, '{}', '[]', '', ?)`, r.Tenant, r.ID, r.Target, r.Dry, string(r.State), at(r.Requested)).Error, "run")
}

// ProvisioningRun implements outbound.RunStore.
func (s *Store) ProvisioningRun(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, run id.ProvisioningRun) (*outbound.Run, error) {
	found, err := s.provisioningRuns(ctx, "SELECT "+provisioningRunColumns+", items FROM provisioning_runs WHERE tenant_id = ? AND target_id = ? AND id = ?", tenant, target, run)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &found[0], nil
}

// ProvisioningRuns implements outbound.RunStore.
func (s *Store) ProvisioningRuns(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, before id.ProvisioningRun, limit int) ([]outbound.Run, error) {
	return s.provisioningRuns(ctx, "SELECT "+provisioningRunColumns+` FROM provisioning_runs
		WHERE tenant_id = ? AND target_id = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`, tenant, target, string(before), string(before), limit)
}

// OpenRuns implements outbound.RunStore.
func (s *Store) OpenRuns(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) ([]outbound.Run, error) {
	return s.provisioningRuns(ctx, "SELECT "+provisioningRunColumns+`, items FROM provisioning_runs
		WHERE tenant_id = ? AND target_id = ? AND ended_at IS NULL ORDER BY id`, tenant, target)
}

// UpdateRun implements outbound.RunStore.
func (s *Store) UpdateRun(ctx context.Context, r *outbound.Run) error {
	counts, err := encode(r.Counts)
	if err != nil {
		return err
	}
	items, err := encode(append([]outbound.RunItem{}, r.Items...))
	if err != nil {
		return err
	}
	progress, err := encode(r.Progress)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`UPDATE provisioning_runs SET state = ?, counts = ?, items = ?, error = ?, progress = ?, started_at = ?, ended_at = ? WHERE tenant_id = ? AND id = ?`,
		string(r.State), counts, items, r.Error, progress, atOrNull(r.Started), atOrNull(r.Ended), r.Tenant, r.ID).Error, "")
}

// TrimRuns implements outbound.RunStore.
func (s *Store) TrimRuns(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, keep int) error {
	return classify(s.conn(ctx).Exec(`DELETE FROM provisioning_runs WHERE tenant_id = ? AND target_id = ? AND ended_at IS NOT NULL AND id NOT IN (
		SELECT id FROM provisioning_runs WHERE tenant_id = ? AND target_id = ? ORDER BY id DESC LIMIT ?)`, tenant, target, tenant, target, keep).Error, "")
}
