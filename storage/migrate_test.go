package storage

import (
	"embed"
	"io/fs"
	"regexp"
	"slices"
	"testing"
)

func TestMigrationsOfBothDialectsAreTwins(t *testing.T) {
	names := func(dialect string) []string {
		entries, err := fs.ReadDir(migrations, "migrations/"+dialect)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, entry := range entries {
			list = append(list, entry.Name())
		}
		return list
	}
	if postgres, sqlite := names("postgres"), names("sqlite"); !slices.Equal(postgres, sqlite) {
		t.Errorf("postgres has %v, sqlite %v", postgres, sqlite)
	}
	for _, name := range names("postgres") {
		if a, b := shape(t, migrations, "migrations/postgres/"+name), shape(t, migrations, "migrations/sqlite/"+name); !slices.Equal(a, b) {
			t.Errorf("%s: the dialects differ in tables, columns or indexes:\n%v\n%v", name, a, b)
		}
	}
}

// TestEveryTenantTableIsGuarded finds the tables that have a tenant and are
// missing from the guard's list, or the other way round.
func TestEveryTenantTableIsGuarded(t *testing.T) {
	text, err := migrations.ReadFile("migrations/postgres/0001_initial.sql")
	if err != nil {
		t.Fatal(err)
	}
	tables := regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\);`).FindAllSubmatch(text, -1)
	if len(tables) < 20 {
		t.Fatalf("found only %d tables", len(tables))
	}
	for _, table := range tables {
		owned := regexp.MustCompile(`(?m)^\s+tenant_id\s`).Match(table[2])
		if guarded := mentionsTable(string(table[1])); owned != guarded {
			t.Errorf("%s: has tenant_id %v, is guarded %v", table[1], owned, guarded)
		}
	}
}

var parts = regexp.MustCompile(`(?m)^(?:CREATE (?:UNIQUE )?(?:TABLE|INDEX) \w+|\s+[a-z_]+ )`)

// shape returns what a migration makes, without the types.
func shape(t *testing.T, files embed.FS, name string) []string {
	t.Helper()
	text, err := files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	up := regexp.MustCompile(`(?s)^(.*?)-- \+goose Down`).FindSubmatch(text)
	if up == nil {
		t.Fatalf("%s has no Down", name)
	}
	var list []string
	for _, part := range parts.FindAll(up[1], -1) {
		list = append(list, regexp.MustCompile(`\s+`).ReplaceAllString(string(part), " "))
	}
	return list
}
