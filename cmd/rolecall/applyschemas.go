package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// applySCIM is what a tenant adds to the schemas of SCIM, in the names of
// RFC 7643 §6 and §7.
type applySCIM struct {
	Schemas       []applySchema       `yaml:"schemas"`
	ResourceTypes []applyResourceType `yaml:"resource_types"`
}

type applySchema struct {
	ID          string           `yaml:"id" json:"id"`
	Name        string           `yaml:"name" json:"name"`
	Description string           `yaml:"description" json:"description"`
	Attributes  []applyAttribute `yaml:"attributes" json:"attributes"`
}

type applyAttribute struct {
	Name            string           `yaml:"name" json:"name"`
	Type            string           `yaml:"type" json:"type"`
	MultiValued     bool             `yaml:"multiValued" json:"multiValued"`
	Description     string           `yaml:"description" json:"description"`
	Required        bool             `yaml:"required" json:"required"`
	CanonicalValues []string         `yaml:"canonicalValues" json:"canonicalValues,omitempty"`
	CaseExact       bool             `yaml:"caseExact" json:"caseExact"`
	Mutability      string           `yaml:"mutability" json:"mutability"`
	Returned        string           `yaml:"returned" json:"returned"`
	Uniqueness      string           `yaml:"uniqueness" json:"uniqueness"`
	ReferenceTypes  []string         `yaml:"referenceTypes" json:"referenceTypes,omitempty"`
	SubAttributes   []applyAttribute `yaml:"subAttributes" json:"subAttributes,omitempty"`
	Indexed         bool             `yaml:"indexed" json:"indexed"`
}

type applyResourceType struct {
	Name        string           `yaml:"name"`
	Description string           `yaml:"description"`
	Endpoint    string           `yaml:"endpoint"`
	Schema      string           `yaml:"schema"`
	Extensions  []applyExtension `yaml:"schemaExtensions"`
}

type applyExtension struct {
	Schema   string `yaml:"schema"`
	Required bool   `yaml:"required"`
}

// applySchemas makes the tenant have the schemas and resource types of the file.
func (in *instance) applySchemas(ctx context.Context, tenant id.Tenant, file applySCIM) error {
	schemas := make([]*schema.Schema, len(file.Schemas))
	for i, s := range file.Schemas {
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if schemas[i], err = directory.ParseSchema(text); err != nil {
			return fmt.Errorf("scim: schemas[%s]: %w", s.ID, plain(err))
		}
	}
	types := make([]schema.Definition, len(file.ResourceTypes))
	for i, t := range file.ResourceTypes {
		types[i] = schema.Definition{Name: t.Name, Description: t.Description, Endpoint: t.Endpoint, Schema: t.Schema}
		for _, e := range t.Extensions {
			types[i].Extensions = append(types[i].Extensions, schema.ExtensionDefinition{Schema: e.Schema, Required: e.Required})
		}
	}
	if len(schemas)+len(types) == 0 {
		return nil
	}
	if err := in.directory.PutSchemas(ctx, tenant, schemas, types); err != nil {
		return fmt.Errorf("scim: %w", plain(err))
	}
	return nil
}
