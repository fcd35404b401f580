package schema

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

var (
	attributeName = regexp.MustCompile(`^(\$ref|[A-Za-z][A-Za-z0-9_-]*)$`)
	schemaURI     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._:/%+~@!*,;=?&#'$-]+$`)
	endpoint      = regexp.MustCompile(`^/[A-Za-z][A-Za-z0-9_-]*$`)
	countryCode   = regexp.MustCompile(`^[A-Za-z]{2}$`)
)

// Schema is a set of attribute definitions under a URI (RFC 7643 §7).
type Schema struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Attributes  []*Attribute `json:"attributes"`
}

// ParseSchema reads a schema in the JSON of RFC 7643 §7 and fills in the
// defaults of §2.2. Members that the RFC doesn't define are ignored. A failure
// is an [*Error] with InvalidSyntax or, from [Schema.Check], InvalidValue.
func ParseSchema(data []byte) (*Schema, error) {
	s := &Schema{}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(s); err != nil {
		return nil, &Error{ScimType: InvalidSyntax, Detail: "expected a schema in the JSON of RFC 7643 §7"}
	}
	setDefaults(s.Attributes)
	return s, s.Check()
}

func setDefaults(attributes []*Attribute) {
	for _, a := range attributes {
		if a == nil {
			continue // Check refuses it
		}
		a.Type = orDefault(a.Type, String)
		a.Mutability = orDefault(a.Mutability, ReadWrite)
		a.Returned = orDefault(a.Returned, Default)
		a.Uniqueness = orDefault(a.Uniqueness, NotUnique)
		if a.Type == Reference || a.Type == Binary {
			a.CaseExact = true // RFC 7643 §2.3.6, §2.3.7
		}
		setDefaults(a.SubAttributes)
	}
}

func orDefault[T ~string](v, fallback T) T {
	if v == "" {
		return fallback
	}
	return v
}

// Check reports the first rule that the schema breaks, as an [*Error] with
// InvalidValue: names and types must be those of RFC 7643, names unique,
// sub-attributes simple and single-valued, and nothing unsafe may be filtered.
func (s *Schema) Check() error {
	if !schemaURI.MatchString(s.ID) {
		return invalid("id", "expected a URI such as urn:example:schemas:2.0:Device")
	}
	if len(s.Attributes) == 0 {
		return invalid("attributes", "expected at least one attribute")
	}
	return checkAttributes(s.Attributes, "")
}

func checkAttributes(attributes []*Attribute, parent string) error {
	seen := map[string]bool{}
	for _, a := range attributes {
		if a == nil || !attributeName.MatchString(a.Name) {
			return invalid(parent, "expected attribute names of letters, digits, - and _ that begin with a letter")
		}
		path := a.Name
		if parent != "" {
			path = parent + "." + a.Name
		}
		key := strings.ToLower(a.Name)
		if seen[key] {
			return invalid(path, "expected each attribute name once, ignoring case")
		}
		seen[key] = true
		if err := a.check(path, parent != ""); err != nil {
			return err
		}
	}
	return nil
}

func (a *Attribute) check(path string, isSub bool) error {
	if isSub && (a.Type == Complex || a.MultiValued) {
		return invalid(path, "expected a sub-attribute that is neither complex nor multi-valued")
	}
	if !slices.Contains([]Type{String, Boolean, Decimal, Integer, DateTime, Binary, Reference, Complex}, a.Type) {
		return invalid(path, "expected a type of RFC 7643 §2.3")
	}
	if !slices.Contains([]Mutability{ReadOnly, ReadWrite, Immutable, WriteOnly}, a.Mutability) {
		return invalid(path, "expected the mutability readOnly, readWrite, immutable or writeOnly")
	}
	if !slices.Contains([]Returned{Always, Never, Default, Request}, a.Returned) {
		return invalid(path, "expected returned to be always, never, default or request")
	}
	if !slices.Contains([]Uniqueness{NotUnique, ServerUnique, GloballyUnique}, a.Uniqueness) {
		return invalid(path, "expected the uniqueness none, server or global")
	}
	if a.Mutability == WriteOnly && a.Returned != Never {
		return invalid(path, "expected a writeOnly attribute to be returned never")
	}
	if len(a.CanonicalValues) > 0 && a.Type != String {
		return invalid(path, "expected canonicalValues only of the type string")
	}
	if len(a.ReferenceTypes) > 0 && a.Type != Reference {
		return invalid(path, "expected referenceTypes only of the type reference")
	}
	if a.Indexed && (a.Type == Complex || a.Returned == Never) {
		return invalid(path, "expected indexed only where values can be compared: not on a complex attribute, nor on one that is never returned")
	}
	if a.Type == Complex && a.Uniqueness != NotUnique {
		return invalid(path, "expected the uniqueness of a sub-attribute, since complex values can't be compared")
	}
	if a.Type != Complex {
		if len(a.SubAttributes) > 0 {
			return invalid(path, "expected sub-attributes only in a complex attribute")
		}
		return nil
	}
	if len(a.SubAttributes) == 0 {
		return invalid(path, "expected a complex attribute to have sub-attributes")
	}
	return checkAttributes(a.SubAttributes, path)
}
