package directory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/language"
)

// A PostalAddress is where somebody is written to on paper, as a member's SCIM
// attribute "addresses" has it (RFC 7643 §4.1.2).
type PostalAddress struct {
	Street     string // with the number
	PostalCode string // empty where there are none
	Locality   string
	Region     string // empty where it takes none to find the locality
	Country    string // ISO 3166-1 alpha-2
}

const maxAddressPart = 200 // bytes

// validate fails with fault.Invalid on the part that is missing or can't be: street,
// postal_code, locality, region or country.
func (a *PostalAddress) validate() error {
	for _, part := range []struct {
		field, text string
		required    bool
	}{
		{"street", a.Street, true},
		{"postal_code", a.PostalCode, false},
		{"locality", a.Locality, true},
		{"region", a.Region, false},
	} {
		switch {
		case part.required && part.text == "":
			return fault.Field(fault.Invalid, part.field, "the address lacks it")
		case len(part.text) > maxAddressPart, !utf8.ValidString(part.text), strings.ContainsFunc(part.text, unicode.IsControl):
			return fault.Field(fault.Invalid, part.field, "must have at most %d bytes and no control characters", maxAddressPart)
		}
	}
	if !language.KnownCountry(a.Country) {
		return fault.Field(fault.Invalid, "country", "%.10q is no country such as DE (ISO 3166-1 alpha-2)", a.Country)
	}
	return nil
}

// attributes returns the value of the SCIM attribute.
func (a *PostalAddress) attributes() []any {
	value := map[string]any{"type": "other", "primary": true}
	for name, text := range map[string]string{
		"streetAddress": a.Street, "postalCode": a.PostalCode, "locality": a.Locality, "region": a.Region, "country": a.Country,
	} {
		if text != "" {
			value[name] = text
		}
	}
	return []any{value}
}
