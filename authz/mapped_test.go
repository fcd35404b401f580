package authz

import (
	"slices"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
)

func mustShip(t *testing.T, name string) *Blueprint {
	t.Helper()
	catalog, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	b, err := catalog.Blueprint(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCounting(t *testing.T) {
	mapped := func(pairs ...any) []MappedRole {
		var all []MappedRole
		for i := 0; i < len(pairs); i += 2 {
			role, _ := pairs[i].(string)
			priority, _ := pairs[i+1].(int)
			all = append(all, MappedRole{role, priority})
		}
		return all
	}
	for name, c := range map[string]struct {
		blueprint string
		direct    []string
		mapped    []MappedRole
		want      []string
	}{
		"several roles: all count":           {"default", []string{"viewer"}, mapped("member", 9, "admin", 1), []string{"admin", "member"}},
		"one role: the first priority":       {"1nce", nil, mapped("admin", 20, "user", 10, "read_only", 30), []string{"user"}},
		"one role: the best of its mappings": {"1nce", nil, mapped("admin", 20, "user", 10, "admin", 1), []string{"admin"}},
		"one role: equals go by key":         {"1nce", nil, mapped("user", 5, "admin", 5), []string{"admin"}},
		"one role: what is held comes first": {"1nce", []string{"read_only"}, mapped("admin", 1), nil},
		"one role: the same one counts":      {"1nce", []string{"admin"}, mapped("user", 1, "admin", 2), []string{"admin"}},
		"nothing mapped":                     {"1nce", []string{"admin"}, nil, nil},
	} {
		if got := mustShip(t, c.blueprint).Counting(c.direct, c.mapped); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCheckDefault(t *testing.T) {
	for _, c := range []struct{ blueprint, role, code string }{
		{"default", "member", ""},
		{"default", "owner", "counted"},
		{"default", "api", "service_only"},
		{"default", "nonsense", "unknown_role"},
		{"emnify", "observer", ""},
		{"emnify", "administrator", "counted"},
		{"emnify", "superadmin", "protected"},
	} {
		err := mustShip(t, c.blueprint).CheckDefault(c.role)
		if c.code == "" && err == nil {
			continue
		}
		if f := fault.As(err); err == nil || f.Kind != fault.Invalid || f.Code != c.code || f.Field != "default_role" {
			t.Errorf("%s in %s: %v, want %q", c.role, c.blueprint, err, c.code)
		}
	}
}
