// Package filter owns the filter language of SCIM: the grammar of RFC 7644
// §3.4.2.2 (figure 1) and of PATCH paths (§3.5.2). [Parse], [ParsePath] and
// [ParseAttrPath] turn text into a small syntax tree, whose String methods
// print the canonical text that parses to the same tree.
//
// It knows no schema. Whether an attribute exists, and whether an operator
// fits its type, is decided by package schema when it binds a tree to a
// resource type; evaluation and SQL start from that bound form.
package filter

// Expr is a node of a parsed filter: [And], [Or], [Not], [Compare], [Present]
// or [ValuePath]. The set is closed.
type Expr interface {
	// String is the canonical text of the expression: lower-case operators,
	// single spaces, and parentheses only where precedence needs them.
	String() string
	isExpr()
}

// And holds when every operand does. Parse yields at least two operands, none
// of which is itself an And.
type And struct{ Operands []Expr }

// Or holds when any operand does. Parse yields at least two operands, none of
// which is itself an Or.
type Or struct{ Operands []Expr }

// Not holds when its operand doesn't.
type Not struct{ Operand Expr }

// Compare relates an attribute to a literal.
type Compare struct {
	Attr  AttrPath
	Op    Op
	Value any // string, [encoding/json.Number], bool, or nil for null
}

// Present is the operator "pr": the attribute has a non-empty value.
type Present struct{ Attr AttrPath }

// ValuePath holds when one value of the attribute satisfies Filter, whose
// attribute paths are relative to that value, as in
// emails[type eq "work" and value co "@example.com"]. Filter holds no further
// ValuePath.
//
// The form attr[filter].sub op literal, which RFC 7644 doesn't have but Entra
// ID sends, parses to attr[filter and sub op literal].
type ValuePath struct {
	Attr   AttrPath
	Filter Expr
}

func (And) isExpr()       {}
func (Or) isExpr()        {}
func (Not) isExpr()       {}
func (Compare) isExpr()   {}
func (Present) isExpr()   {}
func (ValuePath) isExpr() {}

// Op is a comparison operator in lower case (RFC 7644 §3.4.2.2, table 3).
type Op string

// The comparison operators. "pr" isn't one of them: see [Present].
const (
	Eq Op = "eq"
	Ne Op = "ne"
	Co Op = "co" // contains
	Sw Op = "sw" // starts with
	Ew Op = "ew" // ends with
	Gt Op = "gt"
	Ge Op = "ge"
	Lt Op = "lt"
	Le Op = "le"
)

// AttrPath names an attribute as the client spelt it; attribute names and URIs
// compare without case (RFC 7643 §2.1).
//
// The text of a schema URI alone is ambiguous: in urn:…:enterprise:2.0:User
// the grammar sees URI "urn:…:enterprise:2.0" and Name "User". Only a schema
// can tell, by comparing String with the URIs it knows. Name is empty when
// what follows the last colon can't be an attribute name, which only a PATCH
// path may hold.
type AttrPath struct {
	URI  string // schema URI before the last colon, or empty
	Name string // attribute name
	Sub  string // sub-attribute name, or empty
}

// Path is the target of a PATCH operation (RFC 7644 §3.5.2, figure 7). With a
// Filter, Attr.Sub is the sub-attribute behind the brackets, as in
// emails[type eq "work"].value.
type Path struct {
	Attr   AttrPath
	Filter Expr // nil when the path has no value filter
}
