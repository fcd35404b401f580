package schema

// Options says what a connection's profile forgives. The zero value is strict:
// the letter of RFC 7643 and RFC 7644.
type Options struct {
	// StringBooleans takes "True" and "false", in any case, for booleans, as
	// Entra ID sends them. The document holds real booleans.
	StringBooleans bool
	// LooseValues takes a single value in an array, one value where an array
	// belongs, and a plain value where a complex one with a sub-attribute
	// "value" belongs ("" there unassigns it), as Entra ID sends the manager.
	// It also lets pass a country's name where its code belongs.
	LooseValues bool
	// IgnoreUnknown leaves out attributes and schema URIs that the resource
	// type doesn't have, with a [Warning], and takes a document without
	// "schemas".
	IgnoreUnknown bool
}

// Lenient forgives all that real clients are known to get wrong.
func Lenient() Options {
	return Options{StringBooleans: true, LooseValues: true, IgnoreUnknown: true}
}
