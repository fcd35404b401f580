package scim

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// The strict decoder accepts nothing that encoding/json refuses, reads the same
// where both accept, and always says where it stopped.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", "null", `{"a":1}`, `{"a":1,"a":2}`, `{"a":{"b":[1,"x",null,true,1e3]}}`, `{"a":1} x`, `{"a":"\u0000"}`, "{\"\xff\":1}",
		`{"a":"\ud800"}`, "\ufeff{}", `{"a":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}`, `{"a":01}`, "{\n\"a\" 1}", `{"a":"`, `{,}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeObject(data)
		if err != nil {
			e := errorOf(err)
			if e.Status != 400 || e.SCIMType != invalidSyntax || !bytes.Contains([]byte(e.Detail), []byte("line ")) {
				t.Fatalf("%q fails with %v", data, err)
			}
			if !utf8.ValidString(e.Detail) {
				t.Fatalf("%q fails with a detail that is no UTF-8: %q", data, e.Detail)
			}
			return
		}
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is accepted, encoding/json says %v", data, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-encoding/json +ours):\n%s", data, diff)
		}
	})
}

func FuzzParseCondition(f *testing.F) {
	for _, seed := range []string{``, `*`, `W/"1"`, `"1", W/"2"`, `W/"1`, `W/"1""2"`, `,`, `"", ""`, `W/"18446744073709551616"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, ok, err := parseCondition("If-Match", header)
		if err != nil {
			return
		}
		if (c.any || len(c.versions) > 0) && !ok {
			t.Fatalf("%q is no condition but %v", header, c)
		}
		for _, version := range c.versions {
			again, _, err := parseCondition("If-Match", etag(version))
			if err != nil || !again.holds(version) || again.holds(version+1) {
				t.Fatalf("the tag of %d reads as %v, %v", version, again, err)
			}
		}
	})
}

func TestSplitPaths(t *testing.T) {
	for list, want := range map[string][]string{
		"":                                    nil,
		" a , b.c,,":                          {"a", "b.c"},
		`emails[type eq "a,]b" and x],name.y`: {`emails[type eq "a,]b" and x]`, "name.y"},
	} {
		if diff := cmp.Diff(want, splitPaths([]string{list})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", list, diff)
		}
	}
}
