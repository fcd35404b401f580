package storage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// where returns the condition of a list with its values. The tenant comes
// first, whatever the filter says; nothing that a client sent is part of the
// text. It fails with fault.Invalid for a filter that the store can't answer.
func (s *Store) where(resource resource, tenant id.Tenant, condition schema.Condition) (clause string, args []any, err error) {
	c := &compiler{sqlite: s.sqlite, tenant: tenant, resource: resource}
	clause, c.args = resource.of(tenant)
	if resource.retires {
		clause += " AND " + resource.table + ".retired_at IS NULL"
	}
	if condition != nil {
		text, err := c.condition(condition, c.row())
		if err != nil {
			return "", nil, err
		}
		clause += " AND (" + text + ")"
	}
	return clause, c.args, nil
}

// compiler writes a [schema.Condition] as SQL that holds for the same rows as
// [schema.Match] does for their resources. Comparisons may be NULL where an
// attribute is absent; only Not has to know, as AND, OR and WHERE take NULL for
// false at the top.
type compiler struct {
	sqlite   bool
	tenant   id.Tenant
	resource resource
	args     []any // in the order of their placeholders
}

// scope is what the paths of attributes start from: a row, or one value of a
// multi-valued attribute.
type scope struct {
	isRow    bool
	document string // SQL of the JSON object with what has no column; empty: there is none
	column   func(attr schema.Attr) (text string, found bool)
}

// expression writes an SQL expression. It is called once for every occurrence
// in the statement, in order, as it may bind values.
type expression func() string

func fixed(text string) expression { return func() string { return text } }

func (c *compiler) bind(value any) string {
	c.args = append(c.args, value)
	return "?"
}

func (c *compiler) condition(condition schema.Condition, in scope) (string, error) {
	switch condition := condition.(type) {
	case schema.And:
		return c.all(condition.Conditions, in, " AND ", "1 = 1")
	case schema.Or:
		return c.all(condition.Conditions, in, " OR ", "1 = 0")
	case schema.Not:
		text, err := c.condition(condition.Condition, in)
		return "(" + text + ") IS NOT TRUE", err
	case schema.Compare:
		text, err := c.compare(condition, in)
		return c.keyed(condition, text, in), err
	case schema.Present:
		return c.present(condition.Attr, in)
	case schema.Some:
		text, err := c.some(condition)
		return c.keyed(condition.Filter, text, c.row()), err
	}
	return "", fmt.Errorf("storage: unknown condition %T", condition)
}

func (c *compiler) all(conditions []schema.Condition, in scope, operator, empty string) (string, error) {
	if len(conditions) == 0 {
		return empty, nil
	}
	parts := make([]string, len(conditions))
	for i, condition := range conditions {
		text, err := c.condition(condition, in)
		if err != nil {
			return "", err
		}
		parts[i] = "(" + text + ")"
	}
	return strings.Join(parts, operator), nil
}

func (c *compiler) compare(compare schema.Compare, in scope) (string, error) {
	if column := compare.Attr.Column; column == schema.ColumnCreated || column == schema.ColumnLastModified {
		return c.compareTime(compare)
	} else if column == schema.ColumnLocation {
		// The store doesn't know the address of the server; the edge asks for
		// the identifier in it instead.
		return "", fault.Field(fault.Invalid, string(schema.ColumnLocation), "can't be filtered by").WithCode("invalidFilter")
	}
	if text, ok := in.column(compare.Attr); ok {
		return c.relate(fixed(text), compare.Op, compare.Value)
	}
	if in.document == "" {
		return "1 = 0", nil
	}
	if c.isDisplayName(compare.Attr, in) {
		return c.compareDisplayName(compare)
	}
	if compare.Op == filter.Eq && !c.sqlite {
		return c.contains(in.document, nest(compare.Attr.Path, compare.Value))
	}
	return c.relate(c.extract(in.document, compare.Attr), compare.Op, compare.Value)
}

// relate compares an expression. The prefix of a text is the range of texts
// between it and its successor, so that an index on the expression serves it.
func (c *compiler) relate(left expression, op filter.Op, value any) (string, error) {
	switch op {
	case filter.Eq:
		return left() + " = " + c.bind(value), nil
	case filter.Gt:
		return left() + " > " + c.bind(value), nil
	case filter.Ge:
		return left() + " >= " + c.bind(value), nil
	case filter.Lt:
		return left() + " < " + c.bind(value), nil
	case filter.Le:
		return left() + " <= " + c.bind(value), nil
	case filter.Co, filter.Sw, filter.Ew:
		if text, ok := value.(string); ok {
			return c.relateText(left, op, text), nil
		}
	case filter.Ne:
	}
	return "", fmt.Errorf("storage: unexpected operator %q on %T", op, value)
}

// trigram is how long a part of a text must be for the index on parts to help.
const trigram = 3

// relateText compares with a part of a text.
func (c *compiler) relateText(left expression, op filter.Op, text string) string {
	switch {
	case op == filter.Co && !c.sqlite && utf8.RuneCountInString(text) >= trigram:
		return left() + " LIKE " + c.bind("%"+literally(text)+"%")
	case op == filter.Ew && !c.sqlite && utf8.RuneCountInString(text) >= trigram:
		return left() + " LIKE " + c.bind("%"+literally(text))
	case op == filter.Sw:
		clause := left() + " >= " + c.bind(text)
		if next, ok := successor(text); ok {
			clause += " AND " + left() + " < " + c.bind(next)
		}
		return clause
	case op == filter.Ew && c.sqlite:
		return "substr(" + left() + ", " + c.bind(-utf8.RuneCountInString(text)) + ") = " + c.bind(text)
	case op == filter.Ew:
		return "right(" + left() + ", " + c.bind(utf8.RuneCountInString(text)) + ") = " + c.bind(text)
	case c.sqlite:
		return "instr(" + left() + ", " + c.bind(text) + ") > 0"
	default:
		return "strpos(" + left() + ", " + c.bind(text) + ") > 0"
	}
}

// successor returns the first text, in the order of code points, that comes
// after all texts that start with prefix. There is none if prefix consists of
// the last code point.
func successor(prefix string) (string, bool) {
	runes := []rune(prefix)
	for i, last := range slices.Backward(runes) {
		switch next := last + 1; {
		case next == 0xD800: // surrogates are no characters
			return string(append(runes[:i:i], 0xE000)), true
		case next <= utf8.MaxRune:
			return string(append(runes[:i:i], next)), true
		}
	}
	return "", false
}

// compareTime compares with a column that is kept to the microsecond, while a
// filter may name nanoseconds.
func (c *compiler) compareTime(compare schema.Compare) (string, error) {
	text, ok := compare.Value.(string)
	if !ok {
		return "", fmt.Errorf("storage: unexpected time %T", compare.Value)
	}
	t, err := schema.ParseDateTime(text)
	if err != nil {
		return "", fmt.Errorf("storage: %w", err)
	}
	column, op := c.resource.table+".created_at", compare.Op
	if compare.Attr.Column == schema.ColumnLastModified {
		column = c.resource.table + ".modified_at"
	}
	if rest := t.Sub(t.Truncate(time.Microsecond)); rest != 0 {
		switch op {
		case filter.Eq:
			return "1 = 0", nil
		case filter.Ge:
			op = filter.Gt
		case filter.Lt:
			op = filter.Le
		case filter.Gt, filter.Le, filter.Ne, filter.Co, filter.Sw, filter.Ew:
		}
	}
	return c.relate(fixed(column), op, at(t))
}

func (c *compiler) present(attr schema.Attr, in scope) (string, error) {
	switch column := attr.Column; {
	case column == schema.ColumnMembers, column == schema.ColumnGroups:
		return c.some(schema.Some{Attr: attr, Filter: schema.And{}})
	case slices.Contains([]schema.Column{schema.ColumnSchemas, schema.ColumnCreated, schema.ColumnLastModified, schema.ColumnLocation}, column):
		return "1 = 1", nil // every resource has them
	}
	if text, ok := in.column(attr); ok {
		return text + " IS NOT NULL", nil
	}
	if in.document == "" {
		return "1 = 0", nil
	}
	return c.value(in.document, attr.Path) + " IS NOT NULL", nil
}

func (c *compiler) some(some schema.Some) (string, error) {
	byColumn := map[schema.Column]func(schema.Condition) (string, error){
		schema.ColumnSchemas: c.someSchema, schema.ColumnGroups: c.someGroup, schema.ColumnMembers: c.someMember,
	}
	if write, ok := byColumn[some.Attr.Column]; ok {
		return write(some.Filter)
	}
	document := c.row().document
	if !c.sqlite {
		if value, ok := allEqual(some.Filter); ok {
			text, err := c.contains(document, nest(some.Attr.Path, []any{value}))
			return c.byAddress(some.Attr, value, text, err)
		}
	}
	from := c.elements(document, some.Attr.Path)
	text, err := c.condition(some.Filter, element())
	return "EXISTS (SELECT 1 FROM " + from + " WHERE " + text + ")", err
}

// someSchema asks for a value of "schemas": the resource type's own, or an
// extension of which the resource has an attribute.
func (c *compiler) someSchema(condition schema.Condition) (string, error) {
	keys := "SELECT key FROM json_each(" + c.resource.table + ".search)"
	if !c.sqlite {
		keys = "SELECT jsonb_object_keys(" + c.resource.table + ".search) AS key"
	}
	from := "SELECT " + c.text(c.bind(schema.Fold(c.resource.schema))) + " AS value UNION ALL SELECT lower(key) FROM (" + keys + ") k WHERE key LIKE '%:%'"
	text, err := c.condition(condition, scope{column: func(schema.Attr) (string, bool) {
		return c.text("s.value"), true
	}})
	return "EXISTS (SELECT 1 FROM (" + from + ") s WHERE " + text + ")", err
}

// someGroup asks for a group that the user is in, directly or by way of nested
// groups. It walks from the groups that match down to their users; UNION ends
// cycles.
func (c *compiler) someGroup(condition schema.Condition) (string, error) {
	start := "SELECT g.id FROM groups g WHERE g.tenant_id = " + c.bind(c.tenant)
	text, err := c.condition(condition, scope{column: func(attr schema.Attr) (string, bool) {
		switch attr.Path[0] {
		case "value":
			return "g.id", true
		case "display":
			return "g.display_name_key", true
		}
		return "", false
	}})
	down := "SELECT gm.member_id FROM reach JOIN group_members gm ON gm.group_id = reach.id AND gm.tenant_id = " + c.bind(c.tenant)
	users := "SELECT gm.member_id FROM reach JOIN group_members gm ON gm.group_id = reach.id AND gm.tenant_id = " + c.bind(c.tenant)
	return c.resource.table + ".id IN (WITH RECURSIVE reach(id) AS (" + start + " AND (" + text + ") UNION " +
		down + " WHERE gm.member_kind = 'group') " + users + " WHERE gm.member_kind = 'user')", err
}

// someMember asks for a member of the group. Names are looked up only for a
// condition that needs them.
func (c *compiler) someMember(condition schema.Condition) (string, error) {
	named := false
	bound := c.bind(c.tenant)
	text, err := c.condition(condition, scope{column: func(attr schema.Attr) (string, bool) {
		switch attr.Path[0] {
		case "value":
			return "gm.member_id", true
		case "type":
			return c.text("gm.member_kind"), true
		case "display":
			named = true
			display := `m.search ->> 'displayName'`
			if c.sqlite {
				display = `json_extract(m.search, '$.displayName')`
			}
			return c.text("coalesce(" + display + ", m.user_name_key, og.display_name_key)"), true
		}
		return "", false
	}})
	from := "group_members gm"
	if named {
		from += " LEFT JOIN memberships m ON m.tenant_id = gm.tenant_id AND m.id = gm.member_id" +
			" LEFT JOIN groups og ON og.tenant_id = gm.tenant_id AND og.id = gm.member_id"
	}
	return "EXISTS (SELECT 1 FROM " + from + " WHERE gm.tenant_id = " + bound + " AND gm.group_id = " + c.resource.table + ".id AND (" + text + "))", err
}

// row is the scope of the resource's table.
func (c *compiler) row() scope {
	table := c.resource.table
	return scope{isRow: true, document: table + ".search", column: func(attr schema.Attr) (string, bool) {
		switch attr.Column {
		case schema.ColumnID:
			return table + ".id", true
		case schema.ColumnExternalID:
			return table + ".external_id", true
		case schema.ColumnResourceType:
			if c.resource.typed {
				return table + ".type", true
			}
			return c.text("'" + c.resource.name + "'"), true
		case schema.ColumnVersion:
			return c.text(`('W/"' || ` + table + `.version || '"')`), true
		case schema.ColumnUserName:
			return table + ".user_name_key", true
		case schema.ColumnActive:
			return "(" + table + ".status <> '" + string(directory.StatusSuspended) + "')", true
		case schema.ColumnDisplayName:
			return table + ".display_name_key", true
		case schema.ColumnSchemas, schema.ColumnCreated, schema.ColumnLastModified, schema.ColumnLocation, schema.ColumnGroups, schema.ColumnMembers:
		}
		return "", false
	}}
}

// element is the scope of a value, with the alias e, of a multi-valued attribute
// in the document.
func element() scope {
	return scope{document: "e.value", column: func(schema.Attr) (string, bool) { return "", false }}
}

// text makes an expression compare as a text, byte by byte.
func (c *compiler) text(expression string) string {
	if c.sqlite {
		return expression
	}
	return "(" + expression + `)::text COLLATE "C"`
}

// elements is the FROM clause, with the alias e, of the array at path.
func (c *compiler) elements(document string, path []string) string {
	if c.sqlite {
		return "json_each(" + document + ", " + c.bind(jsonPath(path)) + ") e"
	}
	return "jsonb_array_elements(CASE WHEN jsonb_typeof(" + c.value(document, path) + ") = 'array' THEN " + c.value(document, path) + " END) WITH ORDINALITY e(value, n)"
}

// value is the JSON value at path, or in SQLite its type; NULL if there is none.
func (c *compiler) value(document string, path []string) string {
	if c.sqlite {
		return "json_type(" + document + ", " + c.bind(jsonPath(path)) + ")"
	}
	for _, key := range path {
		document += " -> " + c.bind(key) + "::text"
	}
	return "(" + document + ")"
}

// extract is the value of a single-valued attribute as it compares: a text, a
// number, or in SQLite 1 and 0 for booleans.
func (c *compiler) extract(document string, attr schema.Attr) expression {
	return func() string {
		if c.sqlite {
			return "json_extract(" + document + ", " + c.bind(jsonPath(attr.Path)) + ")"
		}
		if attr.Type == schema.Integer || attr.Type == schema.Decimal {
			return "(CASE WHEN jsonb_typeof(" + c.value(document, attr.Path) + ") = 'number' THEN " + c.value(document, attr.Path) + "::numeric END)"
		}
		last := len(attr.Path) - 1
		return "(" + c.value(document, attr.Path[:last]) + " ->> " + c.bind(attr.Path[last]) + `::text) COLLATE "C"`
	}
}

// contains asks whether the document holds the value; PostgreSQL answers from
// the index on the document.
func (c *compiler) contains(document string, value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("storage: %w", err)
	}
	return document + " @> " + c.bind(string(text)) + "::jsonb", nil
}

// nest wraps a value in the objects of a path.
func nest(path []string, value any) any {
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	return value
}

// allEqual returns the object whose containment means the condition on a value
// of a multi-valued attribute, if the condition is that sub-attributes are
// equal to something and nothing else.
func allEqual(condition schema.Condition) (map[string]any, bool) {
	conditions := []schema.Condition{condition}
	if and, ok := condition.(schema.And); ok {
		conditions = and.Conditions
	}
	object := make(map[string]any, len(conditions))
	for _, condition := range conditions {
		compare, ok := condition.(schema.Compare)
		if !ok || compare.Op != filter.Eq || len(compare.Attr.Path) != 1 {
			return nil, false
		}
		if _, twice := object[compare.Attr.Path[0]]; twice {
			return nil, false
		}
		object[compare.Attr.Path[0]] = compare.Value
	}
	return object, len(object) > 0
}

// jsonPath is a path in the notation of SQLite. No key holds a quote or a
// backslash: they are names and URIs that a schema defines.
func jsonPath(path []string) string {
	var b strings.Builder
	b.WriteString("$")
	for _, key := range path {
		b.WriteString("." + strconv.Quote(key))
	}
	return b.String()
}
