package storage

import (
	"context"
	"slices"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// requestRow is a row of the table requests.
type requestRow struct {
	TenantID      string
	ID            string
	Kind          string
	Fields        string
	Status        string
	RequesterKind string
	RequesterID   string
	DeciderKind   string
	DeciderID     string
	Reason        string
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	DecidedAt     *time.Time
}

// TableName implements gorm's Tabler.
func (*requestRow) TableName() string { return "requests" }

func (r *requestRow) request() (directory.Request, error) {
	request := directory.Request{
		Tenant: id.Tenant(r.TenantID), ID: id.Request(r.ID), Kind: r.Kind, Status: directory.RequestStatus(r.Status),
		RequestedBy: audit.Actor{Kind: audit.ActorKind(r.RequesterKind), ID: r.RequesterID},
		DecidedBy:   audit.Actor{Kind: audit.ActorKind(r.DeciderKind), ID: r.DeciderID},
		Reason:      r.Reason, Created: r.CreatedAt.UTC(), Decided: orZeroTime(r.DecidedAt),
	}
	return request, decode(r.Fields, &request.Fields)
}

// CreateRequest implements directory.RequestStore.
func (s *Store) CreateRequest(ctx context.Context, r *directory.Request) error {
	fields, err := encode(r.Fields)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&requestRow{
		TenantID: string(r.Tenant), ID: string(r.ID), Kind: r.Kind, Fields: fields, Status: string(r.Status),
		RequesterKind: string(r.RequestedBy.Kind), RequesterID: r.RequestedBy.ID, CreatedAt: at(r.Created),
	}).Error, "")
}

// Request implements directory.RequestStore.
func (s *Store) Request(ctx context.Context, tenant id.Tenant, request id.Request) (*directory.Request, error) {
	var row requestRow
	if err := s.conn(ctx).Where("tenant_id = ? AND id = ?", tenant, request).Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	r, err := row.request()
	return &r, err
}

// Requests implements directory.RequestStore. Identifiers are in the order of
// creation.
func (s *Store) Requests(ctx context.Context, tenant id.Tenant, before id.Request, most int) ([]directory.Request, error) {
	query := s.conn(ctx).Where("tenant_id = ?", tenant)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []requestRow
	if err := query.Order("id DESC").Limit(most).Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	requests := make([]directory.Request, 0, len(rows))
	for i := range rows {
		r, err := rows[i].request()
		if err != nil {
			return nil, err
		}
		requests = append(requests, r)
	}
	return requests, nil
}

// CountPending implements directory.RequestStore.
func (s *Store) CountPending(ctx context.Context, tenant id.Tenant, kind string) (int, error) {
	n := 0
	err := s.conn(ctx).Raw(`SELECT count(*) FROM requests WHERE tenant_id = ? AND kind = ? AND status = 'pending'`, tenant, kind).Scan(&n).Error
	return n, classify(err, "")
}

// DecideRequest implements directory.RequestStore.
func (s *Store) DecideRequest(ctx context.Context, r *directory.Request) (bool, error) {
	result := s.conn(ctx).Exec(`UPDATE requests SET status = ?, decider_kind = ?, decider_id = ?, reason = ?, decided_at = ?
		WHERE tenant_id = ? AND id = ? AND status = 'pending'`,
		r.Status, r.DecidedBy.Kind, r.DecidedBy.ID, r.Reason, at(r.Decided), r.Tenant, r.ID)
	return result.RowsAffected == 1, classify(result.Error, "")
}

// HasOtherMembers implements directory.ContactStore.
func (s *Store) HasOtherMembers(ctx context.Context, tenant id.Tenant, membership id.Membership) (bool, error) {
	// In the order of an index, as PostgreSQL would read others' rows until it
	// meets one of the tenant.
	var first []id.Membership
	err := s.conn(ctx).Raw(`SELECT id FROM memberships WHERE tenant_id = ? ORDER BY id LIMIT 2`, tenant).Scan(&first).Error
	return slices.ContainsFunc(first, func(other id.Membership) bool { return other != membership }), classify(err, "")
}
