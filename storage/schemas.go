package storage

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// SchemaVersion implements directory.SchemaStore.
func (s *Store) SchemaVersion(ctx context.Context, tenant id.Tenant) (int64, error) {
	return s.schemaVersion(ctx, tenant, "")
}

// HoldSchemas implements directory.SchemaStore.
func (s *Store) HoldSchemas(ctx context.Context, tenant id.Tenant) (int64, error) {
	if s.sqlite { // whoever writes is alone
		return s.schemaVersion(ctx, tenant, "")
	}
	return s.schemaVersion(ctx, tenant, " FOR SHARE")
}

func (s *Store) schemaVersion(ctx context.Context, tenant id.Tenant, lock string) (version int64, err error) {
	err = classify(s.queryRow(ctx, "SELECT version FROM scim_versions WHERE tenant_id = ?"+lock, tenant).Scan(&version), "")
	if errors.Is(err, fault.NotFound) {
		return 0, nil
	}
	return version, err
}

// AdvanceSchemas implements directory.SchemaStore.
func (s *Store) AdvanceSchemas(ctx context.Context, tenant id.Tenant) error {
	return classify(s.exec(ctx, `INSERT INTO scim_versions (tenant_id, version) VALUES (?, 1)
		ON CONFLICT (tenant_id) DO UPDATE SET version = scim_versions.version + 1`, tenant), "")
}

// SchemaSet implements directory.SchemaStore. The version is read first: what
// is read after it is at least as new.
func (s *Store) SchemaSet(ctx context.Context, tenant id.Tenant) (*directory.SchemaSet, error) {
	set := &directory.SchemaSet{}
	var err error
	if set.Version, err = s.SchemaVersion(ctx, tenant); err != nil {
		return nil, err
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		var definition string
		if err := rows.Scan(&definition); err != nil {
			return err
		}
		next := &schema.Schema{}
		set.Schemas = append(set.Schemas, next)
		return decode(definition, next)
	}, "SELECT definition FROM scim_schemas WHERE tenant_id = ? ORDER BY uri_key", tenant)
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		var definition string
		if err := rows.Scan(&definition); err != nil {
			return err
		}
		var next schema.Definition
		if err := decode(definition, &next); err != nil {
			return err
		}
		set.Types = append(set.Types, next)
		return nil
	}, "SELECT definition FROM scim_resource_types WHERE tenant_id = ? ORDER BY name_key", tenant)
	return set, err
}

// PutSchema implements directory.SchemaStore.
func (s *Store) PutSchema(ctx context.Context, tenant id.Tenant, definition *schema.Schema, now time.Time) error {
	text, err := encode(definition)
	if err != nil {
		return err
	}
	return classify(s.exec(ctx, `INSERT INTO scim_schemas (tenant_id, uri_key, definition, modified_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant_id, uri_key) DO UPDATE SET definition = excluded.definition, modified_at = excluded.modified_at`,
		tenant, schema.Fold(definition.ID), text, at(now)), "")
}

// DeleteSchema implements directory.SchemaStore.
func (s *Store) DeleteSchema(ctx context.Context, tenant id.Tenant, uri string) error {
	return classify(s.exec(ctx, "DELETE FROM scim_schemas WHERE tenant_id = ? AND uri_key = ?", tenant, schema.Fold(uri)), "")
}

// PutResourceType implements directory.SchemaStore.
func (s *Store) PutResourceType(ctx context.Context, tenant id.Tenant, definition schema.Definition, now time.Time) error {
	text, err := encode(definition)
	if err != nil {
		return err
	}
	return classify(s.exec(ctx, `INSERT INTO scim_resource_types (tenant_id, name_key, definition, modified_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant_id, name_key) DO UPDATE SET definition = excluded.definition, modified_at = excluded.modified_at`,
		tenant, schema.Fold(definition.Name), text, at(now)), "")
}

// DeleteResourceType implements directory.SchemaStore.
func (s *Store) DeleteResourceType(ctx context.Context, tenant id.Tenant, name string) error {
	return classify(s.exec(ctx, "DELETE FROM scim_resource_types WHERE tenant_id = ? AND name_key = ?", tenant, schema.Fold(name)), "")
}

// CountValues implements directory.SchemaStore. It looks through all resources
// of the type.
func (s *Store) CountValues(ctx context.Context, tenant id.Tenant, typeName string, place []string) (count int, err error) {
	r := resourceOf(typeName, "")
	where, args := r.of(tenant)
	if len(place) > 0 {
		condition, values := s.hasValue(r.table+".profile", place)
		where, args = where+" AND "+condition, append(args, values...)
	}
	return count, classify(s.queryRow(ctx, "SELECT count(*) FROM "+r.table+" WHERE "+where, args...).Scan(&count), "")
}

// hasValue is the condition that a JSON document has something at the place.
func (s *Store) hasValue(document string, place []string) (condition string, args []any) {
	if !s.sqlite { // lax paths go through arrays
		return "jsonb_path_exists(" + document + "::jsonb, ?::jsonpath)", []any{jsonPath(place)}
	}
	last := len(place) - 1
	return "(json_type(" + document + ", ?) IS NOT NULL OR EXISTS (SELECT 1 FROM json_each(" + document + ", ?) e WHERE e.type = 'object' AND json_type(e.value, ?) IS NOT NULL))",
		[]any{jsonPath(place), jsonPath(place[:last]), jsonPath(place[last:])}
}

// Profiles implements directory.SchemaStore.
func (s *Store) Profiles(ctx context.Context, tenant id.Tenant, typeName, after string, limit int) ([]directory.Profile, error) {
	r := resourceOf(typeName, "")
	where, args := r.of(tenant)
	if r.retires { // what is retired is found by nobody
		where += " AND retired_at IS NULL"
	}
	var profiles []directory.Profile
	err := s.query(ctx, func(rows *sql.Rows) error {
		var next directory.Profile
		var text string
		if err := rows.Scan(&next.ID, &text); err != nil {
			return err
		}
		if err := decode(text, &next.Document); err != nil {
			return err
		}
		profiles = append(profiles, next)
		return nil
	}, "SELECT id, profile FROM "+r.table+" WHERE "+where+" AND id > ? ORDER BY id LIMIT ?", append(args, after, limit)...)
	return profiles, err
}

// Reindex implements directory.SchemaStore.
func (s *Store) Reindex(ctx context.Context, tenant id.Tenant, typeName, resource string, search map[string]any, keys []schema.Key) error {
	text, err := encode(search)
	if err != nil {
		return err
	}
	r := resourceOf(typeName, "")
	where, args := r.of(tenant)
	if err := s.exec(ctx, "UPDATE "+r.table+" SET search = ? WHERE "+strings.ReplaceAll(where, r.table+".", "")+" AND id = ?", append(append([]any{text}, args...), resource)...); err != nil {
		return classify(err, "")
	}
	if err := s.deleteKeys(ctx, tenant, typeName, resource); err != nil {
		return err
	}
	return s.insertKeys(ctx, tenant, typeName, resource, keys)
}
