package scim

import (
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/schema"
)

// profile says what is forgiven the client of a connection.
type profile struct {
	name   directory.ConnectionProfile
	schema schema.Options
	// namesSchemas holds the client to "schemas": every document has it, with
	// URIs of the resource type only (RFC 7643 §3).
	namesSchemas bool
	mappings     []directory.AttributeMapping // of the connection
}

// profileOf returns the dialect of a connection. All of them ignore attributes
// that no schema defines, and log them: directories send more than they are
// asked for, and would stop to provision over it.
func profileOf(p directory.ConnectionProfile) profile {
	switch p {
	case directory.ProfileEntra:
		return profile{name: p, schema: schema.Lenient()}
	case directory.ProfileOkta:
		return profile{name: p, schema: schema.Options{LooseValues: true, IgnoreUnknown: true}}
	case directory.ProfileRFC:
	}
	return profile{name: p, schema: schema.Options{IgnoreUnknown: true}, namesSchemas: true}
}

// checkSchemas refuses a document whose "schemas" is missing or names something
// foreign, where the profile asks for that.
func (p profile) checkSchemas(t *schema.ResourceType, doc map[string]any) error {
	if !p.namesSchemas {
		return nil
	}
	uris, ok := member(doc, "schemas").([]any)
	if !ok || len(uris) == 0 {
		return fault.Field(fault.Invalid, "schemas", "expected the URIs of the schemas of the %s", t.Name)
	}
	for _, uri := range uris {
		text, ok := uri.(string)
		if !ok || !knows(t, text) {
			return fault.Field(fault.Invalid, "schemas", "expected schemas of the resource type %s, not %s", t.Name, shorten(uri))
		}
	}
	return nil
}

func knows(t *schema.ResourceType, uri string) bool {
	if strings.EqualFold(t.Schema.ID, uri) {
		return true
	}
	for _, extension := range t.Extensions {
		if strings.EqualFold(extension.Schema.ID, uri) {
			return true
		}
	}
	return false
}

// member returns a member of an object, ignoring the case of its name.
func member(object map[string]any, name string) any {
	if value, ok := object[name]; ok {
		return value
	}
	for key, value := range object {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

// shorten is a value of the client's as an error may repeat it.
func shorten(value any) string {
	const longest = 100
	text := []rune(fmt.Sprintf("%q", fmt.Sprint(value)))
	if len(text) > longest {
		return string(text[:longest]) + "…"
	}
	return string(text)
}
