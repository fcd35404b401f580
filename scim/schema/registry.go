package schema

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed definitions/*.json
var definitions embed.FS

// URNs of the schemas of RFC 7643 §8.7.
const (
	UserURN           = "urn:ietf:params:scim:schemas:core:2.0:User"
	EnterpriseUserURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	GroupURN          = "urn:ietf:params:scim:schemas:core:2.0:Group"
	SchemaURN         = "urn:ietf:params:scim:schemas:core:2.0:Schema"
	ResourceTypeURN   = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	ServiceConfigURN  = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
)

// Definition describes a resource type by its schemas' URIs (RFC 7643 §6).
type Definition struct {
	Name        string                `json:"name"`
	Description string                `json:"description"`
	Endpoint    string                `json:"endpoint"` // relative to the base URL, such as "/Users"
	Schema      string                `json:"schema"`
	Extensions  []ExtensionDefinition `json:"schemaExtensions,omitempty"`
}

// ExtensionDefinition names a schema extension of a resource type.
type ExtensionDefinition struct {
	Schema   string `json:"schema"`
	Required bool   `json:"required"`
}

// Registry is the set of schemas and resource types of a tenant. It is
// immutable and safe for concurrent use.
type Registry struct {
	common  []*Attribute
	schemas []*Schema
	types   []*ResourceType
}

// Core returns the registry of RFC 7643: User with the enterprise extension,
// Group, and the schemas of the discovery endpoints. It fails only if the
// embedded definitions are broken.
func Core() (*Registry, error) {
	r := &Registry{}
	if err := load("common.json", &r.common); err != nil {
		return nil, err
	}
	for _, name := range []string{
		"user.json", "enterprise_user.json", "group.json",
		"service_provider_config.json", "resource_type.json", "schema.json",
	} {
		s := &Schema{}
		if err := load(name, s); err != nil {
			return nil, err
		}
		r.schemas = append(r.schemas, s)
	}
	var types []Definition
	if err := load("resource_types.json", &types); err != nil {
		return nil, err
	}
	for _, d := range types {
		t, err := r.build(d)
		if err != nil {
			return nil, err
		}
		t.specialize()
		r.types = append(r.types, t)
	}
	return r, nil
}

func load(name string, into any) error {
	data, err := definitions.ReadFile("definitions/" + name)
	if err != nil {
		return fmt.Errorf("schema definitions: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("schema definition %s: %w", name, err)
	}
	return nil
}

// Extend returns a registry with more schemas and resource types. A definition
// that bears the name of a resource type of r adds its extensions to that
// type; its Schema must then be empty or the same. The schemas must come from
// [ParseSchema] or have passed [Schema.Check]. Errors are [*Error] values
// with InvalidValue.
func (r *Registry) Extend(schemas []*Schema, types []Definition) (*Registry, error) {
	next := &Registry{common: r.common, schemas: slices.Clone(r.schemas), types: slices.Clone(r.types)}
	for _, s := range schemas {
		if err := s.Check(); err != nil {
			return nil, err
		}
		if _, ok := next.Schema(s.ID); ok {
			return nil, invalid("id", "expected a schema URI that isn't taken")
		}
		next.schemas = append(next.schemas, s)
	}
	for _, d := range types {
		i := slices.IndexFunc(next.types, func(t *ResourceType) bool { return strings.EqualFold(t.Name, d.Name) })
		if i < 0 {
			t, err := next.build(d)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(next.types, func(o *ResourceType) bool { return strings.EqualFold(o.Endpoint, t.Endpoint) }) {
				return nil, invalid("endpoint", "expected an endpoint that isn't taken")
			}
			next.types = append(next.types, t)
			continue
		}
		t, err := next.widen(next.types[i], d)
		if err != nil {
			return nil, err
		}
		next.types[i] = t
	}
	return next, nil
}

// Schemas returns all schemas, those of RFC 7643 first.
func (r *Registry) Schemas() []*Schema { return slices.Clone(r.schemas) }

// Schema returns the schema with the URI, ignoring case.
func (r *Registry) Schema(uri string) (*Schema, bool) {
	i := slices.IndexFunc(r.schemas, func(s *Schema) bool { return strings.EqualFold(s.ID, uri) })
	if i < 0 {
		return nil, false
	}
	return r.schemas[i], true
}

// ResourceTypes returns all resource types, User and Group first.
func (r *Registry) ResourceTypes() []*ResourceType { return slices.Clone(r.types) }

// ResourceType returns the resource type with the name, ignoring case.
func (r *Registry) ResourceType(name string) (*ResourceType, bool) {
	i := slices.IndexFunc(r.types, func(t *ResourceType) bool { return strings.EqualFold(t.Name, name) })
	if i < 0 {
		return nil, false
	}
	return r.types[i], true
}

func (r *Registry) build(d Definition) (*ResourceType, error) {
	base, ok := r.Schema(d.Schema)
	if !ok {
		return nil, invalid("schema", "expected the URI of a known schema")
	}
	if err := base.Check(); err != nil {
		return nil, err
	}
	if !attributeName.MatchString(d.Name) {
		return nil, invalid("name", "expected a name of letters, digits, - and _ that begins with a letter")
	}
	if !endpoint.MatchString(d.Endpoint) {
		return nil, invalid("endpoint", `expected a slash and a name, such as "/Users"`)
	}
	for _, c := range r.common {
		if _, taken := find(base.Attributes, c.Name); taken {
			return nil, invalid("schema", "expected a schema that doesn't define the common attribute %s", c.Name)
		}
	}
	t := &ResourceType{
		Name: d.Name, Description: d.Description, Endpoint: d.Endpoint, Schema: base,
		common: r.common, columns: commonColumns(),
	}
	return r.widen(t, Definition{Extensions: d.Extensions})
}

// widen returns a copy of t with the definition's extensions.
func (r *Registry) widen(t *ResourceType, d Definition) (*ResourceType, error) {
	if d.Schema != "" && !strings.EqualFold(d.Schema, t.Schema.ID) {
		return nil, invalid("schema", "expected the schema of the resource type %s", t.Name)
	}
	next := *t
	next.Extensions = slices.Clone(t.Extensions)
	for _, e := range d.Extensions {
		s, ok := r.Schema(e.Schema)
		if !ok {
			return nil, invalid("schemaExtensions.schema", "expected the URI of a known schema")
		}
		if err := s.Check(); err != nil {
			return nil, err
		}
		if s == next.Schema || slices.ContainsFunc(next.Extensions, func(o Extension) bool { return o.Schema == s }) {
			return nil, invalid("schemaExtensions.schema", "expected each schema at most once")
		}
		next.Extensions = append(next.Extensions, Extension{Schema: s, Required: e.Required})
	}
	return &next, nil
}
