// Package fault classifies the errors that cross package boundaries.
//
// A domain or storage function that wants its caller, and in the end the
// client, to tell one failure from another returns an [Error]. Every edge
// (scim, oidc/provider, api, portal) translates the Kind exactly once. Any
// other error is internal: it is logged and never shown.
package fault

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the coarse class of an [Error]. It is itself an error, so that
// errors.Is(err, fault.NotFound) holds for every Error of that Kind.
type Kind int

// The kinds of errors. The zero Kind is Internal, so an Error whose Kind was
// forgotten hides its text from clients.
const (
	Internal        Kind = iota
	NotFound             // no such object in this tenant
	Conflict             // a unique value is taken; Field names it
	Invalid              // the input breaks a rule; Field names it
	Unauthenticated      // no valid credential
	Denied               // authenticated, but not allowed; Code says by which rule
	Stale                // the object changed since the caller read it (If-Match)
	Throttled            // too many attempts; RetryAfter says when to come back
	TooLarge             // the input exceeds a limit that Detail states
	Unsupported          // well-formed, but this server does not do it
	Overloaded           // the server has too much to do; RetryAfter says when to come back
)

// Error implements error.
func (k Kind) Error() string {
	switch k {
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	case Invalid:
		return "invalid"
	case Unauthenticated:
		return "unauthenticated"
	case Denied:
		return "denied"
	case Stale:
		return "stale"
	case Throttled:
		return "throttled"
	case TooLarge:
		return "too large"
	case Unsupported:
		return "unsupported"
	case Overloaded:
		return "overloaded"
	case Internal:
	}
	return "internal error"
}

// Error is a classified failure.
type Error struct {
	Kind       Kind
	Field      string        // the attribute or parameter at fault, as the client spells it; may be empty
	Code       string        // a stable reason within the Kind ("last_holder", "mutability"); may be empty
	Detail     string        // one sentence that is safe to show to the client
	RetryAfter time.Duration // only for Throttled and Overloaded
	Err        error         // the cause, for the log only
}

// Error implements error. Its text is for logs; clients are shown Detail.
func (e *Error) Error() string {
	parts := []string{e.Kind.Error(), e.Code, e.Field, e.Detail}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return strings.Join(parts, ": ")
}

// Unwrap makes both the Kind and the cause visible to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// New returns an *Error of the given kind with a formatted Detail.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Field returns an *Error of the given kind about one field of the input.
func Field(kind Kind, field, format string, args ...any) *Error {
	return &Error{Kind: kind, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// WithCode returns e with its Code set.
func (e *Error) WithCode(code string) *Error {
	e.Code = code
	return e
}

// As returns the first *Error in err's tree. An unclassified err yields an
// Internal Error that wraps it, so that edges can switch without a nil check.
func As(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Err: err}
}

// Panic is the error that a panic has become.
type Panic struct {
	Value any
	Stack []byte // the goroutine's, as runtime/debug has it
}

// Error implements error. Its text is for logs.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// Caught runs do and returns its error, a *Panic where it panics: a goroutine has
// nobody above it who would catch it, so that it would end all other work as well.
func Caught(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Panic{p, debug.Stack()}
		}
	}()
	return do()
}

// Seconds is a wait as protocols write it, in whole seconds, rounded up
// (Retry-After, RFC 9110 §10.2.3).
func Seconds(wait time.Duration) string {
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}
