package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// deviceRow is a row of the table trusted_devices.
type deviceRow struct {
	ID         string `gorm:"primaryKey"`
	UserID     string
	TokenHash  []byte
	UserAgent  string
	Address    string
	TrustedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time
	ByMail     bool
}

// TableName implements gorm's Tabler.
func (deviceRow) TableName() string { return "trusted_devices" }

// CreateTrustedDevice implements authn.DeviceStore.
func (s *Store) CreateTrustedDevice(ctx context.Context, d *authn.TrustedDevice, token secret.Hash) error {
	return classify(s.conn(ctx).Create(&deviceRow{
		ID: string(d.ID), UserID: string(d.User), TokenHash: token[:], UserAgent: d.UserAgent, Address: d.Address,
		TrustedAt: at(d.TrustedAt), LastUsedAt: at(d.LastUsed), ExpiresAt: at(d.Expires), ByMail: d.ByMail,
	}).Error, "")
}

// TrustedDevice implements authn.DeviceStore.
func (s *Store) TrustedDevice(ctx context.Context, user id.User, token secret.Hash, now time.Time) (*authn.TrustedDevice, error) {
	found, err := s.trustedDevices(ctx, "user_id = ? AND token_hash = ? AND expires_at > ?", user, token[:], at(now))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &found[0], nil
}

// TrustedDevices implements authn.DeviceStore.
func (s *Store) TrustedDevices(ctx context.Context, user id.User, now time.Time) ([]authn.TrustedDevice, error) {
	return s.trustedDevices(ctx, "user_id = ? AND expires_at > ?", user, at(now))
}

func (s *Store) trustedDevices(ctx context.Context, condition string, args ...any) ([]authn.TrustedDevice, error) {
	var rows []deviceRow
	if err := s.conn(ctx).Where(condition, args...).Order("last_used_at DESC, id DESC").Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	found := make([]authn.TrustedDevice, 0, len(rows))
	for _, row := range rows {
		found = append(found, authn.TrustedDevice{
			ID: id.TrustedDevice(row.ID), User: id.User(row.UserID), UserAgent: row.UserAgent, Address: row.Address,
			TrustedAt: row.TrustedAt.UTC(), LastUsed: row.LastUsedAt.UTC(), Expires: row.ExpiresAt.UTC(), ByMail: row.ByMail,
		})
	}
	return found, nil
}

// RenewTrustedDevice implements authn.DeviceStore.
func (s *Store) RenewTrustedDevice(ctx context.Context, d *authn.TrustedDevice, old, next secret.Hash) error {
	result := s.conn(ctx).Exec(`UPDATE trusted_devices SET token_hash = ?, user_agent = ?, address = ?, last_used_at = ?, expires_at = ?
		WHERE id = ? AND token_hash = ?`, next[:], d.UserAgent, d.Address, at(d.LastUsed), at(d.Expires), d.ID, old[:])
	return oneRow(result.RowsAffected, result.Error)
}

// DeleteTrustedDevices implements authn.DeviceStore.
func (s *Store) DeleteTrustedDevices(ctx context.Context, user id.User, device id.TrustedDevice) (int, error) {
	query := s.conn(ctx).Where("user_id = ?", user)
	if device != "" {
		query = query.Where("id = ?", device)
	}
	result := query.Delete(&deviceRow{})
	return int(result.RowsAffected), classify(result.Error, "")
}

// ReplaceRecoveryCodes implements authn.RecoveryStore.
func (s *Store) ReplaceRecoveryCodes(ctx context.Context, user id.User, codes []secret.Hash) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.conn(ctx).Exec(`DELETE FROM recovery_codes WHERE user_id = ?`, user).Error; err != nil {
			return classify(err, "")
		}
		for _, code := range codes {
			if err := s.conn(ctx).Exec(`INSERT INTO recovery_codes (user_id, hash) VALUES (?, ?)`, user, code[:]).Error; err != nil {
				return classify(err, "")
			}
		}
		return nil
	})
}

// TakeRecoveryCode implements authn.RecoveryStore.
func (s *Store) TakeRecoveryCode(ctx context.Context, user id.User, code secret.Hash) (bool, error) {
	result := s.conn(ctx).Exec(`DELETE FROM recovery_codes WHERE user_id = ? AND hash = ?`, user, code[:])
	return result.RowsAffected == 1, classify(result.Error, "")
}

// RecoveryCodes implements authn.RecoveryStore.
func (s *Store) RecoveryCodes(ctx context.Context, user id.User) (int, error) {
	var count int
	err := s.conn(ctx).Raw(`SELECT count(*) FROM recovery_codes WHERE user_id = ?`, user).Scan(&count).Error
	return count, classify(err, "")
}
