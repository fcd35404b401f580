// Package language says which languages people are spoken to in, on pages and in
// mails, and picks the one that somebody wants among them.
package language

import (
	"slices"

	"golang.org/x/text/language"
)

// Default is what people are spoken to in of whom nothing is known.
const Default = "en"

// A Language is one that everything is written in.
type Language struct {
	Tag  string // BCP 47
	Name string // in that language
}

// All returns the languages that there are, the default first.
func All() []Language {
	return []Language{{Default, "English"}, {"de", "Deutsch"}, {"fr", "Français"}, {"es", "Español"}}
}

// Known reports whether a tag is that of one of the languages.
func Known(tag string) bool {
	return slices.ContainsFunc(All(), func(l Language) bool { return l.Tag == tag })
}

// maxWanted bounds what is looked at of a wish: it comes from strangers.
const maxWanted = 200

// Choose returns the tag of the language that fits a wish best: tags of BCP 47 in
// the order in which they are preferred, or the value of an Accept-Language
// header (RFC 9110 §12.5.4). ok is false where none of them is spoken here.
func Choose(wanted ...string) (tag string, ok bool) {
	if len(wanted) == 1 && Known(wanted[0]) {
		return wanted[0], true // as most profiles have it
	}
	var tags []language.Tag
	for _, wish := range wanted {
		if len(wish) > maxWanted {
			continue
		}
		parsed, _, err := language.ParseAcceptLanguage(wish)
		if err == nil {
			tags = append(tags, parsed...)
		}
	}
	if len(tags) == 0 {
		return "", false
	}
	all := All()
	spoken := make([]language.Tag, len(all))
	for i, l := range all {
		spoken[i] = language.Make(l.Tag)
	}
	_, at, confidence := language.NewMatcher(spoken).Match(tags...)
	if confidence == language.No {
		return "", false
	}
	return all[at].Tag, true
}
