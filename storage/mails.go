package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
)

var _ mail.Store = (*Store)(nil)

// mailRow is a row of the table mails.
type mailRow struct {
	ID        string `gorm:"primaryKey"`
	Letter    []byte
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt time.Time
}

// TableName implements gorm's Tabler.
func (mailRow) TableName() string { return "mails" }

func (r mailRow) posted() mail.Posted {
	return mail.Posted{ID: id.Mail(r.ID), Sealed: r.Letter, Created: r.CreatedAt.UTC(), Expires: r.ExpiresAt.UTC()}
}

// CreateMail implements mail.Store.
func (s *Store) CreateMail(ctx context.Context, m mail.Posted) error {
	return classify(s.conn(ctx).Create(&mailRow{ID: string(m.ID), Letter: m.Sealed, CreatedAt: at(m.Created), ExpiresAt: at(m.Expires)}).Error, "")
}

// Mail implements mail.Store.
func (s *Store) Mail(ctx context.Context, m id.Mail) (*mail.Posted, error) {
	var rows []mailRow
	if err := s.conn(ctx).Where("id = ?", m).Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	found := rows[0].posted()
	return &found, nil
}

// Mails implements mail.Store.
func (s *Store) Mails(ctx context.Context, limit int) ([]mail.Posted, error) {
	var rows []mailRow
	if err := s.conn(ctx).Order("id DESC").Limit(limit).Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	found := make([]mail.Posted, 0, len(rows))
	for _, row := range rows {
		found = append(found, row.posted())
	}
	return found, nil
}

// DeleteMail implements mail.Store.
func (s *Store) DeleteMail(ctx context.Context, m id.Mail) error {
	return classify(s.conn(ctx).Exec(`DELETE FROM mails WHERE id = ?`, m).Error, "")
}

// DeleteMails implements mail.Store.
func (s *Store) DeleteMails(ctx context.Context, before time.Time) error {
	return classify(s.conn(ctx).Exec(`DELETE FROM mails WHERE expires_at < ?`, at(before)).Error, "")
}
