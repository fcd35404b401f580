package portal

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/language"
)

// verb is one verb of package fmt; with an index it may stand anywhere.
var verb = regexp.MustCompile(`%(\[\d\])?[a-z]`)

// Every language has the words that English has, no others, and the same verbs.
func TestLanguagesHaveTheSameTexts(t *testing.T) {
	t.Parallel()
	p, _ := newTestPages(t)
	english := p.texts[language.Default]
	for _, l := range language.All() {
		words := p.texts[l.Tag]
		for key, text := range english {
			other, ok := words[key]
			if !ok || other == "" {
				t.Errorf("%s lacks %s", l.Tag, key)
				continue
			}
			if want, got := verb.FindAllString(text, -1), verb.FindAllString(other, -1); !slices.Equal(want, got) {
				t.Errorf("%s: %s has the verbs %q, want %q", l.Tag, key, got, want)
			}
			if straight := strings.ReplaceAll(other, "can't", ""); l.Tag != language.Default && strings.ContainsAny(straight, `'"`) {
				t.Errorf("%s: %s has straight quotation marks: %s", l.Tag, key, other)
			}
		}
		for key := range maps.Keys(words) {
			if english[key] == "" {
				t.Errorf("%s has %s, which nothing says", l.Tag, key)
			}
		}
		if months := strings.Fields(words["format.months"]); len(months) != 12 {
			t.Errorf("%s has %d months", l.Tag, len(months))
		}
	}
}
