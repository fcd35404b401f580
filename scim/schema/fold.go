package schema

import (
	"strings"
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
	return norm.NFC.String(strings.Map(upperCherokee, cases.Fold().String(norm.NFD.String(s))))
}

// upperCherokee completes the fold: Unicode folds Cherokee letters to upper
// case, where package cases swaps the two cases.
func upperCherokee(r rune) rune {
	switch {
	case 0xAB70 <= r && r <= 0xABBF:
		return r - 0xAB70 + 0x13A0
	case 0x13F8 <= r && r <= 0x13FD:
		return r - 8
	}
	return r
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
