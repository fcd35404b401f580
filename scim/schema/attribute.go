// Package schema owns what SCIM resources look like: the attribute definitions
// of RFC 7643 as data, custom schemas beside them, and everything that follows
// from a definition alone. A [ResourceType] resolves attribute paths, checks
// and normalizes documents, derives the document that searches run on, binds
// filters to typed [Condition] values, matches those in memory, and projects
// representations.
//
// Nothing here is tied to User or Group or kept in package variables: a
// [Registry] is a value, [Core] makes the one of the RFC, and tenants extend
// it. HTTP is left to package scim, SQL to package storage, and the rules that
// need other resources (uniqueness, existing members) to package directory.
package schema

import (
	"slices"
	"strings"
)

// Type is the data type of an attribute (RFC 7643 §2.3).
type Type string

// The data types.
const (
	String    Type = "string"
	Boolean   Type = "boolean"
	Decimal   Type = "decimal"
	Integer   Type = "integer"
	DateTime  Type = "dateTime"
	Binary    Type = "binary"
	Reference Type = "reference"
	Complex   Type = "complex"
)

// Mutability says whether and when a client may write an attribute (RFC 7643 §7).
type Mutability string

// The mutabilities.
const (
	ReadOnly  Mutability = "readOnly"
	ReadWrite Mutability = "readWrite"
	Immutable Mutability = "immutable"
	WriteOnly Mutability = "writeOnly"
)

// Returned says when an attribute is part of a response (RFC 7643 §7).
type Returned string

// The values of Returned.
const (
	Always  Returned = "always"
	Never   Returned = "never"
	Default Returned = "default"
	Request Returned = "request"
)

// Uniqueness says in which range a value must be unique (RFC 7643 §7). It is
// enforced by whoever stores resources.
type Uniqueness string

// The ranges of uniqueness.
const (
	NotUnique      Uniqueness = "none"
	ServerUnique   Uniqueness = "server"
	GloballyUnique Uniqueness = "global"
)

// Attribute is the definition of an attribute or sub-attribute with all
// characteristics of RFC 7643 §7. Its JSON is the one of the /Schemas
// endpoint. A definition is shared by everything resolved against it and must
// not be changed.
type Attribute struct {
	Name            string       `json:"name"`
	Type            Type         `json:"type"`
	MultiValued     bool         `json:"multiValued"`
	Description     string       `json:"description"`
	Required        bool         `json:"required"`
	CanonicalValues []string     `json:"canonicalValues,omitempty"` // suggestions, never enforced
	CaseExact       bool         `json:"caseExact"`
	Mutability      Mutability   `json:"mutability"`
	Returned        Returned     `json:"returned"`
	Uniqueness      Uniqueness   `json:"uniqueness"`
	ReferenceTypes  []string     `json:"referenceTypes,omitempty"`
	SubAttributes   []*Attribute `json:"subAttributes,omitempty"` // of a complex attribute; never complex themselves
	// Indexed asks the store to find resources by the attribute's values without
	// looking through all of them; see [ResourceType.Keys]. It is no
	// characteristic of RFC 7643, and discovery doesn't show it.
	Indexed bool `json:"indexed,omitempty"`
}

// Sub returns the sub-attribute of that name, ignoring case.
func (a *Attribute) Sub(name string) (*Attribute, bool) {
	return find(a.SubAttributes, name)
}

// Canonical reports whether value is among the canonical values, ignoring case.
func (a *Attribute) Canonical(value string) bool {
	return slices.ContainsFunc(a.CanonicalValues, func(c string) bool { return strings.EqualFold(c, value) })
}

// KeyedByValue reports whether a value of the attribute is identified by its
// sub-attribute "value" and meaningless without: the multi-valued references
// whose value may not change in place, as Group.members.
func (a *Attribute) KeyedByValue() bool {
	if !a.MultiValued {
		return false
	}
	value, ok := a.Sub("value")
	return ok && value.Mutability == Immutable
}

func find(attributes []*Attribute, name string) (*Attribute, bool) {
	i := slices.IndexFunc(attributes, func(a *Attribute) bool { return strings.EqualFold(a.Name, name) })
	if i < 0 {
		return nil, false
	}
	return attributes[i], true
}
