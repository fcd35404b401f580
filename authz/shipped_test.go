package authz_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
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

func TestShippedSourceIsWhatWasCompiled(t *testing.T) {
	for _, name := range shipped(t).Names() {
		source, err := authz.ShippedSource(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := authz.Load(source)
		if err != nil || b.Name() != name {
			t.Errorf("the file of %s holds %v (%v)", name, b, err)
		}
	}
	for _, name := range []string{"", "none", "../doc"} {
		if _, err := authz.ShippedSource(name); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want a fault.Invalid", name, err)
		}
	}
}
