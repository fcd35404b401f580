package language_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/language"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wanted []string
		want   string // empty: none
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"de"}, "de"},
		{[]string{"de-CH"}, "de"},
		{[]string{"es-419"}, "es"},
		{[]string{"en-GB"}, "en"},
		{[]string{"ja"}, ""},
		{[]string{"ja", "fr-CA"}, "fr"},
		{[]string{"ja", "nl", "es"}, "es"},
		{[]string{"fr;q=0.5, de;q=0.9"}, "de"},
		{[]string{"nl, es;q=0.1, *;q=0.1"}, "es"},
		{[]string{"de_DE"}, "de"},
		{[]string{`"><script>`}, ""},
		{[]string{strings.Repeat("x", 300) + ",de"}, ""},
	} {
		got, ok := language.Choose(c.wanted...)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q: got %q, %v, want %q", c.wanted, got, ok, c.want)
		}
	}
}

func TestAllAreKnown(t *testing.T) {
	t.Parallel()
	for _, l := range language.All() {
		if got, ok := language.Choose(l.Tag); !ok || got != l.Tag || !language.Known(l.Tag) || l.Name == "" {
			t.Errorf("%q is not known by its tag", l.Tag)
		}
	}
	if language.Known("ja") || language.Known("") {
		t.Error("a language is known that there is not")
	}
}
