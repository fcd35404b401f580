package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// loginRow is a row of the table logins.
type loginRow struct {
	ID          string `gorm:"primaryKey"`
	BrowserHash []byte
	Step        string
	State       string
	ExpiresAt   time.Time
}

// TableName implements gorm's Tabler.
func (loginRow) TableName() string { return "logins" }

// loginState is the column state. What a statement must see is a column of its
// own.
type loginState struct {
	Continue   string    `json:"continue"`
	Hint       string    `json:"hint,omitempty"`
	Identifier string    `json:"identifier,omitempty"`
	User       id.User   `json:"user,omitempty"`
	AMR        []string  `json:"amr,omitempty"`
	Fresh      bool      `json:"fresh,omitempty"`
	TrustFor   int64     `json:"trust_for,omitempty"` // seconds
	Mail       bool      `json:"mail,omitempty"`
	Created    time.Time `json:"created"`

	Tenant   id.Tenant           `json:"tenant,omitempty"`   // with Provider: authn.Login's Via
	Provider id.IdentityProvider `json:"provider,omitempty"` // the same
	AuthTime time.Time           `json:"auth_time,omitzero"`
}

// CreateLogin implements authn.LoginStore.
func (s *Store) CreateLogin(ctx context.Context, l *authn.Login, browser secret.Hash) error {
	state, err := encode(loginState{
		Continue: l.Request.Continue, Hint: l.Request.Hint, Identifier: l.Identifier, User: l.User, AMR: l.AMR,
		Fresh: l.Request.Fresh, TrustFor: int64(l.TrustFor / time.Second), Mail: l.Mail, Created: at(l.Created),
		Tenant: l.Via.Tenant, Provider: l.Via.Provider, AuthTime: l.AuthTime,
	})
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Create(&loginRow{
		ID: string(l.ID), BrowserHash: browser[:], Step: string(l.Step), State: state, ExpiresAt: at(l.Expires),
	}).Error, "")
}

// Login implements authn.LoginStore.
func (s *Store) Login(ctx context.Context, login id.Login, browser secret.Hash, now time.Time) (*authn.Login, error) {
	var row loginRow
	err := s.conn(ctx).Where("id = ? AND browser_hash = ? AND expires_at > ?", login, browser[:], at(now)).Take(&row).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var state loginState
	if err := decode(row.State, &state); err != nil {
		return nil, err
	}
	return &authn.Login{
		ID: id.Login(row.ID), Step: authn.Step(row.Step),
		Request:    authn.LoginRequest{Continue: state.Continue, Hint: state.Hint, Fresh: state.Fresh},
		Identifier: state.Identifier, User: state.User, AMR: state.AMR, TrustFor: time.Duration(state.TrustFor) * time.Second, Mail: state.Mail,
		Created: state.Created.UTC(), Expires: row.ExpiresAt.UTC(), AuthTime: state.AuthTime,
		Via: directory.Via{Tenant: state.Tenant, Provider: state.Provider},
	}, nil
}

// TakeLogin implements authn.LoginStore.
func (s *Store) TakeLogin(ctx context.Context, login id.Login) error {
	result := s.conn(ctx).Exec(`DELETE FROM logins WHERE id = ?`, login)
	return oneRow(result.RowsAffected, result.Error)
}

// oneRow turns the outcome of a conditional statement on one row into an error.
func oneRow(affected int64, err error) error {
	if err != nil {
		return classify(err, "")
	}
	if affected != 1 {
		return &fault.Error{Kind: fault.NotFound}
	}
	return nil
}

// UpdateAttempts implements authn.LoginStore.
func (s *Store) UpdateAttempts(ctx context.Context, key secret.Hash, now time.Time, change func(*authn.Attempts) error) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		// One statement finds, or makes, and locks: between two the row could go,
		// by an attempt that succeeds.
		var row struct {
			Failures     int
			BlockedUntil time.Time
			ExpiresAt    time.Time
		}
		err := s.conn(ctx).Raw(`INSERT INTO login_attempts (failures, key, blocked_until, expires_at) VALUES (0, ?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET failures = login_attempts.failures
			RETURNING failures, blocked_until, expires_at`, key[:], at(now), at(now)).Scan(&row).Error
		if err != nil {
			return classify(err, "")
		}
		var attempts authn.Attempts
		if row.ExpiresAt.After(at(now)) {
			attempts = authn.Attempts{Failures: row.Failures, BlockedUntil: row.BlockedUntil.UTC(), Expires: row.ExpiresAt.UTC()}
		}
		if err := change(&attempts); err != nil {
			return err
		}
		return classify(s.conn(ctx).Exec(`UPDATE login_attempts SET failures = ?, blocked_until = ?, expires_at = ? WHERE key = ?`,
			attempts.Failures, at(attempts.BlockedUntil), at(attempts.Expires), key[:]).Error, "")
	})
}

// Attempts implements authn.LoginStore.
func (s *Store) Attempts(ctx context.Context, key secret.Hash, now time.Time) (authn.Attempts, error) {
	var found []struct {
		Failures     int
		BlockedUntil time.Time
		ExpiresAt    time.Time
	}
	err := s.conn(ctx).Raw(`SELECT failures, blocked_until, expires_at FROM login_attempts WHERE key = ? AND expires_at > ?`, key[:], at(now)).Scan(&found).Error
	if err != nil || len(found) == 0 {
		return authn.Attempts{}, classify(err, "")
	}
	return authn.Attempts{Failures: found[0].Failures, BlockedUntil: found[0].BlockedUntil.UTC(), Expires: found[0].ExpiresAt.UTC()}, nil
}

// ForgetAttempts implements authn.LoginStore.
func (s *Store) ForgetAttempts(ctx context.Context, keys ...secret.Hash) error {
	hashes := make([][]byte, len(keys))
	for i := range keys {
		hashes[i] = keys[i][:]
	}
	return classify(s.conn(ctx).Exec(`DELETE FROM login_attempts WHERE key IN ?`, hashes).Error, "")
}

// DeleteExpired implements authn.Store.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (int, error) {
	deleted := 0
	for _, statement := range []string{
		`DELETE FROM logins WHERE expires_at < ?`,
		`DELETE FROM login_attempts WHERE expires_at < ?`,
		// That an invitation was not answered is noticed first.
		`DELETE FROM one_time_links WHERE expires_at < ? AND (used_at IS NOT NULL OR purpose <> '` + authn.PurposeInvitation + `')`,
		`DELETE FROM email_changes WHERE expires_at < ?`,
		`DELETE FROM trusted_devices WHERE expires_at < ?`,
		`DELETE FROM known_browsers WHERE expires_at < ?`,
		`DELETE FROM passkey_challenges WHERE expires_at < ?`,
		`/* across tenants: they are over */ DELETE FROM upstream_sign_ins WHERE expires_at < ?`,
		`DELETE FROM sessions WHERE expires_at < ?`,
		`DELETE FROM sessions WHERE ended_at < ?`,
	} {
		result := s.conn(ctx).Exec(statement, at(before))
		if result.Error != nil {
			return deleted, classify(result.Error, "")
		}
		deleted += int(result.RowsAffected)
	}
	return deleted, nil
}
