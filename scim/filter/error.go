package filter

import "fmt"

// ScimType is a detail error keyword of RFC 7644 §3.12, table 9.
type ScimType string

// The keywords of errors in filters and paths.
const (
	InvalidFilter ScimType = "invalidFilter"
	InvalidPath   ScimType = "invalidPath"
	TooMany       ScimType = "tooMany"
)

// Error says where a filter or path breaks the grammar or a limit, and what
// would have been right there. Its text is safe to show to the client: it
// never repeats a literal, which might be a secret.
type Error struct {
	ScimType ScimType // InvalidFilter or InvalidPath; TooMany beyond [MaxNodes]
	Position int      // 1-based, in characters
	Detail   string   // what was expected
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s at character %d: %s", e.ScimType, e.Position, e.Detail)
}
