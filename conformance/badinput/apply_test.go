package badinput

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
)

// TestApply: a file with a mistake is refused with the line, the key and the
// nearest one that exists, and nothing of it is written: what stands before the
// mistake is not there afterwards.
func TestApply(t *testing.T) {
	t.Parallel()
	const sound = `tenants:
- slug: early
  name: Early
  connections: [{name: directory, token: rcs-early-Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6}]
`
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		for name, tt := range map[string]struct {
			file string
			want []string
		}{
			"a key at the top":     {sound + "usrs:\n- email: ann@main.example\n", []string{"line 5", "usrs", "users"}},
			"a key of a tenant":    {sound + "- slug: late\n  naem: Late\n", []string{"line 6", "naem", "name"}},
			"a key of a user":      {sound + "users:\n- email: ann@main.example\n  pasword: something long\n", []string{"line 7", "pasword", "password"}},
			"a key far inside":     {sound + "users:\n- email: ann@main.example\n  memberships:\n  - {tenant: early, roles: [member], sttaus: active}\n", []string{"line 8", "sttaus", "status"}},
			"a key of a policy":    {sound + "  policy: {mfaa: required}\n", []string{"line 5", "mfaa", "mfa"}},
			"two mistakes":         {sound + "  tear: pro\n  domans: [x.example]\n", []string{"line 5", "tear", "tier", "line 6", "domans", "domains"}},
			"a list for a map":     {"tenants:\n  slug: early\n", []string{"line 2", "tenants"}},
			"a number for a list":  {sound + "  domains: 7\n", []string{"line 5"}},
			"broken YAML":          {sound + "users: [\n", []string{"line"}},
			"an empty file":        {"", []string{"empty"}},
			"an unset variable":    {sound + "users:\n- email: ann@main.example\n  password: ${ROLECALL_NOT_SET_ANYWHERE}\n", []string{"line 7", "ROLECALL_NOT_SET_ANYWHERE"}},
			"a role that is none":  {sound + "users:\n- email: ann@main.example\n  memberships: [{tenant: early, roles: [adnim], status: active}]\n", []string{"ann@main.example", "adnim"}},
			"a tenant that is not": {sound + "users:\n- email: ann@main.example\n  memberships: [{tenant: erly, roles: [member]}]\n", []string{"ann@main.example", "erly"}},
			"a blueprint":          {sound + "- {slug: late, name: Late, blueprint: deflaut}\n", []string{"late", "deflaut"}},
			"a status":             {sound + "users:\n- email: ann@main.example\n  memberships: [{tenant: early, roles: [member], status: actve}]\n", []string{"ann@main.example", "actve"}},
			"a slug":               {sound + "- {slug: Not A Slug, name: Late}\n", []string{"slug", "Not A Slug"}},
			"a profile":            {sound + "- {slug: late, name: Late, connections: [{name: x, profile: azure}]}\n", []string{"late", "profile", "azure"}},
			"a type":               {sound + "applications:\n- {client_id: x, name: X, type: webb, redirect_uris: [https://x.example/]}\n", []string{"x", "type", "webb"}},
			"a redirect URI":       {sound + "applications:\n- {client_id: x, name: X, type: web, redirect_uris: [\"https://x.example/#f\"]}\n", []string{"x", "redirect_uris"}},
			"a secret for an SPA":  {sound + "applications:\n- {client_id: x, name: X, type: spa, secret: something, redirect_uris: [https://x.example/]}\n", []string{"x", "secret"}},
			"a short password":     {sound + "users:\n- {email: ann@main.example, password: short}\n", []string{"ann@main.example", "password"}},
			"no address":           {sound + "users:\n- {email: not an address}\n", []string{"email", "not an address"}},
		} {
			path, err := i.ApplyFile(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			result, err := i.Run(t.Context(), "", "apply", "-f", path)
			if err != nil {
				t.Fatal(err)
			}
			if result.Code == 0 {
				t.Errorf("%s: got status 0, want a failure", name)
			}
			for _, want := range tt.want {
				if !strings.Contains(result.Stderr, want) {
					t.Errorf("%s: the error does not name %q: %s", name, want, result.Stderr)
				}
			}
			if strings.Contains(result.Stderr, "panic") || strings.Contains(result.Stderr, "SQLSTATE") || strings.Contains(result.Stderr, "something long") {
				t.Errorf("%s: the error shows what is inside: %s", name, result.Stderr)
			}
			early := endpoint{i.URL + "/t/early/scim/v2", "rcs-early-Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6"}
			if a := early.do(t, http.MethodGet, "/Users", ""); a.status != http.StatusUnauthorized && a.status != http.StatusNotFound {
				t.Fatalf("%s: the tenant before the mistake was written (%d)", name, a.status)
			}
		}
		if result, err := i.Run(t.Context(), sound, "apply", "-f", "-"); err != nil || result.Code != 0 {
			t.Errorf("a sound file: %v, %+v", err, result)
		}
	})
}

// TestApplyTwice: the same file a second time changes nothing and prints no
// secret again.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		const file = "tenants:\n- slug: made\n  name: Made\n  connections: [{name: directory}]\napplications:\n- {client_id: x, name: X, type: web, redirect_uris: [https://x.example/callback]}\n"
		first, err := i.Apply(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		second, err := i.Apply(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if len(second.Stdout) >= len(first.Stdout) {
			t.Errorf("the second time says as much as the first, which printed the secrets it made:\n%s", second.Stdout)
		}
	})
}

// TestConfiguration: an unknown setting stops the server at once.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env  string
		want []string
	}{
		"a misspelled variable":    {"ROLECALL_LISTTEN=127.0.0.1:0", []string{"ROLECALL_LISTTEN", "ROLECALL_LISTEN"}},
		"an address that is none":  {"ROLECALL_PUBLIC_URL=not a URL", []string{"public_url"}},
		"a database of no kind":    {"ROLECALL_DATABASE_URL=mysql://x", []string{"database", "mysql"}},
		"a key of a wrong length":  {"ROLECALL_MASTER_KEY=c2hvcnQ=", []string{"master key"}},
		"a log level that is none": {"ROLECALL_LOG_LEVEL=loud", []string{"log_level"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := instance.Prepare(t, "", tt.env)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			result, err := i.Run(ctx, "", "serve")
			if err != nil {
				t.Fatal(err)
			}
			if result.Code == 0 {
				t.Error("got status 0, want a failure")
			}
			for _, want := range tt.want {
				if !strings.Contains(strings.ToLower(result.Stderr), strings.ToLower(want)) {
					t.Errorf("the error does not name %s: %s", want, result.Stderr)
				}
			}
			if strings.Contains(result.Stderr, "c2hvcnQ=") {
				t.Error("the error shows the key")
			}
		})
	}
}
