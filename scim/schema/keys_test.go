package schema

import (
	"cmp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestKeysOfADocument(t *testing.T) {
	core, err := Core()
	if err != nil {
		t.Fatal(err)
	}
	device, err := ParseSchema([]byte(`{"id":"urn:x:2.0:Device","attributes":[
		{"name":"serial","uniqueness":"server"},{"name":"tags","multiValued":true,"indexed":true},{"name":"secret","returned":"never","uniqueness":"server"},
		{"name":"place","type":"complex","subAttributes":[{"name":"room","indexed":true},{"name":"floor"}]},
		{"name":"ports","type":"complex","multiValued":true,"subAttributes":[{"name":"mac","uniqueness":"global","caseExact":true}]},{"name":"plain"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := core.Extend([]*Schema{device}, []Definition{{Name: "User", Extensions: []ExtensionDefinition{{Schema: device.ID}}}})
	if err != nil {
		t.Fatal(err)
	}
	user, _ := r.ResourceType("User")
	got := user.Keys(map[string]any{"userName": "a column", "title": "not indexed", device.ID: map[string]any{
		"serial": "S1", "tags": []any{"A", "b", "a"}, "secret": "Hidden", "plain": "x",
		"place": map[string]any{"room": "R", "floor": "3"}, "ports": []any{map[string]any{"mac": "M1"}, map[string]any{"mac": "m1"}},
	}})
	prefix := device.ID + ":"
	want := []Key{
		{prefix + "serial", "s1", true},
		{prefix + "tags", "a", false},
		{prefix + "tags", "b", false},
		{prefix + "secret", digest("hidden"), true},
		{prefix + "place.room", "r", false},
		{prefix + "ports.mac", "M1", true},
		{prefix + "ports.mac", "m1", true},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	plain, _ := core.ResourceType("User")
	if keys := plain.Keys(map[string]any{"userName": "x"}); keys != nil {
		t.Errorf("User without extension has the keys %v", keys)
	}
}

// A key is as long as an index bears, equal for equal values only, and in the
// order of values as far as KeyBound says.
func TestKeysAreInTheOrderOfValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := strings.Repeat(rapid.SampledFrom([]string{"a", "é", "日", "\U0010FFFF"}).Draw(t, "letter"), rapid.IntRange(0, 520).Draw(t, "length"))
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\U0010FFFFé")), 0, 4, -1)
		x, y := prefix+text.Draw(t, "x"), prefix+text.Draw(t, "y")
		kx, _ := KeyValue(x)
		ky, _ := KeyValue(y)
		if len(kx) > maxKey || (kx == ky) != (x == y) {
			t.Fatalf("keys of %d and %d bytes, equal %v, of values that are equal %v", len(kx), len(ky), kx == ky, x == y)
		}
		bound := KeyBound(x)
		if y >= x && ky < bound {
			t.Errorf("a value behind another has a key before its bound")
		}
		if bound == x && y <= x && ky > bound {
			t.Errorf("a value before another has a key behind its bound")
		}
		m, n := rapid.Float64Range(-1e300, 1e300).Draw(t, "m"), rapid.Float64Range(-10, 10).Draw(t, "n")
		km, _ := KeyValue(m)
		kn, _ := KeyValue(n)
		if cmp.Compare(km, kn) != cmp.Compare(m, n) {
			t.Errorf("the keys of %v and %v are in another order", m, n)
		}
	})
}
