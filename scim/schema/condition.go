package schema

import "github.com/rolecall/rolecall/scim/filter"

// Condition is a filter bound to a resource type: [And], [Or], [Not],
// [Compare], [Present] or [Some]. The set is closed. [Match] evaluates a
// condition in memory; storage compiles it to SQL with the same meaning.
//
// The logic has two values. Compare and Some are false, never unknown, where
// the attribute is absent, so Not is true there; SQL must guard its NULLs. A
// filter's "a ne b" is bound as Not of "a eq b": on a multi-valued attribute
// it holds when no value equals b, and it holds where a is absent.
type Condition interface{ isCondition() }

// And holds when every condition does.
type And struct{ Conditions []Condition }

// Or holds when any condition does.
type Or struct{ Conditions []Condition }

// Not holds when its condition doesn't.
type Not struct{ Condition Condition }

// Compare holds when the attribute is present and relates to Value by Op,
// which is never "ne". Strings relate byte by byte.
type Compare struct {
	Attr Attr
	Op   filter.Op
	// Value is normalized as in a search document: a string (folded by [Fold]
	// where CaseExact is false; the text of [FormatDateTime] for a dateTime),
	// a bool, or an int64 or float64. It is never empty.
	Value any
}

// Present holds when the search document has the attribute: for a complex one
// any sub-attribute, for a multi-valued one any value.
type Present struct{ Attr Attr }

// Some holds when at least one value of the multi-valued Attr satisfies
// Filter. The Attr of every Compare and Present within Filter is relative to
// the value: its Path starts there and its Column is empty. Filter holds no
// further Some.
type Some struct {
	Attr   Attr
	Filter Condition
}

func (And) isCondition()     {}
func (Or) isCondition()      {}
func (Not) isCondition()     {}
func (Compare) isCondition() {}
func (Present) isCondition() {}
func (Some) isCondition()    {}

// Attr is a resolved attribute: where it is found and how it compares.
type Attr struct {
	// Path is the keys from the root of the search document, or from a value
	// within Some: an extension's URN if any, the name, the sub-attribute. It
	// crosses no array: that is what Some is for. Values of a simple
	// multi-valued attribute are objects with the only key "value" there.
	Path        []string
	Type        Type // Complex only in Present and Some
	CaseExact   bool
	MultiValued bool   // the document has an array at Path; only in Present and Some
	Column      Column // empty when only the document has the attribute
	// Key is the name under which [ResourceType.Keys] lists the attribute's
	// values; empty when it lists none. Only Compare has one.
	Key string
}

// Column names an attribute that the server keeps itself, outside the
// document that the client wrote. Its value is the attribute's path.
type Column string

// The columns of every resource.
const (
	ColumnID           Column = "id"
	ColumnExternalID   Column = "externalId"
	ColumnSchemas      Column = "schemas" // multi-valued: in Some and Present
	ColumnResourceType Column = "meta.resourceType"
	ColumnCreated      Column = "meta.created"
	ColumnLastModified Column = "meta.lastModified"
	ColumnLocation     Column = "meta.location"
	ColumnVersion      Column = "meta.version"
)

// The columns of the resource types User and Group of RFC 7643.
const (
	ColumnUserName    Column = "userName"
	ColumnActive      Column = "active"
	ColumnGroups      Column = "groups" // multi-valued; within Some the paths "value" and "display"
	ColumnDisplayName Column = "displayName"
	ColumnMembers     Column = "members" // multi-valued; within Some the paths "value", "display" and "type"
)
