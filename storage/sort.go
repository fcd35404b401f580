package storage

import (
	"slices"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/scim/schema"
)

// order returns the ORDER BY of a list with its values. Identifiers, which are
// in the order of creation, decide between equals, so that pages are stable.
// Resources without the attribute come last, or first if the order is
// descending (RFC 7644 §3.4.2.3).
func (s *Store) order(resource resource, query directory.Query) (clause string, args []any) {
	creation := resource.table + ".id"
	if query.SortBy == nil {
		return creation, nil
	}
	c := &compiler{sqlite: s.sqlite, resource: resource}
	key, ok := c.sortKey(*query.SortBy)
	switch {
	case !ok:
		return creation, nil
	case query.Descending:
		return key + " DESC NULLS FIRST, " + creation + " DESC", c.args
	default:
		return key + " ASC NULLS LAST, " + creation, c.args
	}
}

// sortKey is the expression to sort by. There is none for what the server
// derives from other resources.
func (c *compiler) sortKey(key schema.SortKey) (string, bool) {
	row := c.row()
	columns := map[schema.Column]string{
		schema.ColumnCreated: ".created_at", schema.ColumnLastModified: ".modified_at",
		schema.ColumnLocation: ".id", // the identifier is its last part
	}
	if column, ok := columns[key.Attr.Column]; ok {
		return c.resource.table + column, true
	}
	if slices.Contains([]schema.Column{schema.ColumnGroups, schema.ColumnMembers, schema.ColumnSchemas}, key.Attr.Column) {
		return "", false
	}
	if text, ok := row.column(key.Attr); ok {
		return text, true
	}
	if !key.Attr.MultiValued {
		return c.extract(row.document, key.Attr)(), true
	}
	return c.firstValue(row.document, key), true
}

// firstValue is a sub-attribute of the primary value of a multi-valued
// attribute, or of the first value if none is primary.
func (c *compiler) firstValue(document string, key schema.SortKey) string {
	value := c.extract(element().document, key.Sub)()
	if c.sqlite {
		return "(SELECT " + value + " FROM " + c.elements(document, key.Attr.Path) +
			" ORDER BY coalesce(json_extract(e.value, '$.primary'), 0) DESC, e.key LIMIT 1)"
	}
	return "(SELECT " + value + " FROM " + c.elements(document, key.Attr.Path) +
		" ORDER BY coalesce(e.value -> 'primary' = 'true'::jsonb, false) DESC, e.n LIMIT 1)"
}
