package storage

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gorm.io/gorm/clause"

	"github.com/rolecall/rolecall/oidc"
)

// detailTypeRow is a row of the table authorization_details_types.
type detailTypeRow struct {
	Name       string `gorm:"primaryKey"`
	Definition string // JSON Schema
	Names      string
	Fields     string
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt time.Time
}

// TableName implements gorm's Tabler.
func (detailTypeRow) TableName() string { return "authorization_details_types" }

// DetailTypes implements oidc.DetailTypeStore.
func (s *Store) DetailTypes(ctx context.Context) ([]oidc.DetailType, error) {
	var rows []detailTypeRow
	if err := s.conn(ctx).Order("name").Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	types := make([]oidc.DetailType, len(rows))
	for i, r := range rows {
		types[i] = oidc.DetailType{Name: r.Name, Schema: json.RawMessage(r.Definition), Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC()}
		if err := errors.Join(decode(r.Names, &types[i].Names), decode(r.Fields, &types[i].Fields)); err != nil {
			return nil, err
		}
	}
	return types, nil
}

// SaveDetailType implements oidc.DetailTypeStore.
func (s *Store) SaveDetailType(ctx context.Context, t *oidc.DetailType) error {
	names, err := encode(t.Names)
	if err != nil {
		return err
	}
	fields, err := encode(t.Fields)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.AssignmentColumns([]string{"definition", "names", "fields", "modified_at"}),
	}).Create(&detailTypeRow{
		Name: t.Name, Definition: string(t.Schema), Names: names, Fields: fields, CreatedAt: at(t.Created), ModifiedAt: at(t.Modified),
	}).Error, "type")
}

// encodeDetails returns authorization details as the text of a column, which is
// empty where there are none: most grants have none, and are read with every request.
func encodeDetails(details oidc.Details) (string, error) {
	if len(details) == 0 {
		return "", nil
	}
	return encode(details)
}

func decodeDetails(text string) (details oidc.Details, err error) {
	if text == "" {
		return nil, nil
	}
	return details, decode(text, &details)
}
