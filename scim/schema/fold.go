package schema

import (
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold is the form in which strings compare without case: canonical caseless
// matching of Unicode (definition D145), composed. It is the one fold of the
// project: whatever stores or looks up a caseExact:false value must use it, so
// that SQLite, PostgreSQL and memory agree byte by byte. It is idempotent.
func Fold(s string) string {
	if lower, ok := foldASCII(s); ok {
		return lower
	}
	// A Caser has state, so none is shared.
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(s)))
}

func foldASCII(s string) (string, bool) {
	upper := false
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return "", false
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if !upper {
		return s, true
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b), true
}
