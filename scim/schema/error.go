package schema

import (
	"fmt"

	"github.com/rolecall/rolecall/scim/filter"
)

// The keywords of RFC 7644 §3.12, table 9, that schema rules fail with, beside
// those of package filter.
const (
	InvalidSyntax filter.ScimType = "invalidSyntax"
	InvalidValue  filter.ScimType = "invalidValue"
	Mutable       filter.ScimType = "mutability" // the change breaks an attribute's mutability
	NoTarget      filter.ScimType = "noTarget"
)

// Error says which attribute breaks which rule. Its text is safe to show to
// the client: it never repeats a value.
type Error struct {
	ScimType filter.ScimType // InvalidSyntax, InvalidValue, Mutable, or InvalidFilter, InvalidPath of package filter
	Path     string          // the attribute, as "emails.type" or with its extension's URN; empty for the document
	Detail   string          // what was expected
}

// Error implements error.
func (e *Error) Error() string {
	s := string(e.ScimType)
	if e.Path != "" {
		s += ": " + e.Path
	}
	return s + ": " + e.Detail
}

func invalid(path, format string, args ...any) error {
	return &Error{ScimType: InvalidValue, Path: path, Detail: fmt.Sprintf(format, args...)}
}

// Warning is something a lenient validation left out of a document or let
// pass; see [Options].
type Warning struct {
	Path   string // the attribute or schema URI, as the client spelt it
	Detail string
}
