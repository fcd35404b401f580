package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// KnowBrowser implements authn.BrowserStore.
func (s *Store) KnowBrowser(ctx context.Context, user id.User, browser secret.Hash, now, expires time.Time) (known bool, others int, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		var counts struct{ Same, Others int }
		err := s.conn(ctx).Raw(`SELECT count(CASE WHEN hash = ? THEN 1 END) AS same, count(CASE WHEN hash <> ? THEN 1 END) AS others
			FROM known_browsers WHERE user_id = ? AND expires_at > ?`, browser[:], browser[:], user, at(now)).Scan(&counts).Error
		if err != nil {
			return classify(err, "")
		}
		known, others = counts.Same > 0, counts.Others
		return classify(s.conn(ctx).Exec(`INSERT INTO known_browsers (user_id, hash, expires_at) VALUES (?, ?, ?)
			ON CONFLICT (user_id, hash) DO UPDATE SET expires_at = excluded.expires_at`, user, browser[:], at(expires)).Error, "")
	})
	return known, others, err
}
