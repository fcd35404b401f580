package storage

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// withKeys runs insert, which stores a new resource, and stores its keys.
func (s *Store) withKeys(ctx context.Context, tenant id.Tenant, typeName, resource string, keys []schema.Key, insert func(ctx context.Context) error) error {
	if len(keys) == 0 {
		return insert(ctx)
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := insert(ctx); err != nil {
			return err
		}
		return s.insertKeys(ctx, tenant, typeName, resource, keys)
	})
}

// replaceKeys leaves the resource with the keys, or as it is for nil.
func (s *Store) replaceKeys(ctx context.Context, tenant id.Tenant, typeName, resource string, keys []schema.Key) error {
	if keys == nil {
		return nil
	}
	if err := s.deleteKeys(ctx, tenant, typeName, resource); err != nil {
		return err
	}
	return s.insertKeys(ctx, tenant, typeName, resource, keys)
}

func (s *Store) deleteKeys(ctx context.Context, tenant id.Tenant, typeName, resource string) error {
	return classify(s.exec(ctx, "DELETE FROM scim_keys WHERE tenant_id = ? AND type = ? AND resource_id = ?", tenant, typeName, resource), "")
}

// insertKeys stores the unique keys one by one, so that a conflict has a name,
// and the others in one statement.
func (s *Store) insertKeys(ctx context.Context, tenant id.Tenant, typeName, resource string, keys []schema.Key) error {
	const into, row = "INSERT INTO scim_keys (tenant_id, type, resource_id, attribute, value, is_unique) VALUES ", "(?, ?, ?, ?, ?, ?)"
	var args []any
	rows := 0
	for _, key := range keys {
		values := []any{tenant, typeName, resource, key.Attribute, key.Value, key.Unique}
		if !key.Unique {
			args = append(args, values...)
			rows++
			continue
		}
		if err := s.exec(ctx, into+row, values...); errors.Is(err, gorm.ErrDuplicatedKey) {
			return &fault.Error{Kind: fault.Conflict, Field: key.Attribute, Detail: "the value is already in use"}
		} else if err != nil {
			return classify(err, "")
		}
	}
	if rows == 0 {
		return nil
	}
	return classify(s.exec(ctx, into+row+strings.Repeat(", "+row, rows-1), args...), "")
}

// keyed narrows a condition down to the resources whose keys allow for it, so
// that the index on keys finds them. The condition decides all the same: keys
// are coarser than values.
func (c *compiler) keyed(condition schema.Condition, text string, in scope) string {
	if !in.isRow {
		return text
	}
	conditions := []schema.Condition{condition}
	if and, ok := condition.(schema.And); ok {
		conditions = and.Conditions
	}
	for _, condition := range conditions {
		compare, ok := condition.(schema.Compare)
		if !ok || compare.Attr.Key == "" {
			continue
		}
		// The text is written first, and so are its values bound.
		from := len(c.args)
		if within, ok := c.keyRange(compare); ok {
			text = "(" + text + ") AND " + c.resource.table + ".id IN (SELECT k.resource_id FROM scim_keys k WHERE k.tenant_id = ? AND k.type = ? AND k.attribute = ? AND " + within + ")"
			bounds := append([]any{c.tenant, c.resource.name, compare.Attr.Key}, c.args[from:]...)
			c.args = append(c.args[:from:from], bounds...)
			return text
		}
	}
	return text
}

// keyRange is the range of keys in which the values are that a comparison asks
// for; ok is false where it is no help.
func (c *compiler) keyRange(compare schema.Compare) (clause string, ok bool) {
	key, ok := schema.KeyValue(compare.Value)
	if !ok {
		return "", false
	}
	bound, isText := key, false
	if text, is := compare.Value.(string); is {
		bound, isText = schema.KeyBound(text), true
	}
	whole := !isText || bound == compare.Value
	switch compare.Op {
	case filter.Eq:
		return "k.value = " + c.bind(key), true
	case filter.Gt, filter.Ge:
		return "k.value >= " + c.bind(bound), true
	case filter.Lt, filter.Le:
		if !whole {
			return "", false
		}
		return "k.value <= " + c.bind(bound), true
	case filter.Sw:
		clause := "k.value >= " + c.bind(bound)
		if next, ok := successor(bound); ok {
			clause += " AND k.value < " + c.bind(next)
		}
		return clause, true
	case filter.Ne, filter.Co, filter.Ew:
	}
	return "", false
}
