package storage

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// Attributes of people that have an index but no column. What it is on has to be
// written here as in the migration 0014, without bound values.

// isDisplayName reports whether the attribute is a person's displayName.
func (c *compiler) isDisplayName(attr schema.Attr, in scope) bool {
	return in.isRow && c.resource.table == membershipResource().table && slices.Equal(attr.Path, []string{"displayName"})
}

// displayNameExpression is a person's displayName on PostgreSQL.
const displayNameExpression = `((memberships.search ->> 'displayName') COLLATE "C")`

// uneven reports whether PostgreSQL has to know the values of a condition to plan
// for it: a part of a name may be that of one person or of most, and what is best
// for one reads all people for the other.
func (s *Store) uneven(where string) bool {
	return !s.sqlite && strings.Contains(where, displayNameExpression)
}

func (c *compiler) compareDisplayName(compare schema.Compare) (string, error) {
	if c.sqlite {
		return c.relate(fixed("json_extract(memberships.search, '$.displayName')"), compare.Op, compare.Value)
	}
	const name = displayNameExpression
	if text, ok := compare.Value.(string); ok && compare.Op == filter.Sw && utf8.RuneCountInString(text) >= trigram {
		return name + " LIKE " + c.bind(literally(text)+"%"), nil
	}
	return c.relate(fixed(name), compare.Op, compare.Value)
}

// byAddress narrows a condition, which has the error err, down to the people who
// have the address in it: it says that one of the values of an attribute is equal
// to value. The condition decides all the same.
func (c *compiler) byAddress(attr schema.Attr, value map[string]any, condition string, err error) (string, error) {
	address, ok := value["value"].(string)
	if err != nil || !ok || c.resource.table != membershipResource().table || !slices.Equal(attr.Path, []string{"emails"}) {
		return condition, err
	}
	narrowed, err := c.contains("jsonb_path_query_array(memberships.search, '$.emails[*].value')", []string{address})
	return "(" + condition + ") AND " + narrowed, err
}
