package storage

import (
	"context"
	"strings"
	"testing"
)

// TestGuardRefusesWhatForgetsTheTenant tries to write the statements that must
// not be possible, on a real database.
func TestGuardRefusesWhatForgetsTheTenant(t *testing.T) {
	s, err := Open(t.Context(), "sqlite:"+t.TempDir()+"/guard.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	refused := map[string]func() error{
		"gorm query by id":  func() error { return s.conn(ctx).Where("id = ?", "x").Find(&[]membershipRow{}).Error },
		"gorm query of all": func() error { return s.conn(ctx).Find(&[]groupRow{}).Error },
		"gorm update": func() error {
			return s.conn(ctx).Model(&membershipRow{}).Where("id = ?", "x").Update("status", "active").Error
		},
		"gorm delete": func() error { return s.conn(ctx).Where("id = ?", "x").Delete(&groupRow{}).Error },
		"raw query": func() error {
			return s.conn(ctx).Raw("SELECT id FROM memberships WHERE user_name = ?", "x").Scan(&[]string{}).Error
		},
		"raw exec":             func() error { return s.conn(ctx).Exec("DELETE FROM group_members WHERE member_id = ?", "x").Error },
		"tenant only selected": func() error { return s.conn(ctx).Raw("SELECT tenant_id FROM grants").Scan(&[]string{}).Error },
		"inserts without": func() error {
			return s.conn(ctx).Exec("WITH a AS (INSERT INTO groups (id) VALUES ('x')) INSERT INTO users (id) VALUES ('x')").Error
		},
		"raw row": func() error {
			var n int
			return s.conn(ctx).Raw("SELECT count(*) FROM assignments").Row().Scan(&n)
		},
		"in a transaction": func() error {
			return s.InTx(ctx, func(ctx context.Context) error {
				return s.conn(ctx).Exec("DELETE FROM codes WHERE used_at IS NULL").Error
			})
		},
	}
	for name, try := range refused {
		if err := try(); err == nil || !strings.Contains(err.Error(), "without tenant_id") && !strings.Contains(err.Error(), "syntax error") {
			t.Errorf("%s: err = %v, want a refusal", name, err)
		}
	}
	allowed := map[string]func() error{
		"with the tenant": func() error { return s.conn(ctx).Where("tenant_id = ?", "x").Find(&[]membershipRow{}).Error },
		"marked with why": func() error {
			return s.conn(ctx).Raw("/* across tenants: a test */ SELECT id FROM memberships").Scan(&[]string{}).Error
		},
		"a table of nobody": func() error { return s.conn(ctx).Raw("SELECT id FROM users").Scan(&[]string{}).Error },
	}
	for name, try := range allowed {
		if err := try(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
