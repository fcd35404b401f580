package authz_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// expectedRow is one line of a table under testdata/matrix.
type expectedRow struct {
	area, row, key string
	cells          []string
}

// readMatrix reads a table: a header with the role keys, areas in brackets, and
// rows of key, cells and the vendor's label.
func readMatrix(t *testing.T, name string) (roles []string, rows []expectedRow) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "matrix", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	area := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		fields := strings.Fields(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			area = strings.Trim(line, "[]")
		case roles == nil:
			roles = fields[1 : len(fields)-1]
		default:
			rest := strings.Join(fields[1+len(roles):], " ")
			rows = append(rows, expectedRow{area: area, row: rest, key: fields[0], cells: fields[1 : 1+len(roles)]})
		}
	}
	return roles, rows
}

func TestEveryCellOfTheVendorsTables(t *testing.T) {
	total := 0
	for _, name := range shipped(t).Names() {
		t.Run(name, func(t *testing.T) {
			roles, rows := readMatrix(t, name)
			total += len(roles) * len(rows)
			b := blueprint(t, name)
			all := b.Document().Entitlements.Keys()
			home := b.Tenant(authz.TenantFacts{ID: "home", Status: "enabled", Entitlements: all})
			// The same tenant as a spoke: there a cell that says hub is no.
			spoke := home
			if _, err := b.Relation("link"); err == nil {
				spoke = b.Tenant(authz.TenantFacts{
					ID: "home", Status: "enabled", Entitlements: all,
					Ancestors: map[string][]id.Tenant{"link": {"main"}},
				})
			}
			for column, key := range roles {
				role, err := b.Role(key)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range rows {
					cell := row.cells[column]
					if target, ok := strings.CutPrefix(row.key, "administers:"); ok {
						checkAdministers(t, b, key, target, cell == "yes")
						continue
					}
					holds := func(at *authz.TenantView) bool {
						holder := b.Holder(at, authz.MembershipFacts{Status: "active", Roles: []string{key}})
						return b.Can([]authz.Holder{holder}, at, role.Channels, row.key)
					}
					if got, want := holds(home), cell != "no"; got != want {
						t.Errorf("%s / %s (%s), %s: got %t, want %s", row.area, row.row, row.key, key, got, cell)
					}
					if got, want := holds(spoke), cell == "yes" || cell == "hub" && spoke == home; got != want {
						t.Errorf("%s / %s (%s), %s in a spoke: got %t, want %s", row.area, row.row, row.key, key, got, cell)
					}
				}
			}
		})
	}
	// 967 of the five portals and 41 × 5 of the default system.
	if want := 967 + 205; total != want {
		t.Errorf("%d cells were checked, want %d", total, want)
	}
}

// checkAdministers checks the operations on members who are there; whom a role
// may create is not in the vendors' tables.
func checkAdministers(t *testing.T, b *authz.Blueprint, actor, target string, want bool) {
	t.Helper()
	for _, op := range b.Operations() {
		if op != "create" && b.Administers(actor, op, target) != want {
			t.Errorf("%s %s %s: got %t, want %t", actor, op, target, !want, want)
		}
	}
}

func TestTablesKeepTheVendorsRowsAndLabels(t *testing.T) {
	for _, name := range shipped(t).Names() {
		t.Run(name, func(t *testing.T) {
			columns, expected := readMatrix(t, name)
			var want, got []string
			for _, row := range expected {
				want = append(want, row.area+" / "+row.row+" / "+row.key)
			}
			doc := blueprint(t, name).Document()
			for _, area := range doc.Permissions {
				for _, row := range area.Rows {
					for _, key := range row.Keys {
						got = append(got, area.Area+" / "+row.Label+" / "+key)
					}
					if row.Administers != "" {
						got = append(got, area.Area+" / "+row.Label+" / administers:"+row.Administers)
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if !slices.Equal(columns, doc.Columns) {
				t.Errorf("columns: got %v, want %v", doc.Columns, columns)
			}
		})
	}
}
