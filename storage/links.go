package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// linkRow is a row of the table one_time_links.
type linkRow struct {
	Purpose   string
	Subject   string
	SentTo    string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// PutLink implements authn.LinkStore. A partial unique index lets one unused
// link be for each purpose and subject. (The hash is not the first value: gorm
// takes bytes after a parenthesis for a list.)
func (s *Store) PutLink(ctx context.Context, l authn.Link, token secret.Hash) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO one_time_links (purpose, subject, hash, sent_to, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (purpose, subject) WHERE used_at IS NULL
		DO UPDATE SET hash = excluded.hash, sent_to = excluded.sent_to, created_at = excluded.created_at, expires_at = excluded.expires_at`,
		l.Purpose, l.Subject, token[:], l.SentTo, at(l.Created), at(l.Expires)).Error, "")
}

// Link implements authn.LinkStore.
func (s *Store) Link(ctx context.Context, purpose string, token secret.Hash, now time.Time) (*authn.Link, error) {
	return oneLink(s.conn(ctx).Raw(`SELECT purpose, subject, sent_to, created_at, expires_at FROM one_time_links
		WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?`, token[:], purpose, at(now)))
}

// TakeLink implements authn.LinkStore.
func (s *Store) TakeLink(ctx context.Context, purpose string, token secret.Hash, now time.Time) (*authn.Link, error) {
	return oneLink(s.conn(ctx).Raw(`UPDATE one_time_links SET used_at = ?
		WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?
		RETURNING purpose, subject, sent_to, created_at, expires_at`, at(now), token[:], purpose, at(now)))
}

// TakeExpiredLink implements authn.LinkStore.
func (s *Store) TakeExpiredLink(ctx context.Context, purpose string, now time.Time) (*authn.Link, error) {
	return oneLink(s.conn(ctx).Raw(`UPDATE one_time_links SET used_at = ?
		WHERE hash = (SELECT hash FROM one_time_links WHERE purpose = ? AND used_at IS NULL AND expires_at <= ? ORDER BY expires_at LIMIT 1)
		AND used_at IS NULL AND expires_at <= ?
		RETURNING purpose, subject, sent_to, created_at, expires_at`, at(now), purpose, at(now), at(now)))
}

// DropPasswordLinks implements authn.LinkStore.
func (s *Store) DropPasswordLinks(ctx context.Context, user id.User) error {
	return classify(s.conn(ctx).Exec(`DELETE FROM one_time_links WHERE used_at IS NULL AND (purpose = ? AND subject = ? OR purpose = ? AND subject LIKE ?)`,
		authn.PurposeReset, user, authn.PurposeInvitation, string(user)+" %").Error, "")
}

func oneLink(query *gorm.DB) (*authn.Link, error) {
	var rows []linkRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	row := rows[0]
	return &authn.Link{Purpose: row.Purpose, Subject: row.Subject, SentTo: row.SentTo, Created: row.CreatedAt.UTC(), Expires: row.ExpiresAt.UTC()}, nil
}

// HasOperator implements authn.Store.
func (s *Store) HasOperator(ctx context.Context) (bool, error) {
	var has bool
	err := s.conn(ctx).Raw(`SELECT EXISTS (SELECT 1 FROM users WHERE operator)`).Scan(&has).Error
	return has, classify(err, "")
}
