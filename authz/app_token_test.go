package authz

import (
	"strings"
	"testing"
)

func TestAppTokenOperationsComeFromTheBlueprint(t *testing.T) {
	shipped, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]AppTokenOperations{
		"default": {Create: "tokens.create", List: "tokens.read", Update: "tokens.create", Revoke: "tokens.create", Manage: "tokens.manage"},
		// EM-R16: who may not edit may not revoke either, and who may does so for all.
		"emnify":    {Create: "app_tokens.create", List: "app_tokens.read", Update: "app_tokens.update", Revoke: "app_tokens.update", Manage: "app_tokens.update"},
		"streamone": {},
	} {
		b, err := shipped.Blueprint(name)
		if err != nil {
			t.Fatal(err)
		}
		policy := b.AppTokens()
		if *policy.Operations != want || policy.Expiry != "optional" || policy.CIDR != "optional" {
			t.Errorf("%s: got %+v, want %+v", name, *policy.Operations, want)
		}
		if label := policy.StatusLabel(true); (label == "Revoked") != (name == "emnify") {
			t.Errorf("%s: a revoked token is %q", name, label)
		}
	}
}

func TestLintChecksAppTokens(t *testing.T) {
	source, err := ShippedSource("default")
	if err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]string{
		"manage: tokens.manege}":                              "there is no permission",
		"manage: tokens.manage}\n  statuses: {0: On}":         "has 1 words",
		"manage: tokens.manage}\n  statuses: {0: On, 1: Off}": "",
		"manage: tokens.manage, renew: tokens.create}":        "renew",
		"manage: tokens.manage}\n  cidr: required":            "given twice",
	} {
		_, err := Load([]byte(strings.Replace(string(source), "manage: tokens.manage}", change, 1)))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", change, err, want)
		}
	}
}
