package storage

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// signingKeyRow is a row of the table signing_keys. The public key is PKIX in
// base64, the private one sealed.
type signingKeyRow struct {
	ID          string `gorm:"primaryKey"`
	Alg         string
	State       string
	PublicKey   string
	PrivateKey  []byte
	CreatedAt   time.Time `gorm:"autoCreateTime:false"`
	ActivatedAt *time.Time
	RetiredAt   *time.Time
}

// TableName implements gorm's Tabler.
func (signingKeyRow) TableName() string { return "signing_keys" }

func signingKeyRowOf(k *oidc.Key) signingKeyRow {
	return signingKeyRow{
		ID: string(k.ID), Alg: string(k.Alg), State: string(k.State),
		PublicKey: base64.StdEncoding.EncodeToString(k.Public), PrivateKey: k.Private,
		CreatedAt: at(k.Created), ActivatedAt: atOrNull(k.Activated), RetiredAt: atOrNull(k.Retired),
	}
}

func (r signingKeyRow) key() (oidc.Key, error) {
	public, err := base64.StdEncoding.DecodeString(r.PublicKey)
	if err != nil {
		return oidc.Key{}, fmt.Errorf("storage: signing key %s: %w", r.ID, err)
	}
	return oidc.Key{
		ID: id.Key(r.ID), Alg: oidc.Alg(r.Alg), State: oidc.KeyState(r.State), Public: public, Private: r.PrivateKey,
		Created: r.CreatedAt.UTC(), Activated: orZeroTime(r.ActivatedAt), Retired: orZeroTime(r.RetiredAt),
	}, nil
}

// SigningKeys implements oidc.KeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]oidc.Key, error) {
	var rows []signingKeyRow
	if err := s.conn(ctx).Where("state <> ?", oidc.KeyGone).Order("created_at, id").Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	keys := make([]oidc.Key, 0, len(rows))
	for _, row := range rows {
		key, err := row.key()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// CreateSigningKey implements oidc.KeyStore.
func (s *Store) CreateSigningKey(ctx context.Context, k *oidc.Key) (bool, error) {
	row := signingKeyRowOf(k)
	result := s.conn(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&row)
	return result.RowsAffected == 1, classify(result.Error, "")
}

// UpdateSigningKeys implements oidc.KeyStore.
func (s *Store) UpdateSigningKeys(ctx context.Context, change func([]oidc.Key) ([]oidc.Key, error)) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if !s.sqlite {
			// Locks of rows would not keep out a caller who adds one.
			if err := s.conn(ctx).Exec(`LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE`).Error; err != nil {
				return classify(err, "")
			}
		}
		keys, err := s.SigningKeys(ctx)
		if err != nil {
			return err
		}
		changed, err := change(keys)
		if err != nil {
			return err
		}
		for i := range changed {
			row := signingKeyRowOf(&changed[i])
			err := s.conn(ctx).Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, UpdateAll: true}).Create(&row).Error
			if err != nil {
				return classify(err, "")
			}
		}
		return nil
	})
}
