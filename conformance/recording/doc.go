// Package recording replays recorded HTTP exchanges: text files of requests in
// the order in which a client sends them, each with what its response must be.
//
// The format is a subset of that of Hurl (hurl.dev), so that a file can be read
// without this package and run by other tools:
//
//	# E1: a boolean comes as a string
//	PATCH {{scim}}/Users/{{ann}}
//	Authorization: Bearer {{token}}
//	Content-Type: application/scim+json
//	{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"], ...}
//	HTTP 200
//	Content-Type: application/scim+json
//	[Captures]
//	version: jsonpath "$.meta.version"
//	[Asserts]
//	jsonpath "$.active" == false
//
// A body is JSON that starts at the beginning of a line, and is sent byte for
// byte once the {{variables}} are replaced. Of Hurl's options, other kinds of
// bodies and most predicates there is nothing here; what is not known is an
// error with its line.
//
// Two things are read from comments. The codes that the comment above a request
// begins with, up to a colon, label the exchange: "# E1 E12: ...". And requests
// in a row with the comment "# in parallel" are sent at the same time.
package recording
