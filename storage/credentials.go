package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// CredentialByEmail implements authn.CredentialStore.
func (s *Store) CredentialByEmail(ctx context.Context, email string) (*authn.Credential, error) {
	var rows []struct {
		ID         string
		Disabled   bool
		Hash       *string
		MustChange *bool
	}
	err := s.conn(ctx).Raw(`SELECT u.id, u.disabled, p.hash, p.must_change FROM users u LEFT JOIN passwords p ON p.user_id = u.id
		WHERE u.email_key = ?`, directory.Fold(email)).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &authn.Credential{
		User: id.User(rows[0].ID), Disabled: rows[0].Disabled, Hash: orEmpty(rows[0].Hash),
		MustChange: rows[0].MustChange != nil && *rows[0].MustChange,
	}, nil
}

// PasswordHash implements authn.CredentialStore.
func (s *Store) PasswordHash(ctx context.Context, user id.User) (string, error) {
	var hash string
	err := s.conn(ctx).Table("passwords").Select("hash").Where("user_id = ?", user).Take(&hash).Error
	return hash, classify(err, "")
}

// PutPasswordHash implements authn.CredentialStore.
func (s *Store) PutPasswordHash(ctx context.Context, user id.User, hash string, changed time.Time) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO passwords (user_id, hash, changed_at) VALUES (?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at, must_change = false`,
		user, hash, at(changed)).Error, "")
}

// RequirePasswordChange implements authn.CredentialStore.
func (s *Store) RequirePasswordChange(ctx context.Context, user id.User) error {
	return classify(s.conn(ctx).Exec(`UPDATE passwords SET must_change = true WHERE user_id = ?`, user).Error, "")
}

// KeepOldPassword implements authn.CredentialStore.
func (s *Store) KeepOldPassword(ctx context.Context, user id.User, hash string, replaced time.Time, keep int) error {
	if hash != "" && keep > 0 {
		err := s.conn(ctx).Exec(`INSERT INTO old_passwords (id, user_id, hash, replaced_at) VALUES (?, ?, ?, ?)`,
			id.New[id.OldPassword](), user, hash, at(replaced)).Error
		if err != nil {
			return classify(err, "")
		}
	}
	return classify(s.conn(ctx).Exec(`DELETE FROM old_passwords WHERE user_id = ? AND id NOT IN
		(SELECT id FROM old_passwords WHERE user_id = ? ORDER BY id DESC LIMIT ?)`, user, user, keep).Error, "")
}

// OldPasswords implements authn.CredentialStore.
func (s *Store) OldPasswords(ctx context.Context, user id.User, most int) ([]string, error) {
	var hashes []string
	err := s.conn(ctx).Raw(`SELECT hash FROM old_passwords WHERE user_id = ? ORDER BY id DESC LIMIT ?`, user, most).Scan(&hashes).Error
	return hashes, classify(err, "")
}

// SwapPasswordHash implements authn.CredentialStore.
func (s *Store) SwapPasswordHash(ctx context.Context, user id.User, old, next string) (bool, error) {
	result := s.conn(ctx).Exec(`UPDATE passwords SET hash = ? WHERE user_id = ? AND hash = ?`, next, user, old)
	return result.RowsAffected == 1, classify(result.Error, "")
}

// SecondFactors implements authn.CredentialStore.
func (s *Store) SecondFactors(ctx context.Context, user id.User) (authn.SecondFactors, error) {
	var has authn.SecondFactors
	err := s.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&has.TOTP, &has.Passkeys, &has.RecoveryCodes) },
		`SELECT EXISTS (SELECT 1 FROM totp_keys WHERE user_id = ? AND status = ?),
		(SELECT count(*) FROM passkeys WHERE user_id = ?), (SELECT count(*) FROM recovery_codes WHERE user_id = ?)`,
		string(user), string(authn.TOTPActive), string(user), string(user))
	return has, err
}

// totpKeyRow is a row of the table totp_keys.
type totpKeyRow struct {
	ID        string `gorm:"primaryKey"`
	UserID    string
	Secret    []byte
	Status    string
	LastStep  int64
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
}

// TableName implements gorm's Tabler.
func (totpKeyRow) TableName() string { return "totp_keys" }

// TOTPKeys implements authn.CredentialStore.
func (s *Store) TOTPKeys(ctx context.Context, user id.User) ([]authn.TOTPKey, error) {
	var rows []totpKeyRow
	if err := s.conn(ctx).Where("user_id = ?", user).Order("status, id").Find(&rows).Error; err != nil { // active before pending
		return nil, classify(err, "")
	}
	keys := make([]authn.TOTPKey, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, authn.TOTPKey{
			ID: authn.TOTPKeyID(row.ID), User: id.User(row.UserID), Status: authn.TOTPStatus(row.Status), Secret: row.Secret, LastStep: row.LastStep, Created: row.CreatedAt.UTC(),
		})
	}
	return keys, nil
}

// CreateTOTPKey implements authn.CredentialStore.
func (s *Store) CreateTOTPKey(ctx context.Context, key authn.TOTPKey) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.conn(ctx).Exec(`DELETE FROM totp_keys WHERE user_id = ? AND status = ?`, key.User, key.Status).Error; err != nil {
			return classify(err, "")
		}
		return classify(s.conn(ctx).Create(&totpKeyRow{
			ID: string(key.ID), UserID: string(key.User), Secret: key.Secret, Status: string(key.Status),
			LastStep: key.LastStep, CreatedAt: at(key.Created),
		}).Error, "")
	})
}

// ActivateTOTPKey implements authn.CredentialStore.
func (s *Store) ActivateTOTPKey(ctx context.Context, user id.User, key authn.TOTPKeyID, step int64) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.conn(ctx).Exec(`DELETE FROM totp_keys WHERE user_id = ? AND status = ?`, user, authn.TOTPActive).Error; err != nil {
			return classify(err, "")
		}
		result := s.conn(ctx).Exec(`UPDATE totp_keys SET status = ?, last_step = ? WHERE id = ? AND user_id = ? AND status = ?`,
			authn.TOTPActive, step, key, user, authn.TOTPPending)
		return oneRow(result.RowsAffected, result.Error)
	})
}

// DeleteTOTPKeys implements authn.CredentialStore.
func (s *Store) DeleteTOTPKeys(ctx context.Context, user id.User, key authn.TOTPKeyID) (int, error) {
	condition, args := "", []any{user}
	if key != "" {
		condition, args = " AND id = ?", append(args, key)
	}
	var statuses []authn.TOTPStatus
	err := s.conn(ctx).Raw(`DELETE FROM totp_keys WHERE user_id = ?`+condition+` RETURNING status`, args...).Scan(&statuses).Error
	active := 0
	for _, status := range statuses {
		if status == authn.TOTPActive {
			active++
		}
	}
	return active, classify(err, "")
}

// AdvanceTOTPKey implements authn.CredentialStore.
func (s *Store) AdvanceTOTPKey(ctx context.Context, key authn.TOTPKeyID, step int64) (bool, error) {
	result := s.conn(ctx).Exec(`UPDATE totp_keys SET last_step = ? WHERE id = ? AND status = ? AND last_step < ?`, step, key, authn.TOTPActive, step)
	return result.RowsAffected == 1, classify(result.Error, "")
}
