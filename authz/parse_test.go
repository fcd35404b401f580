package authz_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
)

func TestParseReportsTheLine(t *testing.T) {
	for _, c := range []changed{
		{"unknown key in a section", "boss: {label: Boss, founder: true}", "boss: {label: Boss, founder: true, power: 3}", "roles.boss.power: unknown key"},
		{"unknown key in a list", "{rule: min_roles, per: membership, n: 1}", "{rule: min_roles, per: membership, n: 1, m: 2}", "invariants[1].m: unknown key"},
		{"unknown key in self.roles", "{keep: [boss]}", "{keep: [boss], lose: [boss]}", "self.roles.lose: unknown key"},
		{"key given twice", "fields: {name: edit}", "fields: {name: edit, name: fixed}", "self.fields.name: is given twice"},
		{"missing key", "boss: {label: Boss, founder: true}", "boss: {founder: true}", "roles.boss.label: is required"},
		{"value outside of an enumeration", "fields: {name: edit}", "fields: {name: maybe}", `"maybe" is not one of edit, fixed`},
		{"list value outside of an enumeration", "methods: [totp]", "methods: [pigeon]", `mfa.methods[0]: "pigeon" is not one of`},
		{"text for a number", "version: 1", "version: one", `must be a whole number from 0 to 2147483647, not "one"`},
		{"negative number", "version: 1", "version: -1", "must be a whole number"},
		{"number for text", "blueprint: small", "blueprint: 7", `must be text, not "7"`},
		{"null for text", "{label: Visitor}", "{label: null}", "must be text, not null"},
		{"text for a truth value", "founder: true", "founder: yes", "must be true or false"},
		{"text for a list", "columns: [boss, helper, visitor]", "columns: boss", "must be a list"},
		{"list for a mapping", "fields: {name: edit}", "fields: [name]", "must be a mapping, not a list"},
		{"time without a unit", "for: 5m", "for: 5", "must be a time such as 15m"},
		{"time that runs backwards", "for: 5m", "for: -5m", "must be a time such as 15m"},
		{"self.roles", "{keep: [boss]}", "sometimes", "must be deny, allow or {keep: [roles]}"},
		{"anchor", "types: [one, two]", "types: &t [one, two]", "anchors and aliases are not part of the format"},
		{"complex key", "fields: {name: edit}", "fields: {[name]: edit}", "a key must be a plain word"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			c.check(t)
		})
	}
}

func TestParseReportsAllProblemsInTheOrderOfTheFile(t *testing.T) {
	_, err := authz.Parse([]byte(strings.NewReplacer("version: 1", "version: x", "n: 1}", "n: x}", "for: 5m", "for: x").Replace(smallest)))
	problems, _ := errors.AsType[authz.Problems](err)
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	want := []string{"version", "signin.lockout.for", "invariants[0].n", "invariants[1].n", "invariants[2].n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if detail := fault.As(err).Detail; !strings.HasPrefix(detail, "line 2: version: ") || !strings.HasSuffix(detail, "(and 4 more)") {
		t.Errorf("detail %q", detail)
	}
}

func TestParseRefusesWhatIsNoBlueprint(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		kind   fault.Kind
		want   string
	}{
		"nothing":       {"", fault.Invalid, "the file is empty"},
		"text":          {"hello", fault.Invalid, "line 1: must be a mapping"},
		"broken YAML":   {"a: [", fault.Invalid, "yaml: "},
		"two documents": {smallest + "---\n" + smallest, fault.Invalid, "one YAML document"},
		"unknown key":   {smallest + "shade: red\n", fault.Invalid, "line 55: shade: unknown key"},
		"an alias":      {"a: &a [1]\nb: *a", fault.Invalid, "b: unknown key"},
		"a merge":       {smallest + "<<: {version: 2}\n", fault.Invalid, "unknown key"},
		"a book":        {strings.Repeat("# comment\n", 30_000), fault.TooLarge, "at most 262144 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := authz.Parse([]byte(c.source))
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v: …%s…", err, c.kind, c.want)
			}
		})
	}
}

func TestParseReadsTheSectionsOfThePortals(t *testing.T) {
	emnify, streamone := blueprint(t, "emnify").Document(), blueprint(t, "streamone").Document()
	n, tme := blueprint(t, "1nce").Document(), blueprint(t, "timextender").Document()
	tier, _ := emnify.Tenants.Tiers.Lookup("pro")
	quota, _ := tier.Quotas.Lookup("linked_tenants")
	superadmin, _ := emnify.Roles.Lookup("superadmin")
	instanceUser, _ := tme.Roles.Lookup("instance_user")
	keyType, _ := emnify.MFA.KeyTypes.Lookup("0")
	reassign, _ := emnify.Requests.Lookup("superadmin_reassign")
	for name, c := range map[string]struct{ got, want any }{
		"tier":                 {tier.Entitlements, []string{"mfa_enforced", "sso", "multi_workspace"}},
		"quota":                {quota, 3},
		"held_at":              {superadmin.HeldAt, "hub"},
		"holders":              {superadmin.Holders, &authz.Holders{Max: 1, Per: "tenant"}},
		"on_unlink":            {superadmin.OnUnlink, &authz.OnUnlink{ReplaceWith: "administrator", Where: "direct_membership"}},
		"on_link":              {superadmin.OnLink, &authz.OnLink{GrantTo: "longest_standing", Of: "administrator"}},
		"self.roles deny":      {emnify.Self.Roles, authz.SelfRoles{}},
		"self.roles allow":     {blueprint(t, "ingenuity").Document().Self.Roles, authz.SelfRoles{Allow: true}},
		"self.roles keep":      {tme.Self.Roles, authz.SelfRoles{Allow: true, Keep: []string{"company_admin"}}},
		"set_on_create":        {streamone.Membership.SetOnCreate, []string{"active", "suspended"}},
		"password":             {streamone.Password, &authz.PasswordPolicy{Min: 8, Upper: 1, Digit: 1}},
		"password_reset":       {streamone.PasswordReset.Modes, []string{"generate_and_mail", "set_by_admin"}},
		"invitation":           {streamone.Invitation.To, "any_address"},
		"invitation ttl":       {emnify.Invitation.TTL, 168 * time.Hour},
		"signin":               {emnify.SignIn.Lockout, &authz.Lockout{Attempts: 3, For: 5 * time.Minute}},
		"mfa trusted devices":  {emnify.MFA.TrustedDevices.TTL, 2160 * time.Hour},
		"mfa key type":         {keyType, "Time-Based One-Time Password"},
		"app_tokens":           {emnify.AppTokens.Statuses.Keys(), []string{"0", "1"}},
		"support consent":      {streamone.Support.Consent, authz.ConsentTenant},
		"support none":         {n.Support.Permission, (*string)(nil)},
		"request, everybody's": {reassign.Permission, (*string)(nil)},
		"invariant":            {emnify.Invariants[2].Source, "recommended"},
		"admin_password":       {n.AdminPassword, &authz.AdminPassword{Human: "never", Service: "set_secret"}},
		"extra_permissions":    {emnify.ExtraPermissions[0], authz.Entry[[]string]{Key: "sso.write", Value: []string{"superadmin", "administrator"}}},
		"extra_grants":         {tme.ExtraGrants[0], authz.Entry[[]string]{Key: "instance_user", Value: []string{"instances.open"}}},
		"resource role":        {[]string{instanceUser.Resource, instanceUser.GrantableWith, instanceUser.GrantNeeds}, []string{"instance", "instances.access.grant", "comment"}},
		"disputed":             {streamone.Permissions[5].Rows[0].Disputed, "user"},
		"src":                  {emnify.Permissions[1].Rows[4].Source, "I"},
		"contact":              {tme.Membership.Contact, &authz.Contact{Max: 1, Founder: true, Privileges: "none"}},
		"order of statuses":    {emnify.Membership.Statuses.Keys(), []string{"invited", "invite_expired", "active", "suspended", "deleted"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("blueprints/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Add([]byte(smallest))
	for _, source := range []string{"", "a: b", "a: &a [*a]", "? [a]: b", "!!binary a", "<<: 1", "roles: {a: 1}\n---\n"} {
		f.Add([]byte(source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		b, err := authz.Load(source)
		if err == nil {
			if b.Name() == "" || len(b.Roles()) == 0 {
				t.Error("a blueprint without a name or roles was accepted")
			}
			return
		}
		if !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.TooLarge) {
			t.Errorf("an untyped error: %v", err)
		}
	})
}
