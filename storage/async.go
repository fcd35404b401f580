package storage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// asyncRow is a row of the table async_requests.
type asyncRow struct {
	TenantID     string
	ID           string
	ConnectionID *string
	Caller       string
	ActorKind    string
	ActorID      string
	Profile      string
	Base         string
	Single       bool
	Operations   int
	Body         []byte
	Attempts     int
	ClaimedUntil *time.Time
	CreatedAt    time.Time `gorm:"autoCreateTime:false"`
	CompletedAt  *time.Time
	ExpiresAt    *time.Time
}

// TableName implements gorm's Tabler.
func (*asyncRow) TableName() string { return "async_requests" }

func (r *asyncRow) request() (*directory.AsyncRequest, error) {
	request := &directory.AsyncRequest{
		Tenant: id.Tenant(r.TenantID), ID: id.AsyncRequest(r.ID), Actor: audit.Actor{Kind: audit.ActorKind(r.ActorKind), ID: r.ActorID},
		Profile: directory.ConnectionProfile(r.Profile), Base: r.Base, Single: r.Single, Operations: r.Operations, Body: r.Body, Attempts: r.Attempts,
		Created: r.CreatedAt.UTC(), Completed: orZeroTime(r.CompletedAt), Expires: orZeroTime(r.ExpiresAt),
	}
	return request, decode(r.Caller, &request.Caller)
}

// CreateAsyncRequest implements directory.AsyncStore.
func (s *Store) CreateAsyncRequest(ctx context.Context, r *directory.AsyncRequest) error {
	caller, err := encode(r.Caller)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&asyncRow{
		TenantID: string(r.Tenant), ID: string(r.ID), ConnectionID: orNull(string(r.Caller.Connection)), Caller: caller,
		ActorKind: string(r.Actor.Kind), ActorID: r.Actor.ID, Profile: string(r.Profile), Base: r.Base, Single: r.Single,
		Operations: r.Operations, Body: r.Body, CreatedAt: at(r.Created),
	}).Error, "")
}

// AsyncRequest implements directory.AsyncStore.
func (s *Store) AsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest) (*directory.AsyncRequest, error) {
	var row asyncRow
	if err := s.conn(ctx).Where("tenant_id = ? AND id = ?", tenant, request).Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.request()
}

// WaitingAsyncRequests implements directory.AsyncStore.
func (s *Store) WaitingAsyncRequests(ctx context.Context, tenant id.Tenant) (int, error) {
	waiting := 0
	err := s.conn(ctx).Raw("SELECT count(*) FROM async_requests WHERE tenant_id = ? AND completed_at IS NULL", tenant).Scan(&waiting).Error
	return waiting, classify(err, "")
}

// ClaimAsyncRequest implements directory.AsyncStore.
func (s *Store) ClaimAsyncRequest(ctx context.Context, now, lease time.Time) (*directory.AsyncRequest, error) {
	skip := " FOR UPDATE SKIP LOCKED"
	if s.sqlite {
		skip = ""
	}
	var row asyncRow
	err := s.InTx(ctx, func(ctx context.Context) error {
		return s.conn(ctx).Raw(`/* across tenants: one queue for the instance */ UPDATE async_requests SET attempts = attempts + 1, claimed_until = ?
			WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM async_requests
				WHERE completed_at IS NULL AND (claimed_until IS NULL OR claimed_until <= ?) ORDER BY created_at LIMIT 1`+skip+`)
			RETURNING *`, at(lease), at(now)).Take(&row).Error
	})
	if err != nil {
		return nil, classify(err, "")
	}
	return row.request()
}

// ExtendAsyncRequest implements directory.AsyncStore.
func (s *Store) ExtendAsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest, lease time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE async_requests SET claimed_until = ? WHERE tenant_id = ? AND id = ? AND completed_at IS NULL",
		at(lease), tenant, request).Error, "")
}

// FinishAsyncRequest implements directory.AsyncStore.
func (s *Store) FinishAsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest, now, expires time.Time) error {
	return classify(s.conn(ctx).Exec(`UPDATE async_requests SET body = NULL, claimed_until = NULL, completed_at = ?, expires_at = ?
		WHERE tenant_id = ? AND id = ? AND completed_at IS NULL`, at(now), at(expires), tenant, request).Error, "")
}

// AddAsyncResult implements directory.AsyncStore.
func (s *Store) AddAsyncResult(ctx context.Context, r *directory.AsyncResult) error {
	return classify(s.conn(ctx).Exec("INSERT INTO async_results (tenant_id, request_id, position, resource_id, operation) VALUES (?, ?, ?, ?, ?)",
		r.Tenant, r.Request, r.Position, r.Resource, string(r.Operation)).Error, directory.AsyncResultTaken)
}

// AsyncResults implements directory.AsyncStore.
func (s *Store) AsyncResults(ctx context.Context, tenant id.Tenant, request id.AsyncRequest) ([]directory.AsyncResult, error) {
	var rows []struct {
		Position   int
		ResourceID string
		Operation  string
		Single     bool
	}
	err := s.conn(ctx).Raw(`SELECT s.position, s.resource_id, s.operation, r.single FROM async_results s
		JOIN async_requests r ON r.tenant_id = s.tenant_id AND r.id = s.request_id
		WHERE s.tenant_id = ? AND s.request_id = ? ORDER BY s.position`, tenant, request).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	results := make([]directory.AsyncResult, len(rows))
	for i, row := range rows {
		results[i] = directory.AsyncResult{
			Tenant: tenant, Request: request, Position: row.Position, Single: row.Single, Resource: row.ResourceID, Operation: json.RawMessage(row.Operation),
		}
	}
	return results, nil
}

// DeleteAsyncRequests implements directory.AsyncStore.
func (s *Store) DeleteAsyncRequests(ctx context.Context, now time.Time) error {
	return classify(s.conn(ctx).Exec("/* across tenants: one queue for the instance */ DELETE FROM async_requests WHERE expires_at <= ?", at(now)).Error, "")
}
