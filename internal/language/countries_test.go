package language_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/language"
)

// ISO 3166-1 alpha-2, of today.
func TestCountries(t *testing.T) {
	t.Parallel()
	names := map[string]map[string]string{"en": {"DE": "Germany", "AT": "Austria"}, "de": {"AT": "Österreich", "FR": "Frankreich"}, "fr": {"DE": "Allemagne", "ES": "Espagne"}, "es": {"DE": "Alemania", "CH": "Suiza"}}
	for _, l := range language.All() {
		all := language.Countries(l.Tag)
		if len(all) != 250 { // ISO's 249, and Kosovo
			t.Errorf("%s: %d countries", l.Tag, len(all))
		}
		var codes []string
		for _, c := range all {
			codes = append(codes, c.Code)
			if c.Name == "" || c.Name == c.Code || strings.Contains(c.Name, "Unknown") {
				t.Errorf("%s: %s is called %q", l.Tag, c.Code, c.Name)
			}
			if want := names[l.Tag][c.Code]; want != "" && c.Name != want {
				t.Errorf("%s: %s is called %s, want %s", l.Tag, c.Code, c.Name, want)
			}
		}
		if l.Tag == "de" && slices.Index(codes, "AT") > slices.Index(codes, "PL") {
			t.Error("Österreich comes after Polen")
		}
	}
	for code, want := range map[string]bool{
		"DE": true, "GB": true, "US": true, "PS": true, "TW": true, "XK": true,
		"": false, "de": false, "UK": false, "SU": false, "DD": false, "YU": false, "AN": false, "ZZ": false, "AA": false, "EU": false, "QO": false, "AC": false, "IC": false, "AUT": false, "276": false,
	} {
		if got := language.KnownCountry(code); got != want {
			t.Errorf("%q is one: %v", code, got)
		}
	}
}
