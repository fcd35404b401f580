package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// encode returns v as the JSON text of a column.
func encode(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("storage: encode: %w", err)
	}
	return string(text), nil
}

// decode reads a JSON column into v. Numbers stay as they were written.
func decode(text string, v any) error {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("storage: decode: %w", err)
	}
	return nil
}

// orEmptyList makes a nil list an empty one, which is encoded as such.
func orEmptyList(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
