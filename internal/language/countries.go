package language

import (
	"slices"
	"strings"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// A Country is one of those that there are today.
type Country struct {
	Code string // ISO 3166-1 alpha-2
	Name string
}

// Countries returns all countries, called and ordered as in the language of that
// tag.
func Countries(tag string) []Country {
	spoken := language.Make(tag)
	names := display.Regions(spoken)
	if names == nil {
		names = display.Regions(language.Make(Default))
	}
	var all []Country
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if KnownCountry(code) {
				region := language.MustParseRegion(code)
				all = append(all, Country{code, names.Name(region)})
			}
		}
	}
	order := collate.New(spoken)
	slices.SortFunc(all, func(x, y Country) int { return order.CompareString(x.Name, y.Name) })
	return all
}

// KnownCountry reports whether a code is that of a country of today: one that is no
// more, or has another code by now, is none, nor is a union of countries or a part of
// one for which a code is merely kept free. Kosovo's is not ISO's, and what everybody
// uses.
func KnownCountry(code string) bool {
	region, err := language.ParseRegion(code)
	if err != nil || len(code) != 2 || region.String() != code || !region.IsCountry() || region.Canonicalize() != region {
		return false
	}
	return display.English.Regions().Name(region) != "" && !strings.Contains("AC CP CQ DG EA EZ IC TA UN", code)
}
