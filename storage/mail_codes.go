package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// PutMailCode implements authn.MailCodeStore.
func (s *Store) PutMailCode(ctx context.Context, code authn.MailCode) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO mail_codes (login_id, hash, tries, sent_at, expires_at) VALUES (?, ?, 0, ?, ?)
		ON CONFLICT (login_id) DO UPDATE SET hash = excluded.hash, tries = 0, sent_at = excluded.sent_at, expires_at = excluded.expires_at`,
		code.Login, code.Hash[:], at(code.Sent), at(code.Expires)).Error, "")
}

// HasMailCode implements authn.MailCodeStore.
func (s *Store) HasMailCode(ctx context.Context, login id.Login, most int, now time.Time) (bool, error) {
	var count int
	err := s.conn(ctx).Raw(`SELECT count(*) FROM mail_codes WHERE login_id = ? AND tries < ? AND expires_at > ?`, login, most, at(now)).Scan(&count).Error
	return count > 0, classify(err, "")
}

// TryMailCode implements authn.MailCodeStore.
func (s *Store) TryMailCode(ctx context.Context, login id.Login, most int, now time.Time) (secret.Hash, error) {
	var found []struct{ Hash []byte }
	err := s.conn(ctx).Raw(`UPDATE mail_codes SET tries = tries + 1 WHERE login_id = ? AND tries < ? AND expires_at > ? RETURNING hash`,
		login, most, at(now)).Scan(&found).Error
	if err != nil {
		return secret.Hash{}, classify(err, "")
	}
	if len(found) == 0 {
		return secret.Hash{}, &fault.Error{Kind: fault.NotFound}
	}
	return secret.Hash(found[0].Hash), nil
}
