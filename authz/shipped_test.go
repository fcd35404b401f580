package authz_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
)

func shipped(t testing.TB) *authz.Catalog {
	t.Helper()
	c, err := authz.Shipped()
	if err != nil {
		t.Fatalf("Shipped: %v", err)
	}
	return c
}

func blueprint(t testing.TB, name string) *authz.Blueprint {
	t.Helper()
	b, err := shipped(t).Blueprint(name)
	if err != nil {
		t.Fatalf("Blueprint(%q): %v", name, err)
	}
	return b
}

func TestSixBlueprintsAreShipped(t *testing.T) {
	want := []string{"1nce", "default", "emnify", "ingenuity", "streamone", "timextender"}
	if diff := cmp.Diff(want, shipped(t).Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
