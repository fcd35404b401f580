package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

func noEnv(string) (string, bool) { return "", false }

func TestParseApplyRefuses(t *testing.T) {
	tests := []struct {
		name, file string
		want       []string
	}{
		{"a misspelled key", "tenants:\n- slug: a\n  nam: A\n", []string{"line 3", `"nam"`, `did you mean "name"`}},
		{"misspelled keys at every depth, all at once", "tenats: []\nusers:\n- email: a@b.c\n  memberships:\n  - {tenant: a, role: x}\n", []string{"line 1", `"tenats"`, "line 5", `"role"`, `did you mean "roles"`}},
		{"a key given twice", "tenants: []\ntenants: []\n", []string{"already defined"}},
		{"a list where a text belongs", "tenants:\n- slug: [a]\n", []string{"line 2"}},
		{"a text where a list belongs", "tenants: a\n", []string{"line 1"}},
		{"a number of the wrong kind", "tenants:\n- slug: a\n  policy: {trusted_device_days: soon}\n", []string{"line 3"}},
		{"a list where a secret belongs", "users:\n- {email: a@b.c, password: [a]}\n", []string{"line 2"}},
		{"an unset variable", "users:\n- {email: a@b.c, password: \"${NOT_SET}\"}\n", []string{"line 2", "NOT_SET"}},
		{"no YAML", "tenants: [\n", []string{"line"}},
		{"nothing", "", []string{"empty"}},
		{"two documents", "tenants: []\n---\nusers: []\n", []string{"more than one"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseApply([]byte(test.file), noEnv)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
		})
	}
}

func TestParseApplyTakesValuesFromTheEnvironment(t *testing.T) {
	env := map[string]string{"PASSWORD": "a: b, c}\n- d", "NAME": "1234"}
	file, err := parseApply([]byte("users:\n- email: a@b.c\n  password: \"${PASSWORD}!\"\n  name: {given: \"${NAME}\"}\n"),
		func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if got := file.Users[0].Password.Reveal(); got != env["PASSWORD"]+"!" {
		t.Errorf("password %q: a value must not turn into structure", got)
	}
	if got := file.Users[0].Name.Given; got != "1234" {
		t.Errorf("name %q", got)
	}
}

func FuzzParseApply(f *testing.F) {
	f.Add([]byte(exampleApply))
	f.Add([]byte("tenants: &a [*a]"))
	f.Add([]byte("? [a]\n: b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if file, err := parseApply(text, noEnv); (file == nil) == (err == nil) {
			t.Errorf("file %v, error %v: want one of them", file, err)
		}
	})
}

const exampleApply = `
tenants:
- slug: berlin
  name: Berlin
  blueprint: emnify
  tier: pro
  relations: {link: main}
  domains: [berlin.example]
  policy: {mfa: optional, trusted_device_days: 30, session_idle_minutes: 30, session_hours: 12}
  connections:
  - {name: entra, profile: entra, token: "a-token-from-the-file"}
  - {name: okta, profile: okta}
  group_roles:
  - {group: Network Admins, role: administrator}
- {slug: main, name: Main, blueprint: emnify}
users:
- email: ann@berlin.example
  name: {given: Ann, family: Berg}
  password: "correct horse battery"
  totp: JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP
  operator: false
  memberships:
  - {tenant: berlin, roles: [administrator], status: active}
applications:
- client_id: shop
  name: Shop
  type: web
  redirect_uris: [http://localhost:9999/callback]
  access_token: jwt
- {client_id: robot, type: machine, tenant: berlin, roles: [observer], secret: "from the file"}
application_tokens:
- {name: ci, tenant: berlin, creator: ann@berlin.example}
`

// eachInstance runs the test on an instance of its own on each database.
// errorsOnly logs what went wrong inside beside the test that it made fail.
func errorsOnly(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
}

func eachInstance(t *testing.T, test func(t *testing.T, in *instance)) {
	for name, address := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "rolecall.db") },
		"postgres": func(t *testing.T) string { return dbtest.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			c := &config{DatabaseURL: address(t), MasterKey: base64.StdEncoding.EncodeToString(secret.NewMasterKey()), PublicURL: "http://localhost:8080", Language: "en"}
			in, err := openInstance(t.Context(), c, errorsOnly(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := in.Close(); err != nil {
					t.Error(err)
				}
			})
			test(t, in)
		})
	}
}

func parse(t *testing.T, text string) *applyFile {
	t.Helper()
	file, err := parseApply([]byte(text), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		first, err := in.apply(ctx, parse(t, exampleApply))
		if err != nil {
			t.Fatal(err)
		}
		if first.Tenants[0].Connections[0].Token != "" || first.Tenants[0].Connections[1].Token == "" || first.Applications[0].Secret == "" || first.Applications[1].Secret != "" || first.ApplicationTokens[0].Token == "" {
			t.Errorf("secrets are shown that were given, or hidden that were made: %+v", first)
		}
		before := dump(t, in)
		second, err := in.apply(ctx, parse(t, exampleApply))
		if err != nil {
			t.Fatal(err)
		}
		if second.Tenants[0].Connections[1].Token != "" || second.Applications[0].Secret != "" || second.ApplicationTokens[0].Token != "" {
			t.Errorf("secrets were made again: %+v", second)
		}
		if after := dump(t, in); after != before {
			t.Errorf("the second time changed the database:\n%s\n%s", before, after)
		}
		var out bytes.Buffer
		if err := first.print(&out, true); err != nil || !json.Valid(out.Bytes()) {
			t.Errorf("JSON report: %v\n%s", err, out.String())
		}
	})
}

// dump is what the instance holds, as far as apply writes it.
func dump(t *testing.T, in *instance) string {
	t.Helper()
	ctx := t.Context()
	held := map[string]any{}
	for _, slug := range []string{"berlin", "main"} {
		tenant, err := in.directory.Tenant(ctx, slug)
		if err != nil {
			t.Fatal(err)
		}
		roles, err := in.store.GroupRoles(ctx, tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		held[slug] = []any{tenant, roles}
	}
	user, err := in.store.UserByEmail(ctx, "ann@berlin.example")
	if err != nil {
		t.Fatal(err)
	}
	hash, err := in.store.PasswordHash(ctx, user.ID)
	if err != nil {
		t.Fatal(err)
	}
	standings, err := in.directory.Standings(ctx, user.ID)
	if err != nil {
		t.Fatal(err)
	}
	shop, err := in.store.Application(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	held["user"], held["shop"] = []any{user, hash, standings}, shop
	text, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestApplyIsAllOrNothing(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		tests := []struct {
			name, broken string
			want         []string
		}{
			{"unknown role", "users:\n- {email: a@b.example, memberships: [{tenant: first, roles: [emperor]}]}\n", []string{"users[a@b.example]", "first", "emperor"}},
			{"unknown tenant", "users:\n- {email: a@b.example, memberships: [{tenant: nowhere}]}\n", []string{"nowhere"}},
			{"unknown blueprint", "\n- {slug: second, blueprint: nonsense}\n", []string{"tenants[second]", "nonsense"}},
			{"bad slug", "\n- {slug: Second One}\n", []string{"slug", "lower-case"}},
			{"bad address", "users:\n- {email: nobody}\n", []string{"email", "nobody"}},
			{"short password", "users:\n- {email: a@b.example, password: short}\n", []string{"password"}},
			{"secret for an application that can't keep one", "applications:\n- {client_id: a, type: spa, secret: abc, redirect_uris: [http://localhost/cb]}\n", []string{"applications[a]", "secret"}},
			{"role that services can't hold", "applications:\n- {client_id: a, type: machine, tenant: first, roles: [owner]}\n", []string{"roles", "owner"}},
			{"profile that there is not", "\n- {slug: second, connections: [{name: a, profile: google}]}\n", []string{"connections[a]", "profile"}},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				text := "tenants:\n- {slug: first}" + map[bool]string{true: "", false: "\n"}[strings.HasPrefix(test.broken, "\n")] + test.broken
				_, err := in.apply(operator(t.Context()), parse(t, text))
				if err == nil {
					t.Fatal("accepted")
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q does not mention %q", err, want)
					}
				}
				if _, err := in.directory.Tenant(context.Background(), "first"); !errors.Is(err, fault.NotFound) {
					t.Errorf("half of the file was applied: %v", err)
				}
			})
		}
	})
}
