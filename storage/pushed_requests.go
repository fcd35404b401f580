package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// pushedRequestRow is a row of the table pushed_requests.
type pushedRequestRow struct {
	Hash       []byte
	ClientID   string
	Parameters string
	ExpiresAt  time.Time
}

// TableName implements gorm's Tabler.
func (pushedRequestRow) TableName() string { return "pushed_requests" }

// CreatePushedRequest implements oidc.PushedStore.
func (s *Store) CreatePushedRequest(ctx context.Context, r *oidc.PushedRequest) error {
	parameters, err := encode(r.Parameters)
	if err != nil {
		return err
	}
	row := pushedRequestRow{Hash: r.Hash[:], ClientID: r.ClientID, Parameters: parameters, ExpiresAt: at(r.Expires)}
	return classify(s.conn(ctx).Create(&row).Error, "")
}

// PushedRequest implements oidc.PushedStore.
func (s *Store) PushedRequest(ctx context.Context, address secret.Hash, clientID string, now time.Time) (*oidc.PushedRequest, error) {
	var row pushedRequestRow
	err := s.conn(ctx).Where("hash = ? AND client_id = ? AND expires_at > ?", address[:], clientID, at(now)).Take(&row).Error
	if err != nil {
		return nil, classify(err, "")
	}
	r := &oidc.PushedRequest{Hash: address, ClientID: clientID, Expires: row.ExpiresAt.UTC()}
	return r, decode(row.Parameters, &r.Parameters)
}

// TakePushedRequest implements oidc.PushedStore.
func (s *Store) TakePushedRequest(ctx context.Context, address secret.Hash, clientID string) error {
	result := s.conn(ctx).Exec(`DELETE FROM pushed_requests WHERE hash = ? AND client_id = ?`, address[:], clientID)
	return oneRow(result.RowsAffected, classify(result.Error, ""))
}
