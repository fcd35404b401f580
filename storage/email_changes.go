package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// emailChangeRow is a row of the table email_changes.
type emailChangeRow struct {
	UserID                     string
	OldAddress, NewAddress     string
	OldHash                    []byte
	OldConfirmed, NewConfirmed bool
	CreatedAt, ExpiresAt       time.Time
}

const emailChangeColumns = `user_id, old_address, new_address, old_hash, old_confirmed, new_confirmed, created_at, expires_at`

// emailChange returns the change that the statement finds, and by the link to
// which of the addresses.
func (s *Store) emailChange(ctx context.Context, link secret.Hash, query string, values ...any) (*directory.EmailChange, directory.EmailSide, error) {
	var rows []emailChangeRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, "", classify(err, "")
	}
	if len(rows) == 0 {
		return nil, "", &fault.Error{Kind: fault.NotFound}
	}
	row, side := rows[0], directory.NewAddress
	if link == secret.Hash(row.OldHash) {
		side = directory.OldAddress
	}
	return &directory.EmailChange{
		User: id.User(row.UserID), Old: row.OldAddress, New: row.NewAddress, OldConfirmed: row.OldConfirmed, NewConfirmed: row.NewConfirmed,
		Created: row.CreatedAt.UTC(), Expires: row.ExpiresAt.UTC(),
	}, side, nil
}

// PutEmailChange implements directory.EmailChangeStore.
func (s *Store) PutEmailChange(ctx context.Context, c directory.EmailChange, toOld, toNew secret.Hash) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO email_changes (user_id, old_address, new_address, old_hash, new_hash, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET old_address = excluded.old_address, new_address = excluded.new_address,
		old_hash = excluded.old_hash, new_hash = excluded.new_hash, old_confirmed = false, new_confirmed = false,
		created_at = excluded.created_at, expires_at = excluded.expires_at`,
		c.User, c.Old, c.New, toOld[:], toNew[:], at(c.Created), at(c.Expires)).Error, "")
}

// EmailChange implements directory.EmailChangeStore.
func (s *Store) EmailChange(ctx context.Context, user id.User, now time.Time) (*directory.EmailChange, error) {
	c, _, err := s.emailChange(ctx, secret.Hash{}, `SELECT `+emailChangeColumns+` FROM email_changes WHERE user_id = ? AND expires_at > ?`, user, at(now))
	return c, err
}

// unusedEmailLink is the condition that a link to one of the addresses is unused.
const unusedEmailLink = ` expires_at > ? AND (old_hash = ? AND NOT old_confirmed OR new_hash = ? AND NOT new_confirmed)`

// EmailChangeByLink implements directory.EmailChangeStore.
func (s *Store) EmailChangeByLink(ctx context.Context, link secret.Hash, now time.Time) (*directory.EmailChange, directory.EmailSide, error) {
	return s.emailChange(ctx, link, `SELECT `+emailChangeColumns+` FROM email_changes WHERE`+unusedEmailLink, at(now), link[:], link[:])
}

// ConfirmEmailChange implements directory.EmailChangeStore. Of two links that are
// used at once the second sees what the first has made of the row.
func (s *Store) ConfirmEmailChange(ctx context.Context, user id.User, link secret.Hash, now time.Time) (*directory.EmailChange, directory.EmailSide, error) {
	return s.emailChange(ctx, link, `UPDATE email_changes SET old_confirmed = (old_confirmed OR old_hash = ?), new_confirmed = (new_confirmed OR new_hash = ?)
		WHERE user_id = ? AND`+unusedEmailLink+` RETURNING `+emailChangeColumns, link[:], link[:], user, at(now), link[:], link[:])
}

// DeleteEmailChange implements directory.EmailChangeStore.
func (s *Store) DeleteEmailChange(ctx context.Context, user id.User) error {
	return classify(s.conn(ctx).Exec(`DELETE FROM email_changes WHERE user_id = ?`, user).Error, "")
}
