package storage

import (
	"strconv"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/scim/schema"
)

// sortKey is the expression that a list is sorted by. Without text it is the
// identifier, in the order of creation.
type sortKey struct {
	text   string
	sql    string // PostgreSQL's type: text, numeric, boolean or timestamptz
	always bool   // never NULL
}

// shown is the key, under its name sort_key, as a text that keyValue reads. The
// sign keeps SQLite's driver from taking a text for a time.
func (k sortKey) shown(sqlite bool) string {
	if sqlite {
		return "+sort_key"
	}
	return "CAST(sort_key AS text)"
}

// order returns the ORDER BY of a list. Identifiers, which are in the order of
// creation, decide between equals, so that pages are stable. Resources without
// the attribute come last, or first if the order is descending (RFC 7644
// §3.4.2.3).
func (c *compiler) order(key sortKey, descending bool) string {
	creation := c.resource.table + ".id"
	switch {
	case key.text == "":
		return creation
	case key.always && descending:
		return "sort_key DESC, " + creation + " DESC"
	case key.always:
		return "sort_key, " + creation
	case descending:
		return "sort_key DESC NULLS FIRST, " + creation + " DESC"
	default:
		return "sort_key ASC NULLS LAST, " + creation
	}
}

// behind is the condition that a row comes after the position in the order of
// the list.
func (c *compiler) behind(key sortKey, p directory.Position, descending bool) string {
	creation, further := c.resource.table+".id", " > "
	if descending && key.text != "" {
		further = " < "
	}
	switch {
	case key.text == "":
		return creation + further + c.bind(p.ID)
	case p.Key == nil && descending:
		return "sort_key IS NOT NULL OR " + creation + further + c.bind(p.ID)
	case p.Key == nil:
		return "sort_key IS NULL AND " + creation + further + c.bind(p.ID)
	}
	text := "(sort_key, " + creation + ")" + further + "(" + c.keyValue(key, *p.Key) + ", " + c.bind(p.ID) + ")"
	if !key.always && !descending {
		text += " OR sort_key IS NULL"
	}
	return text
}

// keyValue is a value of the key, by the text that shown made of it.
func (c *compiler) keyValue(key sortKey, text string) string {
	if !c.sqlite {
		return "CAST(CAST(" + c.bind(text) + " AS text) AS " + key.sql + ")"
	}
	if key.sql == "numeric" || key.sql == "boolean" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return c.bind(n)
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return c.bind(f)
		}
	}
	return c.bind(text)
}

// sortKeyOf is the key of the query's order. What the server derives from other
// resources is none.
func (c *compiler) sortKeyOf(query directory.Query) sortKey {
	if query.SortBy == nil {
		return sortKey{}
	}
	by, row := *query.SortBy, c.row()
	switch by.Attr.Column {
	case schema.ColumnGroups, schema.ColumnMembers, schema.ColumnSchemas:
		return sortKey{}
	case schema.ColumnCreated:
		return sortKey{c.resource.table + ".created_at", "timestamptz", true}
	case schema.ColumnLastModified:
		return sortKey{c.resource.table + ".modified_at", "timestamptz", true}
	case schema.ColumnLocation:
		return sortKey{c.resource.table + ".id", "text", true} // the last part of the address
	case schema.ColumnActive:
		text, _ := row.column(by.Attr)
		return sortKey{text, "boolean", true}
	case schema.ColumnExternalID:
		text, _ := row.column(by.Attr)
		return sortKey{text, "text", false}
	case schema.ColumnID, schema.ColumnResourceType, schema.ColumnVersion, schema.ColumnUserName, schema.ColumnDisplayName:
		text, _ := row.column(by.Attr)
		return sortKey{text, "text", true}
	}
	value := by.Attr
	if by.Attr.MultiValued {
		value = by.Sub
	}
	key := sortKey{sql: "text"}
	switch {
	case value.Type == schema.Integer, value.Type == schema.Decimal:
		key.sql = "numeric"
	case value.Type == schema.Boolean && c.sqlite: // see extract
		key.sql = "boolean"
	}
	if by.Attr.MultiValued {
		key.text = c.firstValue(row.document, by)
	} else {
		key.text = c.extract(row.document, by.Attr)()
	}
	return key
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
