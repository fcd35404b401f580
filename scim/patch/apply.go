package patch

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// Result is what the operations of a request lead to.
type Result struct {
	// Document is the new document, complete and normalized. It shares nothing
	// with the old one and holds no members. A password that the client set is
	// in it.
	Document map[string]any
	Changed  bool             // Document differs from the old one; Members are not counted
	Members  []MemberChange   // changes to the members of a group, in order
	Warnings []schema.Warning // what was left out
}

// Apply applies the operations in order to doc, a document as
// [schema.ResourceType.ValidateCreate] returns it, which may also hold what
// the server keeps. doc isn't modified: either all operations take effect, in
// the result, or none.
//
// An operation on a value that a filter doesn't find creates the value where
// that is what clients mean: add does if the filter only tells sub-attributes
// that must be equal; replace does if it asks for one of the canonical types.
// All else is NoTarget, except that a lenient remove passes it over.
//
// A failure is an [*Error].
func Apply(t *schema.ResourceType, doc map[string]any, operations []Operation, options schema.Options) (Result, error) {
	p := &patcher{t: t, o: options, old: doc, doc: clone(doc)}
	for i, o := range operations {
		if err := p.apply(o); err != nil {
			return Result{}, at(i, err)
		}
	}
	if err := p.close(); err != nil {
		return Result{}, at(-1, err)
	}
	if err := t.Complete(p.doc); err != nil && !lacked(t, doc, err) {
		return Result{}, at(-1, err)
	}
	return Result{Document: p.doc, Changed: differ(doc, p.doc), Members: p.memberChanges, Warnings: p.warnings}, nil
}

// lacked reports whether the old document misses the same thing: what its
// schema came to require after it was made. A PATCH that has nothing to do with
// it must go through, or nobody could be switched off any more.
func lacked(t *schema.ResourceType, old map[string]any, err error) bool {
	before, _ := errors.AsType[*schema.Error](t.Complete(maps.Clone(old)))
	after, _ := errors.AsType[*schema.Error](err)
	return before != nil && after != nil && before.Path == after.Path
}

// differ ignores "schemas", which follows from the rest.
func differ(old, doc map[string]any) bool {
	old, doc = maps.Clone(old), maps.Clone(doc)
	delete(old, "schemas")
	delete(doc, "schemas")
	return !reflect.DeepEqual(old, doc)
}

type patcher struct {
	t             *schema.ResourceType
	o             schema.Options
	old, doc      map[string]any
	memberChanges []MemberChange
	warnings      []schema.Warning
	examined      int // values of lists so far
	open          *openList
}

// examine counts the values of a list that an operation looks through.
func (p *patcher) examine(r schema.Ref) error {
	list, _ := p.holder(r)[r.Attribute.Name].([]any)
	return p.look(r, len(list))
}

// look counts values that are looked at.
func (p *patcher) look(r schema.Ref, values int) error {
	if p.examined += values; p.examined > MaxExamined {
		return &schema.Error{
			ScimType: filter.TooMany, Path: r.String(),
			Detail: fmt.Sprintf("expected fewer operations on such long lists: all of them together may look through %d values", MaxExamined),
		}
	}
	return nil
}

func (p *patcher) apply(o Operation) error {
	if o.Path == nil {
		return p.spread(o.Op, nil, o.Value)
	}
	r, err := p.t.Resolve(o.Path.Attr)
	if err != nil {
		return err
	}
	return p.at(o.Op, r, o.Path.Filter, o.Value)
}

// at applies an operation to what its path names.
func (p *patcher) at(o Op, r schema.Ref, where filter.Expr, raw any) error {
	if r.Attribute == nil {
		return p.container(o, r, raw)
	}
	if r.Attribute.Mutability == schema.ReadOnly || r.Sub != nil && r.Sub.Mutability == schema.ReadOnly {
		return mutability(r.String(), "expected no change, since the attribute is readOnly")
	}
	if p.t.Separate(r.Attribute) {
		return p.members(o, r, where, raw)
	}
	if o == Add && isEmpty(raw) {
		return nil // null, [] and {} are no value to add
	}
	if r.Attribute.MultiValued {
		if done, err := p.quickly(o, r, where, raw); done || err != nil {
			return err
		}
		if err := p.examine(r); err != nil {
			return err
		}
	}
	if where != nil {
		return p.selected(o, r, where, raw)
	}
	if raw == nil || o == Remove {
		return p.unassign(r, raw)
	}
	if r.Attribute.MultiValued {
		if r.Sub != nil {
			return p.setInAll(r, raw)
		}
		return p.setList(o, r, raw)
	}
	return p.setSingle(r, raw)
}

// container applies an operation whose path is a schema URI alone.
func (p *patcher) container(o Op, r schema.Ref, raw any) error {
	if err := p.close(); err != nil {
		return err
	}
	if o != Remove && raw != nil {
		return p.spread(o, r.Extension, raw)
	}
	if o == Add {
		return nil
	}
	if r.Extension == nil {
		return &schema.Error{ScimType: schema.NoTarget, Path: p.t.Schema.ID, Detail: "expected an attribute, since a resource can't lose its base schema"}
	}
	values, _ := p.doc[r.Extension.ID].(map[string]any)
	for _, a := range r.Extension.Attributes {
		if _, ok := values[a.Name]; ok && (a.Mutability == schema.Immutable || a.Mutability == schema.ReadOnly) {
			return mutability(r.Extension.ID+":"+a.Name, "expected no removal, since the attribute is "+string(a.Mutability))
		}
	}
	for _, e := range p.t.Extensions {
		if e.Schema == r.Extension && e.Required {
			return mutability(r.Extension.ID, "expected no removal, since the extension is required")
		}
	}
	delete(p.doc, r.Extension.ID)
	return nil
}

// spread applies an operation to each attribute of an object: the value of an
// operation without path, or of an extension. Keys may be paths of any form,
// as Entra ID sends them.
func (p *patcher) spread(o Op, extension *schema.Schema, raw any) error {
	if list, ok := raw.([]any); ok && len(list) == 1 && p.o.LooseValues {
		raw = list[0]
	}
	m, ok := raw.(map[string]any)
	if !ok {
		return &schema.Error{ScimType: schema.InvalidValue, Path: "value", Detail: "expected an object of attributes"}
	}
	// In order, so that "name" comes before "name.givenName".
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if extension == nil && strings.EqualFold(key, "schemas") {
			continue
		}
		r, where, err := p.key(extension, key)
		if err != nil {
			if !p.o.IgnoreUnknown {
				return err
			}
			p.warnings = append(p.warnings, schema.Warning{Path: key, Detail: "no attribute of the resource type " + p.t.Name})
			continue
		}
		if r.Attribute != nil && r.Attribute.Mutability == schema.ReadOnly {
			if err := p.restated(r, m[key]); err != nil {
				return err
			}
			continue
		}
		if err := p.at(o, r, where, m[key]); err != nil {
			return err
		}
	}
	return nil
}

func (p *patcher) key(extension *schema.Schema, key string) (schema.Ref, filter.Expr, error) {
	path, err := filter.ParsePath(key)
	if err != nil {
		return schema.Ref{}, nil, &schema.Error{ScimType: filter.InvalidPath, Path: key, Detail: "expected keys that are attribute paths"}
	}
	if extension != nil && path.Attr.URI == "" {
		path.Attr.URI = extension.ID
	}
	r, err := p.t.Resolve(path.Attr)
	if err == nil && extension != nil && r.Attribute == nil {
		err = &schema.Error{ScimType: filter.InvalidPath, Path: key, Detail: "expected an attribute of the extension"}
	}
	return r, path.Filter, err
}

// restated lets a client repeat what is readOnly, as Okta does with the id.
// What the document doesn't hold can't be compared, and is ignored as in a
// PUT; so are meta (RFC 7643 §3.1) and everything complex, such as groups.
func (p *patcher) restated(r schema.Ref, raw any) error {
	have, known := p.holder(r)[r.Attribute.Name]
	if !known || r.Attribute.Type == schema.Complex || raw == nil {
		return nil
	}
	value, err := p.normalize(r, raw)
	if err != nil {
		return err
	}
	if !schema.Equal(r.Attribute, have, value) {
		return mutability(r.String(), "expected the value that the resource has, since the attribute is readOnly")
	}
	return nil
}
