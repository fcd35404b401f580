package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// passkeyRow is a row of the table passkeys.
type passkeyRow struct {
	ID             string `gorm:"primaryKey"`
	UserID         string
	CredentialID   []byte
	PublicKey      []byte
	SignCount      int64
	AAGUID         []byte `gorm:"column:aaguid"`
	Transports     string
	Name           string
	BackupEligible bool
	BackedUp       bool
	CreatedAt      time.Time `gorm:"autoCreateTime:false"`
	LastUsedAt     *time.Time
}

// TableName implements gorm's Tabler.
func (passkeyRow) TableName() string { return "passkeys" }

// Passkeys implements authn.PasskeyStore.
func (s *Store) Passkeys(ctx context.Context, user id.User) ([]authn.Passkey, error) {
	var rows []passkeyRow
	if err := s.conn(ctx).Where("user_id = ?", user).Order("id").Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	passkeys := make([]authn.Passkey, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		p := authn.Passkey{
			ID: id.Passkey(row.ID), User: id.User(row.UserID), CredentialID: row.CredentialID, PublicKey: row.PublicKey,
			SignCount: uint32(row.SignCount), //nolint:gosec // was one
			AAGUID:    row.AAGUID, Name: row.Name,
			BackupEligible: row.BackupEligible, BackedUp: row.BackedUp, Created: row.CreatedAt.UTC(),
		}
		if row.LastUsedAt != nil {
			p.LastUsed = row.LastUsedAt.UTC()
		}
		if err := decode(row.Transports, &p.Transports); err != nil {
			return nil, err
		}
		passkeys = append(passkeys, p)
	}
	return passkeys, nil
}

// CreatePasskey implements authn.PasskeyStore.
func (s *Store) CreatePasskey(ctx context.Context, p *authn.Passkey) error {
	transports, err := encode(p.Transports)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&passkeyRow{
		ID: string(p.ID), UserID: string(p.User), CredentialID: p.CredentialID, PublicKey: p.PublicKey,
		SignCount: int64(p.SignCount), AAGUID: p.AAGUID, Transports: transports, Name: p.Name,
		BackupEligible: p.BackupEligible, BackedUp: p.BackedUp, CreatedAt: at(p.Created),
	}).Error, "passkey")
}

// UsePasskey implements authn.PasskeyStore.
func (s *Store) UsePasskey(ctx context.Context, p *authn.Passkey, before uint32) error {
	result := s.conn(ctx).Exec(`UPDATE passkeys SET sign_count = ?, backed_up = ?, last_used_at = ? WHERE id = ? AND sign_count = ?`,
		p.SignCount, p.BackedUp, at(p.LastUsed), p.ID, before)
	return oneRow(result.RowsAffected, result.Error)
}

// RenamePasskey implements authn.PasskeyStore.
func (s *Store) RenamePasskey(ctx context.Context, user id.User, passkey id.Passkey, name string) error {
	result := s.conn(ctx).Exec(`UPDATE passkeys SET name = ? WHERE id = ? AND user_id = ?`, name, passkey, user)
	return oneRow(result.RowsAffected, result.Error)
}

// DeletePasskeys implements authn.PasskeyStore.
func (s *Store) DeletePasskeys(ctx context.Context, user id.User, passkey id.Passkey) (int, error) {
	query := s.conn(ctx).Where("user_id = ?", user)
	if passkey != "" {
		query = query.Where("id = ?", passkey)
	}
	result := query.Delete(&passkeyRow{})
	return int(result.RowsAffected), classify(result.Error, "")
}

// PasskeyHandle implements authn.PasskeyStore.
func (s *Store) PasskeyHandle(ctx context.Context, user id.User, fresh []byte) ([]byte, error) {
	var row struct{ Handle []byte }
	err := s.conn(ctx).Raw(`INSERT INTO passkey_handles (user_id, handle) VALUES (?, ?)
		ON CONFLICT (user_id) DO UPDATE SET handle = passkey_handles.handle RETURNING handle`, user, fresh).Scan(&row).Error
	return row.Handle, classify(err, "")
}

// UserByPasskeyHandle implements authn.PasskeyStore.
func (s *Store) UserByPasskeyHandle(ctx context.Context, handle []byte) (id.User, error) {
	var users []id.User
	err := s.conn(ctx).Raw(`SELECT user_id FROM passkey_handles WHERE handle = ?`, handle).Scan(&users).Error
	if err != nil {
		return "", classify(err, "")
	}
	if len(users) == 0 {
		return "", &fault.Error{Kind: fault.NotFound}
	}
	return users[0], nil
}

// CreateChallenge implements authn.PasskeyStore.
func (s *Store) CreateChallenge(ctx context.Context, c authn.Challenge, challenge secret.Hash) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO passkey_challenges (purpose, owner, state, expires_at, hash) VALUES (?, ?, ?, ?, ?)`,
		c.Purpose, c.Owner, string(c.State), at(c.Expires), challenge[:]).Error, "")
}

// TakeChallenge implements authn.PasskeyStore.
func (s *Store) TakeChallenge(ctx context.Context, purpose, owner string, challenge secret.Hash, now time.Time) ([]byte, error) {
	var states []string
	err := s.conn(ctx).Raw(`DELETE FROM passkey_challenges WHERE hash = ? AND purpose = ? AND owner = ? AND expires_at > ? RETURNING state`,
		challenge[:], purpose, owner, at(now)).Scan(&states).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(states) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return []byte(states[0]), nil
}
