package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

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
// transaction itself holds every row. On PostgreSQL all versions of the name are
// held: a statement that has waited for an upgrade sees the rows which the
// upgrade changed, but not the one that it added; the next statement does.
func (s *Store) BlueprintInForce(ctx context.Context, name string) (*directory.BlueprintVersion, error) {
	if _, transaction := ctx.Value(txKey{}).(*gorm.DB); transaction && !s.sqlite {
		if err := s.conn(ctx).Exec(`SELECT version FROM blueprints WHERE name = ? FOR SHARE`, name).Error; err != nil {
			return nil, classify(err, "")
		}
	}
	return s.oneBlueprint(ctx, `SELECT * FROM blueprints WHERE name = ? AND in_force`, name)
}

// LockBlueprint implements directory.BlueprintStore.
func (s *Store) LockBlueprint(ctx context.Context, name string) error {
	if s.sqlite {
		return nil
	}
	return classify(s.conn(ctx).Exec(`SELECT version FROM blueprints WHERE name = ? FOR UPDATE`, name).Error, "")
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
	var rows []struct {
		Row     blueprintRow `gorm:"embedded"`
		Tenants int
	}
	err := s.conn(ctx).Raw(`SELECT b.name, b.version, '' AS source, b.in_force, b.created_at,
		(SELECT count(*) FROM tenants t WHERE t.blueprint = b.name AND t.blueprint_version = b.version) AS tenants
		FROM blueprints b ORDER BY b.name, b.version`).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	versions := make([]directory.BlueprintVersion, 0, len(rows))
	for i := range rows {
		v := rows[i].Row.version()
		v.Tenants = rows[i].Tenants
		versions = append(versions, *v)
	}
	return versions, nil
}

// UnstoredBlueprints implements directory.BlueprintStore.
func (s *Store) UnstoredBlueprints(ctx context.Context) ([]string, error) {
	var names []string
	err := s.conn(ctx).Raw(`SELECT DISTINCT t.blueprint FROM tenants t
		WHERE NOT EXISTS (SELECT 1 FROM blueprints b WHERE b.name = t.blueprint AND b.version = t.blueprint_version)`).Scan(&names).Error
	return names, classify(err, "")
}

// AddBlueprintVersion implements directory.BlueprintStore.
func (s *Store) AddBlueprintVersion(ctx context.Context, v directory.BlueprintVersion) (bool, error) {
	done := s.conn(ctx).Exec(`INSERT INTO blueprints (name, version, source, in_force, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		v.Name, v.Version, string(v.Source), v.InForce, at(v.Created))
	return done.RowsAffected == 1, classify(done.Error, "blueprint")
}

// ReplaceBlueprintVersion implements directory.BlueprintStore.
func (s *Store) ReplaceBlueprintVersion(ctx context.Context, v directory.BlueprintVersion) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		db := s.conn(ctx)
		if err := db.Exec(`UPDATE blueprints SET in_force = ? WHERE name = ? AND in_force`, false, v.Name).Error; err != nil {
			return classify(err, "")
		}
		return classify(db.Exec(`INSERT INTO blueprints (name, version, source, in_force, created_at) VALUES (?, ?, ?, ?, ?)`,
			v.Name, v.Version, string(v.Source), true, at(v.Created)).Error, "blueprint")
	})
}
