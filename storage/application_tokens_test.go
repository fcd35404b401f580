package storage_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/storage"
)

// tokenFixture is a tenant with one active member, Ann, and an operator.
type tokenFixture struct {
	*authn.Authn
	store         *storage.Store
	now           time.Time
	tenant        id.Tenant
	membership    id.Membership
	ann, operator id.User
}

func eachTokenFixture(t *testing.T, test func(t *testing.T, f *tokenFixture)) {
	t.Helper()
	for name, address := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") },
		"postgres": dbtest.Postgres,
	} {
		t.Run(name, func(t *testing.T) { test(t, newTokenFixture(t, address(t))) })
	}
}

func newTokenFixture(t *testing.T, address string) *tokenFixture {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := storage.Open(t.Context(), address)
	check(err)
	t.Cleanup(func() { _ = store.Close() })
	check(store.Migrate(t.Context()))
	f := &tokenFixture{store: store, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	keyring, err := secret.NewKeyring(make([]byte, 32))
	check(err)
	shipped, err := authz.Shipped()
	check(err)
	f.Authn, err = authn.New(authn.Deps{
		Store: store, Rights: directory.NewRights(store, directory.NewBlueprints(store, shipped, time.Now)),
		Keyring: keyring, Now: func() time.Time { return f.now },
		Logger: slog.New(slog.DiscardHandler), Hashing: authn.Hashing{Memory: 64, Passes: 1},
	})
	check(err)
	tenant := &directory.Tenant{ID: id.New[id.Tenant](), Slug: "berlin", Name: "Berlin", Blueprint: "default", BlueprintVersion: 1, Status: "enabled", Created: f.now, Modified: f.now}
	check(store.CreateTenant(t.Context(), tenant))
	ann := &directory.User{ID: id.New[id.User](), Email: "ann@berlin.example", Created: f.now, Modified: f.now}
	check(store.CreateUser(t.Context(), ann))
	olive := &directory.User{ID: id.New[id.User](), Email: "olive@ops.example", Operator: true, Created: f.now, Modified: f.now}
	check(store.CreateUser(t.Context(), olive))
	m := &directory.Membership{
		Tenant: tenant.ID, ID: id.New[id.Membership](), User: ann.ID, Status: directory.StatusActive, Accepted: true,
		Source: directory.SourceOperator, UserName: "ann", Created: f.now, Modified: f.now,
	}
	check(store.CreateMembership(t.Context(), m))
	check(store.Assign(t.Context(), directory.Assignment{Tenant: tenant.ID, Membership: m.ID, Role: "member", Source: directory.AssignedOperator}, f.now))
	f.tenant, f.ann, f.operator, f.membership = tenant.ID, ann.ID, olive.ID, m.ID
	return f
}

func TestApplicationTokenIsNeverMoreThanItsCreator(t *testing.T) {
	t.Parallel()
	eachTokenFixture(t, func(t *testing.T, f *tokenFixture) {
		token, err := f.PutApplicationToken(t.Context(), authn.ApplicationToken{Tenant: f.tenant, Name: "ci", Creator: f.ann, Expires: f.now.Add(time.Hour)}, secret.Text{})
		if err != nil || len(token.Reveal()) != 52 || token.Reveal()[:3] != "rc_" {
			t.Fatalf("got %d characters, %v, want rc_ and 49", len(token.Reveal()), err)
		}
		accepted := func(why string, want bool) {
			t.Helper()
			found, err := f.ApplicationToken(t.Context(), token, netip.Addr{})
			if want && (err != nil || found.Tenant != f.tenant || found.Creator != f.ann || found.Name != "ci") {
				t.Errorf("%s: got %+v, %v, want the token", why, found, err)
			}
			if !want && !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("%s: got %v, want unauthenticated", why, err)
			}
		}
		accepted("fresh", true)
		for _, status := range []directory.Status{directory.StatusSuspended, directory.StatusInvited, directory.StatusActive} {
			_, err := f.store.UpdateMembership(t.Context(), f.tenant, f.membership, func(m *directory.Membership) error { m.Status = status; return nil })
			if err != nil {
				t.Fatal(err)
			}
			accepted(string(status), status == directory.StatusActive)
		}
		for _, disabled := range []bool{true, false} {
			_, err := f.store.UpdateUser(t.Context(), f.ann, func(u *directory.User) error { u.Disabled = disabled; return nil })
			if err != nil {
				t.Fatal(err)
			}
			accepted("disabled", !disabled)
		}
		f.now = f.now.Add(time.Hour)
		accepted("expired", false)
		f.now = f.now.Add(-time.Minute)
		accepted("before", true)
		if err := f.RevokeApplicationTokens(t.Context(), f.tenant, f.operator); err != nil {
			t.Fatal(err)
		}
		accepted("another person's were revoked", true)
		if err := f.RevokeApplicationTokens(t.Context(), f.tenant, f.ann); err != nil {
			t.Fatal(err)
		}
		accepted("revoked", false)
	})
}

func TestPutApplicationTokenCanBeRepeated(t *testing.T) {
	t.Parallel()
	eachTokenFixture(t, func(t *testing.T, f *tokenFixture) {
		put := func(tenant id.Tenant, creator id.User, given string) secret.Text {
			t.Helper()
			made, err := f.PutApplicationToken(t.Context(), authn.ApplicationToken{Tenant: tenant, Name: "ci", Creator: creator}, secret.NewText(given))
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		id := func(token secret.Text) string {
			t.Helper()
			found, err := f.ApplicationToken(t.Context(), token, netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			return string(found.ID)
		}
		made := put(f.tenant, f.ann, "")
		first := id(made)
		if again := put(f.tenant, f.ann, ""); !again.Empty() || id(made) != first {
			t.Error("putting a token again made another")
		}
		if put(f.tenant, f.ann, "given-1"); id(secret.NewText("given-1")) != first {
			t.Error("a given token made another instead of taking the place of the first")
		}
		if _, err := f.ApplicationToken(t.Context(), made, netip.Addr{}); !errors.Is(err, fault.Unauthenticated) {
			t.Errorf("the replaced secret: got %v, want unauthenticated", err)
		}
		put(f.tenant, f.ann, "given-1")
		// The instance's token of the same name is another one.
		put("", f.operator, "given-2")
		put("", f.operator, "given-3")
		found, err := f.ApplicationToken(t.Context(), secret.NewText("given-3"), netip.Addr{})
		if err != nil || found.Tenant != "" || string(found.ID) == first {
			t.Errorf("got %+v, %v, want the instance's own token", found, err)
		}
		_, err = f.PutApplicationToken(t.Context(), authn.ApplicationToken{Name: "mine", Creator: f.ann}, secret.Text{})
		if !errors.Is(err, fault.Denied) || fault.As(err).Code != "not_operator" {
			t.Errorf("got %v for a token of the instance by a member, want denied", err)
		}
		// One secret can't stand for two tokens.
		_, err = f.PutApplicationToken(t.Context(), authn.ApplicationToken{Tenant: f.tenant, Name: "other", Creator: f.ann}, secret.NewText("given-3"))
		if !errors.Is(err, fault.Conflict) || fault.As(err).Field != "token" {
			t.Errorf("got %v for a secret in use, want a conflict on token", err)
		}
	})
}
