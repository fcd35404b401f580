package authz_test

import (
	"testing"

	"github.com/rolecall/rolecall/authz"
)

func TestRequestEffectsByName(t *testing.T) {
	for _, c := range []struct {
		blueprint, kind string
		want            authz.RequestEffect
		relation, role  string
	}{
		{"emnify", "workspace_create", authz.EffectCreate, "link", ""},
		{"emnify", "workspace_link", authz.EffectLink, "link", ""},
		{"emnify", "superadmin_reassign", authz.EffectReassign, "", "superadmin"},
		{"1nce", "owner_change", authz.EffectReassign, "", "owner"},
	} {
		r, err := blueprint(t, c.blueprint).Request(c.kind)
		if err != nil || r.Effect != c.want || r.Relation != c.relation || r.Role != c.role {
			t.Errorf("%s of %s: %+v %v", c.kind, c.blueprint, r, err)
		}
	}
	if _, err := blueprint(t, "emnify").Request("workspace_paint"); err == nil {
		t.Error("an unknown kind passes")
	}
}
