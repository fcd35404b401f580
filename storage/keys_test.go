package storage

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// ExplainIndexed is called by TestIndexedAttributesAreFoundByTheirIndex, which
// has databases: it stores 3,000 resources of a type with an indexed attribute
// and checks that a filter on it is answered from the index on keys, and then
// from the primary key.
func ExplainIndexed(ctx context.Context, t *testing.T, s *Store) {
	t.Helper()
	core, err := schema.Core()
	if err != nil {
		t.Fatal(err)
	}
	device, err := schema.ParseSchema([]byte(`{"id":"urn:example:2.0:Device","attributes":[
		{"name":"serial","indexed":true},{"name":"size","type":"integer","indexed":true},{"name":"tags","multiValued":true,"indexed":true},{"name":"plain"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	registry, err := core.Extend([]*schema.Schema{device}, []schema.Definition{{Name: "Device", Endpoint: "/Devices", Schema: device.ID}})
	if err != nil {
		t.Fatal(err)
	}
	typ, _ := registry.ResourceType("Device")
	tenant, now := id.New[id.Tenant](), time.Now()
	err = s.InTx(ctx, func(ctx context.Context) error {
		for i := range 3000 {
			profile := map[string]any{"serial": fmt.Sprintf("S%d", i), "plain": fmt.Sprintf("S%d", i), "tags": []any{fmt.Sprintf("t%d", i), "all"}}
			r := &directory.CustomResource{
				Tenant: tenant, Type: typ.Name, ID: id.New[id.Resource](), Profile: profile,
				Search: typ.SearchDocument(profile), Keys: typ.Keys(profile), Created: now, Modified: now,
			}
			if err := s.CreateCustomResource(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.exec(ctx, "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	for text, indexed := range map[string]bool{
		`serial eq "s17"`: true, `serial sw "s17"`: true, `serial gt "s998"`: true, `tags eq "t5"`: true, `tags[value eq "t5"]`: true, `serial eq "s17" and plain eq "s17"`: true,
		`plain eq "s17"`: false, `serial co "17"`: false,
	} {
		expression, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		condition, err := typ.Bind(expression)
		if err != nil {
			t.Fatal(err)
		}
		where, args, err := s.where(customResource(typ.Name, device.ID), tenant, condition)
		if err != nil {
			t.Fatal(err)
		}
		plan := s.plan(ctx, t, "SELECT id FROM scim_resources WHERE "+where, args)
		usesKeys, scans := strings.Contains(plan, "scim_keys_value"), strings.Contains(plan, "Seq Scan on scim") || strings.Contains(plan, "SCAN scim")
		// A range may be so wide that PostgreSQL looks through a table of this size.
		if usesKeys != indexed || strings.Contains(text, " eq ") && scans == indexed {
			t.Errorf("%s: by the index on keys: %v, want %v; plan:\n%s", text, usesKeys, indexed, plan)
		}
	}
}

func (s *Store) plan(ctx context.Context, t *testing.T, query string, args []any) string {
	t.Helper()
	if s.sqlite {
		query = "EXPLAIN QUERY PLAN " + query
	} else {
		query = "EXPLAIN " + query
	}
	rows, err := s.conn(ctx).Raw(query, args...).Rows()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var lines []string
	for rows.Next() {
		var line string
		var ignored [3]any
		columns := []any{&line}
		if s.sqlite {
			columns = []any{&ignored[0], &ignored[1], &ignored[2], &line}
		}
		if err := rows.Scan(columns...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
