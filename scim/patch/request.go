// Package patch owns SCIM's PATCH (RFC 7644 §3.5.2): reading a PatchOp body,
// and applying its operations to a document, which it never modifies. It
// accepts what identity providers really send, as far as [schema.Options]
// allow.
//
// Changes to the members of a group come out as a list instead of a new
// array, so that nobody needs to load them. Transactions, uniqueness and the
// existence of members are left to package directory.
package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// URN is the schema of a PATCH request body.
const URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

// MaxOperations bounds the operations of one request.
const MaxOperations = 1000

// MaxExamined bounds the values of lists that the operations of one request
// look through together: an operation on emails counts as many as there are, but
// for those that add values, or remove them by a text, one after the other.
// Without it a request of a megabyte keeps a processor busy for minutes.
const MaxExamined = 100_000

// Op is the kind of an operation, in lower case.
type Op string

// The operations.
const (
	Add     Op = "add"
	Remove  Op = "remove"
	Replace Op = "replace"
)

// Operation is one operation of a request. It comes from [Parse].
type Operation struct {
	Op    Op
	Path  *filter.Path // nil when the operation has none
	Value any          // decoded with UseNumber; nil when absent or null
}

// Error says which operation of a request fails, and why. Its text is safe to
// show to the client.
type Error struct {
	// ScimType is a keyword of RFC 7644 §3.12, table 9: InvalidSyntax,
	// InvalidPath, InvalidFilter, InvalidValue, Mutable, NoTarget or TooMany.
	ScimType  filter.ScimType
	Operation int    // index in Operations; -1 for the request, or the resource that all of them lead to
	Path      string // the attribute at fault; may be empty
	Detail    string // what was expected
}

// Error implements error.
func (e *Error) Error() string {
	s := string(e.ScimType)
	if e.Operation >= 0 {
		s += fmt.Sprintf(": Operations[%d]", e.Operation)
	}
	if e.Path != "" {
		s += ": " + e.Path
	}
	return s + ": " + e.Detail
}

// at turns an error of the schema or filter package into one of an operation.
func at(operation int, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*schema.Error](err); ok {
		return &Error{ScimType: e.ScimType, Operation: operation, Path: e.Path, Detail: e.Detail}
	}
	if e, ok := errors.AsType[*filter.Error](err); ok {
		return &Error{ScimType: e.ScimType, Operation: operation, Path: "path", Detail: fmt.Sprintf("%s at character %d", e.Detail, e.Position)}
	}
	return err
}

func syntax(operation int, path, detail string) error {
	return &Error{ScimType: schema.InvalidSyntax, Operation: operation, Path: path, Detail: detail}
}

// Parse reads the body of a PATCH request. Names of members, the URN and the
// names of operations are taken in any case. A failure is an [*Error]:
// InvalidSyntax for a body that isn't a PatchOp or holds an unknown operation,
// InvalidPath, NoTarget for a remove without path (§3.5.2.2), InvalidValue for
// another operation without value, or TooMany.
func Parse(body []byte) ([]Operation, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil || m == nil {
		return nil, syntax(-1, "", "expected a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, syntax(-1, "", "expected nothing after the JSON object")
	}
	schemas, _ := member(m, "schemas")
	list, _ := schemas.([]any)
	isPatch := slices.ContainsFunc(list, func(v any) bool {
		s, ok := v.(string)
		return ok && strings.EqualFold(s, URN)
	})
	if !isPatch {
		return nil, syntax(-1, "schemas", "expected an array with "+URN)
	}
	raw, _ := member(m, "Operations")
	operations, _ := raw.([]any)
	if len(operations) == 0 {
		return nil, syntax(-1, "Operations", "expected an array of at least one operation")
	}
	if len(operations) > MaxOperations {
		return nil, &Error{ScimType: filter.TooMany, Operation: -1, Path: "Operations", Detail: fmt.Sprintf("expected at most %d operations", MaxOperations)}
	}
	out := make([]Operation, len(operations))
	for i, raw := range operations {
		var err error
		if out[i], err = parseOperation(i, raw); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseOperation(i int, raw any) (Operation, error) {
	m, ok := raw.(map[string]any)
	if !ok {
		return Operation{}, syntax(i, "", "expected an object with op, path and value")
	}
	name, _ := member(m, "op")
	text, _ := name.(string)
	o := Operation{Op: Op(strings.ToLower(text))}
	if o.Op != Add && o.Op != Remove && o.Op != Replace {
		return Operation{}, syntax(i, "op", "expected add, remove or replace")
	}
	rawPath, _ := member(m, "path")
	path, ok := rawPath.(string)
	if !ok && rawPath != nil {
		return Operation{}, &Error{ScimType: filter.InvalidPath, Operation: i, Path: "path", Detail: "expected a string"}
	}
	if path != "" {
		p, err := filter.ParsePath(path)
		if err != nil {
			return Operation{}, at(i, err)
		}
		o.Path = &p
	}
	var hasValue bool
	o.Value, hasValue = member(m, "value")
	switch {
	case o.Op == Remove && o.Path == nil:
		return Operation{}, &Error{ScimType: schema.NoTarget, Operation: i, Path: "path", Detail: "expected a path, since the operation removes"}
	case o.Op != Remove && !hasValue:
		return Operation{}, &Error{ScimType: schema.InvalidValue, Operation: i, Path: "value", Detail: "expected a value, since the operation is " + string(o.Op)}
	}
	return o, nil
}

// member finds a member of an object, preferring the exact name.
func member(m map[string]any, name string) (any, bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	found := ""
	for key := range m {
		// The least of several spellings, so that the choice isn't random.
		if strings.EqualFold(key, name) && (found == "" || key < found) {
			found = key
		}
	}
	v, ok := m[found]
	return v, ok && found != ""
}
