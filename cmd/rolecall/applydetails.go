package main

import (
	"context"
	"encoding/json"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
)

// applyDetailType is a type of authorization details (RFC 9396 §2.1).
type applyDetailType struct {
	Type   string             `yaml:"type"`
	Name   map[string]string  `yaml:"name"`   // by language
	Schema map[string]any     `yaml:"schema"` // JSON Schema 2020-12
	Fields []applyDetailField `yaml:"fields"`
	// Removed has there be no such type; nothing else is said then.
	Removed bool `yaml:"removed"`
}

type applyDetailField struct {
	Field string            `yaml:"field"`
	Label map[string]string `yaml:"label"` // by language
}

func (in *instance) applyDetailType(ctx context.Context, t applyDetailType) error {
	if t.Removed {
		if t.Name != nil || t.Schema != nil || t.Fields != nil {
			return fault.Field(fault.Invalid, "removed", "of a type that is removed nothing else is said")
		}
		return nil // when the applications list it no more
	}
	schema, err := json.Marshal(t.Schema)
	if err != nil {
		return fault.Field(fault.Invalid, "schema", "it is no JSON Schema")
	}
	put := oidc.DetailType{Name: t.Type, Schema: schema, Names: t.Name}
	for _, field := range t.Fields {
		put.Fields = append(put.Fields, oidc.DetailField{Path: field.Field, Labels: field.Label})
	}
	return in.oidc.PutDetailType(ctx, put)
}

func (in *instance) removeDetailType(ctx context.Context, t applyDetailType) error {
	if !t.Removed {
		return nil
	}
	return in.oidc.RemoveDetailType(ctx, t.Type)
}
