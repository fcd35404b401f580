package storage

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// blueprintRow is a row of the table blueprints.
type blueprintRow struct {
	Name      string
	Version   int
	Source    string
	InForce   bool
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
}

func (r *blueprintRow) version() *directory.BlueprintVersion {
	return &directory.BlueprintVersion{Name: r.Name, Version: r.Version, Source: []byte(r.Source), InForce: r.InForce, Created: r.CreatedAt.UTC()}
}

// BlueprintVersion implements directory.BlueprintStore.
func (s *Store) BlueprintVersion(ctx context.Context, name string, version int) (*directory.BlueprintVersion, error) {
	return s.oneBlueprint(ctx, `SELECT * FROM blueprints WHERE name = ? AND version = ?`, name, version)
}

// BlueprintInForce implements directory.BlueprintStore. On SQLite the
// transaction itself holds every row.
func (s *Store) BlueprintInForce(ctx context.Context, name string) (*directory.BlueprintVersion, error) {
	query := `SELECT * FROM blueprints WHERE name = ? AND in_force`
	if !s.sqlite {
		query += ` FOR SHARE`
	}
	return s.oneBlueprint(ctx, query, name)
}

func (s *Store) oneBlueprint(ctx context.Context, query string, args ...any) (*directory.BlueprintVersion, error) {
	var rows []blueprintRow
	if err := s.conn(ctx).Raw(query, args...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].version(), nil
}

// BlueprintVersions implements directory.BlueprintStore.
func (s *Store) BlueprintVersions(ctx context.Context) ([]directory.BlueprintVersion, error) {
	var rows []blueprintRow
	if err := s.conn(ctx).Raw(`SELECT name, version, '' AS source, in_force, created_at FROM blueprints ORDER BY name, version`).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	versions := make([]directory.BlueprintVersion, 0, len(rows))
	for i := range rows {
		versions = append(versions, *rows[i].version())
	}
	return versions, nil
}

// AddBlueprintVersion implements directory.BlueprintStore.
func (s *Store) AddBlueprintVersion(ctx context.Context, v directory.BlueprintVersion) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		db := s.conn(ctx)
		if v.InForce {
			if err := db.Exec(`UPDATE blueprints SET in_force = ? WHERE name = ? AND in_force AND version <> ?`, false, v.Name, v.Version).Error; err != nil {
				return classify(err, "")
			}
		}
		return classify(db.Exec(`INSERT INTO blueprints (name, version, source, in_force, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			v.Name, v.Version, string(v.Source), v.InForce, at(v.Created)).Error, "blueprint")
	})
}
