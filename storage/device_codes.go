package storage

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// deviceCodeRow is a row of the table device_codes.
type deviceCodeRow struct {
	ID          string `gorm:"primaryKey"`
	Hash        []byte
	UserCode    []byte
	ClientID    string
	Scopes      string
	Resources   string
	Details     string
	TenantName  string
	Address     string
	UserAgent   string
	Status      string
	GrantTenant *string
	GrantID     *string
	WaitSeconds int64
	PolledAt    *time.Time
	CreatedAt   time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt   time.Time
}

// TableName implements gorm's Tabler.
func (deviceCodeRow) TableName() string { return "device_codes" }

func (r deviceCodeRow) request() (*oidc.DeviceRequest, error) {
	d := &oidc.DeviceRequest{
		ID: id.DeviceRequest(r.ID), Hash: secret.Hash(r.Hash), UserCode: secret.Hash(r.UserCode), ClientID: r.ClientID, TenantName: r.TenantName,
		Address: r.Address, UserAgent: r.UserAgent, Status: oidc.DeviceStatus(r.Status),
		Tenant: id.Tenant(orEmpty(r.GrantTenant)), Grant: id.Grant(orEmpty(r.GrantID)),
		Interval: time.Duration(r.WaitSeconds) * time.Second, Polled: orZeroTime(r.PolledAt), Created: r.CreatedAt.UTC(), Expires: r.ExpiresAt.UTC(),
	}
	var err error
	d.Details, err = decodeDetails(r.Details)
	return d, errors.Join(err, decode(r.Scopes, &d.Scopes), decode(r.Resources, &d.Resources))
}

// CreateDeviceRequest implements oidc.DeviceStore.
func (s *Store) CreateDeviceRequest(ctx context.Context, d *oidc.DeviceRequest) error {
	scopes, err := encode(d.Scopes)
	if err != nil {
		return err
	}
	resources, err := encode(orEmptyList(d.Resources))
	if err != nil {
		return err
	}
	details, err := encodeDetails(d.Details)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&deviceCodeRow{
		Resources: resources, Details: details,
		ID: string(d.ID), Hash: d.Hash[:], UserCode: d.UserCode[:], ClientID: d.ClientID, Scopes: scopes, TenantName: d.TenantName,
		Address: d.Address, UserAgent: d.UserAgent, Status: string(d.Status), WaitSeconds: int64(d.Interval / time.Second),
		CreatedAt: at(d.Created), ExpiresAt: at(d.Expires),
	}).Error, "user_code")
}

// DeviceRequest implements oidc.DeviceStore.
func (s *Store) DeviceRequest(ctx context.Context, request id.DeviceRequest, now time.Time) (*oidc.DeviceRequest, error) {
	return oneDeviceRequest(s.conn(ctx).Where("id = ? AND status = ? AND expires_at > ?", request, oidc.DevicePending, at(now)))
}

// DeviceRequestByUserCode implements oidc.DeviceStore.
func (s *Store) DeviceRequestByUserCode(ctx context.Context, code secret.Hash, now time.Time) (*oidc.DeviceRequest, error) {
	return oneDeviceRequest(s.conn(ctx).Where("user_code = ? AND status = ? AND expires_at > ?", code[:], oidc.DevicePending, at(now)))
}

func oneDeviceRequest(query *gorm.DB) (*oidc.DeviceRequest, error) {
	var row deviceCodeRow
	if err := query.Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.request()
}

// AnswerDeviceRequest implements oidc.DeviceStore.
func (s *Store) AnswerDeviceRequest(ctx context.Context, request id.DeviceRequest, status oidc.DeviceStatus, tenant id.Tenant, grant id.Grant, now time.Time) error {
	result := s.conn(ctx).Exec(`UPDATE device_codes SET status = ?, grant_tenant = ?, grant_id = ? WHERE id = ? AND status = ? AND expires_at > ?`,
		status, orNull(string(tenant)), orNull(string(grant)), request, oidc.DevicePending, at(now))
	return oneRow(result.RowsAffected, result.Error)
}

// UpdateDeviceRequest implements oidc.DeviceStore.
func (s *Store) UpdateDeviceRequest(ctx context.Context, code secret.Hash, clientID string, poll func(*oidc.DeviceRequest) error) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		d, err := oneDeviceRequest(s.locked(ctx).Where("hash = ? AND client_id = ?", code[:], clientID))
		if err != nil {
			return err
		}
		if err := poll(d); err != nil {
			return err
		}
		return classify(s.conn(ctx).Exec(`UPDATE device_codes SET status = ?, wait_seconds = ?, polled_at = ? WHERE id = ?`,
			d.Status, int64(d.Interval/time.Second), at(d.Polled), d.ID).Error, "")
	})
}
