package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// authorizationRequestRow is a row of the table authorization_requests.
type authorizationRequestRow struct {
	ID          string `gorm:"primaryKey"`
	BrowserHash []byte
	ClientID    string
	Parameters  string
	ExpiresAt   time.Time
}

// TableName implements gorm's Tabler.
func (authorizationRequestRow) TableName() string { return "authorization_requests" }

// authorizationRequestState is the column parameters.
type authorizationRequestState struct {
	Parameters oidc.Parameters `json:"parameters"`
	Progress   oidc.Progress   `json:"progress"`
	Created    time.Time       `json:"created"`
}

func authorizationRequestRowOf(r *oidc.AuthorizationRequest) (authorizationRequestRow, error) {
	state, err := encode(authorizationRequestState{Parameters: r.Parameters, Progress: r.Progress, Created: at(r.Created)})
	return authorizationRequestRow{
		ID: string(r.ID), BrowserHash: r.Browser[:], ClientID: r.ClientID, Parameters: state, ExpiresAt: at(r.Expires),
	}, err
}

func (r authorizationRequestRow) request() (*oidc.AuthorizationRequest, error) {
	var state authorizationRequestState
	if err := decode(r.Parameters, &state); err != nil {
		return nil, err
	}
	return &oidc.AuthorizationRequest{
		ID: id.AuthorizationRequest(r.ID), Browser: secret.Hash(r.BrowserHash), ClientID: r.ClientID,
		Parameters: state.Parameters, Progress: state.Progress, Created: state.Created.UTC(), Expires: r.ExpiresAt.UTC(),
	}, nil
}

// CreateAuthorizationRequest implements oidc.RequestStore.
func (s *Store) CreateAuthorizationRequest(ctx context.Context, r *oidc.AuthorizationRequest) error {
	row, err := authorizationRequestRowOf(r)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&row).Error, "")
}

// AuthorizationRequest implements oidc.RequestStore.
func (s *Store) AuthorizationRequest(ctx context.Context, request id.AuthorizationRequest, browser secret.Hash, now time.Time) (*oidc.AuthorizationRequest, error) {
	var row authorizationRequestRow
	err := s.conn(ctx).Where("id = ? AND browser_hash = ? AND expires_at > ?", request, browser[:], at(now)).Take(&row).Error
	if err != nil {
		return nil, classify(err, "")
	}
	return row.request()
}

// UpdateAuthorizationRequest implements oidc.RequestStore.
func (s *Store) UpdateAuthorizationRequest(ctx context.Context, request id.AuthorizationRequest, change func(*oidc.AuthorizationRequest) error) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		var row authorizationRequestRow
		if err := s.locked(ctx).Where("id = ?", request).Take(&row).Error; err != nil {
			return classify(err, "")
		}
		r, err := row.request()
		if err != nil {
			return err
		}
		if err := change(r); err != nil {
			return err
		}
		if row, err = authorizationRequestRowOf(r); err != nil {
			return err
		}
		return classify(s.conn(ctx).Exec(`UPDATE authorization_requests SET parameters = ? WHERE id = ?`, row.Parameters, request).Error, "")
	})
}

// TakeAuthorizationRequest implements oidc.RequestStore.
func (s *Store) TakeAuthorizationRequest(ctx context.Context, request id.AuthorizationRequest, browser secret.Hash, now time.Time) (*oidc.AuthorizationRequest, error) {
	var rows []authorizationRequestRow
	err := s.conn(ctx).Raw(`DELETE FROM authorization_requests WHERE id = ? AND browser_hash = ? AND expires_at > ?
		RETURNING id, browser_hash, client_id, parameters, expires_at`, request, browser[:], at(now)).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].request()
}
