package scim

import (
	"errors"
	"reflect"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/patch"
	"github.com/rolecall/rolecall/scim/schema"
)

// mapping is an attribute mapping of a connection, resolved.
type mapping struct {
	from, to schema.Spot
	path     filter.Path // of to
}

// mappingsOf resolves what the directory has checked.
func mappingsOf(t *schema.ResourceType, mappings []directory.AttributeMapping) ([]mapping, error) {
	resolved := make([]mapping, 0, len(mappings))
	for _, m := range mappings {
		from, errFrom := filter.ParsePath(m.From)
		to, errTo := filter.ParsePath(m.To)
		if err := errors.Join(errFrom, errTo); err != nil {
			return nil, err
		}
		next := mapping{path: to}
		next.from, errFrom = t.Spot(from)
		next.to, errTo = t.Spot(to)
		if err := errors.Join(errFrom, errTo); err != nil {
			return nil, err
		}
		resolved = append(resolved, next)
	}
	return resolved, nil
}

// mapDocument applies a connection's mappings to the document of a POST or PUT:
// what is sent at the one place is taken over to the other, whatever was sent
// there.
func (op *operation) mapDocument(body map[string]any) (map[string]any, []schema.Warning, error) {
	mappings, err := op.mappings()
	if err != nil || len(mappings) == 0 {
		return body, nil, err
	}
	draft, warnings, err := op.kind.t.Draft(body, op.profile.schema)
	if err != nil {
		return nil, warnings, err
	}
	draft, err = op.carry(draft, mappings, nil)
	return draft, warnings, err
}

// mapPatched applies a connection's mappings to what a PATCH made of a document:
// what it changed at the one place changes at the other as well.
func (op *operation) mapPatched(before, after map[string]any) (map[string]any, error) {
	mappings, err := op.mappings()
	if err != nil || len(mappings) == 0 {
		return after, err
	}
	return op.carry(after, mappings, before)
}

// mappings are those of the operation's connection, which are about users.
func (op *operation) mappings() ([]mapping, error) {
	if op.kind.t.Schema.ID != schema.UserURN {
		return nil, nil
	}
	return mappingsOf(op.kind.t, op.profile.mappings)
}

// carry takes over values of doc; with the document before a change, those that
// differ from it. One that is gone is taken away at the other place too, unless
// every resource has it.
func (op *operation) carry(doc map[string]any, mappings []mapping, before map[string]any) (map[string]any, error) {
	var operations []patch.Operation
	for _, m := range mappings {
		value := m.from.Value(doc)
		switch {
		case before != nil && reflect.DeepEqual(value, m.from.Value(before)):
		case value != nil:
			operations = append(operations, patch.Operation{Op: patch.Add, Path: &m.path, Value: value})
		case before != nil && !m.to.Target().Required && m.to.Value(doc) != nil:
			operations = append(operations, patch.Operation{Op: patch.Remove, Path: &m.path})
		}
	}
	if len(operations) == 0 {
		return doc, nil
	}
	result, err := patch.Apply(op.kind.t, doc, operations, op.profile.schema)
	if e, ok := errors.AsType[*patch.Error](err); ok {
		e.Operation = -1 // the client sent none of these
	}
	return result.Document, err
}
