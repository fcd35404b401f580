package schema

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/filter"
)

// ResourceType is a kind of resource: a base schema with its extensions
// (RFC 7643 §6), bound to their definitions. It comes from a [Registry], is
// immutable, and is safe for concurrent use.
type ResourceType struct {
	Name        string
	Description string
	Endpoint    string
	Schema      *Schema
	Extensions  []Extension

	common  []*Attribute      // schemas, id, externalId, meta
	columns map[string]Column // by the canonical path of a base attribute
	formats map[string]format // likewise; what RFC 7643 §4 says beyond the characteristics
}

// Extension is a schema extension of a resource type.
type Extension struct {
	Schema   *Schema
	Required bool // every resource must have it
}

// format is a form that texts of an attribute have.
type format struct {
	pattern  *regexp.Regexp
	expected string
}

// Ref is a resolved attribute path.
type Ref struct {
	Extension *Schema    // the extension that defines the attribute; nil for the base schema and common attributes
	Attribute *Attribute // nil when the path is the URI of the extension, or of the base schema, alone
	Sub       *Attribute // the sub-attribute, if the path has one
}

// String is the canonical spelling of the path, without the URN for
// attributes of the base schema.
func (r Ref) String() string {
	var s string
	if r.Extension != nil {
		s = r.Extension.ID
	}
	if r.Attribute != nil {
		if s != "" {
			s += ":"
		}
		s += r.Attribute.Name
	}
	if r.Sub != nil {
		s += "." + r.Sub.Name
	}
	return s
}

// Target is the definition of what the path names: the sub-attribute if it
// has one, else the attribute.
func (r Ref) Target() *Attribute {
	if r.Sub != nil {
		return r.Sub
	}
	return r.Attribute
}

// Resolve finds the attribute that a path names, ignoring case: a common
// attribute or one of the base schema, with or without its URN, or one of an
// extension by its URN. Beyond RFC 7644 it finds an extension's attribute
// without the URN if no other schema of the resource type has that name, as
// Entra ID writes "manager", and takes the misspelled URN …:enterprise:2.0User.
//
// A failure is an [*Error] with InvalidPath.
func (t *ResourceType) Resolve(p filter.AttrPath) (Ref, error) {
	if r, ok := t.resolve(p); ok {
		return r, nil
	}
	return Ref{}, &Error{ScimType: filter.InvalidPath, Path: p.String(), Detail: "expected an attribute of the resource type " + t.Name}
}

// ResolveText is Resolve for the text of an attribute path.
func (t *ResourceType) ResolveText(path string) (Ref, error) {
	p, err := filter.ParseAttrPath(path)
	if err != nil {
		return Ref{}, err
	}
	return t.Resolve(p)
}

func (t *ResourceType) resolve(p filter.AttrPath) (Ref, bool) {
	// A schema URI alone looks like an attribute to the grammar: see filter.AttrPath.
	if whole := p.String(); p.URI != "" {
		if strings.EqualFold(whole, t.Schema.ID) {
			return Ref{}, true
		}
		if e, ok := t.extension(whole); ok {
			return Ref{Extension: e.Schema}, true
		}
	}
	if p.URI == "" {
		return t.resolveBare(p)
	}
	if strings.EqualFold(p.URI, t.Schema.ID) {
		a, ok := t.base(p.Name)
		return withSub(Ref{Attribute: a}, p.Sub, ok)
	}
	if e, ok := t.extension(p.URI); ok {
		a, ok := find(e.Schema.Attributes, p.Name)
		return withSub(Ref{Extension: e.Schema, Attribute: a}, p.Sub, ok)
	}
	return Ref{}, false
}

func (t *ResourceType) resolveBare(p filter.AttrPath) (Ref, bool) {
	if a, ok := t.base(p.Name); ok {
		return withSub(Ref{Attribute: a}, p.Sub, true)
	}
	var found []Ref
	for _, e := range t.Extensions {
		if a, ok := find(e.Schema.Attributes, p.Name); ok {
			found = append(found, Ref{Extension: e.Schema, Attribute: a})
		}
	}
	if len(found) != 1 {
		return Ref{}, false
	}
	return withSub(found[0], p.Sub, true)
}

func withSub(r Ref, sub string, ok bool) (Ref, bool) {
	if !ok || sub == "" {
		return r, ok
	}
	r.Sub, ok = r.Attribute.Sub(sub)
	return r, ok
}

// base finds a common attribute or one of the base schema.
func (t *ResourceType) base(name string) (*Attribute, bool) {
	if a, ok := find(t.Schema.Attributes, name); ok {
		return a, true
	}
	return find(t.common, name)
}

// extension finds an extension by its URN, or by the URN that Entra ID
// misspells by leaving out the colon before the last part (2.0User).
func (t *ResourceType) extension(uri string) (Extension, bool) {
	i := slices.IndexFunc(t.Extensions, func(e Extension) bool {
		id := e.Schema.ID
		if strings.EqualFold(id, uri) {
			return true
		}
		last := strings.LastIndexByte(id, ':')
		return len(uri) == len(id)-1 && strings.EqualFold(id[:last]+id[last+1:], uri)
	})
	if i < 0 {
		return Extension{}, false
	}
	return t.Extensions[i], true
}

func commonColumns() map[string]Column {
	return columnsOf(ColumnID, ColumnExternalID, ColumnSchemas, ColumnResourceType,
		ColumnCreated, ColumnLastModified, ColumnLocation, ColumnVersion)
}

// specialize adds what the definitions of the core resource types can't say:
// what the server keeps of them, and formats.
func (t *ResourceType) specialize() {
	switch t.Schema.ID {
	case UserURN:
		t.formats = map[string]format{"addresses.country": {countryCode, "a country code of two letters (ISO 3166-1 alpha-2)"}}
		maps.Copy(t.columns, columnsOf(ColumnUserName, ColumnActive, ColumnGroups))
	case GroupURN:
		maps.Copy(t.columns, columnsOf(ColumnDisplayName, ColumnMembers))
	}
}

func columnsOf(columns ...Column) map[string]Column {
	m := make(map[string]Column, len(columns))
	for _, c := range columns {
		m[string(c)] = c
	}
	return m
}
