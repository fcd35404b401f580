package scenario_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/authz/scenario"
	"github.com/rolecall/rolecall/internal/fault"
)

const world = `one:
  blueprint: ingenuity
  tenants: {east: {}}
  members:
  - [adi, east, [administrator], active]
  cases:
  - {id: right, can: [adi, users.list, east], then: true}
  - {id: wrong, can: [adi, me.email.update, east], then: true}
  - {id: wrong reason, can: [adi, me.email.update, east], then: false, code: channel}
two:
  blueprint: emnify
  tenants: {solo: {ents: [sso]}}
  cases:
  - {id: mfa, mfa_required: [solo, {sso: true}], then: false}
`

func catalog(t *testing.T) *authz.Catalog {
	t.Helper()
	c, err := authz.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRunReportsWhatTheBlueprintDoesNotMeet(t *testing.T) {
	suites, err := scenario.Parse([]byte(world))
	if err != nil {
		t.Fatal(err)
	}
	var got []scenario.Result
	for _, suite := range suites {
		results, err := scenario.Run(suite, catalog(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, results...)
	}
	why := authz.Explanation{
		Permission: "me.email.update", Tenant: "east",
		RemovedBy: &authz.Removal{Stage: authz.StageNoRole, Ask: "administrator", AskIn: "east"},
	}
	want := []scenario.Result{
		{Suite: "one", ID: "right", Line: 7, Then: true, Got: true},
		{Suite: "one", ID: "wrong", Line: 8, Then: true, GotCode: "no_role", Explanation: why},
		{Suite: "one", ID: "wrong reason", Line: 9, Code: "channel", GotCode: "no_role", Explanation: why},
		{Suite: "two", ID: "mfa", Line: 14},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var passed []bool
	for _, r := range got {
		passed = append(passed, r.Passed())
	}
	if diff := cmp.Diff([]bool{true, false, false, true}, passed); diff != "" {
		t.Errorf("passed (-want +got):\n%s", diff)
	}
}

func TestMistakesInAFileAreReported(t *testing.T) {
	for _, c := range []struct{ rule, old, new, want string }{
		{"unknown key of a suite", "  tenants: {east: {}}", "  tenant: {east: {}}", "line 3"},
		{"unknown key of a tenant", "{east: {}}", "{east: {shade: red}}", "line 3"},
		{"unknown key of a case", "{id: right, can", "{id: right, could", "line 7"},
		{"unknown fact", "{sso: true}", "{sos: true}", `unknown key "sos"`},
		{"a question that is no list", "can: [adi, users.list, east]", "can: adi", "line 7: must be [user, permission, tenant]"},
		{"a question that is too short", "can: [adi, users.list, east]", "can: [adi, users.list]", "must be [user, permission, tenant]"},
		{"a question that is too long", "can: [adi, users.list, east]", "can: [adi, users.list, east, west]", "must be [user, permission, tenant]"},
		{"a case without a question", "can: [adi, users.list, east], ", "", "line 7: right: the case asks nothing"},
		{"unknown tenant", "users.list, east]", "users.list, west]", `line 7: right: there is no tenant "west"`},
		{"unknown permission", "adi, users.list", "adi, users.adore", `"users.adore" is no permission`},
		{"unknown role", "[administrator]", "[emperor]", `"emperor" is no role`},
		{"unknown status", "[administrator], active", "[administrator], lost", `"lost" is no status`},
		{"unknown tenant of a member", "[adi, east, [administrator]", "[adi, west, [administrator]", `there is no tenant "west"`},
		{"unknown blueprint", "blueprint: ingenuity", "blueprint: genius", `there is no blueprint "genius"`},
		{"unknown relation", "{east: {}}", "{east: {edges: {up: east}}}", `"up" is no relation`},
		{"a circle of parents", "{solo: {ents: [sso]}}", "{solo: {edges: {channel: duo}}, duo: {edges: {channel: solo}}}", "is above itself"},
		{"unknown parent", "{solo: {ents: [sso]}}", "{solo: {edges: {channel: duo}}}", `there is no tenant "duo"`},
		{"unknown entitlement", "{ents: [sso]}", "{ents: [gold]}", `"gold" is no entitlement`},
		{"unknown tenant status", "{ents: [sso]}", "{status: lost}", `there is no status "lost"`},
		{"unknown hub", "  blueprint: emnify", "  blueprint: emnify\n  event: {unlink: hq}", `there is no tenant "hq"`},
		{"a patch that breaks the blueprint", "  blueprint: ingenuity", "  blueprint: ingenuity\n  patch: {requires: {users.list: [users.list]}}", "in a circle"},
		{"broken YAML", "one:", "one: [", "yaml"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if !strings.Contains(world, c.old) {
				t.Fatalf("%q is not in the world", c.old)
			}
			suites, err := scenario.Parse([]byte(strings.Replace(world, c.old, c.new, 1)))
			for _, suite := range suites {
				if err == nil {
					_, err = scenario.Run(suite, catalog(t))
				}
			}
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(world))
	for _, source := range []string{"", "a", "[]", "a: {cases: [1]}", "a: &a {cases: *a}", "a: {cases: [{can: {}}]}", "a: {members: [[]]}"} {
		f.Add([]byte(source))
	}
	c, err := authz.Shipped()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		suites, err := scenario.Parse(source)
		for _, suite := range suites {
			if err == nil {
				_, err = scenario.Run(suite, c)
			}
		}
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("an untyped error: %v", err)
		}
	})
}
