package scenario

import (
	"strings"
	"testing"
)

// A file of another shape is told of in words, by its line.
func TestParseNamesWhatDoesNotBelong(t *testing.T) {
	for _, source := range []string{"cases: [{id: a}]\n", "emnify: text\n", "emnify:\n  tenants: []\n"} {
		_, err := Parse([]byte(source))
		if err == nil || !strings.Contains(err.Error(), "line ") || !strings.Contains(err.Error(), "does not belong here") || strings.Contains(err.Error(), "scenario.") {
			t.Errorf("%q: %v", source, err)
		}
	}
}
