package api

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// optional is a member of a body that can be left out, which changes nothing, or
// null, which takes away what is there.
type optional[T any] struct {
	sent  bool
	null  bool
	value T // zero for null
}

// UnmarshalJSON implements json.Unmarshaler. It is called only for a member that
// is there.
func (o *optional[T]) UnmarshalJSON(text []byte) error {
	o.sent = true
	if o.null = bytes.Equal(text, []byte("null")); o.null {
		return nil
	}
	return json.Unmarshal(text, &o.value)
}

// pointer returns what was sent, zero for null, or nil where it was left out.
func (o optional[T]) pointer() *T {
	if !o.sent {
		return nil
	}
	return &o.value
}

// Schema implements huma.SchemaProvider.
func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = true
	return &s
}
