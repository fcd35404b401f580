package storage

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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

// HoldDetailTypes implements oidc.DetailTypeStore. On SQLite the transaction itself
// holds every row.
func (s *Store) HoldDetailTypes(ctx context.Context, names []string) ([]string, error) {
	query := s.conn(ctx).Model(&detailTypeRow{}).Where("name IN ?", names)
	if !s.sqlite {
		query = query.Clauses(clause.Locking{Strength: "SHARE"})
	}
	var there []string
	return there, classify(query.Pluck("name", &there).Error, "")
}

// DeleteDetailType implements oidc.DetailTypeStore.
func (s *Store) DeleteDetailType(ctx context.Context, name string) error {
	result := s.conn(ctx).Exec(`DELETE FROM authorization_details_types WHERE name = ?`, name)
	return oneRow(result.RowsAffected, classify(result.Error, ""))
}

// ApplicationsWithDetailType implements oidc.DetailTypeStore.
func (s *Store) ApplicationsWithDetailType(ctx context.Context, name string) ([]string, error) {
	var rows []applicationRow
	err := s.conn(ctx).Raw(`/* across tenants: types of details are the instance's */
		SELECT client_id, security FROM applications WHERE security LIKE '%"authorization_details_types"%' ORDER BY client_id`).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var listing []string
	for _, row := range rows {
		var security oidc.Security
		if err := decode(row.Security, &security); err != nil {
			return nil, err
		}
		if slices.Contains(security.DetailTypes, name) {
			listing = append(listing, row.ClientID)
		}
	}
	return listing, nil
}

// GrantsWithDetailType implements oidc.DetailTypeStore. Which types a grant's details
// are of stands in their text.
func (s *Store) GrantsWithDetailType(ctx context.Context, name string) ([]oidc.Grant, error) {
	all, err := grantsOf(s.conn(ctx).Raw(`/* across tenants: types of details are the instance's */
		SELECT ` + grantColumns + ` FROM grants WHERE details <> '' AND revoked_at IS NULL ORDER BY tenant_id, id`))
	return slices.DeleteFunc(all, func(g oidc.Grant) bool { return !slices.Contains(g.Details.Types(), name) }), err
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
